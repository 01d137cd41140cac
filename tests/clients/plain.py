"""An engine with just the four methods: no logs, no cancel, no list. Its jobs never end."""


class Plain:
    class Status:
        def __init__(self, active=None, succeed=None, failed=None):
            self.active = active
            self.succeed = succeed
            self.failed = failed

    class Job:
        def __init__(self, name, status):
            self.name = name
            self.status = status

    def __init__(self):
        self._jobs = {}

    def create_job(self, name, spec):
        self._jobs[name] = self.Job(name, self.Status(active=1))
        return self._jobs[name]

    def delete_job(self, name):
        del self._jobs[name]

    def read_job(self, name):
        return self._jobs[name]

    def read_status(self, job):
        return self._jobs[job.name].status
