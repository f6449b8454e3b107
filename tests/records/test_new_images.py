"""What new images say of the patient and the study they come into."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, DicomWarning, GridError, InvalidValue
from dbdicom_xr.testing import make_dce, make_enhanced, make_series

SLICES = {"SliceLocation": [0.0, 5.0]}
OTHERS = {"PatientSex": "F", "PatientBirthDate": "19500101", "PatientComments": "first"}
OWN = {"PatientSex": "M", "PatientBirthDate": "19700707", "StudyDate": "19970424"}


def read(series: Any) -> pydicom.Dataset:
    (path, *_) = series.files()
    return pydicom.dcmread(path)


def two_patients_of_one_id(folder: Path) -> db.Database:
    """Two studies of one PatientID with different headers, as after careless anonymising."""
    same = {"PatientID": "P", "PatientName": "Same^One"}
    make_series(folder / "a", keys=SLICES, header={**same, **OTHERS, "StudyID": "1"}, seed=1)
    make_series(folder / "b", keys=SLICES, header={**same, **OWN, "StudyID": "2"}, seed=2)
    return db.database(folder)


def test_images_keep_the_patient_and_study_of_their_sources(tmp_path: Path) -> None:
    with two_patients_of_one_id(tmp_path) as database:
        for series in database.series():
            before = read(series)
            new = series.new_sibling()
            series.array()[0].dicom.write(new)
            after = read(new)
            for keyword in (*OTHERS, *OWN, "StudyID", "PatientAge", "PatientWeight"):
                assert after.get(keyword) == before.get(keyword), keyword
        database.restore()


def test_images_in_another_study_keep_the_patient_of_their_sources(tmp_path: Path) -> None:
    with two_patients_of_one_id(tmp_path) as database:
        series = next(one for one in database.series() if one.StudyID == ["2"])
        other = next(one for one in database.series() if one.StudyID == ["1"])
        new = other.parent.new_series()
        series.array()[0].dicom.write(new)
        after = read(new)
        assert after.PatientBirthDate == OWN["PatientBirthDate"]
        assert after.StudyID == "1"
        assert after.StudyDate == read(other).StudyDate
        database.restore()


def test_nothing_of_another_patient_comes_along(tmp_path: Path) -> None:
    make_series(tmp_path / "a", keys=SLICES, header={"PatientID": "A", **OTHERS}, seed=1)
    make_series(
        tmp_path / "b", keys=SLICES, header={"PatientID": "B", **OWN, "PatientWeight": 90}, seed=2
    )
    with db.database(tmp_path) as database:
        a = next(one for one in database.series() if one.PatientID == ["A"])
        b = next(one for one in database.series() if one.PatientID == ["B"])
        new = a.parent.new_series()
        b.array()[0].dicom.write(new)
        after, own = read(new), read(a)
        for keyword in ("PatientID", *OTHERS, *OWN, "PatientWeight", "PatientAge", "StudyID"):
            assert after.get(keyword) == own.get(keyword), keyword
        frames = {one.FrameOfReferenceUID[0] for one in (a, b, new)}
        assert len(frames) == 3
        database.restore()


# -- what does not fit is refused, and nothing is guessed -----------------------------------------


@pytest.fixture
def dce(tmp_path: Path) -> Iterator[Any]:
    make_dce(tmp_path / "dce")
    with db.database(tmp_path / "dce") as database:
        yield database.series()[0]
        database.restore()


TIME = "TemporalPositionIdentifier"


def test_slices_of_a_part_are_not_guessed(dce: Any) -> None:
    array, header = dce.array(["SliceLocation", TIME])
    part = array.isel(SliceLocation=slice(0, 2))
    with pytest.raises(GridError, match="header"):
        part.max("SliceLocation").dicom.write(dce.new_sibling())
    new = dce.new_sibling()
    part.max("SliceLocation").dicom.write(new, header[:2])
    places = [one.ImagePositionPatient for one in header[:2, 0, 0]]
    (thickness,) = new.SliceThickness
    assert new.ImagePositionPatient == [list(np.mean(places, axis=0))]
    assert thickness == header[0, 0, 0].SliceThickness + np.linalg.norm(np.diff(places, axis=0))
    one = new.instances()[0].dataset()
    assert len(one.SourceImageSequence) == 2


def test_a_renamed_dimension_does_not_gather_all_frames(dce: Any) -> None:
    array, header = dce.array(["SliceLocation", TIME])
    with pytest.raises(InvalidValue, match=r"rename\(slice='SliceLocation'\)"):
        array[:, 0].rename(SliceLocation="slice").dicom.write(dce.new_sibling(), header[:, 0])


def test_pixel_dimensions_that_changed_their_names(dce: Any) -> None:
    array, _ = dce.array(["SliceLocation", TIME])
    with pytest.raises(InvalidValue, match="changed places"):
        array.rename(x="y", y="x").dicom.write(dce.new_sibling())


def test_images_too_large_for_dicom(dce: Any) -> None:
    with pytest.raises(InvalidValue, match="65535"):
        dce.new_sibling().set_array(np.zeros((65536, 1), np.uint8), "template")


@pytest.mark.parametrize(
    ("name", "value"),
    [("StudyDate", "20200101"), ("PatientSex", "F"), ("Modality", "CT"), ("InstanceNumber", 4),
     ("ImagePositionPatient", [0, 0, 0]), ("WindowCenter", 3), ("VOILUTFunction", "SIGMOID"),
     ("PixelPaddingValue", 4)],
)  # fmt: skip
def test_attributes_that_follow_from_elsewhere(dce: Any, name: str, value: Any) -> None:
    array, _ = dce.array(["SliceLocation", TIME])
    with pytest.raises(InvalidValue, match=name):
        array.dicom.write(dce.new_sibling(), **{name: value})


def test_a_misspelt_option_is_told(dce: Any) -> None:
    array, _ = dce.array(["SliceLocation", TIME])
    with pytest.raises(InvalidValue, match="did you mean scale="):
        array.dicom.write(dce.new_sibling(), sclae="series")
    with pytest.raises(InvalidValue, match="into a series"):
        array.dicom.write(dce.parent)


def test_what_is_appended_fits(dce: Any) -> None:
    array, _ = dce.array(["SliceLocation", TIME])
    new = dce.new_sibling()
    array.isel({TIME: 0}).dicom.write(new)
    with pytest.raises(InvalidValue, match="Columns"):
        array.isel({TIME: 0, "x": slice(4)}).dicom.write(new, mode="a")
    with pytest.raises(InvalidValue, match="header"):
        new.set_array(array.isel({TIME: 0}).values, mode="a")
    other = dce.parent.new_series(Modality="CT")
    array.isel({TIME: 0}).dicom.write(other)
    assert other.Modality == ["CT"]
    assert other.SOPClassUID == ["1.2.840.10008.5.1.4.1.1.2"]
    with pytest.raises(InvalidValue, match="Modality"):
        other.array("SliceLocation")[0].dicom.write(new, mode="a")


def test_appends_that_overlap_get_numbers_of_their_own(dce: Any) -> None:
    array, _ = dce.array(["SliceLocation", TIME])
    new = dce.new_sibling()
    writes = [(array * k).dicom.write(new, mode="a", compute=False) for k in (1, 2)]
    dask.compute(*writes)
    assert new.InstanceNumber == list(range(1, 61))
    new.save()
    found = sorted(pydicom.dcmread(file).InstanceNumber for file in new.files())
    assert found == list(range(1, 61))
    new.remove()
    dce.database.save()


def test_numbers_that_lost_their_header_are_told(dce: Any) -> None:
    array, _ = dce.array(["SliceLocation", TIME])
    with pytest.warns(DicomWarning, match="neutral header"):
        dce.new_sibling().set_array(array.values)


def test_nothing_of_one_patient_comes_to_another(dce: Any) -> None:
    said = {
        "CurrentPatientLocation": "Ward 3 bed 2", "SpecialNeeds": "secret", "StationName": "MR7",
        "RequestingPhysician": "Dr^A", "StudyComments": "comment on A", "TextComments": "text",
        "PerformedProcedureStepID": "step", "ImageComments": "image of A",
        "InstitutionName": "house",
    }  # fmt: skip
    for name, value in said.items():
        dce[name] = value
    array, header = dce.array(["SliceLocation", TIME])
    other = dce.database.new_patient(PatientName="B^B").new_study().new_series()
    array.dicom.write(other)
    one = other.instances()[0].dataset()
    text = str(one)
    for value in (*said.values(), header[0, 0, 0].PatientID):
        assert value not in text
    assert one.PatientName == "B^B"
    _, new = other.array(["SliceLocation", TIME])
    assert (new.AcquisitionTime == header.AcquisitionTime).all()


def test_an_image_turned_over_keeps_its_slice(tmp_path: Path) -> None:
    make_enhanced(tmp_path, keys={"SliceLocation": [0, 5, 10]})
    with db.database(tmp_path) as database:
        series = database.series()[0]
        array, _ = series.array("SliceLocation")
        turned = array.isel(y=slice(None, None, -1))
        new, _ = turned.dicom.write(series.new_sibling()).array("SliceLocation")
        np.testing.assert_array_equal(new.SliceLocation, array.SliceLocation)
        np.testing.assert_array_equal(new.values, turned.values)
        np.testing.assert_allclose(new.dicom.affine, turned.dicom.affine, atol=1e-6)
        database.restore()


def test_an_array_keeps_its_temporary_database() -> None:
    array = db.series(np.arange(32.0).reshape(2, 4, 4)).array()[0]
    gc.collect()
    assert array.sum() == np.arange(32.0).sum()
    array.dicom.database.close(save=False)


def test_closing_without_saving_gives_up_what_was_not_computed(tmp_path: Path) -> None:
    make_dce(tmp_path)
    database = db.database(tmp_path)
    series = database.series()[0]
    array, _ = series.array(["SliceLocation", TIME])
    write = array.dicom.write(series, compute=False)
    database.close(save=False)
    assert not Path(tmp_path, ".dbdicom_xr", "writing").exists()
    with pytest.raises(DbdicomError, match="given up"):
        write.compute()


def test_private_labels_of_an_array_from_nothing_stay() -> None:
    label = "(0019,xx0c) SIEMENS MR HEADER"
    series = db.zeros((2, 4, 3), dims=[label], coords={label: ["50", "100"]})
    found = [one[("SIEMENS MR HEADER", 0x0C)] for one in series.instances()]
    assert [str(value) for value in found] == ["50", "100"]
    series.database.close(save=False)


@pytest.mark.parametrize("options", [{}, {"multiframe": True}, {"dtype": "int16"}])
def test_the_unit_that_is_given_is_said(dce: Any, options: dict[str, Any]) -> None:
    array = dce.array("SliceLocation")[0]
    if "dtype" in options:
        array, options = array.astype(np.int16), {}
    new = array.dicom.write(dce.new_sibling(), RescaleType="ms", **options)
    assert new.RescaleType == ["ms"]
    (said,) = {
        str(element.value) for element in read(new).iterall() if element.keyword == "RescaleType"
    }
    assert said == "ms"


def test_the_unit_of_a_map_is_said(dce: Any) -> None:
    pytest.importorskip("highdicom")
    array = dce.array("SliceLocation")[0]
    new = array.dicom.write(dce.new_sibling(), RescaleType="1/min", dtype="float32")
    units = {
        item.MeasurementUnitsCodeSequence[0].CodeValue
        for element in read(new).iterall()
        if element.keyword == "RealWorldValueMappingSequence"
        for item in element.value
    }
    assert units == {"/min"}
