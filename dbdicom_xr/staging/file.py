"""The file of what is staged: one SQLite file, beside the index but apart from it.

The index can be made anew from the files at any time. What is staged cannot: a commit is on the
disk when it returns, each row carries a checksum, and a file that is damaged is never replaced.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from dbdicom_xr.errors import IndexDamaged, IndexNotWritable, StagingDamaged, StagingNotWritable
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.connection import SqliteFile
from dbdicom_xr.index.rows import seal, unseal
from dbdicom_xr.index.store import FRAME, INSTANCE
from dbdicom_xr.index.values import Kind
from dbdicom_xr.staging import journal, lease
from dbdicom_xr.staging.encode import Encoded
from dbdicom_xr.staging.patch import Patch, PatchKey, Role

__all__ = ["EmptyRecord", "Layer", "StagingFile"]

_TABLES: Final = (
    """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE patch(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    waiting INTEGER NOT NULL,  -- 1: of the state after a save that is not finished
    head BLOB NOT NULL,
    rows BLOB NOT NULL
);
CREATE TABLE delta(
    patch INTEGER NOT NULL,
    scope INTEGER NOT NULL,    -- 0: a row per instance, 1: a row per frame
    tag INTEGER NOT NULL,
    creator TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY(patch, scope, tag, creator)
);
"""
    + lease.TABLES
    + journal.TABLES
)


MadePlace = tuple[str, SeriesKey]
"""Level and place of a record made by hand."""


class EmptyRecord(NamedTuple):
    """A patient, study or series that was made by hand, and what holds for all below it."""

    level: str
    key: SeriesKey  # "" below its level
    attributes: Mapping[Key, Encoded]

    @property
    def place(self) -> MadePlace:
        """What tells it from others."""
        return self.level, self.key


@dataclass(frozen=True, eq=False)
class Layer:
    """All that is staged.

    Parameters
    ----------
    patches : dict
    empty : dict
        Records made by hand, by their place.
    kept : dict
        These as they were saved last, and are again when what is staged is restored.
    """

    patches: Mapping[PatchKey, Patch] = field(default_factory=dict)
    empty: Mapping[MadePlace, EmptyRecord] = field(default_factory=dict)
    kept: Mapping[MadePlace, EmptyRecord] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.patches or self.empty or self.kept)

    @property
    def unsaved(self) -> bool:
        """Whether something would be lost by restoring."""
        return bool(self.patches) or self.empty != self.kept

    def replaced(self, patches: Mapping[PatchKey, Patch | None]) -> Layer:
        """Return the layer with other patches; None or one without rows takes a patch out."""
        result = dict(self.patches)
        for key, patch in patches.items():
            result.pop(key, None)
            if patch is not None and len(patch):
                result[key] = patch
        return Layer(result, self.empty, self.kept)

    def with_empty(
        self,
        empty: Mapping[MadePlace, EmptyRecord],
        kept: Mapping[MadePlace, EmptyRecord] | None = None,
    ) -> Layer:
        """Return the layer with these records made by hand, and no others."""
        return Layer(self.patches, empty, self.kept if kept is None else kept)


class StagingFile(SqliteFile):
    """What is staged of a folder, on the disk.

    Parameters
    ----------
    path : Path
        The file; made where it is missing.
    writable : bool

    Raises
    ------
    StagingDamaged
        It cannot be read.
    StagingNotWritable
        It cannot be made.
    """

    tables: ClassVar[str] = _TABLES
    format: ClassVar[int] = 1
    application: ClassVar[int] = 0x44584453
    synchronous: ClassVar[str] = "FULL"
    noun: ClassVar[str] = "staging file"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with super()._errors():
                yield
        except IndexDamaged as error:
            raise StagingDamaged(
                f"{error}. It is left as it is, since it may hold changes that are staged; the "
                "DICOM files are not affected. Move it away to go on without them."
            ) from error
        except IndexNotWritable as error:
            raise StagingNotWritable(
                f"{self.path} cannot be written: {error.__cause__ or error}. Nothing was changed."
            ) from error

    def load(self) -> tuple[int, Layer]:
        """Return what is staged, and the number of that state."""
        try:
            return self._load()
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise StagingDamaged(
                f"{self.path} cannot be understood ({type(error).__name__}: {error}). It is left "
                "as it is, since it may hold changes that are staged; the DICOM files are not "
                "affected. Move it away to go on without them."
            ) from error

    def _load(self) -> tuple[int, Layer]:
        with self._lock, self._errors():
            connection = self._connect()
            connection.execute("BEGIN")
            try:
                generation = self.generation()
                listed = self.meta("listed")
                rows = self.query("SELECT id, head, rows FROM patch WHERE NOT waiting")
                deltas: dict[int, list[Any]] = {}
                for patch, *rest in self.query(
                    "SELECT patch, scope, tag, creator, data FROM delta"
                ):
                    deltas.setdefault(patch, []).append(rest)
            finally:
                connection.execute("COMMIT")
            if listed is None:
                if rows:
                    raise IndexDamaged(f"{self.path} is damaged: its list is lost")
                return generation, Layer()
            said = json.loads(unseal(listed, "listed"))
            patches: dict[PatchKey, Patch] = {}
            found = []
            for number, head, packed in rows:
                patch = _unpack(number, head, packed, deltas.get(number, ()))
                patches[patch.key] = patch
                found.append([number, len(deltas.get(number, ()))])
            if sorted(found) != said["patches"]:
                raise IndexDamaged(f"{self.path} is damaged: it has lost changes")
            made = [
                {record.place: record for record in map(_empty_of, said[name])}
                for name in ("empty", "kept")
            ]
            return generation, Layer(patches, *made)

    def commit(self, connection: sqlite3.Connection, old: Layer, new: Layer) -> int:
        """Store a state in place of another, and return its number."""
        return self.adopt(connection, self.prepare(connection, old, new))

    def prepare(self, connection: sqlite3.Connection, old: Layer, new: Layer) -> dict[str, Any]:
        """Store a state that is to come, and return what ``adopt`` makes it the present one with.

        Returns
        -------
        dict
            As JSON can hold it, since another process may have to go on with it.
        """
        stored = {
            _key_of(head): number
            for number, head in connection.execute(
                "SELECT id, head FROM patch WHERE NOT waiting"
            ).fetchall()
        }
        kept = {key for key, patch in new.patches.items() if old.patches.get(key) is patch}
        listed = {}
        for key in kept:
            patch = new.patches[key]
            listed[stored[key]] = len(patch.columns) + len(patch.frames)
        adopted = []
        for key, patch in new.patches.items():
            if key not in kept:
                number = _insert(connection, patch)
                listed[number] = len(patch.columns) + len(patch.frames)
                adopted.append(number)
        said = {
            "patches": sorted(map(list, listed.items())),
            "empty": [_empty_to(record) for record in new.empty.values()],
            "kept": [_empty_to(record) for record in new.kept.values()],
        }
        dropped = [number for key, number in stored.items() if key not in kept]
        return {"drop": dropped, "adopt": adopted, "listed": said}

    def adopt(self, connection: sqlite3.Connection, prepared: Mapping[str, Any]) -> int:
        """Make the present state the one that ``prepare`` stored; doing it twice does no harm."""
        for number in prepared["drop"]:
            connection.execute("DELETE FROM patch WHERE id=?", [number])
            connection.execute("DELETE FROM delta WHERE patch=?", [number])
        for number in prepared["adopt"]:
            connection.execute("UPDATE patch SET waiting=0 WHERE id=?", [number])
        data = seal(json.dumps(prepared["listed"]).encode(), "listed")
        connection.execute("INSERT OR REPLACE INTO meta VALUES('listed', ?)", [data])
        connection.execute(
            "INSERT INTO meta VALUES('generation', 1)"
            " ON CONFLICT(key) DO UPDATE SET value = value + 1"
        )
        rows = connection.execute("SELECT value FROM meta WHERE key='generation'").fetchall()
        return int(rows[0][0])

    def adopt_from_journal(self, connection: sqlite3.Connection, prepared: Any) -> None:
        """Make the state after a save the present one, with the save."""
        self.adopt(connection, prepared)

    def waiting(self) -> bool:
        """Return whether there is a state that is to come with a save."""
        return bool(self.query("SELECT EXISTS(SELECT 1 FROM patch WHERE waiting)")[0][0])

    def forget_waiting(self, connection: sqlite3.Connection) -> None:
        """Remove what was stored for a save that did not come about."""
        connection.execute("DELETE FROM delta WHERE patch IN (SELECT id FROM patch WHERE waiting)")
        connection.execute("DELETE FROM patch WHERE waiting")


def _insert(connection: sqlite3.Connection, patch: Patch) -> int:
    cursor = connection.execute("INSERT INTO patch(waiting, head, rows) VALUES(1, x'', x'')")
    number = int(cursor.lastrowid or 0)
    key = patch.key
    head = json.dumps(
        {
            "source": key.source, "target": key.target, "role": int(key.role),
            "identity": patch.identity,
        }
    )  # fmt: skip
    same = patch.uids is patch.origins or list(patch.uids) == list(patch.origins)
    rows = json.dumps(
        {
            "files": patch.files.tolist(),
            "versions": patch.versions.ravel().tolist(),
            "origins": list(patch.origins),
            "uids": None if same else list(patch.uids),
            "counts": patch.counts.tolist() if patch.frames else None,
        }
    )
    connection.execute(
        "UPDATE patch SET head=?, rows=? WHERE id=?",
        [
            seal(head.encode(), "head"),
            seal(zlib.compress(rows.encode(), 1), "rows", number),
            number,
        ],
    )
    deltas = [
        (number, scope, *key, column)
        for scope, layer in ((INSTANCE, patch.columns), (FRAME, patch.frames))
        for key, column in layer.items()
    ]
    connection.executemany(
        "INSERT INTO delta VALUES(?,?,?,?,?)",
        [(*names, seal(column.pack(), *names)) for *names, column in deltas],
    )
    return number


def _key_of(head: bytes) -> PatchKey:
    said = json.loads(unseal(head, "head"))
    return PatchKey(SeriesKey(*said["source"]), SeriesKey(*said["target"]), Role(said["role"]))


def _unpack(number: int, head: bytes, packed: bytes, deltas: Iterable[Any]) -> Patch:
    rows = json.loads(zlib.decompress(unseal(packed, "rows", number)))
    columns: dict[int, dict[Key, Column]] = {INSTANCE: {}, FRAME: {}}
    for scope, tag, creator, data in deltas:
        key = Key(tag, creator)
        columns[scope][key] = Column.unpack(key, unseal(data, number, scope, tag, creator))
    origins = rows["origins"]
    counts = rows["counts"]
    return Patch(
        _key_of(head),
        json.loads(unseal(head, "head"))["identity"],
        np.array(rows["files"], np.int64),
        np.array(rows["versions"], np.int64).reshape(-1, 2),
        origins,
        origins if rows["uids"] is None else rows["uids"],
        columns[INSTANCE],
        np.zeros(len(origins), np.int32) if counts is None else np.array(counts, np.int32),
        columns[FRAME],
    )


def _empty_to(record: EmptyRecord) -> list[Any]:
    attributes = [
        [*key, [value.kind.vr, value.kind.charset.decode("ascii")], _text(value.value)]
        for key, value in record.attributes.items()
    ]
    return [record.level, list(record.key), attributes]


def _empty_of(item: list[Any]) -> EmptyRecord:
    level, key, attributes = item
    return EmptyRecord(
        level,
        SeriesKey(*key),
        {
            Key(tag, creator): Encoded(
                Kind(vr, charset=charset.encode("ascii")), base64.b64decode(value)
            )
            for tag, creator, (vr, charset), value in attributes
        },
    )


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
