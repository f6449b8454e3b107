"""Arrays that were made from written images go on reading them, whatever is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.records.editing import saving
from dbdicom_xr.testing import make_dce, make_series

KEYS = ["SliceLocation", "TemporalPositionIdentifier"]


def test_a_save_with_edits_and_without(tmp_path: Path) -> None:
    make_dce(tmp_path)
    with db.database(tmp_path) as database:
        series = database.series()[0]
        array, _ = series.array(KEYS)
        written = series.new_sibling()
        (array * 2).dicom.write(written)
        made, _ = written.array(KEYS)
        copies = written.copy()
        of_copies, _ = copies.array(KEYS)
        staged = written.files()
        written.SeriesDescription = "edited before it was saved"
        database.save()
        assert not any(Path(file).exists() for file in staged)
        np.testing.assert_array_equal(made, array * 2)
        np.testing.assert_array_equal(of_copies, array * 2)
        (array * 3).dicom.write(written)
        made, _ = written.array(KEYS)
        database.save()
        np.testing.assert_array_equal(made, array * 3)
        assert [Path(file).suffix for file in written.files()] == [".dcm"] * array[..., 0, 0].size
        assert not list(Path(tmp_path, ".dbdicom_xr", "staged").iterdir())


def test_a_save_during_a_write_does_not_let_others_in(tmp_path: Path) -> None:
    make_dce(tmp_path)
    held = []
    with db.database(tmp_path) as database:
        series = database.series()[0]
        array, _ = series.array(KEYS)

        def block(values: np.ndarray) -> np.ndarray:
            if not held:
                database.save()
                held.append(database._staging.taken)
            return values

        lazy = array.copy(data=array.data.map_blocks(block, meta=array.data._meta))
        new = series.new_sibling()
        lazy.dicom.write(new)
        assert held == [True]
        np.testing.assert_array_equal(new.array(KEYS)[0], array)
        database.save()
        assert not database._staging.taken


def test_b_values_that_a_vendor_says_elsewhere_are_said_by_the_standard(tmp_path: Path) -> None:
    made = make_series(tmp_path, keys={"SliceLocation": [0, 5, 10]})
    for file, value in zip(made.files, (0, 50, 800), strict=True):
        dataset = pydicom.dcmread(file)
        dataset.Manufacturer = "SIEMENS"
        block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0C, "IS", value)
        dataset.save_as(file)
    with db.database(tmp_path) as database:
        series = database.series()[0]
        assert "DiffusionBValue" not in pydicom.dcmread(made.files[0])
        array, header = series.array("SliceLocation")
        (array * 1.0).dicom.write(new := series.new_sibling())
        _, written = new.array("SliceLocation")
        read = [pydicom.dcmread(one.file).DiffusionBValue for one in written[:, 0]]
        assert read == list(header[:, 0].b_value) == [0, 50, 800]
        database.restore()


def test_a_slope_without_intercept_is_a_scale(tmp_path: Path) -> None:
    made = make_series(tmp_path, slope=0.37, intercept=0)
    for file in made.files:
        dataset = pydicom.dcmread(file)
        del dataset.RescaleIntercept
        dataset.save_as(file)
    with db.database(tmp_path) as database:
        series = database.series()[0]
        array, _ = series.array("SliceLocation")
        array.dicom.write(new := series.new_sibling())
        assert new.RescaleSlope == [0.37]
        np.testing.assert_array_equal(new.array("SliceLocation")[0], array)
        database.restore()


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (0.37, 0), (2.5, -100)])
def test_one_multi_frame_file_is_as_exact_as_many(
    tmp_path: Path, dtype: str, slope: float, intercept: float
) -> None:
    make_series(tmp_path, dtype=dtype, slope=slope, intercept=intercept)
    with db.database(tmp_path) as database:
        series = database.series()[0]
        array, _ = series.array("SliceLocation")
        array.dicom.write(new := series.new_sibling(), multiframe=True)
        (file,) = new.files()
        np.testing.assert_array_equal(new.array("SliceLocation")[0], array)
        # Programs that read one scale for all frames get the right numbers too.
        assert len(new.RescaleSlope or [1]) == len(new.RescaleIntercept or [0]) == 1
        assert pydicom.dcmread(file).NumberOfFrames == array.shape[0]
        database.restore()


def test_a_folder_whose_index_is_elsewhere_is_left_as_it_was(tmp_path: Path) -> None:
    make_dce(tmp_path / "data")
    before = sorted(tmp_path.joinpath("data").rglob("*"))
    with db.database(tmp_path / "data", index=tmp_path / "index.sqlite") as database:
        series = database.series()[0]
        array, _ = series.array(KEYS)
        (array * 2).dicom.write(series)
        assert sorted(tmp_path.joinpath("data").rglob("*")) != before
        database.restore()
        assert sorted(tmp_path.joinpath("data").rglob("*")) == before


@pytest.mark.parametrize("elsewhere", [False, True])
def test_folders_that_a_save_left_are_removed_when_opened(
    elsewhere: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dce(tmp_path / "data")
    index = tmp_path / "index.sqlite" if elsewhere else None
    own = tmp_path / "data" / ".dbdicom_xr"
    with monkeypatch.context() as patched:
        patched.setattr(saving, "tidy", lambda database: None)  # it was ended before
        with db.database(tmp_path / "data", index=index) as database:
            series = database.series()[0]
            array = series.array(KEYS)[0].load()
            (array * 2).dicom.write(series)
            database.save()
    assert list((own / "staged").iterdir()) != []
    with db.database(tmp_path / "data", index=index) as database:
        np.testing.assert_array_equal(database.series()[0].array(KEYS)[0], array * 2)
        assert not own.exists() if elsewhere else list((own / "staged").iterdir()) == []
        # One that is in use stays.
        database.series()[0].set_array(array * 3, "template")
        other = db.database(tmp_path / "data", index=index)
        assert other.series()[0].array()[0].max() == array.max() * 3
        other.close(save=False)


def test_files_added_beside_one_of_many_frames_are_named_by_their_number(tmp_path: Path) -> None:
    make_series(tmp_path, keys={"SliceLocation": [0.0, 5.0]}, n=1, shape=(8, 6))
    pixels = np.arange(4 * 8 * 6, dtype=np.uint16).reshape(4, 8, 6)
    with db.database(tmp_path) as database:
        series = database.series()[0]
        series.set_array(pixels[:2], "template", multiframe=True)
        (frame,) = series.FrameOfReferenceUID
        series.set_array(pixels[2:], "template", mode="a", FrameOfReferenceUID=frame)
        database.save()
        names = {Path(file).name: pydicom.dcmread(file).InstanceNumber for file in series.files()}
    assert names == {"000001.dcm": 1, "000002.dcm": 2, "000003.dcm": 3}
