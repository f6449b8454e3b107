"""``read()`` keeps header and pixels in memory, ``clear()`` gives it back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import StaleArray
from dbdicom_xr.testing import make_dce

opened: list[str] | None = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if opened is not None and event == "open" and str(arguments[0]).endswith(".dcm"):
        opened.append(str(arguments[0]))


sys.addaudithook(_hook)


@contextmanager
def watching() -> Iterator[list[str]]:
    global opened
    opened = found = []
    try:
        yield found
    finally:
        opened = None


@pytest.fixture
def series(tmp_path: Path) -> db.Series:
    make_dce(tmp_path)
    return db.database(tmp_path).series()[0]


def test_what_was_read_needs_no_file(series: db.Series) -> None:
    array, _ = series.array(["SliceLocation", "TemporalPositionIdentifier"])
    with watching() as found:
        expected = array.compute()
    assert len(found) == array.sizes["n"] * array[..., 0, 0].size  # the hook sees them
    assert series.read() == series
    with watching() as found:
        again = array.compute()
        new = series.array(["SliceLocation", "TemporalPositionIdentifier"])[0].compute()
    assert found == []
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(new, expected)
    series.clear()
    with watching() as found:
        np.testing.assert_array_equal(array.compute(), expected)
    assert found


def test_one_instance_and_what_is_staged_stays(series: db.Series) -> None:
    first, second = series.instances()[:2]
    first.EchoTime = 7
    first.read()
    with watching() as found:
        first.array().compute()
        second.array().compute()
    assert found == [second.file]
    first.clear()
    assert (first.EchoTime, second.EchoTime) == (7, 2)
    assert len(series.database.changes()) == 1


def test_a_file_that_has_gone_cannot_be_read(series: db.Series) -> None:
    instance = series.instances()[0]
    assert instance.file is not None
    Path(instance.file).unlink()
    with pytest.raises(StaleArray, match="has changed or vanished"):
        series.read()


def test_what_was_read_outlives_the_file(series: db.Series) -> None:
    instance = series.instances()[0]
    expected = instance.array().compute()
    instance.read()
    assert instance.file is not None
    Path(instance.file).unlink()
    np.testing.assert_array_equal(instance.array().compute(), expected)
