"""Which fragments of encapsulated pixel data make a frame (PS3.5 A.4), found once per file.

Mostly there is one fragment per frame. Else an offset table says where frames begin, or the
fragments themselves do. What was found is kept with the places of the fragments, so that a frame
is read later without looking at any other.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.index.elements import External, Header, tag_bytes
from dbdicom_xr.index.files import Opened, pread

__all__ = ["pack_fragments"]

Pairs = npt.NDArray[np.int64]

_EXTENDED: Final = tag_bytes(0x7FE00001)
# How an image begins: JPEG and JPEG-LS; JPEG 2000 and the file format around it; JPEG XL likewise.
_BEGINNINGS: Final = (
    b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ",
    b"\xff\x0a", b"\x00\x00\x00\x0cJXL ",
)  # fmt: skip
_LONGEST: Final = max(map(len, _BEGINNINGS))


def pack_fragments(
    fd: Opened, header: Header, items: tuple[tuple[int, int], ...], frames: int
) -> bytes:
    """Return the places of the fragments of a file, in the form in which the index keeps them.

    Parameters
    ----------
    fd : int or Bytes
        Descriptor of the file.
    header : Header
        Holds the extended offset table, if there is one; its notes say what is contradictory.
    items : tuple of (int, int)
        Offset and length of each item of the pixel data, the basic offset table first.
    frames : int
        Number of frames.

    Returns
    -------
    bytes
        int64 pairs: of each item as given. Where the frames have several fragments, the first pair
        is minus the number of frames, and the number of fragments; and behind the fragments come
        pairs of the first fragment of each frame, and the one behind its last.
    """
    pairs = np.array(items, "<i8").reshape(-1, 2)
    fragments = pairs[1:]
    if frames == 1 or len(fragments) <= frames or header.deflated:
        return pairs.tobytes()
    bounds = _by_table(fragments, _basic_table(fd, pairs[0], frames), frames)
    if bounds is None:
        bounds = _by_table(fragments, _extended_table(fd, header, frames), frames)
    if bounds is None:
        bounds = _by_beginning(fd, fragments, frames)
    if bounds is None:
        header.notes.append(
            f"{len(fragments)} fragments of pixel data cannot be told apart into {frames} frames"
        )
        return pairs.tobytes()
    head = np.array([[-frames, len(fragments)]], "<i8")
    return np.concatenate([head, fragments, bounds]).astype("<i8").tobytes()


def _basic_table(fd: Opened, item: npt.NDArray[np.int64], frames: int) -> Pairs | None:
    offset, length = item.tolist()
    if length < 4 * frames:
        return None
    return np.frombuffer(pread(fd, 4 * frames, offset), "<u4").astype(np.int64)


def _extended_table(fd: Opened, header: Header, frames: int) -> Pairs | None:
    """Return the extended offset table (PS3.3 C.7.6.3.1.8)."""
    for name, value in header.elements.items():
        if name[:4] == _EXTENDED:
            if isinstance(value, External):
                value = pread(fd, value.length, value.offset)
            if len(value) >= 8 * frames:
                return np.frombuffer(value, "<u8", frames).astype(np.int64)
    return None


def _by_table(fragments: Pairs, table: Pairs | None, frames: int) -> Pairs | None:
    """Return the bounds of the frames where all begin at a fragment, None where the table is wrong.

    Tables count from the tag of the first fragment; its value follows 8 bytes later.
    """
    if table is None or len(table) < frames:
        return None
    starts = fragments[:, 0] - fragments[0, 0]
    first = np.searchsorted(starts, table)
    if (first == len(starts)).any() or (starts[first] != table).any() or table[0] != 0:
        return None
    return _bounds(first, len(fragments))


def _by_beginning(fd: Opened, fragments: Pairs, frames: int) -> Pairs | None:
    """Return the bounds of the frames where as many fragments as frames begin like an image."""
    begins = [
        number
        for number, (offset, length) in enumerate(fragments.tolist())
        if pread(fd, min(length, _LONGEST), offset).startswith(_BEGINNINGS)
    ]
    if len(begins) != frames or begins[0] != 0:
        return None
    return _bounds(np.array(begins), len(fragments))


def _bounds(first: npt.NDArray[np.intp], count: int) -> Pairs | None:
    last = np.append(first[1:], count)
    return np.stack([first, last], axis=1).astype(np.int64) if (first < last).all() else None
