"""What the tests of the server share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.server.pets import Pets


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pets]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Pets(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "pets"]:
        del sys.modules[name]
