"""Arrays that are written while processes are killed and disks fill: all images, or none."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DatabaseChanged, DbdicomError, Locked, MissingFolder, SaveRecovered
from dbdicom_xr.index.files import TEMPORARY_SUFFIX
from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
from dbdicom_xr.testing import make_series
from tests.records.faults import Refusing, in_child, killing, watched
from tests.records.ordinary import run_python

pytestmark = pytest.mark.skipif(os.name != "posix", reason="os.fork, chmod")

LONG = bool(os.environ.get("DBDICOM_XR_CRASH"))
SHAPE = (4, 3)  # x, y
UNDONE_LATER = "Opening the database again"  # where nothing can be put back either
Constants = list[int]  # of each image of a series, in the order of InstanceNumber


def constants(numbers: Constants) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """An image of one number each."""
    return np.array(numbers, np.uint16)[:, None, None] * np.ones(SHAPE, np.uint16)


def make_folder(root: Path) -> None:
    """Two series: one of three images 1, 2, 3, and one that nothing writes to."""
    for seed, (name, numbers) in enumerate({"one": [1, 2, 3], "two": [9]}.items()):
        make_series(
            root / name, keys={"SliceLocation": [5.0 * i for i in range(len(numbers))]}, n=1,
            shape=SHAPE, pixels=constants(numbers)[:, None], seed=seed,
            header={"SeriesDescription": name, "SeriesInstanceUID": f"1.2.{seed}"},
        )  # fmt: skip
    db.database(root)._close()


def one_of(database: Any) -> Any:
    return database.series(SeriesDescription="one")[0]


def called_two(database: Any) -> Any:
    return database.series(SeriesDescription="two")[0]


def shown(series: Any) -> Constants:
    """The number of each image, in order; each must be the same in all of its pixels."""
    found = []
    for instance in sorted(series.instances(), key=lambda i: i.InstanceNumber):
        frames = instance.array().transpose(..., "x", "y").values.reshape(-1, *SHAPE)
        for values in map(np.unique, frames):
            assert len(values) == 1, "half an image"
            found.append(int(values[0]))
    return found


def originals(root: Path) -> dict[str, str]:
    """What lies in the folder and is not ours."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".dbdicom_xr" not in path.parts
    }


def saved_constants(root: Path) -> Constants:
    """What pydicom finds in the files of the first series, without the index."""
    found = []
    for path in originals(root):
        dataset = pydicom.dcmread(root / path)
        if dataset.SeriesDescription == "one":
            values = np.unique(dataset.pixel_array * float(dataset.get("RescaleSlope", 1)))
            found.append((dataset.InstanceNumber, *values.tolist()))
    return [int(value) for _, value in sorted(found)]


def left_over(root: Path, database: Any) -> list[str]:
    """Files that belong to nothing."""
    inside = root / ".dbdicom_xr"
    known = {
        uid
        for key, patch in database._staging.layer().patches.items()
        if key.role.name in ("STAGED", "REMOVED")
        for uid in (*patch.uids, *patch.origins)
    }
    found = []
    for path in inside.rglob("*"):
        if path.is_dir() or path.name.startswith(("index.sqlite", "staging.sqlite")):
            continue
        staged = path.parts[len(inside.parts)] == "staged"
        if not staged or pydicom.dcmread(path).SOPInstanceUID not in known:
            found.append(str(path))
    found += map(str, (inside / "writing").glob("*"))
    return found


def lease_of(root: Path) -> list[int]:
    """The process that may change the database, if it is there."""
    path = root / ".dbdicom_xr" / "staging.sqlite"
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT pid FROM lease").fetchall()
    connection.close()
    return [pid for (pid,) in rows if Path(f"/proc/{pid}").exists()]


