"""Whose a job is, through servers that each ask who calls, and have a policy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from engines.config import JobManager
from engines.memory import MemoryEngine
from jobengine import AsyncClient, RetryPolicy, errors
from jobengine.v1 import job_engine_pb2 as api
from server.app import Server
from server.authentication import make_token
from server.config import Config
from server.doctor import examine
from server.settings import Settings
from tests.clients.guard import write
from tests.clients.specs import endless

pytestmark = pytest.mark.engine("remote")

DEADLINE_SECONDS = 20.0
OWNER = "jobengine.dev/owner"

SUBJECT = """
[[subjects]]
name = "{name}"
identities = ["token:{name}"]
grants = [{{ verbs = ["create", "read", "logs", "cancel", "delete"], own = true }}]
limits = {{ jobs = {jobs} }}
allow = {{ keys = [{keys}] }}
"""
FAKE = '"fake.jobengine.dev/*"'
FRONT = f'{FAKE}, "*.{OWNER}"'
"""What a front is allowed."""


class Place:
    """A server that asks for tokens, on the engine that `engine` makes."""

    def __init__(self, directory: Path, keys: str, *subjects: str, jobs: int = 100) -> None:
        directory.mkdir()
        self.directory = directory
        self.tokens: dict[str, str] = {}
        lines: list[str] = []
        for name in subjects:
            self.tokens[name], digest = make_token()
            lines.append(f"{name} {digest}\n")
        write(directory / "tokens", "".join(lines), mode=0o600)
        policy = "".join(SUBJECT.format(name=name, keys=keys, jobs=jobs) for name in subjects)
        write(directory / "policy.toml", policy)

    def config(self) -> Config:
        return Config(
            listen="127.0.0.1:0",
            stop_grace_seconds=1.0,
            token_file=self.directory / "tokens",
            policy=self.directory / "policy.toml",
        )

    def token_file(self, name: str) -> Path:
        """A file with the token of one of the subjects."""
        file = self.directory / f"token-of-{name}"
        write(file, self.tokens[name], mode=0o600)
        return file


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def start(stack: AsyncExitStack, place: Place, behind: Server | None, token: Path) -> Server:
    """A server of the place that passes jobs on to the one behind it, by the token."""
    assert behind is not None
    engine = JobManager("remote", address=behind.address, token_file=token)
    return await stack.enter_async_context(Server(engine, place.config()))


async def client_of(stack: AsyncExitStack, server: Server, place: Place, who: str) -> AsyncClient:
    return await stack.enter_async_context(
        AsyncClient(server.address, token=place.tokens[who], retry=RetryPolicy(retry_for_seconds=0))
    )


async def test_owners_are_known_at_both_ends_of_two_steps(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    far_place = Place(tmp_path / "far", FRONT, "middle", "direct")
    middle_place = Place(tmp_path / "middle", FRONT, "front", "other")
    front_place = Place(tmp_path / "front", FAKE, "alice", "bob", jobs=2)
    far_engine = MemoryEngine()
    far = await stack.enter_async_context(Server(far_engine, far_place.config()))
    middle = await start(stack, middle_place, far, far_place.token_file("middle"))

    direct = await client_of(stack, far, far_place, "direct")
    await direct.create_job(endless(), name="direct")
    other = await client_of(stack, middle, middle_place, "other")

    async with AsyncExitStack() as once:
        front = await start(once, front_place, middle, middle_place.token_file("front"))
        assert await front.in_touch(DEADLINE_SECONDS), front.mirror.trouble
        alice = await client_of(once, front, front_place, "alice")
        job = await alice.create_job(endless({"team": "blue"}), name="hers", request_id="request")
        assert dict(job.labels) == {"team": "blue", OWNER: "alice"}
        assert dict(job.spec.labels) == {"team": "blue"}

    # A new front has to know it from the jobs alone.
    front = await start(stack, front_place, middle, middle_place.token_file("front"))
    assert await front.in_touch(DEADLINE_SECONDS), front.mirror.trouble
    alice = await client_of(stack, front, front_place, "alice")
    bob = await client_of(stack, front, front_place, "bob")
    again = await alice.create_job(endless({"team": "blue"}), name="hers", request_id="request")
    assert again.uid == job.uid
    read = await alice.read_job("hers")
    assert (dict(read.labels), dict(read.spec.labels)) == (
        {"team": "blue", OWNER: "alice"},
        {"team": "blue"},
    )
    assert [each.name async for each in alice.list_jobs(f"{OWNER}=alice")] == ["hers"]
    for stranger in (bob, other, direct):
        with pytest.raises(errors.JobNotFound):
            await stranger.read_job("hers")
        assert "hers" not in [each.name async for each in stranger.list_jobs()]
    with pytest.raises(errors.JobNotFound):
        await bob.delete_job("hers")

    # Her limit counts what the new front has only heard of.
    await alice.create_job(endless(), name="second")
    with pytest.raises(errors.LimitReached):
        await alice.create_job(endless(), name="third")

    assert dict((await far_engine.read_job("hers")).labels) == {
        "team": "blue",
        OWNER: "middle",
        f"remote.{OWNER}": "front",
        f"remote.remote.{OWNER}": "alice",
    }
    await alice.delete_job("hers", wait=True)


async def test_who_owns_a_job_there_owns_nothing_here(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    """The other server's alice is somebody else, whatever labels she gives her jobs."""
    far_place = Place(tmp_path / "far", FAKE, "alice")
    front_place = Place(tmp_path / "front", FAKE, "alice")
    far = await stack.enter_async_context(Server(MemoryEngine(), far_place.config()))
    front = await start(stack, front_place, far, far_place.token_file("alice"))
    assert await front.in_touch(DEADLINE_SECONDS), front.mirror.trouble
    there = await client_of(stack, far, far_place, "alice")
    here = await client_of(stack, front, front_place, "alice")
    await there.create_job(endless(), name="theirs")
    with pytest.raises(errors.JobNotFound):
        await here.read_job("theirs")
    with pytest.raises(errors.PermissionDenied, match=r"remote\.jobengine\.dev"):
        await there.create_job(endless({f"remote.{OWNER}": "alice"}), name="planted")


