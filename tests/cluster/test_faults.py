"""Clusters killed, stopped, frozen, cut off and meddled with, while jobs run on them."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobengine import (
    AsyncClient,
    JobReason,
    JobSpec,
    JobState,
    JobStatus,
    RetryPolicy,
    errors,
    state_name,
)
from tests.clients.proxy import Proxy
from tests.cluster.api import Access, Api, Refused
from tests.cluster.fixtures import Reachable
from tests.cluster.images import IMAGE
from tests.cluster.story import (
    KubernetesStory,
    KubernetesTask,
    Place,
    kubeconfig_by_way_of,
    waiting,
)
from tests.faults.processes import until
from tests.faults.truth import RUNS_ON, release

if TYPE_CHECKING:  # what it imports may be missing here
    from tests.cluster.cluster import Cluster

pytestmark = [pytest.mark.engine("kubernetes"), pytest.mark.timeout(180)]

JOBS = 4
POD_SECONDS = 60.0
"""How long a pod may take to run, or to be over, on a cluster that was just hurt."""


@pytest.fixture
def place(hurt_place: Place) -> Place:
    """A place on a cluster that is well again afterwards."""
    return hurt_place


@pytest.fixture
def quiet_place(cluster: Reachable, kubernetes_namespace: str, tmp_path: Path) -> Place:
    """A place on a cluster that nobody hurts."""
    return Place(cluster.kubeconfig, kubernetes_namespace, tmp_path)


@pytest.fixture
def cut_place(quiet_place: Place) -> Iterator[tuple[Place, Proxy]]:
    """A place whose API server is reached through a proxy."""
    place = quiet_place
    target = Access.of(place.kubeconfig).server.removeprefix("https://")
    with Proxy(target) as proxy:
        path = place.directory / "kubeconfig"
        place.kubeconfig = kubeconfig_by_way_of(proxy.address, place.kubeconfig, path)
        yield place, proxy


async def wait_until(
    what: str, condition: Callable[[], object], seconds: float = POD_SECONDS
) -> None:
    def look() -> object:
        with contextlib.suppress(OSError):  # the API server is away, or coming
            return condition()
        return None

    await asyncio.to_thread(until, what, look, seconds=seconds)


async def until_started(tasks: list[KubernetesTask]) -> None:
    for task in tasks:
        await wait_until(f"{task.name} has started", task.runs)


async def until_running(story: KubernetesStory, tasks: list[KubernetesTask]) -> None:
    await until_started(tasks)
    for task in tasks:
        await until_told(story, task.name, JobState.JOB_STATE_RUNNING)


async def until_told(
    story: KubernetesStory, name: str, state: "JobState.ValueType", words: str = ""
) -> JobStatus:
    """Wait until a watcher is told of a state, with these words in its message."""
    async with contextlib.aclosing(story.client.watch_status(name)) as events:
        async for event in events:
            if event.status.state >= state and words in event.status.message:
                return event.status
    raise AssertionError(f"{name} was never told to be like this")


# -- the control plane goes down --------------------------------------------------------------


@pytest.mark.parametrize("fault", ["kill", pytest.param("terminate", marks=pytest.mark.slow)])
async def test_apiserver_goes_down_while_jobs_start_run_and_end(
    hurt: "Cluster", place: Place, fault: str
) -> None:
    """Those that end meanwhile keep their codes, and each runs once."""
    async with KubernetesStory(place) as story:
        await story.begin()
        running = [waiting(f"running-{i}", place.directory, 40 + i) for i in range(JOBS)]
        for task in running:
            story.submit(task)
        await until_running(story, running)
        starting = [
            KubernetesTask(f"starting-{i}", place.directory, f"leave {i}") for i in range(JOBS)
        ]
        for task in starting:
            story.submit(task)
        await wait_until("one has started", lambda: any(task.runs() for task in starting))
        await asyncio.to_thread(getattr(hurt, fault), "apiserver")
        for task in running[:2]:
            await asyncio.to_thread(release, task)
            await asyncio.to_thread(task.wait_for, "exit")
        await asyncio.to_thread(hurt.start_component, "apiserver")
        for task in running[2:]:
            await asyncio.to_thread(release, task)
        await story.settle()
        await story.check()
        assert [story.ended[task.name].exit_code for task in running] == [40, 41, 42, 43]


async def test_apiserver_and_server_go_down_together(hurt: "Cluster", place: Place) -> None:
    async with KubernetesStory(place) as story:
        await story.begin()
        tasks = [waiting(f"job-{i}", place.directory, 40 + i) for i in range(JOBS)]
        for task in tasks:
            story.submit(task)
        await until_running(story, tasks)
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(hurt.kill, "apiserver")
        for task in tasks:
            await asyncio.to_thread(release, task)
            await asyncio.to_thread(task.wait_for, "exit")
        await asyncio.to_thread(story.server.start)
        assert "can't reach Kubernetes" in await story.until_away()
        await asyncio.to_thread(hurt.start_component, "apiserver")
        await story.settle()
        await story.check()
        assert [story.ended[task.name].exit_code for task in tasks] == [40, 41, 42, 43]


@pytest.mark.parametrize("component", ["apiserver", pytest.param("etcd", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "seconds", [25, pytest.param(140, marks=[pytest.mark.slow, pytest.mark.timeout(360)])]
)
async def test_frozen(hurt: "Cluster", place: Place, component: Any, seconds: int) -> None:
    """Longer than a call may take, and with --slow longer than any: told, waited out, no harm."""
    async with KubernetesStory(place) as story:
        story.patience = replace(story.patience, resume_for_seconds=90 + seconds)
        await story.begin()
        running = waiting("running", place.directory, 3)
        running.body = f"echo begins; {running.body.replace('leave', 'echo ends; leave')}"
        story.submit(running)
        await until_running(story, [running])
        starting = KubernetesTask("starting", place.directory, "leave 4")
        story.submit(starting)
        await wait_until("its Job is made", lambda: len(place.objects("jobs")) == 2)
        begun = asyncio.Event()  # a reader that has heard nothing gives up sooner
        reader = asyncio.create_task(follow_output(story, "running", begun))
        async with asyncio.timeout(POD_SECONDS):
            await begun.wait()
        await asyncio.to_thread(hurt.freeze, component)
        try:
            thaw = asyncio.create_task(asyncio.sleep(seconds))
            await asyncio.to_thread(release, running)
            if component == "apiserver":
                await story.until_away()
            await creates_are_refused(story)
            status = await story.client.read_status("running")
            assert state_name(status) == "RUNNING"
            assert {job.name async for job in story.client.list_jobs()} == {"running", "starting"}
            await thaw
        finally:
            await asyncio.to_thread(hurt.thaw, component)
        story.settle_seconds += seconds  # the rest of the cluster was away as well
        await story.settle()
        # What was asked for may have been taken to heart all the same: nobody said no.
        await story.client.delete_job("refused", allow_missing=True, wait=True)
        async with asyncio.timeout(POD_SECONDS):
            assert await reader == b"begins\nends\n"
        await story.check()


async def follow_output(story: KubernetesStory, name: str, begun: asyncio.Event) -> bytes:
    """What a job writes, as a reader has it who was there all the time; tells when it begins."""
    data = b""
    async with contextlib.aclosing(story.client.logs(name, follow=True)) as output:
        async for chunk in output:
            data += chunk.data
            begun.set()
    return data


async def creates_are_refused(story: KubernetesStory) -> None:
    impatient = RetryPolicy(retry_for_seconds=0)
    async with AsyncClient(story.server.address, retry=impatient) as client:
        with pytest.raises((errors.Unavailable, errors.DeadlineExceeded)):
            await client.create_job(JobSpec(image=IMAGE, command=["true"]), name="refused")


@pytest.mark.parametrize("fault", ["kill", pytest.param("restart", marks=pytest.mark.slow)])
async def test_etcd_goes_down(hurt: "Cluster", place: Place, fault: str) -> None:
    async with KubernetesStory(place) as story:
        await story.begin()
        running = waiting("running", place.directory, 3)
        story.submit(running)
        await until_running(story, [running])
        tasks = [KubernetesTask(f"job-{i}", place.directory, f"leave {i}") for i in range(JOBS)]
        for task in tasks:
            story.submit(task)
        await asyncio.to_thread(getattr(hurt, fault), "etcd")
        await asyncio.to_thread(release, running)
        if fault == "kill":
            await asyncio.to_thread(running.wait_for, "exit")
            await asyncio.to_thread(hurt.start_component, "etcd")
        await story.settle()
        await story.check()


async def test_etcd_forgets_what_was(hurt: "Cluster", place: Place) -> None:
    """A watch can't go on where it was (410): what happened meanwhile is told all the same."""
    async with KubernetesStory(place) as story:
        await story.begin()
        tasks = [waiting(f"job-{i}", place.directory, 40 + i) for i in range(2)]
        for task in tasks:
            story.submit(task)
        gone = await story.client.create_job(JobSpec(image=IMAGE, command=["true"]), name="gone")
        await story.client.wait("gone")
        await until_running(story, tasks)
        story.server.send(signal.SIGSTOP)
        try:
            await asyncio.to_thread(release, tasks[0])
            await wait_until("its Job is over", lambda: job_is_over(place, "job-0"))
            await asyncio.to_thread(remove_job, place, "gone", "Background")
            await asyncio.to_thread(hurt.kill, "apiserver")
            await asyncio.to_thread(hurt.compact)
            await asyncio.to_thread(hurt.start_component, "apiserver")
        finally:
            story.server.send(signal.SIGCONT)
        await asyncio.to_thread(release, tasks[1])
        await story.settle()
        await wait_for_deletion(story, gone.uid)
        await story.check()
        assert [story.ended[task.name].exit_code for task in tasks] == [40, 41]
        assert state_name(story.told[gone.uid][-1]) == "SUCCEEDED"


