"""Looks at a cluster and at what the server may do there, without taking up any job."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from engines.findings import Finding, amiss, clock, fine, look, many
from engines.kubernetes.api import CONFLICT, NOT_FOUND, Api
from engines.kubernetes.cluster import CONNECT_SECONDS, Cluster, Refused
from engines.kubernetes.manifest import make_job
from engines.kubernetes.settings import Settings
from engines.lifecycle.intent import make_intent
from jobengine.v1.job_pb2 import JobSpec

OLDEST: Final = (1, 29)
"""The first Kubernetes on which podReplacementPolicy counts, where nobody has switched it off."""

CONTACT_SECONDS: Final = CONNECT_SECONDS + 3.0

_ACCESS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_SUBJECT: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)")
_ROLE: Final = "deploy/kubernetes/rbac.yaml"


class Right(NamedTuple):
    """A verb on a resource, which may be a part of another (`pods/log`)."""

    resource: str
    verb: str
    group: str = ""


RIGHTS: Final[Mapping[Right, str]] = {
    Right("jobs", "create", "batch"): "CreateJob fails",
    Right("jobs", "get", "batch"): "ReadJob fails",
    Right("jobs", "list", "batch"): "the server can't find its jobs, and serves nothing",
    Right("jobs", "watch", "batch"): "the server can't follow its jobs, and serves nothing",
    Right("jobs", "patch", "batch"): "CancelJob fails, and neither deadlines nor ends are noted",
    Right("jobs", "delete", "batch"): "DeleteJob fails",
    Right("pods", "list"): "the server can't find its jobs' pods, and serves nothing",
    Right("pods", "watch"): "the server can't follow its jobs' pods, and serves nothing",
    Right("pods", "delete"): "CancelJob and DeleteJob fail with a grace_period of their own",
    Right("pods/log", "get"): "ReadLogs fails",
    Right("events", "list"): "PENDING jobs don't tell why they have no pod",
}
"""The rights of the role in deploy/kubernetes/rbac.yaml, and what is lost without each."""

_CREATE: Final = Right("jobs", "create", "batch")
_LIST: Final = Right("jobs", "list", "batch")
_JOB: Final = JobSpec(image="jobengine.invalid/doctor", command=["true"])
_NEEDED_FIELDS: Final = ("podFailurePolicy", "podReplacementPolicy")


class Examination:
    """Of one cluster and one namespace, by the engine's own settings."""

    def __init__(self, cluster: Cluster, api: Api, settings: Settings) -> None:
        self._cluster = cluster
        self._api = api
        self._settings = settings
        self._reached = False
        self._missing: set[Right] = set()

    async def findings(self) -> AsyncIterator[Finding]:
        """What is there, and what is amiss."""
        for finding in await look("Kubernetes", self._contact(), CONTACT_SECONDS):
            yield finding
        if not self._reached:
            return
        for what, looking in (
            ("account", self._account),
            ("rights", self._rights),
            ("namespace", self._namespace),
            ("jobs", self._jobs),
        ):
            for finding in await look(what, looking()):
                yield finding

    async def _contact(self) -> Sequence[Finding]:
        await self._cluster.connect()
        where = f"at {self._cluster.address}"
        try:
            version = await self._api.version()
        except Refused as refusal:
            self._reached = True
            return [amiss("Kubernetes", f"{where} doesn't tell its version: {refusal.words}")]
        self._reached = True
        return [_version(version, where)]

    async def _account(self) -> Sequence[Finding]:
        began = time.time()
        try:
            said = await self._api.review(_SUBJECT, "SelfSubjectReview", {})
        except Refused as refusal:
            if refusal.status != NOT_FOUND:
                raise
            return [amiss("account", "this cluster is too old to tell: 1.28 can")]
        made = datetime.fromisoformat(said["metadata"]["creationTimestamp"]).timestamp()
        return [
            fine("account", str(said["status"]["userInfo"].get("username") or "nobody")),
            clock("Kubernetes' clock", _ahead(made, began, time.time())),
        ]

    async def _rights(self) -> Sequence[Finding]:
        async with asyncio.TaskGroup() as group:
            asked = {right: group.create_task(self._may(right)) for right in RIGHTS}
        self._missing = {right for right, answer in asked.items() if not answer.result()}
        namespace = self._cluster.namespace
        if not self._missing:
            return [fine("rights", f"all that {_ROLE} gives, in {namespace}")]
        return [
            amiss(
                f"right to {right.verb} {right.resource}",
                f"is missing in {namespace}: {RIGHTS[right]}; apply {_ROLE} there",
            )
            for right in RIGHTS
            if right in self._missing
        ]

    async def _may(self, right: Right) -> bool:
        resource, _, part = right.resource.partition("/")
        attributes = {
            "namespace": self._cluster.namespace,
            "group": right.group,
            "resource": resource,
            "subresource": part,
            "verb": right.verb,
        }
        spec = {"resourceAttributes": attributes}
        said = await self._api.review(_ACCESS, "SelfSubjectAccessReview", spec)
        return bool(said["status"]["allowed"])

    async def _namespace(self) -> Sequence[Finding]:
        """Whether it is there and takes Jobs; what it takes to read it, the server may lack."""
        if _CREATE in self._missing:
            return []
        intent = make_intent("jobengine-doctor", _JOB, "", None, now=0.0)
        namespace = self._cluster.namespace
        try:
            made = await self._api.try_job(make_job(intent, _JOB, self._settings))
        except Refused as refusal:
            return [_refused(namespace, refusal)]
        dropped = [field for field in _NEEDED_FIELDS if field not in made["spec"]]
        if dropped:
            words = f"Kubernetes drops {' and '.join(dropped)} of Jobs: switch them on, or renew it"
            return [amiss("namespace", words)]
        return [fine("namespace", f"{namespace} takes Jobs, as a dry run shows")]

    async def _jobs(self) -> Sequence[Finding]:
        if _LIST in self._missing:
            return []
        return [fine("jobs", many(await self._api.count_jobs(), "job"))]


def _version(version: str, where: str) -> Finding:
    found = _VERSION.match(version)
    if found is not None and (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return amiss("Kubernetes", f"{version} {where} is too old: renew it, to {oldest} at least")
    return fine("Kubernetes", f"{version} {where}")


def _ahead(made: float, began: float, ended: float) -> float:
    """How far a clock is ahead at least that said `made`, in whole seconds, between these times."""
    if made > ended:
        return made - ended
    return min(made + 1.0 - began, 0.0)


def _refused(namespace: str, refusal: Refused) -> Finding:
    if refusal.status == NOT_FOUND:
        words = f"{namespace} isn't there: kubectl create namespace {namespace}, and apply {_ROLE}"
        return amiss("namespace", words)
    if refusal.status == CONFLICT:
        return fine("namespace", f"{namespace} is there")
    if "admission" in refusal.words:  # it may only not like the image, which is of no registry
        return fine("namespace", f"{namespace} is there, and didn't take a Job: {refusal.words}")
    return amiss("namespace", f"{namespace} takes no Jobs: {refusal.words}")
