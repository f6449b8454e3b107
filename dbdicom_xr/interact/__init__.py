"""Talking to the person: messages, progress and questions, over one front end.

Owns what a front end is, the terminal and the scripted one, and the words that every record has
(``message progress mute unmute status dialog``). It knows nothing of DICOM, and imports nothing
of the package but its errors.

One rule stands above all: where no person can answer, a question raises
:class:`~dbdicom_xr.errors.NoPerson` at once, naming the argument that decides. It never waits.
"""

from dbdicom_xr.interact.bars import progress_bar, track
from dbdicom_xr.interact.current import front_end, interactive, set_front_end, use_front_end
from dbdicom_xr.interact.fields import Field
from dbdicom_xr.interact.protocol import Answer, Bar, FrontEnd, NoticeKind, PathKind
from dbdicom_xr.interact.scripted import Said, ScriptedFrontEnd
from dbdicom_xr.interact.talk import Dialog, Status, Talk, Voice
from dbdicom_xr.interact.terminal import TerminalFrontEnd

__all__ = [
    "Answer",
    "Bar",
    "Dialog",
    "Field",
    "FrontEnd",
    "NoticeKind",
    "PathKind",
    "Said",
    "ScriptedFrontEnd",
    "Status",
    "Talk",
    "TerminalFrontEnd",
    "Voice",
    "front_end",
    "interactive",
    "progress_bar",
    "set_front_end",
    "track",
    "use_front_end",
]
