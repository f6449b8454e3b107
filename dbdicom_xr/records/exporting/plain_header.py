"""What all frames of a series agree in, as attributes of any format: texts and numbers."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.store import FRAME, INSTANCE
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import parse_name

__all__ = ["constant", "constant_attributes", "keyword_of", "plain", "storable"]

_LONGEST: Final = 1024  # characters, or numbers in a list: attributes are for reading
_LARGEST: Final = 2**63  # what netCDF 4 and zarr hold as an integer
_SMALL: Final = 2**31  # what netCDF 3 holds
_NEVER_PLAIN: Final = frozenset(("SQ", "OB", "OW", "OF", "OD", "OL", "OV"))


def constant_attributes(table: Table, rows: npt.NDArray[np.intp] | None = None) -> dict[str, Any]:
    """Return what all frames of a series agree in, by keyword, as far as it is text or numbers.

    Sequences, bytes, long texts and private attributes are left out: a file of another format can
    hold the rest.

    Parameters
    ----------
    table : Table
    rows : ndarray of int, optional
        Those frames alone; each may occur several times.
    """
    table.load()
    found: dict[str, Any] = {}
    for key in table.keys:
        keyword = keyword_of(key)
        if keyword and (value := storable(constant(table, key, rows))) is not None:
            found[keyword] = value
    return found


@lru_cache(maxsize=65536)
def keyword_of(key: Key) -> str:
    """Return the keyword of a public attribute of the data set; "" of others.

    Groups that repeat (overlays) share their keywords; group 0002 is about the file.
    """
    from pydicom.datadict import dictionary_has_tag, keyword_for_tag

    repeats = key.tag >> 24 in (0x50, 0x60)
    if key.creator or repeats or key.tag >> 16 == 2 or not dictionary_has_tag(key.tag):
        return ""
    return keyword_for_tag(key.tag)


def constant(table: Table, key: Key, rows: npt.NDArray[np.intp] | None = None) -> Any:
    """Return the value of an attribute that all frames have.

    None where they do not agree, or where it cannot be ``plain``.
    """
    frames, whole = table.column(key, FRAME), table.column(key, INSTANCE)
    if frames is None and whole is not None and whole.codes is None:
        if whole.left_in_files or whole.kinds[0].vr in _NEVER_PLAIN:
            return None
        return whole.decoded()[0]
    if table.left_in_files(key):
        return None
    values = parse_name(key.tag).values(table)
    if values is None:
        return None
    codes = values.codes if rows is None else values.codes[rows]
    if not len(codes) or bool((codes < 0).any()):
        return None
    first, *others = (values.distinct[code] for code in np.unique(codes).tolist())
    return first if all(type(other) is type(first) and other == first for other in others) else None


def storable(value: Any) -> Any:
    r"""Return a value as the attribute of a file of any format, None where it can be none.

    Several texts are one, as DICOM writes them (PS3.5 6.2), since netCDF has no lists of texts; and
    integers of more than 32 bits, which netCDF 3 has not, are floats where these hold them.

    Examples
    --------
    >>> print(storable(["ORIGINAL", "PRIMARY"]))
    ORIGINAL\PRIMARY
    >>> storable([1, 2.5]), storable([]), storable(b"...")
    ([1.0, 2.5], None, None)
    >>> storable([1, 2**40]), storable(2**60 + 1)
    ([1.0, 1099511627776.0], None)
    """
    found = plain(value)
    numbers = found if isinstance(found, list) else [found]
    if any(isinstance(number, int) and not -_SMALL <= number < _SMALL for number in numbers):
        floats = [float(number) for number in numbers]
        if floats != numbers:
            return None
        return floats if isinstance(found, list) else floats[0]
    if isinstance(found, list) and isinstance(found[0], str):
        return plain("\\".join(found))
    return found


def plain(value: Any) -> Any:
    """Return a value as JSON has it, texts, numbers and lists of them; None where it can be none.

    Examples
    --------
    >>> plain(["ORIGINAL", "PRIMARY"]), plain([1, 2.5]), plain(b"..."), plain(["a", 1])
    (['ORIGINAL', 'PRIMARY'], [1.0, 2.5], None, None)
    """
    if isinstance(value, str):
        return value if 0 < len(value) <= _LONGEST and _is_text(value) else None
    if isinstance(value, (int, float)):
        return value if _is_plain_number(value) else None
    if isinstance(value, list) and 0 < len(value) <= _LONGEST:
        if all(isinstance(part, str) and _is_text(part) for part in value):
            return list(map(str, value))
        if all(isinstance(part, (int, float)) and _is_plain_number(part) for part in value):
            of_one_type = all(isinstance(part, int) for part in value)
            return list(value) if of_one_type else list(map(float, value))
    return None


def _is_plain_number(value: float) -> bool:
    if isinstance(value, int):
        return -_LARGEST <= value < _LARGEST
    return math.isfinite(value)


def _is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
