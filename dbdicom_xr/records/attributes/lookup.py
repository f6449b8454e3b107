"""From what a user writes (a keyword, a tag, a private name) to the columns of a series.

Besides the attributes of the standard and of private dictionaries there are lower-case custom
ones, which unify what vendors and kinds of objects spell differently; ``register_attribute`` adds
to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from keyword import iskeyword
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from dbdicom_xr.errors import InvalidValue, UnknownKeyword
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.table import Table, Values
from dbdicom_xr.records.attributes.likeness import (
    is_like_standard,
    near_keywords,
    nearest,
    private_hint,
    same_as_standard,
)
from dbdicom_xr.records.attributes.private_names import ANY_GROUP, private_group, private_names
from dbdicom_xr.records.attributes.slices import with_slice_locations
from dbdicom_xr.records.attributes.user_functions import value_of

__all__ = [
    "Attribute",
    "Name",
    "add_custom",
    "alternatives",
    "is_attribute_name",
    "nowhere",
    "parse_name",
    "register_attribute",
]

Name = str | int | tuple[int, int] | tuple[str, int]
"""How a user names an attribute."""

# Attributes of functional groups that say what the first keyword says in a classic object
# (PS3.3 A.36.2, C.7.6.16.2, C.8.13.5); the groups repeat most others under the classic keyword.
_STANDS_FOR: dict[str, tuple[str, ...]] = {
    "EchoTime": ("EffectiveEchoTime",),
    "ImageType": ("FrameType",),
    "ImageComments": ("FrameComments",),
    "AcquisitionNumber": ("FrameAcquisitionNumber",),
    "TriggerTime": ("NominalCardiacTriggerDelayTime",),
    "TemporalPositionIdentifier": ("TemporalPositionIndex",),
    "AcquisitionDateTime": ("FrameAcquisitionDateTime",),
    "ImagingFrequency": ("TransmitterFrequency",),
}
_FROM_DATE_TIME = {
    "AcquisitionDate": ("FrameAcquisitionDateTime", slice(0, 8)),
    "AcquisitionTime": ("FrameAcquisitionDateTime", slice(8, None)),
}
INSTANCE_NUMBER = Key(0x00200013)
SLICE_LOCATION = Key(0x00201041)
_WORKED_OUT = frozenset((*_FROM_DATE_TIME, "InstanceNumber", "SliceLocation"))


@dataclass(frozen=True)
class Attribute:
    """An attribute of a record.

    Parameters
    ----------
    name : str
        As it stands in messages, dimensions and tables.
    tag : int
        0 for custom attributes.
    creator : str
        Private creator; "" for others, and for private tags given by number.
    """

    name: str
    tag: int = 0
    creator: str = ""
    custom: Custom | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def is_private(self) -> bool:
        """Whether its group is odd."""
        return bool(self.tag >> 16 & 1)

    def values(self, table: Table) -> Values | None:
        """Return the attribute frame by frame, None where the series lacks it."""
        if self.custom is not None:
            return self.custom.values(table)
        if self.is_private:
            return self._private(table)
        key = Key(self.tag)
        if key == INSTANCE_NUMBER and not table.is_classic:
            return _frame_ranks(table)
        if self.name in _FROM_DATE_TIME and not table.is_classic:
            return _from_date_time(table, key, *_FROM_DATE_TIME[self.name])
        if key == SLICE_LOCATION and not table.is_classic:
            return with_slice_locations(table, table.values(key), np.arange(len(table)))
        return table.values(key, *alternatives(self.name))

    def value(self, table: Table, row: int) -> Any:
        """Return the value in one frame, None where absent or empty."""
        if (
            self.custom is None
            and not self.is_private
            and (table.is_classic or self.name not in _WORKED_OUT)
        ):
            return table.value(Key(self.tag), row, *alternatives(self.name))
        values = self.values(table)
        return None if values is None else values.of(row)

    def occurring(self, table: Table, rows: npt.NDArray[np.intp] | None) -> list[Any]:
        """Return the values that occur in frames, None left out."""
        if self.custom is not None and self.custom.together is not None:
            return self.custom.together(table, np.arange(len(table)) if rows is None else rows)
        values = self.values(table)
        if values is None:
            return []
        return (values if rows is None else values.take(rows)).occurring()

    def keys(self, table: Table) -> list[Key]:
        """Return the columns in which the attribute stands in this series."""
        if not self.is_private:
            return [Key(self.tag)]
        group, element = self.tag >> 16, self.tag & 0xFFFF
        if self.creator:
            found = [
                key
                for key in table.keys
                if key.creator == self.creator
                and key.tag & 0xFF == element & 0xFF
                and (group == ANY_GROUP or key.tag >> 16 == group)
            ]
            if len(found) > 1:
                places = " and ".join(
                    f"({self.creator!r}, 0x{key.tag | 0x1000:08x})" for key in found
                )
                raise UnknownKeyword(f"{self} may mean one of several elements: write {places}.")
            return found
        if element < 0x1000:
            return [Key(self.tag)]
        # By number: whichever creators reserved that block, instance by instance.
        return [
            key
            for key in table.keys
            if key == Key(self.tag) or (key.creator and key.tag == group << 16 | element & 0xFF)
        ]

    def _private(self, table: Table) -> Values | None:
        parts = []
        block = Key((self.tag >> 16) << 16 | (self.tag & 0xFFFF) >> 8)
        for key in self.keys(table):
            values = table.values(key)
            if values is None:
                continue
            if key.creator and not self.creator:
                owner = table.values(block)
                if owner is None:
                    continue
                mine = _is(owner, key.creator)
                # A creator with two blocks in a file: what stands under it is of the first.
                for other in range(0x10, block.tag & 0xFF):
                    earlier = table.values(Key(block.tag & 0xFFFFFF00 | other))
                    if earlier is not None:
                        mine &= ~_is(earlier, key.creator)
                values = Values(values.distinct, np.where(mine, values.codes, -1).astype(np.int32))
            parts.append(values)
        if not parts:
            return None
        result = parts[0]
        for part in parts[1:]:
            behind = np.where(part.codes >= 0, part.codes + len(result.distinct), -1)
            codes = np.where(result.codes >= 0, result.codes, behind).astype(np.int32)
            result = Values([*result.distinct, *part.distinct], codes)
        return result


def _is(values: Values, wanted: str) -> npt.NDArray[np.bool_]:
    """Return for each frame whether it has this value."""
    return np.array([value == wanted for value in values.distinct] + [False])[values.codes]


@lru_cache(maxsize=1024)
def alternatives(name: str) -> tuple[Key, ...]:
    """Return the attributes of functional groups that stand for an attribute."""
    return tuple(Key(_tag(keyword)) for keyword in _STANDS_FOR.get(name, ()))


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return int(tag)


def _from_date_time(table: Table, key: Key, keyword: str, part: slice) -> Values | None:
    """Return dates or times of frames, cut from their date and time (PS3.3 C.7.6.16.2.2)."""
    own = table.values(key)
    frames = table.values(Key(_tag(keyword)))
    if frames is None:
        return own
    texts = [
        None if value is None else re.sub(r"[+-]\d{4}$", "", str(value))[part] or None
        for value in frames.distinct
    ]
    result = Values(texts, frames.codes)
    if own is None:
        return result
    behind = np.where(own.codes >= 0, own.codes + len(texts), -1)
    codes = np.where(result.codes >= 0, result.codes, behind).astype(np.int32)
    return Values([*texts, *own.distinct], codes)


def _frame_ranks(table: Table) -> Values:
    """Return InstanceNumber; in a single multi-frame file the frame number, as its twins have."""
    if len(table.places) == 1:
        return Values(table.frame_numbers.tolist(), np.arange(len(table), dtype=np.int32))
    values = table.values(INSTANCE_NUMBER)
    return values if values is not None else Values([], np.full(len(table), -1, np.int32))


# -- names ---------------------------------------------------------------------------------


def parse_name(name: Name, has: Callable[[Attribute], bool] | None = None) -> Attribute:
    """Return the attribute that a name means.

    A name of a private element that is one of the standard, but for blanks, marks and case, is
    refused, since it is meant for the attribute of the standard.

    Parameters
    ----------
    name : str, int, (int, int) or (str, int)
        A keyword, a custom attribute, the name of a private element in pydicom's dictionary (in
        brackets it is never taken for another), ``"(0019,100c)"``, a tag, (group, element),
        (private creator, element), or as a table of the header names it
        ``"(0019,xx0c) SIEMENS MR HEADER"``.
    has : callable, optional
        Whether the headers have a private attribute. Where they do not, its name is refused if it
        is near a keyword of the standard.

    Raises
    ------
    UnknownKeyword
        With the nearest keywords.

    Examples
    --------
    >>> parse_name("EchoTime").tag == 0x00180081
    True
    >>> parse_name((0x0019, 0x100C)).name
    '(0019,100c)'
    >>> parse_name("EcoTime")
    Traceback (most recent call last):
      ...
    dbdicom_xr.errors.UnknownKeyword: 'EcoTime' is not a DICOM keyword. Did you mean 'EchoTime'...
    """
    if isinstance(name, str):
        attribute = _parse_text(name)
        in_doubt = has is not None and attribute.is_private and name in private_names()
        if in_doubt and is_like_standard(name) and not (has and has(attribute)):
            raise UnknownKeyword(f"{name!r} is not a DICOM keyword.{suggestion(name)}")
        return attribute
    if isinstance(name, tuple) and len(name) == 2:
        first, second = name
        if isinstance(first, str) and isinstance(second, (int, np.integer)):
            element, creator = int(second), first.strip()
            if element <= 0xFFFF:
                element = private_group(creator, element) << 16 | element & 0xFF
            return private_attribute(element, creator)
        if isinstance(first, (int, np.integer)) and isinstance(second, (int, np.integer)):
            return _by_tag(int(first) << 16 | int(second))
    if isinstance(name, (int, np.integer)) and not isinstance(name, bool):
        if int(name) <= 0xFFFF:
            raise UnknownKeyword(
                f"{name!r} is no tag, which has a group and an element. Children go by name; for "
                f"one by position write record.children()[{name!r}]."
            )
        return _by_tag(int(name))
    raise UnknownKeyword(
        f"{name!r} does not name an attribute; use a keyword such as 'EchoTime', a tag such as "
        "(0x0018, 0x0081), or (private creator, element)."
    )


@lru_cache(maxsize=4096)
def _parse_text(name: str) -> Attribute:
    custom = _customs.get(name)
    if custom is not None:
        return Attribute(name, custom=custom)
    tag = tag_for_keyword(name) if name else None  # retired entries have no keyword
    if tag is not None:
        return Attribute(name, int(tag))
    match = re.fullmatch(r"\(?([0-9a-fA-F]{4}),\s*([0-9a-fA-F]{4})\)?", name)
    if match:
        return _by_tag(int(match[1], 16) << 16 | int(match[2], 16))
    match = re.fullmatch(r"\(([0-9a-fA-F]{4}),xx([0-9a-fA-F]{2})\) (.+)", name)
    if match:
        return private_attribute(int(match[1], 16) << 16 | int(match[2], 16), match[3].strip())
    bracketed = name.startswith("[") and name.endswith("]")
    plain = name[1:-1] if bracketed else name
    private = private_names().get(plain)
    is_of_standard = bool(same_as_standard(plain))
    if private is not None and (bracketed or not is_of_standard):
        creator, tag = private
        return Attribute(f"[{plain}]" if is_of_standard else plain, tag, creator)
    raise UnknownKeyword(f"{name!r} is not a DICOM keyword.{suggestion(name)}")


def nowhere(attribute: Attribute) -> bool:
    """Say of no private attribute that it is in the headers: of images that are made anew."""
    return False


def private_attribute(tag: int, creator: str) -> Attribute:
    """Return a private attribute by creator; its name is one that ``parse_name`` knows."""
    name = f"({tag >> 16:04x},xx{tag & 0xFF:02x}) {creator}"
    return Attribute(name, tag & 0xFFFF00FF, creator)


def _by_tag(tag: int) -> Attribute:
    if not 0 <= tag <= 0xFFFFFFFF:
        raise UnknownKeyword(f"0x{tag:x} is not a DICOM tag.")
    return Attribute(keyword_for_tag(tag) or f"({tag >> 16:04x},{tag & 0xFFFF:04x})", tag)


def suggestion(name: str, others: Iterable[str] = ()) -> str:
    """Return a sentence that suggests what was meant, or nothing."""
    near = [*nearest(name, others), *near_keywords(name), *nearest(name, _customs)]
    words = " or ".join(repr(word) for word in dict.fromkeys(near[:3]))
    return (f" Did you mean {words}?" if near else "") + private_hint(name)


def is_attribute_name(name: str) -> bool:
    """Return whether ``record[name]`` is an attribute rather than a child."""
    return name in _customs or bool(name and tag_for_keyword(name) is not None)


# -- custom attributes -----------------------------------------------------------------------


Written = tuple["dict[Attribute, list[Any]]", "list[Any] | None"]
"""What to set, a value per frame, and what will be read then; None where that is not known."""


@dataclass(frozen=True)
class Custom:
    """An attribute that is worked out from others."""

    name: str
    depends: tuple[Attribute, ...] | None  # None: `read` takes the table
    read: Callable[..., Any]
    description: str
    write: Callable[[Table, npt.NDArray[np.intp], list[Any]], Written] | None = None
    together: Callable[[Table, npt.NDArray[np.intp]], list[Any]] | None = None  # of several frames

    def values(self, table: Table) -> Values | None:
        """Return the attribute frame by frame, worked out once for each table."""
        known = _worked_out.setdefault(table, {})
        if self not in known:
            known[self] = self.read(table) if self.depends is None else self._of_depends(table)
        return known[self]

    def _of_depends(self, table: Table) -> Values | None:
        """Return the attribute frame by frame; each combination of values is worked out once."""
        assert self.depends is not None
        columns = [attribute.values(table) for attribute in self.depends]
        if all(column is None for column in columns):
            return None
        stacked = np.stack(
            [np.full(len(table), -1) if c is None else c.codes for c in columns], axis=1
        )
        combinations, codes = np.unique(stacked, axis=0, return_inverse=True)
        distinct = []
        for combination in combinations.tolist():
            arguments = [
                None if column is None or code < 0 else column.distinct[code]
                for column, code in zip(columns, combination, strict=True)
            ]
            told = ", ".join(f"{a} = {v!r}" for a, v in zip(self.depends, arguments, strict=True))
            what = f"The attribute {self.name!r} cannot be worked out from {told}"
            distinct.append(value_of(what, self.read, *arguments))
        return Values(distinct, codes.reshape(-1).astype(np.int32))


_customs: dict[str, Custom] = {}
_of_users: set[str] = set()  # names that may be registered again
# Tables never change: so that a loop over frames does not work out the whole column for each.
_worked_out: WeakKeyDictionary[Table, dict[Custom, Values | None]] = WeakKeyDictionary()


@lru_cache(maxsize=1)
def _taken() -> frozenset[str]:
    """Return the names that records have as methods and properties."""
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.instance import Frame
    from dbdicom_xr.records.levels import Series

    return frozenset(name for kind in (Database, Series, Frame) for name in dir(kind))


def register_attribute(
    name: str,
    get: Callable[..., Any],
    depends: Sequence[Name] | Callable[[Any, Any], Any] | None = None,
    set: Callable[[Any, Any], Any] | None = None,
    *,
    description: str = "",
) -> None:
    """Add a custom attribute, which then works like a keyword everywhere.

    Parameters
    ----------
    name : str
        A lower-case identifier.
    get : callable
        With `depends`: takes their values, None for those that a frame lacks, and returns the
        value of the attribute, or None. It is called once for each combination that occurs.
        Without: takes a frame, whose attributes it may read: ``get(frame)``.
    depends : sequence of names, optional
        The attributes that it is worked out from.
    set : callable, optional
        ``set(frame, value)`` sets attributes of the frame. Without it the attribute is read only.
    description : str, optional

    Raises
    ------
    InvalidValue
        The name is not a lower-case identifier, or is taken by this package; or `get` or `set` is
        no function. Where a function fails, or returns what is no value, an error names it when
        the attribute is used.
    UnknownKeyword
        One of `depends` names no attribute.

    Examples
    --------
    >>> register_attribute("readout", lambda b: b and 1000 / b, ["PixelBandwidth"])
    >>> def set_seconds(frame, value):
    ...     frame.EchoTime = 1000 * value
    >>> register_attribute("echo_seconds", lambda f: f.EchoTime / 1000, set=set_seconds)
    """
    from dbdicom_xr.records.attributes.custom_written import per_frame, writer

    if callable(depends):  # register_attribute(name, get, set)
        depends, set = None, depends
    if not isinstance(name, str):
        raise InvalidValue(f"{name!r} cannot be a custom attribute: its name is a text.")
    for what, function in (("get", get), ("set", set)):
        if not callable(function) and (what, function) != ("set", None):
            raise InvalidValue(f"{what} of {name!r} is {function!r}; it is a function.")
    if depends is not None and not isinstance(depends, (list, tuple)):
        raise InvalidValue(f"depends of {name!r} is {depends!r}; it is a list of attributes.")
    if not name.isidentifier() or name != name.lower() or name.startswith("_") or iskeyword(name):
        raise InvalidValue(
            f"{name!r} cannot be a custom attribute: use a lower-case name, such as 'echo_index'."
        )
    if name in _taken():
        raise InvalidValue(f"{name!r} cannot be a custom attribute: records use it for themselves.")
    if name in _customs and name not in _of_users:
        raise InvalidValue(
            f"{name!r} cannot be a custom attribute: there is one of this name already, "
            f"{_customs[name].description or 'of this package'!r}. Choose another name."
        )
    read = per_frame(name, get) if depends is None else get
    _of_users.add(name)
    add_custom(name, read, depends, description, write=None if set is None else writer(name, set))


def add_custom(
    name: str,
    read: Callable[..., Any],
    depends: Sequence[Name] | None,
    description: str,
    *,
    write: Callable[[Table, npt.NDArray[np.intp], list[Any]], Written] | None = None,
    together: Callable[[Table, npt.NDArray[np.intp]], list[Any]] | None = None,
) -> None:
    """Add a custom attribute whose name is known to be good.

    Without `depends`, `read` takes the table of a series and returns the values of all frames.
    """
    parsed = None if depends is None else tuple(parse_name(other) for other in depends)
    _customs[name] = Custom(name, parsed, read, description, write, together)
    _parse_text.cache_clear()
