"""What a zarr store keeps of the DICOM files, so that they can be given back byte for byte.

All bytes but those of the pixels, where these follow from the values in the array; else all bytes.
What follows from the values is found out by working it out again from the store that was written,
and comparing checksums.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import StaleArray
from dbdicom_xr.formats.zarr_pixels import FrameForm
from dbdicom_xr.formats.zarr_store import ByteSink
from dbdicom_xr.index.files import open_for_reading, pread, version_of
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.roots import is_remote
from dbdicom_xr.index.table import Table
from dbdicom_xr.interact import Bar
from dbdicom_xr.records.editing.saving_to import Copies

__all__ = ["FILE_COLUMNS", "IMAGE_COLUMNS", "Image", "KeptFiles", "blocks_of"]

FILE_COLUMNS: Final = (
    "start", "size", "pixel_offset", "pixel_length", "pixel_start", "checksum", "pixel_checksum",
)  # fmt: skip
"""Of a file: where its bytes begin in ``bytes``, without those of the pixels; how long it is; which
of its bytes are those of pixels; where these begin if they are kept too, else -1; CRC-32 of both.
"""
IMAGE_COLUMNS: Final = ("file", "number", "place", "form", "checksum")
"""Of a frame: its file and number in it, place in the array, how it is stored, CRC-32."""
_PIECE: Final = 16 << 20
_AT_ONCE: Final = 64  # files


@dataclass
class Image:
    """Where the frames of a file stand in the array."""

    numbers: npt.NDArray[np.int64]  # in the file, from 0
    places: npt.NDArray[np.int64]  # in the array, flat; -1 where they are not in it
    forms: npt.NDArray[np.int64]  # number of the form, -1 where there is none


@dataclass
class _Taken:
    """A file, as it was read."""

    path: str
    size: int
    hole: tuple[int, int] = (0, 0)  # offset and length of what is not kept
    checksums: npt.NDArray[np.uint32] | None = None
    temporary: bool = False


@dataclass
class KeptFiles:
    """The files of a series, on their way into a store.

    Parameters
    ----------
    copies : Copies
        What the files are.
    images : list of Image
        For each file.
    forms : list of FrameForm or None
        How frames stand in their files.
    sink : ByteSink
        Takes the bytes.
    """

    copies: Copies
    images: list[Image]
    forms: Sequence[FrameForm | None]
    sink: ByteSink
    rows: list[dict[str, int]] = field(default_factory=list)
    _sums: list[npt.NDArray[np.uint32] | None] = field(default_factory=list)

    def take(self, table: Table, instances: npt.NDArray[np.intp], bar: Bar) -> None:
        """Read all files, and keep what is not in the pixels."""
        places = table.places[instances]
        with (
            tempfile.TemporaryDirectory(prefix="dbdicom_xr-") as scratch,
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        ):
            for start in range(0, len(self.images), _AT_ONCE):
                some = range(start, min(start + _AT_ONCE, len(self.images)))
                # Files of another computer come many at a time, in order; each is taken away
                # before the next is written here.
                mapped = map if is_remote(self.copies.home) else pool.map
                for number, taken in zip(
                    some, mapped(lambda n: self._taken(n, places[n], scratch), some), strict=True
                ):
                    self._keep(taken)
                    bar.update(len(self.images[number].numbers))

    def _taken(self, number: int, place: Any, scratch: str) -> _Taken:
        taken = self._opened(number, place, scratch)
        image = self.images[number]
        form = self._form_of(image)
        offset, length = taken.hole
        taken.hole = (0, 0)
        if form is None or offset < 0:
            return taken
        if form.pixel_bytes(len(image.numbers)) > min(length, taken.size - offset):
            return taken
        fd = open_for_reading(taken.path)
        try:
            sums = _checksums(fd, offset, form, len(image.numbers))
        finally:
            os.close(fd)
        if sums is not None:
            taken.hole = (offset, form.pixel_bytes(len(image.numbers)))
            taken.checksums = sums
        return taken

    def _form_of(self, image: Image) -> FrameForm | None:
        """Return how all frames of a file stand in it, in order and without a gap."""
        used = np.unique(image.forms)
        if not len(used) or used[0] < 0 or (image.places < 0).any():
            return None
        forms = [self.forms[code] for code in used.tolist()]
        first: FrameForm | None = forms[0]
        if first is None or any(
            form is None or (form.dtype, form.planar) != (first.dtype, first.planar)
            for form in forms
        ):
            return None
        return first

    def _opened(self, number: int, place: Any, scratch: str) -> _Taken:
        """Return a file with what is staged, and where the index says that its pixels are."""
        source, edits = self.copies.sources[number], self.copies.edits[number]
        away = is_remote(self.copies.home)
        if source is not None and not edits and not away:
            path, known = source
            try:
                status = os.stat(path)
            except OSError as error:
                raise StaleArray(f"{path} cannot be read any more: {error.strerror}") from error
            if version_of(status) != (known.size, known.mtime):
                raise StaleArray(
                    f"{path} has changed since it was indexed; database.scan() reads it again"
                )
            return _Taken(path, status.st_size, _native(place))
        path = os.path.join(scratch, f"{number:08d}")
        self.copies.write(number, path)
        if away:
            return _Taken(path, os.path.getsize(path), _native(place), temporary=True)
        blocks = gather([path]).blocks
        hole = _native(blocks[0].places[0]) if blocks else (-1, 0)
        return _Taken(path, os.path.getsize(path), hole, temporary=True)

    def _keep(self, taken: _Taken) -> None:
        offset, length = taken.hole
        begin = self.sink.size
        checksum = self._append(taken.path, [(0, offset), (offset + length, taken.size)])
        self.rows.append(
            {
                "start": begin,
                "size": taken.size,
                "pixel_offset": offset,
                "pixel_length": length,
                "pixel_start": -1,
                "checksum": checksum,
                "pixel_checksum": 0,
            }
        )
        self._sums.append(taken.checksums)
        if taken.temporary:
            os.remove(taken.path)

    def _append(self, path: str, ranges: Sequence[tuple[int, int]]) -> int:
        checksum = 0
        fd = open_for_reading(path)
        try:
            for begin, end in ranges:
                for data in _pieces(fd, begin, end, path):
                    checksum = zlib.crc32(data, checksum)
                    self.sink.append(data)
        finally:
            os.close(fd)
        return checksum

    # -- from the store --------------------------------------------------------------------------

    def compare(self, pixels: Any, depth: int) -> None:
        """Read the array again, and keep the pixels of files that do not follow from it."""
        wanted = self._wanted()
        wrong: set[int] = set()
        if wanted is not None:
            files, sums, forms = wanted
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                for block, values in blocks_of(pixels, depth):
                    chosen = [
                        (int(files[at]), sums[at], forms[at], values[n])
                        for n, at in enumerate(block.tolist())
                        if files[at] >= 0
                    ]
                    for file, same in pool.map(self._same, chosen):
                        if not same:
                            wrong.add(file)
        for number in sorted(wrong):
            self._keep_pixels(number)

    def _wanted(self) -> tuple[Any, Any, Any] | None:
        """Return for each place of the array its file, and the checksum and form of its bytes."""
        held = [number for number, sums in enumerate(self._sums) if sums is not None]
        if not held:
            return None
        size = 1 + max(int(self.images[number].places.max()) for number in held)
        files, sums, forms = (np.full(size, -1, np.int64) for _ in range(3))
        for number in held:
            image = self.images[number]
            files[image.places] = number
            sums[image.places] = np.asarray(self._sums[number])
            forms[image.places] = image.forms
        return _Padded(files), _Padded(sums), _Padded(forms)

    def _same(self, job: tuple[int, int, int, npt.NDArray[Any]]) -> tuple[int, bool]:
        file, checksum, code, values = job
        form = self.forms[code]
        return file, form is not None and form.checksum(values) == checksum

    def _keep_pixels(self, number: int) -> None:
        row = self.rows[number]
        offset, length = row["pixel_offset"], row["pixel_length"]
        with tempfile.TemporaryDirectory(prefix="dbdicom_xr-") as scratch:
            taken = self._opened(number, None, scratch)
            row["pixel_start"] = self.sink.size
            checksum = self._append(taken.path, [(offset, offset + length)])
        self._sums[number] = None
        row["pixel_checksum"] = checksum

    def variables(self) -> dict[str, tuple[tuple[str, str], npt.NDArray[Any]]]:
        """Return the tables of files and of frames."""
        files = [[row[name] for name in FILE_COLUMNS] for row in self.rows]
        images = [
            np.stack(
                np.broadcast_arrays(number, image.numbers, image.places, image.forms, sums), axis=1
            ).astype(np.int64)
            for number, (image, sums) in enumerate(zip(self.images, self._sums, strict=True))
            if sums is not None
        ]
        none = np.empty((0, len(IMAGE_COLUMNS)), np.int64)
        return {
            "file_table": (("file", "file_column"), np.array(files, np.int64)),
            "image_table": (("image", "image_column"), np.concatenate([none, *images])),
        }


class _Padded:
    """An array that is -1 behind its end."""

    def __init__(self, values: npt.NDArray[np.int64]) -> None:
        self._values = values

    def __getitem__(self, place: int) -> int:
        return int(self._values[place]) if place < len(self._values) else -1


def _native(place: Any) -> tuple[int, int]:
    """Return where native pixels lie in a file; (-1, 0) where they do not."""
    if place is None or place["deflated"] or place["length"] < 0 or place["offset"] < 0:
        return -1, 0
    return int(place["offset"]), int(place["length"])


def _checksums(fd: int, offset: int, form: FrameForm, frames: int) -> npt.NDArray[np.uint32] | None:
    """Return the CRC-32 of each frame; None where there is more than frames."""
    if not form.image_rows:
        length = form.pixel_bytes(1)
        return np.array(
            [zlib.crc32(pread(fd, length, offset + n * length)) for n in range(frames)], np.uint32
        )
    image = bytearray(pread(fd, form.pixel_bytes(frames), offset))
    view = memoryview(image)
    sums = []
    for number in range(frames):
        spans = form.spans(number)
        sums.append(zlib.crc32(b"".join([view[at : at + n] for at, n in spans])))
        for at, length in spans:
            view[at : at + length] = bytes(length)
    # Between the tiles there is nothing, or it is kept.
    return None if np.frombuffer(image, np.uint8).any() else np.array(sums, np.uint32)


def _pieces(fd: int, begin: int, end: int, path: str) -> Iterator[bytes]:
    while begin < end:
        data = pread(fd, min(_PIECE, end - begin), begin)
        if not data:
            raise StaleArray(f"{path} became shorter while it was read")
        yield data
        begin += len(data)


def blocks_of(pixels: Any, depth: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]]:
    """Yield an array of zarr in parts: the flat places of some frames, and their values.

    Parameters
    ----------
    pixels : zarr.Array
    depth : int
        Number of dimensions before those of the pixels.
    """
    shape = pixels.shape[:depth]
    step = (pixels.shards or pixels.chunks)[:depth]
    places = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    counts = [-(-size // width) for size, width in zip(shape, step, strict=True)]
    for index in np.ndindex(*counts):
        cut = tuple(slice(n * w, (n + 1) * w) for n, w in zip(index, step, strict=True))
        own = places[cut]
        values = np.asarray(pixels[cut] if depth else pixels[...])
        yield own.ravel(), values.reshape(own.size, *pixels.shape[depth:])
