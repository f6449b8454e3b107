"""The affine of an image plane (PS3.3 C.7.6.2.1.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["plane_affine"]


def plane_affine(
    position: Sequence[float],
    orientation: Sequence[float],
    spacing: Sequence[float],
    slice_spacing: float = 1.0,
) -> npt.NDArray[np.float64]:
    """Return the affine from (x, y, slice) to patient coordinates.

    Parameters
    ----------
    position : sequence of 3 float
        ImagePositionPatient, mm.
    orientation : sequence of 6 float
        ImageOrientationPatient: the direction in which columns are counted, then that of rows.
    spacing : sequence of 2 float
        PixelSpacing: the distance of rows, then that of columns, mm.
    slice_spacing : float
        Distance of slices, mm.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        Maps ``(x, y, slice, 1)`` to LPS coordinates in mm, where ``x`` counts columns and ``y``
        rows.

    Examples
    --------
    >>> plane_affine([-10, -20, 5], [1, 0, 0, 0, 1, 0], [2, 1.5])[:3]
    array([[  1.5,   0. ,   0. , -10. ],
           [  0. ,   2. ,   0. , -20. ],
           [  0. ,   0. ,   1. ,   5. ]])
    """
    along_x = np.asarray(orientation[:3], float)
    along_y = np.asarray(orientation[3:], float)
    affine = np.eye(4)
    affine[:3, 0] = along_x * spacing[1]
    affine[:3, 1] = along_y * spacing[0]
    affine[:3, 2] = np.cross(along_x, along_y) * slice_spacing
    affine[:3, 3] = position
    return affine + 0.0
