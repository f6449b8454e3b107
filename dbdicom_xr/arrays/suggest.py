"""Which tags vary, and which of them arrange the frames in a full grid with one frame per point.

What is looked for, among tags that every frame has:

- *By value*: tags whose combinations each occur once, so that the product of their numbers of
  values is the number of frames.
- *By order*: tags whose combinations occur equally often, and a last one that tells the frames of
  each combination apart (slices, each with acquisition times of its own). Only where no grid by
  value starts with the same tag or has the same ones, and no tag can be put before the last.

The caller lists the tags in order of preference, and that order alone decides which grid is best:
the first tags of two grids are compared, then the second, and so on; at the same place by value
goes before by order. A tag that numbers all frames (InstanceNumber, or the time of each frame) is a
full grid of one dimension; being late in the list it comes last, while a SliceLocation that does
the same, as in a single volume, comes first. Of tags that split the frames in the same way
(EchoTime, EchoNumbers) only the first is used.

The search is quick because most tags are out of it at once: every value of a tag in a full grid
occurs equally often, and two tags of a grid by value occur in all their combinations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dbdicom_xr.arrays.align import Ints, SortKey, distinct, partition, usable

# Checks of one more tag, each 0.5 to 3 ms for 100,000 frames; real series need a few dozen.
_MOST_CHECKS = 300


@dataclass(frozen=True)
class Varying:
    """How one tag varies over the frames.

    Attributes
    ----------
    name : str
        Name of the tag.
    distinct : int
        Number of values.
    minimum, maximum : object
        Smallest and largest value.
    missing : int
        Number of frames without a value.
    """

    name: str
    distinct: int
    minimum: Any
    maximum: Any
    missing: int


@dataclass(frozen=True)
class _Candidate:
    name: str
    codes: Ints
    size: int
    balanced: bool


def varying(keys: Sequence[SortKey]) -> list[Varying]:
    """Tabulate the tags that vary: more than one value, or missing in some frames only.

    Parameters
    ----------
    keys : sequence of SortKey
        The tags to look at.

    Returns
    -------
    list of Varying
        In the order of the keys.

    Examples
    --------
    >>> import numpy as np
    >>> every = np.ones(3, bool)
    >>> echo = SortKey("EchoTime", np.array([2.5, 5.0, 2.5]), every)
    >>> angle = SortKey("FlipAngle", np.array([15.0, 15.0, 15.0]), every)
    >>> [(row.name, row.distinct) for row in varying([echo, angle])]
    [('EchoTime', 2)]
    """
    table = []
    for key in keys:
        known = usable(key)
        missing = int(len(known) - np.count_nonzero(known))
        if missing == len(known):
            continue
        labels = distinct(_restricted(key, known) if missing else key).labels
        if len(labels) > 1 or missing:
            table.append(Varying(key.name, len(labels), labels[0], labels[-1], missing))
    return table


def full_grids(
    keys: Sequence[SortKey], n: int, max_keys: int = 4, limit: int = 5
) -> list[tuple[str, ...]]:
    """Find the combinations of tags that arrange ``n`` frames in a full grid.

    ``build_grid(..., align="order")`` makes a full grid with one frame per point of each of them:
    by value where that is full, otherwise with the last tag by order.

    Parameters
    ----------
    keys : sequence of SortKey
        The candidates, preferred ones first.
    n : int
        Number of frames.
    max_keys : int
        Most tags in one grid.
    limit : int
        Most combinations returned.

    Returns
    -------
    list of tuple of str
        Best first; each in the order of the keys, but one aligned by order last.

    Examples
    --------
    >>> import numpy as np
    >>> every = np.ones(4, bool)
    >>> slices = SortKey("SliceLocation", np.array([0.0, 0.0, 5.0, 5.0]), every)
    >>> times = SortKey("AcquisitionTime", np.array([1.0, 3.0, 2.0, 4.0]), every)
    >>> full_grids([slices, times], 4)
    [('SliceLocation', 'AcquisitionTime'), ('AcquisitionTime',)]
    """
    if n < 2:
        return []
    candidates = _candidates(keys, n)
    search = _Search(candidates, n, max_keys)
    search.extend((), np.zeros(n, np.int64), 1)

    first_by_value = {grid[0] for grid in search.by_value}
    by_order = [grid for grid in search.by_order if grid[0] not in first_by_value]
    by_order = [
        grid
        for grid in by_order
        if not any(set(grid) <= set(other) for other in search.by_value)
        and not any(set(grid) < set(other) for other in by_order)
    ]
    ranked = [(tuple((0, place) for place in grid), grid) for grid in search.by_value]
    ranked += [((*((0, place) for place in grid[:-1]), (1, grid[-1])), grid) for grid in by_order]
    best: list[tuple[int, ...]] = []
    for _, grid in sorted(ranked):
        # What a better grid does with fewer tags is no news: slices alone, slices by acquisition.
        if not any(set(better) <= set(grid) for better in best):
            best.append(grid)
    return [tuple(candidates[place].name for place in grid) for grid in best[:limit]]


def _restricted(key: SortKey, rows: Any) -> SortKey:
    return SortKey(key.name, key.values[rows], key.present[rows], key.tolerance, key.decimals)


def _candidates(keys: Sequence[SortKey], n: int) -> list[_Candidate]:
    """Keep the tags that every frame has, that vary, and that no earlier tag makes redundant."""
    found: list[_Candidate] = []
    for key in keys:
        if any(key.name == other.name for other in found) or not usable(key).all():
            continue
        split = partition(key)
        if split is None or split[1] < 2:
            continue
        codes, size = split
        # Numbered by first appearance, two equal partitions have equal codes.
        if any(size == other.size and np.array_equal(codes, other.codes) for other in found):
            continue
        counts = np.bincount(codes)
        found.append(_Candidate(key.name, codes, size, bool(counts.min() == counts.max())))
    return found


class _Search:
    """Depth-first search of grids; places in the list of candidates stand for the tags."""

    def __init__(self, candidates: list[_Candidate], n: int, max_keys: int) -> None:
        self.candidates = candidates
        self.n = n
        self.max_keys = max_keys
        self.checks = 0
        self.by_value: list[tuple[int, ...]] = []
        self.by_order: list[tuple[int, ...]] = []

    def extend(self, grid: tuple[int, ...], cell: Ints, cells: int) -> bool:
        """Add tags to a grid whose cells hold equally many frames; tell if that made a full one."""
        if len(grid) == self.max_keys:
            return False
        found = False
        for place in range(grid[-1] + 1 if grid else 0, len(self.candidates)):
            added = self.candidates[place]
            more = cells * added.size
            if not added.balanced or self.n % more:
                continue
            if self.checks == _MOST_CHECKS:
                return found
            self.checks += 1
            finer = cell * added.size + added.codes
            counts = np.bincount(finer, minlength=more)
            if counts.min() != counts.max():
                continue
            if more == self.n:
                self.by_value.append((*grid, place))
                found = True
            else:
                found |= self.extend((*grid, place), finer, more)
        return found or (bool(grid) and self.last_by_order(grid, cell, cells))

    def last_by_order(self, grid: tuple[int, ...], cell: Ints, cells: int) -> bool:
        """Add the first tag that tells the frames of every cell apart."""
        for place, added in enumerate(self.candidates):
            if place in grid or added.size * cells < self.n:
                continue
            if self.checks == _MOST_CHECKS:
                break
            self.checks += 1
            pairs = cell * added.size + added.codes
            if added.size == self.n or len(pd.unique(pairs)) == self.n:
                self.by_order.append((*grid, place))
                return True
        return False
