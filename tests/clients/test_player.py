"""The player sees what is wrong: a scenario that can't fail would say nothing."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from jobengine import JobState, JobStatus, WatchEvent, WatchStatusResponse
from tests.clients.player import Stream, difference

RUNNING = JobStatus(state=JobState.JOB_STATE_RUNNING)
FAILED = JobStatus(state=JobState.JOB_STATE_FAILED)
STATUS = WatchEvent.WATCH_EVENT_STATUS
DELETED = WatchEvent.WATCH_EVENT_DELETED


@pytest.mark.parametrize(
    ("example", "actual"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"a": {"b": "x"}}, {"a": None}),
        (["a"], ["a", "b"]),
        (["a"], []),
        ([], ["a"]),
        ([{"a": 1}], [{"a": 2}]),
        ("a", None),
    ],
)
def test_what_is_not_like_the_example(example: Any, actual: Any) -> None:
    assert difference(example, actual)


@pytest.mark.parametrize(
    ("example", "actual"),
    [({"a": 1}, {"a": 1, "b": 2}), ({"a": 0, "b": ""}, {}), ([], None), (["a"], ["a"])],
)
def test_what_is_like_the_example(example: Any, actual: Any) -> None:
    assert not difference(example, actual)


@pytest.mark.parametrize(
    "news",
    [
        [(STATUS, RUNNING), (STATUS, RUNNING)],
        [(STATUS, FAILED), (STATUS, RUNNING)],
        [(STATUS, FAILED), (STATUS, JobStatus(state=FAILED.state, exit_code=1))],
        [(DELETED, FAILED), (STATUS, FAILED)],
        [(WatchEvent.WATCH_EVENT_HEARTBEAT, None)],
    ],
)
async def test_what_a_watch_must_not_tell(news: list[tuple[int, JobStatus | None]]) -> None:
    stream = Stream(told(news))
    with pytest.raises(AssertionError):
        await stream.end()


async def test_a_watch_of_one_job_that_tells_of_two() -> None:
    stream = Stream(told([(STATUS, RUNNING), (STATUS, RUNNING)], uids="12"))
    with pytest.raises(AssertionError, match="one job"):
        await stream.end()


async def test_a_good_watch() -> None:
    await Stream(told([(STATUS, RUNNING), (STATUS, FAILED), (DELETED, FAILED)])).end()


async def told(
    news: list[tuple[int, JobStatus | None]], uids: str = "111"
) -> AsyncGenerator[WatchStatusResponse]:
    for (event, status), uid in zip(news, uids, strict=False):
        yield WatchStatusResponse(event=event, status=status, uid=uid)  # type: ignore[arg-type]
