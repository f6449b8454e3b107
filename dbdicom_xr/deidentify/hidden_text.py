"""Text in the pixel data that no image shows: comments in codestreams, bytes behind the last frame.

It is overwritten in place, and the images stay as they are.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from dbdicom_xr.deidentify.pixels import UNCOMPRESSED
from dbdicom_xr.deidentify.rle import clear_rle

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["clear_hidden_text"]

_RLE, _DEFLATE = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"
_ONE_FRAGMENT: Final = frozenset((_RLE, _DEFLATE))  # for each frame: PS3.5 A.4.2, A.4.13
_NATIVE: Final = {"PixelData": None, "FloatPixelData": 32, "DoubleFloatPixelData": 64}
_ITEM: Final = b"\xfe\xff\x00\xe0"
_END: Final = b"\xfe\xff\xdd\xe0"
_JPEG, _JPEG_2000 = b"\xff\xd8\xff", b"\xff\x4f\xff"
# Neither stuffing nor restarts; also right for JPEG-LS, where a bit is stuffed after FF.
_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
# Without these a decoder takes other colours: JFIF, Adobe; HP's transform in JPEG-LS, SPIFF.
# With how many bytes of them: ISO/IEC 10918-5 10.1, 10918-6 6.5.3, 10918-3 F.2.1.
_NEEDED: Final[dict[int, dict[bytes, int]]] = {
    0xE0: {b"JFIF\0": 14}, 0xE8: {b"mrfx": 5, b"SPIFF\0": 30}, 0xEE: {b"Adobe": 12},
}  # fmt: skip


def clear_hidden_text(dataset: Dataset) -> str | None:
    """Overwrite text in the pixel data that no image shows.

    Parameters
    ----------
    dataset : Dataset
        With its file meta information; changed in place.

    Returns
    -------
    str or None
        Why some may be left; None where none is.

    Notes
    -----
    Cleared are comments and application data of JPEG (ISO/IEC 10918-1 B.2.4), but for those that
    tell of colours, and what stands between the segments; comments of JPEG 2000 (ISO/IEC 15444-1
    A.9.2); what stands behind the segments of RLE (PS3.5 annex G); tables of offsets that hold
    anything else; and what stands behind the last frame.
    """
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", "")
    if not syntax or syntax in UNCOMPRESSED:
        return _clear_behind(dataset)
    if "PixelData" not in dataset:
        return None
    element = dataset["PixelData"]
    if not isinstance(element.value, bytes) or not element.value:
        return None
    try:
        new, why = _clear_frames(dataset, element.value, str(syntax))
    except (AttributeError, TypeError, ValueError):
        return "what of the pixel data is image cannot be told"
    if new != element.value:
        element.value = new
    return why


def _clear_behind(dataset: Dataset) -> str | None:
    """Write zeros behind the last frame."""
    for keyword, bits in _NATIVE.items():
        value = dataset[keyword].value if keyword in dataset else None
        if not isinstance(value, bytes):
            continue
        try:
            size = math.prod((
                int(dataset.Rows), int(dataset.Columns), int(dataset.get("NumberOfFrames") or 1),
                bits or int(dataset.BitsAllocated), int(dataset.get("SamplesPerPixel") or 1),
            ))  # fmt: skip
        except (AttributeError, TypeError, ValueError):
            return "what of the pixel data is image cannot be told"
        if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
            size = size * 2 // 3  # two pixels share their colour (PS3.3 C.7.6.3.1.2)
        size = (size + 7) // 8
        if any(value[size:]):
            dataset[keyword].value = value[:size] + bytes(len(value) - size)
    return None


def _clear_frames(dataset: Dataset, value: bytes, syntax: str) -> tuple[bytes, str | None]:
    """Return encapsulated pixel data without text (PS3.5 A.4), and why some may be left."""
    data = bytearray(value)
    fragments: list[tuple[int, int]] = []
    place = 0
    while value[place : place + 4] == _ITEM and place + 8 <= len(value):
        (length,) = struct.unpack_from("<I", value, place + 4)
        fragments.append((place + 8, min(place + 8 + length, len(value))))
        place += 8 + length
    if value[place : place + 4] not in (b"", _END) or not fragments:
        return value, "its frames cannot be told apart"
    data[place + 4 :] = bytes(len(data[place + 4 :]))
    of_one = syntax in _ONE_FRAGMENT
    frames: list[list[tuple[int, int]]] = []
    for begin, end in fragments[1:]:  # the first is the table of offsets
        if not frames or of_one or value.startswith((_JPEG, _JPEG_2000), begin):
            frames.append([])
        frames[-1].append((begin, end))
    count = max(1, int(dataset.get("NumberOfFrames") or 1))
    whole = len(frames) >= count
    for frame in frames[:count]:
        stream = bytearray().join(data[begin:end] for begin, end in frame)
        try:
            whole &= _clear_stream(stream, dataset, syntax)
        except (struct.error, IndexError, zlib.error):  # it ends too early
            whole = False
        at = 0
        for begin, end in frame:
            data[begin:end] = stream[at : at + end - begin]
            at += end - begin
    if whole and count < len(frames):  # no program shows the others
        stop = frames[count][0][0] - 8
        del data[stop:place]
        fragments = [one for one in fragments if one[0] < stop]
    _clear_offsets(dataset, data, fragments)
    return bytes(data), None if whole else "it is compressed in a way that is not looked through"


def _clear_stream(stream: bytearray, dataset: Dataset, syntax: str) -> bool:
    """Clear a frame; False where it cannot be looked through."""
    if syntax == _RLE:
        pixels = int(dataset.Rows) * int(dataset.Columns)
        return clear_rle(stream, (pixels + 7) // 8 if dataset.BitsAllocated == 1 else pixels)
    if syntax == _DEFLATE:
        return _clear_deflated(stream)
    return (_clear_jpeg if stream.startswith(_JPEG[:2]) else _clear_jpeg_2000)(stream)


def _clear_offsets(dataset: Dataset, data: bytearray, fragments: list[tuple[int, int]]) -> None:
    """Take out tables that hold anything else than offsets (PS3.5 A.4, PS3.3 C.7.6.3.1.8)."""
    starts = {begin - fragments[1][0] for begin, _ in fragments[1:]}
    lengths = "ExtendedOffsetTableLengths"
    table = dataset.get("ExtendedOffsetTable")
    if table is not None:
        size = dataset.get(lengths)
        most = sum(end - begin for begin, end in fragments)
        if not _all_in(table, 8, starts) or not _all_in(size, 8, range(most + 1)):
            del dataset["ExtendedOffsetTable"]
    if lengths in dataset and "ExtendedOffsetTable" not in dataset:
        del dataset[lengths]
    begin, end = fragments[0]
    if not _all_in(bytes(data[begin:end]), 4, {start & 0xFFFFFFFF for start in starts}):
        data[begin - 4 : end] = bytes(4)


def _all_in(table: object, size: int, allowed: Collection[int]) -> bool:
    """Return whether a table holds numbers of so many bytes that are all allowed."""
    if not isinstance(table, bytes) or len(table) % size:
        return False
    numbers = struct.unpack(f"<{len(table) // size}{'I' if size == 4 else 'Q'}", table)
    return all(number in allowed for number in numbers)


def _clear_deflated(stream: bytearray) -> bool:
    """Clear what stands behind a deflated frame; False where its end is not found."""
    reader = zlib.decompressobj(-zlib.MAX_WBITS)
    reader.decompress(stream)
    if not reader.eof:
        return False
    left = len(reader.unused_data)
    stream[len(stream) - left :] = bytes(left)
    return True


def _clear_jpeg(stream: bytearray) -> bool:
    """Clear a codestream of JPEG or JPEG-LS; False where its end is not found."""
    place, in_scan = 2, False
    while True:
        match = _MARKER.search(stream, place)
        if match is None:
            return False
        if not in_scan:  # fill bytes may stand before a marker: ISO/IEC 10918-1 B.1.1.2
            stream[place : match.start()] = b"\xff" * (match.start() - place)
        marker, place = stream[match.end() - 1], match.end()
        if marker == 0xD9:
            stream[place:] = bytes(len(stream) - place)
            return True
        (length,) = struct.unpack_from(">H", stream, place)
        begin, place = place + 2, place + length
        if length < 2 or place > len(stream):
            return False
        in_scan = marker == 0xDA
        if marker == 0xFE or 0xE0 <= marker <= 0xEF:
            needed = _NEEDED.get(marker, {})
            kept = [size for name, size in needed.items() if stream.startswith(name, begin)]
            begin = min(begin + max(kept, default=0), place)
            stream[begin:place] = bytes(place - begin)


def _clear_jpeg_2000(stream: bytearray) -> bool:
    """Clear a codestream of JPEG 2000; False where it is none, or its end is not found."""
    if not stream.startswith(_JPEG_2000):
        return False
    place, part_end = 2, 0
    while True:
        (marker,) = struct.unpack_from(">H", stream, place)
        if marker == 0xFFD9:
            stream[place + 2 :] = bytes(len(stream) - place - 2)
            return True
        if marker == 0xFF93:  # the data of a part begin
            if part_end <= place:
                return False
            place = part_end
            continue
        (length,) = struct.unpack_from(">H", stream, place + 2)
        end = place + 2 + length
        if marker < 0xFF00 or length < 2 or end > len(stream):
            return False
        if marker == 0xFF90:  # a part
            (size,) = struct.unpack_from(">I", stream, place + 6)
            # Zero: up to the end of the codestream.
            part_end = place + size if size else stream.rfind(b"\xff\xd9")
        elif marker == 0xFF64:
            stream[place + 6 : end] = b" " * (end - place - 6)
        place = end
