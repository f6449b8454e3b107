"""Text in the character set of a file (PS3.3 C.12.1.1.2, PS3.5 6.1.2).

What is set is kept as ASCII or UTF-8. A file may have another character set, in which the text can
be written or not.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.values import TEXT, Kind, decode, without_warnings

__all__ = ["LONG", "UTF8", "header", "in_charset", "nested_in_charset"]

UTF8 = b"ISO_IR 192"

# Their explicit length has 32 bits (PS3.5 7.1.2).
LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))

_ITEM = struct.Struct("<HHI")
_DEFAULT = ("", "ISO_IR 6", "ISO 2022 IR 6")


def header(tag: int, vr: str, length: int) -> bytes:
    """Return what stands before a value in explicit VR little endian (PS3.5 7.1.2).

    Raises
    ------
    InvalidValue
        The length of the value has no place in it.
    """
    most = 2**32 - 2 if vr in LONG else 2**16 - 2
    if length > most:
        raise InvalidValue(f"{vr} holds at most {most} bytes, this has {length} (PS3.5 7.1.2).")
    front = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode("ascii")
    return front + struct.pack("<HI" if vr in LONG else "<H", *([0] * (vr in LONG)), length)


def in_charset(value: bytes, vr: str, charset: bytes) -> bytes:
    """Return UTF-8 text of a VR in a character set.

    Parameters
    ----------
    value : bytes
        Not nested.
    vr : str
        One of those that follow the character set.
    charset : bytes
        The raw value of SpecificCharacterSet.

    Raises
    ------
    InvalidValue
        It has characters that the character set has not.
    """
    terms = [term.strip(" \0") for term in charset.decode("ascii", "replace").split("\\")]
    if value.isascii() or terms[0] == "ISO_IR 192":
        return value
    text = value.decode("utf-8").rstrip(" \0")
    written = _written(text, vr, terms)
    if written is None:
        named = " and ".join(filter(None, terms)) or "ASCII"
        raise InvalidValue(
            f"{text[:64]!r} cannot be written in the character set of the file ({named}); "
            "SpecificCharacterSet = 'ISO_IR 192' (UTF-8) holds all characters."
        )
    return written + b" " * (len(written) % 2)


def _written(text: str, vr: str, terms: list[str]) -> bytes | None:
    from pydicom.charset import convert_encodings, encode_string, python_encoding
    from pydicom.valuerep import PersonName

    if any(term not in python_encoding for term in terms):
        return None
    with without_warnings():
        encodings = convert_encodings(terms)
        # The first character set comes back behind these (PS3.5 6.1.2.5.3).
        parts = re.split(r"([\\\t\n\f\r])", text)
        if vr == "PN":
            coded = [PersonName(part).encode(encodings) for part in parts]
        else:
            coded = [encode_string(part, encodings) if part else b"" for part in parts]
        written = b"".join(coded)
    # ASCII has no codes from 128 on; pydicom takes it for Latin-1.
    ascii_first = terms[0] in _DEFAULT
    for start, part in re.findall(rb"(^|\x1b\(B|\x1b)([^\x1b]*)", written):
        if not part.isascii() and (start == b"\x1b(B" or (ascii_first and not start)):
            return None
    # The judge is the reader, not the codec.
    single, name = Kind(vr, charset="\\".join(terms).encode("ascii")), 0x00081030
    back, wanted = (
        decode(name, "", single, written),
        decode(name, "", Kind(vr, charset=UTF8), text.encode()),
    )
    return written if back == wanted else None


def nested_in_charset(value: bytes, charset: bytes) -> bytes:
    """Return the value of a sequence with its text in a character set.

    Parameters
    ----------
    value : bytes
        Explicit VR little endian with defined lengths, as this package encodes it.
    charset : bytes

    Raises
    ------
    InvalidValue
        See :func:`in_charset`.
    """
    items = []
    place = 0
    while place < len(value):
        length = _ITEM.unpack_from(value, place)[2]
        item = b"".join(
            header(tag, vr, len(changed)) + changed
            for tag, vr, raw in _elements(value[place + 8 : place + 8 + length])
            for changed in [_changed(raw, vr, charset)]
        )
        items.append(_ITEM.pack(0xFFFE, 0xE000, len(item)) + item)
        place += 8 + length
    return b"".join(items)


def _changed(raw: bytes, vr: str, charset: bytes) -> bytes:
    if vr == "SQ":
        return nested_in_charset(raw, charset)
    return in_charset(raw, vr, charset) if vr in TEXT else raw


def _elements(item: bytes) -> Iterator[tuple[int, str, bytes]]:
    place = 0
    while place < len(item):
        group, element = struct.unpack_from("<HH", item, place)
        vr = item[place + 4 : place + 6].decode("ascii")
        start = place + (12 if vr in LONG else 8)
        (length,) = struct.unpack_from(
            "<I" if vr in LONG else "<H", item, start - (4 if vr in LONG else 2)
        )
        yield group << 16 | element, vr, item[start : start + length]
        place = start + length
