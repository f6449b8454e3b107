"""Grey, colours, palettes and overlays, from file to array."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dask.base import tokenize
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pack_bits
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

import dbdicom_xr as db
from dbdicom_xr.arrays.reader import FrameReader, Scaling
from dbdicom_xr.errors import DicomWarning, GridError, LayoutError, PixelError
from dbdicom_xr.pixels.layout import PixelLayout
from dbdicom_xr.pixels.palette import Palette
from tests.arrays.opened import series_of
from tests.pixels.made import make, random_values, write

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
COLOURS = ("Red", "Green", "Blue")
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"


def one(folder):
    (instance,) = series_of(folder).instances()
    return instance


def palette(seed=0, count=256, first=0, bits=8, big=False, segmented=False, signed=False):
    """Return the elements of a palette, to be set on a data set, and its colours."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 1 << bits, (count, 3))
    if segmented:
        colours = np.repeat(colours[:1], count, axis=0)
    elements = {}
    for number, name in enumerate(COLOURS):
        values = colours[:, number]
        if segmented:  # one entry, then a line to the same value
            values = np.array([0, 1, values[0], 1, count - 1, values[0]])
        if bits == 8:
            data = values.astype("u1").tobytes()
            data = np.frombuffer(data, "u2").byteswap().tobytes() if big else data
        else:
            data = values.astype(">u2" if big else "<u2").tobytes()
        prefix = "Segmented" if segmented else ""
        vr = "SS" if signed else "US"
        elements[f"{name}PaletteColorLookupTableDescriptor"] = (vr, [count % 65536, first, bits])
        elements[f"{prefix}{name}PaletteColorLookupTableData"] = ("OW", data)
    return elements, colours


def add(dataset, elements):
    for keyword, (vr, value) in elements.items():
        dataset.add_new(keyword, vr, value)
    return dataset


# -- palettes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("segmented", [False, True])
def test_palette(tmp_path, syntax, bits, segmented):
    stored = random_values(1, (3, 5, 7), 8, False, "u1")
    data = stored.tobytes() + b"\0"
    if syntax == ExplicitVRBigEndian:
        data = np.frombuffer(data, "u2").byteswap().tobytes()
    elements, colours = palette(bits=bits, big=syntax == ExplicitVRBigEndian, segmented=segmented)
    dataset = make(data, 5, 7, syntax=syntax, frames=3, BitsAllocated=8, BitsStored=8,
                   PhotometricInterpretation="PALETTE COLOR")  # fmt: skip
    path = write(tmp_path, add(dataset, elements))
    array = one(tmp_path).array()
    assert array.dims == ("frame", "x", "y", "channel")
    assert array.channel.values.tolist() == ["R", "G", "B"]
    assert array.dtype == f"u{bits // 8}"
    np.testing.assert_array_equal(array, colours[stored].swapaxes(1, 2))
    np.testing.assert_array_equal(array[1:, 2, :3, 1], colours[stored].swapaxes(1, 2)[1:, 2, :3, 1])
    numbers = one(tmp_path).array(rescale=False)
    assert numbers.dims == ("frame", "x", "y")
    np.testing.assert_array_equal(numbers, stored.swapaxes(1, 2))
    if syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        read = pydicom.dcmread(path)
        expected = apply_color_lut(read.pixel_array, read)
        np.testing.assert_array_equal(array, expected.swapaxes(1, 2))


def test_palette_of_many_colours(tmp_path):
    # Each table has 128 kB, which stay in the file.
    stored = random_values(2, (6, 8), 16, False, "<u2")
    elements, colours = palette(count=65536, bits=16)
    for number in (1, 2):
        dataset = make(stored.tobytes(), 6, 8, PhotometricInterpretation="PALETTE COLOR")
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"1.2.3.{number}", number
        write(tmp_path, add(dataset, elements), f"{number}.dcm")
    array, _ = series_of(tmp_path).array(pixels_first=True)
    assert array.dims == ("x", "y", "n", "channel")
    for number in range(2):
        np.testing.assert_array_equal(array[:, :, number], colours[stored].swapaxes(0, 1))


