"""Saving what is staged into the files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dbdicom_xr.errors import (
    DbdicomError,
    DicomWarning,
    InvalidValue,
    LayoutError,
    SaveFailed,
    StaleArray,
)
from dbdicom_xr.formats.dicom_files import same_object
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.files import version_of
from dbdicom_xr.index.readers import batches
from dbdicom_xr.index.rows import storable
from dbdicom_xr.index.scan import reread
from dbdicom_xr.index.store import FileRow
from dbdicom_xr.index.update import PASSED_OVER, Batch
from dbdicom_xr.interact import progress_bar
from dbdicom_xr.records.current import levels_to_user
from dbdicom_xr.records.editing.choosing import Mask, chosen_by, empty_of
from dbdicom_xr.records.layouts import require_fitting_layout
from dbdicom_xr.records.recovering import STAGED_FOLDER, bring_up_to_date, catch_up, tidy
from dbdicom_xr.staging.changing import Change
from dbdicom_xr.staging.constant import with_pixels
from dbdicom_xr.staging.encode import Encoded
from dbdicom_xr.staging.file import EmptyRecord, Layer, MadePlace, StagingFile
from dbdicom_xr.staging.journal import Step, save_files
from dbdicom_xr.staging.names import NewPaths, safe_name
from dbdicom_xr.staging.patch import Patch, PatchKey, Role
from dbdicom_xr.staging.splice import create, splice
from dbdicom_xr.staging.view import View

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database

__all__ = ["STAGED_FOLDER", "Job", "SavePlan", "carry_out", "save"]

Made = Mapping[MadePlace, EmptyRecord]

_UID: Final = Key(0x00080018)


# -- saving ----------------------------------------------------------------------------------


@dataclass
class Job:
    """What one file becomes."""

    step: Step
    edits: Mapping[Key, Encoded | None]
    source: str = ""  # that is read
    version: tuple[int, int] | None = None  # of the source
    keeps_pixels: bool = False  # of the file that it replaces, or that is removed for it
    names: Sequence[str] = ()  # of the files in a folder that moves

    def files(self, place: str) -> list[str]:
        """Return what stands at a place once, or before, this is done."""
        return [f"{place}/{name}" for name in self.names] if self.names else [place]


@dataclass
class SavePlan:
    """The files of a save, and the state after it."""

    database: Database
    view: View
    jobs: list[Job] = field(default_factory=list)
    gone: dict[PatchKey, Mask] = field(default_factory=dict)
    staged: list[Patch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = self.database.path_on_disk
        self.twins = [
            row
            for row in self.view.problems()
            if row.series is None and (row.note or "").startswith(PASSED_OVER)
        ]
        self._paths = NewPaths(self.root)
        self._read: list[Batch] = []
        self._folders: dict[SeriesKey, str] = {}
        self._placed: set[str] = set()  # files that have been added
        self._staged_twins: dict[str, list[FileRow]] = {}
        for row in self.twins:
            first = (row.note or "").removeprefix(PASSED_OVER)
            if first.startswith(STAGED_FOLDER) and row.path.startswith(STAGED_FOLDER):
                self._staged_twins.setdefault(first, []).append(row)

    # -- the files ---------------------------------------------------------------------------

    def add(self, patch: Patch, rows: Mask) -> None:
        """Add what is staged of instances."""
        numbers = np.flatnonzero(rows)
        if not len(numbers):
            return
        self.gone[patch.key] = rows
        files = self._files(patch, numbers)
        if patch.key.role != Role.REMOVED:
            composed = self.view.composed(patch.key.target)
            table = self.database._table_of(patch.key.target)
            if table is not None:
                require_fitting_layout(composed, table)
        for number, edits in zip(numbers.tolist(), patch.edits(numbers), strict=True):
            file = files.get(number)
            self._add_one(patch, number, file, edits)

    def _add_one(
        self, patch: Patch, number: int, file: FileRow | None, edits: Mapping[Key, Encoded | None]
    ) -> None:
        role = patch.key.role
        if role == Role.NEW:
            path = f"{self.root}/{self._new_path(patch, number, edits)}"
            self.jobs.append(Job(Step("create", path), edits))
            return
        if file is None:
            if role == Role.REMOVED:
                return  # as was wished
            raise StaleArray(
                f"The instance {patch.origins[number]} cannot be saved: its file has gone from "
                f"{self.root}. Put the file back, or undo the changes with restore()."
            )
        source = f"{self.root}/{file.path}"
        version = (file.size, file.mtime)
        if role == Role.STAGED and source in self._placed:
            return  # taken in twice: its file has its place already
        if role != Role.COPY:  # its file goes somewhere else
            self._placed.add(source)
        if role == Role.REMOVED:
            self.jobs.append(Job(Step("delete", source, version=version), {}))
        elif role == Role.EDITED:
            step = Step("replace", source, version=version)
            self.jobs.append(Job(step, edits, source, version, keeps_pixels=True))
        else:
            path = f"{self.root}/{self._new_path(patch, number, edits)}"
            if role == Role.STAGED and not edits:
                self.jobs.append(Job(Step("move", path, source=source), {}))
            else:
                staged = role == Role.STAGED
                self.jobs.append(Job(Step("create", path), edits, source, version, staged))
            if role == Role.STAGED:
                self.jobs.append(Job(Step("delete", source, version=version), {}))
                self._keep_others(source, path[len(self.root) + 1 :])

    def _keep_others(self, source: str, first: str) -> None:
        """Put other objects of the same UID, which were staged at the same time, beside a file."""
        folder, name = os.path.split(first)
        for twin in self._twins_of(source):
            other = f"{self.root}/{twin.path}"
            if not same_object(other, source):
                # By path it comes behind the first, which therefore goes on to count.
                path = f"{self.root}/{self._paths.of(folder, f'{name[:-4]}_2')}"
                self.jobs.append(Job(Step("move", path, source=other), {}))

    def delete_once(self) -> None:
        """Delete each file once, and staged ones with those that are passed over for them."""
        deleted: set[str] = set()
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            path = job.step.path
            if path in deleted:
                continue
            self.jobs.append(job)
            if job.step.action == "delete":
                deleted.add(path)
                for twin in self._twins_of(path):
                    step = Step("delete", f"{self.root}/{twin.path}", "", (twin.size, twin.mtime))
                    self.jobs.append(Job(step, {}))

    def _twins_of(self, path: str) -> list[FileRow]:
        """Return the staged files that are passed over, since a staged one has their UID."""
        return self._staged_twins.get(storable(path[len(self.root) + 1 :]), [])

    def _files(self, patch: Patch, numbers: npt.NDArray[np.intp]) -> dict[int, FileRow]:
        """Return the file of each row, as it was when the change was staged."""
        if patch.key.role == Role.NEW:
            return {}
        rows = self.view.rows_of(patch)[numbers]
        table = self.view.base_table(patch.key.source)
        if table is None:
            return {}
        at = table.places["file"][rows]
        known = self.view.files([int(n) for n, row in zip(at, rows, strict=True) if row >= 0])
        result = {}
        for number, file, row in zip(numbers.tolist(), at.tolist(), rows.tolist(), strict=True):
            if row < 0 or file not in known:
                continue
            then = tuple(patch.versions[number].tolist())
            if then[0] >= 0 and then != (known[file].size, known[file].mtime):
                raise SaveFailed(
                    f"{self.root}/{known[file].path} has been changed by another program since "
                    "changes of it were staged, so that nothing was saved. restore() of that "
                    "instance gives up the changes; make them again then."
                )
            result[number] = known[file]
        return result

    def _new_path(self, patch: Patch, number: int, edits: Mapping[Key, Encoded | None]) -> str:
        key = patch.key.target
        folder = self._folders.get(key)
        if folder is None:
            folder = self._folders[key] = self._folder(key)
        table = self.database._table_of(key)
        name = ""
        if table is not None and (row := table.row_of.get(patch.uids[number])) is not None:
            value = table.value(Key(0x00200013), int(table.first_frames[row]))
            name = f"{value:06d}" if isinstance(value, int) and value >= 0 else ""
        return self._paths.of(folder, name or safe_name(patch.uids[number][-16:], "instance"))

    def _folder(self, key: SeriesKey) -> str:
        """Return where new files of a series go: to its others, or a new folder."""
        base = self.view.base_table(key)
        for row in range(0 if base is None else len(base.places)):
            assert base is not None
            path = base.file(row).path
            if not path.startswith(STAGED_FOLDER):
                return path.rpartition("/")[0]
        node = self.database._tree().at("series", key)
        parts = []
        while node is not None and node.level != "database":
            parts.append(safe_name(node.name, node.level))
            node = node.parent
        return "/".join(reversed(parts))

    def make_copies_whole(self, *, restoring: bool = False) -> None:
        """Give copies files of their own, where the file they come from is changed now.

        Restoring takes only those files away that were staged for other copies.
        """
        changing: dict[SeriesKey, set[int]] = {}
        copied = {key.source for key in self.view.layer.patches if key.role == Role.COPY}
        for key, mask in self.gone.items():
            if key.masks and key.source in copied:
                patch = self.view.layer.patches[key]
                rows = self.view.rows_of(patch)[mask]
                table = self.view.base_table(key.source)
                if restoring and table is not None:
                    rows = rows[rows >= 0]
                    known = self.view.files(table.places["file"][rows].tolist())
                    ours = [
                        number in known and known[number].path.startswith(STAGED_FOLDER)
                        for number in table.places["file"][rows].tolist()
                    ]
                    rows = rows[np.array(ours, np.bool_)]
                changing.setdefault(key.source, set()).update(rows[rows >= 0].tolist())
        for key, patch in self.view.layer.patches.items():
            if key.role != Role.COPY or key.source not in changing:
                continue
            wanted = np.isin(self.view.rows_of(patch), list(changing[key.source]))
            wanted &= ~self.gone.get(key, np.zeros(len(patch), np.bool_))
            numbers = np.flatnonzero(wanted)
            if not len(numbers):
                continue
            files = self._files(patch, numbers)
            for number, edits in zip(numbers.tolist(), patch.edits(numbers), strict=True):
                file = files[number]
                path = self._paths.of(STAGED_FOLDER, safe_name(patch.uids[number], "instance"))
                self.jobs.append(
                    Job(Step("create", f"{self.root}/{path}"), edits,
                         f"{self.root}/{file.path}", (file.size, file.mtime))
                )  # fmt: skip
            self.gone[key] = self.gone.get(key, np.zeros(len(patch), np.bool_)) | wanted
            uids = [patch.uids[i] for i in numbers.tolist()]
            staged = PatchKey(key.target, key.target, Role.STAGED)
            self.staged.append(Patch.bare(staged, "", np.full(len(uids), -1), uids))

    # -- the state after it --------------------------------------------------------------------

    def layer(self, empty: Made, kept: Made) -> Layer:
        """Return what is staged once this is saved."""
        change = Change(self.view)
        change.put_back(lambda patch: self.gone.get(patch.key, np.zeros(len(patch), np.bool_)))
        for patch in self.staged:
            change.add(patch)
        return change.result().with_empty(empty, kept)

    # -- doing it ------------------------------------------------------------------------------

    def write(self, number: int, path: str) -> None:
        """Write the new content of a file."""
        job = self.jobs[number]
        if not job.source:
            create(path, with_pixels(job.edits))
            return
        if job.version is not None and version_of(os.stat(job.source)) != job.version:
            raise SaveFailed(
                f"{job.source} has been changed by another program. Nothing was saved, and all "
                "files are as they were; database.scan() reads them again."
            )
        try:
            splice(job.source, path, job.edits)
        except (LayoutError, InvalidValue) as error:
            raise type(error)(
                f"{error}. Nothing was saved, and all files are as they were. restore() of that "
                "instance gives its changes up; then the others can be saved."
            ) from error

    def finds_its_files(self) -> bool:
        """Return whether all files that are read or deleted are where the index has them."""
        read = (job.source or job.step.source or job.step.path for job in self.jobs
                if job.step.action != "create" or job.source)  # fmt: skip
        return all(os.path.lexists(path) for path in read)

    def warn_of_twins(self) -> None:
        """Tell of other files with the same instances, which still say what these said."""
        start = len(self.root) + 1
        changed = {job.step.path[start:] for job in self.jobs if job.step.action != "create"}
        twins = sorted(
            row.path
            for row in self.twins
            if row.path not in changed
            and (row.note or "").removeprefix(PASSED_OVER) in {storable(path) for path in changed}
        )
        if twins:
            several = f"{len(twins)} files hold" if len(twins) > 1 else "Another file holds"
            warnings.warn(
                f"{several} an instance that was saved, and still says what it said before: "
                f"{', '.join(twins[:3])}{', ...' if len(twins) > 3 else ''} in {self.root}. If it "
                "is a copy that is not needed, remove the file.",
                DicomWarning,
                stacklevel=levels_to_user(),
            )

    def _written(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of each job that writes, and its files, relative to the root."""
        start = len(self.root) + 1
        for number, job in enumerate(self.jobs):
            if job.step.action != "delete":
                yield number, job.files(job.step.path[start:])

    def read_new(self, places: Sequence[str]) -> None:
        """Read the headers of what was written, at the places where it stands for now."""
        standing: dict[str, str] = {}
        for number, files in self._written():
            standing.update(zip(files, self.jobs[number].files(places[number]), strict=True))
        self._read = list(batches(self.root, list(standing), standing))

    def update_index(self) -> None:
        """Bring the index up to date with the files that were written."""
        start = len(self.root) + 1
        written = [path for _, files in self._written() for path in files]
        removed = [job.step.path[start:] for job in self.jobs if job.step.action == "delete"]
        kept = [job for job in self.jobs if job.keeps_pixels and _UID not in job.edits]
        same = {job.step.path[start:] for job in kept if job.step.action == "replace"}
        moved = {job.step.path[start:]: job.source[start:] for job in kept
                 if job.step.action == "create"}  # fmt: skip
        reread(self.database._store, self.root, written, removed, same_pixels=same, moved=moved,
               read=self._read)  # fmt: skip
        self.database._store.set_saving(False)


