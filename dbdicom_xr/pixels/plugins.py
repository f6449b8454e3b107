"""Which decoder reads which transfer syntax.

All of them are those of imagecodecs, which are added to the decoders of pydicom: libjpeg-turbo for
JPEG, OpenJPEG for JPEG 2000, CharLS for JPEG-LS, PackBits for RLE. Of the decoders free to use, it
alone reads the 12-bit JPEG Extended; it alone gives way to other threads while it decodes, where
pylibjpeg and pyjpegls hold the interpreter, so that two threads are no faster than one; and damaged
bytes raise where they make GDCM abort the process. On all real files the numbers are those of
pydicom's own choice. It also reads JPEG XL and the retired progressive JPEG, for which pydicom has
no place.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import uid as _uid
from pydicom.pixels.decoders.base import get_decoder

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

__all__ = [
    "DECODER_DEPENDENCIES",
    "DIRECT",
    "JPEG_XL",
    "PROGRESSIVE",
    "choose",
    "decode_directly",
    "is_available",
    "name_of",
    "register",
    "why_not",
]

_NAME = "imagecodecs"
_JPEG = (
    _uid.JPEGBaseline8Bit,
    _uid.JPEGExtended12Bit,
    _uid.JPEGLossless,
    _uid.JPEGLosslessSV1,
)
_PREFIX = "1.2.840.10008.1.2.4."
JPEG_XL = frozenset(f"{_PREFIX}{number}" for number in (110, 111, 112))  # PS3.5 A.4.14 to A.4.16
# Spectral selection and full progression, Huffman coded: retired in 2004, alive in archives.
PROGRESSIVE = frozenset(f"{_PREFIX}{number}" for number in (53, 55))
DIRECT = JPEG_XL | PROGRESSIVE
_NAMES = {  # later than pydicom's dictionary
    f"{_PREFIX}110": "JPEG XL Lossless",
    f"{_PREFIX}111": "JPEG XL JPEG Recompression",
    f"{_PREFIX}112": "JPEG XL",
    "1.2.840.10008.1.2.1.98": "Encapsulated Uncompressed Explicit VR Little Endian",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
_VIDEO = range(100, 109)
_ON_A_SERVER = (94, 95, 204, 205)

_JPEG_2000 = (
    _uid.JPEG2000Lossless,
    _uid.JPEG2000,
    _uid.HTJ2KLossless,
    _uid.HTJ2KLosslessRPCL,
    _uid.HTJ2K,
)
_JPEG_LS = (_uid.JPEGLSLossless, _uid.JPEGLSNearLossless)
_DECODED = (*_JPEG, *_JPEG_2000, *_JPEG_LS, _uid.RLELossless)
# What pydicom asks of a plugin's module, beside is_available.
DECODER_DEPENDENCIES = dict.fromkeys(_DECODED, (_NAME,))


def is_available(uid: str) -> bool:
    """Return whether this plugin can decode the transfer syntax (asked by pydicom)."""
    return uid in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def register() -> None:
    """Add the decoders of imagecodecs to pydicom's; a second call changes nothing.

    Examples
    --------
    >>> from pydicom.pixels.decoders import JPEGExtended12BitDecoder
    >>> register()
    >>> "imagecodecs" in JPEGExtended12BitDecoder.available_plugins
    True
    """
    for uid in _DECODED:
        decoder = get_decoder(uid)
        if _NAME not in decoder.available_plugins:
            decoder.add_plugin(_NAME, (__name__, "_decode_frame"))


def choose(uid: str, available: Iterable[str]) -> str | None:
    """Return the decoder to use for a transfer syntax: always the same one, if it is installed.

    Parameters
    ----------
    uid : str
        The transfer syntax.
    available : iterable of str
        Names of the plugins that pydicom could use.

    Returns
    -------
    str or None
        GDCM is never chosen: bytes that are damaged can make it abort the whole process.

    Examples
    --------
    >>> choose("1.2.840.10008.1.2.4.80", ["gdcm", "imagecodecs", "pyjpegls"])
    'imagecodecs'
    """
    # Lossy decoders differ in the last bit, so the numbers must not depend on what is installed.
    usable = [name for name in available if name != "gdcm"]
    return _NAME if _NAME in usable else next(iter(usable), None)


def name_of(uid: str) -> str:
    """Return what the standard calls a transfer syntax.

    Examples
    --------
    >>> name_of("1.2.840.10008.1.2.4.110")
    'JPEG XL Lossless'
    """
    name = _uid.UID(uid).name
    return _NAMES.get(uid, name if name != uid else "Unknown transfer syntax")


def why_not(uid: str) -> str:
    """Return the end of a sentence about pixels for which no decoder exists: what to do.

    Examples
    --------
    >>> why_not("1.2.840.10008.1.2.4.94")[:44]
    'leaves the pixels on a server; the file does'
    """
    number = uid.removeprefix(_PREFIX).partition(".")[0]  # 102.1 is the fragmentable form of 102
    if number in map(str, _VIDEO):
        return (
            "is a video, which is not read as frames. instance.dataset().PixelData holds it; "
            "ffmpeg decodes it, in Python through pip install av."
        )
    if number in map(str, _ON_A_SERVER):
        return "leaves the pixels on a server; the file does not hold them."
    return (
        "has no decoder in this version. Convert the file, for example with dcmdjpeg or gdcmconv, "
        "to read it."
    )


def decode_directly(frame: bytes, uid: str, samples: int) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the samples of a frame in one of the ``DIRECT`` transfer syntaxes.

    Parameters
    ----------
    frame : bytes
        The compressed frame.
    uid : str
        The transfer syntax.
    samples : int
        Samples per pixel.

    Returns
    -------
    numpy.ndarray, shape (rows, columns) or (rows, columns, samples)
    """
    from imagecodecs import jpeg8_decode, jpegxl_decode

    if uid in JPEG_XL:
        decoded = np.asarray(jpegxl_decode(frame))
    else:
        space = "YCBCR" if samples == 3 else None
        decoded = np.asarray(jpeg8_decode(frame, colorspace=space, outcolorspace=space))
    return decoded[..., 0] if decoded.shape[2:] == (1,) else decoded


