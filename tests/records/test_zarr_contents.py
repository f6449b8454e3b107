"""Which zarr stores ``overwrite=True`` replaces: those that hold only what was exported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.testing import make_series

MASK = xr.Dataset({"mask": ("x", np.zeros(3))})


def note(store: Path) -> None:
    (store / "my_notes.txt").write_text("mine")


def note_in_header(store: Path) -> None:
    (store / "header" / "my_notes.txt").write_text("mine")


def note_among_chunks(store: Path) -> None:
    (store / "pixels" / "c" / "my_notes.txt").write_text("mine")


def array_of_mine(store: Path) -> None:
    MASK.to_zarr(store, mode="a", consolidated=False)


def group_of_mine(store: Path) -> None:
    MASK.to_zarr(store, group="mine", mode="a", consolidated=False)


def another_store(store: Path) -> None:
    shutil.rmtree(store)
    MASK.to_zarr(store, consolidated=False)


def another_group(store: Path) -> None:
    shutil.rmtree(store)
    zarr.create_group(store)


def version_2(store: Path) -> None:
    shutil.rmtree(store)
    MASK.to_zarr(store, zarr_format=2)


@pytest.mark.parametrize("level", ["series", "database"])
@pytest.mark.parametrize(
    ("add", "named"),
    [
        (note, "my_notes.txt"),
        (note_in_header, "header/my_notes.txt"),
        (note_among_chunks, "pixels/c/my_notes.txt"),
        (array_of_mine, "mask"),
        (group_of_mine, "mine"),
        (another_store, ""),
        (another_group, ""),
        (version_2, ""),
    ],
)
def test_what_was_added_to_a_store_is_never_lost(
    add: Callable[[Path], None], named: str, level: str, tmp_path: Path
) -> None:
    make_series(tmp_path / "in", keys={"SliceLocation": [0.0, 4.0]})
    database = db.database(tmp_path / "in")
    record = database.series()[0] if level == "series" else database
    store = tmp_path / "a.zarr"
    record.export_as_zarr(store)
    (group,) = (path.parent for path in store.rglob("pixels"))
    (group / ".DS_Store").write_text("of the Finder")
    record.export_as_zarr(store, overwrite=True)
    (group,) = (path.parent for path in store.rglob("pixels"))
    add(group)
    there = sorted(store.rglob("*"))
    says = f"holds .*{named}, which" if named else "(was not made by|holds .*mask, which|did not)"
    with pytest.raises(InvalidValue, match=says):
        record.export_as_zarr(store, overwrite=True)
    assert sorted(store.rglob("*")) == there
    database.close()
