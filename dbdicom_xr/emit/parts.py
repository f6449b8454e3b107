"""One image of an object that is written in parts: what is known of its pixels, and their bytes.

A part holds pixels as they stand in the object, or values that wait for a scale that all of its
images have in common.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dbdicom_xr.emit.assemble import PixelElements
from dbdicom_xr.emit.compress import compressed
from dbdicom_xr.emit.image import pixel_bytes, pixel_elements
from dbdicom_xr.emit.plan import WritePlan
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import EXPLICIT
from dbdicom_xr.index.files import TEMPORARY_SUFFIX
from dbdicom_xr.index.values import Kind
from dbdicom_xr.pixels.decode import decode_encapsulated, decode_native
from dbdicom_xr.pixels.layout import PixelLayout
from dbdicom_xr.pixels.quantise import Scale, Stored
from dbdicom_xr.staging.encode import Encoded

__all__ = [
    "Number", "Part", "file_name", "fragment", "read_part", "values_of", "write_file",
    "write_stored", "write_values",
]  # fmt: skip

Number: TypeAlias = "int | float"

_LENGTH: Final = struct.Struct("<I")
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Part:
    """What a part says before its pixels.

    Parameters
    ----------
    said : PixelElements
        What the image says of its pixels; nothing where they are no pixels yet.
    start : int
        Where these begin in the file.
    dtype : str
        Of the values that were given.
    low, high : int or float, optional
        Smallest and largest of them; None where all are NaN.
    stored : str
        Type of the stored values, "" where the values are there as they were given.
    scale : Scale, optional
        Of the stored values.
    padding : int, optional
        What stands for NaN among them.
    error : float
        No value is further off.
    """

    said: PixelElements
    start: int
    dtype: str
    low: Number | None
    high: Number | None
    stored: str = ""
    scale: Scale | None = None
    padding: int | None = None
    error: float = 0.0


def file_name(image: int) -> str:
    """Return the name of the file of an image in the folder of its write."""
    return f"{image + 1:07d}.dcm"


def fragment(plan: WritePlan, stored: Stored) -> bytes:
    """Return the pixels of an image as its object holds them."""
    values = stored.values
    if plan.transfer_syntax == EXPLICIT:
        return pixel_bytes(values)
    bits = 8 * values.dtype.itemsize
    return compressed(values, bits, plan.transfer_syntax, signed=values.dtype.kind == "i")


def write_stored(
    path: str, plan: WritePlan, stored: Stored, dtype: np.dtype[Any], *, error: float
) -> None:
    """Write a part of stored values.

    Parameters
    ----------
    path : str
    plan : WritePlan
    stored : Stored
    dtype : dtype
        Of the values that were given.
    error : float
        No value is further off.
    """
    said = pixel_elements(
        stored,
        rescales=plan.rescales,
        rescale_type=plan.rescale_type,
        transfer_syntax=plan.transfer_syntax,
    )
    slope, intercept = stored.scale.slope, stored.scale.intercept
    low: Number | None = None
    high: Number | None = None
    if stored.padding is None or stored.smallest != stored.padding:
        low, high = sorted(
            _real(end, stored.scale, dtype) for end in (stored.smallest, stored.largest)
        )
    head = [
        [
            [key.tag, key.creator, encoded.kind.vr, encoded.value.hex()]
            for key, encoded in said.items()
        ],
        dtype.str, low, high, stored.values.dtype.str, slope, intercept, stored.padding, error,
    ]  # fmt: skip
    _write_part(path, head, fragment(plan, stored))


def write_values(path: str, values: npt.NDArray[Any]) -> None:
    """Write a part of values as they are, finite or NaN."""
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    low, high = (known.min().item(), known.max().item()) if known.size else (None, None)
    _write_part(path, [[], values.dtype.str, low, high], pixel_bytes(values))


def _real(stored: int, scale: Scale, dtype: np.dtype[Any]) -> Number:
    if dtype.kind != "f" and scale.slope == 1:
        return stored + int(scale.intercept)
    return stored * scale.slope + scale.intercept


def _write_part(path: str, head: list[Any], data: bytes) -> None:
    packed = json.dumps(head).encode()
    write_file(path, [_LENGTH.pack(len(packed)) + packed, data])


def read_part(path: str) -> Part:
    """Return what a part says."""
    with open(path, "rb") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        said, dtype, low, high, *more = json.loads(file.read(length))
    elements = {
        Key(tag, creator): Encoded(Kind(vr), bytes.fromhex(value))
        for tag, creator, vr, value in said
    }
    start = _LENGTH.size + length
    if not more:
        return Part(elements, start, dtype, low, high)
    stored, slope, intercept, padding, error = more
    scale = Scale(slope, intercept)
    return Part(elements, start, dtype, low, high, stored, scale, padding, error)


def values_of(path: str, part: Part, plan: WritePlan) -> npt.NDArray[Any]:
    """Return the values of a part in the type in which they were given."""
    dtype = np.dtype(part.dtype)
    with open(path, "rb") as file:
        file.seek(part.start)
        data = file.read()
    if part.scale is None:
        return np.frombuffer(data, dtype.newbyteorder("<"), count=-1).reshape(plan.frame)
    codes = _codes(data, np.dtype(part.stored), plan)
    if dtype.kind != "f":
        return _integers(codes, part.scale, dtype)
    real = codes * part.scale.slope + part.scale.intercept
    if part.padding is not None:
        real[codes == part.padding] = np.nan
    return real.astype(dtype)


def _codes(data: bytes, stored: np.dtype[Any], plan: WritePlan) -> npt.NDArray[Any]:
    bits = 8 * stored.itemsize
    layout = PixelLayout(
        *plan.frame, bits, bits, bits - 1,
        pixel_representation=int(stored.kind == "i"),
        transfer_syntax=plan.transfer_syntax,
    )  # fmt: skip
    decode = decode_native if plan.transfer_syntax == EXPLICIT else decode_encapsulated
    return decode(data, layout)


def _integers(codes: npt.NDArray[Any], scale: Scale, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if scale.slope != 1:
        return np.rint(codes * scale.slope + scale.intercept).astype(dtype)
    # Whole numbers beyond 2**53 have such scales alone. The sum wraps, as that of any integers.
    without_sign = np.dtype(f"u{dtype.itemsize}")
    values = codes.astype(without_sign)
    values += without_sign.type(int(scale.intercept) % (1 << 8 * dtype.itemsize))
    return values.view(dtype)


def write_file(path: str, parts: Sequence[bytes]) -> None:
    """Write a file under another name and give it its own when it is whole."""
    temporary = f"{path}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    made = os.open(temporary, _FLAGS, 0o666)
    try:
        try:
            data = memoryview(b"".join(parts))
            while data:
                data = data[os.write(made, data) :]
        finally:
            os.close(made)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
