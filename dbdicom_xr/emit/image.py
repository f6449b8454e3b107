"""What an image says of its own pixels (PS3.3 C.7.6.3, C.11.1, C.11.2), and their bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.decimals import decimal_text
from dbdicom_xr.emit.assemble import PixelElements
from dbdicom_xr.emit.compress import photometric
from dbdicom_xr.emit.elements import key_of
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import EXPLICIT
from dbdicom_xr.index.values import Kind
from dbdicom_xr.pixels.padding import MARKED, MARKER
from dbdicom_xr.pixels.quantise import Stored
from dbdicom_xr.staging.encode import Encoded

__all__ = ["OF_PIXELS", "pixel_bytes", "pixel_elements"]

_KEYWORDS: Final = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SmallestImagePixelValue",
    "LargestImagePixelValue", "PixelPaddingValue", "WindowCenter", "WindowWidth",
    "RescaleIntercept", "RescaleSlope", "RescaleType", "VOILUTFunction",
)  # fmt: skip
_KEY: Final = {keyword: key_of(keyword) for keyword in _KEYWORDS}

OF_PIXELS: Final[tuple[Key, ...]] = (*_KEY.values(), MARKER)
"""What each image says of its own pixels."""


@lru_cache(maxsize=4096)
def _number(keyword: str, value: int, signed: bool) -> tuple[Key, Encoded]:
    vr = "SS" if signed else "US"
    return _KEY[keyword], Encoded(Kind(vr), (value & 0xFFFF).to_bytes(2, "little"))


@lru_cache(maxsize=4096)
def _text(keyword: str, vr: str, text: str) -> tuple[Key, Encoded]:
    return _KEY[keyword], Encoded(Kind(vr), (text + " " * (len(text) % 2)).encode("ascii"))


def pixel_elements(
    stored: Stored,
    *,
    rescales: bool = False,
    rescale_type: str = "",
    transfer_syntax: str = EXPLICIT,
) -> PixelElements:
    """Return what an image says of its pixels.

    Parameters
    ----------
    stored : Stored
        Its pixels, of shape (rows, columns) or (rows, columns, 3).
    rescales : bool
        Whether slope and intercept stand in it in any case.
    rescale_type : str
        What RescaleType says, beside a slope and an intercept; "" where nothing has to.
    transfer_syntax : str
        UID of the encoding.

    Notes
    -----
    The window shows all values. Where it is narrower than 1, VOILUTFunction is LINEAR_EXACT,
    since the others do not allow that (PS3.3 C.11.2.1.2).
    """
    values = stored.values
    signed = values.dtype.kind == "i"
    bits = 8 * values.dtype.itemsize
    samples = values.shape[2] if values.ndim == 3 else 1
    said = dict(
        [
            _number("SamplesPerPixel", samples, False),
            _text("PhotometricInterpretation", "CS", photometric(transfer_syntax, samples)),
            _number("Rows", values.shape[0], False),
            _number("Columns", values.shape[1], False),
            _number("BitsAllocated", bits, False),
            _number("BitsStored", bits, False),
            _number("HighBit", bits - 1, False),
            _number("PixelRepresentation", int(signed), False),
        ]
    )
    if samples > 1:
        said.update([_number("PlanarConfiguration", 0, False)])
        return said
    said.update(
        [
            _number("SmallestImagePixelValue", stored.smallest, signed),
            _number("LargestImagePixelValue", stored.largest, signed),
        ]
    )
    if stored.padding is not None:
        said.update([_number("PixelPaddingValue", stored.padding, signed)])
        said[MARKER] = Encoded(Kind("CS"), (MARKED + " " * (len(MARKED) % 2)).encode("ascii"))
    slope, intercept = stored.scale.slope, stored.scale.intercept
    if rescales or rescale_type or (slope, intercept) != (1.0, 0.0):
        said.update(
            [
                _text("RescaleSlope", "DS", decimal_text(slope)),
                _text("RescaleIntercept", "DS", decimal_text(intercept)),
                _text("RescaleType", "LO", rescale_type or "US"),
            ]
        )
    ends = sorted(slope * end + intercept for end in (stored.smallest, stored.largest))
    centre, width = (ends[0] + ends[1]) / 2, ends[1] - ends[0]
    exact = 0 < width < 1
    said.update(
        [
            _text("WindowCenter", "DS", f"{centre:.9g}"),
            _text("WindowWidth", "DS", f"{width if exact else max(width, 1.0):.9g}"),
        ]
    )
    if exact:
        said.update([_text("VOILUTFunction", "CS", "LINEAR_EXACT")])
    return said


def pixel_bytes(values: npt.NDArray[Any]) -> bytes:
    """Return native pixels, in little endian and of even length."""
    ordered = np.ascontiguousarray(values)
    if ordered.dtype.byteorder == ">":
        ordered = ordered.astype(ordered.dtype.newbyteorder("<"))
    raw = ordered.tobytes()
    return raw + b"\0" if len(raw) % 2 else raw
