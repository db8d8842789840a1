"""Logging in at servers that want it (OAuth): once by a person, renewed by us."""
