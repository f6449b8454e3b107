"""Frames of files as an array-like that is read block by block.

The reader is what dask, xarray and numpy index. It pickles to the place of the index and the
numbers of its frames; where the pixels lie is looked up there when a block is read, once per
process. It reads a frame only if that file is still the version from which the array was made.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import (
    DbdicomError,
    IndexDamaged,
    InvalidValue,
    LayoutError,
    PixelError,
    StaleArray,
)
from dbdicom_xr.index.columns import Column
from dbdicom_xr.index.files import open_for_reading, pread
from dbdicom_xr.index.gather import FRAGMENTS
from dbdicom_xr.index.store import FileRow, Store
from dbdicom_xr.index.walker import Malformed, inflated
from dbdicom_xr.pixels.decode import decode_encapsulated, decode_native
from dbdicom_xr.pixels.fragments import fragments_of_frame
from dbdicom_xr.pixels.layout import PixelLayout
from dbdicom_xr.pixels.rescale import modality_lut, rescale

# What bytes, or what the header says of them, can be wrong in.
_UNREADABLE = (PixelError, Malformed, LayoutError, InvalidValue)

__all__ = ["FrameReader", "Scaling", "squeeze", "unsqueeze"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scaling:
    """How the stored values of a frame become real ones.

    Parameters
    ----------
    slope, intercept : float
    lut : tuple, optional
        First value, bits per entry and entries of a Modality LUT; then there is no slope.
    padding : (int, int), optional
        Stored values from the first to the second become NaN.
    """

    slope: float = 1.0
    intercept: float = 0.0
    lut: tuple[int, int, npt.NDArray[Any]] | None = None
    padding: tuple[float, float] | None = None


@dataclass(eq=False)
class FrameReader:
    """An array of frames.

    Parameters
    ----------
    index, identity : str
        The index file, and what tells it from another one at the same place.
    root : str
        The folder that file names count from.
    files, frames : ndarray of int64
        Number of the file in the index and of the frame in it (from 0), for each cell of the grid;
        -1 in gaps.
    kinds : ndarray of int64
        For each cell which of ``layouts`` and ``scalings`` it has.
    layouts : list of PixelLayout
    scalings : list of Scaling
    dtype : numpy.dtype
        Of the result.
    fill_value : scalar
        What stands in gaps.
    pixels_first : bool
        Whether ``x`` and ``y`` come before the dimensions of the grid.
    """

    index: str
    identity: str
    root: str
    files: Ints
    frames: Ints
    kinds: Ints
    layouts: list[PixelLayout]
    scalings: list[Scaling]
    dtype: np.dtype[Any]
    fill_value: Any = np.nan
    pixels_first: bool = False
    _pixel_shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        rows, columns, *channels = self.layouts[0].frame_shape
        self._pixel_shape = (columns, rows, *channels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Grid, then ``(x, y)`` and ``channel`` for colour; or ``x`` and ``y`` first."""
        grid, pixels = self.files.shape, self._pixel_shape
        return (*pixels[:2], *grid, *pixels[2:]) if self.pixels_first else (*grid, *pixels)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (
            "dbdicom_xr.FrameReader", self.identity, squeeze(self.files), squeeze(self.frames),
            squeeze(self.kinds), repr(self.layouts), repr(self.scalings), str(self.dtype),
            repr(self.fill_value), self.pixels_first,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        for name in ("files", "frames", "kinds"):
            state[name] = squeeze(state[name])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in ("files", "frames", "kinds"):
            state[name] = unsqueeze(state[name])
        self.__dict__.update(state)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        result = self[(slice(None),) * self.ndim]
        return result if dtype is None else result.astype(dtype)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return a block.

        Parameters
        ----------
        key : int, slice or tuple of them
            As in basic indexing of numpy.
        """
        parts = _complete(key, self.ndim)
        depth = self.files.ndim
        if self.pixels_first:
            grid = parts[2 : 2 + depth]
            pixels = (*parts[:2], *parts[2 + depth :])
        else:
            grid, pixels = parts[:depth], parts[depth:]
        # Integers are kept as ranges of one and dropped at the end.
        ranges = tuple(
            _as_range(part, size) for part, size in zip(grid, self.files.shape, strict=True)
        )
        files = self.files[ranges]
        whole = all(_is_whole(part, n) for part, n in zip(pixels, self._pixel_shape, strict=True))
        if whole:
            block = np.empty((*files.shape, *self._pixel_shape), self.dtype)
            self._read(files, self.frames[ranges], self.kinds[ranges], block)
        else:
            cut = tuple(
                _as_range(part, n) for part, n in zip(pixels, self._pixel_shape, strict=True)
            )
            shape = tuple(
                len(range(*part.indices(n))) for part, n in zip(cut, self._pixel_shape, strict=True)
            )
            block = np.empty((*files.shape, *shape), self.dtype)
            self._read(files, self.frames[ranges], self.kinds[ranges], block, cut)
        drop = tuple(0 if isinstance(part, (int, np.integer)) else slice(None) for part in grid)
        drop_pixels = tuple(
            0 if isinstance(part, (int, np.integer)) else slice(None) for part in pixels
        )
        if self.pixels_first:
            block = np.moveaxis(block, (depth, depth + 1), (0, 1))
            return block[(*drop_pixels[:2], *drop, *drop_pixels[2:])]
        return block[(*drop, *drop_pixels)]

    def _read(
        self,
        files: Ints,
        frames: Ints,
        kinds: Ints,
        block: npt.NDArray[Any],
        cut: tuple[slice, ...] | None = None,
    ) -> None:
        """Read frames, or a part of each, into ``block``, whose leading dimensions they have."""
        targets = block.reshape(files.size, *block.shape[files.ndim :])
        whole = np.empty(self._pixel_shape, self.dtype) if cut else None
        places = _locator(self.index, self.identity)
        places.prepare(files)
        with _open_files(self.root, places) as source:
            for cell, (file, frame, kind) in enumerate(
                zip(
                    files.ravel().tolist(),
                    frames.ravel().tolist(),
                    kinds.ravel().tolist(),
                    strict=True,
                )
            ):
                target = targets[cell]
                if file < 0:
                    target[...] = self.fill_value
                    continue
                # (x, y, channel) seen as (rows, columns, samples).
                view = (target if whole is None else whole).swapaxes(0, 1)
                layout, scaling = self.layouts[kind], self.scalings[kind]
                try:
                    stored = source.frame(file, frame, layout)
                    _scale(stored, scaling, view)
                except _UNREADABLE as error:
                    raise PixelError(f"{source.path(file)}, frame {frame + 1}: {error}") from error
                if whole is not None and cut is not None:
                    target[...] = whole[cut]


def _scale(stored: npt.NDArray[Any], scaling: Scaling, out: npt.NDArray[Any]) -> None:
    if scaling.lut is not None:
        out[...] = modality_lut(stored, *scaling.lut)
    else:
        rescale(stored, scaling.slope, scaling.intercept, out.dtype, out=out)
    if scaling.padding is not None:
        low, high = scaling.padding
        out[(stored >= low) & (stored <= high)] = np.nan


def squeeze(numbers: Ints) -> tuple[tuple[int, ...], bytes]:
    """Return integers in few bytes; those of a regular series are nearly all 1 apart."""
    flat = np.ascontiguousarray(numbers, np.int64).ravel()
    steps = np.diff(flat, prepend=np.int64(0))
    # Of a grid in another order than the files, the steps repeat, and their differences vanish.
    return numbers.shape, zlib.compress(
        np.diff(steps, prepend=np.int64(0)).astype("<i8").tobytes(), 6
    )


def unsqueeze(data: tuple[tuple[int, ...], bytes]) -> Ints:
    """Return the array that ``squeeze`` was given."""
    shape, packed = data
    steps = np.cumsum(np.frombuffer(zlib.decompress(packed), "<i8"))
    return np.asarray(np.cumsum(steps).reshape(shape), np.int64)


def _complete(key: Any, ndim: int) -> tuple[Any, ...]:
    parts = key if isinstance(key, tuple) else (key,)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts = (*parts[:at], *(slice(None),) * (ndim - len(parts) + 1), *parts[at + 1 :])
    basic = all(isinstance(p, (int, np.integer, slice)) and p is not True for p in parts)
    if len(parts) > ndim or not basic:
        raise IndexError(f"{key!r} cannot index an array of {ndim} dimensions")
    return (*parts, *(slice(None),) * (ndim - len(parts)))


def _as_range(part: Any, size: int) -> slice:
    if isinstance(part, slice):
        return part
    number = int(part)
    if not -size <= number < size:
        raise IndexError(f"{number} is out of bounds for a dimension of size {size}")
    number %= size
    return slice(number, number + 1)


def _is_whole(part: Any, size: int) -> bool:
    return isinstance(part, slice) and part.indices(size) == (0, size, 1)


# -- where the pixels are --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    file: FileRow
    offset: int
    length: int
    frames: int
    deflated: bool
    fragments: bytes | None


class _Locator:
    """What the index says of the files of one database, remembered per process."""

    def __init__(self, index: str, identity: str) -> None:
        try:
            os.stat(index)  # a Store makes the index that it does not find
            self.store = Store(Path(index), writable=False)
        except Exception as error:
            raise StaleArray(
                f"The index {index} cannot be read: {error}. Can this process see the folder? "
                "If the index was removed, open the database again and make the array anew."
            ) from error
        if self.store.identity != identity:
            raise StaleArray(
                f"The index {index} has been made anew since the array was made; make the array "
                "again from its series."
            )
        self._places: dict[int, _Place] = {}
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

    def _look_up(self, missing: set[int]) -> dict[int, _Place]:
        rows = self.store.files(missing)
        found: dict[int, _Place] = {}
        for series in {row.series for row in rows.values()} - {None}:
            found.update(self._of_series(int(series or 0), rows))
        return found

    def _of_series(self, series: int, rows: dict[int, FileRow]) -> dict[int, _Place]:
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
            found[row.id] = _Place(
                row, int(item["offset"]), int(item["length"]), int(item["frames"]),
                bool(item["deflated"]), fragments if isinstance(fragments, bytes) else None,
            )  # fmt: skip
        return found

    def place(self, number: int) -> _Place:
        """Return where a file is."""
        found = self._places.get(number)
        if found is None:
            raise self.stale(number)
        return found

    def look_again(self, number: int) -> _Place:
        """Return where a file is by now: a save may have moved it."""
        with self._lock:
            self._places.pop(number, None)
        self.prepare(np.array([number]))
        return self.place(number)

    def stale(self, number: int) -> StaleArray:
        path = self.store.retired_path(number)
        if path is None:  # it is there, but not in a series any more: its twin now counts
            path = next((row.path for row in self.store.files([number]).values()), None)
        return StaleArray(
            f"{path or 'A file of this array'} has changed or vanished since the array was made; "
            "make the array again from its series."
        )


_locators: dict[tuple[str, str], _Locator] = {}
_locators_lock = threading.Lock()


def _forget() -> None:
    global _locators_lock
    _locators.clear()
    _locators_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _locator(index: str, identity: str) -> _Locator:
    with _locators_lock:
        found = _locators.get((index, identity))
        if found is None:
            found = _locators[index, identity] = _Locator(index, identity)
        return found


class _Files:
    """The files of one block, each opened once while its frames are read in a row."""

    def __init__(self, root: str, places: _Locator) -> None:
        self._root = root
        self._places = places
        self._open: tuple[int, int, _Place, bytes | None] | None = None
        self._buffer = bytearray()

    @property
    def current(self) -> str:
        """The file that is read, or the folder."""
        return self._root if self._open is None else self.path(self._open[0])

    def path(self, file: int) -> str:
        return f"{self._root}/{self._places.place(file).file.path}"

    def close(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def _switch(self, file: int) -> tuple[int, int, _Place, bytes | None]:
        self.close()
        place = self._places.place(file)
        fd = self._checked(place)
        if fd is None:
            moved = self._places.look_again(file)
            fd = self._checked(moved) if moved.file != place.file else None
            if fd is None:
                raise StaleArray(
                    f"{self._root}/{moved.file.path} has changed or vanished since the array was "
                    "made. If that was meant, open the database again and make the array anew."
                )
            place = moved
        try:
            data = inflated(fd, place.file.size) if place.deflated else None
        except BaseException:
            os.close(fd)
            raise
        self._open = (file, fd, place, data)
        return self._open

    def _checked(self, place: _Place) -> int | None:
        """Open a file if it is the version that was indexed."""
        try:
            fd = open_for_reading(f"{self._root}/{place.file.path}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        status = os.fstat(fd)
        if (status.st_size, status.st_mtime_ns) != (place.file.size, place.file.mtime):
            os.close(fd)
            return None
        return fd

    def frame(self, file: int, frame: int, layout: PixelLayout) -> npt.NDArray[Any]:
        """Return the stored values of a frame; valid until the next call."""
        opened = self._open
        if opened is None or opened[0] != file:
            opened = self._switch(file)
        _, fd, place, data = opened
        if place.fragments is None:
            if layout.is_encapsulated:
                raise PixelError(
                    f"The pixel data are not in fragments, as the transfer syntax "
                    f"{layout.transfer_syntax} wants; the file is malformed."
                )
            first, length, bit_offset = layout.frame_span(frame)
            present = place.length - first
            if present < length:
                # An even number of bytes is written; a value may also be cut off.
                length = max(present, 0)
            return decode_native(
                self._bytes(fd, data, length, place.offset + first), layout, bit_offset
            )

        def read(count: int, offset: int) -> bytes:
            return bytes(self._bytes(fd, data, count, offset))

        items = np.frombuffer(place.fragments, "<i8").reshape(-1, 2)
        parts = fragments_of_frame(items, frame, place.frames, read)
        return decode_encapsulated(
            b"".join([read(length, offset) for offset, length in parts.tolist()]), layout
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


@contextmanager
def _open_files(root: str, places: _Locator) -> Iterator[_Files]:
    files = _Files(root, places)
    try:
        yield files
    except OSError as error:
        # A message of open names the file, one of read does not.
        where = files.current if error.filename is None else str(error.filename)
        raise DbdicomError(
            f"Reading pixels of {where} failed: {error.strerror or error}"
        ) from error
    finally:
        files.close()
