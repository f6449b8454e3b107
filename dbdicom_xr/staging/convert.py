"""From explicit VR little endian, in which edits are kept, to the encoding of a file.

Owns the bytes of an element in any of the encodings of PS3.5 7.1, the byte order of values, and
the way of text from one character set to another, inside sequences too. Nothing is guessed: text
that a character set cannot hold, or bytes that are not text in it, raise.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Container
from functools import lru_cache
from struct import Struct, pack
from struct import error as StructError
from typing import Final

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.elements import LONG_VRS, UNDEFINED, Malformed, Source, Unusual
from dbdicom_xr.index.nested import ITEM, item, item_end
from dbdicom_xr.index.values import TEXT, Kind, decode, known_vr, without_warnings
from dbdicom_xr.staging.charsets import in_charset
from dbdicom_xr.staging.spans import EXPLICIT_FORM, Form, Layout, Patch, Span, lay_out, patched

__all__ = [
    "charset_patches",
    "creator_text",
    "creators",
    "decoded",
    "deflated",
    "element",
    "encoded",
    "lengths",
    "name_of",
    "same_charset",
    "swapped",
    "undefined",
    "with_charset",
    "with_form",
]

CHARSET: Final = 0x00080005

_WIDTHS: Final = {
    "AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4,
    "FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8,
}  # fmt: skip
_LONGEST: Final = 65534


def name_of(tag: int) -> str:
    """Return a tag as people write it.

    Examples
    --------
    >>> name_of(0x00080018)
    '(0008,0018)'
    """
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x})"


# -- elements ------------------------------------------------------------------------------------


def element(tag: int, vr: str, value: bytes, form: Form) -> bytes:
    r"""Return the bytes of an element; the value is in the encoding already.

    Raises
    ------
    InvalidValue
        The value is longer than its VR can be in explicit VR (PS3.5 7.1.2).

    Examples
    --------
    >>> element(0x00080060, "CS", b"MR", EXPLICIT_FORM)
    b'\x08\x00`\x00CS\x02\x00MR'
    """
    order = ">" if form.big else "<"
    group, number = tag >> 16, tag & 0xFFFF
    if form.implicit:
        return pack(order + "HHI", group, number, len(value)) + value
    code = vr.encode("ascii")
    if code in LONG_VRS:
        return pack(order + "HH2sHI", group, number, code, 0, len(value)) + value
    if len(value) > _LONGEST:
        raise InvalidValue(
            f"{name_of(tag)} would get {len(value)} bytes, and VR {vr} holds {_LONGEST} at most"
        )
    return pack(order + "HH2sH", group, number, code, len(value)) + value


def swapped(vr: str, value: bytes) -> bytes:
    r"""Return a value in the other byte order.

    Examples
    --------
    >>> swapped("US", b"\x01\x00\x02\x00"), swapped("CS", b"MR")
    (b'\x00\x01\x00\x02', b'MR')
    """
    width = _WIDTHS.get(vr, 1)
    if width == 1:
        return value
    if len(value) % width:
        raise InvalidValue(f"{len(value)} bytes are no whole number of values of VR {vr}")
    result = bytearray(len(value))
    for i in range(width):
        result[i::width] = value[width - 1 - i :: width]
    return bytes(result)


def lengths(data: Source, layout: Layout, form: Form, patches: list[Patch]) -> list[Patch]:
    """Return patches for the group lengths (PS3.5 7.2) of the groups whose size changes."""
    grown: dict[int, int] = {}
    for start, end, tag, new in patches:
        grown[tag >> 16] = grown.get(tag >> 16, 0) + len(new) - (end - start)
    replaced = {start for start, end, _, _ in patches if end > start}
    result: list[Patch] = []
    for tag, _, start, value, end in layout.spans:
        group = tag >> 16
        if tag & 0xFFFF or not grown.get(group) or end - value != 4 or start in replaced:
            continue
        size = sum(e - s for t, _, s, _, e in layout.spans if t >> 16 == group and t & 0xFFFF)
        new = pack(">I" if form.big else "<I", (size + grown[group]) & 0xFFFFFFFF)
        if new != data.read(4, value):
            result.append((value, end, tag, new))
    return result


def deflated(data: bytes) -> bytes:
    """Return a data set deflated (PS3.5 A.5), padded to an even length."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = deflater.compress(data) + deflater.flush()
    return body + bytes(len(body) & 1)


# -- the private blocks --------------------------------------------------------------------------


def creator_text(tag: int, raw: bytes, charset: bytes) -> str:
    """Return the text of a private creator, as the index knows it."""
    value = decode(tag, "", Kind("LO", charset=charset), raw, quiet=True)
    if isinstance(value, list):
        value = "\\".join(str(part) for part in value)
    return str(value).strip() if value else ""


