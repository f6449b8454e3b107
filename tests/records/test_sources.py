"""Which frames each image of an array was made from, and what these say alike."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

import dbdicom_xr as db
from dbdicom_xr.errors import AlignedByOrder, DbdicomError, GridError, InvalidValue, NotInDatabase
from dbdicom_xr.index.columns import Key
from dbdicom_xr.index.elements import External
from dbdicom_xr.index.store import FRAME, INSTANCE
from dbdicom_xr.index.values import Kind
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.reading.explicit import explicit
from dbdicom_xr.records.reading.sources import Sources, sources_of
from dbdicom_xr.testing import Geometry, make_enhanced, make_series
from tests.data import testdata_folder

SLICES, ANGLES = [0.0, 5.0, 10.0], [2.0, 10.0, 20.0, 30.0]
KEYS = {"SliceLocation": SLICES, "FlipAngle": ANGLES}
DIMS = list(KEYS)


def series_of(folder: Path) -> Any:
    (series,) = db.database(folder).series()
    return series


@pytest.fixture(scope="module", params=["classic", "enhanced"])
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A series of 3 slices, 4 flip angles and 2 images of each."""
    folder = tmp_path_factory.mktemp("made")
    if request.param == "classic":
        return make_series(folder, keys=KEYS, n=2, shape=(4, 3), shuffle=1)
    geometry = Geometry(origin=(-20, -30, 0))  # SliceLocation is worked out from it
    return make_enhanced(folder, keys=KEYS, n=2, shape=(4, 3), geometry=geometry)


@pytest.fixture(scope="module")
def grid(made: Any) -> Any:
    return series_of(made.folder).array(DIMS)


def names(sources: Sources) -> list[list[tuple[str, int]]]:
    """Return for each cell the frames as (UID, number)."""
    frames = [
        (table.uids[table.instance_of[row]], int(table.frame_numbers[row]))
        for table, row in (
            (sources.tables[number], row)
            for number, row in zip(sources.table_of, sources.rows, strict=True)
        )
    ]
    starts = sources.starts.tolist()
    return [frames[a:b] for a, b in pairwise(starts)]


def truth(made: Any, *chosen: Any) -> list[list[tuple[str, int]]]:
    """Return the frames at index tuples of the grid, given cell by cell."""
    return [
        [(made.uids[index], int(made.frame_numbers[index])) for index in cell] for cell in chosen
    ]


def check(sources: Sources, wanted: list[list[tuple[str, int]]]) -> None:
    assert [sorted(cell) for cell in names(sources)] == [sorted(cell) for cell in wanted]
    assert len(sources) == len(wanted) == int(np.prod(sources.shape))


# -- what an array tells -------------------------------------------------------------------------

