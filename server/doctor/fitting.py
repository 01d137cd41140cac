"""Whether the settings fit together, and the addresses can be served."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from engines.findings import Finding, amiss, fine
from server.config import Config


def examine_fit(engine: str, config: Config) -> Iterator[Finding]:
    """What the settings come to; ValueError where they don't fit."""
    config.check()
    if not config.authenticates:
        callers = "whoever reaches it may do all"
    elif config.policy is None:
        callers = "whoever is let in may do all"
    else:
        callers = "callers are let in and judged"
    tls = "with TLS" if config.tls_cert is not None else "without TLS"
    yield fine("settings", f"fit together: engine {engine}, {tls}, {callers}")


def examine_addresses(config: Config) -> Iterator[Finding]:
    """Whether a server could listen where it is to."""
    yield _listen("address", config.listen)
    if config.metrics_listen is not None:
        yield _listen("metrics address", config.metrics_listen)


def _listen(what: str, address: str) -> Finding:
    if address.startswith("unix:"):
        return _socket_file(what, Path(address.removeprefix("unix:")))
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return amiss(what, f"{address!r} isn't host:port")
    try:
        _bind(host.strip("[]"), int(port))
    except socket.gaierror as error:
        return amiss(what, f"{address}: {error.strerror}: name one of this machine")
    except OSError as error:
        return _trouble(what, address, error)
    return fine(what, f"{address} is free")


def _bind(host: str, port: int) -> None:
    """Take the port for a moment, without listening: that hinders nobody who takes it as well."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with contextlib.closing(socket.socket(family, kind, protocol)) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind(address)


def _trouble(what: str, address: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        return fine(what, f"{address} is in use, by a server that runs already or something else")
    if error.errno == errno.EADDRNOTAVAIL:
        return amiss(what, f"{address} is no address of this machine: name one, or 0.0.0.0")
    return amiss(what, f"{address}: {error.strerror}: name another, such as one above port 1023")


def _socket_file(what: str, path: Path) -> Finding:
    directory = path.absolute().parent
    if not directory.is_dir() or not os.access(directory, os.W_OK | os.X_OK):
        return amiss(what, f"{directory} is no directory that this user may write: make it")
    return fine(what, f"unix:{path} can be made")
