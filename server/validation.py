"""Pure checks of requests: each returns the fields that are wrong, all of them, in order."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from engines.errors import FieldViolation
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1 import job_pb2
from server.selector import Selector, parse_selector

Violations = Iterator[FieldViolation]

MAX_INSTANCES = 100_000
"""Completions, parallelism and retries of one job at most."""

MAX_DURATION_SECONDS = 10 * 365 * 86_400
"""Ten years: what is longer is a mistake, and overflows the clocks of some engines."""

MAX_STATES = 100
MAX_LABELS = 64
MAX_MOUNTS = 100
MAX_VIOLATIONS = 100
"""So many are looked for: no more can be told anyway, and each takes time and memory."""

MAX_GRACE_SECONDS = 86_400
MAX_CPU_MILLIS = 10_000_000
MAX_MEMORY_BYTES = 1 << 50
MAX_GPUS = 10_000
MAX_TEXT_BYTES = 128 * 1024
"""One argument or environment variable at most: Linux refuses longer ones (MAX_ARG_STRLEN)."""

MAX_ANNOTATION_BYTES = 256 * 1024
MAX_SELECTOR_BYTES = 4096
MAX_CURSOR_BYTES = 1024
MAX_TAIL_LINES = 1 << 40

RESERVED_PREFIX = "jobengine.dev/"
RESERVED_ENV = ("JOB_COMPLETION_INDEX", "JOBENGINE_JOB_")
"""How names begin that the service sets itself."""

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{0,128}")
_USER = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]*(:[A-Za-z0-9_][-A-Za-z0-9_.]*)?")


def check_create(request: api.CreateJobRequest, *, max_spec_bytes: int) -> list[FieldViolation]:
    """What is wrong with a CreateJobRequest, whichever the engine."""
    found = itertools.chain(
        check_name(request.name) if request.name else (),
        _request_id(request.request_id),
        _spec(request, max_spec_bytes),
    )
    return list(itertools.islice(found, MAX_VIOLATIONS))


def check_name(name: str) -> list[FieldViolation]:
    """What is wrong with a job's name."""
    if not name:
        return [FieldViolation("name", "is required: give the job's name")]
    if len(name) > 63:
        return [FieldViolation("name", f"is {len(name)} characters long: use at most 63")]
    if not _DNS_LABEL.fullmatch(name):
        return [
            FieldViolation(
                "name",
                f"{name!r} is no DNS label: use lower-case letters, digits and '-', "
                "with a letter or digit at both ends",
            )
        ]
    return []


def check_stop(request: api.DeleteJobRequest | api.CancelJobRequest) -> list[FieldViolation]:
    """What is wrong with a request to delete or cancel."""
    return [
        *check_name(request.name),
        *_duration(request, "grace_period", maximum=MAX_GRACE_SECONDS),
        *_length("uid", request.uid, MAX_CURSOR_BYTES),
    ]


def check_watch(request: api.WatchStatusRequest | api.WatchJobsRequest) -> list[FieldViolation]:
    """What is wrong with the parts that both watches have."""
    return [
        *_length("cursor", request.cursor, MAX_CURSOR_BYTES),
        *_duration(request, "heartbeat_interval", maximum=MAX_DURATION_SECONDS),
    ]


def check_logs(request: api.ReadLogsRequest) -> list[FieldViolation]:
    """What is wrong with a ReadLogsRequest."""
    return [
        *check_name(request.name),
        *_range("instance", request.instance, MAX_INSTANCES),
        *_known_enum("stream", request.stream, api.LogStream.values()),
        *_range("tail_lines", request.tail_lines, MAX_TAIL_LINES),
        *_length("cursor", request.cursor, MAX_CURSOR_BYTES),
    ]


def check_list(request: api.ListJobsRequest) -> list[FieldViolation]:
    """What is wrong with a ListJobsRequest, its selector and token apart."""
    violations = list(_range("page_size", request.page_size, (1 << 31) - 1))
    if (count := len(request.states)) > MAX_STATES:
        return [*violations, FieldViolation("states", f"are {count}: use at most {MAX_STATES}")]
    for index, state in enumerate(request.states):
        violations += _known_enum(f"states[{index}]", state, job_pb2.JobState.values()[1:])
    return violations


def read_selector(text: str) -> tuple[Selector | None, list[FieldViolation]]:
    """A label selector, and what is wrong with it."""
    violations = list(_length("label_selector", text, MAX_SELECTOR_BYTES))
    if not violations:
        try:
            return parse_selector(text), []
        except ValueError as error:
            violations.append(FieldViolation("label_selector", str(error)))
    return None, violations


