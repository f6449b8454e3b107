"""One series as it is shown: instances of the folder, and staged ones laid over others of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.blocks import PLACE, SeriesKey
from dbdicom_xr.index.columns import Column, Key, concatenate
from dbdicom_xr.index.lazily import lazily
from dbdicom_xr.index.merge import (
    SOP_INSTANCE_UID,
    instance_numbers,
    instance_uids,
    rows_of_frames,
    summary,
)
from dbdicom_xr.index.store import FRAME, INSTANCE, SeriesRow
from dbdicom_xr.index.table import Table
from dbdicom_xr.staging.constant import places_of_new
from dbdicom_xr.staging.patch import Patch, overlay, settled

__all__ = ["SUMMARY_KEYS", "Composed", "Piece"]

Rows = npt.NDArray[np.intp]

INSTANCE_NUMBER: Final = Key(0x00200013)
SUMMARY_KEYS: Final = tuple(
    Key(tag) for tag in (0x00080020, 0x00080030, 0x00081030, 0x00200011, 0x0008103E, 0x00080060)
)


@dataclass(eq=False)
class Piece:
    """Instances of a series that come from one series of the folder, or from nothing.

    Parameters
    ----------
    table : Table or None
        Of the series of the folder.
    rows : ndarray of int, shape (instances,)
        Their instances in it; -1 without table.
    patch : Patch or None
        What is staged of them.
    patch_rows : ndarray of int, shape (instances,)
        Their rows in it.
    """

    table: Table | None
    rows: Rows
    patch: Patch | None
    patch_rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    @lazily
    def places(self) -> npt.NDArray[np.void]:
        """Where the pixels lie, shape (instances,)."""
        if self.table is None:
            return places_of_new(self.patch, self.patch_rows)
        return self.table.places[self.rows]

    def column(self, key: Key) -> Column | None:
        """Return an attribute, a row per instance."""
        base = None if self.table is None else self.table.column(key, INSTANCE)
        if base is not None:
            base = base.take(self.rows)
        if self.patch is None:
            return settled(base)
        over = self.patch.columns.get(key)
        return settled(overlay(key, base, None if over is None else over.take(self.patch_rows)))

    def frames(self, key: Key) -> Column | None:
        """Return an attribute of the functional groups, a row per frame."""
        base = None if self.table is None else self.table.column(key, FRAME)
        if base is not None and self.table is not None:
            base = base.take(rows_of_frames(self.table.places["frames"], self.rows))
        if self.patch is None:
            return settled(base)
        mine = self.patch.counts[self.patch_rows]
        if not mine.any():
            return settled(base)
        # The groups of an instance that were edited count as a whole.
        counts = self.places["frames"].astype(np.intp)
        of_edited = np.repeat(mine > 0, counts)
        over = self.patch.frames.get(key)
        codes = np.full(len(of_edited), -1, np.int32)
        if over is not None:
            codes[of_edited] = over.codes_of(rows_of_frames(self.patch.counts, self.patch_rows))
        if base is not None:
            under = np.where(of_edited, -1, base.codes_of()).astype(np.int32)
            base = Column(key, base.kinds, base.values, base.kind_of, under, len(under))
        if over is not None:
            over = Column(key, over.kinds, over.values, over.kind_of, codes, len(codes))
        return settled(overlay(key, base, over))


class Composed:
    """A series as it is shown.

    Parameters
    ----------
    key : SeriesKey
    number : int
        By which its table is known.
    pieces : sequence of Piece
    """

    def __init__(self, key: SeriesKey, number: int, pieces: Sequence[Piece]) -> None:
        self.key = key
        self.number = number
        self.pieces = [piece for piece in pieces if len(piece)]
        self._columns: dict[tuple[int, Key], Column | None] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return sum(len(piece) for piece in self.pieces)

    @lazily
    def order(self) -> Rows:
        """The place of each instance in the pieces, one below the other, shape (instances,)."""
        with self._lock:
            in_order = len(self.pieces) == 1 and self.pieces[0].patch is None
            if in_order and bool((np.diff(self.pieces[0].rows) > 0).all()):
                return np.arange(len(self))
            column = self._joined(INSTANCE, INSTANCE_NUMBER)
            numbers = instance_numbers(
                {} if column is None else {INSTANCE_NUMBER: column}, len(self)
            )
            rows = np.argsort(numbers, kind="stable")
            found = numbers[rows]  # infinite where there is none: compared, not subtracted
            if bool((found[1:] > found[:-1]).all()):
                return rows
            uids = np.array(instance_uids(self._joined(INSTANCE, SOP_INSTANCE_UID), len(self)))
            return np.asarray(np.lexsort((uids, numbers)))

    def _joined(self, scope: int, key: Key) -> Column | None:
        """Return a column in the order of the pieces."""
        read = [piece.column(key) if scope == INSTANCE else piece.frames(key)
                for piece in self.pieces]  # fmt: skip
        if all(column is None for column in read):
            return None
        counts = [len(piece) if scope == INSTANCE else int(piece.places["frames"].sum())
                  for piece in self.pieces]  # fmt: skip
        return concatenate(key, read, counts)

    @lazily
    def _unordered_places(self) -> npt.NDArray[np.void]:
        if not self.pieces:
            return np.empty(0, PLACE)
        return np.concatenate([piece.places for piece in self.pieces]).astype(PLACE)

    @lazily
    def places(self) -> npt.NDArray[np.void]:
        """Where the pixels lie, shape (instances,), dtype ``PLACE``."""
        return self._unordered_places[self.order]

    def column(self, key: Key, scope: int = INSTANCE) -> Column | None:
        """Return one attribute, None where no instance has it."""
        with self._lock:
            if (scope, key) not in self._columns:
                column = self._joined(scope, key)
                if column is not None:
                    rows = self.order
                    if scope == FRAME:
                        rows = rows_of_frames(self._unordered_places["frames"], rows)
                    column = settled(column.take(rows))
                self._columns[scope, key] = column
            return self._columns[scope, key]

    def keys(self, scope: int = INSTANCE) -> list[Key]:
        """Return the attributes that occur."""
        found: set[Key] = set()
        edited: set[Key] = set()
        for piece in self.pieces:
            if piece.table is not None:
                found.update(piece.table.store.keys(piece.table.series.id, scope))
            if piece.patch is not None:
                edited.update(piece.patch.columns if scope == INSTANCE else piece.patch.frames)
        return sorted((found - edited) | {k for k in edited if self.column(k, scope) is not None})

    @lazily
    def row(self) -> SeriesRow:
        """What the tree shows of the series."""
        columns = {key: self.column(key) for key in SUMMARY_KEYS}
        date, time, study, number, description, modality = summary(
            {key: c for key, c in columns.items() if c is not None}
        )
        size = 0
        for piece in self.pieces:
            if piece.table is not None:
                # Of a part of a series in proportion: the sizes of files are not needed otherwise.
                series = piece.table.series
                size += series.bytes * len(piece) // max(series.instances, 1)
        frames = int(self._unordered_places["frames"].sum())
        return SeriesRow(
            self.number, self.key, date, time, study, number, description, modality,
            len(self), frames, size,
        )  # fmt: skip

    # -- what is edited ----------------------------------------------------------------------

    def split(self, instances: Rows) -> list[tuple[Piece, Rows, Rows]]:
        """Return from which pieces instances come.

        Returns
        -------
        list of (Piece, ndarray of int, ndarray of int)
            The piece, rows of the piece, and their positions in ``instances``.
        """
        at = self.order[instances]
        result = []
        start = 0
        for piece in self.pieces:
            mine = np.flatnonzero((at >= start) & (at < start + len(piece)))
            if len(mine):
                result.append((piece, at[mine] - start, mine))
            start += len(piece)
        return result
