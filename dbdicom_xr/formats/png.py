"""PNG files, and how grey values are shown in them: windows and VOI LUTs (PS3.3 C.11.2)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.pixels.rescale import modality_lut

__all__ = ["LINEAR", "LINEAR_EXACT", "SIGMOID", "Lut", "Range", "Window", "png", "shown"]

Floats = npt.NDArray[np.float64]

LINEAR: Final = "LINEAR"
LINEAR_EXACT: Final = "LINEAR_EXACT"
SIGMOID: Final = "SIGMOID"


@dataclass(frozen=True)
class Window:
    """Which values are shown from black to white (PS3.3 C.11.2.1.2, C.11.2.1.3).

    Parameters
    ----------
    centre, width : float
    function : {"LINEAR", "LINEAR_EXACT", "SIGMOID"}
        VOILUTFunction.

    Examples
    --------
    >>> Window(1, 3).apply(np.array([-5.0, 0.5, 9.0]))
    array([0. , 0.5, 1. ])
    """

    centre: float
    width: float
    function: str = LINEAR

    def __post_init__(self) -> None:
        least = 1.0 if self.function == LINEAR else 0.0
        fits = self.width >= least if self.function == LINEAR else self.width > least
        if not (np.isfinite(self.centre) and np.isfinite(self.width) and fits):
            raise InvalidValue(
                f"A window with centre {self.centre:g} and width {self.width:g} cannot be shown: "
                f"the width has to be {'at least 1' if self.function == LINEAR else 'above 0'} "
                f"({self.function}, PS3.3 C.11.2.1). Give another: window=(centre, width)."
            )
        if self.function not in (LINEAR, LINEAR_EXACT, SIGMOID):
            raise InvalidValue(
                f"VOILUTFunction is {self.function!r}; it is LINEAR, LINEAR_EXACT or SIGMOID. "
                "Give a window: window=(centre, width)."
            )

    @classmethod
    def given(cls, centre: float, width: float, dtype: npt.DTypeLike) -> Window:
        """Return the window that a user gave for values of a type.

        Of integers a window is that of DICOM's displays (LINEAR, PS3.3 C.11.2.1.2.1), which counts
        whole steps: a width of 1 is a threshold. Of fractions it goes from centre - width / 2 to
        centre + width / 2 (LINEAR_EXACT), as any does that is narrower than 1, which has no meaning
        by the formula of LINEAR.

        Examples
        --------
        >>> Window.given(40, 400, "int16").function, Window.given(0.5, 1, "float32").function
        ('LINEAR', 'LINEAR_EXACT')
        """
        whole = width >= 1 and np.dtype(dtype).kind != "f"
        return cls(centre, width, LINEAR if whole else LINEAR_EXACT)

    def apply(self, values: npt.NDArray[Any]) -> Floats:
        """Return what is shown of values: from 0 to 1."""
        x = values.astype(np.float64)
        if self.function == SIGMOID:
            with np.errstate(over="ignore"):
                result: Floats = 1 / (1 + np.exp(-4 * (x - self.centre) / self.width))
            return result
        if self.function == LINEAR_EXACT:
            return np.clip((x - self.centre) / self.width + 0.5, 0, 1)
        middle, width = self.centre - 0.5, self.width - 1
        if width == 0:
            return np.where(np.isnan(x), np.nan, (x > middle).astype(np.float64))
        return np.clip((x - middle) / width + 0.5, 0, 1)


@dataclass(frozen=True)
class Range:
    """From the smallest value, which is black, to the largest, which is white."""

    low: float
    high: float

    def apply(self, values: npt.NDArray[Any]) -> Floats:
        """Return what is shown of values: from 0 to 1; 0 where all are the same."""
        x = values.astype(np.float64)
        span = self.high - self.low
        if not span > 0:
            return np.where(np.isnan(x), np.nan, 0.0)
        return np.clip((x - self.low) / span, 0, 1)


@dataclass(frozen=True, eq=False)
class Lut:
    """A VOI LUT: a table of what is shown (PS3.3 C.11.2.1.1).

    Parameters
    ----------
    first : int
        The value that the first entry is for.
    bits : int
        Per entry.
    table : ndarray of int
    """

    first: int
    bits: int
    table: npt.NDArray[Any]

    def apply(self, values: npt.NDArray[Any]) -> Floats:
        """Return what is shown of values: from 0 to 1."""
        missing = np.isnan(values) if values.dtype.kind == "f" else None
        whole = np.rint(np.nan_to_num(values)).astype(np.int64)
        entries = modality_lut(whole, self.first, self.bits, self.table)
        result = entries / float((1 << self.bits) - 1)
        return result if missing is None else np.where(missing, np.nan, result)


def shown(
    fractions: Floats,
    *,
    inverted: bool = False,
    bits: int = 8,
    colours: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[Any]:
    """Return the pixels of a picture.

    Parameters
    ----------
    fractions : ndarray of float64
        From 0 to 1, NaN where there is nothing.
    inverted : bool
        Whether 0 is white.
    bits : {8, 16}
    colours : ndarray of uint8, shape (256, 3), optional
        Of a colour map, from 0 to 1.

    Examples
    --------
    >>> shown(np.array([0, 0.5, 1, np.nan])), shown(np.array([0.25, np.nan]), inverted=True)
    (array([  0, 128, 255,   0], dtype=uint8), array([191,   0], dtype=uint8))
    """
    missing = np.isnan(fractions)
    x = np.where(missing, 0, 1 - fractions if inverted else fractions)
    if colours is not None:
        # As matplotlib: 256 steps of one width.
        result = colours[np.minimum((x * 256).astype(np.int64), 255)]
    else:
        largest = (1 << bits) - 1
        dtype = np.uint8 if bits == 8 else np.uint16
        result = np.floor(x * largest + 0.5).astype(dtype)
    result[missing] = 0
    return result


def png(
    pixels: npt.NDArray[Any],
    spacing: tuple[float, float] | None = None,
    aspect: tuple[int, int] | None = None,
) -> bytes:
    """Return a picture as the bytes of a PNG file.

    Parameters
    ----------
    pixels : ndarray of uint8 or uint16, shape (rows, columns) or (rows, columns, 3)
    spacing : (float, float), optional
        Distance of rows and of columns in mm.
    aspect : (int, int), optional
        Height and width of a pixel in any unit, where no distance in mm is known.

    Examples
    --------
    >>> import imagecodecs
    >>> data = png(np.array([[0, 255]], np.uint8), (0.5, 0.25))
    >>> imagecodecs.png_decode(data)
    array([[  0, 255]], dtype=uint8)
    """
    import imagecodecs

    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=6))
    if spacing is not None:
        density, unit = [round(1000 / step) for step in reversed(spacing)], 1  # per metre
    elif aspect is not None:
        density, unit = list(aspect), 0
    else:
        return data
    # Pixels per unit along x and y (PNG 11.3.4.3), behind the header, which has 33 bytes.
    x, y = (min(max(number, 1), 2**31 - 1) for number in density)
    content = b"pHYs" + struct.pack(">IIB", x, y, unit)
    chunk = struct.pack(">I", 9) + content + struct.pack(">I", zlib.crc32(content))
    return data[:33] + chunk + data[33:]
