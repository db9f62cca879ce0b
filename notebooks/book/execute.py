"""Execute the notebooks: `run` into build/ and on to pages, `update` in place.

Without names, `run` executes the chapters and shows the solutions as they are stored.
Usage, in notebooks/: python -m book.execute run|update [NOTEBOOK ...]. MODELS=hub
goes through to the kernels. A failure ends with exit status 1 and names the notebook,
the cell and the error.
"""

from __future__ import annotations

import argparse
import base64
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from html import escape
from importlib.util import find_spec
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from book import pages
from book.sync_generated import chapters, notebooks, settings
from helpers.catalogue import NOTEBOOKS
from helpers.figures.frames import ALT, small_png
from helpers.session import PAGES_VARIABLE

BUILD = NOTEBOOKS.parent / "build"
CELL_SECONDS = 300
FRAMES = Path(__file__).with_name("frames.toml")
FRAMES_BYTES = 300_000  # that a widget's pictures may add to a page
NEEDS_RAY = "needs-ray"
NOTEBOOK_GB = 3.0  # what a notebook may take, with room: the budget is 2.5
# What the kernels are told: nobody is there to use a widget or to watch a bar.
QUIET = {
    "LEARN_TRANSFORMERS_STATIC": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "JUPYTER_PREFER_ENV_PATH": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


class Failure(Exception):
    """A notebook that did not run to its end; says where and why in one line."""


class PeakMemory(threading.Thread):
    """Watch a process and its children; `gb` is the most that they held at once."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.gb, self.over = psutil.Process(pid), 0.0, threading.Event()

    def run(self) -> None:
        pause = 0.1
        while not self.over.wait(pause):
            try:
                family = self.process.children(recursive=True)
                pause = 1.0 if family else 0.1  # asking many takes time itself
                if not family:
                    total = self.process.memory_info().rss
                else:  # what several share, such as torch's code, counts once
                    held = [p.memory_full_info() for p in (self.process, *family)]
                    total = sum(getattr(one, "pss", one.rss) for one in held)
            except psutil.Error:
                continue
            self.gb = max(self.gb, total / 1e9)


def client_for(path: Path, **options) -> NotebookClient:
    """Return what runs a notebook in its own folder; nothing has started yet. Cells
    tagged `needs-ray` are left out where Ray has no package for this Python."""
    if not find_spec("ray"):
        options.setdefault("skip_cells_with_tag", NEEDS_RAY)
    return NotebookClient(
        nbformat.read(path, as_version=4),
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        **options,
    )


def frames_of(path: Path) -> dict[str, str]:
    """Return the variable that tells a kernel, where pages are made, what the widgets
    of its chapter shall offer, first to last (frames.toml)."""
    if PAGES_VARIABLE not in os.environ or path.parent != NOTEBOOKS:
        return {}
    table = tomllib.loads(FRAMES.read_text("utf-8"))
    offered = table.get(path.name[:2], {})
    cells = nbformat.read(path, as_version=4).cells
    widgets = [c.id for c in cells if re.search(r"^explore\(", c.source, re.MULTILINE)]
    return {PAGES_VARIABLE: json.dumps([offered.get(name, {}) for name in widgets])}


def execute(path: Path) -> tuple[nbformat.NotebookNode, float, float]:
    """Return a notebook executed in its own folder, its seconds and peak GB."""
    client = client_for(path, coalesce_streams=True)
    notebook = client.nb
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    reached = -1

    def note(cell, cell_index) -> None:
        nonlocal reached
        if cell.cell_type == "code":
            reached = code.index(cell)

    def where() -> str:
        cell = code[max(reached, 0)]
        first = (cell.source.strip().splitlines() or [""])[0]
        name = path.relative_to(NOTEBOOKS)
        return f"{name}, code cell {reached + 1} ({cell.id}: {first[:60]})"

    client.on_cell_execute = note
    start, memory = time.monotonic(), None
    try:
        # The kernel's own notices are for Jupyter's log, not for a reader.
        environment = os.environ | frames_of(path)
        with client.setup_kernel(stderr=subprocess.DEVNULL, env=environment):
            memory = PeakMemory(client.km.provisioner.pid)
            memory.start()
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
    except CellExecutionError as error:
        # The first line of the message; a helper's error is one line already.
        message = (str(error.evalue).splitlines() or [""])[0]
        raise Failure(f"{where()}: {error.ename}: {message[:500]}") from error
    except CellTimeoutError as error:
        raise Failure(f"{where()}: no end after {CELL_SECONDS} s") from error
    except DeadKernelError as error:
        raise Failure(f"{where()}: the kernel died, perhaps of memory") from error
    except RuntimeError as error:  # jupyter_client's, before the first cell
        raise Failure(f"{path.name}: no kernel: {error}") from error
    finally:
        if memory:
            memory.over.set()
    return notebook, time.monotonic() - start, memory.gb


def lost_pictures(path: Path, executed: nbformat.NotebookNode) -> str:
    """Return which cell shows fewer pictures than are stored in the notebook."""

    def pictures(cell) -> int:
        return sum("image/png" in output.get("data", {}) for output in cell.outputs)

    stored = nbformat.read(path, as_version=4)
    then = {c.id: pictures(c) for c in stored.cells if c.cell_type == "code"}
    for cell in executed.cells:
        if cell.cell_type == "code" and pictures(cell) < then[cell.id]:
            return f"cell {cell.id} shows {pictures(cell)} of {then[cell.id]} pictures"
    return ""


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs from run to run or machine to machine; refuse widgets."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            # What nbconvert needs to write a script, without the Python's version.
            "language_info": {
                "file_extension": ".py",
                "mimetype": "text/x-python",
                "name": "python",
                "nbconvert_exporter": "python",
                "pygments_lexer": "ipython3",
            },
        }
    )
    for count, cell in enumerate(
        (cell for cell in notebook.cells if cell.cell_type == "code"), start=1
    ):
        cell.metadata.pop("execution", None)
        cell.execution_count = count
        for output in cell.outputs:
            if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
                raise Failure(f"cell {cell.id} left a widget in its output")
            output.get("metadata", {}).clear()
            if "image/png" in output.get("data", {}):
                raw = base64.b64decode(output["data"]["image/png"])
                output["data"]["image/png"] = small_png(raw, 256)
            if output.output_type == "execute_result":
                output.execution_count = count
    return notebook


def workers(how_many: int) -> int:
    """Return how many notebooks to run at once: two where memory and cores allow."""
    room = int(psutil.virtual_memory().available / 1e9 / NOTEBOOK_GB)
    return max(1, min(2, room, os.cpu_count() or 1, how_many))


def stated_seconds(path: Path) -> int:
    """Return how long a page says that it runs; 0 where it says nothing."""
    said = re.search(r"(\d+) seconds to run", path.read_text("utf-8"))
    return int(said[1]) if said else 0


def run_all(paths: list[Path], finished) -> bool:
    """Execute notebooks with a progress line each; return whether all succeeded.

    The longest come first, so that none is left to run alone at the end.
    """
    paths = sorted(paths, key=stated_seconds, reverse=True)
    os.environ.update(QUIET)
    together = workers(len(paths))
    # Two kernels that each take all cores wait for one another most of the time.
    threads = max(1, (os.cpu_count() or 1) // together)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))

    def one(path: Path) -> bool:
        name = path.relative_to(NOTEBOOKS)
        try:
            notebook, seconds, gb = execute(path)
            if short := lost_pictures(path, notebook):
                raise Failure(f"{name}: {short}")
            finished(path, clean(notebook))
        except Failure as failure:
            print(f"FAILED {failure}", file=sys.stderr, flush=True)
            return False
        print(f"{name}: {seconds:.1f} s, {gb:.2f} GB at most", flush=True)
        return True

    pool = ThreadPoolExecutor(together)
    done = list(pool.map(one, paths))  # Ctrl-C ends the wait, see `main`
    pool.shutdown()
    return all(done)


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook so that the file is whole at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".writing")
    nbformat.write(notebook, aside)
    aside.replace(path)


def update(paths: list[Path]) -> int:
    """Re-execute notebooks in place."""
    return 0 if run_all(paths, lambda path, done: write(done, path)) else 1


def finish_frames(cell: nbformat.NotebookNode) -> None:
    """Put a cell's alt text where `explore` left room for it in its frames.

    Raises Failure where the frames are too large for a page.
    """
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    alt = alt.rstrip(".") + "."  # a sentence follows it
    for output in cell.get("outputs", []):
        shown = output.get("data", {})
        text = "".join(shown.get("text/html", ""))
        if 'class="frames"' not in text:
            continue
        if len(text) > FRAMES_BYTES:
            size = f"{len(text) / 1000:.0f} KB"
            raise Failure(f"cell {cell.id}: its frames take {size}; offer fewer")
        shown["text/html"] = text.replace(ALT, escape(alt, quote=True))


def run(paths: list[Path], stored: list[Path] | None = None) -> int:
    """Execute notebooks into build/ and render them as pages, along with others as
    they are `stored`."""
    os.environ[PAGES_VARIABLE] = "[]"
    source = BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)

    where = settings()
    files = f"{where['repository']}/blob/{where['branch']}/notebooks"
    done = {}  # the chapters as they ran

    def keep(path: Path, notebook: nbformat.NotebookNode) -> None:
        if path.parent == NOTEBOOKS:
            done[path] = copy.deepcopy(notebook)
            pages.link_terms(notebook, path.stem[:2])
            pages.mark(path, notebook)
        pages.describe(path, notebook)
        for cell in notebook.cells:
            finish_frames(cell)
            if cell.cell_type == "markdown":
                # The README is the front of the repository, index.md of the book.
                text = re.sub(r"\.\./README\.md\)", "index.md)", cell.source)
                # Cards and recipes are no pages: their links go to the repository.
                away = r"\]\((models/|experiments/|data/[^)]*\.md)"
                cell.source = re.sub(away, rf"]({files}/\1", text)
        write(notebook, source / path.relative_to(NOTEBOOKS))

    start = time.monotonic()
    if not run_all(paths, keep):
        return 1
    for path in stored or []:
        keep(path, nbformat.read(path, as_version=4))
    for name in ("conf.py", "series.toml"):
        shutil.copy(NOTEBOOKS / "book" / name, source)
    for page in sorted((NOTEBOOKS / "book").glob("*.md")):
        if page.name != "README.md":
            text = page.read_text("utf-8").replace("](../", "](")
            (source / page.name).write_text(text, "utf-8")
    listed = {path: done[path] for path in sorted(done)}
    (source / "claims.md").write_text(pages.claims(listed), "utf-8")
    (source / "glossary.md").write_text(pages.glossary(listed), "utf-8")
    (source / "thumbnails").mkdir()
    for path, notebook in listed.items():
        for name, picture in pages.thumbnails(notebook).items():
            file = source / "thumbnails" / f"{path.stem[:2]}-{name}.png"
            file.write_bytes(picture)
    for folder in ("figures", "data", "book/_static"):
        shutil.copytree(NOTEBOOKS / folder, source / Path(folder).name)
    from sphinx.cmd.build import build_main

    book = BUILD / "book"
    shutil.rmtree(book, ignore_errors=True)
    # A part of the series has links to pages that are not there.
    whole = {*paths, *(stored or [])} >= set(notebooks())
    strict = ["-q", "-W", "--keep-going"] if whole else ["-Q"]
    if build_main([*strict, str(source), str(book)]):
        print("FAILED Sphinx: see the lines above", file=sys.stderr)
        return 1
    print(f"Done in {time.monotonic() - start:.0f} s. Open build/book/index.html")
    return 0


def found(name: str) -> Path:
    """Return a notebook of the series that was named on the command line, from
    wherever: its path from here, from the repository, or its name alone.

    Raises Failure for one that is not there, or not in notebooks/.
    """
    here = [Path(name), NOTEBOOKS.parent / name, NOTEBOOKS / name]
    there = [path.resolve() for path in here if path.is_file()]
    if not there:
        raise Failure(f"No such notebook: {name}")
    if not there[0].is_relative_to(NOTEBOOKS):
        raise Failure(
            f"{name} is not in {NOTEBOOKS.name}/, where the series' helpers and data "
            "are: copy it there, or run it with `jupyter execute`."
        )
    return there[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "update"])
    parser.add_argument("notebooks", nargs="*")
    asked = parser.parse_args()
    try:
        paths = [found(name) for name in asked.notebooks]
        if asked.what == "update":
            return update(paths or notebooks())
        if paths:
            return run(paths)
        # A reader waits for pages to read. The solutions' outputs are stored, and the
        # tests compare each of them with what runs.
        series = chapters()
        return run(series, [path for path in notebooks() if path not in series])
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # The kernels are in sessions of their own, and hear nothing of Ctrl-C.
        for child in psutil.Process().children(recursive=True):
            child.kill()
        print("Interrupted: nothing half-done was kept. Run it again.", file=sys.stderr)
        sys.stderr.flush()
        os._exit(130)  # the threads still wait for their kernels


if __name__ == "__main__":
    sys.exit(main())
