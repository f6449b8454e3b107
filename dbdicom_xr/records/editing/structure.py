"""Copying, moving and removing records."""

from __future__ import annotations

import reprlib
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.merge import instance_numbers
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import Kind
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.modules import IDENTITY, keys_of
from dbdicom_xr.records.editing.edits import encoded_one, with_character_sets
from dbdicom_xr.records.editing.frame_edits import hold_for_frames, regrouped
from dbdicom_xr.records.editing.links import redirected
from dbdicom_xr.records.editing.placing import (
    Edits,
    attributes_of,
    constant,
    inherited,
    key_of_node,
    replaced_key,
    text_of,
    uid_edits,
)
from dbdicom_xr.records.tree import LEVELS, Node
from dbdicom_xr.staging.changing import Change, Selection
from dbdicom_xr.staging.encode import Encoded, encode
from dbdicom_xr.staging.file import EmptyRecord
from dbdicom_xr.staging.patch import delta
from dbdicom_xr.staging.uids import new_uid, new_uids

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.record import Record

__all__ = ["copy_apart", "copy_to", "keep_empty", "move_to", "place", "remove"]

_INSTANCE_NUMBER: Final = Key(0x00200013)
_SERIES_NUMBER: Final = Key(0x00200011)

Place = tuple[Table, np.ndarray[Any, np.dtype[np.intp]]]  # instances of one series


# -- copies and moves ------------------------------------------------------------------------


def _instances_below(record: Record) -> list[Place]:
    return [
        (table, np.arange(len(table.places)) if rows is None
         else np.unique(table.instance_of[rows]))
        for table, rows in record._tables()
    ]  # fmt: skip


def _by_series(instances: Sequence[Any]) -> list[Place]:
    """Return where instances stand, series by series."""
    rows: dict[int, tuple[Table, list[int]]] = {}
    for instance in instances:
        table, row = instance._locate()
        rows.setdefault(id(table), (table, []))[1].append(row)
    return [(table, np.array(sorted(set(mine)), np.intp)) for table, mine in rows.values()]


def _a(level: str) -> str:
    return f"An {level}" if level == "instance" else f"A {level}"


def _check_target(record: Any, target: Any, what: str) -> None:
    from dbdicom_xr.records.record import Record

    if not isinstance(target, Record):
        raise InvalidValue(
            f"{record!r} cannot be {what} to {reprlib.repr(target)}, which is not a record."
        )
    if record.level in ("database", "frame"):
        raise InvalidValue(f"{_a(record.level)} cannot be {what}; what is in it can.")
    wanted = LEVELS[LEVELS.index(record.level) - 1]
    if target.level != wanted:
        raise InvalidValue(
            f"{_a(record.level)} can be {what} to {_a(wanted).lower()}, not to {target!r}."
        )
    if target.database != record.database:
        raise InvalidValue(
            f"{record!r} cannot be {what} to another database, {target.database.path_on_disk}. "
            "Export it there as DICOM files instead."
        )


def move_to(record: Any, target: Any) -> Record:
    """Move a record under another parent; see ``Record.move_to``."""
    _check_target(record, target, "moved")
    if record.parent == target:
        return record  # type: ignore[no-any-return]
    return _place([record], target, copies=False)[0]


def copy_to(record: Any, target: Any, attributes: Mapping[str, Any] | None = None) -> Record:
    """Copy a record under another parent; see ``Record.copy_to``."""
    _check_target(record, target, "copied")
    return _place([record], target, copies=True, attributes=attributes)[0]


def place(records: Sequence[Any], target: Any, *, copies: bool) -> list[Record]:
    """Copy or move several records of one level at once, so that they keep referring to another."""
    for record in records:
        _check_target(record, target, "copied" if copies else "moved")
    if not copies:
        records = [record for record in records if record.parent != target]
    return _place(records, target, copies=copies)


def _place(
    records: Sequence[Any],
    target: Any,
    *,
    copies: bool,
    attributes: Mapping[str, Any] | None = None,
) -> list[Record]:
    """Put records under a parent of the level above theirs."""
    if not records:
        return []
    database: Database = target.database
    given = {parse_name(n, records[0]._has): v for n, v in (attributes or {}).items()}
    extra: Edits = dict(encoded_one(attribute, v) for attribute, v in given.items())
    level = records[0].level
    with database.batch():
        mover = _Mover(database, target, level, copies=copies)
        placed = mover.put(records, extra)
        if target.level != "database":
            hold_for_frames(target, placed)
        return placed


