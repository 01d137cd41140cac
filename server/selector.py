"""Label selectors in Kubernetes' syntax: `a=b, c!=d, e in (f, g), h notin (i), j, !k`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engines.base import Job

Labels = Mapping[str, str]
Requirement = Callable[[Labels], bool]


@dataclass(frozen=True, slots=True)
class Selector:
    """A predicate over labels.

    `required`: what matches has each of these labels, with one of these values. It may have to
    keep to more than that.
    """

    requirements: tuple[Requirement, ...]
    required: Mapping[str, frozenset[str]]

    def __call__(self, labels: Labels) -> bool:
        """Whether labels match."""
        return all(requirement(labels) for requirement in self.requirements)

    def ways(self) -> tuple[Mapping[str, frozenset[str]], ...]:
        """What matches has all the labels of one of these, each with one of its values."""
        return (self.required,)

    def takes(self, job: Job) -> bool:
        """Whether a job matches."""
        return self(job.labels)


_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
# Whitespace and lists give nothing back (`*+`): else a text of 60 characters, "a in (, , , … $",
# would keep the server busy for minutes.
_REQUIREMENT = re.compile(
    rf"\s*+(?:(?P<absent>!)\s*+(?P<absent_key>{_KEY})"
    rf"|(?P<key>{_KEY})"
    rf"(?:\s*+(?P<op>==?|!=)\s*+(?P<value>{_VALUE})"
    rf"|\s++(?P<set_op>in|notin)\s*+\(\s*+(?P<values>{_VALUE}(?:\s*+,\s*+{_VALUE})*+)\s*+\))?)"
    r"\s*+(?P<end>,|$)"
)


def parse_selector(text: str) -> Selector | None:
    """Compile a selector; None for the empty one, which takes all.

    As in Kubernetes, `!=` and `notin` also match where the key is absent.

    Raises:
        ValueError: the text isn't a selector; the message says from where on.
    """
    requirements: list[Requirement] = []
    required: dict[str, frozenset[str]] = {}
    position = 0
    while position < len(text.rstrip()):
        match = _REQUIREMENT.match(text, position)
        if match is None:
            raise ValueError(
                f"can't be read from {text[position:]!r} on: "
                "write for example 'app=web,tier!=test,zone in (a,b),!old'"
            )
        requirements.append(_requirement(match))
        if match["op"] in {"=", "=="} or match["set_op"] == "in":
            key: str = match["key"]
            values = _values(match)
            required[key] = required.get(key, values) & values
        position = match.end()
    if text.rstrip().endswith(","):
        raise ValueError("ends with a comma: remove it")
    if not requirements:
        return None
    return Selector(tuple(requirements), required)


def _requirement(match: re.Match[str]) -> Requirement:
    if match["absent"]:
        absent = match["absent_key"]
        return lambda labels: absent not in labels
    key: str = match["key"]
    if not (match["op"] or match["set_op"]):
        return lambda labels: key in labels
    values = _values(match)
    if match["op"] == "!=" or match["set_op"] == "notin":
        return lambda labels: labels.get(key) not in values
    return lambda labels: labels.get(key) in values


def _values(match: re.Match[str]) -> frozenset[str]:
    if match["set_op"]:
        return frozenset(value.strip() for value in match["values"].split(","))
    return frozenset((match["value"],))


def matches(selector: Selector | None, job: Job) -> bool:
    """Whether the job is one that the caller wants to see, and may."""
    return selector is None or selector.takes(job)
