"""The options that all commands have, and how every command ends."""

import contextlib
import dataclasses
import enum
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

if TYPE_CHECKING:
    from jobengine import AsyncClient, Client
    from jobengine._settings import Token

_Params = ParamSpec("_Params")

_CLI_RETRY_SECONDS = 1.0
"""People would rather hear of a missing server soon."""


class Output(enum.StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


_connection = functools.partial(typer.Option, rich_help_panel="Connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Which server to call and how, and how to print what it says: the options of all commands."""

    address: Annotated[
        str | None,
        _connection(
            envvar="JOBENGINE_ADDRESS",
            metavar="HOST:PORT",
            help="Where the server is.",
            show_default="127.0.0.1:50051",
        ),
    ] = None
    tls: Annotated[
        bool | None,
        _connection(
            "--tls/--no-tls",
            envvar="JOBENGINE_TLS",
            help="Encrypt the connection. Default: only if another option here needs it.",
            show_default=False,
        ),
    ] = None
    ca: Annotated[
        Path | None,
        _connection(
            envvar="JOBENGINE_CA",
            metavar="FILE",
            help="The authorities to trust (PEM). Default: those that gRPC brings along.",
        ),
    ] = None
    cert: Annotated[
        Path | None,
        _connection(
            envvar="JOBENGINE_CERT",
            metavar="FILE",
            help="This client's certificate with its chain (PEM), for servers that ask for one.",
        ),
    ] = None
    key: Annotated[
        Path | None,
        _connection(
            envvar="JOBENGINE_KEY", metavar="FILE", help="The certificate's private key (PEM)."
        ),
    ] = None
    server_name: Annotated[
        str | None,
        _connection(
            envvar="JOBENGINE_SERVER_NAME",
            metavar="NAME",
            help="The name in the server's certificate. Default: the address's host.",
        ),
    ] = None
    token_file: Annotated[
        Path | None,
        _connection(
            envvar="JOBENGINE_TOKEN_FILE",
            metavar="FILE",
            help="File with the token to send, read for each call. Default: the environment "
            "variable JOBENGINE_TOKEN has the token itself.",
        ),
    ] = None
    timeout: Annotated[
        float,
        typer.Option(min=0.001, metavar="SECONDS", help="How long each call may take."),
    ] = 30.0
    output: Annotated[
        Output,
        typer.Option("--output", "-o", help="For people, or one JSON object per line."),
    ] = Output.TEXT

    @property
    def json(self) -> bool:
        """Whether results are printed as JSON."""
        return self.output is Output.JSON

    @property
    def encrypted(self) -> bool:
        """Whether the connection is: as told, else if something is given that is for TLS."""
        given = any((self.ca, self.cert, self.key, self.server_name))
        return given if self.tls is None else self.tls

    def client(self) -> "Client":
        """A client of the server."""
        from jobengine import Client

        with _wrong_settings():
            return Client(self.address, **self._settings())

    def async_client(self) -> "AsyncClient":
        """An asynchronous client of the server."""
        from jobengine import AsyncClient

        with _wrong_settings():
            return AsyncClient(self.address, **self._settings())

    def _settings(self) -> dict[str, Any]:
        from jobengine import TLS, RetryPolicy

        tls = TLS(
            ca_file=self.ca,
            cert_file=self.cert,
            key_file=self.key,
            server_name=self.server_name or "",
        )
        return {
            "timeout_seconds": self.timeout,
            "retry": RetryPolicy(retry_for_seconds=_CLI_RETRY_SECONDS),
            "token": self._token(),
            "tls": self.encrypted and tls,
        }

    def _token(self) -> "Token | None":
        if self.token_file is None:
            return os.environ.get("JOBENGINE_TOKEN") or None
        read_token(self.token_file)  # so that a wrong file is told of before anything is done
        return functools.partial(read_token, self.token_file)


def read_token(file: Path) -> str:
    """The token in a file.

    Raises:
        JobEngineError: there is none.
    """
    from jobengine.errors import JobEngineError

    try:
        token = file.read_text().strip()
    except (OSError, ValueError) as error:
        raise JobEngineError(f"--token-file: {error}") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        # Not a word of what is in it.
        raise JobEngineError(f"--token-file: {file} has to hold one token and nothing else")
    return token


@contextlib.contextmanager
def _wrong_settings() -> Generator[None]:
    """Tell of settings that no client can be made with as of options that are wrong."""
    from jobengine.errors import JobEngineError

    try:
        yield
    except (OSError, ValueError, JobEngineError) as error:
        raise typer.BadParameter(str(error)) from None


def command(
    function: Callable[Concatenate[Session, _Params], None],
) -> Callable[..., None]:
    """Make a command of a function: with the options that all have, and without tracebacks."""

    @functools.wraps(function)
    def wrapper(session: Session, /, *args: _Params.args, **kwargs: _Params.kwargs) -> None:
        with _exit_codes(session):
            function(session, *args, **kwargs)

    return with_session(wrapper)


def with_session(
    function: Callable[Concatenate[Session, _Params], None],
) -> Callable[..., None]:
    """Give a function the options that all commands have, before a command's name or after it."""

    def wrapper(context: typer.Context, *args: _Params.args, **kwargs: _Params.kwargs) -> None:
        given: dict[str, Any] = {name: kwargs.pop(name) for name in _OPTIONS}
        if context.obj is not None:
            # Given once more, after the name: that counts. The environment was asked before.
            given = {key: value for key, value in given.items() if _is_written(context, key)}
        context.obj = dataclasses.replace(context.obj or Session(), **given)
        function(context.obj, *args, **kwargs)

    own = list(inspect.signature(function).parameters.values())[1:]
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [context, *own, *_OPTIONS.values()]
    functools.update_wrapper(wrapper, function)
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def _is_written(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


_OPTIONS = {
    field.name: inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=field.type,
    )
    for field in dataclasses.fields(Session)
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
        typer.echo(explain(error, session), err=True)
        raise typer.Exit(exit_code(error)) from None


def close_stdout() -> None:
    """Let nothing more be written: its reader is gone, also for what is flushed at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
