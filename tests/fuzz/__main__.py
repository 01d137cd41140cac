"""Runs the fuzzer from the command line."""

from tests.fuzz.run import main

if __name__ == "__main__":
    main()
