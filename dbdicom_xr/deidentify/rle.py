"""A frame in RLE without text beside the image (PS3.5 annex G)."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Final

__all__ = ["clear_rle"]

_HEADER: Final = 64
_MOST: Final = 15
_NOTHING: Final = b"\x80"  # a byte that stands for no pixel: PS3.5 G.3.2


def clear_rle(stream: bytearray, pixels: int) -> bool:
    r"""Overwrite what a frame holds beside its pixels, in place; False where that cannot be told.

    Parameters
    ----------
    stream : bytearray
        The frame, with its header.
    pixels : int
        How many bytes each segment becomes, which is one for each pixel, or for 8 of one bit.

    Examples
    --------
    >>> frame = bytearray(struct.pack("<16I", 1, 64, *[7] * 14) + b"\xfd\x05text")
    >>> clear_rle(frame, 4)
    True
    >>> bytes(frame[64:]), any(frame[8:64])
    (b'\xfd\x05\x80\x80\x80\x80', False)
    """
    count, *offsets = struct.unpack_from("<16I", stream)
    places = [*offsets[:count], len(stream)]
    if not 1 <= count <= _MOST or places[0] < _HEADER or places != sorted(set(places)):
        return False
    ends = [_end(stream, *segment, pixels) for segment in pairwise(places)]
    if None in ends:
        return False
    stream[4 + 4 * count : _HEADER] = bytes(_HEADER - 4 - 4 * count)
    for begin, end in zip([_HEADER, *ends], places, strict=True):
        assert begin is not None
        if any(stream[begin:end]):  # zeros pad a segment to an even length
            stream[begin:end] = _NOTHING * (end - begin)
    return True


def _end(stream: bytearray, place: int, stop: int, pixels: int) -> int | None:
    """Return where a segment has told all of its pixels; None where it does not."""
    found = 0
    while found < pixels:
        if place >= stop:
            return None
        code = stream[place]
        if code < 0x80:
            place += code + 2
            found += code + 1
        elif code > 0x80:
            place += 2
            found += 257 - code
        else:
            place += 1
    return place if place <= stop and found == pixels else None
