"""Diffusion weighting of each frame: the b-value, and the direction of the gradient in the patient.

The standard has both in the MR Diffusion macro (PS3.3 C.8.13.5.9), and some vendors use its
attributes in classic images too. Others keep them in private elements, in one of three frames of
reference: the patient (Siemens, Philips), the image (UIH), or the logical axes frequency, phase
and slice (GE).
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, NamedTuple

import numpy as np

from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.table import Table, Values
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.vendors.columns import (
    first_number,
    is_made_by,
    private,
    unit_vector,
    work_out,
)
from dbdicom_xr.records.attributes.vendors.csa import csa_diffusion

__all__ = ["Diffusion", "b_values", "gradient_directions"]

# GE adds this to the private b-value of images with several b-values, and of synthetic ones.
_GE_BIAS: Final = 1_000_000_000
# GE axes (frequency, phase, slice) along (row, column, normal) of the image, by the plane that the
# image is nearest to. With phase along the columns:
_GE_SIGNS: Final = {
    "sagittal": (1.0, 1.0, -1.0),
    "coronal": (-1.0, 1.0, 1.0),
    "axial": (-1.0, -1.0, 1.0),
}
_PLANES: Final = ("sagittal", "coronal", "axial")
_CANON: Final = ("CANON", "TOSHIBA")
_CANON_COMMENT: Final = re.compile(r"b=(\d+(?:\.\d+)?)\s*\(")
_UNDIRECTED: Final = frozenset(("NONE", "ISOTROPIC"))
_CSA: Final = Key(0x00290010, "SIEMENS CSA HEADER")

# Elements by which vendors tell of diffusion.
_PRIVATE: Final = {
    "ge_b": ("GEMS_PARM_01", 0x00431039, "GE"),
    "ge_x": ("GEMS_ACQU_01", 0x001910BB, "GE"),
    "ge_y": ("GEMS_ACQU_01", 0x001910BC, "GE"),
    "ge_z": ("GEMS_ACQU_01", 0x001910BD, "GE"),
    "siemens_b": ("SIEMENS MR HEADER", 0x0019100C, "SIEMENS"),
    "siemens_kind": ("SIEMENS MR HEADER", 0x0019100D, "SIEMENS"),
    "siemens_direction": ("SIEMENS MR HEADER", 0x0019100E, "SIEMENS"),
    "philips_b": ("Philips Imaging DD 001", 0x20011003, "PHILIPS"),
    "philips_x": ("Philips MR Imaging DD 001", 0x200510B0, "PHILIPS"),
    "philips_y": ("Philips MR Imaging DD 001", 0x200510B1, "PHILIPS"),
    "philips_z": ("Philips MR Imaging DD 001", 0x200510B2, "PHILIPS"),
    "uih_b": ("Image Private Header", 0x00651009, "UIH"),
    "uih_direction": ("Image Private Header", 0x00651037, "UIH"),
    "hitachi_b": ("MMCPrivate", 0x00291030, "HITACHI"),
}
_STANDARD: Final = {
    "b": "DiffusionBValue",
    "direction": "DiffusionGradientOrientation",
    "kind": "DiffusionDirectionality",
}
# Asked for only where a vendor needs them.
_COMPANIONS: Final = {
    "maker": "Manufacturer",
    "orientation": "ImageOrientationPatient",
    "phase": "InPlanePhaseEncodingDirection",
    "image_type": "ImageType",
    "comment": "ImageComments",
}


class Diffusion(NamedTuple):
    """The diffusion weighting of a frame.

    Parameters
    ----------
    b_value : float or None
        In s/mm2.
    direction : list of float or None
        Unit vector in the patient (LPS).
    """

    b_value: float | None = None
    direction: list[float] | None = None


def b_values(table: Table) -> Values | None:
    """Return the b-value of each frame in s/mm2, None where a series does not tell.

    Parameters
    ----------
    table : Table
    """
    found = _diffusion(table)
    if found is None:
        return None
    return Values([value.b_value for value in found.distinct], found.codes)


def gradient_directions(table: Table) -> Values | None:
    """Return the direction of the diffusion gradient of each frame, a unit vector in the patient.

    None for b = 0, for isotropic (trace) images, and where a vendor does not tell enough.

    Parameters
    ----------
    table : Table
    """
    found = _diffusion(table)
    if found is None:
        return None
    return Values([value.direction for value in found.distinct], found.codes)


def _diffusion(table: Table) -> Values | None:
    columns: dict[str, Values | None] = {}
    for name, keyword in _STANDARD.items():
        columns[name] = parse_name(keyword).values(table)
    for name, element in _PRIVATE.items():
        columns[name] = private(table, *element)
    comments = _canon_comments(table, columns)
    if all(column is None for column in columns.values()) and comments is None:
        return _from_csa(table)
    for name, keyword in _COMPANIONS.items():
        columns[name] = parse_name(keyword).values(table)
    columns["comment"] = comments
    names = [name for name, column in columns.items() if column is not None]

    def read(*values: Any) -> Diffusion:
        return _of_frame(dict(zip(names, values, strict=True)))

    result = work_out([columns[name] for name in names], len(table), read)
    assert result is not None
    _fill_unweighted(result, columns)
    return result


def _canon_comments(table: Table, columns: dict[str, Values | None]) -> Values | None:
    """Return ImageComments where they hold what no attribute does."""
    if columns["direction"] is not None:
        return None
    maker = parse_name("Manufacturer").values(table)
    if maker is None or not any(is_made_by(value, *_CANON) for value in maker.distinct):
        return None
    return parse_name("ImageComments").values(table)


def _of_frame(of: dict[str, Any]) -> Diffusion:
    """Return the diffusion weighting from the values that a frame has."""
    logical = [first_number(of.get(name)) for name in ("ge_x", "ge_y", "ge_z")]
    b_value = _ge_b_value(first_number(of.get("b")), first_number(of.get("ge_b")), logical)
    for name in ("siemens_b", "philips_b", "uih_b", "hitachi_b"):
        if b_value is None:
            b_value = first_number(of.get(name))
    if b_value is None and is_made_by(of.get("maker"), *_CANON):
        match = _CANON_COMMENT.search(str(of.get("comment") or ""))
        b_value = float(match[1]) if match else None
    if b_value is None or b_value < 0:
        return Diffusion()
    kinds = {str(of.get(name) or "").strip() for name in ("kind", "siemens_kind")}
    if b_value == 0 or kinds & _UNDIRECTED:
        return Diffusion(b_value)
    direction = unit_vector(of.get("direction"))
    if direction is None:
        direction = unit_vector(of.get("siemens_direction"))
    if direction is None:
        direction = unit_vector([of.get(name) for name in ("philips_x", "philips_y", "philips_z")])
    if direction is None:
        axes = _axes(of.get("orientation"))
        direction = _in_patient(unit_vector(of.get("uih_direction")), axes)
        if direction is None:
            along = _ge_along_axes(unit_vector(logical), axes, str(of.get("phase") or ""))
            direction = _in_patient(along, axes)
    return Diffusion(b_value, direction)


def _ge_b_value(
    standard: float | None, own: float | None, logical: list[float | None]
) -> float | None:
    """Return the b-value of an image of GE.

    Where directions of several b-values are acquired together, all images tell the largest, and
    the length of the direction tells how much of it was applied: b goes with its square. The
    scanner applies multiples of 5.
    """
    b_value = standard if standard is not None else None if own is None else own % _GE_BIAS
    if b_value is None or any(part is None for part in logical):
        return b_value
    length = float(np.linalg.norm(np.array(logical, np.float64)))
    # Other lengths are unit vectors as they were rounded, or b = 0.
    if b_value > 0 and 0.03 < length < 0.97:
        return max(5.0, 5.0 * math.floor(b_value * length**2 / 5.0 + 0.5))
    return b_value


Axes = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def _axes(orientation: Any) -> Axes | None:
    """Return the directions of row, column and normal in the patient, shape (3, 3)."""
    if not isinstance(orientation, list) or len(orientation) != 6:
        return None
    row, column = unit_vector(orientation[:3]), unit_vector(orientation[3:])
    if row is None or column is None:
        return None
    return np.array([row, column, np.cross(row, column)])


def _in_patient(direction: list[float] | None, axes: Axes | None) -> list[float] | None:
    """Return a vector along row, column and normal as one in the patient.

    Rounded to 1e-6, since orientations of slices of GE differ by 1e-8, and one gradient has one
    direction.
    """
    if direction is None or axes is None:
        return None
    vector = unit_vector((np.array(direction) @ axes).tolist())
    return None if vector is None else [round(part, 6) + 0.0 for part in vector]


def _ge_along_axes(
    logical: list[float] | None, axes: Axes | None, phase: str
) -> list[float] | None:
    """Return a vector along GE's frequency, phase and slice as one along row, column and normal.

    The signs are those that give the gradient tables of dcm2niix, to which GE contributed them
    (rordenlab/dcm2niix, issue 970). Without the phase encoding direction nothing can be said.
    """
    if logical is None or axes is None or phase not in ("ROW", "COL"):
        return None
    plane = _PLANES[int(np.argmax(np.abs(axes[2])))]
    frequency, phase_part, through = (
        sign * part for sign, part in zip(_GE_SIGNS[plane], logical, strict=True)
    )
    if phase == "COL":
        return [frequency, phase_part, through]
    return [phase_part, -frequency, through]


def _fill_unweighted(result: Values, columns: dict[str, Values | None]) -> None:
    """Give b = 0 to original images of Canon (Toshiba) that tell no b-value beside others that do.

    These scanners write it only where a diffusion gradient is applied.
    """
    maker, image_type = columns["maker"], columns["image_type"]
    if maker is None or image_type is None or columns["b"] is None:
        return
    weighted = [(value.b_value or 0.0) > 0 for value in result.distinct]
    if not any(weighted):
        return
    for code, value in enumerate(result.distinct):
        if value.b_value is None:
            row = int(np.argmax(result.codes == code))
            words = image_type.of(row)
            original = isinstance(words, list) and words[:1] == ["ORIGINAL"]
            if original and is_made_by(maker.of(row), *_CANON):
                result.distinct[code] = Diffusion(0.0)


def _from_csa(table: Table) -> Values | None:
    """Return what stands in the CSA headers, where the elements made of them are absent.

    Since 2005 or so, images with a diffusion gradient have them as elements of
    ``SIEMENS MR HEADER`` too; where there are any of these but no b-value, there is none.
    """
    if any(key.tag >> 16 == 0x0019 and key.creator == "SIEMENS MR HEADER" for key in table.keys):
        return None
    if _CSA not in table.keys:
        return None
    found = work_out([table.values(_CSA)], len(table), _of_csa)
    if found is None or all(value.b_value is None for value in found.distinct):
        return None
    return found


def _of_csa(raw: Any) -> Diffusion:
    csa = csa_diffusion(raw)
    if not csa.b_value or csa.b_value < 0 or csa.directionality in _UNDIRECTED:
        return Diffusion(csa.b_value)
    return Diffusion(csa.b_value, unit_vector(csa.direction))
