from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.pixels.utils import pack_bits

from dbdicom_xr.errors import PixelError
from dbdicom_xr.pixels.overlays import (
    Overlay,
    embedded_bits,
    is_overlay_group,
    place_on_image,
    read_overlay,
    unpack,
)

sizes = st.integers(1, 9)


@given(st.integers(1, 3), sizes, sizes, st.booleans(), st.integers(0, 99))
def test_bits_come_back(frames: int, rows: int, columns: int, swapped: bool, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (frames, rows, columns)).astype(bool)
    data = pack_bits(bits.astype("u1"))
    if swapped:
        data = np.frombuffer(data, "u2").byteswap().tobytes()
    got = unpack(data, Overlay(0x6000, rows, columns, frames=frames), swapped=swapped)
    np.testing.assert_array_equal(got, bits)


def test_too_few_bytes() -> None:
    with pytest.raises(PixelError, match="3 frames of 8 x 8 pixels need 24 bytes, 23"):
        unpack(bytes(23), Overlay(0x6000, 8, 8, frames=3))


@given(sizes, sizes, sizes, sizes, st.integers(-12, 12), st.integers(-12, 12))
def test_every_pixel_is_placed_or_counted(rows, columns, height, width, top, left) -> None:
    bits = np.random.default_rng(rows).integers(0, 2, (1, height, width)).astype(bool)
    overlay = Overlay(0x6000, height, width, origin=(top, left))
    got, outside = place_on_image(bits, overlay, (rows, columns))
    expected = np.zeros((rows, columns), bool)
    lost = 0
    for row, column in np.argwhere(bits[0]).tolist():
        at = (row + top - 1, column + left - 1)
        if 0 <= at[0] < rows and 0 <= at[1] < columns:
            expected[at] = True
        else:
            lost += 1
    np.testing.assert_array_equal(got[0], expected)
    assert outside == lost


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_bits_inside_the_pixels(dtype: str) -> None:
    values = np.random.default_rng(3).integers(0, 1 << 8 * np.dtype(dtype).itemsize, (4, 5))
    for bit in range(8 * np.dtype(dtype).itemsize):
        got = embedded_bits(values.astype(dtype), Overlay(0x6000, 4, 5, bit=bit))
        np.testing.assert_array_equal(got, (values >> bit) % 2 == 1)


@pytest.mark.parametrize(("dtype", "bit"), [("u2", 16), ("i2", 3), ("f4", 0)])
def test_no_such_bit(dtype: str, bit: int) -> None:
    with pytest.raises(PixelError, match=f"in bit {bit} of the pixels"):
        embedded_bits(np.zeros((2, 2), dtype), Overlay(0x6000, 2, 2, bit=bit))


BESIDE = {0x3000: b"ab", 0x0010: 4, 0x0011: 4}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({**BESIDE, 0x0010: None}, r"\(6004,0010\) of the overlay is None"),
        ({**BESIDE, 0x0011: 0}, r"\(6004,0011\) of the overlay is 0, not a number from 1"),
        ({**BESIDE, 0x0015: "x"}, r"\(6004,0015\)"),
        ({**BESIDE, 0x0015: -1}, r"\(6004,0015\)"),
        ({**BESIDE, 0x0051: 0}, r"\(6004,0051\)"),
        ({**BESIDE, 0x0050: 3}, r"\(6004,0050\) of the overlay is 3, not a row and a column"),
        ({**BESIDE, 0x0050: [1, None]}, r"\(6004,0050\)"),
        ({0x0102: -2}, r"\(6004,0102\)"),
    ],
)
def test_headers_that_make_no_sense(header: dict, message: str) -> None:
    with pytest.raises(PixelError, match=message):
        read_overlay(0x6004, header.get, (8, 9))


def test_one_inside_the_pixels_has_their_size() -> None:
    overlay = read_overlay(0x6000, {0x0102: 12}.get, (8, 9))
    assert (overlay.rows, overlay.columns, overlay.bit, overlay.frames) == (8, 9, 12, None)


def test_groups() -> None:
    found = [group for group in range(0x5FF0, 0x6110) if is_overlay_group(group)]
    assert found == list(range(0x6000, 0x6100, 2))
