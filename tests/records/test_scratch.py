"""Databases without a folder, and records saved into a folder of their own."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import (
    DbdicomError,
    DicomWarning,
    FileExists,
    IndexNotWritable,
    InvalidValue,
    LayoutError,
    MissingFolder,
    NotAFolder,
    NotSaved,
    SaveFailed,
    StaleArray,
)
from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
from dbdicom_xr.testing import make_series
from tests.records.faults import Refusing, in_child, killing, watched
from tests.records.folder_states import files_of
from tests.records.ordinary import run_python


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of temporary folders."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute in this thread: those of a pool do not follow into a process that is forked."""
    with dask.config.set(scheduler="synchronous"):
        yield


def phantom(**attributes: Any) -> Any:
    """Return a series of three images in a database without a folder."""
    return db.full((3, 8, 6), 7, PatientName="Phantom", SeriesDescription="T1", **attributes)


def dicom_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.dcm"))


# -- as any database -----------------------------------------------------------------------------


def test_it_works_as_a_folder_does(temporary: Path) -> None:
    database = db.database()
    assert len(database) == 0
    assert database.name == "scratch"
    study = database.new_patient(PatientName="Ann").new_study(StudyDescription="first")
    series = study.zeros((2, 4, 3))
    with database.batch():
        for instance in series.instances():
            instance.EchoTime = 4.6
    assert series.EchoTime == [4.6]
    copy = series.copy()
    assert len(study.series()) == 2
    copy.remove()
    assert study.series() == [series]
    assert list(database.changes()["change"].unique()) != []
    assert dicom_files(temporary) == []
    database.restore()
    assert len(database) == 0
    database.close()
    assert list(temporary.iterdir()) == []


def test_each_has_a_place_of_its_own() -> None:
    first, second = db.database(), db.database()
    first.new_patient(PatientName="Ann")
    assert len(second) == 0
    assert first != second
    first.close(save=False)
    second.close()


def test_it_takes_no_index() -> None:
    with pytest.raises(DbdicomError, match="belong to a folder"):
        db.database(index="elsewhere")


# -- into a folder -------------------------------------------------------------------------------


def test_saved_it_lives_in_the_folder(tmp_path: Path, temporary: Path) -> None:
    series = phantom()
    database, instance = series.database, series.instances()[1]
    before, _ = series.array()
    place = tmp_path / "deep" / "study"
    written = database.save(place)
    assert written == [str(path) for path in dicom_files(place)]
    assert [Path(path).name for path in written] == ["000001.dcm", "000002.dcm", "000003.dcm"]
    assert list(temporary.iterdir()) == []
    assert database.path_on_disk == str(place)
    assert instance.file == written[1]
    assert before.values.tolist() == series.array()[0].values.tolist() == [[[7] * 6] * 8] * 3
    assert series == db.database(place).series()[0]
    series.EchoTime = 3.0  # which is staged there
    database.close(save=True)
    assert pydicom.dcmread(written[0]).EchoTime == 3.0
    assert db.database(place).changes().empty


@pytest.mark.parametrize("edited", [False, True])
def test_arrays_made_before_never_read_something_else(tmp_path: Path, edited: bool) -> None:
    values = np.random.default_rng(1).integers(0, 1000, (3, 8, 6))
    series = db.series(values, PatientName="Phantom")
    array, header = series.array()
    if edited:
        series.SeriesDescription = "renamed meanwhile"
    series.database.save(tmp_path / "study")
    with suppress(*[StaleArray] if edited else []):
        assert np.array_equal(array.values, values)
    assert array.dicom.header[1].PatientName == "Phantom"
    assert header[2].file is not None
    assert np.array_equal(pickle.loads(pickle.dumps(series)).array()[0].values, values)


def test_what_was_made_by_hand_and_is_empty_goes_along(tmp_path: Path) -> None:
    database = db.database()
    database.new_patient(PatientName="Ann", PatientID="1").new_study(StudyDescription="empty")
    assert database.save(tmp_path / "study") == []
    reopened = db.database(tmp_path / "study")
    assert reopened.studies()[0].StudyDescription == ["empty"]
    reopened.studies()[0].zeros((1, 4, 3))
    reopened.close(save=True)
    assert pydicom.dcmread(dicom_files(tmp_path)[0]).StudyDescription == "empty"


