"""Whose index an array, a header and a database use."""

import os
from pathlib import Path

import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, IndexRebuilt, MixedGeometry
from dbdicom_xr.testing import make_many, make_series


def test_the_accessor_uses_the_index_that_the_array_was_made_with(tmp_path: Path) -> None:
    made = make_series(tmp_path / "dicom")
    database = db.database(made.folder, index=tmp_path / "elsewhere.sqlite")
    array, header = database.series()[0].array("SliceLocation")
    assert (array.dicom.header == header).all()
    assert (array * 2).dicom.header[0, 0] == header[0, 0]
    assert not (Path(made.folder) / ".dbdicom_xr").exists(), "nothing is left in the folder"


def test_gaps_that_xarray_makes_have_no_header(tmp_path: Path) -> None:
    make_series(tmp_path)
    array, header = db.database(tmp_path).series()[0].array("SliceLocation")
    wider = array.reindex(SliceLocation=[-5.0, *array.SliceLocation.values])
    assert wider.dicom.header[:, 0].tolist() == [None, *header[:, 0]]


def test_an_index_belongs_to_one_folder(tmp_path: Path) -> None:
    for name in "ab":
        make_series(tmp_path / name, seed=1, header={"PatientID": name})
    index = tmp_path / "index.sqlite"
    assert db.database(tmp_path / "a", index=index).PatientID == ["a"]
    for refresh in (True, False):
        with pytest.raises(DbdicomError, match=r"is the index of .*a, not of .*b"):
            db.database(tmp_path / "b", index=index, refresh=refresh)
    assert db.database(tmp_path / "a", index=index).PatientID == ["a"]


def test_a_folder_that_was_moved_keeps_its_own_index(tmp_path: Path) -> None:
    make_series(tmp_path / "a")
    db.database(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert len(db.database(tmp_path / "b", refresh=False).instances()) == 3


def test_an_index_that_turns_out_to_be_damaged_is_made_anew(tmp_path: Path) -> None:
    make_series(tmp_path / "dicom", keys={"SliceLocation": np.arange(30.0)})
    wanted = db.database(tmp_path / "dicom").series()[0].InstanceNumber
    index = tmp_path / "dicom" / ".dbdicom_xr" / "index.sqlite"
    sound = index.read_bytes()
    rebuilt = 0
    for place in range(8192 * 2, len(sound), 4001):
        index.write_bytes(sound[:place] + bytes([sound[place] ^ 0x55]) + sound[place + 1 :])
        with pytest.warns() as told:  # noqa: PT031
            database = db.database(tmp_path / "dicom")
            found = [database.series()[0][name] for name in ("InstanceNumber", "Rows")]
            database.to_dataframe()
            import warnings

            warnings.warn("one at least, for pytest", stacklevel=1)
        rebuilt += any(issubclass(warning.category, IndexRebuilt) for warning in told)
        database.close()
        assert found == [wanted, [12]]
    assert rebuilt > 3


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_a_closed_database_holds_no_file(tmp_path: Path) -> None:
    make_series(tmp_path)
    with db.database(tmp_path) as database:
        database.series()[0].array()[0].compute()
    held = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
    assert not [path for path in held if str(tmp_path) in path]


def test_positions_that_some_frames_lack(tmp_path: Path) -> None:
    def header(dataset, at):  # type: ignore[no-untyped-def]
        if at[0] == 1:
            del dataset.SliceLocation

    make_series(tmp_path, header=header)
    with pytest.warns(MixedGeometry, match="1 of 3 frames have no SliceLocation"):
        db.database(tmp_path).series()[0].array("SliceLocation")


def test_a_creator_with_two_blocks(tmp_path: Path) -> None:
    def header(dataset, at):  # type: ignore[no-untyped-def]
        for block, value in ((0x10, 10), (0x11, 20)):
            dataset.add_new((0x0019, block), "LO", "ACME")
            dataset.add_new((0x0019, block << 8 | 1), "IS", value)
        dataset.add_new((0x0019, 0x1002), "IS", 30)

    make_series(tmp_path, header=header)
    instance = db.database(tmp_path).instances()[0]
    assert instance[(0x0019, 0x1001)] == 10
    assert instance[(0x0019, 0x1101)] == 20
    assert instance[(0x0019, 0x1002)] == 30
    assert instance[(0x0019, 0x1102)] is None
    assert instance["ACME", 0x00190001] == 10


def test_arrays_of_files_in_any_order_pickle_small(tmp_path: Path) -> None:
    import pickle

    made = make_many(tmp_path / "dicom", 600, shape=(2, 2), private_bytes=0)
    names = np.random.default_rng(0).permutation(len(made.files))
    for name, path in zip(names, made.files, strict=True):
        Path(path).rename(Path(path).with_name(f"{name:05}.dcm"))
    array, _ = db.database(tmp_path / "dicom").series()[0].array("SliceLocation")
    reader = next(v for v in array.data.dask.values() if hasattr(v, "files"))
    copy = pickle.loads(pickle.dumps(reader))
    for field in ("rows", "files", "frames", "kinds"):
        np.testing.assert_array_equal(getattr(copy, field), getattr(reader, field))
    assert len(pickle.dumps(reader)) < 3000
