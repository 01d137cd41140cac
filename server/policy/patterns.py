"""Patterns of names and images, and what lies below a directory.

All of them err on the side of no: a text with anything unusual in it matches nothing.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

_TEXT: Final = re.compile(r"[-A-Za-z0-9_.:@\[\]]+(/[-A-Za-z0-9_.:@\[\]]+)*")
"""Of what the names of images, secrets, volumes and label keys are made."""

_PATTERN: Final = re.compile(r"[-A-Za-z0-9_.:@*]+(/[-A-Za-z0-9_.:@*]+)*")


def pattern_problem(pattern: str) -> str:
    """What is wrong with a pattern; empty if nothing is."""
    if not _PATTERN.fullmatch(pattern):
        return "use letters, digits, '-', '_', '.', ':', '@', single '/' between, and '*'"
    if "**" in pattern:
        return "has '**': one '*' is enough, after the last '/' it takes everything below"
    if _climbs(pattern):
        return "has '.' or '..' for a part: nothing would match"
    return ""


def any_matches(patterns: Iterable[str], text: str) -> bool:
    """Whether one of the patterns matches all of the text.

    `*` takes any number of characters, but no '/'. After the last '/', or all by itself, it takes
    whatever is there.
    """
    if not _TEXT.fullmatch(text) or _climbs(text):
        return False
    parts = text.split("/")
    return any(_matches(pattern, parts) for pattern in patterns)


def _climbs(text: str) -> bool:
    return not {".", ".."}.isdisjoint(text.split("/"))


def _matches(pattern: str, parts: list[str]) -> bool:
    *wanted, last = pattern.split("/")
    if last == "*":
        return len(parts) > len(wanted) and all(map(_part_matches, wanted, parts))
    return len(parts) == len(wanted) + 1 and all(map(_part_matches, [*wanted, last], parts))


def _part_matches(pattern: str, text: str) -> bool:
    """Without a regular expression: many `*` would let it take for ever over some texts."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def directory_problem(path: str) -> str:
    """What is wrong with a directory that a policy allows; empty if nothing is."""
    pure = PurePosixPath(path)
    if pure.root != "/" or ".." in pure.parts or "\0" in path:
        return "give an absolute path without '..'"
    return ""


def is_below(directories: Iterable[str], path: str) -> bool:
    """Whether a path is one of the directories or lies below it, by its letters.

    Links aren't followed: they are on the machine that runs the job.
    """
    pure = PurePosixPath(path)
    if pure.root != "/" or ".." in pure.parts or "\0" in path:
        return False
    return any(pure.is_relative_to(directory) for directory in directories)
