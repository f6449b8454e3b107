"""What a person sees of a record: the tree as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dbdicom_xr.errors import NotInDatabase
from dbdicom_xr.records.tree import Node

if TYPE_CHECKING:
    from dbdicom_xr.records.record import Record

__all__ = ["short", "tree_html", "tree_text"]

_MOST_CHILDREN = 100


def short(record: Record) -> str:
    """Return a record in one line."""
    from dbdicom_xr.errors import DbdicomError
    from dbdicom_xr.records.database import Database

    kind = type(record).__name__
    try:
        if isinstance(record, Database):
            return f"<{kind} {record.path_on_disk!r}: {_totals(record._node)}{_staged(record)}>"
        node: Node | None = getattr(record, "_node", None)
        if node is not None:
            return f"<{kind} {node.name!r}: {_totals(node)}>"
        return f"<{kind} {record.name!r} of {record.parent!r}>"
    except DbdicomError as error:
        return f"<{kind}, not in its database any more: {error}>"


def tree_text(record: Record) -> str:
    """Return the tree at and below a record as text."""
    try:
        node: Node | None = getattr(record, "_node", None)
        if node is None:
            return _instance_text(record)
    except NotInDatabase:
        return short(record)
    title = record.database.path_on_disk if node.level == "database" else node.name
    lines = [f"{title}  ({_totals(node)}{_staged(record)})"]
    lines += _lines(node, "")
    return "\n".join(lines)


def _staged(record: Record) -> str:
    """Return a remark on a database of which something is staged."""
    if getattr(record, "level", "") != "database":
        return ""
    unsaved = record.database._view().layer.unsaved
    return ", with changes that are not saved" if unsaved else ""


def _instance_text(record: Any) -> str:
    kind = type(record).__name__
    facts = [f"{kind} {record.name}"]
    for keyword in ("Modality", "SeriesDescription", "Rows", "Columns"):
        value = record[keyword]
        if value is not None:
            facts.append(f"{keyword} {value}")
    if len(record):
        facts.append(f"{len(record)} frames")
    return ", ".join(facts)


def _lines(node: Node, indent: str) -> Iterator[str]:
    children = list(node.children.values())
    shown = children[:_MOST_CHILDREN]
    for i, child in enumerate(shown):
        last = i == len(children) - 1
        yield f"{indent}{'└── ' if last else '├── '}{child.name}  ({_totals(child)})"
        yield from _lines(child, indent + ("    " if last else "│   "))
    if len(children) > len(shown):
        yield f"{indent}└── ... and {len(children) - len(shown)} more"


_BELOW = {"database": "patient", "patient": "study", "study": "series"}


def _totals(node: Node) -> str:
    instances = frames = size = 0
    modalities: dict[str, None] = {}
    for row in node.series():
        instances += row.instances
        frames += row.frames
        size += row.bytes
        if row.modality:
            modalities[row.modality] = None
    parts = []
    if node.level == "patient" and node.uid and node.key != node.uid:
        parts.append(node.patient[1] or "no name")  # tells apart those who share a PatientID
    if node.level in _BELOW:
        parts.append(_count(len(node.children), _BELOW[node.level]))
    parts.append(_count(instances, "instance"))
    if frames != instances:
        parts.append(_count(frames, "frame"))
    names = list(modalities)
    if names:
        parts.append(", ".join(names[:4]) + (", ..." if len(names) > 4 else ""))
    parts.append(_size(size))
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    plural = {"study": "studies", "series": "series"}.get(what, f"{what}s")
    return f"{number:,} {what if number == 1 else plural}"


def _size(number: float) -> str:
    if number < 1000:
        return _count(int(number), "byte")
    units = ["TB", "GB", "MB", "kB"]
    number /= 1000
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        units.pop()
    return f"{number:.1f} {units[-1]}" if number < 9.95 else f"{number:,.0f} {units[-1]}"


_STYLE = """<style>
.dbdicom ul{list-style:none;margin:0;padding-left:1.2em}
.dbdicom summary{cursor:pointer}
.dbdicom .about{opacity:.65;font-size:90%;margin-left:.6em}
.dbdicom li{margin:.1em 0}
</style>"""


def tree_html(record: Record) -> str:
    """Return the tree at and below a record as collapsible HTML."""
    try:
        node: Node | None = getattr(record, "_node", None)
        if node is None:
            return f"<pre>{html.escape(_instance_text(record))}</pre>"
    except NotInDatabase:
        return f"<pre>{html.escape(short(record))}</pre>"
    title = record.database.path_on_disk if node.level == "database" else node.name
    body = _html(node, title, opened=True, note=_staged(record))
    return f'{_STYLE}<div class="dbdicom"><ul><li>{body}</li></ul></div>'


def _html(node: Node, title: str, *, opened: bool, note: str = "") -> str:
    about = f'<span class="about">{html.escape(_totals(node) + note)}</span>'
    label = f"{html.escape(title)}{about}"
    children = list(node.children.values())
    if not children:
        return label
    shown = children[:_MOST_CHILDREN]
    open_next = opened and len(children) <= 5
    items = "".join(f"<li>{_html(child, child.name, opened=open_next)}</li>" for child in shown)
    if len(children) > len(shown):
        items += f"<li>... and {len(children) - len(shown)} more</li>"
    state = " open" if opened else ""
    return f"<details{state}><summary>{label}</summary><ul>{items}</ul></details>"
