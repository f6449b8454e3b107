"""The notebook front end, in kernels that are driven as a browser and as nbclient drive them."""

from __future__ import annotations

import os
import queue
import time

import pytest

jupyter_client = pytest.importorskip("jupyter_client")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipywidgets")
pytest.importorskip("ipykernel")

pytestmark = [
    # Of the clients in this process, which are not what is tested.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SETUP = """
from dbdicom_xr.errors import NoPerson
from dbdicom_xr.interact import (
    Dialog, NotebookFrontEnd, ScriptedFrontEnd, Status, Voice, front_end, interactive,
    progress_bar, set_front_end, terminal, use_front_end,
)
terminal.BAR_DELAY = 1e-9
voice = Voice()
dialog, status = Dialog(voice), Status(voice)
"""


def kernel_environment():
    lacking = ("CI", "PYTEST_CURRENT_TEST")
    kept = {name: value for name, value in os.environ.items() if name not in lacking}
    return {**kept, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


class Browser:
    """A client that sees the widgets of a kernel, and clicks and types in them."""

    def __init__(self):
        self.manager = jupyter_client.KernelManager()
        self.manager.start_kernel(env=kernel_environment())
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=30)
        self.widgets = {}  # by id: the state
        self.shown = {}  # by display id: what is displayed
        self.printed = ""
        self.heard = set()  # which messages the kernel is done with
        assert self.run(SETUP) == "ok"

    def start(self, code, **options):
        self.printed = ""
        return self.client.execute(code, **{"allow_stdin": True, **options})

    def run(self, code, **options):
        return self.finish(self.start(code, **options))

    def finish(self, message_id, seconds=8):
        """Return how a cell ended, when it has."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                reply = self.client.get_shell_msg(timeout=0.05)
            except queue.Empty:
                self.listen(0)
                continue
            if reply["parent_header"].get("msg_id") == message_id:
                self.listen(0.3)
                content = reply["content"]
                return content["status"] if content["status"] == "ok" else content["ename"]
        raise TimeoutError(f"the cell still runs; {self.printed}")

    def until(self, seen, seconds=8):
        """Listen until `seen` returns something, and return that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.listen(0.05)
            found = seen()
            if found:
                return found
        raise TimeoutError(f"not seen; {self.printed}")

    def listen(self, seconds):
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=seconds)
            except queue.Empty:
                return
            if message["content"].get("execution_state") == "idle":
                self.heard.add(message["parent_header"].get("msg_id"))
            self.take(message["msg_type"], message["content"])

    def take(self, kind, content):
        if kind == "stream":
            self.printed += content["text"]
        elif kind == "error":
            self.printed += content["evalue"]
        elif kind == "comm_open":
            self.widgets[content["comm_id"]] = dict(content["data"].get("state", {}))
        elif kind == "comm_msg" and content["data"].get("method") in ("update", "echo_update"):
            self.widgets.setdefault(content["comm_id"], {}).update(content["data"]["state"])
        elif kind == "comm_close":
            self.widgets.pop(content["comm_id"], None)
        elif kind in ("display_data", "update_display_data"):
            name = content["transient"].get("display_id", len(self.shown))
            self.shown[name] = content["data"]

    def find(self, model, **state):
        for name, widget in self.widgets.items():
            if widget.get("_model_name") == model and all(
                widget.get(key) == value for key, value in state.items()
            ):
                return name
        return None

    def send(self, comm, **data):
        content = {"comm_id": comm, "data": data}
        message = self.client.session.msg("comm_msg", content)
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def click(self, name):
        comm = self.until(lambda: self.find("ButtonModel", description=name))
        self.send(comm, method="custom", content={"event": "click"})

    def set(self, comm, **state):
        return self.send(comm, method="update", state=state, buffer_paths=[])

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(autouse=True)
def _nothing_left_over(request):
    """Stop the cell of a test that failed, so that the others do not wait for its answer."""
    yield
    if "browser" in request.fixturenames:
        request.getfixturevalue("browser").manager.interrupt_kernel()


def test_a_notebook_is_chosen_by_itself_and_a_person_is_there(browser):
    browser.run("print(type(front_end()).__name__, interactive())")
    assert browser.printed == "NotebookFrontEnd True\n"


@pytest.mark.parametrize("answer", ["Yes", "No", "Cancel"])
def test_a_question_waits_for_the_click(browser, answer):
    cell = browser.start("print('got', dialog.question('Save?', 'Closing', cancel=True))")
    browser.until(lambda: browser.find("LabelModel", value="Save?"))
    assert browser.find("LabelModel", value="Closing")
    browser.click(answer)
    assert browser.finish(cell) == "ok"
    assert browser.printed == f"got {answer}\n"
    assert browser.widgets == {}, "no widget is left behind"
    assert {"text/plain": f"Save? {answer}"} in browser.shown.values()


def test_cells_that_are_sent_meanwhile_run_afterwards_in_their_order(browser):
    first = browser.start("print('1', dialog.question('Go on?'))")
    others = [browser.client.execute(f"print({n})") for n in (2, 3, 4)]
    browser.click("No")
    assert browser.find("ButtonModel", description="Cancel") is None
    browser.finish(first)
    browser.until(lambda: "4\n" in browser.printed)
    assert browser.printed == "1 No\n2\n3\n4\n"
    assert others


def test_a_cell_that_fails_after_a_question_stops_those_behind_it(browser):
    cell = browser.start("dialog.question('Go on?'); 1 / 0")
    browser.client.execute("print('never')")
    browser.click("Yes")
    assert browser.finish(cell) == "ZeroDivisionError"
    assert browser.run("print('again')") in ("ok", "aborted")
    assert "never" not in browser.printed


def test_a_form_takes_values_and_tells_what_does_not_fit(browser):
    cell = browser.start("""
print(dialog.input(
    {"label": "Name", "value": "hello"},
    {"label": "Radius", "type": "integer", "minimum": 1, "maximum": 9},
    {"label": "Mode", "type": "dropdownlist", "list": ["nearest", "wrap"], "value": 1},
    {"label": "Flavours", "type": "listview", "list": ["a", "b", "c"], "value": [0]},
    {"label": "Series", "type": "select records", "options": ["x", "y"]},
    title="Settings",
))
""")
    radius = browser.until(
        lambda: browser.find(
            "TextModel", placeholder="a whole number, at least 1, at most 9", value=""
        )
    )
    browser.click("OK")
    browser.until(lambda: browser.find("LabelModel", value="Radius: '' is not a whole number"))
    for typed in ("12", "3"):
        browser.set(radius, value=typed)
    flavours = browser.find("SelectMultipleModel", _options_labels=["a", "b", "c"])
    series = browser.find("SelectMultipleModel", _options_labels=["x", "y"])
    browser.set(flavours, index=[1, 2])
    browser.set(series, index=[1])
    browser.click("OK")
    assert browser.finish(cell) == "ok"
    cancelled, fields = eval(browser.printed)
    assert not cancelled
    assert [field["value"] for field in fields[:4]] == ["hello", 3, 1, [1, 2]]
    assert fields[4] == ["y"]


def test_a_form_can_be_cancelled(browser):
    cell = browser.start("print(dialog.input({'label': 'Name'})[0])")
    browser.click("Cancel")
    assert browser.finish(cell) == "ok"
    assert browser.printed == "True\n"


def test_a_widget_hears_that_its_change_has_arrived_while_the_cell_waits(browser):
    """Else the widgets of a browser hold back all changes after the first."""
    cell = browser.start("print(dialog.input({'label': 'Name'})[1][0]['value'])")
    text = browser.until(lambda: browser.find("TextModel", value=""))
    for typed in ("M", "Mü"):
        change = browser.set(text, value=typed)
        browser.until(lambda change=change: change in browser.heard)
    assert cell not in browser.heard
    browser.click("OK")
    assert browser.finish(cell) == "ok"
    assert browser.printed == "Mü\n"


def test_a_folder_is_found_by_clicking_and_typing(browser, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "scan.txt").write_text("")
    cell = browser.start(f"print(dialog.directory('Where to?', {str(tmp_path)!r}))")
    listing = browser.until(lambda: browser.find("SelectModel", _options_labels=["../", "a/"]))
    browser.set(listing, index=1)
    browser.until(lambda: browser.find("SelectModel", _options_labels=["../", "b/"], index=None))
    browser.set(listing, index=0)
    browser.until(lambda: browser.find("SelectModel", _options_labels=["../", "a/"], index=None))
    browser.set(listing, index=1)
    browser.until(lambda: browser.find("SelectModel", _options_labels=["../", "b/"], index=None))
    browser.click("Choose")
    assert browser.finish(cell) == "ok"
    assert browser.printed.strip() == str(tmp_path / "a")


def test_a_file_is_replaced_only_when_clicked_twice(browser, tmp_path):
    (tmp_path / "old.csv").write_text("")
    code = f"print(dialog.file_to_save('Table', {str(tmp_path)!r}, 'CSV files (*.csv)'))"
    cell = browser.start(code)
    typed = browser.until(lambda: browser.find("TextModel", value=str(tmp_path)))
    assert browser.find("LabelModel", value="Table, CSV files (*.csv)")
    browser.click("Choose")
    browser.until(lambda: browser.find("LabelModel", value=f"{tmp_path} is a folder."))
    old = str(tmp_path / "old.csv")
    browser.set(typed, value=old)
    browser.click("Choose")
    said = f"{old} exists. Click again to replace it."
    browser.until(lambda: browser.find("LabelModel", value=said))
    browser.click("Choose")
    assert browser.finish(cell) == "ok"
    assert browser.printed.strip() == old


def test_the_stop_button_ends_a_question(browser):
    cell = browser.start("dialog.question('Save?')")
    browser.until(lambda: browser.find("ButtonModel", description="Yes"))
    browser.manager.interrupt_kernel()
    assert browser.finish(cell) == "KeyboardInterrupt"
    assert browser.widgets == {}


def test_a_question_that_nobody_answers_raises_after_the_time(browser):
    code = "dialog.question('Save?', decides='save=True')"
    patient = f"with use_front_end(NotebookFrontEnd(timeout=0.2)): {code}"
    assert browser.run(patient) == "NoPerson"
    assert "pass save=True" in browser.printed
    assert browser.run(code, allow_stdin=False) == "NoPerson"
    browser.run("from concurrent.futures import ThreadPoolExecutor as Pool")
    assert browser.run(f"Pool().submit(lambda: {code}).result()") == "NoPerson"


def test_without_widgets_answers_are_typed(browser):
    cell = browser.start(
        "with use_front_end(NotebookFrontEnd(widgets=False)):\n    print(dialog.question('Save?'))"
    )
    asked = browser.client.get_stdin_msg(timeout=10)
    assert asked["content"]["prompt"].startswith("Save? (y = yes")
    browser.client.input("y")
    assert browser.finish(cell) == "ok"
    assert "Yes" in browser.printed


def test_progress_is_a_bar_that_goes_when_the_job_is_done(browser):
    browser.shown.clear()
    cell = browser.start("""
import time
with progress_bar(40, "Indexing") as bar:
    time.sleep(0.01)
    bar.update(10)
    dialog.question("Seen?")
for i in range(3):
    status.progress(i, 3, "Fitting")
dialog.question("Seen too?")
status.progress(3, 3)
with progress_bar(None, "Counting") as bar:
    bar.update(5)
""")
    browser.until(lambda: browser.find("FloatProgressModel", max=40.0, value=10.0))
    assert browser.find("LabelModel", value="Indexing")
    assert any(
        widget.get("value", "").startswith("10/40 file, 0:00")
        for widget in browser.widgets.values()
        if widget["_model_name"] == "LabelModel"
    )
    browser.click("Yes")
    browser.until(lambda: browser.find("FloatProgressModel", max=3.0, value=2.0))
    assert browser.find("FloatProgressModel", max=40.0) is None
    browser.click("Yes")
    assert browser.finish(cell) == "ok"
    assert browser.widgets == {}
    assert {"text/plain": ""} in browser.shown.values()


def test_notices_are_shown_below_the_cell_and_cannot_inject(browser):
    browser.shown.clear()
    browser.run("dialog.warning('a <b>\\nc', 'Odd'); dialog.information('done')")
    (warning, information) = browser.shown.values()
    assert warning["text/plain"] == "Odd\nWarning: a <b>\nc"
    assert "Odd<br>Warning: a &lt;b&gt;<br>c" in warning["text/html"]
    assert information["text/plain"] == "done"


def test_threads_may_count(browser):
    code = """
from concurrent.futures import ThreadPoolExecutor
with progress_bar(800, "Counting") as bar, ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda _: [bar.update() for _ in range(100)], range(8)))
    print(bar.value)
