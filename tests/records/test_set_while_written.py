"""What is set between the planning of a write and its end holds for the images that are written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import SaveRecovered
from dbdicom_xr.testing import make_series
from tests.records.ordinary import run_python

SLICES = {"SliceLocation": [0.0, 5.0]}
SAID = {
    "SeriesDescription": "said", "ProtocolName": "protocol", "OperatorsName": "Op^One",
    "InstitutionName": "house", "PatientWeight": 70.0, "AcquisitionDate": "20010101",
    "StudyInstanceUID": "1.2",
}  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Iterator[db.Database]:
    """Two series of one study."""
    for number, name in enumerate(("one", "two"), start=1):
        make_series(
            tmp_path / name, keys=SLICES, shape=(4, 3), seed=number,
            header={**SAID, "SeriesInstanceUID": f"1.2.{number}", "SeriesNumber": number},
        )  # fmt: skip
    opened = db.database(tmp_path)
    assert [len(opened.patients()), len(opened.studies()), len(opened.series())] == [1, 1, 2]
    yield opened
    opened.close(save=False)


def planned(source: Any, *, mode: str = "w", filled: bool = False, **attributes: Any) -> Any:
    """Return a series, and the write of an array of twice the source into it."""
    series = source if filled else source.new_sibling(SeriesDescription="new")
    array, _ = source.array("SliceLocation")
    return series, (array * 2).dicom.write(series, mode=mode, compute=False, **attributes)


def on_disk(series: Any) -> list[pydicom.Dataset]:
    series.database.save()
    return [pydicom.dcmread(path) for path in series.files()]


def values_of(images: list[pydicom.Dataset], keyword: str) -> set[Any]:
    """Return what files say; None stands for an attribute that is not there."""
    return {None if keyword not in one else str(one[keyword].value or "") for one in images}


# What is set where; None stands for an attribute that is taken out.
EDITS: dict[str, dict[str, dict[str, Any]]] = {
    "set": {
        "patient": {
            "PatientBirthDate": "19000101", "PatientName": "Anon", "PatientID": "X1",
            "PatientComments": "Jürgen", "InstitutionName": "elsewhere",
            "AcquisitionDate": "19000102",
        },
        "study": {
            "StudyDate": "19000101", "AccessionNumber": "A7", "PatientWeight": 80,
            "StudyInstanceUID": "1.2.77", "StationName": "MR9",
        },
        "series": {
            "SeriesDescription": "better", "SeriesNumber": 77, "ProtocolName": "P",
            "SeriesInstanceUID": "1.2.78",
        },
    },
    "taken out": {
        "patient": {
            "PatientBirthDate": None, "PatientSex": None, "InstitutionName": None,
            "OperatorsName": None, "AcquisitionDate": None,
        },
        "study": {"StudyDate": None, "ReferringPhysicianName": None, "PatientWeight": None},
        "series": {"SeriesDescription": None},
    },
    "set elsewhere": {
        "patient": {"StudyDate": "19000101", "PatientWeight": 80, "OperatorsName": "Anon"},
        "study": {"PatientBirthDate": "", "InstitutionName": "elsewhere"},
        "series": {"PatientSex": "F", "AccessionNumber": "A7"},
    },
}  # fmt: skip


@pytest.mark.parametrize("filled", [True, False], ids=["filled", "empty"])
@pytest.mark.parametrize("mode", ["w", "a"])
@pytest.mark.parametrize("case", EDITS)
def test_edits_hold(database: Any, case: str, mode: str, filled: bool) -> None:
    series, write = planned(database.series()[0], mode=mode, filled=filled)
    study = series.parent
    records = {"patient": study.parent, "study": study, "series": series}
    expected = {}
    for level, edits in EDITS[case].items():
        for keyword, value in edits.items():
            records[level][keyword] = value
            expected[keyword] = {None if value is None else str(value)}
    write.compute()
    images = on_disk(series)
    assert len(images) == (4 if filled and mode == "a" else 2)
    assert {keyword: values_of(images, keyword) for keyword in expected} == expected
    others = {"SeriesDescription": "said" if filled else "new", "PatientSex": "O", "StudyID": "1"}
    for keyword, said in others.items():
        assert keyword in expected or values_of(images, keyword) == {said}


GIVEN = {"SeriesDescription": "a", "ProtocolName": "b", "EchoTime": 3.5, "Laterality": "L"}
LATER = {"SeriesDescription": "c", "ProtocolName": "d", "EchoTime": 4.5, "Laterality": "R"}


@pytest.mark.parametrize("later", [LATER, dict.fromkeys(GIVEN)])
@pytest.mark.parametrize("mode", ["w", "a"])
def test_what_an_empty_series_is_given_or_loses(database: Any, later: Any, mode: str) -> None:
    series = database.series()[0].new_sibling(**GIVEN)
    array, _ = database.series()[0].array("SliceLocation")
    write = array.dicom.write(series, mode=mode, compute=False)
    for keyword, value in later.items():
        series[keyword] = value
    write.compute()
    for image in on_disk(series):
        assert {keyword: image.get(keyword) for keyword in later} == later


@pytest.mark.parametrize("mode", ["w", "a"])
def test_edits_of_all_images_of_a_series(database: Any, mode: str) -> None:
    series, write = planned(database.series()[0], mode=mode, filled=True)
    said = {"Manufacturer": "M", "EchoTime": 77.0, "StationName": "MR9", "PixelSpacing": [2, 3]}
    for keyword, value in said.items():
        series[keyword] = value
    series.RescaleSlope = 5  # of the pixels that are replaced
    write.compute()
    for image in on_disk(series):
        assert {name: image[name].value for name in said} == said
    new = {image.InstanceNumber: image.get("RescaleSlope") for image in on_disk(series)}
    assert new[max(new)] != 5


def test_nothing_is_taken_from_images_that_go_or_from_single_ones(database: Any) -> None:
    series, write = planned(database.series()[0], mode="a", filled=True)
    first = series.instances()[0]
    first.SeriesDescription = "of one image"
    first.EchoTime = 9
    write.compute()
    assert values_of(on_disk(series), "SeriesDescription") == {"said", "of one image"}
    assert sum(image.EchoTime == 9 for image in on_disk(series)) == 1
    series, write = planned(database.series()[1], mode="a", filled=True)
    echoes = series.instances()
    echoes[1].EchoTime = 30
    array, _ = series.array("EchoTime")
    write = array.dicom.write(series, mode="a", compute=False)
    echoes[1].remove()
    write.compute()
    assert sorted(image.EchoTime for image in on_disk(series)) == [2, 2, 30]


def test_what_was_given_wins_where_nothing_was_changed(database: Any) -> None:
    given = {"SeriesDescription": "given", "PatientWeight": 60, "ProtocolName": "mine"}
    for filled in (True, False):
        series, write = planned(database.series()[0], filled=filled, **given)
        series.ProtocolName = "later"
        series.parent.StudyDate = "19990101"
        write.compute()
        (image, _) = on_disk(series)
        said = [image.SeriesDescription, image.PatientWeight, image.ProtocolName, image.StudyDate]
        assert said == ["given", 60, "later", "19990101"]


def test_the_last_of_two_writes_into_a_series_is_what_it_says(database: Any) -> None:
    one = database.series()[0]
    array, _ = one.array("SliceLocation")
    writes = [
        array.dicom.write(one, SeriesDescription=text, compute=False) for text in ("first", "last")
    ]
    for write in writes:
        write.compute()
    assert values_of(on_disk(one), "SeriesDescription") == {"last"}


def test_edits_that_are_undone_or_of_other_series_change_nothing(database: Any) -> None:
    series, write = planned(database.series()[0])
    two = database.series()[1]
    two.SeriesDescription = two.InstitutionName = two.EchoTime = "9"
    database.series()[0].PatientBirthDate = "19000101"
    database.series()[0].restore()
    write.compute()
    (image, _) = on_disk(series)
    said = [image.SeriesDescription, image.InstitutionName, image.EchoTime, image.PatientBirthDate]
    assert said == ["new", "house", 2, "19700101"]


def other_study(database: Any) -> Any:
    patient = database.new_patient(
        PatientID="P2", PatientName="Other", PatientSex="M", PatientBirthDate="19500505"
    )
    return patient.new_study(
        StudyDescription="S2", StudyDate="20220202", AccessionNumber="ZZ", PatientSize=1.8
    )


MOVED = {
    "PatientID": "P2", "PatientName": "Other", "PatientSex": "M", "PatientBirthDate": "19500505",
    "StudyDescription": "S2", "StudyDate": "20220202", "AccessionNumber": "ZZ",
    "PatientSize": "1.8", "PatientWeight": None, "ReferringPhysicianName": "", "StudyID": "",
}  # fmt: skip


@pytest.mark.parametrize("filled", [True, False], ids=["filled", "empty"])
@pytest.mark.parametrize("mode", ["w", "a"])
@pytest.mark.parametrize("with_images", [True, False])
def test_a_series_that_moves(database: Any, mode: str, filled: bool, with_images: bool) -> None:
    study = other_study(database)
    if with_images:
        study.new_series(SeriesNumber=1).set_array(np.zeros((2, 4, 3), np.uint16), "template")
    series, write = planned(database.series()[0], mode=mode, filled=filled)
    series.move_to(study)
    write.compute()
    images = on_disk(series)
    assert {keyword: values_of(images, keyword) for keyword in MOVED} == {
        keyword: {value} for keyword, value in MOVED.items()
    }
    assert len(values_of(images, "SeriesNumber")) == 1
    assert values_of(images, "SeriesDescription") == {"said" if filled else "new"}


def test_a_study_that_moves_keeps_what_it_says(database: Any) -> None:
    patient = other_study(database).parent
    series, write = planned(database.series()[0])
    series.parent.move_to(patient)
    write.compute()
    (image, _) = on_disk(series)
    assert [image.PatientBirthDate, image.StudyDate] == ["19500505", "20240229"]
    assert "PatientComments" not in image


def test_images_of_a_patient_who_is_renamed_keep_what_differs(tmp_path: Path) -> None:
    """Files of one patient may differ in what they say of it; a new name changes nothing else."""
    same = {"PatientID": "P", "PatientName": "Same^One", "StudyInstanceUID": "1.2"}
    for number, weight in ((1, 70), (2, 80)):
        said = {"SeriesInstanceUID": f"1.2.{number}", "SeriesNumber": number}
        make_series(tmp_path / str(number), keys=SLICES, seed=number,
                    header={**same, **said, "PatientWeight": weight})  # fmt: skip
    with db.database(tmp_path) as database:
        series, write = planned(database.series()[1])
        database.patients()[0].PatientID = "X"
        write.compute()
        assert values_of(on_disk(series), "PatientWeight") == {"80.0"}
        assert values_of(on_disk(series), "PatientID") == {"X"}
        # The first series has nothing to lose, that from which the array was made has.
        series, write = planned(database.series()[1])
        database.series()[0].InstitutionName = None
        database.patients()[0].InstitutionName = None
        write.compute()
        assert values_of(on_disk(series), "InstitutionName") == {None}


def test_what_is_set_while_images_are_computed(database: Any) -> None:
    begun, done = threading.Event(), threading.Event()
    one = database.series()[0]

    def slow(block: Any) -> Any:
        if block.size:
            begun.set()
            assert done.wait(20)
        return block

    def edit() -> None:
        assert begun.wait(20)
        one.SeriesDescription = "better"
        database.patients()[0].PatientBirthDate = None
        done.set()

    array, header = one.array("SliceLocation")
    array = array.copy(data=array.data.map_blocks(slow, dtype=array.dtype))
    thread = threading.Thread(target=edit)
    thread.start()
    one.set_array(array, header)
    thread.join()
    assert values_of(on_disk(one), "SeriesDescription") == {"better"}
    assert values_of(on_disk(one), "PatientBirthDate") == {None}


@pytest.mark.parametrize("options", [{"multiframe": True}, {"dtype": "float32"}])
def test_files_of_many_frames(database: Any, options: Any) -> None:
    series = database.series()[0].new_sibling(SeriesDescription="new", EchoTime=5)
    array, _ = database.series()[0].array("SliceLocation")
    write = (array / 2).dicom.write(series, compute=False, **options)
    series.EchoTime = 6
    series.SeriesDescription = "better"
    database.patients()[0].PatientBirthDate = None
    write.compute()
    (image,) = on_disk(series)
    assert "PatientBirthDate" not in image
    assert image.SeriesDescription == "better"
    assert series.EchoTime == [6]
    if "multiframe" in options:
        assert {e.value for e in image.iterall() if e.keyword == "EffectiveEchoTime"} == {6}


LEFT = """
import os
import dbdicom_xr as db
import dbdicom_xr.records.writing.write_array as write_array
database = db.database({root!r})
series = database.series()[0].new_sibling(SeriesDescription="new")
array, _ = database.series()[0].array("SliceLocation")
write = array.dicom.write(series, compute=False)
patient = database.patients()[0]
for name, value in {edits!r}.items():
    patient[name] = value
