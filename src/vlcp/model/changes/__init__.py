"""What an API call changes: pure functions of a view and of parameters that are already checked.

Each reads what it depends on and returns an `Outcome`, or raises a `ModelError`; then nothing is written. It may be
called any number of times, so the time and all random values come with the parameters. It reads every key that it
writes: so the store can tell what became of a commit whose reply was lost.
"""
