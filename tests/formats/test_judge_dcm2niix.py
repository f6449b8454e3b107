"""Made series as dcm2niix converts them, beside ``export_as_nifti``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.testing import Geometry, make_series

SAGITTAL = Geometry((1.5, 1.25, 4), (0, 1, 0, 0, 0, -1), (-20, -30, 40))
OBLIQUE = Geometry((1.5, 1.25, 4), (0.8, 0.6, 0, 0, 0, -1), (-20, -30, 40))
SLICES = [0.0, 4.0, 8.0, 12.0]
TIME = "TemporalPositionIdentifier"


@pytest.fixture(scope="module")
def dcm2niix() -> str:
    """The program, beside the interpreter or on the path, or a skip."""
    beside = Path(sys.executable).with_name("dcm2niix")
    found = str(beside) if beside.exists() else shutil.which("dcm2niix")
    if found is None:
        pytest.skip("no dcm2niix (pip install dcm2niix)")
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"geometry": SAGITTAL, "keys": {"SliceLocation": SLICES}, "slope": 0.5, "intercept": 3},
        {"geometry": OBLIQUE, "keys": {TIME: [1, 2, 3], "SliceLocation": SLICES}},
        {"modality": "CT", "intercept": -1024, "transfer_syntax": "rle"},
    ],
)
def test_voxels_and_affine_are_those_of_dcm2niix(
    options: dict[str, Any], dcm2niix: str, tmp_path: Path
) -> None:
    make_series(tmp_path / "in", bits_stored=12, **options)
    (own,) = db.database(tmp_path / "in").series()[0].export_as_nifti(tmp_path / "own.nii")
    (tmp_path / "out").mkdir()
    subprocess.run(
        [dcm2niix, "-z", "n", "-o", str(tmp_path / "out"), str(tmp_path / "in")],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (theirs,) = (tmp_path / "out").glob("*.nii")
    first, second = (nibabel.as_closest_canonical(nibabel.load(path)) for path in (own, theirs))
    assert np.allclose(first.affine, second.affine, atol=1e-3)
    assert first.get_fdata() == pytest.approx(second.get_fdata(), rel=1e-6)
