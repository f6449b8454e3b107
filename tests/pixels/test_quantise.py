"""What is stored restores the values: judged with plain float64 arithmetic and Python integers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbdicom_xr.decimals import decimal_bound, decimal_text
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.pixels.quantise import (
    Scale,
    Stored,
    Target,
    common_scale,
    quantise,
    require_numbers,
)

MR = Target()
CT = Target(signed=True)
SC = Target((8, 16), signed=False)
PET = Target(intercept=False)
BYTES = Target((8,), signed=False)
POSITIVE_PET = Target(signed=False, intercept=False)
MULTIFRAME = Target(signed=False, reserve=True)
TARGETS = [MR, SC, PET, BYTES, MULTIFRAME]


def restored(stored: Stored) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = stored.values.astype(np.float64) * stored.scale.slope + stored.scale.intercept
    if stored.padding is not None:
        values[stored.values == stored.padding] = np.nan
    return values


def check(frame: Any, stored: Stored, target: Target) -> None:
    """Check what holds of all that is stored."""
    frame = np.asarray(frame)
    values = stored.values
    assert values.shape == frame.shape
    assert values.flags.c_contiguous
    assert values.dtype in ("u1", "u2", "i2")
    assert 8 * values.dtype.itemsize in target.bits
    assert target.signed or values.dtype.kind == "u"
    assert target.intercept or stored.scale.intercept == 0
    for number in (stored.scale.slope, stored.scale.intercept):
        assert len(decimal_text(number)) <= 16
        assert float(decimal_text(number)) == number
        assert float(decimal_text(float(number))) == number  # as it is written into files
    missing = np.isnan(frame) if frame.dtype.kind == "f" else np.zeros(frame.shape, bool)
    # The padding is where NaN is, and nowhere else.
    assert (stored.padding is not None) == bool(missing.any())
    if stored.padding is not None:
        np.testing.assert_array_equal(values == stored.padding, missing)
    if missing.all():
        return
    assert stored.smallest == values[~missing].min()
    assert stored.largest == values[~missing].max()
    back = restored(stored)[~missing]
    real = frame[~missing]
    if stored.error == 0 and frame.dtype.kind == "f":
        np.testing.assert_array_equal(back.astype(frame.dtype), real)
    elif stored.error == 0:
        slope, intercept = Fraction(stored.scale.slope), Fraction(stored.scale.intercept)
        codes = values.ravel().tolist()
        exact = [float(code * slope + intercept) for code in codes]
        if slope == 1:  # and so as integers, also beyond those that float64 holds
            assert [code + intercept for code in codes] == frame.ravel().tolist()
        assert exact == frame.astype(np.float64).ravel().tolist()
    else:
        difference = max(
            abs(Fraction(a) - Fraction(b))
            for a, b in zip(back.tolist(), real.tolist(), strict=True)
        )
        assert difference <= stored.error


def half_a_step(frame: Any, target: Target) -> float:
    """Return the error that a frame may have, with the rounding of DS and of float64."""
    real = np.asarray(frame, np.float64)
    low, high = float(np.nanmin(real)), float(np.nanmax(real))
    codes = 1 << target.bits[-1]
    size = max(-low, high)
    if target.intercept:
        span = (high - low) / (codes - 2)
        # The intercept has 12 digits or more, 10 behind a sign and with an exponent of 3 digits.
        digits = 1e-11 if 1e-90 < size < 1e90 else 1e-9
        step = (span + 2 * digits * size / (codes - 2)) * (1 + 2e-6)
    elif low >= 0:
        step = size / (codes - 2) * (1 + 1e-9)
    else:
        step = size / (codes // 2 - 1) * (1 + 1e-9)
    return step / 2 + 4 * float(np.spacing(size)) + 5e-324


# -- integers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "low", "high", "target", "stored", "intercept"),
    [
        ("bool", 0, 1, MR, "u2", 0),
        ("bool", 0, 1, SC, "u1", 0),
        ("u1", 0, 255, MR, "u2", 0),
        ("u1", 3, 255, SC, "u1", 0),
        ("u2", 0, 200, SC, "u2", 0),
        ("u2", 0, 65535, MR, "u2", 0),
        ("u2", 0, 65535, PET, "u2", 0),
        ("u2", 0, 65535, MULTIFRAME, "u2", 0),
        ("i1", -128, 127, MR, "i2", 0),
        ("i1", -128, 127, SC, "u2", -128),
        ("i2", -32768, 32767, MR, "i2", 0),
        ("i2", 5, 9, MR, "i2", 0),
        ("i2", -32768, 32767, SC, "u2", -32768),
        ("i4", 0, 100, MR, "i2", 0),
        ("i4", 0, 40000, MR, "u2", 0),
        ("i4", -1, 40000, MR, "u2", -1),
        ("i4", 10**6, 10**6 + 65535, MR, "u2", 10**6),
        ("u4", 0, 100, MR, "u2", 0),
        ("u4", 2**32 - 65536, 2**32 - 1, MR, "u2", 2**32 - 65536),
        ("i8", -(2**40), -(2**40) + 65535, MR, "u2", -(2**40)),
        ("i8", 2**62 + 7, 2**62 + 700, MR, "u2", None),
        ("i8", -(2**63), -(2**63) + 9, MR, "u2", None),
        ("u8", 0, 65535, PET, "u2", 0),
        ("i8", -5, 5, PET, "i2", 0),
        ("i8", 0, 5, POSITIVE_PET, "u2", 0),
    ],
)
def test_integers_that_fit_are_exact(dtype, low, high, target, stored, intercept):
    middle = (low + high) // 2
    frame = np.array([[low, high, middle], [high, low, middle]], dtype)
    result = quantise(frame, target)
    check(frame, result, target)
    if intercept is None:  # no DS has the 19 digits of the lowest value
        assert 0 <= result.error <= 2 * np.spacing(2.0**62)
        return
    assert result.error == 0
    assert result.values.dtype == stored
    assert (result.scale.slope, result.scale.intercept) == (1, intercept)


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8", "f4", "f8"])
def test_integers_on_the_grid_of_their_source_are_exact(dtype):
    frame = np.array([[100 * 4095, 0], [100, 700]], dtype) + 7
    result = quantise(frame, MR, source=Scale(100.0, 7.0))
    check(frame, result, MR)
    assert result.error == 0
    assert result.scale == Scale(100.0, 7.0)


@pytest.mark.parametrize("target", [MR, PET])
def test_integers_beyond_16_bits_are_rounded(target):
    frame = np.random.default_rng(0).integers(-(10**9), 10**9, (40, 30))
    result = quantise(frame, target)
    check(frame, result, target)
    assert 0 < result.error <= half_a_step(frame, target)


integers = st.sampled_from(["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]).flatmap(
    lambda dtype: st.tuples(
        st.just(dtype),
        st.one_of(
            st.integers(
                0 if dtype == "?" else np.iinfo(dtype).min,
                1 if dtype == "?" else np.iinfo(dtype).max,
            ),
            st.integers(0, 1 if dtype == "?" else 127),
        ),
        st.lists(st.integers(0, 70_000), min_size=1, max_size=12),
    )
)


@given(integers, st.sampled_from(TARGETS))
def test_integers_of_any_type_and_range(made, target):
    dtype, start, steps = made
    top = 1 if dtype == "?" else np.iinfo(dtype).max
    frame = np.array([[min(start + step, top) for step in steps]], dtype)
    result = quantise(frame, target) if can_store(frame, target) else None
    if result is None:
        return
    check(frame, result, target)
    values = [int(value) for value in frame.ravel()]
    codes = 1 << target.bits[-1]
    fits = min(values) >= 0 and max(values) < codes
    fits |= target.signed and codes > 256 and min(values) >= -32768 and max(values) < 32768
    near = target.intercept and max(values) - min(values) < codes
    # Of 15 digits and more a DS may not hold the lowest.
    if fits or (near and max(map(abs, values)) < 10**14):
        assert result.error == 0
    elif max(map(abs, values)) < 2**53:
        assert result.error <= half_a_step(frame, target)


def can_store(frame: Any, target: Target) -> bool:
    if target.intercept or target.signed or np.nanmin(frame) >= 0:
        return True
    with pytest.raises(InvalidValue, match="another kind"):
        quantise(frame, target)
    return False


# -- floats ----------------------------------------------------------------------------------


@given(
    st.sampled_from(["f2", "f4", "f8"]),
    st.sampled_from([0.0, 1.0, -1.0, 1e3, -1e6, 1e6, 1e6 + 1 / 3, 1e15, -1e-9, 1e300, 1e-300]),
    st.sampled_from([0.0, 1e-320, 1e-300, 1e-12, 1e-3, 1.0, 300.0, 1e7, 1e300]),
    st.lists(st.floats(-1, 1), min_size=1, max_size=12),
    st.sets(st.integers(0, 11)),
    st.sampled_from([*TARGETS, POSITIVE_PET]),
)
@example("f8", 1e6, 1e-3, [0.1, 0.9, 0.35], {1}, MR)
@example("f8", 0.0, 1e-320, [0.1, 0.9, 0.35], set(), MR)
@example("f4", 0.0, 1.0, [-0.25, 1.0, 0.0], set(), MR)
@example("f8", 1e300, 1e300, [-0.25, 0.5, 0.0], {0}, PET)
def test_floats_are_within_half_a_step(dtype, offset, spread, places, missing, target):
    frame = np.array([[offset + spread * place for place in places]])
    limit = float(np.finfo(dtype).max)
    frame = np.clip(frame, -limit, limit).astype(dtype)
    for place in missing:
        frame.flat[place % frame.size] = np.nan
    if not np.isnan(frame).all() and not can_store(frame, target):
        return
    result = quantise(frame, target)
    check(frame, result, target)
    if not np.isnan(frame).all():
        assert result.error <= half_a_step(frame, target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("gaps", [False, True])
def test_noise_is_rounded_to_nearest(target, dtype, gaps):
    rng = np.random.default_rng(3)
    frame = (rng.normal(0, 40, (64, 50)) ** 2 - (100 if target.signed else 0)).astype(dtype)
    if gaps:
        frame[rng.random(frame.shape) < 0.3] = np.nan
    result = quantise(frame, target)
    check(frame, result, target)
    assert 0 < result.error <= half_a_step(frame, target)
    # All of the codes are made use of, and what is bright stays bright.
    span = result.largest - result.smallest
    assert span >= ((1 << target.bits[-1]) - 3) / (1 if target.intercept else 2)
    there = ~np.isnan(frame)
    order = np.argsort(frame[there], kind="stable")
    assert (np.diff(result.values[there][order].astype(int)) >= 0).all()


@given(
    st.floats(1e-6, 1e6).map(lambda v: abs(float(decimal_text(-v)))),
    st.one_of(st.just(0.0), st.floats(-1e4, 1e4).map(lambda v: float(decimal_text(v)))),
    st.sampled_from([("u2", 0, 65535), ("u2", 0, 4095), ("i2", -32768, 32767)]),
    st.sampled_from(["f4", "f8"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_floats_on_the_grid_of_their_source_come_back_bit_by_bit(
    slope, intercept, codes, dtype, negative, gaps, seed
):
    slope = -slope if negative else slope
    kind, low, high = codes
    stored = np.random.default_rng(seed).integers(low, high, (7, 9), endpoint=True).astype(kind)
    frame = (stored.astype(np.float64) * slope + intercept).astype(dtype)
    if gaps:
        frame[2:4, 5] = np.nan
    result = quantise(frame, MR, source=Scale(slope, intercept))
    check(frame, result, MR)
    there = ~np.isnan(frame)
    back = restored(result)[there].astype(dtype)
    assert back.tobytes() == (frame[there] + 0.0).tobytes()  # +0.0: there is no stored -0.0
    assert result.error == 0


def test_what_was_read_as_float32_goes_back_to_its_own_codes():
    stored = np.arange(4096, dtype="u2").reshape(64, 64) * 16
    real = (stored * 0.37 + 2.5).astype(np.float32).astype(np.float64)
    result = quantise(real, MR, source=Scale(0.37, 2.5))
    np.testing.assert_array_equal(result.values, stored)
    check(real, result, MR)


def test_a_source_is_not_used_where_the_values_are_beside_its_grid():
    frame = np.random.default_rng(0).random((30, 30)) * 10
    result = quantise(frame, MR, source=Scale(1.0, 0.0))
    assert result.error <= half_a_step(frame, MR)
    # Nor where a grid of its intercept cannot be stored.
    frame = np.arange(900.0).reshape(30, 30) + 0.5
    check(frame, quantise(frame, PET, source=Scale(1.0, 0.5)), PET)


def test_whole_numbers_in_floats_are_exact():
    for dtype in ("f2", "f4", "f8"):
        for low, high in ((0, 2000), (-2000, 3), (0, 2048)):
            frame = np.linspace(low, high, 50).round().reshape(5, 10).astype(dtype)
            result = quantise(frame, MR)
            check(frame, result, MR)
            assert result.error == 0
            assert result.scale == Scale(1, 0)
    frame = np.array([[1e6, 1e6 + 65535, np.nan]])
    result = quantise(frame[:, :2], MR)
    assert (result.error, result.scale) == (0, Scale(1, 1e6))


@pytest.mark.parametrize("target", [MR, SC, MULTIFRAME])
@pytest.mark.parametrize(("low", "high"), [(0.0, 0.7), (-0.3, 1.1), (-1e-7, 5e3), (-2.5, 0.0)])
@pytest.mark.parametrize("gaps", [False, True])
def test_zero_stays_zero(target, low, high, gaps):
    rng = np.random.default_rng(1)
    frame = rng.uniform(low, high, (20, 20))
    frame[0] = 0
    frame[1, :2] = low, high
    if gaps:
        frame[5] = np.nan
    result = quantise(frame, target)
    check(frame, result, target)
    assert (restored(result)[0] == 0).all()
    if low == 0 and not gaps and not target.reserve:
        assert result.scale.intercept == 0


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("value", [0.0, 0.5, 12.125, 1e-30, 1e30, 7.0, 1e6])
def test_frames_of_one_value(value, target, dtype):
    for shape in ((1, 1), (3, 4)):
        frame = np.full(shape, value, dtype)
        result = quantise(frame, target)
        check(frame, result, target)
        assert np.abs(restored(result) - frame).max() <= 2e-12 * value
        if float(decimal_text(float(frame[0, 0]))) == frame[0, 0] and not target.reserve:
            assert result.error == 0
        frame[-1, -1] = np.nan
        check(frame, quantise(frame, target), target)


def test_one_value_that_float32_does_not_hold_is_read_as_float64():
    from dbdicom_xr.pixels.rescale import rescaled_dtype

    result = quantise(np.full((2, 2), 123456.789), MR)
    assert (restored(result) == 123456.789).all()
    scale = result.scale
    assert rescaled_dtype(scale.slope, scale.intercept, result.values.dtype, 16, False) == "f8"


# -- padding ---------------------------------------------------------------------------------


def test_padding_is_below_all_values_where_it_can_be():
    frame = np.array([[0.25, np.nan, 9.5]])
    assert quantise(frame, MR).padding == 0
    assert quantise(-frame, PET).padding == -32768
    assert quantise(frame, PET).padding == 0
    whole = np.array([[0.0, np.nan, 9.0]])
    assert quantise(whole, MR).padding == -32768
    assert quantise(whole, PET).padding == -32768
    assert quantise(whole, POSITIVE_PET).padding == 65535
    assert quantise(whole, MULTIFRAME).padding == 0


def test_padding_is_a_code_between_values_where_both_ends_are_used():
    frame = np.arange(65536.0).reshape(256, 256)
    frame[frame == 1234] = np.nan
    result = quantise(frame, MR)
    check(frame, result, MR)
    assert (result.padding, result.error) == (1234, 0)


def test_without_a_free_code_the_values_are_rounded():
    frame = np.append(np.arange(65536.0), [np.nan] * 256).reshape(257, 256)
    result = quantise(frame, MR, source=Scale(1.0, 0.0))
    check(frame, result, MR)
    assert 0 < result.error <= half_a_step(frame, MR)


@pytest.mark.parametrize("target", [*TARGETS, POSITIVE_PET])
def test_nothing_but_nan(target):
    frame = np.full((3, 2), np.nan, np.float32)
    result = quantise(frame, target, source=Scale(0.5, 0.0))
    check(frame, result, target)
    assert (result.values == result.padding).all()
    assert result.smallest == result.largest == result.padding
    assert result.error == 0


def test_frames_of_one_object_agree_on_type_and_padding():
    gaps = [[np.nan, 2.0]]
    frames = [[[0.0, 1.0]], [[-0.3, 0.4]], gaps, [[np.nan, 0.1]], [[np.nan] * 2], [[-5.0, np.nan]]]
    for frame in frames:
        result = quantise(np.array(frame), MULTIFRAME)
        check(frame, result, MULTIFRAME)
        assert result.values.dtype == "u2"
        assert result.padding in (None, 0)
        assert result.padding == 0 or result.smallest > 0


# -- one scale for a series ------------------------------------------------------------------


@given(
    st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(sorted),
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
    st.booleans(),
    st.booleans(),
    st.sampled_from([MR, SC, PET, MULTIFRAME]),
)
def test_one_scale_for_a_series(limits, places, gap, integers, target):
    low, high = limits
    if integers:
        low, high = round(low), round(high)
    scale = common_scale(low, high, target, integers=integers)
    frames = [[low + (high - low) * place for place in places], [low, high]]
    for values in frames:
        frame = np.clip([values], low, high)
        frame = frame.round() if integers else frame
        frame = np.array([[*frame[0], *[np.nan] * gap]])
        if gap and scale.padding is None:
            continue
        result = quantise(frame, target, scale=scale)
        check(frame, result, target)
        assert result.scale is scale
        assert (result.values.dtype.kind == "i") == scale.signed
        assert result.padding == (scale.padding if gap else None)
        assert result.error <= half_a_step([[low, high]], target) + (high - low) / 65533 * 1e-4


def test_values_outside_the_scale_of_the_series():
    scale = common_scale(0.0, 1.0, MR, integers=False)
    assert quantise(np.array([[0.2, 1.0]]), MR, scale=scale).error < 1e-5
    for wrong in (-0.1, 1.1):
        with pytest.raises(InvalidValue, match=r"echo 3 has values from.*scale='frame'"):
            quantise(np.array([[0.5, wrong]]), MR, scale=scale, name="echo 3")
    with pytest.raises(InvalidValue, match="scale='frame'"):
        quantise(np.array([[0, 70000]]), MR, scale=Scale(1.0, 0.0))


def test_a_plain_scale_is_used_as_it_is():
    frame = np.array([[-1.0, 2.0, np.nan]])
    result = quantise(frame, MR, scale=Scale(0.5, 0.0))
    check(frame, result, MR)
    assert (result.error, result.values.tolist()) == (0, [[-2, 4, -32768]])
    byte = np.array([[3, 255]], np.uint8)
    assert quantise(byte, SC, scale=Scale(1.0, 0.0)).values.dtype == "u1"
    assert quantise(byte, MR, scale=Scale(1.0, 0.0)).values.dtype == "u2"
    result = quantise(np.full((2, 2), np.nan), MR, scale=common_scale(-1, 1, PET, integers=False))
    assert (result.padding, result.values.dtype) == (-32768, "i2")


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_a_scale_of_what_is_not_finite(wrong):
    with pytest.raises(InvalidValue, match="isfinite"):
        common_scale(0.0, wrong, MR, integers=False)


# -- what cannot be stored -------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [[np.inf, 1], [-np.inf, np.nan], [np.inf, -np.inf, np.nan]])
def test_infinite_values_name_the_way_out(wrong):
    with pytest.raises(InvalidValue, match=r"slice 4 .*array.where\(np.isfinite\(array\)\)"):
        quantise(np.array([wrong]), MR, name="slice 4")


@pytest.mark.parametrize(
    ("dtype", "way"),
    [("c8", r"array.real"), ("O", "astype"), ("U3", "convert"), ("m8[s]", "timedelta64"),
     ("M8[s]", "date"), (np.dtype([("a", "f4")]), "convert")],
)  # fmt: skip
def test_other_kinds_of_values(dtype, way):
    with pytest.raises(InvalidValue, match=way):
        require_numbers(dtype)
    with pytest.raises(InvalidValue, match=way):
        quantise(np.zeros((2, 2), dtype), MR)


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="is float64 here")
def test_long_doubles():
    with pytest.raises(InvalidValue, match="float64"):
        quantise(np.zeros((2, 2), np.longdouble), MR)


def test_ranges_beyond_float64():
    with pytest.raises(InvalidValue, match="divide"):
        quantise(np.array([[-1.5e308, 1.5e308]]), MR)
    with pytest.raises(InvalidValue, match="another kind"):
        quantise(np.array([[-1.5, 1.5]]), POSITIVE_PET)


def test_the_ends_of_float32():
    frame = np.array([[np.finfo("f4").min, 0, 17, np.finfo("f4").max]], np.float32)
    result = quantise(frame, MR)
    check(frame, result, MR)
    assert result.error <= half_a_step(frame, MR)


@pytest.mark.parametrize("shape", [(0, 3), (3,), (1, 2, 3, 4)])
def test_shapes_that_are_no_frame(shape):
    with pytest.raises(InvalidValue, match="shape"):
        quantise(np.zeros(shape), MR)


def test_colours():
    frame = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    result = quantise(frame.swapaxes(0, 1), SC)
    np.testing.assert_array_equal(result.values, frame.swapaxes(0, 1))
    assert result.values.flags.c_contiguous
    assert (result.smallest, result.largest) == (frame.min(), frame.max())
    assert result.scale == Scale(1, 0)
    for wrong in (frame.astype("u2"), frame.astype("f4"), frame[..., :2]):
        with pytest.raises(InvalidValue, match="uint8"):
            quantise(wrong, SC)


# -- memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "u4", "f4", "f8", ">f4", ">i2"])
def test_the_order_in_memory_makes_no_difference(dtype):
    rng = np.random.default_rng(0)
    frame = rng.normal(0, 200, (300, 200)).astype(dtype)
    expected = quantise(frame, MR)
    wide = np.zeros((600, 400), dtype)
    wide[::2, ::2] = frame
    for other in (np.asfortranarray(frame), wide[::2, ::2], frame[::-1, ::-1][::-1, ::-1]):
        before = other.copy()
        result = quantise(other, MR)
        np.testing.assert_array_equal(result.values, expected.values)
        assert result.values.flags.c_contiguous
        assert result.values.dtype.isnative
        assert (result.scale, result.error) == (expected.scale, expected.error)
        np.testing.assert_array_equal(other, before)
    check(frame, expected, MR)


def test_nan_is_found_in_any_order_and_the_frame_is_left_as_it_was():
    frame = np.random.default_rng(0).normal(0, 200, (50, 40)).astype("f4")
    frame[10:20] = np.nan
    before = frame.copy()
    for other in (frame, np.asfortranarray(frame), frame[::2]):
        result = quantise(other, MR)
        check(other, result, MR)
    np.testing.assert_array_equal(frame, before)


# -- decimals --------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.floats(-1.7e308, 1.7e308, allow_nan=False))
@example(5e-324)
@example(-1 / 3)
@example(123456789012345680.0)
def test_decimals_of_16_characters(value):
    text = decimal_text(value)
    assert len(text) <= 16
    assert float(text) == float(decimal_text(value))
    below, above = decimal_bound(value, above=False), decimal_bound(value, above=True)
    assert below <= value <= above
    assert above - below <= 1e-9 * abs(value) + 1e-322
    for bound in (below, above):
        assert float(decimal_text(bound)) == bound


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_decimals_are_finite(wrong):
    with pytest.raises(InvalidValue, match="DS has no"):
        decimal_text(wrong)


HUGE = [1.7976931348623157e308, -1.7976931348623157e308, 1.7e308, -1e308, 1.0]


@pytest.mark.parametrize("target", [MR, SC, PET, MULTIFRAME])
@pytest.mark.parametrize(
    "source", [None, Scale(0.5, 0.0), Scale(2.0, -1e308), Scale(1e308, 0.0), Scale(1.0, 1e308)]
)
def test_huge_values_are_stored_or_refused(target: Target, source: Scale | None) -> None:
    for first in HUGE:
        for second in HUGE:
            frame = np.array([[first, second], [second, first]])
            try:
                stored = quantise(frame, target, source=source)
            except InvalidValue:
                with pytest.raises(InvalidValue):
                    common_scale(frame.min(), frame.max(), target, integers=False)
                continue
            values = restored(stored)
            assert np.isfinite(values).all()
            assert (abs(values / 4 - frame / 4) <= stored.error / 4 * (1 + 1e-12)).all()
            with pytest.raises(InvalidValue, match="the scale of the series"):
                quantise(np.append(frame, [[1.7e308, -1e307]], axis=0), target, scale=Scale(0.5, 0))


def test_one_exploded_value_of_a_fit() -> None:
    frame = np.full((2, 3), 7.5)
    frame[0, 0] = 1.7e308
    stored = quantise(frame, MR, source=Scale(0.5, 0.0))
    assert abs(restored(stored) / 1.7e308 - frame / 1.7e308).max() < 1 / 65_000
