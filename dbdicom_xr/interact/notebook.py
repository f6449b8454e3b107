"""The front end of a Jupyter notebook: progress and questions as widgets."""

from __future__ import annotations

import html
import importlib
import importlib.util
import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dbdicom_xr.interact import terminal
from dbdicom_xr.interact.fields import Field
from dbdicom_xr.interact.notebook_events import WidgetEvents
from dbdicom_xr.interact.notebook_forms import (
    Form,
    fields_form,
    ipywidgets,
    path_form,
    question_form,
)
from dbdicom_xr.interact.presence import in_child_process, kernel, person_at_notebook
from dbdicom_xr.interact.protocol import Answer, Bar, NoBar, NoticeKind, PathKind, no_person
from dbdicom_xr.interact.terminal import TerminalFrontEnd

REDRAW = 0.1  # seconds; each change of a widget is a message to the browser
COLOURS = {"information": "#1976d2", "warning": "#f57c00", "error": "#d32f2f"}


class NotebookFrontEnd(TerminalFrontEnd):
    """Progress bars, buttons and forms below the cell that is being run.

    It is chosen by itself in a Jupyter kernel. A question waits for a click, while widgets work
    and Ctrl-C (the stop button) interrupts. Where ipywidgets is not installed, or the kernel is
    not ipykernel, progress is drawn as text, and answers are typed.

    A notebook that is executed without a person (nbconvert, papermill, nbclient, Voila) tells its
    kernel that nothing can be asked; every question then raises
    :class:`~dbdicom_xr.errors.NoPerson` at once.

    Parameters
    ----------
    widgets : bool, optional
        False for text and typed answers; for a front end that shows no widgets.
    timeout : float
        Seconds after which a question that is shown as a form raises
        :class:`~dbdicom_xr.errors.NoPerson`; half a day, unless given.

    Examples
    --------
    >>> NotebookFrontEnd(timeout=60).is_interactive  # this is no notebook
    False
    """

    def __init__(self, *, widgets: bool | None = None, timeout: float = 12 * 3600) -> None:
        super().__init__()
        self._widgets = widgets
        self._timeout = timeout
        self._bar: _WidgetBar | None = None
        self._bar_lock = threading.RLock()

    @property
    def is_interactive(self) -> bool:
        """Whether a cell is being run for somebody who can answer."""
        return person_at_notebook()

    def notice(self, kind: NoticeKind, text: str, title: str) -> None:
        """Show a notice below the cell, with a bar in the colour of its kind."""
        if not self._shows():
            super().notice(kind, text, title)
            return
        heading = {"information": "", "warning": "Warning: ", "error": "Error: "}[kind]
        plain = f"{title}\n{heading}{text}" if title else heading + text
        rich = "<br>".join(html.escape(line) for line in plain.splitlines())
        style = f"border-left: 4px solid {COLOURS[kind]}; padding: 4px 8px"
        _display({"text/plain": plain, "text/html": f'<div style="{style}">{rich}</div>'})

    def progress(self, value: float, maximum: float, text: str) -> None:
        """Redraw the progress bar of the loop that is going on."""
        if not self._draws_widgets():
            super().progress(value, maximum, text)
            return
        with self._bar_lock:
            bar = self._bar
            ends = not value < maximum < math.inf
            if bar is not None and (ends or value < bar.value or maximum != bar.total):
                bar.close()
                self._bar = bar = None
            if ends:
                return
            if bar is None:
                self._bar = bar = _WidgetBar(maximum, text, "", delay=0)
            bar.show(max(0, value), text)

    def bar(self, total: int | None, description: str, unit: str) -> Bar:
        """Put up a bar that appears after half a second."""
        if not self._draws_widgets():
            return NoBar() if in_child_process() else super().bar(total, description, unit)
        return _WidgetBar(total, description, unit, delay=terminal.BAR_DELAY)

    def question(self, text: str, *, title: str, cancel: bool, decides: str) -> Answer:
        """Ask with a button per answer."""
        events = self._events(text, decides)
        if events is None:
            return super().question(text, title=title, cancel=cancel, decides=decides)
        answer: Answer = self._ask_form(question_form(text, title, cancel), events, text, decides)
        return answer

    def path(self, kind: PathKind, text: str, *, start: str | None, decides: str) -> str | None:
        """Ask with a field for the path and a list of what is in its folder."""
        events = self._events(text, decides)
        if events is None:
            return super().path(kind, text, start=start, decides=decides)
        path: str | None = self._ask_form(path_form(kind, text, start), events, text, decides)
        return path

    def fields(self, fields: Sequence[Field], *, title: str, decides: str) -> list[Any] | None:
        """Ask with a form that has a row per field."""
        text = title or ", ".join(field["label"] for field in fields)
        events = self._events(text, decides)
        if events is None:
            return super().fields(fields, title=title, decides=decides)
        form = fields_form(fields, title)
        values: list[Any] | None = self._ask_form(form, events, text, decides)
        return values

    def _shows(self) -> bool:
        """Whether there is a cell to display things in; a forked process shares that of another."""
        return kernel() is not None and not in_child_process()

    def _draws_widgets(self) -> bool:
        if self._widgets is None:
            self._widgets = importlib.util.find_spec("ipywidgets") is not None
        return self._widgets and self._shows()

    def _events(self, text: str, decides: str) -> WidgetEvents | None:
        """Return through what to hear of a click; None where answers are to be typed."""
        if not self.is_interactive:
            raise no_person(text, decides)
        if not self._draws_widgets():
            return None
        try:
            return WidgetEvents(kernel())
        except AttributeError:
            return None

    def _ask_form(self, form: Form, events: WidgetEvents, text: str, decides: str) -> Any:
        plain = (
            f"{text}\n(If you see no buttons here, this program shows no widgets. Stop the cell, "
            "and call set_front_end(NotebookFrontEnd(widgets=False)).)"
        )
        shown = _display({"text/plain": plain, **_view(form.box)}, display_id=True)
        said = text
        try:
            if not events.wait(lambda: form.answered, self._timeout):
                raise no_person(text, decides)
            said = f"{text} {form.answer}"
        finally:
            # The saved notebook has no use for a form: its widgets end with the kernel.
            shown.update({"text/plain": said}, raw=True)
            _close(form.box)
        return form.answer

    def _typed(self, prompt: str) -> str | None:
        try:
            return input(prompt + " ") + "\n"
        except EOFError:
            return None


