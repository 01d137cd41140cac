"""A daemon is shared: with other servers, other namespaces, and people."""

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker.errors import APIError

from engines.base import Job, Reason, State
from engines.docker import controller, session
from engines.docker.api import Api
from engines.docker.daemon import Refused
from engines.docker.manifest import make_body
from engines.docker.record import NAMESPACE, Claim, KeptJob, Labels
from engines.docker.settings import About, Settings
from engines.errors import EngineFailed, JobNotFound
from engines.lifecycle.intent import make_intent
from jobengine.v1.job_pb2 import JobSpec
from tests.docker.place import IMAGE, Place, place_on
from tests.engines.docker.running import (
    DEADLINE_SECONDS,
    Server,
    remove_ended,
    serving,
    sharing,
    until_file,
)
from tests.engines.docker.specs import kept_job, shell

pytestmark = pytest.mark.engine("docker")

FOREVER = "exec sleep 300"


@pytest.fixture
def lists_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is left of pruned jobs found soon."""
    monkeypatch.setattr(session, "LIST_INTERVAL_SECONDS", 0.5)


# -- two servers ------------------------------------------------------------------------------


async def test_two_servers_agree(place: Place) -> None:
    """Whoever is asked, and whoever accepted a job: each run is started once."""
    script = f"echo run >> {place.directory}/$JOBENGINE_JOB_NAME; exit $((JOB_COMPLETION_INDEX))"
    async with serving(place) as one, serving(place) as other:
        servers = [one, other]
        created = [
            await servers[number % 2].engine.create_job(
                f"job-{number}", sharing(place, script, completions=1 + number % 2)
            )
            for number in range(6)
        ]
        for job in created:
            ends = [await server.watched.end_of(job) for server in servers]
            assert ends[0] == ends[1]
            state = State.FAILED if int(job.name[-1]) % 2 else State.SUCCEEDED
            assert ends[0].state is state
        listed = [{job.name: job for job in await each.engine.list_jobs()} for each in servers]
        assert listed[0] == listed[1]
    for job in created:
        runs = (place.directory / job.name).read_text().count("run")
        assert runs == 1 + int(job.name[-1]) % 2


async def test_one_name_on_two_servers(place: Place) -> None:
    async with serving(place) as one, serving(place) as other:
        spec = sharing(place, f"echo run >> {place.directory}/runs")
        calls = [server.engine.create_job("job", spec) for server in (one, other) * 3]
        results = await asyncio.gather(*calls, return_exceptions=True)
        kinds = Counter(type(result).__name__ for result in results)
        assert kinds == {"Job": 1, "JobAlreadyExists": 5}
        uids = {(await server.engine.read_job("job")).uid for server in (one, other)}
        assert len(uids) == 1
        (job,) = [result for result in results if not isinstance(result, BaseException)]
        assert (await other.watched.end_of(job)).state is State.SUCCEEDED
    assert (place.directory / "runs").read_text() == "run\n"


@pytest.mark.parametrize("grace", [0.0, 30.0])
async def test_the_other_server_may_cancel(place: Place, grace: float) -> None:
    async with serving(place) as one, serving(place) as other:
        job = await one.running(shell(FOREVER))
        await other.engine.cancel_job("job", grace_seconds=grace)
        for server in (one, other):
            status = await server.watched.end_of(job)
            assert (status.state, status.reason) == (State.CANCELLED, Reason.CANCELLED)


@pytest.mark.parametrize("script", ["true", FOREVER])
async def test_the_other_server_may_delete(place: Place, script: str) -> None:
    async with serving(place) as one, serving(place) as other:
        job = await one.engine.create_job("job", shell(script))
        await one.watched.reaches(job, State.SUCCEEDED if script == "true" else State.RUNNING)
        await other.engine.delete_job("job", grace_seconds=0)
        for server in (one, other):
            await server.watched.removal_of(job)
            with pytest.raises(JobNotFound):
                await server.engine.read_job("job")
    assert (place.containers(), place.volumes()) == ([], [])


async def test_the_next_server_takes_jobs_up(place: Place) -> None:
    gate = place.directory / "gate"
    async with serving(place) as server:
        running = await server.running(
            sharing(place, f"while [ ! -e {gate} ]; do sleep 0.01; done; exit 4"), "running"
        )
        done = await server.run(shell("exit 3"), "done")
    gate.touch()
    async with serving(place) as server:
        assert (await server.watched.end_of(running)).exit_code == 4
        assert (await server.engine.read_job("done")).status == done


class Half:
    """A job of which a server has made the container, as it is where that server was killed."""

    def __init__(self, place: Place, client: docker.APIClient) -> None:
        self._client = client
        self._labels = Labels(place.namespace)
        self.runs = place.directory / "runs"
        spec = sharing(place, f"echo run >> {self.runs}")
        self._kept = KeptJob(make_intent("job", spec, "", 60.0, now=time.time()), spec)
        self._container = ""

    def accept(self) -> None:
        """The first of what the other server does."""
        labels = self._labels.of_job(self._kept)
        self._client.create_volume(self._labels.job_volume("job"), labels=labels)

    def make(self, *, claimed: bool) -> None:
        """The second."""
        intent, key = self._kept.intent, (0, 0)
        name = self._labels.container(intent, key)
        body = make_body(self._kept, key, {}, self._labels, Settings(), About())
        client: Any = self._client  # its types say too little
        self._container = str(client.create_container_from_config(body, name)["Id"])
        if claimed:
            claim = Claim(self._container, "a-server")
            self._client.create_volume(name, labels=self._labels.of_claim(intent, key, claim))

    def start(self) -> None:
        """What it does in the end, unless it was killed."""
        self._client.start(self._container)

    async def seen_by(self, server: Server) -> None:
        """Wait until the server knows of the job."""
        uid = self._kept.intent.uid
        await server.watched.until(lambda: bool(server.watched.statuses(uid)), "it is seen")

    async def ends_on(self, server: Server) -> None:
        """Wait until the job has ended; it ran once."""
        await server.watched.until(
            lambda: any(s.state.terminal for s in server.watched.statuses(self._kept.intent.uid)),
            "the end",
        )
        assert (await server.engine.read_job("job")).status.state is State.SUCCEEDED
        assert self.runs.read_text() == "run\n"


@pytest.mark.parametrize("claimed", [False, True])
async def test_the_next_server_starts_what_another_had_made(
    place: Place, client: docker.APIClient, claimed: bool
) -> None:
    half = Half(place, client)
    half.accept()
    half.make(claimed=claimed)
    async with serving(place) as server:
        await half.ends_on(server)


@pytest.mark.usefixtures("lists_often")
async def test_what_another_server_is_about_to_start_is_left_to_it(
    place: Place, client: docker.APIClient
) -> None:
    half = Half(place, client)
    async with serving(place) as server:
        half.accept()
        half.make(claimed=True)
        await half.seen_by(server)
        await asyncio.sleep(1)  # which is less than TAKEOVER_SECONDS
        half.start()
        await half.ends_on(server)


@pytest.mark.usefixtures("lists_often")
@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize("seen", [False, True])
async def test_what_another_server_does_not_start_is_taken_over(
    place: Place,
    client: docker.APIClient,
    monkeypatch: pytest.MonkeyPatch,
    claimed: bool,
    seen: bool,
) -> None:
    """Also where the job was seen before its container and the claim were there."""
    monkeypatch.setattr(controller, "TAKEOVER_SECONDS", 1.0)
    half = Half(place, client)
    async with serving(place) as server:
        half.accept()
        if seen:
            await half.seen_by(server)
        half.make(claimed=claimed)
        await half.ends_on(server)


async def test_news_that_cannot_be_looked_into_do_no_harm(
    server: Server, place: Place, client: docker.APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch goes on; what was missed is found when everything is listed again."""
    asked = asyncio.Event()

    async def fail(api: Api, name: str) -> None:
        asked.set()
        raise Refused(500, "not now")

    with monkeypatch.context() as patched:
        patched.setattr(Api, "volume_labels", fail)
        client.create_volume(f"jobengine.{place.namespace}.job", labels={"team": "blue"})
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asked.wait()
    client.remove_volume(f"jobengine.{place.namespace}.job")
    assert (await server.run(shell("true"))).state is State.SUCCEEDED


