"""The custom attributes that come with the package."""

from __future__ import annotations

from typing import Any, Final

from dbdicom_xr.records.attributes import add_custom

__all__: list[str] = []

# Words of ImageType and FrameType, by GE, Philips, Siemens and others (PS3.3 C.8.3.1.1.1 leaves
# value 4 and on to them).
_WORDS: Final = {
    "WATER": "WATER", "W": "WATER", "FAT": "FAT", "F": "FAT",
    "IN_PHASE": "IN_PHASE", "IP": "IN_PHASE",
    "OUT_PHASE": "OPPOSED_PHASE", "OPP_PHASE": "OPPOSED_PHASE", "OP": "OPPOSED_PHASE",
    "M": "MAGNITUDE", "M_FFE": "MAGNITUDE", "M_SE": "MAGNITUDE", "M_IR": "MAGNITUDE",
    "MAG": "MAGNITUDE", "MAGNITUDE": "MAGNITUDE",
    "P": "PHASE", "P_FFE": "PHASE", "P_SE": "PHASE", "P_IR": "PHASE",
    "PHASE": "PHASE", "PHASE MAP": "PHASE", "VELOCITY MAP": "PHASE",
    "R": "REAL", "R_FFE": "REAL", "R_SE": "REAL", "R_IR": "REAL", "REAL": "REAL",
    "I": "IMAGINARY", "I_FFE": "IMAGINARY", "I_SE": "IMAGINARY", "I_IR": "IMAGINARY",
    "IMAGINARY": "IMAGINARY",
}  # fmt: skip
_CHEMICAL: Final = frozenset(("WATER", "FAT", "IN_PHASE", "OPPOSED_PHASE"))
_COMPONENTS: Final = frozenset(("MAGNITUDE", "PHASE", "REAL", "IMAGINARY"))
_GE: Final = {0: "MAGNITUDE", 1: "PHASE", 2: "REAL", 3: "IMAGINARY"}


def _image_type(component: Any, image_type: Any, ge: Any) -> str | None:
    words = image_type if isinstance(image_type, list) else []
    known = [_WORDS[word] for word in words[2:] if isinstance(word, str) and word in _WORDS]
    for word in known:
        if word in _CHEMICAL:
            return word
    if component in _COMPONENTS:
        return str(component)
    if ge in _GE:
        return _GE[ge]
    if known:
        return known[0]
    return str(words[2]) if len(words) > 2 and words[2] else None


def _window(centre: Any, width: Any) -> list[float] | None:
    first = [value[0] if isinstance(value, list) and value else value for value in (centre, width)]
    if not all(isinstance(value, (int, float)) for value in first):
        return None
    return [float(value) for value in first]


add_custom(
    "image_type",
    _image_type,
    ["ComplexImageComponent", "ImageType", ("GEMS_PARM_01", 0x0043102F)],
    "MAGNITUDE, PHASE, REAL, IMAGINARY, WATER, FAT... whichever vendor",
)
add_custom(
    "window",
    _window,
    ["WindowCenter", "WindowWidth"],
    "centre and width of the first window",
)
