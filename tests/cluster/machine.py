"""What a node needs and changes of the machine that it is on, beyond its own directory."""

import contextlib
import json
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")

_KERNEL_SETTINGS = (
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"),
)
"""What a kubelet sets as it starts, for the whole machine."""

_CNI_RESULTS = Path("/var/lib/cni/results")
"""Where containerd notes what network a container has, wherever its own state is."""

_LOGS = Path("/var/log/containers")
"""Where a kubelet links to the logs of containers, wherever these are."""


def add_cgroup(name: str) -> None:
    """Make a cgroup in all hierarchies. A kubelet takes none for its pods that isn't there."""
    if (_CGROUPS / "cgroup.controllers").exists():
        _delegate(_CGROUPS)
        (_CGROUPS / name).mkdir(exist_ok=True)
        _delegate(_CGROUPS / name)
        return
    for hierarchy in _CGROUPS.iterdir():
        if hierarchy.is_dir():
            (hierarchy / name).mkdir(exist_ok=True)
    for setting in ("cpuset.cpus", "cpuset.mems"):  # empty at first, and then nothing runs there
        value = (_CGROUPS / "cpuset" / setting).read_text()
        (_CGROUPS / "cpuset" / name / setting).write_text(value)


def _delegate(cgroup: Path) -> None:
    """Let those below a cgroup have what it has."""
    controllers = (cgroup / "cgroup.controllers").read_text().split()
    for controller in controllers:
        with contextlib.suppress(OSError):
            (cgroup / "cgroup.subtree_control").write_text(f"+{controller}")


def save_kernel_settings(file: Path) -> None:
    """Note what a kubelet will change, unless that is noted already."""
    if file.exists():
        return
    paths = [Path("/proc/sys", name) for name in _KERNEL_SETTINGS]
    file.write_text(json.dumps({str(path): path.read_text() for path in paths if path.exists()}))


def restore_kernel_settings(file: Path) -> None:
    """Undo what a kubelet has changed."""
    if not file.exists():
        return
    for path, value in json.loads(file.read_text()).items():
        with contextlib.suppress(OSError):  # then the kubelet couldn't change it either
            Path(path).write_text(value)


def notes(directory: Path) -> list[Path]:
    """What is noted elsewhere of the networks and the logs in a directory."""
    results = [file for file in _CNI_RESULTS.glob("*") if _names(file, directory)]
    return results + [link for link in _LOGS.glob("*.log") if _leads_to(link, directory)]


def _names(file: Path, directory: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return f"{directory}/" in file.read_text()
    return False


def _leads_to(link: Path, directory: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return link.readlink().is_relative_to(directory)
    return False
