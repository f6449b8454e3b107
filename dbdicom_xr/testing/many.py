"""Many files, quickly: one encoded header, of which a few fixed-width fields are patched.

Owns what benchmarks need: thousands of images in seconds. Where a test needs control over the
header or the pixels, `series.make_series` is the maker.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.filewriter import dcmwrite

from dbdicom_xr.testing.headers import PRIVATE_CREATOR, base_header, file_meta, make_uid, time_text
from dbdicom_xr.testing.series import Geometry, describe_pixels

_FIRST_NUMBER = 10**9  # ten digits without a leading zero, which a UID may not have (PS3.5 9.1)


@dataclass(frozen=True)
class MadeMany:
    """What `make_many` wrote; every array has one value per file, in the order of `files`.

    Attributes
    ----------
    folder : pathlib.Path
        Where the files are.
    files : list of pathlib.Path
        In the order of their names and instance numbers.
    uids : list of str
        SOPInstanceUIDs.
    locations : numpy.ndarray
        SliceLocation in mm.
    times : numpy.ndarray
        AcquisitionTime in seconds since midnight, different for every file.
    shape : tuple of int
        Columns and rows; (0, 0) without pixels.
    """

    folder: Path
    files: list[Path]
    uids: list[str]
    locations: NDArray[np.float64]
    times: NDArray[np.float64]
    shape: tuple[int, int]

    def frame(self, i: int) -> NDArray[np.uint16]:
        """Return the stored values of file `i`, shape (x, y)."""
        return _frame(i, self.shape).T


def make_many(
    folder: str | PathLike[str],
    n: int,
    *,
    shape: tuple[int, int] = (256, 256),
    private_bytes: int = 0,
    slices: int | None = None,
    per_folder: int | None = None,
    seed: int = 0,
) -> MadeMany:
    """Write many small-difference MR files fast, as one series.

    Each header has about 100 elements and its own SOPInstanceUID, InstanceNumber,
    AcquisitionTime, SliceLocation and ImagePositionPatient; every image is different.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    n : int
        How many files.
    shape : tuple of int, default (256, 256)
        Columns and rows, 16 bit; (0, 0) leaves the pixel data out.
    private_bytes : int, default 0
        Size of one more private element, as scanners keep their protocol in.
    slices : int, optional
        File `i` is at slice ``i % slices`` and time ``i // slices``. By default all files are
        different slices.
    per_folder : int, optional
        How many files go into one subfolder. By default all lie in `folder`.
    seed : int, default 0
        Of the UIDs.

    Returns
    -------
    MadeMany

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = make_many(folder, 6, shape=(8, 4), slices=3)
    >>> made.locations.tolist()
    [0.0, 2.0, 4.0, 0.0, 2.0, 4.0]
    """
    folder = Path(folder)
    slices = slices or max(n, 1)
    numbers = np.arange(n)
    locations = np.asarray((numbers % slices) * 2.0, dtype=np.float64)
    # 80,000 s are left of the day after 01:00; every file has its own time.
    step = min(0.1, 80_000 / max(n, 1))
    times = np.asarray(np.round(3600 + numbers * step, 6), dtype=np.float64)
    stem = f"{make_uid(seed, 'many')[:50].rstrip('.')}."
    uids = [f"{stem}{_FIRST_NUMBER + i}" for i in range(n)]

    template, places = _template(seed, stem, shape, private_bytes)
    geometry = Geometry(spacing=(1.0, 1.0, 2.0))
    files = list(_names(folder, n, per_folder))
    for i, path in enumerate(files):
        position = geometry.position(float(locations[i]))
        content = {
            _UID: uids[i],
            _NUMBER: f"{i + 1:<8d}",
            _LOCATION: f"{locations[i]:<12.3f}",
            _POSITION: "\\".join(f"{v:<13.3f}" for v in position),
            _TIME: f"{time_text(float(times[i])):<14s}",
        }
        for field, text in content.items():
            for place in places[field]:
                template[place : place + len(text)] = text.encode()
        with path.open("wb") as file:
            file.write(template)
            if shape != (0, 0):
                file.write(_frame(i, shape).astype("<u2").tobytes())
    return MadeMany(folder, files, uids, locations, times, shape)


def _names(folder: Path, n: int, per_folder: int | None) -> Iterator[Path]:
    for i in range(n):
        place = folder if per_folder is None else folder / f"{i // per_folder:05d}"
        if i % (per_folder or max(n, 1)) == 0:
            place.mkdir(parents=True, exist_ok=True)
        yield place / f"IM{i + 1:07d}.dcm"


# Marks of the same width as what takes their place; nothing else in the header looks like them.
_UID = "1.7.77777777777777777777777777777777777777777777777777777777777777"
_NUMBER = "11223344"
_LOCATION = "-98765432.12"
_POSITION = "-98765432.111\\-98765432.222\\-98765432.333"
_TIME = "235959.987654 "


def _template(
    seed: int, stem: str, shape: tuple[int, int], private_bytes: int
) -> tuple[bytearray, dict[str, list[int]]]:
    """Return an encoded file up to its pixels, and where in it each field stands."""
    dataset = base_header("MR", seed)
    mark = _UID[: len(stem) + len(str(_FIRST_NUMBER))]
    dataset.SOPInstanceUID = mark
    dataset.InstanceNumber = _NUMBER
    dataset.SliceLocation = _LOCATION
    dataset.ImagePositionPatient = _POSITION.split("\\")
    dataset.AcquisitionTime = _TIME
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1, 1]
    if private_bytes:
        content = np.random.default_rng(seed).bytes(private_bytes + private_bytes % 2)
        block = dataset.private_block(0x0029, PRIVATE_CREATOR, create=True)
        block.add_new(0x10, "OB", content)
    if shape != (0, 0):
        describe_pixels(dataset, np.empty(shape, np.uint16), None)
        dataset.PixelData = b""
        dataset["PixelData"].VR = "OW"
    dataset.file_meta = file_meta(dataset, "explicit")
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    encoded = bytearray(stream.getvalue())
    if shape != (0, 0):  # the length of the pixel data is what ends the header
        encoded[-4:] = (2 * shape[0] * shape[1]).to_bytes(4, "little")
    return encoded, _find(encoded, mark)


def _find(encoded: bytearray, mark: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for field in (_UID, _NUMBER, _LOCATION, _POSITION, _TIME):
        text = (mark if field == _UID else field).encode()
        found[field] = []
        start = encoded.find(text)
        while start >= 0:
            found[field].append(start)
            start = encoded.find(text, start + len(text))
        assert len(found[field]) == (2 if field == _UID else 1), field
    return found


@functools.lru_cache(maxsize=8)
def _texture(shape: tuple[int, int]) -> NDArray[np.uint16]:
    columns, rows = shape
    return np.random.default_rng(0).integers(0, 4096, (rows, columns), dtype=np.uint16)


def _frame(i: int, shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Return the image of file `i`, shape (rows, columns): a texture, brighter by `i`."""
    frame = _texture(shape) + np.uint16(i % 4096)
    frame.flat[:2] = [i & 0xFFFF, i >> 16][: frame.size]  # no two images are the same
    return frame
