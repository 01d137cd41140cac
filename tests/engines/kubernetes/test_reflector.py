"""What the reflector makes of lists and watches, and of all that can go wrong with them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engines.backoff import Backoff
from engines.errors import EngineError, EngineUnavailable
from engines.kubernetes import reflector
from engines.kubernetes.cluster import Cluster, Refused
from engines.kubernetes.reflector import Event, Gone, Listed, Put, Reflector
from tests.engines.kubernetes.api_server import (
    Answer,
    ScriptedServer,
    event,
    page,
    refusal,
    thing,
    watch,
)

PATH = "/api/v1/namespaces/tests/things"

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "TRY_AGAIN", Backoff(first=0.001, longest=0.01))


@contextlib.asynccontextmanager
async def following(
    path: Path, *answers: Answer
) -> AsyncIterator[tuple[ScriptedServer, AsyncIterator[Event]]]:
    async with ScriptedServer(*answers) as server:
        cluster = Cluster(server.write_kubeconfig(path / "kubeconfig"))
        await cluster.connect()
        followed = Reflector(cluster, PATH, "ours=yes", lambda found: found["metadata"])
        try:
            async with contextlib.aclosing(followed.follow()) as events:
                yield server, events
        finally:
            await cluster.close()


async def take(events: AsyncIterator[Event], count: int) -> list[str]:
    """The next events, in short."""
    return [short(await anext(events)) for _ in range(count)]


def short(told: Event) -> str:
    match told:
        case Listed(objects=objects):
            return "listed " + " ".join(each["name"] for each in objects)
        case Put(object=found):
            return f"put {found['name']} {found['resourceVersion']}"
        case Gone(object=found):
            return f"gone {found['name']}"


async def test_a_list_in_pages_and_what_changes_after_it(tmp_path: Path) -> None:
    answers = (
        page(thing("a", 1), thing("b", 2), version=5, more="next"),
        page(thing("c", 3), version=5),
        watch(
            event("ADDED", thing("d", 6)),
            event("MODIFIED", thing("a", 7)),
            event("DELETED", thing("b", 8)),
            then="silent",
        ),
    )
    async with following(tmp_path, *answers) as (server, events):
        assert await take(events, 4) == ["listed a b c", "put d 6", "put a 7", "gone b"]
    first, second, watched = (dict(request.query) for request in server.asked)
    assert first == {"labelSelector": "ours=yes", "limit": "500"}
    assert second == {**first, "continue": "next"}
    assert (watched["resourceVersion"], watched["allowWatchBookmarks"]) == ("5", "true")
    assert 30 <= int(watched["timeoutSeconds"]) < reflector.SILENCE_SECONDS


@pytest.mark.parametrize("then", ["end", "cut"])
async def test_a_watch_that_ends_is_taken_up_where_it_was(tmp_path: Path, then: str) -> None:
    answers = (
        page(version=5),
        watch(event("ADDED", thing("a", 6)), event("BOOKMARK", thing("", 9)), then=then),
        watch(event("ADDED", thing("b", 10)), then="silent"),
    )
    async with following(tmp_path, *answers) as (server, events):
        assert await take(events, 3) == ["listed ", "put a 6", "put b 10"]
    assert server.asked[2].query["resourceVersion"] == "9"


async def test_an_event_that_is_cut_in_two_comes_again(tmp_path: Path) -> None:
    whole = event("ADDED", thing("b", 7))
    answers = (
        page(version=5),
        watch(event("ADDED", thing("a", 6)), whole[:20]),
        watch(whole, then="silent"),
    )
    async with following(tmp_path, *answers) as (server, events):
        assert await take(events, 3) == ["listed ", "put a 6", "put b 7"]
    assert server.asked[2].query["resourceVersion"] == "6"


@pytest.mark.parametrize(
    "gone",
    [
        refusal(410, "too old resource version", "Expired"),
        watch(event("ERROR", {"code": 410, "message": "too old", "reason": "Expired"})),
    ],
    ids=["as the answer", "as an event"],
)
async def test_what_is_too_old_is_listed_anew(tmp_path: Path, gone: Answer) -> None:
    answers = (
        page(thing("a", 1), version=5),
        gone,
        page(thing("b", 8), version=9),
        watch(event("ADDED", thing("c", 10)), then="silent"),
    )
    async with following(tmp_path, *answers) as (server, events):
        assert await take(events, 3) == ["listed a", "listed b", "put c 10"]
    assert server.asked[3].query["resourceVersion"] == "9"


async def test_a_silent_watch_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "SILENCE_SECONDS", 0.2)
    answers = (
        page(version=5),
        watch(event("ADDED", thing("a", 6)), then="silent"),
        watch(event("ADDED", thing("b", 7)), then="silent"),
    )
    async with following(tmp_path, *answers) as (_, events):
        assert await take(events, 3) == ["listed ", "put a 6", "put b 7"]


async def test_trouble_that_lasts_is_told(tmp_path: Path) -> None:
    answers = (page(version=5), *[refusal(500, "etcd is away")] * 20)
    async with following(tmp_path, *answers) as (server, events):
        await take(events, 1)
        with pytest.raises(EngineUnavailable, match="etcd is away"):
            await anext(events)
        assert len(server.asked) == 2 + reflector.MAX_FAILURES


async def test_trouble_between_events_is_forgotten(tmp_path: Path) -> None:
    broken = [refusal(503, "busy")] * reflector.MAX_FAILURES
    answers = (
        page(version=5),
        *broken,
        watch(event("ADDED", thing("a", 6))),
        *broken,
        watch(event("ADDED", thing("b", 7))),
    )
    async with following(tmp_path, *answers) as (_, events):
        assert await take(events, 3) == ["listed ", "put a 6", "put b 7"]


async def test_a_missing_permission_is_told_at_once(tmp_path: Path) -> None:
    words = 'jobs.batch is forbidden: User "u" cannot list resource "jobs" in API group "batch"'
    async with following(tmp_path, refusal(403, words)) as (server, events):
        with pytest.raises(Refused, match="cannot list resource"):
            await anext(events)
        assert len(server.asked) == 1


async def test_a_token_that_was_rotated_is_read_anew(tmp_path: Path) -> None:
    """kubernetes-client/python#741: the old one was kept for ever."""
    answers = (
        page(version=5),
        watch(event("ADDED", thing("a", 6))),
        watch(event("ADDED", thing("b", 7)), then="silent"),
    )
    async with following(tmp_path, *answers) as (server, events):
        await take(events, 2)
        server.token = "second"
        server.write_kubeconfig(tmp_path / "kubeconfig", token="second")
        assert await take(events, 1) == ["put b 7"]


