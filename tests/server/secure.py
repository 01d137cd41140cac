"""A gRPC server with TLS and a few methods of a test's own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import grpc

from server.tls import ServerCertificate

Methods = Mapping[str, "grpc.RpcMethodHandler[bytes, bytes]"]


@asynccontextmanager
async def serving_methods(certificate: ServerCertificate, methods: Methods) -> AsyncIterator[int]:
    """Serve them as /test/NAME on a free port of loopback, which is yielded."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", dict(methods)),))
    port = server.add_secure_port("127.0.0.1:0", certificate.server_credentials())
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)
