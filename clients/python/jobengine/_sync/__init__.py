"""The synchronous client: but for its transport, made from `jobengine._async`."""
