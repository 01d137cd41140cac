# Made from _async/calls.py by scripts/unasync: change that one.
"""Calls that are made again, and streams that go on, where that is safe and may help."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc

from jobengine._settings import Settings
from jobengine._status import from_rpc_error, is_interruption
from jobengine._sync.transport import (
    StreamMethod,
    Stub,
    Transport,
    UnaryMethod,
    ask,
    read,
    sleep,
)
from jobengine.errors import (
    ClientClosed,
    ConnectionSilent,
    DeadlineExceeded,
    JobEngineError,
    Unavailable,
)
from jobengine.retry import Backoff

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


@dataclass(frozen=True, slots=True)
class Stream(Generic[_Response]):
    """A stream that can be resumed: each new call sends the request as it then is."""

    method: Callable[[Stub], StreamMethod[Any, _Response]]
    request: Any
    begin: Callable[[], None]
    """Told before each call; brings the request's cursor up to date."""
    complete: Callable[[], bool]
    """Asked when a call ended with OK: whether that is the stream's end."""
    over: Callable[[], bool] = lambda: False
    """Asked when a call ended in another way: whether all has been told before that."""
    silence_seconds: float | None = None
    """After how long without a message the connection is taken for dead; None: never."""


class Calls:
    """Makes a client's calls."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.transport = Transport(settings)

    def unary(
        self,
        method: Callable[[Stub], UnaryMethod[_Request, _Response]],
        request: _Request,
        *,
        timeout_seconds: float | None = None,
        before_retry: Callable[[], None] | None = None,
    ) -> _Response:
        """Make a call, again while the service is unavailable, within one deadline."""
        timeout = self.settings.timeout_seconds if timeout_seconds is None else timeout_seconds
        deadline = time.monotonic() + timeout
        backoff = Backoff(self.settings.retry.retry_for_seconds)
        while True:
            try:
                return ask(
                    method(self.transport.stub()),
                    request,
                    timeout_seconds=max(deadline - time.monotonic(), 0.0),
                    metadata=self.settings.call_metadata(),
                )
            except (grpc.RpcError, Unavailable) as error:
                failure = self._failure(error)
            if not isinstance(failure, Unavailable):
                raise failure
            self._pause(failure, backoff, deadline)
            if before_retry is not None:
                before_retry()

    def stream(
        self,
        stream: Stream[_Response],
        *,
        deadline: float | None = None,
        established: bool = False,
    ) -> Generator[_Response, None]:
        """Yield a stream's messages, over as many calls as that takes, heartbeats included.

        A stream of which nothing was heard yet fails as other calls do; one that is
        `established` is resumed for longer. `deadline` is of `time.monotonic()`.
        """
        retry = self.settings.retry
        backoff = Backoff(retry.resume_for_seconds if established else retry.retry_for_seconds)
        while True:
            stub = self.transport.stub()
            try:
                with closing(self._messages(stream, stub, deadline)) as messages:
                    for message in messages:
                        backoff.succeeded(retry.resume_for_seconds)
                        yield message
                if stream.over() or stream.complete():
                    return
                failure: JobEngineError = Unavailable(
                    "the stream ended before its time", code=grpc.StatusCode.UNAVAILABLE
                )
            except ConnectionSilent as error:
                failure = error
                # Its keepalive may never find out: it begins anew with each call.
                self.transport.give_up(stub)
            except (grpc.RpcError, Unavailable) as error:
                failure = self._failure(error)
            if stream.over():
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise DeadlineExceeded(str(failure), code=grpc.StatusCode.DEADLINE_EXCEEDED)
            if not is_interruption(failure):
                raise failure
            self._pause(failure, backoff, deadline)

    def once(self, stream: Stream[_Response]) -> Generator[_Response, None]:
        """Yield the messages of one call, heartbeats included, until it ends."""
        stub = self.transport.stub()
        try:
            with closing(self._messages(stream, stub, None)) as messages:
                yield from messages
        except ConnectionSilent:
            self.transport.give_up(stub)
            raise
        except (grpc.RpcError, Unavailable) as error:
            raise self._failure(error) from None

    def _messages(
        self, stream: Stream[_Response], stub: Stub, deadline: float | None
    ) -> Generator[_Response, None]:
        stream.begin()
        call = stream.method(stub)(
            stream.request,
            timeout=None if deadline is None else max(deadline - time.monotonic(), 0.0),
            metadata=self.settings.call_metadata(),
        )
        return read(call, stream.silence_seconds)

    def _failure(self, error: grpc.RpcError | Unavailable) -> JobEngineError:
        if self.transport.closed:
            return ClientClosed("the client was closed during the call")
        return error if isinstance(error, Unavailable) else from_rpc_error(error)

    def _pause(self, failure: JobEngineError, backoff: Backoff, deadline: float | None) -> None:
        """Wait before the next attempt, or raise the failure where there is time for none."""
        delay = backoff.next_delay(failure.retry_delay_seconds)
        if delay is None or (deadline is not None and time.monotonic() + delay >= deadline):
            raise failure
        sleep(delay)