def state_of(root: Path) -> dict[str, Any]:
    """Open a folder twice and return what is in it, with what the opening said of a write."""
    with use_front_end(ScriptedFrontEnd()), dask.config.set(scheduler="synchronous"):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            database = db.database(root)
            found = {series.SeriesDescription[0]: shown(series) for series in database.series()}
            database._close()
        others = [str(w.message) for w in said if w.category is not SaveRecovered]
        assert not others, others
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the second opening has nothing to say
            database = db.database(root)
            again = {series.SeriesDescription[0]: shown(series) for series in database.series()}
        assert again == found
        assert not left_over(root, database), left_over(root, database)
        staged = not database.changes().empty
        problems = list(database.problems)
        database._close()
        assert not problems, problems
        assert not lease_of(root)
        # An index that is made anew shows the same: none of what is staged is in it alone.
        (root / ".dbdicom_xr" / "index.sqlite").unlink()
        database = db.database(root)
        again = {series.SeriesDescription[0]: shown(series) for series in database.series()}
        assert again == found
        database._close()
    return {
        "shown": found,
        "saved": saved_constants(root),
        "staged": staged,
        "said": [str(w.message) for w in said],
    }


# -- what is done --------------------------------------------------------------------------------

Act = Callable[[Any], None]


def nothing_before(database: Any) -> None:
    pass


def write(database: Any, numbers: Constants | None = None, **options: Any) -> None:
    """Write as a block per image."""
    import dask.array as da

    array = constants([21, 22, 23, 24] if numbers is None else numbers)
    blocks = da.from_array(array, chunks=(1, *SHAPE))
    one_of(database).set_array(blocks, "template", **options)


def over_itself(database: Any) -> None:
    series = one_of(database)
    array, _ = series.array("SliceLocation")
    series.set_array(array * 2)


def add(database: Any) -> None:
    write(database, [31, 32], mode="a")


def as_one_file(database: Any) -> None:
    import dask.array as da

    array, header = one_of(database).array("SliceLocation")
    doubled = array.copy(data=da.from_array(array.values * 2, chunks=(1, 1, *SHAPE)))
    one_of(database).set_array(doubled, header, multiframe=True)


def maps(database: Any) -> None:
    one_of(database).set_array(constants([21]).astype(np.float32), "template", dtype="float32")


def later(database: Any) -> None:
    import dask.array as da

    blocks = da.from_array(constants([21, 22, 23, 24]), chunks=(1, *SHAPE))
    one_of(database).set_array(blocks, "template", compute=False).compute()


def save(database: Any) -> None:
    database.save()


def restore(database: Any) -> None:
    database.restore()


ACTS: dict[str, tuple[Act, Act]] = {
    "write": (nothing_before, write),
    "over itself": (nothing_before, over_itself),
    "over what is not saved": (write, over_itself),
    "add": (write, add),
    "one file": (nothing_before, as_one_file),
    "maps": (nothing_before, maps),
    "later": (nothing_before, later),
    "save": (over_itself, save),
    "restore": (over_itself, restore),
}
ALWAYS = ["over what is not saved", "save"]


