"""Arrays of mosaics: each tile is a frame, with its pixels and at its place in the patient."""

from __future__ import annotations

import gzip
import pickle
import warnings

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate

import dbdicom_xr as db
from dbdicom_xr.arrays.source import Files
from dbdicom_xr.errors import PixelError
from dbdicom_xr.pixels.layout import PixelLayout
from dbdicom_xr.pixels.tiles import TiledImages
from dbdicom_xr.testing import Geometry, make_mosaic, make_series
from tests.arrays.opened import series_of

KEYS = {"SliceLocation": [0.0, 5.0, 10.0, 15.0, 20.0], "EchoTime": [2.0, 4.0, 6.0]}
FLAT = Geometry(origin=(-20.0, -30.0, 0.0))  # so that SliceLocation is the position


def places(header):
    """The affine of voxels (x, y, slice) that the header of one volume tells, in LPS."""
    frames = header.ravel()
    first, last = (np.array(frames[i].ImagePositionPatient) for i in (0, -1))
    rows, columns = np.split(np.array(frames[0].ImageOrientationPatient), 2)
    spacing = frames[0].PixelSpacing
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = rows * spacing[1], columns * spacing[0]
    if len(frames) > 1:
        affine[:3, 2] = (last - first) / (len(frames) - 1)
    affine[:3, 3] = first
    return affine


# -- synthetic mosaics -------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated", "rle"])
@pytest.mark.parametrize("vendor", ["siemens", "uih"])
def test_a_mosaic_is_the_twin_of_classic_images(tmp_path, vendor, syntax):
    options = {"keys": KEYS, "dtype": "int16", "geometry": FLAT, "slope": 2, "intercept": -5}
    make_series(tmp_path / "classic", **options)
    made = make_mosaic(tmp_path / "tiles", **options, vendor=vendor, transfer_syntax=syntax)
    classic, classic_header = series_of(tmp_path / "classic").array(list(KEYS))
    array, header = series_of(tmp_path / "tiles").array(list(KEYS))
    assert array.dims == classic.dims
    assert array.dtype == classic.dtype
    np.testing.assert_array_equal(array.values, made.values)
    np.testing.assert_array_equal(array.values, classic.values)
    for name in (*KEYS, "x", "y"):
        np.testing.assert_array_equal(array[name], classic[name])
    assert header.ImagePositionPatient.tolist() == classic_header.ImagePositionPatient.tolist()
    assert header.Rows.tolist() == classic_header.Rows.tolist()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_each_voxel_lies_where_its_slice_does(tmp_path_factory, data):
    tiles = data.draw(st.integers(1, 26), "tiles")
    gap = data.draw(st.floats(0.5, 12), "gap") * data.draw(st.sampled_from([1, -1]), "order")
    rotation, _ = np.linalg.qr(
        np.array(data.draw(st.lists(st.floats(-1, 1), min_size=9, max_size=9), "r")).reshape(3, 3)
        + 3 * np.eye(3)[list(data.draw(st.permutations(range(3)), "axes"))]
    )
    numbers = st.floats(-300, 300)
    spacing = tuple(data.draw(st.floats(0.3, 5), name) for name in ("dx", "dy"))
    geometry = Geometry(
        (*spacing, abs(gap)),
        tuple(np.round(rotation[:2].ravel(), 12).tolist()),
        tuple(data.draw(numbers, "origin") for _ in range(3)),
    )
    shape = (data.draw(st.integers(1, 7), "columns"), data.draw(st.integers(1, 7), "rows"))
    made = make_mosaic(
        tmp_path_factory.mktemp("mosaic"),
        keys={"SliceLocation": [i * gap for i in range(tiles)]},
        shape=shape,
        geometry=geometry,
        vendor=data.draw(st.sampled_from(["siemens", "uih"]), "vendor"),
    )
    with db.database(made.folder) as database:
        assert database.problems == []
        array, header = database.series()[0].array()  # in the order of the tiles
        np.testing.assert_array_equal(array.values, made.pixels[:, 0])
        corner = np.array([shape[0] - 1, shape[1] - 1, tiles - 1, 1])
        for voxel in (corner, [0, 0, 0, 1], [corner[0], 0, tiles - 1, 1]):
            found = places(header) @ voxel if tiles > 1 else places(header) @ [*voxel[:2], 0, 1]
            np.testing.assert_allclose(found, made.affine @ voxel, atol=2e-5)
        steps = np.diff(header.SliceLocation.astype(float))
        np.testing.assert_allclose(np.abs(steps), abs(gap), atol=1e-6)
        assert len(np.unique(np.sign(steps))) <= 1


