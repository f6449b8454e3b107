"""Opening a folder: what is there, what is not, where the index goes, and that nothing changes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.interact import ScriptedFrontEnd
from dbdicom_xr.testing import MadeSeries, make_series, make_study
from tests.records.ordinary import run_python

INDEX = ".dbdicom_xr/index.sqlite"


def fingerprint(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return content, modification time and mode of each file that is the user's."""
    return {
        str(path.relative_to(folder)): (
            path.read_bytes(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in folder.rglob("*")
        if path.is_file() and ".dbdicom_xr" not in path.parts
    }


@pytest.fixture
def made(tmp_path: Path) -> MadeSeries:
    return make_series(tmp_path / "data")


def count(database: db.Database) -> int:
    return len(database.instances())


# -- what is no folder ---------------------------------------------------------------------------


def _a_file(folder: Path) -> Any:
    (folder / "file.dcm").write_bytes(b"")
    return folder / "file.dcm"


def _below_a_file(folder: Path) -> Any:
    return _a_file(folder) / "deeper"


def _broken_link(folder: Path) -> Any:
    (folder / "link").symlink_to(folder / "nowhere")
    return folder / "link"


@pytest.mark.parametrize(
    ("place", "create", "error", "words"),
    [
        (lambda f: f / "missing", False, errors.MissingFolder, ["missing", "create=True"]),
        (lambda f: str(f / "missing"), False, errors.MissingFolder, ["missing", "create=True"]),
        (_broken_link, False, errors.MissingFolder, ["link"]),
        (_broken_link, True, errors.MissingFolder, ["link"]),
        (_a_file, False, errors.NotAFolder, ["file.dcm is a file", "open "]),
        (_a_file, True, errors.NotAFolder, ["file.dcm is a file"]),
        (_below_a_file, False, errors.NotAFolder, ["deeper"]),
        (_below_a_file, True, errors.NotAFolder, ["deeper"]),
        (lambda f: "", False, errors.MissingFolder, ["'.'"]),
        (lambda f: "", True, errors.MissingFolder, ["'.'"]),
        (lambda f: "a\0b", True, errors.MissingFolder, ["null"]),
        (lambda f: str(f / ("x" * 5000)), True, errors.MissingFolder, ["long"]),
        (lambda f: "memory://nothing/there", False, errors.MissingFolder, ["There is nothing"]),
        (lambda f: 5, False, errors.InvalidValue, ["5", "path as text"]),
    ],
)
def test_what_is_no_folder_is_refused_with_one_clear_message(
    tmp_path: Path,
    place: Callable[[Path], Any],
    create: bool,
    error: type[Exception],
    words: list[str],
) -> None:
    path = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error) as caught:
        db.database(path, create=create)
    for word in words:
        assert word in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before, "nothing may be made"


def test_missing_folder_is_also_what_python_calls_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        db.database(tmp_path / "x")
    with pytest.raises(NotADirectoryError):
        db.database(_a_file(tmp_path))


def test_create_makes_the_folder_and_what_leads_to_it(tmp_path: Path) -> None:
    database = db.database(tmp_path / "a" / "b", create=True)
    assert (tmp_path / "a" / "b").is_dir()
    assert count(database) == 0
    assert count(db.database(tmp_path / "a" / "b", create=True)) == 0


def test_create_of_a_folder_that_exists_opens_it(made: MadeSeries) -> None:
    assert count(db.database(made.folder, create=True)) == 3


def test_empty_folder_opens_empty(tmp_path: Path, person: ScriptedFrontEnd) -> None:
    database = db.database(tmp_path)
    assert database.patients() == database.studies() == database.series() == []
    assert database.instances() == []
    assert database.problems == []
    assert len(database) == 0
    assert database
    assert "0 patients" in str(database)
    assert database.PatientName == []
    assert database.files() == []
    assert database.to_dataframe().empty
    assert person.said == []


def test_folder_without_dicom_opens_empty_and_says_so(
    tmp_path: Path, person: ScriptedFrontEnd
) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "table.csv").write_text("1,2")
    database = db.database(tmp_path)
    assert database.instances() == []
    assert [Path(p.file).name for p in database.problems] == ["notes.txt", "table.csv"]
    assert all(p.reason and not p.kept for p in database.problems)
    messages = [said.text for said in person.said if said.kind == "message"]
    assert len(messages) == 1
    assert "problems" in messages[0]
    assert str(tmp_path) in messages[0]


