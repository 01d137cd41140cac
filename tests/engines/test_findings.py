"""What an installation is found to be like, whichever its engine."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from engines.base import Contact, Engine, Event
from engines.errors import EngineUnavailable
from engines.findings import Finding, amiss, clock, fine, look, many, on_a_thread
from engines.memory import MemoryEngine
from jobengine.v1.job_pb2 import JobSpec


async def findings_of(engine: Engine) -> list[Finding]:
    async with asyncio.timeout(10):
        return [finding async for finding in engine.examine()]


async def test_by_default_an_engine_is_asked_for_version_and_jobs() -> None:
    engine = MemoryEngine()
    await engine.create_job("one", JobSpec(command=["x"]))
    assert await findings_of(engine) == [fine("fake", "is there"), fine("jobs", "1 job")]


async def test_an_engine_that_is_away() -> None:
    engine = MemoryEngine()
    engine.disconnect()
    with pytest.raises(EngineUnavailable, match="told to be away"):
        await findings_of(engine)


class Mute(MemoryEngine):
    """Its watch ends before it has told anything."""

    async def watch(self) -> AsyncIterator[Event]:
        yield Contact()


async def test_an_engine_that_tells_no_jobs() -> None:
    with pytest.raises(EngineUnavailable, match="doesn't tell what jobs there are"):
        await findings_of(Mute())


async def failing(error: Exception) -> Sequence[Finding]:
    raise error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EngineUnavailable("it is away"), "it is away"),
        (OSError("no disk"), "no disk"),
        (ValueError("no number"), "no number"),
        (TimeoutError(), "TimeoutError"),
        (KeyError("x"), "looking at it failed: KeyError: 'x'"),
    ],
)
async def test_a_look_that_fails_is_a_finding(error: Exception, words: str) -> None:
    assert await look("disk", failing(error)) == [amiss("disk", words)]


async def test_a_look_that_hangs_is_given_up() -> None:
    async def hang() -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    assert await look("disk", hang(), 0.05) == [amiss("disk", "no answer within 0.05 s")]


async def test_a_thread_that_hangs_is_left_behind() -> None:
    end = threading.Event()
    try:
        found = await look("disk", on_a_thread("disk", lambda: [fine("x", str(end.wait()))]), 0.05)
        assert found == [amiss("disk", "no answer within 0.05 s")]
    finally:
        end.set()


@pytest.mark.parametrize("ahead", [0.0, 4.9, -4.9])
def test_a_clock_that_agrees(ahead: float) -> None:
    assert clock("clock", ahead).fine


@pytest.mark.parametrize(
    ("ahead", "words"), [(61.2, "is 61 s ahead of this machine's"), (-6, "is 6 s behind this")]
)
def test_a_clock_that_does_not(ahead: float, words: str) -> None:
    found = clock("clock", ahead)
    assert not found.fine
    assert words in found.words


def test_counts_in_words() -> None:
    assert (many(1, "job"), many(0, "job"), many(2, "job")) == ("1 job", "0 jobs", "2 jobs")
