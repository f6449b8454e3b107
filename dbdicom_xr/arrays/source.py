"""Where the pixels of frames lie by the index, and the files they are read from.

What the index says is remembered per process. A file is read only if it is still the version that
was indexed; one that changed or vanished raises ``StaleArray``.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import DbdicomError, IndexDamaged, PixelError, StaleArray
from dbdicom_xr.index.columns import Column
from dbdicom_xr.index.files import open_for_reading, pread, version_of
from dbdicom_xr.index.gather import FRAGMENTS
from dbdicom_xr.index.heads import Partial
from dbdicom_xr.index.roots import is_remote, remote_folder
from dbdicom_xr.index.scan import FOLDER_NAME
from dbdicom_xr.index.seen import not_seen, this_place
from dbdicom_xr.index.store import FileRow, Store
from dbdicom_xr.index.walker import inflated
from dbdicom_xr.pixels.decode import decode_encapsulated, decode_native, too_short
from dbdicom_xr.pixels.fragments import fragments_of_frame
from dbdicom_xr.pixels.layout import PixelLayout, RowsLayout
from dbdicom_xr.pixels.tiles import image_of_tile

__all__ = [
    "Files",
    "Locator",
    "forget",
    "locator",
    "moved",
    "open_files",
    "release",
    "remember",
]

Ints = npt.NDArray[np.int64]
Read = tuple[int, int, int]
"""Number of a file, offset and length."""


@dataclass(frozen=True, slots=True)
class Place:
    file: FileRow
    offset: int
    length: int
    frames: int
    deflated: bool
    fragments: bytes | None


def _folder_of(index: str) -> str:
    """Return the folder whose index it is, or where that is kept elsewhere, the folder of that."""
    folder = os.path.dirname(index)
    return os.path.dirname(folder) if os.path.basename(folder) == FOLDER_NAME else folder


class Locator:
    """What the index says of the files of one database, remembered per process."""

    def __init__(self, index: str, identity: str) -> None:
        try:
            os.stat(index)  # a Store makes the index that it does not find
            self.store = Store(Path(index), writable=False)
        except Exception as error:
            if not os.path.isdir(_folder_of(index)):
                raise not_seen(_folder_of(index)) from error
            raise StaleArray(
                f"The index {index} cannot be read by the {this_place()}: {error}. If the index "
                "was removed, open the database again and make the array anew."
            ) from error
        if self.store.identity != identity:
            raise StaleArray(
                f"The index {index} has been made anew since the array was made, or the "
                f"{this_place()} has another folder of this name. Make the array again from its "
                "series."
            )
        self.index = index
        self.identity = identity
        self._places: dict[int, Place] = {}
        self._lock = threading.Lock()

    def prepare(self, files: Ints) -> None:
        """Look up files that are not known yet."""
        wanted = {int(number) for number in files.ravel() if number >= 0}
        if wanted <= self._places.keys():
            return
        with self._lock:
            missing = wanted - self._places.keys()
            while True:  # until all was read from one state of the index
                state = self.store.generation()
                try:
                    found = self._look_up(missing)
                except IndexDamaged:  # or gone while it was read
                    if self.store.generation() == state:
                        raise
                    continue
                if self.store.generation() == state:
                    self._places.update(found)
                    return

    def _look_up(self, missing: set[int]) -> dict[int, Place]:
        rows = self.store.files(missing)
        found: dict[int, Place] = {}
        for series in {row.series for row in rows.values()} - {None}:
            found.update(self._of_series(int(series or 0), rows))
        return found

    def _of_series(self, series: int, rows: dict[int, FileRow]) -> dict[int, Place]:
        places = self.store.places(series)
        order = np.argsort(places["file"], kind="stable")
        ordered = places["file"][order]
        left = set(ordered.tolist())
        mine = [row for row in rows.values() if row.series == series and row.id in left]
        found = {}
        at = order[np.searchsorted(ordered, [row.id for row in mine])]
        column: Column | None = self.store.column(series, FRAGMENTS)
        for row, place in zip(mine, at.tolist(), strict=True):
            item = places[place]
            fragments = None
            if column is not None and (code := column.code(place)) >= 0:
                fragments = column.values[code]
            found[row.id] = Place(
                row, int(item["offset"]), int(item["length"]), int(item["frames"]),
                bool(item["deflated"]), fragments if isinstance(fragments, bytes) else None,
            )  # fmt: skip
        return found

    def place(self, number: int) -> Place:
        """Return where a file is."""
        found = self._places.get(number)
        if found is None:
            raise self.stale(number)
        return found

    def look_again(self, number: int) -> Place:
        """Return where a file is by now: a save may have moved it."""
        with self._lock:
            self._places.pop(number, None)
        self.prepare(np.array([number]))
        return self.place(number)

    def stale(self, number: int) -> StaleArray:
        """Return the error about a file that is not there any more."""
        path = self.store.retired_path(number)
        if path is None:  # it is there, but not in a series any more: its twin now counts
            path = next((row.path for row in self.store.files([number]).values()), None)
        return StaleArray(
            f"{path or 'A file of this array'} has changed or vanished since the array was made; "
            "make the array again from its series."
        )


_MOST_OPEN = 32
# Where the index and the temporary folder of databases have gone, by where they were.
_moved: dict[str, str] = {}
_locators: dict[tuple[str, str], Locator] = {}
_locators_lock = threading.Lock()


def _forget() -> None:
    global _locators_lock
    _locators.clear()
    _locators_lock = threading.Lock()
    # dask keeps the pool of the parent, whose threads are not here: computing would wait for ever.
    threaded: Any = sys.modules.get("dask.threaded")
    if hasattr(threaded, "pools") and hasattr(threaded, "default_pool"):
        threaded.default_pool, threaded.pools_lock = None, threading.Lock()
        threaded.pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def locator(index: str, identity: str) -> Locator:
    """Return what this process knows of an index, beginning to remember it if it is new."""
    index = _moved.get(index, index)
    with _locators_lock:
        found = _locators.pop((index, identity), None)
        if found is None:
            found = Locator(index, identity)
        _locators[index, identity] = found  # the last one used stands last
        while len(_locators) > _MOST_OPEN:
            _locators.pop(next(iter(_locators))).store.close()
        return found


def moved(old: str, new: str) -> None:
    """Note that a folder, or an index, is at another place; arrays made before read it there."""
    _moved[old] = new


def forget(index: str) -> None:
    """Close what this process has open of an index; the next read opens it again."""
    with _locators_lock:
        for key in [key for key in _locators if key[0] == index]:
            _locators.pop(key).store.close()


_memory: dict[tuple[str, str], dict[int, tuple[Place, bytes]]] = {}


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
    with _locators_lock:
        _memory.setdefault((index, identity), {}).update(kept)
    return sum(len(data) for _, data in kept.values())


def release(index: str, files: Ints | None = None) -> None:
    """Give back the memory of files that ``remember`` kept; of all by default."""
    with _locators_lock:
        for key in [key for key in _memory if key[0] == index]:
            for file in list(_memory[key]) if files is None else files.ravel().tolist():
                _memory[key].pop(int(file), None)
            if not _memory[key]:
                del _memory[key]


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
        kept = _memory.get((self._places.index, self._places.identity), {}).get(file)
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
        if file in _memory.get((self._places.index, self._places.identity), {}):
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
        kept = _memory.get((self._places.index, self._places.identity), {}).get(file)
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
    there = _moved.get(root, root)
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
