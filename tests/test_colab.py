"""Proves that a notebook starts in Colab, by simulation.

An empty folder holds the notebook alone; a stand-in `google.colab` is loaded; git is
told to take the repository's address from this clone. The first cells must run: those
of one notebook in a kernel of its own, with a clone as if over the network, those of
the others in a Python that has loaded the libraries and forks for each notebook, with
a clone that links the same objects.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from test_hygiene import PATHS, ROOT

from book import sync_generated

EARLY = 8  # code cells

# Loads the libraries once; then a process for each notebook, as fresh as a kernel.
FORKS = """
import google.colab, json, os, sys
import matplotlib.pyplot, torch
from transformers import pipeline
from IPython.core.interactiveshell import InteractiveShell
for content, sources in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        os.chdir(content)
        paper = os.open("said", os.O_CREAT | os.O_WRONLY)
        os.dup2(paper, 1)
        os.dup2(paper, 2)
        shell = InteractiveShell.instance()
        all(shell.run_cell(source).success for source in sources)  # up to a failure
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A repository with what this working tree holds, committed."""
    origin = tmp_path_factory.mktemp("origin") / "repository"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(origin)]
    subprocess.check_call(["git", "clone", "--quiet", str(ROOT), str(origin)])
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(command, cwd=ROOT, text=True).splitlines():
        if (ROOT / name).is_file():
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            (origin / name).write_bytes((ROOT / name).read_bytes())
    subprocess.check_call([*git, "add", "--all"])
    subprocess.check_call([*git, "commit", "--quiet", "--allow-empty", "-m", "now"])
    subprocess.check_call([*git, "branch", "--force", "--move", "main"])
    return origin


def first_cells(path):
    """Return a notebook's code cells up to its first model, and a last one."""
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    # Up to the first model; where none comes early, up to the setup: whole pages run
    # elsewhere.
    loads = [i for i, c in enumerate(code[:EARLY]) if "model_for(" in c.source]
    setup = next(i for i, c in enumerate(code) if c.id == "setup")
    where = nbformat.v4.new_code_cell("import os; print(os.getcwd())")
    return [*code[: min(loads, default=setup) + 1], where]


def environment(place, address):
    """Return the variables of a Colab whose git finds the repository at an address."""
    stand_in = place / "site" / "google" / "colab"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").write_text("")
    # As in Colab, the module is loaded before the first cell.
    startup = place / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("import google.colab")
    return os.environ | {
        "IPYTHONDIR": str(place / "ipython"),
        "PYTHONPATH": f"{place / 'site'}{os.pathsep}{os.environ['PYTHONPATH']}",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{address}.insteadOf",
        "GIT_CONFIG_VALUE_0": sync_generated.settings()["repository"],
    }


def test_the_first_cells_run_in_a_kernel(origin, tmp_path, monkeypatch, seen):
    for name, value in environment(tmp_path, f"file://{origin}").items():
        monkeypatch.setenv(name, value)
    content = tmp_path / "content"
    content.mkdir()
    notebook = nbformat.v4.new_notebook(cells=first_cells(PATHS[0]))
    place = {"metadata": {"path": str(content)}}
    client = NotebookClient(notebook, timeout=120, resources=place)
    client.execute(stderr=subprocess.DEVNULL)
    where = Path(notebook.cells[-1].outputs[0].text.strip())
    assert where == content / "series" / "notebooks"
    said = {
        c.id: "".join(output.get("text", "") for output in c.get("outputs", []))
        for c in notebook.cells
    }
    assert "Mode embedded" in said["setup"]
    assert "torch" not in said["bootstrap"], "pip was about to install torch"
    seen(f"Colab: nothing there but {PATHS[0].name}", "it gets the series and runs")


@pytest.fixture(scope="module")
def forked(origin, tmp_path_factory):
    """For each further notebook: its folder, and what its first cells printed there.

    None stands for a notebook without the cell that gets the series.
    """
    place = tmp_path_factory.mktemp("colab")
    asked, found = [], {}
    for number, path in enumerate([*PATHS[1:], None]):
        found[path] = place / f"content-{number}"
        found[path].mkdir()
        cells = [c.source for c in first_cells(path or PATHS[1])]
        asked.append((str(found[path]), cells if path else cells[1:]))
    subprocess.run(
        [sys.executable, "-c", FORKS],
        input=json.dumps(asked),
        env=environment(place, origin),
        text=True,
        check=True,
        timeout=900,
    )
    return {path: (at, (at / "said").read_text("utf-8")) for path, at in found.items()}


@pytest.mark.parametrize("path", PATHS[1:], ids=lambda p: f"{p.parent.name}-{p.name}")
def test_the_first_cells_run_in_colab(path, forked, seen):
    content, said = forked[path]
    mode, *_, where = said[said.index("Mode ") :].splitlines()
    assert where == str(content / "series" / "notebooks"), said
    assert mode.startswith("Mode embedded")
    assert "torch" not in said[: said.index("Mode ")], "pip was to install torch"
    seen(f"Colab: nothing there but {path.name}", "it gets the series and runs")


def test_a_notebook_without_the_cell_fails_in_colab(forked):
    assert "No module named 'helpers'" in forked[None][1]


def test_the_cell_does_nothing_elsewhere():
    code = sync_generated.bootstrap(PATHS[0])
    assert 'if "google.colab" in sys.modules' in code
    plain = [c for c in code.splitlines() if c.strip().startswith(("!", "%"))]
    assert all(line.startswith("    ") for line in plain), "a command outside the if"


def test_pip_would_not_replace_colabs_torch():
    """With torch there, the ranges ask pip for nothing that has to do with torch."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"]
    done = subprocess.run(
        [*command, "--no-index", "-r", str(ROOT / "transformers_requirements.txt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "torch" not in done.stdout


STALE = """
import types
sys.modules["transformers"] = types.ModuleType("transformers")
sys.modules["transformers"].__version__ = "4.57.1"
"""


@pytest.mark.model
def test_an_older_library_in_use_asks_for_a_restart(origin, tmp_path, monkeypatch):
    """Colab's own transformers was imported before the cell installed another: it
    says so in one line. After the restart, the folder that is there is taken."""
    address = sync_generated.settings()["repository"]
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{origin}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", address)
    code = [
        cell
        for cell in nbformat.read(PATHS[0], as_version=4).cells
        if cell.id in ("bootstrap", "setup")
    ]
    stand_in = tmp_path / "site" / "google" / "colab"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").write_text("")
    colab = f"import sys\nsys.path.append({str(tmp_path / 'site')!r})\n"
    colab += "import google.colab\n"

    def run(before):
        first = nbformat.v4.new_code_cell(before)
        notebook = nbformat.v4.new_notebook(cells=[first, *code])
        for cell in notebook.cells:
            cell.outputs = []
        place = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(
            notebook, timeout=120, resources=place, allow_errors=True
        ).execute(stderr=subprocess.DEVNULL)
        return [cell.outputs for cell in notebook.cells[1:]]

    (*_, stop), _ = run(colab + STALE)
    (line,) = stop.traceback
    assert "\n" not in line
    assert "transformers 4.57.1 was loaded before" in line
    assert "Restart the kernel" in line
    assert (tmp_path / "series" / "notebooks").is_dir()
    got, (ready,) = run(colab)
    assert "fatal" not in str(got)
    assert "Mode embedded" in ready.text
