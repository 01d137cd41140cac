"""What the tests of deploy/ share: one image, built once in a run."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.docker.fixtures import Reachable


@pytest.fixture(scope="session")
def image(dockerd: "Reachable", tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the server's image, on the Docker daemon of this run."""
    from tests.deploy import images

    images.build(dockerd.host, tmp_path_factory.mktemp("image"))
    return images.IMAGE
