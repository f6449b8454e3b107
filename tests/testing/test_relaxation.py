"""The relaxation times that the files show are those that the makers say."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from dbdicom_xr.testing import make_flip_angles, make_multi_echo


def read(made, keyword):
    """Signal (z, k, x, y) and the values of a keyword (z, k), by pydicom alone."""
    found = [pydicom.dcmread(file) for file in made.series.files]
    shape = made.signal.shape
    signal = np.stack([d.pixel_array.T for d in found]).reshape(shape).astype(float)
    return signal, np.array([float(d[keyword].value) for d in found]).reshape(shape[:2])


def test_the_decay_of_echoes_gives_t2star(tmp_path):
    made = make_multi_echo(tmp_path, shape=(2, 20, 16), echoes=[2, 6, 12])
    signal, times = read(made, "EchoTime")
    np.testing.assert_array_equal(times, [[2, 6, 12]] * 2)
    body = np.isfinite(made.time)
    assert 0.3 < body.mean() < 0.8
    for z in range(2):
        for first, second in ((0, 1), (0, 2)):
            ratio = signal[z, second][body[z]] / signal[z, first][body[z]]
            expected = np.exp(-(times[z, second] - times[z, first]) / made.time[z][body[z]])
            np.testing.assert_allclose(ratio, expected, atol=3e-3)
    assert signal[:, 0][~body].max() == 0
    numbers = [pydicom.dcmread(file).EchoNumbers for file in made.series.files]
    assert numbers == [1, 2, 3, 1, 2, 3]


def test_the_lines_of_flip_angles_give_t1(tmp_path):
    made = make_flip_angles(tmp_path, shape=(2, 20, 16), repetition=6.0)
    signal, angles = read(made, "FlipAngle")
    _, repetition = read(made, "RepetitionTime")
    assert set(repetition.ravel()) == {6.0}
    body = np.isfinite(made.time)
    alpha = np.radians(angles)[..., None, None]
    up, across = signal / np.sin(alpha), signal / np.tan(alpha)
    slope = (up[:, 4] - up[:, 1]) / np.where(body, across[:, 4] - across[:, 1], 1)
    t1 = -6.0 / np.log(slope[body])
    assert np.median(np.abs(t1 / made.time[body] - 1)) < 0.01


@pytest.mark.parametrize("maker", [make_multi_echo, make_flip_angles])
def test_noise_is_that_of_magnitudes_and_repeats(maker, tmp_path):
    made = maker(tmp_path / "a", shape=(2, 40, 30), noise=20.0, seed=3)
    again = maker(tmp_path / "b", shape=(2, 40, 30), noise=20.0, seed=3)
    other = maker(tmp_path / "c", shape=(2, 40, 30), noise=20.0, seed=4)
    np.testing.assert_array_equal(made.series.pixels, again.series.pixels)
    assert not np.array_equal(made.series.pixels, other.series.pixels)
    background = made.series.pixels[:, :, 0].transpose(0, 2, 3, 1)[np.isnan(made.time)]
    # Rayleigh: the mean is sqrt(pi / 2) of the noise of the parts.
    assert background.mean() == pytest.approx(20 * np.sqrt(np.pi / 2), rel=0.05)
    assert made.signal.max() < 4095
