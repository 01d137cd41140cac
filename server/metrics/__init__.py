"""What a server tells Prometheus, and the HTTP port that tells it."""

from server.metrics.collector import Metrics
from server.metrics.endpoint import Endpoint
from server.metrics.jobs import JobTally
from server.metrics.rpcs import Call, Rpc

__all__ = ["Call", "Endpoint", "JobTally", "Metrics", "Rpc"]
