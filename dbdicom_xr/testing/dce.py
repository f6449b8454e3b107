"""A dynamic series with known kinetics: what a perfusion analysis should find.

Owns the model (Patlak) and the parameter maps; `series.make_series` writes the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import Dataset

from dbdicom_xr.testing.headers import set_value
from dbdicom_xr.testing.series import (
    Geometry,
    HeaderEdit,
    MadeSeries,
    edit_header,
    make_series,
)

# A bi-exponential arterial input for a dose of 0.1 mmol/kg (Tofts and Kermode 1991, Magn Reson
# Med 17:357): amplitudes in mM and rates in 1/s.
_AMPLITUDES = (0.399, 0.478)
_RATES = (0.144 / 60, 0.0111 / 60)

_FIRST_PASS = (5.0, 1 / 12)  # amplitude in mM and rate in 1/s of the first pass before mixing


@dataclass(frozen=True)
class MadeDCE:
    """A dynamic series as written, and the truth behind it.

    All maps are indexed (z, x, y), all signals (z, t, x, y), as arrays read from the series are.

    Attributes
    ----------
    series : MadeSeries
        Files and stored values.
    times : numpy.ndarray
        Shape (z, t): seconds since midnight at which each image was acquired.
    arrival : float
        Seconds since midnight at which the contrast agent arrives.
    ktrans : numpy.ndarray
        Transfer constant in 1/min.
    vp : numpy.ndarray
        Plasma volume fraction.
    s0 : numpy.ndarray
        Signal before contrast.
    relaxivity : float
        Relative enhancement per mM.
    signal : numpy.ndarray
        What would have been stored without noise and rounding.
    """

    series: MadeSeries
    times: NDArray[np.float64]
    arrival: float
    ktrans: NDArray[np.float64]
    vp: NDArray[np.float64]
    s0: NDArray[np.float64]
    relaxivity: float
    signal: NDArray[np.float64]

    @property
    def n_baseline(self) -> int:
        """How many time points lie before the arrival of contrast in every slice."""
        return int((self.times < self.arrival).all(axis=0).sum())

    def concentration(self) -> NDArray[np.float64]:
        """Return the true tissue concentration in mM, shape (z, t, x, y)."""
        return _patlak(self.times - self.arrival, self.ktrans, self.vp)


def arterial_input(time: ArrayLike) -> NDArray[np.float64]:
    """Return the concentration in arterial plasma.

    Parameters
    ----------
    time : array-like
        Seconds since the arrival of contrast.

    Returns
    -------
    numpy.ndarray
        In mM; zero before arrival.

    Examples
    --------
    >>> arterial_input([-10.0, 0.0]).tolist()
    [0.0, 5.877]
    """
    return _sum_of_exponentials(time, lambda t, rate: np.exp(-rate * t))


def arterial_integral(time: ArrayLike) -> NDArray[np.float64]:
    """Return the integral of `arterial_input` since the arrival of contrast.

    Parameters
    ----------
    time : array-like
        Seconds since the arrival of contrast.

    Returns
    -------
    numpy.ndarray
        In mM s; zero before arrival.

    Examples
    --------
    >>> step = 1e-3
    >>> time = np.arange(0, 60, step)
    >>> bool(abs(arterial_integral(60.0) - arterial_input(time).sum() * step) < 0.01)
    True
    """
    return _sum_of_exponentials(time, lambda t, rate: -np.expm1(-rate * t) / rate)


def _patlak(
    time: NDArray[np.float64], ktrans: NDArray[np.float64], vp: NDArray[np.float64]
) -> NDArray[np.float64]:
    plasma = arterial_input(time)[..., None, None]
    uptake = arterial_integral(time)[..., None, None]
    return vp[:, None] * plasma + ktrans[:, None] / 60 * uptake


def _sum_of_exponentials(time: ArrayLike, term: Any) -> NDArray[np.float64]:
    since = np.asarray(time, dtype=float)
    after = np.maximum(since, 0.0)
    terms = (*zip(_AMPLITUDES, _RATES, strict=True), _FIRST_PASS)
    total = sum(amplitude * term(after, rate) for amplitude, rate in terms)
    return np.asarray(np.where(since >= 0, total, 0.0))


def make_dce(
    folder: str | PathLike[str],
    *,
    shape: tuple[int, int, int, int] = (3, 10, 32, 24),
    interval: float = 6.0,
    noise: float = 0.0,
    relaxivity: float = 4.0,
    vessel: float = 0.2,
    transfer_syntax: str = "explicit",
    geometry: Geometry | None = None,
    shuffle: int | None = None,
    header: HeaderEdit | None = None,
    seed: int = 0,
) -> MadeDCE:
    """Write a 2D multi-slice dynamic series with known kinetics.

    One classic MR file per slice and time. The slices of one time point are acquired one after
    the other, odd ones first, so that no two slices share an acquisition time.

    The tissue follows Patlak's model, ``C(t) = vp Cp(t) + Ktrans * integral of Cp`` (Patlak et
    al. 1983, J Cereb Blood Flow Metab 3:1), and the signal is linear in the concentration,
    ``S(t) = S0 (1 + r C(t))``, so that a linear fit finds the parameters.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    shape : tuple of int, default (3, 10, 32, 24)
        Slices, times, columns, rows.
    interval : float, default 6.0
        Seconds from one image of a slice to the next.
    noise : float, default 0.0
        Standard deviation of Gaussian noise; the signal before contrast is 300 to 600.
    relaxivity : float, default 4.0
        Relative enhancement per mM. The stored values end at 4095: with pure plasma in the vessel
        up to 1.0.
    vessel : float, default 0.2
        Plasma volume fraction in the vessel; 1 where an arterial input is to be measured there.
    transfer_syntax, geometry, shuffle, header
        As for `make_series`.
    seed : int, default 0
        Of parameter maps, noise and all UIDs.

    Returns
    -------
    MadeDCE

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     dce = make_dce(folder, shape=(2, 8, 16, 12))
    >>> dce.series.dims
    ('SliceLocation', 'AcquisitionTime', 'n', 'x', 'y')
    >>> len(np.unique(dce.times)) == dce.times.size
    True
    """
    n_slices, n_times, columns, rows = shape
    geometry = geometry or Geometry()
    rng = np.random.default_rng(seed)
    s0, ktrans, vp = _maps(rng, n_slices, columns, rows, vessel)
    rank = np.empty(n_slices)
    rank[[*range(0, n_slices, 2), *range(1, n_slices, 2)]] = np.arange(n_slices)
    start = 32_460.0  # 09:01:00
    within = rank[:, None] * interval / n_slices
    times = np.asarray(np.round(start + within + interval * np.arange(n_times), 3), np.float64)
    arrival = float(start + interval * max(1, n_times // 4))

    enhancement = relaxivity * _patlak(times - arrival, ktrans, vp)
    signal = s0[:, None] * (1 + enhancement)
    noisy = signal + rng.normal(0.0, noise, signal.shape)
    pixels = np.clip(np.round(noisy), 0, 4095).astype(np.uint16)

    def dynamic_header(dataset: Dataset, index: tuple[int, ...]) -> None:
        set_value(dataset, "SeriesDescription", "DCE")
        set_value(dataset, "NumberOfTemporalPositions", n_times)
        set_value(dataset, "TemporalResolution", interval * 1000)
        set_value(dataset, "ContrastBolusAgent", "Synthetic agent")
        edit_header(dataset, header, index)

    locations = [geometry.spacing[2] * z for z in range(n_slices)]
    series = make_series(
        folder,
        keys={"SliceLocation": locations, "AcquisitionTime": list(times[0])},
        shape=(columns, rows),
        pixels=pixels[:, :, None],
        bits_stored=12,
        transfer_syntax=transfer_syntax,
        per_frame={
            "AcquisitionTime": times[..., None],
            "ContentTime": times[..., None] + 60,
            "TemporalPositionIdentifier": np.arange(1, n_times + 1)[None, :, None],
            "AcquisitionNumber": np.arange(1, n_times + 1)[None, :, None],
        },
        shuffle=shuffle,
        geometry=geometry,
        header=dynamic_header,
        seed=seed,
    )
    return MadeDCE(series, times, arrival, ktrans, vp, s0, relaxivity, signal)


def _maps(
    rng: np.random.Generator, n_slices: int, columns: int, rows: int, plasma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return S0, Ktrans and vp, each (z, x, y): an elliptic body with two organs and a vessel."""
    z = np.arange(n_slices)[:, None, None]
    x = np.linspace(-1, 1, columns)[None, :, None]
    y = np.linspace(-1, 1, rows)[None, None, :]
    body = (x / 0.9) ** 2 + (y / 0.8) ** 2 < 1
    shift = rng.uniform(-0.05, 0.05, 2)
    left = body & ((x + 0.4 + shift[0]) ** 2 + (y - 0.1) ** 2 < 0.09 * (1 - 0.1 * z / n_slices))
    right = body & ((x - 0.45) ** 2 + (y + 0.15 + shift[1]) ** 2 < 0.04)
    vessel = body & (x**2 + (y - 0.45) ** 2 < 0.015)
    ktrans = np.where(body, 0.03 + 0.01 * x + 0.002 * z, 0.0)
    ktrans = np.where(left, 0.15 + 0.05 * y, np.where(right, 0.25, ktrans))
    ktrans = np.where(vessel, 0.0, ktrans)
    vp = np.where(body, 0.02 + 0.01 * y, 0.0)
    vp = np.where(left, 0.06, np.where(right, 0.04 + 0.01 * x, np.where(vessel, plasma, vp)))
    s0 = np.where(body, 400.0 + 100.0 * x + 100.0 * y * (z + 1) / n_slices, 20.0)
    return s0, ktrans, vp
