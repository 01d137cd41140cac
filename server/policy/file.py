"""Reads a policy file: everything in it is known and meant, or it is refused with its place."""

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar, cast

from server.policy import patterns, subjects
from server.policy.bounds import ANY, NO_LIMITS, NOTHING_SHARED, UNNAMED, Allow, Limits
from server.policy.refusals import InvalidPolicy
from server.policy.rights import Grant, Rights
from server.policy.subjects import Policy, Subject
from server.policy.verbs import VERBS, Verb

MAX_NAMES: Final = 40
"""Of a prefix of jobs' names: leaves room for a name that the server makes, and for an instance's
number after it (Kubernetes)."""

MAX_COUNT: Final = (1 << 63) - 1
MAX_RATE: Final = 1_000_000

_NAMES: Final = re.compile(r"[a-z0-9][-a-z0-9]*")
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd])")
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_LIMITS: Final = frozenset(Limits.__dataclass_fields__)
_ALLOW: Final = frozenset(Allow.__dataclass_fields__)

_T = TypeVar("_T")


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        InvalidPolicy: it isn't there, or something in it is wrong; the message says where, and what
            to do.
    """
    try:
        raw: object = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidPolicy(path, "", f"can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidPolicy(path, "", f"is no TOML: {error}") from error
    given = _Value(path, "", raw).table({"subjects"})
    found: list[Subject] = []
    for value in given["subjects"].items() if "subjects" in given else ():
        found.append(_subject(value, found))
    if not found:  # more likely a file that is being written than that nobody may do anything
        raise InvalidPolicy(
            path, "subjects", "has none: add [[subjects]] with a name, identities …"
        )
    return Policy(tuple(found))


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of the file, and where it stands."""

    file: Path
    place: str
    raw: object

    def inner(self, step: str, raw: object = None) -> "_Value":
        return _Value(self.file, f"{self.place}{step}".lstrip("."), raw)

    def wrong(self, what: str) -> InvalidPolicy:
        return InvalidPolicy(self.file, self.place, what)

    def table(self, known: Collection[str], required: Collection[str] = ()) -> dict[str, "_Value"]:
        """The members of a table that has these keys, and no others."""
        if not isinstance(self.raw, dict):
            raise self.wrong("isn't a table")
        members = cast("dict[str, object]", self.raw)
        values = {key: self.inner(f".{key}", raw) for key, raw in members.items()}
        for key, value in values.items():
            if key not in known:
                raise value.wrong(f"isn't known here: use {', '.join(sorted(known))}")
        for key in required:
            if key not in values:
                raise self.inner(f".{key}").wrong("is required")
        return values

    def items(self) -> list["_Value"]:
        if not isinstance(self.raw, list):
            raise self.wrong("isn't an array: write it as [...]")
        elements = cast("list[object]", self.raw)
        return [self.inner(f"[{index}]", raw) for index, raw in enumerate(elements)]

    def text(self) -> str:
        if not isinstance(self.raw, str):
            raise self.wrong("isn't a string: write it in quotes")
        return self.raw

    def flag(self) -> bool:
        if not isinstance(self.raw, bool):
            raise self.wrong("isn't true or false")
        return self.raw

    def count(self) -> int:
        if not isinstance(self.raw, int) or isinstance(self.raw, bool):
            raise self.wrong("isn't a whole number")
        if not 0 <= self.raw <= MAX_COUNT:
            raise self.wrong(f"is out of range: use 0 to {MAX_COUNT}")
        return self.raw

    def rate(self) -> float:
        number = self.raw
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise self.wrong("isn't a number")
        if not 0 < number <= MAX_RATE:
            raise self.wrong(f"is out of range: use more than 0, and at most {MAX_RATE}")
        return float(number)

    def seconds(self) -> int:
        match = _DURATION.fullmatch(self.text())
        if match is None or match[1].strip("0") == "":
            raise self.wrong("is no time: write for example 90s, 30m, 2h or 7d")
        return int(match[1]) * _UNIT_SECONDS[match[2]]

    def texts(self, problem_of: Callable[[str], str]) -> tuple[str, ...]:
        for item in self.items():
            if problem := problem_of(item.text()):
                raise item.wrong(problem)
        return tuple(item.text() for item in self.items())

    def patterns(self) -> tuple[str, ...]:
        return self.texts(patterns.pattern_problem)

    def directories(self) -> tuple[str, ...]:
        found = self.texts(patterns.directory_problem)
        return tuple(str(PurePosixPath(directory)) for directory in found)

    def users(self) -> tuple[str, ...]:
        return self.texts(_user_problem)


