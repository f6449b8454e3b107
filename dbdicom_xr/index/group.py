"""The headers of one series, as they are read, to one block of columns.

Only what changes from one file to the next is noted, so that the elements on which the files of a
series agree cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.blocks import FRAGMENTS, PLACE, Block, SeriesKey
from dbdicom_xr.index.columns import Column, Key, concatenate, tidy
from dbdicom_xr.index.elements import External, Header, Malformed, PixelPlace, tag_bytes
from dbdicom_xr.index.files import Opened, pread
from dbdicom_xr.index.fragments import pack_fragments
from dbdicom_xr.index.functional import PER_FRAME, SHARED, frame_columns
from dbdicom_xr.index.mosaic import NoTiles, is_mosaic, is_tiled, pack_tiles, tiles_of_mosaic
from dbdicom_xr.index.repeats import Run
from dbdicom_xr.index.values import Kind, decode, instance_uid, kind_for
from dbdicom_xr.index.vectors import vector_columns

__all__ = ["Group", "group_key"]

_MOST_FRAMES: Final = 1 << 22
"""Of one instance: each costs memory in every column, and a file of zeros can claim any number."""

_NUMBER: Final = Kind("IS")
_DICOMDIR: Final = b"1.2.840.10008.1.3.10"


def _names(tag: int, vr: str) -> tuple[bytes, bytes, bytes]:
    key = tag_bytes(tag)
    return key + vr.encode("ascii"), key + b"\0\0", key + b"UN"


def _find(header: Header, names: tuple[bytes, bytes, bytes]) -> bytes | External | None:
    """Return a raw value, whether its VR is explicit, implicit or unknown."""
    get = header.elements.get
    value = get(names[header.implicit])
    if value is None:
        value = get(names[2]) or get(names[not header.implicit])
    return value


# Under which names to find what decides about group and instance.
_SOP_CLASS = _names(0x00080016, "UI")
_SOP_INSTANCE = _names(0x00080018, "UI")
_CHARSET = _names(0x00080005, "CS")
_PIXEL_REPRESENTATION = _names(0x00280103, "US")
_FRAMES = _names(0x00280008, "IS")
_IMAGE_TYPE = _names(0x00080008, "CS")
_SHARED = _names(SHARED, "SQ")
_PER_FRAME = _names(PER_FRAME, "SQ")
_SIZE = tuple(
    _names(tag, "US") for tag in (0x00280010, 0x00280011, 0x00280002, 0x00280100)
)  # Rows, Columns, SamplesPerPixel, BitsAllocated
_IDENTITY = tuple(
    (tag, vr, _names(tag, vr))
    for tag, vr in (
        (0x00100020, "LO"), (0x00100010, "PN"), (0x0020000D, "UI"), (0x0020000E, "UI"),
    )
)  # fmt: skip
_MEDIA_STORAGE = tag_bytes(0x00020002) + b"UI"


def group_key(header: Header) -> tuple[object, ...]:
    """Return what files must agree on to share a group: their series and encoding.

    Raises
    ------
    Malformed
        The file is a DICOMDIR, or ends before its data set.
    """
    last = next(reversed(header.elements), b"")
    if last[:2] in (b"", b"\2\0") and header.pixels is None:
        raise Malformed("nothing stands behind the file meta information")
    sop_class = _find(header, _SOP_CLASS) or header.elements.get(_MEDIA_STORAGE)
    if isinstance(sop_class, bytes) and sop_class.rstrip(b"\0 ") == _DICOMDIR:
        raise Malformed(
            "a DICOMDIR, which holds no images; the files that it lists are read themselves"
        )
    identity = [_find(header, names) for _, _, names in _IDENTITY]
    return (
        header.implicit,
        header.big_endian,
        _find(header, _CHARSET),
        _find(header, _PIXEL_REPRESENTATION),
        *identity,
    )


class Group:
    """The files of one series with one encoding, as they are read.

    Parameters
    ----------
    header : Header
        Of the first file.
    """

    def __init__(self, header: Header) -> None:
        charset, signed = _find(header, _CHARSET), _find(header, _PIXEL_REPRESENTATION)
        self._kind = Kind(
            "",
            header.implicit,
            header.big_endian,
            charset if isinstance(charset, bytes) and len(charset) < 65536 else b"",
            signed[-1 if header.big_endian else 0] & 1
            if isinstance(signed, bytes) and signed
            else -1,
        )
        self._key = SeriesKey(
            *[self._text(tag, vr, _find(header, names)) for tag, vr, names in _IDENTITY]
        )
        self._rows = 0
        self._previous: dict[bytes, bytes | External] = {}
        self._previous_runs: set[Run] = set()
        # For each element its distinct values, the rows in which it changes, and to which value.
        self._events: dict[bytes, tuple[dict[bytes | External, int], list[int], list[int]]] = {}
        self._places: list[tuple[int, int, int, int, int, int, int]] = []
        self._fragments: list[bytes | None] = []
        self._uids: list[str] = []
        self._frame_columns: list[dict[Key, Column] | None] = []

    def __len__(self) -> int:
        return self._rows

    def _text(self, tag: int, vr: str, raw: bytes | External | None) -> str:
        if not isinstance(raw, bytes):
            return ""
        value = decode(tag, "", self._kind._replace(vr=vr), raw, quiet=True)
        if isinstance(value, list):
            value = "\\".join(str(part) for part in value)
        return str(value).strip() if value else ""

    def add(self, fd: Opened, number: int, header: Header) -> None:
        """Add a file; ``number`` is its place in the list of files."""
        frames, columns = self._frames(fd, header)
        pixels = header.pixels
        if pixels is None:
            place = (number, -1, 0, frames, 0, 0, 0)
        else:
            place = (
                number, pixels.offset, pixels.length, frames, pixels.element,
                header.deflated, pixels.vr == "OB",
            )  # fmt: skip
        uid = _find(header, _SOP_INSTANCE)
        # All that reads comes before all that notes: where bytes are missing, it is done again.
        fragments = (
            None
            if pixels is None or pixels.fragments is None
            else pack_tiles(pixels.fragments, frames)
            if columns and is_tiled(columns)
            else pack_fragments(fd, header, pixels.fragments, frames)
        )
        self._note_changes(header)
        self._places.append(place)
        self._fragments.append(fragments)
        self._uids.append(instance_uid(uid) if isinstance(uid, bytes) else "")
        self._frame_columns.append(columns)

    def _note_changes(self, header: Header) -> None:
        elements = header.elements
        previous, events, row = self._previous, self._events, self._rows
        candidates: Iterable[bytes] = elements
        if header.runs is None:
            self._previous_runs = set()
        else:
            # A run that the file before had too brings nothing new.
            known = self._previous_runs
            candidates = [
                *header.others,
                *[name for run in header.runs if run not in known for name in run.elements],
            ]
            self._previous_runs = set(header.runs)
        fresh = 0
        for name in candidates:
            value = elements[name]
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
        self._previous = elements
        self._rows += 1

    def _frames(self, fd: Opened, header: Header) -> tuple[int, dict[Key, Column] | None]:
        """Return the number of frames and the attributes of each."""
        raw = _find(header, _FRAMES)
        if header.pixels is None:
            return 1, None
        if not isinstance(raw, bytes):
            _note_hidden_frames(header, header.pixels)
            mosaic = is_mosaic(_find(header, _IMAGE_TYPE))
            return self._tiles(fd, header) if mosaic else (1, None)
        declared = decode(0x00280008, "", _NUMBER, raw, quiet=True) if raw else 1
        if not isinstance(declared, int):
            header.notes.append(f"NumberOfFrames is {raw!r}; read as one frame")
            return 1, None
        if declared == 1:
            _note_hidden_frames(header, header.pixels)
        frames = _possible_frames(declared, header, header.pixels)
        if frames > _MOST_FRAMES:
            frames = _MOST_FRAMES
            header.notes.append(f"NumberOfFrames is {declared}; {frames} are read, the most")
        elif frames != declared:
            header.notes.append(
                f"NumberOfFrames is {declared}, the pixel data hold {frames}; {frames} are read"
            )
        groups = []
        for names in (_SHARED, _PER_FRAME):
            value = _find(header, names)
            if isinstance(value, External):
                value = pread(fd, value.length, value.offset)
            groups.append(value)
        vectors = vector_columns(fd, header, frames, self._kind) if frames > 1 else {}
        if groups == [None, None]:
            mosaic = declared == 1 and is_mosaic(_find(header, _IMAGE_TYPE))
            return self._tiles(fd, header) if mosaic else (frames, vectors or None)
        try:
            columns, items = frame_columns(groups[0], groups[1], frames, self._kind)
        except Exception as error:  # the instance stays, without its frames' attributes
            header.notes.append(f"the functional groups cannot be read: {error}")
            return frames, vectors or None
        if items is not None and items != declared:
            header.notes.append(
                f"NumberOfFrames is {declared}, but the per-frame functional groups describe "
                f"{items}; their attributes may stand at the wrong frames"
            )
        return frames, {**vectors, **columns}

    def _tiles(self, fd: Opened, header: Header) -> tuple[int, dict[Key, Column] | None]:
        """Return the number of tiles of a mosaic, and the attributes of each."""
        try:
            return tiles_of_mosaic(
                header, self._kind, lambda value: pread(fd, value.length, value.offset)
            )
        except NoTiles as reason:
            header.notes.append(f"the tiles of the mosaic cannot be told apart: {reason}")
            return 1, None

    def block(self) -> Block:
        """Return all that was added."""
        columns = self._columns()
        if any(item is not None for item in self._fragments):
            numbers: dict[bytes | External, int] = {}
            codes = [
                -1 if item is None else numbers.setdefault(item, len(numbers))
                for item in self._fragments
            ]
            part = (Kind("OB"), numbers, np.array(codes, np.int32))
            columns[FRAGMENTS] = _combine(FRAGMENTS, self._rows, [part])
        counts = [place[3] for place in self._places]
        instances = [part or {} for part in self._frame_columns]
        frames = {
            key: concatenate(key, [part.get(key) for part in instances], counts)
            for key in dict.fromkeys(key for part in instances for key in part)
        }
        return Block(self._key, columns, frames, np.array(self._places, PLACE), self._uids)

    def _columns(self) -> dict[Key, Column]:
        creators = self._creators()
        parts: dict[Key, list[_Part]] = {}
        for name, (numbers, at, changes) in self._events.items():
            tag = _tag(name)
            kind = self._kind_of(tag, name[4:])
            codes = _expand(at, changes, self._rows)
            group, element = tag >> 16, tag & 0xFFFF
            if not group & 1 or element < 0x1000:
                parts.setdefault(Key(tag), []).append((kind, numbers, codes))
                continue
            for creator, rows in creators.get((group, element >> 8), {"": None}).items():
                here = codes if rows is None else np.where(rows, codes, -1)
                if not bool((here >= 0).any()):
                    continue
                key = Key(group << 16 | element & 0xFF, creator) if creator else Key(tag)
                taken = parts.get(key, ())
                if any(bool(((other >= 0) & (here >= 0)).any()) for _, _, other in taken):
                    key = Key(tag)  # one creator with two blocks in one file: keep both
                parts.setdefault(key, []).append((kind, numbers, here))
        return {key: _combine(key, self._rows, items) for key, items in parts.items()}

    def _creators(self) -> dict[tuple[int, int], dict[str, _Mask | None]]:
        """Return for each private block its creators, and in which rows where they differ."""
        found: dict[tuple[int, int], dict[str, _Mask | None]] = {}
        for name, (numbers, at, changes) in self._events.items():
            tag = _tag(name)
            group, element = tag >> 16, tag & 0xFFFF
            if not group & 1 or not 0x10 <= element <= 0xFF:
                continue
            texts = [self._text(tag, "LO", raw) for raw in numbers]
            block = found.setdefault((group, element), {})
            if at == [0]:
                block[texts[0]] = None
                continue
            codes = _expand(at, changes, self._rows)
            # The creator may have one VR here and another there, so that it comes twice.
            without = block.get("")
            block[""] = codes < 0 if without is None else without & (codes < 0)
            for code, text in enumerate(texts):
                rows = block.get(text)
                block[text] = codes == code if rows is None else rows | (codes == code)
        return found

    def _kind_of(self, tag: int, vr: bytes) -> Kind:
        if tag >> 16 == 2:
            return Kind(vr.decode("ascii"))
        return kind_for(tag, "" if vr == b"\0\0" else vr.decode("ascii"), self._kind)


_Mask = npt.NDArray[np.bool_]
_Part = tuple[Kind, dict["bytes | External", int], npt.NDArray[np.int32]]


def _tag(name: bytes) -> int:
    return int.from_bytes(name[:2], "little") << 16 | int.from_bytes(name[2:4], "little")


def _expand(at: list[int], changes: list[int], rows: int) -> npt.NDArray[np.int32]:
    codes = np.full(rows, -1, np.int32)
    codes[at[0] :] = np.repeat(np.array(changes, np.int32), np.diff([*at, rows]))
    return codes


def _combine(key: Key, rows: int, parts: list[_Part]) -> Column:
    if len(parts) == 1:
        kind, numbers, codes = parts[0]
        constant = len(numbers) == 1 and bool((codes == 0).all())
        if constant or not key.tag >> 16 & 1:
            # The values are in the order of their first rows, and all occur; those of private
            # elements may belong to several creators.
            kinds = [0] * len(numbers)
            return Column(key, [kind], list(numbers), kinds, None if constant else codes, rows)
    values: list[bytes | External] = []
    kind_of: list[int] = []
    codes = np.full(rows, -1, np.int32)
    for number, (_, numbers, part) in enumerate(parts):
        np.copyto(codes, part + np.int32(len(values)), where=part >= 0)
        values.extend(numbers)
        kind_of.extend([number] * len(numbers))
    return tidy(key, [kind for kind, _, _ in parts], values, kind_of, codes)


def _possible_frames(declared: int, header: Header, pixels: PixelPlace) -> int:
    """Return how many frames the pixel data can hold at most, for absurd declarations."""
    if pixels.fragments is not None:
        return max(1, min(declared, len(pixels.fragments) - 1))
    # What the reader makes of other contradictions is its own business, so that a frame is taken
    # to be as small as its attributes allow.
    order: Literal["big", "little"] = "big" if header.big_endian else "little"
    bits = 1
    for tag in (0x00280010, 0x00280011, 0x00280100):  # Rows, Columns, BitsAllocated
        raw = header.value(tag)
        if raw is not None and len(raw) == 2:
            bits *= max(1, int.from_bytes(raw, order))
    return max(1, min(declared, pixels.present * 8 // bits))


def _note_hidden_frames(header: Header, pixels: PixelPlace) -> None:
    """Note that native pixel data hold more than the one frame that is declared."""
    if pixels.fragments is not None:
        return
    order: Literal["big", "little"] = "big" if header.big_endian else "little"
    bits = 1
    for names in _SIZE:
        raw = _find(header, names)
        if not isinstance(raw, bytes) or len(raw) != 2:
            return
        bits *= int.from_bytes(raw, order)
    # A byte may fill them up to an even length.
    count = pixels.present * 8 // bits if bits else 0
    if count >= 2 and pixels.present > 2:
        header.notes.append(
            f"the pixel data hold {count} times as much as one frame, and NumberOfFrames does not "
            "say so; one frame is read"
        )
