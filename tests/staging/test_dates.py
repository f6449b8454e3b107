"""Dates as people write them."""

import datetime

import pytest

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.staging.dates import dicom_date


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("20221119", "20221119"),
        ("19112022", "20221119"),
        ("12.12.22", "20221212"),
        ("1/2/2003", "20030201"),
        ("2003-02-01", "20030201"),
        ("01-02-71", "19710201"),
        ("20111912", "19121120"),
        ("18500101", "18500101"),
        ("01.01.1850", "18500101"),
        (datetime.date(2024, 2, 29), "20240229"),
        (datetime.datetime(2024, 2, 29, 12), "20240229"),
    ],
)
def test_dates_that_can_be_read(written: object, stored: str) -> None:
    assert dicom_date(written) == stored


@pytest.mark.parametrize(
    "written", ["", "yesterday", "31.02.2022", "12/31/2022", "99999999", "11101110", "2022"]
)
def test_dates_that_cannot(written: str) -> None:
    with pytest.raises(InvalidValue, match="is not a date"):
        dicom_date(written)
