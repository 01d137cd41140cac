"""What jobs write down themselves, outside of the state directory: the ground truth."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobengine import JobSpec
from tests.faults.processes import MARK, until

RUNS_ON = "sleep 60 & wait; leave 0"
"""What a `Task` does that is to be stopped."""

# One write each, at the end of the file: lines of several instances never mix.
_PROLOGUE = """\
t={path}
note() {{ echo "$1 $JOBENGINE_JOB_ATTEMPT $2" >> "$t"; }}
leave() {{ note exit "$1"; exit "$1"; }}
note start "$$ $PPID"
"""


@dataclass(slots=True)
class Run:
    """One attempt as the job itself told it."""

    instance: int
    attempt: int
    pid: int
    shim_pid: int
    code: int | None = None


@dataclass(slots=True)
class Task:
    """A job that writes down what it does. `act` is what is done to it once it is accepted."""

    name: str
    directory: Path
    body: str
    options: Mapping[str, Any] = field(default_factory=dict)
    act: str = ""
    delay: float = 0.0
    uid: str = ""
    said: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Where it writes."""
        return self.directory / f"{self.name}.truth"

    @property
    def spec(self) -> JobSpec:
        script = _PROLOGUE.format(path=shlex.quote(str(self.path))) + self.body
        env = {MARK: str(self.directory)}
        return JobSpec(command=["sh", "-c", script], env=env, **self.options)

    @property
    def request_id(self) -> str:
        return f"request-{self.name}"

    def lines(self, word: str) -> list[list[str]]:
        """The rest of the lines that begin with a word."""
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return []
        return [line.split()[1:] for line in text.splitlines() if line.split()[0] == word]

    def runs(self) -> list[Run]:
        """All attempts; fails if one was started twice."""
        found: dict[str, Run] = {}
        for key, pid, shim_pid in self.lines("start"):
            assert key not in found, f"{self.name}: attempt {key} ran twice"
            instance, _, attempt = key.partition(".")
            found[key] = Run(int(instance), int(attempt), int(pid), int(shim_pid))
        for key, code in self.lines("exit"):
            assert found[key].code is None, f"{self.name}: attempt {key} ended twice"
            found[key].code = int(code)
        return list(found.values())

    def wait_for_start(self) -> Run:
        """Wait until it has started; return its first run."""
        return until(f"{self.name} has started", self.runs)[0]

    def wait_for(self, word: str) -> None:
        """Wait until it has written a line that begins with the word."""
        until(f"{self.name} has written {word!r}", lambda: self.lines(word))


def waiting(name: str, directory: Path, code: int = 0, **options: Any) -> Task:
    """A job that exits with the code once `release` was called for it."""
    path = shlex.quote(str(directory / f"{name}.fifo"))
    return Task(
        name, directory, f"mkfifo {path} 2>/dev/null; read x < {path}; leave {code}", options
    )


def release(task: Task) -> None:
    """Let a waiting job, or the one instance of it that waits, go on."""
    fifo = task.directory / f"{task.name}.fifo"
    until(f"{task.name} waits", fifo.exists)
    with fifo.open("w") as file:
        file.write("\n")
