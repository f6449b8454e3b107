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

from dbdicom_xr.decimals import NO_DOUBLE, decimal_text
from dbdicom_xr.errors import InvalidValue

__all__ = ["BLOBS", "NUMBERS", "blob", "decimal", "integer", "kind_of", "number"]


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
        raise InvalidValue(NO_DOUBLE) from None
    return stripped if len(stripped) <= 16 else shortened


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
