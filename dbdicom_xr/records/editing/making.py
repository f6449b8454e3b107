"""Making records from nothing: patients, studies and series without instances, and instances."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydicom.datadict import keyword_for_tag

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.merge import instance_numbers
from dbdicom_xr.index.values import Kind, decode
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.attributes.modules import IDENTITY, keys_of
from dbdicom_xr.records.editing.edits import encoded_one
from dbdicom_xr.records.editing.placing import (
    Edits,
    attributes_of,
    constant,
    identity_of,
    key_of_node,
    said_at,
    text_of,
)
from dbdicom_xr.records.tree import LEVELS, Node
from dbdicom_xr.staging.encode import Encoded, encode
from dbdicom_xr.staging.file import EmptyRecord
from dbdicom_xr.staging.patch import delta
from dbdicom_xr.staging.uids import new_uid

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.record import Record

__all__ = ["make", "make_siblings"]

_INSTANCE_NUMBER: Final = Key(0x00200013)
_SERIES_NUMBER: Final = Key(0x00200011)
_SOP_CLASS: Final = Key(0x00080016)
_DESCRIPTION: Final = Key(0x0008103E)
_MODALITY: Final = Key(0x00080060)
_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"


def make(record: Record, level: str, attributes: Mapping[str, Any]) -> Record:
    """Make a record of a level near another one; what lies between them is made too."""
    given = [(parse_name(name, record._has), value) for name, value in attributes.items()]
    edits: Edits = {}
    for attribute, value in given:
        key, encoded = encoded_one(attribute, value)
        edits[key] = encoded
    database = record.database
    with database.batch():
        parent: Any = record
        while LEVELS.index(parent.level) >= LEVELS.index(level):
            parent = parent.parent
        while LEVELS.index(parent.level) < LEVELS.index(level) - 1:
            below = LEVELS[LEVELS.index(parent.level) + 1]
            parent = _make_one(parent, below, _of_level(below, edits))
        return _make_one(parent, level, edits)


def make_siblings(series: Any, descriptions: Sequence[str]) -> list[Any]:
    """Make new series beside one, by their descriptions, as one change."""
    database: Database = series.database
    study: Node = series.parent._node
    first = _next_series_number(study)
    places = []
    with database._change() as change:
        for number, description in enumerate(descriptions, first):
            uid = new_uid()
            key = key_of_node(study)._replace(series_uid=uid)
            said = {
                _DESCRIPTION: encode(_DESCRIPTION.tag, description),
                IDENTITY["SeriesInstanceUID"]: encode(IDENTITY["SeriesInstanceUID"].tag, uid),
                _SERIES_NUMBER: encode(_SERIES_NUMBER.tag, number),
            }
            made = EmptyRecord("series", key, {k: v for k, v in said.items() if v is not None})
            change.empty[made.place] = made
            places.append(key)
    return [database._record_at("series", key) for key in places]


def _of_level(level: str, edits: Edits) -> Edits:
    """Return what of the attributes of a record belongs to one above it that is made for it."""
    if level == "patient":
        keys = {*keys_of("patient")}
    else:
        keys = {*keys_of("study"), *keys_of("patient study")} - {*IDENTITY.values()}
    return {key: value for key, value in edits.items() if key in keys}


def _make_one(parent: Any, level: str, edits: Edits) -> Record:
    database: Database = parent.database
    if level == "instance":
        return _make_instance(parent, edits)
    key = SeriesKey("", "", "", "")
    if level != "patient":
        node: Node = parent._node
        patient = node if level == "study" else node.parent
        assert patient is not None
        study = "" if level == "study" else node.uid
        key = SeriesKey(*patient.patient, study, "")
    if level == "patient":
        for name in ("StudyInstanceUID", "SeriesInstanceUID"):
            _not_here(edits, name, level)
        identifier = text_of(edits, "PatientID") or f"P{secrets.token_hex(5).upper()}"
        if any(patient._node.patient[0] == identifier for patient in database.patients()):
            raise InvalidValue(
                f"There is a patient with the PatientID {identifier!r} already: "
                f"database.patients(PatientID={identifier!r})[0]."
            )
        edits[IDENTITY["PatientID"]] = encode(0x00100020, identifier)
        edits.setdefault(IDENTITY["PatientName"], encode(0x00100010, ""))
        key = key._replace(patient_id=identifier, patient_name=text_of(edits, "PatientName"))
    else:
        for name in ("PatientID", "PatientName", *(["StudyInstanceUID"] if level == "series" else
                     ["SeriesInstanceUID"])):  # fmt: skip
            _not_here(edits, name, level, key)
        _refuse_of_above(parent, level, edits)
        name = "StudyInstanceUID" if level == "study" else "SeriesInstanceUID"
        uid = text_of(edits, name) or new_uid()
        known = database.studies() if level == "study" else database.series()
        if any(one._node.uid == uid for one in known):
            raise InvalidValue(f"There is a {level} with the {name} {uid} already.")
        edits[IDENTITY[name]] = encode(IDENTITY[name].tag, uid)
        key = key._replace(**{"study_uid" if level == "study" else "series_uid": uid})
    if level == "series" and _SERIES_NUMBER not in edits:
        edits[_SERIES_NUMBER] = encode(_SERIES_NUMBER.tag, _next_series_number(parent._node))
    with database._change() as change:
        said = {name: value for name, value in edits.items() if value is not None}
        made = EmptyRecord(level, key, said)
        change.empty[made.place] = made
    return database._record_at(level, key)


def _not_here(edits: Edits, name: str, level: str, key: SeriesKey | None = None) -> None:
    """Make sure that identifiers of other levels are not given, or say what is so."""
    if IDENTITY[name] not in edits:
        return
    text = text_of(edits, name)
    if key is not None and name == "PatientName" and text == key.patient_name:
        return
    place = {"PatientID": "patient_id", "StudyInstanceUID": "study_uid"}.get(name)
    if key is not None and place is not None and text == getattr(key, place):
        del edits[IDENTITY[name]]
        return
    raise InvalidValue(f"{name} cannot be given for a new {level}: its place decides it.")


def _refuse_of_above(parent: Any, level: str, edits: Edits) -> None:
    """Refuse what would let one patient or study say two things."""
    modules = {"patient": ["patient"], "study": ["study", "patient study"]}
    for above in ("patient",) if level == "study" else ("patient", "study"):
        keys = {key for module in modules[above] for key in keys_of(module)}
        given = edits.keys() & keys - {*IDENTITY.values()}
        if not given:
            continue
        said = said_at(parent.database, parent._node)
        for key in sorted(given):
            if not _same(key, edits[key], said.get(key)):
                keyword = keyword_for_tag(key.tag)
                raise InvalidValue(
                    f"{keyword} cannot be given for a new {level}: it is said of the whole "
                    f"{above}. Set it there, as in {above}.{keyword} = ..."
                    + (", or make a study of its own for it." if above == "study" else ".")
                )


def _same(key: Key, *encoded: Encoded | None) -> bool:
    """Return whether two values of an attribute mean the same."""
    one, other = (
        None if each is None else decode(key.tag, "", each.kind, each.value, quiet=True)
        for each in encoded
    )
    return bool(one == other)


def _next_series_number(study: Node) -> int:
    numbers = [row.series_number for row in study.series() if row.series_number is not None]
    return max([0, *numbers]) + 1


def _make_instance(series: Any, edits: Edits) -> Record:
    database: Database = series.database
    node: Node = series._node
    assert node.row is not None
    for name in ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID"):
        if IDENTITY[name] in edits:
            raise InvalidValue(f"{name} cannot be given for a new instance: its place decides it.")
    table = database._table(node.row)
    elements = {
        **attributes_of(database, node, [_SOP_CLASS, _MODALITY]),
        **said_at(database, node),
    }
    elements.setdefault(_SOP_CLASS, Encoded(Kind("UI"), f"{_SECONDARY_CAPTURE}\0".encode()))
    elements.setdefault(_MODALITY, Encoded(Kind("CS"), b"OT"))
    numbers = instance_numbers({k: c for k in [_INSTANCE_NUMBER] if (c := table.column(k))},
                               len(table.places))  # fmt: skip
    known = numbers[np.isfinite(numbers)]
    following = int(known.max()) + 1 if len(known) else 1
    elements[_INSTANCE_NUMBER] = encode(_INSTANCE_NUMBER.tag, following)
    uid = text_of(edits, "SOPInstanceUID") or new_uid()
    if database._find(uid) is not None:
        raise InvalidValue(f"There is an instance with the SOPInstanceUID {uid} already.")
    elements[IDENTITY["SOPInstanceUID"]] = encode(0x00080018, uid)
    elements.update(identity_of(node.row.key))
    elements.update(edits)
    present = {key: value for key, value in elements.items() if value is not None}
    columns = constant(present, 1)
    if any(value.kind.charset for value in present.values()):
        charset = Key(0x00080005)
        columns[charset] = delta(charset, [Encoded(Kind("CS"), b"ISO_IR 192")], None, 1)
    with database._change() as change:
        change.make(uid, columns, target=node.row.key)
    from dbdicom_xr.records.instance import Instance

    return Instance(database, node.key, uid)
