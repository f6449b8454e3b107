"""DICOM dates, times and date-times (DA, TM, DT) as numpy's, whole columns at once.

Each distinct text is read once, and all distinct texts together: as a matrix of characters, one
row per text, whose columns are the digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dbdicom_xr.errors import InvalidValue

Texts: TypeAlias = Sequence[str | None] | NDArray[Any]
Invalid: TypeAlias = Literal["raise", "nat"]
_Chars: TypeAlias = NDArray[np.int32]
_Ints: TypeAlias = NDArray[np.int64]
_Parsed: TypeAlias = tuple[_Ints, NDArray[np.bool_]]

_NAT = np.iinfo(np.int64).min


def date_values(values: Texts, *, invalid: Invalid = "raise") -> NDArray[np.datetime64]:
    """Read DICOM dates (DA, ``YYYYMMDD``; also ``YYYY.MM.DD`` of before 1993).

    Parameters
    ----------
    values : sequence of str or None
        Shape (n,). None and empty text are NaT.

    invalid : {"raise", "nat"}
        What a value that cannot be read does: raise, or become NaT.

    Returns
    -------
    np.ndarray
        ``datetime64[us]``, shape (n,): microseconds hold the years 1 to 9999, nanoseconds would end
        in 2262.

    Raises
    ------
    InvalidValue
        Naming the first value that is not a date.

    Notes
    -----
    PS3.5 6.2, value representation DA.

    Examples
    --------
    >>> date_values(["20240229", None])
    array(['2024-02-29T00:00:00.000000', 'NaT'], dtype='datetime64[us]')
    """
    return _read(values, "DA", invalid).view("datetime64[us]")


def time_values(values: Texts, *, invalid: Invalid = "raise") -> NDArray[np.timedelta64]:
    """Read DICOM times (TM, ``HHMMSS.FFFFFF``) as the time since midnight.

    Parameters
    ----------
    values : sequence of str or None
        Shape (n,). Minutes, seconds and fraction may be missing from the right (``HHMM``); colons
        between the parts, of before 1993, are read too. None and empty text are NaT.

    invalid : {"raise", "nat"}
        What a value that cannot be read does: raise, or become NaT.

    Returns
    -------
    np.ndarray
        ``timedelta64[ns]``, shape (n,).

    Raises
    ------
    InvalidValue
        Naming the first value that is not a time.

    Notes
    -----
    PS3.5 6.2, value representation TM. Second 60, of a leap second, is the next minute's start.

    Examples
    --------
    >>> time_values(["1030", "103000.5"])
    array([37800000000000, 37800500000000], dtype='timedelta64[ns]')
    """
    return _read(values, "TM", invalid).view("timedelta64[ns]")


def datetime_values(values: Texts, *, invalid: Invalid = "raise") -> NDArray[np.datetime64]:
    """Read DICOM date-times (DT, ``YYYYMMDDHHMMSS.FFFFFF&ZZXX``).

    Parameters
    ----------
    values : sequence of str or None
        Shape (n,). All after the year may be missing from the right. None and empty text are NaT.

    invalid : {"raise", "nat"}
        What a value that cannot be read does: raise, or become NaT.

    Returns
    -------
    np.ndarray
        ``datetime64[us]``, shape (n,). A value with an offset from UTC is converted to UTC; one
        without is taken as it stands.

    Raises
    ------
    InvalidValue
        Naming the first value that is not a date-time; or when some values have an offset and
        others have not, since they cannot be put in order.

    Notes
    -----
    PS3.5 6.2, value representation DT.

    Examples
    --------
    >>> datetime_values(["20240229103000.5+0100"])
    array(['2024-02-29T09:30:00.500000'], dtype='datetime64[us]')
    """
    return _read(values, "DT", invalid).view("datetime64[us]")


def _read(values: Texts, vr: str, invalid: Invalid) -> _Ints:
    if invalid not in ("raise", "nat"):
        raise ValueError(f"invalid must be 'raise' or 'nat', not {invalid!r}")
    column = np.empty(len(values), object)
    column[:] = values
    codes, texts = pd.factorize(column)
    parse, name, form, width = _KINDS[vr]
    # Text of this width is too long to be valid, so cutting what is longer changes nothing.
    padded = np.strings.strip(texts.astype(f"U{width}"))
    lengths = np.strings.str_len(padded)
    chars = padded.astype(f"U{width}").view(np.int32).reshape(-1, width)
    read, good = parse(chars, lengths)
    good &= lengths < width
    bad = ~good & (lengths > 0)
    if invalid == "raise" and bad.any():
        rows = np.flatnonzero(np.append(bad, False)[codes])
        more = f", nor are {len(rows) - 1} others of {len(column)}" if len(rows) > 1 else ""
        raise InvalidValue(f"{column[rows[0]]!r} is not a DICOM {name} ({vr}, {form}){more}")
    read[~good] = _NAT
    return np.append(read, _NAT)[codes]  # the code of None is -1


def _digits(chars: _Chars, length: _Ints, *, other_than: int | None = None) -> _Parsed:
    """Give the digits, 0 beyond the length; and which rows have nothing but digits."""
    inside = np.arange(chars.shape[1]) < length[:, None]
    if other_than is not None:
        inside[:, other_than] = False
    digits = np.where(inside, chars - ord("0"), 0)
    stray = (digits < 0) | (digits > 9)
    return digits.astype(np.int64), np.asarray(~stray.any(axis=1))


def _two(digits: _Ints, at: int) -> _Ints:
    return digits[:, at] * 10 + digits[:, at + 1]


def _date(digits: _Ints, length: _Ints) -> _Parsed:
    """Read YYYYMMDD, YYYYMM or YYYY as days since 1970."""
    year = _two(digits, 0) * 100 + _two(digits, 2)
    month = np.where(length >= 6, _two(digits, 4), 1)
    day = np.where(length >= 8, _two(digits, 6), 1)
    good = (year >= 1) & (month >= 1) & (month <= 12)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    first = months.astype("datetime64[D]").astype(np.int64)
    following = (months + 1).astype("datetime64[D]").astype(np.int64)
    return first + day - 1, good & (day >= 1) & (day <= following - first)


def _clock(digits: _Ints) -> _Parsed:
    """Read HHMMSS.F as nanoseconds; digits beyond the ninth of the fraction are dropped."""
    hour, minute, second = _two(digits, 0), _two(digits, 2), _two(digits, 4)
    fraction = digits[:, 7:16] @ 10 ** np.arange(8, -1, -1)
    seconds = hour * 3600 + minute * 60 + second
    return seconds * 10**9 + fraction, (hour < 24) & (minute < 60) & (second <= 60)


def _parse_date(chars: _Chars, length: _Ints) -> _Parsed:
    dotted = (length == 10) & (chars[:, 4] == ord(".")) & (chars[:, 7] == ord("."))
    chars, length = _without(chars, length, dotted, (4, 7))
    digits, good = _digits(chars, length)
    days, exists = _date(digits, length)
    return days * 86_400_000_000, good & exists & (length == 8)


def _parse_time(chars: _Chars, length: _Ints) -> _Parsed:
    colons = (chars[:, 2] == ord(":")) & ((chars[:, 5] == ord(":")) | (length == 5))
    chars, length = _without(chars, length, colons, (2, 5))
    digits, good = _digits(chars, length, other_than=6)
    nanoseconds, exists = _clock(digits)
    return nanoseconds, good & exists & _whole_parts(chars, length, 2, 6)


def _parse_datetime(chars: _Chars, length: _Ints) -> _Parsed:
    sign = (chars == ord("+")) | (chars == ord("-"))
    shifted = sign.any(axis=1)
    end = np.where(shifted, sign.argmax(axis=1), length)
    digits, good = _digits(chars, end, other_than=14)
    days, exists = _date(digits, end)
    nanoseconds, runs = _clock(digits[:, 8:])
    good &= exists & runs & _whole_parts(chars, end, 4, 14)

    at = np.minimum(end[:, None] + np.arange(1, 5), chars.shape[1] - 1)
    zone, whole = _digits(np.take_along_axis(chars, at, axis=1), np.full(len(chars), 4))
    minutes = _two(zone, 0) * 60 + _two(zone, 2)
    # PS3.5 6.2: the range is -1200 to +1400.
    east = np.take_along_axis(chars, at[:, :1] - 1, axis=1)[:, 0] == ord("+")
    valid = whole & (length == end + 5) & (_two(zone, 2) < 60)
    valid &= minutes <= np.where(east, 14 * 60, 12 * 60)
    good &= valid | ~shifted
    if (good & shifted).any() and (good & ~shifted).any():
        raise InvalidValue(
            f"{_text(chars[good & shifted][0])!r} has an offset from UTC and "
            f"{_text(chars[good & ~shifted][0])!r} has none: they cannot be put in order"
        )
    offset = np.where(shifted, np.where(east, minutes, -minutes), 0)
    return (days * 86_400 - offset * 60) * 10**6 + nanoseconds // 1000, good


def _whole_parts(chars: _Chars, length: _Ints, first: int, last: int) -> NDArray[np.bool_]:
    """Tell which texts end in a fraction, or after ``first``, ``first + 2``, ... digits."""
    whole = (length >= first) & (length <= last) & (length % 2 == 0)
    return np.asarray(whole | ((length > last) & (chars[:, last] == ord("."))))


def _without(
    chars: _Chars, length: _Ints, rows: NDArray[np.bool_], columns: tuple[int, int]
) -> tuple[_Chars, _Ints]:
    """Take the separators out of the rows that have them."""
    if not rows.any():
        return chars, length
    taken_out = np.zeros_like(chars[rows])
    taken_out[:, :-2] = np.delete(chars[rows], columns, axis=1)
    chars = chars.copy()
    chars[rows] = taken_out
    return chars, np.where(rows, np.count_nonzero(chars, axis=1), length)


def _text(chars: _Chars) -> str:
    return "".join(map(chr, chars)).rstrip("\0")


_KINDS: dict[str, tuple[Callable[[_Chars, _Ints], _Parsed], str, str, int]] = {
    "DA": (_parse_date, "date", "YYYYMMDD", 16),
    "TM": (_parse_time, "time", "HHMMSS.FFFFFF", 24),
    "DT": (_parse_datetime, "date and time", "YYYYMMDDHHMMSS.FFFFFF&ZZXX", 32),
}
