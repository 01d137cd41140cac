"""From a spec to a Job's body, and what can't be honoured."""

import base64
import json
import math
import random
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from hypothesis import example, given
from hypothesis import strategies as st

from engines.kubernetes import record
from engines.kubernetes.manifest import escape, make_job, name_violations, violations
from engines.kubernetes.settings import Settings
from jobengine.v1 import job_pb2
from jobengine.v1.job_pb2 import EmptyDirectory, JobSpec, Mount, Resources, SecretReference
from tests.engines.kubernetes.specs import IMAGE, an_intent, image_spec

ALLOWING = Settings(engine_options=True)
LONG_NAME = "a" * 253


def options(value: dict[str, Any]) -> Struct:
    return ParseDict(value, Struct())


def body_of(spec: JobSpec, settings: Settings | None = None, name: str = "job") -> dict[str, Any]:
    settings = settings or Settings()
    return make_job(an_intent(spec, name, settings), spec, settings)


def job_of(spec: JobSpec, settings: Settings | None = None) -> dict[str, Any]:
    job: dict[str, Any] = body_of(spec, settings)["spec"]
    return job


def pod_of(spec: JobSpec, settings: Settings | None = None) -> dict[str, Any]:
    pod: dict[str, Any] = job_of(spec, settings)["template"]["spec"]
    return pod


def container_of(spec: JobSpec, settings: Settings | None = None) -> dict[str, Any]:
    (container,) = pod_of(spec, settings)["containers"]
    assert container["name"] == "job"
    return dict(container)


def wrong_fields(spec: JobSpec, settings: Settings | None = None) -> list[str]:
    return [each.field for each in violations(spec, settings or Settings())]


def seconds(value: float) -> Duration:
    return Duration(seconds=int(value), nanos=round(value % 1 * 1e9))


# -- the Job ----------------------------------------------------------------------------------


def test_what_is_created() -> None:
    body = body_of(image_spec(labels={"team": "blue"}, annotations={"note": "yes"}))
    assert (body["apiVersion"], body["kind"]) == ("batch/v1", "Job")
    metadata = body["metadata"]
    assert metadata["name"] == "job"
    labels = {"team": "blue", record.MANAGED_BY: record.MANAGER, record.JOB: "job"}
    assert metadata["labels"] == labels
    assert set(metadata["annotations"]) == {"note", record.INTENT, record.SPEC}
    assert json.loads(json.dumps(body)) == body


def test_pods_have_the_labels_and_the_annotations_of_the_caller() -> None:
    body = body_of(image_spec(labels={"team": "blue"}, annotations={"note": "yes"}))
    template = body["spec"]["template"]["metadata"]
    assert template["labels"] == body["metadata"]["labels"]
    assert template["annotations"] == {"note": "yes"}


def test_what_is_kept_is_read_again() -> None:
    spec = image_spec(labels={"team": "blue"}, annotations={record.INTENT: "{}"})
    body = body_of(spec)
    stored = {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    job = {"metadata": {**body["metadata"], **stored}}
    assert record.read_intent(job) == an_intent(spec)._replace(uid="u")
    assert record.read_spec(job) == spec


def test_labels_of_a_queue_go_onto_job_and_pods_as_they_are() -> None:
    queue = {"kueue.x-k8s.io/queue-name": "team-queue"}
    body = body_of(image_spec(labels=queue))
    assert body["metadata"]["labels"].items() >= queue.items()
    assert body["spec"]["template"]["metadata"]["labels"].items() >= queue.items()
    assert "suspend" not in body["spec"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"completionMode": "NonIndexed", "completions": 1, "parallelism": 1}),
        ({"completions": 1}, {"completionMode": "NonIndexed", "completions": 1, "parallelism": 1}),
        ({"completions": 3}, {"completionMode": "Indexed", "completions": 3, "parallelism": 1}),
        (
            {"completions": 3, "parallelism": 2},
            {"completionMode": "Indexed", "completions": 3, "parallelism": 2},
        ),
        ({}, {"backoffLimit": 0}),
        ({"max_retries": 7}, {"backoffLimit": 7}),
        ({}, {"podReplacementPolicy": "Failed"}),
    ],
)
def test_counts(fields: dict[str, int], expected: dict[str, Any]) -> None:
    assert job_of(image_spec(**fields)).items() >= expected.items()


def test_disruptions_are_no_failures() -> None:
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    rules = [{"action": "Ignore", "onPodConditions": disrupted}]
    assert job_of(image_spec())["podFailurePolicy"] == {"rules": rules}


