"""``export_as_nifti`` of made series, of which the truth is known; nibabel and ITK read it."""

from __future__ import annotations

import gzip
import json
import os
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import (
    GridError,
    InvalidValue,
    LeftOut,
    MixedGeometry,
    NotAFolder,
    PixelError,
)
from dbdicom_xr.formats import nifti
from dbdicom_xr.testing import Geometry, make_enhanced, make_mosaic, make_series

AXIAL = Geometry((1.5, 1.25, 4), (1, 0, 0, 0, 1, 0), (-20, -30, 40))
SAGITTAL = Geometry((1.5, 1.25, 4), (0, 1, 0, 0, 0, -1), (-20, -30, 40))
CORONAL = Geometry((1.5, 1.25, 4), (1, 0, 0, 0, 0, -1), (-20, -30, 40))
OBLIQUE = Geometry((1.5, 1.25, 4), (0.8, 0.6, 0, 0, 0, -1), (-20, -30, 40))
SLICES = [0.0, 4.0, 8.0, 12.0]
MAKERS: dict[str, Any] = {"classic": make_series, "enhanced": make_enhanced, "mosaic": make_mosaic}


def series_of(folder: Path) -> Any:
    (series,) = db.database(folder).series()
    return series


def voxels_at(image: Any, affine: Any, shape: tuple[int, ...]) -> Any:
    """Return the voxels of a file at the places of (x, y, slice) of an affine to LPS."""
    index = np.stack([*np.indices(shape), np.ones(shape)])
    places = np.tensordot(np.diag([-1, -1, 1, 1]) @ affine, index, 1)
    found = np.tensordot(np.linalg.inv(image.affine), places, 1)[:3]
    assert np.allclose(found, np.round(found), atol=1e-3)
    return np.asanyarray(image.dataobj)[tuple(np.round(found).astype(int))]


@pytest.mark.parametrize("geometry", [AXIAL, SAGITTAL, CORONAL, OBLIQUE])
@pytest.mark.parametrize("kind", list(MAKERS))
def test_every_voxel_lies_where_it_was_made(kind: str, geometry: Geometry, tmp_path: Path) -> None:
    time = "TemporalPositionIndex" if kind == "enhanced" else "TemporalPositionIdentifier"
    made = MAKERS[kind](
        tmp_path / "in",
        keys={"SliceLocation": SLICES, time: [1, 2, 3]},
        geometry=geometry, slope=2, intercept=-100, bits_stored=12,
    )  # fmt: skip
    (file,) = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    image = nibabel.load(file)
    assert image.shape == (16, 12, 4, 3)
    truth = np.moveaxis(made.values[:, :, 0], (0, 1), (2, 3))  # x, y, slice, time
    assert np.array_equal(voxels_at(image, made.affine, (16, 12, 4)), truth)
    # Integers stay integers, and the header scales them.
    assert image.get_data_dtype() == np.int16
    assert (image.dataobj.slope, image.dataobj.inter) == (2, -100)
    assert np.allclose(image.get_sform(), image.get_qform(), atol=1e-4)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert image.header.get_xyzt_units() == ("mm", "sec")


