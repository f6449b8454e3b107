"""``to_virtual``: a store that refers to the bytes of the DICOM files, and copies no pixels.

A chunk is a frame as it lies in its file. That is an array of zarr where frames are not compressed,
little endian, of one type, and without gaps; what is not so is refused with the reason. The store
is made through VirtualiZarr, as an Icechunk repository or as references of kerchunk.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import (
    DbdicomError,
    DicomWarning,
    FileExists,
    InvalidValue,
    LeftOut,
    PixelError,
)
from dbdicom_xr.formats.zarr_store import put_in_place
from dbdicom_xr.index.scan import FOLDER_NAME
from dbdicom_xr.index.table import Table
from dbdicom_xr.interact import Bar, progress_bar
from dbdicom_xr.pixels.decode import decode_native
from dbdicom_xr.pixels.layout import PixelLayout
from dbdicom_xr.records.current import levels_to_user, of_one_state
from dbdicom_xr.records.editing.saving_to import copies_of
from dbdicom_xr.records.exporting.each import OF_A_SERIES, Part, parts_of, refuse_all
from dbdicom_xr.records.exporting.files import new_files
from dbdicom_xr.records.exporting.plain_header import constant_attributes
from dbdicom_xr.records.exporting.to_zarr import Images, ZarrOptions, groups_of, images_of
from dbdicom_xr.records.exporting.virtual_places import (
    container_of,
    frames_of,
    prefix_of,
    why_unreachable,
)
from dbdicom_xr.records.exporting.virtual_versions import settled

if TYPE_CHECKING:
    import datetime

    import xarray as xr

    from dbdicom_xr.records.record import Record

__all__ = ["to_virtual"]

_KERCHUNK: Final = ".json"
# What an Icechunk repository on a disk has.
_ICECHUNK: Final = ("repo", "refs", "snapshots", "config.yaml")


def to_virtual(
    record: Record,
    store: str | os.PathLike[str],
    *,
    overwrite: bool,
    check: bool,
    options: ZarrOptions,
) -> list[str]:
    """Make a virtual store of a record. See :meth:`Record.to_virtual`."""
    _require_packages()
    record.database._staging.require_no_batch("to_virtual()")
    path = os.path.abspath(os.path.expanduser(os.fspath(store)))
    kerchunk = path.lower().endswith(_KERCHUNK)
    _refuse(path, overwrite, kerchunk)
    parts = [part for part in parts_of(record) if part.record._tables()]
    if not parts:
        refuse_all(record, [])
    alone = record.level in ("series", "instance", "frame")
    if kerchunk and not alone:
        raise InvalidValue(
            f"{path}: references of kerchunk hold one series, and {record!r} is more. Give a name "
            "without .json, for an Icechunk repository with a group per series, or make a file of "
            "each series."
        )
    made: dict[str, xr.Dataset] = {}
    times: dict[str, datetime.datetime] = {}
    unscaled: list[Record] = []
    refused: list[DbdicomError] = []
    total = sum(len(part.rows()[1]) for part in parts)
    voice = record.database._own_voice
    with progress_bar(total, "Referring to images", "image", voice) as bar:
        for group, part in groups_of(record, parts):
            try:
                virtual = _Virtual(part, options, kerchunk)
                made[group] = dataset = virtual.dataset(check, bar)
                if not kerchunk:
                    times[group] = virtual.written
                if "RescaleSlope" in dataset.coords and "scale_factor" not in dataset.pixels.attrs:
                    unscaled.append(part.record)
            except OF_A_SERIES as error:
                if alone:
                    raise
                refused.append(error)
    if not made:
        reasons = " ".join(str(error) for error in refused[:8])
        raise PixelError(f"None of the series of {record!r} can be virtual. {reasons}")
    with new_files(os.path.dirname(path)) as files:
        name = os.path.join(files.folder, "virtual")
        if kerchunk:
            _write_kerchunk(made[""], name)
        else:
            _write_icechunk(made, times, name, record.database.path_on_disk)
        put_in_place(name, path)
    if unscaled:
        names = ", ".join(map(repr, unscaled[:8])) + (", ..." if len(unscaled) > 8 else "")
        warnings.warn(
            f"{path} has stored values, not real ones, of {names}: slope and intercept differ "
            "among the images, which a virtual array cannot tell. They are coordinates: pixels * "
            "RescaleSlope + RescaleIntercept. export_as_zarr() has real values.",
            DicomWarning,
            stacklevel=levels_to_user(),
        )
    if refused:
        count = len(refused)
        reasons = " ".join(str(error) for error in refused[:8])
        more = f" And {count - 8} more." if count > 8 else ""
        warnings.warn(
            f"{record!r}: {count} series {'is' if count == 1 else 'are'} not in the virtual store. "
            f"{reasons}{more}",
            LeftOut,
            stacklevel=levels_to_user(),
        )
    return [path]


def _require_packages() -> None:
    try:
        import icechunk  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
        import virtualizarr  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
    except ImportError as error:
        raise DbdicomError(
            f"to_virtual() needs a package that is not installed ({error.name}): "
            'pip install "dbdicom_xr[virtual]"'
        ) from error


def _refuse(path: str, overwrite: bool, kerchunk: bool) -> None:
    """Raise where something is in the way."""
    if not os.path.lexists(path):
        return
    if kerchunk:
        if not os.path.isfile(path):
            raise InvalidValue(f"{path} is a folder, where a file is to be written.")
    elif not os.path.isdir(path) or os.path.islink(path):
        raise InvalidValue(f"{path} is a file or a link, where a folder is to be made.")
    elif not os.listdir(path):
        return
    elif not any(os.path.lexists(os.path.join(path, name)) for name in _ICECHUNK):
        raise InvalidValue(
            f"{path} is a folder with other files than those of an Icechunk repository, and is "
            "never replaced. Choose another name."
        )
    if not overwrite:
        raise FileExists(
            f"Nothing was written, since there is a {path} already. overwrite=True replaces it."
        )


# -- what the references are ---------------------------------------------------------------------


class _Virtual:
    """A series as references."""

    written: datetime.datetime
    """No file was written later."""

    def __init__(self, part: Part, options: ZarrOptions, kerchunk: bool) -> None:
        self.database = part.record.database
        self._part = part
        self._options = options
        self._kerchunk = kerchunk

    def _no(self, why: str) -> PixelError:
        return PixelError(
            f"{self._part.record!r} cannot be virtual: {why} export_as_zarr() copies the images."
        )

    @of_one_state
    def dataset(self, check: bool, bar: Bar) -> xr.Dataset:
        """Return the dataset with its virtual array."""
        part, options = self._part, self._options
        table, _ = part.rows()
        if (why := why_unreachable(table.root, self._kerchunk)) is not None:
            raise self._no(why)
        table.load()
        self._require_saved(table)
        images = images_of(part, table, options)
        layout = self._layout(table, images)
        paths, offsets, length = self._places(table, images, layout, check, bar)
        data = self._array(images, layout, paths, offsets, length)
        dims = tuple(map(str, images.array.dims))
        if self._kerchunk:
            depth = images.cells.ndim
            dims = (*dims[:depth], *(dims[depth + n] for n in _file_order(layout)))
        import xarray as xr

        dataset = xr.Dataset(coords=_plain_coords(images.array, self._kerchunk))
        dataset["pixels"] = xr.Variable(dims, data, self._attributes(images))
        for name, values in self._scales(images).items():
            dataset = dataset.assign_coords({name: (images.dims, values)})
        dataset.attrs = constant_attributes(table, images.cells[images.cells >= 0])
        return dataset

    def _require_saved(self, table: Table) -> None:
        copies = copies_of(self._part.record, "")
        inside = [source for source in copies.sources if source is not None]
        if (
            len(inside) < len(copies.sources)
            or any(copies.edits)
            or any(file.path.startswith(f"{FOLDER_NAME}/") for _, file in inside)
        ):
            raise self._no("there are changes that are not saved. save() or restore() them first.")

    def _layout(self, table: Table, images: Images) -> PixelLayout:
        """Return how all frames lie in their files, provided that zarr can read that."""
        layouts, scalings = images.header.layouts, images.header.scalings
        for layout in layouts:
            if layout.is_encapsulated:
                from pydicom.uid import UID

                raise self._no(
                    f"frames are compressed ({UID(layout.transfer_syntax).name}), for which zarr "
                    "has no codec."
                )
            if layout.is_big_endian:
                raise self._no("the samples are big endian.")
            if layout.is_tile:
                raise self._no("its slices are tiles of mosaics, which lie in pieces in the files.")
            if layout.bits_allocated == 1 and not layout.is_float:
                raise self._no("samples have 1 bit, and eight share a byte.")
            if layout.photometric_interpretation.startswith("YBR"):
                raise self._no(
                    f"colours are {layout.photometric_interpretation}, and would have to be worked "
                    "out."
                )
        first = layouts[0]
        kinds = {(layout.dtype.str, _planar(layout)) for layout in layouts}
        if len(kinds) > 1:
            raise self._no("its frames are of several types.")
        for scaling in scalings:
            if scaling.lut is not None:
                raise self._no("values come from a Modality LUT; rescale=False has stored values.")
            if scaling.palette is not None:
                raise self._no("pixels number the colours of a palette; rescale=False has those.")
            if scaling.padding is not None:
                raise self._no("some pixels stand for no value (NaN); rescale=False has them.")
        if (images.cells < 0).any():
            raise self._no(
                f"{int((images.cells < 0).sum())} places of the grid have no image. Choose another "
                "sortby."
            )
        if bool(table.places["deflated"][table.instance_of[images.rows]].any()):
            raise self._no("files are deflated.")
        return first

    def _places(
        self, table: Table, images: Images, layout: PixelLayout, check: bool, bar: Bar
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint64], int]:
        """Return file and offset of each frame, and its length."""
        instances = table.instance_of[images.cells]
        places = table.places[instances]
        length = layout.frame_bytes
        numbers = table.frame_numbers[images.cells]
        offsets = (places["offset"] + (numbers - 1) * length).astype(np.uint64)
        files = table.store.files(np.unique(places["file"]).tolist())
        codes = {number: n for n, number in enumerate(files)}
        pool = np.array(
            [f"{prefix_of(table.root)}{file.path}" for file in files.values()],
            np.dtypes.StringDType(),
        )
        if not self._kerchunk and (odd := next((p for p in pool if set(p) & set("#?%")), None)):
            raise self._no(
                f"{odd} has # ? or % in its name, which Icechunk takes for a part of an address. "
                "References of kerchunk (a name that ends in .json) can have them."
            )
        numbers_of = np.vectorize(codes.__getitem__, otypes=[np.intp])(places["file"])
        paths = np.asarray(pool[numbers_of], pool.dtype)  # of one image it is a text
        sizes = np.vectorize(lambda number: files[number].size, otypes=[np.int64])(places["file"])
        ends = np.minimum(places["length"], sizes - places["offset"])
        if bool((numbers * length > ends).any()):
            raise self._no("pixel data end too early; a file is truncated.")
        unused = check and any(
            not one.is_float and one.bits_stored < one.bits_allocated
            for one in images.header.layouts
        )
        if not self._kerchunk:  # which notices no change
            self.written = settled(table.root, [file.mtime for file in files.values()])
        self._look(table, images, instances, offsets, length, unused, bar)
        return paths.reshape(images.cells.shape), offsets, length

    def _look(
        self, table: Table, images: Images, instances: Any, offsets: Any, length: int,
        unused: bool, bar: Bar,
    ) -> None:  # fmt: skip
        """Require that files are those of the index, and that unused bits hold nothing."""
        kinds = np.zeros(len(table), np.int64)
        kinds[images.rows] = images.header.kinds
        cells, owners = images.cells.ravel(), np.asarray(instances).ravel()
        for at, path, data in frames_of(table, owners, offsets.ravel(), length, unused, self._no):
            bar.update()
            if not unused:
                continue
            layout = images.header.layouts[kinds[cells[at]]]
            frame = decode_native(data, layout)
            if frame.astype(layout.dtype.newbyteorder("<")).tobytes() != _in_order(data, layout):
                raise self._no(
                    f"there is something else in the unused bits of pixels in {path}, as old "
                    "overlays."
                )

    def _array(
        self, images: Images, layout: PixelLayout, paths: Any, offsets: Any, length: int
    ) -> Any:
        from virtualizarr.manifests import ChunkManifest, ManifestArray
        from virtualizarr.manifests.utils import create_v3_array_metadata
        from zarr.codecs import BytesCodec, TransposeCodec

        depth = images.cells.ndim
        pixels = images.array.shape[depth:]
        order = _file_order(layout)
        shape = images.array.shape
        codecs: list[Any] = [BytesCodec(endian="little").to_dict()]
        if self._kerchunk:
            shape = (*shape[:depth], *(pixels[n] for n in order))
        else:
            whole = (*range(depth), *(depth + n for n in order))
            codecs.insert(0, TransposeCodec(order=whole).to_dict())
        metadata = create_v3_array_metadata(
            shape=shape,
            data_type=layout.dtype,
            chunk_shape=(*(1,) * depth, *shape[depth:]),
            fill_value=0,
            codecs=codecs,
            dimension_names=None,
        )
        grid = (*images.cells.shape, *(1,) * len(pixels))
        manifest = ChunkManifest.from_arrays(
            paths=paths.reshape(grid),
            offsets=offsets.reshape(grid),
            lengths=np.full(grid, length, np.uint64),
        )
        return ManifestArray(metadata=metadata, chunkmanifest=manifest)

    def _attributes(self, images: Images) -> dict[str, Any]:
        """Return what is said of the array: one scale for all is one of CF."""
        result = dict(images.array.attrs)
        scales = {(scaling.slope, scaling.intercept) for scaling in images.header.scalings}
        if len(scales) == 1 and scales != {(1.0, 0.0)}:
            ((slope, intercept),) = scales
            result |= {"scale_factor": float(slope), "add_offset": float(intercept)}
        return result

    def _scales(self, images: Images) -> dict[str, npt.NDArray[Any]]:
        """Return slope and intercept of each frame, where they differ."""
        scalings = images.header.scalings
        if len({(scaling.slope, scaling.intercept) for scaling in scalings}) == 1:
            return {}
        kinds = images.header.kinds[np.searchsorted(images.rows, images.cells)]
        return {
            name: np.array([float(getattr(scaling, key)) for scaling in scalings])[kinds]
            for name, key in (("RescaleSlope", "slope"), ("RescaleIntercept", "intercept"))
        }


def _planar(layout: PixelLayout) -> bool:
    return layout.samples_per_pixel > 1 and layout.planar_configuration == 1


def _file_order(layout: PixelLayout) -> tuple[int, ...]:
    """Return which dimensions of (x, y, channel) the file has, one after the other."""
    if layout.samples_per_pixel == 1:
        return (1, 0)
    return (2, 1, 0) if _planar(layout) else (1, 0, 2)


def _in_order(data: bytes, layout: PixelLayout) -> bytes:
    """Return the bytes of a frame with the colours of a pixel together."""
    if not _planar(layout):
        return data
    planes = np.frombuffer(data, layout.dtype).reshape(3, layout.rows, layout.columns)
    return np.ascontiguousarray(planes.transpose(1, 2, 0)).tobytes()


def _plain_coords(array: xr.DataArray, kerchunk: bool) -> dict[Any, Any]:
    """Return coordinates of types that the store has."""
    result = {}
    for name, value in array.coords.items():
        values = value.values
        if values.dtype.kind in "OUT":
            texts = ["" if text is None else str(text) for text in values.ravel().tolist()]
            # Version 2 of zarr has settled texts of a fixed length, version 3 of any length.
            values = np.array(texts, None if kerchunk else object).reshape(values.shape)
        result[name] = (value.dims, values, value.attrs)
    return result


# -- stores --------------------------------------------------------------------------------------


def _write_kerchunk(dataset: xr.Dataset, path: str) -> None:
    references = dataset.vz.to_kerchunk(format="dict")
    refs = references["refs"]
    dims = dataset["pixels"].dims
    # Where colours lie together, no order of version 2 of zarr has x before y.
    swapped = 0 if dims[-1] == "channel" else 3 if "channel" in dims else 2
    array = json.loads(refs["pixels/.zarray"])
    array["fill_value"] = None  # a number here is missing to xarray wherever it occurs
    if swapped:
        # Of version 2 of zarr: the first dimension of a chunk varies fastest, so that the last
        # ones turn round, (y, x) as in the file to (x, y). The others are 1 in a chunk.
        array["order"] = "F"
        for name in ("shape", "chunks"):
            array[name][-swapped:] = array[name][-swapped:][::-1]
        attributes = json.loads(refs["pixels/.zattrs"])
        attributes["_ARRAY_DIMENSIONS"] = [*dims[:-swapped], *dims[-swapped:][::-1]]
        refs["pixels/.zattrs"] = json.dumps(attributes)
    refs["pixels/.zarray"] = json.dumps(array)
    for coord in dataset.coords:
        # VirtualiZarr 2.5 has no number for the one chunk of an array without dimensions.
        if f"{coord}/" in refs:
            refs[f"{coord}/0"] = refs.pop(f"{coord}/")
    Path(path).write_text(json.dumps(references), encoding="utf-8")


def _write_icechunk(
    datasets: dict[str, xr.Dataset], times: dict[str, datetime.datetime], path: str, root: str
) -> None:
    import icechunk

    # It warns of several programs that commit at once; nobody knows this folder yet.
    icechunk.set_logs_filter("error")
    try:
        _commit(datasets, times, path, root)
    finally:
        icechunk.set_logs_filter(None)  # as the environment says


def _commit(
    datasets: dict[str, xr.Dataset], times: dict[str, datetime.datetime], path: str, root: str
) -> None:
    import icechunk

    config = icechunk.RepositoryConfig.default()
    config.set_virtual_chunk_container(container_of(root))
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(path), config)
    repository.save_config()
    session = repository.writable_session("main")
    for group, dataset in datasets.items():
        # A file that is written later is refused by Icechunk when it is read.
        dataset.vz.to_icechunk(session.store, group=group or None, last_updated_at=times[group])
    session.commit("References to DICOM files, by dbdicom_xr")
