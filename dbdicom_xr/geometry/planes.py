"""Image planes in patient coordinates (PS3.3 C.7.6.2.1.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["are_parallel", "positions_along_normal"]

# Of direction cosines; writers round them to 6 digits, and a degree is 0.017.
_PARALLEL = 1e-3


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


def positions_along_normal(
    position: npt.ArrayLike, orientation: npt.ArrayLike
) -> npt.NDArray[np.float64] | None:
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
    typical = np.median(directions, axis=0)
    normal = np.cross(typical[:3], typical[3:])
    length = np.linalg.norm(normal)
    if not length > 1e-6:
        return None
    return np.asarray(np.round(places @ (normal / length), 6) + 0.0)
