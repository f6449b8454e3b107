"""How the frames of a series become a labelled grid."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbdicom_xr.errors import (
    AlignedByOrder,
    GridError,
    InvalidValue,
    LeftOut,
    MixedGeometry,
    UnknownKeyword,
)
from dbdicom_xr.testing import make_dce, make_enhanced, make_series
from tests.arrays.opened import by_order, series_of

SLICES = [0.0, 5.0, 10.0]


# -- dimensions, labels and orientation --------------------------------------------------------


def test_one_two_and_three_tags(tmp_path):
    keys = {"SliceLocation": SLICES, "FlipAngle": [5.0, 10.0], "EchoTime": [1.0, 2.5, 4.0, 7.0]}
    made = make_series(tmp_path, keys=keys, shuffle=3, shape=(4, 3))
    series = series_of(tmp_path)
    array, header = series.array(list(keys))
    assert array.dims == ("SliceLocation", "FlipAngle", "EchoTime", "n", "x", "y")
    np.testing.assert_array_equal(array, made.pixels)
    np.testing.assert_array_equal(array.SOPInstanceUID, made.uids)
    for name, values in keys.items():
        assert array[name].values.tolist() == values
    other, _ = series.array(("EchoTime", "SliceLocation"))
    assert other.dims == ("EchoTime", "SliceLocation", "n", "x", "y")
    assert other.sizes["n"] == 2  # the two flip angles, by InstanceNumber
    expected = made.pixels[..., 0, :, :].transpose(2, 0, 1, 3, 4)
    np.testing.assert_array_equal(other, expected)
    flat, _ = series.array()
    assert flat.dims == ("n", "x", "y")
    np.testing.assert_array_equal(flat, made.pixels.reshape(24, 4, 3))
    assert header.shape == (3, 2, 4, 1)
    angles = [frame.FlipAngle for frame in header[0, :, 0, 0]]
    assert angles == [5.0, 10.0]


def test_pixels_first(tmp_path):
    keys = {"SliceLocation": SLICES, "EchoTime": [1.0, 2.0]}
    made = make_series(tmp_path, keys=keys, n=2, shape=(6, 4))
    series = series_of(tmp_path)
    array, header = series.array(list(keys), True)
    assert array.dims == ("x", "y", "SliceLocation", "EchoTime", "n")
    assert header.dims == ("SliceLocation", "EchoTime", "n")
    np.testing.assert_array_equal(array, made.pixels.transpose(3, 4, 0, 1, 2))
    np.testing.assert_array_equal(
        array[2, 1:3, ::-1, 0], made.pixels[::-1, 0, :, 2, 1:3].transpose(2, 0, 1)
    )
    last, _ = series.array(list(keys))
    xr.testing.assert_identical(array.compute(), last.transpose(*array.dims).compute())


def test_x_counts_columns_and_y_rows_in_mm(tmp_path):
    made = make_series(tmp_path, shape=(6, 4))
    dataset = made.datasets[0]
    rows_apart, columns_apart = map(float, dataset.PixelSpacing)  # PS3.3 10.7.1.1: rows first
    assert rows_apart != columns_apart
    array, _ = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_allclose(array.x, np.arange(6) * columns_apart)
    np.testing.assert_allclose(array.y, np.arange(4) * rows_apart)
    assert array.x.attrs["units"] == array.y.attrs["units"] == "mm"
    assert (dataset.Columns, dataset.Rows) == (6, 4)
    pixel = array.sel(x=2 * columns_apart, y=3 * rows_apart, SliceLocation=5.0, n=0, method=None)
    assert pixel.values == pydicom.dcmread(made.files[1]).pixel_array[3, 2]


@pytest.mark.parametrize(
    ("spacings", "units"),
    [
        ({"PixelSpacing": None, "ImagerPixelSpacing": [2, 3]}, ("mm", 3.0, 2.0)),
        ({"PixelSpacing": None}, ("pixel", 1.0, 1.0)),
        ({"PixelSpacing": [0, 0]}, ("pixel", 1.0, 1.0)),
    ],
)
def test_images_of_other_or_no_spacing(tmp_path, spacings, units):
    make_series(tmp_path, header=spacings)
    array, _ = series_of(tmp_path).array()
    found = (array.x.attrs["units"], float(array.x[1]), float(array.y[1]))
    assert found == units


def test_what_is_said_beside_the_labels(tmp_path):
    make_series(tmp_path, keys={"SliceLocation": SLICES, "EchoTime": [1.0, 2.0]})
    array, _ = series_of(tmp_path).array(["SliceLocation", "EchoTime"])
    assert array.EchoTime.attrs == {
        "long_name": "Echo Time", "tag": "(0018,0081)", "units": "ms"
    }  # fmt: skip
    assert array.SliceLocation.attrs["units"] == "mm"
    assert array.name == "Synthetic series"
    assert array.SOPInstanceUID.dims == array.frame.dims == ("SliceLocation", "EchoTime", "n")


# -- which values are one ----------------------------------------------------------------------


def test_jitter_is_one_slice(tmp_path):
    keys = {"SliceLocation": SLICES, "EchoTime": [1.0, 2.0, 3.0, 4.0]}
    made = make_series(tmp_path, keys=keys, jitter={"SliceLocation": 1e-7})
    array, _ = series_of(tmp_path).array(["SliceLocation", "EchoTime"])
    assert array.SliceLocation.values.tolist() == SLICES
    np.testing.assert_array_equal(array, made.pixels)


@pytest.mark.parametrize("tolerance", [0.2, {"EchoTime": 0.2}, {(0x0018, 0x0081): 0.2}])
def test_tolerance(tmp_path, tolerance):
    times = np.array([[1.0, 2.0], [1.1, 2.1], [0.9, 1.9]])[..., None]
    keys = {"SliceLocation": SLICES, "EchoTime": [1.0, 2.0]}
    made = make_series(tmp_path, keys=keys, per_frame={"EchoTime": times})
    series = series_of(tmp_path)
    with pytest.warns(AlignedByOrder, match="EchoTime is aligned by order"):
        series.array(list(keys))
    array, _ = series.array(list(keys), tolerance=tolerance)
    assert array.EchoTime.values.tolist() == [1.0, 2.0]
    np.testing.assert_array_equal(array, made.pixels)


def test_values_that_drift_are_not_cut_by_chance(tmp_path):
    make_series(tmp_path, keys={"SliceLocation": [0.0, 0.0009, 0.0018, 0.0027]})
    series = series_of(tmp_path)
    with pytest.raises(GridError, match="not clear which are the same"):
        series.array("SliceLocation")
    assert series.array("SliceLocation", tolerance=0)[0].sizes["SliceLocation"] == 4
    assert series.array("SliceLocation", tolerance=0.01)[0].sizes["n"] == 4


# -- align -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dce")
    return make_dce(folder, shape=(3, 4, 6, 5), shuffle=1), series_of(folder)


def test_two_d_dynamic_series_align_by_order(dynamic):
    made, series = dynamic
    with pytest.warns(AlignedByOrder, match="AcquisitionTime is aligned by order"):
        array, header = series.array(["SliceLocation", "AcquisitionTime"])
    assert array.dims == ("SliceLocation", "AcquisitionTime", "n", "x", "y")
    assert array.shape == (3, 4, 1, 6, 5)
    np.testing.assert_array_equal(array, made.series.pixels)
    times = array.AcquisitionTime
    assert times.dims == ("SliceLocation", "AcquisitionTime")
    assert times.dtype.kind == "m"
    assert len(np.unique(times)) == 12
    np.testing.assert_allclose(times / np.timedelta64(1, "s"), made.times, atol=1e-6)
    expected = [[float(t[:2]) * 3600 + float(t[2:4]) * 60 + float(t[4:]) for t in row]
                for row in header.AcquisitionTime[..., 0]]  # fmt: skip
    np.testing.assert_allclose(expected, made.times, atol=1e-6)


def test_the_warning_points_to_the_line_of_the_user(dynamic):
    with pytest.warns(AlignedByOrder) as caught:
        dynamic[1].array(["SliceLocation", "AcquisitionTime"])
    assert caught[0].filename == __file__


def test_asking_for_the_order_warns_nobody(dynamic):
    made, series = dynamic
    array, _ = series.array(["SliceLocation", "AcquisitionTime"], align="order")
    np.testing.assert_array_equal(array, made.series.pixels)


def test_align_by_value_keeps_the_gaps(dynamic):
    made, series = dynamic
    array, header = series.array(["SliceLocation", "AcquisitionTime"], align="value")
    assert array.shape == (3, 12, 1, 6, 5)
    assert int(np.isnan(array.values[..., 0, 0, 0]).sum()) == 24
    assert sum(frame is None for frame in header.ravel()) == 24
    by_time = np.argsort(made.times.ravel())
    for position, place in enumerate(by_time):
        z, t = divmod(int(place), 4)
        np.testing.assert_array_equal(array[z, position], made.series.pixels[z, t])


def test_exact_refuses_gaps_and_names_them(dynamic):
    with pytest.raises(GridError, match=r"24 of 36 cells have no frame: SliceLocation=0 "):
        dynamic[1].array(["SliceLocation", "AcquisitionTime"], align="exact")


def test_align_takes_four_words(dynamic):
    with pytest.raises(InvalidValue, match="not 'both'"):
        dynamic[1].array("SliceLocation", align="both")


def test_no_grid_says_what_would_be_one(tmp_path):
    keys = {"SliceLocation": SLICES, "EchoTime": [1.0, 2.0, 3.0, 4.0]}
    # Numbers in no order: each slice a different number of them.
    numbers = np.array([[1, 2, 3, 4], [5, 6, 7, 7], [8, 8, 8, 8]])[..., None]
    make_series(tmp_path, keys=keys, per_frame={"AcquisitionNumber": numbers})
    with pytest.raises(GridError) as caught:
        series_of(tmp_path).array(["SliceLocation", "AcquisitionNumber"])
    message = str(caught.value)
    assert "fill 8 of 24 cells" in message
    assert "AcquisitionNumber: 8 values, 1 to 8; 1 to 4 at each SliceLocation" in message
    assert "sortby=['SliceLocation', 'EchoTime']" in message


# -- gaps and duplicates -----------------------------------------------------------------------

GAP_TYPES = [
    ("uint8", {}, np.nan, "float32", np.nan),
    ("int16", {}, np.nan, "float32", np.nan),
    ("int32", {}, np.nan, "float64", np.nan),
    ("int16", {}, 0, "int16", 0),
    ("uint16", {}, -1, "int32", -1),
    ("uint8", {}, 300, "uint16", 300),
    ("int16", {}, 0.5, "float32", 0.5),
    ("int16", {"slope": 0.25}, 0, "float32", 0),
    ("int16", {"slope": 0.25}, 1e300, "float64", 1e300),
    ("uint16", {}, True, "uint16", 1),
]


@pytest.mark.parametrize(("dtype", "scale", "fill_value", "expected", "there"), GAP_TYPES)
def test_gaps(tmp_path, dtype, scale, fill_value, expected, there):
    keys = {"SliceLocation": SLICES, "EchoTime": [1.0, 2.0, 3.0]}
    made = make_series(tmp_path, keys=keys, dtype=dtype, drop=[(1, 2, 0), (2, 0, 0)], **scale)
    array, header = series_of(tmp_path).array(list(keys), fill_value=fill_value)
    assert array.dtype == expected
    assert array.values.dtype == expected
    np.testing.assert_array_equal(array, np.where(np.isnan(made.values), there, made.values))
    assert header[1, 2, 0] is None
    assert header[2, 0, 0] is None
    assert array.SOPInstanceUID.values[1, 2, 0] == ""
    assert array.frame.values[2, 0, 0] == 0
    assert np.isnan(header.EchoTime[1, 2, 0])
    assert header.SeriesInstanceUID[1, 2, 0] is None


def test_the_type_stays_without_gaps(tmp_path):
    make_series(tmp_path, dtype="int16")
    assert series_of(tmp_path).array("SliceLocation", fill_value=np.nan)[0].dtype == "int16"


@pytest.mark.parametrize("fill_value", [1j, "x", None, [1, 2]])
def test_a_gap_holds_a_number(tmp_path, fill_value):
    make_series(tmp_path, keys={"SliceLocation": [0.0, 5.0], "EchoTime": [1.0, 2.0]}, drop=[0])
    with pytest.raises(InvalidValue, match="it has to be a real number"):
        series_of(tmp_path).array(["SliceLocation", "EchoTime"], fill_value=fill_value)


def test_frames_at_one_point_stand_in_n(tmp_path):
    made = make_series(tmp_path, keys={"SliceLocation": SLICES}, n=3, shuffle=2, drop=[(1, 2)])
    array, header = series_of(tmp_path).array("SliceLocation")
    assert array.shape[:2] == (3, 3)
    np.testing.assert_array_equal(array, made.values)
    assert header.InstanceNumber.tolist()[0] == [1, 2, 3]
    assert header[1, 2] is None


def test_frames_of_one_number_are_in_the_order_of_their_uids(tmp_path):
    for seed, header in enumerate(({"InstanceNumber": 7}, {"InstanceNumber": None})):
        orders = []
        for shuffle in (1, 2, 3):
            folder = tmp_path / f"{seed}{shuffle}"
            make_series(folder, n=4, shuffle=shuffle, header=header)
            array, _ = series_of(folder).array("SliceLocation")
            orders.append(array.SOPInstanceUID.values.tolist())
        assert orders[0] == orders[1] == orders[2]
        assert orders[0][0] == sorted(orders[0][0])


def test_frames_of_one_number_that_came_one_by_one(tmp_path):
    made = make_series(tmp_path / "data", n=4, header={"InstanceNumber": 7})
    by_uid = sorted(range(12), key=lambda k: made.datasets[k].SOPInstanceUID, reverse=True)
    for k in by_uid:
        made.files[k].rename(tmp_path / f"{k}.dcm")
    for k in by_uid:
        (tmp_path / f"{k}.dcm").rename(made.files[k])
        array, _ = series_of(made.folder).array()
    uids = array.SOPInstanceUID.values.tolist()
    assert len(uids) == 12
    assert uids == sorted(uids)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shuffle=st.integers(0, 1000), drop=st.sets(st.integers(0, 11), max_size=4), n=st.integers(1, 2)
)
def test_names_and_order_of_files_change_nothing(tmp_path_factory, shuffle, drop, n):
    keys = {"SliceLocation": SLICES, "EchoTime": [1.0, 2.0, 4.0, 8.0]}
    arrays = []
    for permutation in (None, shuffle):
        folder = tmp_path_factory.mktemp("made")
        make_series(folder, keys=keys, n=n, drop=drop, shuffle=permutation, shape=(3, 2))
        array, header = series_of(folder).array(list(keys), align="value")
        arrays.append(array.drop_attrs().compute())
        assert header.dims == array.dims[:3]
    xr.testing.assert_identical(*arrays)


# -- frames that do not belong together --------------------------------------------------------


def test_a_frame_without_one_of_the_tags(tmp_path):
    def header(dataset, at):
        if at[0] == 1:
            del dataset.EchoTime

    make_series(tmp_path, keys={"SliceLocation": SLICES, "EchoTime": [1.0, 2.0]}, header=header)
    series = series_of(tmp_path)
    with pytest.raises(GridError) as caught:
        series.array(["SliceLocation", "EchoTime"])
    message = str(caught.value)
    assert "2 of 6 frames have no EchoTime" in message
    assert "IM0003.dcm" in message
    assert "IM0004.dcm" in message
    assert "EchoTime=None" in message
    assert series.array("SliceLocation")[0].sizes["n"] == 2
    with pytest.raises(GridError, match="No frame has a value of InversionTime"):
        series.array("InversionTime")


def test_frames_of_several_sizes(tmp_path):
    make_series(tmp_path, keys={"SliceLocation": SLICES}, shape=(6, 4))
    make_series(
        tmp_path, keys={"SliceLocation": [20.0]}, shape=(4, 6), prefix="B",
        header={"SOPInstanceUID": "1.2.3"},
    )  # fmt: skip
    series = series_of(tmp_path)
    with pytest.raises(GridError) as caught:
        series.array("SliceLocation")
    message = str(caught.value)
    assert "several sizes: 3 of 4 rows and 6 columns, 1 of 6 rows and 4 columns" in message
    assert "series.instances(Rows=4, Columns=6)" in message
    assert len(series.instances(Rows=4, Columns=6)) == 3


def test_grey_and_colour(tmp_path):
    made = make_series(tmp_path, dtype="uint8", shape=(4, 6))
    colour = made.datasets[2]
    colour.SamplesPerPixel, colour.PlanarConfiguration = 3, 0
    colour.PhotometricInterpretation = "RGB"
    colour.PixelData = bytes(4 * 6 * 3)
    colour.save_as(made.files[2])
    series = series_of(tmp_path)
    with pytest.raises(GridError, match=r"several kinds: 2 of .*, 1 of .* in colour"):
        series.array()
    assert len(series.instances(SamplesPerPixel=1)) == 2


def test_images_and_other_objects(tmp_path):
    made = make_series(tmp_path)
    del made.datasets[1].PixelData
    made.datasets[1].save_as(made.files[1])
    with pytest.warns(LeftOut, match=r"1 object has no pixels, such as .*IM0002.*not in the array"):
        array, header = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_array_equal(array, made.pixels[[0, 2]])
    assert [h.InstanceNumber for h in header[:, 0]] == [1, 3]


def test_planes_that_are_not_parallel(tmp_path):
    def header(dataset, at):
        dataset.ImageOrientationPatient = [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]][at[0] % 2]

    made = make_series(tmp_path, header=header)
    with pytest.warns(MixedGeometry, match="several orientations"):
        array, _ = series_of(tmp_path).array("SliceLocation")
    np.testing.assert_array_equal(array, made.pixels)
    series_of(tmp_path).array()  # no labels in mm, no warning


def test_pixels_of_several_sizes(tmp_path):
    def header(dataset, at):
        dataset.PixelSpacing = [1.0 + at[0], 1.0]

    make_series(tmp_path, header=header)
    with pytest.warns(MixedGeometry, match="several PixelSpacing"):
        array, _ = series_of(tmp_path).array()
    assert array.x.attrs["units"] == "pixel"


@pytest.mark.parametrize(
    "wrong",
    [
        {"pixels_first": "EchoTime"},
        {"pixels_first": "yes"},
        {"chunks": 0},
        {"chunks": -5},
        {"chunks": "lots"},
        {"chunks": {"SliceLocation": 0}},
        {"tolerance": "a"},
        {"tolerance": -1},
        {"rescale": None},
        {"fill_value": "nan"},
    ],
    ids=str,
)
def test_arguments_that_mean_nothing(tmp_path, wrong):
    make_series(tmp_path)
    with pytest.raises(InvalidValue, match=next(iter(wrong))):
        series_of(tmp_path).array("SliceLocation", **wrong)


@pytest.mark.parametrize(
    ("sortby", "error", "message"),
    [
        (["EchoTime", "EchoTime"], GridError, "asked for twice"),
        ("EcoTime", UnknownKeyword, "Did you mean 'EchoTime'"),
        ("MRDiffusionSequence", GridError, "No frame has a value"),
        (3.5, UnknownKeyword, "3.5 does not name an attribute"),
    ],
)
def test_sortby_that_cannot_be(tmp_path, sortby, error, message):
    make_series(tmp_path)
    with pytest.raises(error, match=message):
        series_of(tmp_path).array(sortby)


# -- kinds of tags -----------------------------------------------------------------------------


def test_slice_location_is_derived_where_it_is_absent(tmp_path):
    made = make_series(
        tmp_path, keys={"SliceLocation": [-3.0, 0.5, 4.0]}, header={"SliceLocation": None}
    )
    array, _ = series_of(tmp_path).array("SliceLocation")
    normal, origin = [0, 0, 1], made.datasets[0].ImagePositionPatient
    first = float(np.dot(normal, origin))
    assert array.SliceLocation.values.tolist() == [first, first + 3.5, first + 7]
    np.testing.assert_array_equal(array, made.pixels)


def test_slice_location_is_derived_for_all_where_some_lack_it(tmp_path):
    def header(dataset, at):
        dataset.SliceLocation = None if at[0] == 1 else 1000 - at[0]

    made = make_series(tmp_path, header=header)
    with pytest.warns(MixedGeometry, match="1 of 3 frames have no SliceLocation"):
        array, _ = series_of(tmp_path).array("SliceLocation")
    assert array.SliceLocation.values.tolist() == [40.0, 45.0, 50.0]
    np.testing.assert_array_equal(array, made.pixels)


def test_one_slice_location_for_all_frames_of_a_file_is_none(tmp_path):
    made = make_enhanced(tmp_path, header={"SliceLocation": 3.0}, shuffle=1)
    array, header = series_of(tmp_path).array("SliceLocation")
    assert array.sizes["SliceLocation"] == 3
    assert np.diff(array.SliceLocation).tolist() == [5.0, 5.0]
    np.testing.assert_array_equal(array, made.values)
    assert header.SliceLocation[:, 0].tolist() == array.SliceLocation.values.tolist()


def test_no_location_without_geometry_or_of_planes_that_cross(tmp_path):
    make_series(tmp_path / "a", header={"SliceLocation": None, "ImagePositionPatient": None})
    with pytest.raises(GridError, match="No frame has a value of SliceLocation"):
        series_of(tmp_path / "a").array("SliceLocation")

    def header(dataset, at):
        dataset.SliceLocation = None
        if at[0] == 2:
            dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]

    make_series(tmp_path / "b", header=header)
    with pytest.raises(GridError, match="No frame has a value of SliceLocation"):
        series_of(tmp_path / "b").array("SliceLocation")


def test_text(tmp_path):
    keys = {"ImageType": [["ORIGINAL", "PRIMARY", "P"], ["ORIGINAL", "PRIMARY", "M"]],
            "SliceLocation": SLICES}  # fmt: skip
    made = make_series(tmp_path, keys=keys)
    series = series_of(tmp_path)
    array, _ = series.array(["ImageType", "SliceLocation"])
    assert array.ImageType.values.tolist() == ["ORIGINAL\\PRIMARY\\M", "ORIGINAL\\PRIMARY\\P"]
    np.testing.assert_array_equal(array, made.pixels[::-1])
    unified, _ = series.array(["image_type", "SliceLocation"])
    assert unified.dims[0] == "image_type"
    assert unified.image_type.values.tolist() == ["MAGNITUDE", "PHASE"]
    np.testing.assert_array_equal(unified, made.pixels[::-1])


def test_several_numbers(tmp_path):
    directions = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    made = make_series(tmp_path, keys={"DiffusionGradientOrientation": directions})
    array, _ = series_of(tmp_path).array("DiffusionGradientOrientation")
    assert array.DiffusionGradientOrientation.values.tolist() == ["0\\0\\1", "0\\1\\0", "1\\0\\0"]
    np.testing.assert_array_equal(array, made.pixels[[0, 2, 1]])


@pytest.mark.parametrize("sortby", [(0x0019, 0x100C), [(0x0019, 0x100C)], "(0019,100c)"])
def test_private_tag_by_number(tmp_path, sortby):
    made = make_series(tmp_path, keys={(0x0019, 0x100C): [1000, 0, 500]})
    array, _ = series_of(tmp_path).array(sortby)
    assert array.dims[0] == "(0019,100c)"
    assert array["(0019,100c)"].values.tolist() == [0, 500, 1000]
    assert array["(0019,100c)"].attrs["tag"] == "(0019,100c)"
    np.testing.assert_array_equal(array, made.pixels[[1, 2, 0]])


def private(dataset, creator, block, element, vr, value):
    dataset.add_new((0x0019, block), "LO", creator)
    dataset.add_new((0x0019, block << 8 | element), vr, value)


@pytest.mark.parametrize("sortby", [("SIEMENS MR HEADER", 0x0C), "B_value"])
def test_private_tag_by_creator_whichever_block(tmp_path, sortby):
    def header(dataset, at):
        private(dataset, "SIEMENS MR HEADER", 0x10 + at[0], 0x0C, "IS", [1000, 0, 500][at[0]])
        private(dataset, "SOMEBODY ELSE", 0x10 + (at[0] + 1) % 3, 0x0C, "IS", 9 - at[0])

    made = make_series(tmp_path, header=header)
    series = series_of(tmp_path)
    array, _ = series.array(sortby)
    name = array.dims[0]
    assert array[name].values.tolist() == [0, 500, 1000]
    assert array[name].attrs["long_name"] == "B_value"
    np.testing.assert_array_equal(array, made.pixels[[1, 2, 0]])
    other, _ = series.array(("SOMEBODY ELSE", 0x0C))
    np.testing.assert_array_equal(other, made.pixels[::-1])
    # By number, whoever owns the block in that file.
    with pytest.raises(GridError, match="1 of 3 frames has no"):
        series.array((0x0019, 0x120C))


@pytest.mark.parametrize(
    ("keyword", "values", "labels"),
    [
        ("AcquisitionTime", ["235959.5", "090000", "0901"], ["09:00:00", "09:01:00", "23:59:59.5"]),
        ("AcquisitionDate", ["20240229", "19991231", "20240301"],
         ["1999-12-31", "2024-02-29", "2024-03-01"]),
        ("AcquisitionDateTime", ["20240229120000.25", "20240229", "2023"],
         ["2023-01-01", "2024-02-29", "2024-02-29T12:00:00.25"]),
    ],
)  # fmt: skip
def test_dates_and_times(tmp_path, keyword, values, labels):
    made = make_series(tmp_path, keys={keyword: values})
    array, _ = series_of(tmp_path).array(keyword)
    kind = "m" if keyword == "AcquisitionTime" else "M"
    assert array[keyword].dtype.kind == kind
    if kind == "m":
        parts = [label.split(":") for label in labels]
        seconds = [float(h) * 3600 + float(m) * 60 + float(s) for h, m, s in parts]
        assert (array[keyword] / np.timedelta64(1, "s")).values.tolist() == seconds
    else:
        assert (array[keyword].values == np.array(labels, array[keyword].dtype)).all()
    assert "units" not in array[keyword].attrs
    order = np.argsort([float(value.ljust(14, "0")) for value in values])
    if keyword == "AcquisitionTime":
        order = [1, 2, 0]
    np.testing.assert_array_equal(array, made.pixels[order])


# -- what varies, and "auto" -------------------------------------------------------------------

AUTO = [
    ({"SliceLocation": SLICES, "EchoTime": [1.0, 2.0]}, ("SliceLocation", "EchoTime")),
    ({"EchoTime": [1.0, 2.0], "SliceLocation": SLICES}, ("SliceLocation", "EchoTime")),
    ({"SliceLocation": SLICES, "InversionTime": [50.0, 100.0], "FlipAngle": [5.0, 9.0]},
     ("SliceLocation", "InversionTime", "FlipAngle")),
    ({"SliceLocation": SLICES}, ("SliceLocation",)),
    ({"ImageType": [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]}, ("image_type",)),
    ({"SliceLocation": SLICES, "TemporalPositionIdentifier": [1, 2, 3, 4]},
     ("SliceLocation", "TemporalPositionIdentifier")),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "expected"), AUTO)
def test_auto_finds_what_varies(tmp_path, keys, expected):
    make_series(tmp_path, keys=keys, shuffle=4)
    series = series_of(tmp_path)
    array, _ = series.array("auto")
    assert array.dims[:-3] == expected
    explicit, _ = series.array(list(expected))
    xr.testing.assert_identical(array.compute(), explicit.compute())
    assert set(expected) <= set(series.varying().index)


def test_auto_does_not_sort_by_what_a_display_made_of_an_image(tmp_path):
    widths = np.array([[10, 20], [10, 20], [10, 20]])[..., None]
    make_series(
        tmp_path, keys={"SliceLocation": SLICES, "AcquisitionTime": [1.0, 2.0]},
        per_frame={"WindowWidth": widths, "WindowCenter": widths, "LargestImagePixelValue": widths},
    )  # fmt: skip
    series = series_of(tmp_path)
    assert series.array("auto")[0].dims[:2] == ("SliceLocation", "AcquisitionTime")
    assert series.varying().loc["WindowWidth", "distinct"] == 2


def test_auto_on_a_dynamic_series_prefers_positions_to_times(dynamic):
    made, series = dynamic
    array, _ = series.array("auto")
    assert array.dims[:2] == ("SliceLocation", "TemporalPositionIdentifier")
    np.testing.assert_array_equal(array, made.series.pixels)


def test_auto_says_when_there_is_no_grid(tmp_path):
    keys = {"EchoTime": [1.0, 2.0], "SliceLocation": SLICES}
    make_series(tmp_path, keys=keys, drop=[0], header={"InstanceNumber": 1})
    with pytest.raises(GridError, match=r"arrange its 5 frames.*series.varying\(\)"):
        series_of(tmp_path).array("auto")


def test_auto_on_one_frame(tmp_path):
    make_series(tmp_path, keys={"SliceLocation": [0.0]})
    assert series_of(tmp_path).array("auto")[0].dims == ("n", "x", "y")


def test_varying(tmp_path):
    def header(dataset, at):
        if at[0] == 2:
            del dataset.EchoTime

    make_series(
        tmp_path, keys={"SliceLocation": SLICES, "EchoTime": [1.0, 2.0]}, header=header
    )  # fmt: skip
    table = series_of(tmp_path).varying()
    assert table.loc["SliceLocation"].tolist() == [3, 0.0, 10.0, 0]
    assert table.loc["EchoTime"].tolist() == [2, 1.0, 2.0, 2]
    assert "FlipAngle" not in table.index
    assert list(table.index[:2]) == ["SliceLocation", "EchoTime"]


# -- one enhanced file is its classic twins ----------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {"SliceLocation": SLICES, "EchoTime": [2.0, 4.0]},
        {"SliceLocation": SLICES, "DiffusionBValue": [0.0, 500.0, 1000.0]},
        {"SliceLocation": SLICES, "FlipAngle": [5.0, 10.0], "RepetitionTime": [100.0, 200.0]},
        {"SliceLocation": SLICES, "AcquisitionTime": [3600.0, 3601.5]},
    ],
)
def test_an_enhanced_file_and_its_classic_twins(tmp_path, keys):
    common = {"keys": keys, "slope": 0.5, "intercept": -3, "seed": 4, "shape": (6, 4)}
    classic = make_series(tmp_path / "classic", shuffle=2, **common)
    make_enhanced(tmp_path / "enhanced", **common)
    one, one_header = series_of(tmp_path / "classic").array(list(keys))
    other, other_header = series_of(tmp_path / "enhanced").array(list(keys))
    assert one.dims == other.dims
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one, classic.values, atol=0.005)
    for name in keys:
        if name == "SliceLocation":  # the enhanced one has positions only
            np.testing.assert_allclose(np.diff(one[name]), np.diff(other[name]))
        else:
            xr.testing.assert_identical(one[name].variable, other[name].variable)
    columns = ["InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
               "Rows", "RescaleSlope", "PatientID", "SliceThickness", *keys]  # fmt: skip
    for name in set(columns) - {"SliceLocation"}:
        assert one_header.column(name).tolist() == other_header.column(name).tolist(), name
    flat, _ = series_of(tmp_path / "classic").array()
    other_flat, _ = series_of(tmp_path / "enhanced").array()
    np.testing.assert_array_equal(flat, other_flat)


def test_frames_of_an_enhanced_file_in_any_order(tmp_path):
    keys = {"SliceLocation": SLICES, "EchoTime": [2.0, 4.0]}
    made = make_enhanced(tmp_path, keys=keys, shuffle=5)
    array, header = series_of(tmp_path).array(list(keys))
    np.testing.assert_array_equal(array, made.values)
    assert array.frame.values.tolist() == made.frame_numbers.tolist()
    assert [frame.number for frame in header[:, 1, 0]] == made.frame_numbers[:, 1, 0].tolist()
    assert header.EchoTime[..., 0].tolist() == [[2.0, 4.0]] * 3


def test_by_order_of_an_enhanced_file(tmp_path):
    times = 3600 + np.arange(6).reshape(3, 2, 1) * 1.5
    keys = {"SliceLocation": SLICES, "AcquisitionTime": [3600.0, 3601.5]}
    made = make_enhanced(tmp_path, keys=keys, per_frame={"AcquisitionTime": times}, shuffle=1)
    array, _ = by_order(series_of(tmp_path), list(keys))
    np.testing.assert_array_equal(array, made.values)
    np.testing.assert_allclose(array.AcquisitionTime / np.timedelta64(1, "s"), times[..., 0])
