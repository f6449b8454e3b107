"""What a compressed image says of itself, looked at before it is decoded.

A header that claims more pixels than the frame has would make a decoder take memory without
bound, or fill the frame with part of another image; a JPEG that ends too early is filled up with
grey by libjpeg, in silence.
"""

from __future__ import annotations

import struct

from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from dbdicom_xr.errors import PixelError
from dbdicom_xr.pixels import plugins
from dbdicom_xr.pixels.layout import PixelLayout

__all__ = ["check"]

_JPEG_SYNTAXES = frozenset((*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *plugins.PROGRESSIVE))
_J2K_SYNTAXES = frozenset(JPEG2000TransferSyntaxes)
# Start of frame: C0 to CF without DHT, JPG and DAC (ISO 10918-1 table B.1); F7 in JPEG-LS.
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def check(frame: bytes, layout: PixelLayout) -> None:
    """Raise where a JPEG, JPEG-LS, JPEG 2000 or JPEG XL image is not whole, or of another size.

    Parameters
    ----------
    frame : bytes
        The compressed frame.
    layout : PixelLayout
        Gives the transfer syntax and the size; other syntaxes are not looked at.

    Raises
    ------
    PixelError
        The size differs from the header's, the end is missing, or no such image is there.

    Examples
    --------
    >>> jpeg_2000 = PixelLayout(64, 64, transfer_syntax="1.2.840.10008.1.2.4.90")
    >>> check(b"no image", jpeg_2000)
    Traceback (most recent call last):
    ...
    dbdicom_xr.errors.PixelError: The pixel data hold no JPEG 2000 image, though ...
    """
    syntax = layout.transfer_syntax
    if syntax in _J2K_SYNTAXES:
        kind, size = "JPEG 2000", _jpeg_2000_size(frame)
    elif syntax in _JPEG_SYNTAXES:
        kind, size = "JPEG", _jpeg_size(frame)
    elif syntax in plugins.JPEG_XL:
        kind, size = "JPEG XL", _jpeg_xl_size(frame, layout.samples_per_pixel)
    else:
        return
    if size is None:
        raise PixelError(
            f"The pixel data hold no {kind} image, though the transfer syntax is {syntax}: the "
            "frame is damaged, or the transfer syntax is wrong."
        )
    expected = (layout.rows, layout.columns, layout.samples_per_pixel)
    if size != expected:
        raise PixelError(
            "The compressed image has {} rows, {} columns and {} samples per pixel".format(*size)
            + ", but Rows, Columns and SamplesPerPixel are {}, {} and {}.".format(*expected)
        )
    # JPEG 2000 decoders notice by themselves. Two bytes that cannot stand inside the image data
    # end a JPEG (ISO 10918-1 B.1.1.5), so the last ones belong to it unless it is cut.
    if kind == "JPEG" and frame.rfind(b"\xff\xd9") < frame.rfind(b"\xff\xda"):
        raise PixelError(
            f"The JPEG image ends too early, after {len(frame)} bytes: it is probably truncated."
        )


def _jpeg_size(frame: bytes) -> tuple[int, int, int] | None:
    position = 2
    if frame[:2] != b"\xff\xd8":
        return None
    while position + 10 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker in _START_OF_FRAME:
            rows, columns, samples = struct.unpack_from(">HHB", frame, position + 5)
            return rows, columns, samples
        if marker == 0xFF:  # a fill byte: ISO 10918-1 B.1.1.2
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += 2
        else:
            position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    return None


def _jpeg_2000_size(frame: bytes) -> tuple[int, int, int] | None:
    # SOC then SIZ start the codestream, by itself or inside a JP2 file (ISO 15444-1 A.5.1).
    start = frame.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(frame) < start + 44:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", frame, start + 8)
    (samples,) = struct.unpack_from(">H", frame, start + 40)
    return bottom - top, right - left, samples


# Ratio of width to height in the size header of JPEG XL, where it is not 0 (ISO 18181-1 D.2).
_RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZE_BITS = (9, 13, 18, 30)


def _jpeg_xl_size(frame: bytes, samples: int) -> tuple[int, int, int] | None:
    """Return the size; the number of samples is left to the decoder."""
    start = 0
    if frame[4:8] == b"JXL ":  # boxes around the codestream (ISO 18181-2)
        whole, parts = frame.find(b"jxlc"), frame.find(b"jxlp")
        start = whole + 4 if whole >= 0 else parts + 8
    if frame[start : start + 2] != b"\xff\x0a":
        return None
    bits = int.from_bytes(frame[start + 2 : start + 14], "little")  # the lowest bit first

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def length() -> int:
        return 8 * (take(5) + 1) if small else take(_SIZE_BITS[take(2)]) + 1

    rows = length()
    ratio = _RATIOS[take(3)]
    columns = length() if ratio is None else rows * ratio[0] // ratio[1]
    return rows, columns, samples
