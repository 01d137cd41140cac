"""The gRPC server: validates calls, answers reads from its mirror, hands writes to the engine."""

import importlib.metadata

__version__ = importlib.metadata.version("jobengine-server")
