"""Modules that control switches."""
