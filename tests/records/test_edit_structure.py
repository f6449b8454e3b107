"""New records, copies, moves and removals, on all levels, and what they take along."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.staging.staging import Staging
from dbdicom_xr.testing import MadeStudy, make_many, make_study
from tests.records.ordinary import run_python


@pytest.fixture
def made(tmp_path: Path) -> MadeStudy:
    made = make_study(tmp_path / "data", studies=1, images=2)
    for number, path in enumerate(made.files):
        dataset = pydicom.dcmread(path)
        first = dataset.PatientID == "DBX-0001"
        dataset.PatientBirthDate = "19660101" if first else ""
        dataset.PatientWeight = 60 if first else None
        if first:
            dataset.EthnicGroup = "one"
            dataset.AccessionNumber = "17"
        dataset.ImageComments = str(number)
        dataset.save_as(path)
    return made


@pytest.fixture
def database(made: MadeStudy) -> db.Database:
    return db.database(made.folder)


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and "sqlite" not in path.name]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "EthnicGroup")
STUDY = ("StudyInstanceUID", "StudyDate", "AccessionNumber", "StudyDescription")


# -- new records ---------------------------------------------------------------------------------


def test_what_a_new_record_says(database: db.Database) -> None:
    patient = database.new_patient(PatientName="New^N", PatientBirthDate="19112022")
    study = patient.new_study(StudyDate="12.12.22", StudyDescription="later")
    series = study.new_series(SeriesDescription="made", SeriesNumber=9, EchoTime="4.5")
    assert series.PatientName == study.PatientName == ["New^N"]
    assert series.PatientBirthDate == ["20221119"]
    assert series.StudyDate == ["20221212"]
    assert series.StudyInstanceUID == study.StudyInstanceUID
    assert (series.SeriesNumber, series.EchoTime) == ([9], [4.5])
    assert series.new_sibling().SeriesNumber == [10]
    assert patient.PatientID == series.PatientID
    assert database.series(PatientName="New*", SeriesDescription="made") == [series]
    assert database.patients(PatientName="New*") == [patient]
    below = database.studies()[0].new_series(SeriesDescription="in an old study")
    assert below.PatientName == database.patients()[0].PatientName
    assert below.StudyDate == database.studies()[0].StudyDate
    assert below.PatientBirthDate == ["19660101"]
    database.save()
    again = db.database(database.path_on_disk)
    assert again[series.path].EchoTime == [4.5]
    again.close()


@pytest.mark.parametrize("end", ["restore", "save"])
def test_a_new_instance_is_of_its_patient(database: db.Database, end: str) -> None:
    study = database.studies()[0]
    for series in (study.new_series(SeriesDescription="new"), study.series()[0]):
        instance = series.new_instance(ImageComments="made")
        for name in (*PATIENT, *STUDY, "PatientWeight"):
            assert instance[name] == study[name][0], name
        assert instance.InstanceNumber == len(series.instances())
    if end == "restore":
        database.restore()
        assert len(database.instances()) == 8
    else:
        database.save()
        assert pydicom.dcmread(instance.file).PatientBirthDate == "19660101"


@pytest.mark.parametrize("change", ["remove", "edit", "rename", "fill"])
def test_a_saved_empty_record_is_restored(database: db.Database, change: str) -> None:
    series = database.studies()[0].new_series(SeriesDescription="kept", FlipAngle=5)
    database.save()
    before = str(database)
    if change == "remove":
        series.remove()
    elif change == "edit":
        series.FlipAngle = 6
        series.SeriesDescription = "other"
    elif change == "rename":
        database.patients()[0].PatientID = "other"
    else:
        database.instances()[0].move_to(series)
    assert not database.changes().empty
    assert str(database) != before
    database.restore()
    assert str(database) == before
    assert (series.SeriesDescription, series.FlipAngle) == (["kept"], [5.0])
    assert database.changes().empty


def test_attributes_of_an_empty_record_hold_for_what_comes(database: db.Database) -> None:
    first, second = database.studies()
    series = second.new_series(SeriesDescription="new", FlipAngle=12)
    series.EchoTime = 7
    moved = first.series()[0].instances()[0].move_to(series)
    copied = first.series()[0].instances()[0].copy_to(series)
    for instance in (moved, copied):
        assert (instance.SeriesDescription, instance.FlipAngle, instance.EchoTime) == ("new", 12, 7)
    database.restore()


# -- copies and moves ------------------------------------------------------------------------------


def children(record: Any) -> int:
    return len(record.instances())


@pytest.mark.parametrize("level", ["study", "series", "instance"])
@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("back", [True, False])
def test_nothing_of_another_patient_stays(
    made: MadeStudy, database: db.Database, level: str, copies: bool, back: bool
) -> None:
    one, two = database.patients()[:: -1 if back else 1]
    record = {"study": one.studies, "series": one.series, "instance": one.instances}[level]()[0]
    target = {"study": lambda: two, "series": lambda: two.studies()[0],
              "instance": lambda: two.series()[0]}[level]()  # fmt: skip
    count = 1 if level == "instance" else children(record)
    total = children(database)
    target_values = {n: two[n] for n in PATIENT}
    of_study = {n: target[n] for n in STUDY} if level != "study" else {}
    uids = {record.uid} if level == "instance" else {i.uid for i in record.instances()}
    pixels = (record if level == "instance" else record.instances()[0]).array().values
    before = hashes(made.folder)
    new = record.copy_to(target) if copies else record.move_to(target)
    came = [new] if level == "instance" else new.instances()
    assert hashes(made.folder) == before
    assert len(came) == count
    assert children(database) == total + (count if copies else 0)
    assert ({i.uid for i in came} == uids) is not copies
    assert uids.isdisjoint({i.uid for i in came}) is copies
    np.testing.assert_array_equal(came[0].array().values, pixels)
    assert (new == record) is not copies
    assert new.parent == target

    def right(instance: Any) -> None:
        for name, values in {**target_values, **of_study}.items():
            assert instance[name] == (values[0] if values else None), name
        assert bool(instance.PatientWeight) == (back != (level == "study")), "of the study"

    for instance in came:
        right(instance)
    siblings = target.children()
    if level != "study":
        name = "SeriesNumber" if level == "series" else "InstanceNumber"
        numbers = [s[name] if level == "instance" else s[name].item() for s in siblings]
        assert len(set(numbers)) == len(numbers)
    database.save()
    for instance in came:
        right(instance)
        dataset = pydicom.dcmread(instance.file)
        assert dataset.PatientID == two.PatientID.item()
        assert ("EthnicGroup" in dataset) == back
        assert dataset.file_meta.MediaStorageSOPInstanceUID == instance.uid
    np.testing.assert_array_equal(came[0].array().values, pixels)


REFUSED: dict[str, Callable[[db.Database], Any]] = {
    "a study into a series": lambda d: d.studies()[0].move_to(d.series()[0]),
    "a series into a series": lambda d: d.series()[0].move_to(d.series()[1]),
    "a series into itself": lambda d: d.series()[0].copy_to(d.series()[0]),
    "a study into itself": lambda d: d.studies()[0].move_to(d.studies()[0]),
    "a patient into its study": lambda d: d.patients()[0].copy_to(d.studies()[0]),
    "an instance into a study": lambda d: d.instances()[0].copy_to(d.studies()[0]),
    "the database": lambda d: d.copy_to(d),
    "the database removed": lambda d: d.remove(),
    "into a text": lambda d: d.series()[0].move_to("study"),
    "an identifier of a copy": lambda d: d.series()[0].copy(SeriesInstanceUID="1.2"),
    "several levels": lambda d: db.copy_to([d.series()[0], d.studies()[0]], d.studies()[0]),
    "nothing": lambda d: db.move_to([], d.studies()[0]),
    "merged into another level": lambda d: db.merge(d.series(), into=d.studies()[0]),
    "merged without brackets": lambda d: db.merge(d.series()[0], d.series()[1]),
    "merged with three": lambda d: db.merge(d.series()[:1], *d.series()[1:3]),
    "merged into what is there, with attributes": lambda d: db.merge(
        d.series()[:1], into=d.series()[1], SeriesDescription="x"
    ),
    "instances merged": lambda d: db.merge(d.instances()),
    "split by what differs inside": lambda d: d.series()[0].split_by("ContrastBolusAgent"),
    "a subseries of nothing": lambda d: d.series()[0].subseries(InstanceNumber=77),
    "a child of an instance": lambda d: d.instances()[0].new_child(),
    "a sibling of the database": lambda d: d.new_sibling(),
    "a long description": lambda d: d.series()[0].copy(SeriesDescription="x" * 65),
    "a known patient": lambda d: d.new_patient(PatientID=d.PatientID[0]),
    "a known series": lambda d: d.new_series(SeriesInstanceUID=d.SeriesInstanceUID[0]),
}


def test_what_is_refused_changes_nothing(database: db.Database) -> None:
    before = str(database)
    for what, act in REFUSED.items():
        with pytest.raises((errors.InvalidValue, errors.GridError)):
            act(database)
            pytest.fail(what)
        assert database.changes().empty, what
    assert str(database) == before


@pytest.mark.parametrize("level", ["patients", "studies", "series", "instances"])
def test_removed_records(made: MadeStudy, database: db.Database, level: str) -> None:
    record = getattr(database, level)()[0]
    parent = record.parent
    before, shown = hashes(made.folder), str(database)
    gone = {record.uid} if level == "instances" else {i.uid for i in record.instances()}
    record.remove()
    assert "not in" in repr(record)
    for ask in (lambda: record.PatientName, lambda: record.copy(), lambda: record.remove(),
                lambda: setattr(record, "PatientName", "x"), lambda: record.array(),
                lambda: record.name):  # fmt: skip
        with pytest.raises((errors.NotInDatabase, errors.UnknownKeyword)):
            ask()
    assert gone.isdisjoint({i.uid for i in database.instances()})
    assert record not in parent.children()
    assert hashes(made.folder) == before
    record.restore()
    assert str(database).replace(", with changes that are not saved", "") == shown
    record.remove()
    database.save()
    left = {str(pydicom.dcmread(path).SOPInstanceUID) for path in made.folder.rglob("*.dcm")}
    assert left.isdisjoint(gone)
    assert len(left) == 8 - len(gone)
    assert database.changes().empty


def test_a_merge_that_was_given_no_list_says_how(database: db.Database) -> None:
    one, other = database.series()[:2]
    with pytest.raises(errors.InvalidValue, match=r"merge\(\[a, b\]\).*merge\(\[a\], into=b\)"):
        db.merge(one, other)
    assert db.merge([one.copy()], target := other.copy()) == target
    merged = db.merge([one, other], SeriesDescription="both")
    assert {i.SeriesDescription for i in merged.instances()} == {"both"}
    assert one.merge(other, SeriesDescription="again").SeriesDescription == ["again"]
    with pytest.raises(errors.UnknownKeyword, match="SeriesDescription"):
        db.merge([one, other], SeriesDescrption="both")


def test_a_split_is_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[int] = []
    replace = Staging.replace

    def counted(self: Staging, new: Any) -> None:
        changes.append(1)
        replace(self, new)

    for count in (3, 30):
        times = [10.0 * number for number in range(count)]
        series = db.zeros((count, 4, 3), dims=["EchoTime"], coords={"EchoTime": times})
        with monkeypatch.context() as patch:
            patch.setattr(Staging, "replace", counted)
            parts = series.split_by("EchoTime")
        assert list(parts) == times
        assert [part.EchoTime.item() for part in parts.values()] == times
        numbers = [part.SeriesNumber.item() for part in parts.values()]
        assert numbers == list(range(2, count + 2))
        assert len({i.uid for i in series.database.instances()}) == 2 * count
        assert parts[10.0].SeriesDescription == ["EchoTime 10.0"]
        series.database.close(save=False)
    assert len(changes) == 2 * 2  # the series, and what is in them


def test_subseries_split_and_merge(database: db.Database) -> None:
    series = database.series()[0]
    part = series.subseries(InstanceNumber=2)
    assert (len(part), part.ImageComments) == (1, ["1"])
    assert part.SeriesDescription == series.SeriesDescription
    parts = series.split_by("InstanceNumber")
    assert [*parts] == [1, 2]
    assert [one.ImageComments for one in parts.values()] == [["0"], ["1"]]
    assert len(series) == 2
    merged = db.merge([*parts.values()])
    assert merged.ImageComments == ["0", "1"]
    assert all(len(one) == 1 for one in parts.values())
    inplace = db.merge([*parts.values()], inplace=True)
    assert inplace.ImageComments == ["0", "1"]
    assert not any(one in database.series() for one in parts.values())
    study = db.group([series, part], inplace=True)
    assert {*study.series()} == {series, part}
    assert study.PatientID == series.PatientID
    database.restore()
    assert len(database.series()) == 4


def test_an_emptied_series_takes_in_another_modality(database: db.Database) -> None:
    mr, ct = database.series()[:2]
    assert (mr.Modality, ct.Modality) == (["MR"], ["CT"])
    for instance in ct.instances():
        instance.remove()
    image = mr.instances()[0]
    assert image.move_to(ct).Modality == "MR"
    database.restore()


# -- copies of what changes ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["remove", "edit", "rename", "move"])
@pytest.mark.parametrize("then", ["", "reopen", "restore copy", "save copy", "copy again"])
def test_copies_stay_when_their_source_is_saved_first(
    made: MadeStudy, database: db.Database, how: str, then: str
) -> None:
    series = database.series()[0]
    pixels = [i.array().values for i in series.instances()]
    study, other = database.studies()[:2]
    # What was removed is saved with what it was in, and the copy is not to be saved with it.
    copy = series.copy_to(other if how == "remove" else study, SeriesDescription="copy")
    path = copy.path
    if how == "remove":
        series.remove()
    elif how == "edit":
        series.ImageComments = "edited"
    elif how == "rename":
        series.SeriesInstanceUID = "1.2.3"
    else:
        series.move_to(database.studies()[1])
    (study if how == "remove" else series).save()

    def right(record: Any) -> None:
        assert record.ImageComments == ["0", "1"]
        for instance, values in zip(record.instances(), pixels, strict=True):
            np.testing.assert_array_equal(instance.array().values, values)

    right(copy)
    if then == "reopen":
        with pytest.warns(errors.NotSaved):
            database.close()
        database = db.database(made.folder)
        copy = database[path]
        right(copy)
    elif then == "restore copy":
        copy.restore()
        assert path not in [s.path for s in database.series()]
        assert not [*(made.folder / ".dbdicom_xr").rglob("*.dcm")]
        return
    elif then == "save copy":
        copy.save()
        assert database.changes().empty
    elif then == "copy again":
        again = copy.copy()
        copy.restore()
        right(again)
        again.save()
        right(again)
        return
    right(copy)
    database.save()
    right(copy)
    assert not [*(made.folder / ".dbdicom_xr").rglob("*.dcm")]


_NO_FILE = """
import os, sys
opened = []
def audit(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".dcm"):
        opened.append(arguments[0])
sys.addaudithook(audit)
import dbdicom_xr as db
database = db.database({folder!r}, refresh=False)
(series,) = database.series()
copies = series.copy()
moved = copies.copy().move_to(database.new_study())
copies.instances()[0].remove()
print(len(database.instances()), len(opened))
database.restore()
"""


def test_copies_cost_no_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make_many(folder, 10_000, shape=(4, 4))
    database = db.database(folder)
    database.close()

    def size() -> int:
        return sum(path.stat().st_size for path in folder.rglob("*.dcm"))

    before = size()
    assert run_python(_NO_FILE.format(folder=str(folder)), tmp_path / "home") == "29999 0\n"
    assert size() == before
