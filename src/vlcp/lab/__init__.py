"""The lab: hypervisors as network namespaces with a real Open vSwitch, and machines that are plugged into them.

It serves the demonstration and the tests, needs root, and uses nothing but the standard library and the programs of
`command.PACKAGES`::

    with Lab() as lab:
        hypervisor = lab.add_hypervisor()
        hypervisor.ofctl("add-flow", "br0", "actions=normal")
        alice = hypervisor.add_machine("alice", address="10.0.0.1/24")
        bob = hypervisor.add_machine("bob", address="10.0.0.2/24")
        assert alice.ping("10.0.0.2").lost == 0
"""

from vlcp.lab.cleanup import Remains, cleanup, remains
from vlcp.lab.command import CommandError, LabError, MissingProgramError
from vlcp.lab.controller import Controller, ControllerError
from vlcp.lab.dhcp import Lease
from vlcp.lab.hypervisor import Hypervisor
from vlcp.lab.lab import Lab
from vlcp.lab.machine import Machine
from vlcp.lab.openvswitch import BRIDGE
from vlcp.lab.ping import PingResult

__all__ = [
    "BRIDGE",
    "CommandError",
    "Controller",
    "ControllerError",
    "Hypervisor",
    "Lab",
    "LabError",
    "Lease",
    "Machine",
    "MissingProgramError",
    "PingResult",
    "Remains",
    "cleanup",
    "remains",
]
