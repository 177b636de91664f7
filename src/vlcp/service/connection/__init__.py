"""Modules that listen or connect."""
