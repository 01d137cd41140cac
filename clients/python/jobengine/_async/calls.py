"""Calls that are made again, and streams that go on, where that is safe and may help."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc

from jobengine._async.transport import (
    StreamMethod,
    Stub,
    Transport,
    UnaryMethod,
    ask,
    read,
    sleep,
)
from jobengine._settings import Settings
from jobengine._status import from_rpc_error, is_interruption
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


class AsyncCalls:
    """Makes a client's calls."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.transport = Transport(settings)

    async def unary(
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
                return await ask(
                    method(self.transport.stub()),
                    request,
                    timeout_seconds=max(deadline - time.monotonic(), 0.0),
                    metadata=self.settings.call_metadata(),
                )
            except (grpc.RpcError, Unavailable) as error:
                failure = self._failure(error)
            if not isinstance(failure, Unavailable):
                raise failure
            await self._pause(failure, backoff, deadline)
            if before_retry is not None:
                before_retry()

    async def stream(
        self,
        stream: Stream[_Response],
        *,
        deadline: float | None = None,
        established: bool = False,
    ) -> AsyncGenerator[_Response, None]:
        """Yield a stream's messages, over as many calls as that takes, heartbeats included.

        A stream of which nothing was heard yet fails as other calls do; one that is
        `established` is resumed for longer. `deadline` is of `time.monotonic()`.
        """
        retry = self.settings.retry
        backoff = Backoff(retry.resume_for_seconds if established else retry.retry_for_seconds)
        while True:
            stub = self.transport.stub()
            try:
                async with aclosing(self._messages(stream, stub, deadline)) as messages:
                    async for message in messages:
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
                await self.transport.give_up(stub)
            except (grpc.RpcError, Unavailable) as error:
                failure = self._failure(error)
            if stream.over():
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise DeadlineExceeded(str(failure), code=grpc.StatusCode.DEADLINE_EXCEEDED)
            if not is_interruption(failure):
                raise failure
            await self._pause(failure, backoff, deadline)

    async def once(self, stream: Stream[_Response]) -> AsyncGenerator[_Response, None]:
        """Yield the messages of one call, heartbeats included, until it ends."""
        stub = self.transport.stub()
        try:
            async with aclosing(self._messages(stream, stub, None)) as messages:
                async for message in messages:
                    yield message
        except ConnectionSilent:
            await self.transport.give_up(stub)
            raise
        except (grpc.RpcError, Unavailable) as error:
            raise self._failure(error) from None

    def _messages(
        self, stream: Stream[_Response], stub: Stub, deadline: float | None
    ) -> AsyncGenerator[_Response, None]:
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

    async def _pause(
        self, failure: JobEngineError, backoff: Backoff, deadline: float | None
    ) -> None:
        """Wait before the next attempt, or raise the failure where there is time for none."""
        delay = backoff.next_delay(failure.retry_delay_seconds)
        if delay is None or (deadline is not None and time.monotonic() + delay >= deadline):
            raise failure
        await sleep(delay)
