"""One running server: engine, mirror and gRPC, from start to an orderly stop."""

import asyncio
import contextlib
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import grpc
import structlog
from grpc_health.v1 import health

from engines.base import Engine
from server import reflection, rpc
from server.config import Config
from server.gate import Gate
from server.health import NOT_SERVING, SERVING, Health
from server.metrics import Endpoint, Metrics
from server.mirror import Mirror
from server.policy.current import PolicyFile
from server.public import Public
from server.rpc import Rpcs
from server.service import Service
from server.slow_readers import SlowReaders

if TYPE_CHECKING:  # each takes time and memory to import, and not every server needs it
    from server.authentication import Authenticator
    from server.tls import ServerCertificate
    from server.tracing import Tracing

CONNECTION_GRACE_MS: Final = 60_000
"""How long a connection that was told to move may finish what it has under way."""

MAX_STREAMS_PER_CONNECTION: Final = 5_000

OPTIONS = (
    # With gRPC's default (a thousand or so waiting requests), 1,232 of 5,000 streams that were
    # opened at once were refused (https://github.com/grpc/grpc/issues/34782).
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    # A client that froze or vanished is noticed after at most these two together; without
    # ping_timeout_ms it took 62 s with 2 s settings.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Clients may ping every 10 s; with gRPC's default of 5 min they were cut off for it
    # (too_many_pings).
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 9_000),
    # Of one connection. Without a limit, 100,000 calls that were cancelled at once ("rapid reset")
    # left the server with 1,002 MiB; with this one 177 MiB. Clients hold further calls back.
    ("grpc.max_concurrent_streams", MAX_STREAMS_PER_CONNECTION),
    # Connections that say nothing are closed after that; by default after up to 120 s.
    ("grpc.server_handshake_timeout_ms", 20_000),
    # More than the largest valid spec, so that a larger one gets an error that names the field.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)

_log = structlog.get_logger()


