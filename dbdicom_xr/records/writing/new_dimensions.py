"""Dimensions and labels of arrays from nothing, as attributes that the new images can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbdicom_xr.errors import InvalidValue, UnknownKeyword
from dbdicom_xr.index.columns import Key
from dbdicom_xr.records.attributes.lookup import Attribute, parse_name
from dbdicom_xr.records.attributes.modules import keys_of
from dbdicom_xr.records.writing.new_images import refuse_pixels

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["has_source", "images_of", "labelled_array", "require_countable", "require_written"]

_PIXELS: Final = ("x", "y")
# Dimensions that are no attributes; of those the first may have coordinates, which are places.
_PLACES: Final = (*_PIXELS, "n", "channel", "z", "Z")
_NO_ATTRIBUTES: Final = (*_PLACES, "frame", "slice", "slices")
_MOST: Final = (1 << 31) - 1  # images; InstanceNumber counts no further (PS3.5 6.2, IS)
# Of dimensions without coordinates: those whose values follow from the place of the images, or do
# not stand in them; and times, which count seconds. Others count from 0.
_PLACED: Final = ("n", "SliceLocation", "ImagePositionPatient", "InstanceNumber")
# Attributes that are worked out, and where the standard has what they tell.
_STANDARD: Final = {
    "b_value": "DiffusionBValue",
    "gradient_direction": "DiffusionGradientOrientation",
    "echo": "EchoNumbers or EchoTime",
    "image_type": "ImageType",
    "signal_type": "ImageType",
    "window": "WindowCenter and WindowWidth",
}
_NUMBERS: Final = frozenset(("DS", "IS", "FD", "FL", "SL", "SS", "UL", "US", "SV", "UV"))


def labelled_array(
    array: Any,
    dims: Sequence[str] | None,
    coords: Mapping[str, Any] | None,
    *,
    colour: bool = False,
) -> xr.DataArray:
    """Return an array with names of its dimensions, and a label where an attribute needs one."""
    import xarray as xr

    if isinstance(array, xr.DataArray):
        if dims is not None:
            raise InvalidValue("A DataArray has dimensions: array.rename({...}) in place of dims=.")
        result = array
    else:
        if not hasattr(array, "ndim") or not hasattr(array, "dtype"):
            raise InvalidValue(
                f"An array is needed (xarray, numpy or dask) or a shape, not "
                f"{type(array).__name__}. To search, name the attribute: series(FlipAngle=10)."
            )
        result = xr.DataArray(array, dims=_dims(array, dims, coords, colour=colour))
    require_countable(images_of(result), result.shape)
    if max(result.sizes.get(dim, 1) for dim in _PIXELS) >= 1 << 16:
        raise InvalidValue(
            f"There is no series of shape {result.shape}: images have 65535 rows and columns at "
            "most."
        )
    _check_names(result, dims is not None, coords or {})
    for name, values in (coords or {}).items():
        if not isinstance(values, tuple) and name not in result.dims:
            raise InvalidValue(
                f"coords has {name!r}, which is none of the dimensions "
                f"{', '.join(map(repr, result.dims))}. dims= names them."
            )
        try:
            result = result.assign_coords({name: values})
        except ValueError as error:
            raise InvalidValue(f"coords[{name!r}] does not fit: {error}.") from error
    for dim in map(str, result.dims):
        if dim not in result.coords and dim not in (*_PIXELS, *_PLACED, "channel"):
            counted = _counted(dim, result.sizes[dim])
            result = result if counted is None else result.assign_coords({dim: counted})
    return result


def _dims(
    array: Any, dims: Sequence[str] | None, coords: Mapping[str, Any] | None, *, colour: bool
) -> list[str]:
    """Return names for the dimensions of an array: those given, and the usual ones after them."""
    colours = colour and array.ndim > 2 and array.shape[-1] == 3 and array.dtype == np.uint8
    last = [*_PIXELS, *(["channel"] if colours else [])]
    depth = array.ndim - len(last)
    named = [dim for dim in coords or () if dim not in _PIXELS] if dims is None else list(dims)
    if isinstance(dims, str):
        named = [dims]
    if not all(isinstance(dim, str) for dim in named):
        raise InvalidValue(f"dims is {dims!r}; it holds keywords of DICOM, as texts.")
    for every in ([*named, *last], [*named, "n", *last], named):
        if len(every) == array.ndim and len({*every}) == len(every) and every[-len(last) :] == last:
            return every
    if dims is None and coords is None and depth > 1:
        in_colour = (
            " If the last one holds colours, from 0 to 255: series(array.astype('uint8'), 'sc')."
            if array.shape[-1] == 3 and not colours
            else ""
        )
        raise InvalidValue(
            f"An array of shape {tuple(array.shape)} has {depth - 1} dimensions that need names: "
            "dims=('SliceLocation', ...), keywords of DICOM, for those before n, x and y."
            f"{in_colour}"
        )
    raise InvalidValue(
        f"dims={named} does not name the dimensions of the shape {tuple(array.shape)}: it has "
        "names for those before n, x and y, or before x and y."
    )


def _check_names(array: xr.DataArray, named: bool, coords: Mapping[str, Any]) -> None:
    """Refuse dimensions and coordinates that would be lost, as the images cannot tell them."""
    names = [] if has_source(array) else [str(dim) for dim in array.dims]
    for name in dict.fromkeys([*names, *coords]):
        if name in (_PLACES if name in coords else _NO_ATTRIBUTES):
            continue
        try:
            attribute = parse_name(name)
        except UnknownKeyword:
            if named or name in coords:
                raise
            continue  # of an array that has other names; its images stay in order
        require_written(attribute)
        key = Key(attribute.tag)
        refuse_pixels({key: None})
        numbers = coords.get(name) if name == "InstanceNumber" else None
        if name in ("SOPInstanceUID", "FrameOfReferenceUID") or (
            numbers is not None and list(numbers) != list(range(1, len(numbers) + 1))
        ):
            raise InvalidValue(
                f"{name} cannot be given: new images are numbered from 1, and get identifiers of "
                "their own."
            )
        if any(key in keys_of(module) for module in ("patient", "study", "series")):
            raise InvalidValue(
                f"{name} is said of a whole patient, study or series, and cannot differ from image "
                "to image. Make a series of each, or use another keyword."
            )


def require_written(attribute: Attribute) -> None:
    """Refuse attributes that no element of an image is."""
    if attribute.custom is not None:
        instead = _STANDARD.get(attribute.name)
        raise InvalidValue(
            f"{attribute} is worked out from other attributes, and new images have none of these. "
            + (f"Use {instead}." if instead else "Use a keyword of DICOM.")
        )
    if attribute.is_private and not attribute.creator:
        raise InvalidValue(
            f"{attribute} is private, and belongs to nobody as long as its creator is not known "
            "(PS3.5 7.8.1). Use a keyword of DICOM."
        )


def _counted(dim: str, size: int) -> Any:
    """Return labels that count, for a dimension that is an attribute and was given none."""
    from pydicom.datadict import dictionary_VR

    try:
        attribute = parse_name(dim)
    except UnknownKeyword:
        return None
    vr = "" if attribute.is_private or attribute.custom else dictionary_VR(attribute.tag)
    if vr == "TM":
        return np.arange(size).astype("timedelta64[s]").astype("timedelta64[ns]")
    if vr not in _NUMBERS:
        raise InvalidValue(f"coords= has to give values of {dim}, which are no numbers.")
    return np.arange(size)


def has_source(array: xr.DataArray) -> bool:
    """Return whether an array tells the images that it was made from."""
    return "SOPInstanceUID" in array.coords or "SeriesInstanceUID" in array.attrs


def images_of(array: xr.DataArray) -> int:
    """Return the number of images in an array."""
    return math.prod(size for dim, size in array.sizes.items() if dim not in (*_PIXELS, "channel"))


def require_countable(images: int, shape: tuple[int, ...]) -> None:
    """Refuse more images than a series can number."""
    if images > _MOST:
        raise InvalidValue(
            f"The shape {shape} has {images} images, more than the {_MOST} that a series can count."
        )
