"""Functional groups of enhanced objects from columns of what their frames say (PS3.3 C.7.6.16).

Owns how the items of sequences are put together, frame by frame and each distinct one once, and
what becomes of attributes that frames spell differently than classic images. Which macros an
object has is the business of the module for that object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dbdicom_xr.emit.elements import Elements, key_of
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.table import Values
from dbdicom_xr.index.values import Kind
from dbdicom_xr.staging import items
from dbdicom_xr.staging.charsets import UTF8
from dbdicom_xr.staging.encode import Encoded, set_encoded

__all__ = [
    "Frames", "Member", "Part", "When", "copied", "in_all_frames", "item_of", "made", "per_frame",
    "private_parts", "shared",
]  # fmt: skip

Codes = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

_FIRST_BLOCK: Final = 0x10
_PADDED_WITH_NUL: Final = ("OB", "UI", "UN")  # PS3.5 6.2


class Part(NamedTuple):
    """One element of the item of each frame."""

    tag: int
    raws: list[bytes]
    """The distinct elements as they stand in a file; b"" for none."""
    codes: Codes
    """For each frame which, shape (frames,)."""

    @property
    def is_constant(self) -> bool:
        """Whether all frames have the same one."""
        return len(self.raws) == 1


class Member(NamedTuple):
    """An attribute of a macro, and where its value comes from: the first of these that is known."""

    keyword: str
    same: tuple[str, ...] = ()
    """What says the same in classic images; it counts more than the attribute itself."""
    translate: Callable[..., Any] | None = None
    """Gets the values of ``of`` and returns that of the attribute, or None."""
    of: tuple[str, ...] = ()
    default: Any = None
    """What stands there otherwise, unless the member must be known."""
    must: bool = False
    """Whether the macro is of no use to a derived image where this is not known."""
    words: Mapping[str, str] | None = None
    """What classic images say otherwise."""
    when: When | None = None
    """Where it may stand (type 1C, PS3.5 7.4.2). With ``must`` it must be known there only."""


class When(NamedTuple):
    """The condition of a conditional attribute."""

    of: Member
    """The attribute that it depends on."""
    fits: Callable[[Any], bool]
    """Gets the value of that, None where it is not known."""


class Frames:
    """What the frames of an object say.

    Parameters
    ----------
    elements : Elements
    count : int
    """

    def __init__(self, elements: Elements, count: int) -> None:
        self.elements = elements
        self.count = count
        self.used: set[Key] = set()
        """The attributes that have found a place in which they can be read again."""

    def values(self, *keywords: str) -> Values | None:
        """Return an attribute frame by frame; where a frame lacks it, that of the next keyword.

        Empty values count as absent; None where no frame has one.
        """
        found: Values | None = None
        for keyword in keywords:
            column = self.elements.get(key_of(keyword))
            if column is None:
                continue
            distinct = column.decoded()
            codes = np.where(column.present(), column.codes_of(), -1).astype(np.int32)
            if found is not None:
                behind = np.where(codes >= 0, codes + len(found.distinct), -1)
                codes = np.where(found.codes >= 0, found.codes, behind).astype(np.int32)
                distinct = [*found.distinct, *distinct]
            found = Values(distinct, codes)
        return found if found is not None and bool((found.codes >= 0).any()) else None

    def first(self, *keywords: str) -> Any:
        """Return the value of an attribute in the first frame that has it, else None."""
        values = self.values(*keywords)
        return None if values is None else values.occurring()[0]

    def translated(self, translate: Callable[..., Any], *keywords: str) -> Values:
        """Return what a function makes of attributes; called once per combination."""
        columns = [self.values(keyword) for keyword in keywords]
        codes = [np.full(self.count, -1) if c is None else c.codes for c in columns]
        combinations, of = _combinations(codes, self.count)
        distinct = [
            translate(*[
                None if column is None or code < 0 else column.distinct[code]
                for column, code in zip(columns, combination, strict=True)
            ])
            for combination in combinations
        ]  # fmt: skip
        known = np.array([value is not None for value in distinct])
        return Values(distinct, np.where(known[of], of, -1).astype(np.int32))

    def known(self, member: Member, original: bool) -> Values | None:
        """Return the values of a member of a macro, None where no frame has one."""
        return self._filtered(self._said(member, original), self._fitting(member, original))

    def _said(self, member: Member, original: bool) -> Values | None:
        """Return the values of a member, also in frames in which it may not stand."""
        values = self.values(*member.same, member.keyword)
        if values is not None and member.words:
            distinct = [member.words.get(str(value), value) for value in values.distinct]
            values = Values(distinct, values.codes)
        if member.translate is not None:
            values = _filled(values, self.translated(member.translate, *member.of))
        if member.default is not None and (original or not member.must):
            values = _filled(values, Values([member.default], np.zeros(self.count, np.int32)))
        return values

    def _fitting(self, member: Member, original: bool) -> Mask:
        """Return in which frames a member may stand."""
        if member.when is None:
            return np.ones(self.count, np.bool_)
        of, fits = member.when
        values = self.known(of, original)
        if values is None:
            return np.full(self.count, fits(None))
        return np.array([*map(fits, values.distinct), fits(None)], np.bool_)[values.codes]

    def _filtered(self, values: Values | None, fitting: Mask) -> Values | None:
        if values is None:
            return None
        codes = np.where(fitting, values.codes, -1).astype(np.int32)
        return Values(values.distinct, codes) if bool((codes >= 0).any()) else None

    def _member(self, member: Member, original: bool, fitting: Mask) -> Part | None:
        """Return a member of a macro, byte for byte where it stands so in the elements."""
        column = self.elements.get(key_of(member.keyword))
        if (
            column is not None
            and not member.words
            and not any(key_of(keyword) in self.elements for keyword in member.same)
            and bool(column.present()[fitting].all())
        ):
            return copied(column, fitting=fitting) if bool(fitting.any()) else None
        values = self._filtered(self._said(member, original), fitting)
        try:
            return None if values is None else made(member.keyword, values)
        except InvalidValue:  # what classic images may say, or say wrongly, and a frame cannot
            return None

    def macro(
        self, keyword: str, members: Iterable[Member | Part], original: bool = True
    ) -> Part | None:
        """Return a macro: a sequence with one item.

        Parameters
        ----------
        keyword : str
            Of the sequence.
        members : iterable of Member or Part
        original : bool
            Whether the macro has to be there, so that members that must be known have their
            defaults.

        Returns
        -------
        Part or None
            None where it would be empty in all frames, or lacks in some what it must know.

        Notes
        -----
        What may not stand in it, for the condition of a member, is not ``used``: it stays where
        it is.
        """
        parts: list[Part] = []
        used: set[Key] = set()
        for member in members:
            if isinstance(member, Part):
                parts.append(member)
                continue
            fitting = self._fitting(member, original)
            part = self._member(member, original, fitting)
            if member.must and not original and not bool(_given(part, fitting).all()):
                return None
            if part is not None:
                parts.append(part)
            said = self.values(member.keyword, *member.same)
            if said is None or bool(fitting[said.codes >= 0].all()):
                used.update(key_of(name) for name in (member.keyword, *member.same))
        self.used |= used
        return item_of(key_of(keyword).tag, parts) if parts else None


def _given(part: Part | None, fitting: Mask) -> Mask:
    """Return which of the frames that should have an element have it."""
    if part is None:
        return ~fitting
    return np.array([bool(raw) for raw in part.raws], np.bool_)[part.codes] | ~fitting


def _filled(values: Values | None, other: Values) -> Values:
    if values is None:
        return other
    behind = np.where(other.codes >= 0, other.codes + len(values.distinct), -1)
    codes = np.where(values.codes >= 0, values.codes, behind).astype(np.int32)
    return Values([*values.distinct, *other.distinct], codes)


def _combinations(columns: Sequence[npt.NDArray[Any]], count: int) -> tuple[list[Any], Codes]:
    """Return the combinations of codes that occur, by their first row, and which each row has."""
    if not columns:
        return [[]], np.zeros(count, np.intp)
    stacked = np.stack(columns, axis=1).astype(np.int64)
    found, first, of = np.unique(stacked, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    return found[order].tolist(), rank[of.reshape(-1)]


def _tidied(tag: int, raws: Sequence[bytes], codes: npt.NDArray[Any]) -> Part:
    """Return a part whose values differ and all occur."""
    numbers: dict[bytes, int] = {}
    renumber = np.zeros(len(raws), np.intp)
    for code in dict.fromkeys(codes.tolist()):
        renumber[code] = numbers.setdefault(raws[code], len(numbers))
    return Part(tag, list(numbers), renumber[codes])


def _element(tag: int, encoded: Encoded) -> bytes:
    vr, value = encoded.kind.vr, encoded.value
    if len(value) % 2:  # as some scanners write, and many programs stumble over in an item
        value += b"\0" if vr in _PADDED_WITH_NUL else b" "
    return items.element(tag, vr, value, False, False).raw


def copied(column: Column, tag: int | None = None, *, fitting: Mask | None = None) -> Part:
    """Return a column as it stands, byte for byte; in some of the frames only, if they are told."""
    tag = column.key.tag if tag is None else tag
    raws = [b""]
    for value, number in zip(column.values, column.kind_of, strict=True):
        assert isinstance(value, bytes)
        raws.append(_element(tag, Encoded(column.kinds[number], value)))
    codes = column.codes_of() + 1
    return _tidied(tag, raws, codes if fitting is None else np.where(fitting, codes, 0))


def made(keyword: str, values: Values) -> Part:
    """Return an attribute of these values."""
    tag = key_of(keyword).tag
    used = np.unique(values.codes[values.codes >= 0]).tolist()
    encoded = set_encoded(tag, [values.distinct[code] for code in used])
    raws = [b""] * (len(values.distinct) + 1)
    for code, value in zip(used, encoded, strict=True):
        raws[code + 1] = b"" if value is None else _element(tag, value)
    return _tidied(tag, raws, values.codes + 1)


def item_of(tag: int, parts: Sequence[Part], *, empty: bool = False) -> Part:
    """Return a sequence of one item that holds the parts.

    Each distinct item is put together once. Where it would be empty there is no sequence, unless
    an empty one is asked for.
    """
    ordered = sorted(parts, key=lambda part: part.tag)
    combinations, of = _combinations([part.codes for part in ordered], len(ordered[0].codes))
    raws = []
    for combination in combinations:
        content = b"".join(
            [part.raws[code] for part, code in zip(ordered, combination, strict=True)]
        )
        value = items.sequence([content], False)
        raws.append(_element(tag, Encoded(Kind("SQ"), value)) if content or empty else b"")
    return _tidied(tag, raws, of)


def in_all_frames(part: Part) -> Part:
    """Return a sequence that has no items in the frames that had none of it.

    A macro that one frame has all must have (PS3.3 C.7.6.16.1).
    """
    nothing = _element(part.tag, Encoded(Kind("SQ"), b""))
    return part._replace(raws=[raw or nothing for raw in part.raws])


def private_parts(columns: Iterable[Column]) -> list[Part]:
    """Return private elements with the blocks of their creators (PS3.5 7.8.1).

    Those without a creator stay where they are.
    """
    ordered = sorted(columns, key=lambda column: column.key)
    parts = [copied(column) for column in ordered if not column.key.creator]
    taken = {(part.tag >> 16, part.tag >> 8 & 0xFF) for part in parts}
    blocks: dict[tuple[int, str], int] = {}
    for column in ordered:
        group, creator = column.key.tag >> 16, column.key.creator
        if not creator:
            continue
        if (group, creator) not in blocks:
            block = _FIRST_BLOCK
            while (group, block) in taken:
                block += 1
            taken.add((group, block))
            blocks[group, creator] = block
            raw = _element(group << 16 | block, Encoded(Kind("LO"), creator.encode("utf-8")))
            parts.append(Part(group << 16 | block, [raw], np.zeros(column.rows, np.intp)))
        tag = group << 16 | blocks[group, creator] << 8 | column.key.tag & 0xFF
        parts.append(copied(column, tag))
    return parts


def shared(parts: Iterable[Part]) -> Encoded:
    """Return the value of SharedFunctionalGroupsSequence, of macros that do not vary."""
    content = b"".join([part.raws[0] for part in sorted(parts, key=lambda part: part.tag)])
    return Encoded(Kind("SQ", charset=UTF8), items.sequence([content], False))


def per_frame(parts: Iterable[Part], count: int) -> Encoded:
    """Return the value of PerFrameFunctionalGroupsSequence, an item per frame."""
    ordered = sorted(parts, key=lambda part: part.tag)
    rows = zip(
        *[[part.raws[code] for code in part.codes.tolist()] for part in ordered], strict=True
    )
    contents = [b"".join(row) for row in rows] if ordered else [b""] * count
    return Encoded(Kind("SQ", charset=UTF8), items.sequence(contents, False))
