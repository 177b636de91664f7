"""The console: Python statements carried out inside of the running process, for finding faults.

A session has threads of its own and its own blocking socket, so it goes on while the event loop is held or hangs.
Statements run in the session's thread; what touches the loop is handed over to it.
"""
