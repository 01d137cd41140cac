"""Headless Chromium, by the few commands of the WebDriver protocol that looking at a page takes."""

import base64
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.examples.waiting import wait_until

CALL_SECONDS = 30


class Browser:
    """One window, 1200 pixels wide, in light colours, unless it is told otherwise."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, url: str) -> None:
        """Load a page."""
        self._call("url", url=url)

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript, and give what it returns."""
        return self._call("execute/sync", script=script, args=arguments)

    def text(self, selector: str) -> str:
        """What a part of the page shows; nothing where there is no such part."""
        found: str = self.run(
            "return document.querySelector(arguments[0])?.innerText ?? ''", selector
        )
        return found

    def wait_for(self, selector: str, text: str) -> None:
        """Wait until a part of the page shows a text."""
        wait_until(lambda: text in self.text(selector), f"{selector} shows {text!r}", self.page)

    def page(self) -> str:
        """All that the page shows."""
        return self.text("body")

    def look(self, file: Path, *, width: int = 1200, scheme: str = "light") -> None:
        """Write a picture of the window."""
        self._cdp(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        file.write_bytes(base64.b64decode(self._call("screenshot", method="GET")))

    def _cdp(self, command: str, **parameters: object) -> None:
        self._call("goog/cdp/execute", cmd=command, params=parameters)

    def _call(self, command: str, *, method: str = "POST", **body: object) -> Any:
        answer = requests.request(
            method,
            f"{self._session}/{command}",
            json=None if method == "GET" else body,
            timeout=CALL_SECONDS,
        )
        value = answer.json()["value"]
        assert answer.ok, value
        return value


@contextmanager
def chromium(directory: Path) -> Generator[Browser]:
    """A browser with a profile of its own."""
    with (directory / "chromedriver.log").open("w") as log:
        driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        url = f"http://127.0.0.1:{_port(driver)}/session"
        flags = [
            "--headless=new",
            "--no-sandbox",  # it would take user namespaces, which containers often lack
            "--disable-dev-shm-usage",
            "--window-size=1200,800",
            f"--user-data-dir={directory / 'profile'}",
        ]
        wanted = {"alwaysMatch": {"goog:chromeOptions": {"args": flags}}}
        made = requests.post(url, json={"capabilities": wanted}, timeout=CALL_SECONDS)
        assert made.ok, made.text
        session = f"{url}/{made.json()['value']['sessionId']}"
        try:
            yield Browser(session)
        finally:
            requests.delete(session, timeout=CALL_SECONDS)
    finally:
        driver.terminate()
        driver.communicate(timeout=CALL_SECONDS)


def _port(driver: "subprocess.Popen[str]") -> int:
    assert driver.stdout is not None
    for line in driver.stdout:
        if "started successfully on port" in line:
            return int(line.rstrip(".\n").rpartition(" ")[2])
    raise AssertionError("chromedriver didn't start")
