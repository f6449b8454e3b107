"""``series.volume`` and ``series.stacks``: the frames of a series as volumes in the patient."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.coordinates import attrs, round_lengths
from dbdicom_xr.errors import GridError, InvalidValue, MixedGeometry
from dbdicom_xr.geometry.affine import in_space, tilt_warning
from dbdicom_xr.geometry.planes import Floats, Planes
from dbdicom_xr.geometry.stacks import (
    SAME_PLACE,
    describe_stacks,
    locations_of,
    require_places,
    split_by_orientation,
    stack_affine,
)
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.filters import Filter
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.pixel_header import pixel_header
from dbdicom_xr.records.attributes.slices import planes_of
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.instance import Instance, frame_records
from dbdicom_xr.records.reading.header import provenance
from dbdicom_xr.records.reading.series_array import (
    Coords,
    array_name,
    data_array,
    describer,
    frame_ranks,
    frame_reader,
    hold,
    image_rows,
    warn_of_units,
)
from dbdicom_xr.records.reading.sorting import best_grids, sort_key

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.levels import Series

__all__ = ["series_stacks", "series_volume"]

_LOCATION: Final = "SliceLocation"


@of_one_state
def series_volume(
    series: Series,
    wanted: Filter,
    *,
    stack: int | None,
    space: str,
    rescale: bool | str,
    chunks: Any,
) -> tuple[xr.DataArray, Floats]:
    """Return one volume and its affine. See :meth:`Series.volume`."""
    table = series._own_table
    rows = _wanted_rows(series, table, wanted)
    try:
        if stack is not None:  # counted in the whole series, whatever is chosen of it
            every = image_rows(series, table)
            all_planes = planes_of(table, every)
            require_places(all_planes)
            rows = np.intersect1d(rows, every[_stack(all_planes, stack)])
            if not len(rows):
                raise GridError(f"No frame of stack {stack} is among those that were asked for.")
        planes = planes_of(table, rows)
        require_places(planes)
        chosen = _stack(planes, None)
        rows, planes = rows[chosen], planes.take(chosen)
        order = np.argsort(locations_of(planes), kind="stable")
        rows, planes = rows[order], planes.take(order)
        _refuse_several(table, rows, locations_of(planes))
        affine = stack_affine(planes)
    except GridError as error:
        raise GridError(f"{series!r}: {error}") from error
    result = in_space(affine, space)
    if (notice := tilt_warning(affine)) is not None:
        # Of the line of the user: above this are its repetition and Series.volume.
        warnings.warn(f"{series!r}: {notice}", MixedGeometry, stacklevel=4)
    return _array(series, table, rows, planes, rescale, chunks), result


@of_one_state
def series_stacks(series: Series, wanted: Filter) -> list[list[Instance]]:
    """Return the frames of each orientation. See :meth:`Series.stacks`."""
    table = series._own_table
    rows = _wanted_rows(series, table, wanted)
    planes = planes_of(table, rows)
    try:
        require_places(planes)
    except GridError as error:
        raise GridError(f"{series!r}: {error}") from error
    numbers = parse_name("InstanceNumber").values(table)
    ranks = frame_ranks(
        numbers.take(rows).as_objects() if numbers is not None else None, table, rows
    )
    stacks = []
    for chosen in split_by_orientation(planes.orientation):
        locations = locations_of(planes.take(chosen))
        # Positions within the tolerance are one, so that rounding does not part what belongs.
        order = np.lexsort((ranks[chosen], np.round(locations / SAME_PLACE)))
        stacks.append(frame_records(series.database, series._key, table, rows[chosen][order]))
    return stacks


def _wanted_rows(series: Series, table: Table, wanted: Filter) -> npt.NDArray[np.intp]:
    rows = image_rows(series, table)
    if wanted:
        rows = rows[wanted.rows(table)[rows]]
        if not len(rows):
            raise GridError(f"No image of {series!r} meets the filters.")
    return rows


def _stack(planes: Planes, stack: int | None) -> npt.NDArray[np.intp]:
    """Return the planes of the stack that is asked for, or of the only one."""
    stacks = split_by_orientation(planes.orientation)
    if stack is None:
        if len(stacks) > 1:
            raise GridError(
                f"The frames are of {describe_stacks(planes)}. A volume has one: choose with "
                "series.volume(stack=0), or another number."
            )
        return stacks[0]
    if isinstance(stack, bool) or not isinstance(stack, (int, np.integer)):
        raise InvalidValue(f"stack is {stack!r}; it is a number, counted from 0.")
    if not 0 <= stack < len(stacks):
        raise GridError(f"There is no stack {stack}: the frames are of {describe_stacks(planes)}.")
    return stacks[stack]


def _refuse_several(table: Table, rows: npt.NDArray[np.intp], locations: Floats) -> None:
    """Raise where several frames are at one place, naming what tells them apart."""
    places = np.concatenate([[0], np.cumsum(np.diff(locations) > SAME_PLACE)])
    counts = np.bincount(places)
    if int(counts.max()) == 1:
        return
    least, most = int(counts.min()), int(counts.max())
    each = f"{most}" if least == most else f"{least} to {most}"
    text = f"There are {each} frames at each of {len(counts)} places, and a volume has one. "
    grids = [grid for grid in best_grids(table, rows) if _LOCATION in grid or len(counts) == 1]
    for grid in grids:
        telling = [(name, _values(table, rows, places, name)) for name in grid if name != _LOCATION]
        if telling and all(values for _, values in telling):
            raise GridError(text + _how_to_choose(telling))
    if grids:
        raise GridError(
            f"{text}No value of {' or '.join(name for name in grids[0] if name != _LOCATION)} is "
            f"met at every place, so that none chooses a volume. Read all of them, select by "
            f"position, and ask the array: series.array({list(grids[0])}, align='order') and "
            "array.dicom.affine."
        )
    raise GridError(
        f"{text}No attributes arrange them in a full grid; series.varying() shows what varies, and "
        "filters choose: series.volume(EchoTime=...)."
    )


def _how_to_choose(telling: list[tuple[str, list[Any]]]) -> str:
    parts = [
        f"{name} ({', '.join(map(repr, values[:6]))}{', ...' * (len(values) > 6)})"
        for name, values in telling
    ]
    how = ", ".join(f"{name}={values[0]!r}" for name, values in telling)
    return f"They differ in {' and '.join(parts)}: choose with series.volume({how})."


def _values(
    table: Table, rows: npt.NDArray[np.intp], places: npt.NDArray[np.intp], name: str
) -> list[Any]:
    """Return the values of an attribute if a filter on each gives a frame at every place."""
    values = parse_name(name).values(table)
    if values is None or not name.isidentifier():
        return []
    at: dict[Any, set[int]] = {}
    for value, place in zip(values.take(rows).as_objects(), places.tolist(), strict=True):
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = "\\".join(value)  # as filters take texts of several values
        if not isinstance(value, (int, float, str)):
            return []
        at.setdefault(value, set()).add(place)
    everywhere = int(places[-1]) + 1
    return sorted(at) if all(len(met) == everywhere for met in at.values()) else []


def _array(
    series: Series,
    table: Table,
    rows: npt.NDArray[np.intp],
    planes: Planes,
    rescale: bool | str,
    chunks: Any,
) -> xr.DataArray:
    pixels = pixel_header(table, rows, rescale, None, describe=describer(table))
    dims = (_LOCATION,)
    coords: Coords = {
        _LOCATION: (dims, _labels(table, rows, planes)),
        **provenance(table, rows, dims),
    }
    reader = frame_reader(table, pixels, np.arange(len(rows)), rows, np.nan, True)
    hold(reader, series.database)
    array = data_array(reader, dims, coords, pixels, chunks, True, series, table)
    array[_LOCATION].attrs.update(attrs(_LOCATION))
    array.name = array_name(series)
    warn_of_units(series, pixels)
    return array


def _labels(table: Table, rows: npt.NDArray[np.intp], planes: Planes) -> Floats:
    """Return the SliceLocation of slices: that of the header, as in ``series.array``."""
    key = sort_key(parse_name(_LOCATION), table, rows)
    if key.present.all() and key.values.dtype.kind in "if":
        labels = round_lengths(key.values)
        if len(np.unique(labels)) == len(labels):
            return labels
    # Some write 0 in every image, or the same number in neighbours.
    return round_lengths(locations_of(planes))
