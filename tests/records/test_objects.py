"""Records as Python objects: equal, hashable, picklable, true, one object to numpy, shared."""

from __future__ import annotations

import copy
import itertools
import multiprocessing
import os
import pickle
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from dask.base import tokenize

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.testing import make_enhanced, make_study
from tests.records.ordinary import run_python


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    make_study(folder, patients=2, studies=1, series=2, images=3, reports=True)
    make_enhanced(folder / "enhanced", keys={"SliceLocation": [0, 5], "EchoTime": [2, 4]})
    return folder


@pytest.fixture(scope="module")
def database(folder: Path) -> db.Database:
    return db.database(folder)


@pytest.fixture(scope="module")
def records(database: db.Database) -> list[Any]:
    found = list(database.subtree)
    assert {type(r) for r in found} == {
        db.Database, db.Patient, db.Study, db.Series, db.Instance, db.Frame
    }  # fmt: skip
    return found


def test_equal_and_of_equal_hash_when_they_name_the_same(folder: Path, records: list[Any]) -> None:
    again = list(db.database(folder).subtree)
    assert records == again
    assert len({*records, *again}) == len(records)
    for (i, one), (j, other) in itertools.product(enumerate(records), enumerate(again)):
        assert (one == other) is (i == j)
        assert (one != other) is (i != j)
        assert i != j or hash(one) == hash(other)
    for record in records:
        for other in ("", 0, None, record.path, {}, dict(record)):
            assert record != other
    lookup = {record: record.path for record in records}
    assert [lookup[record] for record in again] == [record.path for record in records]


def test_of_two_folders_nothing_is_equal(tmp_path: Path, folder: Path, records: list[Any]) -> None:
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns(".dbdicom_xr"))
    copied = list(db.database(tmp_path / "copy").subtree)
    assert [r.path for r in copied] == [r.path for r in records]
    assert not set(copied) & set(records)


def test_always_true(tmp_path: Path, records: list[Any]) -> None:
    assert all(records)
    empty = db.database(tmp_path)
    assert len(empty) == 0
    assert empty
    assert bool(records[-1]) is True


def test_copies_are_the_record_itself(records: list[Any]) -> None:
    for record in records:
        assert copy.copy(record) is record
        assert copy.deepcopy(record) is record
    assert copy.deepcopy({"a": records})["a"] == records


def test_pickle_in_this_process(records: list[Any]) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(records, protocol))
        assert again == records
        assert [type(r) for r in again] == [type(r) for r in records]
        assert [r.path for r in again] == [r.path for r in records]
        assert len({id(r.database) for r in again}) == 1
    assert all(len(pickle.dumps(record)) < 1000 for record in records)
    assert len(pickle.dumps(records)) < 400 * len(records)


_FRESH = """
import pickle, sys
records = pickle.load(open({file!r}, "rb"))
for record in records:
    print(record.path, record["SOPInstanceUID"], len(record))
"""


def test_pickle_into_a_fresh_process(tmp_path: Path, records: list[Any]) -> None:
    file = tmp_path / "records.pickle"
    file.write_bytes(pickle.dumps(records))
    expected = [f"{r.path} {r['SOPInstanceUID']} {len(r)}" for r in records]
    said = run_python(_FRESH.format(file=str(file)), tmp_path / "home")
    assert said.splitlines() == expected


def test_pickle_after_the_folder_was_opened_again(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "data", ignore=shutil.ignore_patterns(".dbdicom_xr"))
    with db.database(tmp_path / "data") as database:
        kept = list(database.subtree)
        data = pickle.dumps(kept)
    gone = Path(database["DBX-0001"].series(Modality="MR")[0].instances()[1].file)
    expected = [r for r in kept if type(r) is not db.Instance or r.file != str(gone)]
    gone.unlink()
    again = db.database(tmp_path / "data")
    loaded = pickle.loads(data)
    assert loaded == kept
    assert [r for r in loaded if r in set(again.subtree)] == expected
    (lost,) = set(loaded) - set(again.subtree)
    with pytest.raises(errors.NotInDatabase, match="not in"):
        lost.Rows  # noqa: B018


