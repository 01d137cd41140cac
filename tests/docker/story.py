"""Stories of a server on a Docker daemon, which may come to harm too."""

from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any

from jobengine import JobReason, JobSpec, JobState, JobStatus, RetryPolicy
from jobengine.v1.job_pb2 import Mount
from tests.docker.place import IMAGE, Place
from tests.faults.processes import until
from tests.faults.server import FaultyServer
from tests.faults.story import Story, check_truth
from tests.faults.truth import Task


class DockerServer(FaultyServer):
    """`jobengine serve` on a daemon."""

    def __init__(self, place: Place, *options: str) -> None:
        super().__init__(place.directory / "state", *options)
        self._place = place

    def engine_options(self) -> tuple[str, ...]:
        place = self._place
        where = ("--docker-host", place.host, "--namespace", place.namespace)
        return "--engine", "docker", *where, "--allow-host-path", str(place.directory)


INIT_STOPPED = 2
"""How runc's init exits when it gets SIGTERM: as process 1, Go's runtime can't die of it."""


@dataclass(slots=True)
class DockerTask(Task):
    """A job in a container that writes into the test's directory what it does."""

    @property
    def spec(self) -> JobSpec:
        spec: JobSpec = Task.spec.fget(self)  # type: ignore[attr-defined]
        spec.image = IMAGE
        spec.mounts.append(Mount(target=str(self.directory), host_path=str(self.directory)))
        return spec


def waiting(name: str, directory: Path, code: int = 0, **options: Any) -> DockerTask:
    """A job that exits with the code once `tests.faults.truth.release` was called for it."""
    fifo = directory / f"{name}.fifo"
    body = f"mkfifo {fifo} 2>/dev/null; read x < {fifo}; leave {code}"
    return DockerTask(name, directory, body, options)


class DockerStory(Story):
    """`may_lose`: the daemon may be killed, so that how a job ended can't always be told."""

    patience = RetryPolicy(retry_for_seconds=90, resume_for_seconds=90, heartbeat_seconds=1)
    settle_seconds = 90
    call_seconds = 90.0

    def __init__(self, place: Place, *options: str, may_lose: bool = False) -> None:
        self.place = place
        self.may_lose = may_lose
        self.lost: list[str] = []
        super().__init__(place.directory, *options)

    def make_server(self, *options: str) -> FaultyServer:
        return DockerServer(self.place, *options)

    def clear(self) -> None:
        pass  # the place is cleared by whoever made it

    def check_truth(self, task: Task, status: JobStatus) -> None:
        """Never twice, never an end that the job didn't have; LOST only where that may be."""
        if not self.may_lose:
            check_truth(task, status)
            return
        runs = task.runs()
        codes = {run.code for run in runs}
        completions = task.options.get("completions", 1)
        match status.state:
            case JobState.JOB_STATE_SUCCEEDED:
                assert {run.instance for run in runs if run.code == 0} == set(range(completions))
            case JobState.JOB_STATE_FAILED if status.reason == JobReason.JOB_REASON_SIGNALLED:
                # A daemon that comes up without live-restore ends what still runs, and one that is
                # stopped ends what it has just started, maybe before that wrote its first word.
                wrote_nothing = status.signal == SIGTERM and len(runs) < (status.failed or 0)
                assert None in codes or wrote_nothing, f"{task.name}: {runs} {status}"
            case JobState.JOB_STATE_FAILED:
                assert status.reason == JobReason.JOB_REASON_NON_ZERO_EXIT, status
                # A daemon that is stopped ends what is about to run the command: that exits with 2.
                never_ran = status.exit_code == INIT_STOPPED and len(runs) < (status.failed or 0)
                told = status.exit_code in codes - {0} or never_ran
                assert told, f"{task.name}: {runs} {status}"
            case JobState.JOB_STATE_LOST:
                self.lost.append(f"{task.name}: {status.message}")
            case _:
                assert task.act, f"nobody stopped {task.name}: {status}"

    def check_nothing_runs(self) -> None:
        """Whatever the jobs left behind, it doesn't run, and goes with them."""
        # Docker tells of an exit a moment before it lists it.
        until("nothing runs any more", lambda: not self._running())
        assert self.server.terminate() == 0

    def _running(self) -> list[Any]:
        return [c["Names"] for c in self.place.containers() if c["State"] == "running"]


def until_gone(place: Place) -> None:
    """Wait until nothing is left in a namespace."""
    until("no container is left", lambda: not place.containers())
    until("no volume is left", lambda: not place.volumes())
