"""Series from nothing: of a shape, with pixels that all have one value, or of an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.emit.elements import constant
from dbdicom_xr.emit.image import pixel_elements
from dbdicom_xr.emit.kinds import KINDS, Kind, kind_named, rescale_type
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.values import Kind as Encoding
from dbdicom_xr.pixels.quantise import quantise, require_numbers
from dbdicom_xr.records.attributes import parse_name
from dbdicom_xr.records.edits import encoded_one
from dbdicom_xr.records.new_images import new_elements, refuse_pixels
from dbdicom_xr.records.writing import write_array
from dbdicom_xr.staging.changing import Change
from dbdicom_xr.staging.constant import CONSTANT
from dbdicom_xr.staging.encode import Encoded
from dbdicom_xr.staging.patch import NOWHERE, Patch, PatchKey, Role

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.levels import Series
    from dbdicom_xr.records.record import Record

__all__ = ["full", "make_series", "ones", "series", "shape_of", "zeros"]

_ROWS, _COLUMNS = Key(0x00280010), Key(0x00280011)
_CHARSET: Final = Key(0x00080005)
_PIXELS: Final = ("x", "y")
# Of dimensions without coordinates: those whose values follow from the place of the images, or do
# not stand in them; and times, which count seconds. Others count from 0.
_PLACED: Final = ("n", "SliceLocation", "ImagePositionPatient", "InstanceNumber")
_NUMBERS: Final = frozenset(("DS", "IS", "FD", "FL", "SL", "SS", "UL", "US", "SV", "UV"))


def series(
    array: Any,
    dtype: str | None = None,
    *,
    dims: Sequence[str] | None = None,
    coords: Mapping[str, Any] | None = None,
    spacing: Sequence[float] | None = None,
    affine: npt.ArrayLike | None = None,
    **attributes: Any,
) -> Series:
    """Make a series of an array, or of a shape, in a database without a folder.

    Parameters
    ----------
    array : xarray.DataArray, numpy.ndarray, dask.array.Array, or tuple of int
        Of shape ``(n, x, y)``, or with `dims` ``(*dims, n, x, y)``; the dimension ``n`` may be
        missing. A ``DataArray`` tells its dimensions by their names. A shape makes pixels of 0.
    dtype : {"mri", "ct", "pet", "sc"}
        The kind of images; by default MR, or that of the images which an array was made from.
        Secondary Capture takes colours too: uint8, with a last dimension of size 3.
    dims : sequence of str, optional
        Names of dimensions: keywords of DICOM.
    coords : mapping, optional
        Values of these attributes along the dimensions. Without them, numbers count from 0.
    spacing : sequence of 3 floats, optional
        Size of a voxel along x, y and slices, in mm; else 1.
    affine : array_like, shape (4, 4), optional
        From voxel indices ``(x, y, slice)`` to patient coordinates (LPS, mm).
    **attributes
        Of the patient, the study, the series or the images.

    Returns
    -------
    Series
        ``series.save(path)`` writes its files, ``series.database.save(path)`` makes a database of
        a folder of it.

    Raises
    ------
    InvalidValue
        The shape, the dimensions or the values do not make a series.

    Examples
    --------
    >>> import dbdicom_xr as db, numpy as np
    >>> series = db.series(np.arange(24.0).reshape(2, 4, 3), PatientName="Phantom")
    >>> series.Modality, series.array()[0].shape
    (['MR'], (2, 4, 3))
    >>> series.database.close(save=False)
    """
    return _in_scratch(
        array, 0, dtype, dims=dims, coords=coords, spacing=spacing, affine=affine,
        attributes=attributes,
    )  # fmt: skip


def zeros(shape: Sequence[int], dtype: str = "mri", **options: Any) -> Series:
    """Make a series of images that are all 0; see :func:`full`.

    Examples
    --------
    >>> import dbdicom_xr as db
    >>> series = db.zeros((2, 3, 128, 96), dims=["EchoTime"], coords={"EchoTime": [2.3, 4.6]})
    >>> series.array(["EchoTime"])[0].sizes["EchoTime"]
    2
    >>> series.database.close(save=False)
    """
    return full(shape, 0, dtype, **options)


def ones(shape: Sequence[int], dtype: str = "mri", **options: Any) -> Series:
    """Make a series of images that are all 1; see :func:`full`."""
    return full(shape, 1, dtype, **options)


def full(
    shape: Sequence[int],
    value: float,
    dtype: str = "mri",
    *,
    dims: Sequence[str] | None = None,
    coords: Mapping[str, Any] | None = None,
    spacing: Sequence[float] | None = None,
    affine: npt.ArrayLike | None = None,
    **attributes: Any,
) -> Series:
    """Make a series of images whose pixels have one value, in a database without a folder.

    It takes no room before it is saved. ``study.full()`` makes one in a study, likewise
    ``zeros()``, ``ones()`` and ``series()``.

    Parameters
    ----------
    shape : sequence of int
        ``(n, x, y)``, or with `dims` ``(*dims, n, x, y)``; ``n`` may be missing.
    value : float
    dtype, dims, coords, spacing, affine, **attributes
        As for :func:`series`.

    Examples
    --------
    >>> import dbdicom_xr as db
    >>> series = db.full((10, 128, 192), 3.7, spacing=(1.5, 1.5, 5))
    >>> float(series.array()[0].max()), series.SliceLocation[:3]
    (3.7, [0.0, 5.0, 10.0])
    >>> series.database.close(save=False)
    """
    return _in_scratch(
        shape_of(shape), value, dtype, dims=dims, coords=coords, spacing=spacing, affine=affine,
        attributes=attributes,
    )  # fmt: skip


def _in_scratch(array: Any, value: Any, dtype: Any, **options: Any) -> Series:
    from dbdicom_xr.records.scratch import scratch_database

    database = scratch_database()
    try:
        return make_series(database, array, value, dtype, **options)
    except BaseException:
        database.close(save=False)
        raise


def make_series(
    parent: Record,
    array: Any,
    value: float,
    dtype: str | None,
    *,
    dims: Sequence[str] | None = None,
    coords: Mapping[str, Any] | None = None,
    spacing: Sequence[float] | None = None,
    affine: npt.ArrayLike | None = None,
    attributes: Mapping[str, Any],
) -> Series:
    """Make a series of an array or a shape in a study, or in a new one; see :func:`series`."""
    kind = _kind(dtype)
    given = dict(encoded_one(parse_name(n), v) for n, v in attributes.items())
    refuse_pixels(given)
    if _is_shape(array):
        shape = shape_of(array)
        frame = _one_pixel(value)
        labelled = _labelled(np.broadcast_to(frame, shape), dims, coords)
        with parent.database.batch():
            made: Series = parent.new_series(**attributes)
            _stage_constant(made, labelled, kind or KINDS["mri"], frame, spacing, affine)
        return made
    labelled = _labelled(array, dims, coords, colour=dtype == "sc")
    made = parent.new_series(**attributes)
    top: Any = made
    while top.parent.level != parent.level:
        top = top.parent
    try:
        name = None if kind is None and _has_source(labelled) else (kind or KINDS["mri"]).name
        write_array(made, labelled, affine=affine, spacing=spacing, kind=name)
    except BaseException:
        top.remove()
        raise
    return made


def _kind(dtype: Any) -> Kind | None:
    if dtype is None or (isinstance(dtype, str) and dtype in KINDS):
        return None if dtype is None else kind_named(dtype)
    raise InvalidValue(
        f"dtype is {dtype!r}; it names a kind of images: {', '.join(map(repr, KINDS))}. Which "
        "numbers they hold follows from the values: full(shape, value), or series(array)."
    )


def _has_source(array: xr.DataArray) -> bool:
    return "SOPInstanceUID" in array.coords or "SeriesInstanceUID" in array.attrs


def _is_shape(array: Any) -> bool:
    return isinstance(array, (tuple, list)) and all(
        isinstance(size, (int, np.integer)) for size in array
    )


def shape_of(shape: Any) -> tuple[int, ...]:
    """Return the shape of a series, checked."""
    if not (isinstance(shape, Sequence) and _is_shape(tuple(shape))):
        raise InvalidValue(f"The shape is {shape!r}; it is a tuple of numbers, such as (n, x, y).")
    sizes = tuple(int(size) for size in shape)
    if len(sizes) < 2 or min(sizes) < 1 or max(sizes[-2:]) >= 1 << 16:
        raise InvalidValue(
            f"There is no series of shape {sizes}: it has two dimensions at least, the last two "
            "being x and y, and their sizes are between 1 and 65535."
        )
    return sizes


def _one_pixel(value: Any) -> npt.NDArray[Any]:
    frame = np.asarray(value)
    require_numbers(frame.dtype)
    if frame.ndim:
        raise InvalidValue(
            f"The value is an array of shape {frame.shape}; it is one number. series(array) makes "
            "a series of an array."
        )
    return frame.reshape(1, 1)


# -- dimensions ----------------------------------------------------------------------------------


def _labelled(
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
                f"{type(array).__name__}."
            )
        result = xr.DataArray(array, dims=_dims(array, dims, coords, colour=colour))
    for name, values in (coords or {}).items():
        if not isinstance(values, tuple) and name not in result.dims:
            raise InvalidValue(
                f"coords has {name!r}, which is none of the dimensions "
                f"{', '.join(map(repr, result.dims))}. dims= names them."
            )
        if name not in (*_PIXELS, "n", "channel"):
            parse_name(name)  # a misspelt one would be lost
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
    for every in ([*named, *last], [*named, "n", *last], named):
        if len(every) == array.ndim and len({*every}) == len(every) and every[-len(last) :] == last:
            return every
    if dims is None and coords is None and depth > 1:
        raise InvalidValue(
            f"An array of shape {tuple(array.shape)} has {depth - 1} dimensions that need names: "
            "dims=('SliceLocation', ...), keywords of DICOM, for those before n, x and y."
        )
    raise InvalidValue(
        f"dims={named} does not name the dimensions of the shape {tuple(array.shape)}: it has "
        "names for those before n, x and y, or before x and y."
    )


def _counted(dim: str, size: int) -> Any:
    """Return labels that count, for a dimension that is an attribute and was given none."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(dim)
    if tag is None:
        return None
    vr = dictionary_VR(tag)
    if vr == "TM":
        return np.arange(size).astype("timedelta64[s]").astype("timedelta64[ns]")
    if vr not in _NUMBERS:
        raise InvalidValue(f"coords= has to give values of {dim}, which are no numbers.")
    return np.arange(size)


