"""Small files for tests of the index, and what an index says, in a form that can be compared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)

from dbdicom_xr.index.scan import Outcome, refresh
from dbdicom_xr.index.store import FRAME, INSTANCE, Store

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}


def dataset(number: int = 1, series: int = 1, uid: str | None = None, **attributes: Any) -> Dataset:
    """A small object without pixels."""
    made = Dataset()
    made.SOPClassUID = MRImageStorage
    made.SOPInstanceUID = uid or f"1.2.3.{series}.{number}"
    made.Modality = "MR"
    made.SeriesDescription = f"series {series}"
    made.PatientName = "Nobody"
    made.PatientID = "P1"
    made.StudyInstanceUID = "1.2.3"
    made.SeriesInstanceUID = f"1.2.3.{series}"
    made.SeriesNumber = series
    made.InstanceNumber = number
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def write(path: Path, made: Dataset, syntax: str = "explicit") -> Path:
    """Write a data set in one of the syntaxes."""
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def fill(folder: Path, count: int, series: int = 1) -> list[Path]:
    """Write small files; number i + 1 in IM00i.dcm."""
    return [write(folder / f"IM{i:03d}.dcm", dataset(i + 1, series)) for i in range(count)]


def index(folder: Path, path: Path | None = None, **options: Any) -> Store:
    """The index of a folder, brought up to date; it lies beside the folder."""
    store = Store(path or folder.parent / f"{folder.name}.sqlite")
    refresh(store, str(folder), **options)
    return store


def update(store: Store, folder: Path, **options: Any) -> Outcome:
    return refresh(store, str(folder), **options)


def content(store: Store, *, numbers: bool = False) -> dict[str, Any]:
    """All that an index says, by names; with the numbers of files on demand."""
    files = store.files()
    result: dict[str, Any] = {
        "problems": {row.path: row.note for row in store.problems()},
        "files": {
            row.path: (row.size, row.mtime, row.series is not None) for row in files.values()
        },
    }
    if numbers:
        result["numbers"] = {row.path: row.id for row in files.values()}
    for series in store.series():
        places = store.places(series.id)
        rows = [files[int(number)].path for number in places["file"]]
        assert {files[int(number)].series for number in places["file"]} == {series.id}
        assert len(rows) == series.instances
        assert series.bytes == sum(files[int(number)].size for number in places["file"])
        result["/".join(series.key)] = {
            "summary": series[2:],
            "rows": rows,
            "places": places[[name for name in places.dtype.names if name != "file"]].tolist(),
            "columns": columns_of(store, series.id, INSTANCE),
            "frames": columns_of(store, series.id, FRAME),
        }
    return result


def columns_of(store: Store, series: int, scope: int) -> dict[str, list[str]]:
    return {
        str(key): [repr(column.value(row)) for row in range(column.rows)]
        for key, column in store.columns(series, scope).items()
    }


def uids(store: Store) -> dict[str, str]:
    """SOPInstanceUID of each file in the tree."""
    from dbdicom_xr.index.merge import SOP_INSTANCE_UID, instance_uids

    files = store.files()
    found = {}
    for series in store.series():
        numbers = store.places(series.id)["file"].tolist()
        names = instance_uids(store.column(series.id, SOP_INSTANCE_UID), len(numbers))
        found.update({files[n].path: uid for n, uid in zip(numbers, names, strict=True)})
    return found


def fresh(folder: Path) -> dict[str, Any]:
    """What an index made from nothing says of a folder."""
    path = folder.parent / f"fresh-{os.urandom(4).hex()}.sqlite"
    store = index(folder, path)
    try:
        return content(store)
    finally:
        store.discard()
