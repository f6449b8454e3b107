"""Two arrays on common coordinates: labels matched within what is one value, planes compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.arrays.align import SortKey
from dbdicom_xr.arrays.coordinates import default_tolerance, round_lengths
from dbdicom_xr.errors import DbdicomError, GridError, InvalidValue
from dbdicom_xr.geometry.planes import Floats, positions_along_normal
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.slices import planes_of
from dbdicom_xr.records.reading.new_labels import attribute_of
from dbdicom_xr.records.reading.provenance import matched
from dbdicom_xr.records.reading.sources import Sources, sources_of

__all__ = ["aligned"]

_JOINS: Final = ("inner", "outer", "left", "right", "exact")
_SLICES: Final = "SliceLocation"
_RELATIVE: Final = 1e-6
_ROUNDING: Final = 1e-12
_SAME_PLACE: Final = 1e-3  # mm
_SAME_SIZE: Final = 1e-4  # of a pixel
_SAME_DIRECTION: Final = 1e-4  # of a unit vector: 0.01 mm at 100 mm
_MAP_TO: Final = (
    "series.map_to(other_series) brings images to the planes of others, also from another frame of "
    "reference."
)


@dataclass(frozen=True)
class _Place:
    """Where the images of an array lie.

    Parameters
    ----------
    frames : set of str
        Their FrameOfReferenceUID.
    planes : DataArray, dims (..., number)
        Per image: the lowest and the highest ImagePositionPatient of the frames that it is made of,
        then ImageOrientationPatient, shape (..., 12).
    present : DataArray of bool
        Where there are images, and no gaps.
    spacing : dict
        How far apart the pixels are along ``x`` and ``y``, mm, where that is the same for all.
    """

    frames: set[str]
    planes: xr.DataArray
    present: xr.DataArray
    spacing: dict[str, float]


def aligned(
    array: xr.DataArray, other: Any, join: str, tolerance: float | None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return two arrays on common coordinates; see ``DicomAccessor.align``."""
    if not isinstance(other, xr.DataArray):
        raise InvalidValue(
            f"An array is aligned with another one, not with an object of type "
            f"{type(other).__name__}: other_series.array(...)[0] gives that of a series."
        )
    if join not in _JOINS:
        raise InvalidValue(f"join is {join!r}; it is one of {', '.join(map(repr, _JOINS))}.")
    if tolerance is not None and not 0 <= tolerance < np.inf:
        raise InvalidValue(f"tolerance is {tolerance!r}; it is a number from 0.")
    try:
        found = _aligned(array, other, join, tolerance)
    except GridError:
        # Devices count SliceLocation from where they like, and in the direction that they like.
        one, two = _both_by_place(array, other)
        if one is array and two is other:
            raise
        try:
            return _aligned(one, two, join, tolerance)
        except GridError as by_place:
            if (
                join == "exact"
                and not _have_common(array, other, tolerance)
                and _have_common(one, two, tolerance)
            ):  # what is in one only are some of the slices, not all
                raise by_place from None
        raise  # what is wrong with the labels that a person sees
    if _SLICES not in array.indexes or _SLICES not in other.indexes:
        return found
    matches = _common_slices(array, other, tolerance)
    if matches == min(array.sizes[_SLICES], other.sizes[_SLICES]):
        return found
    # Counted the other way round, one slice has the same label in both.
    try:
        one, two = _both_by_place(array, other)
        if _common_slices(one, two, tolerance) > matches:
            return _aligned(one, two, join, tolerance)
    except GridError:
        pass
    return found


