"""From the values of the sort tags of the frames to their arrangement: the grid.

The grid has one dimension per sort tag, in the order given, and a last one, ``n``, that counts the
frames at the same point, in their order by InstanceNumber and frame number. Which values are the
same is decided in :mod:`dbdicom_xr.arrays.align`. Every frame stands in the grid exactly once;
a frame that cannot be placed raises.

How a tag is aligned:

- *By value*: one position per distinct value of the whole series, ascending, with a 1-D coordinate.
- *By order*: position ``i`` is the ``i``-th smallest of the values that occur together with the
  same values of the *earlier* tags. The true values are the coordinate, over the earlier dimensions
  and its own. Equal values at one point share a position, and their frames go to ``n``.
  The first tag has no earlier tags, so for it the two are the same.

By order a dimension is as long as the richest point needs, by value as long as there are values.
Let ``m`` be the one and ``d`` the other. The points that occur can never be more than the product
of all ``m``, and every ``m <= d``; so there is one way only to make a full grid by order: the tags
with ``m < d`` go by order, the rest by value, and it is full when the product of all ``m`` is the
number of points. Nothing has to be searched for.

``align``:

- ``"auto"``: by value, if more than half of the cells (``n`` not counted) are filled. Else by order
  as above, if that grid is full. Else an error.
- ``"value"``: by value, with whatever gaps there are.
- ``"order"``: the tags with ``m < d`` by order, the rest by value. Points with fewer values have
  their gaps at the end; the notice says so, since a frame lost in the middle shifts those after it.
- ``"exact"``: by value, and any gap, also one in ``n``, raises.

A gap has index -1. In the coordinate of a tag aligned by order a gap is NaN, NaT or "".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dbdicom_xr.arrays import explain
from dbdicom_xr.arrays.align import Ints, SortKey, distinct, points, require_apart, undefined
from dbdicom_xr.arrays.explain import Describe, Suggestions
from dbdicom_xr.errors import GridError, InvalidValue

__all__ = ["Align", "Grid", "SortKey", "build_grid"]

Align: TypeAlias = Literal["auto", "value", "order", "exact"]
Coords: TypeAlias = dict[str, tuple[tuple[str, ...], NDArray[Any]]]

_OTHER_DIMS = frozenset({"n", "x", "y", "channel", "frame"})
# An index of 1 GB. Sparser grids than that are mistakes, and would end in a MemoryError.
_MOST_CELLS = 2**27


@dataclass(frozen=True)
class Grid:
    """The arrangement of ``frames`` along the sort tags.

    Attributes
    ----------
    dims : tuple of str
        The sort tags, then ``"n"``.
    index : np.ndarray
        Row number of the frame in each cell, int64, with one dimension per name in ``dims``;
        -1 in gaps.
    coords : dict
        ``{name: (dims, values)}`` of every sort tag.
    by_order : tuple of str
        The tags that were aligned by order.
    notice : str, optional
        What the user should know about the tags aligned by order: text for a warning.
    """

    dims: tuple[str, ...]
    index: Ints
    coords: Coords = field(default_factory=dict)
    by_order: tuple[str, ...] = ()
    notice: str | None = None


def build_grid(
    keys: Sequence[SortKey],
    *,
    order: Ints,
    align: Align = "auto",
    describe: Describe | None = None,
    suggestions: Suggestions | None = None,
) -> Grid:
    """Arrange frames along their sort tags.

    Parameters
    ----------
    keys : sequence of SortKey
        The sort tags, slowest dimension first. None: the only dimension is ``n``.
    order : np.ndarray
        Shape (frames,), integer: rank of each frame by InstanceNumber and frame number. It decides
        the order within ``n``; equal ranks keep the order of the rows.
    align : {"auto", "value", "order", "exact"}
        See the module.
    describe : callable, optional
        Names a frame, from its row number, in messages.
    suggestions : callable, optional
        Gives tags that would form a full grid; called only for the message of an error.

    Returns
    -------
    Grid
        An empty one, of zero length along each dimension, for no frames.

    Raises
    ------
    GridError
        When a frame lacks a tag or has NaN in it, a tag is asked for twice, or the frames do not
        form a grid.

    Examples
    --------
    >>> import numpy as np
    >>> every = np.ones(4, bool)
    >>> slices = SortKey("SliceLocation", np.array([5.0, 0.0, 5.0, 0.0]), every, 1e-3)
    >>> echoes = SortKey("EchoTime", np.array([2.0, 2.0, 1.0, 1.0]), every)
    >>> grid = build_grid([slices, echoes], order=np.arange(4))
    >>> grid.dims
    ('SliceLocation', 'EchoTime', 'n')
    >>> grid.index[..., 0]
    array([[3, 1],
           [2, 0]])
    """
    if align not in ("auto", "value", "order", "exact"):
        raise InvalidValue(f"align must be 'auto', 'value', 'order' or 'exact', not {align!r}")
    n = len(order)
    _check(keys, n, describe)
    names = tuple(key.name for key in keys)
    if n == 0:
        empty: Coords = {key.name: ((key.name,), distinct(key).labels) for key in keys}
        return Grid((*names, "n"), np.empty((0,) * (len(keys) + 1), np.int64), empty)

    values = [distinct(key) for key in keys]
    for key, found in zip(keys, values, strict=True):
        require_apart(key, found)
    at = points([(found.codes, len(found.labels)) for found in values], n)
    occupied = len(at.frames)

    ragged = [j for j, (m, d) in enumerate(zip(at.most, at.distinct, strict=True)) if m < d]
    filled_by_value = 2 * occupied > math.prod(at.distinct)
    if align == "auto" and not filled_by_value and occupied < math.prod(at.most):
        raise GridError(explain.no_grid(names, values, at, suggestions))
    ordered = ragged if align == "order" or (align == "auto" and not filled_by_value) else []

    shape = tuple(at.most[j] if j in ordered else at.distinct[j] for j in range(len(keys)))
    position = [at.by_rank[j] if j in ordered else at.by_value[j] for j in range(len(keys))]
    depth = int(at.frames.max())
    full = occupied == math.prod(shape)
    if align == "exact" and not (full and at.frames.min() == depth):
        raise GridError(explain.gaps(names, values, at, suggestions))
    if math.prod(shape) * depth > _MOST_CELLS:
        raise GridError(explain.too_sparse(names, values, at, (*shape, depth), suggestions))

    cell = np.zeros(occupied, np.int64)
    for where, length in zip(position, shape, strict=True):
        cell = cell * length + where
    index = np.full((math.prod(shape), depth), -1, np.int64)
    frame_cell = cell[at.of_frame]
    if depth == 1:
        index[frame_cell, 0] = np.arange(n)
    else:
        rows = np.argsort(order, kind="stable")
        rows = rows[np.argsort(at.of_frame[rows], kind="stable")]
        first = np.cumsum(at.frames) - at.frames
        index[frame_cell[rows], np.arange(n) - first[at.of_frame[rows]]] = rows

    coords: Coords = {}
    for j, (name, found) in enumerate(zip(names, values, strict=True)):
        if j not in ordered:
            coords[name] = ((name,), found.labels)
            continue
        found_at = tuple(position[: j + 1])
        true_values = _true_values(shape[: j + 1], found_at, found.labels[at.by_value[j]])
        coords[name] = (names[: j + 1], true_values)
    return Grid(
        (*names, "n"),
        index.reshape((*shape, depth)),
        coords,
        tuple(names[j] for j in ordered),
        explain.notice(names, at, ordered, full=full) if ordered else None,
    )


def _true_values(
    shape: tuple[int, ...], found_at: tuple[Ints, ...], values: NDArray[Any]
) -> NDArray[Any]:
    """Lay out the values of a tag aligned by order; integers become floats if there are gaps."""
    gaps = np.ones(shape, bool)
    gaps[found_at] = False
    dtype, gap = values.dtype, {"O": "", "f": np.nan, "M": "NaT", "m": "NaT"}.get(values.dtype.kind)
    if gap is None and gaps.any():
        dtype, gap = np.dtype(np.float64), np.nan
    laid_out = np.full(shape, 0 if gap is None else gap, dtype)
    laid_out[found_at] = values
    return laid_out


def _check(keys: Sequence[SortKey], n: int, describe: Describe | None) -> None:
    names = [key.name for key in keys]
    for key in keys:
        if names.count(key.name) > 1:
            raise GridError(f"{key.name} is asked for twice: each tag can be one dimension only")
        if key.name in _OTHER_DIMS:
            raise GridError(
                f"{key.name!r} is the name of another dimension: it cannot be sorted by"
            )
        if len(key.values) != n or len(key.present) != n:
            raise ValueError(f"{key.name}: {len(key.values)} values for {n} frames")
        lacking = np.flatnonzero(~key.present)
        if len(lacking):
            raise GridError(explain.lacking(key.name, lacking, n, describe))
        bad = np.flatnonzero(undefined(key.values))
        if len(bad):
            raise GridError(explain.not_finite(key.name, bad, n, describe))