class Stage:
    """Sets the same folder up again and again, and knows its two allowed ends."""

    def __init__(self, where: Path, before: Act, act: Act) -> None:
        self.template, self.root, self.act = where / "template", where / "root", act
        self.said: list[str] = []
        make_folder(self.template)
        self.fresh()
        self.do(before)
        shutil.rmtree(self.template)
        shutil.copytree(self.root, self.template)
        self.files = originals(self.root)
        self.before = self.state()
        self.fresh()
        self.do(act)
        self.after = self.state()
        assert self.before != self.after

    def fresh(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.template, self.root)

    def run(self, act: Act) -> None:
        with dask.config.set(scheduler="synchronous"):
            database = db.database(self.root)
            act(database)
            database._close()

    def do(self, act: Act) -> None:
        code, error = in_child(lambda: self.run(act))
        assert code == 0, error

    def state(self) -> dict[str, Any]:
        code, found = in_child(lambda: state_of(self.root))
        assert code == 0, found
        self.said += found.pop("said")
        return dict(found)

    def end(self, what: str) -> str:
        """Return at which of the two ends the folder is; anything else is an error."""
        found = self.state()
        if self.act is not save or found == self.before:
            assert originals(self.root) == self.files, what
        if found == self.before:
            return "before"
        assert found == self.after, what
        return "after"


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import here what each forked process would have to import."""
    root = tmp_path_factory.mktemp("warm")
    make_folder(root)
    with dask.config.set(scheduler="synchronous"):
        database = db.database(root)
        over_itself(database)
        if LONG:
            as_one_file(database)
            maps(database)
        database.close(save=False)
    state_of(root)


@pytest.fixture
def fast() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of waits for a disk would take minutes."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as path:
        yield Path(path)


@pytest.fixture
def root(fast: Path) -> Path:
    make_folder(fast / "dicom")
    return fast / "dicom"


# -- killed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(ACTS) if LONG else ALWAYS)
def test_killed_before_each_call_that_writes(fast: Path, name: str) -> None:
    stage = Stage(fast, *ACTS[name])
    ends: Counter[str] = Counter()
    for number in range(1, 1000, 1 if LONG else 7):
        stage.fresh()
        code, error = in_child(lambda: stage.run(stage.act), killing(number))
        assert code in (0, 9), error
        end = stage.end(f"killed at call {number}")
        ends[end] += 1
        if code == 0:
            assert end == "after"
            break
    print(name, dict(ends))
    assert ends["before"] > 1
    assert ends["after"] > 1, "the end of the process itself is after the commit"


class Model:
    """What a series holds: a number per image."""

    def __init__(self, saved: Constants, now: Constants) -> None:
        self.saved, self.now = saved, now

    def after(self, what: str, numbers: Constants) -> Model:
        now = {"w": numbers, "a": self.now + numbers, "restore": self.saved}.get(what, self.now)
        return Model(self.now if what == "save" else self.saved, now)


def keep_writing(root: Path, seed: int, say: Callable[[Any], None]) -> None:
    """Write, save and restore at random until killed, saying before each act what it will make."""
    chance = random.Random(seed)
    warnings.simplefilter("ignore")
    pool = ThreadPoolExecutor(2)
    options: list[dict[str, Any]] = [{}, {}, {"scale": "series"}, {"transfer_syntax": "RLE"}]
    with dask.config.set(scheduler="threads", pool=pool):
        database = db.database(root)
        model = Model(saved_constants(root), shown(one_of(database)))
        say([model.saved, model.now])
        while True:
            what = chance.choice(["w", "w", "a", "save", "restore"] if len(model.now) < 9 else "w")
            numbers = [chance.randrange(1, 60000) for _ in range(chance.randrange(1, 5))]
            model = model.after(what, numbers)
            say([model.saved, model.now])
            if what in ("w", "a"):
                write(database, numbers, mode=what, **chance.choice(options))
            else:
                getattr(database, what)()
            say([model.saved, model.now])


def killed_after(root: Path, seed: int, seconds: float) -> list[list[Constants]]:
    """Return the last two things that a process said before it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            keep_writing(root, seed, lambda said: os.write(writing, f"{said}\n".encode()))
        except BaseException as error:
            os.write(writing, (json.dumps(repr(error)) + "\n").encode())
        os._exit(1)
    os.close(writing)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        said = [json.loads(line) for line in pipe.read().splitlines()]
    os.waitpid(child, 0)
    assert all(isinstance(one, list) for one in said), (seed, said)
    return said[-2:]


