"""Where zarr stores go and what is made of them: no room, and folders that are not for them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue, SaveFailed
from dbdicom_xr.records.importing import from_zarr as importing_zarr
from dbdicom_xr.testing import make_series


@pytest.fixture
def series(tmp_path: Path) -> Any:
    make_series(tmp_path / "in", keys={"SliceLocation": [0.0, 4.0]})
    with db.database(tmp_path / "in") as database:
        yield database.series()[0]


@pytest.mark.parametrize("folder", [None, "again"])
def test_no_room_for_the_files_of_a_store(
    folder: str | None, series: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = series.export_as_zarr(tmp_path / "a.zarr")
    monkeypatch.setattr(importing_zarr.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(importing_zarr._Group, "_copy", full)
    with pytest.raises(SaveFailed, match="No space left"):
        db.from_zarr(store, folder and tmp_path / folder)
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "in", "temporary"]
    assert os.listdir(tmp_path / "temporary") == []


EXPORTS: dict[str, Callable[[Any, Path], Any]] = {
    "zarr": lambda series, folder: series.export_as_zarr(folder / "a.zarr"),
    "folder of stores": lambda series, folder: series.export_as_zarr(folder),
    "virtual": lambda series, folder: series.to_virtual(folder / "a.json"),
    "csv": lambda series, folder: series.export_as_csv(folder / "a.csv"),
    "npy": lambda series, folder: series.export_as_npy(folder / "deep"),
    "dicom": lambda series, folder: series.export_as_dicom(folder),
}


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("below", [".", "deeper"])
def test_nothing_is_exported_into_the_folder_of_the_index(
    below: str, export: str, series: Any, tmp_path: Path
) -> None:
    if export == "virtual":
        for package in ("icechunk", "virtualizarr", "kerchunk"):
            pytest.importorskip(package)
    own = tmp_path / "in" / ".dbdicom_xr"
    there = {path for path in own.rglob("*") if not path.name.startswith("index")}
    with pytest.raises(InvalidValue, match="where a database keeps its index"):
        EXPORTS[export](series, own / below)
    assert {path for path in own.rglob("*") if not path.name.startswith("index")} == there


@pytest.mark.parametrize("path", [None, 5, "", "s3://bucket/a.zarr", "s3://bucket/out"])
def test_what_names_no_folder_is_refused(path: Any, series: Any) -> None:
    with pytest.raises(InvalidValue):
        series.export_as_zarr(path)
