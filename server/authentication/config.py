"""Which credentials a server takes."""

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from server.authentication.keys import ALGORITHMS

_LABEL = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtIssuer:
    """An issuer whose JWTs are taken.

    Raises:
        ValueError: names what is wrong, and how it should be.
    """

    issuer: str
    """What `iss` has to be, letter by letter."""

    audiences: tuple[str, ...]
    """This server's names there: `aud` has to have one of them."""

    jwks: str
    """Its keys: an https URL (http on loopback only), or a file."""

    label: str = ""
    """Stands before the names of its callers, as jwt:LABEL:SUB. Needed where there are several
    issuers, since each of them could call its own callers like another's."""

    groups_claim: str = "groups"
    """The claim with the caller's groups: a list of strings, or one string."""

    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    """How its tokens may be signed."""

    jwks_ca: Path | None = None
    """Authorities (PEM) of the URL's certificate; None: those of the system."""

    jwks_token: Path | None = None
    """A file with the bearer token that the URL asks for, as Kubernetes' API server does."""

    def __post_init__(self) -> None:
        """Refuse what can't work, or isn't safe."""
        if not self.issuer:
            raise ValueError("a JWT issuer has no `issuer`: say what `iss` is in its tokens")
        if not self.audiences or not all(self.audiences):
            raise ValueError(f"issuer {self.issuer}: `audiences` is empty: name this server's")
        if not self.algorithms or not set(self.algorithms) <= ALGORITHMS.keys():
            raise ValueError(
                f"issuer {self.issuer}: `algorithms` {self.algorithms}: use {', '.join(ALGORITHMS)}"
            )
        if self.label and not _LABEL.fullmatch(self.label):
            raise ValueError(f"issuer {self.issuer}: `label` {self.label!r}: use A-Z a-z 0-9 - _ .")
        if self.is_url:
            self._check_url()

    @property
    def is_url(self) -> bool:
        """Whether the keys are fetched, rather than read from a file."""
        return "://" in self.jwks

    def _check_url(self) -> None:
        url = urllib.parse.urlsplit(self.jwks)
        if not url.hostname or url.username is not None or url.password is not None:
            raise ValueError(f"issuer {self.issuer}: `jwks` has to be https://HOST/PATH, or a file")
        if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname)):
            raise ValueError(
                f"issuer {self.issuer}: `jwks` {self.jwks}: whoever can change the keys on their "
                "way can be anybody: use https"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationConfig:
    """Which credentials are taken; at least one kind, or everybody.

    Raises:
        ValueError: nobody could call, or names of two issuers' callers could be the same.
    """

    token_file: Path | None = None
    """Lines `NAME sha256:HEX`, see `server.authentication.token_file`."""

    jwt_issuers: tuple[JwtIssuer, ...] = ()

    client_certificates: bool = False
    """Whether callers are known by their TLS certificates."""

    anonymous: bool = False
    """Whether callers without a credential are let in, as `anonymous`."""

    def __post_init__(self) -> None:
        """Refuse what lets nobody in, or mixes callers up."""
        if not (self.token_file or self.jwt_issuers or self.client_certificates or self.anonymous):
            raise ValueError("no credential is taken, so nobody could call: configure one kind")
        issuers = [issuer.issuer for issuer in self.jwt_issuers]
        if len(set(issuers)) < len(issuers):
            raise ValueError("a JWT issuer is there twice: give it once, with all its audiences")
        labels = {issuer.label for issuer in self.jwt_issuers}
        if len(issuers) > 1 and (len(labels) < len(issuers) or "" in labels):
            raise ValueError(
                "several JWT issuers need a `label` each, all different: otherwise one could call "
                "its callers like another's"
            )


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
