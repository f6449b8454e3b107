"""Identifiers: what moves with them, what is refused, and handles that were made before."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.interact import ScriptedFrontEnd
from dbdicom_xr.testing import make_study


@pytest.fixture
def database(tmp_path: Path) -> db.Database:
    make_study(tmp_path, patients=2, studies=2, images=2)
    return db.database(tmp_path)


LEVELS = {
    "patients": "PatientID",
    "studies": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instances": "SOPInstanceUID",
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("end", ["", "restore", "save", "error"])
def test_swapped_identifiers(database: db.Database, level: str, end: str) -> None:
    """Handles go on naming the same things, also where one is called now as another was."""
    name = LEVELS[level]
    marks = ["first", "second"]

    def handles() -> list[Any]:
        return list(getattr(database, level)()[:2])

    with database.batch():
        for record, mark in zip(handles(), marks, strict=True):
            record.ImageComments = mark
    database.save()
    one, two = handles()
    others = handles()
    kept = {one, two}
    old = [record[name] for record in (one, two)]
    a, b = [value if level == "instances" else value[0] for value in old]

    def swap() -> None:
        setattr(one, name, "1.2.3")
        setattr(two, name, a)
        setattr(one, name, b)

    def comments(records: list[Any]) -> list[str]:
        return [
            r.ImageComments if level == "instances" else r.ImageComments.item() for r in records
        ]

    if end == "error":
        with pytest.raises(ZeroDivisionError), database.batch():
            swap()
            raise ZeroDivisionError
    else:
        swap()
    swapped = [b, a] if level == "instances" else [[b], [a]]
    if end == "restore":
        database.restore()
    elif end == "save":
        database.save()
    assert comments([one, two]) == marks
    assert comments(others) == marks
    assert [r[name] for r in (one, two)] == (swapped if end in ("", "save") else old)
    assert pickle.loads(pickle.dumps(others)) == [one, two] == others
    assert one != two
    assert {*others} == {one, two}
    assert len(kept) == 2
    database.close(save=False)


def test_a_patient_is_renamed_never_moved(database: db.Database, person: ScriptedFrontEnd) -> None:
    patient = database.patients()[0]
    series, other = patient.series()[0], database.patients()[1]
    name = other.PatientName.item()
    series.PatientName = name
    assert patient.PatientName == [name] == other.PatientName
    assert len(database.patients()) == 2
    assert len(patient.series()) == 4
    assert any("belongs to the patient" in str(said) for said in person.said)
    database.restore()


def test_what_moves_with_an_identifier(database: db.Database) -> None:
    first, second = database.patients()
    study = first.studies()[0]
    study.PatientID = "DBX-0002"
    assert study.parent == second
    assert study.PatientName == second.PatientName
    series = first.series()[0]
    series.StudyInstanceUID = study.StudyInstanceUID.item()
    assert series.parent == study
    instance = second.studies()[1].instances()[0]
    instance.SeriesInstanceUID = series.SeriesInstanceUID.item()
    assert instance.parent == series
    kept = instance.StudyDescription
    instance.SeriesInstanceUID = "1.2.3"
    assert instance.parent.SeriesInstanceUID == ["1.2.3"]
    assert instance.StudyDescription == kept
    made = database.studies()[-1]
    made.PatientID = "new"
    assert made.parent.PatientID == ["new"]
    assert made.parent.PatientName == second.PatientName
    assert len(database.instances()) == 16
    database.restore()
    assert [len(p.instances()) for p in (first, second)] == [8, 8]


REFUSED: dict[str, tuple[Any, str, str]] = {
    "patient of another ID": (lambda d: d.patients()[0], "PatientID", "DBX-0002"),
    "a series to another patient": (lambda d: d.series()[0], "PatientID", "DBX-0002"),
    "all to one patient": (lambda d: d, "PatientID", "x"),
    "all to one study": (lambda d: d, "StudyInstanceUID", "1.2"),
    "a patient of one series": (lambda d: d.patients()[0], "SeriesInstanceUID", "1.2"),
    "instances of one UID": (lambda d: d.series()[0], "SOPInstanceUID", "1.2"),
    "no UID": (lambda d: d.instances()[0], "SOPInstanceUID", ""),
    "a UID taken away": (lambda d: d.series()[0], "SeriesInstanceUID", None),
    "no UID at all": (lambda d: d.studies()[0], "StudyInstanceUID", "1.2.x"),
}


def test_what_identifiers_cannot_be(database: db.Database) -> None:
    for what, (record, name, value) in REFUSED.items():
        with pytest.raises(errors.InvalidValue):
            record(database)[name] = value
            pytest.fail(what)
        assert database.changes().empty, what
    one, two = database.instances()[:2]
    with pytest.raises(errors.InvalidValue, match="Another instance"):
        one.SOPInstanceUID = two.uid
    with pytest.raises(errors.InvalidValue, match="Another instance"):
        one.SOPInstanceUID = database.instances()[-1].uid
    assert database.changes().empty


def test_many_new_uids_keep_the_handles(database: db.Database) -> None:
    series = database.series()[0]
    instances = series.instances()
    places = [i.SliceLocation for i in instances]
    uids = [i.uid for i in instances]
    series.set_values("SOPInstanceUID", uids[::-1])
    assert [i.SliceLocation for i in instances] == places
    assert [i.uid for i in instances] == uids[::-1]
    database.save()
    assert [i.SliceLocation for i in instances] == places
    assert db.database(database.path_on_disk).instances()[0].uid == uids[1]
