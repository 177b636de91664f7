"""The rules of the house: what source files may say, and checks that name the place where one says something else.

A check takes sources and returns complaints, one line each: `file:line: what is wrong`. An empty list is consent.
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import subprocess
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"

_BELOW_SERVICE = (
    *("wire", "derive", "model", "flow", "link", "store", "datapath"),
    *("server", "web", "console"),
)
LAYERS: dict[str, tuple[str, ...]] = {
    "wire": (),
    "derive": (),
    "server": (),
    "lab": (),
    "model": ("derive",),
    "flow": ("wire", "derive", "model"),
    "link": ("wire",),
    "store": ("derive",),
    "datapath": ("wire", "derive", "model", "flow", "link", "store.contract"),
    "web": ("server",),
    "console": ("server",),
    "service": _BELOW_SERVICE,
    "scripts": (*_BELOW_SERVICE, "service", "start"),
    "cli": ("server", "store", "model", "lab"),
}
"""Package of vlcp -> what it may import besides itself: packages, or single modules of a package."""

PURE = ("wire", "derive", "model", "flow")
"""Packages whose functions depend on nothing but their arguments."""

IMPURE_MODULES = frozenset(
    "asyncio aiohttp concurrent importlib io logging multiprocessing os pathlib random secrets select selectors "
    "shutil signal socket sqlite3 ssl subprocess tempfile threading time uuid".split()
)
IMPURE_CALLS = frozenset({"open", "print", "input", "__import__"})

LONGEST_FUNCTION = 60
MEDIAN_FUNCTION = 10
LONGEST_FILE = 400
VAGUE_WORDS = frozenset("common helper helpers manager misc util utils".split())
"""Words that say nothing about what a file or class is for."""


@dataclass(frozen=True)
class SourceFile:
    """One Python file. `path` is relative to the project, `module` its dotted name (`vlcp.wire.arp`)."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def module(self) -> str:
        dotted = self.path.removeprefix("src/").removesuffix(".py").replace("/", ".")
        return dotted.removesuffix(".__init__")

    @property
    def package(self) -> str:
        """The package of vlcp that the file is in: `wire`; empty for a file outside all of them."""
        parts = self.path.removeprefix("src/").split("/")
        return parts[1] if parts[0] == "vlcp" and len(parts) > 2 else ""

    def at(self, line: int, complaint: str) -> str:
        return f"{self.path}:{line}: {complaint}"

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function, nested ones included."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))


