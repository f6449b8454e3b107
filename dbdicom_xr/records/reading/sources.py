"""Which frames each image of an array was made from: told by the array, or by a header."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.arrays.coordinates import default_decimals, default_tolerance, is_length
from dbdicom_xr.errors import (
    GridError,
    InvalidValue,
    NotInDatabase,
    StaleArray,
    UnknownKeyword,
)
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.instance import Instance
from dbdicom_xr.records.reading.agreement import require_frames, require_one_origin
from dbdicom_xr.records.reading.common import Common
from dbdicom_xr.records.reading.gathered import Ints, Sources
from dbdicom_xr.records.reading.header import Header
from dbdicom_xr.records.reading.new_labels import attribute_of, is_new, may_be_averages, slack_of
from dbdicom_xr.records.reading.provenance import (
    FRAME_COORDS,
    INTERPOLATED,
    PIXEL_DIMS,
    database_of,
    keys_of,
    matched,
    series_of_attributes,
    sources_by_series,
)

if TYPE_CHECKING:
    import xarray as xr

    from dbdicom_xr.records.levels import Series

__all__ = ["Sources", "header_of", "sources_of"]

_WAY_OUT: Final = (
    'Say which frames they were: header=..., or header="template" for images that are made from '
    "nothing."
)


def sources_of(array: xr.DataArray, header: Any = None) -> Sources:
    """Return the frames that each image of an array was made from.

    Parameters
    ----------
    array : xarray.DataArray
        Every dimension but ``x``, ``y`` and ``channel`` counts images.
    header : Header, Series, record, or list of records, optional
        Else the array tells by its coordinates, and after a reduction by its series and its labels:
        each image is made from all frames that have its labels. A header is matched by the names of
        the dimensions: along those that the array lacks its frames are gathered, along those that
        it lacks itself they repeat.

    Returns
    -------
    Sources

    Raises
    ------
    NotInDatabase
        The array does not tell, or the frames are not there any more.
    GridError
        What the array tells leaves open which frames were meant.
    InvalidValue
        The header does not fit the array.

    Examples
    --------
    >>> import dbdicom_xr as db, tempfile
    >>> from dbdicom_xr.testing import make_dce
    >>> folder = tempfile.mkdtemp()
    >>> _ = make_dce(folder)
    >>> series = db.database(folder).series()[0]
    >>> array, header = series.array(["SliceLocation", "TemporalPositionIdentifier"])
    >>> sources_of(array.max("TemporalPositionIdentifier"))
    <Sources (SliceLocation: 3, n: 1) of 30 frames>
    """
    dims = tuple(str(dim) for dim in array.dims if dim not in PIXEL_DIMS)
    shape = tuple(array.sizes[dim] for dim in dims)
    if header is None:
        if all(name in array.coords for name in FRAME_COORDS):
            return _of_coordinates(array, dims, shape)
        return _of_labels(array, dims, shape)
    if isinstance(header, Header) and header.dims is not None:
        return _of_header(array, header, dims, shape)
    if isinstance(header, (Instance, Common)):
        return _of_record(header, dims, shape)
    return _of_list(array, header, dims, shape)


def header_of(array: xr.DataArray) -> Header:
    """Return the header of an array, as it tells it itself; see :func:`sources_of`.

    Its elements are frames, :class:`Common` where several became one, None in gaps.
    """
    found = sources_of(array)
    coords = {
        str(name): (tuple(map(str, coord.dims)), coord.to_numpy())
        for name, coord in array.coords.items()
        if set(coord.dims) <= set(found.dims)
    }
    if found.is_single and len(found.tables) == 1:
        (table,) = found.tables
        rows = np.full(len(found), -1, np.intp)
        rows[np.flatnonzero(found.counts)] = found.rows
        key = found.database._tree().series_node[table.series.id].key
        return Header.of_frames(
            found.database, key, table, rows.reshape(found.shape), found.dims, coords
        )
    return Header.of_records(found.records(), found.shape, found.dims, coords)


# -- what the array tells -------------------------------------------------------------------------


def _of_coordinates(array: xr.DataArray, dims: tuple[str, ...], shape: tuple[int, ...]) -> Sources:
    parts = sources_by_series(array)
    require_one_origin(array)
    for part in parts:
        require_frames(array, part)
    over, rows = parts[0].dims, np.stack([part.rows for part in parts])
    table_of = np.argmax(rows >= 0, axis=0)
    rows = np.take_along_axis(rows, table_of[None], axis=0)[0]
    filled = rows.ravel() >= 0
    elements = Sources(
        parts[0].database,
        tuple(part.table for part in parts),
        table_of.ravel()[filled],
        rows.ravel()[filled].astype(np.intp),
        np.concatenate([[0], np.cumsum(filled)]),
        over,
        rows.shape,
    )
    return elements.take(_members(over, rows.shape, dims, shape), dims, shape)


def _members(
    over: tuple[str, ...], sizes: tuple[int, ...], dims: tuple[str, ...], shape: tuple[int, ...]
) -> Ints:
    """Return which elements, which lie over some dimensions, make up each cell of an array.

    Along dimensions that the array lacks all of them, along those that the elements lack the same.

    Returns
    -------
    ndarray of int, shape (cells, elements per cell)
    """
    numbers = np.arange(int(np.prod(sizes, dtype=np.intp))).reshape(sizes)
    shared = [dim for dim in dims if dim in over]
    gathered = [dim for dim in over if dim not in dims]
    numbers = numbers.transpose([over.index(dim) for dim in [*shared, *gathered]])
    depth = int(np.prod([sizes[over.index(dim)] for dim in gathered], dtype=np.intp))
    spread = [size if dim in over else 1 for dim, size in zip(dims, shape, strict=True)]
    wanted = np.broadcast_to(numbers.reshape(*spread, depth), (*shape, depth))
    return wanted.reshape(int(np.prod(shape, dtype=np.intp)), depth)


def _of_labels(array: xr.DataArray, dims: tuple[str, ...], shape: tuple[int, ...]) -> Sources:
    """Return all frames that have the labels of each image: what a reduction leaves of them."""
    table = series_of_attributes(array)
    if array.attrs.get("instances", table.digest) != table.digest:
        raise StaleArray(
            "Images were added to the series of this array, or removed from it, since it was read, "
            f"so that its labels do not tell any more which it was made from. {_WAY_OUT}"
        )
    rows = np.flatnonzero(table.places["offset"][table.instance_of] >= 0)
    # Images and frames get a number each, equal where all labels are.
    image, frame = np.zeros(shape, np.int64), np.zeros(len(rows), np.int64)
    known: set[str] = set()
    for label, coord in array.coords.items():
        if label in FRAME_COORDS or label in PIXEL_DIMS or not set(coord.dims) <= set(dims):
            continue
        name = attribute_of(str(label), coord)
        keys = keys_of(name, table, rows)
        if not keys or (not coord.dims and is_new(name, coord)):
            continue  # one for all images, given by a person, tells what they are called now
        here, there = _numbered(name, coord, keys)
        order = [dim for dim in dims if dim in coord.dims]
        here = here.transpose([coord.dims.index(dim) for dim in order])
        spread = [size if dim in order else 1 for dim, size in zip(dims, shape, strict=True)]
        image, frame = _combined(image, here.reshape(spread), frame, there)
        known.update(order)
    for dim, size in zip(dims, shape, strict=True):
        if dim not in known and size > 1:
            _require_new(array, dim, bool(keys_of(dim, table, rows)))
    by_number = np.argsort(frame, kind="stable")
    first = np.searchsorted(frame[by_number], image.ravel(), "left")
    counts = np.searchsorted(frame[by_number], image.ravel(), "right") - first
    if not counts.any():
        raise GridError(
            f"The series that this array was read from has no frame of its labels. {_WAY_OUT}"
        )
    ends = np.cumsum(counts)
    chosen = np.arange(counts.sum()) + np.repeat(first - (ends - counts), counts)
    return Sources(
        database_of(array),
        (table,),
        np.zeros(len(chosen), np.intp),
        rows[by_number[chosen]],
        np.concatenate([[0], ends]),
        dims,
        shape,
        is_exact=not bool((counts > 1).any()),
    )


def _numbered(
    name: str, coord: xr.DataArray, keys: Sequence[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the number of the label at each place of a coordinate, and that of each frame.

    -1 where there is none, different for frames, which are then of no image: -2.
    """
    missing = coord.isnull().to_numpy()
    labels, at = np.unique(coord.to_numpy()[~missing], return_inverse=True)
    every = np.arange(labels.size)
    found = [matched(key, labels) for key in keys]
    chosen = min(range(len(keys)), key=lambda i: len(np.setdiff1d(every, found[i])))
    absent = np.setdiff1d(every, found[chosen])
    if len(absent):
        if is_length(name):
            raise NotInDatabase(INTERPOLATED)
        raise GridError(
            f"The series of this array has no frame of {name} {labels[absent[0]]}: the labels of "
            f"the array are not those that were read. {_WAY_OUT}"
        )
    if is_new(name, coord) or (coord.ndim == 1 and may_be_averages(labels, keys[chosen])):
        raise GridError(
            f"The labels {name} of this array are values that the series has, but nothing tells "
            "that its images are those with these values: they were given to it later, or stand "
            f"for several, as after coarsen and resample. {_WAY_OUT}"
        )
    group = every
    if labels.dtype.kind in "iuf" and labels.size and coord.ndim > 1:
        # Aligned by order, each place has a label of its own, and some may be one value.
        group = np.concatenate([[0], np.cumsum(np.diff(labels) > slack_of(keys[chosen]))])
    here = np.full(coord.shape, -1, np.int64)
    here[~missing] = group[at.reshape(-1)]
    there = np.append(group, -2)[found[chosen]]
    return here, there


