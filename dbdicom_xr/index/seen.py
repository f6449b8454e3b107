"""Which process this is to somebody elsewhere: a worker of a cluster is known by its address."""

from __future__ import annotations

import os
import socket
import sys

from dbdicom_xr.errors import MissingFolder

__all__ = ["not_seen", "this_place", "worker_address"]


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
    address = worker_address()
    return process if address is None else f"worker {address} ({process})"


def worker_address() -> str | None:
    """Return where the worker of ``dask.distributed`` is that runs this task, None outside of one.

    Examples
    --------
    >>> worker_address() is None
    True
    """
    # Only where it is loaded: no other process is a worker of it.
    distributed = sys.modules.get("distributed.worker")
    if distributed is None:
        return None
    try:
        return str(distributed.get_worker().address)
    except ValueError:  # not in a task
        return None


def not_seen(path: str) -> MissingFolder:
    """Return the error about a folder that others see, and this process does not.

    Parameters
    ----------
    path : str
        The folder, or a file that should be in it.
    """
    if worker_address() is None:
        return MissingFolder(
            f"The folder {path} is not there, from which this was read. If it was moved, open it "
            "where it is now, db.database(folder), and give the header of its series: header=..., "
            "or make the array again. Of an array in a store of export_as_zarr(), "
            "db.from_zarr(store, folder) makes the DICOM files anew."
        )
    return MissingFolder(
        f"{path} is not there for the {this_place()}. All processes that read or write it need the "
        "same file system: mount the folder there, under the same path, or leave that worker out. "
        "client.run(os.path.isdir, folder) tells which workers see a folder. If the folder was "
        "moved, open it where it is now, and make the array again."
    )
