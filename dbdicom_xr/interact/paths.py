"""The paths that a person types or chooses: how they are read, and which ones fit."""

from __future__ import annotations

from pathlib import Path

from dbdicom_xr.interact.protocol import PathKind


def typed_path(typed: str, start: str | None) -> Path | None:
    """Return the path that was typed, looked for from a folder; None if nothing was typed.

    Terminals quote a path that is dragged into them.

    Examples
    --------
    >>> typed_path(" 'my scans' ", start="data").as_posix()
    'data/my scans'
    """
    text = typed.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return Path(start or "", Path(text).expanduser()) if text else None


def refusal(kind: PathKind, path: Path) -> str:
    """Return why a path does not fit what was asked for; nothing if it fits."""
    if kind == "directory":
        return "" if path.is_dir() else "is not a folder"
    if kind == "file_to_open":
        return "" if path.is_file() else "is not a file"
    if path.is_dir():
        return "is a folder"
    return "" if path.parent.is_dir() else "is in no folder that exists"
