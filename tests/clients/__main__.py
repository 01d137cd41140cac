"""Runs a command that plays the scenarios: `python -m tests.clients make -C clients/go test`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.clients.stage import Stages, load_cases


def main(command: list[str]) -> int:
    """Serve the stages while the command runs; tell how each case went."""
    with tempfile.TemporaryDirectory() as directory:
        stages = Stages(Path(directory))
        with stages.serving() as url:
            code = subprocess.call(command, env={**os.environ, "JOBENGINE_STAGE": url})
    names = [case["name"] for case in load_cases()]
    results = {name: stages.results.get(name, "not played") for name in names}
    for name, error in results.items():
        print(f"{'ok  ' if not error else 'FAIL'} {name}{': ' * bool(error)}{error}")
    good = sum(not error for error in results.values())
    print(f"{good} of {len(results)} cases are ok; the command exited with {code}")
    return code or int(good < len(results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
