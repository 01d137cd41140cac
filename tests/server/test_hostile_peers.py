"""Peers that mean harm, or whose software does: others are served meanwhile, in bounded memory.

What gRPC core does by itself is told at each test, as seen with grpcio 1.85; what the server had to
set for it stands in `server.app.OPTIONS`.
"""

import asyncio
import gzip
import os
import struct
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub
from jobengine.v1.job_pb2 import JobSpec
from server.app import OPTIONS
from tests.faults.server import FaultyServer
from tests.http2 import (
    MAX_FRAME_BYTES,
    PREFACE,
    Connection,
    Error,
    Flag,
    Kind,
    Setting,
    connect,
    literal,
    request_block,
)

MIB = 1 << 20
SERVICE = "/jobengine.v1.JobEngine/"
EXHAUSTED = 8
"""RESOURCE_EXHAUSTED as a number."""

STILL_SERVED_SECONDS = 20.0
"""Generous: the peers take this machine's time, too."""
HANDSHAKE_SECONDS = dict(OPTIONS).get("grpc.server_handshake_timeout_ms", 120_000) / 1000
MAX_MESSAGE_BYTES = dict(OPTIONS)["grpc.max_receive_message_length"]

pytestmark = pytest.mark.timeout(90)


class Attacked(FaultyServer):
    """A server on the fake engine."""

    def engine_options(self) -> tuple[str, ...]:
        return "--engine", "fake"

    @property
    def rss(self) -> int:
        return psutil.Process(self.pid).memory_info().rss


@pytest.fixture
def attacked(tmp_path: Path) -> Generator[Attacked]:
    server = Attacked(tmp_path / "state", "--stop-grace", "5")
    server.start()
    try:
        yield server
        began = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - began < 15
        lines = server.log.read_text().splitlines()
        assert [each for each in lines if "Traceback" in each or '"level": "error"' in each] == []
    finally:
        server.close()


@asynccontextmanager
async def bounded(server: Attacked, most: int) -> AsyncGenerator[None]:
    """While this lasts somebody else is served, and the server grows by no more than that."""
    before, largest, served, worst = server.rss, 0, 0, 0.0

    async def look() -> None:
        nonlocal largest, served, worst
        options = (("grpc.use_local_subchannel_pool", 1),)
        async with grpc.aio.insecure_channel(server.address, options=options) as channel:
            stub: Any = JobEngineStub(channel)
            while True:
                began = time.monotonic()
                answer = await stub.ReadStatus(
                    api.ReadStatusRequest(name="other"), timeout=STILL_SERVED_SECONDS
                )
                assert answer.uid
                served, worst = served + 1, max(worst, time.monotonic() - began)
                largest = max(largest, server.rss)
                await asyncio.sleep(0.02)

    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = JobEngineStub(channel)
        spec = JobSpec(command=["true"])
        await stub.CreateJob(api.CreateJobRequest(name="other", spec=spec), timeout=10)
    looking = asyncio.create_task(look())
    try:
        yield
        # A call that begins only now ends, too.
        enough = served + 2
        async with asyncio.timeout(2 * STILL_SERVED_SECONDS):
            while served < enough and not looking.done():
                await asyncio.sleep(0.01)
    finally:
        looking.cancel()
        await asyncio.wait((looking,))
    if not looking.cancelled():
        looking.result()
    growth = max(largest, server.rss) - before
    print(f"grew by {growth / MIB:.0f} MiB; {served} calls, the slowest {worst:.2f} s")
    assert growth < most, f"grew by {growth / MIB:.0f} MiB"


@asynccontextmanager
async def connections(
    server: Attacked, count: int, settings: dict[Setting, int] | None = None, *, greet: bool = True
) -> AsyncGenerator[list[Connection]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(connect(server.address, settings, greet=greet))
            for _ in range(count)
        ]


async def keep_on(step: Callable[[], None], connection: Connection, *, most: float) -> int:
    """Do that over and over, until the far end is gone or the time is over; how often."""
    until, count = time.monotonic() + most, 0
    while time.monotonic() < until:
        step()
        count += 1
        if not await connection.drain():
            break
        await asyncio.sleep(0)
    return count


# -- those that are slow ------------------------------------------------------------------------

GREETINGS = (b"", PREFACE[:10], PREFACE)
"""None, half of one, and one without the settings that belong to it."""


async def test_connections_that_do_not_greet(attacked: Attacked) -> None:
    async with bounded(attacked, 64 * MIB), connections(attacked, 300, greet=False) as slow:
        for number, connection in enumerate(slow):
            connection.write(GREETINGS[number % len(GREETINGS)])
            await connection.drain()
        await asyncio.sleep(1)


