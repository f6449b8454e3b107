"""``series.volume`` and ``series.stacks``, on series that the tests make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dbdicom_xr as db
from dbdicom_xr.errors import GridError, InvalidValue, MixedGeometry
from dbdicom_xr.testing import Geometry, make_enhanced, make_series

AXIAL = [1.0, 0, 0, 0, 1, 0]
CORONAL = [1.0, 0, 0, 0, 0, -1]
SAGITTAL = [0.0, 1, 0, 0, 0, -1]


def series_of(folder: Path) -> Any:
    (series,) = db.database(folder).series()
    return series


def oblique(seed: int) -> Geometry:
    """Return a random geometry; its orientation has the digits that files have."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    spacing = tuple(np.round(rng.uniform(0.3, 6, 3), 4).tolist())
    directions = tuple(np.round(rotation[:, :2].T.ravel(), 12).tolist())
    return Geometry(spacing, directions, tuple(np.round(rng.uniform(-200, 200, 3), 3).tolist()))  # type: ignore[arg-type]


@pytest.mark.parametrize("maker", [make_series, make_enhanced])
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), shuffle=st.integers(0, 1000), step=st.sampled_from([-4.5, 2.0]))
def test_any_orientation_in_any_order(
    maker: Any, tmp_path_factory: Any, seed: int, shuffle: int, step: float
) -> None:
    folder = tmp_path_factory.mktemp("made")
    geometry = oblique(seed)
    made = maker(
        folder, keys={"SliceLocation": [step * i for i in range(4)]}, geometry=geometry,
        shuffle=shuffle, shape=(5, 3), seed=seed,
    )  # fmt: skip
    array, affine = series_of(folder).volume()
    assert array.dims == ("x", "y", "SliceLocation")
    # Ascending along the normal, whatever the order of the files and the labels.
    order = range(4) if step > 0 else range(3, -1, -1)
    for k, made_at in enumerate(order):
        place = geometry.position(step * made_at)
        assert (affine @ [0, 0, k, 1])[:3] == pytest.approx(place, abs=1e-6)
        assert array[:, :, k].to_numpy() == pytest.approx(made.values[made_at, 0])
        header = array.dicom.header[k]
        assert header.ImagePositionPatient == pytest.approx(place, abs=1e-6)
        rows, columns = np.array(header.PixelSpacing)
        directions = np.array(header.ImageOrientationPatient)
        pixel = place + directions[:3] * columns * 4 + directions[3:] * rows * 2
        assert (affine @ [4, 2, k, 1])[:3] == pytest.approx(pixel, abs=1e-5)
    assert affine == pytest.approx(array.dicom.affine)


def test_classic_and_enhanced_give_the_same(tmp_path: Path) -> None:
    found = []
    for maker in (make_series, make_enhanced):
        folder = tmp_path / maker.__name__
        maker(folder, keys={"SliceLocation": [0, 5, 10], "EchoTime": [2, 4]}, geometry=oblique(1))
        found.append(series_of(folder).volume(EchoTime=4))
    (one, affine), (other, other_affine) = found
    assert affine == pytest.approx(other_affine, abs=1e-9)
    assert (one == other).all()


def test_a_volume_of_many_is_chosen_by_filters(tmp_path: Path) -> None:
    made = make_series(tmp_path, keys={"SliceLocation": [0, 5, 10], "EchoTime": [2.3, 4.6]})
    series = series_of(tmp_path)
    with pytest.raises(GridError, match=r"EchoTime \(2\.3, 4\.6\).*volume\(EchoTime=2\.3\)"):
        series.volume()
    for number, echo in enumerate([2.3, 4.6]):
        array, affine = series.volume(EchoTime=echo)
        assert array.to_numpy().transpose(2, 0, 1) == pytest.approx(made.values[:, number, 0])
        assert affine == pytest.approx(made.affine)
    with pytest.raises(GridError, match=r"No image .* meets the filters"):
        series.volume(EchoTime=7)


def test_two_attributes_choose_together(tmp_path: Path) -> None:
    keys = {"SliceLocation": [0, 5], "EchoTime": [2, 4], "FlipAngle": [5, 10, 20]}
    make_series(tmp_path, keys=keys)
    series = series_of(tmp_path)
    with pytest.raises(GridError, match=r"volume\(EchoTime=2\.0, FlipAngle=5\.0\)"):
        series.volume()
    with pytest.raises(GridError, match=r"volume\(FlipAngle=5\.0\)"):
        series.volume(EchoTime=2)
    assert series.volume(EchoTime=2, FlipAngle=20)[0].sizes["SliceLocation"] == 2


