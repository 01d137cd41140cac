"""Plain classes as their authors write them: this module knows nothing of the project."""

# mypy: allow-untyped-defs, allow-untyped-calls

import subprocess


class YourEngine:
    """Runs commands: the whole of what a plain engine needs."""

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
        self.processes = {}

    def create_job(self, name, spec):
        self.processes[name] = subprocess.Popen([*spec.command, *spec.args])
        return self.Job(name, self.Status(active=1))

    def delete_job(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def read_job(self, name):
        if name not in self.processes:
            return None
        return self.Job(name, self.read_status(self.Job(name, None)))

    def read_status(self, job):
        exit_code = self.processes[job.name].poll()
        if exit_code is None:
            return self.Status(active=1)
        return self.Status(succeed=1) if exit_code == 0 else self.Status(failed=1)
