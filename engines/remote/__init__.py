"""The engine of a server that passes its jobs on to another server."""
