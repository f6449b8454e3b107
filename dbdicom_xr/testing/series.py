"""Classic series: one file per image, on a grid of any tags.

Owns the general maker `make_series` and what it returns. The header's constant part is in
`headers`; multi-frame objects are in `enhanced`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from dbdicom_xr.testing.headers import base_header, file_meta, make_uid, set_value

Key: TypeAlias = str | tuple[int, int]
HeaderEdit: TypeAlias = Mapping[Key, Any] | Callable[[Dataset, tuple[int, ...]], None]


@dataclass(frozen=True)
class MadeSeries:
    """What a maker wrote, with the truth that a reader should find.

    Attributes
    ----------
    folder : pathlib.Path
        Where the files are.
    files : list of pathlib.Path
        The files, in the order of the grid (C order), not of their names.
    datasets : list of pydicom.dataset.Dataset
        What each of `files` holds.
    keys : dict
        The values along each dimension of the grid.
    pixels : numpy.ndarray
        Stored values, shape ``(*grid, n, x, y)``; frames that were dropped included.
    values : numpy.ndarray
        Real values, ``pixels * slope + intercept`` as float64; NaN where a frame was dropped.
    uids : numpy.ndarray of object
        SOPInstanceUID of each frame, shape ``(*grid, n)``; None where a frame was dropped.
    frame_numbers : numpy.ndarray of int
        Number of each frame in its file, from 1, shape ``(*grid, n)``; 0 where it was dropped.
    affine : numpy.ndarray
        Shape (4, 4): from indices (x, y, slice) to mm in DICOM's patient coordinates (LPS),
        for slices one `spacing` apart.
    """

    folder: Path
    files: list[Path]
    datasets: list[Dataset]
    keys: dict[Key, list[Any]]
    pixels: NDArray[Any]
    values: NDArray[np.float64]
    uids: NDArray[np.object_]
    frame_numbers: NDArray[np.int64]
    affine: NDArray[np.float64]

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions of `pixels`: the keys, then n, x, y."""
        names = (k if isinstance(k, str) else f"({k[0]:04x},{k[1]:04x})" for k in self.keys)
        return (*names, "n", "x", "y")


