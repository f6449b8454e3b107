"""Values so long that the index left them in the files: read for the images made from them.

Private headers of scanners are of this kind. Where many images share one, it is kept once.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import LeftOut
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.elements import External
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.current import levels_to_user
from dbdicom_xr.records.reading.explicit import explicit
from dbdicom_xr.records.reading.gathered import Sources
from dbdicom_xr.staging.encode import Encoded
from dbdicom_xr.staging.patch import delta

__all__ = ["MOST_BYTES", "long_values"]

MOST_BYTES: Final = 256 << 20
"""How much is read at most for the images of one array; what is beyond it is left out."""


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the values of one attribute lie that may be the same in all sources of an image.

    Parameters
    ----------
    key : Key
    places : list of (Table, int)
        The table and the instance of each.
    of : ndarray of int, shape (m,)
        The place of each source frame, -1 where it has none.
    needed : list of int
        The places to be read.
    size : int
        Of these, in bytes.
    """

    key: Key
    places: list[tuple[Table, int]]
    of: npt.NDArray[Any]
    needed: list[int]
    size: int


def long_values(sources: Sources, keys: Iterable[Key]) -> dict[Key, Column]:
    """Return what all sources of each image say alike, of values that were left in the files.

    Parameters
    ----------
    sources : Sources
    keys : iterable of Key
        Those without such values are passed over.

    Returns
    -------
    dict of Key to Column
        Like those of :meth:`Sources.common`, which knows nothing of these values: -1 for images of
        which a source lacks the value, or has another.

    Warns
    -----
    LeftOut
        Of values that would take more than ``MOST_BYTES`` in all to read.
    """
    found: dict[Key, Column] = {}
    left_out: list[Key] = []
    room = MOST_BYTES
    for key in keys:
        places = _places(sources, key)
        if places is None:
            continue
        if places.size > room:
            left_out.append(key)
            continue
        room -= places.size
        column = _read(sources, places)
        if column is not None:
            found[key] = column
    if left_out:
        names = ", ".join(map(str, left_out))
        warnings.warn(
            f"The new images lack {names}: there are more than {MOST_BYTES >> 20} MiB of such "
            "values in the files that they come from.",
            LeftOut,
            stacklevel=levels_to_user(),
        )
    return found


def _places(sources: Sources, key: Key) -> _Places | None:
    places: list[tuple[Table, int]] = []
    lengths: list[int] = []
    of = np.full(len(sources.rows), -1, np.intp)
    for number, table in enumerate(sources.tables):
        column = table.column(key)
        if column is None or not column.left_in_files:
            continue
        mine = np.flatnonzero(sources.table_of == number)
        instances = table.instance_of[sources.rows[mine]]
        used = np.unique(instances)
        renumber = np.full(len(table.places), -1, np.intp)
        for instance, code in zip(used.tolist(), column.codes_of(used).tolist(), strict=True):
            value = column.values[code] if code >= 0 else b""
            if isinstance(value, External):
                renumber[instance] = len(places)
                places.append((table, instance))
                lengths.append(value.length)
        of[mine] = renumber[instances]
    if not places:
        return None
    # What is not equally long is not the same, and need not be read.
    cells, length = _alike(sources, np.where(of >= 0, np.array(lengths)[of], -1))
    cells = cells[length >= 0]
    wanted = np.zeros(len(sources), np.bool_)
    wanted[cells] = True
    needed = np.unique(of[np.repeat(wanted, sources.counts)]).tolist()
    return _Places(key, places, of, needed, sum(lengths[place] for place in needed))


def _read(sources: Sources, places: _Places) -> Column | None:
    """Read the values, and number those that differ."""
    known: dict[Encoded, int] = {}
    numbers = np.full(len(places.places) + 1, -1, np.int64)  # the last where there is no place
    for table, group in groupby(places.needed, lambda place: places.places[place][0]):
        column = table.column(places.key)
        assert column is not None
        mine = list(group)
        instances = [places.places[place][1] for place in mine]
        codes = [column.code(instance) for instance in instances]
        left = [
            (instance, value)
            for instance, code in zip(instances, codes, strict=True)
            if isinstance(value := column.values[code], External)
        ]
        for place, code, raw in zip(mine, codes, table.read_all(left), strict=True):
            (encoded,) = explicit(places.key, column.kinds[column.kind_of[code]], [raw])
            if encoded is not None:
                numbers[place] = known.setdefault(encoded, len(known))
    cells, number = _alike(sources, numbers[places.of])
    shared = np.full(len(sources), -1, np.int32)
    shared[cells] = number
    return delta(places.key, list(known), shared, len(shared)) if (shared >= 0).any() else None


def _alike(
    sources: Sources, numbers: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any]]:
    """Return the cells of which all frames have one number, and the number of each."""
    filled = np.flatnonzero(sources.counts)
    starts = sources.starts[filled]
    low = np.minimum.reduceat(numbers, starts)
    same = low == np.maximum.reduceat(numbers, starts)
    return filled[same], low[same]
