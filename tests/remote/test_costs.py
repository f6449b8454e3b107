"""What remote folders cost: requests, and bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.testing import make_dce, make_enhanced, make_many, make_mosaic, make_series
from tests.remote.conftest import Remote
from tests.remote.servers import Server

Serve = Callable[[str], Remote]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.dcm"))


@pytest.mark.parametrize("kind", ["http", "s3"])
@pytest.mark.parametrize("private_bytes", [0, 2800])
def test_opening_reads_under_five_percent_of_a_typical_mr_folder(
    kind: str, private_bytes: int, folder: Path, serve: Serve
) -> None:
    # Headers of 3.4 and 6.2 kB, that of a scanner without, and with, its own elements.
    make_many(folder, 120, shape=(256, 256), private_bytes=private_bytes, slices=12)
    remote = serve(kind)
    database = remote.open()
    assert len(database.instances()) == 120
    assert remote.log.bytes < 0.05 * size_of(folder)
    files = remote.log.files()
    # One request per file; a few more for the first, by which the length of headers is known.
    assert len(files) <= 123
    assert len(remote.log.asked) - len(files) <= 2  # listings
    remote.log.clear()
    assert len(remote.open(refresh=False).instances()) == 120
    assert remote.log.asked == []


def test_opening_again_costs_s3_a_listing_only(folder: Path, serve: Serve) -> None:
    make_many(folder, 30, shape=(16, 16), slices=3)
    remote = serve("s3")
    remote.open()
    remote.log.clear()
    remote.open()
    assert len(remote.log.asked) == 1


def test_opening_again_costs_http_a_head_per_file(folder: Path, serve: Serve) -> None:
    make_many(folder, 30, shape=(16, 16), slices=3)
    remote = serve("http")
    remote.open()
    remote.log.clear()
    remote.open()
    assert sorted(one.method for one in remote.log.asked) == ["GET"] + ["HEAD"] * 30


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_a_frame_costs_one_request_of_its_own_bytes(kind: str, folder: Path, serve: Serve) -> None:
    made = make_dce(folder, shape=(2, 3, 16, 12))
    remote = serve(kind)
    array = remote.open().series()[0].array()[0]
    remote.log.clear()
    values = array[4].values
    (asked,) = remote.log.asked
    assert asked.sent == 16 * 12 * 2
    assert values.shape == (16, 12)
    assert made is not None
    remote.log.clear()
    assert array.values.shape == (6, 16, 12)
    assert [one.sent for one in remote.log.asked] == [16 * 12 * 2] * 6


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_frames_of_one_file_are_asked_for_together(kind: str, folder: Path, serve: Serve) -> None:
    make_enhanced(folder, keys={"SliceLocation": range(50)}, shape=(32, 32))
    remote = serve(kind)
    array = remote.open().series()[0].array()[0]
    remote.log.clear()
    np.testing.assert_array_equal(array[7].values.shape, (32, 32))
    assert [one.sent for one in remote.log.asked] == [2048]
    remote.log.clear()
    assert array.values.shape == (50, 32, 32)
    assert [one.sent for one in remote.log.asked] == [50 * 2048]


def test_a_compressed_frame_costs_one_request(folder: Path, serve: Serve) -> None:
    make_series(folder, shape=(64, 64), transfer_syntax="rle")
    remote = serve("http")
    array = remote.open().series()[0].array()[0]
    remote.log.clear()
    assert array[1].values.any()
    assert len(remote.log.asked) == 1


def test_the_tiles_of_a_mosaic_cost_one_request(folder: Path, serve: Serve) -> None:
    make_mosaic(folder)
    remote = serve("http")
    array = remote.open().series()[0].array()[0]
    files = len(remote.open().instances())
    remote.log.clear()
    assert array.values.any()
    assert len(remote.log.files()) == files


def test_many_fragments_are_found_by_their_table(folder: Path, serve: Serve) -> None:
    make_enhanced(
        folder, keys={"SliceLocation": range(60)}, shape=(128, 128), transfer_syntax="rle"
    )
    remote = serve("http")
    database = remote.open()
    local = db.database(folder, index=folder.parent / "local")
    array = database.series()[0].array()[0].values
    np.testing.assert_array_equal(array, local.series()[0].array()[0].values)


def test_files_that_are_no_images_cost_four_kilobytes(folder: Path, server: Server) -> None:
    (folder / "video.avi").write_bytes(bytes(1_000_000))
    make_series(folder)
    database = db.database(server.url, index=folder.parent / "index")
    assert len(database.instances()) == 3
    (sent,) = [one.sent for one in server.log.asked if "avi" in one.path]
    assert sent <= 4096


def test_values_that_stay_in_the_file_are_passed_over(folder: Path, server: Server) -> None:
    def long_value(dataset: Dataset, *_: Any) -> None:
        block = dataset.private_block(0x0029, "MAKER", create=True)
        block.add_new(0x10, "OB", bytes(1_000_000))

    make_series(folder, header=long_value)
    database = db.database(server.url, index=folder.parent / "index")
    assert server.log.bytes < 60_000
    server.log.clear()
    assert database.instances()[0]["MAKER", 0x10] == bytes(1_000_000)
    assert [one.sent for one in server.log.asked] == [1_000_000] * 3  # a column of the series
    assert server.busiest > 1


def test_requests_are_made_at_the_same_time(folder: Path, server: Server) -> None:
    make_many(folder, 40, shape=(16, 16))
    server.delay = 0.02
    database = db.database(server.url, index=folder.parent / "index")
    assert server.busiest > 8
    server.busiest = 0
    assert database.series()[0].array()[0].values.shape == (40, 16, 16)
    assert server.busiest > 8


@pytest.mark.realdata
@pytest.mark.parametrize(
    "kind",
    ["mosaic", "dcm_qa"],
)
def test_real_mosaics_are_opened_by_less_than_five_percent(
    kind: str, testdata: Path, tmp_path: Path
) -> None:
    from tests.remote.servers import http_server

    with http_server(testdata / kind) as running:
        db.database(running.url, index=tmp_path / "index")
        total = sum(path.stat().st_size for path in (testdata / kind).rglob("*") if path.is_file())
        assert running.log.bytes < 0.05 * total
