"""A server before another one, as real processes."""

from tests.faults.server import FaultyServer


class Front(FaultyServer):
    """Passes its jobs on to another server."""

    def __init__(self, far: FaultyServer) -> None:
        super().__init__(far.state_dir.with_name("front"))
        self.far = far

    def engine_options(self) -> tuple[str, ...]:
        return "--engine", "remote", "--remote-address", self.far.address


class Chain(Front):
    """Both as if they were one: it is ended at one place or the other, in turn, or at both."""

    def __init__(self, far: FaultyServer) -> None:
        super().__init__(far)
        self._ends = 0

    def start(self, fault: str = "") -> None:
        """Start what doesn't run."""
        if self.far._process is None:
            self.far.start()
        if self._process is None:
            super().start(fault)

    def kill(self) -> None:
        self._ends += 1
        if self._ends % 3 != 1:
            self.far.kill()
        if self._ends % 3 != 2:
            super().kill()

    def terminate(self) -> int:
        self._ends += 1
        codes = [self.far.terminate()] if self._ends % 3 != 1 else []
        codes += [super().terminate()] if self._ends % 3 != 2 else []
        return max(codes)

    def close(self) -> None:
        super().close()
        self.far.close()
