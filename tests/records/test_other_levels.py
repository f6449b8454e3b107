"""Methods that records of another level have: the message says which, and the way works."""

from __future__ import annotations

import re
from typing import Any

import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import UnknownKeyword
from dbdicom_xr.records.database import Database
from dbdicom_xr.records.instance import Instance
from dbdicom_xr.records.levels import Patient, Series, Study
from dbdicom_xr.testing import make_series

CLASSES = {
    "database": Database, "patient": Patient, "study": Study, "series": Series,
    "instance": Instance,
}  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("levels")
    make_series(folder, keys={"SliceLocation": [0.0, 5.0]})
    database = db.database(folder)
    instance = database.instances()[0]
    return {
        "database": database, "patient": database.patients()[0], "study": database.studies()[0],
        "series": database.series()[0], "instance": instance,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("level", "name", "text"),
    [
        ("study", "volume", "A study has no volume(); a series has: study.series()[0].volume()."),
        ("database", "set_array", "a series has: database.series()[0].set_array()."),
        (
            "series",
            "changes",
            "A series has no changes(); a database has: series.database.changes()",
        ),
        ("patient", "file", "a patient has no file; an instance has: patient.instances()[0].file."),
        (
            "instance",
            "volume",
            "An instance has no volume(); a series has: instance.series().volume",
        ),
    ],
)
def test_messages(records: dict[str, Any], level: str, name: str, text: str) -> None:
    with pytest.raises(UnknownKeyword, match=f"(?i){re.escape(text)}"):
        getattr(records[level], name)
    with pytest.raises(UnknownKeyword, match=f"(?i){re.escape(text)}"):
        setattr(records[level], name, 3)


def test_every_way_leads_to_it(records: dict[str, Any]) -> None:
    told = 0
    for level, cls in CLASSES.items():
        others = {name for other in CLASSES.values() for name in dir(other) if name[0] != "_"}
        for name in sorted(others - set(dir(cls))):
            with pytest.raises(UnknownKeyword) as caught:
                getattr(records[level], name)
            way = str(caught.value).rpartition("has: ")[2].rstrip(".").removesuffix("()")
            assert way.endswith(f".{name}")
            owner = eval(way.rpartition(".")[0], {level: records[level]})
            assert name in dir(type(owner))
            told += 1
    assert told > 30


def test_what_no_level_has(records: dict[str, Any]) -> None:
    with pytest.raises(UnknownKeyword, match="'volumes' is not a DICOM keyword"):
        records["study"].volumes  # noqa: B018
    with pytest.raises(AttributeError):
        records["study"]._volume  # noqa: B018


@pytest.mark.parametrize("path", [3, ["/data"], 1.5, {}])
def test_a_path_that_is_none(path: Any) -> None:
    with pytest.raises(db.errors.InvalidValue, match="give its path as text"):
        db.database(path)


def test_a_record_as_a_path(records: dict[str, Any]) -> None:
    with pytest.raises(db.errors.InvalidValue, match=r"already: record\.database"):
        db.database(records["series"])
