"""message, progress, mute, unmute, status and dialog, on every record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
from dbdicom_xr.testing import MadeStudy, make_enhanced, make_series, make_study


@pytest.fixture
def database(hospital: MadeStudy) -> db.Database:
    return db.database(hospital.folder)


def each_kind(database: db.Database) -> list[Any]:
    return [
        database,
        *(getattr(database, n)()[0] for n in ("patients", "studies", "series", "instances")),
    ]


def test_every_record_speaks(database: db.Database, person: ScriptedFrontEnd) -> None:
    records = each_kind(database)
    for number, record in enumerate(records):
        person.said.clear()
        record.message(f"message {number}")
        record.progress(1, 4, "halfway")
        record.status.message("status")
        record.status.progress(2, 4, "further")
        record.dialog.information("told")
        record.dialog.warning("warned")
        record.dialog.error("failed")
        assert [(s.kind, s.text, s.value, s.maximum) for s in person.said] == [
            ("message", f"message {number}", None, None),
            ("progress", "halfway", 1, 4),
            ("message", "status", None, None),
            ("progress", "further", 2, 4),
            ("information", "told", None, None),
            ("warning", "warned", None, None),
            ("error", "failed", None, None),
        ]


def test_frames_speak_too(tmp_path: Path, person: ScriptedFrontEnd) -> None:
    make_enhanced(tmp_path, keys={"EchoTime": [2, 4]})
    frame = db.database(tmp_path).instances()[0]["2"]
    frame.message("frame")
    assert person.said[-1].text == "frame"


def test_loop_of_the_guide(database: db.Database, person: ScriptedFrontEnd) -> None:
    series = database.series()[0]
    instances = series.instances()
    for i, _ in enumerate(instances):
        series.progress(i + 1, len(instances), "Denoising")
    assert [(s.value, s.maximum) for s in person.said] == [(1, 3), (2, 3), (3, 3)]
    person.said.clear()
    series.mute()
    series.progress(1, 3, "silent")
    series.message("silent")
    series.unmute()
    series.message("heard")
    assert [s.text for s in person.said] == ["heard"]


def test_mute_holds_for_the_whole_database_and_for_no_other(
    database: db.Database, tmp_path: Path, person: ScriptedFrontEnd
) -> None:
    make_series(tmp_path)
    other = db.database(tmp_path)
    person.said.clear()
    records = each_kind(database)
    for muting in records:
        muting.mute()
        for record in records:
            record.message("silent")
            record.progress(1, 2, "silent")
            record.status.message("silent")
        assert person.said == []
        other.message("heard")
        assert person.said.pop().text == "heard"
        records[-1].dialog.error("an error is always shown")
        assert person.said.pop().kind == "error"
        muting.unmute()
        records[0].message("heard")
        assert person.said.pop().text == "heard"


def test_muted_scan_is_silent(tmp_path: Path, person: ScriptedFrontEnd) -> None:
    make_study(tmp_path, patients=1, odd=True)
    database = db.database(tmp_path)
    assert {s.kind for s in person.said} == {"bar", "message"}
    person.said.clear()
    database.mute()
    database.scan()
    assert person.said == []
    assert database.problems, "muted, not forgotten"
    database.unmute()
    database.scan()
    assert {s.kind for s in person.said} == {"bar", "message"}


@pytest.mark.parametrize("answer", ["Yes", "No", "Cancel"])
def test_question(database: db.Database, answer: str) -> None:
    with use_front_end(ScriptedFrontEnd(answers=[answer] * 5)) as person:
        for record in each_kind(database):
            record.mute()
            assert record.dialog.question("Do you wish to proceed?", cancel=True) == answer
            record.unmute()
    assert isinstance(person, ScriptedFrontEnd)
    assert [s.kind for s in person.said] == ["question"] * 5


def test_question_without_a_person_raises(database: db.Database, person: ScriptedFrontEnd) -> None:
    for record in each_kind(database):
        with pytest.raises(errors.NoPerson):
            record.dialog.question("Do you wish to proceed?")
        with pytest.raises(errors.NoPerson):
            record.dialog.directory("Where?")


def test_records_of_one_folder_opened_twice_mute_apart(
    hospital: MadeStudy, person: ScriptedFrontEnd
) -> None:
    first, second = db.database(hospital.folder), db.database(hospital.folder)
    first.mute()
    second.message("heard")
    first.message("silent")
    assert [s.text for s in person.said if s.kind == "message"] == ["heard"]