def test_killed_at_any_moment(root: Path) -> None:
    chance = random.Random(os.environ.get("DBDICOM_XR_CRASH", "0"))
    until = time.monotonic() + (400 if LONG else 6)
    kills = within = recovered = saves = 0
    while time.monotonic() < until and kills < 1000:
        if kills % 25 == 0:
            shutil.rmtree(root)
            make_folder(root)
        before, seed = originals(root), chance.randrange(10**9)
        said = killed_after(root, seed, chance.uniform(0.02, 0.5))
        code, found = in_child(lambda: state_of(root))
        assert code == 0, (seed, said, found)
        if said:
            state = [found["saved"], found["shown"]["one"]]
            assert state in said, (seed, said, found)
            assert found["shown"]["two"] == [9]
            saves += originals(root) != before
            within += said[0] != said[-1]
        kills += 1
        recovered += bool(found["said"])
    print(f"{kills} kills, {within} within an act, {saves} after a save, {recovered} recovered")
    assert kills >= (100 if LONG else 4)


# -- refused -------------------------------------------------------------------------------------


def refused(stage: Stage, number: int, code: int, until: int | None) -> tuple[int, str, str]:
    """Do the act with calls refused, then what a user would do next; return what was said."""
    with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"):
        warnings.simplefilter("ignore")
        database = db.database(stage.root)
        before, files = shown(one_of(database)), originals(stage.root)
        database._close()  # to open its files again under watch
        faults = Refusing(number, code, until)
        name, text = "", ""
        try:
            with watched(faults):
                stage.act(database)
        except DbdicomError as error:
            name, text = (
                type(error).__name__,
                " ".join([str(error), *getattr(error, "__notes__", [])]),
            )
            assert isinstance(error, OSError), (name, text)  # noqa: PT017
        faults.over = True
        if name:
            if UNDONE_LATER not in text:
                # The object that met the error shows what is there, and goes on.
                assert shown(one_of(database)) == before, text
                assert originals(stage.root) == files, text
            if stage.act is not later and UNDONE_LATER not in text:
                # What is computed later can be computed again, till the process ends.
                assert not left_over(stage.root, database), text
            if not stage.before["staged"]:
                assert database.changes().empty
                # A full disk may keep the row of the lease, too.
                assert until is None or faults.refused == "COMMIT" or not lease_of(stage.root)
            if number % 2:
                stage.act(database)
        database._close()
        return faults.calls, name, text


REFUSED = [
    ("write", errno.ENOSPC, True),
    ("later", errno.EIO, False),
    ("save", errno.ENOSPC, True),
    ("over what is not saved", errno.ENOSPC, False),
    ("one file", errno.ENOSPC, False),
    ("maps", errno.EDQUOT, False),
    ("add", errno.EACCES, False),
]


@pytest.mark.parametrize(("act", "code", "for_ever"), REFUSED if LONG else REFUSED[:3])
def test_each_call_that_writes_is_refused(fast: Path, act: str, code: int, for_ever: bool) -> None:
    stage = Stage(fast, *ACTS[act])
    ends: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for number in range(1, 1000, 1 if LONG else 9):
        stage.fresh()
        exit_code, found = in_child(
            lambda: refused(stage, number, code, None if for_ever else number)  # noqa: B023
        )
        assert exit_code == 0, (number, found)
        calls, name, text = found
        if name:
            words = (os.strerror(code).lower(), "disk is full", "readonly", "i/o error")
            assert any(word in text.lower() for word in words), (number, name, text)
            assert str(stage.root) in text, (number, name, text)
        end = stage.end(f"refused at call {number}: {name} {text}")
        names[name] += 1
        wanted = {"before"} if name and number % 2 == 0 else {"after"}
        if UNDONE_LATER in text:
            wanted.add("after")
        assert end in wanted, (number, name, text)
        ends[end] += 1
        if calls < number:
            assert not name
            break
    print(act, dict(ends), dict(names))
    assert ends["before"], ends


# -- what else can go wrong ----------------------------------------------------------------------


