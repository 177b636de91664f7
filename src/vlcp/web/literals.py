"""Back-quoted Python literals as parameter values: `` `[1, {"a": None}]` `` is a list, not text."""

from __future__ import annotations

import ast
import warnings
from typing import Any

_LITERALS = (ast.Expression, ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.expr_context)
_SIGNS = (ast.UnaryOp, ast.BinOp, ast.UAdd, ast.USub, ast.Add, ast.Sub)
"""Those of negative and of complex numbers."""


def is_quoted(text: str) -> bool:
    """Whether a parameter's text is a literal between back-quotes."""
    return len(text) >= 2 and text[0] == text[-1] == "`"


def unquote(text: str) -> Any:
    """The value of a back-quoted literal: numbers, text, bytes, True, False, None and collections of them.

    Besides Python's own form `{1, 2}` a set may be written `set(1, 2)`, `set([1, 2])` or `set()`. Raises ValueError
    that tells the place: characters are counted from 1, the back-quote.
    """
    source = text[1:-1].strip().replace("\r\n", "\n").replace("\r", "\n")  # as the compiler counts lines
    first = 2 + len(text[1:-1]) - len(text[1:-1].lstrip())
    tree: ast.AST = ast.Module([], [])
    try:
        with warnings.catch_warnings():  # doubts of the compiler, such as about "\d", are not ours to log
            warnings.simplefilter("ignore")
            tree = ast.parse(source, mode="eval")
        return ast.literal_eval(_Sets().visit(tree) if "set" in source else tree)
    except SyntaxError as error:
        place = _place(source, error.lineno, (error.offset or 1) - 1, first)
        raise _wrong(error.msg.partition(":")[0], place) from None
    except TypeError as error:
        raise _wrong(f"{error}: it can be neither in a set nor a key", "") from None
    except ValueError:
        raise _wrong("only literals and set(...) are allowed", _odd_place(source, tree, first)) from None
    except (MemoryError, RecursionError):
        raise _wrong("it is nested too deeply", "") from None


def _wrong(reason: str, place: str) -> ValueError:
    return ValueError(f"not a Python literal between back-quotes: {reason}{place}")


def _place(source: str, line: int | None, offset: int, first: int) -> str:
    """Where something is: `offset` characters into a line of the source, which begins at the `first` of the text."""
    before = sum(len(each) + 1 for each in source.split("\n")[: (line or 1) - 1])
    return f" (character {first + before + offset})"


def _odd_place(source: str, tree: ast.AST, first: int) -> str:
    """Where the first thing is that is no literal."""
    odd = [node for node in ast.walk(tree) if isinstance(node, ast.expr) and not _is_literal(node)]
    if not odd:
        return ""
    node = min(odd, key=lambda node: (node.lineno, node.col_offset))
    line = source.split("\n")[node.lineno - 1]
    return _place(source, node.lineno, len(line.encode()[: node.col_offset].decode()), first)


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp | ast.BinOp):
        return isinstance(node.op, _SIGNS)
    return isinstance(node, _LITERALS)


class _Sets(ast.NodeTransformer):
    """Turns `set(1, 2)` into the display of a set; an empty one stays a call, which `literal_eval` knows."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.func, ast.Name) or node.func.id != "set" or node.keywords or not node.args:
            return node
        only = node.args[0]
        whole = len(node.args) == 1 and isinstance(only, ast.List | ast.Tuple | ast.Set)
        elements = only.elts if whole and isinstance(only, ast.List | ast.Tuple | ast.Set) else node.args
        made = ast.Set(elements) if elements else ast.Call(node.func, [], [])
        return ast.copy_location(made, node)