# -- namespaces -------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(place: Place) -> Iterator[Place]:
    """Another namespace on the daemon, whose name begins like that of the first."""
    with place_on(place.host, place.directory) as elsewhere:
        elsewhere.namespace = place.namespace + "-2"
        yield elsewhere


async def test_namespaces_do_not_see_each_other(place: Place, elsewhere: Place) -> None:
    async with serving(place) as here, serving(elsewhere) as there:
        mine = await here.running(shell(FOREVER))
        assert list(await there.engine.list_jobs()) == []
        for attempt in (there.engine.read_job("job"), there.engine.delete_job("job")):
            with pytest.raises(JobNotFound):
                await attempt
        theirs = await there.running(shell(FOREVER))
        await there.engine.delete_job("job", grace_seconds=0)
        await there.watched.removal_of(theirs)
        assert (await here.engine.read_status(mine)).state is State.RUNNING
        assert not here.watched.statuses(theirs.uid)
    assert (elsewhere.containers(), elsewhere.volumes()) == ([], [])


# -- what belongs to somebody else ------------------------------------------------------------


class Foreign:
    """Containers and volumes of somebody else's, removed at the end."""

    def __init__(self, client: docker.APIClient) -> None:
        self._client = client
        self._containers: list[str] = []
        self._volumes: list[str] = []

    def container(self, name: str, labels: dict[str, str]) -> str:
        config: dict[str, Any] = {
            "Image": IMAGE,
            "Entrypoint": ["sleep", "300"],
            "Labels": labels,
            "HostConfig": {"NetworkMode": "none"},
        }
        client: Any = self._client  # its types say too little
        made = str(client.create_container_from_config(config, name)["Id"])
        self._containers.append(made)
        self._client.start(made)
        return made

    def volume(self, name: str, labels: dict[str, str]) -> None:
        self._client.create_volume(name, labels=labels)
        self._volumes.append(name)

    def untouched(self) -> bool:
        """Whether all of it is there, and runs."""
        volumes = [self._client.inspect_volume(name) for name in self._volumes]
        states = [self._client.inspect_container(each)["State"] for each in self._containers]
        return len(volumes) == len(self._volumes) and all(state["Running"] for state in states)

    def clear(self) -> None:
        for container in self._containers:
            with contextlib.suppress(APIError):
                self._client.remove_container(container, force=True, v=True)
        for volume in self._volumes:
            with contextlib.suppress(APIError):
                self._client.remove_volume(volume)


