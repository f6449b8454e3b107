"""A process that reads headers for another: lists of paths in, findings out, over pipes.

A plain child process rather than ``multiprocessing``, whose ``spawn`` runs the user's script again
unless it is guarded by ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from typing import BinaryIO, cast

from dbdicom_xr.index.blocks import Findings
from dbdicom_xr.index.gather import gather

__all__ = ["Worker", "WorkerDied", "can_start", "serve"]

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from dbdicom_xr.index.worker import serve; serve()"
)


class WorkerDied(Exception):
    """The process ended before it answered."""


def can_start() -> bool:
    """Return whether this program runs on a Python that can be started once more.

    The executable of a frozen program, or one that embeds Python, would start itself.
    """
    name = os.path.basename(sys.executable or "").lower()
    return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)


class Worker:
    """A child process that reads headers.

    Raises
    ------
    OSError
        No process can be started here.
    """

    def __init__(self) -> None:
        if not sys.executable:
            raise OSError("there is no Python interpreter to start")
        # What stands in the working directory must not hide modules that are already loaded here.
        entries = [entry for entry in sys.path if isinstance(entry, str) and entry]
        home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps([*entries, home])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def wait(self) -> None:
        """Wait until it is ready.

        Raises
        ------
        OSError
            It does not start, which is not the fault of any file.
        """
        try:
            _receive(cast(BinaryIO, self._process.stdout))
        except Exception as error:
            raise OSError(f"{sys.executable} does not start as a worker") from error

    def gather(self, paths: list[str]) -> Findings:
        """Return what ``gather`` finds.

        Raises
        ------
        WorkerDied
            Whatever the reason.
        """
        try:
            _send(cast(BinaryIO, self._process.stdin), paths)
            return cast(Findings, _receive(cast(BinaryIO, self._process.stdout)))
        except Exception as error:
            raise WorkerDied(str(error)) from None

    def kill(self) -> None:
        """End the process, at once; from any thread."""
        self._process.kill()

    def stop(self) -> None:
        """End the process and forget it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was not sent yet is of no use any more
                    stream.close()


def serve() -> None:
    """Answer requests until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    _send(answers, "ready")
    while True:
        try:
            paths = cast("list[str]", _receive(requests))
        except EOFError:
            return
        _send(answers, gather(paths))


def _send(stream: BinaryIO, item: object) -> None:
    # The two ends are one program of one version, so pickle is safe here; nothing of it is kept.
    data = pickle.dumps(item, protocol=5)
    stream.write(len(data).to_bytes(8, "little"))
    stream.write(data)
    stream.flush()


def _receive(stream: BinaryIO) -> object:
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    size = int.from_bytes(head, "little")
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)
