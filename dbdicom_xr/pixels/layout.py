"""How the stored pixels of a frame are laid out in bytes, and whether that can be.

The layout is what a series shares; where a frame lies in its file is the index's business, and
turning the bytes into numbers that of :mod:`dbdicom_xr.pixels.decode`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from dbdicom_xr.errors import LayoutError

__all__ = ["PixelLayout", "RowsLayout", "rows_of"]

EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"
# Pixels as they are, not in fragments (PS3.5 A.1, A.2, A.3, A.5). All others are encapsulated.
NATIVE_SYNTAXES = frozenset(
    {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        EXPLICIT_BIG_ENDIAN,
    }
)
# Decoded to as many bits as the codestream holds; BitsStored does not bind it.
_OWN_PRECISION_SYNTAXES = frozenset(
    f"1.2.840.10008.1.2.4.{n}" for n in (80, 81, 90, 91, 92, 93, 201, 202, 203)
)
_FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the stored pixels of one frame are encoded (PS3.5 section 8, PS3.3 C.7.6.3).

    Parameters
    ----------
    rows, columns : int
        Size of the frame in pixels.
    bits_allocated, bits_stored, high_bit : int
        Bits per sample in the file, bits that carry the value, and its topmost bit.
    pixel_representation : int
        0 for unsigned samples, 1 for two's complement.
    samples_per_pixel : int
        1, or 3 for colour.
    planar_configuration : int
        0 for R1 G1 B1 R2..., 1 for all R, then all G, then all B.
    photometric_interpretation : str
        For example ``"MONOCHROME2"``, ``"RGB"``, ``"YBR_FULL_422"``.
    transfer_syntax : str
        UID of the encoding.
    keyword : str
        ``"PixelData"``, ``"FloatPixelData"`` or ``"DoubleFloatPixelData"``.
    vr : str
        VR of PixelData. It matters for 8-bit samples in big endian only, where OW swaps the
        bytes of each pair and OB does not.
    image_rows, image_columns : int
        Size of the stored image of which the frame is a tile, row by row from the top left; 0 where
        each frame is an image of its own.

    Examples
    --------
    >>> layout = PixelLayout(rows=256, columns=192, bits_stored=12, high_bit=11)
    >>> layout.dtype, layout.frame_shape, layout.frame_bytes
    (dtype('uint16'), (256, 192), 98304)
    >>> layout.frame_span(2)
    (196608, 98304, 0)
    """

    rows: int
    columns: int
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    pixel_representation: int = 0
    samples_per_pixel: int = 1
    planar_configuration: int = 0
    photometric_interpretation: str = "MONOCHROME2"
    transfer_syntax: str = "1.2.840.10008.1.2.1"
    keyword: str = "PixelData"
    vr: str = "OW"
    image_rows: int = 0
    image_columns: int = 0

    @property
    def is_tile(self) -> bool:
        """Whether the frame is a tile of a larger image (``pixels/tiles``)."""
        return self.image_rows > 0

    @property
    def is_encapsulated(self) -> bool:
        """Whether the frames stand in fragments, compressed or not."""
        return self.transfer_syntax not in NATIVE_SYNTAXES

    @property
    def is_big_endian(self) -> bool:
        """Whether the samples are big endian in the file."""
        return self.transfer_syntax == EXPLICIT_BIG_ENDIAN

    @property
    def is_float(self) -> bool:
        """Whether the samples are floating point numbers."""
        return self.keyword in _FLOAT_BITS

    @property
    def shares_chroma(self) -> bool:
        """Whether two pixels share their Cb and Cr in the file (PS3.3 C.7.6.3.1.2)."""
        return (
            self.photometric_interpretation in ("YBR_FULL_422", "YBR_PARTIAL_422")
            and not self.is_encapsulated
        )

    @property
    def has_palette(self) -> bool:
        """Whether the values number the colours of a palette."""
        return self.photometric_interpretation == "PALETTE COLOR" and self.samples_per_pixel == 1

    @property
    def swaps_byte_pairs(self) -> bool:
        """Whether 8-bit samples stand in big endian 16-bit words (PS3.5 8.1.2)."""
        return (
            self.is_big_endian
            and self.bits_allocated == 8
            and self.vr == "OW"
            and not self.is_float
        )

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the decoded samples: that of pydicom, in the byte order of this machine."""
        if self.is_float:
            return np.dtype(f"f{_FLOAT_BITS[self.keyword] // 8}")
        if self.bits_allocated == 1:
            return np.dtype("u1")
        return np.dtype(f"{'ui'[self.pixel_representation]}{self.bits_allocated // 8}")

    @property
    def value_bits(self) -> int:
        """Bits that a decoded value may occupy, which bounds its range.

        That is BitsStored, except in JPEG-LS and JPEG 2000, whose codestream has a precision
        of its own that may exceed it.
        """
        if self.transfer_syntax in _OWN_PRECISION_SYNTAXES:
            return max(self.bits_allocated, 8)
        return self.bits_stored

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """``(rows, columns)``, or ``(rows, columns, samples)`` for colour."""
        if self.samples_per_pixel == 1:
            return (self.rows, self.columns)
        return (self.rows, self.columns, self.samples_per_pixel)

    @property
    def frame_bits(self) -> int:
        """Length of one native frame in bits; frames of 1-bit samples follow without padding."""
        samples = self.rows * self.columns * self.samples_per_pixel
        if self.shares_chroma:
            samples = samples // 3 * 2  # two pixels share their Cb and Cr: PS3.3 C.7.6.3.1.2
        return samples * _FLOAT_BITS.get(self.keyword, self.bits_allocated)

    @property
    def frame_bytes(self) -> int:
        """Length of one native frame in bytes, rounded up."""
        return -(-self.frame_bits // 8)

    def frame_span(self, frame: int) -> tuple[int, int, int]:
        """Return where a native frame lies in the value of the pixel data element.

        Parameters
        ----------
        frame : int
            Number of the frame, from 0.

        Returns
        -------
        offset : int
            Bytes from the start of the value to the first byte to read.
        length : int
            Bytes to read. In 8-bit big endian OW this may end with the padding byte.
        bit_offset : int
            Bits to skip in those bytes; not 0 only where frames are not aligned to the bytes
            (1-bit samples) or words (8-bit samples in big endian OW) that hold them.
        """
        unit = 16 if self.swaps_byte_pairs else 8
        start = frame * self.frame_bits
        first = start // unit * unit
        end = -(-(start + self.frame_bits) // unit) * unit
        return first // 8, (end - first) // 8, start - first

    def check(self) -> None:
        """Raise where the attributes cannot describe an image.

        Raises
        ------
        LayoutError
            Names the attribute, its value, and what is allowed.
        """
        _require("pixel data keyword", self.keyword, ("PixelData", *_FLOAT_BITS))
        for name, size in (("Rows", self.rows), ("Columns", self.columns)):
            _require_range(name, size, 1, 65535)
        if self.image_rows % self.rows or self.image_columns % self.columns:
            raise LayoutError(
                f"Tiles of {self.rows} rows and {self.columns} columns do not fill an image of "
                f"{self.image_rows} rows and {self.image_columns} columns."
            )
        _require("SamplesPerPixel", self.samples_per_pixel, (1, 3))
        if self.is_float:
            _require("BitsAllocated", self.bits_allocated, (_FLOAT_BITS[self.keyword],))
            _require("SamplesPerPixel", self.samples_per_pixel, (1,))
            if self.is_encapsulated:
                raise LayoutError(
                    f"{self.keyword} cannot be compressed, but TransferSyntaxUID is "
                    f"{self.transfer_syntax}."
                )
            return
        _require("BitsAllocated", self.bits_allocated, (1, 8, 16, 32, 64))
        _require_range("BitsStored", self.bits_stored, 1, self.bits_allocated)
        # Older files may hold the value in upper bits. DCMTK then follows HighBit, pydicom and
        # GDCM do not, so a number would be a guess. A codestream says itself where its bits are.
        if self.high_bit != self.bits_stored - 1 and not self.is_encapsulated:
            raise LayoutError(
                f"HighBit is {self.high_bit}, but with BitsStored {self.bits_stored} it must be "
                f"{self.bits_stored - 1} (PS3.5 8.1.1), and programs disagree on what is meant. If "
                f"the values are in the lower {self.bits_stored} bits, set HighBit to "
                f"{self.bits_stored - 1}."
            )
        _require("PixelRepresentation", self.pixel_representation, (0, 1))
        if self.samples_per_pixel == 3:
            _require("PlanarConfiguration", self.planar_configuration, (0, 1))
            if self.bits_allocated == 1:
                raise LayoutError("BitsAllocated 1 is not possible with SamplesPerPixel 3.")
        if self.photometric_interpretation == "YBR_PARTIAL_420" and not self.is_encapsulated:
            raise LayoutError(
                "PhotometricInterpretation YBR_PARTIAL_420 exists in compressed images only, but "
                f"TransferSyntaxUID is {self.transfer_syntax}."
            )
        if self.shares_chroma:
            _require("SamplesPerPixel", self.samples_per_pixel, (3,))
            if self.rows * self.columns % 2:
                raise LayoutError(
                    f"PhotometricInterpretation {self.photometric_interpretation} needs an even "
                    f"number of pixels, not {self.rows} rows of {self.columns} columns."
                )


@dataclass(frozen=True, slots=True)
class RowsLayout(PixelLayout):
    """Some of the rows of each frame, which follow each other in the file; see :func:`rows_of`."""

    first_row: int = 0
    whole: PixelLayout = PixelLayout(1, 1)

    def frame_span(self, frame: int) -> tuple[int, int, int]:
        """Return where the rows of a frame lie; see ``PixelLayout.frame_span``."""
        length = self.frame_bits // 8
        first, _, _ = self.whole.frame_span(frame)
        return first + self.first_row * (length // self.rows), length, 0


@lru_cache(maxsize=256)
def rows_of(layout: PixelLayout, first: int, count: int) -> RowsLayout | None:
    """Return the layout of some rows of a frame, None where they are not read without the others.

    Parameters
    ----------
    layout : PixelLayout
        Of the frame.
    first, count : int
        Which rows.

    Examples
    --------
    >>> rows_of(PixelLayout(rows=256, columns=192), first=64, count=8).frame_span(2)
    (221184, 3072, 0)
    """
    planes = layout.samples_per_pixel > 1 and layout.planar_configuration == 1
    if layout.is_encapsulated or layout.is_tile or planes:
        return None
    if layout.shares_chroma or layout.swaps_byte_pairs or layout.frame_bits % (8 * layout.rows):
        return None
    values = {name.name: getattr(layout, name.name) for name in fields(PixelLayout)}
    return RowsLayout(**{**values, "rows": count}, first_row=first, whole=layout)


def _require(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        choices = " or ".join(str(choice) for choice in allowed)
        raise LayoutError(f"{name} is {value!r}; it can be {choices}.")


def _require_range(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or not low <= value <= high:
        raise LayoutError(f"{name} is {value!r}; it can be from {low} to {high} here.")
