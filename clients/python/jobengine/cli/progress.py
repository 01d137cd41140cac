"""What `jobengine run` says on stderr about its job."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

from jobengine import JobState, JobStatus
from jobengine.cli.show import summary, to_json

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Shows what the job waits for: moving on a terminal, as plain lines otherwise."""

    def __init__(self, *, json: bool, quiet: bool) -> None:
        self._json = json
        self._quiet = quiet
        self._moving: Status | None = None
        self._latest = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop_moving()

    def show(self, name: str, status: JobStatus) -> None:
        """The job's status is this now."""
        if self._quiet:
            return
        if self._json:
            typer.echo(to_json(status), err=True)
        elif status.state == JobState.JOB_STATE_PENDING and sys.stderr.isatty():
            self._move(f"{name}: {summary(status)}")
        elif status.state in (JobState.JOB_STATE_PENDING, JobState.JOB_STATE_RUNNING):
            self._stop_moving()
            self._line(f"{name}: {summary(status)}")
        else:
            self._stop_moving()

    def end(self, name: str, status: JobStatus) -> None:
        """The job has ended, and all its output is shown."""
        if not self._quiet and not self._json:
            self._line(f"{name}: {summary(status)}")

    def note(self, text: str) -> None:
        """Something that whoever looks at the output should know."""
        self._stop_moving()
        typer.echo(f"jobengine: {text}", err=True)

    def _line(self, text: str) -> None:
        # Counts and times change more often than what a line says of them.
        if text != self._latest:
            self._latest = text
            typer.echo(text, err=True)

    def _move(self, text: str) -> None:
        from rich.console import Console

        if self._moving is None:
            self._moving = Console(stderr=True).status(text)
            self._moving.start()
        else:
            self._moving.update(text)

    def _stop_moving(self) -> None:
        if self._moving is not None:
            self._moving.stop()
            self._moving = None
