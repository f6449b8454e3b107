"""``scipy``: the values of a series on the grid of another."""

from __future__ import annotations

from typing import Any

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.records.levels import Series

__all__ = ["map_mask_to", "map_to"]


def map_to(
    series: Series,
    target: Any,
    *,
    order: int = 1,
    dtype: str | None = None,
    stack: int | None = None,
    **attributes: Any,
) -> Series:
    """Make a new series with the values of a series on the grid of another.

    The same as :meth:`Series.map_to`, where the parameters are explained.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_series
    >>> from dbdicom_xr.wrappers import scipy
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_series(folder)
    >>> database = db.database(folder)
    >>> series = database.series()[0]
    >>> scipy.map_to(series, series.children()[0]).SliceLocation
    [0.0]
    >>> database.close(save=False)
    """
    _require_series(series)
    mapped: Series = series.map_to(target, order=order, dtype=dtype, stack=stack, **attributes)
    return mapped


def map_mask_to(
    series: Series,
    target: Any,
    *,
    threshold: float = 0.5,
    stack: int | None = None,
    **attributes: Any,
) -> Series:
    """Make a new series with the mask that a series holds on the grid of another.

    The same as :meth:`Series.map_mask_to`, where the parameters are explained.
    """
    _require_series(series)
    mapped: Series = series.map_mask_to(target, threshold=threshold, stack=stack, **attributes)
    return mapped


def _require_series(series: Any) -> None:
    if not isinstance(series, Series):
        raise InvalidValue(f"What is mapped is a series, not {type(series).__name__}.")
