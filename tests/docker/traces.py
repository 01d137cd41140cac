"""What a daemon and its containers leave on a machine: processes, cgroups, mounts, bridges."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Collection
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import psutil

from tests.faults.processes import alive

_PROGRAMS = frozenset({
    "dockerd", "docker-untar", "docker-applylayer", "docker-init", "docker-proxy", "exe",
    "containerd", "containerd-shim-runc-v2", "runc", "podman", "conmon",
})  # fmt: skip
"""What daemons consist of. An editor may name their directories too, and isn't theirs."""

_CGROUPS = Path("/sys/fs/cgroup")
_BRIDGE = "jetest"
_SUBNETS = tuple(IPv4Network("198.18.0.0/15").subnets(new_prefix=22))
"""For the daemons' bridges: RFC 2544 keeps these addresses for tests, so no real network has
them; each takes the 1023 ports that a bridge can have."""


def processes(directory: Path, *programs: str) -> list[psutil.Process]:
    """What runs of the daemons of a directory, or only what runs these programs."""
    wanted = programs or _PROGRAMS
    return [process for process in psutil.process_iter() if _belongs(process, directory, wanted)]


def _belongs(process: psutil.Process, directory: Path, programs: Collection[str]) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        named = any(f"{directory}/" in word for word in process.cmdline())
        return named and process.name() in programs and alive(process)
    return False


def cgroups(name: str) -> list[Path]:
    """A cgroup's directories in all hierarchies, with those below it, the deepest first."""
    tops = [*_CGROUPS.glob(name), *_CGROUPS.glob(f"*/{name}")]
    found = [path for top in tops for path in (top, *top.rglob("*/"))]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def kill_in(cgroup: str) -> bool:
    """Kill what runs in a cgroup, paused or not, and say whether anything did."""
    found: set[int] = set()
    for path in cgroups(cgroup):
        with contextlib.suppress(OSError):
            found.update(map(int, (path / "cgroup.procs").read_text().split()))
    killed = [kill(pid) for pid in found]
    for path in cgroups(cgroup):
        if (state := path / "freezer.state").exists():
            with contextlib.suppress(OSError):
                state.write_text("THAWED")
    return any(killed)


def kill(pid: int) -> bool:
    """Kill a process, and say whether it was running."""
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        running = alive(psutil.Process(pid))
        os.kill(pid, signal.SIGKILL)
        return running
    return False


def remove_cgroup(name: str) -> bool:
    """Remove an empty cgroup, and say whether it is gone."""
    for path in cgroups(name):
        with contextlib.suppress(OSError):
            path.rmdir()
    return not cgroups(name)


def mounts(directory: Path) -> list[str]:
    """The mount points in a directory, the newest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [re.sub(r"\\(\d{3})", _octal, line.split(" ")[4]) for line in reversed(lines)]
    return [point for point in points if point.startswith(f"{directory}/")]


def _octal(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))


def unmount(directory: Path) -> bool:
    """Unmount what is mounted in a directory, and say whether nothing is any more."""
    for point in mounts(directory):
        subprocess.run(["umount", point], check=False, stderr=subprocess.DEVNULL)
    return not mounts(directory)


def add_bridge() -> str:
    """Make a bridge that no other daemon has, and return its name.

    Its MAC address is fixed, as Docker fixes those of its own bridges. Otherwise it is the lowest
    one of the ports', and changes as containers come and go: what another container sends to the
    old one, as long as it takes that for the gateway's, is lost.
    """
    for number, subnet in enumerate(_SUBNETS):
        name = f"{_BRIDGE}{number}"
        gateway = IPv4Interface((subnet[1], subnet.prefixlen))
        address = (b"\x02\x00" + gateway.packed).hex(":")
        if _ip("link", "add", name, "address", address, "type", "bridge"):
            assert _ip("address", "add", str(gateway), "dev", name)
            assert _ip("link", "set", name, "up")
            return name
    raise AssertionError("no bridge could be made; see what is left over: ip link")


def subnet_of(bridge: str) -> IPv4Network:
    """The addresses that a bridge stands for."""
    return _SUBNETS[int(bridge.removeprefix(_BRIDGE))]


def remove_bridge(name: str) -> bool:
    """Remove a bridge, and say whether it is gone."""
    return _ip("link", "delete", name) or not Path("/sys/class/net", name).exists()


def _ip(*arguments: str) -> bool:
    done = subprocess.run(["ip", *arguments], check=False, stderr=subprocess.DEVNULL)
    return done.returncode == 0
