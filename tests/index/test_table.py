"""The header of one series as a table, and an index made without files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from dbdicom_xr.errors import DatabaseChanged, StaleArray
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.store import Store
from dbdicom_xr.index.table import Table
from dbdicom_xr.testing.index import make_index
from tests.index.made import dataset, index, write

ECHO = Key(0x00180081)
LONG = Key(0x00290010, "VENDOR")


def table(store: Store, folder: Path) -> Table:
    (series,) = store.series()
    return Table(store, str(folder), series, store.generation())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(4):
        made = dataset(i)
        if i != 2:
            made.EchoTime = [10, 20][i % 2]
        block = made.private_block(0x0029, "VENDOR", create=True)
        block.add_new(0x10, "OB", bytes([i]) * 70_000)
        write(tmp_path / "data" / f"{i}", made)
    return tmp_path / "data"


def test_values_frame_by_frame(folder: Path) -> None:
    found = table(index(folder), folder)
    assert len(found) == 4
    assert found.uids == [f"1.2.3.1.{i}" for i in range(4)]
    echo = found.values(ECHO)
    assert echo is not None
    assert [echo.of(i) for i in range(4)] == [10.0, 20.0, None, 20.0]
    assert echo.occurring() == [10.0, 20.0]
    assert echo.take(np.array([3, 0])).as_objects().tolist() == [20.0, 10.0]
    assert found.values(Key(0x00180082)) is None
    assert found.value(Key(0x00180082), 0) is None


def test_long_values_are_read_from_the_file(folder: Path) -> None:
    found = table(index(folder), folder)
    assert found.left_in_files(LONG)
    assert not found.left_in_files(ECHO)
    values = found.values(LONG)
    assert values is not None
    assert [values.of(i) for i in range(4)] == [bytes([i]) * 70_000 for i in range(4)]
    assert found.value(LONG, 3) == b"\3" * 70_000


def test_a_file_that_is_another_one_now_is_not_read(folder: Path) -> None:
    found = table(index(folder), folder)
    path = folder / "1"
    path.write_bytes(path.read_bytes().replace(b"\1" * 70_000, b"\7" * 70_000))
    os.utime(path, ns=(5, 5))
    assert found.value(LONG, 0) == b"\0" * 70_000
    with pytest.raises(StaleArray, match="has changed since it was indexed"):
        found.value(LONG, 1)
    path.unlink()
    with pytest.raises(StaleArray, match="cannot be read any more"):
        found.values(LONG)


def test_a_table_is_a_snapshot(folder: Path) -> None:
    store = index(folder)
    found = table(store, folder)
    found.load()
    partly = table(store, folder)
    before, also = found.uids, partly.uids
    for i in range(10, 13):
        write(folder / f"{i}", dataset(i))
    index(folder, store.path)
    assert found.uids == before
    assert found.value(Key(0x00180082), 0) is None
    assert partly.uids == also
    with pytest.raises(DatabaseChanged, match="brought up to date while it was being read"):
        partly.value(Key(0x00180082), 0)
    assert len(table(store, folder)) == 7


# -- without files ----------------------------------------------------------------------------


def test_an_index_without_files(tmp_path: Path) -> None:
    path = make_index(tmp_path / "index.sqlite", instances=1003, series=25, series_per_study=5)
    store = Store(path)
    rows = store.series()
    assert len(rows) == 25
    assert sum(row.instances for row in rows) == 1003
    assert len({row.key.study_uid for row in rows}) == 5
    assert len({row.key.patient_id for row in rows}) == 5
    assert len(store.files()) == 1003
    first = rows[0]
    found = Table(store, str(tmp_path), first, store.generation())
    assert len({*found.uids}) == first.instances
    assert found.value(Key(0x00200013), 7) == 8
    assert found.value(Key(0x00200032), 7) == [0.0, 0.0, 14.0]
    assert len(found.keys) > 90


@pytest.mark.slow
def test_a_large_index_opens_at_once(tmp_path: Path) -> None:
    path = make_index(tmp_path / "index.sqlite", instances=100_000, series=2_000)
    since = time.perf_counter()
    store = Store(path)
    assert len(store.series()) == 2_000
    assert time.perf_counter() - since < 0.5
    assert path.stat().st_size < 400 * 100_000
