"""Labels and names: what is kept comes back, and what isn't ours stays somebody else's."""

import json
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.base import Reason, State, Status
from engines.docker import record
from engines.docker.record import Claim, Labels, Owner
from engines.lifecycle import facts
from engines.lifecycle.facts import Intent, Key, Stop
from jobengine.v1.job_pb2 import JobSpec
from tests.engines.docker.specs import LABELS, UID, an_intent, kept_job, shell

FACT = "jobengine.dev/fact"
SPEC = "jobengine.dev/spec"
OTHERWISE = Stop(facts.CANCELLED, 99.0, 0.0)

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TIMES = st.floats(0, 1e10)
KEYS = st.integers(0, 100_000)
INTENTS = st.builds(
    Intent,
    name=st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True),
    uid=st.text("0123456789abcdef", min_size=32, max_size=32),
    request_id=TEXT,
    spec_hash=TEXT,
    create_time=TIMES,
    labels=st.dictionaries(TEXT, TEXT, max_size=3),
    completions=st.integers(1, 100_000),
    parallelism=st.integers(1, 100_000),
    max_retries=st.integers(0, 100_000),
    timeout=st.none() | TIMES,
    start_timeout=st.none() | TIMES,
    ttl=st.none() | TIMES,
)
SPECS = st.builds(
    JobSpec,
    image=TEXT,
    args=st.lists(TEXT, max_size=3),
    env=st.dictionaries(TEXT, TEXT, max_size=3),
)
STATUSES = st.builds(
    Status,
    active=st.none() | st.integers(1, 9),
    state=st.sampled_from(State),
    reason=st.sampled_from(Reason),
    message=TEXT,
    exit_code=st.none() | st.integers(0, 255),
    signal=st.integers(0, 64),
    create_time=TIMES,
    end_time=st.none() | TIMES,
)


@given(INTENTS, SPECS)
def test_jobs_round_trip(intent: Intent, spec: JobSpec) -> None:
    kept = record.KeptJob(intent, spec)
    labels = LABELS.of_job(kept)
    assert record.read_job(labels) == kept
    assert LABELS.owner(labels) == Owner(record.JOB, intent.name, intent.uid)
    assert all(isinstance(value, str) for value in labels.values())


@given(st.builds(Stop, reason=TEXT, time=TIMES, grace=TIMES, message=TEXT))
def test_stops_round_trip(stop: Stop) -> None:
    labels = LABELS.of_stop(an_intent(), record.STOP, stop)
    assert record.read_stop(labels, OTHERWISE) == stop
    assert LABELS.owner(labels) == Owner(record.STOP, "job", UID)


@given(STATUSES)
def test_ends_round_trip(status: Status) -> None:
    labels = LABELS.of_end(an_intent(), status)
    assert record.read_end(labels) == status
    assert LABELS.owner(labels) == Owner(record.END, "job", UID)


def test_the_types_of_an_end_come_back() -> None:
    found = record.read_end(LABELS.of_end(an_intent(), Status(state=State.LOST)))
    assert isinstance(found.state, State)
    assert isinstance(found.reason, Reason)


DAMAGED = ["", "{", "[]", "[1]", "null", "3", '"name"', "{}", '{"name": "x"}']


@pytest.mark.parametrize("fact", [*DAMAGED, None])
def test_damaged_jobs(fact: str | None) -> None:
    labels = LABELS.of_job(kept_job())
    del labels[FACT]
    assert record.read_job(labels | ({} if fact is None else {FACT: fact})) is None


@pytest.mark.parametrize("spec", ["%", "a", "////", None])
def test_damaged_specs(spec: str | None) -> None:
    labels = LABELS.of_job(kept_job())
    del labels[SPEC]
    assert record.read_job(labels | ({} if spec is None else {SPEC: spec})) is None


@pytest.mark.parametrize("fact", [*DAMAGED, None])
def test_a_damaged_stop_still_stops(fact: str | None) -> None:
    assert record.read_stop({} if fact is None else {FACT: fact}, OTHERWISE) == OTHERWISE


@pytest.mark.parametrize("fact", [*DAMAGED, None, '{"state": 99}'])
def test_a_damaged_end_is_lost(fact: str | None) -> None:
    found = record.read_end({} if fact is None else {FACT: fact})
    assert (found.state, found.reason) == (State.LOST, Reason.UNKNOWN)
    assert "damaged" in found.message


def changed_end(**changes: Any) -> Status:
    labels = LABELS.of_end(an_intent(), Status(state=State.SUCCEEDED))
    values = json.loads(labels[FACT]) | changes
    return record.read_end(labels | {FACT: json.dumps(values)})


