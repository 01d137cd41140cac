"""From a spec to a container's body, and what can't be honoured."""

import math
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from engines.docker import record
from engines.docker.manifest import MAX_PROCESSES, make_body, violations
from engines.docker.record import Labels, Owner
from engines.docker.settings import MIB, About, Settings
from jobengine.v1.job_pb2 import EmptyDirectory, JobSpec, Mount, Resources, SecretReference
from tests.docker.place import IMAGE
from tests.engines.docker.specs import (
    DAEMON,
    GPU_DAEMON,
    LABELS,
    UID,
    an_intent,
    image_spec,
    kept_job,
)


def options(value: dict[str, Any]) -> Struct:
    return ParseDict(value, Struct())


def body_of(
    spec: JobSpec,
    settings: Settings | None = None,
    about: About = DAEMON,
    secret_env: dict[str, str] | None = None,
) -> dict[str, Any]:
    return make_body(
        kept_job(spec), (2, 1), secret_env or {}, LABELS, settings or Settings(), about
    )


def host_of(
    spec: JobSpec, settings: Settings | None = None, about: About = DAEMON
) -> dict[str, Any]:
    host: dict[str, Any] = body_of(spec, settings, about)["HostConfig"]
    return host


def wrong_fields(
    spec: JobSpec, settings: Settings | None = None, about: About = DAEMON
) -> list[str]:
    return [each.field for each in violations(spec, settings or Settings(), about)]


# -- the body ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "entrypoint", "cmd"),
    [
        ({}, None, None),  # the image's own
        ({"command": ["a", "b"]}, ["a", "b"], None),
        ({"args": ["c"]}, None, ["c"]),
        ({"command": ["a"], "args": ["b", ""]}, ["a"], ["b", ""]),
    ],
)
def test_command(fields: dict[str, Any], entrypoint: object, cmd: object) -> None:
    body = body_of(image_spec(**fields))
    assert (body.get("Entrypoint"), body.get("Cmd")) == (entrypoint, cmd)


@pytest.mark.parametrize(
    ("fields", "key", "value"),
    [
        ({}, "Image", IMAGE),
        ({}, "Tty", False),
        ({}, "WorkingDir", None),
        ({}, "User", None),
        ({"working_dir": "/w"}, "WorkingDir", "/w"),
        ({"user": "7:8"}, "User", "7:8"),
    ],
)
def test_fields(fields: dict[str, Any], key: str, value: object) -> None:
    assert body_of(image_spec(**fields)).get(key) == value


def test_environment() -> None:
    spec = image_spec(env={"A": "1", "B": "x=y\n"})
    assert sorted(body_of(spec, secret_env={"S": "hidden"})["Env"]) == [
        "A=1",
        "B=x=y\n",
        "JOBENGINE_JOB_ATTEMPT=2.1",
        "JOBENGINE_JOB_NAME=job",
        f"JOBENGINE_JOB_UID={UID}",
        "JOB_COMPLETION_INDEX=2",
        "S=hidden",
    ]


def test_own_variables_cannot_be_overridden() -> None:
    spec = image_spec(env={"JOB_COMPLETION_INDEX": "9"})
    found = body_of(spec, secret_env={"JOBENGINE_JOB_NAME": "other"})["Env"]
    assert "JOB_COMPLETION_INDEX=2" in found
    assert "JOBENGINE_JOB_NAME=job" in found
    assert len(found) == 4


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (Resources(), {}),
        (Resources(cpu_millis=1500), {"NanoCpus": 1_500_000_000}),
        (Resources(memory_bytes=7 * MIB), {"Memory": 7 * MIB, "MemorySwap": 7 * MIB}),
        (
            Resources(gpu_count=2),
            {"DeviceRequests": [{"Count": 2, "Capabilities": [["gpu"]]}]},
        ),
    ],
)
def test_resources(resources: Resources, expected: dict[str, Any]) -> None:
    host = host_of(image_spec(resources=resources), about=GPU_DAEMON)
    names = ("NanoCpus", "Memory", "MemorySwap", "DeviceRequests")
    assert {name: host[name] for name in names if name in host} == expected


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (Mount(volume="data"), {"Type": "volume", "Source": "data"}),
        (
            Mount(host_path="/srv/x"),
            {
                "Type": "bind",
                "Source": "/srv/x",
                "BindOptions": {"Propagation": "rprivate"},
            },
        ),
        (Mount(empty_directory=EmptyDirectory()), {"Type": "volume"}),
        (
            Mount(empty_directory=EmptyDirectory(memory=True, size_bytes=MIB)),
            {"Type": "tmpfs", "TmpfsOptions": {"SizeBytes": MIB, "Mode": 0o1777}},
        ),
    ],
    ids=["volume", "host path", "directory", "memory"],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_mounts(mount: Mount, expected: dict[str, Any], read_only: bool) -> None:
    mount.target, mount.read_only = "/m", read_only
    found = host_of(image_spec(mounts=[mount]))["Mounts"]
    assert found == [{"Target": "/m", "ReadOnly": read_only, **expected}]


