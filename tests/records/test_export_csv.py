"""``export_as_csv``: the header as other programs read it."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import FileExists, GridError
from dbdicom_xr.formats.csv import cell
from dbdicom_xr.records.exporting import to_csv as exporting_csv
from dbdicom_xr.testing import make_enhanced, make_many, make_series, make_study

KEYS = {"SliceLocation": [-4.0, 0.0, 4.0], "EchoTime": [2.5, 5.0]}


def rows_of(file: str) -> list[dict[str, str]]:
    with open(file, encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text, strict=True))


@pytest.mark.parametrize("maker", [make_series, make_enhanced])
def test_a_row_per_frame(maker: Any, tmp_path: Path) -> None:
    maker(tmp_path / "in", keys=KEYS)
    (series,) = db.database(tmp_path / "in").series()
    (file,) = series.export_as_csv(tmp_path / "out")
    assert os.path.basename(file) == "1_Synthetic_series.csv"
    rows = rows_of(file)
    frames = series.frames()
    assert len(rows) == len(frames) == 6
    for row, frame in zip(rows, frames, strict=True):
        assert row["SOPInstanceUID"] == frame.SOPInstanceUID
        position = [float(part) for part in row["ImagePositionPatient"].split("\\")]
        assert position == frame.ImagePositionPatient
        assert row["ImageType"] == "\\".join(frame.ImageType)
        name = "EffectiveEchoTime" if maker is make_enhanced else "EchoTime"
        assert float(row[name]) == frame.EchoTime
    assert [int(row["frame"]) for row in rows] == (
        [1] * 6 if maker is make_series else [1, 2, 3, 4, 5, 6]
    )


def test_what_pandas_reads_is_what_the_header_says(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    database = db.database(tmp_path / "in")
    (file,) = database.export_as_csv(tmp_path / "all.csv", identify=True)
    read = pd.read_csv(file, dtype=str, keep_default_na=False)
    table = database.to_dataframe().reset_index(drop=True)
    assert read.SOPInstanceUID.tolist() == table.SOPInstanceUID.tolist()
    for name in ("PatientName", "Modality", "StudyDate", "Rows", "SliceLocation"):
        expected = [cell(None if pd.isna(value) else value) for value in table[name].tolist()]
        assert read[name].tolist() == expected, name
    files = database.export_as_csv(tmp_path / "tables")
    assert len(files) == len(database.series())
    assert sum(len(rows_of(one)) for one in files) == len(table)


def test_nobody_is_named_unless_asked_for(tmp_path: Path) -> None:
    def header(dataset: Any, index: Any) -> None:
        dataset.PatientName, dataset.OperatorsName = "Secret^Name", "Secret^Person"
        dataset.InstitutionName, dataset.StudyDate = "Secret Clinic", "20200102"
        dataset.private_block(0x0019, "SECRET", create=True).add_new(1, "LO", "Secret text")

    make_series(tmp_path / "in", keys=KEYS, header=header)
    (series,) = db.database(tmp_path / "in").series()
    (file,) = series.export_as_csv(tmp_path / "a.csv")
    text = Path(file).read_text(encoding="utf-8")
    assert "Secret" not in text
    assert "20200102" not in text
    (file,) = series.export_as_csv(tmp_path / "b.csv", identify=True)
    row = rows_of(file)[0]
    assert (row["PatientName"], row["(0019,xx01) SECRET"]) == ("Secret^Name", "Secret text")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("+1", "'+1"), ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("plain", "plain"), ('a "quoted", text', 'a "quoted", text'), ("a=b", "a=b"),
        ("Größe 日本", "Größe 日本"), ("two words", "two words"),
    ],
)  # fmt: skip
def test_text_stays_text(text: str, read: str, tmp_path: Path) -> None:
    make_series(tmp_path / "in", keys=KEYS, header={"SeriesDescription": text})
    (series,) = db.database(tmp_path / "in").series()
    (file,) = series.export_as_csv(tmp_path / "a.csv")
    rows = rows_of(file)
    assert {row["SeriesDescription"] for row in rows} == {read}
    assert rows[0]["SliceLocation"] == "-4"  # a number is no formula
    data = Path(file).read_bytes()
    # Excel reads UTF-8 where the file begins so; where it need not, nothing is in front.
    assert data.startswith(b"\xef\xbb\xbf") == (not text.isascii())
    assert data.count(b"\r\n") == 7


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], ""), (["=1", "2"], "'=1\\2"), ([-1.5, 2], "-1.5\\2"), ("\t=1", "'\t=1"),
        ("line\r\nbreak", '"line\r\nbreak"'), (1e20, "1e+20"), (True, "True"), (object(), None),
        (float("nan"), ""), (12345678901234567890, "12345678901234567890"),
    ],
)  # fmt: skip
def test_cells(value: Any, expected: str | None) -> None:
    assert cell(value) == expected


def test_each_level(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    database = db.database(tmp_path / "in")
    series = database.series()[0]
    for record, count in [(series, len(series.frames())), (series.instances()[0], 1)]:
        (file,) = record.export_as_csv(tmp_path / record.level)
        assert len(rows_of(file)) == count
    assert len(database.patients()[0].export_as_csv(tmp_path / "p")) == 4


def test_what_is_refused_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(tmp_path / "in")
    database = db.database(tmp_path / "in")
    (file,) = database.export_as_csv(tmp_path / "out" / "all.csv")
    with pytest.raises(FileExists):
        database.export_as_csv(file)
    assert database.export_as_csv(file, overwrite=True) == [file]
    calls = []

    def full(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting_csv, "_write_rows", full)
    with pytest.raises(OSError, match="No space left"):
        database.export_as_csv(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(GridError, match="nothing to export"):
        db.database().export_as_csv(tmp_path / "empty")


def test_many_rows_in_little_time(tmp_path: Path) -> None:
    make_many(tmp_path / "in", 2000)
    database = db.database(tmp_path / "in")
    start = time.perf_counter()
    files = database.export_as_csv(tmp_path / "out")
    assert time.perf_counter() - start < 5
    assert sum(len(rows_of(file)) for file in files) == 2000