@pytest.fixture
def foreign(client: docker.APIClient) -> Iterator[Foreign]:
    foreign = Foreign(client)
    yield foreign
    foreign.clear()


async def test_similar_names_and_half_of_the_labels(place: Place, foreign: Foreign) -> None:
    labels, kept = Labels(place.namespace), kept_job()
    half = {NAMESPACE: place.namespace, "jobengine.dev/kind": "run"}
    foreign.container(f"jobengine.{place.namespace}.job.0123456789ab.0.0", {})
    foreign.container(f"jobengine.{place.namespace}.other.0123456789ab.0.0", half)
    foreign.volume(f"jobengine.{place.namespace}.half", half)
    foreign.volume(f"jobengine.{place.namespace}.none", {})
    later = labels.of_job(kept) | {"jobengine.dev/format": "2"}
    foreign.volume(f"jobengine.{place.namespace}.later", later)
    async with serving(place) as server:
        assert list(await server.engine.list_jobs()) == []
        job = await server.engine.create_job("job", shell("true"))
        await server.watched.end_of(job)
        await server.engine.delete_job("job")
        await server.watched.removal_of(job)
        for name in ("half", "none", "later"):
            with pytest.raises(JobNotFound):
                await server.engine.delete_job(name)
    assert foreign.untouched()


