"""``da.dicom.plot``: one image as a viewer shows it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.testing import Geometry, make_dce, make_series
from tests.data import testdata_folder
from tests.xarray_plugin.test_window import HEADERS

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def figures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def read(folder: Path, **options: Any) -> tuple[Any, xr.DataArray]:
    made = make_series(folder, bits_stored=10, **options)
    series = db.database(folder).series()[0]
    return made, series.array("SliceLocation")[0]


def drawn(axes: Any) -> np.ndarray[Any, Any]:
    """Return the colours of the pixels of an image, as whole numbers."""
    image = axes.images[0]
    return np.asarray(image.to_rgba(image.get_array(), bytes=True))[..., :3].astype(int)


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_it_is_what_an_exported_picture_shows(header: Any, tmp_path: Path) -> None:
    _, array = read(tmp_path / "in", header=header)
    middle = array.isel(SliceLocation=1, n=0)
    (file,) = middle.dicom.header[()].export_as_png(tmp_path / "out")
    picture = imagecodecs.png_decode(Path(file).read_bytes()).astype(int)
    assert np.abs(drawn(array.dicom.plot()) - picture[..., None]).max() <= 1


def test_axes_are_in_mm_and_rows_go_down(tmp_path: Path) -> None:
    _, array = read(tmp_path)  # pixels of 1.5 mm by 1.25 mm, 16 x 12
    axes = array.dicom.plot()
    assert axes.get_xlim() == (-0.75, 23.25)
    assert axes.get_ylim() == (14.375, -0.625)
    assert axes.get_aspect() == pytest.approx(1)
    assert axes.get_xlabel() == axes.get_ylabel() == "mm"
    part = array.isel(x=slice(4, 8), y=slice(2, 12)).dicom.plot()
    assert part.get_xlim() == (5.25, 11.25)
    assert part.get_ylim() == (14.375, 1.875)


def test_reversed_images_are_drawn_as_stored(tmp_path: Path) -> None:
    _, array = read(tmp_path)
    turned = array.isel(x=slice(None, None, -1), y=slice(None, None, -1)).transpose(..., "y", "x")
    assert np.array_equal(drawn(turned.dicom.plot()), drawn(array.dicom.plot()))


ORIENTATIONS = {
    # right, left, bottom, top
    "axial": ((1, 0, 0, 0, 1, 0), "LRPA"),
    "coronal": ((1, 0, 0, 0, 0, -1), "LRFH"),
    "sagittal": ((0, 1, 0, 0, 0, -1), "PAFH"),
    "axial, feet first prone": ((1, 0, 0, 0, -1, 0), "LRAP"),
}


@pytest.mark.parametrize(("cosines", "letters"), ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_letters_at_the_edges(cosines: tuple[float, ...], letters: str, tmp_path: Path) -> None:
    _, array = read(tmp_path, geometry=Geometry(orientation=cosines))
    texts = {t.get_position(): t.get_text() for t in array.dicom.plot(colorbar=True).texts}
    right, left, bottom, top = letters
    assert texts == {
        (0.985, 0.5): right, (0.015, 0.5): left, (0.5, 0.015): bottom, (0.5, 0.985): top,
    }  # fmt: skip
    assert not array.dicom.plot(letters=False, colorbar=True).texts


def test_oblique_images_have_two_letters(tmp_path: Path) -> None:
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    _, array = read(tmp_path, geometry=Geometry(orientation=(c, s, 0, -s, c, 0)))
    assert {"LP", "RA", "PR", "AL"} <= {text.get_text() for text in array.dicom.plot().texts}


def test_the_title_tells_which_image_and_not_whose(tmp_path: Path) -> None:
    made = make_dce(tmp_path)
    series = db.database(tmp_path).series()[0]
    array, _ = series.array(["SliceLocation", "TemporalPositionIdentifier"])
    title = array.dicom.plot().get_title()
    assert title.splitlines()[0] == "DCE"
    assert "Slice Location 5 mm (2 of 3)" in title
    assert "Temporal Position Identifier 5 (5 of 10)" in title
    assert str(made.series.datasets[0].PatientName) not in title
    assert array.isel(SliceLocation=0).rename("S").dicom.plot().get_title().startswith("S\n")
    assert array.dicom.plot(title="mine").get_title() == "mine"


def test_only_that_image_is_read(tmp_path: Path) -> None:
    made, array = read(tmp_path)
    for file in (made.files[0], made.files[2]):
        file.unlink()
    values = array.dicom.plot(window="range").images[0].get_array()
    assert np.array_equal(values, made.pixels[1, 0].T)


def test_the_window_of_the_header_is_not_for_what_was_computed(tmp_path: Path) -> None:
    _, array = read(tmp_path, header={"WindowCenter": 500, "WindowWidth": 101})

    def limits(of: xr.DataArray, **options: Any) -> tuple[float, float]:
        return of.dicom.plot(**options).images[0].get_clim()

    image = array.isel(SliceLocation=1, n=0)
    assert limits(array) == (449.5, 549.5)
    assert limits(image.isel(x=slice(2, 9), y=slice(None, None, -1))) == (449.5, 549.5)
    assert limits(image.where(image > 100)) == (449.5, 549.5)
    assert limits(image / 7) == pytest.approx((float(image.min()) / 7, float(image.max()) / 7))
    mean = array.mean("SliceLocation")
    assert limits(mean) == pytest.approx((float(mean.min()), float(mean.max())))
    assert limits(mean, window="header") == (449.5, 549.5)
    assert limits(image.dicom.window(), window=None) == (0, 1)
    assert limits(image, window=(100, 51)) == (74.5, 124.5)


def test_what_is_inverted_already_stays_so(tmp_path: Path) -> None:
    _, array = read(tmp_path, header=HEADERS["inverted"])
    grey = array.dicom.window()
    assert np.abs(drawn(grey.dicom.plot()) - drawn(array.dicom.plot())).max() <= 1


def test_colour_maps(tmp_path: Path) -> None:
    _, array = read(tmp_path)
    viridis = (plt.get_cmap("viridis")(np.arange(256))[:, :3] * 255).astype(int)
    found = drawn(array.dicom.plot(colormap="viridis")).reshape(-1, 3)
    assert np.abs(found[:, None] - viridis[None]).max(axis=2).min(axis=1).max() <= 1
    series = db.database(tmp_path).series()[0]
    series.colormap = "viridis"
    again, _ = series.array("SliceLocation")
    assert np.array_equal(drawn(again.dicom.plot()).reshape(-1, 3), found)
    assert drawn(again.dicom.plot(colormap="gray")).std(axis=-1).max() == 0
    series.database.restore()
    with pytest.raises(InvalidValue, match="viridis"):
        array.dicom.plot(colormap="viridos")


def test_nan_is_black(tmp_path: Path) -> None:
    _, array = read(tmp_path)
    holes = array.where(array.x > 3)
    assert drawn(holes.dicom.plot(colormap="viridis"))[:, :2].max() == 0
    assert drawn(xr.full_like(holes, np.nan).dicom.plot()).max() == 0


def test_a_colour_bar_has_the_unit(tmp_path: Path) -> None:
    _, array = read(tmp_path)
    t1 = (array * 2.0).assign_attrs(units="ms")
    figure = t1.dicom.plot(colorbar=True).figure
    assert figure.axes[1].get_ylabel() == "ms"
    _, table = read(tmp_path / "table", header=HEADERS["a table"])
    with pytest.raises(InvalidValue, match="no colour bar"):
        table.dicom.plot(colorbar=True)


def test_hounsfield_units_are_named(tmp_path: Path) -> None:
    _, array = read(tmp_path, modality="CT", header={"RescaleType": "HU"})
    assert array.dicom.plot(colorbar=True).figure.axes[1].get_ylabel() == "HU"
    grey = array.dicom.window("range")
    assert "units" not in grey.attrs
    assert grey.dicom.plot(colorbar=True).figure.axes[1].get_ylabel() == ""


def test_plain_arrays_and_colours() -> None:
    plain = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("x", "y"))
    axes = plain.dicom.plot()
    assert axes.get_xlabel() == "pixel"
    assert axes.images[0].get_array().shape == (4, 3)
    colours = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    axes = xr.DataArray(colours, dims=("x", "y", "channel")).dicom.plot()
    assert np.array_equal(axes.images[0].get_array(), colours.transpose(1, 0, 2))
    with pytest.raises(InvalidValue, match="Colours have no colour bar"):
        xr.DataArray(colours, dims=("x", "y", "channel")).dicom.plot(colorbar=True)


def test_what_is_no_image(tmp_path: Path) -> None:
    _, array = read(tmp_path)
    for wrong, words in (
        (array.mean("x"), "no dimension x"),
        (array.isel(SliceLocation=slice(0)), "is empty"),
        (array * 1j, "complex"),
        (array.isel(x=[0, 1, 5]), "not evenly spaced"),
    ):
        with pytest.raises(InvalidValue, match=words):
            wrong.dicom.plot()


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, array = read(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (array.dicom.plot, array.dicom.montage):
        with pytest.raises(InvalidValue, match=r"dbdicom_xr\[plot\]"):
            draw()


def test_into_axes_of_the_user(tmp_path: Path) -> None:
    _, array = read(tmp_path)
    _, (left, right) = plt.subplots(1, 2)
    assert array.dicom.plot(right) is right
    assert not left.images


@pytest.mark.realdata
def test_a_radiograph_has_white_bones_and_letters(tmp_path: Path) -> None:
    folder = testdata_folder()
    if folder is None:
        pytest.skip("no test data")
    database = db.database(folder / "pydicom-data", index=tmp_path)
    series = next(s for s in database.series(Modality="CR") if s.PatientOrientation == [["L", "F"]])
    axes = series.instances()[0].array().dicom.plot()
    assert {"L", "R", "H", "F"} <= {text.get_text() for text in axes.texts}
    shown = drawn(axes)[..., 0]
    # MONOCHROME1: the spine, low numbers, is brighter than the lung beside it.
    assert shown[700:900, 900:940].mean() > shown[700:900, 500:600].mean() + 30
