"""Arrays written by threads, processes and clusters: all images, or the series as it was."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import (
    DatabaseChanged,
    DbdicomError,
    DicomWarning,
    InvalidValue,
    NotInDatabase,
)
from dbdicom_xr.testing import make_study

SHAPE = (16, 12)  # x, y
COUNT = 4
SCHEDULERS = [
    "synchronous",
    "threads",
    "processes",
    pytest.param("distributed", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.admin.low-level-log-length": 0}),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
            silence_logs=50,
        ) as made:  # fmt: skip
            yield made


@contextmanager
def scheduler(name: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Compute with one of the schedulers."""
    if name == "distributed":
        import distributed

        with distributed.Client(request.getfixturevalue("cluster")) as client:
            yield client
    else:
        options = {"multiprocessing.context": "fork"} if name == "processes" else {}
        with dask.config.set(options, scheduler=name, num_workers=2):
            yield None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_study(tmp_path / "dicom", patients=1, studies=1, series=2, images=3)
    db.database(tmp_path / "dicom")._close()
    return tmp_path / "dicom"


def numbers(first: int, count: int = COUNT) -> Any:
    """Blocks of one image, whose numbers tell the image."""
    values = np.arange(first, first + count)[:, None, None] + np.zeros(SHAPE)
    return da.from_array(values.astype(np.uint16), chunks=(1, *SHAPE))


def images_of(series: Any) -> list[Any]:
    return [
        instance.array().values
        for instance in sorted(series.instances(), key=lambda i: i.InstanceNumber)
    ]


def holds(series: Any, first: int, count: int = COUNT) -> bool:
    wanted = np.asarray(numbers(first, count))
    with dask.config.set(scheduler="synchronous"):
        found = images_of(series)
    return len(found) == count and all(map(np.array_equal, found, wanted))


def files_of(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(("index.sqlite", "staging.sqlite"))
    }


def nothing_left(root: Path) -> bool:
    inside = root / ".dbdicom_xr"
    return not [*inside.glob("writing/*"), *inside.glob("staged/*")]


# -- a block that fails --------------------------------------------------------------------------


def failing(block: Any, block_info: Any = None) -> Any:
    if block_info[0]["chunk-location"][0] == 2:
        raise ZeroDivisionError("in the function of the user")
    return block


def infinite(block: Any, block_info: Any = None) -> Any:
    return np.where(block_info[0]["chunk-location"][0] == 2, np.inf, block)


FAILURES: dict[str, tuple[Callable[..., Any], type[Exception], str]] = {
    "exception": (failing, ZeroDivisionError, "function of the user"),
    "infinity": (infinite, InvalidValue, "inf"),
}


@pytest.mark.parametrize("compute", [True, False])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_block_that_fails(
    root: Path, name: str, failure: str, compute: bool, request: pytest.FixtureRequest
) -> None:
    function, kind, words = FAILURES[failure]
    database = db.database(root)
    one, other = database.series()
    before, state = files_of(root), str(database.series())
    dtype = np.uint16 if failure == "exception" else np.float64
    by_value = lambda a, block_info=None: function(a, block_info)  # noqa: E731  # workers do not import this module
    broken = numbers(5).map_blocks(by_value, dtype=dtype, meta=np.empty((0, 0, 0), dtype))
    stop = threading.Event()

    def write_beside() -> None:
        with dask.config.set(scheduler="synchronous"):
            while not stop.is_set():
                other.set_array(numbers(40), "template")
                other.restore()

    beside = threading.Thread(target=write_beside)
    with scheduler(name, request):
        if compute and name == "threads":
            beside.start()
        try:
            with pytest.raises(kind, match=words):
                written = one.set_array(broken, "template", compute=compute)
                written.compute()
        finally:
            stop.set()
            if beside.ident:
                beside.join()
        if compute:
            assert files_of(root) == before
            assert nothing_left(root)
        assert database.changes().empty
        assert str(database.series()) == state
        assert not database._staging.taken
        one.set_array(numbers(7), "template")
        assert holds(one, 7)
    database.close(save=False)
    assert {path for path in files_of(root) if "writing" not in path} == before.keys()


