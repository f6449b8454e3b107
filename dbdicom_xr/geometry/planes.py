"""Image planes in patient coordinates (PS3.3 C.7.6.2.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Floats",
    "Planes",
    "are_parallel",
    "normal_of",
    "positions_along_normal",
    "sub_planes",
]

Floats = npt.NDArray[np.float64]

# Of direction cosines; writers round them to 6 digits, and a degree is 0.017.
_PARALLEL = 1e-3


@dataclass(frozen=True)
class Planes:
    """What the headers of frames say of their place in space; NaN where they do not.

    Parameters
    ----------
    position : ndarray of float64, shape (planes, 3)
        ImagePositionPatient, the centre of the first pixel, mm.
    orientation : ndarray of float64, shape (planes, 6)
        ImageOrientationPatient: the direction in which columns are counted, then that of rows.
    pixel_spacing : ndarray of float64, shape (planes, 2)
        PixelSpacing: the distance of rows, then that of columns, mm.
    step : ndarray of float64, shape (planes,)
        SpacingBetweenSlices, else SliceThickness, mm: how far apart slices would be, for planes
        without neighbours.
    """

    position: Floats
    orientation: Floats
    pixel_spacing: Floats
    step: Floats

    def __len__(self) -> int:
        return len(self.position)

    def take(self, planes: Any) -> Planes:
        """Return some of the planes."""
        return Planes(
            self.position[planes],
            self.orientation[planes],
            self.pixel_spacing[planes],
            self.step[planes],
        )


def are_parallel(orientation: npt.ArrayLike) -> bool:
    """Return whether planes have one orientation.

    Parameters
    ----------
    orientation : array_like of float, shape (planes, 6)
        ImageOrientationPatient: the direction in which columns are counted, then that of rows.

    Examples
    --------
    >>> are_parallel([[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]])
    False
    """
    directions = np.asarray(orientation, np.float64)
    return len(directions) < 2 or float(np.ptp(directions, axis=0).max()) <= _PARALLEL


def normal_of(orientation: npt.ArrayLike) -> Floats | None:
    """Return the unit normal of a plane, row direction x column direction; None where it has none.

    Parameters
    ----------
    orientation : array_like of float, shape (6,)
        ImageOrientationPatient.

    Examples
    --------
    >>> normal_of([1, 0, 0, 0, 0, -1])
    array([0., 1., 0.])
    """
    directions = np.asarray(orientation, np.float64)
    normal = np.cross(directions[:3], directions[3:])
    length = np.linalg.norm(normal)
    return np.asarray(normal / length + 0.0) if length > 1e-6 else None


def positions_along_normal(position: npt.ArrayLike, orientation: npt.ArrayLike) -> Floats | None:
    """Return where parallel planes lie along their normal.

    Parameters
    ----------
    position : array_like of float, shape (planes, 3)
        ImagePositionPatient, mm.
    orientation : array_like of float, shape (planes, 6)
        ImageOrientationPatient.

    Returns
    -------
    ndarray of float64, shape (planes,), or None
        In mm from the origin; None where the planes are not parallel, so that their positions do
        not compare, or where the orientation is none.

    Examples
    --------
    >>> positions_along_normal([[0, 0, 5], [9, 9, 8]], [[1, 0, 0, 0, 1, 0]] * 2)
    array([5., 8.])
    """
    places: npt.NDArray[Any] = np.asarray(position, np.float64)
    directions = np.asarray(orientation, np.float64)
    if not np.isfinite(places).all() or not np.isfinite(directions).all():
        return None
    if len(directions) == 0 or not are_parallel(directions):
        return None
    # One normal for all, so that rounding of the direction cosines does not scatter positions.
    normal = normal_of(np.median(directions, axis=0))
    if normal is None:
        return None
    return np.asarray(np.round(places @ normal, 6) + 0.0)


def sub_planes(planes: Planes, start: npt.ArrayLike, step: npt.ArrayLike) -> Planes:
    """Return the planes of every so many pixels of images (PS3.3 C.7.6.2.1.1).

    Parameters
    ----------
    planes : Planes
        Of the images.
    start, step : array_like of float, shape (2,)
        Along columns, then rows, in pixels of the images; fractions and negative steps allowed:
        pixel i of the result lies at ``start + step * i``.

    Returns
    -------
    Planes
        The directions are those of the images, against them where a step is negative.

    Examples
    --------
    >>> one = Planes(
    ...     np.zeros((1, 3)),
    ...     np.array([[1.0, 0, 0, 0, 1, 0]]),
    ...     np.array([[2.0, 3]]),
    ...     np.array([5.0]),
    ... )
    >>> flipped = sub_planes(one, [9, 0], [-1, 2])
    >>> flipped.position, flipped.orientation, flipped.pixel_spacing
    (array([[27.,  0.,  0.]]), array([[-1.,  0.,  0.,  0.,  1.,  0.]]), array([[4., 3.]]))
    """
    first, steps = np.asarray(start, np.float64), np.asarray(step, np.float64)
    position = planes.position
    for axis in (0, 1):
        if first[axis]:  # what starts with the images needs neither directions nor spacing
            along = planes.orientation[:, 3 * axis : 3 * axis + 3]
            position = position + along * (planes.pixel_spacing[:, 1 - axis] * first[axis])[:, None]
    return Planes(
        position,
        planes.orientation * np.repeat(np.sign(steps), 3) + 0.0,
        planes.pixel_spacing * np.abs(steps[::-1]),
        planes.step,
    )
