"""What is staged of instances: the elements that change, and the series that they go to.

A patch is a table, as a series of the index is: rows are instances, columns are attributes. It
holds only what is edited. A row is laid over the instance that it comes from when it is read, so
that a copy of 100,000 instances is a column of new UIDs and little else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Column, Key, concatenate, tidy
from dbdicom_xr.index.merge import rows_of_frames
from dbdicom_xr.index.values import Kind

if TYPE_CHECKING:
    from dbdicom_xr.staging.encode import Encoded

__all__ = [
    "DELETED",
    "NOWHERE",
    "Patch",
    "PatchKey",
    "Role",
    "delta",
    "overlay",
    "settled",
]

Rows = npt.NDArray[np.intp]

DELETED: Final = Kind("--")
"""The kind of a value that stands for an element that is taken out."""

NOWHERE: Final = SeriesKey("", "", "", "")
"""The series that instances made from nothing come from."""


class Role(IntEnum):
    """What an instance of a patch is."""

    EDITED = 0
    """One of the folder, with other attributes or in another series."""
    REMOVED = 1
    """One of the folder that is not shown, and goes when it is saved."""
    COPY = 2
    """A new one, with the pixels of one of the folder."""
    NEW = 3
    """A new one with nothing behind it."""
    STAGED = 4
    """A new one whose file is ready, among the staged files, and has its place when it is saved."""


class PatchKey(NamedTuple):
    """What the rows of a patch have in common."""

    source: SeriesKey  # where the files are, by the index
    target: SeriesKey  # where the instances are shown
    role: Role

    @property
    def masks(self) -> bool:
        """Whether its instances are not shown where their files are."""
        return self.role in (Role.EDITED, Role.REMOVED, Role.STAGED)


@dataclass(frozen=True, eq=False)
class Patch:
    """Staged instances.

    Parameters
    ----------
    key : PatchKey
    identity : str
        Of the index in which ``files`` count.
    files : ndarray of int64, shape (instances,)
        Number of the file that an instance comes from; -1 without, or where it has to be found by
        its UID.
    versions : ndarray of int64, shape (instances, 2)
        Size and time of change that its file had then; -1 where that is not known.
    origins : list of str
        UID of the instance that each comes from; "" for new ones.
    uids : list of str
        UID that each is shown with.
    columns : dict
        The elements that change, a row per instance: -1 where nothing does, a value of the kind
        ``DELETED`` where the element goes.
    counts : ndarray of int32, shape (instances,)
        Number of frames of the instances whose functional groups change, else 0.
    frames : dict
        What these functional groups say, a row per frame of those instances.
    """

    key: PatchKey
    identity: str
    files: npt.NDArray[np.int64]
    versions: npt.NDArray[np.int64]
    origins: Sequence[str]
    uids: Sequence[str]
    columns: Mapping[Key, Column]
    counts: npt.NDArray[np.int32]
    frames: Mapping[Key, Column]

    @classmethod
    def bare(
        cls,
        key: PatchKey,
        identity: str,
        files: npt.NDArray[Any],
        uids: Sequence[str],
        versions: npt.NDArray[np.int64] | None = None,
    ) -> Patch:
        """Return instances of which nothing changes yet."""
        counts = np.zeros(len(uids), np.int32)
        if versions is None:
            versions = np.full((len(uids), 2), -1, np.int64)
        return cls(key, identity, files.astype(np.int64), versions, uids, uids, {}, counts, {})

    def __len__(self) -> int:
        return len(self.uids)

    def says_as(self, other: Patch) -> bool:
        """Return whether the same is staged, of the same instances."""
        return (
            self.key == other.key
            and list(self.uids) == list(other.uids)
            and list(self.origins) == list(other.origins)
            and np.array_equal(self.counts, other.counts)
            and _packed(self.columns) == _packed(other.columns)
            and _packed(self.frames) == _packed(other.frames)
        )

    def take(self, rows: Rows) -> Patch:
        """Return these rows, in this order."""
        if len(rows) == len(self) and bool((rows == np.arange(len(rows))).all()):
            return self
        frame_rows = rows_of_frames(self.counts, rows)
        listed = rows.tolist()
        return replace(
            self,
            files=self.files[rows],
            versions=self.versions[rows],
            origins=[self.origins[i] for i in listed],
            uids=[self.uids[i] for i in listed],
            columns=_taken(self.columns, rows),
            counts=self.counts[rows],
            frames=_taken(self.frames, frame_rows),
        )

    def at(self, target: SeriesKey, role: Role | None = None) -> Patch:
        """Return the instances in another series."""
        role = self.key.role if role is None else role
        return replace(self, key=PatchKey(self.key.source, target, role))

    def edited(self, edits: Mapping[Key, Column]) -> Patch:
        """Return the instances with more changes, which count more than earlier ones."""
        columns = dict(self.columns)
        for key, column in edits.items():
            laid = overlay(key, columns.get(key), column)
            if laid is not None:
                columns[key] = laid
        return replace(self, columns=columns)

    def named(self, uids: Sequence[str]) -> Patch:
        """Return the instances shown with other UIDs."""
        return replace(self, uids=list(uids))

    def with_frames(self, counts: npt.NDArray[np.int32], frames: Mapping[Key, Column]) -> Patch:
        """Return the instances with other functional groups, where ``counts`` is not 0."""
        if not counts.any():
            return self
        before, after = int(self.counts.sum()), int(counts.sum())
        joined = _joined(self.frames, frames, [before, after])
        # Below each other stand all old rows and all new ones; of each instance one of the two.
        starts = np.where(
            counts > 0,
            before + np.cumsum(counts) - counts,
            np.cumsum(self.counts) - self.counts,
        )
        kept = np.where(counts > 0, counts, self.counts).astype(np.int32)
        first = np.cumsum(kept) - kept
        rows = np.repeat(starts - first, kept) + np.arange(int(kept.sum()))
        return replace(self, counts=kept, frames=_taken(joined, rows))

    def edits(self, rows: Rows) -> Iterator[dict[Key, Encoded | None]]:
        """Yield what changes in each of some rows; None takes an element out."""
        columns = [
            (key, _encoded(column), column.codes_of(rows).tolist())
            for key, column in self.columns.items()
        ]
        for i in range(len(rows)):
            yield {key: values[codes[i]] for key, values, codes in columns if codes[i] >= 0}

    def plus(self, other: Patch) -> Patch:
        """Return the rows of both; those of ``other`` come last."""
        if not len(self):
            return other
        sizes = [len(self), len(other)]
        frames = [int(self.counts.sum()), int(other.counts.sum())]
        other_files = other.files
        if self.identity != other.identity:  # found by UID then
            other_files = np.full(len(other), -1, np.int64)
        return replace(
            self,
            files=np.concatenate([self.files, other_files]),
            versions=np.concatenate([self.versions, other.versions]),
            origins=[*self.origins, *other.origins],
            uids=[*self.uids, *other.uids],
            columns=_joined(self.columns, other.columns, sizes),
            counts=np.concatenate([self.counts, other.counts]),
            frames=_joined(self.frames, other.frames, frames),
        )


def _packed(columns: Mapping[Key, Column]) -> dict[Key, bytes]:
    return {key: column.pack() for key, column in columns.items()}


def _encoded(column: Column) -> list[Encoded | None]:
    """Return the distinct values of a column of changes."""
    from dbdicom_xr.staging.encode import Encoded

    result: list[Encoded | None] = []
    for value, number in zip(column.values, column.kind_of, strict=True):
        kind = column.kinds[number]
        assert isinstance(value, bytes)
        result.append(None if kind == DELETED else Encoded(kind, value))
    return result


def _taken(columns: Mapping[Key, Column], rows: Rows) -> dict[Key, Column]:
    taken = {key: column.take(rows) for key, column in columns.items()}
    return {key: column for key, column in taken.items() if _occurs(column)}


def _occurs(column: Column) -> bool:
    return column.rows > 0 and (column.codes is None or bool((column.codes >= 0).any()))


def _joined(
    first: Mapping[Key, Column], second: Mapping[Key, Column], counts: Sequence[int]
) -> dict[Key, Column]:
    return {
        key: concatenate(key, [first.get(key), second.get(key)], counts)
        for key in dict.fromkeys(chain(first, second))
    }


def delta(
    key: Key, values: Sequence[Encoded | None], codes: npt.NDArray[Any] | None, rows: int
) -> Column:
    """Return the changes of an attribute as a column.

    Parameters
    ----------
    key : Key
    values : sequence of Encoded or None
        None takes the element out.
    codes : ndarray of int, shape (rows,), or None
        For each row its value, -1 where nothing changes. None: all rows get value 0.
    rows : int
    """
    kinds: dict[Kind, int] = {}
    kind_of = []
    raw = []
    for value in values:
        kind = DELETED if value is None else value.kind
        kind_of.append(kinds.setdefault(kind, len(kinds)))
        raw.append(b"" if value is None else value.value)
    if codes is None:
        return Column(key, list(kinds), raw, kind_of, None, rows)
    return tidy(key, list(kinds), raw, kind_of, codes.astype(np.int32))


def overlay(key: Key, under: Column | None, over: Column | None) -> Column | None:
    """Return a column in which the values of ``over`` count, and where it has none ``under``."""
    if over is None:
        return under
    if under is None or over.codes is None:
        return over
    above = over.codes_of()
    codes = np.where(above >= 0, above + len(under.values), under.codes_of())
    return tidy(
        key,
        [*under.kinds, *over.kinds],
        [*under.values, *over.values],
        [*under.kind_of, *[number + len(under.kinds) for number in over.kind_of]],
        codes.astype(np.int32),
    )


def settled(column: Column | None) -> Column | None:
    """Return a column as it is read: without what was taken out, None where nothing is left."""
    if column is None or DELETED not in column.kinds:
        return column if column is None or _occurs(column) else None
    gone = np.array([column.kinds[number] == DELETED for number in column.kind_of] + [False])
    codes = column.codes_of()
    codes = np.where(gone[codes], -1, codes).astype(np.int32)
    left = tidy(column.key, column.kinds, column.values, column.kind_of, codes)
    return left if _occurs(left) else None
