"""Text in the pixel data that no image shows is gone, and the images are the same."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate

import dbdicom_xr as db
from dbdicom_xr.deidentify.hidden_text import clear_hidden_text
from dbdicom_xr.errors import DicomWarning
from dbdicom_xr.testing import make_series

SECRET = b"PATIENT JANE DOE 1977"
PIXELS = np.random.default_rng(3).integers(0, 255, (40, 32), np.uint8)
BASELINE, JPEG_2000, RLE, DEFLATE = (
    f"1.2.840.10008.1.2.{end}" for end in ("4.50", "4.90", "5", "8.1")
)


def jpeg(**options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_segment(stream: bytes, marker: int, text: bytes) -> bytes:
    return stream[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(text) + 2) + text + stream[2:]


def jpeg_2000() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG2000", no_jp2=True)
    stream = buffer.getvalue()
    start = stream.index(b"\xff\x52")  # COD: behind SIZ, where comments may stand
    comment = b"\xff\x64" + struct.pack(">HH", len(SECRET) + 4, 1) + SECRET
    return stream[:start] + comment + stream[start:]


def decoded(stream: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(stream)))


def holding(pixels: bytes, syntax: str, frames: int = 1) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 40, 32, 8
    dataset.NumberOfFrames = frames
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.add_new("PixelData", "OB", pixels)
    return dataset


@pytest.mark.parametrize(("stream", "syntax"), [
    (jpeg(comment=SECRET), BASELINE),
    (jpeg(comment=SECRET, progressive=True), BASELINE),
    *((with_segment(jpeg(), marker, SECRET), BASELINE) for marker in range(0xE0, 0xF0)),
    (jpeg() + SECRET, BASELINE),
    (jpeg_2000(), JPEG_2000),
    (jpeg_2000() + SECRET, JPEG_2000),
])  # fmt: skip
@pytest.mark.parametrize("fragments", [1, 3])
def test_comments_go_and_the_image_stays(stream: bytes, syntax: str, fragments: int) -> None:
    data = encapsulate([stream, stream], fragments_per_frame=fragments)
    dataset = holding(data, syntax, 2)
    assert clear_hidden_text(dataset) is None
    new = dataset.PixelData
    assert len(new) == len(data)
    frames = list(pydicom.encaps.generate_frames(new, number_of_frames=2))
    assert len(frames) == 2
    for frame in frames:
        assert SECRET not in frame
        assert np.array_equal(decoded(frame), decoded(stream))


@pytest.mark.parametrize("stream", [
    jpeg(), with_segment(jpeg(), 0xEE, b"Adobe\0d\0\0\0\0\0"), with_segment(jpeg(), 0xE8, b"mrfx1"),
])  # fmt: skip
def test_what_a_decoder_needs_stays(stream: bytes) -> None:
    data = encapsulate([stream])
    dataset = holding(data, BASELINE)
    assert clear_hidden_text(dataset) is None
    assert dataset.PixelData == data


@pytest.mark.parametrize("pixels", [
    encapsulate([b"\0\0\0\1video of a person "]), encapsulate([jpeg(comment=SECRET)[:-400]]),
    b"no items at all ", encapsulate([jpeg_2000()[:200]]),
])  # fmt: skip
def test_what_cannot_be_looked_through_is_told(pixels: bytes) -> None:
    assert clear_hidden_text(holding(pixels, BASELINE))
    assert clear_hidden_text(holding(pixels, RLE))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"\xff\xd8\xff", b"\xff\x4f\xff", b""]))
def test_no_damage_stops_it_or_changes_a_length(tail: bytes, start: bytes) -> None:
    for syntax in (BASELINE, RLE, DEFLATE):
        for pixels in (encapsulate([start + tail + b"\0\0"]), start + tail):
            dataset = holding(pixels, syntax)
            clear_hidden_text(dataset)
            assert len(dataset.PixelData) == len(pixels)


@pytest.mark.parametrize("stream", [
    with_segment(jpeg(), 0xE0, b"JFIF\0\1\2\0\0\1\0\1\0\0" + SECRET),
    with_segment(jpeg(), 0xEE, b"Adobe\0d\0\0\0\0\0" + SECRET),
    jpeg()[:2] + SECRET + jpeg()[2:],
])  # fmt: skip
def test_what_stands_between_and_behind_in_segments_goes(stream: bytes) -> None:
    dataset = holding(encapsulate([stream]), BASELINE)
    assert clear_hidden_text(dataset) is None
    assert SECRET not in dataset.PixelData
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    assert np.array_equal(decoded(frame), decoded(jpeg()))


def rle(behind: bytes = b"", offsets: bytes = b"") -> bytes:
    rows = [bytes([31]) + bytes(row) for row in PIXELS]
    header = struct.pack("<2I", 1, 64) + offsets.ljust(56, b"\0")
    return header + b"".join(rows) + behind


def deflated(behind: bytes = b"") -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(PIXELS.tobytes()) + compressor.flush() + behind


@pytest.mark.parametrize(("streams", "syntax"), [
    ([rle(SECRET)], RLE), ([rle(offsets=SECRET)], RLE), ([rle(), SECRET], RLE),
    ([deflated(SECRET)], DEFLATE), ([deflated(), SECRET], DEFLATE),
    ([jpeg(), jpeg(), jpeg_2000()], BASELINE), ([jpeg_2000(), jpeg(), jpeg_2000()], JPEG_2000),
])  # fmt: skip
@pytest.mark.parametrize("has_table", [True, False])
def test_what_is_no_frame_goes(streams: list[bytes], syntax: str, has_table: bool) -> None:
    dataset = holding(encapsulate(streams, has_bot=has_table), syntax)
    assert clear_hidden_text(dataset) is None
    assert SECRET not in dataset.PixelData
    assert len(pydicom.encaps.parse_basic_offsets(dataset.PixelData)) <= 1
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 7, 0
    if syntax == RLE:
        assert np.array_equal(dataset.pixel_array, PIXELS)
    elif syntax != DEFLATE:
        (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
        assert np.array_equal(decoded(frame), decoded(streams[0]))
    else:
        (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
        assert zlib.decompressobj(-15).decompress(frame) == PIXELS.tobytes()


@pytest.mark.parametrize("stream", [jpeg(), rle()])
def test_tables_that_hold_no_offsets_go(stream: bytes) -> None:
    syntax = BASELINE if stream.startswith(b"\xff") else RLE
    good = encapsulate([stream], has_bot=True)
    text = SECRET.ljust(24, b"\0")
    bad = good[:4] + struct.pack("<I", 24) + text + good[12:]
    dataset = holding(bad, syntax)
    dataset.ExtendedOffsetTable = dataset.ExtendedOffsetTableLengths = text
    assert clear_hidden_text(dataset) is None
    assert dataset.PixelData == good[:4] + bytes(4) + good[12:]
    assert "ExtendedOffsetTable" not in dataset
    assert "ExtendedOffsetTableLengths" not in dataset
    dataset = holding(good, syntax)
    dataset.ExtendedOffsetTable = bytes(8)
    dataset.ExtendedOffsetTableLengths = struct.pack("<Q", len(stream))
    assert clear_hidden_text(dataset) is None
    assert dataset.PixelData == good
    assert dataset.ExtendedOffsetTable == bytes(8)


@pytest.mark.parametrize(("photometric", "samples", "frames", "bits", "size"), [
    ("MONOCHROME2", 1, None, 8, 1280), ("MONOCHROME2", 1, 3, 16, 7680), ("RGB", 3, 2, 8, 7680),
    ("YBR_FULL_422", 3, 1, 8, 2560), ("MONOCHROME2", 1, 5, 1, 800),
])  # fmt: skip
def test_what_stands_behind_the_last_frame_goes(
    photometric: str, samples: int, frames: int | None, bits: int, size: int
) -> None:
    image = np.random.default_rng(1).bytes(size)
    dataset = holding(image + SECRET, "1.2.840.10008.1.2.1")
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = photometric, samples
    dataset.BitsAllocated, dataset.NumberOfFrames = bits, frames
    assert clear_hidden_text(dataset) is None
    assert dataset.PixelData == image + bytes(len(SECRET))


def test_an_export(tmp_path: Path) -> None:
    made = make_series(tmp_path / "in", keys={"SliceLocation": [0, 5]})
    for path, stream in zip(made.files, (jpeg(comment=SECRET), b"video" + SECRET), strict=True):
        dataset = pydicom.dcmread(path)
        dataset.Rows, dataset.Columns = 40, 32
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
        dataset.add_new("PixelData", "OB", encapsulate([stream]))
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = BASELINE
        dataset.save_as(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        files = db.database(tmp_path / "in").export_as_dicom(tmp_path / "out", deidentify=True)
    told = [one for one in caught if issubclass(one.category, DicomWarning)]
    (text,) = (str(one.message) for one in told if "may hold text" in str(one.message))
    assert str(made.files[1]) in text
    assert str(made.files[0]) not in text
    assert sum(SECRET in Path(file).read_bytes() for file in files) == 1


def test_a_file_of_deflated_frames_is_exported(tmp_path: Path) -> None:
    made = make_series(tmp_path / "in", keys={"SliceLocation": [0]})
    dataset = pydicom.dcmread(made.files[0])
    dataset.Rows, dataset.Columns = 40, 32
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.add_new("PixelData", "OB", encapsulate([deflated(SECRET)]))
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = DEFLATE
    dataset.save_as(made.files[0], implicit_vr=False, little_endian=True, force_encoding=True)
    database = db.database(tmp_path / "in")
    (before,) = database.instances()
    (file,) = database.export_as_dicom(tmp_path / "out", deidentify=True)
    assert SECRET not in Path(file).read_bytes()
    (after,) = db.database(tmp_path / "out").instances()
    assert np.array_equal(after.array(), before.array())
    assert Path(file).read_bytes()[128:140] == b"DICM\2\0\0\0UL\4\0"
