"""The folder that the examples of the manual read: made images of nobody, with known values."""

from pathlib import Path
from typing import Any

from dbdicom_xr.testing import make_dce, make_enhanced, make_series, make_study


def make_hospital(folder: str = "hospital") -> None:
    """Write three patients, with MR, CT and reports, below a folder."""
    place = Path(folder)
    make_study(place, patients=2, studies=1, reports=True, seed=1)

    volunteer: dict[Any, Any] = {
        "PatientID": "V01",
        "PatientName": "Doe^Jane",
        "StudyDescription": "Kidney MRI",
    }
    dce = make_dce(
        place / "V01" / "dce", shape=(3, 20, 64, 48), noise=2.0, header=volunteer, seed=2
    )

    study = {**volunteer, "StudyInstanceUID": dce.series.datasets[0].StudyInstanceUID}
    make_series(
        place / "V01" / "flip angles",
        keys={"SliceLocation": [0, 5, 10], "FlipAngle": [2, 5, 10, 15]},
        slope=2.0,
        intercept=0.0,
        header={**study, "SeriesNumber": 2, "SeriesDescription": "T1 flip angles"},
        seed=3,
    )
    make_enhanced(
        place / "V01",
        keys={"SliceLocation": [0, 5, 10], "EchoTime": [20.0, 40.0, 60.0]},
        header={**study, "SeriesNumber": 3, "SeriesDescription": "T2 echoes"},
        name="t2.dcm",
        seed=4,
    )
