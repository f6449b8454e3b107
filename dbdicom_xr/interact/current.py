"""Which front end this process talks through."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.interact.notebook import NotebookFrontEnd
from dbdicom_xr.interact.presence import in_kernel
from dbdicom_xr.interact.protocol import FrontEnd
from dbdicom_xr.interact.scripted import ScriptedFrontEnd
from dbdicom_xr.interact.terminal import TerminalFrontEnd

_BY_NAME = {
    "terminal": TerminalFrontEnd,
    "notebook": NotebookFrontEnd,
    "scripted": ScriptedFrontEnd,
}

_MEMBERS = [name for name in vars(FrontEnd) if not name.startswith("_")]

Name = Literal["terminal", "notebook", "scripted"]

_lock = threading.Lock()
_current: FrontEnd | None = None


def front_end() -> FrontEnd:
    """Return the front end in use: what was set, else that of a notebook in one, or a terminal."""
    global _current
    current = _current
    if current is None:  # else no lock: a fork may copy it while another thread holds it
        with _lock:
            current = _current = _current or _by_place()
    return current


def _by_place() -> FrontEnd:
    return NotebookFrontEnd() if in_kernel() else TerminalFrontEnd()


def set_front_end(
    front_end: FrontEnd | Name | None = None,
) -> FrontEnd:
    """Choose how messages and questions reach the person, for all threads of this process.

    Parameters
    ----------
    front_end : FrontEnd, "terminal", "notebook", "scripted" or None
        What to talk through from now on. ``"scripted"`` is a :class:`ScriptedFrontEnd` without
        answers, so every question raises; None is the default: the notebook in a Jupyter kernel,
        the terminal elsewhere.

    Returns
    -------
    FrontEnd
        The one that was in use before, to be set again.

    Raises
    ------
    InvalidValue
        If there is no front end of that name, or the object is not a front end; the message lists
        what it lacks.

    See Also
    --------
    use_front_end : the same for the length of a ``with`` block.

    Examples
    --------
    >>> before = set_front_end("scripted")
    >>> interactive()
    False
    >>> _ = set_front_end(before)
    """
    global _current
    new: FrontEnd
    if front_end is None:
        new = _by_place()
    elif isinstance(front_end, str):
        if front_end not in _BY_NAME:
            known = ", ".join(repr(name) for name in _BY_NAME)
            raise InvalidValue(f"no front end is named {front_end!r}; there are {known}")
        new = _BY_NAME[front_end]()
    else:
        lacking = [name for name in _MEMBERS if not hasattr(front_end, name)]
        if lacking:
            raise InvalidValue(f"{front_end!r} is not a front end: it lacks {', '.join(lacking)}")
        if isinstance(front_end, type):
            raise InvalidValue(f"{front_end!r} is a class; make a front end of it first")
        new = front_end
    with _lock:
        previous, _current = _current or _by_place(), new
    return previous


@contextmanager
def use_front_end(front_end: FrontEnd | Name) -> Iterator[FrontEnd]:
    """Talk through another front end inside a ``with`` block.

    Examples
    --------
    >>> with use_front_end(ScriptedFrontEnd(answers=["Yes"])) as person:
    ...     person.question("Go on?", title="", cancel=False, decides="")
    'Yes'
    """
    previous = set_front_end(front_end)
    try:
        yield _current or _by_place()
    finally:
        set_front_end(previous)


def interactive() -> bool:
    """Return whether a person is there who could answer a question now, in this thread.

    At a terminal that takes standard input and standard error to be one, the main thread of the
    main process, the foreground of the shell, and neither a CI job nor a test run. In a notebook
    it takes a cell that was run by a person.
    """
    return front_end().is_interactive
