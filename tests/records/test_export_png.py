"""``export_as_png``: what Pillow or imagecodecs reads, beside what pydicom computes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing

import dbdicom_xr as db
from dbdicom_xr.errors import FileExists, InvalidValue, LeftOut, NotAFolder, StaleArray
from dbdicom_xr.formats.png import Lut, Range, Window, shown
from dbdicom_xr.records.exporting import to_png as exporting_png
from dbdicom_xr.testing import make_enhanced, make_series, make_study

SLICES = [0.0, 4.0, 8.0]


def picture(file: str) -> Any:
    return imagecodecs.png_decode(Path(file).read_bytes())


def pydicoms(dataset: Dataset, *, prefer_lut: bool = False) -> Any:
    """Return the picture of 8 bits as pydicom's functions give it."""
    real = apply_modality_lut(dataset.pixel_array, dataset)
    with np.errstate(over="ignore"):
        out = apply_voi_lut(real, dataset, prefer_lut=prefer_lut).astype(np.float64)
    if "VOILUTSequence" in dataset and prefer_lut:
        top = 2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
        return out / top * 255
    bottom, top = 0.0, 2.0**dataset.BitsStored - 1
    if dataset.PixelRepresentation:
        bottom, top = -(2.0 ** (dataset.BitsStored - 1)), 2.0 ** (dataset.BitsStored - 1) - 1
    if "RescaleSlope" in dataset:  # as apply_windowing documents it
        bottom = bottom * dataset.RescaleSlope + dataset.RescaleIntercept
        top = top * dataset.RescaleSlope + dataset.RescaleIntercept
    return (out - bottom) / (top - bottom) * 255


