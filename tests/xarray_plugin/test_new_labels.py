"""Labels that were read, and labels that only look like it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from dbdicom_xr.arrays.align import SortKey
from dbdicom_xr.records.reading.new_labels import attribute_of, is_new, may_be_averages


def key(values: Any) -> SortKey:
    values = np.asarray(values, float)
    return SortKey("SliceLocation", values, np.ones(len(values), bool), 1e-3, 4)


@given(
    count=st.integers(1, 30),
    half=st.integers(1, 5),
    start=st.floats(-100, 100),
    step=st.floats(0.5, 10),
    repeat=st.integers(1, 3),
)
def test_averages_of_neighbours_are_seen(
    count: int, half: int, start: float, step: float, repeat: int
) -> None:
    window = 2 * half + 1
    values = np.round(start + step * np.arange(count), 4)
    array = xr.DataArray(np.zeros(count), {"SliceLocation": values}, ["SliceLocation"])
    labels = array.coarsen(SliceLocation=window, boundary="trim").mean().SliceLocation.to_numpy()
    if labels.size > 1:
        assert may_be_averages(labels, key(np.repeat(values, repeat)))


@pytest.mark.parametrize(
    "chosen",
    [
        slice(None), slice(0, 4), slice(None, None, 2), slice(1, None, 2), slice(0, None, 3),
        slice(None, None, 5), [3], [0], [5, 3], [1, 4, 6], slice(8, None), slice(None, None, -1),
    ],
)  # fmt: skip
def test_a_selection_is_no_average(chosen: Any) -> None:
    values = np.arange(10) * 2.5
    assert not may_be_averages(values[chosen], key(values))


def test_uneven_values_are_not_averages() -> None:
    values = np.array([0.0, 1, 5, 6, 7, 30, 40, 41, 80])
    assert not may_be_averages(values[[1, 4, 7]], key(values))
    assert not may_be_averages(np.array(["a", "b"]), key(values))


def test_labels_that_were_read_say_so() -> None:
    read = xr.DataArray([2, 5], dims="FlipAngle", attrs={"tag": "(0018,1314)"})
    assert not is_new("FlipAngle", read)
    assert not is_new("FlipAngle", (read * 1).assign_attrs(long_name="Flip Angle"))
    assert is_new("FlipAngle", read.drop_attrs())
    assert not is_new("parameter", read.drop_attrs())  # of which nothing is known
    times = np.array([0, 10, 20], "timedelta64[s]").astype("timedelta64[ns]")
    array = xr.DataArray(times, {"AcquisitionTime": times}, ["AcquisitionTime"])
    array.AcquisitionTime.attrs["tag"] = "(0008,0032)"
    assert not is_new("AcquisitionTime", array.AcquisitionTime)
    coarser = array.astype(float).resample(AcquisitionTime="20s").mean()
    assert coarser.AcquisitionTime.attrs
    assert is_new("AcquisitionTime", coarser.AcquisitionTime)


@pytest.mark.parametrize(
    ("name", "tag", "wanted"),
    [
        ("FlipAngle", "(0018,0081)", "FlipAngle"),
        ("angle", "(0018,1314)", "FlipAngle"),
        ("angle", None, "angle"),
        ("angle", "no tag at all", "angle"),
        ("angle", 5, "angle"),
        ("FlipAngle_bins", "(0018,1314)", "FlipAngle_bins"),
        ("b", "(0019,100c)", "(0019,100c)"),
    ],
)
def test_renamed_labels(name: str, tag: Any, wanted: str) -> None:
    coord = xr.DataArray([2, 5], attrs={} if tag is None else {"tag": tag})
    assert attribute_of(name, coord) == wanted
