"""An export that fails leaves the former one; one that is killed, whole files, and no others."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, SaveFailed
from dbdicom_xr.records.exporting import files as exporting_files
from dbdicom_xr.records.exporting.files import new_files
from dbdicom_xr.staging.lease import this_process
from dbdicom_xr.testing import make_series
from tests.records.faults import Refusing, in_child, killing

forks = pytest.mark.skipif(os.name != "posix", reason="os.fork")

Export = Callable[[db.Database, Path], Any]
EXPORTS: dict[str, Export] = {
    "dicom": lambda database, out: database.export_as_dicom(out, overwrite=True),
    "dicomdir": lambda database, out: database.export_as_dicom(out, overwrite=True, dicomdir=True),
    "npy": lambda database, out: database.export_as_npy(out, overwrite=True),
    "png": lambda database, out: database.export_as_png(out, overwrite=True),
    "csv": lambda database, out: database.export_as_csv(out, overwrite=True),
    "nifti": lambda database, out: database.export_as_nifti(out, overwrite=True),
}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Any:
    # What a forked process has of the threads of its parent does nothing.
    monkeypatch.setattr(exporting_files, "_SETTLE_SECONDS", 0.0)
    with dask.config.set(scheduler="synchronous"):
        yield


def content(folder: Path) -> dict[str, bytes]:
    """Return what a person sees in a folder."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.parts)
    }
    if "DICOMDIR" in found:  # which has another UID each time
        records = pydicom.dcmread(folder / "DICOMDIR").DirectoryRecordSequence
        kinds = Counter(record.DirectoryRecordType for record in records)
        found["DICOMDIR"] = repr(sorted(kinds.items())).encode()
    return found


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def describe(dataset: Any, number: int) -> None:
    dataset.SeriesNumber = number
    dataset.SeriesDescription = f"series {number}"
    dataset.StudyInstanceUID = "1.2.3.4"


class Case:
    """A folder with an export, which another of the same names is to replace."""

    def __init__(self, folder: Path, export: Export) -> None:
        self.export = export
        self.databases = []
        for name, slices, seed in (("a", 2, 1), ("b", 3, 2)):
            for number in (1, 2):
                make_series(
                    folder / name,
                    keys={"SliceLocation": [5.0 * i for i in range(slices)]},
                    header=lambda dataset, index, number=number: describe(dataset, number),
                    seed=10 * seed + number,
                    prefix=f"s{number}",
                )
            database = db.database(folder / name)
            database.mute()
            self.databases.append(database)
        self.out = folder / "out"
        self._kept = folder / "kept"
        export(self.databases[0], self._kept)
        self.old = content(self._kept)
        export(self.databases[1], folder / "other")
        self.new = content(folder / "other")
        self.again()

    def again(self) -> None:
        """Make the folder as it is before."""
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self._kept, self.out)

    def replace(self) -> None:
        """Export over what is there."""
        self.export(self.databases[1], self.out)


