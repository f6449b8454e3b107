"""Setting columns of a header: which values are one for each frame, and which are for all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.testing import make_series

DIMS = ("EchoTime", "n")
TIMES = [float(time) for time in range(10, 60, 10)]


@pytest.fixture
def header(tmp_path: Path) -> Any:
    """Of shape (5, 1)."""
    make_series(tmp_path, keys={"EchoTime": TIMES, "SliceLocation": [0.0]})
    _, header = db.database(tmp_path).series()[0].array("EchoTime")
    assert header.shape == (5, 1)
    assert header.dims == DIMS
    return header


NEW = [float(number) for number in range(5)]


@pytest.mark.parametrize("kind", [list, tuple, np.array, np.float32, range])
def test_a_value_for_each_of_a_row(header: Any, kind: Any) -> None:
    header[:, 0].RepetitionTime = range(5) if kind is range else kind(NEW)
    np.testing.assert_array_equal(header.RepetitionTime, np.array(NEW)[:, None])


def test_texts_of_a_list(header: Any) -> None:
    header[:, 0].ImageComments = [f"echo {i}" for i in range(5)]
    assert header.ImageComments[:, 0].tolist() == [f"echo {i}" for i in range(5)]


@pytest.mark.parametrize("dims", [DIMS, DIMS[::-1]])
def test_labelled_values(header: Any, dims: tuple[str, str]) -> None:
    values = xr.DataArray(np.array(NEW)[:, None], dims=DIMS)
    header.RepetitionTime = values.transpose(*dims)
    np.testing.assert_array_equal(header.RepetitionTime[:, 0], NEW)
    header[:, 0].RepetitionTime = 2 * values[:, 0]
    np.testing.assert_array_equal(header.RepetitionTime[:, 0], 2 * np.array(NEW))
    header.RepetitionTime = values[3, 0]  # of no dimension: for all
    assert set(header.RepetitionTime.ravel()) == {3.0}


def test_labelled_values_of_its_own_column(header: Any) -> None:
    header.RepetitionTime = 2 * header.to_xarray("EchoTime").EchoTime_
    np.testing.assert_array_equal(header.RepetitionTime[:, 0], 2 * np.array(TIMES))


def test_labelled_values_of_other_dimensions(header: Any) -> None:
    with pytest.raises(InvalidValue, match=r"the dimensions \('x',\).*\('EchoTime', 'n'"):
        header.RepetitionTime = xr.DataArray(NEW, dims="x")


@pytest.mark.parametrize("values", [np.arange(5), list(range(5)), np.arange(5)[None]])
def test_another_shape_is_refused(header: Any, values: Any) -> None:
    before = header.RepetitionTime
    shape = np.shape(values)
    with pytest.raises(InvalidValue, match=re.escape(str(shape))) as caught:
        header.RepetitionTime = values
    assert "the shape of the header, (5, 1)" in str(caught.value)
    assert "reshape(5, 1)" in str(caught.value)
    assert "set_values" in str(caught.value)
    assert ("header[:, 0]" in str(caught.value)) == (len(shape) == 1)
    np.testing.assert_array_equal(header.RepetitionTime, before)


@pytest.mark.parametrize("values", [np.arange(4), [1, 2], np.zeros((2, 2))])
def test_another_count_is_refused(header: Any, values: Any) -> None:
    for part in (header, header[:, 0]):
        with pytest.raises(InvalidValue, match="the shape of the header"):
            part.RepetitionTime = values


def test_a_list_that_is_the_value_of_all(header: Any) -> None:
    header.PixelSpacing = [1.5, 2]
    header[:2, 0].ImageType = ["DERIVED", "PRIMARY"]  # as many as there are frames
    assert header.PixelSpacing[4, 0] == [1.5, 2.0]
    assert header.ImageType[1, 0] == ["DERIVED", "PRIMARY"]
    header.PixelSpacing = np.array([2.5, 3])
    assert header.PixelSpacing[4, 0] == [2.5, 3.0]
    header.EchoTrainLength = [3]
    assert set(header.EchoTrainLength.ravel()) == {3}


def test_dates(header: Any) -> None:
    days = np.array(["2024-01-01"], "datetime64[ns]") + np.arange(5).astype("timedelta64[D]")
    header.AcquisitionDate = days[:, None]
    assert header.AcquisitionDate[:, 0].tolist() == [f"2024010{i}" for i in range(1, 6)]
