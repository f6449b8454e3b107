"""Overlays: drawings of one bit per pixel beside the image, or in the bits above it (PS3.3 C.9.2).

What the header says of an overlay, and its bits on the grid of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import PixelError

__all__ = [
    "Overlay",
    "embedded_bits",
    "is_overlay_group",
    "place_on_image",
    "read_overlay",
    "unpack",
]

Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Overlay:
    """What the header says of one overlay.

    Parameters
    ----------
    group : int
        0x6000, 0x6002...
    rows, columns : int
        Its size.
    origin : (int, int)
        Row and column of the image, from 1, at which its first pixel lies.
    frames : int or None
        How many frames it has; None where it is one drawing for all frames of the image.
    first_frame : int
        The frame of the image, from 1, that its first frame belongs to.
    bit : int
        The bit of the pixel data that holds it, where it has no data of its own.
    label, description, kind : str
        OverlayLabel, OverlayDescription, OverlayType: G for graphics, R for a region of interest.
    """

    group: int
    rows: int
    columns: int
    origin: tuple[int, int] = (1, 1)
    frames: int | None = None
    first_frame: int = 1
    bit: int = 0
    label: str = ""
    description: str = ""
    kind: str = ""


def is_overlay_group(group: int) -> bool:
    """Return whether elements of a group describe an overlay (PS3.5 7.6).

    Examples
    --------
    >>> is_overlay_group(0x6002), is_overlay_group(0x6001), is_overlay_group(0x7FE0)
    (True, False, False)
    """
    return group & 0xFF01 == 0x6000


def read_overlay(group: int, value: Callable[[int], Any], image: tuple[int, int]) -> Overlay:
    """Return what the header says of an overlay.

    Parameters
    ----------
    group : int
    value : callable
        Gives the value of an element of this group by its number, None where it is absent.
    image : (int, int)
        Rows and columns of the image, which an overlay in its pixels has too.

    Raises
    ------
    PixelError
        The header contradicts itself.

    Examples
    --------
    >>> header = {0x0010: 4, 0x0011: 6, 0x0040: "G", 0x0050: [2, 1]}
    >>> read_overlay(0x6000, header.get, (8, 8))
    Overlay(group=24576, rows=4, columns=6, origin=(2, 1), frames=None, first_frame=1, bit=0, ...)
    """
    embedded = value(0x3000) is None
    numbers = {
        "rows": (0x0010, image[0] if embedded else None),
        "columns": (0x0011, image[1] if embedded else None),
        "frames": (0x0015, None),
        "first_frame": (0x0051, 1),
        "bit": (0x0102, 0),
    }
    found: dict[str, Any] = {}
    for name, (element, default) in numbers.items():
        number = value(element)
        found[name] = default if number is None else number
        least = {"first_frame": 1, "bit": 0}.get(name, 1)
        if name == "frames" and found[name] is None:
            continue
        if not isinstance(found[name], int) or found[name] < least:
            raise PixelError(
                f"({group:04x},{element:04x}) of the overlay is {found[name]!r}, not a number "
                f"from {least}."
            )
    origin = value(0x0050)
    if origin is not None and not (
        isinstance(origin, list) and len(origin) == 2 and all(isinstance(v, int) for v in origin)
    ):
        raise PixelError(
            f"({group:04x},0050) of the overlay is {origin!r}, not a row and a column."
        )
    for name, element in {"label": 0x1500, "description": 0x0022, "kind": 0x0040}.items():
        found[name] = str(value(element) or "")
    return Overlay(
        group,
        origin=(1, 1) if origin is None else (origin[0], origin[1]),
        **found,
    )


def unpack(data: bytes, overlay: Overlay, *, swapped: bool = False) -> Bits:
    """Return the bits of OverlayData.

    Parameters
    ----------
    data : bytes
        Eight pixels to a byte, the first in the lowest bit; frames follow without padding.
    overlay : Overlay
    swapped : bool
        Whether the bytes stand in big endian words.

    Returns
    -------
    ndarray of bool, shape (frames, rows, columns)

    Raises
    ------
    PixelError
        There are too few bytes.

    Examples
    --------
    >>> unpack(bytes([0b001001, 0]), Overlay(0x6000, 2, 3)).astype(int)
    array([[[1, 0, 0],
            [1, 0, 0]]])
    """
    frames = overlay.frames or 1
    count = frames * overlay.rows * overlay.columns
    if 8 * len(data) < count:
        raise PixelError(
            f"The overlay ({overlay.group:04x},3000) ends too early: {frames} frames of "
            f"{overlay.rows} x {overlay.columns} pixels need {-(-count // 8)} bytes, {len(data)} "
            "are there."
        )
    packed = np.frombuffer(data, np.uint8)
    if swapped and len(data) % 2 == 0:
        packed = packed.view("u2").byteswap().view(np.uint8)
    bits = np.unpackbits(packed[: -(-count // 8)], bitorder="little", count=count)
    return bits.reshape(frames, overlay.rows, overlay.columns).astype(bool)


def embedded_bits(stored: npt.NDArray[Any], overlay: Overlay) -> Bits:
    """Return the bits of an overlay that stands in the pixel data (retired: PS3.5-2004 8.1.2).

    Parameters
    ----------
    stored : ndarray of unsigned int
        Pixels with all their allocated bits.
    overlay : Overlay

    Raises
    ------
    PixelError
        The pixels have no such bit.

    Examples
    --------
    >>> embedded_bits(np.array([0x0FFF, 0x1001], np.uint16), Overlay(0x6000, 1, 2, bit=12))
    array([False,  True])
    """
    if stored.dtype.kind != "u" or overlay.bit >= 8 * stored.dtype.itemsize:
        raise PixelError(
            f"The overlay ({overlay.group:04x}) should stand in bit {overlay.bit} of the pixels, "
            f"which are of type {stored.dtype}."
        )
    bits: Bits = (stored >> overlay.bit & 1).astype(bool)
    return bits


def place_on_image(bits: Bits, overlay: Overlay, image: tuple[int, int]) -> tuple[Bits, int]:
    """Return the bits of an overlay where they lie on the image.

    Parameters
    ----------
    bits : ndarray of bool, shape (frames, rows, columns)
        Of the overlay.
    overlay : Overlay
        Gives its origin.
    image : (int, int)
        Rows and columns of the image.

    Returns
    -------
    bits : ndarray of bool, shape (frames, rows, columns)
        With the size of the image; False where there is no overlay.
    outside : int
        Pixels of the drawing that lie beside the image, and are not in the result.

    Examples
    --------
    >>> bits, outside = place_on_image(
    ...     np.ones((1, 2, 2), bool), Overlay(0x6000, 2, 2, (3, 2)), (3, 4)
    ... )
    >>> bits[0].astype(int), outside
    (array([[0, 0, 0, 0],
           [0, 0, 0, 0],
           [0, 1, 1, 0]]), 2)
    """
    result = np.zeros((len(bits), *image), bool)
    targets, sources = [], []
    for start, size, limit in zip(
        (overlay.origin[0] - 1, overlay.origin[1] - 1), bits.shape[1:], image, strict=True
    ):
        first, last = max(start, 0), min(start + size, limit)
        targets.append(slice(first, max(first, last)))
        sources.append(slice(first - start, max(first, last) - start))
    inside = bits[:, sources[0], sources[1]]
    result[:, targets[0], targets[1]] = inside
    return result, int(bits.sum()) - int(inside.sum())