async def wait_for_deletion(story: KubernetesStory, uid: str) -> None:
    """Wait until the service has no job with the uid any more."""
    async with asyncio.timeout(POD_SECONDS):
        while uid in {job.uid async for job in story.client.list_jobs()}:
            await asyncio.sleep(0.1)  # a watch tells, but not one that begins later


def job_is_over(place: Place, name: str) -> bool:
    conditions = place.api.get(place.path("jobs", name))["status"].get("conditions", ())
    return any(each["type"] in {"Complete", "Failed"} for each in conditions)


def remove_job(place: Place, name: str, policy: str) -> None:
    """What kubectl delete does (Background), or kubectl delete --cascade=foreground."""
    place.api.delete(place.path("jobs", name), {"propagationPolicy": policy})


async def test_a_deleted_job_is_over_when_it_is_gone(hurt: "Cluster", place: Place) -> None:
    """Not before: Kubernetes' controller may yet run a pod of a Job of which it hears late."""
    async with KubernetesStory(place) as story:
        await story.begin()
        await asyncio.to_thread(hurt.freeze, "controller-manager")
        try:
            spec = JobSpec(image=IMAGE, command=["true"])
            job = await story.client.create_job(spec, name="job")
            await story.client.delete_job("job")
            await story.client.read_status("job")  # has the server look at the Job
            assert [state_name(status) for status in story.told.get(job.uid, ())] in (
                [],
                ["PENDING"],
            )
        finally:
            await asyncio.to_thread(hurt.thaw, "controller-manager")
        await wait_for_deletion(story, job.uid)
        await asyncio.to_thread(place.until_gone)
        await story.check()


