"""The methods by which DICOM files come into the database, and leave it for somebody else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Final, Literal, cast

if TYPE_CHECKING:
    from dbdicom_xr.records.database import Database
    from dbdicom_xr.records.importing.from_dicom import ImportReport
    from dbdicom_xr.records.record import Record

__all__ = ["DicomFiles"]

_SECRET: Final = 8  # fewer characters can be tried out


class DicomFiles:
    """The part of a record that reads and writes DICOM files."""

    __slots__ = ()

    def import_dicom(
        self, path: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
    ) -> ImportReport:
        """Copy DICOM files into the database; the files themselves stay as they are.

        What was imported is shown at once, and staged as any change: ``save()`` sorts it into
        folders named after patient, study and series, ``restore()`` takes it out again. Nothing
        that is in the database already is changed.

        Parameters
        ----------
        path : path-like, or an iterable of them
            Files, folders with all that is below them, patterns such as ``"disc/*/*.dcm"``, and zip
            files.

        Returns
        -------
        ImportReport
            The list of the files that were imported, with ``series``, ``duplicates`` (the same
            object is there), ``conflicts`` (another object with the same SOPInstanceUID is there)
            and ``failures``; it prints what happened.

        Raises
        ------
        InvalidValue
            What should be a path is none, or none of the files can be imported.
        MissingFolder
            There is nothing at the path, or the list is empty.
        SaveFailed
            The disk is full, or would be; nothing was imported.
        DbdicomError
            The record is not a database. Files go to the patient that they name.
        Locked
            Another process is changing the database.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> database = db.database()
        >>> database.mute()
        >>> report = database.import_dicom(folder)
        >>> len(report), len(database.series()), report.conflicts
        (30, 1, [])
        >>> len(database.import_dicom(folder).duplicates)
        30
        >>> database.close(save=False)
        """
        from dbdicom_xr.errors import DbdicomError
        from dbdicom_xr.records.importing.from_dicom import import_dicom

        record = cast("Record", self)
        if record.level != "database":
            raise DbdicomError(
                "DICOM files go to the patient, study and series that they name: "
                "database.import_dicom(path). move_to() puts them elsewhere afterwards."
            )
        return import_dicom(cast("Database", record), path)

    def export_as_dicom(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        dicomdir: bool = False,
        deidentify: bool = False,
        PatientID: str | Mapping[str, str] | Callable[[str], str] | None = None,
        retain_dates: Literal["full", "modified"] | None = None,
        retain_device: bool = False,
        retain_institution: bool = False,
        retain_patient_characteristics: bool = False,
        retain_uids: bool = False,
        retain_safe_private: bool = False,
        clean_descriptors: Callable[[str, str], str | None] | None = None,
        clean_structured_content: bool = False,
        secret: str | None = None,
        mapping: MutableMapping[str, str] | None = None,
    ) -> list[str]:
        """Write the instances as DICOM files into a folder, with what is staged of them.

        They stay in the database, with their UIDs. Files stand in folders named after patient,
        study and series, or where identity is taken out, after their pseudonyms. All are written,
        or none.

        Parameters
        ----------
        path : str or path
            A folder, made if missing; or for one instance a file that ends in ``.dcm``.
        overwrite : bool
            Replace files that are there already.
        dicomdir : bool
            Write a ``DICOMDIR`` too, as discs have it, with the names of files that it asks for
            (PS3.10 8).
        deidentify : bool
            Take out identity by the Basic Profile of PS3.15 Annex E: of the patient, and of all
            that leads to the patient. UIDs become other ones, also where they refer to each other.
            Private attributes go. Pixels stay as they are.
        PatientID : str, mapping or callable, optional
            The new PatientID, which is the PatientName too; for several patients by the old
            PatientID. By default a random one for each.
        retain_dates : {None, "full", "modified"}
            Keep dates and times; or keep times, and put the dates of each patient back by a number
            of days, from 365 to 3649, that nobody knows. By default they go.
        retain_device, retain_institution, retain_patient_characteristics, retain_uids : bool
            Keep what identifies the scanner; the hospital; sex, age, size, weight and the like;
            UIDs.
        retain_safe_private : bool
            Keep private attributes that are known to hold no identity, such as b-values, and of the
            CSA header of Siemens the numbers that tell the tiles of a mosaic.
        clean_descriptors : callable, optional
            Keep descriptions and comments as far as ``clean_descriptors(keyword, text)`` returns
            them, None for nothing. By default they go.
        clean_structured_content : bool
            Keep the content of structured reports, without names, dates and free text.
        secret : str, optional
            At least 8 characters. With the same secret, the same patient and UID become the same
            another time. Keep it as safe as the identity itself.
        mapping : dict, optional
            Gets what became of which PatientID and UID.

        Returns
        -------
        list of str
            The files that were written.

        Raises
        ------
        FileExists
            There are files of these names; nothing was written.
        InvalidValue
            The path cannot be used, or an option; or a function that was given fails, or returns
            what cannot be used.
        NotAFolder
            A file is where the folder should be.
        SaveFailed
            The disk is full, or a file cannot be read; nothing was written.

        Warns
        -----
        DicomWarning
            Images from which identity was taken out may show text, such as the name of the patient.

        Examples
        --------
        >>> import dbdicom_xr as db, tempfile
        >>> from dbdicom_xr.testing import make_dce
        >>> folder = tempfile.mkdtemp()
        >>> _ = make_dce(folder)
        >>> series = db.database(folder).series()[0]
        >>> files = series.export_as_dicom(tempfile.mkdtemp(), deidentify=True, PatientID="S-01")
        >>> shared = db.database(tempfile.mkdtemp())
        >>> shared.mute()
        >>> _ = shared.import_dicom(files)
        >>> shared.PatientName, shared.StudyDate, len(shared.instances())
        (['S-01'], [], 30)
        >>> shared.close(save=False)
        """
        from dbdicom_xr.deidentify.profile import Options
        from dbdicom_xr.deidentify.pseudonyms import Pseudonyms
        from dbdicom_xr.errors import InvalidValue
        from dbdicom_xr.records.exporting.each import require_flags
        from dbdicom_xr.records.exporting.to_dicom import Anonymous, export_dicom

        record = cast("Record", self)
        require_flags(
            overwrite=overwrite, dicomdir=dicomdir, deidentify=deidentify,
            retain_device=retain_device, retain_institution=retain_institution,
            retain_patient_characteristics=retain_patient_characteristics,
            retain_uids=retain_uids, retain_safe_private=retain_safe_private,
            clean_structured_content=clean_structured_content,
        )  # fmt: skip
        if retain_dates not in (None, "full", "modified"):
            raise InvalidValue(f"retain_dates is {retain_dates!r}; it is 'full' or 'modified'.")
        if clean_descriptors is not None and not callable(clean_descriptors):
            raise InvalidValue(
                "clean_descriptors is a function of keyword and text that returns the text without "
                f"identity, not {clean_descriptors!r}."
            )
        if secret is not None and (not isinstance(secret, str) or len(secret) < _SECRET):
            raise InvalidValue(
                f"secret has to be a text of at least {_SECRET} characters that nobody can guess."
            )
        if mapping is not None and not isinstance(mapping, MutableMapping):
            raise InvalidValue(f"mapping is a dict to be filled, not {type(mapping).__name__}.")
        options = Options(
            retain_dates, retain_uids, retain_device, retain_institution,
            retain_patient_characteristics, retain_safe_private, clean_descriptors,
            clean_structured_content,
        )  # fmt: skip
        others = (PatientID, secret, mapping)
        if not deidentify:
            if options != Options() or any(one is not None for one in others):
                raise InvalidValue(
                    "PatientID, secret, mapping and the options that retain or clean something "
                    "belong to deidentify=True."
                )
            return export_dicom(
                record, path, overwrite=overwrite, dicomdir=dicomdir, anonymous=None
            )
        names = Pseudonyms(secret, PatientID)
        written = export_dicom(
            record, path, overwrite=overwrite, dicomdir=dicomdir,
            anonymous=Anonymous(options, names),
        )  # fmt: skip
        if mapping is not None:
            mapping.update(names.mapping())
        return written