@pytest.mark.parametrize("geometry", [AXIAL, OBLIQUE])
def test_itk_sees_the_same_places(geometry: Geometry, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    made = make_series(
        tmp_path / "in", keys={"SliceLocation": SLICES}, geometry=geometry, bits_stored=12
    )
    (file,) = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    image = sitk.ReadImage(file)
    for x, y, z in [(0, 0, 0), (15, 0, 1), (3, 11, 3)]:
        place = (made.affine @ [x, y, z, 1])[:3]
        index = image.TransformPhysicalPointToIndex(place.tolist())
        assert image[index] == made.values[z, 0, x, y]
        assert np.allclose(image.TransformIndexToPhysicalPoint(index), place, atol=1e-3)


def test_files_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    keys = {"TemporalPositionIdentifier": [1, 2], "SliceLocation": SLICES}
    contents = []
    for seed in (None, 3):
        folder = tmp_path / str(seed)
        make_series(folder / "in", keys=keys, shuffle=seed)
        (file,) = series_of(folder / "in").export_as_nifti(folder / "out")
        contents.append(Path(file).read_bytes())
    assert contents[0] == contents[1]


# -- one file per kind -----------------------------------------------------------------------


def test_components_and_echoes_are_files_of_their_own(tmp_path: Path) -> None:
    def phase(dataset: Any, index: tuple[int, ...]) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "P" if index[2] else "M"]
        dataset.SeriesNumber, dataset.SeriesDescription = 7, "Field map: 3/4"

    made = make_series(
        tmp_path / "in", header=phase, bits_stored=12, geometry=AXIAL,
        keys={"SliceLocation": SLICES, "EchoTime": [2.3, 4.6], "AcquisitionNumber": [1, 2]},
    )  # fmt: skip
    files = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    names = ["e1", "e2", "e1_ph", "e2_ph"]
    assert [Path(file).name for file in files] == [f"7_Field_map__3_4_{n}.nii.gz" for n in names]
    for file, echo, part in zip(files, (0, 1, 0, 1), (0, 0, 1, 1), strict=True):
        found = voxels_at(nibabel.load(file), made.affine, (16, 12, 4))
        assert np.array_equal(found, np.moveaxis(made.values[:, echo, part, 0], 0, 2))
        beside = json.loads(Path(file.replace(".nii.gz", ".json")).read_text())
        assert beside["EchoTime"] == [0.0023, 0.0046][echo]
        assert beside["EchoNumber"] == echo + 1


def test_sizes_and_orientations_are_files_of_their_own(tmp_path: Path) -> None:
    for number, (geometry, shape) in enumerate(
        [(AXIAL, (16, 12)), (CORONAL, (16, 12)), (AXIAL, (8, 6))]
    ):
        make_series(
            tmp_path / "in", geometry=geometry, shape=shape, prefix=f"{number}_", seed=number,
            keys={"SliceLocation": SLICES}, header={"SeriesInstanceUID": "1.2", "StudyInstanceUID":
            "1.1", "PatientID": "1", "SeriesNumber": 1, "SeriesDescription": "scout"},
        )  # fmt: skip
    files = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    assert sorted(Path(file).name for file in files) == [
        "1_scout_axial_16x12.nii.gz", "1_scout_axial_8x6.nii.gz", "1_scout_coronal_16x12.nii.gz",
    ]  # fmt: skip


def test_an_instance_and_a_study_are_exported_too(tmp_path: Path) -> None:
    made = make_series(
        tmp_path / "in", keys={"SliceLocation": SLICES}, geometry=AXIAL, bits_stored=12
    )
    study = db.database(tmp_path / "in").studies()[0]
    (file,) = study.instances()[1].export_as_nifti(tmp_path / "one.nii")
    affine = made.affine @ [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    found = voxels_at(nibabel.load(file), affine, (16, 12, 1))
    assert np.array_equal(found[..., 0], made.values[1, 0])
    assert len(study.export_as_nifti(tmp_path / "out")) == 1


def test_series_of_several_patients_are_told_apart(tmp_path: Path) -> None:
    for name in "AB":
        header = {"PatientID": name, "SeriesNumber": 3, "SeriesDescription": "T1"}
        make_series(tmp_path / "in" / name, header=header, seed=ord(name))
    files = db.database(tmp_path / "in").export_as_nifti(tmp_path / "out")
    assert [Path(file).name for file in files] == ["A_3_T1.nii.gz", "B_3_T1.nii.gz"]


# -- diffusion -------------------------------------------------------------------------------


def test_gradients_stand_beside_the_volumes(tmp_path: Path) -> None:
    b_values = [0.0, 1000, 1000, 0]
    directions = np.array([[0, 0, 0], [1, 0, 0], [0, 0.6, 0.8], [0, 0, 0]])
    make_series(
        tmp_path / "in",
        keys={"SliceLocation": SLICES, "InstanceNumber": [1, 2, 3, 4]},
        geometry=OBLIQUE,
        per_frame={
            "DiffusionBValue": np.array(b_values)[None, :, None],
            "DiffusionGradientOrientation": directions[None, :, None, :],
        },
    )
    (file,) = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    start = file.removesuffix(".nii.gz")
    assert np.loadtxt(f"{start}.bval").tolist() == b_values
    axes = nibabel.load(file).affine[:3, :3] / OBLIQUE.spacing
    assert np.linalg.det(axes) < 0  # as radiologists look at them: no axis is counted backwards
    in_lps = (axes @ np.loadtxt(f"{start}.bvec")) * np.array([[-1], [-1], [1]])
    assert np.allclose(in_lps.T, directions, atol=1e-5)


def test_no_gradients_where_there_was_no_diffusion(tmp_path: Path) -> None:
    make_series(tmp_path / "in", per_frame={"DiffusionBValue": 0.0})
    series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".gz", ".json"}