def test_each_image_has_its_own_palette(tmp_path):
    stored = random_values(3, (4, 6), 8, False, "u1")
    expected = []
    for number in (1, 2, 3):
        elements, colours = palette(seed=number % 2, first=-3, signed=True)
        dataset = make(stored.tobytes(), 4, 6, BitsAllocated=8, BitsStored=8, PixelRepresentation=1,
                       PhotometricInterpretation="PALETTE COLOR")  # fmt: skip
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"1.2.3.{number}", number
        write(tmp_path, add(dataset, elements), f"{number}.dcm")
        places = np.clip(stored.view("i1").astype(int) + 3, 0, 255)
        expected.append(colours[places].swapaxes(0, 1))
    array, _ = series_of(tmp_path).array()
    np.testing.assert_array_equal(array, np.stack(expected))


def test_a_label_map_keeps_its_labels(tmp_path):
    stored = random_values(4, (2, 4, 6), 8, False, "u1")
    dataset = make(stored.tobytes(), 4, 6, frames=2, BitsAllocated=8, BitsStored=8,
                   PhotometricInterpretation="PALETTE COLOR")  # fmt: skip
    dataset.SOPClassUID = LABEL_MAP
    write(tmp_path, add(dataset, palette()[0]))
    np.testing.assert_array_equal(one(tmp_path).array(), stored.swapaxes(1, 2))


def test_a_supplemental_palette_is_not_applied(tmp_path):
    # PS3.3 C.7.6.19: colours for some values of a grey image, whose numbers are measured.
    stored = random_values(5, (4, 6), 12, False, "<u2")
    dataset = make(stored.tobytes(), 4, 6, BitsStored=12, PixelPresentation="COLOR",
                   RescaleSlope=2, RescaleIntercept=-7)  # fmt: skip
    write(tmp_path, add(dataset, palette(first=3000, bits=16)[0]))
    np.testing.assert_array_equal(one(tmp_path).array(), stored.T * 2 - 7)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({}, "does not hold the palette.*rescale=False reads the numbers"),
        (palette(count=300)[0] | {"RedPaletteColorLookupTableData": ("OW", b"ab")},
         "300 entries has 2 bytes only.*rescale=False"),
        (palette()[0] | {"RedPaletteColorLookupTableDescriptor": ("US", [256, 0])}, "not 3 numb"),
    ],
)  # fmt: skip
def test_damaged_palettes(tmp_path, elements, message):
    dataset = make(bytes(24), 4, 6, BitsAllocated=8, BitsStored=8,
                   PhotometricInterpretation="PALETTE COLOR")  # fmt: skip
    path = write(tmp_path, add(dataset, elements))
    with pytest.raises(PixelError, match=f"{path.name}.*{message}"):
        one(tmp_path).array()
    assert one(tmp_path).array(rescale=False).sum() == 0


def test_palettes_and_grey_in_one_series(tmp_path):
    for number, photometric in enumerate(["PALETTE COLOR", "MONOCHROME2"], 1):
        dataset = make(bytes(24), 4, 6, BitsAllocated=8, BitsStored=8,
                       PhotometricInterpretation=photometric)  # fmt: skip
        dataset.SOPInstanceUID = f"1.2.3.{number}"
        write(tmp_path, add(dataset, palette()[0]), f"{number}.dcm")
    series = series_of(tmp_path)
    with pytest.raises(GridError, match="1 of 2 frames number the colours of a palette"):
        series.array()
    assert series.array(rescale=False)[0].shape == (2, 6, 4)


# -- grey and colour -----------------------------------------------------------------------------


