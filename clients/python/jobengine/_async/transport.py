"""What only asyncio does in this way; `jobengine._sync.transport` is its other half."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
import grpc.aio

from jobengine._settings import Metadata, Settings, channel_options, given_up, silence
from jobengine.errors import ClientClosed
from jobengine.v1 import job_engine_pb2_grpc
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

Channel = grpc.aio.Channel
if TYPE_CHECKING:
    # There is but one class, of which the type stubs tell two.
    Stub = job_engine_pb2_grpc.JobEngineAsyncStub
else:
    Stub = JobEngineStub
UnaryMethod = grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]
StreamMethod = grpc.aio.UnaryStreamMultiCallable[_Request, _Response]

sleep = asyncio.sleep


class Transport:
    """The channel to the server, opened when it is first needed.

    A gRPC channel belongs to one event loop: each loop gets its own, also those of forked
    processes.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stub: Stub | None = None
        self._retired: grpc.aio.Channel | None = None
        # Destroying a channel in a process or loop that isn't its own may hang.
        self._orphans: list[grpc.aio.Channel] = []

    def channel(self) -> Channel:
        """The channel.

        Raises:
            ClientClosed: the client was closed.
        """
        if self.closed:
            raise ClientClosed("the client is closed: make a new one")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._orphans += filter(None, (self._channel, self._retired))
            self._channel = self._stub = self._retired = None
            self._loop = loop
        if self._channel is None:
            self._channel = _open(self.settings)
        return self._channel

    def stub(self) -> Stub:
        """The service's methods.

        Raises:
            ClientClosed: the client was closed.
        """
        channel = self.channel()
        if self._stub is None:
            self._stub = cast("Stub", JobEngineStub(channel))
        return self._stub

    async def give_up(self, stub: Stub) -> None:
        """Have new calls open a new connection, if this stub's is still the one they would use.

        Other calls on the old connection are left to it until the next one is given up.
        """
        if self._stub is stub and self._channel is not None:
            retired, self._retired = self._retired, self._channel
            self._channel = self._stub = None
            if retired is not None:
                await retired.close()

    async def close(self) -> None:
        """Close the channel; calls that are under way end with ClientClosed."""
        self.closed = True
        if self._loop is asyncio.get_running_loop():
            for channel in (self._channel, self._retired):
                if channel is not None:
                    await channel.close()


def _open(settings: Settings) -> grpc.aio.Channel:
    options = channel_options(settings)
    credentials = settings.channel_credentials()
    if credentials is None:
        return grpc.aio.insecure_channel(settings.address, options)
    return grpc.aio.secure_channel(settings.address, credentials, options)


async def ask(
    method: UnaryMethod[_Request, _Response],
    request: _Request,
    *,
    timeout_seconds: float,
    metadata: Metadata,
) -> _Response:
    """Make a call with one answer.

    Raises:
        Unavailable: its channel was closed.
        grpc.RpcError: the call failed.
    """
    try:
        return await method(request, timeout=timeout_seconds, metadata=metadata)
    except asyncio.CancelledError:
        raise _why_cancelled() from None


async def read(
    call: grpc.aio.UnaryStreamCall[Any, _Response], silence_seconds: float | None
) -> AsyncGenerator[_Response, None]:
    """Yield a call's messages until it ends with OK; cancel it when left early.

    Raises:
        ConnectionSilent: no message came for `silence_seconds`.
        Unavailable: its channel was closed.
        grpc.RpcError: the call failed.
    """
    try:
        while (message := await _read_one(call, silence_seconds)) is not grpc.aio.EOF:
            yield cast("_Response", message)
    finally:
        call.cancel()


async def _read_one(
    call: grpc.aio.UnaryStreamCall[Any, _Response], silence_seconds: float | None
) -> object:
    try:
        async with asyncio.timeout(silence_seconds):
            return await call.read()
    except TimeoutError:
        raise silence(silence_seconds) from None
    except asyncio.CancelledError:
        raise _why_cancelled() from None


def _why_cancelled() -> BaseException:
    """Tell apart whether the caller's task was cancelled, or its call with the channel.

    That one was closed with the client, or given up by another call.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        return asyncio.CancelledError()
    return given_up()
