"""What new images say of the patient and the study they come into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom

import dbdicom_xr as db
from dbdicom_xr.testing import make_series

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
