"""The benchmarks run, on small folders; what they time is not judged here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks import opening
from benchmarks.__main__ import SUBJECTS, main
from benchmarks.child import run
from benchmarks.folders import files_of
from benchmarks.harness import Care, Report, Row, Target, Unequal, require_equal, take_turns
from dbdicom_xr.testing import make_many

# Not imported: in one process GDCM and SimpleITK, which brings its own, end in a crash.
if not all(importlib.util.find_spec(name) for name in ("gdcm", "SimpleITK", "psutil")):
    pytest.skip("other readers of DICOM are not installed", allow_module_level=True)


@pytest.fixture(autouse=True)
def _restore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Care, "taken", True)


PEERS = {"opening": ("pydicom: ", "gdcm.Scanner: "), "computing": ("SimpleITK, ",)}


@pytest.mark.filterwarnings("default")  # of other readers
@pytest.mark.parametrize("subject", SUBJECTS)
def test_all_run_and_the_readers_agree(
    subject: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([subject, "--quick", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "UNEQUAL" not in shown
    assert "0 benchmarks failed" in shown
    assert f"\n{subject}." in shown
    kept = next(tmp_path.glob("*.md")).read_text("utf-8")
    for peer in PEERS.get(subject, ()):
        assert peer in kept


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["opnening"])
    assert "opening" in capsys.readouterr().err


def test_readers_that_disagree_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opening, "with_pydicom", lambda folder: {"1.2.3": ["another value"]})
    assert main(["opening", "--quick", "--results", str(tmp_path)]) == 1
    assert "UNEQUAL: 14 tags of every file" in capsys.readouterr().out


def test_one_that_fails_does_not_cost_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(report: Report, folders: object) -> None:
        """A benchmark with a mistake."""
        raise KeyError("mistake")

    def fine(report: Report, folders: object) -> None:
        """Another one."""
        report.add(Row("the other", "ms", 1.0))

    monkeypatch.setattr(opening, "BENCHMARKS", [broken, fine])
    assert main(["opening", "--quick", "--results", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "FAILED: opening.broken" in shown.out
    assert "the other | 1 ms" in shown.out
    assert "mistake" in shown.err


def test_a_missed_target_counts_only_when_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(report: Report, folders: object) -> None:
        """Too slow."""
        report.add(Row("slow", "ms", 2.0, target=Target("value", 1)))

    monkeypatch.setattr(opening, "BENCHMARKS", [slow])
    assert main(["opening", "--results", str(tmp_path)]) == 0
    assert "MISSED" in (tmp_path / "results-opening.md").read_text("utf-8")
    assert main(["opening", "--strict", "--results", str(tmp_path)]) == 1


def test_a_function_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    made = make_many(tmp_path, 3, shape=(4, 4))
    finished = run(files_of, folder=str(tmp_path))
    assert finished.result == [str(path) for path in made.files]
    assert finished.seconds > 0
    with pytest.raises(Unequal, match="nothing to compare"):
        run(_compare_nothing)
    with pytest.raises(RuntimeError, match="unexpected keyword"):
        run(files_of, unknown=1)


def _compare_nothing() -> None:
    require_equal("nobody", [], [])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": [1]}, {"a": [2]}),
        ({"a": [1]}, {}),
        ({}, {}),
        (np.zeros((2, 2)), np.zeros((2, 3))),
        (np.zeros((2, 2)), np.eye(2)),
    ],
)
def test_differences_are_found(first: object, second: object) -> None:
    with pytest.raises(Unequal):
        require_equal("something", first, second)
    if len(first):  # type: ignore[arg-type]
        require_equal("something", first, first)


@pytest.mark.parametrize(
    ("ours", "theirs", "target", "met"),
    [
        (1.0, 5.0, Target("times", 5), True),
        (1.0, 4.9, Target("times", 5), False),
        (1.0, 1.0, Target("ratio", 1), True),
        (1.1, 1.0, Target("ratio", 1), False),
        (49.0, None, Target("value", 50), True),
        (50.0, None, Target("value", 50), False),
        (1.0, 5.0, None, None),
    ],
)
def test_targets(
    ours: float, theirs: float | None, target: Target | None, met: bool | None
) -> None:
    row = Row("x", "ms", ours, "peer", theirs, target=target)
    assert row.met is met
    assert ("MISSED" in row.cells()) is (met is False)


def test_the_median_of_turns_counts(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    times = {"a": [0.1, 0.2, 0.9], "b": [1.0, 1.0, 1.0]}
    report.compare("x", times, "a", "b", Target("times", 5))
    (row,) = report.rows
    assert row.ratio == pytest.approx(0.2)
    assert row.met
    assert "5x (1.11x..10x)" in capsys.readouterr().out
    assert "| x | 200 ms | b: 1,000 ms |" in report.markdown()


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def timed_itself() -> float:
        order.append("b")
        return 7.0

    times = take_turns({"a": lambda: order.append("a"), "b": timed_itself}, 2)
    assert order == ["a", "b", "a", "b"]
    assert times["b"] == [7.0, 7.0]
    assert all(seconds >= 0 for seconds in times["a"])
