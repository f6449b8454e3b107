"""Computed Radiography images (PS3.3 A.2, C.8.1)."""

from __future__ import annotations

from typing import Any, Final

from dbdicom_xr.emit.elements import Elements, put_missing
from dbdicom_xr.emit.kinds.common import Kind, complete_image_type
from dbdicom_xr.pixels.quantise import Target

__all__ = ["CR", "complete", "neutral"]

CR: Final = Kind("cr", "CR", "1.2.840.10008.5.1.4.1.1.1", Target(bits=(8, 16)))
_IMAGE_TYPE: Final = ("DERIVED", "SECONDARY")
_EMPTY: Final = ("BodyPartExamined", "ViewPosition", "PatientOrientation", "Manufacturer")


def neutral() -> dict[str, Any]:
    """Return what a CR image says that no scanner made."""
    return {"ImageType": list(_IMAGE_TYPE), **dict.fromkeys(_EMPTY, "")}


def complete(elements: Elements, images: int, other_class: bool) -> None:
    """Fill in what the modules General Image (C.7.6.1) and CR Series (C.8.1.1) require.

    Parameters
    ----------
    elements : Elements
        Changed in place.
    images : int
    other_class : bool
        Whether they come from images of another class.
    """
    complete_image_type(elements, images, _IMAGE_TYPE)
    put_missing(elements, images, dict.fromkeys(_EMPTY, ""))
