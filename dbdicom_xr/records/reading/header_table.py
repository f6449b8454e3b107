"""The header of many frames as one table: for pandas and for xarray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.coordinates import attrs
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import Attribute, Name, parse_name, private_attribute

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["dataframe", "dataset"]

Rows = npt.NDArray[np.intp] | None


def _attributes(tables: Sequence[tuple[Table, Rows]]) -> list[Attribute]:
    """Return the attributes that stand in any of the series, by tag."""
    found: dict[Key, None] = {}
    for table, _ in tables:
        table.load()
        found.update(dict.fromkeys(key for key in table.keys if not table.left_in_files(key)))
    return [attribute_of(key) for key in sorted(found)]


def attribute_of(key: Key) -> Attribute:
    """Return the attribute of a column; its name for private ones tells the creator."""
    if not key.creator:
        return parse_name(key.tag)
    return private_attribute(key.tag, key.creator)


def _is_sequence(values: list[Any]) -> bool:
    from pydicom.sequence import Sequence as DicomSequence

    return any(isinstance(value, DicomSequence) for value in values)


def dataframe(
    tables: Sequence[tuple[Table, Rows]],
    keywords: Sequence[Name],
    has: Callable[[Attribute], bool] | None = None,
) -> pd.DataFrame:
    """Return a row per frame. See :meth:`Record.to_dataframe`."""
    import pandas as pd

    from dbdicom_xr.records.shown_whole import ShownWhole

    chosen = [parse_name(name, has) for name in keywords] or _attributes(tables)
    lengths = [len(table) if rows is None else len(rows) for table, rows in tables]
    columns: dict[str, Any] = {}
    for attribute in chosen:
        pieces = []
        skip = False
        for (table, rows), length in zip(tables, lengths, strict=True):
            values = attribute.values(table)
            if values is None:
                pieces.append(np.full(length, None, object))
                continue
            if not keywords and _is_sequence(values.distinct):
                skip = True
                break
            pieces.append((values if rows is None else values.take(rows)).as_objects())
        if not skip:
            joined = np.concatenate(pieces) if pieces else np.empty(0, object)
            for i, value in enumerate(joined):
                if isinstance(value, list):  # frames share it; each cell is the caller's own
                    joined[i] = value.copy()
            columns[attribute.name] = pd.Series(joined, dtype=object).infer_objects()
    uids: list[str] = []
    frames: list[int] = []
    for table, rows in tables:
        chosen_rows = np.arange(len(table)) if rows is None else rows
        uids += [table.uids[i] for i in table.instance_of[chosen_rows].tolist()]
        frames += table.frame_numbers[chosen_rows].tolist()
    index = pd.MultiIndex.from_arrays([uids, frames], names=["SOPInstanceUID", "frame"])
    return ShownWhole(pd.DataFrame(columns, index=range(len(uids))).set_axis(index))


def dataset(table: Table) -> xr.Dataset:
    """Return all columns of a series as variables over ``frame``. See :attr:`Series.header`."""
    import xarray as xr

    variables: dict[str, Any] = {}
    for attribute in _attributes([(table, None)]):
        values = attribute.values(table)
        if values is None:
            continue
        about = attrs(
            attribute.tag if not attribute.creator else attribute.tag | 0x1000,
            attribute.creator or None,
        )
        variables[attribute.name] = _variable(attribute.name, values.as_objects(), about)
    uids = np.array(table.uids, object)[table.instance_of] if len(table) else np.empty(0, object)
    variables.pop("SOPInstanceUID", None)
    return xr.Dataset(
        variables,
        coords={
            "SOPInstanceUID": ("frame", uids),
            "frame_number": ("frame", table.frame_numbers),
        },
    )


def _variable(name: str, objects: npt.NDArray[np.object_], about: dict[str, str]) -> Any:
    kinds = set(map(type, objects.tolist()))
    if kinds <= {int, float, type(None)} and kinds - {type(None)}:
        if kinds == {int} and max(map(abs, objects.tolist())) < 2**63:
            return ("frame", objects.astype(np.int64), about)
        numbers = [np.nan if value is None else value for value in objects.tolist()]
        return ("frame", np.array(numbers, np.float64), about)
    if kinds == {list}:
        rows = objects.tolist()
        widths = {len(row) for row in rows}
        if len(widths) == 1 and all(isinstance(v, (int, float)) for row in rows for v in row):
            return (("frame", f"{name}_value"), np.array(rows), about)
    if kinds <= {list, str, type(None)}:
        texts = np.empty(len(objects), object)
        texts[:] = [
            "\\".join("" if v is None else str(v) for v in value)
            if isinstance(value, list)
            else value or ""
            for value in objects.tolist()
        ]
        return ("frame", texts, about)
    return ("frame", objects, about)
