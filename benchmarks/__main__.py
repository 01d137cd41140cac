"""`python -m benchmarks`: measure, and print one table."""

import argparse
import dataclasses
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import scale
from benchmarks.figures import Figure
from benchmarks.rows import ROWS
from benchmarks.table import show, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if everything was measured, whatever came out; 1 if something couldn't be."""
    options = _parser().parse_args(arguments)
    counts = scale.QUICK if options.quick else scale.NORMAL
    if options.full:
        counts = dataclasses.replace(
            counts,
            watchers=scale.FULL_WATCHERS,
            listed=scale.FULL_LISTED,
            idle_streams=scale.FULL_IDLE_STREAMS,
            watched_jobs=scale.FULL_WATCHED_JOBS,
            reconnects=scale.FULL_RECONNECTS,
        )
    figures: list[Figure] = []
    failures: list[str] = []
    # One directory for all rows, removed at the very end: right after many files were removed,
    # some file systems (ext4 without a journal) are slow to make new ones.
    with tempfile.TemporaryDirectory(prefix="jobengine-bench-") as directory:
        for name in options.only or ROWS:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            place = Path(directory) / name
            place.mkdir()
            try:
                figures += ROWS[name](place, counts)
            except Exception as error:  # noqa: BLE001  (the other rows are worth having)
                failures.append(f"{name}: {type(error).__name__}: {error}")
    show(figures, failures)
    if options.json is not None:
        write(options.json, figures, failures)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small counts, under three minutes")
    parser.add_argument(
        "--full",
        action="store_true",
        help="10,000 watchers, streams and watched jobs, and 100,000 jobs listed",
    )
    parser.add_argument(
        "--only", action="append", choices=list(ROWS), help="this row; may be given several times"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round to a file")
    return parser


def _end(_number: int, _frame: object) -> None:
    """Leave as by Ctrl-C, so that all that was started is ended."""
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
