"""Which frames have the same value: the distinct values of a sort tag, and the points they span.

What counts as one value:

- Numbers within ``tolerance`` of each other, times within ``tolerance`` seconds; text and
  everything with ``tolerance=0`` only when equal. -0.0 is 0.0.
- Sorted values are cut where neighbours are further apart than the tolerance. Every run must then
  itself be no wider than the tolerance: values that drift (0, 0.0009, 0.0018, ...) are neither one
  value nor clearly several, so they raise instead of being merged or cut at a place that chance
  decided. Rows of a multi-valued tag are cut in this way along each component, within the groups
  found so far, until nothing changes: components may drift as long as the rows stay apart.
- The label of a run is its lower median over the frames: a value that was measured, the same for
  any order of the files. Labels are then rounded to ``decimals``, so that series acquired with the
  same geometry align, unless rounding would give two runs the same label.

A point is a combination of values that occurs in at least one frame. Points are sorted by value,
first key first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dbdicom_xr.errors import GridError

Ints: TypeAlias = NDArray[np.int64]

# Differences of decimal numbers (20.001 - 20.0) exceed the decimal tolerance by rounding alone.
_SLACK = 1 + 1e-6


@dataclass(frozen=True)
class SortKey:
    """The values of one tag in ``n`` frames.

    Attributes
    ----------
    name : str
        Name of the dimension: the keyword, or ``"(0019,100c)"``.
    values : np.ndarray
        Shape (n,): numbers, ``datetime64``, ``timedelta64`` or text (object); or (n, k): floats, of
        a multi-valued number.
    present : np.ndarray
        Shape (n,), bool: False where the frame lacks the tag.
    tolerance : float
        Values no further apart are one; in the unit of the tag, for times in seconds.
    decimals : int, optional
        Labels are rounded to so many decimals.
    """

    name: str
    values: NDArray[Any]
    present: NDArray[np.bool_]
    tolerance: float = 0.0
    decimals: int | None = None


@dataclass(frozen=True)
class Distinct:
    """The distinct values of a key.

    Attributes
    ----------
    codes : np.ndarray
        Shape (n,): place of each frame's value among the labels.
    labels : np.ndarray
        Shape (values,): the values, ascending.
    crowded : tuple of str, optional
        Ends of the first run of values that is wider than the tolerance, if there is one; then
        no values are merged.
    """

    codes: Ints
    labels: NDArray[Any]
    crowded: tuple[str, str] | None = None


@dataclass(frozen=True)
class Points:
    """The combinations of values that occur, sorted.

    Attributes
    ----------
    of_frame : np.ndarray
        Shape (frames,): the point of each frame.
    frames : np.ndarray
        Shape (points,): number of frames at each point.
    by_value : list of np.ndarray
        Per key, shape (points,): place of the point's value among all values of the key.
    by_rank : list of np.ndarray
        Per key, shape (points,): place among the values that occur with the same earlier keys.
    distinct, most, least : tuple of int
        Per key: number of values overall, and the most and fewest with the same earlier keys.
    """

    of_frame: Ints
    frames: Ints
    by_value: list[Ints]
    by_rank: list[Ints]
    distinct: tuple[int, ...]
    most: tuple[int, ...]
    least: tuple[int, ...]


def usable(key: SortKey) -> NDArray[np.bool_]:
    """Tell which frames have a value that can be sorted: present, and not NaN, inf or NaT."""
    return key.present & ~undefined(key.values)


def undefined(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which values are NaN, infinite or NaT, one flag per frame."""
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values)
        return bad if values.ndim == 1 else np.asarray(bad.any(axis=1))
    if values.dtype.kind in "mM":
        return np.asarray(np.isnat(values))
    return np.zeros(len(values), bool)


def same_as_first_seen(values: NDArray[Any]) -> tuple[Ints, int]:
    """Number the distinct values by first appearance; their count."""
    codes, _ = pd.factorize(values)
    codes = codes.astype(np.int64, copy=False)
    return codes, int(codes.max()) + 1 if len(codes) else 0


def partition(key: SortKey) -> tuple[Ints, int] | None:
    """Number the values of a key by first appearance; None where they are crowded."""
    if key.tolerance == 0 and key.values.ndim == 1:
        return same_as_first_seen(_plain(key)[0])
    if key.values.ndim == 2:
        codes, _, crowded = _cluster_rows(key)
    else:
        codes, crowded = (values := distinct(key)).codes, values.crowded
    return None if crowded else same_as_first_seen(codes)


