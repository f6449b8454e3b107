"""Which labels of an array are those of its frames, and which were made after they were read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.coordinates import attrs
from dbdicom_xr.errors import InvalidValue, UnknownKeyword
from dbdicom_xr.records.attributes.lookup import parse_name

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.arrays.align import SortKey

__all__ = ["COARSENED", "attribute_of", "is_new", "may_be_averages", "slack_of"]

COARSENED: Final = "coarsened"
"""The attribute of a coordinate that tells how many labels each of its own stands for."""

_IDENTITY: Final = ("tag", "long_name")


def attribute_of(name: str, coord: xr.DataArray) -> str:
    """Return the attribute that a coordinate stands for, also where it was renamed.

    Parameters
    ----------
    name : str
        Of the coordinate.
    coord : DataArray
        Its attribute ``tag`` tells what it was before.

    Examples
    --------
    >>> import xarray as xr
    >>> attribute_of("angle", xr.DataArray([2, 5], attrs={"tag": "(0018,1314)"}))
    'FlipAngle'
    >>> attribute_of("parameter", xr.DataArray([0, 1]))
    'parameter'
    """
    try:
        parse_name(name)
    except (UnknownKeyword, InvalidValue):
        tag = coord.attrs.get("tag")
        # The bins of groupby_bins have what the values said that fell into them.
        if isinstance(tag, str) and not name.endswith("_bins"):
            try:
                return parse_name(tag).name
            except (UnknownKeyword, InvalidValue):
                return name
    return name


def is_new(name: str, coord: xr.DataArray) -> bool:
    """Return whether the labels of an attribute were put on the array, and not read with it.

    Labels that were read say so (``tag``, ``long_name``), through selection, arithmetic and zarr.
    Those that a person assigns do not, nor do those of bins. Those of ``resample`` say so too, but
    come with a fixed frequency, and those of ``dicom.coarsen`` with how many each stands for.

    Parameters
    ----------
    name : str
        Of the attribute.
    coord : DataArray

    Examples
    --------
    >>> import xarray as xr
    >>> is_new("FlipAngle", xr.DataArray([2, 5]))
    True
    >>> is_new("FlipAngle", xr.DataArray([2, 5], attrs={"long_name": "Flip Angle"}))
    False
    """
    if COARSENED in coord.attrs:
        return True
    if coord.dims == (coord.name,) and coord.dtype.kind in "mM":
        index = coord.indexes.get(coord.name)
        if getattr(index, "freq", None) is not None:
            return True
    expected = attrs(name)
    return any(kind in expected for kind in _IDENTITY) and not any(
        kind in coord.attrs for kind in _IDENTITY
    )


def slack_of(key: SortKey) -> float:
    """Return how far the label of a value may be from it."""
    return key.tolerance + (0.0 if key.decimals is None else 10.0**-key.decimals)


def may_be_averages(labels: npt.NDArray[Any], key: SortKey) -> bool:
    """Return whether labels are the values in the middle of windows, as ``coarsen`` makes them.

    Every third value may be a selection, or averages of three neighbours. A single value is taken
    for a selection: ``isel(SliceLocation=[1])`` is more usual than one window over all slices.

    Parameters
    ----------
    labels : ndarray, shape (labels,)
    key : SortKey
        The values in all frames that may have taken part.
    """
    if labels.size < 2 or labels.dtype.kind not in "iuf" or key.values.dtype.kind not in "iuf":
        return False
    slack = slack_of(key)
    values = np.unique(key.values[key.present]).astype(np.float64)
    values = values[np.append(True, np.diff(values) > slack)]
    at = np.abs(values[:, None] - np.sort(labels)).argmin(axis=0)
    steps = np.unique(np.diff(at))
    if steps.size != 1 or steps[0] < 3 or steps[0] % 2 == 0:
        return False
    half = int(steps[0]) // 2
    if at[0] < half or at[-1] + half >= values.size:
        return False
    means = np.array([values[place - half : place + half + 1].mean() for place in at.tolist()])
    return bool((np.abs(means - values[at]) <= slack + 1e-9 * np.abs(means)).all())
