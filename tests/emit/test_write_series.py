"""Series that are written over: what is shown, staged, saved and restored, step by step."""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pydicom
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import dbdicom_xr as db
from dbdicom_xr.errors import MixedGeometry, NotInDatabase, StaleArray
from dbdicom_xr.testing import make_series, make_study

LONG = bool(os.environ.get("DBDICOM_XR_CRASH"))
SHAPE = (5, 4)  # x, y


@pytest.fixture(autouse=True)
def synchronous() -> Iterator[None]:
    with dask.config.set(scheduler="synchronous"):
        yield


def stack(numbers: list[int]) -> Any:
    """A block per image; no two pixels of an image are the same."""
    ramp = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    values = np.array(numbers)[:, None, None] * 100 + ramp
    return da.from_array(values.astype(np.uint16), chunks=(1, *SHAPE))


def make_folder(root: Path) -> None:
    """Two series of one study, of images 1, 2, 3 and 4, 5."""
    for seed, (name, numbers) in enumerate({"one": [1, 2, 3], "two": [4, 5]}.items()):
        make_series(
            root / name, keys={"SliceLocation": [5.0 * i for i in range(len(numbers))]}, n=1,
            shape=SHAPE, pixels=np.asarray(stack(numbers))[:, None], seed=seed,
            header={
                "SeriesDescription": name, "SeriesInstanceUID": f"1.2.{seed}",
                "StudyInstanceUID": "1.3", "SeriesNumber": seed + 1,
            },
        )  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_folder(tmp_path / "dicom")
    return tmp_path / "dicom"


@pytest.fixture
def database(root: Path) -> Iterator[Any]:
    database = db.database(root)
    yield database
    database.close(save=False)
    assert not left_over(root)


def left_over(root: Path) -> list[Path]:
    inside = root / ".dbdicom_xr"
    return [*inside.glob("writing/*"), *inside.glob("staged/*")]


def called(database: Any, name: str) -> Any:
    (series,) = database.series(SeriesDescription=name)
    return series


def numbers_of(values: Any) -> list[int]:
    """Which images these are; each of them must be whole."""
    frames = np.asarray(values).reshape(-1, *SHAPE)
    found = [int(frame[0, 0]) // 100 for frame in frames]
    np.testing.assert_array_equal(frames, np.asarray(stack(found)))
    return found


def shown(series: Any) -> list[int]:
    instances = sorted(series.instances(), key=lambda i: i.InstanceNumber)
    return [number for i in instances for number in numbers_of(i.array().values)]


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*.dcm")
        if ".dbdicom_xr" not in path.parts
    }


def by_pydicom(root: Path) -> dict[str, list[int]]:
    """The images of each series by its description, as the files have them."""
    found: dict[str, list[tuple[int, int]]] = {}
    uids = []
    for path in files_of(root):
        dataset = pydicom.dcmread(root / path)
        uids.append(dataset.SOPInstanceUID)
        pixels = dataset.pixel_array.T * float(dataset.get("RescaleSlope", 1))
        pixels = pixels + float(dataset.get("RescaleIntercept", 0))
        (number,) = numbers_of(pixels)
        name = str(dataset.SeriesDescription)
        found.setdefault(name, []).append((int(dataset.InstanceNumber), number))
    assert len(set(uids)) == len(uids)
    return {name: [number for _, number in sorted(images)] for name, images in found.items()}


def ten_times(array: Any) -> Any:
    """The images whose numbers are ten times those of an array."""
    ramp = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(np.uint16)
    dims = ("x", "y")
    import xarray as xr

    ramps = xr.DataArray(ramp, dims=dims)
    return (array - ramps) * 10 + ramps


# -- into the series that it reads from ----------------------------------------------------------