def test_sizes_and_attributes(tmp_path):
    make_mosaic(tmp_path, keys=KEYS)
    series = series_of(tmp_path)
    instance = series.instances()[0]
    assert (instance.Rows, instance["Columns"]) == (12, 16)
    assert (series.Rows, series.Columns) == ([12], [16])
    assert instance.dataset().Rows == 36  # what the file says
    frame = instance["2"]
    assert frame.ImagePositionPatient == [-20.0, -30.0, 45.0]
    assert (frame.SliceLocation, frame.EchoTime, frame.Rows) == (5.0, 2.0, 12)
    assert frame.AcquisitionTime == instance.AcquisitionTime == "090100.000000"
    assert len(series.instances(SliceLocation=10.0)) == 3
    assert instance.array().dims == ("frame", "x", "y")
    assert frame.array().shape == (16, 12)
    np.testing.assert_array_equal(frame.array(), instance.array()[1])


def test_times_of_volumes(tmp_path):
    keys = {"SliceLocation": KEYS["SliceLocation"], "AcquisitionTime": [36000.0, 36002.5, 36005.0]}
    made = make_mosaic(tmp_path, keys=keys)
    array, header = series_of(tmp_path).array(["SliceLocation", "AcquisitionTime"])
    assert array.AcquisitionTime.dims == ("AcquisitionTime",)
    np.testing.assert_array_equal(array.values, made.pixels)
    assert header[3, 1, 0].AcquisitionTime == "100002.500000"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32"])
def test_one_tile_and_odd_sizes(tmp_path, dtype):
    for number, tiles in enumerate((1, 2, 4, 5, 7)):
        keys = {"SliceLocation": [2.0 * i for i in range(tiles)]}
        folder = tmp_path / str(number)
        made = make_mosaic(folder, keys=keys, shape=(3, 5), dtype=dtype, transfer_syntax="big")
        np.testing.assert_array_equal(series_of(folder).array()[0].values, made.pixels[:, 0])


