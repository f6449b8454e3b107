"""The JSON file beside an image: what was scanned and how, in the terms of BIDS.

BIDS (Brain Imaging Data Structure) takes many names from DICOM, and counts in seconds where DICOM
counts in milliseconds. What tells who was scanned, when and by whom stands here only if asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

__all__ = ["Timing", "phase_encoding", "readout", "sidecar", "sidecar_text", "slice_timing"]

Timing = Sequence[float | None]
Ask = Callable[[str], Any]
"""Gives the value that all frames of an image have in common, None where there is none."""

# BIDS name, keyword of DICOM.
_AS_THEY_ARE: Final = {
    "Modality": "Modality",
    "MagneticFieldStrength": "MagneticFieldStrength",
    "ImagingFrequency": "ImagingFrequency",
    "Manufacturer": "Manufacturer",
    "ManufacturersModelName": "ManufacturerModelName",
    "SoftwareVersions": "SoftwareVersions",
    "BodyPartExamined": "BodyPartExamined",
    "PatientPosition": "PatientPosition",
    "MRAcquisitionType": "MRAcquisitionType",
    "SeriesDescription": "SeriesDescription",
    "ProtocolName": "ProtocolName",
    "SeriesNumber": "SeriesNumber",
    "ScanningSequence": "ScanningSequence",
    "SequenceVariant": "SequenceVariant",
    "ScanOptions": "ScanOptions",
    "SequenceName": "SequenceName",
    "PulseSequenceName": "PulseSequenceName",
    "ImageType": "ImageType",
    "ContrastBolusIngredient": "ContrastBolusIngredient",
    "SliceThickness": "SliceThickness",
    "SpacingBetweenSlices": "SpacingBetweenSlices",
    "FlipAngle": "FlipAngle",
    "NumberOfAverages": "NumberOfAverages",
    "EchoTrainLength": "EchoTrainLength",
    "PixelBandwidth": "PixelBandwidth",
    "PercentSampling": "PercentSampling",
    "PercentPhaseFOV": "PercentPhaseFieldOfView",
    "PhaseEncodingSteps": "NumberOfPhaseEncodingSteps",
    "ParallelReductionFactorInPlane": "ParallelReductionFactorInPlane",
    "ReceiveCoilName": "ReceiveCoilName",
    "ImageOrientationPatientDICOM": "ImageOrientationPatient",
    "InPlanePhaseEncodingDirectionDICOM": "InPlanePhaseEncodingDirection",
    "KVP": "KVP",
    "ConvolutionKernel": "ConvolutionKernel",
    "Units": "Units",
}
_MILLISECONDS: Final = {
    "EchoTime": "EchoTime",
    "RepetitionTime": "RepetitionTime",
    "InversionTime": "InversionTime",
}
_IDENTIFYING: Final = {
    "InstitutionName": "InstitutionName",
    "InstitutionalDepartmentName": "InstitutionalDepartmentName",
    "InstitutionAddress": "InstitutionAddress",
    "StationName": "StationName",
    "DeviceSerialNumber": "DeviceSerialNumber",
    "PatientName": "PatientName",
    "PatientID": "PatientID",
    "PatientBirthDate": "PatientBirthDate",
    "PatientSex": "PatientSex",
    "PatientAge": "PatientAge",
    "PatientWeight": "PatientWeight",
    "AccessionNumber": "AccessionNumber",
    "StudyID": "StudyID",
    "StudyDescription": "StudyDescription",
    "StudyInstanceUID": "StudyInstanceUID",
    "SeriesInstanceUID": "SeriesInstanceUID",
    "StudyDate": "StudyDate",
    "AcquisitionDate": "AcquisitionDate",
    "AcquisitionTime": "AcquisitionTime",
}
# As BIDS writes them.
_MAKERS: Final = {
    "SIEMENS": "Siemens", "GE": "GE", "PHILIPS": "Philips", "CANON": "Canon", "TOSHIBA": "Toshiba",
    "UIH": "UIH", "HITACHI": "Hitachi", "BRUKER": "Bruker", "HYPERFINE": "Hyperfine",
}  # fmt: skip


def sidecar(ask: Ask, more: Mapping[str, Any], *, identify: bool = False) -> dict[str, Any]:
    """Return the content of the side-car of an image.

    Parameters
    ----------
    ask : callable
        Gives the value of a keyword, None where it is absent or not the same in all frames.
    more : mapping
        What is worked out elsewhere, under BIDS names.
    identify : bool
        Tell the patient, the dates and the institution too.

    Examples
    --------
    >>> known = {"RepetitionTime": 2000.0, "Manufacturer": "SIEMENS", "PatientName": "Doe"}
    >>> sidecar(known.get, {})
    {'Manufacturer': 'Siemens', 'RepetitionTime': 2.0}
    """
    result: dict[str, Any] = {}
    for name, keyword in _AS_THEY_ARE.items():
        result[name] = _plain(ask(keyword))
    for name, keyword in _MILLISECONDS.items():
        value = ask(keyword)
        # 0 stands for "none" where a sequence has no such time.
        is_time = isinstance(value, (int, float)) and value > 0
        result[name] = round(value / 1000, 9) if is_time else None
    result["Manufacturer"] = _maker(result["Manufacturer"])
    if result["InPlanePhaseEncodingDirectionDICOM"] == "COLUMN":  # enhanced images write it out
        result["InPlanePhaseEncodingDirectionDICOM"] = "COL"
    if isinstance(versions := result["SoftwareVersions"], list):
        result["SoftwareVersions"] = "\\".join(map(str, versions))  # one text, says BIDS
    result.update(more)
    if identify:
        for name, keyword in _IDENTIFYING.items():
            result[name] = _plain(ask(keyword))
    return {name: value for name, value in result.items() if value is not None}


def sidecar_text(content: Mapping[str, Any]) -> str:
    """Return a side-car as the text of its file."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def phase_encoding(
    direction: Any, positive: bool | None, affine_rows_reversed: bool = True
) -> dict[str, str]:
    """Return along which axis of the file the phase was encoded, and which way if that is known.

    Parameters
    ----------
    direction : str or None
        InPlanePhaseEncodingDirection: ``"ROW"``, ``"COL"`` or ``"COLUMN"``.
    positive : bool or None
        Whether it runs from the first column or row of the DICOM image to the last.
    affine_rows_reversed : bool
        Whether the file has the last row first.

    Examples
    --------
    >>> phase_encoding("COL", True), phase_encoding("ROW", None), phase_encoding("OTHER", True)
    ({'PhaseEncodingDirection': 'j-'}, {'PhaseEncodingAxis': 'i'}, {})
    """
    axis = {"ROW": "i", "COL": "j", "COLUMN": "j"}.get(str(direction))
    if axis is None:
        return {}
    if positive is None:
        return {"PhaseEncodingAxis": axis}
    forward = positive != (axis == "j" and affine_rows_reversed)
    return {"PhaseEncodingDirection": axis if forward else f"{axis}-"}


