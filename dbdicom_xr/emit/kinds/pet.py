"""PET images (PS3.3 A.21, C.8.9)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import numpy as np

from dbdicom_xr.emit.elements import Elements, key_of, lookup, per_image, put_missing, without
from dbdicom_xr.emit.kinds.common import (
    Kind,
    absent,
    complete_image_type,
    complete_plane,
    first_of,
    put_per_image,
)
from dbdicom_xr.pixels.quantise import Target

__all__ = ["FAMILY", "PET", "complete", "neutral"]

FAMILY: Final = frozenset(
    (
        "1.2.840.10008.5.1.4.1.1.128",
        "1.2.840.10008.5.1.4.1.1.130",  # Enhanced
        "1.2.840.10008.5.1.4.1.1.128.1",  # Legacy Converted Enhanced
    )
)

PET: Final = Kind(
    "pet",
    "PT",
    "1.2.840.10008.5.1.4.1.1.128",
    Target(bits=(16,), intercept=False),
    rescales=True,
)
_IMAGE_TYPE: Final = ("DERIVED", "PRIMARY")
# The words of the standard that claim least: a static image, not corrected, without units.
_SERIES: Final[dict[str, Any]] = {
    "Units": "NONE",
    "CountsSource": "EMISSION",
    "SeriesType": ["STATIC", "IMAGE"],
    "DecayCorrection": "NONE",
}
_EMPTY: Final = (
    "CollimatorType", "CorrectedImage", "AcquisitionDate", "AcquisitionTime",
    "ActualFrameDuration",
)  # fmt: skip
_ORIENTATION: Final = ("PatientOrientationCodeSequence", "PatientGantryRelationshipCodeSequence")
# Context groups 20 and 21 (PS3.16), by the letters of PatientPosition (PS3.3 C.7.3.1.1.2).
_LYING: Final = {
    "S": ("40199007", "supine"), "P": ("1240000", "prone"),
    "DR": ("102535000", "right lateral decubitus"), "DL": ("102536004", "left lateral decubitus"),
}  # fmt: skip
_GANTRY: Final = {"HF": ("102540008", "headfirst"), "FF": ("102541007", "feet-first")}
_MOST: Final = 0xFFFF  # that US holds
_RECUMBENT: Final = ("102538003", "recumbent")
# Type 1C, by the first value of SeriesType (PS3.3 C.8.9.1, C.8.9.4).
_BY_TYPE: Final[dict[str, dict[str, Any]]] = {
    "DYNAMIC": {"NumberOfTimeSlices": 1},
    "GATED": {
        "NumberOfRRIntervals": 1, "NumberOfTimeSlots": 1, "TriggerTime": 0.0, "FrameTime": 0.0,
        "BeatRejectionFlag": "",
    },
}  # fmt: skip


def neutral() -> dict[str, Any]:
    """Return what a PET image says that no scanner made."""
    return {
        "ImageType": list(_IMAGE_TYPE),
        **_SERIES,
        **dict.fromkeys(_EMPTY, ""),
        "RadiopharmaceuticalInformationSequence": [],
        **{keyword: [] for keyword in _ORIENTATION},
        "FrameReferenceTime": 0.0,
    }


def complete(elements: Elements, images: int, other_class: bool) -> None:
    """Fill in what the modules of PET require.

    PET Series (C.8.9.1), PET Isotope (C.8.9.2), PET Multi-Gated Acquisition (C.8.9.3), PET Image
    (C.8.9.4), NM/PET Patient Orientation (C.8.4.6), Image Plane (C.7.6.2).

    Parameters
    ----------
    elements : Elements
        Changed in place.
    images : int
    other_class : bool
        Whether they come from images of another class.
    """
    complete_plane(elements, images)
    complete_image_type(elements, images, _IMAGE_TYPE)
    put_missing(elements, images, _SERIES)
    put_missing(elements, images, dict.fromkeys(_EMPTY, ""))
    put_missing(elements, images, {"RadiopharmaceuticalInformationSequence": []})
    _orient(elements, images, other_class)
    _date_series(elements, images)
    places = len(elements[key_of("ImagePositionPatient")].values)
    number = min(places, _MOST)
    put_missing(elements, images, {"FrameReferenceTime": 0.0, "NumberOfSlices": number})
    if absent(elements, images, "ImageIndex").any():
        indices = [image % _MOST + 1 for image in range(images)]
        put_per_image(elements, images, "ImageIndex", indices)
    _complete_conditional(elements, images)


def _orient(elements: Elements, images: int, other_class: bool) -> None:
    """Say with codes how the patient lies, since PatientPosition may not stand beside them."""
    positions = [str(one or "") for one in lookup(elements, "PatientPosition") or [""] * images]
    if not other_class and any(positions):
        return  # as its scanner wrote it
    if key_of(_ORIENTATION[0]) not in elements:
        known = {position: _oriented(position) for position in set(positions)}
        for place, keyword in enumerate(_ORIENTATION):
            # The same list for all that agree, so that it is encoded once.
            values = [known[position][place] for position in positions]
            elements[key_of(keyword)] = per_image(keyword, values)
    put_missing(elements, images, {keyword: [] for keyword in _ORIENTATION})
    without(elements, ["PatientPosition"])


def _oriented(position: str) -> tuple[list[Any], list[Any]]:
    """Return the items of the two sequences; none for what is not known."""
    gantry, lying = _GANTRY.get(position[:2]), _LYING.get(position[2:])
    if gantry is None or lying is None:
        return [], []
    modifier = {"PatientOrientationModifierCodeSequence": [_code(*lying)]}
    return [{**_code(*_RECUMBENT), **modifier}], [_code(*gantry)]


def _code(value: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": "SCT", "CodeMeaning": meaning}


def _date_series(elements: Elements, images: int) -> None:
    """Fill in when the series began (Type 1), as far as the images tell, else now."""
    now = datetime.now()
    for what, text in (("Date", now.strftime("%Y%m%d")), ("Time", now.strftime("%H%M%S"))):
        if absent(elements, images, f"Series{what}").any():
            known = [f"{stage}{what}" for stage in ("Acquisition", "Content", "Study")]
            values = first_of(elements, known, images, text)
            # One series has one beginning.
            put_missing(elements, images, {f"Series{what}": min(map(str, values))})


def _complete_conditional(elements: Elements, images: int) -> None:
    """Fill in what the type of series and its corrections ask for, where images lack it."""
    types = [
        value[0] if isinstance(value, list) else value
        for value in lookup(elements, "SeriesType") or []
    ]
    for name, wanted in _BY_TYPE.items():
        needed = np.array([one == name for one in types])
        if needed.any():
            for keyword, value in wanted.items():
                put_per_image(
                    elements, images, keyword, [value if one else None for one in needed.tolist()]
                )
    corrected = [value != "NONE" for value in lookup(elements, "DecayCorrection") or []]
    if any(corrected):
        factors = [1.0 if one else None for one in corrected]
        put_per_image(elements, images, "DecayFactor", factors)
