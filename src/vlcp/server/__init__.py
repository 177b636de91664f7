"""The running program: configuration, modules and their life cycle, and the calls between modules."""
