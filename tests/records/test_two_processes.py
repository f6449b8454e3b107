"""One process changes a folder, others read it meanwhile; of the same user and of another one."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import Locked, StaleArray
from tests.records.folder_states import files_of, make_folder
from tests.records.ordinary import run_python

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_folder(tmp_path / "dicom")
    return tmp_path / "dicom"


class Other:
    """Another process with the database open, which does what it is told line by line."""

    def __init__(self, root: Path) -> None:
        code = (
            "import sys, warnings\nimport dbdicom_xr as db\n"
            "from dbdicom_xr.errors import *\nwarnings.simplefilter('ignore')\n"
            f"database = db.database({str(root)!r})\n"
            "one, other = database.series()[:2]\ninstance = one.instances()[0]\n"
            "print('ready', flush=True)\n"
            "for line in sys.stdin:\n"
            "    try:\n"
            "        exec(line)\n"
            "        print('done', flush=True)\n"
            "    except Exception as error:\n"
            "        print(type(error).__name__, error, flush=True)\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def do(self, line: str) -> str:
        """Do one thing, and return what came of it."""
        self.begin(line)
        return self._answer()

    def begin(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def other(root: Path) -> Iterator[Other]:
    process = Other(root)
    yield process
    process.end()


def first(database: Any) -> Any:
    return database.series()[0].instances()[0]


def seen_soon(read: Any, wanted: Any) -> None:
    """Another process's change is seen within a moment."""
    until = time.monotonic() + 5
    while read() != wanted and time.monotonic() < until:
        time.sleep(0.02)
    assert read() == wanted


def test_the_second_writer_is_told_who_the_first_is(root: Path, other: Other) -> None:
    database = db.database(root)
    instance = first(database)
    assert other.do("instance.ImageComments = 'of the other'") == "done"
    with pytest.raises(Locked) as refused:
        instance.ImageComments = "mine"
    for word in (str(other.process.pid), socket.gethostname()):
        assert word in str(refused.value)
    for change in (database.series()[0].remove, instance.copy, database.new_patient, database.save):
        with pytest.raises(Locked):
            change()
    with pytest.raises(Locked), database.batch():
        pass
    seen_soon(lambda: instance.ImageComments, "of the other")
    assert len(database.instances()) == 6
    # What it saves it lets go of, and keeps where something stays staged.
    assert other.do("other.SeriesDescription = 'stays staged'") == "done"
    assert other.do("one.save()") == "done"
    with pytest.raises(Locked):
        instance.ImageComments = "mine"
    assert other.do("database.save()") == "done"
    instance.ImageComments = "mine"
    assert other.do("instance.ImageComments = 'again'").startswith("Locked")
    database.close(save=True)
    assert other.do("instance.ImageComments = 'again'") == "done"
    seen_soon(lambda: instance.ImageComments, "again")


def test_arrays_of_a_record_that_was_sent_are_dicom_arrays(root: Path, tmp_path: Path) -> None:
    with db.database(root) as database:
        sent = pickle.dumps(database.series()[0])
    code = (
        f"import pickle\nseries = pickle.loads({sent!r})\n"
        "print(series.array()[0].dicom.header.shape)"
    )
    assert run_python(code, tmp_path).strip() == "(3,)"


@posix
def test_the_lease_of_a_writer_that_was_killed_ends_at_once(root: Path, other: Other) -> None:
    database = db.database(root)
    assert other.do("instance.ImageComments = 'of the other'") == "done"
    other.kill()
    start = time.monotonic()
    first(database).PatientComments = "mine"
    assert time.monotonic() - start < 2
    assert first(database).ImageComments == "of the other"
    database.close(save=True)


