"""What the book adds to the chapters: links to the glossary, an index of figures and
claims, and what a search engine or a shared link shows.

Nothing of it is stored in a notebook: `execute.run` calls it on the executed copies.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat

from book.sync_generated import promise, settings, title
from helpers.catalogue import NOTEBOOKS

GLOSSARY = NOTEBOOKS / "book" / "glossary.md"
# What no term is linked in: code, links, pictures, headings, HTML, mathematics.
APART = re.compile(
    r"(```.*?```|`[^`]*`|!?\[[^\]]*\]\([^)]*\)|^#[^\n]*$|<[^>]+>|\$[^$]+\$|https?://\S+)",
    re.DOTALL | re.MULTILINE,
)
ABOUT = (
    "Every figure, and every claim that a cell holds to with an `assert`: if it were "
    "not so, the page would have stopped there."
)
# Cells in which a word is not used but announced, listed or asked for.
APART_CELLS = {
    "links",
    "title",
    "goals",
    "exercises",
    "quiz-text",
    "reading",
    "learned",
}


def terms() -> list[str]:
    """Return the words that the glossary explains, the longest first."""
    body = GLOSSARY.read_text("utf-8").split("```{glossary}")[1].split("```")[0]
    found = [line for line in body.splitlines() if line and not line.startswith(" ")]
    return sorted(found, key=len, reverse=True)


def link_terms(notebook: nbformat.NotebookNode) -> list[str]:
    """Link the first use of each term to the glossary; return the terms that occur."""
    linked = []
    for term in terms():
        plural = re.escape(term) + ("" if term.endswith("s") else "(?:s|es)?")
        pattern = re.compile(rf"(?<![\w{{`-])({plural})(?![\w`-])", re.IGNORECASE)
        for cell in notebook.cells:
            if cell.cell_type != "markdown" or cell.id in APART_CELLS:
                continue
            parts = APART.split(cell.source)
            for place in range(0, len(parts), 2):
                role = rf"{{term}}`\1 <{term}>`"
                parts[place], count = pattern.subn(role, parts[place], count=1)
                if count:
                    cell.source = "".join(parts)
                    linked.append(term)
                    break
            if term in linked:
                break
    return linked


def describe(path: Path, notebook: nbformat.NotebookNode) -> None:
    """Give a page its description, for search engines and for shared links."""
    text = promise(path).replace("`", "")
    meta = {
        "description": text,
        "property=og:title": title(path),
        "property=og:description": text,
        "property=og:type": "article",
    }
    if address := settings().get("pages"):
        meta["property=og:image"] = f"{address}/_images/page.png"
    notebook.metadata["myst"] = {"html_meta": meta}


def asserted(source: str) -> list[str]:
    """Return what a cell asserts, each as code of one line."""
    plain = re.sub(r"^(\s*)[!%].*", r"\1pass", source, flags=re.MULTILINE)
    nodes = ast.walk(ast.parse(plain))
    found = [node for node in nodes if isinstance(node, ast.Assert)]
    found.sort(key=lambda node: node.lineno)
    return [ast.unparse(node.test) for node in found]


def claims(notebooks: dict[Path, nbformat.NotebookNode]) -> str:
    """Return the page that lists every figure and every claim with its cell.

    `notebooks` maps the chapters' paths to their executed copies. A claim is what an
    `assert` of a cell says, under the heading that it stands below.
    """
    lines = ["# Figures and claims", "", ABOUT, ""]
    for path, notebook in notebooks.items():
        lines += ["", f"## {path.stem[:2]} [{title(path)}]({path.name})", ""]
        heading = ""
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                found = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)
                heading = found[-1] if found else heading
                pictures = re.findall(r"!\[([^\]]+)\]\((?!.*badge)", cell.source)
                lines += [f"- *Figure.* {alt}" for alt in pictures]
                continue
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
            if alt:
                lines.append(f"- *Plot, cell `{cell.id}`.* {alt}")
            for code in asserted(cell.source):
                shown = code if len(code) < 100 else code[:97] + "…"
                shown = shown.replace("`", "'")
                lines.append(f"- *{heading}, cell `{cell.id}`.* `{shown}`")
    return "\n".join(lines) + "\n"
