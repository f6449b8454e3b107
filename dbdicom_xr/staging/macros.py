"""Where the attributes of frames belong in the functional groups, by the standard.

A table of the macros of enhanced images (PS3.3 C.7.6.16.2, C.8.13.5, C.8.15.3), by which an
attribute finds its place that no group holds yet.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from dbdicom_xr.index.columns import Key

__all__ = ["Path", "belongs_in_groups", "never_shared", "standard_places"]

Path = tuple[Key, ...]
"""The sequences that lead to an attribute, and itself."""

_MACROS: Final = {
    "CardiacSynchronizationSequence": (
        "NominalCardiacTriggerDelayTime", "ActualCardiacTriggerDelayTime", "CardiacCyclePosition",
    ),
    "FrameAnatomySequence": ("FrameLaterality",),
    "FrameContentSequence": (
        "FrameAcquisitionNumber", "FrameReferenceDateTime", "FrameAcquisitionDateTime",
        "FrameAcquisitionDuration", "CardiacCyclePosition", "RespiratoryCyclePosition",
        "TemporalPositionIndex", "StackID", "InStackPositionNumber", "FrameComments", "FrameLabel",
    ),
    "FrameVOILUTSequence": (
        "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction",
    ),
    "MRDiffusionSequence": ("DiffusionBValue", "DiffusionDirectionality"),
    "MRDiffusionSequence/DiffusionGradientDirectionSequence": ("DiffusionGradientOrientation",),
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRImagingModifierSequence": ("PixelBandwidth", "TransmitterFrequency"),
    "MRModifierSequence": ("InversionTimes",),
    "MRTimingAndRelatedParametersSequence": ("FlipAngle", "RepetitionTime", "EchoTrainLength"),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleIntercept", "RescaleSlope", "RescaleType"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "RealWorldValueMappingSequence": (
        "RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped",
        "DoubleFloatRealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueLastValueMapped",
        "RealWorldValueIntercept", "RealWorldValueSlope", "RealWorldValueLUTData",
    ),
}  # fmt: skip
# Each kind of image has its own macro for these: they go into the one that is there.
_FRAME_TYPES: Final = (
    "MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence",
    "MRSpectroscopyFrameTypeSequence", "XRay3DFrameTypeSequence", "USImageDescriptionSequence",
    "ParametricMapFrameTypeSequence",
)  # fmt: skip


def belongs_in_groups(key: Key) -> bool:
    """Return whether an attribute has a place in the functional groups, by the standard.

    Examples
    --------
    >>> belongs_in_groups(Key(0x00189087)), belongs_in_groups(Key(0x00100010))
    (True, False)
    """
    return bool(standard_places(key))


def standard_places(key: Key) -> tuple[Path, ...]:
    """Return where an attribute may stand: in one place, or in one of several macros, or nowhere.

    Examples
    --------
    >>> [[str(part) for part in path] for path in standard_places(Key(0x00189082))]
    [['(0018,9114)', '(0018,9082)']]
    """
    return _table().get(key, ())


@lru_cache(maxsize=1)
def never_shared() -> frozenset[Key]:
    """Return the macros that each frame has of its own (PS3.3 C.7.6.16.2.2)."""
    return frozenset([_key("FrameContentSequence")])


@lru_cache(maxsize=1)
def _table() -> dict[Key, tuple[Path, ...]]:
    places: dict[Key, tuple[Path, ...]] = {}
    for macro, keywords in _MACROS.items():
        sequences = tuple(_key(name) for name in macro.split("/"))
        for keyword in keywords:
            key = _key(keyword)
            places[key] = ((*sequences, key),)
    frame_type = _key("FrameType")
    places[frame_type] = tuple((_key(macro), frame_type) for macro in _FRAME_TYPES)
    return places


def _key(keyword: str) -> Key:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return Key(tag)