@posix
@pytest.mark.parametrize("state", ["planned", "switching", "done"])
def test_a_save_that_was_killed_is_ended_by_who_had_it_open(
    root: Path, other: Other, state: str
) -> None:
    database = db.database(root)
    instance = first(database)
    array = database.series()[0].array("SliceLocation")[0]
    truth = [pydicom.dcmread(i.file).pixel_array.T for i in database.series()[0].instances()]
    assert other.do("database.PatientComments = 'of the other'") == "done"
    assert other.do("instance.copy_to(other)") == "done"
    place = {
        "planned": "from dbdicom_xr.records.editing import saving; "
        "saving.splice = lambda *_: os._exit(9)",
        "switching": "from dbdicom_xr.staging import journal; "
        "journal._Saving.switch_all = lambda self: os._exit(9)",
        "done": "from dbdicom_xr.staging import journal; journal.clean_up = lambda *_: os._exit(9)",
    }[state]
    assert other.do(f"import os; {place}") == "done"
    other.begin("database.save()")
    assert other.process.wait(20) == 9
    # It is read, and then changed, by a process that was there all the time; it looks for what
    # others have done at most every 0.05 s.
    time.sleep(0.1)
    assert set(database.PatientComments) == {"of the other"}
    assert len(database.instances()) == 7
    np.testing.assert_array_equal(array[:, 0].values, truth)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        instance.ImageComments = "mine"
    text = " ".join(str(one.message) for one in said)
    assert ("undone" if state == "planned" else "completed") in text
    assert said[0].filename == __file__
    assert set(database.PatientComments) == {"of the other"}
    assert instance.ImageComments == "mine"
    database.save()
    database.close()
    again = db.database(root)
    assert len(again.instances()) == 7
    assert set(again.PatientComments) == {"of the other"}
    assert not [path for path in files_of(root) if path.rpartition("/")[2].startswith(".")]


WRITER = """
import itertools, sys, time, warnings
import dbdicom_xr as db
warnings.simplefilter("ignore")
database = db.database({root!r})
one, other = database.series()
until = time.monotonic() + {seconds}
for number in itertools.count(1):
    if time.monotonic() > until:
        break
    with database.batch():
        one.SeriesDescription = f"number {{number}}"
        one.ImageComments = f"number {{number}}" + "x" * (number % 3 * 1000)
    if number % 3 == 0:
        other.instances()[0].copy_to(other).remove()
    if number % 4 == 0:
        database.restore()
    elif number % 2 == 0:
        database.save()
database.restore()
database.close()
print(number)
"""

READER = """
import time, warnings
import numpy as np
import dbdicom_xr as db
from dbdicom_xr.errors import *
database = db.database({root!r}, refresh={refresh})
kept, header = database.series()[0].array("SliceLocation")
truth = kept.values.copy()
seen, looks, last = set(), 0, 0
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    one, other = database.series()
    texts = one.SeriesDescription
    assert len(texts) == 1, texts
    comments = one.ImageComments
    assert len(comments) == 1, comments
    seen.add(texts[0])
    frame = one.to_dataframe() if hasattr(one, "to_dataframe") else None
    if frame is not None and "ImageComments" in frame:
        assert frame.ImageComments.nunique() == 1, frame
    both = one[["SeriesDescription", "ImageComments"]]
    if both[0][0].startswith("number") and both[1][0].startswith("number"):
        assert both[1][0].rstrip("x") == both[0][0], both
    assert len(one.instances()) == 3 and 3 <= len(other.instances()) <= 4
    np.testing.assert_array_equal(kept.values, truth)
    array, header = one.array("SliceLocation")
    np.testing.assert_array_equal(array.values, truth)
    assert [h.SliceLocation for h in header[:, 0]] == array.SliceLocation.values.tolist()
    dataset = one.instances()[1].dataset()
    np.testing.assert_array_equal(dataset.pixel_array.T, truth[1, 0])
    looks += 1
print(looks, len(seen))
"""


