"""Which statement of a cell is meant by a line number."""

from __future__ import annotations

import ast
from functools import lru_cache


def statement_at(source: str, lineno: int) -> tuple[int, str]:
    """Find the statement of a cell that contains a line.

    Python versions disagree on the line they report inside a statement of several lines; its
    first line is the same everywhere.

    Args:
        source: the whole text of the cell.
        lineno: a line number in it, from 1.

    Returns:
        The number and the text, without indentation, of the first line of the innermost simple
        statement, or of the header (`with ...:`, `for ...:`, `def ...:`) that the line belongs to.
        Where the cell is no Python or no statement is there, the line itself.
    """
    lines = source.splitlines()
    first = lineno
    node = _parsed(source)
    while node is not None:
        node = next((child for child in _inside(node) if _holds(child, lineno)), None)
        if node is not None:
            first = _first_line(node)
    return first, lines[first - 1].strip() if 0 < first <= len(lines) else ""


# Each line that a cell sent something from is looked up in the same cell.
@lru_cache(maxsize=4)
def _parsed(source: str) -> ast.AST | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _inside(node: ast.AST) -> list[ast.AST]:
    blocks = (ast.stmt, ast.ExceptHandler, ast.match_case)
    return [child for child in ast.iter_child_nodes(node) if isinstance(child, blocks)]


def _first_line(node: ast.AST) -> int:
    if isinstance(node, ast.match_case):
        return node.pattern.lineno
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _holds(node: ast.AST, lineno: int) -> bool:
    last = (
        node.body[-1].end_lineno
        if isinstance(node, ast.match_case)
        else node.end_lineno
    )
    return _first_line(node) <= lineno <= last