def _request_id(request_id: str) -> Violations:
    if not _REQUEST_ID.fullmatch(request_id):
        yield FieldViolation(
            "request_id", "use at most 128 printable ASCII characters without spaces, e.g. a UUID"
        )


def _spec(request: api.CreateJobRequest, max_spec_bytes: int) -> Violations:
    if not request.HasField("spec"):
        yield FieldViolation("spec", "is required: say what to run")
        return
    spec = request.spec
    if (size := spec.ByteSize()) > max_spec_bytes:
        yield FieldViolation(
            "spec", f"is {size} bytes long: use at most {max_spec_bytes}, and files for the rest"
        )
        return
    for field, count, maximum in (
        ("labels", len(spec.labels), MAX_LABELS),
        ("mounts", len(spec.mounts), MAX_MOUNTS),
    ):
        if count > maximum:
            yield FieldViolation(f"spec.{field}", f"are {count}: use at most {maximum}")
            return
    yield from _unknown_fields("spec", spec)
    yield from _command(spec)
    yield from _environment(spec)
    yield from _counts(spec)
    yield from _resources(spec)
    for name in ("timeout", "start_timeout"):
        yield from _duration(spec, name, prefix="spec.", zero_allowed=False)
    yield from _duration(spec, "ttl_after_finished", prefix="spec.")
    for index, mount in enumerate(spec.mounts):
        yield from _mount(f"spec.mounts[{index}]", mount)
    if spec.user and not _USER.fullmatch(spec.user):
        yield FieldViolation("spec.user", "use a user's name or number, optionally ':' and a group")
    policies = job_pb2.ImagePullPolicy.values()
    yield from _known_enum("spec.image_pull_policy", spec.image_pull_policy, policies)
    yield from _labels(spec.labels)
    yield from _annotations(spec.annotations)


def _unknown_fields(path: str, message: Message) -> Violations:
    """Fields that this server doesn't know: a newer caller asks for something it can't do."""
    for unknown in UnknownFieldSet(message):  # type: ignore[attr-defined]
        yield FieldViolation(
            path,
            f"has the unknown field number {unknown.field_number}: "
            "this server is older than its caller, upgrade it or leave the field out",
        )
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        if descriptor.message_type.full_name.startswith("google.protobuf."):
            continue
        inner = f"{path}.{descriptor.name}"
        if isinstance(value, Message):
            yield from _unknown_fields(inner, value)
        else:
            for index, item in enumerate(value):
                yield from _unknown_fields(f"{inner}[{index}]", item)


def _command(spec: job_pb2.JobSpec) -> Violations:
    yield from _text("spec.image", spec.image, maximum=4096)
    if spec.image and spec.image != spec.image.strip():
        yield FieldViolation("spec.image", "begins or ends with a space: remove it")
    yield from _text("spec.working_dir", spec.working_dir, maximum=4096)
    if spec.working_dir and not spec.working_dir.startswith("/"):
        yield FieldViolation("spec.working_dir", "is relative: give an absolute path")
    yield from _text("spec.image_pull_secret", spec.image_pull_secret, maximum=253)
    for field in ("command", "args"):
        for index, text in enumerate(getattr(spec, field)):
            yield from _text(f"spec.{field}[{index}]", text)
    if spec.command and not spec.command[0]:
        yield FieldViolation("spec.command[0]", "is empty: name the program")


def _environment(spec: job_pb2.JobSpec) -> Violations:
    for name, value in sorted(spec.env.items()):
        yield from _env_name("spec.env", name)
        yield from _text(f"spec.env[{name!r}]", value, maximum=MAX_TEXT_BYTES - len(name) - 2)
    for name, secret in sorted(spec.secret_env.items()):
        yield from _env_name("spec.secret_env", name)
        if name in spec.env:
            yield FieldViolation(f"spec.secret_env[{name!r}]", "is in spec.env too: keep one")
        for part in ("name", "key"):
            path = f"spec.secret_env[{name!r}].{part}"
            if not getattr(secret, part):
                yield FieldViolation(path, "is required")
            yield from _text(path, getattr(secret, part), maximum=253)


def _env_name(path: str, name: str) -> Violations:
    if not name:
        yield FieldViolation(path, "has an empty name: remove it")
    elif "=" in name or "\0" in name:
        yield FieldViolation(f"{path}[{name!r}]", "has '=' or NUL in its name: rename it")
    elif name.startswith(RESERVED_ENV):
        yield FieldViolation(f"{path}[{name!r}]", "is set by the service: rename it")


