"""``da.dicom.montage``: many images side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import dbdicom_xr as db
from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.testing import make_series

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def read(folder: Path, slices: int = 4, echoes: int = 3, **options: Any) -> tuple[Any, Any]:
    made = make_series(
        folder,
        keys={
            "SliceLocation": [5.0 * z for z in range(slices)],
            "EchoTime": [2.5 * (e + 1) for e in range(echoes)],
        },
        **options,
    )
    series = db.database(folder).series()[0]
    return made, series.array(["SliceLocation", "EchoTime"])[0]


def images(axes: Any) -> list[Any]:
    return [panel.images[0].get_array().T for panel in axes.ravel() if panel.images]


def test_slices_of_the_middle_echo(tmp_path: Path) -> None:
    made, array = read(tmp_path)
    axes = array.dicom.montage()
    assert np.array_equal(np.stack(images(axes)), made.pixels[:, 1, 0])
    shown = [panel for panel in axes.ravel() if panel.images]
    assert [panel.get_title() for panel in shown] == ["0 mm", "5 mm", "10 mm", "15 mm"]
    title = shown[0].figure.get_suptitle()
    assert "Echo Time 5 ms (2 of 3)" in title
    assert [text.get_text() for text in shown[0].texts] == ["L", "R", "P", "A"]
    assert not shown[1].texts


def test_a_table_of_two_dimensions(tmp_path: Path) -> None:
    made, array = read(tmp_path)
    axes = array.dicom.montage("EchoTime", "SliceLocation")
    assert axes.shape == (3, 4)
    expected = made.pixels[:, :, 0].transpose(1, 0, 2, 3).reshape(12, 16, 12)
    assert np.array_equal(np.stack(images(axes)), expected)
    assert [panel.get_ylabel() for panel in axes[:, 0]] == ["2.5 ms", "5 ms", "7.5 ms"]
    assert [panel.get_title() for panel in axes[0]] == ["0 mm", "5 mm", "10 mm", "15 mm"]


def test_of_many_images_some_are_drawn_and_the_title_says_so(tmp_path: Path) -> None:
    made, array = read(tmp_path, slices=11, echoes=1)
    keep = [1, 5, 9]
    for number, file in enumerate(made.files):  # nothing else is read
        if number not in keep:
            file.unlink()
    axes = array.dicom.montage(most=3, window="range")
    assert np.array_equal(np.stack(images(axes)), made.pixels[keep, 0, 0])
    assert "Slice Location (3 of 11)" in axes[0, 0].figure.get_suptitle()


@pytest.mark.parametrize(("most", "shape"), [(12, (4, 3)), (11, (2, 3)), (4, (2, 2)), (1, (1, 1))])
def test_a_table_is_bounded(most: int, shape: tuple[int, int], tmp_path: Path) -> None:
    _, array = read(tmp_path)
    assert array.dicom.montage("SliceLocation", "EchoTime", most=most).shape == shape


def test_one_window_for_all_but_those_of_headers(tmp_path: Path) -> None:
    def own(dataset: Any, index: tuple[int, ...]) -> None:
        dataset.WindowCenter, dataset.WindowWidth = 1000 * (index[0] + 1), 101

    made, array = read(tmp_path, header=own)

    def limits(**options: Any) -> list[tuple[float, float]]:
        axes = array.dicom.montage(**options)
        return [panel.images[0].get_clim() for panel in axes.ravel() if panel.images]

    assert limits() == [(1000 * k - 50.5, 1000 * k + 49.5) for k in (1, 2, 3, 4)]
    shown = made.pixels[:, 1]
    assert limits(window="range") == [(shown.min(), shown.max())] * 4
    with pytest.raises(InvalidValue, match="One window for all"):
        array.dicom.montage(colorbar=True)
    figure = array.dicom.montage(window=(500, 100), colorbar=True)[0, 0].figure
    assert len(figure.axes) > 4


def test_the_colour_map_and_the_unit_of_a_series_are_those_of_all_its_images(
    tmp_path: Path,
) -> None:
    make_series(tmp_path, header={"RescaleType": "ms", "PatientOrientation": ["P", "F"]})
    series = db.database(tmp_path).series()[0]
    series.colormap = "viridis"
    array, _ = series.array("SliceLocation")
    axes = array.dicom.montage(window="range", colorbar=True)
    assert axes[0, 0].figure.axes[-1].get_ylabel() == "ms"
    lowest = [panel.images[0].get_cmap()(0.0) for panel in axes.ravel() if panel.images]
    assert np.allclose(lowest, [plt.get_cmap("viridis")(0.0)] * 3, atol=0.003)
    series.database.restore()


def test_columns_and_a_plain_array() -> None:
    plain = xr.DataArray(np.arange(60.0).reshape(5, 3, 4), dims=("time", "x", "y"))
    axes = plain.dicom.montage(columns=2)
    assert axes.shape == (3, 2)
    assert len(images(axes)) == 5
    assert [panel.get_title() for panel in axes.ravel()[:5]] == list("12345")
    fewer = plain.dicom.montage(most=2)
    assert [panel.get_title() for panel in fewer.ravel()] == ["1", "4"]


@pytest.mark.parametrize(
    ("dims", "options", "words"),
    [
        (("FlipAngle",), {}, "no images along FlipAngle.*SliceLocation, EchoTime, n"),
        (("x",), {}, "no images along x"),
        (("EchoTime", "EchoTime"), {}, "two different"),
        (("EchoTime", "SliceLocation", "n"), {}, "two different"),
        (("EchoTime", "SliceLocation"), {"columns": 2}, "columns is for"),
        ((), {"most": 0}, "most is 0"),
        ((), {"columns": 1.5}, "columns is 1.5"),
    ],
)
def test_what_cannot_be_laid_out(
    dims: tuple[str, ...], options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    _, array = read(tmp_path)
    with pytest.raises(InvalidValue, match=words):
        array.dicom.montage(*dims, **options)
    with pytest.raises(InvalidValue, match=r"use plot\(\)"):
        array.isel(SliceLocation=0, EchoTime=0, n=0).dicom.montage()


def test_gaps_of_the_grid_are_passed_over_or_named(tmp_path: Path) -> None:
    directions = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    make_series(
        tmp_path,
        keys={"SliceLocation": [0, 5, 10], "AcquisitionNumber": [1, 2, 3, 4]},
        per_frame={
            "DiffusionBValue": [[[0.0], [1000.0], [1000.0], [1000.0]]],
            "DiffusionGradientOrientation": [[[one] for one in directions]],
        },
    )
    array, header = db.database(tmp_path).series()[0].array(["SliceLocation", "b_value"])
    assert header[1, 0, 1] is None  # in the middle
    for panel in array.dicom.montage().ravel():
        assert np.ptp(panel.images[0].get_array()) > 0
    plotted = array.dicom.plot()
    assert "n 1 of 3" in plotted.get_title()
    assert np.ptp(plotted.images[0].get_array()) > 0
    panels = array.dicom.montage("b_value", "n")
    said = [["no image" in [text.get_text() for text in panel.texts] for panel in row]
            for row in panels]  # fmt: skip
    assert said == [[False, True, True], [False, False, False]]
    gap = array.isel(SliceLocation=1, b_value=0, n=1).dicom.plot()
    assert "no image" in [text.get_text() for text in gap.texts]
