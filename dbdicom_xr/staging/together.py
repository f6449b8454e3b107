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
        What each has returned. All have ended, also where one of them has failed.

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
            wait(started)
    results += [future.result() for future in started]
    return results + [function() for function in others[len(started) :]]
