"""Private attributes that are known to hold no identity.

Those of PS3.15 table E.3.10-1 for MR, CT and PET, and numbers beside them without which images
cannot be read: the tiles of a mosaic, directions of diffusion.
"""

from __future__ import annotations

from typing import Final

__all__ = ["is_own", "is_safe"]

_SAFE: Final[dict[tuple[int, str], frozenset[int]]] = {
    (0x0019, "GEMS_ACQU_01"): frozenset((0x23, 0x24, 0x27, 0x9E, 0xBB, 0xBC, 0xBD)),
    (0x0019, "SIEMENS MR HEADER"): frozenset(
        (0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x16, 0x17, 0x18, 0x27, 0x28, 0x29)
    ),
    (0x0025, "GEMS_SERS_01"): frozenset((0x07,)),
    (0x0043, "GEMS_PARM_01"): frozenset((0x27, 0x2F, 0x39, 0x6F)),
    (0x0045, "GEMS_HELIOS_01"): frozenset((0x01, 0x02)),
    (0x00E1, "ELSCINT1"): frozenset((0x21,)),
    (0x01E1, "ELSCINT1"): frozenset((0x26,)),
    (0x01F1, "ELSCINT1"): frozenset((0x01, 0x07, 0x26, 0x27)),
    (0x0065, "Image Private Header"): frozenset((0x09, 0x37, 0x50, 0x51)),
    (0x0903, "GEIIS PACS"): frozenset((0x10, 0x11, 0x12)),
    (0x2001, "Philips Imaging DD 001"): frozenset((0x03, 0x04)),
    (0x2005, "Philips MR Imaging DD 001"): frozenset((0x0D, 0x0E, 0xB0, 0xB1, 0xB2)),
    (0x7053, "Philips PET Private Group"): frozenset((0x00, 0x09)),
}

# Of tiles of mosaics; its items are treated like the data set.
_SEQUENCES: Final = frozenset(((0x0065, "Image Private Header", 0x51),))

_OWN: Final = "DBDICOM_XR"
_MARKER: Final = (0x0099, 0x01)


def is_safe(creator: str, tag: int, vr: str) -> bool:
    """Return whether a private attribute is known to hold no identity.

    Examples
    --------
    >>> is_safe("SIEMENS MR HEADER", 0x0019100C, "IS"), is_safe("ACME", 0x0019100C, "IS")
    (True, False)
    """
    if (vr == "SQ") != ((tag >> 16, creator, tag & 0xFF) in _SEQUENCES):
        return False
    return (tag & 0xFF) in _SAFE.get((tag >> 16, creator), ())


def is_own(creator: str, tag: int, value: object) -> bool:
    """Return whether it says that padding stands for NaN, as this package writes it."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return (creator, (tag >> 16, tag & 0xFF)) == (_OWN, _MARKER) and text.strip(" \0") == "NAN"
