"""Tokens that a server takes, and the keys by which it judges JWTs."""

import asyncio
import urllib.error
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from engines.findings import Finding, amiss, fine, look, many, on_a_thread
from server.authentication import AuthenticationConfig, JwtIssuer, keys
from server.authentication.download import TIMEOUT_SECONDS, download
from server.authentication.issuers_file import read_issuers
from server.authentication.token_file import TokenFile
from server.config import Config

ISSUER_SECONDS: Final = 2 * TIMEOUT_SECONDS + 1.0
"""How long an issuer may take: to be found and to answer."""


def examine_tokens(config: Config) -> Iterator[Finding]:
    """The token file; a ValueError says what is wrong in it."""
    path = config.token_file
    if path is None:
        return
    names = token_names(path)
    if not names:
        yield amiss("token file", f"{path} has no tokens: `jobengine token NAME` makes one")
    else:
        yield fine("token file", f"{path}, {many(len(names), 'name')}")
    if path.stat().st_mode & 0o027:
        # Whoever can write it can let himself in.
        yield amiss("token file", f"{path} is open to others than its owner: chmod 600")


def token_names(path: Path) -> frozenset[str]:
    """Whose tokens a file has; ValueError where it is no token file."""
    TokenFile(path)
    lines = (line.partition("#")[0].split() for line in path.read_text().splitlines())
    return frozenset(words[0] for words in lines if words)


async def examine_issuers(config: Config) -> Sequence[Finding]:
    """Whether the keys of each issuer can be had."""
    path = config.jwt_issuers
    if path is None:
        return []
    issuers: list[JwtIssuer] = []

    def read() -> Sequence[Finding]:
        issuers.extend(AuthenticationConfig(jwt_issuers=read_issuers(path)).jwt_issuers)
        return [fine("JWT issuers", f"{path}, {many(len(issuers), 'issuer')}")]

    found = await look("JWT issuers", on_a_thread("JWT issuers", read))
    each = await asyncio.gather(*(_examine_keys(issuer) for issuer in issuers))
    return [*found, *_together(each)]


async def _examine_keys(issuer: JwtIssuer) -> Sequence[Finding]:
    def read() -> Sequence[Finding]:
        try:
            found = keys.parse(_key_set(issuer), issuer.algorithms)
        except (OSError, ValueError) as error:
            why = error.reason if isinstance(error, urllib.error.URLError) else error
            return [amiss("keys", f"{issuer.issuer}: none to be had from {_place(issuer)}: {why}")]
        return [fine("keys", f"{issuer.issuer}: {many(len(found.ids), 'key')}, {_place(issuer)}")]

    return await look("keys", on_a_thread(issuer.issuer, read), ISSUER_SECONDS)


def _key_set(issuer: JwtIssuer) -> bytes:
    if not issuer.is_url:
        return Path(issuer.jwks).read_bytes()
    return download(
        issuer.jwks, max_bytes=keys.MAX_BYTES, ca=issuer.jwks_ca, token=issuer.jwks_token
    )


def _place(issuer: JwtIssuer) -> str:
    """Where the keys are, without what a URL may have of secrets."""
    return urllib.parse.urlsplit(issuer.jwks)._replace(query="", fragment="").geturl()


def _together(findings: Iterable[Sequence[Finding]]) -> Iterator[Finding]:
    for each in findings:
        yield from each
