"""All that there is of a namespace or a job, put in order by job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog

from engines.base import Status
from engines.docker import record
from engines.docker.record import Claim, KeptJob, Labels
from engines.lifecycle import facts
from engines.lifecycle.facts import Key, Stop

_log = structlog.get_logger(__name__)


class Listed(NamedTuple):
    """A container as a list has it."""

    id: str
    key: Key
    state: str


@dataclass(slots=True)
class Findings:
    """What was found of a job of that name. Without `kept`, its volume wasn't among it."""

    name: str = ""
    kept: KeptJob | None = None
    stop: Stop | None = None
    delete: Stop | None = None
    end: Status | None = None
    claims: dict[Key, Claim] = field(default_factory=dict[Key, Claim])
    containers: list[Listed] = field(default_factory=list[Listed])

    @property
    def decision(self) -> Stop | None:
        """Why it has to end, if it has."""
        if self.stop is None and self.delete is not None:
            return record.deletion(self.delete)
        return self.stop


def survey(
    labels: Labels,
    containers: Sequence[Mapping[str, Any]],
    volumes: Sequence[Mapping[str, Any]],
    now: float,
) -> dict[str, Findings]:
    """By uid: what was found. Whatever isn't ours, or can't be read, is left out."""
    found: dict[str, Findings] = {}
    for volume in volumes:
        said: Mapping[str, str] = volume.get("Labels") or {}
        if (owner := labels.owner(said)) is not None:
            findings = found.setdefault(owner.uid, Findings(owner.name))
            _take_labels(findings, owner.kind, said, now)
    for container in containers:
        name = str((container.get("Names") or [""])[0])
        if (run := labels.run(container.get("Labels"), name)) is not None:
            owner, key = run
            state = str(container.get("State") or "")
            listed = Listed(str(container["Id"]), key, state)
            found.setdefault(owner.uid, Findings(owner.name)).containers.append(listed)
    return found


def _take_labels(findings: Findings, kind: str, said: Mapping[str, str], now: float) -> None:
    match kind:
        case record.JOB:
            findings.kept = record.read_job(said)
            if findings.kept is None:
                _log.error("a job's labels are damaged: it is left as it is", labels=dict(said))
        case record.STOP:
            findings.stop = record.read_stop(said, Stop(facts.CANCELLED, now, 0.0))
        case record.DELETE:
            findings.delete = record.read_stop(said, Stop(facts.DELETED, now, 0.0))
        case record.END:
            findings.end = record.read_end(said)
        case record.CLAIM:
            if (claim := record.read_claim(said)) is not None:
                findings.claims[claim[0]] = claim[1]
        case _:
            pass
