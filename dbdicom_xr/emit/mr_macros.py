"""The functional groups of MR images, and what classic attributes become in them.

PS3.3 A.36.2.4 (which there are), C.7.6.16.2 (those of all modalities), C.8.13.5 (those of MR).
Numbers that nobody measured are never made up; what has to be said and is not known is said in the
most neutral of the words that the standard has.
"""

from __future__ import annotations

from math import nan
from typing import Any, Final

from dbdicom_xr.emit.elements import key_of
from dbdicom_xr.emit.frame_references import derivation, references
from dbdicom_xr.emit.macros import Frames, Member, Part, copied, made
from dbdicom_xr.index.functional import frame_columns
from dbdicom_xr.index.table import Values
from dbdicom_xr.index.values import Kind
from dbdicom_xr.staging import items

__all__ = ["FRAME_TYPE", "MACROS", "PULSE_SEQUENCE", "image_types", "mr_macros"]

_UNKNOWN: Final = "unknown"

# -- words of classic images (PS3.3 C.8.3.1) -------------------------------------------------------


def _words(value: Any) -> list[str]:
    return [str(word) for word in (value if isinstance(value, list) else [value]) if word]


def _yes(condition: bool) -> str:
    return "YES" if condition else "NO"


def _inverted(scanning: Any, time: Any) -> str | None:
    if time is None and scanning is None:
        return None
    return _yes("IR" in _words(scanning) or bool(time))


def _spoiling(variant: Any) -> str | None:
    return None if variant is None else "RF" if "SP" in _words(variant) else "NONE"


def _partial_fourier(options: Any) -> str | None:
    return None if options is None else _yes(bool({"PFF", "PFP"} & set(_words(options))))


def _partial_direction(options: Any) -> str | None:
    found = [
        name for word, name in (("PFF", "FREQUENCY"), ("PFP", "PHASE")) if word in _words(options)
    ]
    return None if not found else found[0] if len(found) == 1 else "COMBINATION"


def _magnetization_transfer(variant: Any) -> str | None:
    return None if variant is None else "OFF_RESONANCE" if "MTC" in _words(variant) else "NONE"


def _matrix(matrix: Any) -> list[int]:
    return [int(size) for size in matrix if size] if isinstance(matrix, list) else []


def _frequency_steps(matrix: Any) -> int | None:
    sizes = _matrix(matrix)
    return sizes[0] if len(sizes) == 2 else None


def _phase_steps(matrix: Any, steps: Any) -> int | None:
    sizes = _matrix(matrix)
    return steps if steps else sizes[1] if len(sizes) == 2 else None


def _rf_echoes(scanning: Any, length: Any) -> int | None:
    words = set(_words(scanning))
    return int(length) if length and "SE" in words and "EP" not in words else None


def _gradient_echoes(scanning: Any, length: Any) -> int | None:
    return int(length) if length and {"EP", "GR"} & set(_words(scanning)) else None


def _gradient_type(rate: Any) -> str | None:
    return None if rate is None else "DB_DT"


def _absorption(rate: Any) -> list[dict[str, Any]] | None:
    if rate is None:
        return None
    return [
        {
            "SpecificAbsorptionRateDefinition": "IEC_WHOLE_BODY",
            "SpecificAbsorptionRateValue": float(rate),
        }
    ]


def _coil(name: Any) -> str | None:
    return "BODY" if isinstance(name, str) and "body" in name.lower() else None


def _echo_pulses(scanning: Any) -> str | None:
    words = set(_words(scanning))
    if {"SE", "GR"} <= words:
        return "BOTH"
    return "GRADIENT" if "GR" in words else "SPIN" if "SE" in words else None


def _planar(scanning: Any) -> str | None:
    return None if scanning is None else _yes("EP" in _words(scanning))


def _steady_state(variant: Any) -> str | None:
    words = _words(variant)
    return "TIME_REVERSED" if "TRSS" in words else "FREE_PRECESSION" if "SS" in words else None


def _segmented(variant: Any) -> str | None:
    return "PARTIAL" if "SK" in _words(variant) else None


def _suppression(options: Any) -> str | None:
    return "FAT" if "FS" in _words(options) else None