@pytest.mark.slow
@pytest.mark.timeout(HANDSHAKE_SECONDS + 60)
async def test_connections_that_do_not_greet_are_closed(attacked: Attacked) -> None:
    """Core gives a connection 120 s to greet, unless the server sets another time."""
    async with bounded(attacked, 64 * MIB), connections(attacked, 20, greet=False) as slow:
        for number, connection in enumerate(slow):
            connection.write(GREETINGS[number % len(GREETINGS)])
        for connection in slow:
            goaways = await connection.end(HANDSHAKE_SECONDS + 10)
            assert goaways[0].text.endswith(("handshake timeout", "settings_timeout"))


async def test_connections_that_only_are(attacked: Attacked) -> None:
    """Core has no limit to them but the process's open files; each takes some 10 KB."""
    async with bounded(attacked, 100 * MIB), connections(attacked, 500) as idle:
        await asyncio.sleep(1)
        assert not any(connection.closed for connection in idle)
        # And they are as good as any.
        stream = idle[-1].request(SERVICE + "ReadEngine", b"")
        assert (await idle[-1].answer(stream)).code == 0


async def test_headers_that_come_drop_by_drop(attacked: Attacked) -> None:
    """Core has no time for headers: what bounds this is that such a peer can't answer PING.

    An answer may not come between the frames of a header block, and without it the server closes
    the connection after 30 s (keepalive_time and ping_timeout).
    """
    async with bounded(attacked, 64 * MIB), connections(attacked, 100) as slow:
        for connection in slow:
            connection.polite = False
            stream = connection.next_stream()
            connection.headers(stream, request_block(SERVICE + "ReadEngine"), Flag.NONE)
        for _ in range(50):
            for connection in slow:
                connection.frame(Kind.CONTINUATION, 0, 1, literal("x", "y"))
            await asyncio.sleep(0.02)


async def test_messages_that_never_end(attacked: Attacked) -> None:
    """What has come is all that is kept, whatever length was announced."""
    async with bounded(attacked, 128 * MIB), connections(attacked, 10) as slow:
        for connection in slow:
            for _ in range(20):
                stream = connection.request(SERVICE + "CreateJob")
                announced = struct.pack(">BI", 0, MAX_MESSAGE_BYTES - 1)
                connection.frame(Kind.DATA, 0, stream, announced + b"a" * 16_000)
            await connection.drain()
        await asyncio.sleep(1)


# -- those that send too much -------------------------------------------------------------------


async def test_large_headers(attacked: Attacked) -> None:
    """Core refuses more than 16 KiB always, and more and more between 8 KiB and that.

    That is max_metadata_size and absolute_max_metadata_size. The connection stays.
    """
    async with bounded(attacked, 64 * MIB), connect(attacked.address) as connection:
        for size in (17_000, 70_000, 2_000_000):
            stream = connection.request(SERVICE + "ReadEngine", b"", more=[("x", "a" * size)])
            answer = await connection.answer(stream)
            assert answer.code == EXHAUSTED
            assert "metadata size" in answer.headers["grpc-message"]
        stream = connection.request(SERVICE + "ReadEngine", b"", more=[("x", "a" * 4000)])
        assert (await connection.answer(stream)).code == 0


async def test_headers_without_end(attacked: Attacked) -> None:
    """Core reads on for ever, and keeps nothing of what is above its limit.

    It grew by 50 to 150 MiB, once by 414, while 10 GiB came in 11 s: what it has read and not yet
    dropped.
    """
    async with bounded(attacked, 800 * MIB), connect(attacked.address) as connection:
        connection.polite = False
        stream = connection.next_stream()
        connection.headers(stream, request_block(SERVICE + "ReadEngine"), Flag.NONE)
        part = literal("x", "a" * (MAX_FRAME_BYTES - 10))

        def flood() -> None:
            for _ in range(16):
                connection.frame(Kind.CONTINUATION, 0, stream, part)

        await keep_on(flood, connection, most=3)


async def test_empty_headers_without_end(attacked: Attacked) -> None:
    """The frames that cost the sender least (CVE-2024-27316 and its kin)."""
    async with bounded(attacked, 64 * MIB), connect(attacked.address) as connection:
        connection.polite = False
        stream = connection.next_stream()
        connection.headers(stream, request_block(SERVICE + "ReadEngine"), Flag.NONE)

        def flood() -> None:
            for _ in range(500):
                connection.frame(Kind.CONTINUATION, 0, stream)

        await keep_on(flood, connection, most=3)


