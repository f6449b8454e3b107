"""Damaged and hostile files: a problem or a note, bounded time and memory, no wrong value."""

from __future__ import annotations

import random
import resource
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, data_element_generator, read_preamble
from pydicom.sequence import Sequence

from dbdicom_xr.index import walker
from dbdicom_xr.index.blocks import Findings
from dbdicom_xr.index.columns import Column
from dbdicom_xr.index.elements import LARGE, External
from dbdicom_xr.index.gather import gather
from dbdicom_xr.testing import make_enhanced, make_series
from tests.index.made import SYNTAXES, dataset, write
from tests.index.test_values import END, element, implicit, item, rich, undefined


def read(raw: bytes, path: Path) -> Findings:
    """Gather one file; whatever it holds, what is found can be packed and decoded."""
    path.write_bytes(raw)
    findings = gather([str(path)])
    assert len(findings.blocks) + len(findings.problems) == 1
    for block in findings.blocks:
        for layer in (block.columns, block.frames):
            for key, column in layer.items():
                again = Column.unpack(key, column.pack())
                assert again.values == column.values
    return findings


def values(findings: Findings) -> dict[object, object]:
    (block,) = findings.blocks
    return {key: column.values for key, column in block.columns.items()}


def element_starts(path: Path) -> list[tuple[int, int]]:
    """Tag and place of each top-level element of the data set, as pydicom's reader meets them."""
    with path.open("rb") as file:
        read_preamble(file, force=False)
        _read_file_meta_info(file)
        syntax = pydicom.dcmread(path, specific_tags=[]).file_meta.TransferSyntaxUID
        at = [(0, file.tell())]
        for found in data_element_generator(file, syntax.is_implicit_VR, syntax.is_little_endian):
            at.append((int(found.tag), file.tell()))
    return at


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
@pytest.mark.parametrize("undefined_length", [False, True])
def test_cut_off_at_every_byte(tmp_path: Path, syntax: str, undefined_length: bool) -> None:
    made = rich()
    if undefined_length:
        undefined(made)
    made.add_new(0x7FE00010, "OW", b"\1\2" * 8)
    made.Rows = made.Columns = 4
    made.BitsAllocated = 8
    raw = write(tmp_path / "a", made, syntax).read_bytes()
    whole = values(read(raw, tmp_path / "b"))
    # Where one element ends and the next begins nothing is missing that a reader could know of.
    starts = {length for _, length in element_starts(tmp_path / "a")}
    silent = []
    for length in range(len(raw)):
        findings = read(raw[:length], tmp_path / "b")
        if findings.problems:
            continue
        found = values(findings)
        assert all(whole[key] == value for key, value in found.items())
        if not findings.notes:
            silent.append(length)
    # Big endian: the first byte of most tags is zero, which may as well be padding.
    slack = 1 if syntax == "big" else 0
    assert len(silent) > 20
    assert all({length, length - slack} & starts for length in silent)


def test_random_damage(tmp_path: Path) -> None:
    generator = random.Random(0)
    originals = []
    for i, syntax in enumerate(SYNTAXES):
        made = rich(i)
        undefined(made)
        originals.append(write(tmp_path / f"{i}", made, syntax).read_bytes())
    (enhanced,) = make_enhanced(tmp_path / "e", shape=(2, 2)).files[:1]
    originals.append(Path(enhanced).read_bytes()[:6000])
    since = time.monotonic()
    for round_ in range(2000):
        raw = bytearray(generator.choice(originals))
        for _ in range(generator.randint(1, 4)):
            at = generator.randrange(132, len(raw))
            kind = generator.random()
            if kind < 0.5:
                raw[at] = generator.choice([0, 0xFF, generator.randrange(256)])
            elif kind < 0.7:
                raw[at : at + 4] = b"\xff\xff\xff\xff"
            elif kind < 0.85:
                del raw[at : at + generator.randint(1, 20)]
            else:
                raw[at:at] = raw[at : at + generator.randint(1, 20)]
        read(bytes(raw), tmp_path / "x")
        assert time.monotonic() - since < 60, round_


def test_no_file_hides_another(tmp_path: Path) -> None:
    paths = []
    for i in range(9):
        path = write(tmp_path / f"{i}", rich(i))
        if i % 3 == 1:
            path.write_bytes(path.read_bytes()[: 200 + 40 * i])
        paths.append(str(path))
    findings = gather(paths)
    assert sum(len(block) for block in findings.blocks) + len(findings.problems) == 9
    assert {path for block in findings.blocks for path in block.uids} >= {
        f"1.2.3.1.{i}" for i in range(9) if i % 3 != 1
    }


@pytest.fixture
def bounded() -> Iterator[None]:
    """Fail where a test takes more than 20 seconds or 600 MB."""
    since = time.monotonic()
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 600 << 20
    assert time.monotonic() - since < 20


