"""The commands that the server adds to `jobengine`: serve, and engines."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from engines.base import Engine
    from server.config import Config

READY_WAIT_SECONDS = 5.0
"""How long the line with the address waits for the engine; then it says NOT_SERVING."""


def _state_dir() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "jobengine"


def _read_file(context: typer.Context, path: Path | None) -> Path | None:
    """Take the file's settings as defaults: weaker than flags and environment."""
    if path is None:
        return None
    try:
        settings = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {error}") from error
    known = {parameter.name for parameter in context.command.params}
    defaults = {key.replace("-", "_"): value for key, value in settings.items()}
    if unknown := sorted(defaults.keys() - known):
        raise typer.BadParameter(f"{path}: no such setting: {', '.join(unknown)}")
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _selector(labels: list[str] | None) -> dict[str, str] | None:
    """The labels of --node-selector."""
    if labels is None:
        return None
    pairs = [label.partition("=") for label in labels]
    for label, (key, equals, _) in zip(labels, pairs, strict=True):
        if not key or not equals:
            _fail(f"--node-selector {label!r}: use LABEL=VALUE")
    return {key: value for key, _, value in pairs}


def serve(  # noqa: PLR0913  (each is an option of the command line)
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            is_eager=True,
            callback=_read_file,
            envvar="JOBENGINE_CONFIG",
            help="TOML file with these settings by their long names, e.g. engine = 'local'.",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            envvar="JOBENGINE_ENGINE",
            help="What runs the jobs: a name that `jobengine engines` lists, or module:Class.",
        ),
    ] = "local",
    listen: Annotated[
        str,
        typer.Option(
            envvar="JOBENGINE_LISTEN",
            help="Address to serve: host:port (port 0: any free one) or unix:PATH.",
        ),
    ] = "127.0.0.1:50051",
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="JOBENGINE_INSECURE",
            help="Serve an address that other machines can reach, without encryption.",
        ),
    ] = False,
    share_port: Annotated[
        bool,
        typer.Option(
            "--share-port",
            envvar="JOBENGINE_SHARE_PORT",
            help="Let other servers of the same engine, told so too, listen on the same port.",
        ),
    ] = False,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="JOBENGINE_STATE_DIR",
            help="Where the local engine keeps its jobs. Default: ~/.local/state/jobengine.",
        ),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            envvar="JOBENGINE_NAMESPACE",
            help="Servers on one Docker daemon share the jobs of a namespace (default: default); "
            "on Kubernetes, where the jobs are (default: that of the context or the pod).",
        ),
    ] = None,
    docker_host: Annotated[
        str | None,
        typer.Option(
            envvar="JOBENGINE_DOCKER_HOST",
            help="The Docker daemon, as DOCKER_HOST has it: unix://PATH or tcp://HOST:PORT. "
            "Default: DOCKER_HOST, else unix:///var/run/docker.sock.",
        ),
    ] = None,
    docker_cert_path: Annotated[
        Path | None,
        typer.Option(
            envvar="JOBENGINE_DOCKER_CERT_PATH",
            help="Directory with ca.pem, cert.pem and key.pem: reach the daemon by TLS. "
            "Default: DOCKER_CERT_PATH.",
        ),
    ] = None,
    docker_network: Annotated[
        str | None,
        typer.Option(
            envvar="JOBENGINE_DOCKER_NETWORK",
            help="The network of jobs on Docker: bridge, none, or one of the daemon's. "
            "Default: bridge.",
        ),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            envvar="JOBENGINE_KUBECONFIG",
            help="The Kubernetes cluster. Default: KUBECONFIG, else ~/.kube/config, else the "
            "cluster that the server's pod is in.",
        ),
    ] = None,
    kube_context: Annotated[
        str | None,
        typer.Option(
            envvar="JOBENGINE_KUBE_CONTEXT",
            help="Context of the kubeconfig. Default: its current one.",
        ),
    ] = None,
    service_account: Annotated[
        str | None,
        typer.Option(
            envvar="JOBENGINE_SERVICE_ACCOUNT",
            help="Service account of the pods of jobs; they don't get its token. "
            "Default: the namespace's default one.",
        ),
    ] = None,
    node_selector: Annotated[
        list[str] | None,
        typer.Option(
            envvar="JOBENGINE_NODE_SELECTOR",
            help="LABEL=VALUE of the nodes that may run jobs on Kubernetes; may be repeated.",
        ),
    ] = None,
    gpu_resource: Annotated[
        str | None,
        typer.Option(
            envvar="JOBENGINE_GPU_RESOURCE",
            help="What the Kubernetes cluster calls a GPU. Default: nvidia.com/gpu.",
        ),
    ] = None,
    allow_host_path: Annotated[
        list[str] | None,
        typer.Option(
            envvar="JOBENGINE_ALLOW_HOST_PATH",
            help="Let jobs on Docker or Kubernetes mount what is below this path of their host; "
            "may be repeated.",
        ),
    ] = None,
    secrets_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="JOBENGINE_SECRETS_DIR",
            help="Secrets for jobs on Docker: a directory for each, a file in it for each key.",
        ),
    ] = None,
    allow_engine_options: Annotated[
        bool,
        typer.Option(
            "--allow-engine-options",
            envvar="JOBENGINE_ALLOW_ENGINE_OPTIONS",
            help="Let jobs on Docker or Kubernetes set anything of a container or pod: "
            "who may, owns the machine.",
        ),
    ] = False,
    max_running: Annotated[
        int | None,
        typer.Option(
            envvar="JOBENGINE_MAX_RUNNING",
            min=1,
            help="Instances that the local engine runs at once; more wait in order. "
            "Default: two per processor core, at least 4.",
        ),
    ] = None,
    default_start_timeout: Annotated[
        float | None,
        typer.Option(
            envvar="JOBENGINE_DEFAULT_START_TIMEOUT",
            min=0.001,
            help="Seconds that a job may wait to start, where it doesn't say. "
            "Default: no limit on the local engine, 1800 on Docker and Kubernetes.",
        ),
    ] = None,
    log_limit_bytes: Annotated[
        int | None,
        typer.Option(
            envvar="JOBENGINE_LOG_LIMIT_BYTES",
            min=4096,
            help="Output kept of each run of an instance; older output is dropped. "
            "Default: 64 MiB.",
        ),
    ] = None,
    heartbeat: Annotated[
        float,
        typer.Option(
            envvar="JOBENGINE_HEARTBEAT",
            min=1,
            max=300,
            help="Seconds that a watch may be silent, where its caller doesn't say.",
        ),
    ] = 50.0,
    engine_timeout: Annotated[
        float,
        typer.Option(
            envvar="JOBENGINE_ENGINE_TIMEOUT",
            min=0.1,
            help="Seconds that the engine may take to answer one call.",
        ),
    ] = 30.0,
    stop_grace: Annotated[
        float,
        typer.Option(
            envvar="JOBENGINE_STOP_GRACE",
            min=0,
            help="Seconds that calls may take to finish when the server is told to stop.",
        ),
    ] = 5.0,
    max_streams: Annotated[
        int,
        typer.Option(
            envvar="JOBENGINE_MAX_STREAMS",
            min=1,
            help="Watches and log reads that may be open at once.",
        ),
    ] = 20_000,
    slow_reader_timeout: Annotated[
        float,
        typer.Option(
            envvar="JOBENGINE_SLOW_READER_TIMEOUT",
            min=0.1,
            help="Seconds that a stream's client may leave unread what was sent to it.",
        ),
    ] = 60.0,
    log_level: Annotated[
        str,
        typer.Option(
            envvar="JOBENGINE_LOG_LEVEL",
            help="DEBUG, INFO, WARNING or ERROR.",
        ),
    ] = "INFO",
    log_format: Annotated[
        str,
        typer.Option(
            envvar="JOBENGINE_LOG_FORMAT",
            help="json, console, or auto: console on a terminal, json elsewhere.",
        ),
    ] = "auto",
) -> None:
    """Start the server and serve until SIGTERM or Ctrl-C.

    Once it serves, it prints one line of JSON with its address on stdout, and nothing else
    there; its logs go to stderr. Each setting is taken from its flag, else from its environment
    variable, else from the --config file, else from its default. Jobs go on when the server
    stops.
    """
    del config
    from server.config import Config, check_listen
    from server.log import configure_logs

    if log_level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        _fail(f"--log-level {log_level!r}: use DEBUG, INFO, WARNING or ERROR")
    if log_format not in ("auto", "json", "console"):
        _fail(f"--log-format {log_format!r}: use auto, json or console")
    configure_logs(
        level=log_level.upper(),
        json_lines=log_format == "json" or (log_format == "auto" and not sys.stderr.isatty()),
    )
    try:
        check_listen(listen, insecure=insecure, share_port=share_port)
    except ValueError as error:
        _fail(f"--listen {error}")
    server_config = Config(
        listen=listen,
        insecure=insecure,
        share_port=share_port,
        heartbeat_seconds=heartbeat,
        engine_timeout_seconds=engine_timeout,
        stop_grace_seconds=stop_grace,
        max_streams=max_streams,
        slow_reader_seconds=slow_reader_timeout,
    )
    shared = {"default_start_timeout": default_start_timeout, "log_limit_bytes": log_limit_bytes}
    settings: dict[str, dict[str, Any]] = {
        "local": {
            "state_dir": state_dir or _state_dir(),
            "max_running": max_running,
            **shared,
        },
        "docker": {
            "host": docker_host,
            "cert_path": docker_cert_path,
            "namespace": namespace,
            "network": docker_network,
            "host_paths": allow_host_path,
            "secrets_dir": secrets_dir,
            "engine_options": allow_engine_options or None,
            **shared,
        },
        "kubernetes": {
            "kubeconfig": kubeconfig,
            "context": kube_context,
            "namespace": namespace,
            "service_account": service_account,
            "node_selector": _selector(node_selector),
            "gpu_resource": gpu_resource,
            "host_paths": allow_host_path,
            "engine_options": allow_engine_options or None,
            "default_start_timeout": default_start_timeout,
        },
    }
    given = {key: value for key, value in settings.get(engine, {}).items() if value is not None}
    _run(engine, given, server_config)


def _run(engine_name: str, settings: Mapping[str, Any], config: "Config") -> None:
    import uvloop

    from engines.config import InvalidEngine, JobManager
    from engines.errors import EngineError

    try:
        engine = JobManager(engine_name, **settings)
    except InvalidEngine as error:
        _fail(f"--engine: {error}", code=2)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(engine, config))
        except (OSError, EngineError) as error:
            _fail(str(error), code=1)


async def _serve(engine: "Engine", config: "Config") -> None:
    from server import __version__
    from server.app import Server

    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, told_to_stop)
    async with Server(engine, config) as server:
        in_touch = await server.in_touch(READY_WAIT_SECONDS)
        line = {
            "address": server.address,
            "engine": engine.name,
            "health": "SERVING" if in_touch else "NOT_SERVING",
            "pid": os.getpid(),
            "version": __version__,
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


def _fail(message: str, *, code: int = 2) -> NoReturn:
    typer.echo(f"jobengine serve: {message}", err=True)
    raise typer.Exit(code)
