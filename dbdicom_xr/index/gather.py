"""From the headers of many files to columns, one block per series.

Within a block only what changes from one file to the next is noted, so that the elements on which
the files of a series agree cost one comparison each.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.columns import Column, Key, concatenate
from dbdicom_xr.index.fallback import read_with_pydicom
from dbdicom_xr.index.files import open_for_reading, pread
from dbdicom_xr.index.functional import PER_FRAME, SHARED, frame_columns
from dbdicom_xr.index.values import AMBIGUOUS, NESTED, TEXT, Kind, decode, known_vr
from dbdicom_xr.index.walker import External, Header, Malformed, Unusual, walk

__all__ = ["PLACE", "Block", "Findings", "SeriesKey", "gather"]

PLACE: Final = np.dtype(
    [
        ("file", "<i8"),  # number of the file in the index
        ("offset", "<i8"),  # of the pixel data; -1 without
        ("length", "<i8"),  # of native pixel data; -1 where encapsulated
        ("frames", "<i4"),
        ("element", "u1"),  # 0x10 PixelData, 0x08 FloatPixelData, 0x09 DoubleFloatPixelData
        ("deflated", "u1"),
        ("bytes", "u1"),  # whether the VR is OB, which big endian does not swap
    ]
)
"""What the index knows of the pixels of an instance."""

FRAGMENTS: Final = Key(0xFFFEE000)
"""The column of the fragments of encapsulated pixel data: int64 pairs (offset, length)."""

DICOMDIR: Final = "1.2.840.10008.1.3.10"


class SeriesKey(NamedTuple):
    """What makes instances one series."""

    patient_id: str
    patient_name: str
    study_uid: str
    series_uid: str


@dataclass(slots=True)
class Block:
    """Some instances of one series, in columns."""

    key: SeriesKey
    columns: dict[Key, Column]
    frames: dict[Key, Column]  # only attributes that differ from the instance's; rows are frames
    places: npt.NDArray[np.void]
    uids: list[str]

    def __len__(self) -> int:
        return len(self.uids)


@dataclass(slots=True)
class Findings:
    """What reading a list of files showed; files are known by their position in the list."""

    blocks: list[Block] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)  # not in any block
    notes: dict[int, str] = field(default_factory=dict)  # in a block, but something is wrong
    versions: dict[int, tuple[int, int]] = field(default_factory=dict)  # size, mtime_ns


def gather(paths: Sequence[str]) -> Findings:
    """Read the headers of files.

    Parameters
    ----------
    paths : sequence of str

    Returns
    -------
    Findings
    """
    findings = Findings()
    groups: dict[object, _Group] = {}
    hint = 16384
    for number, path in enumerate(paths):
        try:
            fd = open_for_reading(path)
        except OSError as error:
            findings.problems[number] = f"cannot be opened: {error.strerror or error}"
            continue
        try:
            status = os.fstat(fd)
            findings.versions[number] = (status.st_size, status.st_mtime_ns)
            if not stat.S_ISREG(status.st_mode):
                raise Malformed("not a regular file")
            if status.st_size == 0:
                raise Malformed("an empty file")
            try:
                header = walk(fd, status.st_size, hint)
            except Unusual as unusual:
                header = read_with_pydicom(fd, status.st_size, path, str(unusual))
            if header.pixels is not None and not header.deflated:
                hint = min(max(header.pixels.offset + 256, 4096), 65536)
            _add(groups, fd, number, header)
            if header.notes:
                findings.notes[number] = "; ".join(header.notes)
        except Malformed as error:
            findings.problems[number] = str(error)
        except OSError as error:
            findings.problems[number] = f"cannot be read: {error.strerror or error}"
        finally:
            os.close(fd)
    findings.blocks = [group.block() for group in groups.values()]
    return findings


def _names(tag: int, vr: bytes) -> tuple[bytes, bytes]:
    key = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    return key + vr, key + b"\0\0"


# Where to find, in explicit and in implicit VR, what decides about group and instance.
_SOP_CLASS = _names(0x00080016, b"UI")
_SOP_INSTANCE = _names(0x00080018, b"UI")
_CHARSET = _names(0x00080005, b"CS")
_PIXEL_REPRESENTATION = _names(0x00280103, b"US")
_FRAMES = _names(0x00280008, b"IS")
_SHARED = _names(SHARED, b"SQ")
_PER_FRAME = _names(PER_FRAME, b"SQ")
_IDENTITY = (
    _names(0x00100020, b"LO"), _names(0x00100010, b"PN"),
    _names(0x0020000D, b"UI"), _names(0x0020000E, b"UI"),
)  # fmt: skip


def _add(groups: dict[object, _Group], fd: int, number: int, header: Header) -> None:
    elements = header.elements
    form = 1 if header.implicit else 0
    get = elements.get
    sop_class = get(_SOP_CLASS[form]) or get(b"\x02\x00\x02\x00UI")
    if isinstance(sop_class, bytes) and sop_class.rstrip(b"\0 ") == DICOMDIR.encode():
        raise Malformed(
            "a DICOMDIR, which holds no images; the files that it lists are read themselves"
        )
    identity = (
        header.implicit, header.big_endian, get(_CHARSET[form]),
        get(_PIXEL_REPRESENTATION[form]) if header.implicit else None,
        get(_IDENTITY[0][form]), get(_IDENTITY[1][form]),
        get(_IDENTITY[2][form]), get(_IDENTITY[3][form]),
    )  # fmt: skip
    group = groups.get(identity)
    if group is None:
        group = groups[identity] = _Group(header, identity[4:])
    group.add(fd, number, header, form)


_META = Kind("UI")


class _Group:
    """The files of one series with one encoding, as they are read."""

    def __init__(self, header: Header, identity: Sequence[bytes | External | None]) -> None:
        form = 1 if header.implicit else 0
        charset = header.elements.get(_CHARSET[form]) or b""
        signed = header.elements.get(_PIXEL_REPRESENTATION[form])
        self.kind = Kind(
            "",
            header.implicit,
            header.big_endian,
            charset if isinstance(charset, bytes) else b"",
            signed[0] & 1 if header.implicit and isinstance(signed, bytes) and signed else -1,
        )
        names = []
        for tag, vr, raw in zip(
            (0x00100020, 0x00100010, 0x0020000D, 0x0020000E), ("LO", "PN", "UI", "UI"), identity,
            strict=True,
        ):  # fmt: skip
            value = (
                decode(tag, "", self.kind._replace(vr=vr), raw) if isinstance(raw, bytes) else None
            )
            if isinstance(value, list):
                value = "\\".join(str(part) for part in value)
            names.append(str(value).strip() if value else "")
        self.key = SeriesKey(*names)
        self.rows = 0
        self.previous: dict[bytes, bytes | External] = {}
        self.events: dict[bytes, tuple[dict[bytes | External, int], list[int], list[int]]] = {}
        self.places: list[tuple[int, int, int, int, int, int, int]] = []
        self.fragments: list[bytes | None] = []
        self.uids: list[str] = []
        self.frames: list[dict[Key, Column] | None] = []

    def add(self, fd: int, number: int, header: Header, form: int) -> None:
        elements = header.elements
        frames, columns = self._frames(fd, header, form)
        row = self.rows
        self.rows += 1
        previous = self.previous
        events = self.events
        fresh = 0
        for name, value in elements.items():
            before = previous.get(name)
            if before != value:
                if before is None:
                    fresh += 1
                event = events.get(name)
                if event is None:
                    event = events[name] = ({}, [], [])
                numbers = event[0]
                event[1].append(row)
                event[2].append(numbers.setdefault(value, len(numbers)))
        if len(previous) + fresh != len(elements):
            for name in previous.keys() - elements.keys():
                event = events[name]
                event[1].append(row)
                event[2].append(-1)
        self.previous = elements

        uid = elements.get(_SOP_INSTANCE[form])
        self.uids.append(
            uid.decode("ascii", "replace").strip("\0 ") if isinstance(uid, bytes) else ""
        )
        pixels = header.pixels
        if pixels is None:
            self.places.append((number, -1, 0, frames, 0, 0, 0))
            self.fragments.append(None)
        else:
            self.places.append(
                (
                    number,
                    pixels.offset,
                    pixels.length,
                    frames,
                    pixels.element,
                    header.deflated,
                    pixels.vr == "OB",
                )
            )
            self.fragments.append(
                None
                if pixels.fragments is None
                else np.array(pixels.fragments, "<i8").reshape(-1, 2).tobytes()
            )
        self.frames.append(columns)

    def _frames(self, fd: int, header: Header, form: int) -> tuple[int, dict[Key, Column] | None]:
        """Return the number of frames and the attributes of each."""
        raw = header.elements.get(_FRAMES[form])
        if raw is None or header.pixels is None:
            return 1, None
        try:
            declared = int(bytes(raw).strip(b" \0") or b"1")  # type: ignore[arg-type]
        except (ValueError, TypeError):
            header.notes.append(f"NumberOfFrames is {raw!r}; read as one frame")
            return 1, None
        frames = _possible_frames(declared, header)
        if frames != declared:
            header.notes.append(
                f"NumberOfFrames is {declared}, the pixel data hold {frames}; {frames} are read"
            )
        groups = []
        for names in (_SHARED, _PER_FRAME):
            value = header.elements.get(names[form])
            if isinstance(value, External):
                value = pread(fd, value.length, value.offset)
            groups.append(value)
        if groups == [None, None]:
            return frames, None
        try:
            return frames, frame_columns(groups[0], groups[1], frames, self.kind)
        except Exception as error:  # the instance stays, without its frames' attributes
            header.notes.append(f"the functional groups cannot be read: {error}")
            return frames, None

    def block(self) -> Block:
        columns = self._columns()
        if any(item is not None for item in self.fragments):
            numbers: dict[bytes | External, int] = {}
            codes = np.array(
                [
                    -1 if item is None else numbers.setdefault(item, len(numbers))
                    for item in self.fragments
                ],
                np.int32,
            )
            columns[FRAGMENTS] = Column(
                FRAGMENTS, [Kind("OB")], list(numbers), [0] * len(numbers), codes, self.rows
            )
        counts = [place[3] for place in self.places]
        frames: dict[Key, Column] = {}
        names: dict[Key, None] = {}
        for part in self.frames:
            if part is not None:
                names.update(dict.fromkeys(part))
        for name in names:
            frames[name] = concatenate(
                name, [part and part.get(name) for part in self.frames], counts
            )
        return Block(self.key, columns, frames, np.array(self.places, PLACE), self.uids)

    def _columns(self) -> dict[Key, Column]:
        creators = self._creators()
        parts: dict[Key, list[_Part]] = {}
        for name, (numbers, at, changes) in self.events.items():
            tag = int.from_bytes(name[:2], "little") << 16 | int.from_bytes(name[2:4], "little")
            kind = self._kind(tag, name[4:])
            codes = _expand(at, changes, self.rows)
            group, element = tag >> 16, tag & 0xFFFF
            if not group & 1 or element < 0x1000:
                parts.setdefault(Key(tag), []).append((kind, numbers, codes))
                continue
            for creator, rows in creators.get((group, element >> 8), [("", None)]):
                key = Key(group << 16 | element & 0xFF, creator) if creator else Key(tag)
                here = codes if rows is None else np.where(rows, codes, -1)
                taken = parts.get(key)
                if taken and any(bool(((c >= 0) & (here >= 0)).any()) for _, _, c in taken):
                    key = Key(tag)  # one creator with two blocks in one file: keep both
                parts.setdefault(key, []).append((kind, numbers, here))
        return {key: _combine(key, self.rows, items) for key, items in parts.items()}

    def _creators(self) -> dict[tuple[int, int], list[tuple[str, npt.NDArray[np.bool_] | None]]]:
        """Return for each private block its creators, and in which rows where they differ."""
        found: dict[tuple[int, int], list[tuple[str, npt.NDArray[np.bool_] | None]]] = {}
        for name, (numbers, at, changes) in self.events.items():
            group = int.from_bytes(name[:2], "little")
            element = int.from_bytes(name[2:4], "little")
            if not group & 1 or not 0x10 <= element <= 0xFF:
                continue
            texts = [
                str(decode(group << 16 | element, "", self.kind._replace(vr="LO"), raw) or "")
                if isinstance(raw, bytes)
                else ""
                for raw in numbers
            ]
            if at == [0]:
                found[group, element] = [(texts[0], None)]
                continue
            codes = _expand(at, changes, self.rows)
            entries: list[tuple[str, npt.NDArray[np.bool_] | None]] = [("", codes < 0)]
            entries += [(text, codes == code) for code, text in enumerate(texts)]
            found[group, element] = entries
        return found

    def _kind(self, tag: int, vr: bytes) -> Kind:
        if tag >> 16 == 2:
            return Kind(vr.decode("ascii", "replace"))
        code = "" if vr == b"\0\0" else vr.decode("ascii")
        return _kind_for(tag, code, self.kind)


@lru_cache(maxsize=4096)
def _kind_for(tag: int, vr: str, encoding: Kind) -> Kind:
    """Return the encoding with only what matters to this tag, so that equal values stay equal."""
    known = vr or known_vr(tag)
    nested = vr in NESTED and known in ("SQ", "UN", "")
    return Kind(
        vr,
        encoding.implicit if nested or not vr else False,
        encoding.big_endian,
        encoding.charset if known in TEXT or nested else b"",
        encoding.signed if nested or known == AMBIGUOUS else -1,
    )


_Part = tuple[Kind, dict["bytes | External", int], npt.NDArray[np.int32]]


def _expand(at: list[int], changes: list[int], rows: int) -> npt.NDArray[np.int32]:
    codes = np.full(rows, -1, np.int32)
    codes[at[0] :] = np.repeat(np.array(changes, np.int32), np.diff([*at, rows]))
    return codes


def _combine(key: Key, rows: int, parts: list[_Part]) -> Column:
    parts = [part for part in parts if (part[2] >= 0).any()] or parts[:1]
    kinds = [kind for kind, _, _ in parts]
    values: list[bytes | External] = []
    kind_of: list[int] = []
    codes = np.full(rows, -1, np.int32)
    for number, (_, numbers, part) in enumerate(parts):
        np.copyto(codes, part + np.int32(len(values)), where=part >= 0)
        values.extend(numbers)
        kind_of.extend([number] * len(numbers))
    column = Column(key, kinds, values, kind_of, codes, rows)
    if len(values) == 1 and bool((codes == 0).all()):
        column.codes = None
    elif len(parts) > 1 or bool((codes < 0).all()):
        return column.take(np.arange(rows))
    return column


def _possible_frames(declared: int, header: Header) -> int:
    """Return how many frames the pixel data can hold at most, for absurd declarations."""
    pixels = header.pixels
    assert pixels is not None
    if declared < 1:
        return 1
    if pixels.fragments is not None:
        return max(1, min(declared, len(pixels.fragments) - 1))
    # A bit per pixel is the least a frame may take; the exact check is the reader's.
    size = header.value(0x00280010), header.value(0x00280011)
    if not all(part and len(part) == 2 for part in size):
        return min(declared, max(1, pixels.length))
    order = "big" if header.big_endian else "little"
    rows, columns = (int.from_bytes(part or b"", order) for part in size)  # type: ignore[arg-type]
    bits = max(1, rows * columns)
    return max(1, min(declared, pixels.length * 8 // bits))
