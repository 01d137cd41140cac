"""Whose a job is, over any number of servers: a label that is renamed at each step.

A server says whose a job is by the label `jobengine.dev/owner`, which only it may set. So a front
sends it on as `remote.jobengine.dev/owner`; the next one, which may have put its own owner
beside it, as `remote.remote.jobengine.dev/owner`; and so on. On the way back each takes one
`remote.` off. What stands in the label's own place then is the owner as the other server knows it,
who is nobody here: it is left out.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import Final

from jobengine.v1.job_pb2 import JobSpec

OWNER_LABEL: Final = "jobengine.dev/owner"
"""As the server before this engine sets it."""

PREFIX: Final = "remote."

_OWNER: Final = re.compile(rf"(remote\.)*{re.escape(OWNER_LABEL)}")


def is_owner(key: str) -> bool:
    """Whether a label's key is that of an owner, here or any number of steps away."""
    return _OWNER.fullmatch(key) is not None


def spec_to_send(spec: JobSpec) -> JobSpec:
    """The spec as the other server is to have it."""
    if not any(map(is_owner, spec.labels)):
        return spec
    sent = JobSpec()
    sent.CopyFrom(spec)
    _replace(sent.labels, {PREFIX + k if is_owner(k) else k: v for k, v in spec.labels.items()})
    return sent


def spec_received(spec: JobSpec) -> JobSpec:
    """The spec as it was before it was sent, or would have been."""
    received = JobSpec()
    received.CopyFrom(spec)
    _replace(received.labels, labels_received(spec.labels))
    return received


def labels_received(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels as they were before they were sent, or would have been."""
    return {
        key.removeprefix(PREFIX) if is_owner(key) else key: value
        for key, value in labels.items()
        if key != OWNER_LABEL
    }


def _replace(labels: MutableMapping[str, str], by: Mapping[str, str]) -> None:
    labels.clear()
    labels.update(by)