def test_several_mounts_keep_their_order() -> None:
    mounts = [Mount(target=f"/{i}", volume=f"volume{i}") for i in range(3)]
    found = host_of(image_spec(mounts=mounts))["Mounts"]
    assert [each["Target"] for each in found] == ["/0", "/1", "/2"]


def test_labels_of_the_caller_cannot_override_ours() -> None:
    spec = image_spec(labels={"team": "blue", record.UID: "f" * 32, record.NAMESPACE: "other"})
    labels = body_of(spec)["Labels"]
    assert labels["team"] == "blue"
    assert (labels[record.UID], labels[record.NAMESPACE]) == (UID, "here")
    name = LABELS.container(an_intent(), (2, 1))
    assert LABELS.run(labels, name) == (Owner("run", "job", UID), (2, 1))


def test_safe_defaults() -> None:
    host = host_of(image_spec())
    assert host["Privileged"] is False
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert {"NET_RAW", "MKNOD", "SETPCAP"} <= set(host["CapDrop"])
    assert "CapAdd" not in host
    assert host["PidsLimit"] == MAX_PROCESSES
    assert host["Init"] is True
    assert host["AutoRemove"] is False
    assert host["RestartPolicy"] == {"Name": "no"}


def test_no_init_where_the_daemon_has_none() -> None:
    assert "Init" not in host_of(image_spec(), about=About(init=False))


@pytest.mark.parametrize(
    ("about", "driver", "config"),
    [(DAEMON, "local", {"compress": "false"}), (About(podman=True), "json-file", {})],
    ids=["docker", "podman"],
)
def test_output_is_kept_byte_by_byte(about: About, driver: str, config: dict[str, str]) -> None:
    found = host_of(image_spec(), about=about)["LogConfig"]
    assert found["Type"] == driver
    assert set(found["Config"]) - set(config) == {"max-size", "max-file"}
    assert found["Config"].items() >= config.items()


@pytest.mark.parametrize(("limit", "size"), [(64 * MIB, 32 * MIB), (3, 1), (1, 1)])
def test_log_rotation_follows_the_limit(limit: int, size: int) -> None:
    config = host_of(image_spec(), Settings(log_limit_bytes=limit))["LogConfig"]
    assert (config["Config"]["max-size"], config["Config"]["max-file"]) == (str(size), "2")


def test_network() -> None:
    assert host_of(image_spec())["NetworkMode"] == "bridge"
    assert host_of(image_spec(), Settings(network="none"))["NetworkMode"] == "none"


# -- engine_options ---------------------------------------------------------------------------

ALLOWING = Settings(engine_options=True)


@pytest.mark.parametrize(
    "added",
    [
        {"HostConfig": {"ShmSize": 65536}},
        {"HostConfig": {"CapAdd": ["SYS_PTRACE"], "Ulimits": [{"Name": "nofile", "Soft": 9}]}},
        {"Hostname": "inside"},
        {"Entrypoint": ["/bin/true"]},
        {"HostConfig": {"Memory": 7340032}},
    ],
)
def test_options_that_are_added(added: dict[str, Any]) -> None:
    spec = image_spec(engine_options=options(added))
    assert wrong_fields(spec, ALLOWING) == []
    body = body_of(spec, ALLOWING)
    host = body["HostConfig"]
    assert {**body, **body["HostConfig"]}.items() >= added.get("HostConfig", added).items()
    assert host["Privileged"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CapDrop", ["ALL"]),
        ("Init", False),
        ("NetworkMode", "none"),
        ("PidsLimit", 7),
        ("SecurityOpt", []),
    ],
)
def test_defaults_that_options_override(name: str, value: object) -> None:
    spec = image_spec(engine_options=options({"HostConfig": {name: value}}))
    assert wrong_fields(spec, ALLOWING) == []
    assert host_of(spec, ALLOWING)[name] == value


FULL = image_spec(
    command=["a"],
    args=["b"],
    working_dir="/w",
    user="1",
    resources=Resources(cpu_millis=10, memory_bytes=7 * MIB),
)