def distinct(key: SortKey) -> Distinct:
    """Find the distinct values of a key, as the module describes. All values must be usable."""
    if key.values.ndim == 2:
        codes, rows, crowded = _cluster_rows(key)
        return Distinct(codes, _row_labels(rows, key.decimals), crowded)
    plain, tolerance = _plain(key)
    codes, unique = pd.factorize(plain, sort=True)
    codes = codes.astype(np.int64, copy=False)
    if len(codes) and codes.min() < 0:  # pandas' code of None and NaN
        raise TypeError(f"{key.name}: values must be text or numbers, one for each frame")
    crowded = None
    if tolerance > 0 and len(unique):
        run = _runs(unique, tolerance)
        first, last = _ends(run)
        wide = np.flatnonzero(unique[last] - unique[first] > tolerance)
        if len(wide):
            low, high = _as_given(unique[[first[wide[0]], last[wide[0]]]], key)
            crowded = (text_of(low), text_of(high))
        else:
            unique = unique[_medians(run, np.bincount(codes, minlength=len(unique)))]
            codes = run[codes]
    return Distinct(codes, _rounded(_as_given(unique, key), key.decimals), crowded)


def points(keys: Sequence[tuple[Ints, int]], n: int) -> Points:
    """Find the points that ``n`` frames occupy, from the codes and number of values of each key."""
    of_frame = np.zeros(n, np.int64)
    count = 1
    by_value: list[Ints] = []
    by_rank: list[Ints] = []
    most, least = [], []
    for codes, size in keys:
        of_frame, occupied = _pairs(of_frame, count, codes, size)
        earlier, code = np.divmod(occupied, size)
        children = np.bincount(earlier, minlength=count)
        first = np.cumsum(children) - children
        count = len(occupied)
        by_value = [*(column[earlier] for column in by_value), code]
        by_rank = [*(column[earlier] for column in by_rank), np.arange(count) - first[earlier]]
        most.append(int(children.max()))
        least.append(int(children.min()))
    return Points(
        of_frame,
        np.bincount(of_frame, minlength=count),
        by_value,
        by_rank,
        tuple(size for _, size in keys),
        tuple(most),
        tuple(least),
    )


def text_of(value: Any) -> str:
    """Give a value as a person would write it.

    Examples
    --------
    >>> text_of(np.float64(2.5)), text_of(np.timedelta64(36_000_500, "ms")), text_of("PHASE")
    ('2.5', '10:00:00.5', "'PHASE'")
    """
    if isinstance(value, np.timedelta64):
        seconds, rest = divmod(int(value.astype("timedelta64[ns]").astype(np.int64)), 10**9)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return clock + (f".{rest:09d}".rstrip("0") if rest else "")
    if isinstance(value, np.datetime64):
        text = str(value)
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text.removesuffix("T00:00:00")
    if isinstance(value, float):
        return format(value, ".10g")
    return repr(value) if isinstance(value, str) else str(value)


def _pairs(group: Ints, groups: int, codes: Ints, size: int) -> tuple[Ints, Ints]:
    """Number the pairs (group, code) that occur, sorted; the pairs are ``group * size + code``."""
    flat = group * size + codes
    if groups * size <= 4 * len(flat) + 1024:  # a table of all pairs is quicker than sorting them
        occurs = np.bincount(flat, minlength=groups * size) > 0
        return (np.cumsum(occurs) - 1)[flat], np.flatnonzero(occurs)
    occupied, number = np.unique(flat, return_inverse=True)
    return number, occupied


def _as_given(plain: NDArray[Any], key: SortKey) -> NDArray[Any]:
    """Make dates and times of their integers again."""
    return plain.view(key.values.dtype) if key.values.dtype.kind in "mM" else plain


def _plain(key: SortKey) -> tuple[NDArray[Any], float]:
    """Give the values as int64, float64 or text, and the tolerance in their unit."""
    values = key.values
    kind = values.dtype.kind
    if kind in "mM":
        tick = np.ones(1, np.int64).view(values.dtype.str.replace("M8", "m8"))
        return values.view(np.int64), key.tolerance * (np.timedelta64(1, "s") / tick[0]) * _SLACK
    if kind == "f":
        return values.astype(np.float64, copy=False) + 0.0, key.tolerance * _SLACK
    if kind in "iub":
        return values.astype(np.int64, copy=False), key.tolerance * _SLACK
    return values.astype(object, copy=False), 0.0


