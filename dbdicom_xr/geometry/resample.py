"""Volumes on the grid of others: what a target voxel holds, block by block.

Everything goes by affines, so that grids may be oblique to each other, and sheared as those of a CT
with a tilted gantry. Arrays here have the axes (slice, x, y), as frames are read, while grids tell
sizes and affines along (x, y, slice).

A source reaches half a voxel beyond the centres of its outermost voxels, that is to where these
end, as in SimpleITK. What lies beyond is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dbdicom_xr.geometry.planes import Floats
from dbdicom_xr.index.lazily import lazily

__all__ = ["Grid", "Method", "Resampled", "VoxelMap"]

Method: TypeAlias = Literal["nearest", "linear", "cubic", "area"]
Box: TypeAlias = tuple[tuple[int, int], ...]

# Of a voxel: places no further apart are one. Positions and directions of DICOM are rounded; over
# a stack of 512 voxels that makes up to 5e-4.
_SAME: Final = 1e-3
_ORDERS: Final = {"nearest": 0, "linear": 1, "cubic": 3}
# A cubic spline hangs on all voxels, each 0.27 times as much as the one before it: 1e-8 at 14.
_MARGIN: Final = {"nearest": 1, "linear": 1, "cubic": 14, "area": 1}
# Of the source that are in memory at a time, for a part of a block.
_VOXELS: Final = 1 << 24
# Per source voxel and axis, to find which part of a target voxel is covered; even, so that grids
# that are shifted by half a voxel have no sample on an edge.
_SAMPLES: Final = 4
_MOST_SAMPLES: Final = 32
_AXES: Final = (2, 0, 1)  # of (x, y, slice), in the order of arrays


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie.

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4)
        From (x, y, slice, 1) to patient coordinates (LPS, mm).
    shape : tuple of int
        Sizes along x, y and slices.
    """

    affine: Floats
    shape: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class VoxelMap:
    """Which voxel of a source lies where a voxel of a target is.

    Parameters
    ----------
    source, target : Grid

    Examples
    --------
    >>> source, target = Grid(np.eye(4), (9, 9, 9)), Grid(np.diag([2.0, 2, 2, 1]), (4, 4, 4))
    >>> VoxelMap(source, target).coordinates(((3, 4), (0, 1), (2, 3)))[0]
    array([[[6.]]])
    """

    source: Grid
    target: Grid

    @lazily
    def source_shape(self) -> tuple[int, ...]:
        """Sizes of the source along (slice, x, y)."""
        return tuple(self.source.shape[axis] for axis in _AXES)

    @lazily
    def target_shape(self) -> tuple[int, ...]:
        """Sizes of the target along (slice, x, y)."""
        return tuple(self.target.shape[axis] for axis in _AXES)

    @lazily
    def _exact(self) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """The matrix, the offset, and along which axes of the source all voxels meet voxels."""
        whole: Any = np.linalg.solve(self.source.affine, self.target.affine)
        matrix: Floats = whole[:3, :3][np.ix_(_AXES, _AXES)]
        offset: Floats = whole[:3, 3][list(_AXES)]
        ends = np.array(self.target_shape) - 1
        # Along an axis of one voxel there is no step, but that voxel has a size.
        nearest, start = np.where(ends > 0, np.round(matrix), matrix), np.round(offset)
        off = np.abs(matrix - nearest) @ ends + np.abs(offset - start)
        on_grid: npt.NDArray[np.bool_] = np.asarray(off <= _SAME)
        matrix[on_grid] = nearest[on_grid]
        offset[on_grid] = start[on_grid] + 0.0
        return matrix, offset, on_grid

    @property
    def matrix(self) -> Floats:
        """From a step in the target to one in the source, in voxels, (slice, x, y)."""
        return self._exact[0]

    @property
    def offset(self) -> Floats:
        """Where the first voxel of the target lies in the source, in voxels, (slice, x, y)."""
        return self._exact[1]

    @property
    def on_grid(self) -> bool:
        """Whether each voxel of the target has its centre in that of one of the source."""
        return bool(self._exact[2].all())

    @lazily
    def same_voxels(self) -> bool:
        """Whether the voxels of both have one size too: cut, flipped or turned, no more."""
        steps = np.abs(self.matrix[:, np.array(self.target_shape) > 1])
        is_step = bool((steps.sum(axis=0) == 1).all() and (steps.max(axis=0) == 1).all())
        lengths = np.linalg.norm(self.matrix, axis=0)
        return self.on_grid and is_step and bool(np.abs(lengths - 1).max() <= _SAME)

    @lazily
    def is_inside(self) -> bool:
        """Whether the whole target lies in the source."""
        return bool(self._corners_inside(tuple((0, size) for size in self.target_shape)))

    def _corners(self, box: Box, reach: float = 0.0) -> Floats:
        """Return where the corners of a part of the target lie, shape (8, 3): centres of voxels."""
        ends = np.array(
            list(product(*((low - reach, high - 1 + reach) for low, high in box))), np.float64
        )
        return np.asarray(ends @ self.matrix.T + self.offset)

    def _corners_inside(self, box: Box) -> bool:
        corners = self._corners(box)
        high = np.array(self.source_shape) - 0.5 + _SAME
        return bool(((corners >= -0.5 - _SAME) & (corners <= high)).all())

    def needed(self, box: Box, margin: int, reach: float = 0.0) -> Box | None:
        """Return the part of the source from which a part of the target follows, None for none.

        Parameters
        ----------
        box : tuple of (int, int)
            The part of the target: first and end along (slice, x, y).
        margin : int
            How many voxels more of the source are wanted.
        reach : float
            How far beyond the centres of its outermost voxels the part goes, in voxels of it.
        """
        corners = self._corners(box, reach)
        sizes = np.array(self.source_shape)
        low, high = corners.min(axis=0), corners.max(axis=0)
        if bool((high < -0.5 - _SAME).any() or (low > sizes - 0.5 + _SAME).any()):
            return None
        first = np.clip(np.floor(low) - margin, 0, sizes - 1).astype(int)
        last = np.clip(np.ceil(high) + margin, 0, sizes - 1).astype(int)
        return tuple(zip(first.tolist(), (last + 1).tolist(), strict=True))

    def coordinates(self, box: Box) -> list[Floats]:
        """Return where a part of the target lies along each axis of the source, in voxels."""
        steps = np.ogrid[tuple(slice(low, high) for low, high in box)]
        return [
            self.offset[axis] + sum(self.matrix[axis, i] * step for i, step in enumerate(steps))
            for axis in range(3)
        ]

    def inside(self, box: Box) -> npt.NDArray[np.bool_]:
        """Return which voxels of a part of the target have their centre in the source."""
        shape = tuple(high - low for low, high in box)
        result = np.ones(shape, np.bool_)
        if self._corners_inside(box):
            return result
        for size, places in zip(self.source_shape, self.coordinates(box), strict=True):
            result &= (places >= -0.5 - _SAME) & (places <= size - 0.5 + _SAME)
        return result

    def slices_met(self) -> npt.NDArray[np.intp]:
        """Return the slices of the source between which those of the target lie.

        Returns
        -------
        ndarray of int, shape (slices of the target, 2)
            The first one, and the one after the last; equal where a slice lies outside.
        """
        slices, columns, rows = self.target_shape
        result = np.zeros((slices, 2), np.intp)
        last = self.source_shape[0] - 1
        for number in range(slices):
            box = ((number, number + 1), (0, columns), (0, rows))
            if self._corners_inside(box):
                places = self._corners(box)[:, 0]
            else:
                places = self.coordinates(box)[0][self.inside(box)]
            if len(places):
                low, high = np.floor(places.min() + _SAME), np.ceil(places.max() - _SAME)
                result[number] = np.clip([low, high], 0, last)
                result[number, 1] += 1
        return result