def test_files_that_are_there_stay_and_are_seen(tmp_path: Path) -> None:
    place = tmp_path / "study"
    make_series(place)
    (place / "notes.txt").write_text("mine")
    series = phantom(PatientID="P1")
    taken = place / "P1" / "study" / "1 T1"
    taken.mkdir(parents=True)
    (taken / "000001.dcm").write_bytes(b"of somebody else")
    before = files_of(place)
    written = series.database.save(place)
    after = files_of(place)
    assert {path: after[path] for path in before} == before
    assert len(written) == 3
    assert str(taken / "000001 (2).dcm") in written
    assert len(series.database.patients()) == 2
    series.database.close()


def _a_database(folder: Path) -> Path:
    make_series(folder / "database")
    db.database(folder / "database").close()
    return folder / "database"


def _a_file(folder: Path) -> Path:
    (folder / "file").write_text("text")
    return folder / "file"


def _a_loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def _linked(folder: Path) -> Path:
    (folder / "link").symlink_to(_a_database(folder) / ".dbdicom_xr")
    return folder / "link" / "below"


@pytest.mark.parametrize("level", ["series", "database"])
@pytest.mark.parametrize(
    ("place", "error", "words"),
    [
        (_a_file, NotAFolder, "is a file"),
        (lambda folder: _a_file(folder) / "below" / "that", NotAFolder, "file is a file"),
        (lambda folder: os.devnull, NotAFolder, "is a file"),
        (lambda folder: f"{os.devnull}/below", NotAFolder, "cannot be a folder"),
        (lambda folder: "", MissingFolder, "names no folder"),
        (lambda folder: "a\0b", MissingFolder, "cannot be a folder"),
        (lambda folder: folder / ("x" * 300), MissingFolder, "cannot be a folder"),
        (_a_loop, MissingFolder, "cannot be a folder"),
        (lambda folder: 5, InvalidValue, "5 names no folder"),
        (lambda folder: ["a"], InvalidValue, "names no folder"),
        (lambda folder: _a_database(folder) / ".dbdicom_xr", InvalidValue, "keeps its index"),
        (lambda folder: folder / ".dbdicom_xr" / "new", InvalidValue, "keeps its index"),
        (_linked, InvalidValue, "keeps its index"),
    ],
)
def test_what_is_no_place_is_refused(
    tmp_path: Path, place: Any, error: type[Exception], words: str, level: str
) -> None:
    series = phantom()
    path = place(tmp_path)
    before = _but_temporary(tmp_path)
    with pytest.raises(error, match=words):
        (series if level == "series" else series.database).save(path)
    assert _but_temporary(tmp_path) == before
    assert series.array()[0].shape == (3, 8, 6)
    assert len(series.save(tmp_path / "out")) == 3
    series.database.close(save=False)


def test_a_database_is_not_put_into_another(tmp_path: Path) -> None:
    series = phantom()
    place = _a_database(tmp_path)
    before = _but_temporary(tmp_path)
    with pytest.raises(InvalidValue, match="folder of a database already"):
        series.database.save(place)
    assert _but_temporary(tmp_path) == before
    series.database.close(save=False)


def _but_temporary(folder: Path) -> dict[str, Any]:
    """Return all that is in a folder, links and folders too, and what is in the files."""
    found = {
        str(path): None if path.is_dir() or path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
    }
    return {path: content for path, content in found.items() if "/temporary/" not in path}


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    code = f"""
import os, dbdicom_xr as db
os.mkdir({str(tmp_path / "locked")!r})
os.chmod({str(tmp_path / "locked")!r}, 0o555)
series = db.zeros((1, 4, 3))
for place in ({str(tmp_path / "locked")!r}, {str(tmp_path / "locked" / "below")!r}):
    for record in (series.database, series):
        try:
            record.save(place)
        except PermissionError as error:
            print(type(error).__name__)
        except OSError as error:
            print(type(error).__name__)
print(os.listdir({str(tmp_path / "locked")!r}), series.array()[0].shape)
series.database.close(save=False)
"""
    said = run_python(code, tmp_path, powerless=True).split("\n")
    assert said[:4] == ["FolderNotReadable", "SaveFailed"] * 2
    assert said[4] == "[] (1, 4, 3)"


def test_without_a_path_there_is_nothing_to_save_into() -> None:
    series = phantom()
    for record in (series.database, series, series.instances()[0]):
        with pytest.raises(DbdicomError, match=r"no folder yet.*save\('/data/study'\)"):
            record.save()
    with series.database.batch(), pytest.raises(DbdicomError, match="batch"):
        series.database.save("elsewhere")
    series.database.close(save=False)


