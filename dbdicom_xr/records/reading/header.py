"""The header of an array: its frames, as an array of records aligned with it.

An ``ndarray`` of objects and not a ``DataArray``, whose elements would be 0-d arrays, so that
``[h.FlipAngle for h in header[0, :, 0]]`` would look for a coordinate of that name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.reader import squeeze, unsqueeze
from dbdicom_xr.errors import DbdicomError, NotInDatabase
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import Attribute, Name, parse_name
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.instance import Instance, frame_records
from dbdicom_xr.records.reading.common import Common
from dbdicom_xr.records.reading.header_values import values_of_frames

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.reading.gathered import Sources

__all__ = ["Header"]


class Header(np.ndarray[Any, np.dtype[np.object_]]):
    """The frames of an array, one record per grid point; None in gaps.

    Made by :meth:`Series.array`. An attribute of the header is the whole column:
    ``header.FlipAngle`` is an array of the same shape.

    Attributes
    ----------
    dims : tuple of str
        The names of the dimensions.
    coords : dict
        ``{name: (dims, values)}``, as in the array.
    """

    dims: tuple[str, ...] | None
    coords: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]

    @classmethod
    def of_frames(
        cls,
        database: Database,
        series_key: str,
        table: Table,
        rows: npt.NDArray[Any],
        dims: tuple[str, ...],
        coords: Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]],
    ) -> Header:
        """Make the header of frames of a series.

        Parameters
        ----------
        database, series_key, table
            The series.
        rows : ndarray of int
            Row of the frame in each cell, -1 in gaps.
        dims, coords
            Of the array, without those of the pixels.
        """
        flat = rows.ravel()
        filled = np.flatnonzero(flat >= 0)
        records = frame_records(database, series_key, table, flat[filled])
        pool = np.full(rows.size, None, object)
        # Not pool[filled] = records: numpy would look into each record for a sequence.
        pool[filled] = np.fromiter(records, object, len(records))
        header = pool.reshape(rows.shape).view(cls)
        header.dims = dims
        header.coords = dict(coords)
        return header

    @classmethod
    def of_records(
        cls,
        records: Sequence[Instance | Common | None],
        shape: tuple[int, ...],
        dims: tuple[str, ...] | None,
        coords: Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]],
    ) -> Header:
        """Make a header of records, one per cell in C order."""
        pool = np.empty(len(records), object)
        pool[:] = np.fromiter(records, object, len(records))
        header = pool.reshape(shape).view(cls)
        header.dims, header.coords = dims, dict(coords)
        return header

    def __array_finalize__(self, other: Any) -> None:
        # numpy calls this for every array that it makes from a header, also where it moved the
        # frames (take, roll, sort): labels that were kept would stand beside the wrong frames.
        self.dims = None
        self.coords = {}

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        # The result of a ufunc, such as ``header == None``, is no header.
        if context is not None or array.dtype != object:
            return array[()] if return_scalar else np.asarray(array)
        return array.view(Header)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name in ("dims", "coords") or hasattr(np.ndarray, name):
            super().__setattr__(name, value)
        else:
            self._set(parse_name(name, self._has), value)

    def _set(self, attribute: Attribute, value: Any) -> None:
        """Set an attribute of all frames: to one value, or to an array of the same shape."""
        from dbdicom_xr.records.attributes.modules import IDENTITY
        from dbdicom_xr.records.editing.edits import set_frames

        filled = [record for record in self.view(np.ndarray).ravel().tolist() if record is not None]
        if not filled:
            return
        for record in filled:
            if isinstance(record, Common):
                record._refuse(attribute)
        each = values_of_frames(value, attribute, self.shape, self.dims)
        database = filled[0].database
        with database.batch():
            if attribute.name in IDENTITY:
                for record, one in zip(self.view(np.ndarray).ravel(), each, strict=True):
                    if record is not None:
                        record._set(attribute, one)
                return
            for table, cells, rows in self._where():
                unique, first = np.unique(rows, return_index=True)
                set_frames(database, [(table, unique)], attribute, list(each[cells[first]]))

    def copy(self, order: Any = "C") -> Header:
        """Return a header of the same frames, with its dimensions and coordinates."""
        result = super().copy(order)
        result.dims, result.coords = self.dims, dict(self.coords)
        return result

    def __copy__(self) -> Header:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Header:
        return self.copy()  # records name frames: there is nothing below them to copy

    def transpose(self, *axes: Any) -> Header:
        """Return the header with its dimensions in another order, as numpy does."""
        result = super().transpose(*axes)
        if self.dims is None:
            return result
        order = list(axes[0] if len(axes) == 1 and np.iterable(axes[0]) else axes)
        if not order or order == [None]:
            order = list(reversed(range(self.ndim)))
        dims = tuple(self.dims[axis] for axis in order)
        result.dims = dims
        for name, (over, values) in self.coords.items():
            turned = tuple(dim for dim in dims if dim in over)
            result.coords[name] = (turned, values.transpose([over.index(dim) for dim in turned]))
        return result

    def squeeze(self, axis: Any = None) -> Any:
        """Return the header without its dimensions of size 1, as numpy does."""
        if axis is None:
            dropped = {i for i, size in enumerate(self.shape) if size == 1}
        else:
            axes = axis if isinstance(axis, tuple) else (axis,)
            dropped = {int(i) % self.ndim for i in axes}
            if any(self.shape[i] != 1 for i in dropped):
                raise ValueError(f"Dimension {axis} of {self!r} has several frames.")
        key = tuple(0 if i in dropped else slice(None) for i in range(self.ndim))
        return self[key]

    @property
    def T(self) -> Header:
        """The header with its dimensions reversed."""
        return self.transpose()

    def __getitem__(self, key: Any) -> Any:
        result = super().__getitem__(key)
        if not isinstance(result, Header):
            return result
        kept = self._basic(key)
        if kept is None or self.dims is None:
            result.dims, result.coords = None, {}
            return result
        indexers, dims = kept
        result.dims = dims
        result.coords = {
            name: (
                tuple(dim for dim in over if dim in dims),
                values[tuple(indexers[dim] for dim in over)],
            )
            for name, (over, values) in self.coords.items()
        }
        return result

    def _basic(self, key: Any) -> tuple[dict[str, Any], tuple[str, ...]] | None:
        """Return the index along each dimension, and the dimensions that stay; None if unclear."""
        if self.dims is None:
            return None
        parts = key if isinstance(key, tuple) else (key,)
        if any(part is Ellipsis for part in parts):
            at = next(i for i, part in enumerate(parts) if part is Ellipsis)
            parts = (*parts[:at], *(slice(None),) * (self.ndim - len(parts) + 1), *parts[at + 1 :])
        if not all(isinstance(part, (int, np.integer, slice)) for part in parts):
            return None
        parts = (*parts, *(slice(None),) * (self.ndim - len(parts)))
        dims = tuple(
            dim for dim, part in zip(self.dims, parts, strict=True) if isinstance(part, slice)
        )
        return dict(zip(self.dims, parts, strict=True)), dims

    # -- columns -----------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.column(name)

    @property
    def database(self) -> Database | None:
        """The database of the frames; None where there are only gaps."""
        first = next((record for record in self.view(np.ndarray).flat if record is not None), None)
        return None if first is None else first.database

    @of_one_state
    def column(self, name: Name) -> npt.NDArray[Any]:
        """Return one attribute of all frames.

        Parameters
        ----------
        name : name
            A keyword, ``(group, element)``...

        Returns
        -------
        numpy.ndarray
            Of the shape of the header. Numbers as numbers, with NaN where a frame lacks the
            attribute and in gaps; all else as objects, with None there.
        """
        found = self._sources()
        if found is None:
            return np.full(self.shape, None, object)
        return _as_numbers(found.common_values(parse_name(name, self._has))).reshape(self.shape)

    def _sources(self) -> Sources | None:
        """Return the frames that each element stands for; None where there are only gaps."""
        from dbdicom_xr.records.reading.gathered import Sources

        records = self.view(np.ndarray).ravel().tolist()
        return Sources.of_records(records, self.dims or (), self.shape)

    def _has(self, attribute: Attribute) -> bool:
        return any(attribute.keys(table) for table, _, _ in self._where())

    def _where(self) -> list[tuple[Table, npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Return for each series in the header which cells it fills, and with which frames."""
        found = self._sources()
        return [] if found is None else found.by_table()

    def to_xarray(self, *keywords: Name) -> xr.Dataset:
        """Return columns of the header as variables, with the coordinates of the array.

        Parameters
        ----------
        *keywords : name
            The attributes; none: the records themselves, as the variable ``header``.
        """
        import xarray as xr

        from dbdicom_xr.arrays.coordinates import attrs

        dims = self._named_dims()
        variables: dict[str, Any] = {}
        if not keywords:
            variables["header"] = (dims, np.asarray(self))
        for keyword in keywords:
            attribute = parse_name(keyword, self._has)
            name = attribute.name
            while name in self.coords or name in dims:
                name += "_"
            about = attrs(attribute.tag) if attribute.tag else {}
            variables[name] = (dims, self.column(keyword), about)
        return xr.Dataset(variables, coords=dict(self.coords))

    # -- labels ------------------------------------------------------------------------------

    def _named_dims(self) -> tuple[str, ...]:
        if self.dims is None:
            raise ValueError(
                "The dimensions of this header are not known: it was reordered by numpy. Use isel "
                "or sel on the header of the array instead."
            )
        return self.dims

    def isel(self, indexers: Mapping[Any, Any] | None = None, **named: Any) -> Any:
        """Return the header at positions, by name of the dimension.

        Parameters
        ----------
        indexers : dict, optional
            ``{dimension: int, slice or array}``, as in ``DataArray.isel``.
        **named : int, slice or array
            The same, for dimensions whose name is an identifier.

        Returns
        -------
        Header or record
            One record where every dimension is indexed by a number.
        """
        return self._chosen(self._positions().isel({**(indexers or {}), **named}))

    def sel(
        self,
        indexers: Mapping[Any, Any] | None = None,
        method: str | None = None,
        tolerance: float | None = None,
        **named: Any,
    ) -> Any:
        """Return the header at values of the coordinates, as ``DataArray.sel`` does.

        Parameters
        ----------
        indexers : dict, optional
            ``{dimension: value, slice or array}``.
        method : {None, "nearest", "pad", "backfill"}
            How to match values that are not there.
        tolerance : float, optional
            How far such a match may be.
        **named : value, slice or array
            More of ``indexers``.
        """
        labels = {**(indexers or {}), **named}
        return self._chosen(self._positions().sel(labels, method=method, tolerance=tolerance))

    def _positions(self) -> xr.DataArray:
        import xarray as xr

        numbers = np.arange(self.size).reshape(self.shape)
        return xr.DataArray(numbers, dims=self._named_dims(), coords=self.coords)

    def _chosen(self, positions: xr.DataArray) -> Any:
        result = self.view(np.ndarray).ravel()[positions.to_numpy()]
        if positions.ndim == 0:
            return result
        header = result.view(Header)
        header.dims = tuple(map(str, positions.dims))
        header.coords = {
            str(name): (tuple(map(str, coord.dims)), coord.to_numpy())
            for name, coord in positions.coords.items()
        }
        return header

    # -- pickling, and what a person sees ----------------------------------------------------

    @of_one_state
    def __reduce__(self) -> Any:
        found = self._sources()
        # Of what is staged several instances may have one file, or none.
        if (
            found is None
            or len(found.tables) != 1
            or not found.database._view().is_plain(found.tables[0].series.id)
        ):
            return _from_objects, (np.asarray(self), self.dims, self.coords)
        (table,) = found.tables
        files = table.places["file"][table.instance_of[found.rows]].astype(np.int64)
        frames = table.frame_numbers[found.rows].astype(np.int64)
        coords = {k: v for k, v in self.coords.items() if k not in ("SOPInstanceUID", "frame")}
        key = found.database._tree().series_node[table.series.id].key
        return _from_reference, (
            found.database, table.store.identity, key, squeeze(files), squeeze(frames),
            squeeze(found.counts.astype(np.int64)), self.shape, self.dims, coords,
        )  # fmt: skip

    def __repr__(self) -> str:
        filled = sum(record is not None for record in self.view(np.ndarray).ravel())
        dims = self.dims or tuple(f"dim_{i}" for i in range(self.ndim))
        sizes = ", ".join(f"{dim}: {size}" for dim, size in zip(dims, self.shape, strict=True))
        gaps = f", {self.size - filled} gaps" if filled < self.size else ""
        return f"<Header ({sizes}) of {filled} frames{gaps}>"

    __str__ = __repr__