@dataclass(eq=False)
class Resampled:
    """Volumes on the grid of another, computed as they are indexed.

    An array for ``dask.array.from_array``. A block reads of the source the box that it needs, part
    by part where that is large.

    Parameters
    ----------
    volumes : array_like, shape (volumes, slices, columns, rows)
        Indexed by slices; it need not be in memory.
    voxels : VoxelMap
    method : {"nearest", "linear", "cubic", "area"}
        "area": whether `threshold` of a target voxel is covered by source voxels that are neither
        0 nor NaN, as 0 and 1 (uint8).
    threshold : float

    Notes
    -----
    Where all voxels of the target meet voxels of the source they are copied. NaN in the source
    makes NaN of what lies between it and its neighbours.

    Examples
    --------
    >>> source = Grid(np.eye(4), (3, 1, 1))
    >>> target = Grid(
    ...     np.array([[0.5, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), (5, 1, 1)
    ... )
    >>> ramp = np.array([10, 20, 30], np.int16).reshape(1, 1, 3, 1)
    >>> Resampled(ramp, VoxelMap(source, target))[0, 0, :, 0]
    array([20., 25., 30., 30., nan], dtype=float32)
    """

    volumes: Any
    voxels: VoxelMap
    method: Method = "linear"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        copies = self.voxels.same_voxels if self.method == "area" else self.voxels.on_grid
        self._method: Method = "nearest" if copies else self.method
        self.shape = (self.volumes.shape[0], *self.voxels.target_shape)
        self.ndim = 4
        dtype = np.dtype(self.volumes.dtype)
        if self.method == "area":
            dtype = np.dtype(np.uint8)
        elif dtype.kind != "f" and not (self._method == "nearest" and self.voxels.is_inside):
            # Wide integers are exact in float64 alone.
            dtype = np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
        self.dtype = dtype

    def __dask_tokenize__(self) -> Any:
        from dask.base import normalize_token

        voxels = self.voxels
        return normalize_token(
            (
                "dbdicom_xr.Resampled", self.volumes, voxels.matrix, voxels.offset,
                voxels.source_shape, voxels.target_shape, self.method, self.threshold,
            )
        )  # fmt: skip

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        result = self[:, :, :, :]
        return result if dtype is None else result.astype(dtype)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        parts = key if isinstance(key, tuple) else (key,)
        parts = (*parts, *(slice(None),) * (self.ndim - len(parts)))
        box: list[tuple[int, int]] = []
        again: list[Any] = []
        for part, size in zip(parts, self.shape, strict=True):
            if not isinstance(part, slice):
                number = range(size)[int(part)]
                box.append((number, number + 1))
                again.append(0)
                continue
            wanted = range(size)[part]
            first, last = (min(wanted), max(wanted)) if wanted else (0, -1)
            box.append((first, last + 1))
            again.append(slice(wanted[0] - first if wanted else 0, None, wanted.step))
        (start, stop), *place = box
        result = np.empty([high - low for low, high in box], self.dtype)
        if result.size:
            for piece in self._pieces(tuple(place)):
                at: list[Any] = [
                    slice(low - begin, high - begin)
                    for (low, high), (begin, _) in zip(piece, place, strict=True)
                ]
                for number in range(start, stop):
                    result[(number - start, *at)] = self._compute(number, piece)
        cut: npt.NDArray[Any] = result[tuple(again)]
        return cut

    def _needed(self, piece: Box) -> Box | None:
        reach = 0.5 if self._method == "area" else 0.0
        return self.voxels.needed(piece, _MARGIN[self._method], reach)

    def _pieces(self, box: Box) -> Iterator[Box]:
        """Cut a part of the target so that what a piece needs of the source is not too large."""
        needed = self._needed(box)
        sizes = np.array([high - low for low, high in box])
        if needed is None or sizes.max() == 1 or _count(needed) <= _VOXELS:
            yield box
            return
        axis = int((np.abs(self.voxels.matrix).max(axis=0) * (sizes - 1)).argmax())
        low, high = box[axis]
        middle = (low + high) // 2
        for ends in ((low, middle), (middle, high)):
            yield from self._pieces((*box[:axis], ends, *box[axis + 1 :]))

    def _compute(self, number: int, piece: Box) -> Any:
        """Return a part of one volume."""
        outside = 0 if self.method == "area" else np.nan
        needed = self._needed(piece)
        if needed is None:
            return outside
        volume = np.asarray(
            self.volumes[(slice(number, number + 1), *(slice(*ends) for ends in needed))]
        )[0]
        matrix = self.voxels.matrix
        offset = self.voxels.offset + matrix @ [low for low, _ in piece]
        offset = offset - [low for low, _ in needed]
        shape = tuple(high - low for low, high in piece)
        if self.method == "area":
            is_covered = (volume != 0) & (volume == volume)
            if self._method == "area":
                return _covered(is_covered, matrix, offset, shape) >= self.threshold - 1e-9
            volume = is_covered.astype(np.uint8)
        result = _interpolated(volume, matrix, offset, shape, self._method, self.dtype)
        inside = self.voxels.inside(piece)
        if not inside.all():
            result[~inside] = outside
        return result