def readout(bandwidth: Any, lines: int) -> dict[str, float]:
    """Return the times of an echo-planar readout from its bandwidth along the phase.

    Parameters
    ----------
    bandwidth : float or None
        Per pixel along the phase encoding, Hz.
    lines : int
        Pixels of the image along it.

    Examples
    --------
    >>> readout(20.0, 100)["TotalReadoutTime"]
    0.0495
    """
    if not isinstance(bandwidth, (int, float)) or not bandwidth > 0 or lines < 2:
        return {}
    spacing = 1 / (bandwidth * lines)
    return {
        "BandwidthPerPixelPhaseEncode": float(bandwidth),
        "EffectiveEchoSpacing": round(spacing, 9),
        "TotalReadoutTime": round(spacing * (lines - 1), 9),
    }


def slice_timing(times: Timing, repetition_time: float | None) -> list[float] | None:
    """Return when the slices of a volume were acquired, in s after the first of them.

    Parameters
    ----------
    times : sequence of float or None
        In s, from any origin, one per slice in the order of the file.
    repetition_time : float or None
        s.

    Returns
    -------
    list of float or None
        None where a time is missing, all are the same, or they cannot be those of one volume.

    Examples
    --------
    >>> slice_timing([10.0, 11.0, 10.5], 2.0)
    [0.0, 1.0, 0.5]
    >>> slice_timing([10.0, 10.0], 2.0), slice_timing([10.0, 15.0], 2.0)
    (None, None)
    """
    known = np.array([np.nan if time is None else time for time in times], np.float64)
    if len(known) < 2 or np.isnan(known).any():
        return None
    after = np.round(known - known.min(), 6)
    if after.max() == 0 or (repetition_time and after.max() > repetition_time):
        return None
    return [float(time) for time in after]


def _maker(name: Any) -> Any:
    found = [short for start, short in _MAKERS.items() if str(name).upper().startswith(start)]
    return found[0] if found else name


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; None for what it has not."""
    if isinstance(value, list):
        parts = [_plain(part) for part in value]
        return parts if parts and None not in parts else None
    if isinstance(value, (bool, int, str)) or value is None:
        return value or None if isinstance(value, str) else value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return None
