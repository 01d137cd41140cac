"""A job's output as server-sent events, read from the service while the job writes it.

Each event has the chunk's cursor as its id, which browsers send back when they reconnect: a web
server that is restarted leaves no gap in the page, and repeats nothing. Bytes go in base64, since a
chunk may end in the midst of a character; the page decodes them, and sets them as text.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing

from jobengine import LogStream, errors
from jobs.models import Job
from jobs.service import async_client

TAIL_LINES = 1_000
"""Where a page begins that is opened late."""


async def events(job: Job, cursor: str) -> AsyncIterator[str]:
    """Yield the job's output after the cursor, until it has ended."""
    if not job.uid and not job.ended:
        yield "retry: 1000\n\n"  # the service doesn't have it yet: come again
        return
    tail = None if cursor else TAIL_LINES
    chunks = async_client().logs(job.name, follow=True, tail_lines=tail, cursor=cursor)
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                kind = "stderr" if chunk.stream == LogStream.LOG_STREAM_STDERR else "stdout"
                yield _event(kind, base64.b64encode(chunk.data).decode(), chunk.cursor)
        yield _event("end", "")
    except errors.JobNotFound:
        yield _event("end", "The service has no output of this job (any more).")
    except errors.Unavailable:
        yield "retry: 3000\n\n"
    except errors.JobEngineError as error:
        yield _event("end", str(error))


def _event(kind: str, data: str, cursor: str = "") -> str:
    lines = [f"event: {kind}", f"data: {json.dumps(data)}"]
    if cursor:
        lines.append(f"id: {cursor}")
    return "\n".join(lines) + "\n\n"