@pytest.mark.parametrize("act", ["write", "maps", "one file"])
def test_limit_on_the_size_of_files(root: Path, act: str) -> None:
    # SQLite's own writes are refused too, as on a full disk.
    def limited() -> str:
        with dask.config.set(scheduler="synchronous"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            database = db.database(root)
            before, files = shown(one_of(database)), originals(root)
            one_of(database).SeriesDescription = "one"  # so that the staging file is there
            unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, unlimited[1]))
            try:
                with pytest.raises(DbdicomError) as failed:
                    ACTS[act][1](database)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
            assert isinstance(failed.value, OSError), failed.value
            assert shown(one_of(database)) == before
            assert originals(root) == files
            assert not left_over(root, database)
            ACTS[act][1](database)
            assert shown(one_of(database)) != before
            database.close(save=False)
            return str(failed.value)

    code, text = in_child(limited)
    assert code == 0, text
    assert str(root) in text
    assert "damaged" not in text


CLOSED = """
import dbdicom_xr as db, os, numpy as np, dask, dask.array as da
from dbdicom_xr.errors import *
dask.config.set(scheduler="synchronous")
root = {root!r}
database = db.database(root)
series = database.series(SeriesDescription="one")[0]
inside = root + "/.dbdicom_xr"
computed = []
def close(block, block_info=None):
    computed.append(1)
    if len(computed) == 2:
        folder = os.path.join(inside, "writing", os.listdir(inside + "/writing")[0])
        os.chmod(folder + "/images" if {what!r} == "folder" else inside, 0o555)
    return block
array = da.zeros((4, 4, 3), dtype="uint16", chunks=(1, 4, 3))
if {what!r} == "before":
    os.chmod(inside, 0o555)
try:
    series.set_array(array.map_blocks(close, dtype="uint16", meta=np.empty((0, 0, 0), "uint16")),
                     "template")
    print("written")
except (SaveFailed, StagingNotWritable) as error:
    print(type(error).__name__, error)
print(len(computed), len(series), database.changes().empty)
for path, folders, files in os.walk(inside):
    os.chmod(path, 0o755)
series.set_array(array, "template")
print(len(series))
database.close(save=False)
"""


@pytest.mark.parametrize(
    ("what", "computed"), [("before", 0), ("folder", 2), ("folder of the index", 4)]
)
def test_permission_that_is_lost(root: Path, tmp_path: Path, what: str, computed: int) -> None:
    files = originals(root)
    said = run_python(CLOSED.format(root=str(root), what=what), tmp_path / "home", powerless=True)
    error, state, again = said.splitlines()[-3:]
    name = "SaveFailed" if what == "folder" else "StagingNotWritable"
    assert error.startswith(name), error
    assert str(root) in error
    assert state == f"{computed} 3 True"
    assert again == "4"
    assert originals(root) == files
    assert state_of(root)["shown"]["one"] == [1, 2, 3]


def test_read_only_folder(root: Path, tmp_path: Path) -> None:
    for path in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        path.chmod(0o555)
    code = (
        "import dbdicom_xr as db, numpy as np\n"
        "from dbdicom_xr.errors import *\n"
        f"database = db.database({str(root)!r})\n"
        "try:\n"
        "    database.series()[0].set_array(np.zeros((2, 4, 3), 'uint16'), 'template')\n"
        "except StagingNotWritable as error:\n"
        "    print(error)\n"
        "print(len(database.instances()))\n"
    )
    said = run_python(code, tmp_path / "home", powerless=True).splitlines()
    for path in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        path.chmod(0o755)
    assert str(root) in said[-2]
    assert "create=True" in said[-2]
    assert said[-1] == "4"


def test_folder_of_the_write_is_removed_by_someone(root: Path) -> None:
    import dask.array as da

    def remove(block: Any) -> Any:
        for folder in (root / ".dbdicom_xr" / "writing").iterdir():
            shutil.rmtree(folder)
        return block

    database = db.database(root)
    array = da.zeros((2, *SHAPE), dtype=np.uint16, chunks=(1, *SHAPE))
    gone = array.map_blocks(remove, meta=np.empty((0, 0, 0), np.uint16))
    with pytest.raises(DbdicomError, match=r"There is no .*writing.* any more"):
        one_of(database).set_array(gone, "template")
    assert shown(one_of(database)) == [1, 2, 3]
    assert database.changes().empty
    assert not lease_of(root)
    write(database)
    assert shown(one_of(database)) == [21, 22, 23, 24]
    database.close(save=False)


