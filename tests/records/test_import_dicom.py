"""``import_dicom``: files of elsewhere come in as staged instances, all of them or none."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, InvalidValue, MissingFolder, SaveFailed
from dbdicom_xr.formats import zip_files
from dbdicom_xr.records.importing import from_dicom as importing_dicom
from dbdicom_xr.testing import make_series
from tests.records.faults import Refusing, in_child, killing, watched


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with two series in sub-folders, and what else lies on a disc."""
    for number, name in enumerate(("one", "two/deep")):
        make_series(tmp_path / "source" / name, keys={"SliceLocation": [0, 5]}, seed=number)
        for i, path in enumerate(sorted((tmp_path / "source" / name).glob("*.dcm"))):
            dataset = pydicom.dcmread(path)
            dataset.SeriesInstanceUID, dataset.SeriesNumber = f"1.2.{number}", number + 1
            dataset.SOPInstanceUID = f"1.2.{number}.{i + 1}"
            dataset.PatientID = "P-1"
            dataset.save_as(path)
    return tmp_path / "source"


@pytest.fixture
def database(tmp_path: Path) -> Any:
    with db.database(tmp_path / "database", create=True) as opened:
        yield opened
        opened.restore()


def all_files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(("index", "staging"))
    )  # fmt: skip


def dicom(source: Path) -> list[Path]:
    return sorted(source.rglob("*.dcm"))


def test_a_folder(database: Any, source: Path, tmp_path: Path) -> None:
    (source / "notes.txt").write_text("not an image, but longer than a preamble" * 9)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    report = database.import_dicom(source)
    assert sorted(report) == [str(path) for path in dicom(source)]
    assert [one.file for one in report.failures] == [str(source / "notes.txt")]
    assert report.duplicates == [] == report.conflicts
    assert {one.SeriesNumber.item() for one in report.series} == {1, 2}
    assert "4 files were imported" in str(report)
    assert "notes.txt" in str(report)
    assert database.PatientID == ["P-1"]
    assert len(database.instances()) == 4
    assert database.series()[0].array("SliceLocation")[0].compute().shape == (2, 1, 16, 12)
    assert set(database.changes()["change"]) == {"new"}
    assert all(".dbdicom_xr" in file for file in database.files())
    database.save()
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before
    saved = [Path(file).relative_to(tmp_path / "database").as_posix() for file in database.files()]
    assert all(name.startswith("P-1/") and name.endswith(".dcm") for name in saved)
    assert len({os.path.dirname(name) for name in saved}) == 2
    assert sorted(Path(file).read_bytes() for file in database.files()) == sorted(
        path.read_bytes() for path in dicom(source)
    )


def test_pipes_and_links_to_nowhere(database: Any, source: Path) -> None:
    os.mkfifo(source / "pipe")
    os.symlink(source / "nowhere", source / "link")
    report = database.import_dicom(source)
    assert len(report) == 4
    assert {Path(one.file).name for one in report.failures} == {"pipe", "link"}


def test_restore_takes_it_out(database: Any, source: Path, tmp_path: Path) -> None:
    before = all_files(tmp_path / "database")
    database.import_dicom(source)
    database.restore()
    assert database.instances() == []
    assert all_files(tmp_path / "database") == before


