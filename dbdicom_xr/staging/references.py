"""References inside sequences follow the objects that are copied or moved.

A copy has a new UID, and what pointed to the original inside the copied objects is to point to the
copy: :func:`replace_uids`. A moved object keeps its UID, but stands in another series or study,
which references repeat: :func:`replace_hierarchy`. All other bytes stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import Malformed
from dbdicom_xr.index.values import Kind, instance_uid, known_vr
from dbdicom_xr.staging.items import (
    MAX_DEPTH,
    Element,
    Item,
    inner_items,
    is_implicit,
    keys_of,
    split_elements,
    split_items,
    together,
    with_content,
    with_value,
)

__all__ = ["replace_hierarchy", "replace_uids"]

_STUDY: Final = 0x0020000D
_SERIES: Final = 0x0020000E
_INSTANCE: Final = 0x00081155
_RT_STUDIES: Final = 0x30060012
# ReferencedSOPSequence, ReferencedInstanceSequence, ReferencedImageSequence, ContourImageSequence
_INSTANCES: Final = frozenset((0x00081199, 0x0008114A, 0x00081140, 0x30060016))

# In implicit VR a length below 64 kB ends in zeros, and text that follows is what it counts.
_LENGTH_AND_TEXT = re.compile("\0\0(?=[ -~])")
_LONG: Final = 0x10000

Place = tuple[str, str]  # StudyInstanceUID, SeriesInstanceUID


def replace_uids(value: bytes, kind: Kind, mapping: Mapping[str, str]) -> bytes | None:
    r"""Return a sequence in which UIDs are replaced by others, None if none of them occurs.

    Parameters
    ----------
    value : bytes
        Of the sequence element, without its tag and length.
    kind : Kind
        Encoding of the data set.
    mapping : mapping of str to str
        New UIDs by old ones.

    Raises
    ------
    Malformed
        The sequence is damaged.

    Examples
    --------
    >>> raw = b"\xfe\xff\x00\xe0\x0c\0\0\0\x08\0\x55\x11UI\x04\x001.2\0"
    >>> replace_uids(raw, Kind("SQ"), {"1.2": "1.2.3"})[-10:]
    b'UI\x06\x001.2.3\x00'
    >>> replace_uids(raw, Kind("SQ"), {"1.3": "1.2.3"}) is None
    True
    """
    if not mapping or not _may_hold(value, kind, mapping):
        return None
    new = _with_uids(value, kind.implicit, kind.big_endian, mapping, 0)
    return None if new == value else new


def _may_hold(value: bytes, kind: Kind, mapping: Mapping[str, str]) -> bool:
    """Return whether a UID of the mapping could be in the sequence, without parsing it.

    A value with one reference takes 2 us so (3 in implicit VR), and 20 to be parsed.
    """
    explicit = not kind.implicit and value[12:14].isalpha()
    unknown = not explicit or b"UN" in value  # there may be elements without VR
    if unknown and (kind.big_endian or len(value) >= _LONG):
        return True
    text = value.decode("latin-1")
    several = "\\" in text
    if explicit:
        low, high = (3, 2) if kind.big_endian else (2, 3)
        last = len(text) - 2
        at = text.find("UI", 0, last)
        while at >= 0:
            end = at + 4 + value[at + low] + (value[at + high] << 8)
            if _known(text[at + 4 : end], several, mapping):
                return True
            at = text.find("UI", at + 2, last)
    if unknown:
        for found in _LENGTH_AND_TEXT.finditer(text, 8):
            start = found.end()
            end = start + value[start - 4] + (value[start - 3] << 8)
            if _known(text[start:end], several, mapping):
                return True
    return False


def _known(text: str, several: bool, mapping: Mapping[str, str]) -> bool:
    """Return whether a value has a UID that is to be replaced."""
    if several and "\\" in text:
        return any(part.strip("\0 ") in mapping for part in text.split("\\"))
    return text.strip("\0 ") in mapping


def _with_uids(
    value: bytes, implicit: bool, big: bool, mapping: Mapping[str, str], depth: int
) -> bytes:
    """Return the value of a sequence with UIDs replaced on all levels."""
    _check(depth)
    items, rest = split_items(value, implicit, big)
    for i, item in enumerate(items):
        inside = is_implicit(item.content, implicit)
        elements, behind = split_elements(item.content, inside, big)
        for j, (part, key) in enumerate(zip(elements, keys_of(elements), strict=True)):
            if _is_uid(part, key):
                new = _replaced(part.value, mapping)
            elif inner_items(part, key, inside, big) is not None:
                new = _with_uids(part.value, inside, big, mapping, depth + 1)
            else:
                continue
            elements[j] = _with_new(part, new, big)
        items[i] = with_content(item, together(elements, behind), big)
    return together(items, rest)


def _check(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Malformed(f"sequences nested deeper than {MAX_DEPTH}")


def _is_uid(part: Element, key: Key) -> bool:
    vr = part.vr if part.vr not in ("", "UN") else known_vr(key.dictionary_tag, key.creator)
    return vr == "UI"


def _replaced(value: bytes, mapping: Mapping[str, str]) -> bytes:
    """Return the value of a UID element with those of its UIDs replaced that have a new one."""
    uids = [instance_uid(part) for part in value.split(b"\\")]
    if not any(uid in mapping for uid in uids):
        return value
    parts = [
        mapping[uid].encode("ascii") if uid in mapping else part.strip(b"\0 ")
        for uid, part in zip(uids, value.split(b"\\"), strict=True)
    ]
    return _even(b"\\".join(parts))


def _even(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


def _with_new(part: Element, value: bytes, big: bool) -> Element:
    return part if value == part.value else with_value(part, value, big)


# -- series and studies --------------------------------------------------------------------


def replace_hierarchy(value: bytes, kind: Kind, placed: Mapping[str, Place]) -> bytes | None:
    """Return a sequence in which references name the series and studies where objects stand now.

    An item that names a series, and instances of it, gets the series in which these stand; where
    they stand in several, there is one such item for each, in the order of the instances. The same
    holds for an item that names a study, and series of it. Items with an instance whose place is
    not known stay as they are.

    Parameters
    ----------
    value : bytes
        Of the sequence element, without its tag and length.
    kind : Kind
        Encoding of the data set.
    placed : mapping of str to (str, str)
        By SOPInstanceUID, the StudyInstanceUID and the SeriesInstanceUID.

    Returns
    -------
    bytes or None
        None if nothing changed.

    Raises
    ------
    Malformed
        The sequence is damaged.

    Notes
    -----
    The references are those of images and presentation states (PS3.3 C.12.1.1.9, C.11.11), of
    evidence in reports (C.17.2.1), and of structure sets (C.8.8.5).
    """
    group, number = (b"\0\x20", b"\0\x0e") if kind.big_endian else (b"\x20\0", b"\x0e\0")
    if not placed or group + number not in value:
        return None
    pieces, rest = _placed_items(0, value, kind.implicit, kind.big_endian, placed, 0)
    new = together([piece.item for piece in pieces], rest)
    return None if new == value else new


class _Piece(NamedTuple):
    """An item that is done, and where the instances stand that it refers to."""

    item: Item
    refers: bool = False
    place: Place | None = None  # None: not known


def _placed_items(
    tag: int, value: bytes, implicit: bool, big: bool, placed: Mapping[str, Place], depth: int
) -> tuple[list[_Piece], bytes]:
    """Return the items of the sequence ``tag``, corrected and split, and what is behind them."""
    _check(depth)
    items, rest = split_items(value, implicit, big)
    pieces: list[_Piece] = []
    for item in items:
        pieces += _placed_item(tag, item, implicit, big, placed, depth)
    return pieces, rest


def _placed_item(
    parent: int, item: Item, implicit: bool, big: bool, placed: Mapping[str, Place], depth: int
) -> list[_Piece]:
    """Return what one item of the sequence ``parent`` becomes."""
    implicit = is_implicit(item.content, implicit)
    elements, rest = split_elements(item.content, implicit, big)
    inner: dict[int, tuple[list[_Piece], bytes]] = {}
    for i, (part, key) in enumerate(zip(elements, keys_of(elements), strict=True)):
        if inner_items(part, key, implicit, big) is not None:
            pieces, behind = _placed_items(part.tag, part.value, implicit, big, placed, depth + 1)
            inner[i] = pieces, behind
            new = together([piece.item for piece in pieces], behind)
            elements[i] = _with_new(part, new, big)
    values = {part.tag: part.value for part in elements}
    done = with_content(item, together(elements, rest), big)
    if parent in _INSTANCES:
        uid = values.get(_INSTANCE)
        return [_Piece(done) if uid is None else _Piece(done, True, placed.get(instance_uid(uid)))]
    names, below = {}, inner
    level = 1  # how much of a place tells the items apart
    if _SERIES in values:
        level = 2
        names = {_STUDY: 0, _SERIES: 1}
        below = {i: part for i, part in inner.items() if elements[i].tag in _INSTANCES}
    elif (study := _INSTANCE if parent == _RT_STUDIES else _STUDY) in values:
        names = {study: 0}
    found = [piece.place for pieces, _ in below.values() for piece in pieces if piece.refers]
    if not names or not found:
        return [_Piece(done)]
    places = [place for place in found if place is not None]
    if len(places) < len(found):
        return [_Piece(done, True)]
    result = []
    for group in dict.fromkeys(place[:level] for place in places):
        own = []
        for i, part in enumerate(elements):
            if i in below:
                pieces, behind = below[i]
                kept = [p.item for p in pieces if p.place is None or p.place[:level] == group]
                if pieces and not kept:
                    continue
                own.append(_with_new(part, together(kept, behind), big))
            elif part.tag in names:
                own.append(_with_new(part, _even(group[names[part.tag]].encode("ascii")), big))
            else:
                own.append(part)
        place = (group[0], group[-1])
        result.append(_Piece(with_content(item, together(own, rest), big), True, place))
    return result
