"""The command line, as `python -m jobengine`."""

from jobengine.cli import main

main()