@pytest.mark.parametrize(
    ("method", "message"),
    [("ReadEngine", None), ("WatchJobs", b"")],
    ids=["before their message", "after it"],
)
async def test_calls_that_are_cancelled_at_once(
    attacked: Attacked, method: str, message: bytes | None
) -> None:
    """Rapid reset (CVE-2023-44487).

    Without a limit to concurrent streams, 100,000 of them made the server 940 MiB larger for good,
    and others waited for 2 s; with 1000, 23 MiB. Core has no other measure against it.
    """
    async with bounded(attacked, 150 * MIB), connect(attacked.address) as connection:
        for number in range(30_000):
            connection.reset(connection.request(SERVICE + method, message))
            if number % 100 == 0 and not await connection.drain():
                break


async def test_pings(attacked: Attacked) -> None:
    """Core ends the connection: pings come more often than the server allows."""
    async with bounded(attacked, 64 * MIB), connect(attacked.address) as connection:
        # One by one: what was left unread would have its last words lost (TCP's RST).
        while not connection.closed:
            connection.frame(Kind.PING, payload=b"12345678")
            await connection.until_pong(connection.pongs + 1)
            assert connection.pongs < 10
        goaways = await connection.end()
        assert (Error.ENHANCE_YOUR_CALM, "too_many_pings") in goaways


@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
async def test_settings(attacked: Attacked, *, reads: bool) -> None:
    """Core answers each, and reads no more while its answers aren't read."""
    async with bounded(attacked, 100 * MIB), connect(attacked.address) as connection:
        if not reads:
            connection.stop_reading()

        def flood() -> None:
            for _ in range(200):
                connection.frame(Kind.SETTINGS, payload=b"\0\x04\0\0\xff\xff")

        async def send() -> None:
            await keep_on(flood, connection, most=3)

        await asyncio.wait((sending := asyncio.create_task(send()),), timeout=5)
        sending.cancel()
        await asyncio.wait((sending,))


async def test_a_message_that_is_too_large(attacked: Attacked) -> None:
    """Refused by the length that it announces, before it has come."""
    async with bounded(attacked, 64 * MIB), connect(attacked.address) as connection:
        stream = connection.request(SERVICE + "CreateJob")
        announced = struct.pack(">BI", 0, MAX_MESSAGE_BYTES + 1)
        connection.frame(Kind.DATA, 0, stream, announced + b"a" * 1000)
        answer = await connection.answer(stream)
        assert answer.code == EXHAUSTED
        assert "larger than max" in answer.headers["grpc-message"]


