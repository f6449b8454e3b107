"""Functional groups of enhanced objects as one column per attribute, a row per frame.

The shared and per-frame groups (PS3.3 C.7.6.16) are flattened: the echo time of frame 7 stands
under ``EffectiveEchoTime``, whichever macro and nested item it was found in, and each group
sequence stands under its own tag too. References, icons and code sequences are kept whole, since
their inner attributes say nothing about the frame itself; of private sequences only private
attributes count, since vendors keep copies of other headers there. What identifies the instance,
and how its pixels lie, is never an attribute of a frame.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

import numpy as np

from dbdicom_xr.index.columns import Column, Key, tidy
from dbdicom_xr.index.elements import LONG_VRS, UNDEFINED, Malformed
from dbdicom_xr.index.nested import item_end, sequence_end
from dbdicom_xr.index.values import Kind, known_vr

__all__ = ["PER_FRAME", "SHARED", "frame_columns"]

SHARED: Final = 0x52009229
PER_FRAME: Final = 0x52009230

_ICON: Final = 0x00880200
_TRANSFORMATION: Final = 0x00289145
_RESCALE: Final = frozenset((0x00281052, 0x00281053, 0x00281054))
_IDENTITY: Final = frozenset(
    (0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00200010, 0x00200011)
)
_LAYOUT: Final = frozenset(
    0x00280000 | element
    for element in (
        0x0002, 0x0003, 0x0004, 0x0006, 0x0008, 0x0010, 0x0011, 0x0014, 0x0034,
        0x0100, 0x0101, 0x0102, 0x0103, 0x1101, 0x1102, 0x1103, 0x1199, 0x1201, 0x1202, 0x1203,
    )
)  # fmt: skip
_OF_THE_INSTANCE: Final = frozenset((0x0002, 0x0010, 0x7FE0))  # groups

Element = tuple[int, str, bytes]  # tag, VR, value


class _Found(NamedTuple):
    """A value, and how deep below its functional group it was found."""

    vr: str
    value: bytes
    depth: int


def frame_columns(
    shared: bytes | None, per_frame: bytes | None, frames: int, kind: Kind
) -> tuple[dict[Key, Column], int | None]:
    """Return the attributes of the frames of one instance, and how many per-frame items there are.

    Parameters
    ----------
    shared, per_frame : bytes or None
        The values of the two functional group sequences.
    frames : int
        Number of frames; frames for which there is no item have the shared attributes only.
    kind : Kind
        Encoding of the data set that holds them.

    Raises
    ------
    Malformed
        The sequences are damaged.
    """
    big = kind.big_endian
    common: dict[Key, _Found] = {}
    if shared:
        for item in _items(shared, kind.implicit, big)[:1]:
            common = _flatten(item, kind.implicit, big)
    items = _items(per_frame, kind.implicit, big) if per_frame else []
    rows = [_flatten(item, kind.implicit, big) for item in items[:frames]]
    result = {}
    for key in dict.fromkeys(key for part in (common, *rows) for key in part):
        vrs: dict[str, int] = {}
        numbers: dict[tuple[int, bytes], int] = {}
        codes = np.full(frames, -1, np.int32)
        if (default := common.get(key)) is not None:
            codes[:] = numbers.setdefault((vrs.setdefault(default.vr, 0), default.value), 0)
        for i, row in enumerate(rows):
            found = row.get(key)
            # What a macro of the shared groups says is not for some deeper attribute to change.
            if found is None or (default is not None and default.depth < found.depth):
                continue
            number = vrs.setdefault(found.vr, len(vrs))
            codes[i] = numbers.setdefault((number, found.value), len(numbers))
        result[key] = tidy(
            key,
            [Kind(vr, kind.implicit, big, kind.charset, kind.signed) for vr in vrs],
            [value for _, value in numbers],
            [number for number, _ in numbers],
            codes,
        )
    return result, None if per_frame is None else len(items)


def _flatten(item: bytes, implicit: bool, big: bool) -> dict[Key, _Found]:
    """Return the attributes of an item and of the single items nested in it, the outermost wins."""
    result: dict[Key, _Found] = {}
    level = [(item, implicit, 0)]  # with the tag of the sequence that holds it
    depth = 0
    while level:
        if depth > 16:
            raise Malformed("functional groups nested deeper than 16")
        inner = []
        for part, is_implicit, parent in level:
            inner += _read_item(part, is_implicit, big, depth, parent, result)
        level = inner
        depth += 1
    return result


def _read_item(
    item: bytes, implicit: bool, big: bool, depth: int, parent: int, result: dict[Key, _Found]
) -> list[tuple[bytes, bool, int]]:
    """Note the attributes of one item, and return the items in which there are more."""
    # Items of a sequence of unknown VR are implicit in an explicit file (PS3.5 6.2.2, note 2).
    implicit = implicit or not (item[4:6].isalpha() and item[4:6].isupper())
    creators: dict[int, str] = {}
    inner = []
    for tag, vr, value in _elements(item, implicit, big):
        group, element = tag >> 16, tag & 0xFFFF
        key = Key(tag)
        if group & 1:
            if 0x10 <= element <= 0xFF:
                creators[group << 8 | element] = value.decode("ascii", "replace").strip(" \0")
            elif creator := creators.get(group << 8 | element >> 8, ""):
                key = Key(group << 16 | element & 0xFF, creator)
        elif not _of_a_frame(tag, depth, parent):
            continue
        # Depths 0 and 1 are one: an attribute stands in a macro, or carelessly beside it.
        result.setdefault(key, _Found(vr, value, max(depth, 1)))
        known = vr or known_vr(key.dictionary_tag, key.creator)
        if known == "SQ" and _describes_frame(tag):
            items = _items(value, implicit, big)
            if len(items) == 1 and not _is_code(items[0], big):
                inner.append((items[0], implicit, tag))
    return inner


def _of_a_frame(tag: int, depth: int, parent: int) -> bool:
    """Return whether a standard attribute, found in the sequence ``parent``, is one of a frame."""
    if parent >> 16 & 1:  # a vendor's copy of some header
        return False
    if tag in _RESCALE:
        return depth == 1 and parent == _TRANSFORMATION
    return tag not in _LAYOUT and tag not in _IDENTITY and tag >> 16 not in _OF_THE_INSTANCE


def _is_code(item: bytes, big: bool) -> bool:
    """Return whether an item is a code (PS3.3 8.8), which begins with its value."""
    tag = int.from_bytes(item[:2], "big" if big else "little") << 16
    tag |= int.from_bytes(item[2:4], "big" if big else "little")
    return tag in (0x00080100, 0x00080119, 0x00080120)


def _describes_frame(tag: int) -> bool:
    from pydicom.datadict import keyword_for_tag

    if tag == _ICON:
        return False
    keyword = keyword_for_tag(tag)
    return not keyword.startswith(("Referenced", "Source", "Derivation", "Purpose"))


def _items(value: bytes, implicit: bool, big: bool) -> list[bytes]:
    """Return the bytes of each item of a sequence."""
    unpack = Struct((">" if big else "<") + "HHI").unpack_from
    items = []
    position, end = 0, len(value)
    while position + 8 <= end:
        group, element, length = unpack(value, position)
        if (group, element) == (0xFFFE, 0xE0DD):
            break
        if (group, element) != (0xFFFE, 0xE000):
            raise Malformed("a functional group sequence holds something else than items")
        position += 8
        if length == UNDEFINED:
            stop = item_end(value, position, implicit, big)
            items.append(value[position : stop - 8])
            position = stop
        else:
            if position + length > end:
                raise Malformed("a functional group item is cut off")
            items.append(value[position : position + length])
            position += length
    return items


def _elements(item: bytes, implicit: bool, big: bool) -> list[Element]:
    """Return tag, VR ("" in implicit VR) and value of each element of an item."""
    order = ">" if big else "<"
    unpack = Struct(order + ("HHI" if implicit else "HH2sH")).unpack_from
    unpack_length = Struct(order + "I").unpack_from
    result: list[Element] = []
    position, end = 0, len(item)
    while position + 8 <= end:
        if implicit:
            group, element, length = unpack(item, position)
            vr = ""
            position += 8
        else:
            group, element, code, length = unpack(item, position)
            position += 8
            if code in LONG_VRS:
                length = unpack_length(item, position)[0]
                position += 4
            if not code.isalpha():
                raise Malformed(f"({group:04x},{element:04x}) in a functional group has no VR")
            vr = code.decode("ascii")
        if length == UNDEFINED:
            stop = sequence_end(item, position, implicit, big, 1)
            result.append((group << 16 | element, vr, item[position : stop - 8]))
            position = stop
        else:
            if position + length > end:
                raise Malformed(f"({group:04x},{element:04x}) in a functional group is cut off")
            result.append((group << 16 | element, vr, item[position : position + length]))
            position += length
    return result