# -- connections ------------------------------------------------------------------------------


async def cut_for_ever(proxy: Proxy) -> None:
    while True:
        await asyncio.sleep(0.7)
        await asyncio.to_thread(proxy.cut)


@contextlib.asynccontextmanager
async def connections_cut(proxy: Proxy) -> AsyncIterator[None]:
    cutting = asyncio.create_task(cut_for_ever(proxy))
    try:
        yield
    finally:
        cutting.cancel()


async def test_connections_are_cut(cut_place: tuple[Place, Proxy]) -> None:
    """Again and again, wherever the server happens to be: every job runs once and is told."""
    place, proxy = cut_place
    async with KubernetesStory(place) as story:
        await story.begin()
        async with connections_cut(proxy):
            for number in range(8):
                body = f"leave {number % 3}"
                story.submit(KubernetesTask(f"job-{number}", place.directory, body))
            await story.settle()
        await story.check()


async def test_connections_are_cut_while_jobs_are_removed(cut_place: tuple[Place, Proxy]) -> None:
    place, proxy = cut_place
    async with KubernetesStory(place) as story:
        await story.begin()
        async with connections_cut(proxy):
            for number in range(8):
                task = KubernetesTask(f"job-{number}", place.directory, RUNS_ON, act="delete")
                task.delay = number / 2
                story.submit(task)
            await story.settle()
        await story.check()
    await asyncio.to_thread(place.until_gone)


async def test_connections_are_slow(cut_place: tuple[Place, Proxy]) -> None:
    """A second from question to answer, and more from one watch to the next: late, and true."""
    place, proxy = cut_place
    async with KubernetesStory(place) as story:
        await story.begin()
        await asyncio.to_thread(proxy.slow_down, 0.5)
        for number in range(4):
            body = f"leave {number % 3}"
            story.submit(KubernetesTask(f"job-{number}", place.directory, body))
        await story.settle()
        await story.check()


