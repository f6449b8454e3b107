"""Scans by several processes, and scans that are interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dbdicom_xr.index import readers, worker
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.scan import refresh
from dbdicom_xr.index.store import Store
from dbdicom_xr.index.worker import Worker, WorkerDied
from tests.data import ROOT
from tests.index.made import content, dataset, fill, fresh, index, uids, update, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    for series in range(4):
        fill(place / f"s{series}", 40, series)
    (place / "text").write_text("text")
    return place


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let workers do all the work, in small pieces; none may be left behind."""
    monkeypatch.setattr(readers, "_WORTH_A_WORKER", 1)
    monkeypatch.setattr(readers, "_CHUNK", 7)
    monkeypatch.setattr(readers, "_processors", lambda: 3)
    # This process waits, so that the work is not done before the first worker stands.
    monkeypatch.setattr(readers, "gather", lambda paths: (time.sleep(0.1), gather(paths))[1])
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


def served(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note which chunks workers read."""
    chunks: list[list[str]] = []
    real = Worker.gather

    def noted(self: Worker, paths: list[str]) -> Any:
        found = real(self, paths)
        chunks.append(paths)
        return found

    monkeypatch.setattr(Worker, "gather", noted)
    return chunks


def test_workers_find_the_same(folder: Path, helped: None, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = served(monkeypatch)
    store = index(folder)
    assert len(chunks) > 3
    with_workers = content(store)
    monkeypatch.setattr(readers, "_processors", lambda: 1)
    assert with_workers == fresh(folder)


def test_a_worker_that_is_killed_is_replaced(
    folder: Path, helped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Worker.gather
    killed = []

    def kill(self: Worker, paths: list[str]) -> Any:
        if len(killed) < 3:
            killed.append(paths)
            self.kill()
        return real(self, paths)

    monkeypatch.setattr(Worker, "gather", kill)
    store = index(folder)
    assert len(killed) == 3
    monkeypatch.undo()
    assert content(store) == fresh(folder)


def test_a_file_that_kills_its_reader_is_a_problem(
    folder: Path, helped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Worker.gather

    def die(self: Worker, paths: list[str]) -> Any:
        if any(path.endswith("s2/IM013.dcm") for path in paths):
            self.kill()
        return real(self, paths)

    monkeypatch.setattr(Worker, "gather", die)
    # This process must not touch it, or it would die too.
    monkeypatch.setattr(readers, "gather", lambda paths: (time.sleep(0.05), gather_safe(paths))[1])

    def gather_safe(paths: list[str]) -> Any:
        if any(path.endswith("s2/IM013.dcm") for path in paths):
            raise WorkerDied
        return gather(paths)

    for _ in range(20):
        store = Store(folder.parent / "i.sqlite")
        try:
            refresh(store, str(folder))
        except WorkerDied:  # here this process was the first to take the chunk
            store.discard()
            continue
        break
    notes = {row.path: row.note for row in store.problems()}
    assert notes.keys() == {"text", "s2/IM013.dcm"}
    assert notes["s2/IM013.dcm"] == "reading it ended the process that read it"
    assert len(uids(store)) == 159
    assert not update(store, folder).changed


@pytest.mark.parametrize("how", ["no executable", "frozen", "embedded", "fails", "not Python"])
def test_where_no_process_can_be_started(
    folder: Path, helped: None, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "no executable":
        monkeypatch.setattr(sys, "executable", None)
    elif how == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    elif how == "embedded":
        monkeypatch.setattr(sys, "executable", "/opt/Slicer/bin/SlicerApp-real")
    elif how == "fails":

        def refuse(*arguments: object, **options: object) -> None:
            raise OSError(11, "no more processes")

        monkeypatch.setattr(subprocess, "Popen", refuse)
    else:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        monkeypatch.setattr(readers, "can_start", lambda: True)
    chunks = served(monkeypatch)
    store = index(folder)
    assert chunks == [], "this process did it all"
    monkeypatch.undo()
    assert content(store) == fresh(folder)


def test_a_program_that_never_answers_does_not_hold_up_the_scan(
    folder: Path, helped: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    silent = tmp_path / "python-silent"
    silent.write_text("#!/bin/sh\nexec sleep 100\n")
    silent.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(silent))
    since = time.monotonic()
    store = index(folder)
    assert time.monotonic() - since < 30
    monkeypatch.undo()
    assert content(store) == fresh(folder)


def test_the_worker_reads_what_stands_behind_its_path(tmp_path: Path) -> None:
    paths = [str(path) for path in fill(tmp_path, 3)]
    helper = Worker()
    try:
        helper.wait()
        found = helper.gather(paths)
        assert found.blocks[0].uids == gather(paths).blocks[0].uids
        assert helper.gather(["missing"]).problems.keys() == {0}
        helper.kill()
        with pytest.raises(WorkerDied):
            helper.gather(paths)
    finally:
        helper.stop()
        helper.stop()


SCAN = """
import sys
from pathlib import Path
from dbdicom_xr.index import readers
from dbdicom_xr.index.scan import refresh
from dbdicom_xr.index.store import Store
from dbdicom_xr.index.worker import Worker
readers._WORTH_A_WORKER, readers._CHUNK, readers._processors = 1, 5, lambda: 3
real, mine, served = Worker.gather, readers.gather, []
Worker.gather = lambda self, paths: (served.append(1), real(self, paths))[1]
def slow(paths):
    import time
    time.sleep(0.2)
    return mine(paths)
readers.gather = slow
store = Store(Path(sys.argv[2]))
refresh(store, sys.argv[1])
print(sum(series.instances for series in store.series()), len(served) > 0)
"""


@pytest.mark.parametrize("how", ["script", "-c", "stdin"])
def test_from_any_kind_of_program(tmp_path: Path, folder: Path, how: str) -> None:
    place = tmp_path / "work"
    place.mkdir()
    # What lies about in the working directory must not be taken for modules.
    for name in ("json", "struct", "pickle", "numpy", "queue", "dataclasses", "zlib", "numcodecs"):
        (place / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "code").mkdir()
    script = tmp_path / "code" / "script.py"
    script.write_text(SCAN)
    arguments = {"script": [str(script)], "-c": ["-P", "-c", SCAN], "stdin": ["-P", "-"]}[how]
    done = subprocess.run(
        [sys.executable, *arguments, str(folder), str(tmp_path / "i.sqlite")],
        input=SCAN if how == "stdin" else "", capture_output=True, text=True, timeout=60,
        cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == ["160", "True"]


# -- interrupted -----------------------------------------------------------------------------------


SLOW = """
import sys, time
from pathlib import Path
from dbdicom_xr.index import readers, scan
from dbdicom_xr.index.store import Store
readers._CHUNK = 5
scan._KEEP_AFTER_SECONDS = float(sys.argv[3])
real = readers.gather
readers.gather = lambda paths: (time.sleep(0.02), real(paths))[1]
class Progress:
    def start(self, total): pass
    def advance(self, count): print("read", flush=True)
    def finish(self): pass
store = Store(Path(sys.argv[2]))
print("open", flush=True)
try:
    scan.refresh(store, sys.argv[1], progress=Progress())
except KeyboardInterrupt:
    print("interrupted", sum(series.instances for series in store.series()), flush=True)
"""


def slow_scan(folder: Path, path: Path, keep: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(folder), str(path), str(keep)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to a process on Windows")
def test_ctrl_c_keeps_what_was_read(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "i.sqlite"
    run = slow_scan(folder, path, keep=60)
    assert run.stdout is not None
    for _ in range(4):
        assert run.stdout.readline()
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert "interrupted" in out, err
    kept = int(out.split()[-1])
    assert 10 <= kept < 160
    store = Store(path)
    assert len(uids(store)) == kept
    assert update(store, folder).read == 161 - kept
    assert content(store) == fresh(folder)


def test_an_error_in_the_progress_bar_keeps_what_was_read(folder: Path, tmp_path: Path) -> None:
    class Broken:
        def start(self, total: int) -> None: ...

        def advance(self, count: int) -> None:
            raise ZeroDivisionError

        def finish(self) -> None: ...

    store = Store(tmp_path / "i.sqlite")
    with pytest.raises(ZeroDivisionError):
        refresh(store, str(folder), progress=Broken())
    assert len(uids(store)) == 160
    assert not update(store, folder).changed


def test_progress_counts_every_file(folder: Path, tmp_path: Path, helped: None) -> None:
    told: list[int] = []

    class Counting:
        def start(self, total: int) -> None:
            told.append(-total)

        def advance(self, count: int) -> None:
            told.append(count)

        def finish(self) -> None:
            told.append(0)

    refresh(Store(tmp_path / "i.sqlite"), str(folder), progress=Counting())
    assert told[0] == -161
    assert sum(told) == 0
    assert told[-1] == 0


@pytest.mark.slow
def test_kill_9_at_any_moment(tmp_path: Path, folder: Path) -> None:
    generator = random.Random(0)
    path = tmp_path / "i.sqlite"
    seen = []
    for round_ in range(20):
        for i in generator.sample(range(40), 8):
            write(
                folder / f"s{round_ % 4}" / f"IM{i:03d}.dcm",
                dataset(i + 1, round_ % 4, EchoTime=round_),
            )
        (folder / f"s{round_ % 3}" / f"IM{round_:03d}.dcm").unlink(missing_ok=True)
        run = slow_scan(folder, path, keep=0)  # a commit after each chunk
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(generator.uniform(0, 0.25))
        run.kill()
        run.communicate()
        store = Store(path)
        content(store)  # consistent
        seen.append(len(uids(store)))
        if round_ % 5 == 4:
            update(store, folder)
            assert content(store) == fresh(folder)
        store.close()
    assert len({*seen}) > 3


def test_the_parent_killed_leaves_no_worker(tmp_path: Path) -> None:
    code = (
        "import sys; from dbdicom_xr.index.worker import Worker; w = Worker();"
        "w.wait(); w.gather([]); print(w._process.pid, flush=True); sys.stdin.read()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=ROOT,
    )  # fmt: skip
    assert run.stdout is not None
    helper = psutil.Process(int(run.stdout.readline()))
    run.kill()
    run.communicate()
    helper.wait(timeout=10)
    assert worker.can_start()
