"""Editing the functional groups of multi-frame images: the raw sequences, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Column, Key, concatenate
from dbdicom_xr.index.functional import PER_FRAME, SHARED, frame_columns
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import Kind
from dbdicom_xr.staging.changing import Change, Selection
from dbdicom_xr.staging.encode import Encoded, fits, recode
from dbdicom_xr.staging.groups import edit_groups
from dbdicom_xr.staging.patch import delta

__all__ = ["edit_frames", "raw_value", "regrouped"]

Rows = npt.NDArray[np.intp]


def raw_value(table: Table, key: Key, instance: int) -> tuple[bytes, Kind] | None:
    """Return a value as its file holds it, and its encoding."""
    column = table.column(key)
    if column is None or (code := column.code(instance)) < 0:
        return None
    value = column.values[code]
    if not isinstance(value, bytes):
        value = table.read(instance, value)
    return value, column.kinds[column.kind_of[code]]


def edit_frames(
    change: Change,
    table: Table,
    selection: Selection,
    edits_of: Mapping[int, Mapping[Key, Mapping[int | None, Encoded | None]]],
    others: Mapping[Key, Column],
) -> None:
    """Edit functional groups, and all else of the same instances, as one change."""
    rows = len(selection)
    written: dict[Key, tuple[list[Encoded | None], Any]] = {
        Key(SHARED): ([], np.full(rows, -1)),
        Key(PER_FRAME): ([], np.full(rows, -1)),
    }
    for place, edits in edits_of.items():
        instance = int(selection.rows[place])
        shared = raw_value(table, Key(SHARED), instance)
        per_frame = raw_value(table, Key(PER_FRAME), instance)
        present = shared or per_frame
        assert present is not None
        kind = present[1]
        number = int(table.places["frames"][instance])
        edits = {
            key: {frame: _in_charset(key, value, kind) for frame, value in per_frame_edits.items()}
            for key, per_frame_edits in edits.items()
        }
        new = edit_groups(shared and shared[0], per_frame and per_frame[0], number, kind, edits)
        for key, value in zip((Key(SHARED), Key(PER_FRAME)), new, strict=True):
            if value is not None:
                values, codes = written[key]
                codes[place] = len(values)
                values.append(Encoded(kind._replace(vr="SQ"), value))
    columns = dict(others)
    for key, (values, codes) in written.items():
        if values:
            columns[key] = delta(key, values, codes, rows)
    change.edit(selection, columns, frames=regrouped(table, selection.rows, columns))


def _in_charset(key: Key, value: Encoded | None, kind: Kind) -> Encoded | None:
    """Return a text in the character set of the sequence that it goes into."""
    if value is None or not value.kind.charset:
        return value
    if not fits(value, kind.charset):
        raise InvalidValue(
            f"The text for {key} cannot be written in the character set of its file, "
            f"{kind.charset.decode('ascii', 'replace').strip() or 'ASCII'!r}. Set "
            "SpecificCharacterSet to 'ISO_IR 192', save that, and set it again."
        )
    return Encoded(value.kind, recode(value, kind.charset))


Framed = Callable[[Rows], tuple[npt.NDArray[np.int32], Mapping[Key, Column]]]


def regrouped(table: Table, rows: Rows, edits: Mapping[Key, Column]) -> Framed | None:
    """Return what functional groups say once they have been edited, None where they are not."""
    edited = [edits[key] for key in (Key(SHARED), Key(PER_FRAME)) if key in edits]
    if not edited:
        return None
    counts = np.zeros(len(rows), np.int32)
    frames: dict[int, dict[Key, Column]] = {}
    touched = np.logical_or.reduce([column.codes_of() >= 0 for column in edited])
    for place in np.flatnonzero(touched).tolist():
        instance = int(rows[place])
        values: list[bytes | None] = []
        kind = None
        for key in (Key(SHARED), Key(PER_FRAME)):
            column = edits.get(key)
            code = -1 if column is None else column.code(place)
            if column is not None and code >= 0:
                raw = column.values[code]
                assert isinstance(raw, bytes)
                found: tuple[bytes, Kind] | None = raw, column.kinds[column.kind_of[code]]
            else:
                found = raw_value(table, key, instance)
            values.append(None if found is None else found[0])
            kind = kind if found is None else found[1]
        assert kind is not None
        counts[place] = int(table.places["frames"][instance])
        frames[place], _ = frame_columns(values[0], values[1], int(counts[place]), kind)

    def framed(positions: Rows) -> tuple[npt.NDArray[np.int32], Mapping[Key, Column]]:
        parts = [frames.get(i, {}) for i in positions.tolist()]
        return counts[positions], _below_each_other(parts, counts[positions])

    return framed


def _below_each_other(
    parts: Sequence[Mapping[Key, Column]], counts: npt.NDArray[np.int32]
) -> dict[Key, Column]:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {
        key: concatenate(key, [part.get(key) for part in parts], counts.tolist()) for key in keys
    }
