from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.pixels.rescale import copy_frame, modality_lut, rescale, rescaled_dtype
from tests.pixels.made import random_values


@pytest.mark.parametrize(
    ("slope", "intercept", "stored", "bits", "expected"),
    [
        (1, 0, "u2", 12, "u2"),
        ([1, 1], [0, 0], "i2", 16, "i2"),
        (1, 0, "f4", 32, "f4"),
        (2, 0, "f4", 32, "f8"),
        (1, -1024, "u2", 12, "i2"),
        (1, -1024, "i2", 16, "i4"),
        (1, -1024, "u2", 16, "i4"),
        ([1, 1], [0, -1024], "u2", 12, "i2"),
        (2, 0, "u2", 12, "u2"),
        (16, 0, "u2", 16, "i4"),
        (-1, 0, "u1", 8, "i2"),
        (1, 100, "u1", 8, "i2"),
        (1, 0.5, "u2", 12, "f4"),
        (0.25, 0, "u2", 12, "f4"),
        (0.25, 0, "u2", 16, "f4"),
        (0.25, 0, "u4", 32, "f8"),
        (0.001, 1e6, "u2", 12, "f8"),
        (0.1, 2e4, "u2", 12, "f4"),  # half the distance of float32 there: 0.98e-3
        (0.1, 4e4, "u2", 12, "f8"),  # 1.95e-3, more than 1/100 of 0.1
        (0.75, 0, "u4", 17, "f4"),
        (0.75, 0, "u4", 19, "f8"),
        ([0.25, 1e-9], [0, 1], "u2", 12, "f8"),
        (-0.37, 4.0, "i2", 16, "f4"),
        (1e38, 0.5, "u2", 12, "f8"),
        ([0, 0.5], [0, 0], "u2", 12, "f4"),  # an empty frame among others
        (2**40, 0, "u4", 32, "f8"),  # beyond any integer
        (2**20, 0, "u4", 32, "i8"),
    ],
)
def test_type(slope, intercept, stored: str, bits: int, expected: str) -> None:
    signed = np.dtype(stored).kind == "i"
    assert rescaled_dtype(slope, intercept, stored, bits, signed) == np.dtype(expected)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_not_finite(wrong: float) -> None:
    with pytest.raises(InvalidValue, match="RescaleSlope"):
        rescaled_dtype([1, wrong], [0, 0], "u2", 12, False)
    with pytest.raises(InvalidValue, match="RescaleIntercept"):
        rescaled_dtype(1, wrong, "u2", 12, False)


stored_kinds = st.tuples(
    st.sampled_from([8, 16, 32]), st.integers(0, 7), st.booleans()
)  # allocated, unused bits, signed
slopes = st.one_of(
    st.integers(-1000, 1000).map(float),
    st.floats(1e-12, 1e9),
    st.floats(1e-12, 1e9).map(lambda v: -v),
    st.sampled_from([1e-3, 1e-6, 0.1, 1.0, 4096.0]),
)
intercepts = st.one_of(
    st.integers(-(2**20), 2**20).map(float),
    st.floats(-1e7, 1e7),
    st.sampled_from([0.0, 1e6, -1024.0]),
)


# Where the decision between float32 and float64 falls: offsets of 2**14 to 2**20 steps.
near_the_limit = st.tuples(slopes, st.floats(2**14, 2**20)).map(lambda p: (p[0], p[0] * p[1]))
pairs = st.one_of(st.tuples(slopes, intercepts), near_the_limit)