def _decode_frame(src: bytes, runner: DecodeRunner) -> bytes | bytearray:
    """Decode one frame; called by pydicom."""
    if runner.transfer_syntax == _uid.RLELossless:
        runner.set_option("planar_configuration", 1)
        return _rle_planes(src, runner)
    decoded = _decoded(src, runner)
    size = (runner.rows, runner.columns)
    planes = decoded.shape == (runner.samples_per_pixel, *size) and decoded.shape[:2] != size
    if not planes and decoded.shape[:2] != size:
        raise ValueError(
            f"the image is of shape {decoded.shape}, not of {size[0]} x {size[1]} pixels"
        )
    runner.set_option("bits_allocated", 8 * decoded.dtype.itemsize)
    runner.set_option("planar_configuration", int(planes))
    data: bytes = decoded.tobytes()
    return data


def _decoded(src: bytes, runner: DecodeRunner) -> np.ndarray[Any, np.dtype[Any]]:
    from imagecodecs import jpeg2k_decode, jpeg8_decode, jpegls_decode

    if runner.transfer_syntax in _JPEG_2000:
        if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):  # undone while decoding
            runner.set_option("photometric_interpretation", "RGB")
        return np.asarray(jpeg2k_decode(src))
    if runner.transfer_syntax in _JPEG_LS:
        return np.asarray(jpegls_decode(src))
    # The same colour space in and out: no conversion, since pydicom does that where it is due.
    space = "YCBCR" if runner.samples_per_pixel == 3 else None
    return np.asarray(jpeg8_decode(src, colorspace=space, outcolorspace=space))


def _rle_planes(src: bytes, runner: DecodeRunner) -> bytearray:
    """Return the samples plane by plane, from a segment for each of their bytes (PS3.5 G)."""
    from imagecodecs import packbits_decode

    width, pixels = runner.bits_allocated // 8, runner.rows * runner.columns
    count, *offsets = struct.unpack_from("<16I", src)
    if count != width * runner.samples_per_pixel:
        raise ValueError(f"there are {count} segments for {runner.samples_per_pixel} samples")
    ends = [*offsets[1:count], len(src)]
    segments = []
    for start, end in zip(offsets, ends, strict=False):
        segment = packbits_decode(src[start:end]) if 64 <= start < end else b""
        if len(segment) < pixels:
            raise ValueError(f"a segment holds {len(segment)} of {pixels} bytes: it is damaged")
        segments.append(segment)
    planes = bytearray(count * pixels)
    for number, segment in enumerate(segments):
        sample, byte = divmod(number, width)  # the most significant byte comes first
        first = sample * pixels * width + width - 1 - byte
        planes[first : first + pixels * width : width] = segment[:pixels]
    return planes
