"""Every row measures something, on a scale that is good for nothing else."""

import importlib.util
from pathlib import Path

import pytest

from benchmarks.finished_jobs import make_finished_jobs
from benchmarks.processes import serving
from benchmarks.rows import ROWS
from benchmarks.scale import Scale
from engines.local.store import Store
from jobengine import Client, JobSpec, JobState

TINY = Scale(
    turns=2,
    turn_seconds=0.05,
    rounds=2,
    jobs=5,
    psij_jobs=3,
    endings=2,
    creates=10,
    watchers=10,
    finished=150,
    starts=1,
)


@pytest.mark.engine("local")
@pytest.mark.parametrize("name", ROWS)
def test_row(name: str, tmp_path: Path) -> None:
    if name == "jobs" and importlib.util.find_spec("psij") is None:
        pytest.skip("psij-python isn't installed: pip install --group bench")
    figures = ROWS[name](tmp_path, TINY)
    assert figures
    for figure in figures:
        assert figure.measure.rounds, figure
        if "memory per" not in figure.name:  # of so few that it drowns in noise
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
