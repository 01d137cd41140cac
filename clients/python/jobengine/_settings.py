"""What both clients are made from."""

import ipaddress
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.duration_pb2 import Duration

from jobengine.errors import ConnectionSilent, Unavailable
from jobengine.retry import RetryPolicy
from jobengine.tls import TLS

Metadata = tuple[tuple[str, str], ...]
Token = str | Callable[[], str]

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
    # away from a server that has long come back; longer than a call is repeated for, they would
    # fail it while two replicas are restarted in turn.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """A client's settings; the arguments of `jobengine.Client` say what they mean."""

    address: str
    timeout_seconds: float
    retry: RetryPolicy
    metadata: Metadata
    token: Token | None
    tls: TLS | None
    credentials: grpc.ChannelCredentials | None
    options: tuple[tuple[str, str | int], ...]

    def __post_init__(self) -> None:
        """Refuse what can't work, before anything is sent.

        Raises:
            ValueError: TLS is set in two ways, or a token would be sent for others to read.
            OSError: a file of TLS can't be read.
        """
        if self.tls is not None:
            if self.credentials is not None:
                raise ValueError("tls and credentials both say how to encrypt: give one")
            self.tls.read()
        encrypted = self.tls is not None or self.credentials is not None
        if self.token is not None and not encrypted and not is_loopback(self.address):
            raise ValueError(
                f"token: anybody between here and {self.address} could read it; set tls, "
                "or use an address of this machine"
            )

    def call_metadata(self) -> Metadata:
        """The headers of the next attempt at a call."""
        if self.token is None:
            return self.metadata
        token = self.token if isinstance(self.token, str) else self.token()
        return (*self.metadata, ("authorization", f"Bearer {token}"))

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """What the next channel is encrypted by; None: it isn't."""
        if self.tls is None:
            return self.credentials
        return grpc.ssl_channel_credentials(*self.tls.read())


def find_address(address: str | None) -> str:
    """The address that is meant: the one given, else JOBENGINE_ADDRESS, else the default."""
    return address or os.environ.get("JOBENGINE_ADDRESS") or DEFAULT_ADDRESS


def is_loopback(address: str) -> bool:
    """Whether what is sent to the address is certain to stay on this machine."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host, _, port = re.sub(r"^(dns:(///)?|ipv4:|ipv6:)", "", address).rpartition(":")
    if host == "localhost":
        return True
    try:
        return port.isdigit() and ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def channel_options(settings: Settings) -> Sequence[tuple[str, str | int]]:
    """The gRPC channel's options; those of the caller win."""
    options: dict[str, str | int] = dict(_CHANNEL_OPTIONS)
    if is_loopback(settings.address):
        # An http_proxy in the environment isn't meant for this machine's own addresses.
        options["grpc.enable_http_proxy"] = 0
    if settings.tls is not None and settings.tls.server_name:
        options["grpc.ssl_target_name_override"] = settings.tls.server_name
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