def test_slices_of_several_b_values_are_no_volume(tmp_path: Path) -> None:
    made = {"DiffusionBValue": np.array([0.0, 500, 1000])[:, None]}
    make_series(tmp_path / "in", per_frame=made)
    with pytest.raises(GridError, match="do not have one b-value"):
        series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")


# -- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({"dtype": "uint16", "bits_stored": 12}, np.int16),
        ({"dtype": "uint16", "bits_stored": 16}, np.uint16),
        ({"dtype": "int16"}, np.int16),
        ({"dtype": "uint8"}, np.uint8),
        ({"dtype": "uint16", "bits_stored": 12, "slope": 0.37}, np.int16),
        ({"dtype": "uint16", "bits_stored": 12, "intercept": -1024}, np.int16),
        # Several slopes: no header can tell them.
        ({"bits_stored": 12, "slope": np.array([0.1, 0.2, 0.3])[:, None]}, np.float32),
        ({"bits_stored": 12, "slope": np.array([1, 2, 3])[:, None]}, np.uint16),
        # The header has slopes of 32 bits, which would cost these several steps.
        ({"dtype": "uint32", "slope": 0.1}, np.float64),
    ],
)
def test_the_type_holds_the_values(options: Any, dtype: Any, tmp_path: Path) -> None:
    made = make_series(tmp_path / "in", **options)
    (file,) = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    image = nibabel.load(file)
    assert image.get_data_dtype() == dtype
    found = voxels_at(image, made.affine, (16, 12, 3))
    truth = np.moveaxis(made.values[:, 0], 0, 2)
    assert found == pytest.approx(truth, rel=1e-6)


def test_stored_values_on_request(tmp_path: Path) -> None:
    made = make_series(tmp_path / "in", slope=0.5, intercept=3)
    (file,) = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out", rescale=False)
    found = voxels_at(nibabel.load(file), made.affine, (16, 12, 3))
    assert np.array_equal(found, np.moveaxis(made.pixels[:, 0], 0, 2))


def philips(dataset: Any, index: tuple[int, ...]) -> None:
    dataset.Manufacturer = "Philips Medical Systems"
    block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0E, "FL", 0.25)


def test_values_of_philips_are_those_of_the_reconstruction_unless_asked(tmp_path: Path) -> None:
    made = make_series(tmp_path / "in", slope=2, intercept=-10, bits_stored=12, header=philips)
    series = series_of(tmp_path / "in")
    for way, expected in (("float", made.values / (2 * 0.25)), ("display", made.values)):
        (file,) = series.export_as_nifti(tmp_path / way, philips=way)
        found = voxels_at(nibabel.load(file), made.affine, (16, 12, 3))
        assert found == pytest.approx(np.moveaxis(expected[:, 0], 0, 2))
        beside = json.loads(Path(file.replace(".nii.gz", ".json")).read_text())
        assert beside["UsePhilipsFloatNotDisplayScaling"] == (way == "float")
        assert beside["PhilipsScaleSlope"] == 0.25
    with pytest.raises(InvalidValue, match="philips"):
        series.export_as_nifti(tmp_path / "no", philips="other")