@pytest.mark.parametrize(
    ("timeout", "start_timeout", "deadline"),
    [
        (None, None, None),
        (None, 5.0, None),
        (10.0, None, 70),  # the server's default
        (10.0, 5.0, 15),
        (10.2, 5.0, 16),
        (0.2, 0.3, 1),
        (0.0, 0.0, 1),
    ],
)
def test_deadline(timeout: float | None, start_timeout: float | None, deadline: int | None) -> None:
    spec = image_spec(
        timeout=None if timeout is None else seconds(timeout),
        start_timeout=None if start_timeout is None else seconds(start_timeout),
    )
    job = job_of(spec, Settings(default_start_timeout=60.0))
    assert job.get("activeDeadlineSeconds") == deadline


def test_no_deadline_where_it_may_wait_for_ever() -> None:
    job = job_of(image_spec(timeout=seconds(9)), Settings(default_start_timeout=None))
    assert "activeDeadlineSeconds" not in job


def test_kubernetes_removes_nothing_by_itself() -> None:
    job = job_of(image_spec(ttl_after_finished=seconds(0)))
    assert "ttlSecondsAfterFinished" not in job


# -- the pod ----------------------------------------------------------------------------------


def test_safe_defaults() -> None:
    pod = pod_of(image_spec())
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["shareProcessNamespace"] is True
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    dropped = ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SETPCAP"]
    assert container_of(image_spec())["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": dropped},
        "privileged": False,
    }


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        (Settings(), "serviceAccountName", None),
        (Settings(service_account="runner"), "serviceAccountName", "runner"),
        (Settings(), "nodeSelector", None),
        (Settings(node_selector={"pool": "batch"}), "nodeSelector", {"pool": "batch"}),
        (Settings(), "terminationGracePeriodSeconds", 10),
        (Settings(grace_seconds=0.2), "terminationGracePeriodSeconds", 1),
        (Settings(grace_seconds=0.0), "terminationGracePeriodSeconds", 0),
    ],
)
def test_settings(settings: Settings, key: str, value: object) -> None:
    assert pod_of(image_spec(), settings).get(key) == value


@pytest.mark.parametrize(("name", "expected"), [("", None), ("hub", [{"name": "hub"}])])
def test_pull_secret(name: str, expected: object) -> None:
    assert pod_of(image_spec(image_pull_secret=name)).get("imagePullSecrets") == expected


# -- the container ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "key", "value"),
    [
        ({}, "image", IMAGE),
        ({}, "command", None),  # the image's own
        ({}, "args", None),
        ({"command": ["a", "b"]}, "command", ["a", "b"]),
        ({"command": ["a$(B)"]}, "command", ["a$$(B)"]),
        ({"args": ["c", ""]}, "args", ["c", ""]),
        ({"args": ["$(C)"]}, "args", ["$$(C)"]),
        ({}, "workingDir", None),
        ({"working_dir": "/w/$(D)"}, "workingDir", "/w/$(D)"),  # is not expanded
        ({}, "imagePullPolicy", None),
        ({"image_pull_policy": job_pb2.IMAGE_PULL_POLICY_ALWAYS}, "imagePullPolicy", "Always"),
        (
            {"image_pull_policy": job_pb2.IMAGE_PULL_POLICY_IF_NOT_PRESENT},
            "imagePullPolicy",
            "IfNotPresent",
        ),
        ({"image_pull_policy": job_pb2.IMAGE_PULL_POLICY_NEVER}, "imagePullPolicy", "Never"),
        ({}, "resources", None),
        ({}, "volumeMounts", None),
    ],
)
def test_fields(fields: dict[str, Any], key: str, value: object) -> None:
    assert container_of(image_spec(**fields)).get(key) == value


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (Resources(cpu_millis=250), {"requests": {"cpu": "250m"}, "limits": {"cpu": "250m"}}),
        (
            Resources(memory_bytes=1 << 50),
            {"requests": {"memory": str(1 << 50)}, "limits": {"memory": str(1 << 50)}},
        ),
        (Resources(gpu_count=2), {"limits": {"nvidia.com/gpu": "2"}}),
        (
            Resources(cpu_millis=1, gpu_count=1),
            {"requests": {"cpu": "1m"}, "limits": {"cpu": "1m", "nvidia.com/gpu": "1"}},
        ),
    ],
)
def test_resources(resources: Resources, expected: dict[str, Any]) -> None:
    assert container_of(image_spec(resources=resources))["resources"] == expected


