"""The MCP side: what a client sees of us, and the servers that we call. Frames are parsed JSON objects."""