@pytest.mark.parametrize("labels", [{"team": "blue"}, {NAMESPACE: "other"}])
async def test_a_name_that_a_foreign_volume_has(
    server: Server, place: Place, foreign: Foreign, labels: dict[str, str]
) -> None:
    """There is no job that a caller could read or delete, so the name isn't said to be taken."""
    foreign.volume(f"jobengine.{place.namespace}.job", labels)
    with pytest.raises(EngineFailed, match=re.escape(f"jobengine.{place.namespace}.job ")):
        await server.engine.create_job("job", shell("true"))
    for call in (server.engine.read_job("job"), server.engine.delete_job("job")):
        with pytest.raises(JobNotFound):
            await call
    assert foreign.untouched()


async def test_a_volume_without_labels_is_what_a_killed_daemon_left(
    server: Server, place: Place, client: docker.APIClient
) -> None:
    client.create_volume(f"jobengine.{place.namespace}.job")
    job = await server.engine.create_job("job", shell("true"))
    assert (await server.watched.end_of(job)).state is State.SUCCEEDED
    await server.engine.delete_job("job")
    await server.watched.removal_of(job)
    assert place.volumes() == []


async def test_a_copy_of_a_jobs_container_is_somebody_elses(
    place: Place, foreign: Foreign, client: docker.APIClient
) -> None:
    """An image that was made of a job's container (docker commit) hands the labels on."""
    async with serving(place) as server:
        job = await server.running(shell(FOREVER))
        (original,) = place.containers()
        labels = client.inspect_container(original["Id"])["Config"]["Labels"]
        foreign.container(f"{place.namespace}-debugging", labels)
        await server.engine.cancel_job("job", grace_seconds=0)
        await server.watched.end_of(job)
        await server.engine.delete_job("job")
        await server.watched.removal_of(job)
    assert foreign.untouched()


# -- behind the service's back ----------------------------------------------------------------


def prune_volumes(place: Place) -> None:
    """`docker volume prune`, of this place only: the service's are unused in Docker's eyes."""
    client = place.client()
    for volume in place.volumes():
        client.remove_volume(volume["Name"])
    client.close()
    assert place.volumes() == []