# -- pixels of one value -------------------------------------------------------------------------


def _stage_constant(
    made: Series,
    array: xr.DataArray,
    kind: Kind,
    frame: npt.NDArray[Any],
    spacing: Sequence[float] | None,
    affine: npt.ArrayLike | None,
) -> None:
    """Stage images whose pixels have the value of a frame of one pixel."""
    elements, kept = new_elements(made, array, None, kind, {}, affine=affine, spacing=spacing)
    count = len(kept)
    stored = quantise(frame, kind.target, name="The value")
    said = dict(
        pixel_elements(stored, rescales=kind.rescales, rescale_type=rescale_type(kind, elements))
    )
    said[_ROWS], said[_COLUMNS] = (
        Encoded(Encoding("US"), array.sizes[dim].to_bytes(2, "little")) for dim in ("y", "x")
    )
    number = int(stored.values[0, 0])
    said[CONSTANT] = Encoded(Encoding("SL"), number.to_bytes(4, "little", signed=True))
    elements.update({key: constant(key, value, count) for key, value in said.items()})
    if any(one.charset for column in elements.values() for one in column.kinds):
        elements[_CHARSET] = constant(_CHARSET, "ISO_IR 192", count)
    uids = [str(uid) for uid in _uids(elements)]
    database = made.database
    node = made._node
    assert node.row is not None
    with database._change() as change:
        _add(change, uids, elements, PatchKey(NOWHERE, node.row.key, Role.NEW))


def _uids(elements: Mapping[Key, Any]) -> list[Any]:
    column = elements[Key(0x00080018)]
    values = column.decoded()
    return [values[code] for code in column.codes_of().tolist()]


def _add(change: Change, uids: list[str], elements: Mapping[Key, Any], key: PatchKey) -> None:
    bare = Patch.bare(key, change.view.identity, np.full(len(uids), -1), uids)
    change.add(replace(bare, origins=[""] * len(uids)).edited(elements))
