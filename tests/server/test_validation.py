"""Validation: every wrong field is named, and a right one is let through."""

from collections.abc import Callable

import pytest

from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1 import job_pb2
from server import validation

LIMIT = 1024 * 1024

Change = Callable[[job_pb2.JobSpec], object]


def fields(request: api.CreateJobRequest) -> list[str]:
    return [violation.field for violation in validation.check_create(request, max_spec_bytes=LIMIT)]


def good_spec() -> job_pb2.JobSpec:
    spec = job_pb2.JobSpec(
        image="registry.example:5000/app:1",
        command=["sh", "-c"],
        args=["echo ü", ""],
        env={"A": "", "b.c-d": "x=y"},
        working_dir="/tmp",
        parallelism=2,
        completions=3,
        max_retries=1,
        user="1000:1000",
        labels={"app": "x", "example.com/part": ""},
        annotations={"note": "any text\nat all"},
        image_pull_policy=job_pb2.IMAGE_PULL_POLICY_ALWAYS,
    )
    spec.secret_env["PASSWORD"].CopyFrom(job_pb2.SecretReference(name="db", key="password"))
    spec.resources.cpu_millis = 500
    spec.timeout.FromSeconds(10)
    spec.start_timeout.FromMilliseconds(1500)
    spec.ttl_after_finished.FromSeconds(0)
    spec.mounts.add(target="/data", volume="v")
    spec.mounts.add(target="/tmp").empty_directory.memory = True
    spec.engine_options["a"] = {"b": [1, None, "c"]}
    return spec


def test_a_good_request_has_no_violations() -> None:
    request = api.CreateJobRequest(name="a-1", request_id="f3b1!~", spec=good_spec())
    assert fields(request) == []


@pytest.mark.parametrize(
    "name", ["A", "-a", "a-", "a.b", "a b", "ä", "a_b", "a\0", "x" * 64, "a/b", "..", "a\n"]
)
def test_bad_names(name: str) -> None:
    assert fields(api.CreateJobRequest(name=name, spec=good_spec())) == ["name"]
    assert [violation.field for violation in validation.check_name(name)] == ["name"]


def test_an_empty_name_is_made_for_create_and_refused_elsewhere() -> None:
    assert fields(api.CreateJobRequest(spec=good_spec())) == []
    assert [violation.field for violation in validation.check_name("")] == ["name"]


@pytest.mark.parametrize("request_id", ["a b", "x" * 129, "ü", "a\0", "\x7f"])
def test_bad_request_ids(request_id: str) -> None:
    assert fields(api.CreateJobRequest(request_id=request_id, spec=good_spec())) == ["request_id"]


def test_a_missing_spec() -> None:
    assert fields(api.CreateJobRequest(name="a")) == ["spec"]


def _enum(spec: job_pb2.JobSpec) -> None:
    spec.image_pull_policy = 77  # type: ignore[assignment]


def _unknown_field(spec: job_pb2.JobSpec) -> None:
    spec.MergeFromString(b"\xf8\x07\x01")