def _count(box: Box) -> int:
    return int(np.prod([high - low for low, high in box], dtype=np.int64))


def _interpolated(
    volume: npt.NDArray[Any],
    matrix: Floats,
    offset: Floats,
    shape: tuple[int, ...],
    method: Method,
    dtype: np.dtype[Any],
) -> npt.NDArray[Any]:
    """Return the values at places of a volume; beyond its edge, those at the edge."""

    def at_places(values: npt.NDArray[Any], order: int, kind: np.dtype[Any]) -> npt.NDArray[Any]:
        result: npt.NDArray[Any] = ndimage.affine_transform(
            values, matrix, offset, shape, kind, order, mode="mirror" if order > 1 else "nearest"
        )
        return result

    order = _ORDERS[method]
    missing = np.isnan(volume) if order and volume.dtype.kind == "f" else np.zeros(1, np.bool_)
    if not missing.any():
        return at_places(volume, order, dtype)
    if missing.all():
        return np.full(shape, np.nan, dtype)
    # NaN times a weight of 0 is NaN, and a spline would carry it everywhere.
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    result = at_places(volume[tuple(nearest)], order, dtype)
    touched = at_places(missing.astype(np.float32), 1, np.dtype(np.float32))
    result[touched > _SAME] = np.nan
    return result


