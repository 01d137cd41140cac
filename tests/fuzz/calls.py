"""One random call: how it is made, how it is played, and what it must not end with."""

import asyncio
import functools
import re
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import grpc
from google.protobuf import any_pb2, message_factory, text_format
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from server.app import OPTIONS
from tests.clients.server import ROOT
from tests.fuzz.messages import SERVICE, Known, Maker, tame

GRACE_SECONDS = 5.0
"""How long after its deadline a call may take to end."""

PROMPT_SECONDS = 4.0
"""A call that has at least so long, and that waits for nothing, is answered in time."""

MAX_MESSAGE_BYTES = dict(OPTIONS)["grpc.max_receive_message_length"]

_PREFIX = f"/{SERVICE.full_name}/"
_DETAILS = "grpc-status-details-bin"

_EVERYWHERE = frozenset(
    {"INVALID_FIELD", "ENGINE_UNAVAILABLE", "ENGINE_TIMEOUT", "SERVER_STOPPING", "LIMIT_REACHED"}
)
REASONS = {
    "CreateJob": {"UNSUPPORTED_FIELD", "JOB_ALREADY_EXISTS"},
    "DeleteJob": {"JOB_NOT_FOUND", "UID_MISMATCH"},
    "ReadJob": {"JOB_NOT_FOUND"},
    "ReadStatus": {"JOB_NOT_FOUND"},
    "WatchStatus": {"JOB_NOT_FOUND"},
    "CancelJob": {"JOB_NOT_FOUND", "UID_MISMATCH"},
    "ListJobs": {"INVALID_TOKEN"},
    "WatchJobs": set[str](),
    "ReadLogs": {"JOB_NOT_FOUND", "UNSUPPORTED_FIELD", "INVALID_TOKEN"},
    "ReadEngine": set[str](),
}
"""By RPC: why it may be refused, beside what may befall all of them."""

_PROMPT = {
    "fake": {"ReadEngine", "ListJobs"},
    "local": {"ReadEngine", "ListJobs", "ReadJob", "ReadStatus"},
}
"""By engine: RPCs that wait for nothing (the fake engine's jobs may be told to be slow)."""

_MADE_HERE = "Internal error from Core"
"""What grpc.aio's client calls INTERNAL by itself, in place of the answer's own code."""

_ABOUT_JOBS = {"JOB_NOT_FOUND", "JOB_ALREADY_EXISTS", "UID_MISMATCH"}


@functools.cache
def documented() -> dict[str, grpc.StatusCode]:
    """The codes of all reasons, as docs/errors.md has them."""
    rows = re.findall(
        r"^\| ([A-Z_]+) \| ([A-Z_]+) \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE
    )
    return {reason: grpc.StatusCode[code] for reason, code in rows}


