"""Files, places and records that once went wrong when they were staged or saved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.errors import (
    DbdicomError,
    DicomWarning,
    InvalidValue,
    MissingFolder,
    NotInDatabase,
    NotSaved,
    SaveFailed,
)
from dbdicom_xr.interact import ScriptedFrontEnd
from dbdicom_xr.staging.view import View
from dbdicom_xr.testing import MadeSeries, make_series, make_study


@pytest.fixture
def made(tmp_path: Path) -> MadeSeries:
    return make_series(tmp_path / "data", keys={"SliceLocation": [0.0, 5.0, 10.0]})


@pytest.fixture
def database(made: MadeSeries) -> db.Database:
    return db.database(made.folder)


@pytest.fixture
def study(tmp_path: Path) -> db.Database:
    """Three patients with one study of one series."""
    make_study(tmp_path, patients=3, studies=1, series=1, images=2)
    return db.database(tmp_path)


def rewritten(folder: Path, change: Callable[[Dataset], None]) -> None:
    """Change the files of a folder as another program would."""
    for file in sorted(folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(file)
        change(dataset)
        dataset.save_as(file)


def datasets(record: Any) -> list[Dataset]:
    """Return the files of a record as another program reads them."""
    return [pydicom.dcmread(file) for file in record.files()]


# -- folders and files that go -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["save", "close", "set", "new"])
def test_a_folder_that_is_renamed_is_said_to_be_missing(
    database: db.Database, tmp_path: Path, how: str
) -> None:
    series = database.series()[0]
    series.InstitutionName = "staged"
    os.rename(tmp_path / "data", tmp_path / "moved")
    with pytest.raises(MissingFolder, match="data"):
        if how == "save":
            database.save()
        elif how == "close":
            database.close(save=True)
        elif how == "set":
            series.ProtocolName = "lost"
        else:
            database.new_patient(PatientName="lost")
    assert not (tmp_path / "data").exists()
    moved = db.database(tmp_path / "moved")
    assert moved.InstitutionName == ["staged"]
    moved.save()
    assert {dataset.InstitutionName for dataset in datasets(moved)} == {"staged"}
    with pytest.warns(DicomWarning, match="at its new place"):
        database.close()


def test_a_staging_file_that_is_removed_is_missed(database: db.Database, tmp_path: Path) -> None:
    series = database.series()[0]
    before = series.InstitutionName
    series.InstitutionName = "staged"
    (tmp_path / "data" / ".dbdicom_xr" / "staging.sqlite").unlink()
    with pytest.warns(DicomWarning, match="removed.*staged"):
        database.save()
    assert series.InstitutionName == before
    series.ProtocolName = "after"
    database.save()
    assert {dataset.ProtocolName for dataset in datasets(database)} == {"after"}


@pytest.mark.parametrize("anew", [False, True], ids=["index kept", "index made anew"])
def test_a_file_changed_by_others_is_not_overwritten(
    database: db.Database, tmp_path: Path, anew: bool
) -> None:
    database.ImageComments = "staged"
    file = Path(database.files()[1])
    with pytest.warns(NotSaved):
        database.close()
    dataset = pydicom.dcmread(file)
    dataset.ImageComments = "a remark of someone else"
    dataset.save_as(file)
    contents = {path: path.read_bytes() for path in file.parent.glob("*.dcm")}
    if anew:
        (tmp_path / "data" / ".dbdicom_xr" / "index.sqlite").unlink()
    again = db.database(tmp_path / "data")
    with pytest.raises(SaveFailed, match=file.name):
        again.save()
    assert {path: path.read_bytes() for path in file.parent.glob("*.dcm")} == contents
    again.restore()


# -- two files with one SOPInstanceUID ----------------------------------------------------------


@pytest.fixture
def twins(made: MadeSeries) -> tuple[db.Database, Path, Path]:
    """A database in which the last file repeats the first one."""
    first = sorted(made.folder.glob("*.dcm"))[0]
    twin = first.with_name("twin.dcm")
    shutil.copy(first, twin)
    database = db.database(made.folder)
    assert len(database.instances()) == 3
    assert [Path(problem.file) for problem in database.problems] == [twin]
    return database, first, twin


@pytest.mark.parametrize("change", ["remove", "rename"])
def test_a_save_names_the_twin_that_it_leaves_behind(
    twins: tuple[db.Database, Path, Path], change: str
) -> None:
    database, first, twin = twins
    content = twin.read_bytes()
    patient = database.patients()[0]
    if change == "remove":
        patient.remove()
    else:
        patient.PatientName = "ANON"
    with pytest.warns(DicomWarning, match=twin.name):
        database.save()
    assert twin.read_bytes() == content
    assert first.exists() == (change == "rename")


def test_a_twin_comes_in_when_the_other_has_a_new_uid(
    twins: tuple[db.Database, Path, Path],
) -> None:
    database, first, twin = twins
    old = pydicom.dcmread(first).SOPInstanceUID
    [instance] = [one for one in database.instances() if Path(one.file) == first]
    instance.SOPInstanceUID = "2.25.4711"
    with pytest.warns(DicomWarning, match=twin.name):
        database.save()
    expected = {str(file): str(pydicom.dcmread(file).SOPInstanceUID) for file in database.files()}
    assert expected[str(first)] == "2.25.4711"
    assert expected[str(twin)] == old
    for _ in range(2):
        found = {one.file: one.SOPInstanceUID for one in database.instances()}
        assert found == expected
        assert len(found) == 4
        database.close()
        database = db.database(first.parent)
    database.scan()
    assert {one.file: one.SOPInstanceUID for one in database.instances()} == expected


# -- removed records -----------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["patients", "studies", "series", "instances"])
def test_removed_records_can_be_shown_and_restored(
    database: db.Database, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = getattr(database, level)()[0]
    count = len(record.instances()) if level != "instances" else 1
    files = database.files()
    record.remove()
    assert len(database.instances()) == 3 - count
    word = type(record).__name__
    print(record)
    for text in (repr(record), str(record), f"{[record]}", record._repr_html_()):
        assert word in text
    assert word in capsys.readouterr().out
    with pytest.raises(NotInDatabase):
        record.save()
    assert all(Path(file).exists() for file in files)
    record.restore()
    assert len(database.instances()) == 3
    assert record in getattr(database, level)()
    assert database.changes().empty
    database.save()
    assert [Path(file).exists() for file in files] == [True] * 3


# -- patients without an ID, studies and series without UID --------------------------------------


def test_patients_do_not_join_by_losing_their_id(study: db.Database) -> None:
    patients = study.patients()
    before = [patient.PatientID for patient in patients]
    for patient in patients:
        patient.PatientName = "Anon"
    patients[0].PatientID = None
    for patient in patients[1:]:
        for nothing in (None, ""):
            with pytest.raises(InvalidValue, match="would become one"):
                patient.PatientID = nothing
    assert [len(patient.instances()) for patient in study.patients()] == [2, 2, 2]
    assert [patient.PatientID for patient in patients[1:]] == before[1:]
    study.save()
    assert len(study.patients()) == 3
    assert {one.get("PatientID", "") for one in datasets(study)} == {"", *np.ravel(before[1:])}
    assert {str(one.PatientName) for one in datasets(study)} == {"Anon"}


def test_patients_without_id_do_not_join_by_their_name(study: db.Database) -> None:
    patients = study.patients()
    for number, patient in enumerate(patients):
        patient.PatientName = f"N{number}"
        patient.PatientID = None
    study.save()
    for change in (
        lambda: setattr(patients[1], "PatientName", "N0"),
        lambda: setattr(study, "PatientName", "N0"),
    ):
        with pytest.raises(InvalidValue, match="would become one"):
            change()
    assert study.changes().empty
    found = {(str(one.PatientName), one.get("PatientID", "")) for one in datasets(study)}
    assert found == {("N0", ""), ("N1", ""), ("N2", "")}


@pytest.mark.parametrize("how", ["copy_to", "move_to"])
@pytest.mark.parametrize("missing", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_records_without_uid_go_elsewhere(made: MadeSeries, missing: str, how: str) -> None:
    rewritten(made.folder, lambda dataset: delattr(dataset, missing))
    database = db.database(made.folder)
    patient = database.new_patient(PatientName="Target", PatientID="Z")
    if missing == "StudyInstanceUID":
        placed = getattr(database.studies()[0], how)(patient)
    else:
        series = database.series()[0]
        placed = getattr(series, how)(patient.new_study(StudyDescription="new"))
    expected = 3 if how == "move_to" else 6
    for saved in (False, True):
        if saved:
            database.save()
        assert len(database.instances()) == expected
        assert len(placed.instances()) == len(patient.instances()) == 3
        assert {str(one.PatientName) for one in placed.instances()} == {"Target"}
    read = datasets(placed)
    assert {(str(one.PatientName), one.PatientID) for one in read} == {("Target", "Z")}
    uids = [one.SOPInstanceUID for one in datasets(database)]
    assert len(set(uids)) == len(uids) == expected


def test_studies_without_uid_of_renamed_patients_are_moved(tmp_path: Path) -> None:
    for number in range(2):
        folder = make_series(tmp_path / str(number), seed=number).folder
        values = {"StudyInstanceUID": "", "PatientID": "", "PatientName": f"P{number}"}
        rewritten(folder, lambda dataset, values=values: dataset.update(values))  # type: ignore[misc]
    database = db.database(tmp_path)
    for number, patient in enumerate(database.patients()):
        patient.PatientName = f"N{number}"
    target = database.new_patient(PatientName="Target", PatientID="Z")
    study = database.studies(PatientName="N0")[0]
    assert study.move_to(target) == study
    database.save()
    names = [str(one.PatientName) for one in datasets(database)]
    assert sorted(names) == ["N1"] * 3 + ["Target"] * 3
    assert len(study.instances()) == len(target.instances()) == 3


# -- calls with something else than records ------------------------------------------------------


@pytest.mark.parametrize("records", [None, 5, np.array(3), np.zeros(2), "text", []], ids=repr)
@pytest.mark.parametrize("what", ["copy_to", "move_to", "merge", "group"])
def test_only_records_are_copied(database: db.Database, records: Any, what: str) -> None:
    function = getattr(db, what)
    target = (database.studies()[0],) if what in ("copy_to", "move_to") else ()
    with pytest.raises(InvalidValue, match="record"):
        function(records, *target)
    assert database.changes().empty


@pytest.mark.parametrize("inplace", [False, True])
def test_merge_into_a_record(study: db.Database, inplace: bool) -> None:
    first, second, third = study.series()
    merged = first.merge(second, into=third, inplace=inplace)
    assert merged == third
    study.save()
    assert len(third.instances()) == 6
    assert len(study.instances()) == (6 if inplace else 10)
    read = datasets(third)
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID"):
        assert len({one[keyword].value for one in read}) == 1, keyword
    assert len({one.SOPInstanceUID for one in datasets(study)}) == len(study.instances())


# -- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [None, True, False])
def test_closing_inside_a_batch(database: db.Database, save: bool | None) -> None:
    instances = database.instances()
    with pytest.raises(DbdicomError, match="batch"), database.batch():
        for instance in instances:
            instance.ProtocolName = "in a batch"
        database.close(save=save)
    assert "in a batch" not in {one.ProtocolName for one in instances}
    assert database.changes().empty
    assert "in a batch" not in {one.get("ProtocolName") for one in datasets(database)}


def composed(monkeypatch: pytest.MonkeyPatch, database: db.Database, count: int) -> int:
    """Return how many series are composed while some are edited one by one."""
    calls = []
    original = View._compose

    def counted(self: View, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return original(self, *args, **kwargs)

    series = database.series()[:count]
    with monkeypatch.context() as patched, database.batch():
        patched.setattr(View, "_compose", counted)
        for number, one in enumerate(series):
            one.ProtocolName = f"p{number}"
    assert [one.ProtocolName for one in series] == [[f"p{number}"] for number in range(count)]
    return len(calls)


@pytest.mark.parametrize("staged", [False, True])
def test_many_series_edited_one_by_one_take_linear_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, staged: bool
) -> None:
    make_study(tmp_path, patients=1, studies=1, series=60, images=1)
    database = db.database(tmp_path)
    if staged:
        database.InstitutionName = "in all of them"
    few, many = (composed(monkeypatch, database, count) for count in (15, 60))
    assert many <= 60 * 3, (few, many)
    assert many <= 4 * few + 60, (few, many)


# -- what is shown -------------------------------------------------------------------------------


def test_changes_in_words(study: db.Database) -> None:
    first, second, third = study.patients()
    series = second.series()[0]
    number, description = series.SeriesNumber, series.SeriesDescription
    uid = series.SeriesInstanceUID
    first.PatientName = "Renamed"
    series.remove()
    third.series()[0].ImageComments = "long " * 100
    third.series()[0].ProtocolName = None
    changes = study.changes()
    assert "moved" not in set(changes["change"])
    [removed] = changes[changes["change"] == "removed"]["record"]
    assert (uid[0] if isinstance(uid, list) else uid) not in removed
    assert description[0] in removed, (number, removed)
    edited = changes[changes["change"] == "edited"].set_index("attribute")["value"]
    assert len(edited["ImageComments"]) <= 80
    assert edited["ImageComments"].startswith("long long")
    assert edited["ProtocolName"] is None
    assert str(edited["PatientName"]) == "Renamed"
    study.restore()


def test_staged_changes_are_told_when_a_database_is_opened_or_shown(
    database: db.Database, person: ScriptedFrontEnd
) -> None:
    folder = database.path_on_disk
    words = "changes that are not saved"
    assert words not in str(database) + repr(database) + database._repr_html_()
    assert not any("not saved" in text for text in map(str, person.said))
    database.ProtocolName = "staged"
    again = db.database(folder)
    assert any("not saved" in text for text in map(str, person.said))
    for text in (str(again), repr(again), again._repr_html_(), str(database)):
        assert words in text
    again.save()
    assert words not in str(again) + str(database) + again._repr_html_()


def test_files_that_were_moved_to_and_fro_are_saved_where_they_are(tmp_path: Path) -> None:
    make_series(tmp_path)
    series = db.database(tmp_path).series()[0]
    path = Path(series.instances()[0].file)
    for number, now in enumerate((path.with_suffix(".bak"), path)):
        next(iter(tmp_path.glob(f"{path.stem}.*"))).rename(now)
        series.SeriesDescription = f"saved {number}"
        series.save()
        assert pydicom.dcmread(now).SeriesDescription == f"saved {number}"
