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


def bases_of(name: str) -> set[str]:
    """Return the bases that an embedded model is made from, its parts' included."""
    spec = catalogue()["embedded"][name]
    found = {spec["base"]} if "base" in spec else set()
    for part in spec.get("parts", []):
        found |= {part["base"]} if "base" in part else bases_of(part["model"])
    return found


def megabytes(path: Path) -> dict[str, int]:
    """Return {"embedded": MB, "hub": MB}: what the models of a notebook weigh at most.

    In embedded mode the bases are fetched, each once; in hub mode each repository's
    safetensors are. Text files, a few MB at most, are not counted.
    """
    table, tasks = catalogue(), tasks_of(path)
    chosen = [table["tasks"][task] for task in tasks]
    bases = {base for entry in chosen for base in bases_of(entry["embedded"])}
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
