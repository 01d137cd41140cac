"""The Docker engine: runs images as containers of a Docker daemon, or of Podman's like it."""

from engines.docker.engine import DockerEngine as DockerEngine
