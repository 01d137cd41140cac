"""What jobs do, and what is said of it."""

import os
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct

from engines.base import Capability, Reason, State
from engines.errors import EngineFailed, InvalidSpec
from jobengine.v1.job_pb2 import JobSpec, Mount, Resources, SecretReference
from tests.engines.local.place import Place, Server, processes_of, shell


async def test_success(server: Server) -> None:
    status = await server.run(shell("exit 0"))
    assert (status.state, status.reason, status.exit_code) == (State.SUCCEEDED, Reason.COMPLETED, 0)
    assert status.create_time is not None
    assert status.start_time is not None
    assert status.end_time is not None
    assert status.create_time <= status.start_time <= status.end_time
    assert (status.active, status.succeed, status.failed) == (None, 1, None)


async def test_exit_code(server: Server) -> None:
    status = await server.run(shell("exit 3"))
    assert (status.state, status.reason) == (State.FAILED, Reason.NON_ZERO_EXIT)
    assert (status.exit_code, status.failed) == (3, 1)


async def test_signal(server: Server) -> None:
    status = await server.run(shell("kill -USR1 $$"))
    assert (status.state, status.reason) == (State.FAILED, Reason.SIGNALLED)
    assert (status.exit_code, status.signal) == (None, 10)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (JobSpec(command=["no-such-program"]), ["no-such-program", "No such file"]),
        (JobSpec(command=["/no/such/program"]), ["/no/such/program", "No such file"]),
        (JobSpec(command=["/etc/passwd"]), ["/etc/passwd", "Permission denied"]),
        (JobSpec(command=["/"]), ["Permission denied"]),
        (
            JobSpec(command=["true"], working_dir="/no/such/place"),
            ["working_dir", "/no/such/place"],
        ),
        (JobSpec(command=["true"], env={"PATH": "/nowhere"}), ["No such file"]),
    ],
)
async def test_what_cannot_be_started(server: Server, spec: JobSpec, words: list[str]) -> None:
    status = await server.run(spec)
    assert (status.state, status.reason) == (State.FAILED, Reason.START_FAILED)
    assert status.exit_code is None
    assert all(word in status.message for word in words), status.message


