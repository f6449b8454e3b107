"""The geometry of the images that an array becomes: from their frames, as given, or from labels.

What differs from the frames that images are made from is in :mod:`source_planes`; here is what
an affine, a spacing, or the coordinates of an array from nothing say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydicom.datadict import tag_for_keyword

from dbdicom_xr.emit.elements import Elements, constant, key_of, lookup, per_image, without
from dbdicom_xr.errors import GridError, InvalidValue
from dbdicom_xr.geometry.affine import frame_affine, planes_of_affine
from dbdicom_xr.geometry.planes import Floats, Planes, are_parallel, normal_of, sub_planes
from dbdicom_xr.geometry.stacks import SAME_PLACE
from dbdicom_xr.records.writing.cells import (
    cell_dims,
    per_cell,
    pixel_steps,
    places_along,
    vector_column,
)
from dbdicom_xr.records.writing.image_labels import label_elements
from dbdicom_xr.records.writing.source_frames import SourceFrames
from dbdicom_xr.records.writing.source_planes import source_planes
from dbdicom_xr.staging.uids import new_uid

if TYPE_CHECKING:
    from dbdicom_xr.records.reading.sources import Sources

__all__ = ["image_planes", "label_elements"]

# Names by which a dimension counts slices, the surest first. Any other keyword does not.
_SLICES: Final = (
    "SliceLocation", "ImagePositionPatient", "InStackPositionNumber", "slice", "slices", "z", "Z",
)  # fmt: skip
_IMAGES: Final = ("n", "InstanceNumber")
_AXIAL: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_EVEN: Final = 0.01  # of the distance of slices
# What says the geometry in other words, and is not true any more once another is given.
_OTHER_WORDS: Final = ("PatientOrientation", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def image_planes(
    array: xr.DataArray,
    sources: Sources | None,
    *,
    affine: Any = None,
    spacing: Any = None,
) -> Elements:
    """Return what the images of an array say of their place (PS3.3 C.7.6.2, C.7.4.1).

    Parameters
    ----------
    array : xarray.DataArray
        Its images are along the dimensions other than ``x``, ``y`` and ``channel``, in C order.
    sources : Sources or None
        The frames that each image is made from.
    affine : array_like of float, shape (4, 4), optional
        From voxels (x, y, slice, 1) of the array to mm (LPS, 1), as ``array.dicom.affine``. It
        wins over the frames and all labels.
    spacing : sequence of 3 floats, optional
        The distance of voxels along x, y and slices, mm, for axial images that start at the
        origin.

    Returns
    -------
    Elements
        A row per image. With frames: what differs from them, and nothing where the images lie as
        they do. A column without a value in some image takes the attribute out of that image.

    Raises
    ------
    GridError
        The place is not known, or no image plane can say it: frames of several orientations in
        one image, pixels in uneven steps, slices beyond those of the series.
    InvalidValue
        `affine` and `spacing` are both given, or the array does not have the size of the images
        and no coordinates.

    Notes
    -----
    The plane of an image that is made from several frames of one place is that of the first of
    them. Where they are slices of a stack, as in a projection, it lies in the middle of the slab,
    and SliceThickness is that of the slab. Where the coordinate SliceLocation (mm) has values
    between those of the frames, the image lies there.

    Without frames the images are axial: ``x`` and ``y`` are the positions of columns and rows,
    SliceLocation that of slices; ImagePositionPatient and ImageOrientationPatient win if they are
    coordinates, and X, Y and Z of ``array.dicom.assign_affine()`` win over all. What is not
    there counts 1 mm.

    Examples
    --------
    >>> array = xr.DataArray(np.zeros((2, 4, 3)), dims=("n", "x", "y"))
    >>> elements = image_planes(array, None, spacing=(0.5, 0.6, 4))
    >>> elements[key_of("ImagePositionPatient")].decoded()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 4.0]]
    >>> elements[key_of("PixelSpacing")].decoded()
    [[0.6, 0.5]]
    """
    if affine is not None and spacing is not None:
        raise InvalidValue("An affine tells the spacing too: give affine= or spacing=, not both.")
    if affine is not None or spacing is not None:
        if affine is None:
            affine = _with_spacing(spacing)
        name = _slice_dim(array, sources)
        elements = _elements(*_of_affine(array, np.asarray(affine), name))
        if sources is not None:
            _forget(elements, sources)
        return elements
    if sources is not None:
        return source_planes(array, sources)
    placed = _of_transform(array)
    return _elements(*(_of_labels(array) if placed is None else placed))


# -- as given ------------------------------------------------------------------------------------


def _with_spacing(spacing: Any) -> Floats:
    try:
        sizes = np.asarray(spacing, np.float64)
    except (TypeError, ValueError):
        sizes = np.empty(0)
    if sizes.shape != (3,) or not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise InvalidValue(
            f"spacing is {spacing!r}; it is three numbers above 0: mm from one voxel to the next "
            "along x, y and slices."
        )
    return np.diag([*sizes, 1.0])


def _slice_dim(array: xr.DataArray, sources: Sources | None) -> str | None:
    """Return the dimension that counts slices, by the place of frames, else by its name."""
    sizes = cell_dims(array)
    at_one_place = False
    if sources is not None:
        found, at_one_place = _dim_of_places(sources)
        if found is not None:
            return found
    names: tuple[str, ...] = _SLICES if at_one_place else (*_SLICES, *_IMAGES)
    for dim in names:
        if dim in sizes:
            return dim
    others = [dim for dim, size in sizes.items() if size > 1 and tag_for_keyword(dim) is None]
    if at_one_place or not others:
        return None
    if len(others) > 1:
        raise InvalidValue(
            f"Each of the dimensions {', '.join(others)} may count slices. Name the one that does "
            "SliceLocation or z: array.rename({...})."
        )
    return others[0]


def _dim_of_places(sources: Sources) -> tuple[str | None, bool]:
    """Return the one dimension along which frames lie apart; whether several lie at one place."""
    frames = SourceFrames(sources)
    position = frames.planes.position[frames.starts]
    if len(position) < 2 or not np.isfinite(position).all():
        return None, False
    if float(np.ptp(position, axis=0).max()) <= SAME_PLACE:
        # One frame that stands for all images is an example, and says nothing of their places.
        at = np.stack([sources.table_of[frames.starts], sources.rows[frames.starts]])
        return None, len(np.unique(at, axis=1).T) > 1
    along = np.unravel_index(frames.filled, sources.shape)
    found = []
    for dim, index in zip(sources.dims, along, strict=True):
        order = np.argsort(index, kind="stable")
        begins = np.flatnonzero(np.diff(index[order], prepend=-1))
        values = position[order]
        spread = np.maximum.reduceat(values, begins) - np.minimum.reduceat(values, begins)
        if len(begins) > 1 and float(spread.max()) <= SAME_PLACE:
            found.append(dim)
    return (found[0] if len(found) == 1 else None), False


def _of_affine(
    array: xr.DataArray, affine: npt.NDArray[Any], slice_dim: str | None
) -> tuple[Planes, npt.NDArray[Any] | None]:
    sizes = cell_dims(array)
    slices = 1 if slice_dim is None else sizes[slice_dim]
    planes = planes_of_affine(affine, max(slices, 1))
    if slice_dim is None:
        at = np.zeros(int(np.prod(list(sizes.values()), dtype=np.int64)), np.intp)
    else:
        shape = [size if dim == slice_dim else 1 for dim, size in sizes.items()]
        at = np.broadcast_to(np.arange(slices).reshape(shape), list(sizes.values())).reshape(-1)
    return planes.take(at), None


def _forget(elements: Elements, sources: Sources) -> None:
    """Take out what frames say of their geometry in other words, and leave what stays true."""
    images = len(sources.starts) - 1
    for keyword in _OTHER_WORDS:
        key = key_of(keyword)
        if any(table.values(key) is not None for table in sources.tables):
            elements[key] = per_image(key, [None] * images)
    planes = SourceFrames(sources).planes
    apart = _apart(planes) if are_parallel(planes.orientation) else np.empty(0)
    steps = [*planes.step[:1], *([np.median(apart)] if len(apart) else [])]
    thickness = lookup(elements, "SliceThickness")
    if thickness and any(abs(step / thickness[0] - 1) <= _EVEN for step in steps):
        # As far apart as before, so as thick as before: an affine tells distances alone.
        without(elements, ["SliceThickness"])


# -- from the coordinates of an array from nothing -----------------------------------------------


def _of_transform(array: xr.DataArray) -> tuple[Planes, npt.NDArray[Any] | None] | None:
    """Return planes by the patient coordinates X, Y and Z, as ``assign_affine()`` makes them."""
    transform = getattr(array.xindexes.get("X"), "transform", None)
    affine, columns = getattr(transform, "affine", None), getattr(transform, "columns", None)
    if transform is None or affine is None or columns is None:
        return None
    dims: dict[int, str] = dict(zip(columns, transform.dims, strict=True))
    if dims.get(0, "x") != "x" or dims.get(1, "y") != "y":
        return None
    return _of_affine(array, np.asarray(affine), dims.get(2))


def _of_labels(array: xr.DataArray) -> tuple[Planes, npt.NDArray[Any] | None]:
    """Return the planes of images without frames, and their SliceLocation if it is known."""
    images = int(np.prod(list(cell_dims(array).values()), dtype=np.int64))
    starts, steps = np.zeros(2), np.ones(2)
    for axis, dim in enumerate(("x", "y")):
        places = places_along(array, dim, ("mm", "pixel", None))
        if places is not None:
            starts[axis], steps[axis] = pixel_steps(dim, places)
    spacing = np.broadcast_to(np.abs(steps[::-1]), (images, 2))
    given = _vectors(array, "PixelSpacing", 2)
    if given is not None and "x" not in array.coords and "y" not in array.coords:
        spacing = given
    orientation = _vectors(array, "ImageOrientationPatient", 6)
    if orientation is None:
        orientation = np.tile(_AXIAL, (images, 1))
    for plane in np.unique(np.hstack([orientation, spacing]), axis=0):
        frame_affine([0, 0, 0], plane[:6], plane[6:], 1.0)  # raises where it is none
    position = _vectors(array, "ImagePositionPatient", 3)
    locations = _locations(array, images)
    if position is None:
        normal = normal_of(orientation[0]) if images else np.zeros(3)
        if normal is None or not are_parallel(orientation):
            raise GridError(
                "The coordinate ImageOrientationPatient has several orientations, and there is no "
                "coordinate ImagePositionPatient beside it."
            )
        position = locations[:, None] * normal
    elif per_cell(array, "SliceLocation") is None:
        locations = None
    whole = Planes(position, orientation, spacing, np.full(images, np.nan))
    planes = sub_planes(whole, starts / np.abs(steps), np.sign(steps))
    return replace(planes, step=np.full(images, _step(planes))), locations


def _locations(array: xr.DataArray, images: int) -> Any:
    """Return where each image lies along the normal: by its label in mm, else counted."""
    labels = per_cell(array, "SliceLocation")
    if labels is not None:
        return _as_numbers("SliceLocation", labels)
    dim = _slice_dim(array, None)
    return np.zeros(images) if dim is None else _counted(array, dim)


def _counted(array: xr.DataArray, dim: str) -> Floats:
    """Return the index of each image along a dimension, or its label in mm where it has those."""
    sizes = cell_dims(array)
    shape = [size if name == dim else 1 for name, size in sizes.items()]
    spread = np.broadcast_to(np.arange(sizes[dim]).reshape(shape), list(sizes.values()))
    labels = per_cell(array, dim)
    in_mm = dim in ("z", "Z") or (
        labels is not None and array.coords[dim].attrs.get("units") == "mm"
    )
    if labels is not None and in_mm:
        return _as_numbers(dim, labels)
    return spread.reshape(-1).astype(np.float64)


def _as_numbers(name: str, labels: npt.NDArray[Any]) -> Floats:
    numbers = labels.astype(np.float64) if labels.dtype.kind in "iuf" else np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise InvalidValue(f"The coordinate {name} has labels that are no numbers of mm.")
    return numbers


def _vectors(array: xr.DataArray, name: str, width: int) -> Floats | None:
    r"""Return a coordinate with several numbers per image: text as ``"0\0\5"``, or lists."""
    labels = per_cell(array, name)
    if labels is None:
        return None
    rows = []
    for label in labels.tolist():
        parts: Sequence[Any] = label.split("\\") if isinstance(label, str) else label
        try:
            rows.append([float(part) for part in parts])
        except (TypeError, ValueError):
            rows.append([])
        if len(rows[-1]) != width or not np.isfinite(rows[-1]).all():
            raise InvalidValue(f"{name} has {width} numbers per image; a label is {label!r}.")
    return np.array(rows, np.float64).reshape(len(rows), width)


def _step(planes: Planes) -> float:
    """Return the distance of slices along their normal: the smallest; 1 mm for a single one."""
    if not are_parallel(planes.orientation):
        return 1.0
    apart = _apart(planes)
    return float(apart.min()) if len(apart) else 1.0


# -- as elements ---------------------------------------------------------------------------------


def _apart(planes: Planes) -> Floats:
    """Return the distances of neighbouring parallel slices."""
    normal = normal_of(planes.orientation[0]) if len(planes) else None
    if normal is None:
        return np.empty(0)
    along = np.sort(planes.position @ normal)
    apart = np.diff(along)
    return np.asarray(apart[apart > SAME_PLACE])


def _elements(planes: Planes, locations: npt.NDArray[Any] | None) -> Elements:
    """Return all of the geometry, in a frame of reference of its own."""
    images = len(planes)
    if not images:
        return {}
    columns: dict[str, npt.NDArray[Any]] = {
        "ImagePositionPatient": planes.position,
        "ImageOrientationPatient": planes.orientation,
        "PixelSpacing": planes.pixel_spacing,
    }
    if np.isfinite(planes.step).all():
        columns["SliceThickness"] = planes.step
    parallel = are_parallel(planes.orientation)
    if parallel and locations is None:
        normal = normal_of(planes.orientation[0])
        assert normal is not None
        locations = planes.position @ normal
    if locations is not None:
        columns["SliceLocation"] = locations
    apart = _apart(planes) if parallel else np.empty(0)
    if len(apart) and float(np.ptp(apart)) <= _EVEN * float(apart.min()):
        columns["SpacingBetweenSlices"] = np.full(images, apart.mean())
    result = {key_of(name): vector_column(name, values) for name, values in columns.items()}
    # Places of this array compare with those of no other (PS3.3 C.7.4.1.1.1).
    result[key_of("FrameOfReferenceUID")] = constant("FrameOfReferenceUID", new_uid(), images)
    result[key_of("PositionReferenceIndicator")] = constant(
        "PositionReferenceIndicator", "", images
    )
    return result
