"""What the functional groups of Enhanced MR objects demand, and what is left out for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

import dbdicom_xr as db
from dbdicom_xr.emit.elements import put
from dbdicom_xr.emit.multiframe import enhanced_mr
from dbdicom_xr.errors import InvalidValue
from tests.emit.judges import errors_of
from tests.emit.test_multiframe import from_nothing, per_frame_items, written

AGENT = [
    {
        "CodeValue": "C-B0322",
        "CodingSchemeDesignator": "SRT",
        "CodeMeaning": "Gadolinium",
        "ContrastBolusAdministrationRouteSequence": [
            {"CodeValue": "G-D101", "CodingSchemeDesignator": "SRT", "CodeMeaning": "Intravenous"}
        ],
        "ContrastBolusVolume": 10.0,
        "ContrastBolusIngredientConcentration": 0.5,
        "ContrastBolusIngredientCodeSequence": [
            {"CodeValue": "C-17800", "CodingSchemeDesignator": "SRT", "CodeMeaning": "Gadolinium"}
        ],
        "ContrastBolusAgentNumber": 1,
    }
]
USAGE = {"ContrastBolusAgentNumber": 1, "ContrastBolusAgentAdministered": "YES"}
LABELS = {
    "ImageType": ["DERIVED", "PRIMARY", "ASL", "NONE"],
    "ASLTechniqueDescription": "pCASL", "ASLContext": "LABEL", "ASLCrusherFlag": "NO",
    "ASLBolusCutoffFlag": "NO",
}  # fmt: skip
SLAB = {
    "ASLSlabNumber": 1, "ASLSlabThickness": 74.75, "ASLSlabOrientation": [0.0, 0.6, 0.8],
    "ASLMidSlabPosition": [1.0, 2.0, 3.0], "ASLPulseTrainDuration": 1800,
}  # fmt: skip
CRUSHER = {"ASLCrusherFlowLimit": 2.0, "ASLCrusherDescription": "bipolar"}
CUTOFF = {
    "ASLBolusCutoffFlag": "YES", "ASLBolusCutoffTechnique": "QUIPSS",
    "ASLBolusCutoffDelayTime": 700,
}  # fmt: skip
TIMING = "ASLBolusCutoffTimingSequence"
MACRO = ["MRArterialSpinLabelingSequence"]
LEFT = "UnassignedSharedConvertedAttributesSequence"


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"BulkMotionCompensationTechnique": "NONE"}, [LEFT, "BulkMotionCompensationTechnique"]),
        ({"ContrastBolusAgentSequence": AGENT}, [LEFT, "ContrastBolusAgentSequence"]),
        ({"ContrastBolusAgentSequence": AGENT, **USAGE}, ["ContrastBolusUsageSequence"]),
        ({**LABELS, **SLAB}, [*MACRO, "ASLSlabSequence", "ASLMidSlabPosition"]),
        (LABELS, ["ASLContext"]),
        ({**LABELS, "ASLContext": "M_ZERO_SCAN"}, [*MACRO, "ASLContext"]),
        ({**LABELS, "ASLCrusherFlag": ""}, ["ASLContext"]),
        ({**LABELS, **SLAB, "ASLCrusherFlag": "YES"}, ["ASLCrusherFlag"]),
        ({**LABELS, **SLAB, **CRUSHER}, ["ASLCrusherDescription"]),
        ({**LABELS, **SLAB, **CRUSHER, "ASLCrusherFlag": "YES"}, [*MACRO, "ASLCrusherFlowLimit"]),
        ({**LABELS, **SLAB, "ASLBolusCutoffFlag": "YES"}, ["ASLBolusCutoffFlag"]),
        ({**LABELS, **SLAB, **CUTOFF}, [*MACRO, TIMING, "ASLBolusCutoffTechnique"]),
        ({"ImageType": LABELS["ImageType"]}, []),
        ({"SlabOrientation": [0.0, 0.6, 0.8]}, ["SlabOrientation"]),
        ({"SlabOrientation": [0.0, -3.4, 2.2]}, []),
        ({"VelocityEncodingDirection": [0.0, 0.0, 0.0]}, []),
    ],
)  # fmt: skip
def test_what_stands_where_judges_want_it(
    said: dict[str, Any], path: list[str], tmp_path: Path
) -> None:
    elements = from_nothing(2)
    put(elements, 2, said)
    file = written(tmp_path / "one.dcm", elements, np.zeros((2, 4, 5), np.uint16))
    assert errors_of(file) == set()
    dataset, shared, _ = per_frame_items(file)
    if not path:
        names = {element.keyword for element in dataset.iterall()}
        assert not (set(said) - {"ImageType"}) & names
        return
    *macros, last = path
    place = shared if macros or last.endswith("UsageSequence") else dataset
    for macro in macros:
        (place,) = place[macro].value
    assert last in place
    if not last.endswith("Sequence"):
        assert place[last].value == said[last]


# What MR Modifier macros and others demand anyway, and what says that nothing was done.
ACQUIRED = {
    "TransmitterFrequency": 63.0, "PixelBandwidth": 100.0, "FlipAngle": 10.0,
    "RepetitionTime": 9.0, "EchoTrainLength": 1, "EchoTime": 3.0, "NumberOfAverages": 1.0,
    "InPlanePhaseEncodingDirection": "ROW", "PercentSampling": 100.0,
    "PercentPhaseFieldOfView": 100.0, "MRAcquisitionFrequencyEncodingSteps": 4,
    "MRAcquisitionPhaseEncodingStepsInPlane": 4, "ReceiveCoilName": "Head",
    "QuadratureReceiveCoil": "NO", "T2Preparation": "NO", "SpatialPresaturation": "NONE",
    "SpectrallySelectedExcitation": "NONE", "MagnetizationTransfer": "NONE",
    "BloodSignalNulling": "NO", "DiffusionBValue": 50.0,
}  # fmt: skip
NOTHING_DONE = {
    "InversionRecovery": "NO", "FlowCompensation": "NONE", "PartialFourier": "NO",
    "ParallelAcquisition": "NO", "Tagging": "NONE", "ReceiveCoilType": "VOLUME",
    "DiffusionDirectionality": "ISOTROPIC", "MRAcquisitionType": "2D",
}  # fmt: skip
COILS = [{"MultiCoilElementName": "A", "MultiCoilElementUsed": "YES"}]
LINES = {"TagSpacingFirstDimension": 8.0, "TagAngleFirstAxis": 45.0, "TagThickness": 2.0}
GRID = {**LINES, "TagSpacingSecondDimension": 7.0, "TagAngleSecondAxis": 135.0}
# What stands in a macro only where another attribute there has this value: PS3.3 C.8.13.5.
CONDITIONAL: list[tuple[str, str, str, dict[str, Any]]] = [
    ("MRModifierSequence", "InversionRecovery", "YES", {"InversionTimes": 150.0}),
    ("MRModifierSequence", "FlowCompensation", "VELOCITY", {"FlowCompensationDirection": "PHASE"}),
    ("MRModifierSequence", "PartialFourier", "YES", {"PartialFourierDirection": "PHASE"}),
    ("MRModifierSequence", "ParallelAcquisition", "YES", {
        "ParallelAcquisitionTechnique": "SENSE", "ParallelReductionFactorInPlane": 2.0,
        "ParallelReductionFactorOutOfPlane": 1.0, "ParallelReductionFactorSecondInPlane": 1.5,
    }),
    ("MRImagingModifierSequence", "Tagging", "LINE", LINES),
    ("MRImagingModifierSequence", "Tagging", "GRID", GRID),
    ("MRReceiveCoilSequence", "ReceiveCoilType", "MULTICOIL",
     {"MultiCoilDefinitionSequence": COILS}),
    ("MRFOVGeometrySequence", "MRAcquisitionType", "3D",
     {"MRAcquisitionPhaseEncodingStepsOutOfPlane": 6}),
]  # fmt: skip
EVERYTHING = {keyword: value for *_, said in CONDITIONAL for keyword, value in said.items()}


def item(place: Dataset, macro: str) -> Dataset:
    one: Dataset
    (one,) = place[macro].value
    return one


def stands(place: Dataset, keyword: str) -> Any:
    value = place[keyword].value
    if place[keyword].VR != "SQ":
        return value
    return [{element.keyword: element.value for element in one} for one in value]


@pytest.mark.parametrize(("macro", "keyword", "word", "said"), CONDITIONAL)
def test_conditions(
    macro: str, keyword: str, word: str, said: dict[str, Any], tmp_path: Path
) -> None:
    pixels = np.zeros((2, 4, 5), np.uint16)
    for value in (word, NOTHING_DONE[keyword]):
        elements = from_nothing(2)
        put(elements, 2, {**ACQUIRED, **NOTHING_DONE, **EVERYTHING, keyword: value})
        file = written(tmp_path / f"{value}.dcm", elements, pixels)
        assert errors_of(file) == set()
        dataset, shared, _ = per_frame_items(file)
        for one, expected in EVERYTHING.items():
            # Nothing is lost of what has no place in a macro.
            place = item(shared, macro) if value == word and one in said else dataset
            assert stands(place, one) == expected, one
    if keyword == "MRAcquisitionType":
        return
    # A derived image has no such macro where what it demands is not known: all stays outside.
    for missing in said:
        elements = from_nothing(2)
        put(elements, 2, {**ACQUIRED, **NOTHING_DONE, **EVERYTHING, keyword: word, missing: None})
        file = written(tmp_path / "missing.dcm", elements, pixels)
        assert errors_of(file) == set()
        dataset, shared, _ = per_frame_items(file)
        assert macro not in shared
        assert dataset[keyword].value == word


def test_conditions_frame_by_frame(tmp_path: Path) -> None:
    elements = from_nothing(2, Tagging=["NONE", "LINE"], TagThickness=[1.0, 2.0])
    said = {**ACQUIRED, **NOTHING_DONE, **EVERYTHING}
    put(elements, 2, {name: said[name] for name in said.keys() - {"Tagging", "TagThickness"}})
    file = written(tmp_path / "one.dcm", elements, np.zeros((2, 4, 5), np.uint16))
    assert errors_of(file) == set()
    dataset, _, frames = per_frame_items(file)
    macros = [item(frame, "MRImagingModifierSequence") for frame in frames]
    assert [macro.get("TagThickness") for macro in macros] == [None, 2.0]
    assert [macro.get("TagAngleFirstAxis") for macro in macros] == [None, 45.0]
    assert dataset.TagAngleFirstAxis == 45.0
    left = [item(frame, "UnassignedPerFrameConvertedAttributesSequence") for frame in frames]
    assert [one.TagThickness for one in left] == [1.0, 2.0]
    with db.database(tmp_path) as database:
        (series,) = database.series()
        assert [frame.TagThickness for frame in series.array()[1]] == [1.0, 2.0]
        assert series.TagAngleFirstAxis == [45.0]


B_MATRIX = {f"DiffusionBValue{axes}": 50.0 for axes in ("XX", "XY", "XZ", "YY", "YZ", "ZZ")}


@pytest.mark.parametrize("kind", ["BMATRIX", "ISOTROPIC", "NONE"])
def test_b_matrix_of_frames_without_one(kind: str, tmp_path: Path) -> None:
    elements = from_nothing(2)
    said = {"DiffusionBValue": 50.0, **B_MATRIX, "DiffusionDirectionality": kind}
    put(elements, 2, said)
    file = written(tmp_path / "one.dcm", elements, np.zeros((2, 4, 5), np.uint16))
    assert errors_of(file) == set()
    dataset, shared, _ = per_frame_items(file)
    macro = item(shared, "MRDiffusionSequence")
    assert macro.DiffusionBValue == 50.0
    place = item(macro, "DiffusionBMatrixSequence") if kind == "BMATRIX" else dataset
    assert all(place[keyword].value == 50.0 for keyword in B_MATRIX)


def test_a_slice_is_not_given_a_thickness(tmp_path: Path) -> None:
    elements = from_nothing(1)
    put(elements, 1, {"SliceThickness": ""})
    with pytest.raises(InvalidValue, match=r"SliceThickness.*SliceThickness=.*multiframe=False"):
        enhanced_mr(elements, 1)
    elements = from_nothing(3)
    put(elements, 3, {"SliceThickness": ""})
    file = written(tmp_path / "one.dcm", elements, np.zeros((3, 4, 5), np.uint16))
    assert errors_of(file) == set()
    assert per_frame_items(file)[1].PixelMeasuresSequence[0].SliceThickness == 2.0
