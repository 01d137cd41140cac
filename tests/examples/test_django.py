"""The Django example, end to end: each of its parts is killed, and nothing is lost or done twice.

JOBENGINE_REQUIRE_EXAMPLES=django makes it fail, rather than be skipped, where it can't run.
"""

import os
import shlex
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from jobengine import Client, is_terminal, state_name
from tests.examples.application import Application
from tests.examples.browser import Browser, chromium
from tests.examples.waiting import wait_until

ENDS = ("SUCCEEDED", "FAILED", "CANCELLED", "LOST", "REFUSED")
TOOLS = ("make", "redis-server", "chromium", "chromedriver")
INSTALL_SECONDS = 240

pytestmark = [pytest.mark.engine("local"), pytest.mark.timeout(INSTALL_SECONDS + 120)]


class Jobs:
    """Jobs that note themselves that they ran."""

    def __init__(self, application: Application, directory: Path) -> None:
        self._application = application
        self._directory = directory
        self.expected: dict[int, str] = {}
        """By number: how each has to end."""
        self._notes: dict[int, Path] = {}

    def submit(self, script: str, state: str) -> int:
        """Submit a job that notes its run, then does what the script says."""
        note = self._directory / f"ran-{len(self._notes)}"
        command = shlex.join(["sh", "-c", f"echo ran >> {note}; {script}"])
        number = self._application.submit(command)
        self.expected[number], self._notes[number] = state, note
        return number

    def submit_each_kind(self) -> int:
        """Submit one job of each kind; return the one that runs until it is cancelled."""
        self.submit("sleep 0.3", "SUCCEEDED")
        self.submit("sleep 0.2; exit 3", "FAILED")
        self.submit("kill -9 $$", "FAILED")
        return self.submit("exec sleep 1000", "CANCELLED")

    def wait_until_it_runs(self, number: int) -> None:
        wait_until(self._notes[number].exists, f"{number} runs", self._application.log)

    def runs(self) -> dict[int, int]:
        """By number: how often each ran."""
        return {
            number: len(note.read_text().splitlines()) if note.exists() else 0
            for number, note in self._notes.items()
        }


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Generator[Application]:
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        problem = f"django: no {', '.join(missing)} here; see tests/examples/install"
        if "django" in os.environ.get("JOBENGINE_REQUIRE_EXAMPLES", "").split(","):
            pytest.fail(problem)
        pytest.skip(problem)
    application = Application(tmp_path_factory.mktemp("django"))
    try:
        application.wait_until_up(INSTALL_SECONDS)
        application.log_in()
        yield application
    finally:
        application.close()


@pytest.fixture
def jobs(application: Application, tmp_path: Path) -> Jobs:
    return Jobs(application, tmp_path)


@pytest.fixture
def browser(application: Application, tmp_path: Path) -> Generator[Browser]:
    """A browser with the user's session."""
    with chromium(tmp_path) as browser:
        browser.open(f"{application.url}login/")
        browser.run(
            "document.cookie = arguments[0]", f"jobs_session={application.log_in()}; path=/"
        )
        yield browser


def test_each_part_killed_once(application: Application, jobs: Jobs) -> None:
    for part in ("worker", "watcher", "web", "server"):
        long = jobs.submit_each_kind()
        wait_until(lambda: any(jobs.runs().values()), "a job runs", application.log)
        application.kill(part)
        jobs.submit("true", "SUCCEEDED")
        jobs.wait_until_it_runs(long)
        application.cancel(long)
    assert_all_well(application, jobs)


def test_broker_killed_with_all_its_tasks(application: Application, jobs: Jobs) -> None:
    application.signal("worker", signal.SIGSTOP)
    try:
        long = jobs.submit_each_kind()
        application.kill("broker")
    finally:
        application.signal("worker", signal.SIGCONT)
    jobs.wait_until_it_runs(long)
    application.cancel(long)
    assert_all_well(application, jobs)


def test_cancelled_before_it_was_started(application: Application, jobs: Jobs) -> None:
    application.signal("worker", signal.SIGSTOP)
    try:
        number = jobs.submit("true", "CANCELLED")
        application.cancel(number)
    finally:
        application.signal("worker", signal.SIGCONT)
    assert_all_well(application, jobs)


def test_worker_killed_between_call_and_commit(application: Application, jobs: Jobs) -> None:
    """What is left then: the service has the job, and the row knows nothing of it."""
    number = jobs.submit("true", "SUCCEEDED")
    assert_all_well(application, jobs)
    application.change(
        ("DELETE FROM jobs_jobevent WHERE job_id = ? AND state <> 'QUEUED'", number),
        ("UPDATE jobs_job SET state = 'QUEUED', uid = '', end_time = NULL WHERE id = ?", number),
    )
    assert_all_well(application, jobs)


