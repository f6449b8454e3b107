"""The terminal front end, on streams that pretend to be a terminal."""

from __future__ import annotations

import io
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dbdicom_xr.errors import NoPerson
from dbdicom_xr.interact import Status, Talk, TerminalFrontEnd, Voice, presence, use_front_end


class Talking(Talk):
    def __init__(self, voice):
        self.voice = voice

    @property
    def _voice(self):
        return self.voice


def ask(front_end, cancel=True):
    return front_end.question("Proceed?", title="Check", cancel=cancel, decides="force=True")


def test_messages_go_to_stdout_warnings_and_errors_to_stderr(capsys):
    front_end = TerminalFrontEnd()
    front_end.message("hello")
    front_end.notice("information", "done", "Report")
    front_end.notice("warning", "odd", "")
    front_end.notice("error", "bad", "")
    out, err = capsys.readouterr()
    assert out == "hello\nReport\ndone\n"
    assert err == "Warning: odd\nError: bad\n"


def test_no_progress_where_no_terminal_shows_it(capsys):
    front_end = TerminalFrontEnd()
    front_end.progress(1, 2, "half")
    bar = front_end.bar(2, "half", "file")
    bar.update(2)
    bar.close()
    assert capsys.readouterr() == ("", "")


def test_progress_is_one_line_that_is_redrawn_and_cleared(console):
    here = console()
    here.front_end.progress(0, 4, "Reading")
    assert re.match(r"Reading +0%\|", here.stderr.screen()[0])
    here.front_end.progress(1, 4, "Reading")
    here.front_end.progress(3, 4, "Fitting\nthe model")
    assert len(here.stderr.screen()) == 1
    assert re.match(r"Fitting the model +75%\|", here.stderr.screen()[0])
    here.front_end.progress(4, 4, "Fitting")
    assert here.stderr.screen() == []
    assert here.stdout.getvalue() == ""


@pytest.mark.parametrize(
    ("value", "maximum"),
    [(0, 0), (5, 0), (5, 4), (1, -1), (0, float("nan")), (0, float("inf")), (float("nan"), 3)],
)
def test_progress_without_an_end_or_past_it_shows_nothing(console, value, maximum):
    here = console()
    here.front_end.progress(value, maximum, "odd")
    assert here.stderr.screen() == []


@pytest.mark.parametrize("value", [-3, -float("inf"), 0.0])
def test_progress_before_its_beginning_is_zero(console, value):
    here = console()
    here.front_end.progress(value, 10, "odd")
    assert "  0%" in here.stderr.screen()[0]


def test_a_second_loop_starts_anew(console):
    here = console()
    for _ in range(2):
        for i in range(3):  # the guide's loop: never reaches its maximum
            here.front_end.progress(i, 3, "Calculating..")
    assert len(here.stderr.screen()) == 1
    assert " 67%" in here.stderr.screen()[0]


def test_mute_takes_the_progress_away(console):
    here = console()
    with use_front_end(here.front_end):
        Status(voice := Voice()).progress(1, 2, "half")
        assert len(here.stderr.screen()) == 1
        Talking(voice).mute()
        Talking(voice).progress(1, 2, "half")
    assert here.stderr.screen() == []


def test_progress_draws_only_what_changes(console):
    here = console()
    for i in range(10_000):
        here.front_end.progress(i, 10_000, "fast")
    assert 100 <= here.stderr.getvalue().count("fast") <= 130


def test_a_message_stands_above_the_progress(console):
    here = console()
    # One terminal shows both streams.
    both = TerminalFrontEnd(here.stdin, here.stderr, here.stderr)
    both.progress(1, 2, "half")
    both.message("by the way")
    assert here.stderr.screen()[0] == "by the way"
    assert here.stderr.screen()[1].startswith("half")
    both.progress(2, 2, "")
    assert here.stderr.screen() == ["by the way"]


def test_what_the_terminal_cannot_encode_is_escaped(console):
    here = console(encoding="ascii")
    here.front_end.message("Müller \udce9")
    here.front_end.progress(1, 2, "Müller")
    assert here.stdout.screen() == [r"M\xfcller \udce9"]
    assert here.stderr.screen()[0].startswith(r"M\xfcller  50%|")


def test_output_that_nobody_takes_ends_no_job(monkeypatch, console):
    closed = console()
    for stream in (closed.stdout, closed.stderr):
        stream.close()
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    for front_end in (closed.front_end, TerminalFrontEnd()):
        front_end.message("hello")
        front_end.notice("error", "bad", "")
        front_end.progress(1, 2, "half")
        front_end.bar(2, "x", "file").update()


