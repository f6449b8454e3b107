"""What the pages on editing and structure promise beyond their own examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.testing import make_study


@pytest.fixture
def database(tmp_path: Path) -> db.Database:
    make_study(tmp_path, patients=2, studies=1)
    return db.database(tmp_path)


def test_records_are_copied_together_and_refer_to_each_other(database: db.Database) -> None:
    first, second = database.patients()[0].series()[:2]
    source = Dataset()
    source.ReferencedSOPClassUID = first.SOPClassUID.item()
    source.ReferencedSOPInstanceUID = first.instances()[0].uid
    second.SourceImageSequence = [source]
    study = database.patients()[1].studies()[0]
    copies = db.copy_to([first, second], study)
    (reference,) = copies[1].instances()[0].SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == copies[0].instances()[0].uid
    assert db.move_to([first, second], study) == [first, second]
    assert study.series() == database.series()
    assert len(db.group(copies).series()) == 2
    merged = db.merge(copies, inplace=True)
    assert len(merged.instances()) == len(first.instances()) + len(second.instances())
    database.close(save=False)


@pytest.mark.parametrize("name", ["EchoTime", "(0018,0081)", (0x18, 0x81), ["EchoTime", "Rows"]])
def test_del_takes_an_attribute_away(database: db.Database, name: Any) -> None:
    series = database.series(Modality="MR")[0]
    assert series.EchoTime
    del series[name]
    assert series.EchoTime == []
    assert "EchoTime" not in series.instances()[0].dataset()
    series.restore()
    with pytest.raises(errors.UnknownKeyword):
        del database[database.patients()[0].name]


@pytest.mark.parametrize("name", ["PixelData", "FloatPixelData", "DoubleFloatPixelData"])
@pytest.mark.parametrize("value", [b"", b"\0\0", None])
def test_pixels_are_not_set_like_an_attribute(
    database: db.Database, name: str, value: bytes | None
) -> None:
    series = database.series(Modality="MR")[0]
    for record in (series, series.instances()[0]):
        with pytest.raises(errors.InvalidValue, match=f"{name} cannot be set"):
            record[name] = value
    assert database.changes().empty


def test_uid_is_the_present_one(database: db.Database) -> None:
    series = database.series(Modality="MR")[0]
    instance, other_handle = series.instances()[0], series.instances()[0]
    before = instance.uid
    instance.SOPInstanceUID = "1.2.3"
    assert instance.uid == other_handle.uid == instance.SOPInstanceUID == "1.2.3"
    instance.restore()
    assert instance.uid == other_handle.uid == instance.SOPInstanceUID == before
    instance.remove()
    assert instance.uid == before
    instance.restore()


def test_what_is_given_to_a_series_holds_for_that_alone(database: db.Database) -> None:
    series = database.new_series(
        PatientName="Phantom", StudyDescription="QA", SeriesDescription="b", EchoTime=3
    )
    study, patient = series.parent, series.parent.parent
    sibling = study.new_series()
    image = database.series(Modality="MR")[0].instances()[0]
    echo = image.EchoTime
    here, there = image.copy_to(series), image.copy_to(sibling)
    assert (here.EchoTime, here.SeriesDescription) == (3.0, "b")
    assert (there.EchoTime, there.SeriesDescription) == (echo, image.SeriesDescription)
    assert here.StudyDescription == there.StudyDescription == "QA"
    assert patient.PatientName == ["Phantom"] == sibling.PatientName
    assert patient.new_study(StudyDescription="later").new_series().StudyDescription == ["later"]
    database.close(save=False)