@dataclass(frozen=True)
class Geometry:
    """Where the slices of a synthetic series lie.

    Attributes
    ----------
    spacing : tuple of float
        Between columns, rows and slices, in mm.
    orientation : tuple of float
        ImageOrientationPatient: direction of the rows, then of the columns.
    origin : tuple of float
        Centre of the first pixel at SliceLocation 0, in mm (LPS).
    """

    spacing: tuple[float, float, float] = (1.5, 1.25, 5.0)
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    origin: tuple[float, float, float] = (-20.0, -30.0, 40.0)

    @property
    def normal(self) -> NDArray[np.float64]:
        """Direction across the slices, of unit length (PS3.3 C.7.6.2.1.1)."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    def position(self, location: float) -> list[float]:
        """Return ImagePositionPatient of the slice at a location along the normal, in mm."""
        place = np.asarray(self.origin) + self.normal * location
        return [float(v) for v in np.round(place, 6)]

    def affine(self, first: float) -> NDArray[np.float64]:
        """Return the affine of a stack whose first slice is at the location `first`."""
        affine = np.eye(4)
        affine[:3, 0] = np.asarray(self.orientation[:3]) * self.spacing[0]
        affine[:3, 1] = np.asarray(self.orientation[3:]) * self.spacing[1]
        affine[:3, 2] = self.normal * self.spacing[2]
        affine[:3, 3] = self.position(first)
        return affine


def make_series(
    folder: str | PathLike[str],
    *,
    keys: Mapping[Key, Sequence[Any]] | None = None,
    n: int = 1,
    shape: tuple[int, int] = (16, 12),
    pixels: ArrayLike | None = None,
    dtype: DTypeLike = "uint16",
    bits_stored: int | None = None,
    transfer_syntax: str = "explicit",
    slope: ArrayLike | None = None,
    intercept: ArrayLike | None = None,
    per_frame: Mapping[Key, ArrayLike] | None = None,
    jitter: Mapping[str, float] | None = None,
    drop: Iterable[int | tuple[int, ...]] = (),
    shuffle: int | None = None,
    geometry: Geometry | None = None,
    modality: str = "MR",
    header: HeaderEdit | None = None,
    prefix: str = "IM",
    seed: int = 0,
) -> MadeSeries:
    """Write a series of classic, single-frame images.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    keys : mapping, optional
        The grid: for each keyword (or private ``(group, 0x10xx)``) its values, slowest first.
        By default three slices 5 mm apart. Along SliceLocation, the position follows.
        Numbers given for a time are seconds since midnight.
    n : int, default 1
        How many images there are at each point of the grid.
    shape : tuple of int, default (16, 12)
        Columns and rows.
    pixels : array-like, optional
        Stored values, shape ``(*grid, n, x, y)``. By default random over all stored bits.
    dtype : dtype-like, default "uint16"
        Of the stored values: signed or unsigned, 8, 16 or 32 bits.
    bits_stored : int, optional
        Fewer bits than the dtype has.
    transfer_syntax : str, default "explicit"
        "explicit", "implicit", "big", "deflated", "rle" or the UID of one of these.
    slope, intercept : array-like, optional
        Rescale slope and intercept, a number or one per frame, broadcast to ``(*grid, n)``.
        Not written where None (CT: 1 and 0).
    per_frame : mapping, optional
        More elements, or other values for the keys: arrays broadcast to ``(*grid, n)``;
        axes beyond those are the values of a multi-valued element.
    jitter : mapping, optional
        Keyword and the largest amount by which its values are off, at random.
    drop : iterable, optional
        Frames that are not written: positions in C order, or indices into ``(*grid, n)``.
    shuffle : int, optional
        Seed by which file names are permuted. By default they follow the grid.
    geometry : Geometry, optional
    modality : {"MR", "CT"}
    header : mapping or callable, optional
        Elements of all images (None deletes one), or a function of the data set and its
        index into ``(*grid, n)`` that changes the data set. Applied last.
    prefix : str, default "IM"
        Of the file names, ``IM0001.dcm`` and so on.
    seed : int, default 0
        Of pixels, jitter and all UIDs: the same seed gives the same files.

    Returns
    -------
    MadeSeries

    Raises
    ------
    ValueError
        If the pixels do not have the shape of the grid, or the transfer syntax is unknown.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = make_series(folder, keys={"SliceLocation": [0, 5], "FlipAngle": [5, 10, 20]})
    >>> made.dims, made.pixels.shape, len(made.files)
    (('SliceLocation', 'FlipAngle', 'n', 'x', 'y'), (2, 3, 1, 16, 12), 6)
    """
    keys = {"SliceLocation": [0.0, 5.0, 10.0]} if keys is None else dict(keys)
    geometry = geometry or Geometry()
    grid = (*(len(values) for values in keys.values()), n)
    rng = np.random.default_rng(seed)
    stored = stored_pixels(rng, (*grid, *shape), pixels, np.dtype(dtype), bits_stored)
    if modality == "CT":  # both are type 1 there (PS3.3 C.8.2.1)
        slope, intercept = 1 if slope is None else slope, 0 if intercept is None else intercept
    columns = frame_columns(rng, grid, keys, geometry, slope, intercept, per_frame, jitter)
    dropped = {np.unravel_index(d, grid) if isinstance(d, int) else tuple(d) for d in drop}

    base = base_header(modality, seed)
    describe_pixels(base, stored, bits_stored)
    set_value(base, "PixelSpacing", [geometry.spacing[1], geometry.spacing[0]])
    set_value(base, "ImageOrientationPatient", list(geometry.orientation))

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.arange(stored[..., 0, 0].size).reshape(grid)
    names = np.random.default_rng(shuffle).permutation(numbers.size)
    names = numbers.ravel() if shuffle is None else names
    files: list[Path] = []
    datasets: list[Dataset] = []
    uids = np.full(grid, None, dtype=object)
    for index in np.ndindex(*grid):
        if index in dropped:
            continue
        number = int(numbers[index])
        dataset = copy.deepcopy(base)
        dataset.SOPInstanceUID = make_uid(seed, "image", number)
        dataset.InstanceNumber = number + 1
        for key, column in columns.items():
            set_value(dataset, key, column[index])
        edit_header(dataset, header, index)
        uids[index] = str(dataset.SOPInstanceUID)
        files.append(folder / f"{prefix}{names[number] + 1:04d}.dcm")
        datasets.append(write_image(files[-1], dataset, stored[index].T, transfer_syntax))
    return MadeSeries(
        folder,
        files,
        datasets,
        {key: list(values) for key, values in keys.items()},
        stored,
        real_values(stored, columns, uids),
        uids,
        np.where(uids.astype(bool), 1, 0),
        geometry.affine(float(keys.get("SliceLocation", [0.0])[0])),
    )


def stored_pixels(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    pixels: ArrayLike | None,
    dtype: np.dtype[Any],
    bits_stored: int | None,
) -> NDArray[Any]:
    """Return the stored values: those given, checked, or random ones over all stored bits."""
    bits = bits_stored or dtype.itemsize * 8
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if dtype.kind == "i" else (0, 2**bits)
    if pixels is None:
        return rng.integers(low, high, shape, dtype=np.int64).astype(dtype)
    stored = np.asarray(pixels)
    if stored.shape != shape:
        raise ValueError(f"pixels have shape {stored.shape}, but the grid needs {shape}")
    if stored.size and not low <= stored.min() <= stored.max() < high:
        raise ValueError(f"pixels from {stored.min()} to {stored.max()} do not fit {bits} bits")
    return stored.astype(dtype)


def frame_columns(
    rng: np.random.Generator,
    grid: tuple[int, ...],
    keys: Mapping[Key, Sequence[Any]],
    geometry: Geometry,
    slope: ArrayLike | None,
    intercept: ArrayLike | None,
    per_frame: Mapping[Key, ArrayLike] | None,
    jitter: Mapping[str, float] | None,
) -> dict[Key, NDArray[Any]]:
    """Return the values of every element that differs per frame, each of shape ``grid``."""
    columns: dict[Key, NDArray[Any]] = {}
    for axis, (key, values) in enumerate(keys.items()):
        ordered = np.empty(len(values), dtype=object)
        ordered[:] = list(values)
        along = ordered.reshape([-1 if i == axis else 1 for i in range(len(grid))])
        columns[key] = np.broadcast_to(along, grid)
    for key, given in (per_frame or {}).items():
        values_given = np.asarray(given)
        extra = values_given.shape[len(grid) :]
        columns[key] = np.broadcast_to(values_given, grid + extra)
    for keyword, amount in (jitter or {}).items():
        columns[keyword] = columns[keyword].astype(float) + rng.uniform(-amount, amount, grid)
    if slope is not None:
        columns["RescaleSlope"] = np.broadcast_to(np.asarray(slope), grid)
    if intercept is not None:
        columns["RescaleIntercept"] = np.broadcast_to(np.asarray(intercept), grid)
    columns.setdefault("SliceLocation", np.zeros(grid))
    if "ImagePositionPatient" not in columns:
        places = [geometry.position(float(z)) for z in columns["SliceLocation"].ravel()]
        columns["ImagePositionPatient"] = np.asarray(places).reshape(*grid, 3)
    return columns


def describe_pixels(dataset: Dataset, stored: NDArray[Any], bits_stored: int | None) -> None:
    """Set the elements of the Image Pixel module (PS3.3 C.7.6.3)."""
    bits = stored.dtype.itemsize * 8
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Columns, dataset.Rows = stored.shape[-2:]
    dataset.BitsAllocated = bits
    dataset.BitsStored = bits_stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")


def edit_header(dataset: Dataset, header: HeaderEdit | None, index: tuple[int, ...]) -> None:
    """Apply the caller's own elements to one data set."""
    if callable(header):
        header(dataset, index)
    else:
        for key, value in (header or {}).items():
            set_value(dataset, key, value)