def test_an_end_with_a_state_that_nobody_knows_is_lost() -> None:
    assert changed_end(state=99).state is State.LOST
    assert changed_end(reason=99).state is State.LOST


def test_fields_of_later_versions_are_left_out() -> None:
    kept = kept_job()
    labels = LABELS.of_job(kept)
    values = json.loads(labels[FACT]) | {"later": 1}
    assert record.read_job(labels | {FACT: json.dumps(values)}) == kept
    assert changed_end(later=1).state is State.SUCCEEDED


@pytest.mark.parametrize(
    "change",
    [
        {"jobengine.dev/format": "2"},
        {"jobengine.dev/format": ""},
        {record.NAMESPACE: "there"},
        {record.NAMESPACE: "Here"},
        {record.UID: ""},
        {"jobengine.dev/kind": ""},
        {"jobengine.dev/job": ""},
    ],
)
def test_other_formats_and_namespaces_are_nobodys(change: dict[str, str]) -> None:
    assert LABELS.owner(LABELS.of_job(kept_job()) | change) is None


@pytest.mark.parametrize(
    "missing",
    [
        "jobengine.dev/format",
        record.NAMESPACE,
        record.UID,
        "jobengine.dev/kind",
        "jobengine.dev/job",
    ],
)
def test_half_of_the_labels_are_nobodys(missing: str) -> None:
    labels = LABELS.of_job(kept_job())
    del labels[missing]
    assert LABELS.owner(labels) is None


def test_no_labels_are_nobodys() -> None:
    assert LABELS.owner(None) is None
    assert LABELS.owner({}) is None


LONG = "j" * 63


@pytest.mark.parametrize("name", ["job", "a-b", LONG])
@pytest.mark.parametrize("kind", [record.STOP, record.DELETE, record.END])
def test_volume_names(name: str, kind: str) -> None:
    intent = an_intent(name)
    assert LABELS.parse_volume(LABELS.job_volume(name)) == (name, "", record.JOB)
    assert LABELS.parse_volume(LABELS.fact_volume(intent, kind)) == (name, UID[:12], kind)


@pytest.mark.parametrize(
    ("volume", "parsed"),
    [
        ("jobengine.here.", ("", "", record.JOB)),
        ("jobengine.here.job.abc", ("job", "abc", record.JOB)),
        ("jobengine.here.job.abc.end.more", ("job", "abc", "end.more")),
        ("jobengine.other.job", ("jobengine", "other", "job")),
    ],
)
def test_foreign_volume_names(volume: str, parsed: tuple[str, str, str]) -> None:
    """Whatever they say, it is labels that decide."""
    assert LABELS.parse_volume(volume) == parsed


def test_no_name_is_longer_than_a_file_name_may_be() -> None:
    labels, intent = Labels("n" * 32), an_intent(LONG)
    names = [
        labels.fact_volume(intent, record.DELETE),
        labels.container(intent, (99_999, 100_000)),
    ]
    assert max(map(len, names)) < 255
    assert set("".join(names)) <= set(string.ascii_lowercase + string.digits + ".-")


def test_a_container_has_a_name_for_each_attempt() -> None:
    intents = (an_intent(), replace_uid("f" * 32))
    keys = ((0, 0), (0, 1), (1, 0), (10, 0), (1, 10))
    assert len({LABELS.container(each, key) for each in intents for key in keys}) == 10


def replace_uid(uid: str) -> Intent:
    return kept_job(uid=uid).intent


def test_a_container_says_which_attempt_it_is() -> None:
    intent = kept_job(shell("true", labels={"team": "blue"})).intent
    labels, name = LABELS.of_run(intent, (3, 4)), LABELS.container(intent, (3, 4))
    for each in (name, f"/{name}"):  # as Docker lists and inspects it, and as its events have it
        assert LABELS.run(labels, each) == (Owner("run", "job", UID), (3, 4))
    assert labels["team"] == "blue"


def test_labels_of_the_caller_do_not_count_as_ours() -> None:
    forged = LABELS.of_run(kept_job(name="forged", uid="f" * 32).intent, (9, 9))
    intent = kept_job(shell("true", labels=forged)).intent
    found = LABELS.run(LABELS.of_run(intent, (0, 0)), LABELS.container(intent, (0, 0)))
    assert found == (Owner("run", "job", UID), (0, 0))


