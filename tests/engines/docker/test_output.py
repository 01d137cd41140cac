"""What jobs write, read through the daemon."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator

import pytest

from engines.base import LogChunk, LogQuery, LogStream
from tests.docker.place import Place
from tests.engines.docker.running import (
    DEADLINE_SECONDS,
    Server,
    remove_ended,
    serving,
    sharing,
    until_file,
)
from tests.engines.docker.specs import shell

pytestmark = pytest.mark.engine("docker")


async def written(server: Server, place: Place, data: bytes) -> bytes:
    """What is read of a job that writes this."""
    (place.directory / "data").write_bytes(data)
    await server.says_bytes(sharing(place, f"cat {place.directory}/data"))
    return await server.output()


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"no end", b" a \n\n b\r\n\tc", b"2026-01-01T00:00:00Z x\n", "ä€😀\n".encode()],
)
async def test_text(server: Server, place: Place, data: bytes) -> None:
    assert await written(server, place, data) == data


@pytest.mark.parametrize("size", [16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 100_000, 1_000_000])
async def test_long_lines(server: Server, place: Place, size: int) -> None:
    """Docker keeps them in pieces of 16 KiB."""
    data = b"x" * size + b"\nshort\n"
    assert hashed(await written(server, place, data)) == hashed(data)


async def test_long_lines_of_wide_characters(server: Server, place: Place) -> None:
    data = b"x" + "€".encode() * 20_000 + b"\n"
    assert hashed(await written(server, place, data)) == hashed(data)


async def test_bytes_of_every_kind(server: Server, place: Place) -> None:
    data = bytes(range(256)) * 300
    assert hashed(await written(server, place, data)) == hashed(data)


async def test_random_bytes(server: Server, place: Place) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    data = random.Random(seed).randbytes(200_000)
    assert hashed(await written(server, place, data)) == hashed(data)


def hashed(data: bytes) -> tuple[int, str]:
    """For failures that can be read."""
    return len(data), hashlib.sha256(data).hexdigest()


async def test_a_long_line_can_be_read_from_the_midst_of_it(server: Server, place: Place) -> None:
    data = b"".join(b"%06d" % number for number in range(10_000)) + b"\n"
    assert await written(server, place, data) == data
    chunks = await server.chunks()
    assert len(chunks) > 1
    for position, chunk in enumerate(chunks):
        rest = b"".join(each.data for each in chunks[position + 1 :])
        assert await server.output(cursor=chunk.cursor) == rest


async def test_more_than_is_kept(place: Place) -> None:
    """The oldest output goes; what is left is whole lines, up to the last one."""
    limit, count = 64 * 1024, 5000
    script = f"i=0; while [ $i -lt {count} ]; do echo line-number-$i; i=$((i+1)); done"
    async with serving(place, log_limit_bytes=limit) as server:
        await server.says_bytes(shell(script))
        lines = (await server.output()).decode().splitlines()
    first = int(lines[0].rpartition("-")[2])
    assert lines == [f"line-number-{number}" for number in range(first, count)]
    assert 0 < first < count - 100


async def test_more_than_is_kept_is_followed(place: Place) -> None:
    """Without a gap, where the reader isn't left behind: each line waits for the one before."""
    count = 400
    script = (
        f"mkfifo /tmp/go; i=0; while [ $i -lt {count} ]; do echo $i-$(printf '%0200d' 0); "
        f"i=$((i+1)); [ $((i % 50)) = 0 ] && while [ ! -e {place.directory}/$i ]; do sleep 0.01; "
        "done; done; true"
    )
    seen = b""
    async with serving(place, log_limit_bytes=64 * 1024) as server:
        await server.engine.create_job("job", sharing(place, script))
        async with asyncio.timeout(DEADLINE_SECONDS):
            async for chunk in server.engine.read_logs("job", LogQuery(follow=True)):
                seen += chunk.data
                if (lines := seen.count(b"\n")) % 50 == 0:
                    (place.directory / str(lines)).touch()
    assert [int(line.partition(b"-")[0]) for line in seen.splitlines()] == list(range(count))


