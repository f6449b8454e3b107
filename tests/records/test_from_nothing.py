"""Series from nothing: images of one value, and arrays without a source."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pydicom
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import DicomWarning, InvalidValue, LayoutError, UnknownKeyword
from dbdicom_xr.records.database import Database
from dbdicom_xr.testing import make_series
from tests.emit.judges import dcmdump_ok, errors_of, gdcm_pixels, sitk_pixels

KINDS = {"mri": "MR", "ct": "CT", "pet": "PT", "sc": "OT"}


@pytest.fixture
def database() -> Iterator[Database]:
    made = db.database()
    yield made
    made.close(save=False)


def saved(series: Any, folder: Path) -> list[pydicom.FileDataset]:
    return [pydicom.dcmread(path) for path in series.save(folder)]


# -- images of one value -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0, 1, 3.7, -5.25, 1e-7, 123456.0])
def test_the_value_comes_back_staged_and_saved(
    database: Database, tmp_path: Path, kind: str, value: float
) -> None:
    series = database.full((3, 8, 6), value, dtype=kind)
    array, header = series.array()
    assert array.dims == ("n", "x", "y")
    assert array.shape == (3, 8, 6)
    assert header.shape == (3,)
    assert series.Modality == [KINDS[kind]]
    assert np.allclose(array.values, value, rtol=1e-7 if array.dtype == np.float32 else 1e-12)
    assert array.values.min() == array.values.max()
    files = saved(series, tmp_path)
    for dataset in files:
        stored = dataset.pixel_array
        assert stored.shape == (6, 8)
        assert stored.min() == stored.max()
        slope = float(dataset.get("RescaleSlope", 1))
        assert stored[0, 0] * slope + float(dataset.get("RescaleIntercept", 0)) == pytest.approx(
            value, rel=1e-12
        )
        assert not any(element.tag.group == 0x0099 for element in dataset)
    reopened = db.database(tmp_path)
    assert np.array_equal(reopened.series()[0].array()[0].values, array.values)


@pytest.mark.parametrize("kind", KINDS)
def test_others_find_nothing_wrong(database: Database, tmp_path: Path, kind: str) -> None:
    series = database.full((2, 8, 6), 2, dtype=kind, PatientName="Müller^Jürgen")
    for path in series.save(tmp_path):
        assert errors_of(path) == set()
        assert dcmdump_ok(path)
        assert np.array_equal(gdcm_pixels(path), np.full((6, 8), 2))
        assert np.array_equal(sitk_pixels(path).squeeze(), np.full((6, 8), 2))


def test_nothing_is_written_before_it_is_saved(database: Database) -> None:
    study = database.new_study()
    study.zeros((1, 4, 3))
    start = time.perf_counter()
    series = study.zeros((10_000, 512, 512))
    took = time.perf_counter() - start
    assert took < 5  # 0.5 s where nobody else works
    files = [path for path in Path(database.path_on_disk).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2 << 20
    array, _ = series.array()
    assert array.shape == (10_000, 512, 512)
    assert len(pickle.dumps(array.data)) < 200_000
    assert int(array[9_999].sum()) == 0


def test_each_is_a_volume(database: Database) -> None:
    series = database.ones((4, 8, 6), spacing=(2.0, 1.5, 5.0))
    array, affine = series.volume()
    assert array.dims == ("x", "y", "SliceLocation")
    assert np.array_equal(affine, np.diag([2.0, 1.5, 5.0, 1.0]))
    assert series.PixelSpacing == [[1.5, 2.0]]
    rotated = np.array([[0, 0, 3, -10], [2, 0, 0, 20], [0, 2, 0, 30], [0, 0, 0, 1.0]])
    other, found = database.ones((4, 8, 6), affine=rotated).volume()
    assert np.allclose(found, rotated)
    assert float(other.mean()) == 1
    with pytest.raises(InvalidValue, match="not both"):
        database.ones((4, 8, 6), affine=rotated, spacing=(1, 1, 1))


def test_each_reads_as_any_series(database: Database, tmp_path: Path) -> None:
    series = database.full((4, 8, 6), 7, SeriesDescription="phantom")
    assert series.header.sizes["n" if "n" in series.header.sizes else "frame"] == 4
    instance = series.instances()[2]
    assert instance.array().dims == ("x", "y")
    assert instance.array().values.tolist() == [[7] * 6] * 8
    assert instance.dataset().pixel_array.tolist() == [[7] * 8] * 6
    assert instance.file is None
    first = series.array(pixels_first=True)[0]
    assert first.dims == ("x", "y", "n")
    assert first[1:3, 2, ::2].values.tolist() == [[7, 7], [7, 7]]
    assert series.array(rescale=False)[0].dtype.kind in "iu"
    assert pickle.loads(pickle.dumps(first)).values.tolist() == first.values.tolist()
    import nibabel

    (image,) = [path for path in series.export_as_nifti(tmp_path) if path.endswith(".nii.gz")]
    assert np.array_equal(nibabel.load(image).get_fdata(), np.full((8, 6, 4), 7))


def test_values_differ_where_they_are_told_to(database: Database) -> None:
    one, other = database.full((2, 4, 3), 2.5), database.full((2, 4, 3), 300)
    merged = db.merge([one, other])
    assert sorted(np.unique(merged.array()[0].values).tolist()) == [2.5, 300]
    assert merged.array(["InstanceNumber"])[0].sizes["x"] == 4


def test_they_stand_among_images_of_files(tmp_path: Path) -> None:
    make_series(tmp_path, shape=(8, 6))
    folder = db.database(tmp_path)
    series = folder.series()[0]
    before = series.array()[0].values
    (spacing,) = series.PixelSpacing
    made = series.studies().full((1, *before.shape[1:]), 9, spacing=(spacing[1], spacing[0], 1))
    made.instances()[0].copy_to(series, InstanceNumber=99)
    values = series.array()[0].values
    assert np.array_equal(values[:-1], before)
    assert (values[-1] == 9).all()
    folder.save()
    assert np.array_equal(series.array()[0].values, values)


def test_the_layout_may_be_changed_before_it_is_saved(database: Database, tmp_path: Path) -> None:
    series = database.full((1, 4, 3), 300)
    series.Rows, series.Columns = 5, 7
    assert series.array()[0].shape == (1, 7, 5)
    assert saved(series, tmp_path)[0].pixel_array.shape == (5, 7)
    series.BitsAllocated, series.BitsStored, series.HighBit = 8, 8, 7
    with pytest.raises((LayoutError, ValueError), match="300"):
        series.array()[0].compute()
    with pytest.raises(LayoutError, match="300"):
        series.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_nan_everywhere(database: Database, tmp_path: Path) -> None:
    series = database.full((2, 4, 3), np.nan)
    assert np.isnan(series.array()[0].values).all()
    series.save(tmp_path)
    assert np.isnan(db.database(tmp_path).series()[0].array()[0].values).all()


def test_what_is_staged_survives(tmp_path: Path) -> None:
    folder = db.database(tmp_path, create=True)
    series = folder.new_study().full((2, 4, 3), 6)
    with pytest.warns(UserWarning, match="stay staged"):
        folder.close()
    again = db.database(tmp_path)
    assert again.series() == [series]
    assert (again.series()[0].array()[0].values == 6).all()
    copy = again.series()[0].copy()
    assert (copy.array()[0].values == 6).all()
    again.series()[0].remove()
    again.save()
    assert len(list(tmp_path.rglob("*.dcm"))) == 2
    assert (db.database(tmp_path).series()[0].array()[0].values == 6).all()


# -- dimensions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dims", "coords"),
    [
        ((2, 3, 4, 8, 6), ["SliceLocation", "FlipAngle"],
         {"SliceLocation": [0, 5], "FlipAngle": [5, 10, 15]}),
        ((2, 3, 8, 6), ["SliceLocation", "FlipAngle"], {"FlipAngle": [5, 10, 15]}),
        ((3, 2, 8, 6), None, {"EchoTime": [2.3, 4.6, 9.2]}),
        ((3, 8, 6), ["EchoTime"], {"EchoTime": [2.3, 4.6, 9.2]}),
        ((2, 2, 8, 6), ["InversionTime"], None),
        ((2, 2, 8, 6), ["AcquisitionTime"], {"AcquisitionTime": ["120000", "120001.5"]}),
        ((2, 2, 8, 6), ["AcquisitionTime"], None),
    ],
)  # fmt: skip
def test_dimensions_come_back(
    database: Database, shape: tuple[int, ...], dims: list[str] | None, coords: Any
) -> None:
    series = database.zeros(shape, dims=dims, coords=coords)
    names = dims or list(coords)
    array, _ = series.array(names)
    assert array.dims == (*names, "n", "x", "y")
    wanted = shape if len(shape) == len(names) + 3 else (*shape[:-2], 1, *shape[-2:])
    assert array.shape == wanted
    for name, values in (coords or {}).items():
        if name != "AcquisitionTime":
            assert array[name].values.tolist() == pytest.approx(values)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (((5,),), {}, "two dimensions at least"),
        (((0, 4, 3),), {}, "between 1 and 65535"),
        (((1, 70_000, 3),), {}, "between 1 and 65535"),
        (((2, 3, 4, 5),), {}, r"dims=\('SliceLocation'"),
        (((2, 4, 3),), {"dims": ["EchoTime", "FlipAngle"]}, "does not name"),
        (((2, 4, 3),), {"dtype": float}, r"series\(array\)"),
        (((2, 4, 3),), {"dtype": np.uint8}, "kind of images"),
        (((2, 4, 3),), {"dtype": "us"}, "'pet'"),
        ((4,), {}, "tuple of numbers"),
        (((2.5, 4, 3),), {}, "tuple of numbers"),
        (((2, 4, 3),), {"coords": {"EchoTime": [1, 2, 3]}, "dims": ["EchoTime"]}, "does not fit"),
        (((2, 4, 3),), {"coords": {"EchoTime": [1]}, "dims": ["FlipAngle"]}, "none of the dim"),
        (((2, 4, 3),), {"dims": ["ContentDate"]}, "ContentDate"),
        (((2, 4, 3),), {"Rows": 5}, "follows from the array"),
        (((1 << 40, 4, 5),), {}, "more than the 2147483647"),
        (((1 << 20, 1 << 20, 1 << 20, 4, 5),), {}, "more than the 2147483647"),
        (((2, 4, 3),), {"SOPInstanceUID": "1.2.3"}, "SOPInstanceUID cannot be given"),
        (((2, 4, 3),), {"InstanceNumber": 7}, "InstanceNumber cannot be given"),
        (((1, 4, 3),), {"InstanceNumber": 7}, "InstanceNumber cannot be given"),
        (((2, 4, 3),), {"SliceLocation": 7}, "SliceLocation differs"),
        (((2, 4, 3),), {"ImagePositionPatient": [1, 2, 3]}, "ImagePositionPatient differs"),
        (((2, 4, 3),), {"b_value": 7}, "Use DiffusionBValue"),
        (((2, 4, 3),), {"dims": [0x00180081]}, "dims"),
    ],
)
def test_what_makes_no_series(
    database: Database, arguments: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidValue, match=words):
        database.zeros(*arguments, **options)
    assert len(database) == 0
    assert not database.changes().size


@pytest.mark.parametrize("value", [np.inf, 1j, "7", [1, 2]])
def test_what_is_no_value(database: Database, value: Any) -> None:
    with pytest.raises(InvalidValue):
        database.full((2, 4, 3), value)
    assert len(database) == 0


@pytest.mark.parametrize("way", ["shape", "array", "labelled"])
@pytest.mark.parametrize(
    ("dim", "values", "words"),
    [
        ("b_value", [0, 50], "Use DiffusionBValue"),
        ("gradient_direction", ["a", "b"], "Use DiffusionGradientOrientation"),
        ("echo", [1, 2], "Use EchoNumbers or EchoTime"),
        ("image_type", ["M", "P"], "Use ImageType"),
        ("affine", [1, 2], "Use a keyword"),
        ("(0019,1008)", [1, 2], "its creator is not known"),
        ("Rows", [1, 2], "Rows cannot be given"),
        ("SOPInstanceUID", ["1.2", "1.3"], "SOPInstanceUID cannot be given"),
        ("FrameOfReferenceUID", ["1.2", "1.3"], "FrameOfReferenceUID cannot be given"),
        ("PatientID", ["1", "2"], "whole patient, study or series"),
        ("SeriesNumber", [1, 2], "whole patient, study or series"),
    ],
)
def test_labels_that_would_be_lost(
    database: Database, dim: str, values: list[Any], words: str, way: str
) -> None:
    array: Any = (2, 4, 3) if way == "shape" else np.zeros((2, 4, 3))
    options: dict[str, Any] = {"dims": [dim], "coords": {dim: values}}
    if way == "labelled":
        if dim == "SOPInstanceUID":
            pytest.skip("it tells where the array is from")
        array = xr.DataArray(array, dims=(dim, "x", "y"), coords=options["coords"])
        options = {}
    with pytest.raises(InvalidValue, match=words):
        database.series(array, **options)
    with pytest.raises(InvalidValue):
        database.series((2, 4, 3), dims=[dim])
    assert len(database) == 0


@pytest.mark.parametrize("options", [{"dims": ["EchoTim"]}, {}, {"dims": "EchoTim"}])
@pytest.mark.parametrize("array", [(2, 4, 3), np.zeros((2, 4, 3))])
def test_a_misspelt_dimension(database: Database, array: Any, options: dict[str, Any]) -> None:
    with pytest.raises(UnknownKeyword, match="Did you mean 'EchoTime'"):
        database.series(array, coords={"EchoTim": [1, 2]}, **options)
    if options:
        with pytest.raises(UnknownKeyword, match="Did you mean 'EchoTime'"):
            database.series(array, **options)
    assert len(database) == 0


def test_numbers_of_images_that_are_not_theirs(database: Database) -> None:
    one = {"dims": ["InstanceNumber"], "coords": {"InstanceNumber": [1, 2]}}
    assert database.zeros((2, 4, 3), **one).InstanceNumber == [1, 2]
    with pytest.raises(InvalidValue, match="numbered from 1"):
        database.zeros((2, 4, 3), dims=["InstanceNumber"], coords={"InstanceNumber": [5, 6]})


def test_dimensions_by_tag_and_by_place(database: Database) -> None:
    by_tag = database.zeros((2, 3, 4, 3), dims=["z", "(0018,0081)"])
    assert by_tag.array(["SliceLocation", "EchoTime"])[0].EchoTime.values.tolist() == [0, 1, 2]
    assert database.zeros((2, 4, 3), coords={"z": [5, 9]}).SliceLocation == [5, 9]
    private = "(0019,xx0c) SIEMENS MR HEADER"
    with pytest.raises(InvalidValue, match="coords= has to give"):
        database.zeros((2, 4, 3), dims=[private])


def test_a_custom_dimension_of_images_that_have_it(database: Database) -> None:
    source = database.zeros((2, 4, 3), dims=["DiffusionBValue"],
                            coords={"DiffusionBValue": [0, 50]})  # fmt: skip
    array, _ = source.array(["b_value"])
    made = database.series(array * 2)
    assert made.array(["b_value"])[0].b_value.values.tolist() == [0, 50]


@pytest.mark.parametrize("array", [(2, 4, 3), np.arange(24).reshape(2, 4, 3)])
@pytest.mark.parametrize(
    ("said", "modality", "sop_class"),
    [
        ({}, "MR", "4"),
        ({"Modality": ""}, "MR", "4"),
        ({"Modality": "MR"}, "MR", "4"),
        ({"Modality": "CT"}, "CT", "2"),
        ({"Modality": "PT"}, "PT", "128"),
        ({"Modality": "US"}, "US", "7"),
        ({"Modality": "CT", "dtype": "ct"}, "CT", "2"),
        ({"Modality": "CT", "dtype": "sc"}, "CT", "7"),
    ],
)
def test_the_kind_follows_from_modality(
    database: Database, tmp_path: Path, array: Any, said: Any, modality: str, sop_class: str
) -> None:
    series = database.series(array, **said)
    assert series.Modality == [modality]
    assert series.SOPClassUID == [f"1.2.840.10008.5.1.4.1.1.{sop_class}"]
    path = series.save(tmp_path)[0]
    assert pydicom.dcmread(path).Modality == modality
    assert errors_of(path) == set()


@pytest.mark.parametrize("make", ["zeros", "ones", "full"])
@pytest.mark.parametrize("modality", ["MR", "CT", "US"])
def test_modality_is_enough_for_pixels_of_one_value(
    database: Database, make: str, modality: str
) -> None:
    arguments = ((2, 4, 3), 5) if make == "full" else ((2, 4, 3),)
    expected = database.series((2, 4, 3), Modality=modality).SOPClassUID
    for place in (database, database.new_study()):
        made = getattr(place, make)(*arguments, Modality=modality)
        assert (made.Modality, made.SOPClassUID) == ([modality], expected)
    scratch = getattr(db, make)(*arguments, Modality=modality)
    assert scratch.SOPClassUID == expected
    scratch.database.close(save=False)
    with pytest.raises(InvalidValue, match="Leave one of them out"):
        getattr(database, make)(*arguments, "pet", Modality=modality)


@pytest.mark.parametrize("make", ["zeros", "series", "new_series"])
def test_what_is_said_of_the_whole_study_is_not_said_of_a_series(
    database: Database, make: str
) -> None:
    study = database.new_patient(PatientName="Ann", PatientSex="F").new_study(StudyDate="20240301")
    shape = () if make == "new_series" else ((2, 4, 3),)
    for attributes, words in (
        ({"StudyDate": "20200101"}, r"of the whole study.*study\.StudyDate = \.\.\., or make a"),
        ({"StudyDescription": "other"}, r"study\.StudyDescription = "),
        ({"PatientAge": "040Y"}, r"study\.PatientAge = "),
        ({"PatientSex": "M"}, r"of the whole patient.*patient\.PatientSex = "),
    ):
        with pytest.raises(InvalidValue, match=words):
            getattr(study, make)(*shape, **attributes)
    with pytest.raises(InvalidValue, match=r"patient\.PatientSex = "):
        study.parent.new_study(PatientSex="M")
    assert len(study) == 0
    made = getattr(study, make)(*shape, StudyDate="1.3.2024", PatientSex="F")  # as it is
    assert (made.StudyDate, made.PatientSex) == (["20240301"], ["F"])
    made = getattr(study.parent, make)(*shape, StudyDate="20200101")  # in a study of its own
    assert made.parent != study
    assert len(made.parent.parent) == 2


@pytest.mark.parametrize("array", [(2, 4, 3), np.zeros((2, 4, 3))])
def test_a_kind_of_another_modality(database: Database, array: Any) -> None:
    with pytest.raises(InvalidValue, match="'CT', and images of the kind 'mri' have 'MR'"):
        database.series(array, dtype="mri", Modality="CT")
    assert len(database) == 0


def test_colours_of_a_modality(database: Database) -> None:
    colours = np.arange(2 * 4 * 3 * 3, dtype=np.uint8).reshape(2, 4, 3, 3)
    series = database.series(colours, Modality="US")
    assert series.Modality == ["US"]
    assert np.array_equal(series.array()[0].values, colours)


@pytest.mark.parametrize("shape", [(65_536, 1), (1, 2, 65_536)])
@pytest.mark.parametrize("lazy", [False, True])
def test_images_that_are_too_large(database: Database, shape: tuple[int, ...], lazy: bool) -> None:
    array = da.zeros(shape, dtype=np.uint8) if lazy else np.zeros(shape, np.uint8)
    with pytest.raises(InvalidValue, match="65535"):
        database.series(array)
    assert len(database) == 0
    largest = database.series(np.zeros((1, 65_535), np.uint8))
    assert largest.Rows == [65_535]


def test_a_misspelt_attribute(database: Database) -> None:
    with pytest.raises(UnknownKeyword, match="EchoTime"):
        database.zeros((2, 4, 3), EchoTimee=5)
    assert len(database) == 0


# -- arrays --------------------------------------------------------------------------------------

VALUES = np.arange(2 * 8 * 6).reshape(2, 8, 6)


@pytest.mark.parametrize(
    "make", [np.asarray, da.from_array, lambda a: xr.DataArray(a, dims=("n", "x", "y"))]
)
def test_arrays_become_series(make: Any, tmp_path: Path) -> None:  # fmt: skip
    series = db.series(make(VALUES), dtype="ct", PatientName="Ann", EchoTime=3)
    assert np.array_equal(series.array()[0].values, VALUES)
    assert series.Modality == ["CT"]
    assert series.PatientName == ["Ann"]
    assert series.EchoTime == [3.0]
    files = saved(series, tmp_path)
    assert [np.array_equal(d.pixel_array.T, v) for d, v in zip(files, VALUES, strict=True)]
    series.database.close()


def test_a_labelled_array_brings_its_labels() -> None:
    array = xr.DataArray(
        np.arange(3 * 2 * 4 * 3.0).reshape(3, 2, 4, 3) / 8,
        dims=("EchoTime", "SliceLocation", "x", "y"),
        coords={"EchoTime": [1.0, 2.0, 3.0], "SliceLocation": [0.0, 4.0]},
    )
    series = db.series(array)
    back, _ = series.array(["EchoTime", "SliceLocation"])
    assert np.allclose(back.isel(n=0).values, array.values, atol=2e-5)
    assert back.EchoTime.values.tolist() == [1.0, 2.0, 3.0]
    assert back.SliceLocation.values.tolist() == [0.0, 4.0]
    with pytest.raises(InvalidValue, match="rename"):
        db.series(array, dims=["a", "b"])
    series.database.close(save=False)


@pytest.mark.parametrize(("dtype", "kind"), [("u1", None), ("f8", "sc")])
def test_colours_of_another_type_or_kind(database: Database, dtype: str, kind: str | None) -> None:
    array = np.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3).astype(dtype)
    with pytest.raises(InvalidValue, match=r"holds colours.*array\.astype\('uint8'\), 'sc'\)"):
        database.series(array, kind)
    series = database.series(array.astype("uint8"), "sc")
    assert np.array_equal(series.array()[0].values, array)


def test_integers_that_do_not_fit_are_kept_as_the_warning_says(database: Database) -> None:
    pytest.importorskip("highdicom")
    array = np.arange(24).reshape(2, 4, 3) * 10**9 + 1
    with pytest.warns(DicomWarning, match=r"set_array\(array, header, dtype='float64'\)"):
        series = database.series(array, spacing=(2, 2, 5))
    places = series.SliceLocation
    _, header = series.array()
    series.set_array(array, header, dtype="float64")
    back, _ = series.array("SliceLocation")
    assert np.array_equal(back.squeeze("n").values, array)
    assert series.SliceLocation == places


def test_one_image_and_colours(database: Database) -> None:
    assert np.array_equal(database.series(VALUES[0]).array()[0].values[0], VALUES[0])
    colours = np.arange(2 * 4 * 3 * 3, dtype=np.uint8).reshape(2, 4, 3, 3)
    series = database.series(colours, "sc")
    assert series.array()[0].dims == ("n", "x", "y", "channel")
    assert np.array_equal(series.array()[0].values, colours)


def test_an_array_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(InvalidValue):
        database.series(np.full((2, 4, 3), np.inf))
    assert len(database) == 0
    study = database.new_study()
    with pytest.raises(InvalidValue):
        study.series(VALUES * 1j)
    assert len(study) == 0
    with pytest.raises(InvalidValue, match="shape"):
        db.series({"a": 1})


def test_series_also_searches(database: Database) -> None:
    study = database.new_study()
    one = study.series((2, 4, 3), SeriesDescription="one")
    two = study.series([2, 4, 3], SeriesDescription="two")
    assert study.series(SeriesDescription="o*") == [one]
    assert database.series({"SeriesDescription": "two"}) == [two]
    assert one.series() == one
    assert study.series() == [one, two]
    with pytest.raises(TypeError):
        study.series((2, 4, 3), "mri", 5)


# -- what holds for all that appears -------------------------------------------------------------


@pytest.mark.parametrize("array", [(2, 8, 6), VALUES])
def test_what_was_said_of_empty_records_holds(tmp_path: Path, array: Any) -> None:
    database = db.database()
    patient = database.new_patient(PatientName="Ann", PatientID="17", PatientSex="F")
    study = patient.new_study(StudyDate="12.12.22", StudyDescription="first")
    study.PatientWeight = 61.5
    series = study.series(array, SeriesDescription="T1", ProtocolName="p", EchoTime=4)
    empty = study.new_series(SeriesDescription="T2", FlipAngle=8)
    if not isinstance(array, tuple):
        empty.set_array(array, "template")
    for one, description in ((series, "T1"), (empty, "T2")):
        if one.instances() == []:
            continue
        for dataset in saved(one, tmp_path):
            assert dataset.PatientName == "Ann"
            assert dataset.PatientID == "17"
            assert dataset.PatientSex == "F"
            assert dataset.StudyDate == "20221212"
            assert dataset.StudyDescription == "first"
            assert dataset.PatientWeight == 61.5
            assert dataset.SeriesDescription == description
            assert dataset.get("EchoTime") == (4 if one is series else dataset.get("EchoTime"))
            assert one is series or dataset.FlipAngle == 8
    assert series.SeriesNumber != empty.SeriesNumber
    database.close(save=False)


def test_two_patients_built_by_hand(tmp_path: Path) -> None:
    """As the guide of dbdicom does it."""
    database = db.database()
    james_bond = database.new_patient(PatientName="James Bond")
    james_bond_mri = james_bond.new_study(StudyDescription="MRI")
    james_bond_mri_localizer = james_bond_mri.new_series(SeriesDescription="Localizer")
    james_bond_mri_t2w = james_bond_mri.new_series(SeriesDescription="T2w")
    scarface = database.new_patient(PatientName="Scarface")
    scarface_mri = scarface.new_study(StudyDescription="MRI", StudyDate="19112022")
    scarface_mri_t2w = scarface_mri.zeros((10, 16, 12), dtype="mri", SeriesDescription="T2w")
    james_bond_mri_localizer.set_array(VALUES)
    with pytest.warns(DicomWarning, match="neutral header"):  # beside images that have a place
        james_bond_mri_t2w.set_array(VALUES * 2)
    written = database.save(tmp_path / "hospital")
    assert len(written) == 14
    found: dict[tuple[str, str], int] = {}
    for path in written:
        dataset = pydicom.dcmread(path)
        key = (str(dataset.PatientName), dataset.SeriesDescription)
        found[key] = found.get(key, 0) + 1
        assert errors_of(path) == set()
    assert found == {
        ("James Bond", "Localizer"): 2, ("James Bond", "T2w"): 2, ("Scarface", "T2w"): 10,
    }  # fmt: skip
    assert scarface_mri_t2w.StudyDate == ["20221119"]
    assert np.array_equal(james_bond_mri_t2w.array()[0].values, VALUES * 2)
    reopened = db.database(tmp_path / "hospital")
    assert len(reopened.patients()) == 2
    assert reopened.series(PatientName="Scarface")[0].array()[0].shape == (10, 16, 12)
    database.close()


def test_a_series_replaces_its_images(database: Database) -> None:
    series = database.zeros((2, 8, 6))
    array, header = series.array()
    series.set_array(array + VALUES, header)
    assert np.array_equal(series.array()[0].values, VALUES)
    series.set_array(VALUES[:1], "template", mode="a")
    assert len(series.instances()) == 3
    series.restore()
