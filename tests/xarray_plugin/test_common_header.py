"""``da.dicom.header`` after a reduction: what the frames behind each image have in common."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import (
    DbdicomError,
    GridError,
    InvalidValue,
    StaleArray,
    UnknownKeyword,
)
from dbdicom_xr.records.reading.common import Common
from dbdicom_xr.testing import make_enhanced, make_series

SLICES, ANGLES = [0.0, 5.0, 10.0], [2.0, 10.0, 20.0]
KEYS = {"SliceLocation": SLICES, "FlipAngle": ANGLES}


def series_of(folder: Path) -> Any:
    (series,) = db.database(folder).series()
    return series


def numbered(dataset: Any, index: tuple[int, ...]) -> None:
    """Say something of every slice, of every angle, and of one image only."""
    dataset.EchoTime = 1.5 + index[0]
    dataset.ImageComments = f"angle {index[1]}"
    if index == (0, 0, 0):
        dataset.add_new(0x00180087, "DS", "3")  # MagneticFieldStrength; all others have it too
        dataset.TriggerTime = 12.5
    dataset.add_new((0x0019, 0x0010), "LO", "SIEMENS MR HEADER")
    dataset.add_new((0x0019, 0x100C), "IS", str(100 * index[0]))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("grid")
    make_series(folder, keys=KEYS, n=2, shape=(4, 3), shuffle=2, header=numbered)
    return series_of(folder).array(list(KEYS))


@pytest.fixture(scope="module")
def common(grid: Any) -> Any:
    """The header of a mean over angles and averages: an element per slice."""
    return grid[0].mean(["FlipAngle", "n"]).dicom.header


# -- an element ----------------------------------------------------------------------------------


def test_it_reads_like_a_record(grid: Any, common: Any) -> None:
    array, header = grid
    assert type(common) is type(header)
    assert common.dims == ("SliceLocation",)
    assert common.shape == (3,)
    for place, element in enumerate(common):
        assert isinstance(element, Common)
        frames = header[place].ravel().tolist()
        assert sorted(f.SOPInstanceUID for f in element.sources) == sorted(
            f.SOPInstanceUID for f in frames
        )
        assert element.EchoTime == element["EchoTime"] == element[(0x0018, 0x0081)] == 1.5 + place
        assert element.SliceLocation == SLICES[place]
        assert element["SIEMENS MR HEADER", 0x0C] == element[0x0019, 0x100C] == 100 * place
        assert element.FlipAngle is None
        assert element.SOPInstanceUID is None
        assert element.ImageComments is None
        assert element.TriggerTime is None  # one frame has it
        assert element.InversionTime is None  # none has
        assert element[["EchoTime", "FlipAngle", "Modality"]] == [1.5 + place, None, "MR"]
        assert element.image_type == frames[0].image_type
        assert element.ImageType == frames[0].ImageType
        assert element.database == array.dicom.database
    with pytest.raises(UnknownKeyword, match="Did you mean 'EchoTime'"):
        _ = common[0].EcoTime
    with pytest.raises(UnknownKeyword, match="sources"):
        _ = common[0][0]
    with pytest.raises(AttributeError):
        _ = common[0]._nothing
    assert "EchoTime" in dir(common[0])
    assert "6 frames" in repr(common[0])


def test_what_can_be_changed_is_not_shared(common: Any) -> None:
    common[0].ImageType.append("MINE")
    assert "MINE" not in common[0].ImageType


def test_values_written_differently_are_one(tmp_path: Path) -> None:
    def edit(dataset: Any, index: tuple[int, ...]) -> None:
        dataset.FlipAngle = ["10", "10.0", "1e1"][index[0]]
        dataset.PixelSpacing = ["1.5", "1.25"] if index[0] else ["1.50", "1.250"]

    make_series(tmp_path, shape=(2, 2), header=edit)
    (element,) = series_of(tmp_path).array("SliceLocation")[0].mean("SliceLocation").dicom.header
    assert element.FlipAngle == 10
    assert element.PixelSpacing == [1.5, 1.25]


def test_one_source_is_the_frame_itself(grid: Any) -> None:
    array, header = grid
    one = array.isel(FlipAngle=[1], n=0).mean("FlipAngle", keep_attrs=True)
    with pytest.raises(GridError, match="header="):
        _ = array.mean("FlipAngle").dicom.header  # which of two averages
    found = array.isel(n=[1]).dicom.header
    assert found.tolist() == header[:, :, [1]].tolist()
    assert isinstance(one.dicom.header[0], Common)  # both averages have these labels


@pytest.mark.parametrize("attempt", ["attribute", "item", "tag", "several", "delete", "column"])
def test_nothing_can_be_set(common: Any, attempt: str) -> None:
    element, words = common[0], "6 frames that became one image.*write"
    with pytest.raises(InvalidValue, match=words):
        if attempt == "attribute":
            element.EchoTime = 2
        elif attempt == "item":
            element["EchoTime"] = 2
        elif attempt == "tag":
            element[0x0018, 0x0081] = 2
        elif attempt == "several":
            element[["EchoTime"]] = [2]
        elif attempt == "delete":
            del element.EchoTime
        else:
            common.EchoTime = 2
    assert element.EchoTime == 1.5
    with pytest.raises(UnknownKeyword):
        element.EcoTime = 2


def test_it_is_one_object(grid: Any, common: Any) -> None:
    again = grid[0].max(["FlipAngle", "n"]).dicom.header
    assert again[0] == common[0]
    assert again[0] != common[1]
    assert common[0] != common[0].sources[0]
    assert len({*common, *again}) == 3
    assert copy.copy(common[0]) is copy.deepcopy(common[0]) is common[0]
    assert np.array([common[0], common[1]]).shape == (2,)
    assert np.asarray(common[0]).shape == ()
    with pytest.raises(TypeError):
        iter(common[0])
    assert bool(common[0])


def test_pickles(grid: Any, common: Any) -> None:
    element = pickle.loads(pickle.dumps(common[1]))
    assert element == common[1]
    assert element.EchoTime == 2.5
    again = pickle.loads(pickle.dumps(common))
    assert again.tolist() == common.tolist()
    assert (again.dims, again.shape) == (common.dims, common.shape)
    assert again.coords["SliceLocation"][1].tolist() == SLICES
    part = pickle.loads(pickle.dumps(common[1:]))
    assert part.tolist() == common.tolist()[1:]
    assert pickle.loads(pickle.dumps(common[[2, 0]])).tolist() == common.tolist()[2::-2]


def test_it_shows_what_is_staged(tmp_path: Path) -> None:
    make_series(tmp_path, keys=KEYS, shape=(2, 2))
    series = series_of(tmp_path)
    (element,) = series.array(list(KEYS))[0].mean(list(KEYS)).dicom.header
    assert element.FlipAngle is None
    series.FlipAngle = 7
    assert element.FlipAngle == 7
    series.SeriesInstanceUID = "1.2.3.4"
    assert element.FlipAngle == 7
    series.restore()


# -- the header ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reduced", [["n"], ["FlipAngle", "n"], ["SliceLocation", "n"], [*KEYS, "n"]]
)
@pytest.mark.parametrize("how", ["mean", "max", "std", "median"])
def test_columns_are_those_of_the_elements(grid: Any, reduced: list[str], how: str) -> None:
    array, header = grid
    result = getattr(array.chunk(n=-1).astype(float), how)(reduced)
    found = result.dicom.header
    assert found.shape == tuple(result.sizes[dim] for dim in found.dims)
    for keyword in ("EchoTime", "FlipAngle", "SliceLocation", "PatientID", "ImageType", "b_value"):
        column = found.column(keyword)
        assert column.shape == found.shape
        assert column.dtype.kind == "f" or column.dtype == object
        axes = tuple(header.dims.index(dim) for dim in reduced)
        every = np.moveaxis(header.column(keyword), axes, range(-len(axes), 0))
        for at, element in np.ndenumerate(found):
            values = every[at].ravel().tolist()
            alike = values[0] if all(value == values[0] for value in values) else None
            assert element[keyword] == alike
            same = np.isnan(column[at]) if alike is None and column.dtype != object else False
            assert same or column[at] == alike
    dataset = found.to_xarray("EchoTime", "FlipAngle")
    assert (result * dataset.to_dataarray()[0]).dims == result.dims


def test_parts_by_label(grid: Any) -> None:
    array, _ = grid
    result = array.mean("n")
    header = result.dicom.header
    part = result.sel(SliceLocation=[10.0, 0.0], FlipAngle=20.0)
    assert header.sel(SliceLocation=[10.0, 0.0], FlipAngle=20.0).tolist() == (
        part.dicom.header.tolist()
    )
    assert header.isel(FlipAngle=1)[2] == result[2, 1].dicom.header[()]
    assert header.T[1, 2] == header[2, 1]


def test_new_dimensions_share_the_frames(grid: Any) -> None:
    array, _ = grid
    mean = array.mean(["FlipAngle", "n"])
    both = xr.concat([mean, mean * 2], "parameter").dicom.header
    assert both.dims == ("parameter", "SliceLocation")
    assert both[0].tolist() == both[1].tolist() == mean.dicom.header.tolist()


def test_an_affine_from_a_common_header(grid: Any) -> None:
    array, _ = grid
    mean = array.mean(["FlipAngle", "n"])
    bare = mean.drop_attrs(deep=False)
    with pytest.raises(DbdicomError):
        _ = bare.dicom.affine
    affine = bare.dicom.get_affine(header=mean.dicom.header)
    assert affine == pytest.approx(mean.dicom.affine)
    assert affine == pytest.approx(array.dicom.affine)
    projection = array.max(["SliceLocation", "n"])
    with pytest.raises(GridError):
        projection.dicom.get_affine(header=projection.dicom.header)


def test_gaps(tmp_path: Path) -> None:
    make_series(tmp_path, keys=KEYS, n=2, shape=(2, 2), drop=[(1, 2, 0), (1, 2, 1), (0, 0, 1)])
    header = series_of(tmp_path).array(list(KEYS))[0].mean("n").dicom.header
    kinds = [[type(one).__name__ for one in row] for row in header]
    assert kinds == [["Instance", "Common", "Common"], ["Common", "Common", "NoneType"],
                     ["Common", "Common", "Common"]]  # fmt: skip
    assert np.isnan(header.FlipAngle[1, 2])
    assert header.FlipAngle[0].tolist() == ANGLES
    again = pickle.loads(pickle.dumps(header))
    assert again.tolist() == header.tolist()
    assert header[1:2, 2:].EchoTime.tolist() == [[None]]


def test_frames_of_an_enhanced_object(tmp_path: Path) -> None:
    make_enhanced(tmp_path, keys=KEYS, shape=(2, 2), shuffle=4)
    array, header = series_of(tmp_path).array(list(KEYS))
    common = array.mean(["FlipAngle", "n"]).dicom.header
    assert [one.sources for one in common] == [
        sorted(row.ravel().tolist(), key=lambda frame: frame.number) for row in header
    ]
    assert common.SliceLocation.tolist() == header.SliceLocation[:, 0, 0].tolist()
    assert [one.FlipAngle for one in common] == [None] * 3
    assert common[0].SOPInstanceUID == header[0, 0, 0].SOPInstanceUID
    assert common[0].ImagePositionPatient == header[0, 0, 0].ImagePositionPatient
    assert pickle.loads(pickle.dumps(common)).tolist() == common.tolist()


def test_images_that_come_later_or_go_are_not_taken_for_sources(tmp_path: Path) -> None:
    make_series(tmp_path, keys=KEYS, shape=(4, 3))
    series = series_of(tmp_path)
    array, header = series.array(list(KEYS))
    mean = array.mean("FlipAngle")
    assert mean.dicom.header.shape == (3, 1)
    series.array("SliceLocation")[0].isel(n=[0]).dicom.write(series, mode="a")
    with pytest.raises(StaleArray, match="added to the series"):
        _ = mean.dicom.header
    assert array.dicom.header.shape == header.shape  # known by their UIDs
    series.database.restore()
    assert mean.dicom.header.shape == (3, 1)
    header[0, 0, 0].remove()
    with pytest.raises(StaleArray, match="removed from it"):
        mean.dicom.write(series.new_sibling())
    new = mean.dicom.write(series.new_sibling(), header=header[:, 1])
    assert len(new.instances()) == 3
    series.database.restore()
