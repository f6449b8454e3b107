"""The words of a record, over a scripted front end."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle

import pytest

from dbdicom_xr.errors import DbdicomError, InvalidValue, NoPerson
from dbdicom_xr.interact import (
    FrontEnd,
    NotebookFrontEnd,
    Said,
    ScriptedFrontEnd,
    Talk,
    TerminalFrontEnd,
    Voice,
    front_end,
    interactive,
    progress_bar,
    set_front_end,
    use_front_end,
)
from dbdicom_xr.interact.fields import without_records


class Record(Talk):
    def __init__(self, voice):
        self.voice = voice

    @property
    def _voice(self):
        return self.voice


@pytest.fixture
def series():
    return Record(Voice())


def test_what_a_record_says_reaches_the_front_end_in_order(series, person):
    heard = person()
    series.message("Starting calculation...")
    series.status.message("still")
    for i in range(2):
        series.progress(i, 2, "Calculating")
    series.status.progress(2, 2)
    series.status.hide()
    series.dialog.information("done", title="Report")
    series.dialog.warning("odd")
    series.dialog.error("bad")
    assert heard.said == [
        Said("message", "Starting calculation..."),
        Said("message", "still"),
        Said("progress", "Calculating", 0, 2),
        Said("progress", "Calculating", 1, 2),
        Said("progress", "", 2, 2),
        Said("information", "done"),
        Said("warning", "odd"),
        Said("error", "bad"),
    ]


def test_mute_silences_messages_and_progress_of_the_whole_database_but_no_dialog(person):
    voice = Voice()
    series, study, elsewhere = Record(voice), Record(voice), Record(Voice())
    heard = person("No")
    series.mute()
    study.message("unheard")
    study.progress(1, 2, "unheard")
    with progress_bar(3, "unheard", voice=voice) as bar:
        bar.update(3)
    study.dialog.error("bad")
    assert study.dialog.question("Go on?") == "No"
    elsewhere.message("other database")
    study.unmute()
    series.message("heard")
    assert [said.text for said in heard.said] == ["bad", "Go on?", "other database", "heard"]


@pytest.mark.parametrize(
    ("given", "cancel", "answer"),
    [
        ("Yes", True, "Yes"),
        ("no", False, "No"),
        ("C", True, "Cancel"),
        (" y ", False, "Yes"),
    ],
)
def test_question(series, person, given, cancel, answer):
    heard = person(given)
    assert series.dialog.question("Do you wish to proceed?", cancel=cancel) == answer
    assert heard.said == [Said("question", "Do you wish to proceed?")]


@pytest.mark.parametrize(("given", "cancel"), [("Cancel", False), ("perhaps", True), (1, True)])
def test_an_answer_that_does_not_fit_raises(series, person, given, cancel):
    person(given)
    with pytest.raises(ValueError, match="is no answer to"):
        series.dialog.question("Sure?", cancel=cancel)


@pytest.mark.parametrize(
    "ask",
    [
        lambda dialog, decides: dialog.question("Sure?", decides=decides),
        lambda dialog, decides: dialog.question("Sure?", cancel=False, decides=decides),
        lambda dialog, decides: dialog.directory("Sure?", decides=decides),
        lambda dialog, decides: dialog.file_to_open("Sure?", decides=decides),
        lambda dialog, decides: dialog.file_to_save("Sure?", decides=decides),
        lambda dialog, decides: dialog.input({"label": "Sure?"}, decides=decides),
    ],
)
@pytest.mark.parametrize("make", [ScriptedFrontEnd, TerminalFrontEnd, NotebookFrontEnd])
def test_without_a_person_every_question_raises_and_names_the_argument(series, ask, make):
    with use_front_end(make()):
        with pytest.raises(NoPerson, match=r'"Sure\?" needs.*pass save=True or save=False'):
            ask(series.dialog, "save=True or save=False")
        with pytest.raises(NoPerson, match="set_front_end"):
            ask(series.dialog, "")
    assert issubclass(NoPerson, DbdicomError)


def test_answers_are_used_up_in_order(series, person):
    heard = person("Yes", "/data", None)
    assert interactive()
    assert series.dialog.question("1") == "Yes"
    assert series.dialog.directory("2") == "/data"
    assert series.dialog.file_to_open("3") is None
    assert not interactive()
    with pytest.raises(NoPerson):
        series.dialog.file_to_save("4")
    assert [said.kind for said in heard.said] == [
        "question",
        "directory",
        "file_to_open",
        "file_to_save",
    ]


FORM = [
    {"label": "Name", "type": "string", "value": "hello"},
    {"label": "Radius", "type": "integer", "value": 2, "minimum": 1, "maximum": 9},
    {"label": "Size", "type": "float"},
    {"label": "Mode", "type": "dropdownlist", "list": ["nearest", "wrap"], "value": 1},
    {"label": "Flavours", "type": "listview", "list": ["a", "b", "c"]},
]


def test_input_gives_the_fields_with_their_values(series, person):
    before = copy.deepcopy(FORM)
    person(["x", "3", 2.5, "nearest", [2, "a"]])
    cancel, fields = series.dialog.input(*FORM, title="Settings")
    assert not cancel
    assert [field["value"] for field in fields] == ["x", 3, 2.5, 0, [0, 2]]
    assert [field["label"] for field in fields] == [field["label"] for field in FORM]
    assert before == FORM, "the caller's fields are left alone"


def test_input_cancelled(series, person):
    person(None)
    cancel, fields = series.dialog.input(*FORM)
    assert cancel
    assert fields == FORM


@pytest.mark.parametrize(
    ("position", "value", "why"),
    [
        (1, 0, "not between 1 and 9"),
        (1, "2.5", "not a whole number"),
        (1, 2.5, "not a whole number"),
        (2, "two", "not a number"),
        (2, float("nan"), "not between"),
        (3, 2, "none of nearest, wrap"),
        (3, -1, "none of nearest, wrap"),
        (4, ["d"], "none of a, b, c"),
    ],
)
def test_input_that_does_not_fit_raises(series, person, position, value, why):
    values = ["x", 3, 2.5, 0, []]
    values[position] = value
    person(values)
    with pytest.raises(ValueError, match=why):
        series.dialog.input(*FORM)


def test_input_with_too_few_values_raises(series, person):
    person([1])
    with pytest.raises(ValueError, match="has 5 fields, the answer 1 values"):
        series.dialog.input(*FORM)


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ({}, "needs a label"),
        ({"label": "x", "type": "date"}, "unknown type 'date'"),
        ({"label": "x", "type": "dropdownlist"}, "needs a list"),
    ],
)
def test_a_field_that_asks_for_nothing_raises(series, person, field, why):
    person(["1"])
    with pytest.raises(ValueError, match=why):
        series.dialog.input(field)


def test_set_front_end_returns_the_one_before():
    first = front_end()
    mine = ScriptedFrontEnd()
    assert set_front_end(mine) is first
    assert front_end() is mine
    assert set_front_end(None) is mine
    assert isinstance(front_end(), TerminalFrontEnd)
    set_front_end(first)
    with contextlib.suppress(ZeroDivisionError), use_front_end("scripted") as scripted:
        assert isinstance(scripted, ScriptedFrontEnd)
        assert front_end() is scripted
        raise ZeroDivisionError
    assert front_end() is first


@pytest.mark.parametrize(
    ("wrong", "error", "why"),
    [
        ("gui", ValueError, "'gui'; there are 'terminal', 'notebook', 'scripted'"),
        (io.StringIO(), InvalidValue, "lacks.*question"),
        (ScriptedFrontEnd, InvalidValue, "is a class"),
    ],
)
def test_what_is_no_front_end_is_refused(wrong, error, why):
    before = front_end()
    with pytest.raises(error, match=why):
        set_front_end(wrong)
    assert front_end() is before


@pytest.mark.parametrize("make", [ScriptedFrontEnd, TerminalFrontEnd, NotebookFrontEnd])
def test_front_ends_follow_the_protocol(make):
    assert isinstance(make(), FrontEnd)


def test_a_voice_pickles_with_its_database():
    assert pickle.loads(pickle.dumps(Voice(muted=True))) == Voice(muted=True)


class Named:
    """Stands for a record: it is shown by its path."""

    def __init__(self, path):
        self.path = path


ONE, TWO, THREE = (Named(f"/patient/{name}") for name in "abc")
CHOICE = {"label": "Series", "options": [ONE, TWO, THREE]}


@pytest.mark.parametrize(
    ("kind", "default", "given", "chosen"),
    [
        ("select record", [TWO], 0, ONE),
        ("select record", TWO, "/patient/c", THREE),
        ("select records", [], [0, 2], [ONE, THREE]),
        ("select records", [TWO], [], []),
        ("select optional record", None, 0, None),
        ("select optional record", None, "(none)", None),
        ("select optional record", TWO, "/patient/b", TWO),
    ],
)
def test_a_form_gives_the_records_that_were_chosen(series, person, kind, default, given, chosen):
    person([given, "3"])
    number = {"label": "Tolerance", "type": "float"}
    cancel, fields = series.dialog.input({**CHOICE, "type": kind, "default": default}, number)
    assert not cancel
    assert fields[0] == chosen
    assert fields[1]["value"] == 3.0


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        ("select record", [TWO], 1),
        ("select record", None, 0),
        ("select records", [ONE, THREE], [0, 2]),
        ("select optional record", TWO, 2),
        ("select optional record", None, 0),
    ],
)
def test_the_default_of_a_record_stands_there_first(kind, default, value):
    field = without_records({**CHOICE, "type": kind, "default": default})
    assert field["value"] == value
    assert field["list"][-1] == "/patient/c"


def test_a_form_without_records_to_choose_from_raises(series, person):
    person([0])
    with pytest.raises(ValueError, match="'Series': a dropdownlist needs a list"):
        series.dialog.input({"label": "Series", "type": "select record", "options": []})


def test_a_default_that_is_no_choice_raises(series, person):
    person([0])
    with pytest.raises(ValueError, match="none of a, b"):
        series.dialog.input({"label": "x", "type": "dropdownlist", "list": ["a", "b"], "value": 2})


def test_the_spelling_of_dbdicom(series, person):
    heard = person("Yes", "/a", "/b", "/c")
    assert series.dialog.question(message="Go on?", title="Check", cancel=True) == "Yes"
    assert series.dialog.directory("Where?", datafolder="/x") == "/a"
    opened = series.dialog.file_to_open("Table", extension="CSV files (*.csv)", datafolder="/x")
    assert opened == "/b"
    assert series.dialog.file_to_save(title="Save", directory="/x", filter="PNG (*.png)") == "/c"
    series.progress(1, 2, message="half")
    series.progress(1, 2, message=None)
    series.log("noted")
    assert [said.text for said in heard.said] == [
        "Go on?", "Where?", "Table, CSV files (*.csv)", "Save, PNG (*.png)", "half", "", "noted",
    ]  # fmt: skip


def test_a_question_without_cancel_is_the_default(series, person):
    person("Cancel")
    with pytest.raises(ValueError, match="is no answer to"):
        series.dialog.question("Go on?")
    with pytest.raises(TypeError, match="cancel=True"):
        series.dialog.question("Go on?", True)
