"""The house keeps its order: layers, purity, sizes, names, docstrings and loading paths."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import pytest

import house
from house import ROOT, SourceFile

LONG_FILES: dict[str, str] = {}
"""File -> why it is one file although it is long."""

LOADING_PATHS = """
    vlcp.scripts.script.ScriptModule
    vlcp.service.connection.httpserver.HttpServer
    vlcp.service.connection.jsonrpcserver.JsonRPCServer
    vlcp.service.connection.openflowserver.OpenflowServer
    vlcp.service.connection.redisdb.RedisDB
    vlcp.service.connection.zookeeperdb.ZooKeeperDB
    vlcp.service.debugging.console.Console
    vlcp.service.kvdb.embeddeddb.EmbeddedDB
    vlcp.service.kvdb.objectdb.ObjectDB
    vlcp.service.kvdb.redisnotifier.RedisNotifier
    vlcp.service.kvdb.storage.KVStorage
    vlcp.service.manage.modulemanager.Manager
    vlcp.service.manage.webapi.WebAPI
    vlcp.service.sdn.arpresponder.ARPResponder
    vlcp.service.sdn.dhcpserver.DHCPServer
    vlcp.service.sdn.freearp.FreeARP
    vlcp.service.sdn.icmpresponder.ICMPResponder
    vlcp.service.sdn.ioprocessing.IOProcessing
    vlcp.service.sdn.l2switch.L2Switch
    vlcp.service.sdn.l3router.L3Router
    vlcp.service.sdn.ofpmanager.OpenflowManager
    vlcp.service.sdn.ofpportmanager.OpenflowPortManager
    vlcp.service.sdn.ovsdbmanager.OVSDBManager
    vlcp.service.sdn.ovsdbportmanager.OVSDBPortManager
    vlcp.service.sdn.plugins.networklocaldriver.NetworkLocalDriver
    vlcp.service.sdn.plugins.networknativedriver.NetworkNativeDriver
    vlcp.service.sdn.plugins.networkvlandriver.NetworkVlanDriver
    vlcp.service.sdn.plugins.networkvxlandriver.NetworkVxlanDriver
    vlcp.service.sdn.viperflow.ViperFlow
    vlcp.service.sdn.vrouterapi.VRouterApi
    vlcp.service.sdn.vtepcontroller.VtepController
    vlcp.service.sdn.vxlancast.VXLANCast
    vlcp.service.sdn.vxlanvtep.VXLANVtep
    vlcp.service.utils.autoload.AutoLoad
    vlcp.service.utils.knowledge.Knowledge
    vlcp.service.utils.remoteapi.RemoteCall
    vlcp.service.utils.session.Session
    vlcp.service.web.static.Static
    vlcp_docker.dockerplugin.DockerPlugin
