"""Numbers of DICOM: Python's and numpy's as text or bytes, by their VR (PS3.5 6.2, table 6.2-1).

Each rule raises ``InvalidValue`` with the rule alone; :mod:`dbdicom_xr.staging.element` adds the
attribute and the value.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from dbdicom_xr.errors import InvalidValue

__all__ = ["BLOBS", "NUMBERS", "blob", "decimal", "decimal_text", "integer", "kind_of", "number"]


def kind_of(value: Any) -> str:
    """Return the type of a value as messages name it."""
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiouAEIO' else 'a'} {name}"


def number(value: Any) -> int | float | Decimal:
    """Return a number as Python's own; what is none is refused, also True and False."""
    kind = type(value)
    if kind is float or kind is int:
        return value  # type: ignore[no-any-return]
    if isinstance(value, (bool, np.bool_)):
        raise InvalidValue(f"a number is wanted, not {value}; write 1 or 0.")
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value)
    if isinstance(value, Decimal):
        return value
    raise InvalidValue(f"a number is wanted, not {kind_of(value)}.")


_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([Ee][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")


def decimal(value: Any) -> str:
    """Return a DS; text stays as it is where it is valid."""
    if type(value) is float:
        return decimal_text(value)
    # A value that pydicom read knows how it was written.
    written = getattr(value, "original_string", None) or value
    if not isinstance(written, str):
        return decimal_text(number(value))
    stripped = written.strip(" ")
    if not stripped:
        return ""
    if not _DECIMAL.fullmatch(stripped):
        point = stripped.replace(",", ".")
        way_out = f"write {point!r}" if _DECIMAL.fullmatch(point) else "write a number, as 4.6"
        raise InvalidValue(f"DS is a decimal number (PS3.5 6.2); {way_out}.")
    try:
        shortened = decimal_text(Decimal(stripped))  # refuses what no double can hold
    except ArithmeticError:
        raise InvalidValue(_NO_DOUBLE) from None
    return stripped if len(stripped) <= 16 else shortened


def decimal_text(value: float | Decimal) -> str:
    """Return the decimal of at most 16 characters nearest to a number (PS3.5 6.2, DS).

    Examples
    --------
    >>> decimal_text(4.6), decimal_text(-1 / 3), decimal_text(1 / 3e5)
    ('4.6', '-.33333333333333', '3.33333333333E-6')
    """
    if type(value) is float:
        exact = repr(value)
        if value - value != 0:
            raise InvalidValue(
                f"DS has no {exact} (PS3.5 6.2); None deletes the attribute, '' leaves it empty."
            )
        size = abs(value)
        if 1e-4 <= size < 1e14:
            if len(exact) <= 16:
                return exact.removesuffix(".0")
            return _fixed(value)
        if size == 0:
            return exact.removesuffix(".0")
        mantissa, _, power = exact.lstrip("-").partition("e")
        front, _, behind = mantissa.partition(".")
        return _general(value, value < 0, front + behind, int(power or 0) - len(behind))
    number = Decimal(value)
    if not number.is_finite():
        raise InvalidValue(f"DS has no {value} (PS3.5 6.2); None deletes the attribute.")
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # it is finite
    return _general(number, sign, "".join(map(str, digits)), exponent)


def _fixed(value: float) -> str:
    """Return a number between 1e-4 and 1e14 without an exponent: ten times as fast."""
    negative, size = value < 0, abs(value)
    if size < 1:
        decimals = 15 - negative
        digits = f"{size:.{decimals}f}".removeprefix("0")
    else:
        decimals = 15 - negative - len(str(int(size)))
        digits = f"{size:.{decimals}f}"
    if decimals:
        # Rounding up to one more digit in front leaves zeros behind the point, which go.
        digits = digits.rstrip("0").rstrip(".")
    return f"-{digits}" if negative else digits


def _general(value: float | Decimal, sign: int, digits: str, exponent: int) -> str:
    """Return the decimal with most digits whose shortest form has 16 characters."""
    found = _laid_out(sign, digits, exponent)
    # With an exponent there is room for 14 digits, below 1e-4 for 12: 123456789012E-17.
    place = len(digits) + exponent
    count = min(len(digits), 16 if -4 < place <= 16 else 14 if place > 0 else 12)
    while found is None and count:
        mantissa, _, power = f"{value:.{count - 1}e}".lstrip("-").partition("e")
        rounded = mantissa.replace(".", "")
        found = _laid_out(sign, rounded, int(power) - count + 1)
        if found and math.isinf(float(found)) and -_ABOVE_ALL < value < _ABOVE_ALL:
            # Rounded up, it would be beyond the largest double: the next one below.
            found = _laid_out(sign, str(int(rounded) - 1), int(power) - count + 1)
        count -= 1
    if found is None or math.isinf(float(found)) or (float(found) == 0) != (value == 0):
        raise InvalidValue(_NO_DOUBLE)
    return found


_ABOVE_ALL = Decimal(2**1024 - 2**970)  # reads as infinity
_NO_DOUBLE = "it is beyond double precision, as which a DS is read (5E-324 to 1.79E308 in size)."


def _laid_out(sign: int, digits: str, exponent: int) -> str | None:
    """Return digits times a power of ten in the form that is usual, of those that fit."""
    front = "-" if sign else ""
    digits = digits.lstrip("0")
    kept = digits.rstrip("0")
    if not kept:
        return f"{front}0"
    exponent += len(digits) - len(kept)
    place = len(kept) + exponent  # of the point, from the first digit
    room = 16 - sign
    shortest = f"{kept}E{exponent}"
    # Without an exponent it takes a point, zeros behind it, or zeros at the end.
    plain_length = max(place, len(kept) + 1 - min(place, 0) if exponent < 0 else 0)
    if len(shortest) > room and plain_length > room:
        return None
    if place > 16 or place < -16:
        plain = ""
    elif place <= 0:
        plain = "0." + "0" * -place + kept
    elif exponent >= 0:
        plain = kept + "0" * exponent
    else:
        plain = kept[:place] + "." + kept[place:]
    scientific = f"{kept[0]}{'.' + kept[1:] if kept[1:] else ''}E{place - 1}"
    forms = [plain, plain.removeprefix("0"), scientific, shortest]
    if not -5 < place - 1 < 16:
        forms = forms[2:] + forms[:2]
    return next((front + form for form in forms if form and len(form) <= room), None)


def integer(value: Any) -> str:
    """Return an IS."""
    if isinstance(value, str):
        stripped = value.strip(" ")
        if not stripped:
            return ""
        if not _INTEGER.fullmatch(stripped):
            raise InvalidValue("IS is a whole number (PS3.5 6.2); write it as 12.")
        whole = int(stripped) if len(stripped) <= 12 else 2**31
    else:
        stripped = ""
        whole = _whole(number(value), "IS")
    _in_range(whole, -(2**31), 2**31 - 1, "IS")
    return stripped or str(whole)


def _whole(value: float | Decimal, vr: str) -> int:
    if type(value) is int:
        return value
    whole = int(value) if math.isfinite(value) else None
    if whole is None or whole != value:
        raise InvalidValue(f"{vr} is a whole number (PS3.5 6.2), {value} is not; round it first.")
    return whole


def _in_range(value: int, low: int, high: int, vr: str) -> None:
    if not low <= value <= high:
        raise InvalidValue(f"{vr} goes from {low} to {high} (PS3.5 6.2).")


_FORMATS: dict[str, str] = {
    "US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q",
}  # fmt: skip


def _packed_integers(vr: str) -> Callable[[Sequence[Any]], bytes]:
    code = _FORMATS[vr]
    bits = 8 * struct.calcsize(f"<{code}")
    low, high = (0, 2**bits - 1) if code.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    def pack(values: Sequence[Any]) -> bytes:
        wholes = [_whole(number(value), vr) for value in values]
        if wholes:
            _in_range(min(wholes), low, high, vr)
            _in_range(max(wholes), low, high, vr)
        return struct.pack(f"<{len(wholes)}{code}", *wholes)

    return pack


def _double(value: Any) -> float:
    exact = number(value)
    if type(exact) is float:
        return exact
    try:
        result = float(exact)
    except OverflowError:
        result = math.inf
    if math.isinf(result) or (result == 0) != (exact == 0):
        raise InvalidValue("FL and FD hold numbers from 5e-324 to 1.79e308 in size (PS3.5 6.2).")
    return result


def _packed_doubles(values: Sequence[Any]) -> bytes:
    return struct.pack(f"<{len(values)}d", *map(_double, values))


def _packed_singles(values: Sequence[Any]) -> bytes:
    doubles = [_double(value) for value in values]
    for double in doubles:
        single = _as_single(double)
        if math.isinf(single) != math.isinf(double) or (single == 0) != (double == 0):
            raise InvalidValue(
                "FL goes from 1.4e-45 to 3.4028e38 in size (single precision, PS3.5 6.2)."
            )
    return struct.pack(f"<{len(values)}f", *doubles)


def _as_single(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.inf


_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),? ?([0-9A-Fa-f]{4})\)?")


def _tag(value: Any) -> int:
    if isinstance(value, str):
        from pydicom.datadict import tag_for_keyword

        known = tag_for_keyword(value)
        match = _TAG.fullmatch(value)
        if known is None and match is None:
            raise InvalidValue(f"{value!r} is not a keyword of DICOM (PS3.6), nor a tag.")
        return int(known) if known is not None else int(match[1] + match[2], 16)  # type: ignore[index]
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise InvalidValue("a tag is a pair of group and element, as (0x0018, 0x0081).")
        group, element = (_whole(number(part), "AT") for part in value)
        _in_range(group, 0, 0xFFFF, "a group")
        _in_range(element, 0, 0xFFFF, "an element")
        return group << 16 | element
    whole = _whole(number(value), "AT")
    _in_range(whole, 0, 0xFFFFFFFF, "AT")
    if 0 < whole <= 0xFFFF:
        raise InvalidValue(
            "a tag has a group and an element; write (0x0018, 0x0081), in parentheses, or "
            "0x00180081."
        )
    return whole


def _packed_tags(values: Sequence[Any]) -> bytes:
    tags = [_tag(value) for value in values]
    return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in tags)


