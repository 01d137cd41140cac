"""What jobs do on a daemon, and what is said of it."""

import os
from typing import Any

import docker
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from engines.base import LogStream, Reason, State, Status
from engines.docker.settings import MIB
from engines.errors import InvalidSpec
from jobengine.v1.job_pb2 import EmptyDirectory, JobSpec, Mount, Resources, SecretReference
from tests.docker.place import Place
from tests.engines.docker.running import Server, serving, sharing
from tests.engines.docker.specs import image_spec, shell

pytestmark = pytest.mark.engine("docker")


@pytest.mark.parametrize(
    ("user", "said"), [("", "0 0"), ("nobody", "65534 65534"), ("7", "7 0"), ("7:8", "7 8")]
)
async def test_user(server: Server, user: str, said: str) -> None:
    assert await server.says(shell("echo $(id -u) $(id -g)", user=user)) == f"{said}\n"


@pytest.mark.parametrize("directory", ["/tmp", "/made/for/it"])
async def test_working_directory(server: Server, directory: str) -> None:
    """Docker makes one that isn't there."""
    assert await server.says(image_spec(command=["pwd"], working_dir=directory)) == f"{directory}\n"


async def test_environment(place: Place) -> None:
    (place.directory / "secrets/db").mkdir(parents=True)
    (place.directory / "secrets/db/password").write_text("hidden x=y")
    spec = shell("env", env={"MINE": "a b=c"})
    spec.secret_env["PASSWORD"].CopyFrom(SecretReference(name="db", key="password"))
    async with serving(place, secrets_dir=place.directory / "secrets") as server:
        said = await server.says(spec)
        uid = (await server.engine.read_job("job")).uid
    variables = dict(line.split("=", 1) for line in said.splitlines())
    assert (variables["MINE"], variables["PASSWORD"]) == ("a b=c", "hidden x=y")
    assert variables["JOBENGINE_JOB_NAME"] == "job"
    assert variables["JOBENGINE_JOB_UID"] == uid
    assert (variables["JOB_COMPLETION_INDEX"], variables["JOBENGINE_JOB_ATTEMPT"]) == ("0", "0.0")


async def test_secrets_are_kept_with_the_container_alone(place: Place) -> None:
    (place.directory / "secrets/db").mkdir(parents=True)
    (place.directory / "secrets/db/password").write_text("canary-5d0c")
    spec = shell("true", secret_env={"PASSWORD": SecretReference(name="db", key="password")})
    async with serving(place, secrets_dir=place.directory / "secrets") as server:
        status = await server.run(spec)
        job = await server.engine.read_job("job")
    kept = [*place.volumes(), *place.containers()]
    assert "canary-5d0c" not in repr([status, job, kept])


async def test_a_secret_that_is_not_there(place: Place) -> None:
    spec = shell("true", secret_env={"A": SecretReference(name="db", key="none")})
    async with serving(place, secrets_dir=place.directory) as server:
        with pytest.raises(InvalidSpec) as caught:
            await server.engine.create_job("job", spec)
    assert caught.value.violations[0].field == "spec.secret_env['A']"
    assert place.volumes() == []


async def test_memory_limit(server: Server) -> None:
    files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes"
    spec = shell(f"cat {files} 2>/dev/null; true", resources=Resources(memory_bytes=64 * MIB))
    assert int(await server.says(spec)) == 64 * MIB


async def test_processor_limit(server: Server) -> None:
    files = "/sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_[qp]*"
    spec = shell(f"cat {files} 2>/dev/null; true", resources=Resources(cpu_millis=250))
    assert sorted(map(int, (await server.says(spec)).split())) == [25_000, 100_000]


async def test_more_processors_than_there_are(server: Server) -> None:
    spec = shell("true", resources=Resources(cpu_millis=1000 * (os.cpu_count() or 1) + 1))
    assert [each.field for each in server.engine.check_spec(spec)] == ["spec.resources.cpu_millis"]


async def test_too_much_memory(server: Server) -> None:
    spec = image_spec(command=["tail", "/dev/zero"], resources=Resources(memory_bytes=16 * MIB))
    status = await server.run(spec)
    assert (status.state, status.reason) == (State.FAILED, Reason.OOM_KILLED)
    assert (status.exit_code, status.signal) == (None, 9)
    assert "memory_bytes" in status.message


