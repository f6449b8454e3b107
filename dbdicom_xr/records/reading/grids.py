"""The grids in the patient on which the frames of series, of instances and of arrays lie."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import GridError, InvalidValue, NotInDatabase
from dbdicom_xr.formats.grouping import arrange, split_by
from dbdicom_xr.geometry.planes import Floats, Planes
from dbdicom_xr.geometry.resample import Grid
from dbdicom_xr.geometry.stacks import (
    SAME_PLACE,
    locations_of,
    require_places,
    split_by_orientation,
    stack_affine,
)
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.slices import planes_of
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.instance import Instance
from dbdicom_xr.records.layouts import require_fitting_layout
from dbdicom_xr.records.reading.provenance import series_of_attributes
from dbdicom_xr.records.reading.series_array import frame_ranks, image_rows
from dbdicom_xr.records.reading.sources import sources_of

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.levels import Series

__all__ = [
    "Part",
    "TargetGrid",
    "distinct",
    "frames_of_reference",
    "objects_of",
    "parts_of",
    "ranks_of",
    "target_grids",
]

Ints = npt.NDArray[np.intp]

_LOCATION: Final = "SliceLocation"
# What may tell volumes at one place apart, the most telling first.
_TELLING: Final = (
    "image_type", "echo", "StackID", "TemporalPositionIdentifier", "b_value", "gradient_direction",
    "FlipAngle", "InversionTime", "AcquisitionNumber", "TriggerTime", "CardiacCyclePosition",
    "ASLContext",
)  # fmt: skip
# Of these, what tells kinds of images apart, which need not have the same slices.
_KINDS: Final = ("image_type", "echo", "StackID")
_SAME_SPACING: Final = 4  # decimals of mm
_ROUNDED: Final = 1e-5  # mm, and of direction cosines: what writing them with few digits costs


@dataclass(frozen=True)
class Part:
    """Volumes of a series on one grid.

    Parameters
    ----------
    stack : int
        The number of their orientation.
    grid : Grid
    table : Table
    rows : ndarray of int, shape (volumes, slices)
        Of the table.
    """

    stack: int
    grid: Grid
    table: Table
    rows: Ints


@dataclass(frozen=True)
class TargetGrid:
    """A grid that is mapped to.

    Parameters
    ----------
    grid : Grid
    frame_of_reference : list of str
        FrameOfReferenceUID, all that occur.
    said : dict
        What its images say of their planes beside ImagePositionPatient.
    locations : ndarray of float64 or None
        SliceLocation of each slice; None where it does not tell them apart.
    """

    grid: Grid
    frame_of_reference: list[str]
    said: dict[str, Any]
    locations: Floats | None


# -- the grids that are mapped to ----------------------------------------------------------------


def target_grids(target: Any) -> list[TargetGrid]:
    """Return the grids of a series, an instance or an array."""
    import xarray as xr

    if isinstance(target, xr.DataArray):
        return [_target_of_array(target)]
    level = None if isinstance(target, type) else getattr(target, "level", None)
    if level == "series" or isinstance(target, Instance):
        return _targets_of_record(target)
    raise InvalidValue(
        f"The target is {target!r}; it is a series, an instance or an array that was read from one."
    )


@of_one_state
def _targets_of_record(record: Any) -> list[TargetGrid]:
    try:
        if isinstance(record, Instance):
            table, rows = record._frame_rows()
        else:
            table = record._own_table
            rows = image_rows(record, table)
        planes = planes_of(table, rows)
        require_places(planes)
        groups = _same_planes(table, rows, planes)
        return [_target_of_frames(table, rows[group]) for _, group in groups]
    except GridError as error:
        raise GridError(f"{record!r}: {error}") from error


def _target_of_frames(table: Table, rows: Ints) -> TargetGrid:
    locations = locations_of(planes_of(table, rows))
    ranks = ranks_of(table, rows)
    order = np.lexsort((ranks, np.round(locations / SAME_PLACE)))
    start = np.flatnonzero(np.diff(locations[order], prepend=-np.inf) > SAME_PLACE)
    place = np.cumsum(np.isin(np.arange(len(order)), start)) - 1
    position = planes_of(table, rows[order]).position
    first = order[start]
    off = np.abs(position - position[start][place])
    if float(off.max()) > SAME_PLACE:
        raise GridError(
            "Some frames lie in one plane but not at one place, so that they are on several grids. "
            "Give an array of those of one grid as the target."
        )
    if ranks[first[-1]] < ranks[first[0]]:
        first = first[::-1]  # as they are numbered
    planes = _with_thickness(table, rows[first])
    sizes = [_number(table, rows[first], name) for name in ("Columns", "Rows")]
    grid = Grid(stack_affine(planes), (int(sizes[0] or 0), int(sizes[1] or 0), len(first)))
    return TargetGrid(
        grid,
        frames_of_reference(table, rows),
        _said([(table, rows)], grid),
        _locations(table, rows[first]),
    )


def _target_of_array(array: xr.DataArray) -> TargetGrid:
    place = array.dicom._placed()
    slices = 1 if place.slice_dim is None else array.sizes[place.slice_dim]
    grid = Grid(place.affine, (array.sizes["x"], array.sizes["y"], slices))
    labels = None
    if place.slice_dim == _LOCATION and array.coords[_LOCATION].dims == (_LOCATION,):
        labels = array.coords[_LOCATION].to_numpy().astype(np.float64)
    tables: list[tuple[Table, Ints]] = []
    with suppress(GridError, NotInDatabase):
        tables = [(table, rows) for table, _, rows in sources_of(array).by_table()]
    if not tables:  # between the images of a series
        table = series_of_attributes(array)
        tables = [(table, np.arange(len(table)))]
    if place.slice_dim is None:
        table, rows = tables[0]
        labels = _locations(table, rows[:1])
    uids = {uid for table, rows in tables for uid in frames_of_reference(table, rows)}
    return TargetGrid(grid, sorted(uids), _said(tables, grid), labels)


def frames_of_reference(table: Table, rows: Ints) -> list[str]:
    """Return the FrameOfReferenceUID that occur in frames."""
    return [str(uid) for uid in distinct(table, rows, "FrameOfReferenceUID")]


def _said(tables: list[tuple[Table, Ints]], grid: Grid) -> dict[str, Any]:
    """Return what frames say of their planes, as far as it holds for a grid.

    Spacing and directions are given in the digits of the frames, by which pixels are labelled: the
    affine knows their product.
    """
    result: dict[str, Any] = {"PositionReferenceIndicator": ""}
    steps = grid.affine[:3, :2]
    sizes = np.linalg.norm(steps, axis=0)
    near = {
        "PixelSpacing": sizes[::-1],
        "ImageOrientationPatient": (steps / sizes).T.reshape(6),
    }
    for name in ("PositionReferenceIndicator", "SliceThickness", *near):
        found = [value for table, rows in tables for value in distinct(table, rows, name)]
        if len(found) != 1 or (name in near and np.shape(found[0]) != near[name].shape):
            continue
        if name not in near or bool(np.allclose(found[0], near[name], rtol=0, atol=_ROUNDED)):
            result[name] = found[0]
    return result


def _locations(table: Table, rows: Ints) -> Floats | None:
    """Return SliceLocation as the images have it, None where it does not tell them apart."""
    values = parse_name(_LOCATION).values(table) if table.is_classic else None
    if values is None:
        return None
    found = values.take(rows).as_objects().tolist()
    numbers = [value for value in found if isinstance(value, (int, float))]
    return np.array(numbers, np.float64) if len(set(numbers)) == len(rows) else None


# -- the volumes of a series ---------------------------------------------------------------------


@of_one_state
def parts_of(series: Series) -> list[Part]:
    """Return the volumes of a series, grid by grid.

    Raises
    ------
    GridError
        The frames have no places, are not evenly spaced, or do not make whole volumes.
    """
    table = series._own_table
    require_fitting_layout(series.database._view().composed(table.series.key), table)
    rows = image_rows(series, table)
    try:
        planes = planes_of(table, rows)
        require_places(planes)
        return [
            Part(stack, _grid(table, one[0]), table, one)
            for stack, group in _same_planes(table, rows, planes)
            for one in _arranged(table, rows[group])
        ]
    except GridError as error:
        raise GridError(f"{series!r}: {error}") from error


def _same_planes(table: Table, rows: Ints, planes: Planes) -> list[tuple[int, Ints]]:
    """Return frames of one orientation, size and spacing, with the number of the orientation."""
    stack_of = np.empty(len(rows), np.intp)
    for number, stack in enumerate(split_by_orientation(planes.orientation)):
        stack_of[stack] = number
    spacing = np.round(np.nan_to_num(planes.pixel_spacing), _SAME_SPACING)
    _, spacings = np.unique(spacing, axis=0, return_inverse=True)
    sizes = [_codes(table, rows, name) for name in ("Rows", "Columns")]
    groups = split_by([stack_of, spacings.reshape(-1), *sizes])
    return [(int(stack_of[group[0]]), group) for group in groups]


def _arranged(table: Table, rows: Ints) -> list[Ints]:
    """Return frames of one grid as volumes, each of shape (volumes, slices)."""
    try:
        return [rows[_volumes_of(table, rows)]]
    except GridError:
        kinds = split_by([_codes(table, rows, name) for name in _KINDS])
        if len(kinds) == 1:
            raise
        return [rows[kind][_volumes_of(table, rows[kind])] for kind in kinds]


def _volumes_of(table: Table, rows: Ints) -> Ints:
    planes = planes_of(table, rows)
    codes = [_codes(table, rows, name) for name in _TELLING]
    several = [code for code in codes if len(np.unique(code)) > 1]
    volumes = arrange(locations_of(planes), ranks_of(table, rows), several)
    apart = np.ptp(planes.position[volumes], axis=0).max()
    if float(apart) > SAME_PLACE:
        raise GridError(
            f"Frames at one location along the normal are up to {apart:.4g} mm apart, so that they "
            "are not volumes on one grid. Map those of one grid: series.subseries(...).map_to(...)."
        )
    return volumes


def _grid(table: Table, rows: Ints) -> Grid:
    columns, lines = (_number(table, rows, name) for name in ("Columns", "Rows"))
    affine = stack_affine(_with_thickness(table, rows))
    return Grid(affine, (int(columns or 0), int(lines or 0), len(rows)))


def _with_thickness(table: Table, rows: Ints) -> Planes:
    """Return planes; a single one is as thick as its slice, wherever the next one would be."""
    planes = planes_of(table, rows)
    thickness = _number(table, rows, "SliceThickness") if len(rows) == 1 else None
    return replace(planes, step=np.array([thickness])) if thickness else planes


# -- attributes of frames ------------------------------------------------------------------------


def objects_of(table: Table, rows: Ints, name: str) -> list[Any]:
    """Return an attribute of each frame, None where it has none."""
    values = parse_name(name).values(table)
    return [None] * len(rows) if values is None else values.take(rows).as_objects().tolist()


def distinct(table: Table, rows: Ints, name: str) -> list[Any]:
    """Return the values of an attribute that occur in frames."""
    values = parse_name(name).values(table)
    return [] if values is None else list(values.take(rows).occurring())


def _number(table: Table, rows: Ints, name: str) -> float | None:
    """Return the number that frames agree in."""
    found = distinct(table, rows, name)
    is_one = len(found) == 1 and isinstance(found[0], (int, float))
    return float(found[0]) if is_one else None


def _codes(table: Table, rows: Ints, name: str) -> Ints:
    """Return a number for each value; 0 where there is none."""
    values = parse_name(name).values(table)
    if values is None:
        return np.zeros(len(rows), np.intp)
    found = values.take(rows)
    known: dict[str, int] = {}
    numbers = [known.setdefault(repr(value), len(known) + 1) for value in found.distinct]
    return np.array([*numbers, 0], np.intp)[found.codes]


def ranks_of(table: Table, rows: Ints) -> npt.NDArray[np.int64]:
    """Return the rank of each frame by InstanceNumber and number in its file."""
    numbers = parse_name("InstanceNumber").values(table)
    found = None if numbers is None else numbers.take(rows).as_objects()
    return frame_ranks(found, table, rows)
