"""Attributes of single frames are edited where they stand: in the functional groups.

The rules are those by which the index finds attributes of frames (``index.functional``), so that
afterwards it finds the new values in the frames that were edited, and all else as it was. A macro
is either shared or per frame (PS3.3 C.7.6.16.1.1): one that is no longer the same for all frames
moves, as it is, into the item of every frame.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from struct import error as StructError
from typing import TYPE_CHECKING, Final

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import Malformed, Unusual, tag_bytes
from dbdicom_xr.index.functional import (
    _describes_frame,
    _flatten,
    _Found,
    _is_code,
    _of_a_frame,
)
from dbdicom_xr.index.values import Kind, known_vr
from dbdicom_xr.staging.items import (
    Element,
    Item,
    edited,
    is_implicit,
    keys_of,
    placed,
    split_elements,
    split_items,
    together,
    with_content,
)
from dbdicom_xr.staging.macros import Path, belongs_in_groups, never_shared, standard_places

if TYPE_CHECKING:
    from dbdicom_xr.staging.encode import Encoded

__all__ = ["belongs_in_groups", "edit_groups", "lives_in_groups"]

_OfFrame = tuple[dict[Key, _Found], bytes]  # what the shared item says, and the frame's own item

_DEEPEST: Final = 16  # as the index looks


def edit_groups(
    shared: bytes | None,
    per_frame: bytes | None,
    frames: int,
    kind: Kind,
    edits: Mapping[Key, Mapping[int | None, Encoded | None]],
) -> tuple[bytes | None, bytes | None]:
    r"""Return the functional groups of an instance with attributes of frames changed.

    Parameters
    ----------
    shared, per_frame : bytes or None
        The values of the two functional group sequences.
    frames : int
        Number of frames.
    kind : Kind
        Encoding of the data set.
    edits : mapping
        For each attribute its values by frame, from 0; None stands for all frames that are not
        named. A value that is None deletes.

    Returns
    -------
    tuple of bytes or None
        The new values of the two sequences; unchanged bytes where nothing changed in them.

    Raises
    ------
    InvalidValue
        No functional group holds the attribute and none is made for it; a frame has no item; or
        the groups are such that other attributes would change.
    Malformed
        The sequences are damaged.

    Examples
    --------
    >>> item = b"\xfe\xff\x00\xe0\x0c\0\0\0\x18\0\x14\x13DS\x04\x0015  "
    >>> shared, per_frame = edit_groups(item, None, 1, Kind("SQ"), {Key(0x00181314): {None: None}})
    >>> shared
    b'\xfe\xff\x00\xe0\x00\x00\x00\x00'
    """
    groups = _Groups(shared, per_frame, frames, kind)
    try:
        for key, changes in edits.items():
            groups.edit(key, changes)
    except (StructError, Unusual) as error:
        raise Malformed(f"the functional groups are damaged: {error}") from None
    return groups.values()


def lives_in_groups(shared: bytes | None, per_frame: bytes | None, kind: Kind, key: Key) -> bool:
    """Return whether the functional groups of an instance hold an attribute for any frame.

    Parameters and exceptions are those of :func:`edit_groups`.
    """
    if _Groups(shared, None, 0, kind).in_shared(key):
        return True
    return _Groups(None, per_frame, 0, kind).first_row_path(key) is not None


class _Groups:
    """The functional groups of one instance, while they are edited."""

    def __init__(
        self, shared: bytes | None, per_frame: bytes | None, frames: int, kind: Kind
    ) -> None:
        self._was = shared, per_frame
        self._implicit, self._big = kind.implicit, kind.big_endian
        self._frames = frames
        self._common, self._common_rest = self._split(shared)
        self._rows, self._rows_rest = self._split(per_frame)
        self._changed = [False, False]

    def _split(self, value: bytes | None) -> tuple[list[Item], bytes]:
        return split_items(value, self._implicit, self._big) if value else ([], b"")

    def values(self) -> tuple[bytes | None, bytes | None]:
        """Return both sequences as bytes."""
        shared, per_frame = self._was
        if self._changed[0]:
            shared = together(self._common, self._common_rest)
        if self._changed[1]:
            per_frame = together(self._rows, self._rows_rest)
        return shared, per_frame

    # -- what is where ---------------------------------------------------------------------

    def in_shared(self, key: Key) -> list[Path]:
        """Return the places of an attribute in the shared groups, the one that counts first."""
        return self._places(self._common[0].content, key) if self._common else []

    def first_row_path(self, key: Key) -> Path | None:
        """Return the place of an attribute in the first item of a frame that has it."""
        for row in self._rows:
            if found := self._places(row.content, key):
                return found[0]
        return None

    def _places(self, content: bytes, key: Key) -> list[Path]:
        if not self._may_hold(content, key):
            return []
        return _occurrences(content, key, self._implicit, self._big)

    def _may_hold(self, content: bytes, key: Key) -> bool:
        # Most items are told so in 0.1 us; to look through one takes 50.
        if not key.creator:
            return _tag(key.tag, self._big) in content
        return not key.creator.isascii() or key.creator.encode("ascii") in content

    def _has(self, item: Item, key: Key) -> bool:
        """Return whether an item has an element of this name, not looking into sequences."""
        if not self._may_hold(item.content, key):
            return False
        implicit = is_implicit(item.content, self._implicit)
        return key in keys_of(split_elements(item.content, implicit, self._big)[0])

    def _row(self, frame: int) -> Item:
        if frame >= len(self._rows):
            raise InvalidValue(
                f"Frame {frame} has no item in the per-frame functional groups, which describe "
                f"{len(self._rows)} of {self._frames} frames; its attributes cannot be set."
            )
        return self._rows[frame]

    # -- editing ---------------------------------------------------------------------------

    def edit(self, key: Key, changes: Mapping[int | None, Encoded | None]) -> None:
        """Change one attribute in some frames, or in all."""
        wanted: dict[int, Encoded | None] = {}
        if None in changes:
            wanted = dict.fromkeys(range(self._frames), changes[None])
        for frame, value in changes.items():
            if frame is None:
                continue
            if not 0 <= frame < self._frames:
                raise InvalidValue(
                    f"There is no frame {frame}; the frames are 0 to {self._frames - 1}."
                )
            wanted[frame] = value
        if not wanted:
            return
        first = next(iter(wanted.values()))
        if len(wanted) < self._frames or any(value != first for value in wanted.values()):
            self._set_some(key, wanted)
        elif first is None:
            self._delete_all(key)
        else:
            self._set_all(key, first)

    def _delete_all(self, key: Key) -> None:
        if self._common:
            self._change_shared(self._without(self._common[0].content, key))
        for frame in range(min(self._frames, len(self._rows))):
            self._change_row(frame, self._without(self._rows[frame].content, key))

    def _set_all(self, key: Key, value: Encoded) -> None:
        shared = self.in_shared(key)
        in_row = self.first_row_path(key)
        if shared:
            self._change_shared(self._edited(self._common[0].content, shared[0], value))
            if in_row is None:
                return
            place, limit = None, _depth(shared[0])
        elif in_row is not None:
            place, limit = in_row, _DEEPEST
        else:
            place, limit = self._new_place(key), _DEEPEST
            if self._goes_into_shared(place[0]):
                self._change_shared(self._edited(self._common[0].content, place, value))
                return
        for frame in range(self._frames if place else min(self._frames, len(self._rows))):
            content = self._row(frame).content
            if path := self._counts_in_row(frame, key, limit) or place:
                self._change_row(frame, self._edited(content, path, value))

    def _set_some(self, key: Key, wanted: Mapping[int, Encoded | None]) -> None:
        shared = self.in_shared(key)
        limit = _DEEPEST
        place: Path | None = None
        if shared:
            place, limit = shared[0], _depth(shared[0])
            if None in wanted.values():
                self._move_to_frames([path[0] for path in shared], wanted)
            elif not all(self._counts_in_row(frame, key, limit) for frame in wanted):
                self._move_to_frames([place[0]], wanted)
        elif any(value is not None for value in wanted.values()):
            place = self.first_row_path(key)
            if place is None:
                place = self._new_place(key)
                if self._common and self._has(self._common[0], place[0]):
                    self._move_to_frames([place[0]], wanted)
        for frame, value in wanted.items():
            if value is None:
                if frame < len(self._rows):
                    self._change_row(frame, self._without(self._rows[frame].content, key))
                continue
            content = self._row(frame).content
            path = self._counts_in_row(frame, key, limit) or place
            assert path is not None
            self._change_row(frame, self._edited(content, path, value))

    def _counts_in_row(self, frame: int, key: Key, limit: int) -> Path | None:
        """Return the place of an attribute in the item of a frame, if no deeper than ``limit``.

        What is deeper than in the shared groups does not count there.
        """
        own = self._places(self._row(frame).content, key)
        return own[0] if own and _depth(own[0]) <= limit else None

    def _goes_into_shared(self, macro: Key) -> bool:
        """Return whether a macro stands in the shared groups, or, if new, should."""
        if not self._common or self._has(self._common[0], macro):
            return bool(self._common)
        return macro not in never_shared() and not any(self._has(row, macro) for row in self._rows)

    def _new_place(self, key: Key) -> Path:
        """Return where an attribute belongs that no group has."""
        places = standard_places(key)
        if len(places) == 1:
            return places[0]
        for place in places:
            if any(self._has(item, place[0]) for item in (*self._common[:1], *self._rows)):
                return place
        raise InvalidValue(f"No functional group holds {key}; set it on the instance.")

    def _edited(self, content: bytes, path: Path, value: Encoded | None) -> bytes:
        return edited(content, path, value, self._implicit, self._big)

    def _without(self, content: bytes, key: Key) -> bytes:
        for path in self._places(content, key):
            content = self._edited(content, path, None)
        return content

    def _change_shared(self, content: bytes) -> None:
        if content != self._common[0].content:
            self._common[0] = with_content(self._common[0], content, self._big)
            self._changed[0] = True

    def _change_row(self, frame: int, content: bytes) -> None:
        if content != self._rows[frame].content:
            self._rows[frame] = with_content(self._rows[frame], content, self._big)
            self._changed[1] = True

    # -- from shared to per frame ----------------------------------------------------------

    def _move_to_frames(self, tops: Sequence[Key], wanted: Mapping[int, Encoded | None]) -> None:
        """Move elements of the shared item, mostly macros, into the item of every frame."""
        self._row(self._frames - 1)
        common = self._common[0].content
        before = after = self._flat(common)
        tops = self._moving_with(tops)
        parts = self._elements(common)
        moved = {top: parts[top] for top in tops}
        frames: Sequence[int] = range(len(self._rows))
        twice = [i for i in frames if any(self._has(self._rows[i], top) for top in tops)]
        if twice:
            # Against the standard, but what stands in the item of a frame comes first.
            if None in wanted.values():
                raise InvalidValue(
                    f"What stands in {tops[0]} can be deleted from all frames only: it is in the "
                    f"shared functional groups, and in those of frame {twice[0]} too, which the "
                    "standard rules out (PS3.3 C.7.6.16.1.1)."
                )
            frames = list(wanted)
        else:
            for top in tops:
                self._change_shared(self._without_macro(self._common[0].content, top))
            after = self._flat(self._common[0].content)
        alone = self._with_macros(b"", moved)
        keys = self._attributes_in(alone)
        self._check_same(keys, (before, b""), (after, alone), "the shared functional groups")
        pattern = re.compile(b"|".join(map(self._pattern_of, keys)) or b"(?!)", re.DOTALL)
        for frame in frames:
            old = self._rows[frame].content
            new = self._with_macros(old, moved)
            # Most items hold nothing of the kind, and 10,000 take half a second to look through.
            if pattern.search(old):
                self._check_same(keys, (before, old), (after, new), f"those of frame {frame}")
            self._change_row(frame, new)

    def _moving_with(self, tops: Sequence[Key]) -> list[Key]:
        """Return which elements of the shared item have to move together.

        Where two macros hold an attribute, vendors' mostly, one of them counts. Both move, so that
        it is the same one afterwards.
        """
        result = list(dict.fromkeys(tops))
        parts = self._elements(self._common[0].content)
        for top in result:  # which grows meanwhile
            for key in self._attributes_in(self._with_macros(b"", {top: parts[top]})):
                holders = dict.fromkeys(path[0] for path in self.in_shared(key))
                result += [holder for holder in holders if holder not in result]
        return result

    def _flat(self, content: bytes) -> dict[Key, _Found]:
        return _flatten(content, self._implicit, self._big)

    def _elements(self, content: bytes) -> dict[Key, Element]:
        """Return the elements of an item by name; of several of one name the first."""
        elements = split_elements(content, is_implicit(content, self._implicit), self._big)[0]
        names = keys_of(elements)
        return dict(zip(reversed(names), reversed(elements), strict=True))

    def _without_macro(self, content: bytes, top: Key) -> bytes:
        implicit = is_implicit(content, self._implicit)
        return placed(content, top, implicit, self._big, lambda tag, old: None)

    def _with_macros(self, content: bytes, moved: Mapping[Key, Element]) -> bytes:
        """Return an item with elements of the shared item, where it has none of the name."""
        for top, part in moved.items():
            implicit = not part.vr
            if is_implicit(content, implicit) != implicit:
                raise InvalidValue(f"{top} cannot move: the functional groups differ in encoding.")

            def make(tag: int, old: Element | None, part: Element = part) -> Element:
                return old or part._replace(tag=tag, head=_tag(tag, self._big) + part.head[4:])

            content = placed(content, top, implicit, self._big, make)
        return content

    def _attributes_in(self, content: bytes) -> set[Key]:
        """Return the names of what the index finds in an item."""
        # Which block a creator has says nothing about the frame.
        return {
            key
            for key in self._flat(content)
            if key.creator or not key.tag & 0x10000 or key.tag & 0xFF00
        }

    def _pattern_of(self, key: Key) -> bytes:
        tag = _tag(key.tag, self._big)
        if not key.creator:
            return re.escape(tag)
        group, low = tag[:2], tag[3:] if self._big else tag[2:3]
        number = (b".", re.escape(low)) if self._big else (re.escape(low), b".")
        return re.escape(group) + b"".join(number)

    def _check_same(self, keys: set[Key], before: _OfFrame, after: _OfFrame, where: str) -> None:
        """Raise if a frame would show another value than before, of what is in a macro."""
        old, new = (_shown(common, self._flat(own)) for common, own in (before, after))
        for key in keys:
            if old.get(key) != new.get(key):
                raise InvalidValue(
                    f"{key} stands in the shared functional groups, and elsewhere in {where}; its "
                    "value would change if the macro that holds it were different by frame."
                )


def _shown(common: dict[Key, _Found], own: dict[Key, _Found]) -> dict[Key, tuple[str, bytes]]:
    """Return what a frame shows, as the index has it: VR and value."""
    result = common | {
        key: found
        for key, found in own.items()
        if key not in common or common[key].depth >= found.depth
    }
    return {key: found[:2] for key, found in result.items()}


def _depth(path: Path) -> int:
    return max(len(path) - 1, 1)


def _occurrences(content: bytes, key: Key, implicit: bool, big: bool) -> list[Path]:
    """Return where the index finds an attribute in an item, the place that counts first."""
    found: list[Path] = []
    level: list[tuple[bytes, bool, int, Path]] = [(content, implicit, 0, ())]
    depth = 0
    while level:
        if depth > _DEEPEST:
            raise Malformed(f"functional groups nested deeper than {_DEEPEST}")
        inner = []
        for part, outer_implicit, parent, path in level:
            is_part_implicit = is_implicit(part, outer_implicit)
            elements = split_elements(part, is_part_implicit, big)[0]
            for one, name in zip(elements, keys_of(elements), strict=True):
                if not one.tag & 0x10000 and not _of_a_frame(one.tag, depth, parent):
                    continue
                if name == key:
                    found.append((*path, name))
                known = one.vr or known_vr(name.dictionary_tag, name.creator)
                if known == "SQ" and _describes_frame(one.tag):
                    items = split_items(one.value, is_part_implicit, big)[0]
                    if len(items) == 1 and not _is_code(items[0].content, big):
                        inner.append((items[0].content, is_part_implicit, one.tag, (*path, name)))
        level = inner
        depth += 1
    return found


def _tag(tag: int, big: bool) -> bytes:
    return tag.to_bytes(4, "big") if big else tag_bytes(tag)
