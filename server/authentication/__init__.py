"""Who calls: from the credential that a call brings to an Identity."""

from server.authentication.authenticator import Authenticator
from server.authentication.config import AuthenticationConfig, JwtIssuer
from server.authentication.token_file import BadTokenFile, make_token

__all__ = [
    "AuthenticationConfig",
    "Authenticator",
    "BadTokenFile",
    "JwtIssuer",
    "make_token",
]
