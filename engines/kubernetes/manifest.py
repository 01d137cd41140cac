"""Turns a job's spec into the Job of Kubernetes that runs it, or says why it can't.

The keys are those of Kubernetes' API, `POST /apis/batch/v1/namespaces/NAMESPACE/jobs`. Send it with
`fieldValidation=Strict`: otherwise the API server drops what it doesn't know of engine_options.

What the API server checks by itself is left to it, where it says which field is wrong. Checked
here is what it takes and pods then wait for ever over (names of secrets, for one), and what it
would tell of fields that no caller has written.
"""

import math
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final, cast

from google.protobuf.json_format import MessageToDict

from engines.errors import FieldViolation
from engines.features import unsupported_fields
from engines.kubernetes import record
from engines.kubernetes.merge import MERGE_KEYS, Json, PatchError, strategic_merge, under
from engines.kubernetes.settings import Settings, capabilities
from engines.lifecycle.facts import Intent
from engines.lifecycle.intent import make_intent
from jobengine.v1 import job_pb2
from jobengine.v1.job_pb2 import JobSpec, Mount

CONTAINER: Final = "job"
"""What the container is called that runs the command."""

INDEX_VARIABLE: Final = "JOB_COMPLETION_INDEX"

MAX_INSTANCES: Final = 100_000
"""Of an Indexed Job (maxParallelismForIndexedJob, pkg/apis/batch/validation)."""

MIN_MEMORY_BYTES: Final = 4 * 1024 * 1024
"""With less, no pod gets as far as its command, and the job waits for ever: seen with containerd
and runc on 1.34, where 2 MiB and less never started, 3 MiB failed, and 4 MiB ran."""

MAX_HOSTNAME: Final = 63
"""Pods of an Indexed Job have the hostname `JOB-INDEX`, and that has to be a DNS label."""

MAX_ANNOTATION_BYTES: Final = 256 * 1024
"""Keys and values of one object (TotalAnnotationSizeLimitB, apimachinery/pkg/api/validation)."""

NOTES_BYTES: Final = 16 * 1024
"""Of these, kept free for what is noted of a job later: its stop and its end."""

MAX_ID: Final = 2**31 - 1
"""Of users and groups (apimachinery/pkg/util/validation, IsValidUserID)."""

DROPPED_CAPABILITIES: Final = ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SETPCAP"]
"""Of container runtimes' default ones, those that few programs need and that help in getting
out."""

_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SECRET_KEY: Final = re.compile(r"(?!\.\.|\.\Z)[-._a-zA-Z0-9]+")
_ENV_NAME: Final = re.compile(r"[ -<>-~]+")
_USER: Final = re.compile(r"([0-9]{1,10})(?::([0-9]{1,10}))?")
_IMAGE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.:/@\[\]-]*")

_EXPANDED: Final = re.compile(r"\$(?=[$(]|[^\x00-\x7f])")
"""A dollar sign that Kubernetes reads as more than itself, see `escape`."""

_OWN_LABELS: Final = frozenset({record.MANAGED_BY, "controller-uid", "job-name"})
_OWN_LABEL_PREFIXES: Final = (record.PREFIX, "batch.kubernetes.io/")
"""Labels of Jobs and their pods that this engine or Kubernetes' Job controller relies on."""

_CLUSTER_PREFIX: Final = re.compile(r"([-a-z0-9.]+\.)?(kubernetes|k8s)\.io/")
"""Of annotations that are orders to the cluster rather than notes: Kubernetes reserves it."""

_PULL_POLICIES: Final = {
    job_pb2.IMAGE_PULL_POLICY_ALWAYS: "Always",
    job_pb2.IMAGE_PULL_POLICY_IF_NOT_PRESENT: "IfNotPresent",
    job_pb2.IMAGE_PULL_POLICY_NEVER: "Never",
}

_JOB: Final = f"spec.containers[{CONTAINER}]"

_OVERRIDABLE: Final = frozenset(
    {
        "spec.automountServiceAccountToken",
        "spec.enableServiceLinks",
        "spec.securityContext",
        "spec.shareProcessNamespace",
        "spec.terminationGracePeriodSeconds",
        f"{_JOB}.securityContext.allowPrivilegeEscalation",
        f"{_JOB}.securityContext.capabilities",
    }
)
"""Defaults of ours that engine_options may change. Anything else that we set, they may not."""

