"""MR images (PS3.3 A.4, C.8.3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from dbdicom_xr.emit.elements import Elements, lookup, put_missing
from dbdicom_xr.emit.kinds.common import (
    Kind,
    absent,
    complete_image_type,
    complete_patient_position,
    complete_plane,
    put_per_image,
)
from dbdicom_xr.pixels.quantise import Target

__all__ = ["FAMILY", "MR", "complete", "neutral"]

FAMILY: Final = frozenset(
    (
        "1.2.840.10008.5.1.4.1.1.4",
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced
        "1.2.840.10008.5.1.4.1.1.4.3",  # Enhanced Color
        "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced
    )
)

MR: Final = Kind("mri", "MR", "1.2.840.10008.5.1.4.1.1.4", Target(bits=(16,)))
_IMAGE_TYPE: Final = ("DERIVED", "SECONDARY", "OTHER")


def neutral() -> dict[str, Any]:
    """Return what an MR image says that no scanner made.

    RM, the research mode, is the ScanningSequence that names no sequence (PS3.3 C.8.3.1.1.2).
    """
    return {
        "ImageType": list(_IMAGE_TYPE),
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "",
        "RepetitionTime": "",
        "EchoTime": "",
        "EchoTrainLength": "",
    }


def complete(elements: Elements, images: int, other_class: bool) -> None:
    """Fill in what the modules Image Plane and MR Image require.

    Parameters
    ----------
    elements : Elements
        Changed in place.
    images : int
    other_class : bool
        Whether they come from images of another class.
    """
    complete_plane(elements, images)
    complete_patient_position(elements, images)
    complete_image_type(elements, images, _IMAGE_TYPE)
    if other_class:
        _from_enhanced(elements, images)
    put_missing(elements, images, {"ScanningSequence": "RM", "SequenceVariant": "NONE"})
    empty = ("ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength")
    put_missing(elements, images, dict.fromkeys(empty, ""))
    sequences, variants = (
        [set(_listed(value)) for value in lookup(elements, keyword) or []]
        for keyword in ("ScanningSequence", "SequenceVariant")
    )
    # Type 2C (PS3.3 C.8.3.1).
    wanted = {
        "RepetitionTime": [
            not ("EP" in sequence and "SK" not in variant)
            for sequence, variant in zip(sequences, variants, strict=True)
        ],
        "InversionTime": ["IR" in sequence for sequence in sequences],
    }
    for keyword, needed in wanted.items():
        put_per_image(elements, images, keyword, ["" if one else None for one in needed])


def _from_enhanced(elements: Elements, images: int) -> None:
    """Say in the words of classic images what enhanced ones say of their sequence.

    PS3.3 C.8.13.4 (MR Pulse Sequence), C.8.13.5 (macros of MR Timing, MR Modifier), beside
    C.8.3.1.1.2 on.
    """
    if absent(elements, images, "ScanningSequence").any():
        said = _columns(
            elements, images, "EchoPulseSequence", "InversionRecovery", "EchoPlanarPulseSequence"
        )
        put_per_image(elements, images, "ScanningSequence", _once(said, _scanning_sequence))
    if absent(elements, images, "SequenceVariant").any():
        said = _columns(
            elements,
            images,
            "SegmentedKSpaceTraversal",
            "MagnetizationTransfer",
            "SteadyStatePulseSequence",
            "Spoiling",
            "OversamplingPhase",
        )
        put_per_image(elements, images, "SequenceVariant", _once(said, _sequence_variant))
    if absent(elements, images, "EchoTrainLength").any():
        said = _columns(elements, images, "RFEchoTrainLength", "GradientEchoTrainLength")
        put_per_image(elements, images, "EchoTrainLength", _once(said, _echo_train_length))


def _columns(elements: Elements, images: int, *keywords: str) -> list[tuple[Any, ...]]:
    """Return for each image what it says, None where it says several things at once."""
    columns = []
    for keyword in keywords:
        values = lookup(elements, keyword) or [None] * images
        columns.append([None if isinstance(value, list) else value for value in values])
    return list(zip(*columns, strict=True))


def _once(said: list[tuple[Any, ...]], rule: Callable[..., Any]) -> list[Any]:
    """Return what a rule makes of each image, worked out once for those that agree."""
    known = {one: rule(*one) for one in set(said)}
    return [known[one] for one in said]


def _scanning_sequence(echo: Any, inversion: Any, planar: Any) -> list[str] | None:
    words = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}.get(echo, [])
    words = [*words, *["IR"] * (inversion == "YES"), *["EP"] * (planar == "YES")]
    return words or None


def _sequence_variant(
    segmented: Any, transfer: Any, steady: Any, spoiling: Any, oversampling: Any
) -> list[str] | None:
    words = []
    if segmented in ("PARTIAL", "FULL"):
        words.append("SK")
    if transfer in ("ON_RESONANCE", "OFF_RESONANCE"):
        words.append("MTC")
    if steady not in (None, "NONE"):
        words.append("TRSS" if steady == "TIME_REVERSED" else "SS")
    if spoiling not in (None, "NONE"):
        words.append("SP")
    if oversampling == "2D":
        words.append("OSP")
    return words or None


def _echo_train_length(spin: Any, gradient: Any) -> Any:
    return spin or gradient or None


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
