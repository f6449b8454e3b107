"""``export_as_dicom``: copies of instances, with what is staged of them, for somebody else.

Which files, with which names, is found out before the first byte is written; they take their places
all together, or none does.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dbdicom_xr.deidentify.dataset import Treatment, deidentified
from dbdicom_xr.deidentify.pixels import may_show_text
from dbdicom_xr.deidentify.profile import Options
from dbdicom_xr.deidentify.pseudonyms import Pseudonyms
from dbdicom_xr.errors import (
    DbdicomError,
    DicomWarning,
    InvalidValue,
    NotAFolder,
    SaveFailed,
)
from dbdicom_xr.formats.dicomdir import DICOMDIR, lay_out
from dbdicom_xr.formats.targets import refuse_existing, target_of
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.files import version_of
from dbdicom_xr.index.roots import is_remote
from dbdicom_xr.index.table import Table
from dbdicom_xr.index.values import without_warnings
from dbdicom_xr.interact import progress_bar
from dbdicom_xr.names import safe_name
from dbdicom_xr.records.current import levels_to_user, of_one_state
from dbdicom_xr.records.editing.saving_to import Copies, copies_of, target_folder
from dbdicom_xr.records.exporting.files import new_files
from dbdicom_xr.staging.names import NewPaths

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

    from dbdicom_xr.records.record import Record

__all__ = ["Anonymous", "export_dicom"]

_INSTANCE_NUMBER: Final = Key(0x00200013)
_SERIES_NUMBER: Final = Key(0x00200011)
_MODALITY: Final = Key(0x00080060)
_ENDING: Final = ".dcm"


@dataclass(frozen=True)
class Anonymous:
    """How identity is taken out of an export.

    Parameters
    ----------
    options : Options
    names : Pseudonyms
    """

    options: Options
    names: Pseudonyms


@dataclass
class _Export:
    """The files of an export, and what is noticed while they are written."""

    copies: Copies
    folders: list[str] = field(default_factory=list)  # of each file, as messages call its series
    treatments: list[Treatment | None] = field(default_factory=list)
    contents: bytes = b""  # of the DICOMDIR that was made
    may_show: dict[str, str] = field(default_factory=dict)  # series, and why
    may_hide: dict[str, str] = field(default_factory=dict)  # files, and why

    def write(self, number: int, path: str) -> None:
        """Write one file."""
        if number == len(self.treatments):
            with open(path, "wb") as file:
                file.write(self.contents)
        elif self.treatments[number] is None:
            self.copies.write(number, path)
        else:
            self._write_anonymous(number, path)

    def _write_anonymous(self, number: int, path: str) -> None:
        from pydicom import dcmwrite

        try:
            dataset = self.final(number)
            with without_warnings():
                if _is_unknown(dataset.file_meta.TransferSyntaxUID):
                    implicit, little = dataset.original_encoding
                    dcmwrite(
                        path, dataset, implicit_vr=implicit, little_endian=little,
                        force_encoding=True,
                    )  # fmt: skip
                else:
                    dcmwrite(path, dataset, enforce_file_format=_is_named(dataset))
        except (DbdicomError, OSError):
            raise
        except Exception as error:  # pydicom raises whatever it meets in a damaged file
            raise SaveFailed(
                f"{self._name(number)} cannot be taken apart, so that its identity cannot be taken "
                f"out: {type(error).__name__}: {error}. Nothing was written. Leave it out of the "
                "export: remove() it first, and restore() afterwards."
            ) from error

    def _name(self, number: int) -> str:
        source = self.copies.sources[number]
        return self.copies.paths[number] if source is None else source[0]

    def final(self, number: int, *, pixels: bool = True) -> Dataset:
        """Return what is written into a file."""
        dataset = self._read(number, pixels)
        treatment = self.treatments[number]
        if treatment is None:
            return dataset
        why = may_show_text(*(dataset.get(key) for key in (
            "BurnedInAnnotation", "Modality", "SOPClassUID", "ImageType",
        )))  # fmt: skip
        if why is not None and self._has_pixels(number, dataset, pixels):
            self.may_show.setdefault(self.folders[number], why)
        deidentified(dataset, treatment)
        if treatment.hidden is not None:
            self.may_hide[self._name(number)] = treatment.hidden
        return dataset

    def _has_pixels(self, number: int, dataset: Dataset, pixels: bool) -> bool:
        return not pixels or any(
            key in dataset for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData",
                                       "EncapsulatedDocument")
        )  # fmt: skip

    def _read(self, number: int, pixels: bool) -> Dataset:
        source = self.copies.sources[number]
        edited = bool(self.copies.edits[number]) or is_remote(self.copies.home)
        if source is not None and not edited:
            old, known = source
            if version_of(os.stat(old)) != (known.size, known.mtime):
                raise SaveFailed(
                    f"{old} has been changed by another program, so that nothing was written. "
                    "database.scan() reads it again."
                )
            return _header(old, pixels)
        with tempfile.TemporaryDirectory(prefix="dbdicom_xr-") as folder:
            path = os.path.join(folder, "edited")
            self.copies.write(number, path)
            return _header(path, pixels)


def export_dicom(
    record: Record,
    path: str | os.PathLike[str],
    *,
    overwrite: bool,
    dicomdir: bool,
    anonymous: Anonymous | None,
) -> list[str]:
    """Write a record as DICOM files. See :meth:`Record.export_as_dicom`."""
    database = record.database
    database._staging.require_no_batch("export_as_dicom()")
    root, file = _target(database.path_on_disk, path)
    export = _planned(record, root, anonymous)
    copies = export.copies
    if not copies.paths:
        raise InvalidValue(f"There is nothing to export: {record!r} holds no instances.")
    if file is not None:
        if len(copies.paths) > 1 or dicomdir:
            count = f"{len(copies.paths)} files" if len(copies.paths) > 1 else "a file and DICOMDIR"
            raise InvalidValue(
                f"{os.fspath(path)} is one file, but {record!r} becomes {count}. Give a folder."
            )
        copies.paths = [f"{root}/{file}"]
    what = f"Exporting into {root}"
    if dicomdir:
        _arrange(export)
    _check_paths(export, overwrite)
    with (
        new_files(root) as files,
        progress_bar(len(copies.paths), what, "file", database._own_voice) as bar,
    ):
        for number, name in enumerate(copies.paths):
            export.write(number, files.new(name))
            bar.update()
    if database._scratch is not None and anonymous is None:
        for key in copies.whole:
            database._scratch.note_exported(key, copies.layer)
    _warn(export)
    return copies.paths


def _target(own: str, path: str | os.PathLike[str]) -> tuple[str, str | None]:
    """Return the folder, and the name of the file where one was asked for."""
    target = target_of(path, _ENDING)
    root = target_folder(own, target.folder or ".")
    if target.file is None:
        return root, None
    return root, f"{target.file}{target.ending}"


# -- names ---------------------------------------------------------------------------------------


@of_one_state
def _planned(record: Record, root: str, anonymous: Anonymous | None) -> _Export:
    """Return the files of a record under names that do not depend on what is there already."""
    export = _Export(copies_of(record, root))
    paths = NewPaths(root, exists=lambda path: False)
    folders = _Folders(record, anonymous)
    names: list[str] = []
    for table, rows in record._tables():
        instances = np.arange(len(table.places))
        if rows is not None:
            instances = np.unique(table.instance_of[rows])
        if not len(instances):
            continue
        folder = folders.of(table)
        treatment = None if anonymous is None else _treatment(table, anonymous)
        for instance in instances.tolist():
            number = table.value(_INSTANCE_NUMBER, int(table.first_frames[instance]))
            name = f"{number:06d}" if isinstance(number, int) and number >= 0 else ""
            uid = table.uids[instance]
            if anonymous is not None and not anonymous.options.uids:
                uid = anonymous.names.uid(uid)
            names.append(f"{root}/{paths.of(folder, name or safe_name(uid[-16:], 'instance'))}")
            export.folders.append(folder)
            export.treatments.append(treatment)
    export.copies.paths = names
    return export


class _Folders:
    """The folder of each series, below that of the export."""

    def __init__(self, record: Record, anonymous: Anonymous | None) -> None:
        self._record = record
        self._anonymous = anonymous
        self._studies: dict[str, dict[str, int]] = {}
        self._taken: dict[str, Any] = {}

    def of(self, table: Table) -> str:
        """Return the folder of a series, which no other series has."""
        folder = "/".join(self._parts(table))
        name, number = folder, 1
        while self._taken.setdefault(name.lower(), table.series.key) != table.series.key:
            number += 1
            name = f"{folder} ({number})"
        return name

    def _parts(self, table: Table) -> Iterator[str]:
        if self._anonymous is None:
            node = self._record.database._tree().at("series", table.series.key)
            names = []
            while node is not None and node.level != "database":
                names.append(safe_name(node.name, node.level))
                node = node.parent
            yield from reversed(names)
            return
        key = table.series.key
        patient = self._anonymous.names.patient(key.patient_id, key.patient_name)
        studies = self._studies.setdefault(patient, {})
        number = table.value(_SERIES_NUMBER, 0)
        modality = table.value(_MODALITY, 0)
        yield safe_name(patient, "patient")
        yield f"study {studies.setdefault(key.study_uid, len(studies) + 1)}"
        shown = "" if not isinstance(number, int) else f"{number} "
        yield safe_name(f"{shown}{str(modality or 'series')[:8]}", "series")


def _treatment(table: Table, anonymous: Anonymous) -> Treatment:
    key, names = table.series.key, anonymous.names
    return Treatment(
        anonymous.options,
        names.patient(key.patient_id, key.patient_name),
        names.uid,
        names.days(key.patient_id, key.patient_name),
    )


def _arrange(export: _Export) -> None:
    """Make a DICOMDIR, and give the files the names that it has for them."""
    try:
        with tempfile.TemporaryDirectory(prefix="dbdicom_xr-") as folder:
            count = len(export.treatments)
            headers = [export.final(number, pixels=False) for number in range(count)]
            names = lay_out(headers, folder)
            with open(os.path.join(folder, DICOMDIR), "rb") as file:
                export.contents = file.read()
    except OSError as error:
        if isinstance(error, DbdicomError):
            raise
        raise SaveFailed(
            f"{error.filename or tempfile.gettempdir()}: {error.strerror or error}. Nothing was "
            "written."
        ) from error
    root = export.copies.root
    export.copies.paths = [*(f"{root}/{name}" for name in names), f"{root}/{DICOMDIR}"]


def _check_paths(export: _Export, overwrite: bool) -> None:
    """Refuse what would be written over, and what would lead out of the folder."""
    root = Path(os.path.realpath(export.copies.root))
    for folder in dict.fromkeys(os.path.dirname(path) for path in export.copies.paths):
        real = Path(os.path.realpath(folder))
        if root != real and root not in real.parents:
            raise InvalidValue(
                f"{folder} is a link that leads out of {export.copies.root}; nothing was written."
            )
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise NotAFolder(f"{folder} is a file, so that no files can be written into it.")
    refuse_existing(export.copies.paths, overwrite)


# -- writing -------------------------------------------------------------------------------------


def _is_named(dataset: Dataset) -> bool:
    """Return whether an object has what file meta information must say (PS3.10 7.1)."""
    return bool(dataset.get("SOPClassUID") and dataset.get("SOPInstanceUID"))


def _is_unknown(syntax: UID) -> bool:
    """Return whether pydicom does not know a transfer syntax, and does not write it unasked."""
    return not syntax.is_private and not syntax.is_transfer_syntax


def _header(path: str, pixels: bool) -> Dataset:
    from pydicom import dcmread

    with without_warnings():
        return dcmread(path, force=True, stop_before_pixels=not pixels)


def _warn(export: _Export) -> None:
    """Tell what a person has to look at."""
    if export.may_show:
        shown = [f"{folder} ({why})" for folder, why in export.may_show.items()]
        more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
        warnings.warn(
            f"The images of {len(shown)} series may show text, such as the name of the patient; "
            f"pixels are not changed. Look at: {'; '.join(shown[:5])}{more}.",
            DicomWarning,
            stacklevel=levels_to_user(),
        )
    if export.may_hide:
        shown = [f"{file} ({why})" for file, why in export.may_hide.items()]
        more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
        warnings.warn(
            "The pixel data of these files may hold text that no image shows: "
            f"{'; '.join(shown[:5])}{more}.",
            DicomWarning,
            stacklevel=levels_to_user(),
        )
    unreadable = sorted({
        name for one in export.treatments if one is not None for name in one.unreadable
    })  # fmt: skip
    if unreadable:
        warnings.warn(
            f"Sequences that cannot be read were taken out: {', '.join(unreadable)}.",
            DicomWarning,
            stacklevel=levels_to_user(),
        )
