"""``affine``: where images lie in the patient, read and written as one matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import GridError, InvalidValue
from dbdicom_xr.geometry.affine import planes_of_affine
from dbdicom_xr.geometry.planes import Floats, Planes, positions_along_normal
from dbdicom_xr.geometry.stacks import SAME_PLACE, split_by_orientation, stack_affine
from dbdicom_xr.index.table import Table, Values
from dbdicom_xr.records.attributes.lookup import Attribute, Written, parse_name
from dbdicom_xr.records.attributes.slices import planes_of

__all__ = ["affines", "affines_together", "write_affine"]

Rows = npt.NDArray[np.intp]


def affines(table: Table) -> Values | None:
    """Return the affine of each frame by itself, None where its header does not tell it."""
    planes = planes_of(table, np.arange(len(table)))
    stacked = np.column_stack(
        [planes.position, planes.orientation, planes.pixel_spacing, planes.step]
    )
    unique, first, codes = np.unique(
        stacked, axis=0, return_index=True, return_inverse=True, equal_nan=True
    )
    if not np.isfinite(unique).all(axis=1).any():
        return None
    distinct = [_affine(planes.take([row])) for row in first.tolist()]
    return Values(distinct, codes.reshape(-1).astype(np.int32))


def affines_together(table: Table, rows: Rows) -> list[Floats]:
    """Return the affine of each volume that frames make: one per orientation.

    Volumes are left out whose slices are not evenly spaced, or whose place is not known.
    """
    planes = planes_of(table, rows)
    placed = np.isfinite(planes.position).all(axis=1) & np.isfinite(planes.orientation).all(axis=1)
    if not placed.any():
        return []
    planes = planes.take(np.flatnonzero(placed))
    found = [
        _affine(_slices(planes.take(stack))) for stack in split_by_orientation(planes.orientation)
    ]
    return [affine for affine in found if affine is not None]


def _affine(planes: Planes | None) -> Floats | None:
    try:
        return None if planes is None else stack_affine(planes)
    except GridError:
        return None


def _slices(planes: Planes) -> Planes | None:
    """Return one plane per place along the normal, in their order."""
    locations = positions_along_normal(planes.position, planes.orientation)
    if locations is None:
        return None
    order = np.argsort(locations, kind="stable")
    steps = np.diff(locations[order], prepend=-np.inf)
    return planes.take(order[steps > SAME_PLACE])


def write_affine(table: Table, rows: Rows, values: list[Any]) -> Written:
    """Return what sets the ``affine`` of frames that make one volume.

    Several frames at one place, as in a dynamic series, stay at one place.
    """
    matrix = _matrix(values)
    places = _places(table, rows)
    count = int(places.max()) + 1
    try:
        planes = planes_of_affine(matrix, count)
    except GridError as error:
        raise InvalidValue(f"affine cannot be set: {error}") from error
    normal = np.cross(planes.orientation[0, :3], planes.orientation[0, 3:])
    if float(normal @ matrix[:3, 2]) <= 0:
        raise InvalidValue(
            "affine cannot be set: its third column points against the normal of the images, x "
            "crossed with y, along which DICOM slices are counted here. Count them from the other "
            f"end: affine[:3, 3] += {count - 1} * affine[:3, 2]; affine[:3, 2] *= -1, and reverse "
            "the slices of the array that belongs to it."
        )
    position = planes.position[places]
    edits: dict[Attribute, list[Any]] = {
        parse_name("ImagePositionPatient"): _rounded(position),
        parse_name("ImageOrientationPatient"): _rounded(planes.orientation[places]),
        parse_name("PixelSpacing"): _rounded(planes.pixel_spacing[places]),
    }
    edits.update(_steps(table, rows, float(planes.step[0])))
    location = parse_name("SliceLocation")
    if table.is_classic and location.values(table) is not None:
        edits[location] = np.round(position @ normal, 6).tolist()
    alone = matrix if count == 1 else None
    return edits, [alone] * len(rows) if alone is not None else None


def _matrix(values: list[Any]) -> Floats:
    """Return the one affine that was given for all frames."""
    if any(value is None for value in values):
        raise InvalidValue(
            "affine cannot be None. To forget where images lie: record.ImagePositionPatient = None."
        )
    try:
        first = np.asarray(values[0], np.float64)
    except (TypeError, ValueError):
        first = np.empty(0)
    if first.shape != (4, 4):
        raise InvalidValue(
            f"affine is {values[0]!r}; it is a matrix of 4 by 4 numbers, from the indices of "
            "column, row and slice to mm in the patient (left, posterior, superior)."
        )
    if any(value is not values[0] and not np.array_equal(value, first) for value in values):
        raise InvalidValue(
            "affine is that of a whole volume: set one for all its images, series.affine = matrix. "
            "For images of their own set each: instance.affine = matrix."
        )
    return first


def _places(table: Table, rows: Rows) -> npt.NDArray[np.intp]:
    """Return for each frame the number of its slice, counted along the present normal."""
    if len(rows) == 1:
        return np.zeros(1, np.intp)
    planes = planes_of(table, rows)
    placed = np.isfinite(planes.position).all(axis=1) & np.isfinite(planes.orientation).all(axis=1)
    if not placed.all():
        raise InvalidValue(
            f"affine cannot be set: {int((~placed).sum())} of {len(rows)} images do not say where "
            "they lie, so that their order is not known. Set the affine of each by itself: "
            "instance.affine = matrix."
        )
    stacks = split_by_orientation(planes.orientation)
    if len(stacks) > 1:
        raise InvalidValue(
            f"affine cannot be set: the images are of {len(stacks)} orientations, and an affine is "
            "that of one volume. series.stacks() gives the images of each: set theirs, or move "
            "them into series of their own."
        )
    locations = positions_along_normal(planes.position, planes.orientation)
    assert locations is not None
    order = np.argsort(locations, kind="stable")
    places = np.empty(len(rows), np.intp)
    places[order] = np.cumsum(np.diff(locations[order], prepend=locations[order][0]) > SAME_PLACE)
    return places


def _steps(table: Table, rows: Rows, step: float) -> dict[Attribute, list[Any]]:
    """Return SpacingBetweenSlices and SliceThickness for a distance of slices.

    A gap between slices stays the same part of their distance.
    """
    spacing, thickness = parse_name("SpacingBetweenSlices"), parse_name("SliceThickness")
    modality = parse_name("Modality").values(table)
    is_mr = modality is not None and modality.take(rows).occurring() == ["MR"]
    has_spacing = spacing.values(table) is not None
    edits: dict[Attribute, list[Any]] = {}
    if has_spacing or is_mr:
        edits[spacing] = [round(step, 9)] * len(rows)
    before = planes_of(table, rows).step
    own = thickness.values(table)
    thick = [None] * len(rows) if own is None else own.take(rows).as_objects().tolist()
    edits[thickness] = [
        round(old * step / float(former), 9)
        if isinstance(old, (int, float)) and old > 0 and has_spacing and former > 0
        else round(step, 9)
        for old, former in zip(thick, before.tolist(), strict=True)
    ]
    return edits


def _rounded(values: Floats) -> list[list[float]]:
    return [[round(part, 9) + 0.0 for part in row] for row in values.tolist()]
