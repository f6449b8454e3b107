"""The numbers in an array are those in the files, whatever the encoding."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue, PixelError
from dbdicom_xr.testing import make_enhanced, make_series
from tests.arrays.opened import real_values, series_of, truth

SYNTAXES = ["explicit", "implicit", "big", "deflated", "rle"]
TYPES = [("uint8", 8), ("int8", 8), ("uint16", 16), ("uint16", 12), ("int16", 16), ("int16", 12),
         ("uint32", 32), ("int32", 32), ("int32", 20)]  # fmt: skip


@pytest.mark.parametrize(
    ("syntax", "dtype", "bits"),
    # RLE holds up to 16 bits: PS3.5 8.2.2.
    [(s, *t) for s in SYNTAXES for t in TYPES if s != "rle" or t[1] <= 16],
)
def test_stored_values_in_every_encoding(tmp_path, syntax, dtype, bits):
    made = make_series(
        tmp_path, dtype=dtype, bits_stored=bits, transfer_syntax=syntax, shape=(5, 3)
    )
    array, _ = series_of(tmp_path).array("SliceLocation")
    assert array.dtype == dtype
    assert array.dims == ("SliceLocation", "n", "x", "y")
    np.testing.assert_array_equal(array, made.pixels)
    for place, file in enumerate(made.files):
        np.testing.assert_array_equal(array[place, 0], pydicom.dcmread(file).pixel_array.T)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_odd_number_of_bytes(tmp_path, syntax):
    made = make_series(tmp_path, dtype="uint8", transfer_syntax=syntax, shape=(5, 3))
    np.testing.assert_array_equal(series_of(tmp_path).array()[0].values[:, None], made.pixels)


# slope, intercept -> the type of the array; from stored 12-bit unsigned values.
SCALES = [
    (None, None, "uint16"),
    (1, 0, "uint16"),
    (1, -1024, "int16"),
    (2, 0, "uint16"),
    (-1, 0, "int16"),
    (-20, 0, "int32"),
    (100, 0, "int32"),
    (1, 1e6, "int32"),
    (0.5, 0, "float32"),
    (-0.5, 3.25, "float32"),
    (1.1, -1024, "float32"),
    (0.001, 1e6, "float64"),
    ("3.7e-5", 0, "float32"),
]


@pytest.mark.parametrize(("slope", "intercept", "dtype"), SCALES)
def test_slope_and_intercept(tmp_path, slope, intercept, dtype):
    pixels = np.linspace(0, 4095, 3 * 5 * 3).round().reshape(3, 1, 5, 3)
    make_series(
        tmp_path, pixels=pixels, bits_stored=12, shape=(5, 3),
        slope=None if slope is None else float(slope), intercept=intercept,
    )  # fmt: skip
    array, _ = series_of(tmp_path).array("SliceLocation")
    assert array.dtype == dtype
    factor, offset = float(slope or 1), float(intercept or 0)
    expected = pixels * factor + offset
    if array.dtype.kind in "iu":
        np.testing.assert_array_equal(array, expected)
    else:
        np.testing.assert_allclose(array, expected, rtol=0, atol=abs(factor) / 100)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (3, -7), (-2, 5), (1000, 0), (-1, -1)])
def test_the_type_of_integers_holds_the_range(tmp_path, dtype, slope, intercept):
    limits = np.iinfo(dtype)
    pixels = np.array([limits.min, limits.max, 0, 1], dtype).reshape(1, 1, 2, 2)
    make_series(
        tmp_path, keys={"SliceLocation": [0.0]}, pixels=pixels, dtype=dtype, shape=(2, 2),
        slope=slope, intercept=intercept,
    )  # fmt: skip
    array, _ = series_of(tmp_path).array()
    assert array.dtype.kind in "iu"
    exact = [int(value) * slope + intercept for value in pixels.ravel()]
    assert array.values.ravel().tolist() == exact


def test_each_frame_has_its_own_slope_as_in_pet(tmp_path):
    slope = np.array([0.25, 3.125, 117.5])[:, None]
    made = make_series(tmp_path, slope=slope, intercept=0, dtype="int16")
    array, header = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_allclose(array, made.values, rtol=1e-6)
    assert header.RescaleSlope[:, 0].tolist() == [0.25, 3.125, 117.5]
    for place, file in enumerate(made.files):
        np.testing.assert_allclose(array[place, 0], truth(file), rtol=1e-6)


def test_integer_and_fractional_slopes_in_one_series(tmp_path):
    made = make_series(tmp_path, slope=np.array([1, 2, 0.37])[:, None], intercept=-5)
    array, _ = series_of(tmp_path).array("SliceLocation")
    assert array.dtype.kind == "f"
    np.testing.assert_allclose(array, made.values, rtol=0, atol=0.0037)


def test_signed_and_unsigned_frames_in_one_series(tmp_path):
    made = make_series(
        tmp_path, pixels=np.array([200, 201, 202]).reshape(3, 1, 1, 1), dtype="uint8", shape=(1, 1),
        header=lambda ds, at: setattr(ds, "PixelRepresentation", at[0] % 2),
    )  # fmt: skip
    array, _ = series_of(tmp_path).array("SliceLocation")
    assert array.values.ravel().tolist() == [200, 201 - 256, 202]
    assert array.dtype == "int16"
    assert len(made.files) == 3


def test_frames_of_one_series_in_several_syntaxes(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 4096, (5, 1, 7, 4))
    for place, syntax in enumerate(SYNTAXES):
        made = make_series(
            tmp_path, keys={"SliceLocation": [float(place)]}, pixels=pixels[place : place + 1],
            shape=(7, 4), transfer_syntax=syntax, prefix=syntax,
            header={"SOPInstanceUID": f"1.2.3.{place}", "InstanceNumber": place + 1},
        )  # fmt: skip
        assert made.files
    array, _ = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_array_equal(array, pixels)


def test_rescale_false_gives_stored_values(tmp_path):
    made = make_series(tmp_path, slope=0.3, intercept=-4, dtype="int16")
    array, _ = series_of(tmp_path).array("SliceLocation", rescale=False)
    assert array.dtype == "int16"
    np.testing.assert_array_equal(array, made.pixels)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(["uint8", "int8", "uint16", "int16", "int32"]),
    slope=st.floats(1e-4, 1e4).flatmap(lambda v: st.sampled_from([v, -v])),
    intercept=st.floats(-1e5, 1e5),
    data=st.data(),
)
def test_error_is_below_a_hundredth_of_a_stored_step(
    tmp_path_factory, dtype, slope, intercept, data
):
    limits = np.iinfo(dtype)
    stored = data.draw(
        st.lists(st.integers(int(limits.min), int(limits.max)), min_size=4, max_size=4)
    )
    slope, intercept = float(f"{slope:.9g}"), float(f"{intercept:.9g}")
    folder = tmp_path_factory.mktemp("made")
    make_series(
        folder, keys={"SliceLocation": [0.0]}, shape=(2, 2), dtype=dtype, slope=slope,
        intercept=intercept, pixels=np.array(stored).reshape(1, 1, 2, 2),
    )  # fmt: skip
    array, _ = series_of(folder).array()
    expected = np.array(stored, np.float64).reshape(1, 2, 2) * slope + intercept
    assert np.abs(array.values.astype(np.float64) - expected).max() <= abs(slope) / 100
    assert array.dtype == array.values.dtype


# -- padding -----------------------------------------------------------------------------------


def test_padding_is_a_value_unless_asked_for(tmp_path):
    pixels = np.array([-2000, -1000, 0, 5] * 3).reshape(3, 1, 2, 2)

    def header(dataset, _):
        dataset.add_new("PixelPaddingValue", "SS", -2000)

    make_series(tmp_path, pixels=pixels, dtype="int16", shape=(2, 2), header=header)
    series = series_of(tmp_path)
    np.testing.assert_array_equal(series.array("SliceLocation")[0], pixels)
    array, _ = series.array("SliceLocation", padding="nan")
    assert array.dtype == "float32"
    np.testing.assert_array_equal(array, np.where(pixels == -2000, np.nan, pixels))


@pytest.mark.parametrize(
    ("first", "other", "dtype", "expected"),
    [
        (10, 20, "uint16", [0, 9, np.nan, np.nan, np.nan, 21]),
        (20, 10, "uint16", [0, 9, np.nan, np.nan, np.nan, 21]),
        (65535, None, "uint16", [0, 9, 10, 15, 20, 21]),
    ],
)
def test_a_range_of_padding(tmp_path, first, other, dtype, expected):
    pixels = np.array([0, 9, 10, 15, 20, 21]).reshape(1, 1, 3, 2)
    make_series(
        tmp_path, keys={"SliceLocation": [0.0]}, pixels=pixels, dtype=dtype, shape=(3, 2),
        slope=2, intercept=1, header={"PixelPaddingValue": first, "PixelPaddingRangeLimit": other},
    )  # fmt: skip
    array, _ = series_of(tmp_path).array(padding="nan")
    np.testing.assert_array_equal(array.values.ravel(), np.array(expected) * 2 + 1)


def test_signed_padding_written_as_unsigned(tmp_path):
    def header(dataset, _):
        dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)

    pixels = np.array([-2000, 7, 8, 9]).reshape(1, 1, 2, 2)
    make_series(
        tmp_path, keys={"SliceLocation": [0.0]}, pixels=pixels, dtype="int16", shape=(2, 2),
        header=header,
    )  # fmt: skip
    array, _ = series_of(tmp_path).array(padding="nan")
    assert np.isnan(array.values[0, 0, 0])
    assert array.values.ravel()[1:].tolist() == [7, 8, 9]


def test_padding_takes_one_word_only(tmp_path):
    make_series(tmp_path)
    with pytest.raises(InvalidValue, match="'zero'; it can be None or 'nan'"):
        series_of(tmp_path).array(padding="zero")


# -- other ways from stored to real values -----------------------------------------------------


def modality_lut(first, bits, entries, vr="US"):
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    item.ModalityLUTType = "US"
    order = struct.pack(f"<{len(entries)}H", *entries)
    item.add_new("LUTData", vr, list(entries) if vr == "US" else order)
    return Sequence([item])


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
@pytest.mark.parametrize(("first", "dtype"), [(0, "uint16"), (10, "uint16"), (-5, "int16")])
def test_modality_lut(tmp_path, vr, syntax, first, dtype):
    entries = [(k * 37 + 100) % 60000 for k in range(40)]
    low = np.iinfo(dtype).min
    pixels = np.array([max(low, first - 9), first, first + 1, first + 39, first + 40, 3000])
    pixels = np.clip(pixels, low, None).reshape(1, 1, 3, 2)
    made = make_series(
        tmp_path, keys={"SliceLocation": [0.0]}, pixels=pixels, dtype=dtype, shape=(3, 2),
        transfer_syntax=syntax,
        header={"ModalityLUTSequence": modality_lut(first, 16, entries, vr)},
    )  # fmt: skip
    array, _ = series_of(tmp_path).array()
    index = np.clip(pixels[0] - first, 0, 39)
    np.testing.assert_array_equal(array, np.array(entries)[index])
    dataset = pydicom.dcmread(made.files[0])
    np.testing.assert_array_equal(array[0].T, apply_modality_lut(dataset.pixel_array, dataset))
    stored, _ = series_of(tmp_path).array(rescale=False)
    np.testing.assert_array_equal(stored, pixels[0])


def test_a_negative_first_entry_written_as_unsigned(tmp_path):
    sequence = modality_lut(65536 - 3, 16, [10, 20, 30, 40, 50, 60])
    pixels = np.array([-9, -3, -1, 2]).reshape(1, 1, 2, 2)
    make_series(
        tmp_path, keys={"SliceLocation": [0.0]}, pixels=pixels, dtype="int16", shape=(2, 2),
        header={"ModalityLUTSequence": sequence},
    )  # fmt: skip
    array, _ = series_of(tmp_path).array()
    assert array.values.ravel().tolist() == [10, 10, 30, 60]


def test_a_lut_of_bytes(tmp_path):
    sequence = modality_lut(0, 8, [0] * 6)
    sequence[0].add_new("LUTData", "OW", bytes([5, 6, 7, 8, 9, 250]))
    pixels = np.array([0, 1, 5, 6]).reshape(1, 1, 2, 2)
    make_series(
        tmp_path, keys={"SliceLocation": [0.0]}, pixels=pixels, shape=(2, 2),
        header={"ModalityLUTSequence": sequence},
    )  # fmt: skip
    array, _ = series_of(tmp_path).array()
    assert array.dtype == "uint8"
    assert array.values.ravel().tolist() == [5, 6, 250, 250]


def test_each_frame_has_its_own_modality_lut(tmp_path):
    pixels = np.arange(4).reshape(1, 1, 2, 2).repeat(3, 0)

    def header(dataset, at):
        dataset.ModalityLUTSequence = modality_lut(0, 16, [at[0] * 1000 + k for k in range(2000)])

    make_series(tmp_path, pixels=pixels, shape=(2, 2), header=header)
    array, _ = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_array_equal(array, pixels + np.array([0, 1000, 2000])[:, None, None, None])


def test_dose_grid_scaling(tmp_path):
    header = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2", "DoseGridScaling": "0.00025"}
    made = make_series(tmp_path, dtype="uint32", bits_stored=20, header=header)
    array, _ = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_allclose(array, made.pixels * 0.00025, rtol=0, atol=0.0000025)
    # In an object of another kind the element means nothing.
    header["SOPClassUID"] = "1.2.840.10008.5.1.4.1.1.4"
    made = make_series(tmp_path / "mr", dtype="uint32", bits_stored=20, header=header)
    array, _ = series_of(tmp_path / "mr").array("SliceLocation")
    np.testing.assert_array_equal(array, made.pixels)


def real_world(label, slope, intercept, first=0, last=65535):
    item = Dataset()
    item.LUTLabel = label
    item.LUTExplanation = label
    item.add_new("RealWorldValueFirstValueMapped", "US", first)
    item.add_new("RealWorldValueLastValueMapped", "US", last)
    item.RealWorldValueSlope = slope
    item.RealWorldValueIntercept = intercept
    return item


def test_real_world_values_by_label(tmp_path):
    maps = [real_world("T1", 0.5, 10.0), real_world("R1", 0.001, 0.0)]
    made = make_series(
        tmp_path, slope=3, intercept=0, header={"RealWorldValueMappingSequence": Sequence(maps)}
    )
    series = series_of(tmp_path)
    np.testing.assert_allclose(
        series.array("SliceLocation", rescale="T1")[0], made.pixels * 0.5 + 10, atol=0.005
    )
    np.testing.assert_allclose(
        series.array("SliceLocation", rescale="R1")[0], made.pixels * 0.001, atol=0.00001
    )
    np.testing.assert_array_equal(series.array("SliceLocation")[0], made.values)
    with pytest.raises(PixelError, match=r"no real world value map of the label 'T2'.*'T1', 'R1'"):
        series.array(rescale="T2")


def test_no_or_ambiguous_real_world_values(tmp_path):
    make_series(tmp_path / "none")
    with pytest.raises(PixelError, match=r"IM0001.dcm: .*label 'T1'; there is none"):
        series_of(tmp_path / "none").array(rescale="T1")
    maps = [real_world("T1", 0.5, 0.0, 0, 99), real_world("T1", 2.0, 0.0, 100, 999)]
    header = {"RealWorldValueMappingSequence": Sequence(maps)}
    make_series(tmp_path / "two", header=header)
    with pytest.raises(PixelError, match="2 real world value maps of the label 'T1'"):
        series_of(tmp_path / "two").array(rescale="T1")


def parametric(folder, values, keyword, bits):
    """Write a map of floating point numbers in place of the images of a series."""
    made = make_series(folder, keys={"SliceLocation": [0.0]}, shape=values.shape)
    dataset = made.datasets[0]
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.30"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.BitsAllocated = bits
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    setattr(dataset, keyword, np.ascontiguousarray(values.T).tobytes())
    dataset.save_as(made.files[0], enforce_file_format=True)
    return made.files[0]


@pytest.mark.parametrize(
    ("keyword", "dtype"), [("FloatPixelData", "float32"), ("DoubleFloatPixelData", "float64")]
)
def test_floating_point_pixels(tmp_path, keyword, dtype):
    values = np.random.default_rng(0).normal(0, 1e5, (6, 4)).astype(dtype)
    values[0, 0], values[1, 0] = np.nan, np.inf
    file = parametric(tmp_path, values, keyword, np.dtype(dtype).itemsize * 8)
    array, _ = series_of(tmp_path).array()
    assert array.dtype == dtype
    np.testing.assert_array_equal(array[0], values)
    np.testing.assert_array_equal(array[0], pydicom.dcmread(file).pixel_array.T)


def test_padding_of_floating_point_pixels(tmp_path):
    values = np.array([[1.5, -99.5], [2.5, 3.5]], np.float32)
    file = parametric(tmp_path, values, "FloatPixelData", 32)
    dataset = pydicom.dcmread(file)
    dataset.FloatPixelPaddingValue = -99.5
    dataset.save_as(file)
    array, _ = series_of(tmp_path).array(padding="nan")
    np.testing.assert_array_equal(array[0], np.where(values == -99.5, np.nan, values))


def test_colour_has_a_last_dimension(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)

    def header(dataset, at):
        dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, at[0] % 2
        dataset.PhotometricInterpretation = "RGB"

    made = make_series(tmp_path, dtype="uint8", shape=(4, 6), header=header)
    for place, (dataset, file) in enumerate(zip(made.datasets, made.files, strict=True)):
        rows = colours[place].swapaxes(0, 1)
        dataset.PixelData = (rows if place % 2 == 0 else rows.transpose(2, 0, 1)).tobytes()
        dataset.save_as(file)
    series = series_of(tmp_path)
    array, header = series.array("SliceLocation")
    assert array.dims == ("SliceLocation", "n", "x", "y", "channel")
    assert array.channel.values.tolist() == ["R", "G", "B"]
    np.testing.assert_array_equal(array[:, 0], colours)
    assert header.shape == (3, 1)
    first, _ = series.array("SliceLocation", pixels_first=True)
    assert first.dims == ("x", "y", "SliceLocation", "n", "channel")
    np.testing.assert_array_equal(first, array.transpose(*first.dims))
    assert series.instances()[0].array().dims == ("x", "y", "channel")


# -- what cannot be read says so ---------------------------------------------------------------


def test_truncated_pixels(tmp_path):
    made = make_series(tmp_path, shape=(16, 12))
    file = made.files[1]
    file.write_bytes(file.read_bytes()[:-100])
    array, _ = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_array_equal(array[0], made.pixels[0])
    with pytest.raises(PixelError, match=r"IM0002.dcm, frame 1: .*needs 384 bytes, 284 are there"):
        array.compute()
    with pytest.raises(PixelError, match="truncated"):
        array[1, 0, 3, 3].compute()


def test_compressed_syntax_without_fragments(tmp_path):
    made = make_series(tmp_path, keys={"SliceLocation": [0.0]})
    data = made.files[0].read_bytes()
    explicit, lossless = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"
    assert data.count(explicit) == 1
    made.files[0].write_bytes(data.replace(explicit, lossless))
    database = db.database(tmp_path)
    with pytest.raises(PixelError, match=r"IM0001.dcm.* not in fragments"):
        database.series()[0].array()[0].compute()


def test_a_lut_that_cannot_be_used_names_the_file(tmp_path):
    header = {"ModalityLUTSequence": modality_lut(0, 99, [1, 2, 3])}
    make_series(tmp_path, keys={"SliceLocation": [0.0]}, header=header)
    with pytest.raises(PixelError, match=r"IM0001.dcm.*99 bits per entry"):
        series_of(tmp_path).array()[0].compute()


@pytest.mark.parametrize("word", ["MOSAIC", "VFRAME"])
def test_mosaics_are_refused(tmp_path, word):
    make_series(tmp_path, header={"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", word]})
    with pytest.raises(PixelError, match=r"3 of 3 images, such as .*IM0001.dcm, are mosaics"):
        series_of(tmp_path).array()


def test_a_series_without_images(tmp_path):
    def header(dataset, _):
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
        dataset.Modality = "SR"

    made = make_series(tmp_path, header=header)
    for dataset, file in zip(made.datasets, made.files, strict=True):
        del dataset.PixelData
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.save_as(file)
    series = series_of(tmp_path)
    with pytest.raises(PixelError, match=r"holds no images, but Enhanced SR"):
        series.array()
    with pytest.raises(PixelError, match=r"IM0001.dcm has no pixels"):
        series.instances()[0].array()


def test_a_slope_that_is_no_number(tmp_path):
    made = make_series(tmp_path, slope=1, intercept=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in made.files:
            dataset = pydicom.dcmread(file)
            dataset.RescaleSlope = ["1", "2"]
            dataset.save_as(file)
    series = series_of(tmp_path)
    with pytest.raises(PixelError, match=r"IM0001.dcm: RescaleSlope is .*rescale=False"):
        series.array()
    np.testing.assert_array_equal(series.array("SliceLocation", rescale=False)[0], made.pixels)


# -- one instance ------------------------------------------------------------------------------


def test_one_instance_is_one_image(tmp_path):
    made = make_series(tmp_path, slope=2, intercept=-1)
    for instance in series_of(tmp_path).instances():
        array = instance.array()
        assert array.dims == ("x", "y")
        np.testing.assert_array_equal(array, truth(instance.file))
        assert str(array.SOPInstanceUID.values) == instance.SOPInstanceUID
        stored = instance.array(rescale=False)
        np.testing.assert_array_equal(stored, pydicom.dcmread(instance.file).pixel_array.T)
    assert len(made.files) == 3


def test_one_multi_frame_instance(tmp_path):
    made = make_enhanced(tmp_path, slope=np.array([1.0, 2.0, 0.5])[:, None], intercept=0)
    instance = series_of(tmp_path).instances()[0]
    array = instance.array()
    assert array.dims == ("frame", "x", "y")
    assert array.frame.values.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(array, made.values[:, 0])
    for number, frame in enumerate(instance.values()):
        np.testing.assert_array_equal(frame.array(), made.values[number, 0])
        assert frame.array().dims == ("x", "y")


def test_a_frame_is_the_transpose_of_what_pydicom_gives(tmp_path):
    made = make_series(tmp_path, shape=(7, 4), slope=0.5, intercept=1)
    array, header = series_of(tmp_path).array("SliceLocation")
    for frame, instance in zip(array[:, 0], header[:, 0], strict=True):
        np.testing.assert_array_equal(frame, real_values(pydicom.dcmread(instance.file)))
    assert made.pixels.shape[-2:] == (7, 4) == (array.sizes["x"], array.sizes["y"])
