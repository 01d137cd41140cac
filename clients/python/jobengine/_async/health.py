"""The standard health service, asked over the client's own channel."""

from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from jobengine._async.calls import AsyncCalls
from jobengine._async.transport import Stub, UnaryMethod
from jobengine.errors import JobEngineError


async def check(calls: AsyncCalls, service: str) -> bool:
    """Whether the server says that it serves this service."""

    def method(_: Stub) -> UnaryMethod[HealthCheckRequest, HealthCheckResponse]:
        return calls.transport.channel().unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )

    try:
        answer = await calls.unary(method, HealthCheckRequest(service=service))
    except JobEngineError as error:
        if error.code is StatusCode.NOT_FOUND:
            return False
        raise
    return bool(answer.status == HealthCheckResponse.SERVING)
