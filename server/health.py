"""grpc.health.v1: whether calls should come here.

grpcio-health-checking has a servicer, too. It writes to each watcher while it holds the lock that
a change of health needs: one watcher that reads nothing would stop the server from telling
anybody that it isn't well, and from ending.
"""

from collections.abc import AsyncGenerator
from typing import Final

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

from server.broadcast import Broadcast
from server.gate import Context

SERVING: Final = HealthCheckResponse.SERVING
NOT_SERVING: Final = HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN: Final = HealthCheckResponse.SERVICE_UNKNOWN

LOOK_SECONDS: Final = 60.0


class Health:
    """The health of services by their names; that of "" is the server's own."""

    def __init__(self) -> None:
        self._states: dict[str, HealthCheckResponse.ServingStatus] = {}
        self._changed = Broadcast()
        self._stopped = False

    def set(self, service: str, state: HealthCheckResponse.ServingStatus) -> None:
        """Say how a service is, and tell those who watch it."""
        self._states[service] = state
        self._changed.wake_all()

    def stop(self) -> None:
        """Say that nothing is served any more, and end the watches, which would hold up the end."""
        self._stopped = True
        for service in self._states:
            self.set(service, NOT_SERVING)

    def handler(self) -> grpc.GenericRpcHandler:
        """What answers the calls."""
        return grpc.method_handlers_generic_handler(
            health.SERVICE_NAME,
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    self._check,
                    request_deserializer=HealthCheckRequest.FromString,
                    response_serializer=HealthCheckResponse.SerializeToString,
                ),
                "List": grpc.unary_unary_rpc_method_handler(
                    self._list,
                    request_deserializer=HealthListRequest.FromString,
                    response_serializer=HealthListResponse.SerializeToString,
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    self._watch,
                    request_deserializer=HealthCheckRequest.FromString,
                    response_serializer=HealthCheckResponse.SerializeToString,
                ),
            },
        )

    async def _check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        state = self._states.get(request.service)
        if state is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no such service: use one of {sorted(self._states)}"
            )
        return HealthCheckResponse(status=state)

    async def _list(self, request: HealthListRequest, context: Context) -> HealthListResponse:
        del request, context
        statuses = {
            service: HealthCheckResponse(status=state) for service, state in self._states.items()
        }
        return HealthListResponse(statuses=statuses)

    async def _watch(
        self, request: HealthCheckRequest, context: Context
    ) -> AsyncGenerator[HealthCheckResponse]:
        del context
        told = None
        while True:
            state = self._states.get(request.service, SERVICE_UNKNOWN)
            if state != told:
                told = state
                yield HealthCheckResponse(status=state)
            elif self._stopped:
                return
            else:
                await self._changed.wait(LOOK_SECONDS)
