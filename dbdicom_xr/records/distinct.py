"""The different values of an attribute, which a record gives that stands for many images."""

from __future__ import annotations

import copy
import warnings
from numbers import Number
from typing import Any, NoReturn

import numpy as np

from dbdicom_xr.errors import DicomWarning, NotOneValue

__all__ = ["Distinct", "distinct", "one_value", "own"]


class Distinct(list[Any]):
    """The distinct values of an attribute of many images, sorted.

    A list, also where all images have the same value. It does not calculate, and is not less or
    greater than a number: ``series.EchoTime * 2`` would be the list twice.

    Parameters
    ----------
    values : iterable
    name : str
        The attribute.

    Examples
    --------
    >>> Distinct([5.0], "EchoTime").item()
    5.0
    >>> Distinct([5.0, 10.0], "EchoTime") / 1000
    Traceback (most recent call last):
      ...
    dbdicom_xr.errors.NotOneValue: EchoTime is here the list of the different values...
    """

    _name = "This"

    def __init__(self, values: Any = (), name: str = "") -> None:
        super().__init__(values)
        if name:
            self._name = name

    def item(self) -> Any:
        """Return the only value.

        Raises
        ------
        NotOneValue
            There are several values, or none.
        """
        if not self:
            raise NotOneValue(f"{self._name} has no value to return: no frame has one.")
        if len(self) != 1:
            raise NotOneValue(
                f"{self._name} has not one value here but {len(self)}: {self._shown()}."
            )
        return self[0]

    def _shown(self) -> str:
        return ", ".join(map(repr, self[:5])) + (", ..." if len(self) > 5 else "")

    def _record(self) -> str:
        return f"record.{self._name}" if self._name.isidentifier() else f"record[{self._name!r}]"

    def _refuse(self, *_: Any) -> NoReturn:
        how = self._record()
        raise NotOneValue(
            f"{self._name} is here the list of the different values of all images, "
            f"[{self._shown()}], and not a number or a text. {how}.item() is the one value where "
            f"all have the same, {how}[0] the first; the header of an array (array, header = "
            "series.array(...)) has one for each image."
        )

    def _beside_one(self, other: Any) -> Any:
        """Refuse what is meant for one value; leave arrays to numpy."""
        return self._refuse() if _is_one(other) or isinstance(other, list) else NotImplemented

    __sub__ = __rsub__ = __mul__ = __rmul__ = __imul__ = __truediv__ = __rtruediv__ = _beside_one
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _beside_one
    __float__ = __int__ = __neg__ = __abs__ = __round__ = _refuse

    def __add__(self, other: Any) -> Any:
        if isinstance(other, list):
            return super().__add__(other)
        return self._beside_one(other)

    def __radd__(self, other: Any) -> Any:
        return self._refuse() if _is_one(other) else NotImplemented

    def __iadd__(self, other: Any) -> Any:
        return self._refuse() if _is_one(other) else super().__iadd__(other)

    def __lt__(self, other: Any) -> Any:
        return self._refuse() if _is_one(other) else super().__lt__(other)

    def __le__(self, other: Any) -> Any:
        return self._refuse() if _is_one(other) else super().__le__(other)

    def __gt__(self, other: Any) -> Any:
        return self._refuse() if _is_one(other) else super().__gt__(other)

    def __ge__(self, other: Any) -> Any:
        return self._refuse() if _is_one(other) else super().__ge__(other)

    def __eq__(self, other: Any) -> Any:
        return False if self._warned_of(other) else super().__eq__(other)

    def __ne__(self, other: Any) -> Any:
        return True if self._warned_of(other) else super().__ne__(other)

    __hash__ = None

    def _warned_of(self, other: Any) -> bool:
        if not _is_one(other):
            return False
        # The text does not tell the values: Python shows it once for each line of a program.
        warnings.warn(
            f"{self._name} is here the list of the different values of all images, which is never "
            f"equal to one value. Compare {self._record()}.item(), or ask whether the value is in "
            f"{self._record()}.",
            DicomWarning,
            stacklevel=3,
        )
        return True

    def __format__(self, how: str) -> str:
        return self._refuse() if how else str(self)


def _is_one(value: Any) -> bool:
    return isinstance(value, (str, Number, np.generic))


def one_value(value: Any) -> Any:
    """Return what an attribute is set to: of the values of another record the only one.

    Raises
    ------
    NotOneValue
        There are several: they would become one value of each image.
    """
    if not isinstance(value, Distinct):
        return value
    if len(value) < 2:
        return own(value[0]) if value else None
    raise NotOneValue(
        f"{value._name} was given the list of the {len(value)} different values of many images, "
        f"[{value._shown()}]. One can be set: choose it from the list, or set a value for each "
        "image with set_values."
    )


def own(value: Any) -> Any:
    """Return a value that the caller may change: what can be changed is shared by many frames."""
    return value if isinstance(value, (str, int, float, bytes)) else copy.deepcopy(value)


def distinct(values: list[Any], name: str = "") -> Distinct:
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
        return Distinct(sorted(result), name)
    except (TypeError, ValueError):  # of several types, or arrays
        return Distinct(sorted(result, key=lambda value: (type(value).__name__, str(value))), name)
