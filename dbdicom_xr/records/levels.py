"""Patients, studies and series: the records that are nodes of the tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import NotInDatabase
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.filters import Filter, parse_filters
from dbdicom_xr.records.attributes.lookup import Attribute, Name
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.datatree_methods import AsTree
from dbdicom_xr.records.editing.edits import encoded_one
from dbdicom_xr.records.editing.made import empty_leaves, made_table
from dbdicom_xr.records.editing.placing import Edits, below
from dbdicom_xr.records.instance import (
    Instance,
    instance_names,
    instance_rows,
    instances_of,
    removed_hint,
)
from dbdicom_xr.records.reading.array_methods import ArraySeries
from dbdicom_xr.records.record import Record
from dbdicom_xr.records.tree import LEVELS, Node
from dbdicom_xr.records.writing.from_nothing_methods import FromNothing

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from dbdicom_xr.records.database import Database
    from dbdicom_xr.staging.changing import Change

__all__ = ["NodeRecord", "Patient", "Series", "Study", "record_of"]


class NodeRecord(AsTree, Record):
    """A record that is a node of the tree."""

    __slots__ = ()

    @property
    def _node(self) -> Node:
        raise NotImplementedError

    def _tables(self) -> list[tuple[Table, npt.NDArray[np.intp] | None]]:
        database = self.database
        return [(database._table(row), None) for row in self._node.series()]

    def _made_tables(self) -> list[Table]:
        database = self.database
        if not database._view().layer.empty:
            return []
        return [made_table(database, leaf) for leaf in empty_leaves(self._node)]

    def _set_made(self, change: Change, attribute: Attribute, value: Any) -> None:
        node = self._node
        for record in below(self.database, node):
            key, encoded = encoded_one(attribute, value)
            own = node.made is not None and record.place == node.made.place
            if not own and key not in record.attributes and not node.is_empty:
                continue
            attributes = dict(record.attributes)
            attributes.pop(key, None)
            if encoded is not None:
                attributes[key] = encoded
            change.empty[record.place] = record._replace(attributes=attributes)

    def _say(self, edits: Edits) -> None:
        """Let attributes hold for what comes into the record, which was made by hand."""
        made = self._node.made
        assert made is not None
        with self.database._change() as change:
            said = {key: value for key, value in edits.items() if value is not None}
            attributes = {**said, **made.attributes}
            change.empty[made.place] = made._replace(attributes=attributes)

    def _child_names(self) -> list[str]:
        return list(self._node.children)

    def _child(self, name: str) -> Record | None:
        node = self._node.children.get(name)
        return None if node is None else record_of(self.database, node)

    @of_one_state
    def _below(self, level: str, wanted: Filter) -> list[Any]:
        database = self.database
        if not wanted and LEVELS.index(level) <= LEVELS.index("series"):
            nodes = [self._node]
            for _ in range(LEVELS.index(level) - LEVELS.index(self.level)):
                nodes = [child for node in nodes for child in node.children.values()]
            return [record_of(database, node) for node in nodes]
        tree = database._tree()
        found: dict[Node, None] = {}
        instances: list[Instance] = []
        for row in self._node.series():
            table = database._table(row)
            frames = None
            if wanted:
                mask = wanted.rows(table)
                if not mask.any():
                    continue
                frames = np.flatnonzero(mask)
            node = tree.series_node[row.id]
            if level in ("instance", "frame"):
                instances += instances_of(database, node.key, table, frames, split=level == "frame")
                continue
            while node.level != level:
                assert node.parent is not None
                node = node.parent
            found[node] = None
        if level in ("instance", "frame"):
            return instances
        if wanted and database._view().layer.empty:
            for leaf in empty_leaves(self._node):
                above: Node | None = leaf
                while above is not None and above.level != level:
                    above = above.parent
                if above is not None and wanted.any(made_table(database, leaf)):
                    found[above] = None
        return [record_of(database, node) for node in found]

    @property
    def parent(self) -> Record:
        """The record above; calling it gives it too."""
        node = self._node.parent
        return self.database if node is None else record_of(self.database, node)

    @property
    def name(self) -> str:
        """Its name among its siblings."""
        return self._node.name


class _Keyed(NodeRecord):
    """A record known by its key within a level of the database."""

    __slots__ = ("_called", "_database", "_made_as", "_made_when")

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._made_as = key
        self._made_when = len(database._renamed)
        self._called = ""  # when it was last there

    @property
    def database(self) -> Database:
        """The database that the record belongs to."""
        return self._database

    @property
    def _node(self) -> Node:
        tree = self._database._tree()
        renamed = self._database._renamed
        names = renamed.names(self.level, self._made_as, self._made_when)
        for name in (*names, self._made_as, *renamed.others(self.level, self._made_as)):
            node = tree.find(self.level, name)
            if node is not None:
                self._called = node.name
                return node
        called = self._called
        if not called:
            saved = self._database._saved_tree().find(self.level, self._made_as)
            called = "" if saved is None else saved.name
        raise NotInDatabase(
            tree.why_not(self.level, self._made_as, self._database.path_on_disk, called)
            + removed_hint(self._database, self._made_as)
        )

    @property
    def _key(self) -> str:
        """What the record is called now in the tree."""
        return self._database._renamed.names(self.level, self._made_as, self._made_when)[0]

    def _identity(self) -> tuple[Any, ...]:
        return (*self._database._identity(), self.level, self._key)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._database, self.level, self._key)


class Patient(FromNothing, _Keyed):
    """All studies of one person: of one PatientID (PS3.3 C.7.1.1)."""

    __slots__ = ()
    level = "patient"


class Study(FromNothing, _Keyed):
    """All series of one examination (PS3.3 C.7.2.1)."""

    __slots__ = ()
    level = "study"


class Series(ArraySeries, _Keyed):
    """Instances that were made together (PS3.3 C.7.3.1): what arrays are made from."""

    __slots__ = ()
    level = "series"

    @property
    def _own_table(self) -> Table:
        row = self._node.row
        assert row is not None
        return self._database._table(row)

    @of_one_state
    def _child_names(self) -> list[str]:
        return list(instance_names(self._own_table))

    @of_one_state
    def _child(self, name: str) -> Record | None:
        table = self._own_table
        row = instance_rows(table).get(name)
        return None if row is None else Instance(self._database, self._key, table.uids[row])

    @of_one_state
    def varying(self) -> pd.DataFrame:
        """Return which attributes vary over the frames.

        Returns
        -------
        pandas.DataFrame
            One row per attribute: number of ``distinct`` values, ``minimum``, ``maximum``, and in
            how many frames it is ``missing``.
        """
        from dbdicom_xr.records.reading.sorting import varying_table

        return varying_table(self._own_table)

    @property
    @of_one_state
    def header(self) -> xr.Dataset:
        """All attributes as an ``xarray.Dataset`` with one value per frame."""
        from dbdicom_xr.records.reading.header_table import dataset

        return dataset(self._own_table)

    @of_one_state
    def subseries(self, /, *filters: Mapping[Name, Any], **conditions: Any) -> Any:
        """Make a new series beside this one, with copies of the instances that match.

        Parameters
        ----------
        **conditions
            Filters, see :meth:`series`.

        Returns
        -------
        Series

        Raises
        ------
        InvalidValue
            Nothing matches, or files of which only some frames do.
        """
        from dbdicom_xr.records.editing.combine import subseries

        return subseries(self, parse_filters(filters, conditions, self._has))

    @of_one_state
    def split_by(self, name: Name) -> dict[Any, Any]:
        """Make a new series for each value of an attribute, with copies of the instances.

        Parameters
        ----------
        name : name
            As in ``record[name]``.

        Returns
        -------
        dict
            The series by value, in the order of the values.

        Raises
        ------
        GridError
            Some frame has no such value, or frames of one file have several.
        """
        from dbdicom_xr.records.editing.combine import split_by

        return split_by(self, name)

    def frames(self, *filters: Mapping[Name, Any], **conditions: Any) -> list[Instance]:
        """Return the frames: of classic images the instances, else a record per frame."""
        return self._below("frame", parse_filters(filters, conditions, self._has))


_CLASSES: dict[str, type[_Keyed]] = {"patient": Patient, "study": Study, "series": Series}


def record_of(database: Database, node: Node) -> Record:
    """Return the record of a node."""
    if node.level == "database":
        return database
    return _CLASSES[node.level](database, node.key)


def _rebuild(database: Database, level: str, key: str) -> Record:
    return _CLASSES[level](database, key)