def test_pickle_where_the_folder_is_not_there(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "data", ignore=shutil.ignore_patterns(".dbdicom_xr"))
    data = tmp_path / "pickled"
    data.write_bytes(pickle.dumps(db.database(tmp_path / "data").series()))
    shutil.rmtree(tmp_path / "data")
    code = f"""
import pickle
from dbdicom_xr import errors
(series, *_) = pickle.load(open({str(data)!r}, "rb"))
try:
    series.Modality
except errors.DbdicomError as error:
    print(error)
"""
    assert str(tmp_path / "data") in run_python(code, tmp_path / "home")
    assert not (tmp_path / "data").exists(), "reading a pickle makes no folder"


# -- numpy ---------------------------------------------------------------------------------------


def test_one_object_to_numpy(records: list[Any]) -> None:
    for record in records:
        for array in (np.asarray(record), np.array(record), np.asanyarray(record, dtype=object)):
            assert array.shape == ()
            assert array.dtype == object
            assert array[()] is record
        one = np.array([record])
        assert one.shape == (1,)
        assert one.dtype == object
        assert one[0] is record
        assert np.array([[record, record]]).shape == (1, 2)
        assert np.array((record, None), dtype=object).shape == (2,)
    for array in (np.array(records), np.array(records, dtype=object), np.asarray(records)):
        assert array.shape == (len(records),)
        assert array.tolist() == records
    filled = np.full((2, 3), records[-1])
    assert filled.shape == (2, 3)
    assert (np.array(records) == np.array(records)).all()
    assert np.array(records).reshape(1, -1)[0, 3] is records[3]


@pytest.mark.parametrize("dtype", [float, int])
def test_no_number_to_numpy(records: list[Any], dtype: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        np.asarray(records[-1], dtype=dtype)


# -- threads, processes, dask --------------------------------------------------------------------


def _read(record: Any) -> tuple[Any, ...]:
    return record.path, record.SliceLocation, record.Rows, record.name, str(record), len(record)


def test_eight_threads_read_at_once(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "data", ignore=shutil.ignore_patterns(".dbdicom_xr"))
    expected = [_read(r) for r in db.database(tmp_path / "data").subtree]
    for _ in range(5):
        records = list(db.database(tmp_path / "data").subtree)  # nothing is in memory yet
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda _, r=records: [_read(one) for one in r], range(8)):
                assert found == expected


def test_threads_read_while_another_scans(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "data", ignore=shutil.ignore_patterns(".dbdicom_xr"))
    database = db.database(tmp_path / "data")
    records = list(database.subtree)
    expected = [_read(r) for r in records]
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(lambda: [_read(r) for r in records]) for _ in range(12)]
        for _ in range(5):
            database.scan()
        assert all(reader.result() == expected for reader in readers)


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes(records: list[Any], method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    if method == "fork" and sys.platform == "darwin":
        pytest.skip("fork crashes system libraries there")
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(_read, records)) == [_read(r) for r in records]
    assert os.getpid()
    assert [_read(r) for r in records]


def test_dask_takes_records_as_they_are(database: db.Database) -> None:
    instances = database.instances(Modality=["MR", "CT"])
    later = [dask.delayed(lambda i: (type(i).__name__, i.SOPInstanceUID))(i) for i in instances]
    expected = [("Instance", i.uid) for i in instances]
    assert list(dask.compute(*later)) == expected
    together = dask.delayed(lambda many: [m.uid for m in many])(instances)
    assert together.compute() == [i.uid for i in instances]
    bag = dask.delayed(lambda s: [i.uid for i in s.instances()])(database.series()[0])
    with dask.config.set(scheduler="processes", num_workers=1):
        assert bag.compute() == [i.uid for i in database.series()[0].instances()]


def test_dask_tokens_name_the_record(folder: Path, records: list[Any]) -> None:
    tokens = [tokenize(record) for record in records]
    assert len(set(tokens)) == len(records)
    assert [tokenize(record) for record in db.database(folder).subtree] == tokens
