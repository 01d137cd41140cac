"""The commands about jobs that answer at once: get, ls, cancel, rm."""

import enum
import json
from typing import Annotated

import typer

from jobengine.cli.session import Session, command

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="The jobs' names.")]
Name = Annotated[str, typer.Argument(help="The job's name.")]
Selector = Annotated[
    str,
    typer.Option(
        "--selector", "-l", help="Only jobs whose labels match, e.g. 'app=web,tier!=test'."
    ),
]


class StateName(enum.StrEnum):
    """The states, as they are written on a command line."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


@command
def get(session: Session, name: Name) -> None:
    """Show a job."""
    from jobengine.cli import show

    with session.client() as client:
        job = client.read_job(name)
    for line in [show.to_json(job)] if session.json else show.block(job):
        typer.echo(line)


@command
def ls(
    session: Session,
    *,
    selector: Selector = "",
    state: Annotated[
        list[StateName] | None, typer.Option(help="Only jobs in this state; may be repeated.")
    ] = None,
) -> None:
    """List jobs."""
    from jobengine import JobState
    from jobengine.cli import show

    states = [JobState.Value(f"JOB_STATE_{one.value.upper()}") for one in state or ()]
    with session.client() as client:
        jobs = client.list_jobs(selector, states=states)
        if session.json:
            for job in jobs:
                typer.echo(show.to_json(job))
        else:
            show.print_table(jobs)


Grace = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long the job gets to end by itself.",
        show_default="the engine's",
    ),
]


@command
def cancel(session: Session, names: Names, *, grace: Grace = None) -> None:
    """Stop jobs, and keep their records."""
    from jobengine.cli import show

    with session.client() as client:
        for name in names:
            status = client.cancel_job(name, grace_seconds=grace)
            line = show.to_json(status) if session.json else f"{name}: {show.summary(status)}"
            typer.echo(line)


@command
def rm(
    session: Session,
    names: Names,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Return only when all is gone.")] = False,
    missing_ok: Annotated[
        bool, typer.Option("--missing-ok", help="Succeed where there is no such job.")
    ] = False,
    grace: Grace = None,
) -> None:
    """Stop jobs if they still run, and remove them with their output."""
    with session.client() as client:
        for name in names:
            client.delete_job(name, allow_missing=missing_ok, wait=wait, grace_seconds=grace)
            typer.echo(json.dumps({"name": name}) if session.json else name)
