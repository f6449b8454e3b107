"""Which frames an array was made from: by its coordinates, or what a reduction left of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.align import SortKey
from dbdicom_xr.arrays.coordinates import is_length
from dbdicom_xr.errors import GridError, InvalidValue, NotInDatabase, UnknownKeyword
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.slices import slice_locations
from dbdicom_xr.records.database import Database, reopened
from dbdicom_xr.records.reading.sorting import sort_key
from dbdicom_xr.records.tree import Node

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "FRAME_COORDS",
    "INTERPOLATED",
    "PIXEL_DIMS",
    "SEPARATOR",
    "TOGETHER",
    "Between",
    "Candidates",
    "Source",
    "database_of",
    "filled_frames",
    "keys_of",
    "knows_frames",
    "labelled_frames",
    "labels_of",
    "matched",
    "same_value",
    "series_of_attributes",
    "source_of",
    "sources_by_series",
]

PIXEL_DIMS: Final = frozenset(("x", "y", "channel"))
FRAME_COORDS: Final = ("SOPInstanceUID", "frame")
# Between the frames of one cell, where several became one that is still known by them.
SEPARATOR: Final = "\\"
_MEMBER: Final = "frames of a cell"
INTERPOLATED: Final = (
    "This array lies between the frames that it was made from, as after an interpolation, so that "
    "it has no header of its own. To write it, say which frames it is like, header=..., or "
    'header="template" for images that are made from nothing.'
)

TOGETHER: Final = (
    "This array was put together from several series, or by a step that drops its coordinate "
    "SeriesInstanceUID (quantile, stack...), so that nothing tells what it was made from. Give the "
    "header of one of the arrays it was made from: header=array.dicom.header."
)


@dataclass(frozen=True)
class Source:
    """The frames of an array.

    Parameters
    ----------
    database : Database
    node : Node
        Of their series.
    table : Table
        Of their series.
    rows : ndarray of int
        The frame in each cell, -1 in gaps.
    dims : tuple of str
        Of ``rows``.
    """

    database: Database
    node: Node
    table: Table
    rows: npt.NDArray[np.int64]
    dims: tuple[str, ...]


def database_of(array: xr.DataArray) -> Database:
    """Return the database that an array was read from.

    Raises
    ------
    NotInDatabase
        The array does not tell.
    """
    folder, index = (array.attrs.get(name) for name in ("database", "index"))
    if not folder or not index:
        raise NotInDatabase(
            "This array does not tell the folder it was read from: its attributes 'database' "
            "and 'index' are missing. Arithmetic between arrays of several databases removes them, "
            "and so does keep_attrs=False. Give the header of one of the arrays it was made from: "
            "header=array.dicom.header."
        )
    return reopened(str(folder), str(index))


def knows_frames(array: xr.DataArray) -> bool:
    """Return whether an array has the coordinates that name its frames, and not those between."""
    if any(name not in array.coords for name in FRAME_COORDS):
        return False
    if array.coords["frame"].dtype.kind not in "iuf":
        return False  # several in a cell
    numbers = array.coords["frame"].to_numpy().astype(np.float64)
    known = array.coords["SOPInstanceUID"].notnull() & (array.coords["SOPInstanceUID"] != "")
    if known.dims != array.coords["frame"].dims:
        return True
    return bool((numbers[known.to_numpy()] % 1 == 0).all())


def source_of(array: xr.DataArray) -> Source:
    """Return the frames of an array, found by its coordinates.

    Raises
    ------
    NotInDatabase
        The array does not tell which frames it was made from, or they are not there any more.
    """
    missing = [name for name in FRAME_COORDS if name not in array.coords]
    if missing:
        raise NotInDatabase(
            f"This array has no coordinate {' and no '.join(missing)}, which tells its frames. "
            "A mean, maximum or other reduction removes it, since no single frame is its "
            "source: keep the header that series.array() gave, and select from it."
        )
    found = sources_by_series(array)
    if len(found) > 1:
        raise NotInDatabase(
            "This array holds frames of several series, and has no one header: select those of "
            "one series first, or give the header that fits."
        )
    return found[0]


def sources_by_series(array: xr.DataArray) -> list[Source]:
    """Return the frames of an array, found by its coordinates, one ``Source`` per series.

    Raises
    ------
    NotInDatabase
        As :func:`source_of`; also where all is gaps.
    """
    import xarray as xr

    database = database_of(array)
    # Of two frames of one object side by side only the number of the frame goes along that axis.
    uids, numbers = xr.broadcast(array.coords["SOPInstanceUID"], array.coords["frame"])
    dims = [dim for dim in array.dims if dim in uids.dims]
    if numbers.dtype.kind not in "iuf":
        uids, numbers = _members_of_cells(uids), _members_of_cells(numbers)
        dims.append(_MEMBER)
    flat = uids.transpose(*dims).to_numpy().ravel().tolist()
    numbers = numbers.transpose(*dims).to_numpy().ravel()
    parts: dict[int, tuple[Node, Table, npt.NDArray[np.int64]]] = {}
    current: tuple[Table, dict[str, int], npt.NDArray[np.int64]] | None = None
    for cell, (uid, number) in enumerate(zip(flat, numbers.tolist(), strict=True)):
        if not isinstance(uid, str) or not uid:  # a gap, also one that reindex or pad made
            continue
        if not float(number).is_integer():  # text, where a cell has several
            raise NotInDatabase(INTERPOLATED)
        if current is None or uid not in current[1]:
            current = _series_of_frame(database, uid, len(flat), parts)
        table, row_of, rows = current
        row = row_of[uid]
        if not 1 <= int(number) <= int(table.places["frames"][row]):
            raise NotInDatabase(f"The frame {number} of {uid} is not in {database!r} any more.")
        rows[cell] = table.first_frames[row] + int(number) - 1
    if not parts:
        raise NotInDatabase("This array holds no frames, only gaps.")
    named, shape = tuple(map(str, dims)), tuple(uids.sizes[dim] for dim in dims)
    return [
        Source(database, node, table, rows.reshape(shape), named)
        for node, table, rows in parts.values()
    ]


def _members_of_cells(coord: xr.DataArray) -> xr.DataArray:
    """Return the frames of cells that have several along a dimension of their own."""
    import xarray as xr

    cells = [str(cell).split(SEPARATOR) if cell == cell else [] for cell in coord.values.flat]
    depth = max(map(len, cells), default=1)
    pool = np.full((len(cells), max(depth, 1)), "", object)
    for row, members in zip(pool, cells, strict=True):
        row[: len(members)] = members
    return xr.DataArray(pool.reshape(*coord.shape, -1), dims=(*coord.dims, _MEMBER))


def _series_of_frame(
    database: Database,
    uid: str,
    cells: int,
    parts: dict[int, tuple[Node, Table, npt.NDArray[np.int64]]],
) -> tuple[Table, dict[str, int], npt.NDArray[np.int64]]:
    """Return the series of an instance, and where to note its frames, the same for each."""
    found = database._find(uid)
    if found is None:
        raise NotInDatabase(f"The instance {uid} of this array is not in {database!r} any more.")
    node, table, _ = found
    rows = parts.setdefault(table.series.id, (node, table, np.full(cells, -1, np.int64)))[2]
    return table, table.row_of, rows


@dataclass(frozen=True)
class Between:
    """Labels in mm that no frame has: those of slices that were interpolated or averaged.

    Parameters
    ----------
    name : str
        Of the attribute.
    dim : str or None
        The dimension; None for a single label.
    labels : ndarray of float64
    values : ndarray of float64, shape (frames,)
        Of the attribute in the frames.
    """

    name: str
    dim: str | None
    labels: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Candidates:
    """All frames that an array may have been made from.

    Parameters
    ----------
    table : Table
        Of their series.
    rows : ndarray of int, shape (frames,)
        The frames.
    places : dict
        For each dimension that has labels, the index of each frame along it.
    between : list of Between
        Labels that lie between those of frames.
    """

    table: Table
    rows: npt.NDArray[np.intp]
    places: Mapping[str, npt.NDArray[np.intp]]
    between: list[Between]


def filled_frames(source: Source) -> tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[np.intp]]]:
    """Return the frames of an array without its gaps, and their index along each dimension."""
    flat = source.rows.ravel()
    cells = np.flatnonzero(flat >= 0)
    along = np.unravel_index(cells, source.rows.shape) if source.dims else ()
    return flat[cells], dict(zip(source.dims, along, strict=True))


def labelled_frames(array: xr.DataArray) -> Candidates:
    """Return all frames that an array without frame coordinates may have been made from.

    A reduction removes the coordinates of the frames. What is left are the series, by the
    attributes of the array, and the labels of the other dimensions: any frame that has these
    labels may have taken part, and no other.

    Raises
    ------
    NotInDatabase
        The array does not tell its series, or it is not there any more.
    GridError
        The series has no frames of a label.
    """
    table = series_of_attributes(array)
    rows = np.flatnonzero(table.places["offset"][table.instance_of] >= 0)
    places: dict[str, npt.NDArray[np.intp]] = {}
    open_labels = []
    for name, coord in labels_of(array):
        labels = coord.to_numpy().reshape(-1)
        every = np.arange(labels.size)
        found = [matched(key, labels) for key in keys_of(name, table, rows)]
        if not found:
            continue
        number = min(found, key=lambda of: len(np.setdiff1d(every, of)))
        absent = np.setdiff1d(every, number)
        if len(absent):
            # Any frame may have been meant then: if that leaves its place open, it raises later.
            if not is_length(name):
                continue
            if coord.attrs.get("units") != "mm" or labels.dtype.kind not in "iuf":
                raise GridError(
                    f"The series of this array has no frame of {name} {labels[absent[0]]}: the "
                    "labels of the array are not those that were read. Give the header of the "
                    "array: array.dicom.get_affine(header=header)."
                )
            open_labels.append((name, coord))
            continue
        kept = number >= 0
        rows = rows[kept]
        places = {dim: of[kept] for dim, of in places.items()}
        if coord.dims:
            places[name] = number[kept]
    between = []
    for name, coord in open_labels:
        labels = coord.to_numpy().reshape(-1).astype(np.float64)
        for key in keys_of(name, table, rows)[:1]:
            if bool(key.present.all()):
                dim = name if coord.dims else None
                between.append(Between(name, dim, labels, key.values.astype(np.float64)))
    return Candidates(table, rows, places, between)


def labels_of(array: xr.DataArray) -> list[tuple[str, xr.DataArray]]:
    """Return the coordinates that label a dimension, or all of the array."""
    return [
        (str(name), coord)
        for name, coord in array.coords.items()
        if coord.dims in ((), (name,)) and str(name) not in PIXEL_DIMS and name not in FRAME_COORDS
    ]


def keys_of(name: str, table: Table, rows: npt.NDArray[Any]) -> list[SortKey]:
    """Return the values in frames that a label may stand for; none where it is no attribute."""
    keys = []
    try:
        key = sort_key(parse_name(name), table, rows)
    except (UnknownKeyword, GridError, InvalidValue):
        return []
    if bool(key.present.any()) and key.values.ndim == 1:
        keys.append(key)
    if name == "SliceLocation":
        # A volume has those where the header says one number for several slices.
        worked_out = slice_locations(table, rows)
        if worked_out is not None:
            keys.append(SortKey(name, worked_out, np.ones(len(rows), np.bool_), 1e-3, 4))
    return keys


def same_value(key: SortKey, labels: Any) -> npt.NDArray[np.bool_]:
    """Return whether values are those of labels, within what is one value in an array."""
    if key.values.dtype.kind in "iuf" and labels.dtype.kind in "iuf":
        rounding = 0.0 if key.decimals is None else 10.0**-key.decimals
        # Labels of twin series are taken for one; whole numbers are counted.
        relative = 1e-6 if key.values.dtype.kind == labels.dtype.kind == "f" else 1e-9
        slack = key.tolerance + rounding + relative * np.abs(labels)
        return np.asarray(np.abs(key.values - labels) <= slack)
    return np.asarray(key.values == labels)


def matched(key: SortKey, labels: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return which label each frame has, -1 for none."""
    if key.values.dtype.kind not in "iuf" or labels.dtype.kind not in "iuf":
        number_of = {label: number for number, label in enumerate(labels.tolist())}
        same = key.values.dtype.kind in "mM" and labels.dtype.kind == key.values.dtype.kind
        values = key.values.astype(labels.dtype) if same else key.values  # days, or nanoseconds
        places = np.array([number_of.get(value, -1) for value in values.tolist()], np.intp)
        return np.where(key.present, places, -1)
    order = np.argsort(labels)
    if not labels.size:
        return np.full(len(key.values), -1, np.intp)
    after = np.searchsorted(labels[order], key.values)
    below = order[np.clip(after - 1, 0, len(labels) - 1)]
    above = order[np.clip(after, 0, len(labels) - 1)]
    is_below = np.abs(key.values - labels[below]) < np.abs(key.values - labels[above])
    nearest = np.where(is_below, below, above)
    return np.where(same_value(key, labels[nearest]) & key.present, nearest, -1)


