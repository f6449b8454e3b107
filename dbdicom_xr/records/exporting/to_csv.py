"""``export_as_csv``: the header as tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TextIO

import numpy as np

from dbdicom_xr.formats.csv import LINE_END, cell
from dbdicom_xr.formats.targets import Target, refuse_existing, target_of
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.table import Table
from dbdicom_xr.interact import Bar, progress_bar
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.exporting.each import Part, Rows, identifies, parts_of, refuse_all
from dbdicom_xr.records.exporting.files import new_files
from dbdicom_xr.records.reading.header_table import attribute_of

if TYPE_CHECKING:
    from dbdicom_xr.records.record import Record

__all__ = ["export_csv"]

_AT_ONCE: Final = 5_000  # rows
_FIRST: Final = ("SOPInstanceUID", "frame")

Column = tuple[list[str], np.ndarray[tuple[int], np.dtype[np.int64]]]
"""Cells that occur, the last one empty, and which of them each row has."""


def export_csv(
    record: Record, path: str | os.PathLike[str], *, overwrite: bool, identify: bool
) -> list[str]:
    """Write the header of a record as tables. See :meth:`Record.export_as_csv`."""
    target = target_of(path, ".csv")
    return _export(record, target, overwrite, identify)


@of_one_state
def _export(record: Record, target: Target, overwrite: bool, identify: bool) -> list[str]:
    parts = parts_of(record)
    if not parts:
        refuse_all(record, [])
    if target.file is not None:
        groups = {target.path(target.file): parts}
    else:
        groups = {target.path(part.name): [part] for part in parts}
    refuse_existing(list(groups), overwrite)
    frames = sum(len(part.rows()[1]) for part in parts if part.record._tables())
    voice = record.database._own_voice
    with (
        new_files(target.folder) as files,
        progress_bar(frames, "Writing CSV", "row", voice) as bar,
    ):
        for name, group in groups.items():
            _write(files.new(name), group, identify, bar)
    return list(groups)


def _write(path: str, parts: Sequence[Part], identify: bool, bar: Bar) -> None:
    chosen = [part.rows() for part in parts if part.record._tables()]
    tables = [_columns(table, identify) for table, _ in chosen]
    found = sorted({key for columns in tables for key in columns})
    header = [*_FIRST, *(cell(attribute_of(key).name) or "" for key in found)]
    # Excel takes a file for UTF-8 where it begins so; other programs may take it for a name.
    plain = all(text.isascii() for columns in tables for one in columns.values() for text in one[0])
    encoding = "utf-8" if plain else "utf-8-sig"
    with open(path, "w", encoding=encoding, newline="", buffering=1 << 20) as file:
        file.write(",".join(header) + LINE_END)
        for (table, rows), columns in zip(chosen, tables, strict=True):
            _write_rows(file, table, rows, [columns.get(key) for key in found], bar)


def _columns(table: Table, identify: bool) -> dict[Key, Column]:
    """Return the attributes of a series that have a place in a table."""
    table.load()
    result: dict[Key, Column] = {}
    for key in table.keys:
        attribute = attribute_of(key)
        if attribute.name in _FIRST or table.left_in_files(key):
            continue
        if not identify and identifies(attribute):
            continue
        values = attribute.values(table)
        if values is None:
            continue
        cells = [cell(value) for value in values.distinct]
        texts = [text for text in cells if text is not None]
        if len(texts) == len(cells):
            result[key] = ([*texts, ""], values.codes.astype(np.int64))
    return result


def _write_rows(
    file: TextIO, table: Table, rows: Rows, columns: Sequence[Column | None], bar: Bar
) -> None:
    uids = table.uids
    for start in range(0, len(rows), _AT_ONCE):
        chosen = rows[start : start + _AT_ONCE]
        owners = [cell(uids[i]) or "" for i in table.instance_of[chosen].tolist()]
        numbers = map(str, table.frame_numbers[chosen].tolist())
        texts = [
            [""] * len(chosen)
            if column is None
            else [column[0][code] for code in column[1][chosen].tolist()]
            for column in columns
        ]
        lines = [",".join(parts) for parts in zip(owners, numbers, *texts, strict=True)]
        file.write(LINE_END.join(lines) + LINE_END)
        bar.update(len(chosen))
