"""The index follows its folder: files that come, change, go, move, and hold the same instance."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dbdicom_xr as db
from dbdicom_xr.index import scan
from dbdicom_xr.index.blocks import Findings
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.gather import gather
from dbdicom_xr.index.store import Store
from dbdicom_xr.index.update import Batch, apply
from dbdicom_xr.testing import make_series
from tests.index.made import content, dataset, fill, fresh, index, uids, update, write
from tests.index.test_values import element


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    fill(place, 6)
    fill(place / "sub", 4, series=2)
    return place


@pytest.fixture
def store(folder: Path) -> Store:
    return index(folder)


def check(store: Store, folder: Path) -> None:
    """The index says what one made from nothing says."""
    assert content(store) == fresh(folder)


def numbers(store: Store) -> dict[str, int]:
    return {row.path: row.id for row in store.files().values()}


def test_rows_stand_by_instance_number_then_uid(tmp_path: Path) -> None:
    for i, (number, uid) in enumerate([(3, "1.9"), (None, "1.1"), (1, "1.8"), (1, "1.7")]):
        write(tmp_path / "d" / f"{i}", dataset(number, uid=uid))
    (series,) = index(tmp_path / "d").series()
    store = Store(tmp_path / "d.sqlite")
    rows = content(store)["/".join(series.key)]["rows"]
    assert rows == ["3", "2", "0", "1"]


def test_nothing_changed_nothing_read(store: Store, folder: Path) -> None:
    before = store.generation()
    outcome = update(store, folder)
    assert not outcome.changed
    assert outcome.read == 0
    assert store.generation() == before


def test_added(store: Store, folder: Path) -> None:
    old = numbers(store)
    write(folder / "AA.dcm", dataset(77))
    write(folder / "new" / "x.dcm", dataset(1, series=3))
    outcome = update(store, folder)
    assert outcome.read == 2
    check(store, folder)
    assert numbers(store).items() >= old.items()
    assert len(store.series()) == 3


def test_changed(store: Store, folder: Path) -> None:
    old = numbers(store)
    write(folder / "IM002.dcm", dataset(3, SeriesDescription="another"))
    assert update(store, folder).read == 1
    check(store, folder)
    new = numbers(store)
    assert new["IM002.dcm"] > max(old.values())  # never one that was used
    assert store.retired_path(old["IM002.dcm"]) == "IM002.dcm"
    assert {p: n for p, n in new.items() if p != "IM002.dcm"} == {
        p: n for p, n in old.items() if p != "IM002.dcm"
    }


def test_changed_time_only(store: Store, folder: Path) -> None:
    os.utime(folder / "IM002.dcm", ns=(1, 1))
    assert update(store, folder).read == 1
    check(store, folder)


def test_other_content_of_the_same_size(store: Store, folder: Path) -> None:
    size = (folder / "IM002.dcm").stat().st_size
    write(folder / "IM002.dcm", dataset(3, PatientName="Noboda"))
    assert (folder / "IM002.dcm").stat().st_size == size
    os.utime(folder / "IM002.dcm", ns=(5, 5))
    update(store, folder)
    check(store, folder)


def test_moved_to_another_series(store: Store, folder: Path) -> None:
    write(folder / "IM002.dcm", dataset(3, series=2, uid="1.2.3.2.77"))
    update(store, folder)
    check(store, folder)


def test_deleted(store: Store, folder: Path) -> None:
    old = numbers(store)
    (folder / "IM003.dcm").unlink()
    outcome = update(store, folder)
    assert (outcome.read, outcome.removed) == (0, 1)
    check(store, folder)
    assert "IM003.dcm" not in numbers(store)
    write(folder / "IM003.dcm", dataset(4))
    update(store, folder)
    assert numbers(store)["IM003.dcm"] > max(old.values())


def test_a_whole_series_deleted(store: Store, folder: Path) -> None:
    shutil.rmtree(folder / "sub")
    update(store, folder)
    check(store, folder)
    assert len(store.series()) == 1


def test_all_deleted(store: Store, folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    update(store, folder)
    assert store.series() == []
    assert store.files() == {}


def test_renamed(store: Store, folder: Path) -> None:
    (folder / "IM003.dcm").rename(folder / "moved.dcm")
    (folder / "sub").rename(folder / "other")
    update(store, folder)
    check(store, folder)


def test_not_dicom_any_more_and_back(store: Store, folder: Path) -> None:
    good = (folder / "IM001.dcm").read_bytes()
    (folder / "IM001.dcm").write_bytes(b"text")
    update(store, folder)
    check(store, folder)
    assert [row.path for row in store.problems()] == ["IM001.dcm"]
    (folder / "IM001.dcm").write_bytes(good)
    update(store, folder)
    check(store, folder)
    assert store.problems() == []


def test_everything_reads_all_and_keeps_numbers(store: Store, folder: Path) -> None:
    before = content(store, numbers=True)
    outcome = update(store, folder, everything=True)
    assert outcome.read == 10
    assert content(store, numbers=True) == before


def test_everything_sees_what_hides_behind_an_old_time(store: Store, folder: Path) -> None:
    path = folder / "IM002.dcm"
    status = path.stat()
    write(path, dataset(3, PatientName="Noboda"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert update(store, folder).read == 0
    update(store, folder, everything=True)
    check(store, folder)


# -- one instance in several files ---------------------------------------------------------------


def test_the_first_path_counts(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("c", "a", "b"):
        write(folder / name, dataset(1, PatientComments=name))
    store = index(folder)
    assert uids(store) == {"a": "1.2.3.1.1"}
    assert [(row.path, row.note) for row in store.problems()] == [
        ("b", "passed over: it has the SOPInstanceUID of a"),
        ("c", "passed over: it has the SOPInstanceUID of a"),
    ]


@pytest.mark.parametrize("order", [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
def test_in_whichever_order_they_appear(tmp_path: Path, order: tuple[str, ...]) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    store = index(folder)
    for name in order:
        write(folder / name, dataset(1, PatientComments=name))
        update(store, folder)
    assert uids(store) == {"a": "1.2.3.1.1"}
    check(store, folder)
    assert len(store.problems()) == 2


def test_the_winner_goes_and_the_next_comes_in(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("a", "b", "c"):
        write(folder / name, dataset(1, PatientComments=name))
    fill(folder, 3, series=2)
    store = index(folder)
    for gone, winner in (("a", "b"), ("b", "c")):
        (folder / gone).unlink()
        update(store, folder)
        assert {path for path, uid in uids(store).items() if uid == "1.2.3.1.1"} == {winner}
        check(store, folder)


def test_the_winner_changes_its_uid_and_the_next_comes_in(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("a", "b"):
        write(folder / name, dataset(1))
    store = index(folder)
    write(folder / "a", dataset(1, uid="1.2.99"))
    update(store, folder)
    assert uids(store) == {"a": "1.2.99", "b": "1.2.3.1.1"}
    check(store, folder)


def test_the_next_comes_in_also_when_interrupted_in_between(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("a", "b"):
        write(folder / name, dataset(1))
    store = index(folder)
    (folder / "a").unlink()
    gone = [row for row in store.files().values() if row.path == "a"]
    assert apply(store, [], gone) == ["b"]
    # Here the program ends, before it read b.
    store.close()
    update(store, folder)
    assert uids(store) == {"b": "1.2.3.1.1"}
    check(store, folder)


def rewritten(folder: Path, text: str, names: list[str], first: int = 0) -> None:
    for name in names:
        write(folder / name, dataset(int(name), uid=f"1.2.{name}", ImageComments=text))
        os.utime(folder / name, ns=(first, first))


@pytest.mark.parametrize("everything", [False, True])
def test_what_another_process_has_indexed_meanwhile_stays(
    everything: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow scan has read files which another process then changes and puts into the index."""
    folder, names = tmp_path / "data", [str(number) for number in range(6)]
    rewritten(folder, "first", names)
    store, other = index(folder), Store(tmp_path / "data.sqlite")
    rewritten(folder, "second", names, 10)
    real = scan.batches

    def slow(root: str, paths: list[str]) -> Iterator[Batch]:
        read = list(real(root, paths))
        monkeypatch.setattr(scan, "batches", real)
        rewritten(folder, "third", names[1:4], 20)
        (folder / "0").unlink()
        update(other, folder)
        (folder / "4").unlink()
        yield from read

    monkeypatch.setattr(scan, "batches", slow)
    scan.refresh(store, str(folder), everything=everything)
    (series,) = store.series()
    column = store.column(series.id, Key(0x00204000))
    assert column is not None
    said = dict(
        zip(uids(store), [column.value(row) for row in range(series.instances)], strict=True)
    )
    assert {name: said[name] for name in ("1", "2", "3", "5")} == {
        "1": "third", "2": "third", "3": "third", "5": "second"
    }  # fmt: skip
    update(store, folder)
    check(store, folder)