# -- how the folder may be named -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["plain", "with space", "ünï/cødé 画像", "dot.ted", "it's [1] #%?"]
)
@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_any_name_and_any_kind_of_path(tmp_path: Path, name: str, kind: Any) -> None:
    made = make_series(tmp_path / name, keys={"SliceLocation": [0.0]})
    database = db.database(kind(made.folder))
    assert count(database) == 1
    assert database.files() == [str(file) for file in made.files]
    assert database.path_on_disk == str(made.folder)
    assert database.name == made.folder.name
    assert database.instances()[0].dataset() == made.datasets[0]


def test_file_names_of_any_spelling(tmp_path: Path) -> None:
    made = make_series(tmp_path, prefix="ï m 画#%?")
    assert db.database(tmp_path).files() == sorted(str(file) for file in made.files)


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_file_name_that_is_not_unicode(tmp_path: Path, made: MadeSeries) -> None:
    odd = os.fsencode(tmp_path / "data") + b"/\xff\xfe.dcm"
    shutil.move(made.files[0], os.fsdecode(odd))
    database = db.database(tmp_path / "data")
    instance = database.instances(InstanceNumber=1)[0]
    assert os.fsencode(instance.file) == odd
    assert instance.dataset().SOPInstanceUID == instance.SOPInstanceUID
    assert count(db.database(tmp_path / "data")) == 3
    str(database), repr(database), database._repr_html_()


