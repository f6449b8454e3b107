"""What stands beside an image: side-car and gradients."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdicom_xr.formats.gradients import along_axes, bval_text, bvec_text
from dbdicom_xr.formats.sidecar import phase_encoding, readout, sidecar, sidecar_text, slice_timing

KNOWN: dict[str, Any] = {
    "Manufacturer": "GE MEDICAL SYSTEMS", "ManufacturerModelName": "SIGNA", "EchoTime": 2.5,
    "RepetitionTime": 500.0, "InversionTime": 0.0, "FlipAngle": 10.0, "ImageType": ["A", "B"],
    "SoftwareVersions": ["27", "LX"], "InPlanePhaseEncodingDirection": "COLUMN",
    "PatientName": "Doe^Jane", "PatientID": "4711", "StudyDate": "20200101",
    "SeriesInstanceUID": "1.2.3", "ScanOptions": "", "PixelBandwidth": float("nan"),
}  # fmt: skip


def test_times_are_in_seconds_and_names_those_of_bids() -> None:
    found = sidecar(KNOWN.get, {"SliceTiming": [0.0, 0.5], "EchoNumber": None})
    assert found == {
        "Manufacturer": "GE", "ManufacturersModelName": "SIGNA", "FlipAngle": 10.0,
        "ImageType": ["A", "B"], "SoftwareVersions": "27\\LX", "EchoTime": 0.0025,
        "RepetitionTime": 0.5, "InPlanePhaseEncodingDirectionDICOM": "COL",
        "SliceTiming": [0.0, 0.5],
    }  # fmt: skip
    assert json.loads(sidecar_text(found)) == found


def test_who_and_when_is_told_only_if_asked_for() -> None:
    text = sidecar_text(sidecar(KNOWN.get, {}))
    assert not any(word in text for word in ("Doe", "4711", "20200101", "1.2.3"))
    text = sidecar_text(sidecar(KNOWN.get, {}, identify=True))
    assert all(word in text for word in ("Doe", "4711", "20200101", "1.2.3"))


@pytest.mark.parametrize(
    ("direction", "positive", "expected"),
    [
        ("ROW", True, {"PhaseEncodingDirection": "i"}),
        ("ROW", False, {"PhaseEncodingDirection": "i-"}),
        ("COL", True, {"PhaseEncodingDirection": "j-"}),
        ("COLUMN", False, {"PhaseEncodingDirection": "j"}),
        ("COLUMN", None, {"PhaseEncodingAxis": "j"}),
        (None, True, {}),
    ],
)
def test_phase_encoding_goes_by_the_axes_of_the_file(
    direction: Any, positive: Any, expected: dict[str, str]
) -> None:
    assert phase_encoding(direction, positive) == expected


@pytest.mark.parametrize(
    ("times", "repetition", "expected"),
    [
        ([3.0, 1.0, 2.0], 3.0, [2.0, 0.0, 1.0]),
        ([1.0, None], 3.0, None),
        ([1.0], 3.0, None),
        ([2.0, 2.0], 3.0, None),
        ([1.0, 9.0], 3.0, None),  # of two volumes
        ([1.0, 9.0], None, [0.0, 8.0]),
    ],
)
def test_slice_timing(times: Any, repetition: Any, expected: Any) -> None:
    assert slice_timing(times, repetition) == expected


@pytest.mark.parametrize("bandwidth", [None, 0.0, "20"])
def test_no_readout_without_a_bandwidth(bandwidth: Any) -> None:
    assert readout(bandwidth, 64) == {}


@given(
    turn=st.tuples(*[st.floats(-3, 3)] * 3),
    flips=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    direction=st.tuples(*[st.integers(-5, 5)] * 3).filter(any),
)
def test_gradients_are_the_same_in_the_patient_whatever_the_axes(
    turn: tuple[float, ...], flips: tuple[int, ...], direction: tuple[int, ...]
) -> None:
    a, b, c = turn
    rotation = np.eye(3)
    for axis, angle in enumerate((a, b, c)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        part = np.eye(3)
        part[i, i] = part[j, j] = np.cos(angle)
        part[i, j], part[j, i] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ part
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.array(flips) * [1.5, 2, 4]
    unit = np.array(direction) / np.linalg.norm(direction)
    vector = along_axes([unit], affine)[:, 0]
    # As FSL reads it: the first axis counts backwards where the axes are right-handed.
    if np.linalg.det(affine) > 0:
        vector[0] *= -1
    in_ras = (affine[:3, :3] / [1.5, 2, 4]) @ vector
    assert in_ras == pytest.approx(unit * [-1, -1, 1], abs=1e-9)


def test_gradient_files_have_a_line_per_axis() -> None:
    vectors = np.array([[0, 0.6, 1], [0, 0, 0], [0, -0.8, 0]])
    assert np.loadtxt(bvec_text(vectors).splitlines()) == pytest.approx(vectors)
    assert bval_text([0.0, 1000.0, 2500.5]) == "0 1000 2500.5\n"
