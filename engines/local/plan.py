"""Turns a job's spec into what the local engine does with it, or says why it can't."""

import grp
import os
import pwd
from collections.abc import Container, Sequence
from dataclasses import dataclass

from engines.base import Capability
from engines.errors import FieldViolation
from engines.lifecycle.intent import seconds
from engines.local.record import Plan
from jobengine.v1.job_pb2 import JobSpec

_BASE_VARIABLES = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_REFUSED = {
    "image": "the local engine runs commands of its machine, not images; leave it out, or use "
    "the docker or kubernetes engine",
    "secret_env": "the local engine has no store of secrets; use env",
    "mounts": "the local engine mounts nothing; its jobs see the machine's own files",
    "image_pull_policy": "the local engine pulls no images; leave it out",
    "image_pull_secret": "the local engine pulls no images; leave it out",
    "engine_options": "the local engine has no options; leave it out",
}


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int
    home: str


def violations(spec: JobSpec, capabilities: Container[Capability]) -> Sequence[FieldViolation]:
    """Say which fields of the spec the local engine can't honour."""
    given = {field.name for field, _ in spec.ListFields()}
    found = [FieldViolation(f"spec.{name}", why) for name, why in _REFUSED.items() if name in given]
    if not spec.command:
        found.append(FieldViolation("spec.command", "the local engine needs a command to run"))
    resources = (
        (
            "cpu_millis",
            Capability.CPU_LIMIT,
            "limit processors: its control groups can't be written",
        ),
        (
            "memory_bytes",
            Capability.MEMORY_LIMIT,
            "limit memory: its control groups can't be written",
        ),
        ("gpu_count", Capability.GPU, "hand out GPUs"),
    )
    for field, capability, what in resources:
        if getattr(spec.resources, field) and capability not in capabilities:
            why = f"the server's machine has no way to {what}; leave it out"
            found.append(FieldViolation(f"spec.resources.{field}", why))
    if spec.user:
        found.extend(_user_violations(spec.user, capabilities))
    return found


def _user_violations(user: str, capabilities: Container[Capability]) -> Sequence[FieldViolation]:
    if Capability.USER not in capabilities:
        why = "the server isn't run by root, so it can't change users; leave it out"
        return [FieldViolation("spec.user", why)]
    try:
        find_account(user)
    except LookupError as exc:
        return [FieldViolation("spec.user", str(exc.args[0]))]
    return []


def find_account(text: str) -> Account:
    """The account of `user[:group]`, each a name or a number.

    A number needn't be known to the machine. LookupError says what isn't known.
    """
    user, _, group = text.partition(":")
    try:
        if user.isascii() and user.isdecimal():
            account = _numbered(int(user))
        else:
            entry = pwd.getpwnam(user)
            account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)
    except KeyError:
        raise LookupError(f"the machine has no user {user!r}; name one of its users") from None
    if not group:
        return account
    try:
        gid = int(group) if group.isascii() and group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise LookupError(f"the machine has no group {group!r}; name one of its groups") from None
    return Account(account.name, account.uid, gid, account.home)


def _numbered(uid: int) -> Account:
    if uid >= 2**32 - 1:
        raise LookupError(f"{uid} is no user's number")
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account("", uid, uid, "/")
    return Account(entry.pw_name, uid, entry.pw_gid, entry.pw_dir)


def make_plan(spec: JobSpec, log_limit_bytes: int) -> Plan:
    """What the shim has to know to run the job."""
    account = find_account(spec.user) if spec.user else None
    env = {name: os.environ[name] for name in _BASE_VARIABLES if name in os.environ}
    env.setdefault("PATH", _DEFAULT_PATH)
    if account is not None:
        env |= {"HOME": account.home, "USER": account.name or str(account.uid)}
        env.pop("TMPDIR", None)  # likely not writable for somebody else
    return Plan(
        argv=[*spec.command, *spec.args],
        env=env | dict(spec.env),
        working_dir=spec.working_dir,
        user=(account.name, account.uid, account.gid) if account else None,
        cpu_millis=spec.resources.cpu_millis,
        memory_bytes=spec.resources.memory_bytes,
        log_limit_bytes=log_limit_bytes,
        timeout=seconds(spec.timeout) if spec.HasField("timeout") else None,
    )
