"""Pixels never come from a file that is not the one the array was made from."""

from __future__ import annotations

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.arrays import locator as locator_module
from dbdicom_xr.errors import DbdicomError, StaleArray
from dbdicom_xr.testing import make_series
from tests.arrays.opened import series_of


@pytest.fixture
def made(tmp_path):
    return make_series(tmp_path / "data")


def replace(file, other):
    """Other pixels in a file of the same length and name."""
    data = bytearray(file.read_bytes())
    data[-100:] = bytes(100)
    file.write_bytes(data)


def delete(file, _):
    file.unlink()


def truncate(file, _):
    file.write_bytes(file.read_bytes()[:-10])


def touch(file, _):
    status = os.stat(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def make_a_folder(file, _):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("refreshed", [False, True], ids=["unnoticed", "refreshed"])
@pytest.mark.parametrize("read_before", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("harm", [replace, delete, truncate, touch, make_a_folder])
def test_a_file_that_changed(made, harm, read_before, refreshed):
    array, _ = series_of(made.folder).array("SliceLocation", chunks={"SliceLocation": 1})
    if read_before:
        array.compute()
    harm(made.files[1], made.files[2])
    if refreshed:
        db.database(made.folder)
    with pytest.raises(StaleArray, match=r"IM0002\.dcm .*array") as caught:
        array.compute()
    assert "new" in str(caught.value) or "again" in str(caught.value)
    for place in (0, 2):  # the others are as they were
        np.testing.assert_array_equal(array[place], made.pixels[place])


@pytest.mark.parametrize("read_before", [False, True], ids=["cold", "warm"])
def test_a_file_that_another_was_copied_over(made, read_before):
    array, _ = series_of(made.folder).array("SliceLocation", chunks={"SliceLocation": 1})
    if read_before:
        array.compute()
    shutil.copyfile(made.files[2], made.files[1])  # of one instance now: the first counts
    assert len(series_of(made.folder).instances()) == 2
    with pytest.raises(StaleArray, match=r"IM0002\.dcm .*array"):
        array[1].compute()
    np.testing.assert_array_equal(array[0], made.pixels[0])
    if read_before:  # where its pixels lie is known, and they are what they were
        np.testing.assert_array_equal(array[2], made.pixels[2])
    else:
        with pytest.raises(StaleArray, match=r"IM0003\.dcm .*array"):
            array[2].compute()


def test_a_new_array_reads_the_new_file(made):
    series_of(made.folder).array()[0].compute()
    dataset = made.datasets[1]
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(made.files[1])
    array, _ = series_of(made.folder).array("SliceLocation")
    assert not array[1].values.any()
    np.testing.assert_array_equal(array[0], made.pixels[0])


@pytest.mark.parametrize("read_before", [False, True], ids=["cold", "warm"])
def test_a_file_that_the_user_moved(made, read_before):
    array, _ = series_of(made.folder).array("SliceLocation")
    if read_before:
        array.compute()
    made.files[1].rename(made.folder / "other.dcm")
    with pytest.raises(StaleArray, match=r"IM0002\.dcm .*array"):
        array.compute()
    db.database(made.folder)  # finds it at its new place, unchanged
    np.testing.assert_array_equal(array, made.pixels)
    np.testing.assert_array_equal(series_of(made.folder).array("SliceLocation")[0], made.pixels)


def test_files_that_swapped_names(made):
    array, _ = series_of(made.folder).array("SliceLocation")
    first, second = made.files[0].read_bytes(), made.files[1].read_bytes()
    made.files[0].write_bytes(second)
    made.files[1].write_bytes(first)
    with pytest.raises(StaleArray):
        array.compute()
    db.database(made.folder)
    with pytest.raises(StaleArray):
        array.compute()


def test_files_that_others_take_the_numbers_of(made, tmp_path):
    """An array made from one index, computed against another one at the same place."""
    index = tmp_path / "index.sqlite"
    array, header = series_of(made.folder, index).array("SliceLocation")
    packed = pickle.dumps((array, header))
    index.unlink()
    locator_module._forget()
    with pytest.raises(StaleArray, match=r"index\.sqlite cannot be read"):
        array.compute()
    for file in made.files[:2]:  # file numbers are dealt out in another order
        file.rename(file.with_name(f"z{file.name}"))
    series_of(made.folder, index)
    locator_module._forget()
    with pytest.raises(StaleArray, match="made anew"):
        array.compute()
    _, again = pickle.loads(packed)
    with pytest.raises(DbdicomError, match="made anew"):
        _ = again.InstanceNumber


def test_threads_that_find_a_saved_file_at_once(made, monkeypatch):
    """While one looks where a file is by now, the others still know where it was."""
    series = series_of(made.folder)
    array, _ = series.array("SliceLocation", chunks={"SliceLocation": 1})
    truth = array.values
    series.ImageComments = "another header, the same pixels"
    series.save()
    looked = []

    def look_up(self, numbers):
        with ThreadPoolExecutor(1) as other:
            looked.append(other.submit(lambda: [self.place(n) for n in numbers]).result())
        return real(self, numbers)

    real = locator_module.Locator._look_up
    monkeypatch.setattr(locator_module.Locator, "_look_up", look_up)
    assert np.array_equal(array.values, truth)
    assert looked


def test_an_index_deleted_while_it_is_open(made, tmp_path):
    index = tmp_path / "index.sqlite"
    array, _ = series_of(made.folder, index).array("SliceLocation")
    array[0].compute()
    index.unlink()
    try:
        found = array.compute().values
    except StaleArray:
        return
    np.testing.assert_array_equal(found, made.pixels)


def test_a_scan_that_finds_nothing_new_leaves_arrays_alone(made):
    database = db.database(made.folder)
    array, header = database.series()[0].array("SliceLocation")
    database.scan()
    np.testing.assert_array_equal(array, made.pixels)
    assert header.SliceLocation[:, 0].tolist() == [0.0, 5.0, 10.0]


def test_new_files_leave_arrays_alone(made):
    array, header = series_of(made.folder).array("SliceLocation")
    make_series(
        made.folder, keys={"SliceLocation": [-5.0]}, prefix="AA", header={"SOPInstanceUID": "1.2.3"}
    )  # fmt: skip
    series = series_of(made.folder)
    np.testing.assert_array_equal(array, made.pixels)
    assert header.SliceLocation[:, 0].tolist() == [0.0, 5.0, 10.0]
    assert series.array("SliceLocation")[0].sizes["SliceLocation"] == 4


def test_two_series_computed_together(tmp_path):
    one = make_series(tmp_path / "data" / "one", seed=1)
    two = make_series(tmp_path / "data" / "two", seed=2)
    database = db.database(tmp_path / "data")
    found = {
        series.SeriesInstanceUID.item(): series.array("SliceLocation")[0]
        for series in database.series()
    }
    arrays = [found[made.datasets[0].SeriesInstanceUID] for made in (one, two)]
    results = dask.compute(*arrays)
    np.testing.assert_array_equal(results[0], one.pixels)
    np.testing.assert_array_equal(results[1], two.pixels)
    np.testing.assert_array_equal(
        (arrays[0] * 1.0 - arrays[1].values), one.pixels - 1.0 * two.pixels
    )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(made):
    array, _ = series_of(made.folder).array("SliceLocation")
    made.files[1].chmod(0)
    with pytest.raises(DbdicomError, match=r"IM0002\.dcm failed: Permission denied"):
        array.compute()


def test_a_file_that_cannot_be_opened_says_why(made, monkeypatch):
    array, _ = series_of(made.folder).array("SliceLocation")

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("dbdicom_xr.arrays.source.open_for_reading", refuse)
    with pytest.raises(DbdicomError, match=r"IM0001\.dcm failed: Permission denied") as caught:
        array.compute(scheduler="sync")
    assert not isinstance(caught.value, StaleArray)


def test_an_error_of_the_disk_names_the_file(made, monkeypatch):
    array, _ = series_of(made.folder).array("SliceLocation")

    def fail(fd, views, offset):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(DbdicomError, match=r"IM0001\.dcm failed: Input/output error"):
        array.compute(scheduler="sync")
