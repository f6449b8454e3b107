"""Calls at the same time: all have ended when the call returns, whatever happens."""

from __future__ import annotations

import threading
import time

import pytest

from dbdicom_xr.staging import together as module
from dbdicom_xr.staging.together import together


def test_results_in_order() -> None:
    meet = threading.Barrier(3, timeout=10)

    def call(number: int) -> int:
        meet.wait()
        return number

    assert together([lambda: call(0), lambda: call(1), lambda: call(2)]) == [0, 1, 2]
    assert together([lambda: threading.get_ident()]) == [threading.get_ident()]


@pytest.mark.parametrize("failing", [0, 1])
def test_one_that_fails(failing: int) -> None:
    ended = []

    def call(number: int) -> None:
        if number == failing:
            raise ValueError(number)
        time.sleep(0.05)
        ended.append(number)

    with pytest.raises(ValueError, match=str(failing)):
        together([lambda: call(0), lambda: call(1)])
    assert ended == [1 - failing]


@pytest.mark.parametrize("within", [True, False])
def test_ctrl_c_again_and_again(within: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, presses = [], [1, 2]
    real = module.wait

    def pressed(futures: object) -> object:
        if presses:
            presses.pop()
            raise KeyboardInterrupt
        return real(futures)  # type: ignore[call-overload]

    def first() -> None:
        if within:
            raise KeyboardInterrupt

    def other() -> None:
        time.sleep(0.05)
        ended.append(1)

    monkeypatch.setattr(module, "wait", pressed)
    with pytest.raises(KeyboardInterrupt):
        together([first, other])
    assert ended == [1]
    assert not presses
