"""Turns a job's spec into what sbatch is told, or says why it can't."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from google.protobuf.struct_pb2 import Struct, Value

from engines import FieldViolation
from engines.features import unsupported_fields
from engines.lifecycle.facts import Intent
from engines.slurm.queue import Batch, make_comment
from engines.slurm.settings import About, Settings, capabilities
from jobengine.v1.job_pb2 import JobSpec

_MINUTE_SECONDS: Final = 60
_KIB: Final = 1024
_CORE_MILLIS: Final = 1000
_MAX_OPTION_CHARACTERS: Final = 1024
_MAX_NICE: Final = 2_147_483_645

_WORD: Final = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*"
_WORDS: Final = rf"{_WORD}(,{_WORD})*"
_NODES: Final = r"[A-Za-z0-9_][A-Za-z0-9_.,\[\]-]*"

OPTIONS: Final = {
    "partition": (_WORDS, "a partition's name, or several with commas between"),
    "account": (_WORD, "an account's name"),
    "qos": (_WORD, "the name of a quality of service"),
    "constraint": (r"[A-Za-z0-9_][A-Za-z0-9_.,&|*()\[\]-]*", "features of nodes, as in sbatch"),
    "nodelist": (_NODES, "names of nodes, as in sbatch"),
    "exclude": (_NODES, "names of nodes, as in sbatch"),
    "reservation": (_WORDS, "a reservation's name"),
    "licenses": (rf"{_WORD}(:\d+)?(,{_WORD}(:\d+)?)*", "licenses, as in sbatch"),
    "gres": (
        r"[A-Za-z0-9_][A-Za-z0-9_.:,-]*",
        "generic resources, as in sbatch; GPUs by resources.gpu_count",
    ),
    "wckey": (_WORD, "a key for accounting"),
    "nice": (r"\d+", f"a whole number from 0 to {_MAX_NICE}"),
    "exclusive": (r"true|false", "true or false"),
    "oversubscribe": (r"true|false", "true or false"),
}
"""By option of sbatch: what a value has to match, and what that is in words."""

_REFUSED: Final = {
    "image": "Slurm runs commands of its nodes, not images: leave it out, or use the engine "
    "docker or kubernetes",
    "secret_env": "Slurm has no store of secrets; use env",
    "mounts": "nothing is mounted for jobs on Slurm, they see the nodes' own files: leave them out",
    "user": "jobs on Slurm are the server's user's: leave it out",
    "image_pull_policy": "Slurm pulls no images; leave it out",
    "image_pull_secret": "Slurm pulls no images; leave it out",
}


def violations(spec: JobSpec, about: About) -> Sequence[FieldViolation]:
    """Say which fields of the spec the Slurm engine can't honour."""
    return list(_violations(spec, about))


def _violations(spec: JobSpec, about: About) -> Iterator[FieldViolation]:
    given = {field.name for field, _ in spec.ListFields()}
    for name, why in _REFUSED.items():
        if name in given:
            yield FieldViolation(f"spec.{name}", why)
    told = {f"spec.{name}" for name in _REFUSED}
    for violation in unsupported_fields(spec, capabilities(about), "slurm"):
        if violation.field == "spec.resources.gpu_count":
            why = "the cluster has no GPUs (its GresTypes lack gpu): leave it out"
            yield FieldViolation(violation.field, why)
        elif violation.field not in told:
            yield violation
    if not spec.command:
        yield FieldViolation("spec.command", "Slurm needs a command to run")
    elif "=" in spec.command[0]:
        why = "has a '=', by which env(1) would take it for a variable: run it by a shell"
        yield FieldViolation("spec.command[0]", why)
    if spec.working_dir and not spec.working_dir.startswith("/"):
        yield FieldViolation("spec.working_dir", "is no absolute path: name one of the nodes'")
    yield from _option_violations(spec.engine_options)


def _option_violations(options: Struct) -> Iterator[FieldViolation]:
    for name, value in options.fields.items():
        field = f"spec.engine_options.{name}"
        if name not in OPTIONS:
            known = ", ".join(sorted(OPTIONS))
            yield FieldViolation(field, f"isn't an option that jobs may set: use one of {known}")
            continue
        pattern, words = OPTIONS[name]
        text = _text(value)
        fits = len(text) <= _MAX_OPTION_CHARACTERS and re.fullmatch(pattern, text, re.ASCII)
        if not fits or (name == "nice" and int(text) > _MAX_NICE):
            yield FieldViolation(field, f"has to be {words}")


def _text(value: Value) -> str:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value" if value.number_value.is_integer():
            return str(int(value.number_value))
        case "bool_value":
            return str(value.bool_value).lower()
        case _:
            return ""


def make_arguments(
    intent: Intent, spec: JobSpec, batch: Batch, tag: str, settings: Settings
) -> list[str]:
    """The options of sbatch for some attempts of a job, without the script."""
    return [
        f"--job-name={intent.name}",
        f"--comment={make_comment(tag, intent.uid, batch)}",
        *_array(intent, batch),
        # Never run again behind the service's back, and nothing of the server's own limits.
        *("--no-requeue", "--propagate=NONE", "--nodes=1", "--ntasks=1"),
        # The script sees to these by itself: a directory that isn't there would be /tmp here.
        *("--chdir=/", "--input=/dev/null", "--output=/dev/null", "--error=/dev/null"),
        *_limits(intent, spec),
        *_options(spec, settings),
    ]


def _array(intent: Intent, batch: Batch) -> list[str]:
    if batch.size == 1:
        return []
    return [f"--array=0-{batch.size - 1}%{min(intent.parallelism, batch.size)}"]


def _limits(intent: Intent, spec: JobSpec) -> Iterator[str]:
    if intent.timeout is not None:
        # In whole minutes, and rounded up: it counts only while no server is there.
        yield f"--time={max(-int(-intent.timeout // _MINUTE_SECONDS), 1)}"
    resources = spec.resources
    if resources.cpu_millis:
        yield f"--cpus-per-task={-(-resources.cpu_millis // _CORE_MILLIS)}"
    if resources.memory_bytes:
        yield f"--mem={-(-resources.memory_bytes // _KIB)}K"


def _options(spec: JobSpec, settings: Settings) -> Iterator[str]:
    options = {name: _text(value) for name, value in sorted(spec.engine_options.fields.items())}
    for name, default in (("partition", settings.partition), ("account", settings.account)):
        if default:
            options.setdefault(name, default)
    gres = [options.pop("gres")] if "gres" in options else []
    if spec.resources.gpu_count:
        gres.append(f"gpu:{spec.resources.gpu_count}")
    if gres:
        yield f"--gres={','.join(gres)}"
    for name, text in options.items():
        if text == "true":
            yield f"--{name}"
        elif text != "false":
            yield f"--{name}={text}"