def test_gpus_have_the_name_that_the_cluster_gives_them() -> None:
    settings = Settings(gpu_resource="amd.com/gpu")
    container = container_of(image_spec(resources=Resources(gpu_count=1)), settings)
    assert container["resources"] == {"limits": {"amd.com/gpu": "1"}}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("0", {"runAsUser": 0}),
        ("7:8", {"runAsUser": 7, "runAsGroup": 8}),
        ("2147483647:0", {"runAsUser": 2147483647, "runAsGroup": 0}),
    ],
)
def test_user(user: str, expected: dict[str, int]) -> None:
    security = container_of(image_spec(user=user))["securityContext"]
    assert {key: security[key] for key in security if key.startswith("runAs")} == expected


def test_environment_is_sorted_and_has_the_number() -> None:
    spec = image_spec(
        env={"Z": "", "A": "1", "B": "x=y\n$(A)"},
        secret_env={"S": SecretReference(name="store", key="the.key")},
    )
    reference = {"name": "store", "key": "the.key"}
    assert container_of(spec)["env"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "x=y\n$$(A)"},
        {"name": "JOB_COMPLETION_INDEX", "value": "0"},
        {"name": "S", "valueFrom": {"secretKeyRef": reference}},
        {"name": "Z", "value": ""},
    ]


@pytest.mark.parametrize(
    ("completions", "expected"), [(1, [{"name": "JOB_COMPLETION_INDEX", "value": "0"}]), (2, [])]
)
@pytest.mark.parametrize("field", ["env", "secret_env"])
def test_own_variables_cannot_be_overridden(
    completions: int, expected: list[dict[str, str]], field: str
) -> None:
    """With several instances, Kubernetes sets it, but not over one that is there."""
    spec = image_spec(completions=completions)
    if field == "env":
        spec.env["JOB_COMPLETION_INDEX"] = "9"
    else:
        spec.secret_env["JOB_COMPLETION_INDEX"].name = "s"
    assert container_of(spec)["env"] == expected


@pytest.mark.parametrize(
    ("mount", "source"),
    [
        (Mount(volume="data"), {"persistentVolumeClaim": {"claimName": "data"}}),
        (Mount(host_path="/srv/x"), {"hostPath": {"path": "/srv/x"}}),
        (Mount(secret="s"), {"secret": {"secretName": "s"}}),
        (Mount(config_map="c"), {"configMap": {"name": "c"}}),
        (Mount(empty_directory=EmptyDirectory()), {"emptyDir": {}}),
        (Mount(empty_directory=EmptyDirectory(memory=True)), {"emptyDir": {"medium": "Memory"}}),
        (
            Mount(empty_directory=EmptyDirectory(memory=True, size_bytes=7)),
            {"emptyDir": {"medium": "Memory", "sizeLimit": "7"}},
        ),
        (Mount(empty_directory=EmptyDirectory(size_bytes=7)), {"emptyDir": {"sizeLimit": "7"}}),
    ],
)
@pytest.mark.parametrize("read_only", [False, True])
def test_mounts(mount: Mount, source: dict[str, Any], read_only: bool) -> None:
    mount.target, mount.read_only = "/m", read_only
    spec = image_spec(mounts=[mount])
    (volume,) = pod_of(spec)["volumes"]
    (mounted,) = container_of(spec)["volumeMounts"]
    assert volume == {"name": mounted["name"], **source}
    assert mounted == {"name": volume["name"], "mountPath": "/m", "readOnly": read_only}


def test_several_mounts_keep_their_order() -> None:
    spec = image_spec(mounts=[Mount(target=f"/{i}", volume="same") for i in range(3)])
    mounted = container_of(spec)["volumeMounts"]
    assert [each["mountPath"] for each in mounted] == ["/0", "/1", "/2"]
    names = [each["name"] for each in mounted]
    assert [each["name"] for each in pod_of(spec)["volumes"]] == names
    assert len(set(names)) == 3


# -- what Kubernetes expands ------------------------------------------------------------------


def expand(text: str, variables: dict[str, str], *, damaging: bool = False) -> str:
    """What a kubelet makes of a text: Expand of k8s.io/kubernetes/third_party/forked/golang/
    expansion. Old ones damage: they take a byte after "$" for a character."""
    data, result, at = text.encode(), b"", 0
    while at < len(data):
        following = data[at + 1 : at + 2]
        if data[at : at + 1] != b"$" or not following:
            result += data[at : at + 1]
            at += 1
        elif following == b"(" and (end := data.find(b")", at)) != -1:
            name = data[at + 2 : end].decode()
            result += variables.get(name, f"$({name})").encode()
            at = end + 1
        else:
            taken = chr(following[0]).encode() if damaging else following
            result += b"$" if following == b"$" else b"$" + taken
            at += 2
    return result.decode(errors="replace")


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(X)", "value"),
        ("$$(X)", "$(X)"),
        ("$$$(X)", "$value"),
        ("$(Y)", "$(Y)"),
        ("$(X", "$(X"),
        ("$$", "$"),
        ("a$", "a$"),
        ("$X", "$X"),
    ],
)
@pytest.mark.parametrize("damaging", [False, True])
def test_the_model_of_expansion(text: str, expanded: str, damaging: bool) -> None:
    assert expand(text, {"X": "value"}, damaging=damaging) == expanded