@pytest.mark.parametrize("kind", ["file", "list", "glob", "zip", "deep glob", "folder with zip"])
def test_what_a_path_may_be(database: Any, source: Path, tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in dicom(source):
            file.write(path, f"x/{path.relative_to(source)}")
    folder = tmp_path / "with zip"
    folder.mkdir()
    shutil.copy(archive, folder / "a.zip")
    path, count = {
        "file": (dicom(source)[0], 1),
        "list": (iter([dicom(source)[0], str(source / "two")]), 3),
        "glob": (f"{source}/one/*.dcm", 2),
        "deep glob": (f"{source}/**/*.dcm", 4),
        "zip": (archive, 4),
        "folder with zip": (folder, 4),
    }[kind]
    report = database.import_dicom(path)
    assert len(report) == count == len(database.instances())
    assert not report.failures
    originals = {path.read_bytes() for path in dicom(source)}
    assert {Path(file).read_bytes() for file in database.files()} <= originals


def test_duplicates_and_conflicts(database: Any, source: Path, tmp_path: Path) -> None:
    first, second = dicom(source)[:2]
    database.import_dicom(first)
    database.save()
    kept = Path(database.files()[0]).read_bytes()
    other = tmp_path / "other.dcm"
    dataset = pydicom.dcmread(first)
    dataset.file_meta.SourceApplicationEntityTitle = "PACS"
    dataset.save_as(tmp_path / "sent.dcm")
    dataset.PatientName = "Else"
    dataset.save_as(other)
    twice = tmp_path / "twice.dcm"
    shutil.copy(second, twice)
    report = database.import_dicom([first, tmp_path / "sent.dcm", other, second, twice])
    assert report == [str(second)]
    assert report.duplicates == [str(first), str(tmp_path / "sent.dcm"), str(twice)]
    assert [one.file for one in report.conflicts] == [str(other)]
    assert "another object with the same SOPInstanceUID" in str(report)
    database.save()
    assert len(database.instances()) == 2
    assert kept in [Path(file).read_bytes() for file in database.files()]


def test_what_was_removed_is_not_brought_back_by_the_side_door(database: Any, source: Path) -> None:
    database.import_dicom(source)
    database.save()
    database.instances()[0].remove()
    report = database.import_dicom(source)
    assert (len(report), len(report.duplicates), len(report.conflicts)) == (0, 3, 1)
    database.save()
    assert len(database.import_dicom(source)) == 1


def test_into_a_database_without_a_folder(source: Path, tmp_path: Path) -> None:
    database = db.database()
    database.import_dicom(source)
    database.save(tmp_path / "kept")
    assert len(list((tmp_path / "kept").rglob("*.dcm"))) == 4
    database.close()


def test_other_levels_say_where_to(database: Any, source: Path) -> None:
    database.import_dicom(source)
    for record in (database.patients()[0], database.studies()[0], database.series()[0]):
        with pytest.raises(DbdicomError, match=r"database\.import_dicom"):
            record.import_dicom(source)


@pytest.mark.parametrize(
    "path", ["", "missing", "missing/*.dcm", "a\0b", "missing.zip", ["missing"]]
)
def test_paths_that_lead_nowhere(database: Any, path: Any) -> None:
    with pytest.raises(MissingFolder):
        database.import_dicom(path)
    assert database.instances() == []


# -- zip files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../../evil.dcm", "/etc/evil.dcm", "C:\\evil.dcm", "..\\evil.dcm", "CON", "NUL.dcm", "x" * 300,
     "a/" * 100 + "b.dcm", "a\nb", "-rf", "~/evil.dcm", ".dbdicom_xr/index"],
)  # fmt: skip
def test_names_in_a_zip_lead_nowhere(
    database: Any, source: Path, tmp_path: Path, name: str
) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo(name), dicom(source)[0].read_bytes())
    before = {path for path in tmp_path.rglob("*") if "database" not in path.parts}
    assert len(database.import_dicom(archive)) == 1
    database.save()
    assert {path for path in tmp_path.rglob("*") if "database" not in path.parts} == before
    assert Path(database.files()[0]).read_bytes() == dicom(source)[0].read_bytes()
    assert [p for p in all_files(tmp_path / "database") if p.endswith(".dcm")] == [
        Path(database.files()[0]).relative_to(tmp_path / "database").as_posix()
    ]


def test_links_in_a_zip_are_not_followed(database: Any, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.dcm")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(InvalidValue, match="not a DICOM file"):
        database.import_dicom(tmp_path / "a.zip")


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda data: data[:200], "damaged"),
        (lambda data: data[:-60], "damaged"),
        (lambda data: flip(data, 300), "damaged"),
        (lambda data: data.replace(b"PK\3\4\x14\0\0\0", b"PK\3\4\x14\0\1\0")
                          .replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"),
         "encrypted"),
    ],
)  # fmt: skip
def test_zip_files_that_cannot_be_read(
    database: Any, source: Path, tmp_path: Path, break_it: Any, reason: str
) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(dicom(source)[0], "a.dcm")
    archive.write_bytes(break_it(archive.read_bytes()))
    with pytest.raises(InvalidValue, match=f"Nothing was imported.*{reason}"):
        database.import_dicom(archive)
    assert database.instances() == []
    assert not any("writing" in path for path in all_files(tmp_path / "database"))


