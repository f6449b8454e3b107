"""What the pixels of an image are: a component of the complex signal, water or fat, a map.

The standard has ComplexImageComponent in enhanced images (PS3.3 C.8.13.3.1.1). In classic ones it
is left to value 3 and on of ImageType (PS3.3 C.8.3.1.1.1), which every vendor fills in his own way,
or to private elements.
"""

from __future__ import annotations

from typing import Any, Final

from dbdicom_xr.index.table import Table, Values
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.vendors.columns import (
    first_number,
    is_made_by,
    private,
    work_out,
)

__all__ = ["image_types", "is_told_by", "words_of"]

# Words of ImageType and FrameType from the third on, of all vendors.
_MAPS: Final = {
    "ADC": "ADC", "EADC": "EADC", "FA": "FA", "DIFFUSION_ANISO": "DIFFUSION_ANISO",
    "TRACEW": "TRACE", "TRACE": "TRACE", "TENSOR": "TENSOR", "TENSOR_B0": "TENSOR_B0",
    "FAT_FRACTION": "FAT_FRACTION", "WATER_FRACTION": "WATER_FRACTION",
    "PERFUSION_FFE": "PERFUSION",
}  # fmt: skip
_CHEMICAL: Final = {
    "WATER": "WATER", "FAT": "FAT",
    "IN_PHASE": "IN_PHASE", "IP": "IN_PHASE",
    "OUT_PHASE": "OUT_OF_PHASE", "OUT_OF_PHASE": "OUT_OF_PHASE", "OPP_PHASE": "OUT_OF_PHASE",
    "OPPOSED_PHASE": "OUT_OF_PHASE", "OP": "OUT_OF_PHASE",
}  # fmt: skip
_COMPONENTS: Final = {
    "MAG": "MAGNITUDE", "MAGNITUDE": "MAGNITUDE",
    "PHASE": "PHASE", "PHASE MAP": "PHASE", "VELOCITY MAP": "PHASE",
    "REAL": "REAL", "IMAGINARY": "IMAGINARY",
    **{
        f"{letter}_{sequence}": component
        for letter, component in zip(
            "MPRI", ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY"), strict=True
        )
        for sequence in ("FFE", "SE", "IR", "PCA", "B0", "B1", "TSE")
    },
}  # fmt: skip
# In images of other modalities a letter may mean anything.
_MR_CHEMICAL: Final = {"W": "WATER", "F": "FAT"}
_MR_COMPONENTS: Final = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}
_STANDARD: Final = frozenset(_MR_COMPONENTS.values())
_GE: Final[dict[float | None, str]] = {0: "MAGNITUDE", 1: "PHASE", 2: "REAL", 3: "IMAGINARY"}
# Philips (2005,xx11): the words of ImageType may be contrasts, these are not.
_PHILIPS: Final = {
    **_MR_CHEMICAL, **_MR_COMPONENTS, **_CHEMICAL,
    "T1": "T1_MAP", "T2": "T2_MAP", "T2_STAR": "T2_STAR_MAP", "R2": "R2_MAP",
    "R2_STAR": "R2_STAR_MAP", "B0": "B0_MAP", "B1": "B1_MAP",
    **{word: word for word in ("ADC", "EADC", "FA", "PERFUSION", "RCBF", "RCBV", "MTT", "TTP")},
}  # fmt: skip
_FAT_AND_WATER: Final = frozenset(_CHEMICAL.values())


def image_types(table: Table) -> Values | None:
    """Return for each frame what its pixels are, None where a series does not tell.

    Parameters
    ----------
    table : Table
    """
    columns = [
        parse_name("ComplexImageComponent").values(table),
        parse_name("ImageType").values(table),
        private(table, "GEMS_PARM_01", 0x0043102F, "GE"),
        private(table, "Philips MR Imaging DD 001", 0x20051011, "PHILIPS"),
    ]
    if all(column is None for column in columns):
        return None
    columns += [parse_name(keyword).values(table) for keyword in ("Modality", "Manufacturer")]
    return work_out(columns, len(table), _of_frame)


