"""Records come back as they were written, and damaged ones never read as success."""

import pytest

from engines import Reason, State, Status
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Stop
from engines.slurm import record
from engines.slurm.queue import Batch
from engines.slurm.record import KeptJob
from tests.engines.slurm.specs import intent


def test_a_job_comes_back() -> None:
    kept = KeptJob(intent(labels={"a": "b"}, timeout=1.5), b"\x00spec\n")
    assert record.parse_job(record.encode_job(kept)) == kept


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_torn_job_is_none(cut: int) -> None:
    data = record.encode_job(KeptJob(intent(), b"spec"))
    with pytest.raises(ValueError):
        record.parse_job(data[:cut])


def test_names() -> None:
    assert record.parse_attempt_name(record.attempt_name((3, 2))) == (3, 2)
    name = record.submitted_name(Batch(1, 3, 7), "42")
    assert record.parse_submitted_name(name) == (Batch(1, 3, 7), "42")
    for other in ("run", "stop", "3.x", "new.5.0", "", "3.2.1", name):
        assert record.parse_attempt_name(other) is None
    assert record.parse_submitted_name("0.0") is None


def test_claims() -> None:
    attempt = record.parse_claim((1, 0), "1795831626.5 42.1 n1\n")
    assert attempt[:6] == (1, 0, 1795831626.5, "42", 1, "n1")
    assert record.parse_claim((1, 0), record.encode_claim(5.0, record.NOBODY, "")).node == ""
    assert record.parse_claim((1, 0), "torn").slurm == record.NOBODY


@pytest.mark.parametrize(
    ("text", "end", "stopped"),
    [
        ("exited 0 20.0 0", End(facts.EXITED, 20.0, code=0), False),
        ("exited 3 20.0 1", End(facts.EXITED, 20.0, code=3), True),
        ("exited 128 20.0 0", End(facts.EXITED, 20.0, code=128), False),
        ("exited 137 20.0 0", End(facts.EXITED, 20.0, signal=9), False),
        ("exited 192 20.0 0", End(facts.EXITED, 20.0, signal=64), False),
        ("exited 193 20.0 0", End(facts.EXITED, 20.0, code=193), False),
        ("never-ran 0 20.0 1", End(facts.NEVER_RAN, 20.0), True),
        ("start-failed 127 20.0 0", End(facts.START_FAILED, 20.0), False),
    ],
)
def test_ends(text: str, end: End, stopped: bool) -> None:
    assert record.parse_end(text) == (end, stopped)


@pytest.mark.parametrize("text", ["", "exited", "exited x 20.0 0", "done 0 20.0 0", "exited 0 x 0"])
def test_damaged_ends(text: str) -> None:
    assert record.parse_end(text) is None


def test_decisions() -> None:
    end = End(facts.NODE_LOST, 5.0, message="gone")
    assert record.parse_verdict(record.encode(end), 1.0) == end
    for damaged in (b"", b"{}", b"[]", b"\xff", b"5"):
        assert record.parse_verdict(damaged, 1.0).reason == facts.LOST
        assert record.parse_stop(damaged, facts.DELETED, 2.0) == Stop(facts.DELETED, 2.0, 0.0)
        assert record.parse_status(damaged).state is State.LOST
    stop = Stop(facts.CANCELLED, 5.0, 3.0, "words")
    assert record.parse_stop(record.encode(stop), facts.DELETED, 2.0) == stop
    status = Status(state=State.FAILED, reason=Reason.OOM_KILLED, end_time=5.0, failed=1)
    assert record.parse_status(record.encode_status(status)) == status
