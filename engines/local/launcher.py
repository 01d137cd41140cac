"""Forks shims for a server: a small process of one thread, started by exec.

The server itself must never fork (it has threads, and gRPC's state doesn't survive that). It
writes a byte to our standard input for every shim that it wants, and reads from our standard
output which have died. When it is gone we stay for as long as there are shims: whatever a
shim leaves behind when it is killed is handed to us, and we end it.
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

import psutil

from engines.local import child, shim, tree
from engines.local.cgroup import Hierarchy

_FORK_AGAIN_SECONDS: Final = 0.1


class Launcher:
    """The shims of a server."""

    def __init__(self, settings: shim.Settings, queue: int) -> None:
        self._settings = settings
        self._queue = queue
        self._shims: set[int] = set()
        self._wakeup, self._wakeup_end = os.pipe()
        for fd in (self._wakeup, self._wakeup_end):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, shim.wake)

    def run(self) -> None:
        """Serve until the server and all shims are gone."""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        served = True
        while served or self._shims:
            for fd, _ in poll.poll():
                received = os.read(fd, 4096)
                if fd != 0:
                    self._reap()
                elif received:
                    for _ in received:
                        self._fork()
                else:
                    served = False
                    poll.unregister(0)
                    # An idle shim learns of the server's end by the end of the queue.
                    os.close(self._queue)

    def _fork(self) -> None:
        while True:
            try:
                pid = os.fork()
            except OSError:
                self._reap()  # no process to be had at the moment, perhaps for want of this
                time.sleep(_FORK_AGAIN_SECONDS)
            else:
                break
        if pid:
            self._shims.add(pid)
            return
        status = 1
        try:
            # Neither end may keep the server from seeing that the launcher is gone.
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0, inheritable=False)
            os.dup2(null, 1, inheritable=False)
            for fd in (null, self._wakeup, self._wakeup_end):
                os.close(fd)
            shim.serve(self._settings, self._queue)
            status = 0
        except BaseException:  # noqa: BLE001  (the last stop before the process ends)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """End what dead shims have left, and tell the server of each shim that has ended."""
        ended: list[tuple[int, int]] = []
        while (found := _collect())[0]:
            if found[0] in self._shims:
                self._shims.discard(found[0])
                ended.append((found[0], os.waitstatus_to_exitcode(found[1])))
        if any(code for _, code in ended):
            tree.kill(self._orphans, self._reap)
        for pid, code in ended:
            try:
                os.write(1, b"%d %d\n" % (pid, code))
            except OSError:
                return  # there is no server

    def _orphans(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in psutil.Process().children():
            if process.pid not in self._shims:
                found += [process, *tree.descendants(process.pid)]
        return [process for process in found if tree.alive(process)]


def _collect() -> tuple[int, int]:
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 0, 0


def main() -> None:
    """Run a launcher. Arguments: the settings as JSON, and the number of the queue."""
    settings = shim.Settings(*json.loads(sys.argv[1]))
    settings = settings._replace(hierarchies=[Hierarchy(*h) for h in settings.hierarchies])
    queue = int(sys.argv[2])
    os.set_inheritable(queue, False)  # noqa: FBT003
    child.become_subreaper()
    launcher = Launcher(settings, queue)
    gc.collect()
    gc.freeze()  # a collection in a shim would copy every page that we share with it
    launcher.run()
