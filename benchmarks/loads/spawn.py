"""The floor of running commands: posix_spawn and wait, one after another."""

import os
import shutil
import time

from benchmarks.loads import answer, arguments


def main(*, count: int) -> None:
    """Run `true` so many times."""
    command = shutil.which("true")
    assert command is not None
    began = time.perf_counter()
    for _ in range(count):
        pid = os.posix_spawn(command, ["true"], dict(os.environ))
        _, status = os.waitpid(pid, 0)
        assert status == 0
    answer(per_second=count / (time.perf_counter() - began))


if __name__ == "__main__":
    main(**arguments())
