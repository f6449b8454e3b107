"""What is written after an operation says what its header says, or is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, DicomWarning, InvalidValue
from dbdicom_xr.records.reading.common import Common
from dbdicom_xr.testing import make_series
from tests.xarray_plugin.operations_table import OPERATIONS, REFUSED, SAME
from tests.xarray_plugin.test_operations import World, images, make_both

# What they leave says nothing of where it is from: a neutral header, with a warning.
BARE = (
    'array.mean("FlipAngle", keep_attrs=False)',
    'array.polyfit("FlipAngle", 1).polyfit_coefficients',
    'array.integrate("FlipAngle")',
)
# With a header, but without a place in the patient, or pixels.
NO_IMAGES = {
    'array.rename(FlipAngle="angle").max("SliceLocation")': "several slices",
    'array.max(["SliceLocation", "FlipAngle"])': "several slices",
    'array.dicom.coarsen(FlipAngle=3).mean().squeeze("FlipAngle").max("SliceLocation")': (
        "several slices"
    ),
    "array.pad(x=1, constant_values=0)": "not evenly spaced",
    'array.std(["x", "y"])': "none called 'x'",
    'array.quantile(0.9, ["x", "y"])': "none called 'x'",
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("written")
    make_both(folder)
    database = db.database(folder)
    yield database
    database.close(save=False)


@pytest.fixture(scope="module")
def world(database: Any) -> World:
    return World(database).load()


def said(one: Any) -> tuple[Any, ...]:
    """Return what an image should say: its sources, and what these say alike."""
    sources = one.sources if isinstance(one, Common) else [one]
    uids = sorted(source.SOPInstanceUID for source in sources)
    return (*uids, str(one.EchoTime), str(one.ImageComments))


def read(path: Any) -> tuple[Any, ...]:
    dataset = pydicom.dcmread(path)
    uids = sorted(item.ReferencedSOPInstanceUID for item in dataset.SourceImageSequence)
    return (*uids, str(dataset.get("EchoTime")), str(dataset.get("ImageComments")))


# Of those that keep their images a few.
CHOSEN = [code for code, kind in OPERATIONS.items() if kind != SAME]
CHOSEN += [code for code, kind in OPERATIONS.items() if kind == SAME][::4]
CHOSEN += [code for code in NO_IMAGES if code not in CHOSEN]


@pytest.mark.parametrize("code", CHOSEN)
def test_written(world: World, database: Any, code: str) -> None:
    result = world.run(code)
    first = next(one for one in database.series() if one.SeriesDescription != ["Result"])
    series = first.new_sibling(SeriesDescription="Result")
    if code in BARE:
        with pytest.warns(DicomWarning, match="neutral header.*header="):
            result.dicom.write(series)
        assert series.PatientID in ([], ["unknown"]) or series.PatientID == first.PatientID
        assert series.EchoTime == series.ImageComments == []
    elif OPERATIONS[code] == REFUSED:
        with pytest.raises(DbdicomError, match="header="):
            result.dicom.write(series)
        assert series.instances() == []
    elif code in NO_IMAGES:
        with pytest.raises(DbdicomError, match=NO_IMAGES[code]):
            result.dicom.write(series)
        assert series.instances() == []
    else:
        result.dicom.write(series)
        header = [one for one in images(result).dicom.header.ravel().tolist() if one is not None]
        assert sorted(map(read, series.files())) == sorted(map(said, header))
    series.remove()


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ('array.quantile(0.9, "FlipAngle")', 'array.mean("FlipAngle")'),
        ('array.polyfit("FlipAngle", 1).polyfit_coefficients.isel(degree=0)',
         'array.mean("FlipAngle")'),
        ('array.isel(FlipAngle=[0, 1]).mean("FlipAngle")', "array.isel(FlipAngle=[0, 1])"),
        ("array + other", "array"),
        ('array.dicom.coarsen(SliceLocation=2).mean().mean("FlipAngle")',
         "array.dicom.coarsen(SliceLocation=2).mean()"),
        ("array.interp(FlipAngle=[2, 8])", "array.isel(FlipAngle=[0, 2])"),
    ],
)  # fmt: skip
def test_a_header_that_is_given(world: World, database: Any, code: str, given: str) -> None:
    result, header = world.run(code), world.run(given).dicom.header
    first = next(one for one in database.series() if one.SeriesDescription != ["Result"])
    series = first.new_sibling(SeriesDescription="Result")
    result.dicom.write(series, header)
    left = {"SliceLocation", "n"} | ({"FlipAngle"} & set(result.dims))
    found = sorted(map(read, series.files()))
    wanted: dict[tuple[int, ...], set[str]] = {}
    for place in np.ndindex(*header.shape):
        one = header[place]
        cell = tuple(i for dim, i in zip(header.dims, place, strict=True) if dim in left)
        sources = one.sources if isinstance(one, Common) else [one]
        wanted.setdefault(cell, set()).update(source.SOPInstanceUID for source in sources)
    assert [set(row[:-2]) for row in found] == sorted(wanted.values(), key=sorted)
    series.remove()


def test_slabs_of_positions_with_noise_are_of_one_thickness(tmp_path: Path) -> None:
    places = [[[0.0, 0.0, 2.5 * i + 1e-6 * (i % 3)]] for i in range(12)]
    make_series(
        tmp_path,
        keys={"SliceLocation": [2.5 * i for i in range(12)]},
        per_frame={"ImagePositionPatient": places},
        header={"SliceThickness": 2.5},
    )
    with db.database(tmp_path) as database:
        series = database.series()[0]
        array, _ = series.array("SliceLocation")
        slabs = array.dicom.coarsen(SliceLocation=2).mean()
        assert slabs.dicom.write(series.new_sibling()).SliceThickness == [5.0]
        database.restore()


def test_a_failed_write_tells_of_the_empty_series(tmp_path: Path) -> None:
    make_series(tmp_path)
    with db.database(tmp_path) as database:
        series = database.series()[0]
        array, _ = series.array("SliceLocation")
        new = series.new_sibling(SeriesDescription="new")
        with pytest.raises(InvalidValue) as caught:
            (array + np.inf).dicom.write(new)
        assert "empty" in caught.value.__notes__[0]
        assert "series.remove()" in caught.value.__notes__[0]
        new.remove()
        assert database.series() == [series]
        with pytest.raises(InvalidValue) as caught:
            (array + np.inf).dicom.write(series)
        assert not hasattr(caught.value, "__notes__")
        database.restore()
