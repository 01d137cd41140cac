"""How jobs on a daemon are made to end, and what is left of them."""

import docker
import pytest

from engines.base import Reason, State
from jobengine.v1.job_pb2 import EmptyDirectory, Mount
from tests.docker.place import IMAGE, Place
from tests.engines.docker.running import Server, sharing, until_file
from tests.engines.docker.specs import shell

pytestmark = pytest.mark.engine("docker")

FOREVER = "exec sleep 300"


def traps(place: Place, signal: str, then: str = "exit 0") -> str:
    """A script that writes a file on a signal, and one when it is ready for that."""
    path = place.directory
    wait = "while :; do sleep 0.05; done"
    return f"trap 'echo got > {path}/got; {then}' {signal}; echo > {path}/ready; {wait}"


async def test_the_command_is_asked_first(server: Server, place: Place) -> None:
    job = await server.running(sharing(place, traps(place, "TERM", "exit 3")))
    await until_file(place.directory / "ready")
    await server.engine.cancel_job("job", grace_seconds=30)
    status = await server.watched.end_of(job)
    assert (status.state, status.reason) == (State.CANCELLED, Reason.CANCELLED)
    assert (place.directory / "got").exists()


async def test_the_command_is_killed_when_it_takes_too_long(server: Server, place: Place) -> None:
    job = await server.running(sharing(place, traps(place, "TERM", ":")))
    await until_file(place.directory / "ready")
    await server.engine.cancel_job("job", grace_seconds=0.5)
    status = await server.watched.end_of(job)
    assert (status.state, status.reason) == (State.CANCELLED, Reason.CANCELLED)
    assert (place.directory / "got").exists()


async def test_without_grace_it_is_not_asked(server: Server, place: Place) -> None:
    job = await server.running(sharing(place, traps(place, "TERM")))
    await until_file(place.directory / "ready")
    await server.engine.cancel_job("job", grace_seconds=0)
    assert (await server.watched.end_of(job)).state is State.CANCELLED
    assert not (place.directory / "got").exists()


async def test_a_later_call_shortens_the_grace_time(server: Server, place: Place) -> None:
    job = await server.running(sharing(place, traps(place, "TERM", ":")))
    await until_file(place.directory / "ready")
    await server.engine.cancel_job("job", grace_seconds=300)
    await until_file(place.directory / "got")
    await server.engine.cancel_job("job", grace_seconds=0)
    assert (await server.watched.end_of(job)).state is State.CANCELLED


async def test_a_success_after_the_stop_is_one(server: Server, place: Place) -> None:
    job = await server.running(sharing(place, traps(place, "TERM", "exit 0")))
    await until_file(place.directory / "ready")
    await server.engine.cancel_job("job", grace_seconds=30)
    status = await server.watched.end_of(job)
    assert (status.state, status.exit_code) == (State.SUCCEEDED, 0)


async def test_an_image_says_by_which_signal_to_stop(
    server: Server, place: Place, client: docker.APIClient
) -> None:
    image = f"jobengine.test/{place.namespace}"
    made = client.create_container(IMAGE, ["true"])["Id"]
    client.commit(made, repository=image, tag="1", conf={"StopSignal": "SIGUSR1"})
    client.remove_container(made)
    try:
        spec = sharing(place, traps(place, "USR1", "exit 3"))
        spec.image = f"{image}:1"
        job = await server.running(spec)
        await until_file(place.directory / "ready")
        await server.engine.cancel_job("job", grace_seconds=30)
        await server.watched.end_of(job)
        assert (place.directory / "got").exists()
    finally:
        place.clear()
        client.remove_image(f"{image}:1")


async def test_signals_from_elsewhere(server: Server, place: Place) -> None:
    job = await server.running(shell(FOREVER))
    client = place.client()
    client.kill(place.containers()[0]["Id"], "SIGTERM")
    client.close()
    status = await server.watched.end_of(job)
    assert (status.state, status.reason, status.signal) == (State.FAILED, Reason.SIGNALLED, 15)


async def test_a_paused_job_can_be_cancelled(
    server: Server, place: Place, client: docker.APIClient
) -> None:
    job = await server.running(shell(FOREVER))
    client.pause(place.containers()[0]["Id"])
    await server.engine.cancel_job("job", grace_seconds=0.2)
    assert (await server.watched.end_of(job)).state is State.CANCELLED


@pytest.mark.parametrize("script", ["true", FOREVER])
async def test_deletion_leaves_nothing(
    server: Server, place: Place, client: docker.APIClient, script: str
) -> None:
    spec = shell(script, completions=2, parallelism=2)
    spec.mounts.append(Mount(target="/disk", empty_directory=EmptyDirectory()))
    job = await server.engine.create_job("job", spec)
    await server.watched.reaches(job, State.SUCCEEDED if script == "true" else State.RUNNING)
    unnamed = [
        mount["Name"]
        for listed in place.containers()
        for mount in client.inspect_container(listed["Id"])["Mounts"]
    ]
    assert unnamed
    await server.engine.delete_job("job", grace_seconds=0)
    await server.watched.removal_of(job)
    assert (place.containers(), place.volumes()) == ([], [])
    left = {volume["Name"] for volume in client.volumes()["Volumes"] or ()}
    assert not left & set(unnamed)


async def test_a_name_can_be_used_again(server: Server) -> None:
    first = await server.running(shell(FOREVER))
    await server.engine.delete_job("job", grace_seconds=0)
    second = await server.engine.create_job("job", shell("true"))
    assert second.uid != first.uid
    assert (await server.watched.end_of(second)).state is State.SUCCEEDED
