"""Multi-frame images of every kind: where their frames lie, and what is said of each."""

from __future__ import annotations

import os
from collections import Counter
from itertools import pairwise

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    NuclearMedicineImageStorage,
    RTDoseStorage,
    UltrasoundMultiFrameImageStorage,
    XRayAngiographicImageStorage,
)

import dbdicom_xr as db
from dbdicom_xr.errors import PixelError, UnknownKeyword
from tests.arrays.opened import series_of
from tests.pixels.made import make, random_values, write

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


def one(folder):
    (instance,) = series_of(folder).instances()
    return instance


# -- fragments -----------------------------------------------------------------------------------

FRAMES = 6


def images(syntax):
    values = random_values(3, (FRAMES, 20, 31), 12, False, "<u2")
    if syntax == JPEG2000Lossless:
        encode = lambda frame: imagecodecs.jpeg2k_encode(frame, level=0, codecformat="J2K")  # noqa: E731
    else:
        encode = imagecodecs.jpegls_encode
    return values, [bytes(encode(frame)) for frame in values]


def items(parts):
    """Return fragments as items."""
    return b"".join(b"\xfe\xff\x00\xe0" + len(part).to_bytes(4, "little") + part for part in parts)


def cut(frame, count):
    """Cut a frame into fragments of even lengths."""
    frame += b"\0" * (len(frame) % 2)
    ends = [len(frame) * i // count // 2 * 2 for i in range(count + 1)]
    return [frame[a:b] for a, b in pairwise(ends)]


def encoded(frames, table, per_frame):
    """Return the pixel data, and the extended offset table, of frames in several fragments."""
    parts = [cut(frame, per_frame + number % 2) for number, frame in enumerate(frames)]
    lengths = [sum(8 + len(part) for part in frame) for frame in parts]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    basic = starts.astype("<u4").tobytes() if table == "basic" else b""
    if table == "wrong":
        basic = (starts + 2).astype("<u4").tobytes()
    flat = [part for frame in parts for part in frame]
    extended = (starts.astype("<u8").tobytes(), np.array(lengths, "<u8").tobytes())
    return items([basic, *flat]), extended if table == "extended" else None


@pytest.mark.parametrize("per_frame", [1, 2, 5])
@pytest.mark.parametrize("table", ["basic", "extended", "none", "wrong"])
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_frames_of_several_fragments(tmp_path, syntax, table, per_frame):
    values, frames = images(syntax)
    data, extended = encoded(frames, table, per_frame)
    dataset = make(data, 20, 31, syntax=syntax, frames=FRAMES, vr="OB", BitsStored=12)
    if extended:
        dataset.add_new(0x7FE00001, "OV", extended[0])
        dataset.add_new(0x7FE00002, "OV", extended[1])
    write(tmp_path, dataset)
    array = one(tmp_path).array()
    np.testing.assert_array_equal(array, values.swapaxes(1, 2))
    np.testing.assert_array_equal(array[4], values[4].T)


@pytest.mark.parametrize("extended", [False, True])
def test_tables_as_pydicom_writes_them(tmp_path, extended):
    values, frames = images(JPEG2000Lossless)
    if extended:
        data, offsets, lengths = encapsulate_extended(frames)
    else:
        data = encapsulate(frames, fragments_per_frame=3)
    dataset = make(data, 20, 31, syntax=JPEG2000Lossless, frames=FRAMES, vr="OB", BitsStored=12)
    if extended:
        dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    write(tmp_path, dataset)
    np.testing.assert_array_equal(one(tmp_path).array(), values.swapaxes(1, 2))


def test_a_table_over_64_kb_is_left_in_the_file(tmp_path):
    frames = 9000
    (frame,) = [bytes(imagecodecs.jpegls_encode(np.full((2, 2), 77, "u1")))]
    data, extended = encoded([frame] * frames, "extended", 1)
    dataset = make(data, 2, 2, syntax=JPEGLSLossless, frames=frames, vr="OB", BitsAllocated=8,
                   BitsStored=8)  # fmt: skip
    dataset.add_new(0x7FE00001, "OV", extended[0])
    write(tmp_path, dataset)
    assert len(extended[0]) > 65536
    assert (one(tmp_path).array()[8990:] == 77).all()


def test_fragments_that_cannot_be_told_apart(tmp_path):
    _, frames = images(JPEG2000Lossless)
    parts = [b"", *[part for frame in frames for part in cut(b"ab" + frame, 2)]]
    dataset = make(items(parts), 20, 31, syntax=JPEG2000Lossless, frames=FRAMES, vr="OB",
                   BitsStored=12)  # fmt: skip
    path = write(tmp_path, dataset)
    database = db.database(tmp_path)
    assert any("12 fragments of pixel data cannot" in str(p) for p in database.problems)
    with pytest.raises(PixelError, match=f"{path.name}.*12 fragments.*told apart into 6 frames"):
        one(tmp_path).array().compute()


def test_one_frame_costs_one_read(tmp_path, monkeypatch):
    count = 300
    values = np.arange(count * 16, dtype="u2").reshape(count, 4, 4) % 4096
    frames = [bytes(imagecodecs.jpegls_encode(frame)) for frame in values]
    dataset = make(encapsulate(frames), 4, 4, syntax=JPEGLSLossless, frames=count, vr="OB",
                   BitsStored=12)  # fmt: skip
    path = write(tmp_path, dataset)
    array = one(tmp_path).array(chunks=1)
    array[0].compute()
    reads = Counter()
    inode = path.stat().st_ino

    def counted(function):
        def call(fd, *arguments):
            if os.fstat(fd).st_ino == inode:
                reads["calls"] += 1
            return function(fd, *arguments)

        return call

    for name in ("pread", "preadv", "read"):
        if hasattr(os, name):
            monkeypatch.setattr(os, name, counted(getattr(os, name)))
    np.testing.assert_array_equal(array[217].compute(scheduler="sync"), values[217].T)
    assert reads["calls"] == 1


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        ("1.2.840.10008.1.2.4.102", r"MPEG-4 AVC/H.264 High Profile.*4\.102\) is a video"),
        ("1.2.840.10008.1.2.4.65", r"JPEG Lossless, Hierarchical.*4\.65\) has no decoder"),
    ],
)
def test_what_cannot_be_decoded_is_named(tmp_path, syntax, message):
    dataset = make(items([b"", b"\0\0\1\xb3" * 8]), 4, 4, syntax=syntax, frames=25, vr="OB",
                   BitsAllocated=8, BitsStored=8)  # fmt: skip
    path = write(tmp_path, dataset)
    with pytest.raises(PixelError, match=f"{path.name}.*{message}"):
        one(tmp_path).array().compute()
    assert one(tmp_path).NumberOfFrames == 25  # the header reads


