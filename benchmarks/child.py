"""Runs one function in a process of its own, for what memory and caches would spoil."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import Care, Unequal

ROOT = Path(__file__).resolve().parent.parent


class Finished(NamedTuple):
    """What a function returned, and the seconds from starting its process to the end of it."""

    result: Any
    seconds: float


def run(function: Callable[..., Any], **arguments: Any) -> Finished:
    """Call a function of a module in a new process, or here where no care is taken."""
    if Care.taken:
        return run_apart(function, **arguments)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = json.loads(json.dumps(function(**json.loads(json.dumps(arguments)))))
    return Finished(result, time.perf_counter() - start)


def run_apart(function: Callable[..., Any], **arguments: Any) -> Finished:
    """Call a function of a module in a new process.

    Arguments and result pass as JSON. Nothing that this process has imported, cached or allocated
    is there; what the system has cached of the files is.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        command = [
            sys.executable, "-m", "benchmarks.child",
            function.__module__, function.__qualname__, json.dumps(arguments), str(answer),
        ]  # fmt: skip
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(
                f"{function.__module__}.{function.__qualname__} failed:\n{done.stdout}{done.stderr}"
            )
        found = json.loads(answer.read_text("utf-8"))
    if "unequal" in found:
        raise Unequal(found["unequal"])
    return Finished(found["result"], seconds)


def _main(module: str, name: str, arguments: str, answer: str) -> None:
    # Dynamic series are aligned by order, as they should be; no need to hear of it.
    warnings.simplefilter("ignore")
    function = getattr(importlib.import_module(module), name)
    found: dict[str, Any]
    try:
        found = {"result": function(**json.loads(arguments))}
    except Unequal as error:
        found = {"unequal": str(error)}
    Path(answer).write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    _main(*sys.argv[1:])
