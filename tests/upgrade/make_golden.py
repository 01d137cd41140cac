"""Makes golden data of whichever release it is run with.

    PYTHONPATH=$RELEASE:$RELEASE/clients/python \\
        .venv/bin/python tests/upgrade/make_golden.py tests/upgrade/format-1

$RELEASE is a work tree of the release; for `format-1` that was b389941. What is written for a fixed
input (`*_records`) the tests make anew with today's code, and hold against that.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

import engines
from engines.base import Reason, State, Status
from engines.docker import manifest as docker_manifest
from engines.docker.record import CLAIM, DELETE, END, STOP, Claim, KeptJob, Labels
from engines.docker.settings import About
from engines.docker.settings import Settings as DockerSettings
from engines.kubernetes import manifest as kubernetes_manifest
from engines.kubernetes import record as kubernetes_record
from engines.kubernetes.settings import Settings as KubernetesSettings
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Intent, Stop
from engines.lifecycle.intent import make_intent
from engines.local import plan, record, shim
from engines.local.log import STDERR, STDOUT, LogWriter
from engines.local.store import Store
from jobengine import Client
from jobengine.v1.job_pb2 import JobSpec, Mount, Resources

IMAGE: Final = "jobengine.test/busybox:1"
NAMESPACE: Final = "golden"
UIDS: Final = "0123456789abcdef0123456789abc"
CONTAINER: Final = "c" * 64
"""Stands for the id of a container that a claim is about."""

WAIT_SECONDS: Final = 30.0

STOPPED: Final = Stop(facts.CANCELLED, 1767225602.5, 2.0, "somebody said \N{PILE OF POO}")
ENDED: Final = End(facts.EXITED, 1767225603.5, 7, 9, oom=True, message="why", lost_bytes=5)
STATUS: Final = Status(
    active=1,
    succeed=2,
    failed=3,
    state=State.FAILED,
    reason=Reason.SIGNALLED,
    message="somebody said \N{PILE OF POO}",
    exit_code=4,
    signal=5,
    create_time=1767225600.25,
    start_time=1767225601.25,
    end_time=1767225602.25,
    retries=9,
)


def full_spec() -> JobSpec:
    """A spec of which most fields are set."""
    return JobSpec(
        image=IMAGE,
        command=["/bin/sh", "-c"],
        args=["echo \N{PILE OF POO}"],
        env={"B": "2", "A": "1 $(B)"},
        labels={"team": "a", "example.com/tier": "web"},
        annotations={"example.com/note": "for people"},
        working_dir="/tmp",
        user="0",
        resources=Resources(cpu_millis=500, memory_bytes=1 << 26),
        completions=3,
        parallelism=2,
        max_retries=1,
        timeout=Duration(seconds=90, nanos=500_000_000),
        start_timeout=Duration(seconds=60),
        ttl_after_finished=Duration(seconds=3600),
        mounts=[Mount(target="/data", host_path="/srv")],
    )


def shell(script: str, **fields: Any) -> JobSpec:
    """A script in the image of the tests."""
    return JobSpec(image=IMAGE, command=["/bin/sh", "-c"], args=[script], **fields)


def kept_job(name: str, spec: JobSpec, number: int = 1) -> KeptJob:
    """A job with a uid that is known. It isn't stopped for never having started."""
    intent = make_intent(name, spec, f"request-{name}", None, now=1767225600.5)
    labels = dict(sorted(intent.labels.items()))  # protobuf's own order is another each time
    return KeptJob(intent._replace(uid=f"{UIDS}{number:03}", labels=labels), spec)


# -- the local engine ---------------------------------------------------------------------------


def local_records(directory: Path) -> dict[str, Any]:
    """What is written for the fixed input, by file, its bytes as latin-1."""
    store = Store(directory / "state")
    store.open()
    try:
        intent, spec = kept_job("job", full_spec())
        what = plan.make_plan(spec, 1 << 20)._replace(env={"PATH": "/bin", "A": "1"})
        _synced(store.create(intent, what, spec.SerializeToString(deterministic=True)))
        _synced(store.stop("job", STOPPED, delete=True))
        job = directory / "state" / "jobs" / "job"
        with (job / record.attempt_name(2, 1)).open("wb+", buffering=0) as file:
            file.write(record.encode_start(1767225601.5, 4242))
            record.write_command(file.fileno(), 4343)
            record.write_end(file.fileno(), ENDED)
        _write_log(job)
        request = shim.Request("job", intent.uid, 2, 1, None)
        settings = shim.Settings(store.path, 5.0, "", [])
        shim._notify(settings, request)
        return {
            "state": sorted(path.name for path in (directory / "state").iterdir()),
            "job": {path.name: _without_time(path) for path in job.iterdir()},
            "event": os.read(store.events, 4096).decode(),
            "environment": shim._environment(what, request),
        }
    finally:
        store.close()


