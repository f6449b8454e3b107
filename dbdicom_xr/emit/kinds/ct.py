"""CT images (PS3.3 A.3, C.8.2.1)."""

from __future__ import annotations

from typing import Any, Final

from dbdicom_xr.emit.elements import Elements, lookup, put_missing
from dbdicom_xr.emit.kinds.common import (
    Kind,
    complete_image_type,
    complete_patient_position,
    complete_plane,
)
from dbdicom_xr.pixels.quantise import Target

__all__ = ["CT", "FAMILY", "complete", "neutral", "rescale_type_of"]

FAMILY: Final = frozenset(
    (
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced
    )
)

CT: Final = Kind(
    "ct",
    "CT",
    "1.2.840.10008.5.1.4.1.1.2",
    Target(bits=(16,)),
    rescale_type="HU",
    rescales=True,
)
_IMAGE_TYPE: Final = ("DERIVED", "SECONDARY", "AXIAL")
_PLANES: Final = ("AXIAL", "LOCALIZER")


def neutral() -> dict[str, Any]:
    """Return what a CT image says that no scanner made."""
    return {
        "ImageType": list(_IMAGE_TYPE),
        "KVP": "",
        "AcquisitionNumber": "",
    }


def complete(elements: Elements, images: int, other_class: bool) -> None:
    """Fill in what the modules Image Plane and CT Image require.

    Parameters
    ----------
    elements : Elements
        Changed in place.
    images : int
    other_class : bool
        Whether they come from images of another class, whose ImageType goes by other rules.
    """
    complete_plane(elements, images)
    complete_patient_position(elements, images)
    complete_image_type(elements, images, _IMAGE_TYPE, _with_plane if other_class else list)
    put_missing(elements, images, dict.fromkeys(("KVP", "AcquisitionNumber"), ""))


def _with_plane(words: list[str]) -> list[str]:
    """Return ImageType with AXIAL or LOCALIZER as its third value (PS3.3 C.8.2.1.1.1).

    What enhanced images have there (VOLUME, ANGIO, ...) goes behind it.
    """
    if words[2] in _PLANES:
        return words
    return [*words[:2], "AXIAL", *[word for word in words[2:] if word not in ("OTHER", "")]]


def rescale_type_of(elements: Elements) -> str:
    """Return RescaleType of images computed from these.

    Their own, where they agree; US, which is unspecified, where they do not. A CT image without
    RescaleType is in Hounsfield units (PS3.3 C.8.2.1).
    """
    values = lookup(elements, "RescaleType") or ["HU"]
    types = {value or "HU" for value in values if not isinstance(value, list)}
    return types.pop() if len(types) == 1 else "US"