def _subject(value: _Value, before: list[Subject]) -> Subject:
    required = ("name", "identities", "grants")
    given = value.table((*required, "limits", "allow"), required)
    name = given["name"].text()
    if problem := subjects.subject_problem(name):
        raise given["name"].wrong(problem)
    if name in {subject.name for subject in before}:
        raise given["name"].wrong(f"{name!r} is another subject's name already: choose one")
    grants = tuple(_grant(grant) for grant in given["grants"].items())
    limits = _limits(given["limits"]) if "limits" in given else NO_LIMITS
    allow = _allow(given["allow"]) if "allow" in given else NOTHING_SHARED
    identities = _identities(given["identities"], before)
    return Subject(name, identities, Rights(name, grants, limits, allow))


def _identities(value: _Value, before: list[Subject]) -> tuple[str, ...]:
    """Patterns, each of which decides about somebody: none is hidden by one of an earlier subject.

    Else who adds the narrower subject below the wider one would believe that it counts.
    """
    found = value.texts(subjects.pattern_problem)
    if not found:
        raise value.wrong("is empty: nobody would be this subject")
    for item in value.items():
        for earlier in before:
            if any(subjects.covers(pattern, item.text()) for pattern in earlier.identities):
                raise item.wrong(f"never counts: {earlier.name!r} comes before, and has it already")
    return found


def _grant(value: _Value) -> Grant:
    given = value.table({"verbs", "names", "own", "selector"}, {"verbs"})
    verbs: frozenset[Verb] = frozenset(_verb(verb) for verb in given["verbs"].items())
    if not verbs:
        raise given["verbs"].wrong("is empty: leave the grant out")
    names = given["names"].text() if "names" in given else ""
    if "names" in given and (problem := _names_problem(names)):
        raise given["names"].wrong(problem)
    selector = given["selector"].text() if "selector" in given else ""
    if "selector" in given and not selector.strip():
        raise given["selector"].wrong("is empty, and would match all: leave it out")
    own = given["own"].flag() if "own" in given else False
    try:
        return Grant(verbs, names, own, selector)
    except ValueError as error:
        raise given["selector"].wrong(str(error)) from None


def _verb(value: _Value) -> Verb:
    for verb in VERBS:
        if value.text() == verb:
            return verb
    raise value.wrong(f"{value.text()!r} is no verb: use {', '.join(VERBS)}")


def _names_problem(names: str) -> str:
    if not _NAMES.fullmatch(names) or len(names) > MAX_NAMES:
        what = "is how names begin, without '*'" if names.endswith("*") else "is no prefix of names"
        return f"{what}: use at most {MAX_NAMES} lower-case letters, digits and '-'"
    return ""


def _user_problem(user: str) -> str:
    if "*" in user and user != ANY:
        return f"{user!r} has a '*': write whole users, or '*' alone for any"
    return ""


def _limits(value: _Value) -> Limits:
    given = value.table(_LIMITS)
    rate = _optional(given, "requests_per_second", _Value.rate)
    burst = _optional(given, "burst", _Value.count)
    if burst is not None and rate is None:
        raise given["burst"].wrong("needs requests_per_second beside it")
    if burst == 0:
        raise given["burst"].wrong("is 0, and would let nothing through: use 1 or more")
    return Limits(
        jobs=_optional(given, "jobs", _Value.count),
        cpu_millis=_optional(given, "cpu_millis", _Value.count),
        memory_bytes=_optional(given, "memory_bytes", _Value.count),
        gpu_count=_optional(given, "gpu_count", _Value.count),
        instances=_optional(given, "instances", _Value.count),
        completions=_optional(given, "completions", _Value.count),
        retries=_optional(given, "retries", _Value.count),
        max_timeout=_optional(given, "max_timeout", _Value.seconds),
        max_ttl=_optional(given, "max_ttl", _Value.seconds),
        images=_optional(given, "images", _Value.patterns),
        requests_per_second=rate,
        burst=burst,
        streams=_optional(given, "streams", _Value.count),
    )


def _allow(value: _Value) -> Allow:
    given = value.table(_ALLOW)
    return Allow(
        engine_options=_optional(given, "engine_options", _Value.flag) or False,
        host_paths=_optional(given, "host_paths", _Value.directories) or (),
        secrets=_optional(given, "secrets", _Value.patterns) or (),
        volumes=_optional(given, "volumes", _Value.patterns) or (),
        config_maps=_optional(given, "config_maps", _Value.patterns) or (),
        users=_optional(given, "users", _Value.users) or (UNNAMED,),
        keys=_optional(given, "keys", _Value.patterns) or (),
    )


def _optional(given: Mapping[str, _Value], key: str, read: Callable[[_Value], _T]) -> _T | None:
    return read(given[key]) if key in given else None
