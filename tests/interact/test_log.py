"""What goes to the log, and the file for it."""

from __future__ import annotations

import errno
import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from dbdicom_xr.errors import AlignedByOrder, NoPerson, SaveFailed
from dbdicom_xr.interact import Talk, Voice, log, progress_bar, set_log_file, track


class Record(Talk):
    def __init__(self):
        self.voice = Voice()

    @property
    def _voice(self):
        return self.voice


@pytest.fixture
def series():
    return Record()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "night.log"
    yield path
    set_log_file(None)


def lines(path):
    """Return what stands in a log, without the times."""
    text = path.read_text(encoding="utf-8")
    entries = re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", text, flags=re.MULTILINE)
    return re.sub(r"\d+\.\d s", "T s", entries).splitlines()


def test_everything_that_is_said_and_asked_is_written(series, person, file):
    person("Yes", None, [3])
    with set_log_file(file) as opened:
        assert opened.path == str(file)
        series.message("Fitting Müller\nagain")
        series.log("a word")
        series.dialog.information("done", title="Report")
        series.dialog.warning("odd")
        series.dialog.error("bad")
        series.dialog.question("Save?", "Closing")
        series.dialog.directory("Where?")
        series.dialog.input({"label": "Radius", "type": "integer"})
        with pytest.raises(NoPerson):
            series.dialog.question("More?", decides="more=True")
        with pytest.warns(AlignedByOrder):
            warnings.warn("by order", AlignedByOrder, stacklevel=1)
    series.message("after the end")
    assert lines(file) == [
        "INFO Fitting Müller",
        "    again",
        "INFO a word",
        "INFO Report: done",
        "WARNING odd",
        "ERROR bad",
        "INFO Question: Closing: Save?",
        "INFO Answer: Yes",
        "INFO Question: Where?",
        "INFO Answer: None",
        "INFO Question: Radius",
        "INFO Answer: [3]",
        "INFO Question: More?",
        'ERROR No answer: "More?" needs an answer, but no person is there to give it; '
        "pass more=True",
    ]


def test_jobs_are_written_with_how_long_they_took(series, person, file):
    person()
    set_log_file(file)
    with progress_bar(2, "Reading", "file") as bar:
        bar.update(2)
    with pytest.raises(OSError, match="full"), progress_bar(1, "Saving", "file"):
        raise OSError("the disk is full")
    for _ in track([1, 2], description="Leaving"):
        break
    for value in range(3):
        series.progress(value, 3, f"Fitting {value}")
    series.progress(3, 3)
    series.progress(0, 5, "Counting")
    series.progress(2, 5, None)
    series.progress(0, 2, message="Adding")
    series.status.hide()
    assert lines(file) == [
        "INFO Reading: begins, 2 files",
        "INFO Reading: ended after T s",
        "INFO Saving: begins, 1 file",
        "ERROR Saving: stopped after T s, OSError: the disk is full",
        "INFO Leaving: begins, 2 files",
        "INFO Leaving: ended after T s",
        "INFO Fitting 0: begins, 3 steps",
        "INFO Fitting 0: ended after T s",
        "INFO Counting: begins, 5 steps",
        "INFO Counting: last heard of at 2 of 5 after T s",
        "INFO Adding: begins, 2 steps",
        "INFO Adding: last heard of at 0 of 2 after T s",
    ]


def test_what_is_muted_is_written(series, person, file):
    heard = person()
    series.set_log(file)
    series.mute()
    series.message("quiet")
    assert heard.said == []
    assert lines(file) == ["INFO quiet"]


def test_warnings_of_the_package_are_written_and_shown_those_of_others_are_only_shown(
    file, monkeypatch
):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *rest: shown.append(str(message)))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with set_log_file(file):
            warnings.warn("by order", AlignedByOrder, stacklevel=1)
            warnings.warn("not ours", UserWarning, stacklevel=1)
        warnings.warn("after", AlignedByOrder, stacklevel=1)
    assert shown == ["by order", "not ours", "after"]
    (line,) = lines(file)
    assert re.fullmatch(r"WARNING AlignedByOrder: by order \(.*test_log.py:\d+\)", line)


def test_one_file_takes_the_place_of_another_and_all_is_as_before(series, person, tmp_path):
    person()
    show, level, handlers = warnings.showwarning, log.logger.level, [*log.logger.handlers]
    first = set_log_file(tmp_path / "1.log")
    series.message("1")
    with pytest.raises(FileNotFoundError):
        set_log_file(tmp_path / "missing" / "x.log")
    series.message("still 1")
    second = set_log_file(tmp_path / "2.log")
    series.message("2")
    first.close()
    series.message("still 2")
    assert set_log_file(None) is None
    second.close()
    series.message("none")
    assert lines(tmp_path / "1.log") == ["INFO 1", "INFO still 1"]
    assert lines(tmp_path / "2.log") == ["INFO 2", "INFO still 2"]
    assert (warnings.showwarning, log.logger.level, log.logger.handlers) == (show, level, handlers)
    assert "closed" in repr(second)


def test_lines_are_added_to_a_file_that_exists(series, person, file):
    person()
    file.write_text("before\n")
    with set_log_file(file):
        series.message("new")
    assert lines(file) == ["before", "INFO new"]


def test_the_log_of_a_program_has_it_too(series, person, caplog):
    person()
    with caplog.at_level(logging.INFO, "dbdicom_xr"):
        series.message("Fitting 100%")
    assert caplog.record_tuples == [("dbdicom_xr", logging.INFO, "Fitting 100%")]


def test_a_program_without_a_log_sees_nothing_twice():
    code = """
from dbdicom_xr.interact import Dialog, Voice
Dialog(Voice()).error("bad")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "Error: bad\n"


def test_a_log_whose_end_cannot_be_written_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = set_log_file(tmp_path / "a.log")
    assert file is not None

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(file._handler, "close", full)
        with pytest.raises(SaveFailed, match="No space left"):
            set_log_file(None)
    file._handler.close()
    assert set_log_file(None) is None
