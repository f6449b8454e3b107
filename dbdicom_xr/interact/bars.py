"""Progress bars around loops, for the jobs that the package does itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from dbdicom_xr.interact.log import JobLog
from dbdicom_xr.interact.protocol import Bar, NoBar
from dbdicom_xr.interact.talk import Voice

T = TypeVar("T")


@contextmanager
def progress_bar(
    total: int | None, description: str = "", unit: str = "file", voice: Voice | None = None
) -> Iterator[Bar]:
    """Put up a progress bar for the length of a ``with`` block.

    Parameters
    ----------
    total : int or None
        Number of parts, if known.
    description : str
        What is being done.
    unit : str
        What is counted.
    voice : Voice, optional
        Of the database whose job it is; nothing is shown while that is muted. It is logged.

    Yields
    ------
    Bar
        Its ``update(n)`` may be called from any thread. The bar is gone after the block, also
        after one that failed.

    Examples
    --------
    >>> with progress_bar(10, "Reading") as bar:
    ...     bar.update(10)
    """
    voice = voice or Voice()
    log = JobLog(total, description, unit)
    bar: Bar = NoBar() if voice.muted else voice.front_end.bar(total, description, unit)
    try:
        yield bar
    except GeneratorExit:  # a loop over `track` was left
        log.end(None)
        raise
    except BaseException as error:
        log.end(error)
        raise
    else:
        log.end(None)
    finally:
        bar.close()


def track(
    iterable: Iterable[T],
    total: int | None = None,
    description: str = "",
    unit: str = "file",
    voice: Voice | None = None,
) -> Iterator[T]:
    """Iterate with a progress bar, which appears if the job takes longer than half a second.

    Parameters
    ----------
    iterable : iterable
        What to go through.
    total : int, optional
        Its length; asked of `iterable` where it knows.
    description, unit, voice
        As for :func:`progress_bar`.

    Yields
    ------
    item
        Each item, unchanged.

    Examples
    --------
    >>> sum(track([1, 2, 3], description="Adding", unit="number"))
    6
    """
    if total is None:
        try:
            total = len(iterable)  # type: ignore[arg-type]
        except TypeError:
            total = None
    with progress_bar(total, description, unit, voice) as bar:
        for item in iterable:
            yield item
            bar.update()
