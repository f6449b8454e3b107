"""Full disks, permission that is lost, files that others change: an error, and nothing lost."""

from __future__ import annotations

import errno
import os
import resource
import warnings
from pathlib import Path
from typing import Any

import pytest

from dbdicom_xr.errors import DbdicomError, IndexRebuilt, SaveFailed, StagingDamaged
from tests.records.faults import Refusing, in_child, watched
from tests.records.folder_states import described, differences, files_of, opened, state_of
from tests.records.ordinary import run_python
from tests.records.test_crash import (
    ACTS,
    LONG,
    Stage,
    edit,
    everything,
    fast,
    first,
    make_folder,
    save,
    warm,
)

__all__ = ["fast", "warm"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="os.fork, chmod")


# -- each call refused ---------------------------------------------------------------------------


def refused(stage: Stage, number: int, code: int, until: int | None) -> tuple[int, str, str]:
    """Do the act with calls refused, then what a user would do next; return what was said."""
    database = opened(stage.root)
    before = described(database)
    database._close()  # to open its files again under watch
    faults = Refusing(number, code, until)
    name, text = "", ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with watched(faults):
                stage.act(database)
        except DbdicomError as error:
            name, text = type(error).__name__, str(error)
            notes = getattr(error, "__notes__", [])
            assert isinstance(error, OSError), (name, text)  # noqa: PT017
            text = " ".join([text, *notes])
        faults.over = True
        if name:
            # The object that met the error shows what is there, and goes on.
            found = described(database)
            assert found == before, (text, differences(before, found))
            if number % 2:
                stage.act(database)
    database._close()
    return faults.calls, name, text


@pytest.mark.parametrize(
    ("code", "for_ever", "act"),
    [
        (errno.ENOSPC, True, "save"),
        (errno.ENOSPC, False, "save"),
        (errno.EACCES, False, "save of the source of a copy"),
        (errno.EROFS, True, "save of a copy that has files"),
        (errno.ENOSPC, True, "batch"),
        (errno.EIO, False, "restore of a copy that has files"),
    ],
)
def test_each_call_that_writes_is_refused(fast: Path, code: int, for_ever: bool, act: str) -> None:
    stage = Stage(fast, *ACTS[act])
    ends = {"before": 0, "after": 0}
    step = 3 if act.startswith("save") and not LONG else 1
    for number in range(1, 1000, step):
        stage.fresh()
        exit_code, found = in_child(
            lambda: refused(stage, number, code, None if for_ever else number)  # noqa: B023
        )
        assert exit_code == 0, (number, found)
        calls, name, text = found
        if name:
            words = os.strerror(code).lower()
            assert any(
                word in text.lower() for word in (words, "disk is full", "readonly", "i/o error")
            ), (number, name, text)
            assert str(stage.root) in text, (number, name, text)
        end = stage.end(f"refused at call {number}: {name} {text}")
        wanted = {"before"} if name and number % 2 == 0 else {"after"}
        if "Opening the database again" in text:  # nothing could be put back either
            wanted.add("after")
        assert end in wanted, (number, name, text)
        ends[end] += 1
        if calls < number:
            assert not name
            break
    assert ends["before"], ends


# -- what else can go wrong ----------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_folder(tmp_path / "dicom")
    return tmp_path / "dicom"


def file_of(root: Path, number: int = 0) -> Path:
    return sorted(root.rglob("*.dcm"))[number]


def replaced(path: Path) -> bytes:
    """Let another program write another file of the same name."""
    data = path.read_bytes().replace(b"Synthetic", b"Something", 1) + b"\0\0"
    path.write_bytes(data)
    return data


