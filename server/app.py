"""One running server: engine, mirror and gRPC, from start to an orderly stop."""

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Self

import grpc
import structlog
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

from engines.base import Engine
from server import reflection, rpc
from server.config import Config, check_listen
from server.mirror import Mirror
from server.service import Service

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING

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
    # More than the largest valid spec, so that a larger one gets an error that names the field.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)

_log = structlog.get_logger()


class Server:
    """A server on one engine: `async with` starts and stops it.

    It listens at once, and serves once the engine has answered; until then, and again when the
    engine is away, the health of jobengine.v1.JobEngine is NOT_SERVING. The health of "" is
    SERVING as long as the server itself is fine: what restarts servers should look at that.
    """

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config
        # `health.aio` is made at run time, out of sight of type checkers.
        self._health: Any = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        self._stack = contextlib.AsyncExitStack()
        self.mirror = Mirror(engine)
        self.address = ""

    async def __aenter__(self) -> Self:
        config = self._config
        check_listen(config.listen, insecure=config.insecure, share_port=config.share_port)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._engine)
            # A second server on the port is an error, unless both are told to share it.
            sharing = ("grpc.so_reuseport", int(config.share_port))
            grpc_server = grpc.aio.server(options=(*OPTIONS, sharing))
            self._add_services(grpc_server)
            self.address = self._bind(grpc_server)
            await self._health.set("", SERVING)
            await self._health.set(rpc.SERVICE.full_name, NOT_SERVING)
            await grpc_server.start()
            stack.push_async_callback(self._drain, grpc_server)
            for task in (self.mirror.follow(), self._report_health()):
                stack.push_async_callback(_end, asyncio.create_task(task))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._health.enter_graceful_shutdown()
        self.mirror.close()
        await self._stack.aclose()

    async def in_touch(self, timeout_seconds: float) -> bool:
        """Wait until the engine has answered; False if it hasn't in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self.mirror.in_touch.wait()
        return self.mirror.in_touch.is_set()

    def _add_services(self, grpc_server: grpc.aio.Server) -> None:
        service = Service(self._engine, self.mirror, self._config)
        grpc_server.add_generic_rpc_handlers((rpc.bind(service, self._config.slow_reader_seconds),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, grpc_server)  # pyright: ignore[reportUnknownMemberType]
        grpc_server.add_generic_rpc_handlers(
            reflection.handlers((rpc.SERVICE.full_name, health.SERVICE_NAME))
        )

    def _bind(self, grpc_server: grpc.aio.Server) -> str:
        listen = self._config.listen
        try:
            port = grpc_server.add_insecure_port(listen)
        except RuntimeError as error:
            raise OSError(
                f"can't listen on {listen!r}: is another server there? "
                "Choose another with --listen, port 0 for any free one"
            ) from error
        return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"

    async def _report_health(self) -> None:
        while True:
            await self.mirror.in_touch.wait()
            await self._health.set(rpc.SERVICE.full_name, SERVING)
            await self.mirror.out_of_touch.wait()
            await self._health.set(rpc.SERVICE.full_name, NOT_SERVING)

    async def _drain(self, grpc_server: grpc.aio.Server) -> None:
        await grpc_server.stop(self._config.stop_grace_seconds)
        _log.info("stopped", address=self.address)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
