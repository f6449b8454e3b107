"""NaN that this package wrote is NaN again; padding of other files is a value like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dbdicom_xr.pixels.quantise import Target, quantise
from dbdicom_xr.testing import make_enhanced, make_series
from tests.arrays.opened import series_of

LOCATIONS = {"SliceLocation": [0.0, 5.0, 10.0]}
STORED = np.arange(3 * 4 * 3).reshape(3, 1, 4, 3) % 7


def mark(file: Path | str, padding: int | None, value: str | None = "NAN", block: int = 0x10):
    dataset = pydicom.dcmread(file)
    if padding is not None:
        dataset.add_new("PixelPaddingValue", "SS" if dataset.PixelRepresentation else "US", padding)
    if value is not None:
        dataset.add_new((0x0099, block), "LO", "DBDICOM_XR")
        dataset.add_new((0x0099, block << 8 | 1), "CS", value)
    dataset.save_as(file)


def made(folder: Path, **options):
    return make_series(folder, keys=LOCATIONS, pixels=STORED, shape=(4, 3), **options)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated", "rle"])
@pytest.mark.parametrize(
    ("dtype", "slope", "intercept", "promoted"),
    [
        ("uint8", None, None, "float32"),
        ("uint16", None, None, "float32"),
        ("int16", 1, 0, "float32"),
        ("uint16", 1, -1024, "float64"),  # would be int32
        ("uint16", 0.5, 2, "float32"),
        ("uint16", 1e-3, 1e6, "float64"),
    ],
)
def test_marked_padding_is_nan(tmp_path, syntax, dtype, slope, intercept, promoted):
    for file in made(
        tmp_path, dtype=dtype, slope=slope, intercept=intercept, transfer_syntax=syntax
    ).files:
        mark(file, 5)
    series = series_of(tmp_path)
    array, _ = series.array("SliceLocation")
    real = STORED * (slope or 1.0) + (intercept or 0.0)
    assert array.dtype == array.values.dtype == promoted
    expected = np.where(STORED == 5, np.nan, real).astype(promoted)
    np.testing.assert_array_equal(array, expected)
    again, _ = series.array("SliceLocation", padding="nan")
    np.testing.assert_array_equal(array, again)


def test_stored_values_are_those_of_the_file(tmp_path):
    for file in made(tmp_path, slope=0.5, intercept=1).files:
        mark(file, 5)
    series = series_of(tmp_path)
    for no in (False, np.False_):
        array, _ = series.array("SliceLocation", rescale=no)
        assert array.dtype == "uint16"
        np.testing.assert_array_equal(array, STORED)
    np.testing.assert_array_equal(series.instances()[1].array(rescale=False), STORED[1, 0])


def test_an_instance_and_a_volume(tmp_path):
    for file in made(tmp_path).files:
        mark(file, 5)
    series = series_of(tmp_path)
    expected = np.where(STORED == 5, np.nan, STORED)
    for place, instance in enumerate(series.instances()):
        array = instance.array()
        assert array.dtype == "float32"
        np.testing.assert_array_equal(array, expected[place, 0])
    array, _ = series.volume()
    assert np.isnan(array).sum() == (STORED == 5).sum()
    np.testing.assert_array_equal(array, expected[:, 0].transpose(1, 2, 0))


def test_only_in_the_images_that_are_marked(tmp_path):
    files = made(tmp_path).files
    mark(files[0], 5, None)  # as a scanner writes it
    mark(files[1], 5)
    mark(files[2], 3)
    series = series_of(tmp_path)
    array, _ = series.array("SliceLocation")
    expected = STORED.astype(np.float32)
    expected[1][STORED[1] == 5] = np.nan
    expected[2][STORED[2] == 3] = np.nan
    np.testing.assert_array_equal(array, expected)
    first, second, third = series.instances()
    assert first.array().dtype == "uint16"
    np.testing.assert_array_equal(first.array(), STORED[0, 0])
    np.testing.assert_array_equal(second.array(), expected[1, 0])
    np.testing.assert_array_equal(third.array(), expected[2, 0])
    everywhere, _ = series.array("SliceLocation", padding="nan")
    assert np.isnan(everywhere[0]).sum() == (STORED[0] == 5).sum()


@pytest.mark.parametrize(("padding", "value"), [(5, None), (None, "NAN"), (5, "ZERO"), (5, "")])
def test_what_is_no_mark(tmp_path, padding, value):
    for file in made(tmp_path).files:
        mark(file, padding, value)
    array, _ = series_of(tmp_path).array("SliceLocation")
    assert array.dtype == "uint16"
    np.testing.assert_array_equal(array, STORED)


def test_the_mark_of_another_creator(tmp_path):
    for file in made(tmp_path).files:
        dataset = pydicom.dcmread(file)
        dataset.add_new("PixelPaddingValue", "US", 5)
        dataset.private_block(0x0099, "SOMEBODY", create=True).add_new(0x01, "CS", "NAN")
        dataset.save_as(file)
    assert series_of(tmp_path).array()[0].dtype == "uint16"


def test_the_mark_in_any_block(tmp_path):
    files = made(tmp_path).files
    for file, block in zip(files, (0x10, 0x11, 0xE0), strict=True):
        mark(file, 5, block=block)
    array, _ = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_array_equal(array, np.where(STORED == 5, np.nan, STORED))


def test_signed_values(tmp_path):
    pixels = np.where(STORED == 5, -32768, STORED - 3)
    options = {"keys": LOCATIONS, "shape": (4, 3), "dtype": "int16", "slope": 0.25, "intercept": 0}
    for file in make_series(tmp_path, pixels=pixels, **options).files:
        mark(file, -32768)
    array, _ = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_array_equal(array, np.where(STORED == 5, np.nan, (STORED - 3) * 0.25))


@pytest.mark.parametrize("slope", [None, [0.5, 1.5, 2.5]])
def test_a_multi_frame_image(tmp_path, slope):
    steps = None if slope is None else np.array(slope).reshape(3, 1)
    one = make_enhanced(
        tmp_path, keys=LOCATIONS, pixels=STORED, shape=(4, 3), slope=steps,
        intercept=None if slope is None else 1.0,
    )  # fmt: skip
    mark(one.files[0], 5)
    series = series_of(tmp_path)
    array, _ = series.array("SliceLocation")
    real = STORED if slope is None else STORED * np.array(slope).reshape(3, 1, 1, 1) + 1
    expected = np.where(STORED == 5, np.nan, real)
    np.testing.assert_array_equal(array, expected)
    (instance,) = series.instances()
    np.testing.assert_array_equal(instance.array(), expected[:, 0])
    np.testing.assert_array_equal(instance.array(rescale=False), STORED[:, 0])


def test_what_is_quantised_is_read_again(tmp_path):
    rng = np.random.default_rng(0)
    real = rng.normal(50, 20, (3, 4, 3)).astype(np.float32)
    real[rng.random(real.shape) < 0.3] = np.nan
    frames = [quantise(frame.T, Target()) for frame in real]
    pixels = np.stack([frame.values.T for frame in frames])[:, None]
    files = make_series(
        tmp_path, keys=LOCATIONS, pixels=pixels, shape=(4, 3), dtype="uint16",
        slope=np.array([frame.scale.slope for frame in frames]).reshape(3, 1),
        intercept=np.array([frame.scale.intercept for frame in frames]).reshape(3, 1),
    ).files  # fmt: skip
    for file, frame in zip(files, frames, strict=True):
        mark(file, frame.padding)
    array, _ = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_array_equal(np.isnan(array[:, 0]), np.isnan(real))
    error = max(frame.error for frame in frames)
    assert float(np.nanmax(np.abs(array.values[:, 0] - real))) <= error * 1.02 < 0.01


def test_marked_padding_is_nan_in_nifti(tmp_path):
    import nibabel

    for file in made(tmp_path / "in", dtype="uint16", slope=1, intercept=0).files:
        mark(file, 5)
    (path,) = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    values = np.asanyarray(nibabel.load(path).dataobj)
    assert np.isnan(values).sum() == (STORED == 5).sum() > 0
    assert np.nanmax(values) == STORED.max()
