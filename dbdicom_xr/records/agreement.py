"""Whether the values of an array are those of the frames that its coordinates name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.coordinates import is_length
from dbdicom_xr.errors import NotInDatabase
from dbdicom_xr.records.new_labels import slack_of
from dbdicom_xr.records.provenance import (
    INTERPOLATED,
    TOGETHER,
    Source,
    filled_frames,
    keys_of,
    labels_of,
    matched,
)

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["require_frames", "require_one_origin"]


def require_one_origin(array: xr.DataArray) -> None:
    """Raise where values may be of another series than the coordinates that name the frames.

    Arithmetic between series keeps the coordinates that only one of them has, but drops that of
    the series. A variable of a Dataset has attributes of its own, and the coordinates of all.

    Raises
    ------
    NotInDatabase
        They may.
    """
    said, series = array.coords.get("SeriesInstanceUID"), array.attrs.get("SeriesInstanceUID")
    if said is None:
        if "quantile" not in array.coords:  # which drops all coordinates without dimensions
            raise NotInDatabase(TOGETHER)
    elif series and not bool((said == series).any()):
        raise NotInDatabase(
            f"The attributes of this array name the series {series}, and its coordinates frames of "
            f"{said.to_numpy().ravel()[0]}. A variable of a Dataset with several series has the "
            "coordinates of the first: keep a Dataset or an array per series. Where the "
            "coordinates are right, as after xr.concat of several series and a selection, "
            'del array.attrs["SeriesInstanceUID"] says so; xr.concat(..., '
            'combine_attrs="drop_conflicts") does. Or give the header that fits: header=...'
        )


def require_frames(array: xr.DataArray, source: Source) -> None:
    """Raise where an array lies between its frames: xarray gives it the nearest SOPInstanceUID.

    Raises
    ------
    NotInDatabase
        A position that labels the array is that of no frame of the series.
    """
    flat, index = filled_frames(source)
    everywhere = np.arange(len(source.table))
    # Numbers between numbers of frames are no integers, also where all of them are 1.
    may_lie_between = array.coords["frame"].dtype.kind == "f"
    if array.coords["frame"].dtype.kind not in "iuf":
        return _require_among(array, source, flat, index)
    for name, coord in labels_of(array):
        if coord.dims and name not in index:
            continue
        if not is_length(name) and not (may_lie_between and coord.dtype.kind in "iufmM"):
            continue
        # Also frames of the whole series: the label of several that are nearly equal is one of
        # theirs, but perhaps of another than was selected.
        keys = [*keys_of(name, source.table, flat), *keys_of(name, source.table, everywhere)]
        labels = np.unique(coord.to_numpy()[index[name]] if coord.dims else coord.to_numpy())
        known = [np.isin(np.arange(labels.size), matched(key, labels)) for key in keys]
        if known and not np.any(known, axis=0).all():
            raise NotInDatabase(INTERPOLATED)


def _require_among(
    array: xr.DataArray,
    source: Source,
    flat: npt.NDArray[np.int64],
    index: Mapping[str, npt.NDArray[np.intp]],
) -> None:
    """Raise where a label lies beyond the frames of its cell, of which there are several."""
    for name, coord in labels_of(array):
        if (coord.dims and name not in index) or coord.dtype.kind not in "iufmM":
            continue
        places = index[name] if coord.dims else np.zeros(len(flat), np.intp)
        labels = coord.to_numpy().reshape(-1)
        fits = []
        for key in keys_of(name, source.table, flat):
            if key.values.dtype.kind not in "iufmM" or not bool(key.present.all()):
                continue
            same = key.values.astype(labels.dtype)
            order = np.argsort(places, kind="stable")
            filled, starts = np.unique(places[order], return_index=True)
            low = np.minimum.reduceat(same[order], starts)
            high = np.maximum.reduceat(same[order], starts)
            used = labels[filled]
            slack = 0 if same.dtype.kind in "mM" else slack_of(key) + 1e-6 * np.abs(used)
            fits.append(bool(((used >= low - slack) & (used <= high + slack)).all()))
        if fits and not any(fits):
            raise NotInDatabase(INTERPOLATED)
