"""What the book adds to the chapters: links to the glossary, a page of claims and
figures, and what a search engine or a shared link shows.

Nothing of it is stored in a notebook: `execute.run` calls it on the executed copies.
"""

from __future__ import annotations

import ast
import base64
import copy
import io
import re
import tomllib
from pathlib import Path

import nbformat

from book.sync_generated import promise, settings, title
from helpers.catalogue import NOTEBOOKS

GLOSSARY = NOTEBOOKS / "book" / "glossary.md"
CLAIMS = NOTEBOOKS / "book" / "claims.toml"
# What no term is linked in: code, links, pictures, headings, HTML, mathematics.
APART = re.compile(
    r"(```.*?```|`[^`]*`|!?\[[^\]]*\]\([^)]*\)|^#[^\n]*$|<[^>]+>|\$[^$]+\$|https?://\S+)",
    re.DOTALL | re.MULTILINE,
)
# Chapters in which a word is used, but not in the sense of the glossary.
OTHERWISE = {"block": {"13"}, "vector": {"02"}}
ABOUT = """\
# Claims and figures

This page is for readers who doubt a sentence, and for those who change a chapter.

- *Claims* says what the cells of each chapter check, with a link to the place and the
  `assert` that does it, with the embedded models. Were a claim wrong, its cell would
  have stopped with an error, and these pages would not exist. Asserts that show no more
  than that a cell ran to its end are left out.
- *Figures* lists drawings and plots. A drawing explains; a plot shows what was
  measured, and no assert stands behind what it seems to say, unless that is listed as a
  claim.
"""
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


def entries() -> list[tuple[list[str], str]]:
    """Return the glossary: of each entry the words that it explains, and the text."""
    body = GLOSSARY.read_text("utf-8").split("```{glossary}")[1].split("```")[0]
    found = [entry.splitlines() for entry in body.strip().split("\n\n")]
    return [(lines[:-1], lines[-1].strip()) for lines in found]


def terms() -> list[str]:
    """Return the words that the glossary explains, the longest first."""
    found = [name for names, _ in entries() for name in names]
    return sorted(found, key=len, reverse=True)


def linked(text: str, term: str) -> str:
    """Return a text with the first use of a term, if any, linked to the glossary."""
    plural = re.escape(term) + ("" if term.endswith("s") else "(?:s|es)?")
    pattern = re.compile(rf"(?<![\w{{`-])({plural})(?![\w`-])", re.IGNORECASE)
    parts = APART.split(text)
    for place in range(0, len(parts), 2):
        role = rf"{{term}}`\1 <{term}>`"
        parts[place], count = pattern.subn(role, parts[place], count=1)
        if count:
            break
    return "".join(parts)


def link_terms(notebook: nbformat.NotebookNode, chapter: str = "") -> list[str]:
    """Link the first use of each term to the glossary; return the terms that occur.

    `chapter`, such as "05", leaves out what means something else there.
    """
    found = []
    for term in terms():
        if chapter in OTHERWISE.get(term, ()):
            continue
        for cell in notebook.cells:
            if cell.cell_type != "markdown" or cell.id in APART_CELLS:
                continue
            text = linked(cell.source, term)
            if text != cell.source:
                cell.source = text
                found.append(term)
                break
    return found


def glossary(notebooks: dict[Path, nbformat.NotebookNode]) -> str:
    """Return the glossary's page: by letters, its entries linked with one another, and
    each with the chapter that uses it first. `notebooks` maps the chapters' paths to
    what they hold."""
    first = {}
    for path, notebook in notebooks.items():
        for term in link_terms(copy.deepcopy(notebook), path.stem[:2]):
            first.setdefault(term, path)
    parts = {}
    for names, text in entries():
        for term in terms():
            if term not in names:
                text = linked(text, term)
        used = sorted(first[name] for name in names if name in first)
        if used:
            text += f" First in chapter [{used[0].stem[:2]}]({used[0].name})."
        letter = names[0][0].upper()
        parts.setdefault(letter, []).append("\n".join([*names, f"  {text}"]))
    head = GLOSSARY.read_text("utf-8").split("```{glossary}")[0]
    lines = [head, " · ".join(f"[{x}](#{x.lower()})" for x in parts), ""]
    for letter, found in parts.items():
        lines += [f"## {letter}", "", "```{glossary}", "\n\n".join(found), "```", ""]
    return "\n".join(lines)


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


def claimed(source: str) -> list[str]:
    """Return the asserts of a cell, each as code of one line, without the way out for
    the models of the Hub."""
    found = []
    for code in asserted(source):
        test = ast.parse(code, mode="eval").body
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
            kept = [ast.unparse(value) for value in test.values]
            kept = [x for x in kept if "embedded" not in x and "MODELS" not in x]
            code = " or ".join(kept)
        found.append(code.replace("`", "'"))
    return found


