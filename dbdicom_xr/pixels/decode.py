"""The bytes of one frame to its stored values, equal to pydicom's ``pixel_array``.

Native frames are viewed in place where that is possible. Compressed frames go through the
decoders that pydicom knows, one frame at a time and without a Dataset: one decoder per transfer
syntax, so that the numbers do not depend on what else is installed.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any, cast

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import UID

from dbdicom_xr.errors import PixelError
from dbdicom_xr.pixels import codestream, plugins
from dbdicom_xr.pixels.layout import PixelLayout

__all__ = ["decode_encapsulated", "decode_native", "too_short"]

plugins.register()

Buffer = bytes | bytearray | memoryview
Array = np.ndarray[Any, np.dtype[Any]]

_RLE = "1.2.840.10008.1.2.5"
_ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"  # PS3.5 A.4.11
_DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"  # PS3.5 A.4.13
# PS3.3 C.7.6.3.1.2: from R, G, B to Y - 16, Cb - 128, Cr - 128; to be multiplied from the right.
_PARTIAL_TO_RGB = np.linalg.inv(
    [[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]]
).T
_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def decode_native(buffer: Buffer, layout: PixelLayout, bit_offset: int = 0) -> Array:
    """Return the stored values of one frame that is not compressed.

    Parameters
    ----------
    buffer : bytes-like
        The bytes that :meth:`PixelLayout.frame_span` names; longer is fine.
    layout : PixelLayout
        How they are encoded.
    bit_offset : int, optional
        Bits to skip before the frame, as :meth:`PixelLayout.frame_span` gives them.

    Returns
    -------
    numpy.ndarray
        Shape ``layout.frame_shape``, type ``layout.dtype``. A view of `buffer` wherever its
        bytes already are the values; so read-only if `buffer` is.

    Raises
    ------
    PixelError
        The buffer is shorter than a frame.
    LayoutError
        The layout is impossible.

    Examples
    --------
    >>> layout = PixelLayout(2, 2, bits_allocated=16, bits_stored=12, high_bit=11)
    >>> decode_native(bytes([1, 0, 2, 0, 3, 0, 4, 0xF0]), layout)
    array([[1, 2],
           [3, 4]], dtype=uint16)
    """
    layout.check()
    unit = 16 if layout.swaps_byte_pairs else 8
    needed = -(-(bit_offset + layout.frame_bits) // unit) * unit // 8
    present = memoryview(buffer).nbytes
    if present < needed:
        raise too_short(layout, needed, present)
    samples = _samples(buffer, layout, bit_offset)
    if layout.shares_chroma:
        samples = _resample_422(samples)
        return _to_rgb(samples.reshape(layout.frame_shape), layout)
    if layout.samples_per_pixel == 1 or layout.planar_configuration == 0:
        frame = samples.reshape(layout.frame_shape)
    else:
        planes = samples.reshape(layout.samples_per_pixel, layout.rows, layout.columns)
        frame = planes.transpose(1, 2, 0)
    return _to_rgb(frame, layout)


def too_short(layout: PixelLayout, needed: int, present: int) -> PixelError:
    """Return the error about a frame of which a part is missing."""
    return PixelError(
        f"The pixel data end too early: a frame of {layout.rows} x {layout.columns} pixels "
        f"needs {needed} bytes, {present} are there. The file is probably truncated."
    )


def _samples(buffer: Buffer, layout: PixelLayout, bit_offset: int) -> Array:
    """Return the samples of the frame in file order, one dimension."""
    if layout.bits_allocated == 1 and not layout.is_float:
        packed = np.frombuffer(buffer, "u1")
        end = bit_offset + layout.frame_bits
        bits: Array = np.unpackbits(packed[: -(-end // 8)], bitorder="little")
        return bits[bit_offset:end]
    dtype = layout.dtype
    start, count = bit_offset // 8, layout.frame_bits // (8 * dtype.itemsize)
    if layout.swaps_byte_pairs:
        words = np.frombuffer(buffer, "u2", -(-(start + count) // 2))
        swapped: Array = words.byteswap().view(dtype)[start : start + count]
        return _drop_unused_bits(swapped, layout)
    stored = np.frombuffer(
        buffer, dtype.newbyteorder(">" if layout.is_big_endian else "<"), count, start
    )
    samples: Array = stored.astype(dtype, copy=False)  # copies foreign byte orders only
    return samples if layout.is_float else _drop_unused_bits(samples, layout)


def _drop_unused_bits(samples: Array, layout: PixelLayout) -> Array:
    """Return the lower BitsStored bits, sign extended (PS3.5 8.1.1).

    What stands in the other bits (old overlays, rubbish) is not part of the value. pydicom
    shifts always; looking first costs 2-3 us per 256 x 256 and saves the copy in nearly all files.
    """
    unused = layout.bits_allocated - layout.bits_stored
    signed = layout.pixel_representation == 1
    top = 1 << (layout.bits_stored - signed)
    if unused == 0 or (int(samples.max()) < top and (not signed or int(samples.min()) >= -top)):
        return samples
    shifted: Array = np.left_shift(samples, unused)
    return np.right_shift(shifted, unused, out=shifted)


def _resample_422(samples: Array) -> Array:
    """Return Y Cb Cr of each pixel from Y1 Y2 Cb Cr of each pair (PS3.3 C.7.6.3.1.2)."""
    quads = samples.reshape(-1, 4)
    pairs = np.empty((len(quads), 2, 3), samples.dtype)
    pairs[:, :, 0] = quads[:, :2]
    pairs[:, :, 1] = quads[:, 2:3]
    pairs[:, :, 2] = quads[:, 3:4]
    return pairs


def _to_rgb(frame: Array, layout: PixelLayout) -> Array:
    """Return a frame in RGB, where it is in a YBR that no decoder converts."""
    photometric = layout.photometric_interpretation
    if photometric.startswith("YBR_PARTIAL") and frame.ndim == 3:
        return _partial_to_rgb(frame)
    if photometric not in ("YBR_FULL", "YBR_FULL_422"):
        return frame
    try:  # as pydicom's pixel_array does
        rgb: Array = convert_color_space(frame, "YBR_FULL", "RGB")
    except Exception as error:
        raise PixelError(f"YBR_FULL pixels of type {frame.dtype} have no RGB: {error}") from error
    return rgb


def _partial_to_rgb(frame: Array) -> Array:
    """Return YBR_PARTIAL in RGB: Y is from 16 to 235, Cb and Cr from 16 to 240."""
    if frame.dtype != np.uint8:
        raise PixelError(f"YBR_PARTIAL pixels of type {frame.dtype} have no RGB.")
    values = (frame - np.array([16.0, 128.0, 128.0])) @ _PARTIAL_TO_RGB
    rgb: Array = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rgb


def decode_encapsulated(frame: bytes, layout: PixelLayout) -> Array:
    r"""Return the stored values of one frame that stands in fragments.

    Parameters
    ----------
    frame : bytes
        The fragments of this frame, joined.
    layout : PixelLayout
        What the header says of it.

    Returns
    -------
    numpy.ndarray
        Shape ``layout.frame_shape``, type ``layout.dtype``. YBR_FULL and YBR_FULL_422 come as
        RGB, as in pydicom.

    Raises
    ------
    PixelError
        There is no decoder, the bytes are damaged, or they hold an image of another size.
    LayoutError
        The layout is impossible.

    Examples
    --------
    >>> layout = PixelLayout(1, 4, 8, 8, 7, transfer_syntax="1.2.840.10008.1.2.5")
    >>> header = b"\x01\0\0\0\x40\0\0\0" + bytes(56)  # one segment, at byte 64
    >>> decode_encapsulated(header + bytes([253, 7]), layout)  # 7, four times
    array([[7, 7, 7, 7]], dtype=uint8)
    """
    layout.check()
    syntax = layout.transfer_syntax
    if syntax == _ENCAPSULATED_UNCOMPRESSED:
        return decode_native(frame, _as_native(layout))
    if syntax == _DEFLATED_FRAME:
        return decode_native(_inflate(frame, layout), _as_native(layout))
    if syntax == _RLE and layout.bits_allocated == 1:
        return _decode_packed_rle(frame, layout)
    codestream.check(frame, layout)
    if syntax in plugins.DIRECT:
        return _decode_directly(frame, layout)
    decoded = _decode(frame, layout)
    if layout.photometric_interpretation.startswith("YBR_PARTIAL"):
        return _to_rgb(decoded, layout)
    return decoded


def _as_native(layout: PixelLayout) -> PixelLayout:
    return replace(layout, transfer_syntax=_LITTLE_ENDIAN)


def _inflate(frame: bytes, layout: PixelLayout) -> bytes:
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        return inflater.decompress(frame, _as_native(layout).frame_bytes)
    except zlib.error as error:
        raise PixelError(f"{_describe(layout)} cannot be decoded: {error}") from error


def _decode_packed_rle(frame: bytes, layout: PixelLayout) -> Array:
    """Return a 1-bit frame: its packed bytes are one RLE segment (PS3.5 8.2.2, G.2)."""
    packed = replace(
        layout,
        rows=1,
        columns=_as_native(layout).frame_bytes,
        bits_allocated=8,
        bits_stored=8,
        high_bit=7,
        pixel_representation=0,
    )
    return decode_native(_decode(frame, packed).tobytes(), _as_native(layout))


def _decode(frame: bytes, layout: PixelLayout) -> Array:
    uid = UID(layout.transfer_syntax)
    try:
        decoder = get_decoder(uid)
    except NotImplementedError as error:
        raise PixelError(f"{_describe(layout)} {plugins.why_not(uid)}") from error
    plugin = plugins.choose(uid, decoder.available_plugins)
    if plugin is None:
        raise PixelError(
            f"{_describe(layout)} needs a decoder that is not installed: pip install imagecodecs"
        )
    # One item that holds the frame is what the public interface of pydicom takes; against
    # calling the decoder alone it costs 20 us.
    stream = encapsulate([frame], has_bot=False)
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": layout.samples_per_pixel,
        "planar_configuration": layout.planar_configuration,
        "photometric_interpretation": layout.photometric_interpretation,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": layout.pixel_representation,
        "pixel_keyword": layout.keyword,
        "pixel_vr": "OB",
    }
    try:
        decoded, _ = decoder.as_array(
            stream, index=0, validate=False, decoding_plugin=plugin, **options
        )
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # also a panic of the RLE decoder's Rust, which is no Exception
        # pydicom puts a line of its own before the decoder's.
        reason = str(error).strip().rpartition("\n")[2].strip()
        raise PixelError(f"{_describe(layout)} cannot be decoded: {reason}") from error
    return cast(Array, decoded)


def _decode_directly(frame: bytes, layout: PixelLayout) -> Array:
    """Decode what pydicom has no decoder for."""
    try:
        decoded = plugins.decode_directly(frame, layout.transfer_syntax, layout.samples_per_pixel)
    except ImportError as error:
        raise PixelError(
            f"{_describe(layout)} needs a decoder that is not installed: pip install imagecodecs"
        ) from error
    except Exception as error:
        raise PixelError(f"{_describe(layout)} cannot be decoded: {error}") from error
    kind, size = layout.dtype, decoded.dtype.itemsize
    if decoded.shape != layout.frame_shape or decoded.dtype.kind != "u" or size > kind.itemsize:
        raise PixelError(
            f"{_describe(layout)} holds an image of shape {decoded.shape} and type "
            f"{decoded.dtype}, not {layout.frame_shape} and {kind}."
        )
    # No sign in these: the lower BitsStored bits are the value.
    values = _drop_unused_bits(decoded.astype(f"u{kind.itemsize}").view(kind), layout)
    # JPEG XL knows its colours, and its decoder gives RGB.
    return values if layout.transfer_syntax in plugins.JPEG_XL else _to_rgb(values, layout)


def _describe(layout: PixelLayout) -> str:
    return f"Pixel data in {plugins.name_of(layout.transfer_syntax)} ({layout.transfer_syntax})"
