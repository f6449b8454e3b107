"""A save is all or nothing: it is killed, and refused, at every call that changes anything."""

import builtins
import errno
import functools
import json
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dbdicom_xr.errors import DicomWarning, InvalidValue, Locked, SaveFailed
from dbdicom_xr.index.connection import SqliteFile
from dbdicom_xr.index.files import is_temporary
from dbdicom_xr.staging import durable, journal, lease
from dbdicom_xr.staging.journal import Step, pending, recover, save_files

posix = pytest.mark.skipif(os.name != "posix", reason="os.fork")

META = "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;\n"
COMMITTED = "CREATE TABLE committed(value);\n"


class StagingFile(SqliteFile):
    tables = META + COMMITTED + lease.TABLES + journal.TABLES
    format = 1
    application = 0x7E57
    synchronous = "FULL"
    noun = "staging file"


def commit(connection: sqlite3.Connection, payload: Any) -> None:
    connection.execute("INSERT INTO committed VALUES(?)", [payload["value"]])


def committed(file: SqliteFile) -> list[Any]:
    return [value for (value,) in file.query("SELECT value FROM committed")]


# --- a folder, and a save that does everything -------------------------------------------------

STATE = ".dbdicom_xr"


def make_folder(root: Path) -> None:
    """root/database is the database; a link leads out of it."""
    database = root / "database"
    (database / "sub").mkdir(parents=True)
    (root / "elsewhere").mkdir()
    (database / "a").write_bytes(b"old a")
    (database / "a").chmod(0o640)
    (database / "sub" / "b").write_bytes(b"old b" * 10)
    (database / "gone").write_bytes(b"old gone")
    (root / "elsewhere" / "real").write_bytes(b"old real")
    (database / "link").symlink_to("../elsewhere/real")
    (database / STATE / "pixels").mkdir(parents=True)
    (database / STATE / "pixels" / "m").write_bytes(b"moved")
    images = database / STATE / "writing" / "w" / "images"
    images.mkdir(parents=True)
    (images / "1").write_bytes(b"image")
    StagingFile(database / STATE / "staging.sqlite").close()


def steps_in(root: Path) -> list[Step]:
    database = root / "database"

    def version(path: Path) -> tuple[int, int]:
        return path.stat().st_size, path.stat().st_mtime_ns

    return [
        Step("replace", str(database / "a"), version=version(database / "a")),
        Step("create", str(database / "new" / "deep" / "c")),
        Step("replace", str(database / "sub" / "b"), version=version(database / "sub" / "b")),
        Step("delete", str(database / "gone"), version=version(database / "gone")),
        Step("replace", str(database / "link")),
        Step("move", str(database / "new" / "m"), source=str(database / STATE / "pixels" / "m")),
        Step("create", str(database / "d")),
        Step(
            "move folder",
            str(database / STATE / "staged" / "w"),
            source=str(database / STATE / "writing" / "w" / "images"),
        ),
    ]


def content(number: int) -> bytes:
    return b"new %d" % number * 3


