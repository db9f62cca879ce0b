"""Proves that what is committed is clean: notebooks, pictures, paths, sizes, lists.

Reads files only.
"""

import ast
import csv
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import hygiene
import nbformat
import pytest
import tiers
from places import (
    NOTEBOOKS,
    PATHS,
    ROOT,
    code_cells,
    every_notebook,
    needs_git,
    tracked,
)

from book import sync_generated
from helpers.catalogue import catalogue
from recipes import module_of


def texts():
    """Return (path, text) of every tracked text file but the locked versions."""
    for path in tracked():
        if path.suffix not in (".png", ".safetensors", ".wav", ".flac", ".ogg", ".jpg"):
            yield path, path.read_text("utf-8")


def words(text):
    """Count the words of prose; a block of code is none."""
    text = re.sub(r"```.*?```", " ", text, flags=re.DOTALL)
    return len(re.findall(r"[\w'-]+", text))


@every_notebook
def test_a_notebook_is_saved_after_a_clean_run(path):
    hygiene.check_saved_after_a_clean_run(path)


@every_notebook
def test_an_excused_cell_asserts(path):
    hygiene.check_excused_cells_assert(path)


@every_notebook
def test_a_cell_is_short_and_narrow(path):
    for cell in code_cells(path):
        lines = cell.source.splitlines()
        assert len(lines) <= 30, cell.id
        assert max(map(len, lines), default=0) <= 79, cell.id


