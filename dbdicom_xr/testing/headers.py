"""Headers of synthetic images: what a scanner would say, about nobody.

Owns the elements that are the same in all images of a series, and how Python values become DICOM
values. What differs from image to image is set by the makers (series, enhanced, many).
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)
from pydicom.valuerep import DSfloat

PRIVATE_CREATOR = "DBDICOM_XR TESTING"
PRIVATE_GROUP = 0x0019

TRANSFER_SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
}


def make_uid(*sources: object) -> UID:
    """Return a UID that depends on nothing but its sources.

    Parameters
    ----------
    *sources : object
        What makes the UID, for instance a seed, a word and a number.

    Returns
    -------
    pydicom.uid.UID

    Examples
    --------
    >>> make_uid(0, "study") == make_uid(0, "study")
    True
    >>> make_uid(0, "study") == make_uid(1, "study")
    False
    """
    return generate_uid(entropy_srcs=["dbdicom_xr.testing", *map(str, sources)])


def time_text(seconds: float) -> str:
    """Return seconds since midnight as a DICOM time (VR TM, PS3.5 6.2).

    Parameters
    ----------
    seconds : float
        Below 86,400.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the time is not within one day.

    Examples
    --------
    >>> time_text(9 * 3600 + 1.5)
    '090001.500000'
    """
    microseconds = round(seconds * 1e6)
    if not 0 <= microseconds < 86_400_000_000:
        raise ValueError(f"{seconds} s is not a time of day")
    moment = datetime.datetime(2000, 1, 1) + datetime.timedelta(microseconds=microseconds)
    return moment.strftime("%H%M%S.%f")


def set_value(dataset: Dataset, key: str | tuple[int, int], value: Any) -> None:
    """Set an element, by keyword or by a private (group, element), from a Python or numpy value.

    Parameters
    ----------
    dataset : pydicom.dataset.Dataset
        Changed in place. The element is replaced, so that data sets may share elements.
    key : str or tuple of int
        A DICOM keyword or, for a private element, its group and element in the block
        ``(gggg,10xx)``, whose creator is set too.
    value : object
        Numbers become times for VR TM (seconds since midnight) and at most 16 characters for
        VR DS. None deletes the element.

    Raises
    ------
    KeyError
        If the keyword is not in the dictionary.

    Examples
    --------
    >>> dataset = Dataset()
    >>> set_value(dataset, "EchoTime", 10 / 3)
    >>> set_value(dataset, "AcquisitionTime", 60.0)
    >>> print(dataset)
    (0008,0032) Acquisition Time                    TM: '000100.000000'
    (0018,0081) Echo Time                           DS: '3.33333333333333'
    """
    tag, vr = _tag_and_vr(dataset, key, value)
    if value is None:
        if tag in dataset:
            del dataset[tag]
        return
    dataset[tag] = DataElement(tag, vr, _plain(value, vr))


def _tag_and_vr(dataset: Dataset, key: str | tuple[int, int], value: Any) -> tuple[BaseTag, str]:
    if isinstance(key, str):
        number = tag_for_keyword(key)
        if number is None:
            raise KeyError(f"{key!r} is not a DICOM keyword")
        vr = dictionary_VR(number)
        return Tag(number), {"US or SS": "US", "OB or OW": "OW"}.get(vr, vr)
    dataset.private_block(key[0], PRIVATE_CREATOR, create=True)
    first = np.ravel(np.asarray(value, dtype=object))[0] if value is not None else None
    if isinstance(first, bytes):
        return Tag(key), "OB"
    if isinstance(first, str | None):
        return Tag(key), "LO"
    return Tag(key), "IS" if isinstance(first, int | np.integer) else "DS"


def _plain(value: Any, vr: str) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple) and vr != "SQ":
        return [_plain(item, vr) for item in value]
    if vr == "DS" and not isinstance(value, str):
        return DSfloat(value, auto_format=True)
    if vr == "TM" and isinstance(value, int | float):
        return time_text(value)
    return value


def _items(**keywords: Any) -> Sequence:
    item = Dataset()
    for keyword, value in keywords.items():
        set_value(item, keyword, value)
    return Sequence([item])


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    return _items(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


_PATIENT = {
    "PatientName": "Phantom^Synthetic",
    "PatientID": "DBX-0001",
    "PatientBirthDate": "19700101",
    "PatientSex": "O",
    "PatientAge": "054Y",
    "PatientSize": 1.75,
    "PatientWeight": 75.0,
    "PatientComments": "Made by dbdicom_xr.testing; this is nobody.",
}

_STUDY = {
    "StudyDate": "20240229",
    "StudyTime": 32400.0,
    "AccessionNumber": "A0001",
    "ReferringPhysicianName": "Nobody^Refers",
    "StudyDescription": "Synthetic study",
    "StudyID": "1",
    "AdmittingDiagnosesDescription": "None",
}

_SERIES = {
    "SeriesDate": "20240229",
    "SeriesTime": 32460.0,
    "SeriesDescription": "Synthetic series",
    "SeriesNumber": 1,
    "ProtocolName": "synthetic_protocol",
    "OperatorsName": "Nobody^Operates",
    "PerformingPhysicianName": "Nobody^Performs",
    "BodyPartExamined": "ABDOMEN",
    "PatientPosition": "HFS",
    "PerformedProcedureStepStartDate": "20240229",
    "PerformedProcedureStepStartTime": 32400.0,
    "PerformedProcedureStepID": "PPS1",
    "PerformedProcedureStepDescription": "Synthetic procedure",
}

_EQUIPMENT = {
    "Manufacturer": "dbdicom_xr",
    "InstitutionName": "Nowhere",
    "InstitutionAddress": "1 Nowhere Street",
    "StationName": "SYNTH1",
    "InstitutionalDepartmentName": "Testing",
    "ManufacturerModelName": "Synthesiser",
    "DeviceSerialNumber": "00001",
    "SoftwareVersions": "testing 1",
    "DateOfLastCalibration": "20240101",
    "TimeOfLastCalibration": 25200.0,
}

_IMAGE = {
    "SpecificCharacterSet": "ISO_IR 192",
    "InstanceCreationDate": "20240229",
    "InstanceCreationTime": 32520.0,
    "AcquisitionDate": "20240229",
    "ContentDate": "20240229",
    "AcquisitionTime": 32460.0,
    "ContentTime": 32520.0,
    "AcquisitionNumber": 1,
    "ImageComments": "synthetic",
    "LossyImageCompression": "00",
}

_MR = {
    "SOPClassUID": MRImageStorage,
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
    "Modality": "MR",
    "ScanningSequence": "GR",
    "SequenceVariant": "SP",
    "ScanOptions": "FS",
    "MRAcquisitionType": "2D",
    "SequenceName": "fl2d1",
    "AngioFlag": "N",
    "SliceThickness": 5.0,
    "RepetitionTime": 200.0,
    "EchoTime": 2.0,
    "NumberOfAverages": 1.0,
    "ImagingFrequency": 123.25,
    "ImagedNucleus": "1H",
    "EchoNumbers": 1,
    "MagneticFieldStrength": 3.0,
    "SpacingBetweenSlices": 5.0,
    "NumberOfPhaseEncodingSteps": 96,
    "EchoTrainLength": 1,
    "PercentSampling": 100.0,
    "PercentPhaseFieldOfView": 100.0,
    "PixelBandwidth": 500.0,
    "ReconstructionDiameter": 380.0,
    "ReceiveCoilName": "Body",
    "TransmitCoilName": "Body",
    "InPlanePhaseEncodingDirection": "ROW",
    "FlipAngle": 15.0,
    "VariableFlipAngleFlag": "N",
    "SAR": 0.5,
    "dBdt": 0.0,
    "PositionReferenceIndicator": "",
}

_CT = {
    "SOPClassUID": CTImageStorage,
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "Modality": "CT",
    "ScanOptions": "HELIX",
    "SliceThickness": 5.0,
    "KVP": 120.0,
    "DataCollectionDiameter": 500.0,
    "ReconstructionDiameter": 380.0,
    "DistanceSourceToDetector": 1000.0,
    "DistanceSourceToPatient": 540.0,
    "GantryDetectorTilt": 0.0,
    "TableHeight": 150.0,
    "RotationDirection": "CW",
    "ExposureTime": 500,
    "XRayTubeCurrent": 200,
    "Exposure": 100,
    "FilterType": "BODY",
    "GeneratorPower": 24,
    "FocalSpots": 0.7,
    "ConvolutionKernel": "B30",
    "PositionReferenceIndicator": "",
    "RescaleType": "HU",
}

_BY_MODALITY: dict[str, dict[str, Any]] = {"MR": _MR, "CT": _CT}


def base_header(modality: str, seed: int) -> Dataset:
    """Return the elements that all images of a synthetic series share.

    About 100 elements, sequences and a private block among them, without geometry and pixels.

    Parameters
    ----------
    modality : {"MR", "CT"}
    seed : int
        The study, series and frame of reference UIDs depend on it.

    Returns
    -------
    pydicom.dataset.Dataset

    Raises
    ------
    ValueError
        For another modality.

    Examples
    --------
    >>> base_header("CT", seed=0).KVP
    '120.0'
    """
    if modality not in _BY_MODALITY:
        raise ValueError(f"modality {modality!r}: one of {', '.join(_BY_MODALITY)} is needed")
    dataset = Dataset()
    for part in (_PATIENT, _STUDY, _SERIES, _EQUIPMENT, _IMAGE, _BY_MODALITY[modality]):
        for keyword, value in part.items():
            set_value(dataset, keyword, value)
    dataset.StudyInstanceUID = make_uid(seed, "study")
    dataset.SeriesInstanceUID = make_uid(seed, "series")
    dataset.FrameOfReferenceUID = make_uid(seed, "frame of reference")
    dataset.ProcedureCodeSequence = _code("113091000", "SCT", "Magnetic resonance imaging")
    request = _items(
        ScheduledProcedureStepID="SPS1",
        RequestedProcedureID="RP1",
        RequestedProcedureDescription="Synthetic procedure",
    )
    request[0].ScheduledProtocolCodeSequence = _code("SYN1", "99DBX", "Synthetic protocol")
    dataset.RequestAttributesSequence = request
    dataset.ReferencedStudySequence = _items(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=make_uid(seed, "referenced study"),
    )
    _add_private_block(dataset)
    return dataset


def _add_private_block(dataset: Dataset) -> None:
    block = dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(0x01, "LO", "synthetic")
    block.add_new(0x02, "IS", "42")
    block.add_new(0x03, "FD", [0.5, -0.25, 1e-9])
    block.add_new(0x04, "OB", bytes(range(64)))
    block.add_new(0x05, "SQ", _items(CodeValue="NESTED", CodeMeaning="In a private sequence"))


def file_meta(dataset: Dataset, transfer_syntax: str) -> FileMetaDataset:
    """Return the file meta information that goes with a data set (PS3.10 7.1).

    Parameters
    ----------
    dataset : pydicom.dataset.Dataset
        With SOPClassUID and SOPInstanceUID.
    transfer_syntax : str
        One of the words of `TRANSFER_SYNTAXES`, or a UID.

    Returns
    -------
    pydicom.dataset.FileMetaDataset

    Raises
    ------
    ValueError
        If the transfer syntax is neither.

    Examples
    --------
    >>> header = base_header("MR", seed=0)
    >>> header.SOPInstanceUID = make_uid(0, "image")
    >>> file_meta(header, "big").TransferSyntaxUID.name
    'Explicit VR Big Endian'
    """
    uid = TRANSFER_SYNTAXES.get(transfer_syntax)
    if uid is None and transfer_syntax in TRANSFER_SYNTAXES.values():
        uid = UID(transfer_syntax)
    if uid is None:
        words = ", ".join(TRANSFER_SYNTAXES)
        raise ValueError(f"transfer_syntax {transfer_syntax!r}: a UID or one of {words} is needed")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = uid
    meta.ImplementationClassUID = make_uid("implementation")
    meta.ImplementationVersionName = "DBDICOM_XR_TEST"
    return meta
