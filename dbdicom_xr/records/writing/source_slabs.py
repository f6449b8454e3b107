"""Where images lie along the slices that they are made from.

Owned here: projections and averages over slices, which stand in the middle of their slab, and
images between slices, which stand where their SliceLocation says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.arrays.coordinates import round_lengths
from dbdicom_xr.errors import GridError
from dbdicom_xr.geometry.planes import (
    Floats,
    Planes,
    are_parallel,
    normal_of,
    positions_along_normal,
)
from dbdicom_xr.geometry.stacks import SAME_PLACE
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.slices import planes_of, slice_locations
from dbdicom_xr.records.reading.sorting import sort_key
from dbdicom_xr.records.writing.cells import per_cell
from dbdicom_xr.records.writing.source_frames import SourceFrames

__all__ = ["along_slices"]

_SAME_DIRECTION: Final = 1e-3
# Labels are rounded to 1e-4 mm, and one label may stand for values 1e-3 mm apart.
_SAME_LABEL: Final = SAME_PLACE + 1e-4
# Slices of a slab may be off a straight line by this part of its thickness.
_STRAIGHT: Final = 0.01
# Of the step of slices: labels of frames that were taken for one are no further from them.
_NEAR: Final = 0.25
# Of SpacingBetweenSlices: slices that move from one time to the next are no others.
_STILL_TRUE: Final = 0.05
_WAY_OUT: Final = "Give the geometry of the result: affine=."

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Slab:
    """What the frames of each image span; images of one place span nothing.

    Parameters
    ----------
    is_slab : ndarray of bool, shape (images,)
    middle : ndarray of float64, shape (images, 3)
        ImagePositionPatient halfway between the outermost frames.
    extent : ndarray of float64, shape (images,)
        From the outermost frame to the other, along the normal.
    lowest, highest : ndarray of int, shape (images,)
        The outermost frames.
    """

    is_slab: Bools
    middle: Floats
    extent: Floats
    lowest: npt.NDArray[np.intp]
    highest: npt.NDArray[np.intp]


def along_slices(
    array: xr.DataArray, frames: SourceFrames, first: Planes, changed: dict[str, npt.NDArray[Any]]
) -> Planes:
    """Return the planes of images where they lie along the slices."""
    slab = _slab(frames)
    labels = _labels(array, frames)
    key, off = _labelled(frames, labels)
    if not slab.is_slab.any() and not off.any():
        own = frames.numbers("SliceLocation", 1)
        if labels is not None and key is None:
            changed["SliceLocation"] = labels
        elif frames.spread(own).any():
            changed["SliceLocation"] = own[frames.starts, 0] if labels is None else labels
        _neighbours(frames, first, first, changed)
        return first
    if off.any():
        _require_mm(array, labels, off)
    halfway = None
    if key is not None:
        halfway = (key.values[slab.lowest] + key.values[slab.highest]) / 2
    position = first.position.copy()
    is_mean = slab.is_slab
    if labels is not None and halfway is not None:
        # Either all are averages or projections of slices, or all lie between slices: what is
        # halfway between two slices by chance is both.
        if not bool((np.abs(labels - halfway)[slab.is_slab] <= _SAME_LABEL).all()):
            is_mean = np.zeros(len(off), np.bool_)
        between = (off | slab.is_slab) & ~is_mean
        if between.any():
            assert key is not None
            position[between] = _between(frames, key, labels[between], first)
    position[is_mean] = slab.middle[is_mean]
    changed["ImagePositionPatient"] = position
    if labels is not None:
        changed["SliceLocation"] = labels
    elif halfway is not None and np.isfinite(frames.numbers("SliceLocation", 1)).any():
        changed["SliceLocation"] = halfway
    thickness = frames.high(frames.numbers("SliceThickness", 1)[:, 0])
    if is_mean.any() and np.isfinite(thickness).any():
        changed["SliceThickness"] = np.where(
            is_mean, round_lengths(slab.extent + thickness), thickness
        )
    placed = replace(first, position=position)
    _neighbours(frames, first, placed, changed)
    if is_mean.any() and len(placed) == int(is_mean.sum()) and _is_one_place(placed):
        # A slab without a neighbour is as thick as it is, and nothing is the old distance away.
        changed["SpacingBetweenSlices"] = np.full(len(placed), np.nan)
    return placed


def _labels(array: xr.DataArray, frames: SourceFrames) -> Floats | None:
    """Return SliceLocation as the array labels its images, None where it does not."""
    labels = per_cell(array, "SliceLocation")
    if labels is None or labels.dtype.kind not in "iuf":
        return None
    return np.asarray(labels[frames.filled], np.float64)


def _slab(frames: SourceFrames) -> _Slab:
    """Return what the frames of each image span along their normal."""
    planes, starts = frames.planes, frames.starts
    ends = np.append(starts[1:], len(frames.cell_of)) - 1
    is_slab = frames.spread(planes.position) > SAME_PLACE
    if is_slab.any() and not frames.sources.is_exact:
        raise GridError(
            f"{int(is_slab.sum())} of {len(is_slab)} images were made from several slices, and "
            "nothing tells whether from all of their series or from a part, so that they have no "
            "place. Say from which, as in header=header, or header=header[2:5]; affine= gives a "
            "place of its own."
        )
    if not is_slab.any():
        return _Slab(is_slab, planes.position[starts], np.zeros(len(starts)), starts, starts)
    normals = np.full((len(starts), 3), np.nan)
    unique, of = np.unique(planes.orientation[starts], axis=0, return_inverse=True, equal_nan=True)
    for number, directions in enumerate(unique):
        normal = normal_of(directions) if np.isfinite(directions).all() else None
        if normal is not None:
            normals[of.reshape(-1) == number] = normal
    along = (planes.position * normals[frames.cell_of]).sum(axis=1)
    order = np.lexsort((along, frames.cell_of))
    low, high = order[starts], order[ends]
    extent = along[high] - along[low]
    # Where the frames do not lie behind each other, no image plane is that of all.
    way = planes.position[high] - planes.position[low]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (along - along[low][frames.cell_of]) / extent[frames.cell_of]
        off = planes.position - planes.position[low][frames.cell_of]
        off = np.abs(off - share[:, None] * way[frames.cell_of]).max(axis=1)
    lost = is_slab & ~(frames.high(off) <= np.maximum(SAME_PLACE, _STRAIGHT * extent))
    if lost.any():
        raise GridError(
            f"{int(lost.sum())} of {len(lost)} images are made from frames that lie in different "
            "places, but not behind each other as the slices of a stack do, so that the images "
            f"have no place. {_WAY_OUT}"
        )
    middle = (planes.position[low] + planes.position[high]) / 2
    return _Slab(
        is_slab,
        np.where(is_slab[:, None], middle, planes.position[starts]),
        np.where(is_slab, extent, 0.0),
        np.asarray(low, np.intp),
        np.asarray(high, np.intp),
    )


@dataclass(frozen=True)
class _Locations:
    """SliceLocation of the frames, NaN where they have none, and how it is read."""

    read: Callable[[Table, npt.NDArray[Any]], Floats]
    values: Floats


def _written(table: Table, rows: npt.NDArray[Any]) -> Floats:
    """Return SliceLocation as the headers say it."""
    key = sort_key(parse_name("SliceLocation"), table, rows)
    if key.values.dtype.kind not in "iuf" or key.values.ndim > 1:
        return np.full(len(rows), np.nan)
    return np.where(key.present, key.values.astype(np.float64), np.nan)


def _worked_out(table: Table, rows: npt.NDArray[Any]) -> Floats:
    """Return SliceLocation from the planes, as where one number stands for several slices."""
    found = slice_locations(table, rows)
    return np.full(len(rows), np.nan) if found is None else found


def _labelled(frames: SourceFrames, labels: Floats | None) -> tuple[_Locations | None, Bools]:
    """Return the values that labels stand for, and the images whose label is not theirs."""
    known = [_Locations(read, frames.of_tables(read)) for read in (_written, _worked_out)]
    known = [one for one in known if np.isfinite(one.values).any()]
    if labels is None or not known:
        return (known[0] if known else None), np.zeros(len(frames.filled), np.bool_)
    found = [~_are_near(frames, one, labels, _SAME_LABEL) for one in known]
    best = min(range(len(known)), key=lambda number: int(found[number].sum()))
    return known[best], found[best] & ~_are_merged(frames, known[best], labels, found[best])


def _are_near(frames: SourceFrames, locations: _Locations, labels: Floats, within: float) -> Bools:
    """Return the images of which all frames are near their label."""
    with np.errstate(invalid="ignore"):
        return np.asarray(
            frames.low(np.abs(locations.values - labels[frames.cell_of]) <= within), np.bool_
        )


def _are_merged(frames: SourceFrames, locations: _Locations, labels: Floats, off: Bools) -> Bools:
    """Return the images whose label stands for frames that are nearly at one place.

    With a larger ``tolerance`` than the usual one, ``series.array`` takes slices that are a little
    apart for one, and gives them the label of one of them.
    """
    if not off.any():
        return off
    steps = frames.planes.step[frames.starts]
    step = float(np.nanmin(steps)) if np.isfinite(steps).any() else np.inf
    apart = np.diff(np.unique(labels))
    step = min(step, float(np.median(apart)) if len(apart) else np.inf)
    near = _are_near(frames, locations, labels, _NEAR * step if np.isfinite(step) else _SAME_LABEL)
    if not (near & off).any():
        return np.zeros(len(off), np.bool_)
    there = np.sort(np.concatenate([locations.read(t, _with_pixels(t)) for t in _tables(frames)]))
    at = np.searchsorted(there, labels - _SAME_LABEL)
    is_one = np.abs(there[np.minimum(at, len(there) - 1)] - labels) <= _SAME_LABEL
    return np.asarray(near & is_one, np.bool_)


def _tables(frames: SourceFrames) -> list[Table]:
    sources = frames.sources
    return [sources.tables[number] for number in np.unique(sources.table_of).tolist()]


def _with_pixels(table: Table) -> npt.NDArray[np.intp]:
    return np.flatnonzero(table.places["offset"][table.instance_of] >= 0)


def _require_mm(array: xr.DataArray, labels: Any, off: Bools) -> None:
    units = array.coords["SliceLocation"].attrs.get("units")
    if units == "mm" and np.isfinite(labels).all():
        return
    raise GridError(
        f"{int(off.sum())} of {len(off)} images have a SliceLocation that is not that of the "
        f"frames they are made from, such as {labels[off][0]:.6g}, so that their place is not "
        "known. If these are places in mm between those frames, say so: "
        "array.SliceLocation.attrs['units'] = 'mm'. Else give the geometry: affine=."
    )


def _between(frames: SourceFrames, key: _Locations, labels: Floats, first: Planes) -> Floats:
    """Return the positions at labels between those of slices."""
    if not are_parallel(first.orientation) or not np.isfinite(first.orientation).all():
        raise GridError(
            "The array lies between slices, but these are not parallel or have no "
            f"ImageOrientationPatient. {_WAY_OUT}"
        )
    values, position = key.values, frames.planes.position
    if not _is_within(labels, values):
        values, position = _whole_stack(frames, key, first)
    known = np.isfinite(values) & np.isfinite(position).all(axis=1)
    values, position = values[known], position[known]
    if not _is_within(labels, values):
        beyond = labels[(labels < values.min() - SAME_PLACE) | (labels > values.max() + SAME_PLACE)]
        raise GridError(
            f"SliceLocation {beyond[0]:.6g} lies outside the slices of the series, which go from "
            f"{values.min():.6g} to {values.max():.6g} mm, so that its place is not known. "
            f"{_WAY_OUT}"
        )
    order = np.argsort(values, kind="stable")
    values, position = values[order], position[order]
    begins = np.flatnonzero(np.diff(values, prepend=-np.inf) > SAME_PLACE)
    spread = np.maximum.reduceat(position, begins) - np.minimum.reduceat(position, begins)
    if float(spread.max()) > 2 * SAME_PLACE:
        at = float(values[begins[int(spread.max(axis=1).argmax())]])
        raise GridError(
            f"The array lies between slices, but frames of one SliceLocation ({at:.6g}) lie at "
            f"different places, so that its place is not known. {_WAY_OUT}"
        )
    places = [np.interp(labels, values[begins], position[begins, axis]) for axis in range(3)]
    return np.stack(places, axis=1)


def _is_within(labels: Floats, values: Floats) -> bool:
    """Return whether labels lie between values of at least two slices."""
    if not np.isfinite(values).any():
        return False
    low, high = np.nanmin(values), np.nanmax(values)
    beyond = (labels < low - SAME_PLACE) | (labels > high + SAME_PLACE)
    return bool(high - low > SAME_PLACE and not beyond.any())


def _whole_stack(
    frames: SourceFrames, locations: _Locations, first: Planes
) -> tuple[Floats, Floats]:
    """Return the labels and places of all slices of the series that are parallel to images."""
    values, position = [locations.values], [frames.planes.position]
    for table in _tables(frames):
        rows = _parallel(table, first)
        values.append(locations.read(table, rows))
        position.append(planes_of(table, rows).position)
    return np.concatenate(values), np.concatenate(position)


def _parallel(table: Table, planes: Planes) -> npt.NDArray[np.intp]:
    """Return the frames of a table that have pixels and the orientation of planes."""
    rows = _with_pixels(table)
    off = np.abs(planes_of(table, rows).orientation - planes.orientation[0]).max(axis=1)
    return np.asarray(rows[off <= _SAME_DIRECTION])


def _neighbours(
    frames: SourceFrames, first: Planes, placed: Planes, changed: dict[str, npt.NDArray[Any]]
) -> None:
    """Set SpacingBetweenSlices where the next slice is not that of the series any more."""
    keyword = "SpacingBetweenSlices"
    own = np.abs(frames.numbers(keyword, 1)[frames.starts, 0])  # some write it with a sign
    found = positions_along_normal(placed.position, placed.orientation)
    if not (own > 0).any() or found is None:
        return
    locations = _distinct(found)
    if len(locations) < 2:
        return
    apart = np.diff(locations)
    if abs(float(np.median(apart)) / float(np.median(own[own > 0])) - 1) <= _STILL_TRUE:
        return
    there = [_worked_out(table, _parallel(table, first)) for table in _tables(frames)]
    series = _distinct(np.concatenate(there))
    at = np.searchsorted(series, locations - 2 * SAME_PLACE)
    if (
        at[-1] < len(series)
        and (np.diff(at) == 1).all()
        and float(np.abs(series[at] - locations).max()) <= 2 * SAME_PLACE
    ):
        return
    even = float(np.ptp(apart)) <= max(2 * SAME_PLACE, _STRAIGHT * float(apart.min()))
    changed[keyword] = np.where(np.isfinite(own), apart.mean() if even else np.nan, np.nan)


def _is_one_place(planes: Planes) -> bool:
    return float(np.ptp(planes.position, axis=0).max()) <= SAME_PLACE


def _distinct(locations: Floats) -> Floats:
    """Return the places that are more than jitter apart, ascending."""
    ordered = np.sort(locations[np.isfinite(locations)])
    return np.asarray(ordered[np.diff(ordered, prepend=-np.inf) > SAME_PLACE])
