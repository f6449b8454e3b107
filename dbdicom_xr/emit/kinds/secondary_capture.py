"""Secondary Capture images, for what no other kind can hold (PS3.3 A.8.1, C.8.6)."""

from __future__ import annotations

from typing import Any, Final

from dbdicom_xr.emit.elements import Elements, put_missing
from dbdicom_xr.emit.kinds.common import Kind, complete_image_type
from dbdicom_xr.pixels.quantise import Target

__all__ = ["COLOUR", "GREY", "complete", "neutral"]

_SOP_CLASS: Final = "1.2.840.10008.5.1.4.1.1.7"

GREY: Final = Kind("sc", "OT", _SOP_CLASS, Target(bits=(8, 16)))
COLOUR: Final = Kind(
    "sc", "OT", _SOP_CLASS, Target(bits=(8,), signed=False, intercept=False), colour=True
)
_IMAGE_TYPE: Final = ("DERIVED", "SECONDARY")


def neutral() -> dict[str, Any]:
    """Return what an image says that comes from a computer (WSD: workstation)."""
    return {
        "ImageType": list(_IMAGE_TYPE),
        "ConversionType": "WSD",
    }


def complete(elements: Elements, images: int, other_class: bool) -> None:
    """Fill in what the modules General Image (C.7.6.1) and SC Equipment (C.8.6.1) require.

    Where the image lies in the patient stays, though the IOD does not ask for it.

    Parameters
    ----------
    elements : Elements
        Changed in place.
    images : int
    other_class : bool
        Whether they come from images of another class.
    """
    complete_image_type(elements, images, _IMAGE_TYPE)
    # PatientOrientation is Type 2C: where the IOD does not ask for ImageOrientationPatient.
    put_missing(elements, images, {"ConversionType": "WSD", "PatientOrientation": ""})
