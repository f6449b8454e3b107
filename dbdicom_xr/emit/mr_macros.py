"""The functional groups of MR images, and what classic attributes become in them.

PS3.3 A.36.2.4 (which there are), C.7.6.16.2 (those of all modalities), C.8.13.5 (those of MR).
Numbers that nobody measured are never made up; what has to be said and is not known is said in the
most neutral of the words that the standard has (``mr_words``).
"""

from __future__ import annotations

from functools import partial
from math import nan
from typing import Any, Final

from dbdicom_xr.emit import mr_words as words
from dbdicom_xr.emit.elements import key_of
from dbdicom_xr.emit.frame_references import derivation, references
from dbdicom_xr.emit.macros import Frames, Member, Part, When, copied, made
from dbdicom_xr.index.functional import frame_columns
from dbdicom_xr.index.table import Values
from dbdicom_xr.index.values import Kind
from dbdicom_xr.staging import items

__all__ = ["FRAME_TYPE", "MACROS", "PULSE_SEQUENCE", "image_types", "mr_macros"]

_UNKNOWN: Final = "unknown"


# -- what the conditions of others ask for (type 1C) ----------------------------------------------


def _when(of: Member | str, *values: str) -> When:
    """Return the condition that an attribute has one of these values."""
    return When(Member(of) if isinstance(of, str) else of, frozenset(values).__contains__)


def _is_known(value: object) -> bool:
    return value is not None


_ECHO_PULSES: Final = Member(
    "EchoPulseSequence", translate=words.echo_pulses, of=("ScanningSequence",), default="GRADIENT"
)
_TRAVERSAL: Final = Member("GeometryOfKSpaceTraversal", default="RECTILINEAR")
_INVERSION: Final = Member(
    "InversionRecovery", translate=words.inverted, of=("ScanningSequence", "InversionTime"),
    default="NO",
)  # fmt: skip
_FLOW: Final = Member("FlowCompensation", default="NONE", must=True)
_FOURIER: Final = Member(
    "PartialFourier", translate=words.partial_fourier, of=("ScanOptions",), default="NO"
)
_PARALLEL: Final = Member("ParallelAcquisition", default="NO", must=True)
_TAGGING: Final = Member("Tagging", default="NONE", must=True)
_COIL: Final = Member(
    "ReceiveCoilType", translate=words.coil, of=("ReceiveCoilName",), default="VOLUME", must=True
)
_CRUSHER: Final = Member("ASLCrusherFlag", must=True)
_CUTOFF: Final = Member("ASLBolusCutoffFlag", must=True)
_OUTPUT_TYPE: Final = Member("GradientOutputType", translate=words.gradient_type, of=("dBdt",))
_OUTPUT: Final = Member("GradientOutput", translate=lambda rate: rate, of=("dBdt",))
_DIRECTIONALITY: Final = Member(
    "DiffusionDirectionality", translate=words.directionality,
    of=("DiffusionBValue", "DiffusionGradientOrientation", "DiffusionBValueXX"),
)  # fmt: skip
_IN_PARALLEL: Final = _when(_PARALLEL, "YES")
_TAGGED: Final = _when(_TAGGING, "GRID", "LINE")
_IN_A_GRID: Final = _when(_TAGGING, "GRID")

