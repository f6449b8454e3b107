"""Series from nothing: of a shape, with pixels that all have one value, or of an array."""

from __future__ import annotations

import math
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
from dbdicom_xr.records.attributes.lookup import nowhere, parse_name
from dbdicom_xr.records.editing.edits import encoded_one
from dbdicom_xr.records.writing.new_dimensions import (
    has_source,
    images_of,
    labelled_array,
    require_countable,
    require_written,
)
from dbdicom_xr.records.writing.new_images import new_elements, refuse_pixels
from dbdicom_xr.records.writing.write_array import write_array
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
_MODALITY: Final = Key(0x00080060)


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
        The kind of images; by default that of the Modality which is given, or of the images which
        an array was made from, else MR. Secondary Capture stands for all other modalities, and
        takes colours too: uint8, with a last dimension of size 3.
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
        The shape, the dimensions or the values do not make a series; or an attribute that is
        given contradicts them.
    UnknownKeyword
        A dimension or an attribute is no keyword of DICOM.

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


def zeros(shape: Sequence[int], dtype: str | None = None, **options: Any) -> Series:
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


def ones(shape: Sequence[int], dtype: str | None = None, **options: Any) -> Series:
    """Make a series of images that are all 1; see :func:`full`."""
    return full(shape, 1, dtype, **options)


def full(
    shape: Sequence[int],
    value: float,
    dtype: str | None = None,
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
    given: dict[Key, Encoded | None] = {}
    for name, text in attributes.items():
        attribute = parse_name(name, nowhere)
        require_written(attribute)
        given.update([encoded_one(attribute, text)])
    modality = _said(given.get(_MODALITY))
    kind = _kind(dtype, modality)
    refuse_pixels(given)
    if _is_shape(array):
        shape = shape_of(array)
        frame = _one_pixel(value)
        labelled = labelled_array(np.broadcast_to(frame, shape), dims, coords)
        _refuse(given, math.prod(shape[:-2]))
        kind = kind or KINDS["mri"]
        kind = replace(kind, modality=modality or kind.modality)
        with parent.database.batch():
            made: Series = parent.new_series(**attributes)
            _stage_constant(made, labelled, kind, frame, spacing, affine)
        return made
    labelled = labelled_array(array, dims, coords, colour=kind is not None and kind.name == "sc")
    _refuse(given, images_of(labelled))
    made = parent.new_series(**attributes)
    top: Any = made
    while top.parent.level != parent.level:
        top = top.parent
    try:
        if kind is None and not has_source(labelled):
            kind = KINDS["mri"]
        write_array(
            made,
            labelled,
            affine=affine,
            spacing=spacing,
            kind=None if kind is None else kind.name,
            attributes={"Modality": modality} if modality else {},
        )
    except BaseException:
        top.remove()
        raise
    return made


def _said(encoded: Encoded | None) -> str:
    return "" if encoded is None else encoded.value.decode("ascii").strip()


def _kind(dtype: Any, modality: str) -> Kind | None:
    """Return the kind of images that is asked for, by its name or by Modality."""
    if dtype is None:
        named = {kind.modality: kind for kind in KINDS.values()}
        return named.get(modality, KINDS["sc"]) if modality else None
    if not (isinstance(dtype, str) and dtype in KINDS):
        raise InvalidValue(
            f"dtype is {dtype!r}; it names a kind of images: {', '.join(map(repr, KINDS))}. Which "
            "numbers they hold follows from the values: full(shape, value), or series(array)."
        )
    kind = kind_named(dtype)
    if modality and kind.name != "sc" and modality != kind.modality:
        raise InvalidValue(
            f"Modality is {modality!r}, and images of the kind {dtype!r} have {kind.modality!r}. "
            "Leave one of them out; dtype='sc' takes any Modality."
        )
    return kind


def _refuse(given: Mapping[Key, Any], images: int) -> None:
    """Refuse attributes that each image has of its own, and that follow from the array."""
    for keyword in ("SOPInstanceUID", "InstanceNumber"):
        if Key(parse_name(keyword).tag) in given:
            raise InvalidValue(
                f"{keyword} cannot be given: the images of a series are numbered from 1, and each "
                "has an identifier of its own."
            )
    for keyword in ("ImagePositionPatient", "SliceLocation"):
        if images > 1 and Key(parse_name(keyword).tag) in given:
            raise InvalidValue(
                f"{keyword} differs from image to image: spacing=, affine= or "
                "coords={'SliceLocation': [...]} tell where they lie."
            )


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
    require_countable(math.prod(sizes[:-2]), sizes)
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