series.SeriesDescription = "better"
database.save()
write_array.adopt_finished = lambda *given: os._exit(0)
write.compute(scheduler="synchronous")
"""


@pytest.mark.parametrize("more", [{}, {"PatientID": "X1", "PatientName": "Anon"}])
def test_what_a_process_left_behind(database: Any, tmp_path: Path, more: Any) -> None:
    root = database.path_on_disk
    database.close(save=False)
    edits = {"PatientBirthDate": None, "InstitutionName": None, "StudyDate": "19000101", **more}
    run_python(LEFT.format(root=root, edits=edits), tmp_path / "home")
    with pytest.warns(SaveRecovered):
        again = db.database(root)
    with again:
        (series,) = again.series(SeriesDescription="better")
        images = on_disk(series)
        assert len(images) == 2
        for image in images:
            assert {name: image.get(name) for name in edits} == edits
        assert len(again.patients()) == 1


def test_a_write_that_nothing_interferes_with_has_no_edits(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    import dbdicom_xr.records.writing.adopting as adopting

    real = adopting.said_since

    def noted(*given: Any) -> Any:
        found.append(real(*given))
        return found[-1]

    monkeypatch.setattr(adopting, "said_since", noted)
    for filled in (False, True):
        for mode in "wa":
            _, write = planned(database.series()[0], mode=mode, filled=filled)
            write.compute()
            database.save()
    writes = [planned(database.series()[1])[1] for _ in range(3)]
    dask.compute(*writes)
    assert found == [{}] * 7
