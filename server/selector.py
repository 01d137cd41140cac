"""Label selectors in Kubernetes' syntax: `a=b, c!=d, e in (f, g), h notin (i), j, !k`."""

import re
from collections.abc import Callable, Mapping

Labels = Mapping[str, str]
Selector = Callable[[Labels], bool]

_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_REQUIREMENT = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<absent_key>{_KEY})"
    rf"|(?P<key>{_KEY})\s*"
    rf"(?:(?P<op>==?|!=)\s*(?P<value>{_VALUE})"
    rf"|\s(?P<set_op>in|notin)\s*\(\s*(?P<values>{_VALUE}(?:\s*,\s*{_VALUE})*)\s*\))?)"
    r"\s*(?P<end>,|$)"
)


def parse_selector(text: str) -> Selector | None:
    """Compile a selector to a predicate over labels; None for the empty one, which takes all.

    As in Kubernetes, `!=` and `notin` also match where the key is absent.

    Raises:
        ValueError: the text isn't a selector; the message says from where on.
    """
    requirements: list[Selector] = []
    position = 0
    while position < len(text.rstrip()):
        match = _REQUIREMENT.match(text, position)
        if match is None:
            raise ValueError(
                f"can't be read from {text[position:]!r} on: "
                "write for example 'app=web,tier!=test,zone in (a,b),!old'"
            )
        requirements.append(_requirement(match))
        position = match.end()
    if text.rstrip().endswith(","):
        raise ValueError("ends with a comma: remove it")
    if not requirements:
        return None
    return lambda labels: all(requirement(labels) for requirement in requirements)


def _requirement(match: re.Match[str]) -> Selector:
    if match["absent"]:
        absent = match["absent_key"]
        return lambda labels: absent not in labels
    key: str = match["key"]
    if match["set_op"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
    elif match["op"]:
        values = frozenset((match["value"],))
    else:
        return lambda labels: key in labels
    if match["op"] == "!=" or match["set_op"] == "notin":
        return lambda labels: labels.get(key) not in values
    return lambda labels: labels.get(key) in values
