"""Changes of the index: what was read goes in, what vanished goes out, in one transaction.

The rows of a series stand in the order of InstanceNumber, then UID, so that the index of a folder
does not depend on the names of its files or on the order in which they were read.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.blocks import PLACE, Block, Findings, SeriesKey
from dbdicom_xr.index.columns import Column, Key, concatenate
from dbdicom_xr.index.store import (
    FRAME,
    INSTANCE,
    FileRow,
    Store,
    _chunks,
    _join,
    to_stored,
    uid_hash,
)

__all__ = ["Batch", "apply"]

INSTANCE_NUMBER: Final = Key(0x00200013)
SOP_INSTANCE_UID: Final = Key(0x00080018)


@dataclass(slots=True)
class Batch:
    """Files that were read, and what was found in them."""

    paths: Sequence[str]  # relative to the folder, with "/"
    findings: Findings


@dataclass(slots=True)
class _Part:
    """Rows of one series, before they are merged."""

    columns: dict[Key, Column]
    frames: dict[Key, Column]
    places: npt.NDArray[np.void]
    uids: list[str]

    def take(self, rows: npt.NDArray[np.intp]) -> _Part:
        counts = self.places["frames"].astype(np.intp)
        starts = np.cumsum(counts) - counts
        frame_rows = (
            np.repeat(starts[rows] - (np.cumsum(counts[rows]) - counts[rows]), counts[rows])
            + np.arange(int(counts[rows].sum()))
            if self.frames
            else np.empty(0, np.intp)
        )
        return _Part(
            _without_empty({key: column.take(rows) for key, column in self.columns.items()}),
            _without_empty({key: column.take(frame_rows) for key, column in self.frames.items()}),
            self.places[rows],
            [self.uids[i] for i in rows.tolist()],
        )


def _without_empty(columns: dict[Key, Column]) -> dict[Key, Column]:
    return {
        key: column
        for key, column in columns.items()
        if column.codes is None or bool((column.codes >= 0).any())
    }


@dataclass(slots=True)
class _Change:
    """All that happens to one series."""

    part: _Part | None = None  # what stays of it
    size: int = 0  # of the files that stay, in bytes
    added: list[_Part] = field(default_factory=list)


def apply(store: Store, batches: Sequence[Batch], removed: Iterable[int] = ()) -> list[str]:
    """Bring what was read into the index, and take files out.

    Parameters
    ----------
    store : Store
    batches : sequence of Batch
        Files that are new, changed, or read once more.
    removed : iterable of int
        Numbers of the files that are no more.

    Returns
    -------
    list of str
        Files to read now: they were passed over because another file, which has gone,
        held the same SOPInstanceUID.
    """
    with store.transaction() as connection:
        update = _Update(store, connection)
        update.leave(removed, retire=True)
        for batch in batches:
            update.read(batch)
        update.write()
        connection.execute(
            "INSERT INTO meta VALUES('generation', 1)"
            " ON CONFLICT(key) DO UPDATE SET value = value + 1"
        )
        return update.to_read


class _Update:
    def __init__(self, store: Store, connection: sqlite3.Connection) -> None:
        self.store = store
        self.connection = connection
        self.leaving: dict[int, FileRow] = {}
        self.to_read: list[str] = []
        self.folders: dict[str, int] = {}
        # path -> (number of the file if it keeps one, size, mtime, note)
        self.files: dict[str, tuple[int | None, int, int, str | None]] = {}
        self.instances: dict[str, tuple[str, Block, int]] = {}  # UID -> path, block, row
        self.duplicates: dict[str, tuple[str, str]] = {}  # path -> UID, path of the other file

    # -- collecting --------------------------------------------------------------------------

    def leave(self, numbers: Iterable[int], *, retire: bool) -> None:
        """Take files out of the index; duplicates of what they held may come in."""
        rows = self.store.files(numbers)
        self.leaving.update(rows)
        for part in _chunks(list(rows), 500):
            marks = ",".join("?" * len(part))
            hashes = self.connection.execute(
                f"SELECT uid FROM file WHERE id IN ({marks}) AND series IS NOT NULL", part
            ).fetchall()
            self.connection.execute(f"DELETE FROM file WHERE id IN ({marks})", part)
            if retire:
                self.connection.executemany(
                    "INSERT OR REPLACE INTO retired VALUES(?, ?)",
                    [(number, to_stored(rows[number].path)) for number in part],
                )
                for (value,) in hashes:
                    self.to_read += [
                        _join(folder, name)
                        for folder, name in self.connection.execute(
                            "SELECT folder.path, name FROM file JOIN folder ON folder.id=folder"
                            " WHERE uid=? AND series IS NULL",
                            [value],
                        ).fetchall()
                    ]

    def read(self, batch: Batch) -> None:
        findings = batch.findings
        known = self._known(batch.paths)
        again: dict[bool, list[int]] = {True: [], False: []}
        for number, path in enumerate(batch.paths):
            version = findings.versions.get(number, (-1, -1))
            note = findings.problems.get(number) or findings.notes.get(number)
            keeps = None
            if (row := known.get(path)) is not None:
                changed = (row[1], row[2]) != version
                again[changed].append(row[0])
                keeps = None if changed else row[0]
            self.files[path] = (keeps, *version, note)
        self.leave(again[True], retire=True)
        self.leave(again[False], retire=False)
        for block in findings.blocks:
            for row, number in enumerate(block.places["file"].tolist()):
                path = batch.paths[number]
                uid = block.uids[row] or f"file:{path}"
                block.uids[row] = uid
                other = self.instances.get(uid)
                if other is None or path < other[0]:
                    self.instances[uid] = (path, block, row)
                    if other is not None:
                        self.duplicates[other[0]] = (uid, path)
                else:
                    self.duplicates[path] = (uid, other[0])

    def _known(self, paths: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        by_folder: dict[str, list[str]] = {}
        for path in paths:
            by_folder.setdefault(path.rpartition("/")[0], []).append(path)
        known = {}
        for folder, members in by_folder.items():
            wanted = set(members)
            rows = self.connection.execute(
                "SELECT file.id, size, mtime, name FROM file JOIN folder ON folder.id=folder"
                " WHERE folder.path=?",
                [to_stored(folder)],
            ).fetchall()
            for number, size, mtime, name in rows:
                path = _join(folder, name)
                if path in wanted:
                    known[path] = (number, size, mtime)
        return known

    def _settle_with_index(self) -> None:
        """Decide between new files and indexed ones with the same UID: the first path counts."""
        hashes: dict[int, str] = {uid_hash(uid): uid for uid in self.instances}
        losers: list[int] = []
        for part in _chunks(list(hashes), 500):
            marks = ",".join("?" * len(part))
            rows = self.connection.execute(
                "SELECT file.id, folder.path, name, uid, series, size, mtime FROM file"
                " JOIN folder ON folder.id=folder"
                f" WHERE uid IN ({marks}) AND series IS NOT NULL",
                part,
            ).fetchall()
            for number, folder, name, value, series, size, mtime in rows:
                uid = hashes[value]
                path = _join(folder, name)
                if not self._holds(series, number, uid):
                    continue
                if path < self.instances[uid][0]:
                    self.duplicates[self.instances.pop(uid)[0]] = (uid, path)
                else:
                    losers.append(number)
                    self.files[path] = (number, size, mtime, None)
                    self.duplicates[path] = (uid, self.instances[uid][0])
        self.leave(losers, retire=False)

    def _holds(self, series: int, number: int, uid: str) -> bool:
        if uid.startswith("file:"):
            return False
        column = self.store.column(series, SOP_INSTANCE_UID)
        if column is None:
            return False
        row = np.flatnonzero(self.store.places(series)["file"] == number)
        return bool(len(row)) and column.value(int(row[0])) == uid

    # -- writing -----------------------------------------------------------------------------

    def write(self) -> None:
        self._settle_with_index()
        numbers = self._write_files()
        changes = self._changes(numbers)
        for series, change in changes.items():
            self._write_series(series, change)

    def _write_files(self) -> dict[str, int]:
        """Store the files, and return the number of each; instances in the order of their series."""
        ordered = sorted(self.instances.items(), key=lambda item: _order(*item[1][1:], item[0]))
        paths = [path for _, (path, _, _) in ordered]
        uids = {path: uid for uid, (path, _, _) in ordered}
        inside = set(paths)
        paths += [path for path in self.files if path not in inside]
        rows = self.connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name='file'"
        ).fetchall()
        following = (rows[0][0] if rows else 0) + 1
        numbers = {}
        stored = []
        for path in paths:
            keeps, size, mtime, note = self.files[path]
            if keeps is None:
                keeps, following = following, following + 1
            numbers[path] = keeps
            folder, _, name = path.rpartition("/")
            uid = uids.get(path)
            if path in self.duplicates and path not in inside:
                uid, other = self.duplicates[path]
                note = f"passed over: it has the SOPInstanceUID of {other}"
            series = -1 if path in inside else None
            stored.append(
                (keeps, self._folder(folder), to_stored(name), size, mtime, series,
                 None if uid is None else uid_hash(uid), note)
            )  # fmt: skip
        self.connection.executemany("INSERT INTO file VALUES(?,?,?,?,?,?,?,?)", stored)
        return numbers

    def _folder(self, path: str) -> int:
        number = self.folders.get(path)
        if number is None:
            stored = to_stored(path)
            self.connection.execute("INSERT OR IGNORE INTO folder(path) VALUES(?)", [stored])
            rows = self.connection.execute(
                "SELECT id FROM folder WHERE path=?", [stored]
            ).fetchall()
            number = self.folders[path] = int(rows[0][0])
        return number

    def _changes(self, numbers: dict[str, int]) -> dict[int, _Change]:
        changes: dict[int, _Change] = {}
        kept: dict[int, list[int]] = {}
        for row in self.leaving.values():
            if row.series is not None:
                kept.setdefault(row.series, []).append(row.id)
        for series, gone in kept.items():
            changes[series] = self._load(series, gone)

        blocks: dict[int, tuple[Block, list[int]]] = {}
        for _, block, row in self.instances.values():
            blocks.setdefault(id(block), (block, []))[1].append(row)
        paths = {id(block): [""] * len(block) for block, _ in blocks.values()}
        for path, block, row in self.instances.values():
            paths[id(block)][row] = path
        for block, chosen in blocks.values():
            part = _Part(block.columns, block.frames, block.places.copy(), block.uids)
            names = paths[id(block)]
            part.places["file"] = [numbers[name] if name else -1 for name in names]
            if len(chosen) < len(block):
                part = part.take(np.array(sorted(chosen), np.intp))
            series = self._series(block.key)
            change = changes.get(series)
            if change is None:
                change = changes[series] = self._load(series, [])
            change.added.append(part)
            change.size += sum(self.files[name][1] for name in names if name)
            self.connection.executemany(
                "UPDATE file SET series=? WHERE id=?",
                [(series, int(number)) for number in part.places["file"].tolist()],
            )
        return changes

    def _series(self, key: SeriesKey) -> int:
        where = "patient_id=? AND patient_name=? AND study_uid=? AND series_uid=?"
        rows = self.connection.execute(f"SELECT id FROM series WHERE {where}", key).fetchall()
        if rows:
            return int(rows[0][0])
        cursor = self.connection.execute(
            "INSERT INTO series(patient_id, patient_name, study_uid, series_uid, instances, frames,"
            " bytes) VALUES(?,?,?,?,0,0,0)",
            key,
        )
        return int(cursor.lastrowid or 0)

    def _load(self, series: int, gone: Sequence[int]) -> _Change:
        rows = self.connection.execute(
            "SELECT instances, bytes FROM series WHERE id=?", [series]
        ).fetchall()
        if not rows or rows[0][0] == 0:
            return _Change()
        places = self.store.places(series)
        columns = self.store.columns(series, INSTANCE)
        part = _Part(
            columns,
            self.store.columns(series, FRAME),
            places,
            _uids(self.store, columns, places, self.leaving),
        )
        if gone:
            stay = np.flatnonzero(~np.isin(places["file"], np.array(gone, np.int64)))
            part = part.take(stay)
        size = rows[0][1] - sum(self.leaving[number].size for number in gone)
        return _Change(part if len(part.uids) else None, size)

    def _write_series(self, series: int, change: _Change) -> None:
        parts = ([change.part] if change.part is not None else []) + change.added
        connection = self.connection
        connection.execute("DELETE FROM header WHERE series=?", [series])
        connection.execute("DELETE FROM place WHERE series=?", [series])
        if not parts:
            connection.execute("DELETE FROM series WHERE id=?", [series])
            return
        merged = _merge(parts)
        connection.executemany(
            "INSERT INTO header VALUES(?,?,?,?,?)",
            [
                (series, scope, key.tag, key.creator, column.pack())
                for scope, columns in ((INSTANCE, merged.columns), (FRAME, merged.frames))
                for key, column in sorted(columns.items())
            ],
        )
        payload = merged.places.tobytes()
        connection.execute(
            "INSERT INTO place VALUES(?,?)",
            [series, zlib.crc32(payload).to_bytes(4, "little") + zlib.compress(payload, 1)],
        )
        connection.execute(
            "UPDATE series SET study_date=?, study_time=?, study_description=?, series_number=?,"
            " series_description=?, modality=?, instances=?, frames=?, bytes=? WHERE id=?",
            [
                *_summary(merged.columns),
                len(merged.uids),
                int(merged.places["frames"].sum()),
                change.size,
                series,
            ],
        )


def _order(block: Block, row: int, uid: str) -> tuple[SeriesKey, float, str]:
    return block.key, _instance_number(block.columns.get(INSTANCE_NUMBER), row), uid


def _instance_number(column: Column | None, row: int) -> float:
    value = None if column is None else column.value(row)
    return float(value) if isinstance(value, int) else np.inf


def _merge(parts: Sequence[_Part]) -> _Part:
    counts = [len(part.uids) for part in parts]
    if len(parts) == 1:
        merged = parts[0]
    else:
        names = dict.fromkeys(key for part in parts for key in part.columns)
        columns = {
            key: concatenate(key, [part.columns.get(key) for part in parts], counts)
            for key in names
        }
        frame_names = dict.fromkeys(key for part in parts for key in part.frames)
        frame_counts = [int(part.places["frames"].sum()) for part in parts]
        frames = {
            key: concatenate(key, [part.frames.get(key) for part in parts], frame_counts)
            for key in frame_names
        }
        places = np.concatenate([part.places for part in parts]).astype(PLACE)
        merged = _Part(columns, frames, places, [uid for part in parts for uid in part.uids])
    column = merged.columns.get(INSTANCE_NUMBER)
    if column is None:
        numbers = np.full(len(merged.uids), np.inf)
    else:
        values = [float(v) if isinstance(v, int) else np.inf for v in column.decoded()] + [np.inf]
        numbers = np.array(values)[column.codes_of()]
    _, uid_order = np.unique(np.array(merged.uids, dtype=np.str_), return_inverse=True)
    rows = np.lexsort((uid_order, numbers))
    if bool((rows == np.arange(len(rows))).all()):
        return merged
    return merged.take(rows)


def _uids(
    store: Store,
    columns: dict[Key, Column],
    places: npt.NDArray[np.void],
    leaving: dict[int, FileRow],
) -> list[str]:
    column = columns.get(SOP_INSTANCE_UID)
    uids: list[Any] = (
        [None] * len(places)
        if column is None
        else [column.value(row) for row in range(len(places))]
    )
    missing = [row for row, uid in enumerate(uids) if not isinstance(uid, str)]
    if missing:
        numbers = {int(places["file"][row]) for row in missing}
        files = store.files(numbers - leaving.keys())
        files.update({n: leaving[n] for n in numbers & leaving.keys()})
        for row in missing:
            uids[row] = f"file:{files[int(places['file'][row])].path}"
    return uids


_SUMMARY: Final = (
    (0x00080020, str), (0x00080030, str), (0x00081030, str),
    (0x00200011, int), (0x0008103E, str), (0x00080060, str),
)  # fmt: skip


def _summary(columns: dict[Key, Column]) -> list[Any]:
    """Return what the tree shows: the value of the first instance that has one."""
    result: list[Any] = []
    for tag, kind in _SUMMARY:
        column = columns.get(Key(tag))
        value = None
        if column is not None:
            value = next((v for v in column.decoded() if v is not None), None)
        if isinstance(value, list):
            value = "\\".join(str(part) for part in value)
        if kind is int:
            result.append(value if isinstance(value, int) else None)
        else:
            result.append("" if value is None else str(value))
    return result
