"""Small sound files of every kind, to be damaged."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.tag import Tag
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    RTDoseStorage,
)

from dbdicom_xr.testing import make_enhanced
from tests.pixels.made import make, random_values, write

SIZE = (20, 24)
FRAMES = 3


def kinds() -> dict[str, bytes]:
    """Return a file of each kind by its name."""
    made: dict[str, bytes] = {}
    with TemporaryDirectory() as folder:
        for name, dataset in _datasets().items():
            dataset.SOPInstanceUID = f"1.2.826.{len(made)}"
            made[name] = write(Path(folder), dataset).read_bytes()
        for syntax in ("explicit", "implicit", "rle"):
            enhanced = make_enhanced(
                Path(folder) / syntax, keys={"SliceLocation": [0, 5], "EchoTime": [1, 2]},
                shape=SIZE, transfer_syntax=syntax,
            )  # fmt: skip
            made[f"enhanced {syntax}"] = enhanced.files[0].read_bytes()
    return made


def _datasets() -> dict[str, Dataset]:
    grey = random_values(1, (FRAMES, *SIZE), 12, False, "<u2")
    one = random_values(2, (FRAMES, *SIZE), 8, False, "u1")
    colour = random_values(3, (FRAMES, *SIZE, 3), 8, False, "u1")
    eight: dict[str, Any] = {"BitsAllocated": 8, "BitsStored": 8}
    rgb: dict[str, Any] = {
        **eight, "SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB",
    }  # fmt: skip
    made = {
        "implicit": _make(grey.tobytes(), syntax=ImplicitVRLittleEndian, BitsStored=12),
        "explicit": _make(grey.tobytes(), BitsStored=12, RescaleSlope=0.3, RescaleIntercept=-4),
        "big endian": _make(
            grey.astype(">u2").tobytes(), syntax=ExplicitVRBigEndian, BitsStored=12
        ),
        "deflated": _make(grey.tobytes(), syntax=DeflatedExplicitVRLittleEndian, BitsStored=12),
        "planes": _make(colour.tobytes(), **{**rgb, "PlanarConfiguration": 1}),
        "422": _make(
            colour.tobytes()[: FRAMES * 20 * 24 * 2],
            **{**rgb, "PhotometricInterpretation": "YBR_FULL_422"},
        ),
        "bits": _make(one.tobytes()[: FRAMES * 60], BitsAllocated=1, BitsStored=1),
        "float": _make(
            np.linspace(0, 1, grey.size, dtype="<f4").tobytes(),
            keyword="FloatPixelData", vr="OF", BitsAllocated=32, BitsStored=32,
        ),
    }  # fmt: skip
    overlay = _make(grey.tobytes(), BitsStored=12)
    for element, vr, value in (
        (0x0010, "US", 20), (0x0011, "US", 24), (0x0015, "IS", 2), (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]), (0x0051, "US", 2), (0x0100, "US", 1), (0x0102, "US", 0),
        (0x3000, "OW", bytes(120)),
    ):  # fmt: skip
        overlay.add_new((0x6000, element), vr, value)
    overlay.add_new(0x60020100, "US", 16)
    overlay.add_new(0x60020102, "US", 13)
    made["overlays"] = overlay
    for segmented in (False, True):
        palette = _make(one.tobytes(), **{**eight, "PhotometricInterpretation": "PALETTE COLOR"})
        prefix = "Segmented" if segmented else ""
        table = np.array([0, 1, 7, 1, 255, 99], "<u2") if segmented else np.arange(256, dtype="<u2")
        for name in ("Red", "Green", "Blue"):
            keyword = f"{name}PaletteColorLookupTable"
            palette.add_new(f"{keyword}Descriptor", "US", [256, 0, 16])
            palette.add_new(f"{prefix}{keyword}Data", "OW", table.tobytes())
        made["segmented palette" if segmented else "palette"] = palette
    dose = _make(grey.astype("<u4").tobytes(), BitsAllocated=32, BitsStored=32,
                 DoseGridScaling="1e-3", GridFrameOffsetVector=[0, 2, 4],
                 ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                 )  # fmt: skip
    dose.SOPClassUID, dose.FrameIncrementPointer = RTDoseStorage, Tag("GridFrameOffsetVector")
    made["dose"] = dose
    nuclear = _make(grey.tobytes(), SliceVector=[1, 2, 3], EnergyWindowVector=[1, 1, 2])
    nuclear.FrameIncrementPointer = [Tag("SliceVector"), Tag("EnergyWindowVector")]
    made["vectors"] = nuclear
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [300, 0, 16])
    lut.add_new("LUTData", "US", list(range(300)))
    made["lookup table"] = _make(grey.tobytes(), BitsStored=12)
    made["lookup table"].ModalityLUTSequence = [lut]
    made["nothing"] = _make(b"\0\0")
    del made["nothing"]["PixelData"]
    return made | _compressed(grey, one, colour, eight, rgb)


def _compressed(
    grey: Any, one: Any, colour: Any, eight: dict[str, Any], rgb: dict[str, Any]
) -> dict[str, Dataset]:
    codecs = imagecodecs
    ybr = {**rgb, "PhotometricInterpretation": "YBR_FULL_422"}
    prefix = "1.2.840.10008.1.2.4."
    made = {
        name: _encapsulated([bytes(encode(frame)) for frame in frames], syntax, attributes)
        for name, frames, syntax, encode, attributes in (
            ("jpeg", one, JPEGBaseline8Bit, codecs.jpeg8_encode, eight),
            ("jpeg colour", colour, JPEGBaseline8Bit, codecs.jpeg8_encode, ybr),
            ("jpeg lossless", grey, JPEGLosslessSV1, _lossless, {"BitsStored": 12}),
            ("jpeg-ls", grey, JPEGLSLossless, codecs.jpegls_encode, {"BitsStored": 12}),
            ("jpeg 2000", grey, JPEG2000Lossless, _jpeg_2000, {"BitsStored": 12}),
            ("jpeg 2000 colour", colour, JPEG2000, _jpeg_2000,
             {**rgb, "PhotometricInterpretation": "YBR_RCT"}),
            ("htj2k", grey, HTJ2KLossless, codecs.htj2k_encode, {"BitsStored": 12}),
            ("jpeg xl", grey, f"{prefix}110", codecs.jpegxl_encode, {"BitsStored": 16}),
            ("progressive", one, f"{prefix}55", codecs.jpeg8_encode, eight),
            ("deflated frames", grey, "1.2.840.10008.1.2.8.1", _deflate, {"BitsStored": 12}),
            ("uncompressed frames", grey, "1.2.840.10008.1.2.1.98", np.ndarray.tobytes, {}),
        )
    }  # fmt: skip
    frames = [bytes(_jpeg_2000(frame)) for frame in grey]
    made["fragments"] = _make(
        encapsulate(frames, fragments_per_frame=3), syntax=JPEG2000Lossless, vr="OB", BitsStored=12
    )
    data, offsets, lengths = encapsulate_extended(frames)
    made["extended table"] = _make(data, syntax=JPEG2000Lossless, vr="OB", BitsStored=12)
    made["extended table"].ExtendedOffsetTable = offsets
    made["extended table"].ExtendedOffsetTableLengths = lengths
    for name, values, attributes in (
        ("rle", grey, {"BitsStored": 12}),
        ("rle colour", colour, rgb),
    ):
        made[name] = _make(values.tobytes(), **attributes)
        made[name].compress(RLELossless, generate_instance_uid=False)
    return made


def _make(data: bytes, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> Dataset:
    return make(data + b"\0" * (len(data) % 2), *SIZE, syntax=syntax, frames=FRAMES, **attributes)


def _encapsulated(frames: list[bytes], syntax: str, attributes: dict[str, Any]) -> Dataset:
    # pydicom does not know all of these, and writes them as the one that it knows.
    made = _make(encapsulate(frames), syntax=JPEG2000Lossless, vr="OB", **attributes)
    made.file_meta.TransferSyntaxUID = syntax
    return made


def _lossless(frame: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1, bitspersample=12))


def _jpeg_2000(frame: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="J2K"))


def _deflate(frame: Any) -> bytes:
    return zlib.compress(frame.tobytes(), wbits=-15)


def bomb() -> bytes:
    """Return a deflated file of a few kB that holds far more than its header says."""
    file = io.BytesIO()
    _make(b"\0\0", syntax=DeflatedExplicitVRLittleEndian).save_as(file, enforce_file_format=True)
    whole = file.getvalue()
    meta = 132 + 12 + int.from_bytes(whole[140:144], "little")
    inside = zlib.decompress(whole[meta:], wbits=-15)
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(inside)
    for _ in range(300):
        packed += packer.compress(bytes(1 << 20))
    return whole[:meta] + packed + packer.flush()
