"""The elements of one DICOM file, found without decoding any value.

``walk`` steps from element to element of the data set (PS3.5 section 7) over buffered reads and
keeps each value as the raw bytes that stand in the file. It knows explicit and implicit VR, both
byte orders, deflated data sets, nested sequences of defined and undefined length, and the
fragments of encapsulated pixel data. Pixels and values over 64 kB are not read: their place is
recorded. What it does not recognise it leaves to ``fallback``, which asks pydicom.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from struct import Struct, iter_unpack
from struct import error as StructError
from typing import Final

from dbdicom_xr.index.elements import (
    BIG_ENDIAN,
    DEFLATED,
    IMPLICIT,
    LARGE,
    LONG_VRS,
    SHORT_VRS,
    UNDEFINED,
    External,
    Header,
    Malformed,
    PixelPlace,
    Source,
    Unusual,
)
from dbdicom_xr.index.files import Opened, open_for_reading, pread
from dbdicom_xr.index.nested import ITEM, SEQUENCE_END, item, sequence_end
from dbdicom_xr.index.repeats import Piece, Repeats

__all__ = ["Malformed", "header_of", "inflated", "pixel_place", "walk"]

# Deflate shrinks zeros a thousandfold, so that a small file can ask for all memory.
_MAX_INFLATED: Final = 1 << 28
_BUFFER: Final = 16384

_META = Struct("<4s2sH").unpack_from
_PIXEL_ELEMENTS = {b"\xe0\x7f\x08\x00": 0x08, b"\xe0\x7f\x09\x00": 0x09, b"\xe0\x7f\x10\x00": 0x10}
_TRANSFER_SYNTAX_NAME = b"\x02\x00\x10\x00UI"
_NO_TAG: Final = b"\0\0\0\0"
_META_GROUP = b"\x02\x00"


def header_of(path: str | os.PathLike[str]) -> Header:
    """Return the header of the file at ``path``, by the walker alone.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> header = header_of(get_testdata_file("CT_small.dcm"))
    >>> header.value(0x00080060), header.pixels.length
    (b'CT', 32768)
    """
    fd = open_for_reading(path)
    try:
        return walk(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def walk(fd: Opened, size: int, hint: int = _BUFFER, repeats: Repeats | None = None) -> Header:
    """Return the header of an open DICOM file.

    Parameters
    ----------
    fd : int or Bytes
        Descriptor of the file, or the bytes of one that is elsewhere.
    size : int
        Its length in bytes.
    hint : int
        How many bytes to read first; the length of the header of a similar file saves a read.
    repeats : Repeats, optional
        What the files walked before had in common.

    Raises
    ------
    Unusual
        What stands there is not what PS3.5 and PS3.10 describe; pydicom may understand it.
    Malformed
        The file cannot be a DICOM file, or declares more than it may.
    """
    hint = max(hint, 1024)
    data = pread(fd, hint, 0) if isinstance(fd, int) else fd.some(hint, 0, 1024)
    if data[128:132] != b"DICM":
        raise Unusual("no DICM prefix")
    elements: dict[bytes, bytes | External] = {}
    position = _walk_meta(data, size, elements)
    syntax = elements.get(_TRANSFER_SYNTAX_NAME)
    if not isinstance(syntax, bytes):
        raise Unusual("no transfer syntax")
    uid = syntax.decode("ascii", "replace").strip("\0 ")
    header = Header(elements, uid == IMPLICIT, uid == BIG_ENDIAN, uid == DEFLATED, uid)
    if header.deflated:
        source = Source(fd, size, _inflate(pread(fd, size - position, position)))
        _walk_dataset(source, source.read(_BUFFER, 0), 0, header, None)
    else:
        _walk_dataset(Source(fd, size), data, position, header, repeats)
    return header


def _walk_meta(data: bytes, size: int, elements: dict[bytes, bytes | External]) -> int:
    """Walk the file meta information (PS3.10 7.1), and return the place behind it."""
    position = 132
    limit = len(data)
    while True:
        if position + 12 > limit:
            if limit >= size:
                return position
            raise Unusual("file meta information of more than 1 kB")
        tag, vr, length = _META(data, position)
        if tag[:2] != _META_GROUP:
            return position
        start = position + 8
        if vr in LONG_VRS:
            length = int.from_bytes(data[start : start + 4], "little")
            start += 4
        elif vr not in SHORT_VRS:
            raise Unusual("file meta information without VR")
        end = start + length
        if end > limit:
            raise Unusual("a long element in the file meta information")
        elements[data[position : position + 6]] = data[start:end]
        position = end


def inflated(fd: Opened, size: int) -> bytes:
    """Return the data set of a deflated file, in which the offsets of its elements count.

    Raises
    ------
    Malformed
        It is damaged.
    """
    data = pread(fd, size, 0)
    try:
        position = _walk_meta(data, size, {})
    except Unusual as error:
        raise Malformed(str(error)) from None
    return _inflate(data[position:])


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, _MAX_INFLATED)
    except zlib.error as error:
        raise Malformed(f"the deflated data set is damaged: {error}") from None
    if inflater.unconsumed_tail:
        raise Malformed(f"the deflated data set holds more than {_MAX_INFLATED >> 20} MB")
    return inflated


def _walk_dataset(
    source: Source, data: bytes, position: int, header: Header, repeats: Repeats | None
) -> None:
    """Walk the top level from ``position`` in ``data``, the first bytes of the source."""
    elements = header.elements
    implicit, big = header.implicit, header.big_endian
    unpack = Struct((">" if big else "<") + ("4sI" if implicit else "4s2sH")).unpack_from
    unpack_length = Struct(">I" if big else "<I").unpack_from
    size = source.size
    runs = {} if repeats is None else repeats.runs(implicit, big)
    pieces: list[Piece | None] | None = [] if repeats is not None and repeats.learning else None
    if pieces is not None:
        runs = {}
    matched = []
    others = list(elements)
    first = count = len(elements)
    base = 0
    limit = len(data)
    while True:
        if position + 12 > limit and base + limit < size:
            base += position
            header.contiguous = header.contiguous or base
            data = source.some(_BUFFER, base)
            position, limit = 0, len(data)
        if position + 8 > limit:
            if position != limit and data[position:limit].strip(b"\0"):
                raise Unusual(f"{limit - position} stray bytes at the end")
            break
        if runs and (run := runs.get(data[position : position + 4])) is not None:
            if data.startswith(run.raw, position):
                elements.update(run.elements)
                matched.append(run)
                count += len(run.elements)
                position += run.size
                continue
            if repeats is not None and position + run.size <= limit:
                repeats.split(run)
                continue
        if implicit:
            tag, length = unpack(data, position)
            name = tag + b"\0\0"
            start = position + 8
            special = length == UNDEFINED or tag in _PIXEL_ELEMENTS
            if (
                not length
                and tag == _NO_TAG
                and _is_padding(source, base + position, count - first)
            ):
                break
        else:
            tag, vr, length = unpack(data, position)
            start = position + 8
            special = False
            if vr in LONG_VRS:
                if position + 12 > limit:
                    raise Unusual("the file ends inside an element")
                length = unpack_length(data, start)[0]
                start += 4
                special = length == UNDEFINED or tag[1 if big else 0] == 0xE0
            elif vr not in SHORT_VRS:
                if tag == _NO_TAG and _is_padding(source, base + position, count - first):
                    break
                raise Unusual(f"an unknown VR {vr!r}")
            name = data[position : position + 6]
        if big:
            name = tag[1::-1] + tag[3:1:-1] + name[4:]
        end = start + length
        value: bytes | External | None
        if special and (element := _PIXEL_ELEMENTS.get(name[:4])) is not None:
            if length == 0:
                position = end
                continue
            header.contiguous = header.contiguous or base + start
            pixels, place = pixel_place(source, base + start, length, element, header)
            header.pixels = pixels if implicit else pixels._replace(vr=vr.decode("ascii"))
            value, end = None, place - base
        elif length == UNDEFINED and special:
            if not implicit and vr not in (b"SQ", b"UN"):
                raise Unusual(f"an undefined length for VR {vr!r}")
            # Items make it a sequence where the VR does not say so (PS3.5 6.2.2, note 2).
            if name[4:] == b"UN" or (implicit and name[0] & 1):
                name = name[:4] + b"SQ"
            value, place = _undefined_length(source, data, base, start, header)
            end = place - base
        elif end <= limit:
            value = data[start:end]
        elif base + end > size:
            raise Unusual("the file ends inside an element")
        elif length > LARGE and not source.in_memory:
            value = External(base + start, length)
        else:
            value = source.read(length, base + start)
        if value is not None:
            elements[name] = value
            others.append(name)
            count += 1
        if end <= limit:
            if pieces is not None:
                raw = data[position:end]
                pieces.append(Piece(name, raw, value) if isinstance(value, bytes) else None)
            position = end
            continue
        if pieces is not None:
            pieces.append(None)
        header.contiguous = header.contiguous or base + start
        base, position = base + end, 0
        data = source.some(_BUFFER, base)
        limit = len(data)
    if count == len(elements):  # no tag twice, so that what is in a run is what counts
        header.runs, header.others = matched, others
    if repeats is not None:
        repeats.walked(header, pieces)


def _is_padding(source: Source, position: int, count: int) -> bool:
    """Return whether only zeros stand behind some elements: some programs fill up files so."""
    if not count:
        return False
    while data := source.some(_BUFFER, position):
        if data.count(0) < len(data):
            return False
        position += len(data)
    return True


def _undefined_length(
    source: Source, data: bytes, base: int, start: int, header: Header
) -> tuple[bytes | External, int]:
    """Return the value of a sequence of undefined length, and the place behind it.

    It begins at ``start`` of ``data``, which are the bytes of the source from ``base`` on.
    """
    implicit, big = header.implicit, header.big_endian
    try:
        end = sequence_end(data, start, implicit, big)
        return data[start : end - 8], base + end
    except StructError:
        start += base
    count = source.first_look
    while True:
        data = source.read(count, start)
        try:
            end = sequence_end(data, 0, implicit, big)
        except StructError:
            if start + len(data) >= source.size:
                raise Unusual("the file ends inside a sequence") from None
            count *= 4
            continue
        if end - 8 > LARGE and not source.in_memory:
            return External(start, end - 8), start + end
        return data[: end - 8], start + end


def pixel_place(
    source: Source, start: int, length: int, element: int, header: Header
) -> tuple[PixelPlace, int]:
    """Return where the pixels lie, and the place behind them.

    Parameters
    ----------
    source : Source
    start, length : int
        Of the value, as declared.
    element : int
        Element number of the tag.
    header : Header
        Its notes say what is cut off.
    """
    if length != UNDEFINED:
        present = max(0, min(length, source.size - start))
        if present < length:
            header.notes.append(
                f"the pixel data are cut off: {present} of {length} bytes are there"
            )
        return PixelPlace(element, start, length, present, None), start + length
    fragments: list[tuple[int, int]] = []
    position = start
    window = b""
    window_at = 0
    while True:
        at = position - window_at
        if at < 0 or at + 8 > len(window):
            if len(fragments) == 1:
                source.expect(_beginnings(source, fragments[0], position))
            window, window_at, at = source.some(512, position, 8), position, 0
        if len(window) < 8:
            header.notes.append("the encapsulated pixel data are cut off")
            break
        tag, size = item(window, at, header.big_endian)
        position += 8
        if tag == SEQUENCE_END:
            break
        if tag != ITEM or size == UNDEFINED or position + size > source.size:
            header.notes.append(
                f"fragment {len(fragments)} of the pixel data is damaged or cut off"
            )
            position = source.size
            break
        fragments.append((position, size))
        position += size
    return PixelPlace(element, start, -1, 0, tuple(fragments)), position


def _beginnings(source: Source, table: tuple[int, int], position: int) -> Iterable[tuple[int, int]]:
    """Yield where items begin by the basic offset table (PS3.5 A.4), which counts from the first.

    The last is followed by the end of the sequence, which is not looked for here.
    """
    offset, length = table
    for (start,) in iter_unpack("<I", source.read(length - length % 4, offset)):
        yield position + start, 8
