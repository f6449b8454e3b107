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
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, Locked, SaveFailed, SaveRecovered, StagingNotWritable
from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
from dbdicom_xr.testing import make_series
from tests.records.faults import Refusing, in_child, killing, watched
from tests.records.ordinary import run_python

pytestmark = pytest.mark.skipif(os.name != "posix", reason="os.fork, chmod")

LONG = bool(os.environ.get("DBDICOM_XR_CRASH"))
SHAPE = (4, 3)  # x, y
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


def shown(series: Any) -> Constants:
    """The number of each image, in order; each must be the same in all of its pixels."""
    found = []
    for instance in sorted(series.instances(), key=lambda i: i.InstanceNumber):
        values = np.unique(instance.array().values)
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
        if path.parts[len(inside.parts)] != "staged":
            found.append(str(path))
        elif pydicom.dcmread(path).SOPInstanceUID not in known:
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
    doubled = array.copy(data=da.from_array(array.values * 2, chunks=(*SHAPE, 1)))
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
    for number in range(1, 1000, 1 if LONG else 4):
        stage.fresh()
        code, error = in_child(lambda: stage.run(stage.act), killing(number))  # noqa: B023
        assert code in (0, 9), error
        end = stage.end(f"killed at call {number}")
        ends[end] += 1
        if code == 0:
            assert end == "after"
            break
    print(name, dict(ends))
    assert ends["before"] > 3
    assert ends["after"] > 1, "the end of the process itself is after the commit"
