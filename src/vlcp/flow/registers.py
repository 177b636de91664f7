"""What the registers of a packet mean on its way through the pipeline (see nicira-ext.h, `NXM_NX_REG`).

reg0 to reg3 are kept free for access lists, connection tracking and address translation.
"""

from __future__ import annotations

IN_NETWORK = "reg4"
"""Number of the logical network that the packet came from."""

OUT_NETWORK = "reg5"
"""Number of the logical network that it goes to: the same until a router changes it."""

OUT_PORT = "reg6"
"""OpenFlow port that it leaves by, or `FLOOD`."""

FLAGS = "reg7"

FLOOD = 0xFFFFFFFF
"""Out port not decided: to all of the network."""

HAIRPIN_BIT = 15
HAIRPIN = 1 << HAIRPIN_BIT
"""Flag: may leave by the port it came in by."""

FROM_LOGICAL = 1 << 14
"""Flag: came from a logical port, not from a physical one."""
