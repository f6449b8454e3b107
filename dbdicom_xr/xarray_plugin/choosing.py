"""Which series of a folder is meant."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.levels import Series
from dbdicom_xr.records.record import Record

__all__ = ["chosen_series", "has_images"]

_MOST_LISTED: Final = 20


def chosen_series(record: Record, wanted: Any = None) -> Series:
    """Return the series at or below a record that is meant.

    Parameters
    ----------
    record : Record
    wanted : Series, dict, str or None
        A series, filters, or a path in the tree (from the record, or the end of one), a
        SeriesInstanceUID or a SeriesDescription, which may have the wildcards ``*`` and ``?``.
        None: the only one with images.

    Raises
    ------
    InvalidValue
        None is, or several are. The message lists them.
    UnknownKeyword
        A filter by a keyword that does not exist.
    """
    if isinstance(wanted, Series):
        return wanted
    every: list[Series] = [record] if isinstance(record, Series) else record.series()
    if wanted is None:
        found = [series for series in every if has_images(series)]
        problem = f"{_where(record)} holds {len(found)} series of images"
        if not found:
            raise InvalidValue(f"{_where(record)} holds no series of images.")
    elif isinstance(wanted, Mapping):
        found = _matching(record, wanted)
        problem = f"{len(found)} series match {dict(wanted)!r}"
    elif isinstance(wanted, str):
        found = _named(every, wanted)
        if not found and ("*" in wanted or "?" in wanted):
            found = _matching(record, {"SeriesDescription": wanted})
        problem = f"{len(found)} series are called {wanted!r}"
    else:
        raise InvalidValue(
            f"series is {wanted!r}; it is a path in the tree, a SeriesInstanceUID, a "
            "SeriesDescription, a dict of filters, or a series."
        )
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidValue(f"{problem}: choose one by series=.\n{_listed(found)}")
    hint = ""
    if isinstance(wanted, str):
        known = [name for series in every for name in (series.name, *series.SeriesDescription)]
        near = get_close_matches(wanted, known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InvalidValue(
        f"No series of {_where(record)} is {wanted!r}.{hint} There are:\n{_listed(every)}"
    )


def _matching(record: Record, filters: Mapping[Any, Any]) -> list[Series]:
    matching = record.series(filters)
    return matching if isinstance(matching, list) else [matching] if matching else []


def _named(every: list[Series], wanted: str) -> list[Series]:
    """Return the series that a text names, by the first way in which any is."""
    path = f"/{wanted.strip('/')}"
    ways: list[Any] = [
        lambda series: series._node.uid == wanted,
        lambda series: series.path == path,
        lambda series: wanted in series.SeriesDescription,
        lambda series: series.path.endswith(path),
    ]
    for is_meant in ways:
        found = [series for series in every if is_meant(series)]
        if found:
            return found
    return []


@of_one_state
def has_images(series: Series) -> bool:
    """Return whether an instance of a series has pixels."""
    return bool((series._own_table.places["offset"] >= 0).any())


def _where(record: Record) -> str:
    return record.database.path_on_disk if record.level == "database" else repr(record)


def _listed(every: list[Series]) -> str:
    lines = []
    for series in every[:_MOST_LISTED]:
        row = series._node.row
        frames = 0 if row is None else row.frames
        modality = "" if row is None else row.modality
        lines.append(f"  {series.path[1:]!r}: {modality}, {frames:,} frames, {series._node.uid}")
    if len(every) > _MOST_LISTED:
        lines.append(f"  ... and {len(every) - _MOST_LISTED:,} more")
    return "\n".join(lines)