def test_colours_are_rgb(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 12, 16, 3), np.uint8)

    made = make_series(tmp_path / "in", dtype="uint8")
    for path, dataset, pixels in zip(made.files, made.datasets, colours, strict=True):
        dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "RGB", 3
        dataset.PlanarConfiguration, dataset.PixelData = 0, pixels.tobytes()
        dataset.save_as(path)
    (file,) = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    image = nibabel.load(file)
    assert int(image.header["datatype"]) == 128
    found = voxels_at(image, made.affine, (16, 12, 3))
    for channel, name in enumerate("RGB"):
        assert np.array_equal(found[name], colours[..., channel].transpose(2, 1, 0))


def test_images_without_a_place_say_so(tmp_path: Path) -> None:
    gone = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "SliceLocation": None}
    made = make_series(tmp_path / "in", header=gone, bits_stored=12)
    with pytest.warns(MixedGeometry, match="do not tell where"):
        (file,) = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    image = nibabel.load(file)
    assert image.shape == (16, 12, 1, 3)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (0, 0)
    assert image.header.get_zooms()[:2] == (1.5, 1.25)
    stored = np.asanyarray(image.dataobj)[:, ::-1, 0]
    assert np.array_equal(stored, np.moveaxis(made.values[:, 0], 0, 2))


# -- beside it -------------------------------------------------------------------------------


def test_nobody_is_named_unless_asked_for(tmp_path: Path) -> None:
    who = {"PatientName": "Doe^Jane", "PatientID": "4711", "PatientBirthDate": "19700102"}
    make_series(tmp_path / "in", header={**who, "RepetitionTime": 2500})
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "out")
    told = Path(file.replace(".nii.gz", ".json")).read_text() + str(
        gzip.decompress(Path(file).read_bytes())[:352]
    )
    assert not any(value in told for value in who.values())
    assert json.loads(Path(file.replace(".nii.gz", ".json")).read_text())["RepetitionTime"] == 2.5
    assert float(nibabel.load(file).header["pixdim"][4]) == 2.5
    (file,) = series.export_as_nifti(tmp_path / "named", identify=True)
    assert json.loads(Path(file.replace(".nii.gz", ".json")).read_text())["PatientID"] == "4711"
    series.export_as_nifti(tmp_path / "bare", sidecar=False)
    assert [path.suffix for path in (tmp_path / "bare").iterdir()] == [".gz"]