def test_relative_path_and_home(
    tmp_path: Path, made: MadeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = db.database("data")
    assert database.path_on_disk == str(made.folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    same = db.database("~/data")
    assert same == database
    assert same.series() == database.series()
    monkeypatch.chdir(made.folder)
    assert db.database(".") == db.database(Path("..") / "data") == database
    monkeypatch.chdir("/")
    assert count(database) == 3, "it does not depend on the current folder any more"


# -- nothing of the user's changes ---------------------------------------------------------------


def test_opening_reading_and_scanning_change_no_file_of_the_user(tmp_path: Path) -> None:
    made = make_study(tmp_path, odd=True)
    before = fingerprint(tmp_path)
    database = db.database(tmp_path)
    str(database), database.to_dataframe(), database.series()[0].header, database.problems
    made_again = db.database(tmp_path).scan()
    assert count(made_again) == count(database) >= len(made.files)
    assert fingerprint(tmp_path) == before
    new = {path.name for path in tmp_path.iterdir()} - {Path(p).parts[0] for p in before}
    assert new == {".dbdicom_xr"}


def test_problems_are_listed_and_never_hide_a_good_file(
    tmp_path: Path, person: ScriptedFrontEnd
) -> None:
    made = make_study(tmp_path, odd=True)
    database = db.database(tmp_path)
    problems = {Path(p.file): p for p in database.problems}
    assert list(problems) == sorted(problems)
    for kind in ("empty", "text", "truncated", "DICOMDIR"):
        assert problems[made.odd[kind]].reason, kind
    twins = [p for p in database.problems if "SOPInstanceUID" in p.reason]
    assert len(twins) == 1
    assert not twins[0].kept
    first_by_path = min(made.odd["twin"], made.series[0].files[0])
    twin = database.instances(SOPInstanceUID=made.series[0].datasets[0].SOPInstanceUID)
    assert [i.file for i in twin] == [str(first_by_path)]
    good = {str(uid) for one in made.series for uid in one.uids.ravel()}
    assert good <= set(database.SOPInstanceUID)
    count_not_kept = sum(not p.kept for p in database.problems)
    assert any(s.kind == "message" and str(count_not_kept) in s.text for s in person.said)
    said = len(person.said)
    db.database(tmp_path)
    assert len(person.said) == said, "what has been said once is not said at each opening"


def test_scan_shows_a_bar_and_reopening_none(made: MadeSeries, person: ScriptedFrontEnd) -> None:
    db.database(made.folder)
    assert [(s.kind, s.value, s.maximum) for s in person.said] == [("bar", 3, 3)]
    db.database(made.folder)
    assert len(person.said) == 1


# -- where the index lives -----------------------------------------------------------------------


def test_index_lives_in_the_folder(made: MadeSeries) -> None:
    db.database(made.folder)
    assert [p.name for p in (made.folder / ".dbdicom_xr").iterdir()] == ["index.sqlite"]


@pytest.mark.parametrize(
    ("index", "file"),
    [
        ("mine.sqlite", "mine.sqlite"),
        ("new/deep/mine.idx", "new/deep/mine.idx"),
        ("new/folder", "new/folder/index.sqlite"),
        ("existing.d", "existing.d/index.sqlite"),
    ],
)
def test_index_may_live_elsewhere(tmp_path: Path, made: MadeSeries, index: str, file: str) -> None:
    (tmp_path / "existing.d").mkdir()
    for _ in range(2):
        database = db.database(made.folder, index=tmp_path / index)
        assert count(database) == 3
        assert (tmp_path / file).is_file()
    assert not (made.folder / ".dbdicom_xr").exists()
    assert count(db.database(made.folder, index=str(tmp_path / index), refresh=False)) == 3


def _dicom(path: Path) -> None:
    make_series(path.parent / "other", keys={"SliceLocation": [0.0]}).files[0].rename(path)


def _notes(path: Path) -> None:
    path.write_text("Months of work. " * 500)


def _foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE results(value)")
    connection.execute("INSERT INTO results VALUES(42)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("make", [_dicom, _notes, _foreign_database])
@pytest.mark.parametrize("refresh", [True, False])
def test_a_file_that_is_no_index_is_never_overwritten(
    tmp_path: Path, made: MadeSeries, make: Callable[[Path], None], refresh: bool
) -> None:
    precious = tmp_path / "precious.file"
    make(precious)
    before = precious.read_bytes()
    with pytest.raises(errors.DbdicomError, match="left as it is") as caught:
        db.database(made.folder, index=precious, refresh=refresh)
    assert str(precious) in str(caught.value)
    assert "index=" in str(caught.value)
    assert precious.read_bytes() == before


def test_read_only_folder_keeps_its_index_in_the_cache(tmp_path: Path, made: MadeSeries) -> None:
    made.folder.chmod(0o555)
    code = f"""
import dbdicom_xr as db
database = db.database({str(made.folder)!r})
print(len(database.instances()), database.instances()[0].FlipAngle)
print(len(db.database({str(made.folder)!r}, refresh=False).instances()))
"""
    try:
        said = run_python(code, tmp_path / "home", powerless=True)
    finally:
        made.folder.chmod(0o755)
    assert said.split() == ["3", str(float(made.datasets[0].FlipAngle)), "3"]
    assert sorted(p.name for p in made.folder.iterdir()) == sorted(f.name for f in made.files)
    assert len(list((tmp_path / "home" / "cache").rglob("index.sqlite"))) == 1


@pytest.mark.parametrize("method", ["mkdir", "touch"])
def test_folder_that_turns_out_to_be_read_only(
    tmp_path: Path, made: MadeSeries, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    # Network shares and optical media tell only when a file is made.
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: str(tmp_path / "cache"))
    original = getattr(Path, method)

    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        if made.folder in self.parents:
            raise OSError(30, "Read-only file system", str(self))
        original(self, *args, **kwargs)

    monkeypatch.setattr(Path, method, refuse)
    before = fingerprint(made.folder)
    assert count(db.database(made.folder)) == 3
    assert len(list((tmp_path / "cache").rglob("index.sqlite"))) == 1
    assert fingerprint(made.folder) == before
    assert not (made.folder / ".dbdicom_xr").exists()


def test_two_read_only_folders_do_not_share_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: str(tmp_path / "cache"))
    monkeypatch.setattr("dbdicom_xr.records.location._writable", lambda folder: False)
    for number in (1, 2):
        make_series(tmp_path / str(number), keys={"SliceLocation": [1.0] * number})
    assert [count(db.database(tmp_path / str(n))) for n in (1, 2, 1, 2)] == [1, 2, 1, 2]


# -- permission ----------------------------------------------------------------------------------


def test_folder_that_may_not_be_listed(tmp_path: Path, made: MadeSeries) -> None:
    code = f"""
import dbdicom_xr as db
from dbdicom_xr import errors
for path in ({str(made.folder)!r}, {str(made.folder / "below")!r}):
    for create in (False, True):
        try:
            db.database(path, create=create)
        except errors.FolderNotReadable as error:
            assert isinstance(error, PermissionError) and path in str(error)
            assert "permission" in str(error).lower(), error
            print("refused")
"""
    made.folder.chmod(0)
    try:
        said = run_python(code, tmp_path / "home", powerless=True)
    finally:
        made.folder.chmod(0o755)
    assert said.split() == ["refused"] * 4
    assert count(db.database(made.folder)) == 3


def test_folder_that_may_not_be_made(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    code = f"""
import dbdicom_xr as db
try:
    db.database({str(closed / "new")!r}, create=True)
except PermissionError as error:
    assert isinstance(error, db.errors.DbdicomError), error
    print(error)
"""
    closed.chmod(0o555)
    try:
        said = run_python(
            code.replace("db.errors", "__import__('dbdicom_xr.errors').errors"),
            tmp_path / "home",
            powerless=True,
        )
    finally:
        closed.chmod(0o755)
    assert str(closed / "new") in said


def test_sub_folder_and_file_that_may_not_be_read(tmp_path: Path, made: MadeSeries) -> None:
    other = make_series(made.folder / "closed", seed=1)
    code = f"""
import dbdicom_xr as db
from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
with use_front_end(ScriptedFrontEnd()) as person:
    database = db.database({str(made.folder)!r})
print(len(database.instances()))
print([problem.file for problem in database.problems])
print([problem.reason for problem in database.problems])
"""
    (made.folder / "closed").chmod(0)
    made.files[1].chmod(0)
    try:
        said = run_python(code, tmp_path / "home", powerless=True).splitlines()
    finally:
        (made.folder / "closed").chmod(0o755)
        made.files[1].chmod(0o644)
    assert said[0] == "2"
    assert said[1] == str([str(made.files[1]), str(made.folder / "closed")])
    assert said[2].count("Permission denied") == 2
    assert count(db.database(made.folder)) == 3 + len(other.files)


def test_scandir_that_fails(made: MadeSeries, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(errors.FolderNotReadable, match="permission"):
        db.database(made.folder)
    monkeypatch.undo()
    assert count(db.database(made.folder, refresh=False)) == 3, "nothing was read yet"


# -- reopening -----------------------------------------------------------------------------------


def test_refresh_false_looks_at_no_file(made: MadeSeries, monkeypatch: pytest.MonkeyPatch) -> None:
    db.database(made.folder)
    for file in made.files:
        file.unlink()

    def refuse(path: Any = ".") -> Any:
        raise AssertionError("the folder is listed")

    monkeypatch.setattr(os, "scandir", refuse)
    database = db.database(made.folder, refresh=False)
    assert count(database) == 3
    assert database.SliceLocation == [0.0, 5.0, 10.0]
    monkeypatch.undo()
    assert count(db.database(made.folder)) == 0


def test_refresh_false_of_a_folder_never_opened_reads_it(made: MadeSeries) -> None:
    assert count(db.database(made.folder, refresh=False)) == 3


def test_reopening_reads_only_what_changed(
    tmp_path: Path, made: MadeSeries, person: ScriptedFrontEnd
) -> None:
    db.database(made.folder)
    more = make_series(made.folder / "more", seed=1, keys={"SliceLocation": [0.0]})
    made.files[0].unlink()
    os.utime(made.files[1])
    person.said.clear()
    database = db.database(made.folder)
    assert [(s.kind, s.maximum) for s in person.said] == [("bar", 2)]
    left = {str(d.SOPInstanceUID) for d in made.datasets[1:] + more.datasets}
    assert set(database.SOPInstanceUID) == left


def test_twice_in_one_process_and_one_sees_what_the_other_found(made: MadeSeries) -> None:
    first, second = db.database(made.folder), db.database(made.folder)
    assert first == second
    assert hash(first) == hash(second)
    assert first.instances() == second.instances()
    make_series(made.folder / "more", seed=1)
    second.scan()
    import time

    time.sleep(0.1)
    assert count(first) == count(second) == 6


def test_context_manager_closes_the_index(made: MadeSeries) -> None:
    with db.database(made.folder) as database:
        assert count(database) == 3
    (made.folder / INDEX).rename(made.folder / "moved.sqlite")  # nobody holds it open (Windows)
    (made.folder / "moved.sqlite").rename(made.folder / INDEX)
    assert count(database) == 3, "it opens again when used"
    with pytest.raises(ZeroDivisionError), db.database(made.folder):
        raise ZeroDivisionError
    database.close()
    database.close()


# -- an index that cannot be used ----------------------------------------------------------------


def _other_version(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()


def _overwritten(path: Path) -> None:
    path.write_bytes(b"garbage " * 4000)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _of_something_else(path: Path) -> None:
    path.unlink()
    _foreign_database(path)


def _incomplete(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM meta")
    connection.commit()
    connection.close()


_RECOGNISABLE = [_other_version, _cut, _incomplete]


@pytest.mark.parametrize(
    ("damage", "index"),
    [
        *((damage, None) for damage in (*_RECOGNISABLE, _overwritten, _of_something_else)),
        *((damage, "mine.sqlite") for damage in _RECOGNISABLE),
    ],
)
@pytest.mark.parametrize("refresh", [True, False])
def test_damaged_index_is_made_anew_with_a_warning(
    tmp_path: Path, made: MadeSeries, damage: Callable[[Path], None], index: Any, refresh: bool
) -> None:
    place = None if index is None else tmp_path / index
    before = db.database(made.folder, index=place)
    expected = before.to_dataframe()
    before.close()
    damage(made.folder / INDEX if place is None else place)
    with pytest.warns(errors.IndexRebuilt, match="anew") as caught:
        database = db.database(made.folder, index=place, refresh=refresh)
    assert [w.filename for w in caught] == [__file__], "the warning shows the user's line"
    assert database.to_dataframe().equals(expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert count(db.database(made.folder, index=place)) == 3


def test_emptied_index_is_filled_again(made: MadeSeries) -> None:
    db.database(made.folder).close()
    (made.folder / INDEX).write_bytes(b"")
    assert count(db.database(made.folder, refresh=False)) == 3


def test_index_that_another_program_holds_is_not_deleted(
    made: MadeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.database(made.folder).close()
    holder = sqlite3.connect(made.folder / INDEX, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    connect = sqlite3.connect

    def impatient(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, **{**kwargs, "timeout": 0.05})

    monkeypatch.setattr(sqlite3, "connect", impatient)
    with pytest.raises(errors.DbdicomError, match="another program"):
        db.database(made.folder)
    monkeypatch.undo()
    holder.execute("INSERT INTO meta VALUES('mark', 'kept')")
    holder.execute("COMMIT")
    assert count(db.database(made.folder)) == 3
    assert holder.execute("SELECT value FROM meta WHERE key='mark'").fetchall() == [("kept",)]
    holder.close()


def test_folder_that_vanished(made: MadeSeries) -> None:
    database = db.database(made.folder, index=made.folder.parent / "index.sqlite")
    shutil.rmtree(made.folder)
    with pytest.raises(errors.MissingFolder, match="gone"):
        database.scan()
    with pytest.raises(errors.MissingFolder):
        db.database(made.folder)