_NOT_ADDED: Final = ("command", "args", "restartPolicy", "restartPolicyRules")
"""Of the job's container: what engine_options may not set either where we don't."""


# -- what can't be honoured -------------------------------------------------------------------


def violations(spec: JobSpec, settings: Settings) -> list[FieldViolation]:
    """Say which fields of the spec can't be honoured."""
    found = unsupported_fields(spec, capabilities(settings), "kubernetes")
    if spec.image and not _IMAGE.fullmatch(spec.image):
        found.append(FieldViolation("spec.image", f"{spec.image!r} is no name of an image"))
    found += _count_violations(spec)
    if 0 < spec.resources.memory_bytes < MIN_MEMORY_BYTES:
        why = f"a pod needs at least {MIN_MEMORY_BYTES} (4 MiB)"
        found.append(FieldViolation("spec.resources.memory_bytes", why))
    found += _env_violations(spec)
    found += _user_violations(spec)
    found += _mount_violations(spec.mounts, settings)
    if spec.image_pull_secret:
        found += _name_violations("spec.image_pull_secret", spec.image_pull_secret, "secret")
    found += _label_violations(spec.labels)
    found += _annotation_violations(spec, settings)
    if settings.engine_options and spec.HasField("engine_options"):
        found += _option_violations(spec, settings)
    return found


def name_violations(name: str, spec: JobSpec) -> list[FieldViolation]:
    """What is wrong with a job's name beyond what is with those of all engines.

    Kubernetes has the instance's number in the hostname (ValidateJob, pkg/apis/batch/validation).
    """
    longest = MAX_HOSTNAME - len(f"-{spec.completions - 1}")
    if spec.completions <= 1 or len(name) <= longest:
        return []
    why = f"is {len(name)} characters long: with {spec.completions} completions, Kubernetes takes "
    why += f"at most {longest}"
    return [FieldViolation("name", why)]


def _count_violations(spec: JobSpec) -> Iterator[FieldViolation]:
    for field in ("completions", "parallelism"):
        if getattr(spec, field) > MAX_INSTANCES:
            why = f"Kubernetes takes at most {MAX_INSTANCES}"
            yield FieldViolation(f"spec.{field}", why)


def _env_violations(spec: JobSpec) -> Iterator[FieldViolation]:
    # IsRelaxedEnvVarName, apimachinery/pkg/util/validation. Clusters before 1.32 take fewer.
    for field in ("env", "secret_env"):
        for name in sorted(getattr(spec, field)):
            if not _ENV_NAME.fullmatch(name):
                why = "Kubernetes takes only printable ASCII characters but '=': rename it"
                yield FieldViolation(f"spec.{field}[{name!r}]", why)
    for name, secret in sorted(spec.secret_env.items()):
        path = f"spec.secret_env[{name!r}]"
        yield from _name_violations(f"{path}.name", secret.name, "secret")
        if len(secret.key) > 253 or not _SECRET_KEY.fullmatch(secret.key):
            why = "is no key of a secret: at most 253 letters, digits, '-', '_' and '.', "
            why += "not '.', nor with '..' at its beginning"
            yield FieldViolation(f"{path}.key", why)


def _user_violations(spec: JobSpec) -> Iterator[FieldViolation]:
    if not spec.user:
        return
    found = _USER.fullmatch(spec.user)
    if found is None or any(int(each) > MAX_ID for each in found.groups() if each):
        why = f"Kubernetes knows numbers only: give UID or UID:GID, each at most {MAX_ID}"
        yield FieldViolation("spec.user", why)


def _mount_violations(mounts: Sequence[Mount], settings: Settings) -> Iterator[FieldViolation]:
    targets: dict[str, int] = {}
    for index, mount in enumerate(mounts):
        path = f"spec.mounts[{index}]"
        yield from _source_violations(path, mount, settings)
        target = posixpath.normpath(f"/{mount.target.lstrip('/')}")
        first = targets.setdefault(target, index)
        if target == "/":
            why = "is the root of the container: name a path in it"
            yield FieldViolation(f"{path}.target", why)
        elif ":" in target:
            yield FieldViolation(f"{path}.target", "Kubernetes takes no ':' in it")
        elif first != index:
            why = f"is the target of spec.mounts[{first}] too: keep one"
            yield FieldViolation(f"{path}.target", why)


