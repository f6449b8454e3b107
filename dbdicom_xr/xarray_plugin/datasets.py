"""A series as an ``xarray.Dataset``: the images as its one variable, the header as attributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import xarray as xr

from dbdicom_xr.records.attributes.lookup import Name
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.exporting.plain_header import constant_attributes
from dbdicom_xr.records.reading.series_array import instance_array, series_array

if TYPE_CHECKING:
    from dbdicom_xr.records.instance import Instance
    from dbdicom_xr.records.levels import Series

__all__ = [
    "PIXELS",
    "dataset_of",
    "dropped",
    "instance_dataset",
    "series_attributes",
    "series_dataset",
]

PIXELS: Final = "pixels"
"""The name of the variable that holds the images."""


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


def dropped(dataset: xr.Dataset, names: str | Iterable[str] | None) -> xr.Dataset:
    """Return a Dataset without variables that are not wanted, of those that it has."""
    if names is None:
        return dataset
    wanted = [names] if isinstance(names, str) else names
    return dataset.drop_vars(wanted, errors="ignore")
