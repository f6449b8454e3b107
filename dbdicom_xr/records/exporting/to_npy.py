"""``export_as_npy``: arrays as NumPy writes them, and beside each what its numbers mean."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import DbdicomError
from dbdicom_xr.formats.npy import (
    FORMAT,
    NpyWriter,
    column_content,
    digest_of,
    labels,
    plain,
    side_text,
)
from dbdicom_xr.formats.targets import refuse_existing, target_of
from dbdicom_xr.index.table import Table
from dbdicom_xr.interact import Bar, progress_bar
from dbdicom_xr.records.attributes.lookup import Attribute, Name
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.exporting.each import (
    OF_A_SERIES,
    Part,
    identifies,
    left_out,
    planned_of,
    refuse_all,
    refuse_several,
)
from dbdicom_xr.records.exporting.files import NewFiles, new_files
from dbdicom_xr.records.reading.header_table import attribute_of
from dbdicom_xr.records.reading.series_array import instance_array

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.record import Record

__all__ = ["NpyOptions", "export_npy"]

_ATTRS: Final = ("SeriesInstanceUID", "units")
_PIXELS: Final = ("x", "y", "channel")
_LONGEST: Final = 1024  # characters of a value in the text


@dataclass(frozen=True)
class NpyOptions:
    """How arrays are exported. See :meth:`Record.export_as_npy`."""

    sortby: Name | Sequence[Name] | None = None
    rescale: bool | str = True
    align: str = "auto"
    identify: bool = False


@dataclass(frozen=True)
class _Planned:
    part: Part
    array: xr.DataArray
    text: dict[str, Any]

    @property
    def images(self) -> int:
        """How many frames of DICOM the array has room for."""
        pixels = (
            self.array.sizes[name] for name in ("x", "y", "channel") if name in self.array.dims
        )
        return self.array.size // max(1, math.prod(pixels))


def export_npy(
    record: Record, path: str | os.PathLike[str], *, overwrite: bool, options: NpyOptions
) -> list[str]:
    """Write a record as ``.npy`` files. See :meth:`Record.export_as_npy`."""
    target = target_of(path, ".npy")
    planned, refused = _plan(record, options)
    refuse_several(record, target, [one.part.name for one in planned])
    paths = [target.path(target.file or one.part.name) for one in planned]
    refuse_existing([name for path in paths for name in (path, _beside(path))], overwrite)
    written: list[str] = []
    voice = record.database._own_voice
    total = sum(one.images for one in planned)
    with (
        new_files(target.folder) as files,
        progress_bar(total, "Writing NumPy", "image", voice) as bar,
    ):
        for one, file in zip(planned, paths, strict=True):
            try:
                _write(one, file, files, bar)
            except OF_A_SERIES as error:
                if len(planned) == 1 and not refused:
                    raise
                files.leave_out(file, _beside(file))
                refused.append((one.part.record, error))
                continue
            written.append(file)
    if not written:
        refuse_all(record, refused)
    left_out(record, refused)
    return written


def _beside(path: str) -> str:
    return f"{path}.json"  # x.json is the side-car of x.nii


@of_one_state
def _plan(
    record: Record, options: NpyOptions
) -> tuple[list[_Planned], list[tuple[Record, DbdicomError]]]:
    return planned_of(record, lambda part: _planned(part, options))


def _planned(part: Part, options: NpyOptions) -> _Planned:
    table, _ = part.rows()
    if part.record.level == "series":
        array, header = part.series.array(
            options.sortby, rescale=options.rescale, align=options.align
        )
        cells = np.full(header.size, -1)
        for _, places, rows in header._where():
            cells[places] = rows
        cells = cells.reshape(header.shape)
    else:
        array = instance_array(part.record, rescale=options.rescale, chunks="auto")  # type: ignore[arg-type]
        found = part.rows()[1]
        cells = found if "frame" in array.dims else found.reshape(())
    return _Planned(part, array, _content(table, array, cells, options))


def _content(
    table: Table, array: xr.DataArray, cells: npt.NDArray[np.intp], options: NpyOptions
) -> dict[str, Any]:
    """Return what stands beside an array."""
    grid = [str(dim) for dim in array.dims if dim not in _PIXELS]
    constant, varying = _header(table, cells, options.identify)
    return {
        "format": f"{FORMAT} 1",
        "name": array.name,
        "dims": list(array.dims),
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "coords": {
            str(name): labels(tuple(map(str, values.dims)), values.values, values.attrs)
            for name, values in array.coords.items()
        },
        "attrs": {key: array.attrs[key] for key in _ATTRS if key in array.attrs},
        "header_dims": grid,
        "constant": constant,
        "varying": varying,
    }


def _header(
    table: Table, cells: npt.NDArray[np.intp], identify: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes that are the same in all images, and the others."""
    table.load()
    constant: dict[str, Any] = {}
    varying: dict[str, Any] = {}
    filled = cells >= 0
    for key in table.keys:
        attribute = attribute_of(key)
        if table.left_in_files(key) or attribute.name == "SOPInstanceUID":
            continue
        if not identify and identifies(attribute):
            continue
        found = _column(attribute, table)
        if found is None:
            continue
        distinct, codes = found
        own = np.where(filled, codes[cells], -1)
        present = np.unique(own[filled])
        if len(present) == 1 and present[0] >= 0:
            constant[attribute.name] = plain(distinct[present[0]])
        elif (present >= 0).any():
            varying[attribute.name] = column_content(distinct, own)
    return constant, varying


def _column(attribute: Attribute, table: Table) -> tuple[list[Any], npt.NDArray[np.int64]] | None:
    """Return the values of an attribute and the code of each frame; None for what text cannot say.

    Equal values have one code, empty ones -1.
    """
    values = attribute.values(table)
    if values is None:
        return None
    distinct: list[Any] = []
    places: dict[str, int] = {}
    code_of = np.full(len(values.distinct) + 1, -1, np.int64)
    for code, value in enumerate(values.distinct):
        parts = value if isinstance(value, list) else [value]
        if any(not isinstance(part, (str, int, float, type(None))) for part in parts):
            return None  # sequences, bytes
        if value is None or value == "" or len(repr(value)) > _LONGEST:
            continue
        place = places.setdefault(repr(value), len(distinct))
        if place == len(distinct):
            distinct.append(value)
        code_of[code] = place
    return distinct, code_of[values.codes]


def _write(one: _Planned, path: str, files: NewFiles, bar: Bar) -> None:
    import dask.array as da

    array = one.array
    pixels = array.size // max(1, one.images)
    name = files.new(path)
    with open(name, "wb") as file:
        room = NpyWriter(file, array.shape, array.dtype, lambda count: bar.update(count // pixels))
        da.store([array.data], [room], lock=False)  # type: ignore[list-item]
    with open(files.new(_beside(path)), "w", encoding="utf-8", newline="\n") as side:
        side.write(side_text({**one.text, "npy": digest_of(name)}) + "\n")
