"""Control groups: a job's limits, and a way to end all of it at once.

Knows version 2, version 1, and both at once (hybrid: limits by version 1's controllers, the
process group by version 2's hierarchy). Everything here is optional: where the groups can't be
written the engine says that it has no limits, and finds a job's processes by descent.

A job without limits gets no group. To make, join and remove one costs only 0.1 ms, but it has
to be joined between fork and exec, which `posix_spawn` can't do, and that costs 1.5 ms more.
"""

import contextlib
import os
import time
from typing import Final, NamedTuple

_PERIOD_MICROSECONDS: Final = 100_000
_REMOVE_SECONDS: Final = 5.0


class Hierarchy(NamedTuple):
    """A mounted hierarchy: our own directory in it, and what it controls for us."""

    version: int
    path: str
    cpu: bool
    memory: bool


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def mounted() -> list[Hierarchy]:
    """The hierarchies that this process is in, with its own group in each."""
    try:
        memberships = _read("/proc/self/cgroup").splitlines()
        mounts = [line.split() for line in _read("/proc/self/mounts").splitlines()]
    except OSError:
        return []
    groups = {names: path for _, names, path in (m.split(":", 2) for m in memberships)}
    found: list[Hierarchy] = []
    for _, point, kind, options, *_ in mounts:
        if kind == "cgroup2" and "" in groups:
            path = point + groups[""].rstrip("/")
            found.append(Hierarchy(2, path, *_enabled(path)))
        elif kind == "cgroup":
            names = next((n for n in groups if n and set(n.split(",")) <= _words(options)), None)
            if names is not None and (controllers := _words(names) & {"cpu", "memory"}):
                path = point + groups[names].rstrip("/")
                found.append(Hierarchy(1, path, "cpu" in controllers, "memory" in controllers))
    return found


def _words(text: str) -> set[str]:
    return set(text.split(","))


def _enabled(path: str) -> tuple[bool, bool]:
    try:
        controllers = _read(f"{path}/cgroup.subtree_control").split()
    except OSError:
        return False, False
    return "cpu" in controllers, "memory" in controllers


class Group(NamedTuple):
    """A job's group: one directory in each hierarchy that is of use."""

    hierarchies: tuple[Hierarchy, ...]
    name: str

    def create(self, cpu_millis: int, memory_bytes: int) -> None:
        """Make the group and set its limits. OSError where that fails; nothing is left."""
        try:
            for hierarchy in self.hierarchies:
                path = self._path(hierarchy)
                os.mkdir(path)  # noqa: PTH102
                if cpu_millis and hierarchy.cpu:
                    _limit_cpu(hierarchy.version, path, cpu_millis)
                if memory_bytes and hierarchy.memory:
                    _limit_memory(hierarchy.version, path, memory_bytes)
        except OSError:
            self.remove()
            raise

    def join(self) -> None:
        """Put this process into the group; its children follow."""
        for hierarchy in self.hierarchies:
            _write(f"{self._path(hierarchy)}/cgroup.procs", "0")

    def pids(self) -> set[int]:
        """The processes in the group."""
        found: set[int] = set()
        for hierarchy in self.hierarchies:
            with contextlib.suppress(OSError):
                found |= set(map(int, _read(f"{self._path(hierarchy)}/cgroup.procs").split()))
        return found

    def kill(self) -> bool:
        """Kill everything in the group at once; False where the kernel has no such thing."""
        for hierarchy in self.hierarchies:
            if hierarchy.version == 2:
                with contextlib.suppress(OSError):
                    _write(f"{self._path(hierarchy)}/cgroup.kill", "1")
                    return True
        return False

    def oom_kills(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        for hierarchy in self.hierarchies:
            if hierarchy.memory:
                file = "memory.events" if hierarchy.version == 2 else "memory.oom_control"
                with contextlib.suppress(OSError):
                    pairs = map(str.split, _read(f"{self._path(hierarchy)}/{file}").splitlines())
                    return int(dict(pairs).get("oom_kill", "0"))
        return 0

    def remove(self) -> None:
        """Remove the group, which has to be empty; give up after a while where it isn't."""
        end = time.monotonic() + _REMOVE_SECONDS
        for hierarchy in self.hierarchies:
            while True:
                try:
                    os.rmdir(self._path(hierarchy))  # noqa: PTH106
                except FileNotFoundError:
                    break
                except OSError:
                    # A process that has just died still counts for a moment.
                    if time.monotonic() > end:
                        break
                    time.sleep(0.002)
                else:
                    break

    def _path(self, hierarchy: Hierarchy) -> str:
        return f"{hierarchy.path}/{self.name}"


def _limit_cpu(version: int, path: str, cpu_millis: int) -> None:
    quota = max(cpu_millis * _PERIOD_MICROSECONDS // 1000, 1000)
    if version == 2:
        _write(f"{path}/cpu.max", f"{quota} {_PERIOD_MICROSECONDS}")
    else:
        _write(f"{path}/cpu.cfs_period_us", str(_PERIOD_MICROSECONDS))
        _write(f"{path}/cpu.cfs_quota_us", str(quota))


def _limit_memory(version: int, path: str, memory_bytes: int) -> None:
    limit = str(memory_bytes)
    if version == 1:
        _write(f"{path}/memory.limit_in_bytes", limit)
        with contextlib.suppress(OSError):  # only with swap accounting
            _write(f"{path}/memory.memsw.limit_in_bytes", limit)
        return
    _write(f"{path}/memory.max", limit)
    _write(f"{path}/memory.oom.group", "1")
    with contextlib.suppress(OSError):  # only with swap
        _write(f"{path}/memory.swap.max", "0")


class Groups:
    """Makes the groups of one engine, below the group that its server runs in."""

    def __init__(self, prefix: str, hierarchies: list[Hierarchy] | None = None) -> None:
        """Find out by a real attempt which hierarchies can be used."""
        self.prefix = prefix
        candidates = mounted() if hierarchies is None else hierarchies
        self.all = tuple(h for h in candidates if self._probe(h))
        self.cpu = any(h.cpu for h in self.all)
        self.memory = any(h.memory for h in self.all)

    def _probe(self, hierarchy: Hierarchy) -> bool:
        group = Group((hierarchy,), f"{self.prefix}-probe-{os.getpid()}")
        try:
            group.create(1000, 1 << 30)
        except OSError:
            return False
        group.remove()
        return True

    def group(self, uid: str, attempt: str) -> Group:
        """The group of an attempt. It isn't made by this."""
        return Group(self.all, group_name(self.prefix, uid, attempt))

    def leftovers(self) -> dict[str, Group]:
        """All groups of this engine that there are, by name."""
        found: dict[str, Group] = {}
        for hierarchy in self.all:
            with contextlib.suppress(OSError):
                for name in os.listdir(hierarchy.path):  # noqa: PTH208
                    if name.startswith(f"{self.prefix}-"):
                        found[name] = Group(self.all, name)
        return found


def group_name(prefix: str, uid: str, attempt: str) -> str:
    """The name of an attempt's group."""
    return f"{prefix}-{uid}-{attempt}"