def test_colour(tmp_path):
    """Colour by pixel is read row by row of tiles, colour by plane as a whole."""
    made = make_mosaic(tmp_path, keys={"SliceLocation": [0.0, 1.0, 2.0]}, dtype="uint8")
    expected = np.stack([made.pixels[:, 0], 255 - made.pixels[:, 0], made.pixels[:, 0] // 2], -1)
    for planar in (0, 1):
        dataset = pydicom.dcmread(made.files[0])
        grey = made.datasets[0].pixel_array
        colour = np.stack([grey, 255 - grey, grey // 2], -1)
        dataset.PixelData = (colour if planar == 0 else np.moveaxis(colour, -1, 0)).tobytes()
        dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, planar
        dataset.PhotometricInterpretation = "RGB"
        dataset.save_as(made.files[0])
        array, _ = series_of(tmp_path).array()
        assert array.dims == ("n", "x", "y", "channel")
        np.testing.assert_array_equal(array.values, expected)


def test_a_compressed_image_in_several_fragments(tmp_path):
    keys = {"SliceLocation": [float(i) for i in range(4)]}
    for pieces in (2, 4, 7):  # fewer than tiles, as many, more
        folder = tmp_path / str(pieces)
        made = make_mosaic(folder, keys=keys, transfer_syntax="rle")
        dataset = pydicom.dcmread(made.files[0])
        (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
        dataset.PixelData = encapsulate([frame], fragments_per_frame=pieces)
        dataset.save_as(made.files[0])
        np.testing.assert_array_equal(series_of(folder).array()[0].values, made.pixels[:, 0])


# -- what is read ------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch):
    """The (file, image, rows) that are read."""
    found = []
    original = Files.frame

    def frame(self, file, number, layout):
        found.append((file, number, layout.rows))
        return original(self, file, number, layout)

    monkeypatch.setattr(Files, "frame", frame)
    return found


def test_an_image_is_decoded_once_for_its_tiles(tmp_path, reads):
    """Also where the array goes through all files for one slice after the other."""
    made = make_mosaic(tmp_path, keys=KEYS, transfer_syntax="rle")
    array, _ = series_of(tmp_path).array(list(KEYS))
    np.testing.assert_array_equal(array.values, made.pixels)
    assert len(reads) == 3
    assert {rows for _, _, rows in reads} == {36}


def test_a_row_of_tiles_is_read_once_and_alone(tmp_path, reads):
    made = make_mosaic(tmp_path, keys=KEYS)
    array, _ = series_of(tmp_path).array(list(KEYS), chunks=-1)
    np.testing.assert_array_equal(array.values, made.pixels)
    assert len(reads) == 6  # of 5 tiles, 3 stand in the first row, 2 in the second
    assert {rows for _, _, rows in reads} == {12}
    reads.clear()
    np.testing.assert_array_equal(array[3, 1, 0, 2:4, 1], made.pixels[3, 1, 0, 2:4, 1])


def test_blocks_of_any_cut_are_right(tmp_path):
    made = make_mosaic(tmp_path, keys=KEYS, transfer_syntax="rle")
    series = series_of(tmp_path)
    for chunks in ({"SliceLocation": 2, "EchoTime": 1}, {"EchoTime": 2}, 1):
        array, _ = series.array(list(KEYS), chunks=chunks)
        np.testing.assert_array_equal(array.values, made.pixels)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)).values, made.pixels)
    array, _ = series.array(list(KEYS), pixels_first=True)
    np.testing.assert_array_equal(array.values, np.moveaxis(made.pixels, (3, 4), (0, 1)))


def test_an_image_that_is_kept_is_not_used_after_another_was_read():
    """What a reader gives is valid until its next call only, also when that fails."""
    tile = PixelLayout(2, 2, image_rows=2, image_columns=4)
    plain = PixelLayout(2, 4)
    buffer = np.zeros((2, 4), np.uint16)

    def read(file, frame, layout):
        if file == 9:
            buffer[...] = 0
            raise PixelError("damaged")
        buffer[...] = file * 10 + np.arange(8).reshape(2, 4)
        return buffer

    images = TiledImages(read)
    assert images.frame(1, 0, tile)[0, 0] == 10
    assert images.frame(1, 1, tile)[0, 0] == 12
    assert images.frame(2, 0, plain)[0, 0] == 20
    assert images.frame(1, 1, tile)[0, 0] == 12
    with pytest.raises(PixelError):
        images.frame(9, 0, tile)
    assert images.frame(1, 1, tile)[0, 0] == 12


# -- what is refused ---------------------------------------------------------------------------


def test_a_mosaic_that_cannot_be_told_apart_says_why(tmp_path):
    def header(dataset, index):
        if index == (1, 0):
            del dataset[0x00291010]

    made = make_mosaic(tmp_path, keys=KEYS, header=header)
    database = db.database(tmp_path)
    (problem,) = database.problems
    assert problem.file == str(made.files[1])
    assert problem.kept
    assert "the CSA header of Siemens, (0029,xx10), which tells their number" in problem.reason
    (series,) = database.series()
    with pytest.raises(PixelError, match=r"1 of 11 images, such as .*IM0002.dcm, are mosaics, .*"
                                         r"\(0029,xx10\).* is missing"):  # fmt: skip
        series.array()
    other = next(i for i in series.instances() if i.EchoTime == 6.0)
    np.testing.assert_array_equal(other.array(), made.pixels[:, 2, 0])


def test_a_mosaic_that_is_cut_off(tmp_path):
    made = make_mosaic(tmp_path, keys={"SliceLocation": [0.0, 5.0, 10.0]})
    made.files[0].write_bytes(made.files[0].read_bytes()[:-100])
    array, _ = series_of(tmp_path).array()
    np.testing.assert_array_equal(array[:2].values, made.pixels[:2, 0])  # the first row of tiles
    with pytest.raises(PixelError, match=r"IM0001.dcm, frame 3: .* end too early"):
        array[2].compute()


# -- against dcm2niix and nibabel --------------------------------------------------------------

SIEMENS = [
    ("nih/In/20180918Si/mr_0003", "nih/Ref/EPI_PE=AP_3.nii"),
    ("nih/In/20180918Si/mr_0004", "nih/Ref/EPI_PE=PA_4.nii"),
    ("nih/In/20180918Si/mr_0005", "nih/Ref/EPI_PE=RL_5.nii"),
    ("nih/In/20180918Si/mr_0006", "nih/Ref/EPI_PE=LR_6.nii"),
    ("dcm_qa/In/axint36", "dcm_qa/Ref/ax_int_36sl_12.nii"),
    ("dcm_qa/In/axasc35", "dcm_qa/Ref/ax_asc_35sl_6.nii"),
    ("dcm_qa/In/corint36", "dcm_qa/Ref/cor_int_36sl_15.nii"),
    ("dcm_qa/In/sagdesc35", "dcm_qa/Ref/sag_desc_35sl_23.nii"),
    ("dcm_qa/In/AxInt36mb", "dcm_qa/Ref/fMRI_MB_int_26.nii"),  # JPEG 2000
    ("dcm_qa/In/AxAsc36mb2a", "dcm_qa/Ref/fMRI_MB_asc_25.nii"),  # JPEG lossless
    ("mosaic/In/ep2d_Int_4", "mosaic/Ref/4_ep2d_Int.nii"),
    ("mosaic/In/ep2d_Int_HF_5", "mosaic/Ref/5_ep2d_Int_HF.nii"),  # slices numbered from the head
    ("mosaic/In/cmrr_Int_HF_9", "mosaic/Ref/9_cmrr_Int_HF.nii"),
]
REFERENCES = [*SIEMENS, ("uih/In", "uih/Ref/dti_tra_dir16_PA_rot_12_132222.nii")]


@pytest.mark.realdata
def test_mosaics_are_as_dcm2niix_has_them(testdata, tmp_path):
    syntaxes = set()
    equal = 0
    for number, (folder, reference) in enumerate(REFERENCES):
        series = series_of(testdata / folder, index=tmp_path / str(number))
        array, header = series.array(["SliceLocation", "InstanceNumber"])
        syntaxes.update(series.TransferSyntaxUID)
        image = nibabel.load(testdata / reference)
        expected = np.asarray(image.dataobj)
        expected = expected.reshape(*expected.shape[:3], -1)
        ours = array.isel(n=0).transpose("x", "y", "SliceLocation", "InstanceNumber").values
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ places(header[:, 0, 0])  # to RAS
        # dcm2niix turns the rows around: the first is the last.
        expected = expected[:, ::-1]
        flip = np.diag([1.0, -1.0, 1.0, 1.0])
        flip[1, 3] = expected.shape[1] - 1
        np.testing.assert_array_equal(ours, expected, err_msg=folder)
        np.testing.assert_allclose(affine, image.affine @ flip, atol=1e-3, err_msg=folder)
        equal += 1
    assert equal == 14
    assert len(syntaxes) == 3


@pytest.mark.realdata
def test_mosaics_are_as_nibabel_has_them(testdata, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel.nicom calls itself experimental
        from nibabel.nicom.dicomwrappers import MosaicWrapper, wrapper_from_data

    folders = [testdata / folder for folder, _ in SIEMENS]
    for name in ("siemens_dwi_0", "siemens_dwi_1000"):  # implicit VR, 48 tiles of 128 x 128
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        packed = (testdata / "nibabel" / "data" / f"{name}.dcm.gz").read_bytes()
        (folders[-1] / "image.dcm").write_bytes(gzip.decompress(packed))
    compared = 0
    for number, folder in enumerate(folders):
        for instance in series_of(folder, index=tmp_path / str(number)).instances():
            dataset = instance.dataset()
            wrapper = wrapper_from_data(dataset)
            assert isinstance(wrapper, MosaicWrapper)
            ours = instance.array(rescale=False).transpose("y", "x", "frame").values
            np.testing.assert_array_equal(ours, wrapper.get_unscaled_data())
            frames = np.array([*instance.values()], object)
            affine = places(frames)[:, [1, 0, 2, 3]]  # of (row, column, slice)
            np.testing.assert_allclose(affine, wrapper.affine, atol=1e-3)
            compared += 1
    assert compared == 40


@pytest.mark.realdata
def test_a_folder_with_mosaics_opens_without_complaints(testdata, tmp_path):
    database = db.database(testdata / "nih", index=tmp_path)
    assert [problem for problem in database.problems if problem.kept] == []
    series = next(s for s in database.series() if "MOSAIC" in s.instances()[0].ImageType)
    array, header = series.array(["SliceLocation", "AcquisitionTime"])
    assert array.shape == (5, 2, 1, 72, 72)
    assert [frame.SliceLocation for frame in header[:, 0, 0]] == [16.0, 28.0, 40.0, 52.0, 64.0]