@pytest.fixture(params=EXPORTS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(tmp_path, EXPORTS[request.param])


def calls_of(case: Case) -> int:
    counter = Refusing(10**6, errno.EIO, None)

    def run() -> int:
        case.replace()
        return counter.calls

    code, calls = in_child(run, counter)
    assert code == 0, calls
    case.again()
    return int(calls)


def some(count: int) -> list[int]:
    """Return numbers of calls: more of them at the end, where files take their places."""
    return sorted({*range(1, count, max(1, count // 5)), *range(max(1, count - 30), count + 1, 3)})


@forks
def test_killed_it_leaves_whole_files_and_the_next_tidies_up(case: Case) -> None:
    old, new = case.old, case.new
    mixed = 0
    for number in some(calls_of(case)):
        code, _ = in_child(case.replace, killing(number))
        assert code == 9
        found = content(case.out)
        for name, data in found.items():
            assert data in (old.get(name), new.get(name)), (number, name)
        assert set(old) <= set(found) <= set(old) | set(new)
        mixed += found not in (old, new)
        case.replace()
        expected = old | new
        assert content(case.out) == expected
        assert not [name for name in everything(case.out) if ".dbdicom_xr" in name]
        case.again()
    assert mixed  # else the calls were not those that matter


@forks
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_what_fails_leaves_all_as_it_was(case: Case, code: int) -> None:
    old = case.old

    def run() -> str:
        try:
            case.replace()
        except SaveFailed as error:
            return str(error)
        return ""

    before = everything(case.out)
    failed = 0
    for number in some(calls_of(case)):
        refusing = Refusing(number, code, number if code == errno.EIO else None)
        done, text = in_child(run, refusing)
        assert done == 0, text
        if text:
            failed += 1
            assert "othing was written" in text
            assert os.strerror(code) in text
            assert ".dbdicom_xr" not in text  # names that nobody knows
            assert content(case.out) == old, (number, text)
            left = everything(case.out) - before
            assert not left or code == errno.EIO, (number, left)
        case.again()
        before = everything(case.out)
    assert failed >= 3


def test_an_image_that_cannot_be_read_leaves_the_former_export(tmp_path: Path) -> None:
    case = Case(tmp_path, EXPORTS["npy"])
    for path in sorted((tmp_path / "b").rglob("*.dcm")):
        os.truncate(path, path.stat().st_size - 50)
    before = everything(case.out)
    with pytest.raises(DbdicomError):
        case.replace()
    assert content(case.out) == case.old
    assert everything(case.out) == before


def test_ctrl_c_leaves_the_former_export(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(case.out)
    real = os.replace
    calls = []

    def interrupted(old: str, new: str) -> None:
        calls.append(new)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(old, new)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        case.replace()
    assert content(case.out) == case.old
    assert everything(case.out) == before


# -- the files -----------------------------------------------------------------------------------


def test_missing_folders_are_made_and_taken_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_files(str(tmp_path / "a" / "b")) as files:
        Path(files.new(str(tmp_path / "a" / "b" / "c" / "x"))).write_text("x")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with new_files(str(tmp_path / "a")) as files:
        Path(files.new(str(tmp_path / "a" / "c" / "x"))).write_text("x")
        assert not (tmp_path / "a" / "c").exists()
    assert everything(tmp_path) == {"a", "a/c", "a/c/x"}


def test_rights_are_kept(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    (tmp_path / "x").chmod(0o640)
    with new_files(str(tmp_path)) as files:
        Path(files.new(str(tmp_path / "x"))).write_text("new")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("there", [False, True])
def test_what_others_write_meanwhile_stays(there: bool, tmp_path: Path) -> None:
    for name in "ab":
        if there or name == "a":
            (tmp_path / name).write_text("old")
    with (
        pytest.raises(SaveFailed, match="another program changed it meanwhile"),
        new_files(str(tmp_path)) as files,
    ):
        for name in "ab":
            Path(files.new(str(tmp_path / name))).write_text("new")
        (tmp_path / "b").write_text("of another")
    assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "b").read_text() == "of another"
    assert everything(tmp_path) == {"a", "b"}


def test_without_second_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*names: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    (tmp_path / "a").write_text("old")
    with new_files(str(tmp_path)) as files:
        for name in "ab":
            Path(files.new(str(tmp_path / name))).write_text("new")
    assert [(tmp_path / name).read_text() for name in "ab"] == ["new", "new"]
    real = os.rename

    def rename(old: str, new: str) -> None:
        if new.endswith("c"):
            raise OSError(errno.EIO, "Input/output error", new)
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(SaveFailed, match="Input/output error"), new_files(str(tmp_path)) as files:
        for name in "abc":
            Path(files.new(str(tmp_path / name))).write_text("newer")
    assert [(tmp_path / name).read_text() for name in "ab"] == ["new", "new"]
    assert everything(tmp_path) == {"a", "b"}


def test_what_cannot_be_put_back_is_named_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"old {name}")
    real, refused = os.replace, []

    def replace(old: str, new: str) -> None:
        if refused or new.endswith("b"):
            refused.append(new)
            raise OSError(errno.EIO, "Input/output error", new)
        real(old, new)

    monkeypatch.setattr(os, "replace", replace)
    with (
        pytest.raises(SaveFailed, match="Not everything could be put back") as raised,
        new_files(str(tmp_path)) as files,
    ):
        for name in "ab":
            Path(files.new(str(tmp_path / name))).write_text("new")
    monkeypatch.undo()
    kept = str(raised.value).split("is in ")[1].rstrip(").")
    assert Path(kept).read_text() == "old a"
    with new_files(str(tmp_path)):
        pass
    assert Path(kept).read_text() == "old a"


PROCESS = this_process()


@pytest.mark.parametrize(
    ("note", "age", "stays"),
    [
        (PROCESS, 0, True),
        (PROCESS._replace(started="long ago"), 0, False),
        (PROCESS._replace(numbering="another machine"), 3600, True),
        (PROCESS._replace(numbering="another machine"), 90_000, False),
        (None, 90_000, True),  # not ours to judge
    ],
    ids=["at work", "killed", "elsewhere", "elsewhere, silent for a day", "no note"],
)
def test_whose_folders_are_taken_away(note: Any, age: float, stays: bool, tmp_path: Path) -> None:
    left = tmp_path / ".0123456789abcdef.dbdicom_xr"
    left.mkdir()
    paths = [left / f".{1:016x}.dbdicom_xr"]
    if note is not None:
        paths.append(left / f".{0:016x}.dbdicom_xr")
        paths[-1].write_text(json.dumps(note))
    paths[0].write_bytes(np.arange(100).tobytes())
    for path in (*paths, left):
        os.utime(path, (time.time() - age,) * 2)
    with new_files(str(tmp_path)):
        pass
    assert left.exists() == stays


def test_scans_do_not_see_files_that_are_being_written(tmp_path: Path) -> None:
    make_series(tmp_path / "a", keys={"SliceLocation": [0.0, 5.0]})
    source = next((tmp_path / "a").rglob("*.dcm"))
    with new_files(str(tmp_path / "out")) as files:
        Path(files.new(str(tmp_path / "out" / "x.dcm"))).write_bytes(source.read_bytes())
        database = db.database(tmp_path / "out")
        assert (database.instances(), database.problems) == ([], [])
        database.close()
    assert len(db.database(tmp_path / "out").instances()) == 1
