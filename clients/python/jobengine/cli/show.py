"""How jobs and statuses look, for people and for programs."""

import json
import sys
import time
from collections.abc import Iterable, Iterator

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from jobengine.states import is_terminal, reason_name, state_name
from jobengine.v1.job_pb2 import Job, JobStatus

_STYLES = {
    "PENDING": "yellow",
    "RUNNING": "cyan",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLED": "magenta",
    "LOST": "red",
}


def to_json(message: Message) -> str:
    """The message on one line, in protobuf's JSON mapping with the proto's field names."""
    return json.dumps(MessageToDict(message, preserving_proto_field_name=True))


def summary(status: JobStatus) -> str:
    """A status in one line, for example "failed (NON_ZERO_EXIT), exit code 3, after 2.0 s"."""
    parts = [state_name(status).lower()]
    if (reason := reason_name(status)) not in {"", "COMPLETED", state_name(status)}:
        parts[0] += f" ({reason})"
    if is_terminal(status):
        if status.HasField("exit_code"):
            parts.append(f"exit code {status.exit_code}")
        if status.signal:
            parts.append(f"signal {status.signal}")
        if span := duration(status):
            parts.append(f"after {span}")
    if status.retries:
        parts.append(f"retries {status.retries}")
    line = ", ".join(parts)
    return f"{line}: {status.message}" if status.message else line


def span(seconds: float) -> str:
    """A span of time in at most two units, for example "3m12s"."""
    if seconds < 60:
        return f"{max(seconds, 0.0):.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24}h"


def duration(status: JobStatus) -> str:
    """How long the job has run, or ran; empty before its start."""
    if not status.HasField("start_time"):
        return ""
    end = _seconds(status.end_time) if status.HasField("end_time") else time.time()
    return span(end - _seconds(status.start_time))


def block(job: Job) -> Iterator[str]:
    """A job with its spec, a line for each thing to know."""
    status, spec = job.status, job.spec
    rows: list[tuple[str, str]] = [
        ("name", job.name),
        ("uid", job.uid),
        ("state", state_name(status)),
        ("reason", reason_name(status)),
        ("message", status.message),
        ("exit code", str(status.exit_code) if status.HasField("exit_code") else ""),
        ("signal", str(status.signal or "")),
        ("instances", _counts(status)),
        ("retries", str(status.retries or "")),
        ("created", _local_time(status, "create_time")),
        ("started", _local_time(status, "start_time")),
        ("ended", _local_time(status, "end_time")),
        ("duration", duration(status)),
        ("image", spec.image),
        ("command", json.dumps([*spec.command, *spec.args]) if spec.command or spec.args else ""),
        ("working dir", spec.working_dir),
        ("env", " ".join(f"{key}={value}" for key, value in sorted(spec.env.items()))),
        ("labels", ",".join(f"{key}={value}" for key, value in sorted(job.labels.items()))),
    ]
    return (f"{name:<12} {value}" for name, value in rows if value)


def print_table(jobs: Iterable[Job]) -> None:
    """Print jobs as a table; without colours and as wide as needed where it isn't a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NAME", "STATE", "REASON", "EXIT", "AGE", "DURATION"):
        table.add_column(column, no_wrap=True)
    for job in jobs:
        status = job.status
        state = state_name(status)
        table.add_row(
            Text(job.name),
            Text(state, style=_STYLES.get(state, "")),
            reason_name(status),
            str(status.exit_code) if status.HasField("exit_code") else "",
            span(time.time() - _seconds(status.create_time)),
            duration(status),
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _counts(status: JobStatus) -> str:
    counts = (("active", status.active), ("succeed", status.succeed), ("failed", status.failed))
    return ", ".join(f"{count} {name}" for name, count in counts if count)


def _local_time(status: JobStatus, field: str) -> str:
    if not status.HasField(field):  # type: ignore[arg-type]
        return ""
    moment: Timestamp = getattr(status, field)
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(_seconds(moment)))


def _seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9
