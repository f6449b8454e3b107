"""Setting custom attributes: what is to be set in their place, and whether it is read again so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.table import Table, Values
from dbdicom_xr.names import function_name
from dbdicom_xr.records.attributes.lookup import Attribute, Name, Written, parse_name
from dbdicom_xr.records.attributes.user_functions import value_of

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database

__all__ = ["FrameView", "per_frame", "write_custom", "writer"]

Rows = npt.NDArray[np.intp]
Read = Callable[[Table], Values]


class FrameView:
    """A frame as the functions of a custom attribute see it: its attributes, nothing else.

    What is set is read again as it was set.
    """

    __slots__ = ("_changed", "_row", "_table")

    _table: Table
    _row: int
    _changed: dict[Attribute, Any]

    def __init__(self, table: Table, row: int) -> None:
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_row", row)
        object.__setattr__(self, "_changed", {})

    def _value(self, attribute: Attribute) -> Any:
        if attribute in self._changed:
            return self._changed[attribute]
        return attribute.value(self._table, self._row)

    def _has(self, attribute: Attribute) -> bool:
        return bool(attribute.keys(self._table))

    def __getitem__(self, name: Name) -> Any:
        return self._value(parse_name(name, self._has))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __setitem__(self, name: Name, value: Any) -> None:
        self._changed[parse_name(name, self._has)] = value

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def per_frame(name: str, get: Callable[[Any], Any]) -> Read:
    """Return what reads a custom attribute of a whole series by asking frame by frame."""

    def read(table: Table) -> Values:
        found = []
        for row in range(len(table)):
            owner = table.uids[_owner(table, row)]
            what = f"The attribute {name!r} cannot be worked out for {owner}"
            found.append(value_of(what, get, FrameView(table, row)))
        return Values(found, np.arange(len(table), dtype=np.int32))

    return read


def writer(
    name: str, set_value: Callable[[Any, Any], Any]
) -> Callable[[Table, Rows, list[Any]], Written]:
    """Return what sets a custom attribute of frames by asking frame by frame."""

    def write(table: Table, rows: Rows, values: list[Any]) -> Written:
        views = [FrameView(table, row) for row in rows.tolist()]
        for view, value in zip(views, values, strict=True):
            try:
                set_value(view, value)
            except Exception as error:
                raise InvalidValue(
                    f"The attribute {name!r} cannot be set to {value!r} in "
                    f"{table.uids[_owner(table, view._row)]}: {function_name(set_value)} failed "
                    f"with {type(error).__name__}: {error}"
                ) from error
        changed = dict.fromkeys(attribute for view in views for attribute in view._changed)
        return {
            attribute: [view._value(attribute) for view in views] for attribute in changed
        }, None

    return write


def _owner(table: Table, row: int) -> int:
    return int(table.instance_of[row])


def write_custom(
    database: Database,
    tables: Sequence[tuple[Table, Rows | None]],
    attribute: Attribute,
    values: Sequence[Any],
) -> None:
    """Set a custom attribute, one value per frame, in the order of the tables and their rows.

    Raises
    ------
    InvalidValue
        A value is not valid, or other attributes would contradict it; nothing is changed.
    """
    from dbdicom_xr.records.editing.edits import set_frames, set_same, writable

    assert attribute.custom is not None
    assert attribute.custom.write is not None
    planned = []
    start = 0
    for table, rows in tables:
        frames = np.arange(len(table)) if rows is None else rows
        mine = list(values[start : start + len(frames)])
        start += len(frames)
        if not len(frames):
            continue
        edits, wanted = attribute.custom.write(table, frames, mine)
        for edited in edits:
            writable(edited)
        planned.append((table.series.key, frames, edits, wanted))
    with database.batch():
        for key, frames, edits, wanted in planned:
            for edited, column in edits.items():
                table = _present(database, key)
                counts = table.places["frames"][np.unique(table.instance_of[frames])]
                partly = int(counts.sum()) != len(frames)
                if not partly and len(set(map(repr, column))) == 1:
                    with database._change() as change:
                        set_same(change, [(table, frames)], edited, column[0])
                    continue
                set_frames(database, [(table, frames)], edited, column, frames_only=partly)
            if wanted is not None:
                _require(_present(database, key), frames, attribute, wanted)


def _present(database: Database, key: Any) -> Table:
    table = database._table_of(key)
    assert table is not None
    return table


def _require(table: Table, rows: Rows, attribute: Attribute, wanted: Sequence[Any]) -> None:
    """Raise where another attribute has the last word, so that something else would be read."""
    values = attribute.values(table)
    found = [None] * len(rows) if values is None else values.take(rows).as_objects().tolist()
    for row, is_read, was_set in zip(rows.tolist(), found, wanted, strict=True):
        if not _same(is_read, was_set):
            raise InvalidValue(
                f"{attribute} of {table.uids[_owner(table, row)]} would still be {is_read!r} after "
                f"it was set to {was_set!r}: other attributes of the image say so. Set those."
            )


def _same(first: Any, second: Any) -> bool:
    if first is None or second is None or isinstance(first, str) or isinstance(second, str):
        return bool(first is second or first == second)
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-6, atol=1e-5))
