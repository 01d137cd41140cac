"""For whoever writes an engine: a project to begin with, and the conformance suite as a command."""
