"""Forks shims for a server: a small process of one thread, started by exec.

The server itself must never fork (it has threads, and gRPC's state doesn't survive that). It
writes a byte to our standard input for every shim that it wants, and reads from our standard
output which have died. We end with the server; the shims go on.
"""

import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from typing import Final

from engines.local import shim
from engines.local.cgroup import Hierarchy

_FORK_AGAIN_SECONDS: Final = 0.1


def main() -> None:
    """Serve until the server is gone. Arguments: the settings as JSON, the queue's number."""
    values = json.loads(sys.argv[1])
    tracking, limiting = ([Hierarchy(*h) for h in values.pop()] for _ in range(2))
    settings = shim.Settings(*values, limiting, tracking)
    queue = int(sys.argv[2])
    os.set_inheritable(queue, False)  # noqa: FBT003
    wakeup, wakeup_end = os.pipe()
    for fd in (wakeup, wakeup_end):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()  # a collection in a shim would copy every page that we share with it
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(wakeup, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            received = os.read(fd, 4096)
            if not received:
                return
            if fd == 0:
                for _ in received:
                    _fork(settings, queue, (wakeup, wakeup_end))
            else:
                _report()


def _fork(settings: shim.Settings, queue: int, fds: tuple[int, int]) -> None:
    while True:
        try:
            pid = os.fork()
        except OSError:
            time.sleep(_FORK_AGAIN_SECONDS)  # no process to be had at the moment
        else:
            break
    if pid:
        return
    status = 1
    try:
        # Neither end may keep the server from seeing that the launcher is gone.
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0, inheritable=False)
        os.dup2(null, 1, inheritable=False)
        for fd in (null, *fds):
            os.close(fd)
        shim.serve(settings, queue)
        status = 0
    except BaseException:  # noqa: BLE001  (the last stop before the process ends)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _report() -> None:
    """Tell the server of every shim that has ended: its PID, its exit code or -signal."""
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            os.write(1, b"%d %d\n" % (ended[0], os.waitstatus_to_exitcode(ended[1])))
    except (ChildProcessError, BrokenPipeError):
        pass
