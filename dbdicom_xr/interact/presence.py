"""Is a person there? What the process can tell of who runs it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import threading
from typing import Any, TextIO

_IMPORTED_IN = os.getpid()


def person_at(stdin: TextIO | None, stderr: TextIO | None) -> bool:
    """Return whether somebody at a terminal can read a question and type an answer now."""
    return (
        # A question from one of many threads would be asked over the output of the others, and
        # nothing says which one it belongs to.
        threading.current_thread() is threading.main_thread()
        and not in_child_process()
        and not runs_by_itself()
        and is_terminal(stdin)
        and is_terminal(stderr)
        and in_foreground(stdin)
    )


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is open and a terminal."""
    try:
        return stream is not None and stream.isatty()
    except (ValueError, OSError, AttributeError):  # closed, gone, or a stand-in without the method
        return False


def in_foreground(stdin: TextIO | None) -> bool:
    """Return whether reading would not stop the process, as it does for a job in the background.

    POSIX sends SIGTTIN to a background process that reads from its terminal (``python x.py &``):
    it would hang there until somebody brings it back.
    """
    if stdin is None or not hasattr(os, "tcgetpgrp"):
        return True
    try:
        return os.tcgetpgrp(stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):  # not the controlling terminal: no job control, no signal
        return True


def in_child_process() -> bool:
    """Return whether this process was started by another Python process to work for it."""
    return multiprocessing.parent_process() is not None or os.getpid() != _IMPORTED_IN


def runs_by_itself() -> bool:
    """Return whether this is a CI job or a test: some give them a terminal, but nobody is at it."""
    if "PYTEST_CURRENT_TEST" in os.environ:
        return True
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def in_kernel() -> bool:
    """Return whether this is a Jupyter kernel, whose output a person sees though it is no tty."""
    ipython = sys.modules.get("IPython")
    get_ipython = getattr(ipython, "get_ipython", None)
    return get_ipython is not None and hasattr(get_ipython(), "kernel")


def kernel() -> Any:
    """Return the Jupyter kernel that this process is; None if it is none."""
    return sys.modules["IPython"].get_ipython().kernel if in_kernel() else None


def person_at_notebook() -> bool:
    """Return whether a cell is being run for somebody who can answer now.

    Who runs a cell says whether it may ask (``allow_stdin`` of an execute request): JupyterLab
    and VS Code may, nbclient may not, nor what stands on it: nbconvert, papermill, Voila.
    """
    return (
        threading.current_thread() is threading.main_thread()
        and not in_child_process()
        and not runs_by_itself()
        and bool(getattr(kernel(), "_allow_stdin", False))
        and _in_event_loop()
    )


def _in_event_loop() -> bool:
    """Return whether an event loop called: that of a kernel runs all cells, until it shuts down."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
