"""``export_as_zarr``: series as chunked arrays, with their whole header, in stores of zarr.

A group per series: the array ``pixels`` with its coordinates, and below it the groups ``header``
(what plain xarray reads) and ``files`` (what ``from_zarr`` makes the DICOM files of). A store is
written beside its place, read again, and renamed when all is in it.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import DbdicomError, FileExists, LeftOut, PixelError
from dbdicom_xr.formats.targets import local_name, require_folder, target_of
from dbdicom_xr.formats.zarr_contents import FILES_FORMAT, arrays_in
from dbdicom_xr.formats.zarr_pixels import form_of
from dbdicom_xr.formats.zarr_store import (
    ENDING,
    ByteSink,
    consolidate,
    put_in_place,
    refuse_store,
    write_dataset,
)
from dbdicom_xr.index.table import Table
from dbdicom_xr.interact import Bar, progress_bar
from dbdicom_xr.names import safe_name
from dbdicom_xr.records.attributes.lookup import Name
from dbdicom_xr.records.attributes.pixel_header import PixelHeader, pixel_header
from dbdicom_xr.records.current import levels_to_user, of_one_state
from dbdicom_xr.records.editing.saving_to import Copies, copies_of
from dbdicom_xr.records.exporting.each import OF_A_SERIES, Part, left_out, planned_of
from dbdicom_xr.records.exporting.files import new_files
from dbdicom_xr.records.exporting.plain_header import constant_attributes
from dbdicom_xr.records.exporting.zarr_files import (
    FILE_COLUMNS,
    IMAGE_COLUMNS,
    Image,
    KeptFiles,
)
from dbdicom_xr.records.exporting.zarr_header import header_dataset
from dbdicom_xr.records.reading.series_array import describer, instance_array

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.record import Record

__all__ = ["PIXEL_DIMS", "Images", "ZarrOptions", "export_zarr", "groups_of", "images_of"]

PIXEL_DIMS: Final = ("x", "y", "channel")


@dataclass(frozen=True)
class ZarrOptions:
    """How arrays are exported. See :meth:`Record.export_as_zarr`."""

    sortby: Name | Sequence[Name] | None = None
    rescale: bool | str = True
    align: str = "auto"


@dataclass(frozen=True)
class Images:
    """The array of a series, and which frame stands where in it."""

    array: xr.DataArray
    cells: npt.NDArray[np.intp]
    header: PixelHeader  # of the frames in `rows`
    rows: npt.NDArray[np.intp]

    @property
    def dims(self) -> tuple[str, ...]:
        """Those of the grid."""
        return tuple(str(dim) for dim in self.array.dims if dim not in PIXEL_DIMS)


@dataclass(frozen=True)
class _Planned:
    part: Part
    group: str
    folder: str
    table: Table
    rows: npt.NDArray[np.intp]
    instances: npt.NDArray[np.intp]
    copies: Copies
    images: Images | None


def export_zarr(
    record: Record, path: str | os.PathLike[str], *, overwrite: bool, options: ZarrOptions
) -> list[str]:
    """Write a record as stores of zarr. See :meth:`Record.export_as_zarr`."""
    record.database._staging.require_no_batch("export_as_zarr()")
    parts, refused = planned_of(record, _filled)
    stores = _stores(record, parts, path)
    for store in stores:
        refuse_store(store, overwrite)
    total = sum(len(part.rows()[1]) for part in parts)
    voice = record.database._own_voice
    folder = os.path.dirname(next(iter(stores)))
    work = _Work(record, options)
    with new_files(folder) as files, progress_bar(2 * total, "Writing zarr", "image", voice) as bar:
        work.bar = bar
        written = {store: os.path.join(files.folder, str(n)) for n, store in enumerate(stores)}
        for store, groups in stores.items():
            work.write(written[store], groups)
        placed: list[str] = []
        try:
            for store, temporary in written.items():
                put_in_place(temporary, store, overwrite)
                placed.append(store)
        except FileExists:
            for store in placed:
                shutil.rmtree(store, ignore_errors=True)
            raise
    if record.database._scratch is not None:
        for key, layer in work.whole:
            record.database._scratch.note_exported(key, layer)
    left_out(record, refused)
    work.warn()
    return list(stores)


def _filled(part: Part) -> Part:
    """Return a series, or what was asked for of one, that holds something."""
    if not len(part.rows()[0]):
        raise PixelError(f"{part.record!r} holds no images: nothing has come into it yet.")
    return part


def _stores(
    record: Record, parts: Sequence[Part], path: str | os.PathLike[str]
) -> dict[str, dict[str, Part]]:
    """Return the stores that are written, and the group of each series in them."""
    text = local_name(path)
    if text.lower().rstrip("/").endswith(ENDING):
        text = text.rstrip("/")
        if os.path.basename(text).lower() != ENDING:
            folder = os.path.dirname(text)
            require_folder(folder, ENDING)
            return {text: dict(groups_of(record, parts))}
    target = target_of(path, ENDING)
    return {target.path(part.name): {"": part} for part in parts}


def groups_of(record: Record, parts: Sequence[Part]) -> Iterator[tuple[str, Part]]:
    """Yield the place of each series in a store, which is that in the tree below the record."""
    if record.level in ("series", "instance", "frame"):
        yield "", parts[0]
        return
    taken: dict[str, Any] = {}
    for part in parts:
        names: list[str] = []
        for node in _below(record, part.series):
            above = "/".join(names)
            name = full = safe_name(node.name, node.level)
            number = 1
            while taken.setdefault(f"{above}/{name}".lower(), node) != node:
                number += 1
                name = f"{full} ({number})"
            names.append(name)
        yield "/".join(names), part


def _below(record: Record, series: Record) -> list[Record]:
    nodes: list[Record] = []
    node = series
    while node.level != record.level:
        nodes.append(node)
        node = node.parent
    return nodes[::-1]


class _Work:
    """The writing of stores, and what is noticed meanwhile."""

    bar: Bar

    def __init__(self, record: Record, options: ZarrOptions) -> None:
        self.database = record.database
        self._record = record
        self._options = options
        self._alone = record.level in ("series", "instance", "frame")
        self._without: list[tuple[Record, DbdicomError]] = []
        self.whole: list[tuple[Any, Any]] = []  # series of which all files are in a store

    def write(self, store: str, groups: dict[str, Part]) -> None:
        """Write one store."""
        import zarr

        root = zarr.create_group(store, zarr_format=3)
        above = {""}
        for group, part in groups.items():
            if group:
                root.require_group(group)
                names = group.split("/")
                above |= {"/".join(names[:n]) for n in range(len(names))}
            self._write_series(store, root, group, part)
        consolidate(store, sorted(above - set(groups), key=len, reverse=True))

    def _write_series(self, store: str, root: Any, group: str, part: Part) -> None:
        planned = self._planned(part, group, store)
        images = planned.images
        if images is not None:
            try:
                self._write_pixels(store, planned, images)
            except OF_A_SERIES as error:
                if self._alone:
                    raise
                self._without.append((part.record, error))
                shutil.rmtree(os.path.join(store, *group.split("/")))
                root.require_group(group)
                images = None
        if images is None:
            self.bar.update(len(planned.rows))
        _write_header(store, planned, images)
        _write_files(root, planned, images, self.bar)
        path = f"{group}/" if group else ""
        consolidate(store, [f"{path}header", f"{path}files", group])
        self.whole += [(key, planned.copies.layer) for key in planned.copies.whole]

    def _write_pixels(self, store: str, planned: _Planned, images: Images) -> None:
        array = images.array
        dataset = array.to_dataset(name="pixels")
        dataset.attrs = constant_attributes(planned.table, images.cells[images.cells >= 0])
        write_dataset(dataset, store, planned.group, "pixels", PIXEL_DIMS)
        self.bar.update(len(images.rows))

    @of_one_state
    def _planned(self, part: Part, group: str, store: str) -> _Planned:
        table, rows = part.rows()
        table.load()
        images = None
        try:
            images = images_of(part, table, self._options)
        except OF_A_SERIES as error:
            if self._alone and _has_pixels(table):
                raise
            if _has_pixels(table):
                self._without.append((part.record, error))
        copies = copies_of(part.record, store)
        instances = np.unique(table.instance_of[rows])
        return _Planned(part, group, _folder(part), table, rows, instances, copies, images)

    def warn(self) -> None:
        """Tell which series have no array in the store."""
        if not self._without:
            return
        count = len(self._without)
        texts = " ".join(str(error) for _, error in self._without[:8])
        more = f" And {count - 8} more." if count > 8 else ""
        warnings.warn(
            f"{self._record!r}: {count} series {'is' if count == 1 else 'are'} in the store as "
            f"files and header, without an array. {texts}{more}",
            LeftOut,
            stacklevel=levels_to_user(),
        )


def images_of(part: Part, table: Table, options: ZarrOptions) -> Images:
    """Return the array of a series, an instance or a frame, and what stands where in it."""
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
    rows = np.unique(cells[cells >= 0])
    pixels = pixel_header(table, rows, options.rescale, None, describe=describer(table))
    return Images(array, cells, pixels, rows)


def _has_pixels(table: Table) -> bool:
    return bool((table.places["offset"] >= 0).any())


def _folder(part: Part) -> str:
    """Return where the files of a series go when they are made again."""
    names = []
    node: Any = part.series
    while node.level != "database":
        names.append(safe_name(node.name, node.level))
        node = node.parent
    return "/".join(reversed(names))


def _write_header(store: str, planned: _Planned, images: Images | None) -> None:
    path = f"{planned.group}/" if planned.group else ""
    if images is None:
        dataset = header_dataset(planned.table, planned.rows, ("image",))
    else:
        dataset = header_dataset(planned.table, images.cells, images.dims)
    write_dataset(dataset, store, f"{path}header")


def _write_files(root: Any, planned: _Planned, images: Images | None, bar: Bar) -> None:
    import xarray as xr

    path = f"{planned.group}/" if planned.group else ""
    group = root.require_group(f"{path}files")
    forms = []
    if images is not None:
        forms = [
            form_of(layout, scaling)
            for layout, scaling in zip(images.header.layouts, images.header.scalings, strict=True)
        ]
    sink = ByteSink(group, "bytes", {})
    kept = KeptFiles(planned.copies, list(_where(planned, images, forms)), forms, sink)
    kept.take(planned.table, planned.instances, bar)
    if images is not None:
        kept.compare(root[f"{path}pixels"], images.cells.ndim)
    sink.close()
    dataset = xr.Dataset(
        kept.variables(),
        attrs={
            "format": FILES_FORMAT,
            "description": "The DICOM files, for dbdicom_xr.from_zarr. "
            "Their bytes, but for those of the pixels that follow from the array.",
            "folder": planned.folder,
            "pixels": images is not None,
            "size": sink.size,
            "file_columns": list(FILE_COLUMNS),
            "image_columns": list(IMAGE_COLUMNS),
            "forms": [None if form is None else form.to_json() for form in forms],
        },
    )
    store = root.store.root.as_posix()
    write_dataset(dataset, store, f"{path}files")
    # By which the store is known to hold nothing else when it is to be replaced.
    arrays = arrays_in(os.path.join(store, *planned.group.split("/")))
    root[f"{path}files"].update_attributes({"arrays": arrays})


def _where(planned: _Planned, images: Images | None, forms: Sequence[Any]) -> Iterator[Image]:
    """Yield for each file where its frames stand in the array."""
    table = planned.table
    place = np.full(len(table), -1, np.int64)
    form = np.full(len(table), -1, np.int64)
    if images is not None:
        flat = images.cells.ravel()
        filled = np.flatnonzero(flat >= 0)
        place[flat[filled]] = filled
        usable = np.array([one is not None for one in forms] + [False])
        form[images.rows] = np.where(usable[images.header.kinds], images.header.kinds, -1)
    for instance in planned.instances.tolist():
        first = int(table.first_frames[instance])
        rows = slice(first, first + int(table.places["frames"][instance]))
        count = rows.stop - rows.start
        yield Image(np.arange(count), place[rows], form[rows])
