"""The geometry of images that were made from frames: where it differs from what those say.

Owned here: what cutting, flipping and averaging pixels, projecting over slices, and interpolating
between slices do to the plane of an image. What is as in the frames is left out.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from dbdicom_xr.emit.elements import Elements, key_of, per_image
from dbdicom_xr.errors import GridError, InvalidValue
from dbdicom_xr.geometry.planes import Floats, Planes, sub_planes
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.writing.cells import pixel_steps, places_along, vector_column
from dbdicom_xr.records.writing.source_frames import SourceFrames
from dbdicom_xr.records.writing.source_slabs import along_slices

if TYPE_CHECKING:
    from dbdicom_xr.records.reading.sources import Sources

__all__ = ["source_planes"]

# The first that all frames have is what x and y are counted by; all are scaled.
_SPACINGS: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_SAME_SPACING: Final = 1e-4  # mm
_SAME_DIRECTION: Final = 1e-3
_SAME_PIXEL: Final = 1e-3  # of a pixel
_OPPOSITE: Final = {"A": "P", "P": "A", "L": "R", "R": "L", "H": "F", "F": "H"}
_WAY_OUT: Final = "Give the geometry of the result: affine=."


def source_planes(array: xr.DataArray, sources: Sources) -> Elements:
    """Return the geometry of images made from frames, as far as it differs from that of these.

    Parameters
    ----------
    array : xarray.DataArray
    sources : Sources

    Raises
    ------
    GridError, InvalidValue
        See :func:`~dbdicom_xr.records.writing.image_planes.image_planes`.
    """
    frames = SourceFrames(sources)
    if not len(frames.filled):
        return {}
    changed: dict[str, npt.NDArray[Any]] = {}
    start, step = _steps(array, frames)
    planes = _joined(frames, changed)
    planes = along_slices(array, frames, planes, changed)
    if any(start) or step != (1.0, 1.0):
        _require_known(planes, start)
        planes = sub_planes(planes, start, step)
        if any(start):
            changed["ImagePositionPatient"] = planes.position
        if min(step) < 0:
            changed["ImageOrientationPatient"] = planes.orientation
        _scale(frames, step, changed)
    images = len(sources.starts) - 1
    result: Elements = {}
    for keyword, values in changed.items():
        width = values.shape[1] if values.ndim > 1 else 1
        if not (np.isfinite(values).any() or np.isfinite(frames.numbers(keyword, width)).any()):
            continue  # not there before, and not now
        full = np.full((images, *values.shape[1:]), np.nan)
        full[frames.filled] = values
        result[key_of(keyword)] = vector_column(keyword, full)
    if min(step) < 0:
        _turn_letters(frames, step, images, result)
    return result


# -- along x and y -------------------------------------------------------------------------------


def _steps(
    array: xr.DataArray, frames: SourceFrames
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where the pixels of an array start, and their step, in pixels of the frames."""
    found = []
    _require_order(array, frames)
    for dim, keyword, axis in (("x", "Columns", 1), ("y", "Rows", 0)):
        places = places_along(array, dim, ("mm", "pixel"))
        if places is None:
            _require_size(array, frames, dim, keyword)
            found.append((0.0, 1.0))
            continue
        if array.coords[dim].attrs["units"] == "mm":
            places = places / _spacing(frames)[axis]
        if np.abs(places - np.arange(len(places))).max(initial=0.0) <= _SAME_PIXEL:
            found.append((0.0, 1.0))
        else:
            found.append(pixel_steps(dim, places))
    (start_x, step_x), (start_y, step_y) = found
    return (start_x, start_y), (step_x, step_y)


def _require_order(array: xr.DataArray, frames: SourceFrames) -> None:
    """Refuse pixels without labels whose rows and columns have changed places, as sizes tell."""
    size = array.sizes.get("x", 1), array.sizes.get("y", 1)
    there = np.unique(frames.numbers("Columns", 1)), np.unique(frames.numbers("Rows", 1))
    swapped = [each.tolist() for each in there] == [[size[1]], [size[0]]]
    if swapped and size[0] != size[1] and not {"x", "y"} & {*array.coords}:
        raise InvalidValue(
            f"The array has {size[0]} pixels along x and {size[1]} along y, and its images "
            f"{size[1]} columns and {size[0]} rows: they have changed places. x counts columns and "
            "comes first; pixels of pydicom and SimpleITK have the rows first: write "
            "array.swapaxes(-1, -2), or name the dimensions of the array."
        )


def _require_size(array: xr.DataArray, frames: SourceFrames, dim: str, keyword: str) -> None:
    size = array.sizes.get(dim, 1)
    there = np.unique(frames.numbers(keyword, 1))
    if there.tolist() != [size]:
        shown = ", ".join(f"{count:g}" for count in there)
        raise InvalidValue(
            f"The array has {size} pixels along {dim}, but its images have {keyword} {shown}, and "
            f"without a coordinate {dim} it is not known which part of them it covers. Select from "
            "an array with its coordinates x and y (mm from the centre of the first pixel, "
            "units 'mm'), or give affine= or spacing=."
        )


