"""Instances, the DICOM objects of a series, and the frames inside those that have several."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import NotInDatabase
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.filters import Filter
from dbdicom_xr.records.attributes.lookup import Attribute, parse_name
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.record import Record, distinct, own
from dbdicom_xr.records.tree import unique_names

if TYPE_CHECKING:
    import pydicom
    import xarray as xr

    from dbdicom_xr.records.database import Database

__all__ = [
    "Frame",
    "Instance",
    "frame_records",
    "instance_names",
    "instance_rows",
    "instances_of",
    "removed_hint",
]


class Instance(Record):
    """One DICOM object: a classic image, or a multi-frame image, a report, a plan...

    Attributes read as single values, None where absent or empty. Where the frames of a multi-frame
    image differ, the instance gives the list of their values, and each frame its own.
    """

    __slots__ = ("_at", "_database", "_series_key", "_uid")
    level = "instance"

    def __init__(self, database: Database, series_key: str, uid: str) -> None:
        self._database = database
        self._series_key = series_key
        self._uid = uid
        self._at: tuple[Table, int] | None = None  # where it stood when last looked at

    @property
    def database(self) -> Database:
        """The database that the record belongs to."""
        return self._database

    def _identity(self) -> tuple[Any, ...]:
        return (*self._database._identity(), "instance", self.uid)

    def __reduce__(self) -> tuple[Any, ...]:
        return Instance, (self._database, self._series_key, self.uid)

    def _locate(self) -> tuple[Table, int]:
        """Return the table of the series, and the row of the instance in it."""
        at = self._at
        if at is not None and at[0].generation == self._database._generation():
            return at
        tree = self._database._tree()
        uid, renamed = self._uid, self._database._renamed
        if at is not None and len(renamed):
            uid = renamed.names("instance", uid, renamed.since(at[0].generation))[0]
        node = tree.find("series", self._series_key)
        if node is not None and node.row is not None:
            table = self._database._table(node.row)
            row = table.row_of.get(uid)
            if row is not None:
                self._uid, self._at = uid, (table, row)
                return self._at
        for name in (uid, *renamed.others("instance", uid)):
            found = self._database._find(name)
            if found is not None:
                node, table, row = found
                self._series_key = node.key
                self._uid, self._at = name, (table, row)
                return self._at
        raise NotInDatabase(
            f"The instance {self._uid} is not in {self._database.path_on_disk} any more."
            + removed_hint(self._database, self._uid)
        )

    def _frame_rows(self) -> tuple[Table, npt.NDArray[np.intp]]:
        table, row = self._locate()
        first = int(table.first_frames[row])
        return table, np.arange(first, first + int(table.places["frames"][row]))

    def _tables(self) -> list[tuple[Table, npt.NDArray[np.intp] | None]]:
        return [self._frame_rows()]

    @of_one_state
    def _child_names(self) -> list[str]:
        _, rows = self._frame_rows()
        return [str(number) for number in range(1, len(rows) + 1)] if len(rows) > 1 else []

    @of_one_state
    def _child(self, name: str) -> Record | None:
        if name not in self._child_names():
            return None
        return Frame(self._database, self._series_key, self._uid, int(name))

    @of_one_state
    def _below(self, level: str, wanted: Filter) -> list[Any]:
        table, rows = self._frame_rows()
        if len(rows) < 2:
            return []
        if wanted:
            rows = rows[wanted.rows(table)[rows]]
        return frame_records(self._database, self._series_key, table, rows)

    @property
    @of_one_state
    def parent(self) -> Record:
        """The series; calling it gives it too."""
        from dbdicom_xr.records.levels import record_of

        table, _ = self._locate()
        return record_of(self._database, self._database._tree().series_node[table.series.id])

    @property
    @of_one_state
    def name(self) -> str:
        """Its name among its siblings: the InstanceNumber."""
        table, row = self._locate()
        return instance_names(table)[row]

    @of_one_state
    def _value(self, attribute: Attribute) -> Any:
        table, rows = self._frame_rows()
        if len(rows) == 1:
            return own(attribute.value(table, int(rows[0])))
        if attribute.custom is not None and attribute.custom.together is not None:
            together = distinct(attribute.occurring(table, rows))
            return together[0] if len(together) == 1 else list(together) or None
        values = attribute.values(table)
        if values is None:
            return None
        mine = values.take(rows)
        found = distinct(mine.occurring())
        if len(found) == 1 and bool((mine.codes >= 0).all()):
            return found[0]
        return list(found) or None

    @property
    @of_one_state
    def file(self) -> str | None:
        """The path of the file, None where it has none before it is saved."""
        table, row = self._locate()
        if not self._database._view().has_file(table.series.id)[row]:
            return None
        return f"{table.root}/{table.file(row).path}"

    @property
    def uid(self) -> str:
        """The SOPInstanceUID, or where it has none ``file:`` and its path in the folder."""
        if len(self._database._renamed):  # it may have another now
            with suppress(NotInDatabase):
                self._locate()
        return self._uid

    @of_one_state
    def dataset(self) -> pydicom.FileDataset:
        """Return the object as pydicom reads it, pixels included, with what is staged.

        Returns
        -------
        pydicom.FileDataset
            Of your own: changing it changes nothing in the database.

        Raises
        ------
        StaleArray
            The file has changed or vanished since it was indexed.
        """
        from dbdicom_xr.records.datasets import dataset_of

        table, row = self._locate()
        return dataset_of(self._database._view(), table, row)

    def array(self, *, rescale: bool | str = True, chunks: Any = "auto") -> xr.DataArray:
        """Return the image as a lazy array.

        Parameters
        ----------
        rescale, chunks
            As in :meth:`Series.array`.

        Returns
        -------
        xarray.DataArray
            Dimensions ``(x, y)``, or ``(frame, x, y)`` where the instance has several frames; a
            last one, ``channel``, for colour.
        """
        from dbdicom_xr.records.reading.series_array import instance_array

        return instance_array(self, rescale=rescale, chunks=chunks)

    def overlays(self) -> dict[str, xr.DataArray]:
        """Return the overlays of the image: drawings of one bit per pixel (PS3.3 C.9.2).

        Returns
        -------
        dict of xarray.DataArray
            By OverlayLabel, else by group: ``"6000"``, ``"6002"``... Each is of type bool, on the
            grid of the image: dimensions ``(x, y)``, or ``(frame, x, y)`` where frames differ.
            Those that stand in unused bits of the pixels are found too.

        Raises
        ------
        PixelError
            An overlay is damaged.
        """
        from dbdicom_xr.records.reading.overlays import overlays_of

        return overlays_of(self)


class Frame(Instance):
    """One frame of an instance: attributes read as this frame's value.

    Attributes
    ----------
    number : int
        Of the frame in its instance, from 1.
    """

    __slots__ = ("number",)
    level = "frame"

    def __init__(self, database: Database, series_key: str, uid: str, number: int) -> None:
        super().__init__(database, series_key, uid)
        object.__setattr__(self, "number", number)

    def _identity(self) -> tuple[Any, ...]:
        return (*super()._identity(), self.number)

    def __reduce__(self) -> tuple[Any, ...]:
        return Frame, (self._database, self._series_key, self._uid, self.number)

    def _frame_rows(self) -> tuple[Table, npt.NDArray[np.intp]]:
        table, row = self._locate()
        if not 1 <= self.number <= int(table.places["frames"][row]):
            raise NotInDatabase(f"The instance {self._uid} has no frame {self.number}.")
        return table, np.array([int(table.first_frames[row]) + self.number - 1])

    def _below(self, level: str, wanted: Filter) -> list[Any]:
        return []

    @property
    def parent(self) -> Record:
        """The instance; calling it gives it too."""
        return Instance(self._database, self._series_key, self._uid)

    @property
    def name(self) -> str:
        """The number of the frame."""
        return str(self.number)


def removed_hint(database: Database, name: str) -> str:
    """Return what can be done about a record that was removed, or nothing."""
    if not database._view().was_removed(name.split("\x1f")[0]):
        return ""
    return " It was removed: restore() brings it back, until its parent or the database is saved."


def instances_of(
    database: Database,
    series_key: str,
    table: Table,
    frames: npt.NDArray[np.intp] | None,
    *,
    split: bool = False,
) -> list[Instance]:
    """Return the instances of a table, or those of some of its frames, or these frames."""
    if split:
        rows = np.arange(len(table)) if frames is None else frames
        return frame_records(database, series_key, table, rows)
    if frames is None:
        chosen: Any = range(len(table.places))
    else:
        chosen = np.unique(table.instance_of[frames]).tolist()
    uids = table.uids
    result = []
    for row in chosen:
        instance = Instance(database, series_key, uids[row])
        instance._at = (table, row)
        result.append(instance)
    return result


def frame_records(
    database: Database, series_key: str, table: Table, frames: npt.NDArray[Any]
) -> list[Instance]:
    """Return a record per frame; of an instance with one frame the instance itself."""
    uids = table.uids
    owners = table.instance_of[frames].tolist()
    result: list[Instance] = []
    if table.is_classic:
        # 100,000 of them: __init__ would double the time, and so would the garbage collector, which
        # looks through all objects again and again while none can be garbage.
        new = Instance.__new__
        slots: Any = Instance  # past __setattr__, which looks for the name of an attribute
        set_database, set_key = slots._database.__set__, slots._series_key.__set__
        set_uid, set_at = slots._uid.__set__, slots._at.__set__
        collecting = gc.isenabled()
        gc.disable()
        try:
            for row in owners:
                instance = new(Instance)
                set_database(instance, database)
                set_key(instance, series_key)
                set_uid(instance, uids[row])
                set_at(instance, (table, row))
                result.append(instance)
        finally:
            if collecting:
                gc.enable()
        return result
    several = table.places["frames"] > 1
    for row, number in zip(owners, table.frame_numbers[frames].tolist(), strict=True):
        record = (
            Frame(database, series_key, uids[row], number)
            if several[row]
            else Instance(database, series_key, uids[row])
        )
        record._at = (table, row)
        result.append(record)
    return result


_rows: weakref.WeakKeyDictionary[Table, dict[str, int]] = weakref.WeakKeyDictionary()
_names: weakref.WeakKeyDictionary[Table, list[str]] = weakref.WeakKeyDictionary()


def instance_names(table: Table) -> list[str]:
    """Return the names of the instances of a series: their InstanceNumber."""
    names = _names.get(table)
    if names is None:
        column = table.column(parse_name("InstanceNumber").keys(table)[0])
        numbers = [None if column is None else column.value(i) for i in range(len(table.places))]
        texts = ["" if number is None else str(number) for number in numbers]
        names = _names[table] = unique_names(texts, "instance")
    return names


def instance_rows(table: Table) -> dict[str, int]:
    """Return the row of each name: among 100,000 instances a list takes 1 ms to look through."""
    rows = _rows.get(table)
    if rows is None:
        rows = _rows[table] = {name: row for row, name in enumerate(instance_names(table))}
    return rows
