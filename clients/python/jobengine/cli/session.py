"""The options that all commands have, and how every command ends."""

import contextlib
import enum
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

if TYPE_CHECKING:
    from jobengine import AsyncClient, Client

_Params = ParamSpec("_Params")

_CLI_RETRY_SECONDS = 1.0
"""People would rather hear of a missing server soon."""


class Output(enum.StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


AddressOption = Annotated[
    str | None,
    typer.Option(
        envvar="JOBENGINE_ADDRESS",
        metavar="HOST:PORT",
        help="Where the server is.",
        show_default="127.0.0.1:50051",
    ),
]
OutputOption = Annotated[
    Output | None,
    typer.Option(
        "--output", "-o", help="For people, or one JSON object per line.", show_default="text"
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        min=0.001, metavar="SECONDS", help="How long each call may take.", show_default="30"
    ),
]


@dataclass(frozen=True, slots=True)
class Globals:
    """What was given before the command's name."""

    address: str | None
    output: Output
    timeout: float


@dataclass(frozen=True, slots=True)
class Session:
    """Which server to call, and how to print what it says."""

    address: str | None
    output: Output
    timeout: float

    @property
    def json(self) -> bool:
        """Whether results are printed as JSON."""
        return self.output is Output.JSON

    def client(self) -> "Client":
        """A client of the server."""
        from jobengine import Client

        return Client(self.address, **self._settings())

    def async_client(self) -> "AsyncClient":
        """An asynchronous client of the server."""
        from jobengine import AsyncClient

        return AsyncClient(self.address, **self._settings())

    def _settings(self) -> dict[str, Any]:
        from jobengine import RetryPolicy

        return {
            "timeout_seconds": self.timeout,
            "retry": RetryPolicy(retry_for_seconds=_CLI_RETRY_SECONDS),
        }


def command(
    function: Callable[Concatenate[Session, _Params], None],
) -> Callable[..., None]:
    """Make a command of a function: with the options that all have, and without tracebacks."""

    @functools.wraps(function)
    def wrapper(
        context: typer.Context,
        *args: _Params.args,
        **kwargs: _Params.kwargs,
    ) -> None:
        given: dict[str, Any] = {name: kwargs.pop(name) for name in _ADDED}
        before: Globals = context.obj
        session = Session(
            given["address"] or before.address,
            given["output"] or before.output,
            given["timeout"] or before.timeout,
        )
        with _exit_codes(session):
            function(session, *args, **kwargs)

    own = list(inspect.signature(function).parameters.values())[1:]
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [context, *own, *_ADDED.values()]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


_ADDED = {
    name: inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )
    for name, annotation in (
        ("address", AddressOption),
        ("output", OutputOption),
        ("timeout", TimeoutOption),
    )
}


@contextlib.contextmanager
def _exit_codes(session: Session) -> Generator[None]:
    """Turn every expected failure into a message and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    except BrokenPipeError:
        close_stdout()
        raise typer.Exit(128 + signal.SIGPIPE) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        from jobengine.cli.failure import exit_code, explain
        from jobengine.errors import JobEngineError

        if not isinstance(error, JobEngineError):
            raise
        typer.echo(explain(error, session.address), err=True)
        raise typer.Exit(exit_code(error)) from None


def close_stdout() -> None:
    """Let nothing more be written: its reader is gone, also for what is flushed at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
