"""Remote folders become stores of zarr, and references where the files can be reached."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import LeftOut, StaleArray
from dbdicom_xr.testing import make_enhanced, make_mosaic, make_series
from tests.remote.conftest import Remote
from tests.remote.test_reading import STORES

Serve = Callable[[str], Remote]


def bytes_of(database: db.Database) -> list[bytes]:
    return sorted(Path(file).read_bytes() for file in database.files())


@pytest.mark.parametrize("kind", STORES)
def test_a_zarr_store_has_the_files(kind: str, folder: Path, serve: Serve, tmp_path: Path) -> None:
    make_series(folder / "plain", keys={"SliceLocation": [0.0, 5.0]}, slope=0.5)
    make_series(folder / "deflated", transfer_syntax="deflated", seed=2)
    make_enhanced(folder, keys={"SliceLocation": range(6)}, transfer_syntax="rle", seed=6)
    make_mosaic(folder / "mosaic", seed=7)
    with db.database(folder, index=tmp_path / "local") as local:
        wanted = bytes_of(local)
    database = serve(kind).open()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftOut)
        (store,) = database.export_as_zarr(tmp_path / "all.zarr")
    with db.from_zarr(store, tmp_path / "again") as again:
        assert bytes_of(again) == wanted
    tree = xr.open_datatree(store, engine="zarr")
    node = next(leaf.parent for leaf in tree.leaves if leaf.parent and "pixels" in leaf.parent)
    assert node["pixels"].dicom.header.Modality is not None


def test_a_file_that_changed_is_in_no_store(folder: Path, serve: Serve, tmp_path: Path) -> None:
    (file, *_) = make_series(folder).files
    database = serve("http").open()
    array = database.series()[0].array()[0].compute()
    assert array.size
    file.write_bytes(file.read_bytes() + b"\0\0")
    with pytest.raises(StaleArray, match=file.name):
        database.export_as_zarr(tmp_path / "all.zarr")
    assert not (tmp_path / "all.zarr").exists()
