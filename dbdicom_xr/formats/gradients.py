"""Diffusion gradients as FSL reads them: ``.bval`` and ``.bvec`` beside a NIfTI file.

A ``.bvec`` holds unit vectors along the axes of the image, not of the patient or the scanner. Where
the axes are right-handed (the determinant of the affine to RAS is above 0), FSL counts the first
one backwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dbdicom_xr.geometry.planes import Floats

__all__ = ["along_axes", "bval_text", "bvec_text"]


def along_axes(directions: Sequence[npt.ArrayLike | None], affine: npt.ArrayLike) -> Floats:
    """Return gradient directions along the axes of an image, as FSL counts them.

    Parameters
    ----------
    directions : sequence of array_like of float, each of shape (3,)
        Unit vectors in the patient (LPS), one per volume; None where there is no direction.
    affine : array_like of float, shape (4, 4)
        Of the image, from voxels to RAS.

    Returns
    -------
    ndarray of float64, shape (3, volumes)
        0 where there is no direction.

    Examples
    --------
    >>> along_axes([[1, 0, 0], None], np.diag([-2, -2, 3, 1]))  # x of the image grows to the left
    array([[-1.,  0.],
           [ 0.,  0.],
           [ 0.,  0.]])
    """
    axes = np.asarray(affine, np.float64)[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    vectors = np.zeros((len(directions), 3))
    for at, direction in enumerate(directions):
        if direction is not None:
            vectors[at] = np.asarray(direction, np.float64) * [-1, -1, 1]
    result = axes.T @ vectors.T
    if np.linalg.det(axes) > 0:
        result[0] *= -1
    return np.asarray(result + 0.0)


def bval_text(b_values: Sequence[float]) -> str:
    r"""Return what a ``.bval`` file holds: the b-values in s/mm2, on one line.

    Examples
    --------
    >>> bval_text([0, 1000, 929.7502])
    '0 1000 929.75\n'
    """
    return " ".join(f"{value:.6g}" for value in b_values) + "\n"


def bvec_text(vectors: Floats) -> str:
    """Return what a ``.bvec`` file holds: x, y and z of all volumes, on a line each.

    Examples
    --------
    >>> print(bvec_text(np.array([[0, 1], [0, 0], [0, -1e-9]])), end="")
    0 1
    0 0
    0 0
    """
    rounded = np.round(vectors, 6) + 0.0
    return "".join(" ".join(f"{part:.6g}" for part in row) + "\n" for row in rounded)
