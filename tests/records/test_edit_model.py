"""Any sequence of edits, moves, copies, saves and restores does what it does to dictionaries.

CI runs a few; `DBDICOM_XR_LONG=500` runs as many examples, with random seeds.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.records.edit_model import PRIVATE, Model

LONG = int(os.environ.get("DBDICOM_XR_LONG", "0"))

numbers = st.integers(0, 11)
depths = st.integers(1, 4)
edits = st.one_of(
    st.tuples(
        st.sampled_from(["SeriesDescription", "StudyDescription", "ImageComments", PRIVATE]),
        st.sampled_from(["x", "other text", "Größe", None]),
    ),
    st.tuples(st.just("PatientName"), st.sampled_from(["Doe^J", "Müller^K"])),
    st.tuples(st.just("PatientBirthDate"), st.sampled_from(["19661231", None])),
    st.tuples(st.sampled_from(["FlipAngle", "EchoTime"]), st.sampled_from([5.5, 90.0])),
    st.tuples(st.sampled_from(["InstanceNumber", "SeriesNumber"]), st.sampled_from([3, 12])),
)
said = st.fixed_dictionaries(
    {},
    optional={
        "PatientName": st.just("New^N"),
        "PatientBirthDate": st.just("20000101"),
        "StudyDescription": st.just("new study"),
        "SeriesDescription": st.just("new series"),
        "FlipAngle": st.just(77.0),
    },
)
simple = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 4), numbers, edits),
    st.tuples(st.just("set_frames"), numbers, st.sampled_from([[1.0], [1.0, 2.5], [2.5, None]])),
    st.tuples(st.just("set_frame"), numbers, st.sampled_from([1.0, 8.25])),
    st.tuples(st.just("rename"), depths, numbers, st.booleans()),
    st.tuples(st.just("new"), st.integers(1, 3), numbers, said),
    st.tuples(st.just("new_instance"), numbers),
    st.tuples(st.just("move"), st.integers(2, 4), numbers, numbers),
    st.tuples(st.just("copy"), depths, numbers, numbers),
    st.tuples(st.just("remove"), depths, numbers),
)  # fmt: skip


class Editing(RuleBasedStateMachine):
    """A small database, and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.model = Model(self.folder)
        self.first = dict(self.model.bytes)
        self.fresh = 0

    def teardown(self) -> None:
        """Restore all, and take the folder away."""
        try:
            self.model.restore(0, 0)
            self.model.check()
            assert self.model.database.changes().to_dict("records") == []
            self.model.database.close(save=False)
        finally:
            shutil.rmtree(self.folder)

    def _do(self, action: tuple[Any, ...]) -> None:
        model = self.model
        name, *values = action
        if name == "set":
            depth, number, (attribute, value) = values
            model.say(depth, number, attribute, value)
        elif name == "rename":
            depth, number, taken = values
            self.fresh += 1
            value = f"Q{self.fresh}" if depth == 1 else f"9.{depth}.{self.fresh}"
            if taken:
                other = model.pick(depth, number + 1)
                value = other if depth == 4 else other and other[-1]
            if value is not None:
                model.rename(depth, number, value)
        elif name == "new_instance":
            self.fresh += 1
            model.new_instance(values[0], f"blank {self.fresh}")
        elif name in ("move", "copy"):
            model.put(*values, copies=name == "copy")
        else:
            getattr(model, name)(*values)

    @rule(action=simple)
    def change(self, action: tuple[Any, ...]) -> None:
        """Change something."""
        if len(self.model.now.items) < 40 or action[0] != "copy":
            self._do(action)

    @rule(actions=st.lists(simple, min_size=1, max_size=4), fails=st.booleans())
    def batch(self, actions: list[tuple[Any, ...]], fails: bool) -> None:
        """Change several things as one."""
        actions = [a for a in actions if len(self.model.now.items) < 40 or a[0] != "copy"]
        self.model.batch([lambda a=a: self._do(a) for a in actions], fails=fails)

    @rule(depth=st.integers(0, 4), number=numbers)
    def save(self, depth: int, number: int) -> None:
        """Save a record."""
        self.model.save(depth, number)

    @rule(depth=st.integers(0, 4), number=numbers)
    def restore(self, depth: int, number: int) -> None:
        """Restore a record."""
        self.model.restore(depth, number)

    @rule()
    def reopen(self) -> None:
        """Open the folder anew."""
        self.model.reopen()

    @invariant()
    def shows(self) -> None:
        """The database shows the model, and files are as they were saved."""
        self.model.check()


TestEditing = Editing.TestCase
TestEditing.settings = settings(
    max_examples=LONG or 10,
    stateful_step_count=25 if LONG else 12,
    derandomize=not LONG,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.generate],  # to shrink takes minutes
)
