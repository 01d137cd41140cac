"""Stories of a server on a Slurm cluster, which may come to harm too."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import psutil

from jobengine import JobReason, JobState, JobStatus, RetryPolicy, state_name
from tests.faults import processes
from tests.faults.processes import until
from tests.faults.server import FaultyServer
from tests.faults.story import Story, check_truth
from tests.faults.truth import Task
from tests.slurm.cluster import SlurmCluster
from tests.slurm.commands import Commands


class Place:
    """A directory of this test's own, which the nodes of a cluster share with its server."""

    def __init__(self, cluster: SlurmCluster, directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory
        self.commands = Commands(directory / "bin")


class SlurmServer(FaultyServer):
    """`jobengine serve` on a cluster."""

    def __init__(self, place: Place, *options: str) -> None:
        super().__init__(place.directory / "state", *options)
        self._place = place

    def engine_options(self) -> tuple[str, ...]:
        return "--engine", "slurm", "--state-dir", str(self.state_dir), "--allow-engine-options"

    def environment(self) -> dict[str, str]:
        place = self._place
        return {"SLURM_CONF": str(place.cluster.conf), "PATH": place.commands.path}


class SlurmStory(Story):
    """`may_lose`: Slurm may come to harm by which a job ends, or nobody can tell how it did."""

    patience = RetryPolicy(retry_for_seconds=90, resume_for_seconds=90, heartbeat_seconds=1)
    settle_seconds = 90
    call_seconds = 90.0

    def __init__(self, place: Place, *options: str, may_lose: bool = False) -> None:
        self.place = place
        self.may_lose = may_lose
        self.lost: list[str] = []
        super().__init__(place.directory, *options)

    def make_server(self, *options: str) -> FaultyServer:
        return SlurmServer(self.place, *options)

    def clear(self) -> None:
        """Kill what runs of its jobs; whoever made the place ends those in Slurm."""
        until("nothing runs any more", lambda: not self._kill_all())

    def check_truth(self, task: Task, status: JobStatus) -> None:
        """Never twice, never an end that the job didn't have; one of Slurm's only where that may
        be."""
        if not self.may_lose:
            check_truth(task, status)
            return
        runs = task.runs()
        match status.state:
            case JobState.JOB_STATE_SUCCEEDED:
                done = {run.instance for run in runs if run.code == 0}
                assert done == set(range(task.options.get("completions", 1))), (
                    f"{task.name}: {runs}"
                )
            case JobState.JOB_STATE_FAILED if status.reason == JobReason.JOB_REASON_NON_ZERO_EXIT:
                codes = {run.code for run in runs} - {0}
                assert status.exit_code in codes, f"{task.name}: {runs} {status}"
            case JobState.JOB_STATE_CANCELLED if task.act:
                pass
            case _:
                unfinished = [run for run in runs if run.code is None]
                assert unfinished or not runs, f"{task.name}: {runs} {status}"
                self.lost.append(f"{task.name}: {state_name(status)} {status.message}")

    def check_nothing_runs(self) -> None:
        """Whatever the jobs left behind, it doesn't run."""
        until("nothing runs any more", lambda: not processes.of_jobs(self.directory))
        assert self.server.terminate() == 0

    def _kill_all(self) -> list[psutil.Process]:
        found = processes.of_jobs(self.directory)
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return found


@contextlib.contextmanager
def place_on(cluster: SlurmCluster, directory: Path) -> Generator[Place]:
    """A place; afterwards the cluster is well, and has no jobs."""
    try:
        yield Place(cluster, directory)
    finally:
        cluster.mend()
        cluster.cancel_all()
