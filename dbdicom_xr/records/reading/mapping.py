"""``series.map_to`` and ``series.map_mask_to``: the values of a series on the grid of another."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import DicomWarning, GridError, InvalidValue, MixedGeometry
from dbdicom_xr.geometry.affine import orientation_of
from dbdicom_xr.geometry.planes import Floats
from dbdicom_xr.geometry.resample import Grid, Method, Resampled, VoxelMap
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.pixel_header import pixel_header
from dbdicom_xr.records.current import levels_to_user, of_one_state
from dbdicom_xr.records.instance import Instance, frame_records
from dbdicom_xr.records.reading.common import Common
from dbdicom_xr.records.reading.grids import (
    Part,
    TargetGrid,
    distinct,
    frames_of_reference,
    objects_of,
    parts_of,
    ranks_of,
    target_grids,
)
from dbdicom_xr.records.reading.header import Header
from dbdicom_xr.records.reading.series_array import describer, frame_reader
from dbdicom_xr.records.reading.sorting import sort_key
from dbdicom_xr.staging.uids import new_uid

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.levels import Series

__all__ = ["map_mask_to", "map_to"]

Ints = npt.NDArray[np.intp]

_METHODS: Final[Mapping[int, Method]] = {0: "nearest", 1: "linear", 3: "cubic"}
_OF_PIXELS: Final = frozenset((
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "PixelData", "RescaleSlope", "RescaleIntercept", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "SOPInstanceUID",
))  # fmt: skip
_LOCATION: Final = "SliceLocation"
_DIMS: Final = ("volume", _LOCATION)
_TIMES: Final = ("AcquisitionTime", "AcquisitionDateTime")
_PARALLEL: Final = 1e-3  # of the cosine
_BLOCK: Final = 1 << 20  # voxels
_LONGEST: Final = 64  # characters of a description, LO (PS3.5 6.2)
_LABELS: Final = 1e-4  # mm, to which labels are rounded


@dataclass(frozen=True)
class _Plan:
    """An array on a grid of the target, and what its images say."""

    target: TargetGrid
    array: xr.DataArray
    header: Header
    said: dict[str, Any]


def map_to(
    series: Series,
    target: Any,
    *,
    order: int,
    dtype: str | None,
    stack: int | None,
    attributes: Mapping[str, Any],
) -> Series:
    """Make a series of the values of another on a grid. See :meth:`Series.map_to`."""
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order not in _METHODS:
        raise InvalidValue(
            f"order is {order!r}; it is 0 (the nearest voxel), 1 (linear) or 3 (cubic splines)."
        )
    return _mapped(series, target, _METHODS[order], 0.5, stack, dtype, attributes)


def map_mask_to(
    series: Series,
    target: Any,
    *,
    threshold: float,
    stack: int | None,
    attributes: Mapping[str, Any],
) -> Series:
    """Make a series of a mask on a grid. See :meth:`Series.map_mask_to`."""
    is_number = isinstance(threshold, (int, float, np.number)) and not isinstance(threshold, bool)
    if not is_number or not 0 < threshold <= 1:
        raise InvalidValue(
            f"threshold is {threshold!r}; it is a part of a voxel, above 0, up to 1."
        )
    return _mapped(series, target, "area", float(threshold), stack, None, attributes)


def _mapped(
    series: Series,
    target: Any,
    method: Method,
    threshold: float,
    stack: int | None,
    dtype: str | None,
    attributes: Mapping[str, Any],
) -> Series:
    refused = sorted(_OF_PIXELS & set(attributes))
    if refused:
        raise InvalidValue(
            f"{', '.join(refused)}: told by the target and the values, and cannot be given."
        )
    planned = _planned(series, target, method, threshold, stack)
    named = {"SeriesDescription": _description(series, target), **attributes}
    new: Series = series.new_sibling(**named)
    try:
        for number, plan in enumerate(planned):
            new.set_array(
                plan.array,
                plan.header,
                mode="a" if number else "w",
                dtype=dtype,
                affine=plan.target.grid.affine,
                **plan.said,
            )
        _label(new, planned)
    except BaseException:
        new.remove()
        raise
    return new


@of_one_state
def _planned(
    series: Series, target: Any, method: Method, threshold: float, stack: int | None
) -> list[_Plan]:
    """Return the arrays of a series on the grids of a target. Nothing is read of their pixels."""
    targets = target_grids(target)
    parts = parts_of(series)
    pairs = [(one, part) for one in targets for part in _chosen(series, parts, one.grid, stack)]
    frame_of_reference = new_uid()  # where the target has none
    planned, is_met = [], False
    for one, part in pairs:
        voxels = VoxelMap(part.grid, one.grid)
        met = voxels.slices_met()
        is_met |= bool(np.diff(met).any())
        header, times = _header(series, part, met)
        array = _array(Resampled(_volumes(series, part), voxels, method, threshold))
        known = one.frame_of_reference
        uid = known[0] if len(known) == 1 else frame_of_reference
        said = {"FrameOfReferenceUID": uid, **one.said}
        planned.append(_Plan(one, array.assign_coords(times), header, said))
    _warn_of_places(series, targets, parts, is_met)
    return planned


# -- the volumes that are mapped -----------------------------------------------------------------


def _volumes(series: Series, part: Part) -> Any:
    """Return the pixels of a part, an array of (volume, slice, x, y) that is read as indexed."""
    rows = part.rows.ravel()
    pixels = pixel_header(part.table, rows, True, None, describe=describer(part.table))
    places = np.arange(rows.size).reshape(part.rows.shape)
    reader = frame_reader(part.table, pixels, places, part.rows, np.nan, False)
    if reader.ndim != 4:
        raise InvalidValue(
            f"{series!r} holds colours, and what lies between two colours is none. Map the images "
            "of numbers that they were made from."
        )
    return reader


def _chosen(series: Series, parts: list[Part], grid: Grid, stack: int | None) -> list[Part]:
    """Return the parts of the orientation that is mapped to a grid."""
    stacks = sorted({part.stack for part in parts})
    if stack is not None:
        if isinstance(stack, bool) or stack not in stacks:
            raise InvalidValue(f"stack is {stack!r}; {series!r} has {len(stacks)}, counted from 0.")
        return [part for part in parts if part.stack == stack]
    if len(stacks) == 1:
        return parts
    normal = _normal(grid)
    cosines = np.array([abs(float(_normal(part.grid) @ normal)) for part in parts])
    near = [part for part, c in zip(parts, cosines, strict=True) if c >= cosines.max() - _PARALLEL]
    best = max(near, key=lambda part: int(np.diff(VoxelMap(part.grid, grid).slices_met()).sum()))
    names = [orientation_of(one.affine).plane for one in (best.grid, grid)]
    _warn(
        f"{series!r} has images of {len(stacks)} orientations. To the {names[1]} grid stack "
        f"{best.stack} ({names[0]}) is mapped, which is the most nearly parallel to it. stack= "
        "chooses another; series.stacks() lists them.",
        MixedGeometry,
    )
    return [part for part in parts if part.stack == best.stack]


def _normal(grid: Grid) -> Floats:
    normal = np.cross(grid.affine[:3, 0], grid.affine[:3, 1])
    return np.asarray(normal / np.linalg.norm(normal))


# -- the new images ------------------------------------------------------------------------------


def _array(values: Resampled) -> xr.DataArray:
    import dask.array as da
    import xarray as xr

    slices, columns, rows = values.shape[1:]
    chunks = (1, min(slices, max(1, _BLOCK // (columns * rows))), columns, rows)
    data = da.from_array(  # type: ignore[no-untyped-call]
        values, chunks=chunks, asarray=False, meta=np.empty((0,) * 4, values.dtype)
    )
    return xr.DataArray(data, dims=(*_DIMS, "x", "y"))


def _header(series: Series, part: Part, met: Ints) -> tuple[Header, dict[str, Any]]:
    """Return what new images are made from, and the time that their volumes have.

    An image is made from the slices between which it lies; one outside says what they all have in
    common.
    """
    records = []
    for rows in part.rows:
        frames = frame_records(series.database, series._key, part.table, rows)
        known: dict[tuple[int, int], Instance | Common] = {}
        for low, high in met.tolist():
            ends = (low, high) if high > low else (0, len(frames))
            if ends not in known:
                some = frames[slice(*ends)]
                known[ends] = some[0] if len(some) == 1 else Common(some)
            records.append(known[ends])
    header = Header.of_records(records, (len(part.rows), len(met)), _DIMS, {})
    times: dict[str, Any] = {}
    if any(isinstance(record, Common) for record in records):
        for name in _TIMES:
            # The time at which the data began to be acquired (PS3.3 C.7.6.1).
            with suppress(GridError):  # texts that are no times
                key = sort_key(parse_name(name), part.table, part.rows.ravel())
                values = key.values.reshape(part.rows.shape)
                if key.present.all() and values.dtype.kind in "mM" and _of_one_day(part):
                    times[name] = (_DIMS[:1], values.min(axis=1))
    return header, times


def _of_one_day(part: Part) -> bool:
    return len(distinct(part.table, part.rows.ravel(), "AcquisitionDate")) < 2


def _label(new: Series, planned: Sequence[_Plan]) -> None:
    """Give the images the SliceLocation of the target, which may count from anywhere."""
    table = new._own_table
    if all(plan.target.locations is None for plan in planned) or not table.is_classic:
        return
    rows = np.arange(len(table))
    own = np.array(objects_of(table, rows, _LOCATION), np.float64)
    along = []
    for plan in planned:
        volumes, slices = plan.array.shape[:2]
        labels = plan.target.locations
        along.append(np.tile(np.full(slices, np.nan) if labels is None else labels, volumes))
    wanted = np.empty(len(rows))
    wanted[np.argsort(ranks_of(table, rows))] = np.concatenate(along)
    wanted = np.where(np.abs(wanted - own) > _LABELS, wanted, own)
    if bool((wanted != own).any()):
        new.set_values(_LOCATION, wanted.tolist())


def _description(series: Series, target: Any) -> str:
    names = [series.SeriesDescription, getattr(target, "SeriesDescription", None) or target.name]
    source, grid = (
        str(found[0]) if isinstance(found, list) and found and found[0] else str(found or "")
        for found in names
    )
    text = f"{source or 'Series'} on the grid of {grid or 'another series'}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _warn_of_places(
    series: Series, targets: list[TargetGrid], parts: list[Part], is_met: bool
) -> None:
    """Tell that places may not compare, or that nothing of the series lies in the target."""
    own = sorted(
        {uid for part in parts for uid in frames_of_reference(part.table, part.rows.ravel())}
    )
    theirs = sorted({uid for one in targets for uid in one.frame_of_reference})
    if own != theirs or len(own) != 1:
        shown = [", ".join(uids) or "none" for uids in (own, theirs)]
        _warn(
            f"The FrameOfReferenceUID of {series!r} is {shown[0]}, and that of the target "
            f"{shown[1]}. Places of different frames of reference do not compare, unless they are "
            "known to be one (PS3.3 C.7.4.1.1.1). They are taken as they are.",
            MixedGeometry,
        )
    if not is_met:
        _warn(
            f"No voxel of the target lies in {series!r}: all images of the new series are empty.",
            MixedGeometry,
        )


def _warn(text: str, kind: type[DicomWarning]) -> None:
    warnings.warn(text, kind, stacklevel=levels_to_user())
