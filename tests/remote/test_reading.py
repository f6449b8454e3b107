"""A remote folder reads as the same folder of this computer does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.errors import StaleArray
from dbdicom_xr.testing import make_dce, make_enhanced, make_mosaic, make_series
from tests.remote.conftest import Remote

STORES = ["http", "s3", "zip", "memory"]
Serve = Callable[[str], Remote]


def long_value(dataset: Dataset, *_: Any) -> None:
    block = dataset.private_block(0x0029, "MAKER", create=True)
    block.add_new(0x10, "OB", bytes(range(256)) * 400)
    block.add_new(0x11, "LO", "behind it")


def fill(folder: Path) -> None:
    make_dce(folder / "dce", shape=(2, 3, 16, 12))
    make_series(folder / "rle", shape=(40, 30), transfer_syntax="rle", seed=1)
    make_series(folder / "deflated", transfer_syntax="deflated", seed=2)
    make_series(folder / "implicit", transfer_syntax="implicit", seed=3, header=long_value)
    make_series(folder / "big", transfer_syntax="big", seed=4)
    make_enhanced(folder / "enhanced", keys={"SliceLocation": range(20)}, seed=5)
    make_enhanced(
        folder / "enhanced", keys={"SliceLocation": range(6)}, transfer_syntax="rle", seed=6,
        name="rle.dcm", shape=(60, 50),
    )  # fmt: skip
    make_mosaic(folder / "mosaic", seed=7)
    make_mosaic(folder / "packed", transfer_syntax="rle", seed=8)
    (folder / "notes with blanks.txt").write_text("no images here, but text of some length " * 9)
    (folder / "empty").touch()
    (folder / "cut").mkdir()
    whole = next((folder / "dce").glob("*.dcm")).read_bytes()
    (folder / "cut" / "header.dcm").write_bytes(whole[:900])
    (folder / "cut" / "without preamble.dcm").write_bytes(
        (folder / "implicit").joinpath(sorted(p.name for p in (folder / "implicit").iterdir())[0])
        .read_bytes()[132:]
    )  # fmt: skip


@pytest.mark.parametrize("kind", STORES)
def test_all_that_reads_gives_the_same(kind: str, folder: Path, serve: Serve) -> None:
    fill(folder)
    local = db.database(folder, index=folder.parent / "local")
    remote = serve(kind)
    database = remote.open()
    assert [s.path for s in database.series()] == [s.path for s in local.series()]
    assert len(database.series()) == 9
    pd.testing.assert_frame_equal(database.to_dataframe(), local.to_dataframe())
    reasons = {problem.file.rpartition("/")[2].replace("%20", " "): problem.reason
               for problem in database.problems}  # fmt: skip
    assert reasons.keys() == {Path(problem.file).name for problem in local.problems}
    assert reasons["empty"] == "an empty file"
    for mine, other in zip(database.series(), local.series(), strict=True):
        array, header = mine.array()
        np.testing.assert_array_equal(array.values, other.array()[0].values)
        assert header[0].SOPInstanceUID == other.instances()[0].SOPInstanceUID
        assert mine.instances()[0].dataset() == other.instances()[0].dataset()
    with_long = next(s for s in database.series() if s["MAKER", 0x11])
    (value,) = with_long["MAKER", 0x10]
    assert value == bytes(range(256)) * 400
    between = [i.SOPInstanceUID for i in database.instances(SliceLocation=slice(0, 3))]
    assert between == [i.SOPInstanceUID for i in local.instances(SliceLocation=slice(0, 3))]
    assert between


@pytest.mark.parametrize("kind", STORES)
def test_files_are_exported_byte_for_byte(kind: str, folder: Path, serve: Serve) -> None:
    make_dce(folder, shape=(2, 3, 16, 12))
    database = serve(kind).open()
    original = {path.read_bytes() for path in folder.glob("*.dcm")}
    target = folder.parent / "copy"
    files = database.export_as_dicom(target)
    assert {Path(file).read_bytes() for file in files} == original
    assert len(db.database(target).instances()) == 6
    assert database.series()[0].export_as_nifti(folder.parent / "nifti")
    assert database.series()[0].export_as_npy(folder.parent / "npy")
    anonymous = database.export_as_dicom(folder.parent / "anonymous", deidentify=True)
    assert len(anonymous) == 6
    saved = database.series()[0].save(folder.parent / "saved")
    assert {Path(file).read_bytes() for file in saved} == original


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_workers_and_threads_read_it(kind: str, folder: Path, serve: Serve) -> None:
    make_dce(folder, shape=(2, 6, 16, 12))
    local = db.database(folder, index=folder.parent / "local").series()[0].array()[0].values
    database = serve(kind).open()
    array, header = database.series()[0].array(chunks={"n": 3})
    with dask.config.set(scheduler="threads", num_workers=4):
        np.testing.assert_array_equal(array.values, local)
    with dask.config.set(scheduler="processes", num_workers=2):
        np.testing.assert_array_equal(array.compute().values, local)
        (names,) = dask.compute(dask.delayed(_dataset)(header[0]))
    assert names == "Phantom^Synthetic"


def _dataset(instance: Any) -> str:
    return str(instance.dataset().PatientName)


@pytest.mark.parametrize("kind", STORES)
def test_pixels_can_be_kept_in_memory(kind: str, folder: Path, serve: Serve) -> None:
    make_series(folder, transfer_syntax="deflated")
    remote = serve(kind)
    series = remote.open().series()[0]
    array = series.array()[0]
    series.read()
    remote.log.clear()
    assert array.values.any()
    assert remote.log.asked == []
    series.clear()
    assert array.values.any()


def replaced(remote: Remote, s3: Any, name: str, data: bytes) -> None:
    """Put another file at a place of the store."""
    if remote.kind == "s3":
        s3.client.put_object(Bucket=remote.url.partition("://")[2], Key=name, Body=data)
    elif remote.kind == "memory":
        import fsspec

        fsspec.filesystem("memory").pipe_file(f"{remote.url[8:]}/{name}", data)
    else:
        (remote.local / name).write_bytes(data)


@pytest.mark.parametrize("kind", ["http", "s3", "memory"])
def test_a_file_that_changed_is_not_read(kind: str, folder: Path, serve: Serve, s3: Any) -> None:
    made = make_series(folder, shape=(16, 12))
    first = Path(made.files[0])
    remote = serve(kind)
    database = remote.open()
    array = database.series()[0].array("SliceLocation")[0]
    instance = database.instances()[0]
    other = Path(made.files[1]).read_bytes().replace(
        str(made.uids.ravel()[1]).encode(), str(made.uids.ravel()[0]).encode()
    )  # fmt: skip
    assert len(other) == first.stat().st_size
    replaced(remote, s3, first.name, other)
    with pytest.raises(StaleArray, match=f"{first.name} has changed"):
        array[0].compute()
    with pytest.raises(StaleArray, match=first.name):
        instance.dataset()
    np.testing.assert_array_equal(array[1].values[0], made.values[1, 0])
    again = remote.open().series()[0].array("SliceLocation")[0]
    assert again.sizes["SliceLocation"] == 2 or not np.array_equal(again[0].values, made.values[0])
    with pytest.raises(StaleArray):
        array[0].compute()


@pytest.mark.parametrize("kind", ["http", "s3", "memory"])
def test_opening_again_reads_what_is_new(kind: str, folder: Path, serve: Serve, s3: Any) -> None:
    make_dce(folder, shape=(2, 3, 16, 12))
    remote = serve(kind)
    assert len(remote.open().instances()) == 6
    remote.log.clear()
    assert len(remote.open().instances()) == 6
    assert remote.log.files() == []
    assert len(remote.open(refresh=False).instances()) == 6
    more = make_series(folder.parent / "more", seed=9)
    replaced(remote, s3, "more.dcm", Path(more.files[0]).read_bytes())
    remote.log.clear()
    database = remote.open()
    assert len(database.instances()) == 7
    assert {one.path.rpartition("/")[2] for one in remote.log.files()} <= {"more.dcm"}
    assert len(database.scan().instances()) == 7


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["dcm_qa", "mosaic", "philips", "enh", "agfa", "dicom2nifti", "pydicom"]
)
def test_real_files_read_as_they_do_here(name: str, testdata: Path, tmp_path: Path) -> None:
    from tests.remote.servers import http_server

    local = db.database(testdata / name, index=tmp_path / "local")
    with http_server(testdata / name) as server:
        database = db.database(server.url, index=tmp_path / "remote")
        assert [s.path for s in database.series()] == [s.path for s in local.series()]
        pd.testing.assert_frame_equal(database.to_dataframe(), local.to_dataframe())
        reasons = [problem.reason.partition("/")[0] for problem in database.problems]
        assert sorted(reasons) == sorted(
            problem.reason.partition("/")[0] for problem in local.problems
        )


def test_an_archive_in_a_bucket_is_a_folder(folder: Path, serve: Serve, s3: Any) -> None:
    make_dce(folder / "inner" / "dce", shape=(2, 3, 16, 12))
    local = db.database(folder, index=folder.parent / "local").series()[0].array()[0].values
    archive = serve("zip").url.removeprefix("zip://::")
    bucket = f"archives{abs(hash(archive))}"
    s3.client.create_bucket(Bucket=bucket)
    s3.client.put_object(Bucket=bucket, Key="study.zip", Body=Path(archive).read_bytes())
    for url in (f"zip://*::s3://{bucket}/study.zip", f"zip://inner::s3://{bucket}/study.zip"):
        database = db.database(
            url, storage_options={"s3": s3.options}, index=folder.parent / f"i{len(url)}"
        )
        array = database.series()[0].array()[0]
        np.testing.assert_array_equal(array.values, local)
        with dask.config.set(scheduler="processes", num_workers=1):
            np.testing.assert_array_equal(array.compute().values, local)
        assert s3.options["secret"] not in repr(database) + str(array.attrs)
