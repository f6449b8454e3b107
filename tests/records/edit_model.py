"""A database as plain dictionaries, beside a real one: what edits should do, and whether they did.

Owns the model that `test_edit_model` holds against a folder. It knows nothing of how changes are
staged: an instance is a place, some values and its pixels, and every change is a change of those.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr import errors
from dbdicom_xr.records.attributes.modules import keys_of
from dbdicom_xr.testing import make_enhanced, make_series

Value = Any
Place = tuple[str, str, str]  # PatientID, StudyInstanceUID, SeriesInstanceUID
Node = tuple[str, ...]  # the first one, two or three of a place
LEVELS = ("database", "patient", "study", "series", "instance")
CREATOR = "DBX TEST"
PRIVATE = (CREATOR, 0x00191001)
OF_LEVEL = {
    "PatientName": 1,
    "PatientBirthDate": 1,
    "StudyDescription": 2,
    "SeriesDescription": 3,
    "SeriesNumber": 3,
}
PLAIN: tuple[Any, ...] = ("InstanceNumber", "FlipAngle", "ImageComments", PRIVATE)
TRACKED: tuple[Any, ...] = (*OF_LEVEL, *PLAIN, "EchoTime")
IDENTIFIERS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
STRICT = (
    "PatientName",
    "PatientBirthDate",
    "StudyDescription",
)  # of the new place, also where it says nothing
SMALL = (4, 3)


@dataclass(frozen=True)
class Item:
    """An instance."""

    place: Place
    values: Mapping[Any, Value]
    pixels: NDArray[np.float64] | None
    source: str | None  # the UID that it is saved with, if it is
    original: Dataset | None  # what its file said at first

    def having(self, **changes: Any) -> Item:
        return replace(self, **changes)

    def saying(self, values: Mapping[Any, Value]) -> Item:
        return replace(self, values={**self.values, **values})


@dataclass
class State:
    """All instances by UID, and the records that were made or kept without any."""

    items: dict[str, Item] = field(default_factory=dict)
    empty: dict[Node, dict[Any, Any]] = field(default_factory=dict)

    def copy(self) -> State:
        return State(dict(self.items), {node: dict(said) for node, said in self.empty.items()})

    def nodes(self, depth: int) -> list[Node]:
        """Return the patients, studies or series, in the order in which they came."""
        places = [*(item.place for item in self.items.values()), *self.empty]
        return list(dict.fromkeys(place[:depth] for place in places if len(place) >= depth))

    def below(self, node: Node) -> dict[str, Item]:
        return {u: i for u, i in self.items.items() if i.place[: len(node)] == node}

    def children(self, node: Node) -> list[Any]:
        if len(node) == 3:
            return list(self.below(node))
        return [child for child in self.nodes(len(node) + 1) if child[: len(node)] == node]


# -- the folder ------------------------------------------------------------------------------


def make_folder(folder: Path) -> None:
    """Write two patients with three series, nine instances; one of them is an enhanced file."""

    def said(number: int, **more: Any) -> dict[Any, Any]:
        return {
            "PatientID": f"P{number}",
            "PatientName": f"Phantom^{number}",
            "PatientBirthDate": f"1970010{number}",
            "StudyInstanceUID": f"1.2.{number}",
            "StudyDescription": f"Study {number}",
            **more,
        }

    classic: dict[str, Any] = {"n": 1, "shape": SMALL}
    make_series(
        folder / "a", **classic, keys={"SliceLocation": [0.0, 5.0, 10.0]},
        header=said(1, SeriesInstanceUID="1.2.1.1", SeriesNumber=1, SeriesDescription="A",
                    ImageComments="first"),
    )  # fmt: skip
    make_series(
        folder / "b", **classic, keys={"EchoTime": [2.0, 4.0]}, seed=1, modality="CT",
        dtype="int16", intercept=-1024.0,
        header=said(1, SeriesInstanceUID="1.2.1.2", SeriesNumber=2, SeriesDescription="B"),
    )  # fmt: skip
    make_series(
        folder / "c", **classic, keys={"FlipAngle": [10.0, 20.0, 30.0]}, seed=2,
        transfer_syntax="implicit",
        header=said(2, SeriesInstanceUID="1.2.2.1", SeriesNumber=1, SeriesDescription="C"),
    )  # fmt: skip
    make_enhanced(
        folder / "c", shape=SMALL, keys={"EchoTime": [2.0, 4.0]}, seed=3,
        header=said(2, SeriesInstanceUID="1.2.2.1", SeriesNumber=1, InstanceNumber=7,
                    SeriesDescription="C"),
    )  # fmt: skip


def dicom_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.dcm") if ".dbdicom_xr" not in p.parts)


def fingerprints(folder: Path) -> dict[str, str]:
    """Return the hash of every file by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in dicom_files(folder)
    }


