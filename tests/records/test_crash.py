"""What a user did is there or not there, as a whole, wherever the process was ended."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.records.faults import in_child, killing
from tests.records.folder_states import differences, files_of, make_folder, opened, state_of
from tests.records.kept_changing import digest, keep_changing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="os.fork")


def first(series: Any) -> Any:
    return series.instances()[0]


# -- what is done, after what was done before ----------------------------------------------------


def nothing_staged(database: Any) -> None:
    pass


def edit(database: Any) -> None:
    first(database.series()[0]).ImageComments = "edited"


def edit_a_series(database: Any) -> None:
    database.series()[1].SeriesDescription = "another"


def batch(database: Any) -> None:
    one, other = database.series()
    with database.batch():
        for number, instance in enumerate(one.instances()):
            instance.InstanceNumber = 100 + number
        first(other).move_to(one)
        one.SeriesDescription = "in a batch"


def move(database: Any) -> None:
    one, other = database.series()
    first(one).move_to(other)


def remove(database: Any) -> None:
    database.series()[0].remove()


def everything(database: Any) -> None:
    one, other = database.series()
    first(one).ImageComments = "edited"
    one.instances()[1].copy_to(other)
    one.instances()[2].move_to(other)
    first(other).remove()
    one.copy_to(one.studies(), SeriesDescription="a copy")
    one.studies().new_series(SeriesDescription="nothing in it yet")


def save(database: Any) -> None:
    database.save()


def restore(database: Any) -> None:
    database.restore()


def copy_and_edit(database: Any) -> None:
    one, other = database.series()
    one.copy_to(one.studies(), SeriesDescription="a copy")
    first(one).ImageComments = "edited after it was copied"
    first(other).ImageComments = "stays staged"


def save_the_source(database: Any) -> None:
    """Save what a copy comes from, so that the copy gets a file of its own."""
    next(s for s in database.series() if s.SeriesDescription == ["MR 1"]).save()


def copy_that_has_files(database: Any) -> None:
    copy_and_edit(database)
    save_the_source(database)


Act = Callable[[Any], None]
ACTS: dict[str, tuple[Act, Act]] = {
    "edit": (nothing_staged, edit),
    "edit a series": (edit, edit_a_series),
    "batch": (edit, batch),
    "move": (nothing_staged, move),
    "remove": (nothing_staged, remove),
    "save": (everything, save),
    "save of the source of a copy": (copy_and_edit, save_the_source),
    "restore": (everything, restore),
    "save of a copy that has files": (copy_that_has_files, save),
    "restore of a copy that has files": (copy_that_has_files, restore),
}
# One whose calls are few, and the four that say most; the others run with DBDICOM_XR_CRASH set.
LONG = bool(os.environ.get("DBDICOM_XR_CRASH"))
ALWAYS = [
    "edit", "batch", "save", "save of the source of a copy", "restore of a copy that has files",
]  # fmt: skip


class Stage:
    """Sets the same folder up again and again, and knows its two allowed ends."""

    def __init__(self, where: Path, before: Act, act: Act) -> None:
        self.template, self.root, self.act = where / "template", where / "root", act
        self.said: list[str] = []  # by the openings after it was killed
        make_folder(self.template)
        self.fresh()
        self.do(before)
        shutil.rmtree(self.template)
        shutil.copytree(self.root, self.template)
        self.before = self.state()["state"]
        self.do(act)
        self.after = self.state()["state"]
        assert self.before != self.after

    def fresh(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.template, self.root)

    def run(self, act: Act) -> None:
        database = opened(self.root)
        act(database)
        database._close()

    def do(self, act: Act) -> None:
        code, error = in_child(lambda: self.run(act))
        assert code == 0, error

    def state(self) -> dict[str, Any]:
        code, found = in_child(lambda: state_of(self.root, pixels=LONG))
        assert code == 0, found
        return dict(found)

    def end(self, what: str) -> str:
        """Return which of the two ends the folder is at; anything else is an error."""
        opening = self.state()
        found = opening["state"]
        self.said += opening["said"]
        if found == self.before:
            return "before"
        if found == self.after:
            return "after"
        raise AssertionError(
            f"{what}: neither before {differences(self.before, found)} nor after "
            f"{differences(self.after, found)}"
        )


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import here what each forked process would have to import."""
    root = tmp_path_factory.mktemp("warm")
    make_folder(root)
    state_of(root, pixels=True)


@pytest.fixture
def fast() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of waits for a disk would take minutes."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as path:
        yield Path(path)


