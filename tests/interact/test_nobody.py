"""No question ever hangs a process without a person: tried in processes of their own."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

termios = pytest.importorskip("termios") if os.name == "posix" else None

ASK = """
import sys
from dbdicom_xr.errors import NoPerson
from dbdicom_xr.interact import Dialog, Voice, interactive
print("interactive", interactive(), flush=True)
dialog = Dialog(Voice())
for ask in (dialog.question, dialog.directory, dialog.file_to_save):
    try:
        print("answer", ask("Save?", decides="save=True or save=False"), flush=True)
    except NoPerson as error:
        print(error, flush=True)
"""
REFUSAL = '"Save?" needs an answer, but no person is there to give it; pass save=True or save=False'
posix = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")


@pytest.fixture
def environment():
    return {k: v for k, v in os.environ.items() if k not in ("CI", "PYTEST_CURRENT_TEST")}


@pytest.fixture
def pty():
    """Return the two ends of a pseudo-terminal."""
    ends = os.openpty()
    yield ends
    for end in ends:
        os.close(end)


def run(environment, code=ASK, **streams):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen([sys.executable, "-c", code], text=True, env=environment, **streams)


def finish(process):
    """Return what a process printed, without touching its standard input."""
    try:
        process.wait(timeout=30)
    finally:
        process.kill()
    out, err = process.stdout.read(), process.stderr.read() if process.stderr else ""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
    assert process.returncode == 0, err
    return out.splitlines()


@pytest.mark.parametrize("stdin", ["/dev/null", "open pipe", "closed"])
def test_without_a_terminal_every_question_raises_at_once(environment, stdin):
    code = ASK
    if stdin == "closed":
        code = "import os, sys; os.close(0); sys.stdin = None\n" + ASK
    process = run(
        environment, code, stdin=subprocess.PIPE if "pipe" in stdin else subprocess.DEVNULL
    )
    assert finish(process) == ["interactive False", REFUSAL, REFUSAL, REFUSAL]


@posix
def test_a_worker_process_is_nobody(environment, pty):
    code = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from dbdicom_xr.interact import front_end, interactive, progress_bar
def work(n):
    front_end().message("from the worker")
    with progress_bar(1) as bar:
        bar.update()
    return interactive(), type(bar).__name__
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        print(*pool.submit(work, 1).result(timeout=20))
"""
    done = run(environment, code, stdin=pty[1], stderr=pty[1])
    assert finish(done) == [
        "from the worker",
        "False NoBar",
    ]


def read(terminal):
    """Return what stands on a terminal, at most after a second."""
    shown = b""
    while select.select([terminal], [], [], 0.2 if shown else 1)[0]:
        shown += os.read(terminal, 10_000)
    return shown.decode()


@posix
@pytest.mark.parametrize(
    ("typed", "answer"), [(b"y\n", "Yes"), (b"n\n", "No"), (b"\x04", "Cancel")]
)
def test_at_a_terminal_the_typed_answer_counts(environment, pty, typed, answer):
    outer, inner = pty
    code = ASK.split("for ask")[0] + "print(dialog.question('Proceed?', cancel=True))"
    process = run(environment, code, stdin=inner, stderr=inner)
    os.write(outer, typed)
    assert finish(process) == ["interactive True", answer]
    assert "Proceed? (y = yes, n = no, c = cancel)" in read(outer)


@posix
def test_a_background_job_is_not_stopped_by_its_terminal(environment, pty):
    """``python script.py &`` has a terminal, but reading from it would stop the process."""
    _, inner = pty
    code = f"""
import fcntl, os, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = subprocess.Popen([sys.executable, "-c", {ASK!r}], process_group=0)
sys.exit(child.wait(timeout=20))
"""
    process = run(environment, code, stdin=inner, stderr=inner, start_new_session=True)
    assert finish(process) == ["interactive False", REFUSAL, REFUSAL, REFUSAL]


@posix
@pytest.mark.parametrize("size", [(0, 0), (24, 80), (10, 30)])
def test_a_loop_that_stops_short_leaves_no_line_behind(environment, pty, size):
    """The guide's loop, ``for i in range(n): series.progress(i, n, text)``, ends before n."""
    outer, inner = pty
    termios.tcsetwinsize(inner, size)
    code = """
from dbdicom_xr.interact import front_end
for i in range(3):
    front_end().progress(i, 3, "Calculating..")
import threading
print(threading.active_count())  # a second thread would make a later fork a risk
"""
    assert finish(run(environment, code, stdin=inner, stderr=inner)) == ["1"]
    shown = read(outer)
    assert " 67%" in shown
    assert shown.endswith("\r"), "the line is blank again"
    assert shown.rsplit("\r", 2)[1].strip() == ""
