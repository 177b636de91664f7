"""How long a test searches: as long as it says, or much longer with `PROOF=1` in the environment."""

from __future__ import annotations

import os

PROOF = os.environ.get("PROOF") == "1"


def effort(usual: int) -> int:
    """A number of rounds or examples: `range(effort(50))`, `@settings(max_examples=effort(300))`."""
    return usual * 50 if PROOF else usual
