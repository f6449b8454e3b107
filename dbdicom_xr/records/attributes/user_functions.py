"""Calling functions of the user: where one fails, or returns what is no value, it is named."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.names import function_name

__all__ = ["value_of"]

_VALUES: Final = (
    str, bytes, int, float, complex, datetime.date, datetime.time, datetime.timedelta, np.generic,
)  # fmt: skip
_LARGEST: Final = 1 << 63


def value_of(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the value of an attribute that a function of the user works out.

    Parameters
    ----------
    what : str
        What fails where the function does, for the message.
    function : callable
    *arguments
        Of the function.

    Raises
    ------
    InvalidValue
        It raised an error, or returned what is no value.

    Examples
    --------
    >>> value_of("The attribute 'half' cannot be worked out", lambda x: x / 2, 3)
    1.5
    """
    try:
        value = function(*arguments)
    except Exception as error:
        raise InvalidValue(
            f"{what}: {function_name(function)} failed with {type(error).__name__}: {error}"
        ) from error
    parts = value if isinstance(value, (list, tuple)) else [value]
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return value
    if not all(part is None or _is_value(part) for part in parts):
        raise InvalidValue(
            f"{what}: {function_name(function)} returned {_shown(value)}. It has to return a "
            "number, a text, a date or time, a list of these, an array, or None."
        )
    return list(value) if isinstance(value, tuple) else value


def _is_value(part: Any) -> bool:
    if isinstance(part, int) and abs(part) >= _LARGEST:
        return False
    return isinstance(part, _VALUES)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # a class of the user
        text = type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."
