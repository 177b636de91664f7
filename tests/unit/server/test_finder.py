"""Loading paths that lead nowhere: a message at once, and no program is run by looking for one."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlcp.server.finder import find
from vlcp.server.module import ModuleError, NoSuchModuleError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with a program and a file that ends the process when it is imported."""
    root = tmp_path / "programs"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "__main__.py").write_text("raise KeyboardInterrupt\n")
    (root / "script.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "programs"
    for name in [name for name in sys.modules if name.startswith("programs")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "path",
    ["..", "", ".a.B", "a..B", "a.B.", "a b.C", "a.b/c.D", "a\0.B", "1.2", "x." * 200 + "y", "x" * 1_000_000],
)
def test_what_is_not_a_loading_path(path: str) -> None:
    with pytest.raises(NoSuchModuleError) as told:
        find(path)
    assert len(str(told.value)) < 500


def test_a_file_that_ends_the_process_is_only_a_failure(package: str) -> None:
    with pytest.raises(ModuleError, match=r"importing programs\.script fails: SystemExit"):
        find(f"{package}.script.Module")


def test_searching_similar_paths_runs_no_program(package: str) -> None:
    with pytest.raises(NoSuchModuleError, match=r"no Python module .programs\.scrit"):
        find(f"{package}.scrit.Module")
