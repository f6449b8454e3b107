"""Dates as people write them, in the form of DICOM (PS3.5 6.2, DA)."""

from __future__ import annotations

import datetime
import re
from typing import Any

from dbdicom_xr.errors import InvalidValue

__all__ = ["dicom_date"]


def dicom_date(value: Any) -> str:
    """Return a date as DICOM writes it: ``YYYYMMDD``.

    Parameters
    ----------
    value : str or datetime.date
        Eight digits are read as year, month and day where that is a date between 1900 and 2100,
        else as day, month and year. With ``.``, ``-``, ``/`` or blanks between them, the year may
        come first if it has four digits; else the day does. Of two digits, years up to 68 are
        after 2000.

    Raises
    ------
    InvalidValue
        It cannot be read as a date.

    Examples
    --------
    >>> dicom_date("12.12.22"), dicom_date("19112022"), dicom_date("2022-11-19")
    ('20221212', '20221119', '20221119')
    """
    if isinstance(value, datetime.date):
        return value.strftime("%Y%m%d")
    text = str(value).strip()
    if re.fullmatch(r"\d{8}", text):
        orders: list[tuple[str, ...]] = [
            (text[:4], text[4:6], text[6:]),
            (text[4:], text[2:4], text[:2]),
        ]
    elif match := re.fullmatch(r"(\d{4})[.\-/ ](\d{1,2})[.\-/ ](\d{1,2})", text):
        orders = [match.groups()]
    elif match := re.fullmatch(r"(\d{1,2})[.\-/ ](\d{1,2})[.\-/ ](\d{4}|\d{2})", text):
        day, month, year = match.groups()
        if len(year) == 2:
            year = ("20" if int(year) <= 68 else "19") + year
        orders = [(year, month, day)]
    else:
        orders = []
    for year, month, day in orders:
        try:
            date = datetime.date(int(year), int(month), int(day))
        except ValueError:
            continue
        if len(orders) == 1 or 1900 <= date.year <= 2100:
            return date.strftime("%Y%m%d")
    raise InvalidValue(f"{value!r} is not a date; write year, month and day: '20221119'.")
