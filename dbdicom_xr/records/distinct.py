"""The different values of an attribute, which a record gives that stands for many images."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

__all__ = ["Distinct", "distinct", "own"]


class Distinct(list[Any]):
    """The distinct values of an attribute, sorted.

    Examples
    --------
    >>> Distinct([5.0]).item()
    5.0
    """

    def item(self) -> Any:
        """Return the only value.

        Raises
        ------
        ValueError
            There are several values, or none.
        """
        if not self:
            raise ValueError("there is no value to return: no frame has one")
        if len(self) != 1:
            raise ValueError(
                f"there is not one value but {len(self)}"
                + (f": {', '.join(map(repr, self[:5]))}" if self else "")
            )
        return self[0]


def own(value: Any) -> Any:
    """Return a value that the caller may change: what can be changed is shared by many frames."""
    return value if isinstance(value, (str, int, float, bytes)) else copy.deepcopy(value)


def distinct(values: list[Any]) -> Distinct:
    """Return the values without repetition and in order."""
    kept: dict[Any, Any] = {}
    for value in values:
        key: Any = value
        if isinstance(value, list):
            key = (list, *value)
        elif isinstance(value, np.ndarray):
            key = (value.shape, value.dtype.str, value.tobytes())
        elif type(value).__hash__ is None:  # a sequence
            key = (type(value), str(value))
        kept.setdefault(key, value)
    result = [own(value) for value in kept.values()]
    try:
        return Distinct(sorted(result))
    except (TypeError, ValueError):  # of several types, or arrays
        return Distinct(sorted(result, key=lambda value: (type(value).__name__, str(value))))
