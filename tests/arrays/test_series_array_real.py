"""Arrays of real scanner files, against pydicom, SimpleITK and dcm2niix."""

from __future__ import annotations

import warnings

import nibabel
import numpy as np
import pydicom
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DicomWarning, LeftOut, PixelError
from tests.arrays.opened import by_order, real_values

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def everything(testdata, tmp_path_factory):
    return db.database(testdata, index=tmp_path_factory.mktemp("index"))


@pytest.fixture(scope="module")
def opened(testdata, tmp_path_factory):
    """Open the only series below a folder of the test data."""
    made = {}

    def one(*parts, number=None):
        if parts not in made:
            folder = testdata.joinpath(*parts)
            made[parts] = db.database(folder, index=tmp_path_factory.mktemp("index"))
        filters = {} if number is None else {"SeriesNumber": number}
        (series,) = made[parts].series(**filters)
        return series

    return one


# -- every kind of single-frame image ----------------------------------------------------------


def readable(path):
    """Return the pixels as pydicom has them, None where it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        if dataset.get("NumberOfFrames") not in (None, 1) or "ModalityLUTSequence" in dataset:
            return None
        if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
            return None
        try:
            return real_values(dataset)
        except Exception:
            return None


def test_single_frame_images_are_as_pydicom_reads_them(everything):
    compared = 0
    refused = []
    syntaxes = set()
    for series in everything.series():
        instances = series.instances()
        for instance in instances[:: max(1, len(instances) // 3)]:
            expected = readable(instance.file)
            if expected is None:
                continue
            try:
                array = instance.array()
                values = array.compute(scheduler="sync").values
            except PixelError as error:
                refused.append(str(error))
                continue
            if "frame" in array.dims:  # a mosaic, whose tiles test_mosaic looks at
                continue
            if instance.DoseGridScaling is not None:
                expected = expected * instance.DoseGridScaling
            assert values.shape == expected.shape, instance.file
            if values.dtype == "float32":
                step = abs(instance.RescaleSlope or instance.DoseGridScaling or 1)
                np.testing.assert_allclose(values, expected, rtol=0, atol=step / 100)
            else:
                np.testing.assert_array_equal(values, expected, err_msg=instance.file)
            compared += 1
            syntaxes.add(instance.TransferSyntaxUID)
    assert compared > 200
    assert len(syntaxes) > 10
    # Two images of nibabel were made smaller, and still claim 48 tiles.
    known = ("PALETTE COLOR", "48 tiles, 7 in a row, do not fit an image of 256 rows")
    assert [text for text in refused if not any(word in text for word in known)] == []


# -- against SimpleITK -------------------------------------------------------------------------

ITK = [
    ("dicom2nifti", "failing", "gantrytilting", "001"),
    ("dicom2nifti", "ge", "fmri", "001"),
    ("dicom2nifti", "generic", "compressed", "001"),
    ("dicom2nifti", "hitachi", "anatomical", "001"),
    ("philips", "In", "Magdeburg_2014", "fmri"),
    ("ge", "In"),
]


@pytest.mark.parametrize("parts", ITK, ids="/".join)
def test_values_are_those_of_simpleitk(opened, parts):
    sitk = pytest.importorskip("SimpleITK")
    array, header = opened(*parts).array()
    values = array.compute().values
    for frame, instance in zip(values, header, strict=True):
        image = sitk.GetArrayFromImage(sitk.ReadImage(instance.file))[0]
        np.testing.assert_allclose(frame.T, image, rtol=1e-6, atol=1e-6)
    image = sitk.ReadImage(header[0].file)
    np.testing.assert_allclose(array.x[1], image.GetSpacing()[0], rtol=1e-5)
    np.testing.assert_allclose(array.y[1], image.GetSpacing()[1], rtol=1e-5)


# -- against dcm2niix --------------------------------------------------------------------------


def dicom_affine(header):
    """Return the affine of the slices along the first dimension, to RAS."""
    slices = header.reshape(len(header), -1)[:, 0]
    first, last = slices[0], slices[-1]
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(first.ImageOrientationPatient[:3], first.PixelSpacing[1])
    affine[:3, 1] = np.multiply(first.ImageOrientationPatient[3:], first.PixelSpacing[0])
    affine[:3, 3] = first.ImagePositionPatient
    away = np.subtract(last.ImagePositionPatient, first.ImagePositionPatient)
    affine[:3, 2] = away / (len(header) - 1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def turned(values, affine, reference):
    """Turn ``(x, y, z, ...)`` to the axes of a NIfTI image, whose affine says which these are."""
    to_voxels = np.linalg.inv(reference.affine) @ affine
    turn = np.round(to_voxels[:3, :3]).astype(int)
    np.testing.assert_allclose(to_voxels[:3, :3], turn, atol=2e-3)
    axes = [int(np.flatnonzero(row)[0]) for row in turn]
    values = values.transpose(*axes, *range(3, values.ndim))
    for axis, source in enumerate(axes):
        if turn[axis, source] < 0:
            values = np.flip(values, axis)
    return values


AGAINST = [
    ("nih/In/20180918GE/mr_0004", "auto", {}, "nih/Ref/DCM2NIIX_regression_test_4.nii"),
    ("nih/In/20180918GE/mr_0006", "auto", {}, "nih/Ref/DCM2NIIX_regression_test_6.nii"),
    ("canon61/cl", ["SliceLocation", "InstanceNumber"], {},
     "canon61/Ref/8000_DTI_PA-ALL_20d_cl.nii.gz"),
    ("canon61/enh", "auto", {}, "canon61/Ref/8000_DTI_PA-ALL_20d_enh.nii.gz"),
    ("ge/In", "auto", {}, "ge/Ref/Ax_DWI_TENSOR_R2_1.nii"),
    ("enh/In", "auto", {}, "enh/Ref/Siemens_REST1_w_SMS_PF7-8_6.nii"),
    ("xa30/In/11_DWI_dir80_PA", "auto", {}, "xa30/Ref/11_DWI_dir80_PA.nii"),
    ("xa30/In/14_DWI_dir80_PA", "auto", {}, "xa30/Ref/14_DWI_dir80_PA.nii"),
    ("xa30/In/16_DWI_dir80_PA", "auto", {}, "xa30/Ref/16_DWI_dir80_PA.nii"),
    ("xa30/In/25_asl_2d_tra", "auto", {}, "xa30/Ref/25_asl_2d_tra.nii"),
    ("xa30/In/8_gre_field_mapping", "auto", {"EchoTime": 0}, "xa30/Ref/8_gre_field_mapping_e1.nii"),
    ("xa30/In/8_gre_field_mapping", "auto", {"EchoTime": 1}, "xa30/Ref/8_gre_field_mapping_e2.nii"),
    ("philips_enh/cl", "auto", {}, "philips_enh/Ref/1901_WIP_3DpCASL_cl.nii.gz"),
    ("philips_enh/enh", "auto", {}, "philips_enh/Ref/1901_WIP_3DpCASL_enh_real.nii.gz"),
    *(("philips_enh/cl", "auto", {"EchoTime": echo, "image_type": phase},
       f"philips_enh/Ref/2001_WIP_fcMRI_Field_Mapping_cl_e{echo + 1}{'_ph' * phase}.nii.gz")
      for echo in (0, 1) for phase in (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "sortby", "part", "reference"), AGAINST, ids=[case[-1] for case in AGAINST]
)
def test_voxels_are_those_of_dcm2niix(opened, testdata, folder, sortby, part, reference):
    # dcm2niix has Philips' floating point values, which the header gives in private elements.
    stored = "2001" in reference
    number = int(reference.rpartition("/")[2][:4]) if "philips_enh" in folder else None
    series = opened(*folder.split("/"), number=number)
    array, header = by_order(series, sortby, rescale=not stored)
    assert array.dims[0] == "SliceLocation"
    array, header = array.isel(n=0, **part), header.isel(n=0, **part)
    image = nibabel.load(testdata / reference)
    values = array.transpose("x", "y", "SliceLocation", ...).values
    expected = image.dataobj.get_unscaled() if stored else np.asanyarray(image.dataobj)
    if expected.dtype.names:  # colours
        expected = np.stack([expected[name] for name in expected.dtype.names], axis=-1)
    np.testing.assert_allclose(turned(values, dicom_affine(header), image), expected, rtol=1e-5)


# -- one image, several encodings --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["j2k", "jpeg", "jpegls", "rle"])
def test_twins_in_other_encodings(opened, kind):
    original, _ = opened("dicom2nifti", "generic", "compressed", "001").array("auto")
    compressed, _ = opened("dicom2nifti", "generic", f"compressed_{kind}", "001").array("auto")
    np.testing.assert_array_equal(original, compressed)
    np.testing.assert_array_equal(original.SliceLocation, compressed.SliceLocation)


def test_an_archive_that_renumbered_private_blocks(opened):
    one, one_header = opened("agfa", "Siemens").array("auto")
    two, two_header = opened("agfa", "Agfa").array("auto")
    assert one.dims[:2] == ("SliceLocation", "TemporalPositionIdentifier")
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one.SliceLocation, two.SliceLocation)
    for name in ("EchoTime", "AcquisitionTime", "InstanceNumber", "ImagePositionPatient"):
        assert one_header.column(name).tolist() == two_header.column(name).tolist()


# -- classic and enhanced ----------------------------------------------------------------------


def test_five_hundred_and_twenty_classic_images_and_their_enhanced_twin(opened):
    classic, enhanced = opened("canon61", "cl"), opened("canon61", "enh")
    one, one_header = classic.array(["SliceLocation", "InstanceNumber"], align="order")
    two, two_header = enhanced.array(["SliceLocation", "InstanceNumber"], align="order")
    assert one.shape == two.shape == (40, 13, 1, 80, 80)
    assert one.dtype == two.dtype == "int16"
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one.InstanceNumber, two.InstanceNumber)
    np.testing.assert_allclose(np.diff(one.SliceLocation), np.diff(two.SliceLocation), atol=1e-4)
    np.testing.assert_array_equal(classic.array()[0], enhanced.array()[0])
    differing = set()
    both = set(classic.header.data_vars) & set(enhanced.header.data_vars)
    for name in sorted(both):
        first, second = one_header.column(name).ravel(), two_header.column(name).ravel()
        if not all(same(a, b) for a, b in zip(first, second, strict=True)):
            differing.add(name)
    assert len(both) > 60
    assert differing == DIFFERENT


def same(one, other):
    """Tell whether two header values say the same."""
    if isinstance(one, (list, float)) and isinstance(other, (list, float)):
        return np.shape(one) == np.shape(other) and np.allclose(
            one, other, rtol=1e-6, equal_nan=True
        )
    return one == other


# What the scanner itself wrote otherwise into the enhanced file: other objects at other times,
# numbers of acquisitions, and words that the standard changed (COL, COLUMN).
DIFFERENT = {
    "AcquisitionNumber", "ContentTime", "DiffusionGradientOrientation",
    "FileMetaInformationGroupLength", "ImageType", "InPlanePhaseEncodingDirection",
    "InstanceCreationTime", "MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID",
    "ParallelAcquisitionTechnique", "PixelBandwidth", "ReferencedImageSequence", "SOPClassUID",
    "TemporalPositionIndex",
}  # fmt: skip


def test_classic_slices_of_philips_run_the_other_way(opened):
    one, _ = opened("philips_enh", "cl", number=1901).array("SliceLocation")
    two, _ = opened("philips_enh", "enh", number=1901).array("SliceLocation")
    # Philips' own SliceLocation of classic images counts against the normal of the plane.
    np.testing.assert_array_equal(one, two[::-1])
    np.testing.assert_allclose(one.SliceLocation, -two.SliceLocation[::-1], atol=1e-3)


# -- what "auto" makes of real series ----------------------------------------------------------

AUTO = [
    ("nih/In/20180918GE/mr_0004", {"SliceLocation": 15, "InstanceNumber": 10}),
    ("canon61/cl", {"SliceLocation": 40, "DiffusionGradientOrientation": 13}),
    ("canon61/enh", {"SliceLocation": 40, "TemporalPositionIdentifier": 13}),
    ("ge/In", {"SliceLocation": 2, "InstanceNumber": 7}),
    ("enh/In", {"SliceLocation": 6, "TemporalPositionIdentifier": 4}),
    ("agfa/Siemens", {"SliceLocation": 25, "TemporalPositionIdentifier": 4}),
    ("philips/In/Magdeburg_2014/fmri", {"SliceLocation": 9, "TemporalPositionIdentifier": 3}),
    ("xa30/In/8_gre_field_mapping", {"SliceLocation": 33, "EchoTime": 2}),
    ("xa30/In/10_DWI_dir80_PA", {"SliceLocation": 39, "TemporalPositionIdentifier": 21}),
    ("xa30/In/25_asl_2d_tra", {"SliceLocation": 12, "TemporalPositionIdentifier": 7}),
    ("dicom2nifti/philips/dti/001", {"SliceLocation": 2, "DiffusionGradientOrientation": 4}),
    ("dicom2nifti/philips_enhanced/dti/001", {"SliceLocation": 8, "InstanceNumber": 4}),
    (
        "dicom2nifti/philips_enhanced/fmri/001",
        {"SliceLocation": 8, "TemporalPositionIdentifier": 4},
    ),
    ("dicom2nifti/failing/gantrytilting/001", {"SliceLocation": 4}),
    ("dcmstack", {"AcquisitionTime": 7}),
]  # fmt: skip


@pytest.mark.parametrize(("folder", "expected"), AUTO, ids=[case[0] for case in AUTO])
def test_auto(opened, folder, expected):
    array, header = by_order(opened(*folder.split("/")), "auto")
    grid = array.dims[: array.dims.index("n")]
    assert {name: array.sizes[name] for name in grid} == expected
    assert array.sizes["n"] == 1
    assert all(frame is not None for frame in header.ravel())


def test_auto_on_magnitude_and_phase_of_two_echoes(opened):
    with pytest.warns(DicomWarning, match="in several units .106 in mrad, 106 do not say"):
        array, _ = opened("philips_enh", "cl", number=2001).array("auto")
    assert dict(array.sizes) == {
        "SliceLocation": 53, "EchoTime": 2, "image_type": 2, "n": 1, "x": 80, "y": 80
    }  # fmt: skip
    assert array.image_type.values.tolist() == ["MAGNITUDE", "PHASE"]
    assert float(array.sel(image_type="PHASE").min()) == -3142.0


# -- positions along the normal, and the vendor's own ------------------------------------------

# Sign of the vendor's SliceLocation against the normal of the plane: not defined by the standard.
SIGNS = [
    ("nih/In/20180918GE/mr_0004", 1),
    ("canon61/cl", 1),
    ("dcmstack", 1),
    ("dicom2nifti/hitachi/anatomical/001", 1),
    ("philips/In/Magdeburg_2014/fmri", -1),
    ("dicom2nifti/philips/fmri/001", -1),
    ("dicom2nifti/ge/dti/002", -1),
]


@pytest.mark.parametrize(("folder", "sign"), SIGNS, ids=[case[0] for case in SIGNS])
def test_vendors_count_slices_along_the_normal_or_against_it(opened, folder, sign):
    _, header = opened(*folder.split("/")).array()
    rows, columns = np.split(np.array(header[0].ImageOrientationPatient), 2)
    along = np.array(header.ImagePositionPatient.tolist()) @ np.cross(rows, columns)
    written = header.SliceLocation
    slope, offset = np.polyfit(along, written, 1)
    assert slope == pytest.approx(sign, abs=1e-3)
    np.testing.assert_allclose(slope * along + offset, written, atol=2e-3)


# -- what has no array yet ---------------------------------------------------------------------

REFUSED = [
    ("xa30/In/99_Phoenix_Document", PixelError, "holds no images, but Enhanced SR Storage"),
]


@pytest.mark.parametrize(("folder", "error", "message"), REFUSED, ids=[c[0] for c in REFUSED])
def test_what_has_no_array_yet_says_so(opened, folder, error, message):
    with pytest.raises(error, match=message):
        opened(*folder.split("/")).array()


@pytest.mark.filterwarnings("ignore:.*in several units:dbdicom_xr.errors.DicomWarning")
def test_a_raw_data_object_among_the_images(opened):
    series = opened("philips_enh", "enh", number=2001)
    with pytest.warns(LeftOut, match=r"1 object has no pixels, such as .*Raw\.dcm"):
        array, _ = series.array("auto")
    assert dict(array.sizes) == {
        "SliceLocation": 53, "EchoTime": 2, "image_type": 2, "n": 1, "x": 80, "y": 80,
    }  # fmt: skip
    assert array.image_type.values.tolist() == ["MAGNITUDE", "PHASE"]
    image = max(series.instances(), key=lambda instance: instance.NumberOfFrames or 0)
    assert image.array().sizes["frame"] == 212


def test_a_real_world_value_map_of_a_scanner(testdata, tmp_path):
    folder = testdata / "pydicom-data" / "data"
    if not (folder / "eCT_Supplemental.dcm").exists():
        pytest.skip("no eCT_Supplemental.dcm")
    (instance,) = [
        instance
        for instance in db.database(folder, index=tmp_path).instances()
        if instance.file.endswith("eCT_Supplemental.dcm")
    ]
    stored = instance.array(rescale=False)
    np.testing.assert_array_equal(instance.array(rescale="RCBF"), stored.astype(float) - 1024)
    with pytest.raises(PixelError, match="no real world value map of the label 'MTT'"):
        instance.array(rescale="MTT")
