"""Ends streams whose clients leave for too long what was sent to them."""

import asyncio
from typing import Any, Final, cast

import grpc
from google.protobuf.message import Message

from server.errors import SlowReader

_LOOKS: Final = 10
"""So often each write is looked at before it is given up."""

Context = grpc.aio.ServicerContext[bytes, Message | bytes]


class SlowReaders:
    """Sends the messages of all streams, and watches how long each takes.

    One timer serves all: one for each message took 15 of the 34 µs that a heartbeat costs
    outside gRPC. All writes have the same time, so the oldest one is always the next to end.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # By the tasks that write, oldest first.
        self._began: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def write(self, context: Context, message: Message | bytes) -> None:
        """Send a message; that takes as long as the client lets the connection be full.

        Raises:
            SlowReader: it has taken longer than a client may let a server wait, by a tenth at most.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        loop = asyncio.get_running_loop()
        self._began[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._seconds / _LOOKS, self._look)
        try:
            await context.write(message)
        except asyncio.CancelledError:
            # Unless somebody else has cancelled it, too.
            if task in self._late and task.uncancel() == 0:
                raise SlowReader(self._seconds) from None
            raise
        except grpc.aio.InternalError:
            # The client has left in the middle of it: the same, only not told by a cancellation.
            raise asyncio.CancelledError from None
        finally:
            del self._began[task]
            self._late.discard(task)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds / _LOOKS, self._look) if self._began else None
        for task, began in self._began.items():
            if began > loop.time() - self._seconds:
                break
            if task not in self._late:
                self._late.add(task)
                task.cancel()
