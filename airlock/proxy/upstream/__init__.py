"""How calls go out: the servers of the config, each kept alive, by stdio, HTTP or SSE."""
