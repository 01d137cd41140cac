"""Jobs outlive their server, and so do the streams that follow them."""

import itertools
import shlex
from contextlib import closing
from pathlib import Path

import pytest

from jobengine import JobSpec, JobState, WatchEvent
from tests.clients.blocking import NewClient
from tests.clients.server import NewServer


def waits_for(path: Path) -> JobSpec:
    """A job that writes a line, waits until the file is there, writes another and exits 3."""
    script = (
        f"echo before; while [ ! -e {shlex.quote(str(path))} ]; do sleep 0.05; done; "
        "echo after; exit 3"
    )
    return JobSpec(command=["sh", "-c", script])


@pytest.mark.parametrize("stop", ["kill", "terminate"])
def test_streams_bridge_a_restart(
    new_client: NewClient, new_server: NewServer, tmp_path: Path, name: str, stop: str
) -> None:
    server = new_server("local")
    client = new_client(server.address)
    client.create_job(waits_for(tmp_path / "go"), name=name)
    with (
        closing(client.watch_status(name)) as events,
        closing(client.logs(name, follow=True)) as chunks,
    ):
        seen = [next(e for e in events if e.status.state == JobState.JOB_STATE_RUNNING)]
        assert next(chunks).data == b"before\n"
        getattr(server, stop)()
        server.start()
        (tmp_path / "go").touch()
        seen += events
        assert b"".join(chunk.data for chunk in chunks) == b"after\n"
    assert seen[-1].status.state == JobState.JOB_STATE_FAILED
    assert seen[-1].status.exit_code == 3
    assert all(a.status != b.status for a, b in itertools.pairwise(seen))


def test_watch_of_all_jobs_bridges_a_restart(
    new_client: NewClient, new_server: NewServer, tmp_path: Path, name: str
) -> None:
    server = new_server("local")
    client = new_client(server.address)
    client.create_job(waits_for(tmp_path / "go"), name=name)
    with closing(client.watch_jobs()) as events:
        told = [next(events)]
        while told[-1].event != WatchEvent.WATCH_EVENT_SYNCED or (
            told[-2].job.status.state != JobState.JOB_STATE_RUNNING
        ):
            told.append(next(events))
            if told[-1].job.status.state == JobState.JOB_STATE_RUNNING:
                break
        server.kill()
        server.start()
        (tmp_path / "go").touch()
        while told[-1].job.status.state != JobState.JOB_STATE_FAILED:
            told.append(next(events))
    statuses = [e.job.status for e in told if e.event == WatchEvent.WATCH_EVENT_STATUS]
    assert all(before != after for before, after in itertools.pairwise(statuses))
    assert statuses[-1].exit_code == 3


def test_create_repeated_after_a_crash_runs_once(
    new_client: NewClient, new_server: NewServer, tmp_path: Path, name: str
) -> None:
    server = new_server("local")
    client = new_client(server.address)
    count = tmp_path / "count"
    spec = JobSpec(command=["sh", "-c", f"echo run >> {shlex.quote(str(count))}"])
    created = client.create_job(spec, name=name, request_id="once")
    server.kill()
    server.start()
    assert client.create_job(spec, name=name, request_id="once").uid == created.uid
    assert client.wait(name).exit_code == 0
    assert count.read_text() == "run\n"