def test_a_damaged_file_in_a_zip_does_not_hide_the_others(
    database: Any, source: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for number, path in enumerate(dicom(source)):
            file.write(path, f"{number}.dcm")
        file.writestr("inner.zip", b"PK\3\4" + bytes(200))
        file.writestr("empty", b"")
    archive.write_bytes(flip(archive.read_bytes(), 300))
    report = database.import_dicom(archive)
    assert len(report) == 3
    reasons = {one.file.rpartition(": ")[2]: one.reason for one in report.failures}
    assert set(reasons) == {"0.dcm", "inner.zip", "empty"}
    assert "zip file inside a zip file" in reasons["inner.zip"]


def test_a_bomb_is_not_unpacked(
    database: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(50_000_000))
    written: list[int] = []
    real = zip_files.open if hasattr(zip_files, "open") else open
    monkeypatch.setattr(zip_files, "open", lambda *a: written.append(1) or real(*a), raising=False)
    with pytest.raises(InvalidValue, match="not a DICOM file"):
        database.import_dicom(archive)
    assert written == [1]  # to see what it is: nothing was written
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("large", dicom(source)[0].read_bytes() + bytes(5_000_000))
    usage = shutil.disk_usage(tmp_path)._replace(free=importing_dicom._RESERVE_BYTES + 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SaveFailed, match="room for 1 MB"):
        database.import_dicom(archive)
    assert database.instances() == []
    assert not any("writing" in path for path in all_files(tmp_path / "database"))


def test_a_zip_that_announces_less_than_it_holds(
    database: Any, source: Path, tmp_path: Path
) -> None:
    data = dicom(source)[0].read_bytes()
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.dcm", data + bytes(1_000_000))
    real = struct.pack("<I", len(data) + 1_000_000)
    archive.write_bytes(archive.read_bytes().replace(real, struct.pack("<I", 500)))
    with pytest.raises(InvalidValue, match="Nothing was imported"):
        database.import_dicom(archive)


# -- all or nothing -------------------------------------------------------------------------------


def test_a_disk_that_fills(database: Any, source: Path, tmp_path: Path) -> None:
    database.message("the index is there")
    number = 1
    while number < 600:
        full = Refusing(number, errno.ENOSPC, None)
        try:
            with watched(full):
                database.import_dicom(source)
        except (DbdicomError, OSError):
            assert full.refused
        else:
            break
        finally:
            full.over = True
        assert database.instances() == [], number
        left = [path for path in all_files(tmp_path / "database") if "dcm" in path or "zip" in path]
        assert left == [], number
        number += 2
    assert len(database.instances()) == 4
    assert number > 12


@pytest.mark.parametrize("number", [1, 4, 7, 10, 13, 16, 20, 25, 30, 40, 50, 60, 70, 80, 100, 120])
def test_killed_it_leaves_all_or_nothing(source: Path, tmp_path: Path, number: int) -> None:
    folder = tmp_path / "database"
    db.database(folder, create=True).close()

    def action() -> int:
        database = db.database(folder)
        count = len(database.import_dicom(source))
        database.close(save=True)
        return count

    code, _ = in_child(action, killing(number))
    assert code in (0, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        database = db.database(folder)
    assert len(database.instances()) in (0, 4)
    assert not [path for path in all_files(folder) if "writing" in path]
    database.restore()
    database.close()


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_no_method_of_compression_stops_the_others(
    database: Any, source: Path, tmp_path: Path, method: int
) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", method) as file:
        for number, path in enumerate(dicom(source)):
            file.write(path, f"{number}.dcm")
    data = bytearray(archive.read_bytes())
    data[60:90] = b"\xff" * 30  # in the first file
    archive.write_bytes(data)
    report = database.import_dicom(archive)
    assert [one.file for one in report.failures] == [f"{archive}: 0.dcm"]
    assert "damaged" in report.failures[0].reason
    assert len(report) == len(dicom(source)) - 1 == len(database.instances())


def test_an_error_of_the_disk_is_not_one_of_the_zip(
    database: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(dicom(source)[0], "0.dcm")

    def full(path: str, *mode: str) -> Any:
        if mode == ("xb",):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return open(path, *mode)

    monkeypatch.setattr(zip_files, "open", full, raising=False)
    with pytest.raises(SaveFailed, match=r"No space left on device\. Nothing was imported"):
        database.import_dicom(archive)
    assert database.instances() == []


def test_an_object_without_a_uid_is_a_failure_and_no_conflict(
    database: Any, source: Path, tmp_path: Path
) -> None:
    first, second = dicom(source)[:2]
    for number, path in enumerate((first, second)):
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = ""
        dataset.ImageComments = f"number {number}"
        dataset.save_as(path, enforce_file_format=False)
    report = database.import_dicom(source)
    assert {one.file for one in report.failures} == {str(first), str(second)}
    assert all("no SOPInstanceUID" in one.reason for one in report.failures)
    assert report.conflicts == []
    database.save()
    assert len(database.instances()) == len(report) == len(dicom(source)) - 2


def test_an_object_without_a_number_warns_of_nothing(
    database: Any, source: Path, tmp_path: Path
) -> None:
    for path in dicom(source)[:2]:
        dataset = pydicom.dcmread(path)
        del dataset.InstanceNumber
        dataset.save_as(path)
    database.import_dicom(source)
    assert len(database.import_dicom(source).duplicates) == len(dicom(source))
    database.save()
