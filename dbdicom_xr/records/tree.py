"""Patients, studies and series of an index as a tree of plain nodes, with their names.

A patient is a PatientID; where one ID has several names, or none, the name tells them apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.merge import summary
from dbdicom_xr.index.store import SeriesRow

if TYPE_CHECKING:
    from dbdicom_xr.staging.file import EmptyRecord

__all__ = ["LEVELS", "Node", "Tree", "unique_names"]

LEVELS = ("database", "patient", "study", "series", "instance", "frame")

_SEPARATOR = "\x1f"


@dataclass(eq=False, slots=True)
class Node:
    """A patient, a study or a series.

    ``key`` names it within its level: the UID, or where two of one UID stand in different places,
    the UID and the place.
    """

    level: str
    key: str
    name: str = ""
    parent: Node | None = None
    children: dict[str, Node] = field(default_factory=dict)  # by name
    row: SeriesRow | None = None  # of a series
    patient: tuple[str, str] = ("", "")  # PatientID, PatientName
    uid: str = ""  # of a patient the PatientID
    place: str = ""  # the UID and those above it: names the node also where UIDs are not unique
    made: EmptyRecord | None = None  # by hand, with attributes for what comes into it

    @property
    def is_empty(self) -> bool:
        """Whether there is no instance at or below the node."""
        return all(row.instances == 0 for row in self.series())

    def series(self) -> Iterator[SeriesRow]:
        """Yield the series at or below the node, in order."""
        if self.row is not None:
            yield self.row
        for child in self.children.values():
            yield from child.series()


class Tree:
    """All nodes of a database.

    Parameters
    ----------
    rows : iterable of SeriesRow
    generation : int
        Of the index they were read from.
    made : iterable of EmptyRecord
        Records made by hand, which may have nothing below them.
    """

    def __init__(
        self, rows: Iterable[SeriesRow], generation: int, made: Iterable[EmptyRecord] = ()
    ) -> None:
        self.generation = generation
        self.nodes: dict[tuple[str, str], Node] = {}
        self.root = Node("database", "")
        self.series_node: dict[int, Node] = {}
        self._build(list(rows), {record.place: record for record in made})

    def find(self, level: str, key: str) -> Node | None:
        """Return a node, also one whose UID has become unique since its key was made."""
        node = self.nodes.get((level, key))
        if node is None and (uid := key.split(_SEPARATOR, 1)[0]):
            node = self.nodes.get((level, uid))
            # Never the other one, of another patient, where this one has gone.
            node = node if node is not None and node.place == key else None
        return node

    def at(self, level: str, key: SeriesKey) -> Node | None:
        """Return the node of a level at a place; of a patient by ID, and by name where needed."""
        if level == "patient":
            names = [key.patient_id, _SEPARATOR.join(key[:2])]
            found = [self.nodes[level, name] for name in names if (level, name) in self.nodes]
            return next((node for node in found if node.patient[0] == key.patient_id), None)
        uid = key.study_uid if level == "study" else key.series_uid

        def fits(node: Node | None) -> bool:
            if node is None or node.level != level or node.uid != uid:
                return False
            same = node.patient[0] == key.patient_id
            return same and (level == "study" or _uid_above(node) == key.study_uid)

        node = self.nodes.get((level, uid))
        if node is None:  # of several with this UID each is known by its place
            node = next((other for other in self.nodes.values() if fits(other)), None)
        return node if fits(node) else None

    def why_not(self, level: str, key: str, folder: str, called: str = "") -> str:
        """Return why no node has a key; it may have been called otherwise among its siblings."""
        text = key.replace(_SEPARATOR, " ").strip()
        named = f"The {level} {text}"
        if called and called != text:
            named = f"The {level} {called!r} ({text})"
        twins = [n for n in self.nodes.values() if n.level == level and n.uid == key]
        if not twins:
            return f"{named} is not in {folder} any more."
        above = "patients" if len({n.patient for n in twins}) > 1 else "studies"
        places = " and ".join(f"database[{_path(n)!r}]" for n in twins[:3])
        return (
            f"{named} stands in {len(twins)} {above} in {folder} now: {places} are the parts. "
            "study.move_to(patient), or series.move_to(study), brings them together; where that "
            "came from changing or restoring some of its images alone, restore() of the patient "
            "undoes it."
        )

    def _build(self, rows: list[SeriesRow], made: dict[tuple[str, SeriesKey], EmptyRecord]) -> None:
        keys = [row.key for row in rows] + [record.key for record in made.values()]
        names_of_id: dict[str, set[str]] = {}
        for place in keys:
            if place.patient_name:
                names_of_id.setdefault(place.patient_id, set()).add(place.patient_name)

        def patient_of(place: SeriesKey) -> tuple[str, str]:
            names = names_of_id.get(place.patient_id, set())
            if place.patient_id and len(names) < 2:
                return place.patient_id, next(iter(names), "")
            return place.patient_id, place.patient_name

        patients: dict[tuple[str, str], dict[str, list[SeriesRow]]] = {}
        for row in rows:
            studies = patients.setdefault(patient_of(row.key), {})
            studies.setdefault(row.key.study_uid, []).append(row)
        by_hand = {
            (patient_of(record.key), record.key.study_uid, record.key.series_uid): record
            for record in made.values()
        }
        for patient, study_uid, _ in by_hand:
            studies = patients.setdefault(patient, {})
            if study_uid:
                studies.setdefault(study_uid, [])
        ids_seen = Counter(patient[0] for patient in patients)
        studies_seen = Counter(uid for studies in patients.values() for uid in studies)
        series_seen = Counter(
            row.key.series_uid
            for studies in patients.values()
            for series in studies.values()
            for row in series
        )
        members = []
        for patient in sorted(patients):
            whole = _SEPARATOR.join(patient)
            key = patient[0] if patient[0] and ids_seen[patient[0]] == 1 else whole
            node = Node(
                "patient", key, parent=self.root, patient=patient, uid=patient[0], place=whole
            )
            node.made = by_hand.get((patient, "", ""))
            self.nodes["patient", key] = node
            entries = []
            ordered = []
            for uid, series in patients[patient].items():
                series.sort(key=_series_order)
                about = _about(series, by_hand.get((patient, uid, "")))
                ordered.append((about[0], about[1], uid, about[2]))
            for date, _, uid, description in sorted(ordered):
                study = self._add(node, "study", uid, studies_seen[uid])
                study.made = by_hand.get((patient, uid, ""))
                self._add_series(study, patients[patient][uid], series_seen)
                for child in study.children.values():
                    child.made = by_hand.get((patient, uid, child.uid))
                entries.append((f"{date} {description}".strip(), study))
            _attach(node, entries, "study")
            members.append((patient[0] or patient[1], node))
        _attach(self.root, members, "patient")

    def _add(self, parent: Node, level: str, uid: str, count: int) -> Node:
        place = f"{uid}{_SEPARATOR}{parent.place}"
        key = uid if uid and count == 1 else place
        node = Node(level, key, parent=parent, patient=parent.patient, uid=uid, place=place)
        self.nodes[level, key] = node
        return node

    def _add_series(self, study: Node, rows: list[SeriesRow], seen: Mapping[str, int]) -> None:
        entries = []
        for row in rows:
            node = self._add(study, "series", row.key.series_uid, seen[row.key.series_uid])
            node.row = row
            self.series_node[row.id] = node
            number = "" if row.series_number is None else str(row.series_number)
            entries.append((f"{number} {row.series_description}".strip() or row.modality, node))
        _attach(study, entries, "series")


def _uid_above(node: Node) -> str:
    return "" if node.parent is None else node.parent.uid


def _path(node: Node) -> str:
    above = "" if node.parent is None or node.parent.level == "database" else _path(node.parent)
    return f"{above}/{node.name}"


def _attach(parent: Node, entries: list[tuple[str, Node]], level: str) -> None:
    names = unique_names([text for text, _ in entries], level)
    for name, (_, node) in zip(names, entries, strict=True):
        node.name = name
        parent.children[name] = node


def _about(rows: list[SeriesRow], made: EmptyRecord | None) -> tuple[str, str, str]:
    """Return date, time and description of a study: of its first series, or as it was made."""
    for row in rows:
        if row.instances or made is None:
            return row.study_date, row.study_time, row.study_description
    from dbdicom_xr.staging.view import columns_of_empty

    assert made is not None
    date, time, description, *_ = summary(columns_of_empty(made))
    return date, time, description


def _series_order(row: SeriesRow) -> tuple[float, str, str]:
    number = float("inf") if row.series_number is None else row.series_number
    return number, row.key.series_uid, row.series_description


def unique_names(texts: Iterable[str], level: str) -> list[str]:
    """Return names for siblings: one for each text, all different, none with a ``/``.

    Parameters
    ----------
    texts : iterable of str
        What the siblings would like to be called.
    level : str
        What they are, for those without a text.

    Examples
    --------
    >>> unique_names(["T1/T2", "DCE", "DCE", "", "Rows"], "series")
    ['T1_T2', 'DCE', 'DCE (2)', 'series', 'Rows_']
    """
    from dbdicom_xr.records.attributes.lookup import is_attribute_name

    taken: set[str] = set()
    count: dict[str, int] = {}
    names = []
    for text in texts:
        base = _clean(text) or level
        if is_attribute_name(base):
            base += "_"
        name = base
        while name in taken:
            count[base] = count.get(base, 1) + 1
            name = f"{base} ({count[base]})"
        taken.add(name)
        names.append(name)
    return names


@lru_cache(maxsize=65536)
def _clean(text: str) -> str:
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", text.replace("/", "_"))
    text = re.sub(r"\s+", " ", text).strip()
    return f"{text}_" if text in (".", "..") else text
