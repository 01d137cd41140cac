"""Who calls: what a credential has proved."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller, as its credential proved it.

    `names`: all that it may be called, the most telling one first; never empty. Each begins with
    where it comes from: `token:NAME` of a token file, `jwt:SUBJECT`, `jwt-group:GROUP`,
    `cert:SAN` of a client certificate, `anonymous` where nobody is asked.
    `expires`: until when the credential is good, in seconds since the epoch; None: no end known.
    """

    names: tuple[str, ...]
    expires: float | None = None

    @property
    def name(self) -> str:
        """What logs call it."""
        return self.names[0]


ANONYMOUS = Identity(("anonymous",))
"""Everybody, where the server asks nobody who they are."""
