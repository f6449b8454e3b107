"""What stands in a folder: odd names, links, no files, files that change meanwhile."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from dbdicom_xr.index import files, gather, readers
from dbdicom_xr.index.files import open_for_reading, pread
from dbdicom_xr.index.scan import FOLDER_NAME
from dbdicom_xr.testing import make_many, make_study
from tests.index.judge import differences
from tests.index.made import content, dataset, fill, fresh, index, uids, update, write
from tests.index.test_values import rich

NAMES = [
    "plain.dcm", "with space", "ünïcödé.dcm", "画像", "e\u0301 and é", "new\nline", "tab\there",
    "it's \"quoted\"", "semi;colon%41", "-rf", "~", "*?[a]", "trailing.", "#1", "\U0001f9e0.dcm",
    "x" * 255, "back\\slash", "a'; DROP TABLE file; --",
]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not have")
def test_names(tmp_path: Path) -> None:
    folder = tmp_path / "da ta é\n"
    for i, name in enumerate(NAMES):
        write(folder / name, dataset(i))
        write(folder / "sub" / f"{name[:200]}dir" / name, dataset(i, series=2))
    store = index(folder, tmp_path / "index.sqlite")
    assert uids(store).keys() == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    }
    assert store.problems() == []
    assert not update(store, folder).changed


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are Unicode")
def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    fill(folder, 1)
    place = os.fsencode(folder) + b"/d\xe9p\xf4t"
    os.mkdir(place)
    for name in (b"/m\xfcller", b"/\xff\xfe"):
        shutil.copy(folder / "IM000.dcm", place + name)
    with open(place + b"/text\xe9", "w") as file:
        file.write("text")
    (folder / "IM000.dcm").unlink()
    store = index(folder)
    (found,) = uids(store)
    assert os.fsencode(f"{folder}/{found}") == place + b"/m\xfcller"
    assert [os.fsencode(row.path) for row in store.problems()] == [
        b"d\xe9p\xf4t/text\xe9", b"d\xe9p\xf4t/\xff\xfe",
    ]  # fmt: skip
    assert not update(store, folder).changed
    os.unlink(place + b"/m\xfcller")
    update(store, folder)
    assert content(store) == fresh(folder)


def test_a_very_deep_folder(tmp_path: Path) -> None:
    place = tmp_path / "data"
    for _ in range(60):
        place = place / ("d" * 40)
    write(place / "a", dataset())
    assert len(uids(index(tmp_path / "data"))) == 1


# -- links -----------------------------------------------------------------------------------------


def link(path: Path, target: str | Path) -> None:
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("no symbolic links here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill(tmp_path / "data" / "b", 3)
    return tmp_path / "data"


def test_loops_of_links(folder: Path) -> None:
    link(folder / "a", ".")
    link(folder / "b" / "up", "..")
    link(folder / "b" / "self", "self")
    link(folder / "x", "y")
    link(folder / "y", "x")
    store = index(folder)
    assert uids(store).keys() == {f"b/IM00{i}.dcm" for i in range(3)}
    assert {row.path for row in store.problems()} == {"b/self", "x", "y"}
    assert not update(store, folder).changed


def test_links_to_files_and_folders_outside(tmp_path: Path, folder: Path) -> None:
    fill(tmp_path / "outside", 2, series=2)
    link(folder / "linked", tmp_path / "outside")
    link(folder / "again", tmp_path / "outside")
    write(tmp_path / "one", dataset(1, series=3))
    link(folder / "one", tmp_path / "one")
    store = index(folder)
    assert len(uids(store)) == 6  # the second link to one folder is not followed
    assert sum(path.startswith("again/") for path in uids(store)) in (0, 2)
    link(folder / "zzz", "b/IM000.dcm")
    update(store, folder)
    assert [row.path for row in store.problems()] == ["zzz"]
    assert content(store) == fresh(folder)


def test_a_link_to_nowhere(folder: Path) -> None:
    link(folder / "broken", "nowhere")
    store = index(folder)
    assert [row.path for row in store.problems()] == ["broken"]
    assert not update(store, folder).changed
    write(folder / "nowhere", dataset(9))
    update(store, folder)
    assert content(store) == fresh(folder)


# -- what is no file -------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_sockets_do_not_hang(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        since = time.monotonic()
        store = index(folder)
        assert time.monotonic() - since < 10
    assert {row.path for row in store.problems()} == {"pipe", "socket"}
    assert len(uids(store)) == 3


def test_its_own_folder_is_not_scanned(folder: Path) -> None:
    write(folder / FOLDER_NAME / "staged.dcm", dataset(9))
    write(folder / "b" / FOLDER_NAME / "staged.dcm", dataset(8))
    assert len(uids(index(folder))) == 3


def test_an_unreadable_folder_does_not_hide_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder / "secret", 2, series=2)
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    store = index(folder)
    assert len(uids(store)) == 5
    monkeypatch.setattr(os, "scandir", scandir)
    update(store, folder)
    assert len(uids(store)) == 5, "what cannot be looked at is not gone"
    assert "secret" in {row.path for row in store.problems()}
    monkeypatch.undo()
    update(store, folder)
    assert content(store) == fresh(folder)
    monkeypatch.setattr(os, "scandir", lambda path: (_ for _ in ()).throw(PermissionError(13, "")))
    with pytest.raises(PermissionError):
        update(store, folder)


def test_a_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> int:
        if path.endswith("IM001.dcm"):
            raise PermissionError(13, "Permission denied", path)
        return open_for_reading(path)

    monkeypatch.setattr(gather, "open_for_reading", refuse)
    store = index(folder)
    assert [(row.path, row.note) for row in store.problems()] == [
        ("b/IM001.dcm", "cannot be opened: Permission denied")
    ]
    monkeypatch.undo()
    assert update(store, folder).read == 1  # permission may come without a change of the file
    assert content(store) == fresh(folder)


def test_other_files(folder: Path) -> None:
    (folder / "empty").touch()
    (folder / "text").write_text("hello")
    (folder / "Thumbs.db").write_bytes(os.urandom(5000))
    store = index(folder)
    assert {row.path: row.note for row in store.problems()} == {
        "empty": "an empty file",
        "text": "not a DICOM file (no DICM prefix)",
        "Thumbs.db": "not a DICOM file (no DICM prefix)",
    }
    assert not update(store, folder).changed


def test_a_dicomdir_is_named_as_one(tmp_path: Path) -> None:
    make_study(tmp_path / "data")
    made = dataset()
    made.SOPClassUID = "1.2.840.10008.1.3.10"
    write(tmp_path / "data" / "DICOMDIR", made)
    store = index(tmp_path / "data")
    notes = {row.path: row.note or "" for row in store.problems()}
    assert "a DICOMDIR" in notes["DICOMDIR"]


# -- files that change while they are looked at --------------------------------------------------


def test_a_file_that_vanishes_between_listing_and_reading(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(path: str) -> int:
        if path.endswith("IM001.dcm"):
            Path(path).unlink(missing_ok=True)
        return open_for_reading(path)

    monkeypatch.setattr(gather, "open_for_reading", vanish)
    store = index(folder)
    assert len(uids(store)) == 2
    monkeypatch.undo()
    update(store, folder)
    assert content(store) == fresh(folder)
    assert store.problems() == []


def test_a_file_that_grows_while_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = gather.walk

    def walk(fd: int, size: int, *rest: object) -> object:
        header = real(fd, size, *rest)  # type: ignore[arg-type]
        with open(folder / "b" / "IM001.dcm", "ab") as file:
            file.write(b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0" + bytes(4))
        return header

    monkeypatch.setattr(gather, "walk", walk)
    store = index(folder)
    monkeypatch.undo()
    assert update(store, folder).read == 1
    assert content(store) == fresh(folder)


def test_a_folder_that_vanishes_while_it_is_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder / "zz", 2, series=2)
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("zz"):
            shutil.rmtree(path, ignore_errors=True)
        return real(path)

    store = index(folder)
    monkeypatch.setattr(os, "scandir", scandir)
    update(store, folder)
    monkeypatch.undo()
    update(store, folder)
    assert content(store) == fresh(folder)


# -- other systems --------------------------------------------------------------------------------


def test_without_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dbdicom_xr.index import elements, walker

    paths = [write(tmp_path / f"{i}", rich(i)) for i in range(3)]
    for module in (elements, walker):
        monkeypatch.setattr(module, "pread", files._seek_and_read)
    assert differences(paths) == []


def test_reading_at_an_offset_in_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 1000)
    fd = open_for_reading(path)
    errors: list[object] = []

    def check() -> None:
        for read in (pread, files._seek_and_read):
            for offset in range(0, 256_000, 9973):
                if read(fd, 7, offset) != (bytes(range(256)) * 2)[offset % 256 :][:7]:
                    errors.append(offset)

    try:
        threads = [threading.Thread(target=check) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        for read in (pread, files._seek_and_read):
            assert read(fd, 10, 255_998) == b"\xfe\xff"
            assert read(fd, 10, 300_000) == b""
    finally:
        os.close(fd)


def test_a_network_that_gives_less_than_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "pread"):
        pytest.skip("no pread here")
    paths = [write(tmp_path / f"{i}", rich(i)) for i in range(3)]
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: real(fd, min(count, 100), offset))
    assert differences(paths) == []


def test_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert readers._processors() == (os.cpu_count() or 1)


@pytest.mark.slow
def test_a_hundred_thousand_files_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    made = make_many(folder, 2000, shape=(0, 0))
    for copy in range(1, 50):
        for i, path in enumerate(made.files):
            os.link(path, folder / f"copy{copy:02d}_{i:04d}.dcm")
    since = time.monotonic()
    store = index(folder)
    first = time.monotonic() - since
    assert len(uids(store)) == 2000
    assert len(store.problems()) == 98_000
    since = time.monotonic()
    assert not update(store, folder).changed
    again = time.monotonic() - since
    assert first < 60
    assert again < 5
