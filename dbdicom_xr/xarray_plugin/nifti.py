"""An array as an image of nibabel, lazy as the array is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from dbdicom_xr.errors import DbdicomError, GridError, InvalidValue
from dbdicom_xr.formats.nifti import RGB
from dbdicom_xr.geometry.affine import in_space, tilt_warning
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.vendors.columns import first_number
from dbdicom_xr.records.reading.provenance import source_of
from dbdicom_xr.xarray_plugin.space import Placed

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

__all__ = ["nifti_image"]

_MOST: Final = 7  # dimensions of the format


def nifti_image(array: xr.DataArray, place: Placed) -> Nifti1Image:
    """Return an array as an image. See :meth:`DicomAccessor.to_nifti`.

    Parameters
    ----------
    array : xarray.DataArray
    place : Placed
        Where it lies.
    """
    from nibabel.nifti1 import Nifti1Image

    missing = [dim for dim in ("x", "y") if dim not in array.dims]
    if missing:
        raise GridError(f"The array has no dimension {' and '.join(missing)}, so it is no image.")
    ordered = _spatial_first(array, place.slice_dim)
    data = _supported(ordered)
    affine = in_space(place.affine, "RAS")
    image: Any = Nifti1Image(data, affine, dtype=data.dtype)  # type: ignore[no-untyped-call]
    image.set_sform(affine, code="scanner")
    # A quaternion cannot tell slices that are shifted against each other.
    image.set_qform(affine, code="scanner" if tilt_warning(place.affine) is None else 0)
    image.header.set_xyzt_units("mm", "sec")
    seconds = _repetition_time(array) if data.ndim > 3 else None
    if seconds is not None:
        image.header["pixdim"][4] = seconds
    return image  # type: ignore[no-any-return]


def _spatial_first(array: xr.DataArray, slice_dim: str | None) -> xr.DataArray:
    """Return the array with dimensions x, y, slice, those that vary, channel."""
    if slice_dim is None:
        slice_dim = "SliceLocation"
        if slice_dim not in array.dims:
            array = array.drop_vars(slice_dim, errors="ignore").expand_dims(slice_dim)
    channel = [dim for dim in ("channel",) if dim in array.dims]
    spatial = ["x", "y", slice_dim]
    others = [dim for dim in array.dims if dim not in (*spatial, *channel)]
    array = array.squeeze([dim for dim in others if array.sizes[dim] == 1], drop=True)
    others = [dim for dim in others if dim in array.dims]
    if len(others) + 3 > _MOST:
        raise InvalidValue(
            f"The array has {len(others) + 3} dimensions beside those of one element "
            f"({', '.join(map(str, [*spatial, *others]))}), and NIfTI has {_MOST}: select in some."
        )
    return array.transpose(*spatial, *others, *channel)


def _supported(array: xr.DataArray) -> Any:
    """Return the data in a type that the format has."""
    if "channel" in array.dims:
        if array.dtype != np.uint8 or array.sizes["channel"] != 3:
            raise InvalidValue(
                f"The colours are {array.sizes['channel']} of type {array.dtype}; NIfTI has three "
                "of type uint8. Convert them, or select in channel."
            )
        return xr.apply_ufunc(
            _as_voxels,
            array.chunk(channel=3) if array.chunks is not None else array,
            input_core_dims=[["channel"]],
            dask="parallelized",
            output_dtypes=[RGB],
        ).data
    if array.dtype.kind == "b":
        return array.astype(np.uint8).data
    if array.dtype.kind == "f" and array.dtype.itemsize == 2:
        return array.astype(np.float32).data
    if array.dtype.kind not in "iufc":
        raise InvalidValue(f"The array is of type {array.dtype}, and NIfTI holds numbers.")
    return array.data


def _as_voxels(block: Any) -> Any:
    return np.ascontiguousarray(block).view(RGB)[..., 0]


def _repetition_time(array: xr.DataArray) -> float | None:
    """Return RepetitionTime in s, None where the frames do not tell one."""
    try:
        source = source_of(array)
    except DbdicomError:
        return None
    values = parse_name("RepetitionTime").values(source.table)
    if values is None:
        return None
    found = {first_number(value) for value in values.take(source.rows.ravel()).occurring()}
    number = found.pop() if len(found) == 1 else None
    return None if number is None else number / 1000
