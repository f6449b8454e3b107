"""Where instances stand: what they take over from a new place, what moves with an identifier."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import Kind, known_vr
from dbdicom_xr.records.attributes.lookup import Attribute
from dbdicom_xr.records.attributes.modules import IDENTITY, MUST_BE_THERE, keys_of
from dbdicom_xr.records.editing.edits import with_character_sets
from dbdicom_xr.records.tree import Node
from dbdicom_xr.staging.changing import Change, Selection
from dbdicom_xr.staging.encode import Encoded, encode, set_encoded
from dbdicom_xr.staging.file import EmptyRecord
from dbdicom_xr.staging.patch import delta

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.record import Record

__all__ = ["Edits", "attributes_of", "constant", "identity_of", "inherited", "key_of_node",
    "rename", "said_at", "set_identities", "set_identity", "taken_over", "text_of"]  # fmt: skip

Edits = dict[Key, Encoded | None]

_MEDIA_STORAGE_UID: Final = Key(0x00020003)
_ORDER: Final = ("patient", "study", "series")


def text_of(edits: Mapping[Key, Encoded | None], keyword: str) -> str:
    """Return an identifier among edits, as it stands in a key."""
    value = edits.get(IDENTITY[keyword])
    if value is None:
        return ""
    charset = "utf-8" if value.kind.charset else "ascii"
    return value.value.decode(charset, "replace").strip(" \0")


def key_of_node(node: Node) -> SeriesKey:
    """Return the place of a patient, study or series; "" below its level."""
    if node.level == "patient":
        return SeriesKey(*node.patient, "", "")
    if node.level == "study":
        return SeriesKey(*node.patient, node.uid, "")
    assert node.level == "series"
    assert node.parent is not None
    return SeriesKey(*node.patient, node.parent.uid, node.uid)


def identity_of(key: SeriesKey) -> Edits:
    """Return the identifiers of a place, those that it has."""
    names = ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID")
    return {
        IDENTITY[name]: _as_it_stands(IDENTITY[name].tag, text)
        for name, text in zip(names, key, strict=True)
        if text or name.startswith("Patient")
    }


def _as_it_stands(tag: int, text: str) -> Encoded | None:
    """Return an identifier that is in use, also one that is not by the rules."""
    try:
        return encode(tag, text)
    except InvalidValue:
        if not text.isascii():
            raise
        raw = text.encode("ascii")
        return Encoded(Kind(known_vr(tag)), raw + b"\0" * (len(raw) % 2))


def constant(edits: Mapping[Key, Encoded | None], rows: int) -> dict[Key, Column]:
    """Return edits that are the same for all rows."""
    return {key: delta(key, [value], None, rows) for key, value in edits.items()}


def attributes_of(database: Database, node: Node, keys: Iterable[Key]) -> Edits:
    """Return attributes of a patient, study or series: of its first instance, or as it was made."""
    found: Edits = {}
    for row in node.series():
        if not row.instances:
            continue
        table = database._table(row)
        present = set(table.keys)
        for key in keys:
            value = first_value(table, key) if key in present else None
            if value is not None:
                found[key] = value
        break
    if node.made is not None:
        for key, encoded in node.made.attributes.items():
            found.setdefault(key, encoded)
    return found


def said_at(database: Database, node: Node) -> Edits:
    """Return what holds for all that comes into a patient, study or series.

    Each level speaks for itself; what was said of a record made by hand holds in any case.
    """
    said: Edits = {}
    level: Node | None = node
    while level is not None and level.level != "database":
        modules = {"patient": ["patient"], "study": ["study", "patient study"],
                   "series": ["series"]}[level.level]  # fmt: skip
        keys = [key for module in modules for key in keys_of(module)]
        for key, value in attributes_of(database, level, keys).items():
            said.setdefault(key, value)
        level = level.parent
    return said


def first_value(table: Table, key: Key) -> Encoded | None:
    """Return what the first instance of a series that has an attribute says."""
    column = table.column(key)
    if column is None:
        return None
    code = next((code for code in column.codes_of().tolist() if code >= 0), None)
    if code is None:
        return None
    raw, kind = column.values[code], column.kinds[column.kind_of[code]]
    if not isinstance(raw, bytes):
        return None
    value = column.decoded()[code]
    if value is None:
        return encode(key.tag, "")
    try:
        return encode(key.tag, value, creator=key.creator)
    except InvalidValue:
        # Not by the rules, but as it stands in the files there; to be carried along all the same.
        if not raw.isascii():
            raise
        return Encoded(kind._replace(vr=kind.vr or known_vr(key.tag), charset=b""), raw)


def inherited(database: Database, parent: Node, tables: Sequence[Table]) -> Edits:
    """Return what instances take over from the record that they come into.

    Parameters
    ----------
    database : Database
    parent : Node
        Of a patient, a study or a series.
    tables : sequence of Table
        Of the instances.

    Returns
    -------
    dict
        Values; None takes an attribute away. What describes the patient or the study is that of
        the new place and nothing else: no birth date of another patient stays behind. Of the
        series, what it says replaces what was there, and all else stays.
    """
    same_patient = all(
        (table.series.key.patient_id, table.series.key.patient_name) == parent.patient
        for table in tables
    )
    present = {key for table in tables for key in table.keys}
    return taken_over(database, parent, present, same_patient=same_patient)


def taken_over(
    database: Database, parent: Node, present: Collection[Key], *, same_patient: bool
) -> Edits:
    """Return what instances that have some attributes take over; see :func:`inherited`."""
    depth = _ORDER.index(parent.level)
    strict = [*keys_of("patient")]
    loose: list[Key] = []
    if depth >= 1:
        strict += keys_of("study")
        loose += keys_of("patient study")
    if depth >= 2:
        loose += keys_of("series")
    said = said_at(database, parent)
    if depth >= 1 and not same_patient:
        strict += keys_of("patient study")
    edits: Edits = {}
    for key in dict.fromkeys([*strict, *loose, *said]):
        if key in said:
            edits[key] = said[key]
        elif key in strict and key in present:
            edits[key] = encode(key.tag, "") if key in MUST_BE_THERE else None
    return edits


# -- identifiers -----------------------------------------------------------------------------


def rename(
    change: Change, database: Database, nodes: Sequence[Node], edits: Edits
) -> list[tuple[SeriesKey, SeriesKey]]:
    """Give all below some nodes other identifiers, records made by hand included.

    Returns
    -------
    list of (SeriesKey, SeriesKey)
        The series, before and after.
    """
    moved = []
    for node in nodes:
        for row in node.series():
            target = replaced_key(row.key, edits)
            moved.append((row.key, target))
            if row.instances:
                rows = np.arange(row.instances)
                columns = constant(edits, row.instances)
                columns = with_character_sets(database._table(row), rows, columns)
                change.edit(Selection(row.key, rows), columns, target=target)
        for made in below(database, node):
            del change.empty[made.place]
            attributes = {**made.attributes, **{k: v for k, v in edits.items() if v is not None}}
            renamed = EmptyRecord(made.level, replaced_key(made.key, edits, made.level), attributes)
            change.empty[renamed.place] = renamed
    return moved


def below(database: Database, node: Node) -> list[EmptyRecord]:
    """Return the records made by hand at and below a node."""
    nodes = [node]
    found = []
    while nodes:
        one = nodes.pop()
        if one.made is not None:
            found.append(one.made)
        nodes += one.children.values()
    return found


def replaced_key(key: SeriesKey, edits: Mapping[Key, Encoded | None], level: str = "") -> SeriesKey:
    """Return the place of a series once its identifiers have been edited."""
    names = ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID")
    depth = {"patient": 2, "study": 3}.get(level, 4)
    return SeriesKey(
        *[
            text_of(edits, name) if place < depth and IDENTITY[name] in edits else old
            for place, (name, old) in enumerate(zip(names, key, strict=True))
        ]
    )


def set_identity(record: Record, attribute: Attribute, value: Any) -> None:
    """Set an identifier of a record, and move what must move, or say why not."""
    encoded = encode(attribute.tag, value, name=str(attribute))
    name = attribute.name
    if name == "PatientName":
        _set_patient_name(record, encoded)
        return
    text = text_of({IDENTITY[name]: encoded}, name)
    if not text and name != "PatientID":
        raise InvalidValue(f"{name} cannot be empty: it is what the record is known by.")
    if "\\" in text:
        raise InvalidValue(f"{name} has one value, not {text!r}.")
    if name == "SOPInstanceUID":
        whole = record.parent if record.level == "frame" else record
        set_identities(whole, attribute, [value] * len(_instances(whole)))
        return
    now = record[name]
    if text and (now if isinstance(now, list) else [now]) == [text]:
        return
    _MOVES[name](record, text, {IDENTITY[name]: encoded})


def _instances(record: Record) -> list[Any]:
    return [record] if record.level == "instance" else list(record.instances())


def _set_patient_name(record: Record, encoded: Encoded | None) -> None:
    database = record.database
    patients = record.patients() if record.level == "database" else [_at(record, "patient")]
    edits: Edits = {IDENTITY["PatientName"]: encoded or encode(0x00100010, "")}
    name = text_of(edits, "PatientName")
    nameless = [patient for patient in patients if not patient._node.patient[0]]
    for patient in nameless:
        _refuse_to_join(patient, ("", name))
    if len(nameless) > 1:
        raise InvalidValue(
            f"{len(nameless)} patients without PatientID would become one with the name {name!r}. "
            "Give each a PatientID first."
        )
    with database._change() as change:
        nodes = [patient._node for patient in patients]
        rename(change, database, nodes, edits)
        for node in nodes:
            new = (node.patient[0], text_of(edits, "PatientName"))
            _note_patient(change, database, node, new)
    if record.level not in ("database", "patient"):
        count = sum(len(patient.instances()) for patient in patients)
        record.message(
            f"PatientName belongs to the patient: it was set in all {count} instances of "
            f"{patients[0].name}."
        )


def _refuse_to_join(patient: Any, identity: tuple[str, str]) -> None:
    """Make sure that no other patient is known by an ID and a name."""
    for other in patient.database.patients():
        if other != patient and other._node.patient == identity:
            raise InvalidValue(
                f"There is another patient without PatientID and with the name {identity[1]!r}: "
                "the two would become one. To join them, move the studies: study.move_to(patient)."
            )


def _note_patient(change: Change, database: Database, node: Node, new: tuple[str, str]) -> None:
    """Let handles find a patient by its new ID and name: see ``Tree`` for its keys."""
    names = [*([new[0]] if new[0] else []), "\x1f".join(new)]
    database._renamed.note("patient", node.key, names, change.view.number)


def _at(record: Record, level: str) -> Any:
    while record.level != level:
        record = record.parent
    return record


def _covering(record: Record, level: str) -> Any:
    """Return the record of a level that holds nothing but this one, or this one itself."""
    while record.level != level:
        above = record.parent
        if above.level == "database" or len(above) != 1:
            return None
        record = above
    return record


def _set_patient_id(record: Record, text: str, edits: Edits) -> None:
    database = record.database
    if record.level == "database":
        patients = record.patients()
        if len(patients) != 1:
            raise InvalidValue(
                f"PatientID {text!r} cannot be that of all {len(patients)} patients: set it on one."
            )
        record = patients[0]
    others = [p for p in database.patients() if text and p._node.patient[0] == text]
    if record.level == "patient":
        if others:
            raise InvalidValue(
                f"There is another patient with the PatientID {text!r}: {others[0].name}. To join "
                "them, move the studies: study.move_to(patient)."
            )
        node = record._node
        if not text:
            _refuse_to_join(record, ("", node.patient[1]))
        with database._change() as change:
            rename(change, database, [node], edits)
            _note_patient(change, database, node, (text, node.patient[1]))
        return
    study = _covering(record, "study") if record.level != "study" else record
    if study is None:
        raise InvalidValue(
            f"A study belongs to one patient, so that PatientID cannot be set for {record!r} "
            "alone: set it on the study or the patient, or move the record: "
            "study.move_to(other_patient)."
        )
    if others:
        study.move_to(others[0])
        return
    made = database.new_patient(PatientID=text, PatientName=next(iter(study.PatientName), ""))
    study.move_to(made)


def _set_study_uid(record: Record, text: str, edits: Edits) -> None:
    database = record.database
    existing = [s for s in database.studies() if s._node.uid == text]
    if record.level == "study":
        if existing:
            raise InvalidValue(
                f"There is another study with the StudyInstanceUID {text}: {existing[0].path}. To "
                "join them, move the series: series.move_to(study)."
            )
        node = record._node
        with database._change() as change:
            rename(change, database, [node], edits)
            database._renamed.note("study", node.key, [text], change.view.number)
        return
    series = record if record.level == "series" else _covering(record, "series")
    if series is None or record.level in ("database", "patient"):
        raise InvalidValue(
            f"StudyInstanceUID cannot be set for {record!r}: a series belongs to one study. Set it "
            "on a study or a series, or move a series: series.move_to(study)."
        )
    if existing:
        series.move_to(existing[0])
        return
    study = series.parent
    with database.batch():
        kept = attributes_of(database, study._node, keys_of("study"))
        kept.pop(IDENTITY["StudyInstanceUID"], None)
        made = study.parent.new_study(StudyInstanceUID=text)
        made._say(kept)
        series.move_to(made)


def _set_series_uid(record: Record, text: str, edits: Edits) -> None:
    database = record.database
    existing = [s for s in database.series() if s._node.uid == text]
    if record.level == "series":
        if existing:
            raise InvalidValue(
                f"There is another series with the SeriesInstanceUID {text}: {existing[0].path}. "
                "To join them, use db.merge, or move the instances: instance.move_to(series)."
            )
        node = record._node
        with database._change() as change:
            rename(change, database, [node], edits)
            database._renamed.note("series", node.key, [text], change.view.number)
        return
    if record.level not in ("instance", "frame"):
        raise InvalidValue(
            f"SeriesInstanceUID cannot be set for {record!r}: set it on a series or an instance."
        )
    instance = record.parent if record.level == "frame" else record
    if existing:
        instance.move_to(existing[0])
        return
    series = instance.parent
    with database.batch():
        kept = attributes_of(database, series._node, keys_of("series"))
        kept.pop(IDENTITY["SeriesInstanceUID"], None)
        made = series.parent.new_series(SeriesInstanceUID=text)
        made._say(kept)
        instance.move_to(made)


_MOVES: Final = {
    "PatientID": _set_patient_id,
    "StudyInstanceUID": _set_study_uid,
    "SeriesInstanceUID": _set_series_uid,
}


def set_identities(record: Record, attribute: Attribute, values: Sequence[Any]) -> None:
    """Set an identifier frame by frame; only SOPInstanceUID can differ from one to the next."""
    if attribute.name != "SOPInstanceUID":
        if len(set(map(str, values))) == 1:
            set_identity(record, attribute, values[0])
            return
        raise InvalidValue(
            f"{attribute} cannot differ inside a record; to sort instances elsewhere, use "
            "split_by or move_to."
        )
    if record.level == "frame":
        record = record.parent
    database = record.database
    instances = [r.parent if r.level == "frame" else r for r in _instances(record)]
    if len(values) != len(instances):
        raise InvalidValue(
            f"SOPInstanceUID was given {len(values)} values for {len(instances)} instances."
        )
    encoded = set_encoded(attribute.tag, list(values), name="SOPInstanceUID")
    texts = [text_of({IDENTITY["SOPInstanceUID"]: one}, "SOPInstanceUID") for one in encoded]
    if "" in texts or len(set(texts)) != len(texts):
        raise InvalidValue(
            "Each instance needs a SOPInstanceUID of its own; the values repeat, or are empty. "
            "For many instances give one each: series.set_values('SOPInstanceUID', [...])."
        )
    mine = {instance.uid for instance in instances}
    for text in texts:
        if text not in mine and database._find(text) is not None:
            raise InvalidValue(f"Another instance has the SOPInstanceUID {text}.")
    with database._change() as change:
        start = 0
        for table, rows in record._tables():
            chosen = (
                np.arange(len(table.places)) if rows is None else np.unique(table.instance_of[rows])
            )
            stop = start + len(chosen)
            edits = uid_edits(table, encoded[start:stop])
            change.edit(Selection(table.series.key, chosen), edits, uids=texts[start:stop])
            start = stop
        uids = [instance.uid for instance in instances]
        database._renamed.note_all("instance", uids, texts, change.view.number)


def uid_edits(table: Table, encoded: Sequence[Encoded | None]) -> dict[Key, Column]:
    """Return the edits that give each instance a UID, in the file meta information too."""
    codes = np.arange(len(encoded), dtype=np.int32)
    keys = [IDENTITY["SOPInstanceUID"]]
    column = table.column(_MEDIA_STORAGE_UID)
    if column is not None and (column.codes is None or bool((column.codes >= 0).all())):
        keys.append(_MEDIA_STORAGE_UID)
    return {key: delta(key, list(encoded), codes, len(encoded)) for key in keys}
