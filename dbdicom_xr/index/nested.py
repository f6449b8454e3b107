"""Where sequences and items of undefined length end (PS3.5 7.5).

No value is decoded; what stands between the delimiters is stepped over element by element.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from dbdicom_xr.index.elements import LONG_VRS, UNDEFINED, Malformed, Unusual

__all__ = ["ITEM", "SEQUENCE_END", "item", "item_end", "sequence_end"]

ITEM: Final = b"\xfe\xff\x00\xe0"
SEQUENCE_END: Final = b"\xfe\xff\xdd\xe0"
_ITEM_END: Final = b"\xfe\xff\x0d\xe0"
_MAX_DEPTH: Final = 64

_LITTLE_ITEM = Struct("<4sI").unpack_from
_BIG_ITEM = Struct(">HHI").unpack_from
_LENGTHS = {
    False: (Struct("<I").unpack_from, Struct("<H").unpack_from),
    True: (Struct(">I").unpack_from, Struct(">H").unpack_from),
}


def item(data: bytes, position: int, big: bool) -> tuple[bytes, int]:
    """Return tag, as in little endian, and length of the item or delimiter at a position."""
    if big:
        group, element, length = _BIG_ITEM(data, position)
        return group.to_bytes(2, "little") + element.to_bytes(2, "little"), length
    tag, length = _LITTLE_ITEM(data, position)
    return tag, length


def sequence_end(data: bytes, position: int, implicit: bool, big: bool, depth: int = 0) -> int:
    """Return where the sequence of undefined length ends, behind its delimiter.

    Parameters
    ----------
    data : bytes
    position : int
        Of its first item.
    implicit, big : bool
        Encoding of the data set.
    depth : int
        How many sequences it is nested in.

    Raises
    ------
    struct.error
        ``data`` ends before the sequence does.
    Unusual
        It holds something else than items.
    Malformed
        Sequences are nested absurdly deep.
    """
    if depth > _MAX_DEPTH:
        raise Malformed(f"sequences nested deeper than {_MAX_DEPTH}")
    while True:
        tag, length = item(data, position, big)
        position += 8
        if tag == SEQUENCE_END:
            return position
        if tag != ITEM:
            raise Unusual("a sequence holds something else than items")
        if length != UNDEFINED:
            position += length
            continue
        position = item_end(data, position, implicit, big, depth + 1)


def item_end(data: bytes, position: int, implicit: bool, big: bool, depth: int = 1) -> int:
    """Return where the item of undefined length ends, behind its delimiter.

    Parameters and exceptions are those of :func:`sequence_end`; ``position`` is that of the
    item's first element.
    """
    unpack_length, unpack_short = _LENGTHS[big]
    while True:
        tag, length = item(data, position, big)
        if tag == _ITEM_END:
            return position + 8
        vr = data[position + 4 : position + 6]
        # Items of an explicit VR data set may be implicit (PS3.5 6.2.2, VR UN), so each is asked.
        if implicit or not vr.isalpha() or not vr.isupper():
            position += 8
            nested = length == UNDEFINED
            nested_implicit = True
        elif vr in LONG_VRS:
            length = unpack_length(data, position + 8)[0]
            position += 12
            nested = length == UNDEFINED
            nested_implicit = implicit
        else:
            length = unpack_short(data, position + 6)[0]
            position += 8
            nested = nested_implicit = False
        if nested:
            position = sequence_end(data, position, nested_implicit, big, depth)
        else:
            position += length