def test_watcher_frozen_and_replaced(application: Application, jobs: Jobs) -> None:
    """Two watchers: the lease has one of them write, also when one comes back that has lost it."""
    with application.second_watcher():
        application.signal("watcher", signal.SIGSTOP)
        try:
            jobs.submit("exit 3", "FAILED")
            assert_all_well(application, jobs)
        finally:
            application.signal("watcher", signal.SIGCONT)
        wait_until(lambda: "LeaseLost" in application.log(), "it notices", application.log)
        jobs.submit("true", "SUCCEEDED")
        assert_all_well(application, jobs)
    jobs.submit("true", "SUCCEEDED")
    assert_all_well(application, jobs)


def test_refused(application: Application) -> None:
    number = application.submit("true", image="busybox")
    wait_until(lambda: application.states()[number] == "REFUSED", "refused", application.log)
    (row,) = application.query("SELECT violations FROM jobs_job WHERE id = ?", number)
    assert "spec.image" in str(row["violations"])


def test_deleted_at_the_service(application: Application, jobs: Jobs) -> None:
    number = jobs.submit("exec sleep 1000", "CANCELLED")
    wait_until(lambda: application.states()[number] == "RUNNING", "it runs", application.log)
    with Client(application.address) as client:
        client.delete_job(name_of(application, number), grace_seconds=0)
    assert_forgotten(application, number, "CANCELLED")


def test_removed_while_nobody_watched(application: Application, jobs: Jobs, tmp_path: Path) -> None:
    """A watcher goes on from its cursor; then its server dies, and the next one lacks a job."""
    end = tmp_path / "end"
    number = jobs.submit(f"until [ -e {end} ]; do sleep 0.05; done", "LOST")
    wait_until(lambda: application.states()[number] == "RUNNING", "it runs", application.log)
    application.kill("watcher")
    other = jobs.submit("true", "SUCCEEDED")
    wait_until(lambda: application.states()[other] == "SUCCEEDED", "watched", application.log)
    application.signal("server", signal.SIGSTOP)
    application.remove_behind_its_back(name_of(application, number))
    application.kill("server")
    end.touch()
    assert_forgotten(application, number, "LOST")


def test_pages(application: Application, jobs: Jobs, browser: Browser, tmp_path: Path) -> None:
    browser.open(application.url)
    browser.run("window.loadedOnce = true")
    go_on = tmp_path / "go-on"
    script = f"echo '<b>one</b> ü'; until [ -e {go_on} ]; do sleep 0.05; done; echo two >&2; exit 3"
    number = jobs.submit(script, "FAILED")
    browser.wait_for("tbody tr:first-child .state", "Running")
    jobs.submit("true", "SUCCEEDED")
    browser.wait_for("tbody tr:first-child .state", "Succeeded")
    assert browser.run("return window.loadedOnce")

    browser.open(f"{application.url}jobs/{number}/")
    browser.run("window.loadedOnce = true")
    browser.wait_for("#logs", "<b>one</b> ü")
    application.kill("web")
    go_on.touch()
    browser.wait_for("#logs", "two")
    browser.wait_for(".status", "exit code 3")
    assert browser.text("#logs") == "<b>one</b> ü\ntwo\n"
    assert browser.run("return window.loadedOnce")
    assert (
        browser.run("return getComputedStyle(document.querySelector('.cancel')).display") == "none"
    )


def test_ctrl_c_leaves_nothing(application: Application, jobs: Jobs) -> None:
    number = jobs.submit("exec sleep 1000", "CANCELLED")
    wait_until(lambda: application.states()[number] == "RUNNING", "it runs", application.log)
    assert not application.interrupt()


def assert_all_well(application: Application, jobs: Jobs) -> None:
    """Each job ran once and has one end, the one that it should and that the service tells."""
    numbers = jobs.expected.keys()
    wait_until(
        lambda: all(application.states()[number] in ENDS for number in numbers),
        "all have ended",
        lambda: f"{application.states()}\n{application.log()}",
    )
    states = application.states()
    assert {number: states[number] for number in numbers} == jobs.expected
    marks = ", ".join("?" * len(ENDS))
    ends = application.query(f"SELECT job_id FROM jobs_jobevent WHERE state IN ({marks})", *ENDS)
    assert sorted(row["job_id"] for row in ends if row["job_id"] in numbers) == sorted(numbers)
    runs = jobs.runs()
    with Client(application.address) as client:
        for number in numbers:
            (row,) = application.query("SELECT name, uid FROM jobs_job WHERE id = ?", number)
            if states[number] == "CANCELLED" and not row["uid"]:
                assert not runs[number]  # cancelled before anybody tried to start it
                continue
            assert runs[number] == 1
            status = client.read_status(row["name"])
            assert is_terminal(status)
            assert state_name(status) == states[number]


def assert_forgotten(application: Application, number: int, state: str) -> None:
    """The service has forgotten a job, and the row says so, and why it is in its state."""
    sql = "SELECT state, reason FROM jobs_job WHERE id = ? AND removed_at IS NOT NULL"
    wait_until(lambda: application.query(sql, number), "it is noted", application.log)
    assert application.query(sql, number) == [{"state": state, "reason": "DELETED"}]


def name_of(application: Application, number: int) -> str:
    (row,) = application.query("SELECT name FROM jobs_job WHERE id = ?", number)
    return str(row["name"])