@given(stored_kinds, st.lists(pairs, min_size=1, max_size=3))
@example((16, 4, False), [(0.001, 1e6)])
@example((16, 0, True), [(1e-5, -1e6)])
@example((32, 0, False), [(0.1, 0.0)])
def test_promise(kind: tuple[int, int, bool], frames: list[tuple[float, float]]) -> None:
    allocated, unused, signed = kind
    bits = allocated - unused
    low = -(1 << bits - 1) if signed else 0
    ends = [low, low + 1, 0, 1, low + (1 << bits) - 2, low + (1 << bits) - 1]
    stored = np.array([[e for e in ends if low <= e < low + (1 << bits)]])
    stored = stored.astype(f"{'ui'[signed]}{allocated // 8}")
    slope, intercept = np.array(frames).T
    dtype = rescaled_dtype(slope, intercept, stored.dtype, bits, signed)
    for a, b in frames:
        got = rescale(stored, a, b, dtype)
        assert got.dtype == dtype
        for x, y in zip(stored.ravel().tolist(), got.ravel().tolist(), strict=True):
            exact = Fraction(a) * x + Fraction(b)
            if dtype.kind in "iu":
                assert y == exact
            elif dtype == np.float32:
                assert abs(Fraction(y) - exact) * 100 < abs(Fraction(a)) or y == exact
            else:  # nothing better exists: two roundings in float64
                scale = max(abs(Fraction(a) * x), abs(exact))
                assert abs(Fraction(y) - exact) <= scale * Fraction(1, 2**51)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, 0, "u2"), (1.3, -7, "f4"), (1.3, -7, "f8"), (1, -1024, "i2"), (3, 5, "i4")],
)
@pytest.mark.parametrize("shape", [(70, 45), (1, 1), (33, 1), (5, 4, 3)])
def test_any_order_of_memory(slope: float, intercept: float, dtype: str, shape) -> None:
    stored = random_values(1, shape, 12, False, "u2")
    expected = (stored * np.float64(slope) + intercept).astype(dtype)
    turned = (1, 0, *range(2, len(shape)))
    strided = np.zeros((*shape, 2), dtype)[..., 0]
    outs = {
        "new": None,
        "straight": np.zeros(shape, dtype),
        "transposed": np.zeros(expected.transpose(turned).shape, dtype).transpose(turned),
        "strided": strided,
    }
    for name, out in outs.items():
        got = rescale(stored, slope, intercept, np.dtype(dtype), out=out)
        assert out is None or got is out, name
        np.testing.assert_array_equal(got, expected, err_msg=name)
    source_in_other_order = np.asfortranarray(stored) if len(shape) == 2 else stored
    np.testing.assert_array_equal(
        rescale(source_in_other_order, slope, intercept, np.dtype(dtype)), expected
    )


def test_stored_values_are_untouched() -> None:
    stored = np.array([[1, 2]], "u2")
    stored.flags.writeable = False
    got = rescale(stored, 1, 0, np.dtype("u2"))
    got[0, 0] = 9
    assert stored[0, 0] == 1


def test_no_silent_rounding_to_integers() -> None:
    with pytest.raises(InvalidValue, match=r"RescaleSlope 0\.5"):
        rescale(np.array([[1]], "u2"), 0.5, 0, np.dtype("u2"))


def test_copy_keeps_nan() -> None:
    frame = np.array([[np.nan, 1], [2, 3]], "f4")
    block = np.zeros((2, 2), "f4")
    copy_frame(block.T, frame)
    np.testing.assert_array_equal(block, frame.T)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("first", [0, 7, -5])
def test_modality_lut_as_in_pydicom(signed: bool, bits: int, first: int) -> None:
    stored = random_values(2, (9, 9), 6, signed, "i2" if signed else "u2")
    table = random_values(3, (40,), bits, False, "u2").tolist()
    item, dataset = Dataset(), Dataset()
    item.add_new("LUTDescriptor", "SS", [40, first, bits])
    item.add_new("LUTData", "US", table)
    dataset.ModalityLUTSequence = [item]
    got = modality_lut(stored, first, bits, table)
    wide = stored.astype("i4")  # pydicom cannot subtract a negative number from uint16
    np.testing.assert_array_equal(got, apply_modality_lut(wide, dataset))
    assert got.dtype == np.dtype(f"u{bits // 8}")


def test_modality_lut_beyond_its_ends() -> None:
    stored = np.array([[-3, 9, 10, 12, 13, 30000]], "i2")
    np.testing.assert_array_equal(modality_lut(stored, 10, 16, [5, 6, 7]), [[5, 5, 5, 7, 7, 7]])


@pytest.mark.parametrize(
    ("bits", "table", "message"), [(32, [1], "32 bits"), (16, [], "LUTData is empty")]
)
def test_modality_lut_that_is_none(bits: int, table: list[int], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        modality_lut(np.zeros((1, 1), "u2"), 0, bits, table)