# -- computed later ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULERS)
def test_computed_later(root: Path, name: str, request: pytest.FixtureRequest) -> None:
    database, again = db.database(root), db.database(root)
    one = database.series()[0]
    count = len(one.instances())
    with scheduler(name, request) as client:
        written = one.set_array(numbers(5), "template", compute=False)
        assert len(one.instances()) == count
        assert not database._staging.taken
        result = written.compute() if client is None else client.compute(written).result()
        assert result == one
        assert len(again.series()[0].instances()) == COUNT
        assert holds(one, 5)
        assert holds(again.series()[0], 5)
        assert holds(result, 5)
        with pytest.raises(DbdicomError, match="computed already"):
            if client is None:
                written.compute()
            else:
                client.compute(written).result()
        assert holds(one, 5)
    database.save()
    assert holds(db.database(root).series()[0], 5)
    assert nothing_left(root)
    database.close()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_edited_as_soon_as_it_is_computed(
    root: Path, name: str, request: pytest.FixtureRequest
) -> None:
    with scheduler(name, request) as client:
        database = db.database(root)
        first = database.series()[0]
        edited, removed = first.new_sibling(), first.new_sibling()
        for one in (edited, removed):
            written = one.set_array(numbers(5), "template", compute=False)
            assert (
                written.compute() if client is None else client.compute(written).result()
            ) == one
        # Nobody has looked at the database meanwhile.
        edited.RescaleType = "ms"
        removed.remove()
    assert edited.RescaleType == ["ms"]
    assert len(edited.instances()) == COUNT
    assert removed not in database.series()
    database.close(save=False)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_however_they_begin(root: Path, method: str) -> None:
    if os.name != "posix":
        pytest.skip("fork")
    database = db.database(root)
    one = database.series()[0]
    one.SeriesDescription = "staged, so that this process holds the lease"
    with dask.config.set({"multiprocessing.context": method}, scheduler="processes", num_workers=2):
        one.set_array(numbers(5), "template", compute=False).compute()
    assert holds(one, 5)
    assert nothing_left(root) is False
    database.close(save=False)
    assert nothing_left(root)


def test_tasks_of_processes_change_one_database(root: Path) -> None:
    """Each for itself, with no lease left behind; the program saves what all of them staged."""
    database = db.database(root)
    series, count = database.series()[0], len(database.series())

    def write(number: int) -> Any:
        with dask.config.set(scheduler="synchronous"):
            new = series.new_sibling(SeriesDescription=f"of task {number}")
            return new.set_array(numbers(number), "template")

    options = {"multiprocessing.context": "fork"} if os.name == "posix" else {}
    with dask.config.set(options, scheduler="processes", num_workers=2):
        made = dask.compute(*[dask.delayed(write)(number) for number in range(4)])
    assert all(holds(new, number) for number, new in enumerate(made))
    assert len(database.series()) == count + 4
    database.save()
    database.close()
    fresh = db.database(root)
    assert len(fresh.series()) == count + 4
    for number in range(4):
        (new,) = fresh.series(SeriesDescription=f"of task {number}")
        assert holds(new, number)
    assert nothing_left(root)
    fresh.close()


def rename_patient(database: Any) -> None:
    database.patients()[0].PatientID = "another"
    database.patients()[0].PatientName = "Müller^Jürgen"


def rename_series(database: Any) -> None:
    database.series()[0].SeriesInstanceUID = "1.2.3.4.5"


def move(database: Any) -> None:
    series = database.series()[0]
    series.move_to(database.new_patient(PatientID="moved", PatientName="A^B").new_study())


def save_another(database: Any) -> None:
    database.series()[1].SeriesDescription = "edited"
    database.save()


def save_this(database: Any) -> None:
    database.series()[0].SeriesDescription = "edited"
    database.series()[0].save()


def write_another(database: Any) -> None:
    with dask.config.set(scheduler="synchronous"):
        database.series()[1].set_array(numbers(60), "template")


def write_this(database: Any) -> None:
    with dask.config.set(scheduler="synchronous"):
        database.series()[0].set_array(numbers(60), "template")


def close(database: Any) -> None:
    database.close()


def open_again(database: Any) -> None:
    db.database(database.path_on_disk)


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize(
    "meanwhile",
    [rename_patient, rename_series, move, save_another, save_this, write_another, write_this, close,
     open_again],
)  # fmt: skip
def test_changes_before_it_is_computed(root: Path, meanwhile: Any, saved: bool) -> None:
    database = db.database(root)
    one = database.series()[0]
    written = one.set_array(numbers(5), "template", compute=False)
    meanwhile(database)
    if saved:
        database.save()
    with dask.config.set(scheduler="threads"):
        assert written.compute() == one
    assert holds(one, 5)
    for keyword in ("PatientID", "PatientName", "SeriesInstanceUID", "StudyInstanceUID"):
        assert len(set(map(str, one[keyword]))) == 1, keyword
    told = [str(one[keyword][0]) for keyword in ("PatientID", "PatientName", "SeriesInstanceUID")]
    database.save()
    assert nothing_left(root)
    database.close()
    fresh = db.database(root)
    (found,) = fresh.series(SeriesInstanceUID=told[2])
    assert holds(found, 5)
    assert [str(found[k][0]) for k in ("PatientID", "PatientName", "SeriesInstanceUID")] == told
    import pydicom

    for instance in found.instances():
        dataset = pydicom.dcmread(instance.file)
        assert str(dataset.PatientName) == told[1]
        assert dataset.SeriesInstanceUID == told[2]


