from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import ExplicitVRLittleEndian

from dbdicom_xr.errors import PixelError
from dbdicom_xr.pixels.palette import Palette, expand_segments, make_palette

COLOURS = ("Red", "Green", "Blue")


def as_pydicom_sees_it(stored, descriptor, tables, prefix="") -> np.ndarray:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for colour, table in zip(COLOURS, tables, strict=True):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", list(descriptor))
        setattr(dataset, f"{prefix}{colour}PaletteColorLookupTableData", table)
    return apply_color_lut(stored, dataset)


@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("count", [1, 2, 200, 256, 1000, 65536])
@pytest.mark.parametrize("bits", [8, 16])
def test_as_pydicom(bits: int, count: int, first: int) -> None:
    rng = np.random.default_rng(count + bits)
    tables = [rng.integers(0, 1 << bits, count).astype(f"<u{bits // 8}").tobytes() for _ in COLOURS]
    if count * bits % 16:
        tables = [table + b"\0" for table in tables]
    palette = make_palette([(count % 65536, first, bits)] * 3, tables)
    assert palette.dtype == f"u{bits // 8}"
    assert palette.colours.shape == (count, 3)
    stored = rng.integers(first, min(first + count, 65536), (9, 11)).astype("u2")
    got = palette.apply(stored)
    assert got.shape == (9, 11, 3)
    if bits == 8 and count > 256:
        return  # pydicom takes the type of the colours for that of the numbers
    if count * bits % 16:
        return  # and counts the byte that fills up
    expected = as_pydicom_sees_it(stored, (count % 65536, first, bits), tables)
    np.testing.assert_array_equal(got, expected)


def test_values_beyond_the_ends() -> None:
    palette = Palette(-2, np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], "u2"))
    stored = np.array([[-3, -2, -1, 0, 1, 30000]], "i2")
    assert palette.apply(stored)[0, :, 0].tolist() == [1, 1, 4, 7, 7, 7]


@pytest.mark.parametrize("signed", [False, True])
def test_the_first_value_has_the_sign_of_the_pixels(signed: bool) -> None:
    for written in (-5, 65531):
        palette = make_palette([(2, written, 8)] * 3, [b"\1\2"] * 3, signed=signed)
        assert palette.first == (-5 if signed else 65531)


ENTRIES = [0, 255, 3, 128]
IN_WORDS = struct.pack("<4H", *ENTRIES)


@pytest.mark.parametrize(
    ("bits", "table", "big", "dtype"),
    [
        (8, bytes(ENTRIES), False, "u1"),
        (8, IN_WORDS, False, "u1"),  # a word for each entry
        (16, IN_WORDS, False, "u2"),
        (16, bytes(ENTRIES), False, "u1"),  # a byte for each, against the descriptor
        (8, bytes([255, 0, 128, 3]), True, "u1"),
        (8, struct.pack(">4H", *ENTRIES), True, "u1"),
        (16, struct.pack(">4H", *ENTRIES), True, "u2"),
    ],
)
def test_ways_to_write_entries(bits: int, table: bytes, big: bool, dtype: str) -> None:
    palette = make_palette([(4, 0, bits)] * 3, [table] * 3, big_endian=big)
    assert palette.dtype == dtype
    assert palette.colours[:, 1].tolist() == ENTRIES


# -- segments ----------------------------------------------------------------------------------

SEGMENTS = [
    ([0, 3, 5, 6, 9], [5, 6, 9]),
    ([0, 1, 0, 1, 4, 100], [0, 25, 50, 75, 100]),
    ([0, 1, 100, 1, 4, 0], [100, 75, 50, 25, 0]),
    ([0, 1, 7, 1, 3, 7], [7, 7, 7, 7]),
    ([0, 2, 3, 4, 1, 2, 8, 0, 1, 1], [3, 4, 6, 8, 1]),
]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("segments", "entries"), SEGMENTS)
def test_segments(segments: list[int], entries: list[int], bits: int, big: bool) -> None:
    if bits == 16:
        table = struct.pack(f"{'>' if big else '<'}{len(segments)}H", *segments)
    else:
        table = bytes([*segments, 0][: len(segments) + len(segments) % 2])
        table = np.frombuffer(table, "u2").byteswap().tobytes() if big else table
    got = expand_segments(table, len(entries), bits, big_endian=big)
    assert got.tolist() == entries
    assert got.dtype == f"u{bits // 8}"


