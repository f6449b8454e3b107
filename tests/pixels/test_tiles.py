"""Tiles of an image are what stands at their places in the whole image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dbdicom_xr.errors import LayoutError
from dbdicom_xr.pixels.decode import decode_native
from dbdicom_xr.pixels.layout import PixelLayout
from dbdicom_xr.pixels.tiles import TiledImages, image_of_tile

BIG = "1.2.840.10008.1.2.2"
EIGHT = {"bits_allocated": 8, "bits_stored": 8, "high_bit": 7}

# Rows of tiles that begin inside a word (3 x 9 bytes) or a byte (3 x 9 bits), and in colour.
LAYOUTS = {
    "16 bit": {},
    "16 bit, big endian": {"transfer_syntax": BIG},
    "8 bit": EIGHT,
    "8 bit in words, big endian": {**EIGHT, "transfer_syntax": BIG},
    "8 bit in bytes, big endian": {**EIGHT, "transfer_syntax": BIG, "vr": "OB"},
    "1 bit": {"bits_allocated": 1, "bits_stored": 1, "high_bit": 0},
    "colour by pixel": {**EIGHT, "samples_per_pixel": 3, "photometric_interpretation": "RGB"},
    "colour by plane": {
        **EIGHT, "samples_per_pixel": 3, "photometric_interpretation": "RGB",
        "planar_configuration": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
def test_tiles_of_a_native_image(options):
    tile = PixelLayout(rows=3, columns=3, image_rows=6, image_columns=9, **options)
    whole = replace(tile, rows=6, columns=9, image_rows=0, image_columns=0)
    data = np.random.default_rng(0).integers(0, 256, whole.frame_bytes + 1, np.uint8).tobytes()
    image = decode_native(data, whole)

    def read(file, number, layout):
        first, length, skip = layout.frame_span(number)
        return decode_native(data[first : first + length], layout, skip)

    images = TiledImages(read)
    for number in (0, 1, 2, 3, 4, 5, 0, 5, 2):
        top, left = 3 * (number // 3), 3 * (number % 3)
        expected = image[top : top + 3, left : left + 3]
        np.testing.assert_array_equal(images.frame(0, number, tile), expected)


def test_a_compressed_image_is_decoded_as_a_whole():
    tile = PixelLayout(3, 3, image_rows=6, image_columns=9, transfer_syntax="1.2.840.10008.1.2.5")
    number, image, rows, columns = image_of_tile(tile, 4)
    assert (number, image.frame_shape, image.is_tile) == (0, (6, 9), False)
    assert (rows, columns) == (slice(3, 6), slice(3, 6))


@pytest.mark.parametrize("size", [(7, 9), (6, 8), (2, 9), (6, 2)])
def test_tiles_have_to_fill_the_image(size):
    layout = PixelLayout(3, 3, image_rows=size[0], image_columns=size[1])
    with pytest.raises(LayoutError, match="Tiles of 3 rows and 3 columns do not fill an image"):
        layout.check()