def test_file_that_another_program_replaced_between_staging_and_saving(root: Path) -> None:
    database = opened(root)
    instance = first(database.series()[0])
    path = Path(instance.file)
    instance.ImageComments = "edited"
    database.series()[1].SeriesDescription = "edited too"
    theirs = replaced(path)
    before = files_of(root)
    with pytest.raises(SaveFailed, match=r"changed by another program") as failed:
        database.save()
    assert str(path) in str(failed.value)
    assert files_of(root) == before
    assert not database.changes().empty
    # The new file counts, and the other edits can be saved by themselves.
    database.series()[1].save()
    assert path.read_bytes() == theirs
    assert database.series()[1].SeriesDescription == ["edited too"]
    database.restore()
    database.close()
    assert path.read_bytes() == theirs


def test_file_that_another_program_replaces_during_the_save(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dbdicom_xr.records.editing import saving

    database = opened(root)
    database.PatientComments = "edited"
    path = file_of(root, 2)
    real = saving.splice
    theirs = []

    def slow(source: str, *arguments: Any) -> Any:
        done = real(source, *arguments)
        if not theirs:
            theirs.append(replaced(path))
        return done

    before = files_of(root)
    with monkeypatch.context() as patched:
        patched.setattr(saving, "splice", slow)
        with pytest.raises(SaveFailed, match=r"changed by another program") as failed:
            database.save()
    assert str(path) in str(failed.value)
    before[path.relative_to(root).as_posix()] = theirs[0]
    assert files_of(root) == before
    assert not database.changes().empty
    database.close(save=False)
    assert files_of(root) == before


def test_file_that_vanished(root: Path) -> None:
    database = opened(root)
    instance = first(database.series()[0])
    path = Path(instance.file)
    instance.ImageComments = "edited"
    path.rename(root.parent / "away")
    before = files_of(root)
    with pytest.raises(DbdicomError) as failed:
        database.save()
    assert path.name in str(failed.value) or instance.uid in str(failed.value)
    assert files_of(root) == before
    (root.parent / "away").rename(path)
    database.save()
    assert first(database.series()[0]).ImageComments == "edited"
    database.close()


CLOSED = """
import dbdicom_xr as db, os, warnings
from dbdicom_xr.errors import *
root = {root!r}
database = db.database(root)
instance = database.series()[0].instances()[0]
instance.ImageComments = "edited"
os.chmod({what!r}, {mode})
try:
    database.save()
except SaveFailed as error:
    print("refused", error)
except StagingNotWritable as error:
    print("refused", error)
print(instance.ImageComments)
os.chmod({what!r}, 0o755)
if {again}:
    database.save()
    database.close()
    print(len(database.changes()))
else:
    warnings.simplefilter("ignore")
    database.close()
"""


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("what", ["folder of the file", "folder of the index", "staging file"])
def test_permission_that_is_lost(root: Path, tmp_path: Path, what: str, again: bool) -> None:
    path = file_of(root)
    closed = {
        "folder of the file": (path.parent, "0o555"),
        "folder of the index": (root / ".dbdicom_xr", "0o555"),
        "staging file": (root / ".dbdicom_xr" / "staging.sqlite", "0o444"),
    }[what]
    before = files_of(root)
    code = CLOSED.format(root=str(root), what=str(closed[0]), mode=closed[1], again=again)
    said = run_python(code, tmp_path / "home", powerless=True).splitlines()
    if said[0].startswith("refused"):
        assert str(closed[0]) in said[0]
        assert "damaged" not in said[0]
        assert said[1] == "edited"
    else:  # a file that is open already can be written to
        assert what == "staging file"
    if again:
        assert said[-1] == "0"
        assert files_of(root) != before
    elif said[0].startswith("refused"):
        assert files_of(root) == before
    database = opened(root)
    assert first(database.series()[0]).ImageComments == "edited"
    database.close(save=False)


def test_read_only_file_is_replaced_since_its_folder_allows_it(root: Path) -> None:
    path = file_of(root)
    path.chmod(0o444)
    database = opened(root)
    database.PatientComments = "edited"
    database.close(save=True)
    assert path.stat().st_mode & 0o777 == 0o444
    assert set(opened(root).PatientComments) == {"edited"}


@pytest.mark.parametrize("act", ["edit", "save"])
def test_limit_on_the_size_of_files(root: Path, act: str) -> None:
    # SQLite's own writes are refused too, as on a full disk.
    def limited() -> str:
        database = opened(root)
        if act == "save":
            everything(database)
        before, files = described(database), files_of(root)
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, unlimited[1]))
        try:
            with pytest.raises(DbdicomError) as failed:
                (edit if act == "edit" else save)(database)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert isinstance(failed.value, OSError), failed.value
        assert described(database) == before
        assert files_of(root) == files
        (edit if act == "edit" else save)(database)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            database.close()
        return str(failed.value)

    code, text = in_child(limited)
    assert code == 0, text
    assert str(root) in text
    assert "damaged" not in text
    assert first(opened(root).series()[0]).ImageComments == "edited"
    if act == "edit":
        opened(root).close(save=False)


