"""A front end without a person: it notes what is said and answers from a list."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.interact.fields import Field, check_value
from dbdicom_xr.interact.protocol import Answer, Bar, NoticeKind, PathKind, no_person, read_answer

SaidKind = Literal["message", "progress", "bar", "question", "input"] | NoticeKind | PathKind


class Said(NamedTuple):
    """One thing that was said or asked."""

    kind: SaidKind
    text: str
    value: float | None = None
    maximum: float | None = None


class ScriptedFrontEnd:
    """Notes all that is said, and answers questions from a list. For tests and batch jobs.

    Parameters
    ----------
    answers : iterable
        One per question, in order: ``"Yes"``, ``"No"`` or ``"Cancel"`` for a question, a path or
        None for a folder or a file, a list of values or None for an input form.

    Attributes
    ----------
    said : list of Said
        Everything said and asked so far: ``kind`` (``"message"``, ``"progress"``, ``"bar"``,
        ``"information"``, ``"warning"``, ``"error"``, ``"question"``...), ``text``, and for
        progress ``value`` and ``maximum``. A bar is noted when it closes.

    Examples
    --------
    >>> person = ScriptedFrontEnd(answers=["No"])
    >>> person.question("Save?", title="", cancel=True, decides="")
    'No'
    >>> person.said
    [Said(kind='question', text='Save?', value=None, maximum=None)]
    """

    def __init__(self, answers: Iterable[Any] = ()) -> None:
        self.said: list[Said] = []
        self._answers = deque(answers)
        self._lock = threading.Lock()

    @property
    def is_interactive(self) -> bool:
        """Whether an answer is left."""
        return bool(self._answers)

    def message(self, text: str) -> None:
        """Note a message."""
        self._note(Said("message", text))

    def progress(self, value: float, maximum: float, text: str) -> None:
        """Note progress."""
        if text or maximum:  # else nothing was said, only taken away
            self._note(Said("progress", text, value, maximum))

    def bar(self, total: int | None, description: str, unit: str) -> Bar:
        """Return a bar that is noted when it closes."""
        return _NotedBar(self, total, description)

    def notice(self, kind: NoticeKind, text: str, title: str) -> None:
        """Note a notice."""
        self._note(Said(kind, text))

    def question(self, text: str, *, title: str, cancel: bool, decides: str) -> Answer:
        """Answer from the list; ``InvalidValue`` if what stands there is no answer to this."""
        given = self._next("question", text, decides)
        answer = read_answer(given, cancel) if isinstance(given, str) else None
        if answer is None:
            choices = '"Yes", "No" or "Cancel"' if cancel else '"Yes" or "No"'
            raise InvalidValue(f'{given!r} is no answer to "{text}"; give {choices}')
        return answer

    def path(self, kind: PathKind, text: str, *, start: str | None, decides: str) -> str | None:
        """Answer from the list, unchecked."""
        given = self._next(kind, text, decides)
        return None if given is None else str(given)

    def fields(self, fields: Sequence[Field], *, title: str, decides: str) -> list[Any] | None:
        """Answer from the list, one value per field; ``InvalidValue`` if one does not fit."""
        text = title or ", ".join(field["label"] for field in fields)
        given = self._next("input", text, decides)
        if given is None:
            return None
        if not isinstance(given, (list, tuple)):
            raise InvalidValue(
                f'{given!r} is no answer to "{text}"; give a list, a value per field'
            )
        if len(given) != len(fields):
            raise InvalidValue(f'"{text}" has {len(fields)} fields, the answer {len(given)} values')
        return [check_value(field, value) for field, value in zip(fields, given, strict=True)]

    def _note(self, said: Said) -> None:
        with self._lock:
            self.said.append(said)

    def _next(self, kind: SaidKind, text: str, decides: str) -> Any:
        with self._lock:
            self.said.append(Said(kind, text))
            if not self._answers:
                raise no_person(text, decides)
            return self._answers.popleft()


class _NotedBar:
    """Counts, and tells its front end once, at the end."""

    def __init__(self, front_end: ScriptedFrontEnd, total: int | None, description: str) -> None:
        self._front_end: ScriptedFrontEnd | None = front_end
        self._total = total
        self._description = description
        self._done = 0
        self._lock = threading.Lock()

    def update(self, n: int = 1) -> None:
        """Count `n` more parts."""
        with self._lock:
            self._done += n

    def close(self) -> None:
        """Note the bar."""
        front_end, self._front_end = self._front_end, None
        if front_end is not None:
            front_end._note(Said("bar", self._description, self._done, self._total))
