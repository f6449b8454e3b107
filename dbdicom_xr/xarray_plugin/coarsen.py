"""Coarsening that knows which images each average is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.records.reading.new_labels import COARSENED
from dbdicom_xr.records.reading.provenance import FRAME_COORDS, PIXEL_DIMS, SEPARATOR

__all__ = ["coarsened"]


def coarsened(
    array: xr.DataArray | xr.Dataset,
    dim: Mapping[Any, int] | None,
    boundary: str,
    side: Any,
    coord_func: Any,
    windows: Mapping[str, int],
) -> Any:
    """Return what ``array.coarsen`` returns, with the frames of each window kept.

    Parameters
    ----------
    array : xarray.DataArray or xarray.Dataset
    dim, boundary, side, coord_func, windows
        As those of ``DataArray.coarsen``.
    """
    if isinstance(coord_func, Mapping):
        functions = dict(coord_func)
    else:
        functions = dict.fromkeys(array.coords, coord_func)
    named = [name for name in FRAME_COORDS if name in array.coords]
    functions |= dict.fromkeys(named, _gathered)
    # From zarr they are lazy, and may be texts that are no objects.
    texts: dict[Any, xr.DataArray] = {name: array.coords[name].compute() for name in named}
    if "SOPInstanceUID" in texts:
        texts["SOPInstanceUID"] = texts["SOPInstanceUID"].astype(object)
    sizes = {**(dim or {}), **windows}
    # A later reduction forgets the frames: then a label must not be taken for that of one image.
    wide = {name for name, size in sizes.items() if size > 1 and name not in PIXEL_DIMS}
    for name, coord in array.coords.items():
        if name not in texts and wide & set(coord.dims):
            several = int(np.prod([sizes[one] for one in coord.dims if one in wide]))
            before = int(coord.attrs.get(COARSENED, 1))
            texts[name] = coord.assign_attrs({COARSENED: before * several})
    return array.assign_coords(texts).coarsen(
        sizes,
        boundary=boundary,  # type: ignore[arg-type]
        side=side,
        coord_func=functions,
    )


def _gathered(values: npt.NDArray[Any], axis: Any, **_: Any) -> npt.NDArray[np.object_]:
    """Return UIDs or numbers of frames put together along axes, as DICOM does (PS3.5 6.4)."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    last = np.moveaxis(values, axes, range(-len(axes), 0))
    shape = last.shape[: last.ndim - len(axes)]
    rows = last.reshape(*shape, -1)
    result = np.empty(shape, object)
    for place in np.ndindex(*shape):
        result[place] = SEPARATOR.join(map(_text, rows[place].tolist()))
    return result


def _text(value: Any) -> str:
    if isinstance(value, float):  # numbers of frames among gaps that pad, or boundary="pad", made
        return "" if np.isnan(value) else f"{value:.17g}"
    return "" if value is None else str(value)
