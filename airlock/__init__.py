"""Airlock stands between an AI agent and its tools and decides every call by one policy."""

__version__ = "0.1.0"