PULSE_SEQUENCE: Final = (
    Member("PulseSequenceName", translate=lambda name: name, of=("SequenceName",),
           default="unknown"),
    Member("MRAcquisitionType", default="2D"),
    Member("EchoPulseSequence", translate=_echo_pulses, of=("ScanningSequence",),
           default="GRADIENT"),
    Member("MultipleSpinEcho", default="NO"),
    Member("MultiPlanarExcitation", default="NO"),
    Member("PhaseContrast", default="NO"),
    Member("TimeOfFlightContrast", default="NO"),
    Member("ArterialSpinLabelingContrast"),
    Member("SteadyStatePulseSequence", translate=_steady_state, of=("SequenceVariant",),
           default="NONE"),
    Member("EchoPlanarPulseSequence", translate=_planar, of=("ScanningSequence",), default="NO"),
    Member("SaturationRecovery", default="NO"),
    Member("SpectrallySelectedSuppression", translate=_suppression, of=("ScanOptions",),
           default="NONE"),
    Member("OversamplingPhase", default="NONE"),
    Member("GeometryOfKSpaceTraversal", default="RECTILINEAR"),
    Member("RectilinearPhaseEncodeReordering", default="LINEAR"),
    Member("SegmentedKSpaceTraversal", translate=_segmented, of=("SequenceVariant",),
           default="SINGLE"),
    Member("CoverageOfKSpace", translate=lambda kind: "FULL" if kind == "3D" else None,
           of=("MRAcquisitionType",)),
    Member("NumberOfKSpaceTrajectories", default=1),
)  # fmt: skip
"""What the MR Pulse Sequence module says of an object that is not derived (PS3.3 C.8.13.4)."""

