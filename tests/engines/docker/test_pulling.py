"""Images from a real registry: when they are pulled, how often, and what is said of it."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest

from engines.backoff import Backoff
from engines.base import Job, Reason, State, Status
from engines.docker import pulls
from engines.docker.pulls import MAX_PULLS
from engines.errors import InvalidSpec
from jobengine.v1 import job_pb2
from jobengine.v1.job_pb2 import JobSpec
from tests.docker.place import IMAGE, Place
from tests.docker.registry import PASSWORD, Registry, Relay, docker_config, make_image
from tests.engines.docker.running import DEADLINE_SECONDS, Server, serving

pytestmark = pytest.mark.engine("docker")

ALWAYS = job_pb2.IMAGE_PULL_POLICY_ALWAYS
IF_NOT_PRESENT = job_pb2.IMAGE_PULL_POLICY_IF_NOT_PRESENT
NEVER = job_pb2.IMAGE_PULL_POLICY_NEVER

SOON_SECONDS = 5.0
"""What needn't wait for a registry takes less."""

LAYER_BYTES = 5 << 20
"""Of the image that takes long: through a relay that is slow, about 16 s."""


@pytest.fixture(scope="module")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry"), locked=True) as registry:
        yield registry


@pytest.fixture
def name(place: Place) -> Iterator[str]:
    """A name of an image that only this test uses; images of it are removed from the daemon."""
    yield place.namespace
    place.clear()
    client = place.client()
    for image in client.images():
        for tag in image["RepoTags"] or ():
            if place.namespace in tag:
                client.remove_image(tag, force=True)
    client.close()


@pytest.fixture
def image(open_registry: Registry, client: docker.APIClient, name: str) -> str:
    """An image in the registry that the daemon knows nothing of but its layer."""
    return open_registry.push(client, IMAGE, name)


@pytest.fixture
def secrets(place: Place) -> Path:
    return place.directory / "secrets"


@pytest.fixture
async def relay(open_registry: Registry) -> AsyncIterator[Relay]:
    async with Relay(open_registry.address) as relay:
        yield relay


@pytest.fixture
def large_image(open_registry: Registry, client: docker.APIClient, relay: Relay, name: str) -> str:
    """An image with a layer that takes long to get by way of the relay."""
    made = make_image(client, f"jobengine.test/{name}", os.urandom(LAYER_BYTES))
    open_registry.push(client, made, name)
    client.remove_image(made)
    return f"{relay.address}/{name}:1"


def runs(image: str, **fields: object) -> JobSpec:
    return JobSpec(image=image, command=["true"], **fields)  # type: ignore[arg-type]


async def test_an_image_is_pulled_once(server: Server, open_registry: Registry, image: str) -> None:
    for number in range(2):
        status = await server.run(runs(image, image_pull_policy=IF_NOT_PRESENT), f"job-{number}")
        assert status.state is State.SUCCEEDED
    assert open_registry.pulls(image) == 1


async def test_an_image_is_pulled_each_time(
    server: Server, open_registry: Registry, image: str
) -> None:
    for number in range(2):
        status = await server.run(runs(image, image_pull_policy=ALWAYS), f"job-{number}")
        assert status.state is State.SUCCEEDED
    assert open_registry.pulls(image) == 2


async def test_an_image_that_changes_is_noticed(
    server: Server, open_registry: Registry, client: docker.APIClient, image: str, name: str
) -> None:
    spec = JobSpec(image=image, command=["ls", "/content"], image_pull_policy=ALWAYS)
    assert (await server.run(spec, "before")).state is State.FAILED
    changed = make_image(client, f"jobengine.test/{name}", b"changed")
    open_registry.push(client, changed, name)
    assert (await server.run(spec, "after")).state is State.SUCCEEDED


async def test_each_attempt_is_pulled_for_where_that_is_wanted(
    server: Server, open_registry: Registry, image: str
) -> None:
    spec = JobSpec(image=image, command=["false"], image_pull_policy=ALWAYS, max_retries=1)
    assert (await server.run(spec)).retries == 1
    assert open_registry.pulls(image) == 2


def check_pull_failed(status: Status, *words: str) -> None:
    assert (status.state, status.reason) == (State.FAILED, Reason.IMAGE_PULL_FAILED)
    assert (status.start_time, status.failed, status.exit_code) == (None, None, None)
    assert all(word in status.message for word in words), status.message


async def test_a_tag_that_is_missing(server: Server, open_registry: Registry, image: str) -> None:
    missing = image.replace(":1", ":2")
    status = await server.run(runs(missing, max_retries=3))
    check_pull_failed(status, missing, "manifest unknown")
    assert open_registry.pulls(missing) == 1


async def test_a_repository_that_is_missing(server: Server, open_registry: Registry) -> None:
    missing = f"{open_registry.address}/no/such:1"
    check_pull_failed(await server.run(runs(missing)), missing)
    assert open_registry.pulls(missing) == 1