def test_text_of_several_values_chooses(tmp_path: Path) -> None:
    types = np.array([["ORIGINAL", "PRIMARY", "A"], ["ORIGINAL", "PRIMARY", "B"]])
    make_series(
        tmp_path, keys={"SliceLocation": [0, 5]}, n=2,
        per_frame={"ImageType": np.broadcast_to(types, (2, 2, 3))},
    )  # fmt: skip
    series = series_of(tmp_path)
    with pytest.raises(GridError, match=r"series\.volume\((image_type='A'|ImageType=)"):
        series.volume()
    array, _ = series.volume(ImageType="ORIGINAL\\PRIMARY\\B")
    assert {tuple(h.ImageType) for h in array.dicom.header} == {("ORIGINAL", "PRIMARY", "B")}


def test_times_of_their_own_choose_nothing(tmp_path: Path) -> None:
    times = np.arange(6).reshape(3, 2, 1) * 1.5 + 36000
    make_series(
        tmp_path, keys={"SliceLocation": [0, 5, 10], "InstanceNumber": [1, 2]},
        per_frame={"AcquisitionTime": times, "InstanceNumber": times.astype(int) - 35999},
    )  # fmt: skip
    series = series_of(tmp_path)
    with pytest.raises(GridError, match=r"series\.array\(\[.*align='order'\)") as caught:
        series.volume()
    assert "SliceLocation" in str(caught.value)
    array, _ = series.array(["SliceLocation", "AcquisitionTime"], align="order")
    assert array.isel(AcquisitionTime=1).dicom.affine @ [0, 0, 2, 1] == pytest.approx(
        [-20, -30, 50, 1]
    )


def three_planes(folder: Path) -> Any:
    """Return a localizer: 2 sagittal, 3 axial and 1 coronal image."""
    directions = [SAGITTAL] * 2 + [AXIAL] * 3 + [CORONAL]
    positions = [[0, 0, 0], [8, 0, 0], [1, 2, 20], [1, 2, 10], [1, 2, 0], [4, 5, 6]]
    make_series(
        folder, keys={"InstanceNumber": [1, 2, 3, 4, 5, 6]},
        per_frame={
            "ImageOrientationPatient": np.array(directions)[:, None],
            "ImagePositionPatient": np.array(positions, float)[:, None],
        },
    )  # fmt: skip
    return series_of(folder)


def test_orientations_are_stacks(tmp_path: Path) -> None:
    series = three_planes(tmp_path)
    stacks = series.stacks()
    assert [[h.InstanceNumber for h in stack] for stack in stacks] == [[5, 4, 3], [6], [2, 1]]
    assert series.stacks(InstanceNumber=[3, 4]) == [stacks[0][1:]]
    with pytest.raises(
        GridError, match=r"stack 0 axial \(3 frames\), stack 1 coronal \(1 frames\), stack 2 sag.*"
        r"stack=0",
    ):  # fmt: skip
        series.volume()
    for number, stack in enumerate(stacks):
        array, affine = series.volume(stack=number)
        assert list(array.dicom.header) == stack
        assert (affine @ [0, 0, 0, 1])[:3].tolist() == stack[0].ImagePositionPatient
    assert series.volume(stack=2)[1][:3, 2].tolist() == [-8, 0, 0]
    with pytest.raises(GridError, match="no stack 3"):
        series.volume(stack=3)
    for wrong in (True, "axial", 1.0):
        with pytest.raises(InvalidValue, match="counted from 0"):
            series.volume(stack=wrong)


def test_a_gap_is_named(tmp_path: Path) -> None:
    make_series(tmp_path, keys={"SliceLocation": [0, 5, 10, 20, 25]}, seed=3)
    series = series_of(tmp_path)
    with pytest.raises(GridError, match=r"10 mm from slice 2 \(at 50 mm\) .* missing, at 55 mm"):
        series.volume()
    _, affine = series.volume(SliceLocation=slice(0, 10))
    assert affine[2, 2] == 5
    # The labels stay true.
    assert series.array("SliceLocation")[0].SliceLocation.values.tolist() == [0, 5, 10, 20, 25]


def tilted(folder: Path) -> Any:
    """Return a CT whose table moves along z, with the gantry tilted by 14 degrees."""
    radians = np.radians(14)
    make_series(
        folder, modality="CT", keys={"InstanceNumber": [1, 2, 3, 4]},
        geometry=Geometry((0.5, 0.5, 5), (1, 0, 0, 0, np.cos(radians), -np.sin(radians))),
        per_frame={"ImagePositionPatient": [[[-100, -90, 5.0 * k]] for k in range(4)]},
    )  # fmt: skip
    return series_of(folder)


