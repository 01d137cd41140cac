"""RemoteEngine: an application that was written for a class of four methods, and what it gets."""

import os
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobengine import Client, JobSpec, RemoteEngine, errors, remote
from jobengine.v1.job_pb2 import Job
from tests.clients.server import ROOT, NewServer, Server
from tests.clients.specs import endless, fake
from tests.engines import plain_class

DEADLINE_SECONDS = 30.0

APPLICATION = '''
"""Knows no more of its engine than the four methods."""

import sys
import time

from jobengine import JobSpec, RemoteEngine
from tests.engines.plain_class import YourEngine

job_manager = YourEngine()


def end_of(job):
    deadline = time.monotonic() + 20
    while True:
        status = job_manager.read_status(job)
        if status.succeed or status.failed:
            return status
        assert time.monotonic() < deadline
        time.sleep(0.01)


def told(name):
    job = job_manager.read_job(name)
    if job is None:
        return f"{name}: there is none"
    return f"{job.name}: {job.status.active} {job.status.succeed} {job.status.failed}"


def missing(method, argument):
    try:
        method(argument)
    except KeyError:
        return f"{method.__name__}: there is none"
    return f"{method.__name__}: there is one"


print(told("report"))
for name, script in (("report", "exit 0"), ("broken", "exit 3")):
    job = job_manager.create_job(name, JobSpec(command=["/bin/sh", "-c", script]))
    print(job.name, end_of(job_manager.Job(name, None)).active)
    print(told(name))
running = job_manager.create_job("running", JobSpec(command=["sleep", "300"]))
for name in ("report", "broken", "running"):
    job_manager.delete_job(name)
    print(told(name))
    print(missing(job_manager.read_status, job_manager.Job(name, None)))
    print(missing(job_manager.delete_job, name))
again = job_manager.create_job("report", JobSpec(command=["false"]))
print(end_of(again).failed)
job_manager.delete_job("report")
'''
ITS_ENGINE = "job_manager = YourEngine()\n"


