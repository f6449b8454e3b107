"""The CSA image header of Siemens, (0029,xx10), with nothing left in it but some numbers.

Without the normal of the slices that stands there, the tiles of a mosaic have no place. The rest
holds protocols, comments and dates. The layout is that which others have found out (``SV10``).
"""

from __future__ import annotations

import re
import struct
from typing import Final

__all__ = ["CREATOR", "ELEMENT", "GROUP", "cleaned"]

GROUP: Final = 0x0029
CREATOR: Final = "SIEMENS CSA HEADER"
ELEMENT: Final = 0x10

_START: Final = b"SV10\4\3\2\1"
_TAG: Final = struct.Struct("<64si4siii")  # name, multiplicity, VR, type, items, check
_ITEM: Final = struct.Struct("<4i")
_KEPT: Final = frozenset((
    "B_matrix", "B_value", "BandwidthPerPixelPhaseEncode", "DiffusionGradientDirection",
    "MosaicRefAcqTimes", "NumberOfImagesInMosaic", "PhaseEncodingDirectionPositive",
    "SliceMeasurementDuration", "SliceNormalVector",
))  # fmt: skip
_NUMBER: Final = re.compile(rb"\s*[-+]?[0-9.]{1,20}(?:[eE][-+]?[0-9]{1,3})?\s*")


def cleaned(value: bytes) -> bytes | None:
    """Return the header with all but the numbers that are needed blanked out.

    Parameters
    ----------
    value : bytes

    Returns
    -------
    bytes or None
        Of the same layout, made anew; None where it is not laid out as expected.
    """
    if not value.startswith(_START) or len(value) < 16:
        return None
    (count,) = struct.unpack_from("<I", value, 8)
    parts: list[bytes] = []
    place, kept = 16, 0
    try:
        for _ in range(count):
            raw, multiplicity, vr, kind, items, _ = _TAG.unpack_from(value, place)
            place += _TAG.size
            name = raw.partition(b"\0")[0]
            wanted = name.decode("latin-1") in _KEPT
            new = [_TAG.pack(name, multiplicity, vr.partition(b"\0")[0], kind, items, 77)]
            for _ in range(items):
                head = _ITEM.unpack_from(value, place)
                place += _ITEM.size
                length = head[1]
                if not 0 <= length <= len(value) - place:
                    return None
                text = value[place : place + length].partition(b"\0")[0]
                place += (length + 3) // 4 * 4
                data = text if _NUMBER.fullmatch(text) else b""
                size = len(data) + 1 if data else 0
                new.append(_ITEM.pack(size, size, 77, size))
                new.append(data.ljust((size + 3) // 4 * 4, b"\0"))
            if wanted:
                kept += 1
                parts += new
    except struct.error:
        return None
    return b"".join([_START, struct.pack("<II", kept, 77), *parts])
