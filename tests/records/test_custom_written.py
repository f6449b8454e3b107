"""Custom attributes that are set: read again as they were set, in files that stay valid."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.records.attributes import custom
from dbdicom_xr.records.attributes import lookup as attributes
from dbdicom_xr.testing import Geometry, make_enhanced, make_mosaic, make_series

sys.path.insert(0, str(Path(__file__).parents[1] / "emit"))
from judges import errors_of

SLICES = [0.0, 4.0, 8.0]
KEYS: dict[str, Any] = {"SliceLocation": SLICES, "FlipAngle": [5.0, 10.0]}
MAKERS: dict[str, Any] = {"classic": make_series, "enhanced": make_enhanced}
AXIAL = Geometry((1.5, 1.25, 4), (1, 0, 0, 0, 1, 0), (-20, -30, 40))
OBLIQUE = Geometry((1.5, 1.25, 4), (0.8, 0.6, 0, 0, 0, -1), (-20, -30, 40))


@pytest.fixture(autouse=True)
def own_names() -> Iterator[None]:
    assert custom.__all__ == []  # it registers those of the package
    before = dict(attributes._customs)
    yield
    attributes._customs.clear()
    attributes._customs.update(before)
    attributes._parse_text.cache_clear()


@pytest.fixture(params=list(MAKERS))
def series(request: Any, tmp_path: Path) -> Any:
    MAKERS[request.param](tmp_path, keys=KEYS, bits_stored=12)
    (found,) = db.database(tmp_path).series()
    return found


def add_private(dataset: Any, creator: str, tag: int, vr: str, value: Any) -> None:
    dataset.private_block(tag >> 16, creator, create=True).add_new(tag & 0xFF, vr, value)


# -- on every level, in every notation -----------------------------------------------------------

VALUES: list[tuple[str, Any, Any]] = [
    ("window", (50, 400), [50.0, 400.0]),
    ("window", np.array([0.5, 0.25]), [0.5, 0.25]),
    ("colormap", "viridis", "viridis"),
    ("colormap", "gray", "gray"),
    ("b_value", 1000, 1000.0),
    ("signal_type", "PHASE", "PHASE"),
    ("image_type", "real", "REAL"),
    ("image_type", "T1_MAP", "T1_MAP"),
    ("image_type", "WATER", "WATER"),
    ("image_type", "OUT_OF_PHASE", "OUT_OF_PHASE"),
]


@pytest.mark.parametrize(("name", "value", "read"), VALUES)
def test_what_is_set_is_read_and_valid(series: Any, name: str, value: Any, read: Any) -> None:
    before = [errors_of(file) for file in series.files()]
    setattr(series, name, value)
    assert series[name] == [read]
    assert [frame[name] for frame in series.frames()] == [read] * 6
    assert len(series.frames({name: lambda found: found == read})) == 6
    assert series.to_dataframe(name)[name].tolist() == [read] * 6
    series.save()
    again = db.database(series.database.path_on_disk).series()[0]
    assert again[name] == [read]
    for file, known in zip(series.files(), before, strict=True):
        assert errors_of(file) <= known


@pytest.mark.parametrize("level", ["database", "patient", "study", "series", "instance"])
def test_levels_and_notations(series: Any, level: str) -> None:
    database = series.database
    record = {
        "database": database, "patient": database.patients()[0], "study": database.studies()[0],
        "series": series, "instance": series.instances()[0],
    }[level]  # fmt: skip
    record.window = (10, 20)
    record["colormap"] = "hot"
    record[["b_value", "image_type"]] = [500, "PHASE"]
    image = series.instances()[0]
    assert image[["window", "colormap", "b_value", "image_type"]] == [
        [10, 20], "hot", 500, "PHASE",
    ]  # fmt: skip
    del record.window
    assert image.window is None
    record.restore()
    assert series.b_value == []


def test_one_value_per_frame(series: Any) -> None:
    b_values = [0, 100, 200, 300, 400, 500]
    series.set_values("b_value", b_values)
    series.set_values("window", [(n, n + 1) for n in range(6)])
    assert [frame.b_value for frame in series.frames()] == b_values
    assert [frame.window for frame in series.frames()] == [[n, n + 1] for n in range(6)]
    assert series.array(["b_value"])[0].b_value.values.tolist() == b_values
    series.frames()[2].window = (7, 8)
    assert [frame.window[0] for frame in series.frames()] == [0, 1, 7, 3, 4, 5]
    series.array()[1].window = (1, 2)  # a header
    assert series.window == [[1, 2]]


REFUSED: list[tuple[str, Any, str]] = [
    ("window", (1, 0), "above 0"), ("window", 5, "two numbers"), ("window", "a", "two numbers"),
    ("colormap", "viridiss", "'viridis'"), ("colormap", 5, "not a colour map"),
    ("lut", np.zeros((4, 3)), "PALETTE COLOR"), ("b_value", -1, "0 or more"),
    ("b_value", "many", "a number"), ("gradient_direction", [0, 0, 1], "Set b_value first"),
    ("image_type", None, "cannot be None"), ("image_type", "sméll", "capitals"),
    ("affine", None, "cannot be None"), ("affine", np.eye(3), "4 by 4"),
    ("affine", np.zeros((4, 4)), "affine"), ("affine", np.diag([1.0, 1, -1, 1]), "other end"),
    ("echo", 0, "whole number|multi-frame"), ("echo", 1.5, "whole number|multi-frame"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "words"), REFUSED)
def test_what_is_refused_changes_nothing(series: Any, name: str, value: Any, words: str) -> None:
    before = series.to_dataframe()
    with pytest.raises(InvalidValue, match=words):
        setattr(series, name, value)
    assert series.to_dataframe().equals(before)
    assert len(series.database.changes()) == 0


def test_an_empty_series_says_when(tmp_path: Path) -> None:
    make_series(tmp_path, keys=KEYS)
    empty = db.database(tmp_path).studies()[0].new_series()
    with pytest.raises(InvalidValue, match="no images"):
        empty.window = (1, 2)
    empty.database.close(save=False)


# -- display -------------------------------------------------------------------------------------


def test_a_window_replaces_all_that_was(tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [2, 0, 16], b"\0\0\1\0"

    def header(dataset: Any, index: Any) -> None:
        dataset.WindowCenter, dataset.WindowWidth = [1, 2], [3, 4]
        dataset.WindowCenterWidthExplanation, dataset.VOILUTSequence = ["A", "B"], [item]

    made = make_series(tmp_path, keys=KEYS, header=header)
    (series,) = db.database(tmp_path).series()
    assert series.window == [[1, 3]]
    series.window = (0.2, 0.5)
    series.save()
    dataset = pydicom.dcmread(made.files[0])
    assert (dataset.WindowCenter, dataset.WindowWidth) == (0.2, 0.5)
    assert dataset.VOILUTFunction == "LINEAR_EXACT"  # LINEAR has no width below 1
    assert "VOILUTSequence" not in dataset
    assert "WindowCenterWidthExplanation" not in dataset


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_function_of_a_window_stays_and_is_what_is_shown(
    function: str | None, tmp_path: Path
) -> None:
    def header(dataset: Any, index: Any) -> None:
        dataset.WindowCenter, dataset.WindowWidth = 500, 900
        if function is not None:
            dataset.VOILUTFunction = function

    made = make_series(tmp_path / "in", keys=KEYS, header=header)
    (series,) = db.database(tmp_path / "in").series()
    series.window = (300, 120)
    series.save()
    dataset = pydicom.dcmread(made.files[0])
    assert dataset.get("VOILUTFunction") == function
    (file,) = series.instances()[0].export_as_png(tmp_path / "a.png")
    # pydicom gives the values of the output range that the bits of the image make.
    expected = pydicom.pixels.apply_voi_lut(dataset.pixel_array.astype(np.float64), dataset)
    low, high = 0, 2**dataset.BitsStored - 1
    grey = (expected - low) / (high - low) * 255
    pytest.importorskip("imagecodecs")
    import imagecodecs

    assert np.abs(imagecodecs.imread(file).astype(float) - grey).max() <= 1
    series.window = (0.2, 0.5)
    narrow = function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR_EXACT"
    assert series.VOILUTFunction == [narrow]
    series.window = None
    assert (series.window, series.VOILUTFunction) == ([], [])


def with_supplemental_palette(folder: Path, *, segmented: bool) -> tuple[Path, Any]:
    """Write an enhanced image whose numbers from 100 on are shown in colours."""
    (file,) = make_enhanced(folder, keys={"SliceLocation": [0.0, 5.0]}).files
    dataset = pydicom.dcmread(file)
    dataset.PixelPresentation = "MIXED"
    for group, presentation in zip(
        dataset.PerFrameFunctionalGroupsSequence, ("COLOR", "MONOCHROME"), strict=True
    ):
        group.MRImageFrameTypeSequence = [pydicom.Dataset()]
        group.MRImageFrameTypeSequence[0].PixelPresentation = presentation
    shared = dataset.SharedFunctionalGroupsSequence[0]
    if "MRImageFrameTypeSequence" in shared:
        del shared.MRImageFrameTypeSequence
    ramp = np.arange(256, dtype="<u2")
    colours = np.stack([257 * ramp, 257 * ramp[::-1], 0 * ramp], axis=1).astype("<u2")
    for number, colour in enumerate(("Red", "Green", "Blue")):
        start = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{start}Descriptor", "US", [256, 100, 16])
        if segmented:
            first, last = colours[0, number], colours[-1, number]
            # One entry as it is, then 255 on a line (PS3.3 C.7.9.2).
            data = np.array([0, 1, first, 1, 255, last], "<u2").tobytes()
            setattr(dataset, f"Segmented{start}Data", data)
        else:
            setattr(dataset, f"{start}Data", colours[:, number].tobytes())
    dataset.save_as(file)
    return Path(file), colours


@pytest.mark.parametrize("segmented", [False, True])
def test_supplemental_palettes_leave_the_numbers_grey(segmented: bool, tmp_path: Path) -> None:
    file, colours = with_supplemental_palette(tmp_path, segmented=segmented)
    (series,) = db.database(tmp_path).series()
    array, header = series.array("SliceLocation")
    assert "channel" not in array.dims
    expected = pydicom.dcmread(file).pixel_array
    stored = series.array("SliceLocation", rescale=False)[0]
    assert np.array_equal(stored.transpose("SliceLocation", "n", "y", "x")[:, 0], expected)
    (lut,) = series.lut
    assert np.abs(lut.astype(int) - colours).max() <= 1
    shown = [frame.lut for frame in header[:, 0]]
    assert shown[1] is None
    assert np.array_equal(shown[0], lut)
    series.colormap = "viridis"  # a name beside it
    assert np.array_equal(series.lut[0], lut)
    assert series.colormap == ["viridis"]
    with pytest.raises(InvalidValue, match="PALETTE COLOR images only"):
        series.lut = lut


def test_a_colour_map_that_is_taken_away_leaves_nothing(tmp_path: Path) -> None:
    made = make_series(tmp_path, keys=KEYS)
    before = [Path(file).read_bytes() for file in made.files]
    (series,) = db.database(tmp_path).series()
    series.colormap = "viridis"
    series.save()
    assert b"DBDICOM_XR" in Path(made.files[0]).read_bytes()
    series.colormap = None
    series.save()
    assert [Path(file).read_bytes() for file in made.files] == before


def test_other_elements_of_the_block_keep_their_creator(tmp_path: Path) -> None:
    def header(dataset: Any, index: Any) -> None:
        for creator in ("DBDICOM_XR", "ANOTHER"):
            block = dataset.private_block(0x0099, creator, create=True)
            block.add_new(3, "LO", "jet")
            block.add_new(7, "LO", "kept")

    made = make_series(tmp_path, keys=KEYS, header=header)
    (series,) = db.database(tmp_path).series()
    series.colormap = None
    series["ANOTHER", 3] = None
    series["ANOTHER", 7] = None
    series.save()
    dataset = pydicom.dcmread(made.files[0])
    left = {str(element.tag): element.value for element in dataset if element.tag.group == 0x99}
    assert left == {
        "(0099,0010)": "DBDICOM_XR", "(0099,0011)": "ANOTHER", "(0099,1007)": "kept",
    }  # fmt: skip


def palette_series(folder: Path, bits: int = 8) -> Any:
    def header(dataset: Any, index: Any) -> None:
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        for colour in ("Red", "Green", "Blue"):
            start = f"{colour}PaletteColorLookupTable"
            setattr(dataset, f"{start}Descriptor", [256, 0, bits])
            setattr(dataset, f"{start}Data", bytes(256 * bits // 8))

    make_series(folder, keys={"SliceLocation": SLICES}, dtype="uint8", header=header)
    (series,) = db.database(folder).series()
    return series


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_palettes(dtype: str, tmp_path: Path) -> None:
    series = palette_series(tmp_path)
    assert series.lut[0].shape == (256, 3)
    colours = np.random.default_rng(0).integers(0, 256, (256, 4))
    top = {"uint8": 1, "uint16": 257, "float64": 1 / 255}[dtype]
    given = (colours * top).astype(dtype)
    series.lut = given
    expected = (given[:, :3] * 65535).round() if dtype == "float64" else given[:, :3]
    assert np.array_equal(series.instances()[0].lut, expected)
    stored = series.array(rescale=False)[0].values
    assert np.array_equal(series.array()[0].values, expected[stored])
    series.save()
    for file in series.files():  # as pydicom understands it
        dataset = pydicom.dcmread(file)
        shown = pydicom.pixels.apply_color_lut(dataset.pixel_array, dataset)
        assert np.array_equal(shown, expected[dataset.pixel_array])


@pytest.mark.parametrize("bits", [8, 16])
def test_a_colour_map_is_the_palette_where_there_is_one(bits: int, tmp_path: Path) -> None:
    mpl = pytest.importorskip("matplotlib")
    series = palette_series(tmp_path, bits)
    series.colormap = "plasma"
    expected = (mpl.colormaps["plasma"](np.arange(256))[:, :3] * 255).astype(int)
    assert np.abs(series.instances()[0].lut.astype(int) - expected).max() <= 1
    assert series.colormap == ["plasma"]
    series.lut = series.instances()[0].lut[::-1]
    assert series.colormap == []  # it is another one


def test_grey_images_keep_their_numbers(series: Any) -> None:
    before = series.array()[0].values
    series.colormap = "jet"
    assert np.array_equal(series.array()[0].values, before)
    assert series.lut == []
    series.colormap = None
    assert series.colormap == []


# -- place ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", list(MAKERS))
@pytest.mark.parametrize("geometry", [AXIAL, OBLIQUE])
def test_affine(maker: str, geometry: Any, tmp_path: Path) -> None:
    time = "TemporalPositionIdentifier" if maker == "classic" else "TemporalPositionIndex"
    made = MAKERS[maker](
        tmp_path, keys={"SliceLocation": SLICES, time: [1, 2]}, geometry=geometry, shuffle=2
    )
    (series,) = db.database(tmp_path).series()
    before = [errors_of(file) for file in series.files()]
    assert np.allclose(series.affine[0], made.affine)
    pixels = series.array("SliceLocation")[0].values
    new = np.array([[0, 0, 3.0, 7], [1.2, 0, 0, 8], [0, 0.9, 0, -9], [0, 0, 0, 1]])
    series.affine = new
    assert np.allclose(series.affine[0], new)
    array, _ = series.array("SliceLocation")
    assert np.allclose(array.dicom.affine, new)
    assert np.array_equal(array.values, pixels)  # the first slice is still the first
    assert np.allclose(series.volume(**{time: 1})[1], new)
    frame = series.frames(SliceLocation=lambda z: abs(z - array.SliceLocation.values[2]) < 1e-3)[0]
    assert np.allclose(frame.affine, new @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2],
                                                     [0, 0, 0, 1]]))  # fmt: skip
    series.save()
    for file, known in zip(series.files(), before, strict=True):
        assert errors_of(file) <= known


def test_affine_of_one_image(tmp_path: Path) -> None:
    make_series(tmp_path, keys=KEYS)
    (series,) = db.database(tmp_path).series()
    image = series.instances()[0]
    new = image.affine.copy()
    new[:3, 3] += [1, 2, 3]
    image.affine = new
    assert np.allclose(image.affine, new)
    assert sum(np.allclose(other.affine, new) for other in series.instances()) == 1


def test_affine_of_several_orientations(tmp_path: Path) -> None:
    make_series(tmp_path / "a", keys=KEYS)
    made = make_series(tmp_path / "b", keys=KEYS, geometry=OBLIQUE, seed=4)
    database = db.database(tmp_path)
    first, second = database.series()
    merged = db.merge([first, second])
    assert len(merged.affine) == 2
    assert any(np.allclose(affine, made.affine) for affine in merged.affine)
    with pytest.raises(InvalidValue, match="2 orientations"):
        merged.affine = np.eye(4)
    database.close(save=False)


def test_affine_of_a_mosaic_is_refused(tmp_path: Path) -> None:
    make_mosaic(tmp_path, keys={"SliceLocation": SLICES})
    (series,) = db.database(tmp_path).series()
    new = series.affine[0] * [[1.1], [1.1], [1.1], [1]]
    with pytest.raises(InvalidValue, match=r"mosaic|worked out"):
        series.affine = new


# -- vendors -------------------------------------------------------------------------------------

VENDORS: dict[str, list[tuple[str, int, str, Any]]] = {
    "SIEMENS": [
        ("SIEMENS MR HEADER", 0x0019100C, "IS", 500),
        ("SIEMENS MR HEADER", 0x0019100D, "CS", "DIRECTIONAL"),
        ("SIEMENS MR HEADER", 0x0019100E, "FD", [1.0, 0.0, 0.0]),
    ],
    "Philips Medical Systems": [
        ("Philips Imaging DD 001", 0x20011003, "FL", 500.0),
        ("Philips MR Imaging DD 001", 0x200510B0, "FL", 1.0),
        ("Philips MR Imaging DD 001", 0x200510B1, "FL", 0.0),
        ("Philips MR Imaging DD 001", 0x200510B2, "FL", 0.0),
    ],
    "GE MEDICAL SYSTEMS": [
        ("GEMS_PARM_01", 0x00431039, "IS", [1000000500, 8, 0, 0]),
        ("GEMS_ACQU_01", 0x001910BB, "DS", 0.5),
        ("GEMS_ACQU_01", 0x001910BC, "DS", 0.0),
        ("GEMS_ACQU_01", 0x001910BD, "DS", 0.5),
    ],
    "UIH": [
        ("Image Private Header", 0x00651009, "FD", 500.0),
        ("Image Private Header", 0x00651037, "FD", [0.0, 0.0, 1.0]),
    ],
}


@pytest.mark.parametrize("maker", list(VENDORS))
def test_diffusion_of_vendors(maker: str, tmp_path: Path) -> None:
    def header(dataset: Any, index: Any) -> None:
        dataset.Manufacturer = maker
        dataset.InPlanePhaseEncodingDirection = "COL"
        for element in VENDORS[maker]:
            add_private(dataset, *element)

    made = make_series(tmp_path, keys=KEYS, header=header)
    (series,) = db.database(tmp_path).series()
    (direction,) = series.gradient_direction
    assert len(series.b_value) == 1
    series.b_value = 750
    assert series.b_value == [750]
    assert np.allclose(series.gradient_direction, [direction], atol=1e-6)  # not asked for
    series.gradient_direction = [0, 2, 0]
    assert (series.b_value, series.gradient_direction) == ([750], [[0, 1, 0]])
    series.save()
    dataset = pydicom.dcmread(made.files[0])
    assert dataset.DiffusionBValue == 750
    assert list(dataset.DiffusionGradientOrientation) == [0, 1, 0]
    for creator, tag, _, value in VENDORS[maker]:
        try:
            found = dataset.private_block(tag >> 16, creator)[tag & 0xFF].value
        except KeyError:  # along other axes: gone, rather than wrong
            assert maker in ("GE MEDICAL SYSTEMS", "UIH")
            continue
        if value in (500, 500.0):
            assert float(found) == 750
        elif isinstance(value, list) and value[0] == 1000000500:
            assert list(map(int, found)) == [750, 8, 0, 0]
        elif isinstance(value, list):
            assert list(found) == [0, 1, 0]
    series.gradient_direction = None
    assert series.gradient_direction == []
    series.b_value = None
    assert series.b_value == []


TYPES: list[tuple[str, list[str], list[tuple[str, int, str, Any]]]] = [
    ("SIEMENS", ["ORIGINAL", "PRIMARY", "M", "ND"], []),
    ("SIEMENS", ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND"], []),
    ("SIEMENS", ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND"], []),
    ("GE MEDICAL SYSTEMS", ["ORIGINAL", "PRIMARY", "OTHER"],
     [("GEMS_PARM_01", 0x0043102F, "SS", 0)]),
    ("Philips", ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"],
     [("Philips MR Imaging DD 001", 0x20051011, "CS", "M")]),
    ("CANON", ["ORIGINAL", "PRIMARY"], []),
]  # fmt: skip


@pytest.mark.parametrize(("maker", "words", "private"), TYPES)
@pytest.mark.parametrize("kind", ["MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "WATER", "FAT",
                                  "IN_PHASE", "ADC", "T1_MAP", "TRACE"])  # fmt: skip
def test_image_types_of_vendors(
    maker: str, words: list[str], private: Any, kind: str, tmp_path: Path
) -> None:
    def header(dataset: Any, index: Any) -> None:
        dataset.Manufacturer, dataset.ImageType = maker, words
        for element in private:
            add_private(dataset, *element)

    make_series(tmp_path, keys={"SliceLocation": SLICES}, header=header)
    (series,) = db.database(tmp_path).series()
    series.image_type = kind
    assert series.image_type == series.signal_type == [kind]
    assert series.ImageType.item()[0] == words[0]
    assert ("ND" in series.ImageType.item()) == ("ND" in words)


def test_an_echo_goes_with_the_echo_times(tmp_path: Path) -> None:
    make_series(tmp_path, keys={"SliceLocation": SLICES, "EchoTime": [2.0, 4.0]})
    (series,) = db.database(tmp_path).series()
    assert series.echo == [1, 2]
    later = [3 if image.EchoTime == 2 else 4 for image in series.instances()]
    series.set_values("echo", later)
    assert (series.echo, series.EchoNumbers) == ([3, 4], [3, 4])
    with pytest.raises(InvalidValue, match="other attributes of the image say so"):
        series.echo = 1
    assert series.EchoNumbers == [3, 4]


# -- the user's own ------------------------------------------------------------------------------


def set_seconds(frame: Any, value: float) -> None:
    frame.EchoTime = 1000 * value


def test_ones_own(tmp_path: Path) -> None:
    make_series(tmp_path, keys={"SliceLocation": SLICES, "EchoTime": [2.0, 4.0]})
    (series,) = db.database(tmp_path).series()
    db.register_attribute("seconds", lambda frame: frame.EchoTime / 1000, set=set_seconds)
    assert series.seconds == [0.002, 0.004]
    assert len(series.instances(seconds=0.002)) == 3
    assert series.array(["SliceLocation", "seconds"])[0].sizes["seconds"] == 2
    series.instances()[0].seconds = 0.007
    assert series.EchoTime == [2, 4, 7]
    series.set_values("seconds", [0.001 * n for n in range(1, 7)])
    assert series.EchoTime == [1, 2, 3, 4, 5, 6]
    assert "seconds" in series.to_dataframe("seconds").columns


def test_ones_own_by_columns_or_by_position(tmp_path: Path) -> None:
    make_series(tmp_path, keys=KEYS)
    (series,) = db.database(tmp_path).series()
    db.register_attribute(
        "sine", np.sin, ["FlipAngle"], lambda f, v: f.__setitem__("FlipAngle", 90)
    )
    series.sine = 1.0
    assert series.FlipAngle == [90]
    db.register_attribute("te", lambda frame: frame["EchoTime"], lambda f, v: set_seconds(f, v))
    series.te = 0.003
    assert series.te == [3]


def test_functions_that_fail_are_named(tmp_path: Path) -> None:
    make_series(tmp_path, keys=KEYS)
    (series,) = db.database(tmp_path).series()
    db.register_attribute("bad", lambda frame: 1 / 0, set=lambda frame, value: frame.EcoTime)
    with pytest.raises(InvalidValue, match=r"'bad' cannot be worked out.*ZeroDivisionError"):
        _ = series.bad
    with pytest.raises(InvalidValue, match=r"'bad' cannot be set to 5.*EcoTime"):
        series.bad = 5
    assert len(series.database.changes()) == 0
