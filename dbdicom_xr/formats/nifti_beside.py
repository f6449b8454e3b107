"""What stands beside a NIfTI file, as it is read: the side-car of BIDS, ``.bval`` and ``.bvec``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.geometry.planes import Floats

__all__ = ["gradient_table", "in_patient", "read_sidecar", "said_by"]

# Keyword of DICOM by BIDS name. Left out is what names a person, a place or a date, and what
# follows from the file: size and place of the voxels, axes of the former images.
_TEXTS: Final = {
    "Modality": "Modality",
    "Manufacturer": "Manufacturer",
    "ManufacturersModelName": "ManufacturerModelName",
    "BodyPartExamined": "BodyPartExamined",
    "PatientPosition": "PatientPosition",
    "MRAcquisitionType": "MRAcquisitionType",
    "SeriesDescription": "SeriesDescription",
    "ProtocolName": "ProtocolName",
    "SequenceName": "SequenceName",
    "PulseSequenceName": "PulseSequenceName",
    "ContrastBolusIngredient": "ContrastBolusIngredient",
    "ReceiveCoilName": "ReceiveCoilName",
    "ConvolutionKernel": "ConvolutionKernel",
    "Units": "Units",
}
# Several texts may be one, with a backslash as in DICOM or an underscore as of dcm2niix.
_LISTS: Final = {
    "SoftwareVersions": "SoftwareVersions",
    "ScanningSequence": "ScanningSequence",
    "SequenceVariant": "SequenceVariant",
    "ScanOptions": "ScanOptions",
}
_NUMBERS: Final = {
    "MagneticFieldStrength": "MagneticFieldStrength",
    "ImagingFrequency": "ImagingFrequency",
    "SeriesNumber": "SeriesNumber",
    "SliceThickness": "SliceThickness",
    "FlipAngle": "FlipAngle",
    "NumberOfAverages": "NumberOfAverages",
    "EchoTrainLength": "EchoTrainLength",
    "PixelBandwidth": "PixelBandwidth",
    "PercentSampling": "PercentSampling",
    "PercentPhaseFOV": "PercentPhaseFieldOfView",
    "PhaseEncodingSteps": "NumberOfPhaseEncodingSteps",
    "ParallelReductionFactorInPlane": "ParallelReductionFactorInPlane",
    "KVP": "KVP",
    "EchoNumber": "EchoNumbers",
}
_WHOLE: Final = frozenset(
    ("SeriesNumber", "EchoTrainLength", "PhaseEncodingSteps", "EchoNumber")
)  # fmt: skip
_SECONDS: Final = ("EchoTime", "RepetitionTime", "InversionTime")
_UNIT: Final = 0.05  # that the length of a direction may be off 1


def read_sidecar(path: str | None) -> dict[str, Any]:
    """Return the content of a side-car; nothing where there is none.

    Raises
    ------
    InvalidValue
        It is no JSON.
    """
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file)
    except (OSError, ValueError) as error:
        raise InvalidValue(
            f"{path}, the side-car of the image, cannot be read: {error}. Mend it, or move it away."
        ) from error
    if not isinstance(content, dict):
        raise InvalidValue(f"{path} is no side-car: it holds no names with values.")
    return content


def said_by(content: Mapping[str, Any]) -> dict[str, Any]:
    r"""Return what a side-car says, as attributes of DICOM.

    What is of another form than BIDS has it is left out: a list where one number should be.

    Parameters
    ----------
    content : mapping
        As :func:`read_sidecar` gives it.

    Examples
    --------
    >>> said_by({"EchoTime": 0.0023, "ScanningSequence": "EP_SE", "PatientName": "Doe"})
    {'ScanningSequence': ['EP', 'SE'], 'EchoTime': 2.3}
    """
    result: dict[str, Any] = {}
    for name, keyword in _TEXTS.items():
        value = content.get(name)
        if isinstance(value, str) and value and "\\" not in value:
            result[keyword] = value
    for name, keyword in _LISTS.items():
        value = content.get(name)
        if isinstance(value, str):
            value = value.replace("_", "\\") if name != "SoftwareVersions" else value
            value = value.split("\\")
        if isinstance(value, list) and value and all(isinstance(v, str) and v for v in value):
            result[keyword] = value
    for name, keyword in _NUMBERS.items():
        value = content.get(name)
        if _is_number(value) and (name not in _WHOLE or value == int(value)):
            result[keyword] = int(value) if name in _WHOLE else value
    for name in _SECONDS:
        value = content.get(name)
        if _is_number(value):
            result[name] = round(value * 1000, 6)
    kind = content.get("ImageType")
    if isinstance(kind, list) and len(kind) > 2 and all(isinstance(part, str) for part in kind):
        # They are images that were made from those (PS3.3 C.7.6.1.1.2).
        result["ImageType"] = ["DERIVED", "SECONDARY", *kind[2:]]
    return result


def _is_number(value: Any) -> TypeGuard[int | float]:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
    )


def gradient_table(given: Any, rows: int, volumes: int, what: str) -> Floats:
    """Return b-values or directions of volumes.

    Parameters
    ----------
    given : path-like or array_like
        A file as FSL has it, or numbers.
    rows : int
        1 for b-values, 3 for directions.
    volumes : int
    what : {"bval", "bvec"}
        For messages.

    Returns
    -------
    ndarray of float64, shape (rows, volumes)

    Raises
    ------
    InvalidValue
        They are not as many as volumes, or no numbers.

    Examples
    --------
    >>> gradient_table([0, 1000], 1, 2, "bval")
    array([[   0., 1000.]])
    """
    name = what
    try:
        if isinstance(given, (str, os.PathLike)):
            name = os.fspath(given)
            with open(name, encoding="utf-8-sig") as file:
                lines = [line.replace(",", " ").split() for line in file]
            given = [[float(part) for part in line] for line in lines if line]
        table = np.atleast_2d(np.asarray(given, np.float64))
    except (OSError, ValueError, TypeError) as error:
        raise InvalidValue(
            f"{name} cannot be read as numbers, {rows} for each volume: {error}. {what}=False "
            "leaves it out."
        ) from error
    if table.shape != (rows, volumes) and table.shape == (volumes, rows):
        table = table.T  # a line for each volume, as other programs have it
    if table.shape != (rows, volumes) or not np.isfinite(table).all():
        raise InvalidValue(
            f"{name} holds {' by '.join(map(str, table.shape))} numbers, and the image has "
            f"{volumes} volume{'s' * (volumes != 1)}: {rows} by {volumes} are needed. "
            f"{what}=False leaves them out."
        )
    return table


def in_patient(vectors: npt.ArrayLike, affine: npt.ArrayLike) -> list[list[float] | None]:
    """Return gradient directions in the patient: the inverse of ``gradients.along_axes``.

    Parameters
    ----------
    vectors : array_like of float, shape (3, volumes)
        Along the axes of the image, as FSL counts them.
    affine : array_like of float, shape (4, 4)
        Of the image, from voxels to RAS.

    Returns
    -------
    list
        A unit vector (LPS) for each volume, None where there is no direction.

    Raises
    ------
    InvalidValue
        A vector is no direction.

    Examples
    --------
    >>> in_patient([[-1, 0], [0, 0], [0, 0]], np.diag([-2, -2, 3, 1]))
    [[1.0, 0.0, 0.0], None]
    """
    axes = np.asarray(affine, np.float64)[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    along = np.array(vectors, np.float64)
    if np.linalg.det(axes) > 0:
        along[0] *= -1
    patient = np.linalg.solve(axes.T, along) * np.array([[-1], [-1], [1]])
    result: list[list[float] | None] = []
    for volume, (vector, given) in enumerate(zip(patient.T, along.T, strict=True)):
        length = float(np.linalg.norm(given))
        if length == 0:
            result.append(None)
            continue
        if abs(length - 1) > _UNIT:
            raise InvalidValue(
                f"The direction of volume {volume} is of length {length:.4g}, and not 1. "
                "bvec=False leaves directions out."
            )
        unit = np.round(vector / np.linalg.norm(vector), 9) + 0.0
        result.append([float(part) for part in unit])
    return result
