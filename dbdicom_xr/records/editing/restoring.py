"""Restoring what was there before: all that is staged of a record, or of some attributes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydicom.datadict import keyword_for_tag

from dbdicom_xr.errors import DicomWarning, InvalidValue
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.store import FRAME
from dbdicom_xr.records.attributes.lookup import (
    Attribute,
    Name,
    alternatives,
    parse_name,
)
from dbdicom_xr.records.attributes.modules import IDENTITY, keys_of
from dbdicom_xr.records.attributes.private_names import ANY_GROUP
from dbdicom_xr.records.current import levels_to_user
from dbdicom_xr.records.editing.choosing import Chosen, Mask, above, chosen_by, empty_of, name_of
from dbdicom_xr.records.editing.saving import STAGED_FOLDER, Job, SavePlan, carry_out
from dbdicom_xr.records.tree import LEVELS
from dbdicom_xr.staging.journal import Step
from dbdicom_xr.staging.patch import Patch, PatchKey, Role

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.staging.view import View

__all__ = ["restore", "restore_attributes"]

_MODULES: Final = {"patient": ["patient"], "study": ["study", "patient study"]}
_CHARSET: Final = Key(0x00080005)
_UTF8: Final = b"ISO_IR 192"
_NAMED_AT_MOST: Final = 5


def restore(record: Any) -> None:
    """Undo what is staged of a record; see ``Record.restore``."""
    database: Database = record.database
    staging = database._staging
    staging.require_no_batch("restore()")
    if not staging.layer():
        return
    with staging.changing, database._lock:
        database._take()
        file = staging.take()
        database._look_again()
        view = database._view()
        chosen = chosen_by(record)
        plan = SavePlan(database, view)
        for patch in view.layer.patches.values():
            rows = chosen(patch, True)
            if not rows.any():
                continue
            plan.gone[patch.key] = rows
            for path, version in _staged_files(plan, patch, rows):
                plan.jobs.append(Job(Step("delete", path, version=version), {}))
        returning = _returning(record, view, chosen)
        plan.make_copies_whole(restoring=True)
        layer = view.layer
        mine, saved = empty_of(record, layer)
        empty = {place: made for place, made in layer.empty.items() if place not in mine}
        # What was kept only because it had lost all that was in it has something in it again.
        back = {key.source for key in plan.gone if key.masks}
        empty = {
            place: made
            for place, made in empty.items()
            if place in layer.kept or place[1] not in {above(key, place[0]) for key in back}
        }
        empty |= {place: layer.kept[place] for place in saved}
        name = name_of(record)
        carry_out(database, file, plan, plan.layer(empty, layer.kept), "Restoring")
        database._renamed.undone(*name, view.number)
        if not staging.layer().unsaved:
            staging.give()
    if returning:
        warnings.warn(returning, DicomWarning, stacklevel=levels_to_user())


def _staged_files(
    plan: SavePlan, patch: Patch, rows: Mask
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the files that were made for instances which are given up."""
    if patch.key.role not in (Role.STAGED, Role.REMOVED):
        return
    for file in plan._files(patch, np.flatnonzero(rows)).values():
        if file.path.startswith(STAGED_FOLDER):
            yield f"{plan.root}/{file.path}", (file.size, file.mtime)


# -- what was set above ----------------------------------------------------------------------