# Where no body part is named, or none that is listed here (PS3.16 CID 4030, Annex L).
_SOME_PART: Final = ("38266002", "Entire body")
_BODY_PARTS: Final = {
    "ABDOMEN": ("113345001", "Abdomen"),
    "ANKLE": ("70258002", "Ankle joint"),
    "BLADDER": ("89837001", "Bladder"),
    "BRAIN": ("12738006", "Brain"),
    "BREAST": ("76752008", "Breast"),
    "CHEST": ("51185008", "Chest"),
    "CSPINE": ("122494005", "Cervical spine"),
    "ELBOW": ("16953009", "Elbow joint"),
    "EXTREMITY": ("66019005", "Extremity"),
    "FOOT": ("56459004", "Foot"),
    "HAND": ("85562004", "Hand"),
    "HEAD": ("69536005", "Head"),
    "HEART": ("80891009", "Heart"),
    "HIP": ("24136001", "Hip joint"),
    "KIDNEY": ("64033007", "Kidney"),
    "KNEE": ("72696002", "Knee"),
    "LEG": ("30021000", "Lower leg"),
    "LIVER": ("10200004", "Liver"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "NECK": ("45048000", "Neck"),
    "PANCREAS": ("15776009", "Pancreas"),
    "PELVIS": ("12921003", "Pelvis"),
    "PROSTATE": ("41216001", "Prostate"),
    "SHOULDER": ("16982005", "Shoulder"),
    "SPINE": ("421060004", "Spine"),
    "SPLEEN": ("78961009", "Spleen"),
    "THIGH": ("68367000", "Thigh"),
    "TSPINE": ("122495006", "Thoracic spine"),
    "UTERUS": ("35039007", "Uterus"),
    "WHOLEBODY": ("38266002", "Entire body"),
    "WRIST": ("74670003", "Wrist joint"),
}  # fmt: skip


def _code(value: str, scheme: str, meaning: str) -> list[dict[str, str]]:
    return [{"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}]


def _region(body_part: Any) -> list[dict[str, str]]:
    value, meaning = _BODY_PARTS.get(str(body_part).strip().upper(), _SOME_PART)
    return _code(value, "SCT", meaning)


def _laterality(of_image: Any, of_series: Any) -> str | None:
    side = of_image or of_series
    return str(side) if side in ("R", "L", "B") else None


# -- kinds of images (PS3.3 C.8.13.3.1.1, C.8.16.1) ------------------------------------------------

_FLAVOURS: Final = frozenset((
    "ANGIO", "ANGIO_TIME", "ASL", "CARDIAC", "CARDIAC_GATED", "CARDRESP_GATED", "CINE",
    "DIFFUSION", "DIXON", "DYNAMIC", "FLOW_ENCODED", "FLUID_ATTENUATED", "FMRI", "LOCALIZER",
    "MAX_IP", "METABOLITE_MAP", "MIN_IP", "MOTION", "MULTIECHO", "M_MODE", "NON_PARALLEL",
    "PARALLEL", "PERFUSION", "POST_CONTRAST", "PRE_CONTRAST", "PROTON_DENSITY", "REALTIME",
    "REFORMATTED", "RESP_GATED", "REST", "STATIC", "STIR", "STRESS", "T1", "T2", "T2_STAR",
    "TAGGING", "TEMPERATURE", "TOF", "VELOCITY", "VOLUME", "WHOLE_BODY",
))  # fmt: skip
_DERIVED_CONTRAST: Final = frozenset((
    "ADC", "ADDITION", "DIFFUSION_ANISO", "DIFFUSION_ATTNTD", "DIVISION", "FA", "FILTERED",
    "MASKED", "MAXIMUM", "MEAN", "METABOLITE_MAP", "MINIMUM", "MTT",
    "MULTIPLICATION", "NEI", "QUANTITY", "RCBF", "RCBV", "RESAMPLED", "STD_DEVIATION",
    "SUBTRACTION", "TENSOR", "TENSOR_B0", "TRACEW", "TTP",
))  # fmt: skip
_COMPONENTS: Final = {
    "M": "MAGNITUDE", "FFE": "MAGNITUDE", "MAGNITUDE": "MAGNITUDE",
    "P": "PHASE", "PHASE": "PHASE", "PHASE MAP": "PHASE",
    "R": "REAL", "REAL": "REAL", "I": "IMAGINARY", "IMAGINARY": "IMAGINARY",
}  # fmt: skip


def _is_map(word: str) -> bool:
    return word.endswith(" MAP") and word not in _COMPONENTS


def _frame_type(image_type: Any, frame_type: Any) -> list[str]:
    words = _words(image_type) or _words(frame_type)
    first = words[0] if words and words[0] in ("ORIGINAL", "MIXED") else "DERIVED"
    flavours = [word for word in words[2:] if word in _FLAVOURS]
    contrasts = [word for word in words[2:] if word in _DERIVED_CONTRAST or _is_map(word)]
    contrast = contrasts[0] if contrasts and first != "ORIGINAL" else "NONE"
    return [first, "PRIMARY", flavours[0] if flavours else "VOLUME", contrast]


def _component(image_type: Any, frame_type: Any) -> str:
    words = _words(image_type) or _words(frame_type)
    found = [_COMPONENTS[word] for word in words[2:] if word in _COMPONENTS]
    return found[0] if found else "MAGNITUDE"


def _contrast(b_value: Any) -> str:
    return "UNKNOWN" if b_value is None else "DIFFUSION"


FRAME_TYPE: Final = (
    # What an object says whose frames differ, no frame can say.
    Member("PixelPresentation", default="MONOCHROME"),
    Member("VolumetricProperties", default="VOLUME", words={"MIXED": "VOLUME"}),
    Member("VolumeBasedCalculationTechnique", default="NONE", words={"MIXED": "NONE"}),
    Member("ComplexImageComponent", translate=_component, of=("ImageType", "FrameType"),
           words={"MIXED": "MAGNITUDE"}),
    Member("AcquisitionContrast", translate=_contrast, of=("DiffusionBValue",),
           words={"MIXED": "UNKNOWN"}),
)  # fmt: skip


def image_types(frames: Frames) -> Values:
    """Return what FrameType each frame has: four words (PS3.3 C.8.16.1)."""
    return frames.translated(_frame_type, "ImageType", "FrameType")


# -- diffusion -----------------------------------------------------------------------


def _directionality(b_value: Any, direction: Any, matrix: Any) -> str | None:
    if b_value is None:
        return None
    if b_value == 0:
        return "NONE"
    if matrix is not None:
        return "BMATRIX"
    has_direction = isinstance(direction, list) and any(direction)
    return "DIRECTIONAL" if has_direction else "ISOTROPIC"


_B_MATRIX: Final = tuple(f"DiffusionBValue{axes}" for axes in ("XX", "XY", "XZ", "YY", "YZ", "ZZ"))


def _diffusion(frames: Frames) -> Part | None:
    b_values = frames.values("DiffusionBValue")
    if b_values is None or bool((b_values.codes < 0).any()):
        return None
    parts = [
        frames.macro(sequence, [Member(keyword) for keyword in keywords])
        for sequence, keywords in (
            ("DiffusionGradientDirectionSequence", ("DiffusionGradientOrientation",)),
            ("DiffusionBMatrixSequence", _B_MATRIX),
        )
    ]
    return frames.macro(
        "MRDiffusionSequence",
        [
            Member("DiffusionBValue"),
            Member(
                "DiffusionDirectionality",
                translate=_directionality,
                of=("DiffusionBValue", "DiffusionGradientOrientation", "DiffusionBValueXX"),
            ),
            Member("DiffusionAnisotropyType"),
            *[part for part in parts if part is not None],
        ],
    )


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
        Member("FrameLaterality", translate=_laterality,
               of=("ImageLaterality", "Laterality"), default="U"),
        Member("AnatomicRegionSequence", translate=_region, of=("BodyPartExamined",)),
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
        Member("InversionRecovery", translate=_inverted, of=("ScanningSequence", "InversionTime"),
               default="NO"),
        Member("InversionTimes", translate=lambda time: time or None, of=("InversionTime",)),
        Member("FlowCompensation", default="NONE", must=True),
        Member("FlowCompensationDirection"),
        Member("Spoiling", translate=_spoiling, of=("SequenceVariant",), default="NONE"),
        Member("T2Preparation", default="NO", must=True),
        Member("SpectrallySelectedExcitation", default="NONE", must=True),
        Member("SpatialPresaturation", default="NONE", must=True),
        Member("PartialFourier", translate=_partial_fourier, of=("ScanOptions",), default="NO"),
        Member("PartialFourierDirection", translate=_partial_direction, of=("ScanOptions",)),
        Member("ParallelAcquisition", default="NO", must=True),
        Member("ParallelAcquisitionTechnique"),
        Member("ParallelReductionFactorInPlane"),
        Member("ParallelReductionFactorOutOfPlane"),
        Member("ParallelReductionFactorSecondInPlane"),
    ),
    "MRImagingModifierSequence": (
        Member("MagnetizationTransfer", translate=_magnetization_transfer,
               of=("SequenceVariant",), default="NONE", must=True),
        Member("BloodSignalNulling", default="NO", must=True),
        Member("Tagging", default="NONE", must=True),
        Member("TagSpacingFirstDimension"), Member("TagSpacingSecondDimension"),
        Member("TagAngleFirstAxis"), Member("TagAngleSecondAxis"),
        Member("TagThickness"), Member("TaggingDelay"),
        Member("TransmitterFrequency", ("ImagingFrequency",), must=True),
        Member("PixelBandwidth", must=True),
    ),
    "MRReceiveCoilSequence": (
        Member("ReceiveCoilName", default=_UNKNOWN, must=True),
        Member("ReceiveCoilManufacturerName", default=""),
        Member("ReceiveCoilType", translate=_coil, of=("ReceiveCoilName",), default="VOLUME",
               must=True),
        Member("QuadratureReceiveCoil", default="NO", must=True),
        Member("MultiCoilDefinitionSequence"), Member("MultiCoilConfiguration"),
    ),
    "MRTransmitCoilSequence": (
        Member("TransmitCoilName", default=_UNKNOWN, must=True),
        Member("TransmitCoilManufacturerName", default=""),
        Member("TransmitCoilType", translate=_coil, of=("TransmitCoilName",), default="BODY",
               must=True),
    ),
    "MRFOVGeometrySequence": (
        Member("InPlanePhaseEncodingDirection", must=True, words={"COL": "COLUMN"}),
        Member("MRAcquisitionFrequencyEncodingSteps", translate=_frequency_steps,
               of=("AcquisitionMatrix",), must=True),
        Member("MRAcquisitionPhaseEncodingStepsInPlane", translate=_phase_steps,
               of=("AcquisitionMatrix", "NumberOfPhaseEncodingSteps"), must=True),
        Member("MRAcquisitionPhaseEncodingStepsOutOfPlane"),
        Member("PercentSampling", must=True), Member("PercentPhaseFieldOfView", must=True),
    ),
    "MRAveragesSequence": (Member("NumberOfAverages", must=True),),
    # A neutral word for the safety limits that were kept, and NaN for a rate that nobody told, so
    # that the repetition time and the flip angle are where they are looked for.
    "MRTimingAndRelatedParametersSequence": (
        Member("RepetitionTime", must=True),
        Member("FlipAngle", must=True),
        Member("EchoTrainLength", must=True),
        Member("RFEchoTrainLength", translate=_rf_echoes,
               of=("ScanningSequence", "EchoTrainLength"), default=0),
        Member("GradientEchoTrainLength", translate=_gradient_echoes,
               of=("ScanningSequence", "EchoTrainLength"), default=0),
        Member("OperatingModeSequence", default=[
            {"OperatingModeType": "STATIC FIELD", "OperatingMode": "IEC_NORMAL"}
        ]),
        Member("GradientOutputType", translate=_gradient_type, of=("dBdt",)),
        Member("GradientOutput", translate=lambda rate: rate, of=("dBdt",)),
        Member("SpecificAbsorptionRateSequence", translate=_absorption, of=("SAR",),
               default=_absorption(nan)),
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
    "RealWorldValueMappingSequence", "ContrastBolusUsageSequence",
    "RespiratorySynchronizationSequence", "MRSpatialSaturationSequence",
    "MRMetaboliteMapSequence", "MRVelocityEncodingSequence", "MRArterialSpinLabelingSequence",
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


def _lacks_coils(frames: Frames) -> bool:
    """Return whether the coils of a receive coil of several are not known."""
    types = frames.values("ReceiveCoilType")
    several = types is not None and "MULTICOIL" in types.occurring()
    return several and frames.values("MultiCoilDefinitionSequence") is None


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
        derivation(frames),
        references(frames),
    ]
    parts += [
        frames.macro(keyword, members, original)
        for keyword, members in _ACQUISITION.items()
        if original or keyword != "MRReceiveCoilSequence" or not _lacks_coils(frames)
    ]
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
