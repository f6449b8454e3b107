"""What the tests of records share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dbdicom_xr.interact import ScriptedFrontEnd, use_front_end
from dbdicom_xr.testing import MadeStudy, make_study


@pytest.fixture
def person() -> Iterator[ScriptedFrontEnd]:
    """A front end that notes what is said."""
    front_end = ScriptedFrontEnd()
    with use_front_end(front_end):
        yield front_end


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> MadeStudy:
    """Two patients with two studies of three series each; not to be changed."""
    return make_study(tmp_path_factory.mktemp("hospital"), reports=True)