_ITEMS: dict[str, tuple[str, int]] = {
    "OB": ("uint8 or int8", 1), "UN": ("uint8 or int8", 1), "OW": ("uint16 or int16", 2),
    "OL": ("uint32 or int32", 4), "OV": ("uint64 or int64", 8), "OF": ("float32", 4),
    "OD": ("float64", 8),
}  # fmt: skip


def blob(value: Any, vr: str) -> bytes:
    """Return bytes as they are, and the numbers of a numpy array in little endian."""
    types, size = _ITEMS[vr]
    if isinstance(value, (bytes, bytearray, memoryview)):
        result = bytes(value)
        if len(result) % size:
            raise InvalidValue(
                f"{vr} holds items of {size} bytes, this has {len(result)} bytes (PS3.5 6.2)."
            )
        return result
    if isinstance(value, np.ndarray):
        if value.dtype.name not in types.split(" or "):
            raise InvalidValue(
                f"{vr} takes an array of {types}, not {value.dtype} (PS3.5 6.2); convert it first."
            )
        return value.astype(value.dtype.newbyteorder("<")).tobytes()
    raise InvalidValue(f"{vr} takes bytes or a numpy array of {types}, not {kind_of(value)}.")


NUMBERS: dict[str, Callable[[Sequence[Any]], bytes]] = {
    **{vr: _packed_integers(vr) for vr in _FORMATS},
    "FL": _packed_singles,
    "FD": _packed_doubles,
    "AT": _packed_tags,
}
"""Of the VRs that are binary numbers, how several values are packed."""

BLOBS = frozenset(_ITEMS)
"""The VRs that are bytes, which only their reader understands."""