async def test_a_front_without_authentication(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Its jobs have no owner here, and it as their owner there."""
    far_place = Place(tmp_path / "far", FAKE, "front", "other")
    far = await stack.enter_async_context(Server(MemoryEngine(), far_place.config()))
    engine = JobManager("remote", address=far.address, token_file=far_place.token_file("front"))
    front = await stack.enter_async_context(Server(engine, Config(listen="127.0.0.1:0")))
    assert await front.in_touch(DEADLINE_SECONDS), front.mirror.trouble
    async with AsyncClient(front.address) as client:
        job = await client.create_job(endless(), name="job")
        assert dict(job.labels) == {}
    as_front = await client_of(stack, far, far_place, "front")
    assert dict((await as_front.read_job("job")).labels) == {OWNER: "front"}


async def test_a_policy_that_does_not_know_of_fronts_says_what_to_add(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    far_place = Place(tmp_path / "far", FAKE, "front")
    front_place = Place(tmp_path / "front", FAKE, "alice")
    far = await stack.enter_async_context(Server(MemoryEngine(), far_place.config()))
    token_file = far_place.token_file("front")
    front = await start(stack, front_place, far, token_file)
    assert await front.in_touch(DEADLINE_SECONDS), front.mirror.trouble
    alice = await client_of(stack, front, front_place, "alice")
    with pytest.raises(errors.EngineFailed) as caught:
        await alice.create_job(endless(), name="job")
    assert f'allow.keys = ["*.{OWNER}"]' in str(caught.value)

    async def told() -> dict[str, str]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            found = await examine(
                Settings(
                    engine="remote",
                    listen="127.0.0.1:0",
                    remote_address=far.address,
                    remote_token_file=token_file,
                )
            )
        assert [each.what for each in found if not each.fine] in ([], ["owners"])
        return {each.what: each.words for each in found}

    found = await told()
    assert f'allow.keys = ["*.{OWNER}"]' in found["owners"]
    assert found["way there"].endswith(f"without TLS, showing the token in {token_file}")
    assert "with the engine fake" in found["other server"]
    policy = SUBJECT.format(name="front", keys=FRONT, jobs=1)
    write(far_place.directory / "policy.toml", policy)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while "may create jobs" not in (found := await told())["owners"]:
            await asyncio.sleep(0.2)  # nobody tells when the policy was read again
    assert found["jobs"] == "0 jobs there that this server may see"
    await alice.create_job(endless(), name="job")
    assert (await told())["jobs"].startswith("1 job there")


async def test_a_token_that_is_not_taken_and_is_exchanged(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    far_place = Place(tmp_path / "far", FAKE, "front")
    far = await stack.enter_async_context(Server(MemoryEngine(), far_place.config()))
    token_file = tmp_path / "token"
    token_file.write_text("not-a-token\n")
    engine = JobManager("remote", address=far.address, token_file=token_file)
    front = await stack.enter_async_context(Server(engine, Config(listen="127.0.0.1:0")))
    async with AsyncClient(front.address) as client:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while "--remote-token-file" not in (await client.read_engine()).message:
                await asyncio.sleep(0.1)  # nobody tells
        with pytest.raises(errors.EngineFailed, match="--remote-token-file"):
            await client.create_job(endless())
        token_file.write_text(far_place.tokens["front"] + "\n")
        assert await front.in_touch(DEADLINE_SECONDS)
        assert (await client.read_engine()).health == api.ENGINE_HEALTH_OK
        await client.create_job(endless())
