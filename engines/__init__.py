"""What runs jobs: the engine contract, its errors and the built-in engines.

The contract's names are re-exported here, but loaded on first use, so that the local engine's
launcher, which lives in this package and forks for every job, starts without protobuf.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.base import Capability as Capability
    from engines.base import Changed as Changed
    from engines.base import Contact as Contact
    from engines.base import Engine as Engine
    from engines.base import Event as Event
    from engines.base import Job as Job
    from engines.base import Limits as Limits
    from engines.base import LogChunk as LogChunk
    from engines.base import LogQuery as LogQuery
    from engines.base import LogStream as LogStream
    from engines.base import Reason as Reason
    from engines.base import Removed as Removed
    from engines.base import Snapshot as Snapshot
    from engines.base import State as State
    from engines.base import Status as Status
    from engines.base import spec_hash as spec_hash
    from engines.config import JobManager as JobManager
    from engines.errors import CapabilityMissing as CapabilityMissing
    from engines.errors import EngineError as EngineError
    from engines.errors import EngineFailed as EngineFailed
    from engines.errors import EngineTimeout as EngineTimeout
    from engines.errors import EngineUnavailable as EngineUnavailable
    from engines.errors import FieldViolation as FieldViolation
    from engines.errors import InvalidSpec as InvalidSpec
    from engines.errors import InvalidToken as InvalidToken
    from engines.errors import JobAlreadyExists as JobAlreadyExists
    from engines.errors import JobNotFound as JobNotFound
    from engines.errors import LimitReached as LimitReached
    from engines.errors import UidMismatch as UidMismatch


def __getattr__(name: str) -> object:
    for home in ("engines.base", "engines.errors", "engines.config"):
        if not name.startswith("_") and hasattr(module := importlib.import_module(home), name):
            return getattr(module, name)
    raise AttributeError(f"module 'engines' has no attribute {name!r}")