def sentences(text: str) -> list[str]:
    """Return the sentences of a markdown cell, headings, code and lists left out."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = []
    for block in re.split(r"\n\s*\n", text):
        if block and not re.match(r"\s*(#|!|\||>|[-*] |\d+\. |<)", block):
            found += re.split(r"(?<=[.?!:])\s+(?=[A-Z*`(\[])", " ".join(block.split()))
    # What stands in brackets is said besides.
    return [re.sub(":$", ".", part) for part in found if not part.startswith("(")]


def said(cells: list, place: int) -> str:
    """Return what a page says to a cell that claims.toml does not know: the last
    sentence above it, which announces it, and the first one below, which says what
    came out."""
    texts = [(at, c.source) for at, c in enumerate(cells) if c.cell_type == "markdown"]
    above = [text for at, text in texts if at < place][-1:]
    below = [text for at, text in texts if at > place][:1]
    found = [part for text in above for part in sentences(text)[-1:]]
    for text in below:
        if not text.lstrip().startswith("#"):
            found += sentences(text)[:1]
    return " ".join(found)


def label(path: Path, cell: nbformat.NotebookNode) -> str:
    """Return the name under which `mark` makes a cell's text a place to link to."""
    return f"at-{path.stem[:2]}-{cell.id.lower()}"


def mark(path: Path, notebook: nbformat.NotebookNode) -> None:
    """Make the last paragraph of each cell of text a place to which a page can link."""
    for cell in notebook.cells:
        if cell.cell_type != "markdown" or cell.id == "links":
            continue
        blocks = re.split(r"(\n\s*\n)", cell.source)
        place, inside = 0, False
        for at in range(0, len(blocks), 2):
            plain = not inside and re.match(r"[A-Za-z`*(\[]", blocks[at])
            if plain and not re.match(r"\* |\(\S+\)=", blocks[at]):
                place = at
            inside ^= blocks[at].count("```") % 2 == 1
        blocks[place] = f"({label(path, cell)})=\n{blocks[place]}"
        cell.source = "".join(blocks)


def thumbnails(notebook: nbformat.NotebookNode) -> dict[str, bytes]:
    """Return a small PNG of the first plot of each cell that draws one, by cell."""
    from PIL import Image

    found = {}
    for cell in notebook.cells:
        shown = [output.get("data", {}) for output in cell.get("outputs", [])]
        plots = [data["image/png"] for data in shown if "image/png" in data]
        if plots:
            picture = Image.open(io.BytesIO(base64.b64decode(plots[0]))).convert("RGB")
            picture.thumbnail((320, 240))
            written = io.BytesIO()
            picture.quantize(64).save(written, "PNG", optimize=True)
            found[cell.id] = written.getvalue()
    return found


def known_claims() -> dict[str, dict[str, str]]:
    """Return what the asserts hold to, in words, by chapter and cell (claims.toml)."""
    return tomllib.loads(CLAIMS.read_text("utf-8"))


def claims(notebooks: dict[Path, nbformat.NotebookNode]) -> str:
    """Return the page of claims and figures: sentences with the asserts behind them,
    and pictures with what they show, each with a link to its place.

    `notebooks` maps the chapters' paths to their executed copies. The places are made
    by `mark`, the small pictures by `thumbnails`, in thumbnails/ beside the page.
    """
    held, drawn = ["## Claims", ""], ["## Figures", ""]
    known = known_claims()
    for path, notebook in notebooks.items():
        cells, small = notebook.cells, thumbnails(notebook)
        name = f"### {path.stem[:2]} [{title(path)}]({path.name})"
        rows, pictures = [], []
        heading = where = ""
        for place, cell in enumerate(cells):
            if cell.cell_type == "markdown":
                found = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)
                heading = (found or [heading])[-1].replace("`", "")
                where = f"{{ref}}`{heading} <{label(path, cell)}>`"
                for alt, file in re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", cell.source):
                    if "badge" not in file:
                        pictures.append((file, where, alt))
                continue
            if alt := cell.metadata.get("mystnb", {}).get("image", {}).get("alt"):
                file = f"thumbnails/{path.stem[:2]}-{cell.id}.png"
                pictures.append((file if cell.id in small else "", where, alt))
            codes = claimed(cell.source)
            claim = known.get(path.stem[:2], {}).get(cell.id, said(cells, place))
            if codes and claim:
                shown = "<br>".join(f"`{code}`" for code in codes)
                rows.append(f"- {claim} ({where})<br>{shown}")
        if rows:
            held += [name, "", *rows, ""]
        if pictures:
            drawn += [name, "", "| picture | what it shows |", "|---|---|"]
            for file, where, alt in pictures:
                image = f"![Small version of the figure at the right]({file})"
                alt = alt.rstrip(".").replace("|", "\\|") + "."
                drawn.append(f"| {image if file else ''} | {where}: {alt} |")
            drawn.append("")
    return "\n".join([ABOUT, *held, *drawn]) + "\n"
