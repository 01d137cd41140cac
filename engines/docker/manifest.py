"""Turns a job's spec into the container that an instance of it is, or says why it can't.

The keys are those of Docker's API, `POST /containers/create`.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

from google.protobuf.json_format import MessageToDict

from engines.docker.record import KeptJob, Labels
from engines.docker.settings import MIB, About, Settings, capabilities
from engines.errors import FieldViolation
from engines.features import unsupported_fields
from engines.lifecycle.facts import Key
from jobengine.v1.job_pb2 import JobSpec, Mount

MIN_MEMORY_BYTES: Final = 6 * MIB
"""dockerd's own limit: runc needs that much to start anything."""

MAX_PROCESSES: Final = 4096
"""Of a container: a fork bomb ends there."""

DROPPED_CAPABILITIES: Final = ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SETPCAP"]
"""Of Docker's default ones, those that few programs need and that help in getting out."""

LOG_FILES: Final = 2
"""A container's output is kept in so many files, the oldest of which goes when the newest fills."""

_VOLUME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_IMAGE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.:/@\[\]-]*")
_NANO_CPUS: Final = 1_000_000  # per thousandth of a processor

_OVERRIDABLE: Final = frozenset(
    {
        ("HostConfig", "CapDrop"),
        ("HostConfig", "Init"),
        ("HostConfig", "NetworkMode"),
        ("HostConfig", "PidsLimit"),
        ("HostConfig", "SecurityOpt"),
    }
)
"""Defaults of ours that engine_options may change. Anything else that we set, they may not."""


def violations(spec: JobSpec, settings: Settings, about: About) -> list[FieldViolation]:
    """Say which fields of the spec can't be honoured on this daemon."""
    found = unsupported_fields(spec, capabilities(settings, about), "docker")
    if spec.image and not _IMAGE.fullmatch(spec.image):
        found.append(FieldViolation("spec.image", f"{spec.image!r} is no name of an image"))
    found += _resource_violations(spec, about)
    for index, mount in enumerate(spec.mounts):
        found += _mount_violations(f"spec.mounts[{index}]", mount, settings)
    if settings.secrets is None and spec.image_pull_secret:
        why = "this server has no secrets (serve --secrets-dir): leave it out"
        found.append(FieldViolation("spec.image_pull_secret", why))
    if settings.engine_options and spec.HasField("engine_options"):
        found += _option_violations(spec)
    return found


def _resource_violations(spec: JobSpec, about: About) -> Iterator[FieldViolation]:
    wanted = spec.resources
    if 0 < wanted.memory_bytes < MIN_MEMORY_BYTES:
        why = f"Docker needs at least {MIN_MEMORY_BYTES} (6 MiB)"
        yield FieldViolation("spec.resources.memory_bytes", why)
    if 0 < wanted.cpu_millis < 10:
        yield FieldViolation("spec.resources.cpu_millis", "Docker needs at least 10")
    if about.processors and wanted.cpu_millis > about.processors * 1000:
        why = f"the Docker daemon has {about.processors} processors: ask for at most "
        why += f"{about.processors * 1000}"
        yield FieldViolation("spec.resources.cpu_millis", why)


def _mount_violations(path: str, mount: Mount, settings: Settings) -> Iterator[FieldViolation]:
    match mount.WhichOneof("source"):
        case "volume":
            if not _VOLUME.fullmatch(mount.volume) or mount.volume.startswith("jobengine."):
                why = "is no name of a Docker volume that a job may mount"
                yield FieldViolation(f"{path}.volume", why)
        case "host_path":
            if not _allowed(mount.host_path, settings.host_paths):
                allowed = ", ".join(settings.host_paths) or "none"
                why = f"is under no path that the server allows (--allow-host-path): {allowed}"
                yield FieldViolation(f"{path}.host_path", why)
        case "empty_directory":
            directory = mount.empty_directory
            if directory.size_bytes and not directory.memory:
                why = "Docker limits only directories in memory: set memory, or leave it out"
                yield FieldViolation(f"{path}.empty_directory.size_bytes", why)
        case "secret" | "config_map" as source:
            why = "Docker mounts no secrets and ConfigMaps: use a volume, host_path or secret_env"
            yield FieldViolation(f"{path}.{source}", why)
        case _:
            pass
    if posixpath.normpath(f"/{mount.target.lstrip('/')}") == "/":
        yield FieldViolation(f"{path}.target", "is the root of the container: name a path in it")


def _allowed(path: str, prefixes: Sequence[str]) -> bool:
    """Whether a path of the host lies under a prefix, links of this machine followed."""
    if ".." in PurePosixPath(path).parts:
        return False
    try:
        real = Path(path).resolve()
        return any(real.is_relative_to(Path(prefix).resolve()) for prefix in prefixes)
    except (OSError, RuntimeError):  # links in a circle
        return False


