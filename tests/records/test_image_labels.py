"""The labels of an array come back as attributes, where they are not what the frames say."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import dbdicom_xr as db
from dbdicom_xr.arrays.times import date_values, datetime_values, time_values
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.records.reading.sources import sources_of
from dbdicom_xr.records.writing.image_planes import label_elements
from dbdicom_xr.testing import make_enhanced, make_series


def series_of(folder: Path) -> Any:
    (series,) = db.database(folder).series()
    return series


def named(elements: Any) -> dict[str, list[Any]]:
    from pydicom.datadict import keyword_for_tag

    found = {}
    for key, column in elements.items():
        values = [*column.decoded(), None]
        name = keyword_for_tag(key.tag) if not key.creator else str(key)
        found[name] = [values[code] for code in column.codes_of().tolist()]
    return found


def labels(array: Any, header: Any = None) -> dict[str, list[Any]]:
    return named(label_elements(array, sources_of(array, header)))


def new(name: str, values: Any, dims: str | None = None) -> dict[str, list[Any]]:
    """Return the columns of an array that is made from nothing."""
    array = xr.DataArray(
        np.zeros((len(values), 2, 3)), dims=(dims or name, "x", "y"),
        coords={name: (dims or name, values)},
    )  # fmt: skip
    return named(label_elements(array, None))


GRIDS: dict[str, dict[Any, list[Any]]] = {
    "numbers": {"SliceLocation": [0, 5], "EchoTime": [2.3, 4.61], "FlipAngle": [10, 20]},
    "times": {"SliceLocation": [0, 5], "AcquisitionTime": [3600.5, 7201.25]},
    "dates": {"AcquisitionDate": ["20240229", "20240301"]},
    "moments": {"AcquisitionDateTime": ["20240229103000.5+0100", "20240301103000.5+0100"]},
    "texts": {"SeriesDescription": ["a", "b"], "SequenceName": ["epi", "tfl"]},
    "several texts": {"ImageType": [["ORIGINAL", "PRIMARY"], ["DERIVED", "PRIMARY"]]},
    "private": {(0x0019, 0x100C): [0, 1000]},
    "lengths": {"SliceLocation": [0.123456789, 5.2], "SliceThickness": [1.00001, 2]},
    "places": {"ImagePositionPatient": [[0, 0, 1.25], [0, 0, 2.5]]},
}


@pytest.mark.parametrize("name", GRIDS)
def test_labels_that_were_read_say_nothing_new(tmp_path: Path, name: str) -> None:
    keys = GRIDS[name]
    make_series(tmp_path, keys=keys)
    array, header = series_of(tmp_path).array(list(keys))
    assert labels(array) == {}
    assert labels(array.isel({array.dims[0]: 1})) == {}
    assert labels(array[::-1].transpose(...), header[::-1]) == {}


def test_labels_of_enhanced_images_say_nothing_new(tmp_path: Path) -> None:
    make_enhanced(tmp_path, keys={"SliceLocation": [0, 5], "EchoTime": [2, 4], "FlipAngle": [5, 9]})
    array, _ = series_of(tmp_path).array(["SliceLocation", "EchoTime", "FlipAngle"])
    assert labels(array) == {}
    assert labels(array.mean("EchoTime")) == {}


def test_labels_aligned_by_order_say_nothing_new(tmp_path: Path) -> None:
    make_series(
        tmp_path,
        keys={"SliceLocation": [0, 5], "InstanceNumber": [1, 2]},
        per_frame={"AcquisitionTime": [[[1.0], [20]], [[2], [30.5]]]},
    )
    array, _ = series_of(tmp_path).array(["SliceLocation", "AcquisitionTime"], align="order")
    assert array.AcquisitionTime.ndim == 2
    assert labels(array) == {}
    later = array.assign_coords(AcquisitionTime=array.AcquisitionTime + np.timedelta64(1, "s"))
    assert named(label_elements(later, sources_of(array))) == {
        "AcquisitionTime": ["000002", "000021", "000003", "000031.500000"]
    }


def test_labels_that_were_changed_are_written(tmp_path: Path) -> None:
    make_series(tmp_path, keys={"SliceLocation": [0, 5], "EchoTime": [2, 4]})
    array, header = series_of(tmp_path).array(["SliceLocation", "EchoTime"])
    changed = array.assign_coords(EchoTime=[2.5, 4], FlipAngle=("SliceLocation", [3, 4]))
    assert labels(changed.drop_vars("EchoTime"), header) == {"FlipAngle": [3, 3, 4, 4]}
    sources = sources_of(array)
    assert named(label_elements(changed, sources)) == {
        "EchoTime": [2.5, 4, 2.5, 4],
        "FlipAngle": [3, 3, 4, 4],
    }
    # One for all images, and names that are no attributes.
    one = array.assign_coords(RepetitionTime=7.0, subject="A", b_value=3)
    assert named(label_elements(one, sources)) == {"RepetitionTime": [7.0] * 4}


def test_a_label_for_frames_that_differ_is_kept(tmp_path: Path) -> None:
    # Those that make up one image agree within the tolerance, but not to the last digit: what
    # several images say differently would be lost otherwise.
    make_series(
        tmp_path,
        keys={"SliceLocation": [0, 5], "EchoTime": [2, 4]},
        per_frame={"FlipAngle": [[[9.9996], [10]], [[10], [10.0004]]]},
    )
    array, _ = series_of(tmp_path).array(["SliceLocation", "EchoTime", "FlipAngle"])
    assert labels(array) == {}
    assert labels(array.mean("EchoTime")) == {"FlipAngle": [10.0, 10.0]}


NEW: dict[str, tuple[str, Any, list[Any]]] = {
    "float": ("EchoTime", [2.3, 4.6], [2.3, 4.6]),
    "float32": ("FlipAngle", np.float32([0.1, 0.2]).astype(np.float64).round(3), [0.1, 0.2]),
    "int": ("AcquisitionNumber", [1, 2], [1, 2]),
    "whole": ("AcquisitionNumber", [1.0, 2.0], [1, 2]),
    "length": ("SliceThickness", [1.00000004, 2.0], [1.0, 2.0]),
    "date": ("AcquisitionDate", np.array(["2024-02-29", "2024-03-01"], "M8[ns]"),
             ["20240229", "20240301"]),
    "date as text": ("AcquisitionDate", ["29.02.2024", "20240301"], ["20240229", "20240301"]),
    "python's dates": (
        "AcquisitionDate", np.array([datetime.date(2024, 2, 29), datetime.date(2024, 3, 1)], "O"),
        ["20240229", "20240301"]),
    "moment": ("AcquisitionDateTime", np.array(["2024-02-29T01:02:03.5", "2024-03-01"], "M8[ns]"),
               ["20240229010203.500000", "20240301000000"]),
    "time": ("AcquisitionTime", np.array([3_723_000_004_000, 0], "m8[ns]"),
             ["010203.000004", "000000"]),
    "averaged time": ("AcquisitionTime", np.array([1_000_000_333, 0], "m8[ns]"),
                      ["000001", "000000"]),
    "seconds": ("AcquisitionTime", np.array([59, 60], "m8[s]"), ["000059", "000100"]),
    "text": ("ComplexImageComponent", ["PHASE", "MAGNITUDE"], ["PHASE", "MAGNITUDE"]),
    "texts": ("ImageType", ["DERIVED\\PRIMARY", "DERIVED\\OTHER"],
              [["DERIVED", "PRIMARY"], ["DERIVED", "OTHER"]]),
    "vectors": ("DiffusionGradientOrientation", ["0\\0\\1", "0.6\\0.8\\0"],
                [[0.0, 0.0, 1.0], [0.6, 0.8, 0.0]]),
    "tag": ("(0018,0081)", [2.0, 3.0], [2.0, 3.0]),
    "by creator": ("(0019,xx0c) SIEMENS MR HEADER", [0, 1000], [0, 1000]),
}  # fmt: skip


@pytest.mark.parametrize("name", NEW)
def test_labels_of_an_array_from_nothing(name: str) -> None:
    attribute, values, expected = NEW[name]
    ((_, found),) = new(attribute, values, "t").items()
    assert found == expected


def test_which_coordinates_are_no_labels() -> None:
    array = xr.DataArray(
        np.zeros((2, 3, 4, 5)),
        dims=("SliceLocation", "n", "x", "y"),
        coords={
            "SliceLocation": [1, 2], "x": np.arange(4), "y": np.arange(5), "time": ("n", [1, 2, 3]),
            "SOPInstanceUID": ("n", list("abc")), "frame": ("n", [1, 2, 3]), "PatientID": "me",
            "ImagePositionPatient": "1\\2\\3", "InstanceNumber": ("n", [4, 5, 6]),
            "b_value": ("n", [1, 2, 3]), "EchoTime": (("x", "n"), np.zeros((4, 3))),
        },
    )  # fmt: skip
    assert label_elements(array, None) == {}


WRONG: dict[str, tuple[str, Any, str]] = {
    "a fraction": ("AcquisitionNumber", [1.5, 2], "AcquisitionNumber.*whole number"),
    "NaN": ("EchoTime", [np.nan, 2], "EchoTime.*no value"),
    "NaT": ("AcquisitionTime", np.array(["NaT", 1], "m8[s]"), "AcquisitionTime.*no value"),
    "no date": (
        "AcquisitionDate",
        np.array(["NaT", "2024-01-01"], "M8[D]"),
        "AcquisitionDate.*no value",
    ),
    "nothing": ("SequenceName", ["", "a"], "SequenceName.*no value"),
    "seconds as number": ("AcquisitionTime", [1.0, 2.0], "AcquisitionTime.*time of day"),
    "a day later": ("AcquisitionTime", np.array([0, 86400], "m8[s]"), "not a time of day"),
    "a moment": ("AcquisitionDate", np.array(["2024-02-29T01", "2024-02-29"], "M8[h]"), "a day"),
    "a date for a time": ("AcquisitionTime", np.array(["2024-02-29"] * 2, "M8[D]"), "timedelta64"),
    "a time for a number": ("TriggerTime", np.array([0, 1], "m8[s]"), "TriggerTime.*use numbers"),
    "text for a number": ("EchoTime", ["short", "long"], "EchoTime"),
    "too long": ("SequenceName", ["a" * 17, "b"], "SequenceName"),
    "too few": ("DiffusionGradientOrientation", ["0\\1", "0\\0"], "DiffusionGradientOrientation"),
    "nobody's": ("(0019,100c)", [0, 1], r"\(0019,100c\) is private.*creator.*Rename"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_the_attribute(name: str) -> None:
    attribute, values, message = WRONG[name]
    with pytest.raises(InvalidValue, match=message):
        new(attribute, values, "t")


def test_new_places_are_no_labels(tmp_path: Path) -> None:
    make_series(tmp_path, keys=GRIDS["places"])
    array, _ = series_of(tmp_path).array("ImagePositionPatient")
    moved = array.assign_coords(ImagePositionPatient=["0\\0\\2", "0\\0\\3"])
    with pytest.raises(InvalidValue, match=r"ImagePositionPatient.*affine="):
        label_elements(moved, sources_of(array))


def test_new_moments_of_frames_with_a_time_zone_are_of_utc(tmp_path: Path) -> None:
    make_series(tmp_path, keys=GRIDS["moments"])
    array, _ = series_of(tmp_path).array("AcquisitionDateTime")
    later = array.assign_coords(
        AcquisitionDateTime=array.AcquisitionDateTime + np.timedelta64(1, "h")
    )
    assert named(label_elements(later, sources_of(array))) == {
        "AcquisitionDateTime": ["20240229103000.500000+0000", "20240301103000.500000+0000"]
    }


def test_changed_private_labels_keep_their_creator(tmp_path: Path) -> None:
    make_series(tmp_path, keys=GRIDS["private"])
    array, _ = series_of(tmp_path).array([(0x0019, 0x100C)])
    changed = array.assign_coords({"(0019,100c)": [5, 6]})
    (key,) = label_elements(changed, sources_of(array))
    assert key.creator == "DBDICOM_XR TESTING"


@given(st.datetimes(min_value=datetime.datetime(1, 1, 1)))
def test_dates_and_times_come_back(moment: datetime.datetime) -> None:
    whole = np.array([np.datetime64(moment, "us")])
    (text,) = new("AcquisitionDateTime", whole, "t")["AcquisitionDateTime"]
    assert datetime_values([text]) == whole
    day = whole.astype("M8[D]").astype("M8[us]")
    (text,) = new("AcquisitionDate", day, "t")["AcquisitionDate"]
    assert date_values([text]) == day
    clock = (whole - day).astype("m8[ns]")
    (text,) = new("AcquisitionTime", clock, "t")["AcquisitionTime"]
    assert time_values([text]) == clock


@pytest.mark.parametrize("folder", ["nih", "dcm_qa", "xa30", "ge", "philips_enh", "mosaic"])
def test_scanner_files(testdata: Path, tmp_path: Path, folder: str) -> None:
    checked = 0
    database = db.database(testdata / folder, index=tmp_path / "index")
    for series in database.series():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                array, _ = series.array("auto")
            except (db.errors.DbdicomError, ValueError):
                continue
            assert labels(array) == {}, array.coords
        checked += 1
        if checked == 6:
            break
    assert checked
