"""Setting attributes: from what a user writes to what is staged.

All values are checked before anything is changed, and the changes of one call are one: a list
with one wrong value among thousands changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.functional import PER_FRAME, SHARED
from dbdicom_xr.index.store import FRAME, INSTANCE
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import AMBIGUOUS, Kind, known_vr
from dbdicom_xr.records.attributes.lookup import Attribute, alternatives
from dbdicom_xr.records.attributes.modules import IDENTITY
from dbdicom_xr.records.distinct import one_value
from dbdicom_xr.records.editing.frame_edits import edit_frames
from dbdicom_xr.staging.changing import Change, Selection
from dbdicom_xr.staging.encode import Encoded, encode, fits, set_encoded
from dbdicom_xr.staging.groups import belongs_in_groups
from dbdicom_xr.staging.patch import delta

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.record import Record

__all__ = [
    "apply",
    "edit_rows",
    "encoded_one",
    "encoder_of",
    "set_attribute",
    "set_frames",
    "set_same",
    "set_values",
    "with_character_sets",
    "writable",
]

Rows = npt.NDArray[np.intp]

_CHARSET: Final = Key(0x00080005)
_UTF8: Final = Encoded(Kind("CS"), b"ISO_IR 192")
_PIXEL_REPRESENTATION: Final = Key(0x00280103)
_POSITION: Final = Key(0x00200032)
_PLACES_OF_TILES: Final = frozenset(
    Key(tag) for tag in (0x00180088, 0x00200032, 0x00200037, 0x00280030)
)  # SpacingBetweenSlices, ImagePositionPatient, ImageOrientationPatient, PixelSpacing
_NEVER: Final = {
    0x00020010: "TransferSyntaxUID says how the pixels are encoded: they would have to be written "
    "anew",
    0x00020003: "it follows SOPInstanceUID: set that",
    0x00020002: "it follows SOPClassUID: set that",
    **dict.fromkeys(
        (0x7FE00008, 0x7FE00009, 0x7FE00010),
        "the attributes that describe the pixels would not fit them any more",
    ),
    SHARED: "set the attributes inside it, which every frame has as its own",
    PER_FRAME: "set the attributes inside it, which every frame has as its own",
}


def writable(attribute: Attribute) -> None:
    """Raise an error for attributes that cannot be set."""
    if attribute.custom is not None and attribute.custom.write is None:
        depends = ", ".join(str(name) for name in (attribute.custom.depends or ())[:4])
        raise InvalidValue(
            f"{attribute} cannot be set: it is worked out from others"
            + (f" ({depends}). Set those." if depends else ".")
        )
    if attribute.tag in _NEVER:
        raise InvalidValue(f"{attribute} cannot be set; {_NEVER[attribute.tag]}.")


def keys_to_write(attribute: Attribute, table: Table) -> list[Key]:
    """Return the columns of a series that an attribute is written to.

    Raises
    ------
    InvalidValue
        A private element that is named by number, where nothing tells whose it is.
    """
    if not attribute.is_private:
        return [Key(attribute.tag)]
    element = attribute.tag & 0xFFFF
    if attribute.creator:
        found = attribute.keys(table)
        if found:
            return found
        if attribute.tag >> 16 == 1:
            raise InvalidValue(
                f"{attribute} is not in this series, and its group is not known; write the whole "
                f"tag: record[{attribute.creator!r}, 0x0019100c]."
            )
        return [Key(attribute.tag & 0xFFFF00FF, attribute.creator)]
    if element < 0x1000:
        raise InvalidValue(
            f"{attribute} reserves a private block, and is written with the first element in it: "
            "record['CREATOR', 0x00191001] = value."
        )
    found = [key for key in attribute.keys(table) if key.creator]
    if not found and Key(attribute.tag) in table.keys:
        return [Key(attribute.tag)]  # as it stands there, whosever it is
    if not found:
        raise InvalidValue(
            f"{attribute} is private, and no creator has reserved its block here. Say whose it is: "
            f"record['CREATOR', 0x{attribute.tag:08x}] = value."
        )
    if len(found) > 1:
        raise InvalidValue(
            f"{attribute} belongs to several creators in this series: "
            f"{', '.join(repr(key.creator) for key in found)}. Say which: "
            f"record[{found[0].creator!r}, 0x{attribute.tag:08x}] = value."
        )
    return found


def encoder_of(table: Table | None, attribute: Attribute, key: Key) -> dict[str, Any]:
    """Return the arguments of ``encode`` for an attribute in a series."""
    vr = ""
    signed = -1
    if table is not None and len(table.places):
        for scope in (INSTANCE, FRAME):
            column = table.column(key, scope)
            if column is not None and column.kinds and column.kinds[0].vr not in ("", "UN", "--"):
                vr = column.kinds[0].vr
                break
        known = known_vr(key.dictionary_tag, key.creator)
        if known and not attribute.is_private:
            vr = "" if vr not in known else vr
        if known == AMBIGUOUS and not vr:
            values = table.values(_PIXEL_REPRESENTATION)
            found = [] if values is None else values.occurring()
            signed = int(found[0]) if found and isinstance(found[0], int) else -1
    tag = key.dictionary_tag if key.creator else key.tag
    return {"tag": tag, "creator": key.creator, "name": str(attribute), "vr": vr, "signed": signed}


def encoded_one(attribute: Attribute, value: Any) -> tuple[Key, Encoded | None]:
    """Return an attribute of a record that has nothing below it."""
    writable(attribute)
    value = one_value(value)
    if attribute.is_private and not attribute.creator:
        raise InvalidValue(
            f"{attribute} is private: say whose it is, with (creator, 0x{attribute.tag:08x})."
        )
    key = Key(attribute.tag, attribute.creator)
    arguments = encoder_of(None, attribute, key)
    return key, encode(arguments.pop("tag"), value, **arguments)


def set_attribute(record: Record, attribute: Attribute, value: Any) -> None:
    """Set one value at and below a record."""
    writable(attribute)
    value = one_value(value)
    if attribute.custom is not None:
        from dbdicom_xr.records.attributes.custom_written import write_custom

        tables = record._tables()
        count = sum(len(table) if rows is None else len(rows) for table, rows in tables)
        if not count:
            raise InvalidValue(
                f"{attribute} cannot be set, since there are no images in {record!r} yet. Set it "
                "when they are there."
            )
        write_custom(record.database, tables, attribute, [value] * count)
        return
    if attribute.name in IDENTITY:
        from dbdicom_xr.records.editing.placing import set_identity

        set_identity(record, attribute, value)
        return
    database = record.database
    if database._queue_edit(record, attribute, value):
        return
    with database._change() as change:
        tables = record._tables()
        set_same(change, tables, attribute, value, frames_only=record.level == "frame")
        record._set_made(change, attribute, value)


def set_same(
    change: Change,
    tables: Sequence[tuple[Table, Rows | None]],
    attribute: Attribute,
    value: Any,
    *,
    frames_only: bool = False,
) -> None:
    """Add to a change that all frames get one value, and where they are all of it the object."""
    apply(
        change,
        tables,
        attribute,
        lambda table, key: _same(encode(**_args(table, attribute, key, value))),
        frames_only=frames_only,
    )


def _args(table: Table, attribute: Attribute, key: Key, value: Any) -> dict[str, Any]:
    return {**encoder_of(table, attribute, key), "value": value}


def _same(encoded: Encoded | None) -> Callable[[Rows], tuple[list[Encoded | None], Any]]:
    return lambda rows: ([encoded], np.zeros(len(rows), np.int32))


def set_values(record: Record, attribute: Attribute, values: Sequence[Any]) -> None:
    """Set one value per frame at and below a record, in the order of its frames."""
    writable(attribute)
    if isinstance(values, (str, bytes, Mapping)) or not np.iterable(values):
        raise InvalidValue(
            f"{attribute} was given {values!r}; set_values wants a list with one value per frame. "
            f"To set the same everywhere: record.{attribute} = {values!r}."
        )
    values = list(values)
    tables = record._tables()
    count = sum(len(table) if rows is None else len(rows) for table, rows in tables)
    if len(values) != count:
        raise InvalidValue(
            f"{attribute} was given {len(values)} values, but there are {count} frames in "
            f"{record!r}; give one value for each."
        )
    if attribute.name in IDENTITY:
        from dbdicom_xr.records.editing.placing import set_identities

        set_identities(record, attribute, values)
        return
    set_frames(record.database, tables, attribute, values)


def set_frames(
    database: Database,
    tables: Sequence[tuple[Table, Rows | None]],
    attribute: Attribute,
    values: Sequence[Any],
    *,
    frames_only: bool = False,
) -> None:
    """Set one value per frame, in the order of the tables and of the rows in each."""
    writable(attribute)
    if attribute.custom is not None:
        from dbdicom_xr.records.attributes.custom_written import write_custom

        write_custom(database, tables, attribute, values)
        return
    with database._change() as change:
        start = 0
        for table, rows in tables:
            frames = np.arange(len(table)) if rows is None else rows
            mine = values[start : start + len(frames)]
            start += len(frames)

            def encoded(
                table: Table, key: Key, mine: Sequence[Any] = mine, frames: Rows = frames
            ) -> Callable[[Rows], tuple[list[Encoded | None], Any]]:
                arguments = encoder_of(table, attribute, key)
                every = set_encoded(arguments.pop("tag"), mine, **arguments)
                numbers: dict[Any, int] = {}
                codes = np.array([numbers.setdefault(one, len(numbers)) for one in every], np.int32)
                at = np.full(len(table), -1, np.int32)
                at[frames] = codes
                return lambda chosen: (list(numbers), at[chosen])

            apply(
                change,
                [(table, rows)],
                attribute,
                encoded,
                framewise=True,
                frames_only=frames_only,
            )


Encoder = Callable[[Table, Key], Callable[[Rows], tuple[list[Encoded | None], Any]]]


def apply(
    change: Change,
    tables: Sequence[tuple[Table, Rows | None]],
    attribute: Attribute,
    encoder: Encoder,
    *,
    framewise: bool = False,
    frames_only: bool = False,
) -> None:
    """Add the setting of an attribute to a change.

    Parameters
    ----------
    change : Change
    tables : sequence of (Table, rows of frames or None)
        Where.
    attribute : Attribute
    encoder : callable
        For a series and an attribute, a function that gives for rows of frames the distinct
        values, and the code of each row.
    framewise : bool
        Whether frames of one instance may get several values.
    frames_only : bool
        Whether single frames are meant rather than whole instances.
    """
    for table, rows in tables:
        frames = np.arange(len(table)) if rows is None else rows
        if not len(frames):
            continue
        instances = np.unique(table.instance_of[frames])
        selection = Selection(table.series.key, instances)
        edits: dict[Key, Column] = {}
        grouped = np.zeros(len(instances), np.bool_)
        group_edits: dict[int, dict[Key, dict[int | None, Encoded | None]]] = {}
        for key in keys_to_write(attribute, table):
            in_groups = _in_groups(table, attribute, key, instances)
            values, codes = encoder(table, key)(frames)
            for place in np.flatnonzero([name is not None for name in in_groups]).tolist():
                name = in_groups[place]
                assert name is not None
                grouped[place] = True
                mine = frames[table.instance_of[frames] == instances[place]]
                # The group may hold it under another keyword, and in another VR.
                inside, chosen = encoder(table, name)(mine)
                numbers = table.frame_numbers[mine] - 1
                per_frame: dict[int | None, Encoded | None]
                if not framewise and not frames_only:
                    per_frame = {None: inside[int(chosen[0])]}
                else:
                    per_frame = {
                        int(n): inside[int(code)] for n, code in zip(numbers, chosen, strict=True)
                    }
                group_edits.setdefault(place, {})[name] = per_frame
            plain = ~grouped
            if frames_only and plain.any():
                raise InvalidValue(
                    f"{attribute} is not an attribute of single frames here: no functional group "
                    "holds it. Set it on the instance."
                )
            if not framewise and not frames_only:
                # What stands at the top of the file as well must not go on saying something else.
                plain |= _has(table, key, instances)
            if plain.any():
                _no_mixture(table, attribute, instances[plain], frames, codes, values)
                firsts = np.searchsorted(table.instance_of[frames], instances)
                per_instance = np.where(plain, np.asarray(codes)[firsts], -1)
                absent = [i for i, value in enumerate(values) if value is None]
                nothing = np.isin(per_instance, absent) & ~_has(table, key, instances)
                per_instance[nothing] = -1  # nothing to take out
                whole = len(values) == 1 and bool((per_instance >= 0).all())
                if whole or bool((per_instance >= 0).any()):
                    codes = None if whole else per_instance
                    edits[key] = delta(key, values, codes, len(instances))
        if not edits and not group_edits:
            continue
        edits = with_character_sets(table, instances, edits)
        if group_edits:
            edit_frames(change, table, selection, group_edits, edits)
        else:
            change.edit(selection, edits)


def _has(table: Table, key: Key, instances: Rows) -> npt.NDArray[np.bool_]:
    """Return which instances have an attribute, outside functional groups."""
    column = table.column(key, INSTANCE)
    if column is None:
        return np.zeros(len(instances), np.bool_)
    return np.asarray(column.codes_of(instances) >= 0)


def _in_groups(table: Table, attribute: Attribute, key: Key, instances: Rows) -> list[Key | None]:
    """Return for each instance under which name its functional groups hold an attribute."""
    result: list[Key | None] = [None] * len(instances)
    if table.is_classic and table.column(Key(PER_FRAME)) is None:
        return result
    if key in _PLACES_OF_TILES and not table.is_classic:
        column = table.column(_POSITION, FRAME)
        several = table.places["frames"][instances] > 1
        if column is not None and several.any() and table.column(Key(PER_FRAME)) is None:
            raise InvalidValue(
                f"{attribute} decides where the slices of a mosaic lie, which is worked out when "
                "its file is read: it cannot be set."
            )
    owner = table.column(Key(PER_FRAME))
    shared = table.column(Key(SHARED))
    has_groups = [
        (owner is not None and owner.code(int(i)) >= 0)
        or (shared is not None and shared.code(int(i)) >= 0)
        for i in instances
    ]
    counts = table.places["frames"].astype(np.intp)
    for name in (key, *alternatives(attribute.name)):
        column = table.column(name, FRAME)
        for place, instance in enumerate(instances.tolist()):
            if result[place] is not None:
                continue
            found = False
            if column is not None:
                first = int(table.first_frames[instance])
                codes = column.codes_of(np.arange(first, first + counts[instance]))
                found = bool((codes >= 0).any())
            if found and not has_groups[place]:
                raise InvalidValue(
                    f"{attribute} of these frames is worked out from how they are stored in one "
                    "image, and cannot be set."
                )
            if found:
                result[place] = name
    for place, has in enumerate(has_groups):
        if has and result[place] is None:
            for name in (key, *alternatives(attribute.name)):
                if belongs_in_groups(name) and table.column(key, INSTANCE) is None:
                    result[place] = name
                    break
    return result


def _no_mixture(
    table: Table,
    attribute: Attribute,
    instances: Rows,
    frames: Rows,
    codes: Any,
    values: Sequence[Encoded | None],
) -> None:
    """Make sure that no instance gets several values for an attribute that it has once."""
    if table.is_classic or len(values) < 2:
        return
    owners = table.instance_of[frames]
    for instance in instances.tolist():
        if len(set(np.asarray(codes)[owners == instance].tolist())) > 1:
            raise InvalidValue(
                f"{attribute} is one for all frames of an instance here: no functional group holds "
                "it. Give the same value for all its frames."
            )


def with_character_sets(
    table: Table, instances: Rows, edits: Mapping[Key, Column]
) -> dict[Key, Column]:
    """Return edits with a change to UTF-8 where the character set lacks what is to be written.

    A file has one character set for all its text (PS3.3 C.12.1.1.2).
    """
    result = dict(edits)
    if _CHARSET in edits:
        return result
    column = table.column(_CHARSET)
    raw = [b""] if column is None else [*column.values, b""]
    of_instance = np.full(len(instances), -1) if column is None else column.codes_of(instances)
    too_small = np.zeros(len(instances), np.bool_)
    for edited in edits.values():
        codes = edited.codes_of()
        for number, value in enumerate(edited.values):
            kind = edited.kinds[edited.kind_of[number]]
            # Sequences of the files themselves, in which references were changed, fit as they are.
            if kind.charset != _UTF8.value or kind.implicit or not isinstance(value, bytes):
                continue
            for code in set(of_instance[codes == number].tolist()):
                charset = raw[code]
                if not fits(Encoded(kind, value), charset if isinstance(charset, bytes) else b""):
                    too_small |= (codes == number) & (of_instance == code)
    if too_small.any():
        codes = np.where(too_small, 0, -1)
        result[_CHARSET] = delta(_CHARSET, [_UTF8], codes, len(instances))
    return result


def edit_rows(change: Change, table: Table, edits: Mapping[Key, tuple[Any, Any]]) -> None:
    """Add the edits of single instances that a batch has collected: codes are -1 elsewhere."""
    columns: dict[Key, Column] = {}
    touched = np.zeros(len(table.places), np.bool_)
    for _, codes in edits.values():
        touched |= codes >= 0
    rows = np.flatnonzero(touched)
    for key, (values, codes) in edits.items():
        columns[key] = delta(key, values, codes[rows], len(rows))
    change.edit(Selection(table.series.key, rows), with_character_sets(table, rows, columns))