def with_body(tmp_path: Path, body: bytes, syntax: str = "explicit") -> bytes:
    return write(tmp_path / "base", dataset(), syntax).read_bytes() + body


def test_a_deflate_bomb(tmp_path: Path, bounded: None) -> None:
    base = write(tmp_path / "base", dataset(), "deflated").read_bytes()
    at = base.index(b"1.2.840.10008.1.2.1.99") + 22
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(element(0x00080060, "CS", b"MR"))
    for _ in range(300):
        bomb += packer.compress(bytes(1 << 20))
    bomb += packer.flush()
    assert len(bomb) < 400_000
    findings = read(base[:at] + bomb, tmp_path / "x")
    assert "holds more than 256 MB" in findings.problems[0]


@pytest.mark.parametrize("of_undefined_length", [True, False])
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_sequences_nested_ten_thousand_deep(
    tmp_path: Path, bounded: None, syntax: str, of_undefined_length: bool
) -> None:
    value = b""
    for _ in range(10_000 if of_undefined_length else 3_000):
        if of_undefined_length:
            value = item(value, undefined=True) + END
            head = b"\x40\x00\x30\xa7"
            head += b"\xff\xff\xff\xff" if syntax == "implicit" else b"SQ\0\0\xff\xff\xff\xff"
            value = head + value
        elif syntax == "implicit":
            value = implicit(0x0040A730, item(value))
        else:
            value = element(0x0040A730, "SQ", item(value))
    findings = read(with_body(tmp_path, value, syntax), tmp_path / "x")
    if of_undefined_length:
        assert "nested deeper" in findings.problems[0]
    else:  # its bytes are stepped over as a whole
        assert findings.problems == {}


@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
@pytest.mark.parametrize("length", [0xFFFFFFFE, 0x7FFFFFFF, LARGE + 1, 100])
def test_lengths_that_are_not_there(
    tmp_path: Path, bounded: None, syntax: str, length: int
) -> None:
    body = b"\x42\x00\x11\x00" + (b"OB\0\0" if syntax == "explicit" else b"")
    raw = with_body(tmp_path, body + length.to_bytes(4, "little") + b"short", syntax)
    findings = read(raw, tmp_path / "x")
    if not findings.problems:
        assert findings.notes
        assert not any(
            isinstance(value, External) or b"short" in value
            for column in findings.blocks[0].columns.values()
            for value in column.values
        )


def test_undefined_length_everywhere(tmp_path: Path, bounded: None) -> None:
    for vr in ("UN", "SQ", "OB", "UT"):
        for tail in (b"", END, item(b"x" * 10), item(b"", undefined=True), b"\xff" * 300):
            body = element(0x00420011, vr, b"", undefined=True) + tail
            read(with_body(tmp_path, body), tmp_path / "x")


@pytest.mark.parametrize("frames", ["1000000000", "99999999999999999999", "-5", "0", "1\\2", "x"])
@pytest.mark.parametrize("size", [0, 1, 64])
def test_absurd_numbers_of_frames(tmp_path: Path, bounded: None, frames: str, size: int) -> None:
    made = dataset()
    made.Rows = made.Columns = size
    made.BitsAllocated = 16
    made.add_new(0x7FE00010, "OW", b"\1\2" * 64 * 64)
    made.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    made.PerFrameFunctionalGroupsSequence = Sequence([Dataset()] * 3)
    made.NumberOfFrames = 1
    raw = write(tmp_path / "a", made).read_bytes()
    text = frames.encode() + b" " * (len(frames) % 2)
    raw = raw.replace(element(0x00280008, "IS", b"1 "), element(0x00280008, "IS", text))
    findings = read(raw, tmp_path / "x")
    (block,) = findings.blocks
    assert 1 <= int(block.places["frames"][0]) <= 64 * 64
    assert findings.notes


def test_pixel_data_that_declare_more_than_there_is(tmp_path: Path, bounded: None) -> None:
    made = dataset(NumberOfFrames=2**31 - 1)
    made.Rows = made.Columns = 1
    made.BitsAllocated = 1
    head = write(tmp_path / "a", made).read_bytes()
    raw = head + b"\xe0\x7f\x10\x00OB\0\0\xf0\xff\xff\xff" + b"\1" * 1000
    findings = read(raw, tmp_path / "x")
    assert int(findings.blocks[0].places["frames"][0]) == 8000
    assert "are cut off" in findings.notes[0]


