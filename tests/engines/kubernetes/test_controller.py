"""What the controller does about jobs, with an API server that answers as it is told to."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from google.protobuf.duration_pb2 import Duration

from engines.backoff import Backoff
from engines.base import Changed, Job, Reason, Removed, State, Status
from engines.errors import EngineUnavailable
from engines.kubernetes import controller as controller_
from engines.kubernetes import record
from engines.kubernetes.api import Api
from engines.kubernetes.cluster import Cluster
from engines.kubernetes.controller import Controller
from engines.kubernetes.reflector import Gone, Listed, Put
from engines.kubernetes.tracked import OWNER
from engines.lifecycle import facts
from engines.lifecycle.facts import Stop
from tests.engines.kubernetes.api_server import Answer, ScriptedServer, refusal
from tests.engines.kubernetes.objects import (
    a_job,
    a_pod,
    at,
    complete_job,
    ended,
    failed_job,
    running,
)
from tests.engines.kubernetes.specs import NEW_YEAR, UID, an_intent, shell

pytestmark = pytest.mark.timeout(20)

SPEC = shell("true")


def ours(job: dict[str, Any], version: int = 5, spec: Any = SPEC, **said: str) -> dict[str, Any]:
    """A Job with all that the engine gives one."""
    intent = an_intent(spec)
    job["metadata"] |= {
        "resourceVersion": str(version),
        "labels": record.labels_of(intent),
        "annotations": {**record.annotations_of(intent, spec), **said},
    }
    return job


def of_job(pod: dict[str, Any]) -> dict[str, Any]:
    pod["metadata"]["labels"][OWNER] = UID
    pod["metadata"]["resourceVersion"] = "1"
    return pod


def patched(job: dict[str, Any], version: int) -> Answer:
    """Takes the patch: annotations and spec of the Job are changed by it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        patch = json.loads(await request.read())
        metadata = job["metadata"]
        metadata["annotations"] |= patch.get("metadata", {}).get("annotations", {})
        metadata["resourceVersion"] = str(version)
        job["spec"] |= patch.get("spec", {})
        return web.json_response(job)

    return answer


def tells(answer: dict[str, Any]) -> Answer:
    async def give(request: web.Request) -> web.StreamResponse:
        return web.json_response(answer)

    return give


def pods(*found: dict[str, Any]) -> Answer:
    return tells({"items": list(found)})


CONFLICT = refusal(409, "the object has been modified", "Conflict")


class Followed:
    """A controller that is in sync, its API server, and what was told of its jobs."""

    def __init__(self, controller: Controller, server: ScriptedServer) -> None:
        self.controller = controller
        self.server = server
        self.told: list[Job | Removed] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        jobs = self.controller.jobs
        async for event in self.controller.feed.watch(lambda: list(jobs.values())):
            if isinstance(event, Changed | Removed):
                self.told.append(event.job if isinstance(event, Changed) else event)
                self._news.set()

    async def end(self) -> Status:
        """The terminal status that is told."""
        while True:
            for told in self.told:
                if isinstance(told, Job) and told.status.state.terminal:
                    return told.status
            self._news.clear()
            await self._news.wait()

    async def asked(self, count: int) -> list[web.Request]:
        """What was asked for, once that were so many requests."""
        while len(self.server.asked) < count:
            await asyncio.sleep(0.001)  # nobody tells
        return self.server.asked

    async def close(self) -> None:
        await self.controller.close(EngineUnavailable("over"))
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@contextlib.asynccontextmanager
async def following(path: Path, *answers: Answer) -> AsyncIterator[Followed]:
    async with ScriptedServer(*answers) as server:
        cluster = Cluster(server.write_kubeconfig(path / "kubeconfig"))
        await cluster.connect()
        controller = Controller(Api(cluster))
        controller.take_job(Listed([], "1"))
        controller.take_pod(Listed([], "1"))
        assert controller.in_sync.is_set()
        followed = Followed(controller, server)
        try:
            yield followed
        finally:
            await followed.close()
            await cluster.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller_, "TRY_AGAIN", Backoff(first=0.001, longest=0.01))


async def test_an_end_is_noted_before_it_is_told(tmp_path: Path) -> None:
    job = ours(complete_job())
    noted = asyncio.Event()

    async def note(request: web.Request) -> web.StreamResponse:
        assert all(not j.status.state.terminal for j in followed.controller.jobs.values())
        noted.set()
        return await patched(job, 9)(request)

    async with following(tmp_path, note) as followed:
        followed.controller.take_pod(Put(of_job(ended(0))))
        followed.controller.take_job(Put(job))
        status = await followed.end()
        assert noted.is_set()
        assert (status.state, status.exit_code) == (State.SUCCEEDED, 0)
        (patch,) = followed.server.bodies
        assert patch["metadata"]["resourceVersion"] == "5"
        assert record.read_end(job) == status


