"""Questions as forms of widgets, for the notebook front end."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dbdicom_xr.interact.fields import Field, check_value
from dbdicom_xr.interact.paths import refusal, typed_path
from dbdicom_xr.interact.protocol import PathKind

LISTED = 1000  # entries of a folder; a browser takes a second for 5,000
WIDE = {"width": "95%"}


def ipywidgets() -> Any:
    """Return the module, imported when the first widget is shown: it takes 0.2 s."""
    return importlib.import_module("ipywidgets")


class Form:
    """Widgets in a frame, buttons below, and the answer once there is one.

    Attributes
    ----------
    box : ipywidgets.Widget
        To be shown.
    answered : bool
        Whether a button was clicked that ends it.
    answer : Any
        What it gave.
    """

    def __init__(self, text: str, title: str, parts: Sequence[Any] = ()) -> None:
        widgets = ipywidgets()
        self.answered = False
        self.answer: Any = None
        self._problem = widgets.Label(layout={"display": "none"})  # takes no room while empty
        self._buttons = widgets.HBox()
        heading = [widgets.Label(line, layout=WIDE) for line in (title, text) if line]
        self.box = widgets.VBox(
            [*heading, *parts, self._problem, self._buttons],
            layout={"border": "1px solid #9e9e9e", "padding": "6px", "width": "95%"},
        )

    def button(self, name: str, answer: Callable[[], Any], style: str = "") -> None:
        """Add a button that ends the form with what `answer` returns.

        A ``ValueError`` from it is shown, and the form stays.
        """
        button = ipywidgets().Button(description=name, button_style=style)

        def clicked(_: Any) -> None:
            try:
                self.answer = answer()
            except ValueError as problem:
                self._problem.value = str(problem)
                self._problem.layout.display = None
                return
            self.answered = True  # last, since another thread may look at it

        button.on_click(clicked)
        self._buttons.children = (*self._buttons.children, button)


def question_form(text: str, title: str, cancel: bool) -> Form:
    """Return a form with a button per answer."""
    form = Form(text, title)
    form.button("Yes", lambda: "Yes", style="primary")
    form.button("No", lambda: "No")
    if cancel:
        form.button("Cancel", lambda: "Cancel")
    return form


def fields_form(fields: Sequence[Field], title: str) -> Form:
    """Return a form with a row per field; its answer is a list of values, None if cancelled."""
    widgets = ipywidgets()
    inputs = [_input(field) for field in fields]
    rows = [
        widgets.HBox([widgets.Label(field["label"], layout={"width": "40%"}), one])
        for field, one in zip(fields, inputs, strict=True)
    ]
    form = Form("", title, rows)

    def values() -> list[Any]:
        pairs = zip(fields, inputs, strict=True)
        return [check_value(field, one.value) for field, one in pairs]

    form.button("OK", values, style="primary")
    form.button("Cancel", lambda: None)
    return form


def _input(field: Field) -> Any:
    widgets = ipywidgets()
    kind = field.get("type", "string")
    choices = [(choice, index) for index, choice in enumerate(field.get("list", ()))]
    value = field.get("value")
    if kind == "dropdownlist":
        chosen = 0 if value is None else check_value(field, value)
        return widgets.Dropdown(options=choices, value=chosen)
    if kind == "listview":
        several = [] if value is None else check_value(field, value)
        rows = min(8, max(2, len(choices)))
        return widgets.SelectMultiple(options=choices, value=tuple(several), rows=rows)
    # A text also for numbers: number widgets put 0 where nothing is, and clip without a word.
    return widgets.Text("" if value is None else str(value), placeholder=_hint(field))


def _hint(field: Field) -> str:
    kind = {"integer": "a whole number", "float": "a number"}.get(field.get("type", ""), "")
    low = f"at least {field['minimum']:g}" if "minimum" in field else ""
    high = f"at most {field['maximum']:g}" if "maximum" in field else ""
    return ", ".join(part for part in (kind, low, high) if part)


def path_form(kind: PathKind, text: str, start: str | None) -> Form:
    """Return a form to type a path, or to click through folders; its answer is a path, or None."""
    widgets = ipywidgets()
    typed = widgets.Text(os.path.abspath(start or ""), continuous_update=False, layout=WIDE)
    listing = widgets.Select(options=[], rows=8, layout=WIDE)
    form = Form(text, "", [typed, listing])
    replaced: list[str] = []
    new_list: list[Path] = []  # while one is put in

    def list_folder(change: Any = None) -> None:
        path = typed_path(typed.value, start)
        folder = path if path is not None and path.is_dir() else None
        if folder is not None:
            # A new list chooses its first entry, which nobody clicked. Then nothing is chosen, so
            # that each click is a change.
            new_list.append(folder)
            listing.options = _entries(folder, kind)
            listing.value = None
            new_list.pop()

    def follow(change: Any) -> None:
        if change["new"] is not None and not new_list:
            typed.value = change["new"]

    def choose() -> str:
        path = typed_path(typed.value, start)
        if path is None:
            raise ValueError("No path was given.")
        problem = refusal(kind, path)
        if problem:
            raise ValueError(f"{path} {problem}.")
        if kind == "file_to_save" and path.exists() and str(path) not in replaced:
            replaced.append(str(path))
            raise ValueError(f"{path} exists. Click again to replace it.")
        return str(path)

    list_folder()
    typed.observe(list_folder, names="value")
    listing.observe(follow, names="value")
    form.button("Choose", choose, style="primary")
    form.button("Cancel", lambda: None)
    return form


def _entries(folder: Path, kind: PathKind) -> list[tuple[str, str]]:
    """Return what is in a folder: what is shown, and the path; folders first."""
    folders, files = [("../", str(folder.parent))], []
    try:
        for entry in folder.iterdir():
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append((f"{entry.name}/", str(entry)))
            elif kind != "directory":
                files.append((entry.name, str(entry)))
    except OSError:  # may not be read: the way up is left
        pass
    return (sorted(folders) + sorted(files))[:LISTED]
