"""Series written anew: what stays of them, and what comes to them."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import IndexDamaged
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.merge import SOP_INSTANCE_UID, Part, instance_uids, merge, summary
from dbdicom_xr.index.rows import FileRow, checksum, seal
from dbdicom_xr.index.store import FRAME, INSTANCE, Store

__all__ = ["Rewrite"]


@dataclass(slots=True)
class _Change:
    """All that happens to one series."""

    part: Part | None = None  # what stays of it
    size: int = 0  # of the files that stay, in bytes
    added: list[Part] = field(default_factory=list)


class Rewrite:
    """The series that one transaction changes.

    Parameters
    ----------
    store : Store
    connection : sqlite3.Connection
        In the transaction.
    """

    def __init__(self, store: Store, connection: sqlite3.Connection) -> None:
        self._store = store
        self._connection = connection
        self._changes: dict[int, _Change] = {}
        self._keys: dict[int, SeriesKey] = {}
        self._new: set[int] = set()  # series that are not in the index yet
        self._leaving: dict[int, FileRow] = {}
        self.sum = 0
        """What changes in the sum of the table of series."""

    def number(self, key: SeriesKey) -> int:
        """Return the number of a series, a new one where it is not in the index."""
        where = "patient_id=? AND patient_name=? AND study_uid=? AND series_uid=?"
        rows = self._connection.execute(f"SELECT id FROM series WHERE {where}", key).fetchall()
        if rows:
            self._keys[rows[0][0]] = key
            return int(rows[0][0])
        cursor = self._connection.execute(
            "INSERT INTO series(patient_id, patient_name, study_uid, series_uid, instances, frames,"
            " bytes, sum) VALUES(?,?,?,?,0,0,0,0)",
            key,
        )
        series = int(cursor.lastrowid or 0)
        self._keys[series] = key
        self._new.add(series)
        return series

    def lose(self, leaving: dict[int, FileRow]) -> None:
        """Take the rows of files out of their series."""
        self._leaving = leaving
        gone: dict[int, list[int]] = {}
        for row in leaving.values():
            if row.series is not None:
                gone.setdefault(row.series, []).append(row.id)
        for series, numbers in gone.items():
            self._changes[series] = self._load(series, numbers)

    def add(self, series: int, part: Part, size: int) -> None:
        """Add rows, of files of so many bytes."""
        if series not in self._changes:
            self._changes[series] = self._load(series, [])
        self._changes[series].added.append(part)
        self._changes[series].size += size

    def write(self) -> None:
        """Write the series that lose or get rows; one that has none left goes."""
        for series, change in self._changes.items():
            self._write(series, change)

    def _write(self, series: int, change: _Change) -> None:
        connection = self._connection
        parts = ([change.part] if change.part is not None else []) + change.added
        for (total,) in connection.execute("SELECT sum FROM series WHERE id=?", [series]):
            self.sum ^= total
        connection.execute("DELETE FROM header WHERE series=?", [series])
        connection.execute("DELETE FROM place WHERE series=?", [series])
        if not parts:
            connection.execute("DELETE FROM series WHERE id=?", [series])
            return
        merged = merge(parts)
        columns = [
            (series, scope, *key, column)
            for scope, layer in ((INSTANCE, merged.columns), (FRAME, merged.frames))
            for key, column in sorted(layer.items())
        ]
        connection.executemany(
            "INSERT INTO header VALUES(?,?,?,?,?)",
            [(*names, seal(column.pack(), *names)) for *names, column in columns],
        )
        places = zlib.compress(merged.places.tobytes(), 1)
        keys = zlib.compress(json.dumps([names for _, *names, _ in columns]).encode(), 1)
        connection.execute(
            "INSERT INTO place VALUES(?,?,?)",
            [series, seal(places, "places", series), seal(keys, "keys", series)],
        )
        told = (
            *summary(merged.columns),
            len(merged.uids),
            int(merged.places["frames"].sum()),
            change.size,
        )
        total = checksum(series, *self._keys[series], *told)
        self.sum ^= total
        connection.execute(
            "UPDATE series SET study_date=?, study_time=?, study_description=?, series_number=?,"
            " series_description=?, modality=?, instances=?, frames=?, bytes=?, sum=? WHERE id=?",
            [*told, total, series],
        )

    def _load(self, series: int, gone: Sequence[int]) -> _Change:
        """Return what stays of a series."""
        if series in self._new:
            return _Change()
        row = self._store.one_series(series)
        if self._keys.setdefault(series, row.key) != row.key:
            raise IndexDamaged("the index has mixed up series")
        places = self._store.places(series)
        columns = self._store.columns(series, INSTANCE)
        frames = self._store.columns(series, FRAME)
        part = Part(columns, frames, places, self._uids(columns, places))
        if gone:
            stay = np.flatnonzero(~np.isin(places["file"], np.array(gone, np.int64)))
            part = part.take(stay)
        size = row.bytes - sum(self._leaving[number].size for number in gone)
        return _Change(part if len(part.uids) else None, size)

    def _uids(self, columns: dict[Key, Column], places: npt.NDArray[np.void]) -> list[str]:
        column = columns.get(SOP_INSTANCE_UID)
        uids = instance_uids(column, len(places))
        nameless = {int(places["file"][row]) for row, uid in enumerate(uids) if not uid}
        if nameless:
            files = self._store.files(nameless - self._leaving.keys())
            files.update({number: self._leaving[number] for number in nameless - files.keys()})
            numbers = places["file"].tolist()
            uids = [uid or f"file:{files[numbers[row]].path}" for row, uid in enumerate(uids)]
        return uids
