"""Dates and times as people write them, in the form of DICOM (PS3.5 6.2: DA, TM, DT)."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np

from dbdicom_xr.errors import InvalidValue

__all__ = ["dicom_date", "dicom_datetime", "dicom_time"]


def dicom_date(value: Any) -> str:
    """Return a date as DICOM writes it: ``YYYYMMDD``.

    Parameters
    ----------
    value : str, datetime.date, datetime.datetime, np.datetime64 or pd.Timestamp
        Eight digits are read as year, month and day where that is a date between 1900 and 2100,
        else as day, month and year where that is one, else as whichever is a date at all (dates of
        1850 hide the true ones). With ``.``, ``-``, ``/`` or blanks between them, the year may
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
    if isinstance(value, np.datetime64):
        unit, value = np.datetime_data(value.dtype)[0], _from_numpy(value.astype("datetime64[D]"))
        if unit in ("Y", "M"):
            raise InvalidValue(f"{value!r} has no day; write year, month and day: '20221119'.")
    if isinstance(value, datetime.date):
        _not_missing(value)
        return f"{value.year:04d}{value.month:02d}{value.day:02d}"
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
    dates = []
    for year, month, day in orders:
        try:
            dates.append(datetime.date(int(year), int(month), int(day)))
        except ValueError:
            continue
    likely = [date for date in dates if 1900 <= date.year <= 2100]
    if likely or len(dates) == 1:
        date = (likely or dates)[0]
        return f"{date.year:04d}{date.month:02d}{date.day:02d}"
    raise InvalidValue(f"{value!r} is not a date; write year, month and day: '20221119'.")


_TIME = re.compile(r"([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6}))?)?")


def dicom_time(value: Any) -> str:
    """Return a time of day as DICOM writes it: ``HHMMSS.FFFFFF``, as far as it is known.

    Parameters
    ----------
    value : str or datetime.time
        With or without colons: ``12:30:05.5``, ``123005.5``, ``12:30``. A number is refused, as
        nobody knows whether 123005 is a time of day or a number of seconds.

    Raises
    ------
    InvalidValue
        It cannot be read as a time of day.

    Examples
    --------
    >>> dicom_time("12:30:05.5"), dicom_time("9:05")
    ('123005.5', '0905')
    """
    if isinstance(value, datetime.time):
        if value.tzinfo is not None:
            raise InvalidValue("a time (TM) has no UTC offset; leave out its tzinfo.")
        fraction = f".{value.microsecond:06d}" if value.microsecond else ""
        return f"{value.hour:02d}{value.minute:02d}{value.second:02d}{fraction}"
    if isinstance(value, str):
        text = value.strip()
        match = _TIME.fullmatch(text) or _CLOCK.fullmatch(text)
        if match:
            hour, minute, second, fraction = match.groups()
            # 60 is a leap second.
            if int(hour) <= 23 and int(minute or 0) <= 59 and int(second or 0) <= 60:
                joined = f"{int(hour):02d}{minute or ''}{second or ''}"
                return f"{joined}.{fraction}" if fraction else joined
    raise InvalidValue(
        "not a time of day; write '12:30:05.5' (hours, minutes, seconds with up to 6 decimals) or "
        "a datetime.time."
    )


_DIGITS = re.compile(r"[0-9]{4}(?:[0-9]{2}){0,5}(?:\.[0-9]{1,6})?")
_OFFSET = re.compile(r"(.*?)([+-])([0-9]{2}):?([0-9]{2})")


def dicom_datetime(value: Any) -> str:
    """Return a date and time as DICOM writes it: ``YYYYMMDDHHMMSS.FFFFFF+ZZXX``, as far as known.

    Parameters
    ----------
    value : str, datetime.datetime, datetime.date, np.datetime64 or pd.Timestamp
        Text in the form of DICOM, or a date as :func:`dicom_date` takes it, then ``T`` or a blank,
        then a time as :func:`dicom_time` takes it; then the offset from UTC, if any.

    Raises
    ------
    InvalidValue
        It cannot be read as a date and time, or is finer than a microsecond.

    Examples
    --------
    >>> dicom_datetime("2022-11-19T12:30:05.5+01:00"), dicom_datetime("19.11.2022 9:05")
    ('20221119123005.5+0100', '202211190905')
    """
    if isinstance(value, np.datetime64):
        unit = np.datetime_data(value.dtype)[0]
        known = {"Y": 4, "M": 6, "W": 8, "D": 8, "h": 10, "m": 12}.get(unit)
        return dicom_datetime(_from_numpy(value))[:known]
    if isinstance(value, datetime.datetime):
        _not_missing(value)
        if getattr(value, "nanosecond", 0):
            raise InvalidValue(_TOO_FINE)
        return dicom_date(value) + dicom_time(value.time()) + _offset(value.utcoffset())
    if isinstance(value, datetime.date):
        return dicom_date(value)
    if isinstance(value, str):
        return _datetime_text(value.strip())
    raise InvalidValue(_NOT_A_DATETIME)


_NOT_A_DATETIME = "not a date and time; write '2022-11-19 12:30:05' or a datetime.datetime."
_TOO_FINE = "DT holds microseconds; round it to those."


def _datetime_text(text: str) -> str:
    if text.endswith("Z"):
        text = text[:-1] + "+0000"
    offset = ""
    match = _OFFSET.fullmatch(text)
    # 19-11-2022 is a date: "-" begins an offset behind a time, or behind the form of DICOM.
    if match and (match[2] == "+" or ":" in match[1] or _DIGITS.fullmatch(match[1])):
        text, sign, hours, minutes = match.groups()
        shift = int(sign + "1") * (60 * int(hours) + int(minutes))
        # "-0000 shall not be used", and offsets go from -12 to +14 hours (PS3.5 6.2, DT).
        if int(minutes) > 59 or not -720 <= shift <= 840 or (sign == "-" and not shift):
            raise InvalidValue("the offset from UTC goes from -1200 to +1400.")
        offset = f"{sign}{hours}{minutes}"
    if _DIGITS.fullmatch(text) and len(text) != 8 and "." not in text[:8]:
        day, time = text[:8], text[8:]
        try:
            datetime.date(int(day[:4]), int(day[4:6] or 1), int(day[6:] or 1))
        except ValueError:
            raise InvalidValue(_NOT_A_DATETIME) from None
        return day + (dicom_time(time) if time else "") + offset
    for place in (text.find("T"), text.rfind(" ")):
        if place > 0:
            return dicom_date(text[:place]) + dicom_time(text[place + 1 :]) + offset
    try:
        return dicom_date(text) + offset
    except InvalidValue:
        raise InvalidValue(_NOT_A_DATETIME) from None


def _offset(offset: datetime.timedelta | None) -> str:
    if offset is None:
        return ""
    minutes, rest = divmod(offset, datetime.timedelta(minutes=1))
    if rest or not -720 <= minutes <= 840:
        raise InvalidValue("the offset from UTC goes from -1200 to +1400, in whole minutes.")
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


def _from_numpy(value: np.datetime64) -> datetime.datetime:
    """Return the same moment, if Python can hold it."""
    if np.isnat(value):
        raise InvalidValue(_MISSING)
    moment = value.astype("datetime64[us]")
    if moment != value:
        raise InvalidValue(_TOO_FINE)
    result = moment.item()
    if not isinstance(result, datetime.datetime):
        raise InvalidValue("years go from 1 to 9999.")
    return result


_MISSING = "NaT is no date; None deletes the attribute, '' leaves it empty."


def _not_missing(value: datetime.date) -> None:
    if value != value:  # pandas' NaT calls itself a datetime
        raise InvalidValue(_MISSING)
