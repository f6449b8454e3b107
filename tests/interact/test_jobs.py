"""Every job that takes long says by itself how far it is, and writes in the log when it ended."""

from __future__ import annotations

import logging

import pytest

import dbdicom_xr as db
from dbdicom_xr.testing import make_study


@pytest.fixture
def database(tmp_path):
    make_study(tmp_path / "in")
    return db.database(tmp_path / "in")


def series_of(database):
    return database.series()[0]


def save(database, folder):
    series_of(database).SeriesDescription = "renamed"
    database.save()


def write(database, folder):
    array, header = series_of(database).array("SliceLocation")
    series_of(database).new_sibling(SeriesDescription="twice").set_array(array * 2, header)


def take_in(database, folder):
    files = [instance.file for instance in series_of(database).instances()]
    db.database(folder / "new", create=True).import_dicom([str(file) for file in files])


def nifti_in(database, folder):
    (image,) = series_of(database).export_as_nifti(folder / "nifti")
    series_of(database).parent.import_nifti(image)


JOBS = {
    "scan": (lambda database, folder: database.scan(), "Reading", 24),
    "open": (lambda database, folder: db.database(folder / "in").scan(), "Reading", 24),
    "save": (save, "Saving", 3),
    "save elsewhere": (
        lambda database, folder: series_of(database).save(folder / "out"),
        "Saving into",
        3,
    ),
    "write": (write, "Writing", 3),
    "DICOM out": (
        lambda database, folder: database.export_as_dicom(folder / "out"),
        "Exporting into",
        24,
    ),
    "NIfTI out": (
        lambda database, folder: series_of(database).export_as_nifti(folder / "out"),
        "Writing NIfTI",
        3,
    ),
    "NumPy out": (
        lambda database, folder: series_of(database).export_as_npy(folder / "out"),
        "Writing NumPy",
        3,
    ),
    "PNG out": (
        lambda database, folder: series_of(database).export_as_png(folder / "out"),
        "Writing PNG",
        3,
    ),
    "CSV out": (
        lambda database, folder: series_of(database).export_as_csv(folder / "out"),
        "Writing CSV",
        3,
    ),
    "DICOM in": (take_in, "Importing", 6),
    "NIfTI in": (nifti_in, "Writing 1", 3),
    "map": (
        lambda database, folder: series_of(database).map_to(series_of(database)),
        "Writing",
        3,
    ),
}


@pytest.mark.parametrize("job", JOBS)
def test_a_long_job_has_a_bar_and_stands_in_the_log(database, person, tmp_path, job, caplog):
    work, text, total = JOBS[job]
    heard = person()
    with caplog.at_level(logging.INFO, "dbdicom_xr"):
        work(database, tmp_path)
    bars = [said for said in heard.said if said.kind == "bar" and said.text.startswith(text)]
    assert total in [bar.maximum for bar in bars], heard.said
    name = next(bar.text for bar in bars if bar.maximum == total)
    lines = [line for line in caplog.messages if line.startswith(f"{name}: ")]
    assert lines[0].startswith(f"{name}: begins, {total} ")
    assert lines[1].startswith(f"{name}: ended after ")


def test_a_muted_database_does_its_jobs_in_silence(database, person, tmp_path):
    heard = person()
    database.mute()
    database.scan()
    database.export_as_dicom(tmp_path / "out")
    assert heard.said == []