def _source_violations(path: str, mount: Mount, settings: Settings) -> Iterator[FieldViolation]:
    match mount.WhichOneof("source"):
        case "volume":
            kind = "PersistentVolumeClaim"
            yield from _name_violations(f"{path}.volume", mount.volume, kind)
        case "secret":
            yield from _name_violations(f"{path}.secret", mount.secret, "secret")
        case "config_map":
            yield from _name_violations(f"{path}.config_map", mount.config_map, "ConfigMap")
        case "host_path":
            if not _allowed(mount.host_path, settings.host_paths):
                allowed = ", ".join(settings.host_paths) or "none"
                why = f"is under no path that the server allows (--allow-host-path): {allowed}"
                yield FieldViolation(f"{path}.host_path", why)
        case _:
            pass


def _allowed(path: str, prefixes: Sequence[str]) -> bool:
    """Whether a node's path lies under a prefix by its letters; no link of a node is seen here."""
    pure = PurePosixPath(path)
    return ".." not in pure.parts and any(pure.is_relative_to(prefix) for prefix in prefixes)


def _name_violations(path: str, name: str, kind: str) -> Iterator[FieldViolation]:
    if len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        why = f"{name!r} is no name of a {kind}: at most 253 lower-case letters, digits, '-' and "
        why += "'.', with a letter or digit at both ends of each part"
        yield FieldViolation(path, why)


def _label_violations(labels: Mapping[str, str]) -> Iterator[FieldViolation]:
    for key in sorted(labels):
        if _is_own(key):
            why = "is set by the service or by Kubernetes: rename it"
            yield FieldViolation(f"spec.labels[{key!r}]", why)


def _is_own(key: str) -> bool:
    return key in _OWN_LABELS or key.startswith(_OWN_LABEL_PREFIXES)


def _annotation_violations(spec: JobSpec, settings: Settings) -> Iterator[FieldViolation]:
    for key in sorted(spec.annotations):
        if key.startswith(record.PREFIX):
            why = f"{record.PREFIX} is reserved: rename it"
            yield FieldViolation(f"spec.annotations[{key!r}]", why)
        elif _CLUSTER_PREFIX.match(key):
            why = "is read by Kubernetes: annotations are for notes, rename it"
            yield FieldViolation(f"spec.annotations[{key!r}]", why)
    kept = {**spec.annotations, **record.annotations_of(_largest_intent(spec, settings), spec)}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in kept.items())
    if size > MAX_ANNOTATION_BYTES - NOTES_BYTES:
        why = f"takes {size} bytes of annotations, compressed: Kubernetes has room for "
        why += f"{MAX_ANNOTATION_BYTES - NOTES_BYTES}, use files for the rest"
        yield FieldViolation("spec", why)


def _largest_intent(spec: JobSpec, settings: Settings) -> Intent:
    """One of a job with this spec, with what isn't known of it yet as long as it may be."""
    return make_intent("x" * 63, spec, '"' * 128, settings.default_start_timeout, now=0.0)


# -- engine_options ---------------------------------------------------------------------------


def _option_violations(spec: JobSpec, settings: Settings) -> Iterator[FieldViolation]:
    template = _own_template(_largest_intent(spec, settings), spec, settings)
    try:
        patch = _options(spec)
    except ValueError:  # not a number, or infinite
        yield FieldViolation("spec.engine_options", "has a number that JSON doesn't know")
        return
    try:
        merged = strategic_merge(template, patch)
    except PatchError as error:
        yield FieldViolation(f"spec.engine_options.{error.path}", str(error))
        return
    for path in [*_changed(template, merged, "", ""), *_added(template, merged)]:
        why = "is what the service or another field of the spec sets: leave it out"
        yield FieldViolation(f"spec.engine_options.{path}", why)


def _changed(base: object, merged: object, key: str, path: str) -> Iterator[str]:
    """The paths of what is of the base, not overridable, and otherwise in the merged template.

    `key` is what the value is called in the object that it is a member of.
    """
    if path in _OVERRIDABLE:
        return
    if isinstance(base, dict) and isinstance(merged, dict):
        old, new = cast("Json", base), cast("Json", merged)
    elif isinstance(base, list) and isinstance(merged, list) and key in MERGE_KEYS:
        old, new = _by_key(cast("list[Json]", base), key), _by_key(cast("list[Json]", merged), key)
    else:
        if base != merged:
            yield path
        return
    for name, value in old.items():
        inner = f"{path}[{name}]" if isinstance(base, list) else under(path, name)
        yield from _changed(value, new.get(name), name, inner)


