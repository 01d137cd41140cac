"""The contract's enums match the messages, and specs can be told apart."""

import enum

import pytest
from google.protobuf.duration_pb2 import Duration

from engines.base import (
    Capability,
    Engine,
    Job,
    LogQuery,
    LogStream,
    Reason,
    Snapshot,
    State,
    Status,
    spec_hash,
)
from engines.errors import CapabilityMissing, JobNotFound
from jobengine.v1 import job_engine_pb2, job_pb2
from jobengine.v1.job_pb2 import JobSpec


@pytest.mark.parametrize(
    ("members", "values", "prefix"),
    [
        (State, job_pb2.JobState.items(), "JOB_STATE_"),
        (Reason, job_pb2.JobReason.items(), "JOB_REASON_"),
        (LogStream, job_engine_pb2.LogStream.items(), "LOG_STREAM_"),
        (Capability, job_engine_pb2.Capability.items(), "CAPABILITY_"),
    ],
)
def test_enums_have_what_the_messages_have(
    members: type[enum.IntEnum], values: list[tuple[str, int]], prefix: str
) -> None:
    zero = {Reason: "NONE", LogStream: "BOTH"}.get(members)  # the others have no zero
    expected = {name.removeprefix(prefix): number for name, number in values if number}
    if zero is not None:
        expected[zero] = 0
    assert {member.name: member.value for member in members} == expected


def test_which_states_are_final() -> None:
    assert {state for state in State if state.terminal} == {
        State.SUCCEEDED,
        State.FAILED,
        State.CANCELLED,
        State.LOST,
    }


def test_spec_hash_does_not_depend_on_the_order_of_maps() -> None:
    names = [f"name-{i}" for i in range(50)]
    forward, backward = JobSpec(), JobSpec()
    for name in names:
        forward.env[name] = forward.labels[name] = name
    for name in reversed(names):
        backward.env[name] = backward.labels[name] = name
    assert spec_hash(forward) == spec_hash(backward)
    assert len(spec_hash(forward)) == 32


def test_spec_hash_depends_on_all_else() -> None:
    specs = [
        JobSpec(command=["a"]),
        JobSpec(command=["b"]),
        JobSpec(command=["a", "b"]),
        JobSpec(args=["a"]),
        JobSpec(env={"a": "b"}),
        JobSpec(labels={"a": "b"}),
        JobSpec(completions=1),
        JobSpec(timeout=Duration()),
        JobSpec(),
    ]
    assert len({spec_hash(spec) for spec in specs}) == len(specs)


class Listing(Engine):
    """The least that uses the contract's defaults."""

    name = "listing"
    poll_interval_seconds = 0.0

    def __init__(self) -> None:
        self.jobs = [Job("a", uid="1")]

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        raise NotImplementedError

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        raise NotImplementedError

    async def read_job(self, name: str) -> Job:
        raise JobNotFound(name)

    async def read_status(self, job: Job) -> Status:
        raise JobNotFound(job.name)

    async def list_jobs(self) -> list[Job]:
        return list(self.jobs)


async def test_the_default_watch_lists_again_and_again() -> None:
    engine = Listing()
    seen: list[list[str]] = []
    async for event in engine.watch():
        assert isinstance(event, Snapshot)
        seen.append([job.name for job in event.jobs])
        if len(seen) == 3:
            break
        engine.jobs.append(Job("b", uid="2"))
    assert seen == [["a"], ["a", "b"], ["a", "b", "b"]]


async def test_the_defaults_of_what_is_optional() -> None:
    engine = Listing()
    async with engine as entered:
        assert entered is engine
    assert engine.capabilities == frozenset()
    engine.capabilities = frozenset({Capability.IMAGES})
    assert engine.check_spec(JobSpec(image="x")) == []
    (violation,) = engine.check_spec(JobSpec(image="x", user="nobody"))
    assert violation.field == "spec.user"
    assert await engine.read_version() == ""
    with pytest.raises(CapabilityMissing, match="'listing' has no way to cancel a job"):
        await engine.cancel_job("a")
    with pytest.raises(CapabilityMissing, match="'listing' has no logs"):
        engine.read_logs("a", LogQuery())
    with pytest.raises(CapabilityMissing, match="'listing' has no list of its jobs"):
        await Engine.list_jobs(engine)
