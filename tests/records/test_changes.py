"""What records do when the folder has changed, and how files and whole headers are reached."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.testing import MadeSeries, make_enhanced, make_series
from tests.data import testdata_folder


@pytest.fixture
def made(tmp_path: Path) -> MadeSeries:
    return make_series(tmp_path / "data")


def rewrite(file: Path, **elements: Any) -> None:
    """Change a file as another program would."""
    dataset = pydicom.dcmread(file)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(file)
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 2_000_000_000))


# -- files that changed --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["scan", "reopen"])
def test_records_follow_a_changed_file(made: MadeSeries, how: str) -> None:
    database = db.database(made.folder)
    series = database.series()[0]
    instance = series.instances()[1]
    rewrite(made.files[1], FlipAngle=77.0, SeriesDescription="new text")
    assert instance.FlipAngle == made.datasets[1].FlipAngle, "as it was when last looked at"
    if how == "scan":
        assert database.scan() is database
    else:
        database = db.database(made.folder)
        series = database[series.path]
        instance = database[instance.path]
    assert instance.FlipAngle == 77.0
    assert 77.0 in series.FlipAngle
    assert instance.dataset().FlipAngle == 77.0
    assert len(series) == 3


@pytest.mark.parametrize("how", ["gone", "replaced", "touched", "shortened"])
def test_dataset_of_a_file_that_changed_is_refused(made: MadeSeries, how: str) -> None:
    database = db.database(made.folder)
    instance, other, _ = database.instances()
    assert instance.dataset() == made.datasets[0]
    if how == "gone":
        made.files[0].unlink()
    elif how == "replaced":
        shutil.copyfile(made.files[1], made.files[0])
        os.utime(made.files[0], ns=(0, 5))
    elif how == "touched":
        os.utime(made.files[0], ns=(0, 5))
    else:
        made.files[0].write_bytes(made.files[0].read_bytes()[:-2])
    with pytest.raises(errors.StaleArray) as caught:
        instance.dataset()
    assert str(made.files[0]) in str(caught.value)
    assert other.dataset() == made.datasets[1]
    assert instance.FlipAngle == made.datasets[0].FlipAngle, "the index still knows"
    database.scan()
    if how in ("touched", "shortened"):
        assert instance.dataset().SOPInstanceUID == instance.uid
    else:
        with pytest.raises(errors.NotInDatabase):
            instance.dataset()


def test_records_of_what_went(made: MadeSeries) -> None:
    more = make_series(made.folder / "more", seed=1)
    database = db.database(made.folder)
    uid = str(more.datasets[0].SeriesInstanceUID)
    (series,) = database.series(SeriesInstanceUID=uid)
    first, *others = series.instances()
    Path(first.file).unlink()
    database.scan()
    assert series.instances() == others
    assert len(series) == 2
    for ask in (
        lambda: first.Rows, lambda: first.file, lambda: first.files(), lambda: first.dataset(),
        lambda: first.parent, lambda: first.name, lambda: first.series(), lambda: len(first),
        lambda: first.to_dataframe(), lambda: first.instances(Rows=1), lambda: first.save(),
    ):  # fmt: skip
        with pytest.raises(errors.NotInDatabase) as caught:
            ask()
        assert first.uid in str(caught.value)
        assert str(made.folder) in str(caught.value)
    shutil.rmtree(made.folder / "more")
    database.scan()
    for ask in (
        lambda: series.Rows, lambda: series.files(), lambda: series.parent, lambda: series.name,
        lambda: list(series), lambda: series.instances(), lambda: series.header,
        lambda: series.varying(), lambda: series.save(), lambda: series.array(),
    ):  # fmt: skip
        with pytest.raises(errors.NotInDatabase) as caught:
            ask()
        assert uid in str(caught.value)
    for gone in (first, series):
        assert "not in" in repr(gone), "a repr never raises"
        assert gone == gone
        assert hash(gone)
        assert gone
    assert len(database.series()) == 1


def test_instance_whose_file_moved(made: MadeSeries) -> None:
    database = db.database(made.folder)
    instances = database.instances()
    (made.folder / "deeper").mkdir()
    for file in made.files:
        file.rename(made.folder / "deeper" / file.name)
    database.scan()
    assert database.instances() == instances
    for instance, file, dataset in zip(instances, made.files, made.datasets, strict=True):
        assert instance.file == str(made.folder / "deeper" / file.name)
        assert instance.dataset() == dataset


def test_instance_that_went_to_another_series(made: MadeSeries) -> None:
    database = db.database(made.folder)
    instance = database.instances()[2]
    rewrite(made.files[2], SeriesInstanceUID="1.2.3.4", SeriesDescription="other")
    database.scan()
    assert instance.parent.SeriesInstanceUID == ["1.2.3.4"]
    assert instance.path.endswith("other/3")
    assert instance.SeriesDescription == "other"
    assert instance in database.series(SeriesInstanceUID="1.2.3.4")[0].instances()


def test_patient_whose_name_changed_is_the_same(made: MadeSeries) -> None:
    database = db.database(made.folder)
    patient = database.patients()[0]
    study = patient.studies()[0]
    for file in made.files:
        rewrite(file, PatientName="New^Name")
    database.scan()
    assert patient.PatientName == ["New^Name"]
    assert database.patients() == [patient]
    assert study.parent == patient


def test_frames_of_an_instance_that_lost_some(tmp_path: Path) -> None:
    made = make_enhanced(tmp_path, keys={"SliceLocation": [0, 5], "EchoTime": [2, 4]})
    database = db.database(tmp_path)
    frames = database.instances()[0].children()
    dataset = pydicom.dcmread(made.files[0])
    dataset.NumberOfFrames = 2
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:2]
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
    dataset.save_as(made.files[0])
    database.scan()
    assert [f.EchoTime for f in frames[:2]] == [2.0, 4.0]
    with pytest.raises(errors.NotInDatabase, match="no frame 3"):
        frames[2].EchoTime  # noqa: B018


# -- files ---------------------------------------------------------------------------------------


def test_files(tmp_path: Path) -> None:
    one = make_series(tmp_path / "a", shuffle=2)
    two = make_enhanced(tmp_path / "b", seed=1)
    database = db.database(tmp_path)
    classic, enhanced = sorted(database.series(), key=lambda s: -len(s))
    assert classic.files() == [str(file) for file in one.files], "in the order of the instances"
    assert enhanced.files() == [str(two.files[0])], "once, however many frames"
    assert sorted(database.files()) == sorted(str(f) for f in one.files + two.files)
    for instance in database.instances():
        assert instance.files() == [instance.file]
        assert pydicom.dcmread(instance.file).SOPInstanceUID == instance.uid
        assert instance.dataset() == pydicom.dcmread(instance.file)
    assert "PixelData" in classic.instances()[0].dataset()


# -- whole headers -------------------------------------------------------------------------------


def _header(dataset: Dataset, index: tuple[int, ...]) -> None:
    dataset.FlipAngle = [5.0, None, 15.0][index[0]]
    dataset.EchoTrainLength = [1, 2, 3][index[0]]
    dataset.ImageComments = ["one", "", "three"][index[0]]
    dataset.private_block(0x0031, "MINE", create=True).add_new(0x05, "DS", 1.5 + index[0])


def test_to_dataframe(tmp_path: Path) -> None:
    made = make_series(tmp_path, header=_header)
    database = db.database(tmp_path)
    frame = database.to_dataframe()
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.names == ["SOPInstanceUID", "frame"]
    assert frame.index.tolist() == [(str(d.SOPInstanceUID), 1) for d in made.datasets]
    assert frame["EchoTrainLength"].tolist() == [1, 2, 3]
    assert frame["EchoTrainLength"].dtype == np.int64
    assert frame["SliceLocation"].dtype == np.float64
    assert frame["FlipAngle"].isna().tolist() == [False, True, False]
    assert frame["FlipAngle"].dropna().tolist() == [5.0, 15.0]
    assert frame["ImageComments"].tolist()[::2] == ["one", "three"]
    assert frame["ImageComments"].isna().tolist() == [False, True, False]
    assert frame["ImagePositionPatient"].tolist() == [
        list(d.ImagePositionPatient) for d in made.datasets
    ]
    assert frame["(0031,xx05) MINE"].tolist() == [1.5, 2.5, 3.5]
    frame["ImagePositionPatient"].iloc[0].clear()
    frame["ImageOrientationPatient"].iloc[0][0] = 99.0
    assert frame["ImageOrientationPatient"].iloc[1][0] == 1.0
    assert database.ImageOrientationPatient == [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]
    assert database.instances()[0].ImagePositionPatient == [-20.0, -30.0, 40.0]
    keywords = {e.keyword for e in made.datasets[0] if e.keyword and e.VR not in ("SQ", "OW")}
    assert keywords <= set(frame.columns)
    assert "ReferencedStudySequence" not in frame
    assert "PixelData" not in frame
    chosen = database.series()[0].to_dataframe("FlipAngle", (0x0028, 0x0010), "image_type")
    assert list(chosen.columns) == ["FlipAngle", "Rows", "image_type"]
    assert chosen["Rows"].tolist() == [12] * 3
    instance = database.instances()[2]
    assert instance.to_dataframe("FlipAngle")["FlipAngle"].tolist() == [15.0]
    with pytest.raises(errors.UnknownKeyword, match="FlipAngle"):
        database.to_dataframe("FlipAngel")


def test_to_dataframe_over_series_and_frames(tmp_path: Path) -> None:
    make_series(tmp_path / "a", keys={"SliceLocation": [0.0, 5.0], "EchoTime": [2, 4, 6]})
    make_enhanced(tmp_path / "b", keys={"SliceLocation": [0, 5], "EchoTime": [2, 4]}, seed=1)
    database = db.database(tmp_path)
    frame = database.to_dataframe("EchoTime", "NumberOfFrames", "SeriesInstanceUID")
    assert len(frame) == 6 + 4
    assert frame.index.is_unique
    by_series = frame.groupby("SeriesInstanceUID")["EchoTime"].apply(sorted)
    assert sorted(by_series.tolist()) == sorted([[2, 2, 4, 4, 6, 6], [2, 2, 4, 4]])
    assert sorted(frame.index.get_level_values("frame")) == [1] * 7 + [2, 3, 4]
    one = database.instances(NumberOfFrames=4)[0]["3"].to_dataframe("EchoTime")
    assert one.index.tolist() == [(one.index[0][0], 3)]
    assert one["EchoTime"].tolist() == [2.0]
    assert len(database.to_dataframe()) == 10


def test_header_of_a_series(tmp_path: Path) -> None:
    made = make_series(tmp_path, header=_header)
    header = db.database(tmp_path).series()[0].header
    assert header.sizes["frame"] == 3
    assert header.SOPInstanceUID.values.tolist() == [str(d.SOPInstanceUID) for d in made.datasets]
    assert header.frame_number.values.tolist() == [1, 1, 1]
    assert header.EchoTrainLength.values.tolist() == [1, 2, 3]
    assert header.EchoTrainLength.dtype == np.int64
    np.testing.assert_array_equal(header.FlipAngle, [5.0, np.nan, 15.0])
    assert header.ImageComments.values.tolist() == ["one", "", "three"]
    assert header.ImagePositionPatient.values.tolist() == [
        list(d.ImagePositionPatient) for d in made.datasets
    ]
    assert header["(0031,xx05) MINE"].values.tolist() == [1.5, 2.5, 3.5]
    assert "PixelData" not in header
    for dataset, row in zip(made.datasets, range(3), strict=True):
        for element in dataset:
            if element.VR in ("DS", "FL", "FD", "IS", "US") and element.VM == 1 and element.keyword:
                assert header[element.keyword].values[row] == element.value
    subset = header.isel(frame=[2, 0])
    assert subset.SliceLocation.values.tolist() == [10.0, 0.0]


def test_header_of_an_enhanced_series(tmp_path: Path) -> None:
    make_enhanced(tmp_path, keys={"SliceLocation": [0, 5], "EchoTime": [2, 4]})
    header = db.database(tmp_path).series()[0].header
    assert header.sizes["frame"] == 4
    assert header.EffectiveEchoTime.values.tolist() == [2, 4, 2, 4]
    assert header.EffectiveEchoTime.attrs["units"] == "ms"
    assert header.frame_number.values.tolist() == [1, 2, 3, 4]
    assert header.ImagePositionPatient.values[:, 2].tolist() == [40, 40, 45, 45]
    assert header.Rows.values.tolist() == [12] * 4


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore")  # pydicom's, about odd values
@pytest.mark.skipif(testdata_folder() is None, reason="no DBDICOM_XR_TESTDATA")
@pytest.mark.parametrize("part", ["uih", "enh", "dcmqi"])
def test_tables_of_real_files(tmp_path: Path, part: str) -> None:
    folder = testdata_folder()
    assert folder is not None
    database = db.database(folder / part, index=tmp_path / "index.sqlite")
    frames = 0
    for series in database.series():
        header = series.header
        frame = series.to_dataframe()
        assert len(frame) == header.sizes["frame"]
        frames += len(frame)
        pixels = frame.get("Rows")
        if pixels is not None and pixels.notna().all():
            assert pixels.tolist() == header.Rows.values.tolist()
    assert len(database.to_dataframe("Rows")) == frames
