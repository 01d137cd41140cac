"""What Slurm's commands say is read as it is meant, and nothing else is taken for ours."""

import pytest

from engines.slurm.queue import (
    Batch,
    Ended,
    make_comment,
    parse_accounting,
    parse_comment,
    parse_config,
    parse_job,
    parse_queue,
    parse_tasks,
)

BATCH = Batch(0, 0, 4)
COMMENT = make_comment("ab12", "uid1", BATCH)


def line(**given: str) -> str:
    fields = {
        "comment": COMMENT,
        "name": "job",
        "id": "7",
        "array": "7",
        "tasks": "N/A",
        "state": "RUNNING",
        "end": "1795831626",
        "node": "n1",
        "reason": "None",
    }
    return "|".join({**fields, **given}.values())


def test_a_comment_comes_back() -> None:
    assert parse_comment(COMMENT) == ("ab12", "uid1", BATCH)
    assert list(Batch(2, 5, 6).keys) == [(5, 2), (6, 2)]
    assert BATCH.size == 5


@pytest.mark.parametrize(
    "comment", ["", "(null)", "mine", "jobengine:ab12:uid1", f"{COMMENT} ", "jobengine:a:b:0.0-x"]
)
def test_comments_of_others(comment: str) -> None:
    assert parse_comment(comment) is None
    assert parse_queue(line(comment=comment), "ab12") == []


def test_other_directories_are_left_out() -> None:
    assert parse_queue(line(), "cd34") == []


def test_a_running_task_and_those_that_wait() -> None:
    text = "\n".join(
        [
            line(id="8", tasks="0"),
            line(tasks="[1,3-4%2]", state="PENDING", end="N/A", node="n/a", reason="a|b"),
        ]
    )
    running, waiting = parse_queue(text, "ab12")
    assert (running.id, running.array, running.node) == ("8", "7", "n1")
    assert running.end_time == 1795831626.0
    assert list(running.keys) == [(0, 0)]
    assert list(waiting.keys) == [(1, 0), (3, 0), (4, 0)]
    assert (waiting.node, waiting.end_time, waiting.reason) == ("", None, "a|b")
    assert not waiting.ended


def test_a_job_without_array_is_its_batch() -> None:
    (entry,) = parse_queue(line(comment=make_comment("ab12", "u", Batch(2, 6, 6))), "ab12")
    assert list(entry.keys) == [(6, 2)]


def test_later_arrays_begin_at_their_first_instance() -> None:
    comment = make_comment("ab12", "u", Batch(0, 1001, 1003))
    (entry,) = parse_queue(line(comment=comment, tasks="2"), "ab12")
    assert list(entry.keys) == [(1003, 0)]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("N/A", []),
        ("3", [3]),
        ("[0-2]", [0, 1, 2]),
        ("[0-2%1]", [0, 1, 2]),
        ("[1,5-9:2%3]", [1, 5, 7, 9]),
        ("0-1,4", [0, 1, 4]),
    ],
)
def test_task_numbers(text: str, numbers: list[int]) -> None:
    assert [task for tasks in parse_tasks(text) for task in tasks] == numbers


def test_a_job_as_scontrol_has_it() -> None:
    text = (
        f"JobId=9 ArrayJobId=7 JobName=job UserId=root(0) JobState=FAILED Reason=NonZeroExitCode "
        f"Requeue=0 Restarts=1 ExitCode=3:0 EndTime=1795831700 BatchHost=n1 Comment={COMMENT} "
    )
    said = parse_job(text)
    assert (said.state, said.exit_code, said.signal, said.time) == ("FAILED", 3, 0, 1795831700.0)
    assert (said.node, said.restarts, said.uid) == ("n1", 1, "uid1")
    assert parse_job("JobId=9 JobState=PENDING EndTime=Unknown").time is None


def test_accounting() -> None:
    text = (
        "5|CANCELLED by 1000|0:0|1795831600|1795831626|n1\n"
        "6|FAILED|3:0|1795831600|1795831626|n1\nnonsense\n"
    )
    found = parse_accounting(text)
    assert (found["5"].state, found["5"].by) == ("CANCELLED", "1000")
    assert (found["6"].exit_code, found["6"].by, found["6"].node) == (3, "", "n1")
    assert found["6"].began_near(1795831610.0)
    assert not found["6"].began_near(1795831000.0)
    assert not Ended("FAILED").began_near(0.0)


def test_configuration() -> None:
    text = "Configuration data as of x\nMaxArraySize            = 1001\nGresTypes     = gpu\n"
    assert parse_config(text)["MaxArraySize"] == "1001"
