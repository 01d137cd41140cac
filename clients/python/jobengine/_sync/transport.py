"""What only threads do in this way; `jobengine._async.transport` is its other half."""

import contextlib
import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from jobengine._settings import Metadata, Settings, channel_options, given_up, silence
from jobengine.errors import ClientClosed
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

Channel = grpc.Channel
Stub = JobEngineStub
if TYPE_CHECKING:
    UnaryMethod = grpc.UnaryUnaryMultiCallable[_Request, _Response]
    StreamMethod = grpc.UnaryStreamMultiCallable[_Request, _Response]
else:
    # gRPC's own classes take no type arguments while the program runs.
    UnaryMethod = StreamMethod = Callable[[_Request], _Response]

sleep = time.sleep


class Transport:
    """The channel to the server, opened when it is first needed.

    A gRPC channel dies in a forked child: each process gets its own. May be used by any
    number of threads.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.closed = False
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._stub: Stub | None = None
        self._retired: grpc.Channel | None = None
        # Destroying a channel in a process that isn't its own may hang.
        self._orphans: list[grpc.Channel] = []
        _transports.add(self)

    def channel(self) -> Channel:
        """The channel.

        Raises:
            ClientClosed: the client was closed.
        """
        with self._lock:
            return self._open_channel()

    def stub(self) -> Stub:
        """The service's methods.

        Raises:
            ClientClosed: the client was closed.
        """
        with self._lock:
            channel = self._open_channel()
            if self._stub is None:
                self._stub = JobEngineStub(channel)
            return self._stub

    def give_up(self, stub: Stub) -> None:
        """Have new calls open a new connection, if this stub's is still the one they would use.

        Other calls on the old connection are left to it until the next one is given up.
        """
        with self._lock:
            if self._stub is not stub or self._channel is None:
                return
            retired, self._retired = self._retired, self._channel
            self._channel = self._stub = None
        if retired is not None:
            retired.close()

    def close(self) -> None:
        """Close the channel; calls that are under way end with ClientClosed."""
        with self._lock:
            self.closed = True
            for channel in (self._channel, self._retired):
                if channel is not None:
                    channel.close()

    def begin_in_child(self) -> None:
        """Leave the parent process its channel."""
        self._lock = threading.Lock()  # another thread of the parent may hold the old one
        self._orphans += filter(None, (self._channel, self._retired))
        self._channel = self._stub = self._retired = None

    def _open_channel(self) -> grpc.Channel:
        if self.closed:
            raise ClientClosed("the client is closed: make a new one")
        if self._channel is None:
            self._channel = _open(self.settings)
        return self._channel


_transports: "weakref.WeakSet[Transport]" = weakref.WeakSet()


def _after_fork() -> None:
    for transport in list(_transports):
        transport.begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _open(settings: Settings) -> grpc.Channel:
    options = channel_options(settings)
    credentials = settings.channel_credentials()
    if credentials is None:
        return grpc.insecure_channel(settings.address, options)
    return grpc.secure_channel(settings.address, credentials, options)


def ask(
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
    with _telling_closed_channels():
        return method(request, timeout=timeout_seconds, metadata=metadata)


@contextlib.contextmanager
def _telling_closed_channels() -> Generator[None]:
    """A channel is closed with its client, or given up by another call."""
    try:
        yield
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.CANCELLED and error.details() == "Channel closed!":
            raise given_up() from None
        raise


def read(call: Any, silence_seconds: float | None) -> Generator[Any, None]:  # noqa: ANN401
    """Yield a call's messages until it ends with OK; cancel it when left early.

    Raises:
        ConnectionSilent: no message came for `silence_seconds`.
        Unavailable: its channel was closed.
        grpc.RpcError: the call failed.
    """
    if silence_seconds is None:
        try:
            with _telling_closed_channels():
                yield from call
        finally:
            call.cancel()
        return
    watchdog = _Watchdog(call, silence_seconds)
    try:
        while True:
            watchdog.wait_for_message()
            try:
                with _telling_closed_channels():
                    message = next(call)
            except StopIteration:
                return
            except grpc.RpcError:
                if watchdog.barked:
                    raise silence(silence_seconds) from None
                raise
            watchdog.rest()
            yield message
    finally:
        watchdog.stop()
        call.cancel()


class _Watchdog:
    """A thread that cancels a call on which nothing came for too long."""

    def __init__(self, call: Any, silence_seconds: float) -> None:  # noqa: ANN401
        self.barked = False
        self._call = call
        self._silence = silence_seconds
        self._deadline = math.inf
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobengine-watchdog", daemon=True)
        self._thread.start()

    def wait_for_message(self) -> None:
        """The reader waits from now on."""
        self._deadline = time.monotonic() + self._silence

    def rest(self) -> None:
        """A message came; the time that its reader takes for it is no silence."""
        self._deadline = math.inf

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _run(self) -> None:
        # A deadline set meanwhile lies behind the end of this wait: none is missed.
        while not self._stopped.wait(min(self._deadline - time.monotonic(), self._silence)):
            if time.monotonic() >= self._deadline:
                self.barked = True
                self._call.cancel()
                return
