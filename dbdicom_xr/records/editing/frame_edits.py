"""Editing the functional groups of multi-frame images: the raw sequences, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.datadict import keyword_for_tag

from dbdicom_xr.index.columns import Column, Key, concatenate
from dbdicom_xr.index.functional import PER_FRAME, SHARED, frame_columns
from dbdicom_xr.index.store import FRAME
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import Kind, decode
from dbdicom_xr.records.attributes.lookup import alternatives
from dbdicom_xr.staging.changing import Change, Selection
from dbdicom_xr.staging.charsets import UTF8
from dbdicom_xr.staging.convert import with_charset
from dbdicom_xr.staging.encode import Encoded, fits, recode
from dbdicom_xr.staging.groups import edit_groups
from dbdicom_xr.staging.patch import delta, overlay
from dbdicom_xr.staging.spans import Form

if TYPE_CHECKING:
    from dbdicom_xr.records.tree import Node

__all__ = ["edit_frames", "hold_for_frames", "raw_value", "regrouped"]

Rows = npt.NDArray[np.intp]

_CHARSET: Final = Key(0x00080005)


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
    to_utf8 = np.full(rows, -1)
    for place, edits in edits_of.items():
        instance = int(selection.rows[place])
        shared = raw_value(table, Key(SHARED), instance)
        per_frame = raw_value(table, Key(PER_FRAME), instance)
        present = shared or per_frame
        assert present is not None
        kind = present[1]
        number = int(table.places["frames"][instance])
        every = [value for of_frames in edits.values() for value in of_frames.values()]
        if not all(value is None or _fits(value, kind) for value in every):
            shared, per_frame = _in_utf8(SHARED, shared), _in_utf8(PER_FRAME, per_frame)
            kind = kind._replace(charset=UTF8)
            to_utf8[place] = 0
        edits = {
            key: {frame: _in_charset(value, kind) for frame, value in of_frames.items()}
            for key, of_frames in edits.items()
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
    if (to_utf8 >= 0).any():
        wanted = delta(_CHARSET, [Encoded(Kind("CS"), UTF8)], to_utf8, rows)
        columns[_CHARSET] = overlay(_CHARSET, columns.get(_CHARSET), wanted) or wanted
    change.edit(selection, columns, frames=regrouped(table, selection.rows, columns))


def _fits(value: Encoded, kind: Kind) -> bool:
    """Return whether a text can stand in a sequence of this character set."""
    return not value.kind.charset or kind.charset == UTF8 or fits(value, kind.charset)


def _in_charset(value: Encoded | None, kind: Kind) -> Encoded | None:
    """Return a text in the character set of the sequence that it goes into."""
    if value is None or not value.kind.charset:
        return value
    return Encoded(value.kind, recode(value, kind.charset))


def _in_utf8(tag: int, found: tuple[bytes, Kind] | None) -> tuple[bytes, Kind] | None:
    """Return a sequence with its text in UTF-8, as the whole file will be then."""
    if found is None:
        return None
    raw, kind = found
    form = Form(kind.implicit, kind.big_endian)
    return with_charset(tag, "SQ", raw, kind.charset, UTF8, form), kind._replace(charset=UTF8)


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


def hold_for_frames(target: Any, records: Sequence[Any]) -> None:
    """Let what a record made by hand says hold for the frames of multi-frame instances too."""
    said: dict[Key, Encoded | None] = {}
    node: Node | None = target._node
    while node is not None:
        if node.made is not None:
            said = {**node.made.attributes, **said}
        node = node.parent
    framed = {key: [key, *alternatives(keyword_for_tag(key.tag))] for key in said}
    for record in records if said else ():
        tables = [table for table, _ in record._tables()]
        for key, encoded in said.items():
            of_frames = any(
                table.column(name, FRAME) is not None for table in tables for name in framed[key]
            )
            if encoded is not None and of_frames and not key.creator:
                value = decode(key.tag, "", encoded.kind, encoded.value)
                record[(key.tag >> 16, key.tag & 0xFFFF)] = value