PULSE_SEQUENCE: Final = (
    Member("PulseSequenceName", translate=lambda name: name, of=("SequenceName",),
           default="unknown"),
    Member("MRAcquisitionType", default="2D"),
    _ECHO_PULSES,
    Member("MultipleSpinEcho", default="NO", when=_when(_ECHO_PULSES, "SPIN", "BOTH")),
    Member("MultiPlanarExcitation", default="NO"),
    Member("PhaseContrast", default="NO"),
    Member("TimeOfFlightContrast", default="NO"),
    Member("ArterialSpinLabelingContrast"),
    Member("SteadyStatePulseSequence", translate=words.steady_state, of=("SequenceVariant",),
           default="NONE"),
    Member("EchoPlanarPulseSequence", translate=words.planar, of=("ScanningSequence",),
           default="NO"),
    Member("SaturationRecovery", default="NO"),
    Member("SpectrallySelectedSuppression", translate=words.suppression, of=("ScanOptions",),
           default="NONE"),
    Member("OversamplingPhase", default="NONE"),
    _TRAVERSAL,
    Member("RectilinearPhaseEncodeReordering", default="LINEAR",
           when=_when(_TRAVERSAL, "RECTILINEAR")),
    Member("SegmentedKSpaceTraversal", translate=words.segmented, of=("SequenceVariant",),
           default="SINGLE"),
    Member("CoverageOfKSpace", translate=lambda kind: "FULL" if kind == "3D" else None,
           of=("MRAcquisitionType",), when=_when("MRAcquisitionType", "3D")),
    Member("NumberOfKSpaceTrajectories", default=1),
)  # fmt: skip
"""What the MR Pulse Sequence module says of an object that is not derived (PS3.3 C.8.13.4)."""

FRAME_TYPE: Final = (
    # What an object says whose frames differ, no frame can say.
    Member("PixelPresentation", default="MONOCHROME"),
    Member("VolumetricProperties", default="VOLUME", words={"MIXED": "VOLUME"}),
    Member("VolumeBasedCalculationTechnique", default="NONE", words={"MIXED": "NONE"}),
    Member("ComplexImageComponent", translate=words.component, of=("ImageType", "FrameType"),
           words={"MIXED": "MAGNITUDE"}),
    Member("AcquisitionContrast", translate=words.contrast, of=("DiffusionBValue",),
           words={"MIXED": "UNKNOWN"}),
)  # fmt: skip


def image_types(frames: Frames) -> Values:
    """Return what FrameType each frame has: four words (PS3.3 C.8.16.1)."""
    labelled = _spin_labeling(frames) is not None
    translate = partial(words.frame_type, labelled=labelled)
    return frames.translated(translate, "ImageType", "FrameType")


# -- diffusion -----------------------------------------------------------------------


_B_MATRIX: Final = tuple(f"DiffusionBValue{axes}" for axes in ("XX", "XY", "XZ", "YY", "YZ", "ZZ"))


def _diffusion(frames: Frames) -> Part | None:
    b_values = frames.values("DiffusionBValue")
    if b_values is None or bool((b_values.codes < 0).any()):
        return None
    parts = [
        frames.macro(sequence, members)
        for sequence, members in (
            (
                "DiffusionGradientDirectionSequence",
                [Member("DiffusionGradientOrientation")],
            ),
            (
                "DiffusionBMatrixSequence",
                [Member(keyword, when=_when(_DIRECTIONALITY, "BMATRIX")) for keyword in _B_MATRIX],
            ),
        )
    ]
    return frames.macro(
        "MRDiffusionSequence",
        [
            Member("DiffusionBValue"),
            _DIRECTIONALITY,
            Member("DiffusionAnisotropyType"),
            *[part for part in parts if part is not None],
        ],
    )


# -- arterial spin labeling and contrast media ----------------------------------------------------

_SLAB: Final = (
    Member("ASLSlabNumber", must=True), Member("ASLSlabThickness", must=True),
    Member("ASLSlabOrientation", must=True), Member("ASLMidSlabPosition", must=True),
    Member("ASLPulseTrainDuration", must=True),
)  # fmt: skip
_CRUSHED: Final = _when(_CRUSHER, "YES")
_LABELS: Final = (
    Member("ASLTechniqueDescription", default=""), Member("ASLContext", must=True), _CRUSHER,
    Member("ASLCrusherFlowLimit", must=True, when=_CRUSHED),
    Member("ASLCrusherDescription", must=True, when=_CRUSHED), _CUTOFF,
)  # fmt: skip
_TIMING: Final = tuple(
    Member(keyword, must=True, when=_when(_CUTOFF, "YES"))
    for keyword in ("ASLBolusCutoffTechnique", "ASLBolusCutoffDelayTime")
)


