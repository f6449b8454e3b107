"""Raw values to Python values, as pydicom gives them, each distinct one decoded once.

DS is ``float``, IS ``int``, dates, times and UIDs ``str``, PN ``str``, AT ``int``, sequences are
pydicom's, several values a ``list``, an empty value ``None``. The usual VRs have a short way; all
else, and whatever the short way does not like, goes through pydicom.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

import numpy as np

from dbdicom_xr.errors import UndecodableValue

__all__ = [
    "Kind",
    "decode",
    "decode_all",
    "instance_uid",
    "kind_for",
    "known_vr",
    "without_warnings",
]


class Kind(NamedTuple):
    """All that is needed, beside its tag, to decode a raw value."""

    vr: str  # "" in implicit VR
    implicit: bool = False
    big_endian: bool = False
    charset: bytes = b""  # raw SpecificCharacterSet; for text, sequences and unknown
    signed: int = -1  # PixelRepresentation, where a VR depends on it


TEXT = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
NESTED = frozenset(("SQ", "UN", ""))

# Explicit in the dictionary as "US or SS": the VR follows PixelRepresentation (PS3.6, PS3.5 A.1).
AMBIGUOUS = "US or SS"

_NUMBERS: dict[str, str] = {
    "US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q",
}  # fmt: skip


def known_vr(tag: int, creator: str = "") -> str:
    """Return the VR of the dictionary for a tag ("" where it has none).

    Examples
    --------
    >>> known_vr(0x00180081)
    'DS'
    """
    from pydicom.datadict import dictionary_VR, private_dictionary_VR

    group, element = tag >> 16, tag & 0xFFFF
    try:
        if group & 1:
            if 0x10 <= element <= 0xFF:
                return "LO"
            return private_dictionary_VR(tag, creator) if creator else ""
        return str(dictionary_VR(tag))
    except KeyError:
        return "UL" if element == 0 and not group & 1 else ""


@lru_cache(maxsize=4096)
def kind_for(tag: int, vr: str, encoding: Kind) -> Kind:
    """Return the encoding with only what matters to this tag, so that equal values stay equal."""
    known = vr or known_vr(tag)
    nested = vr in NESTED and known in ("SQ", "UN", "")
    ambiguous = vr in ("", "UN") and known_vr(tag) == AMBIGUOUS
    return Kind(
        vr,
        encoding.implicit if nested or not vr else False,
        encoding.big_endian,
        encoding.charset if known in TEXT or nested else b"",
        encoding.signed if ambiguous or (nested and encoding.implicit) else -1,
    )


def decode_all(
    tag: int, creator: str, kind: Kind, values: Sequence[bytes], *, quiet: bool = False
) -> list[Any]:
    r"""Return the Python values of raw values of one tag and kind.

    Parameters
    ----------
    tag : int
        For private elements with the block number that ``creator`` has, or any.
    creator : str
        The private creator, "" for standard elements.
    kind : Kind
        VR and encoding.
    values : sequence of bytes

    Examples
    --------
    >>> decode_all(0x00180081, "", Kind("DS"), [b"4.6 ", b"", b"1\\2 "])
    [4.6, None, [1.0, 2.0]]
    """
    vr = kind.vr
    if not vr or vr == "UN":
        known = known_vr(tag, creator)
        if known == AMBIGUOUS:
            known = "SS" if kind.signed == 1 else "US"
        if known and known != "SQ" and " " not in known:
            vr = known
    short = _SHORT_WAYS.get(vr)
    slow: Callable[[bytes], Any] = lambda raw: _with_pydicom(tag, creator, kind, raw, quiet)  # noqa: E731
    if short is None:
        number = _NUMBERS.get(vr)
        if number is None:
            return [slow(raw) if raw else None for raw in values]
        return _decode_numbers(number, kind.big_endian, values, slow)
    if len(values) >= _MANY and (bulk := _in_bulk(vr, values)) is not None:
        return bulk
    # ASCII without escapes reads the same in every character set of DICOM (PS3.5 6.1.2).
    text = vr in TEXT
    result: list[Any] = []
    for raw in values:
        if not raw:
            result.append(None)
            continue
        try:
            foreign = text and (not raw.isascii() or b"\x1b" in raw)
            result.append(slow(raw) if foreign else short(raw))
        except ValueError:
            result.append(slow(raw))
    return result


_MANY = 64
_BULK_TEXT = frozenset(("UI", "CS", "DA", "TM", "DT", "AS", "LO", "SH", "UC"))


def _in_bulk(vr: str, values: Sequence[bytes]) -> list[Any] | None:
    """Return many single values at once, or None where some want a closer look.

    100,000 decimals take 25 ms, one by one 110.
    """
    if vr not in _BULK_TEXT and vr not in ("DS", "IS"):
        return None
    joined = b"\n".join(values)
    if (
        b"\\" in joined
        or b"\x1b" in joined
        or not joined.isascii()
        or joined.count(b"\n") != len(values) - 1
    ):
        return None
    if vr in _BULK_TEXT:
        return [text.rstrip(" \0") or None for text in joined.decode("ascii").split("\n")]
    if b"_" in joined:  # Python reads 1_000, DICOM does not
        return None
    try:
        numbers: list[Any] = np.array(values, "S").astype("f8" if vr == "DS" else "i8").tolist()
    except (ValueError, OverflowError):
        return None
    return numbers


def decode(tag: int, creator: str, kind: Kind, raw: bytes, *, quiet: bool = False) -> Any:
    """Return the Python value of one raw value, as ``decode_all`` does."""
    return decode_all(tag, creator, kind, [raw], quiet=quiet)[0]


def instance_uid(raw: bytes) -> str:
    r"""Return a SOPInstanceUID as instances are known by, whatever it consists of.

    Examples
    --------
    >>> instance_uid(b"1.2.3\0")
    '1.2.3'
    """
    return raw.decode("ascii", "replace").strip("\0 ")


def _decode_numbers(
    code: str, big: bool, values: Sequence[bytes], slow: Callable[[bytes], Any]
) -> list[Any]:
    order = ">" if big else "<"
    one = Struct(order + code)
    size, unpack = one.size, one.unpack
    result: list[Any] = []
    for raw in values:
        if len(raw) == size:
            result.append(unpack(raw)[0])
        elif not raw:
            result.append(None)
        elif len(raw) % size == 0:
            result.append(list(Struct(f"{order}{len(raw) // size}{code}").unpack(raw)))
        else:
            result.append(slow(raw))
    return result


def _decimal(raw: bytes) -> Any:
    if b"\\" in raw:
        parts = raw.decode("ascii").strip(" \0").split("\\")
        return [float(part) if part.strip() else None for part in parts]
    if b"_" in raw:  # Python reads 1_000, DICOM does not
        raise ValueError(raw)
    text = raw.decode("ascii").strip(" \0")
    return float(text) if text else None


def _integer(raw: bytes) -> Any:
    if b"\\" in raw:
        parts = raw.decode("ascii").strip(" \0").split("\\")
        return [int(part) if part.strip() else None for part in parts]
    if b"_" in raw:
        raise ValueError(raw)
    text = raw.decode("ascii").strip(" \0")
    return int(text) if text else None


def _latin(raw: bytes) -> Any:
    text = raw.decode("latin-1").rstrip(" \0")
    if "\\" in text:
        return text.split("\\")
    return text or None


def _uid(raw: bytes) -> Any:
    text = raw.decode("ascii").rstrip(" \0")
    if "\\" in text:
        return text.split("\\")
    return text or None


def _title(raw: bytes) -> Any:
    parts = [part.strip() for part in raw.decode("ascii").split("\\")]
    return parts if len(parts) > 1 else parts[0] or None


def _text(raw: bytes) -> Any:
    text = raw.decode("ascii")
    if "\\" in text:
        return [part.rstrip("\0 ") for part in text.split("\\")]
    return text.rstrip("\0 ") or None


def _name(raw: bytes) -> Any:
    # An empty component group at the end is not significant, and pydicom drops it (PS3.5 6.2.1.1).
    text = raw.decode("ascii").rstrip("\0 ")
    if "\\" in text:
        return [part.rstrip("\0 =") for part in text.split("\\")]
    return text.rstrip("=") or None


def _paragraph(raw: bytes) -> Any:
    return raw.decode("ascii").rstrip("\0 ") or None


def _address(raw: bytes) -> Any:
    return raw.decode("ascii").rstrip() or None


def _same(raw: bytes) -> Any:
    return raw


_SHORT_WAYS: dict[str, Callable[[bytes], Any]] = {
    "DS": _decimal, "IS": _integer, "UI": _uid, "AE": _title,
    "CS": _latin, "DA": _latin, "TM": _latin, "DT": _latin, "AS": _latin,
    "LO": _text, "SH": _text, "UC": _text, "PN": _name,
    "ST": _paragraph, "LT": _paragraph, "UT": _paragraph, "UR": _address,
    "OB": _same, "OW": _same, "OV": _same,
}  # fmt: skip


def _with_pydicom(tag: int, creator: str, kind: Kind, raw: bytes, quiet: bool) -> Any:
    """Decode as an element of a data set that holds what decoding depends on."""
    from pydicom.dataelem import RawDataElement
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

    dataset = Dataset()
    little = not kind.big_endian
    context: dict[int, tuple[str, bytes]] = {}
    if kind.charset:
        context[0x00080005] = ("CS", kind.charset)
    if kind.signed >= 0:
        context[0x00280103] = ("US", kind.signed.to_bytes(2, "little" if little else "big"))
    if creator and tag & 0xFF00:
        context[tag & 0xFFFF0000 | (tag & 0xFFFF) >> 8] = ("LO", creator.encode("utf-8"))
    elements: Any = dataset._dict
    for name, (vr, value) in context.items():
        elements[BaseTag(name)] = RawDataElement(
            BaseTag(name), vr, len(value), value, 0, False, little, True
        )
    key = BaseTag(tag)
    elements[key] = RawDataElement(
        key, kind.vr or None, len(raw), raw, 0, kind.implicit, little, True
    )
    expected = kind.vr if kind.vr not in ("", "UN") else known_vr(tag, creator)
    try:
        with without_warnings():
            encodings = _encodings(kind.charset)
            dataset.set_original_encoding(kind.implicit, little, encodings)
            element = dataset[key]
            result = plain(element.value)
        # pydicom gives numbers that it cannot read as text, which a caller would not expect.
        parts = result if isinstance(result, list) else [result]
        faithful = expected not in ("DS", "IS") or not any(
            isinstance(part, str) and part for part in parts
        )
    except Exception:
        result = raw.decode("latin-1").rstrip(" \0") or None
        faithful = False
    if not faithful and not quiet:
        warnings.warn(
            f"({tag >> 16:04x},{tag & 0xFFFF:04x}) has the value {str(result)[:64]!r}, which is "
            f"not a valid {expected or 'value'}; it is given as text.",
            UndecodableValue,
            stacklevel=2,
        )
    return result


_warnings_lock = threading.RLock()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence what pydicom says of odd values; this package has its own ways to say it.

    One thread at a time: the filters belong to the whole process, and two threads that restore
    what they found would leave them changed.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _renew_lock() -> None:
    global _warnings_lock
    _warnings_lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # another thread may hold it while a process forks
    os.register_at_fork(after_in_child=_renew_lock)


def _encodings(charset: bytes) -> list[str]:
    from pydicom.charset import convert_encodings
    from pydicom.values import convert_string

    if not charset:
        return ["iso8859"]
    return convert_encodings(convert_string(charset, True))


def plain(value: Any) -> Any:
    """Return pydicom's value in plain types."""
    from pydicom.multival import MultiValue
    from pydicom.valuerep import IS, DSdecimal, PersonName

    if isinstance(value, (MultiValue, list)):
        return [item if item == "" else plain(item) for item in value]
    if isinstance(value, (float, DSdecimal)):
        return float(value)
    if isinstance(value, IS):
        return int(value)
    if isinstance(value, (PersonName, str)):
        return str(value) or None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes) and not value:
        return None
    return value
