"""What images say of their place: after any cut, projection or interpolation, as given, or new."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import dbdicom_xr as db
from dbdicom_xr.emit.elements import lookup
from dbdicom_xr.errors import GridError, InvalidValue
from dbdicom_xr.records.attributes.lookup import parse_name
from dbdicom_xr.records.reading.sources import sources_of
from dbdicom_xr.records.writing.image_planes import image_planes
from dbdicom_xr.testing import Geometry, make_enhanced, make_mosaic, make_series

GEOMETRY = Geometry((1.5, 1.25, 4), (0.8, 0.6, 0, 0, 0, -1), (-20, -30, 40))
SLICES = [0.0, 4.0, 8.0, 12.0]
KEYS = {"SliceLocation": SLICES, "EchoTime": [2, 4, 6]}
POSITION, ORIENTATION = "ImagePositionPatient", "ImageOrientationPatient"
THICKNESS, BETWEEN = "SliceThickness", "SpacingBetweenSlices"


def series_of(folder: Path) -> Any:
    (series,) = db.database(folder).series()
    return series


@pytest.fixture(scope="module", params=["classic", "enhanced", "mosaic"])
def kinds(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same array of 4 slices and 3 echoes from three kinds of objects."""
    folder = tmp_path_factory.mktemp(request.param)
    make = {"classic": make_series, "enhanced": make_enhanced, "mosaic": make_mosaic}
    make[request.param](folder, keys=KEYS, geometry=GEOMETRY, shape=(16, 12))
    return series_of(folder).array(["SliceLocation", "EchoTime"])


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The array of classic images and its header, with SpacingBetweenSlices."""
    folder = tmp_path_factory.mktemp("classic")
    make_series(
        folder, keys=KEYS, geometry=GEOMETRY, shape=(16, 12), shuffle=1, header={BETWEEN: 4.0}
    )
    return series_of(folder).array(["SliceLocation", "EchoTime"])


def planes(array: Any, header: Any = None, **given: Any) -> dict[str, list[Any]]:
    """Return the columns for an array by keyword, a value per image."""
    elements = image_planes(array, sources_of(array, header), **given)
    return named(elements)


def named(elements: Any) -> dict[str, list[Any]]:
    from pydicom.datadict import keyword_for_tag

    return {
        keyword_for_tag(key.tag): lookup(elements, keyword_for_tag(key.tag)) for key in elements
    }  # type: ignore[misc]


def said(array: Any, keyword: str, found: dict[str, list[Any]], header: Any = None) -> list[Any]:
    """Return what each image says in the end: what differs, else what its first frame says."""
    if keyword in found:
        return found[keyword]
    sources = sources_of(array, header)
    values = [parse_name(keyword).values(table) for table in sources.tables]
    return [
        values[sources.table_of[first]].of(int(sources.rows[first]))  # type: ignore[union-attr]
        for first in sources.starts[:-1]
    ]


def pixel_place(plane: tuple[Any, Any, Any], i: float, j: float) -> Any:
    """Return where a pixel lies: PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1."""
    position, orientation, spacing = map(np.asarray, plane)
    return position + orientation[:3] * spacing[1] * i + orientation[3:] * spacing[0] * j


def require_same_place(
    array: Any, found: dict[str, list[Any]], header: Any = None, off: float = 1e-4
) -> None:
    """Require that the images lie where the affine of the array says."""
    affine = array.dicom.get_affine(header=header)
    slice_dim = array.dicom._placed(header).slice_dim
    columns = [said(array, name, found, header) for name in (POSITION, ORIENTATION, "PixelSpacing")]
    dims = [dim for dim in array.dims if dim not in ("x", "y", "channel")]
    for image, at in enumerate(np.ndindex(*(array.sizes[dim] for dim in dims))):
        k = dict(zip(dims, at, strict=True)).get(slice_dim, 0)
        for i, j in [(0, 0), (3, 0), (0, 5), (7, 2)]:
            place = pixel_place(tuple(column[image] for column in columns), i, j)
            assert place == pytest.approx((affine @ [i, j, k, 1])[:3], abs=off)


# -- with frames ---------------------------------------------------------------------------------

UNCHANGED: dict[str, Callable[[Any], Any]] = {
    "all": lambda a: a,
    "doubled": lambda a: a * 2,
    "transposed": lambda a: a.transpose("x", "EchoTime", "y", "n", "SliceLocation"),
    "slices": lambda a: a.isel(SliceLocation=slice(1, 3)),
    "slices reversed": lambda a: a.isel(SliceLocation=slice(None, None, -1)),
    "one slice": lambda a: a.isel(SliceLocation=1),
    "an echo": lambda a: a.isel(EchoTime=1, n=0),
    "mean of echoes": lambda a: a.mean("EchoTime"),
    "without x and y": lambda a: a.drop_vars(["x", "y"]),
    "stacked": lambda a: a.stack(all=("EchoTime", "n")),
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_images_that_lie_as_their_frames_say_nothing_new(kinds: Any, name: str) -> None:
    assert planes(UNCHANGED[name](kinds[0])) == {}


SELECTIONS: dict[str, Callable[[Any], Any]] = {
    "cropped": lambda a: a.isel(x=slice(3, 12), y=slice(2, None)),
    "every other": lambda a: a.isel(x=slice(1, None, 2)),
    "flipped": lambda a: a[..., ::-1, ::-1],
    "flipped and cropped": lambda a: a.isel(x=slice(14, 2, -2), y=slice(None, 3, -1)),
    "coarser": lambda a: a.coarsen(x=2, y=3).mean(),
    "coarser, of an echo": lambda a: a.mean("EchoTime").isel(x=slice(4, 12)).coarsen(y=2).mean(),
    "finer": lambda a: a.mean("EchoTime").compute().interp(x=np.arange(0, 22, 0.75)),
    "one slice, flipped": lambda a: a.isel(SliceLocation=2, y=slice(None, None, -1)),
}  # fmt: skip


@pytest.mark.parametrize("name", SELECTIONS)
def test_images_lie_where_the_affine_says(kinds: Any, name: str) -> None:
    array = SELECTIONS[name](kinds[0])
    require_same_place(array, planes(array))


def test_a_crop_by_hand(read: Any) -> None:
    found = planes(
        read[0].isel(SliceLocation=[0], EchoTime=[0], x=slice(2, None), y=slice(4, None))
    )
    assert list(found) == [POSITION]
    # 2 columns of 1.5 mm along (0.8, 0.6, 0), 4 rows of 1.25 mm along (0, 0, -1).
    assert found[POSITION] == [pytest.approx([-20 + 2.4, -30 + 1.8, 40 - 5])]


def test_a_flip_by_hand(read: Any) -> None:
    found = planes(read[0].isel(SliceLocation=[0], EchoTime=[0], x=slice(None, None, -3)))
    # The last of 16 columns lies 15 * 1.5 mm off.
    assert found == {
        POSITION: [pytest.approx([-20 + 18, -30 + 13.5, 40])],
        ORIENTATION: [[-0.8, -0.6, 0, 0, 0, -1]],
        "PixelSpacing": [[1.25, 4.5]],
    }


def test_a_single_image(read: Any) -> None:
    array = read[0].isel(SliceLocation=2, EchoTime=0, n=0)
    assert planes(array) == {}
    found = planes(array.isel(y=slice(1, None)))
    assert found == {POSITION: [pytest.approx(GEOMETRY.position(8) + np.array([0, 0, -1.25]))]}


def test_the_frames_of_one_object(tmp_path: Path) -> None:
    make_enhanced(tmp_path, keys={"SliceLocation": SLICES}, geometry=GEOMETRY)
    array = series_of(tmp_path).instances()[0].array()
    assert array.dims == ("frame", "x", "y")
    part = array.isel(x=slice(None, None, -1), frame=slice(1, None))
    require_same_place(part, planes(part))


def test_gaps_say_nothing(tmp_path: Path) -> None:
    made = make_series(tmp_path, keys={"SliceLocation": [0, 5], "EchoTime": [2, 4]}, drop=[1])
    array, _ = series_of(tmp_path).array(["SliceLocation", "EchoTime"])
    assert planes(array) == {}
    found = planes(array.isel(x=slice(1, None)))
    corner = made.affine @ [1, 0, 0, 1]
    assert found[POSITION][1] is None
    assert found[POSITION][0] == pytest.approx(corner[:3])
    assert found[POSITION][3] == pytest.approx(corner[:3] + np.array([0, 0, 5]))


def slices(size: int) -> Any:
    return st.slices(size).filter(lambda part: len(range(size)[part]) > 1)


@st.composite
def geometries(draw: Any) -> Geometry:
    """Return a plane at any angle, with any spacing."""
    quaternion = np.array(draw(st.lists(st.floats(-1, 1), min_size=4, max_size=4)))
    if np.linalg.norm(quaternion) < 0.1:
        quaternion = np.array([1.0, 0, 0, 0])
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    row = [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)]
    column = [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)]
    lengths = st.floats(0.2, 9).map(lambda v: round(v, 3))
    origin = tuple(draw(st.lists(st.floats(-300, 300), min_size=3, max_size=3)))
    spacing = (draw(lengths), draw(lengths), 4.0)
    return Geometry(spacing, tuple(round(v, 9) for v in (*row, *column)), origin)


@settings(max_examples=25)
@given(geometries(), slices(9), slices(8), slices(4), st.booleans())
def test_any_part_of_any_grid(
    tmp_path_factory: Any, geometry: Geometry, x: slice, y: slice, z: slice, coarse: bool
) -> None:
    folder = tmp_path_factory.mktemp("any")
    make_series(folder, keys={"SliceLocation": SLICES}, geometry=geometry, shape=(9, 8))
    array = series_of(folder).array("SliceLocation")[0].isel(x=x, y=y, SliceLocation=z)
    if coarse:
        array = array.coarsen(x=2, boundary="trim").mean()
        if not array.sizes["x"]:
            return
    require_same_place(array, planes(array))


def test_a_projection_stands_in_the_middle_of_its_slab(read: Any) -> None:
    array = read[0].isel(SliceLocation=slice(1, 4)).max("SliceLocation")
    found = planes(array, read[1].isel(SliceLocation=slice(1, 4)))
    normal = np.array(GEOMETRY.normal)
    assert found[POSITION] == [pytest.approx(np.array([-20, -30, 40]) + 8 * normal)] * 3
    assert found["SliceLocation"] == [8.0] * 3
    assert found[THICKNESS] == [8.0 + 5.0] * 3  # from 4 to 12 mm, and slices of 5 mm
    assert found[BETWEEN] == [None] * 3
    assert set(found) == {POSITION, "SliceLocation", THICKNESS, BETWEEN}


def test_slabs_are_as_far_apart_as_they_are(read: Any) -> None:
    array = read[0].isel(EchoTime=0, n=0).assign_coords(slab=("SliceLocation", [0, 0, 1, 1]))
    header = read[1].isel(EchoTime=0, n=0)
    slabs = array.groupby("slab").mean()
    common = np.array([[header[0], header[1]], [header[2], header[3]]])
    from dbdicom_xr.records.reading.gathered import Sources

    flat = sources_of(array, header)
    gathered = Sources(
        flat.database, flat.tables, flat.table_of, flat.rows, np.array([0, 2, 4]), ("slab",), (2,)
    )
    assert common.shape == (2, 2)
    found = named(image_planes(slabs, gathered))
    assert found["SliceLocation"] == [2.0, 10.0]
    assert found[THICKNESS] == [9.0, 9.0]
    assert found[BETWEEN] == [8.0, 8.0]
    labelled = named(image_planes(slabs.assign_coords(
        SliceLocation=("slab", [2.0, 10.0], {"units": "mm"})), gathered))  # fmt: skip
    assert labelled == found


def test_slices_left_out_are_told(read: Any) -> None:
    array = read[0]
    assert planes(array.isel(SliceLocation=[0, 2])) == {BETWEEN: [8.0] * 6}
    assert planes(array.isel(SliceLocation=[0, 1, 3])) == {BETWEEN: [None] * 9}
    assert planes(array.isel(SliceLocation=[1, 2])) == {}


@pytest.mark.parametrize("labels", [[1.0, 2.5, 4.0], [5.0, 9.0], [0.0, 6.0, 12.0]])
def test_interpolated_slices_lie_at_their_labels(read: Any, labels: list[float]) -> None:
    array = read[0].compute().interp(SliceLocation=labels)
    normal = np.array(GEOMETRY.normal)
    for header in (read[1].isel(SliceLocation=0), read[1].isel(SliceLocation=3)):
        found = planes(array, header)
        wanted = [np.array([-20, -30, 40]) + label * normal for label in labels for _ in range(3)]
        for one, other in zip(found[POSITION], wanted, strict=True):
            assert one == pytest.approx(other, abs=1e-5)
        assert found["SliceLocation"] == [label for label in labels for _ in range(3)]
        steps = said(array, BETWEEN, found, header)
        assert steps == [labels[1] - labels[0]] * len(labels) * 3
        assert ORIENTATION not in found
        assert THICKNESS not in found


def test_slices_that_were_taken_for_one_stay_where_they_are(tmp_path: Path) -> None:
    make_series(
        tmp_path,
        keys={"SliceLocation": [0, 5, 10], "EchoTime": [2, 4, 6, 8]},
        jitter={"SliceLocation": 0.04},
        header={BETWEEN: 5.0},
    )
    array, _ = series_of(tmp_path).array(["SliceLocation", "EchoTime"], tolerance=0.2)
    for part in (array, array.isel(EchoTime=[1]), array.isel(SliceLocation=1)):
        assert planes(part) == {}


def test_frames_at_nearly_one_place_are_at_that_of_the_first(tmp_path: Path) -> None:
    places = [[[[0, 0, 0]], [[0, 0, 4e-4]]], [[[0, 0, 5.0]], [[0, 0, 5.0004]]]]
    make_series(
        tmp_path, keys={"SliceLocation": [0, 5], "EchoTime": [2, 4]}, per_frame={POSITION: places}
    )
    array, _ = series_of(tmp_path).array(["SliceLocation", "EchoTime"])
    assert planes(array.mean("EchoTime")) == {POSITION: [[0, 0, 0], [0, 0, 5]]}


# -- refused -------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "uneven columns": (lambda a: a.isel(x=[0, 1, 5]), GridError, "x is not evenly spaced"),
    "no labels, other size": (
        lambda a: a.isel(x=slice(3)).drop_vars("x"), InvalidValue,
        r"3 pixels along x.*Columns 16.*affine= or spacing=",
    ),
    "rows first": (
        lambda a: a.drop_vars(["x", "y"]).rename(x="y", y="x"), InvalidValue,
        r"12 pixels along x and 16 along y.*changed places.*array.swapaxes\(-1, -2\)",
    ),
    "no units": (lambda a: a.assign_coords(x=np.arange(16)), GridError, "units None.*affine="),
    "padded": (lambda a: a.pad(x=2), GridError, "x is not evenly spaced"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused(read: Any, name: str) -> None:
    change, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        planes(change(read[0]))


def test_slices_beyond_those_of_the_series(read: Any) -> None:
    array, header = read[0].compute(), read[1].isel(SliceLocation=0)
    labels = array.SliceLocation.copy(data=array.SliceLocation + 6)
    with pytest.raises(GridError, match=r"14 lies outside the slices.*0 to 12.*affine="):
        planes(
            array.isel(SliceLocation=slice(2, 4)).assign_coords(SliceLocation=labels[2:]), header
        )
    with pytest.raises(GridError, match=r"not that of the frames.*units.*affine="):
        planes(array.assign_coords(SliceLocation=[1.0, 2, 3, 4]), header)


def test_a_mean_of_several_orientations_has_no_plane(tmp_path: Path) -> None:
    make_series(
        tmp_path,
        keys={"InstanceNumber": [1, 2]},
        per_frame={ORIENTATION: [[[1.0, 0, 0, 0, 1, 0]], [[0.0, 1, 0, 0, 0, -1]]]},
    )
    array, header = series_of(tmp_path).array()
    assert planes(array, header) == {}
    with pytest.raises(GridError, match=r"1 of 1 images.*several orientations.*affine="):
        planes(array.mean("n"), header)


def test_frames_beside_each_other_have_no_plane_in_common(tmp_path: Path) -> None:
    make_series(
        tmp_path,
        keys={"InstanceNumber": [1, 2]},
        per_frame={POSITION: [[[0.0, 0, 0]], [[3.0, 0, 0]]]},
    )
    array, header = series_of(tmp_path).array()
    with pytest.raises(GridError, match=r"different places, but not behind each other"):
        planes(array.mean("n"), header)


def test_a_tilted_slab_is_one(tmp_path: Path) -> None:
    places = [[[0, 0.0, 0]], [[0, 1.0, 4]], [[0, 2.0, 8]]]
    make_series(tmp_path, keys={"SliceLocation": [0, 4, 8]}, per_frame={POSITION: places})
    array, header = series_of(tmp_path).array("SliceLocation")
    found = planes(array.max("SliceLocation"), header)
    assert found[POSITION] == [[0, 1, 4]]
    assert found[THICKNESS] == [13.0]


# -- other ways to say it ------------------------------------------------------------------------


def test_images_without_a_place_keep_their_spacing(tmp_path: Path) -> None:
    make_series(
        tmp_path,
        shape=(8, 6),
        keys={"InstanceNumber": [1]},
        header={
            POSITION: None, ORIENTATION: None, "PixelSpacing": None,
            "ImagerPixelSpacing": [0.2, 0.1], "PatientOrientation": ["L", "FP"],
        },
    )  # fmt: skip
    array, _ = series_of(tmp_path).array()
    assert array.x.attrs["units"] == "mm"
    assert planes(array) == {}
    assert planes(array.isel(x=slice(2, None))) == {}
    assert planes(array.isel(x=slice(None, None, -2))) == {
        "ImagerPixelSpacing": [[0.2, 0.2]],
        "PatientOrientation": [["R", "FP"]],
    }
    assert planes(array[..., ::-1]) == {"PatientOrientation": [["L", "HA"]]}


@pytest.mark.parametrize(
    ("ratio", "steps", "expected"),
    [
        (None, (2, 1), [[1, 2]]),
        (None, (-1, 3), [[3, 1]]),
        (None, (2, -2), None),
        ([4, 3], (2, 1), [[2, 3]]),
        ([4, 3], (1, 1), None),
    ],
)
def test_pixels_that_are_no_squares(
    tmp_path: Path, ratio: Any, steps: tuple[int, int], expected: Any
) -> None:
    bare = {POSITION: None, ORIENTATION: None, "PixelSpacing": None, "PixelAspectRatio": ratio}
    make_series(tmp_path, keys={"InstanceNumber": [1]}, header=bare)
    array, _ = series_of(tmp_path).array()
    x, y = steps
    found = planes(array.isel(x=slice(None, None, x), y=slice(None, None, y)))
    assert found == ({} if expected is None else {"PixelAspectRatio": expected})


def test_pixels_that_are_counted(tmp_path: Path) -> None:
    make_series(
        tmp_path, keys={"InstanceNumber": [1]}, header={POSITION: None, "PixelSpacing": None}
    )
    array, _ = series_of(tmp_path).array()
    assert array.x.attrs["units"] == "pixel"
    assert planes(array.isel(x=slice(2, None, 2), y=slice(0, 6, 2))) == {}
    flipped = planes(array.isel(x=slice(None, None, -1)))
    assert flipped == {ORIENTATION: [[-1, 0, 0, 0, 1, 0]]}


def test_a_place_that_cannot_be_moved_is_refused(tmp_path: Path) -> None:
    make_series(tmp_path, keys={"InstanceNumber": [1]}, header={"PixelSpacing": None})
    array, _ = series_of(tmp_path).array()
    assert planes(array.isel(x=slice(3))) == {}
    with pytest.raises(GridError, match=r"starts at pixel 2 along x.*PixelSpacing.*affine="):
        planes(array.isel(x=slice(2, None)))


# -- as given --------------------------------------------------------------------------------------


def test_an_affine_wins(read: Any) -> None:
    array = read[0].isel(x=slice(2, 9))
    affine = GEOMETRY.affine(0) @ np.diag([2, -3, 1.5, 1])
    found = planes(array, affine=affine)
    assert found["PixelSpacing"] == [pytest.approx([3.75, 3.0])] * 12
    assert found[ORIENTATION] == [pytest.approx([0.8, 0.6, 0, 0, 0, 1])] * 12
    assert found[BETWEEN] == found[THICKNESS] == [6.0] * 12
    columns = [found[name] for name in (POSITION, ORIENTATION, "PixelSpacing")]
    for image, (k, _, _) in enumerate(np.ndindex(4, 3, 1)):
        for i, j in [(0, 0), (6, 0), (0, 11)]:
            place = pixel_place(tuple(column[image] for column in columns), i, j)
            assert place == pytest.approx((affine @ [i, j, k, 1])[:3], abs=1e-6)
    (uid,) = set(found["FrameOfReferenceUID"])
    assert uid.startswith("2.25.")
    assert found["PositionReferenceIndicator"] == [None] * 12
    same = planes(array, affine=GEOMETRY.affine(100))  # 4 mm apart as before, and 5 mm thick
    assert THICKNESS not in same
    assert same[BETWEEN] == [4.0] * 12
    # SliceLocation is where slices are along the normal.
    assert np.diff(found["SliceLocation"][::3]) == pytest.approx([-6] * 3)


@pytest.mark.parametrize(
    ("dims", "sizes", "heights"),
    [
        (("n", "x", "y"), (3, 4, 5), [0, 6, 12]),
        (("SliceLocation", "n", "x", "y"), (2, 2, 4, 5), [0, 0, 6, 6]),
        (("EchoTime", "n", "x", "y"), (2, 2, 4, 5), [0, 6, 0, 6]),
        (("EchoTime", "x", "y"), (2, 4, 5), [0, 0]),
        (("t", "x", "y", "z"), (2, 4, 5, 2), [0, 6, 0, 6]),
        (("depth", "x", "y"), (2, 4, 5), [0, 6]),
        (("x", "y"), (4, 5), [0]),
        (("x", "y", "channel"), (4, 5, 3), [0]),
    ],
)
def test_which_dimension_counts_slices(
    dims: tuple[str, ...], sizes: tuple[int, ...], heights: list[float]
) -> None:
    found = named(image_planes(xr.DataArray(np.zeros(sizes), dims=dims), None, spacing=(1, 2, 6)))
    assert [place[2] for place in found[POSITION]] == heights
    assert found["SliceLocation"] == heights
    assert found["PixelSpacing"] == [[2, 1]] * len(heights)
    assert (BETWEEN in found) == (len(set(heights)) > 1)


def test_the_slice_dimension_is_that_of_the_frames(read: Any) -> None:
    array = read[0].rename(SliceLocation="depth")
    found = planes(array, affine=np.diag([1.0, 1, 5, 1]))
    heights = [place[2] for place in found[POSITION]]
    assert heights == [0] * 3 + [5] * 3 + [10] * 3 + [15] * 3
    one_place = planes(read[0].isel(SliceLocation=0).rename(n="m"), affine=np.eye(4))
    assert one_place[POSITION] == [[0, 0, 0]] * 3
    assert BETWEEN not in one_place


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"affine": np.eye(4), "spacing": (1, 1, 1)}, InvalidValue, "not both"),
        ({"affine": np.eye(3)}, GridError, "4 by 4"),
        ({"affine": "RAS"}, GridError, "no matrix of numbers"),
        ({"affine": np.diag([1.0, 1, 1, 2])}, GridError, "last row"),
        ({"affine": np.diag([1.0, 0, 1, 1])}, GridError, "step of 0"),
        ({"affine": np.diag([1.0, 1, 0, 1])}, GridError, "into one plane"),
        ({"affine": np.eye(4) + 0.1 * np.eye(4, k=1)}, GridError, "right angle"),
        ({"affine": np.full((4, 4), np.nan)}, GridError, "4 by 4"),
        ({"spacing": (1, 1)}, InvalidValue, "three numbers"),
        ({"spacing": 2}, InvalidValue, "three numbers"),
        ({"spacing": (1, -1, 1)}, InvalidValue, "above 0"),
    ],
)
def test_what_cannot_be_the_geometry(given: Any, error: Any, message: str) -> None:
    array = xr.DataArray(np.zeros((2, 4, 5)), dims=("n", "x", "y"))
    with pytest.raises(error, match=message):
        image_planes(array, None, **given)


def test_two_dimensions_that_may_be_slices() -> None:
    array = xr.DataArray(np.zeros((2, 3, 4, 5)), dims=("a", "b", "x", "y"))
    with pytest.raises(InvalidValue, match=r"a, b may count slices.*rename"):
        image_planes(array, None, spacing=(1, 1, 1))


# -- from nothing ----------------------------------------------------------------------------------


def test_an_array_without_labels_is_axial_and_of_1_mm() -> None:
    found = named(image_planes(xr.DataArray(np.zeros((3, 4, 5)), dims=("n", "x", "y")), None))
    assert found[POSITION] == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]
    assert found[ORIENTATION] == [[1, 0, 0, 0, 1, 0]] * 3
    assert found["PixelSpacing"] == [[1, 1]] * 3
    assert found[THICKNESS] == found[BETWEEN] == [1] * 3
    assert found["SliceLocation"] == [0, 1, 2]
    assert len(set(found["FrameOfReferenceUID"])) == 1


def test_labels_in_mm_place_an_array() -> None:
    array = xr.DataArray(
        np.zeros((3, 2, 4, 3)),
        dims=("SliceLocation", "EchoTime", "x", "y"),
        coords={
            "SliceLocation": [10.0, 15, 25], "x": np.arange(4) * 0.5 - 7, "y": [9.0, 7, 5],
        },
    )  # fmt: skip
    found = named(image_planes(array, None))
    assert found[POSITION] == [[-7, 9, z] for z in (10, 15, 25) for _ in range(2)]
    assert found[ORIENTATION] == [[1, 0, 0, 0, -1, 0]] * 6
    assert found["PixelSpacing"] == [[2, 0.5]] * 6
    assert found["SliceLocation"] == [10, 10, 15, 15, 25, 25]
    assert found[THICKNESS] == [5] * 6  # uneven: no thicker than the next slice is far
    assert BETWEEN not in found


def test_positions_as_labels_win() -> None:
    oblique = "1\\0\\0\\0\\0.6\\0.8"
    array = xr.DataArray(
        np.zeros((2, 4, 3)),
        dims=("n", "x", "y"),
        coords={
            POSITION: ("n", ["1\\2\\3", "1\\-2\\6"]), ORIENTATION: oblique,
            "x": [4.0, 6, 8, 10], "y": [0.0, 1, 2],
        },
    )  # fmt: skip
    found = named(image_planes(array, None))
    assert found[POSITION] == [[5, 2, 3], [5, -2, 6]]
    assert found[ORIENTATION] == [[1, 0, 0, 0, 0.6, 0.8]] * 2
    assert found[BETWEEN] == [5.0] * 2
    with pytest.raises(InvalidValue, match="ImagePositionPatient has 3 numbers"):
        image_planes(array.assign_coords({POSITION: ("n", ["1", "2"])}), None)
    with pytest.raises(GridError, match="ImageOrientationPatient"):
        image_planes(array.assign_coords({ORIENTATION: "1\\0\\0\\1\\0\\0"}), None)


def test_patient_coordinates_place_an_array(read: Any) -> None:
    array = read[0].mean("EchoTime").dicom.assign_affine()
    part = array.isel(x=slice(3, None, 2), SliceLocation=slice(None, None, -1))
    affine = read[0].isel(x=slice(3, None, 2), SliceLocation=slice(None, None, -1)).dicom.affine
    found = named(image_planes(part.transpose("n", "SliceLocation", "x", "y"), None))
    assert found[POSITION] == [pytest.approx((affine @ [0, 0, k, 1])[:3]) for k in range(4)]
    assert found[ORIENTATION] == [pytest.approx([0.8, 0.6, 0, 0, 0, -1])] * 4
    assert found["PixelSpacing"] == [pytest.approx([1.25, 3])] * 4


# -- scanner files ---------------------------------------------------------------------------------

REAL = ("nih", "mosaic", "dcm_qa", "canon61", "xa30", "uih", "enh", "philips")


@pytest.mark.parametrize("folder", REAL)
def test_scanner_files(testdata: Path, tmp_path: Path, folder: str) -> None:
    checked = 0
    database = db.database(testdata / folder, index=tmp_path / "index")
    for series in database.series():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                array, _ = series.array("SliceLocation", align="order")
                array = array.isel(n=slice(1))
                _ = array.dicom.affine
            except (db.errors.DbdicomError, ValueError):
                continue
            assert planes(array) == {}
            part = array.isel(x=slice(None, 3, -1), y=slice(5, None, 3))
            # Positions of scanners are rounded, and off an even grid by 1 um or so.
            require_same_place(part, planes(part), off=5e-3)
        checked += 1
        if checked == 6:
            break
    assert checked