def test_a_database_with_a_folder_stays_there(tmp_path: Path) -> None:
    make_series(tmp_path / "study")
    database = db.database(tmp_path / "study")
    with pytest.raises(InvalidValue, match=r"patient\.save\(path\)"):
        database.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_saved_leaves_no_trace(tmp_path: Path) -> None:
    series = phantom()
    series.instances()[1].BitsAllocated = 12
    with pytest.raises(LayoutError, match="12"):
        series.database.save(tmp_path / "study")
    with pytest.raises(LayoutError, match="12"):
        series.save(tmp_path / "study")
    assert not (tmp_path / "study").exists()
    series.instances()[1].BitsAllocated = 16
    assert len(series.database.save(tmp_path / "study")) == 3


@pytest.mark.skipif(os.name != "posix", reason="os.fork")
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(("code", "once"), [(errno.ENOSPC, False), (errno.EIO, True)])
def test_each_call_that_writes_is_refused(
    tmp_path: Path, code: int, once: bool, there: bool
) -> None:
    series = db.series(np.arange(48.0).reshape(2, 4, 6) / 7, PatientID="P1")
    series.new_sibling(SeriesDescription="empty")
    series.database._close()
    values = series.array()[0].values
    place = tmp_path / "study"
    if there:
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    before = files_of(tmp_path / "study") if there else {}

    def act(number: int) -> tuple[int, str]:
        faults = Refusing(number, code, number if once else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with watched(faults):
                    series.database.save(place)
                return faults.calls, ""
            except OSError as error:
                faults.over = True
                assert isinstance(error, DbdicomError), repr(error)  # noqa: PT017
                assert np.array_equal(series.array()[0].values, values)
                assert len(series.siblings()) == 1
                assert series.database._scratch is not None
                return faults.calls, type(error).__name__
            finally:
                faults.over = True

    refused = 0
    for number in range(1, 400, 3):
        exit_code, found = in_child(lambda: act(number))  # noqa: B023
        assert exit_code == 0, (number, found)
        calls, name = found
        if not name:  # or it could do without that call
            if calls < number:
                break
            shutil.rmtree(place)
            if there:
                place.mkdir()
                (place / "notes.txt").write_text("mine")
            continue
        refused += 1
        assert place.exists() == there, number
        assert not there or files_of(place) == before
    else:
        pytest.fail("never saved")
    assert refused > 5
    assert len(db.database(place).instances()) == 2
    series.database._scratch.discard()


def test_saved_though_other_files_of_the_folder_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = phantom()
    place = tmp_path / "study"
    make_series(place)

    def full(*arguments: Any, **options: Any) -> None:
        raise IndexNotWritable("the index cannot be written: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("dbdicom_xr.records.database.refresh", full)
        with pytest.warns(DicomWarning, match=r"is saved, but .*full.*scan\(\) tries again"):
            written = series.database.save(place)
    assert len(written) == len(series.instances())
    count = len(series.database.instances())
    series.database.scan()
    assert len(series.database.instances()) > count


@pytest.mark.skipif(os.name != "posix", reason="os.fork")
def test_killed_while_it_is_saved(tmp_path: Path) -> None:
    series = db.series(np.arange(48).reshape(2, 4, 6), PatientID="P1")
    series.database._close()
    place, found = tmp_path / "study", set()
    for number in range(1, 400, 4):
        code, _ = in_child(lambda: series.database.save(place), killing(number))
        if code == 0:
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            count = 0
            if place.exists():
                there = db.database(place)
                count = len(there.instances())
                assert [int(one.array()[0].sum()) for one in there.series()] == [1128] * (count > 0)
                there._close()
        found.add(count)
        assert int(series.array()[0].sum()) == 1128
        shutil.rmtree(place, ignore_errors=True)
    assert found == {0, 2}
    series.database._scratch.discard()


# -- left unsaved --------------------------------------------------------------------------------


def test_closing_says_what_goes(temporary: Path) -> None:
    series = phantom()
    with pytest.warns(NotSaved, match=r"not saved.*database\.save\(path\)") as said:
        series.database.close()
    assert said[0].filename == __file__
    assert list(temporary.iterdir()) == []
    series.database.close()  # once is enough
    with pytest.raises(DbdicomError):
        series.database.patients()


def test_closing_can_be_told(temporary: Path) -> None:
    series = phantom()
    with pytest.raises(DbdicomError, match=r"save\('/data/study'\) first"):
        series.database.close(save=True)
    assert series.array()[0].shape == (3, 8, 6)
    series.database.close(save=False)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("answer", "stays"), [("Yes", False), ("No", True)])
def test_a_person_is_asked(temporary: Path, answer: str, stays: bool) -> None:
    series = phantom()
    with use_front_end(ScriptedFrontEnd([answer])):
        series.database.close()
    assert bool(list(temporary.iterdir())) == stays
    series.database.close(save=False)


def test_a_context_manager_closes_it(temporary: Path) -> None:
    with pytest.warns(NotSaved), db.database() as database:
        database.new_patient(PatientName="Ann")
    assert list(temporary.iterdir()) == []


def test_an_error_loses_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), db.database() as database:
        series = database.zeros((2, 4, 3))
        _ = 1 / 0
    assert len(series.instances()) == 2
    assert len(database.save(tmp_path / "study")) == 2