def write(number: int, path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(fd, content(number)[:7])
        os.write(fd, content(number)[7:])
    finally:
        os.close(fd)


def open_file(root: Path) -> StagingFile:
    return StagingFile(root / "database" / STATE / "staging.sqlite")


def save(root: Path, **options: Any) -> list[tuple[int, int]]:
    file = open_file(root)
    try:
        options = {"payload": {"value": 1}, **options}
        return save_files(file, steps_in(root), options.pop("write", write), commit, **options)
    finally:
        file.close()


def recover_in(root: Path) -> journal.Recovery | None:
    file = open_file(root)
    try:
        found = recover(file, commit)
        assert not pending(file)
        return found
    finally:
        file.close()


def snapshot(root: Path) -> dict[str, Any]:
    """Everything that is in a folder, and what was committed."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if "staging.sqlite" in name:
            continue
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    file = open_file(root)
    found["committed"] = committed(file)
    file.close()
    return found


# --- faults -----------------------------------------------------------------------------------

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CALLS = (
    "write",
    "fsync",
    "link",
    "rename",
    "replace",
    "unlink",
    "mkdir",
    "rmdir",
    "chmod",
    "utime",
)


class Faults:
    """Calls ``before(name, arguments)`` before each call that changes anything."""

    def __init__(self, before: Callable[[str, tuple[Any, ...]], None]) -> None:
        self.before = before

    @contextmanager
    def installed(self) -> Iterator[None]:
        names = [(os, name) for name in CALLS]
        kept = [(module, name, getattr(module, name)) for module, name in names]
        kept += [(os, "open", os.open), (builtins, "open", builtins.open)]
        kept += [(durable, "_sync_disk", durable._sync_disk), (sqlite3, "connect", sqlite3.connect)]

        def wrapped(name: str, real: Any) -> Any:
            @functools.wraps(real)
            def call(*arguments: Any, **options: Any) -> Any:
                self.before(name, arguments)
                return real(*arguments, **options)

            return call

        def os_open(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & WRITING:
                self.before("open", (path, flags))
            return real_open(path, flags, *arguments, **options)

        def built_in(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if set(mode) & set("wax+"):
                self.before("open", (path, mode))
            return real_built_in(path, mode, *arguments, **options)

        real_open, real_built_in, before = os.open, builtins.open, self.before

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> Any:  # type: ignore[override]
                if sql == "COMMIT":
                    before("COMMIT", ())
                    done = super().execute(sql, *arguments)
                    before("COMMITTED", ())
                    return done
                return super().execute(sql, *arguments)

        for module, name, real in kept:
            if module is os and name != "open":
                setattr(os, name, wrapped(name, real))
        durable._sync_disk = wrapped("syncfs", durable._sync_disk)
        os.open = os_open  # type: ignore[assignment]
        builtins.open = built_in  # type: ignore[assignment]
        sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)  # type: ignore
        try:
            yield
        finally:
            for module, name, real in kept:
                setattr(module, name, real)


def failing(number: int, code: int, *, for_ever: bool = False) -> Faults:
    """Refuse the call of that number; for ever means all after it that need space as well."""
    count = 0

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        count += 1
        again = for_ever and count > number
        if (
            again
            and code == errno.ENOSPC
            and name not in ("open", "write", "link", "mkdir", "COMMIT")
        ):
            return
        if name == "COMMITTED":  # it has happened; there is nothing to refuse
            return
        if count == number or again:
            if name == "COMMIT":
                raise sqlite3.OperationalError("database or disk is full")
            raise OSError(code, os.strerror(code), str(arguments[0]) if arguments else None)

    return Faults(before)


def killing(number: int) -> Faults:
    count = 0

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        count += 1
        if count == number:
            os._exit(9)

    return Faults(before)


def killing_at(name: str, number: int) -> Faults:
    """Kill before the call of that number among those of one name."""
    count = 0

    def before(called: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        count += called == name
        if count == number:
            os._exit(9)

    return Faults(before)


def in_child(faults: Faults, action: Callable[[], Any], *, links: bool = True) -> int:
    """Return 0 when the action came to its end, 9 when it was killed, 2 when it failed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if not links:
                os.link = no_links
            with faults.installed():
                action()
            code = 0
        except SaveFailed:
            code = 2
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def no_links(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


class Stage:
    """Makes the same folder again and again, and knows its two allowed ends."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.template = where / "template"
        self.root = where / "root"
        make_folder(self.template)
        self.fresh()
        self.before = snapshot(self.root)
        save(self.root)
        self.after = snapshot(self.root)
        assert self.after != self.before

    def fresh(self) -> Path:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.template, self.root, symlinks=True)
        return self.root

    def check(self, what: str) -> str:
        found = snapshot(self.root)
        if found == self.before:
            return "before"
        if found == self.after:
            return "after"
        missing = object()
        differ = [
            {name: (end.get(name), found.get(name)) for name in {*end, *found}
             if end.get(name, missing) != found.get(name, missing)}
            for end in (self.before, self.after)
        ]  # fmt: skip
        raise AssertionError(f"{what}: from before {differ[0]}, from after {differ[1]}")


def killed_everywhere(where: Path, links: bool, within_recovery: bool) -> dict[str, int]:
    """Kill a save before each of its calls, and perhaps the recovery too; return what became."""
    stage = Stage(where)
    ends = {"before": 0, "after": 0}
    for number in range(1, 1000):
        # A few of the calls of each recovery, other ones each time.
        for second in range(1 + number % 29, 60, 29) if within_recovery else [0]:
            stage.fresh()
            code = in_child(killing(number), lambda: save(stage.root), links=links)
            assert code in (0, 9), code
            killed = second and in_child(
                killing(second), lambda: recover_in(stage.root), links=links
            )
            again = in_child(Faults(lambda *_: None), lambda: recover_in(stage.root), links=links)
            assert again == 0, (number, second)
            ends[stage.check(f"killed at {number}, then at {second}")] += 1
            if code == 0:
                assert ends["after"]
                return {**ends, "calls": number - 1}
            if second and killed != 9:
                break
    raise AssertionError("it never came to its end")


def refused_everywhere(where: Path, code: int, links: bool, for_ever: bool) -> dict[str, int]:
    """Refuse each call of a save, in turn."""
    stage = Stage(where)
    ends = {"before": 0, "after": 0, "left to the next opening": 0}
    real = os.link
    for number in range(1, 1000):
        root = stage.fresh()
        failed, caused, calls = False, False, 0
        faults = failing(number, code, for_ever=for_ever)
        inner = faults.before

        def counted(name: str, arguments: tuple[Any, ...]) -> None:
            nonlocal calls
            calls += 1
            inner(name, arguments)  # noqa: B023

        faults.before = counted
        if not links:
            os.link = no_links
        try:
            with faults.installed():
                save(root)
        except SaveFailed as error:
            failed = True
            text = str(error)
            caused = error.__cause__ is not None
        finally:
            os.link = real
        file = open_file(root)
        left, done = pending(file), committed(file)
        file.close()
        if failed and "Opening the database again" not in text:
            assert "All files are as they were before" in text, text
            assert stage.check(f"refused at {number}") == "before"
        elif failed:
            assert for_ever, (number, text)
            ends["left to the next opening"] += 1
        elif not left:
            assert stage.check(f"refused at {number}") == "after"
        assert not failed or (caused and not done)
        recover_in(root)
        end = stage.check(f"refused at {number}, recovered")
        assert for_ever or end == ("before" if failed else "after")
        assert not (end == "before" and not failed)
        ends[end] += 1
        if calls < number:
            return {**ends, "calls": number - 1}
    raise AssertionError("it never came to its end")


def kept_saving(root: Path) -> None:
    """Save for ever, each time all files with the next number."""
    database = root / "database"
    names = [f"{number:02d}" for number in range(12)]
    file = open_file(root)
    recover(file, commit)
    value = max(committed(file), default=0)
    while True:
        value += 1

        def write_value(number: int, path: str) -> None:
            with open(path, "wb") as out:
                out.write(b"%d" % value * 500)  # noqa: B023

        steps = [Step("replace", str(database / name)) for name in names]
        extra = database / "sometimes" / "there"
        steps.append(Step("delete" if extra.exists() else "create", str(extra)))
        if extra.exists() != bool((value + 1) % 2):
            raise AssertionError(value)
        save_files(file, steps, write_value, commit, payload={"value": value})


def killed_at_random(where: Path, seconds: float) -> dict[str, int]:
    root = where / "root"
    database = root / "database"
    (database / STATE).mkdir(parents=True)
    open_file(root).close()
    for number in range(12):
        (database / f"{number:02d}").write_bytes(b"%d" % 0 * 500)
    chance = random.Random(7)
    ends = {"kills": 0, "saves": 0, "completed": 0, "undone": 0, "nothing to do": 0}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        child = os.fork()
        if child == 0:
            try:
                kept_saving(root)
            except BaseException:
                import traceback

                traceback.print_exc()
            os._exit(1)
        time.sleep(chance.uniform(0.001, 0.06))
        os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == -signal.SIGKILL, status
        found = recover_in(root)
        ends["kills"] += 1
        kind = "nothing to do" if found is None else "completed" if found.completed else "undone"
        ends[kind] += 1
        file = open_file(root)
        values = committed(file)
        file.close()
        value = max(values, default=0)
        assert values == list(range(1, value + 1))
        content = {(database / f"{number:02d}").read_bytes() for number in range(12)}
        assert content == {b"%d" % value * 500}
        names = {path.name for path in database.iterdir()} - {STATE, "sometimes"}
        assert names == {f"{number:02d}" for number in range(12)}
        there = [path.name for path in (database / "sometimes").glob("*")]
        assert there == ["there"] * (value % 2)
        ends["saves"] = value
    return ends


def run(call: str, folder: Path) -> dict[str, int]:
    """Run one of the functions above in a process of its own, which may fork."""
    fast = Path("/dev/shm")
    where = fast / f"dbdicom_xr-{os.getpid()}-{folder.name}" if os.access(fast, os.W_OK) else folder
    where.mkdir(exist_ok=True)
    code = (
        "import json; from pathlib import Path; from tests.staging.test_journal import *;"
        f"where = Path({str(where)!r}); print(json.dumps({call}))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=110,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
    finally:
        shutil.rmtree(where, ignore_errors=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    result: dict[str, int] = json.loads(done.stdout)
    print(call, result)
    return result


@posix
@pytest.mark.parametrize("links", [True, False])
def test_killed_before_every_call(links: bool, tmp_path: Path) -> None:
    ends = run(f"killed_everywhere(where, {links}, False)", tmp_path)
    assert ends["calls"] > 60
    assert ends["before"] > 20
    assert ends["after"] > 20


@posix
@pytest.mark.parametrize("links", [True, False])
def test_killed_again_while_recovering(links: bool, tmp_path: Path) -> None:
    ends = run(f"killed_everywhere(where, {links}, True)", tmp_path)
    assert min(ends["before"], ends["after"]) > 25


@posix
@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("code", ["ENOSPC", "EACCES"])
def test_refused_at_every_call(code: str, for_ever: bool, links: bool, tmp_path: Path) -> None:
    ends = run(f"refused_everywhere(where, errno.{code}, {links}, {for_ever})", tmp_path)
    assert ends["calls"] > 60
    assert ends["before"] > 20
    assert ends["after"] > 2


@posix
def test_killed_at_random(tmp_path: Path) -> None:
    seconds = float(os.environ.get("DBDICOM_XR_CRASH_SECONDS", "3"))
    ends = run(f"killed_at_random(where, {seconds})", tmp_path)
    assert ends["kills"] > 10
    assert ends["completed"] + ends["undone"] > 0


# --- what a loss of power would find ----------------------------------------------------------


def test_everything_is_durable_before_the_next_state(tmp_path: Path) -> None:
    make_folder(tmp_path)
    database = tmp_path / "database"
    calls: list[tuple[str, str]] = []
    paths: dict[int, str] = {}
    real_open = os.open

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        fd = real_open(path, *arguments, **options)
        paths[fd] = str(path)
        return fd

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        path = arguments[-1] if name in ("link", "rename", "replace") else (*arguments, "")[0]
        calls.append((name, paths[path] if isinstance(path, int) else str(path)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", opened)
        with Faults(before).installed():
            save(tmp_path)
    commits = [place for place, (name, _) in enumerate(calls) if name == "COMMITTED"]
    plan, switching, done, cleared = commits
    # SQLite ends a commit by removing its journal, and does not wait for that.
    for commit_ in (plan, switching, done):
        assert calls[commit_ + 1] == ("fsync", str(database / STATE))
    # Nothing changes before the plan is kept, and no original before the new files are whole.
    assert {name for name, _ in calls[:plan]} == {"COMMIT"}
    written = {path for name, path in calls[plan:switching] if name in ("write", "link")}
    assert len(written) == 6
    assert all(is_temporary(Path(path).name) for path in written)
    last = {path: place for place, (name, path) in enumerate(calls) if name == "write"}
    for path in written:
        synced = [place for place, call in enumerate(calls) if call == ("fsync", path)]
        assert last.get(path, plan) < synced[-1] < switching
        assert ("fsync", str(Path(path).parent)) in calls[synced[-1] : switching]
    images = database / STATE / "writing" / "w" / "images"
    for path in (images, images / "1"):
        assert ("fsync", str(path)) in calls[plan:switching]
    # Names are on the disk before that is said, and before what is needed to go back is removed.
    for start, end, kinds in (
        (switching, done, ("link", "rename", "replace")),
        (done, cleared, ("unlink",)),
    ):
        folders = {}
        if start == switching:
            assert ("fsync", str(images.parent)) in calls[start:end]
            assert ("fsync", str(database / STATE / "staged")) in calls[start:end]
        for place in range(start, end):
            if calls[place][0] in kinds:
                folders[str(Path(calls[place][1]).parent)] = place
        folders.pop(str(database / STATE / "pixels"), None)  # a leftover there does no harm
        assert folders
        for folder, place in folders.items():
            assert ("fsync", folder) in calls[place:end], folder
    assert "unlink" in {name for name, _ in calls[done:cleared]}


def test_many_files_are_made_durable_together(tmp_path: Path) -> None:
    paths = [str(tmp_path / str(number)) for number in range(20)]
    for path in paths:
        Path(path).write_text(path)
    disks: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "_sync_disk", disks.append)
        assert [found.st_size for found in durable.sync_files(paths)] == [len(p) for p in paths]
        assert durable.sync_files(paths[:2])
    assert disks == [str(tmp_path)]
    durable._sync_disk(str(tmp_path))


# --- other programs ---------------------------------------------------------------------------


def by_rename(path: Path, text: bytes) -> None:
    """Replace a file as an editor does."""
    other = path.with_name("other program")
    other.write_bytes(text)
    other.replace(path)


def hidden(folder: Path, text: bytes) -> Path:
    """Return the first temporary file that has a content."""
    return next(
        path
        for path in sorted(folder.iterdir())
        if is_temporary(path.name) and path.read_bytes() == text
    )


# The save is killed when "a" is new, and "b" has its second name. What another program does then;
# whether the save is completed; what files there are in the end; words of the notes.
OLD, NEW = b"old", b"new"
MEANWHILE: dict[str, tuple[Callable[[Path], None], bool, dict[str, bytes], str]] = {
    "nothing": (lambda at: None, True, {"a": NEW, "b": NEW, "c": NEW}, ""),
    "original of a removed": (
        lambda at: hidden(at, OLD + b"a").unlink(),
        True, {"a": NEW, "b": NEW, "c": NEW}, "",
    ),
    "new a removed": (
        lambda at: (at / "a").unlink(),
        False, {"a": OLD + b"a", "b": OLD + b"b", "gone": OLD}, "",
    ),
    "new a and its original removed": (
        lambda at: (hidden(at, OLD + b"a").unlink(), (at / "a").unlink()),
        False, {"b": OLD + b"b", "gone": OLD}, "a was removed by another program",
    ),
    "new a replaced": (
        lambda at: by_rename(at / "a", b"theirs"),
        False, {"a": b"theirs", "a.kept": OLD + b"a", "b": OLD + b"b", "gone": OLD},
        "a was changed by another program meanwhile; its original is",
    ),
    "b replaced": (
        lambda at: by_rename(at / "b", b"theirs"),
        False, {"a": OLD + b"a", "b": b"theirs", "b.kept": OLD + b"b", "gone": OLD},
        "b was changed by another program meanwhile; its original is",
    ),
    "b changed in place": (
        lambda at: (at / "b").write_bytes(b"theirs"),
        False, {"a": OLD + b"a", "b": b"theirs", "gone": OLD}, "",
    ),
    "b removed": (  # its second name is a copy as good
        lambda at: (at / "b").unlink(),
        True, {"a": NEW, "b": NEW, "c": NEW}, "",
    ),
    "b and its original removed": (
        lambda at: (hidden(at, OLD + b"b").unlink(), (at / "b").unlink()),
        False, {"a": OLD + b"a", "b.kept": NEW, "gone": OLD}, "is its new content",
    ),
    "new b cut off": (
        lambda at: hidden(at, NEW).write_bytes(b"n"),
        False, {"a": OLD + b"a", "b": OLD + b"b", "gone": OLD}, "",
    ),
    "another c": (
        lambda at: (at / "c").write_bytes(b"theirs"),
        False, {"a": OLD + b"a", "b": OLD + b"b", "c": b"theirs", "gone": OLD}, "",
    ),
    "gone removed": (
        lambda at: (at / "gone").unlink(),
        True, {"a": NEW, "b": NEW, "c": NEW}, "",
    ),
    "gone changed": (
        lambda at: (at / "gone").write_bytes(b"theirs"),
        False, {"a": OLD + b"a", "b": OLD + b"b", "gone": b"theirs"}, "",
    ),
    "the folder moved": (
        lambda at: (at.parent / "elsewhere").mkdir(),
        True, {"a": NEW, "b": NEW, "c": NEW}, "",
    ),
}  # fmt: skip


def small_save(database: Path) -> None:
    (database / STATE).mkdir(exist_ok=True)
    names = ["replace a", "replace b", "create c", "delete gone"]
    steps = [Step(name.split()[0], str(database / name.split()[1])) for name in names]
    file = StagingFile(database / STATE / "staging.sqlite")
    save_files(
        file, steps, lambda number, path: Path(path).write_bytes(NEW) and None, commit,
        payload={"value": 1},
    )  # fmt: skip
    file.close()


def interrupted(where: str, event: str, number: int) -> None:
    database = Path(where) / "database"
    database.mkdir()
    for name in ("a", "b"):
        (database / name).write_bytes(OLD + name.encode())
    (database / "gone").write_bytes(OLD)
    assert in_child(killing_at(event, number), lambda: small_save(database)) == 9


def seen(database: Path) -> dict[str, bytes]:
    """Return the files, without the random part of the names of those that were kept."""
    found = {}
    for path in database.iterdir():
        if path.name != STATE:
            parts = path.name.split(".")
            found[".".join([parts[0], *parts[2:]])] = path.read_bytes()
    return found


def interrupt(folder: Path, event: str, number: int) -> Path:
    subprocess.run(
        [sys.executable, "-c", "from tests.staging.test_journal import *;"
         f"interrupted({str(folder)!r}, {event!r}, {number})"],
        check=True, timeout=60, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    return folder / "database"


@pytest.fixture(scope="module")
def half_way(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # os.replace is called for "a", then for "b".
    return interrupt(tmp_path_factory.mktemp("half"), "replace", 2)


def copied(folder: Path, to: Path) -> Path:
    """Copy with second names kept: a save compares versions, a restore compares files."""
    database = to / "database"
    subprocess.run(["cp", "-a", str(folder), str(database)], check=True)
    return database


@posix
@pytest.mark.parametrize("case", MEANWHILE)
def test_other_programs_meanwhile(case: str, half_way: Path, tmp_path: Path) -> None:
    change, completes, files, words = MEANWHILE[case]
    database = copied(half_way, tmp_path)
    change(database)
    if case == "the folder moved":
        database = database.rename(tmp_path / "elsewhere" / "database")
    file = StagingFile(database / STATE / "staging.sqlite")
    assert pending(file)
    found = recover(file, commit)
    assert found is not None
    assert found.completed == completes
    assert seen(database) == files
    assert committed(file) == [1] * completes
    assert len(found.paths) == 4
    assert words in " ".join(found.notes)
    assert bool(words) == any("another program" in note for note in found.notes)
    assert ("completed" if completes else "undone") in str(found)
    assert recover(file, commit) is None
    assert not pending(file)
    file.close()


@posix
def test_a_saved_file_that_was_removed_keeps_its_original(tmp_path: Path) -> None:
    # Killed when the first original was to be removed, after the commit.
    database = interrupt(tmp_path, "unlink", 2)
    file = StagingFile(database / STATE / "staging.sqlite")
    assert committed(file) == [1]
    (database / "a").unlink()
    by_rename(database / "b", b"theirs")
    hidden(database, OLD + b"b").write_bytes(b"written by who had it open")
    found = recover(file, commit)
    file.close()
    assert found is not None
    assert found.completed
    assert seen(database) == {
        "a.kept": OLD + b"a", "b": b"theirs", "b.kept": b"written by who had it open", "c": NEW,
    }  # fmt: skip
    assert len(found.notes) == 2


@posix
def test_a_disk_that_is_not_there(half_way: Path, tmp_path: Path) -> None:
    # The staging file is in the user's own folder, and the disk of the database not mounted.
    database = copied(half_way, tmp_path)
    (tmp_path / "home" / "staging").mkdir(parents=True)
    (database / STATE / "staging.sqlite").rename(tmp_path / "home" / "staging" / "s.sqlite")
    (database / STATE).rmdir()
    shutil.move(database, tmp_path / "away")
    database.mkdir()
    file = StagingFile(tmp_path / "home" / "staging" / "s.sqlite")
    with pytest.raises(SaveFailed, match="connect its disk"):
        recover(file, commit, root=str(database))
    assert pending(file)
    database.rmdir()
    shutil.move(tmp_path / "away", database)
    found = recover(file, commit, root=str(database))
    assert found is not None
    assert found.completed
    assert seen(database) == {"a": NEW, "b": NEW, "c": NEW}
    file.close()


@posix
def test_a_commit_that_fails_when_completing_undoes(half_way: Path, tmp_path: Path) -> None:
    database = copied(half_way, tmp_path)
    file = StagingFile(database / STATE / "staging.sqlite")

    def refuse(connection: sqlite3.Connection, payload: Any) -> None:
        raise InvalidValue("of another version")

    found = recover(file, refuse)
    assert found is not None
    assert not found.completed
    assert "of another version" in str(found)
    assert seen(database) == {"a": OLD + b"a", "b": OLD + b"b", "gone": OLD}
    file.close()


# --- errors -----------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_folder(tmp_path)
    return tmp_path


def refused(root: Path, **options: Any) -> BaseException:
    before = snapshot(root)
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        save(root, **options)
    assert snapshot(root) == before
    file = open_file(root)
    assert not pending(file)
    file.close()
    return caught.value


def failing_write(error: BaseException) -> Callable[[int, str], None]:
    def write_and_fail(number: int, path: str) -> None:
        write(number, path)
        if number == 2:
            raise error

    return write_and_fail


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), SaveFailed, "b: No space left on"),
        (OSError(errno.EROFS, "Read-only file system"), SaveFailed, "still staged"),
        (PermissionError(errno.EACCES, "Permission denied"), SaveFailed, "b: Permission denied"),
        (InvalidValue("PatientName is too long"), InvalidValue, "PatientName is too long"),
        (SaveFailed("as it is"), SaveFailed, "as it is"),
        (ZeroDivisionError("a bug"), ZeroDivisionError, "a bug"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_while_writing(
    error: BaseException, kind: type[BaseException], words: str, root: Path
) -> None:
    raised = refused(root, write=failing_write(error))
    assert type(raised) is kind
    assert words in str(raised)
    assert (raised is error) == (kind is type(error))


def test_errors_of_others(root: Path) -> None:
    def interrupt_() -> None:
        raise KeyboardInterrupt

    def lost(_: Any = None) -> None:
        raise OSError(errno.EIO, "Input/output error")

    assert isinstance(refused(root, before_commit=interrupt_), KeyboardInterrupt)
    assert "Input/output error" in str(refused(root, before_commit=lost))
    assert isinstance(refused(root, progress=lost), SaveFailed)
    assert "Object of type set" in str(refused(root, payload={1, 2}))


def test_a_file_changed_while_the_others_were_written(root: Path) -> None:
    before = snapshot(root)
    victim = root / "database" / "sub" / "b"

    def write_late(number: int, path: str) -> None:
        write(number, path)
        if number == 6:
            by_rename(victim, b"theirs")

    with pytest.raises(SaveFailed, match="b: it was changed by another program"):
        save(root, write=write_late)
    before["database/sub/b"] = (b"theirs", 0o644)
    assert snapshot(root) == before


@pytest.mark.parametrize("name", ["a", "sub/b", "gone", "link"])
@pytest.mark.parametrize("late", [False, True])
def test_nothing_of_another_program_is_overwritten(name: str, late: bool, root: Path) -> None:
    """Its change comes when all is written, or as late as when the first file has its place."""
    before = snapshot(root)
    victim = (root / "database" / name).resolve()
    real_check, real_replace = journal._Saving.check, os.replace
    moved: list[str] = []

    def check(saving: Any) -> None:
        if late:
            real_check(saving)
        by_rename(victim, b"theirs")
        if not late:
            real_check(saving)

    def replace(source: str, target: str) -> None:
        moved.append(target)
        real_replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal._Saving, "check", check)
        patch.setattr(os, "replace", replace)
        with pytest.raises(SaveFailed, match="changed by another program since"):
            save(root)
    assert moved[1:] == [] or late
    before[victim.relative_to(root).as_posix()] = (b"theirs", 0o644)
    assert snapshot(root) == before


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([Step("replace", "missing")], "No such file"),
        ([Step("replace", "sub")], "not a file"),
        ([Step("replace", "a", version=(5, 1))], "changed by another program"),
        ([Step("delete", "a", version=(6, 1))], "changed by another program"),
        ([Step("create", "a")], "another file of this name"),
        ([Step("create", "dangling")], "another file of this name"),
        ([Step("create", "a/b")], "Not a directory|File exists"),
        ([Step("replace", "a"), Step("delete", "a")], "two changes"),
        ([Step("replace", "link"), Step("replace", "../elsewhere/real")], "two changes"),
        ([Step("move", "m", source="/nowhere")], "No such file"),
        ([Step("move folder", "m", source="/nowhere")], "/nowhere: No such file"),
        ([Step("move folder", "sub", source="/nowhere")], "another file of this name"),
    ],
)
def test_steps_that_cannot_be(steps: list[Step], words: str, root: Path) -> None:
    database = root / "database"
    (database / "dangling").symlink_to("nowhere")
    before = snapshot(root)
    file = open_file(root)
    steps = [step._replace(path=str(database / step.path)) for step in steps]
    with pytest.raises(SaveFailed, match=words):
        save_files(file, steps, write, commit, payload={"value": 1})
    assert not pending(file)
    file.close()
    assert snapshot(root) == before


def test_what_cannot_be_put_back_is_put_back_later(root: Path) -> None:
    before = snapshot(root)
    real = os.replace

    def no_replace(source: str, target: str) -> None:
        # The second one fails, and then nothing can be put back over the first.
        if target.endswith("real") or (broken and is_temporary(os.path.basename(source))):
            broken.append(True)
            raise PermissionError(errno.EACCES, "Permission denied", source)
        real(source, target)

    broken: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", no_replace)
        with pytest.raises(SaveFailed, match="Not everything could be put back"):
            save(root)
        # The next save does not build on that.
        with pytest.raises(SaveFailed, match="not undone yet"):
            save(root)
        file = open_file(root)
        with pytest.raises(SaveFailed, match="not all files could be put back"):
            recover(file, commit)
        assert pending(file)
        file.close()
    found = recover_in(root)
    assert found is not None
    assert not found.completed
    assert snapshot(root) == before


def test_an_original_that_cannot_be_removed_yet(root: Path) -> None:
    # A viewer on Windows has it open.
    real = os.unlink

    def no_unlink(path: str) -> None:
        if saved:
            raise PermissionError(errno.EACCES, "in use by another program", path)
        real(path)

    saved: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", no_unlink)
        save(root, before_commit=lambda: saved.append(True))
    file = open_file(root)
    assert pending(file)
    assert (root / "database" / "a").read_bytes() == content(0)
    assert recover(file, commit) is None  # the user was told already
    assert not pending(file)
    assert committed(file) == [1]
    file.close()
    assert not [path for path in root.rglob("*") if is_temporary(path.name)]


def test_another_process_has_taken_over(root: Path) -> None:
    def taken() -> None:
        file = open_file(root)
        found = recover(file, commit)
        assert found is not None
        assert found.completed
        file.close()

    with pytest.raises(Locked, match="Another process has completed or undone"):
        save(root, before_commit=taken)
    # What that process has done is left alone.
    assert (root / "database" / "a").read_bytes() == content(0)
    file = open_file(root)
    assert committed(file) == [1]
    file.close()


def test_a_lease_that_is_lost_meanwhile(root: Path) -> None:
    # As when suspended: another process takes the lease, but has not looked at the journal yet.
    def check(connection: sqlite3.Connection) -> None:
        if lost:
            raise Locked("somebody has taken over")

    lost: list[bool] = []
    before = snapshot(root)
    with pytest.raises(Locked, match="somebody"):
        save(root, check=check, before_commit=lambda: lost.append(True))
    assert (root / "database" / "a").read_bytes() == content(0)  # for the other to decide
    file = open_file(root)
    with pytest.raises(Locked):
        recover(file, commit, check=check)
    assert committed(file) == []
    file.close()
    assert recover_in(root) is not None
    assert snapshot(root) != before
    file = open_file(root)
    assert committed(file) == [1]
    file.close()


def test_a_write_to_an_original_that_was_open_is_kept(root: Path) -> None:
    path = root / "database" / "a"
    with open(path, "ab", buffering=0) as viewer:

        def annotate() -> None:
            viewer.write(b", annotated")

        with pytest.warns(DicomWarning, match="changed by another program"):
            save(root, before_commit=annotate)
    [kept] = path.parent.glob("a.*.kept")
    assert kept.read_bytes() == b"old a, annotated"
    assert path.read_bytes() == content(0)


def test_versions_tell_new_from_old(root: Path) -> None:
    database = root / "database"
    old = (database / "a").stat()

    def same(number: int, path: str) -> None:
        Path(path).write_bytes(b"b" * old.st_size)
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))

    file = open_file(root)
    steps = [Step("replace", str(database / "a")), Step("delete", str(database / "gone"))]
    versions = save_files(file, steps, same, commit, payload={"value": 1})
    file.close()
    new = (database / "a").stat()
    assert versions == [(new.st_size, new.st_mtime_ns), (-1, -1)]
    assert new.st_mtime_ns != old.st_mtime_ns
    assert stat.S_IMODE(new.st_mode) == 0o640


@posix
def test_owner_and_marks_stay_with_the_file(root: Path) -> None:
    path = root / "database" / "a"
    if os.geteuid() == 0:
        os.chown(path, 1234, 5678)
        path.chmod(0o2640)
    marked = hasattr(os, "setxattr")
    try:
        if marked:
            os.setxattr(path, "user.note", b"mine")
    except OSError:
        marked = False  # not on this file system
    old = path.stat()
    save(root)
    new = path.stat()
    assert path.read_bytes() == content(0)
    assert (new.st_uid, new.st_gid, new.st_mode) == (old.st_uid, old.st_gid, old.st_mode)
    if marked:
        assert os.getxattr(path, "user.note") == b"mine"


def test_links_are_kept_and_their_files_replaced(root: Path) -> None:
    save(root)
    assert os.readlink(root / "database" / "link") == "../elsewhere/real"
    assert (root / "elsewhere" / "real").read_bytes() == content(4)
    file = open_file(root)
    save_files(
        file, [Step("delete", str(root / "database" / "link"))], write, commit,
        payload={"value": 2},
    )  # fmt: skip
    file.close()
    assert not os.path.lexists(root / "database" / "link")
    assert (root / "elsewhere" / "real").exists()


def test_names_that_are_no_text(root: Path) -> None:
    path = os.fsdecode(os.fsencode(root / "database") + b"/\xff\xfe")
    file = open_file(root)
    steps = [Step("create", path)]
    try:
        save_files(file, steps, write, commit, payload={"value": 1})
    except SaveFailed as error:
        pytest.skip(f"not on this file system: {error}")
    finally:
        file.close()
    assert Path(path).read_bytes() == content(0)


@posix
def test_a_limit_on_the_size_of_files(root: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def large(number: int, path: str) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            Path(path).write_bytes(bytes(100_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "a: File too large" in str(refused(root, write=large))


def test_all_that_a_save_does(root: Path) -> None:
    expected = snapshot(root)
    versions = save(root)
    del expected["database/gone"], expected[f"database/{STATE}/pixels/m"]
    expected |= {
        "database/a": (content(0), 0o640),
        "database/new": "folder",
        "database/new/deep": "folder",
        "database/new/deep/c": (content(1), 0o644),
        "database/sub/b": (content(2), 0o644),
        "elsewhere/real": (content(4), 0o644),
        "database/new/m": (b"moved", 0o644),
        "database/d": (content(6), 0o644),
        f"database/{STATE}/staged": "folder",
        "committed": [1],
    }
    images, staged = f"database/{STATE}/writing/w/images", f"database/{STATE}/staged/w"
    expected = {name.replace(images, staged): found for name, found in expected.items()}
    assert snapshot(root) == expected
    assert versions.pop() == (-1, -1)
    for step, version in zip(steps_after(root), versions, strict=True):
        assert version == (durable.look(step) or (-1, -1))


def steps_after(root: Path) -> list[str]:
    names = ["a", "new/deep/c", "sub/b", "gone", "link", "new/m", "d"]
    return [str(root / "database" / name) for name in names]


def test_what_is_read_meanwhile_is_where_it_stands(root: Path) -> None:
    found: dict[str, bytes | list[str]] = {}

    def read(places: Sequence[str]) -> None:
        for step, place in zip(steps_in(root), places, strict=True):
            name = os.path.basename(step.path)
            if os.path.isdir(place):
                found[name] = sorted(os.listdir(place))
            elif place:
                assert is_temporary(os.path.basename(place))
                assert os.path.dirname(place) == os.path.dirname(os.path.realpath(step.path))
                found[name] = Path(place).read_bytes()

    save(root, meanwhile=read)
    written = {name: content(number) for number, name in enumerate(("a", "c", "b"))}
    written |= {"link": content(4), "m": b"moved", "d": content(6)}
    assert found == {**written, "w": ["1"]}


def many(root: Path) -> list[Step]:
    return [Step("create", str(root / "database" / f"{number:04d}")) for number in range(500)]


def test_many_files_are_written_by_several_threads(root: Path) -> None:
    threads = set()
    counts: list[tuple[int, int]] = []

    def put(number: int, path: str) -> None:
        threads.add(threading.get_ident())
        Path(path).write_text(str(number))
        time.sleep(0.0002)

    file = open_file(root)
    steps = many(root)
    save_files(
        file, steps, put, commit, payload={"value": 1},
        progress=lambda count: counts.append((count, threading.get_ident())),
    )  # fmt: skip
    file.close()
    assert [Path(step.path).read_text() for step in steps] == [str(n) for n in range(500)]
    assert len(threads) == 2
    assert {thread for _, thread in counts} == {threading.get_ident()}
    assert [count for count, _ in counts] == sorted(count for count, _ in counts)
    assert counts[-1][0] == 500


@pytest.mark.parametrize("failing", [0, 1, 249, 498, 499])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), InvalidValue("no")])
def test_one_of_many_files_that_cannot_be_written(
    error: Exception, failing: int, root: Path
) -> None:
    before = snapshot(root)
    written = []

    def put(number: int, path: str) -> None:
        if number == failing:
            raise error
        Path(path).write_text("new")
        written.append(number)

    file = open_file(root)
    steps = many(root)
    expected = SaveFailed if isinstance(error, OSError) else InvalidValue
    with pytest.raises(expected) as caught:
        save_files(file, steps, put, commit, payload={"value": 1})
    if expected is SaveFailed:
        assert f"{steps[failing].path}: Input/output error" in str(caught.value)
    else:
        assert caught.value is error
    assert not pending(file)
    file.close()
    assert snapshot(root) == before


@posix
def test_killed_while_several_threads_write(root: Path) -> None:
    def action() -> None:
        file = open_file(root)
        put = lambda number, path: Path(path).write_text(str(number))  # noqa: E731
        save_files(file, many(root), put, commit, payload={"value": 1})

    before = snapshot(root)
    ends = set()
    for number in (3, 40, 250, 499, 504, 700, 1200, 1504, 1510):
        code = in_child(killing(number), action)
        recover_in(root)
        after = snapshot(root)
        made = {name for name in after if name.startswith("database/0")}
        ends.add((code, len(made)))
        assert len(made) in (0, 500), number
        assert {name: after[name] for name in after if name not in made} == before | {
            "committed": [1] if made else []
        }
        for name in made:
            (root / name).unlink()
        file = open_file(root)
        with file.transaction() as connection:
            connection.execute("DELETE FROM committed")
        file.close()
    assert (9, 0) in ends


def test_a_writer_that_nobody_waits_for_any_more(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C again and again may end any wait; what is written after that goes."""
    before = snapshot(root)
    late = threading.Event()
    threads = []

    def put(number: int, path: str) -> None:
        if number == 1:
            late.wait(10)
        Path(path).write_text("new")

    def impatient(functions: Sequence[Callable[[], Any]]) -> None:
        _, other = functions
        threads.append(threading.Thread(target=other))
        threads[0].start()
        raise KeyboardInterrupt

    monkeypatch.setattr(journal, "together", impatient)
    file = open_file(root)
    with pytest.raises(KeyboardInterrupt):
        save_files(file, many(root), put, commit, payload={"value": 1})
    late.set()
    threads[0].join(10)
    file.close()
    assert snapshot(root) == before


@posix
def test_saved_while_python_ends(root: Path) -> None:
    # Where no thread can be started any more.
    code = f"""
import atexit, threading
from pathlib import Path
from tests.staging.test_journal import commit, many, open_file, save_files
def late():
    try:
        threading.Thread(target=print).start()
    except RuntimeError:
        print("no threads")
    file = open_file(root)
    put = lambda number, path: Path(path).write_text(str(number))
    save_files(file, many(root), put, commit, payload={{"value": 1}}, meanwhile=lambda paths: None)
    file.close()
root = Path({str(root)!r})
atexit.register(late)
import concurrent.futures.thread  # what it does at the end comes first
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert [Path(step.path).read_text() for step in many(root)] == [str(n) for n in range(500)]
    assert snapshot(root)["committed"] == [1]


def test_ctrl_c_while_many_files_are_written(root: Path) -> None:
    before = snapshot(root)
    active = 0

    def put(number: int, path: str) -> None:
        nonlocal active
        active += 1
        Path(path).write_text("new")
        time.sleep(0.0005)
        active -= 1

    def stop(count: int) -> None:
        if count > 100:
            raise KeyboardInterrupt

    file = open_file(root)
    with pytest.raises(KeyboardInterrupt):
        save_files(file, many(root), put, commit, payload={"value": 1}, progress=stop)
    assert not active
    file.close()
    assert snapshot(root) == before


def test_reading_meanwhile_that_fails(root: Path) -> None:
    def fail(places: Sequence[str]) -> None:
        raise OSError(errno.EIO, "Input/output error")

    assert "Input/output error" in str(refused(root, meanwhile=fail))


@pytest.mark.parametrize("late", [False, True])
def test_what_was_to_be_moved_comes_back(late: bool, root: Path) -> None:
    # Another program has removed it: then our second name for it is the only one.
    source = root / "database" / STATE / "pixels" / "m"

    def lose(*_: Any) -> None:
        if source.exists():
            source.unlink()
            raise OSError(errno.EIO, "Input/output error")

    def write_and_lose(number: int, path: str) -> None:
        write(number, path)
        if number == 6:
            lose()

    options = {"before_commit": lose} if late else {"write": write_and_lose}
    assert "Input/output error" in str(refused(root, **options))
    assert source.read_bytes() == b"moved"


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_overwrites_none(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    new, there = tmp_path / "new", tmp_path / "there"
    new.write_text("new")
    there.write_text("theirs")
    with pytest.raises(FileExistsError):
        durable.put_new(str(new), str(there))
    assert (new.read_text(), there.read_text()) == ("new", "theirs")
    durable.put_new(str(new), str(tmp_path / "place"))
    assert not new.exists()
    assert (tmp_path / "place").read_text() == "new"


def test_progress_counts_files(root: Path) -> None:
    counts: list[int] = []
    save(root, progress=counts.append)
    assert counts == list(range(1, 9))


def test_nothing_to_save(root: Path) -> None:
    file = open_file(root)
    assert save_files(file, [], write, commit, payload={"value": 1}) == []
    assert committed(file) == [1]
    assert not pending(file)
    file.close()


def test_temporary_names() -> None:
    assert is_temporary(os.path.basename(durable.temporary_beside("/a/b")))
    for name in (".dbdicom_xr", "a.dbdicom_xr", ".0123456789abcdeg.dbdicom_xr", "IM0001"):
        assert not is_temporary(name)
