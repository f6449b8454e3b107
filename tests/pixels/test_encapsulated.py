"""Compressed frames equal their source, pydicom's reading and a second decoder."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import generate_frames, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pack_bits
from pydicom.uid import (
    JPEG2000,
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dbdicom_xr.errors import LayoutError, PixelError
from dbdicom_xr.pixels import plugins
from dbdicom_xr.pixels.decode import decode_encapsulated
from dbdicom_xr.pixels.layout import PixelLayout
from tests.data import ROOT
from tests.pixels.made import layout_of, make, random_values


def smooth(shape: tuple[int, int], peak: int) -> np.ndarray:
    rows, columns = np.indices(shape)
    wave = 1 + np.sin(rows / 7) * np.cos(columns / 9)
    return np.round(wave / 2 * peak)


def monochrome(bits: int, signed: bool = False, shape=(33, 50)) -> tuple[np.ndarray, PixelLayout]:
    allocated = 8 if bits <= 8 else 16
    dtype = f"{'ui'[signed]}{allocated // 8}"
    layout = PixelLayout(*shape, allocated, bits, bits - 1, int(signed))
    return random_values(bits, shape, bits, signed, dtype), layout


def compress(values: np.ndarray, layout: PixelLayout, syntax: str) -> bytes:
    dataset = make(
        values.tobytes() + b"\0" * (values.nbytes % 2),
        layout.rows,
        layout.columns,
        BitsAllocated=layout.bits_allocated,
        BitsStored=layout.bits_stored,
        PixelRepresentation=layout.pixel_representation,
        SamplesPerPixel=layout.samples_per_pixel,
        PhotometricInterpretation=layout.photometric_interpretation,
        **({"PlanarConfiguration": 0} if layout.samples_per_pixel == 3 else {}),
    )
    # GDCM, which pydicom would choose, ends the process over some images.
    plugin = {RLELossless: "pydicom", JPEGLSLossless: "pyjpegls"}.get(UID(syntax), "pylibjpeg")
    dataset.compress(UID(syntax), encoding_plugin=plugin, generate_instance_uid=False)
    return bytes(get_frame(dataset.PixelData, 0, number_of_frames=1))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_round_trip(syntax: str, bits: int, signed: bool) -> None:
    values, layout = monochrome(bits, signed)
    got = decode_encapsulated(
        compress(values, layout, syntax), replace(layout, transfer_syntax=syntax)
    )
    assert got.dtype == layout.dtype
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
def test_jpeg_lossless(syntax: str, bits: int, signed: bool) -> None:
    values, layout = monochrome(bits, signed)
    # JPEG knows no sign: the bits of BitsStored are what it carries.
    carried = (values.astype("i4") & ((1 << bits) - 1)).astype(f"u{values.itemsize}")
    for predictor in (1,) if syntax == JPEGLosslessSV1 else (2, 4, 7):
        frame = imagecodecs.jpeg8_encode(
            carried, lossless=True, predictor=predictor, bitspersample=bits
        )
        got = decode_encapsulated(frame, replace(layout, transfer_syntax=syntax))
        np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize(("syntax", "bits"), [(JPEGBaseline8Bit, 8), (JPEGExtended12Bit, 12)])
def test_jpeg_lossy(syntax: str, bits: int) -> None:
    _, layout = monochrome(bits, shape=(64, 48))
    values = smooth((64, 48), (1 << bits) - 1).astype(layout.dtype)
    frame = imagecodecs.jpeg8_encode(values, level=95, bitspersample=bits)
    got = decode_encapsulated(frame, replace(layout, transfer_syntax=syntax))
    assert got.dtype == layout.dtype
    assert np.abs(got.astype(int) - values).max() <= (1 << bits) // 50
    assert not np.array_equal(got, np.zeros_like(got))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_colour(syntax: str) -> None:
    values = random_values(4, (64, 70, 3), 8, False, "u1")
    layout = PixelLayout(64, 70, 8, 8, 7, 0, 3, photometric_interpretation="RGB")
    frame = compress(values, layout, syntax)
    got = decode_encapsulated(frame, replace(layout, transfer_syntax=syntax))
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_jpeg_colour(photometric: str) -> None:
    planes = [smooth((32, 40), peak).astype("u1") for peak in (250, 120, 60)]
    values = np.stack(planes, axis=-1)
    frame = imagecodecs.jpeg8_encode(values, level=95, outcolorspace="YCBCR")
    layout = PixelLayout(
        32,
        40,
        8,
        8,
        7,
        samples_per_pixel=3,
        photometric_interpretation=photometric,
        transfer_syntax=JPEGBaseline8Bit,
    )
    got = decode_encapsulated(frame, layout)
    assert got.shape == (32, 40, 3)
    assert np.abs(got.astype(int) - values).max() <= 12  # RGB again


@pytest.mark.parametrize("shape", [(16, 16), (5, 7)])
def test_single_bits_in_rle_and_deflated(shape: tuple[int, int]) -> None:
    values = random_values(2, shape, 1, False, "u1")
    layout = PixelLayout(*shape, 1, 1, 0)
    packed = np.frombuffer(pack_bits(values, pad=False), "u1")
    as_bytes = PixelLayout(1, packed.size, 8, 8, 7)
    frames = {
        RLELossless: compress(packed[None], as_bytes, RLELossless),
        "1.2.840.10008.1.2.8.1": zlib.compress(packed.tobytes(), wbits=-15),
        "1.2.840.10008.1.2.1.98": packed.tobytes(),
    }
    for syntax, frame in frames.items():
        got = decode_encapsulated(frame, replace(layout, transfer_syntax=syntax))
        np.testing.assert_array_equal(got, values)


def test_precision_above_bits_stored_is_kept() -> None:
    # BitsStored says 12, the codestream holds 16: the values are as in pydicom, and
    # value_bits covers them.
    values, layout = monochrome(16)
    frame = compress(values, layout, JPEG2000Lossless)
    layout = replace(layout, bits_stored=12, high_bit=11, transfer_syntax=JPEG2000Lossless)
    np.testing.assert_array_equal(decode_encapsulated(frame, layout), values)
    assert int(values.max()) < 1 << layout.value_bits


def test_pydicom_gains_the_decoder() -> None:
    plugins.register()
    for syntax in (JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless, HTJ2KLossless, RLELossless):
        assert "imagecodecs" in get_decoder(syntax).available_plugins


JPEG_8 = imagecodecs.jpeg8_encode(np.full((16, 16), 9, "u1"))


@pytest.mark.parametrize(
    ("frame", "changes", "message"),
    [
        (JPEG_8, {"rows": 8}, "has 16 rows, 16 columns and 1 samples per pixel, but Rows"),
        (JPEG_8, {"samples_per_pixel": 3}, "SamplesPerPixel are 16, 16 and 3"),
        (b"", {}, "hold no JPEG image"),
        (b"\xff\xd8" + bytes(50), {}, "hold no JPEG image"),
        (JPEG_8[:-2], {}, "ends too early"),
        (JPEG_8[: len(JPEG_8) // 2], {}, "JPEG"),
        (JPEG_8, {"transfer_syntax": JPEG2000}, "hold no JPEG 2000 image"),
        (JPEG_8, {"transfer_syntax": RLELossless}, r"RLE Lossless \(1.2.840.10008.1.2.5\)"),
        (JPEG_8, {"transfer_syntax": JPEGLSLossless}, "JPEG-LS Lossless"),
        (JPEG_8, {"transfer_syntax": "1.2.840.10008.1.2.4.102"}, "MPEG-4.*is a video"),
        (JPEG_8, {"transfer_syntax": "1.2.3.4"}, r"Unknown transfer syntax \(1.2.3.4\)"),
        (bytes(10), {"transfer_syntax": "1.2.840.10008.1.2.1.98"}, "needs 256 bytes, 10 are"),
        (b"\xff\xff", {"transfer_syntax": "1.2.840.10008.1.2.8.1"}, "cannot be decoded"),
        (
            JPEG_8,
            {"bits_allocated": 16, "bits_stored": 12, "high_bit": 11, "keyword": "PixelDat"},
            "pixel data keyword",
        ),
    ],
)
def test_what_cannot_be_decoded(frame: bytes, changes: dict, message: str) -> None:
    layout = PixelLayout(16, 16, 8, 8, 7, transfer_syntax=JPEGBaseline8Bit)
    with pytest.raises((PixelError, LayoutError), match=message):
        decode_encapsulated(frame, replace(layout, **changes))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.9])
def test_truncated(syntax: str, part: float) -> None:
    values, layout = monochrome(12)
    frame = compress(values, layout, syntax)
    with pytest.raises(PixelError):
        decode_encapsulated(
            frame[: int(len(frame) * part)], replace(layout, transfer_syntax=syntax)
        )


def test_a_header_that_claims_too_much_takes_no_memory() -> None:
    huge = bytearray(JPEG_8)
    start = huge.find(b"\xff\xc0")
    huge[start + 5 : start + 9] = struct.pack(">HH", 65500, 65500)
    with pytest.raises(PixelError, match="has 65500 rows"):
        decode_encapsulated(
            bytes(huge), PixelLayout(16, 16, 8, 8, 7, transfer_syntax=JPEGBaseline8Bit)
        )
    bomb = zlib.compress(bytes(10_000_000), wbits=-15)
    layout = PixelLayout(16, 16, 8, 8, 7, transfer_syntax="1.2.840.10008.1.2.8.1")
    assert decode_encapsulated(bomb, layout).nbytes == 256


def test_missing_decoder_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = get_decoder(HTJ2KLossless)
    monkeypatch.setattr(decoder, "_available", {})
    codestream = imagecodecs.jpeg2k_encode(np.zeros((16, 16), "u1"), codecformat="J2K")
    layout = PixelLayout(16, 16, 8, 8, 7, transfer_syntax=HTJ2KLossless)
    with pytest.raises(PixelError, match="pip install imagecodecs"):
        decode_encapsulated(codestream, layout)


def broken(src: bytes, runner: object) -> bytes:
    raise OSError("no luck")


def test_any_exception_of_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    values, layout = monochrome(12)
    frame = compress(values, layout, RLELossless)
    monkeypatch.setitem(get_decoder(RLELossless)._available, "imagecodecs", broken)
    with pytest.raises(
        PixelError, match=r"RLE Lossless \(1.2.840.10008.1.2.5\).*no luck"
    ) as raised:
        decode_encapsulated(frame, replace(layout, transfer_syntax=RLELossless))
    assert raised.value.__cause__ is not None


def test_gdcm_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    values, layout = monochrome(12)
    frame = compress(values, layout, JPEGLSLossless)
    layout = replace(layout, transfer_syntax=JPEGLSLossless)
    decoder = get_decoder(JPEGLSLossless)
    monkeypatch.setattr(decoder, "_available", {"gdcm": broken} | decoder._available)
    np.testing.assert_array_equal(decode_encapsulated(frame, layout), values)
    monkeypatch.setattr(decoder, "_available", {"gdcm": broken})
    with pytest.raises(PixelError, match="pip install imagecodecs"):
        decode_encapsulated(frame, layout)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1])
def test_damaged_bytes_give_an_image_or_an_error(syntax: str) -> None:
    values, layout = monochrome(12)
    if syntax == JPEGLosslessSV1:
        frame = imagecodecs.jpeg8_encode(values, lossless=True, predictor=1, bitspersample=12)
    else:
        frame = compress(values, layout, syntax)
    layout = replace(layout, transfer_syntax=syntax)
    rng = np.random.default_rng(6)
    failed = 0
    for _ in range(60):
        damaged = bytearray(frame)
        for position in rng.integers(0, len(frame), 4):
            damaged[position] = rng.integers(256)
        try:
            assert decode_encapsulated(bytes(damaged), layout).shape == layout.frame_shape
        except PixelError:
            failed += 1
    assert failed


def test_multi_frame() -> None:
    values = random_values(8, (3, 64, 70), 16, True, "<i2")
    dataset = make(values.tobytes(), 64, 70, frames=3, PixelRepresentation=1)
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    frames = generate_frames(dataset.PixelData, number_of_frames=3)
    got = np.stack([decode_encapsulated(frame, layout_of(dataset)) for frame in frames])
    np.testing.assert_array_equal(got, values)


def test_a_folder_named_dl_does_no_harm(tmp_path) -> None:
    (tmp_path / "dl").mkdir()
    program = (
        "from dbdicom_xr.pixels.guard import import_gdcm; import_gdcm()\n"
        "from dbdicom_xr.pixels.decode import decode_native\n"
        "from dbdicom_xr.pixels.layout import PixelLayout\n"
        "print(decode_native(bytes([5, 0]), PixelLayout(1, 1))[0, 0])\n"
        "import dl; print(dl.__path__[0])\n"  # the user's own folder is still found
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(ROOT)!r})\n{program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["5", str(tmp_path / "dl")]


# -- formats that pydicom has no place for, and High-Throughput JPEG 2000 ------------------------

PREFIX = "1.2.840.10008.1.2.4."


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("options", [{}, {"usecontainer": True}], ids=["bare", "boxed"])
@pytest.mark.parametrize("shape", [(33, 50), (64, 64), (300, 400), (9, 600)])
def test_jpeg_xl_lossless(shape, options: dict, bits: int, signed: bool) -> None:
    values, layout = monochrome(bits, signed, shape)
    carried = (values.astype("i4") & ((1 << bits) - 1)).astype(f"u{values.itemsize}")
    frame = imagecodecs.jpegxl_encode(carried, lossless=True, effort=1, **options)
    layout = replace(layout, transfer_syntax=f"{PREFIX}110")
    got = decode_encapsulated(frame, layout)
    assert got.dtype == layout.dtype
    np.testing.assert_array_equal(got, values)
    with pytest.raises(PixelError, match=f"has {shape[0]} rows, {shape[1]} columns"):
        decode_encapsulated(frame, replace(layout, rows=shape[0] + 1))
    with pytest.raises(PixelError, match="JPEG XL"):
        decode_encapsulated(frame[: len(frame) // 2], layout)


def test_jpeg_xl_in_colour() -> None:
    values = random_values(4, (40, 30, 3), 8, False, "u1")
    layout = PixelLayout(40, 30, 8, 8, 7, 0, 3, photometric_interpretation="RGB")
    layout = replace(layout, transfer_syntax=f"{PREFIX}110")
    frame = imagecodecs.jpegxl_encode(values, lossless=True)
    np.testing.assert_array_equal(decode_encapsulated(frame, layout), values)
    lossy = np.stack([smooth((40, 32), peak).astype("u1") for peak in (250, 120, 60)], axis=-1)
    frame = imagecodecs.jpegxl_encode(lossy, level=90)
    layout = replace(
        layout, columns=32, transfer_syntax=f"{PREFIX}112", photometric_interpretation="XYB"
    )
    got = decode_encapsulated(frame, layout)
    assert np.abs(got.astype(int) - lossy).max() <= 20
    with pytest.raises(PixelError, match=r"image of shape \(40, 32, 3\)"):
        decode_encapsulated(frame, replace(layout, samples_per_pixel=1))


def test_jpeg_inside_jpeg_xl() -> None:
    values = np.stack([smooth((32, 40), peak).astype("u1") for peak in (250, 120, 60)], axis=-1)
    jpeg = imagecodecs.jpeg8_encode(values, level=95, outcolorspace="YCBCR")
    layout = PixelLayout(32, 40, 8, 8, 7, 0, 3, photometric_interpretation="YBR_FULL_422")
    got = decode_encapsulated(
        imagecodecs.jpegxl_encode_jpeg(jpeg), replace(layout, transfer_syntax=f"{PREFIX}111")
    )
    assert np.abs(got.astype(int) - values).max() <= 12


@pytest.mark.parametrize("syntax", sorted(plugins.PROGRESSIVE))
@pytest.mark.parametrize("colour", [False, True])
def test_progressive_jpeg(colour: bool, syntax: str) -> None:
    image = pytest.importorskip("PIL.Image")
    planes = [smooth((32, 40), peak).astype("u1") for peak in (250, 120, 60)]
    values = np.stack(planes, axis=-1) if colour else planes[0]
    file = io.BytesIO()
    image.fromarray(values).save(file, "JPEG", progressive=True, quality=95)
    layout = PixelLayout(
        32, 40, 8, 8, 7, 0, 3 if colour else 1,
        photometric_interpretation="YBR_FULL" if colour else "MONOCHROME2", transfer_syntax=syntax,
    )  # fmt: skip
    got = decode_encapsulated(file.getvalue(), layout)
    assert np.abs(got.astype(int) - values).max() <= 12
    with pytest.raises(PixelError, match="JPEG"):
        decode_encapsulated(file.getvalue()[:-2], layout)


@pytest.mark.parametrize("syntax", [201, 202, 203])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_high_throughput_jpeg_2000(bits: int, syntax: int) -> None:
    values, layout = monochrome(bits)
    frame = imagecodecs.htj2k_encode(values, reversible=True)
    got = decode_encapsulated(frame, replace(layout, transfer_syntax=f"{PREFIX}{syntax}"))
    np.testing.assert_array_equal(got, values)


# -- colours of JPEG 2000 ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photometric", "syntax"),
    [("YBR_RCT", JPEG2000Lossless), ("YBR_ICT", JPEG2000), ("RGB", JPEG2000Lossless)],
)
def test_the_transforms_of_jpeg_2000_are_undone_by_its_decoder(
    photometric: str, syntax: str
) -> None:
    values = np.stack([smooth((64, 48), peak).astype("u1") for peak in (250, 120, 60)], axis=-1)
    lossless = photometric != "YBR_ICT"
    frame = imagecodecs.jpeg2k_encode(
        values, level=0 if lossless else 50, codecformat="J2K", reversible=lossless,
        mct=photometric != "RGB",
    )  # fmt: skip
    layout = PixelLayout(
        64, 48, 8, 8, 7, 0, 3, photometric_interpretation=photometric, transfer_syntax=syntax
    )
    got = decode_encapsulated(frame, layout)
    expected = values if lossless else imagecodecs.jpeg2k_decode(frame)
    assert np.abs(got.astype(int) - expected).max() <= (0 if lossless else 1)
    assert np.abs(got.astype(int) - values).max() <= 20


# -- what cannot be decoded, by name and with the way out ----------------------------------------


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        (f"{PREFIX}100", r"MPEG2 Main Profile / Main Level \(.*100\) is a video.*pip install av"),
        (f"{PREFIX}102.1", r"video.*pip install av"),
        (f"{PREFIX}108", r"HEVC/H.265 Main 10.*video"),
        (f"{PREFIX}94", r"JPIP Referenced \(.*94\) leaves the pixels on a server"),
        (f"{PREFIX}204", "JPIP HTJ2K Referenced.*on a server"),
        (f"{PREFIX}93", "no JPEG 2000 image"),
        (f"{PREFIX}65", r"JPEG Lossless, Hierarchical \(Process 28\).*has no decoder.*gdcmconv"),
        (f"{PREFIX}110", r"no JPEG XL image"),
    ],
)
def test_syntaxes_are_named(syntax: str, message: str) -> None:
    with pytest.raises(PixelError, match=message):
        decode_encapsulated(b"\0" * 64, PixelLayout(4, 4, 8, 8, 7, transfer_syntax=syntax))


# -- RLE -----------------------------------------------------------------------------------------


def rle(*segments: bytes) -> bytes:
    """Return segments behind their header (PS3.5 G.5)."""
    starts = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    header = struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments)))
    return header + b"".join(segments)


def test_rle_by_hand() -> None:
    # 0x0102, 0x0103, 0x0104, 0x0104: the upper bytes repeated, the lower ones written out.
    frame = rle(bytes([253, 1]), bytes([1, 2, 3, 255, 4, 128]))
    layout = PixelLayout(2, 2, transfer_syntax=RLELossless)
    assert decode_encapsulated(frame, layout).tolist() == [[0x102, 0x103], [0x104, 0x104]]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("samples", [1, 3])
def test_rle_as_pydicom_decodes_it(samples: int, bits: int) -> None:
    shape = (5, 7) if samples == 1 else (5, 7, 3)
    values = random_values(bits, shape, bits, False, f"u{bits // 8}")
    photometric = "MONOCHROME2" if samples == 1 else "RGB"
    layout = PixelLayout(
        5, 7, bits, bits, bits - 1, 0, samples, photometric_interpretation=photometric
    )
    frame = compress(values, layout, RLELossless)
    got = decode_encapsulated(frame, replace(layout, transfer_syntax=RLELossless))
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (rle(bytes([253, 1])), "1 segments for 1 samples"),
        (rle(bytes([253, 1]), bytes([254, 1])), "holds 3 of 4 bytes"),
        (rle(bytes([253, 1]), b""), "holds 0 of 4 bytes"),
        (rle(b"ab")[:40], "cannot be decoded"),
        (struct.pack("<16I", 2, 64, 10**9, *[0] * 13) + bytes([253, 1]), "holds 0 of 4 bytes"),
        (struct.pack("<16I", 2, 0, 2, *[0] * 13) + bytes([253, 1]), "holds 0 of 4 bytes"),
    ],
)
def test_damaged_rle(frame: bytes, message: str) -> None:
    with pytest.raises(PixelError, match=message):
        decode_encapsulated(frame, PixelLayout(2, 2, transfer_syntax=RLELossless))


@pytest.mark.parametrize(
    "syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless, JPEGLosslessSV1, f"{PREFIX}110"]
)
def test_other_threads_go_on_while_one_decodes(syntax: str) -> None:
    values = random_values(1, (900, 900), 12, False, "u2")
    layout = PixelLayout(900, 900, 16, 12, 11, transfer_syntax=syntax)
    frame = {
        JPEG2000Lossless: lambda: imagecodecs.jpeg2k_encode(values, level=0, codecformat="J2K"),
        JPEGLSLossless: lambda: imagecodecs.jpegls_encode(values),
        RLELossless: lambda: compress(values, layout, RLELossless),
        JPEGLosslessSV1: lambda: imagecodecs.jpeg8_encode(
            values, lossless=True, predictor=1, bitspersample=12
        ),
        f"{PREFIX}110": lambda: imagecodecs.jpegxl_encode(values, lossless=True, effort=1),
    }[syntax]()
    images, ticks = 10, 0
    done = threading.Event()

    def decode() -> None:
        for _ in range(images):
            decode_encapsulated(bytes(frame), layout)
        done.set()

    thread = threading.Thread(target=decode)
    interval = sys.getswitchinterval()
    # Nobody is made to hand the interpreter over: only a decoder that lets go of it lets this
    # thread count, however fast or busy the machine is.
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