def test_nothing_in_it_nothing_said(temporary: Path) -> None:
    with db.database():
        pass
    database = db.database()
    database.new_patient(PatientName="Ann").remove()
    del database
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_dropped_it_goes(temporary: Path) -> None:
    series = phantom()
    with pytest.warns(NotSaved, match="has gone"):  # noqa: PT031
        del series
        gc.collect()
    assert list(temporary.iterdir()) == []


def run(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60,
        cwd=Path(__file__).parents[2], **options,
    )  # fmt: skip


def test_python_ends(temporary: Path) -> None:
    ended = run("import dbdicom_xr as db; series = db.zeros((2, 4, 3))")
    assert ended.returncode == 0
    assert "NotSaved" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(temporary.iterdir()) == []


def test_what_was_written_elsewhere_is_not_lost(tmp_path: Path) -> None:
    series = phantom()
    series.save(tmp_path / "out")
    series.database.close()
    series = phantom()
    series.save(tmp_path / "out")
    series.EchoTime = 5.0
    with pytest.warns(NotSaved):
        series.database.close()
    series = phantom()
    series.new_sibling().new_instance()
    series.save(tmp_path / "out")
    with pytest.warns(NotSaved):
        series.database.close()


@pytest.mark.parametrize("made", ["of a value", "of an array"])
def test_what_was_written_elsewhere_may_be_read_anew(tmp_path: Path, made: str) -> None:
    series = phantom() if made == "of a value" else db.series(np.arange(48).reshape(2, 4, 6))
    series.save(tmp_path / "out")
    other = (series.array()[0] + 1).dicom.write(series.new_sibling())
    other.restore()  # after which the rest of what is staged is read from the disk
    series.database.close()


def test_the_warning_names_what_is_lost(tmp_path: Path) -> None:
    series = phantom()
    saved = series.copy(SeriesDescription="T2")
    saved.save(tmp_path / "out")
    with pytest.warns(NotSaved, match=r"not saved: the series 'T1' of Phantom \(3 images\)\. "):
        series.database.close()
    series = db.zeros((1, 4, 3), PatientID="P1")
    for _ in range(4):
        series.copy()
    lost = r"not saved: a series of P1 \(1 image\), .*, 2 more series\. "
    with pytest.warns(NotSaved, match=lost):
        series.database.close()


# -- other processes -----------------------------------------------------------------------------

_WAITS = (
    "import dbdicom_xr as db, time; series = db.zeros((2, 4, 3));"
    "print(series.database.path_on_disk, flush=True); time.sleep(60)"
)


def test_those_of_killed_processes_are_removed(temporary: Path) -> None:
    victim, other = (
        subprocess.Popen([sys.executable, "-c", _WAITS], stdout=subprocess.PIPE, text=True,
                         cwd=Path(__file__).parents[2])
        for _ in range(2)
    )  # fmt: skip
    folders = [Path(process.stdout.readline().strip()) for process in (victim, other)]  # type: ignore[union-attr]
    foreign = temporary / folders[0].parent.name.replace("scratch-", "scratch-0")
    foreign.mkdir()
    (temporary / "elsewhere").mkdir()
    (temporary / "elsewhere" / "mine").write_text("text")
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    (temporary / (folders[0].parent.name + "x")).symlink_to(temporary / "elsewhere")
    assert folders[0].is_dir()
    db.database().close()
    assert not folders[0].parent.exists()
    assert folders[1].is_dir()
    assert foreign.is_dir()
    assert (temporary / "elsewhere" / "mine").exists()
    other.send_signal(signal.SIGKILL)
    other.wait()
    for process in (victim, other):
        process.stdout.close()  # type: ignore[union-attr]


