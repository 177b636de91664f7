"""Back-quoted Python literals as parameter values: `` `[1, {"a": None}]` `` is a list, not text."""

from __future__ import annotations

import ast
import warnings
from typing import Any


def is_quoted(text: str) -> bool:
    """Whether a parameter's text is a literal between back-quotes."""
    return len(text) >= 2 and text[0] == text[-1] == "`"


def unquote(text: str) -> Any:
    """The value of a back-quoted literal: numbers, text, bytes, True, False, None and collections of them.

    Besides Python's own form `{1, 2}` a set may be written `set(1, 2)`, `set([1, 2])` or `set()`. Raises ValueError.
    """
    source = text[1:-1].strip()
    try:
        with warnings.catch_warnings():  # doubts of the compiler, such as about "\d", are not ours to log
            warnings.simplefilter("ignore")
            tree = ast.parse(source, mode="eval")
        return ast.literal_eval(_Sets().visit(tree) if "set" in source else tree)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "only literals and set(...) are allowed"
        raise ValueError(f"not a Python literal between back-quotes: {reason}") from None


class _Sets(ast.NodeTransformer):
    """Turns `set(1, 2)` into the display of a set; an empty one stays a call, which `literal_eval` knows."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.func, ast.Name) or node.func.id != "set" or node.keywords or not node.args:
            return node
        only = node.args[0]
        whole = len(node.args) == 1 and isinstance(only, ast.List | ast.Tuple | ast.Set)
        elements = only.elts if whole and isinstance(only, ast.List | ast.Tuple | ast.Set) else node.args
        return ast.Set(elements) if elements else ast.Call(node.func, [], [])