async def test_the_ttl_begins_with_the_noted_end(tmp_path: Path) -> None:
    spec = shell("true", ttl_after_finished=Duration(seconds=7))
    job = ours(complete_job(), spec=spec)
    async with following(tmp_path, patched(job, 9)) as followed:
        followed.controller.take_pod(Put(of_job(ended(0))))
        followed.controller.take_job(Put(job))
        await followed.end()
        assert followed.server.bodies[0]["spec"] == {"ttlSecondsAfterFinished": 7}


async def test_what_another_server_noted_first_stands(tmp_path: Path) -> None:
    job = ours(failed_job())
    first = Status(state=State.LOST, reason=Reason.UNKNOWN, create_time=NEW_YEAR, end_time=NEW_YEAR)
    theirs = ours(failed_job(), 8, **record.end_annotation(first))
    async with following(tmp_path, CONFLICT, tells(theirs)) as followed:
        followed.controller.take_pod(Put(of_job(ended(3))))
        followed.controller.take_job(Put(job))
        assert await followed.end() == first


async def test_pods_that_are_not_known_yet_are_asked_for(tmp_path: Path) -> None:
    """The Job's watch may be ahead of that of the pods."""
    job = ours(failed_job())
    async with following(tmp_path, pods(ended(3)), patched(job, 9)) as followed:
        followed.controller.take_job(Put(job))
        assert (await followed.end()).exit_code == 3


async def test_a_pod_that_ended_and_was_removed_still_tells(tmp_path: Path) -> None:
    job = ours(failed_job(), 6)
    async with following(tmp_path, patched(job, 9)) as followed:
        followed.controller.take_job(Put(ours(a_job())))
        followed.controller.take_pod(Put(of_job(a_pod("Running", running()))))
        followed.controller.take_pod(Gone(of_job(ended(5))))
        followed.controller.take_job(Put(job))
        assert (await followed.end()).exit_code == 5


@pytest.mark.parametrize("how", ["deleted", "gone"])
async def test_a_start_is_noted_before_its_pod_goes(tmp_path: Path, how: str) -> None:
    """Or a server that comes later would tell that the job has never run."""
    job = ours(a_job())
    async with following(tmp_path, patched(job, 9)) as followed:
        followed.controller.take_job(Put(job))
        pod = of_job(a_pod("Running", running()))
        followed.controller.take_pod(Put(pod))
        (known,) = followed.controller.jobs.values()
        if how == "gone":
            followed.controller.take_pod(Gone(pod))
        else:
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:09Z"
            followed.controller.take_pod(Put(pod))
        await followed.asked(1)
        assert known.status.start_time is not None
        assert record.read_start(job) == known.status.start_time


async def test_noting_goes_on_when_the_server_fails(tmp_path: Path) -> None:
    job = ours(complete_job())
    answers = (refusal(503, "busy"), refusal(500, "oops"), patched(job, 9))
    async with following(tmp_path, *answers) as followed:
        followed.controller.take_pod(Put(of_job(ended(0))))
        followed.controller.take_job(Put(job))
        assert (await followed.end()).state is State.SUCCEEDED


async def test_a_job_that_goes_while_its_end_is_noted(tmp_path: Path) -> None:
    job = ours(complete_job())
    async with following(tmp_path, refusal(404, "not found", "NotFound")) as followed:
        followed.controller.take_pod(Put(of_job(ended(0))))
        followed.controller.take_job(Put(job))
        await followed.asked(1)
        followed.controller.take_job(Gone(job))
        assert not followed.controller.jobs
        assert not followed.controller.active


async def test_a_stop_is_decided_once(tmp_path: Path) -> None:
    earlier = Stop(facts.START_TIMEOUT, NEW_YEAR + 3, 0.0, "too late")
    theirs = ours(a_job(), 8, **record.stop_annotation(earlier))
    async with following(tmp_path, CONFLICT, tells(theirs)) as followed:
        followed.controller.take_job(Put(ours(a_job())))
        tracked = followed.controller.active[UID]
        await followed.controller.stop(tracked, facts.CANCELLED, None)
        assert record.read_stop(tracked.job) == earlier
        assert [request.method for request in followed.server.asked] == ["PATCH", "GET"]


