"""Restoring part of what is staged: a record whose patient was changed, and single attributes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DicomWarning, InvalidValue, NotInDatabase, UnknownKeyword
from dbdicom_xr.testing import make_enhanced, make_study

CREATOR = "DBDICOM_XR TESTING"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_study(tmp_path / "data", patients=2, studies=1, series=2, images=3)
    return tmp_path / "data"


@pytest.fixture
def database(folder: Path) -> Any:
    return db.database(folder)


# -- what was set above the record ---------------------------------------------------------------

CHANGES: dict[str, tuple[Callable[[Any], None], str, str]] = {
    "patient renamed": (
        lambda series: setattr(series.patients(), "PatientName", "Anon"),
        "PatientName of {n}, which had been set",
        "move_to(patient)",
    ),
    "patient with another ID": (
        lambda series: setattr(series.patients(), "PatientID", "ANON1"),
        "PatientID of {n}, which had been set",
        "move_to(patient)",
    ),
    "study with another UID": (
        lambda series: setattr(series.parent, "StudyInstanceUID", "1.2.3"),
        "StudyInstanceUID of {n}, which had been set",
        "move_to(study)",
    ),
    "birth date of the patient": (
        lambda series: setattr(series.patients(), "PatientBirthDate", "19000101"),
        "PatientBirthDate of {n}, which had been set",
        "Set them again",
    ),
    "date of the study": (
        lambda series: setattr(series.parent, "StudyDate", "19000101"),
        "StudyDate of {n}, which had been set",
        "Set them again",
    ),
    "study moved": (
        lambda series: series.parent.move_to(series.database.patients()[1]),
        "",
        "",
    ),
}


@pytest.mark.parametrize("level", ["instance", "series"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_comes_back_from_above_is_told(database: Any, change: str, level: str) -> None:
    series = database.series()[0]
    record = series if level == "series" else series.instances()[2]
    act, names, way = CHANGES[change]
    act(series)
    record.EchoTime = 99
    if not names:
        names, way = (
            "PatientID, PatientName, PatientSex.* of {n}, which had been set",
            "move_to(patient)",
        )
    count = "3 images" if level == "series" else "1 image"
    with pytest.warns(DicomWarning, match=names.format(n=count).replace("(", r"\(")) as said:
        record.restore()
    assert way in str(said[0].message)
    assert said[0].filename == __file__


def test_the_way_out_of_two_patients(database: Any) -> None:
    patient, other = database.patients()
    series = patient.series()[0]
    patient.PatientName, patient.PatientID = "Anon", "ANON1"
    instance = series.instances()[2]
    with pytest.warns(DicomWarning, match=r"record\.studies\(\)\.move_to\(patient\) puts"):
        instance.restore()
    with pytest.raises(NotInDatabase, match=r"stands in 2 patients .*move_to\(patient\)") as error:
        series.instances()
    parts = [part.split("']")[0] for part in str(error.value).split("database['")[1:]]
    assert sorted(len(database[part].instances()) for part in parts) == [1, 2]
    instance.studies().move_to(patient)
    assert len(series.instances()) == 3
    assert {instance.PatientName, *series.PatientName} == {"Anon"}
    instance.studies().restore()  # all of what was renamed
    assert len(series.instances()) == 3
    assert instance.PatientName != "Anon"
    assert len(other.instances()) == 6


SILENT: dict[str, Callable[[Any], Any]] = {
    "the patient itself": lambda series: (
        setattr(patient := series.patients(), "PatientName", "Anon") or patient
    ),
    "set on the record": lambda series: setattr(series, "PatientBirthDate", "19000101") or series,
    "moved": lambda series: series.move_to(series.database.studies()[1]),
    "another series changed": lambda series: (
        setattr(series.siblings()[0], "StudyDate", "19000101") or series
    ),
    "copied": lambda series: series.copy_to(series.database.studies()[1]),
    "removed": lambda series: series.remove() or series,
}


@pytest.mark.parametrize("case", SILENT)
def test_nothing_is_said_of_what_was_asked_for(database: Any, folder: Path, case: str) -> None:
    record = SILENT[case](database.series()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record.restore()


def test_a_removed_record_is_named(database: Any) -> None:
    series, other = database.series()[:2]
    made = series.new_sibling(SeriesDescription="maps")
    assert made.name == "3 maps"
    for record in (series, made):
        record.remove()
    with pytest.raises(NotInDatabase, match=rf"'1 MR 1' \({series._key}\).* restore\(\) brings"):
        series.instances()
    with pytest.raises(NotInDatabase, match=rf"'3 maps' \({made._key}\) is not in .* any more\.$"):
        made.instances()
    patient = other.patients()
    patient.remove()
    with pytest.raises(NotInDatabase, match=rf"The patient {patient._key} is not in"):
        patient.studies()
    database.restore()
    assert series.name == "1 MR 1"


# -- single attributes ---------------------------------------------------------------------------


def test_single_attributes_are_undone(database: Any) -> None:
    series = database.series()[0]
    other = database.series()[1]
    series.patients().PatientName = "Anon"
    before = series.EchoTime, series.FlipAngle
    for record in (series, other):
        record[["EchoTime", "FlipAngle", "ProtocolName"]] = [99, 12, "mine"]
    series.restore("EchoTime", (0x0018, 0x1314))
    assert (series.EchoTime, series.FlipAngle, series.ProtocolName) == (*before, ["mine"])
    assert (other.EchoTime, other.FlipAngle) == ([99.0], [12.0])
    assert series.PatientName == ["Anon"]
    other.instances()[0].restore("EchoTime")
    assert [one.EchoTime == 99.0 for one in other.instances()] == [False, True, True]
    database.restore("EchoTime", "ProtocolName")
    assert set(database.changes().attribute) == {"PatientName", "FlipAngle"}


def test_nothing_is_left_where_nothing_else_was_changed(folder: Path) -> None:
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.save_as(path)
    database = db.database(folder)
    series = database.series()[0]
    bytes_before = {path: path.read_bytes() for path in folder.rglob("*.dcm")}
    series.ImageComments = "Größe, 大きさ"  # a character set comes with it
    series["MY LAB", 0x00311001] = "reviewed"
    series.restore("EchoTime")  # of which nothing is staged
    assert len(database.changes()) == 3
    series.restore(("MY LAB", 0x01), "ImageComments")
    assert database.changes().empty
    database.save()
    assert {path: path.read_bytes() for path in folder.rglob("*.dcm")} == bytes_before


def test_what_was_written_and_removed(database: Any) -> None:
    series = database.series()[0]
    copy = series.copy(SeriesDescription="copy")
    copy.EchoTime = 99
    copy.restore("EchoTime")
    assert copy.EchoTime == series.EchoTime
    written = (series.array()[0] + 1).dicom.write(series.new_sibling())
    before = written.EchoTime
    written.EchoTime = 99
    written.restore("EchoTime")
    assert written.EchoTime == before
    assert len(written.instances()) == 3
    database.save()
    assert {pydicom.dcmread(path).get("EchoTime") for path in copy.files()} == set(series.EchoTime)


def test_an_empty_series_says_again_what_it_said_when_saved(database: Any) -> None:
    series = database.studies()[0].new_series(SeriesDescription="maps", ProtocolName="QA")
    database.save()
    series.SeriesDescription, series.ProtocolName = "other", "other"
    series.restore("SeriesDescription")
    assert (series.SeriesDescription, series.ProtocolName) == (["maps"], ["other"])


REFUSED: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...], str]] = {
    "an identifier": (lambda series: series, ("PatientName",), "where the images stand"),
    "worked out": (lambda series: series, ("window",), "WindowCenter"),
    "of a new place": (
        lambda series: series.move_to(series.database.studies()[1]),
        ("EchoTime", "StudyDate"),
        "StudyDate follows from where",
    ),
    "of a copy": (lambda series: series.copy(), ("PatientID",), "where the images stand"),
    "made": (
        lambda series: series.parent.zeros((1, 4, 3)),
        ("EchoTime",),
        "EchoTime of images that were made",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_undone_alone(database: Any, case: str) -> None:
    make, names, words = REFUSED[case]
    record = make(database.series()[0])
    record.EchoTime = 99
    with pytest.raises(InvalidValue, match=words):
        record.restore(*names)
    assert record.EchoTime == [99.0]
    with pytest.raises(UnknownKeyword, match="EchoTime"):
        record.restore("EchoTim")


def test_functional_groups_are_undone_as_a_whole(tmp_path: Path) -> None:
    make_enhanced(tmp_path)
    series = db.database(tmp_path).series()[0]
    series[["EchoTime", "ProtocolName"]] = [99, "mine"]
    with pytest.raises(InvalidValue, match="functional groups"):
        series.restore("EchoTime")
    series.restore("ProtocolName")
    assert series.ProtocolName != ["mine"]
    assert series.EchoTime == [99.0]
    series.restore()
