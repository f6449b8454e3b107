"""Names of exported files: after the series, readable, without blanks, all different."""

from __future__ import annotations

from collections.abc import Sequence

from dbdicom_xr.names import safe_name

__all__ = ["file_name", "unique"]


def file_name(number: int | None, description: str | None, *more: str) -> str:
    """Return the name of a file of a series, without its ending.

    Parameters
    ----------
    number : int or None
        SeriesNumber.
    description : str or None
        SeriesDescription.
    *more : str
        What tells the files of a series apart: ``e2``, ``ph``.

    Examples
    --------
    >>> file_name(2001, "Field map: 3/4", "e2", "ph")
    '2001_Field_map__3_4_e2_ph'
    >>> file_name(None, "../../etc"), file_name(None, None)
    ('etc', 'series')
    """
    described = "" if description is None else safe_name(description.strip(" ./\\_"), "")
    start = "_".join(part for part in ("" if number is None else str(number), described) if part)
    return "_".join([safe_name(start, "series"), *more]).replace(" ", "_")


def unique(names: Sequence[str]) -> list[str]:
    """Return the names, those that are taken with a number behind.

    Examples
    --------
    >>> unique(["4_T1", "4_t1", "5"])
    ['4_T1', '4_t1_2', '5']
    """
    taken: set[str] = set()
    result = []
    for name in names:
        full, number = name, 1
        while full.lower() in taken:  # case makes no difference on Windows and macOS
            number += 1
            full = f"{name}_{number}"
        taken.add(full.lower())
        result.append(full)
    return result
