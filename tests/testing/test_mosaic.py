"""Made mosaics, read back with pydicom and nibabel, which know nothing of the maker."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pydicom
import pytest

from dbdicom_xr.testing import Geometry, make_mosaic, make_series
from dbdicom_xr.testing.mosaic import csa_header

KEYS = {"SliceLocation": [-4.0, 0.0, 4.0, 8.0, 12.0], "EchoTime": [2.0, 4.0]}
OBLIQUE = Geometry((1.5, 1.25, 4.0), (0.6, 0.8, 0.0, 0.0, 0.0, -1.0), (10.0, -20.0, 30.0))


def wrapped(dataset):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel.nicom calls itself experimental
        from nibabel.nicom.dicomwrappers import MosaicWrapper, wrapper_from_data

        wrapper = wrapper_from_data(dataset)
    assert isinstance(wrapper, MosaicWrapper)
    return wrapper


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_nibabel_finds_the_slices_where_they_were_put(tmp_path, syntax, order):
    keys = {**KEYS, "SliceLocation": KEYS["SliceLocation"][::order]}
    made = make_mosaic(tmp_path, keys=keys, transfer_syntax=syntax, geometry=OBLIQUE)
    for echo, file in enumerate(made.files):
        dataset = pydicom.dcmread(file)
        assert dataset.EchoTime == KEYS["EchoTime"][echo]
        wrapper = wrapped(dataset)
        # (row, column, slice) there, (x, y, slice) here.
        np.testing.assert_allclose(wrapper.affine, made.affine[:, [1, 0, 2, 3]], atol=1e-6)
        volume = made.pixels[:, echo, 0].transpose(2, 1, 0)
        np.testing.assert_array_equal(wrapper.get_unscaled_data(), volume)


@pytest.mark.parametrize("tiles", [1, 2, 3, 4, 5, 6, 7, 12, 13, 16, 17])
def test_how_many_tiles_stand_side_by_side(tmp_path, tiles):
    keys = {"SliceLocation": [float(i) for i in range(tiles)]}
    across = math.ceil(math.sqrt(tiles))
    for vendor, down in (("siemens", across), ("uih", math.ceil(tiles / across))):
        made = make_mosaic(tmp_path / vendor, keys=keys, shape=(4, 3), vendor=vendor)
        image = pydicom.dcmread(made.files[0]).pixel_array
        assert image.shape == (3 * down, 4 * across)
        for tile in range(tiles):
            top, left = 3 * (tile // across), 4 * (tile % across)
            part = image[top : top + 3, left : left + 4]
            np.testing.assert_array_equal(part.T, made.pixels[tile, 0])
        assert made.frame_numbers[:, 0].tolist() == list(range(1, tiles + 1))


def test_united_imaging_describes_each_slice(tmp_path):
    made = make_mosaic(tmp_path, keys=KEYS, vendor="uih", geometry=OBLIQUE)
    dataset = pydicom.dcmread(made.files[1])
    assert "ImagePositionPatient" not in dataset
    slices = dataset.private_block(0x0065, "Image Private Header")[0x51].value
    assert [float(item.SliceLocation) for item in slices] == KEYS["SliceLocation"]
    last = made.affine @ [0, 0, 4, 1]
    np.testing.assert_allclose(slices[4].ImagePositionPatient, last[:3], atol=1e-6)


def test_the_same_arguments_give_the_same_pixels_as_classic_images(tmp_path):
    classic = make_series(tmp_path / "classic", keys=KEYS, slope=2, intercept=1)
    mosaic = make_mosaic(tmp_path / "mosaic", keys=KEYS, slope=2, intercept=1)
    assert mosaic.dims == classic.dims
    np.testing.assert_array_equal(mosaic.values, classic.values)
    assert len(mosaic.files) == 2
    assert mosaic.uids[:, 1, 0].tolist() == [mosaic.datasets[1].SOPInstanceUID] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keys": {"EchoTime": [1.0]}}, "SliceLocation is not among the keys"),
        ({"keys": {"SliceLocation": [0.0, 1.0, 3.0]}}, "at one distance"),
        ({"keys": {"SliceLocation": [1.0, 1.0]}}, "at one distance"),
        ({"vendor": "ge"}, "one of siemens, uih is needed"),
    ],
)
def test_what_is_no_mosaic(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_mosaic(tmp_path, **options)


def test_nibabel_reads_csa_headers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom import csareader
    raw = csa_header({"Number": ("US", [36]), "Vector": ("FD", [0.5, -1, 0]), "None": ("FD", [])})
    tags = csareader.read(raw)["tags"]
    assert {name: tag["items"] for name, tag in tags.items()} == {
        "Number": [36], "Vector": [0.5, -1.0, 0.0], "None": [],
    }  # fmt: skip
