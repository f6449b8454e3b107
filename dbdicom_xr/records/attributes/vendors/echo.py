"""Which echo an image is of: 1 for the first.

EchoNumbers (0018,0086) says so in classic images, but not of every scanner, and enhanced images
have none; then the echo times are counted.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.table import Table, Values
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.vendors.columns import first_number

__all__ = ["echoes"]

Numbers = npt.NDArray[np.float64]

_SAME: Final = 1e-3  # ms; rounding in enhanced images, which have 12.460000000000001


def echoes(table: Table) -> Values | None:
    """Return the number of the echo of each frame, from 1.

    It is the rank of EchoTime among the frames of the series, unless EchoNumbers agrees with the
    echo times, as in a series that holds the second echo only.

    Parameters
    ----------
    table : Table
    """
    times = _numbers(table, "EchoTime")
    numbers = _numbers(table, "EchoNumbers")
    known = ~np.isnan(times)
    counted = ~np.isnan(numbers) & (numbers >= 1) & (numbers == np.round(numbers))
    if not known.any():
        return _values(np.where(counted, numbers, np.nan)) if counted.any() else None
    ranks = np.full(len(times), np.nan)
    present, inverse = np.unique(times[known], return_inverse=True)
    ranks[known] = 1 + np.cumsum(np.diff(present, prepend=present[0]) > _SAME)[inverse.reshape(-1)]
    if counted[known].all() and _agree(ranks[known], numbers[known]):
        ranks[known] = numbers[known]
    return _values(ranks)


def _agree(ranks: Numbers, numbers: Numbers) -> bool:
    """Return whether the numbers name the echo times, and rise with them."""
    pairs = np.unique(np.stack([ranks, numbers], axis=1), axis=0)
    return bool((np.diff(pairs[:, 1]) > 0).all())


def _numbers(table: Table, keyword: str) -> Numbers:
    values = parse_name(keyword).values(table)
    if values is None:
        return np.full(len(table), np.nan)
    pool = [
        np.nan if isinstance(value, list) or (number := first_number(value)) is None else number
        for value in values.distinct
    ]
    return np.array([*pool, np.nan])[values.codes]


def _values(numbers: Numbers) -> Values:
    distinct, codes = np.unique(numbers[~np.isnan(numbers)], return_inverse=True)
    all_codes = np.full(len(numbers), -1, np.int32)
    all_codes[~np.isnan(numbers)] = codes.reshape(-1)
    return Values([int(number) for number in distinct.tolist()], all_codes)
