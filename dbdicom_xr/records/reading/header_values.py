"""What is set in the header of an array: the value of each of its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.records.attributes.lookup import Attribute
from dbdicom_xr.records.distinct import one_value

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["values_of_frames"]


def values_of_frames(
    value: Any, attribute: Attribute, shape: tuple[int, ...], dims: tuple[str, ...] | None
) -> npt.NDArray[np.object_]:
    """Return the value of each frame of a header, in C order.

    Parameters
    ----------
    value : object
        One for all frames, or an array with one for each. A list has one for each where the header
        has one dimension, and the attribute one value.
    attribute : Attribute
    shape, dims
        Of the header.

    Raises
    ------
    InvalidValue
        There are several values, but not one for each frame.

    Examples
    --------
    >>> from dbdicom_xr.records.attributes.lookup import parse_name
    >>> values_of_frames([5, 10], parse_name("EchoTime"), (2,), ("SliceLocation",)).tolist()
    [5, 10]
    >>> values_of_frames([1.5, 2], parse_name("PixelSpacing"), (2,), ("SliceLocation",)).tolist()
    [[1.5, 2], [1.5, 2]]
    """
    import xarray as xr

    value = one_value(value)
    if isinstance(value, xr.DataArray):
        value = _in_order(value, attribute, dims) if value.ndim else value.values[()]
    cells = _cells(value, attribute)
    found = np.full(int(np.prod(shape)), None, object)
    if cells is None or (
        cells.ndim == 1 and cells.shape != shape and not _is_wrong(cells, attribute)
    ):
        found[:] = [value] * found.size
        return found
    if cells.shape != shape:
        raise InvalidValue(_mismatch(attribute, cells.shape, shape))
    # Dates of nanoseconds would be whole numbers as Python objects.
    flat = cells.ravel()
    found[:] = list(flat) if flat.dtype.kind in "mM" else flat.tolist()
    return found


def _cells(value: Any, attribute: Attribute) -> npt.NDArray[Any] | None:
    """Return what may be a value for each frame, None for what is the value of all."""
    if isinstance(value, np.ndarray):
        return value if value.ndim else None
    if isinstance(value, (list, tuple, range)) and _takes_one(attribute):
        cells = np.empty(len(value), object)
        cells[:] = list(value)
        return cells
    return None


def _in_order(
    value: xr.DataArray, attribute: Attribute, dims: tuple[str, ...] | None
) -> npt.NDArray[Any]:
    """Return labelled values in the order of the dimensions of the header."""
    if dims is None:
        return np.asarray(value.values)
    if {*map(str, value.dims)} != {*dims}:
        raise InvalidValue(
            f"{attribute} was given an array of the dimensions {tuple(value.dims)}; one with a "
            f"value per frame has those of the header, {dims}."
        )
    return np.asarray(value.transpose(*dims).values)


def _takes_one(attribute: Attribute) -> bool:
    """Return whether the standard gives an attribute one value, which is no sequence."""
    from pydicom.datadict import dictionary_VM, dictionary_VR

    if not attribute.tag or attribute.is_private:
        return False
    try:
        return dictionary_VM(attribute.tag) == "1" and dictionary_VR(attribute.tag) != "SQ"
    except KeyError:  # a tag that the dictionary does not know
        return False


def _is_wrong(cells: npt.NDArray[Any], attribute: Attribute) -> bool:
    """Return whether what is no value for each frame cannot be the value of all either."""
    return cells.size > 1 and _takes_one(attribute)


def _mismatch(attribute: Attribute, given: tuple[int, ...], shape: tuple[int, ...]) -> str:
    text = (
        f"{attribute} was given an array of shape {given}; one with a value per frame has the "
        f"shape of the header, {shape}."
    )
    if int(np.prod(given)) == int(np.prod(shape)):
        text += f" Make it of that shape, with reshape{shape}"
        if len(given) == 1 and max(shape) == given[0]:
            part = ", ".join(":" if size == given[0] else "0" for size in shape)
            text += f", or set it in the part header[{part}]"
        return f"{text}; series.set_values takes a value per image, in the order of instances()."
    return text
