"""From the values of a zarr array back to the bytes of a DICOM file, where that is possible.

An image whose bytes follow from its values need not be kept twice. Whether they do is found out by
trying, byte for byte, before a store is said to be whole.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.reader import Scaling
from dbdicom_xr.pixels.layout import PixelLayout

__all__ = ["FrameForm", "form_of"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FrameForm:
    r"""How the values of a frame stand in its file.

    Parameters
    ----------
    dtype : str
        Of the stored samples, with their byte order.
    rows, columns, samples : int
        Of a frame.
    planar : bool
        Whether colours come one after the other (PS3.3 C.7.6.3.1.3).
    image_rows, image_columns : int
        Of the image of which the frame is a tile; 0 where it is none.
    slope, intercept : float
        By which stored values became those of the array.
    padding : int or None
        The stored value that is NaN in the array.

    Examples
    --------
    >>> form = FrameForm("<i2", rows=1, columns=2, slope=0.5)
    >>> form.spans(3)
    [(12, 4)]
    >>> form.stored(np.array([[1.5], [2.0]]))
    [b'\x03\x00\x04\x00']
    """

    dtype: str
    rows: int
    columns: int
    samples: int = 1
    planar: bool = False
    image_rows: int = 0
    image_columns: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    padding: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    def pixel_bytes(self, frames: int) -> int:
        """Return how many bytes the frames of an instance take in its file."""
        size = np.dtype(self.dtype).itemsize * self.samples
        if self.image_rows:
            return self.image_rows * self.image_columns * size
        return frames * self.rows * self.columns * size

    def spans(self, frame: int) -> list[tuple[int, int]]:
        """Return where the bytes of a frame lie among those of all: offset and length of each run.

        Parameters
        ----------
        frame : int
            Number in the instance, from 0.
        """
        size = np.dtype(self.dtype).itemsize * self.samples
        if not self.image_rows:
            length = self.rows * self.columns * size
            return [(frame * length, length)]
        down, across = divmod(frame, self.image_columns // self.columns)
        line, start = self.image_columns * size, across * self.columns * size
        return [
            ((down * self.rows + row) * line + start, self.columns * size)
            for row in range(self.rows)
        ]

    def stored(self, values: Array) -> list[bytes]:
        """Return the bytes of a frame, run by run.

        Parameters
        ----------
        values : ndarray, shape (columns, rows) or (columns, rows, samples)
        """
        kind = np.dtype(self.dtype)
        if kind.kind in "iu" and values.dtype.kind == "f":
            scaled = np.rint((values.astype(np.float64) - self.intercept) / self.slope)
            if self.padding is not None:
                scaled = np.where(np.isnan(scaled), self.padding, scaled)
            limits = np.iinfo(kind)
            with np.errstate(invalid="ignore"):  # what does not fit is found out by comparison
                values = np.nan_to_num(scaled).clip(limits.min, limits.max).astype(kind)
        elif kind.kind in "iu" and (self.slope, self.intercept) != (1.0, 0.0):
            values = (values.astype(np.int64) - int(self.intercept)) // int(self.slope)
        frame = np.swapaxes(values, 0, 1)
        if self.planar:
            frame = np.moveaxis(frame, 2, 0)
        data = np.ascontiguousarray(frame.astype(kind, copy=False)).tobytes()
        if not self.image_rows:
            return [data]
        step = len(data) // self.rows
        return [data[begin : begin + step] for begin in range(0, len(data), step)]

    def checksum(self, values: Array) -> int:
        """Return the CRC-32 of the bytes of a frame."""
        return zlib.crc32(b"".join(self.stored(values)))


def form_of(layout: PixelLayout, scaling: Scaling) -> FrameForm | None:
    """Return how frames of a layout stand in their file; None where the values do not tell.

    Examples
    --------
    >>> form_of(PixelLayout(2, 2), Scaling()).dtype
    '<u2'
    >>> form_of(PixelLayout(2, 2, transfer_syntax="1.2.840.10008.1.2.4.90"), Scaling()) is None
    True
    """
    colour = layout.photometric_interpretation
    if (
        layout.is_encapsulated
        or layout.swaps_byte_pairs
        or (layout.bits_allocated == 1 and not layout.is_float)
        or colour.startswith("YBR")  # shown as RGB
        or scaling.lut is not None
        or scaling.palette is not None
    ):
        return None
    planar = layout.samples_per_pixel > 1 and layout.planar_configuration == 1
    if planar and layout.is_tile:
        return None
    padding = None
    if scaling.padding is not None:
        padding = int(scaling.padding[0])
    return FrameForm(
        layout.dtype.newbyteorder(">" if layout.is_big_endian else "<").str.replace("|", "<"),
        layout.rows,
        layout.columns,
        layout.samples_per_pixel,
        planar,
        layout.image_rows,
        layout.image_columns,
        float(scaling.slope),
        float(scaling.intercept),
        padding,
    )
