"""Why Slurm lets a job wait, for people."""

from typing import Final

from engines import Reason

_WORDS: Final = {
    "Resources": "its resources aren't free yet",
    "Priority": "others are before it in the queue",
    "ReqNodeNotAvail": "a node that it asks for isn't available",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition takes no jobs",
    "PartitionConfig": "its partition can't hold what it asks for",
    "PartitionNodeLimit": "it asks for more than its partition allows",
    "PartitionTimeLimit": "its timeout is longer than its partition allows",
    "BadConstraints": "no node has what it asks for",
    "NodeDown": "a node that it asks for is down",
    "Reservation": "its reservation hasn't begun",
    "ReservationDeleted": "its reservation is gone",
    "Licenses": "licenses that it asks for aren't free",
    "InvalidAccount": "its account isn't valid",
    "InvalidQOS": "its quality of service isn't valid",
    "JobHeldAdmin": "an administrator holds it",
    "JobHeldUser": "somebody holds it",
    "Dependency": "it depends on another one",
    "launch failed requeued held": "its launch failed, and Slurm holds it",
}

_NO_NEWS: Final = frozenset({"", "None", "JobArrayTaskLimit", "BeginTime", "Cleaning", "Prolog"})
"""What every job waits for, for a moment."""

_NO_MATTER_OF_PLACE: Final = ("JobHeld", "Dependency", "launch failed")


def waiting(said: str) -> tuple[str, Reason]:
    """What to tell of a job that waits for this reason."""
    if said in _NO_NEWS:
        return "", Reason.NONE
    word = said.partition(",")[0].strip("()")
    known = _WORDS.get(word, "")
    text = f"Slurm: {known} ({said})" if known else f"Slurm: {said}"
    placeless = said.startswith(_NO_MATTER_OF_PLACE)
    return text, Reason.NONE if placeless else Reason.UNSCHEDULABLE
