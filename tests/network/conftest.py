"""Real switches and machines for the tests. They need root and Open vSwitch; a test without them fails and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from vlcp.lab import Controller, Hypervisor, Lab, Machine, remains

PREFIX = "vtest"


@pytest.fixture(scope="session")
def lab_names() -> Iterator[list[str]]:
    """The names of all the labs of this session; in the end nothing of them may be there."""
    names: list[str] = []
    yield names
    left = {name: str(found) for name in names if (found := remains(name))}
    assert not left, f"labs left behind: {left}"


@pytest.fixture
def lab(lab_names: list[str]) -> Iterator[Lab]:
    """An empty lab."""
    with Lab(PREFIX) as lab:
        lab_names.append(lab.name)
        yield lab


@pytest.fixture
def hypervisor(lab: Lab) -> Hypervisor:
    """A hypervisor without machines; its bridge has no flows, no controller, and fails secure."""
    return lab.add_hypervisor()


@pytest.fixture
def add_machine(hypervisor: Hypervisor) -> Callable[..., Machine]:
    """Makes machines on the hypervisor; see `Hypervisor.add_machine`."""
    return hypervisor.add_machine


@pytest.fixture
def controller(hypervisor: Hypervisor) -> Iterator[Controller]:
    """The real controller, started and connected to the hypervisor's switch."""
    controller = Controller(hypervisor)
    try:
        controller.start()
        yield controller
    finally:
        controller.stop()
