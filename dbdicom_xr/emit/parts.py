"""One image of an object that is written in parts: what it says of its pixels, and their bytes."""

from __future__ import annotations

import json
import struct

from dbdicom_xr.emit.assemble import PixelElements
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.values import Kind
from dbdicom_xr.staging.encode import Encoded

__all__ = ["file_name", "packed_part", "read_part"]

_LENGTH = struct.Struct("<I")


def file_name(image: int) -> str:
    """Return the name of the file of an image in the folder of its write."""
    return f"{image + 1:07d}.dcm"


def packed_part(said: PixelElements) -> bytes:
    """Return what stands before the pixels in the file of a part."""
    packed = json.dumps(
        [
            [key.tag, key.creator, encoded.kind.vr, encoded.value.hex()]
            for key, encoded in said.items()
        ]
    ).encode()
    return _LENGTH.pack(len(packed)) + packed


def read_part(path: str) -> tuple[PixelElements, int]:
    """Return what an image says of its pixels, and where these begin in the file."""
    with open(path, "rb") as file:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        said = json.loads(file.read(length))
    elements = {
        Key(tag, creator): Encoded(Kind(vr), bytes.fromhex(value))
        for tag, creator, vr, value in said
    }
    return elements, _LENGTH.size + length
