"""Jobs of an older release in a cluster, and those of a version that isn't known here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jobengine import JobReason, JobState, errors
from jobengine.v1.job_pb2 import JobSpec
from tests.cluster.fixtures import Reachable
from tests.cluster.images import IMAGE
from tests.cluster.story import KubernetesServer, Place
from tests.upgrade.conftest import Serve
from tests.upgrade.golden import golden

pytestmark = [pytest.mark.engine("kubernetes"), pytest.mark.timeout(300)]

GOLDEN = golden("kubernetes")
INTENT = "jobengine.dev/intent"
STOPPED = {"parallelism": 0, "activeDeadlineSeconds": 1}
"""What goes with the annotation of a stop."""

WAIT_SECONDS = 120.0


@pytest.fixture
def place(cluster: Reachable, kubernetes_namespace: str, tmp_path: Path) -> Place:
    return Place(cluster.kubeconfig, kubernetes_namespace, tmp_path)


@pytest.fixture
def server(place: Place) -> KubernetesServer:
    """Today's, not started yet."""
    return KubernetesServer(place)


def put(place: Place, name: str, version: object = 1, **spec: Any) -> None:
    """Make the Job that the older release has made."""
    job = json.loads(json.dumps(GOLDEN["jobs"][name]))
    said = job["metadata"]["annotations"]
    assert json.loads(said[INTENT])["version"] == 1
    said[INTENT] = json.dumps(json.loads(said[INTENT]) | {"version": version})
    job["spec"] |= spec
    place.api.post(place.path("jobs"), job)


def add(place: Place, name: str, kind: str, spec: Mapping[str, Any]) -> None:
    """Add what the older release noted later."""
    body = {"metadata": {"annotations": GOLDEN["records"][kind]}, "spec": spec}
    place.api.patch(place.path("jobs", name), body)


def spec_of(name: str, script: str) -> JobSpec:
    command = ["/bin/sh", "-c"]
    return JobSpec(image=IMAGE, command=command, args=[script], labels={"golden": name})


def test_jobs_of_version_1_are_carried_on(
    place: Place, server: KubernetesServer, serve: Serve
) -> None:
    for name in ("running", "stopped", "ended"):
        put(place, name)
    add(place, "stopped", "stop", STOPPED)
    add(place, "ended", "end", {"parallelism": 0})
    client = serve(server)

    # read
    assert [job.name for job in client.list_jobs("golden")] == ["ended", "running", "stopped"]
    assert [job.name for job in client.list_jobs("golden=running")] == ["running"]
    job = client.read_job("running")
    assert job.spec == spec_of("running", "echo ran; exit 4")
    ended = client.read_status("ended")
    assert (ended.state, ended.reason) == (
        JobState.JOB_STATE_FAILED,
        JobReason.JOB_REASON_SIGNALLED,
    )
    assert (ended.exit_code, ended.signal, ended.succeed, ended.failed) == (4, 5, 2, 3)
    assert ended.message == "somebody said \N{PILE OF POO}"
    assert ended.end_time.ToJsonString() == "2026-01-01T00:00:02.250Z"

    # watched, and run to their ends
    *_, event = client.watch_status("running")
    assert (event.status.state, event.status.exit_code) == (JobState.JOB_STATE_FAILED, 4), event
    assert b"".join(chunk.data for chunk in client.logs("running", follow=True)) == b"ran\n"
    stopped = client.wait("stopped", timeout_seconds=WAIT_SECONDS)
    assert (stopped.state, stopped.reason) == (
        JobState.JOB_STATE_CANCELLED,
        JobReason.JOB_REASON_CANCELLED,
    )

    # the same job for a repeated request
    again = client.create_job(job.spec, name="running", request_id="request-running")
    assert again.uid == job.uid

    # deleted
    for name in ("running", "stopped", "ended"):
        client.delete_job(name, wait=True, grace_seconds=0, timeout_seconds=WAIT_SECONDS)
    place.until_gone()


@pytest.mark.parametrize("version", [2, "1", None])
def test_a_job_of_another_version_is_left_alone(
    place: Place, server: KubernetesServer, serve: Serve, version: object
) -> None:
    put(place, "running", version, suspend=True)  # so that only a server would change it
    put(place, "ended")
    add(place, "ended", "end", {"parallelism": 0})
    before = place.api.get(place.path("jobs", "running"))
    client = serve(server)
    assert [job.name for job in client.list_jobs()] == ["ended"]
    for _ in range(2):
        with pytest.raises(errors.JobNotFound):
            client.read_job("running")
        with pytest.raises(errors.JobNotFound):
            client.read_status("running", fresh=True)
        with pytest.raises(errors.JobNotFound):
            client.cancel_job("running")
        with pytest.raises(errors.JobNotFound):
            client.delete_job("running")
        with pytest.raises(errors.InvalidRequest, match="that this release didn't make"):
            client.create_job(spec_of("running", "true"), name="running")
    assert server.terminate() == 0
    after = place.api.get(place.path("jobs", "running"))
    for found in (before, after):  # Kubernetes' own note that it is suspended
        del found["status"], found["metadata"]["resourceVersion"]
        found["metadata"].pop("managedFields", None)
    assert after == before
    told = [line for line in server.log.read_text().splitlines() if "left alone" in line]
    assert len(told) == 1, told
    assert json.loads(told[0])["job"] == "running"
    assert json.loads(told[0])["version"] == json.dumps(version)
