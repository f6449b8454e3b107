"""Private columns by creator, and columns looked at side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.table import Table, Values

__all__ = ["first_number", "is_made_by", "private", "unit_vector", "work_out"]

_MANUFACTURER: Final = Key(0x00080070)


def private(table: Table, creator: str, tag: int, maker: str) -> Values | None:
    """Return a private attribute of a creator, in whichever block it stands.

    Parameters
    ----------
    table : Table
    creator : str
    tag : int
        With the block that the maker uses.
    maker : str
        How Manufacturer begins. Programs that take out names may take out creators too; then the
        element of that number is taken, in images of this maker only.
    """
    wanted, name = tag & 0xFFFF00FF, creator.casefold()
    orphan = None
    for key in table.keys:
        if key.tag == wanted and key.creator.casefold() == name:
            return table.values(key)
        if key == Key(tag):
            orphan = key
    if orphan is None:
        return None
    makers = table.values(_MANUFACTURER)
    if makers is None or not all(is_made_by(value, maker) for value in makers.distinct):
        return None
    return table.values(orphan)


def is_made_by(manufacturer: Any, *makers: str) -> bool:
    """Return whether a manufacturer is one of these, by how it begins.

    Examples
    --------
    >>> is_made_by("GE MEDICAL SYSTEMS", "GE"), is_made_by("SIEMENS", "GE"), is_made_by(None, "GE")
    (True, False, False)
    """
    return isinstance(manufacturer, str) and manufacturer.upper().startswith(makers)


def work_out(
    columns: Sequence[Values | None], frames: int, read: Callable[..., Any]
) -> Values | None:
    """Return what a function makes of the values of each frame, called once per combination.

    Parameters
    ----------
    columns : sequence of Values or None
    frames : int
    read : callable
        Takes a value of each column, None where a frame has none.
    """
    if all(column is None for column in columns):
        return None
    codes = np.zeros(frames, np.int64)
    for column in columns:
        # Pair by pair: np.unique of rows takes ten times as long.
        if column is not None and (column.codes != column.codes[:1]).any():
            pairs = codes * (len(column.distinct) + 1) + column.codes + 1
            codes = np.unique(pairs, return_inverse=True)[1].reshape(-1)
    _, firsts, codes = np.unique(codes, return_index=True, return_inverse=True)
    distinct = [
        read(*(None if column is None else column.of(row) for column in columns))
        for row in firsts.tolist()
    ]
    return Values(distinct, codes.reshape(-1).astype(np.int32))


def first_number(value: Any) -> float | None:
    """Return the first number of a value, also of one of unknown VR.

    Examples
    --------
    >>> first_number([1000, 8, 0]), first_number(b"0.5 "), first_number("M"), first_number(None)
    (1000.0, 0.5, None, None)
    """
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").split("\\")[0].strip(" \0")
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def unit_vector(value: Any) -> list[float] | None:
    """Return three numbers as a vector of length 1; None where they are none, or all 0.

    Examples
    --------
    >>> unit_vector([0, 0, 2.0])
    [0.0, 0.0, 1.0]
    >>> unit_vector([0.0, 0.0, 0.0]), unit_vector([1.0, None, 0.0]), unit_vector(None)
    (None, None, None)
    """
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        return None
    numbers = [first_number(part) for part in value]
    if any(number is None for number in numbers):
        return None
    vector = np.array(numbers, np.float64)
    length = float(np.linalg.norm(vector))
    if length < 1e-6:
        return None
    # Adding 0 makes 0 of -0.
    return [float(part) + 0.0 for part in vector / length]
