"""Which subject of a policy a caller is."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from server.identity import ANONYMOUS, Identity
from server.policy.rights import Grant, Rights
from server.policy.verbs import VERBS

ANYBODY: Final = "*"
"""Matches whoever has proved who they are."""

MAX_LABEL: Final = 63

_SOURCES: Final = ("token:", "jwt:", "jwt-group:", "cert:")
_LABEL: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DIGEST_BYTES: Final = 16
_DIGESTED: Final = re.compile(r"(.*_)?[0-9a-f]{32}")
"""How a label value looks that was made by digest. No token's name is taken over that does, too."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom some identities are taken for, and what they may do."""

    name: str
    identities: tuple[str, ...]
    rights: Rights

    def is_who(self, identity: Identity) -> bool:
        """Whether the caller is this subject."""
        return any(
            _matches(pattern, name) for pattern in self.identities for name in identity.names
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """The subjects, in the order of the file; None: no file, and everybody may do everything."""

    subjects: tuple[Subject, ...] | None

    def rights(self, identity: Identity) -> Rights:
        """What the caller may do: what the first subject may that it is; nothing if it is none."""
        if self.subjects is None:
            return Rights(owner_label(identity), (Grant(frozenset(VERBS)),), allow=None)
        for subject in self.subjects:
            if subject.is_who(identity):
                return subject.rights
        return Rights()


EVERYTHING: Final = Policy(None)
"""Of a server without a policy file."""


def subject_problem(name: str) -> str:
    """What is wrong with a subject's name; empty if nothing is."""
    if _LABEL.fullmatch(name):
        return ""
    return (
        f"{name!r} can't be a label's value: use at most {MAX_LABEL} letters, digits, '-', '_' "
        "and '.', with a letter or digit at both ends"
    )


def pattern_problem(pattern: str) -> str:
    """What is wrong with a pattern of identities; empty if nothing is."""
    if pattern in (ANYBODY, ANONYMOUS.name):
        return ""
    if "*" in pattern[:-1]:
        return f"{pattern!r} has a '*' that isn't at its end"
    if not pattern.startswith(_SOURCES) or pattern in _SOURCES:
        sources = ", ".join(f"{source}NAME" for source in _SOURCES)
        return f"{pattern!r} is no identity: write {sources}, '*', or {ANONYMOUS.name!r}"
    return ""


def covers(first: str, later: str) -> bool:
    """Whether the first pattern matches all that the later one does."""
    if first == ANYBODY:
        return later != ANONYMOUS.name
    if first.endswith("*"):
        return later.removesuffix("*").startswith(first[:-1])
    return first == later


def _matches(pattern: str, name: str) -> bool:
    if pattern == ANYBODY:
        return name != ANONYMOUS.name
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def owner_label(identity: Identity) -> str:
    """Whose jobs are called a caller's where no policy says so; another value for each caller.

    A token's name as it is; of other identities a digest, after as much of the name as is left
    room for. Empty where nobody is asked who they are.
    """
    name = identity.name
    if name == ANONYMOUS.name:
        return ""
    source, _, rest = name.partition(":")
    if source == "token" and _LABEL.fullmatch(rest) and not _DIGESTED.fullmatch(rest):
        return rest
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES)
    readable = re.sub(r"[^A-Za-z0-9]+", "-", rest)[-(MAX_LABEL - 2 * _DIGEST_BYTES - 1) :]
    return f"{readable.strip('-')}_{digest.hexdigest()}".lstrip("_")
