"""Runs commands of this machine as jobs that outlive the server.

The engine is loaded on first use: the launcher lives in this package too, and has to stay
small because it forks for every job.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.local.engine import LocalEngine as LocalEngine


def __getattr__(name: str) -> object:
    if name == "LocalEngine":
        from engines.local.engine import LocalEngine

        return LocalEngine
    raise AttributeError(f"module 'engines.local' has no attribute {name!r}")