def test_readers_never_see_half_of_what_a_writer_does(root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def start(code: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code], text=True, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    readers = [
        start(READER.format(root=str(root), refresh=refresh, seconds=6))
        for refresh in (True, False)
    ]
    writer = start(WRITER.format(root=str(root), seconds=6))
    said = [process.communicate(timeout=90) for process in (*readers, writer)]
    assert [process.returncode for process in (*readers, writer)] == [0, 0, 0], said
    for out, _ in said[:2]:
        looks, seen = map(int, out.splitlines()[-1].split())  # below what opening says
        assert looks > 3
        assert seen > 2
    assert int(said[2][0]) > 8


def test_arrays_go_on_where_their_pixels_are_the_same(root: Path, other: Other) -> None:
    database = db.database(root)
    one, two = database.series()
    array = one.array("SliceLocation")[0]
    gone = two.array("SliceLocation")[0]
    truth = [pydicom.dcmread(i.file).pixel_array.T for i in one.instances()]
    assert other.do("database.PatientComments = 'longer than before ' * 50") == "done"
    assert other.do("other.remove()") == "done"
    assert other.do("one.move_to(database.new_study())") == "done"
    assert other.do("database.save()") == "done"
    np.testing.assert_array_equal(array[:, 0].values, truth)
    with pytest.raises(StaleArray):
        gone.compute()


# -- folders that this user may not write to -----------------------------------------------------


def set_writable(root: Path, writable: bool) -> None:
    for path in [root, *root.rglob("*")]:
        mode = 0o755 if path.is_dir() else 0o644
        path.chmod(mode if writable else mode & 0o555)


@posix
def test_another_user_reads_what_the_owner_staged(root: Path, tmp_path: Path) -> None:
    database = db.database(root)
    first(database).ImageComments = "of the owner"
    database._close()
    set_writable(root, False)
    code = f"""
import dbdicom_xr as db
from dbdicom_xr.errors import *
database = db.database({str(root)!r})
instance = database.series()[0].instances()[0]
print(instance.ImageComments)
try:
    instance.ImageComments = "of another user"
except StagingNotWritable as error:
    print(error)
print(instance.ImageComments)
"""
    try:
        told, *said = run_python(code, tmp_path / "home", powerless=True).splitlines()
    finally:
        set_writable(root, True)
    assert "not saved" in told
    assert said[0] == said[2] == "of the owner"
    assert str(root) in said[1]
    assert first(database).ImageComments == "of the owner"
    database.close(save=False)


@posix
def test_read_only_folder_is_staged_elsewhere_and_not_saved(root: Path, tmp_path: Path) -> None:
    for path in (root / ".dbdicom_xr").iterdir():
        path.unlink()
    (root / ".dbdicom_xr").rmdir()
    set_writable(root, False)
    before = files_of(root)
    code = f"""
import os
os.environ["XDG_DATA_HOME"] = {str(tmp_path / "data")!r}
import dbdicom_xr as db, warnings
from dbdicom_xr.errors import *
database = db.database({str(root)!r})
instance = database.series()[0].instances()[0]
print(instance.ImageComments)
instance.ImageComments = "staged elsewhere"
database.series()[1].copy()
try:
    database.save()
except SaveFailed as error:
    print(error)
warnings.simplefilter("ignore")
print(len(database.instances()), len(database.changes()) > 0)
database.close()
"""
    try:
        one = run_python(code, tmp_path / "home", powerless=True).splitlines()
        # The index in the cache may be emptied at any time.
        for path in (tmp_path / "home").rglob("index.sqlite"):
            path.unlink()
        said, *two = run_python(code, tmp_path / "home", powerless=True).splitlines()
    finally:
        set_writable(root, True)
    assert one[0] == "synthetic"
    assert str(root) in one[1]
    assert one[2] == "9 True"
    assert "changes" in said
    assert two[0] == "staged elsewhere"
    assert two[2] == "12 True"
    assert files_of(root) == before
    assert len(list((tmp_path / "data").rglob("staging.sqlite"))) == 1