@pytest.mark.parametrize("saved", [True, False])
def test_series_that_is_removed_before_it_is_computed(root: Path, saved: bool) -> None:
    database = db.database(root)
    one = database.series()[0]
    written = one.set_array(numbers(5), "template", compute=False)
    one.remove()
    if saved:
        database.save()
    with dask.config.set(scheduler="threads"), pytest.raises(NotInDatabase):
        written.compute()
    assert nothing_left(root)
    assert len(database.series()) == 1
    database.close(save=False)


def test_in_a_batch(root: Path) -> None:
    database = db.database(root)
    one = database.series()[0]
    written = one.set_array(numbers(5), "template", compute=False)
    with dask.config.set(scheduler="synchronous"):
        with database.batch():
            with pytest.raises(DbdicomError, match="batch"):
                one.set_array(numbers(6), "template")
            with pytest.raises(DbdicomError, match="batch"):
                written.compute()
        assert holds(one, 5)  # what was computed has not been for nothing
    database.close(save=False)
    assert nothing_left(root)


# -- distributed ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_worker_that_is_killed(root: Path, tmp_path: Path, cluster: Any) -> None:
    import distributed

    killed = tmp_path / "killed"

    def suicidal(block: Any, block_info: Any = None) -> Any:
        if block_info[0]["chunk-location"][0] == 3:
            try:
                killed.mkdir()
            except FileExistsError:
                return block
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    database = db.database(root)
    one = database.series()[0]
    array = numbers(5, 12).map_blocks(
        suicidal, dtype=np.uint16, meta=np.empty((0, 0, 0), np.uint16)
    )
    with distributed.Client(cluster):
        one.set_array(array, "template")
    assert killed.exists()
    assert holds(one, 5, 12)
    database.save()
    assert nothing_left(root)
    assert len([path for path in files_of(root) if path.endswith(".dcm")]) == 12 + 3
    database.close()


@pytest.mark.slow
def test_another_write_of_the_workers_while_the_first_is_read(root: Path, cluster: Any) -> None:
    """What workers have finished comes in when the database is looked at; what cannot, says so."""
    import distributed

    database = db.database(root)
    one, other = database.series()
    first = one.set_array(numbers(5), "template", compute=False)
    second = other.set_array(numbers(50), "template", compute=False)
    other.remove()
    with distributed.Client(cluster) as client:
        distributed.wait([client.compute(first), client.compute(second)])
    with pytest.warns(DicomWarning, match="was removed|not there any more"):
        found = database.series()
    assert len(found) == 1
    assert holds(one, 5)
    assert not list((root / ".dbdicom_xr").glob("writing/*"))
    database.close(save=False)
    assert nothing_left(root)


# -- at once -------------------------------------------------------------------------------------


def test_two_threads_write_to_two_series(root: Path) -> None:
    database = db.database(root)
    errors = []

    def write(number: int) -> None:
        try:
            for turn in range(4):
                series = database.series()[number]
                series.set_array(numbers(10 * turn + 100 * number), "template")
                assert holds(series, 10 * turn + 100 * number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[number]) for number in (0, 1)]
    with dask.config.set(scheduler="synchronous"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors, errors
    assert [holds(series, 30 + 100 * i) for i, series in enumerate(database.series())] == [1, 1]
    database.save()
    database.close()
    fresh = db.database(root)
    assert [holds(series, 30 + 100 * i) for i, series in enumerate(fresh.series())] == [1, 1]


def test_two_threads_write_to_one_series(root: Path) -> None:
    database = db.database(root)
    series = database.series()[0]
    start = threading.Barrier(3)
    errors = []

    def write(number: int) -> None:
        try:
            start.wait()
            for _ in range(3):
                with suppress(DatabaseChanged):  # before anything was written
                    series.set_array(numbers(10 * number), "template")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[number]) for number in range(3)]
    with dask.config.set(scheduler="synchronous"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors, errors
    assert sum(holds(series, 10 * number) for number in range(3)) == 1
    database.close(save=False)
    assert nothing_left(root)


def test_lease_is_not_given_away_under_another_write(root: Path) -> None:
    """A write that fails in one thread, just before another one takes its images in."""
    database = db.database(root)
    one, other = database.series()
    stop, errors = threading.Event(), []

    def fail() -> None:
        bad = da.full((1, *SHAPE), np.inf)
        while not stop.is_set():
            try:
                other.set_array(bad, "template")
            except (InvalidValue, DatabaseChanged):  # which says so before it begins
                continue
            except BaseException as error:
                errors.append(error)
                return

    thread = threading.Thread(target=fail)
    with dask.config.set(scheduler="synchronous"):
        thread.start()
        try:
            for turn in range(15):
                one.set_array(numbers(turn), "template")
                one.restore()
        finally:
            stop.set()
            thread.join()
    assert not errors, errors
    database.close(save=False)
    assert nothing_left(root)
