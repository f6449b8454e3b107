"""Talking to the person: messages, progress and questions, over one front end.

Owns what a front end is, those of a terminal, a notebook and a script, the words that every record
has (``message progress mute unmute status dialog``), and the log. It knows nothing of DICOM, and
imports nothing of the package but its errors.

One rule stands above all: where no person can answer, a question raises
:class:`~dbdicom_xr.errors.NoPerson` at once, naming the argument that decides. It never waits.
"""

from dbdicom_xr.interact.bars import progress_bar, track
from dbdicom_xr.interact.current import front_end, interactive, set_front_end, use_front_end
from dbdicom_xr.interact.fields import Field
from dbdicom_xr.interact.log import LogFile, set_log_file
from dbdicom_xr.interact.notebook import NotebookFrontEnd
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
    "LogFile",
    "NotebookFrontEnd",
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
    "set_log_file",
    "track",
    "use_front_end",
]