@pytest.mark.parametrize("saves", ["", "1", "2", "12"])
def test_written_into_the_series_that_it_reads_from(root: Path, database: Any, saves: str) -> None:
    before = files_of(root)
    one = called(database, "one")
    arrays = {1: one.array("SliceLocation")[0]}
    one.set_array(ten_times(arrays[1]))
    assert shown(one) == [10, 20, 30]
    assert numbers_of(arrays[1].values) == [1, 2, 3]
    assert files_of(root) == before
    if "1" in saves:
        database.save()
    arrays[10] = one.array("SliceLocation")[0]
    assert numbers_of(arrays[10].values) == [10, 20, 30]
    one.set_array(ten_times(arrays[10]))
    assert shown(one) == [100, 200, 300]
    if "2" in saves:
        database.save()
    arrays[100] = one.array("SliceLocation")[0]
    for factor, array in arrays.items():
        try:
            assert numbers_of(array.values) == [factor, 2 * factor, 3 * factor]
        except StaleArray:
            assert (factor == 1 and saves) or (factor == 10 and "2" in saves)
    assert shown(called(database, "two")) == [4, 5]
    database.restore()
    if not saves:
        assert files_of(root) == before
    wanted = {"": 1, "1": 10, "2": 100, "12": 100}[saves]
    assert shown(one) == [wanted, 2 * wanted, 3 * wanted]
    assert database.changes().empty
    assert not left_over(root)
    assert by_pydicom(root)["one"] == [wanted, 2 * wanted, 3 * wanted]


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("rescale", [True, False])
def test_array_of_images_that_are_saved_meanwhile(
    root: Path, database: Any, seen: bool, rescale: bool
) -> None:
    one = called(database, "one")
    one.set_array(stack([7, 8]), "template")
    array = one.array(rescale=rescale)[0]
    if seen:
        assert numbers_of(array.values) == [7, 8]
    database.save()  # their files go to their places
    assert numbers_of(array.values) == [7, 8]
    one.set_array(array * 1)
    assert shown(one) == [7, 8]
    database.save()
    with pytest.raises(StaleArray):
        array.compute()
    assert shown(one) == [7, 8]


def test_one_series_from_another_and_back(root: Path, database: Any) -> None:
    one, two = called(database, "one"), called(database, "two")
    first, second = one.array("SliceLocation")[0], two.array("SliceLocation")[0]
    kept = one.copy_to(one.studies(), SeriesDescription="kept")
    one.set_array(second)
    with pytest.raises(NotInDatabase):  # its images are not there any more
        two.set_array(first)
    assert (shown(one), shown(two)) == ([4, 5], [4, 5])
    two.set_array(first, kept.array("SliceLocation")[1])
    kept.remove()
    assert (shown(one), shown(two)) == ([4, 5], [1, 2, 3])
    database.save()
    assert by_pydicom(root) == {"one": [4, 5], "two": [1, 2, 3]}
    for path in files_of(root):
        dataset = pydicom.dcmread(root / path)
        assert dataset.StudyInstanceUID == "1.3"
        assert dataset.SeriesNumber == (1 if dataset.SeriesDescription == "one" else 2)


# -- added to, written over ----------------------------------------------------------------------


@pytest.mark.parametrize("saved", [True, False])
def test_added_images_are_numbered_on(root: Path, database: Any, saved: bool) -> None:
    one = called(database, "one")
    one.instances()[0].InstanceNumber = 17
    one.set_array(stack([8, 9]), "template", mode="a")
    if saved:
        database.save()
    one.set_array(stack([6]), "template", mode="a")
    assert sorted(i.InstanceNumber for i in one.instances()) == [2, 3, 17, 18, 19, 20]
    assert shown(one) == [2, 3, 1, 8, 9, 6]
    assert len({i.SOPInstanceUID for i in one.instances()}) == 6
    database.save()
    assert by_pydicom(root)["one"] == [2, 3, 1, 8, 9, 6]
    one.set_array(stack([6]), "template")
    assert sorted(i.InstanceNumber for i in one.instances()) == [1]


def test_copy_that_is_written_over(root: Path, database: Any) -> None:
    before = files_of(root)
    one = called(database, "one")
    copy = one.copy_to(one.studies(), SeriesDescription="copy")
    copy.set_array(ten_times(one.array("SliceLocation")[0]), one.array("SliceLocation")[1])
    assert (shown(one), shown(copy)) == ([1, 2, 3], [10, 20, 30])
    copy.set_array(ten_times(copy.array("SliceLocation")[0]))
    again = copy.copy_to(one.studies(), SeriesDescription="again")
    copy.set_array(stack([6]), "template")
    assert (shown(copy), shown(again)) == ([6], [100, 200, 300])
    copy.save()
    assert shown(again) == [100, 200, 300]
    assert by_pydicom(root) == {"one": [1, 2, 3], "two": [4, 5], "copy": [6]}
    database.save()
    assert by_pydicom(root)["again"] == [100, 200, 300]
    assert {path: files_of(root)[path] for path in before} == before
    assert not left_over(root)


def test_copies_of_images_that_are_written_over(root: Path, database: Any) -> None:
    one = called(database, "one")
    copy = one.copy_to(one.studies(), SeriesDescription="copy")
    one.set_array(stack([7]), "template")
    one.save()  # the files that the copy comes from go
    assert (shown(one), shown(copy)) == ([7], [1, 2, 3])
    database.save()
    assert by_pydicom(root) == {"one": [7], "two": [4, 5], "copy": [1, 2, 3]}


