"""What both clients are made from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from jobengine.errors import Unavailable
from jobengine.retry import RetryPolicy

Metadata = tuple[tuple[str, str], ...]

DEFAULT_ADDRESS = "127.0.0.1:50051"

_MAX_MESSAGE_BYTES = 16 * 1024 * 1024

_CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # A connection that is silently dead is noticed within 40 s. The server permits a ping
    # every 10 s, and would cut off a client that pings more often.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
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
    """The gRPC channel's options; those of the caller come last, and win."""
    host = settings.address.rpartition(":")[0]
    # An http_proxy in the environment isn't meant for this machine's own addresses.
    local = host in {"localhost", "127.0.0.1", "[::1]"} or host.startswith("unix")
    proxy = (("grpc.enable_http_proxy", 0),) if local else ()
    return (*_CHANNEL_OPTIONS, *proxy, *settings.options)


def silence(seconds: float | None) -> Unavailable:
    """The error of a stream on which nothing comes any more."""
    return Unavailable(
        f"nothing was heard from the server for {seconds:g} s, not even a heartbeat",
        code=grpc.StatusCode.UNAVAILABLE,
    )
