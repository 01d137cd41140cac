"""The server killed right before, and right after, each request of create, run, cancel, delete."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.fixtures import Reachable
from tests.cluster.story import KubernetesStory, KubernetesTask, Place, waiting
from tests.faults.processes import until
from tests.faults.truth import RUNS_ON, release

pytestmark = [pytest.mark.engine("kubernetes"), pytest.mark.timeout(120)]

ASKS, HEARS = "aiohttp.request", "aiohttp.answer"
JOBS, JOB = "/apis/batch/v1/namespaces/*/jobs", "/apis/batch/v1/namespaces/*/jobs/job"
POD = "/api/v1/namespaces/*/pods/*"

RUN = {
    "before its Job": f"{ASKS} POST+{JOBS} 1",
    "while its Job is made": f"{ASKS} POST+{JOBS} 1 0.005",
    "as its Job is made": f"{HEARS} POST+{JOBS} 1",
    "before its end is noted": f"{ASKS} PATCH+{JOB} 1",
    "while its end is noted": f"{ASKS} PATCH+{JOB} 1 0.005",
    "as its end is noted": f"{HEARS} PATCH+{JOB} 1",
}
CANCEL = {
    "before the decision": f"{ASKS} PATCH+{JOB} 1",
    "while it is decided": f"{ASKS} PATCH+{JOB} 1 0.005",
    "as it is decided": f"{HEARS} PATCH+{JOB} 1",
    "before its pod is ended": f"{ASKS} DELETE+{POD} 1",
    "as its pod is ended": f"{HEARS} DELETE+{POD} 1",
    "before its end is noted": f"{ASKS} PATCH+{JOB} 2",
    "as its end is noted": f"{HEARS} PATCH+{JOB} 2",
}
DELETE = {
    "before its Job goes": f"{ASKS} DELETE+{JOB} 1",
    "while its Job goes": f"{ASKS} DELETE+{JOB} 1 0.005",
    "as its Job goes": f"{HEARS} DELETE+{JOB} 1",
    "before its pod goes": f"{ASKS} DELETE+{POD} 1",
    "as its pod goes": f"{HEARS} DELETE+{POD} 1",
}
DEADLINE = {
    "before its deadline is set": f"{ASKS} PATCH+{JOB} 1",
    "as its deadline is set": f"{HEARS} PATCH+{JOB} 1",
}


def each(steps: dict[str, str]) -> pytest.MarkDecorator:
    """Those in the midst of a request, where it is left to luck what comes of it, are slow."""
    slow = pytest.mark.slow
    marks = {name: (slow,) if name.startswith("while") else () for name in steps}
    return pytest.mark.parametrize(
        "fault", [pytest.param(fault, id=name, marks=marks[name]) for name, fault in steps.items()]
    )


@pytest.fixture
def place(cluster: Reachable, kubernetes_namespace: str, tmp_path: Path) -> Place:
    return Place(cluster.kubeconfig, kubernetes_namespace, tmp_path)


@each(RUN)
async def test_run(place: Place, fault: str) -> None:
    task = KubernetesTask("job", place.directory, "leave 5")
    await KubernetesStory(place).play(fault, task)
    assert [run.code for run in task.runs()] == [5]


@each(CANCEL)
async def test_cancel(place: Place, fault: str) -> None:
    task = KubernetesTask("job", place.directory, RUNS_ON, act="cancel", act_on="start")
    await KubernetesStory(place).play(fault, task)


@each(DELETE)
async def test_delete(place: Place, fault: str) -> None:
    task = KubernetesTask("job", place.directory, RUNS_ON, act="delete", act_on="start")
    await KubernetesStory(place).play(fault, task)
    await asyncio.to_thread(place.until_gone)


@each(DEADLINE)
async def test_deadline(place: Place, fault: str) -> None:
    """It is set once, by the first start, whoever sets it."""
    async with KubernetesStory(place) as story:
        await story.begin(fault)
        times: dict[str, Any] = {
            "timeout": timedelta(seconds=600),
            "start_timeout": timedelta(seconds=60),
        }
        task = waiting("job", place.directory, **times)
        story.submit(task)
        await asyncio.to_thread(story.server.wait_for_its_death)
        await asyncio.to_thread(story.server.start)
        await asyncio.to_thread(until, "it has its deadline", lambda: 600 <= deadline(place) < 660)
        await asyncio.to_thread(release, task)
        await story.settle()
        await story.check()


def deadline(place: Place) -> int:
    return int(place.api.get(place.path("jobs", "job"))["spec"]["activeDeadlineSeconds"])


async def test_retries_are_taken_up_where_they_are(place: Place) -> None:
    async with KubernetesStory(place) as story:
        await story.begin()
        body = "[ $(grep -c ^exit $t) -lt 1 ] && leave 7; " + waiting("job", place.directory).body
        task = KubernetesTask("job", place.directory, body, {"max_retries": 3})
        story.submit(task)
        fifo = place.directory / "job.fifo"
        await asyncio.to_thread(until, "the second run waits", fifo.exists, seconds=60)
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(release, task)
        await asyncio.to_thread(until, "it is over", lambda: len(task.lines("exit")) == 2)
        await asyncio.to_thread(story.server.start)
        await story.settle()
        await story.check()
        assert [run.code for run in task.runs()] == [7, 0]


async def test_instances_are_taken_up_where_they_are(place: Place) -> None:
    """Two have ended, three run and one waits when the server dies: each runs once."""
    async with KubernetesStory(place) as story:
        await story.begin()
        wait = 'mkfifo "$t.$JOB_COMPLETION_INDEX"; read x < "$t.$JOB_COMPLETION_INDEX"; leave 0'
        body = f"[ $JOB_COMPLETION_INDEX -lt 2 ] && leave 0; {wait}"
        task = KubernetesTask("job", place.directory, body, {"completions": 6, "parallelism": 3})
        story.submit(task)
        fifos = [place.directory / f"job.truth.{number}" for number in range(2, 6)]
        what = "three wait"
        await asyncio.to_thread(until, what, lambda: all(map(Path.exists, fifos[:3])), seconds=60)
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(story.server.start)
        for fifo in fifos:
            await asyncio.to_thread(until, f"{fifo.name} waits", fifo.exists, seconds=30)
            await asyncio.to_thread(fifo.write_text, "\n")
        await story.settle()
        await story.check()
        assert len(task.runs()) == 6
