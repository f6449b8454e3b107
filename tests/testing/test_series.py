"""Each maker is read back with pydicom, which knows nothing of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import JPEG2000, ExplicitVRBigEndian, RLELossless

from dbdicom_xr.testing import Geometry, make_enhanced, make_series

SYNTAXES = ["explicit", "implicit", "big", "deflated", "rle"]
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]


def stacked(files: list[Path]) -> np.ndarray:
    """Stored values of classic files, shape (frame, x, y)."""
    return np.stack([pydicom.dcmread(file).pixel_array.T for file in files])


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_stored_values_come_back(tmp_path, syntax, dtype):
    if syntax == "rle" and dtype.endswith("32"):  # not allowed there (PS3.5 8.2.2)
        with pytest.raises(ValueError, match="not valid for pixel data encoded with 'RLE"):
            make_series(tmp_path, dtype=dtype, transfer_syntax=syntax)
        return
    made = make_series(tmp_path, shape=(5, 3), dtype=dtype, transfer_syntax=syntax)
    read = stacked(made.files)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, made.pixels.reshape(-1, 5, 3))


@pytest.mark.parametrize(
    ("dtype", "bits", "low", "high"), [("uint16", 12, 0, 4095), ("int16", 12, -2048, 2047)]
)
def test_fewer_bits_than_allocated(tmp_path, dtype, bits, low, high):
    made = make_series(tmp_path, shape=(32, 32), dtype=dtype, bits_stored=bits)
    dataset = pydicom.dcmread(made.files[0])
    assert (dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit) == (16, 12, 11)
    assert low <= made.pixels.min() < low + 50
    assert high - 50 < made.pixels.max() <= high
    np.testing.assert_array_equal(stacked(made.files), made.pixels.reshape(-1, 32, 32))


def test_grid_of_two_tags_with_duplicates(tmp_path):
    made = make_series(tmp_path, keys={"SliceLocation": [-2.5, 7.5], "FlipAngle": [5, 10, 20]}, n=2)
    assert made.dims == ("SliceLocation", "FlipAngle", "n", "x", "y")
    assert made.pixels.shape == (2, 3, 2, 16, 12)
    found = [pydicom.dcmread(file) for file in made.files]
    assert [d.InstanceNumber for d in found] == list(range(1, 13))
    assert [d.SliceLocation for d in found] == [-2.5] * 6 + [7.5] * 6
    assert [d.FlipAngle for d in found] == [5, 5, 10, 10, 20, 20] * 2
    assert [d.SOPInstanceUID for d in found] == made.uids.ravel().tolist()
    assert len({d.SOPInstanceUID for d in found}) == 12
    assert len({d.SeriesInstanceUID for d in found}) == 1


def test_position_follows_the_location_along_the_normal(tmp_path):
    geometry = Geometry(
        spacing=(2.0, 3.0, 4.0), orientation=(0, 1, 0, 0, 0, -1), origin=(10, 20, 30)
    )
    made = make_series(tmp_path, keys={"SliceLocation": [0, 4]}, geometry=geometry)
    first, second = (pydicom.dcmread(file) for file in made.files)
    assert list(first.ImagePositionPatient) == [10, 20, 30]
    assert list(second.ImagePositionPatient) == [6, 20, 30]  # (0,1,0) x (0,0,-1) = (-1,0,0)
    assert list(first.PixelSpacing) == [3.0, 2.0]  # between rows, then between columns
    # One column further is along the direction of the rows (PS3.3 C.7.6.2.1.1).
    np.testing.assert_allclose(made.affine @ [1, 0, 0, 1], [10, 22, 30, 1])
    np.testing.assert_allclose(made.affine @ [0, 1, 1, 1], [6, 20, 27, 1])


def test_rescale_per_frame(tmp_path):
    made = make_series(tmp_path, slope=np.array([[1], [2], [0.5]]), intercept=-7)
    for i, file in enumerate(made.files):
        dataset = pydicom.dcmread(file)
        real = dataset.pixel_array.T * dataset.RescaleSlope + dataset.RescaleIntercept
        np.testing.assert_array_equal(real, made.values[i, 0])
    assert dataset.RescaleSlope == 0.5


def test_no_rescale_where_none_is_asked_for(tmp_path):
    assert "RescaleSlope" not in pydicom.dcmread(make_series(tmp_path).files[0])


def test_gaps(tmp_path):
    made = make_series(
        tmp_path, keys={"SliceLocation": [0, 5], "EchoTime": [1, 2]}, drop=[1, (1, 0, 0)]
    )
    assert len(made.files) == len(list(tmp_path.iterdir())) == 2
    assert [u is None for u in made.uids.ravel()] == [False, True, True, False]
    assert np.isnan(made.values[0, 1]).all()
    assert not np.isnan(made.values[0, 0]).any()
    assert made.frame_numbers.ravel().tolist() == [1, 0, 0, 1]


def test_shuffled_names_hide_the_order_only(tmp_path):
    plain = make_series(tmp_path / "a", keys={"SliceLocation": list(range(9))})
    mixed = make_series(tmp_path / "b", keys={"SliceLocation": list(range(9))}, shuffle=3)
    assert [f.name for f in plain.files] == sorted(f.name for f in plain.files)
    assert [f.name for f in mixed.files] != sorted(f.name for f in mixed.files)
    assert [f.read_bytes() for f in plain.files] == [f.read_bytes() for f in mixed.files]


def test_jitter_stays_within_bounds_and_moves_the_position(tmp_path):
    made = make_series(tmp_path, jitter={"SliceLocation": 1e-6}, seed=4)
    for nominal, dataset in zip([0, 5, 10], made.datasets, strict=True):
        assert 0 < abs(dataset.SliceLocation - nominal) <= 1e-6
        assert dataset.ImagePositionPatient[2] == pytest.approx(40 + nominal, abs=2e-6)


def test_values_per_frame_and_header_edits(tmp_path):
    made = make_series(
        tmp_path / "a",
        per_frame={
            "AcquisitionTime": np.array([[1.0], [2.5], [4.0]]),
            "ImageOrientationPatient": np.tile([0, 1, 0, 0, 0, 1], (3, 1, 1)),
            (0x0019, 0x1011): np.array([["a"], ["b"], ["c"]]),
        },
        header={"PatientID": "X", "EchoTime": None, (0x0019, 0x1012): 5},
    )
    found = [pydicom.dcmread(file) for file in made.files]
    assert [d.AcquisitionTime for d in found] == ["000001.000000", "000002.500000", "000004.000000"]
    assert list(found[2].ImageOrientationPatient) == [0, 1, 0, 0, 0, 1]
    assert [d[0x0019, 0x1011].value for d in found] == ["a", "b", "c"]
    assert found[0][0x0019, 0x1012].value == 5
    assert found[0].PatientID == "X"
    assert "EchoTime" not in found[0]

    def by_index(dataset, index):
        dataset.InstanceNumber = 100 + index[0]

    made = make_series(tmp_path / "b", header=by_index)
    assert [pydicom.dcmread(f).InstanceNumber for f in made.files] == [100, 101, 102]


def test_private_key(tmp_path):
    made = make_series(tmp_path, keys={(0x0019, 0x1011): [1.5, 2.5]})
    assert made.dims[0] == "(0019,1011)"
    assert [d[0x0019, 0x1011].value for d in map(pydicom.dcmread, made.files)] == [1.5, 2.5]


def test_the_seed_decides_everything(tmp_path):
    one = make_series(tmp_path / "1", seed=1)
    same = make_series(tmp_path / "2", seed=1)
    other = make_series(tmp_path / "3", seed=2)
    assert [f.read_bytes() for f in one.files] == [f.read_bytes() for f in same.files]
    assert one.datasets[0].SeriesInstanceUID != other.datasets[0].SeriesInstanceUID
    assert (one.pixels != other.pixels).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pixels": np.zeros((2, 2))}, r"shape \(2, 2\), but the grid needs \(3, 1, 16, 12\)"),
        ({"pixels": np.full((3, 1, 16, 12), 70000)}, "do not fit 16 bits"),
        ({"transfer_syntax": "loud"}, "'loud'"),
        ({"transfer_syntax": JPEG2000}, "1.2.840.10008.1.2.4.91"),
        ({"modality": "XX"}, "'XX'"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_series(tmp_path, **arguments)


def test_transfer_syntax_by_uid(tmp_path):
    for uid in (ExplicitVRBigEndian, RLELossless):
        made = make_series(tmp_path / uid, transfer_syntax=uid)
        assert pydicom.dcmread(made.files[0]).file_meta.TransferSyntaxUID == uid


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_validator_finds_no_error(tmp_path, dciodvfy, modality, syntax):
    made = make_series(
        tmp_path, modality=modality, dtype="int16", bits_stored=12, transfer_syntax=syntax
    )
    assert dciodvfy(made.files[0]) == []


GRIDS = st.fixed_dictionaries(
    {
        "SliceLocation": st.lists(st.integers(-20, 20), min_size=1, max_size=3, unique=True),
        "EchoTime": st.lists(st.integers(1, 50), min_size=1, max_size=3, unique=True),
        "FlipAngle": st.lists(st.integers(1, 90), min_size=1, max_size=2, unique=True),
    }
)


@settings(max_examples=15)
@given(
    keys=GRIDS, n=st.integers(1, 2), seed=st.integers(0, 9), shuffle=st.none() | st.integers(0, 9)
)
def test_enhanced_says_what_its_classic_twin_says(tmp_path_factory, keys, n, seed, shuffle):
    folder = tmp_path_factory.mktemp("twins")
    arguments = {"keys": keys, "n": n, "seed": seed, "shape": (4, 3), "slope": 2.0, "intercept": -5}
    classic = make_series(folder, **arguments)
    enhanced = make_enhanced(folder, shuffle=shuffle, **arguments)
    np.testing.assert_array_equal(enhanced.values, classic.values)

    dataset = pydicom.dcmread(enhanced.files[0])
    assert dataset.NumberOfFrames == len(classic.files)
    stored = np.atleast_3d(dataset.pixel_array).reshape(-1, 3, 4)
    for twin, number in zip(classic.datasets, enhanced.frame_numbers.ravel(), strict=True):
        frame = dataset.PerFrameFunctionalGroupsSequence[number - 1]
        np.testing.assert_array_equal(stored[number - 1], twin.pixel_array)
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert position == twin.ImagePositionPatient
        assert frame.MREchoSequence[0].EffectiveEchoTime == twin.EchoTime
        assert frame.MRTimingAndRelatedParametersSequence[0].FlipAngle == twin.FlipAngle
        rescale = frame.PixelValueTransformationSequence[0]
        assert (rescale.RescaleSlope, rescale.RescaleIntercept) == (2, -5)


@pytest.mark.parametrize(
    "keys",
    [
        {"SliceLocation": [0, 5], "EchoTime": [2, 4, 6]},
        {"SliceLocation": [0, 5], "FlipAngle": [2, 4], "AcquisitionTime": [100.0, 200.0]},
        {"DiffusionBValue": [0, 100], "InversionTime": [5, 6]},
        {"SliceLocation": [0, 5], "TemporalPositionIndex": [1, 2]},
    ],
)
def test_enhanced_is_valid(tmp_path, dciodvfy, keys):
    assert dciodvfy(make_enhanced(tmp_path, keys=keys).files[0]) == []


def test_enhanced_refuses_what_has_no_place(tmp_path):
    with pytest.raises(ValueError, match="PatientWeight has no place"):
        make_enhanced(tmp_path, keys={"PatientWeight": [1, 2]})