def creators(data: Source, layout: Layout, charset: bytes) -> dict[tuple[int, int], str]:
    """Return the creator of each private block, by group and block number (PS3.5 7.8.1)."""
    return {
        (tag >> 16, tag & 0xFFFF): creator_text(tag, data.read(end - value, value), charset)
        for tag, _, _, value, end in layout.spans
        if tag & 0x10000 and 0x10 <= tag & 0xFFFF <= 0xFF
    }


# -- character sets ------------------------------------------------------------------------------


def same_charset(one: bytes, other: bytes) -> bool:
    """Whether two values of SpecificCharacterSet name the same sets."""
    return _terms(one) == _terms(other)


def _terms(charset: bytes) -> tuple[str, ...]:
    terms = [part.strip(" \0") for part in charset.decode("latin-1").split("\\")]
    return tuple("" if term == "ISO_IR 6" else term for term in terms)


@lru_cache(maxsize=64)
def _encodings(charset: bytes) -> list[str]:
    """Return Python's names of character sets (PS3.3 C.12.1.1.2)."""
    from pydicom.charset import convert_encodings, python_encoding

    terms = list(_terms(charset))
    with without_warnings():
        for term in terms:
            # pydicom corrects what is misspelt, and takes what it does not know for Latin 1.
            known = term in python_encoding or convert_encodings([term]) != ["iso8859"]
            if not known:
                raise InvalidValue(f"the character set {term!r} is not known")
        return convert_encodings(terms)


def decoded(vr: str, raw: bytes, charset: bytes) -> str:
    r"""Return the text of a value, with its delimiters.

    Raises
    ------
    InvalidValue
        It is not text in this character set.

    Examples
    --------
    >>> decoded("PN", b"Buc^J\xe9r\xf4me", b"ISO_IR 100")
    'Buc^Jérôme'
    """
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    encodings = _encodings(charset)
    # pydicom reads the default repertoire as Latin 1, which would be a guess.
    encodings = ["ascii" if name == "iso8859" else name for name in encodings]
    from pydicom.charset import decode_bytes

    delimiters = set(b"\\^=" if vr == "PN" else b"\\\r\n\f\t")
    try:
        with without_warnings():
            warnings.simplefilter("error")
            return decode_bytes(raw, encodings, delimiters)
    except (ValueError, UserWarning):
        shown = charset.decode("latin-1").strip() or "the default repertoire, ASCII"
        raise InvalidValue(f"{raw[:64]!r} is not text in its character set, {shown}") from None


def encoded(vr: str, text: str, charset: bytes) -> bytes:
    r"""Return text in a character set, padded to an even length.

    Raises
    ------
    InvalidValue
        The character set has not all of its characters.

    Examples
    --------
    >>> encoded("PN", "Buc^Jérôme", b"ISO_IR 100")
    b'Buc^J\xe9r\xf4me'
    """
    raw = in_charset(text.encode("utf-8"), vr, charset)
    return raw + b" " * (len(raw) & 1)


def with_charset(tag: int, vr: str, value: bytes, old: bytes, new: bytes, form: Form) -> bytes:
    """Return a value, text or a sequence of text, in another character set.

    Parameters
    ----------
    tag : int
    vr : str
        As known; of other VRs than text and sequences, the value is returned as it is.
    value : bytes
    old, new : bytes
        SpecificCharacterSet.
    form : Form
        In which a sequence is encoded.

    Raises
    ------
    InvalidValue
        The value is not text in the old set, or does not fit the new one; the message names the
        element.
    """
    if value.isascii() and b"\x1b" not in value:
        return value
    if vr == "SQ":
        change = lambda data: _item_with_charset(data, old, new, form)  # noqa: E731
        return _items(value, form, form, change)
    if vr not in TEXT:
        return value
    try:
        return encoded(vr, decoded(vr, value, old).rstrip(" \0"), new)
    except InvalidValue as error:
        raise InvalidValue(f"{name_of(tag)}: {error}") from None