def _counts(spec: job_pb2.JobSpec) -> Violations:
    for field in ("parallelism", "completions", "max_retries"):
        yield from _range(f"spec.{field}", getattr(spec, field), MAX_INSTANCES)
    if spec.parallelism > max(spec.completions, 1):
        yield FieldViolation(
            "spec.parallelism",
            f"is {spec.parallelism}, above spec.completions ({max(spec.completions, 1)}): "
            "there is nothing for the others to do",
        )


def _resources(spec: job_pb2.JobSpec) -> Violations:
    for field, maximum in (
        ("cpu_millis", MAX_CPU_MILLIS),
        ("memory_bytes", MAX_MEMORY_BYTES),
        ("gpu_count", MAX_GPUS),
    ):
        yield from _range(f"spec.resources.{field}", getattr(spec.resources, field), maximum)


def _mount(path: str, mount: job_pb2.Mount) -> Violations:
    yield from _text(f"{path}.target", mount.target, maximum=4096)
    if not mount.target.startswith("/"):
        yield FieldViolation(f"{path}.target", "is required: an absolute path in the instance")
    source = mount.WhichOneof("source")
    if source is None:
        yield FieldViolation(path, "has no source: say what to mount")
    elif source == "empty_directory":
        size = mount.empty_directory.size_bytes
        yield from _range(f"{path}.empty_directory.size_bytes", size, MAX_MEMORY_BYTES)
    else:
        value: str = getattr(mount, source)
        yield from _text(f"{path}.{source}", value, maximum=4096)
        if not value or (source == "host_path" and not value.startswith("/")):
            wanted = "an absolute path" if source == "host_path" else "a name"
            yield FieldViolation(f"{path}.{source}", f"is not {wanted}: give one")


def _labels(labels: Mapping[str, str]) -> Violations:
    for key, value in sorted(labels.items()):
        yield from _label_key("spec.labels", key)
        if value and not _LABEL_PART.fullmatch(value):
            yield FieldViolation(
                f"spec.labels[{key!r}]",
                "use at most 63 letters, digits, '-', '_' and '.', "
                "with a letter or digit at both ends",
            )


def _annotations(annotations: Mapping[str, str]) -> Violations:
    for key, value in sorted(annotations.items()):
        yield from _label_key("spec.annotations", key)
        yield from _text(f"spec.annotations[{key!r}]", value, maximum=MAX_ANNOTATION_BYTES)


def _label_key(path: str, key: str) -> Violations:
    prefix, slash, name = key.rpartition("/")
    if key.startswith(RESERVED_PREFIX):
        yield FieldViolation(f"{path}[{key!r}]", f"{RESERVED_PREFIX} is reserved: rename it")
    elif not _LABEL_PART.fullmatch(name) or (
        slash and (len(prefix) > 253 or not _DNS_SUBDOMAIN.fullmatch(prefix))
    ):
        yield FieldViolation(
            f"{path}[{key!r}]",
            "is no label key: at most 63 letters, digits, '-', '_' and '.', "
            "optionally after a DNS prefix and '/'",
        )


def _text(path: str, text: str, *, maximum: int = MAX_TEXT_BYTES) -> Violations:
    if "\0" in text:
        yield FieldViolation(path, "has a NUL character: remove it")
    yield from _length(path, text, maximum)


def _length(path: str, text: str, maximum: int) -> Violations:
    if (size := len(text.encode())) > maximum:
        yield FieldViolation(path, f"is {size} bytes long: use at most {maximum}")


def _range(path: str, value: int, maximum: int) -> Violations:
    if not 0 <= value <= maximum:
        yield FieldViolation(path, f"is {value}: use 0 to {maximum}")


def _known_enum(path: str, value: int, known: Sequence[int]) -> Violations:
    if value not in known:
        yield FieldViolation(path, f"{value} is no value that this server knows")


def _duration(
    message: Message,
    field: str,
    *,
    prefix: str = "",
    maximum: int = MAX_DURATION_SECONDS,
    zero_allowed: bool = True,
) -> Violations:
    if not message.HasField(field):
        return
    value: Duration = getattr(message, field)
    seconds = value.seconds + value.nanos / 1e9
    if abs(value.nanos) > 999_999_999 or value.seconds * value.nanos < 0:
        yield FieldViolation(prefix + field, "is no valid Duration")
    elif seconds < 0 or seconds > maximum or (not seconds and not zero_allowed):
        above = "more than 0" if not zero_allowed else "0"
        yield FieldViolation(prefix + field, f"is {seconds:g} s: use {above} to {maximum} s")
