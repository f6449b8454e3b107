"""Kinds of objects that images are written as, and what each kind requires of them.

A module per kind. Each knows the modules of its IOD (PS3.3 annex A), and fills in what images lack
with values that claim nothing. What images say of their pixels is set when those are written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from dbdicom_xr.emit.elements import Elements, put
from dbdicom_xr.emit.kinds import computed_radiography, ct, mr, pet, secondary_capture
from dbdicom_xr.emit.kinds.common import Kind, complete_shared, set_class
from dbdicom_xr.emit.kinds.ct import rescale_type_of
from dbdicom_xr.errors import InvalidValue

__all__ = ["KINDS", "Kind", "complete", "kind_for", "kind_named", "rescale_type", "template"]

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {"mri": mr.MR, "ct": ct.CT, "pet": pet.PET, "sc": secondary_capture.GREY}
)
"""The kinds that can be made from nothing, by name."""


class _Modules(NamedTuple):
    """What a kind requires beyond what all images do."""

    neutral: Callable[[], dict[str, Any]]
    complete: Callable[[Elements, int, bool], None]


_MODULES: Final = {
    "mri": _Modules(mr.neutral, mr.complete),
    "ct": _Modules(ct.neutral, ct.complete),
    "pet": _Modules(pet.neutral, pet.complete),
    "sc": _Modules(secondary_capture.neutral, secondary_capture.complete),
    "cr": _Modules(computed_radiography.neutral, computed_radiography.complete),
}

_PARAMETRIC_MAP: Final = "1.2.840.10008.5.1.4.1.1.30"


def kind_named(name: str) -> Kind:
    """Return the kind of a name.

    Raises
    ------
    InvalidValue
        There is none.

    Examples
    --------
    >>> kind_named("mri").modality
    'MR'
    """
    kind = KINDS.get(name)
    if kind is None:
        raise InvalidValue(
            f"dtype={name!r} is no kind of image. These are: {', '.join(map(repr, KINDS))}."
        )
    return kind


def kind_for(sop_class: str, modality: str, *, colour: bool) -> Kind:
    """Return the kind of images that are derived from such ones.

    Classic, enhanced and legacy-converted images of MR, CT and PET become classic images of the
    same modality, CR stays CR. All others, and colour, become Secondary Capture of the same
    Modality: their IODs prescribe how pixels are stored and acquired, and numbers that were
    computed do not keep to it.

    Parameters
    ----------
    sop_class : str
        SOPClassUID of the sources, "" where they have none.
    modality : str
    colour : bool
        Whether the new images are RGB.

    Examples
    --------
    >>> kind_for("1.2.840.10008.5.1.4.1.1.4.1", "MR", colour=False).name
    'mri'
    >>> kind = kind_for("1.2.840.10008.5.1.4.1.1.6.1", "US", colour=True)
    >>> kind.name, kind.modality, kind.colour
    ('sc', 'US', True)
    """
    if colour:
        return dataclasses.replace(
            secondary_capture.COLOUR, modality=modality or secondary_capture.COLOUR.modality
        )
    # A map in floating point has no modules of its modality; of MR images none of them claims much.
    nameless = sop_class == "" or (sop_class == _PARAMETRIC_MAP and modality == "MR")
    for family, kind in ((mr.FAMILY, mr.MR), (ct.FAMILY, ct.CT), (pet.FAMILY, pet.PET)):
        if sop_class in family or (nameless and modality == kind.modality):
            return kind
    if sop_class == computed_radiography.CR.sop_class:
        return computed_radiography.CR
    return dataclasses.replace(
        secondary_capture.GREY, modality=modality or secondary_capture.GREY.modality
    )


def template(kind: Kind, images: int) -> Elements:
    """Return what images of a kind say that come from no scanner and of no patient.

    Without patient, study and series, which are those of the place that they are put in, and
    without their place in space: :func:`complete` fills in what nobody else did.

    Parameters
    ----------
    kind : Kind
    images : int
        Number of rows.

    Examples
    --------
    >>> from dbdicom_xr.emit.elements import lookup
    >>> lookup(template(kind_named("mri"), 2), "ScanningSequence")
    ['RM', 'RM']
    """
    elements: Elements = {}
    shared = {"SOPClassUID": kind.sop_class, "Modality": kind.modality}
    shared |= dict.fromkeys(("Manufacturer", "Laterality"), "")
    put(elements, images, {**shared, **_MODULES[kind.name].neutral()})
    return elements


def complete(kind: Kind, elements: Elements, images: int) -> None:
    """Make images valid ones of a kind, apart from their identifiers and pixels.

    What the IOD requires and an image lacks is filled in: empty where that is allowed (Type 2),
    else with a value that claims nothing (Type 1). What cannot stand in it is taken out: the frames
    and macros of enhanced objects, tables for other pixels. All else stays as it is.

    Parameters
    ----------
    kind : Kind
    elements : Elements
        Changed in place. Identifiers of study, series and instance are for the caller to give.
    images : int
        Number of rows.

    Examples
    --------
    >>> from dbdicom_xr.emit.elements import key_of, lookup
    >>> elements = template(kind_named("ct"), 2)
    >>> complete(kind_named("ct"), elements, 2)
    >>> lookup(elements, "ImagePositionPatient")
    [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    >>> lookup(elements, "PatientName")
    [None, None]
    """
    other_class = set_class(kind, elements, images)
    if other_class and kind.name != "sc":
        put(elements, images, {"Modality": kind.modality})
    complete_shared(kind, elements, images, other_class)
    _MODULES[kind.name].complete(elements, images, other_class)


def rescale_type(kind: Kind, elements: Elements) -> str:
    """Return what RescaleType says in images computed from these, "" where it is not needed.

    Examples
    --------
    >>> rescale_type(kind_named("ct"), {}), rescale_type(kind_named("mri"), {})
    ('HU', '')
    """
    if kind.name == "ct":
        return rescale_type_of(elements)
    return kind.rescale_type or ""
