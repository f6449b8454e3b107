"""Planes and affines say the same, in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dbdicom_xr.errors import GridError
from dbdicom_xr.geometry.affine import even_steps, frame_affine, planes_of_affine, sub_grid
from dbdicom_xr.geometry.planes import Planes, sub_planes
from dbdicom_xr.geometry.stacks import stack_affine
from tests.geometry.test_affine import lengths, orientations, places

signs = st.sampled_from([-2.0, -1, -0.5, 0.25, 1, 3])


@given(places, orientations(), lengths, lengths, lengths, st.integers(1, 6))
def test_the_planes_of_an_affine_give_it_again(
    position: Any, directions: Any, rows: float, columns: float, step: float, slices: int
) -> None:
    affine = frame_affine(position, directions, [rows, columns], step)
    planes = planes_of_affine(affine, slices)
    assert len(planes) == slices
    assert stack_affine(planes) == pytest.approx(affine, abs=1e-6)
    assert planes.step == pytest.approx(np.full(slices, step))


@given(places, orientations(), arrays(np.float64, 2, elements=st.floats(-50, 50)), signs, signs)
def test_planes_are_cut_as_affines_are(
    position: Any, directions: Any, start: Any, x: float, y: float
) -> None:
    affine = frame_affine(position, directions, [0.7, 1.3], 4)
    part = sub_planes(planes_of_affine(affine, 1), start, [x, y])
    expected = sub_grid(affine, [*start, 0], [x, y, 1])
    found = frame_affine(part.position[0], part.orientation[0], part.pixel_spacing[0], [0, 0, 0])
    assert found[:, [0, 1, 3]] == pytest.approx(expected[:, [0, 1, 3]], abs=1e-6)


def test_slices_of_a_sheared_affine_follow_its_third_column() -> None:
    affine = np.diag([1.0, 1, 4, 1])
    affine[1, 2] = 3  # a tilted gantry: 5 mm along the table, 4 mm along the normal
    planes = planes_of_affine(affine, 3)
    assert planes.position.tolist() == [[0, 0, 0], [0, 3, 4], [0, 6, 8]]
    assert planes.step.tolist() == [4, 4, 4]


def test_what_starts_with_the_images_needs_no_directions() -> None:
    nothing = np.full((1, 6), np.nan)
    planes = Planes(np.ones((1, 3)), nothing, nothing[:, :2], np.ones(1))
    assert sub_planes(planes, [0, 0], [2, 2]).position.tolist() == [[1, 1, 1]]
    assert np.isnan(sub_planes(planes, [1, 0], [2, 2]).position).all()


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([3.0, 2.5, 2.0], (3.0, -0.5)),
        ([7.0], (7.0, 1.0)),
        ([0, 1, 2.0005], (0.0, pytest.approx(1.00025))),
        ([0, 1, 2.1], None),
        ([1, 1, 1], None),
        ([0, np.nan, 2], None),
        ([], None),
    ],
)
def test_even_steps(places: Any, expected: Any) -> None:
    assert even_steps(places) == expected


def test_one_plane_may_have_no_next() -> None:
    flat = np.diag([1.0, 1, 0, 1])
    assert np.isnan(planes_of_affine(flat, 1).step).all()
    with pytest.raises(GridError, match="2 slices into one plane"):
        planes_of_affine(flat, 2)