def write(folder: Path, header: Any = None, **options: Any) -> Any:
    make_series(folder, keys={"SliceLocation": SLICES}, header=header, bits_stored=12, **options)
    (series,) = db.database(folder).series()
    return series


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("slope", "intercept"), [(None, None), (2, -1024), (0.37, 5)])
@pytest.mark.parametrize("window", [(1000, 500), (200.5, 4000), (600, 1.5)])
def test_windows_are_those_of_pydicom(
    function: str | None, slope: Any, intercept: Any, window: Any, tmp_path: Path
) -> None:
    header = {"WindowCenter": window[0], "WindowWidth": window[1], "VOILUTFunction": function}
    series = write(
        tmp_path / "in", {k: v for k, v in header.items() if v}, slope=slope, intercept=intercept
    )
    files = series.export_as_png(tmp_path / "out")
    assert [os.path.basename(file) for file in files] == [
        f"1_Synthetic_series_s00{i}.png" for i in (1, 2, 3)
    ]
    for file, instance in zip(files, series.instances(), strict=True):
        expected = pydicoms(pydicom.dcmread(instance.file))
        found = picture(file)
        assert (found.dtype, found.shape) == (np.uint8, (12, 16))
        assert np.abs(found - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("signed", [False, True])
def test_voi_luts_are_those_of_pydicom(signed: bool, tmp_path: Path) -> None:
    table = (np.sqrt(np.arange(300) / 299) * 4095).astype("uint16")
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [300, 100, 12], table.tobytes()

    def header(dataset: Any, index: Any) -> None:
        dataset.VOILUTSequence = [item]

    dtype = "int16" if signed else "uint16"
    series = write(tmp_path / "in", header, dtype=dtype)
    for file, instance in zip(
        series.export_as_png(tmp_path / "out"), series.instances(), strict=True
    ):
        expected = pydicoms(pydicom.dcmread(instance.file), prefer_lut=True)
        assert np.abs(picture(file) - expected).max() <= 0.5 + 1e-6
    # A window stands first, where there are both.
    series.WindowCenter, series.WindowWidth = 1000, 500
    series.save()
    (file, *_) = series.export_as_png(tmp_path / "both")
    dataset = pydicom.dcmread(series.instances()[0].file)
    assert np.abs(picture(file) - pydicoms(dataset)).max() <= 0.5 + 1e-6


def test_without_a_window_the_range_of_the_series(tmp_path: Path) -> None:
    series = write(tmp_path / "in", slope=3, intercept=-7)
    values = series.array()[0].values.astype(float)
    low, high = values.min(), values.max()
    for file, value in zip(series.export_as_png(tmp_path / "out"), values, strict=True):
        expected = (value.T - low) / (high - low) * 255
        assert np.abs(picture(file) - expected).max() <= 0.5 + 1e-9


def test_a_window_of_the_user(tmp_path: Path) -> None:
    series = write(tmp_path / "in", {"WindowCenter": 1, "WindowWidth": 2}, slope=0.5, intercept=0)
    (file, *_) = series.export_as_png(tmp_path / "a", window=(700, 300))
    dataset = pydicom.dcmread(series.instances()[0].file)
    dataset.WindowCenter, dataset.WindowWidth = 700, 300
    dataset.VOILUTFunction = "LINEAR_EXACT"  # of fractions
    assert np.abs(picture(file) - pydicoms(dataset)).max() <= 0.5 + 1e-6
    (file, *_) = series.export_as_png(tmp_path / "b", window=(700, 300), bits=16)
    found = picture(file)
    assert found.dtype == np.uint16
    assert np.abs(found - pydicoms(dataset) * 257).max() <= 0.5 + 1e-4
    whole = write(tmp_path / "whole", {"WindowCenter": 1, "WindowWidth": 2})
    (file, *_) = whole.export_as_png(tmp_path / "c", window=(700, 300))
    dataset = pydicom.dcmread(whole.instances()[0].file)
    dataset.WindowCenter, dataset.WindowWidth = 700, 300
    assert np.abs(picture(file) - pydicoms(dataset)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("how", [{"PhotometricInterpretation": "MONOCHROME1"},
                                 {"PresentationLUTShape": "INVERSE"}])  # fmt: skip
def test_inverted_images_are_inverted(how: dict[str, str], tmp_path: Path) -> None:
    window = {"WindowCenter": 1000, "WindowWidth": 500}
    plain = write(tmp_path / "plain", window).export_as_png(tmp_path / "a")
    turned = write(tmp_path / "turned", {**window, **how}).export_as_png(tmp_path / "b")
    for one, other in zip(plain, turned, strict=True):
        sums = picture(one).astype(int) + picture(other)
        assert np.abs(sums - 255).max() <= 1


@pytest.mark.parametrize("name", ["viridis", "Reds", "jet"])
def test_colour_maps_are_those_of_matplotlib(name: str, tmp_path: Path) -> None:
    mpl = pytest.importorskip("matplotlib")
    series = write(tmp_path / "in", {"WindowCenter": 2000, "WindowWidth": 4000})
    dataset = pydicom.dcmread(series.instances()[0].file)
    fractions = np.clip((dataset.pixel_array - 1999.5) / 3999 + 0.5, 0, 1)
    expected = mpl.colormaps[name](fractions, bytes=True)[..., :3]
    for number, given in enumerate((name, mpl.colormaps[name])):
        (file, *_) = series.export_as_png(tmp_path / str(number), colormap=given)
        assert np.array_equal(picture(file), expected)
    series.colormap = name  # what the images say is shown
    (file, *_) = series.export_as_png(tmp_path / "said")
    assert np.array_equal(picture(file), expected)
    (file, *_) = series.export_as_png(tmp_path / "grey", colormap="gray")
    assert picture(file).ndim == 2


def test_colours_are_as_they_are(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype("uint8")

    def header(dataset: Any, index: Any) -> None:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration, dataset.PixelPaddingValue = 0, 0

    made = make_series(tmp_path / "in", keys={"SliceLocation": [0.0]}, dtype="uint8", header=header)
    dataset = pydicom.dcmread(made.files[0])
    dataset.PixelData = rgb.tobytes()
    dataset.save_as(made.files[0])
    (series,) = db.database(tmp_path / "in").series()
    (file,) = series.export_as_png(tmp_path / "a.png")
    assert np.array_equal(picture(file), rgb)
    (file,) = series.export_as_png(tmp_path / "b.png", bits=16)
    assert np.array_equal(picture(file), rgb.astype(int) * 257)


def test_nan_is_black(tmp_path: Path) -> None:
    values = np.linspace(0, 100, 64).reshape(1, 8, 8)
    values[0, 0] = np.nan
    series = db.series(values)
    (file,) = series.export_as_png(tmp_path / "a.png", colormap="viridis")
    found = picture(file)
    assert (found[:, 0] == 0).all()
    assert (found[:, 1:].max(axis=-1) > 0).all()
    series.database.close(save=False)


def test_names_tell_slice_and_time(tmp_path: Path) -> None:
    make_enhanced(tmp_path / "in", keys={"TemporalPositionIndex": [1, 2], "SliceLocation": SLICES})
    (series,) = db.database(tmp_path / "in").series()
    files = series.export_as_png(tmp_path / "out")
    names = [os.path.basename(file) for file in files]
    assert names == [f"1_Synthetic_series_s00{s}_t00{t}.png" for t in (1, 2) for s in (1, 2, 3)]
    pixels = pydicom.dcmread(series.instances()[0].file).pixel_array.astype(float)
    low, high = pixels.min(), pixels.max()
    for file, frame in zip(files, pixels, strict=True):
        assert np.abs(picture(file) - (frame - low) / (high - low) * 255).max() <= 0.5 + 1e-9
    (file,) = series.frames()[4].export_as_png(tmp_path / "one")
    assert os.path.basename(file).endswith("_i1_f0005.png")


def test_the_size_of_pixels_is_told(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    series = write(tmp_path / "in")
    (file, *_) = series.export_as_png(tmp_path / "out")
    rows, columns = series.PixelSpacing.item()
    assert rows != columns
    with image.open(file) as opened:
        dpi = opened.info["dpi"]
    assert dpi == pytest.approx((25.4 / columns, 25.4 / rows), rel=1e-3)


def test_images_of_several_sizes(tmp_path: Path) -> None:
    make_series(tmp_path / "in" / "a", keys={"SliceLocation": SLICES}, shape=(16, 12))
    made = make_series(tmp_path / "in" / "b", keys={"SliceLocation": [20.0]}, shape=(8, 9), seed=3)
    first = pydicom.dcmread(next((tmp_path / "in" / "a").iterdir()))
    for path in made.files:
        dataset = pydicom.dcmread(path)
        for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
            setattr(dataset, name, first[name].value)
        dataset.save_as(path)
    (series,) = db.database(tmp_path / "in").series()
    shapes = sorted(picture(file).shape for file in series.export_as_png(tmp_path / "out"))
    assert shapes == [(9, 8), (12, 16), (12, 16), (12, 16)]


def test_a_file_that_has_gone_costs_its_series_only(tmp_path: Path) -> None:
    make_series(tmp_path / "in" / "a", keys={"SliceLocation": SLICES})
    make_series(tmp_path / "in" / "b", keys={"SliceLocation": SLICES}, seed=3)
    database = db.database(tmp_path / "in")
    lost = database.series()[0]
    os.remove(lost.files()[1])
    with pytest.warns(LeftOut, match="1 series is not exported.*vanished"):
        files = database.export_as_png(tmp_path / "out")
    assert len(files) == len(os.listdir(tmp_path / "out")) == 3
    with pytest.raises(StaleArray):
        lost.export_as_png(tmp_path / "alone")
    assert not (tmp_path / "alone").exists()


def test_every_level(tmp_path: Path) -> None:
    make_study(tmp_path / "in")
    database = db.database(tmp_path / "in")
    images = [i for i in database.instances() if i.Rows]
    files = database.export_as_png(tmp_path / "out")
    assert len(files) == len(set(files)) == len(images)
    assert len(images[0].export_as_png(tmp_path / "one")) == 1


def test_what_is_refused_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = write(tmp_path / "in")
    out = tmp_path / "out"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"window": (1, 0)}, "above 0"), ({"window": 5}, "two numbers"),
        ({"window": (float("nan"), 1)}, "two numbers"), ({"bits": 12}, "8 or 16"),
        ({"colormap": "viridiss"}, "viridis"), ({"colormap": 7}, "not a colour map"),
    ]  # fmt: skip
    for options, words in cases:
        with pytest.raises(InvalidValue, match=words):
            series.export_as_png(out, **options)
    with pytest.raises(InvalidValue, match="becomes 3"):
        series.export_as_png(tmp_path / "one.png")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotAFolder):
        series.export_as_png(tmp_path / "file")
    calls = []

    def full(*arguments: Any) -> bytes:
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return b"png"

    with monkeypatch.context() as patch:
        patch.setattr(exporting_png, "png", full)
        with pytest.raises(OSError, match="No space left"):
            series.export_as_png(out)
    assert not out.exists()
    files = series.export_as_png(out)
    with pytest.raises(FileExists):
        series.export_as_png(out)
    assert series.export_as_png(out, overwrite=True) == files
    series.SeriesDescription = "../../../escape"
    for file in series.export_as_png(out):
        assert Path(file).resolve().parent == out.resolve()