@pytest.mark.parametrize("name", list(ACTS) if LONG else ALWAYS)
def test_killed_before_each_call_that_writes(fast: Path, name: str) -> None:
    stage = Stage(fast, *ACTS[name])
    ends = {"before": 0, "after": 0}
    for number in range(1, 1000):
        stage.fresh()
        code, error = in_child(lambda: stage.run(stage.act), killing(number))
        assert code in (0, 9), error
        end = stage.end(f"killed at call {number}")
        ends[end] += 1
        if code == 0:
            assert end == "after"
            break
    assert ends["before"] > 1
    assert ends["after"] > 1, "the end of the process itself is after the commit"
    if name.startswith("save") or "files" in name:
        for word in ("has been undone", "has been completed"):
            assert [text for text in stage.said if word in text], word
    else:
        assert not stage.said


# -- killed at any moment ------------------------------------------------------------------------


class Life:
    """A process that changes a folder until it is killed, and what it said before."""

    def __init__(self, root: Path, seed: int, seconds: float) -> None:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(reading)
                keep_changing(
                    root, seed, lambda text: os.write(writing, f"{text}\n".encode()), acts=1000
                )
                code = 0
            except BaseException as error:
                os.write(writing, f"failed 0 {error!r}\n".encode())
            finally:
                os._exit(code)
        os.close(writing)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        with os.fdopen(reading, "rb") as pipe:
            text = pipe.read().decode()
        os.waitpid(child, 0)
        self.said = [line.split(" ", 2) for line in text.splitlines()]
        failed = [line for line in self.said if line[0] == "failed"]
        assert not failed, (seed, text, failed)
        self.states = [line[2] for line in self.said if line[0] in ("opened", "done")]
        self.acts = [line[2] for line in self.said if line[0] == "begun"]


def looked_at(root: Path) -> tuple[str, dict[str, Any], list[str]]:
    """Open a folder and return what it shows, its files, and what the opening said."""
    found = state_of(root, pixels=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        database = opened(root)
        state = digest(database)
        whole = [
            uid
            for patch in database._view().layer.patches.values()
            if patch.key.role.name == "STAGED"
            for uid in patch.uids
        ]
        instances = {instance.uid for instance in database.instances()}
        database._close()
    staged = root / ".dbdicom_xr" / "staged"
    names = [pydicom.dcmread(path).SOPInstanceUID for path in staged.glob("*")]
    assert sorted(names) == sorted(whole), "files of copies, of which nothing is known"
    assert {path.rpartition("/")[2][0] for path in found["state"]["files"]}.isdisjoint({"."})
    # An index that is made anew shows the same: none of what is staged is in it alone.
    (root / ".dbdicom_xr" / "index.sqlite").unlink()
    database = opened(root)
    assert digest(database) == state
    assert {instance.uid for instance in database.instances()} == instances
    database._close()
    return state, files_of(root), found["said"]


def replayed(root: Path, seed: int, acts: int) -> list[str]:
    """Do the same again, undisturbed, and return all states."""
    said: list[str] = []
    keep_changing(root, seed, said.append, acts)
    return [line.split(" ", 2)[2] for line in said if line.split(" ")[0] in ("opened", "done")]


def test_killed_at_any_moment(fast: Path) -> None:
    root, again = fast / "dicom", fast / "again"
    make_folder(root)
    chance = random.Random(os.environ.get("DBDICOM_XR_CRASH", "0"))
    until = time.monotonic() + (420 if LONG else 12)
    kills = within = recovered = 0
    acts: Counter[str] = Counter()
    while time.monotonic() < until and kills < 400:
        seed = chance.randrange(10**9)
        if kills % 12 == 0:
            shutil.rmtree(root)
            make_folder(root)
        shutil.rmtree(again, ignore_errors=True)
        shutil.copytree(root, again)
        before = files_of(root)
        life = Life(root, seed, chance.uniform(0.01, 0.6))
        code, found = in_child(lambda: looked_at(root))
        assert code == 0, (seed, life.said, found)
        state, files, said = found
        if life.states:
            count = len(life.acts)
            code, wanted = in_child(lambda: replayed(again, seed, count))  # noqa: B023
            assert code == 0, (seed, wanted)
            assert wanted[: len(life.states)] == life.states, (seed, "it is not to be replayed")
            assert state in wanted[len(life.states) - 1 :], (seed, life.said)
            within += len(life.acts) == len(life.states)
        if not {"save", "save one"} & set(life.acts):
            for path in (path for path in {*before, *files} if not path.startswith(".dbdicom_xr")):
                assert before.get(path) == files.get(path), (seed, path)
        kills += 1
        recovered += bool(said)
        acts.update(life.acts[-1:])
    print(f"{kills} kills, {within} within an act, {recovered} saves recovered; {dict(acts)}")
    assert kills >= (100 if LONG else 4)
