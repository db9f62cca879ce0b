"""Write every list that repeats: tables of README and the book, badges and links.

Usage, in notebooks/: python -m book.sync_generated [--check]. With --check nothing
is written, and the exit status is 1 where a file differs from what would be.
Sources: the notebooks on disk, models/catalogue.toml, and series.toml beside this
file.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import tomllib
from functools import partial
from pathlib import Path

import nbformat

from helpers.catalogue import NOTEBOOKS, catalogue
from recipes import module_of

BOOTSTRAP = """\
# In Colab: fetch the series and install what is missing. Elsewhere: go to the
# folder that holds `helpers`, wherever the kernel was started.
import os
import sys

REPOSITORY = "{repository}"
if "google.colab" in sys.modules and not os.path.isdir("helpers"):
    if not os.path.isdir("series"):
        !git clone --quiet --depth 1 --branch {branch} {{REPOSITORY}} series
    %cd -q series/{folder}
    %pip install --quiet --requirement {root}transformers_requirements.txt
    from helpers.session import stop_if_stale

    stop_if_stale()
for place in ["..", "notebooks"]:
    if not os.path.isdir("helpers") and os.path.isdir(f"{{place}}/helpers"):
        os.chdir(place)"""


def settings() -> dict:
    """Return the series' title, repository and branch."""
    return tomllib.loads((NOTEBOOKS / "book" / "series.toml").read_text("utf-8"))


# What the series is: a copy that a reader leaves behind is not of it.
NAME = re.compile(r"\d\d_[a-z][a-z_]*\.ipynb")