def test_the_spec_is_not_copied_to_the_containers() -> None:
    """It may be large, and there may be many of them."""
    spec = shell("x" * 10_000)
    labels = LABELS.of_run(kept_job(spec).intent, (0, 0))
    assert record.read_job(labels) is None
    assert sum(map(len, labels.values())) < 1000


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "debugging",
        f"jobengine.here.job.{UID[:12]}.0",
        f"jobengine.here.job.{UID[:12]}.0.1",
        f"jobengine.here.job.{UID[:12]}.1.0",
        f"jobengine.here.job.{UID[:12]}.0.0.new",
        f"jobengine.here.job.{UID}.0.0",
        f"jobengine.here.other.{UID[:12]}.0.0",
        f"jobengine.there.job.{UID[:12]}.0.0",
        f"//jobengine.here.job.{UID[:12]}.0.0",
    ],
)
def test_labels_under_another_name_are_somebody_elses(name: str) -> None:
    """Docker hands labels on to images that are made of a container, and to theirs."""
    assert LABELS.run(LABELS.of_run(an_intent(), (0, 0)), name) is None


@pytest.mark.parametrize(
    "missing",
    [
        record.NAMESPACE,
        record.UID,
        "jobengine.dev/format",
        "jobengine.dev/kind",
        "jobengine.dev/job",
        "jobengine.dev/instance",
        "jobengine.dev/attempt",
    ],
)
def test_a_container_without_one_of_our_labels_is_nobodys(missing: str) -> None:
    labels = LABELS.of_run(an_intent(), (0, 0))
    del labels[missing]
    assert LABELS.run(labels, LABELS.container(an_intent(), (0, 0))) is None


def test_only_runs_are_runs() -> None:
    name = LABELS.container(an_intent(), (0, 0))
    claim = LABELS.of_claim(an_intent(), (0, 0), Claim("c1", "s1"))
    for labels in (claim, LABELS.of_job(kept_job()), {}, None):
        assert LABELS.run(labels, name) is None
    run = LABELS.of_run(an_intent(), (0, 0))
    assert LABELS.run(run, name) is not None
    assert Labels("other").run(run, name) is None


@given(st.builds(Claim, container=TEXT, server=TEXT), st.tuples(KEYS, KEYS))
def test_claims_round_trip(claim: Claim, key: Key) -> None:
    labels = LABELS.of_claim(an_intent(), key, claim)
    assert record.read_claim(labels) == (key, claim)
    assert LABELS.owner(labels) == Owner(record.CLAIM, "job", UID)


@pytest.mark.parametrize("fact", [*DAMAGED, None, '{"container": "c1"}', '{"server": "s1"}'])
def test_damaged_claims(fact: str | None) -> None:
    labels = LABELS.of_claim(an_intent(), (0, 0), Claim("c1", "s1"))
    del labels[FACT]
    assert record.read_claim(labels | ({} if fact is None else {FACT: fact})) is None


def test_a_claim_is_under_the_name_of_its_container() -> None:
    name = LABELS.container(an_intent(), (3, 4))
    assert LABELS.parse_volume(name) == ("job", UID[:12], "3.4")


@pytest.mark.parametrize(
    ("instance", "attempt", "key"),
    [
        ("0", "0", (0, 0)),
        ("12", "3", (12, 3)),
        ("", "0", None),
        ("-1", "0", None),
        ("1.5", "0", None),
        ("x", "0", None),
        ("1", "²", None),
    ],
)
def test_keys(instance: str, attempt: str, key: Key | None) -> None:
    said = {"jobengine.dev/instance": instance, "jobengine.dev/attempt": attempt}
    claim = Claim("c1", "s1")
    found = record.read_claim(LABELS.of_claim(an_intent(), (7, 7), claim) | said)
    assert found == (None if key is None else (key, claim))
    name = f"jobengine.here.job.{UID[:12]}.{instance}.{attempt}"
    run = LABELS.run(LABELS.of_run(an_intent(), (7, 7)) | said, name)
    assert run == (None if key is None else (Owner("run", "job", UID), key))


def test_a_deletion_keeps_its_time() -> None:
    stop = Stop("anything", 5.0, 2.0)
    assert record.deletion(stop) == Stop(facts.DELETED, 5.0, 2.0)


def test_labels_of_one_job_do_not_depend_on_the_order_of_its_maps() -> None:
    one = JobSpec(env={"A": "1", "B": "2"})
    other = JobSpec(env={"B": "2", "A": "1"})
    assert LABELS.of_job(kept_job(one))[SPEC] == LABELS.of_job(kept_job(other))[SPEC]


def test_what_an_end_leaves_out_cannot_be_told() -> None:
    labels = LABELS.of_end(an_intent(), replace(Status(), message="x"))
    values = json.loads(labels[FACT])
    del values["message"]
    assert record.read_end({FACT: json.dumps(values)}).state is State.LOST