def test_letters_that_old_kubelets_damage() -> None:
    """As Go's string(byte) does; 1.34.4 was seen to leave them alone."""
    assert expand("$é", {}) == "$é"
    assert expand("$é", {}, damaging=True) == "$\u00c3\ufffd"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("", ""),
        ("$", "$"),
        ("a$", "a$"),
        ("$X", "$X"),
        ("${X}", "${X}"),
        ("$ (X)", "$ (X)"),
        ("$(X)", "$$(X)"),
        ("$(", "$$("),
        ("$()", "$$()"),
        ("$((1 + 2))", "$$((1 + 2))"),
        ("$$", "$$$"),
        ("$$$", "$$$$$"),
        ("$$(X)", "$$$$(X)"),
        ("$$a", "$$$a"),
        ("a$(b)c$(d)", "a$$(b)c$$(d)"),
        ("$a$(b)", "$a$$(b)"),
        ("$é", "$$é"),
    ],
)
def test_escaping(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert expand(escaped, {"X": "value"}) == text


@given(st.text("$()Xé a", max_size=12) | st.text(st.characters(codec="utf-8"), max_size=20))
@example("$$$$((X))$")
def test_texts_arrive_as_they_are(text: str) -> None:
    variables = {"X": "value", "": "nothing", "a": "b"}
    assert expand(escape(text), variables) == text
    assert expand(escape(text), variables, damaging=True) == text


# -- what can't be honoured -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (JobSpec(command=["true"]), "spec.image"),
        (JobSpec(image="no image"), "spec.image"),
        (JobSpec(image="-v"), "spec.image"),
        (JobSpec(image="a\n"), "spec.image"),
        (image_spec(engine_options=Struct()), "spec.engine_options"),
        (image_spec(completions=100_001), "spec.completions"),
        (
            image_spec(resources=Resources(memory_bytes=(4 << 20) - 1)),
            "spec.resources.memory_bytes",
        ),
        (image_spec(env={"é": ""}), "spec.env['é']"),
        (image_spec(env={"a\tb": ""}), "spec.env['a\\tb']"),
        (image_spec(env={"a\n": ""}), "spec.env['a\\n']"),
        (image_spec(env={"a\x7f": ""}), "spec.env['a\\x7f']"),
        (image_spec(env={"a=b": ""}), "spec.env['a=b']"),
        (
            image_spec(secret_env={"é": SecretReference(name="s", key="k")}),
            "spec.secret_env['é']",
        ),
        (
            image_spec(secret_env={"S": SecretReference(name="s_s", key="k")}),
            "spec.secret_env['S'].name",
        ),
        (
            image_spec(secret_env={"S": SecretReference(name=f"{LONG_NAME}a", key="k")}),
            "spec.secret_env['S'].name",
        ),
        (
            image_spec(secret_env={"S": SecretReference(name="s", key="a b")}),
            "spec.secret_env['S'].key",
        ),
        (
            image_spec(secret_env={"S": SecretReference(name="s", key="k\n")}),
            "spec.secret_env['S'].key",
        ),
        (
            image_spec(secret_env={"S": SecretReference(name="s", key=f"{LONG_NAME}a")}),
            "spec.secret_env['S'].key",
        ),
        (
            image_spec(secret_env={"S": SecretReference(name="s", key=".")}),
            "spec.secret_env['S'].key",
        ),
        (
            image_spec(secret_env={"S": SecretReference(name="s", key="..k")}),
            "spec.secret_env['S'].key",
        ),
        (image_spec(image_pull_secret="Upper"), "spec.image_pull_secret"),
        (image_spec(image_pull_secret="a..b"), "spec.image_pull_secret"),
        (image_spec(user="root"), "spec.user"),
        (image_spec(user="1:users"), "spec.user"),
        (image_spec(user="1:"), "spec.user"),
        (image_spec(user="1\n"), "spec.user"),
        (image_spec(user="٣"), "spec.user"),
        (image_spec(user="2147483648"), "spec.user"),
        (image_spec(user="1:2147483648"), "spec.user"),
        (image_spec(user="9" * 5000), "spec.user"),
        (
            image_spec(labels={"app.kubernetes.io/managed-by": "me"}),
            "spec.labels['app.kubernetes.io/managed-by']",
        ),
        (image_spec(labels={"job-name": "x"}), "spec.labels['job-name']"),
        (image_spec(labels={"controller-uid": "x"}), "spec.labels['controller-uid']"),
        (
            image_spec(labels={"batch.kubernetes.io/job-name": "x"}),
            "spec.labels['batch.kubernetes.io/job-name']",
        ),
        (image_spec(labels={"jobengine.dev/job": "x"}), "spec.labels['jobengine.dev/job']"),
        (
            image_spec(annotations={"jobengine.dev/end": "x"}),
            "spec.annotations['jobengine.dev/end']",
        ),
        (
            image_spec(annotations={"container.apparmor.security.beta.kubernetes.io/job": "x"}),
            "spec.annotations['container.apparmor.security.beta.kubernetes.io/job']",
        ),
        (
            image_spec(annotations={"kubernetes.io/egress-bandwidth": "1"}),
            "spec.annotations['kubernetes.io/egress-bandwidth']",
        ),
        (image_spec(annotations={"node.k8s.io/x": "1"}), "spec.annotations['node.k8s.io/x']"),
    ],
)
def test_what_it_cannot_do(spec: JobSpec, field: str) -> None:
    assert wrong_fields(spec) == [field]