@pytest.mark.parametrize("code", [0, 7])
async def test_too_much_memory_of_a_child(server: Server, code: int) -> None:
    spec = shell(
        f"tail /dev/zero; echo $?; exit {code}", resources=Resources(memory_bytes=16 * MIB)
    )
    status = await server.run(spec)
    expected = Reason.NON_ZERO_EXIT if code else Reason.COMPLETED
    assert (status.reason, status.exit_code) == (expected, code)
    assert (await server.output(stream=LogStream.STDOUT)).split() == [b"137"]


def check_start_failed(status: Status, words: list[str]) -> None:
    assert (status.state, status.reason) == (State.FAILED, Reason.START_FAILED)
    assert (status.exit_code, status.signal) == (None, 0)
    assert all(word in status.message.lower() for word in words), status.message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (image_spec(command=["true"], user="nobody-known"), ["nobody-known"]),
        (image_spec(command=["true"], working_dir="/etc/passwd"), ["/etc/passwd"]),
        (image_spec(command=["true"], working_dir="not/absolute"), ["not/absolute"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else None,
)
async def test_what_the_daemon_cannot_start(
    server: Server, spec: JobSpec, words: list[str]
) -> None:
    status = await server.run(spec)
    check_start_failed(status, words)
    assert status.start_time is None


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (image_spec(command=["no-such-program"]), ["no-such-program", "no such file"]),
        (image_spec(command=["/no/such/program"]), ["/no/such/program", "no such file"]),
        (image_spec(command=["/etc/passwd"]), ["/etc/passwd", "permission denied"]),
        (image_spec(command=["/etc"]), ["/etc", "permission denied"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else None,
)
async def test_what_init_cannot_start(server: Server, spec: JobSpec, words: list[str]) -> None:
    """The container did start: its time may be told."""
    status = await server.run(spec)
    check_start_failed(status, words)
    assert (await server.engine.read_job("job")).status == status


@pytest.mark.parametrize("code", [126, 127])
@pytest.mark.parametrize(
    "said", ["", "echo fine", "echo 'exec x failed: No such file or directory' >&2", "no-such"]
)
async def test_a_command_that_exits_like_init(server: Server, code: int, said: str) -> None:
    status = await server.run(shell(f"{said}\nexit {code}"))
    assert (status.reason, status.exit_code) == (Reason.NON_ZERO_EXIT, code)


async def test_a_host_path_that_is_not_there(server: Server, place: Place) -> None:
    missing = f"{place.directory}/missing"
    spec = shell("true", mounts=[Mount(target="/m", host_path=missing)])
    status = await server.run(spec)
    assert (status.state, status.reason) == (State.FAILED, Reason.START_FAILED)
    assert missing in status.message


async def test_a_failed_start_is_retried(server: Server) -> None:
    status = await server.run(image_spec(command=["/no/such/program"], max_retries=1))
    assert (status.reason, status.failed, status.retries) == (Reason.START_FAILED, 2, 1)


async def test_a_host_path(server: Server, place: Place) -> None:
    (place.directory / "given").write_text("given\n")
    script = "cat /m/given; echo made > /m/made"
    spec = shell(script, mounts=[Mount(target="/m", host_path=str(place.directory))])
    assert await server.says(spec) == "given\n"
    assert (place.directory / "made").read_text() == "made\n"


async def test_what_is_mounted_to_be_read_only(server: Server, place: Place) -> None:
    mounts = [
        Mount(target="/host", host_path=str(place.directory), read_only=True),
        Mount(target="/volume", volume=f"{place.namespace}-read", read_only=True),
        Mount(target="/memory", empty_directory=EmptyDirectory(memory=True), read_only=True),
    ]
    script = "for d in host volume memory; do touch /$d/x 2>/dev/null || echo $d; done"
    try:
        assert await server.says(shell(script, mounts=mounts)) == "host\nvolume\nmemory\n"
    finally:
        await server.engine.delete_job("job")
        await server.watched.until(lambda: not place.containers(), "removal")
        remove_volume(place, f"{place.namespace}-read")


def remove_volume(place: Place, name: str) -> None:
    client = place.client()
    client.remove_volume(name)
    client.close()


async def test_a_volume_is_shared_and_outlives_its_jobs(
    server: Server, place: Place, client: docker.APIClient
) -> None:
    volume = f"{place.namespace}-data"
    mounts = [Mount(target="/data", volume=volume)]
    await server.says(shell("echo kept > /data/file", mounts=mounts), "writes")
    job = await server.engine.read_job("writes")
    await server.engine.delete_job("writes")
    await server.watched.removal_of(job)
    assert await server.says(shell("cat /data/file", mounts=mounts), "reads") == "kept\n"
    job = await server.engine.read_job("reads")
    await server.engine.delete_job("reads")
    await server.watched.removal_of(job)
    client.remove_volume(volume)


async def test_empty_directories(server: Server) -> None:
    mounts = [
        Mount(target="/disk", empty_directory=EmptyDirectory()),
        Mount(target="/memory", empty_directory=EmptyDirectory(memory=True, size_bytes=MIB)),
    ]
    script = (
        "ls -A /disk /memory; touch /disk/x /memory/x; grep ' /memory ' /proc/mounts | cut -c 1-5; "
        "dd if=/dev/zero of=/memory/y bs=1M count=2 2>/dev/null; stat -c %s /memory/y"
    )
    said = await server.says(shell(script, mounts=mounts))
    assert said.splitlines() == ["/disk:", "", "/memory:", "tmpfs", str(MIB)]


async def test_anybody_may_write_into_memory(server: Server) -> None:
    mounts = [Mount(target="/memory", empty_directory=EmptyDirectory(memory=True))]
    assert await server.says(shell("touch /memory/x", mounts=mounts, user="nobody")) == ""


def options(value: dict[str, Any]) -> Struct:
    return ParseDict(value, Struct())


async def test_engine_options(place: Place) -> None:
    given = {
        "Hostname": "inside",
        "HostConfig": {"ReadonlyRootfs": True, "PidsLimit": 50, "ShmSize": 65536},
    }
    script = "hostname; touch /x 2>/dev/null || echo read-only; df -k /dev/shm | tail -n 1"
    async with serving(place, engine_options=True) as server:
        said = (await server.says(shell(script, engine_options=options(given)))).split()
    assert said[:2] == ["inside", "read-only"]
    assert said[3] == "64"
    assert inspected(place)["HostConfig"]["PidsLimit"] == 50


async def test_engine_options_that_docker_does_not_know_how_to_read(place: Place) -> None:
    given = options({"HostConfig": {"ShmSize": "much"}})
    async with serving(place, engine_options=True) as server:
        status = await server.run(shell("true", engine_options=given))
    assert status.reason is Reason.START_FAILED
    assert "ShmSize" in status.message


def inspected(place: Place) -> dict[str, Any]:
    """The only container of the place."""
    (found,) = place.containers()
    client = place.client()
    try:
        about: dict[str, Any] = client.inspect_container(found["Id"])
        return about
    finally:
        client.close()


async def test_what_is_set_on_every_container(server: Server, place: Place) -> None:
    await server.run(shell("true", labels={"team": "blue"}))
    about = inspected(place)
    host = about["HostConfig"]
    assert host["Privileged"] is False
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Init"] is True
    assert host["PidsLimit"] == 4096
    assert host["RestartPolicy"]["Name"] in {"no", ""}
    assert about["Config"]["Labels"]["team"] == "blue"


async def test_privileges(server: Server) -> None:
    said = await server.says(shell("grep -E '^(NoNewPrivs|CapEff)' /proc/self/status; echo $$"))
    lines = dict(line.split(":") for line in said.splitlines()[:2])
    assert int(lines["NoNewPrivs"]) == 1
    net_raw = 1 << 13
    assert not int(lines["CapEff"], 16) & net_raw


async def test_no_network(place: Place) -> None:
    async with serving(place, network="none") as server:
        assert (await server.says(shell("ls /sys/class/net"))).split() == ["lo"]


async def test_a_network_that_is_not_there(place: Place) -> None:
    async with serving(place, network="no-such-network") as server:
        status = await server.run(shell("true"))
    assert status.reason is Reason.START_FAILED
    assert "no-such-network" in status.message


async def test_the_images_own_command(server: Server) -> None:
    """A shell that finds nothing to read."""
    assert await server.says(image_spec()) == ""


async def test_arguments_for_the_image(server: Server) -> None:
    assert await server.says(image_spec(args=["echo", "a b", "", "$HOME"])) == "a b  $HOME\n"


async def test_jobs_meet_in_a_directory(server: Server, place: Place) -> None:
    spec = sharing(place, f"echo $JOB_COMPLETION_INDEX > {place.directory}/$JOB_COMPLETION_INDEX")
    spec.completions = spec.parallelism = 3
    await server.says(spec)
    assert sorted(path.name for path in place.directory.iterdir()) == ["0", "1", "2"]


async def test_a_command_that_exits_with_255(server: Server) -> None:
    """It is told late, when the daemon has shown that it stays."""
    status = await server.run(shell("exit 255"))
    assert (status.state, status.exit_code) == (State.FAILED, 255)
