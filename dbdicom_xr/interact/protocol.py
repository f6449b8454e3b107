"""What a front end is: the few calls through which the package reaches a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from dbdicom_xr.errors import NoPerson
from dbdicom_xr.interact.fields import Field

Answer = Literal["Yes", "No", "Cancel"]
NoticeKind = Literal["information", "warning", "error"]
PathKind = Literal["directory", "file_to_open", "file_to_save"]

_ANSWERS: dict[str, Answer] = {
    "y": "Yes",
    "yes": "Yes",
    "n": "No",
    "no": "No",
    "c": "Cancel",
    "cancel": "Cancel",
}


class Bar(Protocol):
    """A progress bar that is up. Its methods may be called from any thread."""

    def update(self, n: int = 1) -> None:
        """Count `n` more parts as done."""

    def close(self) -> None:
        """Take the bar away. Closing twice is allowed."""


class NoBar:
    """A bar that shows nothing, for where nobody would see it."""

    def update(self, n: int = 1) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@runtime_checkable
class FrontEnd(Protocol):
    """One way to reach the person who runs the program: a terminal, a notebook, a script.

    A front end is made once and used from every thread of a process, so its methods take care of
    that themselves. What is said never raises: output that cannot be delivered is dropped, since
    no job may fail for its progress bar. What is asked returns an answer or raises
    :class:`~dbdicom_xr.errors.NoPerson` at once; it waits only while `is_interactive` is true.
    """

    @property
    def is_interactive(self) -> bool:
        """Whether a person is there who could answer now, in this thread."""

    def message(self, text: str) -> None:
        """Show a text that stays."""

    def progress(self, value: float, maximum: float, text: str) -> None:
        """Show how far a job is: `value` parts of `maximum`.

        ``value >= maximum`` ends it; 0 of 0 without a text takes away whatever progress is shown.
        """

    def bar(self, total: int | None, description: str, unit: str) -> Bar:
        """Put up a progress bar of `total` parts (None: unknown) that appears if the job lasts."""

    def notice(self, kind: NoticeKind, text: str, title: str) -> None:
        """Tell something that deserves more than a message, without waiting for an answer."""

    def question(self, text: str, *, title: str, cancel: bool, decides: str) -> Answer:
        """Ask for yes or no, or to cancel if `cancel`. `decides`: the argument to pass instead."""

    def path(self, kind: PathKind, text: str, *, start: str | None, decides: str) -> str | None:
        """Ask for a folder or a file, looked for from `start` on. None: the person gave none."""

    def fields(self, fields: Sequence[Field], *, title: str, decides: str) -> list[Any] | None:
        """Ask for one value per field. None: the person cancelled."""


def read_answer(text: str, cancel: bool) -> Answer | None:
    """Return the answer that a text means, in full or by its first letter; None if it means none.

    Examples
    --------
    >>> read_answer("y", cancel=True), read_answer("CANCEL", cancel=True)
    ('Yes', 'Cancel')
    >>> read_answer("c", cancel=False) is None
    True
    """
    answer = _ANSWERS.get(text.strip().lower())
    return None if answer == "Cancel" and not cancel else answer


def no_person(text: str, decides: str) -> NoPerson:
    """Return the error for a question that nobody can answer.

    Parameters
    ----------
    text : str
        The question.
    decides : str
        The argument, or the choice of arguments, that makes the question unnecessary.

    Examples
    --------
    >>> print(no_person("Save the changes?", "save=True or save=False"))
    "Save the changes?" needs an answer, but no person is there to give it; \
pass save=True or save=False
    """
    way_out = (
        f"pass {decides}"
        if decides
        else "run this where a person can answer, "
        "or let ScriptedFrontEnd(answers=[...]) answer, given to set_front_end()"
    )
    return NoPerson(f'"{text}" needs an answer, but no person is there to give it; {way_out}')
