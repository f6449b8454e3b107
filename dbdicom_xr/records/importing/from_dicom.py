"""``import_dicom``: files of elsewhere, copied into the database as staged instances.

They are copied into ``.dbdicom_xr/writing/<name>/``, which no scan looks into, and from there come
into the database in one act, like images that were written: killed at any time, an import leaves
all of it or nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from dbdicom_xr.emit.plan import IMAGES
from dbdicom_xr.errors import DbdicomError, InvalidValue, SaveFailed
from dbdicom_xr.formats.dicom_files import files_of, same_object
from dbdicom_xr.formats.zip_files import BadMember, extract, is_zip, members
from dbdicom_xr.index.blocks import SeriesKey
from dbdicom_xr.index.files import version_of
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.scan import FOLDER_NAME
from dbdicom_xr.interact import progress_bar
from dbdicom_xr.records.current import of_one_state
from dbdicom_xr.records.editing.saving import SavePlan, carry_out
from dbdicom_xr.records.levels import record_of
from dbdicom_xr.records.writing.adopting import begin_write, give_up, let_go, staged_folder
from dbdicom_xr.staging.changing import Change
from dbdicom_xr.staging.patch import NOWHERE, Patch, PatchKey, Role

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database

__all__ = ["ImportReport", "NotImported", "import_dicom"]

_AT_ONCE: Final = 500
# Left free on the disk, for the index and what is staged.
_RESERVE_BYTES: Final = 32 << 20


class NotImported(NamedTuple):
    """A file that did not come into the database."""

    file: str
    reason: str


class ImportReport(list[str]):
    """The files that were imported, and what became of the others.

    Attributes
    ----------
    series : list of Series
        To which the imported instances belong.
    duplicates : list of str
        Files with objects that are in the database already.
    conflicts : list of NotImported
        Files with a SOPInstanceUID that another object in the database has.
    failures : list of NotImported
        Files that hold no DICOM object, or cannot be read.

    Examples
    --------
    >>> report = ImportReport(["a.dcm", "b.dcm"])
    >>> report.failures.append(NotImported("notes.txt", "not a DICOM file"))
    >>> print(report)
    2 files were imported.
    1 file cannot be imported: notes.txt (not a DICOM file).
    """

    def __init__(self, files: Iterable[str] = ()) -> None:
        super().__init__(files)
        self.series: list[Any] = []
        self.duplicates: list[str] = []
        self.conflicts: list[NotImported] = []
        self.failures: list[NotImported] = []

    def __str__(self) -> str:
        """Return what happened, in words."""
        count = len(self)
        lines = [f"{_files(count)} {'was' if count == 1 else 'were'} imported."]
        if self.duplicates:
            lines.append(f"{_files(len(self.duplicates))} left out: the same is there already.")
        if self.conflicts:
            lines.append(
                f"{_files(len(self.conflicts))} left out, as another object with the same "
                f"SOPInstanceUID is there: {_shown(self.conflicts)}."
            )
        if self.failures:
            lines.append(
                f"{_files(len(self.failures))} cannot be imported: {_shown(self.failures)}."
            )
        return "\n".join(lines)

    __repr__ = __str__


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _shown(files: Sequence[NotImported]) -> str:
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(f"{one.file} ({one.reason})" for one in files[:3]) + more


@dataclass
class _Found:
    """A file that may come in."""

    shown: str  # what the user knows it as
    path: str
    own: bool = False  # unpacked for the import
    copy: str = ""  # name of that, where it waits
    uid: str = ""
    key: SeriesKey = NOWHERE
    version: tuple[int, int] = (-1, -1)


@dataclass
class _Import:
    """An import under way."""

    database: Database
    folder: str
    report: ImportReport = field(default_factory=ImportReport)
    found: list[_Found] = field(default_factory=list)
    _unpacked: int = 0
    _state: int = -1  # of the database, when it was asked what is new

    def look(self, files: Sequence[str]) -> None:
        """Find out what the files are, and unpack zip files."""
        for path in files:
            if os.path.exists(path) and not os.path.isfile(path):
                self._fail(path, "not a regular file")  # opening a pipe would wait for ever
                continue
            try:
                zipped = is_zip(path)
            except OSError as error:
                self._fail(path, f"cannot be opened: {error.strerror or error}")
                continue
            if zipped:
                self._unpack(path)
            else:
                self.found.append(_Found(path, path))

    def _unpack(self, path: str) -> None:
        try:
            for archive, info in members(path):
                shown = f"{path}: {info.filename}"
                self._require_room(info.file_size, shown)
                self._unpacked += 1
                target = os.path.join(self.folder, f"zip{self._unpacked:07d}")
                try:
                    extract(archive, info, target)
                except BadMember as error:
                    if os.path.lexists(target):
                        os.remove(target)
                    self._fail(shown, str(error))
                    continue
                self.found.append(_Found(shown, target, own=True))
        except BadMember as error:
            self._fail(path, str(error))

    def _require_room(self, size: int, what: str) -> None:
        free = shutil.disk_usage(self.folder).free - _RESERVE_BYTES
        if size > free:
            raise SaveFailed(
                f"{what} needs {-(-size // 10**6):,} MB, but there is room for "
                f"{max(free, 0) // 10**6:,} MB in {self.database.path_on_disk}. Nothing was "
                "imported."
            )

    def _fail(self, file: str, reason: str) -> None:
        self.report.failures.append(NotImported(file, reason))

    def read(self, advance: Any) -> None:
        """Read the headers, and keep the files that are new."""
        self._state = self.database._view().number
        new: list[_Found] = []
        by_uid: dict[str, _Found] = {}
        for start in range(0, len(self.found), _AT_ONCE):
            some = self.found[start : start + _AT_ONCE]
            findings = gather([one.path for one in some])
            for block in findings.blocks:
                for number, uid in zip(block.places["file"].tolist(), block.uids, strict=True):
                    some[number].uid, some[number].key = uid, block.key
            for number, one in enumerate(some):
                one.version = findings.versions.get(number, one.version)
                if (reason := findings.problems.get(number)) is not None:
                    if not reason.startswith("a DICOMDIR"):  # it lists what is read itself
                        self._fail(one.shown, reason)
                elif not one.uid:
                    self._fail(one.shown, "it has no SOPInstanceUID, by which images are known")
                elif self._is_new_now(one, by_uid):
                    new.append(one)
                    by_uid[one.uid] = one
            advance(len(some))
        self.found = new

    def _is_new_now(self, one: _Found, by_uid: dict[str, _Found]) -> bool:
        with self.database._staging.changing:  # else another thread may be halfway through a save
            return self._is_new(one, by_uid)

    @of_one_state
    def _is_new(self, one: _Found, by_uid: dict[str, _Found]) -> bool:
        """Return whether an object is not there yet; else say so in the report."""
        there: str | None
        database = self.database
        if (twin := by_uid.get(one.uid)) is not None:
            there, where = twin.path, f"imported from {twin.shown}"
        elif (held := database._find(one.uid)) is not None:
            node, table, row = held
            at = int(table.places["file"][row])
            there = None if at < 0 else f"{table.root}/{table.file(row).path}"
            where = record_of(database, node).path
        elif database._store.series_of_uid(one.uid):
            reason = "changed or removed there, which is not saved yet: save() or restore() first"
            self.report.conflicts.append(NotImported(one.shown, reason))
            return False
        else:
            return True
        try:
            same = there is not None and same_object(one.path, there)
        except OSError as error:
            self._fail(one.shown, f"cannot be compared: {error.strerror or error}")
            return False
        if same:
            self.report.duplicates.append(one.shown)
        else:
            self.report.conflicts.append(NotImported(one.shown, where))
        return False

    def copy(self, advance: Any) -> None:
        """Copy what is new to where it waits, each under a name of its own."""
        total = sum(one.version[0] for one in self.found if not one.own)
        self._require_room(total, "What is to be imported")
        kept: list[_Found] = []
        for one in self.found:
            one.copy = f"{len(kept) + 1:07d}.dcm"
            target = os.path.join(self.folder, IMAGES, one.copy)
            if one.own:
                os.rename(one.path, target)
            elif not self._copied(one, target):
                continue
            kept.append(one)
            advance(1)
        self.found = kept

    def _copied(self, one: _Found, target: str) -> bool:
        try:
            source = open(one.path, "rb")  # noqa: SIM115  # what fails here is not the disk
        except OSError as error:
            self._fail(one.shown, f"cannot be opened: {error.strerror or error}")
            return False
        with source, open(target, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            version = version_of(os.fstat(source.fileno()))
        if version != one.version:
            os.remove(target)
            self._fail(one.shown, "another program changed it meanwhile")
            return False
        return True

    def adopt(self) -> None:
        """Make the copies staged instances, all in one act."""
        database = self.database
        staging = database._staging
        with staging.changing:
            staging.require_no_batch("import_dicom()")
            database._take()
            file = staging.take()
            staging.flush()
            with database._lock:
                database._look_again()
                self._leave_out_what_came_meanwhile()
                if not self.found:
                    return
                view = database._view()
                plan = SavePlan(database, view)
                change = Change(view)
                for key, uids in self._by_series().items():
                    none = np.full(len(uids), -1)
                    change.add(Patch.bare(PatchKey(key, key, Role.STAGED), "", none, uids))
                names = [one.copy for one in self.found]
                plan.jobs = [staged_folder(plan, self.folder, names)]
                carry_out(database, file, plan, change.result(), f"Importing into {plan.root}")

    def _leave_out_what_came_meanwhile(self) -> None:
        """Look once more what is new, now that nobody else changes the database."""
        if self.database._view().number == self._state:
            return
        new = []
        for one in self.found:
            place = os.path.join(self.folder, IMAGES, one.copy)
            if self._is_new(replace(one, path=place), {}):
                new.append(one)
            else:
                os.remove(place)
        self.found = new

    def _by_series(self) -> dict[SeriesKey, list[str]]:
        series: dict[SeriesKey, list[str]] = {}
        for one in self.found:
            series.setdefault(one.key, []).append(one.uid)
        return series

    def finish(self) -> ImportReport:
        """Return the report, once all is in."""
        self.report.extend(one.shown for one in self.found)
        for key in self._by_series():
            node = self.database._tree().at("series", key)
            if node is not None:
                self.report.series.append(record_of(self.database, node))
        return self.report


def import_dicom(
    database: Database, path: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
) -> ImportReport:
    """Copy files into the database. See :meth:`Record.import_dicom`."""
    files = list(files_of(path, FOLDER_NAME))
    folder = begin_write(database, NOWHERE, "a", whole_numbers=False)
    work = _Import(database, folder)
    try:
        try:
            work.look(files)
            count = len(work.found)
            with progress_bar(2 * count, "Importing", "file", database._own_voice) as bar:
                work.read(bar.update)
                work.copy(bar.update)
        except OSError as error:
            if isinstance(error, DbdicomError):
                raise
            raise SaveFailed(
                f"{error.filename or folder}: {error.strerror or error}. Nothing was imported."
            ) from error
        if work.found:
            work.adopt()
    finally:
        give_up(folder)
        let_go(database)
    report = work.finish()
    if report.failures and not (report or report.duplicates or report.conflicts):
        raise InvalidValue(f"Nothing was imported. {_shown(report.failures)}.")
    database.message(str(report))
    return report
