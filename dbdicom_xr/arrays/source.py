"""The files that frames are read from, at the places that the index tells.

A file is read only if it is still the version that was indexed; one that changed or vanished raises
``StaleArray``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.locator import Ints, Locator, Place, locator, place_of
from dbdicom_xr.errors import DbdicomError, PixelError, StaleArray
from dbdicom_xr.index.files import open_for_reading, pread, version_of
from dbdicom_xr.index.heads import Partial
from dbdicom_xr.index.roots import is_remote, remote_folder
from dbdicom_xr.index.seen import not_seen
from dbdicom_xr.index.walker import inflated
from dbdicom_xr.pixels.decode import decode_encapsulated, decode_native, too_short
from dbdicom_xr.pixels.fragments import fragments_of_frame
from dbdicom_xr.pixels.layout import PixelLayout, RowsLayout
from dbdicom_xr.pixels.tiles import image_of_tile

__all__ = ["Files", "open_files", "remember"]

Read = tuple[int, int, int]
"""Number of a file, offset and length."""


def remember(root: str, index: str, identity: str, files: Ints) -> int:
    """Keep files in memory, from which their pixels are read from then on.

    Parameters
    ----------
    root, index, identity : str
        The folder, and its index.
    files : ndarray of int
        Numbers of files.

    Returns
    -------
    int
        How many bytes they take.

    Raises
    ------
    StaleArray
        A file changed or vanished.
    """
    places = locator(index, identity)
    places.prepare(files)
    kept: dict[int, tuple[Place, bytes]] = {}
    wanted = sorted({int(number) for number in files.ravel() if number >= 0})
    with open_files(root, places) as source:
        source.expect_whole(wanted)
        for file in wanted:
            kept[file] = source.whole(file)
    places.keep(kept)
    return sum(len(data) for _, data in kept.values())


def _span(place: Place, frame: int, layout: PixelLayout) -> tuple[int, int, int]:
    """Return where a frame of pixels that are not in fragments lies, and its bits to skip."""
    if layout.is_encapsulated:
        raise PixelError(
            f"The pixel data are not in fragments, as the transfer syntax "
            f"{layout.transfer_syntax} wants; the file is malformed."
        )
    first, length, bit_offset = layout.frame_span(frame)
    if isinstance(layout, RowsLayout):  # what is left of a frame that was cut off is not trusted
        start, needed, _ = layout.whole.frame_span(frame)
        end = place.length
        if not place.deflated:
            end = min(end, place.file.size - place.offset)
        if end - start < needed:
            raise too_short(layout.whole, needed, max(end - start, 0))
    # An even number of bytes is written; a value may also be cut off.
    return place.offset + first, max(min(length, place.length - first), 0), bit_offset


def _parts(place: Place, frame: int) -> list[tuple[int, int]]:
    """Return where the fragments of a frame lie."""
    assert place.fragments is not None
    items = np.frombuffer(place.fragments, "<i8").reshape(-1, 2)
    found: list[tuple[int, int]] = fragments_of_frame(items, frame, place.frames).tolist()
    return found


class Files:
    """The files of one block, each opened once while its frames are read in a row."""

    def __init__(self, root: str, places: Locator) -> None:
        self._root = root
        self._places = places
        self._open: tuple[int, int, Place, bytes | None] | None = None
        self._buffer = bytearray()

    @property
    def current(self) -> str:
        """The file that is read, or the folder."""
        return self._root if self._open is None else self.path(self._open[0])

    def path(self, file: int) -> str:
        """Return where a file is."""
        return f"{self._root}/{self._places.place(file).file.path}"

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            if self._open[1] >= 0:
                os.close(self._open[1])
            self._open = None

    def whole(self, file: int) -> tuple[Place, bytes]:
        """Return all bytes of a file, or of its data set where that is deflated."""
        _, fd, place, data = self._switch(file)
        return place, pread(fd, place.file.size, 0) if data is None else data

    def _switch(self, file: int) -> tuple[int, int, Place, bytes | None]:
        self.close()
        kept = self._places.in_memory(file)
        if kept is not None:
            self._open = (file, -1, *kept)
            return self._open
        place = self._places.place(file)
        fd = self._checked(place)
        if fd is None:
            if not os.path.isdir(self._root):
                raise not_seen(self._root)
            # A save that is under way has put its file in place, and not yet in the index.
            self._places.store.wait_for_save()
            place = self._places.look_again(file)
            fd = self._checked(place)
            if fd is None:
                raise StaleArray(
                    f"{self._root}/{place.file.path} has changed or vanished since the array was "
                    "made. If that was meant, open the database again and make the array anew."
                )
        try:
            data = inflated(fd, place.file.size) if place.deflated else None
        except BaseException:
            os.close(fd)
            raise
        self._open = (file, fd, place, data)
        return self._open

    def _checked(self, place: Place) -> int | None:
        """Open a file if it is the version that was indexed."""
        try:
            fd = open_for_reading(f"{self._root}/{place.file.path}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        status = os.fstat(fd)
        if version_of(status) != (place.file.size, place.file.mtime):
            os.close(fd)
            return None
        return fd

    def expect(self, frames: Iterable[tuple[int, int, PixelLayout]]) -> None:
        """Tell which frames will be read, as ``frame`` is asked for them, in this order.

        Files of this computer are read when it is their turn.
        """

    def expect_whole(self, files: Iterable[int]) -> None:
        """Tell which files will be read as a whole, in this order."""

    def frame(self, file: int, frame: int, layout: PixelLayout) -> npt.NDArray[Any]:
        """Return the stored values of a frame; valid until the next call."""
        opened = self._open
        if opened is None or opened[0] != file:
            opened = self._switch(file)
        _, fd, place, data = opened
        if place.fragments is None:
            offset, length, bit_offset = _span(place, frame, layout)
            return decode_native(self._bytes(fd, data, length, offset), layout, bit_offset)
        return decode_encapsulated(
            b"".join(
                [
                    bytes(self._bytes(fd, data, length, offset))
                    for offset, length in _parts(place, frame)
                ]
            ),
            layout,
        )

    def _bytes(self, fd: int, data: bytes | None, count: int, offset: int) -> bytes | memoryview:
        if data is not None:
            return data[offset : offset + count]
        if not _HAS_PREADV:
            return pread(fd, count, offset)
        # One buffer for all frames: a new one for each costs page faults, 30 us per 128 kB.
        if len(self._buffer) < count:
            self._buffer = bytearray(count)
        view = memoryview(self._buffer)[:count]
        got = os.preadv(fd, [view], offset)
        while 0 < got < count:
            more = os.preadv(fd, [view[got:]], offset + got)
            if more == 0:
                break
            got += more
        return view[:got]


_HAS_PREADV = hasattr(os, "preadv")

_WINDOW_BYTES: Final = 32 << 20
_WINDOW_READS: Final = 256
"""Of what is asked for at once, before it is decoded."""


class RemoteFiles(Files):
    """Files that are elsewhere: what will be read is asked for together, some of it at a time."""

    def __init__(self, root: str, places: Locator) -> None:
        super().__init__(root, places)
        self._folder = remote_folder(root)
        self._coming: list[Read] = []
        self._turn: dict[Read, int] = {}
        self._here: dict[Read, bytes] = {}

    def expect(self, frames: Iterable[tuple[int, int, PixelLayout]]) -> None:
        """Tell which frames will be read, as ``frame`` is asked for them, in this order."""
        self._coming = list(dict.fromkeys(read for one in frames for read in self._reads(*one)))
        self._turn = {read: number for number, read in enumerate(self._coming)}

    def expect_whole(self, files: Iterable[int]) -> None:
        """Tell which files will be read as a whole, in this order."""
        self._coming = [(file, 0, self._places.place(file).file.size) for file in files]
        self._turn = {read: number for number, read in enumerate(self._coming)}

    def _reads(self, file: int, frame: int, layout: PixelLayout) -> list[Read]:
        if self._places.in_memory(file) is not None:
            return []
        try:
            place = self._places.place(file)
            if place.deflated:
                return [(file, 0, place.file.size)]
            if layout.is_tile:
                frame, layout, _, _ = image_of_tile(layout, frame)
            if place.fragments is not None:
                return [(file, *part) for part in _parts(place, frame)]
            return [(file, *_span(place, frame, layout)[:2])]
        except DbdicomError:  # which is raised when it is the turn of that frame
            return []

    def _get(self, read: Read) -> bytes:
        found = self._here.get(read)
        if found is None:
            at = self._turn.get(read)
            some = [read]
            if at is not None:
                size = 0
                for number, one in enumerate(self._coming[at : at + _WINDOW_READS]):
                    size += one[2]
                    if number and size > _WINDOW_BYTES:
                        break
                    some.append(one)
            some = list(dict.fromkeys(some))
            got = self._folder.read_many(
                [(self._places.place(file).file, offset, count) for file, offset, count in some]
            )
            self._here = dict(zip(some, got, strict=True))
            found = self._here[read]
        return found

    def whole(self, file: int) -> tuple[Place, bytes]:
        """Return all bytes of a file, or of its data set where that is deflated."""
        _, _, place, data = self._switch(file)
        return place, self._get((file, 0, place.file.size)) if data is None else data

    def _switch(self, file: int) -> tuple[int, int, Place, bytes | None]:
        kept = self._places.in_memory(file)
        place, data = kept or (self._places.place(file), None)
        if place.deflated and data is None:
            held = Partial(place.file.size)
            held.put(0, self._get((file, 0, place.file.size)))
            data = inflated(held, place.file.size)
        self._open = (file, -1, place, data)
        return self._open

    def _bytes(self, fd: int, data: bytes | None, count: int, offset: int) -> bytes | memoryview:
        if data is not None:
            return data[offset : offset + count]
        assert self._open is not None
        return self._get((self._open[0], offset, count))


@contextmanager
def open_files(root: str, places: Locator) -> Iterator[Files]:
    """Give access to the files of one block, for the length of a ``with`` statement."""
    there = place_of(root)
    files = RemoteFiles(there, places) if is_remote(there) else Files(there, places)
    try:
        yield files
    except OSError as error:
        if isinstance(error, DbdicomError):
            raise
        # A message of open names the file, one of read does not.
        where = files.current if error.filename is None else str(error.filename)
        raise DbdicomError(
            f"Reading pixels of {where} failed: {error.strerror or error}"
        ) from error
    finally:
        files.close()
