"""Modules that store."""
