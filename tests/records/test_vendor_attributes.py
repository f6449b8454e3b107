"""What vendors spell in their own ways, against dcm2niix and on headers made here."""

from __future__ import annotations

import gzip
import io
import json
import math
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pandas as pd
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

import dbdicom_xr as db
from dbdicom_xr.index.table import Values
from dbdicom_xr.records.attributes.vendors.columns import unit_vector, work_out
from dbdicom_xr.records.attributes.vendors.csa import csa_diffusion
from dbdicom_xr.testing import Geometry, make_enhanced, make_series
from tests.data import testdata_folder

NAMES = ("image_type", "echo", "b_value", "gradient_direction")
Open = Callable[..., list[db.Series]]


@pytest.fixture(scope="module")
def opened(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Open the series below a folder of the test data."""
    made: dict[str, db.Database] = {}

    def all_of(folder: str, **filters: Any) -> list[db.Series]:
        if folder not in made:
            index = tmp_path_factory.mktemp("index")
            made[folder] = db.database(testdata / folder, index=index)
        return made[folder].series(**filters)

    yield all_of
    for database in made.values():
        database.close()


def frames(series: db.Series, *names: str) -> pd.DataFrame:
    """Return attributes, a row per frame, by InstanceNumber."""
    table = series.to_dataframe(*NAMES, *names)
    return table.astype(object).where(table.notna(), None)


# -- gradient tables of dcm2niix -----------------------------------------------------------------

# Folder, series, gradient table, image or side-car that tells where it lies, volumes.
GRADIENTS = [
    ("canon61/cl", 8000, "canon61/Ref/8000_DTI_PA-ALL_20d_cl", ".nii.gz", 13),
    ("canon61/enh", 8000, "canon61/Ref/8000_DTI_PA-ALL_20d_enh", ".nii.gz", 13),
    ("ge/In", 1, "ge/Ref/Ax_DWI_TENSOR_R2_1", ".nii", 7),
    ("uih/In", 12, "uih/Ref/dti_tra_dir16_PA_rot_12_132222", ".nii", 17),
    ("xa30/In", 10, "xa30/Ref/10_DWI_dir80_PA", ".json", 21),
]


def image_axes(path: Path) -> npt.NDArray[np.float64]:
    """Return the axes of an image in LPS, as columns, the first negated as FSL wants it."""
    if path.suffix == ".json":
        # dcm2niix stores rows from the last to the first.
        orientation = json.loads(path.read_text())["ImageOrientationPatientDICOM"]
        row, column = np.array(orientation[:3]), np.array(orientation[3:])
        axes = np.stack([row, -column, np.cross(row, column)], axis=1)
    else:
        axes = np.diag([-1.0, -1, 1]) @ nibabel.load(path).affine[:3, :3]
        axes /= np.linalg.norm(axes, axis=0)
    if np.linalg.det(axes) > 0:
        axes[:, 0] *= -1
    return axes


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "number", "name", "image", "volumes"), GRADIENTS, ids=[g[0] for g in GRADIENTS]
)
def test_gradients_are_those_of_dcm2niix(
    opened: Open, testdata: Path, folder: str, number: int, name: str, image: str, volumes: int
) -> None:
    reference = testdata / name
    expected_b = np.loadtxt(f"{reference}.bval")
    vectors = np.loadtxt(f"{reference}.bvec")
    expected = (image_axes(Path(f"{reference}{image}")) @ vectors).T
    assert expected.shape == (volumes, 3)

    (series,) = opened(folder, SeriesNumber=number)
    table = frames(series, "InstanceNumber").sort_values("InstanceNumber", kind="stable")
    found = list(
        dict.fromkeys(
            (row.b_value, None if row.gradient_direction is None else tuple(row.gradient_direction))
            for row in table.itertuples()
        )
    )
    np.testing.assert_allclose([b for b, _ in found], expected_b, atol=1e-3, rtol=0)
    for (_, direction), wanted in zip(found, expected, strict=True):
        if not wanted.any():
            assert direction is None
        else:
            np.testing.assert_allclose(direction, wanted, atol=1e-3, rtol=0)
            assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-5)
    assert len(found) == volumes


B_VALUES = [
    ("dicom2nifti/ge/dti/001", "dicom2nifti/ge/dti/001_ground_truth"),
    ("dicom2nifti/ge/dti/001_implicit", "dicom2nifti/ge/dti/001_implicit_ground_truth"),
    ("dicom2nifti/ge/fmri/001_implicit", "dicom2nifti/ge/fmri/001_implicit_ground_truth"),
    ("dicom2nifti/philips/dti/001", "dicom2nifti/philips/dti/001_ground_truth"),
    ("dicom2nifti/philips_enhanced/dti/001", "dicom2nifti/philips_enhanced/dti/001_ground_truth"),
    (
        "dicom2nifti/philips_enhanced/dti/001_implicit",
        "dicom2nifti/philips_enhanced/dti/001_implicit_ground_truth",
    ),
]


@pytest.mark.realdata
@pytest.mark.parametrize(("folder", "name"), B_VALUES, ids=[case[0] for case in B_VALUES])
def test_b_values_are_those_of_dicom2nifti(
    opened: Open, testdata: Path, folder: str, name: str
) -> None:
    (series,) = opened(folder)
    assert set(series.b_value) == set(np.loadtxt(testdata / f"{name}.bval").tolist())
    table = frames(series)
    assert len(table) in (8, 32)
    # dicom2nifti leaves directions of Philips in the patient.
    if "philips" in folder:
        vectors = np.loadtxt(testdata / f"{name}.bvec").T
        wanted = {tuple(np.round(v, 3) + 0.0) for v in vectors if v.any()}
        found = {tuple(np.round(v, 3) + 0.0) for v in series.gradient_direction}
        assert found == wanted
        assert len(found) == 3
    else:  # of GE, but nothing tells the phase encoding direction
        assert series.gradient_direction == []


# -- side-cars of dcm2niix -----------------------------------------------------------------------

FOLDERS = {"philips_enh": ("cl", "enh"), "canon61": ("cl", "enh")}
KINDS = {  # by series, where the name does not tell
    ("philips_enh", 1901): "PERFUSION",
    ("xa30", 11): "ADC",
    ("xa30", 14): "FA",
    ("xa30", 16): "TENSOR_B0",
}
# dcm2niix reads from the protocol that the phase is that of the second echo against the first; the
# series holds one echo time, and no number.
OTHER_ECHO = {("xa30", 9): 1}


def side_cars() -> list[Path]:
    root = testdata_folder()
    return [] if root is None else sorted(root.glob("*/Ref/*.json"))


@pytest.mark.realdata
@pytest.mark.parametrize("path", side_cars(), ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_side_car(opened: Open, path: Path) -> None:
    about = json.loads(path.read_text())
    top = path.parts[-3]
    parts = [part for part in FOLDERS.get(top, ()) if f"_{part}" in path.stem]
    folder = "/".join([top, *parts]) if parts else top
    found = opened(
        folder, SeriesNumber=about["SeriesNumber"], SeriesDescription=about["SeriesDescription"]
    )
    (series,) = found
    key = (top, about["SeriesNumber"])
    kind = KINDS.get(key, "PHASE" if path.stem.endswith("_ph") else "MAGNITUDE")
    table = frames(series, "EchoTime")
    times = table["EchoTime"].astype(float)
    chosen = table[(abs(times - 1000 * about["EchoTime"]) < 1e-3) & (table["image_type"] == kind)]
    assert len(chosen) > 0
    assert set(chosen["echo"]) == {OTHER_ECHO.get(key, about.get("EchoNumber", 1))}


@pytest.mark.realdata
def test_how_many_references_there_are(testdata: Path) -> None:
    assert len(side_cars()) == 39
    tables = {path.with_suffix("").relative_to(testdata) for path in testdata.rglob("*.bvec")}
    known = {Path(case[2]) for case in GRADIENTS} | {Path(case[1]) for case in B_VALUES}
    assert tables == known
    assert len(tables) == 11


# -- classic and enhanced ------------------------------------------------------------------------

TWINS = [("canon61", 8000, 520), ("philips_enh", 1901, 40), ("philips_enh", 2001, 212)]


@pytest.mark.realdata
@pytest.mark.parametrize(("folder", "number", "count"), TWINS)
def test_twins_have_the_same_columns(opened: Open, folder: str, number: int, count: int) -> None:
    columns = []
    for twin in ("cl", "enh"):
        (series,) = opened(f"{folder}/{twin}", SeriesNumber=number)
        table = frames(series, "ImagePositionPatient")
        table = table[table["ImagePositionPatient"].map(bool)]  # not the raw data beside them
        rows = [
            (*np.round(row[-1], 2).tolist(), *row[:3], *(np.round(row[3], 6) if row[3] else ()))
            for row in table[[*NAMES, "ImagePositionPatient"]].itertuples(index=False)
        ]
        columns.append(sorted(rows, key=repr))
    assert len(columns[0]) == count
    assert columns[0] == columns[1]


@pytest.mark.realdata
def test_nothing_in_all_files_makes_an_error(testdata: Path, opened: Open) -> None:
    count = 0
    for series in opened("."):
        for name in NAMES:
            assert isinstance(series[name], list)
        kinds = series.image_type
        assert all(isinstance(kind, str) for kind in kinds)
        assert all(isinstance(echo, int) and echo >= 1 for echo in series.echo)
        assert all(isinstance(b, float) and b >= 0 for b in series.b_value)
        for direction in series.gradient_direction:
            assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-5)
        count += 1
    assert count > 170


# -- headers made here ---------------------------------------------------------------------------

OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
V = [0.36, 0.48, 0.8]

Private = tuple[str, int, str, Any]  # creator, tag, VR, value


def one(
    folder: Path,
    elements: dict[str, Any],
    private: list[Private] = [],  # noqa: B006
    orientation: tuple[float, ...] = AXIAL,
) -> db.Instance:
    """Return an image with these elements."""

    def edit(dataset: Dataset, index: tuple[int, ...]) -> None:
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        for creator, tag, vr, value in private:
            if creator:
                block = dataset.private_block(tag >> 16, creator, create=True)
                block.add_new(tag & 0xFF, vr, value)
            else:
                if (0x0019, 0x0010) in dataset:
                    dataset.remove_private_tags()
                dataset.add_new(tag, vr, value)

    geometry = Geometry(orientation=orientation)
    make_series(folder, keys={"SliceLocation": [0.0]}, header=edit, geometry=geometry)
    (instance,) = db.database(folder).instances()
    return instance


def ge(b: Any, vector: list[float], phase: str | None = "COL") -> tuple[dict[str, Any], list[Any]]:
    elements = {"Manufacturer": "GE MEDICAL SYSTEMS", "InPlanePhaseEncodingDirection": phase}
    private = [("GEMS_PARM_01", 0x00431039, "IS", [b, 8, 0, 0])] if b is not None else []
    private += [("GEMS_ACQU_01", 0x001910BB + i, "DS", part) for i, part in enumerate(vector)]
    return elements, private


SIEMENS = "SIEMENS MR HEADER"
UIH = "Image Private Header"
PHILIPS = "Philips MR Imaging DD 001"
STANDARD = {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": V}

DIFFUSION: list[tuple[str, tuple[Any, ...], float | None, list[float] | None]] = [
    ("standard", (STANDARD,), 1000, V),
    ("not diffusion", ({},), None, None),
    ("empty", ({"DiffusionBValue": None},), None, None),
    ("b 0", ({**STANDARD, "DiffusionBValue": 0.0},), 0, None),
    ("b 0 with the zero vector",
     ({"DiffusionBValue": 0.0, "DiffusionGradientOrientation": [0.0] * 3},), 0, None),
    ("trace", ({"DiffusionBValue": 800.0, "DiffusionGradientOrientation": [0.0] * 3},), 800, None),
    ("isotropic", ({**STANDARD, "DiffusionDirectionality": "ISOTROPIC"},), 1000, None),
    ("no direction", ({**STANDARD, "DiffusionDirectionality": "NONE"},), 1000, None),
    ("b-matrix", ({**STANDARD, "DiffusionDirectionality": "BMATRIX"},), 1000, V),
    ("not of unit length", ({**STANDARD, "DiffusionGradientOrientation": [0.0, 0, -2]},), 1000,
     [0, 0, -1]),
    ("not a number", ({**STANDARD, "DiffusionGradientOrientation": [0.0, math.nan, 1]},), 1000,
     None),
    ("b is not a number", ({**STANDARD, "DiffusionBValue": math.inf},), None, None),
    ("negative", ({**STANDARD, "DiffusionBValue": -1.0},), None, None),
    # Siemens, in the patient, whatever the orientation
    ("siemens", ({}, [(SIEMENS, 0x0019100C, "IS", 700), (SIEMENS, 0x0019100E, "FD", V)], OBLIQUE),
     700, V),
    ("siemens trace", ({}, [(SIEMENS, 0x0019100C, "IS", 700),
                            (SIEMENS, 0x0019100D, "CS", "ISOTROPIC"),
                            (SIEMENS, 0x0019100E, "FD", V)]), 700, None),
    ("siemens b 0", ({}, [(SIEMENS, 0x0019100C, "IS", 0)]), 0, None),
    ("siemens without creator", ({"Manufacturer": "SIEMENS"}, [("", 0x0019100C, "IS", 700)]), 700,
     None),
    ("of nobody known", ({"Manufacturer": "ELSE"}, [("", 0x0019100C, "IS", 700)]), None, None),
    # Philips, in the patient: right-left, anterior-posterior, feet-head
    ("philips", ({}, [("Philips Imaging DD 001", 0x20011003, "FL", 600.0),
                      *((PHILIPS, 0x200510B0 + i, "FL", v) for i, v in enumerate(V))], OBLIQUE),
     600, V),
    ("philips in upper case", ({}, [("PHILIPS IMAGING DD 001", 0x20011003, "FL", 600.0)]), 600,
     None),
    # UIH, along row, column and normal
    ("uih", ({}, [(UIH, 0x00651009, "FD", 995.5), (UIH, 0x00651037, "FD", [1.0, 0, 0])], OBLIQUE),
     995.5, [0.8, 0.6, 0]),
    ("uih column", ({}, [(UIH, 0x00651009, "FD", 995.5), (UIH, 0x00651037, "FD", [0.0, 1, 0])],
                    OBLIQUE), 995.5, [-0.6, 0.8, 0]),
    ("uih normal", ({}, [(UIH, 0x00651009, "FD", 995.5), (UIH, 0x00651037, "FD", [0.0, 0, 1])],
                    SAGITTAL), 995.5, [-1, 0, 0]),
    # GE, along frequency, phase and slice
    ("ge", (*ge(1000, V),), 1000, [-0.36, -0.48, 0.8]),
    ("ge oblique", (*ge(1000, [1, 0, 0]), OBLIQUE), 1000, [-0.8, -0.6, 0]),
    ("ge, phase along rows", (*ge(1000, V, "ROW"),), 1000, [-0.48, 0.36, 0.8]),
    ("ge sagittal", (*ge(1000, V), SAGITTAL), 1000, [0.8, 0.36, -0.48]),
    ("ge sagittal, rows", (*ge(1000, V, "ROW"), SAGITTAL), 1000, [0.8, 0.48, 0.36]),
    ("ge coronal", (*ge(1000, V), CORONAL), 1000, [-0.36, 0.8, -0.48]),
    ("ge coronal, rows", (*ge(1000, V, "ROW"), CORONAL), 1000, [0.48, 0.8, -0.36]),
    ("ge, phase unknown", (*ge(1000, V, None),), 1000, None),
    ("ge with several b-values", (*ge(1_000_000_750, V),), 750, [-0.36, -0.48, 0.8]),
    ("ge, very strong", (*ge(30000, V),), 30000, [-0.36, -0.48, 0.8]),
    ("ge b 0", (*ge(0, [0, 0, 0]),), 0, None),
    ("ge b 0 with several b-values", (*ge(1_000_000_000, [0, 0, 0]),), 0, None),
    ("ge, two shells", (*ge(3000, [0.0, 0.577350, 0.0]),), 1000, [0, -1, 0]),
    ("ge, weak shell", (*ge(3000, [0.0, 0.0, 0.408248]),), 500, [0, 0, 1]),
    ("ge, weakest shell", (*ge(1000, [0.0, 0.0, 0.04]),), 5, [0, 0, 1]),
    ("ge without creators",
     ({"Manufacturer": "GE MEDICAL SYSTEMS", "InPlanePhaseEncodingDirection": "COL"},
      [("", 0x00431039, "IS", [900, 8, 0, 0]),
       *(("", 0x001910BB + i, "DS", v) for i, v in enumerate(V))]), 900, [-0.36, -0.48, 0.8]),
    # Canon
    ("canon", ({**STANDARD, "Manufacturer": "CANON_MEC"},), 1000, V),
    ("canon, in a comment",
     ({"Manufacturer": "CANON_MEC", "ImageComments": "b=1500(0.445,0.000,0.895)"},), 1500, None),
    ("canon, another comment", ({"Manufacturer": "CANON_MEC", "ImageComments": "b"},), None, None),
    ("such a comment of others", ({"ImageComments": "b=1500(0.445,0.000,0.895)"},), None, None),
    ("hitachi", ({}, [("MMCPrivate", 0x00291030, "FD", 800.0)]), 800, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "b_value", "direction"),
    [case[1:] for case in DIFFUSION],
    ids=[case[0] for case in DIFFUSION],
)
def test_diffusion(
    tmp_path: Path,
    arguments: tuple[Any, ...],
    b_value: float | None,
    direction: list[float] | None,
) -> None:
    instance = one(tmp_path, *arguments)
    assert instance.b_value == b_value
    found = instance.gradient_direction
    if direction is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, direction, atol=2e-6)


def test_toshiba_leaves_out_b_values_of_0(tmp_path: Path) -> None:
    def edit(dataset: Dataset, index: tuple[int, ...]) -> None:
        dataset.Manufacturer = "TOSHIBA"
        dataset.ImageType = ["DERIVED" if index[0] == 2 else "ORIGINAL", "PRIMARY", "DIFFUSION"]
        if index[0] == 1:
            dataset.DiffusionBValue = 1000.0

    make_series(tmp_path, keys={"SliceLocation": [0.0, 1.0, 2.0]}, header=edit)
    (series,) = db.database(tmp_path).series()
    values = {frame.SliceLocation: frame.b_value for frame in series.frames()}
    assert values == {0: 0.0, 1: 1000.0, 2: None}


# -- series made here, judged by dcm2niix ----------------------------------------------------------

DIRECTIONS = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0], [-0.48, 0.36, 0.8]]
)
TURN = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
Elements = list[tuple[str, int, str, Any]]


def ge_elements(b: float, vector: list[float]) -> Elements:
    own = [("GEMS_PARM_01", 0x00431039, "IS", [int(b), 8, 0, 0]),
           ("GEMS_ACQU_01", 0x0019109C, "LO", "epi2")]  # fmt: skip
    return own + [("GEMS_ACQU_01", 0x001910BB + i, "DS", f"{v:.6f}") for i, v in enumerate(vector)]


def ge_shells(b: float, vector: list[float]) -> Elements:
    return ge_elements(3 * b, [part * 0.577350 for part in vector])


def ge_biased(b: float, vector: list[float]) -> Elements:
    return ge_elements(b + 1_000_000_000, vector)


def siemens_elements(b: float, vector: list[float]) -> Elements:
    own = [(SIEMENS, 0x0019100C, "IS", int(b))]
    return [*own, (SIEMENS, 0x0019100E, "FD", vector)] if b else own


def philips_elements(b: float, vector: list[float]) -> Elements:
    own = [("Philips Imaging DD 001", 0x20011003, "FL", b)]
    return own + [(PHILIPS, 0x200510B0 + i, "FL", part) for i, part in enumerate(vector)]


def uih_elements(b: float, vector: list[float]) -> Elements:
    return [(UIH, 0x00651009, "FD", b), (UIH, 0x00651037, "FD", vector)]


GE = "GE MEDICAL SYSTEMS"
JUDGED = [
    *((GE, ge_elements, plane, phase)
      for plane in (AXIAL, SAGITTAL, CORONAL) for phase in ("COL", "ROW")),
    (GE, ge_shells, AXIAL, "COL"),
    (GE, ge_biased, CORONAL, "COL"),
    *((maker, elements, SAGITTAL, "COL")
      for maker, elements in (("SIEMENS", siemens_elements), ("UIH", uih_elements),
                              ("Philips Medical Systems", philips_elements))),
]  # fmt: skip


@pytest.fixture(scope="session")
def dcm2niix() -> str:
    beside = Path(sys.executable).with_name("dcm2niix")
    program = str(beside) if beside.exists() else shutil.which("dcm2niix")
    if program is None:
        pytest.skip("no dcm2niix (pip install dcm2niix)")
    return program


@pytest.mark.parametrize(("maker", "elements", "plane", "phase"), JUDGED)
def test_dcm2niix_writes_these_gradients(
    dcm2niix: str,
    tmp_path: Path,
    maker: str,
    elements: Callable[[float, list[float]], Elements],
    plane: tuple[float, ...],
    phase: str,
) -> None:
    def edit(dataset: Dataset, index: tuple[int, ...]) -> None:
        dataset.remove_private_tags()
        dataset.Manufacturer, dataset.PatientPosition = maker, "HFS"
        dataset.InPlanePhaseEncodingDirection, dataset.ScanningSequence = phase, "EP"
        dataset.MRAcquisitionType, dataset.InstanceNumber = "2D", 3 * index[0] + index[1] + 1
        vector = [float(part) for part in DIRECTIONS[index[0]]]
        for creator, tag, vr, value in elements(1000.0 if index[0] else 0.0, vector):
            block = dataset.private_block(tag >> 16, creator, create=True)
            block.add_new(tag & 0xFF, vr, value)

    orientation = (*(TURN @ plane[:3]), *(TURN @ plane[3:]))
    keys = {"AcquisitionNumber": list(range(1, 7)), "SliceLocation": [0.0, 5.0, 10.0]}
    geometry = Geometry(orientation=tuple(map(float, orientation)), spacing=(2.0, 2.0, 5.0))
    folder, out = tmp_path / "in", tmp_path / "out"
    make_series(folder, keys=keys, geometry=geometry, shape=(8, 8), header=edit)
    out.mkdir()
    command = [dcm2niix, "-z", "n", "-f", "volume", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)

    (series,) = db.database(folder).series()
    table = frames(series, "AcquisitionNumber").drop_duplicates("AcquisitionNumber")
    table = table.sort_values("AcquisitionNumber")
    assert table["b_value"].tolist() == np.loadtxt(out / "volume.bval").tolist()
    found = [direction or [0.0, 0.0, 0.0] for direction in table["gradient_direction"]]
    expected = (image_axes(out / "volume.nii") @ np.loadtxt(out / "volume.bvec")).T
    np.testing.assert_allclose(found, expected, atol=1e-5)


# -- CSA headers ---------------------------------------------------------------------------------


def csa(**tags: tuple[str, list[str]]) -> bytes:
    """Return a CSA header of the second version."""
    result = b"SV10\4\3\2\1" + struct.pack("<2I", len(tags), 77)
    for name, (vr, items) in tags.items():
        result += struct.pack(
            "<64si4s3i", name.encode(), len(items), vr.encode(), 0, len(items), 77
        )
        for item in items:
            raw = item.encode() + b"\0"
            result += struct.pack("<4i", len(raw), len(raw), 77, len(raw))
            result += raw + b"\0" * (-len(raw) % 4)
    return result


CSA_CASES = [
    (csa(B_value=("IS", ["1000"]), DiffusionGradientDirection=("FD", ["0.36", "0.48", "0.8"])),
     1000, V),
    (csa(B_value=("IS", ["0"])), 0, None),
    (csa(B_value=("IS", ["1000"]), DiffusionDirectionality=("CS", ["ISOTROPIC"]),
         DiffusionGradientDirection=("FD", ["0.36", "0.48", "0.8"])), 1000, None),
    (csa(B_value=("IS", []), DiffusionGradientDirection=("FD", [])), None, None),
    (csa(Other=("LO", ["text"])), None, None),
    (b"", None, None),
    (b"SV10" + bytes(40), None, None),
    (csa(B_value=("IS", ["1000"]))[:-9], None, None),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "b_value", "direction"), CSA_CASES)
def test_csa_headers(
    tmp_path: Path, raw: bytes, b_value: float | None, direction: list[float] | None
) -> None:
    instance = one(
        tmp_path, {"Manufacturer": "SIEMENS"}, [("SIEMENS CSA HEADER", 0x00291010, "OB", raw)]
    )
    assert instance.b_value == b_value
    assert instance.gradient_direction == (None if direction is None else pytest.approx(direction))


def test_csa_headers_are_left_alone_where_elements_are_made_of_them(tmp_path: Path) -> None:
    raw = csa(B_value=("IS", ["1000"]))
    other = (SIEMENS, 0x00191008, "CS", "IMAGE NUM 4")
    instance = one(
        tmp_path,
        {"Manufacturer": "SIEMENS"},
        [("SIEMENS CSA HEADER", 0x00291010, "OB", raw), other],
    )
    assert instance.b_value is None


@pytest.mark.realdata
@pytest.mark.parametrize("stripped", [False, True])
def test_csa_headers_of_a_scanner(testdata: Path, tmp_path: Path, stripped: bool) -> None:
    for b in (0, 1000):
        packed = (testdata / "nibabel" / "data" / f"siemens_dwi_{b}.dcm.gz").read_bytes()
        dataset = pydicom.dcmread(io.BytesIO(gzip.decompress(packed)))
        if stripped:
            for tag in [element.tag for element in dataset if element.tag.group == 0x0019]:
                del dataset[tag]
        dataset.save_as(tmp_path / f"{b}.dcm")
    (series,) = db.database(tmp_path).series()
    assert series.b_value == [0, 1000]
    # What the test of nibabel has of the b-matrix, turned into the patient.
    (found,) = series.gradient_direction
    assert found == pytest.approx([0.99997450, 0.00507649, -0.005023611], abs=1e-4)
    assert series.image_type == ["MAGNITUDE"]


@given(st.binary(max_size=200) | st.builds(lambda b: csa()[:8] + b, st.binary(max_size=200)))
def test_damaged_csa_headers_say_nothing(raw: bytes) -> None:
    found = csa_diffusion(raw)
    assert found.b_value is None or math.isfinite(found.b_value)


# -- image_type ----------------------------------------------------------------------------------


def words(*more: str) -> dict[str, Any]:
    return {"ImageType": ["ORIGINAL", "PRIMARY", *more]}


GE_TYPE = ("GEMS_PARM_01", 0x0043102F, "SS")
PHILIPS_TYPE = (PHILIPS, 0x20051011, "CS")
IMAGE_TYPES: list[tuple[tuple[Any, ...], str | None]] = [
    ((words("M", "ND", "NORM"),), "MAGNITUDE"),
    ((words("P", "ND"),), "PHASE"),
    ((words("R", "NONE"),), "REAL"),
    ((words("M_SE", "M", "SE"),), "MAGNITUDE"),
    ((words("PHASE MAP", "P", "FFE"),), "PHASE"),
    ((words("VELOCITY MAP", "P", "PCA"),), "PHASE"),
    ((words("I_FFE", "I", "FFE"),), "IMAGINARY"),
    ((words("M", "DIXON", "WATER"),), "WATER"),
    ((words("W", "W", "DERIVED"),), "WATER"),
    ((words("F", "F", "DERIVED"),), "FAT"),
    ((words("IP", "IP", "DERIVED"),), "IN_PHASE"),
    ((words("OP", "OP", "DERIVED"),), "OUT_OF_PHASE"),
    ((words("M", "OPP_PHASE"),), "OUT_OF_PHASE"),
    ((words("M", "OUT_PHASE"),), "OUT_OF_PHASE"),
    ((words("M", "FAT_FRACTION"),), "FAT_FRACTION"),
    ((words("DIFFUSION", "ADC", "ND", "NORM"),), "ADC"),
    ((words("DIFFUSION", "TRACEW", "ND"),), "TRACE"),
    ((words("DIFFUSION", "FA"),), "FA"),
    ((words("T1 MAP", "T1", "UNSPECIFIED"),), "T1_MAP"),
    ((words("T2_STAR MAP"),), "T2_STAR_MAP"),
    # a contrast is no map
    ((words("T1", "NONE"),), "T1"),
    (({**words("T1", "NONE"), "ComplexImageComponent": "MAGNITUDE"},), "MAGNITUDE"),
    (({**words("PERFUSION", "NONE"), "ComplexImageComponent": "REAL"},), "REAL"),
    (({**words("PERFUSION", "NONE"), "ComplexImageComponent": "REAL"},
      [(*PHILIPS_TYPE, "PERFUSION")]), "PERFUSION"),
    ((words("PERFUSION_FFE", "PERFUSION", "FFE"), [(*PHILIPS_TYPE, "PERFUSION")]), "PERFUSION"),
    ((words("T1", "NONE"), [(*PHILIPS_TYPE, "T1")]), "T1_MAP"),
    ((words("OTHER"), [(*PHILIPS_TYPE, "P")]), "PHASE"),
    ((words("OTHER"), [(*PHILIPS_TYPE, "W")]), "WATER"),
    ((words("OTHER"), [(*PHILIPS_TYPE, "UNSPECIFIED")]), "OTHER"),
    (({**words("DIFFUSION", "ADC"), "ComplexImageComponent": "MAGNITUDE"},), "ADC"),
    (({**words("M", "NONE"), "ComplexImageComponent": "MIXED"},), "MAGNITUDE"),
    ((words("OTHER"), [(*GE_TYPE, 0)]), "MAGNITUDE"),
    ((words("OTHER"), [(*GE_TYPE, 1)]), "PHASE"),
    ((words("OTHER"), [(*GE_TYPE, 2)]), "REAL"),
    ((words("EPI", "NONE"), [(*GE_TYPE, 3)]), "IMAGINARY"),
    ((words("OTHER"), [(*GE_TYPE, 4)]), "OTHER"),
    ((words("GDC"),), "MAGNITUDE"),
    ((words("GDC", "OTHER"),), "GDC"),
    (({**words("DIFFUSION", "NONE", "ND", "MOSAIC"), "Manufacturer": "SIEMENS"},), "MAGNITUDE"),
    (({**words("DIFFUSION", "NONE", "ND"), "Manufacturer": "ELSE"},), "DIFFUSION"),
    (({**words("DIFFUSION", "CALC_BVALUE"), "Manufacturer": "SIEMENS"},), "DIFFUSION"),
    # letters of other modalities mean other things
    (({**words("AXIAL", "P"), "Modality": "CT"},), "AXIAL"),
    (({**words("F"), "Modality": "PT"},), "F"),
    ((words(),), None),
    (({"ImageType": None},), None),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected"), IMAGE_TYPES)
def test_image_type(tmp_path: Path, arguments: tuple[Any, ...], expected: str | None) -> None:
    assert one(tmp_path, *arguments).image_type == expected


# -- echo ----------------------------------------------------------------------------------------

ECHOES = [
    ([5.0, 2.3, 7.7], [2, 1, 3], [2, 1, 3]),
    ([5.0, 2.3, 7.7], [1, 1, 1], [2, 1, 3]),  # some scanners count nothing
    ([5.0, 2.3, 7.7], [3, 2, 1], [2, 1, 3]),  # nor do numbers against the times
    ([5.0, 2.3, 7.7], [None, 1, 2], [2, 1, 3]),
    ([5.0, 2.3, 7.7], [None, None, None], [2, 1, 3]),
    ([4.6, 4.6, 4.6], [2, 2, 2], [2, 2, 2]),  # the second echo alone
    ([4.6, 9.2, 4.6], [2, 4, 2], [2, 4, 2]),
    ([4.6, 4.6, 4.6], [1, 2, 1], [1, 2, 1]),  # scanners that write the first time everywhere
    ([12.46, 10.0, 12.4600001], [None, None, None], [2, 1, 2]),
    ([None, 10.0, 20.0], [None, None, None], [None, 1, 2]),
    ([None, None, None], [1, 2, None], [1, 2, None]),
    ([None, None, None], [None, None, None], [None, None, None]),
    ([1.0, 2.0, 3.0], [0, 1, 2], [1, 2, 3]),
]


@pytest.mark.parametrize(("times", "numbers", "expected"), ECHOES)
def test_echo(
    tmp_path: Path,
    times: list[float | None],
    numbers: list[int | None],
    expected: list[int | None],
) -> None:
    def edit(dataset: Dataset, index: tuple[int, ...]) -> None:
        dataset.EchoTime, dataset.EchoNumbers = times[index[0]], numbers[index[0]]

    make_series(tmp_path, keys={"SliceLocation": [0.0, 1.0, 2.0]}, header=edit)
    (series,) = db.database(tmp_path).series()
    found = {frame.SliceLocation: frame.echo for frame in series.frames()}
    assert [found[float(i)] for i in range(3)] == expected
    assert series.echo == sorted({number for number in expected if number is not None})


# -- everywhere ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_series, make_enhanced])
def test_they_are_found_sorted_by_and_named(tmp_path: Path, make: Callable[..., Any]) -> None:
    keys = {"SliceLocation": [0.0, 5.0], "DiffusionBValue": [0.0, 500.0, 1000.0]}
    made = make(tmp_path, keys=keys, shuffle=3)
    (series,) = db.database(tmp_path).series(b_value=1000)
    assert series.b_value == [0, 500, 1000]
    assert len(series.frames(b_value=slice(400, None))) == 4
    assert len(series.frames(b_value=None)) == 0
    assert len(series.frames(gradient_direction=None, image_type="MAGNITUDE", echo=1)) == 6
    array, header = series.array(["SliceLocation", "b_value"])
    assert array.dims[:2] == ("SliceLocation", "b_value")
    np.testing.assert_array_equal(array.values, made.values)
    assert array.b_value.attrs == {"long_name": "Diffusion b-value", "units": "s/mm2"}
    assert header.b_value[1, :, 0].tolist() == [0, 500, 1000]
    assert header[0, 1, 0].b_value == 500


def test_directions_are_coordinates(tmp_path: Path) -> None:
    directions = [[1.0, 0, 0], [0.0, 1, 0], [0.0, 0, 1]]

    def edit(dataset: Dataset, index: tuple[int, ...]) -> None:
        dataset.DiffusionBValue = 1000.0
        dataset.DiffusionGradientOrientation = directions[index[1]]

    keys = {"SliceLocation": [0.0, 5.0], "InstanceNumber": [1, 2, 3]}
    made = make_series(tmp_path, keys=keys, header=edit)
    (series,) = db.database(tmp_path).series()
    array, header = series.array(["SliceLocation", "gradient_direction"])
    assert array.shape == (2, 3, 1, 16, 12)
    order = [directions.index(v) for v in header.gradient_direction[0, :, 0]]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_array_equal(array.values, made.values[:, order])
    assert array.gradient_direction.attrs["long_name"].startswith("Diffusion Gradient Direction")


# -- how they are worked out ---------------------------------------------------------------------


@given(st.lists(st.tuples(*[st.integers(-1, 3)] * 3), min_size=1, max_size=30))
def test_combinations_are_worked_out_once(rows: list[tuple[int, ...]]) -> None:
    pool = ["a", None, "c", "d"]
    columns = [Values(pool, np.array(codes, np.int32)) for codes in zip(*rows, strict=True)]
    seen = []

    def read(*values: Any) -> tuple[Any, ...]:
        seen.append(values)
        return values

    result = work_out([columns[0], None, *columns[1:]], len(rows), read)
    assert result is not None
    expected = [tuple(None if code < 0 else pool[code] for code in row) for row in rows]
    assert [(v[0], *v[2:]) for v in result.as_objects()] == expected
    assert len(seen) == len(set(rows))


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3))
def test_unit_vectors(parts: list[float]) -> None:
    found = unit_vector(parts)
    length = math.hypot(*parts)
    if length < 1e-6:
        assert found is None
    else:
        assert found == pytest.approx([part / length for part in parts], abs=1e-9)


def test_a_loop_over_frames_works_columns_out_once(tmp_path: Path) -> None:
    keys = {"DiffusionBValue": np.arange(20.0).tolist(), "SliceLocation": np.arange(50.0).tolist()}
    make_enhanced(tmp_path, keys=keys, shape=(2, 2))
    (series,) = db.database(tmp_path).series()
    everything = series.frames()
    start = time.perf_counter()
    for name in NAMES:
        series.frames(**{name: "nothing" if name == "image_type" else 1e9})
    first = time.perf_counter() - start
    assert first < 1  # 10 ms here
    start = time.perf_counter()
    values = [frame.b_value for frame in everything]
    assert sorted(values) == sorted(np.repeat(np.arange(20.0), 50))
    assert time.perf_counter() - start < 1  # 5 ms here; the whole column for each frame: 2 s
