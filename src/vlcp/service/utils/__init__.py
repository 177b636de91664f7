"""Small modules that other modules use."""