def test_a_tilted_gantry_is_said_and_followed(tmp_path: Path) -> None:
    series = tilted(tmp_path)
    with pytest.warns(MixedGeometry, match="14 degrees"):
        array, affine = series.volume()
    assert affine[:3, 2].tolist() == [0, 0, 5]
    for k, header in enumerate(array.dicom.header):
        place = header.ImagePositionPatient
        assert (affine @ [0, 0, k, 1])[:3] == pytest.approx(place, abs=1e-6)
    assert array.dicom.tilt == pytest.approx(14, abs=1e-4)


def test_labels_are_those_of_the_header(tmp_path: Path) -> None:
    # Counted against the normal, as some scanners do.
    places = [[[0, 0, 5.0 * k]] for k in range(3)]
    make_series(
        tmp_path, keys={"InstanceNumber": [1, 2, 3]},
        per_frame={
            "SliceLocation": [[-1.5], [-6.5], [-11.5]], "ImagePositionPatient": places,
        },
    )  # fmt: skip
    series = series_of(tmp_path)
    labels = series.volume()[0].SliceLocation.values.tolist()
    assert labels == [-1.5, -6.5, -11.5]
    assert set(labels) == set(series.array("SliceLocation")[0].SliceLocation.values)


def test_labels_that_say_nothing_are_worked_out(tmp_path: Path) -> None:
    places = [[[0, 0, 7.0 * k]] for k in range(3)]
    make_series(
        tmp_path, keys={"InstanceNumber": [1, 2, 3]},
        per_frame={"SliceLocation": np.zeros((3, 1)), "ImagePositionPatient": places},
    )  # fmt: skip
    array, affine = series_of(tmp_path).volume()
    assert array.SliceLocation.values.tolist() == [0, 7, 14]
    assert array.dicom.affine == pytest.approx(affine)
    assert array.isel(SliceLocation=[0, 2]).dicom.affine[:3, 2].tolist() == [0, 0, 14]
    assert [h.InstanceNumber for h in array.dicom.header] == [1, 2, 3]


@pytest.mark.parametrize(
    ("header", "step"),
    [
        ({"SpacingBetweenSlices": 6, "SliceThickness": 5}, 6),
        ({"SpacingBetweenSlices": -6, "SliceThickness": 5}, 6),
        ({"SpacingBetweenSlices": None, "SliceThickness": 5}, 5),
        ({"SpacingBetweenSlices": 0, "SliceThickness": 5}, 5),
    ],
)
def test_the_step_of_a_single_slice(tmp_path: Path, header: Any, step: float) -> None:
    make_series(tmp_path, keys={"SliceLocation": [3]}, header=header)
    array, affine = series_of(tmp_path).volume()
    assert array.shape == (16, 12, 1)
    assert affine[:3, 2].tolist() == [0, 0, step]


def test_nothing_is_read_until_it_is_computed(tmp_path: Path) -> None:
    made = make_series(tmp_path)
    array, _ = series_of(tmp_path).volume(chunks=1)
    assert array.chunks is not None
    assert array.chunksizes["SliceLocation"] == (1, 1, 1)
    stored, _ = series_of(tmp_path).volume(rescale=False)
    assert (stored.to_numpy() == made.pixels[:, 0].transpose(1, 2, 0)).all()


def test_nifti_coordinates(tmp_path: Path) -> None:
    make_series(tmp_path)
    series = series_of(tmp_path)
    _, lps = series.volume()
    _, ras = series.volume(space="RAS")
    assert ras == pytest.approx(np.diag([-1, -1, 1, 1]) @ lps)
    with pytest.raises(InvalidValue, match="space"):
        series.volume(space="MNI")


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_frames_without_a_place_are_refused(tmp_path: Path, keyword: str) -> None:
    def lose(dataset: Any, index: tuple[int, ...]) -> None:
        if index[0] == 1:
            delattr(dataset, keyword)

    make_series(tmp_path, header=lose)
    series = series_of(tmp_path)
    for call in (series.volume, series.stacks):
        with pytest.raises(GridError, match=f"1 of 3 frames have no {keyword}"):
            call()


def test_filters_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    make_series(tmp_path)
    series = series_of(tmp_path)
    with pytest.raises(GridError, match="meets the filters"):
        series.volume(Modality="CT")
    with pytest.raises(db.errors.UnknownKeyword, match="EchoTime"):
        series.volume(EcoTime=3)
