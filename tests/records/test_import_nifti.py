"""``import_nifti``: files that nibabel made, judged by nibabel, SimpleITK and what was exported."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff

import dbdicom_xr as db
from dbdicom_xr.errors import DicomWarning, GridError, InvalidValue, PixelError
from dbdicom_xr.testing import Geometry, make_enhanced, make_mosaic, make_series
from tests.emit.judges import errors_of, new_errors

AXIAL = Geometry((1.5, 1.25, 4), (1, 0, 0, 0, 1, 0), (-20, -30, 40))
SAGITTAL = Geometry((1.5, 1.25, 4), (0, 1, 0, 0, 0, -1), (-20, -30, 40))
CORONAL = Geometry((1.5, 1.25, 4), (1, 0, 0, 0, 0, -1), (-20, -30, 40))
OBLIQUE = Geometry((1.5, 1.25, 4), (0.8, 0.6, 0, 0, 0, -1), (-20, -30, 40))
BACKWARDS = Geometry((1.5, 1.25, 4), (-1, 0, 0, 0, 1, 0), (20, -30, 40))
GEOMETRIES = [AXIAL, SAGITTAL, CORONAL, OBLIQUE, BACKWARDS]
SLICES = [0.0, 4.0, 8.0, 12.0]
MAKERS: dict[str, Any] = {"classic": make_series, "enhanced": make_enhanced, "mosaic": make_mosaic}
RAS = np.diag([-1.0, -1, 1, 1])
SAID = [
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "EchoTime",
    "RepetitionTime", "FlipAngle", "TemporalPositionIdentifier", "AcquisitionTime", "b_value",
    "gradient_direction", "FrameOfReferenceUID", "PatientID", "StudyInstanceUID",
]  # fmt: skip


def series_of(folder: Path) -> Any:
    (series,) = db.database(folder).series()
    return series


def assert_same(new: Any, series: Any, *dims: str) -> None:
    """Compare pixels and header of two series, image by image."""
    array, header = new.array(["SliceLocation", *dims])
    expected, theirs = series.array(["SliceLocation", *dims])
    assert array.dims == expected.dims
    assert np.array_equal(array.values, expected.values, equal_nan=array.dtype.kind == "f")
    for name in SAID:
        assert header.column(name).tolist() == theirs.column(name).tolist(), name


def write(path: Path, voxels: Any, affine: Any = None) -> Path:
    """Write a NIfTI file; without an affine with one that tells no place."""
    image = nibabel.Nifti1Image(voxels, affine)
    image.to_filename(path)
    return path


def values_at(series: Any, places: Any) -> Any:
    """Return the values of a series at places in the patient (RAS, mm), shape (3, places)."""
    array, affine = series.volume(space="RAS")
    index = np.linalg.solve(affine, np.vstack([places, np.ones(places.shape[1])]))[:3]
    assert np.allclose(index, np.round(index), atol=1e-3)
    return array.values[tuple(np.round(index).astype(int))]


def places_of(image: Any) -> Any:
    index = np.indices(image.shape[:3]).reshape(3, -1)
    return (image.affine @ np.vstack([index, np.ones(index.shape[1])]))[:3]


# -- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "geometry"),
    [*(("classic", geometry) for geometry in GEOMETRIES),
     ("enhanced", CORONAL), ("enhanced", BACKWARDS), ("mosaic", SAGITTAL), ("mosaic", OBLIQUE)],
)  # fmt: skip
def test_what_was_exported_comes_back_as_it_was(
    kind: str, geometry: Geometry, tmp_path: Path
) -> None:
    time = "TemporalPositionIndex" if kind == "enhanced" else "TemporalPositionIdentifier"
    MAKERS[kind](
        tmp_path / "in", keys={"SliceLocation": SLICES, time: [1, 2, 3]},
        geometry=geometry, slope=2, intercept=-100, bits_stored=12,
    )  # fmt: skip
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "out")
    new = series.import_nifti(file, template=series)
    assert_same(new, series, "TemporalPositionIdentifier")
    assert new.parent == series.parent
    assert new.SeriesDescription == series.SeriesDescription


def test_slopes_of_each_image_come_back(tmp_path: Path) -> None:
    slopes = np.linspace(0.1, 0.7, 4)[:, None]
    make_series(
        tmp_path / "in", keys={"SliceLocation": SLICES}, slope=slopes, intercept=-3.7,
        bits_stored=12,
    )  # fmt: skip
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "out")
    assert nibabel.load(file).get_data_dtype() == np.float32
    new = series.import_nifti(file, template=series)
    stored = [one.array("SliceLocation", rescale=False)[0].values for one in (new, series)]
    assert np.array_equal(*stored)
    assert_same(new, series)


def test_a_decimal_slope_is_the_decimal_again(tmp_path: Path) -> None:
    make_series(
        tmp_path / "in", keys={"SliceLocation": SLICES}, slope=0.1, intercept=0, bits_stored=12
    )
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "out")
    assert nibabel.load(file).get_data_dtype() == np.int16
    new = series.import_nifti(file, template=series)
    assert new.RescaleSlope == [0.1]
    stored = [one.array("SliceLocation", rescale=False)[0].values for one in (new, series)]
    assert np.array_equal(*stored)
    assert_same(new, series)


@pytest.mark.parametrize("geometry", [AXIAL, OBLIQUE])
def test_axes_may_be_swapped_and_reversed(geometry: Geometry, tmp_path: Path) -> None:
    keys = {"SliceLocation": SLICES, "TemporalPositionIdentifier": [1, 2]}
    make_series(tmp_path / "in", keys=keys, geometry=geometry, bits_stored=12)
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "out")
    image = nibabel.load(file)
    voxels = np.asanyarray(image.dataobj)
    signs = itertools.cycle([(1, 1, 1), (-1, 1, -1), (1, -1, 1), (-1, -1, 1)])
    turns = zip(itertools.permutations(range(3)), signs, strict=False)
    for number, (axes, flips) in enumerate(turns):
        orientation = np.array(list(zip(axes, flips, strict=True)))
        turned = apply_orientation(voxels, orientation)
        affine = image.affine @ inv_ornt_aff(orientation, image.shape[:3])
        name = tmp_path / f"{number}.nii"
        nibabel.Nifti1Image(turned, affine).to_filename(name)
        assert_same(series.import_nifti(name, series), series, "TemporalPositionIdentifier")
    canonical = nibabel.as_closest_canonical(image)
    canonical.to_filename(tmp_path / "ras.nii.gz")
    new = series.import_nifti(tmp_path / "ras.nii.gz", template=series)
    assert_same(new, series, "TemporalPositionIdentifier")


def test_echoes_and_phases_are_told_by_their_names_and_side_cars(tmp_path: Path) -> None:
    def phase(dataset: Any, index: tuple[int, ...]) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "P" if index[2] else "M"]

    keys = {"SliceLocation": SLICES, "EchoTime": [2.3, 4.6], "AcquisitionNumber": [1, 2]}
    make_series(tmp_path / "in", keys=keys, header=phase, bits_stored=12)
    series = series_of(tmp_path / "in")
    files = series.export_as_nifti(tmp_path / "out")
    assert len(files) == 4
    for number, file in enumerate(files):
        for name in (None, "renamed"):
            if name is not None:
                for ending in (".nii.gz", ".json"):
                    beside = file.replace(".nii.gz", ending)
                    os.replace(beside, tmp_path / f"{name}{ending}")
                file = str(tmp_path / f"{name}.nii.gz")
                beside = Path(file.replace(".nii.gz", ".json"))
                said = json.loads(beside.read_text())
                said["ImageType"].append("MAGNITUDE" if number < 2 else "PHASE")  # as dcm2niix
                beside.write_text(json.dumps(said))
            new = series.import_nifti(file, template=series)
            assert new.EchoTime == [[2.3, 4.6, 2.3, 4.6][number]]
            assert new.image_type == [["MAGNITUDE", "MAGNITUDE", "PHASE", "PHASE"][number]]
            assert new.SeriesDescription == ([name] if name else series.SeriesDescription)
        os.remove(tmp_path / "renamed.json")
    # Nothing tells which it was: it says what all of them do.
    new = series.import_nifti(tmp_path / "renamed.nii.gz", template=series)
    assert new.EchoTime == []
    assert new.RepetitionTime == series.RepetitionTime
    assert len(new.instances()) == 4


def test_one_volume_on_several_says_what_they_have_in_common(tmp_path: Path) -> None:
    keys = {"SliceLocation": SLICES, "TemporalPositionIdentifier": [1, 2, 3]}
    make_series(tmp_path / "in", keys=keys, geometry=OBLIQUE, bits_stored=12)
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "out")
    image = nibabel.load(file)
    mean = nibabel.Nifti1Image(image.get_fdata().mean(-1), image.affine)
    mean.to_filename(tmp_path / "mean.nii.gz")
    new = series.import_nifti(tmp_path / "mean.nii.gz", template=series)
    assert new.TemporalPositionIdentifier == []
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "EchoTime"):
        assert new[name] == series[name]
    found, header = new.array("SliceLocation")
    expected = series.array(["SliceLocation", "TemporalPositionIdentifier"])[0]
    assert np.allclose(found, expected.mean("TemporalPositionIdentifier"), atol=0.05)
    sources = header[0, 0].SourceImageSequence
    assert {one.ReferencedSOPInstanceUID for one in sources} == {
        one.SOPInstanceUID for one in series.instances(SliceLocation=0)
    }
    assert new.SeriesDescription == ["mean"]
    # A header, or a list of instances, chooses the frames.
    for template in (
        series.array(["SliceLocation", "TemporalPositionIdentifier"])[1][:, 1],
        series.instances(TemporalPositionIdentifier=2),
    ):
        new = series.import_nifti(tmp_path / "mean.nii.gz", template)
        assert new.TemporalPositionIdentifier == [2]


def test_other_volumes_than_those_of_the_template_are_told(tmp_path: Path) -> None:
    keys = {"SliceLocation": SLICES, "TemporalPositionIdentifier": [1, 2, 3]}
    make_series(tmp_path / "in", keys=keys, bits_stored=12)
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "out")
    image = nibabel.load(file)
    maps = nibabel.Nifti1Image(image.get_fdata()[..., :2].astype(np.int16), image.affine)
    maps.to_filename(tmp_path / "maps.nii")
    with pytest.warns(DicomWarning, match="has 2 volumes, and .* 3"):
        new = series.import_nifti(tmp_path / "maps.nii", template=series)
    assert new.TemporalPositionIdentifier == []
    assert new.array("SliceLocation")[0].sizes["n"] == 2


def test_slices_of_a_part_and_of_a_tilted_stack_are_found(tmp_path: Path) -> None:
    def tilt(dataset: Any, index: tuple[int, ...]) -> None:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y + 2 * index[0], z]

    make_series(tmp_path / "in", keys={"SliceLocation": SLICES}, header=tilt, bits_stored=12)
    series = series_of(tmp_path / "in")
    with pytest.warns(DicomWarning, match="shifted"):
        array, affine = series.volume(space="RAS")
    nibabel.Nifti1Image(array.values, affine).to_filename(tmp_path / "a.nii")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "sform|.*qform")
        new = series.import_nifti(tmp_path / "a.nii", template=series)
        assert_same(new, series)
        part = nibabel.Nifti1Image(array.values[..., 1:3], affine @ _moved(2, 1))
        part.to_filename(tmp_path / "b.nii")
        new = series.import_nifti(tmp_path / "b.nii", template=series)
    assert new.SliceLocation == [4.0, 8.0]
    assert new.ImagePositionPatient == series.ImagePositionPatient[1:3]


def _moved(axis: int, steps: float) -> Any:
    matrix = np.eye(4)
    matrix[axis, 3] = steps
    return matrix


def test_colours_come_back(tmp_path: Path) -> None:
    series = db.series(
        np.random.default_rng(1).integers(0, 256, (3, 6, 5, 3), np.uint8), dtype="sc",
        dims=["SliceLocation"], coords={"SliceLocation": [0.0, 2.0, 4.0]},
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (file,) = series.export_as_nifti(tmp_path / "out")
        new = series.import_nifti(file, template=series)
    assert nibabel.load(file).get_data_dtype().names == ("R", "G", "B")
    assert np.array_equal(new.array()[0].values, series.array()[0].values)
    series.database.close(save=False)


def test_images_without_a_place_come_back(tmp_path: Path) -> None:
    def unplaced(dataset: Any, index: tuple[int, ...]) -> None:
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient

    make_series(tmp_path / "in", n=3, header=unplaced, keys={}, bits_stored=12)
    series = series_of(tmp_path / "in")
    with pytest.warns(DicomWarning, match="do not tell where"):
        (file,) = series.export_as_nifti(tmp_path / "out")
    new = series.import_nifti(file, template=series)
    assert np.array_equal(new.array()[0].values, series.array()[0].values)
    with pytest.warns(DicomWarning, match="Left and right may be wrong"):
        new = series.import_nifti(file)
    assert np.array_equal(new.array()[0].values, series.array()[0].values)


# -- where it lies -------------------------------------------------------------------------------


@st.composite
def affines(draw: Any) -> Any:
    """Draw affines to RAS: any rotation, any order and direction of the axes."""
    number = st.floats(-1, 1, allow_nan=False)
    quaternion = np.array([draw(number) for _ in range(4)])
    length = np.linalg.norm(quaternion)
    quaternion = quaternion / length if length > 0.1 else np.array([1.0, 0, 0, 0])
    sizes = [draw(st.floats(0.3, 6)) * draw(st.sampled_from([-1, 1])) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = nibabel.quaternions.quat2mat(quaternion) @ np.diag(sizes)
    affine[:3, 3] = [draw(st.floats(-300, 300)) for _ in range(3)]
    return affine


@given(affine=affines(), units=st.sampled_from([("mm", 1), ("meter", 1000), ("micron", 0.001)]))
@settings(max_examples=12)
def test_every_voxel_lies_where_nibabel_says(affine: Any, units: Any) -> None:
    import tempfile

    name, factor = units
    voxels = np.random.default_rng(0).integers(-1000, 1000, (5, 4, 3), np.int16)
    with tempfile.TemporaryDirectory() as folder:
        scale = np.diag([1 / factor] * 3 + [1])
        image = nibabel.Nifti1Image(voxels, scale @ affine)
        image.header.set_xyzt_units(name)
        image.to_filename(f"{folder}/a.nii")
        database = db.database()
        series = database.import_nifti(f"{folder}/a.nii")
        stored = nibabel.Nifti1Image(voxels, affine)
        assert np.array_equal(values_at(series, places_of(stored)), voxels.ravel())
        _, found = series.volume(space="RAS")
        directions = {tuple(np.abs(np.round(column, 3))) for column in found[:3, :3].T}
        assert directions == {tuple(np.abs(np.round(column, 3))) for column in affine[:3, :3].T}
        database.close(save=False)


@pytest.mark.parametrize("code", ["RAS", "LAS", "LPS", "PSR", "SAL", "IPL", "ARI"])
def test_images_stand_upright_in_a_viewer(code: str, tmp_path: Path) -> None:
    axes = nibabel.orientations.axcodes2ornt(code)
    affine = np.zeros((4, 4))
    for axis, (to, sign) in enumerate(axes):
        affine[int(to), axis] = 2 * sign
    affine[3, 3] = 1
    voxels = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    database = db.database()
    series = database.import_nifti(write(tmp_path / "a.nii", voxels, affine))
    (directions,) = series.ImageOrientationPatient
    normal = int(np.abs(affine[:3, 2]).argmax())
    assert directions == [[0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1], [1, 0, 0, 0, 1, 0]][normal]
    locations = [one.SliceLocation for one in series.instances()]
    assert locations == sorted(locations)
    image = nibabel.load(tmp_path / "a.nii")
    assert np.array_equal(values_at(series, places_of(image)), voxels.ravel())
    database.close(save=False)


@pytest.mark.parametrize("code", ["RAS", "LPS", "PSR", "SAL"])
def test_itk_reads_the_same_places_from_both(code: str, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    voxels = np.random.default_rng(2).integers(0, 4000, (7, 6, 5), np.int16)
    affine = np.eye(4)
    affine[:3, :3] = nibabel.eulerangles.euler2mat(0.1, 0.2, -0.3) @ np.diag([1.5, 2, 4])
    affine[:3, 3] = [10, -20, 30]
    image = nibabel.Nifti1Image(voxels, affine)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(code)
    )
    image.as_reoriented(turn).to_filename(tmp_path / "a.nii.gz")
    database = db.database()
    files = database.import_nifti(tmp_path / "a.nii.gz").save(tmp_path / "dicom")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(os.path.dirname(files[0]))
    read, original = sitk.ReadImage(names), sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    for index in itertools.product((0, 3, 4), repeat=3):
        place = original.TransformIndexToPhysicalPoint(index)
        there = read.TransformPhysicalPointToIndex(place)
        assert read[there] == original[index]
        assert np.allclose(read.TransformIndexToPhysicalPoint(there), place, atol=1e-3)
    assert sorted(np.round(read.GetSpacing(), 4)) == sorted(np.round(original.GetSpacing(), 4))
    assert {str(file): errors_of(file) for file in files if errors_of(file)} == {}
    database.close(save=False)


def test_another_grid_lies_where_the_file_says(tmp_path: Path) -> None:
    make_series(
        tmp_path / "in", keys={"SliceLocation": SLICES, "FlipAngle": [5, 10]}, bits_stored=12
    )
    series = series_of(tmp_path / "in")
    affine = RAS @ np.array([[3.0, 0, 0, -18], [0, -3, 0, 10], [0, 0, 2, 41], [0, 0, 0, 1]])
    voxels = np.arange(8 * 7 * 6 * 2, dtype=np.int16).reshape(8, 7, 6, 2)
    file = write(tmp_path / "a.nii.gz", voxels, affine)
    with pytest.warns(DicomWarning, match="lies on another grid"):
        new = series.import_nifti(file, template=series)
    assert new.FrameOfReferenceUID == series.FrameOfReferenceUID
    assert new.FlipAngle == [5, 10]  # as many volumes: each is one of those
    assert new.EchoTime == series.EchoTime
    assert new.PixelSpacing == [[3.0, 3.0]]
    array, found = new.volume(FlipAngle=10, space="RAS")
    index = np.linalg.solve(found, affine @ [3, 2, 5, 1])[:3]
    assert array.values[tuple(np.round(index).astype(int))] == voxels[3, 2, 5, 1]
    with pytest.warns(DicomWarning, match="lies on another grid"):
        one = series.import_nifti(write(tmp_path / "b.nii", voxels[..., 0], affine), series)
    assert one.FlipAngle == []
    with pytest.warns(DicomWarning, match="lies on another grid"):
        other = db.database().import_nifti(file, series)
    assert other.FrameOfReferenceUID != series.FrameOfReferenceUID  # another patient
    other.database.close(save=False)


def test_sform_counts_before_qform(tmp_path: Path) -> None:
    voxels = np.zeros((4, 4, 4), np.int16)
    image = nibabel.Nifti1Image(voxels, np.diag([2.0, 2, 2, 1]))
    image.set_qform(np.diag([3.0, 3, 3, 1]), code=1)
    image.set_sform(np.diag([2.0, 2, 2, 1]), code=4)
    image.to_filename(tmp_path / "a.nii")
    database = db.database()
    with pytest.warns(DicomWarning, match=r"sform \(code 4\) and qform \(code 1\)"):
        assert database.import_nifti(tmp_path / "a.nii").PixelSpacing == [[2.0, 2.0]]
    image.set_sform(None)
    image.to_filename(tmp_path / "b.nii")
    assert database.import_nifti(tmp_path / "b.nii").PixelSpacing == [[3.0, 3.0]]
    database.close(save=False)


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "exact"),
    [
        (np.uint8, 1, 0, True), (np.int16, 1, 0, True), (np.uint16, 1, 0, True),
        (np.int16, 2, -1000, True), (np.int32, 1, 0, True), (np.int16, 0.1, 0, False),
        (np.float32, 1, 0, False), (np.float64, 1, 0, False), (">i2", 1, 0, True),
        (np.int8, 1, 0, True), (np.float32, 2.5, 1, False),
    ],
)  # fmt: skip
def test_values_are_those_of_nibabel(
    stored: Any, slope: float, intercept: float, exact: bool, tmp_path: Path
) -> None:
    voxels = np.random.default_rng(3).integers(0, 120, (5, 4, 3)).astype(stored)
    if voxels.dtype.kind == "f":
        voxels = voxels / 7
        voxels[1, 1, 1] = np.nan
    image = nibabel.Nifti1Image(voxels, np.eye(4), dtype=voxels.dtype)
    image.header.set_slope_inter(slope, intercept)
    header = image.header.as_byteswapped(">") if str(stored).startswith(">") else image.header
    nibabel.Nifti1Image(voxels, np.eye(4), header).to_filename(tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    order = ">" if header.endianness == ">" else "<"
    raw[112:120] = np.array([slope, intercept], f"{order}f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    read = nibabel.load(tmp_path / "a.nii")
    truth = read.get_fdata()
    database = db.database()
    found = values_at(database.import_nifti(tmp_path / "a.nii"), places_of(read))
    if exact:
        assert found.dtype.kind in "iu"
        assert np.array_equal(found, truth.ravel())
    else:
        step = (np.nanmax(truth) - np.nanmin(truth)) / 65534
        assert np.allclose(found, truth.ravel(), rtol=1e-6, atol=0.51 * step, equal_nan=True)
    database.close(save=False)


def test_a_pair_and_nifti_2_are_read(tmp_path: Path) -> None:
    voxels = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    affine = np.diag([2.0, 3, 4, 1])
    nibabel.Nifti1Pair(voxels, affine).to_filename(tmp_path / "pair.img")
    nibabel.Nifti2Image(voxels, affine).to_filename(tmp_path / "two.nii.gz")
    nibabel.Nifti1Pair(voxels, affine).to_filename(tmp_path / "packed.img.gz")
    database = db.database()
    series = database.import_nifti(tmp_path)
    assert [one.SeriesDescription.item() for one in series] == ["packed", "pair", "two"]
    assert len(database.studies()) == 1
    image = nibabel.load(tmp_path / "two.nii.gz")
    for one in series:
        assert np.array_equal(values_at(one, places_of(image)), voxels.ravel())
    database.close(save=False)


# -- what stands beside it -----------------------------------------------------------------------


def test_a_side_car_speaks_where_there_is_no_template(tmp_path: Path) -> None:
    keys = {"SliceLocation": SLICES}
    make_series(tmp_path / "in", keys=keys, bits_stored=12)
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "out", identify=True)
    database = db.database()
    new = database.import_nifti(file, PatientID="Volunteer", FlipAngle=33)
    for name in (
        "EchoTime", "RepetitionTime", "SeriesDescription", "Modality", "MagneticFieldStrength",
        "Manufacturer", "SliceThickness", "ProtocolName",
    ):  # fmt: skip
        assert new[name] == series[name], name
    assert new.FlipAngle == [33]  # what is given wins
    assert new.PatientID == ["Volunteer"]
    assert new.PatientName == []
    assert errors_of(new.save(tmp_path / "saved")[0]) == set()
    with open(file.replace(".nii.gz", ".json"), "w") as beside:
        beside.write('{"EchoTime": [1, 2], "FlipAngle": "x", "Modality": "CT"}')
    new = database.import_nifti(file)
    assert new.EchoTime == []
    assert new.Modality == ["CT"]
    assert errors_of(new.save(tmp_path / "ct")[0]) == set()
    database.close(save=False)


@pytest.mark.parametrize("geometry", [AXIAL, OBLIQUE, BACKWARDS])
def test_gradients_come_back_into_the_patient(geometry: Geometry, tmp_path: Path) -> None:
    directions = [None, [0.6, 0.8, 0.0], [0.0, -0.6, 0.8]]

    def weight(dataset: Any, index: tuple[int, ...]) -> None:
        dataset.DiffusionBValue = [0.0, 1000.0, 1000.0][index[1]]
        if directions[index[1]] is not None:
            dataset.DiffusionGradientOrientation = directions[index[1]]

    keys = {"SliceLocation": SLICES, "AcquisitionNumber": [1, 2, 3]}
    make_series(tmp_path / "in", keys=keys, geometry=geometry, header=weight, bits_stored=12)
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "out")
    image = nibabel.load(file)
    turned = image.as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
    database = db.database()
    beside = {"bval": file.replace(".nii.gz", ".bval"), "bvec": file.replace(".nii.gz", ".bvec")}
    for new in (
        database.import_nifti(file),
        series.import_nifti(file, template=series),
        series.import_nifti(file, series, bval=[0, 1000, 1000], bvec=beside["bvec"]),
    ):
        _, header = new.array(["b_value", "gradient_direction", "SliceLocation"][2])
        found = header.reshape(4, 3)
        for volume, direction in enumerate(directions):
            one = found[2, volume]
            assert one.b_value == [0, 1000, 1000][volume]
            if direction is None:
                assert one.gradient_direction is None
            else:
                assert np.allclose(one.gradient_direction, direction, atol=1e-5)
    # Other directions than those of the template are those of the file.
    turned.to_filename(tmp_path / "turned.nii.gz")
    table = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0.0]])
    new = series.import_nifti(tmp_path / "turned.nii.gz", series, bval=[0, 500, 600], bvec=table)
    assert new.b_value == [0, 500, 600]
    affine = RAS @ turned.affine
    along = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    sign = -1 if np.linalg.det(turned.affine) > 0 else 1
    assert np.allclose(new.instances(b_value=500)[0].gradient_direction, sign * along, atol=1e-5)
    again = new.export_as_nifti(tmp_path / "again")[0]
    assert np.allclose(np.loadtxt(again.replace(".nii.gz", ".bval")), [0, 500, 600])
    database.close(save=False)


def test_volumes_in_time_are_numbered(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 4, 3, 5), np.int16), np.eye(4))
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4] = 2500
    image.to_filename(tmp_path / "a.nii")
    database = db.database()
    new = database.import_nifti(tmp_path / "a.nii")
    assert new.TemporalPositionIdentifier == [1, 2, 3, 4, 5]
    assert new.RepetitionTime == [2500]
    database.close(save=False)


# -- where it goes -------------------------------------------------------------------------------


def test_it_comes_into_the_study_of_the_record_or_of_the_template(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys={"SliceLocation": SLICES}, bits_stored=12)
    series = series_of(tmp_path / "in")
    database = series.database
    (file,) = series.export_as_nifti(tmp_path / "out", sidecar=False)
    for record in (database, series.parent.parent, series.parent, series, series.instances()[0]):
        assert record.import_nifti(file, template=series).parent == series.parent
    for record in (series.parent, series, series.instances()[0]):
        assert record.import_nifti(file).parent == series.parent
    assert series.parent.parent.import_nifti(file).parent.parent == series.parent.parent
    assert len(series.parent.parent.studies()) == 2
    assert len(database.patients()) == 1
    many = database.import_nifti([file, file])
    assert many[0].parent == many[1].parent
    assert len(database.patients()) == 2
    database.restore()
    assert len(database.series()) == 1


# -- what cannot be ------------------------------------------------------------------------------


def shear() -> Any:
    affine = np.eye(4)
    affine[0, 1] = 0.2
    return affine


def test_what_is_wrong_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys={"SliceLocation": SLICES}, bits_stored=12)
    series = series_of(tmp_path / "in")
    good = tmp_path / "good.nii"
    write(good, np.zeros((4, 4, 4), np.int16), np.eye(4))
    big = np.random.default_rng(4).integers(0, 999, (40, 40, 20), np.int16)
    whole = write(tmp_path / "whole.nii.gz", big, np.eye(4)).read_bytes()
    (tmp_path / "short.nii.gz").write_bytes(whole[:-2000])
    (tmp_path / "cut.nii").write_bytes(gzip.decompress(whole)[:-10])
    (tmp_path / "text.nii").write_text("no image " * 100)
    (tmp_path / "plain.nii.gz").write_bytes(good.read_bytes())
    (tmp_path / "empty.nii").write_bytes(b"")
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    (tmp_path / "half.hdr").write_bytes(good.read_bytes()[:348])
    write(tmp_path / "complex.nii", np.zeros((4, 4, 4), np.complex64), np.eye(4))
    write(tmp_path / "vector.nii", np.zeros((4, 4, 4, 1, 3), np.float32), np.eye(4))
    write(tmp_path / "shear.nii", np.zeros((4, 4, 4), np.int16), shear())
    write(tmp_path / "infinite.nii", np.full((4, 4, 4), np.inf, np.float32), np.eye(4))
    write(tmp_path / "unplaced.nii", np.zeros((4, 4, 4), np.int16))
    rgba = np.zeros((4, 4, 4), [(part, "u1") for part in "RGBA"])
    write(tmp_path / "rgba.nii", rgba, np.eye(4))
    nibabel.AnalyzeImage(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_filename(tmp_path / "old.hdr")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "bad_json.json").write_text("{")
    write(tmp_path / "bad_json.nii", np.zeros((4, 4, 4), np.int16), np.eye(4))
    cases: list[tuple[str, Any, str]] = [
        ("short.nii.gz", PixelError, "Copy it again"),
        ("cut.nii", PixelError, "not all there"),
        ("text.nii", InvalidValue, "cannot be read as NIfTI"),
        ("plain.nii.gz", PixelError, "damaged"),
        ("empty.nii", InvalidValue, "cannot be read as NIfTI"),
        ("empty.nii.gz", (InvalidValue, PixelError), "empty"),
        ("half.hdr", InvalidValue, "half of a pair"),
        ("complex.nii", InvalidValue, "np.abs"),
        ("vector.nii", InvalidValue, "several numbers at each voxel"),
        ("shear.nii", GridError, "resample_to_output"),
        ("infinite.nii", InvalidValue, "infinite"),
        ("rgba.nii", InvalidValue, "RGBA32"),
        ("old.hdr", InvalidValue, "no NIfTI image but"),
        ("folder", InvalidValue, "holds no NIfTI files"),
        ("missing.nii", InvalidValue, "There is no file"),
        ("a.txt", InvalidValue, "no NIfTI file"),
        ("bad_json.nii", InvalidValue, "side-car"),
    ]
    for name, kind, words in cases:
        for path in (tmp_path / name, [good, tmp_path / name]):
            with pytest.raises(kind, match=words) as caught:
                series.database.import_nifti(path)
            named = name if name != "bad_json.nii" else "bad_json.json"
            assert named in str(caught.value), name
            assert series.database.series() == [series], name
            assert series.database.changes().empty, name
    for template, words in (
        ("T1", "template is"),
        (series.parent, "template is"),
        ([], "no frames"),
    ):
        with pytest.raises(InvalidValue, match=words):
            series.import_nifti(good, template=template)
    with pytest.raises(GridError, match="set_sform"):
        series.import_nifti(tmp_path / "unplaced.nii", template=series)
    with pytest.raises(InvalidValue, match="1 by 1 are needed"):
        series.import_nifti(good, bval=[0, 1])
    with pytest.raises(InvalidValue, match="no b-values"):
        series.import_nifti(good, bvec=[1, 0, 0])
    with pytest.raises(InvalidValue, match="follows from the array"):
        series.import_nifti(good, Rows=4)
    with pytest.raises(InvalidValue, match="one by one"):
        series.import_nifti([good, good], bval=[0])
    assert series.database.changes().empty


def test_a_derived_image_has_no_error_that_its_source_has_not(tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys={"SliceLocation": SLICES}, bits_stored=12)
    series = series_of(tmp_path / "in")
    (file,) = series.export_as_nifti(tmp_path / "out")
    new = series.import_nifti(file, template=series)
    saved = new.save(tmp_path / "saved")
    assert new_errors(saved[0], series.instances()[0].file) == set()


# -- scanner files -------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["uih", "ge", "philips_enh", "mosaic"])
def test_scanner_files_come_back(folder: str, testdata: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        database = db.database(testdata / folder, index=tmp_path / "index")
    database.mute()
    series = database.series()[0]
    files = series.export_as_nifti(tmp_path / "out", philips="display")
    names = ("ImagePositionPatient", "ImageOrientationPatient", "EchoTime", "AcquisitionTime")
    said, expected, total = [], [], 0.0
    for file in files:
        new = series.import_nifti(file, template=series)
        array, header = new.array()
        said += zip(*[map(str, header.column(name)) for name in names], strict=True)
        total += float(array.sum())
    array, header = series.array()
    expected += zip(*[map(str, header.column(name)) for name in names], strict=True)
    assert sorted(said) == sorted(expected)
    assert np.isclose(total, float(array.sum()), rtol=1e-6)
    database.restore()
    database.close(save=False)
