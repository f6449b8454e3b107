"""Frames gathered into cells, one cell per image of an array, and what those of a cell agree in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import DatabaseChanged
from dbdicom_xr.index.columns import Column, Key, tidy
from dbdicom_xr.index.lazily import lazily
from dbdicom_xr.index.store import FRAME, INSTANCE
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import Kind, decode_all
from dbdicom_xr.records.attributes.lookup import Attribute
from dbdicom_xr.records.instance import Instance, frame_records
from dbdicom_xr.records.reading.common import Common
from dbdicom_xr.records.reading.explicit import explicit
from dbdicom_xr.records.record import own
from dbdicom_xr.staging.encode import Encoded

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database

__all__ = ["Sources"]

Ints = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Sources:
    """The frames that each image of an array was made from.

    Parameters
    ----------
    database : Database
    tables : tuple of Table
        Of the series that the frames belong to.
    table_of : ndarray of int, shape (m,)
        The table of each frame.
    rows : ndarray of int, shape (m,)
        The row of each frame in its table.
    starts : ndarray of int, shape (cells + 1,)
        The frames of cell ``i`` are those from ``starts[i]`` to ``starts[i + 1]``, in order: none
        in a gap, one where nothing was reduced.
    dims : tuple of str
        The dimensions of the array without those of the pixels.
    shape : tuple of int
        Of ``dims``; its product is the number of cells, in C order.
    is_exact : bool
        Whether these are the frames, and not all those that have the labels that a reduction left.
    """

    database: Database
    tables: tuple[Table, ...]
    table_of: Ints
    rows: Ints
    starts: Ints
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    is_exact: bool = True

    @classmethod
    def of_records(
        cls,
        records: Sequence[Instance | Common | None],
        dims: tuple[str, ...],
        shape: tuple[int, ...],
    ) -> Sources | None:
        """Gather what records stand for; None where there are only gaps.

        Parameters
        ----------
        records : sequence of Instance, Common or None
            One for each cell. An instance of several frames stands for all of them.
        dims, shape
            Of the cells.
        """
        tables: dict[int, tuple[int, Table]] = {}
        table_of: list[int] = []
        rows: list[int] = []
        starts = [0]
        database = None
        for record in records:
            for one in record.sources if isinstance(record, Common) else (record,):
                if one is None:
                    continue
                table, row = one._locate()
                database = database or one._database
                number = tables.setdefault(id(table), (len(tables), table))[0]
                if table.is_classic:
                    table_of.append(number)
                    rows.append(row)
                    continue
                frames = one._frame_rows()[1].tolist()
                table_of += [number] * len(frames)
                rows += frames
            starts.append(len(rows))
        if database is None:
            return None
        return cls(
            database,
            tuple(table for _, table in tables.values()),
            np.array(table_of, np.intp),
            np.array(rows, np.intp),
            np.array(starts, np.intp),
            dims,
            shape,
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __repr__(self) -> str:
        sizes = ", ".join(f"{dim}: {size}" for dim, size in zip(self.dims, self.shape, strict=True))
        return f"<Sources ({sizes}) of {len(self.rows)} frames>"

    @property
    def counts(self) -> Ints:
        """The number of frames of each cell, shape (cells,)."""
        return np.diff(self.starts)

    @lazily
    def is_single(self) -> bool:
        """Whether no cell has several frames."""
        return bool((self.counts <= 1).all())

    def by_table(self) -> list[tuple[Table, Ints, Ints]]:
        """Return for each series its table, the cells of its frames, and their rows."""
        cells = np.repeat(np.arange(len(self)), self.counts)
        found = []
        for number, table in enumerate(self.tables):
            mine = np.flatnonzero(self.table_of == number)
            if len(mine):
                found.append((table, cells[mine], self.rows[mine]))
        return found

    def frames(self) -> list[Instance]:
        """Return a record for each frame, shape (m,)."""
        result: list[Any] = [None] * len(self.rows)
        nodes = self.database._tree().series_node
        for number, table in enumerate(self.tables):
            mine = np.flatnonzero(self.table_of == number)
            node = nodes.get(table.series.id)
            if node is None:
                raise DatabaseChanged(
                    f"{table.root} was changed after the frames were looked up; repeat the call."
                )
            records = frame_records(self.database, node.key, table, self.rows[mine])
            for place, record in zip(mine.tolist(), records, strict=True):
                result[place] = record
        return result

    def records(self) -> list[Instance | Common | None]:
        """Return for each cell what a header holds there, shape (cells,).

        The frame itself where there is one, None in gaps, else a :class:`Common`.
        """
        frames = self.frames()
        result: list[Instance | Common | None] = []
        known: dict[tuple[bytes, bytes], Common] = {}
        starts = self.starts.tolist()
        for first, end in pairwise(starts):
            if end - first < 2:
                result.append(frames[first] if end > first else None)
                continue
            name = (self.table_of[first:end].tobytes(), self.rows[first:end].tobytes())
            if name not in known:
                known[name] = Common(frames[first:end])
            result.append(known[name])
        return result

    def take(self, members: Ints, dims: tuple[str, ...], shape: tuple[int, ...]) -> Sources:
        """Gather the frames of several cells in each of new ones.

        Parameters
        ----------
        members : ndarray of int, shape (cells, k)
            For each new cell the cells that it is made of. A frame that is in several of them
            counts once.
        dims, shape
            Of the new cells.
        """
        flat = members.ravel()
        counts = self.counts[flat]
        ends = np.cumsum(counts)
        chosen = np.arange(counts.sum()) + np.repeat(self.starts[flat] - (ends - counts), counts)
        cells = np.repeat(np.repeat(np.arange(len(members)), members.shape[1]), counts)
        table_of, rows = self.table_of[chosen], self.rows[chosen]
        if members.shape[1] > 1 and len(rows):
            widths = (int(rows.max()) + 1, len(self.tables))
            names = (cells * widths[1] + table_of) * widths[0] + rows
            kept = np.sort(np.unique(names, return_index=True)[1])
            cells, table_of, rows = cells[kept], table_of[kept], rows[kept]
        starts = np.searchsorted(cells, np.arange(len(members) + 1))
        return Sources(self.database, self.tables, table_of, rows, starts, dims, shape)

    # -- what they say -----------------------------------------------------------------------

    def keys(self) -> list[Key]:
        """Return the attributes that instances or frames of the series have, by tag."""
        return sorted({key for table in self.tables for key in table.keys})

    def common(self, key: Key) -> Column | None:
        """Return what all frames of each cell say alike of an attribute.

        Parameters
        ----------
        key : Key
            As it stands in the files, in instances or functional groups.

        Returns
        -------
        Column or None
            A row per cell: explicit VR little endian, text in UTF-8. Values that mean the same
            (``10`` and ``10.0``) are one, and the first is taken. -1 where frames differ, or one
            lacks the attribute, where it was left in the files because of its length, and in gaps.
            None where no cell has a value.
        """
        said = self._said(key)
        return None if said is None else self._column(key, said, self._agreed(key, said))

    def first(self, key: Key) -> Column | None:
        """Return what the first frame of each cell that has an attribute says.

        Parameters
        ----------
        key : Key

        Returns
        -------
        Column or None
            As :meth:`common`.
        """
        said = self._said(key)
        if said is None:
            return None
        values, codes = said
        filled = np.array([value is not None for value in values] + [False])
        has = np.flatnonzero(filled[codes])
        cells = np.repeat(np.arange(len(self)), self.counts)[has]
        chosen, places = np.unique(cells, return_index=True)
        result = np.full(len(self), -1, np.int32)
        result[chosen] = codes[has[places]]
        return self._column(key, said, result)

    def common_values(self, attribute: Attribute) -> npt.NDArray[np.object_]:
        """Return the value of an attribute that all frames of each cell have.

        Parameters
        ----------
        attribute : Attribute
            Also one that is worked out from others.

        Returns
        -------
        ndarray of objects, shape (cells,)
            None where frames differ or one has no value, and in gaps.
        """
        pool: list[Any] = []
        codes = np.full(len(self.rows), -1, np.int64)
        for number, table in enumerate(self.tables):
            values = attribute.values(table)
            if values is None:
                continue
            mine = np.flatnonzero(self.table_of == number)
            said = values.codes[self.rows[mine]].astype(np.int64)
            used = np.unique(said[said >= 0])
            renumber = np.full(len(values.distinct) + 1, -1, np.int64)
            renumber[used] = len(pool) + np.arange(len(used))
            pool += [values.distinct[code] for code in used.tolist()]
            codes[mine] = renumber[said]
        agreed = self._same(codes, lambda: _numbered(map(_identity, pool)))
        result = np.full(len(self), None, object)
        for cell in np.flatnonzero(agreed >= 0).tolist():
            result[cell] = own(pool[agreed[cell]])
        return result

    def _said(self, key: Key) -> tuple[list[Encoded | None], npt.NDArray[np.int32]] | None:
        """Return the distinct values that occur, and for each frame its value or -1."""
        pool: dict[Any, int] = {}
        values: list[Encoded | None] = []
        codes = np.full(len(self.rows), -1, np.int32)
        for number, table in enumerate(self.tables):
            mine: Any = slice(None)
            if len(self.tables) > 1:
                mine = np.flatnonzero(self.table_of == number)
            rows = self.rows[mine]
            found = codes[mine]
            for scope in (INSTANCE, FRAME):  # what a frame says counts before its instance
                column = table.column(key, scope)
                if column is None or not len(rows):
                    continue
                at = rows if scope == FRAME or table.is_classic else table.instance_of[rows]
                own_codes = column.codes_of(at)
                used = np.flatnonzero(np.bincount(own_codes + 1, minlength=2)[1:])
                renumber = np.full(len(column.values) + 1, -1, np.int32)
                for code, value in zip(used.tolist(), _explicit(column, used), strict=True):
                    renumber[code] = place = pool.setdefault(value, len(values))
                    if place == len(values):
                        values.append(value)
                numbers = renumber[own_codes]
                found = np.where(numbers >= 0, numbers, found)
            codes[mine] = found
        return (values, codes) if bool((codes >= 0).any()) else None

    def _agreed(
        self, key: Key, said: tuple[list[Encoded | None], npt.NDArray[np.int32]]
    ) -> npt.NDArray[Any]:
        values, codes = said
        if len(values) == 1 and values[0] is not None and bool((codes == 0).all()):
            return np.where(self.counts > 0, 0, -1)
        return self._same(codes, lambda: _numbered(_decoded(key, values)))

    def _same(
        self, codes: npt.NDArray[Any], meanings: Callable[[], npt.NDArray[Any]]
    ) -> npt.NDArray[Any]:
        """Return for each cell the code of its first frame where all have the same, else -1.

        Parameters
        ----------
        codes : ndarray of int, shape (m,)
        meanings : callable
            Gives for each code one that means the same, equal for all that do.
        """
        result = np.full(len(self), -1, codes.dtype)
        filled = np.flatnonzero(self.counts)
        if not len(filled):
            return result
        starts = self.starts[filled]
        first = codes[starts]
        if self.is_single:
            result[filled] = first
            return result
        low, high = np.minimum.reduceat(codes, starts), np.maximum.reduceat(codes, starts)
        same = low == high
        if bool(((low >= 0) & ~same).any()):
            meant = np.append(meanings(), -1)[codes]
            same = np.minimum.reduceat(meant, starts) == np.maximum.reduceat(meant, starts)
        result[filled] = np.where(same & (low >= 0), first, -1)
        return result

    def _column(
        self,
        key: Key,
        said: tuple[list[Encoded | None], npt.NDArray[np.int32]],
        codes: npt.NDArray[Any],
    ) -> Column | None:
        values, _ = said
        unknown = np.array([value is None for value in values] + [False])
        codes = np.where(unknown[codes], -1, codes).astype(np.int32)
        if not bool((codes >= 0).any()):
            return None
        kinds: dict[Kind, int] = {}
        kind_of = [0 if v is None else kinds.setdefault(v.kind, len(kinds)) for v in values]
        raw = [b"" if value is None else value.value for value in values]
        return tidy(key, list(kinds), raw, kind_of, codes)


def _explicit(column: Column, used: Ints) -> list[Encoded | None]:
    """Return values of a column, by their numbers, as new images hold them."""
    result: list[Encoded | None] = [None] * len(used)
    kind_of = np.array(column.kind_of)[used]
    for number, kind in enumerate(column.kinds):
        places = np.flatnonzero(kind_of == number)
        values = [column.values[code] for code in used[places].tolist()]
        for place, value in zip(places.tolist(), explicit(column.key, kind, values), strict=True):
            result[place] = value
    return result


def _decoded(key: Key, values: Sequence[Encoded | None]) -> list[Hashable]:
    """Return something equal for each two values that mean the same."""
    result: list[Hashable] = list(range(len(values)))
    by_kind: dict[Kind, list[int]] = {}
    for place, value in enumerate(values):
        if value is not None:
            by_kind.setdefault(value.kind, []).append(place)
    for kind, places in by_kind.items():
        raw = [values[place].value for place in places]  # type: ignore[union-attr]
        if kind.vr == "SQ":  # 0.1 ms each to decode, more to compare
            found: list[Any] = raw
        else:
            found = decode_all(key.dictionary_tag, key.creator, kind, raw, quiet=True)
        for place, one in zip(places, found, strict=True):
            result[place] = ("", _identity(one))
    return result


def _identity(value: Any) -> Hashable:
    """Return something that is equal for equal values, also of those that cannot be hashed."""
    if isinstance(value, list):
        return (list, *map(_identity, value))
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    if type(value).__hash__ is None:  # a sequence
        return (type(value), str(value))
    return value  # type: ignore[no-any-return]


def _numbered(names: Iterable[Hashable]) -> npt.NDArray[np.int64]:
    """Return for each name the number of the first that is equal."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(n, place) for place, n in enumerate(names)], np.int64)