def test_indirect_segments_repeat_others() -> None:
    # Words: discrete at 0, linear at 4 (byte 8); both once more from byte 0, from the last value.
    words = [0, 2, 10, 20, 1, 2, 40, 2, 2, 0, 0]
    expected = [10, 20, 30, 40, 10, 20, 30, 40]
    assert expand_segments(struct.pack("<11H", *words), 8, 16).tolist() == expected
    # A linear segment that is repeated begins at the value before.
    words = [0, 2, 10, 20, 1, 2, 40, 0, 1, 0, 2, 1, 8, 0]
    expected = [10, 20, 30, 40, 0, 20, 40]
    assert expand_segments(struct.pack("<14H", *words), 7, 16).tolist() == expected
    data = bytes([0, 2, 10, 20, 1, 2, 40, 2, 2, 0, 0, 0, 0])
    assert expand_segments(data, 8, 8).tolist() == [10, 20, 30, 40, 10, 20, 30, 40]


@given(
    st.lists(
        st.one_of(
            st.lists(st.integers(0, 255), min_size=1, max_size=9).map(lambda v: [0, len(v), *v]),
            st.tuples(st.just(1), st.integers(1, 200), st.integers(0, 255)).map(list),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([8, 16]),
)
def test_segments_as_pydicom_expands_them(segments: list[list[int]], bits: int) -> None:
    numbers = [0, 1, 77, *(number for segment in segments for number in segment)]
    count = 1 + sum(segment[1] for segment in segments)
    table = struct.pack(f"<{len(numbers)}{'BH'[bits == 16]}", *numbers)
    table += b"\0" * (len(table) % 2)
    got = make_palette([(count, 0, bits)] * 3, [table] * 3, segmented=True)
    stored = np.arange(min(count, 256)).astype("u1")[None]
    expected = as_pydicom_sees_it(stored, (count, 0, bits), [table] * 3, "Segmented")
    # It works out steps in floating point, so that halves may be rounded the other way.
    assert np.abs(got.apply(stored).astype(int) - expected).max() <= 1


# -- damage ------------------------------------------------------------------------------------


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}H", *numbers)


@pytest.mark.parametrize(
    ("descriptor", "table", "segmented", "message"),
    [
        ((4, 0, 8), b"abc", False, "4 entries has 3 bytes only"),
        ((300, 0, 16), bytes(100), False, "300 entries has 100 bytes only"),
        ((0, 0, 16), b"", False, "65536 entries has 0 bytes only"),
        ((4, 0, 12), bytes(8), False, "12 bits per entry"),
        ((4, 0), bytes(8), False, "not 3 numbers"),
        (None, bytes(8), False, "not 3 numbers"),
        ((4, 0, 16), words(1, 4, 9), True, "linear, and begins nowhere"),
        ((4, 0, 16), words(9, 4, 9), True, "unknown kind 9"),
        ((4, 0, 16), words(0, 4, 9), True, "cut off"),
        ((4, 0, 16), words(0, 1, 9, 1, 3), True, "cut off"),
        ((4, 0, 16), words(0, 1, 9, 2, 1, 6, 0), True, "leads to another"),
        ((4, 0, 16), words(0, 1, 9, 2, 1, 600, 0), True, "cut off"),
        ((4, 0, 16), words(0, 2, 9, 9), True, "give 2 entries, its descriptor says 4"),
        ((4, 0, 16), words(0, 1, 9, 1, 60000, 7), True, "give 60001 entries"),
        ((4, 0, 16), words(0, 1, 9, 1, 2, 7, 2, 65535, 6, 0), True, "entries, its descriptor"),
        ((4, 0, 8), b"", True, "give 0 entries"),
    ],
)
def test_damage(descriptor, table: bytes, segmented: bool, message: str) -> None:
    with pytest.raises(PixelError, match=message):
        make_palette([descriptor] * 3, [table] * 3, segmented=segmented)


def test_colours_that_contradict_each_other() -> None:
    with pytest.raises(PixelError, match="do not have the same entries"):
        make_palette([(2, 0, 8), (2, 1, 8), (2, 0, 8)], [b"ab"] * 3)


def test_palettes_are_told_apart_by_their_text() -> None:
    many = np.zeros((65536, 3), "u2")
    other = many.copy()
    other[40000, 1] = 1
    assert repr(Palette(0, many)) != repr(Palette(0, other))
    assert repr(Palette(0, many)) == repr(Palette(0, many.copy()))
