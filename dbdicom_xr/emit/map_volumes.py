"""Which images can stand in one Parametric Map: where they lie.

highdicom wants each frame of an object at a place of its own, and all parallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dbdicom_xr.emit.elements import Elements, lookup
from dbdicom_xr.geometry.planes import positions_along_normal
from dbdicom_xr.geometry.stacks import SAME_PLACE

__all__ = ["Places", "places_of", "volumes"]

_DIGITS: Final = 6  # to which direction cosines and spacings of one volume agree


def volumes(elements: Elements, images: int) -> list[npt.NDArray[np.intp]]:
    """Return which images can stand in one Parametric Map each.

    These are parallel, of one pixel spacing, and no two of them at one place. The first image at
    each place comes into the first object, the second one into the second, so that there is an
    object per volume, in whichever order the dimensions of an array stand. Images without a place
    have an object each, at the origin of a frame of reference of its own.

    Parameters
    ----------
    elements : Elements
        What the images say.
    images : int
        Their number.

    Returns
    -------
    list of ndarray of int
        Numbers of images, ascending; each image in one of them.

    Examples
    --------
    >>> from dbdicom_xr.emit.elements import constant, per_image
    >>> places = [[0, 0, 0], [0, 0, 5], [0, 0, 0], [0, 0, 5]]
    >>> elements = {
    ...     one.key: one
    ...     for one in (
    ...         per_image("ImagePositionPatient", places),
    ...         constant("ImageOrientationPatient", [1, 0, 0, 0, 1, 0], 4),
    ...         constant("PixelSpacing", [1, 1], 4),
    ...         constant("FrameOfReferenceUID", "1.2", 4),
    ...     )
    ... }
    >>> volumes(elements, 4)
    [array([0, 1]), array([2, 3])]
    """
    position, orientation, spacing, frames, placed = places_of(elements, images)
    result = [np.array([image], np.intp) for image in np.flatnonzero(~placed)]
    # highdicom says the orientation once for all frames.
    shared = np.round(np.concatenate([orientation, spacing], axis=1), _DIGITS) + 0.0
    groups: dict[tuple[Any, ...], list[int]] = {}
    for image in np.flatnonzero(placed).tolist():
        groups.setdefault((frames[image], *shared[image].tolist()), []).append(image)
    for group in groups.values():
        result += _apart(np.array(group, np.intp), position, orientation)
    return sorted(result, key=lambda volume: int(volume[0]))


class Places(NamedTuple):
    """Where images lie, a row per image; NaN where that is missing."""

    position: npt.NDArray[np.float64]
    orientation: npt.NDArray[np.float64]
    spacing: npt.NDArray[np.float64]
    frames: npt.NDArray[Any]
    """FrameOfReferenceUID; None where it is missing."""
    known: npt.NDArray[np.bool_]
    """Whether all of that is known."""


def places_of(elements: Elements, images: int) -> Places:
    """Return where images lie, as far as they say it."""
    position = _numbers(elements, "ImagePositionPatient", images, 3)
    orientation = _numbers(elements, "ImageOrientationPatient", images, 6)
    spacing = _numbers(elements, "PixelSpacing", images, 2)
    frames = np.array(lookup(elements, "FrameOfReferenceUID") or [None] * images, object)
    known = np.isfinite(np.concatenate([position, orientation, spacing], axis=1)).all(axis=1)
    known &= np.array([bool(one) for one in frames], bool)
    return Places(position, orientation, spacing, frames, known)


def _apart(
    group: npt.NDArray[np.intp], position: npt.NDArray[Any], orientation: npt.NDArray[Any]
) -> list[npt.NDArray[np.intp]]:
    """Return parallel images as volumes, in which each place is there once."""
    along = positions_along_normal(position[group], orientation[group])
    if along is None:
        return [np.array([image], np.intp) for image in group]
    # Places along the normal, as highdicom sorts by them; they need not be evenly spaced.
    order = np.argsort(along, kind="stable")
    place = np.empty(len(group), np.intp)
    place[order] = np.cumsum(np.diff(along[order], prepend=along[order[0]]) > SAME_PLACE)
    # The images at one place are those of one volume each, in their order.
    turns = np.zeros(len(group), np.intp)
    counts: dict[int, int] = {}
    for number, at in enumerate(place.tolist()):
        turns[number] = counts.get(at, 0)
        counts[at] = counts.get(at, 0) + 1
    return [group[turns == turn] for turn in range(int(turns.max(initial=-1)) + 1)]


def _numbers(elements: Elements, keyword: str, images: int, count: int) -> npt.NDArray[np.float64]:
    """Return an attribute of several numbers, shape (images, count); NaN where it is missing."""
    result = np.full((images, count), np.nan)
    for image, value in enumerate(lookup(elements, keyword) or ()):
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == count:
            result[image] = value
    return result
