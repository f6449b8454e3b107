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
