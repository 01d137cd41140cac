"""The `jobengine` command, and how it ends."""

import importlib.metadata

import typer

app = typer.Typer()
for ep in importlib.metadata.entry_points(group="jobengine.commands"):
    app.command(name=ep.name)(ep.load())


def main() -> None:
    """Run."""
    app()
