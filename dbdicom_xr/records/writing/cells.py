"""The images that an array becomes: its cells, and what its coordinates say of each.

A cell is an index along the dimensions other than ``x``, ``y`` and ``channel``, in C order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.emit.elements import key_of, per_image
from dbdicom_xr.errors import GridError
from dbdicom_xr.geometry.affine import even_steps
from dbdicom_xr.geometry.planes import Floats
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.records.reading.provenance import PIXEL_DIMS

__all__ = ["cell_dims", "per_cell", "pixel_steps", "places_along", "vector_column"]


def cell_dims(array: xr.DataArray) -> dict[str, int]:
    """Return the dimensions of the images of an array, and their sizes."""
    return {str(dim): size for dim, size in array.sizes.items() if dim not in PIXEL_DIMS}


def per_cell(array: xr.DataArray, name: str) -> npt.NDArray[Any] | None:
    """Return what a coordinate says of each image, shape (cells,).

    None where there is no such coordinate, or where it says several things of one image.
    """
    if name not in array.coords:
        return None
    variable = array.coords[name].variable
    dims = cell_dims(array)
    if not set(variable.dims) <= set(dims):
        return None
    spread = variable.set_dims(dims).transpose(*dims)
    return np.asarray(spread.to_numpy()).reshape(-1)


def places_along(array: xr.DataArray, dim: str, units: Sequence[str | None]) -> Floats | None:
    """Return the coordinate ``x`` or ``y`` of an array, None where it has none.

    Raises
    ------
    GridError
        Its units are none of these, or it does not label the pixels.
    """
    # Indexing makes up numbers for a dimension that has no labels.
    if dim not in array.coords:
        return None
    coord = array.coords[dim]
    if coord.dims not in ((), (dim,)):
        raise GridError(
            f"The coordinate {dim} is over {coord.dims}, and has to be along {dim} alone, so that "
            "the place of the pixels is known."
        )
    found = coord.attrs.get("units")
    if found not in units:
        raise GridError(
            f"The coordinate {dim} has the units {found!r}, so that the part of the images that "
            f"the array covers is not known. If it counts mm from the centre of the first pixel, "
            f"say so: array.{dim}.attrs['units'] = 'mm'; or give the geometry: affine=."
        )
    return np.asarray(coord.to_numpy().reshape(-1), np.float64)


def pixel_steps(dim: str, places: Floats) -> tuple[float, float]:
    """Return where evenly spaced pixels start, and their step.

    Raises
    ------
    GridError
        They are not evenly spaced.
    """
    found = even_steps(places)
    if found is None:
        raise GridError(
            f"The coordinate {dim} is not evenly spaced, and the pixels of an image are. Select "
            "the pixels with a slice, or interpolate the array to even steps."
        )
    start, step = np.round(found, 9).tolist()  # the last digits come from adding up
    return start, step


def vector_column(key: Key | str, values: npt.NDArray[Any]) -> Column:
    """Return a column of numbers, shape (images,) or (images, numbers); NaN is no value.

    Numbers are rounded to 9 decimals (of mm, or of a direction cosine): what is finer comes from
    calculating.
    """
    key = key_of(key) if isinstance(key, str) else key
    rounded = np.round(values, 9) + 0.0
    unique, codes = np.unique(
        rounded.reshape(len(rounded), -1), axis=0, return_inverse=True, equal_nan=True
    )
    pool: list[Any] = [
        None if not np.isfinite(row).all() else row.tolist() if values.ndim > 1 else float(row[0])
        for row in unique
    ]
    # One list for all images that have it, so that it is encoded once.
    return per_image(key, [pool[code] for code in codes.reshape(-1).tolist()])
