"""Binds the service to gRPC: lets calls in, parses requests, turns errors into statuses."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NoReturn

import grpc
import structlog
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from engines.errors import EngineError, EngineFailed, FieldViolation
from jobengine.v1 import job_engine_pb2
from server import audit
from server.errors import InvalidRequest, RequestError, to_status
from server.gate import Caller, Gate
from server.metrics import Metrics
from server.policy import Verb
from server.service import Service
from server.slow_readers import Context, SlowReaders

if TYPE_CHECKING:  # an extra
    from server.tracing import Tracing

SERVICE = job_engine_pb2.DESCRIPTOR.services_by_name["JobEngine"]

_DETAILS_KEY: Final = "grpc-status-details-bin"

_VERBS: Final[Mapping[str, Verb]] = {
    "CreateJob": "create",
    "DeleteJob": "delete",
    "CancelJob": "cancel",
    "ReadLogs": "logs",
    **dict.fromkeys(("ReadJob", "ReadStatus", "ListJobs", "WatchStatus", "WatchJobs"), "read"),
}
"""What callers need the right to. ReadEngine is for all who are let in."""

_log = structlog.get_logger()

Parse = Callable[[bytes], Message]
Answer = Callable[[Message, Caller], Awaitable[Message | bytes]]
Tell = Callable[[Message, Caller], AsyncGenerator[Message | bytes]]


class Rpcs:
    """The way of every call: in by the gate, through the service, and counted.

    Requests are parsed here, too, so that garbage is an error like others.
    """

    def __init__(
        self,
        service: Service,
        gate: Gate,
        metrics: Metrics,
        slow_readers: SlowReaders,
        *,
        max_request_bytes: int,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._max_request_bytes = max_request_bytes
        self._tracing = tracing
        self._service = service
        self._gate = gate
        self._metrics = metrics
        self._slow_readers = slow_readers

    def handler(self) -> grpc.GenericRpcHandler:
        """What answers the calls of all RPCs."""
        methods = {method.name: self._handler(method) for method in SERVICE.methods}
        return grpc.method_handlers_generic_handler(SERVICE.full_name, methods)

    def _handler(self, method: MethodDescriptor) -> "grpc.RpcMethodHandler[bytes, Message | bytes]":
        parse = _parser(method, self._max_request_bytes)
        behaviour = getattr(self._service, re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower())
        streams = method.server_streaming
        call = (self._stream if streams else self._unary)(method.name, parse, behaviour)
        if self._tracing is not None:
            call = self._tracing.rpc(SERVICE.full_name, method.name, call)
        make = (
            grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        )
        return make(call, response_serializer=_serialise)

    def _unary(
        self, name: str, parse: Parse, answer: Answer
    ) -> Callable[[bytes, Context], Awaitable[Message | bytes]]:
        verb = _VERBS.get(name)
        rpc = self._metrics.rpcs[name]

        async def call(raw: bytes, context: Context) -> Message | bytes:
            caller = request = response = None
            with rpc.call() as counted:
                try:
                    caller = await self._gate.admit(context)
                    with self._gate.calling(caller):
                        request = parse(raw)
                        _require(verb, caller)
                        response = await answer(request, caller)
                        return response
                except Exception as error:  # noqa: BLE001
                    counted.code, status = self._status(name, error)
                    await _abort(context, counted.code, status)
                finally:
                    if verb is not None and verb in audit.CHANGES:
                        outcome = _outcome(counted.code, response)
                        audit.record(verb, caller, context.peer(), request, response, outcome)
                        self._metrics.audit_lines += 1

        return call

    def _stream(
        self, name: str, parse: Parse, tell: Tell
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        verb = _VERBS.get(name)
        rpc = self._metrics.rpcs[name]

        async def call(raw: bytes, context: Context) -> None:
            with rpc.call() as counted:
                try:
                    caller = await self._gate.admit(context)
                    _require(verb, caller)
                    with self._gate.streaming(caller, context):
                        async with aclosing(tell(parse(raw), caller)) as responses:
                            async for response in responses:
                                await self._slow_readers.write(context, response)
                except Exception as error:  # noqa: BLE001
                    counted.code, status = self._status(name, error)
                    await _abort(context, counted.code, status)

        return call

    def _status(self, rpc: str, error: Exception) -> tuple[StatusCode, Status]:
        if isinstance(error, EngineFailed):
            _log.error("engine_failed", rpc=rpc, error=str(error), exc_info=error)
        elif isinstance(error, RequestError):
            self._metrics.refused(error)
        elif not isinstance(error, EngineError):
            _log.error("rpc_failed", rpc=rpc, exc_info=error)
            error = EngineFailed(f"{type(error).__name__}: {error}")
        return to_status(error)


def _require(verb: Verb | None, caller: Caller) -> None:
    """Refuse who may do such a thing with no job at all; with which jobs, the service says."""
    if verb is not None:
        caller.rights.require(verb)


def _outcome(code: StatusCode | None, response: object) -> StatusCode:
    """What became of a call: without an answer and without an error, its caller has left."""
    if code is not None:
        return code
    return StatusCode.CANCELLED if response is None else StatusCode.OK


def _parser(method: MethodDescriptor, max_bytes: int) -> Parse:
    request_class = message_factory.GetMessageClass(method.input_type)
    largest = "spec" if "spec" in method.input_type.fields_by_name else "request"

    def parse(raw: bytes) -> Message:
        # Before it is parsed: 16 MB of empty parts take 500 MB and more than a second.
        if len(raw) > max_bytes:
            problem = f"is {len(raw)} bytes long: use at most {max_bytes}"
            raise InvalidRequest([FieldViolation(largest, problem)])
        try:
            return request_class.FromString(raw)
        except DecodeError:
            problem = f"is no {method.input_type.full_name}: the bytes can't be decoded"
            raise InvalidRequest([FieldViolation("request", problem)]) from None

    return parse


def _serialise(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


async def _abort(context: Context, code: StatusCode, status: Status) -> NoReturn:
    details = (_DETAILS_KEY, status.SerializeToString())
    await context.abort(code, status.message, trailing_metadata=(details,))