def _returning(record: Any, view: View, chosen: Chosen) -> str:
    """Return a warning where attributes of the patient or the study come back, set above it.

    A record that was moved goes back to where it came from, which is what was asked for. One whose
    patient was renamed has the old name again, and so another patient than the images beside it.
    """
    if record.level not in ("study", "series", "instance", "frame"):
        return ""
    level = "instance" if record.level == "frame" else record.level
    higher = LEVELS[1 : LEVELS.index(level)]
    modules = [module for one in higher for module in _MODULES.get(one, [])]
    keys = dict.fromkeys(key for module in modules for key in keys_of(module))
    parent = LEVELS[LEVELS.index(level) - 1]
    here = {above(row.key, parent) for row in view.series() if row.instances}
    here |= {place for at, place in view.layer.empty if at == parent}
    found: set[Key] = set()
    images = 0
    moved = ""
    for patch in view.layer.patches.values():
        rows = chosen(patch, True)
        if patch.key.role != Role.EDITED or not rows.any():
            continue
        before, now = (above(key, parent) for key in (patch.key.source, patch.key.target))
        if before != now and before in here:
            continue  # it was moved
        beside = _beside(patch, view, chosen)
        mine = np.full(len(patch), before != now) & rows
        for key in keys:
            column = patch.columns.get(key)
            if column is None:
                continue
            there = rows & (column.codes_of() >= 0)
            if there.any() and (before != now or _says_so_too(key, beside, chosen)):
                found.add(key)
                mine |= there
        if before != now:
            changed = [name for name, old, new in _identifiers(before, now) if old != new]
            found |= {IDENTITY[name] for name in changed}
            moved = moved or _way_back(level, changed, beside)
        images += int(mine.sum())
    return _words(level, found, images, moved) if images else ""


def _identifiers(before: SeriesKey, now: SeriesKey) -> Iterable[tuple[str, str, str]]:
    names = ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID")
    return zip(names, before, now, strict=True)


def _beside(patch: Patch, view: View, chosen: Chosen) -> list[Patch]:
    """Return what is staged of the same patient outside the record."""
    return [
        other
        for other in view.layer.patches.values()
        if other.key.target[:2] == patch.key.target[:2]
        and other.key.role == Role.EDITED
        and not chosen(other, True).all()
    ]


def _says_so_too(key: Key, beside: Iterable[Patch], chosen: Chosen) -> bool:
    """Return whether an attribute was set in images beside the record too."""
    for patch in beside:
        column = patch.columns.get(key)
        if column is not None and bool(((column.codes_of() >= 0) & ~chosen(patch, True)).any()):
            return True
    return False


def _way_back(level: str, changed: list[str], beside: list[Patch]) -> str:
    """Return how a record that left others behind, by its identifiers, comes back to them."""
    if not beside:
        return "Set them again if that was not meant."
    if "PatientID" in changed or "PatientName" in changed:
        what, plural, place = "study", "studies", "patient"
    elif "StudyInstanceUID" in changed:
        what, plural, place = "series", "series", "study"
    else:
        return (
            "So the images of the series are in two now: instance.move_to(series) puts them "
            "together again."
        )
    mover = what if what == level else f"record.{plural}()"
    return (
        f"So they stand under another {place} than those beside them: {mover}.move_to({place}) "
        "puts them there again."
    )


def _words(level: str, keys: set[Key], images: int, moved: str) -> str:
    names = sorted(keyword_for_tag(key.tag) or str(key) for key in keys)
    if len(names) > _NAMED_AT_MOST:
        names[_NAMED_AT_MOST:] = [f"{len(names) - _NAMED_AT_MOST} more"]
    several = f"{images} images" if images != 1 else "1 image"
    return (
        f"restore() of the {level} took back more than was set on it alone: {', '.join(names)} "
        f"of {several}, which had been set on what is above. The values of the files are back. "
        + (moved or "Set them again if that was not meant.")
        + " restore() of the patient undoes them everywhere; with names, as in "
        "restore('EchoTime'), only these attributes are undone."
    )


# -- single attributes -----------------------------------------------------------------------


def restore_attributes(record: Any, names: Sequence[Name]) -> None:
    """Undo what is staged of some attributes of a record; see ``Record.restore``."""
    attributes = [parse_name(name, record._has) for name in names]
    for attribute in attributes:
        _require_single(attribute)
    database: Database = record.database
    staging = database._staging
    with database._change() as change:
        chosen = chosen_by(record)
        layer = change.view.layer
        gone: dict[PatchKey, Mask] = {}
        for patch in layer.patches.values():
            keys = [key for key in patch.columns if any(_is(key, one) for one in attributes)]
            rows = chosen(patch, False)
            if patch.key.role == Role.REMOVED or not rows.any():
                continue
            if patch.counts[rows].any():
                _refuse_in_groups(database, patch, attributes)
            if not keys or not any(
                (patch.columns[key].codes_of()[rows] >= 0).any() for key in keys
            ):
                continue
            _refuse_made_or_moved(patch, keys)
            gone[patch.key] = rows
            left = _without(patch.take(np.flatnonzero(rows)), keys)
            if len(left):
                change.add(left)
        change.put_back(lambda patch: gone.get(patch.key, np.zeros(len(patch), np.bool_)))
        for place in empty_of(record, layer)[0]:
            if (saved := layer.kept.get(place)) is not None:
                made = layer.empty[place]
                others = {k: v for k, v in made.attributes.items() if not _any(k, attributes)}
                before = {k: v for k, v in saved.attributes.items() if _any(k, attributes)}
                change.empty[place] = made._replace(attributes={**others, **before})
    if not staging.in_batch and not staging.layer().unsaved:
        staging.give()


