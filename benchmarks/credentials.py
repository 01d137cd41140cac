"""Credentials of a caller, and the server's options that let it in."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from server.authentication import make_token

_SUBJECT = "bench"
_ISSUER = "https://issuer.bench.example"
_TOKEN_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Credential:
    """A bearer token, and what a server that takes it has to be told."""

    token: str
    options: tuple[str, ...]


def handed_out(directory: Path) -> Credential:
    """A token of a token file."""
    token, digest = make_token()
    file = _write(directory / "tokens", f"{_SUBJECT} {digest}\n")
    return Credential(token, (f"--tokens={file}", _policy(directory, f"token:{_SUBJECT}")))


def issued(directory: Path) -> Credential:
    """A JWT, as Kubernetes and most identity providers sign them (ES256)."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = {**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": "1", "alg": "ES256"}
    keys = _write(directory / "keys.json", json.dumps({"keys": [public]}))
    issuers = _write(
        directory / "issuers.toml",
        f'[[issuers]]\nissuer = "{_ISSUER}"\naudiences = ["jobengine"]\njwks = "{keys}"\n',
    )
    now = int(time.time())
    claims = {"iss": _ISSUER, "aud": "jobengine", "sub": _SUBJECT, "exp": now + _TOKEN_SECONDS}
    token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "1"})
    return Credential(token, (f"--jwt-issuers={issuers}", _policy(directory, f"jwt:{_SUBJECT}")))


def _policy(directory: Path, identity: str) -> str:
    """The option for a policy under which the caller sees its own jobs."""
    file = _write(
        directory / "policy.toml",
        f'[[subjects]]\nname = "{_SUBJECT}"\nidentities = ["{identity}"]\n'
        'grants = [{ verbs = ["create", "read"], own = true }]\n',
    )
    return f"--policy={file}"


def _write(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file
