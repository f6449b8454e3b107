"""Which frames an array was made from: by its coordinates, or what a reduction left of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.errors import GridError, InvalidValue, NotInDatabase, UnknownKeyword
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes import parse_name
from dbdicom_xr.records.database import Database, reopened
from dbdicom_xr.records.sorting import sort_key
from dbdicom_xr.records.tree import Node

__all__ = ["Source", "database_of", "knows_frames", "labelled_frames", "source_of"]

_PIXEL_DIMS: Final = frozenset(("x", "y", "channel"))
_FRAMES: Final = ("SOPInstanceUID", "frame")


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
            "and 'index' are missing. xr.set_options(keep_attrs=True) keeps them through "
            "arithmetic."
        )
    return reopened(str(folder), str(index))


def knows_frames(array: xr.DataArray) -> bool:
    """Return whether an array has the coordinates that name its frames."""
    return all(name in array.coords for name in _FRAMES)


def source_of(array: xr.DataArray) -> Source:
    """Return the frames of an array, found by its coordinates.

    Raises
    ------
    NotInDatabase
        The array does not tell which frames it was made from, or they are not there any more.
    """
    missing = [name for name in _FRAMES if name not in array.coords]
    if missing:
        raise NotInDatabase(
            f"This array has no coordinate {' and no '.join(missing)}, which tells its frames. "
            "A mean, maximum or other reduction removes it, since no single frame is its "
            "source: keep the header that series.array() gave, and select from it."
        )
    uids = array.coords["SOPInstanceUID"]
    numbers = array.coords["frame"].broadcast_like(uids).transpose(*uids.dims)
    database = database_of(array)
    node, table = _series_of_frames(database, uids)
    rows = np.full(uids.size, -1, np.int64)
    for cell, (uid, number) in enumerate(
        zip(uids.to_numpy().ravel(), numbers.to_numpy().ravel(), strict=True)
    ):
        if not isinstance(uid, str) or not uid:  # a gap, also one that reindex or pad made
            continue
        row = table.row_of.get(str(uid))
        if row is None and database._find(str(uid)) is not None:
            raise NotInDatabase(
                "This array holds frames of several series, and has no one header: select those of "
                "one series first, or give the header that fits."
            )
        if row is None or not 1 <= int(number) <= int(table.places["frames"][row]):
            raise NotInDatabase(f"The frame {number} of {uid} is not in {database!r} any more.")
        rows[cell] = table.first_frames[row] + int(number) - 1
    return Source(database, node, table, rows.reshape(uids.shape), tuple(map(str, uids.dims)))


def _series_of_frames(database: Database, uids: xr.DataArray) -> tuple[Node, Table]:
    flat = uids.to_numpy().ravel()
    first = next((uid for uid in flat if isinstance(uid, str) and uid), None)
    if first is None:
        raise NotInDatabase("This array holds no frames, only gaps.")
    found = database._find(first)
    if found is not None:
        return found[0], found[1]
    raise NotInDatabase(f"The instance {first} of this array is not in {database!r} any more.")


def labelled_frames(
    array: xr.DataArray,
) -> tuple[Table, npt.NDArray[np.intp], Mapping[str, npt.NDArray[np.intp]]]:
    """Return all frames that an array without frame coordinates may have been made from.

    A reduction removes the coordinates of the frames. What is left are the series, by the
    attributes of the array, and the labels of the other dimensions: any frame that has these
    labels may have taken part, and no other.

    Returns
    -------
    table : Table
        Of the series.
    rows : ndarray of int, shape (frames,)
        The frames.
    places : dict
        For each dimension that has labels, the index of each frame along it.

    Raises
    ------
    NotInDatabase
        The array does not tell its series, or it is not there any more.
    GridError
        The series has no frames of a label.
    """
    table = _series_of_attributes(array)
    rows = np.flatnonzero(table.places["offset"][table.instance_of] >= 0)
    places: dict[str, npt.NDArray[np.intp]] = {}
    for name, coord in array.coords.items():
        over = tuple(map(str, coord.dims))
        if str(name) in _PIXEL_DIMS or str(name) in _FRAMES or len(over) > 1:
            continue
        if over and over[0] != name:  # a label of a dimension is the coordinate of its own name
            continue
        matched = _matched(str(name), coord.to_numpy().reshape(-1), table, rows)
        if matched is None:
            continue
        absent = np.setdiff1d(np.arange(coord.size), matched)
        if len(absent):
            label = coord.to_numpy().reshape(-1)[absent[0]]
            raise GridError(
                f"The series of this array has no frame of {name} {label}: the labels of the array "
                "are not those that were read. Give the header of the array: "
                "array.dicom.get_affine(header=header)."
            )
        kept = matched >= 0
        rows = rows[kept]
        places = {dim: of[kept] for dim, of in places.items()}
        if over:
            places[str(name)] = matched[kept]
    return table, rows, places


def _matched(
    name: str, labels: npt.NDArray[Any], table: Table, rows: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp] | None:
    """Return which label each frame has, -1 for none; None where the name is no attribute."""
    try:
        key = sort_key(parse_name(name), table, rows)
    except (UnknownKeyword, GridError, InvalidValue):
        return None
    if not bool(key.present.any()) or key.values.ndim > 1:
        return None
    found = np.full(len(rows), -1, np.intp)
    if key.values.dtype.kind in "iuf" and labels.dtype.kind in "iuf":
        slack = key.tolerance + (0.0 if key.decimals is None else 10.0**-key.decimals)
        for number, label in enumerate(labels.tolist()):
            near = np.abs(key.values - label) <= slack + 1e-9 * abs(label)
            found[near & key.present] = number
    else:
        for number, label in enumerate(labels):
            found[(key.values == label) & key.present] = number
    return found


def _series_of_attributes(array: xr.DataArray) -> Table:
    series, study = (array.attrs.get(f"{level}InstanceUID") for level in ("Series", "Study"))
    if not series:
        raise NotInDatabase(
            "This array tells neither its frames nor its series: the coordinate SOPInstanceUID and "
            "the attribute SeriesInstanceUID are missing. Arithmetic between series removes them, "
            "and so does keep_attrs=False. Give the header that fits: "
            "array.dicom.get_affine(header=header)."
        )
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
