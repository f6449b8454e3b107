"""Attributes that describe the pixels may be set; what contradicts the pixels is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import LayoutError
from dbdicom_xr.testing import make_enhanced, make_series


def opened(folder: Path, **options: object) -> db.Series:
    make_series(folder, shape=(6, 4), **options)  # type: ignore[arg-type]
    return db.database(folder).series()[0]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("Rows", 7), ("Columns", 3), ("BitsAllocated", 8), ("SamplesPerPixel", 3), ("Rows", None),
     ("NumberOfFrames", 2), ("BitsStored", 8), ("HighBit", 3)],
)  # fmt: skip
def test_a_contradiction_is_refused_until_it_is_set_back(
    tmp_path: Path, keyword: str, value: object
) -> None:
    series = opened(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.dcm")}
    instance = series.instances()[1]
    original = instance[keyword]
    instance[keyword] = value
    assert instance[keyword] == value
    for act in (series.array, instance.array, series.save, series.database.save):
        with pytest.raises(LayoutError, match=instance.uid) as caught:
            act()
        assert keyword in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.dcm")} == before
    instance[keyword] = original
    assert series.array()[0].compute().shape[0] == 3
    series.database.close(save=False)


def test_rows_and_columns_that_were_swapped_can_be_repaired(tmp_path: Path) -> None:
    series = opened(tmp_path)
    values = series.array()[0].compute().values
    columns, rows = series.Columns.item(), series.Rows.item()
    with series.database.batch():
        series.Rows, series.Columns = columns, rows
    swapped = series.array()[0].compute()
    assert swapped.shape == (*values.shape[:-2], rows, columns)
    np.testing.assert_array_equal(
        swapped.values.swapaxes(-1, -2).reshape(3, -1), values.swapaxes(-1, -2).reshape(3, -1)
    )
    series.save()
    read = [pydicom.dcmread(path) for path in sorted(tmp_path.rglob("*.dcm"))]
    assert {(dataset.Rows, dataset.Columns) for dataset in read} == {(columns, rows)}


def test_compressed_pixels_keep_their_size(tmp_path: Path) -> None:
    series = opened(tmp_path, transfer_syntax="rle")
    series.Columns, series.Rows = series.Rows.item(), series.Columns.item()
    with pytest.raises(LayoutError, match="compressed"):
        series.array()
    series.restore()
    assert series.array()[0].compute().size


def test_a_multi_frame_instance(tmp_path: Path) -> None:
    make_enhanced(tmp_path)
    instance = db.database(tmp_path).instances()[0]
    instance.NumberOfFrames = instance.NumberOfFrames - 1
    with pytest.raises(LayoutError, match="NumberOfFrames"):
        instance.array()
    instance.restore()
    assert instance.array().sizes["frame"] == instance.NumberOfFrames


def test_one_file_that_cannot_be_taken_apart(tmp_path: Path) -> None:
    files = make_series(tmp_path / "data").files
    whole = files[1].read_bytes()
    cut = whole[: whole.index(b"\x08\0\x3e\x10LO") + 11]  # inside SeriesDescription
    files[1].write_bytes(cut)
    database = db.database(tmp_path / "data")
    before = {path: path.read_bytes() for path in files}
    database.ImageComments = "new"
    with pytest.raises(LayoutError, match=r"IM0002.*Nothing was saved.*restore\(\) of that"):
        database.save()
    assert {path: path.read_bytes() for path in files} == before
    (bad,) = [one for one in database.instances() if one.file.endswith("IM0002.dcm")]
    bad.restore()
    database.save()
    assert files[1].read_bytes() == cut
    assert sum(path.read_bytes() != data for path, data in before.items()) == len(files) - 1