def _piece(number: int, content: bytes) -> bytes:
    """A field of a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    head = bytearray()
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*head, value))


COMMAND = _piece(2, b"true")
SMALL_PARTS = {
    "wrong states": ("ListJobs", _piece(4, bytes(1_000_000))),
    "states": ("ListJobs", _piece(4, b"\1" * 1_000_000)),
    "mounts": ("CreateJob", _piece(3, COMMAND + _piece(14, b"") * 500_000)),
    "unknown fields": ("CreateJob", _piece(3, COMMAND + b"\x98\x06\0" * 340_000)),
    "more mounts": ("CreateJob", _piece(3, COMMAND + _piece(14, b"") * 8_000_000)),
}


@pytest.mark.parametrize(("method", "message"), SMALL_PARTS.values(), ids=SMALL_PARTS)
async def test_messages_of_very_many_parts(attacked: Attacked, method: str, message: bytes) -> None:
    """Each would need an object, or a complaint, of its own: they are refused by their number.

    Before they were, a ListJobs of 1 MB (a million wrong states) took 7 s of the server's time,
    and 380 MiB; one of 16 MB would have ended it.
    """
    options = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
    async with (
        bounded(attacked, 150 * MIB),
        grpc.aio.insecure_channel(attacked.address, options=options) as channel,
    ):
        call: Any = channel.unary_unary(SERVICE + method)
        with pytest.raises(grpc.RpcError) as caught:
            await call(message, timeout=60)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_that_inflates(attacked: Attacked) -> None:
    """200 MiB in 200 KB: core inflates no further than to the limit of messages."""
    small = gzip.compress(bytes(200 * MIB))
    assert len(small) < MIB
    async with bounded(attacked, 128 * MIB), connect(attacked.address) as connection:
        for _ in range(5):
            stream = connection.request(
                SERVICE + "CreateJob", small, more=[("grpc-encoding", "gzip")], compressed=True
            )
            answer = await connection.answer(stream)
            assert answer.code == EXHAUSTED
            assert "Decompressed message larger" in answer.headers["grpc-message"]


async def test_a_selector_that_is_hard_to_read(attacked: Attacked) -> None:
    """A pattern that can match such lists in 2**n ways kept the server busy for ever."""
    async with bounded(attacked, 64 * MIB), grpc.aio.insecure_channel(attacked.address) as channel:
        stub: Any = JobEngineStub(channel)
        for selector in (f"a in ({', ' * 1000}$", f"a{' ' * 4090}(", f"a in ({' ' * 4000}"):
            with pytest.raises(grpc.RpcError) as caught:
                await stub.ListJobs(api.ListJobsRequest(label_selector=selector), timeout=10)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


# -- those that leave things open ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["ReadEngine", "WatchJobs"])
@pytest.mark.parametrize("flags", [Flag.NONE, Flag.END_STREAM], ids=["open", "half-closed"])
async def test_calls_whose_message_never_comes(
    attacked: Attacked, method: str, flags: Flag
) -> None:
    """Core and grpc.aio wait for it as long as the connection and the call's deadline last.

    That it can't come any more, because the peer has half-closed, changes nothing. Such a call
    takes some 20 KB. Those above the limit of concurrent streams are refused or not looked at.
    """
    block = request_block(SERVICE + method)
    async with bounded(attacked, 150 * MIB), connections(attacked, 3) as leaving:
        for connection in leaving:
            for number in range(2000):
                stream = connection.next_stream()
                connection.headers(stream, block, Flag.END_HEADERS | flags)
                if number % 100 == 0:
                    await connection.drain()
        await asyncio.sleep(1)


async def test_answers_for_which_there_is_no_room(attacked: Attacked) -> None:
    """A window of 0: answers wait for it, one message for each stream; watches aren't piled up.

    The streams among them end with slow_reader_timeout, unary calls with the connection.
    """
    async with grpc.aio.insecure_channel(attacked.address) as channel:
        stub: Any = JobEngineStub(channel)
        for number in range(200):
            request = api.CreateJobRequest(name=f"job-{number}")
            request.spec.command.append("true")
            request.spec.labels["a"] = "b" * 60
            await stub.CreateJob(request, timeout=10)
    nothing = {Setting.INITIAL_WINDOW_SIZE: 0}
    async with bounded(attacked, 150 * MIB), connections(attacked, 10, nothing) as closed:
        for connection in closed:
            for method in ("WatchJobs", "ListJobs") * 40:
                connection.request(SERVICE + method, b"")
            await connection.drain()
        await asyncio.sleep(1)
        assert not any(connection.ended for connection in closed)
        # Once there is room, all is told.
        connection, stream = closed[0], 3
        connection.open_window(stream, MIB)
        answer = await connection.answer(stream)
        assert answer.code == 0
        assert len(api.ListJobsResponse.FromString(answer.data[5:]).jobs) > 99


# -- those that don't speak gRPC ----------------------------------------------------------------

ODD: dict[str, tuple[dict[str, Any], set[int | None]]] = {
    "an unknown method": ({"path": SERVICE + "Nothing"}, {12}),
    "an unknown service": ({"path": "/a/b"}, {12}),
    "no path": ({"path": "*"}, {12, None}),
    "a timeout that isn't one": ({"more": [("grpc-timeout", "soon")]}, {0, 13, None}),
    "an encoding that isn't one": ({"more": [("grpc-encoding", "brotli")]}, {0, 12, 13}),
    "a header in capitals": ({"more": [("X-A", "b")]}, {0, 2, 13, None}),
    "bytes in a header": ({"more": [("x", "\r\n\0")]}, {0, 2, 13, None}),
}


async def test_odd_requests(attacked: Attacked) -> None:
    """Whatever core makes of it (also INTERNAL, for what no gRPC library sends), it ends."""
    async with bounded(attacked, 64 * MIB):
        for what, (odd, codes) in ODD.items():
            async with connect(attacked.address) as connection:
                request: dict[str, Any] = {"path": SERVICE + "ReadEngine", **odd}
                stream = connection.request(**request, message=b"")
                assert (await connection.answer(stream)).code in codes, what


async def test_noise(attacked: Attacked) -> None:
    async with bounded(attacked, 64 * MIB):
        for begin in (b"", PREFACE, PREFACE + b"\0\0\0\x04\0\0\0\0\0"):
            for _ in range(30):
                async with connect(attacked.address, greet=False) as connection:
                    connection.write(begin + os.urandom(5000))
                    await connection.drain()
