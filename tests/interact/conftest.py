"""A terminal that is none, and a person who is none."""

from __future__ import annotations

import io

import pytest

from dbdicom_xr.interact import ScriptedFrontEnd, TerminalFrontEnd, use_front_end


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal, and shows what would stand on the screen."""

    def __init__(self, text="", *, encoding="utf-8"):
        super().__init__(text)
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return not super().isatty()  # which raises once it is closed

    def write(self, text):
        text.encode(self._encoding)  # as a real one: what it lacks raises
        return super().write(text)

    def screen(self):
        lines, row, column = [""], 0, 0
        text = self.getvalue().replace("\x1b[A", "\x00")
        for character in text:
            if character == "\n":
                row, column = row + 1, 0
                if row == len(lines):
                    lines.append("")
            elif character == "\r":
                column = 0
            elif character == "\x00":
                row -= 1
            else:
                line = lines[row].ljust(column)
                lines[row] = line[:column] + character + line[column + 1 :]
                column += 1
        return [line.rstrip() for line in lines if line.strip()]


class Console:
    """A terminal front end on fake streams."""

    def __init__(self, typed="", encoding="utf-8"):
        self.stdin = FakeTerminal(typed)
        self.stdout = FakeTerminal(encoding=encoding)
        self.stderr = FakeTerminal(encoding=encoding)
        self.front_end = TerminalFrontEnd(self.stdin, self.stdout, self.stderr)


@pytest.fixture
def console(monkeypatch):
    """Return a function that makes a console, in a process that looks like no test or CI job."""

    def make(typed="", encoding="utf-8"):
        monkeypatch.delenv("CI", raising=False)
        monkeypatch.delenv("PYTEST_CURRENT_TEST")  # pytest sets it anew for each phase
        return Console(typed, encoding)

    return make


@pytest.fixture
def person():
    """Return a function that puts a scripted person in place for the test."""
    contexts = []

    def answering(*answers):
        context = use_front_end(ScriptedFrontEnd(answers))
        contexts.append(context)
        return context.__enter__()

    yield answering
    for context in reversed(contexts):
        context.__exit__(None, None, None)