EVERY = list(np.ndindex(3, 4, 2))
CASES: dict[str, Any] = {
    # the array made from that of the grid, and for each image the frames behind it
    "as read": (lambda a: a, [[i] for i in EVERY]),
    "arithmetic": (lambda a: (a * 2.0 - a) / 3, [[i] for i in EVERY]),
    "part": (lambda a: a.isel(SliceLocation=[2, 0], n=1), [[(s, f, 1)] for s in (2, 0)
                                                            for f in range(4)]),
    "one image": (lambda a: a.isel(SliceLocation=1, FlipAngle=2, n=0), [[(1, 2, 0)]]),
    "transposed": (lambda a: a.transpose("x", "n", "FlipAngle", "y", "SliceLocation"),
                   [[(s, f, n)] for n in range(2) for f in range(4) for s in range(3)]),
    "mean of angles": (lambda a: a.isel(n=[1]).mean("FlipAngle"),
                       [[(s, f, n) for f in range(4) for n in range(2)] for s in range(3)]),
    "mean of all": (lambda a: a.mean(["SliceLocation", "FlipAngle", "n"]), [EVERY]),
    "mean of averages": (lambda a: a.mean("n"), [[(s, f, 0), (s, f, 1)] for s in range(3)
                                                 for f in range(4)]),
    "projection": (lambda a: a.max(["SliceLocation", "n"]),
                   [[(s, f, n) for s in range(3) for n in range(2)] for f in range(4)]),
    "of a selection": (lambda a: a.sel(SliceLocation=5, FlipAngle=[10, 20]).mean("n"),
                       [[(1, f, 0), (1, f, 1)] for f in (1, 2)]),
    "of a reversed one": (lambda a: a[::-1, 1:3].mean("n"),
                          [[(s, f, 0), (s, f, 1)] for s in (2, 1, 0) for f in (1, 2)]),
    "one angle": (lambda a: a.isel(FlipAngle=3).mean("n"), [[(s, 3, 0), (s, 3, 1)]
                                                            for s in range(3)]),
    "group": (lambda a: a.mean("n").groupby("FlipAngle").mean(),
              [[(s, f, 0), (s, f, 1)] for s in range(3) for f in range(4)]),
    "stacked": (lambda a: a.stack(image=("FlipAngle", "SliceLocation")).mean("n"),
                [[(s, f, 0), (s, f, 1)] for f in range(4) for s in range(3)]),
    "new dimension": (lambda a: a.expand_dims(parameter=2), [[i] for _ in range(2) for i in EVERY]),
    "fit": (
        lambda a: xr.apply_ufunc(
            lambda v: v[..., :2], a.mean("n").compute(), input_core_dims=[["FlipAngle"]],
            output_core_dims=[["parameter"]],
        ),
        [[(s, f, n) for f in range(4) for n in range(2)] for s in range(3) for _ in range(2)],
    ),
    "side by side": (
        lambda a: xr.concat([a.isel(FlipAngle=3), a.isel(FlipAngle=0)], "which"),
        [[(s, f, n)] for f in (3, 0) for s in range(3) for n in range(2)],
    ),
    "side by side, reduced": (
        lambda a: xr.concat([a.isel(FlipAngle=3), a.isel(FlipAngle=0)], "which").mean("n"),
        [[(s, f, 0), (s, f, 1)] for f in (3, 0) for s in range(3)],
    ),
    "averages side by side": (
        lambda a: xr.concat([a.isel(n=1), a.isel(n=0)], "repetition"),
        [[(s, f, n)] for n in (1, 0) for s in range(3) for f in range(4)],
    ),
    "joined": (lambda a: xr.concat([a[:, 2:], a[:, :2]], "FlipAngle"),
               [[(s, f, n)] for s in range(3) for f in (2, 3, 0, 1) for n in range(2)]),
    "brightest": (
        lambda a: a.isel(FlipAngle=xr.DataArray([[[0, 3, 0]] * 4] * 3,
                                                dims=("SliceLocation", "x", "y"))),
        [[(s, 0, n), (s, 3, n)] for s in range(3) for n in range(2)],
    ),
    "gaps": (lambda a: a.reindex(SliceLocation=[0.0, 7.0]).isel(n=0),
             [[(0, f, 0)] for f in range(4)] + [[] for _ in range(4)]),
    "no pixels": (lambda a: a.mean(["x", "y"]), [[i] for i in EVERY]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_array_tells_its_frames(made: Any, grid: Any, name: str) -> None:
    change, wanted = CASES[name]
    array = change(grid[0])
    sources = sources_of(array, None)
    assert sources.dims == tuple(d for d in array.dims if d not in ("x", "y"))
    assert sources.shape == tuple(array.sizes[dim] for dim in sources.dims)
    check(sources, truth(made, *wanted))


OPEN: dict[str, Any] = {
    "one of several": (lambda a: a.mean("FlipAngle"), GridError, "along n"),
    "no labels": (lambda a: a.drop_vars("FlipAngle").mean("n"), GridError, "along FlipAngle"),
    "bins": (lambda a: a.groupby_bins("FlipAngle", [0, 15, 40]).mean().mean("n"), GridError, "bin"),
    "other labels": (
        lambda a: a.mean("n").assign_coords(FlipAngle=[1, 2, 3, 4]), GridError, "FlipAngle 1",
    ),
    "between": (lambda a: a.compute().interp(SliceLocation=[1.0]), NotInDatabase, "between"),
    "between, reduced": (
        lambda a: a.mean("n").compute().interp(SliceLocation=[1.0]), NotInDatabase, "between",
    ),
    "a coarser grid": (
        lambda a: a.mean("n").coarsen(FlipAngle=2).mean(), GridError, "FlipAngle 6",
    ),
    "no attributes": (lambda a: a.drop_attrs(), NotInDatabase, "database"),
    "nothing": (lambda a: a.mean("n").drop_attrs(), NotInDatabase, "header="),
    # xarray drops the series there, as it does where several are put together.
    "quantiles": (
        lambda a: a.mean("n").compute().quantile(0.9, "FlipAngle"), NotInDatabase, "header=",
    ),
    "only gaps": (lambda a: a.reindex(SliceLocation=[7.0]), NotInDatabase, "only gaps"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
def test_it_never_guesses(grid: Any, name: str) -> None:
    change, error, words = OPEN[name]
    with pytest.raises(error, match=words):
        sources_of(change(grid[0]), None)
    if name not in ("no attributes", "only gaps"):
        with pytest.raises(error, match="header="):
            sources_of(change(grid[0]).mean(["x", "y"]), None)


def test_gaps_of_the_grid_stay_gaps(tmp_path: Path) -> None:
    made = make_series(tmp_path, keys=KEYS, shape=(2, 2), drop=[(1, 3, 0)])
    array = series_of(tmp_path).array(DIMS)[0].mean("n")
    wanted = [[] if (s, f) == (1, 3) else [(s, f, 0)] for s in range(3) for f in range(4)]
    check(sources_of(array), truth(made, *wanted))
    check(sources_of(array.isel(SliceLocation=1)), truth(made, *wanted[4:8]))
    assert sources_of(array).common(Key(0x00181314)).codes.tolist() == [
        0, 1, 2, 3, 0, 1, 2, -1, 0, 1, 2, 3,
    ]  # fmt: skip


def test_arrays_aligned_by_order(tmp_path: Path) -> None:
    times = 3600 + np.arange(6).reshape(3, 2, 1) * 1.5
    keys = {"SliceLocation": SLICES, "AcquisitionTime": [0.0, 1.0]}
    made = make_series(tmp_path, keys=keys, n=2, per_frame={"AcquisitionTime": times}, shuffle=3)
    with pytest.warns(AlignedByOrder):
        array, _ = series_of(tmp_path).array(list(keys))
    wanted = [[(s, t, 0), (s, t, 1)] for s in range(3) for t in range(2)]
    check(sources_of(array.mean("n")), truth(made, *wanted))
    check(sources_of(array.mean("n").isel(AcquisitionTime=1)), truth(made, *wanted[1::2]))
    check(
        sources_of(array.mean(["n", "AcquisitionTime"])),
        truth(made, *[[(s, t, n) for t in range(2) for n in range(2)] for s in range(3)]),
    )


def test_jitter_is_one_label(tmp_path: Path) -> None:
    made = make_series(
        tmp_path, keys=KEYS, n=2, shape=(2, 2), jitter={"SliceLocation": 4e-4, "FlipAngle": 4e-4}
    )
    array = series_of(tmp_path).array(DIMS)[0].mean("n")
    wanted = [[(s, f, 0), (s, f, 1)] for s in range(3) for f in range(4)]
    check(sources_of(array), truth(made, *wanted))


def test_labels_closer_than_what_is_one_value(tmp_path: Path) -> None:
    near = {"SliceLocation": [0.0, 5e-4, 1.1e-3], "FlipAngle": [10.0, 10.0004]}
    made = make_series(tmp_path, keys=near, n=2, shape=(2, 2), shuffle=2)
    array, _ = series_of(tmp_path).array(list(near), tolerance=0)
    wanted = [[(s, f, 0), (s, f, 1)] for s in range(3) for f in range(2)]
    check(sources_of(array.mean("n")), truth(made, *wanted))


@settings(max_examples=40)
@given(st.data())
def test_any_reduction_of_any_selection(grid: Any, data: st.DataObject) -> None:
    """Every image is made from those frames of its labels, and from no other."""
    array, header = grid
    chosen = {
        dim: data.draw(st.lists(st.sampled_from(range(size)), min_size=1, unique=True), label=dim)
        for dim, size in zip(DIMS, (3, 4), strict=True)
    }
    reduced = data.draw(st.sets(st.sampled_from(DIMS)).map(lambda dims: [*sorted(dims), "n"]))
    result = array.isel(chosen).mean(reduced)
    found = sources_of(result, None)
    place = parse_name("SliceLocation"), parse_name("FlipAngle")
    every = {(frame.SliceLocation, frame.FlipAngle): None for frame in header.ravel().tolist()}
    for cell, index in enumerate(np.ndindex(*found.shape)):
        labels = {
            dim: float(result[dim].values[i]) for dim, i in zip(found.dims, index, strict=True)
        }
        frames = found.frames()[found.starts[cell] : found.starts[cell + 1]]
        seen = {(frame._value(place[0]), frame._value(place[1])) for frame in frames}
        assert seen == {
            (s, f) for s, f in every
            if labels.get("SliceLocation", s) == s and labels.get("FlipAngle", f) == f
        }  # fmt: skip
        assert len(frames) == 2 * len(seen) == 2 * len(set(frames)) / 2


# -- several series --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("two")
    made = [make_series(folder / str(seed), seed=seed, shape=(3, 2)) for seed in (1, 2)]
    series = db.database(folder).series()
    arrays = {s.SOPInstanceUID[0]: s.array("SliceLocation") for s in series}
    return [(one, next(v for k, v in arrays.items() if k in one.uids)) for one in made]


def test_series_side_by_side(two: Any) -> None:
    (first, (a, h)), (other, (b, _)) = two
    both = xr.concat([a, b], "visit")
    wanted = truth(first, *[[i] for i in np.ndindex(3, 1)])
    wanted += truth(other, *[[i] for i in np.ndindex(3, 1)])
    found = sources_of(both)
    check(found, wanted)
    assert len(found.tables) == 2
    check(sources_of(both, h), wanted[:3] * 2)
    header = both.dicom.header
    assert [one.SOPInstanceUID for one in header.ravel()] == [cell[0][0] for cell in wanted]


def test_two_series_added_ask_for_a_header(two: Any) -> None:
    (first, (a, h)), (_, (b, _)) = two
    for array in (a + b, (a + b).mean("SliceLocation"), a.drop_vars("frame") - b):
        with pytest.raises(NotInDatabase, match="header="):
            sources_of(array)
        with pytest.raises(NotInDatabase, match="header="):
            _ = array.dicom.header
    check(sources_of(a + b, h), truth(first, *[[i] for i in np.ndindex(3, 1)]))


def test_two_series_side_by_side_and_reduced_ask_for_a_header(two: Any) -> None:
    (first, (a, h)), (_, (b, _)) = two
    both = xr.concat([a, b], "visit")
    of_means = xr.concat([a.mean("SliceLocation"), b.mean("SliceLocation")], "visit")
    for array in (
        both.mean("visit"),
        both.mean(["visit", "SliceLocation"]),
        of_means.mean("visit"),
    ):
        assert array.attrs["SeriesInstanceUID"]  # of one of them
        with pytest.raises(NotInDatabase, match="several series"):
            sources_of(array)
    with pytest.raises(NotInDatabase, match="header="):
        sources_of(of_means)
    check(sources_of(both.mean("visit"), h), truth(first, *[[i] for i in np.ndindex(3, 1)]))


# -- what a header tells ---------------------------------------------------------------------------


def plain(*dims: str, **sizes: int) -> xr.DataArray:
    """Return an array that knows nothing."""
    shape = {**dict.fromkeys(dims, 0), **sizes, "x": 4, "y": 3}
    return xr.DataArray(np.zeros(list(shape.values())), dims=list(shape))


def test_a_header_is_matched_by_name(made: Any, grid: Any) -> None:
    header = grid[1]
    same = plain(n=2, FlipAngle=4, SliceLocation=3)
    wanted = [[(s, f, n)] for n in range(2) for f in range(4) for s in range(3)]
    check(sources_of(same, header), truth(made, *wanted))
    reduced = plain(SliceLocation=3)
    wanted = [[(s, f, n) for f in range(4) for n in range(2)] for s in range(3)]
    check(sources_of(reduced, header), truth(made, *wanted))
    fit = plain(SliceLocation=3, parameter=2)
    check(sources_of(fit, header.isel(n=0)), truth(made, *[
        [(s, f, 0) for f in range(4)] for s in range(3) for _ in range(2)]))  # fmt: skip
    check(sources_of(plain(), header.isel(n=0, FlipAngle=1)), truth(made, [
        (s, 1, 0) for s in range(3)]))  # fmt: skip


def test_a_label_selects_from_the_header(made: Any, grid: Any) -> None:
    array, header = grid
    one = array.isel(FlipAngle=2).mean("n").drop_attrs()
    check(sources_of(one, header), truth(made, *[[(s, 2, 0), (s, 2, 1)] for s in range(3)]))
    with pytest.raises(InvalidValue, match="labelled FlipAngle 7"):
        sources_of(one.assign_coords(FlipAngle=7), header)


def test_headers_by_position(made: Any, grid: Any) -> None:
    header = grid[1]
    three = header[:, 1, 0]
    wanted = truth(made, *[[(s, 1, 0)] for s in (2, 0, 1)])
    array = plain(SliceLocation=3, n=1)
    fancy = three[[2, 0, 1]]
    assert fancy.dims is None
    check(sources_of(plain(SliceLocation=3), fancy), wanted)
    for given_ in (fancy.tolist(), np.array(fancy.tolist(), object), fancy):
        check(sources_of(array, given_), wanted)
    check(sources_of(array, [three[2], None, three[1]]), [wanted[0], [], wanted[2]])
    check(sources_of(array, [[one] for one in fancy.tolist()]), wanted)
    check(sources_of(array, three[2]), [wanted[0]] * 3)
    check(sources_of(plain(), [three[2]]), [wanted[0]])
    common = grid[0].isel(FlipAngle=1).mean("n").dicom.header
    check(sources_of(array, common), truth(made, *[[(s, 1, 0), (s, 1, 1)] for s in range(3)]))
    check(sources_of(plain(), common[0]), truth(made, [(0, 1, 0), (0, 1, 1)]))
    check(sources_of(plain(), common), truth(made, [(s, 1, n) for s in range(3) for n in range(2)]))


def test_a_series_as_header(tmp_path: Path) -> None:
    made = make_series(tmp_path, shape=(2, 2), shuffle=5)
    series = series_of(tmp_path)
    array, header = series.array("SliceLocation")
    wanted = truth(made, *[[(s, 0)] for s in range(3)])
    check(sources_of(array.drop_vars(["SOPInstanceUID", "frame"]), series), wanted)
    check(sources_of(plain(n=3), series), wanted)
    assert [one.InstanceNumber for one in header.ravel()] == [1, 2, 3]
    with pytest.raises(InvalidValue, match="another order"):
        sources_of(array[::-1], series)
    with pytest.raises(InvalidValue, match="3 images, and the array 2"):
        sources_of(plain(n=2), series)


def test_frames_of_one_object(tmp_path: Path) -> None:
    made = make_enhanced(tmp_path, keys={"SliceLocation": SLICES}, shape=(2, 2))
    (instance,) = series_of(tmp_path).instances()
    wanted = truth(made, *[[(s, 0)] for s in range(3)])
    check(sources_of(instance.array()), wanted)
    check(sources_of(plain(frame=3), instance), wanted)
    check(sources_of(plain(n=2), instance), [list(chain(*wanted))] * 2)
    array = instance.array()
    pair = xr.concat([array.isel(frame=0), array.isel(frame=2)], "which")
    check(sources_of(pair), [wanted[0], wanted[2]])


WRONG: dict[str, Any] = {
    "size": (lambda a, h: (a[:2], h), "3 frames along SliceLocation, and the array 2"),
    "labels": (lambda a, h: (a[:2], h[1:]), "other labels along SliceLocation: 0.0 and 5.0"),
    "scalar": (lambda a, h: (a[:, 0], h[:, 1]), "other labels along FlipAngle: 2.0 and 10.0"),
    "position": (lambda a, h: (a, h[[1, 0]]), "isel or sel"),
    "count": (lambda a, h: (a[0, 0], h.ravel().tolist()), "isel or sel"),
    "flat": (lambda a, h: (a, h.ravel().tolist()), "isel or sel"),
    "no names": (lambda a, h: (plain(dim_0=3), h), "dim_0 of the array has no name"),
    "only gaps": (lambda a, h: (plain(n=2), [None, None]), "only gaps"),
    "uneven": (lambda a, h: (a, [[h[0, 0, 0]], []]), "is no header"),
    "number": (lambda a, h: (a, 3), "3 is no header"),
    "data set": (lambda a, h: (a, h[0, 0, 0].dataset()), "of type FileDataset is no header"),
    "columns": (lambda a, h: (a, h.to_xarray("FlipAngle")), "of type Dataset is no header"),
    "array": (lambda a, h: (a, a), r"DataArray is no header\. .*array\.dicom\.header"),
    "numbers": (lambda a, h: (a, a.values), "of type ndarray is no header"),
    "text": (lambda a, h: (a, ["header"]), "'header' is no header"),
    "study": (lambda a, h: (a, h[0, 0, 0].series().parent), "is no header"),
}


@pytest.mark.parametrize("name", WRONG)
def test_headers_that_do_not_fit(grid: Any, name: str) -> None:
    choose, words = WRONG[name]
    with pytest.raises(InvalidValue, match=words):
        sources_of(*choose(*grid))


def test_labels_within_what_is_one_value(grid: Any) -> None:
    array, header = grid
    near = array.assign_coords(SliceLocation=array.SliceLocation + 9e-4)
    assert len(sources_of(near, header)) == 24
    with pytest.raises(InvalidValue, match="SliceLocation"):
        sources_of(array.assign_coords(SliceLocation=array.SliceLocation + 2e-3), header)


# -- what they say ---------------------------------------------------------------------------------


def said(table: Any, key: Key, row: int) -> Any:
    """Return what one frame says, the slow way: (value,), or None where it lacks the element."""
    for scope, at in ((FRAME, row), (INSTANCE, int(table.instance_of[row]))):
        column = table.column(key, scope)
        if column is not None and column.code(at) >= 0:
            return (column.decoded()[column.code(at)],)
    return None


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Items) or isinstance(other, Items):
        return type(one) is type(other) and str(one) == str(other)
    return bool(one == other) and type(one) is type(other)


def check_columns(sources: Sources) -> tuple[int, int]:
    """Compare common and first values with those found one by one; return how many there are."""
    agreed = differed = 0
    every = sources.keys()
    for key in every:
        common, first = sources.common(key), sources.first(key)
        for cell in range(len(sources)):
            places = range(sources.starts[cell], sources.starts[cell + 1])
            found = [said(sources.tables[sources.table_of[i]], key, int(sources.rows[i]))
                     for i in places]  # fmt: skip
            if any(value and isinstance(value[0], External) for value in found):
                continue
            present = [value[0] for value in found if value is not None]
            alike = len(present) == len(found) > 0 and all(
                v == present[0] or same(v, present[0]) for v in present
            )
            if present and isinstance(present[0], Items) and len(found) > 1:
                continue  # compared by their bytes
            assert (common is not None and common.code(cell) >= 0) == alike, str(key)
            assert (first is not None and first.code(cell) >= 0) == bool(present), str(key)
            if alike:
                assert same(common.value(cell), present[0]), str(key)  # type: ignore[union-attr]
            if present:
                assert same(first.value(cell), present[0]), str(key)  # type: ignore[union-attr]
            agreed, differed = agreed + alike, differed + (not alike)
        for column in (common, first):
            if column is not None:
                assert column.rows == len(sources)
                for kind in column.kinds:
                    assert kind == Kind(kind.vr, charset=kind.charset)
                    assert kind.vr
                    assert kind.charset in (b"", b"ISO_IR 192")
                assert all(len(value) % 2 == 0 for value in column.values)
    return agreed, differed


@pytest.mark.parametrize("reduced", [[], ["n"], ["FlipAngle", "n"], ["SliceLocation", "n"]])
def test_what_frames_say_alike(grid: Any, reduced: list[str]) -> None:
    array = grid[0].mean(reduced) if reduced else grid[0]
    agreed, differed = check_columns(sources_of(array))
    assert agreed > 200
    if len(reduced) != 1:  # frames of an object may differ in nothing
        assert (differed > 0) == bool(reduced)


def test_values_that_mean_the_same(tmp_path: Path) -> None:
    texts = {"FlipAngle": ["10", "10.0 ", "1e1"], "EchoTime": ["1", "2", "1"],
             "PixelSpacing": ["1.5\\1", "1.50\\1.0", "1.5\\1 "]}  # fmt: skip

    def edit(dataset: Dataset, index: tuple[int, ...]) -> None:
        from pydicom.valuerep import DSfloat

        for keyword, values in texts.items():
            parts = [DSfloat(part) for part in values[index[0]].split("\\")]
            setattr(dataset, keyword, parts if len(parts) > 1 else parts[0])
        dataset.PatientComments = "" if index[0] else "some"
        dataset.StudyDescription = ""
        if index[0] == 1:
            del dataset.SliceThickness

    make_series(tmp_path, shape=(2, 2), header=edit)
    array = series_of(tmp_path).array("SliceLocation")[0]
    sources = sources_of(array.mean(["SliceLocation", "n"]))
    value = lambda keyword, of="common": (  # noqa: E731
        (c := getattr(sources, of)(Key(parse_name(keyword).tag))) and c.values[c.code(0)]
    )
    assert value("FlipAngle") == b"10"
    assert value("PixelSpacing") == b"1.5\\1 "
    assert value("EchoTime") is None
    assert value("EchoTime", "first") == b"1 "
    assert value("SliceThickness") is None
    assert value("SliceThickness", "first") is not None
    assert value("PatientComments") is None
    assert value("StudyDescription") == b""
    assert sources.common(Key(0x00181314)).codes is None


@pytest.mark.parametrize("syntaxes", [("implicit", "big"), ("explicit", "implicit"), ("big",)])
def test_files_of_several_encodings_agree(tmp_path: Path, syntaxes: tuple[str, ...]) -> None:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2", "1.2.3"
    item.PatientName = "Müller"
    header = {
        "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "EchoTime": 4.5,
        "ReferencedImageSequence": Items([item]), "SmallestImagePixelValue": 7,
        "DiffusionBValue": 1.5, "SeriesInstanceUID": "1.2.3.4", "StudyInstanceUID": "1.2.3",
    }  # fmt: skip
    for number, syntax in enumerate(syntaxes):
        make_series(tmp_path / syntax, transfer_syntax=syntax, shape=(2, 2), seed=number,
                    header=header, keys={"SliceLocation": [number]})  # fmt: skip
    array = series_of(tmp_path).array("SliceLocation")[0]
    check_columns(sources_of(array))
    column_of = sources_of(array.mean(["SliceLocation", "n"])).common
    wanted = {
        "PatientName": "Müller^Jörg", "EchoTime": 4.5, "SmallestImagePixelValue": 7,
        "DiffusionBValue": 1.5,
    }  # fmt: skip
    for keyword, value in wanted.items():
        column = column_of(Key(parse_name(keyword).tag))
        assert column is not None, keyword
        assert column.decoded() == [value]
    sequence = column_of(Key(parse_name("ReferencedImageSequence").tag))
    assert sequence is not None
    assert sequence.decoded()[0][0].PatientName == "Müller"
    assert sequence.decoded()[0][0].ReferencedSOPInstanceUID == "1.2.3"


EXPLICIT: list[tuple[Any, Kind, bytes, Any]] = [
    ((0x00280010,), Kind("US", big_endian=True), b"\x01\x02", ("US", b"\x02\x01")),
    ((0x00189087,), Kind("", True), b"\0" * 8, ("FD", b"\0" * 8)),
    ((0x00280106,), Kind("", True, signed=1), b"\xff\xff", ("SS", b"\xff\xff")),
    ((0x00280106,), Kind("", True, signed=0), b"\xff\xff", ("US", b"\xff\xff")),
    ((0x00080060,), Kind("UN"), b"MR", ("CS", b"MR")),
    ((0x00080018,), Kind("UI"), b"1.2", ("UI", b"1.2\0")),
    ((0x00181314,), Kind("DS"), b"10.", ("DS", b"10. ")),
    ((0x00100010,), Kind("PN", charset=b"ISO_IR 100"), b"M\xfc", ("PN", "Mü ".encode())),
    ((0x00100010,), Kind("PN"), b"M\xfc", ("PN", "Mü ".encode())),  # what records show
    ((0x0019000C, "NOBODY"), Kind("", True), b"abc", ("UN", b"abc\0")),
    ((0x0019000C, "SIEMENS MR HEADER"), Kind("", True), b"1000", ("IS", b"1000")),
    ((0x00281201,), Kind("OW", big_endian=True), b"\1\2\3\4", ("OW", b"\2\1\4\3")),
]


@pytest.mark.parametrize(("key", "kind", "raw", "wanted"), EXPLICIT)
def test_raw_values_in_the_encoding_of_new_images(
    key: Any, kind: Kind, raw: bytes, wanted: Any
) -> None:
    (found,) = explicit(Key(*key), kind, [raw])
    assert found is not None
    assert (found.kind.vr, found.value) == wanted
    assert explicit(Key(*key), kind, [External(1, 2)]) == [None]


def test_long_values_are_not_common(tmp_path: Path) -> None:
    make_series(tmp_path, shape=(2, 2), header={"TextValue": "long " * 20_000})
    array = series_of(tmp_path).array("SliceLocation")[0]
    sources = sources_of(array.mean("n"))
    assert parse_name("TextValue").keys(sources.tables[0]) == [Key(0x0040A160)]
    assert sources.common(Key(parse_name("TextValue").tag)) is None
    assert sources.first(Key(parse_name("TextValue").tag)) is None


# -- real files ------------------------------------------------------------------------------------

REAL = ["dcm_qa", "nih", "dcmstack", "philips", "uih", "enh", "canon61", "dcmqi"]


@pytest.mark.parametrize("folder", REAL if testdata_folder() else [])
def test_real_headers(folder: str, tmp_path: Path) -> None:
    database = db.database(testdata_folder() / folder, index=tmp_path / "index.sqlite")  # type: ignore[operator]
    seen = 0
    for series in database.series()[:2]:
        try:
            array, header = series.array()
        except DbdicomError:
            continue
        part = slice(0, 6)
        check_columns(sources_of(array.isel(n=part)))
        check_columns(sources_of(array.isel(n=0, drop=True), header.isel(n=part)))
        seen += 1
    assert seen
