"""One process at a time may change a database, whatever becomes of the one that does."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dbdicom_xr.errors import Locked
from dbdicom_xr.index.connection import SqliteFile
from dbdicom_xr.staging import journal, lease
from dbdicom_xr.staging.lease import Lease

posix = pytest.mark.skipif(os.name != "posix", reason="signals and os.fork")
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc")


class StagingFile(SqliteFile):
    tables = (
        "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;\n"
        + lease.TABLES
        + journal.TABLES
    )
    format = 1
    application = 0x7E57
    synchronous = "FULL"
    noun = "staging file"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "staging.sqlite"


@pytest.fixture
def file(path: Path) -> Iterator[StagingFile]:
    opened = StagingFile(path)
    yield opened
    opened.close()


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats and patience of tenths of seconds, here and in processes that are told so."""
    for name, seconds in FAST.items():
        monkeypatch.setattr(lease, name, seconds)


FAST = {"BEAT_SECONDS": 0.05, "ENDED_SECONDS": 1.0, "_WATCH_SECONDS": 0.3}


class Other:
    """Another process, which does what it is told line by line, and answers each line."""

    PROGRAM = """
import os, sys, time
from pathlib import Path
from dbdicom_xr.staging import lease
from tests.staging.test_lease import *
for name, seconds in {fast}.items():
    setattr(lease, name, seconds)
if {machine!r}:
    lease._identity = lambda: ({machine!r}, {machine!r})
file = StagingFile(Path({path!r}))
mine = Lease(file)
def check():
    with file.transaction() as connection:
        mine.check(connection)
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
"""

    def __init__(self, path: Path, *, fast: bool = False, machine: str = "") -> None:
        program = self.PROGRAM.format(fast=FAST if fast else {}, machine=machine, path=str(path))
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], text=True, cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.pid = self.process.pid
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self, path: Path) -> None:
        """Stop it, but not while it writes, since it would keep the file locked."""
        while True:
            self.signal(signal.SIGSTOP)
            os.waitpid(self.process.pid, os.WUNTRACED)  # it goes on for a moment
            connection = sqlite3.connect(path, timeout=0.1, isolation_level=None)
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
                return
            except sqlite3.OperationalError:
                self.signal(signal.SIGCONT)
                time.sleep(0.01)
            finally:
                connection.close()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def others(path: Path) -> Iterator[Any]:
    made = []

    def make(**options: Any) -> Other:
        made.append(Other(path, **options))
        return made[-1]

    yield make
    for other in made:
        other.end()


def check(held: Lease, file: StagingFile) -> None:
    with file.transaction() as connection:
        held.check(connection)


def test_taken_shared_and_given_back(file: StagingFile, path: Path) -> None:
    first = Lease(file)
    assert not first.held
    assert first.holder() is None
    with pytest.raises(Locked, match="does not hold"):
        check(first, file)
    first.acquire()
    first.acquire()
    assert first.held
    check(first, file)
    holder = first.holder()
    assert holder is not None
    assert holder.pid == os.getpid()
    assert abs(time.time() - holder.since) < 60
    # Another object of this process, by another way to the same file.
    link = path.with_name("link.sqlite")
    link.symlink_to(path)
    second_file = StagingFile(link)
    second = Lease(second_file)
    second.acquire()
    check(second, second_file)
    first.release()
    first.release()
    assert not first.held
    assert second.held
    assert second.holder() is not None
    check(second, second_file)
    second.release()
    assert second.holder() is None
    second_file.close()


def test_a_second_writer_is_told_who_is_first(others: Any, file: StagingFile) -> None:
    other = others()
    assert other.say("mine.acquire()") == "None"
    mine = Lease(file)
    with pytest.raises(Locked, match=f"process {other.pid}, since 20..-.*Close it there") as raised:
        mine.acquire()
    holder = mine.holder()
    assert holder is not None
    assert f"{holder.user} on {holder.host}" in str(raised.value)
    assert str(file.path) in str(raised.value)
    assert not mine.held
    with pytest.raises(Locked):
        check(mine, file)
    assert other.say("mine.release()") == "None"
    mine.acquire()
    assert other.say("mine.acquire()").startswith("Locked")
    assert str(os.getpid()) in other.say("mine.acquire()")
    mine.release()


def test_a_lease_of_one_change_is_waited_for(others: Any, file: StagingFile) -> None:
    other = others()
    assert other.say("Lease.__init__(mine, file, brief=True), mine.acquire()") == "(None, None)"
    for waits in (True, False):
        mine = Lease(file)
        with pytest.raises(Locked, match=f"process {other.pid}.*a task on a worker.*Try again"):
            mine.acquire(wait=False)
        if waits:
            start = time.monotonic()
            assert other.say("threading.Timer(0.3, mine.release).start()") == "None"
            mine.acquire()
            assert 0.2 < time.monotonic() - start < 30
            mine.release()
            assert other.say("mine.acquire()") == "None"
        elif os.name == "posix":  # nobody waits for one that is not there any more
            threading.Timer(0.3, lambda: other.signal(signal.SIGKILL)).start()
            mine.acquire()
            mine.release()


