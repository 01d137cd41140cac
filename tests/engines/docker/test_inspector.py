"""What an attempt is taken for, by its container and by what was told of that."""

import pytest

from engines.docker.api import Api
from engines.docker.daemon import Daemon
from engines.docker.history import History
from engines.docker.inspector import Inspector
from engines.docker.settings import About
from engines.lifecycle import facts
from engines.lifecycle.facts import End
from tests.engines.docker.specs import LABELS, NEW_YEAR
from tests.engines.docker.test_container import container

NOW = NEW_YEAR + 7


def inspector(history: History) -> Inspector:
    """One whose daemon is away: what it can say without asking."""
    api = Api(Daemon({"DOCKER_HOST": "unix:///nowhere.sock"}), "tests")
    return Inspector(api, LABELS, About(podman=True), history, lambda: NOW)


@pytest.mark.parametrize("status", ["running", "stopped"])
@pytest.mark.parametrize(
    ("code", "end"),
    [
        (0, End(facts.EXITED, NOW, 0)),
        (3, End(facts.EXITED, NOW, 3)),
        (143, End(facts.EXITED, NOW, None, 15)),
    ],
)
async def test_an_exit_counts_that_podman_has_told_and_does_not_show(
    status: str, code: int, end: End
) -> None:
    history = History()
    history.exits["c1"] = code
    attempt = await inspector(history).attempt(container(status), None)
    assert attempt.end == end


async def test_what_runs_runs() -> None:
    assert (await inspector(History()).attempt(container("running"), None)).end is None