# -- vectors -------------------------------------------------------------------------------------

# Two energy windows of two slices of three time slots.
VECTORS = {
    "EnergyWindowVector": [1] * 6 + [2] * 6,
    "SliceVector": ([1] * 3 + [2] * 3) * 2,
    "TimeSlotVector": [1, 2, 3] * 4,
}


def nuclear(syntax, **attributes):
    values = random_values(1, (12, 4, 5), 16, False, ">u2" if syntax == SYNTAXES[2] else "<u2")
    dataset = make(values.tobytes(), 4, 5, syntax=syntax, frames=12, **VECTORS, **attributes)
    dataset.SOPClassUID, dataset.Modality = NuclearMedicineImageStorage, "NM"
    dataset.FrameIncrementPointer = [Tag(keyword) for keyword in VECTORS]
    return values, dataset


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_vectors_of_nuclear_medicine(tmp_path, syntax):
    values, dataset = nuclear(syntax)
    write(tmp_path, dataset)
    series = series_of(tmp_path)
    array, header = series.array(list(VECTORS))
    assert array.sizes == {
        "EnergyWindowVector": 2, "SliceVector": 2, "TimeSlotVector": 3, "n": 1, "x": 5, "y": 4,
    }  # fmt: skip
    np.testing.assert_array_equal(
        array, values.reshape(2, 2, 3, 1, 4, 5).swapaxes(-1, -2).astype("u2")
    )
    assert header[1, 0, 2, 0].TimeSlotVector == 3
    assert header.SliceVector[0, :, 0, 0].tolist() == [1, 2]
    assert one(tmp_path).SliceVector == [1, 2]
    assert [frame.EnergyWindowVector for frame in one(tmp_path).children()] == [1] * 6 + [2] * 6
    chosen = series.instances(SliceVector=2)
    assert len(chosen) == 1
    assert len(one(tmp_path).children(SliceVector=2)) == 6


def test_vectors_of_a_wrong_length_stay_as_they_are(tmp_path):
    values, dataset = nuclear(ExplicitVRLittleEndian)
    dataset.SliceVector = [1, 2, 3]
    dataset.FrameIncrementPointer = [Tag("SliceVector"), Tag("PatientName"), Tag(0x00090010)]
    write(tmp_path, dataset)
    assert one(tmp_path).children()[5].SliceVector == [1, 2, 3]
    assert one(tmp_path).array().shape == (12, 5, 4)
    assert values.any()


def test_any_attribute_that_frames_are_counted_by(tmp_path):
    _, dataset = nuclear(ExplicitVRLittleEndian)
    dataset.add_new("SliceThickness", "DS", [str(i) for i in range(12)])
    dataset.FrameIncrementPointer = [Tag("SliceThickness")]
    write(tmp_path, dataset)
    assert [frame.SliceThickness for frame in one(tmp_path).children()] == list(range(12))


def test_times_of_an_angiogram(tmp_path):
    values = random_values(2, (4, 3, 5), 8, False, "u1")
    dataset = make(values.tobytes(), 3, 5, frames=4, BitsAllocated=8, BitsStored=8)
    dataset.SOPClassUID = XRayAngiographicImageStorage
    dataset.FrameTimeVector = [0, 33.3, 33.3, 40]
    dataset.FrameIncrementPointer = Tag("FrameTimeVector")
    dataset.PositionerPrimaryAngleIncrement = [0, 1.5, 3, 4.5]
    write(tmp_path, dataset)
    frames = one(tmp_path).children()
    assert [frame.FrameTimeVector for frame in frames] == [0, 33.3, 33.3, 40]
    array, _ = series_of(tmp_path).array("PositionerPrimaryAngleIncrement")
    assert array.PositionerPrimaryAngleIncrement.values.tolist() == [0, 1.5, 3, 4.5]
    np.testing.assert_array_equal(array[:, 0], values.swapaxes(1, 2))


