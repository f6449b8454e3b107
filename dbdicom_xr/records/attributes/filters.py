"""Which frames a search means: ``series(PatientName="John*", FlipAngle=[10, 20])``.

A value stands for itself (numbers within 1e-6 of it), text may hold the DICOM wildcards ``*`` and
``?`` (PS3.4 C.2.2.2.4), a list means any of its members, a slice a closed range, a function is
asked about each value, and None means that the attribute is absent or empty. An attribute with
several values matches if any of them does. All filters must hold for one and the same frame.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import known_vr
from dbdicom_xr.records.attributes.lookup import Attribute, Name, parse_name
from dbdicom_xr.staging.dates import dicom_date

__all__ = ["Filter", "parse_filters"]

Test = Callable[[Any], bool]


class Filter:
    """All conditions of one search.

    Parameters
    ----------
    conditions : mapping of Name to object
        What each attribute must be.
    has : callable, optional
        Whether the headers that are searched have a private attribute.
    """

    def __init__(
        self, conditions: Mapping[Name, Any], has: Callable[[Attribute], bool] | None = None
    ) -> None:
        self._conditions: list[tuple[Attribute, Any, Test]] = []
        for name, wanted in conditions.items():
            attribute = parse_name(name, has)
            self._conditions.append((attribute, wanted, _test(attribute, wanted)))

    def __bool__(self) -> bool:
        return bool(self._conditions)

    def rows(self, table: Table) -> npt.NDArray[np.bool_]:
        """Return for each frame of a series whether it meets all conditions."""
        result = np.ones(len(table), np.bool_)
        for attribute, _, test in self._conditions:
            values = attribute.values(table)
            if values is None:
                if not test(None):
                    return np.zeros(len(table), np.bool_)
                continue
            met = np.array([*(test(value) for value in values.distinct), test(None)], np.bool_)
            result &= met[values.codes]
            if not result.any():
                break
        return result

    def any(self, table: Table) -> bool:
        """Return whether some frame meets all conditions."""
        return bool(self.rows(table).any())


def parse_filters(
    positional: tuple[Any, ...],
    keywords: Mapping[str, Any],
    has: Callable[[Attribute], bool] | None = None,
) -> Filter:
    """Return the filter of ``record.series(**keywords)``.

    A mapping may be given too, for attributes that are no Python names:
    ``series({(0x0019, 0x100c): 1000})``. For `has` see ``parse_name``.
    """
    conditions: dict[Name, Any] = {}
    for mapping in positional:
        if not isinstance(mapping, Mapping):
            raise InvalidValue(
                f"{mapping!r} is not a filter: write series(FlipAngle=10), or "
                "series({(0x0019, 0x100c): 1000}) for a tag."
            )
        conditions.update(mapping)
    conditions.update(keywords)
    return Filter(conditions, has)


def _test(attribute: Attribute, wanted: Any) -> Test:
    if attribute.tag and not attribute.is_private and known_vr(attribute.tag) == "DA":
        wanted = _as_dates(wanted)
    if callable(wanted) and not isinstance(wanted, type):
        return _predicate(attribute, wanted)
    if isinstance(wanted, slice):
        return _range(attribute, wanted)
    if isinstance(wanted, np.ndarray) and wanted.ndim == 0:
        wanted = wanted.item()
    if isinstance(wanted, (list, tuple, set, frozenset, np.ndarray, range)):
        tests = [_test(attribute, member) for member in wanted]
        return lambda value: any(test(value) for test in tests)
    return _one(attribute, wanted)


def _as_dates(wanted: Any) -> Any:
    """Return dates in the form in which they stand in the files."""
    if isinstance(wanted, slice):
        low, high = (
            # A year, or year and month, bounds a range as it stands: "2024" <= "20240101".
            end if isinstance(end, str) and re.fullmatch(r"\d{4}|\d{6}", end) else _as_dates(end)
            for end in (wanted.start, wanted.stop)
        )
        return slice(low, high, wanted.step)
    if isinstance(wanted, datetime.date):
        return dicom_date(wanted)
    if isinstance(wanted, str) and not {"*", "?"} & set(wanted):
        return dicom_date(wanted)
    return wanted


def _any_value(value: Any, test: Test) -> bool:
    if isinstance(value, list):
        return any(test(part) for part in value if part is not None and part != "")
    return value is not None and test(value)


def _one(attribute: Attribute, wanted: Any) -> Test:
    if wanted is None:
        return lambda value: value is None
    if isinstance(wanted, np.generic):
        wanted = wanted.item()
    if isinstance(wanted, (bool, int, float)):
        try:
            number = float(wanted)
        except OverflowError:
            raise InvalidValue(f"{attribute} is never as large as {str(wanted)[:20]}...") from None
        text = str(wanted)

        def equals(value: Any) -> bool:
            if isinstance(value, int) and isinstance(wanted, int):
                return value == wanted
            if isinstance(value, (int, float)):
                return value == wanted or math.isclose(value, number, rel_tol=1e-6, abs_tol=1e-12)
            return isinstance(value, str) and value == text

        return lambda value: _any_value(value, equals)
    if isinstance(wanted, str):
        return _text(attribute, wanted)
    if isinstance(wanted, bytes):
        return lambda value: _any_value(value, lambda part: part == wanted)
    raise InvalidValue(
        f"{attribute} cannot be searched for {wanted!r}; use a number, text, None, a list, a slice "
        "or a function."
    )


def _text(attribute: Attribute, wanted: str) -> Test:
    pattern = re.compile(
        "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in wanted), re.DOTALL
    )
    wild = "*" in wanted or "?" in wanted

    def matches(value: Any) -> bool:
        if isinstance(value, str):
            return value == wanted or (wild and pattern.fullmatch(value) is not None)
        if isinstance(value, (int, float)):
            if wild:
                return pattern.fullmatch(str(value)) is not None
            try:
                return math.isclose(value, float(wanted), rel_tol=1e-6, abs_tol=1e-12)
            except ValueError:
                raise InvalidValue(
                    f"{attribute} is a number here ({value}), but the search asks for {wanted!r}."
                ) from None
        return False

    def test(value: Any) -> bool:
        # A list may be meant as a whole, as it stands in the file: "ORIGINAL\\PRIMARY*".
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            joined = "\\".join(value)
            if joined == wanted or (wild and "\\" in wanted and pattern.fullmatch(joined)):
                return True
        return _any_value(value, matches)

    return test


def _range(attribute: Attribute, wanted: slice) -> Test:
    if wanted.step is not None:
        raise InvalidValue(f"{attribute}: a range to search in has no step: {wanted}")
    low, high = wanted.start, wanted.stop

    def inside(value: Any) -> bool:
        try:
            if isinstance(value, (int, float)):
                slack = 0 if isinstance(value, int) else 1e-6 * abs(value)
                return (low is None or value >= low - slack) and (
                    high is None or value <= high + slack
                )
            return bool((low is None or value >= low) and (high is None or value <= high))
        except TypeError:
            raise InvalidValue(
                f"{attribute} is {value!r} here, which cannot be compared with {low!r} to {high!r}."
            ) from None

    return lambda value: _any_value(value, inside)


def _predicate(attribute: Attribute, wanted: Callable[[Any], Any]) -> Test:
    def test(value: Any) -> bool:
        if value is None:
            return False
        try:
            return bool(wanted(value))
        except Exception as error:
            raise InvalidValue(
                f"The function that is to decide about {attribute} failed for {value!r}: "
                f"{type(error).__name__}: {error}"
            ) from error

    return test
