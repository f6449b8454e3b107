"""What the pixels may show: overlays hidden in unused bits, and text burned into the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["UNCOMPRESSED", "clear_unused_bits", "may_show_text"]

_POSITION: Final = 0x0102  # OverlayBitPosition
UNCOMPRESSED: Final = frozenset(
    ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
)

# Ultrasound, screenshots and photographs, film, and paper.
_MODALITIES: Final = frozenset((
    "US", "IVUS", "BDUS", "SC", "OT", "XC", "ES", "GM", "SM", "DOC", "HC", "DG", "ECG", "EPS", "OP",
    "OPT", "OPV", "OCT", "DMS", "DSS", "RF", "XA",
))  # fmt: skip
_CLASSES: Final = (
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture, all kinds
    "1.2.840.10008.5.1.4.1.1.3.1",  # Ultrasound
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.77",  # visible light
    "1.2.840.10008.5.1.4.1.1.104",  # encapsulated documents
)
_OF_SCREENS: Final = ("SCREEN", "CAPTURE", "REPORT", "PROTOCOL", "CSA REPORT", "DOSE")


def may_show_text(burned_in: Any, modality: Any, sop_class: Any, image_type: Any) -> str | None:
    """Return why the pixels of an image may show who the patient is; None where nothing says so.

    Parameters
    ----------
    burned_in, modality, sop_class, image_type : Any
        BurnedInAnnotation, Modality, SOPClassUID and ImageType.

    Examples
    --------
    >>> may_show_text("YES", "MR", "", None), may_show_text(None, "US", "", None)
    ('BurnedInAnnotation is YES', 'Modality is US')
    >>> may_show_text("NO", "US", "", None)
    """
    said = str(burned_in or "").strip().upper()
    if said == "YES":
        return "BurnedInAnnotation is YES"
    if said == "NO":
        return None
    if str(modality or "").strip().upper() in _MODALITIES:
        return f"Modality is {modality}"
    uid = str(sop_class or "")
    if any(uid == one or uid.startswith(f"{one}.") for one in _CLASSES):
        return "they are captured images or documents"
    types = [image_type] if isinstance(image_type, str) else list(image_type or ())
    for one in types:
        if any(word in str(one).upper() for word in _OF_SCREENS):
            return f"ImageType has {one}"
    return None


def clear_unused_bits(dataset: Dataset) -> None:
    """Clear the bits of the pixels beside those of the image, where an overlay uses them.

    So overlays were kept up to 2004 (PS3.5 8.1.2 of that time); the elements that describe them are
    taken out with the rest.
    """
    positions = [
        tag for tag in list(dataset.keys())
        if 0x6000 <= tag.group <= 0x60FF and tag.element == _POSITION and dataset[tag].value
    ]  # fmt: skip
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", "")
    if not positions or "PixelData" not in dataset or (syntax and syntax not in UNCOMPRESSED):
        return
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = int(dataset.get("HighBit", stored - 1))
    if allocated not in (8, 16, 32) or stored >= allocated:
        return
    import numpy as np

    order = "<" if dataset.original_encoding[1] is not False else ">"
    values = np.frombuffer(dataset.PixelData, f"{order}u{allocated // 8}")
    mask = ((1 << stored) - 1) << (high + 1 - stored)
    cleared = values & np.array(mask, values.dtype)
    if int(dataset.get("PixelRepresentation", 0)) and high + 1 == stored:
        # The sign goes on in the bits above, as many writers have it.
        negative = (cleared >> (stored - 1)) & 1 == 1
        above = np.array(((1 << allocated) - 1) & ~mask, values.dtype)
        cleared = np.where(negative, cleared | above, cleared).astype(values.dtype)
    dataset.PixelData = cleared.tobytes()
