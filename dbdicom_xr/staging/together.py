"""Calls that wait for the disk, made at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["together"]

T = TypeVar("T")


def together(functions: Sequence[Callable[[], T]]) -> list[T]:
    """Call functions at the same time, the first of them in this thread.

    Those for which no thread can be started, as where Python is ending, are called after it.

    Parameters
    ----------
    functions : sequence of callable

    Returns
    -------
    list
        What each has returned. All have ended, also where one of them has failed, or Ctrl-C was
        pressed.

    Examples
    --------
    >>> together([lambda: "here", lambda: "there"])
    ['here', 'there']
    """
    first, *others = functions
    if not others:
        return [first()]
    started: list[Future[T]] = []
    with ThreadPoolExecutor(len(others)) as pool:
        try:
            for function in others:
                started.append(pool.submit(function))
        except RuntimeError:
            pass
        try:
            results = [first()]
        finally:
            interrupted = _wait(started)
    if interrupted is not None:
        raise interrupted
    results += [future.result() for future in started]
    return results + [function() for function in others[len(started) :]]


def _wait(started: Sequence[Future[T]]) -> KeyboardInterrupt | None:
    """Wait for calls until they have ended, however often somebody presses Ctrl-C."""
    interrupted = None
    while True:
        try:
            wait(started)
        except KeyboardInterrupt as pressed:
            interrupted = pressed
        else:
            return interrupted
