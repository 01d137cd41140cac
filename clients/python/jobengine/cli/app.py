"""The `jobengine` command: which commands there are, each imported only when it is called."""

import importlib
import importlib.metadata
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jobengine.cli.session import Session, with_session

_EXIT_CODES = (
    "Exits with the job's exit code, or: 128 + N if signal N ended it, 124 if it ran into its "
    "timeout or start timeout, 127 if its command can't be started, 130 if it was cancelled, "
    "125 if it failed in any other way, or the service did, 2 if the request is wrong."
)

# Name: where it is, and its settings.
_COMMANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "run": (
        "jobengine.cli.run:run",
        {
            "epilog": _EXIT_CODES,
            # What follows the command's name is the command's own.
            "context_settings": {"allow_interspersed_args": False},
        },
    ),
    "get": ("jobengine.cli.jobs:get", {}),
    "ls": ("jobengine.cli.jobs:ls", {}),
    "watch": ("jobengine.cli.streams:watch", {}),
    "logs": ("jobengine.cli.streams:logs", {}),
    "cancel": ("jobengine.cli.jobs:cancel", {}),
    "rm": ("jobengine.cli.jobs:rm", {}),
    "health": ("jobengine.cli.health:health", {}),
}

# What the distribution jobengine-server adds.
_SERVER_COMMANDS = ("serve", "engines", "engine", "doctor", "token")


class _LazyGroup(TyperGroup):
    """Knows its commands by name, and imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002
        return [*_COMMANDS, *sorted(_entry_points().keys() - _COMMANDS.keys())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002
        if cmd_name in _COMMANDS:
            target, settings = _COMMANDS[cmd_name]
            module, _, function = target.partition(":")
            return _command(cmd_name, getattr(importlib.import_module(module), function), settings)
        if entry_point := _entry_points().get(cmd_name):
            found = entry_point.load()
            if isinstance(found, typer.Typer):
                return typer.main.get_command(found)
            return _command(cmd_name, found, {})
        if cmd_name in _SERVER_COMMANDS:
            typer.echo(
                f"jobengine: `{cmd_name}` comes with the server: pip install jobengine-server",
                err=True,
            )
            raise typer.Exit(2)
        return None


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {e.name: e for e in importlib.metadata.entry_points(group="jobengine.commands")}


def _command(name: str, function: Callable[..., Any], settings: dict[str, Any]) -> object:
    alone = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
    )
    alone.command(name, **settings)(function)
    return typer.main.get_command(alone)


app = typer.Typer(cls=_LazyGroup, add_completion=False, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:  # noqa: FBT001  (called by typer)
    if wanted:
        typer.echo(importlib.metadata.version("jobengine"))
        raise typer.Exit


@app.callback(no_args_is_help=True)
@with_session
def _globals(  # pyright: ignore[reportUnusedFunction]  (called by typer)
    session: Session,
    *,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """Run commands and containers as jobs on a job engine."""
    del session, version


def main() -> None:
    """Run the command that the arguments name."""
    # gRPC's core writes its own notes of lost connections to stderr, which are told in words
    # of this program's anyway.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # No command forks to use gRPC on both sides, which is what its handlers of forks are for. They
    # crash one in fifty of the processes that uvloop starts, before these run what they are to.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    app(prog_name="jobengine")
