"""A small MCP server of our own, so that the example config and the tests run on a bare machine."""