async def until_nothing_is_left(place: Place) -> None:
    """Wait until nothing of the place is on the daemon; nobody tells."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while place.containers() or place.volumes():
            await asyncio.sleep(0.02)


async def test_a_running_container_that_somebody_removes(
    server: Server, place: Place, client: docker.APIClient
) -> None:
    job = await server.running(shell(FOREVER))
    client.remove_container(place.containers()[0]["Id"], force=True)
    status = await server.watched.end_of(job)
    assert (status.state, status.reason, status.signal) == (State.FAILED, Reason.SIGNALLED, 9)
    assert (await server.engine.read_status(job)) == status


def let_it_forget(client: docker.APIClient, name: str) -> None:
    """Have the daemon tell so much else that it forgets what it told before: 256 events."""
    for number in range(150):
        client.create_volume(f"{name}-{number}")
        client.remove_volume(f"{name}-{number}")


@pytest.mark.parametrize("forgets", [False, True])
async def test_a_running_container_that_somebody_removes_while_no_server_runs(
    place: Place, client: docker.APIClient, forgets: bool
) -> None:
    """The daemon may still know how it ended; that it ran is known, and it never runs again."""
    runs = place.directory / "runs"
    async with serving(place) as server:
        job = await server.running(sharing(place, f"echo run >> {runs}; {FOREVER}"))
        await until_file(runs, "run")
    client.remove_container(place.containers()[0]["Id"], force=True)
    if forgets:
        let_it_forget(client, place.namespace)
    async with serving(place) as server:
        status = await server.watched.end_of(job)
    lost, killed = (State.LOST, Reason.UNKNOWN, 0), (State.FAILED, Reason.SIGNALLED, 9)
    assert (status.state, status.reason, status.signal) == (lost if forgets else killed)
    assert runs.read_text() == "run\n"


async def test_a_finished_container_that_somebody_removes(server: Server, place: Place) -> None:
    status = await server.run(shell("exit 3"))
    await remove_ended(place)
    assert (await server.engine.read_job("job")).status == status
    async with serving(place) as other:
        job = await other.engine.read_job("job")
        assert job.status == status
        await other.engine.delete_job("job")
        await other.watched.removal_of(job)
    assert place.volumes() == []


# -- `docker volume prune`: a job whose volume is gone is gone ------------------------------------


async def check_gone(server: Server, job: Job) -> None:
    """Watchers have been told, of a job that ran without a status that was made up."""
    await server.watched.removal_of(job)
    for call in (server.engine.read_job(job.name), server.engine.delete_job(job.name)):
        with pytest.raises(JobNotFound):
            await call
    assert list(await server.engine.list_jobs()) == []


def running_then_failing(place: Place) -> JobSpec:
    """Writes into `runs`, waits for `gate`, ends with 4."""
    runs, gate = place.directory / "runs", place.directory / "gate"
    script = f"echo run >> {runs}; while [ ! -e {gate} ]; do sleep 0.01; done; exit 4"
    return sharing(place, script, max_retries=1)


@pytest.mark.usefixtures("lists_often")
async def test_pruned_volumes_while_the_job_runs(place: Place) -> None:
    async with serving(place) as server, serving(place) as other:
        job = await server.running(running_then_failing(place))
        await other.watched.reaches(job, State.RUNNING)
        await until_file(place.directory / "runs", "run")
        prune_volumes(place)
        for each in (server, other):
            await check_gone(each, job)
            assert not any(status.state.terminal for status in each.watched.statuses(job.uid))
        await until_nothing_is_left(place)
        again = await server.run(shell("true"))  # the name is free
        assert again.state is State.SUCCEEDED
    assert (place.directory / "runs").read_text() == "run\n"


@pytest.mark.parametrize("ends", [False, True])
async def test_pruned_volumes_of_a_running_job_while_no_server_runs(
    place: Place, ends: bool
) -> None:
    async with serving(place) as server:
        job = await server.running(running_then_failing(place))
        await until_file(place.directory / "runs", "run")
    prune_volumes(place)
    if ends:
        (place.directory / "gate").touch()
    async with serving(place) as server:
        await until_nothing_is_left(place)
        with pytest.raises(JobNotFound):
            await server.engine.read_job("job")
        assert not server.watched.statuses(job.uid)
    assert (place.directory / "runs").read_text() == "run\n"


@pytest.mark.usefixtures("lists_often")
async def test_pruned_volumes_of_a_finished_job(place: Place) -> None:
    async with serving(place) as server, serving(place) as other:
        status = await server.run(shell("echo kept; exit 3"))
        job = await server.engine.read_job("job")
        await other.watched.end_of(job)
        prune_volumes(place)
        for each in (server, other):
            await check_gone(each, job)
            assert each.watched.statuses(job.uid)[-1] == status
        await until_nothing_is_left(place)


async def test_pruned_volumes_of_a_finished_job_while_no_server_runs(place: Place) -> None:
    async with serving(place) as server:
        await server.run(shell("exit 3"))
        job = await server.engine.read_job("job")
    prune_volumes(place)
    async with serving(place) as server:
        await until_nothing_is_left(place)
        assert list(await server.engine.list_jobs()) == []
        assert not server.watched.statuses(job.uid)


@pytest.mark.usefixtures("lists_often")
async def test_pruned_volumes_of_a_cancelled_job(place: Place) -> None:
    """A terminal status never changes."""
    async with serving(place) as server:
        job = await server.running(shell(FOREVER))
        await server.engine.cancel_job("job", grace_seconds=0)
        status = await server.watched.end_of(job)
        prune_volumes(place)
        await check_gone(server, job)
        ends = [each for each in server.watched.statuses(job.uid) if each.state.terminal]
        assert ends == [status]
        await until_nothing_is_left(place)


@pytest.mark.usefixtures("lists_often")
async def test_a_deletion_whose_volumes_were_pruned(place: Place) -> None:
    script = f"trap : TERM; touch {place.directory}/ready; while :; do sleep 0.05; done"
    async with serving(place) as server:
        job = await server.running(sharing(place, script))
        await until_file(place.directory / "ready")
        await server.engine.delete_job("job", grace_seconds=1)
        prune_volumes(place)
        await check_gone(server, job)
        await until_nothing_is_left(place)


@pytest.mark.usefixtures("lists_often")
async def test_a_prune_takes_nothing_of_others_along(
    place: Place, elsewhere: Place, foreign: Foreign, client: docker.APIClient
) -> None:
    """What only looks like the pruned job's stays: copies, other jobs, other namespaces."""
    async with serving(place) as server, serving(elsewhere) as there:
        job = await server.running(shell(FOREVER))
        theirs = await there.running(shell(FOREVER))
        labels = client.inspect_container(place.containers()[0]["Id"])["Config"]["Labels"]
        foreign.container(f"{place.namespace}-debugging", labels)
        foreign.volume(f"jobengine.{place.namespace}.none", {})
        client.remove_volume(f"jobengine.{place.namespace}.job")
        mine = await server.running(shell(FOREVER), "mine")
        await check_removed(server, place, job)
        assert (await server.engine.read_status(mine)).state is State.RUNNING
        assert (await there.engine.read_status(theirs)).state is State.RUNNING
    assert foreign.untouched()


