"""From the values of the sort tags to the grid."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdicom_xr.arrays.grid import SortKey, build_grid
from dbdicom_xr.errors import GridError


def key(name, values, tolerance=0.0, decimals=None, present=None):
    values = np.asarray(values)
    if values.dtype.kind == "U":
        values = values.astype(object)
    present = np.ones(len(values), bool) if present is None else np.array(present)
    return SortKey(name, values, present, tolerance, decimals)


def grid_of(*keys, order=None, **options):
    n = len(keys[0].values) if keys else len(order)
    return build_grid(keys, order=np.arange(n) if order is None else np.asarray(order), **options)


def seconds(*values):
    return np.array([round(v * 1e9) for v in values], "timedelta64[ns]")


def labels(grid, name):
    dims, values = grid.coords[name]
    assert dims == (name,)
    return values.tolist()


# -- by value ----------------------------------------------------------------------------------


def test_without_tags_the_frames_are_in_order():
    grid = grid_of(order=[30, 10, 20])
    assert grid.dims == ("n",)
    assert grid.index.tolist() == [1, 2, 0]
    assert grid.coords == {}
    assert grid.by_order == ()
    assert grid.notice is None


@pytest.mark.parametrize("align", ["auto", "value", "order", "exact"])
def test_a_full_grid_is_by_value_whatever_align(align):
    z = [5.0, 0.0, 5.0, 0.0, 5.0, 0.0]
    t = [3, 3, 1, 1, 2, 2]
    grid = grid_of(key("SliceLocation", z), key("EchoNumbers", t), align=align)
    assert grid.dims == ("SliceLocation", "EchoNumbers", "n")
    assert grid.index.tolist() == [[[3], [5], [1]], [[2], [4], [0]]]
    assert grid.index.dtype == np.int64
    assert labels(grid, "SliceLocation") == [0.0, 5.0]
    assert labels(grid, "EchoNumbers") == [1, 2, 3]
    assert grid.coords["EchoNumbers"][1].dtype == np.int64
    assert grid.by_order == ()
    assert grid.notice is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["PHASE", "MAG", "PHASE"], ["MAG", "PHASE"]),
        (np.array(["2300-01-01", "1800-01-01", "2300-01-01"], "datetime64[us]"), None),
        (seconds(2.5, 1, 2.5), None),
        ([True, False, True], [0, 1]),
        (np.array([2, 1, 2], np.uint16), [1, 2]),
        (np.array([2, 1, 2], np.float32), [1.0, 2.0]),
        ([[0.0, 1.0], [-1.0, 5.0], [0.0, 1.0]], ["-1\\5", "0\\1"]),
    ],
    ids=["text", "datetime", "timedelta", "bool", "uint16", "float32", "vector"],
)
def test_every_kind_of_value(values, expected):
    grid = grid_of(key("Tag", values))
    assert grid.index.tolist() == [[1, -1], [0, 2]]
    if expected is None:
        np.testing.assert_array_equal(grid.coords["Tag"][1], np.unique(values))
        assert grid.coords["Tag"][1].dtype == values.dtype
    else:
        assert labels(grid, "Tag") == expected


def test_one_frame():
    grid = grid_of(key("SliceLocation", [2.5]), key("EchoTime", [1.0]))
    assert grid.index.tolist() == [[[0]]]


@pytest.mark.parametrize("align", ["auto", "value", "order", "exact"])
def test_no_frames(align):
    keys = [key("A", np.empty(0)), key("B", np.empty(0, object)), key("C", np.empty((0, 3)))]
    grid = grid_of(*keys, align=align)
    assert grid.index.shape == (0, 0, 0, 0)
    assert all(values.shape == (0,) for _, values in grid.coords.values())
    assert list(grid.coords) == ["A", "B", "C"]
    assert build_grid([], order=np.empty(0, np.int64), align=align).index.shape == (0,)


def test_frames_at_one_point_are_counted_in_n_in_their_order():
    grid = grid_of(key("A", [7.0] * 4), order=[3, 1, 2, 1])
    assert grid.index.tolist() == [[1, 3, 2, 0]]


def test_counts_that_differ_leave_gaps_at_the_end_of_n():
    grid = grid_of(key("A", [1, 2, 1, 2, 2]), order=[5, 4, 3, 2, 1])
    assert grid.index.tolist() == [[2, 0, -1], [4, 3, 1]]


# -- tolerance ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "tolerance", "expected"),
    [
        ([0.0, 1e-7, 5.0, 5.0 - 1e-7], 1e-3, [0, 5 - 1e-7]),
        ([0.0, 1e-7, 5.0, 5.0 - 1e-7], 0, [0, 1e-7, 5 - 1e-7, 5]),
        ([20.001, 20.0], 1e-3, [20.0]),  # a difference of 0.0010000000000012221
        ([20.0011, 20.0], 1e-3, [20.0, 20.0011]),
        ([-0.0, 0.0], 0, [0.0]),
        ([1.0, 1.0 + 1e-4, 1.0 + 1e-4], 1e-3, [1.0 + 1e-4]),  # the median frame
        ([10, 11, 20], 1, [10, 20]),
        (seconds(1, 1.5, 3), 0.5, seconds(1, 3)),
    ],
)
def test_values_within_the_tolerance_are_one(values, tolerance, expected):
    found = grid_of(key("Tag", values, tolerance)).coords["Tag"][1]
    np.testing.assert_array_equal(found, expected)
    if found.dtype.kind == "f":
        assert not np.signbit(found[0])


@pytest.mark.parametrize("align", ["auto", "value", "order", "exact"])
@pytest.mark.parametrize(
    ("values", "tolerance", "low", "high"),
    [
        ([5.0, 0.0018, 0.0, 0.0009], 1e-3, "0", "0.0018"),
        ([1, 2, 3], 1, "1", "3"),
        (seconds(0.4, 0, 0.8), 0.5, "00:00:00", "00:00:00.8"),
        ([[0.0, 0.0], [0.0, 0.0018], [0.0, 0.0009]], 1e-3, r"0\\0", r"0\\0.0018"),
    ],
)
def test_values_that_drift_are_neither_merged_nor_cut(values, tolerance, low, high, align):
    with pytest.raises(GridError, match=rf"from {low} to {high} .*tolerance=0"):
        grid_of(key("Tag", values, tolerance), align=align)


def test_components_may_drift_while_the_rows_stay_apart():
    # Slightly oblique slices: x changes by less than the tolerance from slice to slice.
    slices = np.arange(50.0)
    origin = np.column_stack([slices * 5e-4, np.zeros(50), slices * 3])
    jitter = np.tile([[0, 1e-7, -1e-7], [1e-7, 0, 0]], (50, 1))
    grid = grid_of(key("ImagePositionPatient", np.repeat(origin, 2, axis=0) + jitter, 1e-3, 4))
    assert grid.index.tolist() == [[2 * i, 2 * i + 1] for i in range(50)]
    assert labels(grid, "ImagePositionPatient")[3] == "0.0015\\0\\9"


def test_rows_are_told_apart_within_groups_of_the_other_component():
    rows = [[0.0, 0.0], [0.002, 0.0], [0.001, 9.0], [0.003, 9.0]]
    grid = grid_of(key("Tag", rows, 1e-3))
    assert sorted(grid.index.ravel().tolist()) == [0, 1, 2, 3]


def test_a_jitter_does_not_decide_the_order_of_rows():
    grid = grid_of(key("Tag", [[1e-7, 3.0], [0.0, 5.0], [0.0, 4.0]], 1e-3, 4))
    assert labels(grid, "Tag") == ["0\\3", "0\\4", "0\\5"]


@pytest.mark.parametrize(
    ("values", "tolerance", "expected"),
    [
        ([12.3456789, -1e-9], 1e-3, [0.0, 12.3457]),
        ([0.00001, 0.00002], 0, [0.00001, 0.00002]),  # rounded they would share a label
    ],
)
def test_labels_are_rounded_unless_they_would_collide(values, tolerance, expected):
    found = labels(grid_of(key("SliceLocation", values, tolerance, 4)), "SliceLocation")
    assert found == expected
    assert math.copysign(1, found[0]) == 1


# -- gaps and order ----------------------------------------------------------------------------


def dynamic(slices=3, times=4, keep=None):
    """2D multi-slice: every slice has its own acquisition times."""
    z, t = (c.ravel() for c in np.meshgrid(np.arange(slices), np.arange(times), indexing="ij"))
    rows = np.arange(len(z)) if keep is None else np.array(keep)
    return (
        key("SliceLocation", (z * 2.5)[rows]),
        key("AcquisitionTime", ((t * slices + z) * 10**9).astype("timedelta64[ns]")[rows]),
    )


def test_mostly_filled_grids_keep_their_gaps():
    grid = grid_of(key("A", [0, 0, 1, 1, 2]), key("B", [1, 2, 1, 2, 2]))
    assert grid.index[..., 0].tolist() == [[0, 1], [2, 3], [-1, 4]]
    assert grid.by_order == ()
    assert grid.notice is None


@pytest.mark.parametrize("align", ["auto", "order"])
def test_slices_with_times_of_their_own_are_aligned_by_order(align):
    z, t = dynamic()
    grid = grid_of(z, t, align=align)
    assert grid.dims == ("SliceLocation", "AcquisitionTime", "n")
    assert grid.index[..., 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert grid.by_order == ("AcquisitionTime",)
    dims, times = grid.coords["AcquisitionTime"]
    assert dims == ("SliceLocation", "AcquisitionTime")
    np.testing.assert_array_equal(times, t.values.reshape(3, 4))
    assert times.dtype == t.values.dtype
    assert labels(grid, "SliceLocation") == [0, 2.5, 5]
    for said in ("AcquisitionTime is aligned by order", "12 values", "SliceLocation", "of 4"):
        assert said in grid.notice


def test_by_value_is_forced_with_all_its_gaps():
    grid = grid_of(*dynamic(), align="value")
    assert grid.index.shape == (3, 12, 1)
    assert np.count_nonzero(grid.index >= 0) == 12
    assert grid.by_order == ()


def test_half_filled_is_not_more_than_half():
    # 2 slices, 3 times each, none shared: 6 of 12 cells.
    assert grid_of(*dynamic(2, 3)).by_order == ("AcquisitionTime",)


def test_a_static_series_sorted_like_a_dynamic_one():
    grid = grid_of(*dynamic(slices=5, times=1))
    assert grid.index.shape == (5, 1, 1)
    assert grid.coords["AcquisitionTime"][1].shape == (5, 1)


def test_equal_values_at_a_point_share_a_rank():
    z = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    t = [1, 1, 2, 2, 5, 3, 5, 3, 7, 7, 9, 9]
    grid = grid_of(key("Z", z), key("T", t))
    assert grid.index.tolist() == [[[0, 1], [2, 3]], [[5, 7], [4, 6]], [[8, 9], [10, 11]]]
    assert grid.coords["T"][1].tolist() == [[1, 2], [3, 5], [7, 9]]


def test_the_last_of_three_tags_by_order():
    z, fa, t = zip(*itertools.product([0, 1, 2], [10, 20], [0, 1, 2]), strict=True)
    own = [100 * a + 10 * b + 3 * c for a, b, c in zip(z, fa, t, strict=True)]
    grid = grid_of(key("Z", z), key("FlipAngle", fa), key("T", own))
    assert grid.by_order == ("T",)
    assert grid.index.shape == (3, 2, 3, 1)
    assert grid.index.ravel().tolist() == list(range(18))
    assert grid.coords["T"][0] == ("Z", "FlipAngle", "T")
    assert grid.coords["T"][1].ravel().tolist() == own


def test_the_middle_of_three_tags_by_order():
    z, t, te = zip(*itertools.product([0, 1, 2], [0, 1, 2], [2.5, 5.0]), strict=True)
    own = [10 * b + a for a, b in zip(z, t, strict=True)]
    grid = grid_of(key("Z", z), key("T", own), key("EchoTime", te))
    assert grid.by_order == ("T",)
    assert grid.index.ravel().tolist() == list(range(18))
    assert grid.coords["T"][1].tolist() == [[0, 10, 20], [1, 11, 21], [2, 12, 22]]
    assert labels(grid, "EchoTime") == [2.5, 5.0]


def test_two_tags_by_order():
    z, t, e = zip(*itertools.product(range(3), range(2), range(2)), strict=True)
    time = [10 * b + a for a, b in zip(z, t, strict=True)]
    echo = [100 * a + 10 * b + c for a, b, c in zip(z, t, e, strict=True)]
    grid = grid_of(key("Z", z), key("T", time), key("E", echo))
    assert grid.by_order == ("T", "E")
    assert grid.index.ravel().tolist() == list(range(12))
    assert grid.coords["E"][0] == ("Z", "T", "E")
    assert grid.coords["E"][1].ravel().tolist() == echo


UNEVEN = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]  # the last time of the second slice is lost


@pytest.mark.parametrize("align", ["auto", "exact"])
def test_uneven_order_is_an_error_unless_asked_for(align):
    with pytest.raises(GridError):
        grid_of(*dynamic(keep=UNEVEN), align=align)


@pytest.mark.parametrize(
    ("convert", "gap"),
    [
        (lambda v: v, np.timedelta64("NaT")),
        (lambda v: v.astype(np.int64), np.nan),
        (lambda v: v.astype(np.float64), np.nan),
        (lambda v: np.datetime64("2024-01-01", "us") + v, np.datetime64("NaT")),
        (lambda v: np.array([f"{i:015d}" for i in v.astype(int)], object), ""),
    ],
    ids=["timedelta", "int", "float", "datetime", "text"],
)
def test_order_when_asked_for_leaves_gaps_at_the_end_and_says_so(convert, gap):
    z, t = dynamic(keep=UNEVEN)
    values = convert(t.values)
    grid = grid_of(z, key("T", values), align="order")
    assert grid.index[..., 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, -1], [7, 8, 9, 10]]
    true = grid.coords["T"][1]
    np.testing.assert_array_equal(true[1, 3], gap)
    np.testing.assert_array_equal(true[grid.index[..., 0] >= 0], values)
    assert "only 3" in grid.notice
    assert "gaps" in grid.notice


def test_order_keeps_gaps_of_tags_that_share_their_values_in_place():
    z, fa = [0, 0, 1, 1, 1, 2, 2], [10, 30, 10, 20, 30, 20, 30]
    own = [1, 2, 3, 4, 5, 6, 7]
    grid = grid_of(key("Z", z), key("FlipAngle", fa), key("T", own), align="order")
    assert grid.by_order == ("T",)
    assert grid.index[..., 0, 0].tolist() == [[0, -1, 1], [2, 3, 4], [-1, 5, 6]]
    assert "has gaps" in grid.notice


def test_integers_stay_integers_where_their_own_dims_have_no_gap():
    z, t, e = [0, 0, 1, 1, 1], [1, 2, 3, 4, 4], ["a", "a", "a", "a", "b"]
    grid = grid_of(key("Z", z), key("T", t), key("E", e), align="order")
    assert grid.index[..., 0].tolist() == [[[0, -1], [1, -1]], [[2, -1], [3, 4]]]
    assert grid.coords["T"][1].dtype == np.int64


# -- errors ------------------------------------------------------------------------------------


def test_the_error_shows_the_fill_what_varies_and_the_way_out():
    with pytest.raises(GridError) as error:
        grid_of(*dynamic(keep=UNEVEN), suggestions=lambda: [("SliceLocation", "Phase")])
    message = str(error.value)
    for said in (
        "11 of 33 cells (33 %)",
        "aligned by order 11 of 12",
        "SliceLocation: 3 values, 0 to 5",
        "AcquisitionTime: 11 values, 00:00:00 to 00:00:11; 3 to 4 at each SliceLocation",
        "sortby=['SliceLocation', 'Phase']",
        'align="value"',
        'align="order"',
    ):
        assert said in message


def test_suggestions_are_not_looked_for_without_need():
    def never() -> list[tuple[str, ...]]:
        raise AssertionError

    assert grid_of(*dynamic(), suggestions=never).by_order


def test_exact_names_the_first_gaps():
    a, b = zip(*[p for p in itertools.product(range(4), range(5)) if p[0] != p[1]], strict=True)
    with pytest.raises(GridError, match=r"4 of 20 cells have no frame: A=0 B=0; A=1 B=1; A=2"):
        grid_of(key("A", a), key("B", b), align="exact")
    diagonal = key("A", range(6)), key("B", list("uvwxyz"))
    with pytest.raises(GridError, match=r"30 of 36 .* A=0 B='z'; and 25 more\.\n"):
        grid_of(*diagonal, align="exact")


def test_exact_refuses_gaps_in_n():
    with pytest.raises(GridError, match=r"1 of 2 cells have fewer than 2 frames: A=7\.\n"):
        grid_of(key("A", [5, 5, 7]), align="exact")
    assert grid_of(key("A", [5, 5, 7, 7]), align="exact").index.shape == (2, 2)


def test_frames_without_the_tag_are_named():
    present = [True] * 20
    echo = key("EchoTime", np.zeros(20), present=[*present[:13], *[False] * 7])
    with pytest.raises(GridError) as error:
        grid_of(key("A", range(20)), echo, describe=lambda row: f"IM_{row:02d}")
    message = str(error.value)
    assert "7 of 20 frames have no EchoTime (IM_13, IM_14, IM_15, IM_16, IM_17, ...)" in message
    assert "series.frames(EchoTime=None)" in message
    assert "IM_18" not in message


def test_private_tags_are_named_as_a_filter_can_be_written():
    lacking = key("(0019,100c)", [1.0, 0.0], present=[True, False])
    with pytest.raises(GridError, match=r"1 of 2 frames has .*\*\*\{'\(0019,100c\)': None\}"):
        grid_of(lacking)


def test_a_tag_that_no_frame_has():
    with pytest.raises(GridError, match="No frame has a value of EchoTime"):
        grid_of(key("EchoTime", np.zeros(2), present=[False, False]))


@pytest.mark.parametrize(
    "values",
    [
        [0.0, np.nan],
        [0.0, np.inf],
        [0.0, -np.inf],
        np.array([0, "NaT"], "timedelta64[ns]"),
        np.array([0, "NaT"], "datetime64[us]"),
        [[0.0, 1.0], [np.nan, 1.0]],
    ],
)
def test_values_without_a_place_are_an_error(values):
    with pytest.raises(GridError, match=r"1 of 2 frames has no finite Tag \(frame 1\)"):
        grid_of(key("Tag", values), align="value", describe=lambda row: f"frame {row}")


def test_a_tag_asked_for_twice():
    with pytest.raises(GridError, match="A is asked for twice"):
        grid_of(key("A", [1, 2]), key("B", [1, 1]), key("A", [1, 2]))


@pytest.mark.parametrize("name", ["n", "x", "y", "channel", "frame"])
def test_names_of_other_dims(name):
    with pytest.raises(GridError, match="another dimension"):
        grid_of(key(name, [1, 2]))


def test_a_grid_too_sparse_to_hold():
    far = key("A", np.arange(20_000)), key("B", np.arange(20_000))
    with pytest.raises(GridError, match="20000 x 20000 x 1 cells for 20000 frames"):
        grid_of(*far, align="value")
    with pytest.raises(GridError, match="399980000 of 400000000 cells have no frame: A=0 B=1;"):
        grid_of(*far, align="exact")


def test_wrong_arguments():
    with pytest.raises(ValueError, match="align"):
        grid_of(key("A", [1]), align="best")
    with pytest.raises(ValueError, match="2 values for 3 frames"):
        grid_of(key("A", [1, 2]), order=[0, 1, 2])
    with pytest.raises(TypeError, match="A: values must be text or numbers"):
        grid_of(key("A", np.array(["a", None], object)))


# -- invariants --------------------------------------------------------------------------------


@st.composite
def series(draw, max_keys=3):
    """Frames with few distinct values per key, so that all kinds of grid come up."""
    n = draw(st.integers(1, 24))
    columns = []
    for name in "ABC"[: draw(st.integers(1, max_keys))]:
        kind = draw(st.sampled_from(["float", "int", "text", "time", "vector", "jitter"]))
        codes = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
        if kind == "float":
            columns.append(key(name, codes * 1.5))
        elif kind == "int":
            columns.append(key(name, codes))
        elif kind == "text":
            columns.append(key(name, np.array([f"v{c}" for c in codes], object)))
        elif kind == "time":
            columns.append(key(name, (codes * 10**9).astype("timedelta64[ns]")))
        elif kind == "vector":
            columns.append(key(name, np.column_stack([codes // 2, codes % 2]) * 1.0, 1e-3, 4))
        else:
            noise = np.array(draw(st.lists(st.floats(-4e-4, 4e-4), min_size=n, max_size=n)))
            columns.append(key(name, codes + noise, 1e-3, 4))
    order = np.array(draw(st.permutations(range(n))))
    return columns, order


def attempt(keys, order, align):
    try:
        return build_grid(keys, order=order, align=align)
    except GridError as error:
        return str(error)


@given(series(), st.sampled_from(["auto", "value", "order"]), st.randoms(use_true_random=False))
def test_every_frame_stands_once_and_the_order_of_files_does_not_matter(data, align, random):
    keys, order = data
    n = len(order)
    shuffled = np.array(random.sample(range(n), n))
    moved = [
        SortKey(k.name, k.values[shuffled], k.present[shuffled], k.tolerance, k.decimals)
        for k in keys
    ]
    outcome = attempt(keys, order, align)
    again = attempt(moved, order[shuffled], align)
    if isinstance(outcome, str) or isinstance(again, str):
        assert outcome == again
        return
    grid, other = outcome, again

    frames = grid.index[grid.index >= 0]
    assert sorted(frames.tolist()) == list(range(n))

    there = np.where(other.index >= 0, shuffled[other.index], -1)
    np.testing.assert_array_equal(there, grid.index)
    assert other.notice == grid.notice
    for name, (dims, values) in grid.coords.items():
        assert other.coords[name][0] == dims
        np.testing.assert_array_equal(other.coords[name][1], values)

    # Along n: in order, gaps last.
    rank = np.where(grid.index >= 0, order[grid.index], n)
    assert (np.diff(rank, axis=-1) >= 0).all()

    # Every frame has the values that its coordinates say.
    for cell in np.argwhere(grid.index >= 0):
        at = dict(zip(grid.dims, cell, strict=True))
        for k in keys:
            dims, values = grid.coords[k.name]
            label = values[tuple(at[d] for d in dims)]
            true = k.values[grid.index[tuple(cell)]]
            if k.values.ndim == 2:
                assert [float(part) for part in label.split("\\")] == true.tolist()
            elif k.tolerance:
                assert abs(label - true) <= 1.1e-3
            else:
                assert label == true

    # Along a dim values ascend: everywhere by value, at each point by order.
    for name, (dims, values) in grid.coords.items():
        if values.dtype.kind in "fi" and name not in grid.by_order:
            assert dims == (name,)
            assert (np.diff(values) > 0).all()
        elif values.dtype.kind in "fi":
            steps = np.diff(values, axis=-1)
            assert (steps[~np.isnan(steps)] > 0).all()


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    copies=st.integers(1, 3),
    noise=st.randoms(use_true_random=False),
    data=st.data(),
)
def test_a_product_is_found_again_and_what_is_taken_away_is_a_gap(shape, copies, noise, data):
    cells = list(itertools.product(*map(range, shape), range(copies)))
    noise.shuffle(cells)
    names = [f"K{j}" for j in range(len(shape))]
    rank = np.array([cell[-1] for cell in cells])

    def keys(rows):
        return [
            key(
                name,
                [cells[r][j] * 2.5 - 3 + noise.uniform(-4e-4, 4e-4) for r in rows],
                tolerance=1e-3,
                decimals=2,
            )
            for j, name in enumerate(names)
        ]

    everything = np.arange(len(cells))
    grid = build_grid(keys(everything), order=rank, align="exact")
    assert grid.dims == (*names, "n")
    assert grid.index.shape == (*shape, copies)
    for cell in np.ndindex(*grid.index.shape):
        assert cells[grid.index[cell]] == cell
    for name, size in zip(names, shape, strict=True):
        np.testing.assert_array_equal(grid.coords[name][1], np.arange(size) * 2.5 - 3)

    # Keep one frame of every value, so that the labels stay; drop any of the others.
    needed = {next(c for c in cells if c[j] == v) for j, d in enumerate(shape) for v in range(d)}
    loose = [r for r in everything.tolist() if cells[r] not in needed]
    dropped = data.draw(st.sets(st.sampled_from(loose))) if loose else set()
    kept = np.array([r for r in everything.tolist() if r not in dropped])
    gappy = build_grid(keys(kept), order=rank[kept], align="value")
    present = {}
    for r in kept:
        present.setdefault(cells[r][:-1], []).append(cells[r][-1])
    for point in np.ndindex(*shape):
        here = [cells[kept[row]] for row in gappy.index[point] if row >= 0]
        assert here == [(*point, copy) for copy in sorted(present.get(point, []))]
    if dropped and (len(present) < math.prod(shape) or len({len(c) for c in present.values()}) > 1):
        with pytest.raises(GridError, match="has gaps"):
            build_grid(keys(kept), order=rank[kept], align="exact")


@given(
    slices=st.integers(2, 6),
    times=st.integers(1, 6),
    random=st.randoms(use_true_random=False),
)
def test_slices_with_times_of_their_own_always_align(slices, times, random):
    frames = list(itertools.product(range(slices), range(times)))
    random.shuffle(frames)
    clock = dict.fromkeys(frames, 0.0)
    moments = random.sample(range(10_000), len(frames))
    for z in range(slices):  # distinct everywhere, ascending within a slice
        own = sorted(moments[z * times : (z + 1) * times])
        clock.update({(z, t): float(own[t]) for t in range(times)})
    grid = grid_of(
        key("SliceLocation", [f[0] * 3.0 for f in frames]),
        key("TriggerTime", [clock[f] for f in frames]),
    )
    assert grid.by_order == ("TriggerTime",)
    for z, t in itertools.product(range(slices), range(times)):
        assert frames[grid.index[z, t, 0]] == (z, t)
        assert grid.coords["TriggerTime"][1][z, t] == clock[z, t]
