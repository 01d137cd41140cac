"""The commands that go on: watch and logs."""

import enum
import sys
from typing import Annotated

import typer

from jobengine.cli.jobs import Name, Selector
from jobengine.cli.session import Session, command


class StreamName(enum.StrEnum):
    """The output streams, as they are written on a command line."""

    STDOUT = "stdout"
    STDERR = "stderr"


@command
def watch(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(help="The job's name. Default: all jobs.", show_default=False)
    ] = None,
    *,
    selector: Selector = "",
) -> None:
    """Show each change of a job until it has ended, or of all jobs until Ctrl-C."""
    from jobengine import WatchEvent
    from jobengine.cli import show

    if name is not None and selector:
        raise typer.BadParameter("either a job's name or --selector, not both")
    with session.client() as client:
        if name is not None:
            for event in client.watch_status(name):
                _print(session, show.to_json(event), name, show.summary(event.status))
            return
        for change in client.watch_jobs(selector):
            gone = " (removed)" if change.event == WatchEvent.WATCH_EVENT_DELETED else ""
            if change.event != WatchEvent.WATCH_EVENT_SYNCED or session.json:
                text = show.summary(change.job.status) + gone
                _print(session, show.to_json(change), change.job.name, text)


def _print(session: Session, json_line: str, name: str, text: str) -> None:
    typer.echo(json_line if session.json else f"{name}: {text}")
    sys.stdout.flush()


@command
def logs(
    session: Session,
    name: Name,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    instance: Annotated[int, typer.Option(min=0, help="Which instance, counted from 0.")] = 0,
    tail: Annotated[
        int | None,
        typer.Option(min=0, metavar="LINES", help="Begin this many lines before the end."),
    ] = None,
    stream: Annotated[StreamName | None, typer.Option(help="Only this stream.")] = None,
) -> None:
    """Show what a job wrote: its stdout on stdout, its stderr on stderr."""
    from jobengine import LogStream
    from jobengine.cli import show

    wanted = LogStream.Value(f"LOG_STREAM_{stream.value.upper() if stream else 'UNSPECIFIED'}")
    with session.client() as client:
        chunks = client.logs(name, instance=instance, stream=wanted, follow=follow, tail_lines=tail)
        for chunk in chunks:
            if session.json:
                typer.echo(show.to_json(chunk))
                continue
            to_stderr = chunk.stream == LogStream.LOG_STREAM_STDERR
            target = sys.stderr.buffer if to_stderr else sys.stdout.buffer
            target.write(chunk.data)
            target.flush()
