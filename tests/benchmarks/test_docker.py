"""The daemon of a row leaves nothing, and made jobs of Docker are like those that ran."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.docker_daemon import NotMeasurable, docker_daemon, new_namespace
from benchmarks.docker_jobs import connect, make_finished_jobs
from benchmarks.processes import serving_docker
from benchmarks.proxy import Request
from benchmarks.rows.docker_upstream import of_jobs
from engines.docker.record import NAMESPACE
from jobengine import Client, JobSpec, JobState
from tests.docker import available, traces
from tests.docker.daemons import IMAGE
from tests.docker.fixtures import Reachable


@pytest.mark.engine("docker")
@pytest.mark.skipif(bool(available.problem("docker")), reason="no private daemon can be started")
@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, ValueError])
def test_a_private_daemon_is_gone_whatever_happens(
    failure: type[BaseException],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(available.GIVEN_HOST, raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    place = tmp_path_factory.mktemp("daemon")  # its path has to be short
    with pytest.raises(failure):
        _fail_beside_a_daemon(place, failure)
    assert not traces.processes(place)
    assert not (place / "dockerd/data").exists()


def _fail_beside_a_daemon(place: Path, failure: type[BaseException]) -> None:
    with docker_daemon(place) as host, closing(connect(host)) as client:
        assert client.ping()
        raise failure


def test_without_a_daemon_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(available.GIVEN_HOST, raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr("benchmarks.docker_daemon.problem", lambda _: "dockerd isn't installed")
    with pytest.raises(NotMeasurable, match="dockerd isn't installed"), docker_daemon(tmp_path):
        pass


def test_which_requests_are_for_the_sake_of_jobs() -> None:
    def counts(method: str, target: str) -> bool:
        return of_jobs(Request(method, target, 0.0))

    assert counts("POST", "/v1.41/volumes/create")
    assert counts("DELETE", "/v1.41/volumes/jobengine.default.name")
    assert counts("GET", "/v1.41/containers/0123/json")
    assert counts("GET", '/v1.41/containers/json?filters={"label": ["jobengine.dev/uid=0"]}')
    assert not counts("GET", "/v1.41/_ping")
    assert not counts("GET", "/v1.41/events?since=1")
    assert not counts("GET", '/v1.41/volumes?filters={"label": ["jobengine.dev/namespace=n"]}')
    listing = '/v1.41/containers/json?filters={"label": ["jobengine.dev/namespace=n"]}'
    assert not counts("GET", listing)


FACT = "jobengine.dev/fact"
CHOSEN = ("_time", "request_id", "container", "server")


@pytest.mark.engine("docker")
def test_made_jobs_are_like_those_that_ran(
    dockerd: Reachable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(available.GIVEN_HOST, dockerd.host)
    namespace = new_namespace()
    with docker_daemon(tmp_path) as host:
        make_finished_jobs(host, namespace, ["made"])
        with serving_docker(tmp_path, host, namespace) as server, Client(server.address) as client:
            client.create_job(JobSpec(command=["true"], image=IMAGE), name="ran")
            ran = client.wait("ran")
            made = client.read_status("made")
        assert made.state == JobState.JOB_STATE_SUCCEEDED
        for status in (ran, made):
            for field in ("create_time", "start_time", "end_time"):
                assert status.HasField(field)
                status.ClearField(field)
        assert made == ran
        assert _traces(host, namespace, "made") == _traces(host, namespace, "ran")


def _traces(host: str, namespace: str, name: str) -> list[object]:
    """What a job has on the daemon, without what has to differ: its name, its uid and times."""
    own = {"label": [f"{NAMESPACE}={namespace}", f"jobengine.dev/job={name}"]}
    with closing(connect(host)) as client:
        (listed,) = client.containers(all=True, filters=own)
        container = client.inspect_container(listed["Id"])
        volumes = client.volumes(filters=own)["Volumes"]
    uid = volumes[0]["Labels"]["jobengine.dev/uid"]
    config: dict[str, Any] = {**container["Config"], "Hostname": ""}
    labels = [_neutral(volume.pop("Labels")) for volume in volumes]
    config["Labels"] = _neutral(config["Labels"])
    names = sorted(volume["Name"] for volume in volumes)
    labels.sort(key=lambda each: each["jobengine.dev/kind"])
    text = json.dumps([container["Name"], container["HostConfig"], config, names, labels])
    text = text.replace(uid, "UID").replace(uid[:12], "UID").replace(name, "NAME")
    found: list[object] = json.loads(text)
    return found


def _neutral(labels: dict[str, str]) -> dict[str, str]:
    """Without times, and what a client, a server or the daemon chooses."""
    if FACT not in labels:
        return labels
    fact = json.loads(labels[FACT])
    kept = {key: value for key, value in fact.items() if not key.endswith(CHOSEN)}
    assert kept != fact
    return {**labels, FACT: json.dumps(kept)}
