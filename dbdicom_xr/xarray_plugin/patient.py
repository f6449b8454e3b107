"""Patient coordinates of an array, worked out from its affine when they are asked for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr
from xarray.core.indexing import IndexSelResult
from xarray.indexes import CoordinateTransform, CoordinateTransformIndex

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.geometry.affine import sub_grid
from dbdicom_xr.geometry.planes import Floats
from dbdicom_xr.xarray_plugin.space import Placed

__all__ = ["PatientIndex", "PatientTransform", "with_patient_coordinates"]

_NAMES: Final = ("X", "Y", "Z")
_ABOUT: Final = ("towards the left", "towards the back", "towards the head")
# Of a voxel: a point on the face between two voxels belongs to one of them, whatever the rounding.
_HALF: Final = 0.5 + 1e-9


def with_patient_coordinates(array: xr.DataArray, place: Placed) -> xr.DataArray:
    """Return an array with the coordinates X, Y and Z."""
    taken = [name for name in _NAMES if name in array.dims]
    if taken:
        raise InvalidValue(f"The array has a dimension {taken[0]}, which is to be a coordinate.")
    dims = tuple(
        dim if dim is not None and dim in array.dims else None
        for dim in ("x", "y", place.slice_dim)
    )
    sizes = {dim: array.sizes[dim] for dim in dims if dim is not None}
    index = PatientIndex(PatientTransform(place.affine, dims, sizes))
    coords = xr.Coordinates.from_xindex(index)
    result = array.drop_vars(_NAMES, errors="ignore").assign_coords(coords)
    for name, about in zip(_NAMES, _ABOUT, strict=True):
        result[name].attrs.update(
            {"long_name": f"patient coordinate {about}", "units": "mm", "space": "LPS"}
        )
    return result


class PatientTransform(CoordinateTransform):
    """From indices along the dimensions of an array to patient coordinates (LPS, mm).

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4)
    axes : tuple of str or None
        The dimensions for x, y and slice; None for one that the array does not have, which is at
        index 0.
    sizes : mapping
        Of the dimensions.
    """

    def __init__(
        self, affine: Floats, axes: tuple[str | None, ...], sizes: Mapping[str, int]
    ) -> None:
        present = [axis for axis in axes if axis is not None]
        super().__init__(_NAMES, {dim: sizes[dim] for dim in present})
        self.affine = affine
        # By place in `dims`, which xarray renames.
        self.columns = [number for number, axis in enumerate(axes) if axis is not None]

    def forward(self, dim_positions: dict[str, Any]) -> dict[Hashable, Any]:
        """Return the patient coordinates at indices."""
        indices = [dim_positions[dim] for dim in self.dims]
        return {
            name: sum(
                (
                    self.affine[row, column] * np.asarray(index)
                    for column, index in zip(self.columns, indices, strict=True)
                ),
                start=self.affine[row, 3],
            )
            for row, name in enumerate(self.coord_names)
        }

    def voxels(self, coord_labels: Mapping[Hashable, Any]) -> Floats:
        """Return the indices x, y and slice at patient coordinates, shape (3, ...)."""
        points = np.stack(np.broadcast_arrays(*(coord_labels[name] for name in self.coord_names)))
        moved = points.astype(np.float64).reshape(3, -1) - self.affine[:3, 3:]
        found = np.linalg.solve(self.affine[:3, :3], moved)
        return np.asarray(found.reshape(points.shape), np.float64)

    def reverse(self, coord_labels: dict[Hashable, Any]) -> dict[str, Any]:
        """Return the indices at patient coordinates."""
        found = self.voxels(coord_labels)
        return {dim: found[column] for dim, column in zip(self.dims, self.columns, strict=True)}

    def equals(
        self, other: CoordinateTransform, *, exclude: frozenset[Hashable] | None = None
    ) -> bool:
        """Return whether another transform gives the same coordinates."""
        return (
            isinstance(other, PatientTransform)
            and self.dims == other.dims
            and self.columns == other.columns
            and self.dim_size == other.dim_size
            and bool(np.allclose(self.affine, other.affine, rtol=0, atol=1e-6))
        )

    def part(self, indexers: Mapping[Any, Any]) -> PatientTransform | None:
        """Return the transform of a part of the array; None where it is not an even grid."""
        axes: list[str | None] = [None] * 3
        start, step, sizes = np.zeros(3), np.ones(3), {}
        for dim, column in zip(self.dims, self.columns, strict=True):
            wanted = indexers.get(dim, slice(None))
            if isinstance(wanted, slice):
                chosen = range(self.dim_size[dim])[wanted]
                if not chosen:
                    return None
                axes[column], sizes[dim] = dim, len(chosen)
                start[column], step[column] = chosen.start, chosen.step
            elif np.ndim(wanted) == 0:
                start[column] = range(self.dim_size[dim])[int(wanted)]
            else:
                return None
        if not sizes:
            return None
        return PatientTransform(sub_grid(self.affine, start, step), tuple(axes), sizes)


class PatientIndex(CoordinateTransformIndex):
    """Selects voxels by patient coordinates, and stays in place when the array is cut."""

    transform: PatientTransform

    def isel(self, indexers: Mapping[Any, Any]) -> PatientIndex | None:
        """Return the index of a part of the array."""
        part = self.transform.part(indexers)
        return None if part is None else PatientIndex(part)

    def join(self, other: Any, how: Any = "inner") -> PatientIndex:
        """Refuse: arrays of different places have no voxels in common.

        Raises
        ------
        InvalidValue
            Always.
        """
        raise InvalidValue(
            "The voxels of the arrays lie at different places in the patient, so that X, Y and Z "
            "do not align. array.drop_vars(['X', 'Y', 'Z']) goes by the other labels instead."
        )

    def sel(
        self, labels: dict[Any, Any], method: Any = None, tolerance: Any = None
    ) -> IndexSelResult:
        """Return the voxels that hold points.

        Parameters
        ----------
        labels : dict
            X, Y and Z: three numbers, or three ``DataArray`` of the same dimensions.
        method : {"nearest"}
        tolerance : float, optional
            How far a point may be from the centre of its voxel, mm.

        Raises
        ------
        KeyError
            A point lies outside the array.
        """
        if method != "nearest":
            raise InvalidValue('Points are between voxels: say method="nearest".')
        missing = [str(name) for name in self.transform.coord_names if name not in labels]
        if missing:
            raise InvalidValue(f"A point has three coordinates: {' and '.join(missing)} missing.")
        points = {name: _point(name, label) for name, label in labels.items()}
        dims = {point.dims for point in points.values()}
        if len(dims) > 1:
            raise InvalidValue(
                f"X, Y and Z are over several dimensions, {_listed(dims)}: give points as three "
                "DataArrays over one."
            )
        values = {name: point.to_numpy() for name, point in points.items()}
        found = self.transform.voxels(values)
        voxels = np.ceil(found - _HALF).astype(np.int64)
        sizes = np.ones(3, np.int64)
        for dim, column in zip(self.transform.dims, self.transform.columns, strict=True):
            sizes[column] = self.transform.dim_size[dim]
        bounds = sizes.reshape(3, *(1,) * (found.ndim - 1))
        outside = ~((found >= -_HALF) & (found <= bounds - 1 + _HALF)).all(axis=0)
        if tolerance is not None:
            off = np.tensordot(self.transform.affine[:3, :3], found - voxels, axes=1)
            outside |= np.linalg.norm(off, axis=0) > tolerance
        if outside.any():
            at = np.argwhere(outside)[0]
            point = [float(values[name][tuple(at)]) for name in self.transform.coord_names]
            raise KeyError(
                f"{int(outside.sum())} points lie outside the voxels of the array, such as "
                f"X, Y, Z = {point} mm"
            )
        voxels = np.clip(voxels, 0, bounds - 1)
        over = next(iter(dims))
        return IndexSelResult(
            {
                dim: xr.Variable(over, voxels[column])
                for dim, column in zip(self.transform.dims, self.transform.columns, strict=True)
            }
        )


def _point(name: Hashable, label: Any) -> xr.Variable:
    if isinstance(label, xr.DataArray):
        return label.variable
    if isinstance(label, xr.Variable):
        return label
    if np.ndim(label) or not isinstance(label, (int, float, np.number)):
        raise InvalidValue(
            f"{name} is {label!r}: give a point as three numbers, and several points as three "
            "DataArrays over one dimension."
        )
    return xr.Variable((), float(label))


def _listed(dims: Iterable[tuple[Hashable, ...]]) -> str:
    return " and ".join(sorted(str(one) for one in dims))
