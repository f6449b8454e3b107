"""``export_as_png``: frames as pictures, shown as their headers or the user want them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.reader import FrameReader
from dbdicom_xr.errors import DbdicomError, InvalidValue, LeftOut, PixelError
from dbdicom_xr.formats.png import Lut, Range, Window, png, shown
from dbdicom_xr.formats.targets import refuse_existing, target_of
from dbdicom_xr.index.table import Table
from dbdicom_xr.interact import Bar, progress_bar
from dbdicom_xr.records.attributes.display_attributes import colours_of, display_of, window_of
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.pixel_header import pixel_header
from dbdicom_xr.records.attributes.slices import slice_locations
from dbdicom_xr.records.current import levels_to_user, of_one_state
from dbdicom_xr.records.exporting.each import (
    OF_A_SERIES,
    Part,
    Rows,
    left_out,
    planned_of,
    refuse_all,
    refuse_several,
)
from dbdicom_xr.records.exporting.files import new_files
from dbdicom_xr.records.layouts import require_fitting_layout
from dbdicom_xr.records.reading.series_array import describer, frame_ranks, frame_reader, image_rows

if TYPE_CHECKING:
    from dbdicom_xr.records.record import Record

__all__ = ["PngOptions", "export_png"]

Colours = npt.NDArray[np.uint8] | None
Shown = Window | Range | Lut

# Frames of one of each can be read by one reader.
_KINDS: Final = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
_SAME_PLACE: Final = 1e-3  # mm
_BLOCK: Final = 32 << 20  # bytes of frames that are read at once


@dataclass(frozen=True)
class PngOptions:
    """How pictures are exported. See :meth:`Record.export_as_png`."""

    window: tuple[float, float] | None
    colormap: Any
    bits: int

    @classmethod
    def of(cls, window: Sequence[float] | None, colormap: Any, bits: int) -> PngOptions:
        """Return the options that a user gave, checked."""
        if bits not in (8, 16):
            raise InvalidValue(f"bits is {bits!r}; it is 8 or 16.")
        checked = None
        if window is not None:
            checked = window_of(window)
        if colormap is not None:
            colours_of(colormap)
        return cls(checked, colormap, bits)


@dataclass(frozen=True)
class _Group:
    """Frames of one size and kind."""

    rows: Rows
    reader: FrameReader
    grey: bool
    spacing: tuple[float, float] | None
    aspect: tuple[int, int] | None


@dataclass(frozen=True)
class _Planned:
    part: Part
    table: Table
    rows: Rows
    names: list[str]
    groups: list[_Group]


def export_png(
    record: Record, path: str | os.PathLike[str], *, overwrite: bool, options: PngOptions
) -> list[str]:
    """Write a record as PNG files. See :meth:`Record.export_as_png`."""
    target = target_of(path, ".png")
    planned, refused = _plan(record)
    names = [name for one in planned for name in one.names]
    refuse_several(record, target, names)
    paths = [target.path(target.file or name) for name in names]
    refuse_existing(paths, overwrite)
    voice = record.database._own_voice
    written: list[str] = []
    with (
        new_files(target.folder) as files,
        progress_bar(len(paths), "Writing PNG", "image", voice) as bar,
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,  # ends before the files take their places
    ):
        start = 0
        for one in planned:
            own = paths[start : start + len(one.rows)]
            start += len(own)
            try:
                _write_all(one, [files.new(name) for name in own], options, pool, bar)
            except OF_A_SERIES as error:
                if len(planned) == 1 and not refused:
                    raise
                files.leave_out(*own)
                refused.append((one.part.record, error))
                continue
            written += own
    if not written:
        refuse_all(record, refused)
    left_out(record, refused)
    for one in planned:
        missing = len(one.part.rows()[1]) - len(one.rows)
        if missing:
            warnings.warn(
                f"{one.part.record!r}: {missing} object{'s have' if missing > 1 else ' has'} no "
                f"pixels, and {'are' if missing > 1 else 'is'} not exported.",
                LeftOut,
                stacklevel=levels_to_user(),
            )
    return written


def _write_all(
    one: _Planned, files: list[str], options: PngOptions, pool: ThreadPoolExecutor, bar: Bar
) -> None:
    """Write the pictures of a series."""
    shows = _Shows(one, options)
    of_row = dict(zip(one.rows.tolist(), files, strict=True))
    for group in one.groups:
        for rows, block in _blocks(group):
            jobs = [(of_row[row], shows.pixels, group, row) for row in rows.tolist()]
            done = [pool.submit(_write, *each) for each in zip(jobs, block, strict=True)]
            wait(done)  # also where one fails: nobody writes any more when its files are left out
            for each in done:
                each.result()
                bar.update()


def _write(job: tuple[str, Any, _Group, int], image: npt.NDArray[Any]) -> None:
    path, pixels, group, row = job
    # (x, y) seen as (rows, columns).
    picture = pixels(group, row, np.swapaxes(image, 0, 1))
    with open(path, "wb") as file:
        file.write(png(picture, group.spacing, group.aspect))


def _blocks(group: _Group) -> Iterator[tuple[Rows, npt.NDArray[Any]]]:
    """Yield frames some at a time, and their rows."""
    reader = group.reader
    frame = max(1, reader.size // max(1, len(group.rows)) * reader.dtype.itemsize)
    step = max(1, _BLOCK // frame)
    for begin in range(0, len(group.rows), step):
        yield group.rows[begin : begin + step], reader[begin : begin + step]


@of_one_state
def _plan(record: Record) -> tuple[list[_Planned], list[tuple[Record, DbdicomError]]]:
    return planned_of(record, _planned)


def _planned(part: Part) -> _Planned:
    series = part.series
    table, wanted = part.rows()
    require_fitting_layout(series.database._view().composed(table.series.key), table)
    every = image_rows(series, table)
    numbers = parse_name("InstanceNumber").values(table)
    ranks = frame_ranks(None if numbers is None else numbers.take(every).as_objects(), table, every)
    every = every[np.argsort(ranks)]
    names = _names(part, table, every)
    chosen = np.flatnonzero(np.isin(every, wanted))
    if not len(chosen):
        raise PixelError(f"{part.record!r} has no pixels.")
    rows = every[chosen]
    groups = [_group(table, own) for own in _of_one_kind(table, rows)]
    return _Planned(part, table, rows, [names[i] for i in chosen.tolist()], groups)


def _names(part: Part, table: Table, rows: Rows) -> list[str]:
    """Return the names of all pictures of a series: by slice and time, else by number."""
    if part.record.level in ("instance", "frame"):
        several = len(part.rows()[1]) > 1
        numbers = table.frame_numbers[rows].tolist()
        return [f"{part.name}_f{n:04d}" if several else part.name for n in numbers]
    locations = slice_locations(table, rows)
    if locations is None:
        return [f"{part.name}_{i + 1:04d}" for i in range(len(rows))]
    order = np.argsort(locations, kind="stable")
    steps = np.diff(locations[order], prepend=locations[order][:1]) > _SAME_PLACE
    slices = np.empty(len(rows), np.int64)
    slices[order] = 1 + np.cumsum(steps)
    counts = np.bincount(slices)
    times = np.empty(len(rows), np.int64)
    seen = np.zeros(len(counts), np.int64)
    for i, place in enumerate(slices.tolist()):
        seen[place] += 1
        times[i] = seen[place]
    width = max(3, len(str(len(rows))))
    return [
        f"{part.name}_s{place:0{width}d}" + (f"_t{time:0{width}d}" if counts.max() > 1 else "")
        for place, time in zip(slices.tolist(), times.tolist(), strict=True)
    ]


def _of_one_kind(table: Table, rows: Rows) -> list[Rows]:
    codes = []
    for keyword in _KINDS:
        values = parse_name(keyword).values(table)
        if values is None:
            continue
        texts = [repr(value) for value in [*values.distinct, None]]
        codes.append(np.unique(texts, return_inverse=True)[1][values.codes[rows]])
    _, kinds = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)
    return [rows[kinds.reshape(-1) == kind] for kind in range(int(kinds.max()) + 1)]


def _group(table: Table, rows: Rows) -> _Group:
    # Padding is not to be shown, whatever value stands for it.
    colour = any(isinstance(n, int) and n > 1 for n in _objects(table, rows, "SamplesPerPixel"))
    padding = None if colour else "nan"
    pixels = pixel_header(table, rows, True, padding, describe=describer(table))
    reader = frame_reader(table, pixels, np.arange(len(rows)), rows, np.nan, False)
    grey = len(reader.shape) == 3
    spacing = None
    if pixels.in_mm and len(pixels.x) > 1 and len(pixels.y) > 1:
        spacing = (float(pixels.y[1]), float(pixels.x[1]))
    return _Group(rows, reader, grey, spacing, _aspect(table, rows))


def _aspect(table: Table, rows: Rows) -> tuple[int, int] | None:
    """Return PixelAspectRatio, where the frames have one."""
    values = parse_name("PixelAspectRatio").values(table)
    found = [] if values is None else values.take(rows).occurring()
    if len(found) != 1 or not isinstance(found[0], list) or len(found[0]) != 2:
        return None
    height, width = found[0]
    return (height, width) if all(isinstance(v, int) and v > 0 for v in found[0]) else None


class _Shows:
    """How the frames of a series are shown."""

    def __init__(self, planned: _Planned, options: PngOptions) -> None:
        self._options = options
        self._of_row: dict[int, Shown] = {}
        self._inverted: dict[int, bool] = {}
        self._colours: dict[int, Colours] = {}
        table = planned.table
        grey = [row for group in planned.groups if group.grey for row in group.rows.tolist()]
        if not grey:
            return
        rows = np.array(grey)
        photometric = _objects(table, rows, "PhotometricInterpretation")
        shapes = _objects(table, rows, "PresentationLUTShape")
        maps = _objects(table, rows, "colormap")
        for row, kind, shape, name in zip(grey, photometric, shapes, maps, strict=True):
            self._inverted[row] = kind == "MONOCHROME1" or shape == "INVERSE"
            chosen = name if options.colormap is None else options.colormap
            self._colours[row] = None if chosen is None else colours_of(chosen)
        if options.window is not None:
            for group in planned.groups:
                given = Window.given(*options.window, group.reader.dtype)
                self._of_row.update(dict.fromkeys(group.rows.tolist(), given))
            return
        self._of_row = {
            row: how
            for row, how in zip(grey, display_of(table, rows), strict=True)
            if how is not None
        }
        without = [row for row in grey if row not in self._of_row]
        if without:
            whole = _range(planned, set(without))
            self._of_row.update(dict.fromkeys(without, whole))

    def pixels(self, group: _Group, row: int, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the picture of a frame."""
        bits = self._options.bits
        if group.grey:
            fractions = self._of_row[row].apply(image)
            return shown(
                fractions, inverted=self._inverted[row], bits=bits, colours=self._colours[row]
            )
        if image.dtype == np.uint8:
            return image.astype(np.uint16) * 257 if bits == 16 else image
        if image.dtype != np.uint16:
            raise PixelError(f"Colours of the type {image.dtype} cannot be shown.")
        return image if bits == 16 else (image >> 8).astype(np.uint8)


def _range(planned: _Planned, wanted: set[int]) -> Range:
    """Return the smallest and the largest value of frames."""
    low, high = np.inf, -np.inf
    for group in planned.groups:
        if not group.grey:
            continue
        for rows, block in _blocks(group):
            for row, image in zip(rows.tolist(), block, strict=True):
                values = image[np.isfinite(image)] if row in wanted else image[:0]
                if values.size:
                    low, high = min(low, float(values.min())), max(high, float(values.max()))
    return Range(low, high) if high >= low else Range(0, 0)


def _objects(table: Table, rows: Rows, keyword: str) -> list[Any]:
    values = parse_name(keyword).values(table)
    return [None] * len(rows) if values is None else values.take(rows).as_objects().tolist()
