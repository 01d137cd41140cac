"""The floor of running commands: posix_spawn and wait, one after another."""

import os
import shutil
import time

from benchmarks.loads import answer, arguments, cpu_seconds


def main(*, count: int) -> None:
    """Run `true` so many times."""
    command = shutil.which("true")
    assert command is not None
    began, cpu = time.perf_counter(), cpu_seconds(os.getpid())
    for _ in range(count):
        pid = os.posix_spawn(command, ["true"], dict(os.environ))
        _, status = os.waitpid(pid, 0)
        assert status == 0
    elapsed, busy = time.perf_counter() - began, cpu_seconds(os.getpid()) - cpu
    answer(per_second=count / elapsed, cpu_seconds=busy / count)


if __name__ == "__main__":
    main(**arguments())