async def test_a_stop_ends_the_pods_in_the_time_that_was_given(tmp_path: Path) -> None:
    job = ours(a_job())
    pod = of_job(a_pod("Running", running()))
    pod["spec"]["terminationGracePeriodSeconds"] = 30
    async with following(tmp_path, patched(job, 9), tells({})) as followed:
        followed.controller.take_job(Put(ours(a_job())))
        followed.controller.take_pod(Put(pod))
        tracked = followed.controller.active[UID]
        await followed.controller.stop(tracked, facts.CANCELLED, 0.0)
        patch, options = followed.server.bodies
        _, delete = followed.server.asked
        assert patch["spec"] == {"parallelism": 0, "activeDeadlineSeconds": 1}
        assert (delete.method, delete.path.rpartition("/")[2]) == ("DELETE", "job-p0")
        # 0 would make Kubernetes forget a pod that runs on.
        assert options["gracePeriodSeconds"] == 1


async def test_what_does_not_start_in_time_is_stopped(tmp_path: Path) -> None:
    spec = shell("true", start_timeout=Duration(seconds=1))
    job = ours(a_job(), spec=spec)  # it was made in January
    async with following(tmp_path, patched(job, 9)) as followed:
        followed.controller.take_job(Put(ours(a_job(), spec=spec)))
        await followed.asked(1)
        tracked = followed.controller.active[UID]
        while (stop := record.read_stop(tracked.job)) is None:
            await asyncio.sleep(0.001)  # nobody tells
        assert stop.reason == facts.START_TIMEOUT
        assert "didn't start within 1 s" in stop.message


async def test_the_deadline_is_set_once_it_has_started(tmp_path: Path) -> None:
    spec = shell("true", timeout=Duration(seconds=60))
    job = ours(a_job(), spec=spec)
    async with following(tmp_path, patched(job, 9)) as followed:
        followed.controller.take_job(Put(ours(a_job(), spec=spec)))
        followed.controller.take_pod(Put(of_job(a_pod("Running", running(NEW_YEAR + 40)))))
        await followed.asked(1)
        # Kubernetes counts from when it accepted the Job.
        (patch,) = followed.server.bodies
        assert patch == {"spec": {"activeDeadlineSeconds": 100}}


async def test_a_start_is_noted_while_a_pod_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller_, "NOTE_START_SECONDS", 0.01)
    job = ours(a_job())
    async with following(tmp_path, patched(job, 9)) as followed:
        followed.controller.take_job(Put(ours(a_job())))
        followed.controller.take_pod(Put(of_job(a_pod("Running", running(NEW_YEAR + 40)))))
        await followed.asked(1)
        (patch,) = followed.server.bodies
        annotations = record.start_annotation(NEW_YEAR + 40)
        assert patch == {"metadata": {"resourceVersion": "5", "annotations": annotations}}


@pytest.mark.parametrize("deleted", [False, True], ids=["stays", "is deleted"])
async def test_a_job_whose_end_is_not_noted_has_run(tmp_path: Path, *, deleted: bool) -> None:
    """Another server may have told so: this one begins, and finds it over."""
    job = ours(complete_job())
    if deleted:
        del job["status"]["conditions"]
        job["metadata"]["deletionTimestamp"] = at(NEW_YEAR + 50)
    async with following(tmp_path) as followed:
        followed.controller.take_pod(Put(of_job(ended(0))))
        followed.controller.take_job(Put(job))
        (known,) = followed.controller.jobs.values()
        assert (known.status.state, known.status.end_time) == (State.RUNNING, None)
        assert known.status.start_time is not None


async def test_an_older_version_changes_nothing(tmp_path: Path) -> None:
    stop = Stop(facts.CANCELLED, NEW_YEAR + 3, 0.0)
    async with following(tmp_path) as followed:
        followed.controller.put(ours(a_job(), 9, **record.stop_annotation(stop)))
        followed.controller.take_job(Put(ours(a_job(), 8)))
        assert record.read_stop(followed.controller.active[UID].job) == stop


async def test_a_job_made_while_the_list_was_on_its_way_stays(tmp_path: Path) -> None:
    """Of a uid that was said to be gone nobody would hear again."""
    async with following(tmp_path) as followed:
        followed.controller.put(ours(a_job(), 12))
        followed.controller.take_job(Listed([], "10"))
        assert list(followed.controller.jobs) == ["job"]
        followed.controller.take_job(Listed([], "12"))
        assert not followed.controller.jobs


async def test_jobs_of_others_are_not_seen(tmp_path: Path) -> None:
    foreign = a_job()
    foreign["metadata"]["resourceVersion"] = "5"
    damaged = ours(a_job())
    damaged["metadata"]["annotations"][record.INTENT] = "{"
    async with following(tmp_path) as followed:
        followed.controller.take_job(Listed([foreign, damaged], "5"))
        assert not followed.controller.jobs