def test_a_file_that_is_indexed_again_meanwhile_does_not_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan has missed a file, which another process has put back and indexed since."""
    folder, names = tmp_path / "data", [str(number) for number in range(3)]
    rewritten(folder, "first", names)
    store, other = index(folder), Store(tmp_path / "data.sqlite")
    real = scan._listing

    def missing(root: str) -> tuple[dict[str, tuple[int, int]], list[str]]:
        found, unreadable = real(root)
        del found["1"]
        monkeypatch.setattr(scan, "_listing", real)
        rewritten(folder, "second", names, 10)
        update(other, folder)
        return found, unreadable

    monkeypatch.setattr(scan, "_listing", missing)
    scan.refresh(store, str(folder))
    check(store, folder)


def test_twins_in_different_series(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write(folder / "a", dataset(1, series=1, uid="1.5"))
    write(folder / "b", dataset(1, series=2, uid="1.5"))
    store = index(folder)
    assert uids(store) == {"a": "1.5"}
    (folder / "a").unlink()
    update(store, folder)
    assert uids(store) == {"b": "1.5"}
    check(store, folder)


def test_many_twins(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    fill(folder / "b", 300)
    store = index(folder)
    shutil.copytree(folder / "b", folder / "a")
    update(store, folder)
    assert {path[0] for path in uids(store)} == {"a"}
    assert len(store.problems()) == 300
    check(store, folder)
    shutil.rmtree(folder / "a")
    update(store, folder)
    assert {path[0] for path in uids(store)} == {"b"}
    assert store.problems() == []
    check(store, folder)


def test_a_uid_written_in_odd_ways_is_one_uid(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    raw = write(folder / "a", dataset(1, uid="1.2.3.4567")).read_bytes()
    usual = element(0x00080018, "UI", b"1.2.3.4567")
    assert raw.count(usual) == 1
    for name, odd in {
        "b": element(0x00080018, "UN", b"1.2.3.4567"),
        "c": element(0x00080018, "UI", b"1.2.3.4567  "),
        "d": element(0x00080018, "UI", b"1.2.3.4567\0\0"),
    }.items():
        (folder / name).write_bytes(raw.replace(usual, odd))
    (folder / "e").write_bytes(raw.replace(usual, element(0x00080018, "UI", b"1.2.3.4568")))
    store = index(folder)
    assert uids(store) == {"a": "1.2.3.4567", "e": "1.2.3.4568"}
    assert [row.path for row in store.problems()] == ["b", "c", "d"]


def test_without_a_uid_each_file_is_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("b", "a"):
        made = dataset(1)
        write(folder / name, made)
        raw = (folder / name).read_bytes()
        at = raw.index(b"\x08\x00\x18\x00UI")
        length = int.from_bytes(raw[at + 6 : at + 8], "little")
        (folder / name).write_bytes(raw[:at] + raw[at + 8 + length :])
    store = index(folder)
    (series,) = store.series()
    assert series.instances == 2
    (folder / "a").unlink()
    update(store, folder)
    check(store, folder)
    assert store.series()[0].instances == 1


# -- names and order do not matter -----------------------------------------------------------------


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(8)), st.permutations(range(8)), st.integers(1, 8))
def test_names_and_order_of_reading_change_nothing(
    tmp_path: Path, names: list[int], order: list[int], size: int
) -> None:
    folder = tmp_path / "data"
    if not folder.exists():
        for i in range(8):
            write(folder / f"{i}", dataset(i % 5, series=1 + i % 2, EchoTime=i % 3, uid=f"1.4.{i}"))
    renamed = tmp_path / "renamed"
    shutil.rmtree(renamed, ignore_errors=True)
    renamed.mkdir()
    for i, name in enumerate(names):
        os.link(folder / f"{i}", renamed / f"{name}")

    def without_names(of: Store) -> dict[str, object]:
        found = content(of)
        return {
            key: {part: value for part, value in series.items() if part != "rows"}
            for key, series in found.items()
            if key not in ("files", "problems")
        }

    straight = index(folder, tmp_path / "straight.sqlite")
    shuffled = Store(tmp_path / "shuffled.sqlite")
    for start in range(0, 8, size):
        paths = [f"{i}" for i in order[start : start + size]]
        apply(shuffled, [Batch(paths, gather([f"{renamed}/{path}" for path in paths]))])
    try:
        assert without_names(shuffled) == without_names(straight)
    finally:
        shuffled.discard()


def test_a_path_that_comes_twice_counts_as_read_last(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write(folder / "a", dataset(1))
    first = Batch(["a"], gather([f"{folder}/a"]))
    write(folder / "a", dataset(2))
    second = Batch(["a"], gather([f"{folder}/a"]))
    store = Store(tmp_path / "i.sqlite")
    apply(store, [first, second])
    assert uids(store) == {"a": "1.2.3.1.2"}
    check(store, folder)


def test_nothing_to_apply(tmp_path: Path) -> None:
    store = Store(tmp_path / "i.sqlite")
    assert apply(store, []) == []
    assert apply(store, [Batch([], Findings())]) == []
    assert store.series() == []


def test_a_sound_file_counts_before_a_damaged_one(tmp_path: Path) -> None:
    made = make_series(tmp_path / "dicom", keys={"SliceLocation": [0.0]}, shape=(8, 6))
    sound = Path(made.files[0])
    (sound.parent / "0_first_by_path.dcm").write_bytes(sound.read_bytes()[:-20])
    database = db.database(made.folder)
    assert [instance.file for instance in database.instances()] == [str(sound)]
    assert [problem.kept for problem in database.problems] == [False]
    sound.unlink()
    assert len(db.database(made.folder).instances()) == 1, "better than nothing"
    sound.write_bytes((sound.parent / "0_first_by_path.dcm").read_bytes() + bytes(20))
    assert [instance.file for instance in db.database(made.folder).instances()] == [str(sound)]


def test_the_index_is_no_file_of_the_folder(tmp_path: Path) -> None:
    made = make_series(tmp_path / "dicom", keys={"SliceLocation": [0.0]}, shape=(8, 6))
    database = db.database(made.folder, index=Path(made.folder) / "my_index.sqlite")
    assert database.problems == []
    assert db.database(made.folder, index=Path(made.folder) / "my_index.sqlite").problems == []


@pytest.mark.parametrize("seconds", [10**10, -(10**10), -5])
def test_times_that_no_clock_shows(tmp_path: Path, seconds: int) -> None:
    first, _ = fill(tmp_path / "d", 2)
    made = make_series(tmp_path / "d" / "images", keys={"SliceLocation": [0, 1]})
    for path in (first, *made.files):
        os.utime(path, (seconds, seconds))
    (tmp_path / "d" / "notes.txt").write_text("x")
    os.utime(tmp_path / "d" / "notes.txt", (seconds, seconds))
    store = index(tmp_path / "d")
    assert len(store.problems()) == 1
    assert update(store, tmp_path / "d").read == 0
    data = db.database(tmp_path / "d")
    assert data.series(SeriesDescription="series 1")[0].instances()[0].dataset().InstanceNumber == 1
    (images,) = data.series(SeriesInstanceUID=made.datasets[0].SeriesInstanceUID)
    assert images.array()[0].compute().size == 2 * made.datasets[0].pixel_array.size
    os.utime(first, (0, 0))
    assert update(store, tmp_path / "d").read == 1
