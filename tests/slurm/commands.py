"""Slurm's commands as a server finds them in PATH: as they are, until one is to go wrong."""

import os
from pathlib import Path

from tests.slurm.available import PATH

_NAMES = ("sbatch", "squeue", "scontrol", "scancel", "sacct")

# The counter goes up by a line, so that commands which run at once don't take the same number.
_WRAPPER = """\
#!/bin/sh
PATH={path}
here={here}
name={name}
echo x >> "$here/$name.count"
if mv "$here/$name.fault" "$here/$name.fault.$$" 2> /dev/null; then
    fault=$(cat "$here/$name.fault.$$")
    case $fault in
        "kill before") kill -KILL $PPID; exit 1 ;;
        "kill after") "$name" "$@" > /dev/null; kill -KILL $PPID; exit 1 ;;
        "hang after") "$name" "$@" > /dev/null; : > "$here/$name.hangs"; exec sleep 600 ;;
        "fail after") "$name" "$@" > /dev/null ;;
    esac
    echo "$name: error: Socket timed out on send/recv operation" >&2
    exit 1
fi
exec "$name" "$@"
"""

FAULTS = ("kill before", "kill after", "hang after", "fail before", "fail after")
"""What may happen to the next call of a command: the server is killed before or after it was
carried out; or it was carried out, or not, and says that it got no answer, or never says a word."""


class Commands:
    """Wrappers of Slurm's commands in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        for name in _NAMES:
            wrapper = directory / name
            wrapper.write_text(_WRAPPER.format(path=PATH, here=directory, name=name))
            wrapper.chmod(0o755)

    @property
    def path(self) -> str:
        """What a server takes for PATH."""
        return os.pathsep.join((str(self._directory), PATH))

    def fail_next(self, name: str, fault: str) -> None:
        """Have the next call of a command go wrong."""
        assert fault in FAULTS
        new = self._directory / f"{name}.new"
        new.write_text(fault)
        new.replace(self._directory / f"{name}.fault")

    def count(self, name: str) -> int:
        """How often a command was called so far."""
        counted = self._directory / f"{name}.count"
        return len(counted.read_text().splitlines()) if counted.exists() else 0

    def has_failed(self, name: str) -> bool:
        """Whether what was to go wrong has come about, or begun to."""
        return any(self._directory.glob(f"{name}.fault.*"))
