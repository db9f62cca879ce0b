"""The notebooks' cells for tests: what stands on a page is what is tested.

`page("06_text_generation")` gives a notebook's code by cell id, `run` runs some of it
without a kernel, `definitions` keeps of a cell what only defines.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache

from places import NOTEBOOKS, code_cells


@cache
def page(name: str) -> dict[str, str]:
    """Return the code of a notebook's cells by their ids, in their order.

    `name` is the file's name without its ending; FileNotFoundError where there is none.
    """
    return {cell.id: cell.source for cell in code_cells(NOTEBOOKS / f"{name}.ipynb")}


def run(page: dict[str, str], ids: Iterable[str], space: dict) -> dict:
    """Run cells of a page in a namespace, and return it with the names they leave.

    Raises KeyError for a cell that the page does not have, and what the cells raise.
    """
    for name in ids:
        exec(compile(page[name], f"cell {name}", "exec"), space)  # noqa: S102
    return space


def definitions(source: str, *names: str) -> str:
    """Return a cell's imports, functions, classes and assignments to some names."""
    defining = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    kept = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            assigned = {ast.unparse(target) for target in node.targets}
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            assigned = {ast.unparse(node.target)}
        else:
            assigned = set()
        if isinstance(node, defining) or assigned & set(names):
            kept.append(node)
    return ast.unparse(ast.Module(kept, []))
