"""Checks an installation by the settings that a server would have; changes nothing that lasts."""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import NoReturn

import structlog

from engines.findings import LOOK_SECONDS, Finding, look, on_a_thread
from server.config import Config
from server.doctor.certificates import examine_authorities, examine_certificate
from server.doctor.credentials import examine_issuers, examine_tokens
from server.doctor.engine import examine_engine
from server.doctor.fitting import examine_addresses, examine_fit
from server.doctor.identities import examine_policy
from server.doctor.versions import examine_versions
from server.settings import Settings


async def examine(settings: Settings) -> list[Finding]:
    """All that there is to say about this installation, within some 20 seconds.

    All is looked at at once, and each for itself: one that fails or hangs keeps no other back.
    """
    config = Config.of(settings)
    with _silence():
        found = await asyncio.gather(
            _look("versions", lambda: examine_versions(settings)),
            _look("settings", lambda: examine_fit(settings.engine, config)),
            _look("address", lambda: examine_addresses(config)),
            _look("certificate", lambda: examine_certificate(config)),
            _look("client authorities", lambda: examine_authorities(config)),
            _look("token file", lambda: examine_tokens(config)),
            examine_issuers(config),
            _look("policy", lambda: examine_policy(config)),
            examine_engine(settings),
        )
    return [finding for findings in found for finding in findings]


def report(findings: Sequence[Finding]) -> Iterator[str]:
    """The findings for people, a line each."""
    width = max((len(finding.what) for finding in findings), default=0)
    for finding in findings:
        words = " ".join(finding.words.split())
        yield f"{'ok' if finding.fine else 'FAIL':4}  {finding.what:{width}}  {words}"


async def _look(what: str, looking: Callable[[], Iterable[Finding]]) -> Sequence[Finding]:
    """On a thread, for a file may be on a disk that hangs."""
    return await look(what, on_a_thread(what, lambda: list(looking())), LOOK_SECONDS)


@contextlib.contextmanager
def _silence() -> Generator[None]:
    """Keep the parts from logging what they are asked for here; the findings say it."""
    configured, before = structlog.is_configured(), structlog.get_config()
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        if configured:
            structlog.configure(**before)
        else:
            structlog.reset_defaults()


def _drop(logger: object, method: str, event: object) -> NoReturn:
    del logger, method, event
    raise structlog.DropEvent