async def test_an_image_that_is_never_to_be_pulled(
    server: Server, open_registry: Registry, image: str
) -> None:
    status = await server.run(runs(image, image_pull_policy=NEVER))
    check_pull_failed(status, image, "never")
    assert open_registry.pulls(image) == 0


async def test_an_image_that_is_there_and_never_to_be_pulled(server: Server) -> None:
    assert (await server.run(runs(IMAGE, image_pull_policy=NEVER))).state is State.SUCCEEDED


@pytest.mark.parametrize("image", ["UPPER/case:1", "a:b:c", "127.0.0.1:1/UPPER"])
async def test_a_name_that_the_daemon_refuses(server: Server, image: str) -> None:
    status = await server.run(runs(image))
    assert (status.state, status.start_time) == (State.FAILED, None)
    assert status.reason in {Reason.IMAGE_PULL_FAILED, Reason.START_FAILED}
    assert "invalid reference format" in status.message


async def test_jobs_that_wait_for_one_image_share_its_pull(
    server: Server, open_registry: Registry, relay: Relay, large_image: str
) -> None:
    spec = runs(large_image, completions=2, parallelism=2)
    jobs = [await server.engine.create_job(f"job-{number}", spec) for number in range(4)]
    for job in jobs:
        await server.waits(job, "pulling image")
    relay.open()
    for job in jobs:
        assert (await server.watched.end_of(job)).state is State.SUCCEEDED
    assert open_registry.pulls(large_image) == 1


async def test_progress_is_told(server: Server, relay: Relay, large_image: str) -> None:
    job = await server.engine.create_job("job", runs(large_image))
    await server.waits(job, f"of {LAYER_BYTES / 1e6:.1f} MB")
    status = await server.engine.read_status(job)
    assert status.state is State.PENDING
    assert f"pulling image {large_image}: 1 of 2 layers" in status.message
    relay.open()
    status = await server.watched.end_of(job)
    assert (status.state, status.message) == (State.SUCCEEDED, "")


async def until_left(relay: Relay) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        await relay.until_left()


async def test_a_pull_ends_when_nobody_waits_for_it(
    server: Server, relay: Relay, large_image: str
) -> None:
    jobs = [
        await server.engine.create_job(f"job-{number}", runs(large_image)) for number in range(2)
    ]
    for job in jobs:
        await server.waits(job, "MB")
    await cancel(server, jobs[0])
    assert relay.connections
    assert (await server.engine.read_status(jobs[1])).state is State.PENDING
    await cancel(server, jobs[1])
    await until_left(relay)
    assert relay.sent < LAYER_BYTES


async def cancel(server: Server, job: Job) -> None:
    await server.engine.cancel_job(job.name)
    status = await server.watched.end_of(job)
    assert (status.state, status.reason) == (State.CANCELLED, Reason.CANCELLED)


async def test_a_job_that_is_pruned_while_its_image_is_pulled(
    server: Server, place: Place, client: docker.APIClient, relay: Relay, large_image: str
) -> None:
    """It is gone, and what waited for the image isn't started any more."""
    spec = JobSpec(image=large_image, command=["sh", "-c", f"touch {place.directory}/ran"])
    spec.mounts.add(target=str(place.directory), host_path=str(place.directory))
    job = await server.engine.create_job("job", spec)
    await server.waits(job, "MB")
    client.remove_volume(f"jobengine.{place.namespace}.job")
    await server.watched.removal_of(job)
    relay.open()
    # Another job with the image, so that there is something to wait for.
    assert (await server.run(runs(large_image), "next")).state is State.SUCCEEDED
    next_job = await server.engine.read_job("next")
    await server.engine.delete_job("next")
    await server.watched.removal_of(next_job)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while place.containers() or place.volumes():  # nobody tells
            await asyncio.sleep(0.02)
    assert not (place.directory / "ran").exists()


async def test_a_registry_that_does_not_answer(
    server: Server, open_registry: Registry, image: str
) -> None:
    """The daemon waits for it longer than anybody here does; nothing else is held up by that."""
    async with Relay() as silent:
        waiting = [
            await server.engine.create_job(f"job-{number}", runs(f"{silent.address}/{number}:1"))
            for number in range(MAX_PULLS)
        ]
        for job in waiting:
            await server.waits(job, f"pulling image {silent.address}")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await silent.asked.wait()
        for job in waiting:
            async with asyncio.timeout(SOON_SECONDS):
                await cancel(server, job)
        assert (await server.run(runs(image), "another")).state is State.SUCCEEDED
        # Nor is a further pull of the same image by the one that was given up.
        again = await server.engine.create_job("again", runs(f"{silent.address}/0:1"))
        await server.waits(again, "pulling image")
        await cancel(server, again)


async def test_a_pull_that_was_given_up_can_begin_again(
    server: Server, relay: Relay, large_image: str
) -> None:
    first = await server.engine.create_job("first", runs(large_image))
    await server.waits(first, "MB")
    await server.engine.cancel_job("first")
    second = await server.engine.create_job("second", runs(large_image))
    relay.open()
    assert (await server.watched.end_of(second)).state is State.SUCCEEDED