def by_pydicom(folder: Path) -> dict[str, tuple[Path, Dataset]]:
    """Return the data sets of a folder by UID."""
    result = {}
    for path in dicom_files(folder):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert str(dataset.SOPInstanceUID) not in result
        result[str(dataset.SOPInstanceUID)] = path, dataset
    return result


def place_of(dataset: Dataset) -> Place:
    return (
        str(dataset.PatientID), str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID)
    )  # fmt: skip


_GROUPS = {
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "FlipAngle": ("MRTimingAndRelatedParametersSequence", "FlipAngle"),
}


def of_frames(dataset: Dataset, name: str) -> tuple[Value, ...]:
    """Return the values of a number, one per frame."""
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        value = dataset.get(name)
        return (None if value is None else float(value),)
    sequence, keyword = _GROUPS[name]
    assert name not in dataset, "it belongs in the functional groups"
    shared = dataset.SharedFunctionalGroupsSequence[0]
    result = []
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        group = frame if sequence in frame else shared
        value = getattr(group, sequence)[0].get(keyword) if sequence in group else None
        result.append(None if value is None else float(value))
    return tuple(result)


def values_of(dataset: Dataset) -> dict[Any, Value]:
    """Return the tracked values as pydicom has them; None where absent or empty."""
    result: dict[Any, Value] = {}
    for name in TRACKED:
        if name in _GROUPS:
            values = of_frames(dataset, name)
            assert name == "EchoTime" or len(set(values)) == 1
            result[name] = values if name == "EchoTime" else values[0]
            continue
        if name == PRIVATE:
            try:
                value = dataset.private_block(0x0019, CREATOR)[0x01].value
            except KeyError:
                value = None
        else:
            value = dataset.get(name)
        if value is None or value == "":
            result[name] = None
        elif name in ("SeriesNumber", "InstanceNumber"):
            result[name] = int(value)
        else:
            result[name] = str(value)
    return result


def pixels_of(dataset: Dataset) -> NDArray[np.float64] | None:
    if "PixelData" not in dataset:
        return None
    pixels = dataset.pixel_array.astype(np.float64)
    pixels = pixels * float(dataset.get("RescaleSlope", 1)) + float(
        dataset.get("RescaleIntercept", 0)
    )
    return np.swapaxes(pixels, -1, -2)


def read_state(folder: Path) -> State:
    """Return what pydicom finds in a folder."""
    items = {}
    for uid, (_, dataset) in by_pydicom(folder).items():
        items[uid] = Item(
            place_of(dataset), values_of(dataset), pixels_of(dataset), uid, dataset
        )  # fmt: skip
    return State(items)


# -- the database ------------------------------------------------------------------------------


def node_of(record: Any) -> Node:
    """Return the identifiers of a patient, study or series."""
    if record.level == "database":
        return ()
    return (*node_of(record.parent), record._node.uid)


def record_at(database: db.Database, node: Node) -> Any:
    """Return the record at a place."""
    record: Any = database
    for uid in node:
        (record,) = [child for child in record.values() if child._node.uid == uid]
    return record


def instance_at(database: db.Database, place: Place, uid: str) -> Any:
    (found,) = [i for i in record_at(database, place).instances() if i.uid == uid]
    return found


