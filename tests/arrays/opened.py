"""What the tests of arrays share: a series that is opened through the public interface."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

import dbdicom_xr as db
from dbdicom_xr.errors import AlignedByOrder


def series_of(folder: Any, index: Any = None) -> Any:
    """Return the only series of a folder; the index goes elsewhere for folders of test data."""
    (series,) = db.database(folder, index=index).series()
    return series


def by_order(series: Any, *arguments: Any, **options: Any) -> Any:
    """Return array and header where an AlignedByOrder warning is no news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlignedByOrder)
        return series.array(*arguments, **options)


def real_values(dataset: pydicom.Dataset) -> Any:
    """Return what pydicom says of the pixels of a single frame, in float64, (x, y)."""
    stored = dataset.pixel_array
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    values = stored.astype(np.float64)
    if slope is not None:
        values = values * float(slope)
    if intercept is not None:
        values = values + float(intercept)
    return values.swapaxes(0, 1)


def truth(path: Path | str) -> Any:
    """Return the real values of the single frame of a file."""
    return real_values(pydicom.dcmread(path))