def _synced(fds: list[int]) -> None:
    for fd in fds:
        os.fsync(fd)
        os.close(fd)


def _write_log(job: Path) -> None:
    before = Path.cwd()
    os.chdir(job)
    try:
        log = LogWriter(record.attempt_name(2, 1), 1 << 20)
        log.write(STDOUT, b"out\n\x00\xff")
        log.write(STDERR, b"err\n")
        log.close()
    finally:
        os.chdir(before)


def _without_time(path: Path) -> str:
    """A file's bytes; of a log, the times of its two frames are left out."""
    data = path.read_bytes()
    if ".log." in path.name:
        data = data[8:23] + data[31:]
    return data.decode("latin-1")


def stop_local(state_dir: Path) -> None:
    """Add two jobs of which a server has noted that they have to end, or go, and no more."""
    store = Store(state_dir)
    store.open()
    for name, number, delete in (("stopping", 2, False), ("deleting", 3, True)):
        spec = JobSpec(command=["/bin/sh", "-c", "echo ran"], labels={"golden": name})
        intent, what = kept_job(name, spec, number).intent, plan.make_plan(spec, 1 << 20)
        _synced(store.create(intent, what, spec.SerializeToString(deterministic=True)))
        _synced(store.stop(name, STOPPED, delete=delete))
    store.close()


LOCAL_JOBS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "succeeded": ("echo out; sleep 0.1; echo err >&2; sleep 0.1; echo out again", {}),
    "failed": ("echo before; exit 3", {"labels": {"golden": "yes", "team": "a"}}),
    "signalled": ("kill -9 $$", {}),
    "timed-out": ("sleep 60", {"timeout": Duration(nanos=300_000_000)}),
    "retried": (
        'echo "$JOBENGINE_JOB_ATTEMPT"; test "$JOBENGINE_JOB_ATTEMPT" = 0.1',
        {"max_retries": 2},
    ),
    "instances": ('echo "$JOB_COMPLETION_INDEX"', {"completions": 3, "parallelism": 3}),
    "instance-failed": (
        'test "$JOB_COMPLETION_INDEX" = 0',
        {"completions": 2, "parallelism": 1, "max_retries": 1},
    ),
    "cancelled": ("echo running; sleep 60", {}),
    "unseen": ("while [ -e {gate} ]; do sleep 0.05; done; echo unseen; exit 5", {}),
    "pending": (
        'echo "ran $JOBENGINE_JOB_ATTEMPT"; test "$JOBENGINE_JOB_ATTEMPT" != 1.0',
        {"completions": 2, "max_retries": 1, "labels": {"golden": "yes", "team": "b"}},
    ),
}
"""By name: what they run. "unseen" ends while no server is there; "pending" never starts."""


def run_local(state_dir: Path) -> dict[str, Any]:
    """Have a server run the jobs; return what it says of those that have ended."""
    gate = state_dir.with_name("gate")
    gate.touch()
    with serving(state_dir) as client:
        for name, (script, fields) in LOCAL_JOBS.items():
            spec = JobSpec(command=["/bin/sh", "-c", script.replace("{gate}", str(gate))], **fields)
            client.create_job(spec, name=name, request_id=f"request-{name}")
            if name == "cancelled":
                _until(lambda: list(client.logs("cancelled")))
                client.cancel_job("cancelled", grace_seconds=1)
            if name == "unseen":
                _until(lambda: client.read_status("unseen").HasField("start_time"))
            elif name != "pending":
                client.wait(name)
        said = {name: _said(client, name) for name in LOCAL_JOBS if name != "unseen"}
    gate.unlink()
    end = state_dir / "jobs" / "unseen" / "0.0"
    _until(lambda: record.parse_attempt(0, 0, end.read_bytes()).end is not None)
    return said


def _said(client: Client, name: str) -> dict[str, Any]:
    """What a server says of a job, as JSON."""
    job = client.read_job(name)
    watched = next(client.watch_status(name)).cursor
    logs = [
        [[chunk.cursor, chunk.stream, chunk.data.decode()] for chunk in chunks]
        for chunks in (client.logs(name, instance=n) for n in range(job.spec.completions or 1))
    ]
    return {"job": MessageToDict(job), "cursor": watched, "logs": logs}


