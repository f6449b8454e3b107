"""Whether what the header says of the pixels still fits them, once it has been edited."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import GridError, LayoutError, PixelError
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.pixel_header import layouts_of
from dbdicom_xr.staging.composed import Composed, Piece

__all__ = ["require_fitting_layout"]

_LAYOUT: Final = {
    Key(0x00280002): "SamplesPerPixel",
    Key(0x00280008): "NumberOfFrames",
    Key(0x00280010): "Rows",
    Key(0x00280011): "Columns",
    Key(0x00280100): "BitsAllocated",
}
_ALL: Final = frozenset(
    (*_LAYOUT, *(Key(tag) for tag in (0x00280004, 0x00280006, 0x00280101, 0x00280102, 0x00280103)))
)  # with PhotometricInterpretation, PlanarConfiguration, BitsStored, HighBit, PixelRepresentation


def require_fitting_layout(composed: Composed, table: Table) -> None:
    """Raise an error where attributes that describe the pixels were edited and contradict them.

    Parameters
    ----------
    composed : Composed
        A series.
    table : Table
        Its table.

    Raises
    ------
    LayoutError
        With the attribute, its value and the size of the pixels.
    """
    edited = {
        key
        for piece in composed.pieces
        if piece.patch is not None
        for key in piece.patch.columns
        if key in _ALL
    }
    if not edited:
        return
    every = np.concatenate([_touched(piece, edited) for piece in composed.pieces])[composed.order]
    edited &= set(_LAYOUT)
    offset = 0
    for piece in composed.pieces:
        count = len(piece)
        touched = _touched(piece, edited)
        if touched.any():
            rows = composed.order.argsort()[offset : offset + count]
            for i in np.flatnonzero(touched).tolist():
                _require(table, int(rows[i]), piece, i, edited)
        offset += count
    _require_consistent(table, every)


def _touched(piece: Piece, edited: set[Key]) -> npt.NDArray[np.bool_]:
    """Return of which instances some of these attributes were edited."""
    touched = np.zeros(len(piece), np.bool_)
    if piece.patch is not None:
        for key in edited & set(piece.patch.columns):
            touched |= piece.patch.columns[key].codes_of(piece.patch_rows) >= 0
    return touched


def _require_consistent(table: Table, touched: npt.NDArray[np.bool_]) -> None:
    """Raise an error where the attributes contradict each other."""
    frames = np.flatnonzero((touched & (table.places["offset"] >= 0))[table.instance_of])
    if len(frames):
        # Pixels of a kind that this version cannot read, and images of several sizes, may be saved.
        with suppress(PixelError, GridError):
            layouts_of(
                table, frames, lambda row: f"the instance {table.uids[table.instance_of[row]]}"
            )


def _require(table: Table, row: int, piece: Any, at: int, edited: set[Key]) -> None:
    place = table.places[row]
    if place["file"] < 0:  # without pixels, or with ones that follow the layout
        return
    said = {name: _number(table, key, row) for key, name in _LAYOUT.items()}
    uid = table.uids[row]
    if place["length"] < 0:  # encapsulated: nothing but the original size can be right
        for key in sorted(edited):
            column = piece.table.column(key)
            original = None if column is None else column.value(int(piece.rows[at]))
            if original != said[_LAYOUT[key]]:
                raise LayoutError(
                    f"{_LAYOUT[key]} of the instance {uid} is set to {said[_LAYOUT[key]]!r}, but "
                    f"its compressed pixels were made with {original!r}. Set it back, or write the "
                    "pixels anew."
                )
        return
    frames = 1 if said["NumberOfFrames"] is None else said["NumberOfFrames"]
    samples = 1 if said["SamplesPerPixel"] is None else said["SamplesPerPixel"]
    numbers = [said["Rows"], said["Columns"], said["BitsAllocated"], frames, samples]
    if any(not isinstance(number, int) or number < 1 for number in numbers):
        names = ", ".join(f"{name}={value!r}" for name, value in said.items())
        raise LayoutError(f"The layout of the instance {uid} is not one: {names}.")
    bits = int(np.prod(np.array(numbers, object)))
    expected = -(-bits // 8)
    if _ybr_422(table, row):
        expected = expected * 2 // 3
    if expected not in (int(place["length"]), int(place["length"]) - 1):
        names = ", ".join(f"{name} {said[name]}" for key, name in _LAYOUT.items() if key in edited)
        raise LayoutError(
            f"The layout of the instance {uid} contradicts its pixels: with {names} they would "
            f"take {expected} bytes, but there are {int(place['length'])}. Set it back, or write "
            "the pixels anew."
        )


def _number(table: Table, key: Key, row: int) -> Any:
    column = table.column(key)
    return None if column is None else column.value(row)


def _ybr_422(table: Table, row: int) -> bool:
    """Return whether two pixels share their colour (PS3.3 C.7.6.3.1.2)."""
    value = _number(table, Key(0x00280004), row)
    return value in ("YBR_FULL_422", "YBR_PARTIAL_422")
