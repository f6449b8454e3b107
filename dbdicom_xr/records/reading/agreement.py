"""Whether the values of an array are those of the frames that its coordinates name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.coordinates import is_length
from dbdicom_xr.errors import NotInDatabase
from dbdicom_xr.records.reading.new_labels import attribute_of, slack_of
from dbdicom_xr.records.reading.provenance import (
    FRAME_COORDS,
    INTERPOLATED,
    PIXEL_DIMS,
    TOGETHER,
    Source,
    filled_frames,
    keys_of,
    matched,
    same_value,
)

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["contradiction", "is_told", "require_frames", "require_one_origin"]


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


@dataclass(frozen=True)
class _Label:
    """What a coordinate says of each frame of an array.

    Parameters
    ----------
    name : str
        Of the attribute that it stands for.
    values : ndarray, shape (frames,)
    frames : ndarray of int, shape (frames,)
        In the series; one comes up again along a dimension that it does not lie along itself.
    cells : ndarray of int, shape (frames,)
        Where each lies in the array, equal for those that became one image.
    is_beside : bool
        Whether it lies along a dimension that the frames do not lie along.
    """

    name: str
    values: npt.NDArray[Any]
    frames: npt.NDArray[np.int64]
    cells: npt.NDArray[np.intp]
    is_beside: bool


def _labels(array: xr.DataArray, source: Source) -> Iterator[_Label]:
    """Yield what the coordinates say, also those that were renamed, swapped or stacked."""
    from xarray.indexes import PandasMultiIndex

    over, rows, indexes = source.dims, source.rows, array.xindexes
    for label, coord in array.coords.items():
        beside = [str(dim) for dim in coord.dims if dim not in over]
        if label in FRAME_COORDS or label in PIXEL_DIMS or PIXEL_DIMS & set(beside):
            continue
        if coord.dims == (label,) and isinstance(indexes.get(label), PandasMultiIndex):
            continue  # its levels are coordinates of their own
        every = (*over, *beside)
        shape = (*rows.shape, *(coord.sizes[dim] for dim in beside))
        order = [dim for dim in every if dim in coord.dims]
        spread = [size if dim in order else 1 for dim, size in zip(every, shape, strict=True)]
        turned = coord.variable.transpose(*order)
        values = np.broadcast_to(turned.to_numpy().reshape(spread), shape)
        missing = np.broadcast_to(turned.isnull().to_numpy().reshape(spread), shape)
        frames = np.broadcast_to(rows.reshape((*rows.shape, *[1] * len(beside))), shape)
        images = [size if dim in array.dims else 1 for dim, size in zip(every, shape, strict=True)]
        cells = np.broadcast_to(np.arange(math.prod(images)).reshape(images), shape)
        filled = (frames >= 0) & ~missing
        if filled.any():
            name = attribute_of(str(label), coord)
            yield _Label(name, values[filled], frames[filled], cells[filled], bool(beside))


def contradiction(array: xr.DataArray, source: Source, *, lengths_only: bool = False) -> str | None:
    """Return the first attribute whose labels are not those of the frames, None where all are.

    They are not where the array was interpolated: xarray gives it the nearest SOPInstanceUID.

    Parameters
    ----------
    array : xarray.DataArray
    source : Source
        Its frames.
    lengths_only : bool
        Whether only positions count.
    """
    for label in _labels(array, source):
        if (is_length(label.name) or not lengths_only) and not _says_the_same(label, source):
            return label.name
    return None


def _says_the_same(label: _Label, source: Source) -> bool:
    keys = keys_of(label.name, source.table, label.frames)
    return not keys or any(
        bool((same_value(key, label.values) | ~key.present).all()) for key in keys
    )


def is_told(array: xr.DataArray, source: Source) -> bool:
    """Return whether an array may lie between its frames with no label left that says so.

    Numbers of frames between which xarray interpolated are no integers, also where all of them
    are 1. Gaps make them so too. Else each image must have a label that only its frame has.

    Parameters
    ----------
    array : xarray.DataArray
    source : Source
        Its frames.
    """
    if _is_counted_anew(array):
        return False
    uids = array.coords["SOPInstanceUID"]
    if array.coords["frame"].dtype.kind != "f" or bool((uids.isnull() | (uids == "")).any()):
        return True
    rows, _ = filled_frames(source)
    everywhere = np.arange(len(source.table))
    codes = [np.zeros(len(rows) + len(everywhere), np.intp)]
    for label in _labels(array, source):
        keys = keys_of(label.name, source.table, everywhere)
        if not keys or len(label.values) != len(rows):
            continue
        values, here = np.unique(label.values, return_inverse=True)
        found = [matched(key, values) for key in keys]
        best = max(found, key=lambda places: len(np.unique(places[places >= 0])))
        codes.append(np.concatenate([here.reshape(-1), best]))
    _, number = np.unique(np.stack(codes), axis=1, return_inverse=True)
    number = number.reshape(-1)
    counts = np.bincount(number[len(rows) :], minlength=int(number.max()) + 1)
    mine = number[: len(rows)]
    return bool((counts[mine] == 1).all() and (number[len(rows) :][rows] == mine).all())


def _is_counted_anew(array: xr.DataArray) -> bool:
    """Return whether images that were only counted seem to be interpolated to other numbers.

    Where a dimension has no labels, xarray takes its places for these, and where as many are asked
    for as there are, it moves the values and leaves the coordinates.
    """
    if (
        "n" not in array.dims
        or "n" not in array.coords
        or array.coords["n"].dtype.kind not in "iuf"
    ):
        return False
    labels = array.coords["n"].to_numpy()
    places = np.arange(labels.size)
    return bool(((labels >= 0) & (labels < labels.size)).all() and (labels != places).any())


def require_frames(array: xr.DataArray, source: Source) -> None:
    """Raise where an array lies between its frames: xarray gives it the nearest SOPInstanceUID.

    Raises
    ------
    NotInDatabase
        A position that labels the array is that of no frame of the series, a label contradicts
        the frames, or nothing tells that the images are these.
    """
    everywhere = np.arange(len(source.table))
    # Numbers between numbers of frames are no integers, also where all of them are 1.
    may_lie_between = array.coords["frame"].dtype.kind == "f"
    if array.coords["frame"].dtype.kind not in "iuf":
        return _require_among(array, source)
    for label in _labels(array, source):
        if label.is_beside and not _says_the_same(label, source):
            raise NotInDatabase(
                f"The labels {label.name} of this array are others than those of the images that "
                "its coordinate SOPInstanceUID names, which is the same for all of them: as after "
                'xr.concat with coords="minimal", which keeps that of the first array. '
                'coords="different" keeps that of each. Or give the header that fits: header=...'
            )
        if not is_length(label.name) and not (
            may_lie_between and label.values.dtype.kind in "iufmM"
        ):
            continue
        # Also frames of the whole series: the label of several that are nearly equal is one of
        # theirs, but perhaps of another than was selected.
        keys = [
            *keys_of(label.name, source.table, np.unique(label.frames)),
            *keys_of(label.name, source.table, everywhere),
        ]
        labels = np.unique(label.values)
        known = [np.isin(np.arange(labels.size), matched(key, labels)) for key in keys]
        if known and not np.any(known, axis=0).all():
            raise NotInDatabase(INTERPOLATED)
    if not is_told(array, source):
        raise NotInDatabase(INTERPOLATED)


def _require_among(array: xr.DataArray, source: Source) -> None:
    """Raise where a label lies beyond the frames of its cell, of which there are several."""
    for label in _labels(array, source):
        if label.values.dtype.kind not in "iufmM":
            continue
        order = np.argsort(label.cells, kind="stable")
        _, starts = np.unique(label.cells[order], return_index=True)
        used = label.values[order][starts]
        fits = []
        for key in keys_of(label.name, source.table, label.frames):
            if key.values.dtype.kind not in "iufmM" or not bool(key.present.all()):
                continue
            same = key.values.astype(label.values.dtype)[order]
            low, high = np.minimum.reduceat(same, starts), np.maximum.reduceat(same, starts)
            slack = 0 if same.dtype.kind in "mM" else slack_of(key) + 1e-6 * np.abs(used)
            fits.append(bool(((used >= low - slack) & (used <= high + slack)).all()))
        if fits and not any(fits):
            raise NotInDatabase(INTERPOLATED)
