"""Values of an array back to the bytes of a file, and how images are put into chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dbdicom_xr.arrays.reader import Scaling
from dbdicom_xr.formats.zarr_pixels import form_of
from dbdicom_xr.formats.zarr_store import chunk_shape
from dbdicom_xr.pixels.decode import decode_native
from dbdicom_xr.pixels.layout import PixelLayout
from dbdicom_xr.pixels.rescale import rescale

LITTLE, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


@given(data=st.data())
def test_what_is_decoded_becomes_the_same_bytes(data: Any) -> None:
    bits = data.draw(st.sampled_from([8, 16, 32]))
    samples = data.draw(st.sampled_from([1, 3]))
    layout = PixelLayout(
        data.draw(st.integers(1, 5)),
        data.draw(st.integers(1, 5)),
        bits,
        bits,
        bits - 1,
        data.draw(st.sampled_from([0, 1])),
        samples,
        data.draw(st.sampled_from([0, 1])),
        "RGB" if samples == 3 else "MONOCHROME2",
        data.draw(st.sampled_from([LITTLE, BIG])),
        vr="OB" if bits == 8 else "OW",
    )
    stored = data.draw(hnp.arrays(np.uint8, layout.frame_bytes)).tobytes()
    form = form_of(layout, Scaling())
    assert form is not None
    values = np.swapaxes(decode_native(stored, layout), 0, 1)
    assert b"".join(form.stored(values)) == stored
    assert form.spans(3) == [(3 * layout.frame_bytes, layout.frame_bytes)]


@given(
    stored=hnp.arrays(np.uint16, (3, 4)),
    slope=st.sampled_from([1.0, 2.0, 0.1, 3.25, -0.5, 1e-4]),
    intercept=st.sampled_from([0.0, -1024.0, 7.5, 1e3]),
)
def test_real_values_become_what_is_stored(
    stored: np.ndarray[Any, Any], slope: float, intercept: float
) -> None:
    form = form_of(PixelLayout(3, 4), Scaling(slope, intercept))
    assert form is not None
    for dtype in (np.float32, np.float64):
        values = rescale(stored, slope, intercept, np.dtype(dtype))
        step = abs(slope)
        if np.abs(values.astype(float) - (stored * slope + intercept)).max() < step / 100:
            assert b"".join(form.stored(values.T)) == stored.tobytes()


def test_a_tile_lies_in_lines() -> None:
    layout = PixelLayout(2, 3, image_rows=4, image_columns=6)
    image = np.arange(24, dtype="<u2").reshape(4, 6)
    form = form_of(layout, Scaling())
    assert form is not None
    whole = bytearray(form.pixel_bytes(4))
    for number in range(4):
        down, across = divmod(number, 2)
        tile = image[2 * down : 2 * down + 2, 3 * across : 3 * across + 3]
        for (at, length), run in zip(form.spans(number), form.stored(tile.T), strict=True):
            assert len(run) == length
            whole[at : at + length] = run
    assert bytes(whole) == image.tobytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"transfer_syntax": "1.2.840.10008.1.2.5"},
        {"bits_allocated": 1, "bits_stored": 1, "high_bit": 0},
        {"photometric_interpretation": "YBR_FULL", "samples_per_pixel": 3},
        {"transfer_syntax": BIG, "bits_allocated": 8, "bits_stored": 8, "high_bit": 7},
    ],
)
def test_where_values_do_not_tell_the_bytes(changes: dict[str, Any]) -> None:
    assert form_of(PixelLayout(2, 2, **changes), Scaling()) is None


@given(
    block=st.lists(st.integers(1, 60), min_size=0, max_size=4),
    frame=st.integers(1, 4 << 20),
)
def test_chunks_fill_a_shard(block: list[int], frame: int) -> None:
    chunk = chunk_shape(block, frame)
    assert all(size % part == 0 for size, part in zip(block, chunk, strict=True))
    count = int(np.prod(chunk, dtype=np.int64))
    assert count == 1 or count * frame <= 1 << 20