def _covered(
    mask: npt.NDArray[np.bool_], matrix: Floats, offset: Floats, shape: tuple[int, ...]
) -> Floats:
    """Return which part of each voxel is covered by voxels of a mask."""
    result = np.zeros(shape)
    if not mask.any():
        return result
    first, last = _reach(mask, matrix, offset, shape)
    size = tuple((last - first).tolist())
    if 0 in size:
        return result
    values = np.pad(mask, 1).astype(np.uint8)  # what is beyond the edge is not covered
    extent = np.abs(matrix).max(axis=0)
    samples = np.clip(2 * np.ceil(_SAMPLES / 2 * extent - _SAME), 2, _MOST_SAMPLES).astype(int)
    sums = np.zeros(size, np.uint16)
    one = np.empty(size, np.uint8)
    for at in product(*((np.arange(count) + 0.5) / count - 0.5 for count in samples.tolist())):
        start = offset + 1 + matrix @ (first + np.array(at))
        ndimage.affine_transform(values, matrix, start, size, one, order=0, mode="constant")
        sums += one
    result[tuple(map(slice, first, last))] = sums / samples.prod()
    return result


def _reach(
    mask: npt.NDArray[np.bool_], matrix: Floats, offset: Floats, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the first and the end of the voxels that a mask may cover."""
    if np.linalg.matrix_rank(matrix) < 3:  # all voxels are in one of the mask
        return np.zeros(3, np.intp), np.array(shape, np.intp)
    filled = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    ends = np.array(list(product(*((one[0] - 0.5, one[-1] + 0.5) for one in filled))))
    places = np.linalg.solve(matrix, (ends - offset).T)
    first = np.clip(np.floor(places.min(axis=1)), 0, shape).astype(np.intp)
    last = np.clip(np.ceil(places.max(axis=1)) + 1, first, shape).astype(np.intp)
    return first, last
