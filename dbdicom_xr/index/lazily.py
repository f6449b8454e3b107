"""Attributes that are worked out when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["lazily"]

T = TypeVar("T")


class lazily(Generic[T]):  # a decorator, as functools.cached_property is
    """What ``functools.cached_property`` is from Python 3.12 on: without a lock.

    In 3.11 all instances of a class share one, so that two threads which work out attributes of
    two objects, and hold locks of their own meanwhile, can wait for each other for ever. Two
    threads may work out the same attribute; both get the same value.

    Examples
    --------
    >>> class Example:
    ...     @lazily
    ...     def value(self):
    ...         print("once")
    ...         return 1
    >>> example = Example()
    >>> example.value + example.value
    once
    2
    """

    def __init__(self, method: Callable[[Any], T]) -> None:
        self.method = method
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazily[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        return instance.__dict__.setdefault(self.name, self.method(instance))