def _planned(record: Any) -> SavePlan:
    """Return what saving a record does to which files."""
    view = record.database._view()
    chosen = chosen_by(record)
    plan = SavePlan(record.database, view)
    for patch in view.layer.patches.values():
        plan.add(patch, chosen(patch, False))
    plan.make_copies_whole()
    return plan


def save(record: Any) -> None:
    """Save what is staged of a record; see ``Record.save``."""
    database: Database = record.database
    staging = database._staging
    staging.require_no_batch("save()")
    if database._scratch is not None:
        raise DbdicomError(
            "This database has no folder yet: database.save('/data/study') puts it into one, and "
            "record.save('/data/study') writes the files of one record."
        )
    database._require_folder()
    if record.level != "database":
        _ = record.name  # NotInDatabase: what was removed is saved with what it was in
    if not staging.layer():
        return
    with staging.changing, database._lock:
        database._take()
        file = staging.take()
        database._look_again()
        if database._view().lost():  # or put back meanwhile
            bring_up_to_date(database)
        plan = _planned(record)
        if not plan.finds_its_files():  # moved since they were indexed
            bring_up_to_date(database)
            plan = _planned(record)
        layer = plan.view.layer
        mine, saved = empty_of(record, layer)
        kept = {place: made for place, made in layer.kept.items() if place not in saved}
        kept |= {place: layer.empty[place] for place in mine}
        new = plan.layer(layer.empty, kept)
        carry_out(database, file, plan, new, f"Saving {database.path_on_disk}")
        plan.warn_of_twins()
        if record.level == "database":
            database._renamed.saved()
        if not staging.layer().unsaved:
            staging.give()


def carry_out(database: Database, file: StagingFile, plan: SavePlan, new: Layer, what: str) -> None:
    """Write the files of a plan and make its state the present one, both or neither."""
    staging = database._staging
    plan.delete_once()
    if not plan.jobs:
        staging.replace(new)
        database._look_again()
        return
    with file.transaction() as connection:
        file.forget_waiting(connection)
        prepared = file.prepare(connection, plan.view.layer, new)
    try:
        with progress_bar(len(plan.jobs), what, "file", database._own_voice) as bar:
            written = 0

            def progress(count: int) -> None:
                nonlocal written
                bar.update(count - written)
                written = count
                if count == len(plan.jobs):  # next they take their places
                    database._store.set_saving(True)

            save_files(
                file,
                [job.step for job in plan.jobs],
                plan.write,
                file.adopt_from_journal,
                payload=prepared,
                root=database.path_on_disk,
                check=staging.check,
                meanwhile=plan.read_new,
                before_commit=plan.update_index,
                progress=progress,
            )
    except BaseException:
        database._behind = True
        catch_up(database)
        raise
    finally:
        staging.reload()
        database._look_again()
    tidy(database)
