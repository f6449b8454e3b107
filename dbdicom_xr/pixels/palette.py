"""Palettes: stored values that number colours in a table (PS3.3 C.7.6.3.1.5, C.7.9)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import PixelError

__all__ = ["Palette", "expand_segments", "make_palette"]

Entries = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Palette:
    """The colours of stored values.

    Parameters
    ----------
    first : int
        The stored value that the first colour is for. Lower ones take the first colour, those
        beyond the last take the last.
    colours : ndarray of uint8 or uint16, shape (entries, 3)
        Red, green and blue.

    Examples
    --------
    >>> palette = Palette(10, np.array([[255, 0, 0], [0, 255, 0]], np.uint8))
    >>> palette.apply(np.array([[10, 11, 99]]))
    array([[[255,   0,   0],
            [  0, 255,   0],
            [  0, 255,   0]]], dtype=uint8)
    """

    first: int
    colours: npt.NDArray[Any]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        data = np.ascontiguousarray(self.colours)
        object.__setattr__(self, "digest", hashlib.sha256(data.tobytes()).hexdigest()[:16])

    def __repr__(self) -> str:  # dask tells arrays apart by it
        return f"Palette({self.first}, {len(self.colours)} of {self.dtype}, {self.digest})"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the colours."""
        return self.colours.dtype

    def apply(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the colours of stored values: their shape, and a last dimension of three."""
        index = stored.astype(np.int64)
        index -= self.first
        colours: npt.NDArray[Any] = self.colours.take(index, axis=0, mode="clip")
        return colours


def make_palette(
    descriptors: Sequence[Sequence[int]],
    tables: Sequence[bytes],
    *,
    segmented: bool = False,
    big_endian: bool = False,
    signed: bool = False,
) -> Palette:
    r"""Return the palette that a header describes.

    Parameters
    ----------
    descriptors : sequence of (int, int, int)
        Palette Color Lookup Table Descriptor of red, green and blue: the number of entries (0 for
        65536), the first stored value, the bits per entry.
    tables : sequence of bytes
        Their data, as they stand in the file.
    segmented : bool
        Whether these are segments (PS3.3 C.7.9.2).
    big_endian, signed : bool
        Encoding of the file, and whether its stored values are two's complement.

    Raises
    ------
    PixelError
        The tables are damaged, too short, or contradict each other.

    Examples
    --------
    >>> tables = [b"\0\xff", b"\0\x80", b"\0\x00"]
    >>> make_palette([(2, 0, 8)] * 3, tables).colours.tolist()
    [[0, 0, 0], [255, 128, 0]]
    """
    shapes = set()
    columns: list[Entries] = []
    for descriptor, table in zip(descriptors, tables, strict=True):
        try:
            count, first, bits = (int(part) for part in descriptor)
        except (TypeError, ValueError) as error:
            raise PixelError(f"A palette descriptor is {descriptor!r}, not 3 numbers.") from error
        if bits not in (8, 16):
            raise PixelError(f"A palette descriptor has {bits} bits per entry; it is 8 or 16.")
        count = count % (1 << 16) or 1 << 16  # read as signed, it is negative from 32768
        # What is read as US or SS depends on the file; what is meant, on the stored values.
        first = (first + 0x8000) % 0x10000 - 0x8000 if signed else first % 0x10000
        shapes.add((count, first))
        if segmented:
            columns.append(expand_segments(table, count, bits, big_endian=big_endian))
        else:
            columns.append(_entries(table, count, bits, big_endian))
    if len(shapes) > 1:
        raise PixelError("The palettes of red, green and blue do not have the same entries.")
    ((_, first),) = shapes
    return Palette(first, np.stack(columns, axis=-1))


def _entries(table: bytes, count: int, bits: int, big_endian: bool) -> Entries:
    words = np.frombuffer(table, ">u2" if big_endian else "<u2", len(table) // 2)
    if len(words) >= count and (bits == 16 or len(words) == count):
        values = words[:count].astype(np.uint16)
        # Entries of 8 bits may stand in words of their own (PS3.3 C.7.6.3.1.6).
        return values.astype(np.uint8) if bits == 8 and values.max() < 256 else values
    packed = _bytes(table, big_endian)
    if len(packed) < count:
        raise PixelError(
            f"A palette of {count} entries has {len(table)} bytes only: it is damaged."
        )
    return packed[:count]


def _bytes(table: bytes, big_endian: bool) -> npt.NDArray[np.uint8]:
    """Return the entries of 8 bits, two to a word of OW, the lower byte first (PS3.5 8.1.2)."""
    if big_endian and len(table) % 2 == 0:
        return np.frombuffer(table, "u2").byteswap().view(np.uint8)
    return np.frombuffer(table, np.uint8)


def expand_segments(table: bytes, count: int, bits: int, *, big_endian: bool = False) -> Entries:
    """Return the entries of a segmented palette (PS3.3 C.7.9.2).

    Parameters
    ----------
    table : bytes
        Segmented Palette Color Lookup Table Data of one colour.
    count : int
        Number of entries that the descriptor promises.
    bits : int
        8 or 16, per entry and per number of a segment.
    big_endian : bool
        Encoding of the file.

    Returns
    -------
    ndarray of uint8 or uint16, shape (count,)

    Raises
    ------
    PixelError
        The segments are damaged, or give another number of entries.

    Examples
    --------
    A discrete segment of one entry, 0, and a linear one of four entries up to 100:

    >>> expand_segments(bytes([0, 1, 0, 1, 4, 100]), 5, 8)
    array([  0,  25,  50,  75, 100], dtype=uint8)
    """
    order = ">u2" if big_endian else "<u2"
    data = (
        np.frombuffer(table, order, len(table) // 2) if bits == 16 else _bytes(table, big_endian)
    ).tolist()
    entries: list[int] = []
    position = 0
    try:
        # Each segment is longer than the byte that may fill the table up to an even length.
        while position + 1 < len(data) and len(entries) < count:
            if data[position] == _INDIRECT:
                position = _repeat(data, position, entries, bits, count)
            else:
                position = _segment(data, position, entries)
    except IndexError:
        raise PixelError("A segment of the palette is cut off.") from None
    if len(entries) != count:
        raise PixelError(
            f"The segments of the palette give {len(entries)} entries, its descriptor says {count}."
        )
    values: Entries = np.array(entries, np.uint8) if bits == 8 else np.array(entries, np.uint16)
    return values


def _segment(data: list[int], position: int, entries: list[int]) -> int:
    """Add a discrete or linear segment to the entries, and return the place behind it."""
    kind, length = data[position], data[position + 1]
    position += 2
    if kind == _DISCRETE:
        if position + length > len(data):
            raise IndexError
        entries += data[position : position + length]
        return position + length
    if kind != _LINEAR:
        raise PixelError(f"A segment of the palette is of the unknown kind {kind}.")
    if not entries:
        raise PixelError("The first segment of the palette is linear, and begins nowhere.")
    before, end = entries[-1], data[position]
    steps = np.arange(1, length + 1) / max(length, 1)
    entries += np.around(before + (end - before) * steps).astype(int).tolist()
    return position + 1


def _repeat(data: list[int], position: int, entries: list[int], bits: int, count: int) -> int:
    """Add the segments that an indirect one names once more, and return the place behind it."""
    number = data[position + 1]
    if bits == 16:
        low, high = data[position + 2], data[position + 3]
        source, behind = (high << 16 | low) // 2, position + 4  # the offset counts bytes
    else:
        low, high = (data[position + i] | data[position + i + 1] << 8 for i in (2, 4))
        source, behind = high << 16 | low, position + 6
    for _ in range(number):
        if data[source] == _INDIRECT:
            raise PixelError("An indirect segment of the palette leads to another one.")
        source = _segment(data, source, entries)
        if len(entries) > count:
            break
    return behind
