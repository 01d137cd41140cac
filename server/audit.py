"""One line for each change that somebody asked for: who, what, which job, from where, outcome."""

from typing import Final

import structlog
from google.protobuf.message import Message
from grpc import StatusCode

from jobengine.v1 import job_engine_pb2 as api
from server.gate import Caller
from server.log import AUDIT
from server.policy import Verb

CHANGES: Final[frozenset[Verb]] = frozenset(("create", "cancel", "delete"))
"""What has a line."""

MAX_LOGGED: Final = 128
"""Characters of what a caller sent that a line repeats: callers can't fill the log."""

_log = structlog.get_logger()


def record(
    verb: Verb,
    caller: Caller | None,
    peer: str,
    request: Message | None,
    response: Message | bytes | None,
    outcome: StatusCode,
) -> None:
    """Write the line of a change that was made, refused, or failed.

    `caller` is None where its credential was missing or no good, `request` where it wasn't even
    read; with the outcome CANCELLED, nobody waited to hear whether it happened. No part of a spec
    is in the line.
    """
    job = response.job if isinstance(response, api.CreateJobResponse) else None
    name = job.name if job is not None else getattr(request, "name", "")
    uid = job.uid if job is not None else getattr(request, "uid", "")
    _log.info(
        AUDIT,
        verb=verb,
        job=name[:MAX_LOGGED],
        uid=uid[:MAX_LOGGED],
        subject=caller.rights.subject if caller is not None else "",
        identity=caller.identity.name[:MAX_LOGGED] if caller is not None else "",
        peer=peer,
        request_id=getattr(request, "request_id", "")[:MAX_LOGGED],
        outcome=outcome.name,
    )
