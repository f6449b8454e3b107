"""Waiting for a click while a notebook cell runs.

A kernel does one thing at a time: while a cell runs, the messages of widgets wait for its end, and
a cell that waits for one of them would wait for ever. So the cell takes them in itself, and hands
all others (the next cells) to the kernel again, in their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

OF_WIDGETS = ("comm_open", "comm_msg", "comm_close")
INTERVAL = 0.05  # seconds; a click that is heard of by another thread is noticed after that


class WidgetEvents:
    """The messages that reach a kernel's main thread.

    Parameters
    ----------
    kernel : ipykernel.ipkernel.IPythonKernel
        Of version 6 or 7.

    Raises
    ------
    AttributeError
        If it is another kernel, whose messages do not come this way.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._kept: list[Any] = []
        kernel.comm_manager  # noqa: B018  raises here, not while somebody waits
        thread = getattr(kernel, "shell_channel_thread", None)
        if thread is not None:  # ipykernel 7: a thread receives, and passes on to this one
            self._stream = thread.manager.get_shell_channel_to_subshell_pair(None).to_stream
        else:
            self._stream = kernel.shell_stream
            kernel.schedule_dispatch  # noqa: B018
        self._socket = self._stream.socket

    def wait(self, done: Callable[[], bool], timeout: float) -> bool:
        """Deliver messages of widgets until `done` says so; False when `timeout` has passed.

        Ctrl-C, the stop button of a notebook, raises ``KeyboardInterrupt`` as anywhere.
        """
        end = time.monotonic() + timeout
        try:
            while not done():
                if time.monotonic() > end:
                    return False
                if self._socket.poll(int(1000 * INTERVAL)):
                    self._receive()
            return True
        finally:
            self._hand_back()

    def _receive(self) -> None:
        kernel, frames = self._kernel, self._socket.recv_multipart(copy=False)
        try:
            idents, parts = kernel.session.feed_identities(frames, copy=False)
            # Without its content a message is only peeked at: it can be read again later.
            header = kernel.session.deserialize(parts, content=False, copy=False)["header"]
            kind = header["msg_type"]
        except Exception:  # not a message of a front end; the kernel knows what to do
            kind = ""
        if kind not in OF_WIDGETS:
            self._kept.append(frames)
            return
        message = kernel.session.deserialize(parts, content=True, copy=False)
        # Widgets send their next change when they hear that the kernel is done with the last.
        kernel._publish_status("busy", "shell", parent=message)
        try:
            getattr(kernel.comm_manager, kind)(self._stream, idents, message)
        finally:
            kernel._publish_status("idle", "shell", parent=message)

    def _hand_back(self) -> None:
        kernel, loop, kept = self._kernel, self._kernel.io_loop, self._kept
        self._kept = []
        for frames in kept:
            if hasattr(kernel, "schedule_dispatch"):
                kernel.schedule_dispatch(kernel.dispatch_shell, frames)
            else:
                loop.add_callback(kernel.shell_main, None, frames)
        # ZeroMQ tells the event loop of news only once, and this may have taken the telling.
        loop.add_callback(self._stream.flush)
