"""What the operator can set about the server itself, whichever its engine."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from server.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one server. Times in seconds."""

    listen: str = "127.0.0.1:50051"
    """Where to listen: host:port (port 0: any free one) or unix:PATH."""

    insecure: bool = False
    """Whether an address that others can reach may be served without TLS or authentication."""

    share_port: bool = False
    """Whether other servers of the same engine may listen on the same port."""

    tls_cert: Path | None = None
    """The server's certificate and its chain, PEM; with `tls_key` it makes the server use TLS."""

    tls_key: Path | None = None
    """The certificate's key, PEM."""

    client_ca: Path | None = None
    """Authorities of client certificates, PEM; callers must have one, and are known by it."""

    token_file: Path | None = None
    """Bearer tokens that are taken."""

    jwt_issuers: Path | None = None
    """Issuers whose JWTs are taken."""

    policy: Path | None = None
    """Who may do what; None: whoever is let in may do all."""

    public_health: bool = True
    """Whether callers without a credential are told the health."""

    public_reflection: bool = False
    """Whether callers without a credential are told the protos."""

    heartbeat_seconds: float = 50.0
    """How long a watch may be silent, where its caller doesn't say."""

    engine_timeout_seconds: float = 30.0
    """How long the engine may take for one call."""

    stop_grace_seconds: float = 5.0
    """How long calls may take to finish once the server is told to stop."""

    max_streams: int = 20_000
    """How many watches and log reads may be open at once."""

    max_calls: int = 10_000
    """How many calls with a single answer may be under way at once."""

    slow_reader_seconds: float = 60.0
    """How long the client of a stream may read nothing, once its connection's window is full."""

    max_connection_age_seconds: float | None = None
    """When a connection is told to move; None: never."""

    max_connections: int | None = None
    """How many connections may be open at once; None: as many as there are files to be had."""

    max_spec_bytes: int = 1024 * 1024
    """A job spec's size at most, serialised."""

    metrics_listen: str | None = None
    """host:port for metrics and probes over HTTP; None: none."""

    tracing: bool = False
    """Whether traces are sent, as OpenTelemetry's own environment variables say."""

    @property
    def authenticates(self) -> bool:
        """Whether callers are asked who they are."""
        return bool(self.client_ca or self.token_file or self.jwt_issuers)

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """The part of an operator's settings that isn't the engine's."""
        return cls(
            listen=settings.listen,
            insecure=settings.insecure,
            share_port=settings.share_port,
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
            client_ca=settings.client_ca,
            token_file=settings.tokens,
            jwt_issuers=settings.jwt_issuers,
            policy=settings.policy,
            public_health=settings.public_health,
            public_reflection=settings.public_reflection,
            heartbeat_seconds=settings.heartbeat,
            engine_timeout_seconds=settings.engine_timeout,
            stop_grace_seconds=settings.stop_grace,
            max_streams=settings.max_streams,
            max_calls=settings.max_calls,
            slow_reader_seconds=settings.slow_reader_timeout,
            max_connection_age_seconds=settings.max_connection_age,
            max_connections=settings.max_connections,
            max_spec_bytes=settings.max_spec_bytes,
            metrics_listen=settings.metrics_listen,
            tracing=settings.tracing,
        )

    def check(self) -> None:
        """Refuse what can't be served, or not safely.

        Raises:
            ValueError: names the setting and says what to do.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key belong together: give both")
        if self.client_ca is not None and self.tls_cert is None:
            raise ValueError("--client-ca needs TLS: give --tls-cert and --tls-key, too")
        if self.policy is not None and not self.authenticates:
            raise ValueError(
                "--policy needs to know who calls: give --tokens, --jwt-issuers or --client-ca"
            )
        self._check_listen()

    def _check_listen(self) -> None:
        listen = self.listen
        if self.share_port and (listen.startswith("unix:") or listen.endswith(":0")):
            raise ValueError(
                f"--listen {listen!r} has no port that servers can share: name one, or don't share"
            )
        if listen.startswith("unix:"):
            return
        host, separator, port = listen.rpartition(":")
        if not separator or not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(
                f"--listen {listen!r} isn't host:port or unix:PATH, for example 127.0.0.1:50051"
            )
        if self.insecure or _is_loopback(host.strip("[]")):
            return
        missing = [
            what
            for what, there in (
                ("TLS (--tls-cert and --tls-key)", self.tls_cert),
                (
                    "callers' credentials (--tokens, --jwt-issuers or --client-ca)",
                    self.authenticates,
                ),
            )
            if not there
        ]
        if missing:
            raise ValueError(
                f"--listen {listen!r} can be reached from other machines, which needs "
                f"{' and '.join(missing)}: give that, or listen on 127.0.0.1, or say --insecure if "
                "something else protects it"
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
