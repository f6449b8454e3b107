"""Arrays of any kind as lazy images: dimensions with names, blocks of whole images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.records.reading.header import Header

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["labelled_images"]

_PIXEL_DIMS: Final = ("x", "y", "channel")  # in this order
# A block of one task holds several copies of its images for a moment.
_BLOCK_BYTES: Final = 64 << 20


def labelled_images(
    array: Any, header: Any, *, pixels_first: bool, kind: str | None
) -> xr.DataArray:
    """Return an array as a lazy DataArray whose last dimensions are those of the pixels.

    Parameters
    ----------
    array : xarray.DataArray, numpy.ndarray or dask.array.Array
    header : Header or other
        Names the dimensions of an array that has no names.
    pixels_first : bool
        Whether ``x`` and ``y`` come first in such an array.
    kind : str or None
        "sc": a last dimension of 3 may be colours.

    Raises
    ------
    InvalidValue
        Which dimensions are those of the pixels is not clear, or they do not fit the header.
    """
    import dask.array as da
    import xarray as xr

    if not isinstance(array, xr.DataArray):
        if not hasattr(array, "ndim") or not hasattr(array, "dtype"):
            raise InvalidValue(
                f"An array is needed (xarray, numpy or dask), not {type(array).__name__}."
            )
        array = xr.DataArray(array, dims=_dims(array, header, pixels_first, kind))
    missing = [dim for dim in ("x", "y") if dim not in array.dims]
    if missing:
        raise InvalidValue(
            f"The array has dimensions {', '.join(map(repr, array.dims))}, and none called "
            f"{' and '.join(map(repr, missing))}: x counts columns, y counts rows. "
            "array.rename({...}) gives them their names."
        )
    for dim in ("x", "y"):
        if not 0 < array.sizes[dim] < 1 << 16 and array.size:
            raise InvalidValue(
                f"The array has {array.sizes[dim]} pixels along {dim}, and an image can have 65535."
            )
    about = str(array.coords["x"].attrs.get("long_name", "")) if "x" in array.coords else ""
    if about.endswith("of the row"):
        raise InvalidValue(
            "The dimensions x and y have changed places by their names, which would turn the "
            "patient over: x counts columns, y counts rows, in whichever order they stand. "
            "array.transpose(...) changes the order."
        )
    pixels = [dim for dim in _PIXEL_DIMS if dim in array.dims]
    if array.sizes.get("channel", 3) != 3:
        raise InvalidValue(
            f"The dimension 'channel' has {array.sizes['channel']} elements; colours have 3."
        )
    array = array.transpose(..., *pixels)
    data = array.data
    if not isinstance(data, da.Array):
        data = da.from_array(np.asanyarray(data), chunks=_whole(array, "auto"))  # type: ignore[no-untyped-call]
    chunks = _whole(array, data.chunks)
    result: xr.DataArray = array.copy(data=data.rechunk(chunks))
    return result


def _whole(array: xr.DataArray, chunks: Any) -> Any:
    """Return chunks that hold whole images, and not too many of them."""
    import dask.array as da

    depth = array.ndim - (3 if "channel" in array.dims else 2)
    pixels = dict.fromkeys(range(depth, array.ndim), -1)
    wanted: dict[int, Any] = dict(pixels)
    size = int(np.prod(array.shape[depth:], dtype=np.int64)) * array.dtype.itemsize
    most = max(1, _BLOCK_BYTES // max(size, 1))
    if chunks == "auto" or np.prod([max(c) for c in chunks[:depth]], dtype=float) > 4 * most:
        left = most
        for axis in reversed(range(depth)):
            here = array.shape[axis] if chunks == "auto" else max(chunks[axis])
            wanted[axis] = max(1, min(here, left))
            left = max(1, left // max(wanted[axis], 1))
    if chunks == "auto":
        return da.core.normalize_chunks(wanted, array.shape, dtype=array.dtype)  # type: ignore[no-untyped-call]
    return wanted


def _dims(array: Any, header: Any, pixels_first: bool, kind: str | None) -> list[str]:
    """Return names for the dimensions of an array that has none."""
    depth = array.ndim - 2
    colour = False
    if isinstance(header, Header):
        colour = array.ndim == header.ndim + 3 and array.shape[-1] == 3
    elif kind == "sc":
        colour = array.ndim > 2 and array.shape[-1] == 3 and array.dtype == np.uint8
    depth -= colour
    if depth < 0:
        raise InvalidValue(f"The array has shape {array.shape}; an image has two dimensions.")
    dims = [f"dim_{i}" for i in range(depth - 1)] + ["n"] * (depth > 0)
    if isinstance(header, Header) and header.dims is not None:
        dims = _dims_of(header, array, depth, pixels_first)
    channel = ["channel"] if colour else []
    return ["x", "y", *dims, *channel] if pixels_first else [*dims, "x", "y", *channel]


def _dims_of(header: Header, array: Any, depth: int, pixels_first: bool) -> list[str]:
    """Return the dimensions of a header for those of an array; some of one frame may be missing."""
    assert header.dims is not None
    shape = array.shape[2 : 2 + depth] if pixels_first else array.shape[:depth]
    if len(header.dims) == depth:
        return list(header.dims)
    several = [dim for dim, size in zip(header.dims, header.shape, strict=True) if size > 1]
    if shape == tuple(size for size in header.shape if size > 1):
        return several
    named = ", ".join(f"{dim}: {size}" for dim, size in zip(header.dims, header.shape, strict=True))
    raise InvalidValue(
        f"The array has shape {array.shape}, beside its pixels {shape}, and the header ({named}): "
        "they have different numbers of dimensions. Select from the header, as in header[..., 0], "
        "or name the dimensions of the array: xr.DataArray(array, dims=[...])."
    )
