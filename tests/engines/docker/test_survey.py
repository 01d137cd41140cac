"""All that there is of a namespace, put in order."""

from typing import Any

import pytest

from engines.base import State, Status
from engines.docker import record
from engines.docker.record import Claim, KeptJob, Labels
from engines.docker.survey import Findings, Listed, survey
from engines.lifecycle import facts
from engines.lifecycle.facts import Stop
from tests.engines.docker.specs import LABELS, UID, kept_job

OTHER = "f" * 32
CANCEL = Stop(facts.CANCELLED, 5.0, 1.0)
DELETE = Stop(facts.DELETED, 6.0, 1.0)
CLAIM = Claim("c0", "s1")
KIND = {"jobengine.dev/kind": "later"}


def job_volume(kept: KeptJob, labels: Labels = LABELS) -> dict[str, Any]:
    return {"Name": labels.job_volume(kept.intent.name), "Labels": labels.of_job(kept)}


def stop_volume(kept: KeptJob, kind: str, stop: Stop) -> dict[str, Any]:
    name = LABELS.fact_volume(kept.intent, kind)
    return {"Name": name, "Labels": LABELS.of_stop(kept.intent, kind, stop)}


def end_volume(kept: KeptJob, status: Status) -> dict[str, Any]:
    name = LABELS.fact_volume(kept.intent, record.END)
    return {"Name": name, "Labels": LABELS.of_end(kept.intent, status)}


def claim_volume(kept: KeptJob, claim: Claim) -> dict[str, Any]:
    labels = LABELS.of_claim(kept.intent, (0, 0), claim)
    return {"Name": LABELS.container(kept.intent, (0, 0)), "Labels": labels}


def listed(kept: KeptJob, instance: int = 0, state: str = "running") -> dict[str, Any]:
    key = (instance, 0)
    return {
        "Id": f"c{instance}",
        "Names": ["/" + LABELS.container(kept.intent, key)],
        "State": state,
        "Labels": LABELS.of_run(kept.intent, key),
    }


def test_nothing() -> None:
    assert survey(LABELS, [], [], 0.0) == {}


def test_a_job_with_all_that_can_be_of_it() -> None:
    kept, end = kept_job(), Status(state=State.CANCELLED)
    volumes = [
        end_volume(kept, end),
        stop_volume(kept, record.DELETE, DELETE),
        job_volume(kept),
        stop_volume(kept, record.STOP, CANCEL),
        claim_volume(kept, CLAIM),
    ]
    found = survey(LABELS, [listed(kept), listed(kept, 1, "exited")], volumes, 0.0)
    assert list(found) == [UID]
    findings = found[UID]
    assert findings.kept == kept
    assert (findings.stop, findings.delete, findings.end) == (CANCEL, DELETE, end)
    assert findings.containers == [Listed("c0", (0, 0), "running"), Listed("c1", (1, 0), "exited")]
    assert findings.claims == {(0, 0): CLAIM}


def test_jobs_are_told_apart_by_uid() -> None:
    one, other = kept_job(), kept_job(uid=OTHER)
    found = survey(LABELS, [listed(other)], [job_volume(one)], 0.0)
    assert found[UID].kept == one
    assert found[UID].containers == []
    assert found[OTHER].kept is None
    assert found[OTHER].containers == [Listed("c0", (0, 0), "running")]


@pytest.mark.parametrize("kind", [record.STOP, record.DELETE, record.END, record.CLAIM])
def test_what_is_left_of_a_job_that_is_gone(kind: str) -> None:
    """It is found, so that it can be removed."""
    kept = kept_job()
    volumes = {
        record.STOP: stop_volume(kept, record.STOP, CANCEL),
        record.DELETE: stop_volume(kept, record.DELETE, DELETE),
        record.END: end_volume(kept, Status()),
        record.CLAIM: claim_volume(kept, CLAIM),
    }
    found = survey(LABELS, [], [volumes[kind]], 0.0)
    assert list(found) == [UID]
    assert found[UID].kept is None


def test_a_container_whose_job_is_gone() -> None:
    found = survey(LABELS, [listed(kept_job())], [], 0.0)
    assert found == {UID: Findings("job", containers=[Listed("c0", (0, 0), "running")])}


def without(thing: dict[str, Any], label: str) -> dict[str, Any]:
    return thing | {"Labels": {k: v for k, v in thing["Labels"].items() if k != label}}


@pytest.mark.parametrize(
    "container",
    [
        {"Id": "x", "State": "running", "Labels": None},
        {"Id": "x", "State": "running"},
        without(listed(kept_job()), record.NAMESPACE),
        without(listed(kept_job()), "jobengine.dev/instance"),
        without(listed(kept_job()), "jobengine.dev/format"),
        listed(kept_job()) | {"Names": ["/debugging"]},
        listed(kept_job()) | {"Names": []},
        listed(kept_job()) | {"Names": None},
    ],
)
def test_containers_of_others_are_left_out(container: dict[str, Any]) -> None:
    assert survey(LABELS, [container], [], 0.0) == {}


@pytest.mark.parametrize(
    "volume",
    [
        {"Name": "jobengine.here.job", "Labels": None},
        {"Name": "jobengine.here.job"},
        {"Name": "jobengine.here.job", "Labels": {record.UID: UID}},
        job_volume(kept_job(), Labels("there")),
    ],
)
def test_volumes_of_others_are_left_out(volume: dict[str, Any]) -> None:
    assert survey(LABELS, [], [volume], 0.0) == {}


def test_a_damaged_job_is_seen_but_not_taken_up() -> None:
    volume = without(job_volume(kept_job()), "jobengine.dev/spec")
    assert survey(LABELS, [], [volume], 0.0)[UID].kept is None


@pytest.mark.parametrize(
    ("kind", "reason"), [(record.STOP, facts.CANCELLED), (record.DELETE, facts.DELETED)]
)
def test_a_damaged_decision_stops_now(kind: str, reason: str) -> None:
    volume = without(stop_volume(kept_job(), kind, CANCEL), "jobengine.dev/fact")
    findings = survey(LABELS, [], [volume], 7.0)[UID]
    assert findings.decision == Stop(reason, 7.0, 0.0)


def test_unknown_kinds_and_damaged_claims_say_nothing() -> None:
    later = {"Name": "later", "Labels": job_volume(kept_job())["Labels"] | KIND}
    damaged = without(claim_volume(kept_job(), CLAIM), "jobengine.dev/fact")
    assert survey(LABELS, [], [later, damaged], 7.0) == {UID: Findings("job")}


@pytest.mark.parametrize(
    ("stop", "delete", "decision"),
    [
        (None, None, None),
        (CANCEL, None, CANCEL),
        (None, DELETE._replace(reason="x"), DELETE),
        (CANCEL, DELETE, CANCEL),
    ],
)
def test_decision(stop: Stop | None, delete: Stop | None, decision: Stop | None) -> None:
    assert Findings(stop=stop, delete=delete).decision == decision