@pytest.mark.parametrize(
    ("refused", "path"),
    [
        ({"Image": "x"}, "Image"),
        ({"Labels": {"a": "b"}}, "Labels"),
        ({"Env": ["A=B"]}, "Env"),
        ({"Tty": True}, "Tty"),
        ({"Entrypoint": ["x"]}, "Entrypoint"),
        ({"Cmd": ["x"]}, "Cmd"),
        ({"WorkingDir": "/"}, "WorkingDir"),
        ({"User": "0"}, "User"),
        ({"HostConfig": "x"}, "HostConfig"),
        ({"HostConfig": None}, "HostConfig"),
        ({"HostConfig": {"AutoRemove": True}}, "HostConfig.AutoRemove"),
        ({"HostConfig": {"RestartPolicy": {"Name": "always"}}}, "HostConfig.RestartPolicy"),
        ({"HostConfig": {"LogConfig": {"Type": "none"}}}, "HostConfig.LogConfig"),
        ({"HostConfig": {"Mounts": []}}, "HostConfig.Mounts"),
        ({"HostConfig": {"Privileged": True}}, "HostConfig.Privileged"),
        ({"HostConfig": {"Memory": 1}}, "HostConfig.Memory"),
        ({"HostConfig": {"MemorySwap": -1}}, "HostConfig.MemorySwap"),
        ({"HostConfig": {"NanoCpus": 1}}, "HostConfig.NanoCpus"),
    ],
)
def test_options_that_are_refused(refused: dict[str, Any], path: str) -> None:
    spec = JobSpec.FromString(FULL.SerializeToString())
    spec.engine_options.CopyFrom(options(refused))
    assert wrong_fields(spec, ALLOWING) == [f"spec.engine_options.{path}"]


@pytest.mark.parametrize(
    "refused",
    [
        {"labels": {"a": "b"}},
        {"image": "x"},
        {"hostconfig": {"AutoRemove": True}},
        {"hostConfig": {"AutoRemove": True}},
        {"HostConfig": {"autoremove": True}},
        {"HostConfig": {"PRIVILEGED": True}},
    ],
)
def test_options_are_refused_however_they_are_spelt(refused: dict[str, Any]) -> None:
    """Docker takes its members' names in any case (Go's encoding/json)."""
    found = wrong_fields(image_spec(engine_options=options(refused)), ALLOWING)
    assert len(found) == 1
    assert found[0].startswith("spec.engine_options.")


@pytest.mark.parametrize("empty", [{}, {"HostConfig": {}}])
def test_options_that_say_nothing(empty: dict[str, Any]) -> None:
    spec = image_spec(engine_options=options(empty))
    assert wrong_fields(spec, ALLOWING) == []
    assert body_of(spec, ALLOWING) == body_of(image_spec()) | {
        "Labels": body_of(spec, ALLOWING)["Labels"]
    }


def test_whole_numbers_stay_whole() -> None:
    given = {"HostConfig": {"ShmSize": 1e9, "Deep": [{"N": 3, "X": 0.5, "B": True, "Z": None}]}}
    host = host_of(image_spec(engine_options=options(given)), ALLOWING)
    assert repr(host["ShmSize"]) == "1000000000"
    assert repr(host["Deep"]) == "[{'B': True, 'X': 0.5, 'N': 3, 'Z': None}]" or host["Deep"] == [
        {"N": 3, "X": 0.5, "B": True, "Z": None}
    ]
    assert isinstance(host["Deep"][0]["N"], int)
    assert isinstance(host["Deep"][0]["B"], bool)
    assert math.isclose(host["Deep"][0]["X"], 0.5)


# -- what can't be honoured -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (JobSpec(command=["true"]), "spec.image"),
        (JobSpec(image="no image"), "spec.image"),
        (JobSpec(image="-v"), "spec.image"),
        (JobSpec(image="a\n"), "spec.image"),
        (image_spec(secret_env={"S": SecretReference(name="s", key="k")}), "spec.secret_env"),
        (image_spec(engine_options=Struct()), "spec.engine_options"),
        (image_spec(image_pull_secret="s"), "spec.image_pull_secret"),
        (image_spec(resources=Resources(gpu_count=1)), "spec.resources.gpu_count"),
        (image_spec(resources=Resources(memory_bytes=1)), "spec.resources.memory_bytes"),
        (
            image_spec(resources=Resources(memory_bytes=6 * MIB - 1)),
            "spec.resources.memory_bytes",
        ),
        (image_spec(resources=Resources(cpu_millis=9)), "spec.resources.cpu_millis"),
        (image_spec(resources=Resources(cpu_millis=4001)), "spec.resources.cpu_millis"),
    ],
)
def test_what_the_daemon_cannot_do(spec: JobSpec, field: str) -> None:
    assert wrong_fields(spec) == [field]


@pytest.mark.parametrize(
    "spec",
    [
        image_spec(),
        JobSpec(image="registry.example:5000/team/app@sha256:" + "a" * 64),
        JobSpec(image="sha256:" + "a" * 64),
        image_spec(resources=Resources(memory_bytes=6 * MIB, cpu_millis=10)),
        image_spec(resources=Resources(cpu_millis=4000)),
    ],
)
def test_what_it_can_do(spec: JobSpec) -> None:
    assert wrong_fields(spec) == []