async def check_removed(server: Server, place: Place, job: Job) -> None:
    """Its own container and volumes go, whatever else has its labels."""
    await server.watched.removal_of(job)
    start = f"jobengine.{place.namespace}.job."
    async with asyncio.timeout(DEADLINE_SECONDS):
        while any(name.startswith(start) for name in names(place)):
            await asyncio.sleep(0.02)


def names(place: Place) -> list[str]:
    """Of all that has the place's labels."""
    containers = [each["Names"][0].removeprefix("/") for each in place.containers()]
    return containers + [each["Name"] for each in place.volumes()]


async def test_a_pruned_claim_is_no_second_run(place: Place) -> None:
    """Only the volume that says who may start the container is gone."""
    async with serving(place) as server:
        job = await server.running(running_then_failing(place))
        await until_file(place.directory / "runs", "run")
        (claim,) = [each["Name"] for each in place.volumes() if each["Name"].endswith(".0.0")]
        with contextlib.closing(place.client()) as client:
            client.remove_volume(claim)
    async with serving(place) as server:
        assert (await server.engine.read_status(job)).state is State.RUNNING
        await server.engine.cancel_job("job", grace_seconds=0)
        status = await server.watched.end_of(job)
        assert status.state is State.CANCELLED
    assert (place.directory / "runs").read_text() == "run\n"


# -- `docker container prune` -----------------------------------------------------------------


@pytest.mark.parametrize("forgets", [False, True])
async def test_nothing_runs_again_because_its_container_was_pruned(
    place: Place, client: docker.APIClient, forgets: bool
) -> None:
    """`docker container prune` removes what has ended, also where the job goes on."""
    runs, gate = place.directory / "runs", place.directory / "gate"
    waits = f"while [ $JOB_COMPLETION_INDEX = 1 -a ! -e {gate} ]; do sleep 0.01; done"
    spec = sharing(place, f"echo $JOB_COMPLETION_INDEX >> {runs}; {waits}")
    spec.completions = spec.parallelism = 2
    async with serving(place) as server:
        job = await server.engine.create_job("job", spec)
        await server.watched.until(
            lambda: any((s.succeed, s.active) == (1, 1) for s in server.watched.statuses(job.uid)),
            "one done, one running",
        )
        await remove_ended(place)
    if forgets:
        let_it_forget(client, place.namespace)
    async with serving(place) as server:
        gate.touch()
        status = await server.watched.end_of(job)
    assert status.state is (State.LOST if forgets else State.SUCCEEDED)
    assert sorted(runs.read_text().split()) == ["0", "1"]
