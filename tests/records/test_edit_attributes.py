"""Setting attributes: every way to name them, at every level, seen by everything that reads."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.testing import MadeStudy, make_enhanced, make_study
from tests.records.ordinary import run_python

CREATOR = "SIEMENS MR HEADER"
B_VALUE = (0x0019, 0x110C)  # the first block is of another creator


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.dcm")
    }


def private(dataset: Dataset, value: int) -> None:
    block = dataset.private_block(0x0019, CREATOR, create=True)
    block.add_new(0x0C, "IS", value)


@pytest.fixture
def made(tmp_path: Path) -> MadeStudy:
    made = make_study(tmp_path / "data", studies=1, series=1, images=3)
    for path in made.files:
        dataset = pydicom.dcmread(path)
        private(dataset, 100)
        dataset.save_as(path)
    return made


@pytest.fixture
def database(made: MadeStudy) -> db.Database:
    return db.database(made.folder)


LEVELS: dict[str, Callable[[db.Database], Any]] = {
    "database": lambda database: database,
    "patient": lambda database: database.patients()[0],
    "study": lambda database: database.studies()[0],
    "series": lambda database: database.series()[0],
    "instance": lambda database: database.instances()[0],
}


def set_attribute(record: Any, value: Any) -> None:
    record.FlipAngle = value


def set_path(record: Any, value: Any) -> None:
    record.database[f"{record.path}/FlipAngle" if record.path != "/" else "/FlipAngle"] = value


WAYS: dict[str, tuple[Callable[[Any, Any], None], str]] = {
    "attribute": (set_attribute, "FlipAngle"),
    "setattr": (lambda record, value: setattr(record, "FlipAngle", value), "FlipAngle"),
    "keyword": (lambda r, v: r.__setitem__("FlipAngle", v), "FlipAngle"),
    "pair": (lambda r, v: r.__setitem__((0x0018, 0x1314), v), "FlipAngle"),
    "text": (lambda r, v: r.__setitem__("(0018,1314)", v), "FlipAngle"),
    "list": (lambda r, v: r.__setitem__(["FlipAngle", "EchoTime"], [v, 3]), "FlipAngle"),
    "path": (set_path, "FlipAngle"),
    "private pair": (lambda r, v: r.__setitem__(B_VALUE, v), "private"),
    "private creator": (lambda r, v: r.__setitem__((CREATOR, 0x0C), v), "private"),
    "private whole tag": (lambda r, v: r.__setitem__((CREATOR, 0x0019100C), v), "private"),
    "private name": (lambda r, v: r.__setitem__("B_value", v), "private"),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_at_every_level(
    made: MadeStudy, database: db.Database, level: str, way: str
) -> None:
    put, what = WAYS[way]
    name: Any = "FlipAngle" if what == "FlipAngle" else B_VALUE
    record = LEVELS[level](database)
    mine = {record.uid} if level == "instance" else {i.uid for i in record.instances()}
    handles = {instance.uid: instance for instance in database.instances()}
    before = {uid: instance[name] for uid, instance in handles.items()}
    bytes_before = hashes(made.folder)
    originals = {str(p): pydicom.dcmread(p) for p in made.files}
    put(record, 77)
    expected = {uid: 77 if uid in mine else value for uid, value in before.items()}
    assert record[name] == (77 if level == "instance" else [77])
    assert {uid: instance[name] for uid, instance in handles.items()} == expected
    assert {i.uid for i in database.instances({name: 77})} == mine
    assert {i.uid: i[name] for i in db.database(made.folder).instances()} == expected
    assert hashes(made.folder) == bytes_before
    record.restore()
    assert {uid: instance[name] for uid, instance in handles.items()} == before
    assert database.changes().empty
    if way not in ("keyword", "list", "private creator"):
        return
    put(record, 77)
    record.save()
    assert database.changes().empty
    assert {uid: instance[name] for uid, instance in handles.items()} == expected
    for path in made.files:
        dataset = pydicom.dcmread(path)
        uid = str(dataset.SOPInstanceUID)
        if uid not in mine:
            assert hashes(made.folder)[str(path)] == bytes_before[str(path)]
            continue
        changed = originals[str(path)]
        if what == "private":
            private(changed, 77)
        else:
            changed.FlipAngle = 77
            if way == "list":
                changed.EchoTime = 3
        assert dataset == changed


VALUES: list[tuple[Any, Any, Any]] = [
    ("EchoTime", 2.5, 2.5),
    ("EchoTime", "4.6", 4.6),
    ("EchoTime", np.float32(0.5), 0.5),
    ("EchoTime", np.array([3]), 3.0),
    ("EchoTime", None, None),
    ("EchoTime", "", None),
    ("PixelSpacing", [1, 2.5], [1.0, 2.5]),
    ("PixelSpacing", np.array([1, 2.5]), [1.0, 2.5]),
    ("ImageType", ["DERIVED", "PRIMARY"], ["DERIVED", "PRIMARY"]),
    ("ImageType", "DERIVED\\PRIMARY", ["DERIVED", "PRIMARY"]),
    ("InstanceNumber", "7", 7),
    ("InstanceNumber", 3.0, 3),
    ("FrameOfReferenceUID", "1.2.3", "1.2.3"),
    ("PatientName", "Müller^Jürgen=山田^太郎", "Müller^Jürgen=山田^太郎"),
    ("StudyDate", "12.12.22", "20221212"),
    ("StudyDate", "19112022", "20221119"),
    ("StudyDate", "20221119", "20221119"),
    ("StudyDate", datetime.date(2022, 11, 19), "20221119"),
    ("StudyTime", "09:30", "0930"),
    ("StudyTime", datetime.time(9, 30), "093000"),
    ("ImageComments", "two\r\nlines", "two\r\nlines"),
]


@pytest.mark.parametrize(("name", "value", "expected"), VALUES)
def test_values_survive_staging_saving_and_pydicom(
    made: MadeStudy, database: db.Database, name: str, value: Any, expected: Any
) -> None:
    instance = database.instances()[0]
    path = instance.file
    instance[name] = value
    assert instance[name] == expected
    assert db.database(made.folder)[instance.path][name] == expected
    assert instance.dataset().get(name) in (expected, expected or "")
    database.save()
    assert instance[name] == expected
    found = pydicom.dcmread(path).get(name)
    assert (None if found == "" else found) == expected
    assert (name in pydicom.dcmread(path)) == (value is not None)


def test_a_sequence(made: MadeStudy, database: db.Database) -> None:
    item = Dataset()
    item.CodeValue = "T-65000"
    item.CodingSchemeDesignator = "SRT"
    item.CodeMeaning = "Niere, größer"
    series = database.series()[0]
    series.AnatomicRegionSequence = [item]
    (found,) = series.instances()[1].AnatomicRegionSequence
    assert found.CodeMeaning == "Niere, größer"
    database.save()
    for file in series.files():
        dataset = pydicom.dcmread(file)
        assert dataset.AnatomicRegionSequence[0] == item
        assert len(dataset.pixel_array)
    series.AnatomicRegionSequence = None
    assert series.AnatomicRegionSequence == []
    database.close(save=False)


REFUSED: list[tuple[Any, Any, type[Exception], str]] = [
    ("SeriesDescription", "x" * 65, errors.InvalidValue, "64 characters"),
    ("EchoTime", "abc", errors.InvalidValue, "'abc'"),
    ("EchoTime", float("inf"), errors.InvalidValue, "inf"),
    ("EchoTime", [1, 2], errors.InvalidValue, "1 value"),
    ("InstanceNumber", 2.5, errors.InvalidValue, "2.5"),
    ("FrameOfReferenceUID", "1.2.x", errors.InvalidValue, "1.2.x"),
    ("StudyDate", "31.02.2020", errors.InvalidValue, "31.02.2020"),
    ("EcoTime", 2, errors.UnknownKeyword, "EchoTime"),
    (("SIEMENS MR HEADER", 0xFE), 2, errors.InvalidValue, "whole tag"),
    ((0x0029, 0x1012), 2, errors.InvalidValue, "Say whose it is"),
    ("TransferSyntaxUID", "1.2.840.10008.1.2", errors.InvalidValue, "anew"),
    ("b_value", -2, errors.InvalidValue, "0 or more"),
    (["EchoTime", "FlipAngle"], [1], errors.InvalidValue, "1 values"),
    (["EchoTime", "FlipAngle"], 1, errors.InvalidValue, "list of 2"),
    (["EchoTime", "StudyDate"], [1, "x"], errors.InvalidValue, "'x'"),
    (["EchoTime", "EcoTime"], [1, 2], errors.UnknownKeyword, "EchoTime"),
]


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_refused_changes_nothing(database: db.Database, level: str) -> None:
    record = LEVELS[level](database)
    for name, value, error, says in REFUSED:
        with pytest.raises(error) as caught:
            record[name] = value
        assert says in str(caught.value), (name, value)
        assert database.changes().empty, (name, value)


@pytest.mark.parametrize("level", [*LEVELS][:-1])
def test_one_value_per_frame(made: MadeStudy, database: db.Database, level: str) -> None:
    record = LEVELS[level](database)
    count = len(record.instances())
    values = [float(number) for number in range(count)]
    for wrong in (values[:-1], [*values, 1.0], []):
        with pytest.raises(errors.InvalidValue, match="give one value for each"):
            record.set_values("FlipAngle", wrong)
    for wrong in ([*values[:-1], "x"], [float("nan"), *values[1:]]):
        with pytest.raises(errors.InvalidValue):
            record.set_values("FlipAngle", wrong)
    with pytest.raises(errors.UnknownKeyword):
        record.set_values("FlipAngel", values)
    assert database.changes().empty
    record.set_values("FlipAngle", [None, *values[1:]])
    assert [i.FlipAngle for i in record.instances()] == [None, *values[1:]]
    assert record.FlipAngle == values[1:]
    database.close(save=False)


def test_everything_that_reads_sees_it(made: MadeStudy, database: db.Database) -> None:
    series = database.series()[0]
    other = db.database(made.folder)
    assert other.series()[0].SeriesDescription == ["MR 1"]
    array, _ = series.array("SliceLocation")
    values = array.values
    series.set_values("SliceLocation", [30.0, 20.0, 10.0])
    series.SeriesDescription = "Seen"
    turned, header = series.array("SliceLocation")
    assert turned.SliceLocation.values.tolist() == [10.0, 20.0, 30.0]
    np.testing.assert_array_equal(turned.values, values[::-1])
    assert header.SliceLocation[:, 0].tolist() == [10.0, 20.0, 30.0]
    assert series.header.SliceLocation.values.tolist() == [30.0, 20.0, 10.0]
    assert series.to_dataframe().SeriesDescription.unique().tolist() == ["Seen"]
    assert "Seen" in str(database)
    assert "Seen" in database._repr_html_()
    assert series.name == "1 Seen"
    assert database[series.path] == series
    assert database.series(SeriesDescription="S?en") == [series]
    assert other.series()[0].SeriesDescription == ["Seen"]
    assert other[series.path].SliceLocation == [10.0, 20.0, 30.0]
    code = (
        "import dbdicom_xr as db\n"
        f"print(db.database({str(made.folder)!r}).series()[0].SeriesDescription)"
    )
    assert run_python(code, made.folder.parent / "home").endswith("\n['Seen']\n")
    database.close(save=False)


def test_frames_of_an_enhanced_file(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make_enhanced(folder, keys={"SliceLocation": [0, 5], "EchoTime": [2.0, 4.0]})
    before = hashes(folder)
    database = db.database(folder)
    (instance,) = database.instances()
    series = instance.parent
    frames = series.frames()
    frames[1].EchoTime = 9
    assert [frame.EchoTime for frame in frames] == [2.0, 9.0, 2.0, 4.0]
    series.set_values("EchoTime", [1, 2, 3, 4])
    frames[2]["EchoTime"] = 5
    assert [frame.EchoTime for frame in frames] == [1.0, 2.0, 5.0, 4.0]
    assert series.array("EchoTime")[0].EchoTime.values.tolist() == [1.0, 2.0, 4.0, 5.0]
    instance.FlipAngle = 33
    assert [frame.FlipAngle for frame in frames] == [33.0] * 4
    frames[0].FlipAngle = 44
    assert [frame.FlipAngle for frame in frames] == [44.0, 33.0, 33.0, 33.0]
    with pytest.raises(errors.InvalidValue, match="not an attribute of single frames"):
        frames[0].SeriesDescription = "x"
    with pytest.raises(errors.InvalidValue, match="one for all frames"):
        series.set_values("SeriesDescription", ["x", "y", "x", "x"])
    assert hashes(folder) == before
    pixels = instance.array().values
    database.save()
    dataset = pydicom.dcmread(folder / "enhanced.dcm")
    groups = dataset.PerFrameFunctionalGroupsSequence
    assert [g.MREchoSequence[0].EffectiveEchoTime for g in groups] == [1.0, 2.0, 5.0, 4.0]
    assert [frame.FlipAngle for frame in frames] == [44.0, 33.0, 33.0, 33.0]
    np.testing.assert_array_equal(dataset.pixel_array.transpose(0, 2, 1), pixels)
    np.testing.assert_array_equal(instance.array().values, pixels)


def test_a_bulk_edit_that_fails_on_one_instance_changes_none(
    made: MadeStudy, database: db.Database
) -> None:
    instances = database.instances()
    with pytest.raises(errors.InvalidValue), database.batch():
        for number, instance in enumerate(instances):
            instance.EchoTime = number if number < 5 else "x"
    assert database.changes().empty
    series = database.series()
    series[0][CREATOR, 0x00191010] = 5
    with pytest.raises(errors.InvalidValue):
        database[(CREATOR, 0xFE)] = 5
    assert series[1][CREATOR, 0x00191010] == []
    database.close(save=False)


def test_misspelt_everywhere(database: db.Database) -> None:
    series = database.series()[0]
    for ask in (
        lambda: series.EcoTime, lambda: series["EcoTime"], lambda: series[["Rows", "EcoTime"]],
        lambda: database.series(EcoTime=3), lambda: series.array("EcoTime"),
        lambda: series.new_sibling(EcoTime=3), lambda: series.copy(EcoTime=3),
        lambda: setattr(series, "EcoTime", 3), lambda: delattr(series, "EcoTime"),
        lambda: series.subseries(EcoTime=3), lambda: series.split_by("EcoTime"),
        lambda: series.instances()[0].EcoTime,
    ):  # fmt: skip
        with pytest.raises(errors.UnknownKeyword, match="EchoTime"):
            ask()
    assert database.changes().empty
