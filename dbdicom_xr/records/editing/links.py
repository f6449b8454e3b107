"""References from one object to others, kept right when those are copied or moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.elements import Malformed
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import known_vr
from dbdicom_xr.staging.encode import Encoded
from dbdicom_xr.staging.patch import delta
from dbdicom_xr.staging.references import replace_hierarchy, replace_uids

__all__ = ["redirected"]


def redirected(
    table: Table,
    rows: np.ndarray[Any, np.dtype[np.intp]],
    uids: Mapping[str, str],
    places: Mapping[str, tuple[str, str]],
) -> dict[Key, Column]:
    """Return the edits that let sequences refer to where things are now.

    Parameters
    ----------
    table : Table
        Of the instances whose sequences are looked at.
    rows : ndarray of int
        These instances.
    uids : mapping of str to str
        New UIDs of what was copied.
    places : mapping of str to (str, str)
        Study and series of the instances that moved.
    """
    edits: dict[Key, Column] = {}
    if not uids and not places:
        return edits
    for key in table.keys:
        # Of the standard elements only those; private ones mean what their maker knows.
        if (key.tag >> 16) & 1 or known_vr(key.tag) not in ("SQ", ""):
            continue
        column = table.column(key)
        if column is None:
            continue
        is_sequence = [kind.vr == "SQ" or (kind.vr in ("", "UN") and known_vr(key.tag) == "SQ")
                       for kind in column.kinds]  # fmt: skip
        if not any(is_sequence):
            continue
        codes = column.codes_of(rows)
        values: list[Encoded | None] = []
        new_codes = np.full(len(rows), -1, np.int32)
        order = np.argsort(codes, kind="stable")
        used, starts = np.unique(codes[order], return_index=True)
        for code, mine in zip(used.tolist(), np.split(order, starts[1:]), strict=True):
            if code < 0 or not is_sequence[column.kind_of[code]]:
                continue
            raw, kind = column.values[code], column.kinds[column.kind_of[code]]
            if not isinstance(raw, bytes):  # long, and left in each file
                for place in mine.tolist():
                    inside = table.read(int(rows[place]), raw)
                    changed = _changed(inside, kind, uids, places)
                    if changed is not None:
                        new_codes[place] = len(values)
                        values.append(Encoded(kind._replace(vr="SQ"), changed))
                continue
            changed = _changed(raw, kind, uids, places)
            if changed is not None:
                new_codes[mine] = len(values)
                values.append(Encoded(kind._replace(vr="SQ"), changed))
        if values:
            edits[key] = delta(key, values, new_codes, len(rows))
    return edits


def _changed(
    raw: bytes, kind: Any, uids: Mapping[str, str], places: Mapping[str, tuple[str, str]]
) -> bytes | None:
    try:
        changed = replace_uids(raw, kind, uids) if uids else None
        if places:
            moved = replace_hierarchy(raw if changed is None else changed, kind, places)
            changed = moved if moved is not None else changed
    except Malformed:
        return None  # what cannot be read refers to nothing
    return changed
