"""What both clients are made from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.duration_pb2 import Duration

from jobengine.errors import ConnectionSilent, Unavailable
from jobengine.retry import RetryPolicy

Metadata = tuple[tuple[str, str], ...]

DEFAULT_ADDRESS = "127.0.0.1:50051"

_MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # A connection that is silently dead is noticed within 40 s; without the third, after a
    # minute more. The server permits a ping every 10 s, and would cut off a client that pings
    # more often.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    # A new channel is to get a new connection, not that of one given up as dead.
    ("grpc.use_local_subchannel_pool", 1),
    # gRPC's own delays between connection attempts grow to 2 min, which would keep a client
    # away from a server that has long come back.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """A client's settings; the arguments of `jobengine.Client` say what they mean."""

    address: str
    timeout_seconds: float
    retry: RetryPolicy
    metadata: Metadata
    credentials: grpc.ChannelCredentials | None
    options: tuple[tuple[str, str | int], ...]


def find_address(address: str | None) -> str:
    """The address that is meant: the one given, else JOBENGINE_ADDRESS, else the default."""
    return address or os.environ.get("JOBENGINE_ADDRESS") or DEFAULT_ADDRESS


def channel_options(settings: Settings) -> Sequence[tuple[str, str | int]]:
    """The gRPC channel's options; those of the caller win."""
    options: dict[str, str | int] = dict(_CHANNEL_OPTIONS)
    host = settings.address.rpartition(":")[0]
    if host in {"localhost", "127.0.0.1", "[::1]"} or host.startswith("unix"):
        # An http_proxy in the environment isn't meant for this machine's own addresses.
        options["grpc.enable_http_proxy"] = 0
    # Of an option given twice, gRPC takes the first.
    options.update(settings.options)
    return tuple(options.items())


def duration(seconds: float | None) -> Duration | None:
    """A Duration of seconds, exact to the millisecond; None stays None."""
    if seconds is None:
        return None
    message = Duration()
    message.FromMilliseconds(round(seconds * 1_000))
    return message


def given_up() -> Unavailable:
    """The error of a call whose connection was closed because others had fallen silent on it."""
    message = "its connection was given up: nothing was heard on it by others"
    return Unavailable(message, code=grpc.StatusCode.UNAVAILABLE)


def silence(seconds: float | None) -> ConnectionSilent:
    """The error of a stream on which nothing comes any more."""
    return ConnectionSilent(f"nothing was heard for {seconds:g} s, not even a heartbeat")