@pytest.mark.parametrize(
    ("typed", "cancel", "answer"),
    [
        ("y\n", True, "Yes"),
        ("No\n", True, "No"),
        ("CANCEL\n", True, "Cancel"),
        ("c\n\nwhat\nyes\n", False, "Yes"),
        ("", True, "Cancel"),
    ],
)
def test_question(console, typed, cancel, answer):
    here = console(typed)
    assert ask(here.front_end, cancel) == answer
    assert here.stderr.screen()[0] == "Check"
    assert here.stderr.screen()[1].startswith("Proceed? (y = yes, n = no")
    assert here.stdout.getvalue() == ""


def test_a_question_that_ends_without_an_answer_raises(console):
    with pytest.raises(NoPerson, match="force=True"):
        ask(console("what\n").front_end, cancel=False)


@pytest.mark.parametrize(
    "why",
    ["stdin is a file", "stderr is a file", "stdin is closed", "ci", "test", "thread", "child"],
)
def test_nobody_is_asked_where_nobody_is(console, monkeypatch, why):
    here = console("y\n")
    front_end = here.front_end
    assert front_end.is_interactive
    if why == "stdin is a file":
        front_end = TerminalFrontEnd(io.StringIO("y\n"), here.stdout, here.stderr)
    elif why == "stderr is a file":
        front_end = TerminalFrontEnd(here.stdin, here.stdout, io.StringIO())
    elif why == "stdin is closed":
        here.stdin.close()
    elif why == "ci":
        monkeypatch.setenv("CI", "true")
    elif why == "test":
        monkeypatch.setenv("PYTEST_CURRENT_TEST", "x")
    elif why == "child":
        monkeypatch.setattr(presence, "_IMPORTED_IN", -1)
    if why == "thread":
        with ThreadPoolExecutor(1) as pool, pytest.raises(NoPerson, match="force=True"):
            pool.submit(ask, front_end).result(timeout=5)
    else:
        assert not front_end.is_interactive
        with pytest.raises(NoPerson, match="force=True"):
            ask(front_end)


@pytest.mark.parametrize("ci", ["", "0", "false"])
def test_ci_that_is_switched_off_is_none(console, monkeypatch, ci):
    here = console()
    monkeypatch.setenv("CI", ci)
    assert here.front_end.is_interactive


@pytest.mark.parametrize(
    ("kind", "typed", "found"),
    [
        ("directory", "missing\nfile\nfolder\n", "folder"),
        ("directory", "'folder'\n", "folder"),
        ("directory", "\n", None),
        ("directory", "", None),
        ("file_to_open", "folder\nfile\n", "file"),
        ("file_to_save", "new\n", "new"),
        ("file_to_save", "folder\nmissing/new\nfolder/new\n", "folder/new"),
        ("file_to_save", "file\ny\n", "file"),
        ("file_to_save", "file\nn\nnew\n", "new"),
        ("file_to_save", "file\nc\n", None),
    ],
)
def test_paths(console, tmp_path, kind, typed, found):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    here = console(typed)
    path = here.front_end.path(kind, "Where", start=str(tmp_path), decides="path=")
    assert path == (None if found is None else str(tmp_path / found))
    assert here.stdin.read() == "", "no line was left unread"
    assert (tmp_path / "file").read_text() == "kept"


def test_fields_are_asked_line_by_line(console):
    here = console("\n0\n7\nwrap\n0, 2\n")
    fields = [
        {"label": "Name", "value": "hello"},
        {"label": "Radius", "type": "integer", "minimum": 1},
        {"label": "Mode", "type": "dropdownlist", "list": ["nearest", "wrap"]},
        {"label": "Flavours", "type": "listview", "list": ["a", "b", "c"]},
    ]
    assert here.front_end.fields(fields, title="Form", decides="") == ["hello", 7, 1, [0, 2]]
    assert here.stderr.screen() == [
        "Form",
        "Name (empty for hello)",
        "Radius (at least 1)",
        "Radius: 0 is not between 1 and inf",
        "Radius (at least 1)",
        "Mode (0 = nearest, 1 = wrap)",
        "Flavours (0 = a, 1 = b, 2 = c)",
    ]


def test_fields_are_cancelled_by_the_end_of_input(console):
    here = console("hello\n")
    fields = [{"label": "a"}, {"label": "b"}]
    assert here.front_end.fields(fields, title="", decides="") is None


def test_many_threads_tear_no_line(console):
    here = console()
    texts = [f"message {i:03d} " + "x" * 40 for i in range(200)]

    def say(text):
        here.front_end.message(text)
        here.front_end.progress(1, 3, text)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(say, texts))
    assert sorted(here.stdout.screen()) == texts
    here.front_end.progress(3, 3, "")
    assert here.stderr.screen() == []
    assert threading.active_count() < 20