def test_monochrome_1_stays_as_it_is_stored(tmp_path):
    stored = random_values(6, (4, 6), 12, False, "<u2")
    dataset = make(stored.tobytes(), 4, 6, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    write(tmp_path, dataset)
    np.testing.assert_array_equal(one(tmp_path).array(), stored.T)


@pytest.mark.parametrize(
    ("syntax", "planar"), [(RLELossless, 0), *((s, p) for s in SYNTAXES for p in (0, 1))]
)
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colour(tmp_path, photometric, syntax, planar):
    values = random_values(7, (2, 4, 6, 3), 8, False, "u1")
    data = values.transpose(0, 3, 1, 2).tobytes() if planar else values.tobytes()
    native = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    if syntax == ExplicitVRBigEndian:
        data = np.frombuffer(data, "u2").byteswap().tobytes()
    dataset = make(data, 4, 6, syntax=native, frames=2, BitsAllocated=8, BitsStored=8,
                   SamplesPerPixel=3, PlanarConfiguration=planar,
                   PhotometricInterpretation=photometric)  # fmt: skip
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    path = write(tmp_path, dataset)
    array = one(tmp_path).array()
    assert array.dims == ("frame", "x", "y", "channel")
    expected = pydicom.dcmread(path).pixel_array
    np.testing.assert_array_equal(array, expected.swapaxes(1, 2))
    if photometric == "RGB":
        np.testing.assert_array_equal(array, values.swapaxes(1, 2))
    else:  # PS3.3 C.7.6.3.1.2
        y, cb, cr = np.moveaxis(values.astype(float), -1, 0)
        red = np.clip(y + 1.402 * (cr - 128), 0, 255)
        assert np.abs(array.values[..., 0].swapaxes(1, 2) - red).max() <= 1
        green = np.clip(y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), 0, 255)
        assert np.abs(array.values[..., 1].swapaxes(1, 2) - green).max() <= 1


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_pixels_that_claim_to_share_their_colours_but_do_not(tmp_path, photometric):
    dataset = make(bytes(72), 4, 6, BitsAllocated=8, BitsStored=8, SamplesPerPixel=3,
                   PlanarConfiguration=0, PhotometricInterpretation=photometric)  # fmt: skip
    write(tmp_path, dataset)
    with pytest.raises(LayoutError, match=f"{photometric}.*take 48 bytes, but the file has 72"):
        one(tmp_path).array()


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_bits_above_the_value_are_no_part_of_it(tmp_path, syntax):
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    rubbish = random_values(8, (3, 4, 6), 16, False, f"{order}u2")
    for signed in (0, 1):
        folder = tmp_path / str(signed)
        dataset = make(rubbish.tobytes(), 4, 6, syntax=syntax, frames=3, BitsStored=11,
                       PixelRepresentation=signed)  # fmt: skip
        write(folder, dataset)
        expected = rubbish.astype(int) & 0x7FF
        if signed:
            expected = np.where(expected >= 0x400, expected - 0x800, expected)
        array = one(folder).array()
        assert array.dtype == ("int16" if signed else "uint16")
        np.testing.assert_array_equal(array, expected.swapaxes(1, 2))


# -- damaged headers, as fuzzing found them ------------------------------------------------------


def test_more_pixels_than_there_is_memory(tmp_path, monkeypatch):
    dataset = make(bytes(24), 4, 3)
    dataset.Rows = dataset.Columns = 65535
    write(tmp_path, dataset)
    array = one(tmp_path).array()
    assert array.shape == (65535, 65535)
    empty = np.empty

    def full(shape, *arguments):
        if np.prod(shape, dtype=float) > 1e9:
            raise MemoryError
        return empty(shape, *arguments)

    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(PixelError, match="no room in memory for 8 GiB of pixels"):
        array.compute(scheduler="sync")


@pytest.mark.parametrize("keyword", ["BitsStored", "BitsAllocated", "HighBit"])
def test_numbers_that_are_none(tmp_path, keyword):
    dataset = make(bytes(24), 4, 3)
    del dataset[keyword]
    dataset.add_new(keyword, "LO", "many")
    write(tmp_path, dataset)
    with pytest.raises(LayoutError, match=f"{keyword} is '?many"):
        one(tmp_path).array()


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [("PhotometricInterpretation", "CS", ["RGB", "X"]), ("PlanarConfiguration", "US", [0, 0]),
     ("Rows", "US", [4, 4]), ("PixelRepresentation", "US", [0, 1])],
)  # fmt: skip
def test_several_values_where_one_belongs(tmp_path, keyword, vr, value):
    dataset = make(bytes(24), 4, 3)
    dataset.add_new(keyword, vr, value)
    write(tmp_path, dataset)
    with pytest.raises(LayoutError, match=f"{keyword} is .*it can have one value only"):
        one(tmp_path).array()


