"""The index of a folder: one SQLite file, headers as columns.

Per series and tag one row (see ``columns``), where the pixels of each instance lie, and which file
of which version each instance came from. The index is a cache of the folder: a damaged one is made
anew, so it is kept consistent against crashes (every change is one transaction), not against loss.

File numbers are never used twice. An array remembers its pixels by file number, so a file whose
content changed gets a new number and old arrays notice; one that was only re-read keeps its own.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import IndexDamaged
from dbdicom_xr.index.blocks import PLACE, SeriesKey
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.connection import APPLICATION, FORMAT, IndexFile
from dbdicom_xr.index.rows import (
    FileRow,
    SeriesRow,
    batched,
    checksum,
    from_stored,
    join,
    to_stored,
    uid_hash,
    unseal,
)

__all__ = ["APPLICATION", "FORMAT", "FRAME", "INSTANCE", "FileRow", "SeriesRow", "Store"]

T = TypeVar("T")

INSTANCE: Final = 0
"""Scope of the columns that have a row per instance."""

FRAME: Final = 1
"""Scope of the columns that have a row per frame."""

_FILES = (
    "SELECT file.id, folder.path, name, size, mtime, series, uid, note, sum FROM file"
    " JOIN folder ON folder.id = file.folder"
)
_SERIES = (
    "SELECT id, patient_id, patient_name, study_uid, series_uid, study_date, study_time,"
    " study_description, series_number, series_description, modality, instances, frames, bytes,"
    " sum FROM series"
)
# Columns of the selections above but the last, for the row that holds the sum of all.
_NULLS = {"series": "NULL," * 14, "file": "NULL," * 8}


class Store(IndexFile):
    """An open index file, usable from any thread, and in a process that was forked.

    Parameters
    ----------
    path : Path
        The index file; made where it is missing.
    writable : bool
        Whether changes are allowed.

    Raises
    ------
    IndexDamaged
        It is not an index, or of another version.
    IndexNotWritable
        It does not exist and cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(Path(folder) / "index.sqlite")
    ...     print(store.series(), store.generation())
    ...     store.close()
    [] 0
    """

    def series(self) -> list[SeriesRow]:
        """Return all series."""
        return self._all("series", _SERIES, series_row)

    def one_series(self, series: int) -> SeriesRow:
        """Return a series by its number."""
        rows = self.query(f"{_SERIES} WHERE id=?", [series])
        with self._errors():
            if not rows:
                raise IndexDamaged(f"the index has lost series {series}")
            return series_row(rows[0])

    def _all(self, table: str, sql: str, parse: Callable[[Sequence[Any]], T]) -> list[T]:
        """Return all rows of a table, having checked that none is missing."""
        # One statement, so that no commit of another process comes in between.
        rows = self.query(
            f"SELECT * FROM ({sql}) UNION ALL SELECT * FROM (SELECT {_NULLS[table]}"
            f" (SELECT value FROM meta WHERE key='{table}_sum'))"
        )
        expected = rows.pop()[-1]
        with self._errors():
            found = [parse(row) for row in rows]
            total = 0
            for row in rows:
                total ^= row[-1]
            if total != (expected or 0):
                raise IndexDamaged(f"the index has lost rows of {table}")
        return found

    def places(self, series: int) -> npt.NDArray[np.void]:
        """Return where the pixels of each instance are, shape (instances,), dtype ``PLACE``."""
        rows = self.query("SELECT places FROM place WHERE series=?", [series])
        if not rows:
            raise IndexDamaged(f"{self.path} has lost the instances of series {series}")
        with self._errors():
            return np.frombuffer(zlib.decompress(unseal(rows[0][0], "places", series)), PLACE)

    def keys(self, series: int, scope: int = INSTANCE) -> list[Key]:
        """Return the attributes that occur in a series."""
        rows = self.query("SELECT keys FROM place WHERE series=?", [series])
        if not rows:
            raise IndexDamaged(f"{self.path} has lost the attributes of series {series}")
        with self._errors():
            return _keys(rows[0][0], series, scope)

    def column(self, series: int, key: Key, scope: int = INSTANCE) -> Column | None:
        """Return one attribute of a series, None where no instance has it."""
        rows = self.query(
            "SELECT data FROM header WHERE series=? AND scope=? AND tag=? AND creator=?",
            [series, scope, key.tag, key.creator],
        )
        if rows:
            with self._errors():
                return Column.unpack(key, unseal(rows[0][0], series, scope, *key))
        if key in self.keys(series, scope):
            raise IndexDamaged(f"{self.path} has lost {key} of series {series}")
        return None

    def columns(self, series: int, scope: int = INSTANCE) -> dict[Key, Column]:
        """Return all attributes of a series."""
        # One statement, so that no commit of another process comes in between.
        rows = self.query(
            "SELECT * FROM (SELECT tag, creator, data FROM header WHERE series=? AND scope=?"
            " ORDER BY tag, creator) UNION ALL SELECT NULL, NULL, keys FROM place WHERE series=?",
            [series, scope, series],
        )
        if not rows or rows[-1][0] is not None:
            raise IndexDamaged(f"{self.path} has lost the attributes of series {series}")
        _, _, keys = rows.pop()
        with self._errors():
            found = {
                Key(tag, creator): Column.unpack(
                    Key(tag, creator), unseal(data, series, scope, tag, creator)
                )
                for tag, creator, data in rows
            }
            expected = _keys(keys, series, scope)
        if found.keys() != set(expected):
            raise IndexDamaged(f"{self.path} has lost attributes of series {series}")
        return found

    def creators(self, series: int, tag: int) -> list[str]:
        """Return the private creators under which an element number occurs."""
        found = {key.creator for scope in (INSTANCE, FRAME) for key in self.keys(series, scope)
                 if key.tag == tag}  # fmt: skip
        return sorted(found)

    def files(self, numbers: Iterable[int] | None = None) -> dict[int, FileRow]:
        """Return files by number, or all; numbers that are no more are left out."""
        if numbers is None:
            return {row.id: row for row in self._all("file", _FILES, file_row)}
        rows: list[Any] = []
        for part in batched(sorted({int(n) for n in numbers}), 500):
            if part[-1] - part[0] == len(part) - 1:
                rows += self.query(f"{_FILES} WHERE file.id BETWEEN ? AND ?", [part[0], part[-1]])
            else:
                marks = ",".join("?" * len(part))
                rows += self.query(f"{_FILES} WHERE file.id IN ({marks})", part)
        with self._errors():
            return {row[0]: file_row(row) for row in rows}

    def file_at(self, path: str) -> FileRow | None:
        """Return a file by its path relative to the folder, None where it is not known."""
        folder, _, name = path.rpartition("/")
        rows = self.query(
            f"{_FILES} WHERE folder.path=? AND name=?", [to_stored(folder), to_stored(name)]
        )
        with self._errors():
            return file_row(rows[0]) if rows else None

    def versions(self, numbers: npt.NDArray[np.int64]) -> dict[int, tuple[int, int]]:
        """Return size and time of change of files by number."""
        if not len(numbers):
            return {}
        rows = self.query(
            "SELECT id, size, mtime FROM file WHERE id BETWEEN ? AND ?",
            [int(numbers.min()), int(numbers.max())],
        )
        return {number: (size, mtime) for number, size, mtime in rows}

    def problems(self) -> list[FileRow]:
        """Return the files about which there is something to say, by path."""
        with self._errors():
            found = [file_row(row) for row in self.query(f"{_FILES} WHERE note IS NOT NULL")]
        return sorted(found, key=lambda row: row.path)

    def retired_path(self, number: int) -> str | None:
        """Return the path of a file that has changed or gone."""
        rows = self.query("SELECT path FROM retired WHERE id=?", [number])
        return from_stored(rows[0][0]) if rows else None

    def series_of_uid(self, uid: str) -> list[tuple[int, int]]:
        """Return (file, series) of the instances whose UID has the same hash."""
        return self.query(
            "SELECT id, series FROM file WHERE uid=? AND series IS NOT NULL", [uid_hash(uid)]
        )


def _keys(sealed: object, series: int, scope: int) -> list[Key]:
    """Return the attributes of a scope from what is stored of all."""
    return list(_parsed_keys(zlib.decompress(unseal(sealed, "keys", series)), scope))


@lru_cache(maxsize=64)
def _parsed_keys(text: bytes, scope: int) -> tuple[Key, ...]:
    # Many series of a folder have the same attributes.
    return tuple(Key(tag, creator) for of, tag, creator in json.loads(text) if of == scope)


def file_row(row: Sequence[Any]) -> FileRow:
    """Return a file from its row in the table, checked."""
    if checksum(*row[:-1]) != row[-1]:
        raise IndexDamaged("the index holds a damaged file name")
    number, folder, name, size, mtime, series, _, note, _ = row
    return FileRow(number, join(folder, name), size, mtime, series, note)


def series_row(row: Sequence[Any]) -> SeriesRow:
    """Return a series from its row in the table, checked."""
    if checksum(*row[:-1]) != row[-1]:
        raise IndexDamaged("the index holds a damaged series")
    return SeriesRow(row[0], SeriesKey(*row[1:5]), *row[5:-1])
