"""Native frames equal pydicom's, and the values that were written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels.utils import pack_bits
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dbdicom_xr.errors import LayoutError, PixelError
from dbdicom_xr.pixels.decode import decode_native
from dbdicom_xr.pixels.layout import PixelLayout
from tests.pixels.made import layout_of, make, random_values

SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
sizes = st.integers(1, 9)


def check_frames(dataset, frames: int = 1) -> None:
    expected = dataset.pixel_array.reshape(frames, *layout_of(dataset).frame_shape)
    layout = layout_of(dataset)
    value = dataset[layout.keyword].value
    for number in range(frames):
        offset, length, bit_offset = layout.frame_span(number)
        got = decode_native(memoryview(value)[offset : offset + length], layout, bit_offset)
        assert got.dtype == layout.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(got, expected[number])


@st.composite
def images(draw):
    allocated = draw(st.sampled_from([8, 16, 32]))
    return (
        draw(st.sampled_from(SYNTAXES)),
        allocated,
        draw(st.one_of(st.just(allocated), st.integers(1, allocated))),
        draw(st.booleans()),
        draw(st.sampled_from([None, 0, 1])),  # planar configuration of colour
        draw(st.integers(1, 3)),
        (draw(sizes), draw(sizes)),
        draw(st.integers(0, 2**32)),
    )


@given(images())
@settings(max_examples=150)
def test_integers(image) -> None:
    syntax, allocated, stored, signed, planar, frames, (rows, columns), seed = image
    colour = {} if planar is None else {"SamplesPerPixel": 3, "PlanarConfiguration": planar}
    samples = 1 if planar is None else 3
    dtype = f"{'>' if syntax == ExplicitVRBigEndian else '<'}{'ui'[signed]}{allocated // 8}"
    # All bits are random: those above BitsStored must not leak into the values.
    values = random_values(seed, (frames, rows, columns, samples), allocated, signed, dtype)
    data = values.tobytes()
    dataset = make(
        data + b"\0" * (len(data) % 2),
        rows,
        columns,
        syntax=syntax,
        frames=frames,
        vr="OB" if allocated == 8 and syntax == ExplicitVRLittleEndian else "OW",
        BitsAllocated=allocated,
        BitsStored=stored,
        PixelRepresentation=int(signed),
        PhotometricInterpretation="MONOCHROME2" if planar is None else "RGB",
        **colour,
    )
    check_frames(dataset, frames)
    if stored == allocated and planar == 0 and dtype[1:] != "u1" and dtype[1:] != "i1":
        got = decode_native(data, layout_of(dataset))
        np.testing.assert_array_equal(got, values[0])  # against the source, not pydicom alone


@given(st.integers(1, 4), sizes, sizes, st.integers(0, 2**32))
def test_single_bits(frames: int, rows: int, columns: int, seed: int) -> None:
    values = random_values(seed, (frames, rows, columns), 1, False, "u1")
    dataset = make(
        pack_bits(values), rows, columns, frames=frames, vr="OB", BitsAllocated=1, BitsStored=1
    )
    check_frames(dataset, frames)
    layout = layout_of(dataset)
    offset, length, bits = layout.frame_span(frames - 1)
    last = decode_native(dataset.PixelData[offset : offset + length], layout, bits)
    np.testing.assert_array_equal(last, values[-1])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(
    ("keyword", "vr", "bits"), [("FloatPixelData", "OF", 32), ("DoubleFloatPixelData", "OD", 64)]
)
def test_floats(syntax: str, keyword: str, vr: str, bits: int) -> None:
    byte_order = ">" if syntax == ExplicitVRBigEndian else "<"
    values = np.array([[0, -1.5, np.pi], [np.nan, np.inf, 1e-30]], f"{byte_order}f{bits // 8}")
    dataset = make(
        values.tobytes(), 2, 3, syntax=syntax, keyword=keyword, vr=vr, BitsAllocated=bits
    )
    check_frames(dataset)
    got = decode_native(values.tobytes(), layout_of(dataset))
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_luminance_and_chroma_become_rgb(photometric: str) -> None:
    per_pixel = 3 if photometric == "YBR_FULL" else 2
    data = random_values(5, (2, 4, 6, per_pixel), 8, False, "u1").tobytes()
    dataset = make(
        data,
        4,
        6,
        frames=2,
        vr="OB",
        BitsAllocated=8,
        BitsStored=8,
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation=photometric,
    )
    check_frames(dataset, 2)


@pytest.mark.parametrize("bits_stored", [12, 16])
def test_view_of_the_buffer(bits_stored: int) -> None:
    buffer = bytearray(random_values(1, (6, 7), bits_stored, False, "<u2").tobytes())
    layout = PixelLayout(6, 7, bits_stored=bits_stored, high_bit=bits_stored - 1)
    frame = decode_native(buffer, layout)
    buffer[0:2] = b"\x07\x00"
    assert frame[0, 0] == 7


def test_bytes_in_big_endian_words() -> None:
    layout = PixelLayout(3, 3, 8, 8, 7, transfer_syntax=ExplicitVRBigEndian, vr="OW")
    whole = bytes([2, 1, 4, 3, 6, 5, 8, 7, 0, 9])
    np.testing.assert_array_equal(decode_native(whole, layout).ravel(), range(1, 10))
    with pytest.raises(PixelError, match="needs 10 bytes, 9 are there"):
        decode_native(whole[:9], layout)  # the last pixel is the missing byte


def test_a_missing_padding_byte_is_no_loss() -> None:
    frame = decode_native(bytes(range(9)), PixelLayout(3, 3, 8, 8, 7))
    np.testing.assert_array_equal(frame.ravel(), range(9))


@pytest.mark.parametrize("length", [0, 1, 31])
def test_too_short(length: int) -> None:
    with pytest.raises(PixelError, match=rf"needs 32 bytes, {length} are there"):
        decode_native(bytes(length), PixelLayout(4, 4))


def test_impossible_layout() -> None:
    with pytest.raises(LayoutError, match="BitsAllocated is 24"):
        decode_native(bytes(48), PixelLayout(4, 4, bits_allocated=24))


def test_unused_bits_are_dropped_in_big_endian_words() -> None:
    layout = PixelLayout(1, 2, 8, 1, 0, transfer_syntax="1.2.840.10008.1.2.2", vr="OW")
    assert decode_native(bytes([163, 216]), layout).tolist() == [[0, 1]]


# -- YBR_PARTIAL ---------------------------------------------------------------------------------


def partial(rgb: np.ndarray) -> np.ndarray:
    """Return colours as PS3.3 C.7.6.3.1.2 writes them in YBR_PARTIAL_422."""
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    return np.stack(
        [
            0.2568 * r + 0.5041 * g + 0.0979 * b + 16,
            -0.1482 * r - 0.2910 * g + 0.4392 * b + 128,
            0.4392 * r - 0.3678 * g - 0.0714 * b + 128,
        ],
        axis=-1,
    )


def test_partial_422() -> None:
    rgb = np.repeat(random_values(3, (6, 4, 3), 8, False, "u1"), 2, axis=1)  # pairs of one colour
    ybr = np.rint(partial(rgb)).astype("u1")
    assert ybr[..., 0].min() >= 16
    assert ybr[..., 0].max() <= 235
    pairs = ybr.reshape(6, 4, 2, 3)
    data = np.concatenate([pairs[:, :, :, 0], pairs[:, :, 0, 1:]], axis=-1).tobytes()
    layout = PixelLayout(6, 8, 8, 8, 7, 0, 3, photometric_interpretation="YBR_PARTIAL_422")
    assert len(data) == layout.frame_bytes == 6 * 8 * 2
    got = decode_native(data, layout)
    assert got.dtype == "u1"
    assert np.abs(got.astype(int) - rgb).max() <= 2


def test_black_and_white_of_partial() -> None:
    layout = PixelLayout(1, 4, 8, 8, 7, 0, 3, photometric_interpretation="YBR_PARTIAL_422")
    got = decode_native(bytes([16, 235, 128, 128, 0, 255, 128, 128]), layout)
    assert got[0].tolist() == [[0] * 3, [255] * 3, [0] * 3, [255] * 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"photometric_interpretation": "YBR_PARTIAL_420"}, "YBR_PARTIAL_420 exists in compressed"),
        ({"columns": 3, "rows": 3}, "needs an even number of pixels"),
        ({"samples_per_pixel": 1}, "SamplesPerPixel is 1"),
    ],
)
def test_impossible_partial(changes: dict, message: str) -> None:
    layout = PixelLayout(4, 4, 8, 8, 7, 0, 3, photometric_interpretation="YBR_PARTIAL_422")
    with pytest.raises(LayoutError, match=message):
        decode_native(bytes(100), replace(layout, **changes))
