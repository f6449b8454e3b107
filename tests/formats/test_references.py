"""``export_as_nifti`` of scanner files, beside the results of dcm2niix that come with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data import testdata_folder
from tests.formats.references import candidates, compare, export_all, gradients, sidecars

pytest.importorskip("nibabel")
pytestmark = [pytest.mark.realdata, pytest.mark.slow]

REFERENCES, GRADIENTS = 38, 5


@pytest.fixture(scope="module")
def exported(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return export_all(testdata, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def comparisons(testdata: Path, exported: dict[str, list[Path]]) -> list[Any]:
    references = sorted(testdata.glob("*/Ref/*.nii*"))
    return [compare(path, candidates(path, exported)) for path in references]


def test_voxels_and_affines_are_those_of_dcm2niix(comparisons: list[Any]) -> None:
    missed = [one.reference.name for one in comparisons if not one.is_reproduced]
    assert (missed, len(comparisons)) == ([], REFERENCES)
    # All but the phase of Philips, whose slope dcm2niix rounds, to the last bit.
    exact = [one for one in comparisons if one.steps < 1e-2]
    assert len(exact) == REFERENCES - 4


def test_gradients_are_those_of_dcm2niix(
    testdata: Path, exported: dict[str, list[Path]], comparisons: list[Any]
) -> None:
    found = {one.reference.name: one.gradients for one in comparisons if one.gradients}
    # Of this series there are gradients only.
    start = testdata / "xa30" / "Ref" / "10_DWI_dir80_PA"
    (own,) = [f for f in exported["xa30/In"] if f.name.startswith("10_")]
    found[start.name] = gradients(start, own.with_name(own.name.removesuffix(".nii.gz")))
    far = {name: off for name, off in found.items() if max(off.values()) > 1e-3}
    assert (far, len(found)) == ({}, GRADIENTS)


def test_side_cars_agree_where_both_tell(comparisons: list[Any]) -> None:
    import nibabel

    counts = dict.fromkeys(("RepetitionTime", "PhaseEncodingDirection", "SliceTiming"), 0)
    for one in comparisons:
        theirs, own = sidecars(one)
        a, b = (nibabel.load(path).affine for path in (one.reference, one.file))
        for name in ("RepetitionTime", "EchoTime", "FlipAngle", "MagneticFieldStrength"):
            assert own[name] == pytest.approx(theirs[name], rel=1e-4), (one.reference.name, name)
        assert own["Manufacturer"] == theirs["Manufacturer"]
        counts["RepetitionTime"] += 1
        if not np.allclose(a, b, atol=1e-3):
            continue  # what goes by axes is of other axes
        if "PhaseEncodingDirection" in own:
            assert own["PhaseEncodingDirection"] == theirs["PhaseEncodingDirection"]
            counts["PhaseEncodingDirection"] += 1
        if "SliceTiming" in own:
            # dcm2niix may take those of the second volume, and of UIH rounded ones.
            assert np.allclose(own["SliceTiming"], theirs["SliceTiming"], atol=0.02)
            counts["SliceTiming"] += 1
        for name in ("EffectiveEchoSpacing", "TotalReadoutTime"):
            if name in own:
                assert own[name] == pytest.approx(theirs[name], rel=2e-3)
    assert counts["RepetitionTime"] == REFERENCES
    assert counts["PhaseEncodingDirection"] >= 19
    assert counts["SliceTiming"] >= 19


def test_classic_and_enhanced_twins_export_the_same(exported: dict[str, list[Path]]) -> None:
    import nibabel

    pairs = 0
    for name in ("canon61", "philips_enh"):
        classic, enhanced = ({f.name: f for f in exported[f"{name}/{k}"]} for k in ("cl", "enh"))
        assert classic.keys() == enhanced.keys()
        for file in classic:
            first, second = nibabel.load(classic[file]), nibabel.load(enhanced[file])
            assert np.array_equal(first.dataobj, second.dataobj)
            assert np.allclose(first.affine, second.affine, atol=1e-3)
            pairs += 1
    assert pairs == 6


def test_the_table_in_the_manual_is_the_present_one(comparisons: list[Any]) -> None:
    """Every reference stands in the table, as reproduced or not."""
    assert testdata_folder() is not None
    page = Path(__file__).parents[2] / "docs" / "nifti_references.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if "`" in line]
    for one in comparisons:
        (row,) = [line for line in rows if f"`{one.reference.name}`" in line]
        assert ("| yes |" in row) == one.is_reproduced
