"""An older release hands its jobs over to today's, which hands them back."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from jobengine import Client, JobState, errors
from tests.clients.server import JOBENGINE, ROOT
from tests.cluster.fixtures import Reachable
from tests.faults import processes, truth
from tests.faults.server import FaultyServer
from tests.faults.story import PATIENT, check_truth
from tests.faults.truth import Task, release
from tests.upgrade.golden import OLD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WAIT_SECONDS = 120.0

Waiting = Callable[..., Task]
"""Makes a job that waits until it is released: name, directory, exit code, fields of its spec."""


def environment(root: Path) -> dict[str, str]:
    """Of a process that runs the release of a work tree."""
    return {**os.environ, "PYTHONPATH": f"{root}:{root / 'clients' / 'python'}"}


class Pair:
    """Servers of two releases on one engine and one address, of which one runs at a time."""

    def __init__(self, old: Path, server: FaultyServer, waiting: Waiting) -> None:
        self.directory = server.state_dir.parent
        self.waiting = waiting
        self._roots = {"old": old, "new": ROOT}
        self._server = server
        server.spawn = self._spawn  # type: ignore[method-assign]
        self._root = old

    def start(self, which: str) -> None:
        self._root = self._roots[which]
        self._server.start()

    def stop(self, how: str) -> None:
        if how == "kill":
            self._server.kill()
        else:
            assert self._server.terminate() == 0

    def client(self) -> Client:
        return Client(self._server.address, retry=PATIENT)

    def close(self) -> None:
        self._server.close()
        processes.kill_all(self.directory, self._server.state_dir)

    def _spawn(self, fault: str = "") -> "subprocess.Popen[str]":
        server = self._server
        options = (*server.engine_options(), "--listen", server.address, *server._options)
        with server.log.open("a") as log:
            return subprocess.Popen(
                [JOBENGINE, "serve", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._root,
                env=environment(self._root),
            )


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work tree of the older release."""
    if shutil.which("git") is None:
        pytest.skip("git isn't installed")
    git = ["git", "-C", str(ROOT)]
    known = [*git, "cat-file", "-e", f"{OLD}^{{commit}}"]
    if subprocess.run(known, capture_output=True, check=False).returncode:
        pytest.skip(f"the history isn't here ({OLD}): git fetch --unshallow")
    root = tmp_path_factory.mktemp("old")
    what = ["engines", "server", "clients/python"]
    packed = subprocess.run([*git, "archive", OLD, *what], capture_output=True, check=True)
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as tar:
        tar.extractall(root, filter="data")
    return root


@pytest.fixture(
    params=[
        "local",
        pytest.param("docker", marks=pytest.mark.engine("docker")),
        pytest.param("kubernetes", marks=pytest.mark.engine("kubernetes")),
    ]
)
def pair(request: pytest.FixtureRequest, old: Path, tmp_path: Path) -> Iterator[Pair]:
    """Both releases on each engine."""
    server: FaultyServer
    waiting: Waiting
    match request.param:
        case "docker":
            from tests.docker import place, story

            daemon: Any = request.getfixturevalue("dockerd")
            with place.place_on(daemon.host, tmp_path) as here:
                server, waiting = story.DockerServer(here), story.waiting
                yield from _pair(old, server, waiting)
        case "kubernetes":
            from tests.cluster import story as cluster_story

            cluster: Reachable = request.getfixturevalue("cluster")
            namespace = request.getfixturevalue("kubernetes_namespace")
            there = cluster_story.Place(cluster.kubeconfig, namespace, tmp_path)
            server, waiting = cluster_story.KubernetesServer(there), cluster_story.waiting
            yield from _pair(old, server, waiting)
        case _:
            server = FaultyServer(tmp_path / "state", "--max-running", "2")
            yield from _pair(old, server, truth.waiting)


def _pair(old: Path, server: FaultyServer, waiting: Waiting) -> Iterator[Pair]:
    pair = Pair(old, server, waiting)
    try:
        yield pair
    finally:
        pair.close()


