"""Modules that manage the running server."""
