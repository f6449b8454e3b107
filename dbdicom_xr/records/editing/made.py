"""Records made by hand, which have attributes but no instances: read as tables of one row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.blocks import PLACE, SeriesKey
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.store import INSTANCE, FileRow, SeriesRow
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.editing.placing import identity_of, key_of_node, said_at
from dbdicom_xr.records.tree import Node

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database

__all__ = ["empty_leaves", "made_table"]


class _Attributes:
    """Attributes in the place of a store: one instance that has them."""

    path = Path()
    identity = ""

    def __init__(self, columns: Mapping[Key, Column], generation: int) -> None:
        self._columns = columns
        self._generation = generation

    def generation(self) -> int:
        return self._generation

    def places(self, series: int) -> npt.NDArray[np.void]:
        places = np.zeros(1, PLACE)
        places["file"] = places["offset"] = -1
        places["frames"] = 1
        return places

    def keys(self, series: int, scope: int = INSTANCE) -> list[Key]:
        return sorted(self._columns) if scope == INSTANCE else []

    def column(self, series: int, key: Key, scope: int = INSTANCE) -> Column | None:
        return self._columns.get(key) if scope == INSTANCE else None

    def columns(self, series: int, scope: int = INSTANCE) -> dict[Key, Column]:
        return dict(self._columns) if scope == INSTANCE else {}

    def files(self, numbers: Iterable[int] | None = None) -> dict[int, FileRow]:
        return {}


def empty_leaves(node: Node) -> list[Node]:
    """Return the records at and below a node that have nothing below them."""
    found = []
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one.children:
            waiting += one.children.values()
        elif one.level != "database" and (one.row is None or not one.row.instances):
            found.append(one)
    return found


def made_table(database: Database, node: Node) -> Table:
    """Return what holds for all that will come into a record, as a table of one row."""
    said = {**said_at(database, node), **identity_of(key_of_node(node))}
    columns = {
        key: Column(key, [value.kind], [value.value], [0], None, 1)
        for key, value in said.items()
        if value is not None
    }
    row = SeriesRow(0, SeriesKey("", "", "", ""), "", "", "", None, "", "", 1, 1, 0)
    generation = database._generation()
    store: Any = _Attributes(columns, generation)
    return Table(store, database.path_on_disk, row, generation)