def outcome(application: str) -> str:
    """What the application writes."""
    done = subprocess.run(
        [sys.executable, "-c", application],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.engine("local")
def test_one_line_takes_an_application_to_the_service(new_server: NewServer) -> None:
    assert APPLICATION.count(ITS_ENGINE) == 1
    address = new_server("local").address
    changed = APPLICATION.replace(ITS_ENGINE, f"job_manager = RemoteEngine({address!r})\n")
    before = outcome(APPLICATION)
    assert before.startswith("report: there is none\nreport None\nreport: None 1 None\n")
    assert outcome(changed) == before


def test_it_has_what_such_a_class_has() -> None:
    for name in ("create_job", "delete_job", "read_job", "read_status", "Job", "Status"):
        assert callable(getattr(plain_class.YourEngine, name))
        assert callable(getattr(RemoteEngine, name))
    status = RemoteEngine.Status(active=1)
    assert (status.active, status.succeed, status.failed) == (1, None, None)
    assert RemoteEngine.Job("name", status).status is status


@pytest.fixture
def job_manager(fake_server: Server) -> Generator[RemoteEngine]:
    with RemoteEngine(fake_server.address) as job_manager:
        yield job_manager


def end_of(job_manager: RemoteEngine, name: str) -> RemoteEngine.Status:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (status := job_manager.read_status(job_manager.Job(name, None))).end_time is None:
        assert time.monotonic() < deadline, status
        time.sleep(0.01)
    return status


def test_a_status_tells_more_than_counts(job_manager: RemoteEngine, name: str) -> None:
    created = job_manager.create_job(name, fake(exit_code=137, reason="OOM_KILLED"))
    assert created.uid
    status = end_of(job_manager, name)
    assert (status.active, status.succeed, status.failed) == (None, None, 1)
    assert (status.state, status.reason, status.exit_code) == ("FAILED", "OOM_KILLED", 137)
    assert status.create_time is not None
    assert status.end_time is not None
    assert status.create_time <= status.end_time
    read = job_manager.read_job(name)
    assert read is not None
    assert (read.uid, read.status) == (created.uid, status)


def test_a_job_that_is_not_there(job_manager: RemoteEngine) -> None:
    assert job_manager.read_job("no-such-job") is None
    with pytest.raises(errors.JobNotFound, match=r"^there is no job 'no-such-job'$"):
        job_manager.read_status(job_manager.Job("no-such-job", None))
    with pytest.raises(LookupError):
        job_manager.delete_job("no-such-job")


def test_errors_are_those_of_the_client(job_manager: RemoteEngine, name: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        job_manager.create_job(name, JobSpec(command=["x"], max_retries=-1))
    assert [violation.field for violation in caught.value.violations] == ["spec.max_retries"]
    job_manager.create_job(name, endless())
    with pytest.raises(errors.JobAlreadyExists):
        job_manager.create_job(name, endless())


class LosesAnswers(Client):
    """A client to which the first answers don't come: the server has done what it was asked."""

    lost = 1

    def create_job(self, *args: object, **given: object) -> Job:
        job = super().create_job(*args, **given)  # type: ignore[arg-type]
        if self.lost:
            self.lost -= 1
            raise errors.Unavailable("the connection broke")
        return job


def test_a_repeat_finds_what_the_first_call_started(fake_server: Server, name: str) -> None:
    with LosesAnswers(fake_server.address) as client:
        job_manager = RemoteEngine(client)
        spec = endless()
        with pytest.raises(errors.Unavailable):
            job_manager.create_job(name, spec)
        with pytest.raises(errors.JobAlreadyExists):
            job_manager.create_job(name, fake())
        job = job_manager.create_job(name, spec)
        assert job.uid == client.read_job(name).uid
        with pytest.raises(errors.JobAlreadyExists):  # it is known by now that there is one
            job_manager.create_job(name, spec)


def test_creations_without_an_answer_are_forgotten_at_last(
    fake_server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_UNDECIDED", 1)
    with LosesAnswers(fake_server.address) as client:
        client.lost = 2
        job_manager = RemoteEngine(client)
        for number in range(2):
            with pytest.raises(errors.Unavailable):
                job_manager.create_job(f"{name}-{number}", endless())
        job_manager.create_job(f"{name}-1", endless())
        with pytest.raises(errors.JobAlreadyExists):
            job_manager.create_job(f"{name}-0", endless())


def test_a_repeat_from_another_process(fake_server: Server, name: str) -> None:
    with RemoteEngine(fake_server.address) as one, RemoteEngine(fake_server.address) as other:
        first = one.create_job(name, endless(), request_id=f"task-{name}")
        assert other.create_job(name, endless(), request_id=f"task-{name}").uid == first.uid


def test_a_job_that_takes_its_time_to_end_does_not_hold_up_its_deletion(
    job_manager: RemoteEngine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "DELETE_WAIT_SECONDS", 0.2)
    first = job_manager.create_job(name, endless(stop_for=0.8))
    job_manager.delete_job(name)
    shown = job_manager.read_job(name)
    assert shown is not None
    assert shown.uid == first.uid
    again = job_manager.create_job(name, endless())
    assert again.uid != first.uid
    job_manager.delete_job(name)
    assert job_manager.read_job(name) is None


def test_threads_share_one(job_manager: RemoteEngine, name: str) -> None:
    def run(number: int) -> str:
        job_manager.create_job(f"{name}-{number}", fake())
        return end_of(job_manager, f"{name}-{number}").state

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(run, range(32))) == {"SUCCEEDED"}


FORKS = """
import os, sys
from jobengine import RemoteEngine
job_manager = RemoteEngine()
assert job_manager.read_job("no-such-job") is None
child = os.fork()
if not child:
    os._exit(0 if job_manager.read_job("no-such-job") is None else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert job_manager.read_job("no-such-job") is None
job_manager.close()
"""


def test_forks_share_one_at_the_address_of_the_environment(fake_server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        env={**os.environ, "JOBENGINE_ADDRESS": fake_server.address},
    )
    assert done.returncode == 0, done.stderr


def test_whose_the_client_is(fake_server: Server) -> None:
    with Client(fake_server.address) as client:
        with RemoteEngine(client):
            pass
        assert client.read_engine().name == "fake"
        with pytest.raises(ValueError, match="leave out timeout_seconds"):
            RemoteEngine(client, timeout_seconds=1)
    own = RemoteEngine(fake_server.address, timeout_seconds=5)
    own.close()
    with pytest.raises(errors.ClientClosed):
        own.read_job("no-such-job")


def test_a_server_can_serve_it_as_a_class(
    tmp_path: Path, fake_server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBENGINE_ADDRESS", fake_server.address)
    front = Server("jobengine:RemoteEngine", tmp_path / "front")
    try:
        front.start()
        with Client(front.address) as client:
            client.create_job(fake(run_for=0.2), name=name)
            assert client.wait(name, timeout_seconds=DEADLINE_SECONDS).succeed == 1
    finally:
        front.close()
    with Client(fake_server.address) as client:
        assert client.read_job(name).name == name
