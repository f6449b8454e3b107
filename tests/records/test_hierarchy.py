"""The tree: who stands above and below whom, under which name, and how to get there."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.records.tree import unique_names
from dbdicom_xr.testing import MadeStudy, make_enhanced, make_many, make_series
from tests.data import testdata_files, testdata_folder

LEVELS = ("patients", "studies", "series", "instances")


def one(folder: Path, number: int, **header: Any) -> str:
    """Write one image, and return its SOPInstanceUID."""
    made = make_series(
        folder / str(number), keys={"SliceLocation": [0.0]}, header=header, seed=number
    )
    return str(made.datasets[0].SOPInstanceUID)


def outline(record: Any) -> Any:
    """Return the names at and below a record as nested dictionaries."""
    return {name: outline(child) for name, child in record.items()}


@pytest.fixture(scope="module")
def database(hospital: MadeStudy) -> db.Database:
    return db.database(hospital.folder)


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory: pytest.TempPathFactory) -> db.Database:
    folder = tmp_path_factory.mktemp("enhanced")
    make_enhanced(folder, keys={"SliceLocation": [0, 5], "EchoTime": [2, 4, 6]})
    return db.database(folder)


# -- downwards and upwards -----------------------------------------------------------------------


def test_tree_is_that_of_the_files(database: db.Database, hospital: MadeStudy) -> None:
    found = {
        patient.PatientID.item(): {
            study.StudyInstanceUID.item(): {
                series.SeriesInstanceUID.item(): [i.SOPInstanceUID for i in series.instances()]
                for series in study.series()
            }
            for study in patient.studies()
        }
        for patient in database.patients()
    }
    assert found == hospital.tree


@pytest.mark.parametrize("level", range(4))
def test_lists_downwards_hold_what_the_levels_between_hold(
    database: db.Database, level: int
) -> None:
    for above in range(level):
        uppers = getattr(database, LEVELS[above])()
        joined = [r for upper in uppers for r in getattr(upper, LEVELS[level])()]
        assert joined == getattr(database, LEVELS[level])()
        assert joined


def test_one_record_upwards(database: db.Database) -> None:
    for patient in database.patients():
        for study in patient.studies():
            for series in study.series():
                for instance in series.instances():
                    line = (patient, study, series, instance)
                    for below, record in enumerate(line):
                        for above, name in enumerate(LEVELS[: below + 1]):
                            assert getattr(record, name)() == line[above]
                        assert record.parent == (database, *line)[below]
                        assert record.root is record.database is database
                        assert record.depth == below + 1


def test_a_record_called_is_itself(database: db.Database, enhanced: db.Database) -> None:
    records = [database, *(getattr(database, level)()[0] for level in LEVELS)]
    for record in [*records, enhanced.instances()[0]["2"]]:
        assert record() is record
        assert record.parent() == record.parent
        assert type(record.parent) is type(record.parent())
    assert database.parent is database


def test_kinds(database: db.Database, enhanced: db.Database) -> None:
    kinds = [db.Database, db.Patient, db.Study, db.Series, db.Instance]
    assert [type(r) for r in (database, *(getattr(database, n)()[0] for n in LEVELS))] == kinds
    frame = enhanced.instances()[0].children()[0]
    assert type(frame) is db.Frame
    assert isinstance(frame, db.Instance)


def test_siblings(database: db.Database) -> None:
    assert database.siblings() == []
    for name in LEVELS:
        record = getattr(database, name)()[0]
        assert record.siblings() == [r for r in record.parent.children() if r != record]
    report = database.series(Modality="SR")[0]
    assert {s.Modality.item() for s in report.siblings()} == {"MR", "CT"}
    assert report.siblings(Modality="CT") == report.parent.series(Modality="CT")
    assert report.siblings(Modality="SR") == []


def test_order_does_not_depend_on_file_names(tmp_path: Path) -> None:
    numbers = [7, 100, 20, 3]
    for i, number in enumerate(numbers):
        one(tmp_path, i, PatientID="P", StudyInstanceUID="1.2", SeriesInstanceUID=f"1.2.{i}",
            SeriesNumber=number)  # fmt: skip
    assert [s.SeriesNumber.item() for s in db.database(tmp_path).series()] == sorted(numbers)
    made = make_series(tmp_path / "shuffled", shuffle=3, seed=9, keys={"SliceLocation": range(12)})
    series = db.database(tmp_path).series(SeriesInstanceUID=made.datasets[0].SeriesInstanceUID)[0]
    assert [i.InstanceNumber for i in series.instances()] == list(range(1, 13))
    assert list(series) == [str(n) for n in range(1, 13)]


# -- a mapping of children -----------------------------------------------------------------------


def everything(database: db.Database) -> list[Any]:
    return list(database.subtree)


def test_subtree_and_leaves(database: db.Database, hospital: MadeStudy) -> None:
    records = everything(database)
    assert len(records) == len(set(records))
    by_level = [sum(r.depth == depth for r in records) for depth in range(5)]
    assert by_level == [1, 2, 4, 12, len(hospital.files)]
    seen = {database}
    for record in records[1:]:
        assert record.parent in seen, "parents first"
        seen.add(record)
    assert database.leaves == tuple(database.instances())
    series = database.series()[0]
    assert list(series.subtree) == [series, *series.instances()]
    assert series.leaves == tuple(series.instances())


def test_every_record_is_a_mapping_of_its_children(
    database: db.Database, enhanced: db.Database
) -> None:
    for record in [*everything(database), *everything(enhanced)]:
        assert isinstance(record, Mapping)
        for mapping in (record, record.children):
            names = list(mapping)
            assert len(names) == len(set(names)) == len(mapping)
            assert list(mapping.keys()) == names
            assert list(mapping.values()) == [mapping[name] for name in names]
            assert list(mapping.items()) == [(name, mapping[name]) for name in names]
            assert [child.name for child in mapping.values()] == names
            assert all(child.parent == record for child in mapping.values())
            assert all(name in mapping for name in names)
            assert all(mapping.get(name) == mapping[name] for name in names)
            for other in ("no such child", "", "0", "-1", "999", "1.0", "²", 1, None, ()):
                assert other not in mapping
            for absent in ("no such child", "0", "-1", "999", "1.0", "²"):
                assert mapping.get(absent) is None
                assert mapping.get(absent, 5) == 5
        assert record.children() == list(record.values())


def test_every_record_is_found_by_its_path(database: db.Database, enhanced: db.Database) -> None:
    for root in (database, enhanced):
        for record in everything(root):
            assert root[record.path] == record
            assert record[record.path] == record
            assert record.path.count("/") == max(record.depth, 1)
            assert record["."] == record
            assert record[".."] == record.parent
            assert record["../.."] == record.parent.parent
            assert record["/"] == root
            if record is not root:
                assert record.path.rpartition("/")[2] == record.name
                assert record[f"../{record.name}"] == record


def test_relative_paths(database: db.Database) -> None:
    patient = database["DBX-0002"]
    assert patient["20240202 Visit 2/1 MR 1/2"] == patient.studies()[1].series()[0].instances()[1]
    assert database["DBX-0002/20240202 Visit 2"]["1 MR 1"]["2"] in database.instances()
    assert patient["../DBX-0001"] == database.patients()[0]
    assert patient["/DBX-0001"] == database.patients()[0]
    assert patient["20240202 Visit 2//1 MR 1/"] == patient.studies()[1].series()[0]
    assert patient["20240202 Visit 2/1 MR 1/Rows"] == [12]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("DBX-0003", ["DBX-0003", "Did you mean 'DBX-000"]),
        ("DBX-0001/nothing", ["nothing", "20240201 Visit 1"]),
        ("DBX-0001/nothing/1", ["nothing"]),
        ("Rows/nothing", ["Rows"]),
        ("FlipAngel", ["FlipAngle"]),
        ("/nothing", ["nothing"]),
    ],
)
def test_wrong_path_says_what_there_is(database: db.Database, path: str, words: list[str]) -> None:
    with pytest.raises(errors.UnknownKeyword) as caught:
        database[path]
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "", "Rows", 0])
def test_children_are_children_only(database: db.Database, name: Any) -> None:
    for record in (database, *(getattr(database, level)()[0] for level in LEVELS)):
        with pytest.raises(KeyError):
            record.children[name]


@pytest.mark.parametrize("index", [0, 1, -1, 5])
def test_a_number_is_no_child_and_no_attribute(database: db.Database, index: int) -> None:
    with pytest.raises(errors.UnknownKeyword):
        database[index]


def test_thousands_of_instances_are_walked_by_name_in_time(tmp_path: Path) -> None:
    make_many(tmp_path, 2000, shape=(2, 2))
    series = db.database(tmp_path).series()[0]
    names = list(series)
    start = time.perf_counter()
    for name in names:
        series[name]
    middle = time.perf_counter() - start
    start = time.perf_counter()
    for name in names[:200]:
        series[name]
    assert middle < 40 * (time.perf_counter() - start) + 0.05, "looking up is not linear"


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "path"),
    [
        ({}, "/P/STUDY/SERIES/1"),
        ({"PatientID": "A/B"}, "/A_B/STUDY/SERIES/1"),
        ({"PatientID": None, "PatientName": "Doe^J"}, "/Doe^J/STUDY/SERIES/1"),
        ({"PatientID": None, "PatientName": None}, "/patient/STUDY/SERIES/1"),
        ({"PatientID": ".."}, "/.._/STUDY/SERIES/1"),
        ({"PatientID": "PatientID"}, "/PatientID_/STUDY/SERIES/1"),
        ({"PatientID": "window"}, "/window_/STUDY/SERIES/1"),
        ({"StudyDate": None}, "/P/Synthetic study/SERIES/1"),
        ({"StudyDescription": None}, "/P/20240229/SERIES/1"),
        ({"StudyDate": None, "StudyDescription": None}, "/P/study/SERIES/1"),
        ({"SeriesNumber": None}, "/P/STUDY/Synthetic series/1"),
        ({"SeriesDescription": None}, "/P/STUDY/1/1"),
        ({"SeriesNumber": None, "SeriesDescription": None}, "/P/STUDY/MR/1"),
        ({"SeriesNumber": None, "SeriesDescription": "Rows"}, "/P/STUDY/Rows_/1"),
        ({"SeriesDescription": "T1/T2 map"}, "/P/STUDY/1 T1_T2 map/1"),
        ({"SeriesDescription": "two  blanks"}, "/P/STUDY/1 two blanks/1"),
        ({"SpecificCharacterSet": "ISO_IR 192", "SeriesDescription": "Übersicht 画像"},
         "/P/STUDY/1 Übersicht 画像/1"),
        ({"InstanceNumber": None}, "/P/STUDY/SERIES/instance"),
        ({"InstanceNumber": -3}, "/P/STUDY/SERIES/-3"),
    ],
)  # fmt: skip
def test_names(tmp_path: Path, header: dict[str, Any], path: str) -> None:
    uid = one(tmp_path, 1, **{"PatientID": "P", **header})
    database = db.database(tmp_path)
    instance = database.instances()[0]
    path = path.replace("STUDY", "20240229 Synthetic study").replace("SERIES", "1 Synthetic series")
    assert instance.path == path
    assert database[path] == instance
    assert instance.SOPInstanceUID == uid


def test_twins_get_a_number(tmp_path: Path) -> None:
    for i in range(3):
        one(tmp_path, i, PatientID="P", StudyInstanceUID=f"1.{i}", StudyDate="20240101",
            StudyDescription="Brain", StudyTime=f"0{i}0000")  # fmt: skip
    for i, text in enumerate(["DCE", "DCE", "DCE (2)", "DCE"]):
        one(tmp_path, 10 + i, PatientID="Q", StudyInstanceUID="2", SeriesInstanceUID=f"2.{i}",
            SeriesNumber=None, SeriesDescription=text)  # fmt: skip
    for i in range(3):
        one(tmp_path, 20 + i, PatientID="R", StudyInstanceUID="3", SeriesInstanceUID="3.1",
            InstanceNumber=1)  # fmt: skip
    database = db.database(tmp_path)
    names = ["20240101 Brain", "20240101 Brain (2)", "20240101 Brain (3)"]
    assert list(database["P"]) == names
    assert [database["P"][n].StudyTime.item() for n in names] == ["000000", "010000", "020000"]
    assert list(database["Q"].studies()[0]) == ["DCE", "DCE (2)", "DCE (2) (2)", "DCE (3)"]
    assert list(database["R"].series()[0]) == ["1", "1 (2)", "1 (3)"]
    for record in everything(database):
        assert database[record.path] == record


@given(st.lists(st.text(st.sampled_from("ab/. (2)\t\x00é")) | st.sampled_from(["Rows", "window"])))
def test_names_are_unique_and_usable(texts: list[str]) -> None:
    names = unique_names(texts, "series")
    assert len(names) == len(texts) == len(set(names))
    for name in names:
        assert name
        assert name == name.strip()
        assert name not in (".", "..", "Rows", "window")
        assert not set(name) & set("/\t\x00")
    assert unique_names(texts, "series") == names


# -- who is a patient ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patients", "tree"),
    [
        # (PatientID, PatientName) of one image each -> how many images each patient has, by name
        ([("1", "A"), ("1", "A")], {"1": 2}),
        ([("1", "A"), ("2", "A")], {"1": 1, "2": 1}),
        ([("1", "A"), ("1", "B")], {"1": 1, "1 (2)": 1}),
        ([("1", "A"), ("1", "B"), ("1", "A")], {"1": 2, "1 (2)": 1}),
        ([("1", "A"), ("1", None)], {"1": 2}),
        ([("1", None), ("1", None)], {"1": 2}),
        ([("1", "A"), ("1", "B"), ("1", None)], {"1": 1, "1 (2)": 1, "1 (3)": 1}),
        ([(None, "A"), (None, "A"), (None, "B")], {"A": 2, "B": 1}),
        ([(None, None), (None, None)], {"patient": 2}),
        ([(None, None), ("1", None), (None, "A")], {"patient": 1, "A": 1, "1": 1}),
        ([("A", "B"), (None, "A")], {"A": 1, "A (2)": 1}),
    ],
)
def test_a_patient_is_an_id_and_a_name_where_that_is_needed(
    tmp_path: Path, patients: list[tuple[str | None, str | None]], tree: dict[str, int]
) -> None:
    for i, (identity, name) in enumerate(patients):
        one(tmp_path, i, PatientID=identity, PatientName=name, StudyInstanceUID=f"1.{i}",
            SeriesInstanceUID=f"1.{i}.1")  # fmt: skip
    database = db.database(tmp_path)
    found = {patient.name: len(patient.instances()) for patient in database.patients()}
    assert found == tree
    for patient in database.patients():
        assert len(patient.PatientName) < 2, "no record holds two people"
        assert len(patient.PatientID) < 2


def test_one_study_uid_with_two_patients(tmp_path: Path) -> None:
    for i, patient in enumerate("AABB"):
        one(tmp_path, i, PatientID=patient, PatientName=patient, StudyInstanceUID="1.2",
            SeriesInstanceUID="1.2.3", SeriesDescription=patient)  # fmt: skip
    database = db.database(tmp_path)
    assert [len(p.instances()) for p in database.patients()] == [2, 2]
    studies = database.studies()
    assert len(set(studies)) == 2
    assert len(set(database.series())) == 2
    for patient in database.patients():
        for record in patient.subtree:
            assert database[record.path] == record
            assert set(record[["PatientID"]][0]) == set(patient.PatientID)
            assert record.patients() == patient


def test_record_of_a_twin_never_becomes_its_twin(tmp_path: Path) -> None:
    for i, patient in enumerate("AB"):
        one(tmp_path, i, PatientID="1", PatientName=patient, StudyInstanceUID="1.2",
            SeriesInstanceUID="1.2.3")  # fmt: skip
    database = db.database(tmp_path)
    first, second = database.patients()
    records = list(first.subtree)
    kept = list(second.subtree)
    Path(first.files()[0]).unlink()
    database.scan()
    for record in records:
        with pytest.raises(errors.NotInDatabase, match="not in"):
            len(record)
        assert "not in" in repr(record)
    for record in kept:
        assert record.PatientName in (["B"], "B")
        assert record.root[record.path].PatientName in (["B"], "B")


def test_record_whose_uid_has_got_a_twin_says_so(tmp_path: Path) -> None:
    one(tmp_path, 0, PatientID="A", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")
    database = db.database(tmp_path)
    patient, study, series, instance = list(database.subtree)[1:]
    one(tmp_path, 1, PatientID="B", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")
    database.scan()
    for record in (study, series):
        with pytest.raises(errors.NotInDatabase, match="stands in 2 "):
            len(record)
    assert len(patient) == 1
    assert instance.PatientID == "A", "an instance is found by its UID"


# -- multi-frame ---------------------------------------------------------------------------------


def test_frames_are_the_children_of_their_instance(enhanced: db.Database) -> None:
    (instance,) = enhanced.instances()
    assert list(instance) == [str(n) for n in range(1, 7)]
    expected = list(itertools.product([0.0, 5.0], [2.0, 4.0, 6.0]))
    for number, (frame, (location, echo)) in enumerate(
        zip(instance.children(), expected, strict=True), start=1
    ):
        assert frame == instance[str(number)]
        assert frame.number == number
        assert frame.name == str(number)
        assert frame.EchoTime == echo
        assert frame.ImagePositionPatient[2] - 40.0 == location
        assert frame.parent == instance
        assert frame.instances() == instance
        assert frame.series() == instance.parent
        assert len(frame) == 0
        assert frame.children() == []
        assert frame.depth == 5
        assert frame.files() == instance.files() == [instance.file] == [frame.file]
        assert frame.SOPInstanceUID == instance.SOPInstanceUID
    assert instance.EchoTime == [2.0, 4.0, 6.0]
    assert instance.Rows == 12
    assert enhanced.EchoTime == [2.0, 4.0, 6.0]
    assert [f.number for f in instance.children(EchoTime=4)] == [2, 5]
    assert enhanced.series()[0].frames(EchoTime=4) == instance.children(EchoTime=4)
    assert enhanced.leaves == tuple(instance.children())
    assert instance["2"].siblings(EchoTime=4) == [instance["5"]]


def test_frames_of_a_classic_series_are_its_instances(database: db.Database) -> None:
    series = database.series()[0]
    assert series.frames() == series.instances()
    assert series.frames(InstanceNumber=2) == series.instances(InstanceNumber=2)
    assert all(len(i) == 0 and i.children() == [] for i in series.instances())


def test_objects_without_pixels_stand_in_the_tree(
    database: db.Database, hospital: MadeStudy
) -> None:
    reports = database.series(Modality="SR")
    assert [r.files() for r in reports] == [[str(path)] for path in hospital.reports]
    for report in reports:
        (instance,) = report.instances()
        assert instance.Rows is None
        assert report.Rows == []
        assert instance.ContentSequence[0].TextValue == "A synthetic finding."
        assert instance.parent == report
        assert "SR" in str(report)
        assert len(instance) == 0


@pytest.mark.realdata
@pytest.mark.skipif(testdata_folder() is None, reason="no DBDICOM_XR_TESTDATA")
def test_real_hierarchy(tmp_path: Path) -> None:
    folder = testdata_folder()
    assert folder is not None
    database = db.database(folder, index=tmp_path / "index.sqlite")
    for record in database.subtree:
        if record.depth < 4 or record.InstanceNumber in (None, 1):
            assert database[record.path] == record
    uids = [i.uid for i in database.instances()]
    assert len(uids) == len(set(uids))
    files = set(database.files())
    assert len(files) == len(database.instances())
    listed = {p.file for p in database.problems if not p.kept}
    assert not files & listed
    everything_there = {str(p) for p in testdata_files() if ".dbdicom_xr" not in p.parts}
    assert files | listed == everything_there, "each file is an instance or a problem"
