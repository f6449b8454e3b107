from __future__ import annotations

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

from dbdicom_xr.errors import LayoutError
from dbdicom_xr.pixels.decode import decode_native
from dbdicom_xr.pixels.layout import PixelLayout, rows_of

BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_2000 = "1.2.840.10008.1.2.4.90"


@pytest.mark.parametrize(
    ("changes", "dtype", "shape", "bits"),
    [
        ({}, "u2", (4, 5), 320),
        ({"pixel_representation": 1}, "i2", (4, 5), 320),
        ({"bits_allocated": 8, "bits_stored": 8, "high_bit": 7}, "u1", (4, 5), 160),
        ({"bits_allocated": 1, "bits_stored": 1, "high_bit": 0}, "u1", (4, 5), 20),
        ({"bits_allocated": 32, "transfer_syntax": BIG_ENDIAN}, "u4", (4, 5), 640),
        ({"bits_allocated": 32, "keyword": "FloatPixelData"}, "f4", (4, 5), 640),
        ({"bits_allocated": 64, "keyword": "DoubleFloatPixelData"}, "f8", (4, 5), 1280),
        ({"samples_per_pixel": 3}, "u2", (4, 5, 3), 960),
        (
            {"samples_per_pixel": 3, "photometric_interpretation": "YBR_FULL_422"},
            "u2",
            (4, 5, 3),
            640,
        ),
    ],
)
def test_sizes(changes: dict, dtype: str, shape: tuple[int, ...], bits: int) -> None:
    layout = PixelLayout(4, 5, **changes)
    layout.check()
    assert layout.dtype == np.dtype(dtype)
    assert layout.dtype.isnative
    assert (layout.frame_shape, layout.frame_bits) == (shape, bits)
    assert layout.frame_bytes == -(-bits // 8)


def test_frames_of_single_bits_share_bytes() -> None:
    layout = PixelLayout(5, 5, bits_allocated=1, bits_stored=1, high_bit=0)
    assert [layout.frame_span(k) for k in range(4)] == [
        (0, 4, 0),
        (3, 4, 1),
        (6, 4, 2),
        (9, 4, 3),
    ]


def test_frames_of_odd_length_share_words_in_big_endian() -> None:
    layout = PixelLayout(3, 3, 8, 8, 7, transfer_syntax=BIG_ENDIAN, vr="OW")
    assert [layout.frame_span(k) for k in range(3)] == [(0, 10, 0), (8, 10, 8), (18, 10, 0)]
    assert replace(layout, vr="OB").frame_span(1) == (9, 9, 0)


def test_range_of_values() -> None:
    native = PixelLayout(4, 4, bits_stored=12, high_bit=11)
    assert native.value_bits == 12
    assert replace(native, transfer_syntax=JPEG_2000).value_bits == 16


def test_one_layout_for_a_series() -> None:
    layout = PixelLayout(4, 5)
    assert hash(layout) == hash(PixelLayout(4, 5))
    assert pickle.loads(pickle.dumps(layout)) == layout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "Rows is 0; it can be from 1 to 65535"),
        ({"columns": 70000}, "Columns is 70000"),
        ({"bits_allocated": 12}, "BitsAllocated is 12; it can be 1 or 8 or 16 or 32 or 64"),
        ({"bits_stored": 17}, "BitsStored is 17; it can be from 1 to 16"),
        ({"bits_stored": 0}, "BitsStored is 0"),
        ({"bits_stored": 12}, "HighBit is 15, but with BitsStored 12 it must be 11"),
        ({"pixel_representation": 2}, "PixelRepresentation is 2; it can be 0 or 1"),
        ({"samples_per_pixel": 4}, "SamplesPerPixel is 4; it can be 1 or 3"),
        ({"samples_per_pixel": 3, "planar_configuration": 2}, "PlanarConfiguration is 2"),
        ({"keyword": "Pixels"}, "pixel data keyword is 'Pixels'"),
        ({"keyword": "FloatPixelData"}, "BitsAllocated is 16; it can be 32"),
        (
            {"keyword": "FloatPixelData", "bits_allocated": 32, "transfer_syntax": JPEG_2000},
            "FloatPixelData cannot be compressed",
        ),
        ({"photometric_interpretation": "YBR_FULL_422"}, "SamplesPerPixel is 1; it can be 3"),
    ],
)
def test_impossible(changes: dict, message: str) -> None:
    with pytest.raises(LayoutError, match=re.escape(message)):
        PixelLayout(**{"rows": 4, "columns": 4, **changes}).check()


