"""The command line."""

from jobengine.cli.app import main

__all__ = ["main"]
