"""Enhanced MR: many frames in one file, what is shared and what differs in functional groups.

Owns `make_enhanced`, the twin of `series.make_series` with the same arguments (PS3.3 A.36).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import EnhancedMRImageStorage

from dbdicom_xr.testing.headers import base_header, make_uid, set_value, time_text
from dbdicom_xr.testing.series import (
    Geometry,
    HeaderEdit,
    Key,
    MadeSeries,
    describe_pixels,
    edit_header,
    frame_columns,
    real_values,
    stored_pixels,
    write_image,
)


def _frame_time(seconds: Any) -> str:
    text = seconds if isinstance(seconds, str) else time_text(float(seconds))
    return f"20240229{text}"


# Where a classic element lives in a frame: its functional group, its name there, and how the
# value is spelt (PS3.3 C.7.6.16.2 and C.8.13.5).
_PLACES: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "AcquisitionTime": ("FrameContentSequence", "FrameAcquisitionDateTime", _frame_time),
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue", float),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime", float),
    "FlipAngle": ("MRTimingAndRelatedParametersSequence", "FlipAngle", float),
    "ImagePositionPatient": ("PlanePositionSequence", "ImagePositionPatient", list),
    "InversionTime": ("MRModifierSequence", "InversionTimes", float),
    "RepetitionTime": ("MRTimingAndRelatedParametersSequence", "RepetitionTime", float),
    "RescaleIntercept": ("PixelValueTransformationSequence", "RescaleIntercept", float),
    "RescaleSlope": ("PixelValueTransformationSequence", "RescaleSlope", float),
    "TemporalPositionIndex": ("FrameContentSequence", "TemporalPositionIndex", int),
}

# What a frame must say beside the element that differs, where its group is not shared.
_COMPANIONS: dict[str, dict[str, Any]] = {
    "MRDiffusionSequence": {"DiffusionDirectionality": "ISOTROPIC"},
    "MRTimingAndRelatedParametersSequence": {
        "RepetitionTime": 200.0,
        "FlipAngle": 15.0,
        "EchoTrainLength": 1,
        "RFEchoTrainLength": 0,
        "GradientEchoTrainLength": 1,
    },
    "MRModifierSequence": {
        "InversionRecovery": "YES",
        "FlowCompensation": "NONE",
        "Spoiling": "RF",
        "T2Preparation": "NO",
        "SpectrallySelectedExcitation": "NONE",
        "SpatialPresaturation": "NONE",
        "PartialFourier": "NO",
        "ParallelAcquisition": "NO",
    },
    "PixelValueTransformationSequence": {
        "RescaleIntercept": 0.0,
        "RescaleSlope": 1.0,
        "RescaleType": "US",
    },
    "MREchoSequence": {"EffectiveEchoTime": 2.0},
}


def make_enhanced(
    folder: str | PathLike[str],
    *,
    keys: Mapping[Key, Sequence[Any]] | None = None,
    n: int = 1,
    shape: tuple[int, int] = (16, 12),
    pixels: ArrayLike | None = None,
    dtype: DTypeLike = "uint16",
    bits_stored: int | None = None,
    transfer_syntax: str = "explicit",
    slope: ArrayLike | None = None,
    intercept: ArrayLike | None = None,
    per_frame: Mapping[Key, ArrayLike] | None = None,
    shuffle: int | None = None,
    geometry: Geometry | None = None,
    header: HeaderEdit | None = None,
    name: str = "enhanced.dcm",
    seed: int = 0,
) -> MadeSeries:
    """Write one Enhanced MR file that says the same as a series of `make_series`.

    Called with the same arguments, both give the same pixels, values and geometry.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    keys, n, shape, pixels, dtype, bits_stored, transfer_syntax, slope, intercept, per_frame, \