class _WidgetBar:
    """A progress bar of widgets that several threads may update."""

    def __init__(self, total: float | None, description: str, unit: str, delay: float) -> None:
        self.total = total
        self.value = 0.0
        self._description = description
        self._unit = unit
        self._begin = time.monotonic()
        self._next = self._begin + delay
        self._shown: Any = None
        self._lock = threading.RLock()

    def update(self, n: int = 1) -> None:
        """Count `n` more parts."""
        with self._lock:
            self.value += n
            if time.monotonic() >= self._next:
                self._draw()

    def show(self, value: float, description: str) -> None:
        """Set what is done; a step that is seen is drawn at once, since it may last."""
        with self._lock:
            seen = int(100 * value / (self.total or 1)) != int(100 * self.value / (self.total or 1))
            seen = seen or description != self._description or self._shown is None
            self.value, self._description = value, description
            if seen or time.monotonic() >= self._next:
                self._draw()

    def close(self) -> None:
        """Take the bar away."""
        with self._lock, suppress(Exception):
            shown, self._shown = self._shown, None
            self._next = math.inf
            if shown is not None:
                shown.update({"text/plain": ""}, raw=True)
                _close(self._box)

    def _draw(self) -> None:
        self._next = time.monotonic() + REDRAW
        # No job may fail for its progress bar, whatever a browser or a kernel at its end does.
        with suppress(Exception):
            if self._shown is None:
                self._make()
            elapsed = time.monotonic() - self._begin
            self._text.value = self._description
            self._count.value = self._figures(elapsed)
            if self.total is not None:
                self._meter.value = min(self.value, self.total)

    def _make(self) -> None:
        widgets = ipywidgets()
        known = self.total is not None
        self._text = widgets.Label()
        # Without a total: a full bar in another colour, and the count beside it.
        self._meter = widgets.FloatProgress(
            value=0 if known else 1,
            max=self.total if known else 1,
            bar_style="" if known else "info",
            layout={"flex": "2"},
        )
        self._count = widgets.Label()
        self._box = widgets.HBox([self._text, self._meter, self._count], layout={"width": "95%"})
        plain = self._description or "Progress"
        self._shown = _display({"text/plain": plain, **_view(self._box)}, display_id=True)

    def _figures(self, elapsed: float) -> str:
        if self.total is None:
            return f"{self.value:g} {self._unit}, {_clock(elapsed)}"
        if not self._unit:
            done = f"{100 * self.value / self.total:.0f}%"
        else:
            done = f"{self.value:g}/{self.total:g} {self._unit}"
        if not 0 < self.value < self.total:
            return f"{done}, {_clock(elapsed)}"
        left = elapsed * (self.total - self.value) / self.value
        return f"{done}, {_clock(elapsed)}, {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _display(bundle: dict[str, Any], **options: Any) -> Any:
    return importlib.import_module("IPython.display").display(bundle, raw=True, **options)


def _view(widget: Any) -> dict[str, Any]:
    """Return what displays a widget."""
    return {
        "application/vnd.jupyter.widget-view+json": {
            "version_major": 2,
            "version_minor": 0,
            "model_id": widget.model_id,
        }
    }


def _close(widget: Any) -> None:
    """Close a widget with all that are in it and the widgets that say how it looks."""
    for child in getattr(widget, "children", ()):
        _close(child)
    for looks in ("layout", "style"):
        if hasattr(widget, looks):
            getattr(widget, looks).close()
    widget.close()
