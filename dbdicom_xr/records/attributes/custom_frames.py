"""Setting what vendors spell differently: in the standard's words, and in the vendor's own.

Private elements that say the same are set along, since programs of the vendor, and others, read
those first. Those that cannot be worked out are taken away rather than left to contradict.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.table import Table
from dbdicom_xr.records.attributes.lookup import Attribute, Written, parse_name, private_attribute
from dbdicom_xr.records.attributes.vendors.columns import unit_vector
from dbdicom_xr.records.attributes.vendors.diffusion import gradient_directions
from dbdicom_xr.records.attributes.vendors.image_type import is_told_by, words_of

__all__ = ["write_b_value", "write_direction", "write_echo", "write_image_type"]

Rows = npt.NDArray[np.intp]
Edits = dict[Attribute, list[Any]]

_B_VALUES: Final = (  # with the block that the maker uses
    ("SIEMENS MR HEADER", 0x0019100C), ("Philips Imaging DD 001", 0x20011003),
    ("Image Private Header", 0x00651009), ("MMCPrivate", 0x00291030),
)  # fmt: skip
_FRACTIONS: Final = _B_VALUES[1:3]  # FL and FD
_GE_B: Final = ("GEMS_PARM_01", 0x00431039)
_IN_PATIENT: Final = ("SIEMENS MR HEADER", 0x0019100E)
_PHILIPS: Final = tuple(("Philips MR Imaging DD 001", 0x200510B0 + i) for i in range(3))
# Along axes of the image, or of the sequence.
_ELSEWHERE: Final = (
    ("GEMS_ACQU_01", 0x001910BB), ("GEMS_ACQU_01", 0x001910BC), ("GEMS_ACQU_01", 0x001910BD),
    ("Image Private Header", 0x00651037),
)  # fmt: skip
_SIEMENS_KIND: Final = ("SIEMENS MR HEADER", 0x0019100D)
_GE_COMPONENT: Final = ("GEMS_PARM_01", 0x0043102F)
_PHILIPS_TYPE: Final = ("Philips MR Imaging DD 001", 0x20051011)
_COMPONENTS: Final = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")


def _private(
    table: Table, rows: Rows, place: tuple[str, int]
) -> tuple[Attribute, list[Any]] | None:
    """Return an element that frames have, and its values; None where none of them has it."""
    creator, tag = place
    for key in table.keys:
        if key.tag == tag & 0xFFFF00FF and key.creator.casefold() == creator.casefold():
            attribute = private_attribute(key.tag, key.creator)
            found = attribute.values(table)
            if found is not None and bool((found.codes[rows] >= 0).any()):
                return attribute, found.take(rows).as_objects().tolist()
    return None


def _set_along(
    edits: Edits, table: Table, rows: Rows, place: tuple[str, int], values: list[Any]
) -> None:
    """Set an element of a vendor in the frames that have it."""
    found = _private(table, rows, place)
    if found is not None:
        attribute, before = found
        edits[attribute] = [
            None if old is None else new for old, new in zip(before, values, strict=True)
        ]


# -- diffusion ---------------------------------------------------------------------------------


def write_b_value(table: Table, rows: Rows, values: list[Any]) -> Written:
    """Return what sets ``b_value``."""
    wanted = [_b_value(value) for value in values]
    edits: Edits = {parse_name("DiffusionBValue"): list(wanted)}
    # Most of these hold whole numbers, as text or not.
    rounded = [value if value is None else round(value) for value in wanted]
    for place in _B_VALUES:
        _set_along(edits, table, rows, place, wanted if place in _FRACTIONS else rounded)
    found = _private(table, rows, _GE_B)
    if found is not None:  # the first of several numbers
        edits[found[0]] = [
            None if old is None or new is None
            else [round(new), *old[1:]] if isinstance(old, list) else round(new)
            for old, new in zip(found[1], wanted, strict=True)
        ]  # fmt: skip
        # The length of these may scale the b-value down: they are told in the standard's way.
        told = gradient_directions(table)
        if told is not None and any(_private(table, rows, one) for one in _ELSEWHERE):
            own = told.take(rows).as_objects().tolist()
            edits[parse_name("DiffusionGradientOrientation")] = [
                before if before is not None or not new else direction
                for before, direction, new in zip(
                    _values(table, rows, "DiffusionGradientOrientation"), own, wanted, strict=True
                )
            ]
            for place in _ELSEWHERE:
                _set_along(edits, table, rows, place, [None] * len(rows))
    kinds = _values(table, rows, "DiffusionDirectionality")
    if any(kind is not None for kind in kinds) or not table.is_classic:
        directions = _values(table, rows, "gradient_direction")
        edits[parse_name("DiffusionDirectionality")] = [
            _directionality(kind, new, direction, required=not table.is_classic)
            for kind, new, direction in zip(kinds, wanted, directions, strict=True)
        ]
    return edits, wanted


def _directionality(kind: Any, b_value: float | None, direction: Any, *, required: bool) -> Any:
    """Return what DiffusionDirectionality is beside a b-value (PS3.3 C.8.13.5.9)."""
    if b_value is None or (kind is None and not required):
        return kind
    if b_value == 0:
        return "NONE"
    if kind in (None, "NONE"):
        return "ISOTROPIC" if direction is None else "DIRECTIONAL"
    return kind


def _b_value(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise InvalidValue(f"b_value is {value!r}; it is a number, in s/mm2.")
    if not (math.isfinite(value) and value >= 0):
        raise InvalidValue(f"b_value is {value!r}; it is 0 or more, in s/mm2.")
    return float(value)


def write_direction(table: Table, rows: Rows, values: list[Any]) -> Written:
    """Return what sets ``gradient_direction``: vectors in the patient, of any length."""
    wanted = [None if value is None else _direction(value) for value in values]
    b_values = _values(table, rows, "b_value")
    for b_value, direction in zip(b_values, wanted, strict=True):
        if direction is not None and not b_value:
            raise InvalidValue(
                f"gradient_direction cannot be set where b_value is {b_value}: there is no "
                "gradient. Set b_value first."
            )
    edits: Edits = {parse_name("DiffusionGradientOrientation"): list(wanted)}
    _set_along(edits, table, rows, _IN_PATIENT, wanted)
    for i, place in enumerate(_PHILIPS):
        part = [None if value is None else value[i] for value in wanted]
        _set_along(edits, table, rows, place, part)
    if any(_private(table, rows, one) is not None for one in _ELSEWHERE):
        # Vectors whose length scales the b-value may go with them.
        edits[parse_name("DiffusionBValue")] = b_values
        for place in _ELSEWHERE:
            _set_along(edits, table, rows, place, [None] * len(rows))
    kinds = [
        "DIRECTIONAL" if direction is not None else "ISOTROPIC" if b_value else "NONE"
        for b_value, direction in zip(b_values, wanted, strict=True)
    ]
    before = _values(table, rows, "DiffusionDirectionality")
    if any(kind is not None for kind in before) or not table.is_classic:
        edits[parse_name("DiffusionDirectionality")] = list(kinds)
    _set_along(edits, table, rows, _SIEMENS_KIND, kinds)
    return edits, wanted


def _direction(value: Any) -> list[float]:
    parts = list(value) if isinstance(value, (list, tuple, np.ndarray)) else []
    numbers = [float(part) for part in parts if isinstance(part, (int, float, np.number))]
    direction = unit_vector(numbers) if len(numbers) == len(parts) else None
    if direction is None:
        raise InvalidValue(
            f"gradient_direction is {value!r}; it is three numbers, a vector in the patient "
            "(left, posterior, superior) that is not 0."
        )
    return direction


def _values(table: Table, rows: Rows, name: str) -> list[Any]:
    found = parse_name(name).values(table)
    return [None] * len(rows) if found is None else found.take(rows).as_objects().tolist()


# -- echo --------------------------------------------------------------------------------------


def write_echo(table: Table, rows: Rows, values: list[Any]) -> Written:
    """Return what sets ``echo``: it has to go with the echo times."""
    for value in values:
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and not (whole and value >= 1):
            raise InvalidValue(f"echo is {value!r}; it is a whole number from 1.")
    if not table.is_classic:
        raise InvalidValue(
            "echo cannot be set here: multi-frame images have no number for it, and it is the rank "
            "of EffectiveEchoTime. Set EchoTime."
        )
    wanted = [None if value is None else int(value) for value in values]
    return {parse_name("EchoNumbers"): list(wanted)}, wanted


# -- image type --------------------------------------------------------------------------------


def write_image_type(table: Table, rows: Rows, values: list[Any]) -> Written:
    """Return what sets ``image_type``."""
    wanted = [None if value is None else _kind(value) for value in values]
    if None in wanted:
        raise InvalidValue(
            "image_type cannot be None: ImageType has a third value in any image that has a type. "
            "Set another, or record.ImageType."
        )
    kinds = [str(kind) for kind in wanted]
    is_mr = [value in (None, "MR") for value in _values(table, rows, "Modality")]
    before = _values(table, rows, "ImageType")
    components = _values(table, rows, "ComplexImageComponent")
    edits: Edits = {}
    if any(value is not None for value in components):
        edits[parse_name("ComplexImageComponent")] = [
            old if old is None else kind if kind in _COMPONENTS else "MIXED" if old == "MIXED"
            else old
            for old, kind in zip(components, kinds, strict=True)
        ]  # fmt: skip
    has_component = [value is not None for value in components]
    edits[parse_name("ImageType")] = [
        words_of(old if isinstance(old, list) else [], kind, is_mr=mr, has_component=has)
        for old, kind, mr, has in zip(before, kinds, is_mr, has_component, strict=True)
    ]
    numbers = [_COMPONENTS.index(kind) if kind in _COMPONENTS else None for kind in kinds]
    _set_along(edits, table, rows, _GE_COMPONENT, numbers)
    _set_along(edits, table, rows, _PHILIPS_TYPE, [is_told_by(kind) for kind in kinds])
    return edits, kinds


def _kind(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z0-9_ ]{1,16}", value.strip().upper()):
        raise InvalidValue(
            f"image_type is {value!r}; it is a word of up to 16 capitals, digits and underscores, "
            "such as 'PHASE' or 'T1_MAP'."
        )
    return value.strip().upper()
