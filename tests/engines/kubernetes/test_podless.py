"""What is asked about jobs without pods, with an API server that answers as it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from engines.kubernetes import podless
from engines.kubernetes.api import Api
from engines.kubernetes.cluster import Cluster
from engines.kubernetes.podless import Podless
from engines.kubernetes.tracked import Tracked
from tests.engines.kubernetes.api_server import Answer, ScriptedServer, page, refusal
from tests.engines.kubernetes.objects import a_job, a_pod
from tests.engines.kubernetes.specs import an_intent, shell

pytestmark = pytest.mark.timeout(20)


def failed_create(uid: str, message: str) -> dict[str, object]:
    return {"involvedObject": {"kind": "Job", "uid": uid}, "message": message}


def nothing() -> Answer:
    return page(version=1)


class Asking:
    """Jobs by uid, and what is told of them."""

    def __init__(self, server: ScriptedServer, api: Api) -> None:
        self.server = server
        self.active: dict[str, Tracked] = {}
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.podless = Podless(api, self.active, self.told.put_nowait)

    def add(self, uid: str, *, suspend: bool = False) -> Tracked:
        job = a_job(spec={"suspend": suspend})
        tracked = self.active[uid] = Tracked(an_intent(shell("true")), job, {})
        return tracked

    async def next(self) -> str:
        """The next job that is told of, and what was said of it."""
        uid = await self.told.get()
        return f"{uid}: {self.active[uid].words}"

    async def asked(self, count: int) -> list[web.Request]:
        while len(self.server.asked) < count:
            await asyncio.sleep(0.001)  # nobody tells
        return self.server.asked


@pytest.fixture
def answers() -> list[Answer]:
    return []


@pytest.fixture
async def asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[Answer]
) -> AsyncIterator[Asking]:
    monkeypatch.setattr(podless, "LOOK_SECONDS", 0.001)
    async with ScriptedServer() as server:
        server.answers = answers
        cluster = Cluster(server.write_kubeconfig(tmp_path / "config"))
        await cluster.connect()
        asking = Asking(server, Api(cluster))
        task = asyncio.create_task(asking.podless.ask_for_ever())
        yield asking
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await cluster.close()


async def test_one_list_answers_for_all(asking: Asking, answers: list[Answer]) -> None:
    """10,000 requests at once kept the pings waiting, and the API server was taken for lost."""
    said = (failed_create(f"uid-{n}", f"no room for {n}") for n in range(100))
    for n in range(100):
        asking.add(f"uid-{n}")
    answers.append(page(*said, version=1))
    told = [await asking.next() for _ in range(100)]
    assert sorted(told) == sorted(f"uid-{n}: no room for {n}" for n in range(100))
    (request, *_) = asking.server.asked
    assert request.path.endswith("/namespaces/tests/events")
    assert request.query["fieldSelector"] == "reason=FailedCreate,involvedObject.kind=Job"


async def test_the_last_word_of_all_pages_counts(asking: Asking, answers: list[Answer]) -> None:
    asking.add("uid")
    first, last = failed_create("uid", "first"), failed_create("uid", "last")
    answers += [page(first, version=1, more="more"), page(last, version=1)]
    assert await asking.next() == "uid: last"
    assert asking.server.asked[1].query["continue"] == "more"


async def test_others_are_not_told(asking: Asking, answers: list[Answer]) -> None:
    """Neither suspended jobs, nor those with pods, nor what isn't ours."""
    asking.add("suspended", suspend=True)
    asking.add("with a pod").pods["pod"] = a_pod("Pending")
    asking.add("waiting")
    uids = ("suspended", "with a pod", "foreign", "waiting")
    answers.append(page(*(failed_create(uid, "no") for uid in uids), version=1))
    assert await asking.next() == "waiting: no"
    await asking.asked(2)
    assert asking.told.empty()


@pytest.mark.parametrize("resumed", [False, True], ids=["new", "resumed"])
async def test_who_wasnt_asked_about_is_next(
    asking: Asking, answers: list[Answer], monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    """However long the pause of those is that have waited before."""
    for name, long in (("GROWTH", 1e6), ("MAX_PAUSE_SECONDS", 1e3), ("SHARE", 1.0)):
        monkeypatch.setattr(podless, name, long)
    asking.add("old")
    if resumed:
        asking.add("fresh", suspend=True)
    answers += [nothing(), nothing()]
    await asking.asked(2)  # from now on it pauses
    if resumed:
        asking.active["fresh"].job = a_job()
    else:
        asking.add("fresh")
    answers.append(page(failed_create("fresh", "no"), version=1))
    assert await asking.next() == "fresh: no"


async def test_what_cant_be_read_is_asked_again(asking: Asking, answers: list[Answer]) -> None:
    asking.add("uid")
    answers += [refusal(403), refusal(500), page(failed_create("uid", "no"), version=1)]
    assert await asking.next() == "uid: no"