async def test_a_follower_goes_on_with_another_server(place: Place) -> None:
    script = (
        f"i=0; while [ ! -e {place.directory}/stop ]; do echo out-$i; echo err-$i >&2; "
        "i=$((i+1)); sleep 0.01; done"
    )
    chunks: list[LogChunk] = []
    async with serving(place) as server:
        await server.engine.create_job("job", sharing(place, script))
        chunks += await take(server.engine.read_logs("job", LogQuery(follow=True)), 75)
    for _ in range(2):
        async with serving(place) as server:
            query = LogQuery(follow=True, cursor=chunks[-1].cursor)
            chunks += await take(server.engine.read_logs("job", query), 75)
    (place.directory / "stop").touch()
    async with serving(place) as server:
        chunks += await server.chunks(follow=True, cursor=chunks[-1].cursor)
        whole = await server.chunks()
    for stream in (LogStream.STDOUT, LogStream.STDERR):
        assert text(chunks, stream) == text(whole, stream)
        lines = text(whole, stream).splitlines()
        assert lines == [f"{stream.name[3:].lower()}-{n}" for n in range(len(lines))]


def text(chunks: list[LogChunk], stream: LogStream) -> str:
    names = {LogStream.STDOUT: "out", LogStream.STDERR: "err"}
    found = b"".join(chunk.data for chunk in chunks if chunk.stream is stream).decode()
    return found.replace(f"{names[stream]}-", f"{stream.name[3:].lower()}-")


async def take(logs: AsyncIterator[LogChunk], count: int) -> list[LogChunk]:
    """The first so many chunks; then it is closed."""
    found: list[LogChunk] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for chunk in logs:
            found.append(chunk)
            if len(found) == count:
                break
    await logs.aclose()  # type: ignore[attr-defined]  # it is a generator
    return found


async def test_output_comes_while_the_job_runs(server: Server, place: Place) -> None:
    gate = place.directory / "gate"
    spec = sharing(place, f"echo first; while [ ! -e {gate} ]; do sleep 0.01; done; echo second")
    await server.engine.create_job("job", spec)
    seen: list[bytes] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for chunk in server.engine.read_logs("job", LogQuery(follow=True)):
            seen.append(chunk.data)
            gate.touch()
    assert seen == [b"first\n", b"second\n"]


async def test_a_follower_of_a_job_that_is_deleted(server: Server, place: Place) -> None:
    spec = sharing(place, f"echo on; touch {place.directory}/ready; exec sleep 300")
    job = await server.engine.create_job("job", spec)
    follower = asyncio.create_task(server.chunks(follow=True))
    await until_file(place.directory / "ready")
    await server.engine.delete_job("job", grace_seconds=0)
    await server.watched.removal_of(job)
    chunks = await follower
    assert b"".join(chunk.data for chunk in chunks) in {b"on\n", b""}


async def test_a_finished_container_that_somebody_removed(server: Server, place: Place) -> None:
    await server.says_bytes(shell("echo gone"))
    await remove_ended(place)
    assert await server.output() == b""
    assert await server.output(follow=True) == b""
    assert await server.output(tail_lines=3) == b""


@pytest.mark.parametrize(
    ("lines", "expected"), [(0, []), (1, ["9"]), (3, ["7", "8", "9"]), (99, [*"0123456789"])]
)
async def test_tail(server: Server, lines: int, expected: list[str]) -> None:
    await server.says_bytes(shell("for i in 0 1 2 3 4 5 6 7 8 9; do echo $i; done"))
    assert (await server.output(tail_lines=lines)).decode().split() == expected


async def test_the_tail_of_long_lines(server: Server, place: Place) -> None:
    lines = [bytes([97 + number]) * 40_000 + b"\n" for number in range(5)]
    await written(server, place, b"".join(lines))
    assert hashed(await server.output(tail_lines=2)) == hashed(b"".join(lines[-2:]))


async def test_the_tail_goes_back_over_retries(server: Server, place: Place) -> None:
    runs = f"{place.directory}/runs"
    spec = sharing(place, f"echo x >> {runs}; echo run $(wc -l < {runs}); exit 1", max_retries=2)
    await server.run(spec)
    assert await server.output(tail_lines=2) == b"run 2\nrun 3\n"
