"""``export_as_dicom``: copies for somebody else, with or without identity."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.fileset import FileSet

import dbdicom_xr as db
from dbdicom_xr.errors import (
    DbdicomError,
    DicomWarning,
    FileExists,
    InvalidValue,
    NotAFolder,
    SaveFailed,
)
from dbdicom_xr.testing import make_dce, make_enhanced, make_mosaic, make_series
from tests.data import testdata_folder
from tests.emit.judges import dcmdump_ok, new_errors
from tests.records.faults import Refusing, watched


def make(folder: Path, positions: list[int], **attributes: Any) -> None:
    """Make a series whose files say this."""
    make_series(folder, keys={"SliceLocation": positions})
    for path in sorted(folder.glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(
        tmp_path / "in", [0, 5, 10], PatientName="Doe^Jane",
        PatientID="H7717", StudyDescription="Kidneys of Doe", SeriesDescription="T1 Doe",
        OperatorsName="Op^Erator", InstitutionName="Hospital of Leeds",
    )  # fmt: skip
    return tmp_path / "in"


def listed(path: str) -> list[Any]:
    """Return what a DICOMDIR lists, read by pydicom."""
    files = FileSet(path)
    files._stage["t"].cleanup()
    return list(files)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


@pytest.mark.parametrize("level", ["database", "patient", "study", "series", "instance"])
def test_every_level(level: str, folder: Path, tmp_path: Path) -> None:
    with db.database(folder) as database:
        series = database.series()[0]
        record = {
            "database": database, "patient": series.parent.parent, "study": series.parent,
            "series": series, "instance": series.instances()[1],
        }[level]  # fmt: skip
        files = record.export_as_dicom(tmp_path / "out")
        originals = {Path(file).read_bytes() for file in record.files()}
    assert {Path(file).read_bytes() for file in files} == originals
    assert len(files) == (1 if level == "instance" else 3)
    assert all(Path(file).parent.parent.parent.name == "H7717" for file in files)
    assert set(contents(tmp_path / "out")) == {
        Path(file).relative_to(tmp_path / "out").as_posix() for file in files
    }


def test_with_what_is_staged(folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    with db.database(folder) as database:
        series = database.series()[0]
        series.PatientName = "Else"
        copy = series.copy(SeriesDescription="copy")
        zeros = series.parent.zeros((2, 8, 6), dtype="mri")
        files = database.export_as_dicom(tmp_path / "out")
        assert len(files) == 8
        datasets = [pydicom.dcmread(file) for file in files]
        assert {str(one.PatientName) for one in datasets} == {"Else"}
        assert {one.SeriesInstanceUID for one in datasets} == {
            uid for one in (series, copy, zeros) for uid in one.SeriesInstanceUID
        }
        assert len({one.SOPInstanceUID for one in datasets}) == 8
        database.restore()
    assert before == {key: data for key, data in contents(folder).items() if key in before}


def test_one_file(folder: Path, tmp_path: Path) -> None:
    with db.database(folder) as database:
        image = database.instances()[0]
        target = tmp_path / "a" / "one.dcm"
        assert image.export_as_dicom(target) == [target.as_posix()]
        assert target.read_bytes() == Path(image.file).read_bytes()
        with pytest.raises(InvalidValue, match="becomes 3 files"):
            database.export_as_dicom(tmp_path / "b.dcm")
    assert not (tmp_path / "b.dcm").exists()


def test_nothing_is_written_over(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with db.database(folder) as database:
        files = database.export_as_dicom(out)
        Path(files[1]).write_bytes(b"mine")
        before = contents(out)
        with pytest.raises(FileExists, match="overwrite=True"):
            database.export_as_dicom(out)
        assert contents(out) == before
        assert database.export_as_dicom(out, overwrite=True) == files
        assert Path(files[1]).read_bytes() != b"mine"
        assert len(contents(out)) == 3


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    make(
        tmp_path / "in", [0], PatientID="../../evil",
        StudyDescription="/etc/NUL", SeriesDescription="x" * 60,
    )  # fmt: skip
    outside = tmp_path / "outside"
    outside.mkdir()
    with db.database(tmp_path / "in") as database:
        (file,) = database.export_as_dicom(tmp_path / "out")
        assert tmp_path / "out" in Path(os.path.realpath(file)).parents
        patient = Path(file).relative_to(tmp_path / "out").parts[0]
        (tmp_path / "linked").mkdir()
        os.symlink(outside, tmp_path / "linked" / patient)
        with pytest.raises(InvalidValue, match="leads out of"):
            database.export_as_dicom(tmp_path / "linked")
        with pytest.raises(InvalidValue, match="leads out of"):
            database.export_as_dicom(tmp_path / "linked", overwrite=True)
        os.remove(file)
        (outside / "kept").write_bytes(b"kept")
        os.symlink(outside / "kept", file)
        with pytest.raises(InvalidValue, match="link"):
            database.export_as_dicom(tmp_path / "out", overwrite=True)
    assert contents(outside) == {"kept": b"kept"}


def test_paths_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with db.database(folder) as database:
        for path in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(NotAFolder):
                database.export_as_dicom(path)
        with pytest.raises(InvalidValue, match="in the folder of the database"):
            database.export_as_dicom(folder / "out")
        with pytest.raises(InvalidValue, match="nothing to export"):
            database.new_patient().export_as_dicom(tmp_path / "out")
        with pytest.raises(InvalidValue, match="deidentify=True"):
            database.export_as_dicom(tmp_path / "out", retain_device=True)
        with pytest.raises(InvalidValue, match="retain_dates"):
            database.export_as_dicom(tmp_path / "out", deidentify=True, retain_dates="all")
        with pytest.raises(InvalidValue, match="at least 8"):
            database.export_as_dicom(tmp_path / "out", deidentify=True, secret="1234")
        with pytest.raises(InvalidValue, match="dict"):
            database.export_as_dicom(tmp_path / "out", deidentify=True, mapping=[])
        database.restore()
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{}, {"deidentify": True}, {"dicomdir": True}])
def test_a_full_disk_leaves_nothing(folder: Path, tmp_path: Path, options: Any) -> None:
    (tmp_path / "out").mkdir()
    with db.database(folder) as database:
        for number in range(1, 400, 7):
            full = Refusing(number, errno.ENOSPC, None)
            try:
                with watched(full):
                    database.export_as_dicom(tmp_path / "out", **options)
            except (SaveFailed, OSError):
                assert full.refused
                assert contents(tmp_path / "out") == {}
                assert os.listdir(tmp_path / "out") == []
            else:
                break
            finally:
                full.over = True
        assert number > 7


def test_dicomdir(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "disc"
    with db.database(folder) as database:
        files = database.export_as_dicom(out, dicomdir=True)
        uids = {image.SOPInstanceUID for image in database.instances()}
    assert files[-1] == f"{out.as_posix()}/DICOMDIR"
    for file in files[:-1]:
        parts = Path(file).relative_to(out).parts
        assert all(len(part) <= 8 and part.isalnum() and part == part.upper() for part in parts)
    found = listed(files[-1])
    assert {instance.SOPInstanceUID for instance in found} == uids
    assert {Path(instance.path).as_posix() for instance in found} == set(files[:-1])
    assert {pydicom.dcmread(instance.path).SOPInstanceUID for instance in found} == uids
    assert dcmdump_ok(files[-1])
    with db.database(out) as disc:
        assert len(disc.instances()) == 3


def test_dicomdir_without_identity(folder: Path, tmp_path: Path) -> None:
    with db.database(folder) as database:
        files = database.export_as_dicom(
            tmp_path / "disc", dicomdir=True, deidentify=True, PatientID="S-1"
        )
    for file in files:
        assert b"Doe" not in Path(file).read_bytes()
    assert {instance.PatientID for instance in listed(files[-1])} == {"S-1"}
    names = [instance.SOPInstanceUID for instance in listed(files[-1])]
    assert names == [pydicom.dcmread(file).SOPInstanceUID for file in files[:-1]]


# -- without identity -----------------------------------------------------------------------------


def test_no_identity_in_bytes_or_names(folder: Path, tmp_path: Path) -> None:
    mapping: dict[str, str] = {}
    with db.database(folder) as database:
        series = database.series()[0]
        series.PatientComments = "calls herself Doey"
        files = database.export_as_dicom(
            tmp_path / "out", deidentify=True, PatientID={"H7717": "S-01"}, mapping=mapping
        )
        originals = [image.SOPInstanceUID for image in database.instances()]
        array = series.array("SliceLocation")[0].compute()
        database.restore()
    for file in files:
        for secret in (b"Doe", b"H7717", b"Erator", b"Leeds", *(u.encode() for u in originals)):
            assert secret not in Path(file).read_bytes()
            assert secret not in file.encode()
    assert Path(files[0]).relative_to(tmp_path / "out").parts[:2] == ("S-01", "study 1")
    assert mapping["H7717"] == "S-01"
    with db.database(tmp_path / "out") as shared:
        new = shared.series()[0]
        assert shared.PatientName == shared.PatientID == ["S-01"]
        assert [image.SOPInstanceUID for image in new.instances()] == [
            mapping[uid] for uid in originals
        ]
        np.testing.assert_array_equal(new.array("SliceLocation")[0], array)


def test_two_patients_stay_two_and_the_same_secret_gives_the_same(tmp_path: Path) -> None:
    for patient in ("A", "B"):
        make(
            tmp_path / "in" / patient, [0], PatientID=patient,
            SOPInstanceUID=f"1.2.3.{ord(patient)}", StudyInstanceUID=f"1.2.4.{ord(patient)}",
        )  # fmt: skip
    with db.database(tmp_path / "in") as database:
        kept = {"deidentify": True, "secret": "a long secret", "retain_dates": "modified"}
        one = database.export_as_dicom(tmp_path / "1", **kept)
        other = database.export_as_dicom(tmp_path / "2", **kept)
        random = database.export_as_dicom(tmp_path / "3", deidentify=True)
        with pytest.raises(InvalidValue, match="Two patients"):
            database.export_as_dicom(tmp_path / "4", deidentify=True, PatientID="S-1")
    assert not (tmp_path / "4").exists()
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert len({Path(file).parts[-4] for file in one}) == 2 == len(other)
    assert {pydicom.dcmread(file).PatientID for file in one}.isdisjoint(
        pydicom.dcmread(file).PatientID for file in random
    )


def test_times_between_images_stay_where_dates_are_shifted(tmp_path: Path) -> None:
    make_dce(tmp_path / "in")
    with db.database(tmp_path / "in") as database:
        times = database.AcquisitionTime
        files = database.export_as_dicom(tmp_path / "out", deidentify=True, retain_dates="modified")
        old = database.StudyDate
    with db.database(tmp_path / "out") as shared:
        assert shared.AcquisitionTime == times
        assert shared.StudyDate == shared.AcquisitionDate != old
        assert shared.StudyDate[0] < old[0]
    assert len(files) == 30


def test_images_that_may_show_text_are_named(folder: Path, tmp_path: Path) -> None:
    with db.database(folder) as database:
        database.BurnedInAnnotation = "YES"
        with pytest.warns(DicomWarning, match=r"may show text.*S-1/study 1/\d+ MR \(Burned"):
            database.export_as_dicom(tmp_path / "out", deidentify=True, PatientID="S-1")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            database.export_as_dicom(tmp_path / "as it is")
        database.restore()


def test_a_function_of_the_user_cleans_descriptions(folder: Path, tmp_path: Path) -> None:
    def clean(keyword: str, text: str) -> str | None:
        return text.replace("Doe", "").strip() if keyword == "SeriesDescription" else None

    with db.database(folder) as database:
        files = database.export_as_dicom(tmp_path / "out", deidentify=True, clean_descriptors=clean)
    dataset = pydicom.dcmread(files[0])
    assert dataset.SeriesDescription == "T1"
    assert "StudyDescription" not in dataset


def test_mosaics_keep_their_tiles_with_safe_private_attributes(tmp_path: Path) -> None:
    make_mosaic(tmp_path / "in")
    with db.database(tmp_path / "in") as database:
        old = database.series()[0].array("SliceLocation")[0].compute()
        files = database.export_as_dicom(
            tmp_path / "out", deidentify=True, retain_safe_private=True
        )
        originals = [Path(image.file) for image in database.instances()]
    with db.database(tmp_path / "out") as shared:
        new = shared.series()[0].array("SliceLocation")[0].compute()
    np.testing.assert_array_equal(new, old)
    np.testing.assert_array_equal(new.SliceLocation, old.SliceLocation)
    assert len(Path(files[0]).read_bytes()) < len(originals[0].read_bytes())


def test_an_enhanced_image_reads_the_same(tmp_path: Path) -> None:
    make_enhanced(tmp_path / "in")
    with db.database(tmp_path / "in") as database:
        old = database.series()[0].array("InstanceNumber")[0].compute()
        location = database.SliceLocation
        database.export_as_dicom(tmp_path / "out", deidentify=True)
    with db.database(tmp_path / "out") as shared:
        new = shared.series()[0].array("InstanceNumber")[0].compute()
        np.testing.assert_array_equal(new, old)
        assert shared.SliceLocation == location


def test_an_export_is_no_less_valid_than_its_source(folder: Path, tmp_path: Path) -> None:
    with db.database(folder) as database:
        sources = [image.file for image in database.instances()]
        files = database.export_as_dicom(tmp_path / "out", deidentify=True)
    for file, source in zip(files, sources, strict=True):
        assert new_errors(file, source) == set()
        assert dcmdump_ok(file)


# -- real files -----------------------------------------------------------------------------------


def references(files: list[str]) -> tuple[int, int]:
    """Return how many references to instances lead to one of the files, and how many elsewhere."""
    datasets = [pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in files]
    uids = {dataset.SOPInstanceUID for dataset in datasets}
    found = [
        element.value in uids for dataset in datasets for element in dataset.iterall()
        if element.keyword == "ReferencedSOPInstanceUID"
    ]  # fmt: skip
    return sum(found), len(found) - sum(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("collection", ["rt-utils", "enh", "mosaic", "uih", "highdicom"])
def test_scanner_files_without_identity(collection: str, tmp_path: Path) -> None:
    root = testdata_folder()
    if root is None or not (root / collection).is_dir():
        pytest.skip("no test data")
    mapping: dict[str, str] = {}
    with db.database(root / collection, index=tmp_path / "index") as database:
        files = database.export_as_dicom(
            tmp_path / "out", deidentify=True, retain_safe_private=True, mapping=mapping
        )
        originals = {image.SOPInstanceUID: image for image in database.instances()}
        inside, _ = references([image.file for image in originals.values()])
        assert references(files)[0] >= inside * 0.9  # some sequences of references go
        with db.database(tmp_path / "out") as shared:
            new = {image.SOPInstanceUID: image for image in shared.instances()}
            assert set(new) == {mapping[uid] for uid in originals}
            for number, (uid, image) in enumerate(originals.items()):
                other = new[mapping[uid]]
                patient = image.PatientName
                assert not patient or other.PatientName != patient
                try:
                    array = image.array()
                except DbdicomError:
                    continue
                np.testing.assert_array_equal(other.array().values, array.values)
                if number < 3:
                    assert new_errors(other.file, image.file) == set()


def test_an_object_without_a_uid_loses_its_identity_too(tmp_path: Path) -> None:
    made = make_series(tmp_path / "in", keys={"SliceLocation": [0.0]})
    dataset = pydicom.dcmread(made.files[0])
    del dataset.SOPInstanceUID
    dataset.save_as(made.files[0], enforce_file_format=False)
    with db.database(tmp_path / "in") as database:
        (file,) = database.export_as_dicom(tmp_path / "out", deidentify=True, PatientID="S-1")
        with pytest.raises(InvalidValue, match=r"SOPInstanceUID|SOP Instance UID"):
            database.export_as_dicom(tmp_path / "disc", dicomdir=True)
    written = pydicom.dcmread(file)
    assert (written.PatientName, written.PatientIdentityRemoved) == ("S-1", "YES")
    assert np.array_equal(written.pixel_array, pydicom.dcmread(made.files[0]).pixel_array)
    assert not (tmp_path / "disc").exists()


def test_what_is_missing_for_a_disc_is_told(tmp_path: Path) -> None:
    def header(dataset: Any, index: Any) -> None:
        del dataset.SeriesInstanceUID

    make_series(tmp_path / "in", header=header)
    with (
        db.database(tmp_path / "in") as database,
        pytest.raises(
            InvalidValue, match=r"cannot stand in a DICOMDIR: its .*Series Instance UID"
        ) as raised,
    ):
        database.export_as_dicom(tmp_path / "disc", dicomdir=True)
    assert "record creat" not in str(raised.value)
