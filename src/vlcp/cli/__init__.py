"""The commands `vlcp` and `vlcp-start`."""
