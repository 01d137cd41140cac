"""What is installed, and whether it is what the server needs."""

import importlib.metadata
import platform
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from engines.findings import Finding, amiss, fine
from server import __version__
from server.settings import Settings

_DISTRIBUTION: Final = "jobengine-server"
_TOLD: Final = ("grpcio", "protobuf")
_NEED: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)[^;]*?>=\s*(?P<least>[0-9.]+)")
_EXTRA: Final = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


class Need(NamedTuple):
    """A package that the server needs, at least of this version."""

    name: str
    least: str
    extra: str


def examine_versions(settings: Settings) -> Iterator[Finding]:
    """The versions of what matters, and of what is too old."""
    chosen = {"", settings.engine, "tracing" if settings.tracing else ""}
    needs = [need for need in _needs() if need.extra in chosen]
    installed = {need.name: _installed(need.name) for need in needs}
    told = [
        f"{need.name} {installed[need.name]}"
        for need in needs
        if installed[need.name] and (need.name in _TOLD or need.extra == settings.engine)
    ]
    python = f"Python {platform.python_version()}"
    yield fine("versions", ", ".join((f"jobengine-server {__version__}", python, *told)))
    for need in needs:
        version = installed[need.name]
        if version and _numbers(version) < _numbers(need.least):
            yield amiss(
                "versions",
                f"{need.name} {version} is too old, {need.least} is needed: "
                f"pip install '{need.name}>={need.least}'",
            )


def _needs() -> Iterator[Need]:
    for text in importlib.metadata.requires(_DISTRIBUTION) or ():
        if (match := _NEED.match(text)) is not None:
            extra = _EXTRA.search(text)
            yield Need(match["name"], match["least"].rstrip("."), extra[1] if extra else "")


def _installed(name: str) -> str:
    """Empty where it isn't: then something else fails, and says so."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