@pytest.mark.parametrize(
    "spec",
    [
        image_spec(),
        JobSpec(image="registry.example:5000/team/app@sha256:" + "a" * 64),
        image_spec(completions=100_000, parallelism=100_000, max_retries=2**31 - 1),
        image_spec(env={"a b": "", "1!~": "", "A.b-c": ""}),
        image_spec(secret_env={"S": SecretReference(name=LONG_NAME, key="_" + "a" * 252)}),
        image_spec(secret_env={"S": SecretReference(name="1.a-b", key=".a..")}),
        image_spec(image_pull_secret="hub.example"),
        image_spec(user="0"),
        image_spec(user="2147483647:2147483647"),
        image_spec(labels={"app.kubernetes.io/name": "x", "job-names": "x"}),
        image_spec(annotations={"note": "", "kueue.x-k8s.io/x": "1", "my-kubernetes.io/x": "1"}),
        image_spec(resources=Resources(cpu_millis=1, memory_bytes=4 << 20, gpu_count=1)),
    ],
)
def test_what_it_can_do(spec: JobSpec) -> None:
    assert wrong_fields(spec) == []


def test_everything_wrong_is_told_at_once() -> None:
    spec = image_spec(
        completions=200_000,
        parallelism=200_000,
        env={"é": ""},
        user="me",
        mounts=[Mount(target="/a", volume="ok"), Mount(target="/", secret="S")],
        image_pull_secret="S",
        labels={"job-name": "x"},
        annotations={"jobengine.dev/x": ""},
    )
    assert wrong_fields(spec) == [
        "spec.completions",
        "spec.parallelism",
        "spec.env['é']",
        "spec.user",
        "spec.mounts[1].secret",
        "spec.mounts[1].target",
        "spec.image_pull_secret",
        "spec.labels['job-name']",
        "spec.annotations['jobengine.dev/x']",
    ]


@pytest.mark.parametrize(
    ("mount", "field"),
    [
        (Mount(volume="Data"), "volume"),
        (Mount(volume="../x"), "volume"),
        (Mount(volume="a_b"), "volume"),
        (Mount(volume="data\n"), "volume"),
        (Mount(volume=f"{LONG_NAME}a"), "volume"),
        (Mount(secret="a/b"), "secret"),
        (Mount(config_map="-c"), "config_map"),
        (Mount(host_path="/etc"), "host_path"),
    ],
)
def test_mounts_that_are_refused(mount: Mount, field: str) -> None:
    mount.target = "/m"
    assert wrong_fields(image_spec(mounts=[mount])) == [f"spec.mounts[0].{field}"]


@pytest.mark.parametrize(
    "mount",
    [
        Mount(volume="1.data-a"),
        Mount(volume=LONG_NAME),
        Mount(secret="s"),
        Mount(config_map="c"),
        Mount(empty_directory=EmptyDirectory(size_bytes=1)),
    ],
)
def test_mounts_that_are_taken(mount: Mount) -> None:
    mount.target = "/m"
    assert wrong_fields(image_spec(mounts=[mount])) == []