def test_slices_tell_when_they_were_acquired(tmp_path: Path) -> None:
    times = np.array([3600.0, 3601.0, 3600.5])[:, None]
    make_series(
        tmp_path / "in", per_frame={"AcquisitionTime": times},
        header={"MRAcquisitionType": "2D", "RepetitionTime": 2000},
    )  # fmt: skip
    (file,) = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    beside = json.loads(Path(file.replace(".nii.gz", ".json")).read_text())
    assert beside["SliceTiming"] == [0.0, 1.0, 0.5]


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keys": {"SliceLocation": [0, 5, 15]}}, "not evenly spaced.*10 mm"),
        (
            {"keys": {"SliceLocation": [0, 5], "TemporalPositionIdentifier": [1, 2]}, "drop": [3]},
            "do not make whole volumes",
        ),
        (
            {"per_frame": {"ImagePositionPatient": np.array(
                [[0, 0, 0], [0, 1, 5], [0, 2, 10]]
            )[:, None]}},
            "tilted gantry.*resampled",
        ),
        (
            {"keys": {"SliceLocation": [0, 5], "AcquisitionNumber": [1, 2]},
             "per_frame": {"ImagePositionPatient": np.array(
                [[[0, 0, 0], [30, 0, 0]], [[0, 0, 5], [30, 0, 5]]])[:, :, None]}},
            "30 mm apart in the plane",
        ),
    ],
)  # fmt: skip
def test_what_is_no_even_grid_is_refused_by_name(options: Any, says: str, tmp_path: Path) -> None:
    make_series(tmp_path / "in", header={"SeriesDescription": "odd one"}, **options)
    with pytest.raises(GridError, match=f"(?s)odd one.*{says}"):
        series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_database_exports_the_rest_and_names_what_it_cannot(tmp_path: Path) -> None:
    study = {"PatientID": "1", "StudyInstanceUID": "1.1"}
    good = {**study, "SeriesDescription": "good"}
    make_series(tmp_path / "in", header=good, seed=1, prefix="a")
    bad = {**study, "SeriesDescription": "bad"}
    make_series(tmp_path / "in", header=bad, seed=2, prefix="b", keys={"SliceLocation": [0, 1, 9]})
    with pytest.warns(LeftOut, match="1 series is not exported.*bad.*not evenly"):
        files = db.database(tmp_path / "in").export_as_nifti(tmp_path / "out")
    assert len(files) == 1
    assert "good" in files[0]


def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys={"SliceLocation": SLICES, "EchoTime": [2.0, 4.0]})
    series = series_of(tmp_path / "in")
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file, file / "below", file / "below.nii.gz"):
        with pytest.raises(NotAFolder):
            series.export_as_nifti(path, overwrite=True)
    with pytest.raises(InvalidValue, match=r"becomes 2: .*_e1\.nii\.gz, .*_e2\.nii\.gz"):
        series.export_as_nifti(tmp_path / "all.nii.gz")
    with pytest.raises(InvalidValue, match="path"):
        series.export_as_nifti("")
    assert file.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "in"]


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys={"SliceLocation": SLICES, "EchoTime": [2.0, 4.0]})
    series = series_of(tmp_path / "in")
    files = series.export_as_nifti(tmp_path / "out")
    beside = Path(files[1].replace(".nii.gz", ".json"))
    beside.write_text("mine")
    for path in files:
        os.remove(path)
    with pytest.raises(FileExistsError, match=r"Nothing was written.*overwrite=True"):
        series.export_as_nifti(tmp_path / "out")
    assert beside.read_text() == "mine"
    assert not any(Path(path).exists() for path in files)
    assert series.export_as_nifti(tmp_path / "out", overwrite=True) == files
    assert json.loads(beside.read_text())


def test_what_stood_beside_a_replaced_image_goes(tmp_path: Path) -> None:
    made = make_series(tmp_path / "in", per_frame={"DiffusionBValue": 500.0})
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "a.nii")
    assert sorted(path.suffix for path in tmp_path.glob("a.*")) == [".bval", ".json", ".nii"]
    (tmp_path / "a.txt").write_text("mine")
    series.DiffusionBValue = None
    assert series.export_as_nifti(tmp_path / "a.nii", overwrite=True) == [file]
    found = sorted(path.suffix for path in tmp_path.glob("a.*"))
    assert found == [".json", ".nii", ".txt"]
    assert made.files[0].exists()
    series.restore()


