"""Binds the service to gRPC: parses requests, and turns errors into statuses with details."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import NoReturn

import grpc
import structlog
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message

from engines.errors import EngineError, EngineFailed, FieldViolation
from jobengine.v1 import job_engine_pb2
from server.errors import InvalidRequest, RequestError, to_status
from server.service import Service
from server.slow_readers import Context, SlowReaders

SERVICE = job_engine_pb2.DESCRIPTOR.services_by_name["JobEngine"]

_DETAILS_KEY = "grpc-status-details-bin"

_log = structlog.get_logger()

Parse = Callable[[bytes], Message]


def bind(service: Service, slow_reader_seconds: float) -> grpc.GenericRpcHandler:
    """The handler of all RPCs; it parses requests too, so that garbage is an error like others.

    The client of a stream may leave for `slow_reader_seconds` what was sent to it.
    """
    slow_readers = SlowReaders(slow_reader_seconds)
    return grpc.method_handlers_generic_handler(
        SERVICE.full_name,
        {method.name: _handler(service, method, slow_readers) for method in SERVICE.methods},
    )


def _handler(
    service: Service, method: MethodDescriptor, slow_readers: SlowReaders
) -> "grpc.RpcMethodHandler[bytes, Message | bytes]":
    parse = _parser(method)
    behaviour = getattr(service, re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower())
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(
            _stream(method.name, parse, behaviour, slow_readers),
            response_serializer=_serialise,
        )
    return grpc.unary_unary_rpc_method_handler(
        _unary(method.name, parse, behaviour), response_serializer=_serialise
    )


def _unary(
    name: str, parse: Parse, behaviour: Callable[[Message], Awaitable[Message | bytes]]
) -> Callable[[bytes, Context], Awaitable[Message | bytes]]:
    async def call(raw: bytes, context: Context) -> Message | bytes:
        try:
            return await behaviour(parse(raw))
        except Exception as error:  # noqa: BLE001
            await _abort(name, context, error)

    return call


def _stream(
    name: str,
    parse: Parse,
    behaviour: Callable[[Message], AsyncGenerator[Message | bytes]],
    slow_readers: SlowReaders,
) -> Callable[[bytes, Context], Awaitable[None]]:
    async def call(raw: bytes, context: Context) -> None:
        try:
            async with aclosing(behaviour(parse(raw))) as responses:
                async for response in responses:
                    await slow_readers.write(context, response)
        except Exception as error:  # noqa: BLE001
            await _abort(name, context, error)

    return call


def _parser(method: MethodDescriptor) -> Parse:
    request_class = message_factory.GetMessageClass(method.input_type)

    def parse(raw: bytes) -> Message:
        try:
            return request_class.FromString(raw)
        except DecodeError:
            problem = f"is no {method.input_type.full_name}: the bytes can't be decoded"
            raise InvalidRequest([FieldViolation("request", problem)]) from None

    return parse


def _serialise(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


async def _abort(rpc: str, context: Context, error: Exception) -> NoReturn:
    if isinstance(error, EngineFailed):
        _log.error("engine_failed", rpc=rpc, error=str(error), exc_info=error)
    elif not isinstance(error, EngineError | RequestError):
        _log.error("rpc_failed", rpc=rpc, exc_info=error)
        error = EngineFailed(f"{type(error).__name__}: {error}")
    code, status = to_status(error)
    details = (_DETAILS_KEY, status.SerializeToString())
    await context.abort(code, status.message, trailing_metadata=(details,))