def test_edits_of_what_is_written_and_not_saved(root: Path, database: Any) -> None:
    one, two = called(database, "one"), called(database, "two")
    one.SeriesDescription = "renamed"
    one.set_array(stack([7, 8, 9, 6]), "template", ImageComments="said")
    one.instances()[0].ImageComments = "edited"
    one.PatientName = "Müller^Jürgen"
    one.EchoTime = 7.5
    one.instances()[3].remove()
    one.instances()[1].move_to(two)
    one.instances()[1].copy_to(two, ImageComments="copied")
    assert (shown(one), sorted(shown(two))) == ([7, 9], [4, 5, 8, 9])
    one.set_array(stack([1]), "template", mode="a")
    database.save()
    assert {k: sorted(v) for k, v in by_pydicom(root).items()} == {
        "renamed": [1, 7, 9], "two": [4, 5, 8, 9],
    }  # fmt: skip
    assert not left_over(root)
    comments = {}
    for path in files_of(root):
        dataset = pydicom.dcmread(root / path)
        (number,) = numbers_of(dataset.pixel_array.T)
        comments[dataset.SeriesDescription, number] = dataset.get("ImageComments")
        if dataset.SeriesDescription == "renamed":
            assert str(dataset.PatientName) == "Müller^Jürgen"
            assert dataset.get("EchoTime") == (None if number == 1 else 7.5) or number == 1
    assert comments["renamed", 7] == "edited"
    assert comments["renamed", 9] == comments["two", 8] == "said"
    assert comments["two", 9] == "copied"


@pytest.mark.parametrize("how", ["remove", "restore", "restore all", "instances"])
def test_written_and_taken_back(root: Path, database: Any, how: str) -> None:
    before = files_of(root)
    one = called(database, "one")
    one.set_array(stack([7, 8]), "template")
    one.set_array(stack([9]), "template", mode="a")
    one.set_array(stack([6, 6]), "template")
    one.set_array(stack([6]), "template", mode="a")
    assert files_of(root) == before
    if how == "remove":
        one.remove()
        assert len(database.series()) == 1
        database.restore()
    elif how == "instances":
        for instance in one.instances():
            instance.remove()
        database.restore()
    else:
        (one if how == "restore" else database).restore()
    assert shown(called(database, "one")) == [1, 2, 3]
    assert database.changes().empty
    assert files_of(root) == before
    assert not left_over(root)


def test_written_and_removed_then_saved(root: Path, database: Any) -> None:
    one = called(database, "one")
    one.set_array(stack([7, 8]), "template")
    one.remove()
    database.save()
    assert by_pydicom(root) == {"two": [4, 5]}
    assert not left_over(root)


@pytest.mark.parametrize("how", ["move_to", "copy_to"])
def test_what_is_written_goes_elsewhere(root: Path, database: Any, how: str) -> None:
    one = called(database, "one")
    one.set_array(stack([7, 8]), "template")
    study = database.new_patient(PatientID="another", PatientName="A^B").new_study()
    made = getattr(one, how)(study)
    assert shown(made) == [7, 8]
    assert all(i.PatientID == "another" for i in made.instances())
    if how == "copy_to":
        one.restore()
        assert shown(one) == [1, 2, 3]
        assert shown(made) == [7, 8]
    database.save()
    assert not left_over(root)
    fresh = db.database(root)
    (moved,) = fresh.series(PatientID="another")
    assert shown(moved) == [7, 8]
    assert len(fresh.series()) == (2 if how == "move_to" else 3)


def test_objects_that_are_no_images_stay(tmp_path: Path) -> None:
    made = make_study(tmp_path, patients=1, studies=1, series=1, reports=True)
    for path in made.reports:  # into the series of the images
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = made.series[0].datasets[0].SeriesInstanceUID
        dataset.save_as(path)
    database = db.database(tmp_path)
    (series,) = database.series()
    assert len(series.instances()) == 4
    series.set_array(stack([7, 8]), "template")
    assert len(series.instances()) == 3
    database.save()
    kinds = [pydicom.dcmread(tmp_path / path).Modality for path in files_of(tmp_path)]
    assert sorted(kinds) == ["MR", "MR", "SR"]
    database.close()


def test_thousand_images(root: Path, database: Any) -> None:
    one = called(database, "one")
    array = da.random.default_rng(0).normal(size=(1000, 128, 128), chunks=(50, -1, -1))
    began, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with dask.config.set(scheduler="threads"):
        one.set_array(array, "template")
    seconds = time.perf_counter() - began
    assert len(one.instances()) == 1000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    print(f"{seconds:.1f} s, {grown / 1024:.0f} MiB")
    assert seconds < 30
    if sys.platform == "linux":  # in kB there; the array has 131 MB
        assert grown < 120_000


