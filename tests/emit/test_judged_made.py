"""Images made from nothing, before judges from outside: each kind, type and transfer syntax."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydicom import dcmread
from pydicom.pixels.processing import apply_modality_lut

import dbdicom_xr as db
from tests.emit.judges import dcmdump_ok, errors_of, gdcm_pixels, sitk_pixels
from tests.emit.rewritten import plane_of

DTYPES = ("bool", "u1", "i1", "u2", "i2", "i4", "u4", "f4", "f8")
SYNTAXES = ("RLE", "JPEG-LS", "JPEG 2000")
# Oblique, with spacings that all differ: a mixed-up axis cannot hide.
AFFINE = np.array(
    [[0.8, -0.9, 0.0, 11.0], [0.6, 1.2, 0.0, -7.0], [0.0, 0.0, 3.0, 20.0], [0, 0, 0, 1]]
)
SHAPE = (3, 16, 12)  # n, x, y; GDCM cannot decompress RLE of a few dozen pixels


def values_of(dtype: str, colour: bool = False) -> np.ndarray[Any, Any]:
    """Values over most of what a type can say, at most 60,000 apart in integers."""
    shape = (*SHAPE, 3) if colour else SHAPE
    count = int(np.prod(shape))
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.asarray(np.arange(count) % 3 == 0).reshape(shape)
    if kind.kind == "f":
        values = np.linspace(-0.3, 1234.5, count).astype(kind).reshape(shape)
        values[1, 2, 3] = np.nan
        values[2] = np.nan
        return values
    info = np.iinfo(kind)
    low, high = (info.min, info.max) if kind.itemsize < 4 else (info.max - 60_000, info.max)
    return np.linspace(low, high, count).astype(kind).reshape(shape)


@contextmanager
def made(
    values: np.ndarray[Any, Any], kind: str, **options: Any
) -> Iterator[tuple[Any, list[Path]]]:
    """Give a series of an array in a database without a folder, and its files in order."""
    dims = ["n", "x", "y", "channel"][: values.ndim]
    series = db.series(
        np.zeros(SHAPE, "u1"), kind, PatientName="Made^Of", PatientID="0", affine=AFFINE
    )
    try:
        array = xr.DataArray(values, dims=dims)
        series.set_array(array, "template", affine=AFFINE, **options)
        yield series, files_of(series)
    finally:
        series.database.close(save=False)


def files_of(series: Any) -> list[Path]:
    paths = [Path(path) for path in series.files()]
    return sorted(
        paths, key=lambda path: int(dcmread(path, stop_before_pixels=True).InstanceNumber)
    )


def judge(path: Path, values: np.ndarray[Any, Any], error: float) -> None:
    """Compare a file of one image (rows, columns) with what was to be written."""
    assert errors_of(path) == set()
    assert dcmdump_ok(path)
    read = dcmread(path)
    stored = read.pixel_array
    np.testing.assert_array_equal(gdcm_pixels(path), stored)
    real = np.asarray(apply_modality_lut(stored, read), float)
    known = ~np.isnan(values.astype(float))
    np.testing.assert_allclose(real[known], values[known].astype(float), rtol=0, atol=error)
    if not known.all():
        assert (stored[~known] == read.PixelPaddingValue).all()
        assert not (stored[known] == read.PixelPaddingValue).any()
    np.testing.assert_allclose(
        sitk_pixels(path).reshape(values.shape)[known], values[known].astype(float),
        rtol=1e-6, atol=error,
    )  # fmt: skip


def worst(values: np.ndarray[Any, Any]) -> float:
    """Half a step of 16 bits over the range; integers and truth values are exact."""
    if values.dtype.kind != "f":
        return 0.0
    return float(np.nanmax(values) - min(np.nanmin(values), 0)) / 65_000 / 2 * 1.1


GREY = [(kind, dtype) for kind in ("mri", "ct", "sc") for dtype in DTYPES] + [
    # RescaleIntercept is 0 in PET, so that integers of 32 bits beyond 16 are not exact there.
    ("pet", dtype) for dtype in DTYPES if dtype not in ("i4", "u4")
]  # fmt: skip


@pytest.mark.parametrize(("kind", "dtype"), GREY)
def test_grey(kind: str, dtype: str) -> None:
    values = values_of(dtype)
    error = worst(values) * (2 if kind == "pet" else 1)
    with made(values, kind) as (_, paths):
        for path, image in zip(paths, values, strict=True):
            judge(path, image.T, error)


COMPRESSED = [("mri", dtype) for dtype in ("i2", "u2", "f4")] + [("sc", "u1")]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("kind", "dtype"), COMPRESSED)
def test_transfer_syntaxes(kind: str, dtype: str, syntax: str) -> None:
    values = values_of(dtype)
    with made(values, kind, transfer_syntax=syntax) as (_, paths):
        for path, image in zip(paths, values, strict=True):
            judge(path, image.T, worst(values))


@pytest.mark.parametrize("syntax", [None, *SYNTAXES])
def test_colour(syntax: str | None) -> None:
    values = values_of("u1", colour=True)
    with made(values, "sc", transfer_syntax=syntax) as (_, paths):
        for path, image in zip(paths, values, strict=True):
            judge(path, image.swapaxes(0, 1), 0.0)


@pytest.mark.parametrize("syntax", [None, *SYNTAXES])
@pytest.mark.parametrize("dtype", ["u2", "i2", "f4"])
def test_enhanced_mr(dtype: str, syntax: str | None) -> None:
    values = values_of(dtype)
    if values.dtype.kind != "f":
        values = np.asarray(values // 2)  # the scale of a series keeps a code for NaN
    # One scale for all frames: other readers take that of the first for all of them.
    with made(values, "mri", multiframe=True, transfer_syntax=syntax, scale="series") as (_, files):
        (path,) = files
        assert errors_of(path) == set()
        assert dcmdump_ok(path)
        read = dcmread(path)
        assert read.SOPClassUID.name == "Enhanced MR Image Storage"
        np.testing.assert_array_equal(gdcm_pixels(path), read.pixel_array)
        known = ~np.isnan(values.astype(float))
        real = sitk_pixels(path).swapaxes(1, 2)
        np.testing.assert_allclose(real[known], values[known], rtol=1e-6, atol=worst(values))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parametric_map(dtype: str) -> None:
    highdicom = pytest.importorskip("highdicom")
    values = values_of(np.dtype(dtype).str[1:])
    with made(values, "mri", dtype=dtype) as (_, files):
        (path,) = files
        assert errors_of(path) == set()
        assert dcmdump_ok(path)
        image, read = highdicom.imread(path), dcmread(path)
        frames = image.get_frames(apply_real_world_transform=False, dtype=dtype)
        assert frames.dtype == np.dtype(dtype)
        # Its indices are (slice, row, column); the frames may come from either end.
        axes = image.get_volume_geometry().affine[:3, [2, 1, 0]]
        np.testing.assert_allclose(np.abs(axes), np.abs(AFFINE[:3, :3]), atol=1e-6)
        slices = []
        for number, frame in enumerate(frames):
            plane = plane_of(read, number)
            assert plane is not None
            x, y, n, _ = np.linalg.solve(AFFINE, [*plane[:3], 1.0])
            np.testing.assert_allclose([x, y, n - round(n)], 0, atol=1e-6)
            np.testing.assert_array_equal(frame.T, values[round(n)])
            slices.append(round(n))
        assert sorted(slices) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["mri", "ct", "pet"])
def test_place_as_simpleitk_reads_a_series(kind: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    values = values_of("f4")
    with made(values, kind) as (series, paths):
        volume = sitk.ReadImage([str(path) for path in paths])
        affine = np.eye(4)
        direction = np.array(volume.GetDirection()).reshape(3, 3)
        affine[:3, :3] = direction * volume.GetSpacing()
        affine[:3, 3] = volume.GetOrigin()
        np.testing.assert_allclose(affine, AFFINE, atol=1e-6)
        array, _ = series.array()
        np.testing.assert_allclose(np.asarray(array.dicom.affine), affine, atol=1e-6)
        real = sitk.GetArrayFromImage(volume).swapaxes(1, 2)
        known = ~np.isnan(values)
        np.testing.assert_allclose(real[known], values[known], atol=2 * worst(values), rtol=1e-6)


# -- sent to somebody -------------------------------------------------------------------------


@contextmanager
def listening(folder: Path) -> Iterator[int]:
    """Run a receiver of DCMTK on a free port, and end it, by its process."""
    program = shutil.which("storescp")
    if program is None or shutil.which("storescu") is None:
        pytest.skip("no storescp (apt-get install dcmtk)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    # +xa: all transfer syntaxes
    receiver = subprocess.Popen(
        [program, "+xa", "-od", str(folder), str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(100):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        receiver.terminate()
        receiver.wait(10)


SENT: list[tuple[str, str, dict[str, Any], str]] = [
    ("mri", "f4", {}, "-xe"),
    ("ct", "i2", {}, "-xe"),
    ("pet", "u2", {}, "-xe"),
    ("sc", "u1", {}, "-xe"),
    ("sc", "u2", {}, "-xe"),
    ("sc", "colour", {}, "-xe"),
    ("mri", "u2", {"transfer_syntax": "RLE"}, "-xr"),
    ("mri", "u2", {"transfer_syntax": "JPEG-LS"}, "-xt"),
    ("mri", "u2", {"transfer_syntax": "JPEG 2000"}, "-xv"),
    ("mri", "f4", {"multiframe": True}, "-xe"),
    ("mri", "f4", {"dtype": "float32"}, "-xe"),
    ("mri", "f8", {"dtype": "float64"}, "-xe"),
]


def test_all_is_accepted_and_arrives_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    with listening(tmp_path) as port:
        for kind, dtype, options, proposed in SENT:
            values = values_of("u1", colour=True) if dtype == "colour" else values_of(dtype)
            with made(values, kind, **options) as (_, paths):
                # -R: only what the files need is proposed
                done = subprocess.run(
                    ["storescu", "-R", proposed, "127.0.0.1", str(port), *map(str, paths)],
                    capture_output=True, text=True, check=False, timeout=60,
                )  # fmt: skip
                assert done.returncode == 0, (kind, dtype, options, done.stderr)
                assert not re.search("^[EF]:", done.stderr, re.MULTILINE), done.stderr
                for path in paths:
                    before = dcmread(path)
                    (arrived,) = tmp_path.glob(f"*.{before.SOPInstanceUID}")
                    after = dcmread(arrived)
                    assert after == before
                    syntax = after.file_meta.TransferSyntaxUID
                    assert syntax == before.file_meta.TransferSyntaxUID
