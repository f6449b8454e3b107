"""What a person sees of a record: as text, in one line, and as HTML."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import dbdicom_xr as db
from dbdicom_xr.records.display import _size
from dbdicom_xr.testing import make_enhanced, make_series, make_study

EVIL = "<script>alert('x')</script>&amp;\"q\""


class Page(HTMLParser):
    """Checks that each tag is closed, and collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.pieces: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.pieces)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> db.Database:
    folder = tmp_path_factory.mktemp("display") / "ward <3>"
    make_study(folder, patients=1, studies=1, series=2, images=3, reports=True)
    evil = {
        "PatientID": EVIL, "PatientName": EVIL, "StudyDescription": EVIL, "SeriesDescription": EVIL
    }  # fmt: skip
    make_series(folder / "evil", keys={"SliceLocation": [0.0]}, header=evil, seed=5)
    make_enhanced(folder / "e", keys={"EchoTime": [2, 4]}, header={"PatientID": "ENH"}, seed=6)
    return db.database(folder)


def test_tree_as_text(database: db.Database, capsys: pytest.CaptureFixture[str]) -> None:
    text = re.sub(r"[\d.]+ kB", "SIZE", str(database))
    path = database.path_on_disk
    clean = EVIL.replace("/", "_")
    assert text == "\n".join(
        [
            f"{path}  (3 patients, 9 instances, 10 frames, MR, CT, SR, SIZE)",
            f"├── {clean}  (1 study, 1 instance, MR, SIZE)",
            f"│   └── 20240229 {clean}  (1 series, 1 instance, MR, SIZE)",
            f"│       └── 1 {clean}  (1 instance, MR, SIZE)",
            "├── DBX-0001  (1 study, 7 instances, MR, CT, SR, SIZE)",
            "│   └── 20240201 Visit 1  (3 series, 7 instances, MR, CT, SR, SIZE)",
            "│       ├── 1 MR 1  (3 instances, MR, SIZE)",
            "│       ├── 2 CT 2  (3 instances, CT, SIZE)",
            "│       └── 3 Report  (1 instance, SR, SIZE)",
            "└── ENH  (1 study, 1 instance, 2 frames, MR, SIZE)",
            "    └── 20240229 Synthetic study  (1 series, 1 instance, 2 frames, MR, SIZE)",
            "        └── 1 Synthetic series  (1 instance, 2 frames, MR, SIZE)",
        ]
    )
    database.print()
    assert capsys.readouterr().out == f"{database}\n"
    study = database["DBX-0001"].studies()[0]
    assert str(study).splitlines()[0].startswith("20240201 Visit 1  (3 series")
    assert len(str(study).splitlines()) == 4
    assert str(study.series()[0]).startswith("1 MR 1  (3 instances, MR")


def test_instances_and_frames_as_text(database: db.Database) -> None:
    instance = database["DBX-0001"].series(Modality="MR")[0].instances()[1]
    assert str(instance) == "Instance 2, Modality MR, SeriesDescription MR 1, Rows 12, Columns 16"
    (enhanced,) = database["ENH"].instances()
    assert str(enhanced).endswith("Rows 12, Columns 16, 2 frames")
    assert str(enhanced["2"]).startswith("Frame 2, Modality MR")
    report = database.instances(Modality="SR")[0]
    assert str(report) == "Instance 1, Modality SR, SeriesDescription Report"


def test_one_line(database: db.Database) -> None:
    for record in database.subtree:
        line = repr(record)
        assert line.startswith(f"<{type(record).__name__} ")
        assert line.endswith(">")
        assert "\n" not in line
        assert repr(database.path_on_disk if record is database else record.name) in line
    assert re.fullmatch(
        r"<Patient 'DBX-0001': 1 study, 7 instances, MR, CT, SR, \d+ kB>",
        repr(database["DBX-0001"]),
    )
    assert "DBX-0001" in repr(database.children)


def total_bytes(files: list[str]) -> int:
    return sum(Path(file).stat().st_size for file in files)