def test_ultrasound_in_frames(tmp_path):
    values = random_values(4, (3, 4, 6, 3), 8, False, "u1")
    dataset = make(values.tobytes(), 4, 6, frames=3, BitsAllocated=8, BitsStored=8,
                   SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="RGB",
                   FrameTime=40)  # fmt: skip
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.FrameIncrementPointer = Tag("FrameTime")
    write(tmp_path, dataset)
    instance = one(tmp_path)
    assert instance.FrameTime == 40
    assert instance.FrameIncrementPointer == 0x00181063
    np.testing.assert_array_equal(instance.array(), values.swapaxes(1, 2))
    array, _ = series_of(tmp_path).array("InstanceNumber")
    assert array.InstanceNumber.values.tolist() == [1, 2, 3]


# -- doses ---------------------------------------------------------------------------------------


AXIAL, FROM_BELOW, SAGITTAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, -1, 0), (0, 1, 0, 0, 0, -1)


def dose(offsets, position=(10, 20, -30), orientation=AXIAL, syntax=SYNTAXES[1]):
    values = random_values(5, (len(offsets), 3, 4), 32, False,
                           ">u4" if syntax == SYNTAXES[2] else "<u4")  # fmt: skip
    dataset = make(values.tobytes(), 3, 4, syntax=syntax, frames=len(offsets), BitsAllocated=32,
                   BitsStored=32, DoseGridScaling="1e-3", DoseUnits="GY",
                   GridFrameOffsetVector=list(offsets), ImagePositionPatient=list(position),
                   ImageOrientationPatient=list(orientation), PixelSpacing=[2, 2.5])  # fmt: skip
    dataset.SOPClassUID, dataset.Modality = RTDoseStorage, "RTDOSE"
    dataset.FrameIncrementPointer = Tag("GridFrameOffsetVector")
    return values, dataset


DOSES = [
    # offsets, position, orientation -> where the planes vary, and their positions there
    ([0, 2.5, 5], (10, 20, -30), AXIAL, 2, [-30, -27.5, -25]),
    ([0, -2, -4], (10, 20, -30), AXIAL, 2, [-30, -32, -34]),
    ([0, 2, 5], (1, 2, 3), FROM_BELOW, 2, [3, 1, -2]),
    ([0, 2, 5], (1, 2, 3), SAGITTAL, 0, [1, -1, -4]),
    ([-30, -28, -25], (10, 20, -30), AXIAL, 2, [-30, -28, -25]),
    ([3, 5, 9], (1, 2, 3), FROM_BELOW, 2, [3, 5, 9]),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("offsets", "position", "orientation", "axis", "places"), DOSES)
def test_planes_of_a_dose(tmp_path, offsets, position, orientation, axis, places, syntax):
    expected = np.array([position] * 3, float)
    expected[:, axis] = places
    values, dataset = dose(offsets, position, orientation, syntax)
    write(tmp_path, dataset)
    frames = one(tmp_path).children()
    np.testing.assert_allclose([f.ImagePositionPatient for f in frames], expected, atol=1e-9)
    array, _ = series_of(tmp_path).array("SliceLocation")
    normal = np.cross(orientation[:3], orientation[3:])
    along = expected @ normal
    np.testing.assert_allclose(array.SliceLocation, np.sort(along))
    doses = values.swapaxes(1, 2).astype("u4") * 1e-3
    np.testing.assert_allclose(array[:, 0], doses[np.argsort(along)], rtol=1e-12)
    np.testing.assert_array_equal(one(tmp_path).array(rescale=False), values.swapaxes(1, 2))


@pytest.mark.parametrize(
    ("offsets", "orientation"),
    [([7, 9, 11], AXIAL), ([-30, -28, -26], SAGITTAL)],
)
def test_offsets_that_begin_anywhere_give_no_positions(tmp_path, offsets, orientation):
    _, dataset = dose(offsets, orientation=orientation)
    write(tmp_path, dataset)
    database = db.database(tmp_path)
    assert any("neither 0 nor the z" in str(problem) for problem in database.problems)
    assert [frame.ImagePositionPatient for frame in one(tmp_path).children()] == [None] * 3
    assert one(tmp_path).array().shape == (3, 4, 3)


def test_a_dose_of_one_plane(tmp_path):
    _, dataset = dose([0])
    write(tmp_path, dataset)
    assert one(tmp_path).ImagePositionPatient == [10, 20, -30]


def test_unknown_names_are_still_refused(tmp_path):
    write(tmp_path, dose([0, 1])[1])
    with pytest.raises(UnknownKeyword, match="GridFrameOffsetVector"):
        one(tmp_path).GridFrameOffsetVecto  # noqa: B018
