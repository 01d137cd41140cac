"""Labels and annotations: what is kept comes back, and what isn't ours stays somebody else's."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.base import Reason, State, Status
from engines.kubernetes import record
from engines.lifecycle import facts
from engines.lifecycle.facts import Intent, Stop
from jobengine.v1.job_pb2 import JobSpec
from tests.engines.kubernetes.objects import at
from tests.engines.kubernetes.specs import NEW_YEAR, UID, an_intent, shell

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SECONDS = st.integers(1, 4_000_000_000).map(float)
TIMES = st.floats(1, 4e9)
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
KEYS = TEXT.filter(lambda key: key not in {record.MANAGED_BY, record.JOB})
INTENTS = st.builds(
    Intent,
    name=NAMES,
    uid=st.uuids().map(str),
    request_id=TEXT,
    spec_hash=TEXT,
    create_time=SECONDS,
    labels=st.dictionaries(KEYS, TEXT, max_size=3),
    completions=st.integers(1, 100_000),
    parallelism=st.integers(1, 100_000),
    max_retries=st.integers(0, 100_000),
    timeout=st.none() | TIMES,
    start_timeout=st.none() | TIMES,
    ttl=st.none() | st.just(0.0) | TIMES,
)
SPECS = st.builds(
    JobSpec,
    image=TEXT,
    args=st.lists(TEXT, max_size=3),
    env=st.dictionaries(TEXT, TEXT, max_size=3),
)
COUNTS = st.none() | st.integers(1, 9)
STATUSES = st.builds(
    Status,
    active=COUNTS,
    succeed=COUNTS,
    failed=COUNTS,
    state=st.sampled_from(State),
    reason=st.sampled_from(Reason),
    message=TEXT,
    exit_code=st.none() | st.integers(0, 255),
    signal=st.integers(0, 64),
    create_time=st.none() | TIMES,
    start_time=st.none() | TIMES,
    end_time=st.none() | TIMES,
    retries=st.integers(0, 9),
)


def a_job(
    said: Mapping[str, str] | None = None,
    intent: Intent | None = None,
    spec: JobSpec | None = None,
) -> dict[str, Any]:
    """A Job as the API server keeps what was created, with further annotations."""
    intent = intent or an_intent()
    return {
        "metadata": {
            "name": intent.name,
            "uid": intent.uid,
            "creationTimestamp": at(intent.create_time),
            "labels": record.labels_of(intent),
            "annotations": record.annotations_of(intent, spec or shell("true")) | dict(said or {}),
        }
    }


@given(INTENTS, SPECS)
def test_jobs_round_trip(intent: Intent, spec: JobSpec) -> None:
    job = json.loads(json.dumps(a_job(intent=intent, spec=spec)))
    assert record.read_intent(job) == intent
    assert record.read_spec(job) == spec
    assert record.read_stop(job) is None
    assert record.read_end(job) is None


@given(st.builds(Stop, reason=TEXT, time=TIMES, grace=TIMES, message=TEXT))
def test_stops_round_trip(stop: Stop) -> None:
    assert record.read_stop(a_job(record.stop_annotation(stop))) == stop


@given(STATUSES)
def test_ends_round_trip(status: Status) -> None:
    assert record.read_end(a_job(record.end_annotation(status))) == status


def test_every_field_of_an_end_comes_back() -> None:
    full = Status(1, 2, 3, State.FAILED, Reason.SIGNALLED, "m", 4, 5, 6.0, 7.0, 8.0, 9)
    assert all(getattr(full, field.name) for field in fields(Status))
    found = record.read_end(a_job(record.end_annotation(full)))
    assert found == full
    assert isinstance(found.state, State)
    assert isinstance(found.reason, Reason)


def test_exit_code_0_is_no_missing_one() -> None:
    for code in (0, None):
        found = record.read_end(a_job(record.end_annotation(replace(Status(), exit_code=code))))
        assert found is not None
        assert found.exit_code == code


def test_all_annotations_together() -> None:
    stop, end = Stop(facts.CANCELLED, 5.0, 2.0, "why"), Status(state=State.CANCELLED)
    job = a_job(record.stop_annotation(stop) | record.end_annotation(end))
    assert record.read_intent(job) == an_intent()
    assert (record.read_stop(job), record.read_end(job)) == (stop, end)


@pytest.mark.parametrize("missing", [record.MANAGED_BY, record.JOB])
def test_a_job_without_one_of_our_labels_is_somebody_elses(missing: str) -> None:
    job = a_job()
    del job["metadata"]["labels"][missing]
    assert record.read_intent(job) is None


@pytest.mark.parametrize(
    "labels",
    [
        None,
        {},
        {record.MANAGED_BY: "Helm", record.JOB: "job"},
        {record.MANAGED_BY: record.MANAGER, record.JOB: "other"},
    ],
)
def test_other_labels_are_somebody_elses(labels: dict[str, str] | None) -> None:
    """One that was made as a copy of ours has the labels of ours, and another name."""
    job = a_job()
    job["metadata"]["labels"] = labels
    assert record.read_intent(job) is None


@pytest.mark.parametrize("annotations", [None, {}, {record.SPEC: "x"}])
def test_a_job_without_an_intent_is_somebody_elses(annotations: dict[str, str] | None) -> None:
    job = a_job()
    job["metadata"]["annotations"] = annotations
    assert record.read_intent(job) is None
    assert (record.read_stop(job), record.read_end(job)) == (None, None)


@pytest.mark.parametrize("spec", ["%", "a", "////", "", "eJzj+g8AARUBCg=="])
def test_damaged_specs(spec: str) -> None:
    assert record.read_spec(a_job({record.SPEC: spec})) is None


def test_a_missing_spec() -> None:
    job = a_job()
    del job["metadata"]["annotations"][record.SPEC]
    assert record.read_spec(job) is None


def test_our_labels_are_of_the_job_and_its_pods() -> None:
    intent = an_intent()._replace(labels={"team": "a"})
    assert record.labels_of(intent) == {
        "team": "a",
        "app.kubernetes.io/managed-by": "jobengine",
        "jobengine.dev/job": "job",
    }
    assert record.SELECTOR == "app.kubernetes.io/managed-by=jobengine,jobengine.dev/job"


def test_what_the_api_server_says_counts() -> None:
    job = a_job(intent=an_intent()._replace(create_time=1.0))
    job["metadata"] |= {"uid": "another", "creationTimestamp": at(NEW_YEAR)}
    found = record.read_intent(job)
    assert found == an_intent()._replace(uid="another")
    assert found.uid != UID


def test_a_large_spec_is_kept_small() -> None:
    """All annotations of an object may have 256 KiB."""
    assert len(record.encode_spec(shell("x" * 100_000))) < 1000


def test_specs_do_not_depend_on_the_order_of_their_maps() -> None:
    one = JobSpec(env={"A": "1", "B": "2"})
    other = JobSpec(env={"B": "2", "A": "1"})
    assert record.encode_spec(one) == record.encode_spec(other)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        (None, None),
        ("", None),
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ("2026-01-01T00:00:00.250000Z", NEW_YEAR + 0.25),
        ("2026-01-01T01:00:00+01:00", NEW_YEAR),
    ],
)
def test_times(text: str | None, time: float | None) -> None:
    assert record.read_time(text) == time