""".split()
"""Where users load modules from."""

USERS_NAMES = {path.rpartition(".")[2] for path in LOADING_PATHS} | {"modulemanager"}
"""Names that configurations and calls mention: they stay, whatever the words in them."""


TO_COME = {"vlcp.service.kvdb.redisnotifier.RedisNotifier"}
"""Classes that are still to come in files that are there."""


def is_present(path: str) -> bool:
    """Whether the file of a loading path is there; the others are still to come."""
    return (
        path not in TO_COME
        and (ROOT / "src" / path.rpartition(".")[0].replace(".", "/")).with_suffix(".py").exists()
    )


@cache
def product() -> list[SourceFile]:
    return house.sources("src")


@cache
def everything() -> list[SourceFile]:
    return house.sources("src", "tests", "bench", "docs")


def agree(complaints: list[str]) -> None:
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


PRODUCT_CHECKS = (
    house.foreign_layers,
    house.impurities,
    house.missing_docstrings,
    house.rules_without_sentence,
    house.features_without_declaration,
    house.exceptions_without_error,
)
GENERAL_CHECKS = (house.long_functions, house.silent_silencers)


@pytest.mark.parametrize("check", PRODUCT_CHECKS, ids=lambda check: check.__name__)
def test_product(check: Callable[[SourceFile], list[str]]) -> None:
    agree([complaint for source in product() for complaint in check(source)])


@pytest.mark.parametrize("check", GENERAL_CHECKS, ids=lambda check: check.__name__)
def test_everything(check: Callable[[SourceFile], list[str]]) -> None:
    agree([complaint for source in everything() for complaint in check(source)])


def test_files_do_not_import_in_circles() -> None:
    agree(house.circles(product()))


def test_packages_do_not_import_in_circles() -> None:
    agree(house.circles(product(), of_packages=True))


def test_half_of_the_functions_are_short() -> None:
    median = house.median_function(product())
    assert median < house.MEDIAN_FUNCTION, f"the median function has {median} lines"


def test_files_are_not_long() -> None:
    long = {source.path: house.long_file(source) for source in everything() if house.long_file(source)}
    agree([complaint for path, found in long.items() if path not in LONG_FILES for complaint in found])
    assert set(LONG_FILES) <= set(long), f"no longer long: {set(LONG_FILES) - set(long)}"


def test_names_say_what_things_are() -> None:
    complaints = [complaint for source in everything() for complaint in house.vague_names(source)]
    agree([text for text in complaints if text.split(": ")[1] not in USERS_NAMES])


def test_every_package_has_an_init() -> None:
    folders = {(ROOT / source.path).parent for source in product()}
    agree(
        [
            f"{folder.relative_to(ROOT)}: no __init__.py"
            for folder in folders
            if not (folder / "__init__.py").exists()
        ]
    )


def test_nothing_points_outside_the_project() -> None:
    wrong = []
    for name in house.tracked_files():
        try:
            wrong += house.outside_places(name, (ROOT / name).read_text())
        except UnicodeDecodeError:
            continue
    agree(wrong)


def test_the_readme_maps_every_package() -> None:
    told = set(re.findall(r"^\| `src/vlcp/(\w+)`", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert told == {source.package for source in product()} - {""}


def test_every_benchmark_is_listed() -> None:
    listed = re.search(
        r"^benchmarks=\((.*?)\)", (ROOT / "bench" / "run").read_text(), re.MULTILINE | re.DOTALL
    )
    assert listed is not None
    assert sorted(listed[1].split()) == sorted(file.stem for file in (ROOT / "bench").glob("*.py"))


def test_documents_link_to_files_that_exist() -> None:
    wrong = []
    for file in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text())
        wrong += [
            f"{file.relative_to(ROOT)}: no {link}" for link in links if not (file.parent / link).exists()
        ]
    agree(wrong)


def test_every_module_imports() -> None:
    agree([trouble for source in product() if (trouble := import_trouble(source.module))])


def import_trouble(module: str) -> str:
    """Why the module cannot be imported; empty when it can. Importing a `__main__` would run it."""
    if module.endswith("__main__"):
        return ""
    try:
        importlib.import_module(module)
    except Exception as error:
        return f"{module}: {type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("path", [*filter(is_present, LOADING_PATHS)])
def test_loading_path_leads_to_a_class(path: str) -> None:
    module, _, name = path.rpartition(".")
    agree([trouble] if (trouble := import_trouble(module)) else [])
    found = getattr(importlib.import_module(module), name, None)
    assert inspect.isclass(found), f"{module} has no class {name}: configurations load {path}"


def test_the_http_library_is_imported_late() -> None:
    """It takes longer than half of the rest, and a controller that starts again has flows to settle first."""
    files = sorted({path.rpartition(".")[0] for path in filter(is_present, LOADING_PATHS)})
    program = "import importlib, sys; [*map(importlib.import_module, sys.argv[1:])]; print('aiohttp' in sys.modules)"
    command = [sys.executable, "-c", program, "vlcp.cli.start", *files]
    environment = {**os.environ, "PYTHONPATH": str(house.SOURCE)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n", "a module imports it before it has a request: see vlcp.web"


def plant(text: str, path: str = "src/vlcp/wire/planted.py") -> SourceFile:
    return SourceFile(path, text)


PLANTED = {
    "layer": (house.foreign_layers, plant("def f():\n    from vlcp.store import mirror\n")),
    "layer, relative": (house.foreign_layers, plant("from ..server import config\n")),
    "layer, one module only": (
        house.foreign_layers,
        plant("import vlcp.store.mirror\n", "src/vlcp/datapath/planted.py"),
    ),
    "layer, unknown package": (house.foreign_layers, plant("", "src/vlcp/attic/planted.py")),
    "async": (house.impurities, plant("async def f(): ...\n")),
    "import in a function": (house.impurities, plant("def f():\n    import time\n")),
    "from import": (house.impurities, plant("from os.path import join\n")),
    "open": (house.impurities, plant("def f():\n    return open('x')\n")),
    "long function": (house.long_functions, plant("def f():\n" + "    pass\n" * 60)),
    "long file": (house.long_file, plant("pass\n" * 401)),
    "file name": (house.vague_names, plant("", "src/vlcp/wire/frame_helpers.py")),
    "class name": (house.vague_names, plant("class PortManager: ...\n")),
    "module docstring": (house.missing_docstrings, plant("x = 1\n")),
    "function docstring": (house.missing_docstrings, plant('"""M."""\ndef f(): ...\n')),
    "api docstring": (
        house.missing_docstrings,
        plant('"""M."""\nclass _C:\n    @api\n    def f(self): ...\n'),
    ),
    "rule without docstring": (house.rules_without_sentence, plant("@rule\ndef f(): ...\n")),
    "rule with two sentences": (
        house.rules_without_sentence,
        plant('@tables.rule(1)\ndef f():\n    """One. Two."""\n'),
    ),
    "feature": (house.features_without_declaration, plant("", "src/vlcp/flow/features/planted.py")),
    "exception": (house.exceptions_without_error, plant("class Broken(ValueError): ...\n")),
    "ignore without code": (house.silent_silencers, plant("x = 1  # type: " + "ignore\n")),
    "noqa without reason": (house.silent_silencers, plant("x = 1  # no" + "qa: E501\n")),
}


@pytest.mark.parametrize(("check", "source"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_found(check: Callable[[SourceFile], list[str]], source: SourceFile) -> None:
    assert len(check(source)) == 1, check(source)
    assert check(source)[0].startswith(source.path + ":")


SOUND = '''"""A sound module."""
from __future__ import annotations
from typing import TYPE_CHECKING
from vlcp.wire import arp
if TYPE_CHECKING:
    from vlcp.wire.ethernet import Frame
class PlantedError(ValueError):
    """Named as it should be."""
@rule
def drop() -> None:
    """Drops what is sent to 192.0.2.1, and nothing else."""
x = 1  # type: ignore[x] because the stub is wrong
'''


def test_a_sound_file_passes() -> None:
    for check in (*PRODUCT_CHECKS, *GENERAL_CHECKS, house.long_file, house.vague_names):
        assert check(plant(SOUND)) == []


def test_a_planted_circle_is_found() -> None:
    ring = [
        plant("from vlcp.wire import b\n", "src/vlcp/wire/a.py"),
        plant("def f():\n    import vlcp.link.c\n", "src/vlcp/wire/b.py"),
        plant("from vlcp.wire.a import x\n", "src/vlcp/link/c.py"),
    ]
    assert house.circles(ring) == ["import circle: vlcp.link.c -> vlcp.wire.a -> vlcp.wire.b -> vlcp.link.c"]
    assert house.circles(ring, of_packages=True) == ["import circle: link -> wire -> link"]
    assert house.circles(ring[:2]) == []


def test_a_planted_address_is_found() -> None:
    places = ("https://py" + "pi.org/simple", "cd /wo" + "rk/main", "see S" + "DN.md")
    assert [len(house.outside_places("x", place)) for place in places] == [1, 1, 1]
    assert house.outside_places("x", "tests/network/wo" + "rk/ and --no-emit-index-url") == []
