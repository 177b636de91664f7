"""Programs that use modules, do their work once and end."""