def test_a_lookup_table_cut_off_inside_a_number(tmp_path):
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "OB", b"\1\0\0\0\x10\0")
    item.add_new("LUTData", "OB", bytes(4))
    dataset = make(bytes(24), 4, 3)
    dataset.ModalityLUTSequence = [item]
    path = write(tmp_path, dataset)
    data = path.read_bytes()
    at = data.index(b"\x28\0\x02\x30OB")
    path.write_bytes(data[: at + 4] + b"US" + b"\x03\0" + data[at + 8 :])
    with pytest.raises(PixelError, match="Modality LUT cannot be read"):
        one(tmp_path).array()


def test_signalling_nan_is_no_reason_to_warn(tmp_path):
    values = np.full((4, 3), 1.5, "<f4")
    values.view("<u4")[0, 0] = 0x7F800001
    single = make(values.tobytes(), 4, 3, keyword="FloatPixelData", vr="OF", BitsAllocated=32)
    double = make(bytes(96), 4, 3, keyword="DoubleFloatPixelData", vr="OD", BitsAllocated=64)
    for number, dataset in enumerate([single, double], 1):
        dataset.SOPInstanceUID = dataset.InstanceNumber = f"{number}"
        write(tmp_path, dataset, f"{number}.dcm")
    found = series_of(tmp_path).array()[0].values
    assert found.dtype == "float64"
    assert np.isnan(found[0, 0, 0])
    assert (found[0, 1:] == 1.5).all()
    assert (found[1] == 0).all()


# -- overlays ------------------------------------------------------------------------------------


def with_overlay(dataset, bits, group=0x6000, vr="OW", big=False, **elements):
    frames = bits.reshape(-1, *bits.shape[-2:])
    data = pack_bits(frames.astype("u1"))
    if big and vr == "OW":
        data = np.frombuffer(data, "u2").byteswap().tobytes()
    given = {
        0x0010: ("US", bits.shape[-2]), 0x0011: ("US", bits.shape[-1]), 0x0040: ("CS", "G"),
        0x0050: ("SS", [1, 1]), 0x0100: ("US", 1), 0x0102: ("US", 0), 0x3000: (vr, data),
    }  # fmt: skip
    if bits.ndim == 3:
        given[0x0015] = ("IS", len(bits))
    for name, (element, kind) in {"origin": (0x0050, "SS"), "first": (0x0051, "US"),
                                  "label": (0x1500, "LO")}.items():  # fmt: skip
        if name in elements:
            given[element] = (kind, elements[name])
    for element, (kind, value) in given.items():
        dataset.add_new((group, element), kind, value)
    return dataset


def some_bits(*shape):
    return np.random.default_rng(len(shape)).integers(0, 2, shape).astype(bool)