def test_counts_and_sizes_are_those_of_the_files(database: db.Database) -> None:
    for record in database.subtree:
        if record.depth > 3:
            continue
        line = repr(record)
        files = record.files()
        assert f"{len(files)} instance" in line
        assert _size(total_bytes(files)) in line
        for modality in record.Modality:
            assert modality in line


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (9940, "9.9 kB"),
     (9960, "10 kB"), (123456, "123 kB"), (999_499, "999 kB"), (999_500, "1.0 MB"),
     (1_500_000, "1.5 MB"), (2.5e10, "25 GB"), (4.2e13, "42 TB"), (1.5e16, "15,000 TB")],
)  # fmt: skip
def test_sizes(number: float, text: str) -> None:
    assert _size(number) == text


def test_html(database: db.Database) -> None:
    for record in database.subtree:
        page = Page(record._repr_html_())
        assert set(page.tags) <= {"style", "div", "ul", "li", "details", "summary", "span", "pre"}
        assert all(name in ("class", "open") for name, _ in page.attributes)
        if record.depth < 4:
            for below in record.subtree:
                if below.depth < 4 and below is not database:
                    assert below.name in page.text
        assert (database.path_on_disk if record is database else record.name) in page.text
    page = Page(database._repr_html_())
    assert page.tags.count("details") == 1 + 3 + 3
    assert page.tags.count("li") == 1 + 3 + 3 + 5
    assert "<script" not in database._repr_html_()


def test_very_many_children_are_counted_rather_than_listed(tmp_path: Path) -> None:
    make_series(
        tmp_path,
        keys={"SliceLocation": [0.0] * 150},
        shape=(2, 2),
        header=lambda dataset, index: setattr(dataset, "PatientID", f"P{index[0]:03d}"),
    )
    database = db.database(tmp_path)
    text = str(database)
    assert "150 patients" in text.splitlines()[0]
    assert text.splitlines()[-1] == "└── ... and 50 more"
    assert "P099" in text
    assert "P100" not in text
    page = Page(database._repr_html_())
    assert "... and 50 more" in page.text
    assert page.attributes.count(("open", None)) == 1, "many are folded"
    assert "P100" not in page.text
    assert len(repr(database.children)) < 500


def test_patients_of_one_id_are_told_apart(tmp_path: Path) -> None:
    for i, name in enumerate(["Doe^A", "Doe^B"]):
        make_series(
            tmp_path / str(i),
            keys={"SliceLocation": [0.0]},
            header={"PatientID": "1", "PatientName": name, "StudyInstanceUID": f"1.{i}"},
            seed=i,
        )
    first, second = str(db.database(tmp_path)).splitlines()[1::3]
    assert "1  (Doe^A, 1 study" in first
    assert "1 (2)  (Doe^B, 1 study" in second


def test_ten_thousand_series_are_shown_in_time(tmp_path: Path) -> None:
    import time

    from dbdicom_xr.index.store import SeriesRow
    from dbdicom_xr.records.display import tree_html, tree_text
    from dbdicom_xr.records.tree import Tree

    key = type(next(iter(_rows(tmp_path))).key)
    rows = [
        SeriesRow(i, key(f"P{i // 100}", "", f"1.{i // 10}", f"1.2.{i}"), "20240101", "", "S", i,
                  "D", "MR", 100, 100, 1000)
        for i in range(10_000)
    ]  # fmt: skip

    class Shown:
        _node = Tree(rows, 1).root

        class database:
            path_on_disk = "/big"

    shown: Any = Shown()
    start = time.perf_counter()
    text, page = tree_text(shown), tree_html(shown)
    assert time.perf_counter() - start < 3
    assert text.startswith("/big  (100 patients, 1,000,000 instances, MR, 10 MB)")
    assert len(Page(page).pieces) > 10_000


def _rows(folder: Path) -> Any:
    make_series(folder, keys={"SliceLocation": [0.0]})
    return db.database(folder)._store.series()
