"""Stories of a server on a Kubernetes cluster, which may come to harm too."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engines.kubernetes import record
from jobengine import JobReason, JobSpec, JobState, JobStatus, RetryPolicy, errors
from jobengine.v1.job_pb2 import Mount
from tests.cluster.api import Access, Api
from tests.cluster.images import IMAGE
from tests.faults.processes import until
from tests.faults.server import FaultyServer
from tests.faults.story import Story, check_truth
from tests.faults.truth import Run, Task

T = TypeVar("T")

GONE_SECONDS = 60.0
"""How long pods may take to go: a kubelet that has just come back looks at all of them first."""

_POD_NAME = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
_OPTIONS: dict[str, Any] = {"spec": {"containers": [{"name": "job", "env": [_POD_NAME]}]}}


class Place:
    """A namespace of a cluster, and a directory of its node that jobs may mount."""

    def __init__(self, kubeconfig: Path, namespace: str, directory: Path) -> None:
        self.kubeconfig = kubeconfig  # the server's, which a test may change
        self.namespace = namespace
        self.directory = directory
        self.api = Api(kubeconfig)

    def path(self, kind: str, name: str = "") -> str:
        """Where objects of a kind are, or one of them."""
        group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        return f"{group}/namespaces/{self.namespace}/{kind}{'/' if name else ''}{name}"

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """The Jobs or pods that are the service's."""
        found = self.api.get(self.path(kind), labelSelector=record.SELECTOR)["items"]
        if kind == "jobs":
            return [job for job in found if record.read_intent(job) is not None]
        return list(found)

    def until_gone(self) -> None:
        """Wait until nothing is left of any job."""
        for kind in ("jobs", "pods"):
            what = f"no {kind} are left"
            until(what, lambda: not self.objects(kind), seconds=GONE_SECONDS)  # noqa: B023


def kubeconfig_by_way_of(address: str, kubeconfig: Path, path: Path) -> Path:
    """Write a kubeconfig that leads over a proxy, which passes TLS through."""
    access = Access.of(kubeconfig)
    host = access.server.removeprefix("https://").partition(":")[0]
    cluster = {
        "server": f"https://{address}",
        "certificate-authority": access.ca_file,
        "tls-server-name": host,
    }
    user = {
        "token": access.token,
        "client-certificate": access.cert_file,
        "client-key": access.key_file,
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "user", "user": {key: said for key, said in user.items() if said}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
        "current-context": "test",
    }
    path.write_text(json.dumps(content))
    return path


class KubernetesServer(FaultyServer):
    """`jobengine serve` on a cluster."""

    def __init__(self, place: Place, *options: str) -> None:
        super().__init__(place.directory / "state", *options)
        self._place = place

    def engine_options(self) -> tuple[str, ...]:
        place = self._place
        where = ("--kubeconfig", str(place.kubeconfig), "--namespace", place.namespace)
        allowed = ("--allow-host-path", str(place.directory), "--allow-engine-options")
        return "--engine", "kubernetes", *where, *allowed


@dataclass(slots=True)
class KubernetesTask(Task):
    """A job that writes into the test's directory, on the node, what its pods do.

    `act_on` is a line that it has written when what is to be done to it is done, or nothing.
    """

    act_on: str = ""

    @property
    def spec(self) -> JobSpec:
        spec: JobSpec = Task.spec.fget(self)  # type: ignore[attr-defined]
        # Pods don't know which attempt they are.
        spec.command[2] = f"JOBENGINE_JOB_ATTEMPT=$JOB_COMPLETION_INDEX.$POD\n{spec.command[2]}"
        spec.image = IMAGE
        spec.mounts.append(Mount(target=str(self.directory), host_path=str(self.directory)))
        spec.engine_options.update(_OPTIONS)
        return spec

    def runs(self) -> list[Run]:
        """All attempts, one for each pod that has run; fails if a pod ran the command twice."""
        found: dict[str, Run] = {}
        attempts = Counter[int]()
        for pod, pid, parent_pid in self.lines("start"):
            assert pod not in found, f"{self.name}: the pod {pod} ran it twice"
            instance = int(pod.partition(".")[0])
            found[pod] = Run(instance, attempts[instance], int(pid), int(parent_pid))
            attempts[instance] += 1
        for pod, code in self.lines("exit"):
            assert found[pod].code is None, f"{self.name}: the pod {pod} ended twice"
            found[pod].code = int(code)
        return list(found.values())


