"""Coordinates of an array: what the value of a tag is as a label, and what is said beside it.

Numbers keep their unit in ``attrs``; dates and times (:mod:`dbdicom_xr.arrays.times`) have it in
their dtype, and zarr refuses both.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import (
    dictionary_description,
    dictionary_has_tag,
    keyword_for_tag,
    private_dictionary_description,
    tag_for_keyword,
)
from pydicom.tag import BaseTag, Tag

from dbdicom_xr.arrays.times import date_values, datetime_values, time_values
from dbdicom_xr.arrays.units import LONG_NAMES, UNITS

__all__ = [
    "attrs",
    "date_values",
    "datetime_values",
    "default_decimals",
    "default_tolerance",
    "is_length",
    "long_name",
    "round_lengths",
    "time_values",
    "units_of",
]

TagLike: TypeAlias = str | int | tuple[int, int] | BaseTag

LENGTH_DECIMALS = 4


def round_lengths(values: NDArray[Any]) -> NDArray[np.float64]:
    """Round lengths to 1e-4 mm, so that series of the same geometry have the same labels.

    Examples
    --------
    >>> round_lengths(np.array([12.500000119, -1e-9]))
    array([12.5,  0. ])
    """
    # Adding 0 makes 0 of -0, which would print and hash as another label.
    return np.add(np.round(values.astype(np.float64), LENGTH_DECIMALS), 0.0, dtype=np.float64)


def units_of(keyword: str) -> str | None:
    """Give the unit of a number by its keyword; None where it has none or it is not known.

    Examples
    --------
    >>> units_of("EchoTime"), units_of("InstanceNumber")
    ('ms', None)
    """
    return UNITS.get(keyword)


def is_length(keyword: str) -> bool:
    """Tell whether the values of a keyword are lengths or positions in mm.

    Examples
    --------
    >>> is_length("SliceLocation"), is_length("EchoTime")
    (True, False)
    """
    return UNITS.get(keyword) == "mm"


def default_tolerance(keyword: str) -> float:
    """Give how far apart two values may be and still be one: 1e-3 for lengths and angles, else 0.

    Examples
    --------
    >>> default_tolerance("SliceLocation"), default_tolerance("FlipAngle")
    (0.001, 0.001)
    >>> default_tolerance("EchoTime")
    0.0
    """
    return 1e-3 if UNITS.get(keyword) in ("mm", "degree") else 0.0


def default_decimals(keyword: str) -> int | None:
    """Give to how many decimals the labels of a keyword are rounded; None: not at all.

    Examples
    --------
    >>> default_decimals("SliceLocation")
    4
    """
    return LENGTH_DECIMALS if is_length(keyword) else None


def long_name(keyword: str) -> str | None:
    """Give the attribute's name in the DICOM dictionary; None for a keyword that is not in it.

    Examples
    --------
    >>> long_name("EchoTime")
    'Echo Time'
    """
    tag = tag_for_keyword(keyword)
    return None if tag is None else dictionary_description(tag)


def attrs(tag: TagLike, creator: str | None = None) -> dict[str, str]:
    """Give the ``attrs`` of the coordinate of a tag.

    Parameters
    ----------
    tag : str, int, tuple or BaseTag
        A keyword, the name of a custom attribute, or a tag; a tag as text is ``"(0019,100c)"``.
    creator : str, optional
        Private creator, through which pydicom's dictionary knows the name of a private tag.

    Returns
    -------
    dict
        Of ``long_name``, ``tag`` and ``units`` those that are known; dates and times have no
        ``units``.

    Examples
    --------
    >>> attrs("EchoTime")
    {'long_name': 'Echo Time', 'tag': '(0018,0081)', 'units': 'ms'}
    >>> attrs((0x0019, 0x100C), creator="SIEMENS MR HEADER")
    {'long_name': 'B_value', 'tag': '(0019,100c)'}
    """
    if isinstance(tag, str) and not tag.startswith("("):
        keyword, number = tag, tag_for_keyword(tag)
    else:
        number = _number(tag)
        keyword = keyword_for_tag(number)
    found: dict[str, str] = {}
    if number is not None:
        name = _name(Tag(number), creator)
        if name:
            found["long_name"] = name
        found["tag"] = f"({number >> 16:04x},{number & 0xFFFF:04x})"
    elif keyword in LONG_NAMES:
        found["long_name"] = LONG_NAMES[keyword]
    if keyword in UNITS:
        found["units"] = UNITS[keyword]
    return found


def _number(tag: TagLike) -> int:
    if isinstance(tag, str):
        group, element = tag.strip("()").split(",")
        return int(Tag(int(group, 16), int(element, 16)))
    return int(Tag(*tag) if isinstance(tag, tuple) else Tag(tag))


def _name(tag: BaseTag, creator: str | None) -> str | None:
    if dictionary_has_tag(tag):
        return dictionary_description(tag)
    if tag.is_private and creator:
        try:
            return private_dictionary_description(tag, creator)
        except KeyError:
            return None
    return None