def _both_by_place(array: xr.DataArray, other: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return two arrays, slices labelled by their places where that can be."""
    placed, other_placed = _labelled_by_place(array), _labelled_by_place(other)
    return (
        array if placed is None else placed,
        other if other_placed is None else other_placed,
    )


def _common_slices(array: xr.DataArray, other: xr.DataArray, tolerance: float | None) -> int:
    moved = _moved_labels(other, array, tolerance)
    return int(array.indexes[_SLICES].isin(moved.indexes[_SLICES]).sum())


def _have_common(array: xr.DataArray, other: xr.DataArray, tolerance: float | None) -> bool:
    try:
        _aligned(array, other, "inner", tolerance)
    except GridError:
        return False
    return True


def _aligned(
    array: xr.DataArray, other: xr.DataArray, join: str, tolerance: float | None
) -> tuple[xr.DataArray, xr.DataArray]:
    if join == "right":
        array = _moved_labels(array, other, tolerance)
    else:
        other = _moved_labels(other, array, tolerance)
    _require_common(array, other)
    if join == "exact":
        _require_equal(array, other)
    _require_same_planes(array, other, tolerance)
    kind = cast(Literal["inner", "outer", "left", "right", "exact"], join)
    return xr.align(array, other, join=kind, copy=False)


# -- labels ---------------------------------------------------------------------------------------


def _shared(array: xr.DataArray, other: xr.DataArray) -> list[str]:
    return [str(dim) for dim in array.dims if dim in other.dims]


def _moved_labels(array: xr.DataArray, onto: xr.DataArray, tolerance: float | None) -> xr.DataArray:
    """Return an array whose labels are those of another one where they are the same value."""
    moved = {}
    for dim in _shared(array, onto):
        if dim not in array.indexes or dim not in onto.indexes:
            continue
        own, theirs = array.coords[dim], onto.coords[dim]
        if {own.dtype.kind, theirs.dtype.kind} not in ({"f"}, {"f", "i"}, {"f", "u"}):
            continue  # whole numbers, times and text are equal or are not
        values, labels = own.to_numpy(), theirs.to_numpy()
        if not labels.size or np.array_equal(values, labels):
            continue
        slack = _slack(attribute_of(dim, theirs), dim, values, tolerance)
        present = np.ones(values.size, np.bool_)
        places = matched(SortKey(dim, values, present, slack, None), labels)  # type: ignore[arg-type]
        found = (places >= 0) & (np.abs(values - labels[places]) <= slack + _ROUNDING)
        taken, counts = np.unique(places[found], return_counts=True)
        if (counts > 1).any():
            label = labels[taken[np.argmax(counts > 1)]]
            raise GridError(
                f"Several labels {dim} of one array are within the tolerance of {label:g} in the "
                "other one: give a smaller tolerance."
            )
        values = values.astype(np.result_type(values, labels))
        values[found] = labels[places[found]]
        moved[dim] = (dim, values, own.attrs)
    return array.assign_coords(moved) if moved else array


def _labelled_by_place(array: xr.DataArray) -> xr.DataArray | None:
    """Return an array whose slices are labelled by their position along the normal.

    None where they are already, or their labels are not these counted from elsewhere.
    """
    if _SLICES not in array.indexes:
        return None
    planes = _place(array, "an array").planes.transpose(_SLICES, ...)
    flat = planes.to_numpy().reshape(array.sizes[_SLICES], -1, 12)
    filled = ~np.isnan(flat).any(axis=2)
    if not filled.any(axis=1).all():
        return None
    first = flat[np.arange(len(flat)), filled.argmax(axis=1)]
    if bool((np.abs(flat - first[:, None])[filled] > _SAME_PLACE).any()):
        return None
    places = positions_along_normal((first[:, :3] + first[:, 3:6]) / 2, first[:, 6:])
    if places is None:
        return None
    own = array.coords[_SLICES].to_numpy()
    is_counted = min(np.ptp(places - own), np.ptp(places + own)) <= 2 * _SAME_PLACE
    if not is_counted or np.abs(places - own).max() <= _SAME_PLACE:
        return None  # labels that say something else, or the same
    labels = (_SLICES, round_lengths(places), array.coords[_SLICES].attrs)
    return array.assign_coords({_SLICES: labels})


def _slack(name: str, dim: str, values: npt.NDArray[Any], tolerance: float | None) -> Floats:
    """Return how far from each label one may be that is the same."""
    if tolerance is not None:
        return np.full(values.size, float(tolerance))
    absolute = _SAME_PLACE if dim in ("x", "y") else default_tolerance(name)
    return np.maximum(absolute, _RELATIVE * np.abs(values.astype(np.float64)))


def _require_common(array: xr.DataArray, other: xr.DataArray) -> None:
    """Raise where a dimension has no label in common, or no labels and other sizes."""
    for dim in _shared(array, other):
        if dim not in array.indexes or dim not in other.indexes:
            if array.sizes[dim] != other.sizes[dim]:
                raise GridError(
                    f"The arrays have {array.sizes[dim]} and {other.sizes[dim]} images along "
                    f"{dim}, which has no labels to match: select along it first."
                )
            continue
        own, theirs = array.indexes[dim], other.indexes[dim]
        if dim in ("x", "y"):
            _require_same_step(dim, array.coords[dim], other.coords[dim])
        if len(own) and len(theirs) and not own.isin(theirs).any():
            raise GridError(
                f"The arrays have no label {dim} in common: {_span(own)}, and {_span(theirs)}. "
                + (_MAP_TO if dim in ("x", "y", "SliceLocation") else _away(dim))
            )


def _away(dim: str) -> str:
    return f"What is to be compared all the same is selected or reduced first: isel({dim}=...)."


def _span(labels: Any) -> str:
    if len(labels) == 1:
        return f"{labels[0]}"
    return f"{len(labels)} labels from {min(labels)} to {max(labels)}"


def _require_same_step(dim: str, own: xr.DataArray, theirs: xr.DataArray) -> None:
    if own.size < 2 or theirs.size < 2 or own.dtype.kind not in "iuf":
        return
    steps = [float(np.median(np.abs(np.diff(one.to_numpy())))) for one in (own, theirs)]
    _require_same_size(dim, *steps)


def _require_same_size(dim: str, own: float | None, theirs: float | None) -> None:
    if own is not None and theirs is not None and abs(own - theirs) > _SAME_SIZE * own:
        raise GridError(
            f"The pixels of the arrays are {own:g} and {theirs:g} mm apart along {dim}, so "
            f"that they are not those of the same places. {_MAP_TO}"
        )


def _require_equal(array: xr.DataArray, other: xr.DataArray) -> None:
    for dim in _shared(array, other):
        if dim not in array.indexes or dim not in other.indexes:
            continue
        own, theirs = array.indexes[dim], other.indexes[dim]
        if not own.equals(theirs):
            only = [*own.difference(theirs), *theirs.difference(own)]
            what = f"{only[0]} is in one of them only" if only else "they are in another order"
            raise GridError(
                f'The arrays have other labels {dim}: {what}. join="inner" takes what both have.'
            )


# -- planes ---------------------------------------------------------------------------------------


def _require_same_planes(array: xr.DataArray, other: xr.DataArray, tolerance: float | None) -> None:
    """Raise where images of the same labels lie at other places."""
    own, theirs = _place(array, "this array"), _place(other, "the other array")
    if own.frames and theirs.frames and own.frames != theirs.frames:
        one, two = (sorted(frames)[0] for frames in (own.frames, theirs.frames))
        raise GridError(
            f"The arrays have other frames of reference (FrameOfReferenceUID), {one} and {two}: "
            f"the patient may have moved between them. {_MAP_TO}"
        )
    for dim in ("x", "y"):
        # The labels of a single row or column do not tell it.
        if dim in _shared(array, other) and min(array.sizes[dim], other.sizes[dim]) < 2:
            _require_same_size(dim, own.spacing.get(dim), theirs.spacing.get(dim))
    first, second = xr.broadcast(*xr.align(own.planes, theirs.planes, join="inner"))
    present = own.present & theirs.present
    limits = np.repeat([_SAME_PLACE if tolerance is None else tolerance, _SAME_DIRECTION], 6)
    unknown = first.isnull() != second.isnull()
    far: xr.DataArray = abs(first - second) > xr.DataArray(limits, dims="number")
    off = (far | unknown) & present
    # Directions first: slices of another direction are at other places too.
    for part, keyword in ((slice(6, 12), "ImageOrientationPatient"),
                          (slice(0, 6), "ImagePositionPatient")):  # fmt: skip
        wrong = off.isel(number=part).any("number")
        if not bool(wrong.any()):
            continue
        at = np.unravel_index(int(np.argmax(wrong.to_numpy())), wrong.shape)
        place = dict(zip(wrong.dims, map(int, at), strict=True))
        where = ", ".join(
            f"{dim} {wrong.coords[dim].to_numpy()[i]}" if dim in wrong.coords else f"{dim} {i}"
            for dim, i in place.items()
            if not bool((wrong.any(str(dim)) == wrong.all(str(dim))).all())
        )
        values = [
            one.isel(place).isel(number=part).to_numpy()[: 6 if part.start else 3]
            for one in (first, second)
        ]
        raise GridError(
            f"The images of the arrays lie in other planes: {keyword}"
            f"{f' at {where}' if where else ''} is {_vector(values[0])} and {_vector(values[1])}. "
            f"{_MAP_TO}"
        )


def _vector(values: Floats) -> str:
    if bool(np.isnan(values).all()):
        return "not known"
    return f"({', '.join(f'{value:.6g}' for value in values)})"


def _place(array: xr.DataArray, which: str) -> _Place:
    try:
        found = sources_of(array)
    except DbdicomError as error:
        raise type(error)(
            f"Where {which} lies is not known: {error} If its labels are known to mean the same "
            "places, xr.align(array, other) compares nothing but labels."
        ) from error
    uids = found.common_values(parse_name("FrameOfReferenceUID"))
    frames = {str(uid) for uid in uids.tolist() if uid is not None}
    numbers = np.concatenate(
        [
            _per_image(found, np.minimum.reduceat, "position"),
            _per_image(found, np.maximum.reduceat, "position"),
            _per_image(found, np.minimum.reduceat, "orientation"),
        ],
        axis=1,
    ).reshape(*found.shape, 12)
    labels = {dim: array.coords[dim] for dim in found.dims if dim in array.indexes}
    bare = {dim: (dim, one.to_numpy()) for dim, one in labels.items() if one.dims == (dim,)}
    present = (found.counts > 0).reshape(found.shape)
    low, high = (
        _per_image(found, reduce, "pixel_spacing")
        for reduce in (np.minimum.reduceat, np.maximum.reduceat)
    )
    low, high = low[found.counts > 0].min(axis=0), high[found.counts > 0].max(axis=0)
    same = high - low <= _SAME_SIZE * low  # false where one is not known
    spacing = {dim: float(low[i]) for i, dim in enumerate(("y", "x")) if same[i]}
    return _Place(
        frames,
        xr.DataArray(numbers, dims=(*found.dims, "number"), coords=bare),
        xr.DataArray(present, dims=found.dims, coords=bare),
        spacing,
    )


def _per_image(
    found: Sources, reduce: Callable[[Floats, npt.NDArray[np.intp]], Floats], part: str
) -> Floats:
    """Return positions, directions or spacings of the frames of each image, NaN in gaps."""
    width = {"position": 3, "orientation": 6, "pixel_spacing": 2}[part]
    every = np.full((len(found.rows), width), np.nan)
    for number, table in enumerate(found.tables):
        mine = np.flatnonzero(found.table_of == number)
        every[mine] = getattr(planes_of(table, found.rows[mine]), part)
    result = np.full((len(found), width), np.nan)
    filled = np.flatnonzero(found.counts)
    result[filled] = reduce(every, found.starts[filled])
    return result
