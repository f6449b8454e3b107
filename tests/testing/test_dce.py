"""The kinetics that the files show are those that the maker says."""

from __future__ import annotations

import numpy as np
import pydicom

from dbdicom_xr.testing import arterial_input, arterial_integral, make_dce


def read(dce):
    """Signal (z, t, x, y) and times (z, t), by pydicom alone."""
    found = [pydicom.dcmread(file) for file in dce.series.files]
    shape = dce.times.shape
    signal = np.stack([d.pixel_array.T for d in found]).reshape(*shape, *dce.s0.shape[1:])
    seconds = [
        int(d.AcquisitionTime[:2]) * 3600
        + int(d.AcquisitionTime[2:4]) * 60
        + float(d.AcquisitionTime[4:])
        for d in found
    ]
    return signal.astype(float), np.reshape(seconds, shape)


def test_shape_times_and_headers(tmp_path):
    dce = make_dce(tmp_path, shape=(3, 8, 10, 6), interval=6.0)
    signal, times = read(dce)
    assert signal.shape == (3, 8, 10, 6)
    np.testing.assert_allclose(times, dce.times, atol=1e-6)
    assert len(np.unique(times)) == 24  # no two slices share a time
    np.testing.assert_allclose(np.diff(times, axis=1), 6.0)
    assert dce.n_baseline == 2
    first = pydicom.dcmread(dce.series.files[0])
    assert first.NumberOfTemporalPositions == 8
    assert len(first) > 100
    assert [pydicom.dcmread(f).InstanceNumber for f in dce.series.files] == list(range(1, 25))


def test_signal_is_stored_to_the_nearest_integer(tmp_path):
    dce = make_dce(tmp_path)
    signal, _ = read(dce)
    assert np.abs(signal - dce.signal).max() <= 0.5
    assert 0 < dce.signal.min() < dce.signal.max() < 4095
    np.testing.assert_array_equal(
        dce.signal[:, : dce.n_baseline], np.repeat(dce.s0[:, None], dce.n_baseline, 1)
    )


def test_a_linear_fit_finds_the_truth(tmp_path):
    dce = make_dce(tmp_path, shape=(2, 30, 32, 24))
    signal, times = read(dce)
    baseline = signal[:, : dce.n_baseline].mean(axis=1)
    concentration = (signal / baseline[:, None] - 1) / dce.relaxivity
    for z in range(2):
        since = times[z] - dce.arrival
        design = np.stack([arterial_integral(since) / 60, arterial_input(since)], axis=1)
        fit = np.linalg.lstsq(design, concentration[z].reshape(30, -1), rcond=None)[0]
        ktrans, vp = fit.reshape(2, 32, 24)
        tissue = dce.s0[z] > 100
        assert np.abs(ktrans - dce.ktrans[z])[tissue].max() < 2e-3
        assert np.abs(vp - dce.vp[z])[tissue].max() < 1e-3
        assert dce.ktrans[z][tissue].max() > 0.2  # there is something to find


def test_no_symmetry_hides_an_exchanged_axis(tmp_path):
    dce = make_dce(tmp_path, shape=(3, 4, 20, 20))
    for m in (dce.ktrans, dce.vp, dce.s0):
        assert not np.allclose(m, m.swapaxes(1, 2))
        assert not np.allclose(m, m[:, ::-1])
        assert not np.allclose(m, m[:, :, ::-1])
        assert not np.allclose(m[0], m[1])


def test_noise_is_what_was_asked_for(tmp_path):
    dce = make_dce(tmp_path, noise=5.0)
    signal, _ = read(dce)
    body = np.broadcast_to((dce.s0 > 100)[:, None], signal.shape)
    assert 4.8 < (signal - dce.signal)[body].std() < 5.2


def test_every_file_is_valid(tmp_path, dciodvfy):
    dce = make_dce(tmp_path, shape=(2, 2, 8, 6))
    assert [dciodvfy(file) for file in dce.series.files] == [[]] * 4


def test_arterial_integral_is_the_integral():
    time = np.arange(0, 300, 0.01)
    middle = arterial_input(time + 0.005)
    np.testing.assert_allclose(np.cumsum(middle) * 0.01, arterial_integral(time + 0.01), rtol=1e-5)
    assert (arterial_input([-1.0]) == 0).all()
    assert (arterial_integral([-1.0]) == 0).all()


def test_a_vessel_of_plasma_shows_the_arterial_input(tmp_path):
    dce = make_dce(tmp_path, shape=(2, 20, 32, 24), relaxivity=0.8, vessel=1.0)
    signal, times = read(dce)
    assert signal.max() < 4095
    vessel = dce.vp == 1
    baseline = signal[:, : dce.n_baseline].mean(axis=1)
    for z in range(2):
        enhancement = signal[z][:, vessel[z]] / baseline[z][vessel[z]] - 1
        found = enhancement.mean(axis=1) / 0.8
        np.testing.assert_allclose(found, arterial_input(times[z] - dce.arrival), atol=0.01)
