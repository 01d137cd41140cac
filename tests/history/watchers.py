"""Watchers that write down what they are told: through the client, and by calls of their own."""

import asyncio
import contextlib
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

import grpc

from jobengine import AsyncClient, WatchJobsResponse, WatchStatusResponse, errors
from jobengine._status import from_rpc_error, is_interruption
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub
from tests.history.record import HEARTBEAT, End, Notebook, Watch

if TYPE_CHECKING:
    from jobengine.v1.job_engine_pb2_grpc import JobEngineAsyncStub

HEARTBEAT_SECONDS = 1
_SILENCE_SECONDS = 3.5
"""A raw watcher that hears nothing for so long takes its connection for dead."""

SMALL_WINDOW = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    # Who reads slowly soon makes its server wait, and may be cut off within a list.
    ("grpc.http2.lookahead_bytes", 1024),
    ("grpc.http2.bdp_probe", 0),
)

Message = WatchStatusResponse | WatchJobsResponse
Call = grpc.aio.UnaryStreamCall[object, Message]


class Pace:
    """How quickly a watcher reads: at once, slowly, or with one long stop."""

    def __init__(self, roll: random.Random) -> None:
        self._roll = random.Random(roll.random())
        self._kind = roll.choice(("quick", "slow", "stop"))
        self._stop_after = roll.randrange(1, 30)
        self._read = 0

    async def pause(self) -> None:
        """Take the time after a message."""
        self._read += 1
        if self._kind == "slow":
            await asyncio.sleep(self._roll.uniform(0, 0.2))
        elif self._kind == "stop" and self._read == self._stop_after:
            await asyncio.sleep(self._roll.uniform(1, 4))

    async def before_next_call(self) -> None:
        """Leave a server that is away in peace for a moment."""
        await asyncio.sleep(self._roll.uniform(0.02, 0.3))


async def by_client(client: AsyncClient, notebook: Notebook, watch: Watch, pace: Pace) -> None:
    """Follow one job, or all, as users do."""
    if watch.name:
        try:
            async with aclosing(client.watch_status(watch.name)) as events:
                async for event in events:
                    notebook.note(watch, event)
                    await pace.pause()
            watch.end = End.OK
        except errors.JobNotFound:
            watch.end = End.GONE
        return
    async with aclosing(client.watch_jobs(watch.selector)) as all_events:
        async for message in all_events:
            notebook.note(watch, message)
            await pace.pause()
    watch.end = End.OK


class RawWatcher:
    """Calls the server itself, and calls again with the last cursor whenever that breaks."""

    def __init__(self, address: str, notebook: Notebook, watch: Watch, pace: Pace) -> None:
        self._address = address
        self._notebook = notebook
        self._watch = watch
        self._pace = pace
        self._cursor = ""
        self._calls = 0

    async def follow(self) -> None:
        """Watch until the server says that there is no more."""
        while self._watch.end is End.OPEN:
            self._calls += 1
            async with grpc.aio.insecure_channel(self._address, SMALL_WINDOW) as channel:
                call = self._call(cast("JobEngineAsyncStub", JobEngineStub(channel)))
                with contextlib.suppress(TimeoutError):
                    try:
                        await self._read(call)
                    except grpc.aio.AioRpcError as error:
                        failure = from_rpc_error(error)
                        if isinstance(failure, errors.JobNotFound):
                            self._watch.end = End.GONE
                        elif not is_interruption(failure):
                            raise failure from error
                    finally:
                        call.cancel()
            await self._pace.before_next_call()

    def _call(self, stub: "JobEngineAsyncStub") -> Call:
        if self._watch.name:
            one = api.WatchStatusRequest(name=self._watch.name, cursor=self._cursor)
            one.heartbeat_interval.FromSeconds(HEARTBEAT_SECONDS)
            return cast("Call", stub.WatchStatus(one))
        all_ = api.WatchJobsRequest(label_selector=self._watch.selector, cursor=self._cursor)
        all_.heartbeat_interval.FromSeconds(HEARTBEAT_SECONDS)
        return cast("Call", stub.WatchJobs(all_))

    async def _read(self, call: Call) -> None:
        first = True
        while True:
            async with asyncio.timeout(_SILENCE_SECONDS):
                message = await call.read()
            if message is grpc.aio.EOF:
                self._watch.end = End.OK
                return
            news = cast("Message", message)
            if first and self._is_another(news):
                self._watch.end = End.GONE
                return
            first = False
            self._cursor = news.cursor or self._cursor
            if news.event != HEARTBEAT:
                self._notebook.note(self._watch, news, self._calls)
            await self._pace.pause()

    def _is_another(self, message: Message) -> bool:
        """Whether a new call leads to another job, which got the name meanwhile."""
        told = self._watch.told
        same = not isinstance(message, WatchStatusResponse) or message.event == HEARTBEAT
        return not same and bool(told) and told[-1].uid != cast("WatchStatusResponse", message).uid