"""
    assert browser.run(code) == "ok"
    assert browser.printed == "800.0\n"


def test_a_notebook_that_is_executed_without_a_person(monkeypatch):
    """As nbconvert, papermill and the builders of manuals do it."""
    for name in ("CI", "PYTEST_CURRENT_TEST"):
        monkeypatch.delenv(name, raising=False)
    cells = [
        SETUP,
        "import time\nwith progress_bar(2, 'Reading') as bar: time.sleep(0.01); bar.update()",
        "try: dialog.question('Save?', decides='save=True')\n"
        "except NoPerson as error: print(error)",
        "with use_front_end(ScriptedFrontEnd(answers=['Yes', [3]])):\n"
        "    print(dialog.question('Save?'), dialog.input({'label': 'N', 'type': 'integer'}))",
        "dialog.error('bad')",
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell, id=f"c{n}") for n, cell in enumerate(cells)]
    )
    nbclient.NotebookClient(notebook, timeout=30, kernel_name="python3").execute()
    _, bar, question, scripted, error = (cell.outputs for cell in notebook.cells)
    assert [output.data for output in bar] == [{"text/plain": ""}], "no dead widget is saved"
    assert question[0].text == (
        '"Save?" needs an answer, but no person is there to give it; pass save=True\n'
    )
    assert scripted[0].text == "Yes (False, [{'label': 'N', 'type': 'integer', 'value': 3}])\n"
    assert error[0].data["text/plain"] == "Error: bad"