def test_processors_of_a_daemon_that_is_not_known_yet() -> None:
    assert wrong_fields(image_spec(resources=Resources(cpu_millis=10**6)), about=About()) == []


def test_everything_wrong_is_told_at_once() -> None:
    spec = image_spec(
        resources=Resources(memory_bytes=1, cpu_millis=1),
        mounts=[Mount(target="/a", volume="ok"), Mount(target="/", secret="s")],
        image_pull_secret="s",
    )
    assert wrong_fields(spec) == [
        "spec.resources.memory_bytes",
        "spec.resources.cpu_millis",
        "spec.mounts[1].secret",
        "spec.mounts[1].target",
        "spec.image_pull_secret",
    ]


def test_what_settings_and_daemon_allow(tmp_path: Path) -> None:
    spec = image_spec(
        secret_env={"S": SecretReference(name="s", key="k")},
        image_pull_secret="s",
        engine_options=Struct(),
        resources=Resources(gpu_count=1),
    )
    settings = Settings(secrets=tmp_path, engine_options=True)
    assert wrong_fields(spec, settings, GPU_DAEMON) == []


@pytest.mark.parametrize(
    ("mount", "field"),
    [
        (Mount(volume="x"), "volume"),  # Docker wants two characters
        (Mount(volume="../x"), "volume"),
        (Mount(volume="/srv"), "volume"),
        (Mount(volume="a/b"), "volume"),
        (Mount(volume="data\n"), "volume"),
        (Mount(volume="jobengine.default.job"), "volume"),
        (Mount(volume="jobengine.other.job.0123456789ab.end"), "volume"),
        (Mount(empty_directory=EmptyDirectory(size_bytes=1)), "empty_directory.size_bytes"),
        (Mount(secret="s"), "secret"),
        (Mount(config_map="c"), "config_map"),
        (Mount(host_path="/etc"), "host_path"),
    ],
)
def test_mounts_that_are_refused(mount: Mount, field: str) -> None:
    mount.target = "/m"
    assert wrong_fields(image_spec(mounts=[mount])) == [f"spec.mounts[0].{field}"]


@pytest.mark.parametrize("target", ["/", "//", "/."])
def test_the_root_is_no_target(target: str) -> None:
    mount = Mount(target=target, volume="data")
    assert wrong_fields(image_spec(mounts=[mount])) == ["spec.mounts[0].target"]


@pytest.mark.parametrize("target", ["/..", "/a/..", "/a/../../"])
def test_the_root_is_no_target_by_way_of_parents(target: str) -> None:
    """The daemon cleans paths before it looks at them."""
    mount = Mount(target=target, volume="data")
    assert wrong_fields(image_spec(mounts=[mount])) == ["spec.mounts[0].target"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("{}/allowed", True),
        ("{}/allowed/", True),
        ("{}/allowed/in/it", True),
        ("{}/allowed/not-there-yet", True),
        ("{}/allowed/inward/x", True),
        ("{}/allowed/../allowed/in", False),
        ("{}/allowed/../other", False),
        ("{}/allowed/in/..", False),
        ("{}/allowed-too", False),
        ("{}/other", False),
        ("{}", False),
        ("/", False),
        ("{}/allowed/outward", False),
        ("{}/allowed/outward/x", False),
        ("{}/alias/in", True),
    ],
)
def test_host_paths(tmp_path: Path, path: str, allowed: bool) -> None:
    (tmp_path / "allowed/in").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "allowed/outward").symlink_to(tmp_path / "other")
    (tmp_path / "allowed/inward").symlink_to(tmp_path / "allowed/in")
    (tmp_path / "alias").symlink_to(tmp_path / "allowed")
    settings = Settings(host_paths=(f"{tmp_path}/allowed",))
    spec = image_spec(mounts=[Mount(target="/m", host_path=path.format(tmp_path))])
    assert wrong_fields(spec, settings) == ([] if allowed else ["spec.mounts[0].host_path"])


def test_several_prefixes(tmp_path: Path) -> None:
    settings = Settings(host_paths=("/nowhere", str(tmp_path)))
    spec = image_spec(mounts=[Mount(target="/m", host_path=f"{tmp_path}/x")])
    assert wrong_fields(spec, settings) == []


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    spec = image_spec(mounts=[Mount(target="/m", host_path=f"{tmp_path}/loop/x")])
    assert wrong_fields(spec, Settings(host_paths=(str(tmp_path),))) == ["spec.mounts[0].host_path"]


def test_namespaces_have_prefixes_of_their_own() -> None:
    body = make_body(kept_job(), (0, 0), {}, Labels("other"), Settings(), DAEMON)
    assert body["Labels"][record.NAMESPACE] == "other"
