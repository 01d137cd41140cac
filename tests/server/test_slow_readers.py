"""Whose stream is ended for not reading, and whose isn't."""

import asyncio
from typing import Any, cast

import pytest

from server.errors import SlowReader
from server.slow_readers import Context, SlowReaders


class Client:
    """The far end of a stream: takes messages once it reads."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()

    async def write(self, message: bytes) -> None:
        del message
        await self.reads.wait()


def send(slow_readers: SlowReaders, client: Client) -> asyncio.Task[None]:
    return asyncio.create_task(slow_readers.write(cast("Context", cast("Any", client)), b""))


async def test_only_who_does_not_read_is_ended() -> None:
    slow_readers = SlowReaders(0.2)
    slow, prompt = Client(), Client()
    prompt.reads.set()
    late = send(slow_readers, slow)
    while not late.done():
        await send(slow_readers, prompt)
    with pytest.raises(SlowReader, match=r"0\.2 s"):
        late.result()
    assert late.cancelling() == 0


async def test_each_message_has_the_whole_time() -> None:
    slow_readers = SlowReaders(0.2)
    client = Client()
    for _ in range(4):
        writing = send(slow_readers, client)
        await asyncio.wait((writing,), timeout=0.1)
        assert not writing.done()
        client.reads.set()
        await writing
        client.reads.clear()


async def test_one_who_left_is_no_slow_reader() -> None:
    slow_readers = SlowReaders(60)
    left = send(slow_readers, Client())
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_the_next_one_is_ended_too_after_a_time_without_any() -> None:
    """The timer that serves all stops where nothing is being written, and starts again."""
    slow_readers = SlowReaders(0.05)
    for _ in range(2):
        with pytest.raises(SlowReader):
            await send(slow_readers, Client())
        while slow_readers._timer is not None:
            await asyncio.sleep(0.001)