def copy_apart(database: Database, parts: Sequence[tuple[Sequence[Any], Any]]) -> None:
    """Copy instances to several series, each part to its own, as one change.

    One after the other, each would wait for a new tree: 520 series took 21 s in place of 2.
    """
    with database.batch():
        plans = []
        for instances, target in parts:
            mover = _Mover(database, target, "instance", copies=True)
            plans.append((mover, mover.plan(instances, {})))
        with database._change() as change:
            for mover, plan in plans:
                mover.add_to(change, plan)
        for mover, plan in plans:
            hold_for_frames(mover.target, mover.placed(plan))


_Job = tuple[Any, list[Place], Edits, dict[SeriesKey, SeriesKey]]


class _Plan(NamedTuple):
    """What becomes of records that are put somewhere."""

    records: Sequence[Any]
    jobs: list[_Job]
    nodes: list[Node | None]
    taken: set[int]  # numbers


class _Mover:
    """Puts records of one level under a parent, all as one change.

    Parameters
    ----------
    database : Database
    target : Record
        The parent.
    level : str
        Of the records.
    copies : bool
    """

    def __init__(self, database: Database, target: Any, level: str, *, copies: bool) -> None:
        self.database = database
        self.target = target
        self.level = level
        self.copies = copies
        self.uids: dict[str, str] = {}  # of instances, series and studies: old to new
        self.places: dict[str, tuple[str, str]] = {}  # instance to study and series, after it
        self._own_uid = IDENTITY[_NAME_OF.get(level, "SOPInstanceUID")]

    def put(self, records: Sequence[Any], extra: Edits) -> list[Record]:
        """Put records there."""
        plan = self.plan(records, extra)
        with self.database._change() as change:
            self.add_to(change, plan)
        return self.placed(plan)

    def plan(self, records: Sequence[Any], extra: Edits) -> _Plan:
        """Work out what becomes of records."""
        jobs: list[_Job] = []
        taken = _numbers_taken(self.target) if self.level in ("series", "instance") else set()
        if self.level == "instance":
            together = [(None, [place]) for place in _by_series(records)]
        else:
            together = [(record, _instances_below(record)) for record in records]
        for record, instances in together:
            edits = self._edits(record, [table for table, _ in instances], extra)
            if self.level == "series":
                self._number_series(record, edits, taken)
            keys = {table.series.key: self._new_key(table.series.key, edits)
                    for table, _ in instances}  # fmt: skip
            jobs.append((record, instances, edits, keys))
        self._map_instances(jobs)
        nodes = [None if record is None else record._node for record, *_ in jobs]
        return _Plan(records, jobs, nodes, taken)

    def add_to(self, change: Change, plan: _Plan) -> None:
        """Make what was planned part of a change."""
        self._keep_empty_parents(change, plan.records)
        self._note_names(change, plan.nodes, [edits for _, _, edits, _ in plan.jobs])
        for _, instances, edits, keys in plan.jobs:
            for table, rows in instances:
                self._put_one(change, table, rows, edits, keys[table.series.key], plan.taken)
        for record, _, edits, _ in plan.jobs:
            if record is not None:
                self._put_made(change, record, edits)

    def placed(self, plan: _Plan) -> list[Record]:
        """Return the records where they are now."""
        if self.level == "instance":
            from dbdicom_xr.records.instance import Instance

            uids = [self.uids[one.uid] if self.copies else one.uid for one in plan.records]
            return [Instance(self.database, self.target._key, uid) for uid in uids]
        return [
            self._result(node, edits)
            for node, (_, _, edits, _) in zip(plan.nodes, plan.jobs, strict=True)
            if node is not None
        ]

    def _note_names(
        self, change: Change, nodes: Sequence[Node | None], edits: Sequence[Edits]
    ) -> None:
        """Let handles find what got a UID by being moved, since it had none."""
        for node, edited in zip(nodes, edits, strict=True):
            if node is not None and not self.copies and self._own_uid in edited:
                uid = text_of(edited, _NAME_OF[self.level])
                self.database._renamed.note(self.level, node.key, [uid], change.view.number)

    # -- where to, and with which attributes ---------------------------------------------------

    def _edits(self, record: Any, tables: Sequence[Table], extra: Edits) -> Edits:
        """Return the attributes that all instances of a record get."""
        edits: Edits = {}
        if self.level != "patient":
            edits = inherited(self.database, self.target._node, tables)
            key = key_of_node(self.target._node)
            depth = LEVELS.index(self.target.level)
            names = ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID")
            for number, name in enumerate(names[: depth + 1]):
                if (
                    number == 1
                    and not key[1]
                    and not any(table.column(IDENTITY[name]) for table in tables)
                ):
                    continue
                edits[IDENTITY[name]] = encode(IDENTITY[name].tag, key[number])
        if self.level in _NAME_OF and (self.copies or not record._node.uid):
            new = f"P{secrets.token_hex(5).upper()}" if self.level == "patient" else new_uid()
            edits[self._own_uid] = encode(self._own_uid.tag, new)
            if self.level != "patient" and record._node.uid:
                self.uids[record._node.uid] = new
        for name in IDENTITY:
            if IDENTITY[name] in extra:
                raise InvalidValue(f"{name} cannot be given for a copy: its place decides it.")
        edits.update(extra)
        return edits

    def _number_series(self, record: Any, edits: Edits, taken: set[int]) -> None:
        if _SERIES_NUMBER in edits:
            return
        row = record._node.row
        number = None if row is None else row.series_number
        if number is not None and number not in taken:
            taken.add(number)
            return
        if number is None and not self.copies:
            return
        number = max([0, *taken]) + 1
        taken.add(number)
        edits[_SERIES_NUMBER] = encode(_SERIES_NUMBER.tag, number)

    def _new_key(self, key: SeriesKey, edits: Edits) -> SeriesKey:
        if self.copies:  # what lies below the record is new as well
            below = {"patient": ("study_uid", "series_uid"), "study": ("series_uid",)}
            for name in below.get(self.level, ()):
                old = getattr(key, name)
                key = key._replace(**{name: self.uids.setdefault(old, new_uid())})
        return replaced_key(key, edits)

    def _map_instances(self, jobs: Sequence[Any]) -> None:
        for _, instances, _, keys in jobs:
            for table, rows in instances:
                uids = [table.uids[i] for i in rows.tolist()]
                if self.copies:
                    # In order: instances with equal numbers stand in the order of their UIDs.
                    self.uids.update(zip(uids, sorted(new_uids(len(uids))), strict=True))
                else:
                    key = keys[table.series.key]
                    if (key.study_uid, key.series_uid) != table.series.key[2:]:
                        self.places.update(dict.fromkeys(uids, (key.study_uid, key.series_uid)))

    # -- one series ----------------------------------------------------------------------------

    def _put_one(
        self,
        change: Change,
        table: Table,
        rows: Any,
        edits: Edits,
        key: SeriesKey,
        taken: set[int],
    ) -> None:
        if not len(rows):
            return
        columns = constant({k: v for k, v in edits.items() if k not in _UID_KEYS}, len(rows))
        for name, text in zip(_UID_NAMES, key, strict=True):
            if IDENTITY[name] in edits or (self.copies and name.endswith("UID")):
                encoded = encode(IDENTITY[name].tag, text)
                columns[IDENTITY[name]] = delta(IDENTITY[name], [encoded], None, len(rows))
        uids = [table.uids[i] for i in rows.tolist()]
        new: list[str] | None = None
        if self.copies:
            new = [self.uids[uid] for uid in uids]
            columns.update(uid_edits(table, [Encoded(Kind("UI"), _padded(uid)) for uid in new]))
        if self.level == "instance":
            self._number_instances(table, rows, columns, taken)
        mapping = self.uids if self.copies else {}
        columns.update(redirected(table, rows, mapping, {} if self.copies else self.places))
        columns = with_character_sets(table, rows, columns)
        selection = Selection(table.series.key, rows)
        frames = regrouped(table, rows, columns)
        if new is not None:
            change.copy(selection, columns, target=key, uids=new, frames=frames)
        else:
            change.edit(selection, columns, target=key, frames=frames)

    def _number_instances(self, table: Table, rows: Any, columns: Any, taken: set[int]) -> None:
        """Give instances other numbers where theirs are taken in the series they come into."""
        column = table.column(_INSTANCE_NUMBER)
        numbers = instance_numbers({} if column is None else {_INSTANCE_NUMBER: column},
                                   len(table.places))[rows]  # fmt: skip
        wanted = {int(number) for number in numbers[np.isfinite(numbers)]}
        if len(wanted) == len(rows) and not wanted & taken:
            taken |= wanted
            return
        first = max([0, *taken]) + 1
        fresh = list(range(first, first + len(rows)))
        taken |= set(fresh)
        encoded = [encode(_INSTANCE_NUMBER.tag, number) for number in fresh]
        columns[_INSTANCE_NUMBER] = delta(
            _INSTANCE_NUMBER, encoded, np.arange(len(rows)), len(rows)
        )

    # -- records made by hand ------------------------------------------------------------------

    def _keep_empty_parents(self, change: Change, records: Sequence[Any]) -> None:
        if self.copies:
            return
        leaving: dict[Any, int] = {}
        for record in records:
            parent = record.parent
            leaving[parent] = leaving.get(parent, 0) + 1
        for parent, count in leaving.items():
            if count == len(parent):
                keep_empty(change, self.database, parent)

    def _put_made(self, change: Change, record: Any, edits: Edits) -> None:
        """Take along records made by hand at and below a record."""
        from dbdicom_xr.records.editing.placing import below

        for made in below(self.database, record._node):
            key = made.key
            if self.copies:
                for name in ("study_uid", "series_uid"):
                    old = getattr(key, name)
                    if old and not (self.level == "series" and name == "study_uid"):
                        key = key._replace(**{name: self.uids.setdefault(old, new_uid())})
            else:
                change.empty.pop(made.place, None)
            key = replaced_key(key, edits, made.level)
            attributes = dict(made.attributes)
            for name, text in zip(_UID_NAMES, key, strict=True):
                if IDENTITY[name] in attributes:
                    encoded = encode(IDENTITY[name].tag, text)
                    assert encoded is not None
                    attributes[IDENTITY[name]] = encoded
            if (
                _SERIES_NUMBER in edits
                and made.level == "series"
                and (number := edits[_SERIES_NUMBER])
            ):
                attributes[_SERIES_NUMBER] = number
            renamed = EmptyRecord(made.level, key, attributes)
            change.empty[renamed.place] = renamed

    def _result(self, node: Node, edits: Edits) -> Record:
        if self.level == "patient":
            key = SeriesKey(text_of(edits, "PatientID"), node.patient[1], "", "")
        else:
            own = self._own_uid in edits
            uid = text_of(edits, _NAME_OF[self.level]) if own else node.uid
            key = key_of_node(self.target._node)
            key = key._replace(**{"study_uid" if self.level == "study" else "series_uid": uid})
        return self.database._record_at(self.level, key)