async def test_connections_fall_silent(cut_place: tuple[Place, Proxy]) -> None:
    """A half-open connection is noticed by what it doesn't answer (kcp#1148 and its like)."""
    place, proxy = cut_place
    async with KubernetesStory(place) as story:
        await story.begin()
        task = waiting("job", place.directory, 6)
        story.submit(task)
        await until_running(story, [task])
        await asyncio.to_thread(proxy.fall_silent)
        await asyncio.to_thread(release, task)
        await story.settle()
        await story.check()


# -- the node ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["kill", pytest.param("terminate", marks=pytest.mark.slow)])
async def test_kubelet_goes_down_while_a_job_runs(
    hurt: "Cluster", place: Place, fault: str
) -> None:
    """Nobody tells of its end until it is back, and then the end is the one that it had."""
    async with KubernetesStory(place) as story:
        await story.begin()
        tasks = [waiting("ends-meanwhile", place.directory, 3), waiting("goes-on", place.directory)]
        for task in tasks:
            story.submit(task)
        await until_running(story, tasks)
        await asyncio.to_thread(getattr(hurt, fault), "kubelet")
        await asyncio.to_thread(release, tasks[0])
        await asyncio.to_thread(tasks[0].wait_for, "exit")
        assert state_name(await story.client.read_status("ends-meanwhile")) == "RUNNING"
        await asyncio.to_thread(hurt.start_component, "kubelet")
        await asyncio.to_thread(release, tasks[1])
        await story.settle()
        await story.check()


@pytest.mark.slow
@pytest.mark.timeout(360)
async def test_kubelet_stays_away(hurt: "Cluster", place: Place) -> None:
    """The cluster gives the node up: Kubernetes runs the job again once it may."""
    async with KubernetesStory(place, may_repeat=True) as story:
        await story.begin()
        task = waiting("job", place.directory, 3)
        story.submit(task)
        await until_running(story, [task])
        await asyncio.to_thread(hurt.kill, "kubelet")
        await wait_until("its pod is to leave", lambda: leaves(place), seconds=120)
        await asyncio.to_thread(hurt.start_component, "kubelet")
        await asyncio.to_thread(hurt.await_node)
        await wait_until("it runs again", lambda: len(task.runs()) == 2, seconds=120)
        await asyncio.to_thread(release, task)
        await story.settle()
        await story.check()
        assert story.ended["job"].exit_code == 3
        assert story.repeated


def leaves(place: Place) -> bool:
    return any(pod["metadata"].get("deletionTimestamp") for pod in place.objects("pods"))


# -- others meddle ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grace", [1, pytest.param(0, marks=pytest.mark.slow)], ids=["deleted", "by force"]
)
async def test_pod_is_deleted_behind_the_service(quiet_place: Place, grace: int) -> None:
    """It counts as a failure of its attempt, which is run again where that is wanted."""
    place = quiet_place
    async with KubernetesStory(place, may_repeat=True) as story:
        await story.begin()
        once = KubernetesTask("once", place.directory, RUNS_ON)
        retried = KubernetesTask("retried", place.directory, retry_body(), {"max_retries": 1})
        for task in (once, retried):
            story.submit(task)
        await until_running(story, [once, retried])
        for pod in place.objects("pods"):
            path = place.path("pods", pod["metadata"]["name"])
            await asyncio.to_thread(place.api.delete, path, {"gracePeriodSeconds": grace})
        await story.settle()
        await story.check()
        assert state_name(story.ended["once"]) == "FAILED"
        assert story.ended["once"].reason == JobReason.JOB_REASON_SIGNALLED
        assert state_name(story.ended["retried"]) == "SUCCEEDED"
        assert (story.ended["retried"].failed, story.ended["retried"].retries) == (1, 1)
        assert len(retried.runs()) == 2


async def test_pod_goes_while_no_server_is_there(quiet_place: Place) -> None:
    """The next server knows that the job has run, though nothing of it does."""
    place = quiet_place
    async with KubernetesStory(place, may_repeat=True) as story:
        await story.begin()
        task = KubernetesTask("job", place.directory, retry_body(), {"max_retries": 1})
        story.submit(task)
        await until_running(story, [task])
        await wait_until("its start is noted", lambda: place.objects("jobs") and start_of(place))
        await asyncio.to_thread(story.server.kill)
        await allow_no_pods(place)
        (pod,) = place.objects("pods")
        await asyncio.to_thread(
            place.api.delete, place.path("pods", pod["metadata"]["name"]), {"gracePeriodSeconds": 1}
        )
        await wait_until("it is gone", lambda: not place.objects("pods"))
        await asyncio.to_thread(story.server.start)
        status = await story.client.read_status("job", fresh=True)
        assert (state_name(status), status.active) == ("RUNNING", 0)
        await asyncio.to_thread(place.api.delete, place.path("resourcequotas", "none"))
        await story.settle()
        await story.check()
        assert state_name(story.ended["job"]) == "SUCCEEDED"