def _any(key: Key, attributes: Sequence[Attribute]) -> bool:
    return any(_is(key, attribute) for attribute in attributes)


def _is(key: Key, attribute: Attribute) -> bool:
    """Return whether a column is that of an attribute."""
    if not attribute.creator:
        return key == Key(attribute.tag)
    group = attribute.tag >> 16
    same = key.creator == attribute.creator and (key.tag ^ attribute.tag) & 0xFF == 0
    return same and group in (ANY_GROUP, key.tag >> 16)


def _require_single(attribute: Attribute) -> None:
    if attribute.custom is not None:
        depends = ", ".join(str(name) for name in (attribute.custom.depends or ())[:4])
        raise InvalidValue(
            f"{attribute} is worked out from other attributes"
            + (f" ({depends}): name those." if depends else ", and has nothing of its own to undo.")
        )
    if attribute.name in IDENTITY:
        raise InvalidValue(
            f"{attribute} tells where the images stand, and is not undone alone: set it to what it "
            "was, or undo all with restore() of the patient, or of what was moved."
        )


def _refuse_in_groups(database: Database, patch: Patch, attributes: Sequence[Attribute]) -> None:
    table = database._table_of(patch.key.target)
    for attribute in attributes:
        keys = [Key(attribute.tag, attribute.creator), *alternatives(attribute.name)]
        if table is not None and any(table.column(key, FRAME) is not None for key in keys):
            raise InvalidValue(
                f"{attribute} stands in the functional groups of these images, which are staged as "
                "a whole: set it to what it was, or undo all with restore() of the images."
            )


def _refuse_made_or_moved(patch: Patch, keys: Sequence[Key]) -> None:
    """Refuse what has nothing to go back to, or follows from the place of an image."""
    source, target, role = patch.key
    named = keyword_for_tag(keys[0].tag) or str(keys[0])
    if role == Role.NEW:
        raise InvalidValue(
            f"{named} of images that were made since the last save has no other value to go back "
            "to: set it, or take the images away with restore() of their series."
        )
    if role == Role.EDITED and source == target:
        return
    modules = ["patient", "study", "patient study"] if role != Role.STAGED else []
    if role == Role.COPY or (role == Role.EDITED and source[3] != target[3]):
        modules.append("series")
    placed = {key for module in modules for key in keys_of(module)}
    if follows := [key for key in keys if key in placed]:
        named = keyword_for_tag(follows[0].tag) or str(follows[0])
        raise InvalidValue(
            f"{named} follows from where images were copied or moved to, and is not undone alone: "
            "set it to what it was, or undo all with restore()."
        )


def _without(patch: Patch, keys: Sequence[Key]) -> Patch:
    """Return a patch without some of its changes, and without the rows that have no others."""
    columns = {key: column for key, column in patch.columns.items() if key not in keys}
    charset = columns.get(_CHARSET)
    if charset is not None and charset.values == [_UTF8]:  # which came with a text
        texts = np.zeros(len(patch), np.bool_)
        for column in columns.values():
            if any(kind.charset for kind in column.kinds):
                texts |= column.codes_of() >= 0
        if not texts.any() and not patch.counts.any():
            del columns[_CHARSET]
    rest = replace(patch, columns=columns)
    if patch.key.role != Role.EDITED or patch.key.source != patch.key.target:
        return rest
    some = patch.counts > 0
    for column in columns.values():
        some |= column.codes_of() >= 0
    return rest.take(np.flatnonzero(some))
