"""Attributes that are worked out late hold no lock that others wait for."""

from __future__ import annotations

import threading

from dbdicom_xr.index.lazily import lazily


class Meeting:
    def __init__(self, barrier: threading.Barrier) -> None:
        self.barrier = barrier
        self.count = 0

    @lazily
    def met(self) -> bool:
        """Whether another one was at it at the same time."""
        self.count += 1
        self.barrier.wait(10)
        return True


def test_two_objects_do_not_wait_for_each_other() -> None:
    barrier = threading.Barrier(2)
    one, other = Meeting(barrier), Meeting(barrier)
    thread = threading.Thread(target=lambda: other.met)
    thread.start()
    assert one.met
    thread.join()
    assert other.__dict__["met"]
    assert one.met
    assert one.count == other.count == 1