def test_folder_that_is_renamed_before_it_is_written_to(root: Path) -> None:
    database = db.database(root)
    pixels = np.full((2, *SHAPE), 4, np.uint16)
    delayed = one_of(database).set_array(pixels, "template", compute=False)
    root.rename(root.with_name("renamed"))
    with pytest.raises(MissingFolder, match=r"is to be written.*name again and compute once more"):
        delayed.compute()
    root.with_name("renamed").rename(root)
    delayed.compute()
    assert shown(one_of(database)) == [4, 4]
    database.close(save=False)


def test_folder_that_does_not_say_whose_it_is(root: Path) -> None:
    # As another process leaves it, for a moment or for ever.
    writing = root / ".dbdicom_xr" / "writing"
    (writing / "empty").mkdir(parents=True)
    (writing / "begun").mkdir()
    (writing / "begun" / f"goal{TEMPORARY_SUFFIX}").write_bytes(b"[")
    (writing / "other").mkdir()
    (writing / "other" / "plan").write_bytes(b"of a version to come")
    db.database(root)._close()
    assert [path.name for path in writing.iterdir()] == ["other"]
    os.utime(writing / "other", (0, 0))
    db.database(root)._close()
    assert not writing.exists()


def test_folder_swept_away_before_it_says_whose_it_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = db.database(root)
    real, times = os.makedirs, []

    def swept(path: str, *arguments: Any, **options: Any) -> None:
        real(path, *arguments, **options)
        if os.path.basename(os.path.dirname(path)) == "writing":
            times.append(path)
            if len(times) < 3:
                os.rmdir(path)

    monkeypatch.setattr(os, "makedirs", swept)
    write(database)
    assert len(times) == 3
    assert shown(one_of(database)) == [21, 22, 23, 24]
    database.close(save=False)


# -- two processes -------------------------------------------------------------------------------

WRITER = """
import dbdicom_xr as db, dask, dask.array as da, numpy as np, sys, time
dask.config.set(scheduler="synchronous")
def slow(block, block_info=None):
    print("block", flush=True)
    sys.stdin.readline()
    return block
if __name__ == "__main__":
    database = db.database({root!r})
    array = da.full((2, 4, 3), 77, dtype="uint16", chunks=(1, 4, 3))
    array = array.map_blocks(slow, dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
    written = database.series(SeriesDescription="one")[0].set_array(
        array, "template", compute={compute})
    if not {compute}:
        written.compute()
    print("written", flush=True)
    sys.stdin.readline()
    database.{end}
"""


@contextmanager
def another(root: Path, *, compute: bool = True, end: str = "close(save=False)") -> Iterator[Any]:
    """Another process that is writing, and waits in each block for a line."""
    code = WRITER.format(root=str(root), compute=compute, end=end)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=environment, text=True, bufsize=1,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "block\n"
        try:
            yield process
        finally:
            process.kill()


def go_on(process: Any, lines: int, last: str = "") -> None:
    for _ in range(lines):
        process.stdin.write("\n")
        process.stdin.flush()
    if last:
        while process.stdout.readline() != f"{last}\n":
            assert process.poll() is None


