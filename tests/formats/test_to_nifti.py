"""``array.dicom.to_nifti``: the array as nibabel sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import GridError, InvalidValue, MixedGeometry, NotInDatabase
from dbdicom_xr.testing import Geometry, make_series

GEOMETRY = Geometry((1.5, 1.25, 4), (0.8, 0.6, 0, 0, 0, -1), (-20, -30, 40))
RAS = np.diag([-1.0, -1, 1, 1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_series(
        tmp_path_factory.mktemp("in"), geometry=GEOMETRY, header={"RepetitionTime": 2000},
        keys={"SliceLocation": [0, 4, 8], "FlipAngle": [5, 10], "EchoTime": [2, 4, 6, 8]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def array(made: Any) -> Any:
    (series,) = db.database(made.folder).series()
    return series.array(["SliceLocation", "FlipAngle", "EchoTime"])[0]


def test_voxels_stand_as_in_the_array(array: Any, made: Any, tmp_path: Path) -> None:
    image = array.dicom.to_nifti()
    assert image.shape == (16, 12, 3, 2, 4)  # x, y, slice, then in the order of the array
    assert np.allclose(image.affine, RAS @ made.affine)
    image.to_filename(tmp_path / "a.nii.gz")
    read = nibabel.load(tmp_path / "a.nii.gz")
    truth = np.moveaxis(made.values[..., 0, :, :], (3, 4), (0, 1))
    assert np.array_equal(read.dataobj, truth)
    assert np.allclose(read.get_qform(), read.get_sform(), atol=1e-4)
    assert (int(read.header["sform_code"]), int(read.header["qform_code"])) == (1, 1)
    assert read.header.get_xyzt_units() == ("mm", "sec")
    assert float(read.header["pixdim"][4]) == 2.0


def test_nothing_is_read_before_it_is_asked_for(array: Any, monkeypatch: Any) -> None:
    from dbdicom_xr.arrays.reader import FrameReader

    def fail(*args: Any) -> Any:
        raise AssertionError("pixels were read")

    with monkeypatch.context() as patched:
        patched.setattr(FrameReader, "__getitem__", fail)
        image = array.dicom.to_nifti()
        assert image.shape[:3] == (16, 12, 3)
    assert image.get_fdata().shape == image.shape


def test_results_and_parts_lie_where_they_are(array: Any, made: Any) -> None:
    part = array.isel(x=slice(2, 10, 2), SliceLocation=slice(None, None, -1)).mean("EchoTime")
    image = part.isel(FlipAngle=0).dicom.to_nifti()
    assert image.shape == (4, 12, 3)
    assert np.allclose(image.affine, RAS @ made.affine @ np.array(
        [[2, 0, 0, 2], [0, 1, 0, 0], [0, 0, -1, 2], [0, 0, 0, 1]]
    ))  # fmt: skip
    truth = made.values.mean(2)[::-1, 0, 0, 2:10:2]
    assert image.get_fdata() == pytest.approx(truth.transpose(1, 2, 0), rel=1e-6)
    single = array.isel(SliceLocation=1, FlipAngle=0, EchoTime=0).dicom.to_nifti()
    assert single.shape == (16, 12, 1)
    assert np.allclose(single.affine[:, 3], RAS @ made.affine @ [0, 0, 1, 1])


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(bool, np.uint8), ("float16", np.float32), ("int64", np.int64), ("complex64", np.complex64)],
)
def test_types(array: Any, dtype: Any, stored: Any) -> None:
    image = (array.isel(EchoTime=0, FlipAngle=0) > 1000).astype(dtype).dicom.to_nifti()
    assert image.get_data_dtype() == stored
    assert set(np.unique(np.asarray(image.dataobj)).tolist()) == {0, 1}


def test_colours(tmp_path: Path) -> None:
    made = make_series(tmp_path, dtype="uint8")
    colours = np.random.default_rng(0).integers(0, 256, (3, 12, 16, 3), np.uint8)
    for path, dataset, pixels in zip(made.files, made.datasets, colours, strict=True):
        dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "RGB", 3
        dataset.PlanarConfiguration, dataset.PixelData = 0, pixels.tobytes()
        dataset.save_as(path)
    array, _ = db.database(tmp_path).series()[0].array("SliceLocation")
    for given in (array, array.compute()):
        found = np.asanyarray(given.dicom.to_nifti().dataobj)
        assert np.array_equal(found["G"], colours[..., 1].transpose(2, 1, 0))
    with pytest.raises(InvalidValue, match="colours"):
        array.isel(channel=[0]).dicom.to_nifti()


def test_a_tilted_gantry_has_a_sheared_affine(tmp_path: Path) -> None:
    positions = np.array([[0, 0, 0], [0, 1, 5], [0, 2, 10]])[:, None]
    make_series(tmp_path, per_frame={"ImagePositionPatient": positions})
    array, _ = db.database(tmp_path).series()[0].array("SliceLocation")
    with pytest.warns(MixedGeometry, match="shifted"):
        image = array.dicom.to_nifti()
    assert np.allclose(image.get_sform()[:3, 2], [0, -1, 5])
    assert int(image.header["qform_code"]) == 0  # which has no shears


def test_what_is_no_image_is_refused(array: Any) -> None:
    with pytest.raises(GridError, match="no dimension x"):
        array.isel(x=0).dicom.to_nifti()
    with pytest.raises(NotInDatabase):
        xr.DataArray(np.zeros((3, 4)), dims=("x", "y")).dicom.to_nifti()
    many = array.expand_dims(dict.fromkeys("abcd", 2))
    with pytest.raises(InvalidValue, match="NIfTI has 7"):
        many.dicom.to_nifti()
