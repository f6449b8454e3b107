"""Frames of files as an array-like that is read block by block.

The reader is what dask, xarray and numpy index. It pickles to the place of the index and the
numbers of its frames; where the pixels lie is looked up there when a block is read, once per
process. It reads a frame only if that file is still the version from which the array was made.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

import dbdicom_xr
from dbdicom_xr.arrays.locator import locator
from dbdicom_xr.arrays.source import open_files
from dbdicom_xr.errors import (
    InvalidValue,
    LayoutError,
    PixelError,
)
from dbdicom_xr.index.walker import Malformed
from dbdicom_xr.pixels.layout import PixelLayout, rows_of
from dbdicom_xr.pixels.palette import Palette
from dbdicom_xr.pixels.rescale import modality_lut, rescale
from dbdicom_xr.pixels.tiles import TiledImages

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
    palette : Palette, optional
        The colours that the values number; then there is nothing else.
    """

    slope: float = 1.0
    intercept: float = 0.0
    lut: tuple[int, int, npt.NDArray[Any]] | None = None
    padding: tuple[float, float] | None = None
    palette: Palette | None = None


@dataclass(eq=False)
class FrameReader:
    """An array of frames.

    Parameters
    ----------
    index, identity : str
        The index file, and what tells it from another one at the same place.
    root : str
        The folder that file names count from.
    rows : ndarray of int64
        For each cell its row in the header of the series, by which the order of the cells is
        pickled: it is regular where the numbers of the files are not. -1 in gaps.
    files, frames : ndarray of int64
        Number of the file in the index and of the frame in it (from 0), for each cell of the grid;
        -1 in gaps, -2 - i where all pixels have the stored value ``constants[i]``.
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
    constants : list of int
        Stored values of frames without a file.
    """

    index: str
    identity: str
    root: str
    rows: Ints
    files: Ints
    frames: Ints
    kinds: Ints
    layouts: list[PixelLayout]
    scalings: list[Scaling]
    dtype: np.dtype[Any]
    fill_value: Any = np.nan
    pixels_first: bool = False
    constants: list[int] = field(default_factory=list)
    _pixel_shape: tuple[int, ...] = field(init=False)
    _keeper: Any = field(default=None, init=False)

    def keep(self, keeper: Any) -> None:
        """Hold an object for as long as this process reads: one whose end removes the files."""
        self._keeper = keeper

    def __post_init__(self) -> None:
        rows, columns, *channels = self.layouts[0].frame_shape
        if self.scalings and self.scalings[0].palette is not None:
            channels = [3]
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

    def __dask_tokenize__(self) -> Any:
        from dask.base import normalize_token

        # What is returned is told apart by its text, in which numpy leaves out the middle of long
        # arrays: two arrays of one series would be taken for one. So it is hashed here.
        scalings = [
            (scaling.slope, scaling.intercept, scaling.lut, scaling.padding, repr(scaling.palette))
            for scaling in self.scalings
        ]
        return normalize_token(
            (
                "dbdicom_xr.FrameReader", self.identity, self.files, self.frames, self.kinds,
                repr(self.layouts), scalings, str(self.dtype), repr(self.fill_value),
                self.pixels_first, self.constants,
            )
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_keeper": None}
        order = np.argsort(self.rows, axis=None, kind="stable")
        for name in ("files", "frames", "kinds"):
            state[name] = squeeze(state[name].ravel()[order])
        state["rows"] = squeeze(self.rows)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows = state["rows"] = unsqueeze(state["rows"])
        order = np.argsort(rows, axis=None, kind="stable")
        for name in ("files", "frames", "kinds"):
            flat = np.empty(rows.size, np.int64)
            flat[order] = unsqueeze(state[name])
            state[name] = flat.reshape(rows.shape)
        self.__dict__.update(state)
        dbdicom_xr._register()  # a worker that is sent an array has opened no database

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
            block = _room((*files.shape, *self._pixel_shape), self.dtype)
            self._read(files, self.frames[ranges], self.kinds[ranges], block)
        else:
            cut = tuple(
                _as_range(part, n) for part, n in zip(pixels, self._pixel_shape, strict=True)
            )
            shape = tuple(
                len(range(*part.indices(n))) for part, n in zip(cut, self._pixel_shape, strict=True)
            )
            block = _room((*files.shape, *shape), self.dtype)
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
        parts = [_Part.of(layout, cut) for layout in self.layouts] if cut else None
        self._fill(files.ravel(), kinds.ravel(), targets)
        if not bool((files >= 0).any()):
            return
        places = locator(self.index, self.identity)
        places.prepare(files)
        cells = list(
            zip(
                range(files.size),
                files.ravel().tolist(),
                frames.ravel().tolist(),
                kinds.ravel().tolist(),
                strict=True,
            )
        )
        if any(layout.is_tile for layout in self.layouts):
            cells.sort(key=itemgetter(1, 2))  # so that each image is decoded once for all its tiles
        with open_files(self.root, places) as source:
            images = TiledImages(source.frame)
            layouts = self.layouts if parts is None else [part.layout for part in parts]
            source.expect(
                (file, frame, layouts[kind]) for _, file, frame, kind in cells if file >= 0
            )
            for cell, file, frame, kind in cells:
                if file < 0:
                    continue
                # (x, y, channel) seen as (rows, columns, samples).
                view = targets[cell].swapaxes(0, 1)
                try:
                    stored = images.frame(file, frame, layouts[kind])
                    if parts is None:
                        _scale(stored, self.scalings[kind], view)
                    else:
                        parts[kind].scale(stored, self.scalings[kind], view)
                except _UNREADABLE as error:
                    raise PixelError(f"{source.path(file)}, frame {frame + 1}: {error}") from error

    def _fill(self, files: Ints, kinds: Ints, targets: npt.NDArray[Any]) -> None:
        """Fill the cells that need no file: gaps, and images of which all pixels are the same."""
        gaps = files == -1
        if gaps.any():
            targets[gaps] = self.fill_value
        for file, kind in np.unique(np.stack([files, kinds], axis=1)[files < -1], axis=0).tolist():
            stored, layout = self.constants[-2 - file], self.layouts[kind]
            limits = np.iinfo(layout.dtype) if layout.dtype.kind in "iu" else None
            if limits is None or not limits.min <= stored <= limits.max:
                raise LayoutError(
                    f"Pixels that are all {stored} cannot be stored with BitsAllocated "
                    f"{layout.bits_allocated} and PixelRepresentation "
                    f"{layout.pixel_representation}."
                )
            frame = np.full((1, 1, *layout.frame_shape[2:]), stored, layout.dtype)
            real = np.empty((1, 1, *self._pixel_shape[2:]), self.dtype)
            _scale(frame, self.scalings[kind], real)
            targets[(files == file) & (kinds == kind)] = real


def _room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return memory for pixels, of which a damaged header can claim any number."""
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:
        size = float(np.prod(shape, dtype=np.float64)) * dtype.itemsize / 2**30
        raise PixelError(
            f"There is no room in memory for {size:.3g} GiB of pixels, of shape {shape} and type "
            f"{dtype}. If the images are that large, compute a part; else Rows and Columns are "
            "damaged."
        ) from error


def _scale(stored: npt.NDArray[Any], scaling: Scaling, out: npt.NDArray[Any]) -> None:
    if scaling.palette is not None:
        out[...] = scaling.palette.apply(stored)
        return
    if scaling.lut is not None:
        out[...] = modality_lut(stored, *scaling.lut)
    else:
        rescale(stored, scaling.slope, scaling.intercept, out.dtype, out=out)
    if scaling.padding is not None:
        low, high = scaling.padding
        out[(stored >= low) & (stored <= high)] = np.nan


@dataclass(frozen=True)
class _Part:
    """A part of each frame: what is read of it, and what is taken of that.

    Rows of uncompressed frames are read without the others.

    Parameters
    ----------
    layout : PixelLayout
        Of what is read.
    rows, columns, channels : slice
        Of what was read.
    """

    layout: PixelLayout
    rows: slice
    columns: slice
    channels: slice

    @classmethod
    def of(cls, layout: PixelLayout, cut: tuple[slice, ...]) -> _Part:
        columns, rows, *channels = cut
        wanted = range(*rows.indices(layout.rows))
        if wanted:
            first, last = min(wanted), max(wanted)
            alone = rows_of(layout, first, last - first + 1)
            if alone is not None:
                stop = wanted.stop - first
                rows = slice(wanted.start - first, None if stop < 0 else stop, wanted.step)
                layout = alone
        return cls(layout, rows, columns, channels[0] if channels else slice(None))

    def scale(self, stored: npt.NDArray[Any], scaling: Scaling, out: npt.NDArray[Any]) -> None:
        """Put real values of the part into ``out``: rows, columns, samples."""
        stored = stored[self.rows, self.columns]
        if out.ndim == 2:
            _scale(stored, scaling, out)
        elif scaling.palette is None:
            _scale(stored[..., self.channels], scaling, out)
        else:
            colours = np.empty((*stored.shape, 3), out.dtype)
            _scale(stored, scaling, colours)
            out[...] = colours[..., self.channels]


Squeezed = tuple[tuple[int, ...], bytes, str, bytes]


def squeeze(numbers: Ints) -> Squeezed:
    """Return integers in few bytes, as those of frames can be.

    Sorted, they are nearly all 1 apart. Their order is told by runs: places where, going through
    the sorted numbers, the position turns back. A grid in any regular order has few runs, or runs
    that repeat, and files that were numbered in several portions have as many as portions.
    """
    flat = np.ascontiguousarray(numbers, np.int64).ravel()
    order = np.argsort(flat, kind="stable")
    runs = np.zeros(flat.size, np.int64)
    runs[order[1:]] = np.cumsum(np.diff(order) < 0)
    kind = np.min_scalar_type(int(runs.max(initial=0))).newbyteorder("<")
    steps = np.diff(flat[order], prepend=np.int64(0))
    return (
        numbers.shape,
        zlib.compress(steps.astype("<i8").tobytes(), 6),
        kind.str,
        zlib.compress(runs.astype(kind).tobytes(), 6),
    )


def unsqueeze(data: Squeezed) -> Ints:
    """Return the array that ``squeeze`` was given."""
    shape, steps, kind, runs = data
    order = np.argsort(np.frombuffer(zlib.decompress(runs), kind), kind="stable")
    flat = np.empty(len(order), np.int64)
    flat[order] = np.cumsum(np.frombuffer(zlib.decompress(steps), "<i8"))
    return flat.reshape(shape)


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
