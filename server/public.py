"""What may be asked without a credential, unless the operator says otherwise: health, protos."""

from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, TypeAlias

import grpc

from server.errors import RequestError, to_status
from server.gate import Context, Gate
from server.limits import Places

MAX_CALLS: Final = 1000
"""So many calls of all these may be open at once. They take no places of the service's own."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Public(grpc.GenericRpcHandler):
    """Another handler, with a bound on its open calls, and a gate before them, if one is given."""

    def __init__(self, inner: grpc.GenericRpcHandler, gate: Gate | None) -> None:
        self._inner = inner
        self._gate = gate
        self._places = Places("public_calls", MAX_CALLS, "calls of this kind at once is reached")

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """As in gRPC's own interface."""
        handler = self._inner.service(handler_call_details)
        return None if handler is None else self._bounded(handler)

    def _bounded(self, handler: Handler) -> Handler:
        # A handler has one of these, by whether it takes one request and gives one answer.
        kind = next(kind for kind in _KINDS if getattr(handler, kind) is not None)
        wrap = self._answering if kind == "unary_unary" else self._telling
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        bounded: Handler = make(
            wrap(getattr(handler, kind)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return bounded

    def _answering(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401
            try:
                await self._admit(context)
                with self._places:
                    return await behaviour(request, context)
            except RequestError as error:
                await _abort(context, error)

        return call

    def _telling(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        async def call(request: Any, context: Context) -> AsyncGenerator[Any]:  # noqa: ANN401
            try:
                await self._admit(context)
                with self._places:
                    async for response in behaviour(request, context):
                        yield response
            except RequestError as error:
                await _abort(context, error)

        return call

    async def _admit(self, context: Context) -> None:
        if self._gate is not None:
            await self._gate.admit(context)


_KINDS = ("unary_unary", "unary_stream", "stream_stream")


async def _abort(context: Context, error: RequestError) -> None:
    code, status = to_status(error)
    await context.abort(code, status.message)
