"""What is compressed here is read back by others: pydicom, GDCM, SimpleITK, DCMTK."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import generate_uid

from dbdicom_xr.emit.compress import (
    compressed,
    encapsulated,
    encapsulated_head,
    encapsulated_pieces,
    photometric,
    stored_bits,
    syntax_uid,
)
from dbdicom_xr.errors import InvalidValue, LayoutError
from dbdicom_xr.pixels.decode import decode_encapsulated
from dbdicom_xr.pixels.layout import PixelLayout
from tests.emit.judges import gdcm_pixels

EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
COMPRESSING = (RLE, JPEG_LS, JPEG_2000, HTJ2K)
OTHER_DECODERS = {
    RLE: ("pylibjpeg", "pydicom"),
    JPEG_LS: ("pyjpegls",),
    JPEG_2000: ("pylibjpeg",),
    HTJ2K: ("pylibjpeg",),
}
DCMTK = {RLE: "dcmdrle", JPEG_LS: "dcmdjpls"}
PIXELS = [("u1", 8), ("u2", 16), ("u2", 12), ("i2", 16), ("i2", 12)]


def noise(shape: tuple[int, ...], dtype: str, bits: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """All values that the bits hold, and runs of one value among them."""
    signed = dtype[0] == "i"
    low = -(1 << bits - 1) if signed else 0
    rng = np.random.default_rng(seed)
    values = rng.integers(low, low + (1 << bits), shape).astype(dtype)
    values[:, : shape[1] // 3] = low
    values.flat[-1] = low + (1 << bits) - 1
    return values


def description(frames: np.ndarray[Any, Any], bits: int, syntax: str) -> dict[str, Any]:
    samples = 3 if frames.ndim == 4 else 1
    allocated = 8 * frames.itemsize
    stored = stored_bits(syntax, allocated, bits)
    said: dict[str, Any] = {
        "Rows": frames.shape[1],
        "Columns": frames.shape[2],
        "NumberOfFrames": len(frames),
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": photometric(syntax, samples),
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": int(frames.dtype.kind == "i"),
    }
    return said | ({"PlanarConfiguration": 0} if samples == 3 else {})


def layout_of(frames: np.ndarray[Any, Any], bits: int, syntax: str) -> PixelLayout:
    said = description(frames, bits, syntax)
    return PixelLayout(
        rows=said["Rows"],
        columns=said["Columns"],
        bits_allocated=said["BitsAllocated"],
        bits_stored=said["BitsStored"],
        high_bit=said["HighBit"],
        pixel_representation=said["PixelRepresentation"],
        samples_per_pixel=said["SamplesPerPixel"],
        photometric_interpretation=said["PhotometricInterpretation"],
        transfer_syntax=syntax,
    )


def compress(frames: np.ndarray[Any, Any], bits: int, syntax: str) -> list[bytes]:
    signed = frames.dtype.kind == "i"
    return [compressed(frame, bits, syntax, signed=signed) for frame in frames]


def write(path: Path, frames: np.ndarray[Any, Any], bits: int, syntax: str) -> None:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3"
    dataset.SOPInstanceUID = generate_uid()
    for keyword, value in description(frames, bits, syntax).items():
        setattr(dataset, keyword, value)
    value = encapsulated(compress(frames, bits, syntax))
    dataset.PixelData = value[:-8]  # pydicom writes the end itself
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)


def gdcm_reads(frames: np.ndarray[Any, Any], syntax: str) -> bool:
    """GDCM reads no RLE of less than 64 pixels, nor of colours of 16 bit, whoever wrote it."""
    if syntax != RLE:
        return True
    return frames[0].size >= 64 and not (frames.ndim == 4 and frames.itemsize == 2)


@pytest.mark.parametrize("syntax", COMPRESSING)
@pytest.mark.parametrize(("dtype", "bits"), PIXELS)
@pytest.mark.parametrize("shape", [(2, 33, 47), (1, 1, 1), (3, 1, 2), (1, 8, 300), (2, 9, 13, 3)])
def test_every_reader_gets_the_values(
    tmp_path: Path, syntax: str, dtype: str, bits: int, shape: tuple[int, ...]
) -> None:
    if len(shape) == 4 and dtype == "i2":
        return  # colours have no sign
    frames = noise(shape, dtype, bits)
    path = tmp_path / "image.dcm"
    write(path, frames, bits, syntax)
    for plugin in OTHER_DECODERS[syntax]:
        read = pixel_array(path, decoding_plugin=plugin)
        assert read.dtype == frames.dtype, plugin
        np.testing.assert_array_equal(read.reshape(shape), frames, err_msg=plugin)
    if gdcm_reads(frames, syntax):
        read = gdcm_pixels(path)
        assert read.dtype == frames.dtype
        np.testing.assert_array_equal(read.reshape(shape), frames, err_msg="gdcm")
    layout = layout_of(frames, bits, syntax)
    for frame, stream in zip(frames, compress(frames, bits, syntax), strict=True):
        mine = decode_encapsulated(stream, layout)
        assert mine.dtype == frame.dtype
        np.testing.assert_array_equal(mine, frame)


@pytest.mark.parametrize("syntax", COMPRESSING)
@pytest.mark.parametrize(("dtype", "bits"), PIXELS)
@pytest.mark.parametrize("shape", [(2, 33, 47), (2, 9, 13, 3)])
def test_simpleitk_and_dcmtk_read_it(
    tmp_path: Path, syntax: str, dtype: str, bits: int, shape: tuple[int, ...]
) -> None:
    if len(shape) == 4 and dtype != "u1":
        return
    sitk = pytest.importorskip("SimpleITK")
    frames = noise(shape, dtype, bits)
    path = tmp_path / "image.dcm"
    write(path, frames, bits, syntax)
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert read.dtype == frames.dtype
    np.testing.assert_array_equal(read, frames)
    program = shutil.which(DCMTK.get(syntax, ""))
    if program:
        subprocess.run([program, path, tmp_path / "native.dcm"], check=True, timeout=30)
        native = dcmread(tmp_path / "native.dcm").pixel_array
        assert native.dtype == frames.dtype
        np.testing.assert_array_equal(native, frames)


@st.composite
def frames_of_any_kind(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], int]:
    dtype = draw(st.sampled_from(["u1", "u2", "i2"]))
    bits = draw(st.integers(8 if dtype == "u1" else 9, 8 * int(dtype[1])))
    low = -(1 << bits - 1) if dtype == "i2" else 0
    sides = st.integers(1, 20)
    shape = (draw(sides), draw(sides), *((3,) if draw(st.booleans()) else ()))
    values = draw(
        hnp.arrays(dtype, shape, elements=st.integers(low, low + (1 << bits) - 1), fill=None)
    )
    return values, bits


@given(frames_of_any_kind())
@example((np.zeros((1, 1), "u1"), 8))
@settings(max_examples=60, deadline=None)
def test_any_frame_comes_back(case: tuple[np.ndarray[Any, Any], int]) -> None:
    values, bits = case
    for syntax in COMPRESSING:
        layout = layout_of(values[np.newaxis], bits, syntax)
        stream = compressed(values, bits, syntax, signed=values.dtype.kind == "i")
        back = decode_encapsulated(stream, layout)
        assert back.dtype == values.dtype
        np.testing.assert_array_equal(back, values, err_msg=syntax)


@pytest.mark.parametrize("syntax", COMPRESSING)
def test_memory_order_and_byte_order_do_not_matter(syntax: str) -> None:
    frame = noise((30, 20), "i2", 16)
    plain = compressed(frame, 16, syntax, signed=True)
    for other in (np.asfortranarray(frame), frame.astype(">i2"), np.repeat(frame, 2, 1)[:, ::2]):
        assert compressed(other, 16, syntax, signed=True) == plain


@pytest.mark.parametrize("columns", [1, 2, 127, 128, 129, 300])
def test_rle_follows_the_standard(columns: int) -> None:
    """PS3.5 G.3.1: runs end with the row, segments are even; G.5: a header of 64 bytes."""
    frame = noise((7, columns), "u2", 16)
    frame[2] = 0x0101
    frame[3] = frame[2]
    stream = compressed(frame, 16, RLE, signed=False)
    count, *starts = struct.unpack_from("<16I", stream)
    assert (count, starts[0]) == (2, 64)
    assert not any(starts[2:])
    for segment, byte in zip(
        [stream[a:b] for a, b in pairwise([*starts[:2], len(stream)])], (1, 0), strict=True
    ):
        assert len(segment) % 2 == 0
        rows, row, position = [], b"", 0
        while len(rows) < 7:
            head = segment[position]
            assert head != 128
            if head < 128:
                row += segment[position + 1 : position + 2 + head]
                position += 2 + head
            else:
                row += segment[position + 1 : position + 2] * (257 - head)
                position += 2
            assert len(row) <= columns
            if len(row) == columns:
                rows.append(row)
                row = b""
        assert segment[position:] in (b"", b"\0")
        assert b"".join(rows) == frame.view("u1").reshape(7, columns, 2)[:, :, byte].tobytes()


def test_code_streams_say_what_the_header_says() -> None:
    frame = noise((12, 10), "i2", 12)
    stream = compressed(frame, 12, JPEG_2000, signed=True)
    assert stream[:4] == b"\xff\x4f\xff\x51"  # no JP2 boxes around it (PS3.5 A.4.4)
    assert stream[42] == 0x80 | 11  # Ssiz: signed, 12 bits
    stream = compressed(frame, 12, JPEG_LS, signed=True)
    assert stream[:4] == b"\xff\xd8\xff\xf7"  # the frame follows at once, no SPIFF header
    assert stream[6] == stored_bits(JPEG_LS, 16, 12) == 16
    colours = noise((12, 10, 3), "u1", 8)
    for syntax in (JPEG_2000, HTJ2K):
        stream = compressed(colours, 8, syntax, signed=False)
        style = stream.index(b"\xff\x52")
        uses_transform = stream[style + 8] == 1
        assert uses_transform == (photometric(syntax, 3) == "YBR_RCT")


def test_noise_that_grows_is_written_all_the_same() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (256, 256)).astype("u1")
    stream = compressed(frame, 8, JPEG_LS, signed=False)
    assert len(stream) > frame.nbytes
    layout = layout_of(frame[np.newaxis], 8, JPEG_LS)
    np.testing.assert_array_equal(decode_encapsulated(stream, layout), frame)


@pytest.mark.parametrize(
    ("values", "bits", "signed"),
    [
        (np.full((4, 4), 4096, "u2"), 12, False),
        (np.full((4, 4), -2049, "i2"), 12, True),
        (np.full((4, 4), 2048, "i2"), 12, True),
        (np.zeros((4, 4), "i2"), 16, False),
        (np.zeros((4, 4), "u2"), 16, True),
        (np.zeros((4, 4), "u2"), 17, False),
        (np.zeros((4, 4), "i4"), 16, True),
        (np.zeros((4, 4), "f4"), 16, True),
        (np.zeros((4, 4, 4), "u1"), 8, False),
        (np.zeros((0, 4), "u1"), 8, False),
        (np.zeros(4, "u1"), 8, False),
    ],
)
def test_what_would_lose_numbers_raises(
    values: np.ndarray[Any, Any], bits: int, signed: bool
) -> None:
    for syntax in COMPRESSING:
        with pytest.raises(LayoutError):
            compressed(values, bits, syntax, signed=signed)


def test_a_syntax_that_does_not_compress_raises() -> None:
    with pytest.raises(InvalidValue, match="does not compress"):
        compressed(np.zeros((4, 4), "u1"), 8, EXPLICIT, signed=False)


@pytest.mark.parametrize("syntax", COMPRESSING)
def test_memory_stays_below_three_frames(syntax: str) -> None:
    frame = noise((512, 512), "u2", 16)
    compressed(frame[:9], 16, syntax, signed=False)  # imports
    tracemalloc.start()
    try:
        compressed(frame, 16, syntax, signed=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * frame.nbytes


@pytest.mark.parametrize("syntax", COMPRESSING)
def test_other_threads_go_on_meanwhile(syntax: str) -> None:
    frame = noise((512, 512), "u2", 16)
    expected = compressed(frame, 16, syntax, signed=False)
    images, ticks = 10, 0
    made: list[bytes] = []
    done = threading.Event()

    def work() -> None:
        for _ in range(images):
            made.append(compressed(frame, 16, syntax, signed=False))
        done.set()

    thread = threading.Thread(target=work)
    interval = sys.getswitchinterval()
    # Nobody is made to hand the interpreter over: only an encoder that lets go of it lets this
    # thread count.
    sys.setswitchinterval(60)
    try:
        thread.start()
        while not done.is_set():
            ticks += 1
            time.sleep(0)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert ticks > 3 * images
    assert set(made) == {expected}


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8))
def test_encapsulated_is_what_pydicom_makes_and_reads(fragments: list[bytes]) -> None:
    value = encapsulated(fragments)
    even = [fragment + b"\0" * (len(fragment) % 2) for fragment in fragments]
    assert value == encapsulate(even) + bytes.fromhex("feffdde000000000")
    assert list(generate_frames(value, number_of_frames=len(fragments))) == even
    lengths = [len(fragment) for fragment in fragments]
    assert b"".join(encapsulated_pieces(iter(fragments), lengths)) == value


def test_no_offsets_where_the_table_cannot_tell_them() -> None:
    """PS3.5 A.4: the table holds 32 bits; it may be empty."""
    assert encapsulated_head([2**31, 2**31 - 18, 10])[-4:] == struct.pack("<I", 0xFFFFFFFE)
    assert encapsulated_head([2**31, 2**31, 10]) == bytes.fromhex("feff00e000000000")


@pytest.mark.parametrize("lengths", [[3], [3, 5], [3, 4, 0]])
def test_frames_of_other_lengths_than_announced_raise(lengths: list[int]) -> None:
    with pytest.raises(LayoutError, match="announced"):
        list(encapsulated_pieces([bytes(3), bytes(4)], lengths))


@pytest.mark.parametrize(
    ("uid", "names"),
    [
        (EXPLICIT, [None, "explicit", "Explicit VR Little Endian", "uncompressed", "native"]),
        (RLE, ["RLE", "rle lossless", "RLELossless"]),
        (JPEG_LS, ["JPEG-LS", "jpegls", "JPEG_LS_Lossless", "JPEGLSLossless", "jls"]),
        (JPEG_2000, ["JPEG 2000", "jpeg2000", "J2K", "JPEG2000Lossless", "jpeg2k"]),
        (HTJ2K, ["HTJ2K", "htj2k lossless", "HTJ2KLossless"]),
    ],
)
def test_names_of_transfer_syntaxes(uid: str, names: list[str | None]) -> None:
    import pydicom.uid

    for name in [*names, uid, pydicom.uid.UID(uid), pydicom.uid.UID(uid).name]:
        assert syntax_uid(name) == uid
        assert type(syntax_uid(name)) is str


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("JPEG", "lossless"),
        ("1.2.840.10008.1.2.4.50", "lossless"),
        ("1.2.840.10008.1.2.4.81", "lossless"),
        ("1.2.840.10008.1.2.4.91", "lossless"),
        ("1.2.840.10008.1.2.4.203", "lossless"),
        ("implicit", "explicit VR"),
        ("1.2.840.10008.1.2", "explicit VR"),
        ("1.2.840.10008.1.2.2", "explicit VR"),
        ("Explicit VR Big Endian", "explicit VR"),
        ("1.2.840.10008.1.2.4.70", "is not written"),
        ("zip", "'RLE'"),
        (7, "'RLE'"),
    ],
)
def test_other_transfer_syntaxes_are_refused(name: Any, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason) as raised:
        syntax_uid(name)
    assert "JPEG 2000" in str(raised.value)


def test_a_photometric_interpretation_for_each() -> None:
    said = {
        (syntax, samples): photometric(syntax, samples)
        for syntax, samples in product((EXPLICIT, *COMPRESSING), (1, 3))
    }
    assert {said[syntax, 1] for syntax in (EXPLICIT, *COMPRESSING)} == {"MONOCHROME2"}
    assert [s for s in COMPRESSING if said[s, 3] == "RGB"] == [RLE, JPEG_LS]
