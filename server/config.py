"""What the operator can set about the server itself."""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one server. Times in seconds."""

    listen: str = "127.0.0.1:50051"
    """Where to listen: host:port (port 0: any free one) or unix:PATH."""

    insecure: bool = False
    """Whether an address that others can reach may be served without TLS."""

    share_port: bool = False
    """Whether other servers of the same engine may listen on the same port."""

    heartbeat_seconds: float = 50.0
    """How long a watch may be silent, where its caller doesn't say."""

    engine_timeout_seconds: float = 30.0
    """How long the engine may take for one call."""

    stop_grace_seconds: float = 5.0
    """How long calls may take to finish once the server is told to stop."""

    max_streams: int = 20_000
    """How many watches and log reads may be open at once."""

    slow_reader_seconds: float = 60.0
    """How long the client of a stream may read nothing, once its connection's window is full."""

    max_spec_bytes: int = 1024 * 1024
    """A job spec's size at most, serialised."""


def check_listen(listen: str, *, insecure: bool = False, share_port: bool = False) -> None:
    """Refuse an address that others can reach, unless the operator insists.

    Raises:
        ValueError: the address is malformed, open to others without `insecure`, or has no port
            that could be shared.
    """
    if share_port and (listen.startswith("unix:") or listen.endswith(":0")):
        raise ValueError(f"{listen!r} has no port that servers can share: name one, or don't share")
    if listen.startswith("unix:"):
        return
    host, separator, port = listen.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{listen!r} isn't host:port or unix:PATH, for example 127.0.0.1:50051")
    if not insecure and not _is_loopback(host.strip("[]")):
        raise ValueError(
            f"{listen!r} can be reached from other machines, and this server neither encrypts nor "
            "asks who calls: listen on 127.0.0.1, or say --insecure if something else protects it"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
