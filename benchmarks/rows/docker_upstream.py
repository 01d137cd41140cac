"""How many requests the daemon gets, for each job and without any, with few and many watchers."""

import contextlib
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.docker_daemon import docker_daemon, new_namespace
from benchmarks.docker_jobs import connect
from benchmarks.figures import Figure, Measure, Reference, ratio_at_most
from benchmarks.processes import LOAD_SECONDS, Process, load, serving_docker
from benchmarks.proxy import Proxy, Request, counting
from benchmarks.scale import Scale
from engines.docker.record import UID
from jobengine import Client, JobSpec, JobState
from tests.docker.daemons import IMAGE

ROW = "docker upstream"
NAME = "watched"
SCRIPT = "trap 'exit 0' TERM; sleep 600 & wait"


@dataclass(slots=True)
class Subject:
    """So many watchers, and how many requests there were in each round."""

    watchers: int
    finished: list[float] = field(default_factory=list[float])
    deleted: list[float] = field(default_factory=list[float])
    per_minute: list[float] = field(default_factory=list[float])


@dataclass(slots=True)
class Setting:
    """What is measured, and what counts its requests."""

    directory: Path
    host: str
    address: str
    proxy: Proxy
    client: Client


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """One job at a time, which all watch; idle is while it runs."""
    one, many = Subject(1), Subject(scale.watchers)
    with _setting(directory) as setting:
        for _ in range(scale.docker_rounds):
            for subject in (one, many):
                _round(setting, subject, scale.docker_idle_seconds)
    return [
        _figure("a job, created to finished", one, many, "finished"),
        _figure("a job, created to deleted", one, many, "deleted"),
        _figure("a minute, idle", one, many, "per_minute"),
    ]


def of_jobs(request: Request) -> bool:
    """Whether a request is for the sake of a job; the others come whether or not there are any."""
    _, _, path = request.target.removeprefix("/").partition("/")
    listing = path.startswith(("volumes?", "containers/json?")) and UID not in path
    return not (request.target.endswith("/_ping") or path.startswith("events?") or listing)


@contextlib.contextmanager
def _setting(directory: Path) -> Iterator[Setting]:
    with (
        docker_daemon(directory) as host,
        counting(host, directory) as proxy,
        serving_docker(directory, proxy.host, new_namespace()) as server,
        Client(server.address) as client,
    ):
        yield Setting(directory, host, server.address, proxy, client)


def _round(setting: Setting, subject: Subject, idle_seconds: float) -> None:
    client, proxy = setting.client, setting.proxy
    before = proxy.settle(of_jobs)
    job = client.create_job(JobSpec(command=["sh", "-c", SCRIPT], image=IMAGE), name=NAME)
    _await_running(client)
    with _watching(setting, subject.watchers) as watchers:
        proxy.settle(of_jobs)
        subject.per_minute.append(proxy.per_minute(idle_seconds))
        _end(setting.host, job.uid)
        watchers.read(LOAD_SECONDS)
    subject.finished.append(proxy.settle(of_jobs) - before)
    client.delete_job(NAME, wait=True)
    subject.deleted.append(proxy.settle(of_jobs) - before)


@contextlib.contextmanager
def _watching(setting: Setting, count: int) -> Iterator[Process]:
    arguments = {"address": setting.address, "count": count, "name": NAME, "bare": False}
    with load("watchers", setting.directory, **arguments) as watchers:
        assert watchers.read(LOAD_SECONDS)["opened"] == count
        yield watchers


def _await_running(client: Client) -> None:
    for event in client.watch_status(NAME):
        if event.status.state == JobState.JOB_STATE_RUNNING:
            return
    raise RuntimeError("the job that was to be watched has ended")


def _end(host: str, uid: str) -> None:
    """Have the job's command end by itself, past the server."""
    with contextlib.closing(connect(host)) as sdk:
        for container in sdk.containers(filters={"label": f"{UID}={uid}"}):
            sdk.kill(container["Id"], "SIGTERM")


def _figure(name: str, one: Subject, many: Subject, key: str) -> Figure:
    """The rounds' mean: what comes once a minute would show in no median."""
    few, much = (
        Measure(tuple(rounds), statistics.fmean(rounds))
        for rounds in (getattr(one, key), getattr(many, key))
    )
    name = f"requests for {name}, {many.watchers:,} watchers"
    return Figure(ROW, name, "", much, Reference("1 watcher", few), ratio_at_most(1.1))