def _spin_labeling(frames: Frames) -> Part | None:
    """Return the MR Arterial Spin Labeling macro (PS3.3 C.8.13.5.14), None unless all is known.

    From what its items say: the sequences themselves do not stand in classic images.
    """
    keyword = "MRArterialSpinLabelingSequence"
    if (whole := _as_it_is(frames, keyword)) is not None:
        return whole
    labels: list[Member | Part] = list(_LABELS)
    timing = frames.macro("ASLBolusCutoffTimingSequence", _TIMING, False)
    if timing is not None:
        labels.append(timing)
    elif "YES" in _occurring(frames, _CUTOFF.keyword):
        return None
    slab = frames.macro("ASLSlabSequence", _SLAB, False)
    if slab is not None:
        return frames.macro(keyword, [*labels, slab], False)
    # Those in which a slab is labelled demand it.
    if set(_occurring(frames, "ASLContext")) != {"M_ZERO_SCAN"}:
        return None
    return frames.macro(keyword, labels, False)


def _occurring(frames: Frames, keyword: str) -> list[Any]:
    values = frames.values(keyword)
    return [] if values is None else values.occurring()


_USAGE: Final = (
    Member("ContrastBolusAgentNumber", must=True),
    Member("ContrastBolusAgentAdministered", must=True),
    Member("ContrastBolusAgentDetected", default=""), Member("ContrastBolusAgentPhase"),
)  # fmt: skip


def _contrast_usage(frames: Frames) -> Part | None:
    """Return the Contrast/Bolus Usage macro (PS3.3 C.7.6.16.2.12), None unless it is known."""
    keyword = "ContrastBolusUsageSequence"
    whole = _as_it_is(frames, keyword)
    return frames.macro(keyword, _USAGE, False) if whole is None else whole


# -- all of them ----------------------------------------------------------------------------------