def shown_values(instance: Any) -> dict[Any, Value]:
    """Return the tracked values as the database has them."""
    values = dict(zip(TRACKED, instance[list(TRACKED)], strict=True))
    frames = [instance[str(n)] for n in range(1, len(instance) + 1)] or [instance]
    values["EchoTime"] = tuple(frame.EchoTime for frame in frames)
    if len(frames) > 1:
        values["InstanceNumber"] = instance.dataset().get("InstanceNumber")
    return {
        name: (value or None) if isinstance(value, str) or value is None else
        str(value) if name == "PatientName" else value
        for name, value in values.items()
    }  # fmt: skip


def shown_items(database: db.Database) -> dict[str, tuple[Place, Any]]:
    """Return all instances with their place."""
    result: dict[str, tuple[Place, Any]] = {}
    for series in database.series():
        place = node_of(series)
        for instance in series.instances():
            assert instance.uid not in result
            result[instance.uid] = (place, instance)  # type: ignore[assignment]
    return result


def differences(found: Mapping[Any, Value], wanted: Mapping[Any, Value]) -> dict[Any, Any]:
    """Return the values that are not as wanted, with these."""
    return {n: (found[n], wanted[n]) for n in wanted if found[n] != wanted[n]}


def assert_shown(database: db.Database, state: State) -> None:
    """Make sure that a database shows a state, and nothing else."""
    shown = shown_items(database)
    assert sorted(shown) == sorted(state.items)
    for uid, (place, instance) in shown.items():
        item = state.items[uid]
        assert place == item.place
        assert tuple(instance[list(IDENTIFIERS)]) == (*place, uid)
        assert differences(shown_values(instance), item.values) == {}, uid
        if item.pixels is None:
            try:
                instance.array()
            except errors.DbdicomError:
                continue
            raise AssertionError(f"{uid} has no pixels, and gave some")
        np.testing.assert_array_equal(instance.array().values, item.pixels)
    for depth, level in enumerate(LEVELS[1:4], 1):
        records = getattr(database, {"series": "series", "study": "studies"}.get(level, "patients"))
        assert sorted(map(node_of, records())) == sorted(state.nodes(depth)), level


def moving() -> frozenset[int]:
    """Return the tags that may change with the place of an instance."""
    return frozenset(
        key.tag for module in ("patient", "study", "patient study", "series")
        for key in keys_of(module)
    )  # fmt: skip


MOVING = moving()
_OWN = frozenset(
    (0x00080005, 0x00080018, 0x00200013, 0x00181314, 0x00204000, 0x00180081, 0x00190010,
     0x00191001, 0x52009229, 0x52009230)
)  # fmt: skip


def untouched(dataset: Dataset) -> dict[int, Any]:
    """Return the elements that no edit of the model names, and that no place decides."""
    return {
        int(element.tag): element.value
        for element in dataset
        if int(element.tag) not in MOVING | _OWN
    }


def assert_saved(folder: Path, state: State) -> dict[str, Path]:
    """Make sure that pydicom finds a state in a folder, and return the files."""
    found = by_pydicom(folder)
    assert sorted(found) == sorted(state.items)
    for uid, (path, dataset) in found.items():
        item = state.items[uid]
        assert place_of(dataset) == item.place
        assert differences(values_of(dataset), item.values) == {}, path
        pixels = pixels_of(dataset)
        assert (pixels is None) == (item.pixels is None)
        if pixels is not None and item.pixels is not None:
            np.testing.assert_array_equal(pixels, item.pixels)
        if item.original is not None:
            assert untouched(dataset) == untouched(item.original)
    return {uid: path for uid, (path, _) in found.items()}


# -- what changes ------------------------------------------------------------------------------


