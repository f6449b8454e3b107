"""Affines follow PS3.3 C.7.6.2.1.1, for any orientation, spacing and sub-grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dbdicom_xr.errors import GridError, InvalidValue
from dbdicom_xr.geometry.affine import (
    frame_affine,
    in_space,
    orientation_of,
    spacing_of,
    sub_grid,
    tilt_of,
    tilt_warning,
)

lengths = st.floats(0.1, 20)
places = arrays(np.float64, 3, elements=st.floats(-500, 500))


@st.composite
def orientations(draw: Any) -> Any:
    """Return two directions at a right angle, from a random rotation."""
    w, x, y, z = draw(
        arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1)
    )
    norm = np.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w / norm, x / norm, y / norm, z / norm
    row = [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)]
    column = [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)]
    return np.array([*row, *column])


@given(places, orientations(), lengths, lengths, lengths, st.integers(0, 500), st.integers(0, 500))
def test_each_pixel_lies_where_the_standard_says(
    position: Any, directions: Any, rows: float, columns: float, step: float, i: int, j: int
) -> None:
    affine = frame_affine(position, directions, [rows, columns], step)
    # Equation C.7.6.2.1-1: i counts columns, along the first direction.
    said = position + directions[:3] * columns * i + directions[3:] * rows * j
    assert (affine @ [i, j, 0, 1])[:3] == pytest.approx(said, abs=1e-9)
    normal = np.cross(directions[:3], directions[3:])
    assert (affine @ [i, j, 3, 1])[:3] == pytest.approx(said + 3 * step * normal, abs=1e-9)
    assert spacing_of(affine) == pytest.approx((columns, rows, step))
    assert tilt_of(affine) == pytest.approx(0, abs=1e-5)


@given(
    orientations(),
    arrays(np.float64, 3, elements=st.floats(-20, 20)),
    arrays(np.float64, 3, elements=st.sampled_from([-3.0, -1.0, -0.5, 0.5, 1.0, 2.0])),
    arrays(np.float64, 3, elements=st.floats(-9, 9)),
)
def test_a_part_of_a_grid_lies_where_it_did(
    directions: Any, start: Any, step: Any, voxel: Any
) -> None:
    affine = frame_affine([1, 2, 3], directions, [0.5, 0.7], 4)
    part = sub_grid(affine, start, step)
    assert (part @ [*voxel, 1]) == pytest.approx(affine @ [*(start + step * voxel), 1], abs=1e-9)


@pytest.mark.parametrize(
    ("directions", "plane", "codes"),
    [
        ([1, 0, 0, 0, 1, 0], "axial", "LPS"),
        ([-1, 0, 0, 0, -1, 0], "axial", "RAS"),
        ([1, 0, 0, 0, 0, -1], "coronal", "LIP"),
        ([0, 1, 0, 0, 0, -1], "sagittal", "PIR"),
        ([0, 0, 1, 0, 1, 0], "sagittal", "SPR"),
    ],
)
def test_main_planes(directions: list[float], plane: str, codes: str) -> None:
    found = orientation_of(frame_affine([0, 0, 0], directions, [2, 3], 4))
    assert (found.plane, found.codes, found.angle) == (plane, codes, 0)
    assert found.x == tuple(directions[:3])
    assert found.y == tuple(directions[3:])
    assert found.slice == pytest.approx(np.cross(directions[:3], directions[3:]))


def test_an_oblique_plane_tells_its_angle() -> None:
    cosine, sine = np.cos(np.radians(20)), np.sin(np.radians(20))
    found = orientation_of(frame_affine([0, 0, 0], [1, 0, 0, 0, cosine, sine], [1, 1], 1))
    assert (found.plane, found.codes) == ("axial", "LPS")
    assert found.angle == pytest.approx(20)


def test_ras_has_the_other_sign_along_x_and_y() -> None:
    affine = frame_affine([-10, 20, 30], [1, 0, 0, 0, 1, 0], [1, 2], 3)
    ras = in_space(affine, "RAS")
    assert ras @ [4, 5, 6, 1] == pytest.approx((affine @ [4, 5, 6, 1]) * [-1, -1, 1, 1])
    assert in_space(affine, "LPS") == pytest.approx(affine)
    with pytest.raises(InvalidValue, match=r"'LPS'.*'RAS'"):
        in_space(affine, "ras")


@pytest.mark.parametrize("angle", [0.1, 14, 45])
def test_tilt_is_the_angle_to_the_normal(angle: float) -> None:
    radians = np.radians(angle)
    step = [0, 5 * np.sin(radians), 5 * np.cos(radians)]
    affine = frame_affine([0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1], step)
    assert tilt_of(affine) == pytest.approx(angle)
    assert f"{angle:.3g} degrees" in str(tilt_warning(affine))
    assert spacing_of(affine)[2] == pytest.approx(5)


def test_rounded_positions_are_no_tilt() -> None:
    step = [0.0001, 0, 0.9]  # 3 decimals, over 8 slices
    assert tilt_warning(frame_affine([0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1], step)) is None


@pytest.mark.parametrize(
    ("directions", "spacing", "what"),
    [
        ([0, 0, 0, 0, 0, 0], [1, 1], "ImageOrientationPatient"),
        ([1, 0, 0, 1, 0, 0], [1, 1], "ImageOrientationPatient"),
        ([2, 0, 0, 0, 1, 0], [1, 1], "ImageOrientationPatient"),
        ([np.nan, 0, 0, 0, 1, 0], [1, 1], "ImageOrientationPatient"),
        ([1, 0, 0, 0, 1, 0], [0, 1], "PixelSpacing"),
        ([1, 0, 0, 0, 1, 0], [1, np.nan], "PixelSpacing"),
    ],
)
def test_what_is_no_plane_is_refused(
    directions: list[float], spacing: list[float], what: str
) -> None:
    with pytest.raises(GridError, match=what):
        frame_affine([0, 0, 0], directions, spacing, 1)