def _runs(ascending: NDArray[Any], tolerance: float) -> Ints:
    """Number the runs of sorted values whose neighbours are within the tolerance."""
    return np.concatenate([[0], np.cumsum(np.diff(ascending) > tolerance)]).astype(np.int64)


def _ends(run: Ints) -> tuple[Ints, Ints]:
    """Give the first and last index of each run."""
    cuts = np.flatnonzero(np.diff(run))
    return np.append(0, cuts + 1), np.append(cuts, len(run) - 1)


def _medians(run: Ints, weights: Ints) -> Ints:
    """Give the index of the lower median of each run, values weighted by their number of frames."""
    first, last = _ends(run)
    upto = np.cumsum(weights)
    before = upto[first] - weights[first]
    middle = before + (upto[last] - before + 1) // 2
    index: Ints = np.searchsorted(upto, middle).astype(np.int64, copy=False)
    return index


def _rounded(labels: NDArray[Any], decimals: int | None) -> NDArray[Any]:
    if decimals is None or labels.dtype.kind != "f":
        return labels
    rounded = np.round(labels, decimals) + 0.0
    return labels if len(np.unique(rounded)) < len(labels) else rounded


def _cluster_rows(
    key: SortKey,
) -> tuple[Ints, NDArray[np.float64], tuple[str, str] | None]:
    """Find the distinct rows of a multi-valued number: codes, rows in order, crowded."""
    values = key.values.astype(np.float64) + 0.0
    if not len(values):
        return np.empty(0, np.int64), values, None
    tolerance = key.tolerance * _SLACK
    exact = [pd.factorize(column, sort=True) for column in values.T]
    found = points([(codes.astype(np.int64), len(unique)) for codes, unique in exact], len(values))
    rows = np.column_stack(
        [unique[code] for (_, unique), code in zip(exact, found.by_value, strict=True)]
    )
    group = np.zeros(len(rows), np.int64)
    while True:
        before = group.max()
        for column in rows.T:
            by = np.lexsort((column, group))
            cut = (np.diff(group[by]) > 0) | (np.diff(column[by]) > tolerance)
            group = group.copy()
            group[by] = np.concatenate([[0], np.cumsum(cut)])
        if group.max() == before:
            break

    by_group = np.argsort(group, kind="stable")
    first, last = _ends(group[by_group])
    spread = [
        np.maximum.reduceat(column[by_group], first) - np.minimum.reduceat(column[by_group], first)
        for column in rows.T
    ]
    wide = np.flatnonzero(np.max(spread, axis=0) > tolerance)
    if len(wide):
        low, high = rows[by_group[[first[wide[0]], last[wide[0]]]]]
        return found.of_frame, rows, (_row_text(low), _row_text(high))

    # Groups in order of their rows, a jitter in one component leaving the next to decide.
    medians = by_group[_medians(group[by_group], found.frames[by_group])]
    order_of = [
        _runs(unique, tolerance)[code][medians]
        for (_, unique), code in zip(exact, found.by_value, strict=True)
    ]
    ranked = np.lexsort([medians, *reversed(order_of)])
    place = np.empty_like(ranked)
    place[ranked] = np.arange(len(ranked))
    return place[group][found.of_frame], rows[medians[ranked]], None


def _row_text(row: NDArray[Any], digits: str = ".10g") -> str:
    return "\\".join(format(float(value), digits) for value in row)


def _row_labels(rows: NDArray[Any], decimals: int | None) -> NDArray[Any]:
    rounded = rows if decimals is None else np.round(rows, decimals) + 0.0
    labels = [_row_text(row) for row in rounded]
    if len(set(labels)) < len(labels):
        labels = [_row_text(row, ".17g") for row in rows]
    return np.array(labels, dtype=object)


def require_apart(key: SortKey, values: Distinct) -> None:
    """Refuse values that drift, so that the tolerance cannot tell which of them are the same.

    Raises
    ------
    GridError
        With the ends of the first such run of values.
    """
    if values.crowded is None:
        return
    low, high = values.crowded
    raise GridError(
        f"{key.name}: neighbours among the values from {low} to {high} are within the tolerance of "
        f"{key.tolerance:g}, but together they span more, so it is not clear which are the same. "
        f"Give a larger tolerance if they are one position, a smaller one if they are several "
        f"(tolerance=0 keeps all values apart)."
    )
