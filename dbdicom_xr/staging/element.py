"""One attribute that is set: its VR, how many values it has, its items; its bytes.

The rules of each VR are in :mod:`dbdicom_xr.staging.texts` and :mod:`dbdicom_xr.staging.numbers`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.values import Kind, known_vr, without_warnings
from dbdicom_xr.staging.charsets import UTF8, header
from dbdicom_xr.staging.numbers import BLOBS, NUMBERS, blob, kind_of, number
from dbdicom_xr.staging.texts import BY_TEXT, PARAGRAPHS, as_found, code_string

__all__ = ["Encoded", "Rule", "listed"]


class Encoded(NamedTuple):
    """The raw value of an element."""

    kind: Kind
    """Explicit VR little endian; its character set is UTF-8, or b"" where all text is ASCII."""
    value: bytes
    """Of even length."""


@lru_cache(maxsize=4096)
def _standard(tag: int) -> tuple[str, str]:
    """Return keyword and multiplicity, "" where the dictionary has none."""
    from pydicom.datadict import dictionary_keyword, dictionary_VM

    if tag >> 16 & 1:
        return "", ""
    try:
        return dictionary_keyword(tag), dictionary_VM(tag)
    except KeyError:
        return "", ""


_VRS = frozenset((*BY_TEXT, *NUMBERS, *BLOBS, "SQ"))
_known = lru_cache(maxsize=4096)(known_vr)


@dataclass(slots=True)
class Rule:
    """What holds for the values of one attribute."""

    tag: int
    creator: str
    label: str  # as messages name it
    vr: str  # "" where it follows the values; "US or SS" and the like
    multiplicity: str
    signed: int
    strict: bool = True  # False: as a file had it, so that the items of scanners can be copied
    unknown: bool = False  # the files have it as UN

    @classmethod
    def of(
        cls, tag: int, creator: str, name: str, vr: str, signed: int, *, strict: bool = True
    ) -> Rule:
        """Return the rule for an attribute; see :func:`dbdicom_xr.staging.encode.encode`."""
        keyword, multiplicity = _standard(tag)
        key = Key(tag, creator)
        name = name or keyword
        label = f"{name} {key}".lstrip()
        if vr not in _VRS or vr == "UN":
            known = _known(key.dictionary_tag, creator)
            unknown, vr = vr == "UN", known if known != "UN" else ""
        else:
            unknown = False
        rule = cls(tag, creator, label, vr, multiplicity, signed, strict, unknown)
        rule._refuse_what_nobody_sets()
        return rule

    def _refuse_what_nobody_sets(self) -> None:
        group, element = self.tag >> 16, self.tag & 0xFFFF
        if group == 0:
            wrong = "group 0000 is for messages between programs, not for files (PS3.7)."
        elif group == 0xFFFE:
            wrong = "group FFFE marks the items of sequences; set the sequence (PS3.5 7.5)."
        elif element == 0:
            wrong = "it is the length of its group, which is counted when a file is written."
        elif group in (1, 3, 5, 7, 0xFFFF):
            wrong = "no element may have this group (PS3.5 7.1); private ones from 0009 on may."
        else:
            return
        raise InvalidValue(f"{self.label} cannot be set: {wrong}")

    def refused(self, value: Any, why: object) -> InvalidValue:
        """Return the error that names attribute and value."""
        try:
            shown = " ".join(repr(value).split())
        except ValueError:  # integers of more than 4300 digits
            shown = f"this {type(value).__name__}"
        if len(shown) > 64:
            shown = shown[:61] + "..."
        return InvalidValue(f"{self.label} cannot be {shown}: {why}")

    def representation(self, values: Sequence[Any]) -> str:
        """Return the VR that holds all these values."""
        if self.unknown and all(isinstance(value, bytes) for value in values if value is not None):
            return "UN"
        if self.vr in _VRS:
            return self.vr
        if self.vr == "OB or OW":
            return "OW"
        try:
            members = list(_leaves(values))
            if " or " in self.vr:
                return self._by_sign(members)
            return _by_type(members, values)
        except InvalidValue as error:
            raise self.refused(values[0] if len(values) == 1 else values, error) from None

    def _by_sign(self, members: list[Any]) -> str:
        if any(isinstance(member, bytes) for member in members):
            return "OW"
        if "SS" not in self.vr or self.signed == 0:
            return "US"
        return "SS" if self.signed == 1 or any(number(member) < 0 for member in members) else "US"

    def encode(self, value: Any, vr: str) -> Encoded:
        """Return the bytes of a value in the VR that :meth:`representation` returned."""
        if isinstance(value, (str, list, tuple)) and not len(value):  # present and empty
            return Encoded(Kind(vr), b"")
        try:
            raw, charset = self._bytes(value, vr)
            # A table of more than 32767 entries has no place in US (PS3.5 7.1.2).
            if vr in ("US", "SS") and self.vr.endswith("or OW") and len(raw) > 2**16 - 2:
                vr = "OW"
            header(self.tag, vr, len(raw))
        except InvalidValue as error:
            raise self.refused(value, error) from None
        return Encoded(Kind(vr, charset=charset), raw)

    def encode_all(self, values: list[Any], vr: str) -> list[Encoded | None]:
        """Return the bytes of each value, None of None; single numbers and text all at once."""
        if set(map(type, values)) <= {str, int, float}:
            try:
                encoded = self._in_bulk(values, vr)
            except InvalidValue:
                encoded = None  # one by one, the one that is refused is named
            if encoded is not None:
                return encoded
        return [None if value is None else self.encode(value, vr) for value in values]

    def _in_bulk(self, values: list[Any], vr: str) -> list[Encoded | None] | None:
        """Return the bytes of single values, in a third of the time; None where some are not."""
        if vr in NUMBERS and str not in map(type, values):
            self._count(1)
            raw = NUMBERS[vr](values)
            size = len(raw) // max(len(values), 1)
            kind = Kind(vr)
            return [Encoded(kind, raw[at : at + size]) for at in range(0, len(raw), size)]
        if vr not in BY_TEXT:
            return None
        texts = list(map(BY_TEXT[vr], values))
        joined = "\n".join(texts)
        if vr not in PARAGRAPHS and "\\" in joined:
            return None
        if any(texts):
            self._count(1)
        if not joined.isascii():
            return [Encoded(*_in_utf8(text, vr)) for text in texts]
        kind, pad = Kind(vr), _pad(vr)
        return [Encoded(kind, raw + pad if len(raw) & 1 else raw) for raw in map(str.encode, texts)]

    def _bytes(self, value: Any, vr: str) -> tuple[bytes, bytes]:
        if vr == "SQ":
            return self._items(value)
        if vr in BLOBS:
            if isinstance(value, (list, tuple)) and len(value) < 2:
                value = value[0] if value else ""
            raw = b"" if _is_empty(value) else blob(value, vr)
            return raw + b"\0" * (len(raw) % 2), b""
        rule = BY_TEXT.get(vr)
        value = _plain(value, vr)
        if rule is None:
            members = _members(value)
            if any(member is None or _is_empty(member) for member in members):
                raise InvalidValue(f"{vr} has no empty values among others (PS3.5 6.4).")
            self._count(len(members))
            return NUMBERS[vr](members), b""
        if vr == "CS":
            rule = partial(code_string, tag=self.tag)
        text = self._text(value, vr, rule if self.strict else as_found(vr))
        kind, raw = _in_utf8(text, vr)
        return raw, kind.charset

    def _text(self, value: Any, vr: str, rule: Callable[[Any], str]) -> str:
        if isinstance(value, str) and vr not in PARAGRAPHS and "\\" in value:
            value = value.split("\\")
        if not isinstance(value, list):
            if self.multiplicity not in ("1", "1-n", ""):
                text = rule(value)
                if text:
                    self._count(1)
                return text
            return rule(value)
        if vr in PARAGRAPHS:
            if len(value) > 1:
                raise InvalidValue(f"{vr} is one text, not {len(value)} (PS3.5 6.4); join them.")
            return rule(value[0]) if value else ""
        texts = []
        for place, member in enumerate(value):
            if isinstance(member, str) and "\\" in member:
                raise InvalidValue(
                    f"value {place + 1} has a backslash, which separates values (PS3.5 6.1.1); "
                    "use another character."
                )
            try:
                texts.append("" if member is None else rule(member))
            except InvalidValue as error:
                if len(value) == 1:
                    raise
                raise InvalidValue(f"value {place + 1}: {error}") from None
        if any(texts) or len(texts) > 1:
            self._count(len(texts))
        return "\\".join(texts)

    def _count(self, count: int) -> None:
        """Refuse too few or too many values; an element may always be empty (PS3.5 6.4)."""
        vm = self.multiplicity
        if not vm or not self.strict or not count:
            return
        low, _, high = vm.partition("-")
        least = int(low)
        if not high:
            fine, wanted = count == least, f"{least} value{'s' * (least > 1)}"
        elif high == "n":
            fine, wanted = count >= least, f"at least {least} values"
        elif high.endswith("n"):
            step = int(high[:-1])
            fine = count >= least and count % step == 0
            wanted = f"a multiple of {step} values"
        else:
            fine, wanted = least <= count <= int(high), f"{least} to {high} values"
        if not fine:
            raise InvalidValue(f"{self.label.split(' ')[0]} has {wanted}, not {count} (PS3.6).")

    def _items(self, value: Any) -> tuple[bytes, bytes]:
        items = value if _is_listlike(value) else [] if _is_empty(value) else [value]
        written, charset = [], b""
        for place, item in enumerate(items):
            try:
                parts, last = [], 0
                for tag, encoded in sorted(_elements(item, self.signed)):
                    if tag == last:
                        raise InvalidValue(f"{Key(tag)} is there twice.")
                    last = tag
                    parts += [header(tag, encoded.kind.vr, len(encoded.value)), encoded.value]
                    charset = charset or encoded.kind.charset
            except InvalidValue as error:
                raise InvalidValue(f"item {place + 1}: {error}") from None
            content = b"".join(parts)
            written.append(b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content)
        return b"".join(written), charset


def _in_utf8(text: str, vr: str) -> tuple[Kind, bytes]:
    raw = text.encode("utf-8")
    kind = Kind(vr) if raw.isascii() else Kind(vr, charset=UTF8)
    return kind, raw + _pad(vr) if len(raw) % 2 else raw


def _pad(vr: str) -> bytes:
    return b"\0" if vr == "UI" else b" "  # PS3.5 6.2


def _is_listlike(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(
        value, (str, bytes, bytearray, memoryview)
    )


def _is_empty(value: Any) -> bool:
    return isinstance(value, str) and not value


def listed(array: np.ndarray[Any, Any]) -> list[Any]:
    """Return the members as Python's own, but dates and times, which would lose their unit."""
    return array.tolist() if array.dtype.kind in "biufUS" else list(array)