@pytest.mark.parametrize("target", ["/", "//", "/.", "/..", "/a/..", "/a:b", ":", "/a/b:"])
def test_targets_that_are_refused(target: str) -> None:
    spec = image_spec(mounts=[Mount(target=target, volume="data")])
    assert wrong_fields(spec) == ["spec.mounts[0].target"]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("/a", "/a", True),
        ("/a", "/a/", True),
        ("/a", "//a", True),
        ("/a/b", "/a/./b", True),
        ("/a/b", "/a/c/../b", True),
        ("/a", "/a/b", False),
        ("/a", "/ab", False),
    ],
)
def test_two_mounts_at_one_target(first: str, second: str, same: bool) -> None:
    spec = image_spec(mounts=[Mount(target=each, volume="data") for each in (first, second)])
    assert wrong_fields(spec) == (["spec.mounts[1].target"] if same else [])


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/srv/data", True),
        ("/srv/data/", True),
        ("/srv/data/in/it", True),
        ("/srv//data/x", True),
        ("/other/x", True),
        ("/srv/data/../data/in", False),
        ("/srv/data/in/..", False),
        ("/srv/data-too", False),
        ("/srv", False),
        ("/", False),
        ("//srv/data", False),
        ("srv/data", False),
    ],
)
def test_host_paths(path: str, allowed: bool) -> None:
    settings = Settings(host_paths=("/srv/data", "/other/"))
    spec = image_spec(mounts=[Mount(target="/m", host_path=path)])
    assert wrong_fields(spec, settings) == ([] if allowed else ["spec.mounts[0].host_path"])


def noise(size: int) -> str:
    """A text that can't be compressed much."""
    return base64.b64encode(random.Random(size).randbytes(size)).decode()


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        (image_spec(args=["x" * 1_000_000]), True),
        (image_spec(args=[noise(170_000)]), True),
        (image_spec(args=[noise(190_000)]), False),
        (image_spec(annotations={"note": "x" * 230_000}), True),
        (image_spec(annotations={"note": "x" * 250_000}), False),
        (image_spec(annotations={f"n{i}": "x" * 62_000 for i in range(4)}), False),
    ],
)
def test_room_for_annotations(spec: JobSpec, taken: bool) -> None:
    assert wrong_fields(spec) == ([] if taken else ["spec"])


@pytest.mark.parametrize(
    ("completions", "length", "taken"),
    [
        (0, 63, True),
        (1, 63, True),
        (2, 61, True),
        (2, 62, False),
        (10, 61, True),
        (11, 60, True),
        (11, 61, False),
        (100_000, 57, True),
        (100_000, 58, False),
    ],
)
def test_names_of_jobs_with_several_instances(completions: int, length: int, taken: bool) -> None:
    found = name_violations("a" * length, image_spec(completions=completions))
    assert [each.field for each in found] == ([] if taken else ["name"])


# -- engine_options ---------------------------------------------------------------------------


def patched(patch: dict[str, Any], **fields: Any) -> JobSpec:
    return image_spec(engine_options=options(patch), **fields)


def in_container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "job", **fields}]}}


@pytest.mark.parametrize(
    "patch",
    [
        {},
        {"metadata": {}, "spec": {}},
        {"spec": {"containers": []}},
        {"spec": {"tolerations": []}},
    ],
)
def test_options_that_say_nothing(patch: dict[str, Any]) -> None:
    spec = patched(patch)
    assert wrong_fields(spec, ALLOWING) == []
    pod = pod_of(spec)
    pod.pop("tolerations", None)
    assert pod == pod_of(image_spec())


def test_options_that_are_added() -> None:
    spec = patched(
        {
            "metadata": {"labels": {"a": "b"}, "annotations": {"kubernetes.io/c": "d"}},
            "spec": {
                "priorityClassName": "low",
                "tolerations": [{"key": "gpu", "effect": "NoExecute", "tolerationSeconds": 60.0}],
                "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
                "initContainers": [{"name": "first", "image": "x"}],
                "containers": [
                    {
                        "name": "job",
                        "env": [{"name": "NODE", "value": "$(A)"}],
                        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
                        "resources": {"limits": {"example.com/fpga": "1"}},
                    },
                    {"name": "beside", "image": "y"},
                ],
            },
        },
        labels={"team": "blue"},
        env={"A": "1"},
        resources=Resources(cpu_millis=10),
        mounts=[Mount(target="/m", volume="v")],
    )
    assert wrong_fields(spec, ALLOWING) == []
    template = job_of(spec)["template"]
    assert template["metadata"]["labels"].items() >= {"a": "b", "team": "blue"}.items()
    assert template["metadata"]["annotations"] == {"kubernetes.io/c": "d"}
    pod = template["spec"]
    assert pod["priorityClassName"] == "low"
    assert repr(pod["tolerations"][0]["tolerationSeconds"]) == "60"
    assert [each["name"] for each in pod["volumes"]] == ["mount-0", "shm"]
    assert [each["name"] for each in pod["containers"]] == ["job", "beside"]
    job = pod["containers"][0]
    assert [each["name"] for each in job["env"]] == ["A", "JOB_COMPLETION_INDEX", "NODE"]
    assert [each["mountPath"] for each in job["volumeMounts"]] == ["/m", "/dev/shm"]
    assert job["resources"]["limits"] == {"cpu": "10m", "example.com/fpga": "1"}


