"""What files of any encoding say, in the one in which new images are written.

Explicit VR little endian, text in UTF-8. Values stay as they stand: a value that breaks a rule of
its VR is carried along, not refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import External
from dbdicom_xr.index.values import AMBIGUOUS, TEXT, Kind, decode, known_vr
from dbdicom_xr.staging.charsets import UTF8
from dbdicom_xr.staging.convert import swapped, with_charset
from dbdicom_xr.staging.encode import Encoded, encode
from dbdicom_xr.staging.spans import EXPLICIT_FORM

__all__ = ["explicit"]

_PADDED_WITH_NULL: Final = frozenset(("UI", "OB", "UN"))
_UNDEFINED: Final = b"\xff\xff\xff\xff"
# Binary values of which the dictionary leaves the VR open.
_OPEN: Final = {"OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}


def explicit(key: Key, kind: Kind, values: Sequence[bytes | External]) -> list[Encoded | None]:
    r"""Return raw values of one attribute and encoding as new images hold them.

    Parameters
    ----------
    key : Key
    kind : Kind
        In which the values are.
    values : sequence of bytes or External

    Returns
    -------
    list of Encoded or None
        None for values that were left in the files because of their length, and sequences that
        cannot be read.

    Examples
    --------
    >>> explicit(Key(0x00100010), Kind("PN", charset=b"ISO_IR 100"), [b"M\xfcller"])
    [Encoded(kind=Kind(vr='PN', ..., charset=b'ISO_IR 192', signed=-1), value=b'M\xc3\xbcller ')]
    >>> explicit(Key(0x00280010), Kind("US", big_endian=True), [b"\x01\x00"])[0].value
    b'\x00\x01'
    """
    vr = _vr(key, kind)
    if vr in ("SQ", "UN"):
        return [
            None if isinstance(one, External) else _nested(key, kind, vr, one) for one in values
        ]
    plain = Kind(vr)
    result: list[Encoded | None] = []
    for raw in values:
        if isinstance(raw, External):
            result.append(None)
        elif vr in TEXT and (not raw.isascii() or b"\x1b" in raw):
            result.append(_text(key, kind, vr, raw))
        else:
            ordered = swapped(vr, raw) if kind.big_endian and len(raw) > 1 else raw
            result.append(Encoded(plain, _even(vr, ordered)))
    return result


def _vr(key: Key, kind: Kind) -> str:
    """Return the VR of values, that of the dictionary where the file tells none."""
    vr = kind.vr
    if vr in ("", "UN"):
        known = known_vr(key.dictionary_tag, key.creator)
        if known == AMBIGUOUS:
            return "SS" if kind.signed == 1 else "US"
        if known == "SQ" and vr == "UN":
            return "UN"  # in implicit VR inside
        vr = _OPEN.get(known, known) or "UN"
    return vr


def _even(vr: str, raw: bytes) -> bytes:
    if len(raw) % 2:
        return raw + (b"\0" if vr in _PADDED_WITH_NULL else b" ")
    return raw


def _text(key: Key, kind: Kind, vr: str, raw: bytes) -> Encoded:
    try:
        value = with_charset(key.tag, vr, raw, kind.charset, UTF8, EXPLICIT_FORM)
    except InvalidValue:
        # No text in its character set: what records show for it.
        shown = decode(key.dictionary_tag, key.creator, kind, raw, quiet=True)
        parts = shown if isinstance(shown, list) else [shown]
        value = "\\".join("" if part is None else str(part) for part in parts).encode("utf-8")
    return Encoded(Kind(vr, charset=UTF8), _even(vr, value))


def _nested(key: Key, kind: Kind, vr: str, raw: bytes) -> Encoded | None:
    if not raw:
        return Encoded(Kind(vr), b"")
    as_it_stands = kind.vr == "SQ" and not kind.implicit and not kind.big_endian
    if as_it_stands and _UNDEFINED not in raw:  # staged sequences tell their lengths
        for old, new in ((b"", b""), (kind.charset, UTF8)):
            try:
                value = with_charset(key.tag, vr, raw, old, new, EXPLICIT_FORM)
                return Encoded(Kind(vr, charset=new), value)
            except InvalidValue:
                continue
    try:
        value = decode(key.dictionary_tag, key.creator, kind, raw, quiet=True)
        if isinstance(value, bytes):
            return Encoded(Kind("UN"), _even("UN", value))
        encoded = encode(key.tag, [] if value is None else value, creator=key.creator, vr="SQ")
    except (InvalidValue, ValueError, KeyError, AttributeError, TypeError):
        return None
    return encoded
