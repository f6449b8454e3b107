"""Nodes of a ``DataTree`` that are filled when somebody looks at them.

A tree of thousands of series is walked for a few of them, and what a node holds takes milliseconds
to work out. Such a node is a ``DataTree`` in every respect; once filled it is nothing else.

xarray has no such nodes, so this reaches into its ``DataTree``. Where a version of xarray keeps
something else in it than what is known here, nodes are filled at once: slower, and as right.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import MemberDescriptorType
from typing import Any, Final

import xarray as xr
from xarray.backends import api

__all__ = ["opened_tree", "waiting_tree"]

Fill = Callable[[], xr.Dataset]
Change = Callable[[xr.Dataset], xr.Dataset]

# What a node holds. The first keeps the function instead while the node waits.
_HELD: Final = (
    "_attrs",
    "_data_variables",
    "_node_coord_variables",
    "_node_dims",
    "_node_indexes",
    "_encoding",
)
# What it is, whatever it holds. (_cache: of accessors. _close: nothing of ours is to be closed.)
_KNOWN: Final = ("_cache", "_children", "_close", "_name", "_parent")


def _slots_of(kind: type[xr.DataTree]) -> dict[str, Any] | None:
    """Return where nodes keep what they hold; None where they are not made of what is known."""
    found = {
        name: member
        for one in kind.__mro__
        for name, member in vars(one).items()
        if isinstance(member, MemberDescriptorType)
    }
    if found.keys() != {*_HELD, *_KNOWN} or getattr(kind(), "__dict__", None):
        return None
    return {name: found[name] for name in _HELD}


_SLOTS: Final = _slots_of(xr.DataTree)
_lock = threading.RLock()


class _Waiting(xr.DataTree):  # type: ignore[no-untyped-call]
    """A node that is not filled yet."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        # What is made in its image, by copy() and the like, waits for nothing.
        return xr.DataTree(*args, **kwargs)

    def _fill(self) -> None:
        slots = _SLOTS or {}
        with _lock:
            # Another thread may have been first.
            if isinstance(self, _Waiting):
                node = xr.DataTree(_fill_of(self)())
                for slot in slots.values():
                    slot.__set__(self, slot.__get__(node))
                self.__class__ = xr.DataTree  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._fill()
        return self.__reduce_ex__(protocol)


class _Opened(_Waiting):  # type: ignore[no-untyped-call]
    """The root of a tree that an engine gives to ``xr.open_datatree``.

    That goes over all nodes twice, to protect what is read from changes, and to make indexes.
    Here both are left for the time when a node is filled. All others who go over the nodes fill
    them, as do versions of xarray that call these two otherwise.
    """

    __slots__ = ()

    @property
    def subtree(self) -> Iterator[Any]:
        """All nodes."""
        nodes = super().subtree
        asking = sys._getframe(1)
        protect_all = getattr(api, "_protect_datatree_variables_inplace", None)
        protect = getattr(api, "_protect_dataset_variables_inplace", None)
        cache = asking.f_locals.get("cache")
        if (
            protect is None
            or asking.f_code is not getattr(protect_all, "__code__", None)
            or not isinstance(cache, bool)
        ):
            return nodes

        def protected(dataset: xr.Dataset) -> xr.Dataset:
            protect(dataset, cache)
            return dataset

        return iter([node for node in nodes if not _fill_later(node, protected)])

    def map_over_datasets(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the tree of what a function makes of the nodes."""
        index: Change | None = getattr(api, "_maybe_create_default_indexes", None)
        if index is None or func is not index or args or kwargs:
            return super().map_over_datasets(func, *args, **kwargs)
        return _changed(self, index)


def _fill_of(node: xr.DataTree) -> Fill:
    """Return what fills a node; of one that is filled, what it holds."""
    with _lock:
        if not isinstance(node, _Waiting) or _SLOTS is None:
            return lambda: node.to_dataset(inherit=False)
        fill: Fill = _SLOTS["_attrs"].__get__(node)
        return fill


def _fill_later(node: xr.DataTree, change: Change) -> bool:
    """Let a node be changed when it is filled; return False where it is already."""
    with _lock:
        if not isinstance(node, _Waiting) or _SLOTS is None:
            return False
        _SLOTS["_attrs"].__set__(node, _then(_fill_of(node), change))
        return True


def _then(fill: Fill, change: Change) -> Fill:
    return lambda: change(fill())


def _changed(node: xr.DataTree, change: Change) -> xr.DataTree:
    """Return a tree of changed nodes, which wait."""
    children = {name: _changed(child, change) for name, child in node.children.items()}
    return waiting_tree(_then(_fill_of(node), change), children, node.name)


def _late(slot: Any) -> property:
    def get(node: _Waiting) -> Any:
        node._fill()
        return slot.__get__(node)

    def set(node: _Waiting, value: Any) -> None:
        node._fill()
        slot.__set__(node, value)

    return property(get, set)


for _name, _slot in (_SLOTS or {}).items():
    setattr(_Waiting, _name, _late(_slot))


def opened_tree(root: xr.DataTree) -> xr.DataTree:
    """Return a tree as an engine gives it to ``xr.open_datatree``, which keeps it waiting.

    Parameters
    ----------
    root : DataTree
        Of ``waiting_tree``.

    Examples
    --------
    >>> opened_tree(waiting_tree(lambda: xr.Dataset({"a": 1}))).a.item()
    1
    """
    if type(root) is _Waiting:
        root.__class__ = _Opened
    return root


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
    if _SLOTS is None:
        return xr.DataTree(fill(), children, name)
    node: xr.DataTree = object.__new__(_Waiting)
    _SLOTS["_attrs"].__set__(node, fill)
    node._cache = {}
    node._close = None
    node._name = name
    node._parent = None
    node._children = dict(children or {})
    for key, child in node._children.items():
        child._name = key
        child._parent = node
    return node
