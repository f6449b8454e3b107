"""Text of DICOM: one Python value as the text of one value, by its VR (PS3.5 6.2, table 6.2-1).

Each rule raises ``InvalidValue`` with the rule alone; :mod:`dbdicom_xr.staging.element` adds the
attribute and the value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.values import TEXT
from dbdicom_xr.staging.dates import dicom_date, dicom_datetime, dicom_time
from dbdicom_xr.staging.numbers import decimal, integer, kind_of
from dbdicom_xr.staging.terms import way_out

__all__ = ["BY_TEXT", "PARAGRAPHS", "as_found", "code_string"]

# PS3.5 6.2; of PN per component group.
_MOST = {"AE": 16, "CS": 16, "LO": 64, "LT": 10240, "PN": 64, "SH": 16, "ST": 1024, "UI": 64}

PARAGRAPHS = frozenset(("LT", "ST", "UT", "UR"))
"""One text, in which a backslash does not separate values."""


def text(value: Any, vr: str) -> str:
    """Return text of a VR that has the character set of the file."""
    result = _clean(value, vr)
    if len(result) > _MOST.get(vr, len(result)):
        raise _too_long(vr, len(result))
    return result


def _clean(value: Any, vr: str) -> str:
    result = _string(value, vr)
    if not (result.isascii() and result.isprintable()):
        # LF, FF, CR and TAB shape paragraphs; ESC switches character sets (PS3.5 6.1.3).
        allowed = "\t\n\f\r" if vr in ("LT", "ST", "UT") else ""
        for character in result:
            if character not in allowed and unicodedata.category(character) in ("Cc", "Cs"):
                raise InvalidValue(
                    f"{vr} holds no control characters, this has {character!r} (PS3.5 6.1.3); "
                    "take it out."
                )
    return result.rstrip(" ")


def _string(value: Any, vr: str) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        raise InvalidValue(f"{vr} is text, this is bytes (PS3.5 6.2); decode them first.")
    raise InvalidValue(
        f"{vr} is text, this is {kind_of(value)} (PS3.5 6.2); write it in quotes: "
        f"{_shown(str(value))}."
    )


def _shown(written: str) -> str:
    return repr(written if len(written) <= 64 else written[:61] + "...")


def _too_long(vr: str, length: int) -> InvalidValue:
    return InvalidValue(
        f"{vr} holds at most {_MOST[vr]} characters, this has {length} (PS3.5 6.2); shorten it."
    )


def person_name(value: Any) -> str:
    """Return a name: up to 3 groups divided by ``=``, of up to 5 components divided by ``^``."""
    if not isinstance(value, str) and type(value).__name__ == "PersonName":
        value = str(value)
    result = _clean(value, "PN").rstrip(" =")
    groups = result.split("=")
    if len(groups) > 3:
        raise InvalidValue(
            f"a name has at most 3 groups divided by '=' (alphabetic, ideographic, phonetic), this "
            f"has {len(groups)} (PS3.5 6.2.1)."
        )
    for group in groups:
        if group.count("^") > 4:
            raise InvalidValue(
                "a name has at most 5 components divided by '^' (family, given, middle, prefix, "
                f"suffix), this has {group.count('^') + 1} (PS3.5 6.2.1)."
            )
        if len(group) > _MOST["PN"]:
            raise _too_long("PN", len(group))
    return result


_CODE = re.compile(r"[A-Z0-9_ ]*")


def code_string(value: Any, tag: int = 0) -> str:
    """Return a code string: it is refused, not converted, where it is in lower case.

    With the tag the message tells the values that the standard lists for the attribute.
    """
    result = _string(value, "CS").rstrip(" ")
    if len(result) > _MOST["CS"]:
        raise _too_long("CS", len(result))
    if not _CODE.fullmatch(result):
        upper = result.upper()
        hint = way_out(upper if _CODE.fullmatch(upper) else "", tag)
        raise InvalidValue(
            f"CS holds upper case letters, digits, blanks and underscores only (PS3.5 6.2); {hint}."
        )
    return result


def title(value: Any) -> str:
    """Return the title of an application entity."""
    result = _string(value, "AE").strip(" ")
    if len(result) > _MOST["AE"]:
        raise _too_long("AE", len(result))
    if not (result.isascii() and result.isprintable()):
        raise InvalidValue("AE holds printable ASCII characters only (PS3.5 6.2).")
    return result


_AGE = re.compile(r"([0-9]{1,3})([DWMY])")


def age(value: Any) -> str:
    """Return an age: three digits, and D, W, M or Y."""
    match = _AGE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise InvalidValue(
            "AS is three digits and D, W, M or Y for days, weeks, months or years (PS3.5 6.2); "
            "write '045Y'."
        )
    return match[1].zfill(3) + match[2]


_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")


def uid(value: Any) -> str:
    """Return a unique identifier."""
    result = _string(value, "UI").rstrip(" \0")
    if len(result) > _MOST["UI"]:
        raise _too_long("UI", len(result))
    if result and not _UID.fullmatch(result):
        raise InvalidValue(
            "UI is numbers without leading zeros, divided by dots (PS3.5 9.1), as "
            "'1.2.840.10008.1.2.1'."
        )
    return result


_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*")


def address(value: Any) -> str:
    """Return a URI or URL."""
    result = _string(value, "UR").rstrip(" ")
    if not _URI.fullmatch(result):
        raise InvalidValue(
            "UR holds the characters of a web address only, neither blanks, backslashes nor "
            "accents (PS3.5 6.2, RFC 3986); write those percent encoded: '%20'."
        )
    return result


def as_found(vr: str) -> Callable[[Any], str]:
    """Return the rule for text that a file already had: what can be written stays as it is."""
    strict = BY_TEXT[vr]

    def rule(value: Any) -> str:
        if vr in ("DS", "IS") or not (isinstance(value, str) or vr == "PN"):
            return strict(value)
        result = str(value).rstrip(" \0")
        if vr not in TEXT and not result.isascii():
            raise InvalidValue(f"{vr} is ASCII (PS3.5 6.2).")
        if any("\ud800" <= character <= "\udfff" for character in result):
            raise InvalidValue("it holds characters that could not be decoded.")
        return result

    return rule


def _in_vr(vr: str) -> Callable[[Any], str]:
    return lambda value: text(value, vr)


def _time_rule(rule: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "" if isinstance(value, str) and not value.strip() else rule(value)


BY_TEXT: dict[str, Callable[[Any], str]] = {
    "AE": title, "AS": age, "CS": code_string, "DS": decimal, "IS": integer, "PN": person_name,
    "DA": _time_rule(dicom_date), "DT": _time_rule(dicom_datetime), "TM": _time_rule(dicom_time),
    "UI": uid, "UR": address,
    **{vr: _in_vr(vr) for vr in ("LO", "LT", "SH", "ST", "UC", "UT")},
}  # fmt: skip
"""Of the VRs that are written as text, how one value is."""