def _unknown_nested(spec: job_pb2.JobSpec) -> None:
    spec.resources.MergeFromString(b"\xf8\x07\x01")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda s: s.command.__setitem__(0, ""), "spec.command[0]"),
        (lambda s: s.command.append("a\0b"), "spec.command[2]"),
        (lambda s: s.args.append("\0"), "spec.args[2]"),
        (lambda s: s.args.append("x" * 131073), "spec.args[2]"),
        (lambda s: s.env.update({"": "x"}), "spec.env"),
        (lambda s: s.env.update({"A=B": "x"}), "spec.env['A=B']"),
        (lambda s: s.env.update({"A\0": "x"}), "spec.env['A\\x00']"),
        (lambda s: s.env.update({"A": "x\0"}), "spec.env['A']"),
        (lambda s: s.env.update({"JOB_COMPLETION_INDEX": "1"}), "spec.env['JOB_COMPLETION_INDEX']"),
        (lambda s: s.env.update({"PASSWORD": "1"}), "spec.secret_env['PASSWORD']"),
        (lambda s: s.secret_env["X"].MergeFrom(job_pb2.SecretReference(name="a")),
         "spec.secret_env['X'].key"),
        (lambda s: setattr(s, "image", "a\0"), "spec.image"),
        (lambda s: setattr(s, "image", " a"), "spec.image"),
        (lambda s: setattr(s, "working_dir", "tmp"), "spec.working_dir"),
        (lambda s: setattr(s, "parallelism", -1), "spec.parallelism"),
        (lambda s: setattr(s, "parallelism", 4), "spec.parallelism"),
        (lambda s: setattr(s, "completions", 2**31 - 1), "spec.completions"),
        (lambda s: setattr(s, "max_retries", -5), "spec.max_retries"),
        (lambda s: setattr(s.resources, "cpu_millis", -1), "spec.resources.cpu_millis"),
        (lambda s: setattr(s.resources, "memory_bytes", 2**63 - 1), "spec.resources.memory_bytes"),
        (lambda s: setattr(s.resources, "gpu_count", -1), "spec.resources.gpu_count"),
        (lambda s: s.timeout.FromSeconds(0), "spec.timeout"),
        (lambda s: s.timeout.FromSeconds(-1), "spec.timeout"),
        (lambda s: setattr(s.timeout, "seconds", 2**62), "spec.timeout"),
        (lambda s: setattr(s.timeout, "nanos", -1), "spec.timeout"),
        (lambda s: setattr(s.start_timeout, "nanos", 2**31 - 1), "spec.start_timeout"),
        (lambda s: s.ttl_after_finished.FromSeconds(-1), "spec.ttl_after_finished"),
        (lambda s: s.mounts.add(target="data", volume="v"), "spec.mounts[2].target"),
        (lambda s: s.mounts.add(target="/data"), "spec.mounts[2]"),
        (lambda s: s.mounts.add(target="/data", host_path="etc"), "spec.mounts[2].host_path"),
        (lambda s: s.mounts.add(target="/data", volume=""), "spec.mounts[2].volume"),
        (lambda s: setattr(s, "user", "root;id"), "spec.user"),
        (_enum, "spec.image_pull_policy"),
        (_unknown_field, "spec"),
        (_unknown_nested, "spec.resources"),
        (lambda s: s.labels.update({"a b": "x"}), "spec.labels['a b']"),
        (lambda s: s.labels.update({"a": "x" * 64}), "spec.labels['a']"),
        (lambda s: s.labels.update({"a": "b c"}), "spec.labels['a']"),
        (lambda s: s.labels.update({"jobengine.dev/owner": "me"}),
         "spec.labels['jobengine.dev/owner']"),
        (lambda s: s.annotations.update({"/x": "me"}), "spec.annotations['/x']"),
        (lambda s: s.annotations.update({"a": "x" * 262145}), "spec.annotations['a']"),
    ],
)  # fmt: skip
def test_each_bad_field_is_named(change: Change, field: str) -> None:
    spec = good_spec()
    change(spec)
    assert fields(api.CreateJobRequest(name="a", spec=spec)) == [field]


def test_all_wrong_fields_are_named_at_once() -> None:
    spec = job_pb2.JobSpec(command=["a\0"], parallelism=-1, env={"": ""})
    assert fields(api.CreateJobRequest(name="A", spec=spec)) == [
        "name",
        "spec.command[0]",
        "spec.env",
        "spec.parallelism",
    ]


def test_a_spec_of_5_mib() -> None:
    spec = job_pb2.JobSpec(command=["true"], env={"A": "x" * (5 * 1024 * 1024)})
    assert fields(api.CreateJobRequest(name="a", spec=spec)) == ["spec"]


def test_logs_requests() -> None:
    request = api.ReadLogsRequest(name="a", instance=-1, tail_lines=-1, cursor="x" * 2000)
    request.stream = 9  # type: ignore[assignment]
    assert [violation.field for violation in validation.check_logs(request)] == [
        "instance",
        "stream",
        "tail_lines",
        "cursor",
    ]


def test_list_requests() -> None:
    request = api.ListJobsRequest(page_size=-1, states=[1, 0, 99])  # type: ignore[list-item]
    violations = validation.check_list(request)
    assert [violation.field for violation in violations] == ["page_size", "states[1]", "states[2]"]


def test_stop_requests() -> None:
    request = api.CancelJobRequest(name="a")
    request.grace_period.FromSeconds(-1)
    assert [violation.field for violation in validation.check_stop(request)] == ["grace_period"]
