"""Frames of public files: beside twins and DCMTK, and damaged ones.

What pydicom decodes is compared in tests/arrays/test_photometric_real.py, file by file.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames

from dbdicom_xr.errors import PixelError
from dbdicom_xr.pixels.decode import decode_encapsulated, decode_native
from tests.data import testdata_folder
from tests.pixels.made import layout_of

# What this package reads beyond pydicom, and the twin of each in an encoding that pydicom reads.
TWINS = {
    "liver_rle.dcm": "liver_j2k.dcm",
    "liver_deflate.dcm": "liver_j2k.dcm",
    "liver_nonbyte_aligned_rle.dcm": "liver_nonbyte_aligned_j2k.dcm",
    "liver_nonbyte_aligned_deflate.dcm": "liver_nonbyte_aligned_j2k.dcm",
}

ROOT = testdata_folder()
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(ROOT is None, reason="no DBDICOM_XR_TESTDATA"),
]


def frames_of(dataset) -> np.ndarray:
    layout = layout_of(dataset)
    count = int(dataset.get("NumberOfFrames") or 1)
    value = dataset[layout.keyword].value
    if layout.is_encapsulated:
        frames = generate_frames(value, number_of_frames=count)
        return np.stack([decode_encapsulated(frame, layout) for frame in frames])
    spans = map(layout.frame_span, range(count))
    return np.stack([decode_native(value[o : o + n], layout, bits) for o, n, bits in spans])


@pytest.mark.parametrize(("name", "twin"), TWINS.items())
def test_beyond_pydicom(name: str, twin: str, testdata: Path) -> None:
    folder = testdata / "pydicom-data" / "data"
    got = frames_of(dcmread(folder / name))
    np.testing.assert_array_equal(got, dcmread(folder / twin).pixel_array)
    assert got.any()


@pytest.mark.parametrize("name", ["JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_jpeg_extended_as_dcmtk_decodes_it(name: str, testdata: Path, tmp_path: Path) -> None:

    if shutil.which("dcmdjpeg") is None:
        pytest.skip("no dcmdjpeg (apt-get install dcmtk)")
    path = testdata / "pydicom" / "test_files" / name
    subprocess.run(["dcmdjpeg", path, tmp_path / name], check=True, capture_output=True)
    expected = dcmread(tmp_path / name).pixel_array
    np.testing.assert_array_equal(frames_of(dcmread(path))[0], expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MR_truncated.dcm", "needs 8192 bytes, 8130 are there"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "3722445056 columns"),
    ],
)
def test_damaged(name: str, message: str, testdata: Path) -> None:
    with pytest.raises(PixelError, match=message):
        frames_of(dcmread(testdata / "pydicom" / "test_files" / name))