_ALWAYS: Final[dict[str, tuple[Member, ...]]] = {
    "PixelMeasuresSequence": (
        Member("PixelSpacing"), Member("SpacingBetweenSlices"),
        # Demanded of a volume; slices without a thickness are as thick as they are apart.
        Member("SliceThickness", translate=lambda step: abs(step) if step else None,
               of=("SpacingBetweenSlices",)),
    ),
    "PlanePositionSequence": (Member("ImagePositionPatient"),),
    "PlaneOrientationSequence": (Member("ImageOrientationPatient"),),
    "FrameAnatomySequence": (
        Member("FrameLaterality", translate=words.laterality,
               of=("ImageLaterality", "Laterality"), default="U"),
        Member("AnatomicRegionSequence", translate=words.region, of=("BodyPartExamined",)),
    ),
    "PixelValueTransformationSequence": (
        Member("RescaleIntercept", default=0.0), Member("RescaleSlope", default=1.0),
        Member("RescaleType", default="US"),
    ),
}  # fmt: skip
# What those tell that only ORIGINAL and MIXED images must have. dciodvfy wants them whole wherever
# they are, so that derived images have one where all that it demands is known.
_ACQUISITION: Final[dict[str, tuple[Member, ...]]] = {
    "MREchoSequence": (Member("EffectiveEchoTime", ("EchoTime",), must=True),),
    "MRModifierSequence": (
        _INVERSION,
        Member("InversionTimes", translate=lambda time: time or None, of=("InversionTime",),
               must=True, when=_when(_INVERSION, "YES")),
        _FLOW,
        Member("FlowCompensationDirection", must=True,
               when=When(_FLOW, lambda kind: kind not in (None, "NONE"))),
        Member("Spoiling", translate=words.spoiling, of=("SequenceVariant",), default="NONE"),
        Member("T2Preparation", default="NO", must=True),
        Member("SpectrallySelectedExcitation", default="NONE", must=True),
        Member("SpatialPresaturation", default="NONE", must=True),
        _FOURIER,
        Member("PartialFourierDirection", translate=words.partial_direction, of=("ScanOptions",),
               must=True, when=_when(_FOURIER, "YES")),
        _PARALLEL,
        Member("ParallelAcquisitionTechnique", must=True, when=_IN_PARALLEL),
        Member("ParallelReductionFactorInPlane", must=True, when=_IN_PARALLEL),
        Member("ParallelReductionFactorOutOfPlane", must=True, when=_IN_PARALLEL),
        Member("ParallelReductionFactorSecondInPlane", must=True, when=_IN_PARALLEL),
    ),
    "MRImagingModifierSequence": (
        Member("MagnetizationTransfer", translate=words.magnetization_transfer,
               of=("SequenceVariant",), default="NONE", must=True),
        Member("BloodSignalNulling", default="NO", must=True),
        _TAGGING,
        Member("TagSpacingFirstDimension", must=True, when=_TAGGED),
        Member("TagSpacingSecondDimension", must=True, when=_IN_A_GRID),
        Member("TagAngleFirstAxis", must=True, when=_TAGGED),
        Member("TagAngleSecondAxis", must=True, when=_IN_A_GRID),
        Member("TagThickness", must=True, when=_TAGGED), Member("TaggingDelay"),
        Member("TransmitterFrequency", ("ImagingFrequency",), must=True),
        Member("PixelBandwidth", must=True),
    ),
    "MRReceiveCoilSequence": (
        Member("ReceiveCoilName", default=_UNKNOWN, must=True),
        Member("ReceiveCoilManufacturerName", default=""),
        _COIL,
        Member("QuadratureReceiveCoil", default="NO", must=True),
        Member("MultiCoilDefinitionSequence", must=True, when=_when(_COIL, "MULTICOIL")),
        Member("MultiCoilConfiguration"),
    ),
    "MRTransmitCoilSequence": (
        Member("TransmitCoilName", default=_UNKNOWN, must=True),
        Member("TransmitCoilManufacturerName", default=""),
        Member("TransmitCoilType", translate=words.coil, of=("TransmitCoilName",), default="BODY",
               must=True),
    ),
    "MRFOVGeometrySequence": (
        Member("InPlanePhaseEncodingDirection", must=True, words={"COL": "COLUMN"}),
        Member("MRAcquisitionFrequencyEncodingSteps", translate=words.frequency_steps,
               of=("AcquisitionMatrix",), must=True),
        Member("MRAcquisitionPhaseEncodingStepsInPlane", translate=words.phase_steps,
               of=("AcquisitionMatrix", "NumberOfPhaseEncodingSteps"), must=True),
        Member("MRAcquisitionPhaseEncodingStepsOutOfPlane",
               when=When(Member("MRAcquisitionType"), lambda kind: kind != "2D")),
        Member("PercentSampling", must=True), Member("PercentPhaseFieldOfView", must=True),
    ),
    "MRAveragesSequence": (Member("NumberOfAverages", must=True),),
    # A neutral word for the safety limits that were kept, and NaN for a rate that nobody told, so
    # that the repetition time and the flip angle are where they are looked for.
    "MRTimingAndRelatedParametersSequence": (
        Member("RepetitionTime", must=True),
        Member("FlipAngle", must=True),
        Member("EchoTrainLength", must=True),
        Member("RFEchoTrainLength", translate=words.rf_echoes,
               of=("ScanningSequence", "EchoTrainLength"), default=0),
        Member("GradientEchoTrainLength", translate=words.gradient_echoes,
               of=("ScanningSequence", "EchoTrainLength"), default=0),
        Member("OperatingModeSequence", default=[
            {"OperatingModeType": "STATIC FIELD", "OperatingMode": "IEC_NORMAL"}
        ]),
        _OUTPUT_TYPE._replace(when=When(_OUTPUT, _is_known)),
        _OUTPUT._replace(when=When(_OUTPUT_TYPE, _is_known)),
        Member("SpecificAbsorptionRateSequence", translate=words.absorption, of=("SAR",),
               default=words.absorption(nan)),
    ),
    "CardiacSynchronizationSequence": (
        Member("NominalCardiacTriggerDelayTime", ("TriggerTime",), must=True),
        Member("NominalPercentageOfCardiacPhase"), Member("ActualCardiacTriggerDelayTime"),
        Member("IntervalsAcquired"), Member("IntervalsRejected"), Member("HeartRate"),
        Member("RRIntervalTimeNominal"), Member("LowRRValue"), Member("HighRRValue"),
    ),
}  # fmt: skip
# Those that there may be; frames that do not know have none.
_OPTIONAL: Final[dict[str, tuple[Member, ...]]] = {
    "FrameVOILUTSequence": (
        Member("WindowCenter"),
        Member("WindowWidth"),
        Member("WindowCenterWidthExplanation"),
        Member("VOILUTFunction"),
    ),
}
# Macros that stand in the columns of enhanced images as they are, and are kept so.
_AS_THEY_ARE: Final = (
    "RealWorldValueMappingSequence", "RespiratorySynchronizationSequence",
    "MRSpatialSaturationSequence", "MRMetaboliteMapSequence", "MRVelocityEncodingSequence",
    "TemporalPositionSequence",
)  # fmt: skip