class Server:
    """A server on one engine: `async with` starts and stops it.

    It listens at once, and serves once the engine has answered; until then, and again when the
    engine is away, the health of jobengine.v1.JobEngine is NOT_SERVING. The health of "" is
    SERVING as long as the server itself is fine: what restarts servers should look at that.

    Raises:
        ValueError: the settings can't be served, or not safely.
        OSError: nobody can listen there, or a file that the settings name can't be read.
    """

    def __init__(self, engine: Engine, config: Config) -> None:
        config.check()
        self._config = config
        self._tracing = _tracing() if config.tracing else None
        self._engine = engine if self._tracing is None else self._tracing.engine(engine)
        self.metrics = Metrics(engine.name, streams_limit=config.max_streams)
        self.mirror = Mirror(self._engine, self.metrics.jobs)
        self.metrics.follow(self.mirror)
        self._certificate = _certificate(config)
        self.policy = PolicyFile(config.policy)
        authenticator = _authenticator(config)
        self._gate = Gate(config, authenticator, self.policy)
        if (certificate := self._certificate) is not None:
            self.metrics.certificate_expires = lambda: certificate.not_after
            self.metrics.watch_file("certificate", certificate)
        if self.policy.file is not None:
            self.metrics.watch_file("policy", self.policy.file)
        for name, file in authenticator.files.items() if authenticator is not None else ():
            self.metrics.watch_file(name, file)
        self._health = Health()
        self._endpoint = (
            None
            if config.metrics_listen is None
            else Endpoint(config.metrics_listen, self.metrics, self._ready)
        )
        self._stack = contextlib.AsyncExitStack()
        self.address = ""
        self.metrics_address = ""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._engine)
            if self._endpoint is not None:
                await stack.enter_async_context(self._endpoint)
                self.metrics_address = self._endpoint.address
            grpc_server = grpc.aio.server(options=self._options())
            self._add_services(grpc_server)
            self.address = self._bind(grpc_server)
            self._health.set("", SERVING)
            self._health.set(rpc.SERVICE.full_name, NOT_SERVING)
            await grpc_server.start()
            stack.push_async_callback(self._drain, grpc_server)
            for task in (self.mirror.follow(), self._report_health(), self._gate.follow()):
                stack.push_async_callback(_end, asyncio.create_task(task))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._health.stop()
        self.mirror.close()
        await self._stack.aclose()

    async def in_touch(self, timeout_seconds: float) -> bool:
        """Wait until the engine has answered; False if it hasn't in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self.mirror.in_touch.wait()
        return self.mirror.in_touch.is_set()

    def _ready(self) -> bool:
        return self.mirror.in_touch.is_set() and not self.mirror.closed

    def _options(self) -> list[tuple[str, int]]:
        # A second server on the port is an error, unless both are told to share it.
        options = [*OPTIONS, ("grpc.so_reuseport", int(self._config.share_port))]
        if (age := self._config.max_connection_age_seconds) is not None:
            options += [
                ("grpc.max_connection_age_ms", round(age * 1000)),
                ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE_MS),
            ]
        if (most := self._config.max_connections) is not None:
            options.append(("grpc.max_allowed_incoming_connections", most))
        return options

    def _add_services(self, grpc_server: grpc.aio.Server) -> None:
        service = Service(self._engine, self.mirror, self._config, self.metrics)
        slow_readers = SlowReaders(self._config.slow_reader_seconds)
        rpcs = Rpcs(
            service,
            self._gate,
            self.metrics,
            slow_readers,
            max_request_bytes=self._config.max_spec_bytes * 4,
            tracing=self._tracing,
        )
        protos = reflection.handlers((rpc.SERVICE.full_name, health.SERVICE_NAME))
        others = [
            (self._health.handler(), self._config.public_health),
            *((handler, self._config.public_reflection) for handler in protos),
        ]
        grpc_server.add_generic_rpc_handlers(
            (
                rpcs.handler(),
                *(Public(handler, None if public else self._gate) for handler, public in others),
            )
        )

    def _bind(self, grpc_server: grpc.aio.Server) -> str:
        listen = self._config.listen
        try:
            if self._certificate is None:
                port = grpc_server.add_insecure_port(listen)
            else:
                port = grpc_server.add_secure_port(listen, self._certificate.server_credentials())
        except RuntimeError as error:
            raise OSError(
                f"can't listen on {listen!r}: is another server there? "
                "Choose another with --listen, port 0 for any free one"
            ) from error
        return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"

    async def _report_health(self) -> None:
        while True:
            await self.mirror.in_touch.wait()
            self._health.set(rpc.SERVICE.full_name, SERVING)
            await self.mirror.out_of_touch.wait()
            self.metrics.connections_lost += 1
            self._health.set(rpc.SERVICE.full_name, NOT_SERVING)

    async def _drain(self, grpc_server: grpc.aio.Server) -> None:
        await grpc_server.stop(self._config.stop_grace_seconds)
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        _log.info("stopped", address=self.address)


def _tracing() -> "Tracing":
    try:
        from server.tracing import Tracing
    except ImportError as error:
        raise ValueError(
            f"--tracing needs OpenTelemetry ({error}): pip install 'jobengine-server[tracing]'"
        ) from error
    return Tracing()


def _authenticator(config: Config) -> "Authenticator | None":
    if not config.authenticates:
        return None
    from server.authentication import AuthenticationConfig, Authenticator
    from server.authentication.issuers_file import read_issuers

    return Authenticator(
        AuthenticationConfig(
            token_file=config.token_file,
            jwt_issuers=read_issuers(config.jwt_issuers) if config.jwt_issuers else (),
            client_certificates=config.client_ca is not None,
        )
    )


def _certificate(config: Config) -> "ServerCertificate | None":
    if config.tls_cert is None or config.tls_key is None:
        return None
    from server.tls import ServerCertificate

    return ServerCertificate(config.tls_cert, config.tls_key, config.client_ca)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
