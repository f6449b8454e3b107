"""Small hospitals: several patients, studies and series in one folder, and what else lies there.

Owns `make_study`; its images come from `series.make_series`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    BasicTextSRStorage,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from dbdicom_xr.testing.headers import base_header, file_meta, make_uid, set_value
from dbdicom_xr.testing.series import Key, MadeSeries, make_series


@dataclass(frozen=True)
class MadeStudy:
    """What `make_study` wrote.

    Attributes
    ----------
    folder : pathlib.Path
        Where all of it is.
    series : list of MadeSeries
        The image series, in the order of patients, studies and series.
    tree : dict
        ``{PatientID: {StudyInstanceUID: {SeriesInstanceUID: [SOPInstanceUID, ...]}}}`` of all
        instances, reports included.
    reports : list of pathlib.Path
        Structured reports.
    odd : dict
        What is no readable DICOM instance, by kind: ``empty text truncated DICOMDIR twin``.
    """

    folder: Path
    series: list[MadeSeries]
    tree: dict[str, dict[str, dict[str, list[str]]]]
    reports: list[Path]
    odd: dict[str, Path]

    @property
    def files(self) -> list[Path]:
        """All files that hold an instance of the tree."""
        return [*(file for made in self.series for file in made.files), *self.reports]


def make_study(
    folder: str | PathLike[str],
    *,
    patients: int = 2,
    studies: int = 2,
    series: int = 2,
    images: int = 3,
    reports: bool = False,
    odd: bool = False,
    seed: int = 0,
) -> MadeStudy:
    """Write a small hierarchy of patients, studies and series.

    Series alternate between MR and CT. Files lie in ``patient/study/series/``.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    patients, studies, series, images : int
        How many patients; studies per patient; series per study; images per series.
    reports : bool, default False
        Whether each study has a structured report (Basic Text SR) in a series of its own.
    odd : bool, default False
        Whether there are files, too, that are no readable instance: an empty one, a text, a
        truncated image, a DICOMDIR, and a second file with the SOPInstanceUID of the first image.
    seed : int, default 0
        Of pixels and UIDs.

    Returns
    -------
    MadeStudy

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = make_study(folder, patients=2, studies=1, series=3, reports=True)
    >>> list(made.tree), len(made.series), len(made.reports)
    (['DBX-0001', 'DBX-0002'], 6, 2)
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made: list[MadeSeries] = []
    written_reports: list[Path] = []
    tree: dict[str, dict[str, dict[str, list[str]]]] = {}
    for p in range(patients):
        patient_id = f"DBX-{p + 1:04d}"
        of_patient = tree.setdefault(patient_id, {})
        for s in range(studies):
            study: dict[Key, Any] = {
                "PatientID": patient_id,
                "PatientName": f"Phantom^Number {p + 1}",
                "StudyInstanceUID": make_uid(seed, "study", p, s),
                "StudyDate": f"202402{s + 1:02d}",
                "StudyDescription": f"Visit {s + 1}",
                "StudyID": str(s + 1),
            }
            of_study = of_patient.setdefault(str(study["StudyInstanceUID"]), {})
            place = folder / f"patient {p + 1}" / f"study {s + 1}"
            for r in range(series):
                modality = ("MR", "CT")[r % 2]
                one = make_series(
                    place / f"series {r + 1}",
                    keys={"SliceLocation": [5.0 * i for i in range(images)]},
                    dtype="int16" if modality == "CT" else "uint16",
                    bits_stored=12,
                    intercept=-1024 if modality == "CT" else None,
                    modality=modality,
                    header={
                        **study,
                        "SeriesInstanceUID": make_uid(seed, "series", p, s, r),
                        "SeriesNumber": r + 1,
                        "SeriesDescription": f"{modality} {r + 1}",
                    },
                    seed=((seed * 100 + p) * 100 + s) * 100 + r,
                )
                made.append(one)
                uid = str(one.datasets[0].SeriesInstanceUID) if one.datasets else ""
                of_study[uid] = [str(d.SOPInstanceUID) for d in one.datasets]
            if reports:
                report = _report(seed, (p, s), study, series + 1)
                written_reports.append(place / "report.dcm")
                place.mkdir(parents=True, exist_ok=True)
                dcmwrite(written_reports[-1], report, enforce_file_format=True)
                of_study[str(report.SeriesInstanceUID)] = [str(report.SOPInstanceUID)]
    extra = _odd_files(folder / "odd", made[0]) if odd else {}
    return MadeStudy(folder, made, tree, written_reports, extra)


_REPORT_KEEPS = [
    "SpecificCharacterSet",
    "InstanceCreationDate",
    "InstanceCreationTime",
    "ContentDate",
    "ContentTime",
    "AccessionNumber",
    "Manufacturer",
    "ReferringPhysicianName",
    "PatientBirthDate",
    "PatientSex",
    "StudyTime",
]


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def _report(seed: int, of: tuple[int, int], study: dict[Key, Any], number: int) -> Dataset:
    """Return a Basic Text SR of one sentence (PS3.3 A.35.1)."""
    template = base_header("MR", seed)
    dataset = Dataset()
    for keyword in _REPORT_KEEPS:
        dataset[keyword] = template[keyword]
    for key, value in study.items():
        set_value(dataset, key, value)
    dataset.SOPClassUID = BasicTextSRStorage
    dataset.SOPInstanceUID = make_uid(seed, "report", *of)
    dataset.SeriesInstanceUID = make_uid(seed, "report series", *of)
    dataset.SeriesNumber = number
    dataset.SeriesDescription = "Report"
    dataset.InstanceNumber = 1
    dataset.Modality = "SR"
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PerformedProcedureCodeSequence = Sequence()
    dataset.ReferencedPerformedProcedureStepSequence = Sequence()
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = _code("18748-4", "LN", "Diagnostic imaging study")
    finding = Dataset()
    finding.RelationshipType = "CONTAINS"
    finding.ValueType = "TEXT"
    finding.ConceptNameCodeSequence = _code("121071", "DCM", "Finding")
    finding.TextValue = "A synthetic finding."
    dataset.ContentSequence = Sequence([finding])
    dataset.file_meta = file_meta(dataset, "explicit")
    return dataset


def _odd_files(folder: Path, series: MadeSeries) -> dict[str, Path]:
    image, uid = series.files[0], series.datasets[0].SOPInstanceUID
    folder.mkdir()
    names = ("empty", "text", "truncated", "DICOMDIR", "twin")
    odd = {name: folder / name for name in names}
    odd["empty"].touch()
    odd["text"].write_text("These are notes, not DICOM.\n" * 20, encoding="utf-8")
    other = uid[:-1] + str((int(uid[-1]) + 1) % 10)  # an instance of its own, of which half is lost
    whole = image.read_bytes().replace(uid.encode(), other.encode())
    odd["truncated"].write_bytes(whole[: whole.index(b"Phantom") + 3])
    dcmwrite(odd["DICOMDIR"], _directory(), enforce_file_format=True)
    shutil.copyfile(image, odd["twin"])
    return odd


def _directory() -> Dataset:
    """Return a DICOMDIR that lists nothing (PS3.3 F.3)."""
    dataset = Dataset()
    dataset.FileSetID = "SYNTHETIC"
    dataset.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.FileSetConsistencyFlag = 0
    dataset.DirectoryRecordSequence = Sequence()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = make_uid("DICOMDIR")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = make_uid("implementation")
    dataset.file_meta = meta
    return dataset