@pytest.mark.parametrize(
    ("how", "values", "expected"),
    [
        (Window(0, 1), [-0.6, -0.5, -0.4, np.nan], [0, 0, 255, 0]),
        (Window(0.5, 0.5, "LINEAR_EXACT"), [0.25, 0.5, 0.75, 2], [0, 128, 255, 255]),
        (Window(10, 4, "SIGMOID"), [10, 1e9, -1e9], [128, 255, 0]),
        (Range(3, 3), [3, 3, np.nan], [0, 0, 0]),
        (Range(0, 2), [0, 1, 2], [0, 128, 255]),
        (Lut(5, 8, np.array([0, 255])), [4, 5, 6, 9], [0, 0, 255, 255]),
    ],
)
def test_shown(how: Any, values: list[float], expected: list[int]) -> None:
    found = shown(how.apply(np.array(values)))
    assert found.tolist() == expected


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_formulas_of_the_standard(function: str) -> None:
    values = np.arange(0, 4096).astype(np.uint16)
    dataset = Dataset()
    dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = 1300, 777, function
    dataset.PhotometricInterpretation, dataset.BitsStored = "MONOCHROME2", 12
    dataset.PixelRepresentation = 0
    expected = apply_windowing(values, dataset) / 4095
    assert np.abs(Window(1300, 777, function).apply(values) - expected).max() < 1e-9
