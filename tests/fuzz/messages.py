"""Random requests of every RPC: valid ones, nearly valid ones, mutated bytes, and noise."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, EncodeError, Message
from google.protobuf.struct_pb2 import Struct

from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_pb2 import JobSpec

SERVICE = api.DESCRIPTOR.services_by_name["JobEngine"]

HARMLESS = (("true",), ("sh", "-c", "exit 3"), ("sleep", "0.05"))
"""All that a fuzzed job may run: the local engine really runs it, as this very user."""

NAMES = tuple(f"fuzz-{number}" for number in range(20))
REQUEST_IDS = tuple(f"request-{number}" for number in range(30))
USERS = ("", "nobody", "65534:65534", "no-such-user", "a b", ":", "4294967296", "ä")
DIRECTORIES = ("", "/nonexistent/fuzz", "relative", "..", "/nonexistent/\0")

MAX_COUNT = {"fake": 40, "local": 3}
"""Instances and retries of a job: what the server allows would keep the machine busy for hours."""

MAX_TEXT_BYTES = 4 << 20
"""About as much text in one request: a fuzzer that is busy with sending finds little."""

PART_BYTES = 64
"""What a field counts of that, whatever it holds."""

_TEXTS = (
    *("", " ", "a", "A", "-", "0", ".", "..", "../../etc/passwd", "a/b", "a=b", "a,b", "(", "%s%n"),
    *("\0", "a\0b", "\n", "a\n", "\t", "\x1b[31m", "\x7f", "\u202e", "\ufeff", "\u0301", "\uffff"),
    *("ä", "٣", "ﬁ", "ß", "İ", "\U0001f600", "\U0010ffff", "${x}", "{0}", "<a>", "'\"`", "\\"),
    *("true", "null", "NaN", "-1", "1e999", "0x10", "app=fuzz", "jobengine.dev/a", "a.b/c"),
    *("9" * 25, "0" * 5000 + "1", "JOBENGINE_JOB_UID", "fake.jobengine.dev/output"),
)
_SELECTORS = ("", "", "app=fuzz", "app!=fuzz", "n in (1,2,3),!x", "n notin (1)", "app", "!app")
_WRONG_SELECTORS = (
    *("app=fuzz,", "n in (", "((((", "a in b", "=", "app=fuzz;n=1", " ", "a=,b", "!" * 4000),
    *(
        ",".join(["a=b"] * 500),
        "a" + " " * 4000 + "(",
        "a in (" + "b," * 2000,
        "a in (" + ", " * 40,
    ),
)
_SELECTOR_WORDS = ("a", "b-c", "=", "!=", "!", ",", " ", ", ", "in (", " notin (", ")", "$")
_KNOBS = {
    "run-for": ("0", "0.05", "0.5"),
    "pending-for": ("0.02", "0.2"),
    "exit-code": ("0", "3"),
    "signal": ("9", "15"),
    "failures": ("1", "2"),
    "output": ("a\nb", "!c\n$JOB_COMPLETION_INDEX", "\n" * 100),
    "slow": ("0.01", "0.05"),
    "stop-for": ("0.05", "1"),
    "vanish": ("0.1", "0"),
    "reason": ("OOM_KILLED", "EVICTED", "NODE_LOST"),
    "hang": ("read_job", "read_status,read_logs"),
}
_WRONG_KNOBS = (
    *(("run-for", "nan"), ("run-for", "1e999"), ("exit-code", "²"), ("exit-code", "256")),
    *(("failures", "9" * 5000), ("hang", "nothing"), ("reason", "a"), ("no-such-knob", "")),
)
_WHOLE = (0, 0, 1, 1, 2, 3, -1, 7, 1000, 100_000, 100_001)
_SECONDS = (0, 0, 1, 2, 5, 60, -1, 86_400, 86_401, 315_360_000, 315_360_001, 315_576_000_001)
_NANOS = (0, 0, 0, 1, 500_000_000, 999_999_999, 1_000_000_000, -1, (1 << 31) - 1, -(1 << 31))
_FLOATS = (0.0, -0.0, 1.5, -1e308, 1e-320, math.inf, -math.inf, math.nan)


@dataclass(frozen=True, slots=True)
class Known:
    """What answers have told: it makes requests that go further than the first check."""

    uids: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    cursors: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    tokens: deque[str] = field(default_factory=lambda: deque(maxlen=20))


class Maker:
    """Makes requests. The same state of `random` and `known` makes the same ones."""

    def __init__(self, random: Random, known: Known, engine: str) -> None:
        self._random = random
        self._known = known
        self._engine = engine
        self._left = 0
        self._valid: dict[str, Callable[[], Message]] = {
            "CreateJob": self._create,
            "DeleteJob": self._delete,
            "ReadJob": lambda: api.ReadJobRequest(name=self._name()),
            "ReadStatus": lambda: api.ReadStatusRequest(name=self._name(), fresh=self._maybe()),
            "WatchStatus": self._watch_status,
            "CancelJob": lambda: api.CancelJobRequest(
                name=self._name(), uid=self._uid(), grace_period=self._duration(0.3)
            ),
            "ListJobs": self._list,
            "WatchJobs": self._watch_jobs,
            "ReadLogs": self._logs,
            "ReadEngine": api.ReadEngineRequest,
        }

    def request(self, method: MethodDescriptor) -> tuple[str, bytes]:
        """A request, and which kind of request it is."""
        makers: dict[str, tuple[float, Callable[[], bytes]]] = {
            "valid": (6, lambda: self._valid[method.name]().SerializeToString()),
            "nearly": (6, lambda: self._nearly(method).SerializeToString()),
            "random": (2, lambda: self._random_message(method).SerializeToString()),
            "extended": (1, lambda: self._extended(method)),
            "swollen": (0.05, lambda: self._swollen(method)),
            "mutated": (4, lambda: self._mutated(method)),
            "garbage": (1, lambda: self._random.randbytes(self._size())),
        }
        self._left = MAX_TEXT_BYTES
        kind = self._random.choices(list(makers), [weight for weight, _ in makers.values()])[0]
        raw = makers[kind][1]()
        return kind, tame(raw, self._engine) if method.name == "CreateJob" else raw

    # -- valid ones ---------------------------------------------------------------------------

    def _maybe(self, chance: float = 0.5) -> bool:
        return self._random.random() < chance

    def _name(self) -> str:
        return self._random.choice(NAMES)

    def _uid(self) -> str:
        return self._random.choice(self._known.uids) if self._known.uids and self._maybe() else ""

    def _cursor(self) -> str:
        cursors = self._known.cursors
        return self._random.choice(cursors) if cursors and self._maybe() else ""

    def _duration(self, most: float) -> Duration | None:
        if self._maybe(0.7):
            return None
        return Duration(nanos=round(self._random.uniform(0.001, most) * 1e9) % 1_000_000_000)

    def _selector(self) -> str:
        if self._maybe(0.1):
            words = self._random.choices(_SELECTOR_WORDS, k=self._random.choice((3, 8, 60)))
            return "".join(words)
        return self._random.choice(_WRONG_SELECTORS if self._maybe(0.1) else _SELECTORS)

    def _create(self) -> api.CreateJobRequest:
        choice = self._random.choice
        spec = JobSpec(
            command=choice(HARMLESS),
            env={"FUZZ_A": choice(_TEXTS[:13])},
            completions=choice((0, 0, 1, 2, 3)),
            max_retries=choice((0, 0, 1)),
            timeout=self._duration(0.9),
            start_timeout=self._duration(0.9),
            ttl_after_finished=self._duration(0.9),
            labels={"app": "fuzz", "n": str(self._random.randrange(5))},
            annotations={"example.com/note": choice(_TEXTS[:13])},
        )
        if self._engine == "fake":
            spec.image = choice(("", "fuzz.invalid/none"))
            for knob in self._random.sample(list(_KNOBS), self._random.choice((0, 1, 2))):
                spec.annotations[f"fake.jobengine.dev/{knob}"] = choice(_KNOBS[knob])
            if self._maybe(0.05):
                knob, value = choice(_WRONG_KNOBS)
                spec.annotations[f"fake.jobengine.dev/{knob}"] = value
        return api.CreateJobRequest(
            name=self._name() if self._maybe(0.8) else "",
            request_id=choice(REQUEST_IDS) if self._maybe() else "",
            spec=spec,
            validate_only=self._maybe(0.1),
        )

    def _delete(self) -> api.DeleteJobRequest:
        return api.DeleteJobRequest(
            name=self._name(),
            uid=self._uid(),
            allow_missing=self._maybe(),
            wait=self._maybe(),
            grace_period=self._duration(0.3),
        )

    def _watch_status(self) -> api.WatchStatusRequest:
        return api.WatchStatusRequest(
            name=self._name(), cursor=self._cursor(), heartbeat_interval=self._duration(0.9)
        )

    def _watch_jobs(self) -> api.WatchJobsRequest:
        return api.WatchJobsRequest(
            label_selector=self._selector(),
            cursor=self._cursor(),
            heartbeat_interval=self._duration(0.9),
        )

    def _list(self) -> api.ListJobsRequest:
        known = self._known.tokens
        return api.ListJobsRequest(
            page_size=self._random.choice((0, 1, 2, 10, 5000)),
            page_token=self._random.choice(known) if known and self._maybe() else "",
            label_selector=self._selector(),
            states=self._random.sample(range(1, 7), self._random.randrange(3)),  # type: ignore[arg-type]
        )

    def _logs(self) -> api.ReadLogsRequest:
        return api.ReadLogsRequest(
            name=self._name(),
            instance=self._random.choice((0, 0, 0, 0, 1)),
            stream=self._random.randrange(3),  # type: ignore[arg-type]
            follow=self._maybe(),
            tail_lines=self._random.choice((None, 0, 1, 100)),
            cursor=self._random.choice(("", "", "", "0.0", "0.3", "9.9", self._cursor())),
        )

    # -- by the descriptors -------------------------------------------------------------------

    def _nearly(self, method: MethodDescriptor) -> Message:
        message = self._valid[method.name]()
        for _ in range(self._random.choice((1, 1, 2, 3))):
            self._disturb(message)
        return message

    def _random_message(self, method: MethodDescriptor) -> Message:
        message = message_factory.GetMessageClass(method.input_type)()
        self._fill(message, 0)
        return message

    def _disturb(self, message: Message) -> None:
        """Set one field, anywhere below."""
        fields: Sequence[Any] = message.DESCRIPTOR.fields
        if not fields:
            return
        chosen = self._random.choice(fields)
        inner = chosen.message_type is not None and not chosen.is_repeated
        if inner and self._maybe(0.8):
            self._disturb(getattr(message, chosen.name))
        else:
            self._set(message, chosen, 0)

    def _fill(self, message: Message, depth: int) -> None:
        fields: Sequence[Any] = message.DESCRIPTOR.fields
        for each in fields:
            if self._maybe(0.6):
                self._set(message, each, depth)

    def _set(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        # A Struct of Structs of many parts each would take minutes to make.
        self._left -= PART_BYTES
        if self._left < 0:
            return
        target: Any = getattr(message, field.name)
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            for _ in range(self._many()):
                self._put(target, kind.fields_by_name, depth)
        elif field.is_repeated:
            del target[:]
            for _ in range(self._many()):
                if kind is not None:
                    self._set_message(target.add(), depth + 1)
                else:
                    target.append(self._scalar(field))
        elif kind is not None:
            target.SetInParent()
            self._set_message(target, depth + 1)
        else:
            setattr(message, field.name, self._scalar(field))

    def _put(self, target: Any, entry: Any, depth: int) -> None:
        key = self._random.choice((self._text, lambda: f"k{self._random.randrange(10_000)}"))()
        if entry["value"].message_type is not None:
            self._set_message(target[key], depth + 1)
        else:
            target[key] = self._scalar(entry["value"])

    def _set_message(self, message: Message, depth: int) -> None:
        if isinstance(message, Duration):
            message.seconds = self._random.choice((*_SECONDS, *(_edges(63))))
            message.nanos = self._random.choice(_NANOS)
        elif isinstance(message, Struct):
            message.MergeFrom(self._struct(self._random.choice((0, 1, 2, 20))))
        elif depth < 8:
            self._fill(message, depth)

    def _struct(self, depth: int) -> Struct:
        struct = Struct()
        for _ in range(self._random.choice((1, 1, 2))):
            value = struct.fields[self._text()]
            if depth:
                value.struct_value.CopyFrom(self._struct(depth - 2 if depth > 1 else 0))
            elif self._maybe():
                value.number_value = self._random.choice(_FLOATS)
            else:
                value.list_value.values.add().string_value = self._text()
        return struct

    def _scalar(self, field: FieldDescriptor) -> Any:
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
                return self._random.randbytes(self._size())
            case FieldDescriptor.CPPTYPE_STRING:
                return self._text()
            case FieldDescriptor.CPPTYPE_BOOL:
                return self._maybe()
            case FieldDescriptor.CPPTYPE_ENUM:
                return self._random.choice((0, 1, 2, 3, 99, -1, *_edges(31)))
            case FieldDescriptor.CPPTYPE_INT32:
                return self._random.choice((*_WHOLE, *_edges(31)))
            case FieldDescriptor.CPPTYPE_INT64:
                return self._random.choice((*_WHOLE, *_edges(31), *_edges(63)))
            case FieldDescriptor.CPPTYPE_DOUBLE:
                return self._random.choice(_FLOATS)
            case _:
                raise AssertionError(f"{field.full_name}: no field had this type before")

    def _text(self) -> str:
        choose = self._random
        if self._left < 0:
            return choose.choice(NAMES)
        text = self._any_text()
        self._left -= len(text)
        return text

    def _any_text(self) -> str:
        choose = self._random
        match choose.choices(range(6), (10, 4, 4, 2, 1, 0.05))[0]:
            case 0:
                return choose.choice(_TEXTS)
            case 1:
                return choose.choice(NAMES)
            case 2:
                return "".join(chr(choose.randrange(0xD800)) for _ in range(choose.randrange(20)))
            case 3:
                return choose.choice("aA0-ä\0") * choose.choice((63, 64, 128, 129, 253, 1025))
            case 4:
                return choose.choice("aä ") * choose.choice((4096, 4097, 20_000, 131_073))
            case _:
                return "a" * choose.choice((1 << 20, 3 << 20))

    def _many(self) -> int:
        return self._random.choices((0, 1, 2, 5, 300, 3000), (2, 8, 4, 2, 0.3, 0.1))[0]

    def _size(self) -> int:
        return self._random.choices((0, 1, 5, 20, 200, 5000), (1, 2, 4, 4, 2, 1))[0]

    # -- by the bytes -------------------------------------------------------------------------

    def _base(self, method: MethodDescriptor) -> bytes:
        maker = self._valid[method.name] if self._maybe() else lambda: self._nearly(method)
        return maker().SerializeToString()

    def _extended(self, method: MethodDescriptor) -> bytes:
        """A request with what its descriptor doesn't know, or nested as no library would."""
        unknown = b"".join(self._unknown() for _ in range(self._random.choice((1, 1, 2, 500))))
        if method.name == "CreateJob" and self._maybe(0.7):
            depth = self._random.choice((5, 30, 45, 60, 500, 5000))
            inner = self._random.choice((unknown, _field(20, _field(1, _nested(depth)))))
            return self._base(method) + _field(3, inner)
        return self._base(method) + unknown

    def _swollen(self, method: MethodDescriptor) -> bytes:
        """A request with very many small parts, known and unknown ones."""
        choice = self._random.choice
        count = choice((1000, 30_000, 400_000))
        tag = _varint(choice((*range(1, 21), 99)) << 3 | choice((0, 2)))
        inner = choice(((tag + b"\0") * count, _field(choice((4, 14)), b"\1" * count)))
        return self._base(method) + (_field(3, inner) if method.name == "CreateJob" else inner)

    def _unknown(self) -> bytes:
        choice = self._random.choice
        number = choice((15, 21, 99, 1000, 19_000, (1 << 29) - 1, 0))
        payloads = (
            (0, _varint(choice((0, 1, (1 << 64) - 1)))),
            (1, b"\xff" * 8),
            (2, _varint(3) + b"abc"),
            (3, _varint(number << 3 | 4)),
            (5, b"\0" * 4),
            (6, b""),
        )
        wire_type, payload = choice(payloads)
        return _varint(number << 3 | wire_type) + payload

    def _mutated(self, method: MethodDescriptor) -> bytes:
        raw = bytearray(self._base(method))
        for _ in range(self._random.choice((1, 1, 2, 4))):
            self._mutate(raw, method)
        return bytes(raw)

    def _mutate(self, raw: bytearray, method: MethodDescriptor) -> None:
        at = self._random.randrange(len(raw) + 1)
        until = min(len(raw), at + self._random.choice((1, 2, 8, 64)))
        match self._random.randrange(7):
            case 0 if raw:
                raw[at % len(raw)] ^= 1 << self._random.randrange(8)
            case 1:
                del raw[at:]
            case 2:
                del raw[at:until]
            case 3:
                raw[at:at] = raw[at:until] * self._random.choice((1, 2, 50))
            case 4:
                raw[at:at] = self._random.randbytes(self._random.choice((1, 2, 5, 40)))
            case 5 if raw:
                raw[at % len(raw)] = self._random.choice((0x00, 0x7F, 0x80, 0xFF))
            case _:
                other = self._base(self._random.choice((method, *SERVICE.methods)))
                raw[at:] = other[self._random.randrange(len(other) + 1) :]


