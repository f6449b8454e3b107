"""Labels of an array: dates and times as numpy's, lengths, units, attrs."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword

from dbdicom_xr.arrays.coordinates import (
    attrs,
    date_values,
    datetime_values,
    default_decimals,
    default_tolerance,
    is_length,
    long_name,
    round_lengths,
    time_values,
    units_of,
)
from dbdicom_xr.arrays.units import UNITS
from dbdicom_xr.errors import DbdicomError, InvalidValue

DATES = [
    ("20240229", "2024-02-29"),
    ("18000101", "1800-01-01"),
    ("23001231", "2300-12-31"),
    ("99991231", "9999-12-31"),
    ("1993.07.04", "1993-07-04"),
    ("20240229 ", "2024-02-29"),
    ("", "NaT"),
    (None, "NaT"),
]

TIMES = [
    ("000000", 0),
    ("07", 7 * 3600),
    ("0730", 7.5 * 3600),
    ("073015", 27015),
    ("073015.", 27015),
    ("073015.5", 27015.5),
    ("073015.123456", 27015.123456),
    ("073015.123456789", 27015.123456789),
    ("073015.1234567891", 27015.123456789),
    ("07:30", 7.5 * 3600),
    ("07:30:15", 27015),
    ("07:30:15.25", 27015.25),
    ("235960", 86400),
    ("073015.5  ", 27015.5),
]

DATETIMES = [
    ("2024", "2024-01-01"),
    ("202402", "2024-02-01"),
    ("20240229", "2024-02-29"),
    ("2024022910", "2024-02-29T10"),
    ("202402291030", "2024-02-29T10:30"),
    ("20240229103015", "2024-02-29T10:30:15"),
    ("20240229103015.123456", "2024-02-29T10:30:15.123456"),
    ("20240229103015.1234569", "2024-02-29T10:30:15.123456"),
    ("19000101000000", "1900-01-01"),
]

WITH_OFFSET = [
    ("20240229103015.123456+0100", "2024-02-29T09:30:15.123456"),
    ("20240229103015-0530", "2024-02-29T16:00:15"),
    ("20240301003000+0100", "2024-02-29T23:30"),
    ("20240229+0000", "2024-02-29"),
    ("2024+1400", "2023-12-31T10"),
    ("2024-1200", "2024-01-01T12"),
]


def test_dates():
    values = date_values([text for text, _ in DATES])
    assert values.dtype == "datetime64[us]"
    np.testing.assert_array_equal(values, np.array([d for _, d in DATES], "datetime64[us]"))


def test_times():
    values = time_values([text for text, _ in TIMES])
    assert values.dtype == "timedelta64[ns]"
    expected = [round(seconds * 1e9) for _, seconds in TIMES]
    assert values.astype(np.int64).tolist() == expected
    assert np.isnat(time_values(["", None, "  "])).all()


@pytest.mark.parametrize("table", [DATETIMES, WITH_OFFSET], ids=["local", "offset"])
def test_datetimes(table):
    values = datetime_values([*(text for text, _ in table), None])
    assert values.dtype == "datetime64[us]"
    np.testing.assert_array_equal(values[:-1], np.array([d for _, d in table], "datetime64[us]"))
    assert np.isnat(values[-1])


def test_datetimes_with_and_without_offset_cannot_be_ordered():
    with pytest.raises(InvalidValue, match=r"'2024022910\+0100'.*'2024022910'"):
        datetime_values(["2024022910", "2024022910+0100"])


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (date_values, text)
        for text in ("20230229", "20241301", "20240100", "2024022", "202402290", "2024-02-29",
                     "00000101", "2024022x", "٢٠٢٤٠١٠١", "1" * 100)
    ]
    + [
        (time_values, text)
        for text in ("24", "2360", "235961", "1", "123", "12345", "1030 15", "103015,5", "10:3",
                     "10:30:1", "103015.5.5", "10.5", "-1", "noon", "103015+0100", "1" * 100)
    ]
    + [
        (datetime_values, text)
        for text in ("202", "20241", "20240230", "2024022924", "20240229103015+01", "2024+1401",
                     "2024-1201", "2024+0060", "+0100", "2024+01000", "20240229103015.+x100",
                     "2024022910301", "2024+0100+0100", "1" * 100)
    ],
)  # fmt: skip
def test_what_is_no_date_or_time_is_named(read, text):
    good = {date_values: "20240101", time_values: "10", datetime_values: "2024"}[read]
    with pytest.raises(InvalidValue) as error:
        read([good, None, text])
    assert repr(text) in str(error.value)
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, DbdicomError)
    values = read([good, None, text], invalid="nat")
    assert np.isnat(values).tolist() == [False, True, True]


def test_invalid_values_are_counted():
    with pytest.raises(InvalidValue, match=r"'x' is not a DICOM time.*nor are 2 others of 4"):
        time_values(["10", "x", "y", "x"])


def test_no_values():
    assert date_values([]).shape == time_values([]).shape == datetime_values([]).shape == (0,)


@given(st.lists(st.datetimes(datetime.datetime(1, 1, 1)), max_size=5))
def test_dates_and_times_agree_with_python(moments):
    np.testing.assert_array_equal(
        datetime_values([f"{m.year:04d}{m:%m%d%H%M%S.%f}" for m in moments]),
        np.array(moments, "datetime64[us]"),
    )
    np.testing.assert_array_equal(
        date_values([f"{m.year:04d}{m:%m%d}" for m in moments]),
        np.array([m.date() for m in moments], "datetime64[us]"),
    )
    midnight = [m.replace(hour=0, minute=0, second=0, microsecond=0) for m in moments]
    np.testing.assert_array_equal(
        time_values([f"{m:%H%M%S.%f}" for m in moments]),
        np.array(moments, "datetime64[us]") - np.array(midnight, "datetime64[us]"),
    )


@given(st.lists(st.text("0123456789.:+- ", max_size=28), max_size=5))
def test_any_text_is_read_or_not_a_time(texts):
    for read in (date_values, time_values):
        alone = [read([text], invalid="nat")[0] for text in texts]
        together = read(texts, invalid="nat")
        np.testing.assert_array_equal(together, np.array(alone, together.dtype))


def test_lengths_are_rounded_and_zero_has_no_sign():
    rounded = round_lengths(np.array([1.23456789, -1e-7, -0.0, -2.00004]))
    assert rounded.tolist() == [1.2346, 0.0, 0.0, -2.0]
    assert not np.signbit(rounded[1:3]).any()


def test_every_unit_belongs_to_a_number():
    for keyword in UNITS:
        tag = tag_for_keyword(keyword)
        if tag is None:
            assert keyword.islower(), f"{keyword} is not a DICOM keyword"
        else:
            assert dictionary_VR(tag) in {"DS", "FD", "FL", "IS", "UL", "US", "SL", "SS"}, keyword


@pytest.mark.parametrize(
    ("keyword", "unit", "tolerance", "decimals"),
    [
        ("SliceLocation", "mm", 1e-3, 4),
        ("ImagePositionPatient", "mm", 1e-3, 4),
        ("SliceThickness", "mm", 1e-3, 4),
        ("FlipAngle", "degree", 1e-3, None),
        ("EchoTime", "ms", 0, None),
        ("InversionTime", "ms", 0, None),
        ("RepetitionTime", "ms", 0, None),
        ("TriggerTime", "ms", 0, None),
        ("AcquisitionDuration", "s", 0, None),
        ("DiffusionBValue", "s/mm2", 0, None),
        ("MagneticFieldStrength", "T", 0, None),
        ("KVP", "kV", 0, None),
        ("InstanceNumber", None, 0, None),
        ("AcquisitionTime", None, 0, None),
        ("not a keyword", None, 0, None),
    ],
)
def test_units_tolerance_decimals(keyword, unit, tolerance, decimals):
    assert units_of(keyword) == unit
    assert is_length(keyword) == (unit == "mm")
    assert default_tolerance(keyword) == tolerance
    assert default_decimals(keyword) == decimals


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("EchoTime", {"long_name": "Echo Time", "tag": "(0018,0081)", "units": "ms"}),
        ((0x0018, 0x0081), {"long_name": "Echo Time", "tag": "(0018,0081)", "units": "ms"}),
        ("(0018,0081)", {"long_name": "Echo Time", "tag": "(0018,0081)", "units": "ms"}),
        (0x00180081, {"long_name": "Echo Time", "tag": "(0018,0081)", "units": "ms"}),
        ("AcquisitionTime", {"long_name": "Acquisition Time", "tag": "(0008,0032)"}),
        ("(0019,100c)", {"tag": "(0019,100c)"}),
        ("b_value", {"long_name": "Diffusion b-value", "units": "s/mm2"}),
        ("image_type", {"long_name": "What Pixels Are"}),
        ("window", {}),
    ],
)
def test_attrs(tag, expected):
    assert attrs(tag) == expected


def test_private_names_need_the_creator():
    assert attrs("(0019,100c)", "SIEMENS MR HEADER")["long_name"] == "B_value"
    assert attrs("(0019,100c)", "nobody") == {"tag": "(0019,100c)"}


def test_long_name():
    assert long_name("FlipAngle") == "Flip Angle"
    assert long_name("flip_angle") is None