def test_records_work_in_other_processes(tmp_path: Path) -> None:
    series = db.series(np.arange(48).reshape(2, 4, 6), PatientName="Phantom")
    (tmp_path / "record").write_bytes(pickle.dumps((series, series.array()[0])))
    code = (
        "import pickle; record, array = pickle.load(open('record', 'rb'));"
        "print(record.PatientName, int(record.array()[0].sum()), int(array.sum()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert ended.stdout.strip() == "['Phantom'] 1128 1128", ended.stderr
    assert os.path.isdir(series.database.path_on_disk)
    assert pickle.loads(pickle.dumps(series)).database is series.database
    series.database.close(save=False)


@pytest.mark.skipif(os.name != "posix", reason="os.fork")
def test_a_forked_process_takes_nothing_along() -> None:
    series = phantom()

    def act() -> int:
        series.database._scratch._leave()
        return int(series.array()[0].sum())

    assert in_child(act) == (0, 7 * 3 * 48)
    assert len(series.instances()) == 3
    series.database.close(save=False)


# -- records into a folder -----------------------------------------------------------------------


def test_a_series_is_written_as_it_is_staged(tmp_path: Path) -> None:
    make_series(tmp_path / "study")
    database = db.database(tmp_path / "study")
    before = files_of(tmp_path / "study")
    series = database.series()[0]
    pixels = series.array()[0].values
    series.PatientComments = "staged"
    copy = series.copy(SeriesDescription="copy")
    written = [*series.save(tmp_path / "out"), *copy.save(tmp_path / "out")]
    assert written == sorted(set(written), key=written.index)
    assert sorted(map(Path, written)) == dicom_files(tmp_path / "out")
    assert files_of(tmp_path / "study") == before
    datasets = [pydicom.dcmread(path) for path in written]
    assert {one.PatientComments for one in datasets} == {"staged"}
    assert [one.SOPInstanceUID for one in datasets[: len(pixels)]] == [
        instance.SOPInstanceUID for instance in series.instances()
    ]
    assert all(
        np.array_equal(one.pixel_array.T, frame)
        for one, frame in zip(datasets, [*pixels, *pixels], strict=True)
    )
    assert not (tmp_path / "out" / ".dbdicom_xr").exists()
    assert len(database.changes())  # all is staged as it was
    database.close(save=False)


def test_images_are_not_put_beside_those_of_an_earlier_save(tmp_path: Path) -> None:
    series = phantom()
    first = series.save(tmp_path / "out")
    other = series.new_sibling(SeriesDescription="T2")
    other.new_instance()
    before = files_of(tmp_path / "out")
    series.EchoTime = 3.0
    for record in (series, series.instances()[0], series.patients()):  # the last has a new series
        with pytest.raises(FileExists, match=r"has files already.*twice.*another folder"):
            record.save(tmp_path / "out")
        assert files_of(tmp_path / "out") == before
    elsewhere = series.save(tmp_path / "elsewhere")
    assert [pydicom.dcmread(path).EchoTime for path in elsewhere] == [3.0] * 3
    assert len(other.save(tmp_path / "out")) == 1  # another series, of the same study
    shutil.rmtree(os.path.dirname(first[0]))
    assert series.save(tmp_path / "out") == first
    series.database.close(save=False)


def test_other_records_too(tmp_path: Path) -> None:
    series = phantom()
    patient, instance = series.patients(), series.instances()[1]
    series.new_sibling().new_instance()
    assert len(instance.save(tmp_path / "one")) == 1
    assert pydicom.dcmread(dicom_files(tmp_path / "one")[0]).InstanceNumber == 2
    assert len(patient.save(tmp_path / "all")) == 4
    series.database.close()


def test_not_among_those_that_are_there(tmp_path: Path) -> None:
    make_series(tmp_path / "study")
    database = db.database(tmp_path / "study")
    before = files_of(tmp_path)
    for place in ("study", "study/below"):
        with pytest.raises(InvalidValue, match="copy"):
            database.series()[0].save(tmp_path / place)
    assert files_of(tmp_path) == before


def test_a_file_that_was_changed_meanwhile(tmp_path: Path) -> None:
    make_series(tmp_path / "study")
    database = db.database(tmp_path / "study")
    series = database.series()[0]
    with open(series.instances()[1].file, "ab") as file:
        file.write(bytes(2))
    with pytest.raises(SaveFailed, match="changed by another program"):
        series.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="os.fork")
def test_a_full_disk_leaves_nothing_half_done(tmp_path: Path) -> None:
    series = phantom()

    def act(number: int) -> str:
        faults = Refusing(number, errno.ENOSPC, None)
        try:
            with watched(faults):
                series.save(tmp_path / "out")
            return ""
        except OSError as error:
            assert isinstance(error, DbdicomError), repr(error)  # noqa: PT017
            return str(error)
        finally:
            faults.over = True

    for number in range(1, 200, 2):
        exit_code, text = in_child(lambda: act(number))  # noqa: B023
        assert exit_code == 0, text
        if not text:
            break
        assert not (tmp_path / "out").exists()
    assert len(dicom_files(tmp_path / "out")) == 3
    series.database.close(save=False)
