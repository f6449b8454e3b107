"""What varies, and which tags give a full grid."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbdicom_xr.arrays.grid import SortKey, build_grid
from dbdicom_xr.arrays.suggest import Varying, full_grids, varying


def key(name, values, tolerance=0.0, present=None):
    values = np.asarray(values)
    if values.dtype.kind == "U":
        values = values.astype(object)
    present = np.ones(len(values), bool) if present is None else np.array(present)
    return SortKey(name, values, present, tolerance)


def product(**sizes):
    """Columns of a full product; the last name is the fastest."""
    grid = np.meshgrid(*(np.arange(size) for size in sizes.values()), indexing="ij")
    return {name: column.ravel() for name, column in zip(sizes, grid, strict=True)}


# -- varying -----------------------------------------------------------------------------------


def test_varying_lists_what_varies_and_what_is_missing_in_some():
    present = [True, False, True, True]
    table = varying(
        [
            key("SliceLocation", [0.0, 1e-7, 5.0, 5.0], 1e-3),
            key("FlipAngle", [15.0] * 4),
            key("ImageType", ["M", "P", "M", "P"]),
            key("EchoTime", [1.5, 0.0, 1.5, 1.5], present=present),
            key("ContrastBolusAgent", [""] * 4, present=[False] * 4),
            key("TriggerTime", [np.nan, 2.0, 4.0, 6.0]),
            key("Drift", [0.0, 0.0009, 0.0018, 9.0], 1e-3),
        ]
    )
    assert [(r.name, r.distinct, r.minimum, r.maximum, r.missing) for r in table] == [
        ("SliceLocation", 2, 0.0, 5.0, 0),
        ("ImageType", 2, "M", "P", 0),
        ("EchoTime", 1, 1.5, 1.5, 1),
        ("TriggerTime", 3, 2.0, 6.0, 1),
        ("Drift", 4, 0.0, 9.0, 0),
    ]
    assert isinstance(table[0], Varying)


def test_varying_of_nothing():
    assert varying([]) == []
    assert varying([key("A", np.empty(0))]) == []


# -- full grids --------------------------------------------------------------------------------


def multi_echo():
    c = product(z=4, te=3)
    return [
        key("SliceLocation", c["z"] * 5.0 + np.tile([0, 1e-7, 2e-7], 4), 1e-3),
        key("EchoTime", c["te"] * 2.5),
        key("EchoNumbers", c["te"] + 1),
        key("AcquisitionTime", c["z"] * 10),
        key("InstanceNumber", np.arange(12)),
    ]


def dynamic(temporal_position):
    c = product(z=4, t=5)
    keys = [key("SliceLocation", c["z"] * 5.0), key("AcquisitionTime", c["t"] * 4 + c["z"])]
    keys += [key("TemporalPositionIdentifier", c["t"])] if temporal_position else []
    return [*keys, key("InstanceNumber", np.arange(20))]


def volume():
    # Interleaved in two acquisitions: even and odd slices.
    z = np.arange(12)
    return [
        key("SliceLocation", z * 3.0),
        key("AcquisitionNumber", z % 2),
        key("AcquisitionTime", z // 4),
        key("InstanceNumber", z[::-1]),
    ]


def single_slice():
    t = np.arange(10)
    return [
        key("SliceLocation", np.zeros(10)),
        key("AcquisitionTime", t * 1.5),
        key("InstanceNumber", t),
    ]


def variable_flip_angle():
    c = product(z=3, fa=4, te=2)
    return [
        key("SliceLocation", c["z"] * 5.0),
        key("EchoTime", c["te"] * 2.5),
        key("FlipAngle", c["fa"] * 5.0),
        key("SeriesTime", c["fa"] * 100),
        key("AcquisitionTime", c["fa"] * 100 + c["te"] * 10 + c["z"]),
    ]


def dynamic_echoes():
    # Per slice and echo, times of their own.
    c = product(z=3, te=2, t=4)
    own = c["t"] * 100 + c["te"] * 10 + c["z"]
    return [
        key("SliceLocation", c["z"] * 5.0),
        key("EchoTime", c["te"] * 2.5),
        key("AcquisitionTime", own),
        key("InstanceNumber", np.arange(24)),
    ]


def diffusion():
    # One b = 0 and three directions of one b-value: only the order tells the directions apart.
    z = np.repeat(np.arange(5), 4)
    return [
        key("SliceLocation", z * 2.0),
        key("DiffusionBValue", np.tile([0, 1000, 1000, 1000], 5)),
        key("InstanceNumber", np.arange(20)),
    ]


def vectors():
    c = product(z=3, d=2)
    origin = np.column_stack([c["z"] * 0.0, c["z"] * 1e-9, c["z"] * 2.0])
    return [
        key("ImagePositionPatient", origin, 1e-3),
        key("Direction", np.column_stack([c["d"], 1.0 - c["d"]])),
    ]


@pytest.mark.parametrize(
    ("keys", "expected", "by_order"),
    [
        (multi_echo(), ("SliceLocation", "EchoTime"), ()),
        (dynamic(False), ("SliceLocation", "AcquisitionTime"), ("AcquisitionTime",)),
        (dynamic(True), ("SliceLocation", "TemporalPositionIdentifier"), ()),
        (volume(), ("SliceLocation",), ()),
        (single_slice(), ("AcquisitionTime",), ()),
        (variable_flip_angle(), ("SliceLocation", "EchoTime", "FlipAngle"), ()),
        (
            dynamic_echoes(),
            ("SliceLocation", "EchoTime", "AcquisitionTime"),
            ("AcquisitionTime",),
        ),
        (diffusion(), ("SliceLocation", "InstanceNumber"), ("InstanceNumber",)),
        (vectors(), ("ImagePositionPatient", "Direction"), ()),
    ],
    ids=[
        "multi-echo",
        "dynamic",
        "dynamic with temporal position",
        "volume",
        "single slice",
        "variable flip angle",
        "dynamic echoes",
        "diffusion",
        "vectors",
    ],
)
def test_the_best_grid_of_usual_series(keys, expected, by_order):
    n = len(keys[0].values)
    found = full_grids(keys, n)
    assert found[0] == expected
    named = {k.name: k for k in keys}
    for names in found:
        chosen = [named[name] for name in names]
        grid = build_grid(chosen, order=np.arange(n), align="order")
        assert (grid.index >= 0).all()
        assert grid.index.shape[-1] == 1
    best = build_grid([named[name] for name in expected], order=np.arange(n), align="order")
    assert best.by_order == by_order


def test_a_tag_that_numbers_the_frames_comes_last():
    assert full_grids(multi_echo(), 12)[-1] == ("InstanceNumber",)
    assert full_grids(dynamic(False), 20)[-1] == ("AcquisitionTime",)


def test_a_grid_with_more_tags_than_a_better_one_is_left_out():
    found = full_grids(volume(), 12)
    assert found[0] == ("SliceLocation",)
    assert all("SliceLocation" not in names for names in found[1:])


def test_what_cannot_be_used_is_left_out():
    keys = [
        key("Missing", [0, 0, 1, 1], present=[True, True, True, False]),
        key("Nan", [0.0, 0.0, 1.0, np.nan]),
        key("Drift", [0.0, 0.0009, 0.0018, 0.0027], 1e-3),
        key("Constant", [1, 1, 1, 1]),
        key("A", [0, 0, 1, 1]),
        key("A", [0, 0, 1, 1]),
        key("SameAsA", ["y", "y", "x", "x"]),
        key("B", [0, 1, 0, 1]),
    ]
    assert full_grids(keys, 4) == [("A", "B")]


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_arrange(n):
    assert full_grids([key("A", np.arange(n))], n) == []


def test_duplicates_give_no_grid():
    assert full_grids([key("A", [0, 0, 1, 1])], 4) == []


def test_max_keys_and_limit():
    keys = [key(name, values) for name, values in product(a=2, b=2, c=2).items()]
    keys.append(key("number", np.arange(8)))
    assert full_grids(keys, 8)[0] == ("a", "b", "c")
    assert full_grids(keys, 8, max_keys=2)[0] == ("a", "number")
    assert full_grids(keys, 8, max_keys=1) == [("number",)]
    assert len(full_grids(keys, 8, limit=1)) == 1


def test_the_search_is_bounded():
    # 40 tags that all seem to fit, and none that completes a grid.
    bits = np.arange(2**12)
    random = np.random.default_rng(0)
    keys = [key(f"K{i}", random.permutation(bits % 2)) for i in range(40)]
    assert full_grids(keys, len(bits)) == []


@given(
    st.lists(st.integers(2, 4), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_a_hidden_product_is_found_whatever_the_order_of_frames(sizes, random, decoys):
    n = math.prod(sizes)
    frames = list(itertools.product(*map(range, sizes)))
    random.shuffle(frames)
    keys = [key(f"K{j}", [f[j] for f in frames]) for j in range(len(sizes))]
    if decoys:
        keys.insert(random.randint(0, len(keys)), key("Constant", [1] * n))
        keys.append(key("Number", random.sample(range(n), n)))
    best = full_grids(keys, n)[0]
    assert best == tuple(f"K{j}" for j in range(len(sizes)))