def _combined(
    image: npt.NDArray[np.int64],
    here: npt.NDArray[np.int64],
    frame: npt.NDArray[np.int64],
    there: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the numbers of images and frames with one more label in them."""
    width = max(int(here.max(initial=0)), int(there.max(initial=0))) + 3
    image, frame = image * width + here + 2, frame * width + there + 2
    _, numbers = np.unique(np.concatenate([image.ravel(), frame]), return_inverse=True)
    numbers = numbers.reshape(-1)
    return numbers[: image.size].reshape(image.shape), numbers[image.size :]


def _require_new(array: xr.DataArray, dim: str, is_attribute: bool) -> None:
    """Raise unless a dimension without labels was made after the frames were read."""
    labels = array.coords[dim].to_numpy() if dim in array.coords else np.empty(0)
    of_bins = labels.dtype == object and hasattr(next(iter(labels.flat), None), "left")
    if dim in ("n", "frame") or is_attribute or of_bins:
        raise GridError(
            f"This array does not tell which frames lie where along {dim}: what told it was "
            f"removed by a reduction or by arithmetic between arrays. {_WAY_OUT}"
        )


# -- what a header tells --------------------------------------------------------------------------


def _of_header(
    array: xr.DataArray, header: Header, dims: tuple[str, ...], shape: tuple[int, ...]
) -> Sources:
    header = _selected(array, header)
    over = header.dims or ()
    for dim, size in zip(over, header.shape, strict=True):
        if dim in dims and array.sizes[dim] != size:
            raise InvalidValue(
                f"The header has {size} frames along {dim}, and the array {array.sizes[dim]}: "
                "select from the header what was selected from the array."
            )
    if over != dims:
        for dim in dims:
            if dim.startswith("dim_") and dim not in over:
                raise InvalidValue(
                    f"The dimension {dim} of the array has no name of its own: name it as in the "
                    f"header, whose dimensions are {', '.join(over)}."
                )
        _require_no_other_name(array, header, dims)
    for name, coord in array.coords.items():
        if name in header.coords and name not in FRAME_COORDS:
            beside, theirs = header.coords[str(name)]
            if beside == coord.dims:
                _require_same(str(name), coord.to_numpy(), np.asarray(theirs))
    elements = _required(header.view(np.ndarray).ravel().tolist(), over, header.shape)
    return elements.take(_members(over, header.shape, dims, shape), dims, shape)


def _require_no_other_name(array: xr.DataArray, header: Header, dims: tuple[str, ...]) -> None:
    """Refuse a dimension that seems to be one of the header under another name."""
    gathered = dict(zip(header.dims or (), header.shape, strict=True))
    for dim in dims:
        size = array.sizes[dim]
        same = [one for one, n in gathered.items() if one not in dims and n == size > 1]
        if dim not in gathered and same:
            raise InvalidValue(
                f"The array has a dimension {dim} of {size}, and the header {same[0]}, of which "
                f"each image would get all. If they are the same: array.rename({dim}={same[0]!r}); "
                f"if not, header.isel({same[0]}=...) chooses."
            )


def _selected(array: xr.DataArray, header: Header) -> Header:
    """Return the part of a header that the array was selected from, where a label tells it."""
    for dim in header.dims or ():
        if dim in array.dims or dim not in array.coords or array.coords[dim].ndim:
            continue
        over, labels = header.coords.get(dim, ((), np.empty(0)))
        if over != (dim,):
            continue
        label = array.coords[dim].to_numpy()
        same = _same(dim, np.broadcast_to(label, labels.shape), labels)
        if not same.any():
            raise InvalidValue(
                f"The array is labelled {dim} {label}, and the header has none of this label: "
                "give the header of this array."
            )
        header = header.isel({dim: np.flatnonzero(same)})
    return header


def _require_same(name: str, own: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> None:
    different = ~_same(name, own, theirs)
    if different.any():
        at = int(np.argmax(different.ravel()))
        raise InvalidValue(
            f"The array and the header have other labels along {name}: {own.ravel()[at]} and "
            f"{theirs.ravel()[at]}. Select from the header what was selected from the array."
        )


def _same(name: str, own: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return where two labels are one value, within what is one value in an array."""
    if own.dtype.kind in "iuf" and theirs.dtype.kind in "iuf":
        rounding = 0.0 if default_decimals(name) is None else 10.0 ** -(default_decimals(name) or 0)
        slack = default_tolerance(name) + rounding + 1e-9 * np.abs(theirs)
        both = np.isnan(own) & np.isnan(theirs)
        return np.asarray((np.abs(own - theirs) <= slack) | both)
    if own.dtype.kind in "mM" and own.dtype.kind == theirs.dtype.kind:
        return np.asarray((own == theirs) | (np.isnat(own) & np.isnat(theirs)))
    return np.array(
        [a is b or bool(np.all(a == b)) for a, b in zip(own.flat, theirs.flat, strict=True)], bool
    ).reshape(own.shape)


def _of_record(record: Instance | Common, dims: tuple[str, ...], shape: tuple[int, ...]) -> Sources:
    """Return one record as the source of all images; its frames where they count as many."""
    cells = int(np.prod(shape, dtype=np.intp))
    as_frames = isinstance(record, Instance) and dims == ("frame",)
    if as_frames and len(record.children) == cells > 1:
        return _required(record.children(), dims, shape)
    one = _required([record], (), ())
    return one.take(np.zeros((cells, 1), np.intp), dims, shape)


def _of_list(
    array: xr.DataArray, header: Any, dims: tuple[str, ...], shape: tuple[int, ...]
) -> Sources:
    """Return records as the sources of the images, by position."""
    if hasattr(header, "_own_table"):
        return _of_series(array, header, dims, shape)
    if getattr(header, "dtype", np.dtype(object)).kind != "O":  # an array of numbers
        raise _no_header(header)
    try:
        records = np.asarray(header, dtype=object)
    except (ValueError, TypeError):  # lists of several lengths, data sets of pydicom or xarray
        raise _no_header(header) from None
    flat = records.ravel().tolist()
    for one in flat:
        if one is not None and not isinstance(one, (Instance, Common)):
            raise _no_header(one)
    along = [size for size in shape if size > 1]
    fits = records.shape == shape or (records.ndim == 1 and [records.size] == (along or [1]))
    if not fits:
        sizes = ", ".join(f"{dim}: {size}" for dim, size in zip(dims, shape, strict=True))
        raise InvalidValue(
            f"A header of shape {records.shape} is given by position, and the images of the array "
            f"are ({sizes}). Take one that knows its dimensions: select with isel or sel from the "
            "header that series.array() gave."
        )
    return _required(flat, dims, shape)


def _of_series(
    array: xr.DataArray, series: Series, dims: tuple[str, ...], shape: tuple[int, ...]
) -> Sources:
    """Return the images of a series as the sources, in order, where the labels agree."""
    from dbdicom_xr.records.reading.series_array import frame_ranks, image_rows

    table = series._own_table
    rows = image_rows(series, table)
    numbers = parse_name("InstanceNumber").values(table)
    objects = None if numbers is None else numbers.take(rows).as_objects()
    rows = rows[np.argsort(frame_ranks(objects, table, rows))]
    cells = int(np.prod(shape, dtype=np.intp))
    if len(rows) != cells:
        raise InvalidValue(
            f"{series!r} has {len(rows)} images, and the array {cells}: give the header that "
            "series.array() gave, or select from it."
        )
    found = Sources(
        series.database, (table,), np.zeros(cells, np.intp), rows, np.arange(cells + 1), dims, shape
    )
    for name, coord in array.coords.items():
        if not coord.dims or not set(coord.dims) <= set(dims) or name in FRAME_COORDS:
            continue
        try:
            values = found.common_values(parse_name(str(name)))
        except (UnknownKeyword, InvalidValue):
            continue
        wanted = coord.broadcast_like(array.isel(x=0, y=0, missing_dims="ignore"))
        own = wanted.transpose(*dims, ...).to_numpy().reshape(cells, -1)[:, 0]
        if own.dtype.kind not in "iuf" or any(not isinstance(v, (int, float)) for v in values):
            continue
        if not _same(str(name), own, values.astype(np.float64)).all():
            raise InvalidValue(
                f"The images of {series!r} are in another order than the array: their {name} are "
                "others than its labels. Give the header that series.array() gave."
            )
    return found


def _required(records: list[Any], dims: tuple[str, ...], shape: tuple[int, ...]) -> Sources:
    databases = {id(one.database): one.database for one in records if one is not None}
    if len(set(databases.values())) > 1:
        raise InvalidValue(
            "The frames of this header are of several databases; images are made from those of one."
        )
    found = Sources.of_records(records, dims, shape)
    if found is None:
        raise InvalidValue(
            'The header holds no frames, only gaps; header="template" makes images from nothing.'
        )
    return found


def _no_header(given: Any) -> InvalidValue:
    # What a data set holds is nobody's business but its reader's.
    plain = given is None or isinstance(given, (str, bytes, int, float, list, tuple))
    shown = reprlib.repr(given) if plain else f"An object of type {type(given).__name__}"
    return InvalidValue(
        f"{shown} is no header. array, header = series.array(...) gives one, and "
        "array.dicom.header is that of an array; a part of it, a series, an instance or a list of "
        "instances is one too."
    )