def series_of_attributes(array: xr.DataArray) -> Table:
    """Return the series that an array was read from, as its attributes name it.

    Its coordinate must say the same: where arrays are put together, xarray keeps the attributes
    of the first one, but not a coordinate that differs.

    Raises
    ------
    NotInDatabase
        They do not, or it is not there any more.
    """
    series, study = (array.attrs.get(f"{level}InstanceUID") for level in ("Series", "Study"))
    if not series:
        raise NotInDatabase(
            "This array tells neither its frames nor its series: the coordinate SOPInstanceUID and "
            "the attribute SeriesInstanceUID are missing. Arithmetic between series removes them, "
            "and so does keep_attrs=False. Give the header of one of the arrays it was made from: "
            "header=array.dicom.header."
        )
    said = array.coords.get("SeriesInstanceUID")
    if said is None or bool((said != series).any()):
        raise NotInDatabase(TOGETHER)
    database = database_of(array)
    tree = database._tree()
    found = [
        node
        for (level, _), node in tree.nodes.items()
        if level == "series"
        and node.uid == series
        and (not study or (node.parent is not None and node.parent.uid == study))
    ]
    if len(found) != 1 or found[0].row is None:
        raise NotInDatabase(
            f"The series {series} of this array is {'not' if not found else 'more than once'} in "
            f"{database!r}."
        )
    return database._table(found[0].row)