def _plain(value: Any, vr: str) -> Any:
    """Return one value, or a list where there are several or none."""
    kind = type(value)
    if kind is str or kind is float or kind is int:
        return value
    if hasattr(value, "__array__") and not isinstance(value, (np.generic, str)):
        array = np.asanyarray(value)
        if array.ndim > 1:
            raise InvalidValue(
                f"several values are a list with one dimension, this has {array.ndim}; "
                "ravel() makes one of it."
            )
        return array[()] if array.ndim == 0 else _plain(listed(array), vr)
    if vr == "AT" and isinstance(value, tuple) and len(value) == 2 and _is_pair(value):
        return value
    if not _is_listlike(value):
        return value
    members = list(value)
    return [] if len(members) == 1 and members[0] in (None, "") else members


def _is_pair(value: tuple[Any, ...]) -> bool:
    return all(isinstance(part, (int, np.integer)) and 0 <= part <= 0xFFFF for part in value)


def _members(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if _is_empty(value) else [value]


def _leaves(values: Sequence[Any]) -> Iterator[Any]:
    """Yield the single values that are not empty."""
    for value in values:
        plain = _plain(value, "")
        if isinstance(plain, list):
            yield from _leaves(plain)
        elif plain is not None and not _is_empty(plain):
            yield plain


def _by_type(members: list[Any], values: Sequence[Any]) -> str:
    """Return a VR for an element that no dictionary knows."""
    from pydicom.dataset import Dataset

    if not members:
        return "UN"
    for types, vr in (
        ((Dataset, Mapping), "SQ"),
        ((bytes, bytearray, memoryview), "OB"),
        ((datetime.time,), "TM"),
    ):
        if all(isinstance(member, types) for member in members):
            return vr
    if all(isinstance(member, str) for member in members):
        if all(len(member) <= 64 and member.isprintable() for member in members):
            several = any(_is_listlike(value) for value in values)
            return "LO" if several or not any("\\" in member for member in members) else "UT"
        return "UC" if any(_is_listlike(value) for value in values) else "UT"
    if all(isinstance(member, (datetime.date, np.datetime64)) for member in members):
        return "DA" if all(map(_is_day, members)) else "DT"
    numbers = [number(member) for member in members]
    if all(isinstance(each, int) for each in numbers):
        return "SL" if all(-(2**31) <= each < 2**31 for each in numbers) else "SV"
    return "FD"


def _is_day(value: Any) -> bool:
    if isinstance(value, np.datetime64):
        return np.datetime_data(value.dtype)[0] == "D"
    return not isinstance(value, datetime.datetime)


def _elements(item: Any, signed: int) -> Iterator[tuple[int, Encoded]]:
    """Yield the elements of an item of a sequence."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataset import Dataset

    if isinstance(item, Dataset):
        yield from _found_elements(item, signed)
        return
    if not isinstance(item, Mapping):
        raise InvalidValue(
            "a sequence has items (PS3.5 7.5): each a pydicom Dataset, or a dict with keywords and "
            f"values; this is {kind_of(item)}."
        )
    signed = _sign(item, signed)
    for name, value in item.items():
        tag = tag_for_keyword(name) if isinstance(name, str) else name
        if isinstance(tag, tuple) and len(tag) == 2 and _is_pair(tag):
            tag = int(tag[0]) << 16 | int(tag[1])
        if not isinstance(tag, int):
            raise InvalidValue(f"{name!r} is neither a keyword of DICOM (PS3.6) nor a tag.")
        if tag >> 16 & 1:
            raise InvalidValue(
                f"{Key(tag)} is private; write the item as a pydicom Dataset, which names its "
                "creator."
            )
        rule = Rule.of(tag, "", name if isinstance(name, str) else "", "", signed)
        if value is not None and tag != _CHARACTER_SET:
            yield tag, rule.encode(value, rule.representation([value]))


def _sign(item: Any, outside: int) -> int:
    own = item.get("PixelRepresentation")
    return int(own) if own in (0, 1) else outside


# The text of a sequence has one character set, that of the file in the end.
_CHARACTER_SET = 0x00080005


def _found_elements(item: Any, signed: int) -> Iterator[tuple[int, Encoded]]:
    signed = _sign(item, signed)
    for tag in item.keys():  # noqa: SIM118 - iterating a Dataset gives its elements
        if tag == _CHARACTER_SET or tag.element == 0:
            continue
        try:
            with without_warnings():
                element = item[tag]
        except Exception as error:
            raise InvalidValue(f"{Key(tag)} cannot be read: {error}") from None
        if element.VR in BLOBS and element.is_undefined_length:
            raise InvalidValue(
                f"{element.keyword or 'it'} {Key(tag)} holds compressed pixels, which a sequence "
                "that is set cannot; decompress them."
            )
        rule = Rule.of(int(tag), "", element.keyword, str(element.VR), signed, strict=False)
        value = "" if element.value is None else element.value
        yield int(tag), rule.encode(value, rule.representation([value]))
