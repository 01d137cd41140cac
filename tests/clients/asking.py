"""A small server that asks who calls, over TLS if told so; it knows no job but endless ones."""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1 import job_pb2


def refuse(
    context: grpc.ServicerContext,
    code: "code_pb2.Code.ValueType",
    reason: str,
    *,
    metadata: dict[str, str] | None = None,
    retry: bool = False,
) -> None:
    """End a call with an error of the service; without a reason, as a proxy would."""
    details: list[Message] = []
    if reason:
        info = error_details_pb2.ErrorInfo(reason=reason, domain="jobengine", metadata=metadata)
        details.append(info)
    if retry:
        details.append(error_details_pb2.RetryInfo())
        details[-1].retry_delay.FromMilliseconds(1)  # type: ignore[attr-defined]
    status = status_pb2.Status(code=code, message=f"it is {reason or 'refused'}")
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))


class AskingServer:
    """Answers whoever sends one of its tokens; without tokens, everybody."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.tokens: set[str] = set()
        self.seen: list[str] = []
        """What was sent as authorization, call by call."""
        self.cursors: list[str] = []
        """The cursors that watches began with."""
        self._pool = futures.ThreadPoolExecutor()
        self._server = grpc.server(self._pool)
        self._server.add_generic_rpc_handlers(self._handlers())
        self.address = f"127.0.0.1:{self._listen(credentials)}"
        self._server.start()

    def close(self) -> None:
        """Stop."""
        self._server.stop(None).wait(10)
        self._pool.shutdown()

    def _listen(self, credentials: grpc.ServerCredentials | None) -> int:
        if credentials is None:
            return self._server.add_insecure_port("127.0.0.1:0")
        return self._server.add_secure_port("127.0.0.1:0", credentials)

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        engine = {
            "ReadEngine": _unary(self._read_engine, api.ReadEngineRequest),
            "DeleteJob": _unary(self._delete_job, api.DeleteJobRequest),
            "CancelJob": _unary(self._cancel_job, api.CancelJobRequest),
            "WatchStatus": grpc.unary_stream_rpc_method_handler(
                self._watch_status,
                request_deserializer=api.WatchStatusRequest.FromString,
                response_serializer=_serialise,
            ),
        }
        health = {"Check": _unary(self._check, health_pb2.HealthCheckRequest)}
        return (
            grpc.method_handlers_generic_handler("jobengine.v1.JobEngine", engine),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),
        )

    def _authenticate(self, context: grpc.ServicerContext) -> str:
        sent = dict(context.invocation_metadata()).get("authorization", "")
        self.seen.append(str(sent))
        token = str(sent).removeprefix("Bearer ")
        if self.tokens and token not in self.tokens:
            refuse(context, code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED")
        return token

    def _read_engine(
        self, _: api.ReadEngineRequest, context: grpc.ServicerContext
    ) -> api.ReadEngineResponse:
        self._authenticate(context)
        return api.ReadEngineResponse(name="asking", health=api.ENGINE_HEALTH_OK)

    def _check(
        self, _: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        self._authenticate(context)
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    def _delete_job(self, _: api.DeleteJobRequest, context: grpc.ServicerContext) -> None:
        verb = {"verb": "delete"}
        refuse(context, code_pb2.PERMISSION_DENIED, "PERMISSION_DENIED", metadata=verb)

    def _cancel_job(self, request: api.CancelJobRequest, context: grpc.ServicerContext) -> None:
        """As proxies refuse, that know nothing of details: the code that the name says."""
        refuse(context, code_pb2.Code.Value(request.name), "")

    def _watch_status(
        self, request: api.WatchStatusRequest, context: grpc.ServicerContext
    ) -> Iterator[api.WatchStatusResponse]:
        """Say once that it runs; then the token is withdrawn, and it ends with the next one."""
        token = self._authenticate(context)
        self.cursors.append(request.cursor)
        first = not request.cursor
        state = job_pb2.JOB_STATE_RUNNING if first else job_pb2.JOB_STATE_SUCCEEDED
        yield api.WatchStatusResponse(
            event=api.WATCH_EVENT_STATUS,
            status=job_pb2.JobStatus(state=state),
            uid="u",
            cursor=f"c{len(self.cursors)}",
        )
        if first:
            self.tokens.discard(token)
            refuse(context, code_pb2.UNAVAILABLE, "REAUTHENTICATE", retry=True)


def _unary(method: Any, request: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    return grpc.unary_unary_rpc_method_handler(
        method, request_deserializer=request.FromString, response_serializer=_serialise
    )


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()
