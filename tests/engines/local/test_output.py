"""What jobs write, as it is read."""

import asyncio

import pytest

from engines.base import LogQuery, LogStream, State
from engines.errors import InvalidToken, JobNotFound
from tests.engines.local.place import DEADLINE_SECONDS, Place, Server, shell

ORDERED = "for i in 1 2 3; do echo out $i; echo err $i >&2; done"


async def test_streams_apart_and_in_order(server: Server) -> None:
    status = await server.run(shell(ORDERED))
    out = await server.chunks(stream=LogStream.STDOUT)
    err = await server.chunks(stream=LogStream.STDERR)
    assert b"".join(c.data for c in out) == b"out 1\nout 2\nout 3\n"
    assert b"".join(c.data for c in err) == b"err 1\nerr 2\nerr 3\n"
    for chunk in (*out, *err):
        assert chunk.write_time is not None
        assert status.start_time is not None
        assert status.end_time is not None
        assert status.start_time <= chunk.write_time <= status.end_time + 1


async def test_resume_at_every_cursor(server: Server) -> None:
    await server.run(shell(f"{ORDERED}; exit 1", max_retries=1))
    chunks = await server.chunks()
    assert {chunk.attempt for chunk in chunks} == {0, 1}
    whole = [(chunk.data, chunk.cursor) for chunk in chunks]
    for i, chunk in enumerate(chunks):
        rest = await server.chunks(cursor=chunk.cursor)
        assert [(c.data, c.cursor) for c in rest] == whole[i + 1 :]


async def test_follow_to_the_end(server: Server, place: Place) -> None:
    gate, second = place.gate(), place.gate("second")
    script = f"echo one; {gate.wait}; echo two; {second.wait}; printf three"
    job = await server.engine.create_job("job", shell(script))
    seen = b""
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for chunk in server.engine.read_logs("job", LogQuery(follow=True)):
            seen += chunk.data
            if seen == b"one\n":
                await gate.open()
            elif seen == b"one\ntwo\n":
                await second.open()
    assert seen == b"one\ntwo\nthree"
    assert (await server.watched.end_of(job)).state is State.SUCCEEDED


async def test_follow_a_job_that_waits_and_its_retries(place: Place) -> None:
    gate = place.gate()
    async with place.server(max_running=1) as server:
        await server.engine.create_job("first", shell(gate.wait))
        await server.engine.create_job("job", shell("echo run; exit 1", max_retries=2))
        reading = asyncio.create_task(server.output(follow=True))
        await gate.open()
        assert await reading == b"run\n" * 3


async def test_follow_ends_when_a_waiting_job_is_cancelled(place: Place) -> None:
    gate = place.gate()
    async with place.server(max_running=1) as server:
        await server.engine.create_job("first", shell(gate.wait))
        await server.engine.create_job("job", shell("echo never"))
        reading = asyncio.create_task(server.output(follow=True))
        await server.engine.cancel_job("job")
        assert await reading == b""
        await gate.open()


async def test_reading_without_follow_ends_at_what_there_is(server: Server, place: Place) -> None:
    gate = place.gate()
    await server.engine.create_job("job", shell(f"echo one; {gate.wait}"))
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for _ in server.engine.read_logs("job", LogQuery(follow=True)):
            break
    assert await server.output() == b"one\n"
    await gate.open()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(0, b""), (1, b"6"), (2, b"5\n6"), (4, b"3\n4\n5\n6"), (99, b"1\n2\n3\n4\n5\n6")],
)
async def test_tail(server: Server, lines: int, expected: bytes) -> None:
    await server.run(shell("printf '1\\n2\\n3\\n'; echo x >&2; printf '4\\n5\\n6'"))
    assert await server.output(tail_lines=lines, stream=LogStream.STDOUT) == expected


async def test_rotation_keeps_the_end_and_tells_what_is_gone(place: Place) -> None:
    async with place.server(log_limit_bytes=64 * 1024) as server:
        job = await server.engine.create_job("job", shell("seq -w 1 100000"))
        assert (await server.watched.end_of(job)).state is State.SUCCEEDED
        whole = b"".join(b"%06d\n" % i for i in range(1, 100001))
        chunks = await server.chunks()
        kept = b"".join(chunk.data for chunk in chunks)
        assert whole.endswith(kept)
        assert chunks[0].skipped_bytes == len(whole) - len(kept) > 0
        assert not any(chunk.skipped_bytes for chunk in chunks[1:])
        files = list(place.attempt_file().parent.glob("0.0.log.*"))
        assert sum(file.stat().st_size for file in files) <= 64 * 1024
        resumed = await server.chunks(cursor="0.700")
        assert resumed[0].skipped_bytes == chunks[0].skipped_bytes - 700


async def test_a_reader_that_follows_a_rotating_log_counts_every_byte(place: Place) -> None:
    async with place.server(log_limit_bytes=32 * 1024) as server:
        await server.engine.create_job("job", shell("seq -w 1 100000"))
        chunks = await server.chunks(follow=True)
        assert sum(len(c.data) + c.skipped_bytes for c in chunks) == 700_000


async def test_what_cannot_be_read(server: Server) -> None:
    with pytest.raises(JobNotFound):
        await server.chunks("missing")
    await server.run(shell("true"))
    with pytest.raises(InvalidToken):
        await server.chunks(cursor="strange")


async def test_output_that_outlives_the_command_in_a_strangers_hands(server: Server) -> None:
    status = await server.run(shell("(sleep 1000; echo never) & echo done"))
    assert status.state is State.SUCCEEDED
    assert await server.output() == b"done\n"
