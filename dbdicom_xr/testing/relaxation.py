"""Series with known relaxation times: what a T1 or T2* fit should find.

Owns the two signal models and the parameter maps; `series.make_series` writes the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dbdicom_xr.testing.headers import set_value
from dbdicom_xr.testing.series import (
    Geometry,
    HeaderEdit,
    MadeSeries,
    edit_header,
    make_series,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MadeRelaxation:
    """A series of several echoes or flip angles as written, and the truth behind it.

    Maps are indexed (z, x, y), the signal (z, echo or angle, x, y), as arrays read from the series.

    Attributes
    ----------
    series : MadeSeries
        Files and stored values.
    time : numpy.ndarray
        T2* or T1 in ms; NaN outside the body.
    s0 : numpy.ndarray
        Signal without relaxation; 0 outside the body.
    signal : numpy.ndarray
        What would have been stored without noise and rounding.
    """

    series: MadeSeries
    time: Floats
    s0: Floats
    signal: Floats


def make_multi_echo(
    folder: str | PathLike[str],
    *,
    shape: tuple[int, int, int] = (3, 32, 24),
    echoes: Sequence[float] = (2.3, 4.6, 6.9, 9.2, 13.8, 18.4, 23.0, 27.6),
    noise: float = 0.0,
    geometry: Geometry | None = None,
    shuffle: int | None = None,
    header: HeaderEdit | None = None,
    seed: int = 0,
) -> MadeRelaxation:
    """Write a multi-echo gradient echo series with known T2*.

    ``S(TE) = S0 exp(-TE / T2*)``, one classic MR file per slice and echo.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    shape : tuple of int, default (3, 32, 24)
        Slices, columns, rows.
    echoes : sequence of float
        EchoTime, ms.
    noise : float, default 0.0
        Standard deviation of the noise of the real and the imaginary part: magnitudes, which are
        stored, have a floor where there is no signal. S0 is 800 to 1200.
    geometry, shuffle, header
        As for `make_series`.
    seed : int, default 0
        Of parameter maps, noise and all UIDs.

    Returns
    -------
    MadeRelaxation
        With T2* of 8 to 45 ms.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = make_multi_echo(folder, shape=(2, 16, 12), echoes=[2, 10])
    >>> made.series.dims, float(np.nanmin(made.time))
    (('SliceLocation', 'EchoTime', 'n', 'x', 'y'), 8.0)
    """
    rng = np.random.default_rng(seed)
    s0, time = _maps(rng, shape, background=30.0, organs=(45.0, 20.0, 8.0))
    signal = _decay(s0, time, np.asarray(echoes, np.float64))

    def numbered(dataset: Dataset, index: tuple[int, ...]) -> None:
        set_value(dataset, "EchoNumbers", index[1] + 1)

    return _write(
        folder, "multi-echo", "EchoTime", list(echoes), s0, time, signal, noise, rng, numbered,
        geometry=geometry, shuffle=shuffle, header=header, seed=seed,
    )  # fmt: skip


def make_flip_angles(
    folder: str | PathLike[str],
    *,
    shape: tuple[int, int, int] = (3, 32, 24),
    angles: Sequence[float] = (2.0, 4.0, 8.0, 12.0, 18.0),
    repetition: float = 5.0,
    noise: float = 0.0,
    geometry: Geometry | None = None,
    shuffle: int | None = None,
    header: HeaderEdit | None = None,
    seed: int = 0,
) -> MadeRelaxation:
    """Write a spoiled gradient echo series of several flip angles with known T1.

    ``S(a) = S0 sin(a) (1 - E) / (1 - cos(a) E)`` with ``E = exp(-TR / T1)`` (Fram et al. 1987, Magn
    Reson Imaging 5:201), one classic MR file per slice and flip angle.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    shape : tuple of int, default (3, 32, 24)
        Slices, columns, rows.
    angles : sequence of float
        FlipAngle, degrees.
    repetition : float, default 5.0
        RepetitionTime, ms.
    noise, geometry, shuffle, header, seed
        As for `make_multi_echo`. S0 is 16,000 to 24,000, the largest signal a tenth of that.

    Returns
    -------
    MadeRelaxation
        With T1 of 350 to 1600 ms.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = make_flip_angles(folder, shape=(2, 16, 12))
    >>> made.series.dims, float(np.nanmax(made.time))
    (('SliceLocation', 'FlipAngle', 'n', 'x', 'y'), 1600.0)
    """
    rng = np.random.default_rng(seed)
    s0, time = _maps(rng, shape, background=1000.0, organs=(1600.0, 700.0, 350.0))
    s0 = 20 * s0
    signal = _spoiled(s0, time, np.radians(np.asarray(angles, np.float64)), repetition)

    def repeated(dataset: Dataset, index: tuple[int, ...]) -> None:
        set_value(dataset, "RepetitionTime", repetition)

    return _write(
        folder, "flip angles", "FlipAngle", list(angles), s0, time, signal, noise, rng, repeated,
        geometry=geometry, shuffle=shuffle, header=header, seed=seed,
    )  # fmt: skip


def _decay(s0: Floats, time: Floats, echoes: Floats) -> Floats:
    rate = 1 / np.where(s0 > 0, time, 1.0)
    return np.asarray(s0[:, None] * np.exp(-echoes[:, None, None] * rate[:, None]))


def _spoiled(s0: Floats, time: Floats, angles: Floats, repetition: float) -> Floats:
    left = np.exp(-repetition / np.where(s0 > 0, time, 1.0))[:, None]
    angle = angles[:, None, None]
    return np.asarray(s0[:, None] * np.sin(angle) * (1 - left) / (1 - np.cos(angle) * left))


def _maps(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    background: float,
    organs: tuple[float, float, float],
) -> tuple[Floats, Floats]:
    """Return S0 and the relaxation time, each (z, x, y): an elliptic body with three organs."""
    n_slices, columns, rows = shape
    z = np.arange(n_slices)[:, None, None] / max(1, n_slices)
    x = np.linspace(-1, 1, columns)[None, :, None]
    y = np.linspace(-1, 1, rows)[None, None, :]
    body = np.broadcast_to((x / 0.9) ** 2 + (y / 0.8) ** 2 < 1, shape)
    shift = rng.uniform(-0.05, 0.05, 2)
    places = (
        (x + 0.4 + shift[0]) ** 2 + (y - 0.1) ** 2 < 0.09 * (1 - 0.3 * z),
        (x - 0.45) ** 2 + (y + 0.15 + shift[1]) ** 2 < 0.05 * (1 + 0.3 * z),
        x**2 + (y - 0.45) ** 2 < 0.02 + 0 * z,
    )
    time = np.where(body, background * (1 + 0.1 * x + 0.05 * z), np.nan)
    for place, value in zip(places, organs, strict=True):
        time = np.where(body & place, value, time)
    s0 = np.where(body, 1000.0 * (1 + 0.1 * x + 0.1 * y), 0.0)
    return s0, time


def _write(
    folder: str | PathLike[str],
    description: str,
    key: str,
    values: list[float],
    s0: Floats,
    time: Floats,
    signal: Floats,
    noise: float,
    rng: np.random.Generator,
    edit: Any,
    *,
    geometry: Geometry | None,
    shuffle: int | None,
    header: HeaderEdit | None,
    seed: int,
) -> MadeRelaxation:
    geometry = geometry or Geometry()
    real, imaginary = (rng.normal(0.0, noise, signal.shape) for _ in range(2))
    pixels = np.clip(np.round(np.hypot(signal + real, imaginary)), 0, 4095).astype(np.uint16)

    def described(dataset: Dataset, index: tuple[int, ...]) -> None:
        set_value(dataset, "SeriesDescription", description)
        edit(dataset, index)
        edit_header(dataset, header, index)

    series = make_series(
        folder,
        keys={"SliceLocation": [geometry.spacing[2] * z for z in range(len(s0))], key: values},
        shape=s0.shape[1:],
        pixels=pixels[:, :, None],
        bits_stored=12,
        shuffle=shuffle,
        geometry=geometry,
        header=described,
        seed=seed,
    )
    return MadeRelaxation(series, time, s0, signal)
