"""What is kept in Docker of a job: the names and labels of its volumes and containers.

Docker is the store. A job is an empty volume whose labels say what was asked for: that can be
kept before there is any image, it is durable once the daemon has answered, and of two creations
under one name the first stands and is what both get back. So a name is taken once, and what is
decided about a job is decided once, whichever server says it first.

    jobengine.NAMESPACE.NAME                      the job
    jobengine.NAMESPACE.NAME.UID.stop             the decision that it has to end
    jobengine.NAMESPACE.NAME.UID.delete           the decision that it has to go
    jobengine.NAMESPACE.NAME.UID.end              how it ended
    jobengine.NAMESPACE.NAME.UID.I.A              container: attempt A of instance I
    jobengine.NAMESPACE.NAME.UID.I.A              volume: who may start that container

UID is the first 12 digits of the job's uid. Everything carries our labels, in a domain that
callers' labels can't use. A container also has the name that goes with them, since an image that
somebody makes of a job's container hands its labels on. What lacks either is somebody else's and
never touched.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from engines.base import Reason, State, Status
from engines.lifecycle import facts
from engines.lifecycle.facts import Intent, Key, Stop
from jobengine.v1.job_pb2 import JobSpec

FORMAT: Final = "1"
"""Of the labels. A server leaves alone what has another one."""

NAMESPACE: Final = "jobengine.dev/namespace"
UID: Final = "jobengine.dev/uid"
_FORMAT: Final = "jobengine.dev/format"
_KIND: Final = "jobengine.dev/kind"
_NAME: Final = "jobengine.dev/job"
_FACT: Final = "jobengine.dev/fact"
_SPEC: Final = "jobengine.dev/spec"
_INSTANCE: Final = "jobengine.dev/instance"
_ATTEMPT: Final = "jobengine.dev/attempt"

JOB: Final = "job"
STOP: Final = "stop"
DELETE: Final = "delete"
END: Final = "end"
CLAIM: Final = "claim"
_RUN: Final = "run"

_UID_DIGITS: Final = 12
_VOLUME_PREFIX: Final = "jobengine."


class Owner(NamedTuple):
    """What a volume or container belongs to, by its labels."""

    kind: str
    name: str
    uid: str


class KeptJob(NamedTuple):
    """A job as its volume's labels tell it."""

    intent: Intent
    spec: JobSpec


class Claim(NamedTuple):
    """Who may start a container, once. `server` is new for each connection of a server."""

    container: str
    server: str