def charset_patches(
    source: Source,
    layout: Layout,
    form: Form,
    old: bytes,
    new: bytes,
    given: Container[int] = (),
) -> list[Patch]:
    """Return the patches that bring text to another character set, but that at given tags."""
    blocks = creators(source, layout, old)
    patches: list[Patch] = []
    for span in layout.spans:
        tag, code, start, at, end = span
        if tag in given:
            continue
        vr = code.decode("ascii")
        if vr in ("", "UN"):
            vr = known_vr(tag, blocks.get((tag >> 16, (tag & 0xFFFF) >> 8), "")) or vr
        # What is said to be of unknown VR is encoded with implicit VR (PS3.5 6.2.2).
        inner = Form(True, form.big) if code in (b"", b"UN") else form
        open_ended = undefined(source, span)
        if open_ended and vr in ("", "UN"):
            vr = "SQ"
        if vr != "SQ" and vr not in TEXT:
            continue
        value = source.read(end - at - (8 if open_ended else 0), at)
        changed = with_charset(tag, vr, value, old, new, inner)
        if changed != value:
            head = source.read(at - start, start)
            patches.append((start, end, tag, _resized(head, tag, changed, source, span, form)))
    return patches


def undefined(source: Source, span: Span) -> bool:
    """Whether the length of an element is not given, so that a delimiter ends its value."""
    _, vr, _, value, _ = span
    if vr not in LONG_VRS and vr != b"":
        return False
    return source.read(4, value - 4) == b"\xff\xff\xff\xff"


def _resized(head: bytes, tag: int, value: bytes, source: Source, span: Span, form: Form) -> bytes:
    """Return an element as it was written, with another value."""
    _, vr, _, _, end = span
    if undefined(source, span):
        return head + value + source.read(8, end - 8)
    order = ">" if form.big else "<"
    if vr in LONG_VRS or vr == b"":
        return head[:-4] + pack(order + "I", len(value)) + value
    return element(tag, vr.decode("ascii"), value, form)


def _item_with_charset(data: bytes, old: bytes, new: bytes, form: Form) -> bytes:
    source = Source(-1, 0, data)
    layout = lay_out(source, 0, form)
    _whole(layout)
    if any(span[0] == CHARSET for span in layout.spans):
        return data  # it has a set of its own (PS3.3 C.12.1.1.2)
    patches = charset_patches(source, layout, form, old, new)
    return patched(data, patches + lengths(source, layout, form, patches)) if patches else data


def _whole(layout: Layout) -> None:
    if layout.stuck is not None:
        tag, reason = layout.stuck
        raise InvalidValue(f"{name_of(tag)} inside a sequence cannot be read: {reason}")


# -- sequences -----------------------------------------------------------------------------------


def with_form(vr: str, value: bytes, form: Form) -> bytes:
    """Return the value of an element in explicit VR little endian in the encoding of a file."""
    if form == EXPLICIT_FORM:
        return value
    if vr == "SQ":
        return _items(value, EXPLICIT_FORM, form, lambda data: _item_with_form(data, form))
    return swapped(vr, value) if form.big else value


def _item_with_form(data: bytes, form: Form) -> bytes:
    source = Source(-1, 0, data)
    layout = lay_out(source, 0, EXPLICIT_FORM)
    _whole(layout)
    order = ">" if form.big else "<"
    parts = []
    for span in layout.spans:
        tag, code, _, at, end = span
        vr = code.decode("ascii")
        open_ended = undefined(source, span)
        value = with_form(vr, data[at : end - 8 if open_ended else end], form)
        made = element(tag, vr, value, form)
        if open_ended:
            at = len(made) - len(value)
            delimiter = pack(order + "HHI", 0xFFFE, 0xE0DD, 0)
            made = made[: at - 4] + b"\xff\xff\xff\xff" + value + delimiter
        parts.append(made)
    made = b"".join(parts)
    if data[layout.end :]:
        raise InvalidValue("a sequence ends inside an element")
    return made


def _items(value: bytes, old: Form, new: Form, change: Callable[[bytes], bytes]) -> bytes:
    """Return a sequence whose items are changed, with lengths given where they were."""
    head = Struct(">HHI" if new.big else "<HHI").pack
    parts = []
    position = 0
    while position < len(value):
        if position + 8 > len(value):
            raise InvalidValue("a sequence ends inside an item")
        tag, length = item(value, position, old.big)
        position += 8
        if tag != ITEM:
            raise InvalidValue("a sequence holds something else than items")
        if length == UNDEFINED:
            try:
                end = item_end(value, position, old.implicit, old.big)
            except (StructError, Unusual, Malformed) as error:
                raise InvalidValue(f"a sequence cannot be read: {error}") from None
            data = change(value[position : end - 8])
            parts += [head(0xFFFE, 0xE000, UNDEFINED), data, head(0xFFFE, 0xE00D, 0)]
        else:
            end = position + length
            if end > len(value):
                raise InvalidValue("a sequence ends inside an item")
            data = change(value[position:end])
            parts += [head(0xFFFE, 0xE000, len(data)), data]
        position = end
    return b"".join(parts)