def tame(raw: bytes, engine: str) -> bytes:
    """These bytes, or such as the engine may be given in their place.

    The local engine gets no command but those of HARMLESS, nothing of the machine to mount or to
    work in, and no variable that changes what a command does. What can't be decoded here can't be
    decoded by the server.
    """
    try:
        request = api.CreateJobRequest.FromString(raw)
    except DecodeError:
        return raw
    changed = _tame_counts(request.spec, MAX_COUNT[engine])
    if engine == "local":
        changed |= _tame_command(request.spec) | _tame_surroundings(request.spec)
    if not changed:
        return raw
    try:
        return request.SerializeToString()
    except EncodeError:  # nested too deep
        request.ClearField("spec")
        return request.SerializeToString()


def _tame_counts(spec: JobSpec, most: int) -> bool:
    changed = False
    for name in ("completions", "parallelism", "max_retries"):
        if most < getattr(spec, name) <= 100_000:  # more than that is refused
            setattr(spec, name, most)
            changed = True
    return changed


def _tame_command(spec: JobSpec) -> bool:
    """Commands that can't be started at all may stay: no program, or a NUL in its name."""
    command = tuple(spec.command)
    if command == ("true",) or (command and (not command[0] or "\0" in command[0])):
        return False
    if not command and not spec.args:
        return False
    if command in HARMLESS:
        changed = bool(spec.args)
        del spec.args[:]
        return changed
    del spec.command[:]
    spec.command.append("true")
    return True


def _tame_surroundings(spec: JobSpec) -> bool:
    before = JobSpec()
    before.CopyFrom(spec)
    if spec.user not in USERS:
        spec.user = ""
    if spec.working_dir not in DIRECTORIES:
        spec.working_dir = ""
    if spec.image and "\0" not in spec.image:
        spec.image = "fuzz.invalid/none"
    for name in [*spec.env]:
        if name and not name.startswith(("FUZZ_", "JOBENGINE_")) and "=" not in name:
            del spec.env[name]
    for mount in spec.mounts:
        if mount.WhichOneof("source") == "host_path":
            mount.host_path = "/nonexistent/fuzz"
    return spec.SerializeToString(deterministic=True) != before.SerializeToString(
        deterministic=True
    )


def _edges(bits: int) -> Sequence[int]:
    return (1 << bits) - 1, -(1 << bits)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _nested(depth: int) -> bytes:
    """An entry of a Struct whose value is lists in lists."""
    value = b""
    for _ in range(depth):
        value = _field(6, _field(1, value))
    return _field(1, b"a") + _field(2, value)