def chapters(folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the chapters of a folder in reading order: 01_words.ipynb and so on."""
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))


def notebooks() -> list[Path]:
    """Return every notebook of the series in reading order, the solutions last."""
    return chapters() + chapters(NOTEBOOKS / "solutions")


def title(path: Path) -> str:
    """Return a notebook's title, the first line that starts with a single #."""
    for cell in nbformat.read(path, as_version=4).cells:
        if found := re.search(r"^# (.+)$", cell.source, re.MULTILINE):
            return found[1]
    raise ValueError(f"{path.name} has no title: a markdown cell with `# …`")


def promise(path: Path) -> str:
    """Return the sentence below a notebook's title."""
    for cell in nbformat.read(path, as_version=4).cells:
        if found := re.search(r"^# .+\n+((?:.+\n?)+)", cell.source, re.MULTILINE):
            return " ".join(found[1].split())
    return ""


def links(path: Path) -> str:
    """Return the first cell of a notebook: badge, previous, contents, next."""
    where = settings()
    folder = path.parent.relative_to(NOTEBOOKS.parent).as_posix()
    place = where["repository"].removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{place}"
    up = "" if path.parent == NOTEBOOKS else "../"
    badge = f"[![Open in Colab]({up}figures/colab-badge.svg)]"
    parts = [f"{badge}({colab}/blob/{where['branch']}/{folder}/{path.name})"]
    row = chapters()
    if path in row:
        before, after = row[: row.index(path)][-1:], row[row.index(path) + 1 :][:1]
        parts += [f"[← {title(other)}]({other.name})" for other in before]
        parts += ["[Contents](../README.md)"]
        parts += [f"[{title(other)} →]({other.name})" for other in after]
    else:
        parts += [f"[The chapter](../{path.name})", "[Contents](../../README.md)"]
    return " · ".join(parts)


def bootstrap(path: Path) -> str:
    """Return the cell that gets the series in Colab."""
    where = settings()
    return BOOTSTRAP.format(folder="notebooks", root="../", **where)


def fetched(path: Path) -> str:
    """Return the half sentence that says what a chapter's first run fetches."""
    from book.downloads import megabytes  # which asks this module for the chapters

    mb = megabytes(path)
    hub = f"{mb['hub']:,} MB with `MODELS=hub`"
    return f"the first run downloads {mb['embedded']} MB of packed models, {hub}."


def notebook_text(path: Path) -> str:
    """Return a notebook as it should be on disk, its repeated cells renewed."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.id == "links":
            cell.source = links(path)
        elif cell.id == "bootstrap":
            cell.source = bootstrap(path)
        elif cell.id == "goals":
            cell.source = re.sub(r"the first run \w+ .*", fetched(path), cell.source)
    return nbformat.writes(notebook) + "\n"


def notebooks_table(folder: str) -> str:
    """Return the table of the chapters: number, title and promise of each."""
    rows = ["| | notebook | what you can do after it |", "|---|---|---|"]
    for path in chapters():
        link = f"[{title(path)}]({folder}{path.name})"
        rows.append(f"| {path.name[:2]} | {link} | {promise(path)} |")
    return "\n".join(rows)


def models_table() -> str:
    """Return README's table of models: a row an embedded model."""
    table = catalogue()
    rows = [
        "| tasks | embedded model | measured | full-size, on the Hub | published |",
        "|---|---|---|---|---|",
    ]
    for name, spec in table["embedded"].items():
        answers = {}  # the tasks of this model, with the Hub model of each
        for task, entry in table["tasks"].items():
            kinds = {k: row for k, row in entry.items() if isinstance(row, dict)}
            for kind, row in {None: entry, **kinds}.items():
                if row["embedded"] == name:
                    answers[f"{task} ({kind})" if kind else task] = row["hub"]
        tasks = list(answers)
        hub = answers[tasks[0]]
        full = table["hub"][hub]
        card = f"notebooks/models/{name}/README.md"
        measured = spec["scores"][0]["text"] if spec["scores"] else ""
        cells = [
            ", ".join(tasks),
            f"[{name}]({card}): {spec['about']}; {spec['licence']}",
            measured,
            f"{hub}, {full['mb']:,} MB; {full['licence']}",
            full.get("score", "not stated"),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def recipes_table() -> str:
    """Return the table of models/README.md, each model after the ones that it needs."""
    rows = [
        "| model | answers | made of | data sets | minutes on two cores |",
        "|---|---|---|---|---|",
    ]
    table, done = catalogue(), []

    def add(name: str) -> None:
        parts = table["embedded"][name].get("parts", [])
        for part in parts:
            if part.get("model", name) not in [name, *done]:
                add(part["model"])
        if name in done:
            return
        done.append(name)
        spec, recipe = table["embedded"][name], module_of(name)
        tasks = [
            task if kind is None else f"{task} ({kind})"
            for task, row in table["tasks"].items()
            for kind, chosen in [(None, row), *row.items()]
            if isinstance(chosen, dict) and chosen["embedded"] == name
        ]
        needs = getattr(importlib.import_module(recipe), "NEEDS", ())
        made = [part.get("base", part.get("model")) for part in parts]
        how = f"[recipe](../{recipe.replace('.', '/')})"
        cells = [
            f"[{name}]({name}/README.md)",
            ", ".join(tasks) or "other models",
            "as it is" if "base" in spec else ", ".join([*made, how]),
            ", ".join(needs) or "none",
            str(spec.get("minutes", "")),
        ]
        rows.append(f"| {' | '.join(cells)} |")

    for name in table["embedded"]:
        add(name)
    return "\n".join(rows)


def sittings_table() -> str:
    """Return the table of for_teachers.md: what each sitting needs and offers."""
    from book.downloads import bases_of
    from helpers import exercises

    rows = [
        "| chapter | minutes to read | seconds to run | exercises | models to fetch |",
        "|---|---|---|---|---|",
    ]
    sums = [0, 0, 0]
    for path in chapters():
        number = path.name[:2]
        importlib.import_module(f"helpers.exercises.chapter_{number}")
        count = sum(name.startswith(f"{number}.") for name in exercises.EXERCISES)
        goals = next(c.source for c in nbformat.read(path, 4).cells if c.id == "goals")
        said = re.search(r"(\d+) minutes to read and (\d+) seconds to run", goals)
        fetch = re.search(r"the first run \w+ (\d+ MB)", goals)[1]
        place = f"[{number} {title(path)}](../{path.name})"
        rows.append(f"| {place} | {said[1]} | {said[2]} | {count} | {fetch} |")
        sums = [a + int(b) for a, b in zip(sums, (said[1], said[2], count))]
    table = catalogue()
    bases = set().union(*(bases_of(name) for name in table["embedded"]))
    fetch = f"{sum(table['bases'][name]['mb'] for name in bases)} MB, as chapters share"
    total = " | ".join(str(number) for number in sums)
    return "\n".join([*rows, f"| **all** | {total} | {fetch} models |"])


def cheat_sheet_table() -> str:
    """Return the table of cheat_sheet.md from cheat_sheet.toml: a row per task, its
    call below its name, so that neither is squeezed."""
    path = NOTEBOOKS / "book" / "cheat_sheet.toml"
    pages = {path.name[:2]: path.name for path in chapters()}
    rows = ["| task, and how it is called | each answer holds | watch out |"]
    rows.append("|---|---|---|")
    for task in tomllib.loads(path.read_text("utf-8"))["task"]:
        keys = ", ".join(f"`{key}`" for key in task["keys"]) or "an array of numbers"
        # A chapter that is being written is not there yet.
        there = pages.get(task["chapter"])
        name = f"[{task['name']}](../{there})" if there else task["name"]
        if "besides" in task:
            name += f", the same as {task['besides']}"
        if task.get("own"):
            name += " **(own)**"
        cells = [f"{name}<br>`{task['call']}`", keys, task["trap"]]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


README = {
    "notebooks": partial(notebooks_table, "notebooks/"),
    "models": models_table,
}


def scores_table(name: str) -> str:
    """Return the table of a model's card: what is measured, and how well it does."""
    rows = ["| measure | score |", "|---|---|"]
    for row in catalogue()["embedded"][name]["scores"]:
        rows.append(f"| {row['measure']} | {row['value']:g} |")
    return "\n".join(rows)


def renewed(path: Path, tables: dict) -> str:
    """Return a text with its tables renewed, each between two comments."""
    text = path.read_text("utf-8")
    for name, table in tables.items():
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text, found = re.subn(
            pattern,
            lambda m, t=table: f"{m[1]}\n{t()}\n\n{m[2]}",
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"{path} has {found} places for table {name}, not 1")
    return text


def wanted() -> dict[Path, str]:
    """Return the text that each generated file should have."""
    readme = NOTEBOOKS.parent / "README.md"
    cards = {
        NOTEBOOKS / "models" / name / "README.md": {
            "scores": partial(scores_table, name)
        }
        for name in catalogue()["embedded"]
    }
    pages = {path: notebook_text(path) for path in notebooks()}
    index = NOTEBOOKS / "book" / "index.md"
    texts = {
        readme: README,
        index: {"notebooks": partial(notebooks_table, "../")},
        index.with_name("for_teachers.md"): {"sittings": sittings_table},
        index.with_name("cheat_sheet.md"): {"cheat sheet": cheat_sheet_table},
        NOTEBOOKS / "models" / "README.md": {"recipes": recipes_table},
    }
    texts |= cards
    return {path: renewed(path, tables) for path, tables in texts.items()} | pages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    status = 0
    for path, text in wanted().items():
        if path.read_text("utf-8") != text:
            print(f"{'differs' if check else 'written'}: {path.name}")
            status = 1 if check else 0
            if not check:
                path.write_text(text, "utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
