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
