"""What this project uses of sortedcontainers, which ships no types."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

class SortedList(list[_K]):
    def add(self, value: _K) -> None: ...
    def update(self, iterable: Iterable[_K]) -> None: ...
    def bisect_right(self, value: _K) -> int: ...
    def irange(
        self,
        minimum: _K | None = None,
        maximum: _K | None = None,
        inclusive: tuple[bool, bool] = (True, True),
        reverse: bool = False,
    ) -> Iterator[_K]: ...

class SortedDict(dict[_K, _V]):
    def irange(
        self,
        minimum: _K | None = None,
        maximum: _K | None = None,
        inclusive: tuple[bool, bool] = (True, True),
        reverse: bool = False,
    ) -> Iterator[_K]: ...
