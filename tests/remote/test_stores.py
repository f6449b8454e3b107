"""Remote folders become stores of zarr, and references where the files can be reached."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import LeftOut, PixelError, StaleArray
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


@pytest.mark.parametrize("kind", ["http", "s3", "memory"])
@pytest.mark.parametrize("bits", [12, 16])
def test_references_of_kerchunk_lead_there(
    kind: str, bits: int, folder: Path, serve: Serve, tmp_path: Path
) -> None:
    pytest.importorskip("virtualizarr")
    pytest.importorskip("kerchunk")
    make_series(folder / "flip angles", keys={"SliceLocation": [0.0, 5.0]}, bits_stored=bits)
    remote = serve(kind)
    (series,) = remote.open().series()
    (store,) = series.to_virtual(tmp_path / "t1.json", "SliceLocation")
    assert "known-by-tests" not in Path(store).read_text()
    reach = {"remote_protocol": kind, "remote_options": remote.options or {}}
    with xr.open_dataset(store, engine="kerchunk", chunks={}, storage_options=reach) as plain:
        array, header = series.array("SliceLocation")
        np.testing.assert_array_equal(plain["pixels"], array)
        assert list(plain["pixels"].dicom.header.ravel()) == list(header.ravel())


def test_references_of_icechunk_lead_there(folder: Path, serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("virtualizarr")
    icechunk = pytest.importorskip("icechunk")
    make_series(folder / "flip angles", keys={"SliceLocation": [0.0, 5.0]})
    remote = serve("s3")
    database = remote.open()
    (series,) = database.series()
    (store,) = series.to_virtual(tmp_path / "t1", "SliceLocation")
    options = remote.options
    place = remote.url.rstrip("/") + "/"
    assert options
    key = icechunk.s3_credentials(access_key_id=options["key"], secret_access_key=options["secret"])
    may = icechunk.containers_credentials({place: key})
    repository = icechunk.Repository.open(
        icechunk.local_filesystem_storage(store), authorize_virtual_chunk_access=may
    )
    plain = xr.open_zarr(repository.readonly_session("main").store, consolidated=False)
    np.testing.assert_array_equal(plain["pixels"], series.array("SliceLocation")[0])
    files = [path for path in Path(store).rglob("*") if path.is_file()]
    assert not any(b"known-by-tests" in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("zip", "t1.json", "archive"),
        ("zip", "t1", "archive"),
        ("memory", "t1", "not to memory"),
        ("http", "t1", "port"),
    ],
)
def test_what_no_reference_leads_to_is_refused(
    kind: str, name: str, says: str, folder: Path, serve: Serve, tmp_path: Path
) -> None:
    pytest.importorskip("virtualizarr")
    make_series(folder)
    (series,) = serve(kind).open().series()
    with pytest.raises(PixelError, match=says):
        series.to_virtual(tmp_path / name)
    assert not (tmp_path / name).exists()
