"""The bytes of DICOM files, from columns of what images say and the pixels of each.

What all images agree in is encoded once, so that a file costs little more than its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from dbdicom_xr.emit.elements import Elements
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.elements import EXPLICIT
from dbdicom_xr.staging import convert
from dbdicom_xr.staging.charsets import UTF8
from dbdicom_xr.staging.encode import Encoded
from dbdicom_xr.staging.spans import EXPLICIT_FORM
from dbdicom_xr.staging.splice import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

__all__ = ["FileMaker", "PixelElements", "element_bytes", "pixel_data_head"]

PixelElements = Mapping[Key, Encoded]
"""What one image says of its pixels, which is known only when they are."""

_Part: TypeAlias = "tuple[int, bytes | Column | Key | tuple[Key, bytes]]"
"""A tag, and what stands there: the same bytes in all files, or a column, or what an image says of
its pixels, or the creator of that."""

_CHARSET: Final = 0x00080005
_CLASS: Final = Key(0x00080016)
_INSTANCE: Final = Key(0x00080018)
_PIXELS: Final = 0x7FE00010
_PREAMBLE: Final = bytes(128) + b"DICM"
_UNDEFINED: Final = b"\xff\xff\xff\xff"


def element_bytes(tag: int, vr: str, value: bytes) -> bytes:
    """Return an element in explicit VR little endian (PS3.5 7.1)."""
    return convert.element(tag, vr, value, EXPLICIT_FORM)


# Rows, BitsStored and their like are the same in most images: 5 us in place of 25 for all of them.
_remembered = lru_cache(maxsize=4096)(element_bytes)


class FileMaker:
    """Makes the bytes of files.

    Parameters
    ----------
    elements : Elements
        What the images say, a row per image, SOPClassUID and SOPInstanceUID included.
    of_pixels : sequence of Key
        What each image says of its own pixels, given with them.
    transfer_syntax : str
        UID; pixels come compressed by it.
    """

    def __init__(
        self, elements: Elements, of_pixels: Sequence[Key] = (), transfer_syntax: str = EXPLICIT
    ) -> None:
        self._instances = elements[_INSTANCE]
        (sop_class,) = elements[_CLASS].values
        assert isinstance(sop_class, bytes)
        self._around = _meta_around(sop_class, transfer_syntax)
        tags, creators = _tags_of([*elements, *of_pixels])
        known = {(key.tag >> 16, key.creator) for key in elements if key.creator}
        own = {(key.tag >> 16, key.creator): key for key in of_pixels if key.creator}
        parts: list[_Part] = []
        for tag, name in creators:
            creator = element_bytes(tag, "LO", _padded(name.encode()))
            place = (tag >> 16, name)
            parts.append((tag, creator if place in known else (own[place], creator)))
        utf8 = not all(name.isascii() for _, name in creators)
        for key, column in elements.items():
            if key.tag == _CHARSET or key in of_pixels or key.tag >> 16 == 2:
                continue
            utf8 = utf8 or any(kind.charset for kind in column.kinds)
            tag = tags[key]
            constant = len(column.values) == 1 and column.codes is None
            parts.append((tag, _encoded(column, 0, tag) if constant else column))
        parts += [(tags[key], key) for key in of_pixels]
        if utf8:
            parts.append((_CHARSET, element_bytes(_CHARSET, "CS", UTF8 + bytes(len(UTF8) % 2))))
        self._parts = _joined(sorted(parts, key=lambda part: part[0]))
        self._tags = tags
        self._values: dict[int, list[bytes]] = {}

    def header(self, image: int, of_pixels: PixelElements) -> bytes:
        """Return all of a file up to its pixels."""
        parts = [self._meta(image)]
        for tag, part in self._parts:
            if isinstance(part, bytes):
                parts.append(part)
            elif isinstance(part, tuple) and not isinstance(part, Key):
                parts += [part[1]] if part[0] in of_pixels else []
            elif isinstance(part, Key):
                given = of_pixels.get(part)
                if given is not None:
                    parts.append(_remembered(tag, given.kind.vr, given.value))
            else:
                code = part.code(image)
                if code >= 0:
                    parts.append(self._of_column(tag, part)[code])
        return b"".join(parts)

    def _of_column(self, tag: int, column: Column) -> list[bytes]:
        found = self._values.get(tag)
        if found is None:
            found = [_encoded(column, code, tag) for code in range(len(column.values))]
            self._values[tag] = found
        return found

    def _meta(self, image: int) -> bytes:
        """Return the preamble and the file meta information (PS3.10 7.1)."""
        uid = self._instances.values[self._instances.code(image)]
        assert isinstance(uid, bytes)
        before, after = self._around
        instance = element_bytes(0x00020003, "UI", _padded(uid, b"\0"))
        length = len(before) + len(instance) + len(after)
        return b"".join(
            (_PREAMBLE, _remembered(0x00020000, "UL", length.to_bytes(4, "little")), before,
             instance, after)
        )  # fmt: skip


def _meta_around(sop_class: bytes, transfer_syntax: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the UID of the instance in the file meta information."""
    version = element_bytes(0x00020001, "OB", b"\0\1")
    program = IMPLEMENTATION_VERSION_NAME.encode("ascii")
    return version + element_bytes(0x00020002, "UI", _padded(sop_class, b"\0")), b"".join(
        [
            element_bytes(0x00020010, "UI", _padded(transfer_syntax.encode("ascii"), b"\0")),
            element_bytes(0x00020012, "UI", _padded(IMPLEMENTATION_CLASS_UID.encode(), b"\0")),
            element_bytes(0x00020013, "SH", _padded(program)),
        ]
    )


def pixel_data_head(length: int | None, vr: str) -> bytes:
    """Return what stands before the value of PixelData; None: compressed, of undefined length."""
    if length is None:
        return element_bytes(_PIXELS, "OB", b"")[:-4] + _UNDEFINED
    if length >= 0xFFFFFFFF:
        raise InvalidValue(
            f"The pixels of one object take {length / 2**30:.1f} GiB, and DICOM holds 4 at most. "
            "Write them in parts, or as one file per image."
        )
    return element_bytes(_PIXELS, vr, b"")[:-4] + length.to_bytes(4, "little")


def _padded(value: bytes, pad: bytes = b" ") -> bytes:
    return value + pad if len(value) % 2 else value


def _encoded(column: Column, code: int, tag: int) -> bytes:
    value = column.values[code]
    assert isinstance(value, bytes)
    return element_bytes(tag, column.kinds[column.kind_of[code]].vr, value)


def _tags_of(keys: Sequence[Key]) -> tuple[dict[Key, int], list[tuple[int, str]]]:
    """Return the tag of each element, and those of the private creators (PS3.5 7.8.1)."""
    tags: dict[Key, int] = {}
    blocks: dict[tuple[int, str], int] = {}
    for key in sorted(set(keys)):
        if not key.creator:
            tags[key] = key.tag
            continue
        group = key.tag >> 16
        used = sum(1 for other, _ in blocks if other == group)
        block = blocks.setdefault((group, key.creator), 0x10 + used)
        tags[key] = group << 16 | block << 8 | key.tag & 0xFF
    return tags, [(group << 16 | block, name) for (group, name), block in blocks.items()]


def _joined(parts: Sequence[_Part]) -> list[_Part]:
    """Return the parts with neighbours joined that are the same in all images."""
    result: list[_Part] = []
    for tag, part in parts:
        if isinstance(part, bytes) and result and isinstance(result[-1][1], bytes):
            result[-1] = (result[-1][0], result[-1][1] + part)
        else:
            result.append((tag, part))
    return result
