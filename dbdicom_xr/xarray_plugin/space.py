"""Where the voxels of an array lie in the patient.

The planes come from the headers of the frames, the place of the array within them from its
coordinates ``x`` and ``y``, and which dimension counts slices from the positions, not from names.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.errors import GridError, InvalidValue, MixedGeometry
from dbdicom_xr.geometry.affine import sub_grid, tilt_warning
from dbdicom_xr.geometry.planes import Floats, Planes
from dbdicom_xr.geometry.stacks import SAME_PLACE, locations_of, stack_affine
from dbdicom_xr.records.attributes.slices import planes_of
from dbdicom_xr.records.reading.agreement import contradiction, is_told
from dbdicom_xr.records.reading.header import Header
from dbdicom_xr.records.reading.provenance import (
    Between,
    knows_frames,
    labelled_frames,
    source_of,
)

__all__ = ["Placed", "placed", "warn_of_tilt"]

_STRAIGHT: Final = 1e-3  # of a step, for x and y, which are exact but for coarsening


@dataclass(frozen=True)
class Placed:
    """An array in space.

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4)
        From indices along ``x``, ``y`` and the slice dimension to LPS, mm.
    slice_dim : str or None
        The dimension along which the planes lie behind each other; None for a single plane.
    """

    affine: Floats
    slice_dim: str | None


@dataclass(frozen=True)
class _Frames:
    """The frames behind an array: their planes, and their index along each dimension."""

    planes: Planes
    places: Mapping[str, npt.NDArray[Any]]
    exact: bool  # whether these are the frames, and not those that may have taken part


def placed(array: xr.DataArray, header: Header | None) -> Placed:
    """Return where an array lies in the patient.

    Parameters
    ----------
    array : xarray.DataArray
    header : Header or None
        Its frames; None: those that it was read from.

    Raises
    ------
    GridError
        The planes are not those of one even grid, or what is known of them is ambiguous.
    NotInDatabase
        The array does not tell where it is from.
    """
    if header is not None:
        frames = _of_header(array, header)
    elif knows_frames(array):
        frames = _of_coordinates(array)
    else:
        frames = _of_labels(array)
    sizes = {str(dim): size for dim, size in array.sizes.items()}
    slice_dim, first = _slices(frames, sizes)
    planes = frames.planes.take(first)
    affine = stack_affine(planes)
    rows, columns = planes.pixel_spacing[0].tolist()
    start_x, step_x = _along(array, "x", columns)
    start_y, step_y = _along(array, "y", rows)
    return Placed(sub_grid(affine, [start_x, start_y, 0], [step_x, step_y, 1]), slice_dim)


def warn_of_tilt(affine: Floats, stacklevel: int) -> None:
    """Warn where slices are shifted against each other, so that voxels are no boxes."""
    notice = tilt_warning(affine)
    if notice is not None:
        warnings.warn(notice, MixedGeometry, stacklevel=stacklevel + 1)


def _of_coordinates(array: xr.DataArray) -> _Frames:
    source = source_of(array)
    if not is_told(array, source) or contradiction(array, source) is not None:
        found = _of_labels(array)
        name = contradiction(array, source, lengths_only=True)
        if name is not None and array.coords["frame"].dtype.kind != "f":
            raise GridError(
                f"The labels {name} of this array are others than those of the images that its "
                "coordinate SOPInstanceUID names, so that two places contradict each other. If "
                f"the images are right: array.drop_vars({name!r}). If the labels are: "
                'array.drop_vars(["SOPInstanceUID", "frame"]).'
            )
        return found
    flat = source.rows.ravel()
    cells = np.flatnonzero(flat >= 0)
    planes = planes_of(source.table, flat[cells])
    return _Frames(planes, _places(cells, source.rows.shape, source.dims, array), True)


def _of_header(array: xr.DataArray, header: Header) -> _Frames:
    if header.dims is None:
        raise InvalidValue(
            "The dimensions of this header are not known: it was reordered by numpy. Use isel or "
            "sel on the header of the array instead."
        )
    _require_match(array, header, header.dims)
    parts = header._where()
    if not parts:
        raise GridError("The header holds no frames, only gaps.")
    cells = np.concatenate([cells for _, cells, _ in parts])
    found = [planes_of(table, rows) for table, _, rows in parts]
    planes = Planes(
        np.concatenate([one.position for one in found]),
        np.concatenate([one.orientation for one in found]),
        np.concatenate([one.pixel_spacing for one in found]),
        np.concatenate([one.step for one in found]),
    )
    order = np.argsort(cells)
    places = _places(cells[order], header.shape, header.dims, array)
    return _Frames(planes.take(order), places, True)


def _require_match(array: xr.DataArray, header: Header, dims: tuple[str, ...]) -> None:
    """Raise where the header is that of another part of the series than the array."""
    for dim, size in zip(dims, header.shape, strict=True):
        if dim not in array.dims:
            continue
        if array.sizes[dim] != size:
            raise InvalidValue(
                f"The header has {size} frames along {dim}, and the array {array.sizes[dim]}: "
                "select from the header what was selected from the array."
            )
        if dim not in array.coords or dim not in header.coords:
            continue
        own, (over, theirs) = array.coords[dim], header.coords[dim]
        if own.dims == over and not bool(np.array_equal(own.to_numpy(), theirs)):
            raise InvalidValue(f"The array and the header have other labels along {dim}.")


def _places(
    cells: npt.NDArray[Any], shape: tuple[int, ...], dims: tuple[str, ...], array: xr.DataArray
) -> dict[str, npt.NDArray[Any]]:
    """Return the index of each frame along the dimensions of the array."""
    along = np.unravel_index(cells, shape) if shape else ()
    return {dim: at for dim, at in zip(dims, along, strict=True) if dim in array.dims}


def _of_labels(array: xr.DataArray) -> _Frames:
    found = labelled_frames(array)
    planes = planes_of(found.table, found.rows)
    for labels in found.between:
        return _interpolated(planes, labels)
    return _Frames(planes, found.places, False)


def _interpolated(planes: Planes, between: Between) -> _Frames:
    """Return planes at labels between those of frames, where place follows from the label."""
    locations_of(planes)  # raises where the planes are not parallel
    values, position = between.values, planes.position
    low, high = int(values.argmin()), int(values.argmax())
    name, labels = between.name, between.labels
    beyond = (labels < values[low] - SAME_PLACE) | (labels > values[high] + SAME_PLACE)
    if beyond.any():
        raise GridError(
            f"{name} {labels[beyond][0]:.6g} lies outside the slices of the series, which go from "
            f"{values[low]:.6g} to {values[high]:.6g} mm, so that its place is not known."
        )
    along = (position[high] - position[low]) / (values[high] - values[low])
    off = position - (position[low] + (values - values[low])[:, None] * along)
    if float(np.abs(off).max()) > SAME_PLACE:
        raise GridError(
            f"The array has values of {name} between those of the series, whose places do not "
            "follow from them in a straight line."
        )
    first = planes.take(np.full(len(labels), low))
    moved = replace(first, position=position[low] + (labels - values[low])[:, None] * along)
    places = {} if between.dim is None else {between.dim: np.arange(len(labels))}
    return _Frames(moved, places, False)


def _slices(frames: _Frames, sizes: Mapping[str, int]) -> tuple[str | None, npt.NDArray[Any]]:
    """Return the slice dimension, and for each index along it a frame that lies there."""
    locations = locations_of(frames.planes)
    position = frames.planes.position
    if bool((np.ptp(position, axis=0) <= SAME_PLACE).all()):
        _refuse_copies(frames, sizes)
        return None, np.array([0])
    found = [dim for dim, at in frames.places.items() if _spread(position, at) <= SAME_PLACE]
    if len(found) > 1:
        # Where each slice has times of its own, its place follows from the time too: the slices
        # are along the dimension on which no place is met twice.
        found = [dim for dim in found if _is_apart(locations, frames.places[dim])]
    if len(found) != 1:
        raise GridError(_why_no_dimension(frames, locations, found))
    dim = found[0]
    present, first = np.unique(frames.places[dim], return_index=True)
    if len(present) < sizes[dim]:
        gap = int(np.setdiff1d(np.arange(sizes[dim]), present)[0])
        raise GridError(
            f"There is no frame at position {gap} along {dim}, so that the place of that slice is "
            "not known."
        )
    return dim, first


def _spread(values: Floats, groups: npt.NDArray[Any]) -> float:
    """Return how far apart the rows of one group are at most, along any axis."""
    count = int(groups.max()) + 1
    low = np.full((count, values.shape[1]), np.inf)
    high = np.full((count, values.shape[1]), -np.inf)
    np.minimum.at(low, groups, values)
    np.maximum.at(high, groups, values)
    return float((high - low).max())


def _is_apart(locations: Floats, groups: npt.NDArray[Any]) -> bool:
    _, first = np.unique(groups, return_index=True)
    return bool((np.diff(np.sort(locations[first])) > SAME_PLACE).all())


def _refuse_copies(frames: _Frames, sizes: Mapping[str, int]) -> None:
    if sizes.get("SliceLocation", 1) > 1 and frames.exact:
        raise GridError(
            f"The array has {sizes['SliceLocation']} values of SliceLocation, but all frames are "
            "at one ImagePositionPatient: the header contradicts itself."
        )


def _why_no_dimension(frames: _Frames, locations: Floats, found: list[str]) -> str:
    count = 1 + int((np.diff(np.sort(locations)) > SAME_PLACE).sum())
    if found:
        return (
            f"The slices lie along {' and along '.join(found)} alike, so that there is no one "
            "slice dimension. Select along one of them first."
        )
    if not frames.exact:
        return (
            f"The frames that this array may have been made from lie at {count} places along their "
            "normal, and its labels do not tell which. A projection along the slices has no place "
            "of its own; for any other array give the header that fits it: "
            "array.dicom.get_affine(header=header)."
        )
    dims = ", ".join(frames.places) or "none"
    return (
        f"The frames lie at {count} places along their normal, but along no dimension of the array "
        f"({dims}) does each index stand for one place: ImagePositionPatient varies along several. "
        "Sort by SliceLocation, or select one index along the dimensions that move the images."
    )


def _along(array: xr.DataArray, dim: str, spacing: float) -> tuple[float, float]:
    """Return where the pixels of an array start, and their step, in pixels of the images."""
    # Indexing makes up numbers for a dimension that has no labels.
    if dim not in array.coords or array.coords[dim].dims not in ((), (dim,)) or not array.size:
        raise GridError(
            f"The array has no coordinate {dim} along its dimension {dim}, which tells the part of "
            "the images that it covers."
        )
    coord = array.coords[dim]
    units = coord.attrs.get("units")
    if units not in ("mm", "pixel"):
        raise GridError(
            f"The coordinate {dim} has the units {units!r}, so that the part of the images that "
            f"the array covers is not known. If it counts mm from the centre of the first pixel, "
            f"say so: array.{dim}.attrs['units'] = 'mm'."
        )
    places = coord.to_numpy().reshape(-1).astype(np.float64) / (spacing if units == "mm" else 1.0)
    if len(places) == 1:
        return float(places[0]), 1.0
    step = float(places[-1] - places[0]) / (len(places) - 1)
    off = float(np.abs(places - (places[0] + np.arange(len(places)) * step)).max())
    if step == 0 or not off <= _STRAIGHT * abs(step):  # so that NaN is refused
        raise GridError(
            f"The coordinate {dim} is not evenly spaced: one affine is for even steps. Select the "
            "pixels with a slice."
        )
    return float(places[0]), step
