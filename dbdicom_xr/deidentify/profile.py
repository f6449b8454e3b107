"""The table of PS3.15 Annex E (E.1-1, edition 2026c): what becomes of which attribute.

``table_e1_1.csv`` holds the table; this module reads it, and says what to do with an element under
the options that were chosen. What the table wants cleaned (C), as AE titles where devices are kept,
goes as by the Basic Profile, unless it is text that a function of the user cleans.

Attributes that the table does not name are kept, but for a few that are listed here, and for those
that can hold nothing else than identity or its traces: names of persons, addresses of networks,
UIDs of instances, dates, and elements that no dictionary knows.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from importlib.resources import files
from typing import Final, Literal

__all__ = ["Do", "Options", "Rule", "decide", "rules"]

Clean = Callable[[str, str], str | None]


class Do(Enum):
    """What becomes of an element."""

    KEEP = "keep"
    REMOVE = "remove"
    EMPTY = "empty"
    DUMMY = "dummy"
    UID = "uid"
    SHIFT = "shift"
    CLEAN = "clean"
    INSIDE = "inside"
    """A sequence that is kept, and whose items are treated like the data set."""


@dataclass(frozen=True)
class Options:
    """The options of the profile (PS3.15 E.3).

    Parameters
    ----------
    dates : {None, "full", "modified"}
        Keep dates and times; or keep times, and shift dates.
    uids, device, institution, patient : bool
        Keep UIDs; what identifies devices, institutions; characteristics of patients.
    safe_private : bool
        Keep the private attributes that are known to be safe.
    descriptors : callable, optional
        ``descriptors(keyword, text)`` gives the text without identity, None to take it out.
    structured : bool
        Keep the content of structured reports, without its free text.
    """

    dates: Literal["full", "modified"] | None = None
    uids: bool = False
    device: bool = False
    institution: bool = False
    patient: bool = False
    safe_private: bool = False
    descriptors: Clean | None = None
    structured: bool = False


@dataclass(frozen=True)
class Rule:
    """A row of the table."""

    action: str
    options: frozenset[str]


# Codes of PS3.15 table E.1-1 whose actions are alternatives: what the type of the attribute in the
# object asks for. Without the type, what is valid for each: a dummy where it may be type 1.
_ACTIONS: Final = {
    "X": Do.REMOVE, "Z": Do.EMPTY, "D": Do.DUMMY, "U": Do.UID, "X/Z": Do.EMPTY, "X/D": Do.DUMMY,
    "Z/D": Do.DUMMY, "X/Z/D": Do.DUMMY, "X/Z/U*": Do.INSIDE,
}  # fmt: skip

# What may be left out, and may not be empty (PS3.3 C.7.2.1), or may draw a name (C.10.5).
_STRICTER: Final = {0x00081110: Do.REMOVE, 0x00700001: Do.REMOVE}

_TEXT: Final = frozenset(("descriptors",))
_ALWAYS: Final = frozenset[str]()
# What the table does not name, though it tells as much as what it names.
_BESIDES: Final = {
    0x00100033: Rule("X", _ALWAYS),  # PatientBirthDateInAlternativeCalendar: the day of birth
    0x00100034: Rule("X", _ALWAYS),  # PatientDeathDateInAlternativeCalendar: the day of death
    0x00100035: Rule("X", _ALWAYS),  # PatientAlternativeCalendar: allowed only beside one of them
    0x00400400: Rule("X", _TEXT),  # CommentsOnTheScheduledProcedureStep: free text on the patient
    # PlacerOrderNumber and FillerOrderNumber, whose newer tags the table names: lead to the order.
    0x00401006: Rule("X", _ALWAYS),
    0x00401007: Rule("X", _ALWAYS),
    0x00402006: Rule("X", _ALWAYS),
    0x00402007: Rule("X", _ALWAYS),
    # TextValue: an answer in free text, in the context of images as in reports. A dummy, since
    # an item of type TEXT must have it (PS3.3 10.2).
    0x0040A160: Rule("D", _TEXT),
    0x0040A33A: Rule("X", _TEXT),  # ReportStatusCommentTrial: free text
    0x0040A492: Rule("X", _TEXT),  # CompletionFlagDescription: free text
    0x0040A992: Rule("X", _ALWAYS),  # UniformResourceLocatorTrial: an address, but of VR ST
    # HL7InstanceIdentifier: names one document of one hospital; type 1 where it refers to one.
    0x0040E001: Rule("X/D", _ALWAYS),
    0x00420010: Rule("Z", _TEXT),  # DocumentTitle: often holds the name; type 2 (PS3.3 C.24.2)
    0x00700068: Rule("X", _TEXT),  # GraphicLayerDescription: free text
    0x00700081: Rule("Z", _TEXT),  # ContentDescription: free text; type 2 (PS3.3 10.9)
    0x0074100C: Rule("X", _ALWAYS),  # ContactDisplayName: a person, but of VR LO
    0x21000160: Rule("X", _ALWAYS),  # OwnerID: who printed
    0x30040006: Rule("X", _TEXT),  # DoseComment: free text
    0x30080202: Rule("X", _TEXT),  # TreatmentStatusComment: free text
    0x300A0183: Rule("X", _TEXT),  # PatientSetupLabel: free text
    0x40101078: Rule("X", _TEXT),  # PTOLocationDescription: free text
}

# UIDs that name a kind of thing, the same in every hospital.
_OF_KINDS: Final = ("SOPClass", "TransferSyntax")
_KINDS: Final = frozenset(("CodingSchemeUID", "ContextUID", "MappingResourceUID"))
# Where codes come from: PS3.3 8.1, 8.2.
_LINKS: Final = frozenset(("CodingSchemeURL", "URNCodeValue"))
_ENCRYPTED: Final = 0x04000500  # the identity, for those who have the key


@lru_cache(maxsize=1)
def rules() -> dict[int, Rule]:
    """Return the table by tag.

    Examples
    --------
    >>> rules()[0x00100010].action, rules()[0x00080080].options
    ('Z', frozenset({'institution'}))
    """
    text = files("dbdicom_xr.deidentify").joinpath("table_e1_1.csv").read_text("ascii")
    return {
        int(row["tag"], 16): Rule(row["basic_profile"], frozenset(row["options"].split()))
        for row in csv.DictReader(text.splitlines())
    }


def decide(tag: int, vr: str, options: Options) -> Do:
    """Return what becomes of an element that is not private.

    Parameters
    ----------
    tag : int
    vr : str
        Its value representation, that of the dictionary where the file says ``UN``.
    options : Options

    Examples
    --------
    >>> decide(0x00080020, "DA", Options()), decide(0x00080020, "DA", Options("modified"))
    (<Do.EMPTY: 'empty'>, <Do.SHIFT: 'shift'>)
    """
    group = tag >> 16
    if not tag & 0xFFFF or group < 8 or 0x5000 <= group <= 0x50FF or 0x6000 <= group <= 0x60FF:
        return Do.REMOVE
    rule = rules().get(tag) or _BESIDES.get(tag)
    if rule is None:
        return _unnamed(tag, vr, options)
    whole = Do.INSIDE if vr == "SQ" else Do.KEEP
    named = rule.options
    if "dates" in named and options.dates is not None:
        if options.dates == "full":
            return Do.KEEP
        if vr in ("DA", "DT"):
            return Do.SHIFT
        if vr == "TM":
            return Do.KEEP
    if (
        ("device" in named and options.device)
        or ("institution" in named and options.institution)
        or ("patient" in named and options.patient)
    ):
        return whole
    if "uids" in named and options.uids:
        return whole
    if "structured" in named and options.structured:
        return whole
    if "descriptors" in named and options.descriptors is not None:
        return Do.INSIDE if vr == "SQ" else Do.CLEAN
    return _STRICTER.get(tag, _ACTIONS[rule.action])


def _unnamed(tag: int, vr: str, options: Options) -> Do:
    """Return what becomes of an element that the table does not name."""
    from pydicom.datadict import dictionary_has_tag, keyword_for_tag

    if not dictionary_has_tag(tag) or tag == _ENCRYPTED:
        return Do.REMOVE
    keyword = keyword_for_tag(tag)
    if vr == "SQ":
        return Do.INSIDE
    if vr == "UI":
        of_kind = keyword in _KINDS or any(part in keyword for part in _OF_KINDS)
        return Do.KEEP if (of_kind and "Instance" not in keyword) or options.uids else Do.UID
    if vr in ("DA", "DT"):
        return {None: Do.DUMMY, "full": Do.KEEP, "modified": Do.SHIFT}[options.dates]
    if vr == "TM":
        return Do.DUMMY if options.dates is None else Do.KEEP
    if vr == "PN":
        return Do.DUMMY
    if vr in ("AE", "UR") and keyword not in _LINKS:
        return Do.REMOVE
    return Do.KEEP