def test_another_process_is_writing(root: Path) -> None:
    import dask.array as da

    computed = []

    def note(block: Any) -> Any:
        computed.append(block)
        return block

    array = da.zeros((2, *SHAPE), dtype=np.uint16, chunks=(1, *SHAPE))
    noted = array.map_blocks(note, meta=np.empty((0, 0, 0), np.uint16))
    with another(root) as process:
        database = db.database(root)  # which leaves the other write alone
        for options in ({}, {"compute": False}):
            with pytest.raises(Locked):
                one_of(database).set_array(noted, "template", **options)
        assert not computed
        go_on(process, 2, "written")
        time.sleep(0.1)
        assert shown(one_of(database)) == [77, 77]
        with pytest.raises(Locked):
            one_of(database).set_array(noted, "template")
        assert not computed
        go_on(process, 1)
        process.wait(30)
    time.sleep(0.1)
    assert shown(one_of(database)) == [1, 2, 3]
    write(database)
    database.close(save=True)
    assert state_of(root)["saved"] == [21, 22, 23, 24]


@pytest.mark.parametrize("compute", [True, False])
def test_process_killed_in_a_block(root: Path, compute: bool) -> None:
    with another(root, compute=compute) as process:
        go_on(process, 1)
        process.stdout.readline()
        assert list((root / ".dbdicom_xr" / "writing").glob("*/images/*.dcm"))
        process.kill()
        process.wait()
    found = state_of(root)
    assert found["shown"]["one"] == [1, 2, 3]
    assert not found["staged"]
    assert not found["said"]


def test_never_computed(root: Path) -> None:
    files = originals(root)

    def forgotten() -> None:
        database = db.database(root)
        write(database, compute=False)
        assert list((root / ".dbdicom_xr" / "writing").iterdir())
        assert not lease_of(root)
        assert database.changes().empty
        database.close()

    code, error = in_child(forgotten)
    assert code == 0, error
    assert state_of(root) == {
        "shown": {"one": [1, 2, 3], "two": [9]}, "saved": [1, 2, 3], "staged": False, "said": [],
    }  # fmt: skip
    assert originals(root) == files


def test_finished_by_others_after_the_process_ended(root: Path) -> None:
    """Workers that outlive the process which planned the write leave all images; none is lost."""

    def ended() -> None:
        import dbdicom_xr.records.writing.write_array as writing

        writing.adopt_finished = lambda *arguments: None  # type: ignore[attr-defined]
        database = db.database(root)
        with dask.config.set(scheduler="synchronous"):
            later(database)
        os._exit(0)

    assert in_child(ended)[0] == 0
    found = state_of(root)
    assert found["shown"]["one"] == [21, 22, 23, 24]
    assert found["staged"]
    assert len(found["said"]) == 1
    database = db.database(root)
    database.restore()
    database.close()
    assert state_of(root)["shown"]["one"] == [1, 2, 3]


def test_computed_while_another_process_changes_the_database(root: Path) -> None:
    import dask.array as da

    with dask.config.set(scheduler="synchronous"):
        database = db.database(root)
        blocks = da.from_array(constants([21, 22]), chunks=(1, *SHAPE))
        written = called_two(database).set_array(blocks, "template", compute=False)
        with another(root) as process:
            with pytest.raises(Locked) as refused:
                written.compute()
            assert "come in when that has ended" in str(refused.value.__notes__)
            assert shown(called_two(database)) == [9]
            with pytest.raises(Locked):
                written.compute()  # again, which does no harm
            go_on(process, 3)
            process.wait(30)
        until = time.monotonic() + 10
        while shown(called_two(database)) == [9]:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert shown(called_two(database)) == [21, 22]
        assert not list((root / ".dbdicom_xr").glob("writing/*"))
        database.close(save=False)
    assert state_of(root)["shown"] == {"one": [1, 2, 3], "two": [9]}


def test_index_that_changes_meanwhile_costs_no_images(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dbdicom_xr.records.writing import adopting

    real, times = adopting._changed, []

    def changed(*arguments: Any) -> Any:
        times.append(1)
        if len(times) < 3:
            raise DatabaseChanged("brought up to date by another process")
        return real(*arguments)

    monkeypatch.setattr(adopting, "_changed", changed)
    database = db.database(root)
    write(database)
    assert len(times) == 3
    assert shown(one_of(database)) == [21, 22, 23, 24]
    database.close(save=False)
