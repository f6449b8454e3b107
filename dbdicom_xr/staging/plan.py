"""The plan of a save as the journal keeps it: which file becomes what, and how far it got."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from dbdicom_xr.errors import Locked, StagingDamaged
from dbdicom_xr.index.connection import SqliteFile
from dbdicom_xr.staging.durable import Version, sync_folders

__all__ = [
    "TABLES",
    "Check",
    "Entry",
    "Plan",
    "State",
    "Step",
    "absent",
    "drop_folder",
    "forget",
    "load",
    "root_of",
    "set_state",
    "settle",
    "state_of",
    "store",
    "taken_over",
    "writing",
]

TABLES: Final = """
CREATE TABLE save(
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,     -- planned, switching, done, saved; undoing
    payload TEXT NOT NULL    -- JSON, for the commit of who called
);
CREATE TABLE save_step(
    save TEXT NOT NULL,
    number INTEGER NOT NULL,
    action TEXT NOT NULL,
    path BLOB NOT NULL,      -- '/': as it is; else below the folder of the database
    source BLOB NOT NULL,
    hidden BLOB NOT NULL,    -- name of the temporary file beside it
    backup BLOB NOT NULL,    -- name under which the original waits beside it
    size INTEGER, mtime INTEGER,           -- of the original
    new_size INTEGER, new_mtime INTEGER,   -- of the temporary file; NULL until it is whole
    PRIMARY KEY(save, number)
) WITHOUT ROWID;
CREATE TABLE save_folder(
    save TEXT NOT NULL,
    number INTEGER NOT NULL,
    path BLOB NOT NULL,
    PRIMARY KEY(save, number)
) WITHOUT ROWID;
"""

Check = Callable[[sqlite3.Connection], None]
"""Called inside each transaction; raises ``Locked`` where the lease is lost."""

Action = Literal["replace", "create", "delete", "move", "move folder"]
State = Literal["planned", "switching", "done", "saved", "undoing"]


class Step(NamedTuple):
    """What becomes of one file, or of a folder that moves with all that is in it."""

    action: Action
    path: str
    """Absolute: of the file that results, or that is deleted."""
    source: str = ""
    """Absolute: where the file or folder stands that is moved."""
    version: Version | None = None
    """Size and time of change that a file to replace or delete must still have."""


@dataclass(slots=True)
class Entry:
    """A step with the names and versions that it goes through."""

    action: Action
    path: str
    source: str
    hidden: str
    backup: str
    old: Version | None
    new: Version | None = None

    @property
    def folder(self) -> str:
        """Where all its names are, but for the source."""
        return os.path.dirname(self.path)


@dataclass(slots=True)
class Plan:
    """All steps of one save."""

    payload: Any
    root: str
    """The folder of the database."""
    entries: list[Entry] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    """To be made, outermost first."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: State = "planned"
    check: Check | None = None
    """Of the lease."""

    @property
    def touched(self) -> set[str]:
        """All folders in which names change."""
        made = {os.path.dirname(folder) for folder in self.folders}
        left = {os.path.dirname(e.source) for e in self.entries if e.action == "move folder"}
        return made | left | {entry.folder for entry in self.entries}


def root_of(file: SqliteFile, root: str | None) -> str:
    """Return the folder of the database: by default that in which the folder of the file is."""
    return os.path.realpath(file.path.parent.parent if root is None else root)


@contextmanager
def writing(file: SqliteFile, plan: Plan) -> Iterator[sqlite3.Connection]:
    """Change the journal, or what belongs to it, if the lease is still held."""
    with file.transaction() as connection:
        if plan.check is not None:
            plan.check(connection)
        yield connection


def store(file: SqliteFile, plan: Plan) -> None:
    """Put a plan into the journal, to stay there."""
    pack = _Packer(plan.root).pack
    with writing(file, plan) as connection:
        connection.execute(
            "INSERT INTO save VALUES(?, ?, ?)", [plan.id, plan.state, json.dumps(plan.payload)]
        )
        connection.executemany(
            "INSERT INTO save_step VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
            [
                (
                    plan.id, number, entry.action, pack(entry.path), pack(entry.source),
                    os.path.basename(entry.hidden).encode(),
                    os.path.basename(entry.backup).encode(), *(entry.old or (None, None)),
                )
                for number, entry in enumerate(plan.entries)
            ],
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO save_folder VALUES(?, ?, ?)",
            [(plan.id, number, pack(folder)) for number, folder in enumerate(plan.folders)],
        )
    settle(file)


