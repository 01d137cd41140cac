"""The command that asks whether all is well."""

import json

import typer

from jobengine.cli.session import Session, command


@command
def health(session: Session) -> None:
    """Ask the server and its engine how they are; exit 0 if all is well, else 1."""
    from google.protobuf.json_format import MessageToDict

    from jobengine import EngineHealth, JobEngineError, states
    from jobengine.cli.failure import explain

    try:
        with session.client() as client:
            server, service = client.check_health(""), client.check_health()
            engine = client.read_engine()
    except JobEngineError as error:
        typer.echo(explain(error, session), err=True)
        raise typer.Exit(1) from None
    well = server and service and engine.health == EngineHealth.ENGINE_HEALTH_OK
    if session.json:
        told = MessageToDict(engine, preserving_proto_field_name=True)
        typer.echo(json.dumps({"server": server, "service": service, "engine": told}))
    else:
        serving = "serving" if server and service else "not serving"
        state = states.enum_name(EngineHealth, engine.health, "ENGINE_HEALTH_").lower()
        typer.echo(f"server  {serving}  {client.address} {engine.server_version}")
        typer.echo(f"engine  {state}  {engine.name} {engine.version}  {engine.message}".rstrip())
    if not well:
        raise typer.Exit(1)
