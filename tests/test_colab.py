"""Proves that a notebook starts in Colab, by simulation.

An empty folder holds the notebook alone; a stand-in `google.colab` is loaded; git is
told to take the repository's address from this clone. The first cells of a chapter
must run there. The cell that gets the series is the same in all notebooks, which is
looked at here; what follows it is then where every other test runs it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from places import PATHS, ROOT, code_cells, every_notebook, tracked

from book import sync_generated
from helpers import store

CHAPTER = PATHS[0]
FIRST_ANSWER = "first-answer"
AWKWARD = "a b äö #1 100%"
MODEL = "minilm-sst2"  # which gives it
LARGE = 500_000  # bytes


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A repository with what this working tree holds, committed, but for what is
    large and the first answer does without."""
    if shutil.which("git") is None:
        pytest.skip("needs git, as Colab has it")
    origin = tmp_path_factory.mktemp("origin") / "repository"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(origin)]
    subprocess.check_call(["git", "init", "--quiet", str(origin)])
    for path in tracked():
        if path.stat().st_size > LARGE and path.parent.name != MODEL:
            continue
        copy = origin / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    subprocess.check_call([*git, "add", "--all"])
    subprocess.check_call([*git, "commit", "--quiet", "--allow-empty", "-m", "now"])
    subprocess.check_call([*git, "branch", "--force", "--move", "main"])
    return origin


@pytest.fixture
def colab(origin, tmp_path, monkeypatch):
    """A function that runs cells as Colab would, in an empty folder; it and the models'
    cache have names that not every program can read."""
    stand_in = tmp_path / "site" / "google" / "colab"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").write_text("")
    # As in Colab, the module is loaded before the first cell.
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("import google.colab")
    content = tmp_path / AWKWARD
    content.mkdir()
    cache = tmp_path / f"cache {AWKWARD}"
    cache.symlink_to(store.cache_folder(), target_is_directory=True)
    for name, value in {
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{os.environ['PYTHONPATH']}",
        store.CACHE_VARIABLE: str(cache),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{origin}.insteadOf",
        "GIT_CONFIG_VALUE_0": sync_generated.settings()["repository"],
    }.items():
        monkeypatch.setenv(name, value)

    def run(cells, **options):
        where = nbformat.v4.new_code_cell("import os; print(os.getcwd())")
        notebook = nbformat.v4.new_notebook(cells=[*cells, where])
        for cell in notebook.cells:
            cell.outputs = []  # what is looked at was made here
        place = {"metadata": {"path": str(content)}}
        client = NotebookClient(notebook, timeout=120, resources=place, **options)
        client.execute(stderr=subprocess.DEVNULL)
        return [shown(cell) for cell in notebook.cells]

    return run, content


def shown(cell):
    """Return what a cell printed, showed or raised, as text."""
    said = ""
    for output in cell.outputs:
        said += output.get("text", "") + output.get("evalue", "")
        said += output.get("data", {}).get("text/plain", "")
    return said.strip()


@pytest.mark.model
def test_the_first_cells_run_in_colab(colab, record_fault):
    run, content = colab
    cells = code_cells(CHAPTER)
    end = [cell.id for cell in cells].index(FIRST_ANSWER)
    bootstrap, setup, *_, answer, where = run(cells[: end + 1])
    assert Path(where) == content / "series" / "notebooks"
    assert "torch" not in bootstrap, "pip was about to install torch"
    assert setup.startswith("Mode embedded")
    assert "POSITIVE" in answer or "NEGATIVE" in answer
    record_fault(f"Colab: nothing there but {CHAPTER.name}", "it gets the series")


@pytest.mark.model
def test_a_notebook_without_the_cell_fails_in_colab(colab):
    run, content = colab
    _, setup = code_cells(CHAPTER)[:2]
    said, where = run([setup], allow_errors=True)
    assert "No module named 'helpers'" in said
    assert Path(where) == content


@every_notebook
def test_every_notebook_begins_with_the_cell_that_was_proved(path):
    """The same cell, and then nothing but names that the series has for all."""
    bootstrap, setup, *_ = code_cells(path)
    assert bootstrap.id == "bootstrap" and setup.id == "setup"
    assert bootstrap.source == code_cells(CHAPTER)[0].source
    assert bootstrap.source == sync_generated.bootstrap(path)
    assert "from helpers import" in setup.source and "setup()" in setup.source


def test_the_cell_does_nothing_elsewhere():
    code = sync_generated.bootstrap(CHAPTER)
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