def load(file: SqliteFile, root: str, check: Check | None) -> list[Plan]:
    """Return the plans that are in the journal.

    Raises
    ------
    StagingDamaged
        They cannot be understood.
    """
    unpack = _Packer(root).unpack
    plans = []
    for key, state, payload in file.query("SELECT id, state, payload FROM save ORDER BY rowid"):
        steps = file.query(
            "SELECT action, path, source, hidden, backup, size, mtime, new_size, new_mtime "
            "FROM save_step WHERE save=? ORDER BY number",
            [key],
        )
        folders = file.query("SELECT path FROM save_folder WHERE save=? ORDER BY number", [key])
        entries = []
        try:
            for action, packed, source, hidden, backup, *versions in steps:
                path = unpack(packed)
                folder = os.path.dirname(path)
                size, mtime, new_size, new_mtime = versions
                entries.append(
                    Entry(
                        action,
                        path,
                        unpack(source),
                        os.path.join(folder, hidden.decode()),
                        os.path.join(folder, backup.decode()),
                        None if size is None else (size, mtime),
                        None if new_size is None else (new_size, new_mtime),
                    )
                )
            made = [unpack(path) for (path,) in folders]
            plans.append(Plan(json.loads(payload), root, entries, made, key, state, check))
        except (ValueError, AttributeError, TypeError) as error:
            raise StagingDamaged(f"{file.path} is damaged: {error}") from error
    return plans


def state_of(file: SqliteFile, plan: Plan) -> str | None:
    """Return how far the journal says that a save got, None if it is not in it."""
    rows = file.query("SELECT state FROM save WHERE id=?", [plan.id])
    return rows[0][0] if rows else None


def set_state(
    file: SqliteFile, plan: Plan, state: State, within: sqlite3.Connection | None = None
) -> None:
    """Write down how far a save got, and, once they are known, the versions that result.

    Raises
    ------
    Locked
        Another process has completed or undone this save.
    """
    if within is None:
        with writing(file, plan) as connection:
            set_state(file, plan, state, connection)
        settle(file)
        plan.state = state
        return
    sql = "UPDATE save SET state=? WHERE id=?"
    if not within.execute(sql, [state, plan.id]).rowcount:
        raise Locked(taken_over(file.path))
    if state == "switching":
        within.executemany(
            "UPDATE save_step SET new_size=?, new_mtime=? WHERE save=? AND number=?",
            [
                (*entry.new, plan.id, number)
                for number, entry in enumerate(plan.entries)
                if entry.new is not None
            ],
        )


def drop_folder(file: SqliteFile, plan: Plan, number: int) -> None:
    """Note that another program has made a folder first, so that it is not ours to remove."""
    with writing(file, plan) as connection:
        connection.execute("DELETE FROM save_folder WHERE save=? AND number=?", [plan.id, number])


def forget(file: SqliteFile, plan: Plan) -> None:
    """Take a plan out of the journal."""
    with writing(file, plan) as connection:
        connection.execute("DELETE FROM save_step WHERE save=?", [plan.id])
        connection.execute("DELETE FROM save_folder WHERE save=?", [plan.id])
        connection.execute("DELETE FROM save WHERE id=?", [plan.id])


def taken_over(path: Path) -> str:
    """Return what to say when another process was faster."""
    return (
        "Another process has completed or undone this save, because this one had not been heard "
        f"of for long. Open the database again to see which. (The journal is in {path})"
    )


def settle(file: SqliteFile) -> None:
    """Make the last commit final.

    SQLite commits by removing its own journal, and does not wait for that to reach the disk.
    """
    sync_folders([os.path.dirname(os.path.abspath(file.path))])


class _Packer:
    """Paths as they are kept: below the folder of the database, which may be elsewhere next time.

    A folder on a server has another path on each machine that opens it.
    """

    def __init__(self, root: str) -> None:
        self.prefix = root.rstrip(os.sep) + os.sep

    def pack(self, path: str) -> bytes:
        if path.startswith(self.prefix):
            return b"." + os.fsencode(path[len(self.prefix) - 1 :].replace(os.sep, "/"))
        return os.fsencode(path)

    def unpack(self, packed: bytes) -> str:
        path = os.fsdecode(packed)
        return self.prefix + path[2:].replace("/", os.sep) if path.startswith("./") else path


def absent(file: SqliteFile, plan: Plan) -> str | None:
    """Return a folder of a plan on a disk that seems not to be connected.

    What is missing there is not to be taken for removed.
    """
    prefix = plan.root.rstrip(os.sep) + os.sep
    for folder in {entry.folder for entry in plan.entries if not entry.path.startswith(prefix)}:
        if folder not in plan.folders and not os.path.isdir(folder):
            return folder
    if not os.path.realpath(file.path).startswith(prefix):
        try:
            if not os.listdir(plan.root):  # the place where a disk would be mounted
                return plan.root
        except OSError:
            return plan.root
    return None
