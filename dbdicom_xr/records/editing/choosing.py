"""Which of the changes that are staged belong to a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import NotInDatabase
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.records.tree import LEVELS
from dbdicom_xr.staging.file import Layer, MadePlace
from dbdicom_xr.staging.patch import Patch, Role

__all__ = ["Chosen", "Mask", "above", "chosen_by", "empty_of", "name_of"]

Mask = npt.NDArray[np.bool_]
Chosen = Callable[[Patch, bool], Mask]


def chosen_by(record: Any) -> Chosen:
    """Return a function that tells which rows of a patch a record covers.

    Its second argument says whether those count too that came from the record and are elsewhere
    now.
    """
    if record.level == "database":
        return lambda patch, also_left: np.ones(len(patch), np.bool_)
    if record.level in ("instance", "frame"):
        now = record.uid
        names = {now, *record.database._renamed.before("instance", now)}
        return lambda patch, also_left: np.array(
            [uid == now or (origin in names and patch.key.masks)
             for uid, origin in zip(patch.uids, patch.origins, strict=True)], np.bool_
        )  # fmt: skip
    covers = _covers(record)

    def rows(patch: Patch, also_left: bool) -> Mask:
        from_here = patch.key.masks and covers(patch.key.source, True)
        here = covers(patch.key.target, False) and patch.key.role != Role.REMOVED
        left = from_here and (also_left or patch.key.role == Role.REMOVED)
        return np.full(len(patch), here or left)

    return rows


def _covers(record: Any) -> Callable[[SeriesKey, bool], bool]:
    """Return a function that tells whether a place is at or below a patient, study or series.

    Its second argument says whether the place is one as saved, where the record may have had
    another name.
    """
    own = name_of(record)[1]
    before = {own, *record.database._renamed.before(record.level, own)}

    def covers(key: SeriesKey, as_saved: bool) -> bool:
        names = before if as_saved else {own}
        if record.level == "patient":
            return key.patient_id in names or f"{key.patient_id}\x1f{key.patient_name}" in names
        uid = key.study_uid if record.level == "study" else key.series_uid
        place = [key.patient_id, key.patient_name, key.study_uid, key.series_uid]
        place = place[: 3 if record.level == "study" else 4]
        return bool(uid) and (uid in names or _place(place) in names)

    return covers


def name_of(record: Any) -> tuple[str, str]:
    """Return the level of a record, and what it is called there."""
    if record.level == "database":
        return "database", ""
    if record.level in ("instance", "frame"):
        return "instance", record.uid
    with suppress(NotInDatabase):
        return record.level, record._node.key
    return record.level, record._key


def _place(parts: Sequence[str]) -> str:
    """Return how the tree calls a record whose UID is not unique: see ``tree.Node``."""
    patient, *uids = ["\x1f".join(parts[:2]), *parts[2:]]
    for uid in uids:
        patient = f"{uid}\x1f{patient}"
    return patient


def empty_of(record: Any, layer: Layer) -> tuple[set[MadePlace], set[MadePlace]]:
    """Return the records made by hand at and below a record: as they are, and as they are saved."""
    if record.level == "database":
        return set(layer.empty), set(layer.kept)
    if record.level in ("instance", "frame"):
        return set(), set()
    covers = _covers(record)
    levels = LEVELS[LEVELS.index(record.level) :]
    return (
        {place for place in layer.empty if place[0] in levels and covers(place[1], False)},
        {place for place in layer.kept if place[0] in levels and covers(place[1], True)},
    )


def above(key: SeriesKey, level: str) -> SeriesKey:
    """Return the key of the patient, study or series that a series stands in."""
    parts = LEVELS.index(level) + 1
    return SeriesKey(*key[:parts], *[""] * (4 - parts))