def test_each_release_is_the_one_that_is_meant(old: Path) -> None:
    for root in (old, ROOT):
        code = "import engines, server, jobengine; print(*engines.__path__, jobengine.__path__[0])"
        command = [sys.executable, "-P", "-c", code]
        said = subprocess.run(
            command, env=environment(root), cwd="/", text=True, capture_output=True, check=True
        )
        assert said.stdout.split() == [f"{root}/engines", f"{root}/clients/python/jobengine"]


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_jobs_are_handed_over_and_back(pair: Pair, how: str) -> None:
    """Of each kind one job is made by either release, and ended and deleted by the other."""
    made: list[Task] = []
    for first, second in (("old", "new"), ("new", "old")):
        pair.start(first)
        with pair.client() as client, ThreadPoolExecutor() as threads:
            tasks = {
                kind: pair.waiting(f"{kind}-{first}", pair.directory, code, labels={"by": first})
                for kind, code in (("done", 3), ("running", 0), ("stopped", 5), ("gone", 6))
            }
            for kind in ("done", "stopped"):
                create(client, tasks[kind])
                tasks[kind].wait_for_start()
                if kind == "done":
                    release(tasks[kind])
                    client.wait(tasks[kind].name, timeout_seconds=WAIT_SECONDS)
            for kind in ("running", "gone"):
                create(client, tasks[kind])
            done = client.read_job(tasks["done"].name)
            # A watch goes on with the other release, from where it was.
            watches = {
                kind: threads.submit(watch, client, tasks[kind].name)
                for kind in ("running", "stopped")
            }
            tasks["stopped"].wait_for_start()
            pair.stop(how)
            pair.start(second)

            assert client.read_job(done.name) == done
            listed = {job.name: job.uid for job in client.list_jobs(f"by={first}")}
            assert listed == {task.name: task.uid for task in tasks.values()}
            again = client.create_job(
                tasks["running"].spec,
                name=tasks["running"].name,
                request_id=tasks["running"].request_id,
            )
            assert again.uid == tasks["running"].uid
            client.cancel_job(tasks["stopped"].name, grace_seconds=1)
            release(tasks["running"])
            check_truth(tasks["running"], watches["running"].result(WAIT_SECONDS))
            state = watches["stopped"].result(WAIT_SECONDS).state
            assert state == JobState.JOB_STATE_CANCELLED
            client.delete_job(
                tasks["gone"].name, wait=True, grace_seconds=0, timeout_seconds=WAIT_SECONDS
            )
            check_truth(tasks["done"], client.read_status(done.name))
            assert len(tasks["running"].runs()) == 1
            made += tasks.values()
        pair.stop("terminate")

    # What one release has ended, the other one deletes.
    pair.start("new")
    with pair.client() as client:
        for task in made:
            if not task.name.startswith("gone"):
                client.delete_job(task.name, wait=True, timeout_seconds=WAIT_SECONDS)
            with pytest.raises(errors.JobNotFound):
                client.read_job(task.name)
        assert list(client.list_jobs()) == []


def create(client: Client, task: Task) -> None:
    job = client.create_job(task.spec, name=task.name, request_id=task.request_id)
    task.uid = job.uid


def watch(client: Client, name: str) -> Any:
    """A job's last status; each of its statuses comes once, and none goes back."""
    statuses = [event.status for event in client.watch_status(name)]
    states = [status.state for status in statuses]
    assert states == sorted(states), statuses
    assert all(one != other for one, other in pairwise(statuses)), statuses
    return statuses[-1]


def test_one_at_a_time_on_a_state_directory(old: Path, tmp_path: Path) -> None:
    """Either release's lock keeps the other one out."""
    for first, second in (("old", "new"), ("new", "old")):
        pairs = [
            Pair(old, FaultyServer(tmp_path / "state" / "here"), truth.waiting) for _ in range(2)
        ]
        try:
            pairs[0].start(first)
            with pytest.raises(AssertionError, match="another server uses"):
                pairs[1].start(second)
        finally:
            for pair in pairs:
                pair.close()
