"""The gateway's HTTP server: sockets, connections, and how requests get from them to the app."""
