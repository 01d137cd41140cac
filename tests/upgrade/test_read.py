"""What a release of format 1 wrote is read as it was meant, field by field."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from engines.docker import record as docker_record
from engines.docker.record import Claim, Labels, Owner
from engines.kubernetes import record as kubernetes_record
from engines.lifecycle.facts import Stop
from engines.local import record as local_record
from engines.local.log import FRAME, STDERR, STDOUT
from engines.local.record import Attempt, JobFile, Plan
from jobengine.v1.job_pb2 import JobSpec
from tests.upgrade.golden import golden
from tests.upgrade.make_golden import (
    CONTAINER,
    ENDED,
    NAMESPACE,
    STATUS,
    STOPPED,
    full_spec,
    kept_job,
)

INTENT = kept_job("job", full_spec()).intent
OTHERWISE = Stop("", 0.0, 0.0)


def test_local(tmp_path: Path) -> None:
    files = golden("local")["records"]["job"]
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    job = JobFile((tmp_path / "job").read_bytes())
    assert job.intent == INTENT
    assert JobSpec.FromString(job.spec) == full_spec()
    assert job.plan == Plan(
        ["/bin/sh", "-c", "echo \N{PILE OF POO}"],
        {"PATH": "/bin", "A": "1"},
        "/tmp",
        ["root", 0, 0],  # type: ignore[arg-type]  # JSON has no tuples
        500,
        1 << 26,
        1 << 20,
        90.5,
    )
    assert local_record.read_stop(str(tmp_path)) == STOPPED
    key = local_record.parse_attempt_name("2.1")
    assert key == (2, 1)
    found = local_record.parse_attempt(*key, (tmp_path / "2.1").read_bytes())
    assert found == Attempt(2, 1, 1767225601.5, 4242, 4343, ENDED)
    log = files["2.1.log.0000000000000000"].encode("latin-1")
    head = bytes(8)  # a time
    assert FRAME.unpack(head + log[:9]) == (0.0, STDOUT, 6)
    assert FRAME.unpack(head + log[15:24]) == (0.0, STDERR, 4)


def test_docker() -> None:
    labels, records = Labels(NAMESPACE), golden("docker")["records"]
    said = {kind: each[1] for kind, each in records.items()}
    for kind, (_, each) in records.items():
        assert labels.owner(each) == Owner(kind, "job", INTENT.uid)
    assert docker_record.read_job(said["job"]) == (INTENT, full_spec())
    assert docker_record.read_stop(said["stop"], OTHERWISE) == STOPPED
    assert docker_record.read_stop(said["delete"], OTHERWISE) == STOPPED
    assert docker_record.read_end(said["end"]) == STATUS
    assert docker_record.read_claim(said["claim"]) == ((2, 1), Claim(CONTAINER, "server"))
    name, run = records["run"]
    assert labels.run(run, f"/{name}") == (Owner("run", "job", INTENT.uid), (2, 1))


def a_job(**intent: Any) -> dict[str, Any]:
    """The golden Job as the API server tells it, with another intent."""
    records = golden("kubernetes")["records"]
    metadata = records["job"] | {"uid": INTENT.uid, "creationTimestamp": "2026-01-01T00:00:00Z"}
    said = metadata["annotations"]
    for kind in ("start", "stop", "end"):
        said |= records[kind]
    said["jobengine.dev/intent"] = json.dumps(json.loads(said["jobengine.dev/intent"]) | intent)
    return {"metadata": metadata}


def test_kubernetes() -> None:
    job = a_job()
    assert kubernetes_record.read_intent(job) == INTENT._replace(create_time=1767225600.0)
    assert kubernetes_record.read_spec(job) == full_spec()
    assert kubernetes_record.read_start(job) == 1767225601.5
    assert kubernetes_record.read_stop(job) == STOPPED
    assert kubernetes_record.read_end(job) == STATUS


@pytest.mark.parametrize("version", [0, 2, 1.5, "1", None, [], {"major": 1}, "x" * 1000])
def test_a_job_of_another_version_is_nobodys(version: object) -> None:
    kubernetes_record._tell_of_foreign.cache_clear()
    with capture_logs() as lines:
        for _ in range(3):
            assert kubernetes_record.read_intent(a_job(version=version)) is None
    (line,) = lines
    assert (line["job"], line["log_level"]) == ("job", "warning")
    assert json.dumps(version).startswith(line["version"])
    assert len(line["version"]) <= 20


def test_a_job_without_a_version_is_damaged() -> None:
    """All releases have written one."""
    job = a_job()
    said = job["metadata"]["annotations"]
    intent = json.loads(said["jobengine.dev/intent"])
    del intent["version"]
    said["jobengine.dev/intent"] = json.dumps(intent)
    assert kubernetes_record.read_intent(job) is None


@pytest.mark.parametrize("said", ["0", "2", "", "1 "])
def test_labels_of_another_format_are_nobodys(said: str) -> None:
    labels = Labels(NAMESPACE)
    for name, found in golden("docker")["records"].values():
        assert labels.owner(found | {"jobengine.dev/format": said}) is None
        assert labels.run(found | {"jobengine.dev/format": said}, name) is None
