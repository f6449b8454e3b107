"""What frames of enhanced objects say, under the keywords of classic images.

Enhanced objects say of each frame what classic ones say of each file, partly under other keywords,
in other units or words (PS3.3 C.8.13 against C.8.3.1, C.8.15.3 against C.8.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from dbdicom_xr.emit.elements import key_of
from dbdicom_xr.index.columns import Key

__all__ = ["SPELLINGS", "Spelling", "stays"]


@dataclass(frozen=True)
class Spelling:
    """How a classic image says what the frame of an enhanced one says.

    Parameters
    ----------
    keyword : str
        Of classic images.
    enhanced : str
        Keyword of enhanced objects.
    read : callable
        The value there to the classic one, None where it has no such form.
    """

    keyword: str
    enhanced: str
    read: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _single(value: Any) -> Any:
    """Return a value that classic images have only one of."""
    return None if isinstance(value, list) else value


def _whole(value: Any) -> Any:
    return round(value) if isinstance(value, (int, float)) else None


def _date(value: Any) -> str | None:
    return _cut(value)[:8] or None


def _time(value: Any) -> str | None:
    return _cut(value)[8:] or None


def _cut(value: Any) -> str:
    """Return a date and time without its offset from UTC."""
    return re.sub(r"[+-]\d{4}$", "", value) if isinstance(value, str) else ""


def _phase_direction(value: Any) -> str | None:
    return {"ROW": "ROW", "COLUMN": "COL", "COL": "COL"}.get(str(value))


def _laterality(value: Any) -> str | None:
    return value if value in ("R", "L", "B", "U") else None


SPELLINGS: Final = (
    Spelling("AcquisitionDate", "FrameAcquisitionDateTime", _date),
    Spelling("AcquisitionTime", "FrameAcquisitionDateTime", _time),
    Spelling("AcquisitionDateTime", "FrameAcquisitionDateTime", _single),
    Spelling("AcquisitionNumber", "FrameAcquisitionNumber", _single),
    Spelling("ImageComments", "FrameComments", _single),
    Spelling("ImageLaterality", "FrameLaterality", _laterality),
    Spelling("ImageType", "FrameType", _same),
    Spelling("TemporalPositionIdentifier", "TemporalPositionIndex", _single),
    Spelling("TriggerTime", "NominalCardiacTriggerDelayTime", _single),
    # MR
    Spelling("EchoTime", "EffectiveEchoTime", _single),
    Spelling("ImagedNucleus", "ResonantNucleus", _single),
    Spelling("ImagingFrequency", "TransmitterFrequency", _single),
    Spelling("InPlanePhaseEncodingDirection", "InPlanePhaseEncodingDirection", _phase_direction),
    Spelling("InversionTime", "InversionTimes", _single),
    Spelling("NumberOfPhaseEncodingSteps", "MRAcquisitionPhaseEncodingStepsInPlane", _single),
    Spelling("SAR", "SpecificAbsorptionRateValue", _single),
    Spelling("SequenceName", "PulseSequenceName", lambda value: _single(value) and value[:16]),
    # CT
    Spelling("Exposure", "ExposureInmAs", _whole),
    Spelling("ExposureTime", "ExposureTimeInms", _whole),
    Spelling("XRayTubeCurrent", "XRayTubeCurrentInmA", _whole),
)
"""Attributes that both say under one keyword have none."""

# Of the sequences in functional groups: those that classic images have too. What single items of
# the others say stands beside them.
_SEQUENCES: Final = frozenset(
    map(
        key_of,
        (
            "AnatomicRegionSequence",
            "PrimaryAnatomicStructureSequence",
            "ReferencedImageSequence",
        ),
    )
)


@lru_cache(maxsize=1)
def _replaced() -> frozenset[Key]:
    return frozenset(
        key_of(spelling.enhanced) for spelling in SPELLINGS if spelling.enhanced != spelling.keyword
    ) | {key_of("FrameReferenceDateTime")}


def stays(key: Key, is_sequence: bool) -> bool:
    """Return whether an attribute of frames stands in classic images as it is.

    Examples
    --------
    >>> stays(key_of("DiffusionBValue"), False), stays(key_of("EffectiveEchoTime"), False)
    (True, False)
    >>> stays(key_of("MREchoSequence"), True), stays(key_of("AnatomicRegionSequence"), True)
    (False, True)
    """
    return key in _SEQUENCES if is_sequence else key not in _replaced()
