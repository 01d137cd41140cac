"""Reflection, by which clients without the proto files find out what there is to be called."""

from collections.abc import Sequence
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

VERSIONS: Final = ("v1", "v1alpha")
"""grpcio-reflection has only v1alpha; v1 has the same messages.

See https://github.com/grpc/grpc/issues/38576.
"""


class _Pool:
    """All protos that are loaded, found by the names of methods as well, for which ghz asks.

    protobuf's own pool finds messages, enums and services only.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            name, _, method = symbol.rpartition(".")
            service = self._pool.FindServiceByName(name)
            if method not in service.methods_by_name:
                raise
            return service.file

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._pool, name)


def handlers(services: Sequence[str]) -> list[grpc.GenericRpcHandler]:
    """What answers reflection's own calls about these services, and about itself."""
    names = [f"grpc.reflection.{version}.ServerReflection" for version in VERSIONS]
    servicer: Any = reflection.aio.ReflectionServicer([*services, *names], _Pool())
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return [
        grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
        for name in names
    ]
