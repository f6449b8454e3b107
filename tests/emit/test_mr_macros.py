"""What the functional groups of Enhanced MR objects demand, and what is left out for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
