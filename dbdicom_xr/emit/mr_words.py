"""What words and numbers of classic MR images become in functional groups.

Functions for :class:`~dbdicom_xr.emit.macros.Member`: each gets values of classic attributes, None
where there is none, and returns that of the attribute it is named by, or None.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = [
    "absorption", "coil", "component", "contrast", "directionality", "echo_pulses", "frame_type",
    "frequency_steps", "gradient_echoes", "gradient_type", "inverted", "laterality",
    "magnetization_transfer", "partial_direction", "partial_fourier", "phase_steps", "planar",
    "region", "rf_echoes", "segmented", "spoiling", "steady_state", "suppression",
]  # fmt: skip

# -- words of classic images (PS3.3 C.8.3.1) -------------------------------------------------------


def _words(value: Any) -> list[str]:
    return [str(word) for word in (value if isinstance(value, list) else [value]) if word]


def _yes(condition: bool) -> str:
    return "YES" if condition else "NO"


def inverted(scanning: Any, time: Any) -> str | None:
    """Return InversionRecovery."""
    if time is None and scanning is None:
        return None
    return _yes("IR" in _words(scanning) or bool(time))


def spoiling(variant: Any) -> str | None:
    """Return Spoiling."""
    return None if variant is None else "RF" if "SP" in _words(variant) else "NONE"


def partial_fourier(options: Any) -> str | None:
    """Return PartialFourier."""
    return None if options is None else _yes(bool({"PFF", "PFP"} & set(_words(options))))


def partial_direction(options: Any) -> str | None:
    """Return PartialFourierDirection."""
    found = [
        name for word, name in (("PFF", "FREQUENCY"), ("PFP", "PHASE")) if word in _words(options)
    ]
    return None if not found else found[0] if len(found) == 1 else "COMBINATION"


def magnetization_transfer(variant: Any) -> str | None:
    """Return MagnetizationTransfer."""
    return None if variant is None else "OFF_RESONANCE" if "MTC" in _words(variant) else "NONE"


def _matrix(matrix: Any) -> list[int]:
    return [int(size) for size in matrix if size] if isinstance(matrix, list) else []


def frequency_steps(matrix: Any) -> int | None:
    """Return MRAcquisitionFrequencyEncodingSteps."""
    sizes = _matrix(matrix)
    return sizes[0] if len(sizes) == 2 else None


def phase_steps(matrix: Any, steps: Any) -> int | None:
    """Return MRAcquisitionPhaseEncodingStepsInPlane."""
    sizes = _matrix(matrix)
    return steps if steps else sizes[1] if len(sizes) == 2 else None


def rf_echoes(scanning: Any, length: Any) -> int | None:
    """Return RFEchoTrainLength."""
    words = set(_words(scanning))
    return int(length) if length and "SE" in words and "EP" not in words else None


def gradient_echoes(scanning: Any, length: Any) -> int | None:
    """Return GradientEchoTrainLength."""
    return int(length) if length and {"EP", "GR"} & set(_words(scanning)) else None


def gradient_type(rate: Any) -> str | None:
    """Return GradientOutputType."""
    return None if rate is None else "DB_DT"


def absorption(rate: Any) -> list[dict[str, Any]] | None:
    """Return SpecificAbsorptionRateSequence."""
    if rate is None:
        return None
    return [
        {
            "SpecificAbsorptionRateDefinition": "IEC_WHOLE_BODY",
            "SpecificAbsorptionRateValue": float(rate),
        }
    ]


def coil(name: Any) -> str | None:
    """Return ReceiveCoilType or TransmitCoilType."""
    return "BODY" if isinstance(name, str) and "body" in name.lower() else None


def echo_pulses(scanning: Any) -> str | None:
    """Return EchoPulseSequence."""
    words = set(_words(scanning))
    if {"SE", "GR"} <= words:
        return "BOTH"
    return "GRADIENT" if "GR" in words else "SPIN" if "SE" in words else None


def planar(scanning: Any) -> str | None:
    """Return EchoPlanarPulseSequence."""
    return None if scanning is None else _yes("EP" in _words(scanning))


def steady_state(variant: Any) -> str | None:
    """Return SteadyStatePulseSequence."""
    words = _words(variant)
    return "TIME_REVERSED" if "TRSS" in words else "FREE_PRECESSION" if "SS" in words else None


def segmented(variant: Any) -> str | None:
    """Return SegmentedKSpaceTraversal."""
    return "PARTIAL" if "SK" in _words(variant) else None


def suppression(options: Any) -> str | None:
    """Return SpectrallySelectedSuppression."""
    return "FAT" if "FS" in _words(options) else None


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


def region(body_part: Any) -> list[dict[str, str]]:
    """Return AnatomicRegionSequence."""
    value, meaning = _BODY_PARTS.get(str(body_part).strip().upper(), _SOME_PART)
    return _code(value, "SCT", meaning)


def laterality(of_image: Any, of_series: Any) -> str | None:
    """Return FrameLaterality."""
    side = of_image or of_series
    return str(side) if side in ("R", "L", "B") else None


# -- kinds of images (PS3.3 C.8.13.3.1.1, C.8.16.1) ------------------------------------------------

_LABELLED: Final = "ASL"
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


def frame_type(image_type: Any, frame_type: Any, *, labelled: bool) -> list[str]:
    """Return FrameType; ASL only where the macro that this word demands is there."""
    words = _words(image_type) or _words(frame_type)
    first = words[0] if words and words[0] in ("ORIGINAL", "MIXED") else "DERIVED"
    flavours = [word for word in words[2:] if word in _FLAVOURS and (labelled or word != _LABELLED)]
    contrasts = [word for word in words[2:] if word in _DERIVED_CONTRAST or _is_map(word)]
    contrast = contrasts[0] if contrasts and first != "ORIGINAL" else "NONE"
    return [first, "PRIMARY", flavours[0] if flavours else "VOLUME", contrast]


def component(image_type: Any, frame_type: Any) -> str:
    """Return ComplexImageComponent."""
    words = _words(image_type) or _words(frame_type)
    found = [_COMPONENTS[word] for word in words[2:] if word in _COMPONENTS]
    return found[0] if found else "MAGNITUDE"


def contrast(b_value: Any) -> str:
    """Return AcquisitionContrast."""
    return "UNKNOWN" if b_value is None else "DIFFUSION"


def directionality(b_value: Any, direction: Any, matrix: Any) -> str | None:
    """Return DiffusionDirectionality."""
    if b_value is None:
        return None
    if b_value == 0:
        return "NONE"
    if matrix is not None:
        return "BMATRIX"
    has_direction = isinstance(direction, list) and any(direction)
    return "DIRECTIONAL" if has_direction else "ISOTROPIC"
