"""Which process it is that does not see a folder: a worker of a cluster is known by its address."""

from __future__ import annotations

import os
import socket
import sys

from dbdicom_xr.errors import MissingFolder

__all__ = ["not_seen", "this_place"]


def this_place() -> str:
    """Return what names this process to somebody elsewhere.

    Returns
    -------
    str
        Address and host of a worker of ``dask.distributed``; else the process and its host.

    Examples
    --------
    >>> this_place() == f"process {os.getpid()} on {socket.gethostname()}"
    True
    """
    process = f"process {os.getpid()} on {socket.gethostname()}"
    # Only where it is loaded: no other process is a worker of it.
    distributed = sys.modules.get("distributed.worker")
    if distributed is None:
        return process
    try:
        return f"worker {distributed.get_worker().address} ({process})"
    except ValueError:  # not in a task
        return process


def not_seen(path: str) -> MissingFolder:
    """Return the error about a folder that others see, and this process does not.

    Parameters
    ----------
    path : str
        The folder, or a file that should be in it.
    """
    place = this_place()
    return MissingFolder(
        f"{path} is not there for the {place}. All processes that read or write it need the same "
        "file system: mount the folder there, under the same path, or leave that worker out. "
        "client.run(os.path.isdir, folder) tells which workers see a folder. If the folder was "
        "moved, open it where it is now, and make the array again."
    )
