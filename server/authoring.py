"""`jobengine engine`: what helps to write an engine."""

import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.command import fail

if TYPE_CHECKING:
    from engines.authoring.check import Outcome, Report
    from engines.workload import Workload

engine = typer.Typer(
    help="Begin an engine of your own, and check it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@engine.command()
def new(
    name: Annotated[
        str, typer.Argument(help="What operators will call it: small letters, digits and '-'.")
    ],
    directory: Annotated[
        Path, typer.Option(help="Where to make the directory NAME.", file_okay=False)
    ] = Path(),
) -> None:
    """Make a project in the directory NAME: an engine that works, with tests that pass."""
    from engines.authoring.skeleton import InvalidProject, create_project

    try:
        project = create_project(name, directory)
    except (InvalidProject, OSError) as problem:
        fail("engine new", str(problem))
    typer.echo(f"made {project}; next:\n  cd {project}\n  pip install -e '.[test]'\n  pytest")


@engine.command()
def check(
    engine: Annotated[str, typer.Argument(help="The name of an engine, or module:Class.")],
    *,
    workload: Annotated[
        str | None,
        typer.Option(
            help="module:Class of a Workload, made with a directory: what this engine can be made "
            "to do. Default: shell commands."
        ),
    ] = None,
    image: Annotated[
        str, typer.Option(help="Image with /bin/sh, for an engine that runs images.")
    ] = "",
    exit_codes: Annotated[
        bool, typer.Option(help="Whether the engine tells them. Plain classes don't.")
    ] = True,
    streams: Annotated[bool, typer.Option(help="Whether its logs tell stdout from stderr.")] = True,
    deadline: Annotated[
        float, typer.Option(min=1.0, help="Seconds that anything may take that happens soon.")
    ] = 20.0,
) -> None:
    """Run the conformance suite on an engine, and show what works.

    Exits with 0 if all that the engine declares works, else with 1.
    """
    from engines.authoring.check import Asked, NothingToCheckWith, check
    from engines.config import InvalidEngine, JobManager

    try:
        JobManager(engine)
        asked = Asked(
            functools.partial(JobManager, engine),
            _workload(workload, image),
            exit_codes=exit_codes,
            streams=streams,
            deadline_seconds=deadline,
            test_seconds=6 * deadline,
        )
        report = check(asked, _tell)
    except (InvalidEngine, NothingToCheckWith, ValueError, TypeError) as problem:
        fail("engine check", str(problem))
    _show(engine, report)
    raise typer.Exit(1 if report.failures or not report.outcomes else 0)


def _workload(path: str | None, image: str) -> "Callable[[Path], Workload]":
    from engines.config import look_in_current_directory
    from engines.workload import ShellWorkload, Workload

    if path is None:
        return functools.partial(ShellWorkload, image=image)
    module, _, name = path.partition(":")
    look_in_current_directory()
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as problem:
        raise ValueError(f"--workload {path!r}: {problem}") from problem
    if not (isinstance(found, type) and issubclass(found, Workload)):
        raise TypeError(f"--workload {path!r}: use a class that inherits engines.testing.Workload")
    return found


def _tell(outcome: "Outcome") -> None:
    """A sign of life, where somebody waits."""
    if sys.stderr.isatty():
        mark = {"passed": ".", "skipped": "-", "failed": "F"}[outcome.verdict]
        typer.echo(mark, nl=False, err=True)


def _show(name: str, report: "Report") -> None:
    from rich.console import Console
    from rich.table import Table

    from engines.authoring.check import ALWAYS
    from engines.base import Capability

    table = Table(title=name, title_justify="left", box=None, pad_edge=False)
    for heading in ("ability", "declared", "tests"):
        table.add_column(heading)
    table.add_row(ALWAYS, "", _counts(report, ALWAYS))
    for capability in Capability:
        declared = capability in report.capabilities
        table.add_row(
            capability.name,
            "yes" if declared else "no",
            _counts(report, capability.name) if declared else "",
        )
    console = Console(highlight=False)
    console.print()
    console.print(table)
    console.print()
    for each in report.failures:
        console.print(f"FAILED {each.test}: {each.why}", markup=False, soft_wrap=True)
    passed, skipped = (
        sum(each.verdict == verdict for each in report.outcomes)
        for verdict in ("passed", "skipped")
    )
    skipping = f"; {skipped} are about what it doesn't declare" if skipped else ""
    console.print(f"{passed} passed, {len(report.failures)} failed{skipping}")


def _counts(report: "Report", ability: str) -> str:
    counts = {verdict: report.count(ability, verdict) for verdict in ("passed", "failed")}
    words = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    return ", ".join(words) or "the suite has no test of it"
