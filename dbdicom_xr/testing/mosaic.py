"""Mosaics: the slices of each volume as tiles of one image, as Siemens and United Imaging do.

Owns `make_mosaic`, the twin of `series.make_series`, and the CSA header in which Siemens tells how
many tiles there are and in which direction their slices follow each other.
"""

from __future__ import annotations

import copy
import math
import struct
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from dbdicom_xr.testing.headers import base_header, make_uid, set_value
from dbdicom_xr.testing.series import (
    Geometry,
    HeaderEdit,
    Key,
    MadeSeries,
    describe_pixels,
    edit_header,
    frame_columns,
    real_values,
    stored_pixels,
    write_image,
)

__all__ = ["csa_header", "make_mosaic"]

_WORDS = {"siemens": "MOSAIC", "uih": "VFRAME"}


def make_mosaic(
    folder: str | PathLike[str],
    *,
    keys: Mapping[Key, Sequence[Any]] | None = None,
    n: int = 1,
    shape: tuple[int, int] = (16, 12),
    pixels: ArrayLike | None = None,
    dtype: DTypeLike = "uint16",
    bits_stored: int | None = None,
    transfer_syntax: str = "explicit",
    slope: float | None = None,
    intercept: float | None = None,
    vendor: str = "siemens",
    geometry: Geometry | None = None,
    header: HeaderEdit | None = None,
    prefix: str = "IM",
    seed: int = 0,
) -> MadeSeries:
    """Write a series of mosaics that says the same as a series of `make_series`.

    Called with the same arguments, both give the same pixels, values and geometry. Every point of
    the grid but its slices is a file.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    keys : mapping, optional
        As for `make_series`. SliceLocation must be among them, with values at one distance, rising
        or falling: it is the order of the tiles.
    n, shape, pixels, dtype, bits_stored, transfer_syntax, slope, intercept, geometry, prefix, seed
        As for `make_series`; `shape` is that of a tile.
    vendor : {"siemens", "uih"}
        Siemens writes as many tiles side by side as below each other, and tells their number and
        order in the CSA header; United Imaging leaves out rows that would be empty, and
        describes each slice.
    header : mapping or callable, optional
        Elements of all files, or a function of the data set and its index into the grid without
        slices. Applied last.

    Returns
    -------
    MadeSeries
        `frame_numbers` tells which tile a slice is.

    Raises
    ------
    ValueError
        If the slices are not at one distance, or the vendor is unknown.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = make_mosaic(folder, keys={"SliceLocation": [0, 5, 10], "EchoTime": [2, 4]})
    >>> made.pixels.shape, len(made.files), made.datasets[0].Rows, made.datasets[0].Columns
    ((3, 2, 1, 16, 12), 2, 24, 32)
    """
    if vendor not in _WORDS:
        raise ValueError(f"vendor {vendor!r}: one of {', '.join(_WORDS)} is needed")
    keys = {"SliceLocation": [0.0, 5.0, 10.0]} if keys is None else dict(keys)
    geometry = geometry or Geometry()
    gap = _distance(keys, geometry)
    axis = list(keys).index("SliceLocation")
    grid = (*(len(values) for values in keys.values()), n)
    tiles = grid[axis]
    rng = np.random.default_rng(seed)
    stored = stored_pixels(rng, (*grid, *shape), pixels, np.dtype(dtype), bits_stored)
    columns = frame_columns(rng, grid, keys, geometry, slope, intercept, None, None)
    across = math.isqrt(tiles - 1) + 1
    down = across if vendor == "siemens" else -(-tiles // across)
    volumes = np.moveaxis(stored, axis, 0).swapaxes(-1, -2)  # (slice, *others, n, rows, columns)

    base = base_header("MR", seed)
    describe_pixels(base, np.empty((across * shape[0], down * shape[1]), stored.dtype), bits_stored)
    base.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", _WORDS[vendor]]
    set_value(base, "PixelSpacing", [geometry.spacing[1], geometry.spacing[0]])
    set_value(base, "SpacingBetweenSlices", abs(gap))
    set_value(base, "ImageOrientationPatient", list(geometry.orientation))

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    datasets: list[Dataset] = []
    uids = np.full(grid, None, dtype=object)
    for number, index in enumerate(np.ndindex(*volumes.shape[1:-2])):
        dataset = copy.deepcopy(base)
        dataset.SOPInstanceUID = make_uid(seed, "mosaic", number)
        dataset.InstanceNumber = number + 1
        slices = (*index[:axis], slice(None), *index[axis:])
        first = tuple(0 if isinstance(i, slice) else i for i in slices)
        for key, column in columns.items():
            if key not in ("SliceLocation", "ImagePositionPatient"):
                set_value(dataset, key, column[first])
        places = columns["ImagePositionPatient"][slices]
        locations = [float(v) for v in columns["SliceLocation"][slices]]
        if vendor == "siemens":
            _add_siemens(dataset, places[0], locations, gap, (across, down), shape, geometry)
        else:
            _add_uih(dataset, places, locations)
        edit_header(dataset, header, index)
        uids[slices] = str(dataset.SOPInstanceUID)
        files.append(folder / f"{prefix}{number + 1:04d}.dcm")
        image = _tiled(volumes[(slice(None), *index)], across, down)
        datasets.append(write_image(files[-1], dataset, image, transfer_syntax))
    affine = geometry.affine(float(keys["SliceLocation"][0]))
    affine[:3, 2] = geometry.normal * gap
    tile = np.arange(1, tiles + 1).reshape([-1 if i == axis else 1 for i in range(len(grid))])
    return MadeSeries(
        folder,
        files,
        datasets,
        {key: list(values) for key, values in keys.items()},
        stored,
        real_values(stored, columns, uids),
        uids,
        np.broadcast_to(tile, grid).copy(),
        affine,
    )


def _distance(keys: Mapping[Key, Sequence[Any]], geometry: Geometry) -> float:
    """Return the step from slice to slice along the normal, below 0 where they fall."""
    locations = np.asarray(keys.get("SliceLocation", ()), np.float64)
    if len(locations) == 0:
        raise ValueError("SliceLocation is not among the keys")
    if len(locations) == 1:
        return geometry.spacing[2]
    steps = np.diff(locations)
    if np.ptp(steps) > 1e-6 or steps[0] == 0:
        raise ValueError(f"the slices of a mosaic are at one distance, not at {steps.tolist()}")
    return float(steps[0])


def _tiled(slices: NDArray[Any], across: int, down: int) -> NDArray[Any]:
    """Return slices, shape (slices, rows, columns), as one image, row by row; the rest is 0."""
    count, rows, columns = slices.shape
    full = np.zeros((down * across, rows, columns), slices.dtype)
    full[:count] = slices
    image = full.reshape(down, across, rows, columns).swapaxes(1, 2)
    return np.ascontiguousarray(image).reshape(down * rows, across * columns)


def _add_siemens(
    dataset: Dataset,
    place: NDArray[Any],
    locations: list[float],
    gap: float,
    grid: tuple[int, int],
    shape: tuple[int, int],
    geometry: Geometry,
) -> None:
    # The position is that of an image as large as the mosaic around the centre of the first slice.
    orientation = np.asarray(geometry.orientation)
    corner = np.asarray(place, np.float64)
    for direction, spacing, count, size in (
        (orientation[:3], geometry.spacing[0], grid[0], shape[0]),
        (orientation[3:], geometry.spacing[1], grid[1], shape[1]),
    ):
        corner = corner - direction * spacing * (count * size - size) / 2
    set_value(dataset, "ImagePositionPatient", corner.tolist())
    set_value(dataset, "SliceLocation", locations[0])
    tiles = len(locations)
    normal = geometry.normal * math.copysign(1.0, gap)
    csa = csa_header(
        {
            "AcquisitionMatrixText": ("SH", [f"{shape[1]}*{shape[0]}"]),
            "NumberOfImagesInMosaic": ("US", [tiles]),
            "SliceNormalVector": ("FD", [f"{part:.8f}" for part in normal]),
            "MosaicRefAcqTimes": ("FD", [f"{50.0 * tile:.8f}" for tile in range(tiles)]),
        }
    )
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", csa)
    dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", tiles)


def _add_uih(dataset: Dataset, places: NDArray[Any], locations: list[float]) -> None:
    items = []
    for tile, (place, location) in enumerate(zip(places, locations, strict=True)):
        item = Dataset()
        set_value(item, "AcquisitionTime", 32460.0 + 0.05 * tile)
        set_value(item, "ImagePositionPatient", list(place))
        set_value(item, "SliceLocation", location)
        items.append(item)
    block = dataset.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(len(items)))
    block.add_new(0x51, "SQ", Items(items))


def csa_header(tags: Mapping[str, tuple[str, Sequence[object]]]) -> bytes:
    """Return a CSA header of Siemens, of the second kind, which begins with ``SV10``.

    Parameters
    ----------
    tags : mapping
        For each name its VR and values.

    Examples
    --------
    >>> header = csa_header({"NumberOfImagesInMosaic": ("US", [36])})
    >>> header[:4], len(header)
    (b'SV10', 120)
    """
    parts = [b"SV10\4\3\2\1", struct.pack("<2I", len(tags), 77)]
    for name, (vr, values) in tags.items():
        head = (name.encode("ascii"), len(values), vr.encode("ascii"), 0, len(values), 77)
        parts.append(struct.pack("<64si4s3i", *head))
        for value in values:
            text = str(value).encode("ascii") + b"\0"
            parts.append(struct.pack("<4i", len(text), len(text), 77, len(text)))
            parts.append(text + b"\0" * (-len(text) % 4))
    return b"".join(parts)
