"""Whether a policy speaks of callers that there can be."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engines.findings import Finding, amiss, fine, many
from server.authentication.issuers_file import read_issuers
from server.config import Config
from server.doctor.credentials import token_names
from server.identity import ANONYMOUS, Identity
from server.policy import Policy, Rights, read_policy

_FLAGS: Final = {
    "token": "--tokens",
    "jwt": "--jwt-issuers",
    "jwt-group": "--jwt-issuers",
    "cert": "--client-ca",
}


def examine_policy(config: Config) -> Iterator[Finding]:
    """The policy, by the credentials that are taken; a ValueError says what is wrong in it."""
    if config.policy is None:
        return
    policy = read_policy(config.policy)
    callers = _callers(config)
    yield fine("policy", _summary(config.policy, policy, callers))
    for subject in policy.subjects or ():
        for pattern in subject.identities:
            if problem := callers.problem(pattern):
                yield amiss("policy", f"subject {subject.name}: nobody can be {pattern}: {problem}")


def _summary(path: Path, policy: Policy, callers: "Callers") -> str:
    words = f"{path}, {many(len(policy.subjects or ()), 'subject')}"
    identities = [Identity((f"token:{name}",)) for name in sorted(callers.tokens or ())]
    nobody = [each.name for each in identities if policy.rights(each) == Rights()]
    return f"{words}; these may do nothing: {', '.join(nobody)}" if nobody else words


@dataclass(frozen=True, slots=True)
class Callers:
    """Whom callers can prove to be."""

    flags: frozenset[str]
    """Those of the credentials that are taken."""

    tokens: frozenset[str] | None
    """The names in the token file; None where they can't be told."""

    labels: frozenset[str]
    """Of the issuers, with one of which the names of JWTs begin; empty where they needn't."""

    def problem(self, pattern: str) -> str:
        """Why no caller is of this pattern; empty if one can be."""
        source, _, name = pattern.partition(":")
        if pattern == ANONYMOUS.name:
            return "every caller has to say who it is"
        if source in _FLAGS and _FLAGS[source] not in self.flags:
            return f"that takes {_FLAGS[source]}"
        if source == "token" and self.tokens is not None:
            there = any(_matches(name, each) for each in self.tokens)
            return "" if there else "the token file has no such name"
        if source in ("jwt", "jwt-group") and self.labels:
            there = any(_can_begin(name, f"{label}:") for label in self.labels)
            return "" if there else f"it has to begin with {source}:LABEL: of an issuer"
        return ""


def _callers(config: Config) -> Callers:
    """By the files, as far as they can be read: others say what is wrong with them."""
    given = {
        "--tokens": config.token_file,
        "--jwt-issuers": config.jwt_issuers,
        "--client-ca": config.client_ca,
    }
    tokens, labels = None, frozenset[str]()
    if config.token_file is not None:
        with contextlib.suppress(ValueError, OSError):
            tokens = token_names(config.token_file)
    if config.jwt_issuers is not None:
        with contextlib.suppress(ValueError):
            labels = frozenset(each.label for each in read_issuers(config.jwt_issuers))
    flags = frozenset(flag for flag, path in given.items() if path is not None)
    return Callers(flags, tokens, labels - {""})


def _matches(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _can_begin(pattern: str, start: str) -> bool:
    """Whether what the pattern matches can begin so."""
    literal = pattern.removesuffix("*")
    return literal.startswith(start) or (pattern != literal and start.startswith(literal))