def _as_numbers(objects: npt.NDArray[np.object_]) -> npt.NDArray[Any]:
    """Return numbers as numbers, and all else as it is."""
    kinds = set(map(type, objects.tolist()))
    if kinds and kinds <= {int, float, type(None)} and kinds != {type(None)}:
        if kinds == {int} and all(-(2**63) <= v < 2**63 for v in (min(objects), max(objects))):
            return objects.astype(np.int64)
        return np.array([np.nan if v is None else v for v in objects.tolist()], np.float64)
    return objects


def _from_objects(objects: npt.NDArray[Any], dims: Any, coords: Any) -> Header:
    header = objects.view(Header)
    header.dims, header.coords = dims, coords
    return header


def _from_reference(
    database: Database,
    identity: str,
    series_key: str,
    files: Any,
    frames: Any,
    counts: Any,
    shape: Any,
    dims: Any,
    coords: Any,
) -> Header:
    """Return the header that was pickled; where its frames are not found, each use says so."""
    try:
        return _found(database, identity, series_key, files, frames, counts, shape, dims, coords)
    except DbdicomError as error:
        from dbdicom_xr.records.unseen import UnseenDatabase

        nowhere = database
        if not isinstance(database, UnseenDatabase):
            nowhere = UnseenDatabase(database.path_on_disk, str(database._index), error)
        depth = unsqueeze(counts)
        one = Instance(nowhere, series_key, "")
        records = [one if count else None for count in depth.tolist()]
        return Header.of_records(records, shape, dims, coords)


