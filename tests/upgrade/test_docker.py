"""Volumes and containers of an older release on a daemon, and those of a format not known here."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobengine import Client, JobReason, JobState, errors
from jobengine.v1.job_pb2 import JobSpec
from tests.docker.fixtures import Reachable
from tests.faults.processes import until
from tests.upgrade.conftest import Serve
from tests.upgrade.golden import golden

if TYPE_CHECKING:  # they need Docker's SDK
    import docker

    from tests.docker.place import Place
    from tests.docker.story import DockerServer

pytestmark = [pytest.mark.engine("docker"), pytest.mark.timeout(120)]

NAMESPACE = "golden"
CONTAINER = "c" * 64
"""Stands for the container's id in the golden claim."""

FORMAT = "jobengine.dev/format"
JOBS = ("ended", "running", "stopping", "waiting")


class Left:
    """What the older release's server has left on a daemon, in the test's namespace."""

    def __init__(self, place: "Place", client: "docker.APIClient", said: str = "1") -> None:
        self.containers: dict[str, str] = {}
        self._client = client
        self._said = said
        text = json.dumps(golden("docker")["jobs"])
        text = text.replace(f"jobengine.{NAMESPACE}.", f"jobengine.{place.namespace}.")
        text = text.replace(f'/namespace": "{NAMESPACE}"', f'/namespace": "{place.namespace}"')
        self._jobs: dict[str, dict[str, Any]] = json.loads(text)

    def put(self, name: str) -> None:
        """Make what there was of a job."""
        job = self._jobs[name]
        identifier = ""
        if "container" in job:
            container, body = job["container"]
            body["Labels"][FORMAT] = self._said
            made = self._client.create_container_from_config(body, container)  # type: ignore[no-untyped-call]
            identifier = self.containers[name] = made["Id"]
            self._client.start(identifier)
        for volume, labels in job["volumes"].items():
            said = {key: value.replace(CONTAINER, identifier) for key, value in labels.items()}
            self._client.create_volume(volume, labels=said | {FORMAT: self._said})

    def open_gate(self, name: str) -> None:
        """Let a job's command end."""
        made = self._client.exec_create(self.containers[name], ["touch", "/gate"])
        self._client.exec_start(made["Id"])


@pytest.fixture
def place(dockerd: Reachable, tmp_path: Path) -> "Iterator[Place]":
    from tests.docker.place import place_on

    with place_on(dockerd.host, tmp_path) as place:
        yield place


@pytest.fixture
def daemon_client(place: "Place") -> "Iterator[docker.APIClient]":
    """Somebody else's access to the daemon."""
    with contextlib.closing(place.client()) as client:
        yield client


@pytest.fixture
def server(place: "Place") -> "DockerServer":
    """Today's, not started yet."""
    from tests.docker.story import DockerServer

    return DockerServer(place)


def spec_of(name: str, script: str) -> JobSpec:
    from tests.docker.place import IMAGE

    command = ["/bin/sh", "-c"]
    return JobSpec(image=IMAGE, command=command, args=[script], labels={"golden": name})


def output(client: Client, name: str) -> bytes:
    return b"".join(chunk.data for chunk in client.logs(name, follow=True))


def seen(place: "Place") -> list[object]:
    """What there is in the namespace, and how it is."""
    volumes = [(each["Name"], each["Labels"]) for each in place.volumes()]
    containers = [(each["Id"], each["Names"], each["State"]) for each in place.containers()]
    return [*sorted(volumes, key=str), *sorted(containers, key=str)]


def test_jobs_of_format_1_are_carried_on(
    place: "Place", daemon_client: "docker.APIClient", server: "DockerServer", serve: Serve
) -> None:
    left = Left(place, daemon_client)
    for name in (*JOBS, "deleting"):
        left.put(name)
    client = serve(server)

    # read
    client.delete_job("deleting", wait=True, allow_missing=True)  # or wait for that
    assert tuple(job.name for job in client.list_jobs("golden")) == JOBS
    assert [job.name for job in client.list_jobs("golden=running")] == ["running"]
    job = client.read_job("waiting")
    assert job.spec == spec_of("waiting", "echo ran")
    assert job.uid == "0123456789abcdef0123456789abc010"
    assert job.status.create_time.ToJsonString() == "2026-01-01T00:00:00.500Z"
    ended = client.read_status("ended")
    assert (ended.state, ended.reason) == (
        JobState.JOB_STATE_FAILED,
        JobReason.JOB_REASON_SIGNALLED,
    )
    assert (ended.exit_code, ended.signal, ended.succeed, ended.failed) == (4, 5, 2, 3)
    assert ended.message == "somebody said \N{PILE OF POO}"
    assert ended.end_time.ToJsonString() == "2026-01-01T00:00:02.250Z"

    # watched, and run to their ends
    assert client.read_status("running").state == JobState.JOB_STATE_RUNNING
    left.open_gate("running")
    *_, event = client.watch_status("running")
    assert (event.status.state, event.status.exit_code) == (JobState.JOB_STATE_FAILED, 4)
    *_, event = client.watch_status("waiting")
    assert event.status.state == JobState.JOB_STATE_SUCCEEDED, event
    assert [output(client, name) for name in ("running", "waiting")] == [b"ran\n", b"ran\n"]
    stopped = client.wait("stopping")
    assert stopped.state == JobState.JOB_STATE_CANCELLED
    assert not stopped.HasField("start_time")

    # the same job for a repeated request
    again = client.create_job(job.spec, name="waiting", request_id="request-waiting")
    assert again.uid == job.uid

    # deleted
    for name in JOBS:
        client.delete_job(name, wait=True)
    until("nothing is left", lambda: not place.volumes() and not place.containers())


def test_jobs_of_another_format_are_left_alone(
    place: "Place", daemon_client: "docker.APIClient", server: "DockerServer", serve: Serve
) -> None:
    left = Left(place, daemon_client, said="2")
    for name in (*JOBS, "deleting"):
        left.put(name)
    before = seen(place)
    client = serve(server)
    assert list(client.list_jobs()) == []
    for name in JOBS:
        with pytest.raises(errors.JobNotFound):
            client.read_job(name)
        with pytest.raises(errors.JobNotFound):
            client.read_status(name, fresh=True)
        with pytest.raises(errors.JobNotFound):
            client.cancel_job(name)
        with pytest.raises(errors.JobNotFound):
            client.delete_job(name)
        with pytest.raises(errors.JobEngineError, match="is somebody else's, or another release's"):
            client.create_job(spec_of(name, "echo other"), name=name)
    # Another name is free, and what comes of it touches nothing else.
    assert client.run(spec_of("ours", "true"), name="ours").state == JobState.JOB_STATE_SUCCEEDED
    client.delete_job("ours", wait=True)
    assert server.terminate() == 0
    assert seen(place) == before
    left.open_gate("running")
