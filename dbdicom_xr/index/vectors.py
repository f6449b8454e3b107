"""Attributes that list one value per frame, as columns with a row per frame.

Multi-frame objects older than the functional groups say in vectors which slice, detector or time
each frame belongs to (PS3.3 C.7.6.6, C.8.4.8), and where the planes of a dose lie (C.8.8.3.2).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.columns import Column, Key, tidy
from dbdicom_xr.index.elements import External, Header, tag_bytes
from dbdicom_xr.index.files import Opened, pread
from dbdicom_xr.index.values import Kind, decode, kind_for, known_vr

__all__ = ["vector_columns"]

_POINTER: Final = 0x00280009
_OFFSETS: Final = 0x3004000C
_SOP_CLASS: Final = 0x00080016
_POSITION: Final = 0x00200032
_ORIENTATION: Final = 0x00200037
_RT_DOSE: Final = b"1.2.840.10008.5.1.4.1.1.481.2"
# FrameTimeVector, increments of the table and of the angles of C-arms, cine labels, the vectors of
# nuclear medicine (energy window, detector, phase, rotation, RR interval, time slot, slice, angular
# view, time slice), offsets of dose planes. FrameIncrementPointer may name others.
_VECTORS: Final = frozenset(
    (
        0x00181065, 0x00181135, 0x00181136, 0x00181137, 0x00181520, 0x00181521,
        *range(0x00182001, 0x00182007),
        0x00540010, 0x00540020, 0x00540030, 0x00540050, 0x00540060, 0x00540070, 0x00540080,
        0x00540090, 0x00540100, _OFFSETS,
    )
)  # fmt: skip
_SIZES: Final = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "UV": 8, "SV": 8}
_TEXTS: Final = frozenset(("DS", "IS", "LO", "SH", "CS", "DA", "TM", "DT"))
_TOLERANCE: Final = 1e-3  # mm


def vector_columns(fd: Opened, header: Header, frames: int, kind: Kind) -> dict[Key, Column]:
    """Return the vectors of one instance that have a value for each frame.

    Parameters
    ----------
    fd : int or Bytes
        Descriptor of the file, for vectors that were left in it.
    header : Header
        Its notes say what is contradictory.
    frames : int
        More than one.
    kind : Kind
        Encoding of the data set.

    Returns
    -------
    dict
        Under their own tags; for a dose also ImagePositionPatient.
    """
    wanted = _VECTORS | _pointers(header, kind)
    names = {tag_bytes(tag): tag for tag in wanted}
    result: dict[Key, Column] = {}
    for name, value in header.elements.items():
        tag = names.get(name[:4])
        if tag is None:
            continue
        if isinstance(value, External):
            value = pread(fd, value.length, value.offset)
        vr = name[4:].decode("ascii") if name[4:] != b"\0\0" else ""
        parts = _parts(value, vr if vr not in ("", "UN") else known_vr(tag))
        if parts is not None and len(parts) == frames:
            result[Key(tag)] = _column(tag, kind_for(tag, vr, kind), parts)
    if Key(_OFFSETS) in result and (header.value(_SOP_CLASS) or b"").strip(b"\0 ") == _RT_DOSE:
        positions = _dose_positions(result[Key(_OFFSETS)], header, kind)
        if positions is not None:
            result[Key(_POSITION)] = positions
    return result


def _pointers(header: Header, kind: Kind) -> set[int]:
    """Return the tags that FrameIncrementPointer names, private ones left out."""
    raw = header.value(_POINTER)
    value = decode(_POINTER, "", kind._replace(vr="AT"), raw, quiet=True) if raw else None
    tags = value if isinstance(value, list) else [value]
    return {tag for tag in tags if isinstance(tag, int) and tag >> 16 > 8 and not tag >> 16 & 1}


def _parts(value: bytes, vr: str) -> list[bytes] | None:
    """Return the single values of a multi-valued attribute."""
    size = _SIZES.get(vr)
    if size is not None:
        return [value[i : i + size] for i in range(0, len(value) - size + 1, size)]
    return [part.strip(b"\0 ") for part in value.split(b"\\")] if vr in _TEXTS else None


def _column(tag: int, kind: Kind, parts: list[bytes]) -> Column:
    numbers: dict[bytes, int] = {}
    codes = np.array([numbers.setdefault(part, len(numbers)) for part in parts], np.int32)
    return tidy(Key(tag), [kind], list(numbers), [0] * len(numbers), codes)


def _dose_positions(offsets: Column, header: Header, kind: Kind) -> Column | None:
    """Return ImagePositionPatient of each plane of a dose (PS3.3 C.8.8.3.2).

    Offsets that begin with 0 count along the normal from the first plane. Those that begin with
    the z coordinate of the first plane are z coordinates.
    """
    along = _numbers(offsets.decoded())[offsets.codes_of()]
    position = _attribute(header, _POSITION, kind, 3)
    orientation = _attribute(header, _ORIENTATION, kind, 6)
    if position is None or orientation is None or not np.isfinite(along).all():
        return None
    positions = np.tile(position, (len(along), 1))
    if along[0] == 0:
        positions += along[:, None] * np.cross(orientation[:3], orientation[3:])
    elif abs(along[0] - position[2]) < _TOLERANCE and _is_axial(orientation):
        positions[:, 2] = along
    else:
        header.notes.append(
            f"GridFrameOffsetVector begins with {along[0]:g}, which is neither 0 nor the z "
            "coordinate of an axial plane; the positions of the dose planes are not known"
        )
        # Better none than that of the first plane for all.
        return _column(_POSITION, Kind("DS"), [b""] * len(along))
    texts = [b"\\".join(b"%.10g" % value for value in row) for row in positions.tolist()]
    return _column(_POSITION, Kind("DS"), texts)


def _is_axial(orientation: npt.NDArray[np.float64]) -> bool:
    return bool(np.abs(orientation[[2, 5]]).max() < _TOLERANCE)


def _attribute(header: Header, tag: int, kind: Kind, count: int) -> npt.NDArray[np.float64] | None:
    raw = header.value(tag)
    value = decode(tag, "", kind._replace(vr="DS"), raw, quiet=True) if raw else None
    if not isinstance(value, list) or len(value) != count:
        return None
    numbers = _numbers(value)
    return numbers if np.isfinite(numbers).all() else None


def _numbers(values: list[object]) -> npt.NDArray[np.float64]:
    return np.array([v if isinstance(v, (int, float)) else np.nan for v in values], np.float64)
