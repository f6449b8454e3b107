"""The index changes under a database that another process, or another object, keeps up to date."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.records import database as module
from dbdicom_xr.testing import make_series


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Nobody looks whether the index changed, as in the moments after it was looked at last.
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 1e9)
    made = make_series(
        tmp_path / "dicom",
        keys={"SliceLocation": [0.0, 5.0, 10.0, 15.0]},
        shape=(8, 6),
        header=lambda dataset, index: setattr(dataset, "EchoTime", 10.0 + index[0]),
    )
    return Path(made.folder)


def add_first(folder: Path) -> None:
    """Add an image that comes first in the series, so that all rows of the index move."""
    path = sorted(folder.rglob("*.dcm"))[0]
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.InstanceNumber = -5
    dataset.SliceLocation = -5.0
    dataset.EchoTime = 99.0
    dataset.save_as(folder / "a_new_one.dcm")


def test_attributes_are_those_of_the_instance(folder: Path) -> None:
    database = db.database(folder)
    instances = database.instances()
    slices = [instance.SliceLocation for instance in instances]
    add_first(folder)
    db.database(folder)
    echoes = [instance.EchoTime for instance in instances]
    assert slices == [0.0, 5.0, 10.0, 15.0]
    assert echoes == [10.0, 11.0, 12.0, 13.0]


def test_arrays_and_headers_agree(folder: Path) -> None:
    database = db.database(folder)
    series = database.series()[0]
    assert series.SliceLocation == [0.0, 5.0, 10.0, 15.0]
    add_first(folder)
    db.database(folder)
    array, header = series.array("SliceLocation")
    for i, instance in enumerate(header[:, 0]):
        wanted = pydicom.dcmread(instance.file)
        assert array.SliceLocation.values[i] == wanted.SliceLocation
        assert instance.EchoTime == wanted.EchoTime
        np.testing.assert_array_equal(array[i, 0].values.T, wanted.pixel_array)
    assert header.EchoTime[:, 0].tolist() == [h.EchoTime for h in header[:, 0]]


def test_filters_see_one_state(folder: Path) -> None:
    database = db.database(folder)
    assert len(database.instances(SliceLocation=5)) == 1
    add_first(folder)
    db.database(folder)
    found = database.instances(SliceLocation=slice(4, 11), EchoTime=slice(10, 13))
    assert [instance.SliceLocation for instance in found] == [5.0, 10.0]


def test_arrays_made_before_read_the_right_pixels(folder: Path) -> None:
    database = db.database(folder)
    array, header = database.series()[0].array("SliceLocation")
    truth = [pydicom.dcmread(path).pixel_array.T for path in database.files()]
    add_first(folder)
    db.database(folder)
    np.testing.assert_array_equal(array[:, 0].values, truth)
    assert [h.EchoTime for h in header[:, 0]] == [10.0, 11.0, 12.0, 13.0]


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to a process on Windows")
def test_ctrl_c_waits_for_what_is_being_stored(tmp_path: Path) -> None:
    made = make_series(tmp_path / "dicom", shape=(8, 6))
    code = f"""
import os, signal
import dbdicom_xr as db
from dbdicom_xr.index import scan
store = scan.apply
def interrupted(*arguments, **named):
    os.kill(os.getpid(), signal.SIGINT)
    return store(*arguments, **named)
scan.apply = interrupted
try:
    db.database({str(made.folder)!r})
except KeyboardInterrupt:
    print("interrupted")
scan.apply = store
print(len(db.database({str(made.folder)!r}, refresh=False).instances()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == ["interrupted", "3"]
