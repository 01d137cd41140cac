"""Runs `true` through psij-python's local executor, many at once, told of ends by callback."""

import shutil
import threading
import time

import psij

from benchmarks.loads import answer, arguments

DEADLINE_SECONDS = 300.0


class Places(psij.JobStatusCallback):
    """A place for each unfinished job."""

    def __init__(self, outstanding: int) -> None:
        self._places = threading.Semaphore(outstanding)

    def take(self) -> None:
        """Wait for a place."""
        if not self._places.acquire(timeout=DEADLINE_SECONDS):
            raise TimeoutError("no job has ended")

    def job_status_changed(self, job: psij.Job, job_status: psij.JobStatus) -> None:
        """Free the job's place at its end."""
        del job
        if job_status.final:
            assert job_status.state == psij.JobState.COMPLETED, job_status
            self._places.release()


def main(*, count: int, outstanding: int) -> None:
    """Run so many jobs, never more unfinished than `outstanding`."""
    executor = psij.JobExecutor.get_instance("local")
    places = Places(outstanding)
    executor.set_job_status_callback(places)
    began = time.perf_counter()
    for _ in range(count):
        places.take()
        executor.submit(psij.Job(psij.JobSpec(executable=shutil.which("true"))))
    for _ in range(outstanding):
        places.take()
    answer(per_second=count / (time.perf_counter() - began))


if __name__ == "__main__":
    main(**arguments())
