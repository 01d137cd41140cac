"""Programs of the benchmark that run in processes of their own.

Each takes its arguments as one JSON object and answers in lines of JSON on stdout.
"""

import json
import sys
from typing import Any


def arguments() -> dict[str, Any]:
    """What the parent wants."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def answer(**values: Any) -> None:
    """Tell the parent."""
    print(json.dumps(values), flush=True)
