"""What the engine asks of the API server, call by call."""

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from engines.errors import FieldViolation, InvalidSpec, LimitReached
from engines.kubernetes import record
from engines.kubernetes.cluster import MERGE_PATCH, Cluster, Refused

Json = Mapping[str, Any]

NOT_FOUND: Final = 404
CONFLICT: Final = 409
_FORBIDDEN: Final = 403
_REFUSES_THE_SPEC: Final = frozenset({400, 403, 413, 422})


class Api:
    """The calls, which raise what `Cluster.call` does. Where that is said, missing is None."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @property
    def jobs(self) -> str:
        """The path of the namespace's Jobs."""
        return f"/apis/batch/v1/namespaces/{self._cluster.namespace}/jobs"

    @property
    def pods(self) -> str:
        """The path of its pods."""
        return f"/api/v1/namespaces/{self._cluster.namespace}/pods"

    async def version(self) -> str:
        """The API server's own version."""
        return str((await self._cluster.call("GET", "/version"))["gitVersion"])

    async def ping(self, seconds: float) -> None:
        """Hear of the API server."""
        await self._cluster.call("GET", "/version", seconds=seconds)

    async def review(self, path: str, kind: str, spec: Json) -> Json:
        """What Kubernetes says of us: a self-subject review, which isn't kept."""
        group = "/".join(path.split("/")[2:4])
        return await self._cluster.call(
            "POST", path, body={"apiVersion": group, "kind": kind, "spec": spec}
        )

    async def try_job(self, body: Json) -> Json:
        """Have a Job checked as if it were to be made (dry run)."""
        query = {"fieldValidation": "Strict", "dryRun": "All"}
        return await self._cluster.call("POST", self.jobs, query=query, body=body)

    async def count_jobs(self) -> int:
        """How many Jobs of ours there are."""
        query = {"labelSelector": record.SELECTOR}
        async with contextlib.aclosing(self._cluster.pages(self.jobs, query)) as pages:
            return sum([len(page["items"]) async for page in pages])

    async def create_job(self, body: Json) -> Json | None:
        """Make a Job; None where its name is taken.

        Raises:
            InvalidSpec: Kubernetes refuses it: its words, for the field where it names one.
            LimitReached: the namespace's quota has no room for it.
        """
        try:
            # By default it drops fields that it doesn't know, which engine_options may have.
            query = {"fieldValidation": "Strict"}
            return await self._cluster.call("POST", self.jobs, query=query, body=body)
        except Refused as refusal:
            if refusal.status == CONFLICT:
                return None
            if "exceeded quota" in refusal.words:
                raise LimitReached("kubernetes_quota", refusal.words) from None
            if refusal.status in _REFUSES_THE_SPEC and not is_missing_permission(refusal):
                raise InvalidSpec(_violations(refusal)) from None
            raise

    async def read_job(self, name: str) -> Json | None:
        """A Job, None where there is none."""
        return await self._if_there("GET", f"{self.jobs}/{name}")

    async def patch_job(self, name: str, patch: Json) -> Json | None:
        """Merge into a Job (RFC 7386); None where it is gone.

        With metadata.resourceVersion or uid in it, Refused with CONFLICT where that is another.
        """
        path = f"{self.jobs}/{name}"
        return await self._if_there("PATCH", path, body=patch, content_type=MERGE_PATCH)

    async def delete_job(self, name: str, uid: str) -> bool:
        """Have a Job removed once its pods are; False where it is gone, or another.

        Kubernetes' own default for Jobs leaves the pods behind (kubernetes-client/python#234).
        """
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        try:
            found = await self._if_there("DELETE", f"{self.jobs}/{name}", body=options)
        except Refused as refusal:
            if refusal.status == CONFLICT:
                return False
            raise
        return found is not None

    async def pods_of(self, uid: str) -> Sequence[Json]:
        """The pods of a Job."""
        query = {"labelSelector": f"batch.kubernetes.io/controller-uid={uid}"}
        found: Sequence[Json] = (await self._cluster.call("GET", self.pods, query=query))["items"]
        return found

    async def delete_pod(self, name: str, uid: str, grace_seconds: int) -> None:
        """End a pod; fine if it is gone."""
        options = {"gracePeriodSeconds": grace_seconds, "preconditions": {"uid": uid}}
        try:
            await self._if_there("DELETE", f"{self.pods}/{name}", body=options)
        except Refused as refusal:
            if refusal.status != CONFLICT:
                raise

    def logs(self, pod: str, query: Mapping[str, str], silence: float) -> AsyncGenerator[bytes]:
        """What a pod's container wrote, as it comes; the query is that of Kubernetes' API."""
        return self._cluster.chunks(f"{self.pods}/{pod}/log", query=query, silence=silence)

    async def failed_creates(self) -> Mapping[str, str]:
        """By uid of a Job: what Kubernetes has said last of pods that it could not make for it."""
        path = f"/api/v1/namespaces/{self._cluster.namespace}/events"
        query = {"fieldSelector": "reason=FailedCreate,involvedObject.kind=Job"}
        said: dict[str, str] = {}
        async with contextlib.aclosing(self._cluster.pages(path, query)) as pages:
            async for page in pages:  # by name, which has the time in it
                for event in page["items"]:
                    said[str(event["involvedObject"]["uid"])] = str(event.get("message") or "")
        return said

    async def _if_there(self, method: str, path: str, **request: Any) -> Json | None:  # noqa: ANN401
        try:
            return await self._cluster.call(method, path, **request)
        except Refused as refusal:
            if refusal.status == NOT_FOUND:
                return None
            raise


def is_missing_permission(refusal: Refused) -> bool:
    """Whether the server's own role lacks something, which isn't the caller's fault."""
    return refusal.status == _FORBIDDEN and " cannot " in refusal.words


def _violations(refusal: Refused) -> list[FieldViolation]:
    words = f"Kubernetes refuses it: {refusal.words}"
    return [FieldViolation("spec", words)]