@contextlib.contextmanager
def serving(state_dir: Path) -> Generator[Client]:
    """A server of the release that runs this, which has place for one instance."""
    command = [str(Path(sys.executable).with_name("jobengine")), "serve", "--engine", "local"]
    options = ["--listen", "127.0.0.1:0", "--state-dir", str(state_dir), "--max-running", "1"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            with Client(json.loads(server.stdout.readline())["address"]) as client:
                yield client
        finally:
            server.terminate()


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pack(state_dir: Path) -> bytes:
    """A state directory without its lock and FIFO, as a tar file; nobody's names, no new times."""
    packed = io.BytesIO()

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if info.name in {"state/lock", "state/events"}:
            return None
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(state_dir, "state", filter=plain)
    return packed.getvalue()


# -- the Docker engine --------------------------------------------------------------------------


def docker_records() -> dict[str, Any]:
    """What is written for the fixed input: name and labels of each volume, and of a container."""
    labels, (intent, spec) = Labels(NAMESPACE), kept_job("job", full_spec())
    key = (2, 1)
    container = labels.container(intent, key)
    return {
        "job": [labels.job_volume("job"), labels.of_job(KeptJob(intent, spec))],
        STOP: [labels.fact_volume(intent, STOP), labels.of_stop(intent, STOP, STOPPED)],
        DELETE: [labels.fact_volume(intent, DELETE), labels.of_stop(intent, DELETE, STOPPED)],
        END: [labels.fact_volume(intent, END), labels.of_end(intent, STATUS)],
        CLAIM: [container, labels.of_claim(intent, key, Claim(CONTAINER, "server"))],
        "run": [container, labels.of_run(intent, key)],
    }


def docker_jobs() -> dict[str, Any]:
    """By job: its volumes by name, with their labels, and its container's name and body."""
    labels = Labels(NAMESPACE)
    found: dict[str, Any] = {}
    for number, (name, script) in enumerate(
        {
            "waiting": "echo ran",
            "running": "while [ ! -e /gate ]; do sleep 0.1; done; echo ran; exit 4",
            "stopping": "echo ran",
            "deleting": "echo ran",
            "ended": "echo ran",
        }.items()
    ):
        kept = kept_job(name, shell(script, labels={"golden": name}), 10 + number)
        found[name] = {"volumes": {labels.job_volume(name): labels.of_job(kept)}}
        volumes, intent = found[name]["volumes"], kept.intent
        match name:
            case "running":
                body = docker_manifest.make_body(
                    kept, (0, 0), {}, labels, DockerSettings(namespace=NAMESPACE), About()
                )
                container = labels.container(intent, (0, 0))
                found[name]["container"] = [container, body]
                claim = Claim(CONTAINER, "server")
                volumes[container] = labels.of_claim(intent, (0, 0), claim)
            case "stopping":
                volumes[labels.fact_volume(intent, STOP)] = labels.of_stop(intent, STOP, STOPPED)
            case "deleting":
                volume = labels.fact_volume(intent, DELETE)
                volumes[volume] = labels.of_stop(intent, DELETE, STOPPED)
            case "ended":
                volumes[labels.fact_volume(intent, END)] = labels.of_end(intent, STATUS)
            case _:
                pass
    return found


# -- the Kubernetes engine ----------------------------------------------------------------------


def kubernetes_records() -> dict[str, Any]:
    """What is written for the fixed input: of a new Job, and what is added to it later."""
    intent, spec = kept_job("job", full_spec())
    return {
        "job": _manifest(intent, spec)["metadata"],
        "start": kubernetes_record.start_annotation(1767225601.5),
        "stop": kubernetes_record.stop_annotation(STOPPED),
        "end": kubernetes_record.end_annotation(STATUS),
    }


def kubernetes_jobs() -> dict[str, Any]:
    """By name: a Job to create."""
    scripts = {"running": "echo ran; exit 4", "stopped": "sleep 60", "ended": "sleep 60"}
    return {
        name: _manifest(*kept_job(name, shell(script, labels={"golden": name})))
        for name, script in scripts.items()
    }


def _manifest(intent: Intent, spec: JobSpec) -> dict[str, Any]:
    settings = KubernetesSettings(host_paths=("/srv",), grace_seconds=1.0)
    return kubernetes_manifest.make_job(intent, spec, settings)


# -- all of it ----------------------------------------------------------------------------------


def main(directory: Path) -> None:
    """Write everything into a directory, with the release that is imported."""
    print(f"made by {Path(engines.__file__).parent}")
    os.environ |= {"PATH": os.defpath, "HOME": "/", "LANG": "C.UTF-8"}
    directory.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as place:
        state_dir = Path(place, "served", "state")
        state_dir.parent.mkdir()
        said = run_local(state_dir)
        stop_local(state_dir)
        (directory / "local.tar.gz").write_bytes(pack(state_dir))
        local = {"records": local_records(Path(place)), "said": said}
    docker = {"records": docker_records(), "jobs": docker_jobs()}
    kubernetes = {"records": kubernetes_records(), "jobs": kubernetes_jobs()}
    for name, made in (("local", local), ("docker", docker), ("kubernetes", kubernetes)):
        text = json.dumps(made, indent=1, sort_keys=True)
        (directory / f"{name}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
