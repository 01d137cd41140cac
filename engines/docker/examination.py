"""Looks at a Docker daemon and what it can do for jobs, without taking up any job."""

import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

from engines.docker.api import Api
from engines.docker.daemon import Daemon
from engines.docker.record import Labels
from engines.docker.settings import About, Settings
from engines.docker.survey import survey
from engines.findings import Finding, amiss, clock, fine, look, many

CONTACT_SECONDS: Final = 10.0
"""How long a daemon may take to say what it is: Podman's looks at a lot first."""

_LIMITS: Final = {
    "MemoryLimit": "memory_bytes",
    "CpuCfsQuota": "cpu_millis",
    "PidsLimit": "the bound of 4096 processes",
}
"""What a daemon says of its control groups, and what has no effect where it says no."""


class Examination:
    """Of one daemon and one namespace, by the engine's own settings."""

    def __init__(self, daemon: Daemon, api: Api, labels: Labels, settings: Settings) -> None:
        self._daemon = daemon
        self._api = api
        self._labels = labels
        self._settings = settings
        self._about: About | None = None

    async def findings(self) -> AsyncIterator[Finding]:
        """What is there, and what is amiss."""
        for finding in await look("Docker", self._contact(), CONTACT_SECONDS):
            yield finding
        if self._about is None:
            return
        for what, looking in (
            ("daemon", self._abilities),
            ("network", self._network),
            ("secrets", self._secrets),
            ("jobs", self._jobs),
        ):
            for finding in await look(what, looking()):
                yield finding

    async def _contact(self) -> Sequence[Finding]:
        about = await self._daemon.connect()
        version = await self._api.version()
        self._about = about
        product = "Podman" if about.podman else "Docker"
        words = f"{about.version} (API {version['ApiVersion']}) at {self._daemon.address}"
        return [fine(product, words), clock(f"{product}'s clock", about.clock)]

    async def _abilities(self) -> Sequence[Finding]:
        assert self._about is not None  # noqa: S101  (it was reached)
        info = await self._api.info()
        return [*_limits(info), *(() if self._about.podman else _dockerd(info))]

    async def _network(self) -> Sequence[Finding]:
        network = self._settings.network
        if await self._api.has_network(network):
            return [fine("network", network)]
        return [
            amiss(
                "network",
                f"{network} isn't there, and no job would start: make it, or name one "
                "that is there by --docker-network",
            )
        ]

    async def _secrets(self) -> Sequence[Finding]:
        directory = self._settings.secrets
        if directory is None:
            return []
        if not directory.is_dir():
            return [amiss("secrets", f"{directory} is no directory: name one by --secrets-dir")]
        if not os.access(directory, os.R_OK | os.X_OK):
            return [amiss("secrets", f"{directory} can't be read by this user: let the server's")]
        return [fine("secrets", str(directory))]

    async def _jobs(self) -> Sequence[Finding]:
        found = survey(self._labels, (), await self._api.volumes(), time.time())
        count = sum(findings.kept is not None for findings in found.values())
        return [fine("jobs", f"{many(count, 'job')} in the namespace {self._labels.namespace}")]


def _limits(info: Mapping[str, Any]) -> Iterator[Finding]:
    lost = [what for key, what in _LIMITS.items() if info.get(key) is False]
    if lost:
        yield amiss(
            "limits",
            f"without effect here: {', '.join(lost)}; the daemon's control groups lack what they "
            "need (rootless: delegate them, on version 2)",
        )
    elif info.get("SwapLimit") is False:
        yield fine("limits", "of memory and processors; not of swap, which jobs use beyond them")
    else:
        yield fine("limits", "of memory and processors")
    if any("rootless" in option for option in info.get("SecurityOptions") or ()):
        yield fine("rootless", "yes: root in a container is the daemon's user outside")


def _dockerd(info: Mapping[str, Any]) -> Iterator[Finding]:
    """What Podman doesn't tell, or does otherwise."""
    plugins: Mapping[str, Any] = info.get("Plugins") or {}
    if "local" not in (plugins.get("Log") or ()):
        yield amiss("logs", "the daemon lacks the log driver `local`, so no job would start")
    if not info.get("InitBinary"):
        yield amiss(
            "init",
            "the daemon has no init: a job's command is process 1, which most signals don't end; "
            "install docker-init",
        )
    if (driver := str(info.get("Driver"))) == "vfs":
        yield amiss("storage", "vfs copies the whole image for each container: use overlay2")
    else:
        yield fine("storage", driver)
    if info.get("LiveRestoreEnabled"):
        yield fine("live-restore", "on: jobs outlive a restart of the daemon")
    else:
        yield fine(
            "live-restore",
            "off: a restart of the daemon ends its jobs, unless it is set in daemon.json",
        )
