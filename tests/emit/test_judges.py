"""The judges see what is wrong, and read what is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from tests.emit.judges import dcmdump_ok, errors_of, gdcm_pixels, new_errors, sitk_pixels

CT = get_testdata_file("CT_small.dcm")


def test_an_error_that_was_not_there(tmp_path: Path) -> None:
    dataset = dcmread(CT)
    dataset.PatientID = "another"
    del dataset.RescaleSlope
    dataset.save_as(tmp_path / "new.dcm")
    assert new_errors(tmp_path / "new.dcm", CT) == {
        "RescaleSlope(0028,1053): Missing attribute for Type 1 Required - Module=<CTImage>",
    }
    assert new_errors(CT, tmp_path / "new.dcm") == errors_of(CT) == set()


def test_an_error_of_every_item_is_one(tmp_path: Path) -> None:
    dataset = dcmread(CT)
    dataset.ReferencedStudySequence = [Dataset(), Dataset()]
    dataset.save_as(tmp_path / "new.dcm")
    assert sorted(new_errors(tmp_path / "new.dcm", CT)) == [
        f"ReferencedSOP{which}UID(0008,{tag}): Missing attribute for Type 1 Required"
        " - Module=<SOPInstanceReferenceMacro>"
        for which, tag in (("Class", "1150"), ("Instance", "1155"))
    ]


def test_a_file_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "cut.dcm"
    path.write_bytes(Path(CT).read_bytes()[:-4000])
    assert dcmdump_ok(CT)
    assert not dcmdump_ok(path)
    assert any("read failed" in error for error in errors_of(path))


def test_pixels() -> None:
    dataset = dcmread(CT)
    stored = dataset.pixel_array
    assert gdcm_pixels(CT).dtype == stored.dtype
    np.testing.assert_array_equal(gdcm_pixels(CT), stored)
    real = stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    np.testing.assert_array_equal(sitk_pixels(CT), real[None])


@pytest.mark.parametrize("name", ["examples_rgb_color.dcm", "SC_rgb_rle_2frame.dcm", "rtdose.dcm"])
def test_colour_and_frames(name: str) -> None:
    path = get_testdata_file(name)
    np.testing.assert_array_equal(gdcm_pixels(path), dcmread(path).pixel_array)