async def test_environment(server: Server, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBENGINE_TOKEN", "secret")
    monkeypatch.setenv("UNRELATED", "secret")
    job = await server.engine.create_job("job", shell("env", env={"MINE": "a b=c"}))
    await server.watched.end_of(job)
    variables = dict(line.split("=", 1) for line in (await server.output()).decode().splitlines())
    assert variables["MINE"] == "a b=c"
    assert variables["JOB_COMPLETION_INDEX"] == "0"
    assert variables["JOBENGINE_JOB_NAME"] == "job"
    assert variables["JOBENGINE_JOB_UID"] == job.uid
    assert "secret" not in variables.values()


async def test_standard_input_is_empty_and_nothing_else_is_open(server: Server) -> None:
    await server.run(shell("cat; ls -l /proc/self/fd | wc -l"))
    lines = int(await server.output())
    assert lines == 5  # "total", three streams, and the directory that ls itself has open


@pytest.fixture
def as_by_nohup() -> Iterator[None]:
    """Signals are ignored as by somebody who starts a server in the background."""
    numbers = (signal.SIGHUP, signal.SIGQUIT)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("as_by_nohup")
async def test_the_command_has_no_signal_blocked_or_ignored(server: Server) -> None:
    await server.run(shell("grep -E '^Sig(Blk|Ign)' /proc/self/status"))
    blocked, ignored = (int(line.split()[1], 16) for line in (await server.output()).splitlines())
    glibc = 1 << 31 | 1 << 32  # its own two signals, which posix_spawn ignores on purpose
    assert (blocked, ignored & ~glibc) == (0, 0)


async def test_each_run_has_a_fresh_directory_that_goes_if_it_is_empty(
    server: Server, place: Place
) -> None:
    await server.run(shell("pwd; touch kept; exit 1", max_retries=1), "keeps")
    await server.run(shell("pwd"), "leaves-nothing")
    first, second = (await server.output("keeps")).decode().split()
    assert first != second
    assert [path.name for path in Path(second).iterdir()] == ["kept"]
    assert not Path((await server.output("leaves-nothing")).decode().strip()).exists()


async def test_working_directory(server: Server, place: Place) -> None:
    await server.run(JobSpec(command=["pwd"], working_dir=str(place.path)))
    assert (await server.output()).decode().strip() == str(place.path)


async def test_retries_go_on_until_one_succeeds(server: Server, place: Place) -> None:
    runs = place.path / "runs"
    status = await server.run(shell(f"echo x >> {runs}; test $(wc -l < {runs}) = 3", max_retries=5))
    assert (status.state, status.succeed, status.failed, status.retries) == (
        State.SUCCEEDED,
        1,
        2,
        2,
    )
    assert runs.read_text() == "x\n" * 3


async def test_retries_are_for_the_whole_job(server: Server, place: Place) -> None:
    runs = place.path / "runs"
    spec = shell(f"echo x >> {runs}; exit 7", completions=3, parallelism=1, max_retries=2)
    status = await server.run(spec)
    assert (status.state, status.exit_code, status.failed) == (State.FAILED, 7, 3)
    assert runs.read_text() == "x\n" * 3


async def test_each_instance_has_its_number(server: Server) -> None:
    status = await server.run(shell("echo $JOB_COMPLETION_INDEX", completions=5, parallelism=2))
    assert (status.state, status.succeed) == (State.SUCCEEDED, 5)
    assert [await server.output(instance=i) for i in range(5)] == [b"%d\n" % i for i in range(5)]


async def test_parallelism_is_kept(server: Server, place: Place) -> None:
    gates = [place.gate(f"gate-{i}") for i in range(3)]
    script = f"read line < {place.path}/gate-$JOB_COMPLETION_INDEX"
    job = await server.engine.create_job("job", shell(script, completions=3, parallelism=2))
    await server.watched.until(
        lambda: any(s.active == 2 for s in server.watched.statuses(job.uid)), "two active"
    )
    for gate in gates:
        await gate.open()
    status = await server.watched.end_of(job)
    assert status.succeed == 3
    assert max(s.active or 0 for s in server.watched.statuses(job.uid)) == 2


async def test_jobs_wait_their_turn_and_a_big_one_starves_nobody(place: Place) -> None:
    gate = place.gate()
    async with place.server(max_running=1) as server:
        first = await server.engine.create_job("first", shell(gate.wait))
        big = await server.engine.create_job(
            "big", JobSpec(command=["true"], completions=30, parallelism=30)
        )
        small = await server.engine.create_job("small", JobSpec(command=["true"]))
        await server.watched.reaches(first, State.RUNNING)
        assert (await server.engine.read_status(small)).state is State.PENDING
        await gate.open()
        await server.watched.end_of(small)
        assert (await server.engine.read_status(big)).succeed in (None, 1, 2)
        assert (await server.watched.end_of(big)).succeed == 30


async def test_a_finished_job_is_removed_after_its_ttl(server: Server, place: Place) -> None:
    spec = JobSpec(command=["true"])
    spec.ttl_after_finished.seconds = 0
    spec.ttl_after_finished.nanos = 1
    job = await server.engine.create_job("job", spec)
    await server.watched.removal_of(job)
    assert server.watched.statuses(job.uid)[-1].state is State.SUCCEEDED
    assert not place.attempt_file().parent.exists()
    assert list((place.state_dir / "trash").iterdir()) == []


async def test_memory_limit(server: Server) -> None:
    if Capability.MEMORY_LIMIT not in server.engine.capabilities:
        pytest.skip("the control groups of this machine can't be written; run as root to test this")
    spec = shell(
        "exec python3 -c 'b = bytearray(1 << 28)'", resources=Resources(memory_bytes=64 << 20)
    )
    status = await server.run(spec)
    assert (status.state, status.reason, status.signal) == (State.FAILED, Reason.OOM_KILLED, 9)


async def test_limits_are_set_and_their_groups_removed(server: Server) -> None:
    if not {Capability.CPU_LIMIT, Capability.MEMORY_LIMIT} <= server.engine.capabilities:
        pytest.skip("the control groups of this machine can't be written; run as root to test this")
    limits = Resources(cpu_millis=500, memory_bytes=64 << 20)
    job = await server.engine.create_job("job", shell("cat /proc/self/cgroup", resources=limits))
    status = await server.watched.end_of(job)
    assert status.state is State.SUCCEEDED, status.message
    assert job.uid.encode() in await server.output()
    groups = [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names]
    assert groups
    assert not [name for name in groups if job.uid in name]


async def test_another_user(server: Server) -> None:
    if Capability.USER not in server.engine.capabilities:
        pytest.skip("only root can change users; run as root to test this")
    nobody = pwd.getpwnam("nobody")
    await server.run(shell("id -u; id -g; id -G; touch mine && stat -c %U mine", user="nobody"))
    out = (await server.output()).decode().split()
    assert out[:2] == [str(nobody.pw_uid), str(nobody.pw_gid)]
    assert "0" not in out[2:-1]
    assert out[-1] == "nobody"


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("spec.command", JobSpec()),
        ("spec.image", JobSpec(command=["true"], image="alpine")),
        (
            "spec.secret_env",
            JobSpec(command=["true"], secret_env={"A": SecretReference(name="n", key="k")}),
        ),
        ("spec.mounts", JobSpec(command=["true"], mounts=[Mount(target="/x", volume="v")])),
        ("spec.image_pull_policy", JobSpec(command=["true"], image_pull_policy=1)),  # type: ignore[arg-type]
        ("spec.image_pull_secret", JobSpec(command=["true"], image_pull_secret="s")),
        ("spec.resources.gpu_count", JobSpec(command=["true"], resources=Resources(gpu_count=1))),
        ("spec.engine_options", JobSpec(command=["true"], engine_options=Struct())),
        ("spec.user", JobSpec(command=["true"], user="no-such-user")),
        ("spec.user", JobSpec(command=["true"], user="0:no-such-group")),
    ],
)  # fmt: skip
async def test_what_the_engine_refuses(server: Server, field: str, spec: JobSpec) -> None:
    assert [violation.field for violation in server.engine.check_spec(spec)] == [field]


async def test_an_instance_that_the_job_does_not_have(server: Server) -> None:
    await server.run(JobSpec(command=["true"]))
    with pytest.raises(InvalidSpec, match="instance"):
        await server.output(instance=1)


async def test_one_server_per_directory(place: Place, server: Server) -> None:
    with pytest.raises(EngineFailed, match="another server uses"):
        async with place.server():
            pass


async def test_a_state_directory_that_cannot_be_made(place: Place) -> None:
    blocked = Place(place.path / "file")
    blocked.path.write_text("")
    with pytest.raises(EngineFailed, match="can't be used"):
        async with blocked.server():
            pass


async def test_leftovers_of_a_command_that_has_ended_are_killed(
    server: Server, place: Place
) -> None:
    gate = place.gate()
    script = f"setsid sh -c '{gate.reach}; exec sleep 1000' & {gate.wait}; exit 5"
    job = await server.engine.create_job("job", shell(script))
    status = await server.watched.end_of(job)
    assert status.exit_code == 5
    assert processes_of(job) == []
