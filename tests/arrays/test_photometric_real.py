"""Every public image that pydicom decodes is read with the same stored values; other judges."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_color_lut

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError
from tests.data import testdata_folder

KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# What is refused, and why.
REFUSED = {"0.dcm": "are mosaics", "1.dcm": "are mosaics"}

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(testdata_folder() is None, reason="no DBDICOM_XR_TESTDATA"),
]


@pytest.fixture(scope="module")
def databases(testdata, tmp_path_factory):
    """All files; and in others those that have the SOPInstanceUID of one that is there already."""
    everything = db.database(testdata, index=tmp_path_factory.mktemp("index"))
    folder = tmp_path_factory.mktemp("twins")
    seen = Counter()
    for number, problem in enumerate(everything.problems):
        if "has the SOPInstanceUID of" in problem.reason:
            original = problem.reason.rpartition(" of ")[2]
            layer = folder / str(seen[original])
            layer.mkdir(exist_ok=True)
            shutil.copy(problem.file, layer / f"{number}.dcm")
            seen[original] += 1
    found = [everything, *(db.database(layer) for layer in sorted(folder.iterdir()))]
    yield found
    for database in found:
        database.close()


def images(databases, **filters):
    for database in databases:
        for series in database.series(**filters):
            for instance in series.instances(**filters):
                if instance.Rows is not None:
                    yield instance


def pixels_of_pydicom(path):
    """Return data set and stored values as (..., x, y[, channel]); None where it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        if not any(keyword in dataset for keyword in KEYWORDS):
            return dataset, None
        try:
            stored = dataset.pixel_array
        except Exception:
            return dataset, None
    colour = int(dataset.SamplesPerPixel) > 1
    return dataset, stored.swapaxes(-2 - colour, -1 - colour)


def tiled(tiles, image):
    """Put the tiles of a mosaic together again; what is empty stays as it is in the image."""
    _, width, height = tiles.shape
    result = image.copy()
    across = image.shape[0] // width
    for number, tile in enumerate(tiles):
        x, y = number % across * width, number // across * height
        result[x : x + width, y : y + height] = tile
    return result


def test_every_image_that_pydicom_decodes(databases):
    refused, unequal, syntaxes = {}, [], Counter()
    for instance in images(databases):
        _, expected = pixels_of_pydicom(instance.file)
        if expected is None:
            continue
        try:
            got = instance.array(rescale=False).compute(scheduler="sync").values
        except DbdicomError as error:
            refused[instance.file.rpartition("/")[2]] = str(error)
            continue
        if got.shape != expected.shape and got.ndim == 3 and expected.ndim == 2:
            got = tiled(got, expected)
        equal = got.shape == expected.shape and got.dtype == expected.dtype.newbyteorder("=")
        if not equal or not np.array_equal(got, expected, equal_nan=got.dtype.kind == "f"):
            unequal.append(instance.file)
        syntaxes[str(instance.TransferSyntaxUID)] += 1
    assert unequal == []
    assert refused.keys() == REFUSED.keys()
    assert all(reason in refused[name] for name, reason in REFUSED.items())
    assert sum(syntaxes.values()) >= 1590
    assert len(syntaxes) >= 14


# -- palettes ------------------------------------------------------------------------------------

PALETTES = [
    "OT-PAL-8-face.dcm",
    "OBXXXX1A.dcm",
    "gdcm-US-ALOKA-16.dcm",
]


@pytest.fixture(scope="module")
def pydicom_data(testdata, tmp_path_factory):
    with db.database(
        testdata / "pydicom-data" / "data", index=tmp_path_factory.mktemp("index")
    ) as database:
        yield {
            instance.file.rpartition("/")[2]: instance
            for series in database.series()
            for instance in series.instances()
        }


@pytest.mark.parametrize("name", PALETTES)
def test_palettes_are_those_of_pydicom(pydicom_data, name):
    instance = pydicom_data[name]
    dataset = pydicom.dcmread(instance.file, force=True)
    stored = instance.array(rescale=False).values.swapaxes(0, 1)
    expected = apply_color_lut(stored, dataset)
    array = instance.array()
    assert array.sizes["channel"] == 3
    np.testing.assert_array_equal(array, expected.swapaxes(0, 1))


@pytest.mark.parametrize("name", PALETTES)
def test_palettes_are_those_of_simpleitk(pydicom_data, name):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetArrayFromImage(sitk.ReadImage(pydicom_data[name].file))[0]
    values = pydicom_data[name].array().values.swapaxes(0, 1)
    if image.dtype == np.uint8:  # it keeps the upper bytes
        values = values >> 8
    np.testing.assert_array_equal(values, image)


# -- colours of compressed images ----------------------------------------------------------------


def test_colours_are_those_of_simpleitk(databases):
    sitk = pytest.importorskip("SimpleITK")
    compared, unequal = Counter(), set()
    for instance in images(databases, SamplesPerPixel=3):
        if instance.NumberOfFrames not in (None, 1):
            continue
        try:
            image = sitk.GetArrayFromImage(sitk.ReadImage(instance.file))[0]
        except RuntimeError:
            continue  # what it cannot read
        values = instance.array().values.swapaxes(0, 1)
        compared[instance.PhotometricInterpretation] += 1
        if values.shape != image.shape or not np.array_equal(values, image):
            unequal.add((str(instance.TransferSyntaxUID), int(instance.BitsAllocated)))
    # It cannot do RLE of more than 8 bits in colour: see the next test.
    assert unequal <= {("1.2.840.10008.1.2.5", 16), ("1.2.840.10008.1.2.5", 32)}
    assert set(compared) >= {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"}
    assert sum(compared.values()) >= 50


@pytest.mark.parametrize("bits", [16, 32])
def test_colours_in_rle_are_those_of_the_uncompressed_twin(testdata, tmp_path, bits):
    values = []
    for name in (f"SC_rgb_rle_{bits}bit.dcm", f"SC_rgb_{bits}bit.dcm"):
        (tmp_path / name).mkdir()
        (path,) = testdata.glob(f"pydicom*/**/{name}")
        shutil.copy(path, tmp_path / name)
        (series,) = db.database(tmp_path / name).series()
        values.append(series.array()[0].values)
    np.testing.assert_array_equal(*values)
    assert values[0].any()
