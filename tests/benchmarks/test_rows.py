"""Every row measures something, on a scale that is good for nothing else."""

import importlib.util
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.docker_jobs import connect
from benchmarks.figures import Figure
from benchmarks.finished_jobs import make_finished_jobs
from benchmarks.processes import serving
from benchmarks.rows import ROWS
from benchmarks.scale import Scale
from engines.docker.record import NAMESPACE
from engines.local.store import Store
from jobengine import Client, JobSpec, JobState
from tests.cluster.available import GIVEN_KUBECONFIG
from tests.cluster.fixtures import Reachable as HasKubeconfig
from tests.docker.available import GIVEN_HOST
from tests.docker.fixtures import Reachable

TINY = Scale(
    turns=2,
    turn_seconds=0.05,
    rounds=2,
    jobs=5,
    psij_jobs=3,
    endings=2,
    creates=10,
    watchers=10,
    listed=50,
    idle_streams=10,
    watch_rounds=1,
    watched_jobs=10,
    reconnects=10,
    finished=150,
    starts=1,
    docker_rounds=1,
    docker_jobs=2,
    docker_finished=110,
    docker_idle_seconds=0.1,
    kubernetes_rounds=1,
    kubernetes_creates=2,
    kubernetes_jobs=1,
    kubernetes_seconds=0.2,
    kubernetes_scale=20,
    kubernetes_idle_seconds=0.5,
)

DOCKER = [name for name in ROWS if name.startswith("docker-")]
KUBERNETES = [name for name in ROWS if name.startswith("kubernetes-")]
LOCAL = [name for name in ROWS if name not in {*DOCKER, *KUBERNETES}]


@pytest.mark.engine("local")
@pytest.mark.parametrize("name", LOCAL)
def test_row(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBENGINE_HEARTBEAT", "1")  # how long idle streams are looked at
    if name == "jobs" and importlib.util.find_spec("psij") is None:
        pytest.skip("psij-python isn't installed: pip install --group bench")
    _check(ROWS[name](tmp_path, TINY))


@pytest.mark.engine("docker")
@pytest.mark.parametrize("name", DOCKER)
def test_row_of_docker(
    name: str, dockerd: Reachable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GIVEN_HOST, dockerd.host)
    _check(ROWS[name](tmp_path, TINY))
    with closing(connect(dockerd.host)) as client:
        left = client.volumes(filters={"label": NAMESPACE})["Volumes"] or ()
    assert not [volume["Name"] for volume in left if volume["Name"].startswith("jobengine.bench-")]


@pytest.mark.engine("kubernetes")
@pytest.mark.parametrize("name", KUBERNETES)
def test_row_of_kubernetes(
    name: str, cluster: HasKubeconfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GIVEN_KUBECONFIG, str(cluster.kubeconfig))
    _check(ROWS[name](tmp_path, TINY))


def _check(figures: Sequence[Figure]) -> None:
    assert figures
    for figure in figures:
        assert figure.measure.rounds, figure
        # Of so few, memory drowns in noise; in so short a time, there may be no request.
        if not any(words in figure.name for words in ("memory per", "idle", "refused")):
            assert figure.measure.value > 0, figure


@pytest.mark.engine("local")
def test_made_records_are_like_those_of_jobs_that_ran(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    make_finished_jobs(state_dir, ["made"])
    with serving(tmp_path) as server, Client(server.address) as client:
        client.create_job(JobSpec(command=["true"]), name="ran")
        ran = client.wait("ran")
        made = client.read_status("made")
    assert made.state == JobState.JOB_STATE_SUCCEEDED
    for status in (ran, made):
        for field in ("create_time", "start_time", "end_time"):
            assert status.HasField(field)
            status.ClearField(field)
    assert made == ran
    sizes = [
        {file.name: file.stat().st_size for file in (state_dir / "jobs" / name).iterdir()}
        for name in ("ran", "made")
    ]
    assert sizes[0].keys() == sizes[1].keys()
    assert sizes[0]["0.0"] == sizes[1]["0.0"]
    # Names and times, as text, differ in length.
    assert abs(sizes[0]["job"] - sizes[1]["job"]) < 100


def test_made_jobs_can_be_scanned(tmp_path: Path) -> None:
    names = [f"job-{number}" for number in range(20)]
    make_finished_jobs(tmp_path, names)
    store = Store(tmp_path)
    store.open()
    try:
        assert sorted(job.intent.name for job in store.scan()) == sorted(names)
    finally:
        store.close()
