"""All that an operator can set: by flags, environment variables, or a file."""

import dataclasses
import functools
import inspect
import os
import tomllib
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer


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


_option = functools.partial(typer.Option, rich_help_panel="Server")
_limit = functools.partial(typer.Option, rich_help_panel="Limits")
_security = functools.partial(typer.Option, rich_help_panel="Security")
_jobs = functools.partial(typer.Option, rich_help_panel="Jobs")
_local = functools.partial(typer.Option, rich_help_panel="Local engine")
_docker = functools.partial(typer.Option, rich_help_panel="Docker")
_kubernetes = functools.partial(typer.Option, rich_help_panel="Kubernetes")
_slurm = functools.partial(typer.Option, rich_help_panel="Slurm")
_remote = functools.partial(typer.Option, rich_help_panel="Another server")
_watching = functools.partial(typer.Option, rich_help_panel="Watching it")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one server and its engine.

    Each is a flag of that name, the environment variable JOBENGINE_NAME, and a key of the
    --config file; the first of these that has it counts. Times in seconds.
    """

    config: Annotated[
        Path | None,
        _option(
            is_eager=True,
            callback=_read_file,
            help="TOML file with these settings by their long names, e.g. engine = 'local'.",
        ),
    ] = None
    engine: Annotated[
        str,
        _option(help="What runs the jobs: a name that `jobengine engines` lists, or module:Class."),
    ] = "local"
    listen: Annotated[
        str, _option(help="Address to serve: host:port (port 0: any free one) or unix:PATH.")
    ] = "127.0.0.1:50051"
    share_port: Annotated[
        bool,
        _option(
            "--share-port",
            help="Let other servers of the same engine, told so too, listen on the same port.",
        ),
    ] = False
    heartbeat: Annotated[
        float,
        _option(
            min=1, max=300, help="Seconds that a watch may be silent, where its caller doesn't say."
        ),
    ] = 50.0
    engine_timeout: Annotated[
        float, _option(min=0.1, help="Seconds that the engine may take to answer one call.")
    ] = 30.0
    stop_grace: Annotated[
        float,
        _option(
            min=0, help="Seconds that calls may take to finish when the server is told to stop."
        ),
    ] = 5.0

    insecure: Annotated[
        bool,
        _security(
            "--insecure",
            help="Serve an address that other machines can reach without TLS, or without asking "
            "who calls.",
        ),
    ] = False
    tls_cert: Annotated[
        Path | None,
        _security(
            help="The server's certificate, followed by its chain (PEM). Read again when it "
            "changes."
        ),
    ] = None
    tls_key: Annotated[Path | None, _security(help="The certificate's private key (PEM).")] = None
    client_ca: Annotated[
        Path | None,
        _security(
            help="Authorities of client certificates (PEM): every caller must have one, and its "
            "SANs say who it is.",
        ),
    ] = None
    tokens: Annotated[
        Path | None,
        _security(
            help="Bearer tokens that are taken: lines of NAME and digest, as `jobengine token` "
            "makes them. Read again when it changes.",
        ),
    ] = None
    jwt_issuers: Annotated[
        Path | None,
        _security(help="TOML file with the issuers whose JWTs are taken, see docs/security.md."),
    ] = None
    policy: Annotated[
        Path | None,
        _security(
            help="TOML file that says who may do what, see docs/policy.md. Read again when it "
            "changes. Default: whoever is let in may do all.",
        ),
    ] = None
    public_health: Annotated[
        bool,
        _security(
            "--public-health/--private-health",
            help="Tell the health to callers without a credential.",
        ),
    ] = True
    public_reflection: Annotated[
        bool,
        _security(
            "--public-reflection/--private-reflection",
            help="Tell the protos to callers without a credential.",
        ),
    ] = False
    allow_host_path: Annotated[
        list[str] | None,
        _security(
            help="Let jobs on Docker or Kubernetes mount what is below this path of their host; "
            "may be repeated.",
        ),
    ] = None
    secrets_dir: Annotated[
        Path | None,
        _security(
            help="Secrets for jobs on Docker: a directory for each, a file in it for each key."
        ),
    ] = None
    allow_engine_options: Annotated[
        bool,
        _security(
            "--allow-engine-options",
            help="Let jobs on Docker or Kubernetes set anything of a container or pod: "
            "who may, owns the machine.",
        ),
    ] = False

    max_streams: Annotated[
        int, _limit(min=1, help="Watches and log reads that may be open at once.")
    ] = 20_000
    max_calls: Annotated[
        int, _limit(min=1, help="Calls with a single answer that may be under way at once.")
    ] = 10_000
    max_connections: Annotated[
        int | None, _limit(min=1, help="Connections that may be open at once. Default: no limit.")
    ] = None
    max_spec_bytes: Annotated[
        int, _limit(min=1024, max=4 * 1024 * 1024, help="A job's spec at most, serialised.")
    ] = 1024 * 1024
    slow_reader_timeout: Annotated[
        float,
        _limit(
            min=0.1, help="Seconds that a stream's client may leave unread what was sent to it."
        ),
    ] = 60.0
    max_connection_age: Annotated[
        float | None,
        _limit(
            min=1,
            help="Seconds after which a connection is told to move, so that clients spread over "
            "new replicas. Default: never.",
        ),
    ] = None

    state_dir: Annotated[
        Path | None,
        _local(
            help="Where the local engine keeps its jobs. Default: ~/.local/state/jobengine. For "
            "Slurm: where jobs and their output are kept, a directory that all nodes have under "
            "this path. Default: ~/.local/state/jobengine/slurm."
        ),
    ] = None
    max_running: Annotated[
        int | None,
        _local(
            min=1,
            help="Instances that the local engine runs at once; more wait in order. "
            "Default: two per processor core, at least 4.",
        ),
    ] = None

    default_start_timeout: Annotated[
        float | None,
        _jobs(
            min=0.001,
            help="Seconds that a job may wait to start, where it doesn't say. "
            "Default: no limit on the local engine, 1800 on Docker and Kubernetes.",
        ),
    ] = None
    log_limit_bytes: Annotated[
        int | None,
        _jobs(
            min=4096,
            help="Output kept of each run of an instance; older output is dropped. "
            "Default: 64 MiB.",
        ),
    ] = None

    namespace: Annotated[
        str | None,
        _docker(
            help="Servers on one Docker daemon share the jobs of a namespace (default: default); "
            "on Kubernetes, where the jobs are (default: that of the context or the pod).",
        ),
    ] = None
    docker_host: Annotated[
        str | None,
        _docker(
            help="The Docker daemon, as DOCKER_HOST has it: unix://PATH or tcp://HOST:PORT. "
            "Default: DOCKER_HOST, else unix:///var/run/docker.sock.",
        ),
    ] = None
    docker_cert_path: Annotated[
        Path | None,
        _docker(
            help="Directory with ca.pem, cert.pem and key.pem: reach the daemon by TLS. "
            "Default: DOCKER_CERT_PATH.",
        ),
    ] = None
    docker_network: Annotated[
        str | None,
        _docker(
            help="The network of jobs on Docker: bridge, none, or one of the daemon's. "
            "Default: bridge.",
        ),
    ] = None

    kubeconfig: Annotated[
        Path | None,
        _kubernetes(
            help="The Kubernetes cluster. Default: KUBECONFIG, else ~/.kube/config, else the "
            "cluster that the server's pod is in.",
        ),
    ] = None
    kube_context: Annotated[
        str | None, _kubernetes(help="Context of the kubeconfig. Default: its current one.")
    ] = None
    service_account: Annotated[
        str | None,
        _kubernetes(
            help="Service account of the pods of jobs; they don't get its token. "
            "Default: the namespace's default one.",
        ),
    ] = None
    node_selector: Annotated[
        list[str] | None,
        _kubernetes(
            help="LABEL=VALUE of the nodes that may run jobs on Kubernetes; may be repeated."
        ),
    ] = None
    gpu_resource: Annotated[
        str | None,
        _kubernetes(help="What the Kubernetes cluster calls a GPU. Default: nvidia.com/gpu."),
    ] = None

    slurm_conf: Annotated[
        Path | None,
        _slurm(help="slurm.conf of the cluster. Default: SLURM_CONF, else where Slurm looks."),
    ] = None
    slurm_partition: Annotated[
        str | None,
        _slurm(help="Partition of jobs that name none. Default: the cluster's default one."),
    ] = None
    slurm_account: Annotated[
        str | None, _slurm(help="Account of jobs that name none. Default: the user's default one.")
    ] = None
    slurm_poll_interval: Annotated[
        float | None,
        _slurm(
            min=0.2,
            max=10,
            help="Seconds between two looks at Slurm's queue while jobs are under way, however "
            "many. Default: 1.",
        ),
    ] = None

    remote_address: Annotated[
        str | None,
        _remote(
            metavar="HOST:PORT",
            help="The server that jobs are passed on to, by the engine remote.",
        ),
    ] = None
    remote_tls: Annotated[
        bool | None,
        _remote(
            "--remote-tls/--no-remote-tls",
            help="Encrypt the way to it. Default: only if another option here needs it.",
            show_default=False,
        ),
    ] = None
    remote_ca: Annotated[
        Path | None,
        _remote(help="The authorities to trust (PEM). Default: those that gRPC brings along."),
    ] = None
    remote_cert: Annotated[
        Path | None,
        _remote(help="This server's certificate as its client, with its chain (PEM)."),
    ] = None
    remote_key: Annotated[
        Path | None, _remote(help="The private key of that certificate (PEM).")
    ] = None
    remote_server_name: Annotated[
        str | None,
        _remote(help="The name in its certificate. Default: the address's host."),
    ] = None
    remote_token_file: Annotated[
        Path | None, _remote(help="File with the token to send there, read for each call.")
    ] = None

    metrics_listen: Annotated[
        str | None,
        _watching(
            help="host:port for GET /metrics (Prometheus), /healthz and /readyz, over plain HTTP "
            "and for everybody. Default: none.",
        ),
    ] = None
    tracing: Annotated[
        bool,
        _watching(
            "--tracing",
            help="Send traces by OpenTelemetry, as its OTEL_… environment variables say. "
            "Needs jobengine-server[tracing].",
        ),
    ] = False
    log_level: Annotated[
        str,
        _watching(
            help="DEBUG, INFO, WARNING or ERROR. SIGUSR1 makes it DEBUG, SIGUSR2 this again."
        ),
    ] = "INFO"
    log_format: Annotated[
        str, _watching(help="json, console, or auto: console on a terminal, json elsewhere.")
    ] = "auto"

    def __post_init__(self) -> None:
        """Refuse what no option alone can refuse.

        Raises:
            ValueError: names the flag and says what to do.
        """
        for flag, value, known in (
            ("--log-level", self.log_level.upper(), ("DEBUG", "INFO", "WARNING", "ERROR")),
            ("--log-format", self.log_format, ("auto", "json", "console")),
        ):
            if value not in known:
                raise ValueError(f"{flag} {value!r}: use one of {', '.join(known)}")
        if self.engine == "remote" and self.remote_address == self.listen:
            raise ValueError("--remote-address is where this server listens itself: name another's")
        self._node_labels()

    def of_engine(self) -> dict[str, Any]:
        """The keyword arguments of the engine that is chosen, those that were given."""
        shared = {
            "default_start_timeout": self.default_start_timeout,
            "log_limit_bytes": self.log_limit_bytes,
        }
        by_engine: dict[str, dict[str, Any]] = {
            "local": {
                "state_dir": self.state_dir or _state_dir(),
                "max_running": self.max_running,
                **shared,
            },
            "docker": {
                "host": self.docker_host,
                "cert_path": self.docker_cert_path,
                "namespace": self.namespace,
                "network": self.docker_network,
                "host_paths": self.allow_host_path,
                "secrets_dir": self.secrets_dir,
                "engine_options": self.allow_engine_options or None,
                **shared,
            },
            "kubernetes": {
                "kubeconfig": self.kubeconfig,
                "context": self.kube_context,
                "namespace": self.namespace,
                "service_account": self.service_account,
                "node_selector": self._node_labels(),
                "gpu_resource": self.gpu_resource,
                "host_paths": self.allow_host_path,
                "engine_options": self.allow_engine_options or None,
                "default_start_timeout": self.default_start_timeout,
            },
            "slurm": {
                "state_dir": self.state_dir or _state_dir() / "slurm",
                "conf": self.slurm_conf,
                "partition": self.slurm_partition,
                "account": self.slurm_account,
                "poll_interval_seconds": self.slurm_poll_interval,
                "default_start_timeout": self.default_start_timeout,
            },
            "remote": {
                "address": self.remote_address,
                "tls": self.remote_tls,
                "ca": self.remote_ca,
                "cert": self.remote_cert,
                "key": self.remote_key,
                "server_name": self.remote_server_name,
                "token_file": self.remote_token_file,
                "timeout_seconds": self.engine_timeout,
            },
        }
        settings = by_engine.get(self.engine, {})
        return {key: value for key, value in settings.items() if value is not None}

    def _node_labels(self) -> dict[str, str] | None:
        if self.node_selector is None:
            return None
        pairs = [label.partition("=") for label in self.node_selector]
        for label, (key, equals, _) in zip(self.node_selector, pairs, strict=True):
            if not key or not equals:
                raise ValueError(f"--node-selector {label!r}: use LABEL=VALUE")
        return {key: value for key, _, value in pairs}


def _state_dir() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "jobengine"


def takes_settings(command: Callable[[Settings], None]) -> Callable[..., None]:
    """Make a command of a function: with all settings as its options."""

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:  # noqa: ANN401
        try:
            settings = Settings(**given)
        except ValueError as error:
            typer.echo(f"jobengine {command.__name__}: {error}", err=True)
            raise typer.Exit(2) from None
        command(settings)

    parameters = [_parameter(field) for field in dataclasses.fields(Settings)]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def _parameter(field: "dataclasses.Field[Any]") -> inspect.Parameter:
    kind, option = typing.get_args(field.type)
    option.envvar = f"JOBENGINE_{field.name.upper()}"
    # Thirty of them, most cut short, would bury what the options are for.
    option.show_envvar = False
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[kind, option],
    )