class Model:
    """A folder, its database, and what both should be.

    Parameters
    ----------
    folder : pathlib.Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_folder(folder)
        self.saved = read_state(folder)
        self.now = self.saved.copy()
        self.bytes = fingerprints(folder)
        self.database = db.database(folder)
        self.names: dict[tuple[str, Any], set[Any]] = {}  # what a record was called, till reopened

    # -- choosing -------------------------------------------------------------------------------

    def pick(self, depth: int, number: int) -> Any:
        """Return a node, or at depth 4 a UID; None where there is none."""
        if depth == 0:
            return ()
        found: list[Any] = self.now.nodes(depth) if depth < 4 else list(self.now.items)
        return found[number % len(found)] if found else None

    def record(self, depth: int, chosen: Any) -> Any:
        if depth < 4:
            return record_at(self.database, chosen)
        return instance_at(self.database, self.now.items[chosen].place, chosen)

    def covered(self, depth: int, chosen: Any, state: State) -> dict[str, Item]:
        if depth < 4:
            return state.below(chosen)
        return {chosen: state.items[chosen]} if chosen in state.items else {}

    # -- attributes -----------------------------------------------------------------------------

    def say(self, depth: int, number: int, name: Any, value: Value) -> None:
        """Set an attribute of a record, as far up as it belongs."""
        depth = min(depth, OF_LEVEL.get(name, 4))
        chosen = self.pick(depth, number)
        if chosen is None:
            return
        covered = self.covered(depth, chosen, self.now)
        self.record(depth, chosen)[name] = value
        for uid, item in covered.items():
            own = (value,) * len(item.values["EchoTime"]) if name == "EchoTime" else value
            self.now.items[uid] = item.saying({name: own})
        for node, said in self.now.empty.items():
            if depth == 4 or node[: len(chosen)] != chosen:
                continue
            if node == chosen or name in said or not covered:
                said[name] = {value}

    def set_frames(self, number: int, values: list[Value]) -> None:
        """Set the echo time of a series frame by frame."""
        node = self.pick(3, number)
        if node is None:
            return
        series = record_at(self.database, node)
        uids = [instance.uid for instance in series.instances()]
        counts = [len(self.now.items[uid].values["EchoTime"]) for uid in uids]
        wanted = [values[i % len(values)] for i in range(sum(counts))]
        series.set_values("EchoTime", wanted)
        for uid, count in zip(uids, counts, strict=True):
            self.now.items[uid] = self.now.items[uid].saying({"EchoTime": tuple(wanted[:count])})
            del wanted[:count]

    def set_frame(self, number: int, value: Value) -> None:
        """Set the echo time of one frame of an enhanced instance."""
        several = [u for u, i in self.now.items.items() if len(i.values["EchoTime"]) > 1]
        if not several:
            return
        uid = several[number % len(several)]
        item = self.now.items[uid]
        times = list(item.values["EchoTime"])
        place = number % len(times)
        self.record(4, uid)[str(place + 1)].EchoTime = value
        times[place] = value
        self.now.items[uid] = item.saying({"EchoTime": tuple(times)})

    def rename(self, depth: int, number: int, value: str) -> None:
        """Set the identifier of a record."""
        chosen = self.pick(depth, number)
        if chosen is None:
            return
        record = self.record(depth, chosen)
        name = IDENTIFIERS[depth - 1]
        known = list(self.now.items) if depth == 4 else [n[-1] for n in self.now.nodes(depth)]
        old = chosen if depth == 4 else chosen[-1]
        if value in known and value != old:
            try:
                record[name] = value
            except errors.InvalidValue:
                return
            raise AssertionError(f"{name} {value} stands for two")
        record[name] = value
        assert record[name] == (value if depth == 4 else [value]), "the handle follows"
        self._called(LEVELS[depth], old, value)
        if depth == 4:
            self.now.items[value] = self.now.items.pop(chosen)
            return

        def renamed(node: Any) -> Any:
            if node[:depth] != chosen:
                return node
            return (*node[: depth - 1], value, *node[depth:])

        for uid, item in self.now.items.items():
            self.now.items[uid] = item.having(place=renamed(item.place))
        self.now.empty = {renamed(node): said for node, said in self.now.empty.items()}

    def _called(self, level: str, old: Any, new: Any) -> None:
        both = self.names.get((level, old), {old}) | self.names.get((level, new), {new})
        for name in both:
            self.names[level, name] = both

    # -- new records ----------------------------------------------------------------------------

    def new(self, depth: int, number: int, said: Mapping[str, Value]) -> None:
        """Make a patient, study or series."""
        parent = self.pick(depth - 1, number)
        if parent is None:
            return
        said = {name: value for name, value in said.items() if OF_LEVEL.get(name, depth) == depth}
        record = getattr(record_at(self.database, parent), f"new_{LEVELS[depth]}")(**said)
        node = node_of(record)
        assert node[:-1] == parent
        assert not self.now.below(node)
        if depth == 3:
            said = {"SeriesNumber": record.SeriesNumber[0], **said}
        for name, value in said.items():
            assert record[name] == [value]
        self.now.empty[node] = {name: {value} for name, value in said.items()}

    def new_instance(self, number: int, comment: str) -> None:
        """Make an instance without pixels."""
        node = self.pick(3, number)
        if node is None:
            return
        instance = record_at(self.database, node).new_instance(ImageComments=comment)
        item = Item(node, dict.fromkeys(TRACKED) | {"EchoTime": (None,)}, None, None, None)
        self.now.items |= self._arrived([(instance, item)], node, {"ImageComments": comment})

    # -- copies and moves -----------------------------------------------------------------------

    def put(self, depth: int, number: int, target: int, *, copies: bool) -> None:
        """Copy or move a record to another parent."""
        chosen, parent = self.pick(depth, number), self.pick(depth - 1, target)
        if chosen is None or parent is None:
            return
        before = self.covered(depth, chosen, self.now)
        old_place = before[chosen].place if depth == 4 else chosen
        record, above = self.record(depth, chosen), record_at(self.database, parent)
        if not copies:
            if old_place[: depth - 1] == parent:
                assert record.move_to(above) == record
                return
            kept = self._kept(old_place[: depth - 1], [chosen])
        new = record.copy_to(above) if copies else record.move_to(above)
        if depth == 4:
            arrived = [(new, before[chosen])]
            place: Node = parent
        else:
            place = node_of(new)
            assert place[:-1] == parent
            assert copies or place[-1] == chosen[-1]
            arrived = self._matched(new, place, before, copies=copies)
        came = self._arrived(arrived, parent, {}, depth)
        self._move_empty(old_place, place, depth, copies=copies)
        for uid, item in came.items():
            self.now.items.pop(uid, None)
            self.now.items[uid] = item.having(source=None) if copies else item
        if not copies:
            self.now.empty = kept | self.now.empty

    def _matched(
        self, new: Any, place: Node, before: Mapping[str, Item], *, copies: bool
    ) -> list[tuple[Any, Item]]:
        """Return the instances that came, each with what it was."""
        came = [i for i in new.instances() if copies or i.uid in before]
        assert len(came) == len(before), "nothing is lost, and nothing comes twice"
        if not copies:
            by_uid = {instance.uid: instance for instance in came}
            return [(by_uid[uid], item) for uid, item in before.items()]
        assert not {i.uid for i in came} & {*self.now.items, *self.saved.items}, "new UIDs"
        left = dict(before)
        result = []
        for instance in came:
            values = shown_values(instance)
            pixels = None if "file" not in _attributes(instance) else instance.array().values
            uid = next(
                uid for uid, item in left.items()
                if all(
                    values[name] == item.values[name]
                    for name in (*PLAIN, "EchoTime", "SeriesDescription")
                    if self._said(place[:-1], name) == {None}
                )
                and (pixels is None) == (item.pixels is None)
                and (pixels is None or np.array_equal(pixels, item.pixels))
            )  # fmt: skip
            result.append((uid, instance))
            del left[uid]
        order = list(before)
        result.sort(key=lambda pair: order.index(pair[0]))
        return [(instance, before[uid]) for uid, instance in result]

    def _move_empty(self, old: Node, new: Node, depth: int, *, copies: bool) -> None:
        if depth == 4:
            return
        below = {n: said for n, said in self.now.empty.items() if n[: len(old)] == old}
        records = (*self.database.studies(), *self.database.series())
        shown = {node_of(record) for record in records if not record.instances()}
        for node, said in below.items():
            if not copies:
                del self.now.empty[node]
                self.now.empty[(*new, *node[len(old) :])] = said
            elif len(node) == len(old):
                self.now.empty[new] = dict(said)
        if copies:
            # Deeper ones have new UIDs, which only the database knows.
            known = {n for d in (2, 3) for n in self.now.nodes(d)}
            for node in shown - known:
                if node[: len(new)] == new and node != new:
                    self.now.empty[node] = {name: set(ANY) for name in TRACKED}

    def _kept(self, parent: Node, leaving: Iterable[Any]) -> dict[Node, dict[Any, Any]]:
        """Return the records that stay without anything in them."""
        kept: dict[Node, dict[Any, Any]] = {}
        while parent and set(self.now.children(parent)) <= set(leaving):
            said = {n: self._said(parent, n) for n, d in OF_LEVEL.items() if d == len(parent)}
            kept[parent] = self.now.empty.get(parent) or {
                name: values for name, values in said.items() if values != {None}
            }
            parent, leaving = parent[:-1], [parent]
        return kept

    def remove(self, depth: int, number: int) -> None:
        """Remove a record."""
        chosen = self.pick(depth, number)
        if chosen is None:
            return
        parent = self.now.items[chosen].place if depth == 4 else chosen[:-1]
        kept = self._kept(parent, [chosen])
        record = self.record(depth, chosen)
        record.remove()
        try:
            record.PatientName  # noqa: B018
        except errors.NotInDatabase:
            pass
        else:
            raise AssertionError("a removed record answers")
        for uid in self.covered(depth, chosen, self.now):
            del self.now.items[uid]
        if depth < 4:
            self.now.empty = {
                n: said for n, said in self.now.empty.items() if n[: len(chosen)] != chosen
            }
        self.now.empty = kept | self.now.empty

    # -- what arrives somewhere -----------------------------------------------------------------

    def _said(self, node: Node, name: Any) -> set[Value]:
        """Return what the records at and above a place may say of an attribute."""
        depth = OF_LEVEL.get(name, 3)
        values: set[Value] = {None}
        if name in OF_LEVEL and len(node) >= depth:
            items = self.now.below(node[:depth])
            values = {item.values[name] for item in items.values()} or {None}
        if None in values:
            start = min(depth, len(node)) if name in OF_LEVEL else len(node)
            for above in range(start, 0, -1):
                made = self.now.empty.get(node[:above], {}).get(name)
                if made is not None:
                    return (values - {None}) | set(made)
        return values

    def _arrived(
        self,
        arrived: list[tuple[Any, Item]],
        parent: Node,
        given: Mapping[Any, Value],
        depth: int = 4,
    ) -> dict[str, Item]:
        """Return instances that came to a place, and check what they took over there."""
        taken = {item.values["InstanceNumber"] for item in self.now.below(parent).values()}
        new = {}
        for instance, item in arrived:
            values = shown_values(instance)
            for name in TRACKED:
                before = item.values[name]
                allowed = self._said(parent, name)
                if name == "EchoTime":
                    allowed = {before}
                elif name in given:
                    allowed = {given[name]}
                elif name == "InstanceNumber" and depth == 4:
                    keeps = before is not None and before not in taken
                    allowed = {before} if keeps else {values[name]}
                    assert values[name] is not None
                    assert values[name] not in taken
                elif name == "SeriesNumber" and depth == 3:
                    allowed = {values[name]}
                elif None in allowed and not (name in STRICT and depth > OF_LEVEL[name]):
                    allowed = (allowed - {None}) | {before}
                assert ANY & allowed or values[name] in allowed, (name, values[name], allowed)
            own = node_of(instance.parent)
            assert own[: len(parent)] == parent
            new[instance.uid] = item.having(place=own, values=values)
        return new

    # -- many as one ----------------------------------------------------------------------------

    def batch(self, actions: Iterable[Any], *, fails: bool) -> None:
        """Do several things as one, or none where an error ends them."""
        before = self.now.copy(), dict(self.names)
        try:
            with self.database.batch():
                for action in actions:
                    action()
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            self.now = before[0]

    # -- saving and restoring -------------------------------------------------------------------

    def _covers(self, depth: int, chosen: Any) -> Any:
        """Return a function that says whether a record holds what has a UID and a place."""
        if depth == 0:
            return lambda uid, place: True
        if depth == 4:
            uids = self.names.get(("instance", chosen), {chosen})
            return lambda uid, place: uid in uids
        own = chosen[-1]
        if sum(node[-1] == own for node in self.now.nodes(depth)) > 1:
            return lambda uid, place: place[:depth] == chosen
        names = self.names.get((LEVELS[depth], own), {own})
        return lambda uid, place: place[depth - 1] in names

    def save(self, depth: int, number: int) -> None:
        """Save a record, and make sure that the files say it."""
        chosen = self.pick(depth, number)
        if chosen is None:
            return
        covers = self._covers(depth, chosen)
        shown = {item.source for item in self.now.items.values()}
        result = self.saved.copy()
        for uid, item in self.saved.items.items():
            if uid not in shown and covers(uid, item.place):
                del result.items[uid]
        now = {u: i for u, i in self.now.items.items() if covers(u, i.place)}
        for item in now.values():
            if item.source is not None:
                del result.items[item.source]
        result.items |= {uid: item.having(source=uid) for uid, item in now.items()}
        if depth < 4:
            result.empty = {n: s for n, s in result.empty.items() if not covers("", (*n, "", ""))}
            ours = {n: s for n, s in self.now.empty.items() if n[:depth] == chosen}
            result.empty |= {node: dict(said) for node, said in ours.items()}
        if _ambiguous(result):
            return
        self.record(depth, chosen).save()
        self.saved = result
        self.now.items |= {uid: result.items[uid] for uid in now}
        files = assert_saved(self.folder, self.saved)
        after = fingerprints(self.folder)
        touched = {str(files[uid].relative_to(self.folder)) for uid in now}
        for path, print_ in after.items():
            assert path in touched or self.bytes[path] == print_, "not saved, and changed"
        self.bytes = after

    def restore(self, depth: int, number: int) -> None:
        """Restore a record."""
        chosen = self.pick(depth, number)
        if chosen is None:
            return
        covers = self._covers(depth, chosen)
        result = State({}, self.now.copy().empty)
        for uid, item in self.now.items.items():
            if not covers(uid, item.place):
                saved = self.saved.items.get(item.source or "")
                if saved is None or item.source is None or not covers(item.source, saved.place):
                    result.items[uid] = item
        held = {item.source for item in result.items.values()}
        shown = {item.source: item.place for u, item in self.now.items.items()}
        for uid, item in self.saved.items.items():
            if uid not in held and (uid in shown or covers(uid, item.place)):
                result.items[uid] = item
        if depth == 0:
            result.empty = self.saved.copy().empty
        elif depth < 4:
            result.empty = {n: s for n, s in result.empty.items() if n[:depth] != chosen}
            result.empty |= {
                n: dict(s) for n, s in self.saved.empty.items() if covers("", (*n, "", ""))
            }
        if _ambiguous(result):
            return
        self.record(depth, chosen).restore()
        self.now = result

    def reopen(self) -> None:
        """Open the folder anew."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", errors.NotSaved)
            self.database.close()
        self.database = db.database(self.folder)
        self.names = {}

    def check(self) -> None:
        """Make sure that the database is what it should be, and that no file has changed."""
        assert_shown(self.database, self.now)
        assert fingerprints(self.folder) == self.bytes


ANY: frozenset[Any] = frozenset((object(),))


def _attributes(instance: Any) -> list[str]:
    """Return what can be asked of an instance that may have no pixels."""
    return ["file"] if instance.Rows is not None else []


def _ambiguous(state: State) -> bool:
    """Return whether one PatientID would stand for two names, which makes two patients."""
    names: dict[str, set[Any]] = {}
    for item in state.items.values():
        names.setdefault(item.place[0], set()).add(item.values["PatientName"])
    for node, said in state.empty.items():
        names.setdefault(node[0], set()).update(said.get("PatientName", ()))
    return any(len(found - {None, *ANY}) > 1 for found in names.values())
