"""The commands that the server adds to `jobengine`: serve, doctor, token and engines."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from server.config import Config
from server.settings import Settings, takes_settings

if TYPE_CHECKING:
    from server.app import Server
    from server.log import Threshold

READY_WAIT_SECONDS = 5.0
"""How long the line with the address waits for the engine; then it says NOT_SERVING."""


@takes_settings
def serve(settings: Settings) -> None:
    """Start the server and serve until SIGTERM or Ctrl-C.

    Once it serves, it prints one line of JSON with its address on stdout, and nothing else
    there; its logs go to stderr. Each setting is taken from its flag, else from the environment
    (--tls-cert as JOBENGINE_TLS_CERT, and so on), else from the --config file, else from its
    default. Jobs go on when the server stops.
    """
    from server.log import configure_logs

    form = settings.log_format
    threshold = configure_logs(
        level=settings.log_level.upper(),
        json_lines=form == "json" or (form == "auto" and not sys.stderr.isatty()),
    )
    _run(settings, Config.of(settings), threshold)


@takes_settings
def doctor(settings: Settings) -> None:
    """Check an installation with the settings that `serve` would have, and say what to mend.

    Starts nothing and changes nothing. Exits with 0 if all is well, else with 1.
    """
    from server.doctor import examine, report

    findings = asyncio.run(examine(settings))
    for line in report(findings):
        typer.echo(line)
    raise typer.Exit(0 if all(finding.fine for finding in findings) else 1)


def token(
    name: Annotated[str, typer.Argument(help="Who will use it: letters, digits, '-', '_', '.'.")],
) -> None:
    """Make a token: it goes to stdout, the line for --tokens to stderr.

    The server keeps only the line, from which nobody can make the token.
    """
    from server.authentication import make_token
    from server.policy.subjects import subject_problem

    if problem := subject_problem(name):
        fail("token", problem)
    secret, digest = make_token()
    typer.echo(f"{name} {digest}", err=True)
    typer.echo(secret)


def _run(settings: Settings, config: Config, threshold: "Threshold") -> None:
    import uvloop

    from engines.config import InvalidEngine, JobManager
    from engines.errors import EngineError
    from server.app import Server

    try:
        engine = JobManager(settings.engine, **settings.of_engine())
        server = Server(engine, config)
    except InvalidEngine as error:
        fail("serve", f"--engine: {error}")
    except (ValueError, OSError) as error:
        fail("serve", str(error))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(server, engine.name, threshold))
        except (OSError, EngineError) as error:
            fail("serve", str(error), code=1)


async def _serve(server: "Server", engine: str, threshold: "Threshold") -> None:
    from server import __version__

    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, told_to_stop)
    loop.add_signal_handler(signal.SIGUSR1, threshold.tell_all)
    loop.add_signal_handler(signal.SIGUSR2, threshold.tell_the_usual)
    async with server:
        in_touch = await server.in_touch(READY_WAIT_SECONDS)
        line = {
            "address": server.address,
            "engine": engine,
            "health": "SERVING" if in_touch else "NOT_SERVING",
            "pid": os.getpid(),
            "version": __version__,
            **({"metrics": server.metrics_address} if server.metrics_address else {}),
        }
        # The reader of this line may be gone already; that is no reason not to serve.
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(line), flush=True)
        await told_to_stop.wait()


def _stop(told_to_stop: asyncio.Event) -> None:
    if told_to_stop.is_set():
        # Told twice: somebody is in a hurry. Jobs and their records don't need an orderly stop.
        os._exit(128 + signal.SIGTERM)
    told_to_stop.set()


def engines() -> None:
    """List the engines that `serve --engine` knows, and whether each can be used here."""
    from engines.config import known_engines

    for engine in known_engines():
        typer.echo(f"{engine.name:12} {engine.problem or engine.description}")
    typer.echo(f"{'module:Class':12} a class of yours, see docs/engines.md")


def fail(command: str, message: str, *, code: int = 2) -> NoReturn:
    """End a command that can't do what it was asked for."""
    typer.echo(f"jobengine {command}: {message}", err=True)
    raise typer.Exit(code)