@pytest.mark.parametrize("vr", ["OW", "OB"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_overlays_beside_the_image(tmp_path, syntax, vr):
    bits, others = some_bits(5, 7), ~some_bits(5, 7)
    big = syntax == ExplicitVRBigEndian
    dataset = make(bytes(70), 5, 7, syntax=syntax, PixelSpacing=[2, 3])
    with_overlay(dataset, bits, vr=vr, big=big)
    with_overlay(dataset, others, 0x6004, vr=vr, big=big, label="Vessel")
    path = write(tmp_path, dataset)
    found = one(tmp_path).overlays()
    assert list(found) == ["6000", "Vessel"]
    assert found["6000"].dims == ("x", "y")
    assert found["6000"].dtype == bool
    assert found["Vessel"].attrs == {"group": "6004", "type": "G", "label": "Vessel"}
    np.testing.assert_array_equal(found["6000"], bits.T)
    np.testing.assert_array_equal(found["Vessel"], others.T)
    image = one(tmp_path).array()
    assert image.where(found["6000"]).shape == image.shape  # the same coordinates
    np.testing.assert_array_equal(found["6000"].x, np.arange(7) * 3)
    if not big:
        np.testing.assert_array_equal(pydicom.dcmread(path).overlay_array(0x6000), bits)


def test_overlays_smaller_than_the_image(tmp_path):
    bits = some_bits(2, 3) | np.eye(2, 3, dtype=bool)
    write(tmp_path, with_overlay(make(bytes(70), 5, 7), bits, origin=[3, 2]))
    expected = np.zeros((5, 7), bool)
    expected[2:4, 1:4] = bits
    np.testing.assert_array_equal(one(tmp_path).overlays()["6000"], expected.T)


def test_overlays_that_reach_beyond_the_image(tmp_path):
    write(tmp_path, with_overlay(make(bytes(70), 5, 7), np.ones((3, 3), bool), origin=[0, 6]))
    instance = one(tmp_path)
    with pytest.warns(DicomWarning, match=r"image.dcm: 5 pixels of the overlay \(6000\) lie besid"):
        found = instance.overlays()["6000"]
    assert found.sum() == 4
    assert found.values[5:, :2].all()


@pytest.mark.parametrize(
    ("shape", "first", "expected"),
    [((5, 7), None, "all"), ((2, 5, 7), 2, [None, 0, 1]), ((3, 5, 7), None, [0, 1, 2]),
     ((1, 5, 7), 3, [None, None, 0])],
)  # fmt: skip
def test_overlays_of_frames(tmp_path, shape, first, expected):
    bits = some_bits(*shape)
    dataset = make(bytes(210), 5, 7, frames=3)
    write(tmp_path, with_overlay(dataset, bits, **({} if first is None else {"first": first})))
    found = one(tmp_path).overlays()["6000"]
    if expected == "all":
        assert found.dims == ("x", "y")
        np.testing.assert_array_equal(found, bits.T)
        return
    assert found.dims == ("frame", "x", "y")
    for place, frame in enumerate(expected):
        wanted = np.zeros((7, 5), bool) if frame is None else bits[frame].T
        np.testing.assert_array_equal(found[place], wanted)
        record = one(tmp_path).children()[place]
        assert record.overlays()["6000"].dims == ("x", "y")
        np.testing.assert_array_equal(record.overlays()["6000"], wanted)


@pytest.mark.parametrize("syntax", [*SYNTAXES, RLELossless])
@pytest.mark.parametrize("frames", [1, 3])
def test_overlays_in_the_unused_bits_of_the_pixels(tmp_path, frames, syntax):
    values = random_values(9, (frames, 5, 6), 12, False, "u2")
    bits = some_bits(frames, 5, 6)
    others = ~some_bits(frames, 5, 6)
    raw = values | bits.astype("u2") << 12 | others.astype("u2") << 15
    native = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    data = raw.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
    dataset = make(data, 5, 6, syntax=native, frames=frames, BitsStored=12)
    if syntax == RLELossless:
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.BitsStored, dataset.HighBit = 12, 11
    for group, bit in ((0x6000, 12), (0x6002, 15)):
        dataset.add_new((group, 0x0100), "US", 16)
        dataset.add_new((group, 0x0102), "US", bit)
    write(tmp_path, dataset)
    found = one(tmp_path).overlays()
    turned = bits.swapaxes(1, 2)
    np.testing.assert_array_equal(found["6000"], turned[0] if frames == 1 else turned)
    turned = others.swapaxes(1, 2)
    np.testing.assert_array_equal(found["6002"], turned[0] if frames == 1 else turned)
    image = one(tmp_path).array()
    turned = values.swapaxes(1, 2)
    np.testing.assert_array_equal(image, turned[0] if frames == 1 else turned)


def test_large_overlays_stay_in_the_file_until_asked_for(tmp_path):
    bits = some_bits(800, 900)
    write(tmp_path, with_overlay(make(bytes(1440000), 800, 900), bits))
    np.testing.assert_array_equal(one(tmp_path).overlays()["6000"], bits.T)


def test_an_overlay_without_an_image(tmp_path):
    dataset = make(bytes(70), 5, 7)
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        del dataset[keyword]
    write(tmp_path, with_overlay(dataset, some_bits(4, 6)))
    np.testing.assert_array_equal(one(tmp_path).overlays()["6000"], some_bits(4, 6).T)


def test_most_images_have_none(tmp_path):
    write(tmp_path, make(bytes(70), 5, 7))
    assert one(tmp_path).overlays() == {}


def test_a_damaged_overlay(tmp_path):
    dataset = with_overlay(make(bytes(70), 5, 7), some_bits(5, 7))
    dataset[0x6000, 0x0010].value = 500
    path = write(tmp_path, dataset)
    with pytest.raises(PixelError, match=f"{path.name}: The overlay .* ends too early"):
        one(tmp_path).overlays()
    assert db.database(tmp_path).series()[0].array()[0].shape == (1, 7, 5)


# -- names of arrays in graphs -------------------------------------------------------------------


def reader(files, scaling=None):
    zeros = np.zeros(len(files), np.int64)
    return FrameReader(
        "index", "identity", "/", np.arange(len(files)), files, zeros, zeros, [PixelLayout(4, 4)],
        [scaling or Scaling()], np.dtype("u2"),
    )  # fmt: skip


def test_arrays_that_differ_in_the_middle_have_names_of_their_own():
    # dask takes what has one name for one: subtracting such arrays would give zeros.
    files = np.arange(3000)
    other = files.copy()
    other[1000:2000] = other[1000:2000][::-1]
    assert tokenize(reader(files)) == tokenize(reader(files.copy()))
    assert tokenize(reader(files)) != tokenize(reader(other))
    table = np.zeros(60000, "u2")
    changed = table.copy()
    changed[30000] = 1
    names = {
        tokenize(reader(files, scaling))
        for scaling in (
            Scaling(), Scaling(2), Scaling(lut=(0, 16, table)), Scaling(lut=(0, 16, changed)),
            Scaling(lut=(1, 16, table)), Scaling(palette=Palette(0, table.reshape(-1, 3))),
            Scaling(palette=Palette(0, changed.reshape(-1, 3))), Scaling(padding=(0, 1)),
        )
    }  # fmt: skip
    assert len(names) == 8


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    "kind", ["grey", "signed, rescaled", "colour", "colour by plane", "palette"]
)
def test_a_part_of_the_rows_is_what_the_whole_gives(tmp_path, syntax, kind):
    colour = "colour" in kind
    bits = 16 if kind.startswith("signed") else 8
    shape = (2, 6, 8, *([3] if colour else []))
    big = syntax == ExplicitVRBigEndian and bits == 16
    dtype = f"{'>' if big else '<'}{'i' if bits == 16 else 'u'}{bits // 8}"
    values = random_values(3, shape, bits, bits == 16, dtype)
    attributes = {"BitsAllocated": bits, "BitsStored": bits}
    if colour:
        attributes |= {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB",
                       "PlanarConfiguration": int("plane" in kind)}  # fmt: skip
    elif kind == "palette":
        attributes["PhotometricInterpretation"] = "PALETTE COLOR"
    elif bits == 16:
        attributes |= {"PixelRepresentation": 1, "RescaleSlope": 0.5, "RescaleIntercept": -3}
    dataset = make(values.tobytes(), 6, 8, syntax=syntax, frames=2, vr="OB" if bits == 8 else "OW",
                   **attributes)  # fmt: skip
    if kind == "palette":
        for keyword, (vr, value) in palette(bits=16)[0].items():
            dataset.add_new(keyword, vr, value)
    write(tmp_path, dataset)
    array = one(tmp_path).array()
    whole = array.values
    for rows in (slice(0, 1), slice(2, 5), slice(5, 1, -2), slice(None, None, -1), slice(3, 3), 4):
        for columns in (slice(None), slice(7, 2, -3), 1):
            part = array[1, columns, rows]
            np.testing.assert_array_equal(part.values, whole[1, columns, rows])
            if array.ndim == 4:
                np.testing.assert_array_equal(part[..., 1].values, whole[1, columns, rows, 1])
