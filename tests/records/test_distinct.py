"""The list of different values that a series gives: it stays a list, and is never taken for one."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, DicomWarning, NotOneValue
from dbdicom_xr.records.distinct import Distinct
from dbdicom_xr.testing import make_series

OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "/": lambda d: d / 1000,
    "/ of numpy": lambda d: d / np.float32(1000),
    "//": lambda d: d // 2,
    "%": lambda d: d % 2,
    "**": lambda d: d**2,
    "-": lambda d: d - 1,
    "- list": lambda d: d - [1.0],
    "+": lambda d: d + 1,
    "*": lambda d: d * 2,
    "* of numpy": lambda d: d * np.int64(2),
    "number *": lambda d: 2 * d,
    "number /": lambda d: 1 / d,
    "number -": lambda d: 1 - d,
    "number +": lambda d: 1 + d,
    "text +": lambda d: "a" + d,
    "+ text": lambda d: d + "a",
    ">": lambda d: d > 3,
    "<": lambda d: d < 3,
    ">=": lambda d: d >= 3,
    "<=": lambda d: d <= 3.5,
    "number >": lambda d: 3 > d,  # noqa: SIM300
    "text >": lambda d: d > "a",
    "-d": lambda d: -d,
    "abs": abs,
    "round": round,
    "float": float,
    "int": int,
    "format": lambda d: f"{d:.1f}",
    "sum": lambda d: sum([d]),
}


@pytest.mark.parametrize("values", [[5.0], [5.0, 10.0], []])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_does_not_calculate(operation: str, values: list[float]) -> None:
    with pytest.raises(NotOneValue, match=r"EchoTime is here the list.*record.EchoTime.item\(\)"):
        OPERATIONS[operation](Distinct(values, "EchoTime"))
    assert {TypeError, ValueError, DbdicomError} <= {*NotOneValue.__mro__}


def test_what_changes_it_in_place_is_refused() -> None:
    found = Distinct(["T1"], "SeriesDescription")
    with pytest.raises(NotOneValue):
        found += " map"
    with pytest.raises(NotOneValue):
        found *= 2
    assert found == ["T1"]
    found += ["T2"]
    assert found == ["T1", "T2"]


LIKE_A_LIST: list[Callable[[Any], Any]] = [
    lambda d: d + [1.0],  # noqa: RUF005
    lambda d: [1.0] + d,  # noqa: RUF005
    lambda d: d + d,
    lambda d: sum([d, d], []),  # noqa: RUF017
    lambda d: (d == [5.0, 10.0], d != [5.0], d == (5.0, 10.0), d == None),  # noqa: E711
    lambda d: (d > [1.0], d <= [5.0, 10.0], d < [6.0], d >= [5.0]),
    lambda d: (5.0 in d, 6.0 in d, d[:1], d[-1], len(d), d.index(10.0)),
    lambda d: (repr(d), str(d), f"{d}", json.dumps(d)),
    lambda d: (max(d), sum(d), sorted(d, reverse=True), bool(d)),
]


@pytest.mark.parametrize("use", LIKE_A_LIST)
def test_it_is_a_list(use: Callable[[Any], Any]) -> None:
    assert use(Distinct([5.0, 10.0], "EchoTime")) == use([5.0, 10.0])


def test_copies_are_the_same() -> None:
    found = Distinct([5.0, 10.0], "EchoTime")
    for same in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert isinstance(same, Distinct)
        assert same == found
        with pytest.raises(NotOneValue, match="EchoTime"):
            same / 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(found)


def test_numpy_calculates_with_it() -> None:
    found = Distinct([5.0, 10.0], "EchoTime")
    np.testing.assert_array_equal(np.array(found), [5.0, 10.0])
    np.testing.assert_array_equal(found / np.array([5.0, 10.0]), [1.0, 1.0])
    np.testing.assert_array_equal(np.array([1.0, 2.0]) * found, [5.0, 20.0])
    np.testing.assert_array_equal(found + np.array([1.0, 2.0]), [6.0, 12.0])
    assert np.mean(found) == 7.5


@pytest.mark.parametrize("value", ["2D qT2", 5, 5.0, np.float32(5), True])
def test_to_compare_it_with_one_value_warns(value: Any) -> None:
    found = Distinct([value], "EchoTime")
    with pytest.warns(DicomWarning, match=r"record.EchoTime.item\(\)") as caught:
        assert not found == value  # noqa: SIM201
    assert caught[0].filename == __file__
    with pytest.warns(DicomWarning, match="never equal to one value"):
        assert found != value
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(5):
            found == value  # noqa: B015
    assert len(shown) == 1


def test_item() -> None:
    assert Distinct([[1.0, 2.0]], "PixelSpacing").item() == [1.0, 2.0]
    with pytest.raises(NotOneValue, match=r"EchoTime has not one value here but 7: 0, 1, .*\.\.\."):
        Distinct(range(7), "EchoTime").item()
    with pytest.raises(NotOneValue, match="EchoTime has no value"):
        Distinct([], "EchoTime").item()


def _header(dataset: Dataset, index: tuple[int, ...]) -> None:
    dataset.PixelSpacing = [1.5, 2]
    dataset.WindowCenter = 40 + index[0]
    dataset.SeriesDescription = "T1"


@pytest.fixture
def series(tmp_path: Path) -> Any:
    make_series(tmp_path, keys={"SliceLocation": [0.0, 5.0]}, header=_header)
    return db.database(tmp_path).series()[0]


def test_one_value_is_set_as_it_is(series: Any) -> None:
    series.PixelSpacing = series.PixelSpacing
    assert series.PixelSpacing == [[1.5, 2.0]]
    series.instances()[0].SeriesDescription = series.SeriesDescription
    assert series.SeriesDescription == ["T1"]
    series.StudyDescription = series.SeriesDescription
    assert series.StudyDescription == ["T1"]
    made = series.new_sibling(PixelSpacing=series.PixelSpacing, PatientName=series.PatientName)
    assert made.PixelSpacing == [[1.5, 2.0]]
    assert series.copy(ImageType=series.ImageType).ImageType == series.ImageType
    array, header = series.array("SliceLocation")
    header.PixelSpacing = series.PixelSpacing
    assert series.PixelSpacing == [[1.5, 2.0]]
    written = array.dicom.write(series, ImageComments=series.SeriesDescription)
    assert written.ImageComments == ["T1"]


def test_several_values_are_not_set(series: Any) -> None:
    several = series.WindowCenter
    assert several == [40.0, 41.0]
    _, header = series.array("SliceLocation")
    for record in (series, series.instances()[0], series.database, header):
        with pytest.raises(NotOneValue, match="WindowCenter was given the list of the 2 different"):
            record.WindowCenter = several
    with pytest.raises(NotOneValue, match="set_values"):
        series.copy(WindowCenter=several)
    assert series.WindowCenter == [40.0, 41.0]
    series.set_values("WindowCenter", several)  # as many as there are frames
    assert [i.WindowCenter for i in series.instances()] == [40.0, 41.0]
