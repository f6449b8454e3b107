"""Frames to the bytes of a lossless transfer syntax, and these to the value of PixelData.

All encoders are those of imagecodecs, as the decoders of ``pixels/plugins`` are: they give way to
other threads while they work, and one 512 x 512 frame of 16 bit takes 0.6 ms as RLE, 5 ms as
JPEG-LS, 30 ms as JPEG 2000 and 2 ms as HTJ2K. pydicom's own RLE encoder takes 43 ms.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import uid as _uid

from dbdicom_xr.errors import InvalidValue, LayoutError, PixelError
from dbdicom_xr.pixels.plugins import name_of

__all__ = [
    "compressed",
    "encapsulated",
    "encapsulated_head",
    "encapsulated_pieces",
    "photometric",
    "stored_bits",
    "syntax_uid",
]

_EXPLICIT = str(_uid.ExplicitVRLittleEndian)
_RLE = str(_uid.RLELossless)
_JPEG_LS = str(_uid.JPEGLSLossless)
_JPEG_2000 = str(_uid.JPEG2000Lossless)
_HTJ2K = str(_uid.HTJ2KLossless)

# The first name of each is the one that messages give.
_NAMES: dict[str, tuple[str, ...]] = {
    _EXPLICIT: ("explicit", "explicit little endian", "little endian", "uncompressed", "native"),
    _RLE: ("RLE",),
    _JPEG_LS: ("JPEG-LS", "JLS"),
    _JPEG_2000: ("JPEG 2000", "JPEG2K", "J2K", "JP2"),
    _HTJ2K: ("HTJ2K", "HT-J2K", "high-throughput JPEG 2000"),
}
_CHOICES = ", ".join(f"{names[0]!r}" for names in _NAMES.values())
_LOSSY_NAMES = frozenset(
    {"jpeg", "jpg", "jpegbaseline", "jpegextended", "jpegxl", "jpegxllossy", "nearlossless"}
)
_MAY_LOSE = frozenset(
    str(one)
    for one in (
        _uid.JPEGBaseline8Bit,
        _uid.JPEGExtended12Bit,
        _uid.JPEGLSNearLossless,
        _uid.JPEG2000,
        _uid.JPEG2000MC,
        _uid.HTJ2K,
        "1.2.840.10008.1.2.4.112",  # JPEG XL
    )
)

_ITEM, _END = struct.Struct("<HHL"), struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
_FURTHEST = 0xFFFFFFFF  # what a Basic Offset Table can say


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _spellings() -> dict[str, str]:
    spellings = {}
    for uid, names in _NAMES.items():
        for name in (*names, name_of(uid)):
            spellings[_plain(name)] = spellings[f"{_plain(name)}lossless"] = uid
    return spellings


_SPELLINGS = _spellings()


def syntax_uid(name: str | None) -> str:
    """Return the UID of a transfer syntax that images are written in.

    Parameters
    ----------
    name : str or None
        A UID, or a name such as ``"RLE"``, ``"JPEG-LS"``, ``"JPEG 2000"``, ``"HTJ2K"`` or
        ``"explicit"``, in any spelling. None: explicit VR little endian, not compressed.

    Raises
    ------
    InvalidValue
        It is not one of these: unknown, retired, or one that would change the numbers.

    Notes
    -----
    PS3.5 section 10 and annex A.

    Examples
    --------
    >>> syntax_uid("jpeg-ls"), syntax_uid(None)
    ('1.2.840.10008.1.2.4.80', '1.2.840.10008.1.2.1')
    >>> syntax_uid("1.2.840.10008.1.2.4.50")
    Traceback (most recent call last):
    ...
    dbdicom_xr.errors.InvalidValue: transfer_syntax cannot be '1.2.840.10008.1.2.4.50': JPEG ...
    """
    if name is None:
        return _EXPLICIT
    if not isinstance(name, str):
        raise InvalidValue(f"transfer_syntax cannot be {name!r}: give one of {_CHOICES}.")
    text, plain = name.strip(), _plain(name)
    uid = text if text in _NAMES else _SPELLINGS.get(plain)
    if uid is None:
        raise InvalidValue(_why_refused(name, text, plain))
    if uid == _HTJ2K:
        _htj2k_encoder()
    return uid


def _why_refused(name: str, text: str, plain: str) -> str:
    full = name_of(text) if text[:2] == "1." else ""
    if text in _MAY_LOSE or plain in _LOSSY_NAMES:
        reason = f"{full or name} may change the numbers, and only lossless ones are written. "
    elif plain.startswith(("implicit", "explicitvrbig", "explicitbig", "bigendian")) or text in (
        _uid.ImplicitVRLittleEndian,
        _uid.ExplicitVRBigEndian,
    ):
        reason = "new images are written in explicit VR little endian or compressed. "
    else:
        reason = f"{full} is not written. " if full else ""
    return f"transfer_syntax cannot be {name!r}: {reason}Give one of {_CHOICES}."


def photometric(syntax: str, samples: int) -> str:
    """Return the PhotometricInterpretation that the header must declare.

    Parameters
    ----------
    syntax : str
        UID of the transfer syntax.
    samples : int
        SamplesPerPixel of what is written: 1 (grey) or 3 (red, green, blue).

    Notes
    -----
    PS3.5 8.2.4: JPEG 2000 turns colours into YBR_RCT, reversibly, and decoders turn them back.
    PlanarConfiguration is 0 with all of them.

    Examples
    --------
    >>> photometric("1.2.840.10008.1.2.4.90", 3), photometric("1.2.840.10008.1.2.5", 3)
    ('YBR_RCT', 'RGB')
    """
    if samples == 1:
        return "MONOCHROME2"
    return "YBR_RCT" if syntax in (_JPEG_2000, _HTJ2K) else "RGB"


def stored_bits(syntax: str, bits_allocated: int, bits_stored: int) -> int:
    """Return the BitsStored that the header must declare.

    Parameters
    ----------
    syntax : str
        UID of the transfer syntax.
    bits_allocated, bits_stored : int
        Of the values that are written.

    Returns
    -------
    int
        `bits_stored`, but for JPEG-LS and HTJ2K, whose encoders here make code streams of whole
        bytes: a header that says less would contradict them (PS3.5 8.2.3).

    Examples
    --------
    >>> stored_bits("1.2.840.10008.1.2.4.80", 16, 12), stored_bits("1.2.840.10008.1.2.5", 16, 12)
    (16, 12)
    """
    return bits_allocated if syntax in (_JPEG_LS, _HTJ2K) else bits_stored


def compressed(values: npt.NDArray[Any], bits_stored: int, syntax: str, *, signed: bool) -> bytes:
    """Return one frame as the bytes of a lossless code stream; it decodes to the same values.

    Parameters
    ----------
    values : ndarray of 8 or 16 bit integers, shape (rows, columns) or (rows, columns, 3)
    bits_stored : int
        Bits that the values need.
    syntax : str
        UID of the transfer syntax, of those that compress.
    signed : bool
        PixelRepresentation of the header: whether the values are of a signed type.

    Returns
    -------
    bytes
        Of odd length also; :func:`encapsulated` pads them.

    Raises
    ------
    LayoutError
        The values do not fit what is said of them.
    PixelError
        The encoder refuses.

    Notes
    -----
    PS3.5 annex G (RLE), A.4.3 (JPEG-LS), A.4.4 (JPEG 2000). JPEG-LS knows no sign: the bits of
    two's complement are stored, and readers follow PixelRepresentation. GDCM and ITK (as of 3.2 and
    5.4) read no RLE of less than 64 pixels, nor of 16-bit colours, whoever wrote it.

    Examples
    --------
    >>> import numpy as np
    >>> frame = np.zeros((64, 64), np.uint16)
    >>> len(compressed(frame, 16, "1.2.840.10008.1.2.5", signed=False))
    320
    """
    values = _checked(values, bits_stored, signed)
    try:
        if syntax == _RLE:
            return _rle(values)
        if syntax == _JPEG_LS:
            return _jpeg_ls(values.view(f"u{values.itemsize}"))
        if syntax == _JPEG_2000:
            from imagecodecs import jpeg2k_encode

            # mct: the reversible colour transform, to which `photometric` answers.
            return bytes(
                jpeg2k_encode(
                    values, codecformat="j2k", reversible=True, mct=True, bitspersample=bits_stored
                )
            )
        if syntax == _HTJ2K:
            return bytes(_htj2k_encoder()(values, reversible=True))
    except InvalidValue:
        raise
    except (RuntimeError, ValueError) as error:
        raise PixelError(
            f"A frame of shape {values.shape} and type {values.dtype} cannot be written in "
            f"{name_of(syntax)}: {error}"
        ) from error
    raise InvalidValue(f"{name_of(syntax)} ({syntax}) does not compress frames.")


def _checked(values: npt.NDArray[Any], bits_stored: int, signed: bool) -> npt.NDArray[Any]:
    """Return the values in C order, after a look at whether they are what the header will say."""
    kind = values.dtype
    shaped = values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)
    if kind.kind not in "iu" or kind.itemsize > 2 or not shaped or not values.size:
        raise LayoutError(f"Pixels of shape {values.shape} and type {kind} cannot be compressed.")
    bits = 8 * kind.itemsize
    if signed != (kind.kind == "i") or not 1 <= bits_stored <= bits:
        raise LayoutError(
            f"PixelRepresentation {int(signed)} and BitsStored {bits_stored} contradict pixels of "
            f"type {kind}."
        )
    if bits_stored < bits:
        low = -(1 << bits_stored - 1) if signed else 0
        high = low + (1 << bits_stored) - 1
        smallest, largest = int(values.min()), int(values.max())
        if smallest < low or largest > high:
            raise LayoutError(
                f"BitsStored {bits_stored} holds {low} to {high}, and the pixels are from "
                f"{smallest} to {largest}."
            )
    return np.ascontiguousarray(values, kind.newbyteorder("="))


def _rle(values: npt.NDArray[Any]) -> bytes:
    """Return a segment per byte of each sample, the most significant byte first (PS3.5 G.2)."""
    from imagecodecs import packbits_encode

    rows, columns, width = *values.shape[:2], values.itemsize
    stored = values.astype(values.dtype.newbyteorder("<"), copy=False)
    split = stored.view("u1").reshape(rows, columns, -1, width)
    plane = np.empty((rows, columns), np.uint8)
    segments = []
    for sample in range(split.shape[2]):
        for byte in reversed(range(width)):
            plane[:] = split[:, :, sample, byte]
            segment = bytes(packbits_encode(plane, axis=-1))  # no run goes over the end of a row
            segments.append(segment + b"\0" * (len(segment) % 2))
    head = np.zeros(16, "<u4")
    head[0] = len(segments)
    starts = np.cumsum([64, *(len(segment) for segment in segments)])
    head[1 : len(segments) + 1] = starts[:-1]
    return b"".join([head.tobytes(), *segments])


def _jpeg_ls(values: npt.NDArray[Any]) -> bytes:
    from imagecodecs import JpeglsError, jpegls_encode

    # The encoder's own buffer is as large as the frame. Noise takes 3 to 7 % more; the longest
    # code of a sample is four times its bits, which no frame has throughout.
    size = values.nbytes + values.nbytes // 8 + 1024
    stream = b""
    while not stream:
        try:
            stream = bytes(jpegls_encode(values, out=size))
        except JpeglsError:
            if size > 8 * values.nbytes + 1024:
                raise
            size *= 2
    # CharLS puts a SPIFF header (APP8) between the start and the frame, whose end repeats the
    # start marker. No other DICOM writer does, so not all readers may know it.
    position = 2
    while stream[position : position + 2] == b"\xff\xe8":
        position += 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
        if stream[position : position + 2] == b"\xff\xd8":
            position += 2
    return stream[:2] + stream[position:] if position > 2 else stream


def _htj2k_encoder() -> Any:
    import imagecodecs

    if not getattr(getattr(imagecodecs, "HTJ2K", None), "available", False):
        raise InvalidValue(
            "transfer_syntax cannot be 'HTJ2K': the installed imagecodecs does not write it. "
            "pip install --upgrade imagecodecs"
        )
    return imagecodecs.htj2k_encode


def encapsulated(fragments: Sequence[bytes]) -> bytes:
    r"""Return the value of PixelData: an item per frame, after a Basic Offset Table.

    Parameters
    ----------
    fragments : sequence of bytes
        The code stream of each frame.

    Returns
    -------
    bytes
        To stand after the header of an element OB of undefined length; its end is included.

    Notes
    -----
    PS3.5 A.4.

    Examples
    --------
    >>> encapsulated([b"\1\2\3"])[:20].hex(" ", 4)
    'feff00e0 04000000 00000000 feff00e0 04000000'
    """
    return b"".join(encapsulated_pieces(fragments, [len(fragment) for fragment in fragments]))


def encapsulated_head(lengths: Sequence[int]) -> bytes:
    """Return the Basic Offset Table, the first item of PixelData, for frames of these lengths.

    Frames that lie further than 4 GiB cannot be told by it: the table is empty then, and readers
    find them item by item (PS3.5 A.4).

    Examples
    --------
    >>> encapsulated_head([100, 51, 20])[8:].hex(" ", 4)
    '00000000 6c000000 a8000000'
    """
    starts = np.zeros(len(lengths), np.int64)
    np.cumsum([_ITEM.size + length + length % 2 for length in lengths[:-1]], out=starts[1:])
    if len(starts) and starts[-1] > _FURTHEST:
        starts = starts[:0]
    return _ITEM.pack(0xFFFE, 0xE000, 4 * len(starts)) + starts.astype("<u4").tobytes()


def encapsulated_pieces(fragments: Iterable[bytes], lengths: Sequence[int]) -> Iterator[bytes]:
    """Yield the value of PixelData piece by piece, so that a large file can be streamed.

    Parameters
    ----------
    fragments : iterable of bytes
        The code stream of each frame; one is held at a time.
    lengths : sequence of int
        Their lengths, which come first in the file.

    Raises
    ------
    LayoutError
        The frames are not of these lengths.

    Examples
    --------
    >>> frames = [bytes(10), bytes(7)]
    >>> b"".join(encapsulated_pieces(iter(frames), [10, 7])) == encapsulated(frames)
    True
    """
    yield encapsulated_head(lengths)
    count = 0
    for fragment in fragments:
        if count >= len(lengths) or len(fragment) != lengths[count]:
            raise LayoutError(f"Frame {count + 1} is not of the length that was announced.")
        odd = len(fragment) % 2
        yield _ITEM.pack(0xFFFE, 0xE000, len(fragment) + odd)
        yield fragment
        if odd:
            yield b"\0"
        count += 1
    if count != len(lengths):
        raise LayoutError(f"{len(lengths)} frames were announced, and {count} came.")
    yield _END