def _added(base: Json, merged: Json) -> Iterator[str]:
    """The paths of what the base hasn't, and the merged template has although it may not."""
    yield from (key for key in merged if key not in base)
    metadata = _object(merged.get("metadata"))
    # Of the rest, owners and finalizers are the Job controller's.
    yield from (f"metadata.{key}" for key in metadata if key not in base["metadata"])
    for field in ("labels", "annotations"):
        for key in _object(metadata.get(field)):
            if _is_own(key) and key not in base["metadata"][field]:
                yield f"metadata.{field}[{key}]"
    old, new = _job_container(base), _job_container(merged)
    yield from (f"{_JOB}.{field}" for field in _NOT_ADDED if field in new and field not in old)
    if INDEX_VARIABLE in _env_of(new) and INDEX_VARIABLE not in _env_of(old):
        yield f"{_JOB}.env[{INDEX_VARIABLE}]"


def _job_container(template: Json) -> Json:
    containers = _object(template.get("spec")).get("containers")
    if not isinstance(containers, list):
        return {}
    return _by_key(cast("list[Json]", containers), "containers").get(CONTAINER, {})


def _env_of(container: Json) -> Json:
    env = container.get("env")
    return _by_key(cast("list[Json]", env), "env") if isinstance(env, list) else {}


def _by_key(elements: Sequence[Json], key: str) -> dict[str, Json]:
    """A list's elements by what tells them apart."""
    return {str(element.get(MERGE_KEYS[key])): element for element in elements}


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _options(spec: JobSpec) -> Json:
    """The engine_options as JSON has them; a Struct knows no whole numbers.

    Raises ValueError over a number that JSON can't have.
    """
    return cast("Json", _whole(MessageToDict(spec.engine_options)))


def _whole(value: object) -> object:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _whole(inner) for key, inner in cast("Json", value).items()}
        case list():
            return [_whole(inner) for inner in cast("list[object]", value)]
        case _:
            return value


# -- the body ---------------------------------------------------------------------------------


def make_job(intent: Intent, spec: JobSpec, settings: Settings) -> dict[str, Any]:
    """What to create for a job. The spec has no violations."""
    template = _own_template(intent, spec, settings)
    if spec.HasField("engine_options"):
        template = strategic_merge(template, _options(spec))
    indexed = intent.completions > 1
    job: dict[str, Any] = {
        "completions": intent.completions,
        "parallelism": intent.parallelism,
        "completionMode": "Indexed" if indexed else "NonIndexed",
        "backoffLimit": intent.max_retries,
        # A pod that is on its way out counts as running: no two of an instance at once.
        "podReplacementPolicy": "Failed",
        # A pod that the cluster takes away (preempted, drained, its node gone) is no failure of
        # the command: it is replaced, and uses up none of the retries.
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                }
            ]
        },
        "template": template,
    }
    # There is no ttlSecondsAfterFinished: Kubernetes might remove the Job before its end has been
    # seen. The engine sets it when it has noted the end. Nor is there suspend, which is for queues
    # such as Kueue to set.
    if intent.timeout is not None and intent.start_timeout is not None:
        # For when no server is there. The engine sets the exact one at the first start.
        seconds = math.ceil(intent.timeout + intent.start_timeout)
        job["activeDeadlineSeconds"] = max(seconds, 1)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": intent.name,
            "labels": record.labels_of(intent),
            "annotations": {**spec.annotations, **record.annotations_of(intent, spec)},
        },
        "spec": job,
    }


def _own_template(intent: Intent, spec: JobSpec, settings: Settings) -> dict[str, Any]:
    """A job's pod template before engine_options."""
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [_container(intent, spec, settings)],
        # The token would let the command act on the cluster.
        "automountServiceAccountToken": False,
        # Otherwise the command is process 1, which no signal ends that it doesn't handle: a job
        # that is cancelled would take all of its grace time.
        "shareProcessNamespace": True,
        # Otherwise each service of the namespace adds variables to those of the spec.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(settings.grace_seconds),
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }
    if spec.mounts:
        pod["volumes"] = [_volume(index, mount) for index, mount in enumerate(spec.mounts)]
    if spec.image_pull_secret:
        pod["imagePullSecrets"] = [{"name": spec.image_pull_secret}]
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    if settings.node_selector:
        pod["nodeSelector"] = dict(settings.node_selector)
    labels, annotations = record.labels_of(intent), dict(spec.annotations)
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}