class Labels:
    """Makes and reads the labels of one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.prefix = f"{_VOLUME_PREFIX}{namespace}."
        """How the names of all volumes and containers begin."""

    def owner(self, labels: Mapping[str, str] | None) -> Owner | None:
        """What these labels say; None where it isn't ours, or of a format not known here."""
        if (
            not labels
            or labels.get(NAMESPACE) != self.namespace
            or labels.get(_FORMAT) != FORMAT
            or not (labels.get(_KIND) and labels.get(_NAME) and labels.get(UID))
        ):
            return None
        return Owner(labels[_KIND], labels[_NAME], labels[UID])

    def job_volume(self, name: str) -> str:
        """The name of a job's volume."""
        return f"{self.prefix}{name}"

    def fact_volume(self, intent: Intent, kind: str) -> str:
        """The name of the volume for what was decided about a job."""
        return f"{self._base(intent)}.{kind}"

    def parse_volume(self, name: str) -> tuple[str, str, str]:
        """The job's name, the digits of its uid and the kind, of a volume of this namespace."""
        job, _, rest = name.removeprefix(self.prefix).partition(".")
        uid, _, kind = rest.partition(".")
        return job, uid, kind or JOB

    def container(self, intent: Intent, key: Key) -> str:
        """The name of an attempt's container, and of the volume with its claim."""
        return self._container(intent.name, intent.uid, key)

    def _container(self, job: str, uid: str, key: Key) -> str:
        return f"{self.prefix}{job}.{uid[:_UID_DIGITS]}.{key[0]}.{key[1]}"

    def run(self, labels: Mapping[str, str] | None, name: str) -> tuple[Owner, Key] | None:
        """Of which job a container is which attempt; None where it is none of ours."""
        owner = self.owner(labels)
        if labels is None or owner is None or owner.kind != _RUN:
            return None
        key = _read_key(labels)
        if key is None or name.removeprefix("/") != self._container(owner.name, owner.uid, key):
            return None
        return owner, key

    def _base(self, intent: Intent) -> str:
        return f"{self.prefix}{intent.name}.{intent.uid[:_UID_DIGITS]}"

    def of_job(self, kept: KeptJob) -> dict[str, str]:
        """The labels of a job's volume."""
        intent, spec = kept
        raw = spec.SerializeToString(deterministic=True)
        return {
            **self._of(intent, JOB),
            _FACT: json.dumps(intent._asdict()),
            _SPEC: base64.b64encode(raw).decode(),
        }

    def of_stop(self, intent: Intent, kind: str, stop: Stop) -> dict[str, str]:
        """The labels of a volume that says that a job has to end, or to go."""
        return {**self._of(intent, kind), _FACT: json.dumps(stop._asdict())}

    def of_end(self, intent: Intent, status: Status) -> dict[str, str]:
        """The labels of the volume that says how a job ended."""
        return {**self._of(intent, END), _FACT: json.dumps(asdict(status))}

    def of_claim(self, intent: Intent, key: Key, claim: Claim) -> dict[str, str]:
        """The labels of the volume that says who may start an attempt's container."""
        key_labels = {_INSTANCE: str(key[0]), _ATTEMPT: str(key[1])}
        fact = {_FACT: json.dumps(claim._asdict())}
        return {**self._of(intent, CLAIM), **key_labels, **fact}

    def of_run(self, intent: Intent, key: Key) -> dict[str, str]:
        """The labels of an attempt's container, those that the caller gave the job included."""
        own = self._of(intent, _RUN)
        return {**intent.labels, **own, _INSTANCE: str(key[0]), _ATTEMPT: str(key[1])}

    def _of(self, intent: Intent, kind: str) -> dict[str, str]:
        return {
            _FORMAT: FORMAT,
            NAMESPACE: self.namespace,
            _KIND: kind,
            _NAME: intent.name,
            UID: intent.uid,
        }


def read_job(labels: Mapping[str, str]) -> KeptJob | None:
    """The job that these labels tell of; None where they are damaged."""
    try:
        intent = _tuple_of(Intent, labels[_FACT])
        spec = JobSpec.FromString(base64.b64decode(labels[_SPEC], validate=True))
    except (KeyError, TypeError, ValueError, binascii.Error, DecodeError):
        return None
    return KeptJob(intent, spec)


def read_stop(labels: Mapping[str, str], otherwise: Stop) -> Stop:
    """The decision that these labels tell of. A damaged one still says that the job has to end."""
    try:
        stop: Stop = _tuple_of(Stop, labels[_FACT])
    except (KeyError, TypeError, ValueError):
        return otherwise
    return stop


def read_end(labels: Mapping[str, str]) -> Status:
    """How a job ended, by these labels. Where they are damaged, nobody can tell any more."""
    try:
        values = json.loads(labels[_FACT])
        known = {field.name: values[field.name] for field in fields(Status)}
        known |= {"state": State(known["state"]), "reason": Reason(known["reason"])}
        return Status(**known)
    except (KeyError, TypeError, ValueError):
        message = "the record of its end is damaged"
        return Status(state=State.LOST, reason=Reason.UNKNOWN, message=message)


def read_claim(labels: Mapping[str, str]) -> tuple[Key, Claim] | None:
    """Of which attempt these labels say who may start it; None where they are damaged."""
    try:
        claim: Claim = _tuple_of(Claim, labels[_FACT])
    except (KeyError, TypeError, ValueError):
        return None
    key = _read_key(labels)
    return None if key is None else (key, claim)


def _read_key(labels: Mapping[str, str]) -> Key | None:
    instance, attempt = labels.get(_INSTANCE, ""), labels.get(_ATTEMPT, "")
    if instance.isdecimal() and attempt.isdecimal():
        return int(instance), int(attempt)
    return None


def deletion(stop: Stop) -> Stop:
    """What a deletion means for a job that still runs."""
    return stop._replace(reason=facts.DELETED)


def _tuple_of(kind: type[Any], text: str) -> Any:  # noqa: ANN401 - a NamedTuple of that kind
    """A NamedTuple out of JSON; fields that only a later version knows are left out."""
    values = json.loads(text)
    return kind(**{name: values[name] for name in kind._fields if name in values})
