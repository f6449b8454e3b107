"""The front end of a terminal: lines of text, bars by tqdm, typed answers."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from tqdm.std import tqdm

from dbdicom_xr.interact.fields import Field, check_value
from dbdicom_xr.interact.paths import refusal, typed_path
from dbdicom_xr.interact.presence import in_child_process, in_kernel, is_terminal, person_at
from dbdicom_xr.interact.protocol import (
    Answer,
    Bar,
    NoBar,
    NoticeKind,
    PathKind,
    no_person,
    read_answer,
)

if TYPE_CHECKING:
    _TqdmBase = tqdm[NoReturn]
else:
    _TqdmBase = tqdm

# tqdm.std, not tqdm.auto: in a notebook without ipywidgets the latter warns at import.
BAR_DELAY = 0.5  # seconds; shorter jobs show no bar
LINE = "{desc}{percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"

# One lock for all that is written. A fork copies it in whatever state another thread left it.
_lock = threading.RLock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class _Tqdm(_TqdmBase):
    """tqdm without its monitor thread: a process with a second thread should not fork."""

    monitor_interval = 0


class TerminalFrontEnd:
    """Messages on standard output; progress, warnings, errors and questions on standard error.

    So ``python script.py > result.txt`` keeps the messages and still shows the progress. Progress
    is shown only where standard error is a terminal or a notebook cell, by the main process;
    never in a log file.

    Parameters
    ----------
    stdin, stdout, stderr : text streams, optional
        Instead of those of `sys`, which are looked up anew at each use.

    Examples
    --------
    >>> TerminalFrontEnd().message("Starting calculation...")
    Starting calculation...
    """

    def __init__(
        self,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self._streams = (stdin, stdout, stderr)
        self._line: _Tqdm | None = None
        self._line_shows: tuple[str, float, int] | None = None
        self._line_time = 0.0

    @property
    def _stdin(self) -> TextIO | None:
        return self._streams[0] or sys.stdin

    @property
    def _stdout(self) -> TextIO | None:
        return self._streams[1] or sys.stdout

    @property
    def _stderr(self) -> TextIO | None:
        return self._streams[2] or sys.stderr

    @property
    def is_interactive(self) -> bool:
        """Whether somebody at this terminal can answer now, in this thread."""
        return person_at(self._stdin, self._stderr)

    def message(self, text: str) -> None:
        """Print a text on standard output."""
        self._print(text, self._stdout)

    def notice(self, kind: NoticeKind, text: str, title: str) -> None:
        """Print a notice, on standard error unless it is for information only."""
        heading = {"information": "", "warning": "Warning: ", "error": "Error: "}[kind]
        lines = f"{title}\n{heading}{text}" if title else heading + text
        self._print(lines, self._stdout if kind == "information" else self._stderr)

    def progress(self, value: float, maximum: float, text: str) -> None:
        """Redraw the progress line, where somebody sees it."""
        stderr = self._stderr
        if stderr is None or not self._draws():
            return
        with _lock, suppress(OSError, ValueError):
            if not value < maximum < math.inf:
                self._end_line()
                return
            value = max(0, value)
            shows = (text, maximum, int(100 * value / maximum))
            # Every step that changes what is seen is drawn, since it may be the last for long;
            # others, at 30 us each, would slow down a fast loop.
            if shows == self._line_shows and time.monotonic() < self._line_time + 1:
                return
            if self._line is not None and value < self._line.n:
                self._end_line()
            if self._line is None:
                self._line = _Tqdm(
                    total=maximum, bar_format=LINE, file=stderr, leave=False, **_shape(stderr)
                )
            self._line.total = maximum
            self._line.n = value
            self._line.set_description_str(_one_line(text, stderr, end=" "), refresh=False)
            self._line.refresh()
            self._line_shows, self._line_time = shows, time.monotonic()

    def bar(self, total: int | None, description: str, unit: str) -> Bar:
        """Put up a bar that appears after half a second, where somebody sees it."""
        stderr = self._stderr
        if stderr is None or not self._draws():
            return NoBar()
        return _TerminalBar(stderr, total, description, unit)

    def question(self, text: str, *, title: str, cancel: bool, decides: str) -> Answer:
        """Ask until the typed answer is one. End of input (Ctrl-D) cancels, if that is allowed."""
        choices = "y = yes, n = no, c = cancel" if cancel else "y = yes, n = no"
        while True:
            typed = self._ask(f"{text} ({choices})", text, title, decides)
            if typed is None:
                if cancel:
                    return "Cancel"
                raise no_person(text, decides)
            answer = read_answer(typed, cancel)
            if answer is not None:
                return answer
            title = ""
            self._print(f"{typed.strip()!r} is not one of the answers.", self._stderr)

    def path(self, kind: PathKind, text: str, *, start: str | None, decides: str) -> str | None:
        """Ask until the typed path fits; an empty line gives none."""
        hint = f"{text} (a path{f' from {start}' if start else ''}, empty to cancel)"
        while True:
            typed = self._ask(hint, text, "", decides)
            path = typed_path(typed or "", start)
            if path is None:
                return None
            problem = refusal(kind, path)
            if problem:
                self._print(f"{path} {problem}.", self._stderr)
            elif kind != "file_to_save" or not path.exists():
                return str(path)
            else:
                replace = self.question(
                    f"{path} exists. Replace it?", title="", cancel=True, decides=decides
                )
                if replace == "Yes":
                    return str(path)
                if replace == "Cancel":
                    return None

    def fields(self, fields: Sequence[Field], *, title: str, decides: str) -> list[Any] | None:
        """Ask for one value per line; an empty line keeps what stands there. Ctrl-D cancels."""
        values = []
        for field in fields:
            title, asked = "", title
            while True:
                typed = self._ask(_hint(field), field["label"], asked, decides)
                if typed is None:
                    return None
                try:
                    values.append(check_value(field, typed.strip() or field.get("value", "")))
                    break
                except ValueError as problem:
                    self._print(str(problem), self._stderr)
                    asked = ""
        return values

    def _ask(self, prompt: str, text: str, title: str, decides: str) -> str | None:
        """Return the line that was typed, None at the end of input."""
        if not self.is_interactive:
            raise no_person(text, decides)
        with _lock:
            self._end_line()
        return self._typed(f"{title}\n{prompt}" if title else prompt)

    def _typed(self, prompt: str) -> str | None:
        stdin = self._stdin
        if stdin is None:
            return None
        self._print(prompt, self._stderr)
        # Not input(): it prompts on standard output, which may be a file.
        return stdin.readline() or None

    def _draws(self) -> bool:
        return (is_terminal(self._stderr) or in_kernel()) and not in_child_process()

    def _end_line(self) -> None:
        line, self._line, self._line_shows = self._line, None, None
        if line is not None:
            line.close()

    def _print(self, text: str, stream: TextIO | None) -> None:
        if stream is None:  # a program without a console
            return
        text = _encodable(text, stream) + "\n"
        with _lock, suppress(OSError, ValueError):  # a closed pipe must not end a job
            if self._draws():
                # Takes the bars away, writes, and puts them back.
                tqdm.write(text, file=stream, end="")
            else:
                stream.write(text)
            stream.flush()


class _TerminalBar:
    """A tqdm bar that several threads may update."""

    def __init__(self, stderr: TextIO, total: int | None, description: str, unit: str) -> None:
        self._tqdm = _Tqdm(
            total=total,
            desc=_one_line(description, stderr) or None,
            unit=f" {unit}",
            file=stderr,
            delay=BAR_DELAY,
            leave=False,
            **_shape(stderr),
            # tqdm would otherwise look at the clock only every so many updates: a job that is
            # fast at first (files in the cache) and then slow would seem to stand still.
            miniters=1,
        )

    def update(self, n: int = 1) -> None:
        """Count `n` more parts."""
        with _lock, suppress(OSError, ValueError):
            self._tqdm.update(n)

    def close(self) -> None:
        """Take the bar away."""
        with _lock, suppress(OSError, ValueError):
            self._tqdm.close()


def _shape(stream: TextIO) -> dict[str, Any]:
    """Return how tqdm shall find the width, which some terminals (of containers) give as 0.

    It would show nothing there, and leave the screen as it is when it should clear it.
    """
    try:
        known = all(os.get_terminal_size(stream.fileno()))
    except (OSError, ValueError, AttributeError):
        known = False
    return {"dynamic_ncols": True} if known else {"ncols": 79, "nrows": 24}


def _encodable(text: str, stream: TextIO) -> str:
    """Return the text with what the stream's encoding lacks as escapes, as Python's repr has it."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _one_line(text: str, stream: TextIO, end: str = "") -> str:
    """Return the text without line breaks and control characters, which would tear the bar."""
    words = "".join(c if c.isprintable() else " " for c in text).split()
    return _encodable(" ".join(words), stream) + end if words else ""


def _hint(field: Field) -> str:
    """Return the line that asks for a field: label, choices or range, what stands there."""
    parts = [f"{i} = {choice}" for i, choice in enumerate(field.get("list", ()))]
    if "minimum" in field:
        parts.append(f"at least {field['minimum']:g}")
    if "maximum" in field:
        parts.append(f"at most {field['maximum']:g}")
    if "value" in field:
        parts.append(f"empty for {field['value']}")
    return f"{field['label']} ({', '.join(parts)})" if parts else field["label"]
