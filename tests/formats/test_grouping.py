"""Frames as volumes: every frame once, whatever the order of the files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdicom_xr.errors import GridError
from dbdicom_xr.formats.grouping import arrange, split_by


@given(
    slices=st.integers(1, 5),
    volumes=st.integers(1, 5),
    seed=st.integers(0, 1 << 16),
    jitter=st.sampled_from([0.0, 1e-7]),
)
def test_the_order_of_frames_plays_no_part(
    slices: int, volumes: int, seed: int, jitter: float
) -> None:
    rng = np.random.default_rng(seed)
    place, number = (part.ravel() for part in np.indices((slices, volumes)))
    mixed = rng.permutation(slices * volumes)
    locations = place[mixed] * 3.0 + rng.uniform(-jitter, jitter, slices * volumes)
    found = arrange(locations, (number * slices + place)[mixed], [number[mixed] % 2])
    assert found.shape == (volumes, slices)
    assert sorted(found.ravel().tolist()) == list(range(slices * volumes))
    assert (place[mixed][found] == np.arange(slices)).all()
    assert (number[mixed][found] == np.arange(volumes)[:, None]).all()


def test_volumes_that_are_alike_stay_in_the_order_of_acquisition() -> None:
    # b = 0 at the start, in the middle and at the end, as scanners interleave it.
    b_values = np.tile([0, 1, 0, 1, 0], 2)
    locations = np.repeat([0.0, 5.0], 5)
    found = arrange(locations, np.arange(10), [b_values])
    assert found.tolist() == [[0, 5], [1, 6], [2, 7], [3, 8], [4, 9]]


def test_an_attribute_decides_where_slices_were_numbered_each_in_its_own_order() -> None:
    locations = np.repeat([0.0, 5.0, 10.0], 3)
    directions = np.array([0, 1, 2, 2, 0, 1, 1, 2, 0])
    found = arrange(locations, np.arange(9), [directions])
    assert (directions[found] == [[0], [1], [2]]).all()


def test_an_attribute_of_slices_does_not_part_volumes() -> None:
    # Such as the trigger time, which every slice of a cine series has of its own.
    locations, times = np.repeat([0.0, 5.0], 2), np.array([10, 20, 13, 23])
    assert arrange(locations, [0, 1, 2, 3], [times]).tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("locations", "says"),
    [
        ([0, 0, 5], "1 at 1 place, 2 at 1 place.*first place that differs.*frames"),
        ([0, 0, 5, 5, 10, 15, 15], "at 10 mm along the normal, with 1 frames where most have 2"),
    ],
)
def test_slices_that_are_missing_are_told(locations: Any, says: str) -> None:
    with pytest.raises(GridError, match=says):
        arrange(locations, np.arange(len(locations)))


def test_kinds_are_parted_by_all_attributes() -> None:
    parts = split_by([[0, 0, 1, 1], [0, 1, 0, 0]])
    assert [part.tolist() for part in parts] == [[0], [1], [2, 3]]
