"""Custom attributes: worked out once for a state of a series, and never out of date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.records.attributes import custom
from dbdicom_xr.records.attributes import lookup as attributes
from dbdicom_xr.testing import make_series

KEYS = {"SliceLocation": [0.0, 5.0], "EchoTime": [2.0, 4.0, 6.0]}


@pytest.fixture(autouse=True)
def own_names() -> Iterator[None]:
    """Take away what a test has registered."""
    assert custom.__all__ == []  # it registers those of the package
    before = dict(attributes._customs)
    yield
    attributes._customs.clear()
    attributes._customs.update(before)
    attributes._parse_text.cache_clear()


@pytest.fixture
def series(tmp_path: Path) -> db.Series:
    make_series(tmp_path, keys=KEYS)
    return db.database(tmp_path).series()[0]


def test_each_combination_is_worked_out_once(series: db.Series) -> None:
    asked: list[Any] = []

    def twice(time: float) -> float:
        asked.append(time)
        return 2 * time

    db.register_attribute("twice", twice, ["EchoTime"])
    assert [frame.twice for frame in series.frames()] == [
        2 * frame.EchoTime for frame in series.frames()
    ]
    assert series.twice == [4, 8, 12]
    assert len(series.frames(twice=slice(8, None))) == 4
    assert series.array(["SliceLocation", "twice"])[0].sizes["twice"] == 3
    assert sorted(asked) == [2, 4, 6]


def test_one_that_is_registered_again_is_the_new_one(series: db.Series) -> None:
    db.register_attribute("pace", lambda time: "short", ["EchoTime"])
    assert series.pace == ["short"]
    db.register_attribute("pace", lambda time: "long", ["EchoTime"])
    assert series.pace == ["long"]


def test_files_that_change_are_worked_out_anew(tmp_path: Path) -> None:
    made = make_series(tmp_path, keys=KEYS)
    database = db.database(tmp_path)
    assert database.series()[0].echo == [1, 2, 3]
    for path in made.files:
        dataset = pydicom.dcmread(path)
        dataset.EchoTime = 5.0
        dataset.DiffusionBValue = 50.0
        dataset.save_as(path)
    database.scan()
    (series,) = database.series()
    assert series.echo == [1]
    assert series.b_value == [50]


def test_edits_are_worked_out_anew(series: db.Series) -> None:
    assert (series.echo, series.b_value) == ([1, 2, 3], [])
    series.DiffusionBValue = 700.0
    series.frames()[0].EchoTime = 9.0
    assert (series.echo, series.b_value) == ([1, 2, 3, 4], [700])
    assert series.frames()[0].echo == 4
    db.register_attribute("twice", lambda time: 2 * time, ["EchoTime"])
    with pytest.raises(db.errors.InvalidValue, match=r"worked out from others \(EchoTime\)"):
        series.twice = 5
    series.restore()
    assert (series.echo, series.b_value) == ([1, 2, 3], [])


def test_what_is_read_is_the_users_own(tmp_path: Path) -> None:
    def edit(dataset: pydicom.Dataset, index: tuple[int, ...]) -> None:
        dataset.DiffusionBValue, dataset.DiffusionGradientOrientation = 100.0, [0.0, 0.0, 1.0]

    make_series(tmp_path, keys={"SliceLocation": [0.0, 5.0]}, header=edit)
    database = db.database(tmp_path)
    instance = database.instances()[0]
    instance.gradient_direction[2] = 7
    database.series()[0].gradient_direction[0][2] = 8
    assert instance.gradient_direction == [0, 0, 1]
    assert database.series()[0].gradient_direction == [[0, 0, 1]]


@pytest.mark.parametrize("name", ["b_value", "echo", "gradient_direction", "image_type"])
def test_names_are_offered(series: db.Series, name: str) -> None:
    assert name in series.to_dataframe(name).columns
    with pytest.raises(db.errors.UnknownKeyword, match=name):
        series[name[:-1] + "_"]


@pytest.mark.parametrize("name", ["window", "b_value", "affine"])
def test_what_the_package_works_out_is_not_replaced(name: str) -> None:
    with pytest.raises(InvalidValue, match=f"'{name}'"):
        db.register_attribute(name, lambda frame: 1)
    for value in (1, 2):
        db.register_attribute("mine_again", lambda frame, value=value: value)
