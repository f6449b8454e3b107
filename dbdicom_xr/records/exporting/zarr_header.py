"""The header of a series as arrays that plain xarray reads: its values, and whose they are."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.formats.npy import plain
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.store import FRAME, INSTANCE
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import without_warnings
from dbdicom_xr.records.reading.header_table import attribute_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["header_dataset"]

_SHORT: Final = 1024  # bytes, or characters
_ABOUT: Final = (
    "The header of the images. value[code] is the value as JSON, for each element and image; code "
    "is -1 where an image lacks the element. What is long stands as {'length': bytes}, and whole "
    "in the group 'files'."
)


def header_dataset(table: Table, cells: npt.NDArray[np.intp], dims: tuple[str, ...]) -> xr.Dataset:
    """Return all attributes of frames.

    Parameters
    ----------
    table : Table
    cells : ndarray of int
        Frames of the table, -1 in gaps.
    dims : tuple of str
        Of `cells`.
    """
    import xarray as xr

    table.load()
    names: list[str] = []
    tags: list[str] = []
    vrs: list[str] = []
    creators: list[str] = []
    texts: list[str] = []
    numbers: dict[str, int] = {}
    codes: list[npt.NDArray[np.int32]] = []
    filled = cells >= 0
    for key in table.keys:
        found = _column(table, key)
        if found is None:
            continue
        distinct, code_of = found
        own = np.where(filled, code_of[cells], -1)
        used = np.unique(own[own >= 0])
        if not len(used):
            continue
        place = np.full(len(distinct) + 1, -1, np.int32)
        for code in used.tolist():
            text = distinct[code]
            place[code] = numbers.setdefault(text, len(numbers))
            if place[code] == len(texts):
                texts.append(text)
        codes.append(place[own])
        names.append(attribute_of(key).name)
        tags.append(f"{key.tag >> 16:04X}{key.tag & 0xFFFF:04X}")
        creators.append(key.creator)
        vrs.append(_vr(table, key))
    shape = (len(names), *cells.shape)
    code = np.stack(codes) if codes else np.empty(shape, np.int32)
    return xr.Dataset(
        {"code": (("element", *dims), code), "value": ("value_number", np.array(texts, object))},
        coords={
            "element": ("element", np.array(names, object)),
            "tag": ("element", np.array(tags, object)),
            "vr": ("element", np.array(vrs, object)),
            "creator": ("element", np.array(creators, object)),
        },
        attrs={"description": _ABOUT},
    )


def _column(table: Table, key: Key) -> tuple[list[str], npt.NDArray[np.int64]] | None:
    """Return the values of an attribute as JSON, and the code of each frame."""
    if table.left_in_files(key):
        return _long_column(table, key)
    values = attribute_of(key).values(table)
    if values is None:
        return None
    with without_warnings():
        return [_json(value) for value in values.distinct], values.codes.astype(np.int64)


def _long_column(table: Table, key: Key) -> tuple[list[str], npt.NDArray[np.int64]] | None:
    """Return of values that were left in the files how long they are."""
    column = table.column(key, INSTANCE)
    if column is None:
        column = table.column(key, FRAME)
        codes = None if column is None else column.codes_of()
    else:
        codes = column.codes_of()[table.instance_of]
    if column is None or codes is None:
        return None
    return [
        json.dumps({"length": len(value) if isinstance(value, bytes) else value.length})
        for value in column.values
    ], codes.astype(np.int64)


def _vr(table: Table, key: Key) -> str:
    for scope in (INSTANCE, FRAME):
        column = table.column(key, scope)
        if column is not None and column.kinds:
            return column.kinds[0].vr
    return ""


def _json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; items of sequences in the DICOM JSON Model (PS3.18 F.2)."""
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    if isinstance(value, Sequence):
        return [_item(item) for item in value]
    if isinstance(value, Dataset):
        return _item(value)
    if isinstance(value, (bytes, bytearray)):
        if len(value) > _SHORT:
            return {"length": len(value)}
        return {"InlineBinary": base64.b64encode(value).decode("ascii")}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return plain(value)


def _item(item: Any) -> Any:
    try:
        content = item.to_json_dict(
            bulk_data_threshold=_SHORT,
            bulk_data_element_handler=lambda element: f"length:{len(element.value)}",
            suppress_invalid_tags=True,
        )
        return json.loads(json.dumps(content, allow_nan=False))
    except Exception as error:  # what cannot be said in JSON stands in the files
        return {"error": f"{type(error).__name__}: {error}"}
