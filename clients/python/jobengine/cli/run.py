"""The command that runs a job and behaves as if the job were run here."""

from typing import TYPE_CHECKING, Annotated

import typer

from jobengine.cli import quantities
from jobengine.cli.session import Session, command

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration


@command
def run(  # noqa: PLR0913  (each is an option of the command line)
    session: Session,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--] COMMAND [ARGS]...", help="What to run.", show_default=False),
    ] = None,
    *,
    name: Annotated[str, typer.Option(help="The job's name. Default: one is made.")] = "",
    image: Annotated[str, typer.Option(help="Container image, on engines that run them.")] = "",
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            "-e",
            metavar="KEY=VALUE",
            parser=quantities.assignment,
            help="Environment variable; may be repeated.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="KEY=VALUE",
            parser=quantities.assignment,
            help="Label; may be repeated.",
        ),
    ] = None,
    annotation: Annotated[
        list[str] | None,
        typer.Option(
            "--annotation",
            metavar="KEY=VALUE",
            parser=quantities.assignment,
            help="Annotation; may be repeated.",
        ),
    ] = None,
    cpu: Annotated[
        int | None,
        typer.Option(parser=quantities.cpu_millis, metavar="N", help="Processors: 2, 0.5, 500m."),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(parser=quantities.size_bytes, metavar="SIZE", help="Memory: 256MiB, 1.5G."),
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, show_default=False, help="Whole GPUs.")] = 0,
    workdir: Annotated[str, typer.Option("--workdir", "-w", help="Working directory.")] = "",
    retries: Annotated[
        int, typer.Option(min=0, show_default=False, help="How often to run what failed again.")
    ] = 0,
    completions: Annotated[
        int,
        typer.Option(min=0, show_default=False, help="Instances that must succeed. Default: 1."),
    ] = 0,
    parallelism: Annotated[
        int, typer.Option(min=0, show_default=False, help="Instances that run at once. Default: 1.")
    ] = 0,
    job_timeout: Annotated[
        int | None,
        typer.Option(
            parser=quantities.milliseconds,
            metavar="SPAN",
            help="How long the job may take: 10s, 1m30s.",
        ),
    ] = None,
    start_timeout: Annotated[
        int | None,
        typer.Option(
            parser=quantities.milliseconds,
            metavar="SPAN",
            help="How long the job may wait to start.",
        ),
    ] = None,
    ttl: Annotated[
        int | None,
        typer.Option(
            parser=quantities.milliseconds,
            metavar="SPAN",
            help="How long the job is kept after its end.",
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Print the job's name, and leave it alone.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show only the job's own output, and errors.")
    ] = False,
) -> None:
    """Run a job: its output is this command's, and so is its exit code. Ctrl-C cancels it.

    A second Ctrl-C leaves at once, without waiting for the job's end.
    """
    import asyncio

    from jobengine import JobSpec, Resources
    from jobengine.cli.follow import Follower

    spec = JobSpec(
        image=image,
        command=command or (),
        env=_pairs(env),
        labels=_pairs(label),
        annotations=_pairs(annotation),
        working_dir=workdir,
        resources=(
            Resources(cpu_millis=cpu or 0, memory_bytes=memory or 0, gpu_count=gpus)
            if cpu or memory or gpus
            else None
        ),
        max_retries=retries,
        completions=completions,
        parallelism=parallelism,
        timeout=_duration(job_timeout),
        start_timeout=_duration(start_timeout),
        ttl_after_finished=_duration(ttl),
    )
    follower = Follower(session, spec, name=name, detach=detach, quiet=quiet)
    raise typer.Exit(asyncio.run(follower.run()))


def _pairs(texts: list[str] | None) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts or ())


def _duration(millis: int | None) -> "Duration | None":
    from google.protobuf.duration_pb2 import Duration

    if millis is None:
        return None
    duration = Duration()
    duration.FromMilliseconds(millis)
    return duration
