"""How many megabytes of models a notebook fetches, in either mode.

Usage, in notebooks/: python -m book.downloads prints a line for each chapter.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat

from book.sync_generated import chapters
from helpers.catalogue import NOTEBOOKS, catalogue


def tasks_of(path: Path) -> set[str]:
    """Return the tasks whose models a notebook loads: those that its cells, and the
    checkers of its exercises, name as a text of its own."""
    cells = nbformat.read(path, as_version=4).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    chapter = f"chapter_{path.name[:2]}.py"
    exercises = NOTEBOOKS / "helpers" / "exercises" / chapter
    if exercises.exists():
        sources.append(exercises.read_text("utf-8"))
    if not any("model_for(" in source for source in sources):
        return set()
    named = set()
    for source in sources:
        plain = re.sub(r"^(\s*)[!%].*", r"\1pass", source, flags=re.MULTILINE)
        for node in ast.walk(ast.parse(plain)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named.add(node.value)
    return named & set(catalogue()["tasks"])


def megabytes(path: Path) -> dict[str, int]:
    """Return {"embedded": MB, "hub": MB}: what the models of a notebook weigh at most.

    In embedded mode the bases are fetched, each once; in hub mode each repository's
    safetensors are. Text files, a few MB at most, are not counted.
    """
    table, tasks = catalogue(), tasks_of(path)
    chosen = [table["tasks"][task] for task in tasks]
    small = [table["embedded"][entry["embedded"]] for entry in chosen]
    bases = {spec["base"] for spec in small if "base" in spec}
    repositories = {entry["hub"] for entry in chosen}
    return {
        "embedded": sum(table["bases"][name]["mb"] for name in bases),
        "hub": sum(table["hub"][name]["mb"] for name in repositories),
    }


def main() -> None:
    for path in chapters():
        sizes = megabytes(path)
        print(f"{path.name}: embedded {sizes['embedded']} MB, hub {sizes['hub']:,} MB")


if __name__ == "__main__":
    main()