def test_more_frames_than_anyone_has(tmp_path: Path, bounded: None) -> None:
    made = dataset(NumberOfFrames=2**31 - 1)
    made.Rows = made.Columns = 1
    made.BitsAllocated = 1
    made.SharedFunctionalGroupsSequence = Sequence([dataset(EchoTime=1)])
    head = write(tmp_path / "a", made).read_bytes()
    length = 1 << 20
    raw = head + b"\xe0\x7f\x10\x00OB\0\0" + length.to_bytes(4, "little") + bytes(length)
    findings = read(raw, tmp_path / "x")
    assert int(findings.blocks[0].places["frames"][0]) == 1 << 22
    assert findings.notes == {0: "NumberOfFrames is 2147483647; 4194304 are read, the most"}


@pytest.mark.parametrize("frames", [None, 1, 2])
@pytest.mark.parametrize("size", [32, 34, 63, 64, 65, 96])
def test_more_pixels_than_frames_explain(tmp_path: Path, frames: int | None, size: int) -> None:
    made = dataset(Rows=4, Columns=4, SamplesPerPixel=1, BitsAllocated=16)
    if frames is not None:
        made.NumberOfFrames = frames
    made.add_new(0x7FE00010, "OW", bytes(size + size % 2))
    notes = gather([str(write(tmp_path / "a", made))]).notes
    hidden = frames != 2 and size >= 63
    assert ("NumberOfFrames does not say so" in notes.get(0, "")) == hidden


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
def test_a_filled_up_byte_is_no_frame(tmp_path: Path, syntax: str) -> None:
    made = dataset(Rows=1, Columns=1, SamplesPerPixel=1, BitsAllocated=8)
    made.add_new(0x7FE00010, "OW", bytes(2))
    assert gather([str(write(tmp_path / "a", made, syntax))]).notes == {}


def test_millions_of_empty_fragments(tmp_path: Path, bounded: None) -> None:
    made = dataset(NumberOfFrames=5)
    head = write(tmp_path / "a", made).read_bytes()
    raw = head + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + item(b"") * 200_000
    findings = read(raw, tmp_path / "x")
    assert "cut off" in findings.notes[0]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "an empty file"),
        (b"hello, world\n" * 30, "not a DICOM file"),
        (b"\0" * 5000, "not a DICOM file"),
        (b"\0" * 128 + b"DICM", "not a DICOM file"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 3000, "not a DICOM file"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 4000, "not a DICOM file"),
        (b"\x08\x00", "not a DICOM file"),
    ],
)
def test_what_is_no_dicom(tmp_path: Path, raw: bytes, says: str) -> None:
    assert says in read(raw, tmp_path / "x").problems[0]


def test_without_preamble_and_file_meta(tmp_path: Path) -> None:
    for syntax in ("explicit", "implicit", "big"):
        raw = write(tmp_path / "a", rich(), syntax).read_bytes()
        at = raw.index(b"\x00\x08\x00\x05" if syntax == "big" else b"\x08\x00\x05\x00")
        findings = read(raw[at:], tmp_path / "x")
        assert findings.blocks[0].uids == ["1.2.3.1.1"]
        assert "irregular" in findings.notes[0]


def test_a_charset_of_any_length(tmp_path: Path) -> None:
    for length in (300, 70_000):
        body = b"\x08\x00\x05\x00" + length.to_bytes(4, "little") + b"A" * length
        raw = write(tmp_path / "a", dataset(), "implicit").read_bytes()
        at = raw.index(b"\x08\x00\x16\x00")
        read(raw[:at] + body + raw[at:], tmp_path / "x")


def test_memory_of_a_scan_is_not_that_of_the_pixels(tmp_path: Path) -> None:
    made = dataset()
    made.add_new(0x7FE00010, "OW", bytes(30 << 20))
    path = write(tmp_path / "a", made)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    gather([str(path)] * 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20
    assert before > 0


def test_inflated_gives_what_the_walker_counted_in(tmp_path: Path) -> None:
    made = rich()
    made.add_new(0x7FE00010, "OW", np.arange(64, dtype="<u2").tobytes())
    path = write(tmp_path / "a", made, "deflated")
    header = walker.header_of(path)
    with path.open("rb") as file:
        data = walker.inflated(file.fileno(), path.stat().st_size)
    assert header.pixels is not None
    start = header.pixels.offset
    assert data[start : start + 128] == np.arange(64, dtype="<u2").tobytes()


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
@pytest.mark.parametrize("count", [8, 13, 100, 2_000_000])
def test_zeros_behind_the_last_element_fill_up_the_file(
    syntax: str, count: int, tmp_path: Path
) -> None:
    (file,) = make_series(
        tmp_path, keys={"SliceLocation": [0.0]}, transfer_syntax=syntax
    ).files  # fmt: skip
    plain = walker.header_of(file)
    file.write_bytes(file.read_bytes() + bytes(count))
    began = time.process_time()
    padded = walker.header_of(file)
    assert time.process_time() - began < 0.1
    assert (padded.elements, padded.pixels) == (plain.elements, plain.pixels)
