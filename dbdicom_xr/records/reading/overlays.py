"""``instance.overlays()``: the overlays of an instance as labelled arrays."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.reader import FrameReader, Scaling
from dbdicom_xr.errors import DicomWarning, PixelError
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.table import Table
from dbdicom_xr.pixels.overlays import (
    Overlay,
    embedded_bits,
    is_overlay_group,
    place_on_image,
    read_overlay,
    unpack,
)
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.pixel_header import BIG_ENDIAN, PixelHeader, pixel_header
from dbdicom_xr.records.current import of_one_state

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.instance import Instance

__all__ = ["overlays_of"]

Rows = npt.NDArray[np.intp]
Bits = npt.NDArray[np.bool_]


@of_one_state
def overlays_of(instance: Instance) -> dict[str, xr.DataArray]:
    """Return the overlays of an instance. See :meth:`Instance.overlays`."""
    table, rows = instance._frame_rows()
    described = instance.file or f"The instance {instance.uid}"
    groups = sorted({key.tag >> 16 for key in table.keys if is_overlay_group(key.tag >> 16)})
    pixels = _pixels(table, rows, described) if groups else None
    image = pixels.layouts[0].frame_shape[:2] if pixels is not None else None
    made: dict[str, xr.DataArray] = {}
    for group in groups:

        def value(element: int, group: int = group) -> Any:
            return parse_name((group, element)).value(table, int(rows[0]))

        if value(0x0010) is None and value(0x0102) is None:
            continue  # of another instance of the series
        try:
            overlay = read_overlay(group, value, image or (0, 0))  # type: ignore[arg-type]
            bits, dims = _bits(table, rows, overlay, value(0x3000), pixels, described)
        except PixelError as error:
            raise PixelError(f"{described}: {error}") from error
        name = overlay.label if overlay.label and overlay.label not in made else f"{group:04x}"
        made[name] = _labelled(name, bits, dims, overlay, pixels)
    return made


def _pixels(table: Table, rows: Rows, file: str) -> PixelHeader | None:
    """Return the image that overlays lie on; None for objects without pixels."""
    if table.places["offset"][table.instance_of[rows[0]]] < 0:
        return None
    return pixel_header(table, rows, False, None, describe=lambda _: file)


def _bits(
    table: Table,
    rows: Rows,
    overlay: Overlay,
    data: Any,
    pixels: PixelHeader | None,
    file: str,
) -> tuple[Bits, tuple[str, ...]]:
    """Return the bits of an overlay, (columns, rows) or (frames, columns, rows), and their dims."""
    single = len(rows) == 1
    if data is None:
        if pixels is None:
            raise PixelError(f"The overlay ({overlay.group:04x}) has no data.")
        bits = embedded_bits(_all_bits(table, rows, pixels), overlay)
        return (bits[0], ("x", "y")) if single else (bits, ("frame", "x", "y"))
    bits = unpack(data, overlay, swapped=_is_swapped(table, int(rows[0]), overlay.group))
    if pixels is not None and not pixels.layouts[0].is_tile:
        shape = pixels.layouts[0].frame_shape
        bits, outside = place_on_image(bits, overlay, (shape[0], shape[1]))
        if outside:
            warnings.warn(
                f"{file}: {outside} pixels of the overlay ({overlay.group:04x}) lie beside the "
                "image, and are left out.",
                DicomWarning,
                stacklevel=6,
            )
        if overlay.frames is not None and table.places["frames"][table.instance_of[rows[0]]] > 1:
            bits = _on_frames(bits, overlay, table.frame_numbers[rows])
    bits = bits.swapaxes(1, 2)
    return (bits[0], ("x", "y")) if len(bits) == 1 and single | (overlay.frames is None) else (
        bits, ("frame", "x", "y")
    )  # fmt: skip


def _on_frames(bits: Bits, overlay: Overlay, numbers: Rows) -> Bits:
    """Return the overlay of each frame of the image (PS3.3 C.9.3.1.1)."""
    result = np.zeros((len(numbers), *bits.shape[1:]), bool)
    for place, number in enumerate(numbers.tolist()):
        frame = number - overlay.first_frame
        if 0 <= frame < len(bits):
            result[place] = bits[frame]
    return result


def _all_bits(table: Table, rows: Rows, pixels: PixelHeader) -> npt.NDArray[Any]:
    """Return the pixels with all allocated bits, (frames, columns, rows)."""
    layouts = [
        replace(
            layout,
            bits_stored=layout.bits_allocated,
            high_bit=layout.bits_allocated - 1,
            pixel_representation=0,
        )
        for layout in pixels.layouts
    ]
    if any(layout.is_float or layout.samples_per_pixel > 1 for layout in layouts):
        raise PixelError("Pixels of this kind cannot hold an overlay, and it has no data.")
    reader = FrameReader(
        index=str(table.store.path),
        identity=table.store.identity,
        root=table.root,
        rows=np.asarray(rows, np.int64),
        files=table.places["file"][table.instance_of[rows]].astype(np.int64),
        frames=(table.frame_numbers[rows] - 1).astype(np.int64),
        kinds=pixels.kinds,
        layouts=layouts,
        scalings=[Scaling()] * len(layouts),
        dtype=layouts[0].dtype,
    )
    return np.asarray(reader)


def _is_swapped(table: Table, row: int, group: int) -> bool:
    """Return whether OverlayData stands in big endian words: as OW, but not as OB."""
    syntax = parse_name("TransferSyntaxUID").value(table, row)
    column = table.column(Key(group << 16 | 0x3000))
    if syntax != BIG_ENDIAN or column is None:
        return False
    return column.kinds[column.kind_of[column.code(int(table.instance_of[row]))]].vr != "OB"


def _labelled(
    name: str, bits: Bits, dims: tuple[str, ...], overlay: Overlay, pixels: PixelHeader | None
) -> xr.DataArray:
    import xarray as xr

    attrs = {
        "group": f"{overlay.group:04x}",
        "type": overlay.kind,
        "label": overlay.label,
        "description": overlay.description,
    }
    coords: dict[str, Any] = {}
    if pixels is not None and bits.shape[-2:] == (len(pixels.x), len(pixels.y)):
        coords = {
            "x": ("x", pixels.x, pixels.axis_attrs("column")),
            "y": ("y", pixels.y, pixels.axis_attrs("row")),
        }
    return xr.DataArray(
        bits, dims=dims, coords=coords, name=name, attrs={k: v for k, v in attrs.items() if v}
    )