@dataclass(frozen=True)
class Import:
    """One imported name: `vlcp.wire.arp`, or with `from` the module and the name in it."""

    line: int
    module: str
    name: str | None
    for_types: bool
    """Under `if TYPE_CHECKING`: not there when the program runs."""

    @property
    def target(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


def sources(*folders: str) -> list[SourceFile]:
    """The Python files below folders of the project."""
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return [SourceFile(str(file.relative_to(ROOT)), file.read_text()) for file in files]


def tracked_files() -> list[str]:
    """What belongs to the project: git's list, or in an unpacked archive everything."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        return [name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    return [str(file.relative_to(ROOT)) for file in ROOT.rglob("*") if file.is_file()]


def imports(source: SourceFile) -> Iterator[Import]:
    """Every import, those inside functions included."""
    for_types = {
        id(inner) for node in ast.walk(source.tree) if _type_checking(node) for inner in ast.walk(node)
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, None, id(node) in for_types)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(node.lineno, _origin(source, node), alias.name, id(node) in for_types)


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _origin(source: SourceFile, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    folder = source.path.removeprefix("src/").split("/")[: -node.level]
    return ".".join([*folder, *([node.module] if node.module else [])])


def foreign_layers(source: SourceFile) -> list[str]:
    """Imports of packages of ours that the layer table does not allow."""
    if not source.package:
        return []
    if source.package not in LAYERS:
        return [source.at(1, f"vlcp.{source.package} is not in the layer table: say what it may import")]
    allowed = (source.package, *LAYERS[source.package])
    return [
        source.at(found.line, f"{source.package} may import {_listed(allowed)}, but not {found.target}")
        for found in imports(source)
        if _is_within(found.target, "vlcp")
        and not any(_is_within(found.target, f"vlcp.{name}") for name in allowed)
        and found.target != "vlcp.__version__"
    ]


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing of ours"


def impurities(source: SourceFile) -> list[str]:
    """What makes a result depend on more than the arguments, in the pure packages."""
    if source.package not in PURE:
        return []
    wrong = [
        source.at(found.line, f"{source.package} is pure: no import of {found.module}")
        for found in imports(source)
        if found.module.split(".")[0] in IMPURE_MODULES
    ]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            wrong.append(source.at(node.lineno, f"{source.package} is pure: no async and no await"))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            wrong.append(source.at(node.lineno, f"{source.package} is pure: no {node.func.id}()"))
    return wrong


def circles(files: Iterable[SourceFile], *, of_packages: bool = False) -> list[str]:
    """Rings of files, or of packages, that import each other. Between files, imports for types alone do not count."""
    by_module = {source.module: source for source in files}
    graph: dict[str, set[str]] = {}
    for source in by_module.values():
        node = source.package if of_packages else source.module
        edges = graph.setdefault(node, set())
        for found in imports(source):
            target = by_module.get(found.target) or by_module.get(found.module)
            if target and (of_packages or not found.for_types):
                edges.add(target.package if of_packages else target.module)
        edges.discard(node)
    return sorted(f"import circle: {' -> '.join(ring)}" for ring in _rings(graph))


def _rings(graph: dict[str, set[str]]) -> set[tuple[str, ...]]:
    """The first ring on each depth-first path, written from its smallest name and closed."""
    done: set[str] = set()
    rings: set[tuple[str, ...]] = set()

    def visit(node: str, path: list[str]) -> None:
        if node in path:
            ring = path[path.index(node) :]
            start = ring.index(min(ring))
            rings.add((*ring[start:], *ring[:start], min(ring)))
        elif node not in done:
            for following in sorted(graph.get(node, ())):
                visit(following, [*path, node])
            done.add(node)

    for node in sorted(graph):
        visit(node, [])
    return rings


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring not counted."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def long_functions(source: SourceFile) -> list[str]:
    return [
        source.at(
            function.lineno, f"{function.name} has {length(function)} lines, allowed are {LONGEST_FUNCTION}"
        )
        for function in source.functions()
        if length(function) > LONGEST_FUNCTION
    ]


def median_function(files: Iterable[SourceFile]) -> float:
    """The median length of all functions, in lines."""
    return statistics.median(length(function) for source in files for function in source.functions())


def long_file(source: SourceFile) -> list[str]:
    lines = source.text.count("\n")
    return [source.at(1, f"{lines} lines, allowed are {LONGEST_FILE}")] if lines > LONGEST_FILE else []


def vague_names(source: SourceFile) -> list[str]:
    """File and class names with a word that says nothing."""
    stem = Path(source.path).stem
    names = [(1, stem, stem.split("_"))]
    names += [
        (found.lineno, found.name, re.findall(r"[A-Z][a-z]*", found.name)) for found in source.classes()
    ]
    return [
        source.at(line, f"{name}: name it by what it is, not {word.lower()!r}")
        for line, name, words in names
        for word in words
        if word.lower() in VAGUE_WORDS
    ]


def missing_docstrings(source: SourceFile) -> list[str]:
    """Public modules, classes, functions, and methods that are part of an API, without a docstring."""
    wrong = [] if ast.get_docstring(source.tree) else [source.at(1, "the module has no docstring")]
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            wrong += _undocumented(source, node)
    for function in source.functions():
        if _decorated(function, "api"):
            wrong += _undocumented(source, function)
    return wrong


def _undocumented(
    source: SourceFile, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
) -> list[str]:
    if node.name.startswith("_") or ast.get_docstring(node) or _decorated(node, "overload"):
        return []
    return [source.at(node.lineno, f"{node.name} has no docstring")]


def _decorated(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, name: str) -> bool:
    """Whether a decorator has this name: `@rule`, `@tables.rule`, `@rule(...)`."""
    calls = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
    return any(ast.unparse(call).split(".")[-1] == name for call in calls)


def rules_without_sentence(source: SourceFile) -> list[str]:
    """Flow rules (`@rule`) whose docstring is not one sentence: it is what an operator reads about a flow."""
    return [
        source.at(function.lineno, f"the rule {function.name} needs a docstring of exactly one sentence")
        for function in source.functions()
        if _decorated(function, "rule") and not _one_sentence(ast.get_docstring(function) or "")
    ]


def _one_sentence(text: str) -> bool:
    words = " ".join(text.split())
    return words.endswith(".") and not re.search(r"[.!?]\s+[A-Z]", words)


def features_without_declaration(source: SourceFile) -> list[str]:
    """Feature modules that do not say what feature they are."""
    folder, _, name = source.path.rpartition("/")
    if folder != "src/vlcp/flow/features" or name == "__init__.py":
        return []
    names = {
        target.id
        for node in source.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    return [] if "FEATURE" in names else [source.at(1, "a feature module assigns FEATURE")]


def exceptions_without_error(source: SourceFile) -> list[str]:
    """Public exceptions whose name does not end in Error."""
    return [
        source.at(found.lineno, f"{found.name} is an exception: end its name in Error")
        for found in source.classes()
        if not found.name.startswith("_") and not found.name.endswith("Error")
        if any(re.search(r"(Error|Exception)$", ast.unparse(base)) for base in found.bases)
    ]


_SILENCER = re.compile(
    r"#\s*(?P<what>type:\s*ignore|noqa)\b(?P<code>\[[^\]]+\]|:\s*[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*)?(?P<rest>.*)"
)


def silent_silencers(source: SourceFile) -> list[str]:
    """Comments that silence a checker without naming what they silence and why."""
    wrong = []
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and (found := _SILENCER.search(token.string)):
            reason = re.findall(r"\w+", found["rest"])
            if not found["code"] or len(reason) < 2:
                wrong.append(
                    source.at(token.start[0], f"{found['what']}: name the code, and the reason behind it")
                )
    return wrong


_OUTSIDE = re.compile(
    "|".join(
        (
            r"py[p]i\.org|python[h]osted\.org|registry\.npm[j]s|npm[j]s\.(org|com)|deb\.deb[i]an\.org",
            r"(?<!emit-)(?<!no-)in[d]ex-url|/opt/py[p]i|/opt/whe[e]ls",
            r"(?<![\w.])/wo[r]k/|/tmp/br[i]efs|/ro[o]t/\.pyenv",
            r"\b(FRAMEW[O]RK|S[D]N|DEPENDENC[I]ES|ARCHITECT[U]RE|ANCH[O]RS)\.md\b",
        )
    )
)
"""Registries, places of one machine, papers outside the project. The brackets keep this from matching itself."""


def outside_places(path: str, text: str) -> list[str]:
    """Addresses and paths that mean something only where the project was written."""
    return [
        f"{path}:{number}: {found[0]!r} means nothing outside one workplace"
        for number, line in enumerate(text.split("\n"), 1)
        if (found := _OUTSIDE.search(line))
    ]