@pytest.mark.parametrize("path", sync_generated.chapters(), ids=lambda p: p.name)
def test_a_chapter_is_one_sitting(path):
    """At most 30 short cells of code and 2,400 words, an answer of a model early."""
    notebook = nbformat.read(path, as_version=4)
    code = code_cells(path)
    lines = [sum(bool(x.strip()) for x in c.source.splitlines()) for c in code]
    assert 15 <= len(code) <= 30
    assert max(lines) <= 20
    assert sorted(lines)[len(lines) // 2] <= 5
    prose = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    assert 1000 <= sum(map(words, prose)) <= 2600  # addresses of links included


@every_notebook
def test_a_table_is_rounded(path):
    """pandas drops the sixth digit where it is 0 in each row, and so a table's width
    hangs on a digit in which processors differ."""
    for cell in code_cells(path):
        for output in cell.outputs:
            shown = output.get("data", {})
            if "<table" in shown.get("text/html", ""):
                found = re.search(r"\d\.\d{4,}\b", shown["text/plain"])
                assert not found, f"{found[0]} in {cell.id}: round it"


@every_notebook
def test_no_cell_hides_its_model_or_its_names(path):
    for cell in code_cells(path):
        assert "import *" not in cell.source
        for call in re.findall(r"pipeline\(\s*\"[^)]*\)", cell.source):
            assert "model" in call, f"{cell.id}: {call}"


@every_notebook
def test_every_picture_says_what_it_shows(path):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for alt, address in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", cell.source):
                assert not address.startswith("http"), "a picture from elsewhere"
                assert (path.parent / address).is_file(), address
                assert "badge" in address or words(alt) >= 8, alt
        elif any("image/png" in o.get("data", {}) for o in cell.outputs):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert words(alt) >= 8, f"{cell.id} draws a plot without alt text"


@pytest.mark.parametrize("path", sync_generated.chapters(), ids=lambda p: p.name)
def test_a_chapter_has_its_anatomy(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].id == "links"
    assert sync_generated.promise(path)
    ids = [cell.id for cell in code_cells(path)]
    assert ids[:2] == ["bootstrap", "setup"]
    text = "\n".join(c.source for c in notebook.cells)
    for heading in ("What you learned", "Exercises", "Quiz", "Further reading"):
        assert f"## {heading}" in text
    assert len(re.findall(r"^check\(", text, re.MULTILINE)) >= 4
    assert (NOTEBOOKS / "solutions" / path.name).exists()


def test_every_link_between_files_leads_somewhere():
    for path, text in texts():
        if path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
        elif path.suffix != ".md":
            continue
        for address in re.findall(r"\]\(([^)#]+)\)", text):
            if not address.startswith(("http", "`")) and "{" not in address:
                assert (path.parent / address).exists(), f"{path.name}: {address}"


def test_what_is_generated_is_up_to_date():
    for path, text in sync_generated.wanted().items():
        assert path.read_text("utf-8") == text, f"{path.name}: run `make lists`"


@every_notebook
def test_a_badge_opens_this_repository(path):
    hygiene.check_badge(path, ROOT)


def test_a_copy_that_a_reader_leaves_is_not_of_the_series(tmp_path):
    """Neither executed nor linked, and pytest passes it by (`tiers.py`)."""
    left = ["01_pipelines-Copy1.ipynb", "Untitled.ipynb", "02_Draft.ipynb", "3_a.ipynb"]
    kept = ["01_pipelines.ipynb", "02_text_tasks.ipynb"]
    for name in [*left, *reversed(kept)]:
        (tmp_path / name).write_text("{}")
    hidden = tmp_path / ".ipynb_checkpoints"
    hidden.mkdir()
    (hidden / "01_pipelines-checkpoint.ipynb").write_text("{}")
    assert [path.name for path in sync_generated.chapters(tmp_path)] == kept
    folder = NOTEBOOKS / "solutions"
    for name in left:
        assert tiers.pytest_ignore_collect(NOTEBOOKS / name)
        assert tiers.pytest_ignore_collect(folder / name)
    assert not any(map(tiers.pytest_ignore_collect, PATHS))


@needs_git
def test_git_ignores_what_a_reader_leaves():
    command = ["git", "check-ignore", "--no-index"]
    names = ["notebooks/01_pipelines-Copy1.ipynb"]
    names += ["notebooks/.ipynb_checkpoints/x.ipynb"]
    said = subprocess.check_output([*command, *names], cwd=ROOT, text=True)
    assert said.splitlines() == names
    assert subprocess.run([*command, *PATHS], cwd=ROOT, check=False).returncode == 1


@needs_git
def test_a_zip_without_git_is_checked_file_by_file(monkeypatch):
    """Somebody may have the series as a ZIP, and no git: the same files are found."""
    asked = tracked()
    monkeypatch.setattr("places.has_git", lambda: False)
    assert set(tracked()) == set(asked)


def test_nothing_of_a_machine_is_committed():
    personal = re.compile(r"(/home/|/Users/|/root/|C:\\\\Users)[\w.]+")
    for path, text in texts():
        if path != Path(__file__):
            assert str(ROOT) not in text, path.name
            assert not personal.search(text), path.name


@needs_git
def test_a_clone_on_windows_has_the_same_bytes():
    """Whatever `core.autocrlf` is: a model is kept under the hash of its files."""
    said = subprocess.check_output(["git", "ls-files", "--eol"], cwd=ROOT, text=True)
    for line in said.splitlines():
        stored, _, attributes = line.split("\t")[0].split(maxsplit=2)
        assert stored in ("i/lf", "i/none", "i/-text"), line
        assert "eol=lf" in attributes or "-text" in attributes, line


def test_no_pickle_and_no_code_of_a_model():
    for path in tracked():
        assert path.suffix not in (".pt", ".pth", ".bin", ".pkl", ".pickle", ".npz")
    for path, text in texts():
        if path.suffix in (".py", ".ipynb") and path != Path(__file__):
            assert "trust_remote_code=True" not in text, path.name
            assert "pickle.load" not in text, path.name


def test_models_keep_to_their_size():
    sizes = {}
    for path in tracked():
        if path.suffix == ".safetensors":
            sizes[path.parent.name] = (
                sizes.get(path.parent.name, 0) + path.stat().st_size
            )
    assert max(sizes.values()) <= 25e6, sizes
    assert sum(sizes.values()) <= 80e6, sizes


@pytest.mark.parametrize("folder", ["data", "figures"])
def test_every_file_has_its_source(folder):
    table = (NOTEBOOKS / folder / "SOURCES.md").read_text("utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|(.+)\|$", table, re.MULTILINE)
    named = {name for name, _ in rows}
    there = {
        path.relative_to(NOTEBOOKS / folder).as_posix()
        for path in tracked()
        if path.is_relative_to(NOTEBOOKS / folder) and path.name != "SOURCES.md"
    }
    for collection in [name for name in named if name.endswith("/")]:
        inside = {name for name in there if name.startswith(collection)}
        assert listed(NOTEBOOKS / folder / collection) == inside
        there = there - inside | {collection}
    assert named == there
    for name, rest in rows:
        assert all(cell.strip() for cell in rest.split("|")), name


def listed(collection):
    """Return what a collection's card and records name, its files in data/.

    A folder with one row in SOURCES.md has a card, README.md, whose first table names
    its files, and records.csv with the source, licence and file of every record.
    """
    card = (collection / "README.md").read_text("utf-8")
    names = set(re.findall(r"^\| `([^`]+\.\w+)` \|", card, re.MULTILINE))
    with (collection / "records.csv").open(encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file):
            assert record["licence"] and record["origin"], record["id"]
            if (collection / record["file"]).exists():
                names.add(record["file"])
            else:
                assert f"the file of `{record['id']}` is missing" in card
    return {f"{collection.name}/{name}" for name in names | {"README.md"}}


def test_every_model_has_a_card_and_a_recipe():
    for name, spec in catalogue()["embedded"].items():
        if not {"base", "converter"} & set(spec):
            folder = NOTEBOOKS / "models" / name
            card = (folder / "README.md").read_text("utf-8")
            assert find_spec(f"{module_of(name)}.train"), name
            for part in ("Data", "Method", "Score", "cannot do", "Licence"):
                assert part in card, f"{name}'s card says nothing of: {part}"


def test_a_folder_of_code_says_what_is_in_it():
    """A README of at most 20 lines; a recipe says it at the top of `__init__.py`."""
    folders = {path.parent for path in tracked() if path.suffix == ".py"} - {ROOT}
    for folder in folders:
        readme, first = folder / "README.md", folder / "__init__.py"
        if readme.exists():
            lines = readme.read_text("utf-8").splitlines()
            assert len(lines) <= 20, readme
        else:
            assert folder.parent == NOTEBOOKS / "recipes", f"{folder}: no README.md"
            assert ast.get_docstring(ast.parse(first.read_text("utf-8"))), folder


def test_the_top_level_holds_nothing_else():
    allowed = [
        "README.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "conftest.py",
        "transformers_requirements.txt",
        "constraints.txt",
        "pyproject.toml",
        ".ci",
        ".github",
        ".gitattributes",
        ".gitignore",
        "notebooks",
        "tests",
    ]
    there = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert there <= set(allowed)


def test_helpers_are_small_enough_to_read():
    lines = [
        line
        for path in (NOTEBOOKS / "helpers").glob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if line.strip()
    ]
    assert len(lines) <= 1330