def _container(intent: Intent, spec: JobSpec, settings: Settings) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image,
        "env": _env(intent, spec),
        "securityContext": _security(spec),
    }
    if spec.command:
        container["command"] = [escape(text) for text in spec.command]
    if spec.args:
        container["args"] = [escape(text) for text in spec.args]
    if spec.working_dir:
        container["workingDir"] = spec.working_dir
    if spec.image_pull_policy:
        container["imagePullPolicy"] = _PULL_POLICIES[spec.image_pull_policy]
    if resources := _resources(spec, settings):
        container["resources"] = resources
    if spec.mounts:
        container["volumeMounts"] = [
            {"name": _volume_name(index), "mountPath": mount.target, "readOnly": mount.read_only}
            for index, mount in enumerate(spec.mounts)
        ]
    return container


def escape(text: str) -> str:
    """A text that comes out as the given one when Kubernetes expands $(NAME) in it.

    It reads from left to right (third_party/forked/golang/expansion): "$$" becomes "$", "$(NAME)"
    the variable's value, where it knows one, and any other "$" stays with the byte after it. By
    the source of older versions, these take that byte for a whole character, which damages
    letters beyond ASCII (1.34.4 was seen to leave them alone). A "$" is doubled where one of these
    three comes after it.
    """
    return _EXPANDED.sub("$$", text)


def _env(intent: Intent, spec: JobSpec) -> list[dict[str, Any]]:
    env: dict[str, dict[str, Any]] = {
        name: {"name": name, "value": escape(value)} for name, value in spec.env.items()
    }
    for name, secret in spec.secret_env.items():
        reference = {"name": secret.name, "key": secret.key}
        env[name] = {"name": name, "valueFrom": {"secretKeyRef": reference}}
    # In an Indexed Job, Kubernetes sets it, but only where no variable has the name.
    env.pop(INDEX_VARIABLE, None)
    if intent.completions <= 1:
        env[INDEX_VARIABLE] = {"name": INDEX_VARIABLE, "value": "0"}
    return [env[name] for name in sorted(env)]


def _security(spec: JobSpec) -> dict[str, Any]:
    security: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": list(DROPPED_CAPABILITIES)},
        "privileged": False,
    }
    if spec.user:
        user, _, group = spec.user.partition(":")
        security["runAsUser"] = int(user)
        if group:
            security["runAsGroup"] = int(group)
    return security


def _resources(spec: JobSpec, settings: Settings) -> dict[str, dict[str, str]]:
    wanted: dict[str, str] = {}
    if spec.resources.cpu_millis:
        wanted["cpu"] = f"{spec.resources.cpu_millis}m"
    if spec.resources.memory_bytes:
        wanted["memory"] = str(spec.resources.memory_bytes)
    # What it may use is what it is promised: never evicted for using it.
    resources = {"requests": wanted, "limits": dict(wanted)} if wanted else {}
    if spec.resources.gpu_count:
        limits = resources.setdefault("limits", {})
        limits[settings.gpu_resource] = str(spec.resources.gpu_count)
    return resources


def _volume_name(index: int) -> str:
    return f"mount-{index}"


def _volume(index: int, mount: Mount) -> dict[str, Any]:
    match mount.WhichOneof("source"):
        case "volume":
            source = {"persistentVolumeClaim": {"claimName": mount.volume}}
        case "host_path":
            source = {"hostPath": {"path": mount.host_path}}
        case "secret":
            source = {"secret": {"secretName": mount.secret}}
        case "config_map":
            source = {"configMap": {"name": mount.config_map}}
        case _:
            source = {"emptyDir": _empty_directory(mount)}
    return {"name": _volume_name(index), **source}


def _empty_directory(mount: Mount) -> dict[str, str]:
    directory: dict[str, str] = {}
    if mount.empty_directory.memory:
        directory["medium"] = "Memory"
    if mount.empty_directory.size_bytes:
        directory["sizeLimit"] = str(mount.empty_directory.size_bytes)
    return directory
