"""Threads of one process that change one database: each change is one, nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, Locked
from dbdicom_xr.records.writing import expected as expected_module
from dbdicom_xr.staging import staging as staging_module
from dbdicom_xr.staging.staging import Staging
from dbdicom_xr.testing import make_series

LIMIT = 20.0  # seconds, for what must not hang


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    for number, name in enumerate("ab"):
        make_series(
            tmp_path / "root" / name, keys={"SliceLocation": [0, 5, 10]}, seed=number,
            shape=(6, 4), header={"SeriesDescription": name, "SeriesInstanceUID": f"1.2.{number}"},
        )  # fmt: skip
    opened = db.database(tmp_path / "root")
    yield opened
    opened.close(save=False)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set as soon as some thread has to wait until it may change something."""
    event = threading.Event()
    real = Staging._wait_for

    def wait_for(self: Staging, lock: Any) -> None:
        if lock.acquire(blocking=False):
            lock.release()
        else:
            event.set()
        real(self, lock)

    monkeypatch.setattr(Staging, "_wait_for", wait_for)
    return event


class Other(threading.Thread):
    """Another thread, and what it came to."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._result: Any = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:
            self._result = error

    def result(self) -> Any:
        self.join(LIMIT)
        assert not self.is_alive()
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result


def described(database: Any, name: str) -> Any:
    return database.series(SeriesDescription=name)[0]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "attribute": lambda series: setattr(series, "SeriesNumber", 55),
    "attribute of an instance": lambda series: setattr(series.instances()[0], "SeriesNumber", 55),
    "several": lambda series: series.__setitem__(["SeriesNumber", "FlipAngle"], [55, 5]),
    "batch": lambda series: in_batch(series, "SeriesNumber", 55),
}


def in_batch(series: Any, name: str, value: Any) -> None:
    with series.database.batch():
        series[name] = value


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("fails", [False, True])
def test_the_change_of_another_thread_is_no_part_of_a_batch(
    database: Any, waiting: threading.Event, change: str, fails: bool
) -> None:
    mine, theirs = described(database, "a"), described(database, "b")
    try:
        with database.batch():
            mine.SeriesNumber = 4
            other = Other(lambda: CHANGES[change](theirs))
            assert waiting.wait(LIMIT)
            mine.instances()[1].InstanceNumber = 77  # noted, to be made with others
            if fails:
                raise KeyError("of the user")
    except KeyError:
        assert fails
    other.result()
    assert 55 in [one.SeriesNumber for one in theirs.instances()]
    assert mine.SeriesNumber == ([1] if fails else [4])
    assert (77 in [one.InstanceNumber for one in mine.instances()]) is not fails
    again = db.database(database.path_on_disk)
    assert 55 in [one.SeriesNumber for one in described(again, "b").instances()]


def test_another_thread_reads_while_a_batch_lasts(database: Any) -> None:
    mine = described(database, "a")

    def read() -> Any:
        values, _ = mine.array("SliceLocation")
        return values.compute().shape, mine.SeriesNumber, len(database.changes())

    with database.batch():
        mine.SeriesNumber = 4
        mine.instances()[0].InstanceNumber = 77
        shape, number, changes = Other(read).result()
        assert shape[0] == 3
        assert number == [4]
        assert changes
    assert 77 in mine.InstanceNumber


def test_images_that_are_finished_come_in_behind_the_batch_of_another_thread(database: Any) -> None:
    mine, theirs = described(database, "a"), described(database, "b")
    written = theirs.set_array(np.full((3, 6, 4), 9, "u2"), "template", compute=False)
    folder = next((Path(database.path_on_disk) / ".dbdicom_xr" / "writing").iterdir())
    with database.batch():
        mine.SeriesNumber = 4
        with pytest.raises(DbdicomError, match=r"database.batch\(\)"):
            written.compute(scheduler="synchronous")
        assert folder.exists()
        assert Other(lambda: theirs.array()[0].compute().max()).result() != 9
    assert Other(lambda: theirs.array()[0].compute().max()).result() == 9


def test_a_batch_that_waits_for_another_thread_does_not_wait_for_ever(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging_module, "_PATIENCE_SECONDS", 0.2)
    mine, theirs = described(database, "a"), described(database, "b")
    for call in (
        lambda: setattr(theirs, "SeriesNumber", 55),
        lambda: theirs.set_array(np.zeros((3, 6, 4), "u2"), "template"),
        database.save,
        database.restore,
    ):
        with database.batch():
            mine.SeriesNumber = 4
            with pytest.raises(Locked, match="Another thread has been inside"):
                Other(call).result()
    assert (mine.SeriesNumber, theirs.SeriesNumber) == ([4], [1])
    theirs.SeriesNumber = 55
    assert theirs.SeriesNumber == [55]


@pytest.mark.parametrize("what", ["save", "restore", "set_array", "export", "close", "import"])
def test_a_change_of_several_parts_in_another_thread_is_waited_for(
    database: Any, waiting: threading.Event, what: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    mine, theirs = described(database, "a"), described(database, "b")
    copying = threading.Event()
    real = Staging._leave_batch

    def leave(self: Staging) -> None:
        if not copying.is_set():
            copying.set()
            assert waiting.wait(LIMIT)
        real(self)

    monkeypatch.setattr(Staging, "_leave_batch", leave)
    make_series(tmp_path / "more", keys={"SliceLocation": [0]}, seed=9)
    theirs.SeriesNumber = 8
    other = Other(mine.copy)
    assert copying.wait(LIMIT)
    match what:
        case "set_array":
            theirs.set_array(np.full((3, 6, 4), 9, "u2"), "template")
            assert theirs.array()[0].compute().max() == 9
        case "export":
            assert len(theirs.export_as_dicom(tmp_path / "out")) == 3
        case "close":
            database.close(save=True)
        case "import":
            assert len(database.import_dicom(tmp_path / "more")) == 1
        case _:
            getattr(database, what)()
    copy = other.result()
    gone = what == "restore"
    assert len(database.series()) == (2 if gone else 4 if what == "import" else 3)
    assert gone or len(copy.instances()) == 3


def test_a_batch_that_begins_while_an_array_is_computed_does_not_cost_it(
    database: Any, waiting: threading.Event
) -> None:
    mine, theirs = described(database, "a"), described(database, "b")
    computing, collecting = threading.Event(), threading.Event()

    def slow(block: Any) -> Any:
        if block.size:
            computing.set()
            assert collecting.wait(LIMIT)
        return block + 1

    values, header = theirs.array("SliceLocation")
    expected = values.compute().data + 1
    changed = values.copy(data=values.data.map_blocks(slow, dtype=values.dtype))
    other = Other(lambda: theirs.set_array(changed, header))
    assert computing.wait(LIMIT)
    with database.batch():
        mine.SeriesNumber = 4
        collecting.set()
        assert waiting.wait(LIMIT)  # to take the images in
        mine.FlipAngle = 5
    other.result()
    assert np.array_equal(theirs.array("SliceLocation")[0].compute().data, expected)
    assert (mine.SeriesNumber, mine.FlipAngle) == ([4], [5])


def test_what_was_computed_is_kept_where_a_batch_waits_for_it(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging_module, "_PATIENCE_SECONDS", 0.2)
    mine, theirs = described(database, "a"), described(database, "b")
    computing, collecting = threading.Event(), threading.Event()

    def slow(block: Any) -> Any:
        if block.size:
            computing.set()
            assert collecting.wait(LIMIT)
        return block + 1

    values, header = theirs.array("SliceLocation")
    expected = values.compute().data + 1
    changed = values.copy(data=values.data.map_blocks(slow, dtype=values.dtype))
    other = Other(lambda: theirs.set_array(changed, header))
    assert computing.wait(LIMIT)
    with database.batch():
        mine.SeriesNumber = 4
        collecting.set()
        with pytest.raises(Locked) as refused:
            other.result()
        assert "come in when that has ended" in refused.value.__notes__[0]
    monkeypatch.setattr(expected_module, "_AGAIN_SECONDS", 0.0)
    assert np.array_equal(theirs.array("SliceLocation")[0].compute().data, expected)
    assert mine.SeriesNumber == [4]


def test_a_batch_that_fails_beside_a_reader(database: Any) -> None:
    mine = described(database, "a").instances()[0]
    reading, ending = threading.Event(), threading.Event()
    staging = database._staging

    def read() -> Any:
        with database._lock:
            reading.set()
            assert ending.wait(LIMIT)
            return staging.layer()

    def fail() -> None:
        with database.batch():
            staging.note(lambda: ending.set() if not staging.in_batch else None)
            mine.InstanceNumber = 77
            reader.append(Other(read))
            assert reading.wait(LIMIT)
            raise KeyError("of the user")

    reader: list[Other] = []
    with pytest.raises(KeyError):
        Other(fail).result()
    assert not reader[0].result()
    assert 77 not in [one.InstanceNumber for one in database.instances()]


def test_threads_that_do_all_at_once(database: Any) -> None:
    """No deadlock, no false refusal, and every change that was reported stands."""
    a, b = described(database, "a"), described(database, "b")
    start = threading.Barrier(4)

    def copies() -> None:
        start.wait(LIMIT)
        for _ in range(4):
            a.copy().remove()

    def batches() -> None:
        start.wait(LIMIT)
        for number in range(8):
            with database.batch():
                for instance in a.instances():
                    instance.AcquisitionNumber = number

    def writes() -> None:
        start.wait(LIMIT)
        for number in range(1, 4):
            b.set_array(np.full((3, 6, 4), number, "u2"), "template")
            database.save()

    def reads() -> None:
        start.wait(LIMIT)
        for _ in range(20):
            assert len(a.instances()) == 3
            assert a.array()[0].compute().size

    for other in [Other(call) for call in (copies, batches, writes, reads)]:
        other.result()
    database.save()
    assert a.AcquisitionNumber == [7]
    assert b.array()[0].compute().max() == 3
    assert len(database.series()) == 2
    assert database.changes().empty
