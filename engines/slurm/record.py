"""The files of a job's directory: how they are named, written and read.

    job               what was asked for: the intent and the spec
    <uid>/run         the script that runs an attempt, see `engines.slurm.script`
    <uid>/<a>.<first>-<last>.slurm.<id>
                      that run a of these instances was submitted to Slurm, as this job or array
    <uid>/<i>.<a>/    attempt a of instance i, once somebody has begun it
        claim         when, by which of Slurm's jobs and on which node
        out, err      its output
        work/         its working directory, unless the job names one
        end           how it ended, by its own script
        verdict       how it ended, by what Slurm said of it; this is what counts
    <uid>/stop        the decision that the job has to end
    <uid>/delete      the decision that it has to go
    <uid>/end         how the job ended

An attempt's directory appears whole, by a rename that fails where there is one already: that is
the one moment at which it is decided who runs it. Decisions appear whole by `link`, which fails the
same way, so that the first of several servers wins. The uid stands in the path so that what is
left of an earlier job of the name finds nothing.
"""

import json
import re
import zlib
from dataclasses import asdict, fields
from typing import Any, Final, NamedTuple

from engines import Reason, State, Status
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Intent, Key, Stop
from engines.slurm.queue import Batch

JOB: Final = "job"
STOP: Final = "stop"
DELETE: Final = "delete"
END: Final = "end"
VERDICT: Final = "verdict"
CLAIM: Final = "claim"
OUT: Final = "out"
ERR: Final = "err"

NOBODY: Final = "engine"
"""Who has an attempt that the engine took so that it can't be run any more."""

_LAST_SIGNAL: Final = 64
_SIGNAL_BASE: Final = 128
_SUBMITTED: Final = re.compile(r"(\d+)\.(\d+)-(\d+)\.slurm\.(\d+)", re.ASCII)
_ATTEMPT: Final = re.compile(r"(\d+)\.(\d+)", re.ASCII)


class KeptJob(NamedTuple):
    """A job as its file has it; `spec` is serialised."""

    intent: Intent
    spec: bytes


class Attempt(NamedTuple):
    """One run of one instance. `slurm` is the job that runs it, with how often it was requeued."""

    instance: int
    attempt: int
    start_time: float
    slurm: str = ""
    restarts: int = 0
    node: str = ""
    end: End | None = None


class Written(NamedTuple):
    """How an attempt's script says that it ended; `stopped`, whether it saw that it had to."""

    end: End
    stopped: bool


def attempt_name(key: Key) -> str:
    """The name of an attempt's directory."""
    return f"{key[0]}.{key[1]}"


def parse_attempt_name(name: str) -> Key | None:
    """Instance and attempt of such a name; None for any other file's."""
    match = _ATTEMPT.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def submitted_name(batch: Batch, number: str) -> str:
    """The name of the file that says that these were submitted as that job of Slurm's."""
    return f"{batch.attempt}.{batch.first}-{batch.last}.slurm.{number}"


def parse_submitted_name(name: str) -> tuple[Batch, str] | None:
    """The submission that such a name tells of; None for any other file's."""
    match = _SUBMITTED.fullmatch(name)
    return (Batch(int(match[1]), int(match[2]), int(match[3])), match[4]) if match else None


def encode_job(kept: KeptJob) -> bytes:
    """A `job` file: a checksum and the length of the intent, then both."""
    intent = json.dumps(kept.intent._asdict()).encode()
    body = intent + kept.spec
    return b"%08x %d\n" % (zlib.crc32(body), len(intent)) + body


def parse_job(data: bytes) -> KeptJob:
    """A `job` file's; ValueError if it is damaged."""
    head, _, body = data.partition(b"\n")
    crc, length = head.split()
    if int(crc, 16) != zlib.crc32(body):
        raise ValueError("torn job file")
    return KeptJob(_tuple_of(Intent, body[: int(length)].decode()), body[int(length) :])


def encode_claim(time: float, slurm: str, node: str) -> str:
    """A `claim` file, as the script writes it too."""
    return f"{time:.6f} {slurm} {node or '-'}\n"


def parse_claim(key: Key, text: str) -> Attempt:
    """The attempt that such a file tells of; a damaged one is told to have begun by nobody."""
    try:
        time, slurm, node = text.split()
        number, _, restarts = slurm.partition(".")
        where = "" if node == "-" else node
        return Attempt(*key, float(time), number, int(restarts or 0), where)
    except ValueError:
        return Attempt(*key, 0.0, NOBODY)


def parse_end(text: str) -> Written | None:
    """How an attempt's script says that it ended; None for a damaged file."""
    try:
        reason, said, time, stopped = text.split()
        code, when = int(said), float(time)
    except ValueError:
        return None
    if reason == facts.EXITED:
        return Written(exit_of(code, when), stopped == "1")
    if reason in (facts.NEVER_RAN, facts.START_FAILED):
        return Written(End(reason, when), stopped == "1")
    return None


def exit_of(code: int, time: float) -> End:
    """The end of a command by what the shell says: 129 and up are signals."""
    if _SIGNAL_BASE < code <= _SIGNAL_BASE + _LAST_SIGNAL:
        return End(facts.EXITED, time, signal=code - _SIGNAL_BASE)
    return End(facts.EXITED, time, code=code)


def encode(value: End | Stop) -> bytes:
    """A decision's file."""
    return json.dumps(value._asdict()).encode()


def parse_verdict(data: bytes, time: float) -> End:
    """How an attempt ended; a damaged file says that nobody knows."""
    try:
        verdict: End = _tuple_of(End, data.decode())
    except (TypeError, ValueError, AttributeError):
        return End(facts.LOST, time, message="the record of its end is damaged")
    return verdict


def parse_stop(data: bytes, reason: str, time: float) -> Stop:
    """A decision to stop; a damaged one still says that, for this reason."""
    try:
        stop: Stop = _tuple_of(Stop, data.decode())
    except (TypeError, ValueError, AttributeError):
        return Stop(reason, time, 0.0)
    return stop


def encode_status(status: Status) -> bytes:
    """How a job ended."""
    return json.dumps(asdict(status)).encode()


def parse_status(data: bytes) -> Status:
    """How a job ended. Where that is damaged, nobody can tell any more."""
    try:
        values = json.loads(data)
        known = {field.name: values[field.name] for field in fields(Status)}
        known |= {"state": State(known["state"]), "reason": Reason(known["reason"])}
        return Status(**known)
    except (KeyError, TypeError, ValueError):
        message = "the record of its end is damaged"
        return Status(state=State.LOST, reason=Reason.UNKNOWN, message=message)


def _tuple_of(kind: type[Any], text: str) -> Any:  # noqa: ANN401 - a NamedTuple of that kind
    """A NamedTuple out of JSON; fields that only a later version knows are left out."""
    values = json.loads(text)
    return kind(**{name: values[name] for name in kind._fields if name in values})