# -- what is staged is damaged, or the index is lost ---------------------------------------------


def staged(root: Path) -> Path:
    database = opened(root)
    everything(database)
    database._close()
    return root / ".dbdicom_xr" / "staging.sqlite"


def flipped(data: bytes, part: float) -> bytes:
    at = int(len(data) * part)
    return data[:at] + bytes(byte ^ 0x55 for byte in data[at : at + 64]) + data[at + 64 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:100],
        lambda data: b"not a database" * 500,
        lambda data: flipped(data, 0.0),
    ],
    ids=["half", "cut short", "garbage", "head"],
)
def test_damaged_staging_file_is_named_and_left(root: Path, damage: Any) -> None:
    path = staged(root)
    before = files_of(root)
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(StagingDamaged, match="left as it is") as failed:
        described(opened(root))
    assert str(path) in str(failed.value)
    assert path.read_bytes() == damaged
    assert files_of(root) == before
    path.rename(root.parent / "moved away")
    database = opened(root)
    assert len(database.instances()) == 6
    assert first(database.series()[0]).ImageComments == "synthetic"


def test_damage_anywhere_is_never_taken_for_what_was_staged(root: Path) -> None:
    # Each time a process of its own: this one remembers what it has read.
    path = Path(in_child(lambda: staged(root))[1])
    data = path.read_bytes()
    wanted = in_child(lambda: described(opened(root)))[1]

    def look() -> dict[str, Any] | str:
        try:
            return described(opened(root))
        except StagingDamaged:
            return "refused"

    refused = 0
    for number in range(24):
        path.write_bytes(flipped(data, (number + 0.5) / 24))
        code, found = in_child(look)
        assert code == 0, found
        if found == "refused":
            refused += 1
        else:  # where nothing is kept
            assert found == wanted, (number, differences(wanted, found))
    assert refused >= 3


def test_index_that_is_lost_loses_no_change(root: Path) -> None:
    staged(root)
    wanted = state_of(root)
    (root / ".dbdicom_xr" / "index.sqlite").unlink()
    assert differences(wanted, state_of(root)) == []
    index = root / ".dbdicom_xr" / "index.sqlite"
    index.write_bytes(flipped(index.read_bytes(), 0.0))
    with pytest.warns(IndexRebuilt):
        database = opened(root)
    database._close()
    assert differences(wanted, state_of(root)) == []
    database = opened(root)
    database.save()
    database.close()
    assert state_of(root)["state"]["changes"] == []


def test_empty_staging_file_of_a_full_disk_is_none(root: Path) -> None:
    opened(root).close()
    (root / ".dbdicom_xr" / "staging.sqlite").unlink(missing_ok=True)
    (root / ".dbdicom_xr" / "staging.sqlite").touch()
    database = opened(root)
    assert len(database.instances()) == 6
    assert database.changes().empty
    database.close()
    database.PatientComments = "room again"
    database.restore()
    database.close()
