"""Counts and times RPCs."""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from types import TracebackType
from typing import Final, Self

from google.protobuf.descriptor import MethodDescriptor
from grpc import StatusCode

from server.metrics.catalogue import HANDLING, SERVER_STREAM, SERVICE, UNARY
from server.metrics.histogram import Histogram

_PLACES: Final = {code: place for place, code in enumerate(StatusCode)}
_OK: Final = _PLACES[StatusCode.OK]


class Rpc:
    """One method's calls. It is written on the event loop alone."""

    # A list, since finding a member of an enumeration in a dict takes as long as all else.
    __slots__ = ("_handled", "labels", "name", "seconds", "started")

    def __init__(self, method: MethodDescriptor) -> None:
        self.name = method.name
        kind = SERVER_STREAM if method.server_streaming else UNARY
        self.labels = (kind, SERVICE.full_name, method.name)
        self.started = 0
        self._handled = [0] * len(_PLACES)
        self.seconds = None if method.server_streaming else Histogram(HANDLING.bounds)

    @property
    def handled(self) -> Mapping[StatusCode, int]:
        """How many were ended with which code."""
        return dict(zip(_PLACES, self._handled, strict=True))

    @property
    def open(self) -> int:
        """How many are under way."""
        handled = sum(self._handled)
        return max(self.started - handled, 0)

    def call(self) -> "Call":
        """A call has begun: `with rpc.call() as call` counts its end, however it ends."""
        return Call(self)

    def end(self, place: int, began: float) -> None:
        """A call has ended with the code that has this place."""
        self._handled[place] += 1
        if self.seconds is not None:
            self.seconds.observe(perf_counter() - began)


class Call:
    """One call, from its beginning to its end.

    `code` is what the caller is told; unset, it is OK, CANCELLED where the call was cancelled, and
    UNKNOWN after any other exception.
    """

    __slots__ = ("_began", "_rpc", "code")

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self.code: StatusCode | None = None
        rpc.started += 1
        self._began = perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.code is not None:
            place = _PLACES[self.code]
        elif exc_type is None:
            place = _OK
        else:
            place = _PLACES[_code_of(exc_type)]
        self._rpc.end(place, self._began)


def _code_of(exc_type: type[BaseException]) -> StatusCode:
    cancelled = issubclass(exc_type, asyncio.CancelledError)
    return StatusCode.CANCELLED if cancelled else StatusCode.UNKNOWN