def test_the_job_itself_has_nothing_of_the_options() -> None:
    spec = patched({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
    metadata = body_of(spec)["metadata"]
    assert "a" not in metadata["labels"]
    assert "c" not in metadata["annotations"]


@pytest.mark.parametrize(
    ("patch", "key", "value"),
    [
        ({"enableServiceLinks": True}, "enableServiceLinks", True),
        ({"automountServiceAccountToken": True}, "automountServiceAccountToken", True),
        ({"shareProcessNamespace": False}, "shareProcessNamespace", False),
        ({"terminationGracePeriodSeconds": 60}, "terminationGracePeriodSeconds", 60),
        ({"securityContext": None}, "securityContext", None),
        (
            {"securityContext": {"fsGroup": 7}},
            "securityContext",
            {"fsGroup": 7, "seccompProfile": {"type": "RuntimeDefault"}},
        ),
        ({"serviceAccountName": "runner"}, "serviceAccountName", "runner"),
        ({"nodeSelector": {"a": "b"}}, "nodeSelector", {"a": "b"}),
    ],
)
def test_defaults_that_options_override(patch: dict[str, Any], key: str, value: object) -> None:
    spec = patched({"spec": patch})
    assert wrong_fields(spec, ALLOWING) == []
    assert pod_of(spec).get(key) == value


@pytest.mark.parametrize(
    ("patch", "key", "value"),
    [
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation", True),
        (
            {"capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE"]}},
            "capabilities",
            {"drop": ["ALL"], "add": ["SYS_PTRACE"]},
        ),
        ({"runAsNonRoot": True}, "runAsNonRoot", True),
    ],
)
def test_security_that_options_override(patch: dict[str, Any], key: str, value: object) -> None:
    spec = patched(in_container(securityContext=patch))
    assert wrong_fields(spec, ALLOWING) == []
    assert container_of(spec)["securityContext"][key] == value