def test_a_task_waits_for_a_program_for_a_moment(
    others: Any, file: StagingFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_PATIENCE_OF_TASKS_SECONDS", 0.3)
    monkeypatch.setattr(lease, "in_task", lambda: True)
    other = others()
    assert other.say("mine.acquire()") == "None"
    task = Lease(file, brief=True)
    start = time.monotonic()
    with pytest.raises(Locked, match=f"process {other.pid}.*return the result from the task"):
        task.acquire()
    assert time.monotonic() - start >= 0.3
    monkeypatch.setattr(lease, "_PATIENCE_OF_TASKS_SECONDS", 30.0)
    assert other.say("threading.Timer(0.2, mine.release).start()") == "None"
    task.acquire()
    assert other.say("mine.acquire(wait=False)").startswith("Locked")
    task.release()


@linux
def test_a_killed_holder_is_followed_at_once(others: Any, file: StagingFile) -> None:
    other = others()
    other.say("mine.acquire()")
    other.signal(signal.SIGKILL)
    # Its parent has not waited for it: it is a zombie.
    mine = Lease(file)
    until = time.monotonic() + 5
    while mine.holder() is not None and time.monotonic() < until:
        time.sleep(0.01)
    mine.acquire()
    check(mine, file)
    mine.release()


@linux
def test_numbers_of_processes_are_used_again(others: Any, file: StagingFile) -> None:
    other = others()
    other.say("mine.acquire()")
    mine = Lease(file)
    with pytest.raises(Locked):
        mine.acquire()
    with file.transaction() as connection:
        connection.execute("UPDATE lease SET started='12345'")
    assert mine.holder() is None
    mine.acquire()
    assert mine.held
    assert other.say("check()").startswith("Locked")
    assert other.say("mine.held") == "False"
    mine.release()


@posix
@pytest.mark.usefixtures("fast")
def test_a_holder_elsewhere_that_falls_silent(others: Any, file: StagingFile) -> None:
    other = others(fast=True, machine="another machine")
    other.say("mine.acquire()")
    mine = Lease(file)
    time.sleep(2 * FAST["ENDED_SECONDS"])  # it beats
    with pytest.raises(Locked, match="wait; it ends by itself"):
        mine.acquire()
    other.stop(file.path)
    with pytest.raises(Locked):
        mine.acquire()
    time.sleep(1.5 * FAST["ENDED_SECONDS"])
    assert mine.holder() is None
    mine.acquire()
    check(mine, file)
    other.signal(signal.SIGCONT)
    answer = other.say("check()")
    assert answer.startswith("Locked")
    assert f"process {os.getpid()}" in answer
    assert "has taken over" in answer
    assert other.say("mine.held") == "False"
    # It does not give back what is not its own any more.
    assert other.say("mine.release()") == "None"
    check(mine, file)
    mine.release()
    assert other.say("mine.acquire()") == "None"
    assert other.say("check()") == "None"


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("hours", [-3, 3])
def test_a_holder_whose_clock_is_wrong(hours: int, others: Any, file: StagingFile) -> None:
    other = others(fast=True, machine="another machine")
    wrong = f"lambda: real() + {hours} * 3600"
    other.say(f"(lambda real: setattr(lease.time, 'time', {wrong}))(time.time)")
    other.say("mine.acquire()")
    mine = Lease(file)
    with pytest.raises(Locked):
        mine.acquire()
    other.end()
    mine.acquire()
    check(mine, file)
    mine.release()


@pytest.mark.usefixtures("fast")
def test_on_one_machine_in_two_containers(others: Any, file: StagingFile) -> None:
    # One clock, but numbers of processes that mean other ones: silence alone counts.
    other = others(fast=True, machine="container")
    other.say(f"setattr(lease, '_identity', lambda: ({lease._identity()[0]!r}, 'container'))")
    other.say("mine.acquire()")
    mine = Lease(file)
    with pytest.raises(Locked, match="it ends by itself"):
        mine.acquire()
    other.end()
    with pytest.raises(Locked):
        mine.acquire()
    time.sleep(1.5 * FAST["ENDED_SECONDS"])
    mine.acquire()
    mine.release()


@linux
@pytest.mark.usefixtures("fast")
def test_a_holder_of_this_machine_may_pause(others: Any, file: StagingFile) -> None:
    other = others(fast=True)
    other.say("mine.acquire()")
    other.stop(file.path)
    time.sleep(1.5 * FAST["ENDED_SECONDS"])
    with pytest.raises(Locked, match="or end that process"):
        Lease(file).acquire()
    other.signal(signal.SIGCONT)
    assert other.say("check()") == "None"


@posix
def test_a_forked_process_does_not_hold_it(others: Any) -> None:
    # In a process of its own, since this one has threads.
    other = others()
    assert other.say("mine.acquire()") == "None"
    assert other.say("fork(mine, file)") == "[False, 'Locked', 'Locked', None, 0]"
    assert other.say("check()") == "None"
    assert other.say("mine.held") == "True"


def fork(held: Lease, file: StagingFile) -> list[Any]:
    """Return what a child sees: held, acquire(), check(), release(), and how many threads beat."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answers: list[Any] = [held.held]
        calls = (held.acquire, lambda: check(held, file), held.release)
        for call in calls:
            try:
                answers.append(call())
            except BaseException as error:
                answers.append(type(error).__name__)
        answers.append(threading.active_count() - 1)
        os.write(writing, repr(answers).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    found: list[Any] = eval(os.read(reading, 1000))
    os.close(reading)
    return found


@pytest.mark.usefixtures("fast")
def test_the_heart_beats_and_stops(file: StagingFile) -> None:
    def beat() -> float:
        [(found,)] = file.query("SELECT beat FROM lease") or [(0.0,)]
        return float(found)

    before = beating()  # of other tests, in this process
    mine = Lease(file)
    mine.acquire()
    first = beat()
    time.sleep(0.3)
    assert beat() > first
    mine.release()
    assert beat() == 0
    until = time.monotonic() + 5
    while set(beating()) - set(before) and time.monotonic() < until:
        time.sleep(0.01)
    assert not set(beating()) - set(before)


def beating() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dbdicom_xr lease"]


@pytest.mark.usefixtures("fast")
def test_a_database_that_is_dropped_ends_its_lease(file: StagingFile) -> None:
    dropped = Lease(file)
    dropped.acquire()
    watching = Lease(file)
    assert watching.holder() is not None
    del dropped
    until = time.monotonic() + 5
    while watching.holder() is not None and time.monotonic() < until:
        time.sleep(0.01)
    assert watching.holder() is None


def test_what_could_not_be_given_back_is_taken_again(file: StagingFile) -> None:
    mine = Lease(file)
    mine.acquire()
    with file.transaction():
        mine.release()  # cannot write inside a transaction
    assert mine.holder() is not None
    again = Lease(file)
    again.acquire()
    check(again, file)
    again.release()
    assert mine.holder() is None


def test_a_process_that_ends_gives_it_back(others: Any, file: StagingFile) -> None:
    other = others()
    other.say("mine.acquire()")
    other.process.stdin.close()
    assert other.process.wait(timeout=60) == 0
    assert file.query("SELECT * FROM lease") == []


@posix
@pytest.mark.usefixtures("fast")
def test_a_file_that_vanishes_is_no_error_of_the_thread(path: Path) -> None:
    # An exception in a thread would be a warning, and that an error of this test.
    file = StagingFile(path)
    mine = Lease(file)
    mine.acquire()
    path.unlink()
    file.close()
    time.sleep(0.3)
    assert mine.held
    mine.release()
    assert not path.exists()
    # The file is made anew by another process, and the one that was suspended comes back.
    anew = StagingFile(path)
    again = Lease(anew)
    again.acquire()
    with anew.transaction() as connection:
        connection.execute("DELETE FROM lease")
    with pytest.raises(Locked, match="taken over"):
        check(again, anew)
    assert not again.held
    anew.close()


@pytest.mark.usefixtures("fast")
def test_threads_share_it(file: StagingFile, path: Path) -> None:
    failures: list[BaseException] = []

    def take_and_give() -> None:
        own = StagingFile(path)
        mine = Lease(own)
        try:
            for _ in range(10):
                mine.acquire()
                check(mine, own)
                mine.release()
        except BaseException as error:
            failures.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=take_and_give) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Lease(file).holder() is None


RACE = """
import os, sys, time
from pathlib import Path
from tests.staging.test_lease import *
folder = Path(sys.argv[1])
mine = Lease(StagingFile(folder / "staging.sqlite"))
wins = 0
end = time.monotonic() + 1.0
while time.monotonic() < end:
    try:
        mine.acquire()
    except Locked:
        time.sleep(0.001)
        continue
    fd = os.open(folder / "alone", os.O_CREAT | os.O_EXCL)  # fails when two are in here
    time.sleep(0.002)
    os.close(fd)
    os.unlink(folder / "alone")
    mine.release()
    wins += 1
print(wins)
"""


def test_of_eight_one_wins(file: StagingFile, path: Path) -> None:
    command = [sys.executable, "-c", RACE, str(path.parent)]
    racing = [
        subprocess.Popen(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(8)
    ]  # fmt: skip
    answers = [process.communicate(timeout=60) for process in racing]
    assert [error for _, error in answers] == [""] * 8
    wins = [int(answer) for answer, _ in answers]
    assert sum(wins) >= 8
    assert sum(map(bool, wins)) > 1
    assert Lease(file).holder() is None