def test_high_bit_does_not_matter_in_a_codestream() -> None:
    PixelLayout(4, 4, bits_stored=12, high_bit=15, transfer_syntax=JPEG_2000).check()


def test_half_a_pair_of_chroma() -> None:
    layout = PixelLayout(3, 3, 8, 8, 7, 0, 3, photometric_interpretation="YBR_FULL_422")
    with pytest.raises(LayoutError, match="even number of pixels"):
        layout.check()


ROWS = {
    "8 bits": {"bits_allocated": 8, "bits_stored": 8, "high_bit": 7},
    "16 bits": {},
    "12 of 16, signed": {"bits_stored": 12, "high_bit": 11, "pixel_representation": 1},
    "big endian": {"transfer_syntax": "1.2.840.10008.1.2.2"},
    "floats": {"bits_allocated": 32, "keyword": "FloatPixelData"},
    "colour": {
        "bits_allocated": 8, "bits_stored": 8, "high_bit": 7, "samples_per_pixel": 3,
        "photometric_interpretation": "RGB",
    },
    "YBR": {
        "bits_allocated": 8, "bits_stored": 8, "high_bit": 7, "samples_per_pixel": 3,
        "photometric_interpretation": "YBR_FULL",
    },
    "bits": {"bits_allocated": 1, "bits_stored": 1, "high_bit": 0},
}  # fmt: skip


@pytest.mark.parametrize("first", [0, 1, 5])
@pytest.mark.parametrize("kind", ROWS)
def test_rows_are_read_alone(kind: str, first: int) -> None:
    layout = PixelLayout(rows=6, columns=8, **ROWS[kind])  # type: ignore[arg-type]
    data = np.random.default_rng(0).integers(0, 255, 3 * layout.frame_bytes, np.uint8).tobytes()
    for frame in range(3):
        start, length, bits = layout.frame_span(frame)
        whole = decode_native(data[start : start + length], layout, bits)
        for count in range(1, 6 - first + 1):
            rows = rows_of(layout, first, count)
            assert rows is not None
            start, length, bits = rows.frame_span(frame)
            assert length == layout.frame_bytes * count // 6
            part = decode_native(data[start : start + length], rows, bits)
            np.testing.assert_array_equal(part, whole[first : first + count])


BYTES = {"bits_allocated": 8, "bits_stored": 8, "high_bit": 7}
NOT_APART = {
    "compressed": {"transfer_syntax": "1.2.840.10008.1.2.5"},
    "tiles": {"image_rows": 12, "image_columns": 16},
    "bits": {"columns": 7, "bits_allocated": 1, "bits_stored": 1, "high_bit": 0},
    "planes": {"samples_per_pixel": 3, "planar_configuration": 1},
    "pairs": {"samples_per_pixel": 3, "photometric_interpretation": "YBR_FULL_422", **BYTES},
    "words": {"transfer_syntax": BIG_ENDIAN, **BYTES},
}


@pytest.mark.parametrize("kind", NOT_APART)
def test_rows_that_are_not_apart(kind: str) -> None:
    layout = PixelLayout(**{"rows": 6, "columns": 8, **NOT_APART[kind]})  # type: ignore[arg-type]
    assert rows_of(layout, 1, 2) is None
