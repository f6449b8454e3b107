"""Affines of scanner files, beside those of SimpleITK, nibabel and dcm2niix.

SimpleITK reads the files of one volume, in our order, or one multi-frame file. The results of
dcm2niix lie beside the files, as NIfTI: other signs along x and y, and rows from the bottom up, so
that both are compared voxel by voxel, through patient coordinates.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dbdicom_xr as db
from dbdicom_xr.errors import DbdicomError, DicomWarning, GridError, MixedGeometry

nibabel = pytest.importorskip("nibabel")
sitk = pytest.importorskip("SimpleITK")

# How many must agree at the least; more may, as more can be read.
VOLUMES, SINGLE_SLICES, MULTI_FRAME, MOSAICS, FILES = 29, 24, 60, 26, 76


@pytest.fixture(scope="module")
def database(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All scanner files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DicomWarning)
        opened = db.database(testdata, index=tmp_path_factory.mktemp("index") / "index.sqlite")
        yield opened
        opened.close()


def itk_affine(image: Any) -> Any:
    """Return what ITK says of an image: its directions, spacing and origin."""
    directions = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(image.GetSpacing())[:3]
    affine[:3, 3] = np.array(image.GetOrigin())[:3]
    return affine


def one_per_place(stack: list[Any]) -> list[Any]:
    """Return the first frame at each place, in order along the normal."""
    found: dict[float, Any] = {}
    for frame in stack:
        directions = np.array(frame.ImageOrientationPatient)
        normal = np.cross(directions[:3], directions[3:])
        found.setdefault(round(float(normal @ frame.ImagePositionPatient), 3), frame)
    return [found[place] for place in sorted(found)]


def volumes_of(database: Any) -> Iterator[tuple[list[Any], Any]]:
    """Yield the frames of classic volumes, and the array of just these."""
    for series in database.series():
        try:
            stacks = series.stacks()
            array, header = series.array()
        except DbdicomError:
            continue  # no place in the patient, or no one array
        at = {frame: number for number, frame in enumerate(header)}
        for stack in stacks:
            frames = one_per_place([frame for frame in stack if frame.level == "instance"])
            if frames:
                yield frames, array.isel(n=[at[frame] for frame in frames])


@pytest.mark.filterwarnings("ignore::dbdicom_xr.errors.DicomWarning")
def test_series_as_itk_reads_them(database: Any) -> None:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    agreed = {"volumes": 0, "single slices": 0}
    for frames, array in volumes_of(database):
        try:
            affine, tilt = array.dicom.affine, array.dicom.tilt
        except GridError:
            continue
        if tilt > 1:
            continue  # ITK lets the slices lie along the normal, where they do not
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([frame.file for frame in frames])
        try:
            image = reader.Execute()
        except RuntimeError:
            continue  # Parametric Maps
        expected = itk_affine(image)
        if len(frames) == 1:  # ITK takes 1 mm for the step, or the thickness
            lengths = [np.linalg.norm(one[:3, 2]) for one in (affine, expected)]
            expected[:3, 2] *= lengths[0] / lengths[1]
        assert affine == pytest.approx(expected, abs=1e-3), frames[0].file
        agreed["single slices" if len(frames) == 1 else "volumes"] += 1
    assert agreed["volumes"] >= VOLUMES
    assert agreed["single slices"] >= SINGLE_SLICES


@pytest.mark.filterwarnings("ignore::dbdicom_xr.errors.DicomWarning")
def test_multi_frame_files_as_itk_reads_them(database: Any) -> None:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    agreed = 0
    for series in database.series():
        for instance in series.instances(NumberOfFrames=slice(2, None)):
            try:
                affine = instance.array().dicom.affine
            except DbdicomError:
                continue
            try:
                image = sitk.ReadImage(instance.file)
            except RuntimeError:
                continue
            if image.GetDimension() < 3:
                continue
            assert affine == pytest.approx(itk_affine(image), abs=1e-3), instance.file
            agreed += 1
    assert agreed >= MULTI_FRAME


@pytest.mark.filterwarnings("ignore")  # of nibabel
def test_files_as_nibabel_reads_them(database: Any) -> None:
    wrappers = pytest.importorskip("nibabel.nicom.dicomwrappers")
    agreed = {"mosaics": 0, "others": 0}
    for series in database.series():
        if series.Modality == ["RTDOSE"]:
            continue  # nibabel does not know their planes
        for instance in series.instances()[:2]:
            try:
                array = instance.array()
                affine = array.dicom.affine
            except DbdicomError:
                continue
            try:
                wrapper = wrappers.wrapper_from_file(instance.file)
                theirs = np.asarray(wrapper.affine, float)[:, [1, 0, 2, 3]]  # rows come first
            except wrappers.WrapperError:
                continue
            mosaic = type(wrapper).__name__ == "MosaicWrapper"
            # But for mosaics, nibabel counts slices against the normal.
            last = 0 if mosaic else array.sizes.get("frame", 1) - 1
            turn = np.diag([1.0, 1, 1 if mosaic else -1, 1])
            turn[2, 3] = last
            assert affine @ turn == pytest.approx(theirs, abs=1e-3), instance.file
            agreed["mosaics" if mosaic else "others"] += 1
    assert agreed["mosaics"] >= MOSAICS
    assert agreed["others"] >= FILES


# The results of dcm2niix: file, where the images are, their series, and which of them.
REFERENCES = [
    ("canon61/Ref/8000_DTI_PA-ALL_20d_cl.nii.gz", "canon61/cl", 8000, {}),
    ("canon61/Ref/8000_DTI_PA-ALL_20d_enh.nii.gz", "canon61/enh", 8000, {}),
    ("dcm_qa/Ref/ax_asc_35sl_6.nii", "dcm_qa/In", 6, {}),
    ("dcm_qa/Ref/ax_int_36sl_12.nii", "dcm_qa/In", 12, {}),
    ("dcm_qa/Ref/cor_int_36sl_15.nii", "dcm_qa/In", 15, {}),
    ("dcm_qa/Ref/fMRI_MB_asc_25.nii", "dcm_qa/In", 25, {}),
    ("dcm_qa/Ref/fMRI_MB_int_26.nii", "dcm_qa/In", 26, {}),
    ("dcm_qa/Ref/sag_desc_35sl_23.nii", "dcm_qa/In", 23, {}),
    ("enh/Ref/Siemens_REST1_w_SMS_PF7-8_6.nii", "enh/In", 6, {}),
    ("ge/Ref/Ax_DWI_TENSOR_R2_1.nii", "ge/In", 1, {}),
    ("mosaic/Ref/4_ep2d_Int.nii", "mosaic/In", 4, {}),
    ("mosaic/Ref/5_ep2d_Int_HF.nii", "mosaic/In", 5, {}),
    ("mosaic/Ref/9_cmrr_Int_HF.nii", "mosaic/In", 9, {}),
    ("nih/Ref/DCM2NIIX_regression_test_4.nii", "nih/In/20180918GE", 4, {}),
    ("nih/Ref/DCM2NIIX_regression_test_6.nii", "nih/In/20180918GE", 6, {}),
    ("nih/Ref/EPI_PE=AP_3.nii", "nih/In/20180918Si", 3, {}),
    ("nih/Ref/EPI_PE=LR_6.nii", "nih/In/20180918Si", 6, {}),
    ("nih/Ref/EPI_PE=PA_4.nii", "nih/In/20180918Si", 4, {}),
    ("nih/Ref/EPI_PE=RL_5.nii", "nih/In/20180918Si", 5, {}),
    ("philips/Ref/EPI_asc_CLEAR_201.nii", "philips/In", 201, {}),
    ("philips_enh/Ref/1901_WIP_3DpCASL_cl.nii.gz", "philips_enh/cl", 1901, {}),
    ("philips_enh/Ref/1901_WIP_3DpCASL_enh_real.nii.gz", "philips_enh/enh", 1901, {}),
    *(
        (
            f"philips_enh/Ref/2001_WIP_fcMRI_Field_Mapping_{kind}_e{echo}{suffix}.nii.gz",
            f"philips_enh/{kind}", 2001, {"EchoTime": time, "image_type": image_type},
        )
        for kind in ("cl", "enh")
        for echo, time in ((1, 2.3), (2, 4.6))
        for suffix, image_type in (("", "MAGNITUDE"), ("_ph", "PHASE"))
    ),
    ("uih/Ref/dti_tra_dir16_PA_rot_12_132222.nii", "uih/In", 12, {}),
    ("xa30/Ref/11_DWI_dir80_PA.nii", "xa30/In", 11, {}),
    ("xa30/Ref/14_DWI_dir80_PA.nii", "xa30/In", 14, {}),
    ("xa30/Ref/16_DWI_dir80_PA.nii", "xa30/In", 16, {}),
    ("xa30/Ref/25_asl_2d_tra.nii", "xa30/In", 25, {}),
    ("xa30/Ref/8_gre_field_mapping_e1.nii", "xa30/In", 8, {"EchoTime": 10}),
    ("xa30/Ref/8_gre_field_mapping_e2.nii", "xa30/In", 8, {"EchoTime": 12.46}),
    ("xa30/Ref/9_gre_field_mapping_e2_ph.nii", "xa30/In", 9, {}),
]  # fmt: skip


def frames_in(database: Any, folder: Path, number: int, filters: dict[str, Any]) -> Any:
    """Return one frame per place of a series in a folder, as numbers in the array beside them."""
    for series in database.series(SeriesNumber=number):
        inside = {file for file in series.files() if Path(file).is_relative_to(folder)}
        if inside:
            (stack,) = series.stacks(filters)
            array, header = series.array(rescale=False)
            at = {frame: n for n, frame in enumerate(header)}
            chosen = one_per_place([frame for frame in stack if frame.file in inside])
            return [at[frame] for frame in chosen], array
    raise AssertionError(f"there is no series {number} in {folder}")


@pytest.mark.parametrize(
    ("file", "folder", "number", "filters"), REFERENCES, ids=[row[0] for row in REFERENCES]
)
@pytest.mark.filterwarnings("ignore::dbdicom_xr.errors.DicomWarning")
def test_volumes_as_dcm2niix_writes_them(
    testdata: Path, database: Any, file: str, folder: str, number: int, filters: dict[str, Any]
) -> None:
    reference = nibabel.load(testdata / file)
    # The classic and the enhanced images of one scan are one series.
    frames, array = frames_in(database, testdata / folder, number, filters)
    volume = array.isel(n=frames)
    ras = volume.dicom.get_affine("RAS")
    voxels = volume.transpose("x", "y", "n", ...).to_numpy()
    # From our voxels to those of dcm2niix: the same grid, with axes turned round.
    between = np.linalg.inv(reference.affine) @ ras
    turned = np.round(between[:3, :3]).astype(int)
    assert np.abs(turned).tolist() == np.eye(3, dtype=int).tolist()
    size = np.array(reference.shape[:3])
    assert voxels.shape[:3] == tuple(size)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size])).reshape(3, -1)
    moved = between[:3, :3] @ corners + between[:3, 3:]
    flipped = [0 if sign > 0 else n - 1 for sign, n in zip(turned.diagonal(), size, strict=True)]
    expected = turned @ corners + np.array(flipped)[:, None]
    # NIfTI keeps float32, and dcm2niix the mean spacing.
    assert moved == pytest.approx(expected, abs=2e-3)
    steps = tuple(slice(None, None, int(sign)) for sign in turned.diagonal())
    same = np.asarray(reference.dataobj.get_unscaled())[steps]
    if same.dtype.fields:  # colour
        same = np.stack([same[name] for name in same.dtype.names], axis=-1)
        assert (same == voxels).all()
        return
    same = same.reshape(*same.shape[:3], -1)
    equal = [(same[..., t] == voxels).all() for t in range(same.shape[3])]
    assert any(equal), "no volume of the NIfTI file has these voxels at these places"


# What dicom2nifti keeps as examples of what makes no NIfTI file.
FAILING = {
    "sliceincrement/001": (r"10 mm from slice 2 .*1 seems to be missing, at 33\.1075 mm", None),
    "sliceincrement/002": (r"1\.499 mm from slice 2 .*1 seems to be missing, at -133 mm", None),
    "sliceorientation/001": (r"stack 0 axial \(2 frames\), stack 1 sagittal \(2 frames\)", None),
    "notavolume/001": (r"4 frames at each of 1 places", None),
    "gantrytilting/001": (None, 14),
}


@pytest.mark.parametrize("folder", FAILING)
def test_what_makes_no_grid_is_said(testdata: Path, tmp_path: Path, folder: str) -> None:
    message, tilt = FAILING[folder]
    where = testdata / "dicom2nifti" / "failing" / folder
    with db.database(where, index=tmp_path / "index.sqlite") as database:
        (series,) = database.series()
        if message is not None:
            with pytest.raises(GridError, match=message):
                series.volume()
        else:
            with pytest.warns(MixedGeometry, match=f"{tilt} degrees"):
                array, affine = series.volume()
            for k, frame in enumerate(array.dicom.header):
                place = (affine @ [0, 0, k, 1])[:3]
                assert place == pytest.approx(frame.ImagePositionPatient, abs=1e-3)


def test_two_slices_are_a_volume(testdata: Path, tmp_path: Path) -> None:
    where = testdata / "dicom2nifti" / "failing" / "slicecount" / "001"
    with db.database(where, index=tmp_path / "index.sqlite") as database:
        (series,) = database.series()
        array, affine = series.volume()
    assert array.shape == (256, 256, 2)
    assert affine[:3, 2].tolist() == pytest.approx([-1, 0, 0])  # along the normal