def waiting(name: str, directory: Path, code: int = 0, **options: Any) -> KubernetesTask:
    """A job that exits with the code once `tests.faults.truth.release` was called for it."""
    fifo = directory / f"{name}.fifo"
    body = f"mkfifo {fifo} 2>/dev/null; read x < {fifo}; leave {code}"
    return KubernetesTask(name, directory, body, options)


class KubernetesStory(Story):
    """`may_repeat`: pods may come to harm, so that Kubernetes runs an instance once more."""

    patience = RetryPolicy(retry_for_seconds=90, resume_for_seconds=90, heartbeat_seconds=1)
    settle_seconds = 90
    call_seconds = 90.0

    def __init__(self, place: Place, *options: str, may_repeat: bool = False) -> None:
        self.place = place
        self.may_repeat = may_repeat
        self.repeated: list[str] = []
        super().__init__(place.directory, *options)

    def make_server(self, *options: str) -> FaultyServer:
        return KubernetesServer(self.place, *options)

    def clear(self) -> None:
        pass  # the namespace goes, by whoever made it

    async def _act(self, task: Task) -> None:
        if isinstance(task, KubernetesTask) and task.act_on:
            await asyncio.to_thread(task.wait_for, task.act_on)
        await self.insist(lambda: super(KubernetesStory, self)._act(task))

    async def _drive(self, task: Task) -> None:
        create = self.client.create_job
        job = await self.insist(
            lambda: create(task.spec, name=task.name, request_id=task.request_id)
        )
        task.uid = job.uid
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(task))
            if task.act:
                group.create_task(self._act(task))

    async def insist(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Make a call again where the API server took too long for it, as docs/errors.md says.

        The stories end by their own time limit.
        """
        while True:
            with contextlib.suppress(errors.DeadlineExceeded):
                return await call()

    async def delete(self, task: Task) -> None:
        """Delete a job and wait until it is gone, which an unanswered call may have done."""
        delete = self.client.delete_job
        await self.insist(lambda: delete(task.name, allow_missing=True, wait=True, grace_seconds=0))

    async def remove(self, task: Task) -> None:
        """Delete a job, if it's there, and wait until it is gone."""
        delete = self.client.delete_job
        await self.insist(lambda: delete(task.name, allow_missing=True, wait=True))

    def check_truth(self, task: Task, status: JobStatus) -> None:
        """An end that one of its pods had; no pod more than Kubernetes had a reason for."""
        if not self.may_repeat:
            check_truth(task, status)
            return
        runs = task.runs()
        unfinished = [run for run in runs if run.code is None]
        codes = {run.code for run in runs}
        ends = {(run.instance, run.attempt): run.code for run in runs}
        if any(run.attempt and not ends[run.instance, run.attempt - 1] for run in runs):
            self.repeated.append(f"{task.name}: {runs}")
        match status.state:
            case JobState.JOB_STATE_SUCCEEDED:
                done = {run.instance for run in runs if run.code == 0}
                assert done == set(range(task.options.get("completions", 1))), f"{task.name}"
            case JobState.JOB_STATE_FAILED if status.reason == JobReason.JOB_REASON_NON_ZERO_EXIT:
                assert status.exit_code in codes - {0}, f"{task.name}: {runs} {status}"
            case JobState.JOB_STATE_FAILED:
                assert unfinished, f"{task.name}: {runs} {status}"
            case _:
                assert task.act, f"nobody stopped {task.name}: {status}"

    def check_nothing_runs(self) -> None:
        """The jobs there are have their one Job each; whatever else is left doesn't run."""
        uids = {task.name: task.uid for task in self.tasks if task.act != "delete"}
        jobs = {
            job["metadata"]["name"]: job["metadata"]["uid"]
            for job in self.place.objects("jobs")
            if not job["metadata"].get("deletionTimestamp")
        }
        assert jobs == uids
        until("nothing runs any more", lambda: not self._running(), seconds=GONE_SECONDS)
        assert self.server.terminate() == 0

    def _running(self) -> list[str]:
        """The pods that aren't over."""
        over = {"Succeeded", "Failed"}
        pods = self.place.objects("pods")
        return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] not in over]
