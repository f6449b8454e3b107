"""What is staged, as a table to look at before it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydicom.datadict import keyword_for_tag

from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.functional import PER_FRAME, SHARED
from dbdicom_xr.staging.patch import Patch, Role

if TYPE_CHECKING:
    import pandas as pd

    from dbdicom_xr.records.database import Database

__all__ = ["table_of_changes"]

_LONGEST = 80
COLUMNS = ("record", "change", "attribute", "instances", "value")


def table_of_changes(database: Database) -> pd.DataFrame:
    """Return what is staged; see ``Database.changes``."""
    from dbdicom_xr.records.shown_whole import ShownWhole

    layer = database._view().layer
    rows: list[tuple[Any, ...]] = [
        row for patch in layer.patches.values() for row in _of_patch(database, patch)
    ]
    for place in {**layer.empty, **layer.kept}:
        if layer.empty.get(place) != layer.kept.get(place):
            word = "made" if place not in layer.kept else "edited"
            word = word if place in layer.empty else "removed"
            node = database._tree().at(*place)
            rows.append(
                (_name(database, place[1]) if node is None else _path(node), word, "", 0, None)
            )
    rows.sort(key=lambda row: row[:3])
    # Objects, so that None stays None.
    return ShownWhole(rows, columns=list(COLUMNS), dtype=object)


def _of_patch(database: Database, patch: Patch) -> Iterator[tuple[Any, ...]]:
    role = patch.key.role
    name = _name(database, patch.key.target)
    if role in (Role.REMOVED, Role.COPY, Role.NEW, Role.STAGED):
        word = {Role.REMOVED: "removed", Role.COPY: "copied"}.get(role, "new")
        yield name, word, "", len(patch), None
        return
    before = _name_before(database, patch.key.source)
    if patch.key.source[2:] != patch.key.target[2:] or name.split("/")[1] != before.split("/")[1]:
        yield name, "moved", "", len(patch), before
    groups = {Key(SHARED), Key(PER_FRAME)}
    if groups & set(patch.columns):
        yield name, "edited", "attributes of single frames", int((patch.counts > 0).sum()), None
    for key, column in patch.columns.items():
        if key in groups:
            continue
        count = int((column.codes_of() >= 0).sum())
        values = column.decoded()
        yield name, "edited", _keyword(key), count, _shown(values)


def _shown(values: list[Any]) -> Any:
    """Return the value, if there is one and it is short."""
    if len(values) != 1:
        return f"{len(values)} values"
    value = values[0]
    if isinstance(value, (int, float)) or value is None:
        return value
    text = str(value)
    return value if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _keyword(key: Key) -> str:
    return (not key.creator and keyword_for_tag(key.tag)) or str(key)


def _name(database: Database, key: SeriesKey) -> str:
    node = database._tree().at("series", key)
    return _name_before(database, key) if node is None else _path(node)


def _name_before(database: Database, key: SeriesKey) -> str:
    """Return the path that a series had when it was saved last."""
    node = database._saved_tree().at("series", key)
    if node is not None:
        return _path(node)
    return "/" + "/".join([key.patient_id or key.patient_name, key.study_uid, key.series_uid])


def _path(node: Any) -> str:
    parts = []
    while node is not None and node.level != "database":
        parts.append(node.name)
        node = node.parent
    return "/" + "/".join(reversed(parts))