FULL = image_spec(
    command=["a"],
    args=["b"],
    working_dir="/w",
    user="1:2",
    env={"A": "1"},
    secret_env={"S": SecretReference(name="s", key="k")},
    resources=Resources(cpu_millis=10, memory_bytes=7 << 20, gpu_count=1),
    mounts=[Mount(target="/m", volume="v")],
    labels={"team": "blue"},
    annotations={"note": "x"},
    image_pull_secret="hub",
    image_pull_policy=job_pb2.IMAGE_PULL_POLICY_ALWAYS,
)
OPERATED = Settings(engine_options=True, service_account="runner", node_selector={"pool": "batch"})
JOB = "spec.containers[job]"


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"kind": "Pod"}, "kind"),
        ({"metadata": {"name": "x"}}, "metadata.name"),
        ({"metadata": {"finalizers": ["x"]}}, "metadata.finalizers"),
        ({"metadata": {"labels": {"team": "red"}}}, "metadata.labels.team"),
        ({"metadata": {"labels": {"job-name": "x"}}}, "metadata.labels[job-name]"),
        ({"metadata": {"labels": {record.JOB: None}}}, f"metadata.labels.{record.JOB}"),
        ({"metadata": {"annotations": {"note": None}}}, "metadata.annotations.note"),
        (
            {"metadata": {"annotations": {record.STOP: "{}"}}},
            f"metadata.annotations[{record.STOP}]",
        ),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": {"labels": "x"}}, "metadata.labels"),
        ({"metadata": {"annotations": None}}, "metadata.annotations"),
        ({"spec": None}, "spec"),
        ({"spec": "x"}, "spec"),
        ({"spec": {"restartPolicy": "Always"}}, "spec.restartPolicy"),
        ({"spec": {"serviceAccountName": "admin"}}, "spec.serviceAccountName"),
        ({"spec": {"nodeSelector": {"pool": "x"}}}, "spec.nodeSelector.pool"),
        ({"spec": {"containers": None}}, "spec.containers"),
        ({"spec": {"containers": "x"}}, "spec.containers"),
        ({"spec": {"containers": [{"$patch": "replace"}]}}, JOB),
        ({"spec": {"containers": [{"$patch": "delete", "name": "job"}]}}, JOB),
        ({"spec": {"volumes": [{"$patch": "delete", "name": "mount-0"}]}}, "spec.volumes[mount-0]"),
        (
            {"spec": {"imagePullSecrets": [{"$patch": "delete", "name": "hub"}]}},
            "spec.imagePullSecrets[hub]",
        ),
        (in_container(image="x"), f"{JOB}.image"),
        (in_container(command=["x"]), f"{JOB}.command"),
        (in_container(args=["x"]), f"{JOB}.args"),
        (in_container(workingDir="/"), f"{JOB}.workingDir"),
        (in_container(imagePullPolicy="Never"), f"{JOB}.imagePullPolicy"),
        (in_container(restartPolicy="OnFailure"), f"{JOB}.restartPolicy"),
        (in_container(restartPolicyRules=[]), f"{JOB}.restartPolicyRules"),
        (in_container(env=[{"name": "A", "value": "2"}]), f"{JOB}.env[A].value"),
        (in_container(env=[{"name": "S", "valueFrom": None}]), f"{JOB}.env[S].valueFrom"),
        (
            in_container(env=[{"name": "JOB_COMPLETION_INDEX", "value": "2"}]),
            f"{JOB}.env[JOB_COMPLETION_INDEX].value",
        ),
        (in_container(securityContext={"privileged": True}), f"{JOB}.securityContext.privileged"),
        (in_container(securityContext={"runAsUser": 0}), f"{JOB}.securityContext.runAsUser"),
        (in_container(securityContext={"runAsGroup": 0}), f"{JOB}.securityContext.runAsGroup"),
        (in_container(resources={"limits": {"cpu": "1"}}), f"{JOB}.resources.limits.cpu"),
        (in_container(resources={"requests": {"memory": 1}}), f"{JOB}.resources.requests.memory"),
        (
            in_container(resources={"limits": {"nvidia.com/gpu": "2"}}),
            f"{JOB}.resources.limits.nvidia.com/gpu",
        ),
        (
            in_container(volumeMounts=[{"mountPath": "/m", "readOnly": True}]),
            f"{JOB}.volumeMounts[/m].readOnly",
        ),
        # Patches that are none.
        ({"spec": {"$patch": "merge"}}, "spec.$patch"),
        ({"spec": {"$retainKeys": []}}, "spec.$retainKeys"),
        ({"spec": {"containers": [{"tty": True}]}}, "spec.containers[0]"),
        ({"spec": {"containers": ["x"]}}, "spec.containers[0]"),
    ],
)
def test_options_that_are_refused(patch: dict[str, Any], path: str) -> None:
    spec = JobSpec.FromString(FULL.SerializeToString())
    assert wrong_fields(spec, OPERATED) == []
    spec.engine_options.CopyFrom(options(patch))
    assert wrong_fields(spec, OPERATED) == [f"spec.engine_options.{path}"]


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        (in_container(command=["x"]), f"{JOB}.command"),
        (in_container(args=["x"]), f"{JOB}.args"),
        (
            in_container(env=[{"name": "JOB_COMPLETION_INDEX", "value": "2"}]),
            f"{JOB}.env[JOB_COMPLETION_INDEX]",
        ),
    ],
)
def test_options_that_are_refused_where_the_spec_says_nothing(
    patch: dict[str, Any], path: str
) -> None:
    spec = patched(patch, completions=2)
    assert wrong_fields(spec, ALLOWING) == [f"spec.engine_options.{path}"]


def test_every_option_that_is_refused_is_told() -> None:
    patch = in_container(image="x", command=["y"])
    patch["spec"]["restartPolicy"] = "Always"
    assert wrong_fields(patched(patch), ALLOWING) == [
        "spec.engine_options.spec.restartPolicy",
        f"spec.engine_options.{JOB}.image",
        f"spec.engine_options.{JOB}.command",
    ]


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_has_not(number: float) -> None:
    spec = image_spec()
    spec.engine_options.fields["spec"].struct_value.fields["x"].number_value = number
    assert wrong_fields(spec, ALLOWING) == ["spec.engine_options"]


def test_whole_numbers_stay_whole() -> None:
    pod = pod_of(patched({"spec": {"x": [{"n": 1e9, "y": 0.5, "b": True, "z": "1"}]}}))
    assert repr(sorted(pod["x"][0].items())) == (
        "[('b', True), ('n', 1000000000), ('y', 0.5), ('z', '1')]"
    )
