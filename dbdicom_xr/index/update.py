"""Changes of the index: what was read goes in, what vanished goes out, in one transaction."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dbdicom_xr.errors import IndexDamaged
from dbdicom_xr.index.blocks import Block, Findings
from dbdicom_xr.index.merge import (
    SOP_INSTANCE_UID,
    Part,
    instance_numbers,
    instance_uids,
)
from dbdicom_xr.index.rewrite import Rewrite
from dbdicom_xr.index.rows import (
    FileRow,
    batched,
    checksum,
    join,
    storable,
    to_stored,
    uid_hash,
)
from dbdicom_xr.index.store import Store

__all__ = ["PASSED_OVER", "Batch", "apply"]

PASSED_OVER: Final = "passed over: it has the SOPInstanceUID of "
"""How the note begins of a file whose instance another file has too; then comes the other one."""


@dataclass(slots=True)
class Batch:
    """Files that were read, and what was found in them."""

    paths: Sequence[str]  # relative to the folder, with "/"
    findings: Findings

    def without(self, numbers: Collection[int]) -> Batch:
        """Return what was found in the other files."""
        found = self.findings
        blocks = []
        for block in found.blocks:
            rows = np.flatnonzero(~np.isin(block.places["file"], list(numbers)))
            if len(rows):
                part = Part(block.columns, block.frames, block.places, block.uids).take(rows)
                blocks.append(Block(block.key, part.columns, part.frames, part.places, part.uids))
        left = [number for number in range(len(self.paths)) if number not in numbers]
        place = {number: at for at, number in enumerate(left)}
        for block in blocks:
            block.places["file"] = [place[number] for number in block.places["file"].tolist()]
        return Batch(
            [self.paths[number] for number in left],
            Findings(
                blocks,
                {place[n]: text for n, text in found.problems.items() if n in place},
                {place[n]: text for n, text in found.notes.items() if n in place},
                {place[n]: version for n, version in found.versions.items() if n in place},
            ),
        )


def apply(
    store: Store,
    batches: Sequence[Batch],
    removed: Iterable[FileRow] = (),
    *,
    same_pixels: Collection[str] = (),
    moved: Mapping[str, int] | None = None,
    look: Callable[[str], tuple[int, int] | None] | None = None,
) -> list[str]:
    """Bring what was read into the index, and take files out.

    Parameters
    ----------
    store : Store
    batches : sequence of Batch
        Files that are new, changed, or read once more. A path that comes twice counts as it was
        read last.
    removed : iterable of FileRow
        Files that are no more, as the index knew them. One that it knows otherwise by now stays.
    same_pixels : collection of str
        Files of which only the header has changed, so that they keep their numbers.
    moved : mapping of str to int, optional
        Files that have the pixels of another one, which is no more, and take over its number.
    look : callable, optional
        Tells size and modification time that a file has now, None where there is none. Given by
        who has not kept others from changing the folder since it looked at it: what another process
        has put into the index meanwhile, and is still so, stays.

    Returns
    -------
    list of str
        Files to read now: they were passed over because another file, which has gone,
        held the same SOPInstanceUID. The index does not know them until they are read.
    """
    with store.transaction() as connection:
        update = _Update(store, connection)
        if look is not None:
            batches = [update.still_news(batch, look) for batch in batches]
        moved = {} if moved is None else moved
        followed = set(moved.values())
        gone = update.still_known(removed)
        update.leave([number for number in gone if number not in followed], retire=True)
        update.leave(followed, retire=False)
        update.read(batches, same_pixels, moved)
        update.write()
        # From a random start, so that no state of an index has the number of one of another index
        # that was at the same place before.
        connection.execute(
            "INSERT INTO meta VALUES('generation', ?)"
            " ON CONFLICT(key) DO UPDATE SET value = value + 1",
            [1 + secrets.randbits(48)],
        )
        return [path for path in update.to_read if path not in update.files]


@dataclass(slots=True)
class _File:
    """A file that goes in."""

    number: int | None  # None: it gets a new one
    size: int
    mtime: int
    note: str | None


class _Update:
    def __init__(self, store: Store, connection: sqlite3.Connection) -> None:
        self.store = store
        self.connection = connection
        self.series = Rewrite(store, connection)
        self.leaving: dict[int, FileRow] = {}
        self.to_read: list[str] = []
        self.files: dict[str, _File] = {}
        self.instances: dict[str, tuple[str, Block, int]] = {}  # UID -> path, block, row
        self.duplicates: dict[str, str] = {}  # path -> UID that another file has too
        self.winners: dict[str, str] = {}  # UID -> path of an indexed file that keeps it
        self._folders: dict[str, int] = {}
        self._held: dict[int, dict[int, str]] = {}  # series -> file -> UID
        self._sum = 0  # what changes in the sum of the table of files

    # -- what others did meanwhile ------------------------------------------------------------

    def still_known(self, rows: Iterable[FileRow]) -> list[int]:
        """Return the numbers of the files that the index knows as before."""
        rows = list(rows)
        now = self.store.files([row.id for row in rows])
        return [row.id for row in rows if now.get(row.id) == row]

    def still_news(self, batch: Batch, look: Callable[[str], tuple[int, int] | None]) -> Batch:
        """Return a batch without the files of which the index knows a later version by now."""
        known = self._known(batch.paths)
        findings = batch.findings
        old = {
            number
            for number, path in enumerate(batch.paths)
            if (row := known.get(path)) is not None
            and row[1:] != findings.versions.get(number, (-1, -1))
            and row[1:] == look(path)
        }
        return batch.without(old) if old else batch

    # -- files that leave --------------------------------------------------------------------

    def leave(self, numbers: Iterable[int], *, retire: bool) -> None:
        """Take files out of the index; duplicates of what they held may come in."""
        rows = self.store.files(numbers)
        self.leaving.update(rows)
        uids = self._delete(list(rows))
        if not retire:
            return
        self.connection.executemany(
            "INSERT OR REPLACE INTO retired VALUES(?, ?, ?, ?, ?)",
            [
                (number, to_stored(row.path), uids.get(number), row.size, row.mtime)
                for number, row in rows.items()
            ],
        )
        waiting: list[int] = []
        for value in uids.values():
            found = self.connection.execute(
                "SELECT file.id, folder.path, name FROM file JOIN folder ON folder.id=folder"
                " WHERE uid=? AND series IS NULL",
                [value],
            ).fetchall()
            waiting += [row[0] for row in found]
            self.to_read += [join(*row[1:]) for row in found]
        # Files that are not known are read, also when this scan does not come to it.
        self._delete(waiting)

    def _delete(self, numbers: Sequence[int]) -> dict[int, int]:
        """Delete rows of files, and return the hashes of the instances they held."""
        hashes: dict[int, int] = {}
        for part in batched(numbers, 500):
            marks = ",".join("?" * len(part))
            for number, uid, series, total in self.connection.execute(
                f"SELECT id, uid, series, sum FROM file WHERE id IN ({marks})", part
            ).fetchall():
                self._sum ^= total
                if series is not None:
                    hashes[number] = uid
            self.connection.execute(f"DELETE FROM file WHERE id IN ({marks})", part)
        return hashes

    # -- files that come ---------------------------------------------------------------------

    def read(
        self, batches: Sequence[Batch], same_pixels: Collection[str], moved: Mapping[str, int]
    ) -> None:
        """Take in what was read."""
        last = {path: batch for batch in batches for path in batch.paths}
        known = self._known(list(last))
        retired, kept = [], []
        for batch in batches:
            findings = batch.findings
            for number, path in enumerate(batch.paths):
                version = findings.versions.get(number, (-1, -1))
                note = findings.problems.get(number) or findings.notes.get(number)
                keeps = moved.get(path)
                if (row := known.get(path)) is not None:
                    if row[1:] == version or path in same_pixels:
                        keeps = row[0]
                        kept.append(keeps)
                    else:
                        retired.append(row[0])
                self.files[path] = _File(keeps, *version, None if note is None else storable(note))
            for block in findings.blocks:
                self._collect(batch, block, last)
        self.leave(retired, retire=True)
        self.leave(kept, retire=False)

    def _collect(self, batch: Batch, block: Block, last: dict[str, Batch]) -> None:
        for row, number in enumerate(block.places["file"].tolist()):
            path = batch.paths[number]
            if last[path] is not batch:
                continue
            uid = block.uids[row] = block.uids[row] or f"file:{path}"
            other = self.instances.get(uid)
            if other is None or self._rank(path) < self._rank(other[0]):
                self.instances[uid] = (path, block, row)
                if other is not None:
                    self.duplicates[other[0]] = uid
            else:
                self.duplicates[path] = uid

    def _rank(self, path: str) -> tuple[bool, str]:
        """Return which of two files with one UID counts: a sound one, else the first by path."""
        return self.files[path].note is not None, path

    def _known(self, paths: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        by_folder: dict[str, set[str]] = {}
        for path in paths:
            by_folder.setdefault(path.rpartition("/")[0], set()).add(path)
        known = {}
        for folder, members in by_folder.items():
            for number, name, size, mtime in self.connection.execute(
                "SELECT file.id, name, size, mtime FROM folder JOIN file ON folder.id=folder"
                " WHERE folder.path=?",
                [to_stored(folder)],
            ).fetchall():
                path = join(to_stored(folder), name)
                if path in members:
                    known[path] = (number, size, mtime)
        return known

    def _settle_with_index(self) -> None:
        """Decide which of new files and indexed ones with the same UID counts: see ``_rank``."""
        if not self.connection.execute("SELECT 1 FROM file LIMIT 1").fetchall():
            return
        hashes = {uid_hash(uid): uid for uid in self.instances}
        losers: list[int] = []
        for part in batched(list(hashes), 500):
            marks = ",".join("?" * len(part))
            for number, folder, name, value, series, size, mtime, note in self.connection.execute(
                "SELECT file.id, folder.path, name, uid, series, size, mtime, note FROM file"
                " JOIN folder ON folder.id=folder"
                f" WHERE uid IN ({marks}) AND series IS NOT NULL",
                part,
            ).fetchall():
                uid = hashes[value]
                path = join(folder, name)
                if not self._holds(series, number, uid):
                    continue
                if (note is not None, path) < self._rank(self.instances[uid][0]):
                    self.duplicates[self.instances.pop(uid)[0]] = uid
                    self.winners[uid] = path
                else:
                    losers.append(number)
                    self.files[path] = _File(number, size, mtime, None)
                    self.duplicates[path] = uid
                    self._pass_over_again(uid)
        self.leave(losers, retire=False)

    def _pass_over_again(self, uid: str) -> None:
        """Let files that were passed over name the file for which they are passed over now."""
        for number, folder, name, size, mtime in self.connection.execute(
            "SELECT file.id, folder.path, name, size, mtime FROM file"
            " JOIN folder ON folder.id=folder WHERE uid=? AND series IS NULL",
            [uid_hash(uid)],
        ).fetchall():
            path = join(folder, name)
            self._delete([number])
            self.files[path] = _File(number, size, mtime, None)
            self.duplicates[path] = uid

    def _holds(self, series: int, number: int, uid: str) -> bool:
        """Return whether a file holds this instance, or another one with the same hash."""
        held = self._held.get(series)
        if held is None:
            files = self.store.places(series)["file"].tolist()
            uids = instance_uids(self.store.column(series, SOP_INSTANCE_UID), len(files))
            held = self._held[series] = dict(zip(files, uids, strict=True))
        return held.get(number) == uid

    # -- writing -----------------------------------------------------------------------------

    def write(self) -> None:
        """Write all that was collected."""
        self._settle_with_index()
        blocks: dict[int, tuple[Block, list[int]]] = {}
        for _, block, row in self.instances.values():
            blocks.setdefault(id(block), (block, []))[1].append(row)
        series_of = {name: self.series.number(block.key) for name, (block, _) in blocks.items()}
        numbers = self._write_files(blocks, series_of)

        self.series.lose(self.leaving)
        paths = {name: [""] * len(block) for name, (block, _) in blocks.items()}
        for path, block, row in self.instances.values():
            paths[id(block)][row] = path
        for name, (block, rows) in blocks.items():
            part = Part(block.columns, block.frames, block.places.copy(), block.uids)
            part.places["file"] = [numbers[path] if path else -1 for path in paths[name]]
            if len(rows) < len(block):
                part = part.take(np.array(sorted(rows), np.intp))
            size = sum(self.files[path].size for path in paths[name] if path)
            self.series.add(series_of[name], part, size)
        self.series.write()
        for table, difference in (("file", self._sum), ("series", self.series.sum)):
            before = int(self.store.meta(f"{table}_sum") or 0)
            self.connection.execute(
                "INSERT INTO meta VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = ?",
                [f"{table}_sum", difference, difference ^ before],
            )

    def _find_again(self, uids: dict[str, str]) -> None:
        """Give files that were moved the number that they had at their old place.

        A file is the same if it holds the same instance and has the same size and time.
        """
        if not self.connection.execute("SELECT 1 FROM retired LIMIT 1").fetchall():
            return
        new = {path: uid_hash(uid) for path, uid in uids.items() if self.files[path].number is None}
        gone: dict[tuple[int, int, int], int] = {}
        for part in batched(list(new.values()), 500):
            marks = ",".join("?" * len(part))
            for number, *version in self.connection.execute(
                f"SELECT id, uid, size, mtime FROM retired WHERE uid IN ({marks})", part
            ).fetchall():
                gone[version[0], version[1], version[2]] = number
        for path, value in new.items():
            file = self.files[path]
            number = gone.pop((value, file.size, file.mtime), None)
            if number is not None:
                file.number = number
                self.connection.execute("DELETE FROM retired WHERE id=?", [number])

    def _write_files(
        self, blocks: dict[int, tuple[Block, list[int]]], series_of: dict[int, int]
    ) -> dict[str, int]:
        """Store the files, and return the number of each; in the order of their series."""
        places = {
            name: instance_numbers(block.columns, len(block)).tolist()
            for name, (block, _) in blocks.items()
        }
        ordered = sorted(
            (block.key, places[id(block)][row], uid, path, series_of[id(block)])
            for uid, (path, block, row) in self.instances.items()
        )
        kept = {path: (uid, series) for _, _, uid, path, series in ordered}
        paths = [*kept, *[path for path in self.files if path not in kept]]
        (used,) = self.connection.execute(
            "SELECT max((SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name='file'),"
            " (SELECT coalesce(max(id), 0) FROM file), (SELECT coalesce(max(id), 0) FROM retired))"
        ).fetchone()
        following = used + 1
        numbers = {}
        stored = []
        self._find_again({path: uid for path, (uid, _) in kept.items()})
        for path in paths:
            file = self.files[path]
            if file.number is None:
                file.number, following = following, following + 1
            numbers[path] = file.number
            uid, series = kept.get(path, (None, None))
            note = file.note
            if series is None and path in self.duplicates:
                uid = self.duplicates[path]
                other = self.winners.get(uid) or self.instances[uid][0]
                note = storable(f"{PASSED_OVER}{other}")
            folder, _, name = path.rpartition("/")
            hashed = None if uid is None else uid_hash(uid)
            told = (to_stored(name), file.size, file.mtime, series, hashed, note)
            total = checksum(file.number, to_stored(folder), *told)
            self._sum ^= total
            stored.append((file.number, self._folder(folder), *told, total))
        self.connection.executemany("INSERT INTO file VALUES(?,?,?,?,?,?,?,?,?)", stored)
        return numbers

    def _folder(self, path: str) -> int:
        number = self._folders.get(path)
        if number is None:
            stored = to_stored(path)
            self.connection.execute("INSERT OR IGNORE INTO folder(path) VALUES(?)", [stored])
            rows = self.connection.execute(
                "SELECT id FROM folder WHERE path=?", [stored]
            ).fetchall()
            if not rows:
                raise IndexDamaged("the index does not find a folder")
            number = self._folders[path] = int(rows[0][0])
        return number
