"""For every real file the index holds what pydicom reads."""

from __future__ import annotations

import pytest

from dbdicom_xr.index.gather import gather
from tests.data import testdata_files, testdata_folder
from tests.index.judge import count_values, differences

pytestmark = pytest.mark.realdata

_FOLDER = testdata_folder()
_TOP = sorted(p.name for p in _FOLDER.iterdir() if p.is_dir()) if _FOLDER else []


@pytest.mark.parametrize("folder", _TOP)
def test_every_value_equals_that_of_pydicom(folder: str) -> None:
    paths = testdata_files(folder)
    findings = gather([str(path) for path in paths])
    assert differences(paths, findings)[:10] == []
    dicom = [path for path in paths if path.suffix == ".dcm"]
    assert count_values(findings) > 40 * len(dicom) - 1000