def _found(
    database: Database,
    identity: str,
    series_key: str,
    files: Any,
    frames: Any,
    counts: Any,
    shape: Any,
    dims: Any,
    coords: Any,
) -> Header:
    from dbdicom_xr.records.reading.gathered import Sources

    if database._store.identity != identity:
        raise NotInDatabase(
            f"The index of {database.path_on_disk} has been made anew since this header was "
            "pickled, so that its references mean nothing any more; make it again from its series."
        )
    node = database._tree().find("series", series_key)
    if node is None or node.row is None:
        raise NotInDatabase(
            f"The series {series_key} of this header is not in the database any more."
        )
    table = database._table(node.row)
    numbers, frame, depth = unsqueeze(files), unsqueeze(frames), unsqueeze(counts)
    order = np.argsort(table.places["file"])
    sorted_files = table.places["file"][order]
    at = np.minimum(np.searchsorted(sorted_files, numbers), len(order) - 1)
    wrong = sorted_files[at] != numbers
    if wrong.any():
        raise NotInDatabase(
            f"{int(wrong.sum())} frames of this header are not in the database any more."
        )
    rows = table.first_frames[order[at]] + frame - 1
    if (depth > 1).any():
        starts = np.concatenate([[0], np.cumsum(depth)])
        zeros = np.zeros(len(rows), np.intp)
        found = Sources(database, (table,), zeros, rows, starts, dims or (), shape)
        return Header.of_records(found.records(), shape, dims, coords)
    cells = np.full(len(depth), -1, np.intp)
    cells[depth > 0] = rows
    cells = cells.reshape(shape)
    header = Header.of_frames(database, series_key, table, cells, dims, coords)
    if dims is not None:
        header.coords.update(provenance(table, cells, dims))
    return header


def provenance(
    table: Table, rows: npt.NDArray[Any], dims: tuple[str, ...]
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """Return the coordinates by which an array knows its frames: SOPInstanceUID and frame."""
    pool = np.empty(len(table.uids) + 1, object)
    pool[:-1] = table.uids
    pool[-1] = ""
    owners = np.where(rows >= 0, table.instance_of[rows], -1)
    numbers = np.where(rows >= 0, table.frame_numbers[rows], 0).astype(np.int32)
    return {"SOPInstanceUID": (dims, pool[owners]), "frame": (dims, numbers)}