def _as_it_is(frames: Frames, keyword: str) -> Part | None:
    """Return a macro that the elements hold as a whole, None unless all frames have it."""
    column = frames.elements.get(key_of(keyword))
    if column is None or not bool((column.codes_of() >= 0).all()):
        return None
    part = copied(column)
    # What stands in it has columns of its own, which have found their place with it.
    raw = max(part.raws, key=len)
    inside, _ = frame_columns(items.sequence([raw], False), None, 1, Kind("SQ"))
    frames.used.update((column.key, *inside))
    return part


def mr_macros(frames: Frames, types: Values, original: bool) -> list[Part]:
    """Return the functional groups of MR images but the Frame Content macro.

    Parameters
    ----------
    frames : Frames
    types : Values
        FrameType, from :func:`image_types`.
    original : bool
        Whether an image is not derived, so that all that the standard wants to know of an
        acquisition has to be said (PS3.3 A.36.2.4).

    Notes
    -----
    Attributes that classic images have too are taken from there, and from the attribute of the
    functional groups where there is none, so that what was set by its classic name counts.
    """
    frames.used.update(key_of(keyword) for keyword in ("ImageType", "FrameType"))
    parts = [_as_it_is(frames, keyword) for keyword in _AS_THEY_ARE]
    parts += [frames.macro(keyword, members) for keyword, members in _ALWAYS.items()]
    frame_type: list[Member | Part] = [made("FrameType", types), *FRAME_TYPE]
    parts += [
        frames.macro("MRImageFrameTypeSequence", frame_type),
        _diffusion(frames),
        _spin_labeling(frames),
        _contrast_usage(frames),
        derivation(frames),
        references(frames),
    ]
    parts += [frames.macro(keyword, members, original) for keyword, members in _ACQUISITION.items()]
    parts += [frames.macro(keyword, members, False) for keyword, members in _OPTIONAL.items()]
    return [part for part in parts if part is not None]


MACROS: Final = frozenset(
    key_of(keyword)
    for keyword in (
        *_ALWAYS, *_ACQUISITION, *_OPTIONAL, "FrameContentSequence",
        "MRDiffusionSequence",
        "MRImageFrameTypeSequence", "Laterality", "ImageLaterality",
        "DerivationImageSequence", "DiffusionGradientDirectionSequence",
        "DiffusionBMatrixSequence", "SpecificAbsorptionRateDefinition",
        "SpecificAbsorptionRateValue", "OperatingModeType", "OperatingMode",
    )
)  # fmt: skip
"""What flattened functional groups leave beside their attributes: made anew, or in them."""
