"""The Kubernetes engine: runs jobs as batch/v1 Jobs of one namespace."""
