"""Loading every module of a package, and what happens when one of them is broken."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlcp.server.config import parse
from vlcp.server.server import Server
from vlcp.service.utils.autoload import AutoLoad

MODULE = "from vlcp.server.module import Module\nclass {0}(Module):\n    pass\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    root = tmp_path / "somedrivers"
    (root / "inner").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "vlan.py").write_text(MODULE.format("VlanDriver"))
    (root / "inner" / "__init__.py").write_text(MODULE.format("InnerDriver"))
    (root / "again.py").write_text("from somedrivers.vlan import VlanDriver\n")
    (root / "typo.py").write_text("def (:\n")
    (root / "tool.py").write_text("raise SystemExit('a program')\n")
    (root / "__main__.py").write_text("raise SystemExit('the program of the package')\n")
    (root / "ending").mkdir()
    (root / "ending" / "__init__.py").write_text("raise SystemExit('a package that is a program')\n")
    (root / "failing.py").write_text(
        MODULE.format("FailingDriver").replace(
            "pass", "async def load(self):\n        raise OSError('no switch')"
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "somedrivers"
    for name in [name for name in sys.modules if name.startswith("somedrivers")]:
        del sys.modules[name]


async def test_all_sound_modules_are_loaded(package: str, caplog: pytest.LogCaptureFixture) -> None:
    server = Server(parse(f"module.autoload.autoloadpackages = ('{package}', 'nosuchpackage')"))
    await server.load(AutoLoad)
    assert set(server.modules) == {"autoload", "vlandriver", "innerdriver"}
    for told in (
        "somedrivers.typo",
        "no switch",
        "nosuchpackage",
        "a program",
        "a package that is a program",
    ):
        assert told in caplog.text
    assert "the program of the package" not in caplog.text
    await server.unload(AutoLoad)
    assert "vlandriver" in server.modules, "what was loaded stays"
    await server.loader.unload_all()


async def test_only_startup_modules_are_counted(package: str, caplog: pytest.LogCaptureFixture) -> None:
    server = Server(
        parse(
            f"server.startup = ('{AutoLoad.__module__}.AutoLoad', '{package}.failing.FailingDriver')\n"
            f"module.autoload.autoloadpackages = ('{package}.inner', '{package}.vlan')"
        )
    )
    with caplog.at_level("INFO"):
        running = asyncio.create_task(server.run())
        await server.ready.wait()
        await asyncio.sleep(0)
        server.stop("enough")
        await running
    assert "1 of 2 startup modules are loaded" in caplog.text
