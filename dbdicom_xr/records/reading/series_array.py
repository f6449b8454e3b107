"""``series.array``: the grid, the reader and the labels put together."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.coordinates import attrs
from dbdicom_xr.arrays.grid import Grid, build_grid
from dbdicom_xr.arrays.reader import FrameReader
from dbdicom_xr.errors import (
    AlignedByOrder,
    DicomWarning,
    GridError,
    InvalidValue,
    LeftOut,
    MixedGeometry,
    PixelError,
)
from dbdicom_xr.geometry.planes import are_parallel
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import SLICE_LOCATION, Attribute, Name, parse_name
from dbdicom_xr.records.attributes.pixel_header import PixelHeader, pixel_header
from dbdicom_xr.records.attributes.slices import orientations
from dbdicom_xr.records.current import levels_to_user, of_one_state
from dbdicom_xr.records.layouts import require_fitting_layout
from dbdicom_xr.records.reading.chunks import as_data, preferred_chunks
from dbdicom_xr.records.reading.header import Header, provenance
from dbdicom_xr.records.reading.sorting import best_grids, requested, sort_key
from dbdicom_xr.staging.constant import CONSTANT, CONSTANT_FILE

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.instance import Instance
    from dbdicom_xr.records.levels import Series

__all__ = [
    "array_name",
    "check_options",
    "data_array",
    "describer",
    "frame_ranks",
    "frame_reader",
    "hold",
    "image_rows",
    "instance_array",
    "series_array",
    "warn_of_units",
]

ALIGNMENTS: Final = ("auto", "value", "order", "exact")

Coords = dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]


@of_one_state
def series_array(
    series: Series,
    sortby: Name | Sequence[Name] | None,
    pixels_first: bool,
    *,
    chunks: Any,
    rescale: bool | str,
    align: str,
    tolerance: float | Mapping[Name, float] | None,
    fill_value: Any,
    padding: str | None,
    only: Instance | None = None,
) -> tuple[xr.DataArray, Header]:
    """Return the images of a series, or of one instance of it, and their header.

    See :meth:`Series.array`.
    """
    _check(pixels_first, rescale, fill_value)
    table = series._own_table
    require_fitting_layout(series.database._view().composed(table.series.key), table)
    rows = image_rows(series, table) if only is None else _image_rows_of(only)[1]
    pixels = pixel_header(table, rows, rescale, padding, describe=describer(table))
    grid, chosen = _grid(series, table, rows, sortby, align, tolerance)
    cells = np.where(grid.index >= 0, rows[grid.index], -1)
    coords: Coords = {**grid.coords, **provenance(table, cells, grid.dims)}
    header = Header.of_frames(series.database, series._key, table, cells, grid.dims, coords)
    reader = frame_reader(table, pixels, grid.index, cells, fill_value, pixels_first)
    hold(reader, series.database)
    array = data_array(reader, grid.dims, coords, pixels, chunks, pixels_first, series, table)
    for name in grid.coords:
        array[name].attrs.update(_about(name, chosen, table))
    array.name = array_name(series)
    left_out = len(table) - len(rows)
    if left_out and only is None:
        objects = "object has" if left_out == 1 else "objects have"
        has = table.places["offset"][table.instance_of] >= 0
        example = describer(table)(int(np.flatnonzero(~has)[0]))
        _warn(f"{series!r}: {left_out} {objects} no pixels, such as {example}, and "
              f"{'is' if left_out == 1 else 'are'} not in the array.", LeftOut)  # fmt: skip
    warn_of_units(series, pixels)
    _warn_of_geometry(series, table, rows, pixels, grid)
    _warn_of_locations(series, table, rows, grid)
    # Who asks for the order knows of it; but not of frames that are missing in it.
    if grid.notice is not None and (align != "order" or bool((grid.index < 0).any())):
        _warn(grid.notice, AlignedByOrder)
    return array, header


def _real_number(fill_value: Any) -> None:
    value = np.asarray(fill_value)
    if value.dtype.kind not in "biuf" or value.ndim:
        raise InvalidValue(f"fill_value is {fill_value!r}; it has to be a real number.")


def _warn(text: str, kind: type[DicomWarning]) -> None:
    warnings.warn(text, kind, stacklevel=levels_to_user())


def check_options(
    *,
    pixels_first: Any = False,
    rescale: Any = True,
    fill_value: Any = np.nan,
    align: Any = "auto",
    padding: Any = None,
    tolerance: Any = None,
) -> None:
    """Raise where arguments of ``series.array`` are wrong for whatever series.

    Raises
    ------
    InvalidValue, UnknownKeyword
    """
    _check(pixels_first, rescale, fill_value)
    if align not in ALIGNMENTS:
        raise InvalidValue(f"align is {align!r}; it is one of {', '.join(map(repr, ALIGNMENTS))}.")
    if padding not in (None, "nan"):
        raise InvalidValue(f"padding is {padding!r}; it can be None or 'nan'.")
    for name in tolerance if isinstance(tolerance, Mapping) else ():
        parse_name(name)


def _check(pixels_first: Any, rescale: Any, fill_value: Any) -> None:
    if not isinstance(pixels_first, (bool, np.bool_)):
        raise InvalidValue(
            f"pixels_first is {pixels_first!r}; it is True or False. To sort by several attributes "
            "give them in a list: series.array(['SliceLocation', 'EchoTime'])."
        )
    if not isinstance(rescale, (bool, np.bool_, str)):
        raise InvalidValue(
            f"rescale is {rescale!r}; it is True, False, or the label of a real world value map."
        )
    _real_number(fill_value)


def warn_of_units(series: Series, pixels: PixelHeader) -> None:
    """Tell that values of an array do not compare, as those of magnitude and phase."""
    if len(pixels.units) < 2:
        return
    parts = [
        f"{count} in {unit}" if unit else f"{count} do not say in which"
        for unit, count in sorted(pixels.units.items(), reverse=True)
    ]
    split = "series.split_by('image_type') makes a series of each, and "
    _warn(
        f"{series!r}: the values of the images are in several units ({', '.join(parts)}), so that "
        'array.attrs["units"] is missing. series.RescaleType and series.image_type tell what there '
        f"is; {split if _files_have_one_type(series._own_table) else ''}an array that is sorted by "
        "'image_type' holds them side by side: array.sel(image_type=...).",
        DicomWarning,
    )


def _files_have_one_type(table: Table) -> bool:
    """Return whether a series can be split by image type, as no file has frames of several."""
    types = parse_name("image_type").values(table)
    if types is None or not bool((types.codes >= 0).all()):
        return False
    return bool((types.codes == types.codes[table.first_frames][table.instance_of]).all())


def _warn_of_geometry(
    series: Series,
    table: Table,
    rows: npt.NDArray[np.intp],
    pixels: PixelHeader,
    grid: Grid,
) -> None:
    """Tell that labels in mm do not mean what they seem to."""
    directions = orientations(table, rows)
    if "SliceLocation" in grid.dims and directions is not None and not are_parallel(directions):
        _warn(
            f"{series!r} has frames of several orientations. SliceLocation counts along the normal "
            "of each plane, so that its values do not compare between them; "
            "series.ImageOrientationPatient lists them.",
            MixedGeometry,
        )
    if not pixels.in_mm and len(spacings := series.PixelSpacing) > 1:
        _warn(
            f"{series!r} has several PixelSpacing: {', '.join(map(str, spacings[:4]))}. The "
            "coordinates x and y count pixels, and are not in mm.",
            MixedGeometry,
        )


@of_one_state
def instance_array(
    instance: Instance,
    *,
    rescale: bool | str,
    chunks: Any,
    pixels_first: bool = False,
    padding: str | None = None,
) -> xr.DataArray:
    """Return the frames of one instance. See :meth:`Instance.array`."""
    table, rows = _image_rows_of(instance)
    require_fitting_layout(instance.database._view().composed(table.series.key), table)
    pixels = pixel_header(table, rows, rescale, padding, describe=describer(table))
    single = len(rows) == 1
    dims: tuple[str, ...] = () if single else ("frame",)
    cells = rows.reshape(()) if single else rows
    places = np.arange(len(rows)).reshape(cells.shape)
    coords = provenance(table, cells, dims)
    reader = frame_reader(table, pixels, places, cells, np.nan, pixels_first)
    hold(reader, instance.database)
    series = instance.series()
    array = data_array(reader, dims, coords, pixels, chunks, pixels_first, series, table)
    array.name = array_name(series)
    warn_of_units(series, pixels)
    return array


def _image_rows_of(instance: Instance) -> tuple[Table, npt.NDArray[np.intp]]:
    """Return the table of an instance, and its frames in it, provided that they have pixels."""
    table, rows = instance._frame_rows()
    if table.places["offset"][table.instance_of[rows[0]]] < 0:
        raise PixelError(f"{describer(table)(int(rows[0]))} has no pixels.")
    return table, rows


def describer(table: Table) -> Any:
    """Return a function that names the file of a row, for messages."""

    def describe(row: int) -> str:
        instance = int(table.instance_of[row])
        if int(table.places["file"][instance]) < 0:
            return f"the instance {table.uids[instance]}"
        path = f"{table.root}/{table.file(instance).path}"
        several = int(table.places["frames"][instance]) > 1
        return f"{path}, frame {int(table.frame_numbers[row])}" if several else path

    return describe


def _warn_of_locations(
    series: Series, table: Table, rows: npt.NDArray[np.intp], grid: Grid
) -> None:
    """Tell that positions were worked out for all frames, since some have none."""
    written = table.values(SLICE_LOCATION) if "SliceLocation" in grid.dims else None
    if written is None or not table.is_classic:
        return
    filled = np.array([value is not None for value in written.distinct] + [False])
    missing = int((~filled[written.codes[rows]]).sum())
    if 0 < missing < len(rows):
        _warn(
            f"{series!r}: {missing} of {len(rows)} frames have no SliceLocation. The positions in "
            "the array are worked out from the geometry for all frames, and may be counted from "
            "another origin than those in the header.",
            MixedGeometry,
        )


def image_rows(series: Series, table: Table) -> npt.NDArray[np.intp]:
    """Return the frames that have pixels."""
    if not len(table):
        raise PixelError(f"{series!r} holds no images: nothing has come into it yet.")
    has = table.places["offset"][table.instance_of] >= 0
    if has.all():
        return np.arange(len(table))
    if not has.any():
        kinds = series.SOPClassUID
        raise PixelError(
            f"{series!r} holds no images, but {_kinds(kinds)}. Read them with instance.dataset()."
        )
    return np.flatnonzero(has)


def _kinds(uids: Sequence[str]) -> str:
    from pydicom.uid import UID

    return ", ".join(UID(str(uid)).name for uid in uids) or "unknown"


def _grid(
    series: Series,
    table: Table,
    rows: npt.NDArray[np.intp],
    sortby: Name | Sequence[Name] | None,
    align: str,
    tolerance: float | Mapping[Name, float] | None,
) -> tuple[Grid, list[Attribute]]:
    from_file = describer(table)

    def describe(place: int) -> str:
        return str(from_file(int(rows[place])))

    if isinstance(sortby, str) and sortby == "auto":
        grids = best_grids(table, rows)
        if not grids and len(rows) > 1:
            raise GridError(
                f"No attributes of {series!r} arrange its {len(rows)} frames in a full grid. "
                "series.varying() shows what varies; sortby=None reads the frames in the order of "
                "InstanceNumber."
            )
        chosen: list[Attribute] = [parse_name(name) for name in (grids[0] if grids else ())]
        align = "order" if align == "auto" else align
    else:
        chosen = requested(sortby, table)
    keys = [sort_key(attribute, table, rows, tolerance) for attribute in chosen]
    numbers = parse_name("InstanceNumber").values(table)
    order = frame_ranks(
        numbers.take(rows).as_objects() if numbers is not None else None, table, rows
    )
    try:
        grid = build_grid(
            keys,
            order=order,
            align=align,  # type: ignore[arg-type]
            describe=describe,
            suggestions=lambda: best_grids(table, rows),
        )
    except GridError as error:
        raise GridError(f"{series!r}: {error}") from error
    return grid, chosen


def _about(name: str, chosen: list[Attribute], table: Table) -> dict[str, str]:
    """Return what is said beside the coordinate of an attribute."""
    attribute = next(attribute for attribute in chosen if attribute.name == name)
    if not attribute.creator:
        return attrs(name)
    key = attribute.keys(table)[0]  # the creator and an element may stand in several groups
    return attrs(key.dictionary_tag, key.creator)


def frame_ranks(
    numbers: npt.NDArray[Any] | None, table: Table, rows: npt.NDArray[np.intp]
) -> npt.NDArray[np.int64]:
    """Return the rank of each frame by InstanceNumber, instance and frame."""
    if numbers is None:
        numbers = np.full(len(rows), None, object)
    known = np.array([float(v) if isinstance(v, int) else np.inf for v in numbers.tolist()])
    owners = table.instance_of[rows]
    if len(np.unique(known)) < len(known):
        # Several of one number: by UID, which stays when files are renamed.
        _, owners = np.unique(np.array(table.uids, object)[owners], return_inverse=True)
    order = np.lexsort((table.frame_numbers[rows], owners, known))
    ranks = np.empty(len(rows), np.int64)
    ranks[order] = np.arange(len(rows))
    return ranks


def frame_reader(
    table: Table,
    pixels: PixelHeader,
    places: npt.NDArray[Any],
    cells: npt.NDArray[Any],
    fill_value: Any,
    pixels_first: bool,
) -> FrameReader:
    """Return the reader of frames of a series; see ``FrameReader``."""
    gaps = cells < 0
    files = np.where(gaps, -1, table.places["file"][table.instance_of[cells]]).astype(np.int64)
    frames = np.where(gaps, 0, table.frame_numbers[cells] - 1).astype(np.int64)
    kinds = np.where(gaps, 0, pixels.kinds[places]).astype(np.int64)
    constants = _constants(table, cells, files)
    dtype = pixels.dtype
    if gaps.any():
        dtype, fill_value = _with_gaps(dtype, fill_value)
    return FrameReader(
        index=str(table.store.path),
        identity=table.store.identity,
        root=table.root,
        rows=np.asarray(cells, np.int64),
        files=files,
        frames=frames,
        kinds=kinds,
        layouts=pixels.layouts,
        scalings=pixels.scalings,
        dtype=dtype,
        fill_value=fill_value,
        pixels_first=pixels_first,
        constants=constants,
    )


def _constants(table: Table, cells: npt.NDArray[Any], files: npt.NDArray[np.int64]) -> list[int]:
    """Return the values of images without a file, and number them in ``files``."""
    without_file = files == CONSTANT_FILE
    column = table.column(CONSTANT) if without_file.any() else None
    if column is None:
        return []
    codes = column.codes_of()[table.instance_of[cells[without_file]]]
    distinct, numbers = np.unique(codes, return_inverse=True)
    files[without_file] = -2 - numbers
    values = column.decoded()
    return [int(values[code]) for code in distinct.tolist()]


def _with_gaps(dtype: np.dtype[Any], fill_value: Any) -> tuple[np.dtype[Any], Any]:
    """Return the type that holds pixels and gaps, promoted as xarray does for missing values."""
    value = np.asarray(fill_value)
    if dtype.kind in "iu" and value.dtype.kind == "f":
        if np.isnan(value):
            # xarray: integers of up to 16 bits become float32, wider ones float64.
            return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64), np.nan
        promoted = np.result_type(dtype, np.float32 if dtype.itemsize <= 2 else np.float64)
        return promoted, float(value)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if limits.min <= int(value) <= limits.max:
            return dtype, int(value)
        return np.result_type(dtype, np.min_scalar_type(int(value))), int(value)
    if np.isfinite(value) and abs(float(value)) > float(np.finfo(dtype).max):
        dtype = np.dtype(np.float64)
    return dtype, float(value)


def data_array(
    reader: FrameReader,
    dims: tuple[str, ...],
    coords: Coords,
    pixels: PixelHeader,
    chunks: Any,
    pixels_first: bool,
    series: Series,
    table: Table,
) -> xr.DataArray:
    """Return a reader as a lazy array with labels, and with what lets it find its series again."""
    import xarray as xr

    channel = ("channel",) if len(reader._pixel_shape) == 3 else ()
    all_dims = ("x", "y", *dims, *channel) if pixels_first else (*dims, "x", "y", *channel)
    data = as_data(reader, chunks, all_dims, pixels_first)
    variables: dict[str, Any] = dict(coords)
    variables["x"] = ("x", pixels.x, pixels.axis_attrs("column"))
    variables["y"] = ("y", pixels.y, pixels.axis_attrs("row"))
    if channel:
        variables["channel"] = ("channel", np.array(["R", "G", "B"]))
    # Attributes are those of the first array where several are put together; coordinates are not.
    # As objects: zarr has no settled form for texts of a fixed length.
    variables["SeriesInstanceUID"] = ((), np.array(series._node.uid, object))
    attributes = _reference_attrs(series, table)
    if len(pixels.units) == 1 and "" not in pixels.units:
        attributes["units"] = next(iter(pixels.units))
    array = xr.DataArray(data, dims=all_dims, attrs=attributes)
    # Not through coords=, which copies text one by one: 60 ms for 100,000 UIDs.
    array = array.assign_coords(variables)
    if chunks is None:  # what chunk({}) and xr.open_dataset(chunks={}) cut it into
        sizes = preferred_chunks(reader, pixels_first)
        array.encoding["preferred_chunks"] = dict(zip(all_dims, sizes, strict=True))
    return array


def array_name(series: Series) -> str | None:
    """Return what an array of a series is called: its description."""
    descriptions = series.SeriesDescription
    return str(descriptions[0]) if len(descriptions) == 1 else None


def hold(reader: FrameReader, database: Database) -> None:
    """Let an array keep a database that goes, with its files, when nobody holds it."""
    if database._scratch is not None:
        reader.keep(database)


def _reference_attrs(series: Series, table: Table) -> dict[str, str]:
    node = series._node
    return {
        "SeriesInstanceUID": node.uid,
        "StudyInstanceUID": node.parent.uid if node.parent is not None else "",
        # By which a reduced array, that knows its images by their labels, tells that there are
        # others now.
        "instances": table.digest,
        "database": os.fspath(series.database.path_on_disk),
        "index": str(series.database._store.path),
    }