geometry, seed
        As for `make_series`; keys and per_frame only of elements that have a place in the
        functional groups: SliceLocation (as the position), AcquisitionTime, DiffusionBValue,
        EchoTime, FlipAngle, InversionTime, RepetitionTime, TemporalPositionIndex.
    shuffle : int, optional
        Seed by which the frames are permuted in the file. By default they follow the grid.
    header : mapping or callable, optional
        Elements of the whole object, or a function of the data set and an empty index.
    name : str, default "enhanced.dcm"
        Of the file.

    Returns
    -------
    MadeSeries
        With one file; `frame_numbers` tells which frame is where in the grid.

    Raises
    ------
    ValueError
        If a key has no place in the functional groups.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = make_enhanced(folder, keys={"SliceLocation": [0, 5], "EchoTime": [2, 4, 6]})
    >>> int(made.datasets[0].NumberOfFrames)
    6
    >>> made.frame_numbers[1, :, 0]
    array([4, 5, 6])
    """
    keys = {"SliceLocation": [0.0, 5.0, 10.0]} if keys is None else dict(keys)
    geometry = geometry or Geometry()
    grid = (*(len(values) for values in keys.values()), n)
    rng = np.random.default_rng(seed)
    stored = stored_pixels(rng, (*grid, *shape), pixels, np.dtype(dtype), bits_stored)
    columns = frame_columns(rng, grid, keys, geometry, slope, intercept, per_frame, None)
    unknown = [key for key in columns if key != "SliceLocation" and key not in _PLACES]
    if unknown:
        raise ValueError(f"{unknown[0]} has no place in a frame; these have: {', '.join(_PLACES)}")

    count = stored[..., 0, 0].size
    order = np.arange(count)
    if shuffle is not None:
        order = np.random.default_rng(shuffle).permutation(count)
    dataset = _enhanced_header(seed, columns, geometry)
    describe_pixels(dataset, stored, bits_stored)
    dataset.NumberOfFrames = count
    _add_dimensions(dataset, keys, seed)
    indices = list(np.ndindex(*grid))
    dataset.PerFrameFunctionalGroupsSequence = Items(
        [_frame_groups(indices[position], columns, len(keys)) for position in order]
    )
    edit_header(dataset, header, ())

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    frames = stored.reshape(count, *shape).transpose(0, 2, 1)[order]
    written = write_image(folder / name, dataset, frames, transfer_syntax)
    numbers = np.empty(count, dtype=np.int64)
    numbers[order] = np.arange(1, count + 1)
    uids = np.full(grid, str(dataset.SOPInstanceUID), dtype=object)
    return MadeSeries(
        folder,
        [folder / name],
        [written],
        {key: list(values) for key, values in keys.items()},
        stored,
        real_values(stored, columns, uids),
        uids,
        numbers.reshape(grid),
        geometry.affine(float(keys.get("SliceLocation", [0.0])[0])),
    )


def _group(**keywords: Any) -> Items:
    item = Dataset()
    for keyword, value in keywords.items():
        set_value(item, keyword, value)
    return Items([item])


# Elements of a classic header that an Enhanced MR object says in its functional groups.
_MOVED = [
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "SequenceName",
    "AngioFlag",
    "SliceThickness",
    "RepetitionTime",
    "EchoTime",
    "NumberOfAverages",
    "ImagingFrequency",
    "ImagedNucleus",
    "EchoNumbers",
    "SpacingBetweenSlices",
    "NumberOfPhaseEncodingSteps",
    "EchoTrainLength",
    "PercentSampling",
    "PercentPhaseFieldOfView",
    "PixelBandwidth",
    "ReconstructionDiameter",
    "ReceiveCoilName",
    "TransmitCoilName",
    "InPlanePhaseEncodingDirection",
    "FlipAngle",
    "VariableFlipAngleFlag",
    "SAR",
    "dBdt",
    "BodyPartExamined",
    "AcquisitionDate",
    "AcquisitionTime",
]

_OBJECT = {
    "SOPClassUID": EnhancedMRImageStorage,
    "ImageType": ["ORIGINAL", "PRIMARY", "DYNAMIC", "NONE"],
    "InstanceNumber": 1,
    "AcquisitionDateTime": "20240229090100.000000",
    "AcquisitionDuration": 60.0,
    "ContentQualification": "RESEARCH",
    "AcquisitionContextSequence": [],
    "ResonantNucleus": "1H",
    "KSpaceFiltering": "NONE",
    "MagneticFieldStrength": 3.0,
    "ApplicableSafetyStandardAgency": "IEC",
    "PulseSequenceName": "fl2d1",
    "MRAcquisitionType": "2D",
    "EchoPulseSequence": "GRADIENT",
    "MultiPlanarExcitation": "NO",
    "PhaseContrast": "NO",
    "TimeOfFlightContrast": "NO",
    "SteadyStatePulseSequence": "NONE",
    "EchoPlanarPulseSequence": "NO",
    "SaturationRecovery": "NO",
    "SpectrallySelectedSuppression": "NONE",
    "OversamplingPhase": "NONE",
    "GeometryOfKSpaceTraversal": "RECTILINEAR",
    "RectilinearPhaseEncodeReordering": "LINEAR",
    "SegmentedKSpaceTraversal": "SINGLE",
    "NumberOfKSpaceTrajectories": 1,
    "PresentationLUTShape": "IDENTITY",
    "BurnedInAnnotation": "NO",
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
    "ComplexImageComponent": "MAGNITUDE",
    "AcquisitionContrast": "T1",
}


def _enhanced_header(seed: int, columns: Mapping[Key, NDArray[Any]], geometry: Geometry) -> Dataset:
    dataset = base_header("MR", seed)
    for keyword in _MOVED:
        set_value(dataset, keyword, None)
    for keyword, value in _OBJECT.items():
        set_value(dataset, keyword, value)
    dataset.SOPInstanceUID = make_uid(seed, "enhanced")
    shared = Dataset()
    shared.PixelMeasuresSequence = _group(
        PixelSpacing=[geometry.spacing[1], geometry.spacing[0]],
        SliceThickness=geometry.spacing[2],
        SpacingBetweenSlices=geometry.spacing[2],
    )
    shared.PlaneOrientationSequence = _group(ImageOrientationPatient=list(geometry.orientation))
    shared.FrameAnatomySequence = _group(FrameLaterality="U")
    shared.FrameAnatomySequence[0].AnatomicRegionSequence = _group(
        CodeValue="113345001", CodingSchemeDesignator="SCT", CodeMeaning="Abdomen"
    )
    shared.MRImageFrameTypeSequence = _group(
        FrameType=["ORIGINAL", "PRIMARY", "DYNAMIC", "NONE"],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
        ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast="T1",
    )
    shared.MRImagingModifierSequence = _group(
        MagnetizationTransfer="NONE",
        BloodSignalNulling="NO",
        Tagging="NONE",
        TransmitterFrequency=123.25,
        PixelBandwidth=500.0,
    )
    shared.MRReceiveCoilSequence = _group(
        ReceiveCoilName="Body",
        ReceiveCoilManufacturerName="",
        ReceiveCoilType="BODY",
        QuadratureReceiveCoil="YES",
    )
    shared.MRTransmitCoilSequence = _group(
        TransmitCoilName="Body", TransmitCoilManufacturerName="", TransmitCoilType="BODY"
    )
    shared.MRAveragesSequence = _group(NumberOfAverages=1.0)
    shared.MRFOVGeometrySequence = _group(
        InPlanePhaseEncodingDirection="ROW",
        MRAcquisitionFrequencyEncodingSteps=96,
        MRAcquisitionPhaseEncodingStepsInPlane=96,
        PercentSampling=100.0,
        PercentPhaseFieldOfView=100.0,
    )
    differing = {_PLACES[key][0] for key in columns if isinstance(key, str) and key in _PLACES}
    for sequence, companions in _COMPANIONS.items():
        if sequence not in differing and sequence != "MRDiffusionSequence":
            setattr(shared, sequence, _group(**companions))
    if "MRTimingAndRelatedParametersSequence" in shared:
        _add_safety(shared.MRTimingAndRelatedParametersSequence[0])
    if "MRModifierSequence" in shared:  # no inversion where no inversion time differs
        shared.MRModifierSequence[0].InversionRecovery = "NO"
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    return dataset


def _add_safety(timing: Dataset) -> None:
    timing.OperatingModeSequence = _group(
        OperatingModeType="STATIC FIELD", OperatingMode="IEC_NORMAL"
    )
    timing.SpecificAbsorptionRateSequence = _group(
        SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=0.5
    )
    timing.GradientOutputType = "DB_DT"
    timing.GradientOutput = 0.0


def _add_dimensions(dataset: Dataset, keys: Mapping[Key, Sequence[Any]], seed: int) -> None:
    """Say which elements the frames are sorted by (PS3.3 C.7.6.17)."""
    uid = make_uid(seed, "dimensions")
    dataset.DimensionOrganizationSequence = _group(DimensionOrganizationUID=uid)
    items = []
    for key in keys:
        place = "ImagePositionPatient" if key == "SliceLocation" else str(key)
        sequence, keyword, _ = _PLACES[place]
        item = Dataset()
        item.DimensionOrganizationUID = uid
        item.DimensionIndexPointer = Tag(_number(keyword))
        item.FunctionalGroupPointer = Tag(_number(sequence))
        items.append(item)
    dataset.DimensionIndexSequence = Items(items)


def _number(keyword: str) -> int:
    number = tag_for_keyword(keyword)
    assert number is not None
    return number


def _frame_groups(
    index: tuple[int, ...], columns: Mapping[Key, NDArray[Any]], n_keys: int
) -> Dataset:
    frame = Dataset()
    frame.FrameContentSequence = _group(
        FrameReferenceDateTime="20240229090100.000000",
        FrameAcquisitionDateTime="20240229090100.000000",
        FrameAcquisitionDuration=100.0,
        FrameAcquisitionNumber=1,
        StackID="1",
        DimensionIndexValues=[i + 1 for i in index[:n_keys]],
    )
    for key, column in columns.items():
        if key == "SliceLocation":  # the position says it; the frame's place in the stack, too
            frame.FrameContentSequence[0].InStackPositionNumber = 1 + int(
                np.searchsorted(np.unique(column), column[index])
            )
            continue
        sequence, keyword, spell = _PLACES[str(key)]
        if sequence not in frame:
            setattr(frame, sequence, _group(**_COMPANIONS.get(sequence, {})))
            if sequence == "MRTimingAndRelatedParametersSequence":
                _add_safety(getattr(frame, sequence)[0])
        set_value(getattr(frame, sequence)[0], keyword, spell(column[index]))
    return frame
