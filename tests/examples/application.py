"""The Django example as `make up` starts it, to be used and to be harmed."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.examples.waiting import wait_until

DJANGO = Path(__file__).resolve().parents[2] / "examples" / "django"
STOP_SECONDS = 20
CALL_SECONDS = 20

PARTS = {
    "broker": "redis-server",
    "server": "jobengine serve",
    "worker": "celery",
    "watcher": "watch_jobs",
    "web": "uvicorn",
}
"""By part: what the command lines of its processes have."""
RUNNERS = ("bash", "sh", "make", "honcho", "setsid")
"""What starts the parts, and is no part itself."""


class Application:
    """All parts in a directory of their own, and a user who is logged in."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        self.address = f"unix:{directory / 'jobengine.sock'}"
        self._session = requests.Session()
        self._environment = {
            **os.environ,
            "RUN_DIR": str(directory),
            "WEB_PORT": str(port),
            "SWEEP_AFTER_SECONDS": "3",
            "WATCHER_LEASE_SECONDS": "3",
        }
        with self._log.open("a") as log:
            self._make = subprocess.Popen(
                ["make", "-C", DJANGO, "up"],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that it is told of Ctrl-C alone
            )

    def wait_until_up(self, seconds: float) -> None:
        """Wait until all parts are there, and the web answers."""
        wait_until(self._is_up, "all parts run", self.log, seconds=seconds)
        wait_until(self._answers, "the web answers", self.log)

    def log_in(self) -> str:
        """Log in by the form; return the session's cookie."""
        password = (self._directory / "admin-password").read_text().strip()
        self._post("login/", username="admin", password=password)
        return str(self._session.cookies["jobs_session"])

    def submit(self, command: str, image: str = "") -> int:
        """Send the form; return the number of the job."""
        page = self._post("", command=command, image=image)
        found = re.search(r"/jobs/(\d+)/$", page.url)
        assert found, page.text
        return int(found[1])

    def cancel(self, number: int) -> None:
        """Press the button on a job's page."""
        self._post(f"jobs/{number}/cancel/", at=f"jobs/{number}/")

    def kill(self, part: str) -> None:
        """End all processes of a part as a crash would, and wait until others are there."""
        killed = self._wait_for(part)
        for process in killed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(killed, STOP_SECONDS)
        self._wait_for(part)
        if part == "web":
            wait_until(self._answers, "the web answers", self.log)

    def signal(self, part: str, number: signal.Signals) -> None:
        """Send a signal to all processes of a part."""
        for process in self._wait_for(part):
            process.send_signal(number)

    def remove_behind_its_back(self, name: str) -> None:
        """Make the engine forget a job, while its server can't see that."""
        shutil.rmtree(self._directory / "jobengine" / "jobs" / name)

    @contextmanager
    def second_watcher(self) -> Generator[None]:
        """Another watcher, beside the one that `make up` has started."""
        python = Path(os.environ.get("VENV", DJANGO / ".venv")) / "bin" / "python"
        secret = (self._directory / "secret-key").read_text().strip()
        with self._log.open("a") as log:
            watcher = subprocess.Popen(
                [python, DJANGO / "manage.py", "watch_jobs"],
                env={**self._environment, "SECRET_KEY": secret},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield
        finally:
            watcher.terminate()
            assert watcher.wait(STOP_SECONDS) == 0

    def query(self, sql: str, *values: object) -> Sequence[dict[str, Any]]:
        """Ask the database."""
        with closing(self._database()) as database:
            return [dict(row) for row in database.execute(sql, values)]

    def change(self, *statements: tuple[str, object]) -> None:
        """Change the database, in one transaction."""
        with closing(self._database()) as database, database:
            for sql, value in statements:
                database.execute(sql, (value,))

    def states(self) -> dict[int, str]:
        """By number: each job's state."""
        return {row["id"]: row["state"] for row in self.query("SELECT id, state FROM jobs_job")}

    def interrupt(self) -> Sequence[psutil.Process]:
        """Ctrl-C; return which of the processes are left when the command has ended."""
        present = psutil.Process(self._make.pid).children(recursive=True)
        os.killpg(self._make.pid, signal.SIGINT)
        self._make.wait(STOP_SECONDS)
        return [process for process in present if process.is_running()]

    def close(self) -> None:
        """End what is left."""
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._make.pid)
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._make.wait(STOP_SECONDS)

    def log(self) -> str:
        """The end of what all parts printed."""
        return self._log.read_text()[-6000:]

    def _wait_for(self, part: str) -> list[psutil.Process]:
        """The processes of a part, which may just be started again."""
        wait_until(lambda: self._processes(part), f"{part} runs", self.log)
        return self._processes(part)

    def _processes(self, part: str) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self._make.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name() not in RUNNERS and PARTS[part] in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def _is_up(self) -> bool:
        assert self._make.poll() is None, self.log()
        return all(map(self._processes, PARTS))

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}login/", timeout=CALL_SECONDS).ok
        except requests.ConnectionError:
            return False

    def _post(self, path: str, *, at: str = "", **fields: str) -> requests.Response:
        """Send a form as its page does, with the page's token against forged requests."""
        page = self._session.get(self.url + (at or path), timeout=CALL_SECONDS)
        found = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert found, page.text
        answer = self._session.post(
            self.url + path,
            data={"csrfmiddlewaretoken": found[1], **fields},
            headers={"Referer": self.url},
            timeout=CALL_SECONDS,
        )
        assert answer.ok, answer.text
        return answer

    def _database(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._directory / "db.sqlite3", timeout=20)
        database.row_factory = sqlite3.Row
        return database
