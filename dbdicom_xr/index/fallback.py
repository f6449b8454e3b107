"""Headers of the files that the walker leaves: pydicom reads them, the result has the same form.

Files without preamble or file meta information, with invented VRs, cut off inside the header...
"""

from __future__ import annotations

import io
import os
from typing import Any

from dbdicom_xr.index.elements import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    LARGE,
    UNDEFINED,
    External,
    Header,
    Malformed,
    Source,
    tag_bytes,
)
from dbdicom_xr.index.files import Opened
from dbdicom_xr.index.values import without_warnings
from dbdicom_xr.index.walker import inflated, pixel_place

__all__ = ["read_with_pydicom"]

# The first tag of a data set without preamble: group 0002 or 0008, in either byte order.
_BARE_STARTS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")
_IDENTIFYING = (
    0x00080016, 0x00080018, 0x00080060, 0x00100020, 0x0020000D, 0x0020000E, 0x00280010,
)  # fmt: skip
_PIXELS = {0x7FE00008: 0x08, 0x7FE00009: 0x09, 0x7FE00010: 0x10}


def read_with_pydicom(fd: Opened, size: int, reason: str) -> Header:
    """Return the header of a file as pydicom sees it.

    Parameters
    ----------
    fd : int or Bytes
    size : int
        The file and its length.
    reason : str
        What the walker met, for the message.

    Raises
    ------
    Malformed
        pydicom cannot make sense of the file either.
    """
    source = Source(fd, size)
    start = source.read(132, 0)
    if start[128:132] != b"DICM" and start[:2] not in _BARE_STARTS:
        raise Malformed("not a DICOM file (no DICM prefix)")
    import pydicom

    try:
        with without_warnings(), _Bounded(_raw(fd, size), size) as file:
            dataset = pydicom.dcmread(file, force=True, defer_size=LARGE)
    except Exception as error:  # whatever a damaged file makes of the parser
        raise Malformed(f"{reason}; pydicom: {type(error).__name__}: {error}") from None
    implicit, little = dataset.original_encoding
    meta = dataset.file_meta
    header = Header(
        {},
        implicit=bool(implicit),
        big_endian=not little if little is not None else False,
        transfer_syntax=str(meta.get("TransferSyntaxUID", "") or ""),
    )
    if not any(tag in dataset or tag in meta for tag in _IDENTIFYING):
        raise Malformed(f"not a DICOM file ({reason})")
    if not header.transfer_syntax:
        # What pydicom found by looking is what the pixels are encoded in.
        plain = IMPLICIT if header.implicit else EXPLICIT
        header.transfer_syntax = BIG_ENDIAN if header.big_endian else plain
    if header.transfer_syntax == DEFLATED:
        header.deflated = True
        source = Source(fd, size, inflated(fd, size))
    for part in (meta, dataset):
        for tag in sorted(part.keys()):
            element: Any = part._dict[tag]  # get_item would read what was deferred
            try:
                _add(header, source, dataset, int(tag), element)
            except Exception as error:
                header.notes.append(f"({tag >> 16:04x},{tag & 0xFFFF:04x}) cannot be read: {error}")
    header.notes.append(f"irregular, read with pydicom: {reason}")
    return header


class _Raw(io.RawIOBase):
    """A file that is elsewhere."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        data = self._source.some(len(buffer), self._at, 1)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _raw(fd: Opened, size: int) -> io.RawIOBase:
    return io.FileIO(os.dup(fd)) if isinstance(fd, int) else _Raw(Source(fd, size))


class _Bounded(io.BufferedReader):
    """A file that is never asked for more than it has: to ask reserves the memory."""

    def __init__(self, raw: io.RawIOBase, size: int) -> None:
        super().__init__(raw)
        self._bytes = size
        self.seek(0)

    @property
    def name(self) -> str:
        """For the messages of pydicom; a descriptor has a number only."""
        return "the file"

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._bytes - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _add(header: Header, source: Source, dataset: Any, tag: int, element: Any) -> None:
    from pydicom.dataelem import RawDataElement

    raw = isinstance(element, RawDataElement)
    if (code := _PIXELS.get(tag)) is not None:
        length = element.length if raw else -1
        if length == 0:
            return
        start = element.value_tell if raw else element.file_tell
        place, _ = pixel_place(source, start, UNDEFINED if length == -1 else length, code, header)
        header.pixels = place._replace(vr=str(element.VR or "OW")[:2])
        return
    key = tag_bytes(tag)
    is_meta = tag >> 16 == 2
    if raw:
        vr = element.VR
        same = is_meta or bool(element.is_implicit_VR) == header.implicit
        value: bytes | External = element.value or b""
        if element.value is None and element.length:
            value = External(element.value_tell, element.length)
            if source.in_memory or element.value_tell + element.length > source.size:
                value = source.read(element.length, element.value_tell)
        if isinstance(value, bytes) and element.length not in (len(value), UNDEFINED):
            raise Malformed("it is cut off")
        if same and not (vr is None and not header.implicit):
            header.elements[key + (vr.encode("ascii") if vr else b"\0\0")] = value
            return
    converted = dataset[tag] if not is_meta else dataset.file_meta[tag]
    header.elements[key + str(converted.VR)[:2].encode("ascii")] = _encode(
        converted, header.implicit and not is_meta, header.big_endian and not is_meta
    )


def _encode(element: Any, implicit: bool, big_endian: bool) -> bytes:
    """Return the value bytes of a parsed element."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_sequence, writers

    buffer = DicomBytesIO()
    buffer.is_implicit_VR = implicit
    buffer.is_little_endian = not big_endian
    if element.VR == "SQ":
        write_sequence(buffer, element, ["iso8859"])
        return buffer.getvalue()
    function, parameter = writers[element.VR]
    if parameter is not None:
        function(buffer, element, parameter)  # type: ignore[operator]
    else:
        function(buffer, element)  # type: ignore[operator]
    return buffer.getvalue()