def _spacing(frames: SourceFrames) -> tuple[float, float]:
    """Return the distance of rows, and of columns, by which x and y count mm."""
    for keyword in _SPACINGS:
        found = frames.numbers(keyword, 2)
        if not np.isfinite(found).all():
            continue
        low = found.min(axis=0)
        if float(np.ptp(found, axis=0).max()) > _SAME_SPACING or not (low > 0).all():
            shown = ", ".join(str(pair) for pair in np.unique(found, axis=0).tolist()[:4])
            raise GridError(
                f"The coordinates x and y count mm, but the images have several {keyword}, "
                f"{shown}, so that it is not known which pixels are meant. {_WAY_OUT}"
            )
        return float(low[0]), float(low[1])
    raise GridError(
        f"The coordinates x and y count mm, but not all images have PixelSpacing. {_WAY_OUT}"
    )


def _require_known(planes: Planes, start: tuple[float, float]) -> None:
    has_place = np.isfinite(planes.position).all(axis=1)
    for axis, name in ((0, "x"), (1, "y")):
        if not start[axis]:
            continue
        along = np.isfinite(planes.orientation[:, 3 * axis : 3 * axis + 3]).all(axis=1)
        lost = has_place & ~(along & np.isfinite(planes.pixel_spacing[:, 1 - axis]))
        if lost.any():
            raise GridError(
                f"The array starts at pixel {start[axis]:g} along {name}, and {int(lost.sum())} of "
                f"{len(lost)} images have ImagePositionPatient, but no ImageOrientationPatient or "
                f"PixelSpacing by which it moves. {_WAY_OUT}"
            )


def _scale(
    frames: SourceFrames, step: tuple[float, float], changed: dict[str, npt.NDArray[Any]]
) -> None:
    size = np.abs([step[1], step[0]])
    if (size == 1).all():
        return
    in_mm = np.zeros(len(frames.filled), np.bool_)
    for keyword in _SPACINGS:
        spacing = changed.get(keyword)
        if spacing is None:
            spacing = frames.numbers(keyword, 2)[frames.starts]
        in_mm |= np.isfinite(spacing).all(axis=1)
        if np.isfinite(spacing).any():
            changed[keyword] = spacing * size
    if size[0] != size[1]:
        # Wanted where there is no spacing, and pixels are no squares (PS3.3 C.7.6.3.1.7).
        ratio = frames.numbers("PixelAspectRatio", 2)[frames.starts]
        ratio[~in_mm & np.isnan(ratio).any(axis=1)] = 1
        changed["PixelAspectRatio"] = _whole(ratio * size)


def _whole(ratios: Floats) -> Floats:
    """Return the same ratios in small whole numbers."""
    result = np.full(ratios.shape, np.nan)
    for image, (high, wide) in enumerate(ratios.tolist()):
        if high > 0 and wide > 0:
            fraction = Fraction(high / wide).limit_denominator(1000)
            result[image] = fraction.numerator, fraction.denominator
    return result


def _turn_letters(
    frames: SourceFrames, step: tuple[float, float], images: int, result: Elements
) -> None:
    """Turn PatientOrientation, the directions of rows and columns in letters (PS3.3 C.7.6.1.1.1).

    What is spelt otherwise, as for animals, is taken out.
    """
    keyword = "PatientOrientation"

    def read(table: Table, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        values = parse_name(keyword).values(table)
        return (
            np.full(len(rows), None, object) if values is None else values.take(rows).as_objects()
        )

    found = frames.of_tables(read)[frames.starts]
    if not any(value is not None for value in found):
        return
    turned: list[Any] = [None] * images
    for image, value in zip(frames.filled.tolist(), found, strict=True):
        if isinstance(value, list) and len(value) == 2 and set("".join(value)) <= set(_OPPOSITE):
            turned[image] = [
                "".join(_OPPOSITE[letter] for letter in letters) if size < 0 else letters
                for letters, size in zip(value, step, strict=True)
            ]
    result[key_of(keyword)] = per_image(keyword, turned)


# -- what the frames of an image agree in ----------------------------------------------------------


def _joined(frames: SourceFrames, changed: dict[str, npt.NDArray[Any]]) -> Planes:
    """Return the plane of the first frame of each image, and note where the others differ."""
    planes = frames.planes
    first = planes.take(frames.starts)
    for keyword, values, most, what in (
        ("ImageOrientationPatient", planes.orientation, _SAME_DIRECTION, "several orientations"),
        ("PixelSpacing", planes.pixel_spacing, _SAME_SPACING, "pixels of several sizes"),
    ):
        apart = frames.spread(values)
        if (apart > most).any():
            raise GridError(
                f"{int((apart > most).sum())} of {len(apart)} images are made from frames that "
                f"have {what}, so that no {keyword} is theirs. {_WAY_OUT}"
            )
        if apart.any():
            changed[keyword] = values[frames.starts]
    apart = frames.spread(planes.position)
    if np.isinf(apart).any():
        raise GridError(
            f"{int(np.isinf(apart).sum())} of {len(apart)} images are made from frames of which "
            f"some have no ImagePositionPatient. {_WAY_OUT}"
        )
    # The position of a whole object is not that of each of its frames.
    written = np.isfinite(frames.numbers("ImagePositionPatient", 3)).all(axis=1)
    if apart.any() or (written & ~np.isfinite(planes.position).all(axis=1)).any():
        changed["ImagePositionPatient"] = first.position
    return first