def write_image(
    path: Path, dataset: Dataset, frames: NDArray[Any], transfer_syntax: str
) -> Dataset:
    """Write one DICOM file; `frames` has the shape (rows, columns) or (frames, rows, columns).

    Bits above BitsStored repeat the sign, as PS3.5 8.1.1 wants of two's complement.
    """
    dataset.file_meta = file_meta(dataset, transfer_syntax)
    uid = dataset.file_meta.TransferSyntaxUID
    if uid == RLELossless:
        dataset.compress(
            RLELossless,
            np.ascontiguousarray(frames),
            encoding_plugin="pydicom",
            generate_instance_uid=False,
        )
    else:
        data = frames.astype(
            frames.dtype.newbyteorder("big" if uid == ExplicitVRBigEndian else "little")
        ).tobytes()
        dataset.PixelData = data + b"\0" * (len(data) % 2)
        # 8 bit in OW would be swapped in pairs in big endian; OB never is (PS3.5 8.1.2).
        is_bytes = frames.dtype.itemsize == 1 and not uid.is_implicit_VR
        dataset["PixelData"].VR = "OB" if is_bytes else "OW"
    dcmwrite(path, dataset, enforce_file_format=True)
    return dataset


def real_values(
    stored: NDArray[Any], columns: Mapping[Key, NDArray[Any]], uids: NDArray[np.object_]
) -> NDArray[np.float64]:
    """Return ``stored * slope + intercept``, NaN where there is no frame (PS3.3 C.11.1.1.2)."""
    values = stored.astype(np.float64)
    for keyword, operation in (("RescaleSlope", np.multiply), ("RescaleIntercept", np.add)):
        if keyword in columns:
            values = operation(values, columns[keyword].astype(float)[..., None, None])
    values[~uids.astype(bool)] = np.nan
    return values
