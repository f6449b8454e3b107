"""Tables as a person sees them: whole, in the width of a terminal; else they are pandas."""

from __future__ import annotations

import pickle
from pathlib import Path

import pandas as pd
import pytest

import dbdicom_xr as db
from dbdicom_xr.records.shown_whole import ShownWhole
from dbdicom_xr.testing import make_series

LONG = "A description of a series that goes on and on, as those of some scanners do"


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def database(tmp_path: Path) -> db.Database:
    make_series(
        tmp_path / "data",
        keys={"SliceLocation": [0, 5, 10], "EchoTime": [10, 20]},
        header={"SeriesDescription": LONG[:64], "StudyDescription": LONG[:64]},
    )
    (tmp_path / "data" / f"{LONG.replace(' ', '_')}.txt").write_text("no DICOM" * 50)
    return db.database(tmp_path / "data")


def changes(database: db.Database) -> pd.DataFrame:
    series = database.series()[0]
    series.ProtocolName = LONG[:64]
    series.copy(SeriesDescription="copy")
    series.instances()[0].remove()
    return database.changes()


TABLES = {
    "changes": (changes, ["record", "change", "attribute", "instances", "value"]),
    "varying": (
        lambda database: database.series()[0].varying(),
        ["attribute", "distinct", "minimum", "maximum", "missing"],
    ),
    "to_dataframe": (
        lambda database: database.to_dataframe("EchoTime", "SeriesDescription", "StudyDate"),
        ["SOPInstanceUID", "frame", "EchoTime", "SeriesDescription", "StudyDate"],
    ),
    "problems": (lambda database: database.problems, ["file", "reason", "kept"]),
}


@pytest.mark.parametrize("name", TABLES)
def test_no_column_is_hidden(database: db.Database, name: str) -> None:
    make, columns = TABLES[name]
    table = make(database)
    lines = str(table).splitlines()
    assert lines[0].split() == columns
    assert max(map(len, lines)) <= 80
    assert len(lines) == 1 + len(table)
    assert repr(table) == str(table)
    html = table._repr_html_()
    assert all(f"<th>{column}</th>" in html for column in columns)
    assert html.count("<tr") >= 1 + len(table)


def test_what_tells_records_apart_is_shown(database: db.Database) -> None:
    table = changes(database)
    text = str(table)
    assert {"ProtocolName", "edited", "copied", "removed"} <= set(text.split())
    assert table.record[0] not in text
    assert "those of some  edited" in text, "the end of the name of the series"
    assert "…" in text
    assert "on, as those of some</td>" in table._repr_html_()
    assert "…" not in table.to_string(), "all is there, and pandas shows it"
    assert LONG[:63] in set(table.value)


def test_a_keyword_is_never_cut(database: db.Database) -> None:
    series = database.series()[0]
    series.set_values("ImagePositionPatient", [[-123.456789, 98.7654321, i] for i in range(6)])
    table = series.varying()
    shown = [line.split()[0] for line in str(table).splitlines()[1:]]
    assert shown == list(table.index)


def test_a_wider_terminal_shows_more(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = changes(database)
    monkeypatch.setenv("COLUMNS", "400")
    assert table.record[0] in str(table)
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, str(database.series()[0].varying()).splitlines())) <= 60
    assert str(table).splitlines()[0].split() == list(table.columns)
    monkeypatch.setenv("COLUMNS", "20")  # nothing fits: pandas decides
    assert "..." in str(table)


def test_all_else_is_pandas(database: db.Database) -> None:
    table = changes(database)
    assert isinstance(table, pd.DataFrame)
    plain = pd.DataFrame(table)
    for one in (table.copy(), table[table.change == "edited"], table.drop(columns="value")):
        assert type(one) is pd.DataFrame
    pd.testing.assert_frame_equal(table, plain, check_frame_type=False)
    again = pickle.loads(pickle.dumps(table))
    assert again.equals(table)
    assert str(again) == str(table)
    assert table.equals(plain)
    assert plain.equals(table)
    assert table.to_dict("records") == plain.to_dict("records")
    assert table.groupby("change").size().to_dict() == {"copied": 1, "edited": 1, "removed": 1}


@pytest.mark.parametrize("length", [60, 61, 5000])
def test_long_tables_are_shown_as_pandas_does(length: int) -> None:
    table = ShownWhole({"number": range(length), "text": [f"row {i}" for i in range(length)]})
    lines = str(table).splitlines()
    if length <= 60:
        assert len(lines) == 1 + length
        return
    assert len(lines) == 1 + 5 + 1 + 5 + 2
    assert lines[6] == "..."
    assert lines[5].endswith("row 4")
    assert lines[7].endswith(f"row {length - 5}")
    assert lines[-1] == f"[{length} rows x 2 columns]"
    assert table._repr_html_().count("<tr") == 1 + 5 + 1 + 5
    with pd.option_context("display.max_rows", None):
        assert len(str(table).splitlines()) == 1 + length


def test_cells() -> None:
    table = ShownWhole(
        {"value": [1.5, None, float("nan"), [0.1 + 0.2, 2], "a\nb", -7, ""]}, dtype=object
    )
    cells = [line[3:].strip() for line in str(table).splitlines()[1:]]
    assert cells == ["1.5", "None", "NaN", "[0.3, 2]", "a\\nb", "-7", ""]


def test_html_is_escaped() -> None:
    table = ShownWhole({"value": ["<script>", "x" * 200]})
    html = table._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "x" * 60 not in html
    with pd.option_context("display.notebook_repr_html", False):
        assert table._repr_html_() is None


def test_nothing_to_show(tmp_path: Path) -> None:
    make_series(tmp_path / "data")
    database = db.database(tmp_path / "data")
    assert "Empty DataFrame" in str(database.changes())
    assert database.changes().empty
    assert str(database.problems) == "[]"
    assert database.problems == []
    assert database.problems._repr_html_() is None
    assert list(database.changes().columns) == TABLES["changes"][1]


def test_problems_are_a_list(database: db.Database) -> None:
    (problem,) = database.problems
    assert isinstance(database.problems, list)
    assert tuple(problem) == (problem.file, problem.reason, problem.kept)
    assert problem.file.endswith(".txt")
    assert problem.kept is False
    assert pickle.loads(pickle.dumps(database.problems)) == [problem]
