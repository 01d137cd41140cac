"""The least that a grpc.aio server can do: answer calls and hold streams with bytes made before.

It has the method names of the service, so that the same load generators drive both.
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop

from benchmarks.loads import answer, arguments

SERVICE = "jobengine.v1.JobEngine"
TIME = struct.Struct("<d")

# Not gRPC's defaults: with those, some of many streams that are opened at once are refused.
_OPTIONS = (
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
)


class Echo:
    """Answers of fixed sizes."""

    def __init__(self, unary_bytes: int = 1, stream_bytes: int = TIME.size) -> None:
        self._answer = bytes(unary_bytes)
        self._stream_bytes = stream_bytes
        self._waiters: set[asyncio.Future[bytes]] = set()

    async def unary(self, request: bytes, context: Any) -> bytes:
        """Answer a call."""
        del request, context
        return self._answer

    async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """One message at once, another when `change` is called; then the end."""
        del request, context
        yield bytes(self._stream_bytes)
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            yield await waiter
        finally:
            self._waiters.discard(waiter)

    async def change(self, request: bytes, context: Any) -> bytes:
        """Tell all streams what time it is."""
        del request, context
        news = TIME.pack(time.time()).ljust(self._stream_bytes, b"\0")
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(news)
        return b""

    def handler(self) -> grpc.GenericRpcHandler:
        """The methods under the names of the service's."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "ReadStatus": grpc.unary_unary_rpc_method_handler(self.unary),
                "WatchStatus": grpc.unary_stream_rpc_method_handler(self.stream),
                "CancelJob": grpc.unary_unary_rpc_method_handler(self.change),
            },
        )


async def main() -> None:
    """Serve until killed."""
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((Echo(**arguments()).handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    answer(address=f"127.0.0.1:{port}")
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