async def test_a_token_that_stays_wrong_is_told(tmp_path: Path) -> None:
    async with following(tmp_path, page(version=5)) as (server, events):
        server.token = "another"
        with pytest.raises(EngineUnavailable, match=r"doesn't accept .* credentials"):
            await anext(events)


async def test_watches_that_end_at_once_are_not_opened_in_a_hurry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[int] = []

    class Recording:
        def after(self, failures: int) -> float:
            paused.append(failures)
            return 0.0

    monkeypatch.setattr(reflector, "TRY_AGAIN", Recording())
    ends = [watch()] * 10
    answers = (page(version=5), *ends, watch(event("ADDED", thing("a", 6)), then="silent"))
    async with following(tmp_path, *answers) as (_, events):
        assert await take(events, 2) == ["listed ", "put a 6"]
    assert paused == [1] * 10


async def test_it_stops_while_nothing_comes(tmp_path: Path) -> None:
    """kubernetes-client/python's informer joined its thread without a bound."""
    async with following(tmp_path, page(version=5), watch(then="silent")) as (server, events):
        await take(events, 1)
        waiting = asyncio.ensure_future(anext(events))
        while len(server.asked) < 2:
            await asyncio.sleep(0.001)  # nobody tells
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_reader_is_woken_when_the_connection_is_made_anew(tmp_path: Path) -> None:
    """Of a closed session aiohttp tells nobody who reads from it."""
    async with ScriptedServer(watch(b"one\n", then="silent")) as server:
        cluster = Cluster(server.write_kubeconfig(tmp_path / "kubeconfig"))
        await cluster.connect()
        try:
            lines = cluster.lines(PATH, query={}, silence=60)
            async with contextlib.aclosing(lines):
                assert await anext(lines) == b"one"
                reading = asyncio.ensure_future(anext(lines))
                await asyncio.sleep(0)
                await cluster.connect()
                with pytest.raises(EngineUnavailable):
                    await reading
        finally:
            await cluster.close()


async def test_a_server_that_is_away(tmp_path: Path) -> None:
    async with ScriptedServer() as server:
        kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig")
    cluster = Cluster(kubeconfig)
    await cluster.connect()
    followed = Reflector(cluster, PATH, "ours=yes", dict)
    try:
        with pytest.raises(EngineError, match="can't reach Kubernetes at"):
            async with contextlib.aclosing(followed.follow()) as events:
                await anext(events)
    finally:
        await cluster.close()
