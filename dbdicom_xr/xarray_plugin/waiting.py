"""Nodes of a ``DataTree`` that are filled when somebody looks at them.

A tree of thousands of series is walked for a few of them, and what a node holds takes milliseconds
to work out. Such a node is a ``DataTree`` in every respect; once filled it is nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import xarray as xr

__all__ = ["waiting_tree"]

Fill = Callable[[], xr.Dataset]

# Where a node keeps what it holds. The first keeps the function instead while the node waits.
_HELD: Final = (
    "_attrs",
    "_data_variables",
    "_node_coord_variables",
    "_node_dims",
    "_node_indexes",
    "_encoding",
    "_close",
)
_SLOTS: Final = {name: xr.DataTree.__dict__[name] for name in _HELD}
_lock = threading.RLock()


class _Waiting(xr.DataTree):  # type: ignore[no-untyped-call]
    """A node that is not filled yet."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        # What is made in its image, by copy() and the like, waits for nothing.
        return xr.DataTree(*args, **kwargs)

    def _fill(self) -> None:
        with _lock:
            # Another thread may have been first.
            if type(self) is _Waiting:
                node = xr.DataTree(_SLOTS["_attrs"].__get__(self)())
                for slot in _SLOTS.values():
                    slot.__set__(self, slot.__get__(node))
                self.__class__ = xr.DataTree  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._fill()
        return self.__reduce_ex__(protocol)


def _late(name: str) -> property:
    slot = _SLOTS[name]

    def get(node: _Waiting) -> Any:
        node._fill()
        return slot.__get__(node)

    def set(node: _Waiting, value: Any) -> None:
        node._fill()
        slot.__set__(node, value)

    return property(get, set)


for _name in _HELD:
    setattr(_Waiting, _name, _late(_name))


def waiting_tree(
    fill: Fill, children: Mapping[str, xr.DataTree] | None = None, name: str | None = None
) -> xr.DataTree:
    """Return a node that is filled when it is looked at.

    Parameters
    ----------
    fill : callable
        Returns the Dataset of the node.
    children : mapping of str to DataTree, optional
        Nodes without a parent, which become its own. Their data have to agree with those of the
        node: this is not checked.
    name : str, optional
        Of a root.

    Examples
    --------
    >>> leaf = waiting_tree(lambda: print("now") or xr.Dataset({"a": 1}))
    >>> tree = waiting_tree(xr.Dataset, {"leaf": leaf})
    >>> list(tree.children), tree["leaf"].path
    (['leaf'], '/leaf')
    >>> int(tree["leaf"].a)
    now
    1
    """
    node: xr.DataTree = object.__new__(_Waiting)
    _SLOTS["_attrs"].__set__(node, fill)
    node._cache = {}  # of accessors, for which nothing has to be filled
    node._name = name
    node._parent = None
    node._children = dict(children or {})
    for key, child in node._children.items():
        child._name = key
        child._parent = node
    return node
