"""Modules for finding faults."""