# -- anything in any order -----------------------------------------------------------------------


class Model:
    """A folder and what it should hold: for each series the numbers of its images, in order."""

    def __init__(self, root: Path) -> None:
        make_folder(root)
        self.root = root
        self.database: Any = db.database(root)
        self.saved: dict[str, list[int]] = {"one": [1, 2, 3], "two": [4, 5]}
        self.now = {name: list(numbers) for name, numbers in self.saved.items()}
        self.comments: dict[str, str] = {}
        self.copies = 0
        self.bytes = files_of(root)
        self.arrays: list[tuple[Any, list[int]]] = []

    def step(self, what: str, which: int, numbers: list[int]) -> None:
        names = sorted(self.now)
        if not names:
            what = "restore"
        name = names[which % len(names)] if names else ""
        series = called(self.database, name) if names else None
        if what in ("w", "a"):
            series.set_array(stack(numbers), "template", mode=what)
            self.now[name] = numbers if what == "w" else self.now[name] + numbers
        elif what == "itself":
            series.set_array(series.array("InstanceNumber")[0] * 1, mode="w")
        elif what == "from another":
            source = names[(which + 1) % len(names)]
            array, header = called(self.database, source).array("InstanceNumber")
            known = series.FrameOfReferenceUID
            place = {"FrameOfReferenceUID": known[0]} if known else {}
            series.set_array(array, header, mode="a", **place)
            self.now[name] = self.now[name] + self.now[source]
        elif what == "read":
            array = series.array("InstanceNumber")[0]
            self.arrays.append((array, list(self.now[name])))
        elif what == "edit":
            series.ImageComments = f"comment {numbers}"
        elif what == "copy":
            if len(self.now) < 5:
                self.copies += 1
                made = f"copy {self.copies}"
                series.copy_to(series.studies(), SeriesDescription=made)
                self.now[made] = list(self.now[name])
        elif what == "remove":
            series.remove()
            del self.now[name]
        elif what == "remove one":
            if len(self.now[name]) > 1:
                instances = sorted(series.instances(), key=lambda i: i.InstanceNumber)
                instances[which % len(instances)].remove()
                self.now[name] = [
                    n for i, n in enumerate(self.now[name]) if i != which % len(instances)
                ]
        elif what == "save":
            self.database.save()
            self.saved = {name: list(numbers) for name, numbers in self.now.items()}
        elif what == "restore":
            self.database.restore()
            self.now = {name: list(numbers) for name, numbers in self.saved.items()}
        elif what == "reopen":
            self.database._close()
            self.database = db.database(self.root)
        if what != "save":
            assert files_of(self.root) == self.bytes
        self.bytes = files_of(self.root)
        self.check(what)

    def check(self, what: str) -> None:
        found = {s.SeriesDescription[0]: shown(s) for s in self.database.series()}
        assert found == self.now
        if what == "save":
            assert by_pydicom(self.root) == self.saved
        if what in ("save", "restore"):
            assert not left_over(self.root)
        for array, numbers in self.arrays:
            try:
                values = array.values
            except StaleArray:
                continue
            assert numbers_of(values) == numbers


WHATS = [
    "w", "w", "a", "itself", "from another", "read", "edit", "copy", "remove", "remove one",
    "save", "save", "restore", "reopen",
]  # fmt: skip


# Of a neutral header beside another one: what is read here is what the pixels are.
mixed = pytest.mark.filterwarnings(f"ignore::{MixedGeometry.__module__}.MixedGeometry")


@mixed
@settings(max_examples=40 if LONG else 6, phases=[Phase.explicit, Phase.generate])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(WHATS), st.integers(0, 5),
            st.lists(st.integers(1, 600), min_size=1, max_size=3),
        ),
        min_size=3, max_size=12,
    )
)  # fmt: skip
def test_anything_in_any_order(tmp_path_factory: pytest.TempPathFactory, steps: Any) -> None:
    model = Model(tmp_path_factory.mktemp("model"))
    for what, which, numbers in steps:
        model.step(what, which, numbers)
    model.step("save", 0, [1])
    model.database.close()
    fresh = db.database(model.root)
    assert {s.SeriesDescription[0]: shown(s) for s in fresh.series()} == model.saved
    assert not fresh.problems
    fresh.close()


@mixed
@pytest.mark.parametrize("seed", range(40 if LONG else 3))
def test_long_lives(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    model = Model(tmp_path / "dicom")
    for _ in range(25):
        numbers = [chance.randrange(1, 600) for _ in range(chance.randrange(1, 4))]
        model.step(chance.choice(WHATS), chance.randrange(6), numbers)
    model.database.close(save=False)
    assert files_of(model.root) == model.bytes
