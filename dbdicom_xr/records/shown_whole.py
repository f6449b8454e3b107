"""Tables that a person reads whole: no column is hidden, long texts lose their middle."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

__all__ = ["ShownWhole"]

_LEAST: Final = 8  # characters of a column, below which nobody can tell what is in it
_LABEL: Final = 30  # of a label, which give way last: keywords and tags are there to be copied
_IN_A_PAGE: Final = 48  # of a cell of HTML, where columns need not fit a line
_GAP: Final = "  "
_BREAKS: Final = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})


class ShownWhole(pd.DataFrame):
    """A table that is shown with all its columns, in the width of the terminal.

    pandas leaves columns out where a line gets too long. All else is pandas: what is computed
    of it, a selection included, is a plain ``DataFrame``. A table with too many columns is shown
    as pandas does.

    Examples
    --------
    >>> table = ShownWhole({"record": ["/Patient/Study/1 " + 60 * "DCE"], "value": [4.5]})
    >>> max(map(len, repr(table).splitlines())) <= 80
    True
    >>> type(table.head()).__name__
    'DataFrame'
    """

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __repr__(self) -> str:
        """Return the table as text."""
        shown = _shown_rows(len(self))
        part = pd.DataFrame(self if shown is None else self.iloc[shown])
        text = None if self.empty else _text_of(part, cut=shown is not None)
        if text is None:
            return repr(pd.DataFrame(self))
        if shown is not None:
            text += f"\n\n[{len(self)} rows x {len(self.columns)} columns]"
        return text

    def _repr_html_(self) -> str | None:
        """Return the table for notebooks."""
        if not pd.get_option("display.notebook_repr_html"):
            return None
        shown = _shown_rows(len(self))
        with pd.option_context("display.max_colwidth", None):  # it would cut the end
            return pd.DataFrame(self).to_html(
                formatters=dict.fromkeys(self.columns, _in_a_page),
                max_rows=None if shown is None else len(shown),
                max_cols=pd.get_option("display.max_columns"),
                show_dimensions=shown is not None,
                notebook=True,
            )


def _shown_rows(length: int) -> list[int] | None:
    """Return which rows pandas would show of so many; None is all."""
    most, least = pd.get_option("display.max_rows"), pd.get_option("display.min_rows")
    if not most or length <= most:
        return None
    half = max(min(least or most, most) // 2, 1)
    return [*range(half), *range(length - half, length)]


def _text_of(table: pd.DataFrame, *, cut: bool) -> str | None:
    """Return a table as text that fits the terminal; None where it has too many columns.

    ``cut`` tells that rows in its middle were left out.
    """
    labels = table.index.to_frame(index=False)
    labels.columns = ["" if name is None else name for name in table.index.names]
    columns = [
        (str(name), list(values)) for part in (labels, table) for name, values in part.items()
    ]
    room = shutil.get_terminal_size().columns
    widths = _widths(columns, len(labels.columns), room)
    if widths is None:
        return None
    lines: list[list[str]] = [[] for _ in range(len(table) + 1)]
    for (name, values), width in zip(columns, widths, strict=True):
        number = all(isinstance(value, (int, float, np.number)) for value in values)
        for line, cell in zip(lines, [name, *map(_text, values)], strict=True):
            short = _shortened(cell, width)
            line.append(short.rjust(width) if number else short.ljust(width))
    if cut:
        lines.insert(len(lines) // 2 + 1, ["..."])
    return "\n".join(_GAP.join(line).rstrip() for line in lines)


def _widths(
    columns: Sequence[tuple[str, Iterable[Any]]], labels: int, room: int
) -> list[int] | None:
    """Return widths that fill a line at most: labels give way last, of others the widest first."""
    natural = [max(len(name), *(len(_text(value)) for value in values)) for name, values in columns]
    room -= len(_GAP) * (len(columns) - 1)
    for label in range(_LABEL, _LEAST - 1, -1):
        least = [
            max(len(name), min(width, label) if i < labels else 0)
            for i, ((name, _), width) in enumerate(zip(columns, natural, strict=True))
        ]
        for cap in range(min(room, max(_LEAST, *natural)), _LEAST - 1, -1):
            widths = [max(low, min(width, cap)) for width, low in zip(natural, least, strict=True)]
            if sum(widths) <= room:
                return widths
    return None


def _shortened(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    front = (width - 1) // 3  # the end of a path tells more than its start
    return f"{text[:front]}…{text[len(text) - (width - 1 - front) :]}"


def _in_a_page(value: Any) -> str:
    return _shortened(_text(value), _IN_A_PAGE)


def _text(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return "NaN" if value != value else f"{value:.10g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    return str(value).translate(_BREAKS)
