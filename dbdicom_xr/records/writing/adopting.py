"""Images that workers have written, taken into the database: all of them or none.

They wait in ``.dbdicom_xr/writing/<name>/``, which no scan looks into. Once a manifest says that
they are all there, they move among the staged files and become staged instances, in one act with
the removal of those that they replace, by the same journal as a save.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydicom.datadict import keyword_for_tag

from dbdicom_xr.emit.plan import IMAGES, PLAN, Manifest, load_plan
from dbdicom_xr.emit.writer import read_manifest, remove_strays, remove_write
from dbdicom_xr.errors import (
    DatabaseChanged,
    DbdicomError,
    DicomWarning,
    Locked,
    NotInDatabase,
    SaveFailed,
    SaveRecovered,
    StagingNotWritable,
)
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Column, Key
from dbdicom_xr.index.files import TEMPORARY_SUFFIX
from dbdicom_xr.index.merge import instance_numbers
from dbdicom_xr.index.scan import FOLDER_NAME
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import decode
from dbdicom_xr.records.attributes.lookup import alternatives
from dbdicom_xr.records.current import levels_to_user
from dbdicom_xr.records.editing.placing import Edits, constant, identity_of, key_of_node
from dbdicom_xr.records.editing.saving import STAGED_FOLDER, Job, SavePlan, carry_out
from dbdicom_xr.records.recovering import catch_up
from dbdicom_xr.records.writing.expected import forget
from dbdicom_xr.records.writing.meanwhile import NOTHING_SAID, Said, said_since
from dbdicom_xr.staging.changing import Change, Selection
from dbdicom_xr.staging.encode import encode, set_encoded
from dbdicom_xr.staging.file import Layer
from dbdicom_xr.staging.groups import belongs_in_groups
from dbdicom_xr.staging.journal import Step
from dbdicom_xr.staging.lease import Process, has_ended, this_process
from dbdicom_xr.staging.patch import Patch, PatchKey, Role, delta

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.levels import Series

__all__ = [
    "Goal", "Mode", "adopt", "begin_write", "give_up", "let_go", "staged_folder", "sweep",
]  # fmt: skip

Mode = Literal["w", "a"]

_WRITING: Final = f"{FOLDER_NAME}/writing"
_GOAL: Final = "goal"
_CHARSET: Final = Key(0x00080005)
_INSTANCE_NUMBER: Final = Key(0x00200013)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_ATTEMPTS: Final = 10
# What a process of another machine has left behind, and nobody has touched since.
_FORGOTTEN_SECONDS: Final = 7 * 24 * 3600


@dataclass(frozen=True)
class Goal:
    """Where written images are to go.

    Parameters
    ----------
    key : SeriesKey
        The series that their headers name.
    mode : {"w", "a"}
        Whether they replace its images.
    whole_numbers : bool
        Whether the array held integers, which are expected to be kept exactly.
    process : Process
        Which plans the write, and takes it into the database.
    said : Said
        Of the series, when the write was planned.
    """

    key: SeriesKey
    mode: Mode
    whole_numbers: bool
    process: Process
    said: Said


def begin_write(
    database: Database,
    key: SeriesKey,
    mode: Mode,
    *,
    whole_numbers: bool,
    said: Said = NOTHING_SAID,
) -> str:
    """Make the folder of a write and return its path; see ``Goal``.

    Raises
    ------
    Locked
        Another process is changing the database.
    StagingNotWritable
        The folder of the database may not be written to.
    SaveFailed
        The disk is full, or the like.
    """
    database._staging.require_no_batch("Writing an array")
    database._take()
    goal = json.dumps([key, mode, whole_numbers, this_process(), said]).encode()
    try:
        return _new_folder(database.path_on_disk, goal)
    except OSError as error:
        let_go(database)
        if error.errno not in _FORBIDDEN:
            raise SaveFailed(
                f"The images could not be written to {database.path_on_disk}: "
                f"{error.strerror or error}. The series is as it was before."
            ) from error
        raise StagingNotWritable(
            f"Images that are not saved yet lie inside {database.path_on_disk}, which cannot be "
            f"written to: {error.strerror}. Write them into another database: db.database(path, "
            "create=True).new_series()."
        ) from error


def _new_folder(root: str, goal: bytes) -> str:
    """Make a folder that says whose it is."""
    for _ in range(_ATTEMPTS):
        folder = os.path.join(root, _WRITING, secrets.token_hex(6))
        path = os.path.join(folder, _GOAL)
        try:
            os.makedirs(folder)
            with open(path + TEMPORARY_SUFFIX, "xb") as file:
                file.write(goal)
            os.replace(path + TEMPORARY_SUFFIX, path)
            os.mkdir(os.path.join(folder, IMAGES))
        except FileNotFoundError as error:  # a process that opens the database has swept it away
            swept = error
        except BaseException:
            remove_write(folder)
            raise
        else:
            return folder
    raise swept


def let_go(database: Database) -> None:
    """Let others change the database, if nothing is staged."""
    staging = database._staging
    if staging.batch_of_another:
        return  # which needs the lease, and may go on for long
    with staging.changing:
        if database._behind:
            catch_up(database)
        if not (database._behind or staging.in_batch or staging.layer().unsaved):
            staging.give()


def _goal_of(folder: str) -> Goal | None:
    try:
        with open(os.path.join(folder, _GOAL), "rb") as file:
            key, mode, whole_numbers, process, said = json.load(file)
        return Goal(SeriesKey(*key), mode, whole_numbers, Process(*process), Said.unpacked(said))
    except (OSError, ValueError, TypeError):
        return None


def give_up(folder: str) -> None:
    """Remove what was written, and expect no more of it."""
    forget(folder)
    remove_write(folder)
    with suppress(OSError):  # another write is under way
        os.rmdir(os.path.dirname(folder))


# -- into the database -------------------------------------------------------------------------


def adopt(database: Database, folder: str, series: Series | None = None) -> None:
    """Make written images instances of their series.

    Parameters
    ----------
    database : Database
    folder : str
        Of the write, with its manifest.
    series : Series, optional
        To which they go, whatever it is called by now.

    Raises
    ------
    NotInDatabase
        The series was removed meanwhile.
    SaveFailed
        A file could not be moved; the series is as it was.
    """
    manifest, goal = read_manifest(folder), _goal_of(folder)
    assert manifest is not None
    assert goal is not None
    staging = database._staging
    with staging.changing:
        staging.require_no_batch("Writing an array")
        database._take()
        file = staging.take()
        staging.flush()
        with database._lock:
            plan, new, target, of_frames = _planned(database, folder, goal, manifest, series)
            plan.jobs = [staged_folder(plan, folder, manifest.files)]
            carry_out(database, file, plan, new, f"Staging in {plan.root}")
            remove_strays(plan.jobs[0].step.path, manifest.files)
        _say_in_frames(database, target, of_frames)
    give_up(folder)
    if goal.whole_numbers and manifest.error:
        warnings.warn(
            f"Integers of this size or range do not fit 16 bits: they were rounded, by "
            f"{manifest.error:.3g} at most. As a Parametric Map those below 2**53 are kept: "
            "series.set_array(array, header, dtype='float64'), with the header that "
            "series.array() gives.",
            DicomWarning,
            stacklevel=levels_to_user(),
        )
    if manifest.scales_differ:
        warnings.warn(
            "The frames of this file have slopes and intercepts of their own, so that all values "
            "are exact. SimpleITK and other programs on GDCM apply those of the first frame to "
            "all, and read wrong numbers. scale='series' gives all frames one, and rounds; "
            "multiframe=False writes one file per image; scale='frame' silences this.",
            DicomWarning,
            stacklevel=levels_to_user(),
        )


def _is_of_frames(key: Key) -> bool:
    """Return whether a functional group may hold an attribute, under its name or another."""
    names = (key, *alternatives(keyword_for_tag(key.tag)))
    return not key.creator and any(map(belongs_in_groups, names))


def _say_in_frames(database: Database, target: SeriesKey, edits: Edits) -> None:
    """Set what multi-frame instances say of each frame, where no edit of a patch reaches."""
    for key, value in edits.items():
        series: Any = database._record_at("series", target)
        said = None if value is None else decode(key.tag, "", value.kind, value.value)
        series[key.tag >> 16, key.tag & 0xFFFF] = said


def staged_folder(plan: SavePlan, folder: str, names: Sequence[str]) -> Job:
    """Return what makes the images of a write staged files.

    Parameters
    ----------
    folder : str
        Of the write.
    names : sequence of str
        Of its images.
    """
    place = f"{plan.root}/{STAGED_FOLDER}/{os.path.basename(folder)}"
    step = Step("move folder", place, source=os.path.join(folder, IMAGES))
    return Job(step, {}, names=names)


def _planned(
    database: Database, folder: str, goal: Goal, manifest: Manifest, series: Series | None
) -> tuple[SavePlan, Layer, SeriesKey, Edits]:
    """Return what is to be done, what is staged then, in which series, and edits of its frames.

    Other processes may bring the index up to date while it is read: what took hours to compute is
    not given up for that.
    """
    for left in reversed(range(_ATTEMPTS)):
        database._look_again()
        try:
            target = _left_in(database, goal) if series is None else key_of_node(series._node)
            plan = SavePlan(database, database._view())
            new, of_frames = _changed(database, plan, goal, manifest, target, folder)
            return plan, new, target, of_frames
        except DatabaseChanged:
            if not left:
                raise
    raise AssertionError


def _left_in(database: Database, goal: Goal) -> SeriesKey:
    """Return where the series of a write stands that another process had planned."""
    node = database._tree().at("series", goal.key)
    if node is None:  # moved since, or of a patient or study that was renamed
        node = database._tree().find("series", goal.key.series_uid)
    return goal.key if node is None else key_of_node(node)


def _changed(
    database: Database,
    plan: SavePlan,
    goal: Goal,
    manifest: Manifest,
    target: SeriesKey,
    folder: str,
) -> tuple[Layer, Edits]:
    """Return what is staged once the images are in, and what their frames are to say then."""
    node = database._tree().at("series", target)
    if node is None:
        raise NotInDatabase(
            "The series that an array was written to is not there any more, so that its images "
            "were not kept."
        )
    change = Change(plan.view)
    table = None if node.row is None or not node.row.instances else database._table(node.row)
    if goal.mode == "w" and table is not None:
        images = np.flatnonzero(table.places["offset"] >= 0)
        if len(images):
            change.remove(Selection(target, images))
    count = len(manifest.uids)
    patch = Patch.bare(
        PatchKey(goal.key, target, Role.STAGED), "", np.full(count, -1), manifest.uids
    )
    edits = said_since(database, node, goal.said, lambda: load_plan(folder).elements)
    if target != goal.key:  # renamed or moved since the write was planned
        before, after = identity_of(goal.key), identity_of(target)
        edits |= {key: value for key, value in after.items() if before.get(key) != value}
    of_frames: Edits = {}
    if edits and load_plan(folder).form != "images":
        of_frames = {key: edits.pop(key) for key in [*edits] if _is_of_frames(key)}
    if any(value is not None and value.kind.charset for value in edits.values()):
        edits[_CHARSET] = encode(_CHARSET.tag, "ISO_IR 192")
    patch = patch.edited(constant(edits, count))
    if goal.mode == "a" and table is not None:
        patch = patch.edited(_numbers(table, folder, count))
    change.add(patch)
    return change.result(), of_frames


def _numbers(table: Table, folder: str, count: int) -> dict[Key, Column]:
    """Return other numbers for images, where those that they have were taken meanwhile."""
    column = table.column(_INSTANCE_NUMBER)
    known = instance_numbers({} if column is None else {_INSTANCE_NUMBER: column},
                             len(table.places))  # fmt: skip
    planned = load_plan(folder).elements[_INSTANCE_NUMBER].decoded()
    known = known[np.isfinite(known)]
    if not len(known) or min(planned) > known.max():
        return {}
    first = int(known.max()) + 1
    fresh = set_encoded(_INSTANCE_NUMBER.tag, list(range(first, first + count)))
    return {_INSTANCE_NUMBER: delta(_INSTANCE_NUMBER, fresh, np.arange(count), count)}


def sweep(database: Database) -> None:
    """Take in what a process that has ended had finished, and remove what it had not."""
    place = os.path.join(database.path_on_disk, _WRITING)
    try:
        names = os.listdir(place)
    except OSError:
        return
    for name in names:
        folder = os.path.join(place, name)
        if name.endswith(TEMPORARY_SUFFIX):
            remove_write(folder)
            continue
        goal = _goal_of(folder)
        if goal is None and not os.path.exists(os.path.join(folder, PLAN)):
            _remove_unclaimed(folder)
            continue
        ended = None if goal is None else has_ended(goal.process)
        if ended is None:
            with suppress(OSError):
                ended = time.time() - os.stat(folder).st_mtime > _FORGOTTEN_SECONDS
        if not ended:
            continue
        manifest = None if goal is None else read_manifest(folder)
        if manifest is None or _is_in(database, folder, manifest):
            remove_write(folder)
            continue
        _adopt_left_behind(database, folder)
    with suppress(OSError):
        os.rmdir(place)


def _remove_unclaimed(folder: str) -> None:
    """Remove a folder that does not say yet whose it is; that process would make another one."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.endswith(TEMPORARY_SUFFIX):
                os.unlink(os.path.join(folder, name))
        os.rmdir(folder)  # unless it says so by now


def _is_in(database: Database, folder: str, manifest: Manifest) -> bool:
    """Return whether images were taken in, and only their folder was left."""
    images = os.path.join(folder, IMAGES)
    if not all(os.path.exists(os.path.join(images, name)) for name in manifest.files):
        return True  # and saved or restored since
    patches = database._staging.layer().patches
    return any(
        manifest.uids[0] in patch.uids for key, patch in patches.items() if key.role == Role.STAGED
    )


def _adopt_left_behind(database: Database, folder: str) -> None:
    try:
        adopt(database, folder)
    except (Locked, StagingNotWritable):
        return  # another process is at it
    except NotInDatabase:
        remove_write(folder)
        return
    except DbdicomError as error:
        warnings.warn(
            f"An array was written by a process that has ended, but its images in {folder} could "
            f"not be taken in: {error}",
            DicomWarning,
            stacklevel=levels_to_user(),
        )
        return
    warnings.warn(
        f"A process had written an array, and was ended before its images were in "
        f"{database.path_on_disk}. They are there now, staged: save() keeps them, restore() gives "
        "them up.",
        SaveRecovered,
        stacklevel=levels_to_user(),
    )
