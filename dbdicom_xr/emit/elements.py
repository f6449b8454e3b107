"""What images say, attribute by attribute: one column per element, one row per image.

The form in which headers are derived, completed and written: 100,000 images that agree in an
attribute hold it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom.datadict import tag_for_keyword

from dbdicom_xr.index.columns import Column, Key, tidy
from dbdicom_xr.staging.encode import Encoded, encode, set_encoded
from dbdicom_xr.staging.patch import delta

__all__ = [
    "Elements",
    "constant",
    "key_of",
    "lookup",
    "per_image",
    "put",
    "put_missing",
    "take",
    "without",
]

Elements: TypeAlias = dict[Key, Column]
"""Columns of Kind and raw bytes, in explicit VR little endian and UTF-8; a row per image.

A code of -1 stands where an image lacks the element.
"""


def key_of(keyword: str) -> Key:
    """Return the key of a standard attribute.

    Raises
    ------
    KeyError
        There is none of this keyword.

    Examples
    --------
    >>> str(key_of("FlipAngle"))
    '(0018,1314)'
    """
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return Key(tag)


def constant(key: Key | str, value: Any, images: int) -> Column:
    """Return a column in which all images have one value.

    Parameters
    ----------
    key : Key or str
        A keyword for standard attributes.
    value
        As :func:`~dbdicom_xr.staging.encode.encode` takes it, or an ``Encoded``.
    images : int
        Number of rows.

    Examples
    --------
    >>> constant("EchoTime", 4.6, 3).decoded()
    [4.6]
    """
    key = key_of(key) if isinstance(key, str) else key
    encoded = value if isinstance(value, Encoded) else encode(key.tag, value, creator=key.creator)
    return delta(key, [encoded if encoded is not None else encode(key.tag, "")], None, images)


def per_image(key: Key | str, values: Sequence[Any]) -> Column:
    """Return a column of one value per image; None where an image lacks it.

    Examples
    --------
    >>> per_image("InstanceNumber", [1, 2, None]).codes
    array([ 0,  1, -1], dtype=int32)
    """
    key = key_of(key) if isinstance(key, str) else key
    encoded = set_encoded(key.tag, values, creator=key.creator)
    numbers: dict[Encoded, int] = {}
    codes = np.array(
        [-1 if one is None else numbers.setdefault(one, len(numbers)) for one in encoded], np.int32
    )
    kinds: dict[Any, int] = {}
    kind_of = [kinds.setdefault(one.kind, len(kinds)) for one in numbers]
    return tidy(key, list(kinds), [one.value for one in numbers], kind_of, codes)


def put(elements: Elements, images: int, values: Mapping[str, Any]) -> None:
    """Set attributes by keyword, the same in all images; None takes one out."""
    for keyword, value in values.items():
        if value is None:
            elements.pop(key_of(keyword), None)
        else:
            elements[key_of(keyword)] = constant(keyword, value, images)


def put_missing(elements: Elements, images: int, values: Mapping[str, Any]) -> None:
    """Set attributes by keyword in the images that lack them, also where they are empty."""
    for keyword, value in values.items():
        key = key_of(keyword)
        column = elements.get(key)
        if column is None:
            elements[key] = constant(keyword, value, images)
            continue
        present = column.present()
        if present.all() or value in ("", [], None):
            if not bool((column.codes_of() >= 0).all()):
                elements[key] = _filled(column, constant(keyword, value, images))
            continue
        codes = np.where(present, column.codes_of(), -1).astype(np.int32)
        kept = Column(key, column.kinds, column.values, column.kind_of, codes, column.rows)
        elements[key] = _filled(kept, constant(keyword, value, images))


def _filled(column: Column, other: Column) -> Column:
    """Return a column with the value of another where it has none."""
    codes = column.codes_of()
    return tidy(
        column.key,
        [*column.kinds, *other.kinds],
        [*column.values, *other.values],
        [*column.kind_of, *[number + len(column.kinds) for number in other.kind_of]],
        np.where(codes >= 0, codes, len(column.values)).astype(np.int32),
    )


def lookup(elements: Mapping[Key, Column], keyword: str) -> list[Any] | None:
    """Return the value of an attribute in each image, None where no image has it."""
    column = elements.get(key_of(keyword))
    if column is None:
        return None
    values = [*column.decoded(), None]
    return [values[code] for code in column.codes_of().tolist()]


def without(elements: Elements, keywords: Iterable[str]) -> None:
    """Take attributes out."""
    for keyword in keywords:
        elements.pop(key_of(keyword), None)


def take(elements: Mapping[Key, Column], images: npt.NDArray[np.intp]) -> Elements:
    """Return what some images say, in this order."""
    taken = {key: column.take(images) for key, column in elements.items()}
    return {key: c for key, c in taken.items() if c.codes is None or bool((c.codes >= 0).any())}
