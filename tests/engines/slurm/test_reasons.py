"""Why a job waits is told in words; a place that can't be had is UNSCHEDULABLE."""

import pytest

from engines import Reason
from engines.slurm.reasons import waiting


@pytest.mark.parametrize(
    ("said", "words", "reason"),
    [
        ("None", "", Reason.NONE),
        ("", "", Reason.NONE),
        ("JobArrayTaskLimit", "", Reason.NONE),
        ("Resources", "aren't free yet (Resources)", Reason.UNSCHEDULABLE),
        ("BadConstraints", "no node has", Reason.UNSCHEDULABLE),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "UnavailableNodes:n1", Reason.UNSCHEDULABLE),
        ("QOSMaxJobsPerUserLimit", "Slurm: QOSMaxJobsPerUserLimit", Reason.UNSCHEDULABLE),
        ("JobHeldAdmin", "an administrator holds it", Reason.NONE),
        ("Dependency", "depends", Reason.NONE),
    ],
)
def test_words(said: str, words: str, reason: Reason) -> None:
    text, found = waiting(said)
    assert words in text
    assert found is reason
