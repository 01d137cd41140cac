"""What a subject's jobs may ask for: how much, and which of the things that jobs share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from engines.errors import FieldViolation
from jobengine.v1.job_pb2 import JobSpec, Mount
from server.policy.patterns import any_matches, is_below
from server.validation import RESERVED_PREFIX

Violations = Iterator[FieldViolation]

ANY: Final = "*"

UNNAMED: Final = ""
"""The user of a job that names none: the image's, or on the local engine the server's own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a subject may use; None: no limit. Times in seconds, sizes in bytes."""

    jobs: int | None = None
    """Unfinished ones that it owns at once."""

    cpu_millis: int | None = None
    """Of one job, over all instances that run at once. So are the next two."""

    memory_bytes: int | None = None
    gpu_count: int | None = None
    instances: int | None = None
    """Parallelism of one job."""

    completions: int | None = None
    retries: int | None = None
    max_timeout: int | None = None
    max_ttl: int | None = None
    images: tuple[str, ...] | None = None
    """Patterns, one of which a job's image has to match."""

    requests_per_second: float | None = None
    burst: int | None = None
    """Requests that may come at once after a pause; None: as many as the server thinks fit."""

    streams: int | None = None
    """Watches and log reads open at once."""

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self != NO_LIMITS

    def exceeded_by(self, spec: JobSpec) -> Violations:
        """The fields of a spec that ask for too much, or don't say how much."""
        yield from self._resources(spec)
        for field, value, limit in (
            ("parallelism", max(spec.parallelism, 1), self.instances),
            ("completions", max(spec.completions, 1), self.completions),
            ("max_retries", spec.max_retries, self.retries),
        ):
            if limit is not None and value > limit:
                yield FieldViolation(f"spec.{field}", f"is {value}: you may use at most {limit}")
        yield from _duration(spec, "timeout", self.max_timeout)
        yield from _duration(spec, "ttl_after_finished", self.max_ttl)

    def _resources(self, spec: JobSpec) -> Violations:
        instances = max(spec.parallelism, 1)
        for field, limit in (
            ("cpu_millis", self.cpu_millis),
            ("memory_bytes", self.memory_bytes),
            ("gpu_count", self.gpu_count),
        ):
            each: int = getattr(spec.resources, field)
            if limit is None:
                continue
            if each <= 0 and field != "gpu_count":  # who asks for no GPU gets none
                why = f"is required: you may use at most {limit}, over all instances"
                yield FieldViolation(f"spec.resources.{field}", why)
            elif each * instances > limit:
                why = f"comes to {each * instances} over {instances} instances: use at most {limit}"
                yield FieldViolation(f"spec.resources.{field}", why)


def _duration(spec: JobSpec, field: str, limit: int | None) -> Violations:
    if limit is None:
        return
    value = getattr(spec, field)
    if not spec.HasField(field):  # type: ignore[arg-type]
        yield FieldViolation(f"spec.{field}", f"is required: you may use at most {limit} s")
    elif (value.seconds, value.nanos) > (limit, 0):
        yield FieldViolation(f"spec.{field}", f"is too long: you may use at most {limit} s")


@dataclass(frozen=True, slots=True)
class Allow:
    """Which of what is shared a subject's jobs may reach. Patterns, but for paths and users."""

    engine_options: bool = False
    host_paths: tuple[str, ...] = ()
    """Directories."""

    secrets: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    config_maps: tuple[str, ...] = ()
    users: tuple[str, ...] = (UNNAMED,)
    """As in `spec.user`, letter by letter, or `*` for any."""

    keys: tuple[str, ...] = ()
    """Of labels and annotations, those with a domain: controllers take some for orders."""

    def refused_of(self, spec: JobSpec) -> Violations:
        """The fields of a spec that reach for what isn't allowed."""
        if not self.engine_options and spec.HasField("engine_options"):
            yield FieldViolation("spec.engine_options", "you may not use them: leave them out")
        if spec.user not in self.users and ANY not in self.users:
            yield _refusal("spec.user", self.users)
        for variable, secret in sorted(spec.secret_env.items()):
            yield from _match(f"spec.secret_env[{variable!r}].name", self.secrets, secret.name)
        if spec.image_pull_secret:
            yield from _match("spec.image_pull_secret", self.secrets, spec.image_pull_secret)
        for index, mount in enumerate(spec.mounts):
            yield from self._mount(f"spec.mounts[{index}]", mount)
        yield from self._keys("spec.labels", spec.labels)
        yield from self._keys("spec.annotations", spec.annotations)

    def _mount(self, path: str, mount: Mount) -> Violations:
        match mount.WhichOneof("source"):
            case "host_path":
                if not is_below(self.host_paths, mount.host_path):
                    yield _refusal(f"{path}.host_path", self.host_paths)
            case "volume":
                yield from _match(f"{path}.volume", self.volumes, mount.volume)
            case "secret":
                yield from _match(f"{path}.secret", self.secrets, mount.secret)
            case "config_map":
                yield from _match(f"{path}.config_map", self.config_maps, mount.config_map)
            case "empty_directory" | None:
                pass

    def _keys(self, field: str, texts: Mapping[str, str]) -> Violations:
        for key in sorted(texts):
            if "/" in key and not key.startswith(RESERVED_PREFIX):
                yield from _match(f"{field}[{key!r}]", self.keys, key)


NO_LIMITS: Final = Limits()
NOTHING_SHARED: Final = Allow()


def refused_image(spec: JobSpec, patterns: tuple[str, ...] | None) -> Violations:
    """That a spec's image is none that these patterns allow."""
    if patterns is not None:
        yield from _match("spec.image", patterns, spec.image)


def _match(path: str, patterns: tuple[str, ...], text: str) -> Violations:
    if not any_matches(patterns, text):
        yield _refusal(path, patterns)


def _refusal(path: str, allowed: tuple[str, ...]) -> FieldViolation:
    named = ", ".join(filter(None, allowed))
    why = f"you may name only {named}" if named else "you may name none: leave it out"
    return FieldViolation(path, why)
