"""An engine with just the four methods: no logs, no cancel, no list. Its jobs never end."""

from jobengine import JobSpec


class Plain:
    class Status:
        def __init__(
            self,
            active: int | None = None,
            succeed: int | None = None,
            failed: int | None = None,
        ) -> None:
            self.active = active
            self.succeed = succeed
            self.failed = failed

    class Job:
        def __init__(self, name: str, status: "Plain.Status") -> None:
            self.name = name
            self.status = status

    def __init__(self) -> None:
        self._jobs: dict[str, Plain.Job] = {}

    def create_job(self, name: str, spec: JobSpec) -> Job:
        self._jobs[name] = self.Job(name, self.Status(active=1))
        return self._jobs[name]

    def delete_job(self, name: str) -> None:
        del self._jobs[name]

    def read_job(self, name: str) -> Job:
        return self._jobs[name]

    def read_status(self, job: Job) -> Status:
        return self._jobs[job.name].status
