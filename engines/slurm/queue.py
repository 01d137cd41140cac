"""What Slurm says of its jobs: lines of squeue, scontrol and sacct, read.

Text in a format of our own, rather than JSON: it has been the same since long before 22.05, it is
filtered by the controller (in 22.05 `squeue --json` tells of every job of the cluster, whatever it
is asked for), and takes 100 bytes a job in place of 3,000.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from engines.lifecycle.facts import Key

FORMAT: Final = "%k|%j|%A|%F|%K|%T|%e|%B|%r"
"""For squeue: comment, name, id, array's, tasks, state, end, host of the batch script, reason."""

ACCOUNTING_FIELDS: Final = "JobIDRaw,State,ExitCode,Start,End,NodeList"

ENDED: Final = frozenset(
    {
        *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY"),
        *("NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL", "PREEMPTED", "REVOKED"),
    }
)
"""States that a job stays in; any other it may leave."""

WAITING: Final = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)
"""States of a job that has no place yet, or none any more."""

_NEAR_SECONDS: Final = 60.0
"""How far a job's start, by the controller, may be from that of its script, by the node."""

_FIELDS: Final = FORMAT.count("|")
_COMMENT: Final = "jobengine"
_EXIT: Final = re.compile(r"(\d+):(\d+)")


class Batch(NamedTuple):
    """What one submission is for: this run of these instances, the last one included."""

    attempt: int
    first: int
    last: int

    @property
    def keys(self) -> Iterator[Key]:
        """Instance and attempt of each."""
        return ((instance, self.attempt) for instance in range(self.first, self.last + 1))

    @property
    def size(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


class Entry(NamedTuple):
    """A job of Slurm's, or all the tasks of an array that wait. `tasks` is empty without array."""

    uid: str
    batch: Batch
    name: str
    id: str
    array: str
    tasks: tuple[range, ...]
    state: str
    end_time: float | None
    node: str
    reason: str

    @property
    def keys(self) -> Iterator[Key]:
        """Which attempts of the job it is."""
        if not self.tasks:
            return iter([(self.batch.first, self.batch.attempt)])
        return (
            (self.batch.first + task, self.batch.attempt) for tasks in self.tasks for task in tasks
        )

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self.state in ENDED


class Ended(NamedTuple):
    """How Slurm says that a job ended. `by` is who cancelled it, where that is known.

    `uid` (of ours) and `start_time` tell whether it is the one that is meant: a controller
    that was killed gives ids again.
    """

    state: str
    exit_code: int | None = None
    signal: int = 0
    time: float | None = None
    node: str = ""
    reason: str = ""
    restarts: int = 0
    by: str = ""
    uid: str = ""
    start_time: float | None = None

    def began_near(self, time: float) -> bool:
        """Whether it started about then, by whichever clock."""
        return self.start_time is not None and abs(self.start_time - time) < _NEAR_SECONDS


def make_comment(tag: str, uid: str, batch: Batch) -> str:
    """What a submission says of itself; `tag` stands for the engine's directory."""
    return f"{_COMMENT}:{tag}:{uid}:{batch.attempt}.{batch.first}-{batch.last}"


def parse_comment(text: str) -> tuple[str, str, Batch] | None:
    """Tag, uid and batch of such a comment; None for anybody else's."""
    match = re.fullmatch(_COMMENT + r":(\w+):(\w+):(\d+)\.(\d+)-(\d+)", text, re.ASCII)
    if match is None:
        return None
    return match[1], match[2], Batch(*map(int, match.groups()[2:]))


def parse_queue(text: str, tag: str) -> list[Entry]:
    """The jobs with this tag, of what squeue said in FORMAT."""
    found: list[Entry] = []
    for line in text.splitlines():
        fields = line.split("|", _FIELDS)
        said = parse_comment(fields[0]) if len(fields) == _FIELDS + 1 else None
        if said is None or said[0] != tag:
            continue
        _, name, number, array, tasks, state, end, node, reason = fields
        where = "" if node in ("n/a", "N/A", "(null)", "None") else node
        found.append(
            Entry(
                *said[1:], name, number, array, parse_tasks(tasks), state, _time(end), where, reason
            )
        )
    return found


def parse_tasks(text: str) -> tuple[range, ...]:
    """The task numbers of `%K`, such as `3`, or `[2,5-9%2]` for those that wait; N/A is none."""
    ranges: list[range] = []
    for part in text.strip("[]").partition("%")[0].split(","):
        step = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if step is not None:
            first = int(step[1])
            ranges.append(range(first, int(step[2] or first) + 1, int(step[3] or 1)))
    return tuple(ranges)


def parse_fields(line: str) -> dict[str, str]:
    """The fields of a line of `scontrol --oneliner show`, as far as they are single words."""
    return dict(re.findall(r"(?:^|\s)([A-Za-z_/:]+)=(\S*)", line))


def parse_config(text: str) -> dict[str, str]:
    """What `scontrol show config` says."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def parse_job(line: str) -> Ended:
    """How a job ended, by `scontrol --oneliner show job`."""
    fields = parse_fields(line)
    code, signal = _exit(fields.get("ExitCode", ""))
    return Ended(
        fields.get("JobState", ""),
        code,
        signal,
        _time(fields.get("EndTime", "")),
        fields.get("BatchHost", ""),
        fields.get("Reason", ""),
        int(fields.get("Restarts", "0") or 0),
        uid=said[1] if (said := parse_comment(fields.get("Comment", ""))) else "",
    )


def parse_accounting(text: str) -> dict[str, Ended]:
    """By id: how jobs ended, of what sacct said of ACCOUNTING_FIELDS."""
    found: dict[str, Ended] = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != ACCOUNTING_FIELDS.count(",") + 1:
            continue
        number, state, code, start, end, node = fields
        word, _, rest = state.partition(" ")  # CANCELLED by 1000
        by = rest.removeprefix("by ").strip()
        found[number] = Ended(word, *_exit(code), _time(end), node, by=by, start_time=_time(start))
    return found


def _exit(text: str) -> tuple[int | None, int]:
    match = _EXIT.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else (None, 0)


def _time(text: str) -> float | None:
    return float(text) if text.isdecimal() and int(text) else None


def covered(entries: Iterable[Entry]) -> set[Key]:
    """The attempts that these are."""
    return {key for entry in entries for key in entry.keys}