def test_a_name_without_a_folder_is_of_the_present_one(tmp_path: Path, monkeypatch: Any) -> None:
    make_series(tmp_path / "in")
    series = series_of(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    assert series.export_as_nifti("a.nii.gz") == ["a.nii.gz"]
    assert sorted(os.listdir()) == ["a.json", "a.nii.gz", "in"]


def test_objects_without_pixels_among_images_are_told(tmp_path: Path) -> None:
    made = make_series(tmp_path / "in")
    dataset = made.datasets[2]
    del dataset.PixelData
    dataset.save_as(made.files[2])
    with pytest.warns(LeftOut, match="1 object has no pixels"):
        (file,) = series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    assert nibabel.load(file).shape == (16, 12, 2)


def test_names_stay_in_the_folder(tmp_path: Path) -> None:
    for number, text in enumerate(["../../escaped", "..", "a/b\\c:d", "NUL", ""]):
        header = {"SeriesDescription": text, "SeriesNumber": None}
        make_series(tmp_path / "in" / str(number), header=header, seed=number)
    files = db.database(tmp_path / "in").export_as_nifti(tmp_path / "deep" / "out")
    assert len(files) == 5
    assert {Path(file).parent for file in files} == {tmp_path / "deep" / "out"}
    assert sorted(os.listdir(tmp_path)) == ["deep", "in"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: Any) -> None:
    make_series(tmp_path / "in", keys={"SliceLocation": SLICES})
    series = series_of(tmp_path / "in")
    series.export_as_nifti(tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    class Full:
        """A file on a disk that is full after the header."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def write(self, data: Any) -> int:
            if len(data) > 348:
                raise OSError(28, "No space left on device")
            return int(self._file.write(data))

    monkeypatch.setattr(nifti.gzip, "GzipFile", lambda *args, **kw: _Context(Full(args[3])))
    with pytest.raises(OSError, match="No space left"):
        series.export_as_nifti(tmp_path / "out", overwrite=True)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    with pytest.raises(OSError, match="No space left"):
        series.export_as_nifti(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


class _Context:
    def __init__(self, value: Any) -> None:
        self._value = value

    def __enter__(self) -> Any:
        return self._value

    def __exit__(self, *exc: Any) -> None:
        pass


def test_series_without_images_are_refused(tmp_path: Path) -> None:
    made = make_series(tmp_path / "in")
    for path, dataset in zip(made.files, made.datasets, strict=True):
        del dataset.PixelData
        dataset.save_as(path)
    with pytest.raises(PixelError, match="no images"):
        series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")


def test_empty_records_are_refused(tmp_path: Path) -> None:
    database = db.database(tmp_path / "in", create=True)
    with pytest.raises(GridError, match="holds no series"):
        database.export_as_nifti(tmp_path / "out")
    series = database.new_series(SeriesDescription="new")
    for record in (series, database):
        with pytest.raises(PixelError, match=r"new.*no images"):
            record.export_as_nifti(tmp_path / "out")
    database.close(save=False)


def test_damaged_pixels_leave_no_file(tmp_path: Path) -> None:
    made = make_series(tmp_path / "in", keys={"SliceLocation": SLICES})
    made.files[3].write_bytes(made.files[3].read_bytes()[:-50])
    with warnings.catch_warnings(), pytest.raises(PixelError, match="too early"):
        warnings.simplefilter("ignore")
        series_of(tmp_path / "in").export_as_nifti(tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- memory ----------------------------------------------------------------------------------


def test_frames_are_read_block_by_block(tmp_path: Path, monkeypatch: Any) -> None:
    class Watched:
        """Frames that note how many are read at a time."""

        shape, dtype = (3, 10, 16, 12), np.dtype(np.int16)
        sizes: list[int]

        def __init__(self) -> None:
            self.sizes = []

        def __getitem__(self, key: Any) -> Any:
            block = np.arange(np.prod(self.shape), dtype=np.int16).reshape(self.shape)[key]
            self.sizes.append(len(block))
            return block

    frames = Watched()
    monkeypatch.setattr(nifti, "_BLOCK", 4 * 16 * 12 * 2)
    image = nifti.NiftiImage(frames, np.eye(4), np.dtype(np.int16))
    done: list[int] = []
    with open(tmp_path / "a.nii", "wb") as file:
        nifti.write_image(image, file, compressed=False, advance=done.append)
    assert frames.sizes == done == [4, 4, 2] * 3
    found = np.asanyarray(nibabel.load(tmp_path / "a.nii").dataobj)
    assert np.array_equal(found[:, ::-1].transpose(3, 2, 0, 1), frames[:])
