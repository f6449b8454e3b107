"""A series as an ``xarray.Dataset``: the images as its one variable, the header as attributes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.index.store import FRAME, INSTANCE
from dbdicom_xr.records.attributes import Name, parse_name
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.series_array import instance_array, series_array

if TYPE_CHECKING:
    from dbdicom_xr.index.columns import Key
    from dbdicom_xr.index.table import Table
    from dbdicom_xr.records.instance import Instance
    from dbdicom_xr.records.levels import Series

__all__ = [
    "PIXELS",
    "constant",
    "constant_attributes",
    "dataset_of",
    "dropped",
    "instance_dataset",
    "keyword_of",
    "plain",
    "series_attributes",
    "series_dataset",
]

PIXELS: Final = "pixels"
"""The name of the variable that holds the images."""

_LONGEST: Final = 1024  # characters, or numbers in a list: attributes are for reading
_LARGEST: Final = 2**63  # what netCDF and zarr hold as an integer


def series_dataset(
    series: Series,
    sortby: Name | Sequence[Name] | None = None,
    *,
    chunks: Any = "auto",
    **array_options: Any,
) -> xr.Dataset:
    """Return a series as a Dataset with one variable, ``pixels``.

    Parameters
    ----------
    series : Series
    sortby : name, sequence of names, "auto" or None
        The dimensions, as in :meth:`Series.array`.
    chunks : "auto", int, tuple, dict or None
        As in :meth:`Series.array`; None: lazy without dask.
    **array_options
        Further arguments of :meth:`Series.array`.

    Returns
    -------
    xarray.Dataset
        Dimensions, coordinates and attributes of ``pixels`` are those of ``series.array(...)``.
        Attributes of the Dataset are those of the header that all frames agree in, by keyword, as
        far as they are text or numbers.

    Raises
    ------
    GridError, PixelError
        As :meth:`Series.array`.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> dataset = series_dataset(db.database(folder).series()[0], "SliceLocation")
    >>> list(dataset.data_vars), dataset.Modality
    (['pixels'], 'MR')
    """
    attributes = series_attributes(series)  # reads all columns at once
    array, _ = series.array(sortby, chunks=chunks, **array_options)
    return dataset_of(array, attributes)


def instance_dataset(
    instance: Instance, sortby: Name | Sequence[Name] | None = None, **array_options: Any
) -> xr.Dataset:
    """Return one instance as a Dataset with one variable, ``pixels``, lazy without dask.

    Parameters
    ----------
    instance : Instance
    sortby : name, sequence of names, "auto" or None
        The dimensions of its frames, as in :meth:`Series.array`. None: those of
        :meth:`Instance.array`.
    **array_options
        Further arguments of :meth:`Series.array`, all of them.
    """
    if sortby is None:
        chosen = {name: array_options[name] for name in ("rescale", "pixels_first", "padding")}
        array = instance_array(instance, chunks=None, **chosen)
    else:
        series = instance.series()
        array, _ = series_array(series, sortby, chunks=None, only=instance, **array_options)
    return dataset_of(array, _instance_attributes(instance))


@of_one_state
def _instance_attributes(instance: Instance) -> dict[str, Any]:
    """Return what all frames of an instance agree in."""
    table, rows = instance._frame_rows()
    return constant_attributes(table, rows)


def dataset_of(array: xr.DataArray, attributes: dict[str, Any]) -> xr.Dataset:
    """Return images as a Dataset with these attributes."""
    dataset = array.to_dataset(name=PIXELS)
    dataset.attrs = attributes
    return dataset


@of_one_state
def series_attributes(series: Series) -> dict[str, Any]:
    """Return what all frames of a series agree in; see ``constant_attributes``."""
    return constant_attributes(series._own_table)


def constant_attributes(table: Table, rows: npt.NDArray[np.intp] | None = None) -> dict[str, Any]:
    """Return what all frames of a series agree in, by keyword, as far as it is text or numbers.

    Parameters
    ----------
    table : Table
    rows : ndarray of int, optional
        Those frames alone.

    Sequences, bytes, long texts and private attributes are left out: a file of another format can
    hold the rest.
    """
    table.load()
    found: dict[str, Any] = {}
    for key in table.keys:
        keyword = keyword_of(key)
        if keyword and (value := plain(constant(table, key, rows))) is not None:
            found[keyword] = value
    return found


@lru_cache(maxsize=65536)
def keyword_of(key: Key) -> str:
    """Return the keyword of a public attribute of the data set; "" of others.

    Groups that repeat (overlays) share their keywords; group 0002 is about the file.
    """
    from pydicom.datadict import dictionary_has_tag, keyword_for_tag

    repeats = key.tag >> 24 in (0x50, 0x60)
    if key.creator or repeats or key.tag >> 16 == 2 or not dictionary_has_tag(key.tag):
        return ""
    return keyword_for_tag(key.tag)


def constant(table: Table, key: Key, rows: npt.NDArray[np.intp] | None = None) -> Any:
    """Return the value of an attribute that all frames have; None where they do not agree."""
    frames, whole = table.column(key, FRAME), table.column(key, INSTANCE)
    if frames is None and whole is not None and whole.codes is None:
        return None if whole.left_in_files else whole.decoded()[0]
    if table.left_in_files(key):
        return None
    values = parse_name(key.tag).values(table)
    if values is None:
        return None
    codes = values.codes if rows is None else values.codes[rows]
    if not len(codes) or bool((codes < 0).any()):
        return None
    first, *others = (values.distinct[code] for code in np.unique(codes).tolist())
    return first if all(type(other) is type(first) and other == first for other in others) else None


def plain(value: Any) -> Any:
    """Return a value as the attribute of a file of any format, None where it can be none.

    Examples
    --------
    >>> plain(["ORIGINAL", "PRIMARY"]), plain([1, 2.5]), plain(b"..."), plain(["a", 1])
    (['ORIGINAL', 'PRIMARY'], [1.0, 2.5], None, None)
    """
    if isinstance(value, str):
        return value if 0 < len(value) <= _LONGEST and _is_text(value) else None
    if isinstance(value, (int, float)):
        return value if _is_plain_number(value) else None
    if isinstance(value, list) and 0 < len(value) <= _LONGEST:
        if all(isinstance(part, str) and _is_text(part) for part in value):
            return list(map(str, value))
        if all(isinstance(part, (int, float)) and _is_plain_number(part) for part in value):
            of_one_type = all(isinstance(part, int) for part in value)
            return list(value) if of_one_type else list(map(float, value))
    return None


def _is_plain_number(value: float) -> bool:
    if isinstance(value, int):
        return -_LARGEST <= value < _LARGEST
    return math.isfinite(value)


def _is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def dropped(dataset: xr.Dataset, names: str | Iterable[str] | None) -> xr.Dataset:
    """Return a Dataset without variables that are not wanted, of those that it has."""
    if names is None:
        return dataset
    wanted = [names] if isinstance(names, str) else names
    return dataset.drop_vars(wanted, errors="ignore")