def start_of(place: Place) -> object:
    (job,) = place.objects("jobs")
    return job["metadata"]["annotations"].get("jobengine.dev/start")


def retry_body() -> str:
    return f"[ $(grep -c ^start $t) -gt 1 ] && leave 0; {RUNS_ON}"


@pytest.mark.parametrize(
    "policy", ["Background", pytest.param("Foreground", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("served", [True, False], ids=["served", "no server"])
async def test_job_is_deleted_behind_the_service(
    quiet_place: Place, policy: str, *, served: bool
) -> None:
    """One that ran is never said to have succeeded; one that had ended keeps its end."""
    place = quiet_place
    async with KubernetesStory(place) as story:
        await story.begin()
        jobs = {
            name: await story.client.create_job(
                JobSpec(image=IMAGE, command=["sh", "-c", script]), name=name
            )
            for name, script in (("ended", "exit 3"), ("running", "sleep 60 & wait"))
        }
        await until_told(story, "ended", JobState.JOB_STATE_FAILED)
        await until_told(story, "running", JobState.JOB_STATE_RUNNING)
        if not served:
            await asyncio.to_thread(story.server.kill)
        for name in jobs:
            await asyncio.to_thread(remove_job, place, name, policy)
        if not served:
            await wait_until("they are gone", lambda: not place.objects("jobs"))
            await asyncio.to_thread(story.server.start)
        for job in jobs.values():
            await wait_for_deletion(story, job.uid)
        await asyncio.to_thread(place.until_gone)
        if served:
            await wait_until("its end is told", lambda: is_over(story, jobs["running"].uid))
            last = story.told[jobs["running"].uid][-1]
            # With Background its pod is still there when the Job is gone.
            by_policy = {"Background": ("LOST", "CANCELLED"), "Foreground": ("CANCELLED",)}
            assert state_name(last) in by_policy[policy]
            assert last.reason == JobReason.JOB_REASON_DELETED
        assert state_name(story.told[jobs["ended"].uid][-1]) == "FAILED"
        assert story.told[jobs["ended"].uid][-1].exit_code == 3
        await story.check()


def is_over(story: KubernetesStory, uid: str) -> bool:
    return story.told[uid][-1].state > JobState.JOB_STATE_RUNNING


async def test_job_ends_and_may_go_while_no_server_is_there(quiet_place: Place) -> None:
    """With a TTL of 0: the next server notes its end, and only then it goes."""
    place = quiet_place
    async with KubernetesStory(place) as story:
        await story.begin()
        task = waiting("job", place.directory, 7, ttl_after_finished=timedelta())
        await story.client.create_job(task.spec, name="job")
        await until_told(story, "job", JobState.JOB_STATE_RUNNING)
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(release, task)
        await wait_until("its Job is over", lambda: job_is_over(place, "job"))
        deletion = asyncio.create_task(asyncio.to_thread(deletion_of, place, "job"))
        await asyncio.to_thread(story.server.start)
        end = json.loads((await deletion)["metadata"]["annotations"]["jobengine.dev/end"])
        assert (end["state"], end["exit_code"]) == ("FAILED", 7)
        await asyncio.to_thread(place.until_gone)
        assert [run.code for run in task.runs()] == [7]


def deletion_of(place: Place, name: str) -> dict[str, Any]:
    """A Job as it was when it went."""
    found = place.api.get(place.path("jobs"))
    version = found["metadata"]["resourceVersion"]
    watch = place.api.watch(place.path("jobs"), seconds=POD_SECONDS, resourceVersion=version)
    for event in watch:
        if event["type"] == "DELETED" and event["object"]["metadata"]["name"] == name:
            gone: dict[str, Any] = event["object"]
            return gone
    raise AssertionError(f"the Job {name} didn't go")


# -- what the cluster doesn't allow -----------------------------------------------------------


async def test_quota_leaves_no_room_for_pods(quiet_place: Place) -> None:
    await allow_no_pods(quiet_place)
    async with KubernetesStory(quiet_place) as story:
        await story.begin()
        await never_starts(story, "exceeded quota: none")


async def allow_no_pods(place: Place) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    await asyncio.to_thread(place.api.post, place.path("resourcequotas"), quota)
    await wait_until("the quota holds", lambda: quota_holds(place))


def quota_holds(place: Place) -> bool:
    found = place.api.get(place.path("resourcequotas", "none"))
    return bool(found.get("status", {}).get("hard"))


async def test_service_account_is_missing(quiet_place: Place) -> None:
    async with KubernetesStory(quiet_place, "--service-account", "missing") as story:
        await story.begin()
        await never_starts(story, 'serviceaccount "missing" not found')


async def never_starts(story: KubernetesStory, words: str) -> None:
    """It waits, says why in Kubernetes' words, and gives up by its start timeout."""
    spec = JobSpec(image=IMAGE, command=["true"])
    spec.start_timeout.FromSeconds(12)
    await story.client.create_job(spec, name="job")
    pending = await until_told(story, "job", JobState.JOB_STATE_PENDING, words)
    assert state_name(pending) == "PENDING"
    status = await story.client.wait("job")
    assert state_name(status) == "FAILED"
    assert status.reason == JobReason.JOB_REASON_START_TIMEOUT
    assert words in status.message
    await story.client.delete_job("job", wait=True)
    await asyncio.to_thread(story.place.until_gone)


# -- credentials ------------------------------------------------------------------------------


class Accounts:
    """Service accounts that may do in their namespace what the service needs."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def add(self, name: str) -> str:
        """Make one; return a token of it."""
        place, api = self._place, self._place.api
        api.post(place.path("serviceaccounts"), {"metadata": {"name": name}})
        subject = {"kind": "ServiceAccount", "name": name, "namespace": place.namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
        bindings = f"/apis/{role['apiGroup']}/v1/namespaces/{place.namespace}/rolebindings"
        api.post(bindings, {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]})
        answer = api.post(f"{place.path('serviceaccounts', name)}/token", {"spec": {}})
        return str(answer["status"]["token"])

    def remove(self, name: str) -> None:
        """After some seconds nobody accepts its tokens any more."""
        self._place.api.delete(self._place.path("serviceaccounts", name))


@pytest.mark.parametrize(
    "inline", [pytest.param(True, marks=pytest.mark.slow), False], ids=["inline", "in a file"]
)
async def test_token_is_replaced(quiet_place: Place, *, inline: bool) -> None:
    """A wrong one is told clearly, and one that has run out is read anew."""
    place = quiet_place
    accounts = Accounts(place)
    tokens = {name: accounts.add(name) for name in ("first", "second")}
    admin = place.kubeconfig
    use_token(place, admin, "nobody", inline=inline)
    async with KubernetesStory(place) as story:
        await story.begin()
        message = await story.until_away()
        assert "doesn't accept the server's credentials (401)" in message
        use_token(place, admin, tokens["first"], inline=inline)
        await story.until_there()
        task = waiting("job", place.directory, 3)
        story.submit(task)
        await until_running(story, [task])
        use_token(place, admin, tokens["second"], inline=inline)
        accounts.remove("first")
        stale = Api(with_token(place, admin, tokens["first"]))
        await wait_until("the first is refused", lambda: is_refused(stale))
        await asyncio.to_thread(release, task)
        story.submit(KubernetesTask("next", place.directory, "leave 4"))
        await story.settle()
        await story.check()


def is_refused(api: Api) -> bool:
    try:
        api.get("/version")
    except Refused as refusal:
        return refusal.status == 401
    return False


def with_token(place: Place, admin: Path, token: str) -> Path:
    """A kubeconfig with that token, beside the place's."""
    path = place.directory / "kubeconfig-stale"
    address = Access.of(admin).server.removeprefix("https://")
    content = json.loads(kubeconfig_by_way_of(address, admin, path).read_text())
    content["users"][0]["user"] = {"token": token}
    path.write_text(json.dumps(content))
    return path


def use_token(place: Place, admin: Path, token: str, *, inline: bool) -> None:
    """Write the place's kubeconfig with that token, at one blow."""
    path = with_token(place, admin, token)
    if not inline:
        kept = place.directory / "token"
        replace_file(kept, token)
        content = json.loads(path.read_text())
        content["users"][0]["user"] = {"tokenFile": str(kept)}
        path.write_text(json.dumps(content))
    place.kubeconfig = place.directory / "kubeconfig"
    path.replace(place.kubeconfig)


def replace_file(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
