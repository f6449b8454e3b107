"""Records, arrays and headers that travel to the workers of a cluster, and what they do there."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.bag
import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import Locked, MissingFolder, NotInDatabase
from dbdicom_xr.testing import make_study

pytestmark = pytest.mark.slow

# Functions are sent by value: the workers do not have this module.


def total(series: Any) -> int:
    return int(series.array()[0].values.astype(np.int64).sum())


WAYS: dict[str, Callable[[Any, Callable[..., Any], list[Any]], list[Any]]] = {
    "map": lambda client, f, records: client.gather(client.map(f, records)),
    "submit": lambda client, f, records: [client.submit(f, r).result() for r in records],
    "submit a list": lambda client, f, records: client.submit(
        lambda many: [f(r) for r in many], records
    ).result(),
    "scatter": lambda client, f, records: client.gather(client.map(f, client.scatter(records))),
    "delayed": lambda client, f, records: list(
        dask.compute(*[dask.delayed(f)(r) for r in records])
    ),
    "delayed of a list": lambda client, f, records: dask.delayed(lambda many: [f(r) for r in many])(
        records
    ).compute(),
    "bag": lambda client, f, records: dask.bag.from_sequence(records).map(f).compute(),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_a_worker(client: Any, root: str, way: str) -> None:
    by_value = lambda series: (type(series).__name__, series.SeriesDescription, os.getpid())  # noqa: E731
    sums = lambda series: int(series.array()[0].values.astype("i8").sum())  # noqa: E731
    with db.database(root) as database:
        all_series = database.series()
        found = WAYS[way](client, by_value, all_series)
        assert [(kind, text) for kind, text, _ in found] == [
            ("Series", series.SeriesDescription) for series in all_series
        ]
        assert os.getpid() not in {pid for *_, pid in found}
        assert WAYS[way](client, sums, all_series) == [total(series) for series in all_series]


READS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "a database": (lambda d: d, lambda d: [s.Modality for s in d.series()]),
    "a patient": (lambda d: d.patients()[0], lambda p: (p.PatientID, len(p.instances()))),
    "a study": (lambda d: d.studies()[0], lambda s: (s.StudyDate, s.name, len(s))),
    "a series": (lambda d: d.series()[0], lambda s: (s.path, s[(0x0018, 0x0081)], s.files())),
    "an instance": (lambda d: d.instances()[0], lambda i: (i.SOPInstanceUID, i.InstanceNumber)),
    "pixels": (lambda d: d.instances()[0], lambda i: i.array().values.tolist()),
    "a header": (lambda d: d.series()[0].array()[1], lambda h: [i.InstanceNumber for i in h]),
    "a lazy array": (lambda d: d.series()[0].array()[0], lambda a: a.values.tolist()),
    "the header of a lazy array": (
        lambda d: d.series()[0].array()[0],
        lambda a: a.dicom.header.SOPInstanceUID.tolist(),
    ),
    "the header of an array in memory": (
        lambda d: d.series()[0].array()[0].load(),
        lambda a: a.dicom.header.SOPInstanceUID.tolist(),
    ),
    "a dataset": (lambda d: d.instances()[0], lambda i: str(i.dataset())),
    "records that come back": (lambda d: d.series()[0], lambda s: s.instances()),
    "a filter": (lambda d: d, lambda d: d.series(Modality="CT")),
}


@pytest.mark.parametrize("what", READS)
def test_read_on_a_worker(client: Any, root: str, what: str) -> None:
    choose, read = READS[what]
    with db.database(root) as database:
        record = choose(database)
        assert client.submit(read, record, pure=False).result() == read(record)


def test_what_is_staged_shows_on_workers_at_once(client: Any, root: str) -> None:
    database = db.database(root)
    series = database.series()[0]
    read = lambda s: (s.SeriesDescription, s.array()[0].values.max())  # noqa: E731
    before = client.submit(read, series, pure=False).result()
    series.SeriesDescription = "staged"
    series.set_array(series.array()[0] * 0 + 7)
    assert client.submit(read, series, pure=False).result() == (["staged"], 7)
    database.restore()
    assert client.submit(read, series, pure=False).result() == before
    database.close()


def test_a_series_that_was_removed(client: Any, root: str) -> None:
    database = db.database(root)
    series = database.series()[0]
    client.submit(lambda s: s.name, series).result()
    series.remove()
    with pytest.raises(NotInDatabase, match=r"restore\(\)"):
        client.submit(lambda s: s.name, series, pure=False).result()
    database.close(save=False)


def test_a_database_that_was_closed(client: Any, root: str) -> None:
    with db.database(root) as database:
        series = database.series()[0]
        wanted = total(series)
    assert client.submit(lambda s: int(s.array()[0].values.sum()), series).result() == wanted


def test_a_database_without_a_folder(client: Any, tmp_path: Path) -> None:
    database = db.database()
    series = database.new_patient(PatientName="A^B").new_study().zeros((4, 16, 12))
    look = lambda s: (s.array()[0].shape, s.PatientName)  # noqa: E731
    one, other = client.scheduler_info()["workers"]
    assert client.submit(look, series, workers=[one]).result() == ((4, 16, 12), ["A^B"])
    (folder,) = {
        str(path) for path in Path(database.path_on_disk).parents if "scratch" in path.name
    }
    database.close(save=False)
    assert not os.path.exists(folder)  # the worker keeps nothing alive
    with pytest.raises(MissingFolder, match=f"{folder}.* is not there for the worker tcp://"):
        client.submit(look, series, pure=False, workers=[other]).result(timeout=20)


# -- changes made by workers ------------------------------------------------------------------


def test_a_worker_that_changes_something_gives_the_lease_back(client: Any, root: str) -> None:
    by_value = lambda s: setattr(s, "SeriesDescription", "by a worker") or os.getpid()  # noqa: E731
    database = db.database(root)
    one, two, three = database.series()[:3]
    here, other = client.scheduler_info()["workers"]
    client.submit(by_value, one, workers=[here]).result()
    client.submit(by_value, two, workers=[other]).result()
    three.SeriesDescription = "by the client"
    assert database._staging.taken
    assert [s.SeriesDescription for s in (one, two, three)] == [
        ["by a worker"], ["by a worker"], ["by the client"],
    ]  # fmt: skip
    start = time.monotonic()
    with pytest.raises(Locked, match=r"return the result.* and write it there") as refused:
        client.submit(by_value, one, pure=False).result()
    assert f"(process {os.getpid()}, since" in str(refused.value)
    assert time.monotonic() - start < 20
    database.save()
    client.submit(by_value, three, pure=False).result()
    assert three.SeriesDescription == ["by a worker"]
    database.restore()
    assert three.SeriesDescription == ["by the client"]
    database.close()


@pytest.mark.parametrize("how", ["write", "copy", "batch"])
def test_several_tasks_change_one_database(client: Any, root: str, how: str) -> None:
    def write(series: Any, number: int) -> Any:
        array, _ = series.array()
        new = series.new_sibling(SeriesDescription=f"of task {number}")
        return (array * 0 + number).dicom.write(new)

    def copy(series: Any, number: int) -> Any:
        new = series.copy()
        new.SeriesDescription = f"of task {number}"
        for instance in new.instances():
            instance.ImageComments = f"{number}"
        return new

    def batch(series: Any, number: int) -> Any:
        with series.database.batch():
            return copy(series, number)

    function = {"write": write, "copy": copy, "batch": batch}[how]
    by_value = lambda series, number: function(series, number)  # noqa: E731
    database = db.database(root)
    series, before = database.series()[0], len(database.series())
    count = len(series.instances())
    made = client.gather(client.map(by_value, [series] * 6, range(6), pure=False))
    assert len(database.series()) == before + 6
    assert [new.SeriesDescription for new in made] == [[f"of task {i}"] for i in range(6)]
    assert not database._staging.taken
    database.save()  # by the program, which holds nothing of the workers back
    assert database.changes().empty
    with db.database(root) as fresh:
        for number in range(6):
            (new,) = fresh.series(SeriesDescription=f"of task {number}")
            assert len(new.instances()) == count
            if how == "write":
                assert set(np.unique(new.array()[0].values)) == {number}
            else:
                assert new.ImageComments == [f"{number}"]
    database.close()
    assert not list(Path(root).glob(".dbdicom_xr/writing/*"))


def test_the_program_changes_something_while_workers_do(client: Any, root: str) -> None:
    def rename_often(series: Any) -> None:
        for number in range(20):
            series.SeriesDescription = f"{number}"

    by_value = lambda series: rename_often(series)  # noqa: E731
    database = db.database(root)
    one, two, three = database.series()[:3]
    futures = [client.submit(by_value, series) for series in (one, two)]
    for number in range(4):
        three.SeriesNumber = number
        database.save()  # and gives the lease back
        time.sleep(0.1)
    client.gather(futures)
    database.save()
    assert [one.SeriesDescription, two.SeriesDescription] == [["19"], ["19"]]
    assert three.SeriesNumber == [3]
    database.close()


def test_a_worker_that_saves_gives_the_lease_back(client: Any, root: str) -> None:
    def change(series: Any) -> Any:
        series.SeriesDescription = "by a worker"
        series.database.save()

    by_value = lambda s: change(s)  # noqa: E731
    with db.database(root) as database:
        one, two = database.series()[:2]
        client.submit(by_value, one).result()
        assert one.SeriesDescription == ["by a worker"]
        two.SeriesDescription = "by the client"
        database.save()
    with db.database(root) as fresh:
        assert [s.SeriesDescription[0] for s in fresh.series()[:2]] == [
            "by a worker", "by the client",
        ]  # fmt: skip


def test_a_worker_that_dies_loses_the_lease_and_nothing_else(client: Any, root: str) -> None:
    def change_and_die(series: Any) -> None:
        series.SeriesDescription = "staged"
        os.kill(os.getpid(), 9)

    by_value = lambda s: change_and_die(s)  # noqa: E731
    database = db.database(root)
    series = database.series()[0]
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        client.submit(by_value, series, retries=0)
    until = time.monotonic() + 30
    while series.SeriesDescription != ["staged"] and time.monotonic() < until:
        time.sleep(0.05)
    assert series.SeriesDescription == ["staged"]
    client.wait_for_workers(2)
    database.close(save=False)


# -- long lives -------------------------------------------------------------------------------


def open_things() -> list[str]:
    return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                  if os.path.lexists(f"/proc/self/fd/{fd}"))  # fmt: skip


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_workers_that_live_long_keep_few_files_open(client: Any, tmp_path: Path) -> None:
    worker = next(iter(client.scheduler_info()["workers"]))
    names = lambda: [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")  # noqa: E731
                     if os.path.lexists(f"/proc/self/fd/{fd}")]  # fmt: skip
    make_study(tmp_path / "first", patients=1, studies=1, series=1, images=2)
    with db.database(tmp_path / "first") as database:
        series = database.series()[0]
        read = lambda s, turn: float(s.array()[0].mean())  # noqa: E731
        client.submit(read, series, 0, workers=[worker]).result()
        before = client.submit(names, workers=[worker], pure=False).result()
        for turn in range(1, 30):
            client.submit(read, series, turn, workers=[worker]).result()
        after = client.submit(names, workers=[worker], pure=False).result()
        assert not [name for name in after if name.endswith(".dcm")]
        assert sum("index.sqlite" in name for name in after) == sum(
            "index.sqlite" in name for name in before
        )
    for number in range(40):
        folder = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "first", folder)
        shutil.rmtree(folder / ".dbdicom_xr")
        with db.database(folder) as database:
            client.submit(read, database.series()[0], 0, workers=[worker], pure=False).result()
    held = client.submit(names, workers=[worker], pure=False).result()
    indices = [name for name in held if "index.sqlite" in name]
    # Up to 32 to find the records, as many to find the pixels, and those that are in use.
    assert len(indices) < 70