_NAME_OF: Final = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
}
_UID_NAMES: Final = ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID")
_UID_KEYS: Final = frozenset(IDENTITY[name] for name in _UID_NAMES)


def _padded(uid: str) -> bytes:
    raw = uid.encode("ascii")
    return raw + b"\0" if len(raw) % 2 else raw


def _numbers_taken(target: Any) -> set[int]:
    """Return the numbers of the series of a study, or of the instances of a series."""
    node: Node = target._node
    if target.level == "study":
        return {row.series_number for row in node.series() if row.series_number is not None}
    if target.level != "series" or node.row is None:
        return set()
    table = target.database._table(node.row)
    column = table.column(_INSTANCE_NUMBER)
    numbers = instance_numbers({} if column is None else {_INSTANCE_NUMBER: column},
                               len(table.places))  # fmt: skip
    return {int(number) for number in numbers[np.isfinite(numbers)]}


def keep_empty(change: Change, database: Database, parent: Any) -> None:
    """Keep a record that loses all that is below it, with what it says of itself."""
    if parent.level == "database":
        return
    key = key_of_node(parent._node)
    if (parent.level, key) in change.empty:
        return
    keys: list[Key] = []
    for module, level in (("patient", 1), ("study", 2), ("patient study", 2), ("series", 3)):
        if LEVELS.index(parent.level) == level:
            keys += keys_of(module)
    said = {k: v for k, v in attributes_of(database, parent._node, keys).items() if v is not None}
    made = EmptyRecord(parent.level, key, said)
    change.empty[made.place] = made
    # Its own place must not hang in the air.
    above = parent.parent
    if len(above) == 1:
        keep_empty(change, database, above)


def remove(record: Any) -> None:
    """Take a record out of the database; see ``Record.remove``."""
    if record.level in ("database", "frame"):
        raise InvalidValue(
            f"{_a(record.level)} cannot be removed; "
            + ("remove its patients." if record.level == "database" else "remove its instance.")
        )
    from dbdicom_xr.records.editing.placing import below

    database: Database = record.database
    with database._change() as change:
        parent = record.parent
        if len(parent) == 1:
            keep_empty(change, database, parent)
        for table, rows in _instances_below(record):
            change.remove(Selection(table.series.key, rows))
        if record.level != "instance":
            for made in below(database, record._node):
                change.empty.pop(made.place, None)
