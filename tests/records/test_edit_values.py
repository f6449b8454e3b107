"""Values that are written are those that were shown, in the VR of the place they go to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import PixelError
from dbdicom_xr.testing import make_enhanced, make_series


@pytest.mark.parametrize("transfer_syntax", ["explicit", "implicit"])
@pytest.mark.parametrize("of", ["series", "instance", "frame"])
def test_a_classic_keyword_is_written_as_the_groups_hold_it(
    tmp_path: Path, transfer_syntax: str, of: str
) -> None:
    keys = {"SliceLocation": [0.0, 5.0], "EchoTime": [1.0, 2.0]}
    make_enhanced(tmp_path, keys=keys, transfer_syntax=transfer_syntax)
    series = db.database(tmp_path).series()[0]
    instance = series.instances()[0]
    frames = list(instance.children.values())
    record = {"series": series, "instance": instance, "frame": frames[1]}[of]
    record.EchoTime = 12.34567
    expected = [frame.EchoTime for frame in frames]
    assert expected.count(12.34567) == (1 if of == "frame" else 4)
    assert expected[1] == 12.34567
    series.save()
    dataset = pydicom.dcmread(instance.file)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    found = []
    for item in dataset.PerFrameFunctionalGroupsSequence:
        echo = item.get("MREchoSequence") or shared.MREchoSequence
        element = echo[0]["EffectiveEchoTime"]
        assert element.VR == "FD"
        found.append(element.value)
    assert found == expected
    assert [frame.EchoTime for frame in frames] == expected


def test_copies_of_instances_with_equal_numbers_keep_their_order(tmp_path: Path) -> None:
    make_series(tmp_path, keys={"SliceLocation": [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]})
    database = db.database(tmp_path)
    series = database.series()[0]
    series.InstanceNumber = 1
    expected, header = series.array()
    copied = series.copy()
    for _ in range(2):
        array, order = copied.array()
        np.testing.assert_array_equal(array.values, expected.values)
        assert order.SliceLocation.tolist() == header.SliceLocation.tolist()
        database.save()


def test_an_empty_series_has_no_array(tmp_path: Path) -> None:
    series = db.database(tmp_path).new_series(PatientName="Nobody")
    with pytest.raises(PixelError, match="no images"):
        series.array()
    with pytest.raises(PixelError, match="no images"):
        series.volume()
    series.restore()


def test_what_stands_twice_in_an_enhanced_file_is_set_twice(tmp_path: Path) -> None:
    made = make_enhanced(tmp_path)
    (path,) = made.files
    dataset = pydicom.dcmread(path)
    dataset.AcquisitionDateTime = "20200101101010"
    for item in dataset.PerFrameFunctionalGroupsSequence:
        item.FrameContentSequence[0].FrameAcquisitionDateTime = "20200101101010"
    dataset.save_as(path)
    series = db.database(tmp_path).series()[0]
    for value in ("20210202", None):
        series.AcquisitionDateTime = value
        series.save()
        dataset = pydicom.dcmread(path)
        assert dataset.get("AcquisitionDateTime") == value
        for item in dataset.PerFrameFunctionalGroupsSequence:
            assert item.FrameContentSequence[0].get("FrameAcquisitionDateTime") == value
        assert series.AcquisitionDateTime == ([] if value is None else [value])


def test_taking_out_what_is_not_there_is_no_change(tmp_path: Path) -> None:
    make_series(tmp_path)
    series = db.database(tmp_path).series()[0]
    series.PatientAddress = None
    del series.instances()[0].ContrastBolusAgent
    assert series.database.changes().empty
    series.instances()[0].PatientAddress = "Here"
    series.PatientAddress = None
    assert series.PatientAddress == []
    series.save()
    assert all("PatientAddress" not in pydicom.dcmread(i.file) for i in series.instances())