async def test_a_registry_that_comes_up_later(
    server: Server, client: docker.APIClient, name: str, tmp_path: Path
) -> None:
    with Registry(tmp_path / "registry") as registry:
        image = registry.push(client, IMAGE, name)
        registry.stop()
        job = await server.engine.create_job("job", runs(image))
        await server.waits(job, "trying again")
        registry.start()
        assert (await server.watched.end_of(job)).state is State.SUCCEEDED


async def test_a_registry_that_stays_down(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulls, "TRY_AGAIN", Backoff(first=0.05, longest=0.2))
    with Registry(tmp_path / "registry") as registry:
        address = registry.address
    check_pull_failed(await server.run(runs(f"{address}/some:1")), "connection refused")


async def test_the_start_timeout_ends_a_pull(
    server: Server, open_registry: Registry, image: str
) -> None:
    async with Relay() as silent:
        spec = runs(f"{silent.address}/some:1")
        spec.start_timeout.FromMilliseconds(500)
        async with asyncio.timeout(SOON_SECONDS):
            status = await server.run(spec)
        assert silent.asked.is_set()
        assert (status.state, status.reason) == (State.FAILED, Reason.START_TIMEOUT)
        assert status.start_time is None
        assert f"{silent.address}/some:1" in status.message
        assert (await server.run(runs(image), "another")).state is State.SUCCEEDED


# -- with credentials -------------------------------------------------------------------------


@pytest.fixture
def private(locked_registry: Registry, client: docker.APIClient, name: str) -> str:
    """An image that takes credentials."""
    return locked_registry.push(client, IMAGE, name)


def keep_secret(secrets: Path, text: str) -> None:
    (secrets / "registry").mkdir(parents=True)
    (secrets / "registry/.dockerconfigjson").write_text(text)


async def test_credentials(place: Place, secrets: Path, private: str) -> None:
    keep_secret(secrets, docker_config(private.partition("/")[0]))
    async with serving(place, secrets_dir=secrets) as server:
        status = await server.run(runs(private, image_pull_secret="registry"))
        job = await server.engine.read_job("job")
        assert status.state is State.SUCCEEDED
        told = repr([server.watched.events, job])
    kept = repr([place.volumes(), place.containers()])
    encoded = docker_config("x").partition('"auth": "')[2].partition('"')[0]
    for canary in (PASSWORD, encoded):
        assert canary not in told
        assert canary not in kept


async def test_wrong_credentials(place: Place, secrets: Path, private: str) -> None:
    keep_secret(secrets, docker_config(private.partition("/")[0], "canary-of-a-wrong-one"))
    async with serving(place, secrets_dir=secrets) as server:
        status = await server.run(runs(private, image_pull_secret="registry"))
    check_pull_failed(status, private)
    assert "canary" not in repr([status, place.volumes()])


async def test_credentials_of_another_registry(place: Place, secrets: Path, private: str) -> None:
    keep_secret(secrets, docker_config("other.example"))
    async with serving(place, secrets_dir=secrets) as server:
        check_pull_failed(await server.run(runs(private, image_pull_secret="registry")), private)


async def test_no_credentials(server: Server, private: str) -> None:
    check_pull_failed(await server.run(runs(private)), private, "no basic auth credentials")


async def test_the_servers_own_credentials_are_no_jobs(
    place: Place, private: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's SDK finds those of the user that it runs as, in ~/.docker or DOCKER_CONFIG."""
    (tmp_path / "config.json").write_text(docker_config(private.partition("/")[0]))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    async with serving(place) as server:
        check_pull_failed(await server.run(runs(private)), private)


async def test_a_secret_that_is_not_there(place: Place, secrets: Path) -> None:
    secrets.mkdir()
    async with serving(place, secrets_dir=secrets) as server:
        with pytest.raises(InvalidSpec) as caught:
            await server.engine.create_job("job", runs(IMAGE, image_pull_secret="none"))
    assert caught.value.violations[0].field == "spec.image_pull_secret"


async def test_a_secret_that_goes_away(place: Place, secrets: Path, private: str) -> None:
    """It was there when the job was accepted, and no more when its first run has ended."""
    keep_secret(secrets, docker_config(private.partition("/")[0]))
    gone = "rm /secrets/registry/.dockerconfigjson; exit 1"
    spec = JobSpec(
        image=private,
        command=["sh", "-c", gone],
        image_pull_secret="registry",
        image_pull_policy=ALWAYS,
        max_retries=1,
    )
    spec.mounts.add(target="/secrets", host_path=str(secrets))
    async with serving(place, secrets_dir=secrets) as server:
        status = await server.run(spec)
    assert (status.state, status.failed) == (State.FAILED, 2)
    assert "spec.image_pull_secret" in status.message
