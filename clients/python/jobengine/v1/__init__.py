"""The generated messages and stubs of jobengine.v1; made by `make proto`, not by hand."""
