"""Programs of the benchmark that run in processes of their own.

Each takes its arguments as one JSON object and answers in lines of JSON on stdout.
"""

import json
import sys
from typing import Any

import psutil


def arguments() -> dict[str, Any]:
    """What the parent wants."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def cpu_seconds(pid: int) -> float:
    """Processor time of a server so far, with all that it has started."""
    process = psutil.Process(pid)
    spent = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        spent += times.user + times.system + times.children_user + times.children_system
    return float(spent)


def answer(**values: Any) -> None:
    """Tell the parent."""
    print(json.dumps(values), flush=True)
