"""What is set on a place while images for it are computed: it holds for them too.

The images say what their patient, study and series said when the write was planned. Hours may lie
between that and the last image, and what was changed, or taken out, must not come back with them.
So digests of what was said are kept with the write, and compared once the images are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dbdicom_xr.deidentify.profile import Do, Options, decide
from dbdicom_xr.emit.elements import Elements, key_of
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.elements import External
from dbdicom_xr.index.store import INSTANCE
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import known_vr
from dbdicom_xr.records.attributes.modules import IDENTITY, keys_of
from dbdicom_xr.records.editing.placing import Edits, first_value, taken_over
from dbdicom_xr.records.reading.sources import Sources
from dbdicom_xr.records.tree import Node
from dbdicom_xr.records.writing.new_images import OF_THE_ARRAY
from dbdicom_xr.staging.encode import Encoded

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.levels import Series

__all__ = ["NOTHING_SAID", "Said", "said_by", "said_since"]

_ABSENT: Final = "absent"
_SEVERAL: Final = "several"
_LONG: Final = "long"
# Of a patient, a study or a series; what takes more values than this is of single images.
_VALUES: Final = 8
# Of the series that an array was made from. Each costs about a millisecond.
_SOURCES: Final = 8

_NOT_TAKEN: Final = {
    *map(key_of, ("Modality", "SpecificCharacterSet", "RealWorldValueMappingSequence")),
    *map(key_of, OF_THE_ARRAY), *IDENTITY.values(),
}  # fmt: skip
_PLACE_OF_PIXELS: Final = {
    *map(key_of, ("PixelSpacing", "PixelAspectRatio", "BurnedInAnnotation"))
}  # fmt: skip


class Sample(NamedTuple):
    """What a series with images said."""

    series: str  # its name in the tree
    first: str  # UID of an instance, which tells that the images are still the same ones
    said: dict[str, list[str]]  # digests of the values of each attribute


class Said(NamedTuple):
    """What was said of a series, and of what it stands in, when a write into it was planned.

    Parameters
    ----------
    renamed : int
        How many renamings of records this process had made.
    patient, study : str
        Their names in the tree.
    made : list of dict or None
        Digests of what patient, study and series had been made with, where they were made by hand.
    samples : list of Sample
        The series itself, the first of its study and of its patient, and those that the array was
        made from, as far as they are of the same patient.
    """

    renamed: int
    patient: str
    study: str
    made: list[dict[str, str] | None]
    samples: list[Sample]

    @classmethod
    def unpacked(cls, values: list[Any]) -> Said:
        """Return what was stored as JSON."""
        said = cls(*values)
        return said._replace(samples=[Sample(*sample) for sample in said.samples])


NOTHING_SAID: Final = Said(0, "", "", [None, None, None], [])


def said_by(series: Series, sources: Sources | None) -> Said:
    """Return what is said of a series now.

    Parameters
    ----------
    series : Series
        That is to be written to.
    sources : Sources or None
        Of the array.
    """
    database, node = series.database, series._node
    study, patient = _above(node)
    rows = []
    for one in (node, study, patient):
        filled = (row for row in one.series() if row.instances)
        rows += [row for row in [next(filled, None)] if row is not None]
    tree = database._tree()
    if sources is not None and sources.database == database:
        for table in sources.tables[:_SOURCES]:
            found = tree.at("series", table.series.key)
            if found is not None and found.row is not None and _above(found)[1] is patient:
                rows.append(found.row)
    samples = []
    for row in {row.id: row for row in rows}.values():
        table = database._table(row)
        samples.append(Sample(tree.series_node[row.id].key, table.uids[0], _said_in(table)))
    made = [_made_with(one) for one in (patient, study, node)]
    return Said(len(database._renamed), patient.key, study.key, made, samples)


def said_since(
    database: Database, node: Node, then: Said, planned: Callable[[], Elements]
) -> Edits:
    """Return what images take over that were planned before: what has changed since.

    Parameters
    ----------
    database : Database
    node : Node
        Of the series that they come into, wherever it stands by now.
    then : Said
        When they were planned.
    planned : callable
        Gives what they say.

    Returns
    -------
    dict
        Values; None takes an attribute away. No identifiers of the place.
    """
    study, patient = _above(node)
    edits: Edits = {}
    same_patient = _called(database, "patient", then.patient, then.renamed) is patient
    same_study = _called(database, "study", then.study, then.renamed) is study
    if not (same_patient and same_study):
        parent = patient if same_study else study
        edits.update(taken_over(database, parent, planned(), same_patient=same_patient))
    samples = _samples_now(database, then)
    same = (same_patient, same_study, True)
    for one, stayed, made in zip((patient, study, node), same, then.made, strict=True):
        edits.update(_made_since(one, made) if stayed else {})
        edits.update(_changed_in([sample for sample in samples if one in sample.path],
                                 one.level, planned))  # fmt: skip
    if not edits:
        return edits
    elements = planned()
    return {
        key: value
        for key, value in edits.items()
        if key not in _NOT_TAKEN and not _is_said(elements.get(key), value)
    }


def _above(node: Node) -> tuple[Node, Node]:
    """Return study and patient of a series."""
    study = node.parent
    assert study is not None
    assert study.parent is not None
    return study, study.parent


def _called(database: Database, level: str, name: str, renamed: int) -> Node | None:
    """Return what had a name in the tree after so many renamings."""
    log = database._renamed
    names = log.names(level, name, min(renamed, len(log)))
    found = (database._tree().find(level, one) for one in names)
    return next((node for node in found if node is not None), None)


def _is_said(column: Column | None, value: Encoded | None) -> bool:
    """Return whether all images say a value already."""
    if column is None or value is None:
        return column is None and value is None
    if len(column.values) != 1 or bool((column.codes_of() < 0).any()):
        return False
    return column.values[0] == value.value and column.kinds[column.kind_of[0]] == value.kind


# -- records made by hand ----------------------------------------------------------------------


def _made_with(node: Node) -> dict[str, str] | None:
    if node.made is None:
        return None
    return {_text(key): _digest(value) for key, value in node.made.attributes.items()}


def _made_since(node: Node, before: dict[str, str] | None) -> Edits:
    """Return what a record that was made by hand says otherwise, or not any more."""
    now = _made_with(node)
    if before is None or now is None or now == before:
        return {}
    assert node.made is not None
    attributes = node.made.attributes
    return {
        key: attributes.get(key)
        for text in {**before, **now}
        if before.get(text) != now.get(text)
        for key in [_key(text)]
    }


# -- series with images ------------------------------------------------------------------------


class _Now(NamedTuple):
    """A series that was looked at when the write was planned."""

    path: tuple[Node, ...]  # with its study and its patient
    table: Table
    then: dict[str, list[str]]
    now: dict[str, list[str]]


def _samples_now(database: Database, then: Said) -> list[_Now]:
    """Return the series that still hold the images that they had."""
    found = []
    for name, first, said in then.samples:
        node = _called(database, "series", name, then.renamed)
        if node is None or node.row is None or not node.row.instances:
            continue
        table = database._table(node.row)
        if first in table.row_of:
            found.append(_Now((node, *_above(node)), table, said, _said_in(table)))
    return found


def _changed_in(samples: list[_Now], level: str, planned: Callable[[], Elements]) -> Edits:
    """Return what all images of some series say now, and did not all say before."""
    edits: Edits = {}
    own = _own_keys(level)
    texts = [text for sample in samples if sample.then != sample.now
             for text in {**sample.then, **sample.now}]  # fmt: skip
    for text in dict.fromkeys(texts):
        before = {one for sample in samples for one in sample.then.get(text, [_ABSENT])}
        after = {one for sample in samples for one in sample.now.get(text, [_ABSENT])}
        key = _key(text)
        if after == before or len(after) > 1 or after & {_SEVERAL, _LONG}:
            continue
        identifies = _may_identify(key)
        if not (key in own or identifies or level == "series"):
            continue
        if level == "patient" and key in keys_of("study"):
            continue  # of the other studies
        # Images of one value may be gone, and those of another be left, as they were.
        edited = all(
            len(one) == 1 and one != [_SEVERAL]
            for one in (sample.then.get(text, [_ABSENT]) for sample in samples)
        )
        if after == {_ABSENT}:
            if key in own or identifies or edited:
                edits[key] = None
        elif key in own or (edited and _said_of(planned().get(key)) <= before):
            # What else the new images say, they may say of themselves.
            edits[key] = next(
                first_value(sample.table, key) for sample in samples if text in sample.now
            )
    return edits


@lru_cache(maxsize=4)
def _own_keys(level: str) -> frozenset[Key]:
    """Return what is said of a patient, a study or a series as a whole."""
    modules = ["patient", "study", "patient study", "series"]
    modules = {"patient": modules[:1], "study": modules[:3]}.get(level, modules)
    return frozenset(key for module in modules for key in keys_of(module))


def _is_followed(key: Key) -> bool:
    """Return whether an attribute is about more than the file, its frames and their values."""
    group = key.tag >> 16
    about_pixels = group in (0x0002, 0x0028, 0x5200, 0x7FE0) and key not in _PLACE_OF_PIXELS
    return not about_pixels and key not in _NOT_TAKEN


@lru_cache(maxsize=4096)
def _may_identify(key: Key) -> bool:
    """Return whether someone who makes a patient anonymous may take an attribute out."""
    if key.creator or key.tag >> 16 & 1:
        return True
    taken_out = (Do.REMOVE, Do.EMPTY, Do.DUMMY, Do.CLEAN)
    return decide(key.tag, known_vr(key.tag) or "UN", Options()) in taken_out


def _said_in(table: Table) -> dict[str, list[str]]:
    """Return digests of what the images of a series say, but of their pixels."""
    table.load()
    columns = ((key, table.column(key, INSTANCE)) for key in table.keys if _is_followed(key))
    return {_text(key): sorted(_said_of(column)) for key, column in columns if column is not None}


def _said_of(column: Column | None) -> set[str]:
    """Return digests of the values of an attribute."""
    if column is None:
        return {_ABSENT}
    if len(column.values) > _VALUES:
        return {_SEVERAL}
    found = set(map(_digest, _comparable(column)))
    return found | {_ABSENT} if bool((column.codes_of() < 0).any()) else found


def _comparable(column: Column) -> Iterable[Any]:
    """Return values that are the same in every character set, where that is cheap."""
    if column.left_in_files or column.key.tag >> 16 & 1 or "SQ" in {k.vr for k in column.kinds}:
        return column.values
    return column.decoded()


def _digest(value: Any) -> str:
    if isinstance(value, External):
        return _LONG
    data = value if isinstance(value, bytes) else repr(value).encode()
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def _text(key: Key) -> str:
    return f"{key.tag:08x}{key.creator}"


def _key(text: str) -> Key:
    return Key(int(text[:8], 16), text[8:])
