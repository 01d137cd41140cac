"""Servers behind proxies, which suites in any language set up and break over HTTP.

SCENARIOS.md says what there is to be asked.
"""

import itertools
import json
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, cast

from tests.clients.guard import Guard, write
from tests.clients.proxy import Proxy
from tests.clients.server import Server
from tests.faults import processes

SCENARIOS = Path(__file__).with_name("scenarios.json")
_OF_STAGES = ("engine", "options", "tls", "tokens", "policy")


class Stage:
    """A server of its own with a proxy in front of it, and a directory for its jobs."""

    def __init__(
        self,
        directory: Path,
        *,
        engine: str = "local",
        options: Sequence[str] = (),
        tls: bool = False,
        tokens: str = "",
        policy: str = "",
    ) -> None:
        self.directory = directory / "case"
        self._state_dir = directory / "state"
        self._guard = Guard(directory / "guard", tls=tls, tokens=tokens, policy=policy)
        self._server = Server(engine, self._state_dir, *options, *self._guard.options)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True)
        (self.directory / "ca.crt").write_bytes(self._guard.authority)
        with ExitStack() as stack:
            # Jobs of the local engine outlive its server: those that wait for this file end now.
            stack.callback(processes.kill_all, self.directory, self._state_dir)
            stack.callback((self.directory / "go").touch)
            stack.callback(self._server.close)
            self._server.start()
            self._proxy = stack.enter_context(Proxy(self._server.address))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def address(self) -> str:
        """The proxy's address."""
        return self._proxy.address

    @property
    def direct(self) -> str:
        """The server's own address."""
        return self._server.address

    def do(self, action: str, *, file: str = "", text: str = "") -> None:
        """Break or mend something.

        Raises:
            KeyError: there is no such action.
        """
        actions: dict[str, Callable[[], object]] = {
            "kill": self._server.kill,
            "stop": self._server.terminate,
            "start": self._server.start,
            "restart": self._restart,
            "cut": self._proxy.cut,
            "silence": self._proxy.fall_silent,
            "block": self._proxy.block,
            "unblock": self._proxy.unblock,
            "release": (self.directory / file).touch,
            "write": lambda: write(self.directory / file, text),
            "tokens": lambda: self._guard.exchange_tokens(self.direct, text),
            "certificate": lambda: self._guard.exchange_certificate(self.direct),
        }
        actions[action]()

    def _restart(self) -> None:
        self._server.terminate()
        self._server.start()


class Stages:
    """The HTTP server that a suite finds at JOBENGINE_STAGE."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count()
        self._stages: dict[str, Stage] = {}
        self.results: dict[str, str] = {}
        """By case: what went wrong, or nothing."""

    @contextmanager
    def serving(self) -> Generator[str]:
        """Serve; the address, as a URL."""

        class Handler(_Handler):
            stages = self

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
            thread = threading.Thread(target=http.serve_forever, name="stages")
            thread.start()
            try:
                yield f"http://127.0.0.1:{http.server_port}"
            finally:
                http.shutdown()
                thread.join(10)
                for number in list(self._stages):
                    self.remove(number)

    def add(self, case: Mapping[str, Any]) -> dict[str, str]:
        """Set the stage for a case."""
        number = str(next(self._numbers))
        stage = Stage(self._directory / number, **wanted(case)).__enter__()
        self._stages[number] = stage
        return {
            "id": number,
            "address": stage.address,
            "direct": stage.direct,
            "directory": str(stage.directory),
        }

    def remove(self, number: str) -> None:
        """Take a stage down."""
        self._stages.pop(number).__exit__()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, str]:
        """Answer a POST.

        Raises:
            KeyError: there is no such path, stage or action.
        """
        if path == "/stages":
            return self.add(body)
        if path == "/results":
            self.results[body["case"]] = body["error"]
            return {}
        stage = self._stages[path.removeprefix("/stages/")]
        stage.do(body["do"], file=body.get("file", ""), text=body.get("text", ""))
        return {}


class _Handler(BaseHTTPRequestHandler):
    stages: Stages

    def do_GET(self) -> None:
        if self.path == "/scenarios":
            self._answer(HTTPStatus.OK, SCENARIOS.read_bytes())
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            answer = self.stages.post(self.path, body)
        except KeyError as error:
            self._answer(HTTPStatus.NOT_FOUND, json.dumps({"unknown": str(error)}).encode())
        else:
            self._answer(HTTPStatus.OK, json.dumps(answer).encode())

    def do_DELETE(self) -> None:
        self.stages.remove(self.path.removeprefix("/stages/"))
        self._answer(HTTPStatus.OK, b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Not in the output of the tests."""

    def _answer(self, status: HTTPStatus, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        # Some clients take silence for a promise to keep the connection (the JDK's, of HTTP/1.0).
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def wanted(case: Mapping[str, Any]) -> dict[str, Any]:
    """What a case says of its stage."""
    return {key: case[key] for key in _OF_STAGES if key in case}


def load_cases() -> list[dict[str, Any]]:
    """The cases of scenarios.json."""
    return cast("list[dict[str, Any]]", json.loads(SCENARIOS.read_text())["cases"])