@dataclass(frozen=True, slots=True)
class Call:
    """All that a call does; the same call can be played again."""

    index: int
    rpc: str
    kind: str
    messages: tuple[bytes, ...]
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    timeout: float = 5.0
    cancel_after: float | None = None
    reads: int | None = None
    gzip: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it stands in a file of failures."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["messages"] = [message.hex() for message in self.messages]
        fields["metadata"] = [
            [key, {"hex": value.hex()} if isinstance(value, bytes) else value]
            for key, value in self.metadata
        ]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Call":
        """What `to_json` made."""
        metadata = tuple(
            (key, bytes.fromhex(value["hex"]) if isinstance(value, dict) else value)
            for key, value in fields["metadata"]
        )
        messages = tuple(bytes.fromhex(message) for message in fields["messages"])
        return cls(**{**fields, "messages": messages, "metadata": metadata})

    def text(self) -> str:
        """For people: the messages as text, where they can be decoded."""
        lines = [f"call {self.index}: {self.rpc}, {self.kind}, {len(self.messages)} message(s)"]
        request_class = message_factory.GetMessageClass(
            SERVICE.methods_by_name[self.rpc].input_type
        )
        for raw in self.messages:
            lines.append(f"hex: {_shorten(raw.hex())}")
            try:
                decoded = text_format.MessageToString(request_class.FromString(raw))
            except DecodeError:
                decoded = "(can't be decoded)"
            lines.append(_shorten(decoded))
        if self.metadata:
            lines.append(f"metadata: {_shorten(repr(self.metadata))}")
        lines.append(
            f"timeout {self.timeout:g} s, cancelled after {self.cancel_after} s, "
            f"reads {self.reads}, gzip {self.gzip}"
        )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call went."""

    code: grpc.StatusCode
    text: str
    details: bytes | None
    answers: int
    seconds: float
    cancelled: bool
    problem: str = ""


def make_call(index: int, random: Random, known: Known, engine: str) -> Call:
    """A random call. The same index, state of `random` and `known` make the same one."""
    maker = Maker(random, known, engine)
    method = random.choice(
        [*SERVICE.methods, SERVICE.methods_by_name["CreateJob"]]  # without jobs, the rest is dull
    )
    kind, raw = maker.request(method)
    messages: tuple[bytes, ...] = (raw,)
    if random.random() < 0.02:
        # What a unary call must not do: it half-closes before its message, or sends another one.
        # It is left alone with that: grpc.aio's client may hang where such a call is cancelled.
        messages = random.choice(((), (raw, raw), (raw, b"", b"\xff")))
        return Call(index, method.name, f"{kind}, other count", messages, timeout=1.0)
    return Call(
        index=index,
        rpc=method.name,
        kind=kind,
        messages=messages,
        metadata=_metadata(random) if random.random() < 0.2 else (),
        timeout=random.choices((0.001, 0.01, 0.1, 0.5, 2.0, 5.0), (1, 1, 2, 4, 4, 12))[0],
        cancel_after=random.expovariate(20) if random.random() < 0.15 else None,
        reads=random.choice((0, 1, 3)) if random.random() < 0.4 else None,
        gzip=random.random() < 0.1,
    )


def _metadata(random: Random) -> tuple[tuple[str, str | bytes], ...]:
    keys = ("a", "x-y", "x.y_z", "0", "a-bin", "x" * 200, "accept", "cookie", "authorization")
    found: list[tuple[str, str | bytes]] = []
    for _ in range(random.choice((1, 1, 2, 5, 40))):
        key = random.choice(keys)
        size = random.choices((0, 1, 20, 300, 3000), (2, 2, 4, 2, 1))[0]
        if key.endswith("-bin"):
            found.append((key, random.randbytes(size)))
        else:
            found.append((key, "".join(chr(random.randrange(0x20, 0x7F)) for _ in range(size))))
    return tuple(found)


async def play(channel: grpc.aio.Channel, call: Call, known: Known, engine: str) -> Outcome:
    """Make the call and see it through."""
    messages = call.messages
    if call.rpc == "CreateJob":  # again, as it may come from a file
        messages = tuple(tame(message, engine) for message in messages)
    began = time.monotonic()
    rpc = _start(channel, call, messages)
    cancelled = False

    def cancel() -> None:
        nonlocal cancelled
        cancelled = rpc.cancel() or cancelled

    loop = asyncio.get_running_loop()
    timer = None if call.cancel_after is None else loop.call_later(call.cancel_after, cancel)
    raws: list[bytes] = []
    problem = ""
    try:
        async with asyncio.timeout(call.timeout + GRACE_SECONDS):
            await _exchange(rpc, messages, call, raws)
            if not rpc.done() and call.reads is not None:
                cancel()
            code, text = await rpc.code(), await rpc.details()
            trailers = dict(await rpc.trailing_metadata() or ())
    except TimeoutError:
        rpc.cancel()
        problem = f"didn't end within its deadline and {GRACE_SECONDS:g} s"
        code, text, trailers = grpc.StatusCode.UNKNOWN, "", {}
    finally:
        if timer is not None:
            timer.cancel()
    problem = problem or _learn(call, raws, known)
    seconds = time.monotonic() - began
    details = trailers.get(_DETAILS)
    assert details is None or isinstance(details, bytes)
    return Outcome(code, text or "", details, len(raws), seconds, cancelled, problem)


def _start(channel: grpc.aio.Channel, call: Call, messages: tuple[bytes, ...]) -> Any:
    """Begin the call: answers are read one by one, be they one or many."""
    path = _PREFIX + call.rpc
    start: Any = channel.stream_stream(path)
    metadata = grpc.aio.Metadata(*call.metadata)
    gzip = grpc.Compression.Gzip if call.gzip else None
    if len(messages) == 1:
        start = functools.partial(channel.unary_stream(path), messages[0])  # type: ignore[arg-type]
    return start(metadata=metadata, timeout=call.timeout, compression=gzip)


async def _exchange(rpc: Any, messages: tuple[bytes, ...], call: Call, raws: list[bytes]) -> None:
    """Send and read until the call's end, or as far as it is to be read."""
    current = asyncio.current_task()
    assert current is not None
    try:
        if len(messages) != 1:
            for message in messages:
                await rpc.write(message)
            await rpc.done_writing()
        while call.reads is None or len(raws) < call.reads:
            raw = await rpc.read()
            if raw is grpc.aio.EOF:
                return
            raws.append(raw)
        # Leave the rest unread for a while.
        await asyncio.wait([asyncio.ensure_future(rpc.code())], timeout=min(call.timeout, 0.3))
    except (grpc.RpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
        pass
    except asyncio.CancelledError:
        if current.cancelling() or not rpc.done():  # the task, not the call
            raise


def _learn(call: Call, raws: list[bytes], known: Known) -> str:
    """Remember what later calls can use; what is wrong with the answers."""
    response_class = message_factory.GetMessageClass(SERVICE.methods_by_name[call.rpc].output_type)
    for raw in raws:
        try:
            answer: Any = response_class.FromString(raw)
        except DecodeError:
            return f"an answer that can't be decoded: {_shorten(raw.hex())}"
        for source, target in (
            ("uid", known.uids),
            ("cursor", known.cursors),
            ("next_page_token", known.tokens),
        ):
            if value := getattr(answer, source, ""):
                target.append(value)
        if call.rpc == "CreateJob" and not answer.job.name:
            return "an answer without the job's name"
        if call.rpc == "CreateJob" and answer.job.uid:
            known.uids.append(answer.job.uid)
    return ""


def judge(call: Call, outcome: Outcome, engine: str) -> str:
    """What is wrong with how the call went; nothing if it is as documented."""
    if outcome.problem:
        return outcome.problem
    if outcome.details is not None:
        return _judge_details(call, outcome)
    code = outcome.code
    if code == grpc.StatusCode.OK:
        unary = not SERVICE.methods_by_name[call.rpc].server_streaming
        return (
            "OK without an answer" if unary and not outcome.answers and call.reads is None else ""
        )
    if code == grpc.StatusCode.CANCELLED and outcome.cancelled:
        return ""
    if code == grpc.StatusCode.DEADLINE_EXCEEDED and outcome.seconds >= call.timeout * 0.9 - 0.01:
        late = call.rpc in _PROMPT[engine] and call.timeout >= PROMPT_SECONDS
        return "no answer in time" if late and len(call.messages) == 1 else ""
    too_large = max(map(len, call.messages), default=0) > MAX_MESSAGE_BYTES
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED and (too_large or _size(call) > 6000):
        return ""  # what gRPC refuses by itself; of metadata, it takes 8 KiB for sure
    if len(call.messages) != 1 and outcome.text == _MADE_HERE:
        return ""  # what was to be written found the call ended
    return f"{code.name} without details: {outcome.text!r}"


def _size(call: Call) -> int:
    """The call's metadata as HTTP/2 counts it."""
    return sum(len(key) + len(value) + 32 for key, value in call.metadata)


def _judge_details(call: Call, outcome: Outcome) -> str:
    try:
        status = status_pb2.Status.FromString(outcome.details or b"")
        details = [_unpack(detail) for detail in status.details]
    except (DecodeError, KeyError) as error:
        return f"details that can't be decoded: {error!r}"
    by_type: dict[str, Any] = {detail.DESCRIPTOR.name: detail for detail in details}
    info = by_type.get("ErrorInfo")
    if len(by_type) != len(details) or info is None:
        return f"details {sorted(by_type)}, of {len(details)}"
    number: int = outcome.code.value[0]
    reason: str = info.reason
    checks = {
        "INTERNAL, which nobody may cause": outcome.code == grpc.StatusCode.INTERNAL,
        "code and text aren't those of the details": (status.code, status.message)
        != (number, outcome.text),
        "a domain that isn't ours": info.domain != "jobengine",
        "a reason that isn't documented for it": reason not in REASONS[call.rpc] | _EVERYWHERE,
        "a code that isn't documented for its reason": documented().get(reason) != outcome.code,
        "no text": not outcome.text,
        "no field is named": outcome.code == grpc.StatusCode.INVALID_ARGUMENT
        and not _names_fields(by_type.get("BadRequest")),
        "no job is named": reason in _ABOUT_JOBS
        and not getattr(by_type.get("ResourceInfo"), "resource_name", ""),
        "nothing of when to try again": outcome.code == grpc.StatusCode.UNAVAILABLE
        and "RetryInfo" not in by_type,
    }
    wrong = [what for what, is_so in checks.items() if is_so]
    return f"{outcome.code.name} {reason}: {', '.join(wrong)}" if wrong else ""


def _names_fields(bad: error_details_pb2.BadRequest | None) -> bool:
    violations = bad.field_violations if bad is not None else ()
    return bool(violations) and all(each.field and each.description for each in violations)


def _unpack(packed: any_pb2.Any) -> Message:
    name = packed.type_url.rpartition("/")[2].rpartition(".")[2]
    known = error_details_pb2.DESCRIPTOR.message_types_by_name[name]
    return message_factory.GetMessageClass(known).FromString(packed.value)


def _shorten(text: str, size: int = 1500) -> str:
    return text if len(text) <= size else f"{text[:size]}… ({len(text)} characters)"


def write_file(path: Path, calls: list[Call]) -> None:
    """Keep calls for --replay."""
    import json

    path.write_text("".join(json.dumps(call.to_json()) + "\n" for call in calls))
