"""``array.dicom.cache()``: equal to the array, in a folder that goes with it."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue, MissingFolder, PixelError, SaveFailed, StaleArray
from dbdicom_xr.testing import make_dce
from dbdicom_xr.xarray_plugin import cache as cache_module

SORT = ["SliceLocation", "TemporalPositionIdentifier"]


@pytest.fixture
def array(tmp_path: Path) -> xr.DataArray:
    make_dce(tmp_path / "dicom")
    found: xr.DataArray = db.database(tmp_path / "dicom").series()[0].array(SORT)[0]
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        lambda a: a * 0.5,
        lambda a: a.astype(bool),
        lambda a: a.isel(SliceLocation=1),
        lambda a: a.transpose("x", "y", ...),
        lambda a: a.where(a > 100),
        lambda a: a.isel(n=0, x=3, y=slice(2, 9)),
        lambda a: a.mean("TemporalPositionIdentifier"),
        lambda a: a.chunk(x=3, y=2),
        lambda a: a.compute(),
    ],
)
def test_the_copy_is_the_array(array: xr.DataArray, tmp_path: Path, change: Any) -> None:
    wanted = change(array)
    copy = wanted.dicom.cache(tmp_path)
    assert copy.chunks is not None
    assert copy.identical(wanted)
    assert copy.dtype == wanted.dtype
    try:
        header = wanted.dicom.header
    except Exception as error:
        with pytest.raises(type(error)):
            _ = copy.dicom.header
    else:
        assert (copy.dicom.header == header).all() or header.shape == copy.dicom.header.shape


def test_the_files_are_not_read_again(array: xr.DataArray, tmp_path: Path) -> None:
    copy, values = array.dicom.cache(), array.values
    for file in Path(array.attrs["database"]).rglob("*.dcm"):
        file.write_bytes(b"")
    with pytest.raises(StaleArray):
        array.compute()
    np.testing.assert_array_equal(copy.values, values)
    np.testing.assert_array_equal(copy[1, 2].values, values[1, 2])
    written = copy.max("TemporalPositionIdentifier").values
    np.testing.assert_array_equal(written, values.max(1))


def copies(home: Path) -> list[str]:
    return sorted(path.name for path in home.glob("dbdicom_xr-cache-*"))


def test_it_goes_with_the_last_that_reads_from_it(array: xr.DataArray, tmp_path: Path) -> None:
    copy = array.dicom.cache(tmp_path)
    mean = copy.mean("x")
    other = pickle.loads(pickle.dumps(mean))
    wanted = array.mean("x").values
    assert len(copies(tmp_path)) == 1
    del copy
    gc.collect()
    np.testing.assert_array_equal(mean.values, wanted)
    np.testing.assert_array_equal(other.values, wanted)
    del mean
    gc.collect()
    assert copies(tmp_path) == []
    with pytest.raises(MissingFolder):
        other.compute()


def test_it_goes_with_the_process_and_what_a_killed_one_left_with_the_next(tmp_path: Path) -> None:
    code = (
        "import sys, os, numpy as np, xarray as xr, dask.array as da, dbdicom_xr\n"
        "a = xr.DataArray(da.ones((4, 5, 6)), dims=['n', 'x', 'y']).dicom.cache(sys.argv[1])\n"
        "print(len(os.listdir(sys.argv[1])), flush=True)\n"
        "if sys.argv[2] == 'killed': os.kill(os.getpid(), 9)\n"
    )
    for how, left in (("ended", 0), ("killed", 1), ("ended", 0)):
        run = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), how],
            capture_output=True, text=True, check=False, cwd=Path(db.__file__).parents[1],
        )  # fmt: skip
        assert run.stdout == "1\n", run.stderr
        assert len(copies(tmp_path)) == left


@pytest.mark.parametrize(
    ("shape", "chunks", "stored"),
    [
        ((30, 100, 256, 256), None, (1, 100, 79, 256)),
        ((30, 1, 256, 256), None, (15, 1, 256, 256)),
        ((3, 2000, 512, 512), None, (1, 256, 32, 512)),
        ((3, 100, 64, 64), {"x": 16, "y": 16}, (3, 100, 16, 16)),
        ((3, 100, 64, 64), {"time": 10}, (3, 10, 64, 64)),
        ((3, 100, 64, 64), {"time": -1, "SliceLocation": 2}, (2, 100, 64, 64)),
    ],
)
def test_blocks_hold_the_curves_of_voxels(
    shape: tuple[int, ...], chunks: Any, stored: tuple[int, ...]
) -> None:
    import dask.array as da

    array = xr.DataArray(da.zeros(shape, dtype=np.uint16), dims=["SliceLocation", "time", "x", "y"])
    written, kept = cache_module._sizes(array, chunks)
    assert all(a % b == 0 or a == n for a, b, n in zip(written, kept, shape, strict=True))
    assert np.prod(written) * 2 <= 2 * cache_module._WRITTEN
    if chunks is None:
        assert np.prod(kept) * 2 <= 2 * cache_module._STORED or kept[1] == 1
    assert kept == stored or (chunks is None and kept[1] == stored[1])


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "no dimension": (lambda a, p: a.dicom.cache(p, chunks={"z": 3}), InvalidValue, "'z'"),
    "no number": (lambda a, p: a.dicom.cache(p, chunks={"x": 0}), InvalidValue, "x is 0"),
    "texts": (lambda a, p: a.astype(str).dicom.cache(p), InvalidValue, "cannot be copied"),
    "nothing": (lambda a, p: a[:0].dicom.cache(p), InvalidValue, "cannot be copied"),
    "a file": (lambda a, p: a.dicom.cache(__file__), SaveFailed, "cannot be made"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be(array: xr.DataArray, tmp_path: Path, case: str) -> None:
    do, error, words = BAD[case]
    with pytest.raises(error, match=words):
        do(array, tmp_path / "home")
    assert copies(tmp_path / "home") == []


@pytest.mark.parametrize("where", ["in the array", "on the disk"])
def test_an_error_leaves_nothing(
    array: xr.DataArray, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error: type[Exception]
    if where == "in the array":
        error, words = StaleArray, "has changed"
        next(iter(Path(array.attrs["database"]).rglob("*.dcm"))).write_bytes(b"")
    else:
        error, words = SaveFailed, r"No space left.*cache\(path\)"

        def full(self: Any, *args: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(error, match=words):
        array.dicom.cache(tmp_path / "home")
    assert os.listdir(tmp_path / "home") == []


def test_long_curves_are_one_block(
    array: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_WRITTEN", 4096)
    monkeypatch.setattr(cache_module, "_STORED", 512)
    copy = array.dicom.cache(tmp_path)
    assert copy.chunksizes["TemporalPositionIdentifier"] == (10,)
    assert copy.identical(array)
    some = array.dicom.cache(tmp_path, chunks={"TemporalPositionIdentifier": 4})
    assert some.chunksizes["TemporalPositionIdentifier"] == (4, 4, 2)
    assert some.identical(array)


def damage(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("how", ["gone", "cut", "flipped"])
def test_a_block_that_is_lost_is_no_zeros(
    array: xr.DataArray, tmp_path: Path, how: str, zeros: bool
) -> None:
    copy = (array * 0 if zeros else array).dicom.cache(tmp_path, chunks={"SliceLocation": 1})
    first, *_ = sorted(path for path in tmp_path.glob("*/array/c/**/*") if path.is_file())
    damage(first, how)
    with pytest.raises(PixelError, match="Make it again"):
        copy.compute()
    whole = copy.isel(SliceLocation=-1).compute()
    assert (whole == array.isel(SliceLocation=-1) * (not zeros)).all()
