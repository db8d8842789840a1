"""The MCP side: how clients come in (`front`), one client (`session`), how calls go out (`upstream`)."""
