"""Raw sequence bytes as items of elements, and back, byte for byte (PS3.5 7.5).

A sequence is cut into items, an item into elements, without decoding a value. What is changed gets
the length that its new content wants, undefined lengths stay undefined, and all else is put
together again from the bytes that stood there. What an attribute means is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import LONG_VRS, UNDEFINED, Malformed, Unusual
from dbdicom_xr.index.nested import item_end, sequence_end
from dbdicom_xr.index.values import known_vr

if TYPE_CHECKING:
    from dbdicom_xr.staging.encode import Encoded

__all__ = [
    "MAX_DEPTH",
    "Element",
    "Item",
    "edited",
    "element",
    "in_byte_order",
    "inner_items",
    "is_implicit",
    "keys_of",
    "placed",
    "sequence",
    "split_elements",
    "split_items",
    "together",
    "with_content",
    "with_value",
]

MAX_DEPTH: Final = 64
"""How deep sequences may be nested, as for the index."""

_ITEM: Final = (0xFFFE, 0xE000)
_SEQUENCE_END: Final = (0xFFFE, 0xE0DD)
_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0xFF  # that private creators may reserve (PS3.5 7.8.1)
_LONGEST_SHORT: Final = 0xFFFE
# Bytes of one number. AT is a pair of 16-bit numbers (PS3.5 7.3).
_WORDS: Final = {
    "AT": 2, "OW": 2, "SS": 2, "US": 2,
    "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4,
    "FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8,
}  # fmt: skip

_HEADS = {
    (implicit, big): Struct((">" if big else "<") + ("HHI" if implicit else "HH2sH"))
    for implicit in (False, True)
    for big in (False, True)
}
_LONG = {False: Struct("<I"), True: Struct(">I")}
_SHORT = {False: Struct("<H"), True: Struct(">H")}
_TAG = {False: Struct("<HH"), True: Struct(">HH")}


class Item(NamedTuple):
    """An item of a sequence, in three runs of bytes.

    ``head`` holds tag and length; ``end`` is the delimiter, empty where the length is defined.
    """

    head: bytes
    content: bytes
    end: bytes

    @property
    def raw(self) -> bytes:
        """All its bytes."""
        return self.head + self.content + self.end


class Element(NamedTuple):
    """An element, as it stands: ``head`` is tag, VR and length, ``end`` the delimiter, if any."""

    tag: int
    vr: str  # "" in implicit VR
    head: bytes
    value: bytes
    end: bytes

    @property
    def raw(self) -> bytes:
        """All its bytes."""
        return self.head + self.value + self.end


def split_items(value: bytes, implicit: bool, big: bool) -> tuple[list[Item], bytes]:
    r"""Return the items of a sequence, and the bytes behind them that are no item.

    Parameters
    ----------
    value : bytes
        Of the sequence element, without its tag and length.
    implicit, big : bool
        Encoding of the data set.

    Raises
    ------
    Malformed
        It is damaged, or no sequence.

    Examples
    --------
    >>> raw = b"\xfe\xff\x00\xe0\x0c\0\0\0\x18\0\x81\0DS\x04\x004.6 "
    >>> items, rest = split_items(raw, False, False)
    >>> items[0].content
    b'\x18\x00\x81\x00DS\x04\x004.6 '
    """
    unpack = _HEADS[True, big].unpack_from
    items = []
    position, end = 0, len(value)
    while position + 8 <= end:
        group, number, length = unpack(value, position)
        if (group, number) == _SEQUENCE_END:
            break
        if (group, number) != _ITEM:
            raise Malformed("a sequence holds something else than items")
        start = position + 8
        if length == UNDEFINED:
            try:
                stop = item_end(value, start, implicit, big)
            except (StructError, Unusual) as error:
                raise Malformed(f"an item of a sequence is damaged: {error}") from None
            if stop > end:
                raise Malformed("an item of a sequence is cut off")
            items.append(
                Item(value[position:start], value[start : stop - 8], value[stop - 8 : stop])
            )
            position = stop
        else:
            stop = start + length
            if stop > end:
                raise Malformed("an item of a sequence is cut off")
            items.append(Item(value[position:start], value[start:stop], b""))
            position = stop
    return items, value[position:]


def split_elements(content: bytes, implicit: bool, big: bool) -> tuple[list[Element], bytes]:
    """Return the elements of an item, and the bytes behind them that are no element.

    Parameters and exceptions are those of :func:`split_items`; whether an item is implicit is told
    by :func:`is_implicit`.
    """
    unpack = _HEADS[implicit, big].unpack_from
    unpack_length = _LONG[big].unpack_from
    result = []
    position, end = 0, len(content)
    try:
        while position + 8 <= end:
            start = position + 8
            if implicit:
                group, number, length = unpack(content, position)
                vr = ""
            else:
                group, number, code, length = unpack(content, position)
                if code in LONG_VRS:
                    length = unpack_length(content, start)[0]
                    start += 4
                if not code.isalpha():
                    raise Malformed(f"({group:04x},{number:04x}) in a sequence has no VR")
                vr = code.decode("ascii")
            tail = 0
            if length == UNDEFINED:
                stop = sequence_end(content, start, implicit, big, 1)
                tail = 8
            else:
                stop = start + length
            if stop > end:
                raise Malformed(f"({group:04x},{number:04x}) in a sequence is cut off")
            result.append(
                Element(
                    group << 16 | number,
                    vr,
                    content[position:start],
                    content[start : stop - tail],
                    content[stop - tail : stop],
                )
            )
            position = stop
    except (StructError, Unusual) as error:
        raise Malformed(f"an item of a sequence is damaged: {error}") from None
    return result, content[position:]


def is_implicit(content: bytes, implicit: bool) -> bool:
    """Return whether the elements of an item are in implicit VR.

    Items of a sequence of unknown VR are, in an explicit VR data set too (PS3.5 6.2.2, note 2).
    """
    return implicit or (bool(content) and not (content[4:6].isalpha() and content[4:6].isupper()))


def keys_of(elements: Sequence[Element]) -> list[Key]:
    """Return the names of the elements of one item, private ones by the creator of their block."""
    creators: dict[int, str] = {}
    keys = []
    for tag, _, _, value, _ in elements:
        key = Key(tag)
        if tag & 0x10000:
            group, number = tag >> 16, tag & 0xFFFF
            if _FIRST_BLOCK <= number <= _LAST_BLOCK:
                creators[group << 8 | number] = value.decode("ascii", "replace").strip(" \0")
            elif creator := creators.get(group << 8 | number >> 8, ""):
                key = Key(group << 16 | number & 0xFF, creator)
        keys.append(key)
    return keys


def inner_items(part: Element, key: Key, implicit: bool, big: bool) -> list[Item] | None:
    """Return the items of an element if it is a sequence, else None.

    What has no VR, or VR UN, is a sequence by its name in the dictionaries, or where its length is
    undefined (PS3.5 6.2.2, note 2).
    """
    known = part.vr if part.vr not in ("", "UN") else known_vr(key.dictionary_tag, key.creator)
    if known != "SQ" and not (part.end and known in ("", "UN")):
        return None
    try:
        return split_items(part.value, implicit, big)[0]
    except Malformed:
        if part.vr == "UN" and not part.end:  # by its name only; nothing says how it is encoded
            return None
        raise


def with_value(part: Element, value: bytes, big: bool) -> Element:
    """Return an element with another value, and the length that belongs to it.

    Raises
    ------
    InvalidValue
        The VR has 16 bits of length, and the value is longer.
    """
    if part.end:
        return part._replace(value=value)
    if not part.vr or part.vr.encode("ascii") in LONG_VRS:
        head = part.head[:-4] + _LONG[big].pack(len(value))
    else:
        _check_length(part.tag, part.vr, value)
        head = part.head[:-2] + _SHORT[big].pack(len(value))
    return part._replace(head=head, value=value)


def with_content(item: Item, content: bytes, big: bool) -> Item:
    """Return an item with other elements, and the length that belongs to it."""
    if item.end:
        return item._replace(content=content)
    return Item(item.head[:4] + _LONG[big].pack(len(content)), content, b"")


def element(tag: int, vr: str, value: bytes, implicit: bool, big: bool) -> Element:
    """Return an element of defined length; the value is in the byte order that it will have."""
    head = _TAG[big].pack(tag >> 16, tag & 0xFFFF)
    if implicit:
        return Element(tag, "", head + _LONG[big].pack(len(value)), value, b"")
    head += vr.encode("ascii")
    if vr.encode("ascii") in LONG_VRS:
        return Element(tag, vr, head + b"\0\0" + _LONG[big].pack(len(value)), value, b"")
    _check_length(tag, vr, value)
    return Element(tag, vr, head + _SHORT[big].pack(len(value)), value, b"")


def _check_length(tag: int, vr: str, value: bytes) -> None:
    if len(value) > _LONGEST_SHORT:
        raise InvalidValue(
            f"({tag >> 16:04x},{tag & 0xFFFF:04x}) would be {len(value)} bytes long; its VR {vr} "
            f"has room for {_LONGEST_SHORT} (PS3.5 7.1.2)."
        )


def sequence(contents: Sequence[bytes], big: bool) -> bytes:
    """Return the value of a sequence with these items, of defined length."""
    head = _TAG[big].pack(*_ITEM)
    return b"".join([head + _LONG[big].pack(len(part)) + part for part in contents])


def together(parts: Sequence[Item] | Sequence[Element], rest: bytes = b"") -> bytes:
    """Return items or elements as bytes again, with what was behind them."""
    return b"".join([part.raw for part in parts]) + rest


def in_byte_order(vr: str, value: bytes, big: bool) -> bytes:
    r"""Return a simple value of little endian in another byte order.

    Examples
    --------
    >>> in_byte_order("US", b"\x01\x00", True)
    b'\x00\x01'
    """
    size = _WORDS.get(vr)
    if not big or size is None or len(value) % size:
        return value
    return np.frombuffer(value, f"<u{size}").astype(f">u{size}").tobytes()


def _value_of(encoded: Encoded, implicit: bool, big: bool) -> bytes:
    """Return a value in the encoding of the item that is to hold it."""
    if encoded.kind.vr == "SQ":
        return _recoded(encoded.value, implicit, big, 0)
    return in_byte_order(encoded.kind.vr, encoded.value, big)


def _recoded(value: bytes, implicit: bool, big: bool, depth: int) -> bytes:
    """Return the value of a sequence of explicit VR little endian in another encoding."""
    if not implicit and not big:
        return value
    if depth > MAX_DEPTH:
        raise Malformed(f"sequences nested deeper than {MAX_DEPTH}")
    contents = []
    for item in split_items(value, False, False)[0]:
        parts = []
        for part in split_elements(item.content, False, False)[0]:
            if part.vr == "SQ":
                inner = _recoded(part.value, implicit, big, depth + 1)
            else:
                inner = in_byte_order(part.vr, part.value, big)
            parts.append(element(part.tag, part.vr, inner, implicit, big))
        contents.append(together(parts))
    return sequence(contents, big)


def placed(
    content: bytes,
    key: Key,
    implicit: bool,
    big: bool,
    make: Callable[[int, Element | None], Element | None],
) -> bytes:
    """Return the elements of an item with one put in place of those of this name.

    Parameters
    ----------
    content : bytes
        Of the item.
    key : Key
        For a private one whose creator has no block in this item, a free block is taken.
    implicit, big : bool
        Encoding of this item.
    make : callable
        Gets the tag in this item and the element that is there, if any, and returns the new one;
        None deletes.

    Raises
    ------
    InvalidValue
        All private blocks of the group are taken.
    Malformed
        The item is damaged.
    """
    elements, rest = split_elements(content, implicit, big)
    keys = keys_of(elements)
    if key in keys:
        first = keys.index(key)
        new = make(elements[first].tag, elements[first])
        if new is None:
            elements = [part for part, name in zip(elements, keys, strict=True) if name != key]
        else:
            elements[first] = new
        return together(elements, rest)
    tag = _reserve(elements, key, implicit, big) if key.creator else key.tag
    if (new := make(tag, None)) is None:
        return content
    _insert(elements, new)
    return together(elements, rest)


def _reserve(elements: list[Element], key: Key, implicit: bool, big: bool) -> int:
    """Return the tag that a private element has in an item, with the block of its creator."""
    group = key.tag >> 16
    taken = {
        part.tag & 0xFFFF: part.value.decode("ascii", "replace").strip(" \0")
        for part in elements
        if part.tag >> 16 == group and _FIRST_BLOCK <= part.tag & 0xFFFF <= _LAST_BLOCK
    }
    # A block that holds elements is not free, though nobody reserved it.
    used = {(part.tag & 0xFFFF) >> 8 for part in elements if part.tag >> 16 == group}
    block = next((number for number, creator in taken.items() if creator == key.creator), 0)
    if not block:
        numbers = range(_FIRST_BLOCK, _LAST_BLOCK + 1)
        block = next((number for number in numbers if number not in used | taken.keys()), 0)
        if not block:
            raise InvalidValue(f"{key} has no place: all private blocks of its group are taken.")
        name = key.creator.encode("ascii", "replace")
        name += b" " * (len(name) % 2)
        _insert(elements, element(group << 16 | block, "LO", name, implicit, big))
    return group << 16 | block << 8 | key.tag & 0xFF


def _insert(elements: list[Element], new: Element) -> None:
    """Put an element before the first of a greater tag."""
    at = next((i for i, part in enumerate(elements) if part.tag > new.tag), len(elements))
    elements.insert(at, new)


def edited(
    content: bytes, path: Sequence[Key], new: Encoded | None, implicit: bool, big: bool
) -> bytes:
    r"""Return the elements of an item with one of them replaced, inserted or deleted.

    Parameters
    ----------
    content : bytes
        Of the item.
    path : sequence of Key
        The sequences that lead to the element, each of one item, and the element itself. Sequences
        that are missing are made.
    new : Encoded or None
        None deletes.
    implicit, big : bool
        Encoding of the data set.

    Raises
    ------
    InvalidValue
        A sequence on the path has several items, so that it is not clear which one is meant.
    Malformed
        The item is damaged.

    Examples
    --------
    >>> content = b"\x18\0\x81\0DS\x04\x004.6 \x18\0\x14\x13DS\x02\x0015"
    >>> edited(content, [Key(0x00180081)], None, False, False)
    b'\x18\x00\x14\x13DS\x02\x0015'
    """
    key, inner_path = path[0], path[1:]
    implicit = is_implicit(content, implicit)

    def make(tag: int, old: Element | None) -> Element | None:
        if not inner_path:
            if new is None:
                return None
            vr = new.kind.vr or "UN"
            return element(tag, vr, _value_of(new, implicit, big), implicit, big)
        items, rest = ([], b"") if old is None else split_items(old.value, implicit, big)
        if len(items) > 1:
            raise InvalidValue(
                f"{key} has {len(items)} items; which of them is meant is not clear."
            )
        if not items and new is None:
            return old
        inner = edited(items[0].content if items else b"", inner_path, new, implicit, big)
        if items:
            value = together([with_content(items[0], inner, big)], rest)
        else:
            value = sequence([inner], big) + rest
        if old is None:
            return element(tag, "SQ", value, implicit, big)
        return with_value(old, value, big)

    return placed(content, key, implicit, big, make)
