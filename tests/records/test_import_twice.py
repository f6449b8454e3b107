"""Imports at the same time: an instance comes in once, and a database that has it twice is healed.

A database has it twice where two threads imported it with an earlier version.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.records.database import Database
from dbdicom_xr.records.importing.from_dicom import ImportReport, _Import
from dbdicom_xr.staging.staging import Staging
from dbdicom_xr.testing import make_series

LIMIT = 20.0  # seconds, for what must not hang
COUNT = 3


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    with db.database(tmp_path / "database", create=True) as opened:
        yield opened
        opened.restore()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    make_series(tmp_path / "source", keys={"SliceLocation": [0, 5, 10]}, shape=(6, 4))
    return tmp_path / "source"


def other_pixels(source: Path, tmp_path: Path) -> Path:
    """Return other objects with the same UIDs."""
    (tmp_path / "other").mkdir()
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PixelData = bytes(len(dataset.PixelData))
        dataset.save_as(tmp_path / "other" / path.name)
    return tmp_path / "other"


def dicom_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.dcm"))


def at_once(database: Any, folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Import with a thread each, none of which goes on before all know what is new to them."""
    copied = threading.Barrier(len(folders))
    real = _Import.copy

    def copy(self: _Import, advance: Any) -> None:
        real(self, advance)
        copied.wait(LIMIT)

    reports: list[Any] = []

    def run(folder: Path) -> None:
        try:
            reports.append(database.import_dicom(folder))
        except BaseException as error:
            reports.append(error)

    with monkeypatch.context() as patch:
        patch.setattr(_Import, "copy", copy)
        threads = [threading.Thread(target=run, args=[folder], daemon=True) for folder in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
    assert all(isinstance(report, ImportReport) for report in reports), reports
    return sorted(reports, key=len)


def test_the_same_files_in_two_threads(
    database: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none, all_of_them = at_once(database, [source, source], monkeypatch)
    assert sorted(all_of_them) == sorted(none.duplicates) == [str(p) for p in dicom_files(source)]
    assert list(none) == none.conflicts == none.failures == all_of_them.duplicates == []
    assert len(database.instances()) == COUNT
    assert not database.problems
    database.save()
    files = dicom_files(Path(database.path_on_disk))
    assert sorted(p.read_bytes() for p in files) == sorted(
        p.read_bytes() for p in dicom_files(source)
    )


def test_files_of_which_some_are_the_same(
    database: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = tmp_path / "both"
    make_series(both, keys={"SliceLocation": [0, 5]}, shape=(6, 4), seed=7)
    for path in dicom_files(source)[:2]:
        (both / f"a{path.name}").write_bytes(path.read_bytes())
    reports = at_once(database, [source, both], monkeypatch)
    assert sum(map(len, reports)) == COUNT + 2 == len(database.instances())
    assert sum(len(report.duplicates) for report in reports) == 2
    database.save()
    assert len(dicom_files(Path(database.path_on_disk))) == COUNT + 2
    uids = {str(pydicom.dcmread(p).SOPInstanceUID) for p in dicom_files(both)}
    assert uids < {instance.uid for instance in database.instances()}


def test_other_objects_with_the_same_uids(
    database: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [source, other_pixels(source, tmp_path)]
    none, all_of_them = at_once(database, folders, monkeypatch)
    assert len(all_of_them) == len(none.conflicts) == COUNT
    assert not none.duplicates
    assert "Synthetic" in none.conflicts[0].reason
    assert len(database.instances()) == COUNT


def test_an_import_that_ends_while_another_one_looks_what_is_new(
    database: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting_or_done = threading.Event()
    reports: list[Any] = []
    find, wait_for = Database._find, Staging._wait_for

    def run() -> None:
        reports.append(database.import_dicom(source))
        waiting_or_done.set()

    def watched_wait(self: Staging, lock: Any) -> None:
        if lock.acquire(blocking=False):
            lock.release()
        else:
            waiting_or_done.set()
        wait_for(self, lock)

    def watched_find(self: Database, uid: str) -> Any:
        found = find(self, uid)
        if threading.current_thread() is not other and not other.ident:
            other.start()
            assert waiting_or_done.wait(LIMIT)
        return found

    other = threading.Thread(target=run, daemon=True)
    monkeypatch.setattr(Staging, "_wait_for", watched_wait)
    monkeypatch.setattr(Database, "_find", watched_find)
    reports.append(database.import_dicom(source))
    other.join(LIMIT)
    assert not other.is_alive()
    assert sorted(len(report) for report in reports) == [0, COUNT]
    assert sorted(len(report.duplicates) for report in reports) == [0, COUNT]
    assert len(database.instances()) == COUNT


def test_what_was_imported_and_edited_meanwhile(
    database: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _Import.copy

    def copy(self: _Import, advance: Any) -> None:
        real(self, advance)
        monkeypatch.setattr(_Import, "copy", real)
        database.import_dicom(source)
        database.SeriesDescription = "mine"

    monkeypatch.setattr(_Import, "copy", copy)
    report = database.import_dicom(source)
    assert len(report.duplicates) == COUNT
    assert not report
    assert database.SeriesDescription == ["mine"]


# -- databases that have instances twice ---------------------------------------------------------


@pytest.fixture(params=["same", "other"])
def twice(
    request: Any, database: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A database with instances that were imported twice, the same or others of the same UIDs."""
    second = source if request.param == "same" else other_pixels(source, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(_Import, "_leave_out_what_came_meanwhile", lambda self: None)
        at_once(database, [source, second], patch)
    database._close()
    opened = db.database(database.path_on_disk)
    assert len(opened.problems) == COUNT
    return opened


@pytest.fixture
def kept(twice: Any) -> int:
    """How many files saving them leaves."""
    twin = twice.problems[0]
    held = twin.reason.rpartition(" ")[2]
    same = Path(twin.file).read_bytes() == Path(twice.path_on_disk, held).read_bytes()
    return COUNT if same else 2 * COUNT


def test_they_are_restored(twice: Any) -> None:
    twice.restore()
    assert not twice.instances()
    assert twice.changes().empty
    assert not twice.problems
    assert not dicom_files(Path(twice.path_on_disk))
    assert not db.database(twice.path_on_disk).instances()


@pytest.mark.parametrize("edit", [False, True])
def test_they_are_saved(twice: Any, source: Path, edit: bool, kept: int) -> None:
    root = Path(twice.path_on_disk)
    expected = np.sort(
        np.stack([pydicom.dcmread(path).pixel_array for path in dicom_files(source)]), axis=0
    )
    if edit:
        twice.SeriesDescription = "mine"
    twice.save()
    for opened in (twice, db.database(root).scan()):
        assert len(opened.instances()) == COUNT
        assert opened.changes().empty
        assert opened.SeriesDescription == (["mine"] if edit else ["Synthetic series"])
    assert len(dicom_files(root)) == kept
    assert not dicom_files(root / ".dbdicom_xr")
    if kept == COUNT:
        values = np.stack([pydicom.dcmread(path).pixel_array for path in dicom_files(root)])
        assert np.array_equal(np.sort(values, axis=0), expected)
        assert not twice.problems
    else:  # which of them counts, nobody knows; none is lost
        assert len(twice.problems) == COUNT


def test_one_is_restored_and_the_others_are_saved(twice: Any, kept: int) -> None:
    twice.instances()[0].restore()
    twice.save()
    assert len(twice.instances()) == COUNT - 1
    assert len(dicom_files(Path(twice.path_on_disk))) == kept * (COUNT - 1) // COUNT


def test_they_are_removed(twice: Any) -> None:
    twice.series()[0].remove()
    twice.save()
    assert not twice.instances()
    assert not dicom_files(Path(twice.path_on_disk))
