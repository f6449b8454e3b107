"""How the voxels of a file become images: turned and flipped, never interpolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import GridError
from dbdicom_xr.geometry.affine import sub_grid
from dbdicom_xr.geometry.planes import Floats

__all__ = ["Turn", "turned_onto", "turned_upright"]

_RECTANGULAR: Final = 1e-4  # as image planes demand, see geometry.affine
_NEAR: Final = 0.99  # cosine of directions that may be one; corners decide


@dataclass(frozen=True)
class Turn:
    """How voxels of a file become images.

    Parameters
    ----------
    axes : tuple of int
        The axes of the file that count columns, rows and slices.
    flips : tuple of bool
        Which of these run against the file.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)

    def shape(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """Return the size of the images and their number, from the shape of the file."""
        x, y, z = (int(shape[axis]) for axis in self.axes)
        return x, y, z

    def affine(self, affine: npt.ArrayLike, shape: Sequence[int]) -> Floats:
        """Return the affine of the images, from that of the file.

        Examples
        --------
        >>> Turn(flips=(False, True, False)).affine(np.eye(4), (4, 3, 2))[:, 1:]
        array([[ 0.,  0.,  0.],
               [-1.,  0.,  2.],
               [ 0.,  1.,  0.],
               [ 0.,  0.,  1.]])
        """
        matrix = np.asarray(affine, np.float64)[:, [*self.axes, 3]]
        ends = [size - 1 if flip else 0 for size, flip in self._sizes(shape)]
        return sub_grid(matrix, ends, [-1 if flip else 1 for flip in self.flips])

    def _sizes(self, shape: Sequence[int]) -> list[tuple[int, bool]]:
        return list(zip(self.shape(shape), self.flips, strict=True))

    def images(self, voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of voxels (3 dimensions, then volumes) as (volume, slice, x, y)."""
        x, y, z = self.axes
        back = [slice(None, None, -1 if flip else 1) for flip in self.flips]
        return np.asarray(voxels.transpose(3, z, x, y)[:, back[2], back[0], back[1]])


def turned_upright(path: str, affine: Floats, shape: Sequence[int]) -> Turn:
    """Return how to turn the voxels of a file so that images lie as viewers show them.

    Slices stay along the third axis. Columns grow to the left of the patient, in sagittal images
    to the back, and rows to the back, in coronal and sagittal images to the feet, as scanners have
    them.

    Raises
    ------
    GridError
        The first two axes are not at a right angle, as those of images are.

    Examples
    --------
    >>> turned_upright("a.nii", np.diag([-2.0, -2, 2, 1]), (4, 4, 4)).flips  # RAS+
    (True, True, False)
    """
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if abs(float(unit[:, 0] @ unit[:, 1])) > _RECTANGULAR:
        angle = float(np.degrees(np.arccos(np.clip(unit[:, 0] @ unit[:, 1], -1, 1))))
        raise GridError(
            f"{path}: its first two axes are at {angle:.4g} degrees, as after a registration with "
            "shears, and those of images are at a right angle. Resample it first: "
            "nibabel.processing.resample_to_output(image). Or set the code of its sform to 0, "
            "image.set_sform(None), if the qform is to count."
        )
    normal = int(np.abs(np.cross(unit[:, 0], unit[:, 1])).argmax())
    right = np.eye(3)[1 if normal == 0 else 0]
    down = np.eye(3)[1] if normal == 2 else np.array([0, 0, -1.0])
    first = int(abs(right @ unit[:, 1]) > abs(right @ unit[:, 0]))
    axes = (first, 1 - first, 2)
    x, y, z = (unit[:, axis] for axis in axes)
    left, up = bool(right @ x < 0), bool(down @ y < 0)
    x, y = (-x if left else x), (-y if up else y)
    return Turn(axes, (left, up, bool(np.cross(x, y) @ z < 0)))


def turned_onto(affine: Floats, shape: Sequence[int], orientation: npt.ArrayLike) -> Turn | None:
    """Return how to turn the voxels of a file to an orientation; None where they do not lie so.

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4)
        Of the file, to LPS.
    shape : sequence of int
    orientation : array_like of float, shape (6,)
        ImageOrientationPatient.

    Examples
    --------
    >>> turned_onto(np.diag([-2.0, -2, 2, 1]), (4, 4, 4), [1, 0, 0, 0, 0, -1])
    Turn(axes=(0, 2, 1), flips=(True, True, True))
    """
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    directions = np.asarray(orientation, np.float64).reshape(2, 3)
    along = directions @ unit
    x, y = (int(axis) for axis in np.abs(along).argmax(axis=1))
    if x == y or abs(along[0, x]) < _NEAR or abs(along[1, y]) < _NEAR:
        return None
    z = 3 - x - y
    behind = bool(np.cross(*directions) @ unit[:, z] < 0)
    return Turn((x, y, z), (bool(along[0, x] < 0), bool(along[1, y] < 0), behind))
