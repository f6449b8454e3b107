"""The index with what is staged laid over it, read in the same way as the index alone."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.lazily import lazily
from dbdicom_xr.index.merge import summary
from dbdicom_xr.index.store import INSTANCE, FileRow, SeriesRow, Store
from dbdicom_xr.index.table import Table
from dbdicom_xr.staging.composed import Composed, Piece
from dbdicom_xr.staging.file import EmptyRecord, Layer
from dbdicom_xr.staging.patch import Patch, PatchKey, Role

__all__ = ["View"]

Rows = npt.NDArray[np.intp]


class View:
    """A state of the database: the index, and what is staged.

    Parameters
    ----------
    base : Store
    root : str
        The folder.
    layer : Layer
        What is staged.
    generations : (int, int)
        Of the index, and of the whole.
    saving : bool
        Whether files are being saved, so that new ones may be in the index already.
    previous : View, optional
        An earlier state, of which series that are the same are taken over.
    """

    def __init__(
        self,
        base: Store,
        root: str,
        layer: Layer,
        generations: tuple[int, int],
        *,
        saving: bool = False,
        previous: View | None = None,
    ) -> None:
        self.base = base
        self.root = root
        self.layer = layer
        self.number = generations[1]
        self._base_generation = generations[0]
        self._saving = saving
        self._lock = threading.RLock()
        self._tables: dict[int, Table] = {}
        self._composed: dict[SeriesKey, Composed] = {}
        self._rows_of: dict[PatchKey, Rows] = {}
        self._previous: View | None = None
        if previous is not None:
            previous._previous = None  # one is enough
            same = previous._base_generation == self._base_generation and previous.base is base
            if same and previous._saving == saving:
                self._previous = previous
                self._tables = previous._tables

    @property
    def path(self) -> Path:
        """The index file."""
        return self.base.path

    @property
    def identity(self) -> str:
        """Of the index file."""
        return self.base.identity

    def generation(self) -> int:
        """Return the number of this state while it can be read, another one after that.

        What is staged stands here as it was, however it is changed meanwhile.
        """
        return self.number if self.base.generation() == self._base_generation else -1

    # -- the series --------------------------------------------------------------------------

    @lazily
    def _base_rows(self) -> dict[SeriesKey, SeriesRow]:
        before = self._previous
        if before is not None and "_base_rows" in before.__dict__:
            return before._base_rows
        return {row.key: row for row in self.base.series()}

    @lazily
    def _by_source(self) -> dict[SeriesKey, list[Patch]]:
        """The patches whose instances are not shown where their files are."""
        found: dict[SeriesKey, list[Patch]] = {}
        for key, patch in self.layer.patches.items():
            if key.masks:
                found.setdefault(key.source, []).append(patch)
        return found

    @lazily
    def _by_target(self) -> dict[SeriesKey, list[Patch]]:
        """The patches whose instances are shown, by where."""
        found: dict[SeriesKey, list[Patch]] = {}
        for key, patch in self.layer.patches.items():
            if key.role != Role.REMOVED:
                found.setdefault(key.target, []).append(patch)
        return found

    @lazily
    def _touched(self) -> dict[SeriesKey, int]:
        """The series of which something is staged, with their numbers."""
        keys = {record.key for record in self.layer.empty.values() if record.level == "series"}
        keys.update(self._by_source, self._by_target)
        base = self._base_rows
        new = sorted(keys - base.keys())
        numbers = {key: -1 - place for place, key in enumerate(new)}
        return {key: base[key].id if key in base else numbers[key] for key in sorted(keys)}

    @lazily
    def _touched_keys(self) -> dict[int, SeriesKey]:
        return {number: key for key, number in self._touched.items()}

    def series(self) -> list[SeriesRow]:
        """Return all series, those without instances only where they were made by hand."""
        with self._lock:
            rows = [row for key, row in self._base_rows.items() if key not in self._touched]
            for key in self._touched:
                composed = self.composed(key)
                if len(composed):
                    rows.append(composed.row)
                elif (record := self.layer.empty.get(("series", key))) is not None:
                    rows.append(_row_of_empty(record, composed.number))
            return rows

    def composed(self, key: SeriesKey) -> Composed:
        """Return what a series consists of."""
        with self._lock:
            found = self._composed.get(key)
            if found is None:
                found = self._composed[key] = self._taken_over(key) or self._compose(key)
            return found

    def _taken_over(self, key: SeriesKey) -> Composed | None:
        """Return what a series consisted of in the state before, if that has not changed."""
        before = self._previous
        found = None if before is None else before._composed.get(key)
        if before is None or found is None or found.number != self._number(key):
            return None
        for mine, theirs in (
            (self._by_source, before._by_source),
            (self._by_target, before._by_target),
        ):
            now, then = mine.get(key, ()), theirs.get(key, ())
            if len(now) != len(then) or any(a is not b for a, b in zip(now, then, strict=True)):
                return None
        return found

    def _number(self, key: SeriesKey) -> int:
        number = self._touched.get(key)
        base = self._base_rows.get(key)
        return number if number is not None else base.id if base is not None else 0

    def _compose(self, key: SeriesKey) -> Composed:
        pieces = []
        base = self._base_rows.get(key)
        if base is not None:
            table = self._table(base)
            shown = np.ones(len(table.places), np.bool_)
            for patch in self._by_source.get(key, ()):
                rows = self.rows_of(patch)
                shown[rows[rows >= 0]] = False
            kept = np.flatnonzero(shown)
            pieces.append(Piece(table, kept, None, np.empty(0, np.intp)))
        pieces += [self._piece(patch) for patch in self._by_target.get(key, ())]
        return Composed(key, self._number(key), pieces)

    def _piece(self, patch: Patch) -> Piece:
        rows = self.rows_of(patch)
        base = self._base_rows.get(patch.key.source)
        mine = np.arange(len(patch))
        if patch.key.role == Role.NEW:
            table = None
        else:
            if base is None:
                return Piece(None, np.empty(0, np.intp), patch, np.empty(0, np.intp))
            table = self._table(base)
            mine = np.flatnonzero(rows >= 0)
        if self._saving and patch.key.role in (Role.COPY, Role.NEW):
            uids = patch.uids
            mine = np.array(
                [i for i in mine.tolist() if not self.base.series_of_uid(uids[i])], np.intp
            )
        return Piece(table, rows[mine], patch, mine)

    def rows_of(self, patch: Patch) -> Rows:
        """Return where the instances of a patch stand in the table of the series they come from.

        Returns
        -------
        ndarray of int, shape (instances,)
            -1 for those from nothing, and those whose file has gone.
        """
        with self._lock:
            found = self._rows_of.get(patch.key)
            if found is None:
                found = self._rows_of[patch.key] = self._find(patch)
            return found

    def _find(self, patch: Patch) -> Rows:
        base = self._base_rows.get(patch.key.source)
        if base is None or patch.key.role == Role.NEW:
            return np.full(len(patch), -1, np.intp)
        table = self._table(base)
        rows = np.full(len(patch), -1, np.intp)
        if patch.identity == self.base.identity:
            files = table.places["file"]
            order = np.argsort(files, kind="stable")
            at = np.searchsorted(files[order], patch.files)
            at[at == len(files)] = 0
            rows = np.where(files[order[at]] == patch.files, order[at], -1)
        for i in np.flatnonzero(rows < 0).tolist():  # another version of the file, or index
            rows[i] = table.row_of.get(patch.origins[i], -1)
        return rows

    def _table(self, row: SeriesRow) -> Table:
        table = self._tables.get(row.id)
        if table is None:
            table = Table(self.base, self.root, row, self._base_generation)
            self._tables[row.id] = table
        return table

    def base_table(self, key: SeriesKey) -> Table | None:
        """Return a series as it is in the folder."""
        with self._lock:
            row = self._base_rows.get(key)
            return None if row is None else self._table(row)

    def versions(self, files: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return size and time of change of files by number, shape (files, 2); -1 if unknown."""
        known = self.base.versions(files)
        unknown = (-1, -1)
        return np.array([known.get(file, unknown) for file in files.tolist()], np.int64).reshape(
            -1, 2
        )

    def lost(self) -> list[tuple[str, str]]:
        """Return the instances of which something is staged, but whose file has gone, and what."""
        found = []
        for patch in self.layer.patches.values():
            if patch.key.role != Role.NEW:
                what = patch.key.role.name.lower()
                rows = self.rows_of(patch)
                found += [(patch.origins[i], what) for i in np.flatnonzero(rows < 0).tolist()]
        return found

    def origin(self, series: int, row: int) -> tuple[Patch | None, int]:
        """Return what is staged of an instance and its row in that, or None if nothing is."""
        key = self._touched_keys.get(series)
        if key is None:
            return None, row
        piece, rows, _ = self.composed(key).split(np.array([row]))[0]
        return piece.patch, int(piece.patch_rows[rows[0]]) if piece.patch is not None else row

    def was_removed(self, name: str) -> bool:
        """Return whether something of this UID or PatientID was removed, and is not saved."""
        return any(
            key.role == Role.REMOVED and (name in key.source or name in patch.origins)
            for key, patch in self.layer.patches.items()
        )

    def is_plain(self, series: int) -> bool:
        """Return whether nothing of a series is staged."""
        return series not in self._touched_keys

    def has_file(self, series: int) -> npt.NDArray[np.bool_]:
        """Return for each instance whether it has a file of its own, shape (instances,).

        New ones and copies get it when they are saved.
        """
        composed = self._of(series)
        if composed is None:
            return np.ones(len(self.base.places(series)), np.bool_)
        own = [
            np.full(len(piece), piece.patch is None or piece.patch.key.masks)
            for piece in composed.pieces
        ]
        return np.concatenate([np.empty(0, np.bool_), *own])[composed.order]

    # -- as a store --------------------------------------------------------------------------

    def _of(self, series: int) -> Composed | None:
        key = self._touched_keys.get(series)
        return None if key is None else self.composed(key)

    def places(self, series: int) -> npt.NDArray[np.void]:
        """Return where the pixels of each instance are, shape (instances,), dtype ``PLACE``."""
        composed = self._of(series)
        return self.base.places(series) if composed is None else composed.places

    def keys(self, series: int, scope: int = INSTANCE) -> list[Key]:
        """Return the attributes that occur in a series."""
        composed = self._of(series)
        return self.base.keys(series, scope) if composed is None else composed.keys(scope)

    def column(self, series: int, key: Key, scope: int = INSTANCE) -> Column | None:
        """Return one attribute of a series, None where no instance has it."""
        composed = self._of(series)
        if composed is None:
            return self.base.column(series, key, scope)
        return composed.column(key, scope)

    def columns(self, series: int, scope: int = INSTANCE) -> dict[Key, Column]:
        """Return all attributes of a series."""
        composed = self._of(series)
        if composed is None:
            return self.base.columns(series, scope)
        for piece in composed.pieces:
            if piece.table is not None:
                piece.table.load()
        found = {key: composed.column(key, scope) for key in composed.keys(scope)}
        return {key: column for key, column in found.items() if column is not None}

    def files(self, numbers: Iterable[int] | None = None) -> dict[int, FileRow]:
        """Return files by number, or all; numbers that are no more are left out."""
        return self.base.files(numbers)

    def problems(self) -> list[FileRow]:
        """Return the files about which there is something to say, by path."""
        return self.base.problems()

    @lazily
    def _staged_uids(self) -> dict[str, int]:
        return {
            uid: self._touched[patch.key.target]
            for patch in self.layer.patches.values()
            if patch.key.role != Role.REMOVED
            for uid in patch.uids
        }

    def series_of_uid(self, uid: str) -> list[tuple[int, int]]:
        """Return (file, series) of the instances whose UID has the same hash."""
        staged = self._staged_uids.get(uid)
        found = self.base.series_of_uid(uid)
        return found if staged is None else [(-1, staged), *found]

    def empty(self) -> list[EmptyRecord]:
        """Return the records that were made by hand."""
        return list(self.layer.empty.values())


def _row_of_empty(record: EmptyRecord, number: int) -> SeriesRow:
    date, time, study, place, series, modality = summary(columns_of_empty(record))
    return SeriesRow(number, record.key, date, time, study, place, series, modality, 0, 0, 0)


def columns_of_empty(record: EmptyRecord) -> dict[Key, Column]:
    """Return the attributes of a record made by hand, as columns of one row."""
    return {
        key: Column(key, [value.kind], [value.value], [0], None, 1)
        for key, value in record.attributes.items()
    }
