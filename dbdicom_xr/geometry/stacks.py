"""From the planes of frames to stacks of slices: split, ordered, checked for even spacing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import GridError
from dbdicom_xr.geometry.affine import frame_affine, orientation_of
from dbdicom_xr.geometry.planes import Floats, Planes, are_parallel, positions_along_normal

__all__ = ["SAME_PLACE", "locations_of", "require_places", "split_by_orientation", "stack_affine"]

SAME_PLACE = 1e-3
"""Planes no further apart than this are at one place, mm."""

# Of direction cosines, as in planes.
_PARALLEL = 1e-3
# Positions may be off an even grid by this part of the step. Over 120 series of 8 vendors, the
# positions that are meant to be even are off by 0.08 percent at most, and 0.9 um.
_UNEVEN = 0.01


def split_by_orientation(orientation: npt.ArrayLike) -> list[npt.NDArray[np.intp]]:
    """Return the planes of each orientation.

    Parameters
    ----------
    orientation : array_like of float, shape (planes, 6)
        ImageOrientationPatient.

    Returns
    -------
    list of ndarray of int
        The numbers of the planes in each stack, ascending. Axial stacks come first, then coronal,
        then sagittal ones, whatever the order of the planes.

    Examples
    --------
    >>> axial, coronal = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]
    >>> split_by_orientation([coronal, axial, coronal])
    [array([1]), array([0, 2])]
    """
    directions = np.asarray(orientation, np.float64)
    unique, of = np.unique(directions, axis=0, return_inverse=True)
    of = of.reshape(-1)
    # Sorted by unique(), so that who joins whom does not depend on the order of the planes.
    stack_of = np.full(len(unique), -1, np.intp)
    typical: list[Floats] = []
    for number, direction in enumerate(unique):
        if stack_of[number] < 0:
            near = (np.abs(unique - direction) <= _PARALLEL).all(axis=1)
            stack_of[near & (stack_of < 0)] = len(typical)
            typical.append(direction)
    stacks = [np.flatnonzero(stack_of[of] == number) for number in range(len(typical))]
    order = sorted(range(len(stacks)), key=lambda i: _rank(typical[i]))
    return [stacks[i] for i in order]


def _rank(direction: Floats) -> tuple[int, list[float]]:
    normal = np.cross(direction[:3], direction[3:])
    return -int(np.abs(normal).argmax()), (-direction).tolist()


def require_places(planes: Planes) -> None:
    """Raise unless each plane has a position and an orientation.

    Raises
    ------
    GridError
        Telling how many have not.
    """
    missing = [
        f"{count} of {len(planes)} frames have no {name}"
        for name, values in (
            ("ImagePositionPatient", planes.position),
            ("ImageOrientationPatient", planes.orientation),
        )
        if (count := int((~np.isfinite(values)).any(axis=1).sum()))
    ]
    if missing or not len(planes):
        why = ", and ".join(missing) or "there are no frames"
        raise GridError(f"Their place in the patient is not known: {why}.")


def locations_of(planes: Planes) -> Floats:
    """Return where parallel planes lie along their normal, mm.

    Raises
    ------
    GridError
        They have no places, or are of several orientations.
    """
    require_places(planes)
    if not are_parallel(planes.orientation):
        raise GridError(
            f"The frames are of {describe_stacks(planes)}: one affine is for one orientation. "
            "series.stacks() gives the frames of each, series.volume(stack=0) the first as a volume"
            "."
        )
    locations = positions_along_normal(planes.position, planes.orientation)
    if locations is None:
        raise GridError(
            f"ImageOrientationPatient is {planes.orientation[0].tolist()}, which are not two "
            "directions."
        )
    return locations


def describe_stacks(planes: Planes) -> str:
    """Return the orientations of planes as text for a message."""
    stacks = split_by_orientation(planes.orientation)
    parts = []
    for number, stack in enumerate(stacks[:8]):
        try:
            affine = frame_affine([0, 0, 0], planes.orientation[stack[0]], [1, 1], 1)
            plane = orientation_of(affine).plane
        except GridError:
            plane = "none"
        parts.append(f"stack {number} {plane} ({len(stack)} frames)")
    more = f" and {len(stacks) - 8} more" if len(stacks) > 8 else ""
    return f"{len(stacks)} orientation{'s' * (len(stacks) != 1)}: {', '.join(parts)}{more}"


def stack_affine(planes: Planes) -> Floats:
    """Return the affine of slices, in the order in which they are given.

    Parameters
    ----------
    planes : Planes
        One per slice.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        To LPS, mm. For a single plane the slices are SpacingBetweenSlices apart, or where that is
        not there SliceThickness, along the normal.

    Raises
    ------
    GridError
        The planes are not parallel, at one place, out of order or unevenly spaced; or an attribute
        that is needed is missing.

    Examples
    --------
    >>> one = np.array([[1.0, 0, 0, 0, 1, 0]])
    >>> planes = Planes(np.array([[0.0, 0, 7]]), one, np.array([[1.0, 1]]), np.array([4.0]))
    >>> stack_affine(planes)[:3, 2]
    array([0., 0., 4.])
    """
    locations = locations_of(planes)
    spacing = _pixel_spacing(planes)
    step: float | Floats
    if len(planes) == 1:
        step = float(planes.step[0])
        if not step > 0:
            raise GridError(
                "This is a single slice, and the header has neither SpacingBetweenSlices nor "
                "SliceThickness, so that the third column of the affine is not known."
            )
    else:
        step = _even_step(planes.position, locations)
    return frame_affine(planes.position[0], planes.orientation[0], spacing, step)


def _pixel_spacing(planes: Planes) -> Floats:
    missing = int((~np.isfinite(planes.pixel_spacing)).any(axis=1).sum())
    if missing:
        raise GridError(
            f"{missing} of {len(planes)} frames have no PixelSpacing, so that distances in the "
            "patient are not known."
        )
    spread = np.ptp(planes.pixel_spacing, axis=0)
    if float(spread.max()) > 1e-4:
        found = np.unique(planes.pixel_spacing, axis=0).tolist()
        raise GridError(f"The frames have several PixelSpacing: {', '.join(map(str, found[:4]))}.")
    return np.asarray(planes.pixel_spacing[0])


def _even_step(position: Floats, locations: Floats) -> Floats:
    """Return the vector from each slice to the next."""
    apart = np.diff(locations)
    # The lower median: a distance that occurs, and where two do, the one without a gap.
    size = float(np.sort(np.abs(apart))[(len(apart) - 1) // 2])
    _require_order(apart, locations)
    step: Floats = (position[-1] - position[0]) / (len(position) - 1)
    off = np.linalg.norm(
        position - (position[0] + np.arange(len(position))[:, None] * step), axis=1
    )
    if float(off.max()) <= max(SAME_PLACE, _UNEVEN * size):
        return step
    uneven = np.flatnonzero(np.abs(np.abs(apart) - size) > max(SAME_PLACE, _UNEVEN * size))
    if not len(uneven):
        at = int(off.argmax())
        raise GridError(
            f"The slices do not lie on a straight line in even steps: slice {at} (at "
            f"{locations[at]:.6g} mm along the normal) is {off[at]:.4g} mm off it. One affine "
            "cannot say that."
        )
    raise GridError(_gaps(apart, uneven, locations, size))


def _require_order(apart: Floats, locations: Floats) -> None:
    same = np.flatnonzero(np.abs(apart) <= SAME_PLACE)
    if len(same):
        at = int(same[0])
        raise GridError(
            f"The slices {at} and {at + 1} are both at {locations[at]:.6g} mm along the normal: "
            "there are several frames at one place. An attribute that tells them apart has to be "
            "a dimension of the array."
        )
    backwards = np.flatnonzero(np.sign(apart) != np.sign(apart[0]))
    if len(backwards):
        at = int(backwards[0])
        raise GridError(
            f"The slices are not in order along their normal: they lie at {locations[at - 1]:.6g}, "
            f"{locations[at]:.6g} and {locations[at + 1]:.6g} mm in turn. Sort by SliceLocation: "
            'series.array("SliceLocation").'
        )


def _gaps(apart: Floats, uneven: npt.NDArray[np.intp], locations: Floats, size: float) -> str:
    parts = []
    for at in uneven[:4].tolist():
        distance = abs(float(apart[at]))
        missing = round(distance / size) - 1
        text = (
            f"{distance:.4g} mm from slice {at} (at {locations[at]:.6g} mm) to slice {at + 1} "
            f"(at {locations[at + 1]:.6g} mm)"
        )
        if missing > 0 and abs(distance - (missing + 1) * size) <= 2 * _UNEVEN * size:
            places = [locations[at] + np.sign(apart[at]) * size * (k + 1) for k in range(missing)]
            shown = ", ".join(f"{place:.6g}" for place in places[:4]) + "..." * (missing > 4)
            text += f", where {missing} seem{'s' * (missing == 1)} to be missing, at {shown} mm"
        parts.append(text)
    more = f"; and {len(uneven) - 4} more" if len(uneven) > 4 else ""
    return (
        f"The slices are not evenly spaced. Most are {size:.4g} mm apart along their normal, but "
        f"it is {'; '.join(parts)}{more}. One affine is for even steps: choose slices that are "
        "evenly spaced."
    )