def _option_violations(spec: JobSpec) -> Iterator[FieldViolation]:
    # Docker takes keys however they are spelt.
    body = {"Env": (), "Labels": (), **_body(spec, Settings(), About())}
    taken = {_folded(path) for path, _ in _leaves(body)} - {*map(_folded, _OVERRIDABLE)}
    for path, _ in _leaves(_options(spec)):
        if _folded(path) in taken or _folded(path) == ("hostconfig",):
            why = "is what the service or another field of the spec sets: leave it out"
            yield FieldViolation(f"spec.engine_options.{'.'.join(path)}", why)


def _leaves(
    value: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of a body with their paths. The members of HostConfig count each as a whole."""
    for key, inner in value.items():
        if not path and key == "HostConfig" and isinstance(inner, dict):
            yield from _leaves(cast("Mapping[str, Any]", inner), (key,))
        else:
            yield (*path, key), inner


def _folded(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key.casefold() for key in path)


def make_body(
    kept: KeptJob,
    key: Key,
    secret_env: Mapping[str, str],
    labels: Labels,
    settings: Settings,
    about: About,
) -> dict[str, Any]:
    """What to create for an attempt. `secret_env` has the values for `spec.secret_env`."""
    intent, spec = kept
    body = _body(spec, settings, about)
    own = {
        "JOB_COMPLETION_INDEX": str(key[0]),
        "JOBENGINE_JOB_NAME": intent.name,
        "JOBENGINE_JOB_UID": intent.uid,
        "JOBENGINE_JOB_ATTEMPT": f"{key[0]}.{key[1]}",
    }
    env = {**spec.env, **secret_env, **own}
    body["Env"] = [f"{name}={value}" for name, value in env.items()]
    body["Labels"] = labels.of_run(intent, key)
    if spec.HasField("engine_options"):
        for path, value in _leaves(_options(spec)):
            (body if len(path) == 1 else body["HostConfig"])[path[-1]] = value
    return body


def _body(spec: JobSpec, settings: Settings, about: About) -> dict[str, Any]:
    """All but what tells one attempt from another."""
    # json-file keeps no bytes that aren't UTF-8. Compressed, `local` loses most of what is followed
    # (seen on 20.10). Podman has only json-file, or what it calls so.
    log_driver = "json-file" if about.podman else "local"
    compression = {} if about.podman else {"compress": "false"}
    host: dict[str, Any] = {
        # Never removed by itself: the end would be gone before it is read (docker-py#2655).
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "NetworkMode": settings.network,
        # What is read back has to be kept by a driver that can be read, and not for ever.
        "LogConfig": {
            "Type": log_driver,
            "Config": {
                "max-size": str(max(settings.log_limit_bytes // LOG_FILES, 1)),
                "max-file": str(LOG_FILES),
                **compression,
            },
        },
        "SecurityOpt": ["no-new-privileges"],
        "CapDrop": list(DROPPED_CAPABILITIES),
        "PidsLimit": MAX_PROCESSES,
        "Privileged": False,
        "Mounts": [_mount(mount) for mount in spec.mounts],
    }
    if about.init:
        # As process 1, a command would neither die of signals by default nor reap its orphans.
        host["Init"] = True
    if spec.resources.cpu_millis:
        host["NanoCpus"] = spec.resources.cpu_millis * _NANO_CPUS
    if spec.resources.memory_bytes:
        # The same with swap: a limit that swapping gets around is none.
        host["Memory"] = host["MemorySwap"] = spec.resources.memory_bytes
    if spec.resources.gpu_count:
        count = spec.resources.gpu_count
        host["DeviceRequests"] = [{"Count": count, "Capabilities": [["gpu"]]}]
    body: dict[str, Any] = {"Image": spec.image, "Tty": False, "HostConfig": host}
    if spec.command:
        body["Entrypoint"] = list(spec.command)
    if spec.args:
        body["Cmd"] = list(spec.args)
    if spec.working_dir:
        body["WorkingDir"] = spec.working_dir
    if spec.user:
        body["User"] = spec.user
    return body


def _mount(mount: Mount) -> dict[str, Any]:
    common = {"Target": mount.target, "ReadOnly": mount.read_only}
    match mount.WhichOneof("source"):
        case "volume":
            return {"Type": "volume", "Source": mount.volume, **common}
        case "host_path":
            bind = {"Propagation": "rprivate"}
            return {"Type": "bind", "Source": mount.host_path, "BindOptions": bind, **common}
        case _ if mount.empty_directory.memory:
            # Without a mode, Podman lets nobody in.
            options = {"SizeBytes": mount.empty_directory.size_bytes, "Mode": 0o1777}
            return {"Type": "tmpfs", "TmpfsOptions": options, **common}
        case _:
            return {"Type": "volume", **common}  # without a name: removed with the container


def _options(spec: JobSpec) -> dict[str, Any]:
    """The engine_options as JSON has them; a Struct knows no whole numbers."""
    return cast("dict[str, Any]", _whole(MessageToDict(spec.engine_options)))


def _whole(value: object) -> object:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _whole(inner) for key, inner in cast("dict[str, object]", value).items()}
        case list():
            return [_whole(inner) for inner in cast("list[object]", value)]
        case _:
            return value
