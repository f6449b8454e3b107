"""Stacks: split by orientation, refused where no single affine describes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdicom_xr.errors import GridError
from dbdicom_xr.geometry.planes import Planes
from dbdicom_xr.geometry.stacks import split_by_orientation, stack_affine

AXIAL = [1.0, 0, 0, 0, 1, 0]
CORONAL = [1.0, 0, 0, 0, 0, -1]
SAGITTAL = [0.0, 1, 0, 0, 0, -1]


def planes(
    positions: Any, orientation: Any = AXIAL, spacing: Any = (1.0, 1.0), step: float = np.nan
) -> Planes:
    """Return planes at positions; numbers are positions along z."""
    places = np.array([p if np.ndim(p) else (0, 0, p) for p in positions], float).reshape(-1, 3)
    count = len(places)
    return Planes(
        places,
        np.broadcast_to(np.array(orientation, float), (count, 6)),
        np.broadcast_to(np.array(spacing, float), (count, 2)),
        np.full(count, step),
    )


@given(st.permutations(range(9)))
def test_the_order_of_planes_does_not_change_the_stacks(order: list[int]) -> None:
    directions = np.array([AXIAL] * 4 + [CORONAL] * 3 + [SAGITTAL] * 2)
    directions[1] += 1e-6  # as rounding leaves it
    stacks = split_by_orientation(directions[order])
    found = [sorted(np.array(order)[stack].tolist()) for stack in stacks]
    assert found == [[0, 1, 2, 3], [4, 5, 6], [7, 8]]


def test_planes_that_face_the_other_way_are_another_stack() -> None:
    assert len(split_by_orientation([AXIAL, [-1, 0, 0, 0, 1, 0]])) == 2


def test_descending_slices_have_a_negative_step() -> None:
    assert stack_affine(planes([30, 27, 24]))[:3, 2].tolist() == [0, 0, -3]


@pytest.mark.parametrize("size", [0.01, 1, 5])
def test_positions_as_files_round_them_are_even(size: float) -> None:
    exact = np.arange(40) * size
    rng = np.random.default_rng(0)
    affine = stack_affine(planes(exact + rng.uniform(-0.004, 0.004, 40) * size))
    assert affine[2, 2] == pytest.approx(size, rel=1e-3)


def test_a_missing_slice_is_named() -> None:
    with pytest.raises(GridError, match=r"10 mm from slice 2 \(at 10 mm\) to slice 3 .* at 15 mm"):
        stack_affine(planes([0, 5, 10, 20, 25]))


def test_several_missing_slices_are_counted() -> None:
    with pytest.raises(GridError, match=r"where 3 seem to be missing, at 7, 8, 9 mm"):
        stack_affine(planes([4, 5, 6, 10, 11]))


def test_uneven_steps_are_named() -> None:
    with pytest.raises(GridError, match=r"not evenly spaced.*7\.3 mm from slice 2") as caught:
        stack_affine(planes([0, 5, 10, 17.3, 22.3]))
    assert "missing" not in str(caught.value)


def test_a_slice_off_the_line_is_named() -> None:
    with pytest.raises(GridError, match=r"straight line.*slice 2 .*is 3 mm off"):
        stack_affine(planes([(0, 0, 0), (0, 0, 5), (3, 0, 10), (0, 0, 15), (0, 0, 20)]))


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (planes([0, 0, 5]), r"slices 0 and 1 are both at 0 mm"),
        (planes([0, 10, 5]), r"not in order.* 0, 10 and 5 mm"),
        (
            planes([0, 5], [AXIAL, CORONAL]),
            r"2 orientations: stack 0 axial \(1 frames\), stack 1 c",
        ),
        (planes([0, 5], spacing=[[1, 1], [2, 2]]), "several PixelSpacing"),
        (planes([0, 5], spacing=[[1, 1], [np.nan, 1]]), "1 of 2 frames have no PixelSpacing"),
        (planes([0, np.nan]), "1 of 2 frames have no ImagePositionPatient"),
        (planes([0, 5], [AXIAL, [np.nan] * 6]), "1 of 2 frames have no ImageOrientationPatient"),
        (planes([7]), "neither SpacingBetweenSlices nor SliceThickness"),
        (planes([]), "no frames"),
    ],
)
def test_what_is_no_even_stack_is_refused(bad: Planes, what: str) -> None:
    with pytest.raises(GridError, match=what):
        stack_affine(bad)


def test_a_single_slice_takes_its_step_from_the_header() -> None:
    assert stack_affine(planes([7], CORONAL, step=4.0))[:3, 2].tolist() == [0, 4, 0]
