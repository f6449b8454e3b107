"""The first open of a folder, the whole header indexed, against readers that fetch 14 tags."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

from benchmarks.child import Finished, run, run_apart
from benchmarks.folders import Folders, files_of
from benchmarks.harness import Report, Target, require_equal, stopwatch

TAGS = [
    "SOPClassUID", "SOPInstanceUID", "StudyDate", "AcquisitionTime", "Modality",
    "StudyDescription", "SeriesDescription", "PatientName", "PatientID", "StudyInstanceUID",
    "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "SliceLocation",
]  # fmt: skip

_NUMBERS = {"SeriesNumber", "InstanceNumber", "SliceLocation"}


def first_open(report: Report, folders: Folders) -> None:
    """5,000 MR files: pydicom's loop, GDCM's Scanner, db.database()."""
    folder = folders.study()
    # GDCM is never loaded beside SimpleITK, which brings its own: that ends the process.
    of_gdcm = run_apart(with_gdcm, folder=folder).result
    require_equal("14 tags of every file", with_pydicom(folder), of_gdcm, with_ours(folder))
    contenders = {
        "dbdicom_xr": partial(_fresh, folder),
        "pydicom": partial(run, time_pydicom, folder=folder),
        "pydicom, specific_tags": partial(run, time_pydicom, folder=folder, specific=True),
        "gdcm.Scanner": partial(run_apart, time_gdcm, folder=folder),
        "dbdicom_xr on one core": partial(_fresh, folder, one_core=True),
    }
    inside: dict[str, list[float]] = {name: [] for name in contenders}
    process: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(folders.sizes.turns):
        for name, contender in contenders.items():
            finished = contender()
            inside[name].append(finished.result)
            process[name].append(finished.seconds)
    what = f"first open of {folders.sizes.study:,} files"
    report.compare(what, inside, "dbdicom_xr", "pydicom", Target("times", 5))
    report.compare(what, inside, "dbdicom_xr", "gdcm.Scanner", Target("ratio", 1))
    report.compare(what, inside, "dbdicom_xr", "pydicom, specific_tags")
    on_one = f"{what}, on one core"
    report.compare(on_one, inside, "dbdicom_xr on one core", "pydicom")
    report.compare(on_one, inside, "dbdicom_xr on one core", "gdcm.Scanner")
    cold = f"{what}, with starting Python and importing"
    report.compare(cold, process, "dbdicom_xr", "pydicom")
    report.compare(cold, process, "dbdicom_xr", "gdcm.Scanner")


# -- the contenders, each in a process of its own: seconds without the imports -----------------


def _fresh(folder: str, one_core: bool = False) -> Finished:
    shutil.rmtree(Path(folder, ".dbdicom_xr"), ignore_errors=True)
    return run(time_ours, folder=folder, one_core=one_core)


def time_ours(folder: str, one_core: bool) -> float:
    """Return the seconds of the first open."""
    from dbdicom_xr.records.opening import database

    all_cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    if one_core and all_cores:
        os.sched_setaffinity(0, {min(all_cores)})
    try:
        with stopwatch() as seconds:
            database(folder).series()
    finally:
        if all_cores:
            os.sched_setaffinity(0, all_cores)
    return seconds[0]


def time_pydicom(folder: str, specific: bool = False) -> float:
    """Return the seconds of reading 14 tags of every file with pydicom."""
    from pydicom import dcmread

    tags = TAGS if specific else None
    with stopwatch() as seconds:
        for file in files_of(folder):
            dataset = dcmread(file, stop_before_pixels=True, specific_tags=tags)
            for tag in TAGS:
                getattr(dataset, tag)
    return seconds[0]


def time_gdcm(folder: str) -> float:
    """Return the seconds of reading 14 tags of every file with GDCM's Scanner."""
    import gdcm
    from pydicom.datadict import tag_for_keyword

    numbers = [tag_for_keyword(tag) or 0 for tag in TAGS]
    with stopwatch() as seconds:
        scanner = gdcm.Scanner()
        for number in numbers:
            scanner.AddTag(gdcm.Tag(number >> 16, number & 0xFFFF))
        names = gdcm.FilenamesType()
        for file in files_of(folder):
            names.append(file)
        if not scanner.Scan(names):
            raise OSError("GDCM cannot scan the folder")
    return seconds[0]


# -- what they find ----------------------------------------------------------------------------

Found = dict[str, list[str | float]]


def _comparable(values: list[object]) -> list[str | float]:
    return [
        float(str(value)) if tag in _NUMBERS else str(value).strip("\0 ")
        for tag, value in zip(TAGS, values, strict=True)
    ]


def with_pydicom(folder: str) -> Found:
    """Return the tags of each file by its UID."""
    from pydicom import dcmread

    found = {}
    for file in files_of(folder):
        dataset = dcmread(file, stop_before_pixels=True)
        found[str(dataset.SOPInstanceUID)] = _comparable([getattr(dataset, tag) for tag in TAGS])
    return found


def with_gdcm(folder: str) -> Found:
    """Return the tags of each file by its UID."""
    import gdcm
    from pydicom.datadict import tag_for_keyword

    scanner = gdcm.Scanner()
    tags = []
    for tag in TAGS:
        number = tag_for_keyword(tag) or 0
        tags.append(gdcm.Tag(number >> 16, number & 0xFFFF))
        scanner.AddTag(tags[-1])
    names = gdcm.FilenamesType()
    for file in files_of(folder):
        names.append(file)
    if not scanner.Scan(names):
        raise OSError("GDCM cannot scan the folder")
    values = [_comparable([scanner.GetValue(file, tag) for tag in tags]) for file in names]
    return {str(row[TAGS.index("SOPInstanceUID")]): row for row in values}


def with_ours(folder: str) -> Found:
    """Return the tags of each file by its UID."""
    import dbdicom_xr as db

    shutil.rmtree(Path(folder, ".dbdicom_xr"), ignore_errors=True)
    with db.database(folder) as database:
        found = {}
        for series in database.series():
            header = series.array()[1]
            columns = [header.column(tag).ravel().tolist() for tag in TAGS]
            for values in zip(*columns, strict=True):
                row = _comparable(list(values))
                found[str(row[TAGS.index("SOPInstanceUID")])] = row
        return found


BENCHMARKS = [first_open]