def _of_frame(
    component: Any, image_type: Any, ge: Any, philips: Any, modality: Any, maker: Any
) -> str | None:
    """Return what pixels are: a map, else water or fat, else a component of the complex signal."""
    is_mr = modality in (None, "MR")
    words = image_type[2:] if isinstance(image_type, list) else []
    words = [word for word in words if isinstance(word, str) and word]
    private_kind = _PHILIPS.get(philips.strip()) if isinstance(philips, str) else None
    maps = [kind for word in words if (kind := _map(word)) is not None]
    chemical = [_CHEMICAL[word] for word in words if word in _CHEMICAL]
    components = [_COMPONENTS[word] for word in words if word in _COMPONENTS]
    if is_mr:
        chemical += [_MR_CHEMICAL[word] for word in words if word in _MR_CHEMICAL]
        components += [_MR_COMPONENTS[word] for word in words if word in _MR_COMPONENTS]
    if private_kind is not None and private_kind not in _STANDARD | _FAT_AND_WATER:
        return private_kind
    if maps:
        return maps[0]
    if private_kind in _FAT_AND_WATER:
        return private_kind
    if chemical:
        return chemical[0]
    if component in _STANDARD:
        return str(component)
    if (number := first_number(ge)) in _GE:
        return _GE[number]
    if private_kind is not None:
        return private_kind
    if components:
        return components[0]
    if is_mr and (words == ["GDC"] or _is_siemens_contrast(words, maker)):
        return "MAGNITUDE"
    return words[0] if words else None


def _is_siemens_contrast(words: list[str], maker: Any) -> bool:
    """Return whether ImageType names the contrast of an ordinary image of Siemens.

    Enhanced images with these words say MAGNITUDE; those of phase have ``P`` in place of the
    contrast. So it is with ``GDC`` of Canon, which tells of a distortion correction.
    """
    return (
        is_made_by(maker, "SIEMENS")
        and words[0:1] in (["DIFFUSION"], ["PERFUSION"], ["ASL"])
        and words[1:2] == ["NONE"]
    )


def _map(word: str) -> str | None:
    if word.endswith(" MAP") and word not in _COMPONENTS:
        return word.replace(" ", "_")
    return _MAPS.get(word)


# -- the other way round -------------------------------------------------------------------------

_LETTERS: Final = {word: letter for letter, word in (_MR_COMPONENTS | _MR_CHEMICAL).items()}
_WORDS: Final = {"OUT_OF_PHASE": "OUT_PHASE", "IN_PHASE": "IN_PHASE", "PERFUSION": "PERFUSION_FFE"}


def words_of(old: list[str], kind: str, *, is_mr: bool, has_component: bool) -> list[str]:
    """Return the values of ImageType by which pixels are of a kind.

    Parameters
    ----------
    old : list of str
        What it is now; words that tell nothing of the pixels stay.
    kind : str
        As ``image_type`` has it.
    is_mr : bool
        Whether components and fat and water have their letters.
    has_component : bool
        Whether ComplexImageComponent tells of components, and ImageType need not.

    Examples
    --------
    >>> words_of(["ORIGINAL", "PRIMARY", "M", "ND"], "PHASE", is_mr=True, has_component=False)
    ['ORIGINAL', 'PRIMARY', 'P', 'ND']
    >>> words_of(["DERIVED", "PRIMARY", "ADC", "NONE"], "T1_MAP", is_mr=True, has_component=False)
    ['DERIVED', 'PRIMARY', 'T1 MAP', 'NONE']
    """
    head = [*old[:2], *("DERIVED", "PRIMARY")[len(old) :]]
    telling = {*_CHEMICAL, *_COMPONENTS, *(_LETTERS.values() if is_mr else ())}
    rest = [word for word in old[3:] if word not in telling and _map(word) is None]
    if has_component and kind in _STANDARD:
        third = old[2] if len(old) > 2 and _map(old[2]) is None else "OTHER"
        return [*head, "OTHER" if third in telling else third, *rest]
    word = _WORDS.get(kind, kind.replace("_", " ") if kind.endswith("_MAP") else kind)
    return [*head, _LETTERS.get(kind, word) if is_mr and not has_component else word, *rest]


def is_told_by(kind: str) -> str | None:
    """Return the word of Philips (2005,xx11) for a kind of pixels; None where it has none.

    Examples
    --------
    >>> is_told_by("PHASE"), is_told_by("T1_MAP"), is_told_by("OTHER")
    ('P', 'T1', None)
    """
    return next((word for word, found in _PHILIPS.items() if found == kind), None)
