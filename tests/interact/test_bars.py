"""Progress bars around jobs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import pytest

from dbdicom_xr.interact import Said, Voice, progress_bar, terminal, track, use_front_end


@pytest.fixture
def at_once(monkeypatch):
    """Show bars without delay."""
    monkeypatch.setattr(terminal, "BAR_DELAY", 1e-9)


@pytest.mark.parametrize(
    ("iterable", "total", "known"),
    [
        ([1, 2, 3], None, 3),
        (iter([1, 2, 3]), None, None),
        (iter([1, 2, 3]), 3, 3),
        ([], None, 0),
    ],
)
def test_track_yields_every_item_once(person, iterable, total, known):
    heard = person()
    items = list(track(iterable, total=total, description="Reading"))
    assert items == [1, 2, 3][: len(items)]
    assert heard.said == [Said("bar", "Reading", len(items), known)]


def test_track_closes_when_the_job_fails(person):
    heard = person()

    def broken():
        yield 1
        raise OSError("unreadable")

    with pytest.raises(OSError, match="unreadable"):
        list(track(broken(), description="Reading"))
    with contextlib.suppress(ZeroDivisionError), progress_bar(4, "Fitting") as bar:
        bar.update(2)
        raise ZeroDivisionError
    for _ in track([1, 2, 3], description="Leaving"):
        break
    assert heard.said == [
        Said("bar", "Reading", 1, None),
        Said("bar", "Fitting", 2, 4),
        Said("bar", "Leaving", 0, 3),
    ]


def test_a_short_job_shows_no_bar(console):
    here = console()
    with use_front_end(here.front_end):
        assert sum(track(range(100), description="Quick")) == 4950
    assert here.stderr.getvalue() == ""


def test_a_long_job_shows_a_bar_and_takes_it_away(console, monkeypatch):
    monkeypatch.setattr(terminal, "BAR_DELAY", 0.15)
    here = console()
    with use_front_end(here.front_end), progress_bar(40, "Indexing") as bar:
        bar.update(10)
        assert here.stderr.getvalue() == ""
        time.sleep(0.2)
        bar.update(10)
        (line,) = here.stderr.screen()
        assert line.startswith("Indexing:  50%|")
        assert "20/40" in line
        assert "file" in line
    assert here.stderr.screen() == []


def test_nested_bars_stand_below_each_other(console, at_once, monkeypatch):
    here = console()
    with use_front_end(here.front_end), progress_bar(2, "Outer") as outer:
        time.sleep(0.12)  # tqdm redraws ten times a second at most
        outer.update()
        with progress_bar(2, "Inner") as inner:
            time.sleep(0.12)
            inner.update()
            assert [line.split(":")[0] for line in here.stderr.screen()] == ["Outer", "Inner"]
            here.front_end.progress(1, 2, "Line")
            assert [line[:5] for line in here.stderr.screen()] == ["Outer", "Inner", "Line "]
            here.front_end.progress(2, 2, "Line")
        assert [line.split(":")[0] for line in here.stderr.screen()] == ["Outer"]
    assert here.stderr.screen() == []


def test_a_muted_database_shows_no_bar(console, at_once):
    here = console()
    with use_front_end(here.front_end):
        for _ in track([1, 2], description="Quiet", voice=Voice(muted=True)):
            time.sleep(0.12)
    assert here.stderr.getvalue() == ""


def test_many_threads_count_right(console, at_once):
    here = console()
    with use_front_end(here.front_end), progress_bar(8000, "Counting") as bar:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: [bar.update() for _ in range(1000)], range(8)))
        time.sleep(0.12)
        bar.update(0)
        assert "8000/8000" in here.stderr.screen()[0]


def test_dask_workers_may_update(person):
    heard = person()
    with progress_bar(50, "Blocks", unit="block") as bar:
        dask.compute(*[dask.delayed(bar.update)() for _ in range(50)], scheduler="threads")
    assert heard.said == [Said("bar", "Blocks", 50, 50)]


def test_a_job_that_becomes_slow_still_moves(console, at_once):
    here = console()
    with use_front_end(here.front_end), progress_bar(2000, "Reading") as bar:
        for n in (1, 1000, 1, 1):
            time.sleep(0.12)
            bar.update(n)
        assert "1003/2000" in here.stderr.screen()[0]


def test_importing_warns_of_nothing_in_a_notebook_without_widgets():
    code = """
import sys, types
sys.modules["ipywidgets"] = None
import IPython
class Shell: kernel = None; config = {"IPKernelApp": {}}
IPython.get_ipython = Shell
import time
from dbdicom_xr import interact
from dbdicom_xr.interact import terminal
terminal.BAR_DELAY = 1e-9
with interact.progress_bar(2, "Reading") as bar:
    time.sleep(0.12); bar.update()
"""
    pytest.importorskip("IPython")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Reading:  50%|" in done.stderr, "a notebook cell shows the bar"
