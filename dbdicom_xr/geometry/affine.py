"""Affines: 4x4 matrices from voxel indices (x, y, slice) to patient coordinates in mm.

Patient coordinates are DICOM's, LPS: x grows towards the patient's left, y towards the back
(posterior), z towards the head (superior). NIfTI's are RAS: x and y have the other sign.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import GridError, InvalidValue
from dbdicom_xr.geometry.planes import Floats, Planes, normal_of

__all__ = [
    "Orientation",
    "even_steps",
    "frame_affine",
    "in_space",
    "orientation_of",
    "planes_of_affine",
    "spacing_of",
    "sub_grid",
    "tilt_of",
    "tilt_warning",
]

# Direction cosines are written with 6 digits or so; a vector this far from 1 is none.
_UNIT = 1e-2
# Rounding of positions gives a stack a tilt of up to 0.003 degrees in the scanner files seen.
_TILT = 0.05
# Of a step, for places along an axis, which are exact but for what averaging rounds.
_EVEN = 1e-3
# The cosine of the angle between two axes, from which on pixels are no rectangles. Directions
# that are written with 6 digits give up to 2e-6.
_RECTANGULAR = 1e-4
_PLANES = ("sagittal", "coronal", "axial")  # by the axis of their normal
_LETTERS = ("LR", "PA", "SI")  # towards which the coordinate grows, and away from it

Vector = tuple[float, float, float]


class Orientation(NamedTuple):
    """How an array lies in the patient.

    Attributes
    ----------
    x, y, slice : tuple of float
        Unit vectors in patient coordinates (LPS): where `x`, `y` and the slice number grow.
    plane : str
        ``"axial"``, ``"coronal"`` or ``"sagittal"``, whichever is nearest.
    angle : float
        Between that plane and the images, degrees; 0 where they are not oblique.
    codes : str
        For each of x, y, slice the letter of the direction in the patient nearest to it: L or R
        (left, right), P or A (posterior, anterior), S or I (superior, inferior).
    """

    x: Vector
    y: Vector
    slice: Vector
    plane: str
    angle: float
    codes: str


def frame_affine(
    position: npt.ArrayLike,
    orientation: npt.ArrayLike,
    pixel_spacing: npt.ArrayLike,
    step: float | npt.ArrayLike,
) -> Floats:
    """Return the affine of a stack from its first frame (PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1).

    Parameters
    ----------
    position : array_like of float, shape (3,)
        ImagePositionPatient, mm.
    orientation : array_like of float, shape (6,)
        ImageOrientationPatient.
    pixel_spacing : array_like of float, shape (2,)
        PixelSpacing: the distance of rows, then that of columns, mm.
    step : float, or array_like of shape (3,)
        From one slice to the next: mm along the normal, or a vector in patient coordinates.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        From (column, row, slice, 1), counted from 0, to (x, y, z, 1) in mm, LPS.

    Raises
    ------
    GridError
        The orientation is not that of a plane, or a spacing is not above zero.

    Examples
    --------
    >>> frame_affine([-100, -90, 30], [1, 0, 0, 0, 1, 0], [0.5, 0.6], 5)
    array([[   0.6,    0. ,    0. , -100. ],
           [   0. ,    0.5,    0. ,  -90. ],
           [   0. ,    0. ,    5. ,   30. ],
           [   0. ,    0. ,    0. ,    1. ]])
    """
    directions = np.asarray(orientation, np.float64)
    rows, columns = np.asarray(pixel_spacing, np.float64)
    lengths = np.linalg.norm(directions.reshape(2, 3), axis=1)
    normal = normal_of(directions)
    if normal is None or not bool((np.abs(lengths - 1) <= _UNIT).all()):
        raise GridError(
            f"ImageOrientationPatient is {directions.tolist()}, which are not two directions: they "
            "have to be of length 1, and not parallel."
        )
    if not (rows > 0 and columns > 0):
        raise GridError(f"PixelSpacing is {[float(rows), float(columns)]}; both have to be above 0")
    along = np.asarray(step, np.float64)
    affine = np.eye(4)
    affine[:3, 0] = directions[:3] * columns
    affine[:3, 1] = directions[3:] * rows
    affine[:3, 2] = normal * along if along.ndim == 0 else along
    affine[:3, 3] = position
    return affine + 0.0  # -0 prints as another number


def planes_of_affine(affine: npt.ArrayLike, slices: int) -> Planes:
    """Return the planes of slices from their affine: the inverse of ``stack_affine``.

    Parameters
    ----------
    affine : array_like of float, shape (4, 4)
        From (column, row, slice, 1), counted from 0, to LPS, mm.
    slices : int

    Returns
    -------
    Planes
        One per slice. ``step`` is their distance along the normal, NaN where the third column of
        the affine tells none.

    Raises
    ------
    GridError
        The matrix is none of this form; columns and rows are not at a right angle, which no
        image plane can say (PS3.3 C.7.6.2.1.1); or several slices are at one place.

    Examples
    --------
    >>> planes = planes_of_affine(np.diag([0.5, -0.6, 4, 1]), 2)
    >>> planes.position[1], planes.orientation[1], planes.pixel_spacing[1]
    (array([0., 0., 4.]), array([ 1.,  0.,  0.,  0., -1.,  0.]), array([0.6, 0.5]))
    """
    try:
        matrix = np.asarray(affine, np.float64)
    except (TypeError, ValueError) as error:
        raise GridError(f"The affine is no matrix of numbers: {error}.") from None
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise GridError(
            "An affine is a 4 by 4 matrix of numbers, from voxels (x, y, slice, 1) to mm (LPS, 1)."
        )
    if not np.allclose(matrix[3], [0, 0, 0, 1], rtol=0, atol=1e-9):
        raise GridError(f"The last row of an affine is 0, 0, 0, 1, and not {matrix[3].tolist()}.")
    lengths = np.linalg.norm(matrix[:3, :2], axis=0)
    if not (lengths > 0).all():
        raise GridError("The affine has a step of 0 along x or y.")
    directions = matrix[:3, :2] / lengths
    if abs(float(directions[:, 0] @ directions[:, 1])) > _RECTANGULAR:
        raise GridError(
            "The affine has columns and rows that are not at a right angle. DICOM images have "
            "rectangular pixels (PS3.3 C.7.6.2.1.1): resample the array first."
        )
    normal = np.cross(directions[:, 0], directions[:, 1])
    step = abs(float(normal @ matrix[:3, 2]))
    if slices > 1 and step == 0:
        raise GridError(f"The affine puts {slices} slices into one plane.")
    numbers = np.arange(slices)[:, None]
    return Planes(
        matrix[:3, 3] + numbers * matrix[:3, 2] + 0.0,
        np.repeat(directions.T.reshape(1, 6) + 0.0, slices, axis=0),
        np.repeat(lengths[None, ::-1], slices, axis=0),
        np.full(slices, step or np.nan),
    )


def even_steps(places: npt.ArrayLike) -> tuple[float, float] | None:
    """Return where evenly spaced places start, and their step; None where they are not even.

    Parameters
    ----------
    places : array_like of float, shape (places,)
        The step of a single one is 1.

    Examples
    --------
    >>> even_steps([9, 7, 5]), even_steps([4]), even_steps([0, 1, 5])
    ((9.0, -2.0), (4.0, 1.0), None)
    """
    values = np.asarray(places, np.float64)
    if not len(values) or not np.isfinite(values).all():
        return None
    if len(values) == 1:
        return float(values[0]), 1.0
    step = float(values[-1] - values[0]) / (len(values) - 1)
    off = float(np.abs(values - (values[0] + np.arange(len(values)) * step)).max())
    return (float(values[0]), step) if step and off <= _EVEN * abs(step) else None


def in_space(affine: npt.ArrayLike, space: str) -> Floats:
    """Return an affine to LPS in the patient coordinates that are asked for.

    Parameters
    ----------
    affine : array_like of float, shape (4, 4)
        To LPS.
    space : {"LPS", "RAS"}
        DICOM's patient coordinates, or those of NIfTI and nibabel.

    Examples
    --------
    >>> in_space(np.diag([2.0, 2, 5, 1]), "RAS").diagonal()
    array([-2., -2.,  5.,  1.])
    """
    if space not in ("LPS", "RAS"):
        raise InvalidValue(f"space is {space!r}; it is 'LPS', as in DICOM, or 'RAS', as in NIfTI.")
    signs = np.ones(4) if space == "LPS" else np.array([-1.0, -1, 1, 1])
    return np.asarray(signs[:, None] * np.asarray(affine, np.float64) + 0.0)


def sub_grid(affine: npt.ArrayLike, start: npt.ArrayLike, step: npt.ArrayLike) -> Floats:
    """Return the affine of every so many voxels of a grid.

    Parameters
    ----------
    affine : array_like of float, shape (4, 4)
        Of the grid.
    start, step : array_like of float, shape (3,)
        In voxels of the grid, fractions and negative steps allowed: voxel i of the result lies at
        ``start + step * i``.

    Examples
    --------
    >>> sub_grid(np.eye(4), [9, 0, 0], [-1, 1, 2])
    array([[-1.,  0.,  0.,  9.],
           [ 0.,  1.,  0.,  0.],
           [ 0.,  0.,  2.,  0.],
           [ 0.,  0.,  0.,  1.]])
    """
    part = np.diag([*np.asarray(step, np.float64), 1.0])
    part[:3, 3] = start
    return np.asarray(affine, np.float64) @ part + 0.0


def spacing_of(affine: npt.ArrayLike) -> Vector:
    """Return the distance of neighbouring voxels along x, y and slice, mm.

    Examples
    --------
    >>> spacing_of(np.diag([-1.5, 1.25, 5, 1]))
    (1.5, 1.25, 5.0)
    """
    x, y, z = np.linalg.norm(np.asarray(affine, np.float64)[:3, :3], axis=0).tolist()
    return x, y, z


def tilt_of(affine: npt.ArrayLike) -> float:
    """Return the angle between the direction of the slices and the normal of the images, degrees.

    Above 0 the voxels are no boxes: the slices are shifted against each other, as those of a CT
    with a tilted gantry are.

    Examples
    --------
    >>> sheared = np.eye(4)
    >>> sheared[1, 2] = 1
    >>> round(tilt_of(sheared), 6)
    45.0
    """
    matrix = np.asarray(affine, np.float64)[:3, :3]
    normal = np.cross(matrix[:, 0], matrix[:, 1])
    # Not from the cosine alone, which is blind to angles below 1e-6 degrees.
    across = np.linalg.norm(np.cross(normal, matrix[:, 2]))
    return float(np.degrees(np.arctan2(across, abs(normal @ matrix[:, 2]))))


def tilt_warning(affine: npt.ArrayLike) -> str | None:
    """Return what has to be said of slices that are shifted against each other, None if not."""
    tilt = tilt_of(affine)
    if tilt <= _TILT:
        return None
    return (
        "The slices are shifted against each other, as by a tilted gantry: their direction is "
        f"{tilt:.3g} degrees off the normal of the images. The affine says so (it is sheared); "
        "what takes voxels for boxes is wrong here."
    )


def orientation_of(affine: npt.ArrayLike) -> Orientation:
    """Return how the voxels of an affine to LPS lie in the patient.

    Examples
    --------
    >>> found = orientation_of(frame_affine([0, 0, 0], [1, 0, 0, 0, 0, -1], [1, 1], 4))
    >>> found.plane, found.codes, found.y
    ('coronal', 'LIP', (0.0, 0.0, -1.0))
    """
    matrix = np.asarray(affine, np.float64)[:3, :3]
    unit = matrix / np.linalg.norm(matrix, axis=0) + 0.0
    normal = np.cross(unit[:, 0], unit[:, 1])
    normal = normal / np.linalg.norm(normal)
    axis = int(np.abs(normal).argmax())
    others = np.delete(normal, axis)
    angle = float(np.degrees(np.arctan2(np.linalg.norm(others), abs(normal[axis]))))
    codes = ""
    for direction in unit.T:
        nearest = int(np.abs(direction).argmax())
        codes += _LETTERS[nearest][int(direction[nearest] < 0)]
    x, y, z = ((float(v[0]), float(v[1]), float(v[2])) for v in unit.T)
    return Orientation(x, y, z, _PLANES[axis], angle, codes)
